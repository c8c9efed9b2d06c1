"""Ordinary trouble of a machine in words: a full disk, a name too long, no memory.

What is no fault of this program is told in one sentence, without a traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from lungperfusion.errors import InputError

_DISK_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_NO_MEMORY_WORDS = (
    *("bad_alloc", "Failed to allocate memory", "Cannot allocate memory"),
    *("can't start new thread", "failed to map segment", "cannot map zero-fill pages"),
)
"""How compiled libraries, threads and the loader of libraries say that there is no memory."""

_ADVICE = {
    errno.EFBIG: "a file would grow beyond the size allowed here; raise that limit (ulimit -f)",
    errno.ENAMETOOLONG: "a file or folder name is too long for this system; choose a shorter one",
    errno.EROFS: "the disk is read-only; choose another output",
    errno.EMFILE: "too many files are open; raise that limit (ulimit -n)",
    errno.EIO: "the disk or network failed while reading or writing; check it and run again",
}


_WINDOWS_NOT_FOUND, _WINDOWS_NAME_TOO_LONG = 3, 206
"""ERROR_PATH_NOT_FOUND and ERROR_FILENAME_EXCED_RANGE."""
_WINDOWS_LONGEST_PATH = 247
"""Characters of a folder's path, where long paths are not switched on (MAX_PATH less 8.3)."""


def in_words(error: BaseException) -> str | None:
    """Say what went wrong and what to do, without any name; None for what may be a fault here."""
    if is_disk_full(error):
        return "the disk is full; free space and run again"
    if is_out_of_memory(error):
        return "out of memory; close other programs, or use a larger machine"
    if isinstance(error, OSError):
        if _is_too_long_for_windows(error):
            return _ADVICE[errno.ENAMETOOLONG]
        if error.errno in _ADVICE:
            return _ADVICE[error.errno]
        return (
            f"{error.strerror or type(error).__name__}; check the disk, and whether you may use it"
        )
    return None


def _is_too_long_for_windows(error: OSError) -> bool:
    """Whether Windows found no such path for its length, which it calls not found."""
    code, name = getattr(error, "winerror", None), str(error.filename or "")
    too_long = code == _WINDOWS_NOT_FOUND and len(name) > _WINDOWS_LONGEST_PATH
    return too_long or code == _WINDOWS_NAME_TOO_LONG


def is_disk_full(error: BaseException) -> bool:
    """Whether an error goes back to a full disk."""
    return any(
        (isinstance(cause, OSError) and cause.errno in _DISK_FULL) or "No space left" in str(cause)
        for cause in _causes(error)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error goes back to a lack of memory."""
    return any(
        isinstance(cause, MemoryError)
        or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        or (
            isinstance(cause, RuntimeError | ImportError)
            and any(words in str(cause) for words in _NO_MEMORY_WORDS)
        )
        for cause in _causes(error)
    )


def import_refusal(error: ImportError, *, need: str, remedy: str) -> InputError:
    """Say why an optional library is not there; a lack of memory is raised on as what it is.

    Parameters
    ----------
    error
        What its import ended with.
    need
        What needs which library, such as ``"pictures need matplotlib"``.
    remedy
        What to do.

    """
    if is_out_of_memory(error):
        raise error
    if isinstance(error, ModuleNotFoundError):
        return InputError(f"{need}, which is not installed; {remedy}")
    return InputError(f"{need}, which is installed but cannot be loaded; {remedy}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
