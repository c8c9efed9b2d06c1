"""Decoding pixel data into calibrated slices."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from lungperfusion.errors import InputError
from lungperfusion.io.bounds import MAX_BYTES, require_bounded, without_deflation
from lungperfusion.io.dicom.frames import Frame
from lungperfusion.io.dicom.header import HEADER_ERRORS, header_count
from lungperfusion.io.dicom.sources import PIXEL_DATA_TAG, DicomFile
from lungperfusion.io.padding import fill_value, padding_in_plane
from lungperfusion.io.scratch import scratch_folder
from lungperfusion.io.silence import silent_libraries
from lungperfusion.naming import named
from lungperfusion.progress import Progress
from lungperfusion.threads import in_order
from lungperfusion.volume import Mask

_THREADS = 4


_NATIVE_SYNTAXES = {"1.2.840.10008.1.2": 8, "1.2.840.10008.1.2.1": 12}
"""Uncompressed little-endian encodings, with the bytes of the pixel data element's own header."""


_DECODED_BY = (
    *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
)
"""What a decoder needs of a header (PS3.3 C.7.6.3)."""


_JPEG_LOSSLESS = {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"}


def decode(
    frames: Sequence[Frame], unit: str, progress: Progress
) -> tuple[NDArray[Any], Mask | None, str]:
    """Values of all slices in order, their padding, and the hash of their files."""
    _require_bounded(frames)
    whole = all(frame.slope.is_integer() and frame.intercept.is_integer() for frame in frames)
    array = np.empty((len(frames), *frames[0].shape), np.int16 if whole else np.float32)
    valid = np.ones(array.shape, np.bool_)
    by_file: dict[int, list[int]] = {}
    for k, frame in enumerate(frames):
        by_file.setdefault(id(frame.file), []).append(k)

    def decode_file(members: list[int]) -> tuple[str, dict[int, NDArray[Any]]]:
        file = frames[members[0]].file
        data = file.source.read()
        images = stored_images(file, data)
        wide = {}
        for k in members:
            values, padding = calibrated(images(frames[k].index), frames[k], unit)
            if values.dtype == array.dtype:
                array[k] = values
            else:  # beyond 16 bits
                wide[k] = values
            valid[k] = ~padding
        return hashlib.sha256(data).hexdigest(), wide

    digests = []
    wide: dict[int, NDArray[Any]] = {}
    with closing(in_order(decode_file, by_file.values(), at_most=_THREADS)) as files:
        for done, (digest, beyond) in enumerate(files):
            progress(done / len(by_file), "decoding slices")
            digests.append(digest)
            wide |= beyond
    if wide:
        array = array.astype(np.float32)
        for k, values in wide.items():
            array[k] = values
    digest = digests[0]
    if len(digests) > 1:
        digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return array, None if valid.all() else valid, digest


def _require_bounded(frames: Sequence[Frame]) -> None:
    """Refuse sizes that no file of this length holds, before memory of that size is taken."""
    file, slice_bytes = frames[0].file, 2 * math.prod(frames[0].shape)
    here = sum(frame.file is file for frame in frames)
    require_bounded(file.source.name, here * slice_bytes, len(file.source.read()))
    if len(frames) * slice_bytes > MAX_BYTES:
        raise InputError(
            f"the series claims {len(frames)} slices of {' x '.join(map(str, frames[0].shape))} "
            "pixels, more than any CT; export it again"
        )


def stored_images(file: DicomFile, data: bytes) -> Callable[[int], NDArray[Any]]:
    """Give the stored values of a file's frames by frame index."""
    with without_deflation(io.BytesIO(data), file.source.name) as stream:
        data = stream.read()
    native = _native_pixels(file, data)
    if native is not None:
        return native.__getitem__
    try:
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    except HEADER_ERRORS as error:
        raise InputError("a DICOM file is damaged or cut short; export the series again") from error
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


def _jpeg_lossless(file: DicomFile, dataset: Dataset) -> NDArray[Any]:
    """Unpack all frames through ITK: the one common compression that pydicom lacks.

    It reads files only, so one is written for it, with the pixels and nothing of the patient.
    """
    bare = Dataset()
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    bare.SOPClassUID = bare.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    bare.SOPInstanceUID = bare.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=["-"]
    )
    for keyword in _DECODED_BY:
        if keyword in dataset:
            bare[keyword] = dataset[keyword]
    with scratch_folder() as folder:
        path = folder / "image.dcm"
        bare.save_as(path, enforce_file_format=True)
        try:
            with silent_libraries():
                image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
        except RuntimeError as error:
            raise InputError(
                "the pixel data of a DICOM slice is damaged or cut short (JPEG Lossless); "
                "export the series again"
            ) from error
    stored: NDArray[Any] = sitk.GetArrayFromImage(image)
    return stored.reshape(_shape(file))


def _shape(file: DicomFile) -> tuple[int, int, int]:
    rows, columns = (header_count(file.header, name) for name in ("Rows", "Columns"))
    return file.frame_count, rows, columns


def _native_pixels(file: DicomFile, data: bytes) -> NDArray[Any] | None:
    """View of uncompressed pixel data, which needs no second parsing; None for anything special."""
    header = file.header
    syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    bits = header_count(header, "BitsAllocated")
    stored_bits = header_count(header, "BitsStored")
    skip = _NATIVE_SYNTAXES.get(syntax)
    if skip is None or bits not in (8, 16) or header.get("HighBit") != stored_bits - 1:
        return None
    start = file.pixel_offset + skip
    shape = _shape(file)
    kind = "i" if header.get("PixelRepresentation", 0) == 1 else "u"
    count = math.prod(shape)
    if data[file.pixel_offset : file.pixel_offset + 4] != PIXEL_DATA_TAG:
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


def _decompressed(file: DicomFile, dataset: Dataset, index: int) -> NDArray[Any]:
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
            f"({named(str(error).splitlines()[0])}); export the series again"
        ) from error
    expected = _shape(file)[1:]
    if stored.shape != expected:
        raise InputError(
            f"a DICOM slice holds an image of shape {stored.shape}, its header says {expected}; "
            "export the series again"
        )
    return stored


def calibrated(stored: NDArray[Any], frame: Frame, unit: str) -> tuple[NDArray[Any], Mask]:
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
    values[padding] = fill_value(unit)
    if values.dtype.kind == "i" and values.min() >= -32768 and values.max() <= 32767:
        values = values.astype(np.int16)
    return values, padding


def _syntax_error(dataset: Dataset) -> InputError:
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    return InputError(
        f"the DICOM slices are compressed as {named(f'{syntax.name} ({syntax})')}, which cannot "
        "be unpacked here; export them uncompressed (Explicit VR Little Endian)"
    )
