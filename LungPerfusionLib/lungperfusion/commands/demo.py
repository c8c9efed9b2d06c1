"""``lungperfusion demo -o OUT``: one phantom patient, every analysis, one report to open."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from lungperfusion.batch.cases import CaseOutcome
from lungperfusion.batch.engine import BatchState, run_batch
from lungperfusion.batch.machine import worker_count
from lungperfusion.batch.manifest import read_manifest
from lungperfusion.batch.workers import LocalWorkers
from lungperfusion.commands.output import warn
from lungperfusion.commands.phantom import write_xenon
from lungperfusion.errors import InputError
from lungperfusion.io import results_folder, write_volume
from lungperfusion.io.atomic import kept_aside
from lungperfusion.io.checksums import is_whole
from lungperfusion.io.writing import write_time_series
from lungperfusion.naming import named
from lungperfusion.phantoms.kinds import FIRST_PASS_KINDS
from lungperfusion.phantoms.patient import SCAN, SPACING_MM, make_patient, make_patient_xenon
from lungperfusion.progress import Progress, part
from lungperfusion.registry import COMMANDS, NOTHING
from lungperfusion.results.tables import csv_text
from lungperfusion.terminal import remark, show
from lungperfusion.terms.xenon import MAPS

CASE = "phantom"
_SCANS = ("inspiration", "expiration", "low", "high")
FIRST_PASS = "first_pass"
"""Scan of what needs a dynamic series."""
XENON = tuple(f"xenon_{name}" for name in (*MAPS, "mask"))
"""Scans of what needs a xenon MRI."""
_FACTS = {"kv": f"{SCAN.low_kv} {SCAN.high_kv}"}
"""Facts of the patient that the demo of an analysis may name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT", help="folder for scans and results"
    )
    parser.add_argument(
        "--spacing",
        type=float,
        default=SPACING_MM,
        metavar="MM",
        help="distance between voxels (default: %(default)s)",
    )
    parser.add_argument(
        "--dynamic",
        action="store_true",
        help="add the first pass of a bolus and its analysis, which takes some minutes more",
    )
    parser.add_argument(
        "--xenon",
        action="store_true",
        help="add a hyperpolarised 129Xe MRI of the patient and gas transfer by lobe",
    )


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Scan the patient, write the manifest, run it; what is there already is kept."""
    if not 1.0 <= arguments.spacing <= 8.0:
        raise InputError(f"--spacing is between 1 and 8 mm, not {arguments.spacing:g}")
    out = arguments.out
    try:
        more = _write_first_pass(out, part(progress, 0.0, 0.1)) if arguments.dynamic else {}
        if arguments.xenon:
            more |= _write_xenon(out, arguments.spacing, part(progress, 0.1, 0.15))
        manifest = _write_scans(out, arguments.spacing, more, part(progress, 0.15, 0.3))
    except OSError as error:
        raise InputError(
            f"cannot write to {named(out)} ({error.strerror}); choose another folder"
        ) from error
    batch = out / "batch"

    def follow(state: BatchState, _: CaseOutcome | None) -> None:
        for running in state.running.values():
            progress(0.3 + 0.7 * running.fraction, running.message)

    state = run_batch(
        read_manifest(manifest),
        batch,
        lambda cases: LocalWorkers(min(cases, worker_count())),
        resume=True,
        listener=follow,
    )
    show(f"{batch / 'cases' / CASE / 'report.html'}")
    for outcome in state.outcomes.values():
        if outcome.failed:
            remark(f"failed: {outcome.reason}")
    return 1 if state.failed or state.left else 0


def _write_first_pass(out: Path, progress: Progress) -> dict[str, str]:
    """Write the dynamic series unless it is there; its place below the folder."""
    folder = out / "first-pass"
    if not is_whole(folder):
        with results_folder(folder, overwrite=True, tell=warn) as made:
            phantom = FIRST_PASS_KINDS["dynamic"](progress=progress)
            write_time_series(
                phantom.frames, phantom.geometry, phantom.times_s, made / "first_pass.seq.nrrd"
            )
    return {FIRST_PASS: "first-pass/first_pass.seq.nrrd"}


def _write_xenon(out: Path, spacing_mm: float, progress: Progress) -> dict[str, str]:
    """Write the maps of the xenon MRI unless they are there; their places below the folder."""
    place = f"xenon-{spacing_mm:g}-mm"
    if not is_whole(out / place):
        with results_folder(out / place, overwrite=True, tell=warn) as folder:
            write_xenon(make_patient_xenon(spacing_mm, progress=progress), folder)
    return {name: f"{place}/{name}.nrrd" for name in XENON}


def _write_scans(out: Path, spacing_mm: float, more: Mapping[str, str], progress: Progress) -> Path:
    """Write the scans unless they are there, and the manifest of all analyses there are."""
    scans = out / f"scans-{spacing_mm:g}-mm"
    if not is_whole(scans):
        with results_folder(scans, overwrite=True, tell=warn) as folder:
            patient = make_patient(spacing_mm, progress=progress)
            for name in _SCANS:
                write_volume(getattr(patient, name), folder / f"{name}.nrrd")
    rows = demo_rows(scans.name, more)
    columns = dict.fromkeys(name for row in rows for name in row)
    manifest = out / "manifest.csv"
    with kept_aside(manifest, warn) as path:
        path.write_text(csv_text(rows, columns), encoding="utf-8", newline="\n")
    return manifest


def demo_rows(scans: str, more: Mapping[str, str] = NOTHING) -> list[dict[str, str]]:
    """Lines of the manifest: every analysis that is registered with something to do in the demo.

    Parameters
    ----------
    scans
        Name of the folder with the patient's scans, beside the manifest.
    more
        Places of a dynamic series and of xenon maps; without them what needs them is left out.

    """
    given = {**_FACTS, **{name: f"{scans}/{name}.nrrd" for name in _SCANS}, **more}
    left_out = {FIRST_PASS, *XENON} - set(given)
    return [
        {
            "case": CASE,
            "analysis": command.name,
            **{argument: given.get(value, value) for argument, value in command.demo.items()},
        }
        for command in COMMANDS.values()
        if command.demo and not left_out & set(command.demo.values())
    ]
