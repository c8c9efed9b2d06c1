"""From ridge points to vessel segments: smooth curves between branch points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from lungperfusion.vessels.enhancement import Ridges, Spacing
from lungperfusion.volume import Mask

Float64 = NDArray[np.float64]

LINK_MM = 2.4
"""Ridge points at most this far apart may follow each other along a vessel."""
TURN_COST = 3.0
"""How much longer a link seems that runs across the vessels it joins; keeps neighbours apart."""
GAP_COST = 1.0
"""How much longer, per mm, a link seems beyond the distance of neighbouring voxels."""
WEAK_COST = 1.0
"""How much longer a link through weak ridge points seems."""
COVER_MM = (0.45, 0.55)
"""Ridge points within a radius of a traced axis belong to it, within these limits for thin ones."""
COVER_RADII = 0.6
"""The same for wide vessels, in radii: daughters start inside their parent's outline."""
BUNDLE_STRENGTH = 0.95
"""A finer ridge at least this strong beside the axis of a wide one makes that one a bundle.

Two touching vessels answer between them, at twice their scale, at most as strongly as each by
itself; within one wide vessel there is no finer ridge of note.
"""
BUNDLE_OFFSET_RADII = 0.25
"""How far off the axis, in radii of the wide ridge, that finer one must lie."""
BUNDLE_COSINE = 0.8
"""How parallel it must run."""
RADIUS_FACTORS = (0.5, 2.0)
"""A measured radius beyond these multiples of the rough one has blood of a neighbour in it."""
BRANCH_COURSE_RADII = (1.0, 4.0)
"""Distance from its parent, in the parent's radii, over which the course of a branch is taken."""
BRANCH_SHIFT_RADII = 2.5
"""How far along its parent, in the parent's radii, a branch point may be moved."""
LEAST_SPUR_MM = 0.5
"""Side branches shorter than this, beyond the wall of their parent, are irregularities of it."""
LEAST_VESSEL_MM = 2.0
"""Shorter pieces that join nothing are not taken for vessels."""
STEP_MM = 0.5
"""Distance between successive axis points."""
SMOOTHING_MM = 1.0
"""Standard deviation along the axis of the smoothing of its course."""

RADIUS_OVER_SCALE = 1.35
"""Radius of a round vessel over the scale that answers it best, for wide vessels.

The tubeness of a Gaussian-smoothed disc of radius r peaks at sigma = 0.63 r to r / sqrt(2),
depending on what blur is counted; used for reach only, never for a measured area.
"""


@dataclass(frozen=True, eq=False)
class Vessels:
    """Vessel axes: points at even distance along segments between branch points.

    Points of a segment are consecutive and in order.

    Parameters
    ----------
    position_mm
        Grid mm, shape (n, 3).
    tangent
        Unit vector along the segment, shape (n, 3).
    segment
        Segment number of each point, ascending from 0.
    arc_mm
        Distance from the start of the segment.
    scale_mm
        Scale that answers the vessel best, shape (n,).
    radius_mm
        Radius: at first estimated from the scale, then measured, shape (n,).
    joins
        Whether the segment's start and end are branch points, shape (segments, 2).
    component
        Number of the connected vessel tree of each segment.
    certain_share
        Share of certain ridge points along each segment.

    """

    position_mm: Float64
    tangent: Float64
    segment: NDArray[np.int64]
    arc_mm: Float64
    scale_mm: Float64
    radius_mm: Float64
    joins: NDArray[np.bool_]
    component: NDArray[np.int64]
    certain_share: Float64

    @property
    def size(self) -> int:
        """Number of points."""
        return int(self.segment.size)

    @property
    def count(self) -> int:
        """Number of segments."""
        return int(self.joins.shape[0])

    @property
    def first(self) -> NDArray[np.int64]:
        """Number of the first point of each segment."""
        return np.searchsorted(self.segment, np.arange(self.count))

    @property
    def last(self) -> NDArray[np.int64]:
        """Number of the last point of each segment."""
        return np.searchsorted(self.segment, np.arange(self.count), side="right") - 1

    @property
    def segment_length_mm(self) -> Float64:
        """Length of each segment."""
        return self.arc_mm[self.last]

    @property
    def point_length_mm(self) -> Float64:
        """Length of axis that each point stands for; adds up to the length of the segments."""
        share = np.zeros(self.size)
        step = np.where(np.diff(self.segment) == 0, np.diff(self.arc_mm), 0.0)
        share[:-1] += step / 2
        share[1:] += step / 2
        return share

    def with_radius_of(self, area_mm2: Float64) -> Vessels:
        """Take the radius from measured cross-sections, as far as the rough one allows."""
        least, most = (factor * self.radius_mm for factor in RADIUS_FACTORS)
        return replace(self, radius_mm=np.clip(np.sqrt(area_mm2 / np.pi), least, most))

    def keep(self, segments: Mask) -> Vessels:
        """Keep some of the segments, renumbered."""
        points = segments[self.segment]
        number = np.cumsum(segments) - 1
        return Vessels(
            self.position_mm[points],
            self.tangent[points],
            number[self.segment[points]],
            self.arc_mm[points],
            self.scale_mm[points],
            self.radius_mm[points],
            self.joins[segments],
            self.component[segments],
            self.certain_share[segments],
        )


