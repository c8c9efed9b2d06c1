"""Dense disease inside the pleura: where the lung should be but is not aerated.

Two things tell where lung should be: ribs behind the aerated lung (`dorsal_dents`), and the other
lung, seen in the mirror (`mirror_dents`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.morphology import dilated, distance_mm, eroded
from lungperfusion.segmentation.body import Coarse, components
from lungperfusion.terms import LUNGS, STRUCTURES
from lungperfusion.volume import Mask, bounding_box

BONE_HU = 180.0
"""Coarse voxels above are ribs (or contrast medium, which lies on the other side of the lung)."""

RIB_GAP_MM = 14.0
"""Half the distance between neighbouring ribs: the closing that makes a sheet of them."""

SPINE_HALF_WIDTH_MM = (26.0, 42.0)
"""Strip beside the midline that is left alone, right and left: vertebrae, azygos, aorta."""

USUAL_GAP_MM = (2.0, 8.0)
"""Pleura, muscle and fat between lung and ribs, in health."""

DENSE_HU = (-200.0, 200.0)
"""Coarse voxels that can be consolidation, collapse, tumour or fluid."""

FLUID_HU = 22.0
"""A dent of lower mean is taken for pleural fluid, which is no lung (consolidated lung without
contrast holds blood and measures 30 HU and more; simple effusion 0 to 20 HU)."""

FAT_HU = -20.0
"""A dent of lower density is fat of the mediastinum or the chest wall, neither lung nor fluid."""

CONFIRMED_SHARE = 0.3
"""Share of a dent above the diaphragm that must also be a dorsal dent: both rules then agree that
it is disease and not liver."""

CUT_OFF_SHARE = 0.02
"""Share of the lung surface at the edge of the field of view above which the lungs are cut off."""

SMALLEST_DENT_ML = 8.0
"""Smaller dents are within the spread of normal chest walls."""

DENT_OPENING_MM = 4.0
"""Dents thinner than twice this are muscle, fat or pleura."""


@dataclass(frozen=True, eq=False)
class Dents:
    """Dense tissue between the back of the lung and the ribs."""

    dense: Mask
    """Taken for diseased lung."""
    fluid: Mask
    """Taken for pleural fluid."""


def midline(sides: NDArray[np.uint8], trachea: Mask) -> float:
    """Index of the midline along the last axis: that of the trachea, else between the lungs."""
    if trachea.any():
        return float(np.nonzero(trachea)[2].mean())
    where = [
        np.nonzero((sides == side).any(axis=(0, 1)))[0]
        for side in (STRUCTURES[name].label for name in LUNGS)
    ]
    if where[0].size and where[1].size:
        return float((where[0].mean() + where[1].mean()) / 2)
    # One lung: its inner edge.
    return float(where[0].max(initial=0)) if where[0].size else float(where[1].min(initial=0))


def dorsal_dents(coarse: Coarse, lung: Mask, midline: float) -> Dents:
    """Find dense tissue between aerated lung and the ribs behind and beside it.

    Disease of the dependent lung (pneumonia, collapse, effusion) fills the space between aerated
    lung and rib cage.  In front, heart and liver fill it in health; so only tissue is taken that
    has the lung in front of it and ribs behind it, away from the spine, and that is thicker than
    the usual chest wall.

    Parameters
    ----------
    coarse
        Coarse copy of the CT.
    lung
        Both lungs on its grid.
    midline
        Index of the midline along the last axis.

    """
    none = np.zeros(lung.shape, np.bool_)
    if not lung.any():
        return Dents(none, none.copy())
    spacing = coarse.spacing_mm
    margin = [round(45.0 / s) + 1 for s in spacing]
    box = bounding_box(lung, (round(RIB_GAP_MM / spacing[0]) + 1, margin[1], margin[2]))
    inside, hu = lung[box], coarse.hu[box]
    bone = hu > BONE_HU
    if not bone.any():
        return Dents(none, none.copy())
    # Half a voxel more, so that the closing also bridges the gaps on a grid as coarse as they are.
    grown = distance_mm(bone, spacing) <= RIB_GAP_MM + max(spacing) / 2
    sheet = eroded(grown, RIB_GAP_MM, spacing) & ~inside
    from_ribs = distance_mm(sheet, spacing)
    # Columns run from the back (index 0) to the front.
    behind_lung = np.logical_or.accumulate(inside[:, ::-1], axis=1)[:, ::-1] & ~inside
    ribs_behind = np.logical_or.accumulate(sheet, axis=1) & ~sheet
    first_lung = np.argmax(inside, axis=1)
    has_lung = inside.any(axis=1)
    j = np.arange(inside.shape[1])[None, :, None]
    between = behind_lung & ribs_behind & has_lung[:, None] & (j < first_lung[:, None])
    # Bone nearest behind, with nothing but soft tissue on the way.
    blocked = np.logical_or.accumulate((sheet & (j < first_lung[:, None]))[:, ::-1], axis=1)
    between &= ~blocked[:, ::-1]
    surface = inside & (distance_mm(~inside, spacing) <= 1.5 * max(spacing))
    gap = float(np.clip(np.percentile(from_ribs[surface], 25), *USUAL_GAP_MM))
    across = (np.arange(inside.shape[2]) + box[2].start - midline) * spacing[2]
    lateral = (across > SPINE_HALF_WIDTH_MM[0]) | (across < -SPINE_HALF_WIDTH_MM[1])
    tissue = (hu > DENSE_HU[0]) & (hu < DENSE_HU[1])
    dent = between & tissue & lateral & (from_ribs >= gap)
    radius = max(DENT_OPENING_MM, max(spacing[1:]))
    # The lung in front counts as filled, so that the opening does not eat the dent's inner rim.
    solid = dent | inside
    dent &= dilated(eroded(solid, radius, spacing) & ~inside, radius, spacing)
    dent = ndimage.binary_opening(dent)
    labels, count = components(dent)
    dense, fluid = none, none.copy()
    sizes = np.bincount(labels.ravel(), minlength=count + 1) * coarse.voxel_ml
    for label, part in enumerate(ndimage.find_objects(labels), start=1):
        if sizes[label] < SMALLEST_DENT_ML:
            continue
        mask = labels[part] == label
        density = float(hu[part][mask].mean())
        if density < FAT_HU:
            continue
        target = fluid if density < FLUID_HU else dense
        target[box][part][mask] = True
    return Dents(dense, fluid)


# ---- the other lung as a pattern -----------------------------------------------------------------

DOME_SHARE = 0.3
"""The height of one dome over the mirrored other one is that on which this share of their columns
agrees best; disease hides the rest."""

DOME_EDGE_MM = 10.0
"""Columns nearer to the edge of the lung's shadow are too steep to tell the height of the dome."""

