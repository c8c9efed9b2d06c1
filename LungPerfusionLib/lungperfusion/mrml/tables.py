"""Table nodes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import vtk

from lungperfusion.measurement import Measurement
from lungperfusion.results.report import format_value, unit_text
from lungperfusion.terms import MEASURES, Region, title


def show_measurements(
    scene: Any, rows: Sequence[Measurement], name: str, *, node: Any = None
) -> Any:
    """Put measurements into a table node: one row each, values as text with their unit beside."""
    columns = {
        "region": ("Region", [title(row.region) for row in rows]),
        "measure": ("Measure", [MEASURES[row.measure].title for row in rows]),
        "value": ("Value", [_value_text(row.value, row.unit) for row in rows]),
        "unit": ("Unit", [unit_text(row.unit) for row in rows]),
        "status": ("Status", [row.status for row in rows]),
        "reason": ("Remark", [row.reason for row in rows]),
        "method": ("Method", [row.method for row in rows]),
    }
    return _fill(scene, node, name, columns, {})


NO_VALUE = "–"
"""Text of a cell without a value."""


def _value_text(value: float, unit: str) -> str:
    """Write a value as the report does."""
    return NO_VALUE if np.isnan(value) else format_value(value, unit)


UNIT_SUFFIXES = {
    "_ml": "mL",
    "_mm": "mm",
    "_mm2": "mm2",
    "_hu": "HU",
    "_mg_ml": "mg/mL",
    "_percent": "%",
    "_l": "L",
    "_s": "s",
    "_per_ml": "1/mL",
}
"""Units that the ends of column names stand for; the longest end that fits counts."""


def column_unit(name: str) -> tuple[str, str]:
    """Column name without its unit suffix, and the unit (empty when there is none).

    Examples
    --------
    >>> column_unit("volume_ml"), column_unit("shape")
    (('volume', 'mL'), ('shape', ''))

    """
    for suffix in sorted(UNIT_SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix) and len(name) > len(suffix):
            return name.removesuffix(suffix), UNIT_SUFFIXES[suffix]
    return name, ""


def show_findings(
    scene: Any,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    name: str,
    *,
    node: Any = None,
) -> Any:
    """Put a list of findings into a table node; units move from the names into the headers."""
    rows = list(rows)
    content, units = {}, {}
    for column in columns:
        words, units[column] = column_unit(column)
        content[column] = (title(words), [_cell(row.get(column), units[column]) for row in rows])
    return _fill(scene, node, name, content, units)


def show_cells(scene: Any, cells: Mapping[str, str], name: str) -> Any:
    """Put one row into a new table node, as the text that it is."""
    return _fill(scene, None, name, {key: (key, [text]) for key, text in cells.items()}, {})


def _cell(value: Any, unit: str) -> str:
    if value is None:
        return NO_VALUE
    if isinstance(value, float):
        return _value_text(value, unit or "1")
    return title(value) if value in _REGIONS else str(value)


_REGIONS = frozenset(region.value for region in Region)


def _fill(
    scene: Any,
    node: Any,
    name: str,
    columns: Mapping[str, tuple[str, Sequence[str]]],
    units: Mapping[str, str],
) -> Any:
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    rows = [list(row) for row in zip(*(cells for _, cells in columns.values()), strict=True)]
    if table_rows(node) == (list(columns), rows):
        return node
    modifying = node.StartModify()
    node.RemoveAllColumns()
    for column, (heading, cells) in columns.items():
        array = vtk.vtkStringArray()
        array.SetName(column)
        for cell in cells:
            array.InsertNextValue(cell)
        node.AddColumn(array)
        node.SetColumnTitle(column, heading)
        if units.get(column):
            node.SetColumnUnitLabel(column, units[column])
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    node.EndModify(modifying)
    return node


def table_rows(node: Any) -> tuple[list[str], list[list[str]]]:
    """Column names and the cells of every row as text; a table without names of its own loses none.

    Tables that were read from a CSV file name their columns after its first line.
    """
    columns = range(node.GetNumberOfColumns())
    names = [node.GetColumnName(column) for column in columns]
    rows = range(node.GetNumberOfRows())
    return names, [[node.GetCellText(row, column) for column in columns] for row in rows]
