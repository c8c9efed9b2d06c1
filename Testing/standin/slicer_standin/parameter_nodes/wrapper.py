"""The decorator ``parameterNodeWrapper``."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import vtk

from . import connectors, packs
from .annotations import Default
from .serializers import UnionSerializer

_tags = itertools.count(1)
_FIRST = 1.0
"""Priority of the own observer: the values are fresh when other observers read them."""


def isParameterNodeWrapper(candidate: Any) -> bool:
    """Tell whether a class (or an instance of it) is a parameter node wrapper."""
    kind = candidate if isinstance(candidate, type) else type(candidate)
    return hasattr(kind, "_members")


def findChildWidgetForParameter(widget: Any, parameter: str) -> Any:
    """Return the widget below ``widget`` that shows the parameter, or None."""
    import slicer

    for child in slicer.util.findChildren(widget):
        if child.property("SlicerParameterName") == parameter:
            return child
    return None


class _Cached:
    """The value of one parameter: read again when the node changes.

    A value that can no longer be read leaves the old one (cookbook: "an already built wrapper keeps
    its old value"); a parameter that vanished with a closed scene too (``pnw.gui_scene_close``).
    """

    def __init__(self, member: packs.Member, name: str, node: Any) -> None:
        self.member, self.name, self.node = member, name, node
        serializer = member.serializer
        if not serializer.is_in(node, name) and not _stays_unset(member):
            serializer.write(node, name, member.default)
        self.value = self._read()

    def _read(self) -> Any:
        serializer = self.member.serializer
        if not serializer.is_in(self.node, self.name):
            return None if _stays_unset(self.member) else self.value
        return serializer.read(self.node, self.name)

    def refresh(self) -> None:
        self.value = self._read()

    def write(self, value: Any) -> None:
        self.member.serializer.validate(value)
        self.member.serializer.write(self.node, self.name, value)
        self.value = self.member.serializer.read(self.node, self.name)


def _stays_unset(member: packs.Member) -> bool:
    """Nodes and optional values may be missing in the node."""
    return member.default is None and not isinstance(member.serializer, UnionSerializer)


def parameterNodeWrapper(kind: type | None = None) -> Any:
    """Make a class of annotated members a typed view of a parameter node."""
    if kind is None:
        return parameterNodeWrapper
    members = packs.members_of(kind)
    for member in members.values():
        if member.default is not None or not _stays_unset(member):
            member.serializer.validate(member.default)
    kind._members = members
    kind.allParameters = {name: member.kind for name, member in members.items()}
    for name in members:
        setattr(kind, name, _parameter(name))
    for name, method in _METHODS.items():
        setattr(kind, name, method)
    return kind


def _parameter(name: str) -> property:
    def get(self: Any) -> Any:
        return self._cached[name].value

    def set_(self: Any, value: Any) -> None:
        self._cached[name].write(value)

    return property(get, set_)


def _init(self: Any, parameterNode: Any, prefix: str | None = None) -> None:
    self.parameterNode = parameterNode
    self._connected: dict[int, dict[str, connectors.Connector]] = {}
    self._updating = False
    before = f"{prefix}." if prefix else ""
    self._cached = {}
    for name, member in self._members.items():
        cached = _Cached.__new__(_Cached)
        cached.value = None
        cached.__init__(member, before + name, parameterNode)
        self._cached[name] = cached
    me = weakref.ref(self)
    tag = parameterNode.AddObserver(
        vtk.vtkCommand.ModifiedEvent, lambda *_: (it := me()) and _node_modified(it), _FIRST
    )
    weakref.finalize(self, parameterNode.RemoveObserver, tag)


def _node_modified(self: Any) -> None:
    for cached in self._cached.values():
        cached.refresh()
    for connected in self._connected.values():
        _show(self, connected)


def _show(self: Any, connected: dict[str, connectors.Connector]) -> None:
    """Bring the widgets up to date without writing back."""
    before, self._updating = self._updating, True
    try:
        for name, connector in connected.items():
            connector.write(_get_value(self, name))
    finally:
        self._updating = before


def _get_value(self: Any, name: str) -> Any:
    value: Any = self
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _set_value(self: Any, name: str, value: Any) -> None:
    *path, last = name.split(".")
    setattr(_get_value(self, ".".join(path)) if path else self, last, value)


def _find(self: Any, name: str) -> packs.Member:
    try:
        return packs.find_member(self._members, name)
    except (KeyError, AttributeError):
        raise ValueError(f"Cannot find a param with the given name: {name}") from None


def _connect_gui(self: Any, gui: Any) -> int:
    """Connect all widgets that name a parameter; of two for one parameter only one is."""
    import slicer

    widgets = slicer.util.findChildren(gui) if hasattr(gui, "children") else vars(gui).values()
    mapping = {}
    for widget in widgets:
        name = widget.property("SlicerParameterName") if hasattr(widget, "property") else None
        if name:
            mapping[name] = widget
    return _connect_parameters(self, mapping)


def _connect_parameters(self: Any, mapping: dict[str, Any]) -> int:
    """Connect widgets by parameter name; return the tag that undoes it."""
    for name in mapping:
        _find(self, name)
    connected = {
        name: connectors.make(widget, _find(self, name)) for name, widget in mapping.items()
    }
    _show(self, connected)
    for name, connector in connected.items():
        connector.connect(_changed_by_user(self, name, connector))
    tag = next(_tags)
    self._connected[tag] = connected
    return tag


def _changed_by_user(self: Any, name: str, connector: connectors.Connector) -> Any:
    me = weakref.ref(self)

    def changed() -> None:
        it = me()
        if it is not None and not it._updating:
            _set_value(it, name, connector.read())

    return changed


def _disconnect_gui(self: Any, guiTag: int | None) -> None:
    for connector in self._connected.pop(guiTag, {}).values():
        connector.disconnect()


_METHODS = {
    "__init__": _init,
    "getValue": _get_value,
    "setValue": _set_value,
    "dataType": lambda self, name: _find(self, name).kind,
    "default": lambda self, name: Default(_find(self, name).default),
    "isCached": lambda self, name: bool(_find(self, name)),
    "connectGui": _connect_gui,
    "connectParametersToGui": _connect_parameters,
    "disconnectGui": _disconnect_gui,
    "AddObserver": lambda self, *given: self.parameterNode.AddObserver(*given),
    "HasObserver": lambda self, *given: self.parameterNode.HasObserver(*given),
    "RemoveObserver": lambda self, *given: self.parameterNode.RemoveObserver(*given),
    "RemoveObservers": lambda self, *given: self.parameterNode.RemoveObservers(*given),
    "StartModify": lambda self: self.parameterNode.StartModify(),
    "EndModify": lambda self, before: self.parameterNode.EndModify(before),
    "Modified": lambda self: self.parameterNode.Modified(),
}
