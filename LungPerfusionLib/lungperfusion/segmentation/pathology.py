"""Dense disease against the chest wall: where the lung should be but is not aerated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.segmentation.body import Coarse, components, dilated, distance_mm, eroded
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
        target = fluid if hu[part][mask].mean() < FLUID_HU else dense
        target[box][part][mask] = True
    return Dents(dense, fluid)
