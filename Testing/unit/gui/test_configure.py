"""The extension's CMake files configure, and the flat folder they fill works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULES = ("PerfusionIPv", "CTVQ", "VesselBV")


def cmake_version():
    if shutil.which("cmake") is None:
        return (0, 0)
    words = subprocess.run(["cmake", "--version"], capture_output=True, text=True, check=True)
    return tuple(map(int, re.search(r"(\d+)\.(\d+)", words.stdout).groups()))


OLDEST = (3, 20)
"""Slicer asks for 3.28; the files use nothing newer than this."""

needs_cmake = pytest.mark.skipif(cmake_version() < OLDEST, reason="needs CMake")


def copied(target):
    """Copy what CMake reads, so that an older CMake than Slicer's can configure it."""
    target.mkdir()
    for module in ("LungPerfusionLib", *MODULES):
        shutil.copytree(ROOT / module, target / module, ignore=shutil.ignore_patterns("*.pyc"))
    code = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    asked = "cmake_minimum_required(VERSION 3.28.0...3.28.0 FATAL_ERROR)"
    assert code.startswith(asked)
    code = code.replace(asked, "cmake_minimum_required(VERSION {}.{})".format(*OLDEST))
    (target / "CMakeLists.txt").write_text(code, encoding="utf-8")
    return target


def configure(source, build):
    return subprocess.run(
        [
            *("cmake", "-S", str(source), "-B", str(build), "-DBUILD_TESTING=ON"),
            f"-DSlicer_DIR={ROOT / 'Testing' / 'cmake'}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extension")
    build = folder / "build"
    done = configure(copied(folder / "source"), build)
    assert done.returncode == 0, done.stderr
    assert "configured LungPerfusion" in done.stdout
    return build


@needs_cmake
def test_tests_are_registered(staged):
    listed = subprocess.run(
        ["ctest", "-N"], cwd=staged, capture_output=True, text=True, check=True
    ).stdout
    for module in MODULES:
        assert f"py_{module}" in listed
        assert f"qSlicer{module}ModuleGenericTest" in listed


@needs_cmake
def test_what_is_shipped_runs(staged):
    """Every command of the shipped package starts, with nothing of the source tree on the path."""
    folder = staged / "lib" / "Slicer-5.12" / "qt-scripted-modules"
    for module in MODULES:
        assert (folder / f"{module}.py").exists()
        assert (folder / "Resources" / "UI" / f"{module}.ui").exists()
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r});"
        "import lungperfusion; from lungperfusion.__main__ import COMMANDS, make_parser;"
        "[make_parser(name) for name in COMMANDS]; print(lungperfusion.__file__)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=staged,
        env=environment,
    )
    assert Path(done.stdout.strip()).is_relative_to(folder)


@needs_cmake
def test_a_missing_file_stops_the_build(tmp_path):
    """The check can fail: a listed file that is not there is told by its name."""
    source = copied(tmp_path / "source")
    (source / "CTVQ" / "Resources" / "UI" / "CTVQ.ui").unlink()
    done = configure(source, tmp_path / "build")
    assert done.returncode != 0
    assert "CTVQ lists Resources/UI/CTVQ.ui" in done.stderr
