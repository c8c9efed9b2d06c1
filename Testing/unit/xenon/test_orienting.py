"""How an image lies: codes, fields of view, mirrors."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.errors import InputError
from lungperfusion.volume import Geometry
from lungperfusion.xenon.orienting import (
    MIRROR_MARGIN,
    better_mirror,
    code_of,
    grid_of_field,
    mirror_fits,
    mirrored_code,
    orientation_code,
)


@pytest.mark.parametrize("code", ["ILP", "LPS", "RAS", "PIL", "SRA"])
def test_a_field_of_view_makes_the_grid_that_its_code_says(code):
    grid = grid_of_field((10, 20, 40), (400.0, 300.0, 250.0), code)

    assert grid.spacing_ijk_mm == (10.0, 15.0, 25.0)
    assert code_of(grid) == code
    assert np.allclose(grid.corners_ras_mm().mean(axis=0), 0)


def test_spacing_is_exact():
    assert grid_of_field((128,) * 3, (400.0,) * 3, "coronal").spacing_ijk_mm == (3.125,) * 3


@pytest.mark.parametrize("words", ["RRS", "XYZ", "RA", "frontal"])
def test_what_is_no_orientation_is_refused(words):
    with pytest.raises(InputError, match="orientation"):
        orientation_code(words)


def test_a_field_of_view_in_cm_is_refused():
    with pytest.raises(InputError, match="50 to 1000"):
        grid_of_field((128,) * 3, (40.0,) * 3, "coronal")


@pytest.mark.parametrize("axes", ["", "R", "A", "S"])
def test_a_mirrored_image_is_found_and_named(chest, xenon, axes):
    sign = np.array([-1.0 if axis in axes else 1.0 for axis in "RAS"])
    matrix = np.diag([*sign, 1.0]) @ xenon.geometry.ijk_to_ras
    fits = mirror_fits(xenon.mask, Geometry(xenon.geometry.shape, matrix), chest.truth.lungs)

    assert better_mirror(fits) == (axes or None)
    rest = max(value for key, value in fits.items() if key != axes)
    assert fits[axes] - rest > MIRROR_MARGIN


@pytest.mark.parametrize("kept", ["slice", "voxel"])
def test_a_mask_that_is_no_lung_is_refused(chest, xenon, kept):
    place = np.argwhere(xenon.mask)[xenon.mask.sum() // 2]
    chosen = (place[0],) if kept == "slice" else tuple(place)
    thin = np.zeros_like(xenon.mask)
    thin[chosen] = xenon.mask[chosen]
    with pytest.raises(InputError, match="shows no lungs"):
        mirror_fits(thin, xenon.geometry, chest.truth.lungs)


def test_the_code_to_give_is_said():
    assert mirrored_code("ILP", "R") == "IRP"
    assert mirrored_code("ILP", "RAS") == "SRA"
