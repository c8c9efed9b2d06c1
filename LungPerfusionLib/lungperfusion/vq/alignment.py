"""Alignment of one lung at two states of breathing: Gauss-Newton on a cubic B-spline.

Two features are matched, both blind to how much the density changed: the parenchyma, normalised
by its local mean and spread (so that the sum of squares behaves like local cross-correlation,
Cachier & Pennec 2000), and the distance from the pleura.  Nothing outside the lung is seen, so
ribs that stay behind while the lung slides past have no pull.

``E(u) = sum_x w(x) rho(F(x) - M(x + u(x))) dx + alpha int |D^2 u|^2 dx``

with the Cauchy function rho.  The data term of the normal equations is lumped onto its diagonal
blocks: as the B-splines are positive and sum to one, that bounds the exact matrix from above, so
a step cannot overshoot (Jensen), and a few conjugate-gradient iterations solve it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from lungperfusion.morphology import depth_mm
from lungperfusion.progress import Progress, ignore
from lungperfusion.volume import Axis, Geometry, Mask, Volume, bounding_box, box_around
from lungperfusion.vq.displacement import DisplacementField

Float = NDArray[np.float32]
Edge = Literal["nearest", "constant"]

RIM_MM = 3.0
"""Parenchyma nearer to the pleura is not matched: blur of the chest wall reaches that far.

On the breathing phantom 1 / 3 / 5 mm give a mean error of 0.43 / 0.18 / 0.18 mm.
"""

SURFACE_BAND_MM = 4.0
"""Distance from the pleura up to which the surface feature varies; constant beyond."""

NORMALISE_MM = 4.0
"""Standard deviation of the Gaussian window of local normalisation.

On three breathing phantoms 6 / 5 / 4 / 3 mm give a root-mean-square error of the Jacobian of
0.0368 / 0.0361 / 0.0356 / 0.0358 at the same or a smaller mean distance error.
"""

VIEW_MM = max(NORMALISE_MM, SURFACE_BAND_MM)
"""Nearer to the end of the field of view neither feature is what it would be in a larger one."""

CONTRAST_SHARE = 0.5
"""Share of the local spread that counts as error beside the noise.

Two images of the same vessel differ by a share of its contrast (blood, calibre, interpolation), two
of even lung by noise alone: the feature's unit is ``sqrt(noise^2 + (share x spread)^2)``, as of a
likelihood.  On breathing phantoms of two builds a fixed unit, in which vessels drown the texture
between them and below the pleura, gave a mean error of 0.34 and 1.12 mm before the finest stage;
0.25, 0.5 and 1 give 0.27, 0.26, 0.26 and 0.91, 0.87, 0.87 mm.
"""

OUTLIER = 3.0
"""Scale of the Cauchy function, in units of the normalised features.

Where nothing but faint texture is seen, most differences are noise, and one of 1.5 takes it for
outliers: on the second breathing chest 1.5, 3 and 5 give 0.97, 0.93 and 0.93 mm.
"""

_FEWEST_CHECKED = 100  # nodes of 3 mm, about 3 mL
_AXES: tuple[Axis, Axis, Axis] = ("R", "A", "S")
_LEAST_NOISE_HU = 1.0  # of an image without noise
_NORMAL_MAD = 1.4826  # standard deviation of a normal distribution over its median deviation
_LANDMARK_WEIGHT_MM = 4.0e4  # data term per mm2 of landmark error, about that of a 3 cm ball


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One resolution of the alignment."""

    spacing_mm: float
    """Of the images."""
    grid_mm: float
    """Of the B-spline's control points."""
    bending: float
    """Weight alpha of the bending energy."""
    blur_mm: float
    iterations: int
    least_correlation: float = -1.0
    """Of the parenchyma of both images when the stage begins; with less it is left out."""


