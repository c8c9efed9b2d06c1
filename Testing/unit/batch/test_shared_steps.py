"""The analyses of a case find the lungs of a scan once, with the numbers of single runs."""

from __future__ import annotations

import functools

import pytest

from lungperfusion.__main__ import main
from lungperfusion.analysis import regions
from lungperfusion.batch.case_run import run_case
from lungperfusion.batch.manifest import read_manifest
from lungperfusion.errors import InputError
from lungperfusion.io import write_volume
from lungperfusion.segmentation import lobes

LINES = (
    "case,analysis,ct,lobes,no_report",
    "p1,lungs,{ct},auto,yes",
    "p1,lobes,{ct},auto,yes",
)


@pytest.fixture(scope="module")
def chest_file(toddler, tmp_path_factory):
    path = tmp_path_factory.mktemp("chest") / "chest.nrrd"
    write_volume(toddler.ct, path)
    return path


@pytest.fixture
def calls(monkeypatch):
    """Names of the steps that were carried out."""
    made = []
    places = ((regions, "segment_lungs"), (lobes, "prepare_lung"), (lobes, "fit_fissures"))
    for module, name in places:
        step = getattr(module, name)

        @functools.wraps(step)
        def counted(*arguments, step=step, **options):
            made.append(step.__name__)
            return step(*arguments, **options)

        monkeypatch.setattr(module, name, counted)
    return made


def test_lungs_and_lobes_are_found_once(chest_file, calls, tmp_path):
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\n".join(LINES).format(ct=chest_file) + "\n", encoding="utf-8")
    (case,) = read_manifest(manifest).cases

    outcome = run_case(case, tmp_path / "out")

    assert [job.status for job in outcome.jobs] == ["done", "done"]
    assert sorted(calls) == [*["fit_fissures"] * 2, *["prepare_lung"] * 2, "segment_lungs"]
    assert not (tmp_path / "out" / ".batch" / "part" / "p1").exists()

    alone = tmp_path / "alone"
    words = [str(chest_file), "--lobes", "auto", "--no-report", "--case", "p1", "--quiet"]
    assert main(["lobes", *words, "-o", str(alone)]) == 0
    joined = tmp_path / "out" / "cases" / "p1" / "lobes"
    for name in ("measurements.csv", "lobes.seg.nrrd"):
        assert (joined / name).read_bytes() == (alone / name).read_bytes()


def test_what_another_process_left_is_not_read(chest_file, tmp_path, monkeypatch):
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\n".join(LINES).format(ct=chest_file) + "\n", encoding="utf-8")
    (case,) = read_manifest(manifest).cases
    planted = tmp_path / "out" / ".batch" / "part" / "p1" / "shared" / "left.npz"
    planted.parent.mkdir(parents=True)
    planted.write_bytes(b"not ours")
    seen = []

    def looking(*_arguments, **_options):
        seen.append(planted.exists())
        raise InputError("seen enough")

    monkeypatch.setattr(regions, "segment_lungs", looking)
    outcome = run_case(case, tmp_path / "out")

    assert [job.reason for job in outcome.jobs] == ["seen enough"] * 2
    assert seen == [False, False]
