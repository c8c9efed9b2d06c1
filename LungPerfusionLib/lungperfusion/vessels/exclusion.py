"""Dense tissue in the lung that is no vessel, recognised by its shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from lungperfusion.morphology import dilated, eroded
from lungperfusion.vessels.area import Territory
from lungperfusion.vessels.background import Background, block_steps, block_sums
from lungperfusion.vessels.centreline import RADIUS_OVER_SCALE, Vessels, trace_vessels
from lungperfusion.vessels.enhancement import Float32, Ridges, Spacing
from lungperfusion.volume import Box, Mask, bounding_box, widened

DENSE_HU = -300.0
"""Tissue that fills at least two thirds of a voxel's air space."""
WIDEST_VESSEL_RADIUS_MM = 6.5
"""Dense tissue that holds a larger ball is consolidation, atelectasis or a mass.

Ball radius; interlobar arteries, the widest vessels within the lungs, have diameters of 13 to 16
mm at most (Chang 1962, AJR 87:929).
"""
WALL_MM = 1.3
"""Airway wall: 1 to 1.5 mm in segmental bronchi, thinner beyond."""
LUMEN_RADIUS_OVER_SCALE = 2.0
"""The bright wall makes a lumen answer best at half its radius."""
LEAST_AIRWAY_MM = 6.0
"""Dark tubes shorter than this are gaps between vessels."""
LUMEN_BELOW_LUNG_HU = 40.0
"""Airways are this much less dense than the lung, on the average of their axis.

A lumen of 2 mm is on the edge; gaps between vessels, dark noise, and what thick slices and sharp
kernels take off beside a vessel lie above.
"""
BLOB_LENGTH_RADII = 2.5
"""A piece that swells, and is shorter than this many of its radii, is a nodule."""
BLOB_SWELLING = 1.6
"""How many times as wide as what it is connected to a nodule is."""
LESION_BALL_MM = 1.5
"""Dense tissue beside the vessels that holds such a ball is a lesion: a nodule of 3 mm or more."""
LESION_BORDER_MM = 2.0
"""Blur between a lesion and what starts from it."""
SPICULE_MM, SPICULE_MM2 = 15.0, 5.0
"""Strands that radiate from a lesion are shorter and thinner: spicules reach up to 1.5 cm into the
lung and are 1 to 2 mm thick."""
SCAR_MM2 = 4.0
"""Tubes on their own from this mean area on are scars unless they come from somewhere: what such a
vessel comes from is seen.  The parents of thinner ones may be lost in noise."""
PARENT_MM = 5.0
"""A vessel not followed to the one it comes from, at least half as wide, ends this near to it."""
SURFACE_MM = 3.0
"""An end this close to the lung's surface, beside its radius, may go on beyond."""
BLUNT = 0.5
"""An end of at least this share of the mean area is blunt: vessels narrow before they are lost."""
SPUR_RADII = 4.0
"""Pieces beside the longest one of a tree, as noise adds to a tip, are no branches up to this."""
END_MM = (1.5, 5.0)
"""Distance from an end within which its area is taken: blur rounds the tip."""
GHOST_RADII = 0.5
"""A wide ridge whose blood makes up less than this share of its radius lies in another vessel."""
LEAST_GHOST_RADIUS_MM = 1.2
"""Rough radius from which the scale tells a width at all."""


def thick_tissue(image_hu: Float32, lung: Mask, spacing_kji_mm: Spacing) -> Mask:
    """Dense tissue too thick for a vessel: what a ball of the widest vessel's radius fits into.

    Works on blocks of about 1.5 mm; the result is grown by a block so that the blurred border of
    the tissue belongs to it.
    """
    steps = block_steps(spacing_kji_mm, 1.5)
    counts = block_sums(lung, steps)
    sums = block_sums(np.where(lung, image_hu, np.float32(0)), steps)
    dense = (counts > 0) & (sums > DENSE_HU * np.maximum(counts, 1))
    mm = [s * n for s, n in zip(spacing_kji_mm, steps, strict=True)]
    thick = np.zeros(dense.shape, np.bool_)
    labels, number = ndimage.label(dense)
    if number:
        for box in ndimage.find_objects(labels):
            if box is None or (
                min((part.stop - part.start + 1) * size for part, size in zip(box, mm, strict=True))
                < 2 * WIDEST_VESSEL_RADIUS_MM
            ):
                continue
            wide = widened(box, (8, 8, 8), dense.shape)
            part_dense = np.pad(dense[wide], 1)
            depth = ndimage.distance_transform_edt(part_dense, sampling=mm)[1:-1, 1:-1, 1:-1]
            core = depth > WIDEST_VESSEL_RADIUS_MM
            if core.any():
                away = ndimage.distance_transform_edt(~core, sampling=mm)
                thick[wide] |= away <= WIDEST_VESSEL_RADIUS_MM + 2.0 * max(mm)
    for axis, (step, size) in enumerate(zip(steps, image_hu.shape, strict=True)):
        thick = np.repeat(thick, step, axis=axis)
        thick = thick[(slice(None),) * axis + (slice(0, size),)]
    return thick & lung


