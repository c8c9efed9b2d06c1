"""Iodine perfusion, the volume-corrected score IPv, defects and CT signs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from lungperfusion.analysis.ct_signs import NOTHING_CLINICAL, Clinical
from lungperfusion.analysis.iodine_measure import (
    DEFAULT_OPTIONS,
    NOTHING_GIVEN,
    Given,
    IodineAnalysis,
    IodineOptions,
    measure_iodine,
)
from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.analysis.stages import remembered
from lungperfusion.density import measure_density
from lungperfusion.errors import InputError
from lungperfusion.iodine.decomposition import IodineMap
from lungperfusion.iodine.defects import DEFECT_COLUMNS, defect_table_rows
from lungperfusion.iodine.exclusion import EXCLUSION_COLUMNS, exclusion_rows
from lungperfusion.iodine.phenotype import Pattern
from lungperfusion.iodine.trunk import Trunk
from lungperfusion.measurement import Measurement
from lungperfusion.noise import measure_noise
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.quality import Gate
from lungperfusion.results.analysis import Analysis, Table
from lungperfusion.results.iodine_sections import defect_labelmap, iodine_sections, pattern_section
from lungperfusion.results.section import Section
from lungperfusion.terms import Region
from lungperfusion.threads import both
from lungperfusion.verdicts import follow_gates
from lungperfusion.volume import Volume


def analyse_ipv(
    iodine: IodineMap,
    density: Volume | None,
    found: FoundRegions,
    *,
    options: IodineOptions = DEFAULT_OPTIONS,
    given: Given = NOTHING_GIVEN,
    clinical: Clinical = NOTHING_CLINICAL,
    pictures: bool = True,
    progress: Progress = ignore,
) -> Analysis:
    """Make the whole analysis of one iodine map: density, iodine, defects, signs, pictures.

    Parameters
    ----------
    iodine
        Unsmoothed map on the grid of ``found``.
    density
        CT in HU on the same grid; None takes the virtual native image of the map.
    found
        Lungs and regions.
    options
        Smoothing, exclusions and defect rules.
    given
        Exclusions, trunk and defects that are known; the others are found.
    clinical
        CT signs that a reader scored, and lung function; with it, patterns of low gas transfer
        are checked.
    pictures
        Whether to draw for the report; needs matplotlib.

    """
    beneath = density or iodine.virtual_native
    if beneath is None:
        raise InputError(
            "an iodine map alone does not show vessels or lung density; give a CT of the same "
            "breath with --ct"
        )
    if not found.regions.mask(Region.LUNGS).any():
        raise InputError("no lung was found in the CT; give the lungs with --lung-mask")
    analysed = measure_iodine(
        iodine,
        beneath,
        found,
        options=options,
        given=given,
        progress=part(progress, 0.0, 0.6),
    )
    progress(0.6, "densities and pictures")
    sections, densities = both(
        partial(_drawn, beneath, found, analysed, pictures),
        partial(_densities, beneath, found, analysed),
    )
    progress(1.0, "densities and pictures")
    gates = found.gates if density is not None else tuple(map(_without_iodine, found.gates))
    densities = follow_gates(densities, gates)
    checked = clinical.patterns(densities)
    if clinical.function is not None:
        sections = (*sections, pattern_section(clinical.function, checked))
    tables = {
        "defects": Table(DEFECT_COLUMNS, defect_table_rows(analysed.defects), "defect_volume"),
        "left_out": Table(EXCLUSION_COLUMNS, exclusion_rows(analysed.exclusion, found.regions)),
    }
    if checked:
        tables["patterns"] = _pattern_table(checked)
    return Analysis(
        module="ipv",
        measurements=(
            *analysed.measurements,
            *clinical.measurements(checked),
            *densities,
        ),
        gates=(*gates, *analysed.gates),
        warnings=(*found.warnings, *analysed.warnings),
        parameters={
            "iodine": iodine.method,
            **found.parameters,
            **options.parameters,
            **_trunk_parameters(analysed.trunk),
        },
        maps={"iodine": analysed.iodine.concentration},
        labelmaps={
            **found.labelmaps,
            "defects": defect_labelmap(analysed.defects, beneath),
            "exclusions": analysed.exclusion.labels,
        },
        tables=tables,
        sections=sections,
    )


def _drawn(
    beneath: Volume, found: FoundRegions, analysed: IodineAnalysis, pictures: bool
) -> tuple[Section, ...]:
    if not pictures:
        return ()
    return iodine_sections(
        beneath, found.lungs, analysed.iodine, analysed.defects, analysed.measurable
    )


def _densities(
    beneath: Volume, found: FoundRegions, analysed: IodineAnalysis
) -> tuple[Measurement, ...]:
    return remembered(
        measure_density,
        beneath,
        found.regions,
        vessels=analysed.thin,
        noise=measure_noise(beneath, found.lungs),
    )


def _without_iodine(gate: Gate) -> Gate:
    """Contrast medium is what an iodine map is made of; virtual native densities are free of it."""
    if gate.id != "contrast" or gate.verdict != "warn":
        return gate
    message = f"{gate.message} Densities are read on virtual native images, without it."
    return replace(gate, verdict="pass", message=message)


def _trunk_parameters(trunk: Trunk | str) -> dict[str, Any]:
    """Place of the trunk, so that a reader can check and correct it."""
    if isinstance(trunk, str):
        return {"trunk": trunk}
    return {
        "trunk_centre_ras_mm": [round(x, 1) for x in trunk.centre_ras_mm],
        "trunk_iodine_mg_ml": round(trunk.iodine_mg_ml, 3),
        "trunk_confidence": trunk.doubt or "nothing speaks against it",
    }


def _pattern_table(checked: tuple[Pattern, ...]) -> Table:
    return Table(
        ("pattern", "answer", "condition", "condition_answer", "value"),
        tuple(
            {
                "pattern": pattern.name,
                "answer": pattern.answer,
                "condition": condition.text,
                "condition_answer": condition.answer,
                "value": condition.value,
            }
            for pattern in checked
            for condition in pattern.conditions
        ),
    )
