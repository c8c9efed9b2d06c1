"""Series of a DICOM tree are told apart, and what is not sure is left open."""

from __future__ import annotations

import csv
import warnings

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from lungperfusion.__main__ import main
from lungperfusion.batch.dicom_tree import read_tree
from lungperfusion.batch.manifest import read_manifest
from lungperfusion.batch.proposal import OPEN, propose
from lungperfusion.errors import InputError


@pytest.fixture
def series(tmp_path):
    """``series("scan", SeriesDescription="expiration")``: headers of one series in a folder."""

    def write(folder, *, slices=3, step_mm=100.0, study="1.2.3", sub="dicom", **tags):
        place = tmp_path / sub / folder
        place.mkdir(parents=True, exist_ok=True)
        uid = generate_uid(entropy_srcs=[folder, str(tags)])
        for k in range(slices):
            meta = FileMetaDataset()
            meta.MediaStorageSOPClassUID = CTImageStorage
            meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[uid, str(k)])
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            data = Dataset()
            data.file_meta = meta
            data.SOPClassUID = CTImageStorage
            data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
            data.StudyInstanceUID, data.SeriesInstanceUID = study, uid
            data.PatientName, data.PatientID = "Meier^Hans", "4711"
            data.Modality, data.FrameOfReferenceUID = "CT", "1.2.3.4"
            data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
            data.Rows = data.Columns = 512
            data.PixelSpacing = [0.7, 0.7]
            data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            data.ImagePositionPatient = [0, 0, step_mm * k]
            data.SliceThickness, data.ConvolutionKernel, data.KVP = 1, "Br36", 120
            data.AcquisitionNumber, data.AcquisitionTime = 1, "101500"
            for name, value in tags.items():
                setattr(data, name, value)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data.save_as(place / f"{uid[-6:]}-{k}", enforce_file_format=True)
        return uid

    return write


ALL = ("lungs", "ipv", "ctvq", "vesselbv")


def proposed(tmp_path, sub="dicom"):
    found = read_tree(tmp_path / sub).series
    return {line.analysis: line for line in propose(found, ALL)}, found


def name(cell):
    return cell if isinstance(cell, str) else cell.path.name


def test_breaths_become_ventilation_and_inspiration_the_rest(series, tmp_path):
    series("in", SeriesDescription="Thorax INSP 1.0 Br36")
    series("out", SeriesDescription="Thorax_Exspiration 1.0")

    lines, found = proposed(tmp_path)

    assert [(s.path.name, s.breath) for s in found] == [
        ("in", "inspiration"),
        ("out", "expiration"),
    ]
    assert set(lines) == {"lungs", "ctvq", "vesselbv"}
    assert name(lines["lungs"].cells["ct"]) == "in"
    assert name(lines["ctvq"].cells["inspiration"]) == "in"
    assert name(lines["ctvq"].cells["expiration"]) == "out"
    assert not any(line.open for line in lines.values())
    assert lines["lungs"].notes == []


def test_breath_that_is_not_said_is_not_taken_for_inspiration_of_a_pair(series, tmp_path):
    series("scan")
    series("out", SeriesDescription="EXP")

    lines, _ = proposed(tmp_path)

    assert name(lines["lungs"].cells["ct"]) == "scan"
    assert "breathing state not stated" in lines["lungs"].notes[0]
    assert lines["ctvq"].cells["inspiration"] == OPEN
    assert "perhaps series 2" in lines["ctvq"].notes[0]


def test_two_voltages_of_one_scan_are_a_pair(series, tmp_path):
    series("a", KVP=80, SeriesDescription="DE 80kV", ContrastBolusAgent="Iomeron")
    series("b", KVP=140, SeriesDescription="DE 140kV", ContrastBolusAgent="Iomeron")

    lines, _ = proposed(tmp_path)

    assert set(lines) == {"ipv"}
    assert (name(lines["ipv"].cells["low"]), name(lines["ipv"].cells["high"])) == ("a", "b")
    assert lines["ipv"].cells["kv"] == OPEN
    assert "'80 140', or '80 140Sn' for a tin filter" in lines["ipv"].notes[0]


