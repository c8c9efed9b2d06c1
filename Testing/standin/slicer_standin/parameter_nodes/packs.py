"""Parameter packs: several parameters under one name."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

import slicer

from . import annotations as notes
from . import serializers


def isParameterPack(candidate: Any) -> bool:
    """Tell whether a class (or an instance of it) is a parameter pack."""
    kind = candidate if isinstance(candidate, type) else type(candidate)
    return hasattr(kind, "_pack_members")


class Member:
    """One member of a pack or wrapper: type, default, serializer."""

    def __init__(self, owner: type, name: str, annotation: Any) -> None:
        self.name = name
        self.kind, self.extras = notes.split(annotation)
        try:
            self.serializer = serializers.make(annotation)
        except serializers.Unsupported:
            raise Exception(f"Unable to create serializer for {owner} member {name}") from None
        annotated = notes.first(self.extras, notes.Default)
        self.assigned = name in owner.__dict__
        if self.assigned:
            self.default = owner.__dict__[name]
        elif annotated is not None:
            self.default = annotated.value
        else:
            self.default = self.serializer.default()


def members_of(kind: type) -> dict[str, Member]:
    """Return the annotated members of a class and its bases."""
    hints = typing.get_type_hints(kind, include_extras=True)
    members: dict[str, Member] = {}
    for base in reversed(kind.__mro__):
        known = base.__dict__.get("_pack_members") or base.__dict__.get("_members")
        if known:
            members.update(known)
            continue
        for name in inspect.get_annotations(base):
            members[name] = Member(base, name, hints[name])
    return members


def parameterPack(kind: type | None = None) -> Any:
    """Make a class of annotated members a pack that can be a parameter."""
    if kind is None:
        return parameterPack
    members = members_of(kind)
    for member in members.values():
        member.serializer.validate(member.default)
    own_init = kind.__dict__.get("__init__")

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        given = dict(zip(members, values, strict=False)) | named
        unknown = set(given) - set(members)
        if unknown or len(values) > len(members):
            raise TypeError(f"{kind.__name__} has no member {sorted(unknown)}")
        object.__setattr__(self, "_values", {name: m.default for name, m in members.items()})
        for name, value in given.items():
            setattr(self, name, value)

    kind._pack_members = members
    if own_init is None:
        kind.__init__ = __init__
    for name in members:
        setattr(kind, name, _member_property(name))
    kind.__eq__ = _same
    kind.__hash__ = None
    kind.__repr__ = _text
    kind.dataType = classmethod(lambda cls, name: data_type(cls, name))
    kind.getValue = lambda self, name: _walk(self, name)
    kind.setValue = _set_value
    kind.allParameters = members
    return kind


def _member_property(name: str) -> property:
    def get(self: Any) -> Any:
        return self._values[name]

    def set_(self: Any, value: Any) -> None:
        self._pack_members[name].serializer.validate(value)
        self._values[name] = value
        changed = getattr(self, "_changed", None)
        if changed is not None:
            changed(name, value)

    return property(get, set_)


def _same(self: Any, other: object) -> bool:
    return (
        isParameterPack(other)
        and set(self._pack_members) == set(other._pack_members)
        and all(getattr(self, name) == getattr(other, name) for name in self._pack_members)
    )


def _text(self: Any) -> str:
    inner = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._pack_members)
    return f"{type(self).__name__}({inner})"


def _walk(pack: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        pack = getattr(pack, part)
    return pack


def _set_value(self: Any, dotted: str, value: Any) -> None:
    *path, last = dotted.split(".")
    setattr(_walk(self, ".".join(path)) if path else self, last, value)


def data_type(kind: type, dotted: str) -> Any:
    """Return the type of a member, also of a member of a member."""
    return find_member(kind._pack_members, dotted).kind


def find_member(members: dict[str, Member], dotted: str) -> Member:
    """Return a member by its dotted name, or raise KeyError."""
    first, _, rest = dotted.partition(".")
    member = members[first]
    return find_member(member.kind._pack_members, rest) if rest else member


class PackSerializer(serializers.Serializer):
    """Members are stored under dotted names; a pack that was read writes its changes back."""

    def __init__(self, kind: type) -> None:
        super().__init__([notes.NotNone()])
        self._kind = kind

    @property
    def _members(self) -> dict[str, Member]:
        return self._kind._pack_members

    def default(self) -> Any:
        return self._build({name: member.default for name, member in self._members.items()})

    def _build(self, values: dict[str, Any]) -> Any:
        pack = self._kind.__new__(self._kind)
        object.__setattr__(pack, "_values", values)
        return pack

    def validate(self, value: Any) -> None:
        super().validate(value)
        if not isinstance(value, self._kind):
            raise TypeError(
                f"Value must be of type '{self._kind}', is type '{type(value)}' value '{value}'"
            )
        for validator in self.validators[1:]:
            validator.validate(value)

    def is_in(self, node: Any, name: str) -> bool:
        return all(
            member.serializer.is_in(node, f"{name}.{part}")
            or isinstance(member.serializer, serializers.NodeSerializer)
            for part, member in self._members.items()
        )

    def read(self, node: Any, name: str) -> Any:
        pack = self._build(
            {part: m.serializer.read(node, f"{name}.{part}") for part, m in self._members.items()}
        )
        object.__setattr__(pack, "_changed", self._writer(node, name))
        return pack

    def _writer(self, node: Any, name: str) -> Callable[[str, Any], None]:
        def write(part: str, value: Any) -> None:
            self._members[part].serializer.write(node, f"{name}.{part}", value)

        return write

    def write(self, node: Any, name: str, value: Any) -> None:
        with slicer.util.NodeModify(node):
            for part, member in self._members.items():
                member.serializer.write(node, f"{name}.{part}", getattr(value, part))

    def remove(self, node: Any, name: str) -> None:
        for part, member in self._members.items():
            member.serializer.remove(node, f"{name}.{part}")


@parameterPack
class FloatRange:
    """Two numbers in order (probes ``pnw.float_range*``)."""

    minimum: float
    maximum: float

    def __init__(self, minimum: float = 0.0, maximum: float = 0.0) -> None:
        if minimum > maximum:
            raise ValueError(f"FloatRange must have minimum <= maximum: {minimum} <= {maximum}")
        object.__setattr__(self, "_values", {"minimum": float(minimum), "maximum": float(maximum)})
