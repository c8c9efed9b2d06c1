"""Reading NRRD, NIfTI and MetaImage files through SimpleITK."""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.io.bounds import require_bounded
from lungperfusion.io.nifti import (
    SKEW_SEEN_DEGREES,
    NiftiHeader,
    copy_for_itk,
    nifti_header,
    orientation_notes,
    require_nifti_bytes,
    require_sound_header,
)
from lungperfusion.io.nifti import SUFFIXES as NIFTI_SUFFIXES
from lungperfusion.io.scratch import scratch_folder
from lungperfusion.io.silence import silent_libraries
from lungperfusion.naming import named
from lungperfusion.resampling import geometry_from_sitk
from lungperfusion.volume import Geometry

SUFFIXES = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
"""Formats read besides DICOM."""

VOXEL_MM = (0.01, 50.0)
"""No CT of a chest has voxels outside of this."""

MAX_HEADER_BYTES = 1 << 20
"""Headers are a thousand times smaller."""

MAX_SLICES = 20_000
"""Files that a header may list."""


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
    header = _require_all_bytes(path)
    warnings = _notes(path, header)
    with scratch_folder() as folder:
        image = _read_by_itk(path, _for_itk(path, header, folder), layers)
    read = geometry_from_sitk(image)
    copied = header is not None and _needs_copy(path, header)
    geometry = Geometry.as_stated(
        read.shape, header.ijk_to_ras if header is not None and copied else read.ijk_to_ras
    )
    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)
    return array, geometry, _metadata(image), warnings


def _read_by_itk(path: Path, readable: Path, layers: bool) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(readable))
    try:
        with silent_libraries():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise _damaged(path) from error
    size = reader.GetSize()
    _require_scalar_3d(path, reader, layers)
    if len(size) > 3:  # time points or components of which there is one
        reader.SetExtractSize([*size[:3], *([0] * (len(size) - 3))])
    try:
        with silent_libraries():
            return reader.Execute()
    except RuntimeError as error:
        raise _damaged(path) from error


def _metadata(image: sitk.Image) -> dict[str, str]:
    """Key-value pairs that are text; others have no meaning here."""
    pairs = {}
    for key in image.GetMetaDataKeys():
        try:
            pairs[key] = image.GetMetaData(key)
        except (UnicodeDecodeError, RuntimeError, TypeError):
            continue
    return pairs


def _needs_copy(path: Path, header: NiftiHeader) -> bool:
    """Whether ITK cannot read a NIfTI file as it is."""
    return (
        header.version != 1
        or header.packed != path.name.lower().endswith(".gz")
        or header.skew_degrees > SKEW_SEEN_DEGREES
    )


