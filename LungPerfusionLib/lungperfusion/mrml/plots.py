"""Plot nodes: curves over time out of the columns of a table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import slicer
import vtk

from lungperfusion.mrml.tables import column_unit
from lungperfusion.terms import title

DECIMALS = 2
"""Of the numbers in tables of curves."""


@dataclass(frozen=True)
class Curve:
    """A column of a table over another one."""

    table: Any
    """``vtkMRMLTableNode``."""
    x: str
    y: str
    name: str
    colour: tuple[float, float, float]
    points: bool = False
    """Whether measured points are drawn instead of a line."""


def show_curves(
    scene: Any,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, float]],
    name: str,
    *,
    node: Any = None,
) -> Any:
    """Put numbers into a table node that plots can draw; names and units as for findings."""
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    rows = list(rows)
    modifying = node.StartModify()
    node.RemoveAllColumns()
    for column in columns:
        array = vtk.vtkDoubleArray()
        array.SetName(column)
        for row in rows:
            array.InsertNextValue(round(float(row[column]), DECIMALS))
        node.AddColumn(array)
        words, unit = column_unit(column)
        node.SetColumnTitle(column, title(words))
        if unit:
            node.SetColumnUnitLabel(column, unit)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    node.EndModify(modifying)
    return node


def show_chart(scene: Any, curves: Sequence[Curve], axes: tuple[str, str], node: Any = None) -> Any:
    """Put curves into a chart node, whose series of an earlier call are taken over.

    Parameters
    ----------
    scene
        ``vtkMRMLScene``.
    curves
        What is drawn.
    axes
        Titles of the horizontal and the vertical axis.
    node
        Chart to update instead of making one.

    """
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", "Time curves")
    had = [node.GetNthPlotSeriesNode(n) for n in range(node.GetNumberOfPlotSeriesNodes())]
    modifying = node.StartModify()
    node.SetXAxisTitle(axes[0])
    node.SetYAxisTitle(axes[1])
    for curve in curves:
        series = had.pop(0) if had else None
        if series is None:
            series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", curve.name)
            node.AddAndObservePlotSeriesNodeID(series.GetID())
        _draw(series, curve)
    for series in had:
        scene.RemoveNode(series)
    node.EndModify(modifying)
    return node


def _draw(series: Any, curve: Curve) -> None:
    kind = slicer.vtkMRMLPlotSeriesNode
    modifying = series.StartModify()
    series.SetName(curve.name)
    series.SetAndObserveTableNodeID(curve.table.GetID())
    series.SetPlotType(kind.PlotTypeScatter)
    series.SetXColumnName(curve.x)
    series.SetYColumnName(curve.y)
    series.SetColor(*curve.colour)
    series.SetMarkerStyle(kind.MarkerStyleCircle if curve.points else kind.MarkerStyleNone)
    series.SetLineStyle(kind.LineStyleNone if curve.points else kind.LineStyleSolid)
    series.EndModify(modifying)
