"""Vessels of the lungs as the analyses share them, found on the cubic grid that finds lobes.

A map of places, to look at parenchyma between vessels and to part lobes; `lungperfusion.vessels`
measures vessels on the voxels of the scan.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from lungperfusion.morphology import distance_mm
from lungperfusion.resampling import resample_array
from lungperfusion.segmentation.fissures import (
    GRID_MM,
    LOAD_HU,
    Float32,
    LungImage,
    consolidation,
    lung_image,
    parenchyma,
    structures,
    vessel_load,
)
from lungperfusion.terms import AIRWAYS, STRUCTURES, VESSELS, Region
from lungperfusion.threads import in_order
from lungperfusion.volume import Labelmap, Mask, Volume, bounding_box

VESSEL_SHARE = 0.5
"""Share of the full answer from which a voxel is labelled as vessel."""


@dataclass(frozen=True, eq=False)
class VesselTree:
    """Vessels and bronchi of one lung on the working grid."""

    image: LungImage
    load: Float32
    """How much each voxel belongs to them (`fissures.vessel_load`)."""

    @property
    def vessels(self) -> Mask:
        """Vessels alone: no bronchi, and no dense lung that is wider than vessels are."""
        tubes = (self.load >= VESSEL_SHARE * LOAD_HU) & ~self.image.airways
        return tubes & ~consolidation(self.image)


def find_trees(ct: Volume, lungs: Labelmap, sides: Collection[Region]) -> dict[Region, VesselTree]:
    """Find the vessels of some lungs, both at once.

    Parameters
    ----------
    ct
        Chest CT in HU.
    lungs
        ``left_lung``, ``right_lung`` and, where known, ``airways``, on the grid of the CT.
    sides
        Which lungs.

    """
    trees = in_order(partial(_find_tree, ct, lungs), sides, at_most=2)
    return dict(zip(sides, trees, strict=True))


def _find_tree(ct: Volume, lungs: Labelmap, side: Region) -> VesselTree:
    image = lung_image(ct, lungs.mask(side), lungs.mask(AIRWAYS))
    depth = distance_mm(~image.lung, (GRID_MM, GRID_MM, GRID_MM))
    smooth = structures(image, parenchyma(image, depth))
    return VesselTree(image, vessel_load(image, smooth, depth))


def label_vessels(trees: Mapping[Region, VesselTree], lungs: Labelmap) -> Labelmap:
    """Label ``vessels`` on the grid of the lungs.

    Parameters
    ----------
    trees
        By lung; a lung without one has no vessels.
    lungs
        ``left_lung`` and ``right_lung``.

    """
    out = np.zeros(lungs.geometry.shape, np.uint8)
    for side, tree in trees.items():
        mask = lungs.mask(side)
        box = bounding_box(mask)
        here = resample_array(
            tree.vessels,
            tree.image.geometry,
            lungs.geometry.crop(box),
            interpolation="nearest",
            fill=0,
        )
        out[box][here & mask[box]] = STRUCTURES[VESSELS].label
    return Labelmap(out, lungs.geometry, {STRUCTURES[VESSELS].label: VESSELS})
