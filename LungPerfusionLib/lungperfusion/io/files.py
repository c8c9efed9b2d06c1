"""Reading NRRD, NIfTI and MetaImage files through SimpleITK."""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.naming import named
from lungperfusion.resampling import geometry_from_sitk
from lungperfusion.volume import Geometry

SUFFIXES = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
"""Formats read besides DICOM."""

SFORM_QFORM_TOLERANCE_VOXELS = 0.5
"""Two orientations in a NIfTI file may differ by this at the corners; more is ambiguous."""

MAX_BYTES = 16 * 2**30
"""Size in memory beyond which a header is taken for damaged."""


def is_image_file(path: Path) -> bool:
    """Whether a name is that of a readable image file."""
    return path.name.lower().endswith(SUFFIXES)


def read_image(
    path: Path, *, layers: bool = False
) -> tuple[NDArray[Any], Geometry, dict[str, str], list[str]]:
    """Read a scalar 3-D image.

    Parameters
    ----------
    path
        Image file.
    layers
        Whether several values a voxel are accepted: the layers of a segmentation, which come
        first in the shape of the array.

    Returns
    -------
    array, geometry
        As stored; shape (K, J, I), or (layers, K, J, I).
    metadata
        Key-value pairs of the header.
    warnings
        What the user should know about the header.

    Raises
    ------
    InputError
        If the file is no image of this kind or damaged.

    """
    warnings: list[str] = []
    if path.name.lower().endswith((".nii", ".nii.gz")):
        warnings += _nifti_orientation_notes(path)
    _require_all_bytes(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(_damaged(path, error)) from error
    _require_scalar_3d(path, reader, layers)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(_damaged(path, error)) from error
    metadata = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    geometry = geometry_from_sitk(image)
    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)
    return array, geometry, metadata, warnings


def file_sha256(path: Path) -> str:
    """Hash of an image file; of all its files when the header names others."""
    parts = [path, *data_files(path)]
    digests = []
    for file in parts:
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _require_scalar_3d(path: Path, reader: sitk.ImageFileReader, layers: bool) -> None:
    size = reader.GetSize()
    spatial = [n for n in size if n > 1] if len(size) > 3 else list(size)
    if len(size) > 3 and len(spatial) > 3:
        raise InputError(
            f"{named(path.name)} has {len(size)} dimensions ({' x '.join(map(str, size))}); "
            "expected a 3-D image: export one time point or component"
        )
    if len(size) != 3:
        raise InputError(
            f"{named(path.name)} has {len(size)} dimensions ({' x '.join(map(str, size))}); "
            "expected a 3-D image: give the whole volume"
        )
    components = reader.GetNumberOfComponents()
    if components > 1 and not layers:
        raise InputError(
            f"{named(path.name)} has {components} values a voxel (colour, vectors or complex "
            "numbers); expected one value: give the grey-scale image"
        )
    if min(size) < 2:
        raise InputError(
            f"{named(path.name)} is a single slice ({' x '.join(map(str, size))}); "
            "expected a 3-D image: give the whole volume"
        )
    if float(np.prod([float(n) for n in size])) * 8 * components > 8 * MAX_BYTES:
        raise InputError(
            f"{named(path.name)} claims {' x '.join(map(str, size))} voxels, more than any CT; "
            "its header is damaged: export it again"
        )
    spacing = reader.GetSpacing()
    if not np.isfinite(spacing).all() or min(spacing) <= 0:
        raise InputError(
            f"{named(path.name)} has a voxel spacing of {' x '.join(f'{s:g}' for s in spacing)} "
            "mm; expected positive values: repair the header"
        )


