"""Measures of blood volume by vessel size."""

from __future__ import annotations

import math

from lungperfusion.terms.measures import Measure

BIN_EDGES_MM2 = (0.0, 1.25, 5.0, 10.0, math.inf)
"""Borders of BV<1.25, BV5, BV5-10, BV10: small-vessel letter; a border belongs to the bin above."""

_SMALLEST, _SMALL, _LARGE = (f"{edge:g}" for edge in BIN_EDGES_MM2[1:-1])
_LETTER = (
    f"small-vessel letter: vessels of {_SMALLEST} to {_SMALL} mm2, {_SMALL} to {_LARGE} mm2 and "
    f"above {_LARGE} mm2"
)
_CIP = "Estepar 2013, Am J Respir Crit Care Med 188:231: bins of 5 mm2 from 0, total up to 90 mm2"
_THIS = "this project"

_BINS = (
    (
        "bv_below_1_25",
        "BV<1.25",
        f"below {_SMALLEST} mm2",
        _THIS + ": what lies below the letter's limit",
    ),
    ("bv5", "BV5", f"from {_SMALLEST} to below {_SMALL} mm2", _LETTER),
    ("bv5_10", "BV5-10", f"from {_SMALL} to below {_LARGE} mm2", _LETTER),
    ("bv10", "BV10", f"of {_LARGE} mm2 and more", _LETTER),
)

OTHER_METHODS = ("distance_transform", "scale_space")
"""Published estimators of cross-section that can be set beside the integral."""
SIDES_OF_BLOOD = ("arterial", "venous")
"""Parts that an artery and vein label map splits measures into."""


def _volumes(prefix: str, words: str, suffix: str = "") -> tuple[Measure, ...]:
    name = (lambda measure: f"{prefix}{measure}{suffix}") if prefix or suffix else str
    total = Measure(
        id=name("tbv"),
        title=f"TBV{words}",
        unit="mL",
        formula="blood in all vessels seen within the lungs: BV<1.25 + BV5 + BV5-10 + BV10",
        source=_LETTER,
    )
    volumes = [
        Measure(
            id=name(id_),
            title=f"{title}{words}",
            unit="mL",
            formula=f"blood in vessels with a cross-section {span}",
            source=source,
        )
        for id_, title, span, source in _BINS
    ]
    shares = [
        Measure(
            id=name(f"{id_}_share"),
            title=f"{title} share{words}",
            unit="%",
            formula=f"100 x {title} / TBV",
            source=source,
        )
        for id_, title, _, source in _BINS
    ]
    return total, *volumes, *shares


