"""Values under the mouse with their units; Slicer's Data Probe knows neither unit nor digits."""

import math

import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion.results.report import format_value, unit_text


class CursorWatch:
    """Tells the place under the mouse while it is in a slice view.

    Parameters
    ----------
    on_place
        Called with R, A, S in mm, or None outside of the views.
    """

    def __init__(self, on_place):
        self._on_place = on_place
        self._crosshair = self._tag = None

    def follow(self, on):
        """Watch the mouse, or stop it."""
        if self._tag is not None:
            self._crosshair.RemoveObserver(self._tag)
            self._tag = self._crosshair = None
        if on:
            self._crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if self._crosshair is not None:
            event = slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent
            self._tag = self._crosshair.AddObserver(event, self._moved)

    def _moved(self, caller=None, event=None):
        place = [0.0, 0.0, 0.0]
        self._on_place(place if self._crosshair.GetCursorPositionRAS(place) else None)


class CursorReadout:
    """Shows the values under the mouse in a label while it is in a slice view.

    Parameters
    ----------
    label
        Shows them.
    volumes
        Gives pairs of a name and a volume node.
    """

    def __init__(self, label, volumes):
        self._label, self._volumes = label, volumes
        self._watch = CursorWatch(self._show)

    def follow(self, on):
        """Watch the mouse, or stop it."""
        self._label.text = ""
        self._watch.follow(on)

    def _show(self, place):
        self._label.text = "" if place is None else words(self._volumes(), place)


def words(volumes, ras_mm):
    """Values of volumes at a place, as text; what lies outside of an image is left out."""
    found = []
    for name, node in volumes:
        try:
            value = mrml.value_at(node, ras_mm)
        except InputError:
            continue
        unit = node.GetAttribute(mrml.ATTRIBUTE_PREFIX + "unit") or "HU"
        if value is None:
            continue
        if math.isnan(value):
            found.append(_("{name}: not measured here").format(name=name))
        else:
            amount = f"{format_value(value, unit)} {unit_text(unit)}".rstrip()
            found.append(f"{name}: {amount}")
    return " · ".join(found)