def _damaged(path: Path, error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    detail = next((line for line in reversed(lines) if "rror" in line or "ITK" in line), "")
    detail = re.sub(r"^.*?\(0x[0-9a-f]+\):\s*", "", detail)[:200]
    return (
        f"{path.name} cannot be read: it is damaged, cut short or not what its name says"
        + (f" ({named(detail)})" if detail else "")
        + "; export it again as NRRD or NIfTI"
    )


# ------------------------------------------------------------------- what ITK lets through


def _require_all_bytes(path: Path) -> None:
    """Refuse files that end too early, which readers fill with zeros or noise."""
    name = path.name.lower()
    if path.stat().st_size == 0:
        raise InputError(f"{named(path.name)} is empty (0 bytes); export it again")
    for file in data_files(path):
        if not file.is_file():
            raise InputError(
                f"{named(path.name)} refers to {named(file.name)}, which is not there; keep both "
                "files in one folder"
            )
    if name.endswith((".nii", ".nii.gz")):
        _require_nifti_bytes(path)
    if name.endswith((".mha", ".mhd")):
        _require_metaimage_bytes(path)


def _require_nifti_bytes(path: Path) -> None:
    order, header = _nifti_header(path)
    if order is None:
        return
    dim = struct.unpack(f"{order}8h", header[40:56])
    (bits,) = struct.unpack(f"{order}h", header[72:74])
    (start,) = struct.unpack(f"{order}f", header[108:112])
    announced = int(start) + math.prod(dim[1 : max(0, dim[0]) + 1]) * bits // 8
    packed = path.name.lower().endswith(".gz")
    held = _unpacked_bytes(path) if packed else path.stat().st_size
    if held < announced:
        raise InputError(
            f"{named(path.name)} is cut short: its header announces {announced} bytes, {held} are "
            "there; copy or export it again"
        )


def _unpacked_bytes(path: Path) -> int:
    """Size of what a gzip file holds; unpacking it all also checks its checksum."""
    held = 0
    try:
        with gzip.open(path) as stream:
            while piece := stream.read(1 << 22):
                held += len(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{named(path.name)} is damaged or cut short ({named(error)}); copy or export it again"
        ) from error
    return held


def _require_metaimage_bytes(path: Path) -> None:
    header, start = _metaimage_header(path)
    if header.get("compresseddata", "false").lower() == "true" or "dimsize" not in header:
        return
    sizes = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
    kind = header.get("elementtype", "").upper().removeprefix("MET_").replace("UCHAR", "CHAR")
    size = sizes.get(kind.removeprefix("U"), 0)
    try:
        channels = int(header.get("elementnumberofchannels", "1"))
        count = int(np.prod([int(n) for n in header["dimsize"].split()])) * channels
    except ValueError:
        return
    data = header.get("elementdatafile", "LOCAL")
    files = data_files(path)
    if data.upper() == "LOCAL":
        held = path.stat().st_size - start
    elif len(files) == 1:
        held = files[0].stat().st_size
    else:
        return
    if held < count * size:
        raise InputError(
            f"{named(path.name)} is cut short: its header announces {count * size} bytes of "
            f"voxels, {held} are there; copy or export it again"
        )


def _metaimage_header(path: Path) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        for _ in range(200):
            line = stream.readline(4096)
            key, separator, value = line.partition(b"=")
            if not separator:
                break
            fields[key.strip().decode("latin-1").lower()] = value.strip().decode("latin-1")
            if "elementdatafile" in fields:
                break
        return fields, stream.tell()


def data_files(path: Path) -> list[Path]:
    """Files with the voxels, where the header lies in a file of its own."""
    name = path.name.lower()
    if name.endswith(".mhd"):
        fields, _ = _metaimage_header(path)
        data = fields.get("elementdatafile", "LOCAL")
        listed = _lines_after(path, "elementdatafile") if data.upper() == "LIST" else [data]
        listed = [] if data.upper() == "LOCAL" else listed
    elif name.endswith(".nhdr"):
        with path.open(encoding="latin-1") as stream:
            lines = [line.strip() for line in stream]
        data = next(
            (
                line.split(":", 1)[1].strip()
                for line in lines
                if re.match(r"data ?file\s*:", line, re.IGNORECASE)
            ),
            "LOCAL",
        )
        listed = _lines_after(path, "data") if data.upper().startswith("LIST") else [data]
        listed = [] if data.upper() == "LOCAL" else listed
    else:
        return []
    return [
        path.parent / file for entry in listed if entry for file in _expand_pattern(entry, name)
    ]


def _lines_after(path: Path, keyword: str) -> list[str]:
    with path.open(encoding="latin-1") as stream:
        lines = [line.strip() for line in stream]
    start = next(
        n
        for n, line in enumerate(lines)
        if line.lower().startswith(keyword) and re.search(r"[:=]\s*LIST", line, re.IGNORECASE)
    )
    return [line for line in lines[start + 1 :] if line]


def _expand_pattern(entry: str, name: str) -> list[str]:
    """File names of ``slice%03d.raw 1 20 1``; the entry itself if it is no pattern."""
    match = re.fullmatch(r"(.*%0?\d*d.*?)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)(?:\s+\d+)?", entry)
    if not match:
        return [entry]
    pattern, first, last, step = match[1], int(match[2]), int(match[3]), int(match[4]) or 1
    return [pattern % number for number in range(first, last + (1 if step > 0 else -1), step)]


def _nifti_orientation_notes(path: Path) -> list[str]:
    """Compare the two orientations that a NIfTI header may hold."""
    order, header = _nifti_header(path)
    if order is None:
        return []
    dim = struct.unpack(f"{order}8h", header[40:56])
    pixdim = struct.unpack(f"{order}8f", header[76:108])
    qform_code, sform_code = struct.unpack(f"{order}2h", header[252:256])
    if qform_code <= 0 and sform_code <= 0:
        return [
            "the NIfTI file does not say how the image lies in the patient (qform and sform code "
            "0): left and right may be swapped"
        ]
    if qform_code <= 0 or sform_code <= 0:
        return []
    quaternion = struct.unpack(f"{order}6f", header[256:280])
    sform = np.array(struct.unpack(f"{order}12f", header[280:328])).reshape(3, 4)
    qform = _qform(quaternion, pixdim)
    corners = np.array(
        [
            (i, j, k, 1.0)
            for i in (0, max(dim[1] - 1, 0))
            for j in (0, max(dim[2] - 1, 0))
            for k in (0, max(dim[3] - 1, 0))
        ]
    )
    apart_mm = float(np.linalg.norm(corners @ (qform - sform).T, axis=1).max())
    voxel_mm = min((abs(p) for p in pixdim[1:4] if p), default=1.0)
    if not apart_mm <= SFORM_QFORM_TOLERANCE_VOXELS * voxel_mm:
        raise InputError(
            f"{named(path.name)} holds two orientations (qform and sform) that differ by up to "
            f"{apart_mm:.1f} mm, so its place in the patient is ambiguous; save it again with one, "
            "for instance from the DICOM files"
        )
    return []


def _nifti_header(path: Path) -> tuple[str | None, bytes]:
    """Byte order and the 348 bytes of a NIfTI-1 header; no order for NIfTI-2 and Analyze."""
    packed = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path) if packed else path.open("rb") as stream:
            header = stream.read(348)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{named(path.name)} is damaged or cut short ({named(error)}); copy or export it again"
        ) from error
    if len(header) < 348:
        raise InputError(
            f"{named(path.name)} is cut short within its header ({len(header)} bytes); export it "
            "again"
        )
    order = next((o for o in "<>" if struct.unpack(f"{o}i", header[:4])[0] == 348), None)
    return (order if header[344:347] == b"n+1" else None), header


def _qform(quaternion: tuple[float, ...], pixdim: tuple[float, ...]) -> NDArray[np.float64]:
    """Affine (3 x 4) of the quaternion representation, by the NIfTI-1 standard."""
    b, c, d, x, y, z = quaternion
    a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    handed = -1.0 if pixdim[0] < 0 else 1.0
    scaled = rotation * np.array([pixdim[1], pixdim[2], handed * pixdim[3]])
    return np.column_stack([scaled, [x, y, z]])
