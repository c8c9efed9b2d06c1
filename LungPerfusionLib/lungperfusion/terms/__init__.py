"""Names, units, codes and label values of everything the project writes: each defined once."""

from __future__ import annotations

from lungperfusion.terms.decisions import DECISION_MEASURES
from lungperfusion.terms.density import DENSITY_MEASURES
from lungperfusion.terms.dynamic import DYNAMIC_MEASURES
from lungperfusion.terms.iodine import IODINE_MEASURES
from lungperfusion.terms.lobes import LOBE_MEASURES
from lungperfusion.terms.measures import Measure, Reference
from lungperfusion.terms.regions import (
    AIRWAYS,
    FISSURES,
    HALVES,
    LOBES,
    LUNGS,
    SHELLS,
    STRUCTURES,
    TISSUES,
    VESSEL_SIZES,
    VESSELS,
    ZONES,
    Code,
    Region,
    Structure,
    lung_of,
    title,
)
from lungperfusion.terms.vessels import VESSEL_MEASURES
from lungperfusion.terms.vq import MEASURED_MEASURES, VQ_MEASURES
from lungperfusion.terms.xenon import XENON_MEASURES

__all__ = [
    "AIRWAYS",
    "FISSURES",
    "HALVES",
    "LOBES",
    "LUNGS",
    "MEASURES",
    "SHELLS",
    "STRUCTURES",
    "TISSUES",
    "VESSELS",
    "VESSEL_SIZES",
    "ZONES",
    "Code",
    "Measure",
    "Reference",
    "Region",
    "Structure",
    "lung_of",
    "title",
]


def _by_id(*groups: tuple[Measure, ...]) -> dict[str, Measure]:
    measures = [measure for group in groups for measure in group]
    table = {measure.id: measure for measure in measures}
    if len(table) != len(measures):
        raise ValueError("two measures share one ID")
    return table


MEASURES: dict[str, Measure] = _by_id(
    DENSITY_MEASURES,
    LOBE_MEASURES,
    IODINE_MEASURES,
    VQ_MEASURES,
    MEASURED_MEASURES,
    VESSEL_MEASURES,
    XENON_MEASURES,
    DECISION_MEASURES,
    DYNAMIC_MEASURES,
)
"""Every measure by ID."""
