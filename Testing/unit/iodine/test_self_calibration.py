"""The ratio of a pair in its own blood: order, filter and calibration are checked by it."""

from dataclasses import replace

import numpy as np
import pytest

from lungperfusion.analysis.image_pair import separate_pair
from lungperfusion.errors import InputError
from lungperfusion.iodine.calibration import spectral_pair
from lungperfusion.iodine.self_calibration import (
    in_front_of_spine,
    judge_ratio,
    measure_iodine_ratio,
    own_ratio,
    require_order,
)


@pytest.fixture(scope="module")
def ratio(dect, dect_lungs):
    """Measured ratio of a pair of 80 and 140Sn kV."""
    return measure_iodine_ratio(dect.low, dect.high, in_front_of_spine(dect_lungs))


def test_ratio_from_own_blood(ratio):
    assert ratio == pytest.approx(2.91, rel=0.05)


def test_no_ratio_without_contrast(dect, dect_lungs):
    among = in_front_of_spine(dect_lungs)
    plain = dect.low.with_array(np.full(dect.low.geometry.shape, 50, np.int16))
    assert "too little contrast" in measure_iodine_ratio(plain, plain, among)
    assert "too little contrast" in measure_iodine_ratio(plain, plain, np.zeros_like(among))
    with pytest.raises(InputError, match="self-calibration is not possible: too little contrast"):
        own_ratio(measure_iodine_ratio(plain, plain, among))


def test_the_wrong_way_round_is_refused(dect, dect_lungs):
    with pytest.raises(InputError, match=r"wrong way round: .* 3\.\d\d times as bright"):
        separate_pair(dect.high, dect.low, dect_lungs, spectral_pair("80", "140Sn"))


@pytest.mark.parametrize("value", [1.0, 2.9, "no contrast"])
def test_the_right_order_is_kept(value):
    require_order(value)


def test_a_tin_filter_that_was_not_stated_fails_and_is_named(ratio):
    stated = spectral_pair("80", "140")
    gate = judge_ratio(ratio, stated, ("80", "140"))
    assert gate.verdict == "fail"
    assert gate.value == ratio
    assert "--kv 80 140Sn fits" in gate.message
    assert "too high" in gate.message
    right = judge_ratio(ratio, spectral_pair("80", "140Sn"), ("80", "140Sn"))
    assert right.verdict == "pass"
    in_vain = judge_ratio(1.9, spectral_pair("80", "140Sn"), ("80", "140Sn"))
    assert (in_vain.verdict, "too low" in in_vain.message) == ("fail", True)
    assert "--kv 80 140 fits" in in_vain.message


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(0.0, "pass"), (0.099, "pass"), (-0.101, "warn"), (0.199, "warn"), (-0.201, "fail")],
)
def test_limits_are_errors_of_iodine(error, verdict):
    pair = spectral_pair("80", "140Sn")
    a_low, a_high = 1000 + pair.low.soft_tissue_hu, 1000 + pair.high.soft_tissue_hu
    k_low = pair.low.iodine_hu_per_mg_ml
    k_high = (a_high * k_low - pair.solvability * (1 + error)) / a_low
    gate = judge_ratio(k_low / k_high, pair, None)
    assert gate.verdict == verdict
    if verdict != "pass":
        assert "--self-calibrate" in gate.message


def test_an_own_calibration_near_the_table_passes():
    """Sensitivities 5 % off in both directions, as between scanners."""
    table = spectral_pair("80", "140Sn")
    ratio = 1.05 * table.low.iodine_hu_per_mg_ml / (0.95 * table.high.iodine_hu_per_mg_ml)
    assert judge_ratio(ratio, table, ("80", "140Sn")).verdict == "pass"


def test_self_calibration_mends_the_filter(dect, dect_lungs):
    stated = spectral_pair("80", "140")
    wrong, gates, _ = separate_pair(dect.low, dect.high, dect_lungs, stated, voltages=("80", "140"))
    right, mended, notes = separate_pair(
        dect.low, dect.high, dect_lungs, stated, self_calibrate=True
    )
    inside = dect.perfused
    truth = dect.iodine.array[inside].mean()
    assert wrong.concentration.array[inside].mean() > 1.3 * truth
    assert right.concentration.array[inside].mean() == pytest.approx(truth, rel=0.05)
    assert [gate.verdict for gate in (gates[2], mended[2])] == ["fail", "pass"]
    assert "measured in this patient's own blood" in notes[0]


def test_brightness_that_does_not_go_together_is_no_ratio(dect, dect_lungs):
    inverse = dect.high.with_array((400 - dect.high.array).astype(np.int16))
    among = in_front_of_spine(dect_lungs)
    found = measure_iodine_ratio(dect.low, inverse, among)
    assert isinstance(found, str)
    assert judge_ratio(found, spectral_pair("80", "140"), None).verdict == "unknown"


def test_a_flipped_grid_gives_the_same_ratio(dect, dect_lungs, ratio):
    matrix = dect.low.geometry.ijk_to_ras.copy()
    _, j, i = dect.low.geometry.shape
    matrix[:3, 3] += matrix[:3, :3] @ [i - 1, j - 1, 0]
    matrix[:3, :2] *= -1
    geometry = replace(dect.low.geometry, ijk_to_ras=matrix)
    low, high = (
        replace(image, array=np.ascontiguousarray(image.array[:, ::-1, ::-1]), geometry=geometry)
        for image in (dect.low, dect.high)
    )
    lungs = replace(
        dect_lungs, array=np.ascontiguousarray(dect_lungs.array[:, ::-1, ::-1]), geometry=geometry
    )
    assert measure_iodine_ratio(low, high, in_front_of_spine(lungs)) == pytest.approx(
        ratio, rel=1e-3
    )
