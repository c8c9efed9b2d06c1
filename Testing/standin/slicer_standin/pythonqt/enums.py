"""Enumerations that are integers, as in PythonQt (probes ``enum.*``)."""

from __future__ import annotations

import enum
import functools
from typing import Any

# PythonQt registers these under the name of the flags type (probe enum.type_names).
_FLAGS_NAMES = {"QMessageBox.StandardButton": "StandardButtons"}


class QtEnum(int):
    """Base of all enumerations: an integer that knows the PySide6 enumeration it belongs to."""

    pyside: type[enum.Enum] | None = None

    def __str__(self) -> str:
        return str(int(self))

    __repr__ = __str__

    def native(self) -> Any:
        """Return the PySide6 member (or the integer where there is none)."""
        return int(self) if self.pyside is None else self.pyside(int(self))


def _make(name: str, members: dict[str, int], pyside: type[enum.Enum] | None) -> type[QtEnum]:
    kind = type(name, (QtEnum,), {"pyside": pyside})
    for member, value in members.items():
        setattr(kind, member, kind(value))
    return kind


@functools.cache
def from_pyside(pyside: type[enum.Enum]) -> type[QtEnum]:
    """Return the integer enumeration for a PySide6 one."""
    qualified = pyside.__qualname__
    name = _FLAGS_NAMES.get(qualified, pyside.__name__)
    members = {key: _integer(value) for key, value in pyside.__members__.items()}
    return _make(name, members, pyside)


def _integer(member: Any) -> int:
    return int(member.value if isinstance(member, enum.Enum) else member)


def named(name: str, members: dict[str, int]) -> type[QtEnum]:
    """Return an enumeration of a class that Qt does not know."""
    return _make(name, members, None)


def wrap(member: enum.Enum) -> int:
    """Return a PySide6 enumeration value as PythonQt returns it: flags lose their type."""
    if isinstance(member, enum.Flag):
        return int(member.value)
    return from_pyside(type(member))(_integer(member))
