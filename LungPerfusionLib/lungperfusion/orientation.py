"""Images turned to the order in which scanners store them, and back.

Filters go through an array axis by axis, so that rounding depends on their order.  An analysis
that first turns everything to axial order gives the same numbers for every file of one image.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lungperfusion.labels import LabelImage
from lungperfusion.volume import Axis, Geometry, Labelmap, Volume

AXIAL: tuple[tuple[Axis, int], ...] = (("S", 1), ("A", -1), ("R", -1))
"""Slices from foot to head, rows to the back, columns to the patient's left."""

Image = TypeVar("Image", Volume, Labelmap, LabelImage)


def axial(image: Image) -> Image:
    """Turn an image to axial order by permuting and flipping its axes; nothing is interpolated.

    On an oblique grid each array axis takes the place of the patient axis that it is closest to.
    """
    axes, steps = _turn(image.geometry)
    if axes == (0, 1, 2) and steps == (1, 1, 1):
        return image

    def turned(array: NDArray[Any]) -> NDArray[Any]:
        return _turned(array, axes, steps)

    parts: dict[str, Any] = {
        "array": turned(image.array),
        "geometry": _turned_geometry(image.geometry, axes, steps),
    }
    if isinstance(image, Volume) and image.valid is not None:
        parts["valid"] = turned(image.valid)
    return replace(image, **parts)


def as_stored[Stored: (Volume, Labelmap)](image: Stored, geometry: Geometry) -> Stored:
    """Turn an image in axial order back to the grid that it was turned from."""
    axes, steps = _turn(geometry)
    flips = tuple(slice(None, None, step) for step in steps)

    def back(array: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(array[flips].transpose(np.argsort(axes)))

    parts: dict[str, Any] = {"array": back(image.array), "geometry": geometry}
    if isinstance(image, Volume) and image.valid is not None:
        parts["valid"] = back(image.valid)
    return replace(image, **parts)


def axial_geometry(geometry: Geometry) -> Geometry:
    """Grid of an image of this grid once it is turned to axial order."""
    return _turned_geometry(geometry, *_turn(geometry))


def _turned(array: NDArray[Any], axes: tuple[int, ...], steps: tuple[int, ...]) -> NDArray[Any]:
    """Permute and flip the last three axes: segments that overlap come in layers before them."""
    layers = array.ndim - 3
    order = [*range(layers), *(layers + axis for axis in axes)]
    flips = [slice(None)] * layers + [slice(None, None, step) for step in steps]
    return np.ascontiguousarray(array.transpose(order)[tuple(flips)])


def _turn(geometry: Geometry) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Array axes in axial order, and the step along each."""
    found = [(*geometry.array_axis_toward(axis), sign) for axis, sign in AXIAL]
    return tuple(axis for axis, _, _ in found), tuple(step * sign for _, step, sign in found)


def _turned_geometry(geometry: Geometry, axes: tuple[int, ...], steps: tuple[int, ...]) -> Geometry:
    columns = geometry.ijk_to_ras[:3, :3]
    matrix = geometry.ijk_to_ras.copy()
    for new, (old, step) in enumerate(zip(axes, steps, strict=True)):
        matrix[:3, 2 - new] = step * columns[:, 2 - old]
        if step < 0:
            matrix[:3, 3] += columns[:, 2 - old] * (geometry.shape[old] - 1)
    k, j, i = (geometry.shape[old] for old in axes)
    return Geometry((k, j, i), matrix)
