"""The blood that the lungs' own iodine is judged by."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.blood import BloodDensity, BloodSite
from lungperfusion.iodine import pool
from lungperfusion.iodine.decomposition import IodineMap
from lungperfusion.iodine.pool import blood_mg_ml
from lungperfusion.iodine.score import judge_blood_share
from lungperfusion.iodine.trunk import Trunk


def trunk_of(mg_ml: float, doubt: str = "") -> Trunk:
    return Trunk(
        mask=np.ones((1, 1, 1), np.bool_), iodine_mg_ml=mg_ml, volume_ml=2.0,
        centre_ras_mm=(0.0, 0.0, 0.0), radius_mm=12.0, doubt=doubt,
    )  # fmt: skip


@pytest.fixture
def aorta(blocks, monkeypatch):
    """Iodine map whose aorta, one corner of it, is found."""
    values = np.ones(blocks.geometry.shape, np.float32)
    box = (slice(0, 4), slice(0, 4), slice(0, 4))

    def found(mg_ml: float | None) -> IodineMap:
        site = BloodSite(
            place="descending_aorta", hu=200.0, volume_ml=3.0, box=box,
            mask=np.ones((4, 4, 4), np.bool_),
        )  # fmt: skip
        sites = () if mg_ml is None else (site,)
        density = BloodDensity(hu=200.0, source="default", words="", sites=sites)
        monkeypatch.setattr(pool, "find_blood_density", lambda *_: density)
        values[box] = 1.0 if mg_ml is None else mg_ml
        return IodineMap(
            concentration=blocks.volume(values, "mg/mL"), hu_per_mg_ml=25.0, method="made"
        )

    return found


@pytest.mark.parametrize(
    ("in_aorta", "expected"), [(10.0, 11.0), (0.5, 6.25), (-1.0, 6.0), (None, 12.0)]
)
def test_half_trunk_half_aorta(blocks, aorta, in_aorta, expected):
    made = aorta(in_aorta)
    ct = blocks.volume(-800.0)
    assert blood_mg_ml(made, ct, blocks.lungs, trunk_of(12.0)) == pytest.approx(expected)


def test_what_speaks_against_the_trunk_is_said(blocks, aorta):
    ct = blocks.volume(-800.0)
    for trunk, reason in (
        ("no carina", "no carina"), (trunk_of(12.0, "too wide"), "too wide"),
        (trunk_of(-0.2), "the pulmonary trunk holds no iodine"),
    ):  # fmt: skip
        assert blood_mg_ml(aorta(10.0), ct, blocks.lungs, trunk) == reason


@pytest.mark.parametrize(
    ("blood", "verdict"), [(12.0, "pass"), (24.0, "pass"), (24.1, "warn"), (3.9, "warn")]
)
def test_share_of_the_blood(blood, verdict):
    assert judge_blood_share(1.2, blood).verdict == verdict


def test_without_blood_to_compare_with_defects_carry_caution():
    gate = judge_blood_share(1.2, "no carina")
    assert gate.verdict == "warn"
    assert "no carina" in gate.message
