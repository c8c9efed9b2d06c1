"""``lungperfusion batch MANIFEST.csv -o OUT``: all cases of a manifest, nothing lost."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lungperfusion.batch.cases import Dicom
from lungperfusion.batch.display import LiveTable, duration, summary
from lungperfusion.batch.engine import BatchState, code_changed, run_batch, say_nothing
from lungperfusion.batch.machine import MEMORY_PER_CASE_GIB, worker_count
from lungperfusion.batch.manifest import Manifest, read_manifest
from lungperfusion.batch.workers import DaskWorkers, LocalWorkers, Workers
from lungperfusion.errors import InputError
from lungperfusion.progress import Progress
from lungperfusion.terminal import remark, show

TIMEOUT_MINUTES = 240.0
"""Time after which a case is given up: many times what the largest needs, and a night is saved."""

EXIT_SOME_FAILED = 1
EXIT_INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "exit codes: 0 all cases done, 1 some failed (see cases.csv), 2 refused before start,\n"
        "130 interrupted"
    )
    parser.add_argument(
        "manifest",
        type=Path,
        metavar="MANIFEST",
        help="CSV with a line per analysis of each case; 'lungperfusion manifest' proposes one",
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT", help="folder for all results"
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="cases at once on this machine (default: as cores and memory allow)",
    )
    parser.add_argument(
        "--memory-per-case",
        type=float,
        default=MEMORY_PER_CASE_GIB,
        metavar="GIB",
        help="memory to reckon with for each of them (default: %(default)s)",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="Dask scheduler (tcp://host:8786) or its scheduler file: run on its workers instead",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on in OUT: keep what is done from the same inputs with the same settings",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT_MINUTES,
        metavar="MINUTES",
        help="give a case up after this time, on this machine (default: %(default)s; 0: never)",
    )
    parser.add_argument(
        "--dicom",
        action="store_true",
        help="write the results as DICOM objects, too, in OUT/dicom/CASE/ANALYSIS; see "
        "'lungperfusion dicom'",
    )
    parser.add_argument(
        "--anonymise", action="store_true", help="with --dicom: take the patient out of them"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check the manifest, say what would run, and end"
    )


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Check the manifest, run all cases, write the cohort's tables."""
    manifest = read_manifest(arguments.manifest)
    for warning in manifest.warnings:
        remark(f"warning: {warning}")
    make_workers = _workers(arguments)
    if arguments.anonymise and not arguments.dicom:
        raise InputError("--anonymise is about DICOM objects; give --dicom, too")
    if arguments.dicom:
        dicom: Dicom = "anonymised" if arguments.anonymise else "named"
        cases = tuple(replace(case, dicom=dicom) for case in manifest.cases)
        manifest = replace(manifest, cases=cases)
    if arguments.dry_run:
        return 0 if show(_plan(manifest, arguments)) else 1
    if arguments.resume and code_changed(arguments.out):
        remark(
            "warning: the program has changed since this batch was run last; cases that were "
            "finished are made anew, as the same code has to make all numbers"
        )
    table = None if arguments.quiet else LiveTable(sys.stderr)
    state = run_batch(
        manifest,
        arguments.out,
        make_workers,
        resume=arguments.resume,
        listener=table or say_nothing,
    )
    if table is not None:
        table.close()
    return _end(state, arguments.out)


def _workers(arguments: argparse.Namespace) -> Callable[[int], Workers]:
    """Check the options on workers, and make what starts them."""
    if arguments.workers is not None and arguments.workers < 1:
        raise InputError(f"--workers is at least 1, not {arguments.workers}")
    if arguments.memory_per_case <= 0:
        raise InputError(f"--memory-per-case is more than 0 GiB, not {arguments.memory_per_case:g}")
    if arguments.timeout < 0:
        raise InputError(f"--timeout is 0 or more minutes, not {arguments.timeout:g}")
    if arguments.scheduler is not None:
        if arguments.workers is not None:
            raise InputError("give --workers or --scheduler, not both: a cluster has its own")
        return lambda _: DaskWorkers(arguments.scheduler, arguments.out.resolve())
    return functools.partial(
        _local,
        arguments.workers or worker_count(arguments.memory_per_case),
        60 * arguments.timeout or None,
    )


def _local(most: int, timeout_s: float | None, cases: int) -> Workers:
    return LocalWorkers(min(most, cases), timeout_s=timeout_s)


def _plan(manifest: Manifest, arguments: argparse.Namespace) -> str:
    counts: dict[str, int] = {}
    for case in manifest.cases:
        for job in case.jobs:
            counts[job.analysis] = counts.get(job.analysis, 0) + 1
    listing = ", ".join(f"{count} {name}" for name, count in counts.items())
    where = (
        f"on the workers of {arguments.scheduler}"
        if arguments.scheduler
        else f"{arguments.workers or worker_count(arguments.memory_per_case)} at once"
    )
    return f"{len(manifest.cases)} cases ({listing}), {where}; nothing was run (--dry-run)"


def _end(state: BatchState, out: Path) -> int:
    """Say how it ended."""
    took = duration(sum(job.seconds for o in state.outcomes.values() for job in o.jobs))
    remark(f"{summary(state)}; {took} of work")
    if state.stopped:
        remark(f"stopped: {state.stopped}")
    if state.interrupted:
        remark("interrupted: finished cases are kept; run it again with --resume to go on")
    show(f"{out / 'cases.csv'}")
    if state.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_SOME_FAILED if state.failed or state.left or state.stopped else 0
