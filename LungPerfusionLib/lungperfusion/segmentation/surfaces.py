"""Smooth surfaces through a lung: a height over a plane, fitted to points that may be wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, ndimage, sparse

Points = NDArray[np.float64]

KNOT_MM = 14.0
"""Distance of the spline's knots: finer than any bend of a fissure that lobes depend on."""

STIFFNESS_MM = 6.0
"""Bends much shorter than this are smoothed away; gaps much longer are bridged straight."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Height of a uniform cubic B-spline over a plane, all in RAS mm.

    Parameters
    ----------
    origin_mm
        Point of the plane where ``u = v = 0``.
    axes
        Rows are the unit vectors u, v and the normal, which points to the upper side.
    start_mm
        u and v of the first coefficient.
    coefficients_mm
        B-spline coefficients, shape (nu, nv), `KNOT_MM` apart; constant beyond their ends.
    moves
        Corrections on top: centres (u, v), weights and reach of a compact radial basis.

    """

    origin_mm: Points
    axes: Points
    start_mm: tuple[float, float]
    coefficients_mm: Points
    moves: tuple[Moves, ...] = ()

    @classmethod
    def flat(cls, origin_mm: ArrayLike, normal: ArrayLike, around_mm: Points) -> Surface:
        """Plane through a point, wide enough for heights over the given points."""
        plane = cls(np.asarray(origin_mm, np.float64), _frame(normal), (0.0, 0.0), np.zeros((1, 1)))
        uv = plane.local(around_mm)[:, :2]
        low, high = uv.min(axis=0) - 2 * KNOT_MM, uv.max(axis=0) + 2 * KNOT_MM
        counts = np.ceil((high - low) / KNOT_MM).astype(int) + 1
        start = (float(low[0]), float(low[1]))
        return replace(plane, start_mm=start, coefficients_mm=np.zeros(counts))

    def local(self, points_mm: ArrayLike) -> Points:
        """Coordinates u, v and height over the plane, shape (..., 3)."""
        return np.asarray((np.asarray(points_mm) - self.origin_mm) @ self.axes.T)

    def world(self, uvh: ArrayLike) -> Points:
        """RAS mm of local coordinates."""
        return np.asarray(np.asarray(uvh) @ self.axes + self.origin_mm)

    def height(self, u: ArrayLike, v: ArrayLike) -> Points:
        """Height of the surface over its plane."""
        u, v = np.broadcast_arrays(np.asarray(u, float), np.asarray(v, float))
        at = [(u.ravel() - self.start_mm[0]) / KNOT_MM, (v.ravel() - self.start_mm[1]) / KNOT_MM]
        out = ndimage.map_coordinates(
            self.coefficients_mm, at, order=3, mode="nearest", prefilter=False
        ).reshape(u.shape)
        for move in self.moves:
            out = out + move(u, v)
        return np.asarray(out)

    def side(self, points_mm: ArrayLike) -> Points:
        """Height of points above the surface, positive on the side the normal points to."""
        u, v, h = np.moveaxis(self.local(points_mm), -1, 0)
        return np.asarray(h - self.height(u, v))

    def on(self, u: ArrayLike, v: ArrayLike) -> Points:
        """Points of the surface in RAS mm, shape (..., 3)."""
        u, v = np.broadcast_arrays(np.asarray(u, float), np.asarray(v, float))
        return self.world(np.stack([u, v, self.height(u, v)], axis=-1))

    def normals(self, u: ArrayLike, v: ArrayLike, step_mm: float = 2.0) -> Points:
        """Give unit normals of the surface in RAS, shape (..., 3)."""
        u, v = np.broadcast_arrays(np.asarray(u, float), np.asarray(v, float))
        slope_u = (self.height(u + step_mm, v) - self.height(u - step_mm, v)) / (2 * step_mm)
        slope_v = (self.height(u, v + step_mm) - self.height(u, v - step_mm)) / (2 * step_mm)
        local = np.stack([-slope_u, -slope_v, np.ones_like(slope_u)], axis=-1)
        local /= np.linalg.norm(local, axis=-1, keepdims=True)
        return np.asarray(local @ self.axes)

    def distance_mm(self, points_mm: ArrayLike) -> Points:
        """Signed distance to first order: the height times the steepness there."""
        u, v, h = np.moveaxis(self.local(points_mm), -1, 0)
        return np.asarray((h - self.height(u, v)) * (self.normals(u, v) @ self.axes[2]))

    def moved(self, move: Moves) -> Surface:
        """Surface with one more correction."""
        return replace(self, moves=(*self.moves, move))


