"""Slicer ships what the CMake lists name, into one flat folder."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MODULES = ("LungPerfusionLib", "PerfusionIPv", "CTVQ", "VesselBV")
LEFT_OUT = {".pyc", ".md"}


def listed(module):
    text = (ROOT / module / "CMakeLists.txt").read_text(encoding="utf-8")
    text = text.replace("${MODULE_NAME}", module)
    lists = re.findall(r"set\(MODULE_PYTHON_\w+\n(.*?)\n  \)", text, re.DOTALL)
    return [line.strip() for block in lists for line in block.splitlines()]


def test_every_module_is_built():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(r"^add_subdirectory\((\w+)\)", text, re.MULTILINE) == list(MODULES)


def test_modules_ship_all_their_files():
    for module in MODULES[1:]:
        folder = ROOT / module
        files = {
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and path.suffix not in LEFT_OUT and path.name != "CMakeLists.txt"
        }
        assert set(listed(module)) == files


def test_no_two_modules_ship_a_file_of_one_name():
    names = [name for module in MODULES for name in listed(module)]
    assert len(names) == len(set(names))


def test_self_tests_are_registered():
    for module in MODULES[1:]:
        text = (ROOT / module / "CMakeLists.txt").read_text(encoding="utf-8")
        assert "slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)" in text
        assert "WITH_GENERIC_TESTS" in text