COARSE_STAGES = (
    Stage(spacing_mm=6.0, grid_mm=64.0, bending=3.0, blur_mm=3.0, iterations=12),
    Stage(spacing_mm=4.0, grid_mm=32.0, bending=3.0, blur_mm=2.0, iterations=10),
    Stage(spacing_mm=3.0, grid_mm=16.0, bending=2.0, blur_mm=1.0, iterations=8),
)
FINE_STAGES = (
    Stage(
        spacing_mm=2.0,
        grid_mm=8.0,
        bending=6.0,
        blur_mm=1.0,
        iterations=8,
        least_correlation=0.75,
    ),
)
"""Least landmark error: for looking at both scans, and for density at the same place.

Where noise hides the texture a softer field follows the noise: from 0.62 to 0.76 mm on the second
breathing chest (correlation 0.61), from 1.43 to 1.38 mm at the landmarks of the real pair (0.86).
"""

VOLUME_STAGES = (Stage(spacing_mm=2.0, grid_mm=14.0, bending=30.0, blur_mm=1.0, iterations=8),)
"""Best Jacobian: stiffer, as a finer fit only adds noise to volume change (methods C.1).

Control points every 10 / 12 / 14 mm give a root-mean-square error of the Jacobian of 0.0216 /
0.0197 / 0.0183 on the breathing phantom and 0.0471 / 0.0431 / 0.0400 on the second breathing chest,
at a mean distance error of 0.157 / 0.148 / 0.140 and 0.608 / 0.598 / 0.588 mm.
"""

_CHECKED = Stage(spacing_mm=3.0, grid_mm=8.0, bending=1.0, blur_mm=1.0, iterations=1)


@dataclass(frozen=True, eq=False)
class Part:
    """One lung or lobe in one image: the image around it and its mask, on the image's own grid."""

    ct: Volume
    mask: Mask

    @classmethod
    def cut(cls, ct: Volume, mask: Mask, margin_mm: float = 24.0) -> Part:
        """Cut the box around a mask out of an image."""
        box = box_around(mask, ct.geometry.spacing_kji_mm, margin_mm)
        return cls(ct.crop(box), mask[box])

    @cached_property
    def depth_mm(self) -> Float:
        """Distance from the surface, positive inside; 0 half-way between in and out."""
        geometry = self.ct.geometry
        half = 0.5 * float(np.mean(geometry.spacing_kji_mm))
        inside = depth_mm(self.mask, geometry.spacing_kji_mm)
        inside -= np.float32(half)
        outside = depth_mm(~self.mask, geometry.spacing_kji_mm)
        outside -= np.float32(half)
        np.negative(outside, out=outside)
        np.copyto(outside, inside, where=self.mask)
        return outside


@dataclass(frozen=True, eq=False)
class _Features:
    """What is matched, on an even grid along the patient's axes."""

    parenchyma: Float
    core: Float
    """1 where the parenchyma feature is meaningful."""
    surface: Float
    known: Float
    """1 where all that a feature is made from lies within the field of view."""
    mask: Mask
    origin: NDArray[np.float64]
    spacing: float


