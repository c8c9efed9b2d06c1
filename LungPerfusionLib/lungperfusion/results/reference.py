"""Where a measured value stands in the published distribution it can be compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lungperfusion.measurement import Measurement
from lungperfusion.terms import MEASURES, Reference

Position = Literal["below", "within", "above"]

INTERVAL_SD = 2.0
"""A value is within its reference interval up to mean +/- 2 SD, both ends included."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A value against its reference distribution."""

    reference: Reference
    z_score: float
    """(value - mean) / SD."""
    position: Position
    """Place relative to the interval ``low`` to ``high``."""

    @property
    def low(self) -> float:
        """Mean - 2 SD, in the unit of the measure."""
        return self.reference.mean - INTERVAL_SD * self.reference.sd

    @property
    def high(self) -> float:
        """Mean + 2 SD, in the unit of the measure."""
        return self.reference.mean + INTERVAL_SD * self.reference.sd


def compare(measurement: Measurement) -> Comparison | None:
    """Compare a value with the published distribution of its measure.

    Returns
    -------
    Comparison or None
        None if there is no value, no reference, or the reference is for another region.

    """
    measure = MEASURES[measurement.measure]
    reference = measure.reference
    comparable = measurement.status != "missing" and measurement.region == measure.reference_region
    if reference is None or not comparable:
        return None
    z_score = (measurement.value - reference.mean) / reference.sd
    low = reference.mean - INTERVAL_SD * reference.sd
    high = reference.mean + INTERVAL_SD * reference.sd
    position: Position = "within"
    if measurement.value < low:
        position = "below"
    elif measurement.value > high:
        position = "above"
    return Comparison(reference, z_score, position)
