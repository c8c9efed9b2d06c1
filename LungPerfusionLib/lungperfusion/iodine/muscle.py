"""Muscle of the chest wall, which hardly takes up contrast: a check of two scans' soft tissue."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lungperfusion.iodine.exclusion import between_lungs
from lungperfusion.morphology import dilated, eroded
from lungperfusion.quality import Gate
from lungperfusion.terms import LUNGS
from lungperfusion.volume import Labelmap, Volume, bounding_box

MUSCLE_HU = (0.0, 110.0)
"""CT number of muscle, native or with contrast, smoothed; fat lies below, bone above."""

FROM_LUNGS_MM = 20.0
"""Chest wall this close to the lungs."""

EDGE_MM = 4.0
"""Muscle this close to fat, bone or lung is blurred with it."""

SMOOTHING_MM = 1.5

LEAST_MUSCLE_ML = 5.0

ENHANCEMENT_HU = (-5.0, 20.0)
"""What contrast may add to muscle within half a minute of its injection, with the error of two
medians; less than none means that one of the scales is off."""


def muscle_hu(image: Volume, lungs: Labelmap) -> float | None:
    """Median CT number of the muscle around the upper half of the lungs; None with too little.

    Below, liver and spleen lie beside the lungs, which enhance.
    """
    inside = lungs.mask(*LUNGS)
    if not inside.any():
        return None
    geometry = lungs.geometry
    reach = [int(np.ceil(FROM_LUNGS_MM / s)) + 1 for s in geometry.spacing_kji_mm]
    box = bounding_box(inside, (reach[0], reach[1], reach[2]))
    local, lung = geometry.crop(box), inside[box]
    spacing = local.spacing_kji_mm
    height = local.coordinate_mm("S")
    smooth = ndimage.gaussian_filter(
        image.array[box].astype(np.float32), [SMOOTHING_MM / s for s in spacing]
    )
    low, high = MUSCLE_HU
    wall = eroded((smooth > low) & (smooth < high), EDGE_MM, spacing)
    wall &= dilated(lung, FROM_LUNGS_MM, spacing) & ~lung & ~between_lungs(lung, local)
    wall &= height > height[lung].mean()
    if image.valid is not None:
        wall &= image.valid[box]
    if np.count_nonzero(wall) * geometry.voxel_volume_ml < LEAST_MUSCLE_ML:
        return None
    return float(np.median(image.array[box][wall]))


def judge_muscle(contrast_hu: float | None, native_hu: float | None) -> Gate:
    """Compare the muscle of a contrast and a native scan, their air being corrected."""
    least, most = ENHANCEMENT_HU
    limit = f"{least:g} to {most:g} HU"
    if contrast_hu is None or native_hu is None:
        return Gate(
            id="soft_tissue_calibration",
            verdict="unknown",
            message="The scans show too little muscle around the lungs to compare their soft "
            "tissue.",
            limit=limit,
        )
    added = contrast_hu - native_hu
    good = least <= added <= most
    return Gate(
        id="soft_tissue_calibration",
        verdict="pass" if good else "warn",
        message=f"Muscle of the chest wall is {added:+.1f} HU brighter in the contrast scan"
        + ("." if good else ": the two scans have different scales, and iodine is off by a part."),
        value=added,
        unit="HU",
        limit=limit,
    )
