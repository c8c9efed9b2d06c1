"""The iodine ratio of a dual-energy pair, from its own enhanced blood."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lungperfusion.morphology import dilated, eroded
from lungperfusion.volume import Mask, Volume, bounding_box

REACH_MM = 40.0
"""Around the core of the pulmonary trunk: heart, great vessels and their walls."""

SMOOTHING_MM = 1.5
"""Gaussian sigma before the regression, against noise."""

SOFT_TISSUE_ABOVE_HU = 20.0
"""High-voltage CT number above fat and partly aerated voxels."""

WALL_MM = 4.0
"""Soft tissue this close to fat or lung is blurred with it and lies on another line."""

DENSE_ABOVE_HU = 600.0
"""High-voltage CT number of undiluted contrast and bone, which are left out."""

MINIMAL_SPREAD_HU = 40.0
"""Standard deviation of the high-voltage image there; less is no contrast to calibrate with."""

RATIO_RANGE = (1.1, 6.0)
"""Ratios of any pair of clinical tube voltages."""


def measure_iodine_ratio(low: Volume, high: Volume, blood: Mask) -> float | str:
    """Regress the low- on the high-voltage image around strongly enhanced blood.

    Soft tissue between unenhanced wall and enhanced blood lies on a line whose slope is
    ``k_low / k_high``.  Both images are noisy, so the line is fitted by orthogonal distances
    (Deming) instead of by least squares in one of them.

    Parameters
    ----------
    low, high
        Images in HU on one grid.
    blood
        Core of an enhanced vessel, such as the pulmonary trunk.

    Returns
    -------
    float or str
        The ratio, or why it cannot be had.

    """
    if not blood.any():
        return "no enhanced vessel to calibrate with"
    spacing = low.geometry.spacing_kji_mm
    margin = [int(np.ceil((REACH_MM + WALL_MM) / s)) + 1 for s in spacing]
    box = bounding_box(blood, (margin[0], margin[1], margin[2]))
    sigma = [SMOOTHING_MM / s for s in spacing]
    low_hu, high_hu = (
        ndimage.gaussian_filter(image.array[box].astype(np.float32), sigma) for image in (low, high)
    )
    usable = eroded(high_hu > SOFT_TISSUE_ABOVE_HU, WALL_MM, spacing)
    usable &= ~dilated(high_hu > DENSE_ABOVE_HU, WALL_MM, spacing)
    usable &= dilated(blood[box], REACH_MM, spacing)
    x, y = (image[usable].astype(np.float64) for image in (high_hu, low_hu))
    if x.size < 100 or x.std() < MINIMAL_SPREAD_HU:
        return "too little contrast around the pulmonary trunk for a calibration"
    _, axes = np.linalg.eigh(np.cov(x, y))
    ratio = float(axes[1, 1] / axes[0, 1])
    least, most = RATIO_RANGE
    if not least <= ratio <= most:
        return f"the iodine ratio of the blood is {ratio:.2f}, not {least:g} to {most:g}"
    return ratio
