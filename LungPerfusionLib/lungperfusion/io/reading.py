"""Reading images from any supported file, folder or zip: the entry points."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.acquisition import Acquisition
from lungperfusion.errors import InputError
from lungperfusion.io.dicom import is_dicom, read_dicom
from lungperfusion.io.dicom.segmentations import read_dicom_seg
from lungperfusion.io.files import (
    SUFFIXES,
    file_sha256,
    is_image_file,
    read_image,
    states_spacing,
)
from lungperfusion.io.folders import list_files
from lungperfusion.io.padding import AIR_HU, padding_in_volume
from lungperfusion.io.plausibility import require_hounsfield, require_no_factor
from lungperfusion.io.scan import Scan
from lungperfusion.labels import LabelImage, Segment, labelmap_of
from lungperfusion.naming import named
from lungperfusion.progress import Progress, ignore
from lungperfusion.quality import Gate
from lungperfusion.segmentation.imports import structure_of
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume

CT_UNITS = ("HU", "mg/mL")
"""Units that an image of a CT scanner alone can have."""


def read_ct(path: Path, *, series_uid: str | None = None, progress: Progress = ignore) -> Scan:
    """Read a chest CT in HU.

    Parameters
    ----------
    path
        DICOM folder (with subfolders), zip of one, one DICOM file of a series, or an NRRD, NHDR,
        NIfTI, MHA or MHD file.
    series_uid
        Which DICOM series to read where there are several.
    progress
        Called with the share done.

    Returns
    -------
    Scan
        With an int16 image wherever the values allow.

    Raises
    ------
    InputError
        In one sentence, if this is not a sound CT volume in HU.

    """
    scan = _read(Path(path), "HU", True, series_uid, progress)
    require_hounsfield(scan.volume.array, scan.volume.valid)
    progress(1.0, "image read")
    return scan


def read_map(
    path: Path, *, unit: str, series_uid: str | None = None, progress: Progress = ignore
) -> Scan:
    """Read an image that is not a plain CT, such as an iodine map.

    Parameters
    ----------
    path, series_uid, progress
        As in `read_ct`; DICOM images of any modality are accepted.
    unit
        Unit of the values, which only DICOM files can confirm.  NaN is taken for "not measured"
        and becomes invalid.

    Raises
    ------
    InputError
        In one sentence, if the image cannot be read, or is of MR where values of CT are wanted.

    """
    scan = _read(Path(path), unit, False, series_uid, progress)
    if unit in CT_UNITS and scan.acquisition.modality == "MR":
        raise InputError(
            f"the series in {named(Path(path).name)} is of MR, whose values are never in {unit}; "
            "give a map of a CT"
        )
    progress(1.0, "image read")
    return scan


def read_labelmap(path: Path) -> LabelImage:
    """Read a label map or segmentation as it is stored.

    Parameters
    ----------
    path
        NRRD (also ``.seg.nrrd`` with overlapping segments), NIfTI, MHA, MHD, one DICOM SEG file,
        or a folder of one file per lobe or lung, as TotalSegmentator writes it.

    Raises
    ------
    InputError
        If the file holds no whole, non-negative numbers.

    """
    path = Path(path)
    if path.is_dir():
        return _one_file_per_structure(path)
    _require_file(path)
    if not is_image_file(path) and _is_dicom_file(path):
        array, geometry, segments = read_dicom_seg(path)
        return LabelImage(array, geometry, segments, {}, named(path.name), file_sha256(path))
    if not is_image_file(path):
        raise InputError(
            f"{named(path.name)} is no label map; give one as {', '.join(SUFFIXES)}, .seg.nrrd "
            "or DICOM SEG"
        )
    array, geometry, metadata, warnings = read_image(path, layers=True)
    labels = _as_labels(array, path.name)
    return LabelImage(
        array=labels,
        geometry=geometry,
        segments=_segments(metadata, labels, path),
        metadata=MappingProxyType(metadata),
        name=named(path.name),
        sha256=file_sha256(path),
        warnings=tuple(warnings),
    )


def read_segmentation(path: Path) -> Labelmap:
    """Read a label map back under the segment IDs it was written with.

    Raises
    ------
    InputError
        If segments overlap or share a label; import such files segment by segment with
        `read_labelmap`.

    """
    return labelmap_of(read_labelmap(path))


def read_vectors(path: Path) -> tuple[NDArray[np.float32], Geometry]:
    """Read an image of vectors, such as a displacement field.

    Returns
    -------
    array, geometry
        Components as stored, shape (K, J, I, 3).

    Raises
    ------
    InputError
        If the file is no image of three finite components.

    """
    path = Path(path)
    _require_file(path)
    if not is_image_file(path):
        raise InputError(f"{named(path.name)} is no displacement field; give one as .nrrd")
    array, geometry, _, _ = read_image(path, layers=True)
    count = len(array) if array.ndim == 4 else 1
    if count != 3:
        raise InputError(
            f"{named(path.name)} is no displacement field: it has {count} component(s) per voxel "
            "instead of 3"
        )
    vectors = np.ascontiguousarray(np.moveaxis(array, 0, -1), np.float32)
    if not np.isfinite(vectors).all():
        raise InputError(f"{named(path.name)} holds vectors that are no finite numbers")
    return vectors, geometry


# ------------------------------------------------------------------------------------ images


def holds_dicom(path: Path) -> bool:
    """Whether a path is read as DICOM: a folder, a zip, or a file that is no other image.

    Raises
    ------
    InputError
        If there is nothing, or nothing that can be read.

    """
    if path.is_dir():
        return True
    _require_file(path)
    return not is_image_file(path) and (_is_dicom_file(path) or zipfile.is_zipfile(path))


def _read(path: Path, unit: str, only_ct: bool, series_uid: str | None, progress: Progress) -> Scan:
    if path.name.upper() == "DICOMDIR" and path.is_file():  # an index of the folder it lies in
        path = path.absolute().parent
    if holds_dicom(path):
        return read_dicom(
            path, unit=unit, only_ct=only_ct, series_uid=series_uid, progress=progress
        )
    if not is_image_file(path):
        raise InputError(
            f"{named(path.name)} is no image this program reads; give a DICOM folder, a zip of "
            f"one, or a file ending in {', '.join(SUFFIXES)}"
        )
    progress(0.0, "reading the image")
    array, geometry, metadata, notes = read_image(path)
    if only_ct and _segments_in(metadata):
        raise InputError(f"{named(path.name)} is a segmentation, not a CT; give the CT itself")
    array, missing = _as_values(array, path.name, allow_nan=not only_ct)
    if missing is not None:
        notes.append(f"{np.count_nonzero(missing)} voxels without a number (NaN) left out")
    if only_ct:
        require_no_factor(array)
    axis, _ = geometry.array_axis_toward("S")
    padding = padding_in_volume(array, axis, unit=unit)
    if missing is not None:
        padding = missing if padding is None else padding | missing
    if padding is not None:
        array[padding] = AIR_HU if unit == "HU" else 0
    gates = _size_gates(path)
    notes += [gate.message for gate in gates]
    volume = Volume(array, geometry, unit, None if padding is None else ~padding)
    return Scan(volume, Acquisition(), named(path.name), file_sha256(path), tuple(notes), gates)


def _size_gates(path: Path) -> tuple[Gate, ...]:
    """Doubt an image whose file does not say how large its voxels are."""
    if states_spacing(path):
        return ()
    return (
        Gate(
            id="voxel_size",
            verdict="warn",
            message="The file does not say how large its voxels are; 1 mm was assumed, so volumes "
            "and all that rests on sizes may be wrong.",
            unit="mm",
            limit="stated in the file",
        ),
    )


def _require_file(path: Path) -> None:
    if not path.exists():
        raise InputError(f"there is no file or folder {named(path)}; check the spelling")
    if path.is_dir():
        raise InputError(f"{named(path.name)} is a folder; name a file")
    if not path.is_file():
        raise InputError(f"{named(path.name)} is a device or a pipe; give a file")
    try:
        with path.open("rb") as stream:
            head = stream.read(1)
    except OSError as error:
        raise InputError(f"{named(path.name)} cannot be read: {error.strerror}") from error
    if not head:
        raise InputError(f"{named(path.name)} is empty (0 bytes); export it again")


def _is_dicom_file(path: Path) -> bool:
    with path.open("rb") as stream:
        return is_dicom(stream.read(132))


def _as_values(
    array: NDArray[Any], name: str, *, allow_nan: bool
) -> tuple[NDArray[Any], Mask | None]:
    """Voxel values in the smallest type that holds them exactly, and where they are NaN."""
    missing = None
    if array.dtype.kind == "f":
        if not np.isfinite(array.sum(dtype=np.float64)):
            missing = np.isnan(array)
            if np.isinf(array).any() or not missing.any():
                raise InputError(f"{named(name)} holds infinite values; expected finite numbers")
            if not allow_nan:
                share = np.count_nonzero(missing)
                raise InputError(
                    f"{named(name)} holds {share} voxels that are not a number (NaN); "
                    "expected a CT in HU: fill or export it again"
                )
            if missing.all():
                raise InputError(f"{named(name)} holds no number at all, only NaN; export it again")
            array[missing] = 0
        if not _is_whole(array):
            return array.astype(np.float32, copy=False), missing
    if array.dtype == np.int16:
        return array, missing
    if array.min() >= -32768 and array.max() <= 32767:
        return array.astype(np.int16), missing
    return array.astype(np.float32), missing


def _is_whole(array: NDArray[Any]) -> bool:
    """Whether a floating-point image holds integers only; plane by plane to save memory."""
    return all(np.array_equal(plane, np.rint(plane)) for plane in array)


# ------------------------------------------------------------------------------------ labels


def _as_labels(array: NDArray[Any], name: str) -> NDArray[np.unsignedinteger[Any]]:
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and _is_whole(array)):
        raise InputError(f"{named(name)} holds fractions, so it is no label map; expected integers")
    if array.dtype.kind != "u":
        lowest, highest = int(array.min()), int(array.max())
        if lowest < 0:
            raise InputError(
                f"{named(name)} holds negative values (down to {lowest}), so it is no label map; "
                "expected labels from 0"
            )
        array = array.astype(np.min_scalar_type(highest))
    return array


def _segments_in(metadata: Mapping[str, str]) -> list[str]:
    """Prefixes of the segments that a .seg.nrrd header describes, in their order."""
    numbers = [
        int(match[1]) for key in metadata if (match := re.fullmatch(r"Segment(\d+)_ID", key))
    ]
    return [f"Segment{number}_" for number in sorted(numbers)]


def _segments(
    metadata: Mapping[str, str], labels: NDArray[np.unsignedinteger[Any]], path: Path
) -> tuple[Segment, ...]:
    prefixes = _segments_in(metadata)
    if not prefixes:
        present = np.unique(labels)
        alone = structure_of(_stem(path)) if np.count_nonzero(present) == 1 else None
        if alone is not None:  # a mask that is named after what it shows
            return (Segment(id=alone, name=_stem(path), label=int(present[-1])),)
        return tuple(
            Segment(id=f"label_{value}", name=f"Label {value}", label=int(value))
            for value in present[present > 0]
        )
    return tuple(_segment(metadata, prefix) for prefix in prefixes)


def _stem(path: Path) -> str:
    """Name of an image file without its suffix."""
    suffix = max((s for s in SUFFIXES if path.name.lower().endswith(s)), key=len, default="")
    return path.name[: len(path.name) - len(suffix)]


def _one_file_per_structure(folder: Path) -> LabelImage:
    """Masks of single lobes or lungs, named after them, as one label map."""
    files = {
        structure: file
        for file in list_files(folder).files
        if file.parent == folder
        and is_image_file(file)
        and (structure := structure_of(_stem(file)))
    }
    if not files:
        raise InputError(
            f"the folder {named(folder.name)} holds no mask that is named after a lobe or lung, "
            "such as lung_upper_lobe_left.nii.gz; name a file"
        )
    first = read_labelmap(next(iter(files.values())))
    array = np.zeros(first.geometry.shape, np.uint8)
    segments, digests, overlap = [], [], 0
    for label, (structure, file) in enumerate(sorted(files.items()), start=1):
        image = read_labelmap(file)
        first.geometry.require_same(image.geometry, what=f"masks in {named(folder.name)}")
        mask = image.layer(0) > 0
        overlap += int(np.count_nonzero(mask & (array > 0)))
        array[mask & (array == 0)] = label
        segments.append(Segment(id=structure, name=_stem(file), label=label))
        digests.append(image.sha256)
    notes = (f"{overlap} voxels are in two masks and were given to one",) if overlap else ()
    return LabelImage(
        array=array,
        geometry=first.geometry,
        segments=tuple(segments),
        metadata={},
        name=named(folder.name),
        sha256=hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        warnings=(*first.warnings, *notes),
    )


def _segment(metadata: Mapping[str, str], prefix: str) -> Segment:
    tags = {}
    for entry in metadata.get(f"{prefix}Tags", "").split("|"):
        key, separator, value = entry.partition(":")
        if separator:
            tags[key.strip()] = value
    parts = tags.get("TerminologyEntry", "").split("~")
    codes = ["" if part == "^^" else part for part in (*parts[1:4], "", "", "")][:3]
    identifier = metadata[f"{prefix}ID"]
    return Segment(
        id=identifier,
        name=metadata.get(f"{prefix}Name", identifier),
        label=int(metadata.get(f"{prefix}LabelValue", "1")),
        layer=int(metadata.get(f"{prefix}Layer", "0")),
        category=codes[0],
        type=codes[1],
        modifier=codes[2],
        tags=MappingProxyType(tags),
    )
