"""Files below a folder, links followed, and what had to be left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

EMPTY, DEAD, CLOSED, SPECIAL, CUT = (
    "empty file(s) (0 bytes)",
    "link(s) to a missing target",
    "folder(s) that may not be read",
    "device(s) or pipe(s)",
    "file(s) named like DICOM that are none, such as files cut short",
)
"""Kinds of entries that are left out, in words for a warning."""


@dataclass(frozen=True)
class Listing:
    """What lies below a folder."""

    files: tuple[Path, ...]
    """Regular files with content, sorted."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many entries of each kind were left out."""


def list_files(root: Path) -> Listing:
    """List the files below a folder; linked files and folders belong to it, each folder once.

    Parameters
    ----------
    root
        An existing folder.

    """
    left_out: Counter[str] = Counter()
    files = sorted(_walk(root, set(), left_out))
    return Listing(tuple(files), dict(left_out))


def in_words(left_out: Mapping[str, int]) -> str:
    """Enumerate what was left out: ``2 empty file(s) (0 bytes), 1 link(s) to ...``."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()) if count)


def _walk(folder: Path, seen: set[str], left_out: Counter[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:  # a link that leads back
        return
    seen.add(real)
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        left_out[CLOSED] += 1
        return
    for entry in listed:
        path = Path(entry.path)
        try:
            if entry.is_dir():
                yield from _walk(path, seen, left_out)
            elif not entry.is_file():
                dead = entry.is_symlink() and not path.exists()
                left_out[DEAD if dead else SPECIAL] += 1
            elif entry.stat().st_size:
                yield path
            elif not entry.name.startswith("."):
                left_out[EMPTY] += 1
        except OSError:
            left_out[DEAD] += 1
