"""Lungs of a xenon MRI laid over those of a CT: by their outlines, each lung for itself.

Gas fills what it can reach and CT shows tissue, so intensities say nothing about position; outlines
do.  The outline of the thoracic cavity on MRI has no notch at the hilum, so that of the CT is
closed there.  Fields lead from points of the MRI to those of the CT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.errors import InputError
from lungperfusion.morphology import dilated, distance_mm, eroded
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.terms import LUNGS, STRUCTURES, Region, title
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume
from lungperfusion.vq.alignment import Part, Stage, align
from lungperfusion.vq.displacement import DisplacementField, voxel_positions
from lungperfusion.xenon.orienting import shrunk_mask

BOTH_STAGES = (Stage(spacing_mm=6.0, grid_mm=80.0, bending=6.0, blur_mm=3.0, iterations=12),)
"""Rough fit of both lungs together, which parts the lungs of the MRI."""

LUNG_STAGES = (
    Stage(spacing_mm=6.0, grid_mm=64.0, bending=3.0, blur_mm=3.0, iterations=12),
    Stage(spacing_mm=4.0, grid_mm=40.0, bending=1.0, blur_mm=2.0, iterations=12),
)
"""Fit of each lung: B-splines of 40 mm, as stiff as outlines alone can carry."""

HILUM_MM = 12.0
"""Notches of the CT outline narrower than twice this are closed."""

SMALLEST_LUNG_ML = 100.0
"""A lung on MRI smaller than this is not joined."""

_OUTLINE_MM = 3.0
_LUNG_HU = -850.0  # of any lung: its density plays no part
_ONE_SIDED = 0.95

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class LungJoin:
    """How one lung on MRI lies in the CT, and how well."""

    field: DisplacementField
    """Displacement at points of the MRI to the CT, RAS mm."""
    dice: float
    surface_mm: float
    """Mean distance of both outlines after the join, both ways."""
    mri_ml: float
    ct_ml: float
    """Volumes of the closed outlines."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Join:
    """A xenon MRI laid over one CT."""

    lungs: Mapping[Region, LungJoin]
    sides: Labelmap
    """``left_lung`` and ``right_lung`` on the grid of the MRI."""
    missing: Mapping[Region, str]
    """Lungs that are not joined, with the reason."""

    @property
    def volume_ratio(self) -> float:
        """Volume on MRI over that on CT."""
        joined = self.lungs.values()
        return sum(lung.mri_ml for lung in joined) / max(sum(lung.ct_ml for lung in joined), 1e-9)


def join_lungs(
    mask: Mask,
    geometry: Geometry,
    ct_lungs: Labelmap,
    *,
    points: tuple[Points, Points] | None = None,
    progress: Progress = ignore,
) -> Join:
    """Lay the lungs of a xenon MRI over those of a CT.

    Parameters
    ----------
    mask, geometry
        Both lungs on MRI and their grid.
    ct_lungs
        ``left_lung`` and ``right_lung`` on the CT.
    points
        Corresponding points, RAS mm, shapes (N, 3), on MRI and on CT: they steer.
    progress
        Called throughout; may raise to cancel.

    Raises
    ------
    InputError
        If no lung is in both.

    """
    outline, grid = closed_outline(mask, geometry)
    ct_outlines = {lung: closed_outline(ct_lungs.mask(lung), ct_lungs.geometry) for lung in LUNGS}
    there = [found[0] for found in ct_outlines.values()]
    whole = there[0] | there[1]
    if not outline.any() or not whole.any():
        raise InputError("the mask of the xenon MRI or the lungs of the CT are empty")
    ct_grid = ct_outlines[LUNGS[0]][1]
    rough = align(
        _part(outline, grid),
        _part(whole, ct_grid),
        stages=BOTH_STAGES,
        landmarks=points,
        progress=part(progress, 0.0, 0.3),
    )
    sides = _sides(mask, geometry, rough, ct_lungs)
    lungs, missing = {}, {}
    for number, lung in enumerate(LUNGS):
        report = part(progress, 0.3 + 0.35 * number, 0.65 + 0.35 * number)
        own, ct_own = sides.mask(lung), ct_outlines[lung][0]
        volume_ml = float(own.sum()) * geometry.voxel_volume_ml
        if volume_ml < SMALLEST_LUNG_ML or not ct_own.any():
            where = "CT" if not ct_own.any() else "xenon MRI"
            missing[lung] = f"no {title(lung).lower()} of a usable size on {where}"
            continue
        lungs[lung] = _join_lung(own, geometry, ct_own, ct_grid, rough, points, report)
    return Join(lungs=lungs, sides=sides, missing=missing)


