"""CTK buttons, combo boxes and other small controls (probes ``ctk.*``)."""

from __future__ import annotations

from typing import Any, ClassVar

from PySide6 import QtCore, QtGui, QtWidgets

from ..natives import Native

HEADER = 18
"""Height of the title of a collapsible section, above its contents."""

_CHECK = QtCore.Qt.ItemDataRole.CheckStateRole


class ctkCollapsibleButton(Native, QtWidgets.QAbstractButton):
    """A section of a panel: collapsed means unchecked, ``contentsCollapsed`` comes first."""

    stored: ClassVar = {
        "buttonTextAlignment": 129,
        "collapsedHeight": 14,
        "contentsFrameShadow": 16,
        "contentsFrameShape": 0,
        "contentsLineWidth": 1,
        "contentsMidLineWidth": 0,
        "flat": False,
        "indicatorAlignment": 129,
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent if isinstance(parent, QtWidgets.QWidget) else None)
        if isinstance(parent, str):
            self.setText(parent)
        self.setContentsMargins(0, HEADER, 0, 0)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(lambda opened: self.emit("contentsCollapsed(bool)", not opened))
        self.toggled.connect(self._fold)

    def _fold(self, opened: bool) -> None:
        """Give a collapsed section the height of its header; its contents stay as they are."""
        self.setMaximumHeight(16777215 if opened else HEADER)
        if self.parentWidget() is not None:
            self.updateGeometry()

    def collapsed(self) -> bool:
        return not self.isChecked()

    def setCollapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    def sizeHint(self) -> QtCore.QSize:
        return QtWidgets.QWidget.sizeHint(self).expandedTo(QtCore.QSize(100, 20))

    def minimumSizeHint(self) -> QtCore.QSize:
        if self.isChecked():
            return QtWidgets.QWidget.minimumSizeHint(self)
        return QtCore.QSize(0, HEADER)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        painter.fillRect(0, 0, self.width(), HEADER - 2, self.palette().midlight())
        painter.drawText(18, 13, self.text())
        painter.drawText(4, 13, "▾" if self.isChecked() else "▸")


class ctkCollapsibleGroupBox(Native, QtWidgets.QGroupBox):
    """A checkable group box: collapsed means unchecked."""

    stored: ClassVar = {"collapsedHeight": 14}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.setCheckable(True)

    def collapsed(self) -> bool:
        return not self.isChecked()

    def setCollapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)


class ctkComboBox(Native, QtWidgets.QComboBox):
    """Combo box with a text for "nothing chosen"."""

    stored: ClassVar = {
        "defaultText": "",
        "elideMode": 3,
        "forceDefault": False,
        "scrollWheelEffect": 1,
    }

    def currentUserDataAsString(self) -> str:
        data = self.currentData()
        return "" if data is None else str(data)

    def setCurrentUserDataAsString(self, text: str) -> None:
        self.setCurrentIndex(self.findData(text))

    def defaultIcon(self) -> QtGui.QIcon:
        return QtGui.QIcon()


class ctkTreeComboBox(Native, QtWidgets.QComboBox):
    """Combo box with a tree."""

    stored: ClassVar = {"visibleModelColumn": -1}


class ctkCheckableComboBox(Native, QtWidgets.QComboBox):
    """Combo box whose entries can be checked."""

    def checkState(self, index: QtCore.QModelIndex) -> QtCore.Qt.CheckState:
        return QtCore.Qt.CheckState(_state(self.model().data(index, _CHECK)))

    def setCheckState(self, index: QtCore.QModelIndex, state: Any) -> None:
        if _state(state) != _state(self.model().data(index, _CHECK)):
            self.model().setData(index, _state(state), _CHECK)
            self.emit("checkedIndexesChanged()")

    def checkedIndexes(self) -> list[QtCore.QModelIndex]:
        entries = [self.model().index(row, 0) for row in range(self.count())]
        return [index for index in entries if _state(self.model().data(index, _CHECK)) == 2]

    def allChecked(self) -> bool:
        return len(self.checkedIndexes()) == self.count()

    def noneChecked(self) -> bool:
        return not self.checkedIndexes()

    def checkableModel(self) -> Any:
        return self.model()


