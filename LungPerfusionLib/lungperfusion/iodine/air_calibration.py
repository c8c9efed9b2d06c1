"""The error of air in a CT, from the air of the large airways."""

from __future__ import annotations

import statistics

import numpy as np

from lungperfusion.morphology import depth_mm
from lungperfusion.terms import AIRWAYS
from lungperfusion.volume import Labelmap, Mask, Volume, bounding_box

AIR_HU = -1000.0

CALIBRATION_AIR_ML = 1.0
"""Air needed for a calibration."""

AIRWAY_WALL_MM = 2.5
"""Air this far from the airway's wall is free of its blur."""


def airway_core(lungs: Labelmap) -> Mask:
    """Air in the middle of the large airways, for calibration."""
    airways = lungs.mask(AIRWAYS)
    core = np.zeros(airways.shape, np.bool_)
    if airways.any():
        box = bounding_box(airways, (1, 1, 1))
        spacing = lungs.geometry.spacing_kji_mm
        core[box] = depth_mm(airways[box], spacing) > AIRWAY_WALL_MM + max(spacing) / 2
    return core


def air_offset_hu(image: Volume, air: Mask) -> float | None:
    """Measure the error of air, measured minus -1000 HU; None with too little air.

    The median, as images end at -1024 HU, which cuts the noise of air on one side; of values
    grouped by whole HU, since that of whole numbers jumps by 1 HU, some 2 % of lung iodine.
    """
    if np.count_nonzero(air) * image.geometry.voxel_volume_ml < CALIBRATION_AIR_ML:
        return None
    return statistics.median_grouped(np.round(image.array[air]).tolist()) - AIR_HU
