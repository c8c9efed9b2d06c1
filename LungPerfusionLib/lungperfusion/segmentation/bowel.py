"""Gas and stool of stomach and bowel, told from lung by place, wall and texture.

No absolute CT number decides: gas of the bowel measures -940 to -1000 HU, and emphysema as little.
Stomach and colon lie below the lung, behind a wall that is thicker than that of any bulla, and no
airway leads into them; a part of the lung lies beside the rest of it, in the same levels.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.body import BODY_HU, CORE_MM, TISSUE_HU, Coarse, components
from lungperfusion.morphology import dilated, distance_mm, eroded
from lungperfusion.volume import Box, Mask, bounding_box

GAS_STEP_HU, LEAST_BELOW_LUNG_HU = 15.0, 25.0
"""Pockets of gas are looked for at levels this far apart, from pure air up to this far below the
median of the lungs: calibrations and scatter differ by more than the gap between gas and lung."""

POCKET_RADIUS_MM = 6.0
"""A ball of this radius fits into a pocket; holes that a coarse grid leaves in its wall are
narrower."""

THICKEST_BULLA_WALL_MM = 1.0
"""The wall of a bulla is no thicker (Hansell 2008, Radiology 246:697, glossary of terms)."""

THINNEST_BOWEL_WALL_MM = 1.25
"""A thicker wall parts bowel from lung: diaphragm and stretched stomach together have 1.5 mm and
more; a quarter millimetre above `THICKEST_BULLA_WALL_MM` is left for vessels on the wall."""

AIR_HU = -1000.0
"""The darkest level at which gas is looked for."""

LARGEST_SHARE = 0.4
"""What takes up more of the aerated regions is lung."""

POCKET_ML = 8.0
"""Smaller pockets are not looked at."""

POCKET_HU = -890.0
"""The core of a pocket of gas is darker in nine of ten blocks; vessels keep lung above."""

ACROSS_WALL_MM = 14.0
"""Lung is looked for behind the wall of a pocket over this distance."""

TISSUE_ROUND_SHARE = 0.5
"""Where the wall is no thicker than that of a bulla may look (slices thicker than the wall leave
gaps in it), so much of the pocket must lie within soft tissue, as seen level with it: a bulla has
lung around it."""

LEAST_WALL_MM = 0.4
"""With less between gas and lung it is no bowel (emphysema 0 to 0.3 mm in the scans tried)."""

THICK_TISSUE_MM = 10.0
"""Soft tissue of this depth is no wall of an airspace."""

LUNG_ABOVE_SHARE = 0.15
"""Share of the columns through a pocket that must meet lung above it: it lies below the lung."""

LUNG_BELOW_SHARE = 0.5
"""Share of the columns through a pocket that may meet air below it: a cavity lies in the lung, with
more of it below (0.75 of the columns and more in scans tried); a stomach may have colon below."""

BELOW_MM = 80.0
"""Lung below is looked for over this distance."""

MOTTLE_HU = 170.0
"""Median standard deviation over neighbouring blocks; stool with gas is more mottled, lung less
(40 to 100 HU with its vessels, noise and disease)."""

LUNG_MEDIAN_HU = -480.0
"""Aerated regions whose median is denser are no lung by themselves."""

APART_MM = 25.0
"""An aerated island farther from the lungs is no part of them."""

SAME_LEVEL_SHARE = 0.5
"""The second lung shares at least this part of its height with the first."""

SECOND_LUNG_SHARE = 0.1
"""It has at least this share of the first one's volume."""


def without_bowel(coarse: Coarse, air: Mask, tube: Mask) -> tuple[Mask, Mask]:
    """Take stomach, bowel and other air that is no lung out of the aerated regions.

    Parameters
    ----------
    coarse
        Coarse copy of the CT.
    air
        Air inside the body with the density of lung.
    tube
        Trachea, with what else of the airways is known; nothing where there are none.

    Returns
    -------
    lung, bowel
        What remains, and the gas behind a wall that was taken out of it.  Islands that are no
        lung are in neither.

    """
    if not air.any():
        return air, np.zeros_like(air)
    bowel = np.zeros_like(air)
    box = bounding_box(air, (2, 2, 2))
    bowel[box] = walled_gas(coarse, box, air[box], tube[box])
    return lung_like(coarse, air & ~bowel), bowel


