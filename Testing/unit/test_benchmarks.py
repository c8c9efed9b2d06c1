"""The benchmark runner: finds benchmarks, prints tables, and fails on a missed target."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Runner with one benchmark that reaches its targets, exactly, and one that only prints."""
    benchmarks = tmp_path / "Benchmarks"
    benchmarks.mkdir()
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(ROOT / "Benchmarks" / name, benchmarks / name)
    (benchmarks / "good.py").write_text(
        "from Benchmarks import Figure\n"
        "def main():\n"
        "    return [\n"
        "        Figure(name='lung Dice', value=0.985, at_least=0.985),\n"
        "        Figure(name='volume', value=1.0, unit='%', at_most=1.0),\n"
        "        Figure(name='bias', value=-0.5, unit='HU', at_least=-1, at_most=1),\n"
        "        Figure(name='voxels', value=64, unit='1'),\n"
        "    ]\n",
        encoding="utf-8",
    )
    (benchmarks / "talks.py").write_text("def main():\n    print('own table')\n", encoding="utf-8")
    return tmp_path


def run(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "Benchmarks", *names],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_targets_that_are_just_reached(folder):
    done = run(folder, "good")

    assert done.returncode == 0, done.stderr
    lines = [line.split("  ") for line in done.stdout.strip().splitlines()]
    table = [[word.strip() for word in line if word.strip()] for line in lines]
    assert table == [
        ["== good =="],
        ["figure", "value", "unit", "target"],
        ["lung Dice", "0.985", "1", ">= 0.985", "reached"],
        ["volume", "1", "%", "<= 1", "reached"],
        ["bias", "-0.5", "HU", ">= -1 and <= 1", "reached"],
        ["voxels", "64", "1"],
    ]


@pytest.mark.parametrize("value", ["0.9849", "float('nan')"])
def test_missed_target_fails_the_run_but_not_the_others(folder, value):
    (folder / "Benchmarks" / "bad.py").write_text(
        "from Benchmarks import Figure\n"
        f"def main(): return [Figure(name='Dice', value={value}, at_least=0.985)]\n",
        encoding="utf-8",
    )

    done = run(folder)

    assert done.returncode == 1
    assert "MISSED" in done.stdout
    assert "own table" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 of 3 benchmarks reached their targets; not: bad"


def test_crash_counts_as_missed(folder):
    (folder / "Benchmarks" / "broken.py").write_text("def main(): 1 / 0\n", encoding="utf-8")

    done = run(folder)

    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert done.stdout.splitlines()[-1].endswith("not: broken")


def test_unknown_name_is_refused(folder):
    done = run(folder, "godo")

    assert done.returncode == 2
    assert "no benchmark godo; there are: good, talks" in done.stderr


def test_benchmarks_of_the_project_are_well_formed():
    for path in (ROOT / "Benchmarks").glob("[!_]*.py"):
        assert "def main(" in path.read_text(encoding="utf-8"), path.name
