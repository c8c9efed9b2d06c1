"""Subtraction CT: mass kept under inflation, units, what is not known."""

from dataclasses import replace

import numpy as np
import pytest

from lungperfusion.errors import InputError
from lungperfusion.iodine.decomposition import IodineMap
from lungperfusion.iodine.subtraction import (
    EDGE_REACH_MM,
    GOOD_NEGATIVE_SHARE,
    MOST_NEGATIVE_SHARE,
    alignment,
    misregistered,
    negative_share,
    subtract_native,
)
from lungperfusion.volume import Geometry, Labelmap, Volume

GEOMETRY = Geometry.axial((4, 12, 14), (2.0, 2.0, 3.0))
K = 27.0


def scans(inflation, seed=1):
    """Contrast scan, and the native one of the same tissue with ``inflation`` times the volume."""
    rng = np.random.default_rng(seed)
    density = rng.uniform(0.08, 0.3, GEOMETRY.shape)  # g/mL at the contrast scan
    iodine = rng.uniform(0.5, 3.0, GEOMETRY.shape)
    contrast = Volume((1000 * density - 1000 + K * iodine).astype(np.float32), GEOMETRY, "HU")
    native = (1000 * density / inflation - 1000).astype(np.float32)
    return contrast, native, iodine


@pytest.mark.parametrize("inflation", [0.92, 1.0, 1.05, 1.08])
def test_mass_is_kept_under_inflation(inflation):
    contrast, native, iodine = scans(inflation)
    ratio = np.full(GEOMETRY.shape, inflation, np.float32)
    found = subtract_native(contrast, native, ratio, hu_per_mg_ml=K, reference_hu_per_mg_ml=25.0)
    np.testing.assert_allclose(found.concentration.array, iodine, atol=1e-3)
    np.testing.assert_allclose(found.enhancement.array, 25 * iodine, atol=0.03)


def test_uncorrected_inflation_of_five_percent_falsifies_iodine():
    contrast, native, iodine = scans(1.05)
    found = subtract_native(
        contrast, native, np.ones(GEOMETRY.shape), hu_per_mg_ml=K, reference_hu_per_mg_ml=25.0
    )
    error_hu = K * (found.concentration.array - iodine)
    assert error_hu.mean() == pytest.approx(0.05 / 1.05 * 190, rel=0.05)  # 190 kg/m3 on average


def test_what_is_not_known_is_invalid_and_not_zero_iodine():
    contrast, native, _ = scans(1.0)
    native[0] = np.nan
    ratio = np.ones(GEOMETRY.shape, np.float32)
    ratio[1] = np.nan
    found = subtract_native(contrast, native, ratio, hu_per_mg_ml=K, reference_hu_per_mg_ml=25.0)
    assert not found.concentration.valid[:2].any()
    assert found.concentration.valid[2:].all()
    assert np.isfinite(found.concentration.array).all()


def test_alignment_falls_with_a_shift():
    # structure of several voxels, as vessels make it
    rng = np.random.default_rng(2)
    coarse = np.repeat(np.repeat(rng.uniform(-950, -300, (4, 6, 7)), 2, 1), 2, 2)
    native = Volume(coarse.astype(np.float32), GEOMETRY, "HU")
    contrast = native.with_array(native.array + np.float32(40))
    inside = np.ones(GEOMETRY.shape, bool)
    assert alignment(contrast, native, inside) > 0.99
    moved = native.with_array(np.roll(native.array, 2, axis=2))
    assert alignment(contrast, moved, inside) < 0.5
    assert np.isnan(alignment(contrast, native, ~inside))


def test_refusals():
    contrast, native, _ = scans(1.0)
    ratio = np.ones(GEOMETRY.shape)
    with pytest.raises(InputError, match="native CT has shape"):
        subtract_native(contrast, native[:2], ratio, hu_per_mg_ml=K, reference_hu_per_mg_ml=25)
    with pytest.raises(InputError, match="above 0 HU per mg/mL, not 0"):
        subtract_native(contrast, native, ratio, hu_per_mg_ml=0, reference_hu_per_mg_ml=25)


def test_an_empty_defect_is_not_less_than_no_iodine_and_a_displaced_vessel_is():
    grid = Geometry.axial((24, 30, 30), (2.0, 2.0, 2.0))
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:-2, 2:-2, 2:-2] = 1
    lungs = Labelmap(labels, grid, {1: "left_lung"})
    mg_ml = np.random.default_rng(6).normal(1.4, 1.0, grid.shape).astype(np.float32)
    mg_ml[:, :, 15:] -= 1.4  # half of the lung gets no blood
    made = IodineMap(
        concentration=Volume(mg_ml, grid, "mg/mL"),
        hu_per_mg_ml=25.0,
        method="",
        virtual_native=None,
    )
    assert negative_share(made, lungs) <= GOOD_NEGATIVE_SHARE
    mg_ml = mg_ml.copy()
    mg_ml[:, 14:16, 5:10] -= 8.0
    moved = replace(made, concentration=Volume(mg_ml, grid, "mg/mL"))
    share = negative_share(moved, lungs)
    assert GOOD_NEGATIVE_SHARE < share < MOST_NEGATIVE_SHARE
    valid = np.ones(grid.shape, np.bool_)
    valid[:, 8:22, :14] = False
    left_out = replace(made, concentration=Volume(mg_ml, grid, "mg/mL", valid))
    assert negative_share(left_out, lungs) <= GOOD_NEGATIVE_SHARE
    nothing = replace(made, concentration=Volume(mg_ml, grid, "mg/mL", ~(labels > 0)))
    assert np.isnan(negative_share(nothing, lungs))


@pytest.fixture(scope="module")
def even_lung():
    """A noisy lung of even iodine with a place without any; iodine, contrast CT, lungs, place."""
    geometry = Geometry.axial((30, 40, 40), (2.0, 2.0, 2.0))
    labels = np.ones(geometry.shape, np.uint8)
    iodine = np.random.default_rng(4).normal(1.4, 0.6, geometry.shape).astype(np.float32)
    empty = np.zeros(geometry.shape, np.bool_)
    empty[8:22, 6:20, 6:20] = True
    iodine[empty] -= 1.4
    contrast = np.full(geometry.shape, -850.0, np.float32)
    lungs = Labelmap(labels, geometry, {1: "left_lung", 2: "right_lung"})
    return iodine, contrast, lungs, empty


def edges_of(iodine, contrast, lungs):
    image = Volume(iodine, lungs.geometry, "mg/mL")
    made = IodineMap(concentration=image, hu_per_mg_ml=25, method="subtraction")
    return misregistered(made, Volume(contrast, lungs.geometry, "HU"), lungs)


def test_lung_without_any_iodine_is_no_displaced_edge(even_lung):
    iodine, contrast, lungs, _ = even_lung
    assert not edges_of(iodine, contrast, lungs).any()


def test_displaced_edges_are_found_beside_enhanced_vessels(even_lung):
    iodine, contrast, lungs, empty = (np.copy(x) if x is not even_lung[2] else x for x in even_lung)
    iodine[:, 30:32, 30:32] -= 8.0  # the wall of a bronchus in the native scan
    iodine[:, 32:34, 30:32] += 12.0  # and the vessel that goes with it in the contrast scan
    contrast[:, 32:34, 30:32] = -100.0
    found = edges_of(iodine, contrast, lungs)
    assert found[:, 30:32, 30:32].all()
    rows = np.flatnonzero(found.any(axis=(0, 2)))
    assert (30 - rows[0]) * 2.0 <= 3 * EDGE_REACH_MM
    assert not found[empty].any()
