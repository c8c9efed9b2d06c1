"""The batch script runs inside Slicer's Python as it does outside: same bytes, same exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lungperfusion.io import write_volume
from lungperfusion.phantoms import KINDS

pytest.importorskip("slicer", reason="needs slicer-core")

SCRIPT = Path(__file__).resolve().parents[2] / "Scripts" / "lung_batch.py"

INSIDE_SLICER = """
import runpy, sys, types
import slicer
class Application:
    def commandOptions(self):
        return types.SimpleNamespace(runPythonAndExit=True)
    def exit(self, code):
        sys.exit(40 + code)
slicer.app = Application()
sys.executable = ""
script, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
"""
"""What the application does with ``--python-script``: its Python has no executable, and ends
through ``slicer.util.exit`` (40 added here to see that it did)."""


@pytest.fixture(scope="module")
def chests(tmp_path_factory):
    """Manifest of two coarse chests, one of them cut short."""
    folder = tmp_path_factory.mktemp("chests")
    write_volume(KINDS["small"]((6.0, 6.0, 6.0)).ct, folder / "good.nrrd")
    (folder / "bad.nrrd").write_bytes((folder / "good.nrrd").read_bytes()[:20_000])
    (folder / "m.csv").write_text(
        "case,analysis,ct\ngood,lungs,good.nrrd\nbad,lungs,bad.nrrd\n", encoding="utf-8"
    )
    return folder / "m.csv"


def outside(*arguments: str) -> int:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], check=False).returncode


def inside(home: Path, *arguments: str) -> int:
    (home / "bin").mkdir(exist_ok=True)
    python = home / "bin" / "PythonSlicer"
    if not python.exists():
        # its launcher may put another PYTHONPATH in place of the one it was given
        launcher = f'#!/bin/sh\nPYTHONPATH= exec "{sys.executable}" "$@"\n'
        python.write_text(launcher, encoding="utf-8")
        python.chmod(0o755)
    return subprocess.run(
        [sys.executable, "-c", INSIDE_SLICER, str(SCRIPT), *arguments],
        check=False,
        env={**os.environ, "SLICER_HOME": str(home)},
    ).returncode


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.skipif(sys.platform == "win32", reason="PythonSlicer is stood in by a shell script")
def test_same_bytes_and_exit_codes(chests, tmp_path):
    (tmp_path / "home").mkdir()
    codes = (
        outside(str(chests), "-o", str(tmp_path / "plain"), "--workers", "1"),
        inside(tmp_path / "home", str(chests), "-o", str(tmp_path / "slicer"), "--workers", "1"),
    )

    assert codes == (1, 41)
    assert tree(tmp_path / "plain" / "cases") == tree(tmp_path / "slicer" / "cases")
    for name in ("cases.csv", "cohort_tidy.csv", "cohort_wide.csv", "cohort_quality.csv"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "slicer" / name).read_bytes()
    assert (tmp_path / "plain" / "cases" / "good" / "report.html").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="PythonSlicer is stood in by a shell script")
@pytest.mark.parametrize("arguments", [["none.csv", "-o", "out"], ["--unheard-of"]])
def test_refusals_end_alike(tmp_path, arguments):
    assert (outside(*arguments), inside(tmp_path, *arguments)) == (2, 42)
