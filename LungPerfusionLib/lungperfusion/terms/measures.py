"""What is measured: the record that describes a measure, shared by all analyses."""

from __future__ import annotations

import math
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
        "s",
        "mL/100mL",
        "mL/min/100mL",
        "mL/100g",
        "mL/min/100g",
        "mL/min/mmHg",
        "mL/min/mmHg/L",
    }
)
"""Units of results, UCUM spelling; ``1`` is a plain number, ``%`` a share times 100."""


POSSIBLE = {
    "L": (0.0, 15.0),
    "mL": (0.0, 15_000.0),
    "g": (0.0, 15_000.0),
    "mL/L": (0.0, 1000.0),
    "mL/mL": (-1.0, 20.0),
    "HU": (-1100.0, 3100.0),
    "HU.L": (0.0, math.inf),
    "mg": (0.0, math.inf),
    "mg/mL": (0.0, math.inf),
    "mm": (0.0, math.inf),
    "mm2": (0.0, math.inf),
    "%": (0.0, 100.0),
    "m": (0.0, math.inf),
    "m/L": (0.0, math.inf),
    "mL/m2": (0.0, math.inf),
}
"""What a value can be at all, by its unit; other units are not bounded.

Total lung capacities of up to about 12 L have been reported in athletes; water that fills a lung
of 15 L weighs 15 kg.  CT numbers below -1000 are noise and calibration, above 3071 overflow.
"""

ROUNDING = 1e-6
"""Sums of rounded parts may exceed 100 % by this share."""


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
    possible: tuple[float, float] | None = None
    """Values outside cannot be true; None for what the unit allows (`POSSIBLE`)."""
    tolerance: float = 0.0
    """How far noise and calibration carry a true value past the end of its range."""

    def __post_init__(self) -> None:
        """Refuse a unit that results may not carry."""
        if self.unit not in UNITS:
            raise ValueError(f"{self.id}: unit {self.unit!r} is not one of {sorted(UNITS)}")

    @property
    def possible_range(self) -> tuple[float, float]:
        """Lowest and highest value that can be true."""
        if self.possible is not None:
            return self.possible
        low, high = POSSIBLE.get(self.unit, (-math.inf, math.inf))
        return low, high * (1 + ROUNDING)
