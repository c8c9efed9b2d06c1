"""Gaussian means of what is known, in millimetres, on a grid just fine enough for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.resampling import from_sitk, to_sitk
from lungperfusion.threads import thread_count
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
    smooth = partial(_smoothed, geometry=geometry, sigma_mm=sigma_mm)
    with ThreadPoolExecutor(thread_count(2)) as pool:
        total, weight = pool.map(smooth, (signal, share))
    return np.divide(total, np.maximum(weight, LEAST_WEIGHT), out=total), weight


def _smoothed(
    array: NDArray[np.float32], *, geometry: Geometry, sigma_mm: float
) -> NDArray[np.float32]:
    spacing = np.array(geometry.spacing_kji_mm)
    block = np.maximum(1, (sigma_mm / (VOXELS_PER_SIGMA * spacing)).astype(int))
    if block.max() == 1:
        return _filtered(array, sigma_mm / spacing)
    # means of blocks and lines between them smooth as well: (b^2 - 1) / 12 + b^2 / 6 voxels squared
    widened = np.where(block > 1, (block**2 - 1) / 12 + block**2 / 6, 0.0)
    sigma = np.sqrt((sigma_mm / spacing) ** 2 - widened) / block
    fine = to_sitk(array, geometry)
    shrink = [int(n) for n in block[::-1]]
    past_end = [-size % n for size, n in zip(fine.GetSize(), shrink, strict=True)]
    coarse = sitk.BinShrink(sitk.ConstantPad(fine, [0, 0, 0], past_end, 0.0), shrink)
    filtered = sitk.GetImageFromArray(_filtered(from_sitk(coarse), sigma))
    filtered.CopyInformation(coarse)
    identity = sitk.Transform()
    return from_sitk(
        sitk.Resample(filtered, fine, identity, sitk.sitkLinear, 0.0, sitk.sitkFloat32, True)
    )


def _filtered(array: NDArray[np.float32], sigma: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(ndimage.gaussian_filter(array, tuple(sigma), mode="constant"), np.float32)