DOME_DIFFERENCE_MM = 35.0
"""The domes of a chest differ by less in height, about 15 mm as a rule (right one higher)."""

MIRROR_OPENING_MM = 7.0
"""Dents thinner than twice this are within the asymmetry of healthy chests."""

SMALLEST_MIRROR_DENT_ML = 15.0
"""Smaller ones as well."""

HEART_WIDTH_SHARE, HEART_DEPTH_SHARE = 0.38, 0.75
"""Left of the midline in front, the heart may take this share of the width and of the depth of the
pair of lungs (cardiothoracic ratio up to 0.55, two thirds of it on the left)."""

HEART_TOP_MM, HEART_WIDEST_MM = 10.0, -60.0
"""The pulmonary trunk reaches this far above the carina; below the second level the heart is as
wide as it gets."""

VESSELS_HALF_WIDTH_MM = 48.0
"""Strip beside the midline that arch and descending aorta, vena cava and atrium may take."""

BRONCHOGRAM_HU = -150.0
"""Thin spots inside dense tissue that are darker are air: fat is not."""

BRONCHOGRAM_SPOTS = 4
"""Separate spots of air inside a dent that show it to be lung."""

DOUBTFUL_SHARE = 0.5
"""A dent that lies beside great vessels or on the diaphragm by more than this share is doubtful."""

EMPTY_SIDE_SHARE = 0.3
"""A side without aerated lung that is dense over this share of the mirrored other lung is full."""


@dataclass(frozen=True, eq=False)
class MirrorDents:
    """Dense tissue where the mirrored other lung is aerated."""

    dense: Mask
    """Taken for diseased lung."""
    fluid: Mask
    """Taken for pleural fluid."""
    heart: Mask
    """Beside the mediastinum: heart and vessels, or disease."""
    base: Mask
    """On the diaphragm: a dome higher than the other, or disease."""
    empty: Mask
    """On a side without any aerated lung."""
    pattern: Mask
    """The mirrored lungs."""


