"""Grid transform nodes."""

from pathlib import Path
from typing import Any

import slicer

from lungperfusion.errors import InputError


def show_transform(scene: Any, path: Path, name: str, *, node: Any = None) -> Any:
    """Read a displacement field (LPS, fixed to moving) as a grid transform node.

    Put on the moving volume, the node brings it onto the fixed one.
    """
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", name)
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        raise InputError(f"{path.name} cannot be read as a displacement field")
    return node


def write_transform(node: Any, path: Path) -> None:
    """Write a grid transform as the displacement field it was read from."""
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(0)
    if not storage.WriteData(node):
        raise InputError(f"the transform {node.GetName()} cannot be written")
