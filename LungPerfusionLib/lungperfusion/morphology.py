"""Distances, growing and shrinking of masks in millimetres, on any spacing.

Distances are between voxel centres (exact Euclidean, Maurer 2003, IEEE TPAMI 25:265).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from lungperfusion.volume import Geometry, Mask, bounding_box

Spacing = tuple[float, float, float]
Rows = dict[int, list[tuple[int, int]]]

FEW_ROWS = 160
"""A ball of no more rows of voxels grows a mask faster than a distance map does."""


def distance_mm(mask: Mask, spacing_kji_mm: Spacing) -> NDArray[np.float32]:
    """Distance of every voxel to the nearest voxel of the mask, 0 inside; inf without a mask."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).view(np.uint8))
    image.SetSpacing(spacing_kji_mm[::-1])
    field = sitk.SignedMaurerDistanceMap(
        image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    distance: NDArray[Any] = sitk.GetArrayFromImage(field).astype(np.float32, copy=False)
    # Maurer measures to the border voxels of the object, negative inside.
    np.maximum(distance, 0, out=distance)
    return distance


def depth_mm(mask: Mask, spacing_kji_mm: Spacing) -> NDArray[np.float32]:
    """Distance of every voxel inside a mask to the nearest voxel outside, 0 outside.

    The border of the array is no outside; inf where all of it lies inside.
    """
    return distance_mm(~mask, spacing_kji_mm)


def dilated(mask: Mask, radius_mm: float, spacing_kji_mm: Spacing) -> Mask:
    """Voxels within a distance of the mask."""
    rows = _rows_of_ball(radius_mm, spacing_kji_mm)
    if rows is not None:
        return _grown(mask, rows)
    return np.asarray(distance_mm(mask, spacing_kji_mm) <= radius_mm)


def eroded(mask: Mask, radius_mm: float, spacing_kji_mm: Spacing) -> Mask:
    """Voxels farther than a distance from everything outside."""
    return ~dilated(~mask, radius_mm, spacing_kji_mm)


def pieces(
    mask: Mask, geometry: Geometry, *, at_least_ml: float = 0.0, corners: bool = False
) -> NDArray[np.uint32]:
    """Label what hangs together, largest first, equal ones in array order.

    Parameters
    ----------
    mask
        Shape (K, J, I).
    geometry
        Its grid.
    at_least_ml
        Smaller pieces get no label.
    corners
        Voxels that touch by an edge or a corner hang together, too.

    """
    least = max(1, int(np.ceil(at_least_ml / geometry.voxel_volume_ml - 1e-9)))
    out = np.zeros(mask.shape, np.uint32)
    if not mask.any():
        return out
    box = bounding_box(mask)
    labels, sizes = connected(mask[box], corners=corners)
    order = np.argsort(-sizes[1:], kind="stable") + 1
    order = order[sizes[order] >= least]
    rank = np.zeros(sizes.size, np.uint32)
    rank[order] = np.arange(1, order.size + 1)
    for ranked, plane in zip(out[box], labels, strict=True):
        ranked[:] = rank[plane]
    return out


def connected(
    mask: Mask, *, corners: bool = False
) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.int64]]:
    """Label what hangs together in array order, and count the voxels of each label from 0 on."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).view(np.uint8))
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, corners))
    sizes = np.zeros(int(labels.max()) + 1, np.int64)
    for plane in labels:  # `bincount` widens its input to 64 bits
        sizes += np.bincount(plane.ravel(), minlength=sizes.size)
    return labels, sizes


def opened(mask: Mask, radius_mm: float, spacing_kji_mm: Spacing) -> Mask:
    """Voxels that a ball of this radius reaches when it rolls inside the mask."""
    core = eroded(mask, radius_mm, spacing_kji_mm)
    return mask & dilated(core, radius_mm + max(spacing_kji_mm) / 2, spacing_kji_mm)


@lru_cache(maxsize=64)  # of a scan; in a batch each has its own spacing
def _rows_of_ball(radius_mm: float, spacing_kji_mm: Spacing) -> Rows | None:
    """Rows that make up a ball: steps along K and J by half length along I; None if many."""
    reach = [int(radius_mm / spacing) + 1 for spacing in spacing_kji_mm]
    k, j, i = np.ogrid[tuple(slice(-n, n + 1) for n in reach)]
    along_k, along_j, along_i = (
        (steps * spacing) ** 2 for steps, spacing in zip((k, j, i), spacing_kji_mm, strict=True)
    )
    # rounded like `distance_mm`
    inside = np.sqrt(along_k + along_j + along_i).astype(np.float32) <= radius_mm
    lengths = inside.sum(axis=2)
    if np.count_nonzero(lengths) > FEW_ROWS:
        return None
    rows: Rows = {}
    for row_k, row_j in np.argwhere(lengths):
        half = int(lengths[row_k, row_j]) // 2
        rows.setdefault(half, []).append((int(row_k) - reach[0], int(row_j) - reach[1]))
    return rows


def _grown(mask: Mask, rows: Rows) -> Mask:
    """Grow a mask by a ball, given as rows."""
    out = np.zeros(mask.shape, np.bool_)
    for half, steps in rows.items():
        row = mask.copy()
        for step in range(1, min(half, mask.shape[2] - 1) + 1):
            row[..., step:] |= mask[..., :-step]
            row[..., :-step] |= mask[..., step:]
        for k, j in steps:
            to_k, from_k = _overlap(k, mask.shape[0])
            to_j, from_j = _overlap(j, mask.shape[1])
            out[to_k, to_j] |= row[from_k, from_j]
    return out


def _overlap(step: int, size: int) -> tuple[slice, slice]:
    """Where a shifted axis lands, and from where."""
    step = max(-size, min(size, step))
    return slice(max(0, step), size + min(0, step)), slice(max(0, -step), size - max(0, step))


def ball(geometry: Geometry, centre_ras_mm: ArrayLike, radius_mm: float) -> Mask:
    """Voxels whose centre lies within a distance of a place, on any grid."""
    mask = np.zeros(geometry.shape, np.bool_)
    matrix = geometry.ijk_to_ras
    inverse = np.linalg.inv(matrix[:3, :3])
    centre = np.asarray(centre_ras_mm, dtype=np.float64)
    middle = inverse @ (centre - matrix[:3, 3])
    reach = radius_mm * np.linalg.norm(inverse, axis=1)
    low = np.maximum(np.ceil(middle - reach), 0).astype(int)
    high = np.minimum(np.floor(middle + reach), np.array(geometry.shape[::-1]) - 1).astype(int)
    if (low > high).any():
        return mask
    i, j, k = np.ix_(*(np.arange(a, b + 1) - c for a, b, c in zip(low, high, middle, strict=True)))
    offset = [matrix[axis, 0] * i + matrix[axis, 1] * j + matrix[axis, 2] * k for axis in range(3)]
    inside = sum(part**2 for part in offset) <= radius_mm**2
    box = tuple(slice(a, b + 1) for a, b in zip(low[::-1], high[::-1], strict=True))
    mask[box] = inside.transpose(2, 1, 0)
    return mask
