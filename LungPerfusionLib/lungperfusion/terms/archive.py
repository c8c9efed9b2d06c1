"""How results are coded in DICOM objects: units, measures, structures and the quantities of maps.

Codes are SNOMED CT (SCT), DICOM's own (DCM, PS3.16 annex D) and UCUM.  What none of them has gets a
private code of the scheme `PRIVATE_SCHEME`, whose value is the project's identifier: a measure of
the lungs that CT only stands in for must never carry the code of the thing itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lungperfusion.terms import MEASURES, STRUCTURES, lung_of, title
from lungperfusion.terms.measures import UNITS
from lungperfusion.terms.regions import FISSURES, TISSUES, Code

PRIVATE_SCHEME = "99LUNGPERF"
PRIVATE_SCHEME_NAME = "SlicerLungPerfusion measures, structures and quality checks"
PRIVATE_SCHEME_VERSION = "1"
"""Grows when the meaning of a code changes; codes are never taken away."""
RESPONSIBLE = "SlicerLungPerfusion contributors"

LUNG = Code("39607008", "Lung")
BOTH_SIDES = Code("51440002", "Right and left")
TISSUE = Code("85756007", "Tissue")
ABNORMAL = Code("49755003", "Morphologically Abnormal Structure")
FAILURE = Code("114006", "Measurement failure", "DCM")
"""Value of a measure that could not be computed (PS3.16 CID 42)."""
MEAN = Code("373098007", "Mean")
MEDIAN = Code("373099004", "Median")
ATTENUATION = Code("112031", "Attenuation Coefficient", "DCM")
VOLUME = Code("118565006", "Volume")

UCUM = {
    "L": "L",
    "mL": "ml",
    "mL/L": "ml/L",
    "mL/mL": "ml/ml",
    "g": "g",
    "mg": "mg",
    "mg/mL": "mg/ml",
    "HU": "[hnsf'U]",
    "HU.L": "[hnsf'U].L",
    "mm": "mm",
    "mm2": "mm2",
    "%": "%",
    "%/cm": "%/cm",
    "1": "1",
    "m": "m",
    "m/L": "m/L",
    "mL/m2": "ml/m2",
    "mmHg": "mm[Hg]",
    "mL/min/mmHg": "ml/min/mm[Hg]",
    "mL/min/mmHg/L": "ml/min/mm[Hg]/L",
    "s": "s",
    "mL/100mL": "ml/[100]ml",
    "mL/min/100mL": "ml/[100]ml/min",
    "mL/100g": "ml/[100]g",
    "mL/min/100g": "ml/[100]g/min",
}
"""UCUM code by unit of results and maps, spelt as the context groups of PS3.16 spell it."""

_PUBLIC_CODES: dict[str, tuple[Code, Code | None]] = {
    "lobe_volume": (VOLUME, None),
    "tlv": (VOLUME, None),
    "mld": (ATTENUATION, MEAN),
    "median_density": (ATTENUATION, MEDIAN),
}
"""Measures that are exactly what a public code means, with how they are derived."""

SURROGATES = frozenset({"perfusion", "vq_ratio", "ventilation", "specific_ventilation"})
"""Maps of what CT does not measure but stands in for."""
_SURROGATE = " (CT surrogate)"

DYNAMIC = {
    "pulmonary_flow": Code("126390", "Absolute Regional Blood Flow", "DCM"),
    "blood_volume": Code("126391", "Absolute Regional Blood Volume", "DCM"),
    "mtt": Code("113052", "Mean Transit Time", "DCM"),
    "ttp": Code("113069", "Time To Peak", "DCM"),
}
"""Maps of a dynamic study alone, where the blood was watched on its way (PS3.16 CID 4108)."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What the voxels of a map are."""

    code: Code
    label: str
    """Content Label: up to 16 capitals, digits and underscores (value representation CS)."""
    shown: tuple[float, float] | None = None
    """Values shown black and white, in the unit of the map; None for those it has."""


