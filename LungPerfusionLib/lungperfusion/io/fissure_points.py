"""Reading points on fissures: Slicer markups or CSV."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.io.tables import read_small_table
from lungperfusion.naming import named
from lungperfusion.terms import FISSURES, title

_NAMES = {
    "left oblique": "left_oblique_fissure",
    "left major": "left_oblique_fissure",
    "lof": "left_oblique_fissure",
    "right oblique": "right_oblique_fissure",
    "right major": "right_oblique_fissure",
    "rof": "right_oblique_fissure",
    "right horizontal": "right_horizontal_fissure",
    "right minor": "right_horizontal_fissure",
    "horizontal": "right_horizontal_fissure",
    "minor": "right_horizontal_fissure",
    "rhf": "right_horizontal_fissure",
}

COLUMNS = ("fissure", "r_mm", "a_mm", "s_mm")
"""Columns of a CSV file of fissure points; others are ignored."""


def read_fissure_points(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read points on fissures, by fissure ID, in RAS mm.

    Parameters
    ----------
    path
        Slicer markups (``.mrk.json`` or ``.json``): the name of each list, or else the label of
        each control point, says which fissure it is on; LPS files are turned.  Or CSV with the
        columns ``fissure``, ``r_mm``, ``a_mm``, ``s_mm``.

    Returns
    -------
    dict
        Points, shape (n, 3), of every fissure that has some.

    Raises
    ------
    InputError
        If the file holds no points, or one of them names no fissure.

    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {named(path)} with fissure points; check the spelling")
    if path.suffix.lower() == ".json":
        rows = _markups(path.read_text(encoding="utf-8-sig"), named(path.name))
    else:
        rows = _table(path, named(path.name))
    if not rows:
        raise InputError(f"{named(path.name)} holds no fissure points")
    out: dict[str, list[list[float]]] = {}
    for name, point in rows:
        out.setdefault(name, []).append(point)
    return {name: np.array(points) for name, points in out.items()}


def _fissure(*names: str) -> str | None:
    """ID of the fissure that the first telling of several names means."""
    for name in names:
        words = re.sub(r"[^a-z]+", " ", name.lower()).strip()
        words = re.sub(r" ?(fissure|points?)\b", "", words).strip()
        if words in _NAMES:
            return _NAMES[words]
    return None


def _known() -> str:
    return ", ".join(title(fissure).lower() for fissure in FISSURES)


def _markups(text: str, name: str) -> list[tuple[str, list[float]]]:
    try:
        lists = json.loads(text)["markups"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{name} is no Slicer markups file; save the point list as .mrk.json"
        ) from error
    rows = []
    for markup in lists:
        system = markup.get("coordinateSystem", "LPS")
        sign = -1.0 if system in ("LPS", "1", 1) else 1.0
        for point in markup.get("controlPoints", []):
            if point.get("positionStatus", "defined") != "defined":
                continue
            fissure = _fissure(markup.get("name", ""), point.get("label", ""))
            if fissure is None:
                raise InputError(
                    f"the list {markup.get('name', '')!r} with the point "
                    f"{point.get('label', '')!r} of {name} names no fissure; "
                    f"name the list after one: {_known()}"
                )
            r, a, s = _numbers(point.get("position"), name)
            rows.append((fissure, [sign * r, sign * a, s]))
    return rows


def _table(path: Path, name: str) -> list[tuple[str, list[float]]]:
    rows = []
    table = read_small_table(path)
    lacking = [column for column in COLUMNS if column not in table.columns]
    if lacking:
        raise InputError(
            f"{name} lacks the column(s) {', '.join(lacking)}; expected {', '.join(COLUMNS)}"
        )
    for entry, row in zip(table.rows, table.mappings, strict=True):
        number = entry.number
        fissure = _fissure(row["fissure"])
        if fissure is None:
            raise InputError(
                f"line {number} of {name} names no fissure ({row['fissure']!r}); "
                f"expected one of {_known()}"
            )
        rows.append((fissure, _numbers([row[column] for column in COLUMNS[1:]], name)))
    return rows


def _numbers(values: Any, name: str) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 3 or not np.isfinite(numbers).all():
        raise InputError(f"a point of {name} has no three finite coordinates: {values!r}")
    return numbers
