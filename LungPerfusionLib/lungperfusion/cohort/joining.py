"""Measurements and clinical table joined on the case, with what did not fit together."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lungperfusion.batch.cohort import QUALITY_COLUMNS
from lungperfusion.cohort.libraries import pandas
from lungperfusion.cohort.reading import CaseTable, Cell
from lungperfusion.errors import InputError
from lungperfusion.io.tables import read_small_table
from lungperfusion.naming import named
from lungperfusion.terms import MEASURES, Region, title
from lungperfusion.terms.gates import IMAGED, effects_of
from lungperfusion.terms.lung_function import ACQUISITION, TITLES

if TYPE_CHECKING:
    from pandas import DataFrame

QUALITY_FILE = "cohort_quality.csv"
"""What a batch writes beside its tables."""

MIXED_GATES = ("kernel", "inspiration", "contrast", "slice_thickness")
"""Checks that say how a scan was made; where some cases pass and others do not, they differ."""

EXCLUDED_COLUMNS = ("case", "column", "reason")


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """All cases that are in both tables."""

    frame: DataFrame
    """One row per case in alphabetical order, one column per value."""
    units: Mapping[str, str]
    measures: Mapping[str, str]
    """ID of the measure by column, of measurements only."""
    careful: Mapping[str, frozenset[str]]
    """Cases whose value in a column is to be read with care."""
    reasons: Mapping[tuple[str, str], str]
    unmatched: tuple[Mapping[str, str], ...]
    """Rows for excluded.csv of cases that are in one table only."""
    mixed: Mapping[str, frozenset[str]]
    """Measures, by a sentence that says what differs between the cases."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Words that a layout gives to columns."""

    def column(self, name: str) -> str:
        """Full name of a column.

        Parameters
        ----------
        name
            A column as it is called, or a measure such as ``ipv`` (of both lungs) or
            ``emphysema.left_lung``, where only one analysis gives it.

        Raises
        ------
        InputError
            If there is none, or several.

        """
        if name in self.frame.columns:
            return name
        measure, _, region = name.partition(".")
        wanted = region or Region.LUNGS.value
        found = [
            column
            for column, known in self.measures.items()
            if known == measure and column.endswith(f".{wanted}")
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"several columns hold {name}: {', '.join(sorted(found))}; name the one to take"
            )
        near = difflib.get_close_matches(
            name, [*self.frame.columns, *self.measures.values()], n=3, cutoff=0.5
        )
        hint = (
            f"; did you mean {' or '.join(named(n) for n in dict.fromkeys(near))}?" if near else ""
        )
        raise InputError(f"neither table has a column {named(name)}{hint}")

    def has(self, name: str) -> bool:
        """Whether exactly one column answers to a name."""
        try:
            self.column(name)
        except InputError:
            return False
        return True

    def unit(self, column: str) -> str:
        """Give the unit of a column; empty where none is known."""
        return self.units.get(column, "")

    def is_number(self, column: str) -> bool:
        """Whether a column holds numbers."""
        return bool(pandas().api.types.is_numeric_dtype(self.frame[column]))

    def label(self, column: str) -> str:
        """Words for a column: its label, its title with the region of a measure, or its name."""
        if column in self.labels:
            return self.labels[column]
        measure = self.measures.get(column)
        if measure not in MEASURES:
            return TITLES.get(column, column)
        region = column.rpartition(".")[2]
        words = MEASURES[measure].title
        known = region in set(Region) and region != Region.LUNGS
        return f"{words}, {title(Region(region)).lower()}" if known else words

    def cautions(self, columns: Iterable[str]) -> tuple[str, ...]:
        """Sentences on what to mind with some columns."""
        sentences = []
        for column in columns:
            if count := len(self.careful.get(column, ())):
                verb = "is" if count == 1 else "are"
                sentences.append(
                    f"{self.label(column)}: {count} of {self.frame[column].notna().sum()} values "
                    f"{verb} to be read with care, as the results of the cases say."
                )
        for sentence, measures in self.mixed.items():
            touched = [c for c in columns if self.measures.get(c) in measures]
            if touched:
                words = ", ".join(dict.fromkeys(self.label(column) for column in touched))
                sentences.append(f"{sentence} This bears on {words}.")
        return tuple(dict.fromkeys(sentences))

    def excluded(self, columns: Sequence[str]) -> list[dict[str, str]]:
        """Rows of excluded.csv: cases of one table only, and missing values of these columns."""
        rows = [dict(row) for row in self.unmatched]
        for column in sorted(set(columns)):
            values = self.frame[column]
            for case in self.frame.index[values.isna()]:
                reason = self.reasons.get((case, column), "no value in the table")
                rows.append({"case": case, "column": column, "reason": reason})
        return rows

    def without_cautions(self) -> Cohort:
        """Cohort without the values that are to be read with care."""
        frame = self.frame.copy()
        reasons = dict(self.reasons)
        for column, cases in self.careful.items():
            if column in frame.columns:
                frame.loc[[c for c in frame.index if c in cases], column] = math.nan
                reasons |= {(c, column): "left out: to be read with care" for c in sorted(cases)}
        return replace(self, frame=frame, reasons=reasons, careful={})