_SHOWN = {
    "iodine": (0.0, 5.0),
    "ventilation": (0.0, 1.0),
    "specific_ventilation": (0.0, 2.0),
    "perfusion": (0.0, 2.0),
    "vq_ratio": (0.0, 2.0),
    "measured_perfusion": (0.0, 2.0),
    "measured_ventilation": (0.0, 2.0),
    "measured_vq_ratio": (0.0, 2.0),
    "perfusion_difference": (-1.0, 1.0),
    "jacobian": (0.5, 2.5),
    "inspiration_on_expiration": (-1350.0, 150.0),
    "expiration_on_inspiration": (-1350.0, 150.0),
}
_MAP_CODES = {
    "inspiration_on_expiration": ATTENUATION,
    "expiration_on_inspiration": ATTENUATION,
    **DYNAMIC,
}
_MAP_MEANINGS = {
    "iodine": "Iodine concentration",
    "ventilation": "Ventilation by volume change",
    "specific_ventilation": "Specific ventilation by density",
    "perfusion": "Relative perfusion",
    "vq_ratio": "Ventilation over perfusion",
    "measured_perfusion": "Relative perfusion, measured image",
    "measured_ventilation": "Relative ventilation, measured image",
    "measured_vq_ratio": "Ventilation over perfusion, one of them measured",
    "perfusion_difference": "Measured perfusion minus CT surrogate",
    "jacobian": "Jacobian of the registration, volume ratio",
    "rbc_gas": "129Xe red blood cells over gas",
    "membrane_gas": "129Xe membrane over gas",
    "rbc_membrane": "129Xe red blood cells over membrane",
    "xenon_ventilation": "129Xe ventilation",
}


def private(identifier: str, meaning: str) -> Code:
    """Code of the project's own scheme."""
    return Code(identifier, meaning, PRIVATE_SCHEME)


def unit_code(unit: str) -> Code:
    """UCUM code of a unit; one that is not known is none.

    Examples
    --------
    >>> unit_code("HU").value, unit_code("mL").value, unit_code("1").meaning
    ("[hnsf'U]", 'ml', 'no units')

    """
    value = UCUM.get(unit, "1")
    return Code(value, {"1": "no units", "[hnsf'U]": "Hounsfield unit"}.get(value, value), "UCUM")


def measure_code(measure: str) -> Code:
    """Code of a measure: a public one where its meaning is exactly that, else the project's own.

    Examples
    --------
    >>> measure_code("mld").scheme, str(measure_code("ipv"))
    ('DCM', '99LUNGPERF^ipv^Volume-corrected iodine perfusion IPv')

    """
    if measure in _PUBLIC_CODES:
        return _PUBLIC_CODES[measure][0]
    words = MEASURES[measure].title if measure in MEASURES else title(measure)
    return private(measure, words)


def derivation_code(measure: str) -> Code | None:
    """How a measure with a public code is derived from the values of its region."""
    return _PUBLIC_CODES.get(measure, (VOLUME, None))[1]


def quantity(name: str) -> Quantity:
    """Quantity of a map by the name of its file; any name has one.

    Examples
    --------
    >>> quantity("perfusion").code.meaning
    'Relative perfusion (CT surrogate)'
    >>> quantity("inspiration_on_expiration").label
    'INSPIRATION_ON_E'

    """
    label = re.sub(r"[^A-Z0-9_]", "_", name.upper())[:16]
    if name in _MAP_CODES:
        return Quantity(_MAP_CODES[name], label, _SHOWN.get(name))
    words = _MAP_MEANINGS.get(name, title(name))
    if name in SURROGATES:
        words += _SURROGATE
    return Quantity(private(f"{name}_map", words), label, _SHOWN.get(name))


@dataclass(frozen=True, slots=True)
class StructureCodes:
    """How one segment or region is coded."""

    category: Code
    type: Code
    side: Code | None
    region: Code | None
    """Anatomic region of what is no anatomical structure itself."""


_FUNCTIONAL = (
    *("vq_", "shunt", "dead_space", "matched_defect", "prm_", "anterior_", "posterior_"),
    *("core", "rim", "subpleural_", "xenon_", "xe_", "rbc_", "membrane_"),
    *TISSUES,
)
"""Beginnings of the names of parts of the lungs that no anatomist knows."""
_DEFECTS = re.compile(r".*defect(_\d+)?")


def structure_codes(name: str) -> StructureCodes:
    """Codes of a segment or region; any name has some.

    Examples
    --------
    >>> structure_codes("left_lung").side.meaning, structure_codes("perfusion_defect_3").type.value
    ('Left', 'perfusion_defect')

    """
    known = STRUCTURES.get(name)
    lung = lung_of(name)
    side = None if lung is None else STRUCTURES[lung].modifier
    if name == "lungs":
        return StructureCodes(TISSUE, LUNG, BOTH_SIDES, None)
    if known is not None and not name.startswith(_FUNCTIONAL) and not _DEFECTS.fullmatch(name):
        if name.endswith("_zone"):
            return StructureCodes(TISSUE, private(name, title(name)), known.modifier, LUNG)
        if name not in FISSURES:
            return StructureCodes(known.category, known.type, known.modifier, None)
    kind = re.sub(r"_\d+$", "", name)
    category = ABNORMAL if _DEFECTS.fullmatch(name) else TISSUE
    return StructureCodes(category, private(kind, title(kind)), side, LUNG)


if missing := UNITS - set(UCUM):
    raise ValueError(f"units without UCUM code: {sorted(missing)}")
