"""The blood that the lungs' own iodine is judged by."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.iodine.pool import blood_mg_ml
from lungperfusion.iodine.score import judge_blood_share
from lungperfusion.iodine.trunk import Trunk


def trunk_of(mg_ml: float, doubt: str = "") -> Trunk:
    return Trunk(
        mask=np.ones((1, 1, 1), np.bool_), iodine_mg_ml=mg_ml, volume_ml=2.0,
        centre_ras_mm=(0.0, 0.0, 0.0), radius_mm=12.0, doubt=doubt,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("in_aorta", "expected"), [(10.0, 11.0), (0.5, 6.25), (-1.0, 6.0), (None, 12.0)]
)
def test_half_trunk_half_aorta(in_aorta, expected):
    assert blood_mg_ml(trunk_of(12.0), in_aorta) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("trunk", "reason"),
    [
        ("no carina", "no carina"),
        (trunk_of(12.0, "too wide"), "too wide"),
        (trunk_of(-0.2), "the pulmonary trunk holds no iodine"),
    ],
)
def test_what_speaks_against_the_trunk_is_said(trunk, reason):
    assert blood_mg_ml(trunk, 10.0) == reason


@pytest.mark.parametrize(
    ("blood", "verdict"), [(12.0, "pass"), (24.0, "pass"), (24.1, "warn"), (3.9, "warn")]
)
def test_share_of_the_blood(blood, verdict):
    assert judge_blood_share(1.2, blood).verdict == verdict


def test_without_blood_to_compare_with_defects_carry_caution():
    gate = judge_blood_share(1.2, "no carina")
    assert gate.verdict == "warn"
    assert "no carina" in gate.message
