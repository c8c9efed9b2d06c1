"""Colour table nodes."""

from typing import Any

import numpy as np
import slicer

from lungperfusion.mrml.names import ATTRIBUTE_PREFIX
from lungperfusion.results.colours import ColourClasses, Colours
from lungperfusion.terms import title

COLOURS_PER_TABLE = 256


def colour_node(
    scene: Any, colours: Colours, *, identifier: str = "", limits: tuple[float, float] | None = None
) -> Any:
    """Colour table of a scale: one node per scene, which scene files do not double.

    The table spans ``limits`` (default: the range of the colours); give the volume's
    window the same limits so that colours mean the values of the scale.
    """
    tag = ATTRIBUTE_PREFIX + (identifier or colours.id)
    node = scene.GetSingletonNode(tag, "vtkMRMLColorTableNode")
    if node is None:
        node = slicer.vtkMRMLColorTableNode()
        node.SetSingletonTag(tag)
        node = scene.AddNode(node)
    low, high = limits or colours.range
    values = np.linspace(low, high, COLOURS_PER_TABLE)
    table = colours.colours(values)
    opaque = np.ones(len(values))
    if isinstance(colours, ColourClasses):
        opaque = colours.painted(values).astype(float)
    node.SetTypeToUser()
    node.SetNumberOfColors(COLOURS_PER_TABLE)
    for index, value in enumerate(values):
        red, green, blue = (float(channel) for channel in table[index])
        node.SetColor(index, f"{value:.4g}", red, green, blue, float(opaque[index]))
    node.SetName(f"Lung perfusion {title(colours.id).lower()}")
    node.SetAttribute("Category", "Lung perfusion")
    return node