def joined_vessels(first: Vessels, second: Vessels) -> Vessels:
    """Two sets of segments as one; those of the second follow, as trees of their own."""
    trees = int(first.component.max(initial=-1)) + 1
    return Vessels(
        np.concatenate([first.position_mm, second.position_mm]),
        np.concatenate([first.tangent, second.tangent]),
        np.concatenate([first.segment, second.segment + first.count]),
        np.concatenate([first.arc_mm, second.arc_mm]),
        np.concatenate([first.scale_mm, second.scale_mm]),
        np.concatenate([first.radius_mm, second.radius_mm]),
        np.concatenate([first.joins, second.joins]),
        np.concatenate([first.component, second.component + trees]),
        np.concatenate([first.certain_share, second.certain_share]),
    )


def radius_from_scale(scale_mm: Float64, spacing_kji_mm: Spacing) -> Float64:
    """Rough radius of a vessel from its best scale, less the blur of the voxel."""
    blur = float(np.cbrt(np.prod(spacing_kji_mm))) * 0.5
    return RADIUS_OVER_SCALE * np.sqrt(np.maximum(scale_mm**2 - blur**2, 0.3**2))


def trace_vessels(ridges: Ridges, spacing_kji_mm: Spacing) -> Vessels:
    """Join ridge points into trees and cut these at their branch points.

    Within each connected set of ridge points the shortest paths from its widest point form a
    tree.  The path to the farthest point is a vessel; points beside it are covered; the next path
    leads from the farthest uncovered point to the tree, and so on (the order of Sato 2000, TEASAR,
    on a graph of sub-voxel points).

    Parameters
    ----------
    ridges
        Points on vessel axes.
    spacing_kji_mm
        Voxel size.

    """
    ridges = without_bundles(ridges, spacing_kji_mm)
    radius = radius_from_scale(ridges.scale_mm, spacing_kji_mm)
    graph = _links(ridges, spacing_kji_mm)
    component = csgraph.connected_components(graph, directed=False)[1].astype(np.int64)
    sure = np.bincount(component, weights=ridges.certain) > 0
    roots = _widest(component, radius, sure)
    distance, before, _ = csgraph.dijkstra(
        graph, directed=False, indices=roots, min_only=True, return_predecessors=True
    )
    paths, joined = _paths(ridges.position_mm, radius, distance, before)
    paths = _parted_where_axes_meet(ridges.position_mm, radius, paths, joined)
    return _segments(ridges, component, paths, joined, spacing_kji_mm)


def without_bundles(ridges: Ridges, spacing_kji_mm: Spacing) -> Ridges:
    """Drop wide ridges that hold a finer, clearly stronger one: bundles of several vessels."""
    radius = radius_from_scale(ridges.scale_mm, spacing_kji_mm)
    keep = np.ones(ridges.size, np.bool_)
    for scale in np.unique(ridges.scale_mm)[1:]:
        finer = np.flatnonzero(ridges.scale_mm < scale)
        here = np.flatnonzero(ridges.scale_mm == scale)
        count = min(12, finer.size)
        distance, nearest = cKDTree(ridges.position_mm[finer]).query(
            ridges.position_mm[here], k=[*range(1, count + 1)]
        )
        within = distance < radius[here][:, None]
        other = finer[np.minimum(nearest, finer.size - 1)]
        stronger = ridges.strength_hu[other] > BUNDLE_STRENGTH * ridges.strength_hu[here][:, None]
        axis = ridges.direction[here][:, None]
        offset = ridges.position_mm[other] - ridges.position_mm[here][:, None]
        along = np.einsum("nij,nij->ni", offset, np.broadcast_to(axis, offset.shape))
        beside = np.sqrt(np.maximum((offset**2).sum(axis=2) - along**2, 0))
        off_axis = beside > BUNDLE_OFFSET_RADII * radius[here][:, None]
        turn = np.einsum(
            "nij,nij->ni", ridges.direction[other], np.broadcast_to(axis, offset.shape)
        )
        parallel = np.abs(turn) > BUNDLE_COSINE
        keep[here] = ~(within & stronger & off_axis & parallel).any(axis=1)
    return ridges.take(np.flatnonzero(keep))


