"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lungperfusion.errors import InputError

RESULTS_FILE = "results.json"
"""Marks a folder that this project wrote, and lists the files in it under ``files``."""

_RENAME_ATTEMPTS = 5  # virus scanners on Windows hold a fresh file open for a moment


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside a file; the finished file replaces ``target`` on leaving.

    Parameters
    ----------
    target
        File to write; folders above it are created.

    Yields
    ------
    pathlib.Path
        Where to write; same suffixes as ``target``, so writers choose the same format.  Removed
        if the block raises.

    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{secrets.token_hex(4)}.partial.{target.name}")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        _rename(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def results_folder(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give an empty temporary folder that becomes ``out`` when the block ends without error.

    Parameters
    ----------
    out
        Results folder to make; it may exist when it is empty.
    overwrite
        Whether to replace an earlier result there.  Only files that its ``results.json`` lists
        are replaced; other files of the user are kept.

    Yields
    ------
    pathlib.Path
        Folder to write into, beside ``out``.  Removed if the block raises or is interrupted.

    Raises
    ------
    InputError
        Before any work: ``out`` is a file, holds results without ``overwrite``, or holds files
        but no results of this project.

    """
    out = Path(os.path.abspath(out))  # noqa: PTH100  # absolute, but OUT itself may be a link
    if out.is_symlink():
        out = out.resolve()
    replaced = _replaceable_files(out, overwrite)
    made_parents = _make_parents(out)
    temporary = out.with_name(f".{out.name[:80]}.partial-{secrets.token_hex(4)}")
    try:
        temporary.mkdir()
    except OSError as error:
        _remove_empty(made_parents)
        raise InputError(
            f"cannot write beside {out} ({error.strerror}); choose an output folder that you may "
            "write to"
        ) from error
    try:
        yield temporary
        _keep_other_files(out, temporary, replaced)
        _swap_folders(temporary, out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(made_parents)
        raise


def _replaceable_files(out: Path, overwrite: bool) -> set[str]:
    """Names of the earlier result's files; refuse a folder that must not be touched."""
    if not out.exists():
        return set()
    if not out.is_dir():
        raise InputError(f"the output {out} is a file; name a folder")
    if not any(out.iterdir()):
        return set()
    listed = _listed_files(out / RESULTS_FILE)
    if listed is None:
        raise InputError(
            f"the output folder {out} holds files but no results of this program "
            f"(no {RESULTS_FILE} that lists them); choose an empty or new folder"
        )
    if not overwrite:
        raise InputError(
            f"the output folder {out} holds results already; give --overwrite to replace them, "
            "or choose another folder"
        )
    return listed


def _listed_files(path: Path) -> set[str] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    files = record.get("files") if isinstance(record, dict) else None
    if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
        return None
    return {*files, RESULTS_FILE}


def _keep_other_files(old: Path, new: Path, replaced: set[str]) -> None:
    """Bring the user's own files along; a new result of the same name wins."""
    if not old.is_dir():
        return
    for source in sorted(old.rglob("*")):
        name = source.relative_to(old)
        target = new / name
        if source.is_dir() and not source.is_symlink():
            if not any(source.iterdir()):
                target.mkdir(parents=True, exist_ok=True)
        elif name.as_posix() not in replaced and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(source, target)


def _link_or_copy(source: Path, target: Path) -> None:
    if not source.is_symlink():
        with suppress(OSError):  # no hard links on this file system
            os.link(source, target)
            return
    shutil.copy2(source, target, follow_symlinks=False)


def _swap_folders(new: Path, out: Path) -> None:
    """Put ``new`` in the place of ``out``; if that fails ``out`` is what it was."""
    if not out.exists():
        _rename(new, out)
        return
    old = out.with_name(f".{out.name[:80]}.old-{secrets.token_hex(4)}")
    _rename(out, old)
    try:
        _rename(new, out)
    except BaseException:
        _rename(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _rename(source: Path, target: Path) -> None:
    for attempt in range(_RENAME_ATTEMPTS):
        try:
            source.replace(target)
            return
        except PermissionError as error:
            if attempt == _RENAME_ATTEMPTS - 1:
                raise InputError(
                    f"{target} cannot be written: it is open in another program, or you may not "
                    "write there; close it or choose another output"
                ) from error
            time.sleep(0.1 * 2**attempt)


def _make_parents(out: Path) -> list[Path]:
    """Create the folders above and return those that were new, deepest first."""
    missing = [parent for parent in out.parents if not parent.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_empty(missing)
        raise InputError(
            f"cannot create the folder {out.parent} ({error.strerror}); choose an output folder "
            "that you may write to"
        ) from error
    return missing


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
