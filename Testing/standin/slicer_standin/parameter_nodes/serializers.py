"""How values of a type are stored in a parameter node (probes ``pnw.stored_strings``, ...)."""

from __future__ import annotations

import collections.abc
import enum
import json
import pathlib
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import slicer

from . import annotations as notes


class Unsupported(Exception):
    """There is no way to store values of the type."""


class Serializer:
    """Stores values of one type under a name."""

    validators: list[notes.Validator]

    def __init__(self, validators: list[notes.Validator] | None = None) -> None:
        self.validators = validators or []

    def default(self) -> Any:
        raise NotImplementedError

    def validate(self, value: Any) -> None:
        for validator in self.validators:
            validator.validate(value)

    def is_in(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(name))

    def read(self, node: Any, name: str) -> Any:
        raise NotImplementedError

    def write(self, node: Any, name: str, value: Any) -> None:
        raise NotImplementedError

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)


class TextSerializer(Serializer):
    """Types whose values have a text: numbers, bool, str, Path."""

    def __init__(
        self, accepted: Any, parse: Callable[[str], Any], default: Any, **kwargs: Any
    ) -> None:
        super().__init__([notes.NotNone(), notes.IsInstance(accepted)], **kwargs)
        self._parse, self._default = parse, default

    def default(self) -> Any:
        return self._default

    def read(self, node: Any, name: str) -> Any:
        return self._parse(node.GetParameter(name))

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, str(value))


class EnumSerializer(Serializer):
    """Enumerations are stored by name."""

    def __init__(self, kind: type[enum.Enum]) -> None:
        super().__init__([notes.NotNone(), notes.IsInstance(kind)])
        self._kind = kind

    def default(self) -> Any:
        return next(iter(self._kind))

    def read(self, node: Any, name: str) -> Any:
        return self._kind[node.GetParameter(name)]

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, value.name)


class NodeSerializer(Serializer):
    """Nodes are references; None is always allowed."""

    def __init__(self, kinds: Any) -> None:
        super().__init__()
        self._check = notes.IsInstance(kinds)

    def default(self) -> Any:
        return None

    def validate(self, value: Any) -> None:
        if value is not None:
            self._check.validate(value)

    def is_in(self, node: Any, name: str) -> bool:
        return node.GetNodeReferenceID(name) is not None

    def read(self, node: Any, name: str) -> Any:
        return node.GetNodeReference(name)

    def write(self, node: Any, name: str, value: Any) -> None:
        identifier = None if value is None or value.GetScene() is None else value.GetID()
        node.SetNodeReferenceID(name, identifier)

    def remove(self, node: Any, name: str) -> None:
        node.SetNodeReferenceID(name, None)


class NoneSerializer(Serializer):
    """The None of an optional value."""

    def __init__(self) -> None:
        super().__init__([notes.IsInstance(type(None))])

    def default(self) -> Any:
        return None

    def read(self, node: Any, name: str) -> Any:
        return None

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "None")


class UnionSerializer(Serializer):
    """One of several types: stored under the number of the type."""

    def __init__(self, options: list[Serializer]) -> None:
        super().__init__()
        self._options = options

    def default(self) -> Any:
        if any(isinstance(option, NoneSerializer) for option in self._options):
            return None
        return self._options[0].default()

    def _option(self, value: Any) -> int:
        problem: Exception | None = None
        for number, option in enumerate(self._options):
            if value is None and isinstance(option, NodeSerializer) and self.default() is None:
                continue
            try:
                option.validate(value)
            except (TypeError, ValueError) as refused:
                problem = problem or refused
            else:
                return number
        raise problem

    def validate(self, value: Any) -> None:
        self._option(value)

    def is_in(self, node: Any, name: str) -> bool:
        return any(option.is_in(node, f"{name}.{i}") for i, option in enumerate(self._options))

    def read(self, node: Any, name: str) -> Any:
        for number, option in enumerate(self._options):
            if option.is_in(node, f"{name}.{number}"):
                return option.read(node, f"{name}.{number}")
        return None

    def write(self, node: Any, name: str, value: Any) -> None:
        chosen = self._option(value)
        with slicer.util.NodeModify(node):
            for number, option in enumerate(self._options):
                if number != chosen and option.is_in(node, f"{name}.{number}"):
                    option.remove(node, f"{name}.{number}")
            self._options[chosen].write(node, f"{name}.{chosen}", value)


