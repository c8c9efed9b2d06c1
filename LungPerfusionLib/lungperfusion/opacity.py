"""Vessels among dense lung: what density scores must not take for ground glass or consolidation.

Opacities fill their neighbourhood, vessels cross it.  Solid lung is consolidation near a place
where at least half of the lung within a large cube is solid, and vessel elsewhere.  Lung of medium
density is ground glass near a place where at least half of a small cube is dense once thick vessels
and their blur are left out; elsewhere it is thin: small vessels, airway walls, blurred surface.
No tree is traced, so this takes seconds; `lungperfusion.vessels` measures the tree.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.progress import Progress, ignore
from lungperfusion.terms.density import AERATED_BELOW_HU, GROUND_GLASS_FROM_HU
from lungperfusion.threads import in_order
from lungperfusion.volume import Mask, Volume, bounding_box

GROUND_GLASS_EDGE_MM = 9.0
"""Cube in which ground glass prevails and vessels do not: a vessel must be thicker than 7 mm."""

CONSOLIDATION_EDGE_MM = 20.0
"""Cube in which consolidation prevails and vessels do not: lobar arteries stay below 16 mm."""

THICK_VESSEL_EDGE_MM = 6.0
"""Cube in which a vessel prevails that, with its blur, could prevail as ground glass."""

BLUR_MM = 2.0
"""Reach of a thick vessel's blur: about twice the resolution of a chest CT."""

_HALF = 0.5
_FULL = 200  # whole cube covered, in the 8-bit integers that hold shares


def mark_vessels(
    ct: Volume,
    lungs: Mask,
    *,
    ground_glass_from_hu: float = GROUND_GLASS_FROM_HU,
    lung_density_threshold_hu: float = AERATED_BELOW_HU,
    progress: Progress = ignore,
) -> Mask:
    """Mark thin dense structures of the lungs: vessels with their blur, and the lung's surface.

    Parameters
    ----------
    ct
        CT in HU.
    lungs
        Both lungs, vessels included, shape (K, J, I).
    ground_glass_from_hu, lung_density_threshold_hu
        Bounds of ground glass, as in `lungperfusion.density.measure_density`.
    progress
        Called after every step; may raise to cancel.

    Returns
    -------
    Mask
        Voxels that are dense but no opacity.  Opacities thinner than about 5 mm are marked, too.

    """
    ct.require_unit("HU", "the CT")
    out = np.zeros(ct.geometry.shape, dtype=np.bool_)
    if not lungs.any():
        return out
    box = bounding_box(lungs)
    inside, densities = lungs[box], ct.array[box]
    spacing_mm = ct.geometry.spacing_kji_mm
    progress(0.0, "separating vessels from opacities")
    solid = inside & (densities >= lung_density_threshold_hu)
    consolidation = prevailing(solid, inside, CONSOLIDATION_EDGE_MM, spacing_mm)
    vessels = solid & ~consolidation
    thick = prevailing(vessels, inside, THICK_VESSEL_EDGE_MM, spacing_mm)
    blurred = ndimage.maximum_filter(thick, _cube(2 * BLUR_MM, spacing_mm))
    progress(0.5, "separating vessels from opacities")
    dense = inside & (densities >= ground_glass_from_hu)
    opacity = prevailing(dense & ~blurred, inside & ~blurred, GROUND_GLASS_EDGE_MM, spacing_mm)
    out[box] = vessels | (dense & ~solid & ~opacity)
    progress(1.0, "separating vessels from opacities")
    return out


def prevailing(
    part: Mask, inside: Mask, edge_mm: float, spacing_mm: tuple[float, float, float]
) -> Mask:
    """Find voxels of a part that lie in a cube of which the part makes up half or more.

    Parameters
    ----------
    part, inside
        The part, and the whole that cubes are cut to; shape (K, J, I).
    edge_mm
        Edge of the cube, rounded to voxels.
    spacing_mm
        Along K, J, I.

    """
    cube = _cube(edge_mm, spacing_mm)
    share, most = in_order(partial(_share, cube=cube), (part, inside), at_most=2)
    prevails = (share >= _HALF * most) & part
    return np.asarray(ndimage.maximum_filter(prevails, cube) & part)


def _share(mask: Mask, cube: list[int]) -> NDArray[np.float32]:
    """Share of the cube around each voxel, 0 to `_FULL`; outside the box there is nothing."""
    scaled = mask.view(np.uint8) * np.uint8(_FULL)
    return np.asarray(
        ndimage.uniform_filter(scaled, cube, output=np.float32, mode="constant"), np.float32
    )


def _cube(edge_mm: float, spacing_mm: tuple[float, float, float]) -> list[int]:
    """Odd number of voxels along each axis that comes closest to an edge in mm."""
    return [2 * math.floor(edge_mm / spacing / 2) + 1 for spacing in spacing_mm]