def _links(ridges: Ridges, spacing: Spacing) -> sparse.csr_array:
    """Graph of ridge points; links along vessels are short, links across them long."""
    reach = max(LINK_MM, 1.8 * max(spacing))
    pairs = cKDTree(ridges.position_mm).query_pairs(reach, output_type="ndarray")
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    a, b = pairs[:, 0], pairs[:, 1]
    step = ridges.position_mm[b] - ridges.position_mm[a]
    length = np.linalg.norm(step, axis=1)
    unit = step / np.maximum(length, 1e-6)[:, None]
    along = np.minimum(
        np.abs(np.einsum("ij,ij->i", unit, ridges.direction[a])),
        np.abs(np.einsum("ij,ij->i", unit, ridges.direction[b])),
    )
    weak = 1.0 - 0.5 * (ridges.certain[a].astype(float) + ridges.certain[b])
    gap = np.maximum(length - 1.8 * min(spacing), 0.0)
    cost = (length + 0.02) * (1 + TURN_COST * (1 - along) + WEAK_COST * weak + GAP_COST * gap)
    shape = (ridges.size, ridges.size)
    return sparse.csr_array((cost, (a, b)), shape=shape)


def _widest(component: NDArray[np.int64], radius: Float64, sure: Mask) -> NDArray[np.int64]:
    """First of the widest points of every component that holds a certain point."""
    order = np.lexsort((np.arange(radius.size), -radius, component))
    first = order[np.unique(component[order], return_index=True)[1]]
    return np.asarray(first[sure[component[first]]], dtype=np.int64)


def _paths(
    position: Float64, radius: Float64, distance: Float64, before: NDArray[Any]
) -> tuple[list[list[int]], list[bool]]:
    """Paths that cover all points, each from its far end to the tree.

    Returns the paths and whether each ends on an earlier one.
    """
    reachable = np.isfinite(distance)
    order = np.lexsort((np.arange(distance.size), -np.where(reachable, distance, -1.0)))
    order = order[: int(reachable.sum())]
    points = cKDTree(position)
    covered = ~reachable
    # The point of the tree that each point lies beside; a path ends where it comes to lie beside
    # the tree, so that no two run along one vessel.
    beside = np.full(distance.size, -1, dtype=np.int64)
    parents = before.tolist()
    paths, joined = [], []
    for start in order.tolist():
        if covered[start]:
            continue
        path, node = [start], parents[start]
        while node >= 0 and beside[node] < 0:
            path.append(node)
            node = parents[node]
        if node >= 0:
            path.append(int(beside[node]))
        reach = np.maximum(np.clip(radius[path], *COVER_MM), COVER_RADII * radius[path])
        near = points.query_ball_point(position[path], reach)
        spur = node >= 0 and _is_spur(position, radius, path)
        for member, neighbours in zip(path, near, strict=True):
            covered[neighbours] = True
            if not spur:
                here = np.asarray(neighbours)
                beside[here[beside[here] < 0]] = member
        if spur:
            continue
        beside[path[: -1 if node >= 0 else None]] = path[: -1 if node >= 0 else None]
        paths.append(path)
        joined.append(node >= 0)
    return paths, joined


def _is_spur(position: Float64, radius: Float64, path: list[int]) -> bool:
    points = position[path]
    length = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    return bool(length < LEAST_SPUR_MM + radius[path[-1]])


def _parted_where_axes_meet(
    position: Float64, radius: Float64, paths: Sequence[list[int]], joined: Sequence[bool]
) -> list[list[int]]:
    """Move branch points from where ridges merge to where the axes of the vessels meet.

    Two ridges merge where their vessels overlap, which is beyond the branch point.  The straight
    course of a branch, clear of its parent, is followed back to where it passes the axis of the
    parent, toward its root, most closely.
    """
    place = {}
    for number, path in enumerate(paths):
        for n, node in enumerate(path[: -1 if joined[number] else None]):
            place[node] = (number, n)
    out = [list(path) for path in paths]
    for number, path in enumerate(paths):
        if not joined[number] or path[-1] not in place:
            continue
        parent, at = place[path[-1]]
        wide = float(radius[path[-1]])
        line = _straight_part(position[path[::-1]], wide)
        if line is None:
            continue
        course = position[paths[parent]]
        arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(course, axis=0), axis=1))])
        # Paths lead to the root, so the parent's root lies ahead.
        ahead = arc - arc[at]
        near = np.flatnonzero((ahead >= 0) & (ahead <= BRANCH_SHIFT_RADII * wide + STEP_MM))
        offset = course[near] - line[0]
        across = offset - np.outer(offset @ line[1], line[1])
        best = int(near[np.argmin(np.linalg.norm(across, axis=1))])
        out[number][-1] = paths[parent][best]
    return out


