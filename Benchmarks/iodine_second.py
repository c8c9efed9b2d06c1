"""Iodine and defects in the second chest, on which no setting of the analysis was chosen but two.

Outlines, tree, texture, physics, noise and streaks are those of `_second_iodine`; lungs and lobes
are those of its truth.  The level of perfused lung and the direction of streaks were worked out on
this chest and on the project's own; everything else was set before it was there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from Benchmarks import Figure
from Benchmarks._second_chest import SecondChest, build
from Benchmarks._second_iodine import SENSITIVITY, WEDGES, Contrast, SecondPair, scan_pair
from lungperfusion.analysis.image_pair import separate_pair
from lungperfusion.analysis.iodine_measure import (
    DEFAULT_OPTIONS,
    Given,
    IodineAnalysis,
    exclude,
    measure_iodine,
)
from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.iodine.calibration import SpectralPair, spectral_pair
from lungperfusion.morphology import dilated
from lungperfusion.quality import Gate
from lungperfusion.regions import RegionSet

SPACING_MM = (2.0, 2.0, 2.0)
PAIR = ("80", "140Sn")
LOSSES = {
    "right middle lobe": ("right_middle_lobe",),
    "right upper lobe": ("right_upper_lobe",),
    "left lower lobe": ("left_lower_lobe",),
    "both lower lobes": ("left_lower_lobe", "right_lower_lobe"),
    "left lung": ("left_lung",),
    "right lung": ("right_lung",),
}
REMAINING = 0.15
"""Share of its iodine that a lost lobe or lung keeps."""
STREAKS = Contrast(cava=60.0, starvation=0.15, pulsation_mm=2.0)


@dataclass(frozen=True, eq=False)
class Found:
    """What an analysis made of a pair."""

    pair: SecondPair
    analysis: IodineAnalysis
    gates: tuple[Gate, ...]

    @property
    def found_share(self) -> float:
        """Share of the measured lung without perfusion that is a defect."""
        lost = self.pair.lost & self.analysis.measurable
        return float(self.analysis.defects.mask[lost].mean())

    @property
    def false_share(self) -> float:
        """Share of the measured perfused lung, 4 mm off what is lost, that is called a defect."""
        spacing = self.pair.low.geometry.spacing_kji_mm
        healthy = self.analysis.measurable & ~dilated(self.pair.lost, 4.0, spacing)
        return float(self.analysis.defects.mask[healthy].mean())

    @property
    def iodine_error(self) -> float:
        """Relative error of the mean iodine of perfused lung that was measured."""
        here = self.analysis.measurable & self.pair.perfused
        means = (
            array[here].mean(dtype=np.float64)
            for array in (self.analysis.iodine.concentration.array, self.pair.iodine)
        )
        measured, true = means
        return float(measured / true - 1)


def calibrated(voltages: tuple[str, str] = PAIR) -> SpectralPair:
    """Calibration of the second chest's scanner, as a user gives it with ``--sensitivity``."""
    table = spectral_pair(*voltages)
    low, high = (
        replace(beam, iodine_hu_per_mg_ml=SENSITIVITY[voltage])
        for beam, voltage in zip((table.low, table.high), voltages, strict=True)
    )
    return replace(table, low=low, high=high)


def analysed(
    chest: SecondChest,
    contrast: Contrast,
    *,
    voltages: tuple[str, str] = PAIR,
    calibration: SpectralPair | None = None,
    with_lobes: bool = True,
) -> Found:
    """Scan the chest and measure its iodine with default settings."""
    pair = scan_pair(chest, contrast, voltages=voltages)
    calibration = calibration or calibrated(voltages)
    made, gates, _ = separate_pair(pair.low, pair.high, pair.lungs, calibration, voltages=voltages)
    parts = (pair.lungs, pair.lobes) if with_lobes else (pair.lungs,)
    regions = FoundRegions(lungs=pair.lungs, regions=RegionSet(parts), gates=(), warnings=())
    mean = (pair.low.array.astype(np.float32) + pair.high.array) / 2
    exclusion = exclude(
        pair.low.with_array(mean), regions, DEFAULT_OPTIONS, calibration.mixed_hu_per_mg_ml
    )
    assert made.virtual_native is not None
    analysis = measure_iodine(made, made.virtual_native, regions, given=Given(exclusion=exclusion))
    return Found(pair, analysis, (*gates, *analysis.gates))


def wedge_dice(found: Found) -> list[float]:
    """Dice of every wedge against its measured voxels."""
    true, count = ndimage.label(found.pair.lost & found.analysis.measurable)
    islands, _ = ndimage.label(found.analysis.defects.mask)
    dice = []
    for number in range(1, count + 1):
        wedge = true == number
        if wedge.sum() * found.pair.low.geometry.voxel_volume_ml < 2.0:
            continue
        touched = np.unique(islands[wedge])
        own = np.isin(islands, touched[touched > 0])
        dice.append(2 * np.count_nonzero(own & wedge) / (own.sum() + wedge.sum()))
    return dice


def main() -> list[Figure]:
    """Healthy lungs, wedges, lost lobes and lungs, streaks, and a table that does not fit."""
    chest = build(SPACING_MM)
    figures = []

    def add(name: str, value: float, unit: str = "%", **limits: float) -> None:
        figures.append(Figure(name=f"second chest: {name}", value=value, unit=unit, **limits))

    healthy = analysed(chest, Contrast())
    add("healthy, false defects", 100 * healthy.false_share, at_most=1.0)
    add("healthy, iodine, error", 100 * healthy.iodine_error, at_least=-4.0, at_most=4.0)
    table = analysed(chest, Contrast(), calibration=spectral_pair(*PAIR))
    add("healthy by the table, iodine", 100 * table.iodine_error, at_least=-15.0, at_most=15.0)
    wedges = analysed(chest, Contrast(wedges=WEDGES))
    add("wedges, worst Dice", min(wedge_dice(wedges)), "", at_least=0.85)
    add("wedges, false defects", 100 * wedges.false_share, at_most=1.0)
    for name, parts in LOSSES.items():
        lost = analysed(chest, Contrast(factors=dict.fromkeys(parts, REMAINING)))
        add(f"{name} lost, found", 100 * lost.found_share, at_least=90.0)
        add(f"{name} lost, false defects", 100 * lost.false_share, at_most=1.0)
    for name, contrast in (
        ("streaks", STREAKS),
        ("streaks and wedges", replace(STREAKS, wedges=WEDGES)),
    ):
        streaked = analysed(chest, contrast)
        add(f"{name}, false defects", 100 * streaked.false_share, at_most=1.0)
        shares = streaked.analysis.exclusion.shares(streaked.pair.lungs.array > 0)
        add(f"{name}, left out as streaks", 100 * shares["streaks"], at_most=20.0)
    return figures
