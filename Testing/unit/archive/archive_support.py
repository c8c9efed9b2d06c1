"""What the tests of the archive share: a small study, results measured on it, readers of others."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

from lungperfusion.archive.results import read_results
from lungperfusion.archive.source import read_source
from lungperfusion.archive.writing import ArchiveOptions, write_objects
from lungperfusion.io import read_ct, results_folder
from lungperfusion.measurement import measured, missing
from lungperfusion.quality import Gate
from lungperfusion.results.analysis import Analysis
from lungperfusion.results.provenance import InputFile, Provenance
from lungperfusion.results.writing import write_results
from lungperfusion.terms import LOBES, STRUCTURES
from lungperfusion.volume import Geometry, Labelmap, Volume, lps_from_ras

SHAPE = (9, 30, 26)
GRID = Geometry.axial(SHAPE, (7.0, 6.0, 12.5), (87.5, 91.25, -140.625))
PATIENT = {
    "PatientName": "Doe^Jane",
    "PatientID": "PID4711",
    "PatientBirthDate": "19610102",
    "PatientSex": "F",
    "AccessionNumber": "ACC0815",
    "StudyID": "S77",
    "StudyDate": "20200304",
    "StudyTime": "101112",
    "AcquisitionDate": "20200304",
    "AcquisitionTime": "102030.5",
    "StudyDescription": "Doe chest",
    "ReferringPhysicianName": "House^Greg",
    "InstitutionName": "Saint Elsewhere",
    "SeriesDescription": "Thorax Doe",
}
Edit = Callable[[Dataset, int], None]


def _hu(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Body with two lungs in air, in HU with noise."""
    _, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    hu = np.full(shape, -1000.0)
    hu[i**2 / 0.9 + j**2 / 0.7 < 1] = 40
    for side in (-0.4, 0.4):
        hu[(i - side) ** 2 / 0.09 + j**2 / 0.3 < 1] = -850
    return np.rint(hu + np.random.default_rng(3).normal(0, 8, shape)).astype(np.int16)


def _slice(hu: np.ndarray, geometry: Geometry, k: int) -> Dataset:
    directions = lps_from_ras(geometry.ijk_to_ras[:3, :2].T)
    spacing = np.linalg.norm(directions, axis=1)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in PATIENT.items():
        setattr(data, keyword, value)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, f"2.25.10.{k + 1}"
    data.StudyInstanceUID, data.SeriesInstanceUID = "2.25.1", "2.25.10"
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = "2.25.2", ""
    data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.Manufacturer, data.KVP, data.SliceThickness = "Maker", "120", "12.5"
    place = lps_from_ras(geometry.ras_from_ijk((0, 0, k)))
    data.ImagePositionPatient = [f"{x:.8g}" for x in place]
    axes = directions / spacing[:, None]
    data.ImageOrientationPatient = [f"{x:.10f}"[:16] for x in axes.ravel()]
    data.PixelSpacing = [f"{spacing[1]:.10g}", f"{spacing[0]:.10g}"]
    data.InstanceNumber = k + 1
    data.Rows, data.Columns = hu.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = "1", "0", "HU"
    data.PixelData = hu.astype("<i2").tobytes()
    return data


