"""Xenon MRI of a phantom chest: ratio maps, complex images and what is true of them.

The MRI has a breath of its own: a tenth less volume and a smooth motion of some millimetres.
Lobes and deficits are prescribed in the CT and seen through that motion, so that every voxel of
the MRI holds them to the share that lies in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.phantoms.chest import Ball
from lungperfusion.terms import LOBES
from lungperfusion.terms.xenon import T2STAR_MEMBRANE_3T_MS, T2STAR_RBC_3T_MS
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume
from lungperfusion.vq.displacement import voxel_positions
from lungperfusion.xenon.orienting import CORONAL, grid_of_field
from lungperfusion.xenon.ratios import decay_factor, flip_factor

FIELD_MM = 400.0
MATRIX = 128
"""Voxels of 3.125 mm, as most centres have."""

GAS_FLIP_DEGREES, DISSOLVED_FLIP_DEGREES, ECHO_TIME_MS = 0.5, 20.0, 0.47

RBC_BY_LOBE: Mapping[str, float] = MappingProxyType(
    dict(zip(LOBES, (0.0050, 0.0042, 0.0054, 0.0047, 0.0038), strict=True))
)
MEMBRANE_BY_LOBE: Mapping[str, float] = MappingProxyType(
    dict(zip(LOBES, (0.0095, 0.0102, 0.0088, 0.0100, 0.0108), strict=True))
)
GAS_BY_LOBE: Mapping[str, float] = MappingProxyType(
    dict(zip(LOBES, (1.0, 0.92, 1.05, 0.88, 0.97), strict=True))
)

SUBPLEURAL = (
    Ball((112.0, -45.0, -60.0), (34.0, 40.0, 42.0)),
    Ball((-105.0, -20.0, 10.0), (30.0, 36.0, 36.0)),
)
"""Red cells take up little here, and CT shows nothing."""


@dataclass(frozen=True, kw_only=True)
class XenonRecipe:
    """How the MRI is made."""

    matrix: int = MATRIX
    noise: float = 0.05
    """Standard deviation of the noise over the mean signal of each compartment."""
    volume_ratio: float = 0.9
    motion_mm: float = 8.0
    field_rad: float = 0.5
    """Amplitude of the smooth phase of the magnet's field."""
    blur_voxels: float = 0.4
    """Standard deviation of the point spread."""
    deficits: tuple[Ball, ...] = SUBPLEURAL
    deficit_share: float = 0.3
    """RBC:gas in a deficit over that of its lobe."""
    orientation: str = CORONAL
    samples: int = 3
    """Samples along each axis of a voxel."""


DEFAULT_RECIPE = XenonRecipe()


@dataclass(frozen=True, eq=False, kw_only=True)
class XenonPhantom:
    """A xenon MRI and its answers, arrays of shape (K, J, I)."""

    geometry: Geometry
    mask: Mask
    gas: NDArray[np.complex64]
    dissolved: NDArray[np.complex64]
    rbc_gas: NDArray[np.float32]
    """Ratio map with noise; NaN without gas."""
    membrane_gas: NDArray[np.float32]
    ventilation: NDArray[np.float32]
    spectrum: float
    """RBC:membrane of the signals of the whole lung, as a spectrum would give it."""
    shares: Mapping[str, NDArray[np.float64]]
    """Share of each lobe in every voxel."""
    true_rbc: Mapping[str, float]
    """Mean RBC:gas of each lobe, weighted with its share."""
    true_membrane: Mapping[str, float]
    deficit_share: NDArray[np.float32]
    """Share of every voxel that lies in a deficit."""

    @property
    def maps(self) -> dict[str, Volume]:
        """Maps as a pipeline writes them, 0 where there is no gas, by the options of ``xenon``."""
        arrays = {
            "rbc_gas": self.rbc_gas,
            "membrane_gas": self.membrane_gas,
            "ventilation": self.ventilation,
        }
        return {
            name: Volume(np.nan_to_num(values), self.geometry, "1")
            for name, values in arrays.items()
        }


def make_xenon(
    lobes: Labelmap, recipe: XenonRecipe = DEFAULT_RECIPE, *, seed: int = 1
) -> XenonPhantom:
    """Make the xenon MRI of a chest.

    Parameters
    ----------
    lobes
        Lobes of its CT.
    recipe
        Size, noise and motion.
    seed
        Of motion and noise; same seed, same bytes.

    """
    rng = np.random.default_rng(seed)
    field_mm = (FIELD_MM,) * 3
    centre = voxel_positions(lobes.geometry, lobes.mask(*LOBES)).mean(axis=0)
    grid = grid_of_field((recipe.matrix,) * 3, field_mm, recipe.orientation)
    moved = _motion(rng, recipe, centre)
    shares, deficit = _seen(lobes, grid, moved, recipe)
    inside = np.sum([*shares.values()], axis=0)
    mask = inside >= 0.5
    scale = np.maximum(inside, 1e-6)
    low = 1 - (1 - recipe.deficit_share) * deficit / scale
    gas = np.sum([shares[n] * GAS_BY_LOBE[n] for n in shares], axis=0)
    rbc = low * np.sum([shares[n] * GAS_BY_LOBE[n] * RBC_BY_LOBE[n] for n in shares], axis=0)
    membrane = np.sum([shares[n] * GAS_BY_LOBE[n] * MEMBRANE_BY_LOBE[n] for n in shares], axis=0)
    flip = flip_factor(GAS_FLIP_DEGREES, DISSOLVED_FLIP_DEGREES)
    rbc_factor, membrane_factor = (
        flip * decay_factor(ECHO_TIME_MS, t2) for t2 in (T2STAR_RBC_3T_MS, T2STAR_MEMBRANE_3T_MS)
    )
    phase = _field(rng, grid, recipe.field_rad)
    gas_image = _imaged(gas, recipe, rng, mask) * np.exp(1j * phase)
    parts = [
        _imaged(signal / factor, recipe, rng, mask)
        for signal, factor in ((rbc, rbc_factor), (membrane, membrane_factor))
    ]
    turned = np.exp(1j * (phase + 0.7))
    dissolved = (parts[1].real + 1j * parts[0].real) * turned
    ratio = np.abs(gas_image)
    usable = mask & (ratio > 0.2)
    maps = [
        np.where(usable, part.real * factor / np.maximum(ratio, 1e-3), np.nan).astype(np.float32)
        for part, factor in zip(parts, (rbc_factor, membrane_factor), strict=True)
    ]
    return XenonPhantom(
        geometry=grid,
        mask=mask,
        gas=gas_image.astype(np.complex64),
        dissolved=dissolved.astype(np.complex64),
        rbc_gas=maps[0],
        membrane_gas=maps[1],
        ventilation=ratio.astype(np.float32),
        spectrum=float(parts[0].real[mask].sum() / parts[1].real[mask].sum()),
        shares=MappingProxyType(shares),
        true_rbc=_means(rbc, gas, shares, mask),
        true_membrane=_means(membrane, gas, shares, mask),
        deficit_share=deficit.astype(np.float32),
    )


