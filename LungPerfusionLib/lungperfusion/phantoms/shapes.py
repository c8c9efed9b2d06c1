"""Signed distances of simple solids, in mm, negative inside.

Coordinates are three arrays R, A, S (RAS mm) that broadcast against each other, so that an axial
grid pays for a height profile once per slice.  A function of an implicit surface g = 0 returns
g / |grad g|: exact to first order at the surface, which is where partial volume needs it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Array = NDArray[np.floating[Any]]
Point = tuple[float, float, float]


class Profile:
    """Smooth, monotone-preserving curve through (position, value) knots; constant beyond them."""

    def __init__(self, *knots: tuple[float, float]) -> None:
        positions, values = np.array(sorted(knots)).T
        curve = PchipInterpolator(positions, values)
        self._at = np.linspace(positions[0], positions[-1], 2048)
        self._values = curve(self._at)

    def __call__(self, position: Array) -> Array:
        """Value at each position, in the precision of the input."""
        return np.interp(position, self._at, self._values).astype(np.asarray(position).dtype)


def ellipsoid(r: Array, a: Array, s: Array, centre: Point, radii: Point) -> Array:
    """Distance to an axis-aligned ellipsoid."""
    u, v, w = ((x - c) / q for x, c, q in zip((r, a, s), centre, radii, strict=True))
    return _first_order(u * u + v * v + w * w, u / radii[0], v / radii[1], w / radii[2])


def turned_ellipsoid(
    r: Array, a: Array, s: Array, centre: Point, radii: Point, axes: NDArray[np.float64]
) -> Array:
    """Distance to an ellipsoid whose half axes lie along the rows of ``axes``."""
    offsets = (r - centre[0], a - centre[1], s - centre[2])
    u, v, w = (
        np.asarray(np.float32(n[0]) * offsets[0] + np.float32(n[1]) * offsets[1])
        + np.float32(n[2]) * offsets[2]
        for n in axes / np.asarray(radii)[:, None]
    )
    return _first_order(u * u + v * v + w * w, u / radii[0], v / radii[1], w / radii[2])


def ellipse(r: Array, a: Array, centre: tuple[Any, Any], radii: tuple[Any, Any]) -> Array:
    """Distance to an upright cylinder of elliptic section; its parts may vary with height."""
    u, v = (r - centre[0]) / radii[0], (a - centre[1]) / radii[1]
    return _first_order(u * u + v * v, u / radii[0], v / radii[1])


def _first_order(square: Array, *half_gradient: Array) -> Array:
    length = np.sqrt(sum(g * g for g in half_gradient))
    return np.asarray((square - 1) / (2 * np.maximum(length, 1e-4)))


def capsule(r: Array, a: Array, s: Array, start: Point, end: Point, radius: float) -> Array:
    """Exact distance to a rod with round ends."""
    axis = np.subtract(end, start)
    length2 = float(axis @ axis)
    dr, da, ds = r - start[0], a - start[1], s - start[2]
    along = np.clip((dr * axis[0] + da * axis[1] + ds * axis[2]) / length2, 0, 1)
    out = (dr - along * axis[0]) ** 2
    out += (da - along * axis[1]) ** 2
    out += (ds - along * axis[2]) ** 2
    return np.asarray(np.sqrt(out, out=out) - radius)


def smooth_max(a: Array, b: Array, width: float) -> Array:
    """Intersection of two solids with the edge rounded over ``width`` mm (quadratic blend)."""
    overlap = np.maximum(width - np.abs(a - b), 0)
    overlap *= overlap
    overlap *= 0.25 / width
    return np.asarray(np.maximum(a, b) + overlap)


def smooth_min(a: Array, b: Array, width: float) -> Array:
    """Union of two solids with the crease filled over ``width`` mm."""
    return -smooth_max(-a, -b, width)
