"""Plain drawing of widgets that exist only as stand-ins, so that a grabbed panel can be read.

It shows what a widget holds; it is not the look of the desktop.
"""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

HEIGHT = 24


class Drawn:
    """Mixin: a frame with the text of the widget, and marks along a groove for numbers."""

    def drawn_text(self) -> str:
        """Return the text to show."""
        return ""

    def drawn_shares(self) -> list[float]:
        """Return the places of handles, 0 to 1 along the widget."""
        return []

    def sizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(160, HEIGHT)

    minimumSizeHint = sizeHint

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        color = self.palette().color(QtGui.QPalette.ColorRole.Text)
        if not self.isEnabled():
            color.setAlpha(90)
        painter.setPen(color)
        area = self.rect().adjusted(0, 1, -1, -2)
        shares = self.drawn_shares()
        if shares:
            groove = area.adjusted(4, 0, -96, 0)
            middle = groove.center().y()
            painter.drawLine(groove.left(), middle, groove.right(), middle)
            for share in shares:
                painter.fillRect(
                    round(groove.left() + share * groove.width()) - 3, middle - 7, 6, 14, color
                )
            area.setLeft(area.right() - 88)
        painter.drawRect(area)
        align = QtCore.Qt.AlignmentFlag.AlignVCenter | QtCore.Qt.AlignmentFlag.AlignLeft
        painter.drawText(area.adjusted(5, 0, -5, 0), align, self.drawn_text())
