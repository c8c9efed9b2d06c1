"""Bright tubes in the lung: scale space in mm, ridge points below the voxel.

Positions in this package are "grid mm": array index (K, J, I) times spacing, one frame for
anisotropic voxels and any orientation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.progress import Progress, ignore
from lungperfusion.threads import in_order
from lungperfusion.volume import Mask

Float32 = NDArray[np.float32]
Spacing = tuple[float, float, float]
Found = tuple[NDArray[np.int64], Float32, Float32, float]

SCALES_MM = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""Standard deviations of the scale space: capillary-feeding arterioles to lobar arteries."""

LOW_OVER_NOISE = 2.5
"""A ridge continues where its strength exceeds the noise of the scale by this factor."""
HIGH_OVER_NOISE = 6.0
"""A vessel needs one point this much stronger than the noise."""
LEAST_STRENGTH_HU = 12.0
"""Ridges weaker than this are no vessels, however quiet the image."""

LUMEN_STRENGTH_HU = 30.0
"""Dark tubes this strong are airways: lumen and wall differ by several hundred HU."""
LUMEN_OVER_NOISE = 4.0
"""They are stronger than the noise of the scale by this factor, too."""
LUMEN_SCALES_MM = (0.5, 2.8)
"""Least and greatest scale of airways looked for; wider ones are in the airway label map.

A lumen of 2.5 mm answers best at the least; from 0.7 mm up its wall would be put too far out, into
the artery beside it.
"""

RIDGE_OFFSET_VOXELS = 0.75
"""A voxel holds a ridge whose sub-voxel position lies at most this far off along each axis."""
SLOPE_LIMIT = 0.6
"""Largest intensity slope along a ridge, in units of its curvature times the scale.

Along a vessel the intensity hardly changes; the flank of a nodule, which curves like a tube,
falls off.
"""

CORE_FRACTION = 0.5
"""A wide tube must be filled: least share of blood at its centre, at half its scale.

Keeps bundles of thin vessels and hollow airways from passing as one wide vessel.
"""
LEAST_FILLED_SCALE_MM = 1.0
"""Scale from which tubes must be filled; thinner ones are not resolved."""

SLICE_BLUR = 0.5
"""Standard deviation of what a thick slice adds to the blur along its axis, in excess spacings.

Where voxels are longer along one axis, a vessel across it looks flat in mm; derivatives along the
axis are taken in units of its own blur, so that the vessel is round again.
"""

_HALO_SIGMAS = 4.0
_SLAB_VOXELS = 2**20  # whose maps stay in the cache


@dataclass(frozen=True, eq=False)
class Ridges:
    """Points on the axes of bright tubes.

    Parameters
    ----------
    index
        Flat voxel index, ascending, int64.
    position_mm
        Sub-voxel position in grid mm, shape (n, 3).
    direction
        Unit vector along the tube in grid mm, sign arbitrary, shape (n, 3).
    strength_hu
        Scale-normalised tubeness.
    scale_mm
        Standard deviation of the scale at which it is greatest.
    certain
        Whether the strength exceeds the high threshold of its scale.

    """

    index: NDArray[np.int64]
    position_mm: NDArray[np.float64]
    direction: NDArray[np.float64]
    strength_hu: NDArray[np.float64]
    scale_mm: NDArray[np.float64]
    certain: Mask

    @property
    def size(self) -> int:
        """Number of points."""
        return int(self.index.size)

    def take(self, chosen: NDArray[Any]) -> Ridges:
        """Take some of the points."""
        return Ridges(
            self.index[chosen],
            self.position_mm[chosen],
            self.direction[chosen],
            self.strength_hu[chosen],
            self.scale_mm[chosen],
            self.certain[chosen],
        )


