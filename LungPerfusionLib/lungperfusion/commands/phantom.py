"""``lungperfusion phantom KIND -o OUT``: a digital chest with its truth as files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lungperfusion
from lungperfusion.commands.output import warn
from lungperfusion.errors import InputError
from lungperfusion.io import results_folder, write_labelmap, write_volume
from lungperfusion.io.writing import write_time_series
from lungperfusion.phantoms import KINDS, Phantom
from lungperfusion.phantoms.dual_energy import DualEnergyPhantom
from lungperfusion.phantoms.first_pass import FirstPassPhantom
from lungperfusion.phantoms.kinds import DUAL_ENERGY_KINDS, FIRST_PASS_KINDS
from lungperfusion.phantoms.xenon import XenonPhantom, make_xenon
from lungperfusion.progress import Progress, part
from lungperfusion.volume import Labelmap, Volume, lps_from_ras

_Make = Callable[..., Phantom | DualEnergyPhantom | FirstPassPhantom]
SPACING_RANGE_MM = (0.3, 10.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    summaries = {name: kind.summary for name, kind in KINDS.items()}
    summaries |= {name: kind.summary for name, kind in DUAL_ENERGY_KINDS.items()}
    summaries |= {name: kind.summary for name, kind in FIRST_PASS_KINDS.items()}
    width = max(map(len, summaries))
    kinds = "\n".join(f"  {name:<{width}}  {text}" for name, text in summaries.items())
    parser.epilog = f"kinds:\n{kinds}"
    parser.add_argument(
        "kind", metavar="KIND", choices=list(summaries), help="which chest; see below"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the files"
    )
    parser.add_argument(
        "--spacing",
        type=float,
        nargs="+",
        metavar="MM",
        help="distance between voxels: one value, or three along I, J, K (default: by kind)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="of anatomy and noise; same seed, same bytes"
    )
    parser.add_argument("--dicom", action="store_true", help="write the CT as DICOM folder ct/")
    parser.add_argument(
        "--xenon",
        action="store_true",
        help="also write the maps of a hyperpolarised 129Xe MRI of the chest (command xenon)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace earlier results of this program in OUT"
    )


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Make the phantom and write its images (NRRD or DICOM), label maps and truth.json."""
    spacing = _spacing(arguments.spacing)
    if arguments.seed < 0:
        raise InputError(f"the seed must be 0 or more, not {arguments.seed}")
    with results_folder(arguments.out, overwrite=arguments.overwrite, tell=warn) as folder:
        kinds: dict[str, _Make] = {**KINDS, **DUAL_ENERGY_KINDS, **FIRST_PASS_KINDS}
        make = kinds[arguments.kind]
        phantom = make(spacing, seed=arguments.seed, progress=part(progress, 0.0, 0.85))
        progress(0.85, "writing")
        if isinstance(phantom, FirstPassPhantom):
            _write_first_pass(phantom, folder, dicom=arguments.dicom)
        for name, (ct, kv) in _images(phantom).items():
            if arguments.dicom:
                write_dicom(ct, folder / name, kind=f"{arguments.kind} {name}", kv=kv)
            else:
                write_volume(ct, folder / f"{name}.nrrd")
        for name, labelmap in phantom.truth.labelmaps().items():
            write_labelmap(labelmap, folder / f"{name}.seg.nrrd")
        if isinstance(phantom, DualEnergyPhantom):
            write_labelmap(phantom.defects, folder / "defects.seg.nrrd")
        if not isinstance(phantom, FirstPassPhantom) and phantom.iodine is not None:
            write_volume(phantom.iodine, folder / "iodine.nrrd")
        answers = {"kind": arguments.kind, **_answers(phantom)}
        if arguments.xenon:
            progress(0.9, "making the xenon MRI")
            answers["xenon"] = _write_xenon(phantom.truth.lobes, arguments.seed, folder)
        _write_json(answers, folder / "truth.json")
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        made = {
            "command": "phantom",
            "kind": arguments.kind,
            "seed": arguments.seed,
            "version": lungperfusion.__version__,
            "files": [*files, "results.json"],
        }
        _write_json(made, folder / "results.json")
        progress(1.0, "done")
    return 0


def _write_xenon(lobes: Labelmap, seed: int, folder: Path) -> dict[str, Any]:
    """Write maps and mask of a xenon MRI and return what is true of its lobes."""
    made = make_xenon(lobes, seed=seed)
    write_xenon(made, folder)
    return {
        "spectrum_rbc_membrane": made.spectrum,
        "rbc_gas": dict(made.true_rbc),
        "membrane_gas": dict(made.true_membrane),
    }


def write_xenon(made: XenonPhantom, folder: Path) -> None:
    """Write maps and mask of a xenon MRI."""
    mask = Volume(made.mask.astype(np.float32), made.geometry, "1")
    for name, volume in {**made.maps, "mask": mask}.items():
        write_volume(volume, folder / f"xenon_{name}.nrrd")


def _spacing(given: list[float] | None) -> tuple[float, float, float] | None:
    if given is None:
        return None
    values = given * 3 if len(given) == 1 else given
    low, high = SPACING_RANGE_MM
    if len(values) != 3 or not all(low <= value <= high for value in values):
        raise InputError(
            f"--spacing takes one or three values between {low:g} and {high:g} mm, "
            f"not {' '.join(f'{value:g}' for value in given)}"
        )
    return values[0], values[1], values[2]