@pytest.mark.parametrize(
    ("material", "kv"),
    [("TIN", "80 140Sn"), (["ALUMINUM", "SN"], "80 140Sn"), ("COPPER", "80 140")],
)
def test_the_filter_of_a_pair_is_read(series, tmp_path, material, kv):
    series("a", KVP=80)
    series("b", KVP=140, FilterMaterial=material)

    lines, _ = proposed(tmp_path)

    assert lines["ipv"].cells["kv"] == kv
    assert not lines["ipv"].open


@pytest.mark.parametrize(
    ("tags", "is_open"),
    [
        ({"AcquisitionNumber": 2, "AcquisitionTime": "103000"}, True),  # another scan
        ({"ConvolutionKernel": "Br59"}, None),
        ({"FrameOfReferenceUID": "1.2.9"}, None),
        ({"SeriesDescription": "expiration"}, None),
        ({"KVP": 99}, None),  # 19 kV apart
        ({"KVP": 100, "FilterMaterial": "COPPER"}, False),  # 20 kV apart
        ({"KVP": 100}, True),  # perhaps behind tin
    ],
)
def test_what_makes_no_pair(series, tmp_path, tags, is_open):
    series("a", KVP=80)
    series("b", **{"KVP": 140, **tags})

    lines, _ = proposed(tmp_path)

    assert (lines["ipv"].open if "ipv" in lines else None) is is_open


def test_iodine_map_with_its_ct(series, tmp_path):
    series("map", SeriesDescription="Iodine map", RescaleType="MGML")
    series("mixed", SeriesDescription="Thorax mixed")
    series("other", SeriesDescription="Thorax other", step_mm=120.0)

    lines, _ = proposed(tmp_path)

    cells = lines["ipv"].cells
    assert (name(cells["iodine"]), name(cells["ct"])) == ("map", "mixed")
    assert "iodine_unit" not in cells, "the reader takes it from the header"
    assert not lines["ipv"].open


def test_a_map_in_another_unit_of_concentration_is_one_of_iodine(series, tmp_path):
    series("map", SeriesDescription="Thorax", RescaleType="UG/ML")
    series("mixed")

    lines, found = proposed(tmp_path)

    assert [entry.unit for entry in found if entry.kind == "iodine"] == ["mg/mL"]
    assert not lines["ipv"].open


def test_unit_of_an_iodine_map_is_not_guessed(series, tmp_path):
    series("map", SeriesDescription="Lung PBV")
    series("mixed")

    lines, _ = proposed(tmp_path)

    assert lines["ipv"].cells["iodine_unit"] == OPEN
    assert "unit of the map" in lines["ipv"].notes[0]


def test_best_of_several_reconstructions(series, tmp_path):
    series("thick", SliceThickness=5)
    series("sharp", ConvolutionKernel="Br59")
    series("soft")
    series("contrast", ContrastBolusAgent="Ultravist")

    lines, _ = proposed(tmp_path)

    assert name(lines["lungs"].cells["ct"]) == "soft"
    assert "series 3 rather than series 4, series 2, series 1" in lines["lungs"].notes[0]


def test_equally_good_series_are_left_open(series, tmp_path):
    series("one")
    series("two", ProtocolName="second")

    lines, _ = proposed(tmp_path)

    assert lines["lungs"].cells["ct"] == OPEN
    assert lines["lungs"].notes == ["ct: series 1 or series 2?"]


@pytest.mark.parametrize(
    "tags",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]},
        {"SeriesDescription": "Thorax COR 3.0 MPR"},
        {"SeriesDescription": "VNC 1.0"},
        {"SeriesDescription": "Mono 40 keV"},
        {"step_mm": 74.9},
        {"Modality": "SR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11"},
    ],
)
def test_what_is_no_chest_ct(series, tmp_path, tags):
    series("chest", step_mm=75.0)
    series("no", **tags)

    lines, _ = proposed(tmp_path)

    assert name(lines["lungs"].cells["ct"]) == "chest"


def test_series_side_by_side_in_one_folder_go_by_file(series, tmp_path):
    series("mix", SeriesDescription="insp")
    series("mix", SeriesDescription="exp")

    _, found = proposed(tmp_path)

    assert all(entry.path.is_file() for entry in found)
    assert len({entry.path.name[:6] for entry in found}) == 2


