"""When a result still holds: hashes of inputs, settings and code.

Reading all inputs again only to hash them would take hours for a large cohort.  So the hash of a
file is remembered with its size and time stamps, and taken again only where these have changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lungperfusion.batch.cases import Job
from lungperfusion.io.files import data_files, file_sha256, is_image_file
from lungperfusion.results.writing import RESULTS_FORMAT
from lungperfusion.source import source_digest

_NO_SETTINGS = frozenset(
    {"overwrite", "run", "command", "quiet", "writer", "case", "out", "keep_stages"}
)


def job_key(job: Job, digests: Mapping[str, str]) -> str:
    """Hash of everything that a result rests on.

    Parameters
    ----------
    job
        The analysis with its settings.
    digests
        SHA-256 of the inputs, by role.

    """
    content = {
        "analysis": job.analysis,
        "source": source_digest(),
        "format": RESULTS_FORMAT,
        "settings": _settings(job),
        "inputs": dict(digests),
    }
    return _text_sha256(json.dumps(content, sort_keys=True, default=str))


def input_digest(paths: Iterable[Path]) -> str:
    """SHA-256 over the content of files and folders; file names count, where they lie does not."""
    lines = [
        f"{name}\t{file_sha256(path)}\n" for given in paths for name, path in _files(Path(given))
    ]
    return _text_sha256("".join(lines))


def input_fingerprint(paths: Iterable[Path]) -> str:
    """Hash of names, sizes and time stamps: tells cheaply that nothing has changed."""
    lines = []
    for given in paths:
        for name, path in _files(Path(given)):
            stat = path.stat()
            # Creation time on Windows; elsewhere it betrays a change with the old date restored.
            changed_ns = 0 if os.name == "nt" else stat.st_ctime_ns
            lines.append(f"{given}\t{name}\t{stat.st_size}\t{stat.st_mtime_ns}\t{changed_ns}\n")
    return _text_sha256("".join(lines))


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """All files that reading a path may read, with their names below it."""
    if path.is_dir():
        files = sorted(entry for entry in path.rglob("*") if entry.is_file())
        yield from ((file.relative_to(path).as_posix(), file) for file in files)
    elif is_image_file(path):
        yield "", path
        yield from ((file.name, file) for file in data_files(path))
    elif path.suffix.lower() == ".zip":
        yield "", path
    else:  # one DICOM file stands for its series, which is read from its folder
        files = sorted(entry for entry in path.parent.iterdir() if entry.is_file())
        yield from ((file.name, file) for file in files)


def _settings(job: Job) -> dict[str, Any]:
    """Arguments that shape the result, without its inputs."""
    return {
        name: value
        for name, value in job.arguments.items()
        if name not in _NO_SETTINGS and name not in job.inputs
    }


def _text_sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
