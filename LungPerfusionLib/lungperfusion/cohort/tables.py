"""Table 1: groups side by side, what differs between them, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lungperfusion.cohort.comparisons import (
    TestResult,
    compare_counts,
    compare_many_means,
    compare_many_ranks,
    compare_means,
    compare_ranks,
    holm,
    is_skewed,
)
from lungperfusion.cohort.joining import Cohort
from lungperfusion.cohort.specification import Condition, Contrast, Group, RowSpec, Specification
from lungperfusion.cohort.wording import (
    NOT_TESTED,
    decimals_for,
    estimate,
    number,
    p_text,
    percent,
    stars,
)
from lungperfusion.errors import InputError
from lungperfusion.results.analysis import Table
from lungperfusion.results.report import unit_text
from lungperfusion.terms.lung_function import PLAUSIBLE

if TYPE_CHECKING:
    from pandas import Series

MOST_CATEGORIES = 12
"""A text column with more distinct values is no category but a note or a name."""

MOST_CODES = 6
LARGEST_CODE = 10
FEWEST_PER_CODE = 3
"""Whole numbers without a unit are codes or grades where they take at most so many values, none is
larger, and there are so many cases per value; 0 and 1 alone always are."""

TEST_COLUMNS = (
    *("comparison", "row", "column", "test", "groups", "counts", "effect", "estimate"),
    *("lower", "upper", "statistic", "df", "p", "p_holm", "family_size", "reason"),
)
CONTRAST_COLUMNS = ("effect (95 % CI)", "test", "p", "Holm p")
"""What the table says of each comparison, after its label."""

_MALE = {"m": "male", "male": "male", "f": "female", "female": "female"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTest:
    """A test of one row in one comparison, p adjusted for the others of the comparison."""

    contrast: Contrast
    row: RowSpec
    result: TestResult
    p_holm: float = math.nan
    family_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOne:
    """The table with its tests."""

    table: Table
    tests: tuple[RowTest, ...]
    groups: Mapping[str, int]
    """Patients by label."""
    median_added: tuple[str, ...]
    """Rows whose spread asked for a median beside the mean."""
    rows: tuple[RowSpec, ...] = ()
    """As they are shown: with column, label and kind filled in."""
    coded: tuple[str, ...] = ()
    """Columns of numbers that were taken for codes and are counted."""

    def test_table(self) -> Table:
        """Rows of tests.csv."""
        rows = []
        for test in self.tests:
            record = asdict(test.result)
            rows.append(
                {
                    "comparison": test.contrast.label,
                    "row": test.row.label,
                    "column": test.row.column,
                    "test": record["test"],
                    "groups": " / ".join(group.label for group in test.contrast.groups),
                    "counts": " / ".join(map(str, record["counts"])),
                    "effect": record["effect"],
                    "estimate": record["estimate"],
                    "lower": record["low"],
                    "upper": record["high"],
                    **{key: record[key] for key in ("statistic", "df", "p", "reason")},
                    "p_holm": test.p_holm,
                    "family_size": test.family_size,
                }
            )
        return Table(TEST_COLUMNS, tuple(rows))


def members(cohort: Cohort, group: Group) -> Series:
    """Which cases belong to a group; a missing value meets no condition."""
    chosen = cohort.frame.index == cohort.frame.index
    for entry in group.where:
        column = cohort.column(entry.column)
        chosen = chosen & _meets(cohort.frame[column], entry, cohort.is_number(column))
    return chosen


def _meets(values: Series, entry: Condition, is_number: bool) -> Any:
    if entry.operator == "=" and not is_number:
        return values.notna() & (values.astype(str).str.casefold() == entry.value.casefold())
    if not is_number or math.isnan(entry.number):
        raise InputError(f"'{entry}' cannot be asked: {entry.column} holds words or {entry.value}")
    return meets_number(values, entry)


def meets_number(values: Series, entry: Condition) -> Any:
    """Which numbers meet a condition."""
    method = {">=": "ge", ">": "gt", "<=": "le", "<": "lt", "=": "eq"}[entry.operator]
    return getattr(values, method)(entry.number)


def table_one(cohort: Cohort, specification: Specification) -> TableOne:
    """Describe all rows in all groups, and compare them.

    Parameters
    ----------
    cohort
        Joined tables.
    specification
        Rows with columns that the cohort has.

    """
    groups = {group.label: members(cohort, group) for group in specification.groups}
    rows = [_filled_in(cohort, row) for row in specification.rows]
    tests = _adjusted(
        [
            RowTest(contrast=contrast, row=row, result=_test(cohort, row, contrast))
            for contrast in specification.contrasts
            for row in rows
        ]
    )
    table_rows: list[dict[str, str]] = [
        {"row": "Patients, n", **{label: str(int(np.sum(m))) for label, m in groups.items()}}
    ]
    added = []
    for row in rows:
        lines = _lines(cohort, row, specification, groups)
        if len(lines) > 1 and lines[1]["row"].strip().startswith("median"):
            added.append(row.label)
        own = [test for test in tests if test.row is row]
        lines[0] |= _compared(own, row, specification.stars)
        table_rows += lines
    columns = ["row", "n", "missing", *groups]
    for contrast in specification.contrasts:
        columns += [f"{contrast.label}: {name}" for name in CONTRAST_COLUMNS]
    return TableOne(
        table=Table(
            tuple(columns), tuple({c: row.get(c, "") for c in columns} for row in table_rows)
        ),
        tests=tests,
        groups={label: int(np.sum(chosen)) for label, chosen in groups.items()},
        median_added=tuple(added),
        rows=tuple(rows),
        coded=tuple(
            filled.column
            for given, filled in zip(specification.rows, rows, strict=True)
            if given.show == "auto" and filled.show == "count" and cohort.is_number(filled.column)
        ),
    )


def default_rows(cohort: Cohort, columns: Sequence[str]) -> tuple[RowSpec, ...]:
    """Rows for columns that nobody has described."""
    return tuple(RowSpec(column=column) for column in columns if shown(cohort, column))


def shown(cohort: Cohort, column: str) -> bool:
    """Whether a column can be a row: numbers, or few categories."""
    return cohort.is_number(column) or cohort.frame[column].nunique() <= MOST_CATEGORIES


def _filled_in(cohort: Cohort, row: RowSpec) -> RowSpec:
    column = cohort.column(row.column)
    unit = unit_text(cohort.unit(column))
    words = cohort.label(column) + (f", {unit}" if unit and column in cohort.measures else "")
    if row.show == "auto":
        row, words = _as_it_deserves(cohort, replace(row, column=column), words)
    _refuse_unfit_test(cohort, row, column)
    return replace(row, column=column, label=row.label or words)


def _as_it_deserves(cohort: Cohort, row: RowSpec, words: str) -> tuple[RowSpec, str]:
    """Row whose kind nobody has said: codes are counted, of 0 and 1 only the 1."""
    if not cohort.is_number(row.column):
        return replace(row, show="count"), words
    codes = _codes(cohort, row.column)
    if not codes or row.test not in ("auto", "chi2", "fisher"):
        return replace(row, show="mean_sd"), words
    if row.level or not codes <= {0.0, 1.0}:
        return replace(row, show="count"), words
    return replace(row, show="count", level="1"), f"{words} = 1"


def _codes(cohort: Cohort, column: str) -> set[float]:
    """Values of a column that holds codes or grades; none where it measures something."""
    if column in cohort.measures or cohort.unit(column) or column in PLAUSIBLE:
        return set()
    values = cohort.frame[column].dropna()
    distinct = set(map(float, values.unique()))
    if distinct <= {0.0, 1.0}:
        return distinct
    if len(distinct) > MOST_CODES or len(values) < FEWEST_PER_CODE * len(distinct):
        return set()
    whole = all(value.is_integer() and 0 <= value <= LARGEST_CODE for value in distinct)
    return distinct if whole or len(distinct) == 2 else set()


def _refuse_unfit_test(cohort: Cohort, row: RowSpec, column: str) -> None:
    """Refuse a test that the values of a row cannot have."""
    numeric, category = cohort.is_number(column), row.show == "count"
    if row.test in ("welch", "student") and (category or not numeric):
        raise InputError(f"{row.column} holds categories; {row.test} needs numbers")
    if row.test in ("mann_whitney", "kruskal") and not numeric:
        raise InputError(f"{row.column} holds words; {row.test} needs an order")
    if row.test in ("chi2", "fisher") and numeric and not category:
        raise InputError(f"{row.column} holds numbers; {row.test} needs show = 'count'")


def levels(values: Series) -> list[Any]:
    """Categories of a column in order."""
    return sorted(values.dropna().unique(), key=lambda value: (isinstance(value, str), value))


def _is_category(cohort: Cohort, row: RowSpec) -> bool:
    return row.show == "count" or not cohort.is_number(row.column)


def _level_text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _level_matches(value: Any, wanted: str) -> bool:
    said, asked = _level_text(value).casefold(), wanted.casefold()
    return _MALE.get(said, said) == _MALE.get(asked, asked)


# ---------------------------------------------------------------------------------------- tests


def _test(cohort: Cohort, row: RowSpec, contrast: Contrast) -> TestResult:
    chosen = [members(cohort, group) for group in contrast.groups]
    counts = tuple(int(np.sum(cases)) for cases in chosen)
    own = {cohort.column(name) for name in contrast.own_columns()}
    if row.column in own:
        reason = "the groups are made by this column"
        return TestResult(test=NOT_TESTED, effect="", counts=counts, reason=reason)
    parts = [cohort.frame.loc[cases, row.column].dropna() for cases in chosen]
    if _is_category(cohort, row):
        return _test_counts(row, parts)
    values = [part.to_numpy(np.float64) for part in parts]
    ranks = row.test in ("mann_whitney", "kruskal") or (
        row.test == "auto" and row.show == "median_iqr"
    )
    if len(values) == 2:
        if ranks:
            return compare_ranks(*values)
        return compare_means(*values, equal_variances=row.test == "student")
    return compare_many_ranks(values) if ranks else compare_many_means(values)


def _test_counts(row: RowSpec, parts: Sequence[Series]) -> TestResult:
    if row.test == "mann_whitney" and len(parts) == 2:
        return compare_ranks(*(part.to_numpy(np.float64) for part in parts))
    if row.test == "kruskal":
        return compare_many_ranks([part.to_numpy(np.float64) for part in parts])
    if row.level:
        hits = [sum(_level_matches(value, row.level) for value in part) for part in parts]
        table = [[len(part) - hit, hit] for part, hit in zip(parts, hits, strict=True)]
    else:
        names = sorted({str(value) for part in parts for value in part})
        counted = [part.astype(str).value_counts() for part in parts]
        table = [[int(counts.get(name, 0)) for name in names] for counts in counted]
    if not table[0]:
        counts = tuple(len(part) for part in parts)
        return TestResult(test="chi-squared", effect="", counts=counts, reason="no values")
    return compare_counts(np.array(table, np.int64), test=row.test)


def _adjusted(tests: Sequence[RowTest]) -> tuple[RowTest, ...]:
    """Holm's p within each comparison."""
    out = []
    for contrast in dict.fromkeys(test.contrast for test in tests):
        family = [test for test in tests if test.contrast is contrast]
        size = sum(math.isfinite(test.result.p) for test in family)
        adjusted = holm([test.result.p for test in family])
        out += [
            replace(test, p_holm=p, family_size=size)
            for test, p in zip(family, adjusted, strict=True)
        ]
    return tuple(out)