VESSEL_MEASURES: tuple[Measure, ...] = (
    *_volumes("", ""),
    *(
        Measure(
            id=f"{id_}_letter_share",
            title=f"{title} share of the letter",
            unit="%",
            formula=f"100 x {title} / (BV5 + BV5-10 + BV10): vessels below {_SMALLEST} mm2 left "
            "out",
            source=_LETTER,
        )
        for id_, title, _, _ in _BINS[1:]
    ),
    Measure(
        id="cip_bv5",
        title="BV5, 0 to 5 mm²",
        unit="mL",
        formula="blood in vessels with a cross-section below 5 mm2",
        source=_CIP,
    ),
    Measure(
        id="cip_tbv",
        title="TBV, 0 to 90 mm²",
        unit="mL",
        formula="blood in vessels with a cross-section up to 90 mm2",
        source=_CIP,
    ),
    Measure(
        id="cip_bv5_share",
        title="BV5 share, 0 to 5 of 0 to 90 mm²",
        unit="%",
        formula="100 x blood below 5 mm2 / blood up to 90 mm2",
        source=_CIP,
    ),
    Measure(
        id="tbv_per_volume",
        title="TBV per lung volume",
        unit="mL/L",
        formula="TBV / volume of the region",
        source=_THIS,
    ),
    Measure(
        id="bv5_per_volume",
        title="BV5 per lung volume",
        unit="mL/L",
        formula="BV5 / volume of the region",
        source=_THIS,
    ),
    Measure(
        id="tbv_per_bsa",
        title="TBV per body surface",
        unit="mL/m2",
        formula="TBV / body surface area",
        source=_THIS,
    ),
    Measure(
        id="bv5_per_bsa",
        title="BV5 per body surface",
        unit="mL/m2",
        formula="BV5 / body surface area",
        source=_THIS,
    ),
    Measure(
        id="vessel_count",
        title="Vessel segments",
        unit="1",
        formula="segments between branch points whose middle lies in the region",
        source=_THIS,
    ),
    Measure(
        id="vessel_length",
        title="Vessel length",
        unit="m",
        formula="length of the vessel axes in the region",
        source=_THIS,
    ),
    Measure(
        id="vessel_length_density",
        title="Vessel length density",
        unit="m/L",
        formula="length of the vessel axes / volume of the region",
        source=_THIS,
    ),
    Measure(
        id="blood_density",
        title="Density of blood",
        unit="HU",
        formula="measured in heart and great vessels, given, or taken as a default: see method",
        source=_THIS,
    ),
    Measure(
        id="vessel_background",
        title="Lung between the vessels",
        unit="HU",
        formula="median of the smoothed density of lung outside the vessels' reach",
        source=_THIS,
    ),
    Measure(
        id="vessel_noise",
        title="Noise between the vessels",
        unit="HU",
        formula="median absolute deviation / 0.6745 of lung outside the vessels' reach",
        source=_THIS,
    ),
    Measure(
        id="smallest_cross_section",
        title="Smallest cross-section seen",
        unit="mm2",
        formula="5th percentile, by length, of the cross-sections measured",
        source=_THIS,
    ),
    Measure(
        id="point_spread",
        title="Point spread",
        unit="mm",
        formula="full width at half maximum, from the spread of blood about thin vessels",
        source=_THIS,
    ),
    Measure(
        id="excluded_thick_tissue",
        title="Dense tissue left out: too thick for vessels",
        unit="mL",
        formula="lung in which a ball of the widest vessel's radius fits into dense tissue",
        source=_THIS,
    ),
    Measure(
        id="excluded_airway_wall",
        title="Dense tissue left out: airway walls",
        unit="mL",
        formula="dense voxels within a wall's thickness of an airway lumen",
        source=_THIS,
    ),
    Measure(
        id="excluded_no_tube",
        title="Dense tissue left out: no tube",
        unit="mL",
        formula="other dense voxels beyond the reach of every vessel: fissures, bands, scars",
        source=_THIS,
    ),
    Measure(
        id="excluded_nodule",
        title="Dense tissue left out: nodules",
        unit="mL",
        formula="tissue of swellings that no vessel of their width enters, of strands around them",
        source=_THIS,
    ),
    Measure(
        id="bv5_z_low_oxygen",
        title="BV5 share against COVID-19, up to 2 L/min oxygen",
        unit="1",
        formula="(BV5 share of the letter - 46.89) / 8.59",
        source=_LETTER + "; n = 32",
    ),
    Measure(
        id="bv5_z_high_oxygen",
        title="BV5 share against COVID-19, above 2 L/min oxygen",
        unit="1",
        formula="(BV5 share of the letter - 41.61) / 6.95",
        source=_LETTER + "; n = 18",
    ),
    Measure(
        id="aado2",
        title="Alveolar-arterial oxygen gradient",
        unit="mmHg",
        formula="FiO2 (Pb - PH2O) - PaCO2 (FiO2 + (1 - FiO2) / R) - PaO2",
        source="alveolar gas equation",
    ),
    Measure(
        id="aado2_expected",
        title="Alveolar-arterial gradient expected for age",
        unit="mmHg",
        formula="age / 4 + 4, breathing room air",
        source="rule of thumb in clinical use",
    ),
    Measure(
        id="oxygen_flow_above_2",
        title="Oxygen need above 2 L/min",
        unit="1",
        formula="1 above 2 L/min, else 0",
        source="small-vessel letter: threshold chosen beforehand",
    ),
    *(
        measure
        for method in OTHER_METHODS
        for measure in _volumes("", f", {method.replace('_', ' ')}", f"_{method}")
    ),
    *(measure for side in SIDES_OF_BLOOD for measure in _volumes(f"{side}_", f", {side}")),
)
