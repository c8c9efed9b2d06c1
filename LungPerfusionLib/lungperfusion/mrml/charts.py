"""Plot nodes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import vtk

from lungperfusion.errors import InputError
from lungperfusion.io.writing import segment_colour
from lungperfusion.measurement import Measurement
from lungperfusion.terms import MEASURES, title


def show_chart(
    scene: Any, rows: Sequence[Measurement], measure: str, name: str, *, chart: Any = None
) -> Any:
    """Draw one measure of all regions as bars; regions without a value are left out.

    Slicer's bar charts number their bars, so the names of the regions stand in the legend: every
    region is a series of its own.

    Raises
    ------
    InputError
        If no region has a value.

    """
    found = [row for row in rows if row.measure == measure and not np.isnan(row.value)]
    if not found:
        raise InputError(f"no region has a value of {MEASURES[measure].title.lower()}")
    if chart is None:
        chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", name)
    _clear_chart(scene, chart)
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", f"{name} values")
    table.SetHideFromEditors(True)
    for index, row in enumerate(found):
        column = vtk.vtkDoubleArray()
        column.SetName(row.region)
        for place in range(len(found)):
            column.InsertNextValue(row.value if place == index else 0.0)
        table.AddColumn(column)
        series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", title(row.region))
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetYColumnName(row.region)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeBar)
        series.SetColor(*segment_colour(row.region))
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    unit = MEASURES[measure].unit
    chart.SetTitle(MEASURES[measure].title)
    chart.SetYAxisTitle("" if unit == "1" else f"[{unit}]")
    values = [row.value for row in found]
    low, high = min(0.0, *values), max(0.0, *values)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(low * 1.1, high * 1.25 or 1.0)
    return chart


def _clear_chart(scene: Any, chart: Any) -> None:
    """Remove what an earlier measure has left."""
    for index in reversed(range(chart.GetNumberOfPlotSeriesNodes())):
        series = chart.GetNthPlotSeriesNode(index)
        table = series.GetTableNode()
        chart.RemoveNthPlotSeriesNodeID(index)
        scene.RemoveNode(series)
        if table is not None:
            scene.RemoveNode(table)