def _straight_part(course: Float64, radius_mm: float) -> tuple[Float64, Float64] | None:
    """Point on and direction of a branch where it has left its parent; None if it is too short."""
    away = np.linalg.norm(course - course[0], axis=1)
    low, high = (span * radius_mm + STEP_MM for span in BRANCH_COURSE_RADII)
    clear = course[(away >= low) & (away <= high)]
    if len(clear) < 3:
        return None
    middle = clear.mean(axis=0)
    direction = np.linalg.svd(clear - middle, full_matrices=False)[2][0]
    return middle, direction


def _segments(
    ridges: Ridges,
    component: NDArray[np.int64],
    paths: Sequence[list[int]],
    joined: Sequence[bool],
    spacing: Spacing,
) -> Vessels:
    """Cut paths where others join them; smooth and resample what lies between."""
    branch_points = {path[-1] for path, joins in zip(paths, joined, strict=True) if joins}
    parts: list[tuple[Float64, Float64, Float64]] = []
    joins: list[tuple[bool, bool]] = []
    trees: list[int] = []
    certain: list[float] = []
    for path in paths:
        course, width = _smoothed(ridges.position_mm[path], ridges.scale_mm[path])
        cuts = [0, *(n for n in range(1, len(path) - 1) if path[n] in branch_points)]
        cuts.append(len(path) - 1)
        for start, stop in pairwise(cuts):
            if stop <= start:
                continue
            piece = slice(start, stop + 1)
            resampled = _resampled(course[piece], width[piece])
            if resampled is None:
                continue
            parts.append(resampled)
            joins.append((path[start] in branch_points, path[stop] in branch_points))
            trees.append(int(component[path[0]]))
            certain.append(float(ridges.certain[path[piece]].mean()))
    return _assembled(parts, joins, trees, certain, spacing)


def _assembled(
    parts: list[tuple[Float64, Float64, Float64]],
    joins: list[tuple[bool, bool]],
    trees: list[int],
    certain: list[float],
    spacing: Spacing,
) -> Vessels:
    if not parts:
        none = np.zeros((0, 3))
        return Vessels(
            none,
            none,
            np.zeros(0, np.int64),
            np.zeros(0),
            np.zeros(0),
            np.zeros(0),
            np.zeros((0, 2), bool),
            np.zeros(0, np.int64),
            np.zeros(0),
        )
    tangents = []
    for position, _, _ in parts:
        step = np.gradient(position, axis=0)
        tangents.append(step / np.maximum(np.linalg.norm(step, axis=1), 1e-9)[:, None])
    scale = np.concatenate([width for _, _, width in parts])
    return Vessels(
        np.concatenate([position for position, _, _ in parts]),
        np.concatenate(tangents),
        np.repeat(np.arange(len(parts)), [position.shape[0] for position, _, _ in parts]),
        np.concatenate([arc for _, arc, _ in parts]),
        scale,
        radius_from_scale(scale, spacing),
        np.array(joins, dtype=bool).reshape(-1, 2),
        np.array(trees, dtype=np.int64),
        np.array(certain),
    )


def _smoothed(points: Float64, width: Float64) -> tuple[Float64, Float64]:
    """Smooth a path of uneven steps along its length; its ends stay where they are."""
    if len(points) < 3:
        return points, width
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    even = np.linspace(0.0, arc[-1], max(3, round(arc[-1] / (STEP_MM / 2)) + 1))
    sigma = SMOOTHING_MM / (even[1] - even[0])
    columns = np.column_stack([points, width])
    columns = np.column_stack([np.interp(even, arc, column) for column in columns.T])
    # Mirroring about the end point keeps it in place and lets the course run straight through it.
    reach = min(len(even) - 1, int(3 * sigma) + 1)
    before = 2 * columns[0] - columns[reach:0:-1]
    after = 2 * columns[-1] - columns[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, columns, after])
    smooth = ndimage.gaussian_filter1d(padded, sigma, axis=0, mode="nearest", truncate=3.0)
    smooth = smooth[reach : reach + len(even)]
    back = np.column_stack([np.interp(arc, even, column) for column in smooth.T])
    return back[:, :3], back[:, 3]


def _resampled(course: Float64, width: Float64) -> tuple[Float64, Float64, Float64] | None:
    """Points at even distance with their arc length and width; None for a point-like piece."""
    steps = np.linalg.norm(np.diff(course, axis=0), axis=1)
    arc = np.concatenate([[0.0], np.cumsum(steps)])
    if arc[-1] < 1e-3:
        return None
    even = np.linspace(0.0, arc[-1], max(2, round(arc[-1] / STEP_MM) + 1))
    position = np.column_stack([np.interp(even, arc, column) for column in course.T])
    return position, even, np.interp(even, arc, width)
