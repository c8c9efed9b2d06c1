"""The modules ``qt`` and ``ctk``."""

from __future__ import annotations

import types
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from .. import inventory
from . import objects

_MODULES = (QtCore, QtGui, QtWidgets, QtUiTools)
_NOT_WRAPPED = {"QVariant", "Property", "ClassInfo", "QtMsgType"}


class _Namespace(types.ModuleType):
    """A module whose names are made when they are asked for."""

    def __getattr__(self, name: str) -> Any:
        value = None if name.startswith("__") else self._find(name)
        if value is None:
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        setattr(self, name, value)
        return value

    def _find(self, name: str) -> Any:
        raise NotImplementedError


class QtNamespace(_Namespace):
    """Module ``qt``: the wrapped classes of QtCore, QtGui, QtWidgets and QtUiTools."""

    def _find(self, name: str) -> Any:
        if name in ("QtCore", "QtGui"):
            return self
        for module in _MODULES:
            found = getattr(module, name, None)
            if found is None or name in _NOT_WRAPPED:
                continue
            if name == "Qt":
                return _QtConstants("Qt")
            if name == "QUiLoader":
                from . import designer

                return designer.QUiLoader
            if isinstance(found, type) and name.startswith("Q"):
                return objects.wrapper_class(name)
            return found
        return None


class _QtConstants(types.ModuleType):
    """``qt.Qt``: enumerations and their values (probes ``enum.*``)."""

    def __getattr__(self, name: str) -> Any:
        found = None if name.startswith("__") else getattr(QtCore.Qt, name, None)
        known = None if found is None else objects.constant(found, name)
        if known is None:
            raise AttributeError(f"Qt has no attribute named '{name}'")
        setattr(self, name, known.value)
        return known.value


class CtkNamespace(_Namespace):
    """Module ``ctk``: the classes of the inventory that start with ctk."""

    def _find(self, name: str) -> Any:
        if name.startswith("ctk") and name in inventory.classes():
            return objects.wrapper_class(name)
        return None


def slicer_classes() -> dict[str, type]:
    """Return the Qt classes that the application adds to ``slicer``."""
    return {
        name: objects.wrapper_class(name) for name in inventory.classes() if name.startswith("q")
    }
