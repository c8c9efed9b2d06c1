"""Measures of lobes and the fissures between them."""

from __future__ import annotations

from lungperfusion.terms.measures import Measure

_OWN = "this project; docs/regions.md"

LOBE_MEASURES = (
    Measure(
        id="lobe_volume",
        title="Lobe volume",
        unit="mL",
        formula="number of lobe voxels x voxel volume",
        source=_OWN,
    ),
    Measure(
        id="lobe_volume_share",
        title="Lobe volume, share of both lungs",
        unit="%",
        formula="100 x lobe volume / volume of both lungs",
        source=_OWN,
    ),
    Measure(
        id="boundary_support",
        title="Boundary resting on visible fissure",
        unit="%",
        formula="100 x area of the boundary within 10 mm of visible fissure or of points of the "
        "user / area of the boundary; of a lobe: the least of its boundaries",
        source=_OWN,
    ),
    Measure(
        id="interlobar_area",
        title="Interlobar area",
        unit="mm2",
        formula="area of the fitted interlobar surface inside the lung",
        source=_OWN,
    ),
    Measure(
        id="fissure_completeness",
        title="Fissure completeness",
        unit="%",
        formula="100 x area of the interlobar surface with a fissure within 3 mm / area that could "
        "be judged; of a lobe: the least of its boundaries",
        source="fissure completeness score: Koster 2016, Respiration 92:150",
    ),
)
"""Measures of the lobes command."""
