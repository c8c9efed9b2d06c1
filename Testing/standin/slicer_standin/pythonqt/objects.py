"""Wrappers of Qt objects and the classes that Python sees (probes ``pq.*``, ``kind.*``)."""

from __future__ import annotations

import contextlib
import enum
import functools
import inspect
import weakref
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from .. import inventory
from ..inventory import Absent
from ..natives import Native, native_class
from . import differences, enums, signals, values

_MODULES = (QtWidgets, QtGui, QtCore, QtUiTools)
_wrappers: weakref.WeakValueDictionary[int, PythonQtObject] = weakref.WeakValueDictionary()


# ---------------------------------------------------------------- members of a class
class Member:
    """One name of a wrapped class."""

    def __init__(self, name: str) -> None:
        self.name = name

    def get(self, wrapper: PythonQtObject) -> Any:
        raise NotImplementedError

    def set(self, wrapper: PythonQtObject, value: Any) -> None:
        raise AttributeError(
            f"Slot '{self.name}' can not be overwritten on {class_name(wrapper)} object"
        )


class Constant(Member):
    """An enumeration or one of its values."""

    def __init__(self, name: str, value: Any) -> None:
        super().__init__(name)
        self.value = value

    def get(self, wrapper: PythonQtObject) -> Any:
        return self.value


class UnknownConstant(Constant):
    """An enumeration of which only the names are known."""

    @property
    def value(self) -> Any:
        raise Absent(f"{self._text} exists in the desktop; the stand-in does not know its value")

    @value.setter
    def value(self, text: str) -> None:
        self._text = text


class QtProperty(Member):
    """A property that PySide6 has; read and written by its C++ accessors."""

    def get(self, wrapper: PythonQtObject) -> Any:
        native = alive(wrapper, self.name)
        reader = _reader(type(native), self.name)
        value = getattr(native, reader)() if reader else native.property(self.name)
        return int(values.to_integer(value)) if isinstance(value, enum.Enum) else wrap(value)

    def set(self, wrapper: PythonQtObject, value: Any) -> None:
        native = alive(wrapper, self.name)
        if not values.qt_property(type(native), self.name)[1]:
            raise AttributeError(
                f"Property '{self.name}' of {class_name(wrapper)} object is not writable"
            )
        writer = "set" + self.name[0].upper() + self.name[1:]
        if hasattr(type(native), writer):
            values.call(getattr(native, writer), type(native), writer, (value,))
        else:
            kind = values.qt_property(type(native), self.name)[0]
            native.setProperty(self.name, values.to_inventory_type(kind, value))


class ToolTip(QtProperty):
    """Slicer lets plain tool tips wrap: they read back as a paragraph (``toolbutton.action``)."""

    def get(self, wrapper: PythonQtObject) -> Any:
        text = super().get(wrapper)
        plain = not text or QtGui.Qt.mightBeRichText(text)
        return text if plain or _is_action(wrapper) else f"<p>{text}</p>"


def _is_action(wrapper: PythonQtObject) -> bool:
    return isinstance(wrapper._native, QtGui.QAction)


@functools.cache
def _reader(kind: type, name: str) -> str | None:
    capital = name[0].upper() + name[1:]
    for candidate in (name, "is" + capital, "has" + capital):
        if callable(getattr(kind, candidate, None)):
            return candidate
    return None


class QtMethod(Member):
    """A method that PySide6 has."""

    def get(self, wrapper: PythonQtObject) -> Any:
        return Slot(wrapper, self.name)

    def call(self, wrapper: PythonQtObject, arguments: tuple[Any, ...]) -> Any:
        native = alive(wrapper, self.name)
        return wrap(values.call(getattr(native, self.name), type(native), self.name, arguments))


class Difference(Member):
    """A method that PySide6 and PythonQt do not have in common."""

    def __init__(self, name: str, function: Any) -> None:
        super().__init__(name)
        self.function = function

    def get(self, wrapper: PythonQtObject) -> Any:
        return Slot(wrapper, self.name)

    def call(self, wrapper: PythonQtObject, arguments: tuple[Any, ...]) -> Any:
        return wrap(self.function(alive(wrapper, self.name), *map(values.native, arguments)))