def airway_axes(
    lumens: Ridges, image_hu: Float32, background: Background, spacing_kji_mm: Spacing
) -> Vessels | None:
    """Axes of airways too thin for the airway label map: long dark tubes filled with air.

    Parameters
    ----------
    lumens
        Points on the axes of dark tubes.
    image_hu
        Image.
    background
        Density between the vessels.
    spacing_kji_mm
        Voxel size.

    """
    if not lumens.size:
        return None
    traced = trace_vessels(lumens, spacing_kji_mm)
    place = traced.position_mm / np.asarray(spacing_kji_mm)
    level = ndimage.map_coordinates(image_hu, place.T, order=1, mode="nearest")
    index = np.ravel_multi_index(tuple(np.rint(place).astype(int).T), image_hu.shape, mode="clip")
    above = np.bincount(traced.segment, level - background.at(index), traced.count)
    points = np.bincount(traced.segment, minlength=traced.count)
    traced = traced.keep(above < -LUMEN_BELOW_LUNG_HU * points)
    length = np.bincount(traced.component, weights=traced.segment_length_mm)
    return traced.keep(length[traced.component] >= LEAST_AIRWAY_MM)


def airway_depth_mm(
    shape: tuple[int, int, int],
    spacing_kji_mm: Spacing,
    airways: Mask | None,
    axes: Vessels | None,
) -> Float32:
    """Depth below the outer surface of airways, 0 outside them.

    The labelled lumen and thin airways, each with a wall around it.
    """
    depth = np.zeros(shape, np.float32)
    if airways is not None and airways.any():
        _deepen_around(depth, airways, spacing_kji_mm, WALL_MM)
    if axes is not None and axes.size:
        radius = axes.radius_mm / RADIUS_OVER_SCALE * LUMEN_RADIUS_OVER_SCALE + WALL_MM
        _deepen_in_balls(depth, axes.position_mm, radius, spacing_kji_mm)
    return depth


def _deepen_around(depth: Float32, mask: Mask, spacing_kji_mm: Spacing, by_mm: float) -> None:
    """Write the depth within a distance of a mask; infinite in the mask itself."""
    margin = [int(np.ceil(by_mm / mm)) + 1 for mm in spacing_kji_mm]
    box = bounding_box(mask, (margin[0], margin[1], margin[2]))
    half = [int(by_mm / mm) for mm in spacing_kji_mm]
    part = mask[box]
    padded = np.pad(depth[box], [(n, n) for n in half])
    at = np.argwhere(part & ~ndimage.binary_erosion(part)) + half
    for offset, far in _offsets(half, spacing_kji_mm):
        if far < by_mm:
            place = tuple((at + offset).T)
            padded[place] = np.maximum(padded[place], np.float32(by_mm - far))
    inner = tuple(slice(n, n + size) for n, size in zip(half, part.shape, strict=True))
    depth[box] = padded[inner]
    depth[mask] = np.inf


def _deepen_in_balls(
    depth: Float32, centre_mm: NDArray[np.float64], radius_mm: NDArray[np.float64], spacing: Spacing
) -> None:
    """Write the depth below the surface of balls."""
    mm = np.asarray(spacing)
    size = np.asarray(depth.shape)
    base = np.rint(centre_mm / mm).astype(np.int64)
    half = [int(np.ceil(float(radius_mm.max(initial=0.0)) / size_mm)) for size_mm in spacing]
    for offset, _ in _offsets(half, spacing):
        place = base + offset
        below = radius_mm - np.linalg.norm(place * mm - centre_mm, axis=1)
        good = (below > 0) & ((place >= 0) & (place < size)).all(axis=1)
        np.maximum.at(depth, tuple(place[good].T), below[good].astype(np.float32))


