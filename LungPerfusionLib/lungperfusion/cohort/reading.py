"""Measurements of many cases and a clinical table, read as people save them and checked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lungperfusion.batch.joined import CAUTIONS, by_column
from lungperfusion.errors import InputError
from lungperfusion.io.tables import SmallTable, read_small_table
from lungperfusion.naming import named
from lungperfusion.results.tables import COLUMNS
from lungperfusion.terms import MEASURES
from lungperfusion.terms.lung_function import PLAUSIBLE, UNIT_SUFFIXES

CASE = "case"
D_DIMER = "d_dimer"

_NOTHING = frozenset({"", "nan", "na", "n/a", "none", "null", "-", "."})
_LONGEST_WIDE_CELL = 200_000
"""Characters: a wide table lists all columns to read with care in one cell."""
_NOT_MEASURED = ("status", CAUTIONS)
_FEWEST_FOR_FRACTIONS = 3
_LARGEST = 1e15
"""Size of a number beyond which no quantity of a patient lies and squares lose their digits."""

Cell = float | str


@dataclass(frozen=True, kw_only=True)
class CaseTable:
    """Values by case and column, with what is known of the columns."""

    rows: Mapping[str, Mapping[str, Cell]]
    """Values by case; a column that is absent or NaN has no value there."""
    units: Mapping[str, str]
    """Unit by column, as far as it is known."""
    measures: Mapping[str, str] = field(default_factory=dict)
    """ID of the measure by column, of measurements only."""
    cautions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Cases whose value in a column is to be read with care."""
    reasons: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Why a value is missing, by case and column."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns in alphabetical order: the order of the rows leaves no trace."""
        return tuple(sorted({name for row in self.rows.values() for name in row}))


def read_measurements(path: Path) -> CaseTable:
    """Read ``cohort_tidy.csv``, ``cohort_wide.csv`` or ``measurements.csv``.

    Columns are named as in ``cohort_wide.csv``: ``analysis_measure_unit.region``.

    Parameters
    ----------
    path
        CSV with one line per value or one line per case.

    Raises
    ------
    InputError
        If a value is given twice, a measure comes in two units or in another unit than this
        program gives it, or a value is no number.

    """
    table = read_small_table(path, longest_cell=_LONGEST_WIDE_CELL)
    if set(COLUMNS) - {"status", "reason", "method"} <= set(table.columns):
        return _tidy(path, table)
    if CASE not in table.columns:
        raise InputError(
            f"{named(path.name)} has no column {CASE!r}; give cohort_tidy.csv, cohort_wide.csv or "
            f"measurements.csv (found: {', '.join(table.columns[:8])})"
        )
    return _wide(path, table)


def _tidy(path: Path, table: SmallTable) -> CaseTable:
    by_case: dict[str, list[dict[str, str]]] = {}
    seen: dict[tuple[str, ...], int] = {}
    units: dict[tuple[str, str], Counter[str]] = {}
    for row, given in zip(table.rows, table.mappings, strict=True):
        cells = {"method": "", "status": "ok", "reason": "", **given}
        key = tuple(cells[name] for name in (CASE, "module", "region", "measure", "method"))
        if not key[0]:
            raise InputError(f"{named(path.name)}, line {row.number}: the case has no name")
        if key in seen:
            raise InputError(
                f"{named(path.name)}, line {row.number}: {cells['measure']} of {cells['region']} "
                f"of case {named(key[0])} stands in line {seen[key]} already; keep one of them"
            )
        seen[key] = row.number
        by_case.setdefault(key[0], []).append(cells | {"line": str(row.number)})
        units.setdefault((cells["module"], cells["measure"]), Counter())[cells["unit"]] += 1
    _check_units(path, units)
    rows: dict[str, dict[str, Cell]] = {}
    column_units: dict[str, str] = {}
    measures: dict[str, str] = {}
    careful: dict[str, set[str]] = {}
    reasons: dict[tuple[str, str], str] = {}
    for case, found in by_case.items():
        rows[case] = {}
        for (region, stem), entry in by_column(found).items():
            column = f"{stem}.{region}"
            value = math.nan
            if entry["status"] != "missing":
                value = _number(path, int(entry["line"]), "value", entry["value"])
            rows[case][column] = value
            column_units[column] = entry["unit"]
            measures[column] = entry["measure"]
            if entry["status"] == "caution":
                careful.setdefault(column, set()).add(case)
            if math.isnan(value):
                reasons[case, column] = entry["reason"] or "no value in the results"
    return CaseTable(
        rows=rows,
        units=column_units,
        measures=measures,
        cautions={column: frozenset(cases) for column, cases in careful.items()},
        reasons=reasons,
    )