class SequenceSerializer(Serializer):
    """Lists: length and elements; reading gives an :class:`ObservedList`."""

    def __init__(self, element: Serializer) -> None:
        super().__init__([notes.NotNone()])
        self._element = element

    def default(self) -> Any:
        return []

    def validate(self, value: Any) -> None:
        super().validate(value)
        if not isinstance(value, (list, tuple, ObservedList)):
            raise TypeError(f"Value must be a list, is type '{type(value)}' value '{value}'")
        for item in value:
            self._element.validate(item)

    def is_in(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(f"{name}.len"))

    def read(self, node: Any, name: str) -> Any:
        count = int(node.GetParameter(f"{name}.len"))
        values = [self._element.read(node, f"{name}.{number}") for number in range(count)]
        return ObservedList(values, lambda changed: self.checked_write(node, name, changed))

    def checked_write(self, node: Any, name: str, value: Any) -> None:
        self.validate(value)
        self.write(node, name, value)

    def write(self, node: Any, name: str, value: Any) -> None:
        before = int(node.GetParameter(f"{name}.len") or 0)
        with slicer.util.NodeModify(node):
            node.SetParameter(f"{name}.len", str(len(value)))
            for number, item in enumerate(value):
                self._element.write(node, f"{name}.{number}", item)
            for number in range(len(value), before):
                self._element.remove(node, f"{name}.{number}")

    def remove(self, node: Any, name: str) -> None:
        self.write(node, name, [])
        node.UnsetParameter(f"{name}.len")


class TupleSerializer(Serializer):
    """Tuples of fixed length."""

    def __init__(self, elements: list[Serializer]) -> None:
        super().__init__([notes.NotNone(), notes.IsInstance(tuple)])
        self._elements = elements

    def default(self) -> Any:
        return tuple(element.default() for element in self._elements)

    def validate(self, value: Any) -> None:
        super().validate(value)
        if len(value) != len(self._elements):
            raise ValueError(f"Value must have {len(self._elements)} elements, is {value}")
        for element, item in zip(self._elements, value, strict=True):
            element.validate(item)

    def is_in(self, node: Any, name: str) -> bool:
        return all(each.is_in(node, f"{name}.{i}") for i, each in enumerate(self._elements))

    def read(self, node: Any, name: str) -> Any:
        return tuple(each.read(node, f"{name}.{i}") for i, each in enumerate(self._elements))

    def write(self, node: Any, name: str, value: Any) -> None:
        with slicer.util.NodeModify(node):
            for number, (element, item) in enumerate(zip(self._elements, value, strict=True)):
                element.write(node, f"{name}.{number}", item)

    def remove(self, node: Any, name: str) -> None:
        for number, element in enumerate(self._elements):
            element.remove(node, f"{name}.{number}")


class DictSerializer(Serializer):
    """Dictionaries: pairs, numbered; reading gives an :class:`ObservedDict`."""

    def __init__(self, key: Serializer, value: Serializer) -> None:
        super().__init__([notes.NotNone()])
        self._pairs = SequenceSerializer(TupleSerializer([key, value]))

    def default(self) -> Any:
        return {}

    def validate(self, value: Any) -> None:
        super().validate(value)
        if not isinstance(value, (dict, ObservedDict)):
            raise TypeError(f"Value must be a dict, is type '{type(value)}' value '{value}'")
        self._pairs.validate(list(value.items()))

    def is_in(self, node: Any, name: str) -> bool:
        return self._pairs.is_in(node, name)

    def read(self, node: Any, name: str) -> Any:
        def changed(values: dict[Any, Any]) -> None:
            self.validate(values)
            self.write(node, name, values)

        return ObservedDict(dict(self._pairs.read(node, name)), changed)

    def write(self, node: Any, name: str, value: Any) -> None:
        self._pairs.write(node, name, list(value.items()))

    def remove(self, node: Any, name: str) -> None:
        self._pairs.remove(node, name)


