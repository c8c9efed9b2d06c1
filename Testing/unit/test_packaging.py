"""What Slicer, pip and the Extensions Index take from the repository fits together."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lungperfusion

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "LungPerfusionLib"
MODULES = sorted(
    path.parent.name for path in ROOT.glob("*/CMakeLists.txt") if path.parent.name != "Testing"
)


def text_of(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def cmake_code(*parts: str) -> str:
    """CMake file without comments."""
    return re.sub(r"(?m)(^|\s)#.*$", "", text_of(*parts))


def cmake_list(code: str, variable: str) -> list[str]:
    found = re.search(rf"set\({variable}\s+(.*?)\)", code, re.DOTALL)
    if not found:
        return []
    module = re.search(r"set\(MODULE_NAME\s+(\w+)\)", code)
    words = found[1].replace("${MODULE_NAME}", module[1] if module else "")
    return [
        word if Path(word).suffix or variable != "MODULE_PYTHON_SCRIPTS" else f"{word}.py"
        for word in words.split()
    ]


def shipped_files(module: str) -> list[str]:
    """Paths relative to the module, which they keep in the folder that Slicer merges."""
    code = cmake_code(module, "CMakeLists.txt")
    return cmake_list(code, "MODULE_PYTHON_SCRIPTS") + cmake_list(code, "MODULE_PYTHON_RESOURCES")


def extension_variable(name: str) -> str:
    found = re.search(rf'set\(EXTENSION_{name} "([^"]*)"\)', text_of("CMakeLists.txt"))
    assert found, f"EXTENSION_{name} is not set"
    return found[1]


# CMake ----------------------------------------------------------------------------------------


def test_library_lists_every_file_of_the_packages():
    present = {
        path.relative_to(LIBRARY).as_posix()
        for package in ("lungperfusion", "lungperfusion_gui")
        for path in (LIBRARY / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }

    listed = shipped_files("LungPerfusionLib")

    assert len(set(listed)) == len(listed)
    packages = {path for path in listed if path.startswith("lungperfusion")}
    assert packages == present, "run `make cmake-list`"
    assert "lungperfusion/py.typed" in listed


@pytest.mark.parametrize("module", MODULES)
def test_listed_files_exist_and_python_is_a_script(module):
    code = cmake_code(module, "CMakeLists.txt")

    assert f"{module}.py" in shipped_files(module)
    assert [name for name in shipped_files(module) if not (ROOT / module / name).is_file()] == []
    assert all(name.endswith(".py") for name in cmake_list(code, "MODULE_PYTHON_SCRIPTS"))
    assert not any(name.endswith(".py") for name in cmake_list(code, "MODULE_PYTHON_RESOURCES"))
    for word in (
        "slicerMacroBuildScriptedModule",
        "WITH_GENERIC_TESTS",
        "${MODULE_PYTHON_SCRIPTS}",
    ):
        assert word in code


@pytest.mark.parametrize("module", MODULES)
def test_python_beside_a_module_file_would_be_taken_for_a_module(module):
    assert [path.name for path in (ROOT / module).glob("*.py")] == [f"{module}.py"]


def test_every_module_is_added_and_the_library_first():
    added = re.findall(r"add_subdirectory\((\w+)\)", cmake_code("CMakeLists.txt"))

    assert added[0] == "LungPerfusionLib"
    assert sorted(set(added) - {"Testing"}) == MODULES
    assert len(set(added)) == len(added)


def test_no_two_modules_ship_a_file_of_one_name():
    # Slicer merges all modules into one folder: Ninja refuses doubles, Make keeps the first.
    files = [name.lower() for module in MODULES for name in shipped_files(module)]

    assert sorted(name for name in set(files) if files.count(name) > 1) == []


def test_update_script_agrees_with_the_disk():
    run = subprocess.run(
        [sys.executable, ROOT / "Scripts" / "update_cmake_lists.py", "--check"], check=False
    )

    assert run.returncode == 0, "run `make cmake-list`"


def test_update_script_adds_and_removes_files(tmp_path):
    for name in ("Scripts/update_cmake_lists.py", "LungPerfusionLib/CMakeLists.txt"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(ROOT / name, tmp_path / name)
    package = tmp_path / "LungPerfusionLib" / "lungperfusion"
    (package / "new").mkdir(parents=True)
    for name in ("LungPerfusionLib.py", "lungperfusion/new/stage.py", "lungperfusion/table.csv"):
        (tmp_path / "LungPerfusionLib" / name).touch()
    script = [sys.executable, tmp_path / "Scripts" / "update_cmake_lists.py"]

    assert subprocess.run([*script, "--check"], check=False).returncode == 1
    subprocess.run(script, check=True)

    code = (tmp_path / "LungPerfusionLib" / "CMakeLists.txt").read_text(encoding="utf-8")
    scripts = ["LungPerfusionLib.py", "lungperfusion/new/stage.py"]
    assert cmake_list(code, "MODULE_PYTHON_SCRIPTS") == scripts
    assert cmake_list(code, "MODULE_PYTHON_RESOURCES") == ["lungperfusion/table.csv"]
    assert "slicerMacroBuildScriptedModule" in code
    assert subprocess.run([*script, "--check"], check=False).returncode == 0


# Extensions Index -----------------------------------------------------------------------------

INDEX_KEYS = {
    *("$schema", "category", "scm_url", "scm_revision", "build_dependencies"),
    *("build_subdirectory", "dicom_support_rule", "enabled", "tier"),
}


def test_index_entry_and_project_have_one_name():
    assert "project(LungPerfusion)" in cmake_code("CMakeLists.txt")
    assert [path.stem for path in ROOT.glob("*.json")] == ["LungPerfusion"]


def test_index_entry():
    entry = json.loads(text_of("LungPerfusion.json"))

    assert set(entry) <= INDEX_KEYS
    assert entry["category"] == "Quantification"
    assert entry["scm_url"].removesuffix(".git") == extension_variable("HOMEPAGE")
    assert entry["scm_url"].rpartition("/")[2].startswith("Slicer")
    assert entry["build_dependencies"] == []
    assert extension_variable("DEPENDS") == "NA"
    assert entry["tier"] in (1, 3, 5)


def test_description_is_one_or_two_sentences_and_says_research():
    description = extension_variable("DESCRIPTION")

    assert 1 <= len(re.findall(r"\.(?:\s|$)", description)) <= 2
    assert "Research software" in description


def test_icon_is_a_square_png_of_at_least_128_pixels():
    url = extension_variable("ICONURL")
    path = ROOT / url.partition("/main/")[2]

    content = path.read_bytes()

    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    assert width == height >= 128


def test_screenshots_are_files_of_the_repository():
    for url in extension_variable("SCREENSHOTURLS").split():
        assert (ROOT / url.partition("/main/")[2]).is_file(), url


def test_licence_is_in_the_root():
    assert "Apache License" in text_of("LICENSE.txt")
    assert "Version 2.0" in text_of("LICENSE.txt")


def test_nothing_large_is_in_the_repository():
    generated = {".git", ".venv", "results", "build", "dist", ".mypy_cache", ".ruff_cache"}
    large = [
        path.relative_to(ROOT).as_posix()
        for folder in ROOT.iterdir()
        if folder.name not in generated
        for path in ([folder] if folder.is_file() else folder.rglob("*"))
        if path.is_file() and path.stat().st_size > 500_000
    ]

    assert large == []


# Python package -------------------------------------------------------------------------------


def test_one_version_everywhere():
    version = lungperfusion.__version__
    cited = re.search(r'(?m)^version: "?([^"\n]+)"?$', text_of("CITATION.cff"))
    logged = re.search(r"(?m)^## (\d\S*)", text_of("CHANGELOG.md"))

    assert importlib.metadata.version("lungperfusion") == version
    assert cited
    assert cited[1] == version
    assert logged
    assert logged[1] == version


def test_extras_and_floor_of_python():
    project = tomllib.loads(text_of("pyproject.toml"))["project"]

    assert set(project["optional-dependencies"]) == {
        *("slicer", "report", "cohort", "xenon", "test", "bench")
    }
    assert project["requires-python"] == ">=3.12"
    assert project["license"] == "Apache-2.0"


def test_code_needs_no_newer_python_than_is_promised():
    """Slicer 5.12 has 3.12; the oldest interpreter may not be at hand, so the code is read."""
    floor = tomllib.loads(text_of("pyproject.toml"))["project"]["requires-python"].strip(">=")
    assert tomllib.loads(text_of("pyproject.toml"))["tool"]["ruff"]["target-version"] == (
        f"py{floor.replace('.', '')}"
    )
    words = [f"--target={floor}-", "--no-tips", "--violations", "--eval-annotations"]
    command = [sys.executable, "-c", "import vermin; vermin.main()", *words, "--processes=1"]

    def check(*paths: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *map(str, paths)], capture_output=True, text=True, check=False
        )

    modules = [ROOT / name for name in ("PerfusionIPv", "CTVQ", "VesselBV", "Scripts", "Examples")]
    found = check(ROOT / "LungPerfusionLib", *modules)
    assert found.returncode == 0, found.stdout


def test_newer_code_is_noticed(tmp_path):
    (tmp_path / "new.py").write_text("from copy import replace\n", encoding="utf-8")  # of 3.13
    words = ["--target=3.12-", str(tmp_path / "new.py")]
    command = [sys.executable, "-c", "import vermin; vermin.main()", *words]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode != 0


def test_what_is_required_is_what_slicer_ships():
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in project["dependencies"]}

    assert names == {"numpy", "scipy", "SimpleITK", "pydicom", "highdicom"}


def test_requirements_are_never_pinned():
    # A pin would replace a library that Slicer ships; slicer-core follows Slicer's own release.
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    requirements = project["dependencies"] + [
        requirement
        for extra, group in project["optional-dependencies"].items()
        for requirement in group
        if extra != "slicer"
    ]

    versions = {r: r.partition(";")[0] for r in requirements}
    assert [r for r, version in versions.items() if re.search(r"==|<|~=", version)] == []


@pytest.mark.parametrize("command", [["lungperfusion"], [sys.executable, "-m", "lungperfusion"]])
def test_command_is_installed(command):
    folder = str(Path(sys.executable).parent)
    program = shutil.which(command[0], path=os.pathsep.join([folder, os.environ["PATH"]]))
    assert program

    run = subprocess.run(
        [program, *command[1:], "--version"], capture_output=True, text=True, check=True
    )

    assert run.stdout.strip() == f"lungperfusion {lungperfusion.__version__}"


# Habits ---------------------------------------------------------------------------------------


def test_local_links_in_documents_lead_somewhere():
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = []
    for document in documents:
        links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
        links += re.findall(r'src="([^"]+)"', document.read_text(encoding="utf-8"))
        broken += [
            f"{document.name}: {link}"
            for link in links
            if "://" not in link and not (document.parent / link).exists()
        ]

    assert documents
    assert broken == []


@pytest.mark.skipif(not shutil.which("make"), reason="no make on this system")
def test_make_lists_its_targets():
    environment = {key: value for key, value in os.environ.items() if "MAKE" not in key}
    run = subprocess.run(
        ["make"], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )

    listed = re.findall(r"^  make (\S+) +\S", run.stdout, re.MULTILINE)
    assert {"help", "demo", "test", "lint", "bench", "format", "cmake-list"} <= set(listed)


@pytest.mark.skipif(os.name == "nt", reason="no execute permission on Windows")
def test_scripts_can_be_run():
    scripts = [ROOT / ".ci" / "run", *(ROOT / "Scripts").glob("*.sh")]

    assert [path.name for path in scripts if not os.access(path, os.X_OK)] == []
