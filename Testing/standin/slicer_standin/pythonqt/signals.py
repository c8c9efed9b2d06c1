"""Signals as PythonQt offers them: connected by signature, slots may take fewer arguments.

Exceptions in a slot never reach the code that emitted; they go to ``sys.excepthook``
(probe ``sig.exception_in_slot``).
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

from .. import inventory


class UnknownSignal(AttributeError):
    """A connection to a signal that does not exist."""


strict = True
"""Raise on unknown signals. The desktop prints a line and returns False, which hides mistakes."""

_slots: dict[int, dict[str, list[Callable[..., Any]]]] = {}

# Qt 6 has these, Qt 5 (the default of Slicer 5.12) has not.
_ONLY_QT6 = {"checkStateChanged(Qt::CheckState)"}


def _table(sender: QtCore.QObject) -> dict[str, list[Callable[..., Any]]]:
    key = shiboken6.getCppPointer(sender)[0]
    if key not in _slots:
        _slots[key] = {}
        QtCore.QObject.connect(
            sender, QtCore.SIGNAL("destroyed()"), lambda: _gone(key), QtCore.Qt.DirectConnection
        )
    return _slots[key]


def _gone(key: int) -> None:
    """Forget a deleted sender after its own slots for ``destroyed()`` had their turn."""
    table = _slots.pop(key, {})
    for name in ("destroyed()", "destroyed(QObject*)"):
        _deliver_to(table.get(name, []), (None,) if "*" in name else ())


def has_signal(sender: QtCore.QObject, signature: str) -> bool:
    """Tell whether the sender has the (normalised) signal."""
    name = getattr(sender, "inventory_name", "")
    if name and signature in inventory.signals(name):
        return True
    return is_qt_signal(type(sender), signature) and signature not in _ONLY_QT6


@functools.cache
def is_qt_signal(kind: type, signature: str) -> bool:
    """Tell whether PySide6 has the signal (else it is one of a stand-in)."""
    return kind.staticMetaObject.indexOfSignal(signature) >= 0


def connect(sender: QtCore.QObject, text: str, slot: Any) -> bool:
    """Connect a Python callable to a signal given by its signature."""
    signature = inventory.normalised(text)
    if signature is None or not has_signal(sender, signature):
        problem = f"{class_name(sender)} has no signal {text!r}"
        if strict:
            raise UnknownSignal(problem)
        print(f"QObject::connect: {problem}", file=sys.stderr)
        return False
    table = _table(sender)
    if signature not in table:
        slots = table[signature] = []
        if is_qt_signal(type(sender), signature) and not signature.startswith("destroyed"):
            QtCore.QObject.connect(
                sender, QtCore.SIGNAL(signature), lambda *given: _deliver_to(slots, given)
            )
    table[signature].append(slot)
    return True


def disconnect(sender: QtCore.QObject, text: str, slot: Any = None) -> bool:
    """Undo connections; without a slot all of the signal. Return whether there were any."""
    slots = _table(sender).get(inventory.normalised(text) or text)
    if not slots:
        return False
    if slot is None:
        slots.clear()
        return True
    if slot not in slots:
        return False
    slots.remove(slot)
    return True


def deliver(sender: QtCore.QObject, signature: str, arguments: tuple[Any, ...]) -> None:
    """Call the slots of a signal that only the stand-in has."""
    _deliver_to(_table(sender).get(signature, []), arguments)


def _deliver_to(slots: list[Callable[..., Any]], arguments: tuple[Any, ...]) -> None:
    from .objects import wrap

    given = [wrap(value) for value in arguments]
    for slot in list(slots):
        if not callable(slot):
            continue
        try:
            slot(*given[: _room(slot, len(given))])
        except Exception:
            sys.excepthook(*sys.exc_info())


def _room(slot: Callable[..., Any], offered: int) -> int:
    """Return how many of the offered arguments the slot takes."""
    try:
        parameters = inspect.signature(slot).parameters.values()
    except (TypeError, ValueError):
        return offered
    if any(parameter.kind == parameter.VAR_POSITIONAL for parameter in parameters):
        return offered
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return min(offered, sum(parameter.kind in places for parameter in parameters))


def class_name(sender: QtCore.QObject) -> str:
    """Return the C++ class name of an object."""
    return getattr(sender, "inventory_name", "") or type(sender).__name__


def signatures(sender: QtCore.QObject, name: str) -> list[str]:
    """Return all signatures of a signal, the one with most arguments first."""
    meta = type(sender).staticMetaObject
    found = {
        bytes(meta.method(index).methodSignature()).decode()
        for index in range(meta.methodCount())
        if meta.method(index).methodType() == QtCore.QMetaMethod.MethodType.Signal
        and bytes(meta.method(index).name()).decode() == name
    }
    own = getattr(sender, "inventory_name", "")
    if own:
        ordered = inventory.find(own, "signals", name) or []
        first = [
            f"{name}({','.join(t.replace(' ', '') for t in types)})" for types, _, _ in ordered
        ]
        return first or sorted(found, key=lambda text: -text.count(",") - (text[-2] != "("))
    return sorted(found, key=lambda text: -text.count(",") - (text[-2] != "("))


class Signal:
    """A signal read as an attribute: ``button.clicked.connect(f)``, ``button.clicked()``."""

    def __init__(self, sender: QtCore.QObject, name: str) -> None:
        self._sender, self._name = sender, name
        self._all = signatures(sender, name)

    def connect(self, slot: Any) -> bool:
        return connect(self._sender, self._all[0], slot)

    def disconnect(self, slot: Any = None) -> bool:
        return disconnect(self._sender, self._all[0], slot)

    def emit(self, *arguments: Any) -> None:
        signature = self._all[0]
        if not is_qt_signal(type(self._sender), signature):
            self._sender.emit(signature, *arguments)
            return
        types = signature[signature.index("(") + 1 : -1]
        count = len(types.split(",")) if types else 0
        filled = (*arguments, *([False] * (count - len(arguments))))
        bound = getattr(self._sender, self._name)
        (bound[types] if count == 1 and types in ("bool", "int", "double") else bound).emit(*filled)

    __call__ = emit
