"""Reading DICOM images: folders, single files and zips of them.

Slices are placed by Image Position and Image Orientation only; file names and instance numbers
play no part.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lungperfusion.acquisition import Acquisition
from lungperfusion.errors import InputError
from lungperfusion.io import stacking
from lungperfusion.io.padding import AIR_HU, padding_in_plane
from lungperfusion.io.scan import Scan
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.volume import Mask, Volume, lps_from_ras

MAX_ZIP_BYTES = 16 * 2**30
"""Unpacked size of a zip beyond which it is refused; a large dynamic CT study has a quarter."""

MAX_ZIP_RATIO = 200
"""Compression beyond which a large zip member is refused: CT slices reach about 10."""

_RATIO_MATTERS_BYTES = 64 * 2**20
_THREADS = min(4, os.cpu_count() or 1)
_IMAGE_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT image",
    "1.2.840.10008.5.1.4.1.1.2.1": "enhanced CT image",
    "1.2.840.10008.5.1.4.1.1.2.2": "legacy converted enhanced CT image",
}
_WITHOUT_PREAMBLE = (
    b"\x02\x00\x00\x00",
    b"\x08\x00\x00\x00",
    b"\x08\x00\x05\x00",
    b"\x08\x00\x08\x00",
)
_HEADER_ERRORS = (InvalidDicomError, EOFError, ValueError, KeyError, OSError, AttributeError)
_NATIVE_SYNTAXES = {"1.2.840.10008.1.2": 8, "1.2.840.10008.1.2.1": 12}
"""Uncompressed little-endian encodings, with the bytes of the pixel data element's own header."""
_UNITS = {"HU": "HU", "HU_MOD": "HU", "MGML": "mg/mL", "MG/ML": "mg/mL", "PCT": "%"}
_JPEG_LOSSLESS = {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"}
_PIXEL_DATA_TAG = b"\xe0\x7f\x10\x00"
_IDENTIFIERS = (
    "PatientName",
    "PatientID",
    "OtherPatientIDs",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "SeriesDate",
    "AcquisitionDate",
    "StudyDescription",
    "SeriesDescription",
    "InstitutionName",
    "ReferringPhysicianName",
    "StudyInstanceUID",
    "SeriesInstanceUID",
)
_NAMING = ("PatientName", "PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber")


@dataclass(frozen=True)
class _Source:
    """Where the bytes of one file come from: a folder or a zip."""

    name: str
    open: Callable[[], BinaryIO]

    def read(self) -> bytes:
        with self.open() as stream:
            return stream.read()


@dataclass(frozen=True)
class _File:
    """One DICOM file: its header, where its pixel data begin and how to get at them."""

    header: Dataset
    pixel_offset: int
    source: _Source

    @property
    def series_uid(self) -> str:
        return str(self.header.get("SeriesInstanceUID", ""))

    @property
    def modality(self) -> str:
        return str(self.header.get("Modality", "") or "unknown")

    @property
    def image_type(self) -> tuple[str, ...]:
        return tuple(str(value).upper() for value in _values(self.header.get("ImageType")))

    @property
    def frame_count(self) -> int:
        if "Rows" not in self.header:
            return 0
        return int(self.header.get("NumberOfFrames") or 1)

    @property
    def is_localizer(self) -> bool:
        return any("LOCALIZER" in value or "SCOUT" in value for value in self.image_type)

    @property
    def is_ct_image(self) -> bool:
        return str(self.header.get("SOPClassUID", "")) in _IMAGE_CLASSES and self.modality == "CT"


@dataclass(frozen=True)
class _Frame:
    """One slice: where it lies, how its stored values become values in the unit."""

    file: _File
    index: int
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    pixel_spacing_mm: tuple[float, float]
    slope: float
    intercept: float
    rescale_type: str
    padding: tuple[int, int] | None
    """Lowest and highest stored value that the header declares as padding."""

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.file.header.Rows), int(self.file.header.Columns)

    @property
    def order(self) -> tuple[str, int]:
        return str(self.file.header.get("SOPInstanceUID", "")), self.index