def _offsets(half: Sequence[int], spacing: Spacing) -> list[tuple[NDArray[np.int64], float]]:
    """List the steps from a voxel to those of a box around it, and how far they lead."""
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in half), indexing="ij"), axis=-1)
    steps = grid.reshape(-1, 3)
    far = np.linalg.norm(steps * np.asarray(spacing), axis=1)
    return list(zip(steps, far.tolist(), strict=True))


def won_from_airways(vessels: Vessels, territory: Territory, depth_mm: Float32) -> Mask:
    """Voxels of the territory that lie deeper in their vessel than in an airway.

    Arteries run beside airways of their size; both share what lies between them.
    """
    below = vessels.radius_mm[territory.owner] - territory.off_axis_mm
    return np.asarray(below > depth_mm.ravel()[territory.index])


@dataclass(frozen=True, eq=False)
class Rejected:
    """Pieces of axis that are no vessels, by reason; True where a segment goes."""

    short: Mask
    nodule: Mask
    uncertain: Mask
    ghost: Mask

    @property
    def any(self) -> Mask:
        """Segments to remove."""
        return self.short | self.nodule | self.uncertain | self.ghost


def judge_segments(vessels: Vessels, area_mm2: NDArray[np.float64], least_mm: float) -> Rejected:
    """Tell vessels from nodules, specks and second axes in one vessel by length and swelling.

    Parameters
    ----------
    vessels
        Axes.
    area_mm2
        Cross-section at each axis point.
    least_mm
        Least length of a tree.

    """
    total = np.bincount(vessels.component, weights=vessels.segment_length_mm)
    tree_mm = total[vessels.component]
    points = np.bincount(vessels.segment, minlength=vessels.count)
    mean = np.bincount(vessels.segment, area_mm2, vessels.count) / np.maximum(points, 1)
    radius = np.sqrt(mean / np.pi)
    rough = np.bincount(vessels.segment, vessels.radius_mm, vessels.count) / np.maximum(points, 1)
    alone = ~vessels.joins.any(axis=1)
    stubby = vessels.segment_length_mm < BLOB_LENGTH_RADII * radius
    beside = _widest_neighbour(vessels, radius)
    swollen = radius > BLOB_SWELLING * beside
    nodule = stubby & (swollen | (tree_mm < BLOB_LENGTH_RADII * radius))
    return Rejected(
        short=tree_mm < least_mm,
        nodule=nodule & ((radius > 1.5) | alone) & ~vessels.joins.all(axis=1),
        uncertain=alone & (vessels.certain_share < 0.3),
        ghost=(rough >= LEAST_GHOST_RADIUS_MM) & (radius < GHOST_RADII * rough),
    )


def lesions(dense: Mask, explained: Mask, spacing_kji_mm: Spacing) -> Mask:
    """Dense tissue that vessels do not explain, as wide as a ball of `LESION_BALL_MM`, and around.

    Nodules, scars and consolidation too small for `thick_tissue`.
    """
    core = eroded(dense & ~explained, LESION_BALL_MM, spacing_kji_mm)
    return dilated(core, LESION_BALL_MM + LESION_BORDER_MM, spacing_kji_mm)


def spicules(
    vessels: Vessels, area_mm2: NDArray[np.float64], lesion: Mask, spacing_kji_mm: Spacing
) -> Mask:
    """Segments that only radiate from a lesion: short, thin, joined to nothing but one another.

    A vessel that feeds or crosses a lesion goes on beyond it, or is wide; a spicule ends.
    """
    ends = np.stack([vessels.first, vessels.last])
    place = np.rint(vessels.position_mm[ends] / np.asarray(spacing_kji_mm)).astype(int)
    place = np.clip(place, 0, np.asarray(lesion.shape) - 1)
    touching = lesion[tuple(np.moveaxis(place, -1, 0))].any(axis=0)
    a, b = _meeting(vessels).T
    graph = sparse.coo_array((np.ones(a.size), (a, b)), shape=(vessels.count,) * 2)
    group = csgraph.connected_components(graph, directed=False)[1]
    length = np.bincount(group, weights=vessels.segment_length_mm)
    touched = np.bincount(group, weights=touching) > 0
    blood = np.bincount(group[vessels.segment], area_mm2 * vessels.point_length_mm, length.size)
    thin = blood < SPICULE_MM2 * length
    return np.asarray((touched & thin & (length < SPICULE_MM))[group])


