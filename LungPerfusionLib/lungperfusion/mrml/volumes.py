"""Scalar volume nodes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import slicer.util
from numpy.typing import NDArray

from lungperfusion.mrml.geometry import geometry_from_node, vtk_matrix
from lungperfusion.mrml.names import ATTRIBUTE_PREFIX
from lungperfusion.volume import Mask, Volume

PADDING_HU = -3024.0
"""Common padding value of CT outside the scan field; read back as padding."""

UNIT_CODES = {
    "HU": ("[hnsf'U]", "UCUM", "Hounsfield unit"),
    "mg/mL": ("mg/mL", "UCUM", "mg/mL"),
    "mL/mL": ("mL/mL", "UCUM", "mL/mL"),
    "mm": ("mm", "UCUM", "millimeter"),
    "1": ("1", "UCUM", "no units"),
    "%": ("%", "UCUM", "percent"),
}
"""Units of voxel values as coded entries: value, scheme, meaning."""


def volume_from_node(node: Any, unit: str) -> Volume:
    """Take the image of a scalar volume node; NaN becomes invalid.

    Parameters
    ----------
    node
        ``vtkMRMLScalarVolumeNode``, possibly under a linear transform.
    unit
        Unit of its values.

    Returns
    -------
    Volume
        A copy: later edits of the node do not reach it.

    """
    geometry = geometry_from_node(node)
    array = np.array(slicer.util.arrayFromVolume(node))
    valid: Mask | None = None
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
        finite = np.isfinite(array)
        if not finite.all():
            array[~finite] = 0
            valid = finite
    return Volume(array, geometry, unit, valid)


def value_at(node: Any, ras_mm: Sequence[float]) -> float | None:
    """Value of the voxel at a place in world space, NaN where nothing was measured, None outside.

    Parameters
    ----------
    node
        ``vtkMRMLScalarVolumeNode``.
    ras_mm
        Place, shape (3,).

    """
    geometry = geometry_from_node(node)
    i, j, k = (int(index) for index in np.rint(geometry.ijk_from_ras(ras_mm)))
    inside = all(0 <= n < size for n, size in zip((k, j, i), geometry.shape, strict=True))
    return float(slicer.util.arrayFromVolume(node)[k, j, i]) if inside else None


def show_volume(scene: Any, volume: Volume, name: str, *, node: Any = None) -> Any:
    """Put an image into a scalar volume node; voxels without a measurement become NaN.

    Parameters
    ----------
    scene
        ``vtkMRMLScene`` for a new node.
    volume
        Image to show.
    name
        Name of a new node.
    node
        Node to update instead of making one.

    """
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        node.CreateDefaultDisplayNodes()
    array = volume.array
    if volume.valid is not None and volume.unit != "HU":
        array = np.where(volume.valid, array, np.float32(np.nan)).astype(np.float32)
    elif array.dtype == np.bool_ or array.dtype.itemsize == 8:
        array = array.astype(np.float32)
    modifying = node.StartModify()
    if not _holds(node, array):
        slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array))
    node.SetIJKToRASMatrix(vtk_matrix(volume.geometry.ijk_to_ras))
    if volume.unit in UNIT_CODES:
        code = slicer.vtkCodedEntry()
        code.SetValueSchemeMeaning(*UNIT_CODES[volume.unit])
        node.SetVoxelValueUnits(code)
    node.SetAttribute(ATTRIBUTE_PREFIX + "unit", volume.unit)
    node.EndModify(modifying)
    return node


def _holds(node: Any, array: NDArray[Any]) -> bool:
    """Whether a volume has these voxels already; views need not draw it anew then."""
    if node.GetImageData() is None:
        return False
    held = slicer.util.arrayFromVolume(node)
    return held.dtype == array.dtype and np.array_equal(
        held, array, equal_nan=array.dtype.kind == "f"
    )


def masked(volume: Volume, mask: Mask) -> Volume:
    """Restrict an image to a region: elsewhere a viewer shows nothing."""
    valid = mask if volume.valid is None else mask & volume.valid
    return Volume(volume.array, volume.geometry, volume.unit, valid)


def with_padding(volume: Volume) -> Volume:
    """Fill what was not measured with the padding value that files of CT and maps carry."""
    fill = PADDING_HU if volume.unit == "HU" else np.nan
    array = volume.array.astype(np.float32)
    array[~np.asarray(volume.valid)] = fill
    return Volume(array, volume.geometry, volume.unit)
