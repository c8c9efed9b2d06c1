"""Gaussian means on fine and coarse grids."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lungperfusion.smoothing import gaussian_band, gaussian_mean
from lungperfusion.threads import THREADS_VARIABLE
from lungperfusion.volume import Geometry

SPACING_KJI = np.array((1.5, 0.8, 0.8))
GRID = Geometry.axial((41, 75, 70), (0.8, 0.8, 1.5))


@pytest.fixture(scope="module")
def spots():
    """A noisy map of spots, known in an ellipsoid with holes."""
    rng = np.random.default_rng(4)
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in GRID.shape), indexing="ij")
    known = (k**2 + j**2 + i**2 < 0.9) & (rng.random(GRID.shape) > 0.2)
    values = ndimage.gaussian_filter(rng.normal(0, 1, GRID.shape), 4.0 / SPACING_KJI)
    values = 45 + 10 * values / values.std() + rng.normal(0, 5, GRID.shape)
    return values.astype(np.float32), known


@pytest.mark.parametrize("sigma_mm", [1.0, 2.5, 4.0, 7.0, 12.0])
def test_the_mean_is_that_of_the_full_grid_whatever_the_sigma(spots, sigma_mm):
    values, known = spots
    sigma = sigma_mm / SPACING_KJI
    total = ndimage.gaussian_filter(np.where(known, values, 0.0), sigma, mode="constant")
    weight = ndimage.gaussian_filter(known.astype(float), sigma, mode="constant")
    mean, found = gaussian_mean(values, known, GRID, sigma_mm)
    error = (mean - total / np.maximum(weight, 1e-9))[known]
    assert np.sqrt((error**2).mean()) < 0.01 * values[known].std()
    assert found[known] == pytest.approx(weight[known], abs=0.02)


def test_unknown_values_do_not_count(spots):
    values, known = spots
    for sigma_mm in (2.5, 12.0):
        mean, _ = gaussian_mean(values, known, GRID, sigma_mm)
        spoiled = np.where(known, values, np.nan).astype(np.float32)
        np.testing.assert_array_equal(gaussian_mean(spoiled, known, GRID, sigma_mm)[0], mean)


def test_a_mirrored_map_has_the_mirrored_mean(spots):
    values, known = spots
    mean, _ = gaussian_mean(values, known, GRID, 12.0)
    mirrored, _ = gaussian_mean(values[:, :, ::-1], known[:, :, ::-1], GRID, 12.0)
    error = (mirrored[:, :, ::-1] - mean)[known]
    assert np.abs(error).max() < 0.02 * values[known].std()  # blocks begin at another place


def test_threads_do_not_change_the_mean(spots, monkeypatch):
    values, known = spots
    two = gaussian_mean(values, known, GRID, 4.0)[0]
    monkeypatch.setenv(THREADS_VARIABLE, "1")
    np.testing.assert_array_equal(gaussian_mean(values, known, GRID, 4.0)[0], two)


def test_without_a_sigma_the_known_values_stay(spots):
    values, known = spots
    mean, weight = gaussian_mean(values, known, GRID, 0.0)
    np.testing.assert_array_equal(mean, np.where(known, values, 0))
    np.testing.assert_array_equal(weight, known)


@pytest.mark.parametrize("sigmas_mm", [(1.0, 3.0), (4.0, 12.0)])
def test_a_band_is_the_difference_of_two_means(spots, sigmas_mm):
    values, known = spots
    small, large = (gaussian_mean(values, known, GRID, sigma)[0] for sigma in sigmas_mm)
    band = gaussian_band(values, known, GRID, sigmas_mm)
    error = (band - (small - large))[known]
    assert np.sqrt((error**2).mean()) < 0.015 * (small - large)[known].std()
