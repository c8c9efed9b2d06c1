"""The whole analysis of one pair of breaths."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from lungperfusion.analysis.ctvq.breaths import (
    NO_STEERING,
    Breath,
    JoinedBreaths,
    Steering,
    join_breaths,
)
from lungperfusion.analysis.ctvq.findings import (
    VqFindings,
    find_in_maps,
    finding_tables,
    fissures_seen,
)
from lungperfusion.analysis.ctvq.maps import VqMaps, map_vq, measure_maps
from lungperfusion.analysis.ctvq.measured import MeasuredResults, map_measured, measured_results
from lungperfusion.analysis.ctvq.options import (
    DEFAULT_OPTIONS,
    NO_COMPARISON,
    NOT_MEASURED,
    Comparison,
    Measured,
    VqOptions,
)
from lungperfusion.analysis.ctvq.placing import at_expiration, at_inspiration
from lungperfusion.measurement import Measurement
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.results.analysis import Analysis
from lungperfusion.results.section import Section
from lungperfusion.results.vq_findings import (
    boundary_section,
    candidate_section,
    comparison_section,
    remarks,
)
from lungperfusion.results.vq_sections import vq_sections
from lungperfusion.results.vq_tables import candidate_table
from lungperfusion.vq.measured import State
from lungperfusion.vq.metrics import classify_prm


def analyse_ctvq(
    expiration: Breath,
    inspiration: Breath,
    *,
    options: VqOptions = DEFAULT_OPTIONS,
    steering: Steering = NO_STEERING,
    comparison: Comparison = NO_COMPARISON,
    measured: Measured = NOT_MEASURED,
    pictures: bool = True,
    progress: Progress = ignore,
) -> Analysis:
    """Map ventilation, perfusion and their match, and measure them per region.

    Parameters
    ----------
    expiration, inspiration
        CT in HU with its lungs and regions; results are given for the regions of the expiratory
        scan, and vessels found with it are left out of the parenchyma.
    options
        Methods, thresholds and models.
    steering
        Transforms to use instead of registering, and landmarks.
    comparison
        Reference image and readers' ratings.
    measured
        Measured maps to cross with those of CT; their values have names of their own.
    pictures
        Whether to draw for the report; needs matplotlib.
    progress
        Called throughout; may raise to cancel.

    Raises
    ------
    InputError
        If the inspiratory lungs are not larger than the expiratory ones, or no lung is in both.

    """
    joined = join_breaths(
        expiration,
        inspiration,
        slide_lobes=options.slide_lobes,
        steering=steering,
        progress=part(progress, 0.0, 0.6),
    )
    progress(0.6, "mapping ventilation and perfusion")
    maps = map_vq(joined.pair, options)
    measurements = measure_maps(joined, maps, options, part(progress, 0.65, 0.75))
    progress(0.75, "looking for perfusion defects")
    fissures = fissures_seen(inspiration, expiration)
    findings = find_in_maps(joined, maps, measurements, fissures, options, comparison)
    tables = finding_tables(joined, maps, measurements, findings, options, comparison)
    breaths: dict[State, Breath] = {"expiration": expiration, "inspiration": inspiration}
    found = map_measured(joined, maps, measured, breaths, options)
    beside = MeasuredResults() if found is None else measured_results(joined, maps, found, pictures)
    sections: tuple[Section, ...] = ()
    if pictures:
        sections = (
            *_map_sections(
                joined, maps, measurements, findings, options, part(progress, 0.85, 0.98)
            ),
            *_finding_sections(joined, maps, measurements, findings, options, comparison),
            *beside.sections,
        )
    volumes = {**maps.volumes(), **beside.maps}
    labelmaps = {
        **joined.expiration.found.labelmaps,
        "vq_classes": maps.classes,
        "prm": classify_prm(joined.pair),
        **findings.labelmaps(maps),
        **beside.labelmaps,
    }
    if options.grid == "expiration":
        placed = at_expiration(volumes, labelmaps, joined.box, joined.whole)
    else:
        placed = at_inspiration(volumes, labelmaps, joined, inspiration)
    return Analysis(
        module="ctvq",
        measurements=(*measurements, *beside.measurements, *findings.decisions),
        gates=(*joined.gates, *beside.gates),
        warnings=_warnings(expiration, inspiration, joined),
        parameters={
            **options.parameters,
            **_parameters(joined, maps, steering),
            **beside.parameters,
        },
        maps=placed[0],
        labelmaps=placed[1],
        transforms=joined.transforms,
        tables={**tables, **beside.tables},
        sections=sections,
    )


def _map_sections(
    joined: JoinedBreaths,
    maps: VqMaps,
    measurements: tuple[Measurement, ...],
    findings: VqFindings,
    options: VqOptions,
    progress: Progress,
) -> tuple[Section, ...]:
    """Pictures of the maps and their classes."""
    return vq_sections(
        joined.expiration.ct,
        joined.expiration.lungs,
        maps.volume(maps.relative_ventilation, maps.inside, "1"),
        maps.volume(maps.perfusion, maps.known, "1"),
        maps.classes,
        measurements,
        findings.sensitivity,
        limits=options.thresholds,
        progress=progress,
    )


def _finding_sections(
    joined: JoinedBreaths,
    maps: VqMaps,
    measurements: tuple[Measurement, ...],
    findings: VqFindings,
    options: VqOptions,
    comparison: Comparison,
) -> tuple[Section, ...]:
    """Report blocks on what was found, and what to mind."""
    planning = boundary_section(findings.boundaries, findings.targets, findings.flag.sentence)
    return (
        candidate_section(
            findings.candidates,
            findings.candidate_labels,
            joined.expiration.lungs,
            candidate_table(findings.candidates),
            calibration=options.defect_score,
        ),
        *((planning,) if planning else ()),
        *((comparison_section(findings.compared, comparison.kind),) if findings.compared else ()),
        remarks(
            maps.surrogate,
            measurements,
            tuple(joined.registration.missing.values()),
            comparison.ratings,
        ),
    )


def _warnings(expiration: Breath, inspiration: Breath, joined: JoinedBreaths) -> tuple[str, ...]:
    return (
        *(f"{text} (expiration)" for text in expiration.found.warnings),
        *(f"{text} (inspiration)" for text in inspiration.found.warnings),
        *(f"Not registered: {why}." for why in joined.registration.missing.values()),
    )


def _parameters(joined: JoinedBreaths, maps: VqMaps, steering: Steering) -> dict[str, Any]:
    """Say for results.json what was found out on the way."""
    pair, given = joined.pair, steering.transform is not None
    return {
        "perfusion_weights_used": dict(maps.surrogate.weights),
        "perfusion_reliability": dict(maps.surrogate.reliability),
        "inspiratory_hu_error": {
            name: None if math.isnan(value) else value
            for name, value in asdict(pair.calibration).items()
        },
        "volume_factors": pair.volume_factors,
        "registration": "given transform" if given else "own B-spline",
        "landmarks": 0 if steering.landmarks is None else len(steering.landmarks[0]),
    }
