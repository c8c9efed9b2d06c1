"""Points and lines that a reader places with buttons of a panel; the scene keeps them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml

POINTS, LINE = "vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsLineNode"


@dataclass(frozen=True)
class Mark:
    """What a button places."""

    role: str
    """Role under which the study of the scan keeps it."""
    node_class: str
    name: str
    colour: tuple[float, float, float] | None = None
    several: bool = False
    """Whether points are added until the button is pressed again; else they are placed anew."""


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
        self._study = None
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

    def bind(self, study):
        """Show and watch the marks of a scan, hide those of the scan before; None to end."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed = []
        if self._study is not None and study is not None:
            self._show(self._study, False)
        self._study = study
        self._tool.setPlaceModeEnabled(False)
        self._tool.setCurrentNode(None)
        if study is None:
            return
        self._show(study, True)
        for mark in self._marks:
            node = study.node(mark.role)
            if node is not None:
                self._observe(node)

    def _show(self, study, on):
        for mark in self._marks:
            node = study.node(mark.role)
            if node is not None and node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetVisibility(on)

    def place(self, mark, on=True):
        """Let the user click the points of a mark; ``on=False`` ends that."""
        if self._study is None or self._study.scan is None:
            self._show_placing(False)
            slicer.util.showStatusMessage(_("Choose the scan first: marks belong to one."), 4000)
            return
        if not on:
            self._tool.setPlaceModeEnabled(False)
            return
        node = self._study.node(mark.role)
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
        node = None if self._study is None else self._study.node(mark.role)
        if node is not None and node.GetNumberOfControlPoints():
            node.RemoveAllControlPoints()

    def _make(self, mark):
        node = self._study.scene.AddNewNodeByClass(mark.node_class, mark.name)
        node.CreateDefaultDisplayNodes()
        if mark.node_class == LINE:
            node.GetDisplayNode().SetVisibility3D(False)  # labels would float in front of lungs
        if mark.colour is not None:
            node.GetDisplayNode().SetSelectedColor(*mark.colour)
        self._study.keep(mark.role, node)
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
        if self._study is not None:
            self._on_moved()

    def _drawn(self, caller=None, event=None):
        if self._study is not None:
            self._on_moved()
            self._on_drawn()

    def _show_placing(self, placing):
        """Keep the button pressed whose mark is being placed."""
        current = self._tool.currentNode()
        for button, mark_of in self._buttons:
            node = None if self._study is None else self._study.node(mark_of().role)
            button.checked = bool(placing and node is not None and node is current)


def placed(study, marks):
    """Places in RAS mm of the points that were placed, by name.

    Parameters
    ----------
    study
        Whose points.
    marks
        Mark by name.

    """
    nodes = {name: study.node(mark.role) for name, mark in marks.items()}
    points = {name: mrml.points_ras_mm(node) for name, node in nodes.items() if node is not None}
    return {name: found[-1] for name, found in points.items() if len(found)}


class PointsPanel:
    """Buttons that place single points and remove them.

    Parameters
    ----------
    buttons
        Button by its mark.
    clear_button
        Takes all marks away.
    on_change
        Called when a point was placed, dropped somewhere else or removed.
    on_moved
        Called at every movement of a point.
    """

    def __init__(self, buttons, clear_button, on_change, on_moved=lambda: None):
        self.marks = MarkPlacer(list(buttons), on_change, on_moved)
        for mark, button in buttons.items():
            self.marks.add_button(button, lambda mark=mark: mark)
        clear_button.connect("clicked(bool)", lambda on=False: self._clear(buttons))

    def bind(self, study):
        """Watch the points of a scan; None before it goes."""
        self.marks.bind(study)

    def _clear(self, marks):
        for mark in marks:
            self.marks.remove(mark)
