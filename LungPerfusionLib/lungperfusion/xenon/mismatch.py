"""Gas transfer against the CT beneath it, and against perfusion where it is known.

Classes are patterns: red-cell transfer that is low where CT is normal, or low together with
perfusion.  They say where to look, not what the cause is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungperfusion.terms.regions import STRUCTURES
from lungperfusion.terms.xenon import MISMATCH_CLASSES, NORMAL_TISSUE_SHARE
from lungperfusion.volume import Labelmap
from lungperfusion.xenon.classes import IMPAIRED
from lungperfusion.xenon.footprints import Tissue
from lungperfusion.xenon.images import XenonClasses

BOTH_NORMAL, LOW_IN_NORMAL_CT, BOTH_ABNORMAL, KEPT_IN_ABNORMAL_CT = 1, 2, 3, 4
"""Numbers of the classes, in the order of `MISMATCH_CLASSES`; 0 is not judged."""

PERFUSION_LOW = 0.6
"""Perfusion or iodine below this share of its median in the lungs is low, as for V/Q classes."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Mismatch:
    """Classes of the voxels of the MRI's mask, arrays of shape (N,)."""

    classes: NDArray[np.uint8]
    """Numbers of `MISMATCH_CLASSES` from 1; 0 where transfer or CT is unknown."""
    ct_normal: NDArray[np.bool_]
    judged: NDArray[np.bool_]

    def labelmap(self, found: XenonClasses) -> Labelmap:
        """Classes on the grid of the MRI."""
        array = np.zeros(found.maps.geometry.shape, np.uint8)
        labels = [STRUCTURES[name].label for name in MISMATCH_CLASSES]
        array[found.maps.mask] = np.array([0, *labels], np.uint8)[self.classes]
        return Labelmap(
            array, found.maps.geometry, dict(zip(labels, MISMATCH_CLASSES, strict=True))
        )


def transfer_mismatch(found: XenonClasses, tissue: Tissue) -> Mismatch | None:
    """Compare transfer with the CT beneath; None without RBC:gas.

    Parameters
    ----------
    found
        Classes of the MRI.
    tissue
        CT within its voxels, in the order of its mask.

    """
    if found.rbc_class is None:
        return None
    mask = found.maps.mask
    rbc = found.rbc_class[mask]
    known = ~np.isnan(tissue.normal_share)
    normal = known & (np.nan_to_num(tissue.normal_share) >= NORMAL_TISSUE_SHARE)
    judged = found.measured[mask] & known & (rbc > 0)
    low = rbc <= IMPAIRED
    numbers = np.select(
        [~low & normal, low & normal, low & ~normal],
        [BOTH_NORMAL, LOW_IN_NORMAL_CT, BOTH_ABNORMAL],
        KEPT_IN_ABNORMAL_CT,
    )
    return Mismatch(
        classes=np.where(judged, numbers, 0).astype(np.uint8), ct_normal=normal, judged=judged
    )


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Patterns:
    """Low transfer beside perfusion, arrays of shape (N,)."""

    membrane_side: NDArray[np.bool_]
    """Transfer low, perfusion not."""
    perfusion_side: NDArray[np.bool_]
    """Both low."""
    judged: NDArray[np.bool_]


def transfer_patterns(
    found: XenonClasses, perfusion: NDArray[np.float32], low: float = PERFUSION_LOW
) -> Patterns | None:
    """Compare transfer with perfusion in the voxels of the MRI; None without RBC:gas.

    Parameters
    ----------
    found
        Classes of the MRI.
    perfusion
        Perfusion or iodine within the voxels of its mask, in any unit; NaN where unknown.
    low
        Share of the median of the lungs below which it is low.

    """
    if found.rbc_class is None:
        return None
    mask = found.maps.mask
    rbc = found.rbc_class[mask]
    judged = found.measured[mask] & np.isfinite(perfusion) & (rbc > 0)
    if not judged.any():
        return None
    impaired = judged & (rbc <= IMPAIRED)
    poor = perfusion < low * float(np.median(perfusion[judged]))
    return Patterns(membrane_side=impaired & ~poor, perfusion_side=impaired & poor, judged=judged)
