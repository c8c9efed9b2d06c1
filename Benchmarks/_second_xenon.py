"""A second xenon MRI, of another chest and another physics than `lungperfusion.phantoms.xenon`.

It shares no code with that phantom: the chest is `Benchmarks._second_chest`, the motion a turn with
random pushes, lobes are followed analytically, the readout is filtered in k-space, and wedges
instead of balls take the transfer away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from Benchmarks import _second_chest as chest
from lungperfusion.terms import LOBES, LUNGS
from lungperfusion.volume import Geometry, Labelmap

Floats = NDArray[np.float64]
MATRIX, FIELD_MM = 112, 392.0
NAMES = tuple(str(lobe) for lobe in LOBES)
FIRST = 4
"""Label of the first of them in `Benchmarks._second_chest.lobe_of`, which speaks of LPS mm."""
RBC = dict(zip(NAMES, (0.0044, 0.0052, 0.0040, 0.0056, 0.0048), strict=True))
MEMBRANE = dict(zip(NAMES, (0.0105, 0.0092, 0.0110, 0.0085, 0.0098), strict=True))
WEDGES = (
    ((70.0, -30.0, -70.0), (0.9, -0.3, -0.3), 0.5),
    ((-60.0, -30.0, 20.0), (-0.9, -0.3, 0.3), 0.55),
)
"""Tip, direction and half angle in rad of the regions without transfer."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SecondXenon:
    """Maps on an axial grid with what is true of them."""

    geometry: Geometry
    mask: NDArray[np.bool_]
    ventilation: NDArray[np.float32]
    rbc_gas: NDArray[np.float32]
    membrane_gas: NDArray[np.float32]
    shares: dict[str, Floats]
    true_rbc: dict[str, float]
    true_membrane: dict[str, float]
    low: Floats
    """Share of each voxel without transfer."""


def grid() -> Geometry:
    step = FIELD_MM / MATRIX
    matrix = np.diag([-step, -step, step, 1.0])
    matrix[:3, 3] = -matrix[:3, :3] @ np.full(3, (MATRIX - 1) / 2)
    return Geometry((MATRIX,) * 3, matrix)


def ct_labels(geometry: Geometry) -> tuple[Labelmap, Labelmap]:
    """Lungs and lobes of the chest at the voxel centres of a CT."""
    x, y, z = chest.coordinates(geometry)
    inside = np.broadcast_to(chest.lung(x, y, z) < 0, geometry.shape)
    lobe = np.broadcast_to(chest.lobe_of(x, y, z), geometry.shape)
    array = np.where(inside, lobe, 0).astype(np.uint8)
    names = dict(enumerate(NAMES, start=FIRST))
    left = (array > 0) & (array < FIRST + 2)
    lungs = np.where(left, 1, np.where(array > 0, 2, 0)).astype(np.uint8)
    return Labelmap(lungs, geometry, dict(zip((1, 2), LUNGS, strict=True))), Labelmap(
        array, geometry, names
    )


def make_second_xenon(seed: int = 1, *, noise: float = 0.05, samples: int = 3) -> SecondXenon:
    rng = np.random.default_rng(seed)
    geometry = grid()
    pushes = rng.uniform((-110, -80, -140), (110, 70, 130), (9, 3))
    sizes = rng.normal(0, 4.0, (9, 3))
    turn = rng.normal(0, 0.03, 3)

    def to_ct(points: Floats) -> Floats:
        away = ((points[:, None] - pushes) ** 2).sum(axis=2)
        bend = np.exp(-away / (2 * 70.0**2)) @ sizes
        return (points + np.cross(turn, points)) * np.array([1.02, 1.05, 1.04]) + bend + (5, -8, 12)

    steps = (np.arange(samples) + 0.5) / samples - 0.5
    centres = geometry.ras_from_ijk(np.indices(geometry.shape).reshape(3, -1).T[:, ::-1])
    near = _lobe_at(to_ct(centres))[0] < 14.0
    points = centres[near]
    shares = {name: np.zeros(MATRIX**3) for name in NAMES}
    low = np.zeros(MATRIX**3)
    labels = range(FIRST, FIRST + len(NAMES))
    for a in steps:
        for b in steps:
            for c in steps:
                offset = geometry.ijk_to_ras[:3, :3] @ np.array([a, b, c])
                places = to_ct(points + offset)
                depth, lobe = _lobe_at(places)
                for label, name in zip(labels, NAMES, strict=True):
                    shares[name][near] += (depth < 0) & (lobe == label)
                low[near] += (depth < 0) & _wedge(places)
    count = samples**3
    shares = {name: (s / count).reshape(geometry.shape) for name, s in shares.items()}
    low = (low / count).reshape(geometry.shape)
    return _scanned(geometry, shares, low, noise, rng)


def _lobe_at(points: Floats) -> tuple[Floats, NDArray[np.uint8]]:
    x, y, z = (points * (-1.0, -1.0, 1.0)).T
    return np.asarray(chest.lung(x, y, z)), np.asarray(chest.lobe_of(x, y, z))


def _wedge(points: Floats) -> NDArray[np.bool_]:
    inside = np.zeros(len(points), np.bool_)
    for tip, direction, angle in WEDGES:
        away = points - np.array(tip)
        axis = np.array(direction) / np.linalg.norm(direction)
        inside |= away @ axis > np.cos(angle) * np.linalg.norm(away, axis=1)
    return inside


def _scanned(
    geometry: Geometry,
    shares: dict[str, Floats],
    low: Floats,
    noise: float,
    rng: np.random.Generator,
) -> SecondXenon:
    total = np.sum([*shares.values()], axis=0)
    mask = total >= 0.5
    gas = total * (1 + 0.15 * np.linspace(-1, 1, MATRIX)[:, None, None])
    rest = 1 - 0.75 * low / np.maximum(total, 1e-6)
    parts = [
        gas / np.maximum(total, 1e-6) * np.sum([shares[n] * table[n] for n in NAMES], axis=0) * more
        for table, more in ((RBC, rest), (MEMBRANE, 1.0))
    ]
    images = [_readout(image, mask, noise, rng) for image in (gas, *parts)]
    usable = mask & (images[0] > 0.2)
    ratios = [np.where(usable, image / np.maximum(images[0], 1e-3), 0) for image in images[1:]]
    truth = [np.divide(part, gas, out=np.zeros_like(part), where=gas > 0) for part in parts]
    means = [
        {n: float((t * shares[n])[mask].sum() / shares[n][mask].sum()) for n in NAMES}
        for t in truth
    ]
    return SecondXenon(
        geometry=geometry,
        mask=mask,
        ventilation=images[0].astype(np.float32),
        rbc_gas=ratios[0].astype(np.float32),
        membrane_gas=ratios[1].astype(np.float32),
        shares=shares,
        true_rbc=means[0],
        true_membrane=means[1],
        low=low,
    )


def _readout(
    image: Floats, mask: NDArray[np.bool_], noise: float, rng: np.random.Generator
) -> Floats:
    """Magnitude after a k-space filter and complex noise."""
    frequency = np.fft.fftfreq(MATRIX)
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(frequency, frequency, frequency)))
    window = np.where(radius < 0.5, np.cos(np.pi * radius / 1.4) ** 2, 0)
    seen = np.fft.ifftn(np.fft.fftn(image) * window)
    level = noise * float(image[mask].mean())
    grain = rng.normal(size=image.shape) + 1j * rng.normal(size=image.shape)
    return np.asarray((seen + level * grain).real)
