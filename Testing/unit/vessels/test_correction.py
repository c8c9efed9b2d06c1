"""Erasing and painting vessels changes what it touches and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.errors import GeometryMismatchError
from lungperfusion.phantoms.vessel_tree import Traps, straight_tube
from lungperfusion.terms import VESSELS
from lungperfusion.vessels.correction import STROKES_SHOWN, correct_vessels
from lungperfusion.vessels.detection import find_vessels
from lungperfusion.volume import Labelmap


@pytest.fixture(scope="module")
def pair(make_phantom):
    """Two vessels far apart, and what was found."""
    first = straight_tube((0, -10, 0), (1, 0, 0.1), 30.0, 4.0)
    second = straight_tube((0, 10, 0), (1, 0.1, 0), 30.0, 8.0)
    image = make_phantom(first.joined(second))
    return image, find_vessels(image.ct, image.lungs, blood_hu=40.0)


def mask(image, found):
    array = np.zeros(image.ct.geometry.shape, np.uint8)
    array[found.box] = found.voxel_area_mm2 > 0
    return array


def label(image, array):
    return Labelmap(array.astype(np.uint8), image.ct.geometry, {1: VESSELS})


def test_unchanged_mask_changes_nothing(pair):
    image, found = pair
    corrected = correct_vessels(found, image.ct, label(image, mask(image, found)))
    assert corrected.rows == ()
    assert corrected.vessel_map.measured.volume_ml.tobytes() == found.measured.volume_ml.tobytes()


def test_what_a_fissure_adds_stays_off_the_blood(make_phantom):
    fissure = Traps(fissures=(((0.0, 0.0, 0.0), (0.0, 0.0, 1.0)),), fissure_thickness_mm=0.5)
    image = make_phantom(straight_tube((0, 0, 0), (1, 0.1, 0), 30.0, 6.0), traps=fissure)
    found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
    assert found.sheets.index.size > 100
    corrected = correct_vessels(found, image.ct, label(image, mask(image, found)))
    np.testing.assert_array_equal(corrected.vessel_map.blood_fraction, found.blood_fraction)


def test_erased_vessel_goes_with_its_blood_and_is_listed(pair):
    image, found = pair
    array = mask(image, found)
    array[image.ct.geometry.coordinate_mm("A") < 0] = 0
    corrected = correct_vessels(found, image.ct, label(image, array))
    assert {row["action"] for row in corrected.rows} == {"removed"}
    removed = sum(row["blood_ml"] for row in corrected.rows)
    left = corrected.vessel_map.measured.volume_ml.sum()
    assert left + removed == pytest.approx(found.measured.volume_ml.sum(), rel=1e-9)
    kept = found.axis_ras_mm[:, 1] > 0
    np.testing.assert_allclose(
        corrected.vessel_map.measured.area_mm2, found.measured.area_mm2[kept], rtol=1e-12
    )


def test_painted_vessel_comes_back(pair):
    image, found = pair
    array = mask(image, found)
    erased = array.copy()
    erased[image.ct.geometry.coordinate_mm("A") < 0] = 0
    without = correct_vessels(found, image.ct, label(image, erased)).vessel_map
    again = correct_vessels(without, image.ct, label(image, array))
    assert {row["action"] for row in again.rows} == {"added"}
    total = again.vessel_map.measured.volume_ml.sum()
    assert total == pytest.approx(found.measured.volume_ml.sum(), rel=0.05)


def test_a_stroke_in_empty_lung_is_left_out_with_a_warning(pair):
    image, found = pair
    array = mask(image, found)
    k, j, i = (n // 2 for n in array.shape)
    array[k + 16 : k + 19, j : j + 3, i : i + 3] = 1
    corrected = correct_vessels(found, image.ct, label(image, array))
    assert corrected.rows == ()
    assert "No vessel could be seen in the painted stroke at R" in corrected.warnings[0]
    for step in range(STROKES_SHOWN + 1):
        array[k + 16 : k + 19, j : j + 3, i - 6 * step : i - 6 * step + 3] = 1
    (warning,) = correct_vessels(found, image.ct, label(image, array)).warnings
    assert warning.count("R ") == STROKES_SHOWN
    assert "and 1 more; they were left out" in warning


def test_other_grid_is_refused(pair):
    image, found = pair
    half = label(image, mask(image, found)).crop((slice(0, 30), slice(None), slice(None)))
    with pytest.raises(GeometryMismatchError, match="corrected vessels"):
        correct_vessels(found, image.ct, half)
