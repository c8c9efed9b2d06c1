"""Maps and masks of a xenon MRI, with a grid that can be believed.

The open pipeline writes NIfTI files with an identity matrix and pixel sizes a hundred times too
small, and readers differ on which of them counts.  Such a header is refused with what each reader
makes of it, unless the field of view is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from lungperfusion.acquisition import Acquisition
from lungperfusion.errors import InputError
from lungperfusion.io.files import file_sha256, is_image_file
from lungperfusion.io.nifti import SUFFIXES as NIFTI_SUFFIXES
from lungperfusion.io.nifti import nifti_header
from lungperfusion.io.reading import read_map
from lungperfusion.io.scan import Scan
from lungperfusion.naming import named
from lungperfusion.resampling import geometry_from_sitk
from lungperfusion.volume import Geometry, Mask, Volume
from lungperfusion.xenon.orienting import CORONAL, grid_of_field

SMALLEST_VOXEL_MM = 0.5
SMALLEST_EXTENT_MM = 150.0
"""No xenon image of a chest has finer voxels or shows less."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where the voxels lie, if the files do not say it."""

    field_mm: tuple[float, float, float] | None = None
    """Extent along the file's first, second and third axis; None to believe the header."""
    orientation: str = CORONAL
    """As of `lungperfusion.xenon.orienting.orientation_code`; plays no part without an extent."""


BELIEVE_HEADER = Placement()


def read_xenon_map(path: Path, placement: Placement = BELIEVE_HEADER) -> Scan:
    """Read one scalar map.

    Parameters
    ----------
    path
        NIfTI, NRRD, MHA file or DICOM folder.
    placement
        Field of view for files whose header is broken.

    Raises
    ------
    InputError
        If the file cannot be read, or its header makes no chest of it without a field of view.

    """
    scan = read_map(path, unit="1")
    if placement.field_mm is not None:
        geometry = grid_of_field(
            scan.volume.geometry.shape, placement.field_mm, placement.orientation
        )
        volume = Volume(scan.volume.array, geometry, "1", scan.volume.valid)
        return replace(scan, volume=volume, warnings=(), gates=())
    require_plausible(Path(path), scan.volume.geometry)
    return scan


def require_plausible(path: Path, geometry: Geometry) -> None:
    """Refuse a grid that holds no chest, naming what each reader makes of the header."""
    extent = np.array(geometry.spacing_ijk_mm) * geometry.shape[::-1]
    fine = min(geometry.spacing_ijk_mm) < SMALLEST_VOXEL_MM
    if not fine and float(extent.min()) >= SMALLEST_EXTENT_MM:
        return
    readings = [_reading("its voxels", geometry.spacing_ijk_mm, geometry.shape)]
    if path.is_file() and path.name.lower().endswith(NIFTI_SUFFIXES):
        header = nifti_header(path)
        if header is not None:
            matrix = np.linalg.norm(header.sform[:, :3], axis=0)
            readings = [
                _reading("its pixel sizes", np.abs(header.pixdim[1:4]), geometry.shape),
                _reading("its matrix", matrix, geometry.shape),
            ]
    raise InputError(
        f"{named(path.name)} does not say where its voxels lie: "
        f"{' and '.join(readings)}, but a chest needs at least {SMALLEST_EXTENT_MM:g} mm in voxels "
        f"of at least {SMALLEST_VOXEL_MM:g} mm; give the field of view with --fov-mm X Y Z (and, "
        "where it is not coronal, --orientation)"
    )


def _reading(
    what: str, spacing: Sequence[float] | NDArray[np.float64], shape: Sequence[int]
) -> str:
    sizes = " x ".join(f"{size:.4g}" for size in spacing)
    extent = " x ".join(
        f"{size * count:.4g}" for size, count in zip(spacing, shape[::-1], strict=True)
    )
    return f"by {what} of {sizes} mm it is {extent} mm large"


def values_of(scan: Scan, geometry: Geometry, what: str) -> NDArray[np.float32]:
    """Values of a map on the grid of the mask; NaN where it has none.

    Raises
    ------
    GeometryMismatchError
        If it lies on another grid.

    """
    geometry.require_same(scan.volume.geometry, what=f"mask and {what} of the xenon MRI")
    array = np.asarray(scan.volume.array, np.float32)
    if scan.volume.valid is None:
        return array
    return np.where(scan.volume.valid, array, np.float32(np.nan))


def mask_of(scan: Scan) -> Mask:
    """Lungs of a mask file of any number type, values of at least one half."""
    return np.asarray(scan.volume.array >= 0.5)


def read_complex(paths: Sequence[Path], placement: Placement = BELIEVE_HEADER) -> Scan:
    """Read a complex image: one file of complex numbers, or real and imaginary part.

    Returns
    -------
    Scan
        Its array is complex64.

    """
    if len(paths) == 2:
        real, imaginary = (read_xenon_map(path, placement) for path in paths)
        real.volume.geometry.require_same(imaginary.volume.geometry, what="real and imaginary part")
        array = np.asarray(real.volume.array, np.float32) + 1j * np.asarray(
            imaginary.volume.array, np.float32
        )
        volume = Volume(array.astype(np.complex64), real.volume.geometry, "1")
        return replace(real, volume=volume)
    (path,) = paths
    if not (path.is_file() and is_image_file(path)):
        raise InputError(
            f"{named(path.name)} is no complex image; give one file of complex numbers, or two "
            "with real and imaginary part"
        )
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"{named(path.name)} cannot be read; export it again") from error
    array = sitk.GetArrayFromImage(image)
    if not np.iscomplexobj(array) or array.ndim != 3:
        raise InputError(
            f"{named(path.name)} holds no complex numbers in 3-D; give real and imaginary part as "
            "two files"
        )
    geometry = geometry_from_sitk(image)
    if placement.field_mm is not None:
        geometry = grid_of_field(geometry.shape, placement.field_mm, placement.orientation)
    else:
        require_plausible(path, geometry)
    volume = Volume(array.astype(np.complex64), geometry, "1")
    return Scan(volume, Acquisition(), named(path.name), file_sha256(path))
