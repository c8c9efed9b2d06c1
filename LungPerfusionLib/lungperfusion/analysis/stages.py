"""Results of long steps that later runs need again, kept in a folder.

A step is a pure function of its arguments, so its result is stored under a digest of them.  After
a correction the arguments of some steps have changed, and only those are carried out again; the
analyses of one case find the lungs of a scan once.  Numbers are the same as without any memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from lungperfusion.errors import InputError
from lungperfusion.io.atomic import remove_partial_files
from lungperfusion.io.records import DamagedRecordError, read_record, write_record
from lungperfusion.naming import named
from lungperfusion.progress import Progress, ignore
from lungperfusion.results.provenance import library_versions
from lungperfusion.source import source_digest

KEPT_RESULTS = 3
"""Results of each step that stay: those of the scans of a case, or of the states of a review."""


OF_EACH_LUNG = frozenset(("prepare_lung", "fit_fissures"))
"""Steps that have two results for each of those."""


@dataclasses.dataclass(frozen=True)
class _Memory:
    folder: Path
    only: Collection[str]


_memory: ContextVar[_Memory | None] = ContextVar("where results of steps are kept", default=None)


@contextmanager
def remembering(folder: Path, *, only: Collection[str] = ()) -> Iterator[None]:
    """Let `remembered` keep results; outside of this every step is carried out.

    Parameters
    ----------
    folder
        Made where it is not there.  Results are read back as arrays and plain records, so that
        a file of somebody else can give a wrong number but run nothing.
    only
        Names of the functions whose results are kept; all by default.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"results of steps cannot be kept in {named(folder)} ({error.strerror}); choose a "
            "folder that you may write to"
        ) from error
    remove_partial_files(folder)
    token = _memory.set(_Memory(folder, only))
    try:
        yield
    finally:
        _memory.reset(token)


def remembered[**Parameters, Result](
    step: Callable[Parameters, Result], *arguments: Parameters.args, **options: Parameters.kwargs
) -> Result:
    """Return what a step gives, from memory if it has been given the same arguments before.

    ``progress`` plays no part in the comparison.  A step must not depend on anything else than its
    arguments, this code and its libraries.
    """
    memory = _memory.get()
    if memory is None or (memory.only and step.__name__ not in memory.only):
        return step(*arguments, **options)
    folder = memory.folder
    name = f"{step.__module__}.{step.__qualname__}"
    given = {key: value for key, value in options.items() if key != "progress"}
    code = (source_digest(), library_versions())
    path = folder / f"{name}-{_digest((code, arguments, given))}.npz"
    with suppress(DamagedRecordError):  # not there, cut short, or of somebody else
        result: Result = read_record(path)
        with suppress(OSError):
            path.touch()
        report = options.get("progress", ignore)
        assert callable(report)
        _tell(report, step.__name__)
        return result
    result = step(*arguments, **options)
    with suppress(OSError, InputError):  # a full disk costs time at the next run, not this result
        write_record(result, path)
        _forget_oldest(folder, name, KEPT_RESULTS * (2 if step.__name__ in OF_EACH_LUNG else 1))
    return result


def _tell(progress: Progress, step: str) -> None:
    progress(1.0, f"{step.replace('_', ' ')}: as before")


def _forget_oldest(folder: Path, name: str, count: int) -> None:
    kept = sorted(folder.glob(f"{name}-*.npz"), key=lambda path: path.stat().st_mtime_ns)
    for path in kept[:-count]:
        path.unlink(missing_ok=True)


def _digest(value: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(value):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes | memoryview[int]]:
    """Everything that tells a value from another one, as bytes.

    Raises
    ------
    TypeError
        For what could change its meaning unseen, such as a function or an open file.

    """
    yield type(value).__name__.encode()
    if isinstance(value, np.ndarray):
        yield f"{value.dtype.str}{value.shape}".encode()
        yield np.ascontiguousarray(value).data
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield field.name.encode()
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, Mapping):
        yield f"{len(value)}".encode()  # where it ends: ((1,), 2) is not ((1, 2),)
        for key in value:
            yield from _parts(key)
            yield from _parts(value[key])
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        yield f"{len(value)}".encode()
        for item in value:
            yield from _parts(item)
    elif value is None or isinstance(value, str | bool | int | float | np.generic):
        yield json.dumps(value if not isinstance(value, np.generic) else value.item()).encode()
    elif isinstance(value, slice):
        yield repr(value).encode()
    else:
        raise TypeError(f"a step cannot be remembered by an argument of {type(value).__name__}")
