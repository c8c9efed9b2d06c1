"""V/Q with measured perfusion: classes, shares and misplacement on both breathing chests.

The second chest (`Benchmarks._second_breath`) and its images below share no code with the project's
phantom and its images; no setting of the measured maps was chosen on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from Benchmarks import Figure
from Benchmarks._second_breath import SecondBreath, make_second_breath
from lungperfusion.phantoms.breathing import make_breathing_phantom
from lungperfusion.phantoms.measured import (
    counts_fwhm_mm,
    counts_image,
    iodine_image,
    true_perfusion,
)
from lungperfusion.results.vq_tables import class_kappa, confusion_table
from lungperfusion.terms import LOBES, LUNGS
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume
from lungperfusion.vq.classes import classify
from lungperfusion.vq.measured import MeasuredMap, PlacedMap, State, place_map, with_blur
from lungperfusion.vq.pair import BreathPair, pair_breaths
from lungperfusion.vq.registration import Registration, register_lungs
from lungperfusion.vq.ventilation import SMOOTHING_MM, map_ventilation

SPACING_MM = 2.5
STATES: tuple[State, ...] = ("expiration", "inspiration")
KAPPA = {"iodine": 0.85, "spect": 0.70}
SHARE_POINTS = 1.0
SHIFT_MM = 5.0

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """A chest with its truth and its measured images."""

    name: str
    pair: BreathPair
    registration: Registration
    lungs: dict[State, Labelmap]
    cts: dict[State, Volume]
    lobes: Labelmap
    ventilation: Array
    flow: Array
    inside: Mask
    images: dict[tuple[Literal["iodine", "spect"], State], Volume]
    fwhm_mm: float
    """Of the counts."""

    def place(self, kind: Literal["iodine", "spect"], image: Volume) -> PlacedMap:
        """Bring an image to the pair."""
        width = self.fwhm_mm if kind == "spect" else None
        given = MeasuredMap(image=image, kind=kind, fwhm_mm=width)
        return place_map(given, self.pair, self.registration, self.lungs, self.cts)


def main() -> list[Figure]:
    """Place every image of both chests, and move each by 5 mm."""
    figures = []
    for case in (first_chest(), second_chest()):
        for kind in ("iodine", "spect"):
            for state in STATES:
                figures += _figures(case, kind, state)
    return figures


def _figures(case: Case, kind: Literal["iodine", "spect"], state: State) -> list[Figure]:
    name = f"{case.name}, {kind}, {state}"
    image = case.images[kind, state]
    placed = case.place(kind, image)
    grid = case.pair.geometry
    truth = classify(
        np.where(case.inside, case.ventilation, np.nan),
        np.where(case.inside, case.flow, np.nan),
        case.inside,
        grid,
    )
    v = with_blur(case.pair, map_ventilation(case.pair), SMOOTHING_MM, placed.sigma_mm)
    found = classify(v, placed.values, case.pair.mask, grid)
    total, seen = case.flow[case.inside].sum(), np.nansum(placed.values)
    off = max(
        abs(
            100
            * float(np.nansum(placed.values[m]) / seen - case.flow[m & case.inside].sum() / total)
        )
        for m in map(case.lobes.mask, LOBES)
    )
    told = []
    for step in np.vstack([np.eye(3), -np.eye(3)]) * SHIFT_MM:
        gate = case.place(kind, _moved(image, step)).gates[0]
        told.append(gate.verdict != "pass")
    kappa = class_kappa(confusion_table(truth, found))
    rest = placed.gates[0].value
    return [
        Figure(name=f"kappa, {name}", value=kappa, unit="1", at_least=KAPPA[kind]),
        Figure(name=f"lobar share, worst, {name}", value=off, unit="points", at_most=SHARE_POINTS),
        Figure(name=f"5 mm told, {name}", value=sum(told), unit="of 6", at_least=6),
        Figure(name=f"said at rest, {name}", value=rest or 0.0, unit="mm", at_most=3.5),
        Figure(
            name=f"breath right, {name}", value=float(placed.breath == state), unit="1", at_least=1
        ),
    ]


def _moved(image: Volume, ras_mm: NDArray[np.float64]) -> Volume:
    matrix = image.geometry.ijk_to_ras.copy()
    matrix[:3, 3] += ras_mm
    return Volume(image.array, Geometry(image.geometry.shape, matrix), image.unit, image.valid)


def first_chest() -> Case:
    """Make the project's phantom with its images."""
    made = make_breathing_phantom(spacing_mm=SPACING_MM)
    flow = true_perfusion(made)
    images: dict[tuple[Literal["iodine", "spect"], State], Volume] = {}
    for state in STATES:
        images["iodine", state] = iodine_image(made, flow, state)
        images["spect", state] = counts_image(made, flow, state)
    return _case("phantom", made, flow.array, made.ventilation.array, images, counts_fwhm_mm())


def second_chest() -> Case:
    """Make the second chest; its images are drawn below."""
    made = make_second_breath(spacing_mm=SPACING_MM)
    inside = made.expiration_lungs.mask(*LUNGS)
    flow = np.where(inside, _second_flow(made, inside), 0).astype(np.float32)
    rng = np.random.default_rng(77)
    images: dict[tuple[Literal["iodine", "spect"], State], Volume] = {}
    for state in STATES:
        amount = flow if state == "expiration" else _poured(made, flow, inside)
        lungs = (made.expiration_lungs if state == "expiration" else made.inspiration_lungs).mask(
            *LUNGS
        )
        images["iodine", state] = _second_iodine(amount, lungs, made.expiration.geometry, rng)
        images["spect", state] = _second_counts(amount, made.expiration.geometry, rng)
    return _case("second chest", made, flow, made.ventilation, images, 13.0)


