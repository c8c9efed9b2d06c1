"""Names that Windows gives to no file or folder, or silently changes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lungperfusion.errors import InputError
from lungperfusion.naming import named

DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(1, 10))}
)
"""Devices, whatever suffix follows: ``con.csv`` is one, too."""

_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')


def is_device(name: str) -> bool:
    """Whether Windows takes a name for a device.

    Examples
    --------
    >>> is_device("CON"), is_device("aux.csv"), is_device("console")
    (True, True, False)

    """
    return name.partition(".")[0].strip().lower() in DEVICES


def require_possible_name(out: Path, *, windows: bool = os.name == "nt") -> None:
    """Refuse an output whose path Windows cannot have; other systems take any.

    Windows drops dots and spaces at the end of a name, so that results would not lie where they
    were asked for.

    Raises
    ------
    InputError
        Naming the part.

    """
    if not windows:
        return
    for part in out.parts:
        if part in (out.anchor, ".", ".."):
            continue
        if is_device(part) or part != part.rstrip(". ") or _FORBIDDEN.search(part):
            raise InputError(
                f"{named(part)} can be no file or folder on Windows (a device such as CON, a dot "
                'or space at the end, or one of <>:"|?*); choose another output'
            )
