"""Result tables as CSV: same rows, same bytes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from typing import Any

from lungperfusion.measurement import Measurement

COLUMNS = (
    "case",
    "module",
    "region",
    "measure",
    "value",
    "unit",
    "method",
    "status",
    "reason",
)
"""Columns of measurements.csv, part of the contract with users' scripts."""

SIGNIFICANT_DIGITS = 6
"""More than any CT measure deserves, few enough to be the same on every processor."""


def number_text(value: float) -> str:
    """Write a number as results files do.

    Examples
    --------
    >>> number_text(5060.0), number_text(0.1 + 0.2), number_text(-0.0), number_text(float("nan"))
    ('5060', '0.3', '0', 'NaN')

    """
    if math.isnan(value):
        return "NaN"
    text = f"{value:.{SIGNIFICANT_DIGITS}g}"
    return "0" if float(text) == 0 else text


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """Write rows as CSV with LF line ends; floats as `number_text`, None as an empty field."""
    names = list(columns)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                name: number_text(value) if isinstance(value, float) else value
                for name, value in row.items()
            }
        )
    return stream.getvalue()


def measurement_rows(
    case: str, module: str, measurements: Iterable[Measurement]
) -> list[dict[str, Any]]:
    """Rows of measurements.csv for one analysis of one case."""
    return [
        {
            "case": case,
            "module": module,
            "region": entry.region,
            "measure": entry.measure,
            "value": entry.value,
            "unit": entry.unit,
            "method": entry.method,
            "status": entry.status,
            "reason": entry.reason,
        }
        for entry in measurements
    ]
