"""CTK and MRML widgets for numbers and ranges (probes ``ctk.slider.*``, ``ctk.range.*``, ...)."""

from __future__ import annotations

from typing import Any, ClassVar

from PySide6 import QtWidgets

from ..natives import Native
from .core import SceneHolder
from .drawing import Drawn


class _BoundedNumber(Drawn, Native, QtWidgets.QWidget):
    """A number between limits. Crossing limits pull each other, the value follows."""

    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 99.99
    stored: ClassVar = {
        "decimals": 2,
        "singleStep": 1.0,
        "prefix": "",
        "suffix": "",
        "tracking": True,
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._low, self._high, self._value = self.low, self.high, self.low

    def drawn_text(self) -> str:
        number = f"{self._value:.{self.held('decimals')}f}"
        return self.held("prefix") + number + self.held("suffix")

    def drawn_shares(self) -> list[float]:
        return [(self._value - self._low) / ((self._high - self._low) or 1)]

    def value(self) -> float:
        return self._value

    def minimum(self) -> float:
        return self._low

    def maximum(self) -> float:
        return self._high

    def setMinimum(self, low: float) -> None:
        self._low, self._high = low, max(low, self._high)
        self.setValue(self._value)

    def setMaximum(self, high: float) -> None:
        self._low, self._high = min(self._low, high), high
        self.setValue(self._value)

    def setValue(self, value: float) -> None:
        value = min(max(value, self._low), self._high)
        if value != self._value:
            self._value = value
            self.update()
            self.value_set(value)

    def value_set(self, value: float) -> None:
        self.emit("valueChanged(double)", value)


class ctkSliderWidget(_BoundedNumber):
    """Slider with spin box: range 0 to 99.99, values are not rounded (ctk.slider.*)."""

    stored: ClassVar = {
        "invertedAppearance": False,
        "invertedControls": False,
        "pageStep": 10.0,
        "popupSlider": False,
        "spinBoxAlignment": 4,
        "spinBoxVisible": True,
        "synchronizeSiblings": 0,
        "tickInterval": 0.0,
        "tickPosition": 0,
    }

    def value_set(self, value: float) -> None:
        if not self.held("tracking"):
            self.emit("valueIsChanging(double)", value)
        self.emit("valueChanged(double)", value)

    def reset(self) -> None:
        self.setValue(0.0)


class qMRMLSliderWidget(SceneHolder, ctkSliderWidget):
    """Slider that knows units."""

    stored: ClassVar = {"quantity": "", "unitAwareProperties": 0, "orientation": 1}


class ctkDoubleSlider(_BoundedNumber):
    """Slider for real numbers, 0 to 99."""

    high = 99.0
    stored: ClassVar = {
        "handleToolTip": "",
        "invertedAppearance": False,
        "invertedControls": False,
        "orientation": 2,
        "pageStep": 10.0,
        "tickInterval": 0.0,
        "tickPosition": 0,
    }

    def sliderPosition(self) -> float:
        return self._value

    def setSliderPosition(self, value: float) -> None:
        self.setValue(value)


class ctkDoubleSpinBox(_BoundedNumber):
    """Spin box that keeps all digits of its value (ctk.doublespinbox.*)."""

    stored: ClassVar = {
        "alignment": 1,
        "decimalsOption": 0,
        "frame": True,
        "invertedControls": False,
        "readOnly": False,
        "setMode": 1,
        "sizeHintPolicy": 0,
    }

    def cleanText(self) -> str:
        return f"{self._value:.{self.held('decimals')}f}"

    def value_set(self, value: float) -> None:
        self.emit("valueChanged(double)", value)
        self.emit("valueChanged(QString)", self.cleanText())

    def setValueIfDifferent(self, value: float) -> None:
        self.setValue(value)

    def stepUp(self) -> None:
        self.setValue(self._value + self.held("singleStep"))

    def stepDown(self) -> None:
        self.setValue(self._value - self.held("singleStep"))


class qMRMLSpinBox(SceneHolder, ctkDoubleSpinBox):
    """Spin box that knows units."""

    stored: ClassVar = {"quantity": "", "unitAwareProperties": 0}


class _Range(Drawn, Native, QtWidgets.QWidget):
    """Two numbers between limits; changes emit the pair first, then what changed of it."""

    stored: ClassVar = {
        "singleStep": 1.0,
        "symmetricMoves": False,
        "tickInterval": 0.0,
        "tracking": True,
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._low, self._high = 0.0, 99.0
        self._pair = (0.0, 99.0)

    def drawn_text(self) -> str:
        return f"{self._pair[0]:g} - {self._pair[1]:g}"

    def drawn_shares(self) -> list[float]:
        return [(value - self._low) / ((self._high - self._low) or 1) for value in self._pair]

    def minimum(self) -> float:
        return self._low

    def maximum(self) -> float:
        return self._high

    def minimumValue(self) -> float:
        return self._pair[0]

    def maximumValue(self) -> float:
        return self._pair[1]

    def setMinimum(self, low: float) -> None:
        self._limit(low, self._high)

    def setMaximum(self, high: float) -> None:
        self._limit(self._low, high)

    def setRange(self, low: float, high: float) -> None:
        if (low, high) != (self._low, self._high):
            self._limit(low, high)
            self.emit("rangeChanged(double,double)", self._low, self._high)

    def setValues(self, first: float, second: float) -> None:
        low, high = sorted((self._clamped(first), self._clamped(second)))
        before, self._pair = self._pair, (low, high)
        if self._pair == before:
            return
        self.update()
        self.emit("valuesChanged(double,double)", low, high)
        if low != before[0]:
            self.emit("minimumValueChanged(double)", low)
        if high != before[1]:
            self.emit("maximumValueChanged(double)", high)

    def _clamped(self, value: float) -> float:
        return min(max(value, self._low), self._high)

    def _limit(self, low: float, high: float) -> None:
        self._low, self._high = sorted((low, high))
        self.setValues(*self._pair)


class ctkDoubleRangeSlider(_Range):
    """Slider with two handles: a handle pushed past the other takes it along."""

    stored: ClassVar = {"orientation": 2, "tickPosition": 0}

    def setMinimumValue(self, value: float) -> None:
        self.setValues(value, max(value, self._pair[1]))

    def setMaximumValue(self, value: float) -> None:
        self.setValues(min(value, self._pair[0]), value)

    def minimumPosition(self) -> float:
        return self._pair[0]

    def maximumPosition(self) -> float:
        return self._pair[1]

    def setMinimumPosition(self, value: float) -> None:
        self.setMinimumValue(value)

    def setMaximumPosition(self, value: float) -> None:
        self.setMaximumValue(value)


class ctkRangeWidget(_Range):
    """Range slider with spin boxes: a value stops at the other one (ctk.range.crossing)."""

    stored: ClassVar = {
        "autoSpinBoxWidth": True,
        "customSpinBoxesLimitsMax": 0.0,
        "customSpinBoxesLimitsMin": 0.0,
        "decimals": 2,
        "prefix": "",
        "spinBoxAlignment": 4,
        "spinBoxTextAlignment": 1,
        "suffix": "",
    }

    def setMinimumValue(self, value: float) -> None:
        self.setValues(min(value, self._pair[1]), self._pair[1])

    def setMaximumValue(self, value: float) -> None:
        self.setValues(self._pair[0], max(value, self._pair[0]))

    def reset(self) -> None:
        self.setValues(self._low, self._high)


class qMRMLRangeWidget(SceneHolder, ctkRangeWidget):
    """Range widget that knows units."""

    stored: ClassVar = {"quantity": ""}
