"""Loading of .ui files (probes ``ui.*``)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from .. import inventory
from ..natives import native_class
from . import objects, signals, values

strict = True
"""Refuse widget classes and properties that the desktop lacks. The desktop skips the first and
makes dynamic properties of the second."""

DYNAMIC = {"SlicerParameterName"}
"""Properties that .ui files of Slicer modules may add to any widget."""


class UiError(RuntimeError):
    """A .ui file names something that the desktop does not have."""


class _Loader(QtUiTools.QUiLoader):
    """Qt's loader with the stand-in classes."""

    def __init__(self, extends: dict[str, str]) -> None:
        super().__init__()
        self._extends = extends

    def createWidget(self, kind: str, parent: Any = None, name: str = "") -> Any:
        if kind in inventory.classes():
            widget = native_class(kind)(parent)
            widget.setObjectName(name)
            return widget
        if not hasattr(QtWidgets, kind):
            if strict:
                raise UiError(f"the .ui file names the widget class {kind}, which does not exist")
            if kind not in self._extends:
                return None
            kind = self._extends[kind]
        return super().createWidget(kind, parent, name)


class QUiLoader:
    """``qt.QUiLoader``: loads from an open ``qt.QFile``."""

    def load(self, device: Any, parent: Any = None) -> Any:
        data = bytes(values.native(device).readAll().data())
        try:
            root = ET.fromstring(data)
        except ET.ParseError:
            return None
        extends = {
            custom.findtext("class"): custom.findtext("extends")
            for custom in root.iter("customwidget")
        }
        connections = _take_connections(root)
        loader = _Loader(extends)
        buffer = QtCore.QBuffer()
        buffer.setData(QtCore.QByteArray(ET.tostring(root)))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        window = loader.load(buffer, values.native(parent))
        if window is None:
            return None
        _set_properties(window, root)
        _connect(window, connections)
        return objects.wrap(window)


def _take_connections(root: ET.Element) -> list[tuple[str, ...]]:
    """Remove the connections from the tree: they are made through the wrappers."""
    found = []
    for group in list(root.iter("connections")):
        for entry in list(group):
            found.append(
                tuple(entry.findtext(key) for key in ("sender", "signal", "receiver", "slot"))
            )
            group.remove(entry)
    return found


def _by_name(window: QtWidgets.QWidget) -> dict[str, QtCore.QObject]:
    named = {window.objectName(): window}
    for child in window.findChildren(QtCore.QObject):
        named.setdefault(child.objectName(), child)
    return named


def _set_properties(window: QtWidgets.QWidget, root: ET.Element) -> None:
    """Set the properties of stand-in widgets; refuse properties that no class has."""
    named = _by_name(window)
    for element in root.iter("widget"):
        native = named.get(element.get("name"))
        if native is None:
            continue
        wrapper = objects.wrap(native)
        for entry in element.findall("property"):
            name = entry.get("name")
            known = objects.member(type(native), name)
            if isinstance(known, objects.InventoryProperty):
                native.setProperty(name, None)
                known.set(wrapper, _value(entry[0]))
            elif known is None and strict and name not in DYNAMIC and entry.get("stdset") != "0":
                raise UiError(
                    f"{element.get('class')} {element.get('name')!r} has no property {name!r}"
                )


def _value(element: ET.Element) -> Any:
    text = element.text or ""
    if element.tag == "bool":
        return text == "true"
    if element.tag in ("number", "UInt", "longLong"):
        return int(text)
    if element.tag in ("double", "float"):
        return float(text)
    if element.tag == "stringlist":
        return [entry.text or "" for entry in element]
    if element.tag in ("enum", "set"):
        return sum(_constant(part) for part in text.split("|"))
    if element.tag == "color":
        return QtGui.QColor(*(int(element.findtext(key)) for key in ("red", "green", "blue")))
    return text


def _constant(text: str) -> int:
    owner, _, name = text.strip().rpartition("::")
    import qt

    if not owner:
        raise UiError(f"the enumeration value {text!r} has no class")
    holder = owner.split("::")[0]
    if holder in inventory.classes():
        return int(getattr(objects.wrapper_class(holder), name))
    return int(getattr(getattr(qt, holder), name))


def _connect(window: QtWidgets.QWidget, connections: list[tuple[str, ...]]) -> None:
    named = _by_name(window)
    for sender, signal, receiver, slot in connections:
        target = objects.wrap(named[receiver])
        method = getattr(target, inventory.normalised(slot).split("(")[0])
        signals.connect(named[sender], signal, method)
