"""Placing of markups: the state of the mode, not the mouse (cookbook: lines, fissure points)."""

from __future__ import annotations

from typing import Any, ClassVar

import slicer
import vtk
from PySide6 import QtGui, QtWidgets

from .core import qSlicerWidget


class qSlicerMarkupsPlaceWidget(qSlicerWidget):
    """Buttons that switch the place mode of a markups node on and off."""

    enum_values: ClassVar = {
        "ShowPlaceMultipleMarkupsOption": 0,
        "HidePlaceMultipleMarkupsOption": 1,
        "ForcePlaceSingleMarkup": 2,
        "ForcePlaceMultipleMarkups": 3,
    }
    stored: ClassVar = {
        "buttonsVisible": True,
        "deleteAllControlPointsOptionVisible": True,
        "deleteAllMarkupsOptionVisible": True,
        "placeModePersistency": False,
        "placeMultipleMarkups": 0,
        "unsetAllControlPointsOptionVisible": False,
        "unsetLastControlPointOptionVisible": False,
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._placing = False
        self._tag: tuple[Any, int] | None = None
        self._buttons = {name: QtWidgets.QPushButton(name, self) for name in ("place", "delete")}
        self._color = QtGui.QColor(255, 127, 127)

    def interactionNode(self) -> Any:
        return slicer.app._native.applicationLogic().GetInteractionNode()

    def selectionNode(self) -> Any:
        return slicer.app._native.applicationLogic().GetSelectionNode()

    def scene_set(self, scene: Any) -> None:
        if self._tag is not None:
            self._tag[0].RemoveObserver(self._tag[1])
            self._tag = None
        if scene is not None:
            node = self.interactionNode()
            self._tag = (node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._mode_changed))

    def _mode_changed(self, caller: Any, event: str) -> None:
        if "_node" not in vars(self):  # destroyed; its observer goes with the scene
            return
        placing = self.placeModeEnabled()
        if placing != self._placing:
            self._placing = placing
            self.emit("activeMarkupsPlaceModeChanged(bool)", placing)
            self.emit("activeMarkupsFiducialPlaceModeChanged(bool)", placing)

    def currentNode(self) -> Any:
        return self._node

    currentMarkupsNode = currentNode

    def setCurrentNode(self, node: Any) -> None:
        if node is not self._node and self.placeModeEnabled():
            self.setPlaceModeEnabled(False)
        self._node = node

    def currentNodeActive(self) -> bool:
        active = self.selectionNode().GetActivePlaceNodeID()
        return self._node is not None and active == self._node.GetID()

    def setCurrentNodeActive(self, active: bool) -> None:
        if active and self._node is not None:
            selection = self.selectionNode()
            selection.SetReferenceActivePlaceNodeClassName(self._node.GetClassName())
            selection.SetActivePlaceNodeID(self._node.GetID())

    def placeModeEnabled(self) -> bool:
        node = self.interactionNode()
        return node.GetCurrentInteractionMode() == node.Place and self.currentNodeActive()

    def setPlaceModeEnabled(self, placing: bool) -> None:
        if self._node is None:
            return
        node = self.interactionNode()
        if placing:
            self.setCurrentNodeActive(True)
            node.SetPlaceModePersistence(int(self.held("placeMultipleMarkups") == 3))
            node.SetCurrentInteractionMode(node.Place)
        else:
            node.SetCurrentInteractionMode(node.ViewTransform)
        self._mode_changed(node, "")

    def placeButton(self) -> QtWidgets.QPushButton:
        return self._buttons["place"]

    def deleteButton(self) -> QtWidgets.QPushButton:
        return self._buttons["delete"]

    def nodeColor(self) -> QtGui.QColor:
        return self._color

    def setNodeColor(self, color: QtGui.QColor) -> None:
        self._color = color

    def defaultNodeColor(self) -> QtGui.QColor:
        return self._color

    def setDefaultNodeColor(self, color: QtGui.QColor) -> None:
        self._color = color

    def deleteAllPoints(self) -> None:
        if self._node is not None:
            self._node.RemoveAllControlPoints()