def test_visits_are_cases_and_no_name_is_written(series, tmp_path, capsys):
    series("hans/first", study="1.1", SeriesDescription="Meier insp")
    series("hans/second", study="1.2", SeriesDescription="Meier insp")

    assert main(["manifest", str(tmp_path / "dicom"), "-o", str(tmp_path / "m.csv")]) == 0

    rows = list(csv.DictReader((tmp_path / "m.csv").read_text(encoding="utf-8").splitlines()))
    assert len({row["case"] for row in rows}) == 2
    assert {row["ct"] for row in rows} == {"dicom/hans/first", "dicom/hans/second"}
    for path in (tmp_path / "m.csv", tmp_path / "m_series.csv"):
        assert "Meier" not in path.read_text(encoding="utf-8")
    assert "2 CT series" in capsys.readouterr().err


def test_manifest_with_something_open_is_refused_until_it_is_filled(series, tmp_path, capsys):
    series("one")
    series("two", ProtocolName="second")
    path = tmp_path / "m.csv"
    command = ["manifest", str(tmp_path / "dicom"), "-o", str(path), "--analyses", "lungs"]

    assert main(command) == 0

    assert "1 with something left open" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"line 2: ct is left open .*series 1 or series 2"):
        read_manifest(path)
    text = path.read_text(encoding="utf-8").replace("?,", "dicom/one,", 1)
    path.write_text(text, encoding="utf-8")
    assert read_manifest(path).cases[0].jobs[0].inputs["ct"][0].name == "one"
    assert main(command) == 2
    assert "give --overwrite" in capsys.readouterr().err
    path.unlink()
    assert main(command) == 2  # the list of series is somebody's work, too
    assert "_series.csv is there already" in capsys.readouterr().err

    path.write_text(text, encoding="utf-8")
    assert main([*command, "--overwrite"]) == 0
    kept = path.with_name(f"{path.stem}.earlier-1.csv")
    assert kept.read_text(encoding="utf-8") == text
    assert f"is kept as {kept.name}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["nowhere", "-o", "m.csv"], "there is no folder"),
        ([".", "-o", "m.csv"], "no CT series among the 0 files"),
        ([".", "-o", "m.txt"], "does not end in .csv"),
        ([".", "-o", "m.csv", "--analyses", "spect"], "no analysis spect; there are: lungs"),
    ],
)
def test_command_refuses(tmp_path, monkeypatch, capsys, arguments, match):
    monkeypatch.chdir(tmp_path)

    assert main(["manifest", *arguments]) == 2
    assert match in capsys.readouterr().err


# --------------------------------------------------------------- files as archives really hold them


def listed(tmp_path, capsys, sub="dicom"):
    """Rows of the list of series, and what was said on standard error."""
    out = tmp_path / "manifest.csv"
    assert main(["manifest", str(tmp_path / sub), "-o", str(out), "--quiet"]) == 0
    with (tmp_path / "manifest_series.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream)), capsys.readouterr().err


def test_files_without_preamble_are_series(series, tmp_path):
    import pydicom

    series("old", SeriesDescription="Thorax INSP")
    for path in (tmp_path / "dicom" / "old").iterdir():
        data = pydicom.dcmread(path)
        del data.file_meta
        data.preamble = None
        pydicom.dcmwrite(
            path, data, implicit_vr=True, little_endian=True, enforce_file_format=False
        )
    lines, found = proposed(tmp_path)
    assert [entry.images for entry in found] == [3]
    assert {"lungs", "vesselbv"} <= set(lines)


@pytest.mark.parametrize("sop", ["1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"])
def test_multi_frame_images_are_series(series, tmp_path, sop):
    import pydicom

    def item(**values):
        data = Dataset()
        for keyword, value in values.items():
            setattr(data, keyword, value)
        return data

    series("enhanced", slices=1)
    (path,) = (tmp_path / "dicom" / "enhanced").iterdir()
    data = pydicom.dcmread(path)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = sop
    data.NumberOfFrames = 4
    data.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[0.7, 0.7], SliceThickness=1.25)],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            CTXRayDetailsSequence=[item(KVP=100.0)],
        )
    ]
    data.PerFrameFunctionalGroupsSequence = [
        item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 90.0 * k])]) for k in range(4)
    ]
    for keyword in (
        "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "KVP",
    ):  # fmt: skip
        delattr(data, keyword)
    data.save_as(path)
    lines, (found,) = proposed(tmp_path)
    assert (found.images, found.length_mm, found.thickness_mm, found.kvp) == (4, 270.0, 1.25, 100.0)
    assert {"lungs", "vesselbv"} <= set(lines)