def is_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes of a file are those of a DICOM file, with or without preamble."""
    return head[128:132] == b"DICM" or head[:4] in _WITHOUT_PREAMBLE


def read_dicom(
    path: Path,
    *,
    unit: str,
    only_ct: bool,
    series_uid: str | None = None,
    progress: Progress = ignore,
) -> Scan:
    """Read one image series.

    Parameters
    ----------
    path
        Folder (searched with all its subfolders), zip, or one file whose series is then read
        from its folder.
    unit
        Unit that the values have after rescaling.
    only_ct
        Whether only CT images in HU will do.
    series_uid
        Series Instance UID; needed when there are several series to choose from.

    Raises
    ------
    InputError
        If there is no series to read, several, or one that is not a sound volume.

    """
    with _warnings_off(), _dicom_files(path, part(progress, 0.0, 0.3)) as files:
        chosen, remarks = _choose_series(files, series_uid, only_ct)
        _require_readable(chosen)
        frames = [frame for file in chosen for frame in _frames(file)]
        _require_uniform(frames)
        _require_unit(frames[0].rescale_type, unit, only_ct)
        volume, digest, notes = _read_volume(frames, unit, part(progress, 0.3, 1.0))
    header = chosen[0].header
    return Scan(
        volume=volume,
        acquisition=_acquisition(chosen[0], frames[0]),
        name=_safe_name(path, header),
        sha256=digest,
        warnings=(*remarks, *notes),
        identifiers={
            keyword: str(header.get(keyword))
            for keyword in _IDENTIFIERS
            if header.get(keyword) not in (None, "")
        },
    )


# ---------------------------------------------------------------------------- finding files


@contextmanager
def _dicom_files(path: Path, progress: Progress) -> Iterator[list[_File]]:
    """All DICOM files below a path; a zip stays open meanwhile and nothing is unpacked to disk."""
    if path.is_dir():
        yield _headers(_sources(path.rglob("*")), progress, path)
    elif zipfile.is_zipfile(path):
        with _open_zip(path) as archive:
            members = [
                _Source(PurePosixPath(info.filename).name, partial(_open_member, archive, info))
                for info in archive.infolist()
                if not info.is_dir() and "__MACOSX" not in info.filename
            ]
            yield _headers(members, progress, path)
    else:
        wanted = _headers(_sources([path]), ignore, path)[0].series_uid
        files = _headers(_sources(path.parent.iterdir()), progress, path)
        yield [file for file in files if file.series_uid == wanted]


def _sources(entries: Iterable[Path]) -> list[_Source]:
    files = sorted(entry for entry in entries if entry.is_file())
    return [_Source(entry.name, partial(_open_file, entry)) for entry in files]


def _open_file(path: Path) -> BinaryIO:
    return path.open("rb")


def _headers(sources: Sequence[_Source], progress: Progress, path: Path) -> list[_File]:
    files = []
    for done, source in enumerate(sources):
        if done % 32 == 0:
            progress(done / len(sources), "reading DICOM headers")
        if source.name.startswith(".") or source.name.upper() == "DICOMDIR":
            continue
        try:
            with source.open() as stream:
                file = _header(stream, source)
        except PermissionError as error:
            raise InputError(f"{source.name} cannot be read: {error.strerror}") from error
        if file is not None:
            files.append(file)
    if not files:
        raise InputError(
            f"{path.name} holds no DICOM file ({len(sources)} other file(s)); give a folder or "
            "zip with a CT series, or an NRRD, NIfTI, MHA or MHD file"
        )
    return files


def _header(stream: BinaryIO, source: _Source) -> _File | None:
    """Header of a DICOM file, None for any other file."""
    if not is_dicom(stream.read(132)):
        return None
    stream.seek(0)
    try:
        header = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
        header.get("SOPClassUID")
    except _HEADER_ERRORS as error:
        raise InputError(
            f"the DICOM header of {source.name} is damaged or cut short ({error}); "
            "export the series again"
        ) from error
    known = str(header.get("SOPClassUID", ""))
    if not known or (known in _IMAGE_CLASSES and "Rows" not in header):
        raise InputError(
            f"the DICOM header of {source.name} is damaged or cut short (no "
            f"{'Rows' if known else 'SOP Class UID'}); export the series again"
        )
    return _File(header, stream.tell(), source)


def _open_zip(path: Path) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(path)
    members = archive.infolist()
    total = sum(info.file_size for info in members)
    if total > MAX_ZIP_BYTES:
        archive.close()
        raise InputError(
            f"{path.name} would unpack to {total / 2**30:.1f} GiB (at most "
            f"{MAX_ZIP_BYTES / 2**30:.0f} GiB are accepted); give the folder instead"
        )
    for info in members:
        ratio = info.file_size / max(1, info.compress_size)
        if info.file_size > _RATIO_MATTERS_BYTES and ratio > MAX_ZIP_RATIO:
            archive.close()
            raise InputError(
                f"{path.name} holds a file packed {ratio:.0f} to 1, which no CT is; "
                "give the folder instead"
            )
        if info.flag_bits & 1:
            archive.close()
            raise InputError(f"{path.name} is encrypted; unpack it and give the folder")
    return archive


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    try:
        return io.BytesIO(archive.read(info))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        raise InputError(f"the zip is damaged ({error}); copy or export it again") from error


# ------------------------------------------------------------------------- choosing a series


def _choose_series(
    files: Sequence[_File], series_uid: str | None, only_ct: bool
) -> tuple[list[_File], list[str]]:
    """Files of the series to read, and what to tell the user about the choice."""
    series: dict[str, list[_File]] = {}
    for file in files:
        series.setdefault(file.series_uid, []).append(file)
    if series_uid is not None:
        if series_uid not in series:
            raise InputError(f"there is no series {series_uid}; {_listing(series)}")
        chosen = [file for file in series[series_uid] if file.frame_count]
        slices = [file for file in chosen if not file.is_localizer]
        if not slices:
            raise InputError(
                f"series {series_uid} holds no slices ({_describe(series[series_uid])}); "
                "choose a series of axial images"
            )
        if only_ct and not all(file.modality == "CT" for file in slices):
            raise InputError(
                f"series {series_uid} is {slices[0].modality}, not CT; choose a CT series"
            )
        return slices, []

    usable = {}
    for uid, members in series.items():
        slices = [file for file in members if _usable(file, only_ct)]
        if sum(file.frame_count for file in slices) >= stacking.MIN_SLICES:
            usable[uid] = slices
    if not usable:
        raise InputError(_why_none(series, only_ct))
    if len(usable) == 1:
        return next(iter(usable.values())), []
    originals = {
        uid: members for uid, members in usable.items() if "ORIGINAL" in members[0].image_type[:1]
    }
    if only_ct and len(originals) == 1:
        left_out = len(usable) - 1
        return next(iter(originals.values())), [
            f"{left_out} derived CT series beside the only original one left out; choose one by "
            "its series UID if it was meant"
        ]
    raise InputError(
        f"there are {len(usable)} image series; choose one with --series UID. {_listing(usable)}"
    )


def _usable(file: _File, only_ct: bool) -> bool:
    if not file.frame_count or file.is_localizer:
        return False
    if only_ct:
        return file.is_ct_image
    return int(file.header.get("SamplesPerPixel", 1) or 1) == 1


def _why_none(series: dict[str, list[_File]], only_ct: bool) -> str:
    members = [file for files in series.values() for file in files]
    images = [file for file in members if file.frame_count]
    if not images:
        kinds = ", ".join(sorted({file.modality for file in members}))
        return f"the DICOM files hold no images ({kinds}); give a CT series"
    if all(int(file.header.get("SamplesPerPixel", 1) or 1) > 1 for file in images):
        return "the DICOM images are colour pictures; give the original CT slices"
    if only_ct and not any(file.modality == "CT" for file in images):
        kinds = ", ".join(sorted({file.modality for file in images}))
        return f"the DICOM images are {kinds}, not CT; give a CT series"
    if all(file.is_localizer for file in images):
        return "the only CT images are localizers (scouts); give the series of slices"
    if only_ct and not any(file.is_ct_image for file in images):
        return (
            "the CT files are secondary captures or reports, not CT images; "
            "give the original CT slices"
        )
    most = max(
        sum(file.frame_count for file in files if _usable(file, only_ct))
        for files in series.values()
    )
    return (
        f"the longest series has {most} slice(s); expected a volume of at least "
        f"{stacking.MIN_SLICES}: give the whole series"
    )


def _listing(series: dict[str, list[_File]]) -> str:
    """Series with technical facts only: descriptions may name the patient."""
    lines = [f"  {uid}: {_describe(series[uid])}" for uid in sorted(series)]
    return "Series here:\n" + "\n".join(lines)


def _describe(files: Sequence[_File]) -> str:
    header = files[0].header
    facts = [files[0].modality, f"{sum(file.frame_count for file in files)} images"]
    if any(file.is_localizer for file in files):
        facts.append("localizer")
    for keyword, form in (
        ("SliceThickness", "{} mm thick"),
        ("ConvolutionKernel", "kernel {}"),
        ("KVP", "{} kV"),
    ):
        values = _values(_deep(header, keyword))
        if values:
            facts.append(form.format("/".join(str(value) for value in values)))
    if files[0].image_type:
        facts.append("type " + "\\".join(files[0].image_type))
    return ", ".join(facts)


# ------------------------------------------------------------------------ what a slice needs


def _require_readable(files: Sequence[_File]) -> None:
    for file in files:
        header = file.header
        if int(header.get("SamplesPerPixel", 1) or 1) != 1:
            raise InputError("the series holds colour pictures; give the original CT slices")
        if int(header.get("Rows", 0)) < 1 or int(header.get("Columns", 0)) < 1:
            raise InputError("a DICOM slice has no pixels (Rows or Columns is 0); export it again")


def _frames(file: _File) -> list[_Frame]:
    header = file.header
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None:
        if file.frame_count > 1:
            raise InputError(
                "a multi-frame DICOM file does not say where its frames lie (no functional "
                "groups); export the series as single slices or as enhanced CT"
            )
        return [_frame(file, 0, [header])]
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    if len(per_frame) != file.frame_count:
        raise InputError(
            f"a multi-frame DICOM file describes {len(per_frame)} frames but holds "
            f"{file.frame_count}; export the series again"
        )
    return [_frame(file, index, [group, *shared, header]) for index, group in enumerate(per_frame)]


def _frame(file: _File, index: int, groups: Sequence[Dataset]) -> _Frame:
    position = _numbers(groups, "PlanePositionSequence", "ImagePositionPatient", 3)
    orientation = _numbers(groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = _numbers(groups, "PixelMeasuresSequence", "PixelSpacing", 2)
    if min(spacing) <= 0:
        raise InputError(
            f"a DICOM slice has a Pixel Spacing of {spacing[0]:g} x {spacing[1]:g} mm; expected "
            "positive values: export the series again"
        )
    transform = "PixelValueTransformationSequence"
    slope = _numbers(groups, transform, "RescaleSlope", 1, default=1.0)
    intercept = _numbers(groups, transform, "RescaleIntercept", 1, default=0.0)
    if slope[0] == 0:
        raise InputError("a DICOM slice has a Rescale Slope of 0; export the series again")
    return _Frame(
        file=file,
        index=index,
        position=position,
        orientation=orientation,
        pixel_spacing_mm=(float(spacing[0]), float(spacing[1])),
        slope=float(slope[0]),
        intercept=float(intercept[0]),
        rescale_type=str(_in_group(groups, transform, "RescaleType") or "").strip().upper(),
        padding=_declared_padding(file.header),
    )


def _in_group(groups: Sequence[Dataset], sequence: str, keyword: str) -> Any:
    """Value of a frame: its own group before the shared one before the plain header."""
    for group in groups:
        items = group.get(sequence)
        holder = items[0] if items else group
        if holder.get(keyword) not in (None, ""):
            return holder.get(keyword)
    return None


def _numbers(
    groups: Sequence[Dataset],
    sequence: str,
    keyword: str,
    count: int,
    *,
    default: float | None = None,
) -> NDArray[np.float64]:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", keyword)
    try:
        value = _in_group(groups, sequence, keyword)
        if value is None and default is not None:
            return np.full(count, default)
        numbers = np.array([float(entry) for entry in _values(value)])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"a DICOM slice has an unreadable {words} ({error}); export the series again"
        ) from error
    if numbers.size != count or not np.isfinite(numbers).all():
        raise InputError(
            f"a DICOM slice has no usable {words} ({numbers.size} of {count} numbers), so its "
            "place is unknown; export the original series"
            if default is None
            else f"a DICOM slice has an unusable {words}; export the series again"
        )
    return numbers


def _declared_padding(header: Dataset) -> tuple[int, int] | None:
    first = header.get("PixelPaddingValue")
    if not isinstance(first, int):
        return None
    last = header.get("PixelPaddingRangeLimit")
    bits = int(header.get("BitsAllocated", 16))
    signed = int(header.get("PixelRepresentation", 0)) == 1

    def as_stored(value: int) -> int:  # US and SS are mixed up by many writers
        if signed and value >= 1 << (bits - 1):
            return value - (1 << bits)
        return value + (1 << bits) if not signed and value < 0 else value

    ends = [as_stored(value) for value in (first, last) if isinstance(value, int)]
    return min(ends), max(ends)


def _require_uniform(frames: Sequence[_Frame]) -> None:
    first = frames[0]
    for frame in frames:
        if frame.shape != first.shape:
            raise InputError(
                f"the series mixes slices of {first.shape[1]} x {first.shape[0]} and "
                f"{frame.shape[1]} x {frame.shape[0]} pixels; choose one reconstruction"
            )
        if not np.allclose(frame.pixel_spacing_mm, first.pixel_spacing_mm, rtol=1e-3):
            raise InputError(
                f"the series mixes pixel spacings of {first.pixel_spacing_mm[0]:g} and "
                f"{frame.pixel_spacing_mm[0]:g} mm; choose one reconstruction"
            )
        if not np.allclose(frame.orientation, first.orientation, atol=1e-3):
            raise InputError(
                "the series mixes slices of different orientation; choose one reconstruction"
            )
        if frame.rescale_type != first.rescale_type:
            raise InputError(
                f"the series mixes the rescale units {first.rescale_type or 'unknown'} and "
                f"{frame.rescale_type or 'unknown'}; choose one reconstruction"
            )
    row, column = first.orientation[:3], first.orientation[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not np.allclose(lengths, 1, atol=1e-2) or abs(row @ column) > 1e-2:
        raise InputError(
            "the Image Orientation of the slices is not two perpendicular directions; "
            "export the series again"
        )


def _require_unit(rescale_type: str, unit: str, only_ct: bool) -> None:
    """Compare the Rescale Type, where it says anything, with what is wanted."""
    if rescale_type in ("", "US"):
        return
    stated = _UNITS.get(rescale_type)
    if only_ct and stated != unit:
        raise InputError(
            f"the series is in {stated or rescale_type}, not in HU: it is a derived map; "
            "give the CT series"
        )
    if stated is not None and stated != unit:
        raise InputError(
            f"the series is in {stated} by its header, but {unit} was asked for; "
            "give the right series or unit"
        )


# -------------------------------------------------------------------------------- the voxels


def _read_volume(
    frames: Sequence[_Frame], unit: str, progress: Progress
) -> tuple[Volume, str, list[str]]:
    """Decode the slices onto an even, orthogonal grid."""
    notes: list[str] = []
    row, column = _perpendicular(frames[0].orientation)
    frames = sorted(frames, key=lambda frame: frame.order)
    positions = np.array([frame.position for frame in frames])
    order, heights = stacking.sort_positions(positions, row, column)
    frames = [frames[index] for index in order]
    is_new = np.concatenate([[True], np.diff(heights) > stacking.SAME_POSITION_MM])
    kept = [frame for frame, new in zip(frames, is_new, strict=True) if new]
    place = np.cumsum(is_new) - 1
    stack = stacking.make_stack(
        np.array([frame.position for frame in kept]), row, column, frames[0].pixel_spacing_mm
    )

    array, valid, digest = _decode(kept, unit, progress)
    copies = [(frame, k) for frame, k, new in zip(frames, place, is_new, strict=True) if not new]
    if copies:
        _require_identical(copies, array, valid, unit)
        notes.append(f"{len(copies)} slice(s) were there twice, identical, and used once")
    fill = _fill(unit)
    start = stack.start
    if not stack.is_even:
        gaps = np.diff(stack.heights_mm)
        notes.append(
            f"the slices are unevenly spaced ({gaps.min():.4g} to {gaps.max():.4g} mm, some may be "
            f"missing); resampled linearly to every {stack.spacing_mm:.4g} mm"
        )
        array, valid = stacking.even_out(array, valid, stack)
    if stack.is_tilted:
        notes.append(
            f"the slices are stacked askew by {stack.tilt_degrees:.1f} degrees (gantry tilt); "
            "resampled onto an orthogonal grid"
        )
        array, valid, start = stacking.straighten(array, valid, stack, fill=fill)
    k, j, i = array.shape
    return Volume(array, stack.geometry((k, j, i), start), unit, valid), digest, notes


def _perpendicular(
    orientation: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column direction, free of the rounding of the header."""
    row = orientation[:3] / np.linalg.norm(orientation[:3])
    column = orientation[3:] - row * (row @ orientation[3:])
    return row, column / np.linalg.norm(column)


