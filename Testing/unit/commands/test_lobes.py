"""``lungperfusion lobes`` from file to folder, with given, found and corrected lobes."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from lungperfusion.__main__ import main
from lungperfusion.analysis.regions import RegionOptions, find_regions
from lungperfusion.io import read_segmentation, write_labelmap, write_volume
from lungperfusion.terms import LOBES, MEASURES, Region
from lungperfusion.volume import Labelmap


def rows_of(folder):
    with (folder / "measurements.csv").open(encoding="utf-8", newline="") as stream:
        return {(row["region"], row["measure"]): row for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def chest(toddler):
    return toddler


@pytest.fixture(scope="module")
def chest_file(chest, tmp_path_factory):
    path = tmp_path_factory.mktemp("chest") / "chest.nrrd"
    write_volume(chest.ct, path)
    return path


@pytest.fixture(scope="module")
def truth_file(chest, tmp_path_factory):
    path = tmp_path_factory.mktemp("truth") / "lobes.seg.nrrd"
    write_labelmap(chest.truth.lobes, path)
    return path


@pytest.fixture(scope="module")
def given(chest_file, truth_file, tmp_path_factory):
    """Results with given lobes, with report."""
    folder = tmp_path_factory.mktemp("results") / "out"
    arguments = ["lobes", str(chest_file), "--lobes", str(truth_file), "-o", str(folder)]
    assert main([*arguments, "--quiet"]) == 0
    return folder


def test_folder_holds_what_is_promised(given):
    names = sorted(path.name for path in given.iterdir())
    assert names == [
        "checksums.json",
        "fissures.csv",
        "fissures.seg.nrrd",
        "lobes.seg.nrrd",
        "lungs.seg.nrrd",
        "measurements.csv",
        "report.html",
        "results.json",
        "vessels.seg.nrrd",
    ]
    record = json.loads((given / "results.json").read_text(encoding="utf-8"))
    roles = [source["role"] for source in record["provenance"]["inputs"]]
    assert roles == ["ct", "lobes"]
    assert record["analyses"][0]["parameters"]["lobes"] == "external label map"
    report = (given / "report.html").read_text(encoding="utf-8")
    assert "screening measure of collateral ventilation" in report
    assert "Left oblique fissure" in report


def test_table_keeps_the_contract(given):
    for (region, measure), row in rows_of(given).items():
        assert region in set(Region)
        assert row["unit"] == MEASURES[measure].unit
        assert (row["status"] == "missing") == (row["value"] == "NaN")
        assert row["status"] == "ok" or row["reason"]


def test_given_lobes_come_back_voxel_by_voxel(given, chest):
    lobes = read_segmentation(given / "lobes.seg.nrrd")
    for lobe in LOBES:
        assert np.array_equal(lobes.mask(lobe), chest.truth.lobes.mask(lobe))
    rows = rows_of(given)
    for lobe in LOBES:
        volume = float(rows[lobe, "lobe_volume"]["value"])
        assert volume == pytest.approx(chest.truth.lobes.volume_ml(lobe), rel=1e-4)


def test_fissure_points_move_given_lobes(given, chest_file, truth_file, tmp_path):
    points = tmp_path / "points.csv"
    points.write_text("fissure,r_mm,a_mm,s_mm\nleft_oblique_fissure,-45,-15,0\n", encoding="utf-8")
    folder = tmp_path / "out"
    arguments = ["lobes", str(chest_file), "--lobes", str(truth_file), "-o", str(folder)]
    arguments += ["--fissure-points", str(points), "--no-report", "--quiet"]
    assert main(arguments) == 0
    before = read_segmentation(given / "lobes.seg.nrrd")
    after = read_segmentation(folder / "lobes.seg.nrrd")
    for lobe in ("right_upper_lobe", "right_middle_lobe", "right_lower_lobe"):
        assert np.array_equal(before.mask(lobe), after.mask(lobe))
    assert after.volume_ml("left_upper_lobe") < before.volume_ml("left_upper_lobe")
    total = [m.volume_ml("left_upper_lobe", "left_lower_lobe") for m in (before, after)]
    assert total[0] == pytest.approx(total[1])


def test_other_analyses_get_lobes_through_the_same_option(chest_file, truth_file, tmp_path, chest):
    arguments = ["lungs", str(chest_file), "--lobes", str(truth_file), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--no-report", "--quiet"]) == 0
    rows = rows_of(tmp_path / "out")
    for lobe in LOBES:
        litres = float(rows[lobe, "tlv"]["value"])
        assert litres == pytest.approx(chest.truth.lobes.volume_ml(lobe) / 1000, rel=1e-4)


def test_no_lobes_unless_asked_for(chest):
    found = find_regions(chest.ct, RegionOptions())
    assert found.lobes is None
    assert not set(LOBES) & set(found.regions.names)


def test_vessels_are_the_same_with_and_without_lobes(chest):
    """Numbers of other analyses must not depend on whether lobes were asked for."""
    alone, beside = (
        find_regions(chest.ct, RegionOptions(lobes=lobes), vessels=True).vessels
        for lobes in ("none", "auto")
    )
    assert np.array_equal(alone.array, beside.array)
    assert alone.volume_ml("vessels") > 10.0


def test_given_vessels_are_taken_by_the_search_for_lobes(chest_file, chest, tmp_path):
    mask = (chest.truth.lobes.array == 11).astype(np.uint8)  # as no search would find them
    path = tmp_path / "vessels.seg.nrrd"
    write_labelmap(Labelmap(mask, chest.ct.geometry, {1: "vessels"}), path)
    arguments = ["lobes", str(chest_file), "--vessel-mask", str(path), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--no-report", "--quiet"]) == 0
    written = read_segmentation(tmp_path / "out" / "vessels.seg.nrrd")
    assert np.array_equal(written.mask("vessels"), mask > 0)
    record = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert record["analyses"][0]["parameters"]["vessels"] == "external label map"
    assert [source["role"] for source in record["provenance"]["inputs"]] == ["ct", "vessel_mask"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--fissure-points", "nowhere.csv"], "there is no file nowhere.csv"),
        (["--lobes", "nowhere.nrrd"], "nowhere.nrrd"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(chest_file, tmp_path, capsys, more, message):
    folder = tmp_path / "out"
    code = main(["lobes", str(chest_file), "-o", str(folder), "--quiet", *more])
    assert code == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()


def test_points_without_lobes_are_refused(chest_file, tmp_path, capsys):
    arguments = ["lungs", str(chest_file), "-o", str(tmp_path / "out"), "--quiet"]
    assert main([*arguments, "--fissure-points", "p.csv"]) == 2
    assert "add --lobes auto" in capsys.readouterr().err


def test_lungs_for_lobes_are_refused(chest, chest_file, tmp_path, capsys):
    lungs = chest.truth.lungs
    array = np.where(lungs.array <= 2, lungs.array, 0).astype(np.uint8)
    path = tmp_path / "lungs.seg.nrrd"
    write_labelmap(Labelmap(array, lungs.geometry, {1: "left_lung", 2: "right_lung"}), path)
    arguments = ["lobes", str(chest_file), "--lobes", str(path), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--quiet"]) == 2
    assert "Left lung, Right lung only" in capsys.readouterr().err