def _features(part: Part, stage: Stage) -> _Features:
    spacing = stage.spacing_mm
    source = part.ct.geometry
    k, j, i = ((side.start, side.stop - 1) for side in bounding_box(part.mask))
    ends = source.ras_from_ijk(list(itertools.product(i, j, k)))
    margin = SURFACE_BAND_MM + 3 * spacing
    lower, upper = ends.min(axis=0) - margin, ends.max(axis=0) + margin
    shape = np.ceil((upper - lower) / spacing).astype(int) + 1
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = lower
    grid = Geometry((int(shape[2]), int(shape[1]), int(shape[0])), matrix)

    # Blur to the coarser grid within the lung only, so that the wall does not leak in.
    blur = np.sqrt([max((0.5 * spacing) ** 2 - (0.5 * s) ** 2, 0.0) for s in source.spacing_kji_mm])
    sigma = np.hypot(blur, stage.blur_mm) / source.spacing_kji_mm
    distance = part.depth_mm
    inside = (distance > 0.5 * RIM_MM).astype(np.float32)
    if part.ct.valid is not None:
        inside *= part.ct.valid
    hu = np.clip(part.ct.array, -1000, 300).astype(np.float32)
    hu += 1000
    hu *= inside
    smooth = ndimage.gaussian_filter(hu, sigma, truncate=3)
    del hu  # lungs are large, and both are here at once
    weight = ndimage.gaussian_filter(inside, sigma, truncate=3)
    smooth /= np.maximum(weight, np.float32(1e-3), out=weight)
    del inside, weight

    hu_grid = _sample(smooth, source, grid)
    del smooth
    distance_grid = _sample(distance, source, grid)
    view = _in_view(part.ct, grid)
    known = depth_mm(view, grid.spacing_kji_mm) > VIEW_MM
    core = (known & (distance_grid > RIM_MM)).astype(np.float32)
    surface = np.clip(distance_grid, -SURFACE_BAND_MM, SURFACE_BAND_MM) / (SURFACE_BAND_MM / 2)
    return _Features(
        parenchyma=_normalised(hu_grid, core, NORMALISE_MM / spacing),
        core=core,
        surface=ndimage.gaussian_filter(surface.astype(np.float32), 1.0, truncate=3),
        known=known.astype(np.float32),
        mask=view & (distance_grid > 0),
        origin=lower,
        spacing=spacing,
    )


def _sample(
    array: NDArray[Any], source: Geometry, target: Geometry, mode: Edge = "nearest"
) -> Float:
    """Linear interpolation on another grid; border values, or 0 by "constant", go on outside."""
    to_source = np.linalg.inv(source.ijk_to_ras) @ target.ijk_to_ras
    matrix, offset = to_source[:3, :3][::-1, ::-1], to_source[:3, 3][::-1]
    sampled = ndimage.affine_transform(
        np.asarray(array, np.float32), matrix, offset, output_shape=target.shape, order=1, mode=mode
    )
    return np.asarray(sampled, dtype=np.float32)


def _in_view(ct: Volume, grid: Geometry) -> Mask:
    """Nodes of a grid that lie within the field of view of an image."""
    seen = np.ones(ct.geometry.shape, np.bool_) if ct.valid is None else ct.valid
    return _sample(seen, ct.geometry, grid, "constant") > 0.99


def _normalised(hu: Float, core: Float, sigma: float) -> Float:
    """Deviation from the local mean, in units of noise and of a share of the local spread."""
    weight = ndimage.gaussian_filter(core, sigma, truncate=3) + 1e-6
    mean = ndimage.gaussian_filter(hu * core, sigma, truncate=3) / weight
    deviation = np.where(core > 0, hu - mean, 0).astype(np.float32)
    variance = ndimage.gaussian_filter(deviation**2, sigma, truncate=3) / weight
    here = np.abs(deviation[core > 0])
    noise = max(_NORMAL_MAD * float(np.median(here)), _LEAST_NOISE_HU) if here.size else 1.0
    unit = np.sqrt(noise**2 + CONTRAST_SHARE**2 * variance)
    return np.asarray(np.clip(deviation / unit, -5, 5), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class _Spline:
    """Cubic B-spline on the grid of an image: basis matrices along K, J, I and bending energy."""

    basis: tuple[Any, Any, Any]
    transposed: tuple[Any, Any, Any]
    bending: Any
    shape: tuple[int, int, int]
    origin: NDArray[np.float64] = field(repr=False)
    grid_mm: float

    @classmethod
    def over(cls, features: _Features, grid_mm: float) -> _Spline:
        basis = [_basis(n, features.spacing / grid_mm) for n in features.mask.shape]
        shape = (basis[0].shape[1], basis[1].shape[1], basis[2].shape[1])
        return cls(
            (basis[0], basis[1], basis[2]),
            (basis[0].T.tocsr(), basis[1].T.tocsr(), basis[2].T.tocsr()),
            _bending_energy(shape, grid_mm),
            shape,
            features.origin,
            grid_mm,
        )

    def evaluate(self, coefficients: Float) -> Float:
        """Values on the image grid of fields with leading axis C: (C, k, j, i) to (C, K, J, I)."""
        return _along_axes(self.basis, coefficients)

    def gather(self, values: Float) -> Float:
        """Transpose of `evaluate`."""
        return _along_axes(self.transposed, values)

    def at(self, points: NDArray[np.float64]) -> Any:
        """Sparse row of basis values per point."""
        rows = []
        for axis, n in zip((2, 1, 0), self.shape, strict=True):
            place = np.clip((points[:, axis] - self.origin[axis]) / self.grid_mm, 0, n - 3.001)
            rows.append(_cubic(place, n))
        k, j, i = rows
        out = [sparse.kron(sparse.kron(k[[p]], j[[p]]), i[[p]]) for p in range(points.shape[0])]
        return sparse.vstack(out).tocsr()


def _cubic(place: NDArray[Any], controls: int) -> Any:
    knot = np.floor(place).astype(int)
    t = (place - knot)[:, None]
    weights = np.hstack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    )
    rows = np.repeat(np.arange(place.size), 4)
    columns = (knot[:, None] + np.arange(4)).ravel()
    values = (weights.ravel() / 6).astype(np.float32)
    return sparse.csr_matrix((values, (rows, columns)), shape=(place.size, controls))


