"""Silence of compiled libraries, which print paths of files and of their own sources."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_lock = threading.Lock()
_kept: list[int] = []
"""Copy of standard error while any thread is silent, once for each of them."""


@contextmanager
def silent_libraries() -> Iterator[None]:
    """Let what compiled libraries print on standard error go nowhere.

    It tells a user nothing and does not belong into the log of a batch; what is wrong is raised as
    well.  The first thread that comes here closes standard error, and the last one opens it.
    """
    with _lock:
        _kept.append(_kept[0] if _kept else _closed_error())
    try:
        yield
    finally:
        with _lock:
            kept = _kept.pop()
            if not _kept and kept >= 0:
                os.dup2(kept, 2)
                os.close(kept)


def _closed_error() -> int:
    """Point standard error nowhere and return a copy of it; -1 where there is none."""
    try:
        kept = os.dup(2)
    except OSError:
        return -1
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    return kept
