"""Dense disease inside the pleura: where the lung should be but is not aerated.

Dense tissue is taken for lung only where the image shows that it is: enclosed by aerated lung
(`enclosed_masses`), between aerated lung and the ribs behind or beside it (`wall_dents`), or around
bronchi that still hold air (`mirror_dents`).  That the mirrored other lung is aerated in a place is
no evidence: it bounds what the bronchi show, and makes the gates look.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.body import Coarse, components
from lungperfusion.morphology import dilated, distance_mm, eroded, opened
from lungperfusion.terms import LUNGS, STRUCTURES, Region
from lungperfusion.volume import Box, Mask, bounding_box

BONE_HU = 180.0
"""Coarse voxels above are ribs (or contrast medium, which lies on the other side of the lung)."""

RIB_GAP_MM = 14.0
"""Half the distance between neighbouring ribs: the closing that makes a sheet of them."""

SPINE_HALF_WIDTH_MM = (26.0, 42.0)
"""Strip beside the midline that is left alone, right and left: vertebrae, azygos, aorta.  A dent
within the wider one on either side is tissue beside the spine: disease reaches beyond it."""

USUAL_GAP_MM = (2.0, 8.0)
"""Pleura, muscle and fat between lung and ribs, in health."""

DENSE_HU = (-200.0, 200.0)
"""Coarse voxels that can be consolidation, collapse, tumour or fluid."""

FLUID_HU = 22.0
"""A dent of lower mean is taken for pleural fluid, which is no lung (consolidated lung without
contrast holds blood and measures 30 HU and more; simple effusion 0 to 20 HU)."""

FAT_HU = -20.0
"""A dent of lower density is fat of the mediastinum or the chest wall, neither lung nor fluid."""

FAT_RANGE_HU = (-160.0, -30.0)
"""Fat, with partial volume of muscle."""

CUT_OFF_SHARE = 0.02
"""Share of the lung surface at the edge of the field of view above which the lungs are cut off."""

SMALLEST_DENT_ML = 8.0
"""Smaller dents are within the spread of normal chest walls."""

DENT_OPENING_MM = 4.0
"""Dents thinner than twice this are muscle, fat or pleura."""


THICK_LUNG_MM = 15.0
"""Disease against the ribs has aerated lung at least this thick inward of it; liver and spleen have
the thin recess between diaphragm and ribs in front of them at most."""

APEX_MM = 40.0
"""So far below its top the lung is narrower than the space that ribs and muscles leave."""

DENT_REACH_MM = 15.0
"""Tissue in place of the mirrored lung goes on so far beyond what the ribs show to be lung."""

FAT_SMOOTHING_MM = 4.0
"""Fat, fluid and lung are told apart after smoothing by a Gaussian of this standard deviation."""

MASS_RADIUS_MM = 26.0
"""Masses up to twice this across are sought inside the lung, open to vessels and hilum or not."""

NECK_RADII_MM = (4.0, 6.5, 9.5)
"""A mass is parted from vessels and pleura that it hangs on by balls of these radii: lobar arteries
are up to 18 mm wide."""

SMALLEST_MASS_ML = 0.5
"""Smaller ones are filled with the vessels."""

ENCLOSED_SHARE = 0.75
"""Share of the surface of a mass that must face aerated lung; heart, hilum, aortic arch and dome
show it at most two thirds of theirs."""

SMALL_MASS_ML, SMALL_ENCLOSED_SHARE = 5.0, 0.62
"""For smaller ones, whose surface is mostly vessels and pleura beside them, less is enough."""


WIDEST_END_SHARE = 0.5
"""A piece that is still this wide, relative to its widest level, where the image ends may be a dome
that the image cuts off: that has lung all round as well."""


@dataclass(frozen=True, eq=False)
class Dents:
    """Dense tissue between the lung and the ribs behind or beside it."""

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


def wall_dents(coarse: Coarse, sides: NDArray[np.uint8], midline: float) -> Dents:
    """Find dense tissue between aerated lung and the ribs behind and beside it.

    Disease (pneumonia, collapse, tumour, effusion) fills the space between aerated lung and rib
    cage.  In front, heart and liver fill it in health; so only tissue is taken that has lung in
    front of it and ribs behind it, away from the spine, or lung inward of it, more lung below it
    and ribs outward, and that is thicker than the usual chest wall.

    Parameters
    ----------
    coarse
        Coarse copy of the CT.
    sides
        Labels of left and right lung on its grid.
    midline
        Index of the midline along the last axis.

    """
    lung = sides > 0
    dense, fluid = np.zeros(lung.shape, np.bool_), np.zeros(lung.shape, np.bool_)
    if not lung.any():
        return Dents(dense, fluid)
    spacing = coarse.spacing_mm
    margin = [round(45.0 / s) + 1 for s in spacing]
    box = bounding_box(lung, (round(RIB_GAP_MM / spacing[0]) + 1, margin[1], margin[2]))
    inside, hu = lung[box], coarse.hu[box]
    bone = hu > BONE_HU
    if not bone.any():
        return Dents(dense, fluid)
    # Half a voxel more, so that the closing also bridges the gaps on a grid as coarse as they are.
    grown = distance_mm(bone, spacing) <= RIB_GAP_MM + max(spacing) / 2
    sheet = eroded(grown, RIB_GAP_MM, spacing) & ~inside
    from_ribs = distance_mm(sheet, spacing)
    across = (np.arange(inside.shape[2]) + box[2].start - midline) * spacing[2]
    lateral = (across > SPINE_HALF_WIDTH_MM[0]) | (across < -SPINE_HALF_WIDTH_MM[1])
    beside = np.broadcast_to(np.abs(across) > max(SPINE_HALF_WIDTH_MM), inside.shape)
    thick = opened(inside, THICK_LUNG_MM / 2, spacing)
    fat = ndimage.binary_opening((hu > FAT_RANGE_HU[0]) & (hu < FAT_RANGE_HU[1]))
    between = _between(inside, thick, sheet, fat) & lateral
    level = np.arange(inside.shape[0])[:, None, None]
    top = np.flatnonzero(inside.any(axis=(1, 2)))[-1] - APEX_MM / spacing[0]
    above_lung = np.logical_or.accumulate(inside, axis=0) & (level < top)
    for name, turn in zip(LUNGS, (slice(None), slice(None, None, -1)), strict=True):
        # Rows run from the outer side (index 0) inward.
        own = sides[box] == STRUCTURES[name].label
        rows = [mask[:, :, turn].swapaxes(1, 2) for mask in (own, own & thick, sheet, fat)]
        between |= _between(*rows).swapaxes(1, 2)[:, :, turn] & above_lung
    surface = inside & (distance_mm(~inside, spacing) <= 1.5 * max(spacing))
    gap = float(np.clip(np.percentile(from_ribs[surface], 25), *USUAL_GAP_MM))
    tissue = (hu > DENSE_HU[0]) & (hu < DENSE_HU[1])
    dent = between & tissue & ~inside & (from_ribs >= gap)
    radius = max(DENT_OPENING_MM, max(spacing[1:]))
    # The lung beside counts as filled, so that the opening does not eat the dent's inner rim.
    solid = dent | inside
    dent &= dilated(eroded(solid, radius, spacing) & ~inside, radius, spacing)
    dent = ndimage.binary_opening(dent)
    solid_hu = smoothed_tissue(hu, dent, spacing)
    for target, part in (
        (dense, dent & (solid_hu >= FLUID_HU)),
        (fluid, dent & (solid_hu < FLUID_HU) & (solid_hu >= FAT_HU)),
    ):
        for piece in _pieces(part, coarse.voxel_ml, SMALLEST_DENT_ML):
            if (piece & beside).any():
                target[box] |= piece
    return Dents(dense, fluid)


def _between(inside: Mask, thick: Mask, sheet: Mask, fat: Mask) -> Mask:
    """Find what has thick lung toward growing indices of the second axis and ribs the other way.

    ``thick`` is the part of the lung ``inside`` that is no thin recess.  Neither bone
    nor fat (of the abdomen, in front of the spleen) lies on the way to the lung.
    """
    first = np.argmax(inside, axis=1)[:, None]
    has_lung = inside.any(axis=1)[:, None] & np.take_along_axis(thick, first, axis=1)
    behind_ribs = np.logical_or.accumulate(sheet, axis=1) & ~sheet
    outward = np.arange(inside.shape[1])[None, :, None] < first
    barrier = (sheet | fat) & outward
    blocked = np.logical_or.accumulate(barrier[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(behind_ribs & outward & has_lung & ~blocked)


def smoothed_tissue(
    hu: NDArray[np.float32], mask: Mask, spacing_mm: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Mean CT number around each voxel of a mask, over the mask only."""
    sigma = [FAT_SMOOTHING_MM / s for s in spacing_mm]
    weight = ndimage.gaussian_filter(mask.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(mask, hu, 0).astype(np.float32), sigma)
    return np.asarray(np.where(mask, total / np.maximum(weight, 1e-6), 0), np.float32)


