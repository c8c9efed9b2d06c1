"""The manifest is read as people write it, and refused with every fault at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungperfusion.batch.analyses import find_analysis
from lungperfusion.batch.manifest import read_manifest
from lungperfusion.errors import InputError
from lungperfusion.registry import COMMANDS, Command, analyses

LIGHT = {
    name: Command(name, "takes no time", title=name.capitalize(), module="light_analysis")
    for name in ("light", "also")
}


def test_line_becomes_the_arguments_of_the_command(order, manifest):
    order("a")
    order("m")

    read = manifest(
        "p1,light,a.nrrd,m.nrrd,2.5,80 140Sn,yes,",
        "p1,also,a.nrrd,,,,no,--factor 3 --no-report",
        header="case,analysis,ct,mask,factor,pair,smooth,options",
    )

    (case,) = read.cases
    first, second = case.jobs
    assert (case.name, first.analysis, first.line, second.line) == ("p1", "light", 2, 3)
    assert first.arguments["factor"] == 2.5
    assert first.arguments["pair"] == ["80", "140Sn"]
    assert first.arguments["smooth"] is True
    assert first.inputs["mask"][0].name == "m.nrrd"
    assert first.arguments["ct"].is_absolute()
    assert second.arguments["factor"] == 3
    assert second.arguments["smooth"] is False
    assert second.arguments["no_report"] is True


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_manifest_from_a_spreadsheet(order, tmp_path, delimiter):
    order("scan, first")
    text = delimiter.join(["Case", "Analysis", "CT", "No-Report", "note"]) + "\r\n\r\n"
    text += delimiter.join(["p1", "light", '"scan, first.nrrd"', "", "mine"]) + "\r\n"
    (tmp_path / "m.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())

    (case,) = read_manifest(tmp_path / "m.csv", LIGHT).cases

    assert case.jobs[0].inputs["ct"][0].name == "scan, first.nrrd"


def test_faults_without_end_are_counted(manifest):
    with pytest.raises(InputError) as refused:
        manifest(*(f"p{number},heavy,a.nrrd" for number in range(1000)), header="case,analysis,ct")
    told = str(refused.value).splitlines()
    assert "1000 faults" in told[0]
    assert told[-1].strip() == "and 950 more"
    assert len(told) == 52


def test_every_fault_is_named_with_its_line(order, manifest):
    order("a")

    with pytest.raises(InputError) as refused:
        manifest(
            "p1,light,a.nrrd,,",
            "P1,light,a.nrrd,,",  # differs in capitals only
            "p1,light,a.nrrd,,",  # again
            "p/2,light,a.nrrd,,",
            "con,light,a.nrrd,,",
            "p3,heavy,a.nrrd,,",
            "p4,light,missing.nrrd,,",
            "p5,light,,,",
            "p6,light,a.nrrd,much,",
            "p7,light,a.nrrd,-1,",
            "p8,light,a.nrrd,?,",
            "p9,light,a.nrrd,,--out here",
            "p10,light,a.nrrd,,--unheard-of",
            "p11,light,a.nrrd,,--keep-stages=stages",
            header="case,analysis,ct,factor,options",
        )

    message = str(refused.value)
    assert message.startswith("manifest.csv has 13 faults, nothing was run:")
    expected = {
        3: "differ only in capitals",
        4: "stands in line 2 already",
        5: "'p/2' is none",
        6: "device name",
        7: "no analysis 'heavy'; there are: also, light",
        8: "ct: there is no file or folder",
        9: "required: ct",
        10: "invalid float value: 'much'",
        11: "--factor is 0 or more",
        12: "factor is left open",
        13: "the batch itself sets --out",
        14: "unrecognized arguments: --unheard-of",
        15: "the batch itself sets --keep-stages",
    }
    for line, words in expected.items():
        (fault,) = [text for text in message.splitlines() if text.startswith(f"  line {line}:")]
        assert words in fault


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "m.csv is empty"),
        ("case,ct\np,a.nrrd\n", "column 'analysis' is missing"),
        ("case,analysis,ct,ct\np,light,a.nrrd,a.nrrd\n", "'ct' stands there 2 times"),
        ("case,analysis,ct,colour\np,light,a.nrrd,red\n", "an argument 'colour'"),
        ("case,analysis,ct\n", "no line below its header"),
        ("case,analysis,ct\np,light,a.nrrd,more,\n", "line 2: 5 cells but 3 columns"),
        ('case,analysis,ct\np,light,"a.nrrd\n', "no sound CSV"),
        ("case,analysis,ct,smooth\np,light,a.nrrd,perhaps\n", "smooth is yes or no"),
        ("case,analysis,ct,mask\np,light,a.nrrd,a.nrrd\n", "ct and mask are the same file"),
        ("case,analysis,ct,options\np,light,a.nrrd,'open\n", "options: No closing quotation"),
    ],
)
def test_refused(order, tmp_path, text, match):
    order("a")
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")

    with pytest.raises(InputError, match=match):
        read_manifest(tmp_path / "m.csv", LIGHT)


def test_manifest_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(InputError, match="there is no manifest"):
        read_manifest(tmp_path / "none.csv", LIGHT)
    (tmp_path / "latin.csv").write_bytes("case,analysis\nMüller,lungs".encode("latin-1"))
    with pytest.raises(InputError, match="'Müller' is none"):
        read_manifest(tmp_path / "latin.csv", LIGHT)


def test_what_spreadsheets_do_to_a_manifest_makes_no_difference(order, tmp_path):
    order("a")
    text = "sep=;\r\nCASE;Analysis;CT;options\r\np1;LIGHT;a.nrrd;\u2013\u2013factor 2\r\n"
    (tmp_path / "m.csv").write_bytes(text.encode("utf-16"))
    (case,) = read_manifest(tmp_path / "m.csv", LIGHT).cases
    assert case.name == "p1"
    assert case.jobs[0].arguments["factor"] == 2


def test_backslashes_part_folders_on_any_system(order, tmp_path):
    order("a")
    (tmp_path / "scans").mkdir()
    (tmp_path / "a.nrrd").rename(tmp_path / "scans" / "a.nrrd")
    (tmp_path / "m.csv").write_text("case,analysis,ct\np1,light,scans\\a.nrrd\n", encoding="utf-8")
    assert len(read_manifest(tmp_path / "m.csv", LIGHT).cases) == 1


def test_same_scan_under_two_names_is_pointed_out(order, manifest):
    order("a")

    read = manifest("p1,light,a.nrrd", "p2,light,a.nrrd")

    assert read.warnings == ("line 3: ct of case p2 is also that of p1 (line 2)",)


def test_argument_of_another_analysis_is_no_typing_error(order, tmp_path):
    order("a")
    (tmp_path / "m.csv").write_text(
        "case,analysis,ct,factor\np1,light,a.nrrd,2\np2,lungs,a.nrrd,2\n", encoding="utf-8"
    )

    with pytest.raises(InputError, match="line 3: lungs has no argument 'factor'; leave the cell"):
        read_manifest(tmp_path / "m.csv", {**LIGHT, "lungs": COMMANDS["lungs"]})


def test_word_or_file(order, manifest, tmp_path):
    for name in ("a", "b", "l"):
        order(name)

    read = manifest(
        "p1,light,a.nrrd,auto", "p2,light,b.nrrd,l.nrrd", header="case,analysis,ct,lobes"
    )

    first, second = (case.jobs[0] for case in read.cases)
    assert first.arguments["lobes"] == "auto"
    assert "lobes" not in first.inputs
    assert second.inputs["lobes"] == ((tmp_path / "l.nrrd").resolve(),)
    assert second.arguments["lobes"] == str(tmp_path / "l.nrrd")
    with pytest.raises(InputError, match="lobes: there is no file or folder"):
        manifest("p1,light,a.nrrd,atuo", header="case,analysis,ct,lobes")


def test_commands_that_analyse_are_found_by_themselves():
    names = analyses()

    assert {"lungs", "ipv"} <= set(names)
    assert not {"batch", "manifest", "phantom"} & set(names)
    assert find_analysis("lungs").roles[:2] == ("ct", "lung_mask")
    with pytest.raises(InputError, match=r"there is no analysis 'batch'; there are: .*lungs"):
        find_analysis("batch")


def test_home_folder_and_absolute_paths(order, manifest, monkeypatch, tmp_path):
    path = order("a")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))

    cases = manifest("p1,light,~/a.nrrd", f"p2,light,{path}").cases

    assert [case.jobs[0].inputs["ct"] for case in cases] == [(Path(path).resolve(),)] * 2
