"""The demo's patient and its manifest fit all analyses there are."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.__main__ import main
from lungperfusion.batch.cases import CaseOutcome, JobOutcome
from lungperfusion.batch.engine import BatchState
from lungperfusion.commands import demo
from lungperfusion.io import read_map
from lungperfusion.phantoms import patient as phantom_patient
from lungperfusion.phantoms.xenon import XenonRecipe, make_xenon
from lungperfusion.progress import ignore
from lungperfusion.registry import analyses
from lungperfusion.terms import LOBES

SPACING_MM = 8.0
ASKED_FOR = ("dynamic", "xenon")
"""Analyses whose images the demo makes when they are asked for only."""


@pytest.fixture(scope="module")
def patient():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantom_patient, "_LEAVES", 10)
        return phantom_patient.make_patient(SPACING_MM)


def test_patient_breathes_and_enhances(patient):
    def air_ml(volume):
        body = volume.array[:, 5:-5, 5:-5]
        return np.count_nonzero((body < -600) & (body > -950)) * volume.geometry.voxel_volume_ml

    assert air_ml(patient.expiration) < 0.85 * air_ml(patient.inspiration)
    assert patient.low.geometry.same_as(patient.inspiration.geometry)
    heart = patient.low.array > 150
    assert np.median(patient.low.array[heart]) > np.median(patient.high.array[heart]) + 50


def test_every_analysis_gets_its_scans(patient, tmp_path, monkeypatch, capsys):
    made = []
    run = []

    def make(spacing_mm, progress):
        made.append(spacing_mm)
        return patient

    def run_batch(manifest, out, make_workers, **options):
        run.append(manifest)
        state = BatchState(total=1)
        job = JobOutcome(analysis="lungs", status="failed", reason="no lungs")
        state.outcomes[demo.CASE] = CaseOutcome(case=demo.CASE, jobs=(job,))
        return state

    monkeypatch.setattr(demo, "make_patient", make)
    monkeypatch.setattr(demo, "run_batch", run_batch)

    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "manifest.csv").write_text("of my own study", encoding="utf-8")
    for _ in range(2):  # the second time the scans are there
        assert main(["demo", "-o", str(tmp_path / "demo"), "--spacing", "8"]) == 1

    assert made == [8.0]
    kept = tmp_path / "demo" / "manifest.earlier-1.csv"
    assert kept.read_text(encoding="utf-8") == "of my own study"
    (tmp_path / "demo" / "scans-8-mm" / "low.nrrd").write_bytes(b"")  # cut short by a kill
    assert main(["demo", "-o", str(tmp_path / "demo"), "--spacing", "8"]) == 1
    assert made == [8.0, 8.0]
    assert not list((tmp_path / "demo").glob("manifest.earlier-2*"))
    (case,) = run[0].cases
    assert [job.analysis for job in case.jobs] == [n for n in analyses() if n not in ASKED_FOR]
    shown = capsys.readouterr()
    assert shown.out.startswith(str(tmp_path / "demo" / "batch" / "cases" / "phantom"))
    assert "failed: lungs: no lungs" in shown.err


@pytest.mark.parametrize("spacing", ["0.9", "8.1"])
def test_spacing_out_of_range(tmp_path, spacing, capsys):
    assert main(["demo", "-o", str(tmp_path), "--spacing", spacing]) == 2
    assert "--spacing is between 1 and 8 mm" in capsys.readouterr().err


def test_further_scans_bring_their_analyses():
    series = {demo.FIRST_PASS: "first-pass/first_pass.seq.nrrd"}
    maps = {name: f"xenon/{name}.nrrd" for name in demo.XENON}
    rows = demo.demo_rows("scans", series)

    assert [row["analysis"] for row in rows] == [n for n in analyses() if n != "xenon"]
    assert {row.get("first_pass") for row in rows} == {None, "first-pass/first_pass.seq.nrrd"}

    rows = demo.demo_rows("scans", {**series, **maps})
    assert [row["analysis"] for row in rows] == list(analyses())
    (xenon,) = [row for row in rows if row["analysis"] == "xenon"]
    assert xenon["rbc_gas"] == "xenon/xenon_rbc_gas.nrrd"
    assert xenon["mask"] == "xenon/xenon_mask.nrrd"
    assert xenon["ct"] == "scans/inspiration.nrrd"


def test_the_xenon_mri_is_of_the_same_patient(patient, tmp_path, monkeypatch):
    """Its lungs have the volume that they have in the CT but for the breath."""
    made = []

    def small(lobes, recipe, seed):
        made.append(lobes)
        return make_xenon(lobes, XenonRecipe(matrix=40, samples=1), seed=seed)

    monkeypatch.setattr(phantom_patient, "make_xenon", small)
    monkeypatch.setattr(phantom_patient, "_LEAVES", 10)
    places = demo._write_xenon(tmp_path, SPACING_MM, ignore)
    assert demo._write_xenon(tmp_path, SPACING_MM, ignore) == places
    assert len(made) == 1

    assert set(places) == set(demo.XENON)
    mask = read_map(tmp_path / places["xenon_mask"], unit="1").volume
    xenon_ml = float(mask.array.sum()) * mask.geometry.voxel_volume_ml
    assert made[0].geometry.same_as(patient.inspiration.geometry)
    assert xenon_ml == pytest.approx(0.9 * made[0].volume_ml(*LOBES), rel=0.1)
