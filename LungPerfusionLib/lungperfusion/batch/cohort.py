"""Tables over all cases of a batch."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lungperfusion.batch.case_run import case_folder, measurement_rows
from lungperfusion.batch.cases import Case, CaseOutcome
from lungperfusion.batch.joined import CAUTIONS, by_column, cautions
from lungperfusion.io import atomic_path
from lungperfusion.results.tables import COLUMNS, number_text

CASES_COLUMNS = ("case", "analysis", "line", "status", "reason")
COSTS_COLUMNS = ("case", "analysis", "seconds", "cpu_seconds", "peak_memory_mib")
SCHEMA_COLUMNS = ("columnName", "type")
"""Of the file beside a table that tells Slicer which columns are numbers."""
QUALITY_COLUMNS = ("case", "module", "check", "verdict", "value", "unit", "limit", "message")


def write_cases(
    out: Path, cases: Sequence[Case], outcomes: Mapping[str, CaseOutcome], waiting: str
) -> None:
    """Write cases.csv: one line per analysis of each case, with its reason where it failed.

    Parameters
    ----------
    out
        Output folder of the batch.
    cases
        All cases, in the manifest's order.
    outcomes
        What came of them so far, by case.
    waiting
        What to say of those that have not been run.

    """

    def rows() -> Iterator[Sequence[Any]]:
        for case in cases:
            outcome = outcomes.get(case.name)
            results = {} if outcome is None else {job.analysis: job for job in outcome.jobs}
            for job in case.jobs:
                result = results.get(job.analysis)
                if result is None:
                    yield case.name, job.analysis, job.line, "not run", waiting
                else:
                    status = "failed" if result.status == "failed" else "done"
                    notes = outcome.notes if outcome is not None and job is case.jobs[0] else ()
                    reason = "; ".join(text for text in (result.reason, *notes) if text)
                    yield case.name, job.analysis, job.line, status, reason

    _write(out / "cases.csv", CASES_COLUMNS, rows())


def write_costs(out: Path, outcomes: Mapping[str, CaseOutcome]) -> None:
    """Write costs.csv: time and peak memory of every analysis that was run, earlier ones kept.

    These differ from run to run; all other tables do not.
    """
    path = out / "costs.csv"
    costs: dict[tuple[str, str], Sequence[Any]] = {}
    with (
        contextlib.suppress(FileNotFoundError, UnicodeDecodeError, csv.Error),
        path.open(encoding="utf-8", newline="") as stream,
    ):
        for row in csv.reader(stream):
            if len(row) == len(COSTS_COLUMNS) and tuple(row) != COSTS_COLUMNS:
                costs[row[0], row[1]] = row
    for case, outcome in outcomes.items():
        for job in outcome.jobs:
            if job.status == "done":
                peak = "" if job.peak_memory_mib is None else f"{job.peak_memory_mib:.0f}"
                times = (f"{job.seconds:.2f}", f"{job.cpu_seconds:.2f}")
                costs[case, job.analysis] = (case, job.analysis, *times, peak)
    _write(path, COSTS_COLUMNS, (costs[key] for key in sorted(costs)))


def write_cohort(out: Path, cases: Sequence[Case], outcomes: Mapping[str, CaseOutcome]) -> None:
    """Write what all finished cases measured.

    ``cohort_tidy.csv`` has one line per value with unit, method, status and reason;
    ``cohort_wide.csv`` one line per case and one column per value, named
    ``analysis_measure_unit.region``, NaN where there is none, and the names of the columns whose
    value has status caution, with ``cohort_wide.schema.csv`` beside it so that Slicer reads its
    numbers as numbers; ``cohort_quality.csv`` one line per quality check.

    Parameters
    ----------
    out
        Output folder of the batch.
    cases
        All cases, in the manifest's order.
    outcomes
        What came of them; analyses that failed are left out.

    """
    columns: dict[str, None] = {}
    for case in cases:
        columns.update(dict.fromkeys(_wide(out, case, outcomes)))

    def tidy() -> Iterator[Sequence[Any]]:
        for case in cases:
            for row in _rows(out, case, outcomes):
                yield [row[name] for name in COLUMNS]

    def wide() -> Iterator[Sequence[Any]]:
        for case in cases:
            values = _wide(out, case, outcomes)
            yield [
                case.name,
                _case_status(outcomes.get(case.name)),
                cautions(values),
                *(values[column]["value"] if column in values else "NaN" for column in columns),
            ]

    _write(out / "cohort_tidy.csv", COLUMNS, tidy())
    words = ("case", "status", CAUTIONS)
    schema = [*((name, "string") for name in words), *((name, "double") for name in columns)]
    _write(out / "cohort_wide.csv", (*words, *columns), wide())
    _write(out / "cohort_wide.schema.csv", SCHEMA_COLUMNS, iter(schema))
    _write(out / "cohort_quality.csv", QUALITY_COLUMNS, _quality(out, cases, outcomes))


def _case_status(outcome: CaseOutcome | None) -> str:
    if outcome is None:
        return "not run"
    if not outcome.failed:
        return "done"
    return "failed" if all(job.status == "failed" for job in outcome.jobs) else "partly done"


def _folders(out: Path, case: Case, outcomes: Mapping[str, CaseOutcome]) -> Iterator[Path]:
    outcome = outcomes.get(case.name)
    for job in () if outcome is None else outcome.jobs:
        if job.status != "failed":
            yield case_folder(out, case.name) / job.analysis


def _rows(out: Path, case: Case, outcomes: Mapping[str, CaseOutcome]) -> Iterator[dict[str, str]]:
    for folder in _folders(out, case, outcomes):
        yield from measurement_rows(folder)


def _wide(
    out: Path, case: Case, outcomes: Mapping[str, CaseOutcome]
) -> dict[str, Mapping[str, Any]]:
    """Row of measurements.csv behind every cell of a case, by column."""
    cells = by_column(_rows(out, case, outcomes))
    return {f"{column}.{region}": row for (region, column), row in cells.items()}


def _quality(
    out: Path, cases: Sequence[Case], outcomes: Mapping[str, CaseOutcome]
) -> Iterator[Sequence[Any]]:
    for case in cases:
        for folder in _folders(out, case, outcomes):
            record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
            for analysis in record["analyses"]:
                for gate in analysis["quality_gates"]:
                    value = gate["value"]
                    yield (
                        case.name,
                        analysis["module"],
                        gate["id"],
                        gate["verdict"],
                        "" if value is None else number_text(float(value)),
                        gate["unit"],
                        gate["limit"],
                        gate["message"],
                    )


def _write(path: Path, columns: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
    """Write a table line by line, whole or not at all."""
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
