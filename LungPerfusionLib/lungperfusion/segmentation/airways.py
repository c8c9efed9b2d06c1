"""Trachea, main bronchi and the airway tree, without leaking into the lung."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.body import Coarse
from lungperfusion.morphology import dilated
from lungperfusion.segmentation.airway_growth import (
    STRICTER_QUANTILE,
    WALL_QUANTILE,
    LumenFinder,
    grow,
)
from lungperfusion.segmentation.airway_quality import thick_part, tree_shape
from lungperfusion.volume import Box, Mask

TRACHEA_AREA_MM2 = (30.0, 900.0)
"""Cross-section of the trachea's air on axial slices, child to tracheomegaly."""

TRACHEA_HU = -850.0
"""Coarse voxels below are the core of the trachea."""

TRACHEA_LENGTH_MM = 20.0
"""A tube must be followed over this length to be taken for the trachea."""

WALL_HU = -400.0
"""Mean of a ring of tissue around the trachea: no ring inside the lung is that dense."""

TRACHEA_WALL_MM = 4.0
"""Within this of the trachea's core lie its rim and its wall."""

AERATED_HU = -500.0
"""Lung below tells how dense the lung is around an airway."""


TRACHEAL_AIR_HU, FAR_FROM_LUNG_HU = -900.0, 60.0
"""Three quarters of the trachea's core are darker than the first, whatever kernel, scatter and
noise do to air, or by the second darker than the lung where the scale is shifted."""

DARKER_THAN_LUNG_HU = 10.0
"""The trachea's core is darker than the lung, in emphysema too, by at least this much."""

ABOVE_APEX_MM = 6.0
"""A tube that starts this far above the lungs is in the neck."""

BELOW_APEX_MM = 40.0
"""Where the image ends there, the trachea starts no farther below the top of the lungs."""

BOTH_LUNGS_MM, MIDDLE = 180.0, (0.2, 0.8)
"""Lungs that reach this far from right to left are two, and the trachea lies between these shares
of the way across them."""


@dataclass(frozen=True)
class _Spot:
    """A round section of gas with a wall, on one slice."""

    level: int
    index: int
    centre_mm: tuple[float, float]


Tube = tuple[_Spot, ...]


def find_trachea(coarse: Coarse, air: Mask, gas: Mask) -> Mask:
    """Find the trachea as the longest upright tube of gas with a wall of soft tissue.

    A tongue of lung beside the heart is such a tube as well, but holds lung, lies on one side, or
    starts below the top of the lungs.

    Parameters
    ----------
    coarse
        Coarse copy of the CT.
    air, gas
        Air inside the patient with the density of lung, and pure gas.

    Returns
    -------
    Mask
        Core of the trachea above the carina on the coarse grid; empty if there is none.

    """
    inside = (coarse.hu < TRACHEA_HU) & (air | gas)
    planes = np.zeros(inside.shape, np.int32)
    spots = []
    for k, plane in enumerate(inside):
        planes[k], _ = ndimage.label(plane)
        spots.append(_spots(coarse, planes[k], k))
    trachea = np.zeros(inside.shape, np.bool_)
    for tube in _tubes(spots, coarse.spacing_mm[0]):
        for spot in tube:
            trachea[spot.level] |= planes[spot.level] == spot.index
        if _is_trachea(coarse, trachea, air):
            break
        trachea[:] = False
    return trachea


def _spots(coarse: Coarse, labels: NDArray[np.int32], k: int) -> list[_Spot]:
    """Pieces of gas on a slice that are as large as a trachea and have a wall."""
    _, dj, di = coarse.spacing_mm
    ring_size = tuple(1 + max(1, round(4.0 / s)) for s in (dj, di))
    found = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        mask = labels[box] == label
        area = np.count_nonzero(mask) * dj * di
        height, width = mask.shape[0] * dj, mask.shape[1] * di
        if not TRACHEA_AREA_MM2[0] <= area <= TRACHEA_AREA_MM2[1] or max(height, width) > 45:
            continue
        wide = tuple(
            slice(max(0, part.start - pad), part.stop + pad)
            for part, pad in zip(box, ring_size, strict=True)
        )
        first = ring = _with_neighbours(labels[wide] == label)
        for _ in range(max(ring_size) - 1):
            ring = _with_neighbours(ring)
        ring = ring & ~first
        if ring.any() and coarse.hu[k][wide][ring].mean() > WALL_HU:
            j, i = np.nonzero(mask)
            centre = ((j.mean() + box[0].start) * dj, (i.mean() + box[1].start) * di)
            found.append(_Spot(k, label, centre))
    return found


def _with_neighbours(plane: Mask) -> Mask:
    """Grow by the four neighbours; SciPy's takes longer to set up than such small pieces take."""
    out = plane.copy()
    out[1:] |= plane[:-1]
    out[:-1] |= plane[1:]
    out[:, 1:] |= plane[:, :-1]
    out[:, :-1] |= plane[:, 1:]
    return out