@dataclass(frozen=True, eq=False)
class Enhanced:
    """Result of the scale space.

    Parameters
    ----------
    strength_hu
        Greatest tubeness over the scales, float32; 0 where there is no tube.
    ridges
        Points on the axes.
    lumens
        Points on the axes of dark tubes: airways.
    noise_hu
        Noise of the tubeness at each scale.

    """

    strength_hu: Float32
    ridges: Ridges
    lumens: Ridges
    noise_hu: dict[float, float]


def enhance_vessels(
    image_hu: Float32,
    mask: Mask,
    spacing_kji_mm: Spacing,
    *,
    filled_from_hu: Callable[[NDArray[np.int64]], Float32] | None = None,
    scales_mm: tuple[float, ...] = SCALES_MM,
    low_over_noise: float = LOW_OVER_NOISE,
    high_over_noise: float = HIGH_OVER_NOISE,
    progress: Progress = ignore,
) -> Enhanced:
    """Find bright tubes of all widths.

    The tubeness of a scale is ``-l2 (1 - |l3 / l2|)`` with the eigenvalues ``l1 <= l2 < 0`` across
    and ``l3`` along the tube of the Hessian in units of the scale (methods.md A.4): plates,
    whose ``l2`` is small, and blobs, whose ``l3`` is as large as ``l2``, answer weakly.

    Parameters
    ----------
    image_hu
        Image, float32, shape (K, J, I), with what lies outside the lungs filled by parenchyma.
    mask
        Where to look for tubes.
    spacing_kji_mm
        Voxel size.
    filled_from_hu
        Density at which the centre of a wide vessel counts as filled, at voxels given by flat
        index; None asks for nothing.
    scales_mm
        Standard deviations, ascending.
    low_over_noise, high_over_noise
        Thresholds as multiples of the noise of each scale.

    """
    best = np.zeros(image_hu.shape, np.float32)
    darkest = np.zeros(image_hu.shape, np.float32)
    found: list[Found] = []
    dark: list[Found] = []
    noise: dict[float, float] = {}
    smooth, reached = image_hu, 0.0
    finer: list[tuple[float, Float32]] = []
    for number, sigma in enumerate(scales_mm):
        progress(number / len(scales_mm), f"looking for vessels of scale {sigma:g} mm")
        smooth = smooth_mm(smooth, float(np.sqrt(sigma**2 - reached**2)), spacing_kji_mm)
        reached = sigma
        half = next((image for scale, image in finer if scale >= 0.45 * sigma), smooth)
        finer = [*finer[-1:], (sigma, smooth)]
        units = axis_scales_mm(sigma, spacing_kji_mm)
        noise[sigma] = curvature_noise_hu(smooth, mask, spacing_kji_mm, units)
        threshold = max(LEAST_STRENGTH_HU, low_over_noise * noise[sigma])
        least_lumen, most_lumen = LUMEN_SCALES_MM
        lumen = max(LUMEN_STRENGTH_HU, LUMEN_OVER_NOISE * noise[sigma])
        lumen = lumen if least_lumen <= sigma <= most_lumen else np.inf
        for down, up in curved(smooth, mask, spacing_kji_mm, threshold, lumen, units):

            def filled(voxels: NDArray[np.int64], half: Float32 = half) -> Mask:
                if filled_from_hu is None:
                    return np.ones(voxels.size, np.bool_)
                return np.asarray(half.ravel()[voxels] >= filled_from_hu(voxels))

            accept = filled if sigma >= LEAST_FILLED_SCALE_MM else None
            found.append(_stronger(smooth, best, down, spacing_kji_mm, sigma, threshold, 1, accept))
            dark.append(_stronger(smooth, darkest, up, spacing_kji_mm, sigma, lumen, -1, None))
    progress(0.95, "placing vessel axes below the voxel")
    high = {sigma: certain_from_hu(level, high_over_noise) for sigma, level in noise.items()}
    return Enhanced(
        best,
        _ridges(found, best, spacing_kji_mm, high),
        _ridges(dark, darkest, spacing_kji_mm, dict.fromkeys(high, 0.0)),
        noise,
    )


