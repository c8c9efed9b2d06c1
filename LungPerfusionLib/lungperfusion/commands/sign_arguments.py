"""Clot scores, diameter lines and lung function out of options and files."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.analysis.ct_signs import FUNCTION_TESTS, LINE_NAMES, CtSigns
from lungperfusion.errors import InputError
from lungperfusion.io.json_files import read_json, shown
from lungperfusion.io.markups import Markup, read_markups
from lungperfusion.io.tables import read_small_table
from lungperfusion.iodine.phenotype import LungFunction
from lungperfusion.iodine.signs import (
    DiameterRatio,
    diameter_ratio,
    obstruction_index,
    scores_from_rows,
)
from lungperfusion.naming import named


def add_sign_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options on CT signs and lung function."""
    group = parser.add_argument_group("CT signs")
    group.add_argument(
        "--clots",
        type=Path,
        metavar="FILE",
        help="clot scores: CSV with the columns artery and degree (0, 1, 2), or JSON; an empty "
        "table means no clot",
    )
    group.add_argument(
        "--lines",
        type=Path,
        nargs="+",
        metavar="FILE",
        help=f"diameter lines named {', '.join(LINE_NAMES)}: Slicer markups (.mrk.json) or CSV "
        "with name, r1, a1, s1, r2, a2, s2 in RAS mm",
    )
    function = parser.add_argument_group("lung function, in % of predicted")
    for name, words in FUNCTION_TESTS:
        function.add_argument(f"--{name.replace('_', '-')}", type=float, metavar="%", help=words)


def signs_from_arguments(arguments: argparse.Namespace) -> CtSigns:
    """Read the files that the options name."""
    scores = None if arguments.clots is None else read_clots(arguments.clots)
    lines = {} if arguments.lines is None else read_lines(arguments.lines)
    return CtSigns(
        obstruction=None if scores is None else obstruction_index(scores),
        pa_ao=_ratio(lines, "pulmonary_artery", "aorta"),
        rv_lv=_ratio(lines, "right_ventricle", "left_ventricle"),
    )


def function_from_arguments(arguments: argparse.Namespace) -> LungFunction | None:
    """Lung function from the options; None when no value was given."""
    values = {name: getattr(arguments, name) for name, _ in FUNCTION_TESTS}
    if all(value is None for value in values.values()):
        return None
    return LungFunction(**values)


def read_clots(path: Path) -> dict[str, int]:
    """Read clot scores: CSV with ``artery`` and ``degree``, or JSON.

    JSON is an object ``{"right_main": 2, ...}`` or a list of objects with both keys.

    Raises
    ------
    InputError
        If the file cannot be read or names arteries or degrees that do not exist.

    """
    if path.suffix.lower() != ".json":
        table = read_small_table(path)
        if not {"artery", "degree"} <= set(table.columns):
            raise InputError(
                f"{named(path.name)}: a clot table needs the columns artery and degree in its "
                f"first line; given are {', '.join(table.columns) or 'none'}"
            )
        return _named_after(path, lambda: scores_from_rows(table.mappings))
    content = read_json(path, "clot scores")
    if isinstance(content, dict):
        content = [{"artery": artery, "degree": degree} for artery, degree in content.items()]
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise InputError(
            f"{named(path.name)}: clot scores in JSON are an object of artery and degree, such as "
            '{"right_main": 2}, or a list of objects with the keys artery and degree'
        )
    rows = [{str(key): str(value) for key, value in row.items()} for row in content]
    return _named_after(path, lambda: scores_from_rows(rows))


def _named_after(path: Path, read: Any) -> dict[str, int]:
    try:
        scores: dict[str, int] = read()
    except InputError as error:
        raise InputError(f"{named(path.name)}: {error}") from error
    return scores


def read_lines(paths: Sequence[Path]) -> dict[str, NDArray[np.float64]]:
    """Read diameter lines: name and two points in RAS mm, shape (2, 3).

    A Slicer markups file holds one or several lines; each is named by its ``name``, by the label
    of its points (``aorta-1``), or, when alone in its file, by the file (``aorta.mrk.json``).

    Raises
    ------
    InputError
        For unreadable files, unknown or double names, and half a pair of lines.

    """
    lines: dict[str, NDArray[np.float64]] = {}
    for path in paths:
        found = _csv_lines(path) if path.suffix.lower() == ".csv" else _markup_lines(path)
        for name, points in found:
            if name not in LINE_NAMES:
                raise InputError(
                    f"{named(path.name)}: no line is called {name!r}; expected "
                    f"{', '.join(LINE_NAMES)}"
                )
            if name in lines:
                raise InputError(f"{named(path.name)}: the line {name} is given twice; keep one")
            lines[name] = points
    return lines


def _ratio(
    lines: Mapping[str, NDArray[np.float64]], numerator: str, denominator: str
) -> DiameterRatio | None:
    given = [name for name in (numerator, denominator) if name in lines]
    if not given:
        return None
    if len(given) == 1:
        absent = denominator if given == [numerator] else numerator
        raise InputError(f"the line {given[0]} needs its partner {absent} for a ratio; add it")
    return diameter_ratio(
        lines[numerator],
        lines[denominator],
        names=(numerator.replace("_", " "), denominator.replace("_", " ")),
    )


def _csv_lines(path: Path) -> list[tuple[str, NDArray[np.float64]]]:
    columns = ("r1", "a1", "s1", "r2", "a2", "s2")
    table = read_small_table(path)
    if not {"name", *columns} <= set(table.columns):
        raise InputError(
            f"{named(path.name)}: lines need the columns name, {', '.join(columns)} (RAS mm)"
        )
    lines = []
    for entry, row in zip(table.rows, table.mappings, strict=True):
        try:
            points = np.array([float(row[column]) for column in columns]).reshape(2, 3)
        except ValueError:
            points = np.full((2, 3), np.nan)
        if not np.isfinite(points).all():
            raise InputError(f"{named(path.name)}, line {entry.number}: six numbers in mm expected")
        lines.append((_identifier(row["name"]), points))
    return lines


def _markup_lines(path: Path) -> list[tuple[str, NDArray[np.float64]]]:
    markups = read_markups(path)
    if not markups:
        raise InputError(f"{named(path.name)} holds no Slicer markups; save the lines as .mrk.json")
    lines = []
    for markup in markups:
        points = markup.points_ras_mm
        if markup.type != "Line" or len(points) != 2:
            raise InputError(
                f"{named(path.name)}: a line of two points expected, not {shown(markup.type)} with "
                f"{len(points)} points"
            )
        lines.append((_line_name(markup, path, alone=len(markups) == 1), points))
    return lines


def _line_name(markup: Markup, path: Path, *, alone: bool) -> str:
    label = re.sub(r"[-_ ]?\d+$", "", markup.labels[0])
    candidates = [markup.name, label, path.name.split(".")[0] if alone else ""]
    names = [_identifier(name) for name in candidates if name]
    return next((name for name in names if name in LINE_NAMES), names[0] if names else "")


def _identifier(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")