def _state(value: Any) -> int:
    return 0 if value is None else int(getattr(value, "value", value))


class ctkColorPickerButton(Native, QtWidgets.QPushButton):
    """Button that holds a colour."""

    stored: ClassVar = {"displayColorName": True, "dialogOptions": 0}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._color = QtGui.QColor(QtCore.Qt.GlobalColor.black)

    def color(self) -> QtGui.QColor:
        return self._color

    def setColor(self, color: QtGui.QColor) -> None:
        if color != self._color:
            self._color = QtGui.QColor(color)
            self.emit("colorChanged(QColor)", self._color)

    def colorName(self) -> str:
        return self._color.name()


class ctkCoordinatesWidget(Native, QtWidgets.QWidget):
    """Spin boxes for the coordinates of a point."""

    stored: ClassVar = {
        "decimals": 3,
        "decimalsOption": 0,
        "dimension": 3,
        "frame": True,
        "maximum": 100000.0,
        "minimum": -100000.0,
        "normalized": False,
        "readOnly": False,
        "singleStep": 1.0,
        "sizeHintPolicy": 0,
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._coordinates = [0.0, 0.0, 0.0]

    def coordinatesAsString(self) -> str:
        return ",".join(f"{value:g}" for value in self._coordinates)

    def setCoordinates(self, first: Any, *rest: float) -> None:
        values = [float(v) for v in first.split(",")] if isinstance(first, str) else [first, *rest]
        self._coordinates = values
        self.emit("coordinatesChanged(double*)", tuple(values))

    def setCoordinatesAsString(self, text: str) -> None:
        self.setCoordinates(text)


class ctkMessageBox(Native, QtWidgets.QMessageBox):
    """Message box that can be told not to come again."""

    stored: ClassVar = {
        "dontShowAgain": False,
        "dontShowAgainSettingsKey": "",
        "dontShowAgainVisible": False,
    }


class ctkMenuButton(Native, QtWidgets.QPushButton):
    """Push button with a menu beside it."""


class ctkPushButton(Native, QtWidgets.QPushButton):
    """Push button with aligned text and icon."""

    stored: ClassVar = {"buttonTextAlignment": 132, "iconAlignment": 129, "elideMode": 3}


class ctkCheckablePushButton(ctkPushButton):
    """Push button with a check box in it."""

    stored: ClassVar = {
        "checkBoxControlsButton": True,
        "checkBoxControlsButtonToggleState": True,
        "checkBoxUserCheckable": True,
        "checkState": 0,
        "indicatorAlignment": 129,
    }


class ctkSearchBox(Native, QtWidgets.QLineEdit):
    """Line edit for a filter text."""

    stored: ClassVar = {"showSearchIcon": False}

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText("Search...")


class ctkExpandButton(Native, QtWidgets.QToolButton):
    """Tool button with an arrow."""

    stored: ClassVar = {"mirrorOnExpand": False, "orientation": 1}

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)


class ctkCheckBox(Native, QtWidgets.QCheckBox):
    """Check box with its own indicator icon."""


class ctkMatrixWidget(Native, QtWidgets.QWidget):
    """A 4 by 4 matrix."""

    stored: ClassVar = {
        "columnCount": 4,
        "rowCount": 4,
        "decimals": 2,
        "editable": True,
        "maximum": 1e4,
        "minimum": -1e4,
        "singleStep": 1.0,
    }

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*[value for value in arguments if not isinstance(value, int)])
        self.identity()

    def identity(self) -> None:
        size = range(self.held("rowCount"))
        self._elements = {(i, j): float(i == j) for i in size for j in size}

    def value(self, row: int, column: int) -> float:
        return self._elements[row, column]

    def setValue(self, row: int, column: int, value: float) -> None:
        self._elements[row, column] = value
        self.emit("matrixChanged()")


class ctkFittedTextBrowser(Native, QtWidgets.QTextBrowser):
    """Text browser as high as its text."""

    stored: ClassVar = {
        "collapsed": True,
        "disableMouseScroll": True,
        "hideDetailsText": "Hide details...",
        "showDetailsText": "Show details...",
    }
