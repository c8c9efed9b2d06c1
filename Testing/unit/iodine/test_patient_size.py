"""Water path of the beam against cylinders whose chords are known."""

import numpy as np
import pytest

from lungperfusion.iodine.patient_size import water_path_cm
from lungperfusion.volume import Geometry, Volume

MEAN_CHORD = 16 / (3 * np.pi) / 2
"""Mean chord through the points of a disc over its diameter, <l^2> / <l>."""


def cylinder(diameter_mm, spacing=(4.0, 4.0, 6.0), field_mm=400.0, hu=0.0):
    n, m = round(field_mm / spacing[0]), round(field_mm / spacing[1])
    geometry = Geometry.axial((8, m, n), spacing)
    r, a = geometry.coordinate_mm("R"), geometry.coordinate_mm("A")
    inside = (r - r.mean()) ** 2 + (a - a.mean()) ** 2 < (diameter_mm / 2) ** 2
    array = np.where(inside, hu, -1000).astype(np.int16)
    return Volume(array, geometry, "HU"), np.asarray(inside)


@pytest.mark.parametrize("diameter_mm", [200.0, 280.0])
@pytest.mark.parametrize("spacing", [(4.0, 4.0, 6.0), (2.0, 5.0, 3.0)])
def test_mean_chord_of_a_water_cylinder(diameter_mm, spacing):
    image, inside = cylinder(diameter_mm, spacing)
    found = water_path_cm(image, inside)
    assert found == pytest.approx(MEAN_CHORD * diameter_mm / 10, rel=0.04)


def test_axis_order_does_not_matter():
    image, inside = cylinder(240.0)
    matrix = image.geometry.ijk_to_ras[:, [2, 0, 1, 3]]
    turned = Volume(
        np.ascontiguousarray(image.array.transpose(1, 2, 0)),
        Geometry(tuple(np.array(image.geometry.shape)[[1, 2, 0]]), matrix),
        "HU",
    )
    again = water_path_cm(turned, np.ascontiguousarray(inside.transpose(1, 2, 0)))
    assert again == pytest.approx(water_path_cm(image, inside), rel=1e-5)


def test_says_why_there_is_none():
    image, inside = cylinder(240.0)
    assert water_path_cm(image, np.zeros_like(inside)) == "no slice shows lung"
    wide, all_of_it = cylinder(700.0)
    assert water_path_cm(wide, all_of_it) == "the body is wider than the image"


def test_phantom_path(dect):
    found = water_path_cm(dect.high, dect.truth.lungs.array > 0)
    assert found == pytest.approx(dect.settings["mean_water_path_cm"], rel=0.04)