def _basis(samples: int, step: float) -> Any:
    place = np.arange(samples) * step
    return _cubic(place, int(place[-1]) + 4)


def _along_axes(matrices: Sequence[Any], values: Float) -> Float:
    for axis, matrix in enumerate(matrices, start=1):
        moved = np.moveaxis(values, axis, 0)
        product = matrix @ moved.reshape(moved.shape[0], -1)
        values = np.moveaxis(product.reshape(matrix.shape[0], *moved.shape[1:]), 0, axis)
    return np.ascontiguousarray(values)


def _bending_energy(shape: tuple[int, int, int], grid_mm: float) -> Any:
    """Matrix of the integral of the squared second derivatives, by differences of coefficients."""

    def kron(k: Any, j: Any, i: Any) -> Any:
        return sparse.kron(sparse.kron(k, j), i)

    one = [sparse.identity(n) for n in shape]
    first, second = [], []
    for n in shape:
        d1: Any = sparse.diags([-np.ones(n - 1), np.ones(n - 1)], [0, 1], shape=(n - 1, n))
        d2: Any = sparse.diags(
            [np.ones(n - 2), -2 * np.ones(n - 2), np.ones(n - 2)], [0, 1, 2], shape=(n - 2, n)
        )
        first.append(d1.T @ d1)
        second.append(d2.T @ d2)
    pure = kron(second[0], one[1], one[2]) + kron(one[0], second[1], one[2])
    pure = pure + kron(one[0], one[1], second[2])
    mixed = kron(first[0], first[1], one[2]) + kron(first[0], one[1], first[2])
    mixed = mixed + kron(one[0], first[1], first[2])
    return ((pure + 2 * mixed) / grid_mm).tocsr()