def enclosed_masses(coarse: Coarse, sides: NDArray[np.uint8], main: Mask) -> Mask:
    """Find masses inside a lung, although vessels or pleura open the hole that they leave.

    What a ball of `MASS_RADIUS_MM` cannot reach from outside the lung is looked at piece by piece;
    a piece that faces aerated lung nearly all round is a mass, the hilum is not.

    Parameters
    ----------
    coarse
        Coarse copy of the CT.
    sides
        Labels of left and right lung on its grid.
    main
        Trachea and main bronchi, which are no lung.

    """
    spacing, step = coarse.spacing_mm, max(coarse.spacing_mm) * 1.01
    found = np.zeros(sides.shape, np.bool_)
    for name in LUNGS:
        own = sides == STRUCTURES[name].label
        if not own.any():
            continue
        box = bounding_box(own, (1, 1, 1))
        inside = own[box]
        # Beyond the head and foot end of the image the lung goes on as it ends there.
        grown = distance_mm(inside, spacing) <= MASS_RADIUS_MM
        pad = ((1, 1), (0, 0), (0, 0))
        depth = distance_mm(~np.pad(grown, pad, mode="edge"), spacing)[1:-1]
        room = (depth > MASS_RADIUS_MM) & (sides[box] == 0) & ~main[box]
        dense = room & (coarse.hu[box] < DENSE_HU[1])
        for radius in NECK_RADII_MM:
            bulk = dilated(eroded(dense, radius, spacing), radius, spacing) & dense
            for piece in _pieces(bulk & ~found[box], coarse.voxel_ml, SMALLEST_MASS_ML):
                small = np.count_nonzero(piece) * coarse.voxel_ml <= SMALL_MASS_ML
                share = SMALL_ENCLOSED_SHARE if small else ENCLOSED_SHARE
                if _is_mass(coarse.hu[box], inside | found[box], piece, spacing, share):
                    found[box] |= dilated(piece, step, spacing) & dense
    return found