def _save(data: Dataset, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.save_as(path, enforce_file_format=True)


def write_source(
    folder: Path,
    *,
    geometry: Geometry = GRID,
    edit: Edit | None = None,
    order: Sequence[int] | None = None,
    shift_hu: int = 0,
) -> Path:
    """CT series with its files called in any order."""
    hu = _hu(geometry.shape) + np.int16(shift_hu)
    for k, name in enumerate(order or range(len(hu))):
        data = _slice(hu[k], geometry, k)
        if edit is not None:
            edit(data, k)
        _save(data, folder / f"IM{name:03d}.dcm")
    return folder


def write_enhanced_source(folder: Path, order: Sequence[int]) -> Path:
    """The same CT as one enhanced image with its frames in the given order."""
    hu = _hu()
    data = _slice(hu[0], GRID, 0)
    shared, orientation, measures, values = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = data.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = data.PixelSpacing, "12.5"
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = "1", "0", "HU"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    shared.PixelValueTransformationSequence = [values]
    frames = []
    for k in order:
        frame, plane = Dataset(), Dataset()
        plane.ImagePositionPatient = _slice(hu[k], GRID, k).ImagePositionPatient
        frame.PlanePositionSequence = [plane]
        frames.append(frame)
    for keyword in (
        *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
        *("RescaleSlope", "RescaleIntercept", "RescaleType"),
    ):
        delattr(data, keyword)
    data.SOPClassUID, data.NumberOfFrames = EnhancedCTImageStorage, len(order)
    data.SOPInstanceUID = f"2.25.10.{100 + order[0]}"
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = frames
    data.PixelData = hu[list(order)].astype("<i2").tobytes()
    _save(data, folder / "enhanced.dcm")
    return folder


# ------------------------------------------------------------------------------------ results


def lobes_of(hu: np.ndarray) -> np.ndarray:
    """Lobes that touch, each of its own size; shape and place mean nothing."""
    k, _, i = np.indices(hu.shape)
    right = i < hu.shape[2] // 2
    labels = np.where(right, np.where(k > 5, 13, np.where(k > 3, 14, 15)), np.where(k > 4, 11, 12))
    return np.where(hu < -500, np.where(hu > -960, labels, 0), 0).astype(np.uint8)


def make_analysis(ct: Volume) -> Analysis:
    """Label maps, maps and values of every kind that objects have to carry."""
    hu, grid = np.asarray(ct.array), ct.geometry
    lobes = lobes_of(hu)
    lungs = np.where(lobes > 12, 2, np.where(lobes > 0, 1, 0)).astype(np.uint8)
    rng = np.random.default_rng(5)
    iodine = rng.normal(1.5, 0.3, hu.shape).astype(np.float32)
    perfusion = rng.random(hu.shape, dtype=np.float32) * 2
    known = rng.random(hu.shape) > 0.1
    vessels = np.where((lungs > 0) & (rng.random(hu.shape) > 0.8), 51, 0)
    vessels = np.where(vessels > 0, 51 + np.indices(hu.shape)[2] % 4, 0).astype(np.uint8)
    classes = np.where(lungs > 0, 61 + np.indices(hu.shape)[1] % 4, 0).astype(np.uint8)
    defects = ((lungs > 0) & (np.indices(hu.shape)[0] == 4)).astype(np.uint8)
    names = {s.label: name for name, s in STRUCTURES.items()}
    partition = {value: names[value] for value in range(11, 16)}
    voxels = {region: float((lobes == STRUCTURES[region].label).sum()) for region in LOBES}
    return Analysis(
        module="ipv",
        measurements=(
            measured("lungs", "tlv", 5.123456, "sum of voxels"),
            measured("lungs", "mld", -812.345, "mean of voxels, airways left out"),
            *(
                measured(r, "lobe_volume", n * grid.voxel_volume_ml, "sum of voxels")
                for r, n in voxels.items()
            ),
            measured("lungs", "ipv", 98.7654, "sum of iodine × volume", caution="a thick slice"),
            measured("left_lung", "perfusion_share", 43.21, "weights " + "of the surrogate " * 6),
            missing("right_lung", "iodine_mean", "the lung is collapsed", "mean"),
            missing("left_oblique_fissure", "fissure_completeness", "no fissure in sight"),
        ),
        gates=(
            Gate(id="noise", verdict="pass", message="The noise is low."),
            Gate(id="kernel", verdict="warn", message="The kernel is sharp (µ > 1)."),
        ),
        maps={
            "iodine": Volume(iodine, grid, "mg/mL"),
            "perfusion": Volume(perfusion, grid, "1", known),
        },
        labelmaps={
            "lungs": Labelmap(lungs, grid, {1: "left_lung", 2: "right_lung"}),
            "lobes": Labelmap(lobes, grid, partition),
            "vessels": Labelmap(vessels, grid, {v: names[v] for v in range(51, 55)}),
            "vq_classes": Labelmap(classes, grid, {v: names[v] for v in range(61, 65)}),
            "perfusion_defects": Labelmap(defects, grid, {1: "perfusion_defect"}),
            "nothing": Labelmap(np.zeros(hu.shape, np.uint8), grid, {1: "xenon_low"}),
        },
    )


def write_measured(
    folder: Path,
    source: Path,
    *,
    keep_names: bool = False,
    roles: tuple[str, ...] = ("ct",),
    **changes: Any,
) -> Path:
    """Results folder of `make_analysis` on a series; ``changes`` are fields of the analysis."""
    scan = read_ct(source)
    scanned = {"name": "Doe", "sha256": scan.sha256, "voxels_sha256": scan.voxels_sha256}
    given = {"name": "given", "sha256": "ab" * 32}
    inputs = (InputFile(role=r, **(scanned if r == "ct" else given)) for r in roles)
    provenance = Provenance(inputs=tuple(inputs), keep_names=keep_names)
    analysis = replace(make_analysis(scan.volume), **changes)
    with results_folder(folder) as temporary:
        write_results(temporary, [analysis], case="c01", provenance=provenance, report=False)
    return folder


def write_archive(out: Path, results: Path, source: Path, **options: Any) -> Path:
    """All objects in a folder."""
    out.mkdir(parents=True)
    options = {"key_images": False, **options}
    write_objects(out, read_results(results), read_source(source), ArchiveOptions(**options))
    return out


def written_sagittal(place: Path) -> tuple[Volume, Path]:
    """CT of sagittal slices, and the objects of results on it."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[0.0, 0, -1], [-1, 0, 0], [0, -1, 0]]) @ np.diag([7.0, 12.5, 6.0])
    matrix[:3, 3] = (70.0, 150.0, 90.0)
    source = write_source(place / "source", geometry=Geometry((26, 22, 24), matrix))
    results = write_measured(place / "results", source)
    return read_ct(source).volume, write_archive(place / "objects", results, source)


@dataclass(frozen=True)
class Study:
    """A series, results measured on it, and their objects."""

    source: Path
    results: Path
    objects: Path


# ------------------------------------------------------------------------- programs of others


def program(name: str) -> str:
    """Path of a program of dicom3tools or dcmqi."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=str(beside)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (extra 'test' of this project)")
    return found