def align(
    fixed: Part,
    moving: Part,
    *,
    stages: Sequence[Stage],
    start: DisplacementField | None = None,
    landmarks: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    progress: Progress = ignore,
) -> DisplacementField:
    """Find where every point of one lung lies in the other image.

    Parameters
    ----------
    fixed, moving
        The same lung or lobe in both images.
    stages
        Resolutions, coarse to fine.
    start
        Displacement to start from; by default the boxes around both masks are matched.
    landmarks
        Corresponding points, RAS mm, shapes (N, 3): in the fixed and in the moving image.  They
        pull with the force of a ball of 3 cm of perfectly informative lung each.
    progress
        Called after every step; may raise to cancel.

    Returns
    -------
    DisplacementField
        From fixed to moving, on the grid of the last stage; beyond the lung it goes on smoothly.

    """
    displacement = start
    steps = sum(stage.iterations for stage in stages)
    done = 0
    for stage in stages:
        still, other = _features(fixed, stage), _features(moving, stage)
        spline = _Spline.over(still, stage.grid_mm)
        grid = _grid_of(still)
        if displacement is None:
            first = _match_boxes(fixed, moving, grid)
        else:
            first = np.moveaxis(displacement.on(grid).ras_mm, -1, 0)
        coefficients = _fit(spline, still, np.ascontiguousarray(first))
        matcher = _Matcher(spline, still, other, stage, landmarks)
        if displacement is not None and matcher.correlation(coefficients) < stage.least_correlation:
            done += stage.iterations
            continue
        for _ in range(stage.iterations):
            progress(done / steps, "aligning the lungs")
            change = matcher.step(coefficients)
            coefficients = coefficients + change
            done += 1
            if float(np.percentile(np.abs(change), 99)) < 0.02:
                break
        field_array = np.moveaxis(spline.evaluate(coefficients), 0, -1)
        displacement = DisplacementField(np.ascontiguousarray(field_array, np.float32), grid)
    if displacement is None:
        raise ValueError("at least one stage is needed")
    return displacement


def parenchyma_correlation(fixed: Part, moved: Part, within_mm: float = np.inf) -> float:
    """Correlation of the parenchyma of one lung in two aligned images; NaN where none is seen.

    Of the features that are matched, on a grid of 3 mm: vessels and texture without the change of
    density.  Another patient's lung can be bent until its outline fits, but not to this.

    Parameters
    ----------
    fixed, moved
        The same lung on one grid, the second one already aligned.
    within_mm
        Of the surface: what lies deeper is left out.

    """
    first, second = (_features(part, _CHECKED) for part in (fixed, moved))
    core = (first.core > 0) & (second.core > 0)
    if np.isfinite(within_mm):
        core &= depth_mm(first.mask, (first.spacing,) * 3) <= within_mm
    if np.count_nonzero(core) < _FEWEST_CHECKED:
        return float("nan")
    return float(np.corrcoef(first.parenchyma[core], second.parenchyma[core])[0, 1])


def _grid_of(features: _Features) -> Geometry:
    matrix = np.diag([features.spacing] * 3 + [1.0])
    matrix[:3, 3] = features.origin
    k, j, i = features.mask.shape
    return Geometry((k, j, i), matrix)