def _for_itk(path: Path, header: NiftiHeader | None, folder: Path) -> Path:
    """File with the same image whose name and form ITK understands."""
    if header is not None and _needs_copy(path, header):
        copy_for_itk(path, header, folder / "image.nii")
        return folder / "image.nii"
    suffix = next(s for s in sorted(SUFFIXES, key=len) if path.name.lower().endswith(s))
    if path.name.endswith(suffix) and _is_plain(str(path)):
        return path
    parts = data_files(path)
    if any(not part.is_relative_to(path.parent) for part in parts):
        raise InputError(
            f"{named(path.name)} has a name that the image library cannot open, and its voxels lie "
            "elsewhere; give both files names of letters and digits in one folder"
        )
    for part in (path, *parts):
        inside = part.relative_to(path.parent)
        target = folder / (f"image{suffix}" if part == path else inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        _linked(part, target)
    return folder / f"image{suffix}"


def _is_plain(text: str) -> bool:
    """Whether a path can be handed to a library that takes UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _linked(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _notes(path: Path, header: NiftiHeader | None) -> list[str]:
    """Tell what the user should know about the header."""
    if header is not None:
        return orientation_notes(path, header)
    if path.name.lower().endswith((".nrrd", ".nhdr")):
        return _nrrd_notes(path)
    return []


def _nrrd_notes(path: Path) -> list[str]:
    """Say what a NRRD header leaves open about the patient."""
    fields = _nrrd_fields(path)
    notes = []
    if not re.match(
        r"(left|right)-(anterior|posterior)-(inferior|superior)|[lr][ap][is]$",
        fields.get("space", "").lower(),
    ):
        notes.append(
            "the NRRD file does not say how the image lies in the patient (no anatomical space): "
            "left and right may be swapped"
        )
    return notes


def states_spacing(path: Path) -> bool:
    """Whether an image file says how large its voxels are; readers take 1 mm where it does not."""
    name = path.name.lower()
    if name.endswith((".nrrd", ".nhdr")):
        fields = _nrrd_fields(path)
        return bool(fields.get("spacings") or fields.get("space directions"))
    if name.endswith((".mha", ".mhd")):
        header, _ = _metaimage_header(path)
        return "elementspacing" in header or "elementsize" in header
    nifti = nifti_header(path)
    return nifti is None or nifti.sform_code > 0 or all(nifti.pixdim[1:4])


def _nrrd_fields(path: Path) -> dict[str, str]:
    """Fields of a NRRD header, names in lower case."""
    fields = {}
    with path.open("rb") as stream:
        for line in stream.read(MAX_HEADER_BYTES).split(b"\n"):
            text = line.decode("latin-1").rstrip("\r")
            if not text:
                break
            name, separator, value = text.partition(":")
            if separator and not value.startswith("="):
                fields[name.strip().lower()] = value.strip()
    return fields


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
    size = tuple(reader.GetSize())
    if len(size) > 3 and all(n == 1 for n in size[3:]):
        size = size[:3]
    if len(size) > 3:
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
    value_bytes = sitk.Image([1, 1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
    held = sum(file.stat().st_size for file in {path, *data_files(path)})
    require_bounded(path.name, math.prod(size) * value_bytes * components, held)
    spacing = reader.GetSpacing()[:3]
    if not np.isfinite(spacing).all() or min(spacing) < VOXEL_MM[0] or max(spacing) > VOXEL_MM[1]:
        raise InputError(
            f"{named(path.name)} has a voxel spacing of {' x '.join(f'{s:g}' for s in spacing)} "
            f"mm; expected {VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm: repair the header"
        )


def _damaged(path: Path) -> InputError:
    return InputError(
        f"{named(path.name)} cannot be read: it is damaged, cut short or not what its name says; "
        "export it again as NRRD or NIfTI"
    )


# ------------------------------------------------------------------- what ITK lets through


def _require_all_bytes(path: Path) -> NiftiHeader | None:
    """Refuse files that end too early, which readers fill with zeros or noise.

    Returns the header of a NIfTI file.
    """
    name = path.name.lower()
    if path.stat().st_size == 0:
        raise InputError(f"{named(path.name)} is empty (0 bytes); export it again")
    for file in data_files(path):
        if not file.is_file():
            raise InputError(
                f"{named(path.name)} refers to {named(file.name)}, which is not there or no "
                "file; keep both files in one folder"
            )
    if name.endswith((".mha", ".mhd")):
        _require_metaimage_bytes(path)
    header = nifti_header(path) if name.endswith(NIFTI_SUFFIXES) else None
    if header is not None:
        require_sound_header(path, header)
        require_nifti_bytes(path, header)
    return header


def _require_metaimage_bytes(path: Path) -> None:
    header, start = _metaimage_header(path)
    sizes = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
    kind = header.get("elementtype", "").upper().removeprefix("MET_").replace("UCHAR", "CHAR")
    size = sizes.get(kind.removeprefix("U"), 0)
    try:
        channels = int(header.get("elementnumberofchannels", "1"))
        count = int(np.prod([int(n) for n in header["dimsize"].split()])) * channels
        skipped = max(0, int(header.get("headersize", "0")))
    except (KeyError, ValueError):
        return
    local = header.get("elementdatafile", "LOCAL").upper() == "LOCAL"
    files = [path] if local else data_files(path)
    if header.get("compresseddata", "false").lower() == "true":
        held = _inflated_bytes(files[0], start if local else 0, count * size) if files else 0
    else:
        held = sum(file.stat().st_size - skipped for file in files) - (start if local else 0)
    if held < count * size:
        raise InputError(
            f"{named(path.name)} is cut short: its header announces {count * size} bytes of "
            f"voxels, {held} are there; copy or export it again"
        )


def _inflated_bytes(path: Path, start: int, enough: int) -> int:
    """Size of what a zlib stream holds, up to what is wanted; 0 where it is none."""
    unpacking = zlib.decompressobj()
    held = 0
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            while held < enough and (piece := stream.read(1 << 20)):
                while piece and held < enough:
                    held += len(unpacking.decompress(piece, 1 << 24))
                    piece = unpacking.unconsumed_tail
    except zlib.error:
        return 0
    return held


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
        is_list = data.upper().split()[:1] == ["LIST"]
        listed = _lines_after(path, "elementdatafile") if is_list else [data]
        listed = [] if data.upper() == "LOCAL" else listed
    elif name.endswith(".nhdr"):
        lines = _header_lines(path)
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
    if len(listed) > MAX_SLICES:
        raise _too_many(name, len(listed))
    return [
        path.parent / file for entry in listed if entry for file in _expand_pattern(entry, name)
    ]


def _too_many(name: str, count: int) -> InputError:
    return InputError(
        f"{named(name)} lists {count} files with slices, more than any CT has; its header is "
        "damaged"
    )


def _header_lines(path: Path) -> list[str]:
    with path.open("rb") as stream:
        text = stream.read(MAX_HEADER_BYTES).decode("latin-1")
    return [line.strip() for line in text.splitlines()]


def _lines_after(path: Path, keyword: str) -> list[str]:
    lines = _header_lines(path)
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
    if abs(last - first) / abs(step) > MAX_SLICES:
        raise _too_many(name, abs(last - first) // abs(step) + 1)
    return [pattern % number for number in range(first, last + (1 if step > 0 else -1), step)]