def walled_gas(coarse: Coarse, box: Box, air: Mask, tube: Mask) -> Mask:
    """Find gas below the lung and behind a wall, however thin the wall is on the grid."""
    hu = coarse.hu[box]
    found = np.zeros(air.shape, np.bool_)
    lung_hu = float(np.median(hu[air]))
    smooth = ndimage.uniform_filter(hu, 3)
    near_tube = dilated(tube, 2.0 * max(coarse.spacing_mm), coarse.spacing_mm)
    for level in np.arange(AIR_HU, lung_hu - LEAST_BELOW_LUNG_HU + 1, GAS_STEP_HU):
        rest = air & ~found
        dark = rest & (smooth < level)
        if np.count_nonzero(dark) * coarse.voxel_ml < POCKET_ML:
            continue
        core = eroded(dark, POCKET_RADIUS_MM, coarse.spacing_mm)
        labels, count = components(dilated(core, POCKET_RADIUS_MM, coarse.spacing_mm) & dark)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        sizes[0] = 0
        for label in np.flatnonzero(sizes * coarse.voxel_ml >= POCKET_ML):
            pocket = labels == label
            if sizes[label] > LARGEST_SHARE * np.count_nonzero(rest) or (pocket & near_tube).any():
                continue
            if is_gas(coarse, hu, pocket):
                pocket = _flooded(coarse, hu, rest, pocket, rest & (smooth >= level))
                if _is_walled(coarse, hu, pocket, rest & ~pocket):
                    found |= pocket
    return found | _crumbs(coarse, air & ~found, found)


def _crumbs(coarse: Coarse, rest: Mask, bowel: Mask) -> Mask:
    """Find stool that hangs on the lung by a thread, once the gas beside it is known."""
    if not bowel.any():
        return bowel
    step = max(coarse.spacing_mm) * 1.01
    labels, _ = components(eroded(rest, step, coarse.spacing_mm))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    thick = labels == int(np.argmax(sizes))
    pieces, _ = components(rest & ~dilated(thick, 2.0 * step, coarse.spacing_mm))
    touching = np.unique(pieces[dilated(bowel, step, coarse.spacing_mm)])
    return np.isin(pieces, touching[touching > 0])


def _is_walled(coarse: Coarse, hu: NDArray[np.float32], pocket: Mask, lung: Mask) -> bool:
    wall = wall_mm(coarse, hu, pocket, lung)
    return lies_below(coarse, pocket, lung) and (
        wall >= THINNEST_BOWEL_WALL_MM
        or (wall >= LEAST_WALL_MM and tissue_round(coarse, hu, pocket, lung) >= TISSUE_ROUND_SHARE)
    )


def is_gas(coarse: Coarse, hu: NDArray[np.float32], pocket: Mask) -> bool:
    """Whether a region holds gas only: no vessel or septum in its core."""
    part = bounding_box(pocket, (1, 1, 1))
    core = eroded(pocket[part], CORE_MM, coarse.spacing_mm)
    inner = core if np.count_nonzero(core) >= 8 else pocket[part]
    return bool(np.percentile(hu[part][inner], 90) < POCKET_HU)


def lies_below(coarse: Coarse, pocket: Mask, lung: Mask) -> bool:
    """Whether a region lies below the lung and not within it."""
    columns = pocket.any(axis=0)
    total = np.count_nonzero(columns)
    top = pocket.shape[0] - 1 - np.argmax(pocket[::-1], axis=0)
    bottom = np.argmax(pocket, axis=0)
    k = np.arange(pocket.shape[0])[:, None, None]
    step = coarse.spacing_mm[0]
    above = lung & (k > top) & ((k - top) * step <= ACROSS_WALL_MM + step)
    below = lung & (k < bottom) & ((bottom - k) * step <= BELOW_MM)
    return bool(
        np.count_nonzero(above.any(axis=0) & columns) >= LUNG_ABOVE_SHARE * total
        and np.count_nonzero(below.any(axis=0) & columns) <= LUNG_BELOW_SHARE * total
    )


def wall_mm(coarse: Coarse, hu: NDArray[np.float32], pocket: Mask, lung: Mask) -> float:
    """Median thickness of the wall between a pocket of gas and the lung; 0 where they do not face.

    Along rays from the pocket to the lung, tissue fills the share of each block by which its CT
    number lies between the air of either side and soft tissue; the sum does not depend on how the
    wall falls on the grid.
    """
    base = max(float(np.median(hu[pocket])), float(np.median(hu[lung])))
    rays = [
        _along(hu[order], pocket[order], lung[order], axis, size, base)
        for axis, size in enumerate(coarse.spacing_mm)
        for order in _both_ways(axis)
    ]
    joined = np.concatenate(rays)
    return float(np.median(joined)) if joined.size else 0.0