def join(
    measurements: CaseTable,
    clinical: CaseTable,
    *,
    names: tuple[str, str] = ("the measurements", "the clinical table"),
    quality: Path | None = None,
) -> Cohort:
    """Join two tables on the case.

    Parameters
    ----------
    measurements, clinical
        As read.
    names
        What the tables are called in sentences.
    quality
        ``cohort_quality.csv`` of the batch, to see whether scans were made alike; None without.

    Raises
    ------
    InputError
        If no case is in both, or a column is.

    """
    both = sorted(set(measurements.rows) & set(clinical.rows))
    if not both:
        raise InputError(
            f"no case is in both tables: {_some(measurements.rows)} in {names[0]}, "
            f"{_some(clinical.rows)} in {names[1]}; give both the same names"
        )
    double = sorted(set(measurements.columns) & set(clinical.columns))
    if double:
        raise InputError(
            f"both tables have a column {named(double[0])}; rename it in the clinical table"
        )
    frame = _frame(
        {case: {**measurements.rows[case], **clinical.rows[case]} for case in both},
        sorted({*measurements.columns, *clinical.columns}),
    )
    return Cohort(
        frame=frame,
        units={**measurements.units, **clinical.units},
        measures=dict(sorted(measurements.measures.items())),
        careful={c: cases & set(both) for c, cases in measurements.cautions.items()},
        reasons=measurements.reasons,
        unmatched=(
            *_unmatched(measurements, clinical, names[1]),
            *_unmatched(clinical, measurements, names[0]),
        ),
        mixed={**_mixed_columns(frame), **_mixed_gates(quality, set(both))},
    )


def alone(clinical: CaseTable) -> Cohort:
    """Cohort of a clinical table without measurements."""
    return Cohort(
        frame=_frame(clinical.rows, clinical.columns),
        units=clinical.units,
        measures={},
        careful={},
        reasons={},
        unmatched=(),
        mixed={},
    )


def _frame(rows: Mapping[str, Mapping[str, Cell]], columns: Sequence[str]) -> DataFrame:
    """One line per case in alphabetical order."""
    cases = sorted(rows)
    return pandas().DataFrame(
        {name: [_cell(rows[case], name) for case in cases] for name in columns},
        index=pandas().Index(cases, name="case"),
    )


def _cell(row: Mapping[str, Cell], name: str) -> Cell | None:
    value = row.get(name, math.nan)
    return None if value == "" else value


def _some(rows: Iterable[str]) -> str:
    found = sorted(rows)
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return (", ".join(str(named(case)) for case in found[:3]) + more) or "none"


def _unmatched(table: CaseTable, other: CaseTable, where: str) -> list[dict[str, str]]:
    """Rows of excluded.csv for cases of one table, with a spelling that may be meant."""
    folded: dict[str, list[str]] = {}
    for case in other.rows:
        folded.setdefault(_folded(case), []).append(case)
    rows = []
    for case in sorted(set(table.rows) - set(other.rows)):
        near = [name for name in folded.get(_folded(case), ()) if name not in table.rows]
        hint = f"; {' or '.join(sorted(near))} may be the same" if near else ""
        rows.append({"case": case, "column": "", "reason": f"not in {where}{hint}"})
    return rows


def _folded(case: str) -> str:
    """Name as spreadsheets and people change it: without case, blanks and leading zeros."""
    text = "".join(letter for letter in case.casefold() if letter.isalnum())
    return text.lstrip("0") or "0"


def _mixed_columns(frame: DataFrame) -> dict[str, frozenset[str]]:
    """Sentences on columns that say how scans were made and hold more than one value."""
    found = {}
    for name in ACQUISITION:
        if name not in frame.columns:
            continue
        counts = frame[name].dropna().astype(str).value_counts().sort_index()
        if len(counts) > 1:
            words = ", ".join(f"{value} ({count})" for value, count in counts.items())
            found[f"The cases differ in {name}: {words}."] = IMAGED
    return found


def _mixed_gates(path: Path | None, cases: set[str]) -> dict[str, frozenset[str]]:
    """Sentences on checks that some cases passed and others did not."""
    if path is None:
        return {}
    verdicts: dict[str, dict[str, int]] = {}
    table = read_small_table(path)
    if not set(QUALITY_COLUMNS[:4]) <= set(table.columns):
        raise InputError(f"{named(path.name)} is not the table of checks that a batch writes")
    for row in table.mappings:
        if row["case"] in cases and row["check"] in MIXED_GATES:
            counts = verdicts.setdefault(row["check"], {})
            counts[row["verdict"]] = counts.get(row["verdict"], 0) + 1
    found = {}
    for gate, counts in sorted(verdicts.items()):
        if "pass" in counts and len(counts) > 1:
            words = ", ".join(f"{verdict} {count}" for verdict, count in sorted(counts.items()))
            measures = frozenset().union(*(effect.measures for effect in effects_of(gate)))
            check = gate.replace("_", " ")
            found[f"The cases differ in the check of {check}: {words}."] = measures
    return found