class SignalMember(Member):
    """A signal."""

    def get(self, wrapper: PythonQtObject) -> Any:
        return signals.Signal(alive(wrapper, self.name), self.name)


class InventoryProperty(Member):
    """A property of a Slicer or CTK class."""

    def __init__(self, name: str, spec: dict[str, str]) -> None:
        super().__init__(name)
        self.spec = spec

    def get(self, wrapper: PythonQtObject) -> Any:
        native = alive(wrapper, self.name)
        if native.stores(self.name):
            value = native.held(self.name)
        elif (reader := self._accessor(native, "read", self.name)) is not None:
            value = reader()
        else:
            raise _absent(wrapper, self.name)
        return int(value.value) if isinstance(value, enum.Enum) else wrap(value)

    def set(self, wrapper: PythonQtObject, value: Any) -> None:
        native = alive(wrapper, self.name)
        if "write" not in self.spec:
            raise AttributeError(
                f"Property '{self.name}' of {class_name(wrapper)} object is not writable"
            )
        ready = values.to_inventory_type(self.spec["type"], value)
        writer = self._accessor(native, "write", "")
        if writer is not None and not (native.stores(self.name) and self._inherited(native)):
            if inspect.ismethod(writer):
                writer(ready)
            else:
                values.call(writer, type(native), self.spec["write"], (ready,))
        elif native.stores(self.name):
            native.hold(self.name, ready)
        else:
            raise _absent(wrapper, self.name)

    def _accessor(self, native: Any, kind: str, default: str) -> Any:
        found = getattr(native, self.spec.get(kind, default) or "-", None)
        return found if callable(found) else None

    def _inherited(self, native: Any) -> bool:
        """Tell whether the writer is Qt's own, of a base class."""
        return not inspect.isfunction(getattr(type(native), self.spec["write"], None))


