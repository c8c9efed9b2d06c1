"""Measured perfusion or ventilation crossed with what the pair gives, beside the surrogate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.analysis.ctvq.breaths import Breath, JoinedBreaths
from lungperfusion.analysis.ctvq.maps import LEAST_RATIO_PERFUSION, VqMaps
from lungperfusion.analysis.ctvq.options import Measured, VqOptions
from lungperfusion.measurement import Measurement
from lungperfusion.quality import Gate
from lungperfusion.results.analysis import Table
from lungperfusion.results.section import Section
from lungperfusion.results.vq_measured import measured_section
from lungperfusion.results.vq_tables import agreement_table, comparison_table, confusion_table
from lungperfusion.terms.vq import MEASURED, MEASURED_MEASURES, MEASURED_OF_Q, MEASURED_OF_V
from lungperfusion.verdicts import follow_gates
from lungperfusion.volume import Labelmap, Volume
from lungperfusion.vq.classes import Thresholds, classify, relative_to_mean
from lungperfusion.vq.comparison import RegionComparison, agree_by_partition, compare_with_reference
from lungperfusion.vq.measured import PlacedMap, Quantity, State, place_map, with_blur
from lungperfusion.vq.metrics import MapNames, measure_vq
from lungperfusion.vq.perfusion import SMOOTHING_MM as SURROGATE_MM
from lungperfusion.vq.ventilation import SMOOTHING_MM as VENTILATION_MM

Float = NDArray[np.float32]

_UNKNOWN = "not told by the measured maps"


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class MeasuredVq:
    """Ventilation and perfusion of one blur, at least one of them measured."""

    placed: Mapping[Quantity, PlacedMap]
    ventilation: Float
    """Over its mean; NaN where there is none."""
    perfusion: Float
    surrogate: Float
    """CT surrogate with the same blur, over its mean."""
    classes: Labelmap
    thresholds: Thresholds
    names: MapNames

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Checks of the measured maps."""
        return tuple(gate for placed in self.placed.values() for gate in placed.gates)

    def volumes(self, maps: VqMaps) -> dict[str, Volume]:
        """Images to write, by name."""
        known = np.isfinite(self.ventilation) & np.isfinite(self.perfusion)
        ratio = self.ventilation / np.maximum(self.perfusion, LEAST_RATIO_PERFUSION)
        found = {"measured_vq_ratio": maps.volume(ratio, known, "1")}
        for quantity, placed in self.placed.items():
            found[f"measured_{quantity}"] = maps.volume(placed.values, placed.known, "1")
        if "perfusion" in self.placed:
            both = np.isfinite(self.perfusion) & np.isfinite(self.surrogate)
            found["perfusion_difference"] = maps.volume(self.perfusion - self.surrogate, both, "1")
        return found


def map_measured(
    joined: JoinedBreaths,
    maps: VqMaps,
    given: Measured,
    breaths: Mapping[State, Breath],
    options: VqOptions,
) -> MeasuredVq | None:
    """Place the measured maps, match the blur of the others, and sort voxels into classes.

    Parameters
    ----------
    joined, maps
        Both breaths on the expiratory grid, and the maps of CT alone.
    given
        Measured maps; None is returned without any.
    breaths
        Whole scans with their lungs.
    options
        Thresholds of what is not measured.

    """
    if given.perfusion is None and given.ventilation is None:
        return None
    lungs = {state: breath.lungs for state, breath in breaths.items()}
    cts = {state: breath.ct for state, breath in breaths.items()}
    placed: dict[Quantity, PlacedMap] = {
        each.quantity: place_map(each, joined.pair, joined.registration, lungs, cts)
        for each in (given.perfusion, given.ventilation)
        if each is not None
    }
    sigma = max(one.sigma_mm for one in placed.values())
    pair = joined.pair
    surrogate = _smoothed(maps, np.where(maps.known, maps.perfusion, np.nan), SURROGATE_MM, sigma)
    by_ct = _smoothed(maps, maps.ventilation, VENTILATION_MM, sigma)
    values = {
        name: with_blur(pair, one.values, one.sigma_mm, sigma) for name, one in placed.items()
    }
    v, q = values.get("ventilation", by_ct), values.get("perfusion", surrogate)
    for name, one in placed.items():
        here = v if name == "ventilation" else q
        here[~one.known] = np.nan
    lows = {name: one.given.low for name, one in placed.items()}
    limits = Thresholds(
        ventilation=lows.get("ventilation", options.thresholds.ventilation),
        perfusion=lows.get("perfusion", options.thresholds.perfusion),
    )
    classes = classify(v, q, pair.mask, pair.geometry, thresholds=limits)
    words = {name: one.method for name, one in placed.items()}
    by_v = words.get("ventilation", f"CT: {options.ventilation}")
    by_q = words.get("perfusion", "CT surrogate")
    return MeasuredVq(
        placed=placed,
        ventilation=v,
        perfusion=q,
        surrogate=surrogate,
        classes=classes,
        thresholds=limits,
        names=MapNames(by_v, by_q, _UNKNOWN, "", f"; V: {by_v}; Q: {by_q}"),
    )


