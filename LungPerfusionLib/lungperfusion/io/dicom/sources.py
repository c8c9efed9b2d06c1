"""Finding DICOM files: folders, single files and zips, and their headers."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset

from lungperfusion.errors import InputError
from lungperfusion.io.bounds import (
    MAX_BYTES,
    MAX_RATIO,
    RATIO_MATTERS_BYTES,
    without_deflation,
)
from lungperfusion.io.dicom.header import HEADER_ERRORS, header_count, header_number, header_values
from lungperfusion.io.files import is_image_file
from lungperfusion.io.folders import CUT, EMPTY, Listing, in_words, list_files
from lungperfusion.naming import Name, named
from lungperfusion.progress import Progress, ignore

_WITHOUT_PREAMBLE = (
    b"\x02\x00\x00\x00",
    b"\x08\x00\x00\x00",
    b"\x08\x00\x05\x00",
    b"\x08\x00\x08\x00",
)


CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT image",
    "1.2.840.10008.5.1.4.1.1.2.1": "enhanced CT image",
    "1.2.840.10008.5.1.4.1.1.2.2": "legacy converted enhanced CT image",
}


_DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")


PIXEL_DATA_TAG = b"\xe0\x7f\x10\x00"


@dataclass(frozen=True)
class _Source:
    """Where the bytes of one file come from: a folder or a zip."""

    name: Name
    open: Callable[[], BinaryIO]

    def read(self) -> bytes:
        with self.open() as stream:
            return stream.read()


@dataclass(frozen=True)
class DicomFile:
    """One DICOM file: its header, where its pixel data begin and how to get at them."""

    header: Dataset
    pixel_offset: int
    source: _Source

    @property
    def series_uid(self) -> str:
        """Series Instance UID."""
        return str(self.header.get("SeriesInstanceUID", ""))

    @property
    def modality(self) -> str:
        """Modality, ``unknown`` where the header has none."""
        return str(self.header.get("Modality", "") or "unknown")

    @property
    def image_type(self) -> tuple[str, ...]:
        """Image Type in capitals."""
        return tuple(str(value).upper() for value in header_values(self.header.get("ImageType")))

    @property
    def frame_count(self) -> int:
        """Number of images; 0 for a file without any."""
        if "Rows" not in self.header:
            return 0
        return header_count(self.header, "NumberOfFrames") or 1

    @property
    def acquisition_number(self) -> int | None:
        """Pass of the scanner that the images come from, where the header says."""
        number = header_number(self.header, "AcquisitionNumber")
        return None if number is None else int(number)

    @property
    def acquisition_time(self) -> str:
        """Date and time of the acquisition as written, empty where the header has none."""
        names = ("AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime")
        return " ".join(str(self.header.get(name) or "") for name in names).strip()

    @property
    def is_localizer(self) -> bool:
        """Whether this is an overview image."""
        return any("LOCALIZER" in value or "SCOUT" in value for value in self.image_type)

    @property
    def is_grey(self) -> bool:
        """Whether its images have one value a pixel."""
        return header_number(self.header, "SamplesPerPixel") in (None, 0.0, 1.0)

    @property
    def is_ct_image(self) -> bool:
        """Whether this is an image of a CT scanner."""
        return str(self.header.get("SOPClassUID", "")) in CT_CLASSES and self.modality == "CT"


def is_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes of a file are those of a DICOM file, with or without preamble."""
    return head[128:132] == b"DICM" or head[:4] in _WITHOUT_PREAMBLE


