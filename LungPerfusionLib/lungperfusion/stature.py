"""Size of the body: small patients are measured with smaller blocks, other animals refused."""

from __future__ import annotations

from math import ceil

import numpy as np
from scipy import ndimage

from lungperfusion.body import BODY_HU, to_upright, upright
from lungperfusion.errors import InputError
from lungperfusion.morphology import dilated, eroded
from lungperfusion.volume import Volume

SMALL_ADULT_MM = 240.0
"""Chest of this width or more: sizes of adults hold.  Chests of adults are 250 mm and more wide
(5th percentile of women, without arms; Tilley 2002, The Measure of Man and Woman)."""

NARROWEST_MM = 60.0
"""Narrower than any chest that is scanned: that of a preterm infant of 1000 g is about 75 mm wide
(chest circumference 230 mm; Usher and McLean 1969, J Pediatr 74:901), of a rat 45 mm."""

WIDEST_MM = 1000.0
"""Wider than any patient that a scanner of 800 mm bore takes."""

CELLS_ACROSS = 120
"""The width is told on so many cells across the image."""

CLOSE_SHARE = 0.03
"""Table shells, tubes and clothing are thinner than twice this share of the image's width."""


def body_width_mm(ct: Volume) -> float | None:
    """Width of the trunk, from the patient's left to right: median over the axial slices.

    Parameters
    ----------
    ct
        CT in HU.

    Returns
    -------
    float or None
        None where the field of view cuts the body off on its sides in most slices, so that the
        width is not known, and where there is no body at all.

    """
    axes, _ = upright(ct.geometry)
    _, dj, di = (ct.geometry.spacing_kji_mm[axis] for axis in axes)
    array = to_upright(ct.array, ct.geometry)
    cell = max(array.shape[2] * di, array.shape[1] * dj) / CELLS_ACROSS
    steps = [max(1, ceil(cell / size)) for size in (dj, di)]
    every = max(1, array.shape[0] // 40)
    picked = (
        slice(every // 2, None, every),
        slice(None, None, steps[0]),
        slice(None, None, steps[1]),
    )
    tissue = array[picked] > BODY_HU
    if ct.valid is not None:
        tissue &= to_upright(ct.valid, ct.geometry)[picked]
    spacing = (1e6, steps[0] * dj, steps[1] * di)  # each slice for itself
    radius = CLOSE_SHARE * array.shape[2] * di
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in tissue])
    widths, cut = [], 0
    for solid in dilated(eroded(filled, radius, spacing), radius, spacing):
        labels, count = ndimage.label(solid)
        if not count:
            continue
        largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
        columns = np.flatnonzero((labels == largest).any(axis=0))
        cut += int(columns[0] == 0 or columns[-1] == solid.shape[1] - 1)
        widths.append((columns[-1] - columns[0] + 1) * spacing[2])
    if not widths or cut > len(widths) / 2:
        return None
    return float(np.median(widths))


def relative_size(width_mm: float | None) -> float:
    """Size relative to a small adult, at most 1; 1 where the width is not known."""
    if width_mm is None:
        return 1.0
    return min(1.0, max(width_mm, NARROWEST_MM) / SMALL_ADULT_MM)


def require_patient(ct: Volume, width_mm: float | None) -> None:
    """Refuse what cannot be the chest of a patient by its width.

    Raises
    ------
    InputError
        If the body is narrower than that of any newborn, or wider than any patient.

    """
    axes, _ = upright(ct.geometry)
    image_mm = ct.geometry.spacing_kji_mm[axes[2]] * ct.geometry.shape[axes[2]]
    if image_mm < NARROWEST_MM:
        what = f"an image only {image_mm:.0f} mm wide"
    elif width_mm is not None and not NARROWEST_MM <= width_mm <= WIDEST_MM:
        what = f"a body {width_mm:.0f} mm wide"
    else:
        return
    raise InputError(
        f"the chest of a patient was expected ({NARROWEST_MM:.0f} to {WIDEST_MM:.0f} mm wide), but "
        f"the CT shows {what}; check the voxel spacing of the file (mm), and that this is no scan "
        "of an animal"
    )