@dataclass(frozen=True, eq=False)
class Moves:
    """Displacement through given points that fades to nothing at a distance from them.

    Parameters
    ----------
    centres_mm
        u and v of the points, shape (n, 2).
    weights_mm
        Weight of the basis function of each.
    reach_mm
        Distance at which it has faded.

    """

    centres_mm: Points
    weights_mm: Points
    reach_mm: float

    def __call__(self, u: Points, v: Points) -> Points:
        """Displacement at positions of the plane."""
        out = np.zeros(u.shape)
        for (cu, cv), weight in zip(self.centres_mm, self.weights_mm, strict=True):
            out += weight * fading(np.hypot(u - cu, v - cv) / self.reach_mm)
        return out


def fading(r: Points) -> Points:
    """Compact radial basis function of two continuous derivatives, positive definite in 3-D.

    Wendland 1995, Adv Comput Math 4:389: (1 - r)^4 (4 r + 1) for r < 1.
    """
    near = np.clip(1.0 - r, 0.0, None)
    return np.asarray(near**4 * (4.0 * r + 1.0))


def fitted(
    surface: Surface,
    points_mm: Points,
    weights_mm2: Points,
    *,
    stiffness_mm: float = STIFFNESS_MM,
    anchor: float = 2e-5,
) -> Surface:
    """Bend a surface to points by penalised least squares.

    Minimises ``sum w r^2 + stiffness^4 * integral of squared second derivatives`` over the
    coefficients (a thin plate on a B-spline basis: Eilers and Marx 1996, Stat Sci 11:89), with a
    weak pull (``anchor`` per mm2) to the height that ``surface`` has, which decides where nothing
    else does.

    Parameters
    ----------
    surface
        Gives the frame and the heights to fall back on.
    points_mm
        RAS mm, shape (n, 3).
    weights_mm2
        Area that each point stands for, times the trust in it.

    """
    u, v, h = surface.local(points_mm).T
    shape = surface.coefficients_mm.shape
    basis = _row_products(
        _basis((u - surface.start_mm[0]) / KNOT_MM, shape[0]),
        _basis((v - surface.start_mm[1]) / KNOT_MM, shape[1]),
    )
    weighted = basis.multiply(weights_mm2[:, None]).tocsr()
    pull = anchor * KNOT_MM**2
    system = basis.T @ weighted + stiffness_mm**4 * _bending(shape)
    system += pull * sparse.eye_array(system.shape[0])
    right = weighted.T @ h + pull * surface.coefficients_mm.ravel()
    return replace(surface, coefficients_mm=_solved(system, right).reshape(shape))


def _solved(system: sparse.csr_array, right: Points) -> Points:
    """Solution of a sparse positive definite system, within its band: knots reach a few rows."""
    lower = sparse.tril(system).tocoo()
    below = lower.row - lower.col
    band = np.zeros((int(below.max()) + 1, system.shape[0]))
    band[below, lower.col] = lower.data
    return np.asarray(linalg.solveh_banded(band, right, lower=True))


def _basis(position: Points, count: int) -> sparse.csr_array:
    """Values of the cubic B-splines of unit knots, shape (n, count)."""
    position = np.clip(position, 1.0, count - 2.0 - 1e-9)
    first = np.floor(position).astype(int)
    t = position - first
    values = (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )
    rows = np.tile(np.arange(position.size), 4)
    columns = np.concatenate([first + n for n in (-1, 0, 1, 2)])
    return sparse.csr_array((np.concatenate(values), (rows, columns)), (position.size, count))