def _motion(
    rng: np.random.Generator, recipe: XenonRecipe, centre: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Smooth waves with a root mean square of the wanted motion, and the centre of the CT."""
    waves = rng.normal(size=(4, 3)) / 75.0
    sizes = rng.normal(size=(4, 3))
    sizes *= recipe.motion_mm / max(float(np.sqrt((sizes**2).sum() / 2)), 1e-9)
    return waves, sizes, rng.uniform(0, 2 * np.pi, 4), centre


def _seen(
    lobes: Labelmap,
    grid: Geometry,
    motion: tuple[NDArray[np.float64], ...],
    recipe: XenonRecipe,
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Share of each lobe and of the deficits in every voxel of the MRI."""
    names = {label: name for label, name in lobes.names.items() if name in LOBES}
    labels, _ = _labels_at(voxel_positions(grid), lobes, motion, recipe)
    near = ndimage.binary_dilation(labels.reshape(grid.shape) > 0, iterations=2)
    positions = voxel_positions(grid, near)
    shares = {name: np.zeros(grid.shape) for name in names.values()}
    deficit = np.zeros(grid.shape)
    steps = (np.arange(recipe.samples) + 0.5) / recipe.samples - 0.5
    weight = 1 / recipe.samples**3
    for offset in itertools.product(steps, steps, steps):
        moved = positions + grid.ijk_to_ras[:3, :3] @ np.array(offset)
        labels, places = _labels_at(moved, lobes, motion, recipe)
        for value, name in names.items():
            shares[name][near] += weight * (labels == value)
        within = _within(places, recipe.deficits) & np.isin(labels, list(names))
        deficit[near] += weight * within
    return shares, deficit


def _labels_at(
    points: NDArray[np.float64],
    lobes: Labelmap,
    motion: tuple[NDArray[np.float64], ...],
    recipe: XenonRecipe,
) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.float64]]:
    """Lobe of the CT that points of the MRI show, and where in the CT they lie."""
    waves, sizes, phases, centre = motion
    stretch = recipe.volume_ratio ** (-1 / 3)
    places = centre + points * stretch + np.sin(points @ waves.T + phases) @ sizes
    index = np.rint(lobes.geometry.ijk_from_ras(places)).astype(int)[:, ::-1]
    inside = ((index >= 0) & (index < lobes.geometry.shape)).all(axis=1)
    labels = np.zeros(len(points), lobes.array.dtype)
    labels[inside] = lobes.array[tuple(index[inside].T)]
    return labels, places


def _within(points: NDArray[np.float64], balls: tuple[Ball, ...]) -> Mask:
    inside = np.zeros(len(points), np.bool_)
    for ball in balls:
        away = (points - np.array(ball.centre)) / np.array(ball.radii)
        inside |= (away**2).sum(axis=1) <= 1
    return inside


def _field(rng: np.random.Generator, grid: Geometry, amplitude: float) -> NDArray[np.float64]:
    """Smooth phase of the magnet's field."""
    rough = rng.normal(size=[max(2, n // 16) for n in grid.shape])
    smooth = ndimage.zoom(rough, np.array(grid.shape) / rough.shape, order=3)
    return np.asarray(amplitude * smooth / max(float(np.abs(smooth).max()), 1e-9))


def _imaged(
    signal: NDArray[np.float64], recipe: XenonRecipe, rng: np.random.Generator, mask: Mask
) -> NDArray[np.complex128]:
    """Signal with the blur and the noise of an image, in phase."""
    blurred = ndimage.gaussian_filter(signal, recipe.blur_voxels) if recipe.blur_voxels else signal
    level = recipe.noise * float(signal[mask].mean())
    return np.asarray(blurred + level * rng.normal(size=signal.shape), np.complex128)


def _means(
    part: NDArray[np.float64],
    gas: NDArray[np.float64],
    shares: Mapping[str, NDArray[np.float64]],
    mask: Mask,
) -> Mapping[str, float]:
    """Mean ratio of each lobe over its voxels, as a map without noise would show it."""
    ratio = np.divide(part, gas, out=np.zeros_like(part), where=gas > 0)
    out = {
        name: float((ratio * share)[mask].sum() / share[mask].sum())
        for name, share in shares.items()
    }
    return MappingProxyType(out)
