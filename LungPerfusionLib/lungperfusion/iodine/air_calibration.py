"""The error of air in a CT, from the air of the large airways."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import numpy as np

from lungperfusion.morphology import depth_mm
from lungperfusion.quality import Gate
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


LARGEST_OFFSET_HU = 30.0
"""Project's choice, after the -1005 to -970 HU of air in the ACR CT accreditation phantom; more is
an error of the scale, which subtracting an offset does not mend."""


def air_offsets(
    images: Mapping[str, tuple[Volume, Mask]],
) -> tuple[tuple[float, float], Gate]:
    """Measure the air of two images that are to be compared.

    Parameters
    ----------
    images
        Two images in HU by name, each with air inside the patient.

    Returns
    -------
    tuple of float
        Offsets to subtract; 0 for both where one could not be computed.
    Gate
        How large they are.

    """
    limit = f"up to {LARGEST_OFFSET_HU:g} HU from -1000 in both"
    measured = {name: air_offset_hu(image, air) for name, (image, air) in images.items()}
    first, second = measured.values()
    if first is None or second is None:
        without = " and ".join(name for name, offset in measured.items() if offset is None)
        return (0.0, 0.0), Gate(
            id="iodine_air",
            verdict="warn",
            message=f"The {without} shows too little air in the large airways for a calibration: "
            "offsets are taken as 0 HU; 2 HU between both images bias lung iodine by about 5 %.",
            limit=limit,
        )
    words = " and ".join(f"{offset:+.1f} HU in the {name}" for name, offset in measured.items())
    largest = max(first, second, key=abs)
    good = abs(largest) <= LARGEST_OFFSET_HU
    return (first, second), Gate(
        id="iodine_air",
        verdict="pass" if good else "warn",
        message=f"Air lies off by {words}, which was subtracted"
        + ("." if good else ": no calibrated scanner is off by so much; look at the scale."),
        value=largest,
        unit="HU",
        limit=limit,
    )