class InventoryMethod(Member):
    """A slot or invokable method of a Slicer or CTK class."""

    def __init__(self, name: str, overloads: list[list[Any]]) -> None:
        super().__init__(name)
        self.overloads = overloads

    def get(self, wrapper: PythonQtObject) -> Any:
        return Slot(wrapper, self.name)

    def call(self, wrapper: PythonQtObject, arguments: tuple[Any, ...]) -> Any:
        native = alive(wrapper, self.name)
        ready = self._ready(arguments)
        target = getattr(native, self.name, None)
        if callable(target):
            if inspect.ismethod(target) or inspect.isfunction(target):
                return wrap(target(*ready))
            return wrap(values.call(target, type(native), self.name, ready))
        return self._through_property(wrapper, native, ready)

    def _ready(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Convert the arguments to the first overload that takes them."""
        fitting = [types for types, few, most in self.overloads if few <= len(arguments) <= most]
        if not fitting:
            raise ValueError(
                f"Called {self.name} with wrong number of arguments: {arguments}; "
                f"it takes {[types for types, _, _ in self.overloads]}"
            )
        for types in fitting:
            if all(map(values.is_inventory_type, types, arguments)):
                return tuple(map(values.to_inventory_type, types, arguments))
        for types in fitting:
            with contextlib.suppress(values.NoConversion, ValueError):
                return tuple(map(values.to_inventory_type, types, arguments))
        raise ValueError(f"Called {self.name} with wrong arguments: {arguments}")

    def _through_property(self, wrapper: Any, native: Any, ready: tuple[Any, ...]) -> Any:
        """Read or write the stored property whose accessor this method is."""
        for owner in inventory.lineage(native.inventory_name):
            for name, spec in inventory.classes()[owner].get("properties", {}).items():
                if not native.stores(name):
                    continue
                if spec.get("write") == self.name:
                    native.hold(name, ready[0])
                    return None
                if spec.get("read") == self.name:
                    return wrap(native.held(name))
        raise _absent(wrapper, self.name)


def _absent(wrapper: PythonQtObject, name: str) -> Absent:
    return Absent(
        f"{class_name(wrapper)}.{name} exists in the desktop; the stand-in has no behaviour"
    )


@functools.cache
def member(kind: type, name: str) -> Member | None:
    """Resolve a name on a native class, in PythonQt's order: property, method, enum, signal."""
    own = getattr(kind, "inventory_name", "")
    if own:
        spec = inventory.find(own, "properties", name)
        if spec is not None:
            return InventoryProperty(name, spec)
        overloads = inventory.methods(own, name)
        if overloads:
            return InventoryMethod(name, overloads)
        if inventory.find(own, "signals", name) is not None:
            return SignalMember(name)
        constant = _inventory_enum(kind, own, name)
        if constant is not None:
            return constant
        kind = native_class(inventory.qt_base(own))
    return _qt_member(kind, name)


def _inventory_enum(kind: type, own: str, name: str) -> Constant | None:
    enum_name = name if inventory.has_enum(own, name) else inventory.enum_of(own, name)
    if enum_name is None:
        return None
    found = _enum_class(kind, own, enum_name)
    if found is None:
        return UnknownConstant(name, f"{own}.{name}")
    return Constant(name, found if name == enum_name else getattr(found, name))


@functools.cache
def _enum_class(kind: type, own: str, enum_name: str) -> type | None:
    """Return an enumeration of a stand-in class; the inventory has its names, not its values."""
    names = next(
        inventory.classes()[owner]["enums"][enum_name]
        for owner in inventory.lineage(own)
        if enum_name in inventory.classes()[owner].get("enums", {})
    )
    known = getattr(kind, "enum_values", {})
    if not set(names) & set(known):
        return None
    return enums.named(enum_name, {name: known[name] for name in names if name in known})


def _qt_member(kind: type, name: str) -> Member | None:
    qt_class = next(base for base in kind.__mro__ if base.__module__.startswith("PySide6"))
    for base in kind.__mro__:
        function = differences.METHODS.get((base.__name__, name))
        if function is not None:
            return Difference(name, function)
        if (base.__name__, name) in differences.HIDDEN:
            return None
    meta = getattr(qt_class, "staticMetaObject", None)
    hidden = any((base.__name__, name) in differences.NO_PROPERTIES for base in kind.__mro__)
    if meta is not None and meta.indexOfProperty(name) >= 0 and not hidden:
        if name == "toolTip":
            return ToolTip(name)
        return QtProperty(name)
    found = None if name.startswith("__") else getattr(qt_class, name, None)
    if found is None:
        return None
    if isinstance(found, QtCore.Signal):
        return SignalMember(name)
    return constant(found, name) or QtMethod(name)


def constant(found: Any, name: str) -> Constant | None:
    """Return an enumeration, one of its values or a nested class of a PySide6 class."""
    if isinstance(found, type) and issubclass(found, enum.Enum):
        return Constant(name, enums.from_pyside(found))
    if isinstance(found, enum.Enum):
        return Constant(name, getattr(enums.from_pyside(type(found)), found.name))
    if isinstance(found, type):
        return Constant(name, wrapper_of(found))
    return None


# ---------------------------------------------------------------- what Python holds
class Slot:
    """A method of a wrapper, read as an attribute."""

    def __init__(self, wrapper: PythonQtObject, name: str) -> None:
        self._wrapper, self._name = wrapper, name
        self.__name__ = name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if named:
            raise ValueError(
                f"Called {self._name} with keyword arguments, but called slot does not support "
                "kwargs."
            )
        native = alive(self._wrapper, self._name)
        return member(type(native), self._name).call(self._wrapper, arguments)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Slot)
            and self._name == other._name
            and self._wrapper is other._wrapper
        )

    def __hash__(self) -> int:
        return hash((id(self._wrapper), self._name))


