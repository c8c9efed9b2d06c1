"""A xenon MRI as nodes."""

from collections.abc import Mapping
from typing import Any

from lungperfusion.mrml.nodes import nodes_of_class
from lungperfusion.mrml.segmentations import show_labelmap
from lungperfusion.mrml.tables import show_cells
from lungperfusion.mrml.volumes import show_volume
from lungperfusion.terms.xenon import IMAGE_NAMES
from lungperfusion.volume import Labelmap, Volume


def show_xenon(
    scene: Any, maps: Mapping[str, Volume], lungs: Labelmap, statistics: Mapping[str, str]
) -> dict[str, Any]:
    """Put maps, lungs and statistics of one examination into a scene: all of them, or none.

    Parameters
    ----------
    scene
        ``vtkMRMLScene``.
    maps
        Images by the keys of `lungperfusion.terms.xenon.IMAGE_NAMES`.
    lungs
        Lungs on their grid.
    statistics
        Cells by column; no table is made of none.

    Returns
    -------
    dict
        New nodes by the keys of `lungperfusion.terms.xenon.IMAGE_NAMES`.

    """
    nodes: dict[str, Any] = {}
    before = set(nodes_of_class(scene, "vtkMRMLNode"))
    try:
        for key, volume in maps.items():
            nodes[key] = show_volume(scene, volume, _name(scene, key))
        reference = next(iter(nodes.values()))
        nodes["lungs"] = show_labelmap(scene, lungs, _name(scene, "lungs"), reference=reference)
        if statistics:
            name = _name(scene, "statistics")
            nodes["statistics"] = show_cells(scene, statistics, name)
    except Exception:
        for node in set(nodes_of_class(scene, "vtkMRMLNode")) - before:
            scene.RemoveNode(node)
        raise
    return nodes


def _name(scene: Any, key: str) -> str:
    """Name that no node of an earlier examination has."""
    return str(scene.GenerateUniqueName(IMAGE_NAMES[key]))
