"""Reading points on fissures: Slicer markups or CSV."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.io.json_files import shown
from lungperfusion.io.markups import read_markups
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
    rows = _markups(path) if path.suffix.lower() == ".json" else _table(path)
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


def _markups(path: Path) -> list[tuple[str, list[float]]]:
    rows = []
    for markup in read_markups(path):
        for label, point in zip(markup.labels, markup.points_ras_mm, strict=True):
            fissure = _fissure(markup.name, label)
            if fissure is None:
                raise InputError(
                    f"the list {named(shown(markup.name))} with the point {named(shown(label))} of "
                    f"{named(path.name)} names no fissure; name the list after one: {_known()}"
                )
            rows.append((fissure, point.tolist()))
    return rows


def _table(path: Path) -> list[tuple[str, list[float]]]:
    rows = []
    table = read_small_table(path)
    lacking = [column for column in COLUMNS if column not in table.columns]
    if lacking:
        raise InputError(
            f"{named(path.name)} lacks the column(s) {', '.join(lacking)}; expected "
            f"{', '.join(COLUMNS)}"
        )
    for entry, row in zip(table.rows, table.mappings, strict=True):
        number = entry.number
        fissure = _fissure(row["fissure"])
        if fissure is None:
            raise InputError(
                f"line {number} of {named(path.name)} names no fissure ({shown(row['fissure'])}); "
                f"expected one of {_known()}"
            )
        rows.append((fissure, _numbers([row[column] for column in COLUMNS[1:]], path)))
    return rows


def _numbers(values: Any, path: Path) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 3 or not np.isfinite(numbers).all():
        raise InputError(
            f"a point of {named(path.name)} has no three finite coordinates: {shown(values)}"
        )
    return numbers
