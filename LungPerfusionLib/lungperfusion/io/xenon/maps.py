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
from lungperfusion.io.dicom.magnetic import read_mr, read_mr_complex
from lungperfusion.io.dicom.segmentations import is_dicom_seg
from lungperfusion.io.files import file_sha256, is_image_file
from lungperfusion.io.nifti import SUFFIXES as NIFTI_SUFFIXES
from lungperfusion.io.nifti import nifti_header
from lungperfusion.io.padding import SIGNAL
from lungperfusion.io.reading import holds_dicom, read_labelmap, read_map
from lungperfusion.io.scan import Scan
from lungperfusion.naming import named
from lungperfusion.orientation import as_stored, axial, axial_geometry
from lungperfusion.resampling import geometry_from_sitk
from lungperfusion.volume import Geometry, Mask, Volume
from lungperfusion.xenon.orienting import CORONAL, grid_of_field, orientation_code

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


def placement_of(
    field_mm: Sequence[float] | None,
    orientation: str | None,
    *,
    known_mm: Sequence[float] | None = None,
) -> Placement:
    """Where the voxels lie, by what the user and the pipeline say.

    Parameters
    ----------
    field_mm, orientation
        As the user gives them; None for what was not given.
    known_mm
        Field of view that the pipeline or the scanner has noted, which counts otherwise.

    Raises
    ------
    InputError
        If there is an orientation without a field of view, or it is none.

    """
    code = orientation_code(orientation or "coronal")
    extent = known_mm if field_mm is None else field_mm
    if extent is None:
        if orientation is not None:
            raise InputError("--orientation goes with --fov-mm: without it the header counts")
        return BELIEVE_HEADER
    return Placement(field_mm=(extent[0], extent[1], extent[2]), orientation=code)


def read_xenon_map(path: Path, placement: Placement = BELIEVE_HEADER) -> Scan:
    """Read one scalar map.

    Parameters
    ----------
    path
        NIfTI, NRRD or MHA file, or MR images of DICOM: folder, zip or one file.
    placement
        Field of view for files whose header is broken.

    Raises
    ------
    InputError
        If the file cannot be read, or its header makes no chest of it without a field of view.

    """
    if holds_dicom(path):
        _require_no_field(path, placement)
        return read_mr(path)
    return _placed(read_map(path, unit="1"), path, placement)


def _read_signal(path: Path, placement: Placement) -> Scan:
    """Read one part of a complex image, whose values may have any size and sign."""
    return _placed(read_map(path, unit=SIGNAL), path, placement)


def _placed(scan: Scan, path: Path, placement: Placement) -> Scan:
    if placement.field_mm is not None:
        geometry = grid_of_field(
            scan.volume.geometry.shape, placement.field_mm, placement.orientation
        )
        volume = Volume(scan.volume.array, geometry, scan.volume.unit, scan.volume.valid)
        return replace(scan, volume=volume, warnings=(), gates=())
    require_plausible(Path(path), scan.volume.geometry)
    return scan


def read_xenon_mask(path: Path, placement: Placement = BELIEVE_HEADER) -> Scan:
    """Read the lungs on the MRI: an image of 0 and 1 as of `read_xenon_map`, or a DICOM SEG."""
    if path.is_file() and holds_dicom(path) and is_dicom_seg(path):
        _require_no_field(path, placement)
        labels = read_labelmap(path)
        layers = labels.array if labels.array.ndim == 4 else labels.array[None]
        volume = Volume((layers > 0).any(axis=0).astype(np.float32), labels.geometry, "1")
        return Scan(volume, Acquisition(modality="SEG"), labels.name, labels.sha256)
    return read_xenon_map(path, placement)


def _require_no_field(path: Path, placement: Placement) -> None:
    if placement.field_mm is not None:
        raise InputError(
            f"{named(path.name)} is DICOM and says itself where its voxels lie; leave --fov-mm and "
            "--mrd out, or give all images as NIfTI"
        )


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
    """Values of a map on a grid of the same voxels; NaN where it has none.

    Raises
    ------
    GeometryMismatchError
        If its voxels lie elsewhere.

    """
    array = np.asarray(scan.volume.array, np.float32)
    if scan.volume.valid is not None:
        array = np.where(scan.volume.valid, array, np.float32(np.nan))
    return _voxels_on(array, scan.volume.geometry, geometry, what, np.nan)


def mask_of(scan: Scan, geometry: Geometry | None = None) -> Mask:
    """Lungs of a mask file of any number type, values of at least one half.

    Parameters
    ----------
    scan
        The mask.
    geometry
        Grid of the maps, whose voxels it has; its own by default.

    """
    mask = np.asarray(scan.volume.array >= 0.5)
    if geometry is None:
        return mask
    return _voxels_on(mask.astype(np.float32), scan.volume.geometry, geometry, "mask", 0.0) > 0


def _voxels_on(
    array: NDArray[np.float32], own: Geometry, wanted: Geometry, what: str, fill: float
) -> NDArray[np.float32]:
    """Turn or crop an array to a grid of the same voxels: files of one image store them otherwise.

    A converter may turn rows round, and a segmentation may hold its own slices only.
    """
    if own.same_as(wanted):
        return array
    turned, grid = axial(Volume(array, own, "1")), axial_geometry(wanted)
    if not grid.shares_voxels(turned.geometry):
        wanted.require_same(own, what=f"maps and {what} of the xenon MRI")
    out = np.full(grid.shape, fill, np.float32)
    start = np.rint(grid.ijk_from_ras(turned.geometry.ras_from_ijk((0, 0, 0)))).astype(int)[::-1]
    low = np.maximum(start, 0)
    high = np.maximum(np.minimum(start + turned.array.shape, grid.shape), low)
    there = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    here = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    out[there] = turned.array[here]
    return np.asarray(as_stored(Volume(out, grid, "1"), wanted).array)


def read_complex(paths: Sequence[Path], placement: Placement = BELIEVE_HEADER) -> Scan:
    """Read a complex image: one file of complex numbers, or real and imaginary part.

    DICOM images are told apart by their Image Type and may be magnitude and phase, too.

    Returns
    -------
    Scan
        Its array is complex64.

    """
    if any(holds_dicom(path) for path in paths):
        for path in paths:
            _require_no_field(path, placement)
            if not holds_dicom(path):
                raise InputError("both parts of a complex image are DICOM, or both are other files")
        return read_mr_complex(paths)
    if len(paths) == 2:
        real, imaginary = (_read_signal(path, placement) for path in paths)
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
