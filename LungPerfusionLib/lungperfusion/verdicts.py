"""Status follows the gates: no value is better than the checks it rests on, or than possible."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lungperfusion.measurement import Measurement, Status
from lungperfusion.quality import Gate
from lungperfusion.terms import MEASURES
from lungperfusion.terms.gates import Lowered, effects_of

LONGEST_REASON = 400
"""Characters of a reason that a reader takes in; what does not fit is named, not told."""

MORE = "further quality checks were not passed"

_WORST_FIRST = ("fail", "warn", "unknown", "pass")


def worst_first(gates: Iterable[Gate]) -> list[Gate]:
    """Order gates by their verdict, failed ones first; otherwise as they come."""
    return sorted(gates, key=lambda gate: _WORST_FIRST.index(gate.verdict))


def failures(gates: Iterable[Gate]) -> list[str]:
    """Say what failed, each once."""
    return list(dict.fromkeys(gate.message for gate in gates if gate.verdict == "fail"))


def rests_on(measurement: Measurement, gates: Iterable[Gate]) -> tuple[str, ...]:
    """Return the IDs of the gates that could lower the status of a value."""
    return tuple(
        gate.id
        for gate in gates
        if _lowered(measurement.measure, measurement.region, gate.id, "fail")
    )


def follow_gates(
    measurements: Iterable[Measurement], gates: Sequence[Gate]
) -> tuple[Measurement, ...]:
    """Lower the status of every value to what the gates and possibility leave of it.

    A failed gate makes the values that rest on it missing or gives them a caution, a warning gives
    a caution, as `lungperfusion.terms.gates` says for each; an impossible value is missing.  What
    has been lowered before stays as it is, so that nothing is said twice.

    Parameters
    ----------
    measurements
        Values of one analysis.
    gates
        Gates of the same analysis.

    Returns
    -------
    tuple of Measurement
        The same values in the same order.

    """
    doubtful = [gate for gate in worst_first(gates) if gate.verdict in ("fail", "warn")]
    return tuple(_followed(measurement, doubtful) for measurement in measurements)


def row_status(
    row: Mapping[str, Any], measure: str, gates: Sequence[Gate], *, region: str
) -> dict[str, Any]:
    """Give a row of findings the status of the measure that is summed up from them.

    Where the measure is missing, so are the numbers of the row.
    """
    status: Status = row.get("status", "ok")
    value = math.nan if status == "missing" else 0.0
    entry = Measurement(
        region=region,
        measure=measure,
        value=value,
        unit=MEASURES[measure].unit,
        method="",
        status=status,
        reason=row.get("reason", ""),
    )
    (followed,) = follow_gates((entry,), gates)
    cells = dict(row) if followed.status != "missing" else _emptied(row)
    return {**cells, "status": followed.status, "reason": followed.reason}


def _emptied(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if isinstance(cell, float) else cell for name, cell in row.items()}


def _lowered(measure: str, region: str, gate_id: str, verdict: str) -> Lowered | None:
    found = {effect.lowers(measure, region, verdict) for effect in effects_of(gate_id)}
    return "missing" if "missing" in found else "caution" if "caution" in found else None


def _followed(entry: Measurement, gates: Sequence[Gate]) -> Measurement:
    if entry.status == "missing":
        return entry
    reasons: dict[Lowered, list[str]] = {"missing": [], "caution": []}
    status, impossible = _possible(entry)
    if status is not None:
        reasons[status].append(impossible)
    for gate in gates:
        lowered = _lowered(entry.measure, entry.region, gate.id, gate.verdict)
        if lowered is not None:
            reasons[lowered].append(gate.message)
    if lost := reasons["missing"]:
        return replace(entry, value=math.nan, status="missing", reason=merged_reason(lost))
    if doubts := reasons["caution"]:
        reason = merged_reason([entry.reason, *doubts])
        return replace(entry, status="caution", reason=reason)
    return entry


def _possible(entry: Measurement) -> tuple[Lowered | None, str]:
    """Status that is left to a value by what can be true at all, and why."""
    measure = MEASURES[entry.measure]
    low, high = measure.possible_range
    if low <= entry.value <= high:
        return None, ""
    what = f"{entry.value:.4g} {entry.unit} was measured"
    if low - measure.tolerance <= entry.value <= high + measure.tolerance:
        return "caution", f"{what}, which noise and calibration make of {max(low, 0.0):g}"
    bounds = f"{low:g} to {high:.6g}" if math.isfinite(high) else f"at least {low:g}"
    return "missing", (
        f"{what}, which is impossible ({bounds}): check the images, their spacing and the outlines"
    )


def merged_reason(texts: Iterable[str]) -> str:
    """Join reasons in the order given, each once, as many as a reader takes in.

    Examples
    --------
    >>> merged_reason(["Slices are thick.", "", "Slices are thick"])
    'Slices are thick'

    """
    merged = ""
    for text in (text.strip().rstrip(".") for text in texts):
        if not text or text in merged or merged.endswith(MORE):
            continue
        if not merged:
            merged = text
        elif len(merged) + len(text) <= LONGEST_REASON:
            merged = f"{merged}; {text}"
        else:
            merged = f"{merged}; {MORE}"
    return merged