def _match_boxes(fixed: Part, moving: Part, grid: Geometry) -> Float:
    """Shift and stretch one lung's box onto the other's, by 1st and 99th percentile per axis."""
    low, high = [], []
    for part in (fixed, moving):
        voxels = np.argwhere(part.mask)
        points = part.ct.geometry.ras_from_ijk(voxels[:: max(1, len(voxels) // 300_000), ::-1])
        low.append(np.percentile(points, 1, axis=0))
        high.append(np.percentile(points, 99, axis=0))
    stretch = (high[1] - low[1]) / np.maximum(high[0] - low[0], 1e-3)
    centre = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    planes = [
        (stretch[n] - 1) * (grid.coordinate_mm(axis) - centre[0][n]) + centre[1][n] - centre[0][n]
        for n, axis in enumerate(_AXES)
    ]
    return np.stack(planes).astype(np.float32)


class _Term:
    """One feature, at the points where it has something to say."""

    def __init__(
        self,
        fixed: Float,
        moving: Float,
        wanted: Mask,
        trusted: Float,
        chosen: NDArray[np.intp],
    ) -> None:
        self.subset = np.flatnonzero(wanted.ravel()[chosen])
        here = chosen[self.subset]
        self.moving, self.trusted = moving, trusted
        self.value = fixed.ravel()[here]
        # Differences per voxel; `_Matcher` has both images on one spacing.
        self.slope = [g.ravel()[here] for g in np.gradient(fixed)][::-1]
        self.moving_slope: list[Any] = [g.astype(np.float32) for g in np.gradient(moving)][::-1]

    def sums(self, index: Float) -> Float:
        """Gradient (R, A, S) and Gauss-Newton matrix (RR, AA, SS, RA, RS, AS) per point."""
        limits = np.array(self.moving.shape, np.float32)[:, None] - 1
        seen = ((index >= 0) & (index <= limits)).all(axis=0)
        weight = (seen & (_interpolate(self.trusted, index) > 0.99)).astype(np.float32)
        residual = _interpolate(self.moving, index) - self.value
        weight /= 1 + (residual / np.float32(OUTLIER)) ** 2
        # Mean of both images' slopes: converges in fewer steps than either alone.
        x, y, z = (
            0.5 * (_interpolate(there, index) + here)
            for there, here in zip(self.moving_slope, self.slope, strict=True)
        )
        wx, wy, wz = weight * x, weight * y, weight * z
        return np.stack(
            (
                *(wx * residual, wy * residual, wz * residual),
                *(wx * x, wy * y, wz * z, wx * y, wx * z, wy * z),
            )
        )


class _Matcher:
    """Gauss-Newton steps for one pair of features."""

    def __init__(
        self,
        spline: _Spline,
        fixed: _Features,
        moving: _Features,
        stage: Stage,
        landmarks: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    ) -> None:
        self.spline, self.moving = spline, moving
        self.bending = stage.bending * spline.bending
        band = max(1, round(SURFACE_BAND_MM / fixed.spacing))
        near = ndimage.binary_dilation(fixed.mask, iterations=band) & (fixed.known > 0)
        self.shape = fixed.mask.shape
        self.chosen = np.flatnonzero(near)
        index = np.stack(np.unravel_index(self.chosen, self.shape)).astype(np.float32)
        offset = ((fixed.origin - moving.origin) / fixed.spacing)[::-1].astype(np.float32)
        self.index = index + offset[:, None]  # in voxels of the moving grid, order K, J, I
        self.cell = np.float32(fixed.spacing**3)
        near_surface = np.abs(fixed.surface) < 0.98 * np.abs(fixed.surface).max()
        self.terms = [
            _Term(fixed.parenchyma, moving.parenchyma, fixed.core > 0, moving.core, self.chosen),
            _Term(fixed.surface, moving.surface, near_surface, moving.known, self.chosen),
        ]
        self.marks = None if landmarks is None else (spline.at(landmarks[0]), landmarks)

    def correlation(self, coefficients: Float) -> float:
        """Correlation of the parenchyma of both images; NaN where none is seen in both."""
        parenchyma = self.terms[0]
        index = self._places(coefficients)[:, parenchyma.subset]
        seen = _interpolate(parenchyma.trusted, index) > 0.99
        if np.count_nonzero(seen) < _FEWEST_CHECKED:
            return float("nan")
        there = _interpolate(parenchyma.moving, index)[seen]
        return float(np.corrcoef(parenchyma.value[seen], there)[0, 1])

    def _places(self, coefficients: Float) -> Float:
        """Where the chosen points lie in the moving image, in voxels of its grid, K, J, I."""
        moved = self.spline.evaluate(coefficients).reshape(3, -1)[:, self.chosen]
        return np.asarray(self.index + moved[::-1] / np.float32(self.moving.spacing))

    def step(self, coefficients: Float) -> Float:
        """Change of the coefficients, shape (3, k, j, i), components R, A, S."""
        gradient, hessian = self._data_term(coefficients)
        flat = coefficients.reshape(3, -1).astype(np.float64)
        force = -gradient.reshape(3, -1) - (self.bending @ flat.T).T
        blocks = hessian.reshape(6, -1)
        if self.marks is not None:
            rows, (here, there) = self.marks
            error = (rows @ flat.T) - (there - here)
            force -= _LANDMARK_WEIGHT_MM * (rows.T @ error).T
            blocks[:3] += _LANDMARK_WEIGHT_MM * np.asarray(rows.sum(axis=0))
        change = _solve(blocks, self.bending, force)
        return change.reshape(coefficients.shape).astype(np.float32)

    def _data_term(self, coefficients: Float) -> tuple[NDArray[Any], NDArray[Any]]:
        index = self._places(coefficients)
        sums = np.zeros((9, self.chosen.size), np.float32)
        for term in self.terms:
            sums[:, term.subset] += term.sums(index[:, term.subset])
        sums[:3] /= np.float32(self.moving.spacing)
        sums[3:] /= np.float32(self.moving.spacing**2)
        volume = np.zeros((9, int(np.prod(self.shape))), np.float32)
        volume[:, self.chosen] = sums * self.cell
        gathered = self.spline.gather(volume.reshape(9, *self.shape)).astype(np.float64)
        return gathered[:3], gathered[3:]


def _interpolate(image: NDArray[Any], index: Float) -> Float:
    return np.asarray(ndimage.map_coordinates(image, index, order=1, mode="nearest"))


def _fit(spline: _Spline, features: _Features, values: Float) -> Float:
    """Coefficients whose spline comes closest to given displacements, inside the lung first."""
    weight = np.where(features.mask, 1.0, 1e-2).astype(np.float32) * np.float32(features.spacing**3)
    lumped = spline.gather(weight[None])[0].ravel().astype(np.float64)
    blocks = np.stack([lumped] * 3 + [np.zeros_like(lumped)] * 3)
    stiffness = 1e-3 * spline.bending
    coefficients = np.zeros((3, *spline.shape), np.float32)
    for _ in range(8):
        misfit = spline.gather(weight * (values - spline.evaluate(coefficients)))
        flat = coefficients.reshape(3, -1).astype(np.float64)
        force = misfit.reshape(3, -1) - (stiffness @ flat.T).T
        change = _solve(blocks, stiffness, force).reshape(coefficients.shape)
        coefficients += change.astype(np.float32)
        if float(np.abs(change).max()) < 0.05:
            break
    return coefficients


def _solve(
    blocks: NDArray[np.float64], stiffness: Any, force: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Solve (3x3 blocks + stiffness per component) x = force by preconditioned gradients."""
    diagonal = stiffness.diagonal()
    regular = blocks.copy()
    regular[:3] += diagonal + 1e-6 * max(float(blocks[:3].max()), 1e-6)
    inverse = _inverse_blocks(regular)
    solution = np.zeros_like(force)
    residual = force.copy()
    preconditioned = _multiply(inverse, residual)
    direction = preconditioned.copy()
    first = power = _dot(residual, preconditioned)
    for _ in range(40):
        if power <= 1e-6 * first or power <= 0:
            break
        image = _multiply(blocks, direction) + (stiffness @ direction.T).T
        length = power / _dot(direction, image)
        solution += length * direction
        residual -= length * image
        preconditioned = _multiply(inverse, residual)
        previous, power = power, _dot(residual, preconditioned)
        direction = preconditioned + (power / previous) * direction
    return solution


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Scalar product that does not depend on the number of threads, as that of BLAS does."""
    return float((a * b).sum())


def _multiply(blocks: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    xx, yy, zz, xy, xz, yz = blocks
    return np.stack(
        [
            xx * x[0] + xy * x[1] + xz * x[2],
            xy * x[0] + yy * x[1] + yz * x[2],
            xz * x[0] + yz * x[1] + zz * x[2],
        ]
    )


def _inverse_blocks(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    xx, yy, zz, xy, xz, yz = blocks
    cofactors = np.stack(
        [
            yy * zz - yz * yz,
            xx * zz - xz * xz,
            xx * yy - xy * xy,
            xz * yz - xy * zz,
            xy * yz - xz * yy,
            xy * xz - xx * yz,
        ]
    )
    determinant = xx * cofactors[0] + xy * cofactors[3] + xz * cofactors[4]
    return np.asarray(cofactors / determinant)