def _fill(unit: str) -> float:
    return float(AIR_HU) if unit == "HU" else 0.0


def _decode(
    frames: Sequence[_Frame], unit: str, progress: Progress
) -> tuple[NDArray[Any], Mask | None, str]:
    """Values of all slices in order, their padding, and the hash of their files."""
    whole = all(frame.slope.is_integer() and frame.intercept.is_integer() for frame in frames)
    array = np.empty((len(frames), *frames[0].shape), np.int16 if whole else np.float32)
    valid = np.ones(array.shape, np.bool_)
    by_file: dict[int, list[int]] = {}
    for k, frame in enumerate(frames):
        by_file.setdefault(id(frame.file), []).append(k)

    def decode_file(members: list[int]) -> tuple[str, dict[int, NDArray[Any]]]:
        file = frames[members[0]].file
        data = file.source.read()
        images = _stored_images(file, data)
        wide = {}
        for k in members:
            values, padding = _values_of(images(frames[k].index), frames[k], unit)
            if values.dtype == array.dtype:
                array[k] = values
            else:  # beyond 16 bits
                wide[k] = values
            valid[k] = ~padding
        return hashlib.sha256(data).hexdigest(), wide

    digests = []
    wide: dict[int, NDArray[Any]] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        jobs = pool.map(decode_file, by_file.values())
        try:
            for done, (digest, beyond) in enumerate(jobs):
                progress(done / len(by_file), "decoding slices")
                digests.append(digest)
                wide |= beyond
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if wide:
        array = array.astype(np.float32)
        for k, values in wide.items():
            array[k] = values
    digest = digests[0]
    if len(digests) > 1:
        digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return array, None if valid.all() else valid, digest