class AnySerializer(Serializer):
    """Anything that JSON can hold."""

    def default(self) -> Any:
        return None

    def read(self, node: Any, name: str) -> Any:
        return json.loads(node.GetParameter(name))

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, json.dumps(value))


class ObservedList(collections.abc.MutableSequence):
    """A list that stores itself in the node when it is changed; no subclass of ``list``."""

    def __init__(self, values: list[Any], changed: Callable[[list[Any]], None]) -> None:
        self._values, self._changed = values, changed

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._change(lambda values: values.__setitem__(index, value))

    def __delitem__(self, index: Any) -> None:
        self._change(lambda values: values.__delitem__(index))

    def __len__(self) -> int:
        return len(self._values)

    def insert(self, index: int, value: Any) -> None:
        self._change(lambda values: values.insert(index, value))

    def _change(self, action: Callable[[list[Any]], None]) -> None:
        values = list(self._values)
        action(values)
        self._changed(values)
        self._values = values

    def __eq__(self, other: object) -> bool:
        return list(self) == (list(other) if isinstance(other, ObservedList) else other)

    __hash__ = None

    def __repr__(self) -> str:
        return f"ObservedList({self._values})"


class ObservedDict(collections.abc.MutableMapping):
    """A dictionary that stores itself in the node when it is changed."""

    def __init__(self, values: dict[Any, Any], changed: Callable[[dict[Any, Any]], None]) -> None:
        self._values, self._changed = values, changed

    def __getitem__(self, key: Any) -> Any:
        return self._values[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        values = {**self._values, key: value}
        self._changed(values)
        self._values = values

    def __delitem__(self, key: Any) -> None:
        values = {known: item for known, item in self._values.items() if known != key}
        self._changed(values)
        self._values = values

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"ObservedDict({self._values})"


def is_node_type(kind: Any) -> bool:
    """Tell whether a type is a MRML node class."""
    return isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)


def make(annotation: Any) -> Serializer:
    """Return the serializer of an annotated type.

    Raises
    ------
    Unsupported
        When values of the type cannot be stored.
    """
    kind, extras = notes.split(annotation)
    serializer = _make(kind)
    serializer.validators = [
        *serializer.validators,
        *(extra for extra in extras if isinstance(extra, notes.Validator)),
    ]
    return serializer


_PLAIN: dict[Any, tuple[Any, Callable[[str], Any], Any]] = {
    int: (int, int, 0),
    float: ((int, float), float, 0.0),
    bool: (bool, lambda text: text == "True", False),
    str: (str, str, ""),
}


def _make(kind: Any) -> Serializer:
    if kind in _PLAIN:
        accepted, parse, default = _PLAIN[kind]
        return TextSerializer(accepted, parse, default)
    if kind is Any:
        return AnySerializer()
    if kind is type(None):
        return NoneSerializer()
    if isinstance(kind, type) and not typing.get_args(kind):
        return _make_class(kind)
    return _make_generic(typing.get_origin(kind), typing.get_args(kind))


def _make_class(kind: type) -> Serializer:
    from . import packs

    if issubclass(kind, enum.Enum):
        return EnumSerializer(kind)
    if issubclass(kind, pathlib.PurePath):
        return TextSerializer(kind, kind, kind())
    if is_node_type(kind):
        return NodeSerializer(kind)
    if packs.isParameterPack(kind):
        return packs.PackSerializer(kind)
    if kind is list:
        return SequenceSerializer(AnySerializer())
    raise Unsupported(kind)


def _make_generic(origin: Any, parts: tuple[Any, ...]) -> Serializer:
    if origin in (typing.Union, types.UnionType):
        if all(is_node_type(part) for part in parts):
            return NodeSerializer(parts)
        return UnionSerializer([make(part) for part in parts])
    if origin is list:
        return SequenceSerializer(make(parts[0]))
    if origin is tuple:
        return TupleSerializer([make(part) for part in parts])
    if origin is dict:
        return DictSerializer(make(parts[0]), make(parts[1]))
    raise Unsupported(origin)