def certain_from_hu(noise_hu: float, high_over_noise: float = HIGH_OVER_NOISE) -> float:
    """Tubeness from which a ridge alone makes a vessel, by the noise of its scale."""
    return max(2 * LEAST_STRENGTH_HU, high_over_noise * noise_hu)


def thin_tubeness_hu(area_mm2: float, contrast_hu: float, scale_mm: float, blur_mm: float) -> float:
    """Tubeness on the axis of a vessel thinner than the blur.

    Blur and scale turn its cross-section into a Gaussian of variance ``v = blur^2 + scale^2``; the
    second derivative across it is ``contrast area / (2 pi v^2)``, in units of the scale times its
    square.
    """
    variance = scale_mm**2 + blur_mm**2
    return contrast_hu * area_mm2 * scale_mm**2 / (2 * np.pi * variance**2)


def axis_scales_mm(sigma_mm: float, spacing_kji_mm: Spacing) -> Spacing:
    """Blur along each axis at one scale: the scale, and what longer voxels add."""
    least = min(spacing_kji_mm)
    k, j, i = (float(np.hypot(sigma_mm, SLICE_BLUR * (mm - least))) for mm in spacing_kji_mm)
    return k, j, i


def _stronger(
    smooth: Float32,
    best: Float32,
    index: NDArray[np.int64],
    spacing: Spacing,
    sigma: float,
    threshold: float,
    sign: int,
    accept: Callable[[NDArray[np.int64]], Mask] | None,
) -> Found:
    """Voxels at which this scale answers most strongly so far, with derivatives; updates best."""
    units = axis_scales_mm(sigma, spacing)
    jet = second_derivatives(smooth, index, spacing, units) * np.float32(sign)
    strength = tubeness(jet)
    strong = (strength > threshold) & (strength > best.ravel()[index])
    if accept is not None:
        where = np.flatnonzero(strong)
        strong[where] = accept(index[where])
    index, jet, strength = index[strong], jet[:, strong], strength[strong]
    best.ravel()[index] = strength
    slope = first_derivatives(smooth, index, spacing, units) * np.float32(sign)
    return index, strength, np.concatenate([jet, slope]), sigma


