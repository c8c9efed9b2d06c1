"""Views of tables (cookbook: result table with a click that jumps to the place)."""

from __future__ import annotations

from typing import Any, ClassVar

import vtk
from PySide6 import QtCore, QtWidgets

from .core import SceneHolder, qMRMLWidget


class _TableModel(QtCore.QAbstractTableModel):
    """The cells of a table node; units stand in the header."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.node: Any = None

    def rowCount(self, parent: Any = None) -> int:
        return 0 if self.node is None else self.node.GetNumberOfRows() + self._extra()

    def columnCount(self, parent: Any = None) -> int:
        return 0 if self.node is None else self.node.GetNumberOfColumns()

    def _extra(self) -> int:
        """Without column titles as header the first row shows the column names."""
        return int(not self.node.GetUseColumnTitleAsColumnHeader())

    def data(self, index: QtCore.QModelIndex, role: int = 0) -> Any:
        if self.node is None or role not in (0, 2):
            return None
        row = index.row() - self._extra()
        if row < 0:
            return self.node.GetColumnName(index.column())
        return self.node.GetCellText(row, index.column())

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:
        if self.node is None or role != 0:
            return None
        if orientation != QtCore.Qt.Orientation.Horizontal:
            return str(section + 1)
        if self._extra():
            return chr(ord("A") + section)
        name = self.node.GetColumnName(section)
        title = self.node.GetColumnTitle(name) or name
        unit = self.node.GetColumnUnitLabel(name)
        return f"{title} [{unit}]" if unit else title


class qMRMLTableView(SceneHolder, QtWidgets.QTableView):
    """Table view of a table node."""

    stored: ClassVar = {"firstColumnLocked": False, "firstRowLocked": False, "transposed": False}

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._table = _TableModel(self)
        self._proxy = QtCore.QSortFilterProxyModel(self)
        self._proxy.setSourceModel(self._table)
        self._node: Any = None
        self._tag: int | None = None
        self._view_node: Any = None
        self.setModel(self._proxy)
        self.selectionModel().selectionChanged.connect(lambda *_: self.emit("selectionChanged()"))

    def mrmlTableNode(self) -> Any:
        return self._node

    def setMRMLTableNode(self, node: Any) -> None:
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
        self._node = node
        if node is not None:
            self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._refresh)
        self._refresh()

    def _refresh(self, *_: Any) -> None:
        self._table.beginResetModel()
        self._table.node = self._node
        self._table.endResetModel()

    def mrmlTableViewNode(self) -> Any:
        return self._view_node

    def setMRMLTableViewNode(self, node: Any) -> None:
        self._view_node = node
        self.setMRMLTableNode(None if node is None else node.GetTableNode())

    def tableModel(self) -> Any:
        return self._table

    def sortFilterProxyModel(self) -> Any:
        return self._proxy


class qMRMLTableWidget(qMRMLWidget):
    """Table view of the layout."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._view = qMRMLTableView(self)

    def tableView(self) -> Any:
        return self._view

    viewWidget = tableView

    def mrmlTableViewNode(self) -> Any:
        return self._view.mrmlTableViewNode()

    mrmlAbstractViewNode = mrmlTableViewNode

    def setMRMLTableViewNode(self, node: Any) -> None:
        self._view.setMRMLTableViewNode(node)
