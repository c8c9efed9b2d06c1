"""Connection of parameters to widgets (probes ``pnw.gui_*``)."""

from __future__ import annotations

import enum
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from . import annotations as notes
from . import packs, serializers


class Connector:
    """A widget that shows the value of a parameter."""

    signal = ""

    def __init__(self, widget: Any, member: packs.Member) -> None:
        self.widget, self.member = widget, member
        self._slot: Callable[..., None] | None = None
        self.set_up()

    def set_up(self) -> None:
        """Give the widget the limits, items, ... of the parameter."""

    def read(self) -> Any:
        raise NotImplementedError

    def write(self, value: Any) -> None:
        raise NotImplementedError

    def connect(self, changed: Callable[[], None]) -> None:
        if self.signal:
            self._slot = lambda *_: changed()
            self.widget.connect(self.signal, self._slot)

    def disconnect(self) -> None:
        if self._slot is not None and self.widget:
            self.widget.disconnect(self.signal, self._slot)
        self._slot = None


class NumberConnector(Connector):
    """Numbers on sliders and spin boxes: sliders need a range."""

    signal = "valueChanged(double)"
    needs_range = False

    def set_up(self) -> None:
        extras, widget = self.member.extras, self.widget
        within = notes.first(extras, notes.WithinRange)
        low = within or notes.first(extras, notes.Minimum)
        high = within or notes.first(extras, notes.Maximum)
        if self.needs_range and (low is None or high is None):
            raise RuntimeError(
                f"Cannot have a connection to {widget.className()} where the "
                f"{self.member.kind.__name__} types is unbounded."
            )
        step = notes.first(extras, notes.SingleStep)
        decimals = notes.first(extras, notes.Decimals)
        if decimals is not None and hasattr(widget, "decimals"):
            widget.decimals = decimals.value
        if step is not None:
            widget.singleStep = step.value
        smallest, largest = self.unbounded()
        widget.minimum = smallest if low is None else low.minimum
        widget.maximum = largest if high is None else high.maximum

    def unbounded(self) -> tuple[float, float]:
        return -sys.float_info.max, sys.float_info.max

    def read(self) -> Any:
        return self.member.kind(self.widget.value)

    def write(self, value: Any) -> None:
        if self.read() != value:
            self.widget.value = value


class SliderConnector(NumberConnector):
    """A slider."""

    needs_range = True


class IntegerConnector(NumberConnector):
    """QSpinBox and QSlider."""

    signal = "valueChanged(int)"

    def unbounded(self) -> tuple[float, float]:
        return -(2**31), 2**31 - 1


class IntegerSliderConnector(IntegerConnector):
    """QSlider needs a range."""

    needs_range = True


class CheckConnector(Connector):
    """Check boxes and checkable buttons."""

    signal = "toggled(bool)"

    def set_up(self) -> None:
        self.widget.checkable = True

    def read(self) -> bool:
        return self.widget.checked

    def write(self, value: bool) -> None:
        self.widget.checked = value


class LineConnector(Connector):
    """QLineEdit."""

    signal = "textChanged(QString)"

    def read(self) -> str:
        return self.widget.text

    def write(self, value: str) -> None:
        if self.widget.text != value:
            self.widget.text = value


class LabelConnector(LineConnector):
    """QLabel only shows."""

    signal = ""


class TextConnector(Connector):
    """QTextEdit."""

    signal = "textChanged()"

    def read(self) -> str:
        return self.widget.plainText

    def write(self, value: str) -> None:
        if self.widget.plainText != value:
            self.widget.plainText = value


class PathConnector(Connector):
    """ctkPathLineEdit."""

    signal = "currentPathChanged(QString)"

    def read(self) -> Any:
        return self.member.kind(self.widget.currentPath)

    def write(self, value: Any) -> None:
        self.widget.currentPath = str(value)


class DirectoryConnector(PathConnector):
    """ctkDirectoryButton."""

    signal = "directoryChanged(QString)"

    def read(self) -> Any:
        return self.member.kind(self.widget.directory)

    def write(self, value: Any) -> None:
        self.widget.directory = str(value)


class RangeConnector(Connector):
    """Range widgets."""

    signal = "valuesChanged(double,double)"

    def set_up(self) -> None:
        bounds = notes.first(self.member.extras, notes.RangeBounds)
        if bounds is None:
            raise RuntimeError(
                f"Cannot have a connection to {self.widget.className()} where the range is "
                "unbounded."
            )
        if self.member.assigned:
            # The desktop validates the default against the bounds as if it were a number
            # (pnw.gui_range_default_by_assignment_fails): use the Default annotation.
            raise AttributeError("'int' object has no attribute 'minimum'")
        self.widget.setRange(bounds.minimum, bounds.maximum)

    def read(self) -> packs.FloatRange:
        return packs.FloatRange(self.widget.minimumValue, self.widget.maximumValue)

    def write(self, value: packs.FloatRange) -> None:
        self.widget.setValues(value.minimum, value.maximum)


