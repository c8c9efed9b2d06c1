"""Dense tissue in the lung that is no vessel, told by its shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from lungperfusion.vessels.background import block_steps, block_sums
from lungperfusion.vessels.centreline import RADIUS_OVER_SCALE, Vessels, trace_vessels
from lungperfusion.vessels.enhancement import Float32, Ridges, Spacing
from lungperfusion.volume import Mask, bounding_box

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
LUMEN_ABOVE_LUNG_HU = 60.0
"""Airway centres are no denser than the lung plus the blur of their own wall."""
BLOB_LENGTH_RADII = 2.5
"""A piece that swells, and is shorter than this many of its radii, is a nodule."""
BLOB_SWELLING = 1.6
"""How many times as wide as what it is connected to a nodule is."""
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
            wide = tuple(slice(max(0, part.start - 8), part.stop + 8) for part in box)
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


def airway_axes(lumens: Ridges, spacing_kji_mm: Spacing, beyond: Mask) -> Vessels | None:
    """Axes of airways too thin for the airway label map: long dark tubes.

    Parameters
    ----------
    lumens
        Points on the axes of dark tubes.
    spacing_kji_mm
        Voxel size.
    beyond
        Which of the points are dark enough.

    """
    chosen = lumens.take(np.flatnonzero(beyond))
    if not chosen.size:
        return None
    traced = trace_vessels(chosen, spacing_kji_mm)
    length = np.bincount(traced.component, weights=traced.segment_length_mm)
    return traced.keep(length[traced.component] >= LEAST_AIRWAY_MM)


def airway_walls(
    shape: tuple[int, int, int],
    spacing_kji_mm: Spacing,
    airways: Mask | None,
    axes: Vessels | None,
) -> Mask:
    """Airways with their walls: the labelled lumen and thin airways, each grown by a wall."""
    walls = np.zeros(shape, np.bool_)
    if airways is not None and airways.any():
        walls |= grown(airways, spacing_kji_mm, WALL_MM)
    if axes is not None and axes.size:
        radius = axes.radius_mm / RADIUS_OVER_SCALE * LUMEN_RADIUS_OVER_SCALE + WALL_MM
        paint_balls(walls, axes.position_mm, radius, spacing_kji_mm)
    return walls


def grown(mask: Mask, spacing_kji_mm: Spacing, by_mm: float) -> Mask:
    """Mask grown by a ball, slice by slice around its bounding box."""
    margin = [int(np.ceil(by_mm / mm)) + 1 for mm in spacing_kji_mm]
    box = bounding_box(mask, (margin[0], margin[1], margin[2]))
    half = [int(by_mm / mm) for mm in spacing_kji_mm]
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in half), indexing="ij"), axis=-1)
    ball = np.linalg.norm(grid * np.asarray(spacing_kji_mm), axis=-1) <= by_mm
    part = mask[box]
    surface = part & ~ndimage.binary_erosion(part)
    padded = np.pad(part, [(n, n) for n in half])
    at = np.argwhere(surface)
    for offset in np.argwhere(ball):
        k, j, i = (at + offset).T
        padded[k, j, i] = True
    out = mask.copy()
    inner = tuple(slice(n, n + size) for n, size in zip(half, part.shape, strict=True))
    out[box] |= padded[inner]
    return out


def paint_balls(
    mask: Mask, centre_mm: NDArray[np.float64], radius_mm: NDArray[np.float64], spacing: Spacing
) -> None:
    """Set all voxels within a radius of each point, in place."""
    mm = np.asarray(spacing)
    size = np.asarray(mask.shape)
    base = np.rint(centre_mm / mm).astype(np.int64)
    most = float(radius_mm.max(initial=0.0))
    half = np.ceil(most / mm).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in half), indexing="ij"), axis=-1)
    for offset in grid.reshape(-1, 3):
        place = base + offset
        distance = np.linalg.norm(place * mm - centre_mm, axis=1)
        good = (distance <= radius_mm) & ((place >= 0) & (place < size)).all(axis=1)
        k, j, i = place[good].T
        mask[k, j, i] = True


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


def _widest_neighbour(vessels: Vessels, radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """Radius of the widest other segment that meets each segment; 0 for none."""
    ends = np.concatenate([vessels.position_mm[vessels.first], vessels.position_mm[vessels.last]])
    owner = np.tile(np.arange(vessels.count), 2)
    out = np.zeros(vessels.count)
    pairs = cKDTree(ends).query_pairs(1.0, output_type="ndarray")
    a, b = owner[pairs[:, 0]], owner[pairs[:, 1]]
    other = a != b
    np.maximum.at(out, a[other], radius[b[other]])
    np.maximum.at(out, b[other], radius[a[other]])
    return out
