"""``lungperfusion lungs`` from file to folder."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pydicom
import pytest

import lungperfusion.commands.lungs as command
from lungperfusion.__main__ import main
from lungperfusion.io import read_segmentation, write_labelmap
from lungperfusion.io.checksums import is_whole
from lungperfusion.results.tables import COLUMNS
from lungperfusion.terms import MEASURES, Region


def rows_of(folder):
    with (folder / "measurements.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def value(folder, region, measure):
    (row,) = [r for r in rows_of(folder) if (r["region"], r["measure"]) == (region, measure)]
    return float(row["value"])


@pytest.fixture(scope="module")
def results(chest_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "out"
    assert main(["lungs", str(chest_file), "-o", str(folder), "--quiet"]) == 0
    return folder


def test_folder_holds_what_is_promised(results):
    names = sorted(path.name for path in results.iterdir())
    assert names.pop(0) == "checksums.json"
    assert names == ["lungs.seg.nrrd", "measurements.csv", "report.html", "results.json"]
    assert is_whole(results)
    record = json.loads((results / "results.json").read_text(encoding="utf-8"))
    assert sorted(record["files"]) == names
    (source,) = record["provenance"]["inputs"]
    assert source["role"] == "ct"
    assert len(source["sha256"]) == 64
    assert not {"duration_s", "peak_memory_mib"} & record["provenance"].keys()
    assert record["analyses"][0]["parameters"]["zones"] == "thirds of equal height"
    entries = record["analyses"][0]["measurements"]
    compared = {e["measure"]: e["reference"] for e in entries if "reference" in e}
    assert set(compared) == {"tlv", "mld"}
    (tlv,) = [e for e in entries if (e["region"], e["measure"]) == ("lungs", "tlv")]
    z = (tlv["value"] - 5.060) / 1.353
    assert compared["tlv"]["z_score"] == pytest.approx(z, abs=1e-3)
    assert compared["tlv"]["position"] == "within"


def test_table_keeps_the_contract(results):
    rows = rows_of(results)
    assert tuple(rows[0]) == COLUMNS
    assert {row["module"] for row in rows} == {"lungs"}
    for row in rows:
        assert row["region"] in set(Region)
        assert row["unit"] == MEASURES[row["measure"]].unit
        assert (row["status"] == "missing") == (row["value"] == "NaN")
        assert row["status"] == "ok" or row["reason"]
    regions = {row["region"] for row in rows}
    assert {"lungs", "left_lung", "right_upper_zone", "core", "rim"} <= regions


def test_volumes_agree_with_the_phantom(results, chest):
    for region in ("left_lung", "right_lung"):
        truth_l = chest.truth.volumes_ml[region] / 1000
        assert value(results, region, "tlv") == pytest.approx(truth_l, rel=0.03)
    parts = ("upper", "middle", "lower")
    zones = sum(value(results, f"left_{part}_zone", "tlv") for part in parts)
    assert zones == pytest.approx(value(results, "left_lung", "tlv"), rel=1e-5)
    shells = value(results, "core", "tlv") + value(results, "rim", "tlv")
    assert shells == pytest.approx(value(results, "lungs", "tlv"), rel=1e-5)


def test_same_input_gives_the_same_bytes(results, chest_file, tmp_path):
    again = tmp_path / "again"
    assert main(["lungs", str(chest_file), "-o", str(again), "--quiet", "--no-report"]) == 0
    for name in ("measurements.csv", "lungs.seg.nrrd"):
        assert (again / name).read_bytes() == (results / name).read_bytes()
    assert not (again / "report.html").exists()


def test_given_lungs_replace_the_segmentation(results, chest_file, chest, tmp_path):
    left = chest.ct.geometry.coordinate_mm("R") < 0
    lungs = read_segmentation(results / "lungs.seg.nrrd")
    thinner = np.where((lungs.array == 2) & left, 0, lungs.array)
    thinner[:, :40][thinner[:, :40] == 1] = 0
    write_labelmap(lungs.with_array(thinner.astype(np.uint8)), tmp_path / "mine.seg.nrrd")
    out = tmp_path / "out"
    words = ["lungs", str(chest_file), "-o", str(out), "--quiet", "--no-report"]
    assert main([*words, "--lung-mask", str(tmp_path / "mine.seg.nrrd")]) == 0
    expected = np.count_nonzero(thinner == 1) * chest.ct.geometry.voxel_volume_ml / 1000
    assert value(out, "left_lung", "tlv") == pytest.approx(expected, rel=1e-5)
    record = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [entry["role"] for entry in record["provenance"]["inputs"]] == ["ct", "lung_mask"]


def test_a_used_folder_needs_overwrite(results, chest_file, capsys):
    before = {path.name: path.read_bytes() for path in results.iterdir()}
    words = ["lungs", str(chest_file), "-o", str(results), "--quiet"]
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in results.iterdir()} == before
    assert main([*words, "--overwrite"]) == 0


def test_an_interrupted_run_leaves_nothing(chest_file, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "analyse_lungs", interrupted)
    out = tmp_path / "out"
    assert main(["lungs", str(chest_file), "-o", str(out), "--quiet"]) == 130
    assert list(tmp_path.iterdir()) == []
    assert "interrupted, nothing written" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no request to end")
def test_a_request_to_end_cleans_up_and_leaves_the_handler(chest_file, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "analyse_lungs", lambda *_, **__: signal.raise_signal(15))
    before = signal.getsignal(signal.SIGTERM)
    assert main(["lungs", str(chest_file), "-o", str(tmp_path / "out"), "--quiet"]) == 130
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_failure_while_writing_leaves_nothing(chest_file, tmp_path, monkeypatch, capsys):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lungperfusion.results.writing.write_labelmap", full_disk)
    assert main(["lungs", str(chest_file), "-o", str(tmp_path / "out"), "--quiet"]) != 0
    assert "disk" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["lungs", "missing.nrrd", "-o", "OUT"], "missing.nrrd"),
        (["lungs", "CT", "-o", "OUT", "--case", "a b"], "letters, digits"),
        (["lungs", "CT", "-o", "OUT", "--case", "../up"], "letters, digits"),
        (["lungs", "CT", "-o", "OUT", "--rim-mm", "0"], "rim must be thicker than 0 mm"),
        (["lungs", "CT", "-o", "OUT", "--ground-glass-from-hu", "-100"], "ground glass must start"),
        (["lungs", "CT", "-o", "OUT", "--lung-mask", "CT"], "lung mask|label map|whole"),
    ],
)
def test_refusals_exit_with_two_and_write_nothing(
    words, sentence, chest_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = [{"CT": str(chest_file)}.get(word, word) for word in words]
    assert main([*words, "--quiet"]) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("lungperfusion lungs: ")
    assert len(message.splitlines()) == 1
    assert re.search(sentence, message)
    assert list(tmp_path.iterdir()) == []


def test_identifiers_stay_out_unless_asked_for(chest, tmp_path, capsys):
    folder = tmp_path / "ROSAMUND_TESTERFIELD_778812"
    _write_dicom(chest.ct, folder, name="TESTERFIELD^ROSAMUND", patient_id="778812")
    for extra, expected in (([], False), (["--keep-identifiers"], True)):
        out = tmp_path / f"out{len(extra)}"
        assert main(["lungs", str(folder), "-o", str(out), "--quiet", *extra]) == 0
        text = "".join(path.read_bytes().decode("latin-1") for path in sorted(out.iterdir()))
        printed = "".join(capsys.readouterr())
        assert ("TESTERFIELD^ROSAMUND" in text and "778812" in text) is expected
        assert "TESTERFIELD" not in printed.replace(str(tmp_path), "")
        if not expected:
            assert "TESTERFIELD" not in text
            assert "ROSAMUND" not in text


def _write_dicom(ct, folder, *, name, patient_id):
    """Write an axial image slice by slice with the patient's name everywhere it may stand."""
    folder.mkdir()
    series, frame = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    si, sj, sk = ct.geometry.spacing_ijk_mm
    for k, plane in enumerate(ct.array):
        r, a, s = ct.geometry.ras_from_ijk((0, 0, k))
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        dataset.SOPInstanceUID = pydicom.uid.generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = series, frame
        dataset.StudyInstanceUID = pydicom.uid.generate_uid()
        dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.PatientName, dataset.PatientID = name, patient_id
        dataset.SeriesDescription = f"Chest {name}"
        dataset.InstanceNumber = k + 1
        dataset.ImagePositionPatient = [-r, -a, s]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [sj, si], sk
        dataset.Rows, dataset.Columns = plane.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.PixelRepresentation = 1
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, 0, "HU"
        dataset.PixelData = plane.astype("<i2").tobytes()
        dataset.save_as(folder / f"{k:03d}.dcm", enforce_file_format=True)


def test_runs_as_a_module():
    run = subprocess.run(
        [sys.executable, "-m", "lungperfusion", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith("lungperfusion ")


def test_uncompressed_images_hold_the_same(results, chest_file, tmp_path):
    words = ["lungs", str(chest_file), "--quiet", "--no-report", "-o", str(tmp_path / "raw")]
    assert main([*words, "--uncompressed"]) == 0
    packed, raw = (folder / "lungs.seg.nrrd" for folder in (results, tmp_path / "raw"))
    assert b"encoding: raw" in raw.read_bytes()
    assert b"encoding: gzip" in packed.read_bytes()
    assert np.array_equal(read_segmentation(raw).array, read_segmentation(packed).array)
    first, second = (folder / "measurements.csv" for folder in (results, tmp_path / "raw"))
    assert first.read_bytes() == second.read_bytes()
