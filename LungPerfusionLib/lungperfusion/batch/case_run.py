"""One case in a worker: run what is not done yet, then put the whole folder in its place.

Layout of the batch's output folder::

    OUT/cases/CASE/            whole or not there
        report.html  regions.csv  measurements.csv  results.json
        lungs/  ipv/  ...      what each analysis writes
    OUT/.batch/part/CASE/      analyses of a case that is not whole yet, by key, and what they share
    OUT/.batch/seen/CASE.json  hashes of inputs with the time stamps they were taken at

A finished analysis in ``part`` carries its key in its name, so that a run that was killed goes on
where it was, and never with a result of other inputs or settings.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import errno
import gc
import importlib
import io
import json
import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lungperfusion
from lungperfusion.analysis.stages import remembering
from lungperfusion.batch.archived import archive_case, is_archived
from lungperfusion.batch.cases import Case, CaseOutcome, Job, JobOutcome
from lungperfusion.batch.joined import joined_report, region_rows
from lungperfusion.batch.keys import input_digest, input_fingerprint, job_key
from lungperfusion.batch.machine import resident_memory_mib, watched_memory
from lungperfusion.batch.parts import read_parts, write_json, write_parts
from lungperfusion.errors import InputError
from lungperfusion.io import atomic_path, results_folder
from lungperfusion.io.atomic import recover
from lungperfusion.io.checksums import CHECKSUMS_FILE, is_whole, read_checksums
from lungperfusion.io.checksums import fingerprint as results_fingerprint
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.results.tables import COLUMNS, csv_text
from lungperfusion.results.writing import RESULTS_FORMAT
from lungperfusion.trouble import in_words, is_disk_full, is_out_of_memory

LEAST_FREE_BYTES = 64 * 2**20
"""Free space below which a failed write is put down to a full disk, and no case is begun."""

_RESULTS = "results.json"
_SHARED_STEPS = ("segment_lungs", "prepare_lung", "fit_fissures", "find_trees")
"""What the analyses of a case need of each scan, and one of them finds for all."""


def case_folder(out: Path, case: str) -> Path:
    """Where the results of a case are, once they are whole."""
    return out / "cases" / case


def run_case(case: Case, out: Path, progress: Progress = ignore) -> CaseOutcome:
    """Run the analyses of a case that are not done, and publish its folder.

    Parameters
    ----------
    case
        What to run.
    out
        Output folder of the batch.
    progress
        Told how far the case is.

    Returns
    -------
    CaseOutcome
        Failures included: the only exceptions that leave here are those that end the process.

    """
    restore(out, case.name)
    seen = _Seen(out, case.name)
    published = _published(out, case.name, seen)
    notes: list[str] = []
    outcomes: list[JobOutcome] = []
    folders: dict[str, tuple[str, Path]] = {}
    disk_full = False
    memory = _Memory(out, case)
    for number, job in enumerate(case.jobs):
        share = part(progress, number / len(case.jobs), (number + 1) / len(case.jobs))
        try:
            key = job_key(job, seen.digests(job))
            with memory.open():
                folder, outcome = _one(job, case.name, out, key, published, share)
            if folder is not None:
                folders[job.analysis] = (key, folder)
        except Exception as error:
            outcome, full = _failure(error, job, case, out)
            disk_full |= full
        outcomes.append(outcome)
    memory.clear()
    try:
        _publish(case, out, folders, outcomes, published, notes.append)
        seen.remember_results(case_folder(out, case.name))
        seen.write()
        if case.dicom:
            notes += archive_case(case, out, case_folder(out, case.name), folders, progress)
    except Exception as error:
        failed, full = _failure(error, case.jobs[0], case, out)
        disk_full |= full
        outcomes = [
            o if o.status == "failed" else replace(failed, analysis=o.analysis) for o in outcomes
        ]
    gc.collect()  # figures hold one another; left alone they pile up for many cases
    return CaseOutcome(
        case=case.name,
        jobs=tuple(outcomes),
        notes=tuple(notes),
        disk_full=disk_full,
        resident_mib=resident_memory_mib(),
    )


class _Memory:
    """Lungs, lobes, vessels of the scans of a case, for those of its analyses that come later."""

    def __init__(self, out: Path, case: Case) -> None:
        self.folder = _part_folder(out, case.name) / "shared"
        self.wanted = len(case.jobs) > 1
        self.clear()  # what another process left is not read

    def open(self) -> AbstractContextManager[None]:
        """Let an analysis keep and find them."""
        if not self.wanted:
            return contextlib.nullcontext()
        return remembering(self.folder, only=_SHARED_STEPS)

    def clear(self) -> None:
        """Remove them."""
        shutil.rmtree(self.folder, ignore_errors=True)


def unchanged(case: Case, out: Path) -> CaseOutcome | None:
    """Tell, without reading any image, whether a case is done as it stands; None if not."""
    seen = _Seen(out, case.name)
    published = _published(out, case.name, seen)
    if published is None or published["failed"]:
        return None
    if not is_archived(case, out, case_folder(out, case.name)):
        return None
    found = {}
    for job in case.jobs:
        try:
            digests = seen.remembered(job)
        except OSError:
            return None
        if digests is None:
            return None
        found[job.analysis] = job_key(job, digests)
    if found != {name: entry["key"] for name, entry in published["analyses"].items()}:
        return None
    with contextlib.suppress(OSError):  # it will be hashed again then
        seen.write()
    return CaseOutcome(
        case=case.name,
        jobs=tuple(JobOutcome(analysis=name, status="kept") for name in found),
    )


# --------------------------------------------------------------------------------- one analysis


def _one(
    job: Job,
    case: str,
    out: Path,
    key: str,
    published: Mapping[str, Any] | None,
    progress: Progress,
) -> tuple[Path, JobOutcome]:
    """Take the finished analysis, or run it."""
    if published is not None and published["analyses"].get(job.analysis, {}).get("key") == key:
        folder = case_folder(out, case) / job.analysis
        return folder, JobOutcome(analysis=job.analysis, status="kept")
    folder = _part_folder(out, case) / f"{job.analysis}-{key[:16]}"
    if is_whole(folder):
        return folder, JobOutcome(analysis=job.analysis, status="kept")
    before = {role: input_fingerprint(paths) for role, paths in job.inputs.items()}
    if shutil.disk_usage(out).free < LEAST_FREE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    started, cpu_started = time.perf_counter(), time.process_time()
    arguments = argparse.Namespace(
        **{**job.arguments, "case": case, "out": folder, "overwrite": True, "writer": write_parts}
    )
    with watched_memory() as memory, _quiet():
        importlib.import_module(job.module).run(arguments, progress)
    if before != {role: input_fingerprint(paths) for role, paths in job.inputs.items()}:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError("an input changed while it was being read; wait until it is written")
    return folder, JobOutcome(
        analysis=job.analysis,
        status="done",
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - cpu_started,
        peak_memory_mib=memory.peak_mib,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what a command prints out of the batch's own display; results have the warnings."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        yield


def _failure(error: Exception, job: Job, case: Case, out: Path) -> tuple[JobOutcome, bool]:
    """Put an exception into words, without any path."""
    full = is_disk_full(error)
    try_again = False
    if full:
        reason = "the disk is full; free space and run again with --resume"
    elif is_out_of_memory(error):
        reason, try_again = "out of memory; run it with fewer workers, or on a larger machine", True
    elif isinstance(error, InputError):
        reason = error.without_names(_roles(job))
    elif isinstance(error, OSError):
        reason = in_words(error) or type(error).__name__
    else:
        reason = (
            f"unexpected {type(error).__name__}; see OUT/.batch/log/{case.name}-{job.analysis}.txt"
        )
        _log(error, job, case, out)
    outcome = JobOutcome(
        analysis=job.analysis,
        status="failed",
        reason=" ".join(_without_paths(reason, job, out).split()),
        try_again=try_again,
    )
    return outcome, full


def _roles(job: Job) -> dict[str, str]:
    """How a table calls the inputs: their names may be those of patients."""
    return {
        text: f"<{role}>"
        for role, paths in job.inputs.items()
        for path in paths
        for text in (str(path), path.as_posix(), path.name)
    }


def _without_paths(text: str, job: Job, out: Path) -> str:
    """Take whole paths out of what an exception of another library says."""
    for name, role in _roles(job).items():
        if os.sep in name or "/" in name:
            text = text.replace(name, role)
    return text.replace(str(out), "OUT")


def _log(error: Exception, job: Job, case: Case, out: Path) -> None:
    """Keep the traceback of a programming error, without what was said: that may be a name."""
    lines = []
    cause: BaseException | None = error
    while cause is not None:
        lines += [
            f"{type(cause).__name__}, the last of:\n",
            *traceback.format_tb(cause.__traceback__),
        ]
        cause = cause.__cause__ or cause.__context__
    lines.append("Messages are left out, as they may name a patient; run the command alone.\n")
    with contextlib.suppress(OSError):
        folder = out / ".batch" / "log"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{case.name}-{job.analysis}.txt"
        path.write_text("".join(lines), encoding="utf-8", errors="replace", newline="\n")


# ----------------------------------------------------------------------------------- publishing


def _publish(
    case: Case,
    out: Path,
    folders: Mapping[str, tuple[str, Path]],
    outcomes: list[JobOutcome],
    published: Mapping[str, Any] | None,
    tell: Callable[[str], None],
) -> None:
    """Make the case's folder from its analyses, if anything about it is new."""
    failures = {o.analysis: o.reason for o in outcomes if o.status == "failed"}
    keys = {name: key for name, (key, _) in folders.items()}
    if published is not None:
        before = {name: entry["key"] for name, entry in published["analyses"].items()}
        if keys == before and failures == published["failed"]:
            remove_parts(out, case.name)
            return
    if not folders:
        return
    target = case_folder(out, case.name)
    private = any(job.arguments.get("keep_identifiers") for job in case.jobs)
    with results_folder(target, overwrite=True, mend=True, private=private, tell=tell) as new:
        for name, (_, folder) in folders.items():
            _link_files(folder, new / name)
        write_case(new, case.name, keys, failures)
    if not failures:
        remove_parts(out, case.name)