def mirrored(mask: Mask, middle: float) -> Mask:
    """Reflect the last axis at an index; what comes from beyond the image is empty."""
    source = np.round(2 * middle - np.arange(mask.shape[2])).astype(int)
    out = np.zeros_like(mask)
    there = (source >= 0) & (source < mask.shape[2])
    out[:, :, there] = mask[:, :, source[there]]
    return out


def middle_of_lungs(sides: NDArray[np.uint8], fallback: float) -> float:
    """Index of the midline along the last axis: half way between the outer ends of the lungs."""
    left, right = ((sides == STRUCTURES[name].label).any(axis=1) for name in LUNGS)
    both = left.any(axis=1) & right.any(axis=1)
    if not both.any():
        return fallback
    outer_left = np.argmax(left[both], axis=1)
    outer_right = right.shape[1] - 1 - np.argmax(right[both][:, ::-1], axis=1)
    return float(np.median((outer_left + outer_right) / 2))


def _on_own_dome(own: Mask, other: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """Cut or lengthen the mirrored other lung so that it stands on the dome of the own one."""
    shadow = own.any(axis=0) & other.any(axis=0)
    central = eroded(shadow[None], DOME_EDGE_MM, spacing_mm)[0]
    if not central.any():
        return other
    low_own, low_other = np.argmax(own, axis=0), np.argmax(other, axis=0)
    rise = np.sort((low_own - low_other)[central])
    count = max(1, int(DOME_SHARE * rise.size))
    spread = rise[count - 1 :] - rise[: rise.size - count + 1]
    start = int(np.argmin(spread))
    limit = DOME_DIFFERENCE_MM / spacing_mm[0]
    step = round(float(np.clip(np.median(rise[start : start + count]), -limit, limit)))
    k = np.arange(own.shape[0])[:, None, None]
    stands = k >= low_other + step
    return np.asarray(stands & (other | (other.any(axis=0) & (k < low_other))))


def mirror_dents(
    coarse: Coarse, sides: NDArray[np.uint8], tube: Mask, trachea: Mask
) -> MirrorDents:
    """Find dense tissue where the other lung, mirrored at the midline, is aerated.

    The mirrored lung is set onto the dome that is seen on this side.  Where it meets heart, great
    vessels or the dome itself, which differ between the sides in health, the tissue is only
    doubtful, unless it holds air bronchograms (dome) or is the lesser part of a larger dent.

    Parameters
    ----------
    coarse
        Coarse copy of the CT.
    sides
        Labels of left and right lung on its grid.
    tube, trachea
        Main airways, and the part of them above the carina.

    """
    found = {part.name: np.zeros(sides.shape, np.bool_) for part in fields(MirrorDents)}
    lung = sides > 0
    middle = middle_of_lungs(sides, midline(sides, trachea))
    spacing = coarse.spacing_mm
    tissue = (coarse.hu > DENSE_HU[0]) & (coarse.hu < DENSE_HU[1]) & coarse.valid & ~tube
    for name in LUNGS:
        own = sides == STRUCTURES[name].label
        other = mirrored(lung & ~own, middle)
        if not other.any():
            continue
        if not own.any():
            room = other & tissue
            if np.count_nonzero(room) > EMPTY_SIDE_SHARE * np.count_nonzero(lung):
                found["empty"] |= room
            continue
        pattern = _on_own_dome(own, other, spacing)
        found["pattern"] |= pattern
        box = bounding_box(own | pattern, (2, 2, 2))
        inside, hu = own[box], coarse.hu[box]
        free = pattern[box] & ~lung[box]
        room = ndimage.binary_closing(tissue[box] & ~lung[box]) & free
        core = eroded(room | inside, MIRROR_OPENING_MM, spacing) & room
        room &= dilated(core, MIRROR_OPENING_MM + max(spacing), spacing)
        vessels, heart = (zone[box] for zone in _mediastinal(sides, name, middle, trachea, spacing))
        doubtful = vessels | ~np.logical_or.accumulate(inside, axis=0)
        air = room & (hu < BRONCHOGRAM_HU) & ~dilated(inside, MIRROR_OPENING_MM, spacing)
        for dent in _pieces(room & ~heart, coarse.voxel_ml):
            unsure = np.count_nonzero(dent & doubtful) > DOUBTFUL_SHARE * np.count_nonzero(dent)
            if np.median(hu[dent]) < FLUID_HU:
                target = "fluid"
            elif not unsure or components(air & dent & ~vessels)[1] >= BRONCHOGRAM_SPOTS:
                target = "dense"
            else:
                target = "heart" if (dent & vessels).sum() > dent.sum() / 2 else "base"
            found[target][box] |= dent
        for dent in _pieces(room & heart, coarse.voxel_ml):
            found["heart"][box] |= dent
    return MirrorDents(**found)


def _pieces(mask: Mask, voxel_ml: float) -> Iterator[Mask]:
    """Components of a mask that are large enough to matter."""
    labels, count = components(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1) * voxel_ml
    for label in range(1, count + 1):
        if sizes[label] >= SMALLEST_MIRROR_DENT_ML:
            yield labels == label


def _mediastinal(
    sides: NDArray[np.uint8],
    side: str,
    middle: float,
    trachea: Mask,
    spacing_mm: tuple[float, float, float],
) -> tuple[Mask, Mask]:
    """Where great vessels, and where the heart may lie in place of the mirrored lung."""
    k, j, i = (np.flatnonzero(sides.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    up, forward, across = np.ogrid[tuple(slice(n) for n in sides.shape)]
    away = np.abs(across - middle)
    vessels = np.broadcast_to(away * spacing_mm[2] < VESSELS_HALF_WIDTH_MM, sides.shape)
    if side != LUNGS[0]:
        return vessels, np.zeros(sides.shape, np.bool_)
    carina = np.nonzero(trachea.any(axis=(1, 2)))[0].min() if trachea.any() else np.median(k)
    u = away / (HEART_WIDTH_SHARE * (i[-1] - i[0] + 1))
    v = (j[-1] - forward) / (HEART_DEPTH_SHARE * (j[-1] - j[0] + 1))
    above = (up - carina) * spacing_mm[0] - HEART_WIDEST_MM
    w = np.maximum(above, 0) / (HEART_TOP_MM - HEART_WIDEST_MM)
    return vessels, np.asarray(u**2 + v**2 + w**2 < 1)


PATTERN_MARGIN_MM = 6.0
"""A lung reaches no farther beyond the mirrored other one, where ribs and spine bound both."""


def diseased_lung(coarse: Coarse, sides: NDArray[np.uint8], tube: Mask, trachea: Mask) -> Mask:
    """Dense tissue that belongs to the lungs, by either evidence, or in doubt by both.

    Where only one lung has dorsal dents, the mirrored other one bounds them, so that they end at
    diaphragm and spine.  Lungs cut off by the field of view say nothing of the shape that is
    missing, so nothing is filled there.
    """
    if _cut_off(coarse, sides > 0):
        return np.zeros(sides.shape, np.bool_)
    dorsal = dorsal_dents(coarse, sides > 0, midline(sides, trachea)).dense
    mirror = mirror_dents(coarse, sides, tube, trachea)
    dense = mirror.dense.copy()
    for dent in _pieces(mirror.base, coarse.voxel_ml):
        if np.count_nonzero(dent & dorsal) > CONFIRMED_SHARE * np.count_nonzero(dent):
            dense |= dent
    if dorsal.any() and mirror.pattern.any():
        middle = middle_of_lungs(sides, midline(sides, trachea))
        if not (dorsal & mirrored(dilated(dorsal, 20.0, coarse.spacing_mm), middle)).any():
            dorsal &= dilated(mirror.pattern, PATTERN_MARGIN_MM, coarse.spacing_mm)
    return dorsal | dense


def _cut_off(coarse: Coarse, lung: Mask) -> bool:
    """Whether the field of view cuts the lungs at their sides, front or back."""
    outside = ~coarse.valid
    for axis in (1, 2):
        ends = [slice(None)] * 3
        for end in (0, -1):
            ends[axis] = slice(end, None) if end else slice(0, 1)
            outside[tuple(ends)] = True
    reach = 1.5 * max(coarse.spacing_mm)
    surface = lung & (distance_mm(~lung, coarse.spacing_mm) <= reach)
    at_edge = np.count_nonzero(surface & dilated(outside, reach, coarse.spacing_mm))
    return bool(at_edge > CUT_OFF_SHARE * np.count_nonzero(surface))