def smooth_mm(
    array: Float32, sigma_mm: float | Sequence[float], spacing_kji_mm: Spacing
) -> Float32:
    """Gaussian smoothing on two threads; the result does not depend on how the work is cut."""
    each = (sigma_mm,) * 3 if isinstance(sigma_mm, float) else sigma_mm
    sigmas = [sigma / mm for sigma, mm in zip(each, spacing_kji_mm, strict=True)]
    out = np.empty_like(array)
    halo = int(np.ceil(_HALO_SIGMAS * sigmas[0])) + 1
    step = max(16, 2 * halo, -(-array.shape[0] // 4))  # two quarters at once hold half an image
    starts = range(0, array.shape[0], step)

    def work(start: int) -> None:
        stop = min(array.shape[0], start + step)
        low, high = max(0, start - halo), min(array.shape[0], stop + halo)
        part = ndimage.gaussian_filter(
            array[low:high], sigmas, mode="nearest", truncate=_HALO_SIGMAS
        )
        out[start:stop] = part[start - low : stop - low]

    for _ in in_order(work, starts, at_most=2):
        pass
    return out


def _strides(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return shape[1] * shape[2], shape[2], 1


def curved(
    smooth: Float32, mask: Mask, spacing: Spacing, bright: float, dark: float, units: Spacing
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Voxels curved enough to hold a bright or a dark tube, in slabs of bounded size.

    The eigenvalues across a tube are together more negative than that along it is positive, so
    the Laplacian is at least as negative as the tubeness; three second differences are all it
    costs.  The mask must not reach the border of the image.
    """
    for planes in _slabs(mask.shape):
        inside = mask[planes, 1:-1, 1:-1]
        laplacian = np.zeros(inside.shape, np.float32)
        centre = [planes, slice(1, -1), slice(1, -1)]
        twice = 2 * smooth[tuple(centre)]
        for axis, (mm, unit) in enumerate(zip(spacing, units, strict=True)):
            ahead, behind = list(centre), list(centre)
            ahead[axis] = slice(centre[axis].start + 1, centre[axis].stop + 1 or None)  # -1: end
            behind[axis] = slice(centre[axis].start - 1, centre[axis].stop - 1)
            second = smooth[tuple(ahead)] + smooth[tuple(behind)]
            second -= twice
            second *= np.float32((unit / mm) ** 2)
            laplacian += second
        yield (
            _flat_index(inside & (laplacian < -np.float32(bright)), planes, mask.shape),
            _flat_index(inside & (laplacian > np.float32(dark)), planes, mask.shape),
        )


def _slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Planes along the first axis but its first and last, so many at once as is quick."""
    step = max(1, _SLAB_VOXELS // (shape[1] * shape[2]))
    for start in range(1, shape[0] - 1, step):
        yield slice(start, min(start + step, shape[0] - 1))


def _flat_index(inner: Mask, planes: slice, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Flat index in the image of what is true in a slab without its border."""
    k, j, i = np.nonzero(inner)
    return np.asarray(np.ravel_multi_index((k + planes.start, j + 1, i + 1), shape))


def curvature_noise_hu(smooth: Float32, mask: Mask, spacing: Spacing, units: Spacing) -> float:
    """Noise of one scale-normalised second derivative: from the median absolute deviation."""
    strides = _strides(smooth.shape)
    flat = smooth.ravel()
    index = _some_of(mask, 200_000)
    spread = []
    for stride, mm, unit in zip(strides, spacing, units, strict=True):
        second = (flat[index + stride] + flat[index - stride] - 2 * flat[index]) * (unit / mm) ** 2
        spread.append(np.median(np.abs(second - np.median(second))) / 0.6745)
    return float(np.mean(spread))


def _some_of(mask: Mask, about: int) -> NDArray[np.int64]:
    """Flat index of every n-th voxel of a mask, with n such that about so many are taken."""
    counts = [int(np.count_nonzero(plane)) for plane in mask]
    step = max(1, sum(counts) // about)
    taken, seen = [], 0
    for number, (plane, count) in enumerate(zip(mask, counts, strict=True)):
        taken.append(np.flatnonzero(plane)[-seen % step :: step] + number * plane.size)
        seen += count
    return np.concatenate(taken)


def second_derivatives(
    smooth: Float32, index: NDArray[np.int64], spacing: Spacing, units: Spacing
) -> Float32:
    """Hessian by central differences in units of the blur: KK, JJ, II, KJ, KI, JI; shape (6, n)."""
    step = [mm / unit for mm, unit in zip(spacing, units, strict=True)]
    strides = _strides(smooth.shape)
    flat = smooth.ravel()
    out = np.empty((6, index.size), np.float32)
    centre = flat[index]
    for n in range(3):
        out[n] = flat[index + strides[n]] + flat[index - strides[n]] - 2 * centre
        out[n] /= np.float32(step[n] ** 2)
    for n, (a, b) in enumerate(((0, 1), (0, 2), (1, 2)), start=3):
        both, apart = strides[a] + strides[b], strides[a] - strides[b]
        out[n] = flat[index + both] + flat[index - both]
        out[n] -= flat[index + apart] + flat[index - apart]
        out[n] /= np.float32(4 * step[a] * step[b])
    return out


def first_derivatives(
    smooth: Float32, index: NDArray[np.int64], spacing: Spacing, units: Spacing
) -> Float32:
    """Gradient by central differences in units of the blur, shape (3, n)."""
    strides = _strides(smooth.shape)
    flat = smooth.ravel()
    return np.stack(
        [
            (flat[index + stride] - flat[index - stride]) * np.float32(unit / (2 * mm))
            for stride, mm, unit in zip(strides, spacing, units, strict=True)
        ]
    )


def tubeness(hessian: Float32) -> Float32:
    """Tubeness ``-l2 (1 - |l3 / l2|)`` of symmetric 3x3 matrices, 0 unless ``l2 < 0``.

    Parameters
    ----------
    hessian
        Components KK, JJ, II, KJ, KI, JI, shape (6, n).

    """
    _, middle, high = eigenvalues(hessian)
    # The lowest and `middle` lie across a bright tube, `high`, near 0, along it.
    return np.asarray(np.where(middle < 0, np.maximum(-middle - np.abs(high), 0), 0))


def eigenvalues(hessian: Float32) -> tuple[Float32, Float32, Float32]:
    """Eigenvalues of symmetric 3x3 matrices, ascending.

    By the trigonometric solution of the characteristic cubic (Smith 1961, Commun ACM 4:168).
    """
    a, b, c, d, e, f = hessian
    mean = (a + b + c) / np.float32(3)
    a, b, c = a - mean, b - mean, c - mean
    off = d * d + e * e + f * f
    p = np.sqrt((a * a + b * b + c * c + 2 * off) / np.float32(6))
    with np.errstate(divide="ignore", invalid="ignore"):
        half_det = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)
        half_det /= 2 * p * p * p
    angle = np.arccos(np.clip(np.nan_to_num(half_det), -1, 1)) / np.float32(3)
    high = mean + 2 * p * np.cos(angle)
    low = mean + 2 * p * np.cos(angle + np.float32(2 * np.pi / 3))
    return low, 3 * mean - high - low, high


def symmetric_matrices(components: NDArray[Any]) -> NDArray[np.float64]:
    """Matrices, shape (n, 3, 3), from their components KK, JJ, II, KJ, KI, JI."""
    matrix = np.empty((components.shape[1], 3, 3))
    for n, (r, c) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        matrix[:, r, c] = matrix[:, c, r] = components[n]
    return matrix


def _ridges(
    found: list[Found],
    best: Float32,
    spacing: Spacing,
    high: dict[float, float],
) -> Ridges:
    """Keep the voxels through which the axis of a tube passes, at their best scale."""
    parts = []
    mm = np.asarray(spacing)
    flat = best.ravel()
    for index, strength, jet, sigma in found:
        top = flat[index] == strength
        index, jet, strength = index[top], jet[:, top].astype(np.float64), strength[top]
        values, vectors = np.linalg.eigh(symmetric_matrices(jet))
        slope = np.einsum("ni,nij->nj", jet[6:].T, vectors)
        # Newton step to the maximum across the tube: Steger 1998, IEEE PAMI 20:113.
        across = -slope[:, :2] / values[:, :2]
        units = np.asarray(axis_scales_mm(sigma, spacing))
        offset = np.einsum("nj,nij->ni", across, vectors[:, :, :2]) * units
        on_axis = (np.abs(offset) <= RIDGE_OFFSET_VOXELS * mm).all(axis=1)
        level = np.abs(slope[:, 2]) <= SLOPE_LIMIT * np.abs(values[:, 1])
        keep = on_axis & level
        along = vectors[:, :, 2] * units
        along /= np.linalg.norm(along, axis=1)[:, None]
        position = np.stack(np.unravel_index(index[keep], best.shape), axis=1) * mm
        parts.append(
            Ridges(
                index[keep],
                position + offset[keep],
                along[keep],
                strength[keep].astype(np.float64),
                np.full(int(keep.sum()), sigma),
                strength[keep] > high[sigma],
            )
        )
    every = Ridges(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("index", "position_mm", "direction", "strength_hu", "scale_mm", "certain")
        )
    )
    order = np.unique(every.index, return_index=True)[1]
    return every.take(order)
