"""DICOM objects of the cases of a batch: ``OUT/dicom/CASE/ANALYSIS``, whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from lungperfusion.batch.cases import Case, Job
from lungperfusion.batch.parts import write_json
from lungperfusion.errors import InputError
from lungperfusion.io import atomic_path, results_folder
from lungperfusion.io.checksums import CHECKSUMS_FILE
from lungperfusion.progress import Progress, part
from lungperfusion.trouble import in_words


def archive_folder(out: Path, case: str, analysis: str) -> Path:
    """Where the objects of an analysis are, once they are whole."""
    return out / "dicom" / case / analysis


def is_archived(case: Case, out: Path, results: Path) -> bool:
    """Whether nothing is left to write: none is wanted, or all is there for these results."""
    if not case.dicom:
        return True
    written = _written(out, case.name)
    return all(
        archive_folder(out, case.name, job.analysis).is_dir()
        and written.get(job.analysis) == _key(case, results / job.analysis)
        for job in case.jobs
    )


def archive_case(
    case: Case, out: Path, results: Path, done: Iterable[str], progress: Progress
) -> list[str]:
    """Write the objects of all analyses that are done and whose results are new.

    Parameters
    ----------
    case
        With ``dicom`` set.
    out
        Output folder of the batch.
    results
        The case's folder.
    done
        Analyses that have results.
    progress
        Told how far it is.

    Returns
    -------
    list of str
        What could not be written, with the reason, without any path.

    """
    notes = []
    written = _written(out, case.name)
    jobs = [job for job in case.jobs if job.analysis in set(done)]
    for number, job in enumerate(jobs):
        folder = archive_folder(out, case.name, job.analysis)
        key = _key(case, results / job.analysis)
        if folder.is_dir() and written.get(job.analysis) == key:
            continue
        share = part(progress, number / len(jobs), (number + 1) / len(jobs))
        try:
            _archive(case, job, results / job.analysis, folder, share)
            written[job.analysis] = key
        except InputError as error:
            notes.append(f"no DICOM of {job.analysis}: {error.without_names()}")
        except OSError as error:
            reason = in_words(error) or type(error).__name__
            notes.append(f"no DICOM of {job.analysis}: {reason}")
    with atomic_path(_record(out, case.name)) as path:
        write_json(written, path)
    return notes


def _archive(case: Case, job: Job, results: Path, folder: Path, progress: Progress) -> None:
    """Write the objects beside the first input whose grid the results have."""
    from lungperfusion.archive.results import read_results  # slow to import: highdicom
    from lungperfusion.archive.source import read_source
    from lungperfusion.archive.writing import ArchiveOptions, write_objects

    finished = read_results(results)
    options = ArchiveOptions(anonymise=case.dicom == "anonymised")
    refusal = InputError("none of its inputs is a DICOM series")
    for role in finished.inputs:
        for path in job.inputs.get(role, ()):
            try:
                source = read_source(path, series_uid=job.arguments.get("series"))
                with results_folder(folder, overwrite=True, mend=True) as new:
                    write_objects(new, finished, source, options, progress)
                return
            except InputError as error:
                refusal = error
    shutil.rmtree(folder, ignore_errors=True)  # of earlier results
    raise refusal


def _key(case: Case, results: Path) -> str:
    """Hash of what the objects of an analysis follow from."""
    with contextlib.suppress(OSError):
        listed = (results / CHECKSUMS_FILE).read_bytes()
        return hashlib.sha256(listed + case.dicom.encode()).hexdigest()
    return ""


def _record(out: Path, case: str) -> Path:
    return out / ".batch" / "dicom" / f"{case}.json"


def _written(out: Path, case: str) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
        entries = json.loads(_record(out, case).read_text(encoding="utf-8")).items()
        return {str(name): str(key) for name, key in entries}
    return {}
