"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lungperfusion.errors import InputError
from lungperfusion.io.checksums import (
    CHECKSUMS_FILE,
    Checksum,
    files_below,
    is_as_written,
    read_checksums,
    sync_folder,
    write_checksums,
)
from lungperfusion.io.locks import LockedError, locked
from lungperfusion.io.windows_names import require_possible_name
from lungperfusion.naming import named

EDITED_FOLDER = "edited"
"""Where files of the user go that lie where a new result has to be."""

_RENAME_ATTEMPTS = 5  # virus scanners on Windows hold a fresh file open for a moment
_NOT_TO_BE_RENAMED = {errno.EBUSY, errno.EXDEV}
"""What renaming a folder says that is a mount point."""
_NAME_BYTES = 80
"""Bytes of a name that the names of temporary files beside it repeat; systems allow 255 in all."""
_PARTIAL = ".partial."
_INSIDE = ".lungperfusion"
"""Prefix of temporary names inside a results folder."""
_PUBLISHING = f"{_INSIDE}.publishing"
"""Names, in a folder that files are being moved into, the folder that they come from."""

Tell = Callable[[str], None]
"""Called with a sentence for the user."""


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
    temporary = target.with_name(f".{secrets.token_hex(4)}{_PARTIAL}{_short_file(target)}")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        _rename(temporary, target)
        sync_folder(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def kept_aside(target: Path, tell: Tell) -> Iterator[Path]:
    """Write one file as `atomic_path` does, and keep what lies there under another name.

    Parameters
    ----------
    target
        File to write.  A file there that differs from the new one becomes ``NAME.earlier-1.csv``
        (or the next free number).
    tell
        Told of it.

    """
    require_possible_name(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = locked(target.with_name(f".{_short(target.name)}.lock"))
        with lock:
            remove_partial_files(target.parent, _short_file(target))
            aside = None
            try:
                with atomic_path(target) as temporary:
                    yield temporary
                    if target.exists() and target.read_bytes() != temporary.read_bytes():
                        aside = next(path for path in _earlier(target) if not path.exists())
                        _link_or_copy(target, aside)
            except BaseException:  # the earlier file is still where it was
                if aside is not None:
                    aside.unlink(missing_ok=True)
                raise
            if aside is not None:
                tell(f"the earlier {target.name} is kept as {aside.name}")
    except LockedError as error:
        raise InputError(f"another run is writing {target}; wait for it") from error


def _earlier(target: Path) -> Iterator[Path]:
    for number in itertools.count(1):
        yield target.with_name(f"{target.stem}.earlier-{number}{target.suffix}")


def remove_partial_files(folder: Path, name: str = "") -> None:
    """Remove what `atomic_path` left in a folder when it was killed; no one else may write there.

    Parameters
    ----------
    folder
        Where to look.
    name
        Of the files that were to be written; of all when empty.

    """
    pattern = re.compile(rf"\.[0-9a-f]{{8}}{re.escape(_PARTIAL)}{re.escape(name) or '.+'}")
    with suppress(OSError):
        for path in folder.iterdir():
            if pattern.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _short_file(target: Path) -> str:
    """Name of a file short enough to be part of another one, with the same last suffixes."""
    suffixes = "".join(target.suffixes[-2:])
    if len(os.fsencode(suffixes)) > _NAME_BYTES // 4:
        suffixes = ""
    return _short(target.name.removesuffix(suffixes)) + suffixes


def _short(name: str) -> str:
    """Name short enough to be part of another one, and different for different names."""
    whole = os.fsencode(name)
    if len(whole) <= _NAME_BYTES:
        return name
    digest = hashlib.sha256(whole).hexdigest()[:8]
    return f"{whole[: _NAME_BYTES - 9].decode('utf-8', 'ignore')}-{digest}"


# ------------------------------------------------------------------------------ results folder


def say_nothing(sentence: str) -> None:
    """Tell nobody."""


@contextmanager
def results_folder(
    out: Path,
    *,
    overwrite: bool = False,
    mend: bool = False,
    private: bool = False,
    tell: Tell = say_nothing,
) -> Iterator[Path]:
    """Give an empty temporary folder that becomes ``out`` when the block ends without error.

    Parameters
    ----------
    out
        Results folder to make; it may exist when it is empty.
    overwrite
        Whether to replace an earlier result there.  Only files that still have the bytes they
        were written with (`CHECKSUMS_FILE`) are replaced.  Others are the user's: they stay, or
        move into the folder ``edited`` where a new file needs their place.
    mend
        Whether ``out`` is known to be this program's, so that a damaged list of its files is no
        reason to refuse it; nothing in it counts as ours then.
    private
        Whether nobody but the user may read the folder, as far as the system can see to that.
    tell
        Told what was kept aside.

    Yields
    ------
    pathlib.Path
        Folder to write into, beside ``out``.  Removed if the block raises or is interrupted.

    Raises
    ------
    InputError
        Before any work: ``out`` is a file, holds results without ``overwrite``, holds files but
        no results of this project, or another run is writing to it.  At the end: others have
        written there meanwhile.

    """
    out = _absolute(out)
    require_possible_name(out)
    _ours(out, overwrite, mend)
    made_parents = _make_parents(out)
    try:
        with _place(out) as place:
            recover(out)
            _ours(out, overwrite, mend)
            temporary = place.new_name("partial")
            _make_temporary(temporary, out)
            try:
                if private:
                    temporary.chmod(0o700)  # what is being written, too
                yield temporary
                written = write_checksums(temporary)
                if private:
                    _owner_only(temporary)
                _publish(temporary, out, _ours(out, overwrite, mend), written, place, tell)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
    except BaseException:
        _remove_empty(made_parents)
        raise


def _owner_only(folder: Path) -> None:
    folder.chmod(0o700)
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)


def recover(out: Path) -> None:
    """Clean up beside a folder and in it after a run that was killed while it wrote there.

    What was moved away comes back where nothing has come in its place, what was being moved in is
    moved in, everything half is removed.  To be called by who holds the folder.
    """
    out = _absolute(out)
    marker = out / _PUBLISHING
    if marker.is_file():
        _finish_moving(out, marker)
    for place in (_Place(out.parent, f".{_short(out.name)}"), _Place(out, _INSIDE)):
        for old in place.leftovers("old"):
            if out.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.replace(out)
        for partial in place.leftovers("partial"):
            shutil.rmtree(partial, ignore_errors=True)


def _absolute(out: Path) -> Path:
    out = Path(os.path.abspath(out))  # noqa: PTH100  # absolute, but OUT itself may be a link
    return out.resolve() if out.is_symlink() else out


@dataclass(frozen=True)
class _Place:
    """Where temporary folders of a results folder are: beside it, or in it."""

    folder: Path
    prefix: str

    def new_name(self, kind: str) -> Path:
        return self.folder / f"{self.prefix}.{kind}-{secrets.token_hex(4)}"

    def leftovers(self, kind: str) -> list[Path]:
        pattern = re.compile(rf"{re.escape(self.prefix)}\.{kind}-[0-9a-f]{{8}}")
        with suppress(OSError):
            return sorted(p for p in self.folder.iterdir() if pattern.fullmatch(p.name))
        return []


@contextmanager
def _place(out: Path) -> Iterator[_Place]:
    """Choose where to write, and hold ``out`` for this run alone."""
    places = [_Place(out.parent, f".{_short(out.name)}"), _Place(out, _INSIDE)]
    if not out.is_dir():
        del places[1]
    elif os.path.ismount(out):
        del places[0]
    with ExitStack() as held:
        for place in places:  # the folder above an existing one may not be the user's
            try:
                held.enter_context(locked(place.folder / f"{place.prefix}.lock"))
                break
            except LockedError as error:
                raise InputError(
                    f"another run is writing to {named(out)}; wait for it, or choose another folder"
                ) from error
            except OSError as error:
                if place is places[-1]:
                    raise InputError(_not_writable(out, error)) from error
        yield place


def _make_temporary(folder: Path, out: Path) -> None:
    try:
        folder.mkdir()
    except OSError as error:
        raise InputError(_not_writable(out, error)) from error


def _not_writable(out: Path, error: OSError) -> str:
    return (
        f"cannot write beside {out} ({error.strerror}); choose an output folder that you may "
        "write to"
    )


def _ours(out: Path, overwrite: bool, mend: bool) -> Mapping[str, Checksum]:
    """Files of the earlier result; refuse a folder that must not be touched."""
    if not out.exists():
        return {}
    if not out.is_dir():
        raise InputError(f"the output {named(out)} is a file; name a folder")
    if not any(not _is_temporary(entry) for entry in out.iterdir()):
        return {}
    listed = read_checksums(out)
    if listed is None and mend:
        return {}
    if listed is None:
        raise InputError(
            f"the output folder {named(out)} holds files but no results of this program "
            f"(no {CHECKSUMS_FILE} that lists them); choose an empty or new folder"
        )
    if not overwrite:
        raise InputError(
            f"the output folder {named(out)} holds results already; give --overwrite to replace "
            "them, or choose another folder"
        )
    return listed


def _is_temporary(entry: Path) -> bool:
    """Whether a run has an entry of a results folder while it works, or left it when killed."""
    kinds = r"(lock|publishing|(partial|old)-[0-9a-f]{8})"
    return re.fullmatch(rf"{re.escape(_INSIDE)}\.{kinds}", entry.name) is not None


# ---------------------------------------------------------------------------------- publishing


@dataclass
class _Plan:
    """What becomes of the files that lie in a results folder when new ones come."""

    stay: list[str] = field(default_factory=list)
    """The user's, and not in the way."""
    aside: dict[str, str] = field(default_factory=dict)
    """The user's and in the way, with the name they are kept under."""
    go: list[str] = field(default_factory=list)
    """Ours, not of the new result."""


def _plan(
    out: Path, ours: Mapping[str, Checksum], new: Mapping[str, Checksum], new_folders: set[str]
) -> _Plan:
    plan = _Plan()
    if not out.is_dir():
        return plan
    names = [n for n in files_below(out) if not _is_temporary(out / n.partition("/")[0])]
    edited = EDITED_FOLDER
    number = 1
    while edited in new or edited in new_folders or (out / edited).exists():
        number += 1
        edited = f"{EDITED_FOLDER}-{number}"
    for name in names:
        path = out / name
        if name == CHECKSUMS_FILE or is_as_written(path, new.get(name)):
            continue
        in_the_way = (
            name in new
            or name in new_folders
            or any(parent.as_posix() in new for parent in PurePosixPath(name).parents)
        )
        if is_as_written(path, ours.get(name)) or (in_the_way and _is_empty(path)):
            plan.go.append(name)
        elif in_the_way:
            plan.aside[name] = f"{edited}/{name}"
        else:
            plan.stay.append(name)
    return plan


def _is_empty(path: Path) -> bool:
    return not path.is_symlink() and path.stat().st_size == 0


def _publish(
    new: Path,
    out: Path,
    ours: Mapping[str, Checksum],
    written: Mapping[str, Checksum],
    place: _Place,
    tell: Tell,
) -> None:
    """Put the files of a finished folder in their place; if that fails ``out`` is what it was."""
    plan = _plan(out, ours, written, _folders_below(new))
    if place.folder == out:
        _move_in(new, out, plan)
    else:
        _bring_along(out, new, plan)
        try:
            _swap_folders(new, out, place)
        except OSError as error:
            if error.errno not in _NOT_TO_BE_RENAMED:
                raise
            _move_in(new, out, plan)
    for name, kept in plan.aside.items():
        tell(
            f"{name} was changed since it was written, or is not of this program; "
            f"it is kept as {kept}"
        )


def _folders_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_dir()}


