"""Clot scores, diameter lines and lung function: files and options in, measurements out."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.io.json_files import read_json, shown
from lungperfusion.io.markups import Markup, read_markups
from lungperfusion.io.tables import read_small_table
from lungperfusion.iodine.phenotype import (
    RV_LV_AT_MOST,
    CtFindings,
    LungFunction,
    Pattern,
    gas_transfer_mismatch,
    isolated_low_dlco,
    stratum,
    stratum_code,
)
from lungperfusion.iodine.signs import (
    QANADLI_SOURCE,
    DiameterRatio,
    ObstructionIndex,
    diameter_ratio,
    obstruction_index,
    scores_from_rows,
)
from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.naming import named
from lungperfusion.terms import Region

LINE_NAMES = ("pulmonary_artery", "aorta", "right_ventricle", "left_ventricle")
"""Names of the lines that make the two ratios."""

_FUNCTION = (
    ("fvc", "forced vital capacity"),
    ("fev1", "forced expiratory volume in 1 s"),
    ("tlc", "total lung capacity"),
    ("dlco_c", "transfer factor, corrected for haemoglobin"),
    ("kco_c", "transfer coefficient, corrected for haemoglobin"),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class CtSigns:
    """Signs that a reader scored or drew; None for what was not."""

    obstruction: ObstructionIndex | None = None
    pa_ao: DiameterRatio | None = None
    rv_lv: DiameterRatio | None = None

    def measurements(self) -> tuple[Measurement, ...]:
        """Measurements of the three signs, those that were not given as missing."""
        rows = [
            missing(Region.LUNGS, "qanadli", "no clot scores were given (--clots)")
            if self.obstruction is None
            else measured(
                Region.LUNGS,
                "qanadli",
                100 * self.obstruction.fraction,
                f"{QANADLI_SOURCE}; {self.obstruction.points} of 40 points",
            )
        ]
        for name, ratio, normal in (
            ("pa_ao_ratio", self.pa_ao, "normal < 1"),
            (
                "rv_lv_ratio",
                self.rv_lv,
                f"letter: normal < 1, its patients up to {RV_LV_AT_MOST:g}",
            ),
        ):
            rows.append(
                missing(Region.LUNGS, name, "no lines were given (--lines)")
                if ratio is None
                else measured(
                    Region.LUNGS,
                    name,
                    ratio.ratio,
                    f"{ratio.numerator_mm:.1f} / {ratio.denominator_mm:.1f} mm; {normal}",
                )
            )
        return tuple(rows)


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
    for name, words in _FUNCTION:
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
    values = {name: getattr(arguments, name) for name, _ in _FUNCTION}
    if all(value is None for value in values.values()):
        return None
    return LungFunction(**values)


def patterns(
    function: LungFunction, signs: CtSigns, measurements: Iterable[Measurement]
) -> tuple[Pattern, ...]:
    """Check both patterns of low gas transfer against lung function, CT signs and ground glass."""
    ground_glass = next(
        (m.value for m in measurements if (m.region, m.measure) == ("lungs", "ggo")), np.nan
    )
    findings = CtFindings(
        qanadli_percent=None if signs.obstruction is None else 100 * signs.obstruction.fraction,
        ggo_percent=None if np.isnan(ground_glass) else ground_glass,
        pa_ao_ratio=None if signs.pa_ao is None else signs.pa_ao.ratio,
        rv_lv_ratio=None if signs.rv_lv is None else signs.rv_lv.ratio,
    )
    return isolated_low_dlco(function, findings), gas_transfer_mismatch(function, findings)


def measure_function(function: LungFunction, checked: Sequence[Pattern]) -> tuple[Measurement, ...]:
    """Lung function as given, its stratum and the patterns, as rows for tables."""
    rows = [
        measured(Region.LUNGS, f"{name}_predicted", value, "given")
        for name, _ in _FUNCTION
        if (value := getattr(function, name)) is not None
    ]
    code, words = stratum_code(function), stratum(function)
    rows.append(
        missing(Region.LUNGS, "function_stratum", words)
        if code is None
        else measured(Region.LUNGS, "function_stratum", float(code), words)
    )
    return (*rows, *map(_pattern_row, checked))


def _pattern_row(pattern: Pattern) -> Measurement:
    name = pattern.name.lower().replace(" ", "_")
    by_answer = {
        answer: [c.text for c in pattern.conditions if c.answer == answer]
        for answer in ("not met", "unknown")
    }
    if pattern.answer == "unknown":
        return missing(Region.LUNGS, name, f"unknown: {', '.join(by_answer['unknown'])}")
    words = "all conditions met"
    if pattern.answer == "not met":
        words = f"not met: {', '.join(by_answer['not met'])}"
    return measured(Region.LUNGS, name, float(pattern.answer == "met"), words)


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
