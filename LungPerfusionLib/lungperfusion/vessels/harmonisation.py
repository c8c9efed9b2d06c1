"""Scans of different sharpness brought to one point spread before vessels are measured."""

from __future__ import annotations

import numpy as np

from lungperfusion.errors import InputError
from lungperfusion.vessels.enhancement import SLICE_BLUR, smooth_mm
from lungperfusion.volume import Volume

_FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2.0))


def harmonised(ct: Volume, point_spread_mm: float, target_mm: float) -> Volume:
    """Smooth a scan to a point spread that is the same in all directions.

    Vessels show the point spread averaged over directions; thick slices add to it along their
    axis, as `lungperfusion.vessels.enhancement.axis_scales_mm` has it.  What each axis lacks is
    made up for by a Gaussian.

    Parameters
    ----------
    ct
        Chest CT.
    point_spread_mm
        Its point spread, full width at half maximum, as measured on its vessels.
    target_mm
        Point spread wanted.

    Raises
    ------
    InputError
        If the scan is less sharp than that along one of its axes.

    """
    spacing = ct.geometry.spacing_kji_mm
    slices = np.array([SLICE_BLUR * (mm - min(spacing)) for mm in spacing]) ** 2
    blur = (point_spread_mm / _FWHM_PER_SIGMA) ** 2
    variance = np.maximum(blur - slices.mean(), 0.0) + slices
    lacking = (target_mm / _FWHM_PER_SIGMA) ** 2 - variance
    if (lacking < 0).any():
        widest = float(np.sqrt(variance.max()) * _FWHM_PER_SIGMA)
        raise InputError(
            f"the scan cannot be harmonised to {target_mm:g} mm: its point spread is "
            f"{widest:.2f} mm along one axis already; choose a wider one for all scans"
        )
    smooth = smooth_mm(ct.array.astype(np.float32), np.sqrt(lacking).tolist(), spacing)
    return Volume(smooth, ct.geometry, ct.unit, ct.valid)