def _is_mass(
    hu: NDArray[np.float32],
    lung: Mask,
    piece: Mask,
    spacing_mm: tuple[float, float, float],
    least_share: float,
) -> bool:
    """Whether lung lies round a share of a piece that is no fat and no dome cut off."""
    areas = piece.sum(axis=(1, 2))
    if max(areas[0], areas[-1]) > WIDEST_END_SHARE * areas.max():
        return False
    shell = dilated(piece, max(spacing_mm) * 1.01, spacing_mm) & ~piece
    facing = np.count_nonzero(shell & lung)
    enclosed = facing >= least_share * np.count_nonzero(shell)
    return bool(enclosed and np.median(hu[piece]) > FAT_HU)


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
"""Beside the midline in front, the heart may take this share of the width and of the depth of the
pair of lungs (cardiothoracic ratio up to 0.55, two thirds of it on the left)."""

OTHER_SIDE_FACTOR = 2.0
"""The heart lies on the right where its place holds so much more dense tissue there than on the
left: in mirrored images and patients, and with a lung that has drawn it over."""

HEART_TOP_MM, HEART_WIDEST_MM = 10.0, -60.0
"""The pulmonary trunk reaches this far above the carina; below the second level the heart is as
wide as it gets."""

VESSELS_HALF_WIDTH_MM = 48.0
"""Strip beside the midline that arch and descending aorta, vena cava and atrium may take."""

BRONCHOGRAM_HU = -150.0
"""Thin spots inside dense tissue that are darker are air: fat is not."""

BRONCHOGRAM_SPOTS = 4
"""Blocks of air in bronchi inside a dent that show it to be lung."""

BRONCHUS_GAP_MM = 6.0
"""Bronchi inside dense lung are followed over gaps of up to twice this, from the airway tree on:
gas of the bowel hangs on no bronchus."""

