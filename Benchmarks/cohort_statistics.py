"""A cohort of 10,000 cases: tables, tests, relations, scores, phenotypes and figures in time."""

from __future__ import annotations

import csv
import tempfile
import time
from pathlib import Path

import numpy as np

from Benchmarks import Figure
from lungperfusion.__main__ import main as run_command
from lungperfusion.results.tables import COLUMNS
from lungperfusion.terms import MEASURES

CASES = 10_000
LONGEST_S = 20.0
_MEASURES = ("ipv", "iodine_mean", "tlv", "mld", "ggo")


def main() -> list[Figure]:
    """Write both tables, run the command, and time it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_tables(folder)
        started, used = time.perf_counter(), time.process_time()
        code = run_command(
            [
                *("cohort", str(folder / "tidy.csv"), str(folder / "clinical.csv")),
                *("--preset", "letter-iodine", "--roc", "ipv:improved"),
                *("-o", str(folder / "out"), "--quiet"),
            ]
        )
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
        if code != 0:
            raise RuntimeError(f"the command ended with {code}")
        reported = (folder / "out" / "report.html").stat().st_size / 2**20
    return [
        Figure(name="time for 10,000 cases", value=seconds, unit="s", at_most=LONGEST_S),
        Figure(name="of it on one core", value=cpu, unit="s"),
        Figure(name="size of the report", value=reported, unit="MiB"),
    ]


def _write_tables(folder: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"P{number:05d}" for number in range(CASES)]
    values = {
        "ipv": rng.normal(180, 60, CASES).clip(5),
        "iodine_mean": rng.normal(46, 15, CASES).clip(1),
        "tlv": rng.normal(5, 1, CASES).clip(1),
        "mld": rng.normal(-830, 25, CASES),
        "ggo": rng.gamma(2, 2, CASES).clip(0, 90),
    }
    with (folder / "tidy.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for measure in _MEASURES:
            unit = MEASURES[measure].unit
            for name, value in zip(names, values[measure], strict=True):
                writer.writerow([name, "ipv", "lungs", measure, value, unit, "made up", "ok", ""])
    columns = {
        "age_years": rng.normal(50, 12, CASES).clip(18, 100).round(),
        "mrc": rng.integers(1, 6, CASES),
        **{f"{name}_pct": rng.normal(90, 15, CASES).clip(20, 140).round(1) for name in _FUNCTION},
        "sao2_pct": rng.normal(96, 2, CASES).clip(70, 100).round(1),
        "improved": (values["ipv"] + rng.normal(0, 60, CASES) > 180).astype(int),
    }
    with (folder / "clinical.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "sex", *columns])
        for number, name in enumerate(names):
            sex = "m" if number % 2 else "f"
            writer.writerow([name, sex, *(column[number] for column in columns.values())])


_FUNCTION = ("fvc", "fev1", "fev1_fvc", "tlc", "dlco", "kco")
