"""What a scan is and which analyses it suits, from files."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from Benchmarks.check_agreement import GATES_AGREE, averaged, compared
from scipy import ndimage

from lungperfusion.__main__ import main
from lungperfusion.acquisition import Acquisition
from lungperfusion.checking import ANALYSES, check_ct, check_map
from lungperfusion.commands.phantom import write_dicom
from lungperfusion.io import write_labelmap, write_volume
from lungperfusion.io.writing import write_time_series
from lungperfusion.orientation import axial
from lungperfusion.phantoms.first_pass import (
    SLAB_CENTRE_RAS_MM,
    SLAB_FIELD_MM,
    FirstPassScan,
    render_first_pass,
)
from lungperfusion.phantoms.kinds import default_geometry
from lungperfusion.terms import LUNGS
from lungperfusion.volume import Geometry, Volume

OF_ONE_CT = [name for name in ANALYSES if name != "dynamic"]
"""A first pass is many images."""


def told(checked, topic):
    return " ".join(remark.text for remark in checked.remarks if remark.topic == topic)


def verdicts(checked):
    return {suits.analysis: suits.suits for suits in checked.suits}


def reasons(checked, analysis):
    return next("; ".join(s.reasons) for s in checked.suits if s.analysis == analysis)


@pytest.fixture(scope="module")
def checked(chest):
    return check_ct(chest.ct)


@pytest.fixture(scope="module")
def dicom(chest, tmp_path_factory) -> Path:
    """The chest as a series of a patient with a name."""
    folder = tmp_path_factory.mktemp("archive") / "Mueller"
    folder.mkdir()
    write_dicom(chest.ct, folder / "series", kind="small")
    for path in sorted((folder / "series").iterdir()):
        header = pydicom.dcmread(path)
        header.PatientName, header.PatientID = "Mueller^Eva", "4711"
        header.SeriesDescription = "Thorax_Insp Mueller"
        header.ConvolutionKernel, header.KVP = "B70f", "120"
        header.save_as(path)
    return folder / "series"


def test_chest_is_described_and_judged(chest, checked):
    litres = sum(chest.truth.lungs.volume_ml(lung) for lung in LUNGS) / 1000
    said = float(told(checked, "lungs").split(" is ")[1].split(" L")[0])
    assert said == pytest.approx(litres, rel=0.1)
    assert "inspiratory" in told(checked, "breath")
    assert "No contrast medium is seen" in told(checked, "contrast")
    assert "axial, stored from foot to head" in told(checked, "orientation")
    assert verdicts(checked) == {
        **dict.fromkeys(ANALYSES, "yes"),
        **dict.fromkeys(("lungs", "lobes", "ctvq", "vesselbv"), "caution"),  # slices of 4 mm
        "dynamic": "no",
    }
    assert "blur fissures" in reasons(checked, "lobes")


@pytest.mark.parametrize(
    ("thick_mm", "vesselbv", "lobes"),
    [(4.9, "caution", "caution"), (5.0, "no", "caution"), (5.1, "no", "no")],
)
def test_thick_slices_are_refused_where_the_analyses_refuse_them(chest, thick_mm, vesselbv, lobes):
    found = verdicts(check_ct(chest.ct, Acquisition(slice_thickness_mm=thick_mm)))
    assert (found["vesselbv"], found["lobes"]) == (vesselbv, lobes)
    assert found["ipv"] == ("caution" if thick_mm > 5.0 else "yes")


def test_storage_order_changes_the_remark_on_order_alone(chest, checked):
    geometry = chest.ct.geometry
    matrix = geometry.ijk_to_ras[:, [2, 0, 1, 3]]
    i, j, k = geometry.shape[::-1]
    turned = Volume(chest.ct.array.transpose(1, 2, 0), Geometry((j, i, k), matrix), "HU")
    assert np.array_equal(axial(turned).array, axial(chest.ct).array)
    other = check_ct(turned)
    assert other.suits == checked.suits
    for topic in ("lungs", "breath", "contrast", "kernel", "quality"):
        assert told(other, topic) == told(checked, topic)


@pytest.mark.parametrize(
    ("axis", "words"), [(0, "upside down"), (1, "front and back"), (2, "left and right")]
)
def test_turned_stack_is_seen_by_the_anatomy(chest, checked, axis, words):
    turned = Volume(np.flip(chest.ct.array, axis).copy(), chest.ct.geometry, "HU")
    found = check_ct(turned)
    assert words in told(found, "orientation")
    assert "Nothing in the anatomy contradicts" in told(checked, "orientation")
    assert all("ends or sides" in reasons(found, analysis) for analysis in OF_ONE_CT)


def test_quick_check_tells_what_header_and_grid_tell(chest, checked):
    found = check_ct(chest.ct, Acquisition(kernel="B70f"), quick=True)
    assert "Not looked at" in told(found, "lungs")
    assert told(found, "size") == told(checked, "size")
    assert "sharp by its name" in told(found, "kernel")
    assert "blur fissures" in reasons(found, "lobes")
    assert verdicts(found)["ipv"] == "yes"
    small = Geometry(chest.ct.geometry.shape, chest.ct.geometry.ijk_to_ras @ np.diag([0.1] * 4))
    mouse = check_ct(Volume(chest.ct.array, small, "HU"), quick=True)
    assert set(verdicts(mouse).values()) == {"no"}


def test_part_of_the_lungs_is_said_to_be_cut_off(chest):
    middle = chest.ct.geometry.shape[0] // 2
    found = check_ct(chest.ct.crop((slice(0, middle), slice(None), slice(None))))
    assert all("cut off" in reasons(found, analysis) for analysis in ("lungs", "ipv", "ctvq"))
    assert "cut off" in told(found, "quality")


def test_what_shows_no_lung_suits_nothing(chest):
    aerated = (chest.truth.lungs.array > 0) | (chest.truth.airways.array > 0)
    aerated = ndimage.binary_dilation(aerated, iterations=2)
    filled = np.where(aerated, np.int16(40), chest.ct.array)
    found = check_ct(chest.ct.with_array(filled))
    assert set(verdicts(found).values()) == {"no"}
    assert "aerated lung" in reasons(found, "lungs")


def test_animal_or_wrong_spacing_suits_nothing(chest):
    matrix = chest.ct.geometry.ijk_to_ras @ np.diag([0.1, 0.1, 0.1, 1.0])
    small = Volume(chest.ct.array, Geometry(chest.ct.geometry.shape, matrix), "HU")
    assert "voxel spacing" in reasons(check_ct(small), "lungs")


def test_stated_breath_decides_the_role(chest):
    role = {suits.analysis: suits.role for suits in check_ct(chest.ct, breath="expiration").suits}
    assert role["ctvq"].startswith("as the expiration")


def test_monoenergetic_images_are_a_caution(chest):
    found = check_ct(chest.ct, Acquisition(modality="CT", monoenergetic_kev=70.0))
    assert "70 keV" in reasons(found, "ipv")
    assert verdicts(found)["ipv"] == "caution"


def test_series_is_described_without_naming_anybody(dicom, capsys):
    assert main(["check", str(dicom), "--quiet"]) == 0
    words = capsys.readouterr().out
    assert "120 kV" in words
    assert "sharp" in words
    assert "B70f" in words
    assert "The header says inspiration." in words
    assert main(["check", str(dicom), "--json", "--quiet"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [suits["analysis"] for suits in data["suits"]] == list(ANALYSES)
    for secret in ("Mueller", "Eva", "4711", pydicom.dcmread(next(dicom.iterdir())).StudyDate):
        assert not secret or secret not in words + json.dumps(data)


def test_series_that_is_not_whole_is_a_caution(dicom, tmp_path, capsys):
    for path in sorted(dicom.iterdir()):
        header = pydicom.dcmread(path)
        header.ImagesInAcquisition = 1000
        header.save_as(tmp_path / path.name)
    assert main(["check", str(tmp_path), "--quiet"]) == 0
    words = capsys.readouterr().out
    assert "of 1000 expected slices" in words
    assert words.count("slices may be missing") == len(OF_ONE_CT)


def test_segmentation_is_no_ct(chest, tmp_path, capsys):
    write_labelmap(chest.truth.lungs, tmp_path / "lungs.seg.nrrd")
    assert main(["check", str(tmp_path / "lungs.seg.nrrd"), "--quiet"]) == 0
    assert capsys.readouterr().out.count("does not suit: a segmentation") == len(ANALYSES)


def test_map_without_a_unit_suits_ipv_when_it_is_stated(chest, tmp_path, capsys):
    iodine = Volume(np.where(chest.truth.lungs.array > 0, 1.37, 0.01), chest.ct.geometry, "mg/mL")
    write_volume(iodine, tmp_path / "map.nrrd")
    assert main(["check", str(tmp_path / "map.nrrd"), "--quiet"]) == 0
    words = capsys.readouterr().out
    assert "ipv: suits with caution: the file does not state the unit" in words
    assert words.count("does not suit: no CT in HU") == len(ANALYSES) - 1


@pytest.mark.parametrize(
    ("unit", "modality", "suits"),
    [("mg/mL", "CT", "yes"), ("HU", "CT", "caution"), ("Z_EFF", "CT", "no"), (None, "MR", "no")],
)
def test_maps_by_the_unit_of_their_header(chest, unit, modality, suits):
    image = replace(chest.ct, array=np.abs(chest.ct.array), unit="mg/mL")
    found = check_map(image, Acquisition(modality=modality), unit=unit, why_no_ct="a map")
    assert verdicts(found)["ipv"] == suits
    assert verdicts(found)["lungs"] == "no"


def test_what_no_reader_reads_is_refused_in_a_sentence(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("no image")
    assert main(["check", str(tmp_path / "notes.txt"), "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "no image this program reads" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("whole", lambda ct: ct),
        ("half", lambda ct: ct.crop((slice(0, ct.array.shape[0] // 2), slice(None), slice(None)))),
        ("voxels of 8 mm", lambda ct: averaged(ct, 2, 2, 2)),
        ("lungs filled", lambda ct: ct.with_array(np.where(ct.array < -300, 30, ct.array))),
    ],
)
def test_check_says_what_the_analysis_does(chest, name, change):
    count = Counter()
    compared(name, change(chest.ct), count)
    assert count["refusals agree"] == count["verdicts agree"] == count["scans"] == 1
    assert count["gates agree"] >= GATES_AGREE * count["gates"]


@pytest.mark.real
def test_real_series_with_contrast(real_data, capsys):
    assert main(["check", str(real_data / "contrast_chest_ct" / "dicom.zip"), "--quiet"]) == 0
    words = capsys.readouterr().out
    assert "CT, SIEMENS, Sensation 64, 120 kV" in words
    assert "Contrast medium is present" in words
    assert "All 102 slices" in words
    assert "vesselbv: suits with caution: slices of 3.00 mm" in words


@pytest.fixture(scope="module")
def first_pass(tmp_path_factory):
    """Write the first frames of a coarse series."""
    geometry = default_geometry(
        (5.0, 5.0, 4.2), field_mm=SLAB_FIELD_MM, centre_ras_mm=SLAB_CENTRE_RAS_MM
    )
    scan = FirstPassScan(frames=18, step_s=2.0, noise_hu=5.0, breath_mm=0.0, streak_hu=0.0)
    made = render_first_pass(geometry, scan=scan)
    folder = tmp_path_factory.mktemp("first_pass")

    def write(frames=18, step_s=2.0):
        path = folder / f"{frames}_{step_s:g}.seq.nrrd"
        times = made.times_s[:frames] * step_s / 2.0
        write_time_series(made.frames[:frames], geometry, times, path)
        return path

    return write


def lines_of(capsys, path):
    assert main(["check", str(path)]) == 0
    told = capsys.readouterr().out.splitlines()
    return {line.partition(": ")[0]: line.partition(": ")[2] for line in told}


def test_first_pass_suits_dynamic_alone(first_pass, capsys):
    lines = lines_of(capsys, first_pass())
    assert lines["Frames"] == "18 frames in 34 s, 2 s apart."
    assert lines["dynamic"] == "suits."
    assert all("give one CT" in lines[name] for name in ANALYSES if name != "dynamic")
    assert "pulmonary trunk 14" in lines["Bolus"]  # the last of them tells the peaks


@pytest.mark.parametrize(
    ("frames", "step_s", "said"),
    [(11, 2.0, "12 s are needed: blood has not passed"), (18, 3.0, "up to 3 s apart, at most 2 s")],
)
def test_what_dynamic_gives_without_is_said_before(first_pass, capsys, frames, step_s, said):
    verdict = lines_of(capsys, first_pass(frames, step_s))["dynamic"]
    assert verdict.startswith("suits with caution")
    assert said in verdict


def test_frames_without_times_are_refused_as_dynamic_does(first_pass, tmp_path, capsys):
    path = first_pass()
    unstated = tmp_path / "unstated.seq.nrrd"
    content = path.read_bytes()
    unstated.write_bytes(content.replace(b'units: "" "" "" "s"', b'units: "" "" "" "" '))
    assert main(["check", str(unstated)]) == 2
    assert "does not say when its frames were taken" in capsys.readouterr().err
    assert main(["check", str(first_pass(7))]) == 2
    assert "7 values a voxel" in capsys.readouterr().err  # so few are colours or vectors
