"""What is measured: the record that describes a measure, shared by all analyses."""

from __future__ import annotations

from dataclasses import dataclass

UNITS = frozenset(
    {
        "L",
        "mL",
        "mL/L",
        "mL/mL",
        "g",
        "mg",
        "mg/mL",
        "HU",
        "HU.L",
        "mm",
        "mm2",
        "%",
        "%/cm",
        "1",
        "m",
        "m/L",
        "mL/m2",
        "mmHg",
    }
)
"""Units of results, UCUM spelling; ``1`` is a plain number, ``%`` a share times 100."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Published distribution of a measure in healthy people or in a named cohort."""

    mean: float
    sd: float
    cohort: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Definition of one measure; docs/measures.md is written from these records."""

    id: str
    title: str
    unit: str
    formula: str
    source: str
    reference: Reference | None = None
    """Compared with the measured value only in the region the reference was published for."""
    reference_region: str = "lungs"

    def __post_init__(self) -> None:
        """Refuse a unit that results may not carry."""
        if self.unit not in UNITS:
            raise ValueError(f"{self.id}: unit {self.unit!r} is not one of {sorted(UNITS)}")