def _check_units(path: Path, units: Mapping[tuple[str, str], Counter[str]]) -> None:
    for (_, measure), found in units.items():
        if len(found) > 1:
            words = " and ".join(f"{unit} ({count} rows)" for unit, count in sorted(found.items()))
            raise InputError(
                f"{named(path.name)} has {measure} in {words}; bring all rows to one unit"
            )
        (unit,) = found
        if measure in MEASURES and unit != MEASURES[measure].unit:
            raise InputError(
                f"{named(path.name)} has {measure} in {unit}; this program gives it in "
                f"{MEASURES[measure].unit}: convert the values and the unit"
            )


def _wide(path: Path, table: SmallTable) -> CaseTable:
    _refuse_double_columns(path, table.columns)
    names = [name for name in table.columns if name not in (CASE, *_NOT_MEASURED) and name]
    stems = {name: _measure_of(name) for name in names}
    measures = {name: measure for name, measure in stems.items() if measure}
    if not measures:
        raise InputError(
            f"no column of {named(path.name)} is a measure of this program; name the measurements "
            "first and the clinical table second"
        )
    rows: dict[str, dict[str, Cell]] = {}
    careful: dict[str, set[str]] = {}
    for row, cells in zip(table.rows, table.mappings, strict=True):
        case = _case(path, row.number, cells[CASE], rows)
        rows[case] = {name: _number(path, row.number, name, cells[name]) for name in names}
        for column in cells.get(CAUTIONS, "").split():
            careful.setdefault(column, set()).add(case)
    return CaseTable(
        rows=rows,
        units={name: MEASURES[measure].unit for name, measure in measures.items()},
        measures=measures,
        cautions={column: frozenset(cases) for column, cases in careful.items()},
    )


def _measure_of(column: str) -> str:
    """ID of the measure in a column's name such as ``lungs_mld_hu.left_lung``; the longest one."""
    stem = column.partition(".")[0].partition("_")[2] + "_"
    found = [name for name in MEASURES if stem.startswith(f"{name}_")]
    return max(found, key=len, default="")


def read_clinical(path: Path) -> CaseTable:
    """Read a clinical table with one line per case.

    A column is a number when its filled cells are numbers, else a category.  Its unit is what its
    name ends in (``fvc_pct``, ``pao2_mmhg``) or what a column ``<name>_unit`` says.

    Parameters
    ----------
    path
        CSV with a column ``case``.

    Raises
    ------
    InputError
        If a case or column is given twice, units conflict, a number column holds words, or a value
        is impossible in its unit.

    """
    table = read_small_table(path)
    _refuse_double_columns(path, table.columns)
    if CASE not in table.columns:
        raise InputError(
            f"{named(path.name)} has no column {CASE!r} to join on (found: "
            f"{', '.join(named(name) for name in table.columns[:8])}); rename the one that holds "
            "the names of the cases"
        )
    lines: dict[str, int] = {}
    texts: dict[str, dict[str, str]] = {}
    for row, cells in zip(table.rows, table.mappings, strict=True):
        case = _case(path, row.number, cells[CASE], texts)
        lines[case] = row.number
        texts[case] = {name: text for name, text in cells.items() if name != CASE}
    names = [name for name in table.columns if name and name != CASE]
    columns = {
        name: _column(path, name, {case: row[name] for case, row in texts.items()}, lines)
        for name in names
    }
    units = _clinical_units(path, names, columns)
    for name, values in columns.items():
        _check_range(path, name, values, lines)
    rows = {case: {name: columns[name][case] for name in names} for case in texts}
    return CaseTable(rows=rows, units=units)


def _case(path: Path, line: int, text: str, known: Iterable[str]) -> str:
    if not text:
        raise InputError(f"{named(path.name)}, line {line}: the case has no name")
    if text in known:
        raise InputError(
            f"{named(path.name)}, line {line}: case {named(text)} is there twice; keep one line "
            "per case"
        )
    return text


def _refuse_double_columns(path: Path, columns: Sequence[str]) -> None:
    twice = [name for name, count in Counter(columns).items() if name and count > 1]
    if twice:
        raise InputError(
            f"{named(path.name)} has the column {named(twice[0])} twice; rename or remove one"
        )


def is_nothing(text: str) -> bool:
    """Whether a cell says that there is no value."""
    return text.strip().casefold() in _NOTHING


