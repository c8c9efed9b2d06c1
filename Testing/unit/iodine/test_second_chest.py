"""Lost lobes and lungs, streaks, filters and order in a chest that settings were not chosen on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from Benchmarks._second_chest import Recipe, build
from Benchmarks._second_iodine import SENSITIVITY, WEDGES, Contrast, scan_pair
from Benchmarks.iodine_second import STREAKS, analysed, wedge_dice

from lungperfusion.analysis.image_pair import separate_pair
from lungperfusion.analysis.iodine_measure import DEFAULT_OPTIONS, exclude
from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.errors import InputError
from lungperfusion.iodine.calibration import spectral_pair
from lungperfusion.regions import RegionSet


@pytest.fixture(scope="module")
def chest():
    return build((3.0, 3.0, 3.0), Recipe(vessel_tips=1200))


@pytest.fixture(scope="module")
def healthy(chest):
    return analysed(chest, Contrast())


def verdicts(found):
    return {gate.id: gate.verdict for gate in found.gates}


def test_healthy_lungs_have_iodine_and_no_defect(healthy):
    assert healthy.iodine_error == pytest.approx(0, abs=0.05)
    assert healthy.false_share < 0.002
    assert set(verdicts(healthy).values()) == {"pass"}


@pytest.mark.parametrize(
    ("lost", "with_lobes"),
    [
        (("left_lower_lobe", "right_lower_lobe"), False),
        (("right_lung",), True),
    ],
)
def test_lost_lobes_and_lungs_are_found(chest, lost, with_lobes):
    found = analysed(chest, Contrast(factors=dict.fromkeys(lost, 0.15)), with_lobes=with_lobes)
    assert found.found_share > 0.9
    assert found.false_share < 0.01


def test_a_loss_of_everything_is_found_by_the_blood_and_said(chest):
    found = analysed(chest, Contrast(factors={"right_lung": 0.15, "left_lung": 0.15}))
    assert found.found_share > 0.95
    assert verdicts(found)["blood_share"] == "warn"
    assert verdicts(found)["iodine_level"] == "warn"


def test_lobes_of_healthy_lungs_may_differ(chest):
    found = analysed(chest, Contrast(factors={"left_lower_lobe": 1.15, "right_upper_lobe": 0.85}))
    assert found.analysis.defects.mask[found.analysis.measurable].mean() < 0.005


def test_streaks_of_undiluted_contrast_are_left_out_and_wedges_are_not(chest):
    found = analysed(chest, replace(STREAKS, wedges=WEDGES))
    lungs = found.pair.lungs.mask("left_lung", "right_lung")
    assert found.false_share < 0.005
    assert 0.02 < found.analysis.exclusion.shares(lungs)["streaks"] < 0.2
    kept = found.pair.lost & found.analysis.measurable
    assert kept.sum() > 0.9 * found.pair.lost.sum()
    assert min(wedge_dice(found)) > 0.85


def test_order_and_filter_are_told_by_the_blood(chest, healthy):
    pair = healthy.pair
    with pytest.raises(InputError, match="wrong way round"):
        separate_pair(pair.high, pair.low, pair.lungs, spectral_pair("80", "140Sn"))
    _, gates, _ = separate_pair(
        pair.low, pair.high, pair.lungs, spectral_pair("80", "140"), voltages=("80", "140")
    )
    assert [g.verdict for g in gates if g.id == "iodine_ratio"] == ["fail"]
    made, gates, _ = separate_pair(
        pair.low, pair.high, pair.lungs, spectral_pair("80", "140Sn"), voltages=("80", "140Sn")
    )
    assert [g.verdict for g in gates if g.id == "iodine_ratio"] == ["pass"]
    here = pair.perfused
    table = made.concentration.array[here].mean() / pair.iodine[here].mean()
    assert table == pytest.approx(1.05, abs=0.08), "this scanner is 5 % off the table"


def test_arteries_at_80_kv_are_no_undiluted_contrast(chest):
    """18 mg/mL are 850 HU in the low-voltage image: lung beside them is measured."""
    pair = scan_pair(chest, Contrast(trunk=18.0, left_heart=16.0))
    lungs = pair.lungs.mask("left_lung", "right_lung")
    assert np.median(pair.low.array[chest.organs["trunk"]]) > 800
    found = FoundRegions(lungs=pair.lungs, regions=RegionSet((pair.lungs,)), gates=(), warnings=())
    left_out = exclude(pair.low, found, DEFAULT_OPTIONS, SENSITIVITY["80"])
    assert left_out.shares(lungs)["streaks"] == 0
