"""One entry in the registry is all that help, manifest, batch, demo and report need."""

from __future__ import annotations

import argparse
import ast
import importlib
import pkgutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import lungperfusion.commands
from lungperfusion.__main__ import main, make_parser
from lungperfusion.batch.case_run import run_case
from lungperfusion.batch.dicom_tree import Series
from lungperfusion.batch.manifest import read_manifest
from lungperfusion.batch.proposal import propose
from lungperfusion.commands.demo import demo_rows
from lungperfusion.commands.output import add_output_arguments, results_of
from lungperfusion.measurement import measured
from lungperfusion.registry import COMMANDS, Command, Input, analyses
from lungperfusion.results.analysis import Analysis
from lungperfusion.terms import MEASURES

COMMAND_MODULES = {
    name
    for _, name, _ in pkgutil.iter_modules(lungperfusion.commands.__path__)
    if hasattr(importlib.import_module(f"lungperfusion.commands.{name}"), "run")
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ct", type=Path)
    add_output_arguments(parser)


def run(arguments: argparse.Namespace, progress) -> int:
    """Analyse as a toy does: each command finds the mass of the lungs to be its own number."""
    name, value = arguments.ct.read_text(encoding="utf-8").split()
    analysis = Analysis(
        module=name,
        measurements=tuple(
            measured(region, measure, float(value), "toy")
            for measure in COMMANDS[name].lobar_columns
            for region in ("lungs", "left_lung")
        ),
    )
    source = SimpleNamespace(name="ct", sha256="0" * 64, warnings=())
    with results_of(arguments, progress) as results:
        results.write(analysis, {"ct": source})
    return 0


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Command:
    """A registered command, and a second one, so that there is something to join."""
    entries = [
        Command(
            name,
            f"weigh the lungs as a {name} does",
            title=f"Weights of a {name}",
            module=__name__,
            inputs=(Input.CHEST_CT,),
            demo={"ct": "inspiration", "kv": "kv"},
            lobar_columns=columns,
        )
        for name, columns in (("toy", {"lung_mass": "Weight"}), ("twin", {"air_share": "Airiness"}))
    ]
    for entry in entries:
        monkeypatch.setitem(COMMANDS, entry.name, entry)
    return entries[0]


@pytest.fixture
def chest() -> Series:
    """A native CT of a whole chest."""
    return Series(
        path=Path("chest"),
        study="1",
        uid="1.2",
        kind="ct",
        breath="inspiration",
        contrast=False,
        sharpness="soft",
        kernel="Br36",
        kvp=120,
        thickness_mm=1,
        images=300,
        length_mm=300,
        grid=(),
        acquisition=(),
        unit=None,
        time_points=1,
        tin_filter=None,
        patient="",
    )


def test_help_lists_it(toy, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])

    assert toy.summary in " ".join(capsys.readouterr().out.split())
    assert make_parser("toy").parse_args(["toy", "a.nrrd", "-o", "out"]).run is run


def test_manifest_proposes_it(toy, chest):
    (line,) = propose([chest], ["toy"])

    assert (line.analysis, line.cells) == ("toy", {"ct": chest})


def test_demo_runs_it_on_the_patient(toy):
    row = next(row for row in demo_rows("scans") if row["analysis"] == "toy")

    assert row["ct"] == "scans/inspiration.nrrd"
    assert all(voltage[:2].isdigit() for voltage in row["kv"].split())


def test_batch_runs_it_and_joins_its_values(toy, tmp_path):
    for name, value in (("toy", "812.0"), ("twin", "77.0")):
        (tmp_path / f"{name}.nrrd").write_text(f"{name} {value}", encoding="utf-8")
    lines = "case,analysis,ct\np1,toy,toy.nrrd\np1,twin,twin.nrrd\n"
    (tmp_path / "manifest.csv").write_text(lines, encoding="utf-8")

    (case,) = read_manifest(tmp_path / "manifest.csv").cases
    (tmp_path / "out").mkdir()
    outcome = run_case(case, tmp_path / "out")

    assert not outcome.failed, outcome.reason
    folder = tmp_path / "out" / "cases" / "p1"
    assert "toy,lungs,lung_mass,812" in (folder / "measurements.csv").read_text(encoding="utf-8")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Weights of a toy · Weights of a twin" in page
    table = page[page.index("All analyses by lobe") :]
    for words in ("Weight<br>", "Airiness<br>", ">812<", ">77.0<"):
        assert words in table[: table.index("</table>")]


def test_every_module_with_a_command_is_registered_once():
    assert {entry.name for entry in COMMANDS.values()} == COMMAND_MODULES
    assert all(name == entry.name for name, entry in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_an_analysis_names_its_case_and_its_folder(name):
    parser = argparse.ArgumentParser(add_help=False)
    importlib.import_module(COMMANDS[name].place).add_arguments(parser)
    arguments = {action.dest for action in parser._actions}

    assert COMMANDS[name].is_analysis == ({"case", "out"} <= arguments)
    assert set(COMMANDS[name].demo) <= arguments


def test_columns_of_the_joined_table_are_measures_of_one_analysis_each():
    named = [measure for entry in COMMANDS.values() for measure in entry.lobar_columns]

    assert len(named) == len(set(named))
    assert set(named) <= set(MEASURES)
    assert set(analyses()) >= {entry.name for entry in COMMANDS.values() if entry.lobar_columns}


def test_help_leaves_the_letters_of_a_summary_alone(capsys):
    with pytest.raises(SystemExit):
        main(["xenon", "--help"])

    assert "Gas transfer from hyperpolarised 129Xe MRI" in " ".join(capsys.readouterr().out.split())


def test_every_command_that_writes_is_tortured():
    source = (Path(__file__).parents[1] / "torture.py").read_text(encoding="utf-8")
    prepare = next(
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == "prepare"
    )
    words = prepare.body[-1]
    assert isinstance(words, ast.Return)
    assert isinstance(words.value, ast.Dict)
    tortured = {ast.literal_eval(key) for key in words.value.keys if key is not None}

    assert tortured - {"analysis"} == COMMANDS.keys() - {"check"}
