"""Density of the lung between the vessels, at every point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.vessels.enhancement import Float32, Spacing, smooth_mm
from lungperfusion.volume import Mask

BACKGROUND_SIGMA_MM = 4.0
"""Gaussian neighbourhood in which parenchyma counts; noise averages out over its voxels."""
OUTLIER_SDS = 3.0
"""Parenchyma voxels farther from their neighbourhood are walls, septa or unseen vessels."""
SURFACE_SIGMA_MM = 1.0
"""Reach of the chest wall's blur into the lung: a typical chest CT's point spread."""
SURFACE_SIGMA_VOXELS = 0.6
"""The same in voxels, where these are larger: thick slices blur along their axis."""
SURFACE_LIMIT = 0.25
"""Voxels with more than this share of chest wall in their neighbourhood are not measured."""
_BLOCK_MM = 2.0
_SURFACE_BINS = 24
_VOXELS_AT_ONCE = 2**20  # whose places are held: 48 bytes each, of a whole lung as much as ten maps
_MOST_PARENCHYMA_HU = -200.0
"""Above lies dense tissue: lung density threshold of the iodine perfusion letter."""


@dataclass(frozen=True, eq=False)
class Background:
    """Smooth density of the parenchyma on a coarse grid.

    Parameters
    ----------
    coarse_hu
        Block values, shape (k, j, i).
    steps
        Voxels per block along each axis.
    shape
        Shape of the image.
    noise_hu
        Standard deviation of the parenchyma about it.

    """

    coarse_hu: Float32
    steps: tuple[int, int, int]
    shape: tuple[int, int, int]
    noise_hu: float

    def at(self, index: NDArray[Any]) -> Float32:
        """Density at voxels given by flat index, linear between block centres."""
        out = np.empty(index.shape, np.float32)
        for start in range(0, len(index), _VOXELS_AT_ONCE):
            some = slice(start, start + _VOXELS_AT_ONCE)
            places = np.unravel_index(index[some], self.shape)
            coordinates = [
                (axis - (step - 1) / 2) / step
                for axis, step in zip(places, self.steps, strict=True)
            ]
            out[some] = ndimage.map_coordinates(
                self.coarse_hu, coordinates, order=1, mode="nearest"
            )
        return out

    def plane(self, number: int) -> Float32:
        """Density at every voxel of one plane, shape (J, I), linear between block centres."""
        values: NDArray[Any] = self.coarse_hu
        for axis, places in enumerate(([number], *map(range, self.shape[1:]))):
            values = _between(values, np.asarray(places), self.steps[axis], axis)
        return np.asarray(values[0], np.float32)

    def filled(self) -> Float32:
        """Block value at every voxel of the image."""
        array = self.coarse_hu
        for axis, (step, size) in enumerate(zip(self.steps, self.shape, strict=True)):
            array = np.repeat(array, step, axis=axis)
            array = array[(slice(None),) * axis + (slice(0, size),)]
        return np.ascontiguousarray(array)


def _between(
    blocks: NDArray[Any], voxels: NDArray[Any], step: int, axis: int
) -> NDArray[np.float64]:
    """Values at voxels along one axis, linear between the centres of blocks of so many voxels."""
    last = blocks.shape[axis] - 1
    place = np.clip((voxels - (step - 1) / 2) / step, 0, last)
    below = np.floor(place).astype(np.intp)
    share = (place - below).reshape([-1 if n == axis else 1 for n in range(blocks.ndim)])
    low, high = (np.take(blocks, np.minimum(below + n, last), axis) for n in (0, 1))
    return np.asarray((1 - share) * low + share * high)


def block_sums(array: NDArray[Any], steps: tuple[int, int, int]) -> Float32:
    """Sum over blocks of voxels; blocks at the end may be partial."""
    out = array
    for axis, step in enumerate(steps):
        size = -(-array.shape[axis] // step)
        shape = (*out.shape[:axis], size, *out.shape[axis + 1 :])
        total = np.zeros(shape, np.float32)
        for first in range(step):
            part = out[(slice(None),) * axis + (slice(first, None, step),)]
            total[(slice(None),) * axis + (slice(0, part.shape[axis]),)] += part
        out = total
    return np.asarray(out, dtype=np.float32)


def block_steps(spacing_kji_mm: Spacing, block_mm: float = _BLOCK_MM) -> tuple[int, int, int]:
    """Voxels per block of about the given size."""
    k, j, i = (max(1, round(block_mm / mm)) for mm in spacing_kji_mm)
    return k, j, i


def local_background(
    image_hu: Float32,
    parenchyma: Mask,
    spacing_kji_mm: Spacing,
    *,
    sigma_mm: float = BACKGROUND_SIGMA_MM,
) -> Background:
    """Average the parenchyma around every point, without outliers.

    Parameters
    ----------
    image_hu
        Image, float32, shape (K, J, I).
    parenchyma
        Voxels that count: lung without vessels, walls and surface.
    spacing_kji_mm
        Voxel size.
    sigma_mm
        Standard deviation of the Gaussian neighbourhood.

    """
    steps = block_steps(spacing_kji_mm)
    usable = parenchyma & (image_hu < _MOST_PARENCHYMA_HU)
    noise = math.inf
    for _ in range(2):
        coarse = _normalised(image_hu, usable, spacing_kji_mm, steps, sigma_mm)
        first = Background(coarse, steps, image_hu.shape, 0.0)
        residual = _residual_hu(image_hu, usable, first)
        if not residual.size:
            return first
        centre = float(np.median(residual))
        away = np.abs(residual - centre)
        noise = float(np.median(away)) / 0.6745
        usable[usable] = away <= OUTLIER_SDS * max(noise, 1.0)
    coarse = _normalised(image_hu, usable, spacing_kji_mm, steps, sigma_mm)
    return Background(coarse, steps, image_hu.shape, noise)


def _residual_hu(image_hu: Float32, usable: Mask, background: Background) -> Float32:
    """Take the background off the usable voxels, in their order."""
    return np.concatenate(
        [
            (image_hu[number] - background.plane(number))[chosen]
            for number, chosen in enumerate(usable)
        ]
    )


def _normalised(
    image: Float32,
    usable: Mask,
    spacing: Spacing,
    steps: tuple[int, int, int],
    sigma_mm: float,
) -> Float32:
    """Normalised convolution on blocks; from ever larger blocks where a neighbourhood is empty."""
    weight = block_sums(usable, steps)
    total = block_sums(np.where(usable, image, np.float32(0)), steps)
    mm = [size * n for size, n in zip(spacing, steps, strict=True)]
    return _from_blocks(weight, total, mm, sigma_mm, 0.02 * math.prod(steps))


def _from_blocks(
    weight: Float32, total: Float32, mm: list[float], sigma_mm: float, least: float
) -> Float32:
    if min(weight.shape) <= 4 or sigma_mm > 60:
        mean = total.sum(dtype=np.float64) / max(weight.sum(dtype=np.float64), 1e-9)
        wide = np.full(weight.shape, np.float32(mean), np.float32)
    else:
        four = (4, 4, 4)
        wide = _from_blocks(
            block_sums(weight, four),
            block_sums(total, four),
            [4 * size for size in mm],
            4 * sigma_mm,
            least,
        )
        for axis, size in enumerate(weight.shape):
            wide = np.repeat(wide, 4, axis=axis)
            wide = wide[(slice(None),) * axis + (slice(0, size),)]
    sigmas = [sigma_mm / size for size in mm]
    mass = ndimage.gaussian_filter(weight, sigmas, mode="constant", truncate=3.0)
    value = ndimage.gaussian_filter(total, sigmas, mode="constant", truncate=3.0)
    return np.where(mass > least, value / np.maximum(mass, np.float32(1e-6)), wide)


@dataclass(frozen=True, eq=False)
class Surface:
    """Blur of the surroundings into the lung.

    Parameters
    ----------
    share
        Share of outside in the neighbourhood of every voxel, float32; 0 deep in the lung.
    edges, excess_hu
        Density above the parenchyma as a function of that share.

    """

    share: Float32
    edges: NDArray[np.float64]
    excess_hu: NDArray[np.float64]

    def excess_at(self, index: NDArray[Any]) -> NDArray[np.float64]:
        """Density that the surroundings add at voxels given by flat index."""
        return np.asarray(np.interp(self.share.ravel()[index], self.edges, self.excess_hu))

    @property
    def measurable(self) -> Mask:
        """Voxels that are not mostly blur."""
        return np.asarray(self.share <= SURFACE_LIMIT)

    @property
    def deep(self) -> Mask:
        """Voxels that the surroundings do not reach."""
        return np.asarray(self.share < 2e-3)


def outside_share(lung: Mask, spacing_kji_mm: Spacing) -> Float32:
    """Share of the neighbourhood that lies outside the lung."""
    sigma = [max(SURFACE_SIGMA_MM, SURFACE_SIGMA_VOXELS * mm) for mm in spacing_kji_mm]
    return smooth_mm((~lung).astype(np.float32), sigma, spacing_kji_mm)


def surface_blur(
    image_hu: Float32, parenchyma: Mask, share: Float32, background: Background
) -> Surface:
    """Measure how far the chest wall shines into the lung: median excess by share of outside."""
    rim = np.flatnonzero(parenchyma & (share >= 2e-3) & (share <= 0.5))
    centres = np.geomspace(2e-3, 0.5, _SURFACE_BINS)
    excess = np.zeros(_SURFACE_BINS)
    if rim.size:
        residual = image_hu.ravel()[rim] - background.at(rim)
        number = np.searchsorted(np.sqrt(centres[1:] * centres[:-1]), share.ravel()[rim])
        order = np.argsort(number, kind="stable")
        bounds = np.searchsorted(number[order], np.arange(_SURFACE_BINS + 1))
        for n in range(_SURFACE_BINS):
            values = residual[order[bounds[n] : bounds[n + 1]]]
            if values.size >= 20:
                excess[n] = max(0.0, float(np.median(values)))
    return Surface(share, np.concatenate([[0.0], centres]), np.concatenate([[0.0], excess]))


def extended_beyond_lung(
    image_hu: Float32, lung: Mask, surface: Surface, background: Background, spacing: Spacing
) -> Float32:
    """Image in which the lung goes on beyond its surface: no cliff for the scale space.

    Near the surface the nearest lung continues, so that a fissure does not end there like a tube;
    farther out the parenchyma.
    """
    inner = lung & surface.measurable
    index = np.flatnonzero(inner & ~surface.deep)
    corrected = np.where(inner, image_hu, np.float32(0))
    corrected.ravel()[index] -= surface.excess_at(index).astype(np.float32)
    weight = smooth_mm(inner.astype(np.float32), 1.5, spacing)
    near = smooth_mm(corrected, 1.5, spacing)
    fill = background.filled()
    close = weight > 0.02
    np.divide(near, weight, out=fill, where=close)
    fill[inner] = corrected[inner]
    return fill
