"""Image files for the tests of reading and writing: small, made here, of every kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    generate_uid,
)

from lungperfusion.resampling import to_sitk
from lungperfusion.volume import Geometry, lps_from_ras

SHAPE = (8, 24, 20)
PATIENT = {
    "PatientName": "Doe^Jane",
    "PatientID": "PID4711",
    "PatientBirthDate": "19610102",
    "AccessionNumber": "ACC0815",
    "InstitutionName": "Saint Elsewhere",
    "StudyDate": "20200304",
    "StudyDescription": "Doe chest",
    "SeriesDescription": "Thorax Doe",
}


def _chest(shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> np.ndarray:
    """Body with two lungs in air, in HU with noise, int16."""
    _, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    hu = np.full(shape, -1000.0)
    hu[i**2 / 0.9 + j**2 / 0.7 < 1] = 40
    for side in (-0.4, 0.4):
        hu[(i - side) ** 2 / 0.09 + j**2 / 0.3 < 1] = -850
    noise = np.random.default_rng(seed).normal(0, 8, shape)
    return np.clip(np.rint(hu + noise), -1010, 3000).astype(np.int16)


@pytest.fixture(scope="session")
def chest() -> Callable[..., np.ndarray]:
    return _chest


@pytest.fixture(scope="session")
def grid() -> Geometry:
    return Geometry.axial(SHAPE, (0.8, 0.8, 2.0), (8.0, 10.0, -100.0))


Edit = Callable[[Dataset, int], None]


def _slice(hu: np.ndarray, geometry: Geometry, k: int, series: str) -> Dataset:
    """One CT slice as scanners write them: unsigned, intercept -1024."""
    directions = lps_from_ras(geometry.ijk_to_ras[:3, :2].T)
    spacing = np.linalg.norm(directions, axis=1)
    row, column = directions / spacing[:, None]
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in PATIENT.items():
        setattr(data, keyword, value)
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = f"{series}.{k + 1}"
    data.StudyInstanceUID = "2.25.1"
    data.SeriesInstanceUID = series
    data.Modality = "CT"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.Manufacturer = "Maker"
    data.ManufacturerModelName = "Model 7"
    data.KVP = "120"
    data.ConvolutionKernel = "B40f"
    data.SliceThickness = "2"
    data.ImagePositionPatient = [f"{x:.8g}" for x in lps_from_ras(geometry.ras_from_ijk((0, 0, k)))]
    data.ImageOrientationPatient = [f"{x:.10f}"[:16] for x in (*row, *column)]
    data.PixelSpacing = [f"{spacing[1]:.10g}", f"{spacing[0]:.10g}"]
    data.InstanceNumber = 1
    data.Rows, data.Columns = hu.shape
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.PixelRepresentation = 0
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = "1", "-1024", "HU"
    data.PixelData = (hu.astype(np.int32) + 1024).astype("<u2").tobytes()
    return data


def _save(data: Dataset, path: Path) -> Path:
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    if data.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
        data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
        data["PixelData"].VR = "OW"
        data.save_as(path, implicit_vr=False, little_endian=False, enforce_file_format=True)
    else:
        data.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(scope="session")
def write_series() -> Callable[..., Path]:
    """``write_series(folder, hu, geometry, edit=f)``: a DICOM series with names in random order."""

    def write(
        folder: Path,
        hu: np.ndarray,
        geometry: Geometry,
        *,
        edit: Edit | None = None,
        keep: Sequence[int] | None = None,
        series: str = "2.25.10",
        prefix: str = "",
        compress: str | None = None,
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        names = np.random.default_rng(1).permutation(len(hu))
        for k in range(len(hu)) if keep is None else keep:
            data = _slice(hu[k], geometry, k, series)
            if edit is not None:
                edit(data, k)
            if compress is not None:
                data.compress(compress, encoding_plugin="", generate_instance_uid=False)
            _save(data, folder / f"{prefix}IM{names[k]:04d}")
        return folder

    return write


@pytest.fixture(scope="session")
def write_enhanced() -> Callable[..., Path]:
    """Write an enhanced (multi-frame) CT with its frames in the given order."""

    def write(
        path: Path,
        hu: np.ndarray,
        geometry: Geometry,
        order: Sequence[int],
        edit: Edit | None = None,
    ) -> Path:
        first = _slice(hu[0], geometry, 0, "2.25.20")
        data = Dataset()
        data.file_meta = first.file_meta
        moved = {
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "PixelSpacing",
            "SliceThickness",
        }
        moved |= {"RescaleSlope", "RescaleIntercept", "RescaleType", "KVP", "ConvolutionKernel"}
        for element in first:
            if element.keyword not in moved:
                data.add(element)
        data.SOPClassUID = EnhancedCTImageStorage
        data.NumberOfFrames = len(order)
        shared, orientation, measures = Dataset(), Dataset(), Dataset()
        orientation.ImageOrientationPatient = first.ImageOrientationPatient
        measures.PixelSpacing, measures.SliceThickness = first.PixelSpacing, "2"
        beam, kernel = Dataset(), Dataset()
        beam.KVP, kernel.ConvolutionKernel = 100.0, "Br40"
        shared.PlaneOrientationSequence = [orientation]
        shared.PixelMeasuresSequence = [measures]
        shared.CTXRayDetailsSequence = [beam]
        shared.CTReconstructionSequence = [kernel]
        data.SharedFunctionalGroupsSequence = [shared]
        frames = []
        for k in order:
            group, plane, values = Dataset(), Dataset(), Dataset()
            plane.ImagePositionPatient = _slice(hu[k], geometry, k, "1").ImagePositionPatient
            values.RescaleSlope, values.RescaleIntercept, values.RescaleType = "1", "-1024", "HU"
            group.PlanePositionSequence = [plane]
            group.PixelValueTransformationSequence = [values]
            frames.append(group)
        data.PerFrameFunctionalGroupsSequence = frames
        stored = (hu[list(order)].astype(np.int32) + 1024).astype("<u2")
        data.PixelData = stored.tobytes()
        if edit is not None:
            edit(data, 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        return _save(data, path)

    return write


@pytest.fixture(scope="session")
def write_image() -> Callable[..., Path]:
    """``write_image(path, array, geometry)`` through SimpleITK."""
    import SimpleITK as sitk

    def write(path: Path, array: np.ndarray, geometry: Geometry) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(to_sitk(array, geometry), str(path))
        return path

    return write


@pytest.fixture(scope="session")
def new_uid() -> Callable[[], str]:
    return generate_uid
