"""``batch --dicom``: objects of every case, written once."""

from __future__ import annotations

from dataclasses import replace

import pydicom
import pytest
from archive_support import write_source

from lungperfusion.__main__ import main
from lungperfusion.archive.key_images import KeyPages
from lungperfusion.batch.case_run import run_case, unchanged
from lungperfusion.batch.cases import Case
from lungperfusion.batch.manifest import read_manifest
from lungperfusion.io import read_ct, write_volume
from lungperfusion.registry import Command

QUICK = {"quick": Command("quick", "takes no time", title="Quick", module="quick_analysis")}
MEASURED = ("seg_lobes.dcm", "map_iodine.dcm", "report.dcm", "key_1.dcm")


@pytest.fixture(autouse=True)
def _only_the_page_of_numbers(monkeypatch):
    monkeypatch.setattr(KeyPages, "add_labels", lambda self, *given: None)
    monkeypatch.setattr(KeyPages, "add_map", lambda self, *given: None)


@pytest.fixture
def case(tmp_path):
    """``case("source", dicom="named")``: a case of one analysis of a file or folder."""

    def make(ct: str, **options) -> Case:
        path = tmp_path / "manifest.csv"
        path.write_text(f"case,analysis,ct\np01,quick,{ct}\n", encoding="utf-8")
        (found,) = read_manifest(path, QUICK).cases
        return replace(found, **options)

    return make


def test_objects_are_written_once(tmp_path, case):
    write_source(tmp_path / "source")
    out = tmp_path / "out"
    out.mkdir()
    wanted = case("source", dicom="named")

    first = run_case(case("source"), out)
    assert (first.reason, first.notes) == ("", ())
    assert not (out / "dicom").exists()
    assert unchanged(case("source"), out) is not None
    assert unchanged(wanted, out) is None

    outcome = run_case(wanted, out)
    assert [job.status for job in outcome.jobs] == ["kept"]
    assert outcome.notes == ()
    folder = out / "dicom" / "p01" / "quick"
    assert {path.name for path in folder.iterdir()} >= set(MEASURED)
    assert pydicom.dcmread(folder / "report.dcm").PatientID == "PID4711"
    assert unchanged(wanted, out) is not None

    bare = case("source", dicom="anonymised")
    assert unchanged(bare, out) is None
    run_case(bare, out)
    assert pydicom.dcmread(folder / "report.dcm").PatientID == "p01"


def test_an_input_that_is_no_dicom_is_told(tmp_path, case):
    write_volume(read_ct(write_source(tmp_path / "source")).volume, tmp_path / "ct.nrrd")
    out = tmp_path / "out"
    out.mkdir()

    outcome = run_case(case("ct.nrrd", dicom="named"), out)

    assert outcome.reason == ""
    (note,) = outcome.notes
    assert note.startswith("no DICOM of quick: … is no DICOM")
    assert not (out / "dicom").exists()


def test_anonymise_is_about_dicom(tmp_path, capsys):
    manifest = tmp_path / "manifest.csv"
    write_source(tmp_path / "source")
    manifest.write_text("case,analysis,ct\np01,lungs,source\n", encoding="utf-8")
    words = ["batch", str(manifest), "-o", str(tmp_path / "out"), "--dry-run"]

    assert main([*words, "--anonymise"]) == 2
    assert "give --dicom, too" in capsys.readouterr().err
    assert main([*words, "--dicom", "--anonymise"]) == 0
