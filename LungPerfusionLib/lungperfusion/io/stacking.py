"""From slices at given places to an image on an even, orthogonal grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.errors import InputError
from lungperfusion.volume import Geometry, Mask, lps_from_ras

SAME_POSITION_MM = 0.01
"""Slices closer than this are two images of one place."""

EVEN_TOLERANCE = 0.05
"""Share of the slice spacing by which a slice may be off: headers round positions to 0.01 mm or
worse, and an error of 5 % of the spacing moves no measure."""

MAX_EXTRA_GAP_MM = 2.5
"""A gap may be wider than the usual spacing by this much and is then interpolated: lung borders
and densities survive it, one lost slice of a thin-slice series does no harm.  Wider gaps hide
lesions and vessels and are refused."""

MAX_DRIFT_PIXELS = 0.25
"""Sideways drift over the whole stack that counts as rounding, not as gantry tilt."""

MIN_SLICES = 3
"""Fewer slices are no volume."""


@dataclass(frozen=True)
class Stack:
    """Where the slices of a series lie, sorted from low to high along their normal.

    All vectors are LPS, as in DICOM.
    """

    row: NDArray[np.float64]
    """Direction of growing column index, unit length."""
    column: NDArray[np.float64]
    """Direction of growing row index, unit length."""
    pixel_spacing_mm: tuple[float, float]
    """Between rows, between columns."""
    heights_mm: NDArray[np.float64]
    """Distance along the normal of each slice, ascending."""
    start: NDArray[np.float64]
    """Centre of the first pixel of the lowest slice."""
    drift: NDArray[np.float64]
    """Sideways movement (along row, column) in mm for every mm of height: the gantry tilt."""

    @property
    def normal(self) -> NDArray[np.float64]:
        """Direction in which the heights grow."""
        return np.asarray(np.cross(self.row, self.column))

    @property
    def spacing_mm(self) -> float:
        """Usual distance between slices, so that the grid ends where the stack ends."""
        steps = max(1, round(self._extent_mm / float(np.median(np.diff(self.heights_mm)))))
        return self._extent_mm / steps

    @property
    def even_heights_mm(self) -> NDArray[np.float64]:
        """Heights of the even grid from the first to the last slice."""
        steps = round(self._extent_mm / self.spacing_mm)
        return np.asarray(self.heights_mm[0] + self.spacing_mm * np.arange(steps + 1))

    @property
    def is_even(self) -> bool:
        """Whether the slices lie on the even grid already."""
        even = self.even_heights_mm
        if even.size != self.heights_mm.size:
            return False
        off = np.abs(even - self.heights_mm).max()
        return bool(off <= EVEN_TOLERANCE * self.spacing_mm)

    @property
    def is_tilted(self) -> bool:
        """Whether the slices are shifted against each other, as with a tilted gantry."""
        pixels = np.abs(self.drift) * self._extent_mm / np.asarray(self.pixel_spacing_mm[::-1])
        return bool(pixels.max() > MAX_DRIFT_PIXELS)

    @property
    def tilt_degrees(self) -> float:
        """Angle between the slice normal and the direction in which the slices are stacked."""
        return float(np.degrees(np.arctan(np.hypot(*self.drift))))

    @property
    def _extent_mm(self) -> float:
        return float(self.heights_mm[-1] - self.heights_mm[0])

    def geometry(self, shape: tuple[int, int, int], first_pixel: NDArray[np.float64]) -> Geometry:
        """Orthogonal grid of this orientation and spacing."""
        between_rows, between_columns = self.pixel_spacing_mm
        matrix = np.eye(4)
        matrix[:3, 0] = lps_from_ras(self.row * between_columns)
        matrix[:3, 1] = lps_from_ras(self.column * between_rows)
        matrix[:3, 2] = lps_from_ras(self.normal * self.spacing_mm)
        matrix[:3, 3] = lps_from_ras(first_pixel)
        return Geometry.as_stated(shape, matrix)


def sort_positions(
    positions: NDArray[np.float64], row: NDArray[np.float64], column: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Order of slices along their normal, and their heights in mm in that order."""
    heights = positions @ np.cross(row, column)
    order = np.argsort(heights, kind="stable")
    return order, heights[order]


def missing_between(heights_mm: NDArray[np.float64]) -> int:
    """Count the slices that gaps between sorted heights have room for."""
    steps = np.diff(heights_mm)
    return int(np.maximum(0, np.rint(steps / np.median(steps)) - 1).sum())