def _float(text: str) -> float | None:
    """Read a number; None for what is none, such as an infinite one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def _number(path: Path, line: int, column: str, text: str) -> float:
    if is_nothing(text):
        return math.nan
    value = _float(text)
    if value is None and text.strip().startswith(("<", ">")):
        raise InputError(
            f"{named(path.name)}, line {line}, column {named(column)}: {named(text)} is a limit "
            "and no number; write the number that the analysis is to use, or leave the cell empty"
        )
    if value is None:
        raise InputError(
            f"{named(path.name)}, line {line}, column {named(column)}: {named(text)} is no number; "
            "write a decimal point (or, with semicolons between cells, a comma) and no thousands "
            "separator, and leave the cell empty where there is no value"
        )
    if abs(value) > _LARGEST:
        raise InputError(
            f"{named(path.name)}, line {line}, column {named(column)}: {value:g} is larger than "
            "any quantity of a patient; correct it or leave the cell empty"
        )
    return value


def _column(
    path: Path, name: str, texts: Mapping[str, str], lines: Mapping[str, int]
) -> dict[str, Cell]:
    filled = {case: text for case, text in texts.items() if not is_nothing(text)}
    numbers = sum(_float(text) is not None for text in filled.values())
    if not filled:
        return dict.fromkeys(texts, math.nan)
    if _suffix(name) or name in PLAUSIBLE or 2 * numbers >= len(filled):
        return {case: _number(path, lines[case], name, text) for case, text in texts.items()}
    return {case: "" if is_nothing(text) else text for case, text in texts.items()}


def _suffix(name: str) -> str:
    """Read the unit that a column's name ends in; empty where it says none."""
    end = _end(name)
    return UNIT_SUFFIXES[end] if end else ""


def _end(name: str) -> str:
    """Longest known unit that a column's name ends in, as it stands there."""
    return max(
        (end for end in UNIT_SUFFIXES if name.casefold().endswith(f"_{end}")), key=len, default=""
    )


def _clinical_units(
    path: Path, names: Sequence[str], columns: Mapping[str, Mapping[str, Cell]]
) -> dict[str, str]:
    units = {name: unit for name in names if (unit := _suffix(name))}
    for name in names:
        stem = name.removesuffix("_unit")
        if stem in (name, D_DIMER) or stem not in columns:
            continue
        said = sorted({v for v in columns[name].values() if isinstance(v, str) and v})
        if len(said) > 1:
            raise InputError(
                f"{named(path.name)} gives {named(stem)} in {' and '.join(said)}; bring all rows "
                "to one unit"
            )
        if said and units.get(stem, said[0]).casefold() != said[0].casefold():
            raise InputError(
                f"{named(path.name)}: the name of column {named(stem)} says {units[stem]}, column "
                f"{named(name)} says {said[0]}; correct one of them"
            )
        if said:
            units[stem] = said[0]
    stems: dict[str, str] = {}
    for name in sorted(units):
        stem = name[: -1 - len(_end(name))] if _end(name) else name
        other = stems.setdefault(stem, name)
        if other != name and {units[other], units[name]} in _CONFLICTS:
            raise InputError(
                f"{named(path.name)} has {named(other)} and {named(name)}; keep the one unit that "
                "the analysis is to use"
            )
    return units


_CONFLICTS = ({"mmHg", "kPa"}, {"µg/L", "mg/L"}, {"ng/mL", "mg/L"}, {"µg/L", "ng/mL"})
"""Units of one quantity: two columns in them say the same or contradict each other."""


def _check_range(
    path: Path, name: str, values: Mapping[str, Cell], lines: Mapping[str, int]
) -> None:
    numbers = {
        case: value
        for case, value in values.items()
        if isinstance(value, float) and not math.isnan(value)
    }
    many = len(numbers) >= _FEWEST_FOR_FRACTIONS and name not in PLAUSIBLE
    if many and _suffix(name) == "%" and 0 < max(numbers.values()) <= 1:
        raise InputError(
            f"{named(path.name)}: column {named(name)} is to hold %, but no value exceeds 1; "
            "write 85 for 0.85"
        )
    low, high = PLAUSIBLE.get(name, (-math.inf, math.inf))
    for case, value in numbers.items():
        if not low <= value <= high:
            unit = _suffix(name) or ("a fraction" if name == "fio2" else "its unit")
            raise InputError(
                f"{named(path.name)}, line {lines[case]}: {name} is {value:g}, but must lie "
                f"between {low:g} and {high:g} ({unit}); convert the value or leave the cell empty"
            )
