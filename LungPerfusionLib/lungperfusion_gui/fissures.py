"""Points that a reader places on fissures; the lobes are moved through them."""

import csv
from pathlib import Path

import slicer

from lungperfusion import mrml
from lungperfusion.io.fissure_points import COLUMNS
from lungperfusion.terms import FISSURES, title


def points_node(parameters, fissure):
    """Points on a fissure; None before the first is placed."""
    return parameters.parameterNode.GetNodeReference(f"points.{fissure}")


def placed_points(parameters):
    """Points in RAS mm by fissure, of those that have some."""
    nodes = {fissure: points_node(parameters, fissure) for fissure in FISSURES}
    found = {name: mrml.points_ras_mm(node) for name, node in nodes.items() if node is not None}
    return {name: points for name, points in found.items() if len(points)}


def request_words(parameters, folder):
    """Write the points as a file of the command line; return its words.

    Without automatic lobes there is nothing that the points could move.
    """
    points = placed_points(parameters)
    if not points or parameters.lobes != "auto":
        return []
    path = Path(folder) / "fissure_points.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for fissure, places in points.items():
            writer.writerows([fissure.value, *(f"{x:.6g}" for x in place)] for place in places)
    return ["--fissure-points", str(path)]


class FissurePanel:
    """Selector of the fissure and the button that places points on it.

    Parameters
    ----------
    ui
        Widgets of the panel.
    on_change
        Called when a point was placed, moved or deleted.
    """

    def __init__(self, ui, on_change):
        self.ui, self._on_change = ui, on_change
        self.parameters = None
        self._observed = []
        self._placer = slicer.qSlicerMarkupsPlaceWidget()
        self._placer.setMRMLScene(slicer.mrmlScene)
        self._placer.buttonsVisible = False
        self._placer.placeMultipleMarkups = self._placer.ForcePlaceMultipleMarkups
        self._placer.connect("activeMarkupsPlaceModeChanged(bool)", self._on_placing)
        for fissure in FISSURES:
            ui.fissureSelector.addItem(title(fissure), fissure.value)
        ui.fissureButton.connect("clicked(bool)", self.place)

    def bind(self, parameters):
        """Watch the points of a scene; None before it goes."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed = []
        self.parameters = parameters
        if parameters is None:
            self._placer.setCurrentNode(None)
            return
        for fissure in FISSURES:
            node = points_node(parameters, fissure)
            if node is not None:
                self._observe(node)

    def _observe(self, node):
        markups = slicer.vtkMRMLMarkupsNode
        for event in (
            markups.PointPositionDefinedEvent,
            markups.PointEndInteractionEvent,
            markups.PointRemovedEvent,
        ):
            self._observed.append((node, node.AddObserver(event, self._on_points)))

    def _on_points(self, caller=None, event=None):
        if self.parameters is not None:
            self._on_change()

    def place(self, on):
        """Let the user click points on the chosen fissure until told otherwise."""
        if self.parameters is None:
            return
        if not on:
            self._placer.setPlaceModeEnabled(False)
            return
        fissure = self.ui.fissureSelector.currentData
        node = points_node(self.parameters, fissure)
        if node is None:
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", title(fissure))
            node.CreateDefaultDisplayNodes()
            self.parameters.parameterNode.SetNodeReferenceID(f"points.{fissure}", node.GetID())
            self._observe(node)
        self._placer.setCurrentNode(node)
        self._placer.setPlaceModeEnabled(True)

    def _on_placing(self, placing):
        self.ui.fissureButton.checked = placing
