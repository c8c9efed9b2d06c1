"""What a DICOM Rescale Type says about the unit of the values."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StatedUnit:
    """Unit of this package, and what a value is multiplied with to be in it."""

    unit: str
    factor: float = 1.0


UNSPECIFIED = ("", "US", "UNSPECIFIED", "UNKNOWN", "NONE", "N/A")
"""Rescale Types that say nothing: absent, or "unspecified" (DICOM PS3.3 C.11.1.1.2) in words."""

_HOUNSFIELD = re.compile(r"HU(MOD)?|H\.U\.|HOUNSFIELD(UNITS?)?|HNSF'U")
_PERCENT = ("PCT", "%", "PERCENT")
_MASS_MG = {"UG": 1e-3, "MCG": 1e-3, "µG": 1e-3, "ΜG": 1e-3, "MG": 1.0, "G": 1e3, "KG": 1e6}
_VOLUME_ML = {"ML": 1.0, "CC": 1.0, "CM3": 1.0, "DL": 100.0, "L": 1000.0, "M3": 1e6}
_CONCENTRATION = re.compile(
    r"(?:IODINE)?(?P<count>\d+(?:\.\d+)?)?(?P<mass>UG|MCG|µG|ΜG|MG|KG|G)(?:I|IODINE)?"
    r"(?:/|PER)?(?P<volumes>\d+(?:\.\d+)?)?(?P<volume>ML|CC|CM3|DL|L|M3)(?:-1)?(?:I|IODINE)?"
)
LARGEST_FACTOR = 100.0
"""Grams per mL are a density, no concentration of a contrast agent."""


def stated_unit(rescale_type: str) -> StatedUnit | None:
    """Read a Rescale Type; None where it says nothing, or something else than a known unit.

    Concentrations are written in many ways, with multiples in front of either part.

    Examples
    --------
    >>> stated_unit("MGML"), stated_unit("100UG/CC")
    (StatedUnit(unit='mg/mL', factor=1.0), StatedUnit(unit='mg/mL', factor=0.1))
    >>> stated_unit("mg/100 mL").factor, stated_unit("Z_EFF"), stated_unit("g/mL")
    (0.01, None, None)
    >>> stated_unit("mg·mL^-1").factor, stated_unit("0,1 mg/cm³").factor, stated_unit("Hounsfield")
    (1.0, 0.1, StatedUnit(unit='HU', factor=1.0))

    """
    text = re.sub(r"[\s_()*^·\[\]]+", "", rescale_type.upper()).replace("³", "3")
    if _HOUNSFIELD.fullmatch(text):
        return StatedUnit("HU")
    if text in _PERCENT:
        return StatedUnit("%")
    text = re.sub(r"(?<=\d),(?=\d)", ".", text)
    found = _CONCENTRATION.fullmatch(text)
    if found is None:
        return None
    mass_mg = float(found["count"] or 1) * _MASS_MG[found["mass"]]
    volume_ml = float(found["volumes"] or 1) * _VOLUME_ML[found["volume"]]
    if volume_ml == 0 or not 0 < mass_mg / volume_ml <= LARGEST_FACTOR:
        return None
    return StatedUnit("mg/mL", mass_mg / volume_ml)
