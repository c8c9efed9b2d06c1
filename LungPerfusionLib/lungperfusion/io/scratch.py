"""Temporary folders that do not outlive a killed process for long."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lungperfusion.io.locks import LockedError, locked

_PREFIX = "lungperfusion-scratch-"
_LOCK = ".lock"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder that nobody else can read, removed with the block.

    If this process is killed in it, `sweep_scratch` of the next one removes it.
    """
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = folder.with_name(folder.name + _LOCK)
    try:
        with locked(lock):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_scratch() -> None:
    """Remove the folders of processes that are no more."""
    root = Path(tempfile.gettempdir())
    with suppress(OSError):
        for folder in root.glob(f"{_PREFIX}*"):
            if not folder.is_dir() or not _is_own(folder):
                continue
            with suppress(OSError, LockedError), locked(folder.with_name(folder.name + _LOCK)):
                shutil.rmtree(folder, ignore_errors=True)


def _is_own(folder: Path) -> bool:
    return os.name == "nt" or folder.stat().st_uid == os.getuid()
