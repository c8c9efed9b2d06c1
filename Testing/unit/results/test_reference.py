"""Positions against published distributions, values on the limits included."""

from __future__ import annotations

import pytest

from lungperfusion.measurement import measured, missing
from lungperfusion.results.reference import compare


@pytest.mark.parametrize(
    ("tlv_l", "z_score", "position"),
    [
        (5.060, 0.0, "within"),
        (5.060 - 2 * 1.353, -2.0, "within"),
        (5.060 + 2 * 1.353, 2.0, "within"),
        (5.060 - 2 * 1.353 - 1e-6, -2.0, "below"),
        (5.060 + 2 * 1.353 + 1e-6, 2.0, "above"),
    ],
)
def test_position(tlv_l, z_score, position):
    comparison = compare(measured("lungs", "tlv", tlv_l, ""))
    assert comparison.z_score == pytest.approx(z_score, abs=1e-5)
    assert comparison.position == position
    assert (comparison.low, comparison.high) == pytest.approx((2.354, 7.766))


def test_letter_references():
    assert compare(measured("lungs", "mld", -839.6 + 21.8, "")).z_score == pytest.approx(1)
    assert compare(measured("lungs", "ggo", 3.9, "")) is None, "of another definition"


@pytest.mark.parametrize(
    "measurement",
    [
        missing("lungs", "tlv", "no lung"),
        measured("left_lung", "tlv", 2.5, ""),
        measured("lungs", "laa_950", 2.5, ""),
    ],
)
def test_nothing_to_compare_with(measurement):
    assert compare(measurement) is None
