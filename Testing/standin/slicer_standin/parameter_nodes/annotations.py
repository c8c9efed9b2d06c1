"""Annotations of parameters: validators, defaults, hints for widgets."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from typing import Any


class Default:
    """Default value of a parameter."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Decimals:
    """Number of decimals that a widget shows."""

    def __init__(self, value: int) -> None:
        self.value = value


class SingleStep:
    """Step of a widget."""

    def __init__(self, value: float) -> None:
        self.value = value


class Validator:
    """Base of validators."""

    def validate(self, value: Any) -> None:
        """Raise ValueError or TypeError when the value is not allowed."""


class NotNone(Validator):
    """Refuses None."""

    def validate(self, value: Any) -> None:
        if value is None:
            raise ValueError("Value must not be None")


class IsInstance(Validator):
    """Refuses other types."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def validate(self, value: Any) -> None:
        if not isinstance(value, self.kind):
            raise TypeError(
                f"Value must be of type '{self.kind}', is type '{type(value)}' value '{value}'"
            )


class WithinRange(Validator):
    """Closed range of a number; also sets the range of its widget."""

    def __init__(self, minimum: float, maximum: float) -> None:
        if maximum < minimum:
            raise ValueError(f"Maximum must be greater than minimum: {maximum} < {minimum}")
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(
                f"Value must be within range [{self.minimum}, {self.maximum}], is {value}"
            )


class Minimum(Validator):
    """Smallest allowed number."""

    def __init__(self, minimum: float) -> None:
        self.minimum = minimum

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"Value must be greater than {self.minimum}, is {value}")


class Maximum(Validator):
    """Largest allowed number."""

    def __init__(self, maximum: float) -> None:
        self.maximum = maximum

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"Value must be less than {self.maximum}, is {value}")


class Choice(Validator):
    """One of several values; also fills the items of its widget."""

    def __init__(self, choices: Iterable[Any]) -> None:
        self.choices = list(choices)

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(
                f"Value is {value}, but must be in one of the following: {self.choices}"
            )


class Exclude(Validator):
    """None of several values."""

    def __init__(self, excluded: Iterable[Any]) -> None:
        self.excluded = list(excluded)

    def validate(self, value: Any) -> None:
        if value in self.excluded:
            raise ValueError(f"Value is {value}, but must not be in: {self.excluded}")


class RangeBounds(Validator):
    """Limits of the widget of a range. Values outside are not refused (pnw.float_range_bounds*)."""

    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum


def split(annotation: Any) -> tuple[Any, list[Any]]:
    """Return type and annotations of an ``Annotated`` type."""
    if typing.get_origin(annotation) is typing.Annotated:
        kind, *extras = typing.get_args(annotation)
        return kind, extras
    return annotation, []


def first(extras: list[Any], kind: type) -> Any:
    """Return the first annotation of a kind, or None."""
    return next((extra for extra in extras if isinstance(extra, kind)), None)