def write_case(
    folder: Path, case: str, keys: Mapping[str, str], failures: Mapping[str, str]
) -> None:
    """Write what joins the analyses of a case beside their folders.

    Parameters
    ----------
    folder
        Folder with one subfolder per analysis.
    case
        Name of the case.
    keys
        Hash of what each analysis rests on.
    failures
        Reason by name of an analysis that could not be computed.

    """
    read = [read_parts(folder / name) for name in keys]
    rows = [row for name in keys for row in measurement_rows(folder / name)]
    _write_text(folder / "measurements.csv", csv_text(rows, COLUMNS))
    table, columns = region_rows(rows)
    _write_text(folder / "regions.csv", csv_text(table, columns))
    if any(report for _, _, report in read):
        page = joined_report(
            [analysis for analysis, _, _ in read],
            case=case,
            provenances=[provenance for _, provenance, _ in read],
            failures=failures,
        )
        _write_text(folder / "report.html", page)
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    record = {
        "format": RESULTS_FORMAT,
        "case": case,
        "notice": "Research software. Not for diagnosis.",
        "software": "SlicerLungPerfusion",
        "version": lungperfusion.__version__,
        "analyses": {
            name: {"key": key, "inputs": provenance["inputs"]}
            for (name, key), (_, provenance, _) in zip(keys.items(), read, strict=True)
        },
        "failed": dict(failures),
        "files": [*files, _RESULTS],
    }
    write_json(record, folder / _RESULTS)