def _stored_images(file: _File, data: bytes) -> Callable[[int], NDArray[Any]]:
    """Give the stored values of a file's frames by frame index."""
    native = _native_pixels(file, data)
    if native is not None:
        return native.__getitem__
    try:
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    except _HEADER_ERRORS as error:
        raise InputError(
            f"a DICOM file is damaged or cut short ({error}); export the series again"
        ) from error
    if "PixelData" not in dataset:
        raise InputError("a DICOM slice has no pixel data; export the series again")
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        )
    if str(dataset.file_meta.TransferSyntaxUID) in _JPEG_LOSSLESS:
        return _jpeg_lossless(file, dataset).__getitem__
    return partial(_decompressed, file, dataset)


def _jpeg_lossless(file: _File, dataset: Dataset) -> NDArray[Any]:
    """Unpack all frames through ITK: the one common compression that pydicom lacks."""
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "0"
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        if keyword in dataset:
            del dataset[keyword]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.dcm"
        dataset.save_as(path)
        try:
            image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
        except RuntimeError as error:
            raise InputError(
                "the pixel data of a DICOM slice is damaged or cut short (JPEG Lossless); "
                "export the series again"
            ) from error
    stored: NDArray[Any] = sitk.GetArrayFromImage(image)
    return stored.reshape(file.frame_count, int(file.header.Rows), int(file.header.Columns))


