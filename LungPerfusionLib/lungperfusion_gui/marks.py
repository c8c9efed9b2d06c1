"""Points and lines that a reader places with buttons of a panel; the scene keeps them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import slicer

POINTS, LINE = "vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsLineNode"


@dataclass(frozen=True)
class Mark:
    """What a button places."""

    role: str
    """Reference of the parameter node under which the scene keeps it."""
    node_class: str
    name: str
    colour: tuple[float, float, float] | None = None
    several: bool = False
    """Whether points are added until the button is pressed again; else they are placed anew."""


def mark_node(parameters, role):
    """Node of a mark; None before it is placed."""
    return parameters.parameterNode.GetNodeReference(role)


class MarkPlacer:
    """Places marks and tells when the reader has drawn, moved or removed one.

    Parameters
    ----------
    marks
        All that can be placed.
    on_drawn
        Called when a point was placed, dropped somewhere else or removed.
    on_moved
        Called at every movement of a point.
    """

    def __init__(
        self,
        marks: Sequence[Mark],
        on_drawn: Callable[[], None],
        on_moved: Callable[[], None] = lambda: None,
    ):
        self._marks, self._on_drawn, self._on_moved = marks, on_drawn, on_moved
        self._parameters = None
        self._buttons = []
        self._observed = []
        self._tool = slicer.qSlicerMarkupsPlaceWidget()
        self._tool.setMRMLScene(slicer.mrmlScene)
        self._tool.buttonsVisible = False
        self._tool.connect("activeMarkupsPlaceModeChanged(bool)", self._show_placing)

    def add_button(self, button, mark_of):
        """Let a checkable button place what ``mark_of()`` returns when it is pressed."""
        self._buttons.append((button, mark_of))
        button.connect("clicked(bool)", lambda on: self.place(mark_of(), on))

    @property
    def placing(self):
        return self._tool.placeModeEnabled

    def bind(self, parameters):
        """Watch the marks of a scene; None before it goes."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed = []
        self._parameters = parameters
        if parameters is None:
            self._tool.setCurrentNode(None)
            return
        for mark in self._marks:
            node = mark_node(parameters, mark.role)
            if node is not None:
                self._observe(node)

    def place(self, mark, on=True):
        """Let the user click the points of a mark; ``on=False`` ends that."""
        if self._parameters is None:
            return
        if not on:
            self._tool.setPlaceModeEnabled(False)
            return
        node = mark_node(self._parameters, mark.role)
        if node is None:
            node = self._make(mark)
        elif not mark.several:
            node.RemoveAllControlPoints()
        modes = slicer.qSlicerMarkupsPlaceWidget
        self._tool.placeMultipleMarkups = (
            modes.ForcePlaceMultipleMarkups if mark.several else modes.ForcePlaceSingleMarkup
        )
        self._tool.setCurrentNode(node)
        self._tool.setPlaceModeEnabled(True)

    def remove(self, mark):
        """Take a mark away."""
        node = None if self._parameters is None else mark_node(self._parameters, mark.role)
        if node is not None and node.GetNumberOfControlPoints():
            node.RemoveAllControlPoints()

    def _make(self, mark):
        node = slicer.mrmlScene.AddNewNodeByClass(mark.node_class, mark.name)
        node.CreateDefaultDisplayNodes()
        if mark.colour is not None:
            node.GetDisplayNode().SetSelectedColor(*mark.colour)
        self._parameters.parameterNode.SetNodeReferenceID(mark.role, node.GetID())
        self._observe(node)
        return node

    def _observe(self, node):
        markups = slicer.vtkMRMLMarkupsNode
        for event, slot in (
            (markups.PointModifiedEvent, self._moved),
            (markups.PointPositionDefinedEvent, self._drawn),
            (markups.PointEndInteractionEvent, self._drawn),
            (markups.PointRemovedEvent, self._drawn),
        ):
            self._observed.append((node, node.AddObserver(event, slot)))

    def _moved(self, caller=None, event=None):
        if self._parameters is not None:
            self._on_moved()

    def _drawn(self, caller=None, event=None):
        if self._parameters is not None:
            self._on_moved()
            self._on_drawn()

    def _show_placing(self, placing):
        """Keep the button pressed whose mark is being placed."""
        current = self._tool.currentNode()
        for button, mark_of in self._buttons:
            node = None if self._parameters is None else mark_node(self._parameters, mark_of().role)
            button.checked = bool(placing and node is not None and node is current)