def scars(
    vessels: Vessels, area_mm2: NDArray[np.float64], beyond: Mask, spacing_kji_mm: Spacing
) -> Mask:
    """Segments of unbranched wide tubes on their own that end bluntly in the lung.

    Where a tube is as long as a vessel, connection tells them apart: a vessel joins others, or
    leaves the lung (or a part of it that cannot be judged) at its wide end and narrows to the
    other.  A scar ends as wide as it is, in the lung or with one end on the pleura.

    Parameters
    ----------
    vessels, area_mm2
        Axes, and the cross-section at each axis point.
    beyond
        Where no vessel is followed: outside the lung, thick tissue, lesions, airway walls.
    spacing_kji_mm
        Voxel size.

    """
    points = np.bincount(vessels.segment, minlength=vessels.count)
    mean = np.bincount(vessels.segment, area_mm2, vessels.count) / np.maximum(points, 1)
    tree_mm = np.bincount(vessels.component, weights=vessels.segment_length_mm)[vessels.component]
    radius = np.sqrt(mean / np.pi)
    unbranched = tree_mm - vessels.segment_length_mm <= SPUR_RADII * radius
    out = np.zeros(vessels.count, np.bool_)
    known = cKDTree(vessels.position_mm)
    for segment in np.flatnonzero(unbranched & (mean >= SCAR_MM2)):
        ends = vessels.position_mm[[vessels.first[segment], vessels.last[segment]]]
        around = [_around(end, SURFACE_MM + radius[segment], spacing_kji_mm) for end in ends]
        near = known.query_ball_point(ends, PARENT_MM)
        others = vessels.segment[np.concatenate([np.asarray(n, np.intp) for n in near])]
        others = others[vessels.component[others] != vessels.component[segment]]
        if (mean[others] >= mean[segment] / 2).any():
            continue
        if any(_off_image(box, beyond.shape) for box in around):
            continue
        free = [not beyond[box].any() for box in around]
        blunt = _end_areas(vessels, area_mm2, int(segment)) >= BLUNT * mean[segment]
        if any(free) and blunt[free].all():
            out |= vessels.component == vessels.component[segment]
    return out


def _around(centre_mm: NDArray[np.float64], reach_mm: float, spacing: Spacing) -> Box:
    """Box about a point; it may reach out of the image."""
    low, high = (
        np.rint((centre_mm + side * reach_mm) / spacing).astype(int) for side in (-1.0, 1.0)
    )
    k, j, i = (slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    return k, j, i


def _off_image(box: Box, shape: tuple[int, ...]) -> bool:
    return any(part.start < 0 or part.stop > n for part, n in zip(box, shape, strict=True))


def _end_areas(
    vessels: Vessels, area_mm2: NDArray[np.float64], segment: int
) -> NDArray[np.float64]:
    """Mean area near the first and the last point of a segment."""
    here = slice(vessels.first[segment], vessels.last[segment] + 1)
    arc, area = vessels.arc_mm[here], area_mm2[here]
    low, high = END_MM
    parts = [area[(from_end >= low) & (from_end <= high)] for from_end in (arc, arc[-1] - arc)]
    return np.array([part.mean() if part.size else area.mean() for part in parts])


def _meeting(vessels: Vessels) -> NDArray[np.int64]:
    """Pairs of segments whose ends meet, shape (n, 2)."""
    ends = np.concatenate([vessels.position_mm[vessels.first], vessels.position_mm[vessels.last]])
    owner = np.tile(np.arange(vessels.count), 2)
    pairs = owner[cKDTree(ends).query_pairs(1.0, output_type="ndarray")]
    return np.asarray(pairs[pairs[:, 0] != pairs[:, 1]])


def _widest_neighbour(vessels: Vessels, radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """Radius of the widest other segment that meets each segment; 0 for none."""
    out = np.zeros(vessels.count)
    a, b = _meeting(vessels).T
    np.maximum.at(out, a, radius[b])
    np.maximum.at(out, b, radius[a])
    return out
