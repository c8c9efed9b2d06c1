"""Planes of the patient through a voxel grid of any orientation, for pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.resampling import resample_array
from lungperfusion.volume import Box, Geometry, Mask

Plane = Literal["axial", "coronal", "sagittal"]

PLANE_AXES: dict[Plane, tuple[int, int, int]] = {
    "axial": (0, 1, 2),
    "coronal": (0, 2, 1),
    "sagittal": (1, 2, 0),
}
"""Patient axes (R = 0, A = 1, S = 2) across, up and through each plane.

Columns grow to the left, the back or the feet, against the patient axes; so do rows.
"""

PIXEL_MM = 0.75
"""Pixel size of pictures: that of a chest CT."""


@dataclass(frozen=True, eq=False)
class PlaneGrid:
    """Pixel grid in one patient plane, or of a projection along it."""

    plane: Plane
    position_mm: float
    low_mm: NDArray[np.float64]
    """Smallest R, A, S shown."""
    high_mm: NDArray[np.float64]
    pixel_mm: float

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height."""
        across, up, _ = PLANE_AXES[self.plane]
        size = self.high_mm - self.low_mm
        return float(size[across]), float(size[up])

    def points_ras_mm(self) -> NDArray[np.float64]:
        """Pixel centres, shape (rows, columns, 3)."""
        across, up, through = PLANE_AXES[self.plane]
        width, height = (max(1, round(size / self.pixel_mm)) for size in self.size_mm)
        columns = self.high_mm[across] - (np.arange(width) + 0.5) * self.pixel_mm
        rows = self.high_mm[up] - (np.arange(height) + 0.5) * self.pixel_mm
        points = np.empty((height, width, 3))
        points[..., across] = columns
        points[..., up] = rows[:, None]
        points[..., through] = self.position_mm
        return points


def sample(
    array: NDArray[Any],
    geometry: Geometry,
    points_ras_mm: NDArray[np.float64],
    *,
    equal_to: int | None = None,
    known: Mask | None = None,
    order: Literal[0, 1] = 1,
) -> tuple[NDArray[np.float32], Mask]:
    """Values at patient positions, linear; and whether each lies in the image.

    With ``equal_to``, the share of voxels around each position that carry this label; with
    ``known``, voxels outside of it count as 0.
    """
    kji = np.moveaxis(geometry.ijk_from_ras(points_ras_mm)[..., ::-1], -1, 0)
    sizes = np.reshape(geometry.shape, (3, 1, 1))
    inside = ((kji >= -0.5) & (kji <= sizes - 0.5)).all(axis=0)
    if not inside.any():
        return np.zeros(inside.shape, np.float32), inside
    needed = np.clip(kji[:, inside], 0, np.reshape(geometry.shape, (3, 1)) - 1)
    starts = np.floor(needed.min(axis=1)).astype(int)
    stops = np.ceil(needed.max(axis=1)).astype(int) + 1
    box = tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))
    chosen = array[box] if equal_to is None else np.equal(array[box], equal_to)
    source: NDArray[np.float32] = chosen.astype(np.float32)
    if known is not None:
        source *= known[box]
    values = np.zeros(inside.shape, np.float32)
    offsets = np.asarray(needed - starts[:, None])
    values[inside] = ndimage.map_coordinates(source, offsets, order=order, mode="nearest")
    return values, inside


def extent_ras_mm(geometry: Geometry, box_kji: Box | None = None) -> NDArray[np.float64]:
    """Smallest and largest R, A, S of a box of voxels, or of all: outer edges, shape (2, 3)."""
    box = box_kji or tuple(slice(0, size) for size in geometry.shape)
    edges = [(part.start - 0.5, part.stop - 0.5) for part in box[::-1]]
    corners = geometry.ras_from_ijk(
        [(i, j, k) for i in edges[0] for j in edges[1] for k in edges[2]]
    )
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def aligned(array: NDArray[Any], geometry: Geometry) -> tuple[NDArray[Any], Geometry]:
    """Array with axes along S, A and R, all growing; oblique grids are resampled."""
    directions = geometry.ijk_to_ras[:3, :3] / np.asarray(geometry.spacing_ijk_mm)
    if not np.allclose(np.abs(directions).max(axis=0), 1.0, atol=1e-4):
        low, high = extent_ras_mm(geometry)
        spacing = min(geometry.spacing_ijk_mm)
        sizes = np.maximum(1, np.ceil((high - low) / spacing)).astype(int)
        matrix = np.diag([spacing, spacing, spacing, 1.0])
        matrix[:3, 3] = low + spacing / 2
        target = Geometry((int(sizes[2]), int(sizes[1]), int(sizes[0])), matrix)
        kind: Literal["nearest", "linear"] = "linear" if array.dtype.kind in "fi" else "nearest"
        fill = float(array.min()) if array.dtype.kind in "fi" else 0.0
        return resample_array(array, geometry, target, interpolation=kind, fill=fill), target
    order, flipped, spacing_kji = [], [], []
    for axis in ("S", "A", "R"):
        source, sign = geometry.array_axis_toward(axis)
        order.append(source)
        spacing_kji.append(geometry.spacing_kji_mm[source])
        if sign < 0:
            flipped.append(len(order) - 1)
    turned = np.flip(array.transpose(order), tuple(flipped))
    low = extent_ras_mm(geometry)[0]
    steps = np.array(spacing_kji[::-1])
    matrix = np.diag([*steps, 1.0])
    matrix[:3, 3] = low + steps / 2
    return turned, Geometry((turned.shape[0], turned.shape[1], turned.shape[2]), matrix)


def whole_grid(geometry: Geometry, plane: Plane) -> PlaneGrid:
    """Pixel grid of a projection of a whole aligned volume."""
    low, high = extent_ras_mm(geometry)
    return PlaneGrid(plane, 0.0, low, high, PIXEL_MM)


def seen(projected: NDArray[Any]) -> NDArray[Any]:
    """Rows from the top, columns from the reader's left; both run against the patient axes."""
    return projected[::-1, ::-1]


def masked_maximum(array: NDArray[Any], mask: Mask, axis: int) -> NDArray[np.float64]:
    """Maximum along an axis of the masked voxels; the smallest value where there is none."""
    lowest = array.min()
    if axis == 0:
        out = np.full(array.shape[1:], lowest)
        for plane, chosen in zip(array, mask, strict=True):
            np.maximum(out, np.where(chosen, plane, lowest), out=out)
    else:
        planes = zip(array, mask, strict=True)
        out = np.stack([np.where(m, p, lowest).max(axis=axis - 1) for p, m in planes])
    return np.asarray(out, dtype=np.float64)
