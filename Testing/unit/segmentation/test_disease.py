"""Dense tissue beside the lungs on the second chest, which no rule for it was chosen on."""

from __future__ import annotations

import numpy as np
import pytest
from Benchmarks import _second_chest

from lungperfusion.morphology import dilated
from lungperfusion.segmentation.lungs import segment_lungs

LUNGS = ("left_lung", "right_lung")
QUICK = {"vessel_tips": 300, "airway_tips": 24}


def patch(centre, radii, hu):
    return _second_chest.Patch(centre=centre, radii=radii, hu=hu)


AT_THE_BACK = ((-70.0, 70.0, -30.0), (28.0, 22.0, 35.0))
AT_THE_SIDE = ((118.0, 10.0, -10.0), (18.0, 30.0, 30.0))
AT_THE_TOP = ((-55.0, 20.0, 118.0), (30.0, 30.0, 22.0))


def scanned(*places, hu=40.0, mirror=False, **recipe):
    """Build a chest with ellipsoids of a density; its segmentation, lungs and ellipsoids."""
    settings = _second_chest.Recipe(
        **QUICK, **recipe, patches=tuple(patch(*place, hu) for place in places)
    )
    chest = _second_chest.build((4.0, 4.0, 4.0), settings)
    turn = slice(None, None, -1 if mirror else 1)
    ct = chest.scan()
    result = segment_lungs(ct.with_array(np.ascontiguousarray(ct.array[..., turn])))
    return result, chest.lungs.array[..., turn] > 0, chest.organs["patches"][..., turn]


def missed(result):
    return next(gate for gate in result.gates if gate.id == "missed_disease")


def added(result, lungs):
    """Lung farther than a voxel from the true lung (bronchi at the hilum), relative to that."""
    lung = result.labelmap.mask(*LUNGS) & ~dilated(lungs, 6.0, (4.0, 4.0, 4.0))
    return np.count_nonzero(lung) / np.count_nonzero(lungs)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("blood_hu", [42.0, 220.0])
def test_consolidation_against_the_ribs_is_lung_and_nothing_else(mirror, blood_hu):
    result, lungs, dense = scanned(AT_THE_BACK, AT_THE_SIDE, mirror=mirror, blood_hu=blood_hu)

    lung = result.labelmap.mask(*LUNGS)
    assert np.count_nonzero(lung & dense) > 0.85 * np.count_nonzero(dense)
    assert added(result, lungs) < 0.002


def test_consolidation_of_the_apex_is_told():
    result, lungs, _ = scanned(AT_THE_TOP)

    assert missed(result).verdict == "warn"
    assert "upper third" in missed(result).message
    assert added(result, lungs) < 0.002


def test_fat_against_the_ribs_is_neither_lung_nor_fluid():
    result, _, fat = scanned(AT_THE_BACK, AT_THE_SIDE, hu=-95.0)

    lung = result.labelmap.mask(*LUNGS)
    assert np.count_nonzero(lung & fat) < 0.15 * np.count_nonzero(fat)
    assert "fluid" not in missed(result).message


def test_fluid_against_the_ribs_is_told_and_is_no_lung():
    result, _, fluid = scanned(AT_THE_BACK, hu=8.0)

    lung = result.labelmap.mask(*LUNGS)
    assert np.count_nonzero(lung & fluid) < 0.15 * np.count_nonzero(fluid)
    assert missed(result).verdict == "warn"
    assert "pleural fluid" in missed(result).message


@pytest.mark.parametrize("mirror", [False, True])
def test_nothing_is_added_to_or_missed_in_a_sound_chest(mirror):
    result, lungs, _ = scanned(mirror=mirror, blood_hu=250.0, seed=2)

    assert added(result, lungs) < 0.002
    assert not any("dense tissue" in warning for warning in result.warnings)
    assert missed(result).verdict == "pass"
