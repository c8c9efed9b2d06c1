"""Telling padding outside the scan field from measured air."""

from __future__ import annotations

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

UNPHYSICAL_OTHER = -500.0
"""The same for maps in other units (mg/mL, mL/mL), where padding is written as -1000 or lower."""


def padding_in_plane(values: NDArray[Any], *, unit: str, declared: Mask | None = None) -> Mask:
    """Pixels of one slice that hold no measurement.

    A value no patient can have is padding wherever it is.  Other values are padding by place:

    * what the header declares as padding, if it is connected to the border of the slice through
      such pixels: files exist that declare the lowest value of the scale, which the darkest air
      of trachea and bullae has as well;
    * -1024 HU, if it is connected to a corner of the slice.  Scan fields are convex (a circle, a
      rectangle), so a straight line from any pixel outside reaches a corner of the slice
      without entering the field, also after cropping.

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
    padding: Mask = values <= (UNPHYSICAL_HU if in_hu else UNPHYSICAL_OTHER)
    if declared is not None:
        padding |= _connected(declared | padding, _edges)
    if in_hu:
        padding |= _connected((values == CLIPPED_HU) | padding, _corners)
    return padding


def padding_in_volume(array: NDArray[Any], axis: int, *, unit: str) -> Mask | None:
    """Undeclared padding of an image, slice by slice along an array axis; None if there is none."""
    lowest = array.min()
    if lowest > (CLIPPED_HU if unit == "HU" else UNPHYSICAL_OTHER):
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
