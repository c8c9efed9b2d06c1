"""Colour table nodes."""

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

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
    names = [f"{value:.4g}" for value in values]
    rows = np.column_stack([table, opaque]).astype(np.float64)
    if not _has_colours(node, names, rows):
        modifying = node.StartModify()  # else every colour redraws every view
        node.SetTypeToUser()
        node.SetNumberOfColors(COLOURS_PER_TABLE)
        for index, row in enumerate(rows):
            node.SetColor(index, names[index], *map(float, row))
        node.SetName(f"Lung perfusion {title(colours.id).lower()}")
        node.SetAttribute("Category", "Lung perfusion")
        node.EndModify(modifying)
    return node


def _has_colours(node: Any, names: list[str], rows: NDArray[np.float64]) -> bool:
    """Whether a table is as wanted already; then it, and all that observes it, is left alone."""
    if node.GetNumberOfColors() != len(rows):
        return False
    colour = [0.0] * 4
    for index, row in enumerate(rows):
        node.GetColor(index, colour)
        if node.GetColorName(index) != names[index] or not np.allclose(colour, row, atol=2e-3):
            return False
    return True