def run_program(name: str, *words: object) -> str:
    """Output of a program that has to end well."""
    command = [program(name), *map(str, words)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, f"{name} ended with {run.returncode}:\n{run.stdout}\n{run.stderr}"
    return run.stdout + run.stderr


def faults(path: Path) -> list[str]:
    """Errors that dciodvfy finds in a file."""
    command = [program("dciodvfy"), str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return [line for line in run.stderr.splitlines() if line.startswith("Error")]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def on_grid(array: np.ndarray, geometry: Geometry, grid: Geometry = GRID) -> np.ndarray:
    """Voxels of an image of other extent and order, at their places in the grid."""
    k, j, i = np.indices(array.shape)
    places = grid.ijk_from_ras(geometry.ras_from_ijk(np.stack([i, j, k], axis=-1)))
    nearest = np.rint(places).astype(int)
    np.testing.assert_allclose(places, nearest, atol=2e-3)
    out = np.zeros(grid.shape, array.dtype)
    out[nearest[..., 2], nearest[..., 1], nearest[..., 0]] = array
    return out


def masks_of(path: Path, grid: Geometry = GRID) -> dict[str, np.ndarray]:
    """Segments by tracking ID, as highdicom reads them."""
    seg = highdicom.seg.segread(path)
    volume = seg.get_volume(combine_segments=False)
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    array = np.asarray(volume.array)
    geometry = Geometry(array.shape[:3], flip @ volume.affine[:, [2, 1, 0, 3]])
    return {
        seg.get_segment_description(number).tracking_id: on_grid(array[..., n] > 0, geometry, grid)
        for n, number in enumerate(seg.segment_numbers)
    }
