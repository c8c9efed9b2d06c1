"""What this program wrote into a folder: the size and SHA-256 of each file.

Only a file that still has the bytes it was written with may be replaced or removed later; any
other is the user's, be it a note, a picture or a corrected segmentation under its old name.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

CHECKSUMS_FILE = "checksums.json"
"""Marks a folder that this program wrote, and lists the files it wrote there."""

_SOFTWARE = "SlicerLungPerfusion"


@dataclass(frozen=True, slots=True)
class Checksum:
    """One file as it was written."""

    bytes: int
    sha256: str


def write_checksums(folder: Path) -> dict[str, Checksum]:
    """Write the list of all files of a folder into it, and see to it that all are on the disk.

    Returns
    -------
    dict
        Checksum by name below the folder, with ``/`` between its parts.

    """
    found = {
        name: Checksum((folder / name).stat().st_size, sha256_of(folder / name))
        for name in files_below(folder)
        if name != CHECKSUMS_FILE
    }
    record = {"software": _SOFTWARE, "files": {name: asdict(sum) for name, sum in found.items()}}
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (folder / CHECKSUMS_FILE).write_text(text, encoding="utf-8", newline="\n")
    sync_tree(folder)
    return found


def read_checksums(folder: Path) -> dict[str, Checksum] | None:
    """Read the list of a folder; None if there is none, or none that can be trusted."""
    try:
        record = json.loads((folder / CHECKSUMS_FILE).read_text(encoding="utf-8"))
        if record["software"] != _SOFTWARE:
            return None
        files = {name: Checksum(**entry) for name, entry in record["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    sound = all(
        isinstance(sum.bytes, int) and isinstance(sum.sha256, str) and _is_below(name)
        for name, sum in files.items()
    )
    return files if sound else None


def is_whole(folder: Path) -> bool:
    """Whether a folder has its list and every file on it has the bytes it was written with."""
    listed = read_checksums(folder)
    return listed is not None and all(
        is_as_written(folder / name, checksum) for name, checksum in listed.items()
    )


def is_as_written(path: Path, checksum: Checksum | None) -> bool:
    """Whether a file has the bytes of a checksum."""
    try:
        return (
            checksum is not None
            and not path.is_symlink()
            and path.stat().st_size == checksum.bytes
            and sha256_of(path) == checksum.sha256
        )
    except OSError:
        return False


def fingerprint(folder: Path, listed: Mapping[str, Checksum]) -> str | None:
    """Hash of sizes and time stamps of the listed files: tells cheaply that none was touched."""
    lines = []
    try:
        for name in (*sorted(listed), CHECKSUMS_FILE):
            stat = (folder / name).stat()
            changed_ns = 0 if os.name == "nt" else stat.st_ctime_ns
            lines.append(f"{name}\t{stat.st_size}\t{stat.st_mtime_ns}\t{changed_ns}\n")
    except OSError:
        return None
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def files_below(folder: Path) -> Iterator[str]:
    """Names of all files below a folder, sorted, links included."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or path.is_file():
            yield path.relative_to(folder).as_posix()


def sha256_of(path: Path) -> str:
    """SHA-256 of one file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_tree(folder: Path) -> None:
    """Have all files and folders below a folder written to the disk, itself included."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        elif not path.is_symlink():
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder written to the disk, where the system can."""
    if os.name == "nt":
        return
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError:  # no right to list it
        return
    try:
        os.fsync(number)
    except OSError:  # a file system without
        return
    finally:
        os.close(number)


def _is_below(name: str) -> bool:
    """Whether a name stays in its folder, whatever wrote it."""
    parts = name.replace("\\", "/").split("/")
    return ":" not in name and all(part not in ("", ".", "..") for part in parts)
