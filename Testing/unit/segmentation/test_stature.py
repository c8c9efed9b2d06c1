"""Size of the body: children are measured as adults are, animals and wrong spacing refused."""

from __future__ import annotations

import numpy as np
import pytest
from scaled_chest import scaled

from lungperfusion.errors import InputError
from lungperfusion.phantoms import KINDS
from lungperfusion.segmentation.lungs import segment_lungs
from lungperfusion.stature import (
    NARROWEST_MM,
    WIDEST_MM,
    body_width_mm,
    relative_size,
    require_patient,
)
from lungperfusion.volume import Geometry, Volume

LUNGS = ("left_lung", "right_lung")


@pytest.fixture(scope="module")
def adult():
    return KINDS["small"]((3.2, 3.2, 3.2))


def disc(width_mm, step_mm):
    """Elliptic trunk of water on a table, twice as wide as the image is away from it."""
    count = round(1.25 * width_mm / step_mm)
    geometry = Geometry.axial((5, count, count), (step_mm, step_mm, 5.0))
    r, a = (geometry.coordinate_mm(axis) for axis in "RA")
    r, a = r - np.mean(r), a - np.mean(a)
    hu = np.full(geometry.shape, -1000, np.int16)
    hu[(((2 * r / width_mm) ** 2 + (3 * a / width_mm) ** 2) < 1) & (hu < 0)] = 0
    hu[(np.abs(a + 0.4 * width_mm) < 0.01 * width_mm) & (hu < 0)] = 100
    return Volume(hu, geometry, "HU")


@pytest.mark.parametrize("width_mm", [80.0, 340.0])
def test_width_of_the_body_not_of_the_table(width_mm):
    found = body_width_mm(disc(width_mm, width_mm / 100))

    assert found == pytest.approx(width_mm, rel=0.03)


def test_width_is_unknown_where_the_field_of_view_cuts_the_body():
    ct = disc(340.0, 4.0)
    middle = ct.geometry.shape[2] // 2

    assert body_width_mm(ct.crop((slice(None), slice(None), slice(0, middle)))) is None
    assert relative_size(None) == 1.0


@pytest.mark.parametrize("factor", [0.6, 0.4, 0.3])
def test_children_are_measured_like_adults(adult, factor):
    ct = scaled(adult.ct, factor)

    result = segment_lungs(ct)

    truth = adult.truth.volumes_ml
    for lung in LUNGS:
        found = result.labelmap.volume_ml(lung)
        assert found == pytest.approx(truth[lung] * factor**3, rel=0.02), lung
    gate = {gate.id: gate for gate in result.gates}["lung_volume"]
    assert gate.verdict == "pass"
    assert "a body of this width" in gate.message


@pytest.mark.parametrize("factor", [0.12, 0.07, 10.0])
def test_animals_and_wrong_spacing_are_refused(adult, factor):
    with pytest.raises(InputError, match=r"mm wide; check the voxel spacing of the file \(mm\)"):
        segment_lungs(scaled(adult.ct, factor))


def test_widths_on_the_limits_are_no_reason_to_refuse():
    ct = disc(340.0, 4.0)

    for width_mm in (NARROWEST_MM, WIDEST_MM, None):
        require_patient(ct, width_mm)
    for width_mm in (NARROWEST_MM - 1, WIDEST_MM + 1):
        with pytest.raises(InputError, match=f"a body {width_mm:.0f} mm wide"):
            require_patient(ct, width_mm)