class ItemsConnector(Connector):
    """QComboBox with the items of an enumeration or a choice."""

    signal = "currentIndexChanged(int)"

    def set_up(self) -> None:
        if isinstance(self.member.kind, type) and issubclass(self.member.kind, enum.Enum):
            self._values = list(self.member.kind)
            texts = [item.label() if hasattr(item, "label") else item.name for item in self._values]
        else:
            self._values = notes.first(self.member.extras, notes.Choice).choices
            texts = [str(value) for value in self._values]
        self.widget.clear()
        self.widget.addItems(texts)

    def read(self) -> Any:
        return self._values[self.widget.currentIndex]

    def write(self, value: Any) -> None:
        self.widget.currentIndex = self._values.index(value)


class NodeConnector(Connector):
    """Node selectors."""

    signal = "currentNodeChanged(vtkMRMLNode*)"

    def read(self) -> Any:
        return self.widget.currentNode()

    def write(self, value: Any) -> None:
        if self.widget.currentNode() is not value:
            self.widget.setCurrentNode(value)


class ItemConnector(NodeConnector):
    """Subject hierarchy widgets."""

    signal = "currentItemChanged(vtkIdType)"


def _is_number(member: packs.Member) -> bool:
    return member.kind in (int, float)


def _is_kind(kind: Any) -> Callable[[packs.Member], bool]:
    return lambda member: member.kind is kind


def _has_items(member: packs.Member) -> bool:
    is_enum = isinstance(member.kind, type) and issubclass(member.kind, enum.Enum)
    return is_enum or notes.first(member.extras, notes.Choice) is not None


def _is_path(member: packs.Member) -> bool:
    return isinstance(member.kind, type) and issubclass(member.kind, pathlib.PurePath)


def _is_node(member: packs.Member) -> bool:
    """Tell whether the parameter holds a node, perhaps an optional one."""
    import typing

    parts = [part for part in typing.get_args(member.kind) if part is not type(None)]
    return all(serializers.is_node_type(part) for part in parts or [member.kind])


_BY_WIDGET: dict[str, tuple[Callable[[packs.Member], bool], type[Connector]]] = {
    "ctkSliderWidget": (_is_number, SliderConnector),
    "ctkDoubleSlider": (_is_number, SliderConnector),
    "qMRMLSliderWidget": (_is_number, SliderConnector),
    "QDoubleSpinBox": (_is_number, NumberConnector),
    "ctkDoubleSpinBox": (_is_number, NumberConnector),
    "qMRMLSpinBox": (_is_number, NumberConnector),
    "QSpinBox": (_is_kind(int), IntegerConnector),
    "QSlider": (_is_kind(int), IntegerSliderConnector),
    "QCheckBox": (_is_kind(bool), CheckConnector),
    "ctkCheckBox": (_is_kind(bool), CheckConnector),
    "QPushButton": (_is_kind(bool), CheckConnector),
    "ctkCheckablePushButton": (_is_kind(bool), CheckConnector),
    "QLineEdit": (_is_kind(str), LineConnector),
    "QLabel": (_is_kind(str), LabelConnector),
    "QTextEdit": (_is_kind(str), TextConnector),
    "ctkPathLineEdit": (_is_path, PathConnector),
    "ctkDirectoryButton": (_is_path, DirectoryConnector),
    "ctkRangeWidget": (_is_kind(packs.FloatRange), RangeConnector),
    "ctkDoubleRangeSlider": (_is_kind(packs.FloatRange), RangeConnector),
    "qMRMLRangeWidget": (_is_kind(packs.FloatRange), RangeConnector),
    "QComboBox": (_has_items, ItemsConnector),
    "ctkComboBox": (_has_items, ItemsConnector),
    "qMRMLNodeComboBox": (_is_node, NodeConnector),
    "qMRMLSubjectHierarchyComboBox": (_is_node, ItemConnector),
    "qMRMLSubjectHierarchyTreeView": (_is_node, ItemConnector),
}


def make(widget: Any, member: packs.Member) -> Connector:
    """Return the connector of a widget for a parameter.

    Raises
    ------
    RuntimeError
        When widgets of that class do not show values of that type.
    """
    fits, kind = _BY_WIDGET.get(widget.className(), (lambda _: False, Connector))
    if not fits(member):
        raise RuntimeError(
            f"Unable to create GUI connector from datatype '{member.kind}' to widget type "
            f"'{type(widget)}'. To determine the problem check the supported widgets."
        )
    return kind(widget, member)