def closed_outline(mask: Mask, geometry: Geometry) -> tuple[Mask, Geometry]:
    """Mask without notches and holes, on a grid of about 3 mm with a rim."""
    share, grid = shrunk_mask(mask, geometry, _OUTLINE_MM)
    solid = share >= 0.5
    if not solid.any():
        return solid, grid
    spacing = grid.spacing_kji_mm
    reach = [int(np.ceil(HILUM_MM / step)) for step in spacing]
    padded = np.pad(solid, [(n, n) for n in reach])
    closed = eroded(dilated(padded, HILUM_MM, spacing), HILUM_MM, spacing)
    closed = ndimage.binary_fill_holes(closed) | padded
    inner = tuple(slice(n, n + size) for n, size in zip(reach, solid.shape, strict=True))
    return np.asarray(closed[inner]), grid


def _part(mask: Mask, grid: Geometry) -> Part:
    """Lung of one density, so that only its outline is matched."""
    return Part.cut(Volume(np.full(mask.shape, _LUNG_HU, np.float32), grid, "HU"), mask)


def _join_lung(
    own: Mask,
    geometry: Geometry,
    ct_own: Mask,
    ct_grid: Geometry,
    rough: DisplacementField,
    points: tuple[Points, Points] | None,
    progress: Progress,
) -> LungJoin:
    outline, grid = closed_outline(own, geometry)
    field = align(
        _part(outline, grid),
        _part(ct_own, ct_grid),
        stages=LUNG_STAGES,
        start=rough,
        landmarks=_points_in(points, outline, grid),
        progress=progress,
    )
    placed = voxel_positions(grid)
    moved = placed + field.at(placed)
    index = ct_grid.ijk_from_ras(moved).T[::-1]
    covered = ndimage.map_coordinates(ct_own.astype(np.float32), index, order=1) >= 0.5
    covered = covered.reshape(outline.shape)
    both = float((covered & outline).sum())
    return LungJoin(
        field=field,
        dice=2 * both / float(covered.sum() + outline.sum()),
        surface_mm=_surface_distance_mm(outline, covered, grid),
        mri_ml=float(outline.sum()) * grid.voxel_volume_ml,
        ct_ml=float(ct_own.sum()) * ct_grid.voxel_volume_ml,
    )


def _points_in(
    points: tuple[Points, Points] | None, outline: Mask, grid: Geometry
) -> tuple[Points, Points] | None:
    """Corresponding points that lie in or near one lung of the MRI."""
    if points is None:
        return None
    index = np.rint(grid.ijk_from_ras(points[0])[:, ::-1]).astype(int)
    inside = ((index >= 0) & (index < outline.shape)).all(axis=1)
    near = np.zeros(len(index), np.bool_)
    near[inside] = outline[tuple(index[inside].T)]
    return (points[0][near], points[1][near]) if near.any() else None


def _surface_distance_mm(first: Mask, second: Mask, grid: Geometry) -> float:
    """Mean distance between the surfaces of two masks, both ways."""
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (first, second)]
    if not all(surface.any() for surface in surfaces):
        return float("inf")
    there, back = (distance_mm(surface, grid.spacing_kji_mm) for surface in surfaces)
    return float(np.concatenate([there[surfaces[1]], back[surfaces[0]]]).mean())


def _sides(
    mask: Mask, geometry: Geometry, rough: DisplacementField, ct_lungs: Labelmap
) -> Labelmap:
    """Part the lungs of the MRI: the side of the CT that a roughly placed voxel is nearer to.

    A piece of the mask that lies on one side almost wholly lies there with all of it.
    """
    points = voxel_positions(geometry, mask)
    placed = points + rough.at(points)
    distances = []
    for lung in LUNGS:
        share, grid = shrunk_mask(ct_lungs.mask(lung), ct_lungs.geometry, 2 * _OUTLINE_MM)
        depth = distance_mm(share >= 0.5, grid.spacing_kji_mm)
        depth -= np.minimum(distance_mm(share < 0.5, grid.spacing_kji_mm), 1e3)
        index = grid.ijk_from_ras(placed).T[::-1]
        distances.append(
            ndimage.map_coordinates(np.minimum(depth, 1e4), index, order=1, mode="nearest")
        )
    left = distances[0] <= distances[1]
    pieces = ndimage.label(mask)[0][mask]
    share_left = (np.bincount(pieces, left) / np.maximum(np.bincount(pieces), 1))[pieces]
    left = np.where(share_left >= _ONE_SIDED, True, left & (share_left > 1 - _ONE_SIDED))
    array = np.zeros(geometry.shape, np.uint8)
    labels = [STRUCTURES[lung].label for lung in LUNGS]
    array[mask] = np.where(left, labels[0], labels[1])
    return Labelmap(array, geometry, dict(zip(labels, LUNGS, strict=True)))
