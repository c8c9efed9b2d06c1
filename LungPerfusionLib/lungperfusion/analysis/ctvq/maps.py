"""Ventilation, perfusion and their classes on the expiratory grid, and what they measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.analysis.ctvq.breaths import JoinedBreaths, inspiratory_regions
from lungperfusion.analysis.ctvq.options import VqOptions
from lungperfusion.measurement import Measurement
from lungperfusion.progress import Progress
from lungperfusion.terms.vq import VQ_MEASURES
from lungperfusion.verdicts import follow_gates
from lungperfusion.volume import Labelmap, Mask, Volume
from lungperfusion.vq.classes import classify, relative_to_mean
from lungperfusion.vq.metrics import MapNames, measure_inspiration, measure_vq
from lungperfusion.vq.pair import BreathPair
from lungperfusion.vq.perfusion import Perfusion, map_perfusion
from lungperfusion.vq.ventilation import map_specific_ventilation, map_ventilation

Float = NDArray[np.float32]

LEAST_RATIO_PERFUSION = 0.05
"""Share of the mean below which perfusion does not lower the quotient V/Q any further."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class VqMaps:
    """Maps of one pair on the expiratory grid; NaN where there is no value."""

    pair: BreathPair
    ventilation: Float
    surrogate: Perfusion
    classes: Labelmap

    @property
    def perfusion(self) -> Float:
        """Perfusion over its mean."""
        return self.surrogate.combined

    @property
    def relative_ventilation(self) -> Float:
        """Ventilation over its mean."""
        return relative_to_mean(self.ventilation, self.inside)

    @property
    def inside(self) -> Mask:
        """Voxels with a ventilation."""
        return self.pair.mask

    @property
    def known(self) -> Mask:
        """Voxels with a perfusion."""
        return self.surrogate.known

    def volume(self, values: NDArray[Any], valid: Mask, unit: str, fill: float = 0.0) -> Volume:
        """Values of the maps' grid as an image."""
        array = np.where(valid, values, fill).astype(np.float32)
        return Volume(array, self.pair.geometry, unit, valid)

    def volumes(self) -> dict[str, Volume]:
        """Images to write, by name."""
        pair, inside, known = self.pair, self.inside, self.known
        ratio = self.relative_ventilation / np.maximum(self.perfusion, LEAST_RATIO_PERFUSION)
        return {
            "ventilation": self.volume(self.ventilation, inside, "mL/mL"),
            "specific_ventilation": self.volume(map_specific_ventilation(pair), inside, "mL/mL"),
            "perfusion": self.volume(self.perfusion, known, "1"),
            "vq_ratio": self.volume(ratio, known, "1"),
            "jacobian": self.volume(pair.jacobian, inside, "mL/mL"),
            "inspiration_on_expiration": self.volume(pair.inspiration_hu, inside, "HU", fill=-1000),
        }


def map_vq(pair: BreathPair, options: VqOptions) -> VqMaps:
    """Map ventilation and perfusion, and put every voxel into a class."""
    ventilation = map_ventilation(pair, method=options.ventilation)
    perfusion = map_perfusion(pair, weights=options.weights)
    classes = classify(
        ventilation,
        perfusion.combined,
        perfusion.known,
        pair.geometry,
        thresholds=options.thresholds,
    )
    return VqMaps(pair=pair, ventilation=ventilation, surrogate=perfusion, classes=classes)


def measure_maps(
    joined: JoinedBreaths, maps: VqMaps, options: VqOptions, progress: Progress
) -> tuple[Measurement, ...]:
    """Measure both breaths and the maps in every region; the status follows the gates."""
    measurements = _by_region(
        *measure_vq(
            joined.pair,
            maps.ventilation,
            maps.perfusion,
            maps.classes,
            joined.regions,
            names=MapNames(options.ventilation, _surrogate_text(maps.surrogate.weights)),
            thresholds=options.thresholds,
            progress=progress,
        ),
        *measure_inspiration(joined.inspiration.ct, inspiratory_regions(joined)),
    )
    return follow_gates(measurements, joined.gates)


def _by_region(*measurements: Measurement) -> tuple[Measurement, ...]:
    """Order measurements of both scans by region as they come, then as their terms are listed."""
    regions = list(dict.fromkeys(entry.region for entry in measurements))
    measures = [measure.id for measure in VQ_MEASURES]
    return tuple(
        sorted(measurements, key=lambda m: (regions.index(m.region), measures.index(m.measure)))
    )


def _surrogate_text(weights: Mapping[Any, float]) -> str:
    return "CT surrogate: " + ", ".join(
        f"{name.replace('_', ' ')} {weight:.2f}" for name, weight in weights.items()
    )