def _bring_along(old: Path, new: Path, plan: _Plan) -> None:
    """Bring the user's own files along."""
    for name, kept in {**{name: name for name in plan.stay}, **plan.aside}.items():
        target = new / kept
        target.parent.mkdir(parents=True, exist_ok=True)
        _link_or_copy(old / name, target)
    if old.is_dir():
        for folder in sorted(old.rglob("*")):
            empty = folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
            target = new / folder.relative_to(old)
            if empty and not target.exists() and not _is_temporary(folder):
                target.mkdir(parents=True)


def _link_or_copy(source: Path, target: Path) -> None:
    if not source.is_symlink():
        with suppress(OSError):  # no hard links on this file system
            os.link(source, target)
            return
    shutil.copy2(source, target, follow_symlinks=False)


def _swap_folders(new: Path, out: Path, place: _Place) -> None:
    """Put ``new`` in the place of ``out``; if that fails ``out`` is what it was."""
    if not out.exists():
        _rename(new, out)
    else:
        old = place.new_name("old")
        _rename(out, old)
        try:
            _rename(new, out)
        except BaseException:
            _rename(old, out)
            raise
        shutil.rmtree(old, ignore_errors=True)
    sync_folder(out.parent)


def _move_in(new: Path, out: Path, plan: _Plan) -> None:
    """Put the files of ``new`` into ``out``, which cannot be renamed; the list of files comes last.

    If this process is killed meanwhile, `recover` goes on where it was.
    """
    (out / _PUBLISHING).write_text(os.path.relpath(new, out), encoding="utf-8")
    for name, kept in plan.aside.items():
        (out / kept).parent.mkdir(parents=True, exist_ok=True)
        (out / name).replace(out / kept)
    for name in plan.go:
        (out / name).unlink(missing_ok=True)
    for name in (*plan.aside, *plan.go):
        _remove_empty([out / parent for parent in PurePosixPath(name).parents[:-1]])
    *names, last = sorted(files_below(new), key=lambda name: name == CHECKSUMS_FILE)
    for name in names:
        _move_file(new / name, out / name)
    for folder in {(out / name).parent for name in names}:
        sync_folder(folder)
    _move_file(new / last, out / last)
    sync_folder(out)
    (out / _PUBLISHING).unlink(missing_ok=True)
    shutil.rmtree(new, ignore_errors=True)


def _move_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        target.rmdir()  # empty, else its files would have been moved aside
    try:
        _rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_path(target) as path:
            shutil.copyfile(source, path)


def _finish_moving(out: Path, marker: Path) -> None:
    """Go on with `_move_in`, as far as its files are still there."""
    with suppress(OSError, ValueError):
        new = Path(os.path.normpath(out / marker.read_text(encoding="utf-8")))
        written = read_checksums(new) if _is_partial_of(new, out) else None
        if written is not None:
            plan = _plan(out, read_checksums(out) or {}, written, _folders_below(new))
            _move_in(new, out, plan)
    marker.unlink(missing_ok=True)


def _is_partial_of(folder: Path, out: Path) -> bool:
    places = (_Place(out.parent, f".{_short(out.name)}"), _Place(out, _INSIDE))
    return any(folder in place.leftovers("partial") for place in places)


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
            f"cannot create the folder {named(out.parent)} ({error.strerror}); choose an output "
            "folder that you may write to"
        ) from error
    return missing


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