def _native_pixels(file: _File, data: bytes) -> NDArray[Any] | None:
    """View of uncompressed pixel data, which needs no second parsing; None for anything special."""
    header = file.header
    syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    bits = int(header.get("BitsAllocated", 0))
    stored_bits = int(header.get("BitsStored", 0))
    skip = _NATIVE_SYNTAXES.get(syntax)
    if skip is None or bits not in (8, 16) or header.get("HighBit") != stored_bits - 1:
        return None
    start = file.pixel_offset + skip
    shape = (file.frame_count, int(header.Rows), int(header.Columns))
    kind = "i" if header.get("PixelRepresentation", 0) == 1 else "u"
    count = math.prod(shape)
    if data[file.pixel_offset : file.pixel_offset + 4] != _PIXEL_DATA_TAG:
        return None
    if len(data) < start + count * bits // 8:
        raise InputError(
            f"the pixel data of a DICOM slice is cut short ({max(0, len(data) - start)} of "
            f"{count * bits // 8} bytes); export the series again"
        )
    stored = np.frombuffer(data, f"<{kind}{bits // 8}", count, start).reshape(shape)
    if stored_bits < bits:  # unused bits may hold an overlay
        span = 2**stored_bits
        lowest, above = (-span // 2, span // 2) if kind == "i" else (0, span)
        if stored.min() < lowest or stored.max() >= above:
            return None
    return stored


def _decompressed(file: _File, dataset: Dataset, index: int) -> NDArray[Any]:
    try:
        stored = np.asarray(
            pixel_array(dataset, index=index if file.frame_count > 1 else None, raw=True)
        )
    except (NotImplementedError, ImportError) as error:
        raise _syntax_error(dataset) from error
    except (AttributeError, ValueError, RuntimeError, EOFError, OSError, KeyError) as error:
        if "missing dependencies" in str(error):
            raise _syntax_error(dataset) from error
        raise InputError(
            "the pixel data of a DICOM slice is damaged or cut short "
            f"({str(error).splitlines()[0]}); export the series again"
        ) from error
    expected = int(file.header.Rows), int(file.header.Columns)
    if stored.shape != expected:
        raise InputError(
            f"a DICOM slice holds an image of shape {stored.shape}, its header says {expected}; "
            "export the series again"
        )
    return stored


def _values_of(stored: NDArray[Any], frame: _Frame, unit: str) -> tuple[NDArray[Any], Mask]:
    """Rescaled values of one slice with padding stored as air, and its padding."""
    declared = None
    if frame.padding is not None:
        declared = (stored >= frame.padding[0]) & (stored <= frame.padding[1])
        if not declared.any():
            declared = None
    values: NDArray[Any]
    if frame.slope.is_integer() and frame.intercept.is_integer():
        values = stored.astype(np.int32)
        values *= int(frame.slope)
        values += int(frame.intercept)
    else:
        values = stored.astype(np.float32) * np.float32(frame.slope) + np.float32(frame.intercept)
    padding = padding_in_plane(values, unit=unit, declared=declared)
    values[padding] = _fill(unit)
    if values.dtype.kind == "i" and values.min() >= -32768 and values.max() <= 32767:
        values = values.astype(np.int16)
    return values, padding


def _syntax_error(dataset: Dataset) -> InputError:
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    return InputError(
        f"the DICOM slices are compressed as {syntax.name} ({syntax}), which cannot be unpacked "
        "here; export them uncompressed (Explicit VR Little Endian)"
    )


@contextmanager
def _warnings_off() -> Iterator[None]:
    """Keep pydicom's remarks on odd headers, which may quote them, off the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _require_identical(
    copies: Sequence[tuple[_Frame, int]], array: NDArray[Any], valid: Mask | None, unit: str
) -> None:
    for frame, k in copies:
        images = _stored_images(frame.file, frame.file.source.read())
        values, padding = _values_of(images(frame.index), frame, unit)
        same = np.array_equal(values, array[k])
        if not same or (valid is not None and not np.array_equal(~padding, valid[k])):
            right, anterior, superior = lps_from_ras(frame.position) + 0.0
            raise InputError(
                "the series holds different images at the same position "
                f"(R {right:.1f}, A {anterior:.1f}, S {superior:.1f}) mm, such as several phases "
                "or reconstructions in one series; export one of them as a series of its own"
            )


# -------------------------------------------------------------------------- what is reported


def _acquisition(file: _File, frame: _Frame) -> Acquisition:
    header = file.header
    kernel = "/".join(str(value) for value in _values(_deep(header, "ConvolutionKernel")))
    return Acquisition(
        modality=file.modality,
        manufacturer=_text(header, "Manufacturer"),
        model=_text(header, "ManufacturerModelName"),
        kvp=_number(header, "KVP"),
        kernel=kernel or None,
        slice_thickness_mm=_number(header, "SliceThickness"),
        contrast_agent=_contrast(header),
        image_type=file.image_type,
        rescale_unit=frame.rescale_type or None,
        monoenergetic_kev=_monoenergetic_kev(header, file.image_type),
    )


def _contrast(header: Dataset) -> bool | None:
    agent = _deep(header, "ContrastBolusAgent")
    if agent in (None, ""):
        sequence = header.get("ContrastBolusAgentSequence")
        return True if sequence else None
    return str(agent).strip().upper() not in {"NONE", "NO", "N", "WITHOUT"}


def _monoenergetic_kev(header: Dataset, image_type: tuple[str, ...]) -> float | None:
    """Energy of a virtual monoenergetic image: from its own attribute, else from its names."""
    stated = _number(header, "MonoenergeticEnergyEquivalent")
    if stated is not None:
        return stated
    for text in (*image_type, str(header.get("SeriesDescription", ""))):
        match = re.search(r"(?<!\d)(\d{2,3}(?:\.\d+)?)[ _-]?KEV", text.upper())
        if match:
            return float(match.group(1))
    return None


def _safe_name(path: Path, header: Dataset) -> str:
    """Name of the file or folder, unless it gives the patient away."""
    name = path.name or path.resolve().name
    plain = re.sub(r"[^0-9a-z]", "", name.lower())
    for keyword in _NAMING:
        text = str(header.get(keyword, "") or "").lower()
        words = [*re.split(r"[^0-9a-z]+", text), re.sub(r"[^0-9a-z]", "", text)]
        if any(len(word) >= 3 and word in plain for word in words):
            return "dicom-series"
    return name


def _deep(header: Dataset, keyword: str) -> Any:
    """Value of an attribute wherever an enhanced image keeps it."""
    if keyword in header:
        return header.get(keyword)
    for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in list(header.get(sequence) or [])[:1]:
            for element in group.iterall():
                if element.keyword == keyword:
                    return element.value
    return None


def _values(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)


def _text(header: Dataset, keyword: str) -> str | None:
    return str(header.get(keyword) or "").strip() or None


def _number(header: Dataset, keyword: str) -> float | None:
    values = _values(_deep(header, keyword))
    try:
        return float(values[0]) if values else None
    except (TypeError, ValueError):
        return None
