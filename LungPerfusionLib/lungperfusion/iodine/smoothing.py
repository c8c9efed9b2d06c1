"""Smoothing of noisy maps that stays inside its region and keeps the mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lungperfusion.smoothing import gaussian_mean
from lungperfusion.volume import FloatArray, Geometry, Mask, bounding_box

IODINE_SMOOTHING_MM = 2.5
"""Gaussian sigma for iodine maps: at 20 HU of image noise an iodine map has about 1 mg/mL of noise,
as much as the lung's own signal, so 2 to 3 mm are needed (error propagation in `noise_mg_ml`)."""

MINIMAL_WEIGHT = 0.05
"""Share of the Gaussian that must lie in the mask for a value outside of it: with less, a few noisy
voxels would decide."""


def smooth_inside(
    values: FloatArray,
    mask: Mask,
    geometry: Geometry,
    *,
    sigma_mm: float,
    fill: Mask | None = None,
) -> NDArray[np.float32]:
    """Smooth a map inside a mask by normalised convolution, without any look across its border.

    ``out = G*(m x) / G*m`` inside the mask m, then shifted by a constant so that the mean inside is
    kept exactly.  A constant map stays constant.  Values outside the mask are returned unchanged.

    Parameters
    ----------
    values
        Map, shape (K, J, I).
    mask
        Region, same shape; each lung on its own keeps the pleura between them.
    geometry
        Grid, for sigma in mm on anisotropic voxels.
    sigma_mm
        Standard deviation of the Gaussian; 0 returns the values.
    fill
        Voxels outside the mask that get the smoothed value of the mask around them, as far as
        there is some; they do not count themselves.

    """
    out = np.array(values, dtype=np.float32)
    smooth_in_place(out, mask, geometry, sigma_mm=sigma_mm, fill=fill)
    return out


def smooth_in_place(
    out: NDArray[np.float32],
    mask: Mask,
    geometry: Geometry,
    *,
    sigma_mm: float,
    fill: Mask | None = None,
) -> None:
    """`smooth_inside` without a copy of the map, for several regions in turn."""
    if sigma_mm == 0 or not mask.any():
        return
    box = bounding_box(mask if fill is None else mask | fill, (1, 1, 1))  # nothing beyond counts
    inside = mask[box]
    smoothed, weight = gaussian_mean(out[box], inside, geometry.crop(box), sigma_mm)
    drawn = inside if fill is None else inside | (fill[box] & (weight > MINIMAL_WEIGHT))
    kept = out[box][inside].mean(dtype=np.float64)
    smoothed += np.float32(kept - smoothed[inside].mean(dtype=np.float64))
    out[box][drawn] = smoothed[drawn]
