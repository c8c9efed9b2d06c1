"""What the Slicer 5.12.3 desktop offers to Python: classes, properties, signals, slots, functions.

The inventory was extracted from the headers of Slicer and CTK and from Slicer's Python layer. What
is in it exists in the desktop, what is not in it does not; the stand-in and the static check of the
module files both go by it. Overloads are stored as ``[argument types, fewest, most]``.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("inventory.json")


class Absent(NotImplementedError):
    """A name that the desktop has and to which the stand-in gives no behaviour."""


ADDITIONS = {"qSlicerAbstractCoreModule": {"logic": [[[], 0, 0]]}}
"""Methods that recorded behaviour shows and the extraction missed (``app.modules_namespace``)."""


@functools.cache
def load() -> dict[str, Any]:
    """Read the inventory once."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    for name, methods_ in ADDITIONS.items():
        found["classes"][name].setdefault("invokables", {}).update(methods_)
    return found


def classes() -> dict[str, dict[str, Any]]:
    """Return all C++ classes that Python can reach, by name."""
    return load()["classes"]


def python_layer(module: str) -> dict[str, Any]:
    """Return functions, classes and names of a Python module of the desktop."""
    return load()["python"][module]


def lineage(name: str) -> list[str]:
    """Return the class and its inventoried bases, nearest first."""
    chain = []
    while name in classes():
        chain.append(name)
        name = classes()[name]["base"]
    return chain


def qt_base(name: str) -> str:
    """Return the first base that is not in the inventory (a Qt class)."""
    while name in classes():
        name = classes()[name]["base"]
    return name


def find(name: str, kind: str, member: str) -> Any:
    """Return the entry of ``member`` among the ``kind`` of the class or its bases, or None."""
    for owner in lineage(name):
        entry = classes()[owner].get(kind, {}).get(member)
        if entry is not None:
            return entry
    return None


def methods(name: str, member: str) -> list[list[Any]]:
    """Return all overloads of a slot or invokable method."""
    return [
        overload
        for owner in lineage(name)
        for kind in ("slots", "invokables")
        for overload in classes()[owner].get(kind, {}).get(member, [])
    ]


def enum_of(name: str, value: str) -> str | None:
    """Return the name of the enumeration of the class that has the value."""
    for owner in lineage(name):
        for enum, values in classes()[owner].get("enums", {}).items():
            if value in values:
                return enum
    return None


def has_enum(name: str, enum: str) -> bool:
    """Tell whether the class or one of its bases declares the enumeration."""
    return any(enum in classes()[owner].get("enums", {}) for owner in lineage(name))


@functools.cache
def signals(name: str) -> frozenset[str]:
    """Return the normalised signatures of all inventoried signals of a class."""
    return frozenset(
        f"{signal}({','.join(kind.replace(' ', '') for kind in types[:count])})"
        for owner in lineage(name)
        for signal, overloads in classes()[owner].get("signals", {}).items()
        for types, fewest, most in overloads
        for count in range(fewest, most + 1)
    )


def normalised(signature: str) -> str | None:
    """Return a signal signature as Qt writes it, or None when it is not one."""
    match = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", signature)
    if match is None:
        return None
    types = [re.sub(r"\bconst\b|&|\s", "", kind) for kind in _arguments(match[2])]
    return f"{match[1]}({','.join(kind for kind in types if kind)})"


def _arguments(text: str) -> list[str]:
    """Split at the commas that are not inside a template."""
    return re.split(r",(?![^<]*>)", text)
