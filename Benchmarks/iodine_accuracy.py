"""Accuracy of iodine, IPv and defects on dual-energy phantoms, with default settings.

The phantoms are made with other spectra than the calibration of the solver and with correlated
noise of 20 and 16 HU per voxel, and analysed by the command itself: lungs segmented, size of the
patient measured, air offsets subtracted, large vessels and heart rim left out.  Lobes are those of
the truth.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from Benchmarks import Figure
from lungperfusion.__main__ import main as command
from lungperfusion.io import read_map, read_segmentation, write_volume
from lungperfusion.iodine.calibration import REFERENCE_HU_PER_MG_ML, spectral_pair
from lungperfusion.phantoms.breath import Breath
from lungperfusion.phantoms.chest import IODINE_HU_PER_MG_ML, ChestModel
from lungperfusion.phantoms.dual_energy import Change, DualEnergyPhantom, Wedge
from lungperfusion.phantoms.kinds import DUAL_ENERGY_KINDS, DualEnergyKind, default_geometry
from lungperfusion.phantoms.rendering import render
from lungperfusion.resampling import resample_labelmap, resample_volume
from lungperfusion.terms import LOBES, LUNGS

SPACING_MM = (1.5, 1.5, 1.5)
SUBTRACTION_SPACING_MM = (2.5, 2.5, 2.5)
SMALLEST_WEDGE_ML = 2.0
DRAWN_CHESTS = (1, 2, 3, 4, 5, 6)
"""Seeds of chests, each with `DRAWN_WEDGES` wedges at random places, of random size."""
DRAWN_WEDGES = 10
UNCALIBRATED_PERCENT = 15.0
"""Scale error to expect of a scanner that the calibration table does not describe."""
RATIOS = {("80", "140"): 1.935, ("100", "140Sn"): 2.28, ("80", "140Sn"): 2.97, ("90", "150Sn"): 3.2}
"""Iodine ratios of published and computed spectra, middle of the range for 20 to 30 cm of water."""


def analysed(
    phantom: DualEnergyPhantom, folder: Path, *options: str
) -> dict[tuple[str, str], float]:
    """Run the command on a phantom and return its values by region and measure."""
    for name, image in (("low", phantom.low), ("high", phantom.high)):
        write_volume(image, folder / f"{name}.nrrd")
    words = ["ipv", "--low", str(folder / "low.nrrd"), "--high", str(folder / "high.nrrd")]
    words += ["--kv", "80", "140Sn", "-o", str(folder / "out"), "--no-report", "--quiet"]
    if command([*words, *options]):
        raise RuntimeError("the analysis was refused")
    return values(folder)


def values(folder: Path) -> dict[tuple[str, str], float]:
    """Written values by region and measure."""
    with (folder / "out" / "measurements.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {(row["region"], row["measure"]): float(row["value"]) for row in rows}


def iodine(name: str, phantom: DualEnergyPhantom, folder: Path, limit: float) -> Iterator[Figure]:
    """Iodine and IPv of both lungs, with the lungs that the command finds."""
    found = analysed(phantom, folder)
    truth = phantom.concentration_mg_ml["lungs"]
    volume_l = phantom.truth.volumes_ml["lungs"] / 1000
    ipv = truth * REFERENCE_HU_PER_MG_ML * volume_l
    error = 100 * (found["lungs", "ipv"] / ipv - 1)
    yield Figure(name=f"{name}: IPv, error", value=error, unit="%", at_least=-limit, at_most=limit)
    yield Figure(
        name=f"{name}: iodine of the lungs, error",
        value=found["lungs", "iodine_concentration"] - truth,
        unit="mg/mL",
        at_least=-0.15 if limit < UNCALIBRATED_PERCENT else -np.inf,
        at_most=0.15 if limit < UNCALIBRATED_PERCENT else np.inf,
    )
    yield Figure(
        name=f"{name}: defect share", value=found["lungs", "defect_share"], unit="%",
        at_most=1.0 if name == "healthy" else np.inf,
    )  # fmt: skip
    yield Figure(
        name=f"{name}: false defects, share of the lungs",
        value=100 * false_share(phantom, folder),
        unit="%",
        at_most=1.0,
    )


def false_share(phantom: DualEnergyPhantom, folder: Path) -> float:
    """Share of the measured lung that is found to be a defect and is none."""
    out = read_segmentation(folder / "out" / "defects.seg.nrrd")
    excluded = read_segmentation(folder / "out" / "exclusions.seg.nrrd").array > 0
    lungs = read_segmentation(folder / "out" / "lungs.seg.nrrd").mask(*LUNGS)
    true = resample_labelmap(phantom.defects, out.geometry).array > 0
    return float(np.count_nonzero((out.array > 0) & ~true) / np.count_nonzero(lungs & ~excluded))


def lobes(name: str, phantom: DualEnergyPhantom, folder: Path) -> Iterator[Figure]:
    """Iodine of the worst lobe: the map that was written, outside what was left out."""
    written = read_map(folder / "out" / "iodine.nrrd", unit="mg/mL").volume
    excluded = read_segmentation(folder / "out" / "exclusions.seg.nrrd").array > 0
    lungs = read_segmentation(folder / "out" / "lungs.seg.nrrd").mask(*LUNGS)
    true_lobes = resample_labelmap(phantom.truth.lobes, written.geometry)
    errors = {
        lobe: float(written.array[true_lobes.mask(lobe) & lungs & ~excluded].mean(dtype=np.float64))
        - phantom.concentration_mg_ml[lobe]
        for lobe in LOBES
    }
    worst = max(errors, key=lambda lobe: abs(errors[lobe]))
    yield Figure(
        name=f"{name}: iodine of the worst lobe ({worst.replace('_', ' ')}), error",
        value=errors[worst],
        unit="mg/mL",
        at_least=-0.15,
        at_most=0.15,
    )


def wedges(phantom: DualEnergyPhantom, folder: Path) -> Iterator[tuple[float, float]]:
    """Volume (mL) and Dice of every wedge, against its voxels in perfused lung."""
    out = read_segmentation(folder / "out" / "defects.seg.nrrd")
    found = resample_labelmap(out, phantom.low.geometry).array > 0
    labels, count = ndimage.label(phantom.defects.mask("wedge"))
    islands, _ = ndimage.label(found)
    for number in range(1, count + 1):
        true = (labels == number) & phantom.perfused
        volume_ml = true.sum() * phantom.low.geometry.voxel_volume_ml
        if volume_ml < SMALLEST_WEDGE_ML:
            continue
        touched = np.unique(islands[true])
        own = np.isin(islands, touched[touched > 0])
        yield volume_ml, 2 * np.count_nonzero(own & true) / (own.sum() + true.sum())


def drawn_wedges(model: ChestModel, seed: int) -> tuple[Change, ...]:
    """Wedges with their base at the pleura, 18 to 45 mm deep, no two within 60 mm."""
    rng = np.random.default_rng([seed, 77])
    drawn: list[Change] = []
    middles: list[np.ndarray] = []
    while len(drawn) < DRAWN_WEDGES:
        side = rng.choice([-1.0, 1.0])
        start = np.array([side * rng.uniform(55, 85), rng.uniform(-60, 20), rng.uniform(-90, 50)])
        outwards = np.array(
            [side * rng.uniform(0.3, 1), rng.uniform(-1, 1), rng.uniform(-0.6, 0.6)]
        )
        outwards /= np.linalg.norm(outwards)
        depth_mm, half_angle = rng.uniform(18, 45), rng.uniform(20, 35)
        ray = start + np.arange(0, 120, 0.5)[:, None] * outwards
        beyond = model.lung(side, *(ray[:, n].reshape(-1, 1, 1) for n in range(3))).ravel() > 0
        if beyond[0] or not beyond.any():
            continue
        pleura = ray[int(np.argmax(beyond))]
        middle = pleura - outwards * depth_mm / 2
        if all(np.linalg.norm(middle - other) >= 60 for other in middles):
            middles.append(middle)
            apex = pleura - outwards * depth_mm
            drawn.append(Wedge(tuple(apex.tolist()), tuple(outwards.tolist()), half_angle))
    return tuple(drawn)


def many_wedges() -> Iterator[Figure]:
    """Dice of wedges of all sizes in several chests."""
    found: list[tuple[float, float]] = []
    for seed in DRAWN_CHESTS:
        healthy = DUAL_ENERGY_KINDS["dect"]
        kind = replace(healthy, changes=drawn_wedges(healthy.model(seed), seed))
        phantom = kind(SPACING_MM, seed=seed)
        with tempfile.TemporaryDirectory() as place:
            analysed(phantom, Path(place))
            found += wedges(phantom, Path(place))
    name = f"{len(found)} wedges of {min(found)[0]:.1f} to {max(found)[0]:.1f} mL: Dice"
    dice = [value for _, value in found]
    yield Figure(name=f"{name}, worst", value=min(dice), at_least=0.85)
    yield Figure(name=f"{name}, mean", value=float(np.mean(dice)))


def subtraction() -> Iterator[Figure]:
    """Subtraction of a native CT after breathing out by 6 %, with the command's own outlines."""
    geometry = default_geometry(SUBTRACTION_SPACING_MM)
    enhanced = ChestModel(blood_iodine_mg_ml=10.0, parenchyma_iodine_mg_ml=1.3)
    breathed = ChestModel(breath=Breath(rise_mm=10.0))
    contrast = render(enhanced, geometry, seed=1, noise_sd_hu=12.0)
    native = render(breathed, geometry, seed=2, noise_sd_hu=12.0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_volume(contrast.ct, folder / "contrast.nrrd")
        write_volume(native.ct, folder / "native.nrrd")
        words = ["ipv", "--contrast", str(folder / "contrast.nrrd")]
        words += ["--native", str(folder / "native.nrrd"), "-o", str(folder / "out")]
        words += ["--sensitivity", str(IODINE_HU_PER_MG_ML), "--no-report", "--quiet"]
        if command(words):
            raise RuntimeError("the subtraction was refused")
        found = values(folder)
        counted = read_map(folder / "out" / "iodine.nrrd", unit="mg/mL").volume.geometry
        true = resample_volume(contrast.iodine, counted).array
        lungs = read_segmentation(folder / "out" / "lungs.seg.nrrd").mask(*LUNGS)
        excluded = read_segmentation(folder / "out" / "exclusions.seg.nrrd").array > 0
    expected = float(true[lungs & ~excluded].mean(dtype=np.float64))
    yield Figure(
        name="subtraction: iodine of the lungs, error",
        value=found["lungs", "iodine_concentration"] - expected,
        unit="mg/mL",
        at_least=-0.15,
        at_most=0.15,
    )
    yield Figure(
        name="subtraction: false defects, share of what is counted",
        value=found["lungs", "defect_share"],
        unit="%",
        at_most=1.0,
    )


def with_tube(kind: DualEnergyKind) -> DualEnergyKind:
    """Scan with the strongly filtered tube, which the calibration table does not describe."""
    return replace(kind, scan=replace(kind.scan, tube="filtered"))


def main() -> list[Figure]:
    figures = []
    for (low, high), expected in RATIOS.items():
        ratio = spectral_pair(low, high).ratio
        figures.append(
            Figure(
                name=f"iodine ratio {low}/{high} kV",
                value=ratio,
                at_least=0.95 * expected,
                at_most=1.05 * expected,
            )
        )
    for name, kind, limit in (
        ("healthy", DUAL_ENERGY_KINDS["dect"], 2.0),
        ("defects", DUAL_ENERGY_KINDS["dect_defects"], 2.0),
        ("artefacts", DUAL_ENERGY_KINDS["dect_artefacts"], 4.0),
        ("other scanner, table", with_tube(DUAL_ENERGY_KINDS["dect"]), UNCALIBRATED_PERCENT),
    ):
        phantom = kind(SPACING_MM)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            figures += iodine(name, phantom, folder, limit)
            if name == "defects":
                figures += [
                    Figure(name=f"wedge of {volume_ml:.1f} mL: Dice", value=dice, at_least=0.85)
                    for volume_ml, dice in wedges(phantom, folder)
                ]
            if name in ("healthy", "defects"):
                figures += lobes(name, phantom, folder)
    figures += many_wedges()
    figures += subtraction()
    return figures