def _case(name, made, flow, ventilation, images, fwhm_mm) -> Case:  # type: ignore[no-untyped-def]
    registration = register_lungs(
        made.expiration, made.inspiration, made.expiration_lungs, made.inspiration_lungs
    )
    pair = pair_breaths(
        made.expiration,
        made.inspiration,
        registration,
        made.expiration_lungs,
        made.inspiration_lungs,
        lobes=(made.expiration_lobes, made.inspiration_lobes),
    )
    return Case(
        name=name,
        pair=pair,
        registration=registration,
        lungs={"expiration": made.expiration_lungs, "inspiration": made.inspiration_lungs},
        cts={"expiration": made.expiration, "inspiration": made.inspiration},
        lobes=made.expiration_lobes,
        ventilation=ventilation,
        flow=flow,
        inside=made.expiration_lungs.mask(*LUNGS),
        images=images,
        fwhm_mm=fwhm_mm,
    )


# ------------------------------------------------------------------ images of the second chest


def _second_flow(made: SecondBreath, inside: Mask) -> Array:
    """Flow with cones towards the pleura and a lobe at a third, none of it in the density."""
    grid = made.expiration.geometry
    r, a, s = (grid.coordinate_mm(axis) for axis in "RAS")
    flow = 1 - 0.2 * a / 90 - 0.12 * s / 120 + 0.05 * np.sin(r / 17) * np.cos(s / 23)
    for x, y, z, angle in ((95.0, -35.0, 25.0, 0.36), (-95.0, 30.0, -35.0, 0.40)):
        tip = np.array([0.25 * x, 0.0, 0.3 * z])
        axis = np.array([x, y, z]) - tip
        axis /= np.linalg.norm(axis)
        away = [r - tip[0], a - tip[1], s - tip[2]]
        along = sum(d * n for d, n in zip(away, axis, strict=True))
        length = np.sqrt(sum(d**2 for d in away)) + 1e-6
        inner = np.arccos(np.clip(along / length, -1, 1)) < angle
        flow = np.where(inner & (along > 18) & (np.sign(r) == np.sign(x)), 0.18 * flow, flow)
    lobe = made.expiration_lobes.mask(LOBES[3])
    return np.where(lobe, 0.35 * flow, flow).astype(np.float32)


def _poured(made: SecondBreath, flow: Array, inside: Mask) -> Array:
    """Flow of every expiratory voxel poured into the inspiratory voxels around its new place."""
    grid = made.expiration.geometry
    k, j, i = np.nonzero(inside)
    fine = np.random.default_rng(5)
    out = np.zeros(grid.shape)
    for _ in range(4):  # points spread over each voxel leave no gaps where the lung swells
        within = fine.uniform(-0.5, 0.5, (len(k), 3))
        place = grid.ras_from_ijk(np.stack([i, j, k], axis=1) + within)
        there = grid.ijk_from_ras(place + made.displacement_ras_mm[k, j, i])
        low = np.floor(there).astype(int)
        part = there - low
        for corner in np.ndindex(2, 2, 2):
            at = low + corner
            share = np.prod(np.where(np.array(corner) == 1, part, 1 - part), axis=1)
            good = (at >= 0).all(axis=1) & (at < np.array(grid.shape[::-1])).all(axis=1)
            x, y, z = at[good].T
            np.add.at(out, (z, y, x), (share * flow[k, j, i])[good] / 4)
    return out.astype(np.float32)


def _second_iodine(amount: Array, lungs: Mask, grid: Geometry, rng: np.random.Generator) -> Volume:
    """Iodine with the white noise of thick, filtered slices."""
    smooth = ndimage.gaussian_filter(amount, [1.5 / s for s in grid.spacing_kji_mm])
    noise = ndimage.uniform_filter(rng.standard_normal(grid.shape), 2)
    noise *= 0.45 / noise.std()
    return Volume((1.3 * smooth + noise).astype(np.float32), grid, "mg/mL", lungs)


def _second_counts(amount: Array, grid: Geometry, rng: np.random.Generator) -> Volume:
    """Count in blocks of voxels, blurred in the frequency domain, 13 mm wide."""
    spectrum = np.fft.rfftn(amount)
    for axis, (size, step) in enumerate(zip(grid.shape, grid.spacing_kji_mm, strict=True)):
        tones = np.fft.rfftfreq(size, step) if axis == 2 else np.fft.fftfreq(size, step)
        gain = np.exp(-2 * (np.pi * (13.0 / 2.355) * tones) ** 2)
        spectrum *= gain.reshape([-1 if n == axis else 1 for n in range(3)])
    blurred = np.maximum(np.fft.irfftn(spectrum, grid.shape), 0)
    cut = [size - size % 2 for size in grid.shape]
    blocks = blurred[: cut[0], : cut[1], : cut[2]].reshape(
        cut[0] // 2, 2, cut[1] // 2, 2, cut[2] // 2, 2
    )
    mean = blocks.mean(axis=(1, 3, 5))
    counts = rng.poisson(mean * 90) / 90
    matrix = grid.ijk_to_ras @ np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = grid.ras_from_ijk((0.5, 0.5, 0.5))
    return Volume(counts.astype(np.float32), Geometry(mean.shape, matrix), "1")
