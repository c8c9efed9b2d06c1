"""Results of long steps that later runs need again, kept in a folder.

A step is a pure function of its arguments, so its result is stored under a digest of them.  After
a correction the arguments of some steps have changed, and only those are carried out again; the
analyses of one case find the lungs of a scan once.  Numbers are the same as without any memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

import numpy as np

from lungperfusion import __version__
from lungperfusion.progress import Progress, ignore

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

KEPT_RESULTS = 3
"""Results of each step that stay: those of the scans of a case, or of the states of a review."""


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
        Must be the user's own: results are read back with ``pickle``.
    only
        Names of the functions whose results are kept; all by default.

    """
    folder.mkdir(parents=True, exist_ok=True)
    token = _memory.set(_Memory(folder, only))
    try:
        yield
    finally:
        _memory.reset(token)


def remembered(
    step: Callable[Parameters, Result], *arguments: Parameters.args, **options: Parameters.kwargs
) -> Result:
    """Return what a step gives, from memory if it has been given the same arguments before.

    ``progress`` plays no part in the comparison.  A step must not depend on anything else than its
    arguments and this version of the program.
    """
    memory = _memory.get()
    if memory is None or (memory.only and step.__name__ not in memory.only):
        return step(*arguments, **options)
    folder = memory.folder
    name = f"{step.__module__}.{step.__qualname__}"
    given = {key: value for key, value in options.items() if key != "progress"}
    path = folder / f"{name}-{_digest((__version__, arguments, given))}.pickle"
    if path.exists():
        with path.open("rb") as stream:
            result: Result = pickle.load(stream)
        path.touch()
        report = options.get("progress", ignore)
        assert callable(report)
        _tell(report, step.__name__)
        return result
    result = step(*arguments, **options)
    try:
        _keep(result, path)
    except OSError:  # a full disk costs time at the next run, not this result
        path.with_suffix(".part").unlink(missing_ok=True)
    _forget_oldest(folder, name)
    return result


def _keep(result: object, path: Path) -> None:
    with path.with_suffix(".part").open("wb") as stream:
        _Pickler(stream, protocol=pickle.HIGHEST_PROTOCOL).dump(result)
    path.with_suffix(".part").replace(path)


class _Pickler(pickle.Pickler):
    """Knows read-only mappings, which ``pickle`` does not."""

    def reducer_override(self, value: Any) -> Any:
        """Store a read-only mapping as what it shows."""
        if isinstance(value, MappingProxyType):
            return _read_only, (dict(value),)
        return NotImplemented


def _read_only(values: dict[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(values)


def _tell(progress: Progress, step: str) -> None:
    progress(1.0, f"{step.replace('_', ' ')}: as before")


def _forget_oldest(folder: Path, name: str) -> None:
    kept = sorted(folder.glob(f"{name}-*.pickle"), key=lambda path: path.stat().st_mtime_ns)
    for path in kept[:-KEPT_RESULTS]:
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
