"""The command on files: all three sources, options, refusals, identical bytes."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
import SimpleITK as sitk

from lungperfusion.__main__ import main
from lungperfusion.commands.iodine_sources import _mixed

KIND = "dect_defects"
OF_THIS_RUN = ("results.json", "checksums.json")
"""Hold the time that the run took."""


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """Folder with a dual-energy pair with defects at 3 mm, and its truth."""
    folder = tmp_path_factory.mktemp("dect") / "phantom"
    assert main(["phantom", KIND, "--spacing", "3.2", "-o", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture(scope="session")
def analysed(pair, tmp_path_factory):
    """Results of the pair with signs and lung function, with report."""
    folder = tmp_path_factory.mktemp("ipv")
    clots = folder / "clots.csv"
    clots.write_text("artery,degree\nright_posterior_basal,2\n", encoding="utf-8")
    lines = folder / "lines.csv"
    lines.write_text(
        "name,r1,a1,s1,r2,a2,s2\npulmonary_artery,0,0,0,25,0,0\naorta,0,0,0,0,30,0\n",
        encoding="utf-8",
    )
    out = folder / "out"
    run = [*source(pair), "--clots", str(clots), "--lines", str(lines)]
    assert main(["ipv", *run, "--fvc", "97", "--dlco-c", "65", "-o", str(out), "--quiet"]) == 0
    return out


def source(pair):
    return [
        "--low",
        str(pair / "low.nrrd"),
        "--high",
        str(pair / "high.nrrd"),
        "--kv",
        "80",
        "140Sn",
    ]


def values(out):
    with (out / "measurements.csv").open(encoding="utf-8") as stream:
        return {(row["region"], row["measure"]): row for row in csv.DictReader(stream)}


def number(out, measure, region="lungs"):
    return float(values(out)[region, measure]["value"])


def truth(pair):
    return json.loads((pair / "truth.json").read_text(encoding="utf-8"))


def test_iodine_and_ipv_of_the_phantom(pair, analysed):
    made = truth(pair)
    iodine = made["iodine_mg_ml"]["lungs"]
    # a coarse grid blurs small vessels into what is left out; Benchmarks measure a fine one
    assert number(analysed, "iodine_concentration") == pytest.approx(iodine, abs=0.15)
    assert number(analysed, "tlv") == pytest.approx(made["volumes_ml"]["lungs"] / 1000, rel=0.01)
    product = number(analysed, "iodine_mean") * number(analysed, "tlv")
    assert number(analysed, "ipv") == pytest.approx(product, rel=1e-4)


def test_regional_ipv_adds_up(analysed):
    zones = [f"{side}_{z}_zone" for side in ("left", "right") for z in ("upper", "middle", "lower")]
    for parts in (("left_lung", "right_lung"), zones, ("core", "rim")):
        total = sum(number(analysed, "ipv", part) for part in parts)
        assert total == pytest.approx(number(analysed, "ipv"), rel=1e-4)


def test_defects_are_found_classed_and_listed(pair, analysed):
    with (analysed / "defects.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    shapes = {row["shape"] for row in rows}
    assert {"wedge", "subpleural", "mottled"} <= shapes
    assert "ground glass" in {row["parenchyma"] for row in rows}
    assert "normal" in {row["parenchyma"] for row in rows}
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(analysed / "defects.seg.nrrd"))) > 0
    assert 2.5 < number(analysed, "defect_share") < 9
    assert found.any()
    largest = max(rows, key=lambda row: float(row["volume_ml"]))
    assert largest["defect"] == "1"


def test_signs_and_patterns_are_recorded(analysed):
    assert number(analysed, "qanadli") == 5.0
    assert number(analysed, "pa_ao_ratio") == pytest.approx(25 / 30, rel=1e-4)
    assert values(analysed)["lungs", "rv_lv_ratio"]["status"] == "missing"
    with (analysed / "patterns.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    isolated = [row for row in rows if row["pattern"] == "isolated low DLCO"]
    assert {row["answer"] for row in isolated} == {"not met"}, "there is a clot"
    assert "unknown" in {row["condition_answer"] for row in isolated}
    report = (analysed / "report.html").read_text(encoding="utf-8")
    assert "not a diagnosis" in report
    assert "Isolated low DLCO: not met" in report


def test_everything_that_shapes_the_numbers_is_recorded(analysed):
    content = json.loads((analysed / "results.json").read_text(encoding="utf-8"))
    text = json.dumps(content)
    for word in ("smoothing_mm", "exclusions", "water_path", "k_ref 25", "trunk_centre_ras_mm"):
        assert word in text, word
    assert "k_ref 25" in values(analysed)["lungs", "ipv"]["method"]
    for name in ("iodine.nrrd", "exclusions.seg.nrrd", "lungs.seg.nrrd"):
        assert (analysed / name).is_file()


def test_the_trunk_is_found_and_can_be_corrected(pair, analysed, tmp_path):
    assert number(analysed, "pbv") == pytest.approx(1000 * 1.75 / 14, rel=0.15)
    image = sitk.ReadImage(str(pair / "structures.seg.nrrd"))
    aorta = tmp_path / "trunk.nrrd"
    sitk.WriteImage(sitk.Cast(image == 1, sitk.sitkUInt8), str(aorta))
    out = tmp_path / "out"
    lungs = ["--lung-mask", str(pair / "lungs.seg.nrrd"), "--no-report", "--quiet"]
    assert main(["ipv", *source(pair), "--trunk", str(aorta), *lungs, "-o", str(out)]) == 0
    row = values(out)["lungs", "pbv"]
    assert row["status"] == "caution", "a lung mask without airways leaves air unchecked"
    assert "too little air in the large airways" in row["reason"]
    assert float(row["value"]) == pytest.approx(1000 * 1.75 / 13, rel=0.2)


def test_vendor_map_with_slope_and_same_bytes_twice(pair, tmp_path):
    iodine = sitk.ReadImage(str(pair / "iodine.nrrd"))
    tenths = sitk.Cast(sitk.Round(iodine * 10), sitk.sitkInt16)
    sitk.WriteImage(tenths, str(tmp_path / "map.nrrd"))
    run = ["ipv", "--iodine", str(tmp_path / "map.nrrd"), "--ct", str(pair / "low.nrrd")]
    run += ["--iodine-unit", "mg/mL", "--iodine-slope", "0.1", "--smoothing-mm", "0"]
    run += ["--lung-mask", str(pair / "lungs.seg.nrrd"), "--no-report", "--quiet"]
    outs = [tmp_path / "first", tmp_path / "second"]
    for out in outs:
        assert main([*run, "-o", str(out)]) == 0
    expected = truth(pair)["iodine_mg_ml"]["lungs"]
    assert number(outs[0], "iodine_concentration") == pytest.approx(expected, abs=0.12)
    files = sorted(path.name for path in outs[0].iterdir() if path.name not in OF_THIS_RUN)
    assert "measurements.csv" in files
    for name in files:
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes(), name


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "exactly one source, .* given: none"),
        (["--low", "LOW"], "--low with --high: both are needed"),
        (["--low", "LOW", "--high", "HIGH", "--iodine", "LOW"], "exactly one source"),
        (["--low", "LOW", "--high", "HIGH"], "tube voltages are not in the files"),
        (["--low", "LOW", "--high", "HIGH", "--kv", "80"], "--kv takes 2 voltage"),
        (["--low", "LOW", "--high", "HIGH", "--kv", "140Sn", "80"], "swapped"),
        (["--low", "LOW", "--high", "HIGH", "--kv", "80", "139"], "no calibration for '139'"),
        (["--iodine", "LOW", "--ct", "LOW"], "does not state the unit"),
        (["--iodine", "LOW", "--ct", "LOW", "--iodine-ratio", "3"], "belongs to a pair"),
        (["--iodine", "LOW", "--ct", "LOW", "--soft-tissue-hu", "60", "50"], "belongs to a pair"),
        (
            [
                "--low",
                "LOW",
                "--high",
                "HIGH",
                "--kv",
                "80",
                "140Sn",
                "--soft-tissue-hu",
                "6",
                "500",
            ],
            "0 to 100 HU, not 500",
        ),
        (
            ["--low", "LOW", "--high", "HIGH", "--defect-relative-below", "60"],
            "between 0 and 1, not 60",
        ),
        (["--low", "LOW", "--high", "HIGH", "--fvc", "0.97"], "fvc must be in % of predicted"),
        (
            ["--low", "LOW", "--high", "HIGH", "--kv", "80", "140Sn", "--sensitivity", "40"],
            "--sensitivity takes 2",
        ),
    ],
)
def test_refuses_in_one_sentence(pair, tmp_path, capsys, words, sentence):
    names = {"LOW": str(pair / "low.nrrd"), "HIGH": str(pair / "high.nrrd")}
    given = [names.get(word, word) for word in words]
    lungs = ["--lung-mask", str(pair / "lungs.seg.nrrd")]
    assert main(["ipv", *given, *lungs, "-o", str(tmp_path / "out"), "--quiet"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert re.search(sentence, message), message
    assert not (tmp_path / "out").exists()


def test_mean_of_both_voltages_is_whole_hu_without_overflow():
    low, high = np.array([[32767, -1024, 101]], np.int16), np.array([[32767, -1000, 100]], np.int16)
    mixed = _mixed(low, high)
    assert mixed.dtype == np.int16
    assert mixed.tolist() == [[32767, -1012, 100]]
    assert _mixed(low.astype(np.float32), high).tolist() == [[32767.0, -1012.0, 100.5]]
