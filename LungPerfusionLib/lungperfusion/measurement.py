"""One measured value: where, what, how much, how, and whether it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from lungperfusion.terms import MEASURES

Status = Literal["ok", "caution", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A number with its meaning, or the reason why there is none.

    Build with `measured` or `missing`, which take the unit from `lungperfusion.terms.MEASURES`.
    """

    region: str
    measure: str
    value: float
    unit: str
    method: str
    status: Status = "ok"
    reason: str = ""

    def __post_init__(self) -> None:
        """Hold to the contract: missing means NaN, and every doubt has a reason."""
        if (self.status == "missing") != math.isnan(self.value) or math.isinf(self.value):
            raise ValueError(
                f"{self.measure} of {self.region}: value {self.value} with status {self.status}"
            )
        if self.status != "ok" and not self.reason:
            raise ValueError(f"{self.measure} of {self.region}: {self.status} needs a reason")


def measured(
    region: str, measure: str, value: float, method: str, *, caution: str = ""
) -> Measurement:
    """Record a value given in the measure's own unit (shares in %).

    Parameters
    ----------
    region, measure
        Identifiers of `lungperfusion.terms`.
    value
        Finite number; for a value that could not be computed use `missing`.
    method
        Short text that tells this number from others of the same name: formula, thresholds,
        reference energy.
    caution
        Why the value should not be trusted as it stands; makes the status ``"caution"``.

    """
    return Measurement(
        region=str(region),
        measure=measure,
        value=float(value),
        unit=MEASURES[measure].unit,
        method=method,
        status="caution" if caution else "ok",
        reason=caution,
    )


def missing(region: str, measure: str, reason: str, method: str = "") -> Measurement:
    """Record that a value could not be computed, and why."""
    return Measurement(
        region=str(region),
        measure=measure,
        value=math.nan,
        unit=MEASURES[measure].unit,
        method=method,
        status="missing",
        reason=reason,
    )


def measurement_of(record: Mapping[str, Any]) -> Measurement:
    """Read a value back from results.json; what that adds, such as its reference, is left out.

    Parameters
    ----------
    record
        Entry of ``measurements`` there; ``value`` is None where it is missing.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no record of a measurement.

    """
    own = {field.name: record[field.name] for field in fields(Measurement)}
    return Measurement(**{**own, "value": math.nan if own["value"] is None else own["value"]})