def _row_products(a: sparse.csr_array, b: sparse.csr_array) -> sparse.csr_array:
    """All products of the entries of equal rows."""
    n = a.shape[0]
    ai, bi = a.indices.reshape(n, 4), b.indices.reshape(n, 4)
    columns = (ai[:, :, None] * b.shape[1] + bi[:, None, :]).reshape(n, 16)
    values = (a.data.reshape(n, 4, 1) * b.data.reshape(n, 1, 4)).reshape(n, 16)
    rows = np.repeat(np.arange(n), 16)
    return sparse.csr_array((values.ravel(), (rows, columns.ravel())), (n, a.shape[1] * b.shape[1]))


@lru_cache(maxsize=16)  # of a scan; in a batch each lung has its own shape
def _bending(shape: tuple[int, int]) -> sparse.csr_array:
    """Integral of the squared second derivatives (h_uu, h_vv and twice h_uv) as a matrix."""
    one_u, one_v = (sparse.eye_array(count) for count in shape)
    first_u, first_v = (_differences(count) for count in shape)
    second_u, second_v = (_differences(count - 1) @ _differences(count) for count in shape)
    parts = (
        sparse.kron(second_u, one_v),
        sparse.kron(one_u, second_v),
        np.sqrt(2.0) * sparse.kron(first_u, first_v),
    )
    return sparse.csr_array(sum(part.T @ part for part in parts) / KNOT_MM**2)


def _differences(count: int) -> sparse.dia_array:
    """Differences of neighbours as a matrix."""
    ones = np.ones(count)
    return sparse.dia_array(([-ones, ones], [0, 1]), (count - 1, count))


def _frame(normal: ArrayLike) -> Points:
    """Right-handed axes u (toward the patient's right), v, normal."""
    n = np.asarray(normal, np.float64)
    n = n / np.linalg.norm(n)
    lateral = np.array([1.0, 0.0, 0.0])
    u = lateral - (lateral @ n) * n
    u /= np.linalg.norm(u)
    return np.stack([u, np.cross(n, u), n])


@dataclass(frozen=True, eq=False)
class Patch:
    """The part of a surface that lies in the lung, on a square grid of its plane.

    Parameters
    ----------
    surface
        What is sampled.
    u_mm, v_mm
        Grid positions, shape (n, m).
    inside
        Nodes in the lung.

    """

    surface: Surface
    u_mm: Points
    v_mm: Points
    inside: NDArray[np.bool_]

    @cached_property
    def area_mm2(self) -> Points:
        """Area that each node stands for, 0 outside the lung."""
        if min(self.u_mm.shape) < 2:
            return np.zeros(self.u_mm.shape)
        step = self.u_mm[1, 0] - self.u_mm[0, 0]
        cosine = self.surface.normals(self.u_mm, self.v_mm) @ self.surface.axes[2]
        return np.asarray(np.where(self.inside, step**2 / np.maximum(cosine, 0.1), 0.0))

    @cached_property
    def points_mm(self) -> Points:
        """Nodes in RAS mm, shape (n, m, 3)."""
        return self.surface.on(self.u_mm, self.v_mm)

    def nodes_of(self, points_mm: Points) -> NDArray[np.bool_]:
        """Nodes that lie nearest to some points, seen along the normal of the plane."""
        hit = np.zeros(self.inside.shape, np.bool_)
        if len(points_mm) and hit.size > 1:
            step = self.v_mm[0, 1] - self.v_mm[0, 0]
            u, v, _ = np.moveaxis(self.surface.local(points_mm), -1, 0)
            rows = np.rint((u - self.u_mm[0, 0]) / step).astype(int)
            columns = np.rint((v - self.v_mm[0, 0]) / step).astype(int)
            here = (rows >= 0) & (rows < hit.shape[0]) & (columns >= 0) & (columns < hit.shape[1])
            hit[rows[here], columns[here]] = True
        return hit
