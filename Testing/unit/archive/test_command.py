"""``lungperfusion dicom``: what it writes, and how it refuses."""

from __future__ import annotations

import shutil

import pydicom
import pytest
from archive_support import run_program, write_measured, write_source

from lungperfusion.__main__ import main


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    place = tmp_path_factory.mktemp("inputs")
    source = write_source(place / "source")
    return write_measured(place / "results", source), source


def test_objects_appear_in_a_folder(inputs, tmp_path, capsys):
    results, source = inputs
    words = ["dicom", str(results), "--source", str(source), "-o", str(tmp_path / "out")]

    assert main([*words, "--no-key-images", "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *("seg_lobes.dcm", "seg_lungs.dcm", "seg_perfusion_defects.dcm", "seg_vessels.dcm"),
        *("seg_vq_classes.dcm", "map_iodine.dcm", "map_perfusion.dcm", "report.dcm"),
        "checksums.json",
    }

    assert main([*words, "--quiet"]) == 2
    assert "give --overwrite to replace" in capsys.readouterr().err


def test_a_refusal_is_one_sentence_and_leaves_nothing(inputs, tmp_path, capsys):
    results, _ = inputs
    other = write_source(tmp_path / "other", edit=lambda data, k: setattr(data, "KVP", "100"))
    words = ["dicom", str(results), "--source", str(other), "-o", str(tmp_path / "out")]
    assert main([*words, "--no-key-images", "--quiet"]) == 0  # the same voxels

    results = write_measured(tmp_path / "native", write_source(tmp_path / "s", shift_hu=1))
    words = ["dicom", str(results), "--source", str(other), "-o", str(tmp_path / "none")]
    assert main([*words, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "not what these results were measured on" in said
    assert not (tmp_path / "none").exists()


def test_neither_results_nor_source_are_written_to(inputs, tmp_path, capsys):
    results, source = (shutil.copytree(path, tmp_path / path.name) for path in inputs)
    others = shutil.copytree(results, tmp_path / "others")
    before = sorted(tmp_path.rglob("*"))

    for out, words in (
        (results, "that of the results, lies in it or holds it"),
        (results / "objects", "that of the results, lies in it or holds it"),
        (source / "objects", "that of the source, lies in it or holds it"),
        (tmp_path, "that of the results, lies in it or holds it"),
        (others, "holds results of an analysis, which objects do not replace"),
    ):
        command = ["dicom", str(results), "--source", str(source), "-o", str(out), "--overwrite"]
        assert main([*command, "--quiet"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert words in said
    assert sorted(tmp_path.rglob("*")) == before


def test_pixels_with_annotations_are_not_shown_anonymised(tmp_path, capsys):
    def edit(data, k):
        data.BurnedInAnnotation = "YES"

    source = write_source(tmp_path / "source", edit=edit)
    results = write_measured(tmp_path / "results", source)
    words = ["dicom", str(results), "--source", str(source), "--quiet", "-o"]

    assert main([*words, str(tmp_path / "named")]) == 0
    keys = [pydicom.dcmread(path) for path in sorted((tmp_path / "named").glob("key_*.dcm"))]
    assert [key.BurnedInAnnotation for key in keys] == ["NO", *["YES"] * 4]

    assert main([*words, str(tmp_path / "none"), "--anonymise"]) == 0
    assert "key images show values alone" in capsys.readouterr().err
    (only,) = (tmp_path / "none").glob("key_*.dcm")
    assert pydicom.dcmread(only).BurnedInAnnotation == "NO"


def test_a_folder_of_two_series_is_refused_in_one_line(inputs, tmp_path, capsys):
    results, source = inputs

    def edit(data, k):
        data.SeriesInstanceUID, data.SOPInstanceUID = "2.25.99", f"2.25.990.{k + 1}"

    both = shutil.copytree(source, tmp_path / "both")
    write_source(both / "second", edit=edit, shift_hu=5)
    words = ["dicom", str(results), "--source", str(both), "--no-key-images", "--quiet"]
    for uid, said in (
        ("", "2 image series; choose one with --series UID: 2.25.10 (CT, 9 images"),
        ("9.9", "there is no series 9.9 among 2.25.10 (CT, 9 images"),
        ("2.25.99", "not what these results were measured on"),
    ):
        chosen = ["--series", uid] if uid else []
        assert main([*words, *chosen, "-o", str(tmp_path / "none")]) == 2
        lines = capsys.readouterr().err
        assert lines.count("\n") == 1
        assert said in lines
    assert main([*words, "--series", "2.25.10", "-o", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
def test_names_in_the_character_sets_of_scanners(tmp_path, charset, name):
    """What is stored in another character set than UTF-8 is the same name in every object."""

    def edit(data, k):
        data.SpecificCharacterSet, data.PatientName = charset, name

    source = write_source(tmp_path / "source", edit=edit)
    results = write_measured(tmp_path / "results", source)
    words = ["dicom", str(results), "--source", str(source), "--no-key-images", "--quiet"]
    assert main([*words, "-o", str(tmp_path / "out")]) == 0
    for path in (tmp_path / "out").glob("*.dcm"):
        assert pydicom.dcmread(path, stop_before_pixels=True).PatientName == name
    report = tmp_path / "report.json"
    words = ["--inputDICOM", tmp_path / "out" / "report.dcm", "--outputMetadata", report]
    run_program("tid1500reader", *words)
    assert report.exists()