def _both_ways(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Make the indices that leave an axis as it is, and that turn it round."""
    before = (slice(None),) * axis
    return (*before, slice(None)), (*before, slice(None, None, -1))


def _along(
    hu: NDArray[np.float32], pocket: Mask, lung: Mask, axis: int, size_mm: float, base_hu: float
) -> NDArray[np.float64]:
    """Thickness along all rays that leave a pocket toward growing indices and meet the lung."""
    hu = np.moveaxis(hu, axis, 0)
    pocket, lung = np.moveaxis(pocket, axis, 0), np.moveaxis(lung, axis, 0)
    k, j, i = np.nonzero(pocket[:-1] & ~pocket[1:])
    thickness = np.zeros(k.size)
    last = np.full(k.size, -1)  # the ray ends one block inside the lung
    for step in range(-1, int(ACROSS_WALL_MM / size_mm) + 3):
        at = np.clip(k + step, 0, hu.shape[0] - 1)
        value = np.clip((hu[at, j, i] - base_hu) / (TISSUE_HU - base_hu), 0, 1)
        going = (last < 0) | (step <= last)
        thickness += np.where(going & (at == k + step), value * size_mm, 0.0)
        if step >= 1:
            last = np.where((last < 0) & lung[at, j, i], step + 1, last)
    return thickness[last >= 0]


def tissue_round(coarse: Coarse, hu: NDArray[np.float32], pocket: Mask, lung: Mask) -> float:
    """Share of the level looks out of a pocket that meet thick soft tissue before any lung."""
    thick = eroded(hu > BODY_HU, THICK_TISSUE_MM / 2, coarse.spacing_mm)
    total = tissue = 0
    for axis in (1, 2):
        reach = max(1, round(ACROSS_WALL_MM / coarse.spacing_mm[axis]))
        for order in _both_ways(axis):
            own, deep, aerated = (
                np.moveaxis(mask[order], axis, 0) for mask in (pocket, thick, lung)
            )
            k, j, i = np.nonzero(own[:-1] & ~own[1:])
            open_ = np.ones(k.size, np.bool_)
            total += k.size
            for step in range(1, reach + 1):
                at = np.clip(k + step, 0, own.shape[0] - 1)
                hit = open_ & deep[at, j, i]
                tissue += int(np.count_nonzero(hit))
                open_ &= ~hit & ~aerated[at, j, i]
    return tissue / max(1, total)


def _flooded(coarse: Coarse, hu: NDArray[np.float32], air: Mask, pocket: Mask, lung: Mask) -> Mask:
    """Grow a pocket up to the crest of its wall."""
    markers = np.zeros(air.shape, np.uint8)
    markers[lung & ~dilated(pocket, POCKET_RADIUS_MM, coarse.spacing_mm)] = 2
    markers[pocket] = 1
    relief = np.where(air, np.clip(hu + 1024, 0, 4000), 5000).astype(np.uint16)
    grown = sitk.GetArrayFromImage(
        sitk.MorphologicalWatershedFromMarkers(
            sitk.GetImageFromArray(relief), sitk.GetImageFromArray(markers), markWatershedLine=False
        )
    )
    return np.asarray((grown == 1) & air)


def lung_like(coarse: Coarse, air: Mask) -> Mask:
    """Keep the aerated regions that look like lung and lie where lungs lie together."""
    labels, count = components(air)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    regions = [
        (sizes[label], label, (part[0], part[1], part[2]))
        for label, part in enumerate(ndimage.find_objects(labels), start=1)
        if part is not None
    ]
    kept = np.zeros(count + 1, np.bool_)
    first: Box | None = None
    away = np.zeros(air.shape, np.float32)
    for size, label, part in sorted(regions, key=lambda region: (-region[0], region[1])):
        mask = labels[part] == label
        if not _looks_like_lung(coarse, part, mask):
            continue
        if first is None:
            first, largest = part, size
            away = distance_mm(labels == label, coarse.spacing_mm)
            kept[label] = True
            continue
        level = min(_length(part[0]), _length(first[0])) * SAME_LEVEL_SHARE
        kept[label] = float(away[part][mask].min()) <= APART_MM or (
            size >= SECOND_LUNG_SHARE * largest and _overlap(part[0], first[0]) >= level
        )
    return kept[labels]


def _length(part: slice) -> int:
    return int(part.stop) - int(part.start)


def _overlap(one: slice, other: slice) -> int:
    return max(0, min(int(one.stop), int(other.stop)) - max(int(one.start), int(other.start)))


def _looks_like_lung(coarse: Coarse, part: Box, mask: Mask) -> bool:
    hu = coarse.hu[part].astype(np.float64)
    core = eroded(mask, CORE_MM, coarse.spacing_mm)
    inner = core if np.count_nonzero(core) >= 27 else mask
    if np.median(hu[inner]) > LUNG_MEDIAN_HU:
        return False
    mean = ndimage.uniform_filter(hu, 3)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(hu * hu, 3) - mean**2, 0))
    return bool(np.median(spread[inner]) < MOTTLE_HU)