def measurement_rows(folder: Path) -> Iterator[dict[str, str]]:
    """Rows of the measurements.csv in a folder, as they are written."""
    with (folder / "measurements.csv").open(encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)


def _published(out: Path, case: str, seen: _Seen) -> dict[str, Any] | None:
    """Read the record of a case's folder; None if it is not whole, byte for byte."""
    folder = case_folder(out, case)
    try:
        record = json.loads((folder / _RESULTS).read_text(encoding="utf-8"))
        keys = {name: {"key": str(entry["key"])} for name, entry in record["analyses"].items()}
        failed = {str(name): str(reason) for name, reason in record["failed"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return {"analyses": keys, "failed": failed} if seen.results_are_whole(folder) else None


def restore(out: Path, case: str) -> None:
    """Clean up after a worker that was killed while it wrote or swapped folders."""
    folder = case_folder(out, case)
    recover(folder)
    folder.with_name(f".{case}.lock").unlink(missing_ok=True)
    for entry in _part_folder(out, case).glob(".*"):  # an analysis that is not whole is made anew
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _part_folder(out: Path, case: str) -> Path:
    return out / ".batch" / "part" / case


def remove_parts(out: Path, case: str) -> None:
    """Remove analyses that were kept for a case that is whole now."""
    shutil.rmtree(_part_folder(out, case), ignore_errors=True)


def _link_files(source: Path, target: Path) -> None:
    """Copy what an analysis wrote without its bytes where the file system can."""
    listed = read_checksums(source)
    if listed is None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    for name in (*listed, CHECKSUMS_FILE):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / name, copy)
        except OSError as error:
            if is_disk_full(error):
                raise
            shutil.copyfile(source / name, copy)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


# ------------------------------------------------------------------------------- hashes of inputs


_RESULTS_SEEN = "results"


class _Seen:
    """Hashes of the inputs of one case, with the fingerprints they were taken at.

    Also the fingerprint of its results when they were last found to have the bytes that they were
    written with.
    """

    def __init__(self, out: Path, case: str) -> None:
        self._path = out / ".batch" / "seen" / f"{case}.json"
        self._entries: dict[str, list[str]] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
            entries = json.loads(self._path.read_text(encoding="utf-8")).items()
            self._entries = {name: entry for name, entry in entries if _is_pair(entry)}
        self._changed = False

    def remembered(self, job: Job) -> dict[str, str] | None:
        """Hash by role; None if any input has changed or is new."""
        digests = {}
        for role, paths in job.inputs.items():
            entry = self._entries.get(f"{job.analysis}:{role}", ["", ""])
            if entry[0] != input_fingerprint(paths):
                return None
            digests[role] = entry[1]
        return digests

    def digests(self, job: Job) -> dict[str, str]:
        """Hash by role, taken again where an input has changed."""
        digests = {}
        for role, paths in job.inputs.items():
            name, fingerprint = f"{job.analysis}:{role}", input_fingerprint(paths)
            entry = self._entries.get(name, ["", ""])
            if entry[0] != fingerprint:
                entry = self._entries[name] = [fingerprint, input_digest(paths)]
                self._changed = True
            digests[role] = entry[1]
        return digests

    def results_are_whole(self, folder: Path) -> bool:
        """Whether all files have the bytes they were written with; reads them if touched."""
        listed = read_checksums(folder)
        found = None if listed is None else results_fingerprint(folder, listed)
        if found is None:
            return False
        if self._entries.get(_RESULTS_SEEN, ["", ""])[0] == found:
            return True
        if not is_whole(folder):
            return False
        self.remember_results(folder)
        return True

    def remember_results(self, folder: Path) -> None:
        """Note that the results are whole as they stand."""
        listed = read_checksums(folder)
        found = None if listed is None else results_fingerprint(folder, listed)
        if found is not None and self._entries.get(_RESULTS_SEEN) != [found, ""]:
            self._entries[_RESULTS_SEEN] = [found, ""]
            self._changed = True

    def write(self) -> None:
        """Keep them for the next run."""
        if self._changed:
            with atomic_path(self._path) as path:
                write_json(self._entries, path)


def _is_pair(entry: object) -> bool:
    return (
        isinstance(entry, list) and len(entry) == 2 and all(isinstance(text, str) for text in entry)
    )
