"""A lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""How a file system says that it knows no locks; then there is none."""

_OPEN_ATTEMPTS = 20  # Windows keeps a file that another process is removing for a moment


class LockedError(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock as long as the block runs; its file is removed at the end.

    Parameters
    ----------
    path
        File that stands for the lock, in a folder that exists.  What a killed process left there
        is no obstacle.

    Raises
    ------
    LockedError
        At once, if another process (or another block of this one) holds it.
    OSError
        If the file cannot be made.

    """
    stream = _open(path)
    try:
        yield
    finally:
        if os.name == "nt":  # an open file cannot be removed there, elsewhere a closed one may be
            stream.close()  # another's already
            with suppress(OSError):
                path.unlink()
        else:
            with suppress(OSError):
                path.unlink()
            stream.close()


def _open(path: Path) -> BinaryIO:
    """Open and lock the file that bears the name now, not one that was just removed."""
    for attempt in range(_OPEN_ATTEMPTS):
        try:
            stream = path.open("a+b")
        except PermissionError:
            if os.name != "nt" or attempt == _OPEN_ATTEMPTS - 1:
                raise
            time.sleep(0.05)
            continue
        try:
            take_lock(stream)
            if os.name == "nt" or _bears(stream, path):  # no open file can be removed on Windows
                return stream
        except BaseException:
            stream.close()
            raise
        stream.close()
    raise LockedError(path)


def _bears(stream: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def take_lock(stream: BinaryIO) -> None:
    """Lock an open file until it is closed or this process ends.

    Raises
    ------
    LockedError
        If another process holds it.

    """
    try:
        if sys.platform == "win32":
            import msvcrt

            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return
        raise LockedError(stream.name) from error
