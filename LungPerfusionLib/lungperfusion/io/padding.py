"""Telling padding outside the scan field from measured air."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.volume import Mask

AIR_HU = -1000
"""What padding is stored as, so that filters meet no cliff at the edge of the scan field."""

CLIPPED_HU = -1024
"""Lowest value of a 12-bit CT scale: padding, but also honest air that the scale cut off."""

UNPHYSICAL_HU = -1500
"""No tissue or air is this dark, however noisy: -2000, -2048 and -3024 are padding."""

PADDED_AIR_HU = -900
"""Padding of another constant value is recognised by its shape, and is no brighter than air."""

CIRCLE_PIXELS = 100
"""Fewer pixels on the edge tell no circle."""

CIRCLE_TOLERANCE = 1.0
"""Nine of ten pixels on the edge of a round scan field lie this near to the best circle, in
pixels."""

UNPHYSICAL_OTHER = -500.0
"""The same for maps in other units (mg/mL, mL/mL), where padding is written as -1000 or lower."""

SIGNAL = "signal"
"""Unit of signals with a sign in an arbitrary scale, of which no value is impossible."""


def lowest_possible(unit: str) -> float:
    """Value from which on down nothing was measured."""
    return {"HU": UNPHYSICAL_HU, SIGNAL: -math.inf}.get(unit, UNPHYSICAL_OTHER)


def padding_in_plane(values: NDArray[Any], *, unit: str, declared: Mask | None = None) -> Mask:
    """Pixels of one slice that hold no measurement.

    A value no patient can have is padding wherever it is.  Other values are padding by place:

    * what the header declares as padding, if it is connected to the border of the slice through
      such pixels: files exist that declare the lowest value of the scale, which the darkest air
      of trachea and bullae has as well;
    * -1024 HU, if it is connected to a corner of the slice.  Scan fields are convex (a circle, a
      rectangle), so a straight line from any pixel outside reaches a corner of the slice
      without entering the field, also after cropping;
    * another constant value as dark as air (software pads with -1000 as well), if it is connected
      to the corners and what it leaves is round: outside air has noise, and no body is a circle.

    Parameters
    ----------
    values
        One slice as acquired, in ``unit``.
    unit
        ``"HU"`` or the unit of a map.
    declared
        Pixels within the header's Pixel Padding Value and Range Limit.

    """
    in_hu = unit == "HU"
    padding: Mask = values <= lowest_possible(unit)
    if declared is not None:
        padding |= _connected(declared | padding, _edges)
    if in_hu:
        padding |= _connected((values == CLIPPED_HU) | padding, _corners)
        if not padding.any():
            padding |= _around_circle(values)
    return padding


def _around_circle(values: NDArray[Any]) -> Mask:
    """Find the constant air around a round scan field; nothing where the field is not round."""
    corners = _corners(values)
    none = np.zeros(values.shape, np.bool_)
    if corners[0] > PADDED_AIR_HU or (corners != corners[0]).any():
        return none
    outside = _connected(values == corners[0], _corners)
    rim = ~outside & ndimage.binary_dilation(outside)
    rim[[0, -1]] = rim[:, [0, -1]] = False
    y, x = np.nonzero(rim)
    if x.size < CIRCLE_PIXELS:
        return none
    # Algebraic fit of a circle (Kasa 1976, IEEE Trans Instrum Meas 25:8).
    equations = np.column_stack([2.0 * x, 2.0 * y, np.ones(x.size)])
    (a, b, c), *_ = np.linalg.lstsq(equations, x.astype(float) ** 2 + y**2, rcond=None)
    off = np.abs(np.hypot(x - a, y - b) - np.sqrt(max(0.0, c + a * a + b * b)))
    return outside if np.percentile(off, 90) <= CIRCLE_TOLERANCE else none


def padding_in_volume(array: NDArray[Any], axis: int, *, unit: str) -> Mask | None:
    """Undeclared padding of an image, slice by slice along an array axis; None if there is none."""
    lowest = array.min()
    if lowest > (PADDED_AIR_HU if unit == "HU" else lowest_possible(unit)):
        return None
    padding = np.zeros(array.shape, np.bool_)
    for plane, found in zip(
        np.moveaxis(array, axis, 0), np.moveaxis(padding, axis, 0), strict=True
    ):
        found[...] = padding_in_plane(plane, unit=unit)
    return padding if padding.any() else None


def _edges(plane: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])


def _corners(plane: NDArray[Any]) -> NDArray[Any]:
    return plane[[0, 0, -1, -1], [0, -1, 0, -1]]


def _connected(mask: Mask, seeds: Callable[[NDArray[Any]], NDArray[Any]]) -> Mask:
    """Part of a 2-D mask that is connected by pixel sides to the given pixels of its slice."""
    if not seeds(mask).any():
        return np.zeros_like(mask)
    labels, count = ndimage.label(mask)
    wanted = np.zeros(count + 1, np.bool_)
    wanted[seeds(labels)] = True
    wanted[0] = False
    return np.asarray(wanted[labels])


def fill_value(unit: str) -> float:
    """Value that stands where nothing was measured."""
    return float(AIR_HU) if unit == "HU" else 0.0