# ---------------------------------------------------------------------------------------- cells


def _lines(
    cohort: Cohort, row: RowSpec, specification: Specification, groups: Mapping[str, Any]
) -> list[dict[str, str]]:
    values = cohort.frame[row.column]
    head = {"row": row.label, "n": str(values.notna().sum()), "missing": str(values.isna().sum())}
    if _is_category(cohort, row):
        return _category_lines(values, row, head, groups)
    decimals = row.decimals if row.decimals >= 0 else decimals_for(float(values.std()))
    hidden = set() if specification.show_own else _own_groups(cohort, row, specification)
    cells, medians = dict(head), {"row": "  median [IQR]"}
    skewed = is_skewed(values.dropna().to_numpy(np.float64))
    for label, chosen in groups.items():
        part = values[chosen].dropna()
        if label in hidden:
            cells[label] = medians[label] = NOT_TESTED
        else:
            mean, median = _mean_sd(part, decimals), _median_iqr(part, decimals)
            cells[label] = median if row.show == "median_iqr" else mean
            medians[label] = median
    also = row.show == "both" or (row.show == "mean_sd" and skewed)
    return [cells, medians] if also else [cells]


def _own_groups(cohort: Cohort, row: RowSpec, specification: Specification) -> set[str]:
    """Find the groups that are parted by this column alone."""
    return {
        group.label
        for group in specification.groups
        if group.where and {cohort.column(c.column) for c in group.where} == {row.column}
    }


