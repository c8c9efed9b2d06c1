"""Conversion of values between Python and Qt (probes ``conv.*``)."""

from __future__ import annotations

import collections.abc
import enum
import functools
import inspect
import types
import typing
from typing import Any

import numpy as np
from PySide6 import QtCore
from shibokensupport.signature import get_signature

from . import enums


class NoConversion(Exception):
    """The value cannot be had in the wanted type."""


# ---------------------------------------------------------------- leaving Python
def native(value: Any) -> Any:
    """Return the PySide6 object behind a wrapper, also inside lists and dictionaries."""
    if isinstance(value, enums.QtEnum):
        return value.native()
    inner = getattr(value, "_native", None)
    if inner is not None:
        return inner
    if type(value) in (list, tuple):
        return type(value)(native(item) for item in value)
    if type(value) is dict:
        return {key: native(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    return value


def to_text(value: Any) -> str:
    """Convert as PythonQt does for a QString: anything has a text, None is 'None'."""
    return str(value)


def to_integer(value: Any) -> int:
    """Convert numbers by cutting the fraction; text is refused."""
    if isinstance(value, (int, float, np.number, np.bool_)):
        return int(value)
    if isinstance(value, enum.Enum):
        return int(value.value)
    raise NoConversion


def to_real(value: Any) -> float:
    """Convert numbers; text is refused."""
    if isinstance(value, (int, float, np.number, np.bool_)):
        return float(value)
    raise NoConversion


def to_texts(value: Any) -> list[str]:
    """Convert any sequence, also a text: its letters become the entries."""
    if isinstance(value, collections.abc.Iterable) and not isinstance(value, dict):
        return [to_text(item) for item in value]
    raise NoConversion


_EXACT = {str: str, bool: bool, int: int, float: (int, float)}
_LOOSE = {str: to_text, bool: bool, int: to_integer, float: to_real}


def to_type(kind: Any, value: Any, *, loose: bool) -> Any:
    """Return ``value`` as the annotated PySide6 type; ``loose`` allows lossy conversions."""
    if kind is Any:
        return QtCore.QByteArray(value) if isinstance(value, bytes) else native(value)
    if kind in _EXACT:
        if isinstance(value, _EXACT[kind]) and not (kind is int and isinstance(value, bool)):
            return kind(value)
        if loose:
            return _LOOSE[kind](value)
        raise NoConversion
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _to_union(kind, value, loose=loose)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _to_enum(kind, value, loose=loose)
    if origin in (collections.abc.Sequence, collections.abc.Iterable, list):
        return _to_sequence(kind, value, loose=loose)
    if isinstance(kind, type) and kind is not object:
        value = native(value)
        if isinstance(value, kind) or (value is None and loose):
            return value
        raise NoConversion
    return native(value)


def _to_union(kind: Any, value: Any, *, loose: bool) -> Any:
    for option in typing.get_args(kind):
        if option is type(None) and value is None:
            return None
        try:
            return to_type(option, value, loose=loose)
        except NoConversion:
            continue
    raise NoConversion


def _to_enum(kind: type[enum.Enum], value: Any, *, loose: bool) -> Any:
    value = native(value)
    if isinstance(value, kind):
        return value
    if loose and type(value) is int:
        return kind(value)
    raise NoConversion


def _to_sequence(kind: Any, value: Any, *, loose: bool) -> Any:
    (item,) = typing.get_args(kind) or (Any,)
    if item is str and loose:
        return to_texts(value)
    if not isinstance(value, (list, tuple)):
        raise NoConversion
    return [to_type(item, entry, loose=loose) for entry in value]


# ---------------------------------------------------------------- calls
@functools.lru_cache(maxsize=4096)
def _overloads(owner: type, name: str) -> list[inspect.Signature]:
    """Return the C++ signatures of a method (of the constructor when the name is empty)."""
    target = owner if not name else getattr(owner, name)
    if inspect.isfunction(target):
        return []
    found = get_signature(target)
    return [] if found is None else found if isinstance(found, list) else [found]


def _bind(signature: inspect.Signature, arguments: tuple[Any, ...], *, loose: bool) -> list[Any]:
    slots = [
        slot
        for slot in signature.parameters.values()
        if slot.kind in (slot.POSITIONAL_ONLY, slot.POSITIONAL_OR_KEYWORD) and slot.name != "self"
    ]
    needed = sum(slot.default is slot.empty for slot in slots)
    if not needed <= len(arguments) <= len(slots):
        raise NoConversion
    return [
        to_type(slot.annotation, value, loose=loose)
        for slot, value in zip(slots, arguments, strict=False)
    ]


def call(target: Any, owner: type, name: str, arguments: tuple[Any, ...]) -> Any:
    """Call a PySide6 method or constructor with PythonQt's overload choice and conversions.

    Raises
    ------
    ValueError
        When no overload takes the arguments (probes ``pq.wrong_args*``).
    """
    overloads = _overloads(owner, name)
    for loose in (False, True):
        for signature in overloads:
            try:
                ready = _bind(signature, arguments, loose=loose)
            except NoConversion:
                continue
            try:
                return target(*ready)
            except (TypeError, NotImplementedError):
                continue
    try:
        return target(*(native(value) for value in arguments))
    except TypeError as problem:
        what = name or owner.__name__
        raise ValueError(
            f"Called {what} with wrong arguments: {arguments}: {str(problem).splitlines()[0]}"
        ) from None


# ---------------------------------------------------------------- arguments of inventoried methods
def to_inventory_type(kind: str, value: Any) -> Any:
    """Return ``value`` as the C++ type of an inventoried method or property."""
    kind = kind.replace("const ", "").replace("&", "").strip()
    if kind == "QString":
        return to_text(value)
    if kind == "QStringList":
        return to_texts(value)
    if kind == "bool":
        return bool(value)
    if kind in ("int", "unsigned int", "vtkIdType", "short", "long"):
        return to_integer(value)
    if kind in ("double", "float"):
        return to_real(value)
    if kind.startswith("vtk") and kind.endswith("*"):
        return _to_vtk(kind.rstrip("* "), value)
    return native(value)


def _to_vtk(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if not hasattr(value, "IsA"):
        raise TypeError("method requires a VTK object")
    if not value.IsA(kind):
        raise ValueError(f"a {kind} is needed, {value.GetClassName()} was given")
    return value


def is_inventory_type(kind: str, value: Any) -> bool:
    """Tell whether a value has the C++ type already, so that its overload is the one meant."""
    if kind == "QString":
        return isinstance(value, str)
    if kind == "bool":
        return isinstance(value, bool)
    if kind in ("int", "vtkIdType"):
        return isinstance(value, int) and not isinstance(value, bool)
    if kind in ("double", "float"):
        return isinstance(value, float)
    if kind.startswith("vtk"):
        return value is None or hasattr(value, "IsA")
    return not isinstance(value, (str, bool, int, float))


@functools.cache
def qt_property(kind: type, name: str) -> tuple[str, bool]:
    """Return the C++ type of a property of a PySide6 class and whether it can be written."""
    meta = kind.staticMetaObject
    found = meta.property(meta.indexOfProperty(name))
    return found.typeName(), found.isWritable()
