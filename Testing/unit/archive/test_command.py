"""``lungperfusion dicom``: what it writes, and how it refuses."""

from __future__ import annotations

import shutil

import pytest
from archive_support import write_measured, write_source

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
