"""Gaussian means of what is known, in millimetres, on a grid just fine enough for them."""

from __future__ import annotations

from functools import partial

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.resampling import (
    from_sitk,
    geometry_from_sitk,
    set_sitk_geometry,
    to_sitk,
)
from lungperfusion.threads import both
from lungperfusion.volume import Geometry, Mask

VOXELS_PER_SIGMA = 2
"""A finer grid than this changes a Gaussian mean by less than 1 % of the map's spread."""

LEAST_WEIGHT = 1e-4
"""Share of the Gaussian below which a mean is rounding error."""


def gaussian_mean(
    values: NDArray[np.floating], known: Mask, geometry: Geometry, sigma_mm: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean of the known voxels under a Gaussian.

    Normalised convolution, ``G*(m x) / G*m``: what is not known counts nothing, and nothing lies
    outside of the array.

    Parameters
    ----------
    values
        Map, shape (K, J, I); may hold anything where it is not known.
    known
        Voxels that count, same shape.
    geometry
        Grid of both.
    sigma_mm
        Standard deviation; 0 gives the known values.

    Returns
    -------
    mean : ndarray
        At every voxel; rounding error where the weight is near 0.
    weight : ndarray
        Share of the Gaussian that is known, 0 to 1.

    """
    signal = np.where(known, values, 0).astype(np.float32, copy=False)
    share = known.astype(np.float32)
    if sigma_mm <= 0:
        return signal, share
    return _mean(signal, share, geometry, sigma_mm)


def gaussian_band(
    values: NDArray[np.floating],
    known: Mask,
    geometry: Geometry,
    sigmas_mm: tuple[float, float],
) -> NDArray[np.float32]:
    """Spots between two sizes: the Gaussian mean of the small sigma minus that of the large one.

    Parameters
    ----------
    values, known, geometry
        As in `gaussian_mean`.
    sigmas_mm
        Small and large standard deviation.

    """
    signal = np.where(known, values, 0).astype(np.float32, copy=False)
    share = known.astype(np.float32)
    block = _block(geometry, sigmas_mm[0])
    signal, cells = _in_cells(signal, geometry, block)
    share, _ = _in_cells(share, geometry, block)
    spacing = np.array(geometry.spacing_kji_mm)
    small, large = (
        _mean(signal, share, cells, np.sqrt(sigma**2 - _widened(block) * spacing**2))[0]
        for sigma in sigmas_mm
    )
    return _between_cells(np.subtract(small, large, out=small), cells, geometry)


def _mean(
    signal: NDArray[np.float32],
    share: NDArray[np.float32],
    geometry: Geometry,
    sigma_mm: float | NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    smooth = partial(_smoothed, geometry=geometry, sigma_mm=sigma_mm)
    total, weight = both(partial(smooth, signal), partial(smooth, share))
    return np.divide(total, np.maximum(weight, LEAST_WEIGHT), out=total), weight


def _smoothed(
    array: NDArray[np.float32], *, geometry: Geometry, sigma_mm: float | NDArray[np.float64]
) -> NDArray[np.float32]:
    spacing = np.array(geometry.spacing_kji_mm)
    block = _block(geometry, sigma_mm)
    if block.max() == 1:
        return _filtered(array, sigma_mm / spacing)
    sigma = np.sqrt((sigma_mm / spacing) ** 2 - _widened(block)) / block
    coarse, cells = _in_cells(array, geometry, block)
    return _between_cells(_filtered(coarse, sigma), cells, geometry)


def _block(geometry: Geometry, sigma_mm: float | NDArray[np.float64]) -> NDArray[np.int_]:
    """Voxels along each axis that make one cell."""
    spacing = np.array(geometry.spacing_kji_mm)
    return np.asarray(np.maximum(1, (sigma_mm / (VOXELS_PER_SIGMA * spacing)).astype(int)))


def _widened(block: NDArray[np.int_]) -> NDArray[np.float64]:
    """Variance, in voxels squared, that means of cells and lines between them add."""
    return np.where(block > 1, (block**2 - 1) / 12 + block**2 / 6, 0.0)


def _in_cells(
    array: NDArray[np.float32], geometry: Geometry, block: NDArray[np.int_]
) -> tuple[NDArray[np.float32], Geometry]:
    """Means of blocks of voxels; nothing lies outside of the array."""
    fine = to_sitk(array, geometry)
    shrink = [int(n) for n in block[::-1]]
    past_end = [-size % n for size, n in zip(fine.GetSize(), shrink, strict=True)]
    if any(past_end):
        fine = sitk.ConstantPad(fine, [0, 0, 0], past_end, 0.0)
    coarse = sitk.BinShrink(fine, shrink)
    return from_sitk(coarse), geometry_from_sitk(coarse)


def _between_cells(
    array: NDArray[np.float32], cells: Geometry, geometry: Geometry
) -> NDArray[np.float32]:
    """Values at voxels on lines between the middles of cells; level beyond the last one."""
    fine = set_sitk_geometry(sitk.Image(geometry.shape[::-1], sitk.sitkUInt8), geometry)
    coarse, identity = to_sitk(array, cells), sitk.Transform()
    return from_sitk(
        sitk.Resample(coarse, fine, identity, sitk.sitkLinear, 0.0, sitk.sitkFloat32, True)
    )


def _filtered(array: NDArray[np.float32], sigma: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(ndimage.gaussian_filter(array, tuple(sigma), mode="constant"), np.float32)