BRONCHUS_REACH_MM = 22.0
"""So far from a bronchus that holds air, dense tissue belongs to the lung that it supplies."""

DOUBTFUL_SHARE = 0.5
"""A dent that lies beside great vessels or on the diaphragm by more than this share is doubtful."""

EMPTY_SIDE_SHARE = 0.3
"""A side without aerated lung that is dense over this share of the mirrored other lung is full."""


@dataclass(frozen=True, eq=False)
class MirrorDents:
    """Dense tissue where the mirrored other lung is aerated."""

    dense: Mask
    """Around bronchi that hold air: taken for diseased lung."""
    doubtful: Mask
    """Without them, away from heart and dome."""
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
    coarse: Coarse, sides: NDArray[np.uint8], main: Mask, trachea: Mask, airways: Mask
) -> MirrorDents:
    """Find dense tissue where the other lung, mirrored at the midline, is aerated.

    The mirrored lung is set onto the dome that is seen on this side.  That alone shows no disease,
    for heart, great vessels and domes differ between the sides in health; tissue is lung only
    within `BRONCHUS_REACH_MM` of bronchi that hold air and hang on the airway tree.

    Parameters
    ----------
    coarse
        Coarse copy of the CT.
    sides
        Labels of left and right lung on its grid.
    main
        Trachea and main bronchi.
    trachea
        The part of them above the carina.
    airways
        Blocks that hold a piece of the airway tree.

    """
    found = {part.name: np.zeros(sides.shape, np.bool_) for part in fields(MirrorDents)}
    lung = sides > 0
    middle = middle_of_lungs(sides, midline(sides, trachea))
    spacing = coarse.spacing_mm
    tissue = (coarse.hu > DENSE_HU[0]) & (coarse.hu < DENSE_HU[1]) & coarse.valid & ~main
    rooms: dict[Region, tuple[Box, Mask]] = {}
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
        inside = own[box]
        free = pattern[box] & ~lung[box]
        room = ndimage.binary_closing(tissue[box] & ~lung[box]) & free
        core = eroded(room | inside, MIRROR_OPENING_MM, spacing) & room
        rooms[name] = box, room & dilated(core, MIRROR_OPENING_MM + max(spacing), spacing)
    if not rooms:
        return MirrorDents(**found)
    vessels, heart = _mediastinal(sides, middle, trachea, spacing)
    heart_side = _heart_side(rooms, heart)
    for name, (box, room) in rooms.items():
        zone = heart[box] & (name == heart_side)
        own = (sides == STRUCTURES[name].label)[box]
        parts = _sorted_dents(coarse, box, own, room & ~zone, vessels[box], airways[box])
        for target, mask in parts.items():
            found[target][box] |= mask
        for dent in _pieces(room & zone, coarse.voxel_ml, SMALLEST_MIRROR_DENT_ML):
            if np.median(coarse.hu[box][dent]) >= FAT_HU:
                found["heart"][box] |= dent
    return MirrorDents(**found)


def _heart_side(rooms: dict[Region, tuple[Box, Mask]], heart: Mask) -> Region:
    """Say on which side the heart lies: on the left, unless far more of its place is full there.

    So the heart of a mirrored image or patient is no disease of the right lung.
    """
    left, right = (
        np.count_nonzero(rooms[name][1] & heart[rooms[name][0]]) if name in rooms else 0
        for name in LUNGS
    )
    return LUNGS[1] if right > OTHER_SIDE_FACTOR * left else LUNGS[0]


def _sorted_dents(
    coarse: Coarse, box: Box, inside: Mask, room: Mask, vessels: Mask, airways: Mask
) -> dict[str, Mask]:
    """Tell dents of one side, all on a box, by density, bronchi and place."""
    hu, spacing = coarse.hu[box], coarse.spacing_mm
    kinds = ("dense", "doubtful", "fluid", "heart", "base")
    parts = {kind: np.zeros(room.shape, np.bool_) for kind in kinds}
    below = ~np.logical_or.accumulate(inside, axis=0)
    bronchi = _bronchograms(hu, inside, room & ~vessels, airways, spacing)
    reach = dilated(bronchi, BRONCHUS_REACH_MM, spacing)
    for dent in _pieces(room, coarse.voxel_ml, SMALLEST_MIRROR_DENT_ML):
        median = float(np.median(hu[dent]))
        if median < FAT_HU:
            continue
        if median < FLUID_HU:
            parts["fluid"] |= dent
            continue
        if np.count_nonzero(bronchi & dent) >= BRONCHOGRAM_SPOTS:
            parts["dense"] |= dent & reach & ~vessels
            dent = dent & ~(reach & ~vessels)
        if (dent & vessels).sum() > dent.sum() * DOUBTFUL_SHARE:
            target = "heart"
        elif np.count_nonzero(dent & below) > DOUBTFUL_SHARE * np.count_nonzero(dent):
            target = "base"
        else:
            target = "doubtful"
        parts[target] |= dent
    return parts