def _smoothed(maps: VqMaps, values: Float, sigma_mm: float, wanted_mm: float) -> Float:
    """Map of CT with the blur of the measured one, over its mean, where it had values."""
    known = np.isfinite(values) & maps.inside
    smooth = np.where(known, with_blur(maps.pair, values, sigma_mm, wanted_mm), np.nan)
    return relative_to_mean(smooth.astype(np.float32), known)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class MeasuredResults:
    """What measured maps add to the results; nothing without any."""

    measurements: tuple[Measurement, ...] = ()
    gates: tuple[Gate, ...] = ()
    maps: Mapping[str, Volume] = field(default_factory=dict)
    labelmaps: Mapping[str, Labelmap] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


def measured_results(
    joined: JoinedBreaths, maps: VqMaps, found: MeasuredVq, pictures: bool
) -> MeasuredResults:
    """Measure the maps, and set them beside the surrogate."""
    compared = _compared(joined, maps, found)
    confusion = confusion_table(maps.classes, found.classes)
    tables = {"class_confusion": confusion}
    if compared:
        tables["measured_comparison"] = comparison_table(compared)
        tables["measured_agreement"] = agreement_table(agree_by_partition(compared))
    volumes = found.volumes(maps)
    sections: tuple[Section, ...] = ()
    if pictures:
        section = measured_section(
            joined.expiration.ct,
            joined.expiration.lungs,
            [volumes[f"measured_{quantity}"] for quantity in found.placed],
            found.classes,
            confusion,
            compared,
            words=[
                f"{quantity.capitalize()} {placed.method}"
                for quantity, placed in found.placed.items()
            ],
        )
        sections = (section,)
    return MeasuredResults(
        measurements=_measurements(joined, maps, found),
        gates=found.gates,
        maps=volumes,
        labelmaps={"measured_vq_classes": found.classes},
        tables=tables,
        sections=sections,
        parameters={f"{q}_map": _parameters(placed) for q, placed in found.placed.items()},
    )


def _parameters(placed: PlacedMap) -> dict[str, Any]:
    return {
        "kind": placed.given.kind,
        "breath": placed.breath,
        "blur_sigma_mm": placed.sigma_mm,
        "low": placed.given.low,
        "aligned_by_ct": placed.given.ct is not None,
    }


def _measurements(
    joined: JoinedBreaths, maps: VqMaps, found: MeasuredVq
) -> tuple[Measurement, ...]:
    """Values that rest on a measured map, under names of their own."""
    rows = measure_vq(
        maps.pair,
        found.ventilation,
        found.perfusion,
        found.classes,
        joined.regions,
        names=found.names,
        thresholds=found.thresholds,
    )
    wanted = {measure.id for measure in MEASURED_MEASURES}
    wanted -= set() if "ventilation" in found.placed else MEASURED_OF_V
    wanted -= set() if "perfusion" in found.placed else MEASURED_OF_Q
    renamed = (replace(row, measure=f"{MEASURED}{row.measure}") for row in rows)
    kept = tuple(row for row in renamed if row.measure in wanted)
    return follow_gates(kept, (*joined.gates, *found.gates))


def _compared(
    joined: JoinedBreaths, maps: VqMaps, found: MeasuredVq
) -> tuple[RegionComparison, ...]:
    """Shares of the surrogate against those of the measured perfusion; none without one."""
    if "perfusion" not in found.placed:
        return ()
    known = np.isfinite(found.surrogate)
    measured = Volume(found.perfusion, maps.pair.geometry, "1")
    return compare_with_reference(found.surrogate, measured, joined.regions, known)
