"""The chest at a glance: a coarse upright copy of the CT, its outside air, its gas and its lungs.

Everything that is a question of topology (which air is lung?) is answered on this copy of about
2 mm; the outlines are drawn later on the full grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.morphology import dilated, eroded
from lungperfusion.volume import Axis, Box, Geometry, Mask, Volume, widened

UPRIGHT: tuple[Axis, Axis, Axis] = ("S", "A", "R")
"""Axes of upright arrays."""

COARSE_MM = 2.0
"""Voxel size of the coarse copy: below the thickness of every structure that decides topology."""

AIR_HU = -320.0
"""Voxels below are air or aerated lung on the coarse copy (Hu 2001, IEEE TMI 20:490, typical)."""

TISSUE_HU = 40.0
"""Soft tissue beside the lung; the outline lies half way between it and the lung's density."""

PURE_AIR_HU = -940.0
"""A region whose core is darker in nine of ten voxels is gas (bowel, airway), not lung: even in
severe emphysema, vessels and septa keep more than a tenth of the lung above."""

ISLAND_GAS_HU = -890.0
"""The same for islands much smaller than the largest lung: their core is small, its partial volume
larger, and an island of emphysema alone is rarer than a stomach bubble."""

LARGE_SHARE = 0.2
"""Larger regions, relative to the largest one, are no islands."""

SMALLEST_AIR_ML = 1.0
"""Smaller pockets of air are neither lung nor worth a look."""

ISLAND_SHARE = 0.01
"""Smaller aerated islands, relative to the largest one, are left to the closing of the lung."""

WALLS_OF_TISSUE = 2.4
"""Mean number of in-plane directions in which tissue of the patient is seen from air inside it."""

WALLS_WHERE_OPEN = 3
"""Air that opens to the room (tracheostomy, open mouth, images padded or turned with air) is cut
off where a voxel sees tissue in fewer directions: a lung that is cut on one side sees three."""

WALLS_ALL_AROUND = (3.5, 3.9)
"""Of the air cut from the room, islands must see the first on average and pure gas the second:
gaps beside arms and under breasts see three."""

BONE_HU, AIR_CELLS_ML = 200.0, 60.0
"""Pieces of air up to this volume with denser surroundings are air cells of a bone (mastoid,
sinuses): of the surroundings of a piece of lung, ribs and contrast in vessels are a small part."""

CORE_MM = 4.0
"""Depth below which the partial volume of a region's surface is no longer felt."""

BODY_HU = -500.0
"""Voxels above are tissue, when the body is told from table and clothing."""

TABLE_MM = 5.0
"""Opening radius that removes table shells, blankets, tubes and clothing from the body."""


def upright(geometry: Geometry) -> tuple[tuple[int, int, int], tuple[slice, slice, slice]]:
    """Permutation and flips that turn an array to axes (head, front, patient's right)."""
    axes, flips = [], []
    for patient in UPRIGHT:
        axis, sign = geometry.array_axis_toward(patient)
        axes.append(axis)
        flips.append(slice(None, None, sign))
    return (axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2])


