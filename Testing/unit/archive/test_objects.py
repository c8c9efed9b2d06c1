"""Whose the objects are, that they are the same every time, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from archive_support import (
    GRID,
    PATIENT,
    faults,
    make_analysis,
    masks_of,
    write_archive,
    write_enhanced_source,
    write_measured,
    write_source,
)
from pydicom import DataElement, config

from lungperfusion.archive import writing
from lungperfusion.archive.results import read_results
from lungperfusion.archive.source import read_source
from lungperfusion.errors import InputError
from lungperfusion.io import write_volume
from lungperfusion.volume import Geometry, Labelmap, Volume


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.dcm"))}


def unchecked(keyword: str, vr: str, value: str) -> DataElement:
    return DataElement(keyword, vr, value, validation_mode=config.IGNORE)


def headers(folder: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(p, stop_before_pixels=True) for p in sorted(folder.glob("*.dcm"))]


def test_patient_study_and_times_come_from_the_source(study):
    made = headers(study.objects)
    assert len(made) == 8
    for header in made:
        for keyword in (
            *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber"),
            *("StudyID", "StudyDate", "StudyTime", "StudyDescription", "ReferringPhysicianName"),
        ):
            assert header[keyword].value == PATIENT[keyword], keyword
        assert header.StudyInstanceUID == "2.25.1"
        assert header.get("FrameOfReferenceUID", "2.25.2") == "2.25.2"
        assert header.InstanceCreationDate == header.SeriesDate == header.ContentDate == "20200304"
        assert header.InstanceCreationTime == header.ContentTime == "102030"
        assert header.ContentQualification == "RESEARCH"
        assert header.SeriesDescription.endswith("(research)")
        assert header.SeriesNumber > 7000
    for name in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert len({header[name].value for header in made}) == len(made)


def test_no_date_or_time_is_that_of_the_export(study, tmp_path):
    objects = write_archive(tmp_path / "objects", study.results, study.source, key_images=True)

    known = {"20200304", "101112", "102030", "20200304102030", "19610102", ""}
    for header in headers(objects):
        dates = {str(e.value) for e in header.iterall() if e.VR in ("DA", "TM", "DT")}
        assert dates <= known


def test_two_runs_give_the_same_bytes(study, tmp_path):
    again = write_archive(tmp_path / "objects", study.results, study.source)

    assert contents(again) == contents(study.objects)


def test_names_and_order_of_files_play_no_part(study, tmp_path):
    source = write_source(tmp_path / "source", order=[4, 0, 8, 2, 6, 1, 3, 7, 5])
    assert contents(write_archive(tmp_path / "a", study.results, source)) == contents(study.objects)

    packed = Path(shutil.make_archive(str(tmp_path / "source"), "zip", source))
    assert contents(write_archive(tmp_path / "b", study.results, packed)) == contents(study.objects)


def test_other_content_gets_other_uids_but_the_same_tracking(study, tmp_path):
    results = write_measured(tmp_path / "results", study.source, gates=())
    objects = write_archive(tmp_path / "objects", results, study.source)
    before, after = (pydicom.dcmread(f / "seg_lungs.dcm") for f in (study.objects, objects))

    assert before.SOPInstanceUID != after.SOPInstanceUID
    assert before.SegmentSequence[0].TrackingUID == after.SegmentSequence[0].TrackingUID


@pytest.mark.parametrize("name", ["Müller^Jörg", "Иванов^Иван", "Yamada^Tarou=山田^太郎", "Doe"])
def test_names_in_any_script(tmp_path, name):
    def edit(data, k):
        data.PatientName = name

    source = write_source(tmp_path / "source", edit=edit)
    results = write_measured(tmp_path / "results", source)
    objects = write_archive(tmp_path / "objects", results, source)

    for header in headers(objects):
        assert header.PatientName == name
        assert header.SpecificCharacterSet == "ISO_IR 192"
    assert faults(objects / "report.dcm") == []
    assert faults(objects / "seg_lungs.dcm") == []


def test_what_the_source_lacks_or_garbles_is_empty(tmp_path):
    def edit(data, k):
        for keyword in ("AccessionNumber", "StudyID", "StudyTime", "ReferringPhysicianName"):
            delattr(data, keyword)
        del data.FrameOfReferenceUID, data.AcquisitionDate, data.PatientBirthDate
        del data.SliceThickness
        data["PatientSex"].value = "FEMALE"
        data["PatientAge"] = unchecked("PatientAge", "AS", "61 years")

    source = write_source(tmp_path / "source", edit=edit)
    results = write_measured(tmp_path / "results", source)
    objects = write_archive(tmp_path / "objects", results, source)

    frames = set()
    for header in headers(objects):
        assert header.AccessionNumber == header.StudyID == header.PatientSex == ""
        assert header.PatientBirthDate == ""
        assert "PatientAge" not in header
        assert header.ContentDate == "20200304"  # of the study
        frames |= {header.FrameOfReferenceUID} if "FrameOfReferenceUID" in header else set()
    assert len(frames) == 1
    for name in ("report", "seg_lobes", "map_iodine"):
        assert faults(objects / f"{name}.dcm") == []


def test_directions_may_differ_by_rounding_and_pixels_may_be_lossy(tmp_path):
    def edit(data, k):
        data.ImageOrientationPatient = ["1", f"{1e-6 * k:.7f}", "0", "0", "1", "0"]
        data.LossyImageCompression, data.LossyImageCompressionRatio = "01", "8"
        data.LossyImageCompressionMethod = "ISO_10918_1"

    source = write_source(tmp_path / "source", edit=edit)
    results = write_measured(tmp_path / "results", source)
    objects = write_archive(tmp_path / "objects", results, source)

    for name in ("report", "seg_lobes", "map_iodine"):
        assert faults(objects / f"{name}.dcm") == []


# Without the patient --------------------------------------------------------------------------


def test_anonymised_objects_hold_nothing_of_the_patient(study, tmp_path):
    objects = write_archive(
        tmp_path / "objects", study.results, study.source, anonymise=True, key_images=True
    )
    words = {
        part.encode()
        for keyword, text in PATIENT.items()
        for part in text.replace("^", " ").split()
        if keyword != "PatientSex" and len(part) > 2
    }
    words |= {b"2.25.10", b"2.25.1\x00", b"2.25.2\x00"}
    for name, content in contents(objects).items():
        if not name.startswith("key"):  # pixels hold any bytes
            assert [word for word in words if word in content] == [], name
        header = pydicom.dcmread(objects / name, stop_before_pixels=True)
        assert header.PatientID == header.PatientName == "c01"
        assert header.PatientIdentityRemoved == "YES"
        assert header.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
        assert header.StudyDate == header.AccessionNumber == header.PatientSex == ""
        assert header.ContentDate == "19000101"
        assert faults(objects / name) == []


def test_anonymised_objects_still_belong_together(study, tmp_path):
    objects = write_archive(tmp_path / "objects", study.results, study.source, anonymise=True)
    made = headers(objects)

    assert len({header.StudyInstanceUID for header in made}) == 1
    assert len({h.FrameOfReferenceUID for h in made if "FrameOfReferenceUID" in h}) == 1
    assert contents(objects) == contents(
        write_archive(tmp_path / "again", study.results, study.source, anonymise=True)
    )


# Key images -----------------------------------------------------------------------------------


def test_key_images_carry_the_notice_in_their_pixels(study, tmp_path):
    objects = write_archive(tmp_path / "a", study.results, study.source, key_images=True)
    pages = sorted(objects.glob("key_*.dcm"))

    assert len(pages) == 5
    for number, path in enumerate(pages, start=1):
        page = pydicom.dcmread(path)
        assert faults(path) == []
        assert page.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
        assert page.InstanceNumber == number
        assert page.PhotometricInterpretation == "RGB"
        banner = page.pixel_array[:50, page.Columns // 2 :].astype(int)
        notice = (banner[..., 0] > 200) & (banner[..., 2] < 120)  # yellow letters
        assert notice.sum() > 500
    again = write_archive(tmp_path / "b", study.results, study.source, key_images=True)
    assert contents(again) == contents(objects)


def test_without_matplotlib_there_are_no_key_images(study, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "can_draw", lambda: False)
    objects = write_archive(tmp_path / "objects", study.results, study.source, key_images=True)

    assert set(contents(objects)) == set(contents(study.objects))


# Refusals -------------------------------------------------------------------------------------


def test_another_source_is_refused(study, tmp_path):
    other = write_source(tmp_path / "other", shift_hu=1)
    with pytest.raises(InputError, match=r"not what these results were measured on.*inputs: ct$"):
        write_archive(tmp_path / "objects", study.results, other)


def test_the_same_voxels_in_another_file_are_the_same_source(study, tmp_path):
    read = read_source(study.source).scan.volume
    write_volume(read, tmp_path / "ct.nrrd")
    results = write_measured(tmp_path / "results", tmp_path / "ct.nrrd")

    objects = write_archive(tmp_path / "objects", results, study.source)
    assert (objects / "seg_lungs.dcm").exists()


def test_a_source_without_patient_is_refused(tmp_path):
    def edit(data, k):
        data.PatientID = ""

    source = write_source(tmp_path / "source", edit=edit)
    results = write_measured(tmp_path / "results", source)
    with pytest.raises(InputError, match=r"names no patient .* add --anonymise$"):
        write_archive(tmp_path / "objects", results, source)
    write_archive(tmp_path / "anonymous", results, source, anonymise=True)


def test_maps_on_another_grid_are_refused(study, tmp_path):
    matrix = GRID.ijk_to_ras.copy()
    matrix[2, 3] += 1.0
    elsewhere = Geometry(GRID.shape, matrix)
    labels = Labelmap(np.ones(GRID.shape, np.uint8), elsewhere, {1: "left_lung"})
    results = write_measured(tmp_path / "r1", study.source, labelmaps={"lungs": labels}, maps={})
    with pytest.raises(InputError, match="the lungs of these results lies on another grid"):
        write_archive(tmp_path / "o1", results, study.source)

    image = Volume(np.ones(GRID.shape, np.float32), elsewhere, "mg/mL")
    results = write_measured(tmp_path / "r2", study.source, maps={"iodine": image})
    with pytest.raises(InputError, match="the iodine of these results lies on another grid"):
        write_archive(tmp_path / "o2", results, study.source)


def test_results_on_the_box_of_the_lungs_lie_at_their_place(study, tmp_path):
    box = (slice(2, 8), slice(4, 27), slice(1, 26))
    whole = make_analysis(read_source(study.source).scan.volume)
    results = write_measured(
        tmp_path / "results",
        study.source,
        labelmaps={"lungs": whole.labelmaps["lungs"].crop(box)},
        maps={"iodine": whole.maps["iodine"].crop(box)},
    )
    objects = write_archive(tmp_path / "objects", results, study.source)

    lungs = np.zeros(GRID.shape, np.uint8)
    lungs[box] = whole.labelmaps["lungs"].array[box]
    masks = masks_of(objects / "seg_lungs.dcm")
    assert np.array_equal(masks["left_lung"], lungs == 1)
    made = pydicom.dcmread(objects / "map_iodine.dcm")
    values = np.frombuffer(made.FloatPixelData, "<f4").reshape(GRID.shape)
    expected = np.where(lungs > 0, whole.maps["iodine"].array, np.nan)
    assert np.array_equal(values, expected, equal_nan=True)


def test_results_with_names_are_not_anonymised(study, tmp_path):
    results = write_measured(tmp_path / "results", study.source, keep_names=True)
    with pytest.raises(InputError, match="hold patient identifiers or file names"):
        write_archive(tmp_path / "objects", results, study.source, anonymise=True)


def test_results_that_were_changed_are_refused(study, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(study.results, results)
    with (results / "measurements.csv").open("a") as stream:
        stream.write("more\n")
    with pytest.raises(InputError, match="missing or not as they were written; measure again"):
        read_results(results)


def test_a_folder_without_results_is_refused(study, tmp_path):
    with pytest.raises(InputError, match="there is no results folder"):
        read_results(tmp_path / "none")
    with pytest.raises(InputError, match=r"there is no file results\.json"):
        read_results(study.source)
    (tmp_path / "results.json").write_text('{"command": "phantom"}')
    with pytest.raises(InputError, match="holds no results of an analysis"):
        read_results(tmp_path)


@pytest.mark.parametrize("uid", ["", "of the scanner", "1." * 33])
@pytest.mark.parametrize(
    ("keyword", "words"),
    [
        ("StudyInstanceUID", "has no Study Instance UID"),
        ("SOPInstanceUID", "have no SOP Instance UID of their own"),
    ],
)
def test_a_source_that_nothing_can_refer_to_is_refused(tmp_path, keyword, words, uid):
    source = write_source(tmp_path / "source")
    for path in source.iterdir():
        data = pydicom.dcmread(path)
        data[keyword] = unchecked(keyword, "UI", uid)
        data.save_as(path)
    with pytest.raises(InputError, match=words):
        read_source(source)


@pytest.mark.parametrize(
    ("keyword", "words"),
    [
        ("PatientID", "Patient IDs"),
        ("StudyInstanceUID", "studies"),
        ("FrameOfReferenceUID", "frames of reference"),
    ],
)
def test_slices_of_several_owners_are_refused(tmp_path, keyword, words):
    source = write_source(
        tmp_path / "source", edit=lambda data, k: setattr(data, keyword, "2.25.9" if k > 6 else "1")
    )
    with pytest.raises(InputError, match=f"different {words}, so nobody can tell where"):
        read_source(source)


def test_several_multi_frame_files_are_refused(tmp_path):
    source = write_enhanced_source(tmp_path / "source", range(5))
    write_enhanced_source(source / "more", range(5, 9))
    with pytest.raises(InputError, match="several multi-frame files"):
        read_source(source)


def test_a_source_that_is_no_dicom_is_refused(study, tmp_path):
    path = study.results / "iodine.nrrd"
    with pytest.raises(InputError, match="is no DICOM; the source is the series"):
        read_source(path)
    with pytest.raises(InputError, match="there is no file or folder"):
        read_source(tmp_path / "none")
