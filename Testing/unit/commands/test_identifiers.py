"""No name of a patient, a file or a folder gets into a result unless the user asks for it."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from pathlib import Path

import pydicom
import pytest

from lungperfusion.__main__ import main
from lungperfusion.batch.engine import run_batch
from lungperfusion.batch.manifest import read_manifest
from lungperfusion.batch.workers import LocalWorkers
from lungperfusion.commands.phantom import write_dicom
from lungperfusion.errors import InputError
from lungperfusion.io import read_labelmap, write_labelmap
from lungperfusion.naming import named, plain, without_names
from lungperfusion.phantoms import KINDS
from lungperfusion.volume import Labelmap

NAMES = ("Иванова", "山田太郎", "Müller", "Öz", "Nguyễn", "O'Brien-Ng", "Xu")
"""Of several scripts, with umlauts, of two letters."""
SECRETS = (*NAMES, "19610102", "02.01.1961", "1961-01-02", "2.25.4711")
NO_TEXT = {"SOPClassUID", "Modality", "ImageType", "SpecificCharacterSet", "RescaleType"}
"""Tags whose values the standard lists: another makes another file."""


def identify(folder: Path) -> None:
    """Write names into every tag of text, and into the names of the files."""
    for number, path in enumerate(sorted(folder.iterdir())):
        header = pydicom.dcmread(path)
        header.SpecificCharacterSet = "ISO_IR 192"
        for keyword in ("PatientComments", "OtherPatientIDs", "ImageComments", "StationName"):
            setattr(header, keyword, "")
        for element in header:
            text = {"PN": "^".join(NAMES[:2]), "LO": NAMES[2], "LT": " ".join(NAMES), "SH": "Öz"}
            if element.keyword not in NO_TEXT:
                if element.VR in text:
                    element.value = text[element.VR]
                elif element.VR == "DA":
                    element.value = "19610102"
        for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(header, keyword, "2.25.4711")
        header.save_as(folder / f"{NAMES[number % len(NAMES)]} 02.01.1961 {number}.dcm")
        path.unlink()


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Identified DICOM folder and lung mask of a chest."""
    phantom = KINDS["small"]((8.0, 8.0, 8.0))
    root = tmp_path_factory.mktemp("archive") / "Иванова 1961-01-02"
    root.mkdir()
    write_dicom(phantom.ct, root / "山田太郎", kind="small")
    identify(root / "山田太郎")
    mask = root / "Öz Müller.seg.nrrd"
    labels = {1: "left_lung", 2: "right_lung"}
    lungs = phantom.truth.labelmaps()["lungs"]
    array = lungs.array * 0
    for label, name in labels.items():
        array[lungs.mask(name)] = label
    write_labelmap(Labelmap(array, lungs.geometry, labels), mask)
    return root / "山田太郎", mask


def text_of(folder: Path) -> str:
    """Everything that a folder holds as text, names of files included."""
    return "\n".join(
        path.relative_to(folder).as_posix()
        + "\n"
        + path.read_text(encoding="utf-8", errors="replace")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".nrrd",)
    )


def held_in(text: str) -> list[str]:
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)  # pictures may spell anything
    return [secret for secret in SECRETS if re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", text)]


def test_results_name_roles(patient, tmp_path, capsys):
    ct, mask = patient
    words = ["lungs", str(ct), "--lung-mask", str(mask), "--quiet", "-o"]
    assert main([*words, str(tmp_path / "out")]) == 0
    assert held_in(text_of(tmp_path / "out")) == []
    record = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    scan, labels = (entry.keys() for entry in record["provenance"]["inputs"])
    assert scan == {"role", "sha256", "voxels_sha256"}
    assert labels == {"role", "sha256"}
    assert not held_in(capsys.readouterr().out)

    kept = tmp_path / "kept"
    assert main([*words, str(kept), "--keep-identifiers", "--no-report"]) == 0
    record = json.loads((kept / "results.json").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in record["provenance"]["inputs"]] == [ct.name, mask.name]
    assert record["provenance"]["identifiers"]["PatientName"] == "^".join(NAMES[:2])
    if os.name != "nt":
        assert all(
            stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in (kept, *kept.iterdir())
        )


def spoilt(patient: tuple[Path, Path], where: Path) -> dict[str, tuple[Path, ...]]:
    """Inputs that are refused, each for a reason of its own."""
    ct, mask = patient
    two, cut, plain_folder = (where / name for name in ("Xu", "damaged", "Müller"))
    for folder in (two, cut, plain_folder):
        folder.mkdir(parents=True)
    for number, path in enumerate(ct.iterdir()):
        header = pydicom.dcmread(path)
        header.SeriesInstanceUID = "2.25.47112" if number % 2 else "2.25.47113"
        header.save_as(two / path.name)
        (cut / path.name).write_bytes(path.read_bytes()[:300])
    shutil.copy(mask, plain_folder / mask.name)
    empty = where / "Öz.nrrd"
    empty.write_bytes(b"")
    no_lung = where / "Nguyễn.seg.nrrd"
    labels = read_labelmap(mask)
    write_labelmap(Labelmap(labels.array, labels.geometry, {1: NAMES[5], 2: NAMES[6]}), no_lung)
    return {
        "two-series": (two, mask),
        "damaged": (cut, mask),
        "no-dicom": (plain_folder, mask),
        "empty": (empty, mask),
        "no-image": (where.parent / "Xu.txt", mask),
        "no-lobes": (ct, mask, no_lung),
        "no-mask": (ct, empty),
    }


def test_tables_of_a_batch_hold_sentences_without_names(patient, tmp_path):
    (tmp_path / "Xu.txt").write_text("no image", encoding="utf-8")
    cases = spoilt(patient, tmp_path / "Иванова")
    lines = ["case,analysis,ct,lung_mask,lobes"]
    lines += [f"{case},lungs,{','.join(map(str, inputs))}" for case, inputs in cases.items()]
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path / "out"

    state = run_batch(read_manifest(manifest), out, lambda _: LocalWorkers(1))

    assert held_in(text_of(out)) == []
    reasons = {case: outcome.jobs[0].reason for case, outcome in state.outcomes.items()}
    assert [case for case, reason in reasons.items() if not reason] == []
    assert reasons["damaged"] == (
        "the DICOM header of … is damaged or cut short (no SOP Class UID); export the series again"
    )
    assert reasons["empty"] == "<ct> is empty (0 bytes); export it again"
    assert reasons["no-mask"] == "<lung_mask> is empty (0 bytes); export it again"
    assert reasons["two-series"] == "there are 2 image series; choose one with --series UID: …"
    assert reasons["no-lobes"].startswith("<lobes> holds no lung")
    assert "its segments are …." in reasons["no-lobes"]


def test_marks_go_through_wrapped_errors_and_processes():
    import pickle

    inner = InputError(f"{named('Öz.nrrd')} is empty ({named(OSError('Öz'))})")
    outer = pickle.loads(pickle.dumps(InputError(f"line 3: {inner}")))
    assert str(outer) == "line 3: Öz.nrrd is empty (Öz)"
    assert InputError(f"line 3: {inner}").without_names({"Öz.nrrd": "<ct>"}) == (
        "line 3: <ct> is empty (…)"
    )
    assert without_names(f"{named(f'a {named(1)}'):>5} b") == "… b"
    assert plain(f"{named('a')}b") == "ab"