def to_upright(array: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """View an array with axes (head, front, right), each growing; nothing is copied."""
    axes, flips = upright(geometry)
    return array.transpose(axes)[flips]


def from_upright(array: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """Undo `to_upright` and make the result contiguous."""
    axes, flips = upright(geometry)
    return np.ascontiguousarray(array[flips].transpose(np.argsort(axes)))


@dataclass(frozen=True, eq=False)
class Coarse:
    """Block means of the CT, axes (head, front, right), about 2 mm."""

    hu: NDArray[np.float32]
    valid: Mask
    """Blocks that hold at least one measured voxel."""
    factors: tuple[int, int, int]
    """Full-resolution voxels per block."""
    fine_shape: tuple[int, int, int]
    fine_spacing_mm: tuple[float, float, float]
    """Spacing of the CT, in mm of an adult."""
    size: float = 1.0
    """Size of the patient relative to an adult: a length of 1 mm of the patient counts as
    ``1 / size`` mm, so that every length, area and volume of adult anatomy holds for a child."""

    def volume_ml(self, mask: Mask) -> float:
        """Volume of a mask of blocks in the patient."""
        return float(np.count_nonzero(mask) * self.voxel_ml * self.size**3)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Size of a block."""
        a, b, c = (f * s for f, s in zip(self.factors, self.fine_spacing_mm, strict=True))
        return a, b, c

    @property
    def voxel_ml(self) -> float:
        """Volume of a block, in mL of an adult; that of a sheared grid within the shear."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def spread(self, blocks: NDArray[Any], box: Box) -> NDArray[Any]:
        """Give every full-resolution voxel of a box the value of its block.

        ``box`` is a `fine_box`, and ``blocks`` are given on the box of blocks it was made of.
        """
        index = [
            np.arange(part.stop - part.start) // factor
            for part, factor in zip(box, self.factors, strict=True)
        ]
        return np.asarray(blocks[np.ix_(*index)])

    def fine_box(self, box: Box) -> Box:
        """Full-resolution voxels of a box of blocks."""
        parts = [
            slice(part.start * f, min(part.stop * f, n))
            for part, f, n in zip(box, self.factors, self.fine_shape, strict=True)
        ]
        return parts[0], parts[1], parts[2]

    def any_of(self, fine: Mask) -> Mask:
        """Blocks that hold at least one voxel of a full-resolution mask."""
        out = fine
        for axis, factor in enumerate(self.factors):
            out = np.logical_or.reduceat(out, np.arange(0, out.shape[axis], factor), axis=axis)
        return np.asarray(out)

    def interpolate(self, field: NDArray[np.float32], box: Box) -> Iterator[NDArray[np.float32]]:
        """Sample a field linearly at the full-resolution voxels of a box, slice by slice.

        Box and field as in `spread`.
        """
        planes = []
        for axis in range(3):
            factor = self.factors[axis]
            size = box[axis].stop - box[axis].start
            position = (np.arange(size) - (factor - 1) / 2) / factor
            position = np.clip(position, 0, field.shape[axis] - 1)
            low = np.minimum(position.astype(int), max(0, field.shape[axis] - 2))
            planes.append((low, (position - low).astype(np.float32)))
        (k, wk), (j, wj), (i, wi) = planes
        top = field.shape[0] - 1
        j1, i1 = np.minimum(j + 1, field.shape[1] - 1), np.minimum(i + 1, field.shape[2] - 1)
        for n, w in zip(k, wk, strict=True):
            plane = field[n] * (1 - w) + field[min(n + 1, top)] * w
            plane = plane[j] + (plane[j1] - plane[j]) * wj[:, None]
            yield plane[:, i] + (plane[:, i1] - plane[:, i]) * wi


def coarse_copy(ct: Volume, *, size_mm: float = COARSE_MM, size: float = 1.0) -> Coarse:
    """Average the CT over blocks of about ``size_mm``; padding stays out of the averages.

    Parameters
    ----------
    ct
        The CT, in HU.
    size_mm
        Edge of a block, in mm of an adult.
    size
        Size of the patient relative to an adult; see `Coarse.size`.

    """
    array = to_upright(ct.array, ct.geometry)
    axes, _ = upright(ct.geometry)
    spacing = tuple(ct.geometry.spacing_kji_mm[axis] / size for axis in axes)
    factors = tuple(max(1, ceil(size_mm / s - 0.15)) for s in spacing)
    valid = None if ct.valid is None else to_upright(ct.valid, ct.geometry)
    starts = [np.arange(0, n, f) for n, f in zip(array.shape, factors, strict=True)]
    shape = tuple(len(s) for s in starts)
    hu = np.empty(shape, np.float32)
    held = np.ones(shape, np.bool_)
    for index, first in enumerate(starts[0]):
        part = slice(first, first + factors[0])
        slab, inside = array[part], None if valid is None else valid[part]
        total = _block_sum(slab if inside is None else np.where(inside, slab, 0), starts)
        if inside is None:
            count = _block_count(slab.shape, starts)
        else:
            count = _block_sum(inside, starts)
            held[index] = count > 0
        hu[index] = np.where(count > 0, total / np.maximum(count, 1), -1000.0)
    return Coarse(
        hu,
        held,
        (factors[0], factors[1], factors[2]),
        (array.shape[0], array.shape[1], array.shape[2]),
        (spacing[0], spacing[1], spacing[2]),
        size,
    )


def _block_sum(slab: NDArray[Any], starts: list[NDArray[np.intp]]) -> NDArray[np.float32]:
    kind = np.float32 if slab.dtype.kind == "f" else np.int32
    plane = slab.sum(axis=0, dtype=kind)
    plane = np.add.reduceat(plane, starts[1], axis=0)
    return np.add.reduceat(plane, starts[2], axis=1).astype(np.float32)


def _block_count(shape: tuple[int, ...], starts: list[NDArray[np.intp]]) -> NDArray[np.float32]:
    rows = np.diff(np.append(starts[1], shape[1]))
    columns = np.diff(np.append(starts[2], shape[2]))
    return (shape[0] * rows[:, None] * columns).astype(np.float32)


def components(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Face-connected components, in scan order."""
    image = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.view(np.uint8)), False)
    labels = sitk.GetArrayFromImage(image).astype(np.int32, copy=False)
    return labels, int(labels.max(initial=0))


def body_mask(coarse: Coarse) -> Mask:
    """Tissue of the patient: the thick part, without table, clothing and tubes."""
    tissue = (coarse.hu > BODY_HU) & coarse.valid
    radius = max(TABLE_MM, max(coarse.spacing_mm[1:]))
    thick = dilated(eroded(tissue, radius, coarse.spacing_mm), radius, coarse.spacing_mm)
    labels, count = components(thick)
    if not count:
        return thick
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray((labels > 0) & (sizes[labels] >= 0.05 * sizes.max()))


def walls_seen(stop: Mask) -> NDArray[np.uint8]:
    """In how many of the four in-plane directions a voxel looks at a wall."""
    count = np.zeros(stop.shape, np.uint8)
    for axis in (1, 2):
        for step in (1, -1):
            index = [slice(None)] * 3
            index[axis] = slice(None, None, step)
            count += np.logical_or.accumulate(stop[tuple(index)], axis=axis)[tuple(index)]
    return count


def lung_air(coarse: Coarse) -> tuple[Mask, Mask]:
    """Find the air that is lung or airway, and the pure gas inside the body.

    Air is inside the patient when, on average over its voxels, tissue of the patient is seen in
    more than two of the four in-plane directions: so a lung cut by the field of view stays a lung,
    and the hollow of a table is none.  Where the airways open to the room, the room is cut off.

    Returns
    -------
    lung, gas
        Components of air inside the patient: those with the density of lung (with the airways
        that open into them), and those of pure gas (bowel, stomach, oesophagus, pneumothorax).

    """
    air = (coarse.hu < AIR_HU) & coarse.valid
    tissue = walls_seen(body_mask(coarse))
    if not air.any():
        return air, air.copy()
    opened = _opened(air, tissue)
    air &= ~opened | (tissue >= WALLS_WHERE_OPEN)
    labels, count = components(air)
    core = eroded(air, CORE_MM, coarse.spacing_mm)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    darkness = np.zeros(count + 1)
    enclosed = np.zeros(count + 1)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        volume_ml = sizes[label] * coarse.voxel_ml
        if box is None or volume_ml < SMALLEST_AIR_ML:
            continue
        mask = labels[box] == label
        enclosed[label] = tissue[box][mask].mean() if opened[box][mask].any() else 4.0
        if volume_ml < AIR_CELLS_ML:
            wide = widened(box, (2, 2, 2), labels.shape)
            if _in_bone(coarse.hu[wide], labels[wide] == label, air[wide]):
                continue
        inner = mask & core[box]
        darkest = inner if np.count_nonzero(inner) >= 8 else mask
        darkness[label] = np.percentile(coarse.hu[box][darkest], 90)
    inside = darkness < 0
    largest = sizes[inside & (darkness >= PURE_AIR_HU)].max(initial=0)
    limit = np.where(sizes >= LARGE_SHARE * largest, PURE_AIR_HU, ISLAND_GAS_HU)
    large = (sizes >= LARGE_SHARE * largest) | (enclosed >= WALLS_ALL_AROUND[0])
    lung = inside & (darkness >= limit) & (sizes >= ISLAND_SHARE * largest) & large
    gas = inside & (darkness < limit) & (enclosed >= WALLS_ALL_AROUND[1])
    return lung[labels], gas[labels]


def _opened(air: Mask, tissue: NDArray[np.uint8]) -> Mask:
    """Pieces of air of the room, with the air of the patient that opens to it."""
    labels, count = components(air)
    total = np.bincount(labels.ravel(), weights=tissue.ravel(), minlength=count + 1)
    is_open = total < WALLS_OF_TISSUE * np.bincount(labels.ravel(), minlength=count + 1)
    return np.asarray(is_open[labels] & air)


ROOM_MARGIN_MM = 4.0
"""Skin and its partial volume beside air of the room belong to it: lungs lie deeper."""


def outside_body(ct: Volume) -> Mask:
    """Air of the room and padding on the grid of a chest CT, up to the skin; see `lung_air`.

    Parameters
    ----------
    ct
        The CT, in HU.

    """
    ct.require_unit("HU", "the chest CT")
    coarse = coarse_copy(ct)
    air = (coarse.hu < AIR_HU) & coarse.valid
    tissue = walls_seen(body_mask(coarse))
    room = _opened(air, tissue) & (tissue < WALLS_WHERE_OPEN)
    near = dilated(room, max(ROOM_MARGIN_MM, *coarse.spacing_mm), coarse.spacing_mm)
    outside = (near & ~air) | room | ~coarse.valid
    whole = tuple(slice(0, size) for size in outside.shape)
    box = coarse.fine_box((whole[0], whole[1], whole[2]))
    return from_upright(coarse.spread(outside, box), ct.geometry)


def _in_bone(hu: NDArray[np.float32], mask: Mask, air: Mask) -> bool:
    """Whether a piece of air is a cell in a bone; all on a box with a margin of two voxels."""
    around = ndimage.binary_dilation(mask, iterations=2) & ~air
    return bool(around.any() and hu[around].mean() > BONE_HU)
