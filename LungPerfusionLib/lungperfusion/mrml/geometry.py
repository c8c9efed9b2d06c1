"""Grids of volumes and of segments, in world space."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from lungperfusion.errors import InputError
from lungperfusion.volume import Geometry, Mask


def geometry_from_node(node: Any) -> Geometry:
    """Grid of a volume node in world space.

    Raises
    ------
    InputError
        If the node holds no image, or lies under a transform that is not linear.

    """
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0:
        raise InputError(f"the volume {node.GetName()} holds no image; choose another one")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    to_world = matrix_to_world(node)
    i, j, k = image.GetDimensions()
    return Geometry((k, j, i), to_world @ slicer.util.arrayFromVTKMatrix(matrix))


def has_grid(node: Any, geometry: Geometry) -> bool:
    """Whether a volume node has this grid; one that cannot have a grid has not."""
    try:
        return geometry_from_node(node).same_as(geometry)
    except InputError:
        return False


def matrix_to_world(node: Any) -> NDArray[np.float64]:
    """Linear transform that a node lies under, 4x4; refused where it is not linear."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    matrix = vtk.vtkMatrix4x4()
    if not transform.IsTransformToWorldLinear():
        raise InputError(
            f"{node.GetName()} lies under the transform {transform.GetName()}, which is not "
            "linear; harden the transform first (Data module, right click on the transform)"
        )
    transform.GetMatrixTransformToWorld(matrix)
    return np.asarray(slicer.util.arrayFromVTKMatrix(matrix))


def vtk_matrix(matrix: NDArray[np.float64]) -> Any:
    """Convert a 4x4 array to a ``vtkMatrix4x4``."""
    return slicer.util.vtkMatrixFromArray(np.asarray(matrix, dtype=np.float64))


def oriented_image(
    geometry: Geometry, extent: Sequence[int] | None = None, *, allocate: bool = True
) -> Any:
    """Make an empty label image on a grid, or on a part of it given as a VTK extent."""
    image = slicer.vtkOrientedImageData()
    k, j, i = geometry.shape
    image.SetExtent(*(extent or (0, i - 1, 0, j - 1, 0, k - 1)))
    image.SetImageToWorldMatrix(vtk_matrix(geometry.ijk_to_ras))
    if allocate:
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        image.GetPointData().GetScalars().Fill(0)
    return image


def image_array(image: Any) -> NDArray[Any]:
    """View of the voxels of a ``vtkImageData``, shape (K, J, I)."""
    return np.asarray(
        vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    )


def paste(target: Mask, part: Mask, extent: Sequence[int]) -> None:
    """Copy what overlaps of an image that starts at another voxel."""
    target_box, part_box = [], []
    for axis, (low, high) in enumerate((extent[4:6], extent[2:4], extent[0:2])):
        start, stop = max(0, low), min(target.shape[axis] - 1, high)
        if start > stop:
            return
        target_box.append(slice(start, stop + 1))
        part_box.append(slice(start - low, stop - low + 1))
    target[tuple(target_box)] |= part[tuple(part_box)]