def _tubes(spots: list[list[_Spot]], step_mm: float) -> list[Tube]:
    """Join spots of following slices, from the top; tubes long enough, the longest first."""
    gap = max(1, round(4.0 / step_mm))
    growing: list[Tube] = []
    found: list[Tube] = []
    for level in range(len(spots) - 1, -1, -1):
        continued = []
        for spot in spots[level]:
            near = [
                tube
                for tube in growing
                if np.hypot(*np.subtract(tube[-1].centre_mm, spot.centre_mm)) < 3.0 + step_mm
                and tube[-1].level - level <= gap
            ]
            continued.append((*max(near, key=len), spot) if near else (spot,))
        resting = [tube for tube in growing if tube[-1].level - level < gap]
        found += continued
        growing = continued + resting
    long = [tube for tube in found if len(tube) * step_mm >= TRACHEA_LENGTH_MM]
    starts: dict[_Spot, Tube] = {}
    for tube in sorted(long, key=len):
        starts[tube[0]] = tube  # the longest that starts there
    return sorted(starts.values(), key=len, reverse=True)


def _is_trachea(coarse: Coarse, tube: Mask, air: Mask) -> bool:
    """Tell a trachea from a tongue of lung: by its air, and by its place where lungs show it."""
    core = tube & ~_rim(tube)
    held = coarse.hu[core if core.any() else tube]
    lung = air & ~dilated(tube, TRACHEA_WALL_MM, coarse.spacing_mm)
    darkest = float(np.percentile(held, 75))
    if not lung.any():
        return darkest < TRACHEAL_AIR_HU
    lung_hu = float(np.median(coarse.hu[lung]))
    if darkest > max(TRACHEAL_AIR_HU, lung_hu - FAR_FROM_LUNG_HU):
        return False
    above = np.flatnonzero(tube.any(axis=(1, 2)))[-1] - np.flatnonzero(lung.any(axis=(1, 2)))[-1]
    above_mm = above * coarse.spacing_mm[0]
    if above_mm >= ABOVE_APEX_MM:
        return True
    if np.median(held) > lung_hu - DARKER_THAN_LUNG_HU:
        return False
    first, *_, last = np.flatnonzero(lung.any(axis=(0, 1)))
    if (last - first) * coarse.spacing_mm[2] < BOTH_LUNGS_MM:
        return True
    place = (float(np.nonzero(tube)[2].mean()) - first) / (last - first)
    return bool(MIDDLE[0] < place < MIDDLE[1] and above_mm > -BELOW_APEX_MM)


def _rim(mask: Mask) -> Mask:
    """Blocks of a mask whose neighbour in the slice lies outside."""
    cross = ndimage.generate_binary_structure(2, 1)[None]
    return mask & ~ndimage.binary_erosion(mask, cross)


@dataclass(frozen=True)
class Airways:
    """Airways of a CT, on its own and on the coarse grid."""

    tree: Mask
    """On ``box`` of the upright CT."""
    box: Box
    main: Mask
    """Trachea and main bronchi on the coarse grid."""
    warning: str = ""
    """What a user should know, if the tree is not the full one."""


def find_airways(hu: NDArray[Any], coarse: Coarse, air: Mask, trachea: Mask) -> Airways | None:
    """Follow the airways from the upper end of the trachea; None without a trachea.

    A tree that may have leaked is followed again with higher walls, and if that leaks too, down to
    the main bronchi only.

    Parameters
    ----------
    hu
        CT, axes (head, front, right).
    coarse
        Its coarse copy.
    air
        Air of lungs and airways on the coarse grid.
    trachea
        Core of the trachea on the coarse grid.

    """
    lung = air & ~dilated(trachea, TRACHEA_WALL_MM, coarse.spacing_mm)
    lung &= coarse.hu < AERATED_HU
    if not (trachea.any() and lung.any()):
        return None
    levels = np.flatnonzero(trachea.any(axis=(1, 2)))
    seeds = np.zeros_like(trachea)
    top = levels[-max(1, round(10.0 / coarse.spacing_mm[0])) :]
    seeds[top] = trachea[top]
    for quantile, narrow in ((WALL_QUANTILE, True), (STRICTER_QUANTILE, True), (1.0, False)):
        lumen = LumenFinder(hu, coarse, lung, trachea, quantile=quantile, narrow=narrow)
        tree = grow(lumen, seeds)
        blocks = _sampled(coarse, tree, lumen.box)
        leak = tree_shape(coarse, blocks, lung & ~blocks).leak
        if leak == "pass" or (quantile == STRICTER_QUANTILE and leak == "warn"):
            break
    warning = ""
    if not narrow:
        warning = (
            "The bronchi could not be distinguished from the lung around them; only trachea and "
            "main bronchi are labelled as airways, smaller bronchi count as lung."
        )
    return Airways(tree, lumen.box, thick_part(blocks, coarse), warning)


def _sampled(coarse: Coarse, mask: Mask, box: Box) -> Mask:
    """Blocks whose middle voxel is in a mask, given on a box of the CT."""
    out = np.zeros(coarse.hu.shape, np.bool_)
    inside, places = [], []
    for factor, size, part, n in zip(
        coarse.factors, coarse.fine_shape, box, coarse.hu.shape, strict=True
    ):
        middle = np.minimum(np.arange(n) * factor + factor // 2, size - 1)
        held = (middle >= part.start) & (middle < part.stop)
        inside.append(np.flatnonzero(held))
        places.append(middle[held] - part.start)
    out[np.ix_(*inside)] = mask[np.ix_(*places)]
    return out