def _write_first_pass(phantom: FirstPassPhantom, folder: Path, *, dicom: bool) -> None:
    """Write the frames (DICOM, or one .seq.nrrd), the maps of the truth and its masks."""
    if dicom:
        (folder / "first_pass").mkdir()
        for number, frame in enumerate(phantom.frames):
            write_dicom(
                Volume(frame, phantom.geometry, "HU"),
                folder / "first_pass" / f"{number + 1:02d}",
                kind="first pass",
                times_s=phantom.times_s[number],
            )
    else:
        write_time_series(
            phantom.frames, phantom.geometry, phantom.times_s, folder / "first_pass.seq.nrrd"
        )
    for name in ("pulmonary_flow", "blood_volume"):
        write_volume(getattr(phantom, name), folder / f"{name}.nrrd")
    write_labelmap(phantom.deficits, folder / "deficits.seg.nrrd")
    write_labelmap(phantom.glass, folder / "ground_glass.seg.nrrd")


def _images(
    phantom: Phantom | DualEnergyPhantom | FirstPassPhantom,
) -> dict[str, tuple[Volume, int]]:
    """Images by the name of their file, with their tube voltage."""
    if isinstance(phantom, FirstPassPhantom):
        return {}
    if isinstance(phantom, Phantom):
        return {"ct": (_as_scanned(phantom), 120)}
    low, high = (
        int(str(phantom.settings[name]).removesuffix("Sn")) for name in ("low_kv", "high_kv")
    )
    return {"low": (phantom.low, low), "high": (phantom.high, high)}


def _answers(phantom: Phantom | DualEnergyPhantom | FirstPassPhantom) -> dict[str, Any]:
    return phantom.truth.as_json() if isinstance(phantom, Phantom) else phantom.as_json()


def _as_scanned(phantom: Phantom) -> Volume:
    """CT as a scanner writes it: with its padding value outside the circle."""
    if phantom.padding_hu is None or phantom.ct.valid is None:
        return phantom.ct
    array = np.where(phantom.ct.valid, phantom.ct.array, np.int16(phantom.padding_hu))
    return Volume(array, phantom.ct.geometry, "HU")


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, default=list)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def write_dicom(
    ct: Volume,
    folder: Path,
    *,
    kind: str,
    kv: int = 120,
    times_s: NDArray[np.float64] | None = None,
) -> None:
    """Write an axial or tilted CT as one DICOM file per slice.

    With ``times_s``, the time of every slice, it is a frame of a dynamic series, whose frames share
    the series; one folder holds one frame.

    Identifiers follow from the content alone, so that the same phantom gives the same bytes.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir()
    depth, rows, columns = ct.geometry.shape
    i_mm, j_mm, k_mm = ct.geometry.spacing_ijk_mm
    axes = lps_from_ras(ct.geometry.ijk_to_ras[:3, :3].T)  # rows: I, J, K direction
    row, column = axes[0] / i_mm, axes[1] / j_mm
    tilt = np.degrees(np.arcsin(np.clip(np.dot(axes[2] / k_mm, column), -1, 1)))
    source = [kind, repr(ct.geometry.ijk_to_ras.tolist()), ct.array.tobytes().hex()[:4096]]
    shared = source if times_s is None else source[:2]
    series, study, frame = (
        generate_uid(entropy_srcs=[*shared, what]) for what in ("series", "study", "frame")
    )
    for k in range(depth):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[*source, f"slice {k}"])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = Dataset()
        data.file_meta = meta
        data.SOPClassUID = CTImageStorage
        data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID = study, series
        data.FrameOfReferenceUID = frame
        data.PositionReferenceIndicator = ""
        data.Modality = "CT"
        data.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        data.PatientName, data.PatientID = "Phantom^Chest", "PHANTOM"
        data.PatientBirthDate = data.PatientSex = ""
        data.StudyDate = data.StudyTime = data.AccessionNumber = data.StudyID = ""
        data.ReferringPhysicianName = data.Manufacturer = ""
        data.SeriesDescription = f"digital phantom {kind}"
        data.SeriesNumber, data.InstanceNumber, data.AcquisitionNumber = 1, k + 1, 1
        if times_s is not None:
            moment = datetime(2000, 1, 1, 12) + timedelta(seconds=round(float(times_s[k]), 3))
            data.AcquisitionDate = f"{moment:%Y%m%d}"
            data.AcquisitionTime = f"{moment:%H%M%S.%f}"
            data.AcquisitionNumber = int(folder.name)
            data.ContrastBolusAgent = "PHANTOM"
        data.KVP = kv
        data.ConvolutionKernel = "PHANTOM"
        data.SliceThickness = round(k_mm, 6)
        data.GantryDetectorTilt = round(float(tilt), 6)
        place = lps_from_ras(ct.geometry.ras_from_ijk((0, 0, k)))
        data.ImagePositionPatient = [f"{x:.8g}" for x in place]
        data.ImageOrientationPatient = [f"{x:.10g}" for x in (*row, *column)]
        data.PixelSpacing = [f"{j_mm:.8g}", f"{i_mm:.8g}"]
        data.Rows, data.Columns = rows, columns
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelRepresentation = 1
        data.RescaleIntercept, data.RescaleSlope, data.RescaleType = 0, 1, "HU"
        data.PixelData = ct.array[k].astype("<i2").tobytes()
        data.save_as(folder / f"{k + 1:04d}.dcm", enforce_file_format=True)