def make_stack(
    positions: NDArray[np.float64],
    row: NDArray[np.float64],
    column: NDArray[np.float64],
    pixel_spacing_mm: tuple[float, float],
) -> Stack:
    """Describe sorted slices without duplicates.

    Parameters
    ----------
    positions
        First pixel of each slice, LPS mm, shape (n, 3), sorted by height.
    row, column
        Unit vectors along a row and along a column.
    pixel_spacing_mm
        Between rows, between columns.

    Raises
    ------
    InputError
        If there are too few slices, a gap is too wide or slices lie sideways of the others.

    """
    heights = positions @ np.cross(row, column)
    if len(heights) < MIN_SLICES:
        raise InputError(
            f"the series has {len(heights)} slice(s) at different positions; expected a volume of "
            f"at least {MIN_SLICES}: give the whole series"
        )
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    widest = int(np.argmax(gaps))
    if gaps[widest] > usual + MAX_EXTRA_GAP_MM:
        raise InputError(
            f"slices are missing: between {_place(positions[widest])} and "
            f"{_place(positions[widest + 1])} the gap is {gaps[widest]:.4g} mm where slices "
            f"usually lie {usual:.4g} mm apart; export the complete series"
        )
    sideways = positions @ np.stack([row, column], axis=1)
    above = heights - heights[0]
    drift, residual_mm = _line_through(above, sideways)
    limit_mm = 0.5 * min(pixel_spacing_mm)
    if residual_mm > limit_mm:
        raise InputError(
            f"slices lie up to {residual_mm:.3g} mm sideways of a straight stack (at most "
            f"{limit_mm:.3g} mm is accepted); choose one series with one table position"
        )
    return Stack(row, column, pixel_spacing_mm, heights, positions[0], drift)


def even_out(
    array: NDArray[Any], valid: Mask | None, stack: Stack
) -> tuple[NDArray[Any], Mask | None]:
    """Interpolate unevenly spaced slices linearly at the even heights of the stack."""
    wanted = stack.even_heights_mm
    upper = np.clip(np.searchsorted(stack.heights_mm, wanted), 1, len(stack.heights_mm) - 1)
    lower = upper - 1
    weights = (wanted - stack.heights_mm[lower]) / (
        stack.heights_mm[upper] - stack.heights_mm[lower]
    )
    weights = np.clip(weights, 0.0, 1.0)
    out = np.empty((len(wanted), *array.shape[1:]), array.dtype)
    out_valid = None if valid is None else np.empty(out.shape, np.bool_)
    for k, (a, b, weight) in enumerate(zip(lower, upper, weights, strict=True)):
        mixed = array[a] * np.float32(1 - weight) + array[b] * np.float32(weight)
        out[k] = np.rint(mixed) if array.dtype.kind == "i" else mixed
        if valid is not None and out_valid is not None:
            out_valid[k] = (valid[a] | (weight == 1)) & (valid[b] | (weight == 0))
    return out, out_valid


def straighten(
    array: NDArray[Any], valid: Mask | None, stack: Stack, *, fill: float
) -> tuple[NDArray[Any], Mask, NDArray[np.float64]]:
    """Shift the slices of a tilted stack back over each other.

    Slices keep their plane, so they are interpolated in the plane only.

    Returns
    -------
    array, valid
        Images on a grid wide enough for all slices; what no slice covers is ``fill`` and invalid.
    start
        First pixel of the lowest slice of the new grid, LPS mm.

    """
    above = stack.spacing_mm * np.arange(array.shape[0])
    between_rows, between_columns = stack.pixel_spacing_mm
    shifts = np.stack(  # rows, columns
        [above * stack.drift[1] / between_rows, above * stack.drift[0] / between_columns], axis=1
    )
    lowest = np.floor(shifts.min(axis=0) + 1e-6)
    shifts -= lowest
    margin = np.ceil(shifts.max(axis=0) - 1e-6).astype(int)
    rows, columns = (int(n) for n in array.shape[1:] + margin)
    out = np.full((array.shape[0], rows, columns), fill, array.dtype)
    out_valid = np.zeros(out.shape, np.bool_)
    pads = [(0, int(extra)) for extra in margin]
    for k, shift in enumerate(shifts):
        plane = np.pad(array[k].astype(np.float32), pads, constant_values=fill)
        inside = np.pad(
            np.ones(array.shape[1:], np.float32) if valid is None else valid[k].astype(np.float32),
            pads,
        )
        moved = ndimage.shift(plane, shift, order=1, mode="constant", cval=fill)
        covered = ndimage.shift(inside, shift, order=1, mode="constant", cval=0) > 0.999
        moved = np.where(covered, moved, fill)
        out[k] = np.rint(moved) if array.dtype.kind == "i" else moved
        out_valid[k] = covered
    start = (
        stack.start
        + stack.column * lowest[0] * between_rows
        + stack.row * lowest[1] * between_columns
    )
    return out, out_valid, start


def _line_through(
    heights: NDArray[np.float64], sideways: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Slope of the straight line from the first slice on, and the largest distance from it."""
    offsets = sideways - sideways[0]
    slope = heights @ offsets / (heights @ heights)
    return slope, float(np.linalg.norm(offsets - heights[:, None] * slope, axis=1).max())


def _place(position_lps: NDArray[np.float64]) -> str:
    right, anterior, superior = lps_from_ras(position_lps) + 0.0
    return f"(R {right:.1f}, A {anterior:.1f}, S {superior:.1f}) mm"
