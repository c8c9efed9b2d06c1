"""Base of the PySide6 classes that stand for the C++ classes of Slicer and CTK.

A stand-in class has the name of its C++ class and the C++ names of the methods it gives behaviour
to. What Python sees of it is decided by the inventory: a method or property that the inventory has
and the class lacks raises :class:`~slicer_standin.inventory.Absent`.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

from PySide6 import QtCore, QtGui, QtWidgets

from . import inventory
from .pythonqt import signals


class Native:
    """Mixin of all stand-in classes."""

    known: ClassVar[dict[str, type]] = {}
    inventory_name: ClassVar[str] = ""
    stored: ClassVar[dict[str, Any]] = {}
    """Properties that only hold a value, with their defaults in the desktop."""
    enum_values: ClassVar[dict[str, int]] = {}
    """Values of the enumerations, where they are not simply counted from 0."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__name__ in inventory.classes():
            cls.inventory_name = cls.__name__
            Native.known[cls.__name__] = cls

    def emit(self, signature: str, *arguments: Any) -> None:
        """Emit a signal of the stand-in, by its full signature."""
        if not self.signalsBlocked():
            signals.deliver(self, signature, arguments)

    @classmethod
    def default(cls, name: str) -> Any:
        """Return the default of a stored property, or raise KeyError."""
        for base in cls.__mro__:
            if name in base.__dict__.get("stored", {}):
                return base.__dict__["stored"][name]
        raise KeyError(name)

    @classmethod
    def stores(cls, name: str) -> bool:
        """Tell whether the property only holds a value."""
        return any(name in base.__dict__.get("stored", {}) for base in cls.__mro__)

    def held(self, name: str) -> Any:
        """Return the value of a stored property."""
        return self.__dict__.setdefault("_held", {}).get(name, self.default(name))

    def hold(self, name: str, value: Any) -> None:
        """Set a stored property; its notify signal follows a change."""
        changed = self.held(name) != value
        self._held[name] = value
        if changed:
            self.held_changed(name, value)

    def held_changed(self, name: str, value: Any) -> None:
        """React to a changed stored property: by default emit its notify signal."""
        notify = inventory.find(self.inventory_name, "properties", name).get("notify")
        if notify:
            for types, _, most in inventory.find(self.inventory_name, "signals", notify) or []:
                self.emit(f"{notify}({','.join(types[:most])})", *([value] * most))


@functools.cache
def _register_all() -> None:
    """Import all behaviours before the first class is asked for."""
    from . import widgets

    widgets.register()


_WIDGETS_OF_VTK = {"QVTKWidget", "QVTKOpenGLNativeWidget", "QWebEngineView"}


@functools.cache
def native_class(name: str) -> type:
    """Return the PySide6 class that stands for a C++ class."""
    _register_all()
    if name in Native.known:
        return Native.known[name]
    if name not in inventory.classes():
        for module in (QtWidgets, QtGui, QtCore):
            found = getattr(module, name or "-", None)
            if isinstance(found, type):
                return found
        return QtWidgets.QWidget if name in _WIDGETS_OF_VTK else QtCore.QObject
    base = native_class(inventory.classes()[name]["base"])
    bases = (base,) if issubclass(base, Native) else (Native, base)
    return type(name, bases, {})
