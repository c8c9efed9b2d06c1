"""What stands out in the maps: defects, boundaries, targets, sensitivity, agreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.analysis.ctvq.breaths import Breath, JoinedBreaths
from lungperfusion.analysis.ctvq.maps import VqMaps
from lungperfusion.analysis.ctvq.options import Comparison, VqOptions
from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.measurement import Measurement
from lungperfusion.results.analysis import Table
from lungperfusion.results.vq_tables import (
    agreement_table,
    bin_table,
    boundary_table,
    candidate_table,
    comparison_table,
    rating_table,
    sensitivity_table,
    target_table,
)
from lungperfusion.segmentation.lobe_quality import THIN_SLICE_MM, judgeable
from lungperfusion.volume import Labelmap
from lungperfusion.vq.classes import HealthyBins, bin_shares, sensitivity
from lungperfusion.vq.collateral import (
    BOUNDARIES,
    Boundary,
    BoundaryFinding,
    Fissure,
    assess_boundaries,
)
from lungperfusion.vq.comparison import RegionComparison, agree_by_partition, compare_with_reference
from lungperfusion.vq.decisions import measure_decisions
from lungperfusion.vq.defects import SHIPPED_MODEL, Candidate, find_defects
from lungperfusion.vq.planning import SurgeryFlag, TargetLobe, flag_surgery, rank_targets


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class VqFindings:
    """What stands out in one pair."""

    candidates: tuple[Candidate, ...]
    candidate_labels: NDArray[np.uint16]
    boundaries: tuple[BoundaryFinding, ...]
    flag: SurgeryFlag
    targets: tuple[TargetLobe, ...]
    decisions: tuple[Measurement, ...]
    sensitivity: Sequence[dict[str, float]]
    compared: tuple[RegionComparison, ...]

    def labelmaps(self, maps: VqMaps) -> dict[str, Labelmap]:
        """Perfusion defects, if there are any."""
        if not self.candidates:
            return {}
        names = {c.number: f"perfusion_defect_{c.number}" for c in self.candidates}
        return {
            "perfusion_defects": Labelmap(self.candidate_labels, maps.pair.geometry, names),
        }


def find_in_maps(
    joined: JoinedBreaths,
    maps: VqMaps,
    measurements: tuple[Measurement, ...],
    fissures: dict[Boundary, Fissure],
    options: VqOptions,
    comparison: Comparison,
) -> VqFindings:
    """Look for defects, judge boundaries and targets, compare with the reference."""
    candidates, labels = find_defects(
        joined.pair,
        maps.ventilation,
        maps.perfusion,
        joined.regions,
        model=options.defect_model or SHIPPED_MODEL,
    )
    flag, targets = flag_surgery(measurements), rank_targets(measurements)
    return VqFindings(
        candidates=candidates,
        candidate_labels=labels,
        boundaries=assess_boundaries(
            joined.pair,
            joined.registration,
            maps.ventilation,
            maps.perfusion,
            joined.regions,
            fissures=fissures,
            model=options.collateral_model,
        ),
        flag=flag,
        targets=targets,
        decisions=measure_decisions(flag, targets, candidates, calibration=options.defect_score),
        sensitivity=sensitivity(maps.ventilation, maps.perfusion, maps.known, joined.pair.geometry),
        compared=_compared(joined, maps, comparison),
    )


def fissures_seen(inspiration: Breath, expiration: Breath) -> dict[Boundary, Fissure]:
    """Take what is seen of the fissures, in the inspiratory scan if it shows any."""
    return _fissures(inspiration.found) or _fissures(expiration.found)


def finding_tables(
    joined: JoinedBreaths,
    maps: VqMaps,
    measurements: tuple[Measurement, ...],
    findings: VqFindings,
    options: VqOptions,
    comparison: Comparison,
) -> dict[str, Table]:
    """List what is written, by name."""
    tables = {
        "threshold_sensitivity": sensitivity_table(findings.sensitivity),
        "perfusion_defect_candidates": candidate_table(findings.candidates),
        "collateral_ventilation": boundary_table(findings.boundaries),
        "target_lobes": target_table(findings.targets),
    }
    if findings.compared:
        tables["reference_comparison"] = comparison_table(findings.compared)
        tables["reference_agreement"] = agreement_table(agree_by_partition(findings.compared))
    if comparison.ratings:
        tables["zone_ratings"] = rating_table(measurements, comparison.ratings)
    if options.healthy is not None:
        tables["healthy_bins"] = _healthy_table(joined, maps, options.healthy)
    return tables


def _compared(
    joined: JoinedBreaths, maps: VqMaps, comparison: Comparison
) -> tuple[RegionComparison, ...]:
    if comparison.reference is None:
        return ()
    chosen = maps.ventilation if comparison.kind == "ventilation" else maps.perfusion
    return compare_with_reference(chosen, comparison.reference, joined.regions, maps.known)


def _healthy_table(joined: JoinedBreaths, maps: VqMaps, healthy: HealthyBins) -> Table:
    """Shares of the regions in the bins of healthy people."""
    regions = joined.regions

    def shares(values: NDArray[Any], seen: NDArray[np.bool_], bins: Any) -> dict[str, Any]:
        return {
            region.value: bin_shares(values, regions.mask(region) & seen, bins)
            for region in regions.names
        }

    return bin_table(
        {
            "ventilation": shares(maps.relative_ventilation, maps.inside, healthy.ventilation),
            "perfusion": shares(maps.perfusion, maps.known, healthy.perfusion),
        }
    )


def _fissures(found: FoundRegions) -> dict[Boundary, Fissure]:
    """Take what is seen of the fissures, by boundary; nothing where slices are too thick for it."""
    if found.lobes is None or max(found.lungs.geometry.spacing_ijk_mm) > THIN_SLICE_MM:
        return {}
    known = {
        name.removesuffix("_fissure"): Fissure.of(boundary.evidence)
        for name, boundary in found.lobes.boundaries.items()
        if judgeable(boundary)
    }
    return {boundary: known[boundary] for boundary in BOUNDARIES if boundary in known}
