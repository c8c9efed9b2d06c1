"""The scale space answers tubes, in mm, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.phantoms.vessel_tree import correlated_noise
from lungperfusion.vessels import enhancement
from lungperfusion.vessels.enhancement import (
    curvature_noise_hu,
    curved,
    enhance_vessels,
    second_derivatives,
    smooth_mm,
    tubeness,
)
from lungperfusion.volume import Geometry


def random_matrices(count=500):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, count)).astype(np.float32)
    full = np.empty((count, 3, 3))
    for n, (r, c) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        full[:, r, c] = full[:, c, r] = values[n]
    return values, full


def test_tubeness_from_closed_form_eigenvalues():
    values, full = random_matrices()
    low = np.linalg.eigvalsh(full)
    expected = np.where(low[:, 1] < 0, np.maximum(-low[:, 1] - np.abs(low[:, 2]), 0), 0)
    np.testing.assert_allclose(tubeness(values), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("diagonal", "expected"),
    [((-2, -2, 0), 2.0), ((-2, 0, 0), 0.0), ((-2, -2, -2), 0.0), ((2, 2, 0), 0.0), ((0, 0, 0), 0)],
    ids=["tube", "plate", "blob", "dark tube", "nothing"],
)
def test_tubeness_of_shapes(diagonal, expected):
    matrix = np.zeros((6, 1), np.float32)
    matrix[:3, 0] = diagonal
    assert tubeness(matrix)[0] == pytest.approx(expected, abs=1e-3)


def test_smoothing_does_not_depend_on_the_cut():
    rng = np.random.default_rng(1)
    array = rng.normal(size=(70, 9, 8)).astype(np.float32)
    whole = smooth_mm(array, 1.3, (0.7, 0.8, 0.9))
    part = smooth_mm(array[:50], 1.3, (0.7, 0.8, 0.9))
    np.testing.assert_allclose(part[:30], whole[:30], atol=1e-6)


@pytest.fixture
def speckled():
    """Noise, and a mask full of holes that leaves the border free."""
    rng = np.random.default_rng(3)
    image = rng.normal(-850, 40, (9, 10, 11)).astype(np.float32)
    mask = np.zeros(image.shape, np.bool_)
    mask[1:-1, 1:-1, 1:-1] = rng.random((7, 8, 9)) < 0.7
    return image, mask


@pytest.mark.parametrize("slab_voxels", [1, 350, 10**6])
def test_curved_voxels_are_those_of_the_laplacian_whatever_the_slab(
    monkeypatch, speckled, slab_voxels
):
    image, mask = speckled
    spacing, units = (0.7, 0.8, 0.9), (0.5, 0.5, 0.6)
    monkeypatch.setattr(enhancement, "_SLAB_VOXELS", slab_voxels)
    inside = np.flatnonzero(mask)
    laplacian = second_derivatives(image, inside, spacing, units)[:3].sum(axis=0)
    parts = list(curved(image, mask, spacing, 50.0, 80.0, units))
    bright, dark = (np.concatenate(part) for part in zip(*parts, strict=True))
    np.testing.assert_array_equal(bright, inside[laplacian < -50])
    np.testing.assert_array_equal(dark, inside[laplacian > 80])
    assert 0 < dark.size < bright.size < inside.size


def test_noise_rests_on_voxels_spread_evenly_over_the_mask(monkeypatch, speckled):
    image, mask = speckled
    inside = np.flatnonzero(mask)
    for about in (inside.size, 100, 30):
        taken = enhancement._some_of(mask, about)
        np.testing.assert_array_equal(taken, inside[:: inside.size // about])
    assert curvature_noise_hu(image, mask, (0.7,) * 3, (0.7,) * 3) == pytest.approx(98, rel=0.15)


def line(spacing, shape, sigma_mm=0.8):
    k, j, i = (np.arange(n) * mm for n, mm in zip(shape, spacing, strict=True))
    kk, jj, _ = np.meshgrid(k, j, i, indexing="ij")
    away = (kk - k.mean() - 0.13) ** 2 + (jj - j.mean() + 0.21) ** 2
    return (800 * np.exp(-away / (2 * sigma_mm**2)) - 850).astype(np.float32)


@pytest.mark.parametrize("spacing", [(0.7, 0.7, 0.7), (1.2, 0.6, 0.8)])
def test_axis_below_the_voxel_on_anisotropic_grids(spacing):
    shape = tuple(round(20 / mm) for mm in spacing)
    image = line(spacing, shape)
    rng = np.random.default_rng(0)
    image += rng.normal(0, 10, shape).astype(np.float32)
    mask = np.zeros(shape, bool)
    mask[2:-2, 2:-2, 2:-2] = True
    ridges = enhance_vessels(image, mask, spacing).ridges
    ridges = ridges.take(np.flatnonzero(ridges.certain))
    centre = [(n - 1) / 2 * mm + d for n, mm, d in zip(shape, spacing, (0.13, -0.21), strict=False)]
    error = ridges.position_mm[:, :2] - centre
    assert np.abs(error).mean() < 0.15
    assert np.abs(ridges.direction[:, 2]).min() > 0.9


def test_dark_tubes_are_no_vessels():
    image = -1700 - line((0.7,) * 3, (28, 28, 28))
    mask = np.zeros(image.shape, bool)
    mask[2:-2, 2:-2, 2:-2] = True
    enhanced = enhance_vessels(image, mask, (0.7,) * 3)
    assert not enhanced.ridges.certain.any()
    assert enhanced.lumens.size > 10


def test_a_bright_block_elsewhere_changes_nothing():
    image = line((0.7,) * 3, (28, 28, 28))
    mask = np.zeros(image.shape, bool)
    mask[2:-2, 2:-2, 2:10] = True
    before = enhance_vessels(image, mask, (0.7,) * 3, scales_mm=(0.5, 0.7)).strength_hu
    image[:, :, 20:] += 3000
    after = enhance_vessels(image, mask, (0.7,) * 3, scales_mm=(0.5, 0.7)).strength_hu
    np.testing.assert_array_equal(before, after)


def test_noise_makes_no_airways():
    """Dark noise passes 50 HU at the least scale of lumens; the noise of the scale says so."""
    geometry = Geometry.axial((60, 60, 60), (0.7, 0.7, 0.7), (0.0, 0.0, 0.0))
    image = correlated_noise(geometry, 90.0, 0.8, seed=0) - np.float32(850)
    mask = np.zeros(image.shape, bool)
    mask[3:-3, 3:-3, 3:-3] = True
    assert enhance_vessels(image, mask, geometry.spacing_kji_mm).lumens.size == 0