@dataclass(frozen=True)
class DicomFiles:
    """DICOM files found below a path."""

    files: list[DicomFile]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Entries that could have been slices and could not be read, by kind (`io.folders`)."""


@contextmanager
def dicom_files(path: Path, progress: Progress) -> Iterator[DicomFiles]:
    """All DICOM files below a path; a zip stays open meanwhile and nothing is unpacked to disk."""
    if path.is_dir():
        listing = list_files(path)
        _require_files(path, listing)
        sources = [_file_source(file) for file in listing.files]
        yield _headers(sources, progress, path, listing.left_out)
    elif zipfile.is_zipfile(path):
        with _open_zip(path) as archive:
            infos = [
                info
                for info in archive.infolist()
                if not info.is_dir() and "__MACOSX" not in info.filename
            ]
            members = [
                _Source(
                    named(PurePosixPath(info.filename).name), partial(_open_member, archive, info)
                )
                for info in infos
                if info.file_size
            ]
            yield _headers(members, progress, path, {EMPTY: len(infos) - len(members)})
    else:
        wanted = _headers([_file_source(path)], ignore, path, {}).files[0].series_uid
        listing = list_files(path.parent)
        beside = [_file_source(file) for file in listing.files if file.parent == path.parent]
        found = _headers(beside, progress, path, listing.left_out)
        files = [file for file in found.files if file.series_uid == wanted]
        yield DicomFiles(files, found.left_out)


def _require_files(folder: Path, listing: Listing) -> None:
    """Refuse a folder without any file, or with image files alone."""
    images = [file for file in listing.files if is_image_file(file)]
    if not listing.files:
        words = in_words(listing.left_out)
        raise InputError(
            f"the folder {named(folder.name)} is empty"
            + (f" but for {words}" if words else "")
            + "; give a folder with a CT series"
        )
    if len(images) == len(listing.files):
        raise InputError(
            f"the folder {named(folder.name)} holds {len(images)} image file(s) but no DICOM; "
            f"name one file, such as {named(images[0].name)}"
        )


def _file_source(path: Path) -> _Source:
    return _Source(named(path.name), partial(_open_file, path))


def _open_file(path: Path) -> BinaryIO:
    return path.open("rb")


def _headers(
    sources: Sequence[_Source], progress: Progress, path: Path, left_out: Mapping[str, int]
) -> DicomFiles:
    files = []
    missing = Counter(left_out)
    for done, source in enumerate(sources):
        if done % 32 == 0:
            progress(done / len(sources), "reading DICOM headers")
        if source.name.startswith(".") or source.name.upper() == "DICOMDIR":
            continue
        try:
            with without_deflation(source.open(), source.name) as stream:
                header = read_header(stream, source.name)
                file = None if header is None else DicomFile(header, stream.tell(), source)
        except PermissionError as error:
            raise InputError(f"{named(source.name)} cannot be read: {error.strerror}") from error
        if file is not None:
            files.append(file)
        elif source.name.lower().endswith(_DICOM_SUFFIXES):
            missing[CUT] += 1
    if not files:
        words = in_words(missing)
        raise InputError(
            f"{named(path.name)} holds no DICOM file ({len(sources)} other file(s)"
            + (f"; {words}" if words else "")
            + "); give a folder or zip with a CT series, or an NRRD, NIfTI, MHA or MHD file"
        )
    return DicomFiles(files, dict(+missing))


def read_header(stream: BinaryIO, name: str, tags: Sequence[str] | None = None) -> Dataset | None:
    """Header of a DICOM file with or without preamble, None for any other file.

    Parameters
    ----------
    stream
        At its beginning; stands before the pixel data afterwards.
    name
        Of the file, for messages.
    tags
        Keywords to read; all of them by default.

    Raises
    ------
    InputError
        If the header is damaged.

    """
    if not is_dicom(stream.read(132)):
        return None
    stream.seek(0)
    try:
        header = pydicom.dcmread(
            stream,
            stop_before_pixels=True,
            force=True,
            specific_tags=None if tags is None else list(tags),
        )
        header.get("SOPClassUID")
    except HEADER_ERRORS as error:
        raise InputError(
            f"the DICOM header of {named(name)} is damaged or cut short; export the series again"
        ) from error
    known = str(header.get("SOPClassUID", ""))
    if not known or (known in CT_CLASSES and "Rows" not in header):
        raise InputError(
            f"the DICOM header of {named(name)} is damaged or cut short (no "
            f"{'Rows' if known else 'SOP Class UID'}); export the series again"
        )
    return header


_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError),
    *(ValueError, OverflowError, struct.error),
)
"""What the zip library raises for damaged archives."""

_DAMAGED_ZIP = "the zip is damaged; copy or export it again"


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(path)
    except _ZIP_ERRORS as error:  # the file ends like a zip, but its list of members is damaged
        raise InputError(_DAMAGED_ZIP) from error
    members = archive.infolist()
    total = sum(info.file_size for info in members)
    if total > MAX_BYTES:
        archive.close()
        raise InputError(
            f"{named(path.name)} would unpack to {total / 2**30:.1f} GiB (at most "
            f"{MAX_BYTES / 2**30:.0f} GiB are accepted); give the folder instead"
        )
    # of the whole archive as well: its members may be many, or share their bytes
    packed = [(info.file_size, info.compress_size) for info in members]
    for size, held in (*packed, (total, path.stat().st_size)):
        if size > RATIO_MATTERS_BYTES and size > MAX_RATIO * held:
            archive.close()
            raise InputError(
                f"{named(path.name)} is packed {size / max(1, held):.0f} to 1, which no CT is; "
                "give the folder instead"
            )
    for info in members:
        if info.flag_bits & 1:
            archive.close()
            raise InputError(f"{named(path.name)} is encrypted; unpack it and give the folder")
    return archive


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    try:
        with archive.open(info) as stream:  # with a size: it may hold far more than it says
            content = stream.read(info.file_size)
            stream.read(1)  # compares the checksum at the end
        return io.BytesIO(content)
    except _ZIP_ERRORS as error:
        raise InputError(_DAMAGED_ZIP) from error


def require_readable(files: Sequence[DicomFile]) -> None:
    """Refuse files whose image cannot be read."""
    for file in files:
        header = file.header
        if not file.is_grey:
            raise InputError("the series holds colour pictures; give the original CT slices")
        if header_count(header, "Rows") < 1 or header_count(header, "Columns") < 1:
            raise InputError("a DICOM slice has no pixels (Rows or Columns is 0); export it again")
