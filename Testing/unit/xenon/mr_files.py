"""MR images of DICOM as scanners write them: classic series and enhanced objects."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from lungperfusion.volume import Geometry, lps_from_ras

Edit = Callable[[Dataset, int], None]
LEVELS = 4000
"""Steps that the span of an image is stored in."""


def stored_levels(array: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Stored values with slope and intercept of an array."""
    low, high = float(array.min()), float(array.max())
    slope = float(f"{(high - low) / LEVELS or 1.0:.8g}")
    intercept = float(f"{low:.8g}")
    return np.rint((array - intercept) / slope).astype(np.uint16), slope, intercept


def write_mr(
    array: np.ndarray,
    geometry: Geometry,
    folder: Path,
    *,
    image_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "M", "DIS2D"),
    scale: tuple[float, float] | None = None,
    edit: Edit | None = None,
    series: str | None = None,
    modality: str = "MR",
    study: str = "1.2.3",
) -> Path:
    """Write one file a slice; with ``scale`` (slope, intercept) ``array`` holds stored values."""
    folder.mkdir(parents=True, exist_ok=True)
    series = series or generate_uid(entropy_srcs=[folder.name, *image_type])
    prefix = hashlib.sha256("|".join([series, *image_type]).encode()).hexdigest()[:6]
    names = np.random.default_rng(1).permutation(len(array))
    for k, data in enumerate(_slices(array, geometry, image_type, scale, series, study)):
        data.Modality = modality
        if modality == "CT":
            data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CTImageStorage
        if edit is not None:
            edit(data, k)
        data.save_as(folder / f"{prefix}{names[k]:03d}", enforce_file_format=True)
    return folder


def write_enhanced_mr(
    parts: dict[str, np.ndarray],
    geometry: Geometry,
    path: Path,
    *,
    edit: Callable[[Dataset, str], None] | None = None,
) -> Path:
    """Write one enhanced object with the frames of all parts (MAGNITUDE, PHASE, ...)."""
    frames, stored, first = [], [], None
    for part, array in parts.items():
        for data in _slices(array, geometry, ("ORIGINAL", "PRIMARY"), None, "1.2.9", "1.2.3"):
            group, plane, values, kind = Dataset(), Dataset(), Dataset(), Dataset()
            plane.ImagePositionPatient = data.ImagePositionPatient
            values.RescaleSlope, values.RescaleIntercept = data.RescaleSlope, data.RescaleIntercept
            values.RescaleType = "US"
            kind.ComplexImageComponent = part
            group.PlanePositionSequence = [plane]
            group.PixelValueTransformationSequence = [values]
            group.MRImageFrameTypeSequence = [kind]
            if edit is not None:
                edit(group, part)
            frames.append(group)
            stored.append(data.PixelData)
            first = first or data
    out = copy.deepcopy(first)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    measures.PixelSpacing = first.PixelSpacing
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(out, keyword)
    del out.RescaleSlope, out.RescaleIntercept
    out.SOPClassUID = out.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    out.NumberOfFrames = len(frames)
    out.SharedFunctionalGroupsSequence = [shared]
    out.PerFrameFunctionalGroupsSequence = frames
    out.PixelData = b"".join(stored)
    path.parent.mkdir(parents=True, exist_ok=True)
    out.save_as(path, enforce_file_format=True)
    return path


def _slices(
    array: np.ndarray,
    geometry: Geometry,
    image_type: Sequence[str],
    scale: tuple[float, float] | None,
    series: str,
    study: str,
):
    whole, slope, intercept = stored_levels(array) if scale is None else (array, *scale)
    directions = lps_from_ras(geometry.ijk_to_ras[:3, :2].T)
    spacing = np.linalg.norm(directions, axis=1)
    row, column = directions / spacing[:, None]
    for k, plane in enumerate(whole):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = MRImageStorage
        data.SOPInstanceUID = generate_uid(entropy_srcs=[series, *image_type, str(k)])
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID = study, series
        data.FrameOfReferenceUID = "1.2.33"
        data.PatientName, data.PatientID = "Phantom^Chest", "PHANTOM"
        data.PatientBirthDate = data.StudyDate = data.StudyTime = data.StudyID = ""
        data.PatientSex, data.AccessionNumber, data.ReferringPhysicianName = "O", "", ""
        data.Modality, data.ImageType = "MR", list(image_type)
        data.SeriesNumber, data.InstanceNumber = 1, k + 1
        place = lps_from_ras(geometry.ras_from_ijk((0, 0, k)))
        data.ImagePositionPatient = [f"{x:.8g}" for x in place]
        data.ImageOrientationPatient = [f"{x:.10f}"[:16] for x in (*row, *column)]
        data.PixelSpacing = [f"{spacing[1]:.10g}", f"{spacing[0]:.10g}"]
        data.SliceThickness = f"{geometry.spacing_ijk_mm[2]:.6g}"
        data.Rows, data.Columns = plane.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 0
        data.RescaleSlope, data.RescaleIntercept = f"{slope:.8g}", f"{intercept:.8g}"
        data.PixelData = np.ascontiguousarray(plane).astype("<u2").tobytes()
        yield data
