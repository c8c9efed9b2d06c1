"""The command line: exit codes, the numbers of single runs, what is shown."""

from __future__ import annotations

import csv
import io
import json

import pytest

from lungperfusion.__main__ import main
from lungperfusion.batch.cases import CaseOutcome, JobOutcome
from lungperfusion.batch.display import LiveTable
from lungperfusion.batch.engine import BatchState, Running


@pytest.fixture
def chests(tmp_path, chest_file):
    """Manifest with one good chest and one that is cut short."""
    (tmp_path / "broken.nrrd").write_bytes(chest_file.read_bytes()[:20_000])
    path = tmp_path / "chests.csv"
    path.write_text(
        f"case,analysis,ct,zones\ngood,lungs,{chest_file},volume\nbad,lungs,broken.nrrd,\n",
        encoding="utf-8",
    )
    return path


def test_numbers_are_those_of_a_single_run(chests, chest_file, tmp_path, capsys):
    out, single = tmp_path / "out", tmp_path / "single"

    code = main(["batch", str(chests), "-o", str(out), "--workers", "2"])

    assert code == 1
    shown = capsys.readouterr()
    assert "2 cases: 1 done, 1 failed" in shown.err
    assert shown.out == f"{out / 'cases.csv'}\n"
    rows = list(csv.DictReader((out / "cases.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["case"], row["status"]) for row in rows] == [("good", "done"), ("bad", "failed")]
    assert "<ct>" in rows[1]["reason"]

    command = ["lungs", str(chest_file), "-o", str(single), "--case", "good", "--zones", "volume"]
    assert main(command) == 0
    for name in ("measurements.csv", "lungs.seg.nrrd"):
        found = out / "cases" / "good" / "lungs" / name
        assert found.read_bytes() == (single / name).read_bytes()
    first, second = (
        json.loads((folder / "results.json").read_text(encoding="utf-8"))
        for folder in (out / "cases" / "good" / "lungs", single)
    )
    assert first["analyses"] == second["analyses"]
    assert first["provenance"]["inputs"] == second["provenance"]["inputs"]
    pages = [
        (folder / "report.html").read_text(encoding="utf-8")
        for folder in (out / "cases" / "good", single)
    ]
    first_page, second_page = (
        page.partition("<main>")[2].partition("Measures and methods")[0] for page in pages
    )
    assert first_page == second_page
    assert "Quality checks" in first_page


def test_dry_run_checks_and_writes_nothing(chests, tmp_path, capsys):
    assert main(["batch", str(chests), "-o", str(tmp_path / "out"), "--dry-run"]) == 0

    assert "2 cases (2 lungs)" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--workers", "0"], "--workers is at least 1, not 0"),
        (["--memory-per-case", "0"], "more than 0 GiB"),
        (["--timeout", "-1"], "0 or more minutes"),
        (["--scheduler", "tcp://x:1", "--workers", "2"], "not both"),
    ],
)
def test_refused_before_start(chests, tmp_path, capsys, options, match):
    assert main(["batch", str(chests), "-o", str(tmp_path / "out"), *options]) == 2
    assert match in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_faulty_manifest_is_refused_before_start(chests, tmp_path, capsys):
    chests.write_text("case,analysis,ct\na,lungs,none.nrrd\nb,lungs,\n", encoding="utf-8")

    assert main(["batch", str(chests), "-o", str(tmp_path / "out")]) == 2

    shown = capsys.readouterr().err
    assert "chests.csv has 2 faults, nothing was run" in shown
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------- display


class Screen(io.StringIO):
    def isatty(self):
        return True


def ended(case, *, reason="", seconds=5.0):
    status = "failed" if reason else "done"
    job = JobOutcome(analysis="lungs", status=status, reason=reason, seconds=seconds)
    return CaseOutcome(case=case, jobs=(job,))


@pytest.fixture
def state():
    state = BatchState(total=3)
    state.started_at -= 100
    state.outcomes["a"] = ended("a")
    state.running["b"] = Running(state.started_at, 0.5, "segmenting")
    return state


def test_log_has_a_line_per_case(state):
    stream = io.StringIO()
    table = LiveTable(stream)

    table(state, None)
    table(state, state.outcomes["a"])
    state.outcomes["b"] = ended("b", reason="no CT")
    table(state, state.outcomes["b"])

    first, second = stream.getvalue().splitlines()
    assert first == "1/3 a: done in 5 s (0 failed, about 2 min left)"
    assert second.startswith("2/3 b: FAILED lungs: no CT (1 failed")


def test_screen_shows_counts_running_cases_and_failures(state):
    stream = Screen()
    table = LiveTable(stream)
    state.outcomes["c"] = ended("c", reason="no CT")

    table(state, state.outcomes["c"])

    lines = [line.removeprefix("\x1b[2K") for line in stream.getvalue().splitlines()]
    assert lines[0].startswith("3 cases: 1 done, 1 running, 1 failed, 0 waiting, about ")
    assert lines[1].split() == ["running", "b", "50", "%", "2", "min", "segmenting"]
    assert lines[2] == "  failed   c: lungs: no CT"