class ClassMethod:
    """A method read from a wrapper class: static, or to be called with an instance."""

    def __init__(self, kind: type, name: str) -> None:
        self._kind, self._name = kind, name

    def __call__(self, *arguments: Any) -> Any:
        function = differences.STATIC.get((self._kind.__name__, self._name))
        if function is not None:
            return wrap(function(*map(values.native, arguments)))
        found = inspect.getattr_static(self._kind, self._name, None)
        target = getattr(self._kind, self._name)
        if inspect.isbuiltin(target) or isinstance(found, staticmethod):
            return wrap(values.call(target, self._kind, self._name, arguments))
        bound = functools.partial(target, values.native(arguments[0]))
        return wrap(values.call(bound, self._kind, self._name, arguments[1:]))


class PythonQtType(type):
    """Class of the wrapper classes; their names are looked up in the native class."""

    def __getattr__(cls, name: str) -> Any:
        kind = type.__getattribute__(cls, "_native_class")
        if name in ("connect", "disconnect") and cls.__name__ == "QObject":
            return getattr(PythonQtObject, "_" + name)
        found = None if kind is None else member(kind, name)
        if found is None:
            raise AttributeError(f"{cls.__name__} has no attribute named '{name}'")
        if isinstance(found, Constant):
            return found.value
        if isinstance(found, (QtMethod, Difference)) or (kind.__name__, name) in differences.STATIC:
            return ClassMethod(kind, name)
        return found


