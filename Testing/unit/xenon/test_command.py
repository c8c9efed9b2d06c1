"""The command from files to the results folder, and what it refuses."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from nifti_layout import write_pipeline_folder

from lungperfusion.__main__ import main
from lungperfusion.phantoms import KINDS
from lungperfusion.phantoms.xenon import XenonRecipe, make_xenon
from lungperfusion.results import xenon_sections
from lungperfusion.results.figures import montage
from lungperfusion.volume import Volume


@pytest.fixture(scope="module")
def results(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    clinical = folder / "clinical.csv"
    clinical.write_text(
        "case,age_years,sex,hb_g_dl,dlco_pct,kco_pct\np1,52,male,13.1,74,81\np2,30,female,12,90,95\n",
        encoding="utf-8",
    )
    words = files.words("--clinical", str(clinical), "--case", "p1", "-o", str(folder / "r"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(xenon_sections, "montage", one_slice)
        assert main(words) == 0
    return folder / "r"


def one_slice(*arguments, **options):
    """Draw one slice where the report has many: every one takes its time."""
    return montage(*arguments, **options | {"count": 1, "columns": 1})


def rows_of(folder, name="measurements.csv"):
    with (folder / name).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_results_hold_lobes_classes_and_maps(results):
    values = {(r["region"], r["measure"]): r for r in rows_of(results)}
    assert float(values["right_lower_zone", "xe_rbc_gas"]["value"]) > 0.2
    assert values["lungs", "xe_rbc_gas"]["status"] == "ok"  # haemoglobin is given
    assert "men of 52 years" in values["lungs", "xe_rbc_m_z"]["method"]
    for name in ("ct_on_xenon.nrrd", "xe_rbc_gas.nrrd", "xe_mismatch.seg.nrrd"):
        assert (results / name).exists()
    classes = rows_of(results, "xenon_classes.csv")
    lungs = [r for r in classes if r["map"] == "rbc_gas" and r["region"] == "lungs"]
    assert sum(float(row["volume_percent"]) for row in lungs) == pytest.approx(100, abs=1e-3)
    assert {r["source"] for r in rows_of(results, "transfer_factor.csv")} >= {"Grist 2022"}


def test_the_report_says_patterns_and_no_diagnosis(results):
    page = (results / "report.html").read_text(encoding="utf-8")
    for words in ("Gas transfer and CT", "two groups of patients", "Estimated from the maps"):
        assert words in page
    for words in ("long COVID is", "diagnosis of", "suffers", "indicates disease"):
        assert words not in page
    assert "Grist" in page


def test_the_same_input_gives_the_same_bytes(files, results, tmp_path):
    """Without what was kept of the first run, too."""
    clinical = results.parent / "clinical.csv"
    words = files.words("--clinical", str(clinical), "--case", "p1", "-o", str(tmp_path / "r"))
    words[words.index("--keep-stages") + 1] = str(tmp_path / "stages")
    assert main([*words, "--no-report"]) == 0
    for name in ("measurements.csv", "xe_mismatch.seg.nrrd", "ct_on_xenon.nrrd"):
        assert (tmp_path / "r" / name).read_bytes() == (results / name).read_bytes(), name


def test_dixon_of_complex_images_gives_the_maps(files, xenon, tmp_path):
    folder = files.folder
    words = [
        *files.words("--no-report", "-o", str(tmp_path / "r"), maps=()),
        *("--gas-image", str(folder / "gas-real.nrrd"), str(folder / "gas-imag.nrrd")),
        *("--dissolved-image", str(folder / "dissolved-real.nrrd")),
        str(folder / "dissolved-imag.nrrd"),
        *("--rbc-membrane", f"{xenon.spectrum:.6f}", "--flip-degrees", "0.5", "20"),
        *("--echo-time-ms", "0.47"),
    ]
    assert main(words) == 0
    values = {(r["region"], r["measure"]): r["value"] for r in rows_of(tmp_path / "r")}
    expected = 100 * float(np.nanmean(xenon.rbc_gas[xenon.mask]))
    assert float(values["lungs", "xe_rbc_gas"]) == pytest.approx(expected, rel=0.03)


def test_a_folder_of_the_pipeline_is_all_it_needs(files, xenon, tmp_path):
    """Broken headers, signals instead of ratios, statistics with the field of view."""
    folder = write_pipeline_folder(xenon, tmp_path / "examination")
    out = ["--no-report", "-o", str(tmp_path / "r")]
    assert main(["xenon", *files.chest, "--duke", str(folder), *out]) == 0
    record = json.loads((tmp_path / "r" / "results.json").read_text(encoding="utf-8"))
    (analysis,) = record["analyses"]
    assert analysis["parameters"]["reference_set"] == "208 ppm"
    gates = {gate["id"]: gate["verdict"] for gate in analysis["quality_gates"]}
    assert gates["xenon_statistics"] == "pass"
    values = {(m["region"], m["measure"]): m["value"] for m in analysis["measurements"]}
    mean = 100 * float(np.nanmean(xenon.rbc_gas[xenon.mask]))
    assert values["lungs", "xe_rbc_gas"] == pytest.approx(mean, rel=0.03)
    assert values["right_lower_zone", "xe_volume"] > 50


def refused(words, capsys, match):
    assert main(words) == 2
    text = " ".join(capsys.readouterr().err.split())
    assert match in text, text


def test_refusals(files, tmp_path, capsys):
    out = ["-o", str(tmp_path / "r")]
    folder = files.folder
    for words, match in (
        (files.words(*out, maps=()), "no map of the xenon MRI"),
        (files.words("--duke", str(folder), *out), "either --duke or single images"),
        (files.words("--orientation", "coronal", *out), "goes with --fov-mm"),
        (files.words("--wanted-volume-l", "3000", *out), "lung volume in L"),
        (files.words("--gas-image", str(folder / "gas-real.nrrd"), *out), "the Dixon step needs"),
        (files.words("--reference-file", str(folder / "none.json"), *out), "no file"),
    ):
        refused(words, capsys, match)
    assert not (tmp_path / "r").exists()


def test_a_mirrored_image_stops_the_command(files, xenon, tmp_path, capsys):
    from lungperfusion.io import write_volume

    matrix = np.diag([-1.0, 1.0, 1.0, 1.0]) @ xenon.geometry.ijk_to_ras
    from lungperfusion.volume import Geometry

    grid = Geometry(xenon.geometry.shape, matrix)
    for name, array in (("mask", xenon.mask), ("rbc-gas", np.nan_to_num(xenon.rbc_gas))):
        write_volume(Volume(array.astype(np.float32), grid, "1"), tmp_path / f"{name}.nrrd")
    words = files.words("-o", str(tmp_path / "r"), maps=())
    words[words.index("--mask") + 1] = str(tmp_path / "mask.nrrd")
    refused(
        [*words, "--rbc-gas", str(tmp_path / "rbc-gas.nrrd")], capsys, "left and right exchanged"
    )
    assert not (tmp_path / "r").exists()


def test_reference_sets_of_a_file(files, tmp_path, capsys):
    path = tmp_path / "own.json"
    good = {
        "name": "own",
        "rbc_gas": [0.001, 0.002, 0.003, 0.004, 0.005],
        "membrane_gas": [0.004, 0.006, 0.008, 0.010, 0.012, 0.014, 0.016],
        "rbc_membrane": [0.5, 0.1],
    }
    for change, match in (
        ({"rbc_gas": [1, 2]}, "list of 5 numbers"),
        ({"rbc_gas": [5, 4, 3, 2, 1]}, "must rise"),
        ({"rbc_membrane": [0.5, 0.0]}, "above 0"),
    ):
        path.write_text(json.dumps(good | change), encoding="utf-8")
        refused(
            files.words("--reference-file", str(path), "-o", str(tmp_path / "r")), capsys, match
        )
    path.write_text(json.dumps(good), encoding="utf-8")
    words = files.words(
        "--reference-file", str(path), "--no-report", "-o", str(tmp_path / "r"), maps=("rbc-gas",)
    )
    assert main(words) == 0
    record = json.loads((tmp_path / "r" / "results.json").read_text(encoding="utf-8"))
    assert record["analyses"][0]["parameters"]["reference_set"] == "own"


def test_the_phantom_command_writes_a_case_to_try(tmp_path, monkeypatch):
    quick = partial(make_xenon, recipe=XenonRecipe(matrix=48, samples=1))
    monkeypatch.setattr("lungperfusion.commands.phantom.make_xenon", quick)
    monkeypatch.setitem(KINDS, "small", replace(KINDS["small"], anatomy={"leaves": 8}))
    out = tmp_path / "phantom"
    assert main(["phantom", "small", "--xenon", "--spacing", "6", "-o", str(out)]) == 0
    truth = json.loads((out / "truth.json").read_text(encoding="utf-8"))["xenon"]
    assert 0.3 < truth["spectrum_rbc_membrane"] < 0.7
    assert len(truth["rbc_gas"]) == 5
    for name in ("rbc_gas", "membrane_gas", "ventilation", "mask"):
        assert (out / f"xenon_{name}.nrrd").exists()
