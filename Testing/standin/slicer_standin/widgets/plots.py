"""Plot views: curves of a chart node, drawn plainly."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from ..natives import Native
from .core import SceneHolder, qMRMLWidget

MARGIN_PX, LINE_PX = 34, 15


class ctkVTKChartView(Native, QtWidgets.QWidget):
    """Base of plot views."""


class qMRMLPlotView(SceneHolder, ctkVTKChartView):
    """Plot view of a plot view node; what it shows can be read, its look is not the desktop's."""

    _view_node: Any = None

    def mrmlPlotViewNode(self) -> Any:
        return self._view_node

    def setMRMLPlotViewNode(self, node: Any) -> None:
        self._view_node = node

    def fitToContent(self) -> None:
        self.update()

    def _series(self) -> list[Any]:
        node = self._view_node
        chart = None if node is None else node.GetPlotChartNode()
        count = 0 if chart is None else chart.GetNumberOfPlotSeriesNodes()
        return [chart.GetNthPlotSeriesNode(number) for number in range(count)]

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), QtCore.Qt.GlobalColor.white)
        drawn = [(series, *_columns(series)) for series in self._series()]
        if not drawn:
            return
        area = QtCore.QRectF(self.rect()).adjusted(MARGIN_PX, 6, -8, -MARGIN_PX)
        x_range = _range([values for _series, values, _ in drawn])
        y_range = _range([values for _series, _, values in drawn])
        painter.setPen(QtCore.Qt.GlobalColor.black)
        painter.drawRect(area)
        _draw_axes(painter, area, x_range, y_range, self._view_node.GetPlotChartNode())
        for number, (series, x, y) in enumerate(drawn):
            colour = QtGui.QColor.fromRgbF(*series.GetColor())
            painter.setPen(QtGui.QPen(colour, series.GetLineWidth()))
            points = [
                QtCore.QPointF(
                    area.left() + (a - x_range[0]) / (x_range[1] - x_range[0]) * area.width(),
                    area.bottom() - (b - y_range[0]) / (y_range[1] - y_range[0]) * area.height(),
                )
                for a, b in zip(x, y, strict=True)
            ]
            if series.GetLineStyle() != series.LineStyleNone:
                painter.drawPolyline(points)
            if series.GetMarkerStyle() != series.MarkerStyleNone:
                for point in points:
                    painter.drawEllipse(point, 3, 3)
            place = QtCore.QPointF(area.right() - 140, area.top() + LINE_PX * (number + 1))
            painter.drawText(place, series.GetName())


class qMRMLPlotWidget(qMRMLWidget):
    """Plot view of the layout."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._view = qMRMLPlotView(self)

    def plotView(self) -> Any:
        return self._view

    viewWidget = plotView

    def mrmlPlotViewNode(self) -> Any:
        return self._view.mrmlPlotViewNode()

    mrmlAbstractViewNode = mrmlPlotViewNode

    def setMRMLPlotViewNode(self, node: Any) -> None:
        self._view.setMRMLPlotViewNode(node)


def _columns(series: Any) -> tuple[list[float], list[float]]:
    """Values of both axes."""
    table = series.GetTableNode()
    names = (series.GetXColumnName(), series.GetYColumnName())
    x, y = (slicer.util.arrayFromTableColumn(table, name).tolist() for name in names)
    return x, y


def _range(columns: list[list[float]]) -> tuple[float, float]:
    low = min(min(values) for values in columns)
    high = max(max(values) for values in columns)
    return low, high if high > low else low + 1.0


def _draw_axes(
    painter: QtGui.QPainter,
    area: QtCore.QRectF,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    chart: Any,
) -> None:
    """Ends of both axes and their titles."""
    left, right, bottom = area.left(), area.right(), area.bottom()
    painter.drawText(QtCore.QPointF(left, bottom + LINE_PX), f"{x_range[0]:.4g}")
    painter.drawText(QtCore.QPointF(right - 24, bottom + LINE_PX), f"{x_range[1]:.4g}")
    painter.drawText(
        QtCore.QPointF(area.center().x() - 30, bottom + 2 * LINE_PX - 2),
        chart.GetXAxisTitle() or "",
    )
    painter.drawText(QtCore.QPointF(2, area.top() + LINE_PX), f"{y_range[1]:.4g}")
    painter.drawText(QtCore.QPointF(2, bottom), f"{y_range[0]:.4g}")
    painter.drawText(QtCore.QPointF(left + 6, area.top() + LINE_PX), chart.GetYAxisTitle() or "")