class PythonQtObject(metaclass=PythonQtType):
    """A Python object that stands for a Qt object."""

    _native_class: type | None = None
    _native: Any = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        kind = type(self)._native_class
        if named:
            raise ValueError(
                f"Called {kind.__name__} with keyword arguments, but called slot does not support "
                "kwargs."
            )
        python_class = _python_subclass(type(self))
        if python_class is not None:
            kind = _with_overrides(python_class, kind)
        built = differences.CONSTRUCTORS.get(type(self).__name__)
        try:
            native = (
                built(*map(values.native, arguments))
                if built
                else values.call(kind, kind, "", _without_trailing_none(arguments))
            )
        except ValueError as problem:
            raise ValueError(
                f"Could not find matching overload for given arguments: {arguments}: {problem}"
            ) from None
        _adopt(self, native)
        if python_class is not None:
            native._python_side = self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        common = _COMMON.get(name)
        native = self._native
        if native is None:
            raise AttributeError(f"{type(self).__name__}.__init__ was not called before '{name}'")
        found = member(type(native), name)
        if found is not None and not (common and isinstance(found, QtMethod)):
            return found.get(self)
        if isinstance(native, QtCore.QObject):
            if common is not None:
                return functools.partial(common, self)
            if name == "name":
                return alive(self, name).objectName()
            return _child_or_dynamic(self, name)
        raise AttributeError(f"{class_name(self)} has no attribute named '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        native = self._native
        python_class = _python_subclass(type(self))
        if native is None or name in self.__dict__ or name.startswith("__"):
            object.__setattr__(self, name, value)
            return
        found = member(type(native), name)
        if found is not None and not isinstance(found, SignalMember):
            if isinstance(found, (QtProperty, InventoryProperty)) or python_class is None:
                _set(self, found, value)
                return
        elif name == "name" and isinstance(native, QtCore.QObject):
            alive(self, name).setObjectName(values.to_text(value))
            return
        elif isinstance(native, QtCore.QObject) and name.encode() in native.dynamicPropertyNames():
            native.setProperty(name, values.native(value))
            return
        if python_class is None:
            raise AttributeError(
                f"'{name}' does not exist on {class_name(self)} and creating new attributes on "
                "C++ objects is not allowed"
            )
        object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        if other is None:
            return not _is_alive(self._native)
        inner = getattr(other, "_native", other)
        if self._native is inner:
            return True
        if isinstance(self._native, QtCore.QObject) or inner is other:
            return False
        try:
            return bool(self._native == inner)
        except (TypeError, NotImplementedError):
            return False

    def __hash__(self) -> int:
        return id(self._native)

    def __bool__(self) -> bool:
        if isinstance(self._native, QtWidgets.QLayout):
            return not self._native.isEmpty()
        return _is_alive(self._native)

    def __add__(self, other: Any) -> Any:
        return wrap(self._native + values.native(other))

    def __sub__(self, other: Any) -> Any:
        return wrap(self._native - values.native(other))

    def __repr__(self) -> str:
        return f"{class_name(self)} ({type(self).__name__} at: 0x{id(self._native):x})"

    def _connect(self, text: str, *target: Any) -> bool:
        """Connect: ``(signal, callable)`` or ``(signal, receiver, slot signature)``."""
        if len(target) == 2:
            slot = getattr(target[0], inventory.normalised(target[1]).split("(")[0], None)
            if slot is None:
                return (
                    signals.connect(alive(self, text), "nosuch", None) if signals.strict else False
                )
            return signals.connect(alive(self, text), text, slot)
        return signals.connect(alive(self, text), text, *target)

    def _disconnect(self, text: str, *target: Any) -> bool:
        if len(target) == 2:
            target = (getattr(target[0], target[1].split("(")[0]),)
        return signals.disconnect(alive(self, text), text, *target)


def _set(wrapper: PythonQtObject, found: Member, value: Any) -> None:
    try:
        found.set(wrapper, value)
    except values.NoConversion:
        raise ValueError(
            f"Property '{found.name}' of type {class_name(wrapper)} does not accept {value!r}"
        ) from None


def _without_trailing_none(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    while arguments and arguments[-1] is None:
        arguments = arguments[:-1]
    return arguments


# ---------------------------------------------------------------- names that every QObject has
def _children(wrapper: PythonQtObject) -> tuple[Any, ...]:
    return wrap(alive(wrapper, "children").children())


def _property(wrapper: PythonQtObject, name: str) -> Any:
    native = alive(wrapper, name)
    found = member(type(native), name)
    if isinstance(found, (QtProperty, InventoryProperty)):
        return found.get(wrapper)
    return wrap(native.property(name))


def _set_property(wrapper: PythonQtObject, name: str, value: Any) -> bool:
    native = alive(wrapper, name)
    found = member(type(native), name)
    if isinstance(found, (QtProperty, InventoryProperty)):
        _set(wrapper, found, value)
        return True
    native.setProperty(name, values.native(value))
    return False


def _find_children(wrapper: PythonQtObject, kind: Any, name: str = "") -> tuple[Any, ...]:
    wanted = kind if isinstance(kind, str) else kind.__name__
    return tuple(
        wrap(child)
        for child in alive(wrapper, "findChildren").findChildren(QtCore.QObject)
        if child.inherits(wanted) and (not name or child.objectName() == name)
    )


def _find_child(wrapper: PythonQtObject, kind: Any, name: str = "") -> Any:
    return next(iter(_find_children(wrapper, kind, name)), None)


def _delete(wrapper: PythonQtObject) -> None:
    shiboken6.delete(alive(wrapper, "delete"))


def _install_event_filter(wrapper: PythonQtObject, watcher: PythonQtObject) -> None:
    alive(wrapper, "installEventFilter").installEventFilter(watcher._native)


def _names(wrapper: PythonQtObject) -> tuple[Any, ...]:
    return tuple(wrap(name) for name in alive(wrapper, "dynamic").dynamicPropertyNames())


_COMMON = {
    "connect": PythonQtObject._connect,
    "disconnect": PythonQtObject._disconnect,
    "className": lambda wrapper: class_name(wrapper),
    "children": _children,
    "property": _property,
    "setProperty": _set_property,
    "findChildren": _find_children,
    "findChild": _find_child,
    "delete": _delete,
    "installEventFilter": _install_event_filter,
    "dynamicPropertyNames": _names,
}


def _child_or_dynamic(wrapper: PythonQtObject, name: str) -> Any:
    """Return the child with that object name, or a dynamic property (probes ``ui.child*``)."""
    native = alive(wrapper, name)
    for child in native.children():
        if child.objectName() == name:
            return wrap(child)
    if name.encode() in [bytes(known) for known in native.dynamicPropertyNames()]:
        return wrap(native.property(name))
    raise AttributeError(f"{class_name(wrapper)} has no attribute named '{name}'")


# ---------------------------------------------------------------- wrapping
def _is_alive(native: Any) -> bool:
    return native is not None and shiboken6.isValid(native)


def alive(wrapper: PythonQtObject, name: str) -> Any:
    """Return the native object, or raise as PythonQt does when it was deleted."""
    if not _is_alive(wrapper._native):
        raise ValueError(
            f"Trying to read property '{name}' from a destroyed {type(wrapper).__name__} object"
        )
    return wrapper._native


def class_name(wrapper: PythonQtObject) -> str:
    """Return the class name of the wrapped object (of its Python class, if it has one)."""
    python_class = _python_subclass(type(wrapper))
    return (python_class or type(wrapper)).__name__


def _python_subclass(kind: type) -> type | None:
    """Return the class when it was written in Python on top of a wrapper class."""
    return None if "_native_class" in kind.__dict__ else kind


def _adopt(wrapper: PythonQtObject, native: Any) -> None:
    object.__setattr__(wrapper, "_native", native)
    if isinstance(native, QtCore.QObject):
        _wrappers[shiboken6.getCppPointer(native)[0]] = wrapper


@functools.cache
def _with_overrides(python_class: type, kind: type) -> type:
    """Return a native class whose virtual methods call those that Python overrode."""
    overrides = {}
    for base in python_class.__mro__:
        if "_native_class" in base.__dict__:
            break
        for name, function in base.__dict__.items():
            is_method = inspect.isfunction(function) and not name.startswith("__")
            if is_method and callable(getattr(kind, name, None)):
                overrides.setdefault(name, _override(function, getattr(kind, name)))
    return type(python_class.__name__, (kind,), overrides)


def _override(function: Any, original: Any) -> Any:
    def method(native: Any, *arguments: Any) -> Any:
        wrapper = getattr(native, "_python_side", None)
        if wrapper is None:
            return original(native, *arguments)
        return values.native(function(wrapper, *map(wrap, arguments)))

    return method


@functools.cache
def wrapper_of(kind: type) -> type:
    """Return the wrapper class of a PySide6 or stand-in class."""
    for base in kind.__mro__:
        if issubclass(base, Native) and base.__dict__.get("inventory_name"):
            return wrapper_class(base.inventory_name)
        if issubclass(base, Native) and base.__name__ in inventory.classes():
            return wrapper_class(base.__name__)
        if base.__module__.startswith("PySide6"):
            return wrapper_class(base.__qualname__)
    raise TypeError(kind)


@functools.cache
def wrapper_class(name: str) -> type:
    """Return the class that Python sees under a C++ class name."""
    return PythonQtType(
        name.split(".")[-1],
        (PythonQtObject,),
        {"_native_class": _qt_class(name), "__module__": "qt"},
    )


def _qt_class(name: str) -> type:
    if name in inventory.classes():
        return native_class(name)
    for module in _MODULES:
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part, None)
        if isinstance(found, type):
            return found
    raise AttributeError(name)


def wrap(value: Any) -> Any:
    """Return a value that came from Qt as PythonQt gives it to Python."""
    if value is None or isinstance(value, (bool, str, bytes, float)):
        return value
    if isinstance(value, enum.Enum):
        return enums.wrap(value)
    if isinstance(value, (list, tuple)):
        return tuple(wrap(item) for item in value)
    if type(value) is dict:
        return {key: wrap(item) for key, item in value.items()}
    if isinstance(value, QtCore.QObject):
        return _wrap_object(value)
    if type(value).__module__.startswith("PySide6"):
        wrapper = object.__new__(wrapper_of(type(value)))
        object.__setattr__(wrapper, "_native", value)
        return wrapper
    return value


def _wrap_object(native: QtCore.QObject) -> PythonQtObject:
    known = _wrappers.get(shiboken6.getCppPointer(native)[0])
    if known is not None and known._native is native:
        return known
    wrapper = object.__new__(wrapper_of(type(native)))
    _adopt(wrapper, native)
    return wrapper