def _bronchograms(
    hu: NDArray[np.float32],
    inside: Mask,
    room: Mask,
    airways: Mask,
    spacing_mm: tuple[float, float, float],
) -> Mask:
    """Air in bronchi inside dense tissue, away from the aerated lung and on the airway tree."""
    air = room & ((hu < BRONCHOGRAM_HU) | airways)
    linked, _ = components(dilated(air | airways, BRONCHUS_GAP_MM, spacing_mm))
    tree = np.unique(linked[airways])
    return np.asarray(
        air & np.isin(linked, tree[tree > 0]) & ~dilated(inside, MIRROR_OPENING_MM, spacing_mm)
    )


def _pieces(mask: Mask, voxel_ml: float, least_ml: float) -> Iterator[Mask]:
    """Components of a mask that are large enough to matter."""
    labels, count = components(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1) * voxel_ml
    for label in range(1, count + 1):
        if sizes[label] >= least_ml:
            yield labels == label


def _mediastinal(
    sides: NDArray[np.uint8],
    middle: float,
    trachea: Mask,
    spacing_mm: tuple[float, float, float],
) -> tuple[Mask, Mask]:
    """Where great vessels, and where a heart may lie in place of the mirrored lung, either side."""
    k, j, i = (np.flatnonzero(sides.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    up, forward, across = np.ogrid[tuple(slice(n) for n in sides.shape)]
    away = np.abs(across - middle)
    vessels = np.broadcast_to(away * spacing_mm[2] < VESSELS_HALF_WIDTH_MM, sides.shape)
    if trachea.any():
        carina = float(np.nonzero(trachea.any(axis=(1, 2)))[0].min())
    elif k[-1] == sides.shape[0] - 1:  # the top of the lungs is cut off, and the carina with it
        carina = k[-1] + HEART_TOP_MM / spacing_mm[0]
    else:
        carina = float(np.median(k))
    u = away / (HEART_WIDTH_SHARE * (i[-1] - i[0] + 1))
    v = (j[-1] - forward) / (HEART_DEPTH_SHARE * (j[-1] - j[0] + 1))
    above = (up - carina) * spacing_mm[0] - HEART_WIDEST_MM
    w = np.maximum(above, 0) / (HEART_TOP_MM - HEART_WIDEST_MM)
    return vessels, np.asarray(u**2 + v**2 + w**2 < 1)


PATTERN_MARGIN_MM = 6.0
"""A lung reaches no farther beyond the mirrored other one, where ribs and spine bound both."""


def diseased_lung(
    coarse: Coarse, sides: NDArray[np.uint8], main: Mask, trachea: Mask, airways: Mask
) -> Mask:
    """Dense tissue that belongs to the lungs, by what the image shows of it.

    Where only one lung has dents, the mirrored other one bounds them, so that they end at diaphragm
    and spine.  Lungs cut off by the field of view say nothing of the shape that is missing, so only
    masses inside them are filled there.  Parameters as in `mirror_dents`.
    """
    masses = enclosed_masses(coarse, sides, main)
    if _cut_off(coarse, sides > 0):
        return masses
    dents = wall_dents(coarse, sides, midline(sides, trachea)).dense
    mirror = mirror_dents(coarse, sides, main, trachea, airways)
    if dents.any() and mirror.pattern.any():
        middle = middle_of_lungs(sides, midline(sides, trachea))
        if not (dents & mirrored(dilated(dents, 20.0, coarse.spacing_mm), middle)).any():
            dents &= dilated(mirror.pattern, PATTERN_MARGIN_MM, coarse.spacing_mm)
    near = dilated(dents, DENT_REACH_MM, coarse.spacing_mm)
    return masses | dents | mirror.dense | ((mirror.base | mirror.doubtful) & near)


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