@pytest.mark.parametrize(
    ("sop", "modality", "types"),
    [
        ("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT", ["ORIGINAL"]),
        ("1.2.840.10008.5.1.4.1.1.7", "CT", ["DERIVED", "SECONDARY"]),
        (CTImageStorage, "CT", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    ],
    ids=["structure set", "report", "scout"],
)
def test_object_that_shares_the_series_changes_no_proposal(
    series, tmp_path, capsys, sop, modality, types
):
    import pydicom

    uid = series("scan")
    folder = tmp_path / "dicom" / "scan"
    data = pydicom.dcmread(next(folder.iterdir()))
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = sop
    data.Modality, data.ImageType = modality, types
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "2.25.4711"
    data.save_as(folder / "0_first")
    lines, found = proposed(tmp_path)
    assert [(entry.uid, entry.images, entry.kind) for entry in found] == [(uid, 3, "ct")]
    assert lines["lungs"].cells["ct"].path == folder
    rows, _ = listed(tmp_path, capsys)
    assert [row["kind"] for row in rows] == ["ct", modality]
    assert rows[1]["remark"] == "no CT slices"


def test_odd_files_end_nothing_and_are_listed(series, tmp_path, capsys):
    series("good")
    folder = tmp_path / "dicom" / "odd"
    folder.mkdir()
    (folder / "cut.dcm").write_bytes(bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI\xff\xff1.2")
    (folder / "empty.dcm").touch()
    (folder / "notes.txt").write_text("no DICOM")
    rows, said = listed(tmp_path, capsys)
    assert [row["kind"] for row in rows] == ["ct", "unreadable"]
    assert "damaged or cut short" in rows[1]["remark"]
    assert "1 empty file(s)" in said
    assert "1 file(s) with a damaged header" in said


def test_series_that_are_not_proposed_say_why(series, tmp_path, capsys):
    series("chest")
    series("short", slices=3, step_mm=20.0)
    series("scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    series("mono", SeriesDescription="Mono 50 keV")
    rows, _ = listed(tmp_path, capsys)
    remarks = {row["path"].rpartition("/")[2]: row["remark"] for row in rows}
    assert remarks["chest"] == "proposed for lungs, vesselbv"
    assert remarks["short"] == "not proposed: it covers 40 mm, a chest needs 150 mm"
    assert remarks["scout"] == "not proposed: an overview image"
    assert remarks["mono"] == "not proposed: derived images (monoenergetic)"


def first_pass(tmp_path):
    found = read_tree(tmp_path / "dicom").series
    return propose(found, ("lungs", "dynamic")), found


def test_a_dynamic_series_is_told_by_its_places(series, tmp_path):
    series("thorax", SeriesDescription="Thorax INSP")
    for moment in range(9):
        series(
            f"perfusion/{moment}",
            step_mm=20.0,
            SeriesInstanceUID="1.2.9",
            AcquisitionNumber=moment,
            AcquisitionTime=f"1016{moment:02d}",
        )

    lines, found = first_pass(tmp_path)

    assert {s.path.name: (s.kind, s.time_points) for s in found} == {
        "perfusion": ("dynamic", 9),
        "thorax": ("ct", 1),
    }
    assert {line.analysis: name(next(iter(line.cells.values()))) for line in lines} == {
        "lungs": "thorax",
        "dynamic": "perfusion",
    }


def test_time_points_in_series_of_their_own_are_left_to_the_user(series, tmp_path):
    for moment in range(9):
        series(f"perfusion/{moment}", step_mm=20.0, AcquisitionTime=f"1016{moment:02d}")

    (line,), found = first_pass(tmp_path)

    assert {s.kind for s in found} == {"dynamic"}
    assert line.cells["first_pass"] == OPEN
    assert "the folder that holds them" in line.notes[0]


# ----------------------------------------------------------------------------------- xenon MRI

XENON = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
    "Modality": "MR",
    "ImageOrientationPatient": [1, 0, 0, 0, 0, -1],
    "ImagedNucleus": "129XE",
}
MAPS = {
    "rbc_gas": "Xe RBC to gas",
    "membrane_gas": "Xe_membrane-gas",
    "ventilation": "Xe ventilation",
    "mask": "Xe mask",
}


def gas_transfer(tmp_path, *names):
    tree = read_tree(tmp_path / "dicom")
    return propose(tree.series, names or ("lungs", "xenon"), tree.pipeline_folders), tree


def test_xenon_maps_go_with_the_ct_of_the_same_patient(series, tmp_path):
    """Although MRI and CT are two visits; a proton series beside them is no xenon."""
    series("ct", SeriesDescription="Thorax INSP", study="1.1")
    series("out", SeriesDescription="Thorax EXP", study="1.1")
    series("other", PatientID="0815", study="1.9")
    for column, words in MAPS.items():
        series(f"mr/{column}", SeriesDescription=words, study="1.2", **XENON)
    series("mr/proton", SeriesDescription="T1 vibe", study="1.2", **XENON | {"ImagedNucleus": "1H"})

    lines, tree = gas_transfer(tmp_path)

    (line,) = [line for line in lines if line.analysis == "xenon"]
    lungs = {name(line.cells["ct"]): line.case for line in lines if line.analysis == "lungs"}
    assert line.case == lungs["ct"]
    assert {key: name(cell) for key, cell in line.cells.items()} == {
        **{"ct": "ct", "other_ct": "out"},
        **{key: key for key in MAPS},
    }
    assert not line.open
    assert [other.kind for other in tree.others] == ["MR"]


def test_what_xenon_series_do_not_say_is_left_open(series, tmp_path):
    series("ct", PatientID="0815", study="1.1")
    nameless = {**XENON, "ImagedNucleus": ""}
    series("mr/one", SeriesDescription="129Xe dissolved", study="1.2", **nameless)

    lines, _ = gas_transfer(tmp_path)

    (line,) = [line for line in lines if line.analysis == "xenon"]
    assert line.cells == {"ct": OPEN, "rbc_gas": OPEN, "mask": OPEN}
    assert "which CT belongs" in line.notes[0]
    assert "of xenon, but no description names a map" in line.notes[1]


def test_output_of_the_pipeline_goes_with_the_ct_beside_it(series, tmp_path, capsys):
    for patient in ("a", "b"):
        series(f"{patient}/ct", study=f"1.{patient == 'a':d}", PatientID=patient)
        folder = tmp_path / "dicom" / patient / "xenon" / "gx"
        folder.mkdir(parents=True)
        (folder / "mask_reg.nii").write_bytes(b"only its name counts")
    alone = tmp_path / "dicom" / "elsewhere"
    alone.mkdir()
    (alone / "mask_reg.nii.gz").write_bytes(b"as above")

    lines, _ = gas_transfer(tmp_path)

    cases = {
        line.cells["ct"].path.parent.name: line.case for line in lines if line.analysis == "lungs"
    }
    own = [line for line in lines if line.analysis == "xenon"]
    beside = {line.case: line.cells for line in own if not line.open}
    for patient in ("a", "b"):
        duke = tmp_path / "dicom" / patient / "xenon"
        assert beside[cases[patient]]["duke"] == duke
    (left,) = [line for line in own if line.open]
    assert left.cells == {"ct": OPEN, "duke": alone}
    assert "elsewhere" not in left.case

    out = tmp_path / "m.csv"
    assert main(["manifest", str(tmp_path / "dicom"), "-o", str(out)]) == 0
    assert "2 CT series, 3 of xenon MRI" in capsys.readouterr().err
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert {row["duke"] for row in rows if row["duke"]} == {
        "dicom/a/xenon",
        "dicom/b/xenon",
        "dicom/elsewhere",
    }
