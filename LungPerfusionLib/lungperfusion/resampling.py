"""Changing the voxel grid, and the bridge to SimpleITK: the one place for both.

Nothing resamples silently: a caller names the target grid and tells the user.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from lungperfusion.volume import Geometry, Labelmap, Volume

Interpolation = Literal["nearest", "linear", "bspline"]

_INTERPOLATORS = {
    "nearest": sitk.sitkNearestNeighbor,
    "linear": sitk.sitkLinear,
    "bspline": sitk.sitkBSpline,
}
_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_AIR_HU = -1000.0


def geometry_from_sitk(image: sitk.Image) -> Geometry:
    """Grid of a SimpleITK image (which speaks LPS and x, y, z)."""
    matrix = np.eye(4)
    direction = np.reshape(image.GetDirection(), (3, 3))
    matrix[:3, :3] = direction * np.asarray(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    i, j, k = image.GetSize()
    return Geometry((k, j, i), _RAS_FROM_LPS @ matrix)


def set_sitk_geometry(image: sitk.Image, geometry: Geometry) -> sitk.Image:
    """Give a SimpleITK image this grid, in place, and return it."""
    matrix = _RAS_FROM_LPS @ geometry.ijk_to_ras
    spacing = np.asarray(geometry.spacing_ijk_mm)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    return image


def to_sitk(array: NDArray[Any], geometry: Geometry) -> sitk.Image:
    """Copy an array (K, J, I) into a SimpleITK image; boolean becomes uint8."""
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    return set_sitk_geometry(sitk.GetImageFromArray(np.ascontiguousarray(array)), geometry)


def from_sitk(image: sitk.Image) -> NDArray[Any]:
    """Copy a SimpleITK image into an array (K, J, I)."""
    return np.asarray(sitk.GetArrayFromImage(image))


def resample_array(
    array: NDArray[Any],
    source: Geometry,
    target: Geometry,
    *,
    interpolation: Interpolation,
    fill: float,
) -> NDArray[Any]:
    """Sample an array of one grid at the voxel centres of another, keeping its data type."""
    if source.same_as(target):
        return array
    reference = set_sitk_geometry(sitk.Image(list(target.shape[::-1]), sitk.sitkUInt8), target)
    # ITK cuts interpolated values down to integers; round them instead
    rounded = array.dtype.kind in "iu" and interpolation != "nearest"
    resampled = sitk.Resample(
        to_sitk(array, source),
        reference,
        sitk.Transform(),
        _INTERPOLATORS[interpolation],
        fill,
        sitk.sitkFloat32 if rounded else sitk.sitkUnknown,
    )
    out = from_sitk(resampled)
    if rounded:
        return np.rint(out, out=out).astype(array.dtype)
    return out.view(np.bool_) if array.dtype == np.bool_ else out


def resample_volume(
    volume: Volume,
    target: Geometry,
    *,
    interpolation: Interpolation = "linear",
    fill: float | None = None,
) -> Volume:
    """Sample an image on another grid; what lies outside the source becomes invalid.

    Parameters
    ----------
    volume
        Image to sample.
    target
        Grid of the result.
    interpolation
        ``"linear"`` by default: it never overshoots.
    fill
        Value outside the source; air (-1000) for images in HU, else 0.

    """
    if volume.geometry.same_as(target):
        return volume
    if fill is None:
        fill = _AIR_HU if volume.unit == "HU" else 0.0
    array = resample_array(
        volume.array, volume.geometry, target, interpolation=interpolation, fill=fill
    )
    inside = np.ones(volume.geometry.shape, np.bool_) if volume.valid is None else volume.valid
    valid = resample_array(inside, volume.geometry, target, interpolation="nearest", fill=0)
    return Volume(array, target, volume.unit, None if valid.all() else valid)


def resample_known(volume: Volume, target: Geometry) -> Volume:
    """Sample an image linearly among its valid voxels only, so that nothing is mixed with a gap.

    A voxel is valid where at least half of what it is interpolated from is.
    """
    if volume.valid is None or volume.geometry.same_as(target):
        return resample_volume(volume, target)
    known = volume.valid.astype(np.float32)
    total, weight = (
        resample_array(array, volume.geometry, target, interpolation="linear", fill=0)
        for array in (volume.array * known, known)
    )
    valid = weight >= np.float32(0.5)
    array = np.divide(total, weight, out=np.zeros_like(total), where=valid)
    return Volume(array, target, volume.unit, None if valid.all() else valid)


def labels_on(labels: Labelmap, target: Geometry, name: str) -> tuple[Labelmap, tuple[str, ...]]:
    """Take labels to a grid, with the warning that results need where voxels do not coincide.

    Parameters
    ----------
    labels
        On any grid.
    target
        Grid of the CT, or of a part of it.
    name
        What the warning calls the labels; a file's name with its marks (`naming.named`).

    """
    if labels.geometry.shares_voxels(target):
        return resample_labelmap(labels, target), ()
    return resample_labelmap(labels, target), (
        f"The label map {name} lies on another grid and was resampled onto the CT (nearest label).",
    )


def resample_labelmap(labelmap: Labelmap, target: Geometry) -> Labelmap:
    """Take the nearest label at every voxel centre of another grid."""
    if labelmap.geometry.same_as(target):
        return labelmap
    array = resample_array(
        labelmap.array, labelmap.geometry, target, interpolation="nearest", fill=0
    )
    return Labelmap(array, target, labelmap.names)