def _mean_sd(part: Series, decimals: int) -> str:
    if part.empty:
        return "–"
    spread = number(float(part.std()), decimals) if len(part) > 1 else "–"
    return f"{number(float(part.mean()), decimals)} ± {spread}"


def _median_iqr(part: Series, decimals: int) -> str:
    if part.empty:
        return "–"
    low, middle, high = (float(v) for v in part.quantile([0.25, 0.5, 0.75]))
    words = f"{number(low, decimals)} to {number(high, decimals)}"
    return f"{number(middle, decimals)} [{words}]"


def _category_lines(
    values: Series, row: RowSpec, head: Mapping[str, str], groups: Mapping[str, Any]
) -> list[dict[str, str]]:
    def counted(name: str, wanted: Any) -> dict[str, str]:
        line = {"row": name}
        for label, chosen in groups.items():
            part = values[chosen].dropna()
            hits = sum(wanted(value) for value in part)
            line[label] = percent(hits, len(part))
        return line

    if row.level:
        return [dict(head) | counted(row.label, lambda v: _level_matches(v, row.level))]
    lines = [dict(head)]
    for level in levels(values):
        lines.append(counted(f"  {_level_text(level)}", lambda v, level=level: v == level))
    return lines


def _compared(tests: Sequence[RowTest], row: RowSpec, with_stars: bool) -> dict[str, str]:
    cells: dict[str, str] = {}
    for test in tests:
        result = test.result
        if result.test == NOT_TESTED or math.isnan(result.p):
            texts = (NOT_TESTED, result.reason, NOT_TESTED, NOT_TESTED)
        else:
            decimals = 2
            if result.effect == "difference of means":
                decimals = (
                    row.decimals
                    if row.decimals >= 0
                    else decimals_for(abs(result.high - result.low))
                )
            mark = stars(result.p) if with_stars else ""
            texts = (
                estimate(result.estimate, result.low, result.high, decimals),
                result.test,
                p_text(result.p) + mark,
                p_text(test.p_holm),
            )
        names = [f"{test.contrast.label}: {name}" for name in CONTRAST_COLUMNS]
        cells |= dict(zip(names, texts, strict=True))
    return cells
