"""Nodes of a scene."""

from typing import Any


def nodes_of_class(scene: Any, name: str) -> list[Any]:
    """Nodes of a class and of those derived from it.

    ``slicer.util.getNodesByClass`` looks in the scene of the application, whatever it is given.
    """
    found = scene.GetNodesByClass(name)
    found.UnRegister(None)  # a new collection belongs to the caller and would hold the nodes
    return list(found)


def images_in(scene: Any) -> list[Any]:
    """Scalar volumes of a scene that are no label maps."""
    volumes = nodes_of_class(scene, "vtkMRMLScalarVolumeNode")
    return [node for node in volumes if not node.IsA("vtkMRMLLabelMapVolumeNode")]
