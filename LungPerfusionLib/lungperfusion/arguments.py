"""Checks that hold for the arguments of every command."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lungperfusion.errors import InputError
from lungperfusion.naming import named


def check_values(arguments: argparse.Namespace) -> None:
    """Refuse numbers that are none, and devices and pipes in the place of files.

    Raises
    ------
    InputError
        Naming the argument.

    """
    for name, given in vars(arguments).items():
        for value in _each(given):
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{name} is a number, not {value}; give a finite one")
            if isinstance(value, Path):
                _require_usual(name, value)


def _each(given: Any) -> Iterator[Any]:
    if isinstance(given, list | tuple):
        for value in given:
            yield from _each(value)
    else:
        yield given


def _require_usual(name: str, path: Path) -> None:
    """Refuse what is neither file nor folder: reading a pipe may wait forever."""
    try:
        unusual = path.exists() and not (path.is_file() or path.is_dir())
    except OSError as error:  # a name too long, a folder that may not be entered
        raise InputError(
            f"{name}: {named(path)} cannot be looked at ({error.strerror}); give another path"
        ) from error
    if unusual:
        raise InputError(f"{name}: {named(path)} is a device or a pipe; give a file or a folder")
