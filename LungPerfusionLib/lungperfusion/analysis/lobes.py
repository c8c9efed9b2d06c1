"""Lobes and fissures of one chest CT, found, given or corrected."""

from __future__ import annotations

from typing import Any

from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.progress import Progress, ignore
from lungperfusion.results.analysis import Analysis, Table
from lungperfusion.results.lobe_sections import lobe_sections
from lungperfusion.results.section import Section
from lungperfusion.segmentation.correction import fissure_map
from lungperfusion.segmentation.lobe_quality import judgeable, measure_lobes, screening
from lungperfusion.segmentation.lobes import PLANS, LobeSegmentation
from lungperfusion.volume import Volume

FISSURE_COLUMNS = (
    "fissure",
    "completeness_percent",
    "support_percent",
    "vessels_crossed_percent",
    "area_mm2",
    "contrast_threshold_hu",
    "found_as",
    "user_points",
    "collateral_ventilation_screening",
)


def analyse_lobes(
    ct: Volume,
    found: FoundRegions,
    *,
    pictures: bool = True,
    progress: Progress = ignore,
) -> Analysis:
    """Judge the lobes of a chest CT and the fissures between them.

    Parameters
    ----------
    ct
        Chest CT in HU.
    found
        Its regions, with lobes and vessels.
    pictures
        Whether to draw for the report; needs matplotlib.

    """
    lobes = found.lobes
    if lobes is None or found.vessels is None:
        raise ValueError("analyse_lobes needs regions with lobes and vessels")
    fissures = fissure_map(lobes, found.lungs)
    sections: tuple[Section, ...] = ()
    if pictures:
        sections = lobe_sections(ct, found.lungs, lobes, progress=progress)
    return Analysis(
        module="lobes",
        measurements=measure_lobes(lobes, found.lungs),
        gates=found.gates,
        warnings=found.warnings,
        parameters=found.parameters,
        labelmaps={
            "lungs": found.lungs,
            "lobes": lobes.labelmap,
            "fissures": fissures,
            "vessels": found.vessels,
        },
        tables={"fissures": Table(FISSURE_COLUMNS, fissure_rows(lobes), "fissure_completeness")},
        sections=sections,
    )


def fissure_rows(lobes: LobeSegmentation) -> tuple[dict[str, Any], ...]:
    """One row for every fissure that parts two lobes."""
    return tuple(
        {
            "fissure": name,
            "completeness_percent": round(100 * boundary.evidence.completeness, 1)
            if judgeable(boundary)
            else float("nan"),
            "support_percent": round(100 * boundary.support, 1),
            "vessels_crossed_percent": round(100 * boundary.vessel_ratio, 1),
            "area_mm2": round(boundary.evidence.area_mm2),
            "contrast_threshold_hu": round(boundary.evidence.threshold_hu, 1),
            "found_as": boundary.origin,
            "user_points": len(boundary.user_points_mm),
            "collateral_ventilation_screening": screening(name, lobes),
        }
        for name in PLANS
        if (boundary := lobes.boundaries.get(name)) is not None
    )
