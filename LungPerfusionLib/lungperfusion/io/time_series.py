"""Reading images of one place at several times: NIfTI, NRRD, Slicer sequences and DICOM.

Times are read and never assumed: from the header, or from a table that the user gives.
"""

from __future__ import annotations

import csv
import hashlib
import re
import urllib.parse
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from lungperfusion.acquisition import Acquisition
from lungperfusion.dynamic.series import Frames, require_frames, seconds_of, whole_hu
from lungperfusion.errors import InputError, MissingTimesError
from lungperfusion.io.bounds import require_bounded
from lungperfusion.io.dicom.time_points import read_dicom_time_points
from lungperfusion.io.files import (
    VOXEL_MM,
    file_sha256,
    is_image_file,
)
from lungperfusion.io.nifti import (
    SUFFIXES as NIFTI_SUFFIXES,
)
from lungperfusion.io.nifti import (
    nifti_header,
    orientation_notes,
    require_nifti_bytes,
    require_sound_header,
)
from lungperfusion.io.plausibility import require_hounsfield
from lungperfusion.io.scan import Scan
from lungperfusion.io.tables import DECIMAL_COMMA, table_text
from lungperfusion.naming import named
from lungperfusion.orientation import axial
from lungperfusion.progress import Progress, ignore
from lungperfusion.resampling import geometry_from_sitk
from lungperfusion.volume import Geometry, Volume

_NIFTI_SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}
"""Seconds of the units of time in the NIfTI standard: s, ms, us."""
_AXIS_UNITS = ("NRRD_units[pixel]", "NRRD_units[3]")
"""Keys of ITK for the unit of the axis of the frames, which it takes for values of a voxel."""

_NO_TIMES = "give the time of every frame in seconds with --times CSV"


@dataclass(frozen=True, eq=False)
class TimedScan(Scan):
    """A first-pass series that was read; ``volume`` is its first frame."""

    frames: Frames | None = None
    """All frames, in axial order."""

    @property
    def series(self) -> Frames:
        """The frames."""
        assert self.frames is not None
        return self.frames

    @property
    def voxels_sha256(self) -> str:
        """SHA-256 of size, times and values in axial order."""
        frames = self.series
        digest = hashlib.sha256(f"{frames.array.shape}\n".encode())
        digest.update(np.round(frames.times_s, 4).astype("<f8").tobytes())
        for image in frames.array:
            digest.update(np.ascontiguousarray(image, dtype="<i2").data)
        return digest.hexdigest()


def read_time_series(
    path: Path,
    *,
    times: Path | None = None,
    series_uid: str | None = None,
    progress: Progress = ignore,
) -> TimedScan:
    """Read a first-pass series in HU.

    Parameters
    ----------
    path
        DICOM folder or zip (one series with many time points, one series for each, or enhanced
        multi-frame), NIfTI with four axes, NRRD with a list or time axis, ``.seq.nrrd`` of Slicer.
    times
        Table with one time a line in seconds, in the order of the frames: the last column of a
        CSV file, with or without a heading.
    series_uid
        DICOM series to read, of several.
    progress
        Called with the share done; may raise to cancel.

    Raises
    ------
    InputError
        In one sentence, if this is not a sound series, or its times are not known.

    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"there is no file or folder {named(path)}; check the spelling")
    if path.is_file() and is_image_file(path):
        scan = _read_file(path, times, progress)
    elif path.is_dir() or zipfile.is_zipfile(path) or path.is_file():
        scan = _read_dicom(path, times, series_uid, progress)
    require_hounsfield(scan.volume.array, scan.volume.valid)
    progress(1.0, "frames read")
    return scan


def _read_dicom(
    path: Path, times: Path | None, series_uid: str | None, progress: Progress
) -> TimedScan:
    points = read_dicom_time_points(
        path, series_uid=series_uid, timed=times is None, progress=progress
    )
    seconds = points.times_s
    if times is not None:
        given = read_times(times, len(points.array))
        seconds = np.repeat(given[:, None], points.geometry.shape[0], axis=1)
    frames = _axial_frames(points.array, points.geometry, seconds)
    return TimedScan(
        volume=frames.frame(0),
        acquisition=points.acquisition,
        name=named(path.name or path.resolve().name),
        sha256=points.sha256,
        warnings=points.warnings,
        identifiers=points.identifiers,
        frames=frames,
    )


def _read_file(path: Path, times: Path | None, progress: Progress) -> TimedScan:
    progress(0.0, "reading the frames")
    frames, notes = _frames_of(path, times)
    return TimedScan(
        volume=frames.frame(0),
        acquisition=Acquisition(contrast_agent=True),
        name=named(path.name),
        sha256=file_sha256(path),
        warnings=tuple(notes),
        frames=frames,
    )


def read_frames(path: Path) -> Frames:
    """Read the frames of a file as `write_time_series` writes them, whatever they show."""
    return _frames_of(path, None)[0]


def _frames_of(path: Path, times: Path | None) -> tuple[Frames, list[str]]:
    array, geometry, metadata, notes = _four_axes(path)
    require_frames(len(array))
    if times is not None:
        seconds = read_times(times, len(array))
    else:
        seconds = _stated_times(path, metadata, len(array))
    every = np.repeat(seconds[:, None], geometry.shape[0], axis=1)
    return _axial_frames(_as_hu(array, path), geometry, every), notes


def _axial_frames(array: NDArray[Any], geometry: Geometry, times_s: NDArray[np.float64]) -> Frames:
    """Frames with axes in axial order; slices keep their times where they stay slices."""
    first = axial(Volume(array[0], geometry, "HU"))
    if first.geometry.same_as(geometry):
        return Frames(array, geometry, times_s)
    turned = np.stack([axial(Volume(image, geometry, "HU")).array for image in array])
    axis, sign = geometry.array_axis_toward("S")
    if axis == 0:
        return Frames(turned, first.geometry, times_s[:, ::sign])
    moments = np.repeat(times_s.mean(axis=1)[:, None], first.geometry.shape[0], axis=1)
    return Frames(turned, first.geometry, moments)


def _four_axes(path: Path) -> tuple[NDArray[Any], Geometry, dict[str, str], list[str]]:
    """Array (frames, K, J, I) of a file with four axes, or with one value a frame in each voxel."""
    notes = []
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        header = nifti_header(path)
        if header is not None:
            require_sound_header(path, header)
            require_nifti_bytes(path, header)
            notes += orientation_notes(path, header)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size, components = reader.GetSize(), reader.GetNumberOfComponents()
        held = path.stat().st_size
        require_bounded(path.name, int(np.prod(size)) * components * 2, held)
        if not (len(size) == 4 and components == 1) and not (len(size) == 3 and components > 1):
            raise InputError(
                f"{named(path.name)} has {len(size)} axes ({' x '.join(map(str, size))}) and "
                f"{components} value(s) a voxel; expected one image a frame: a fourth axis of "
                "time, or a list axis"
            )
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(
            f"{named(path.name)} cannot be read: it is damaged, cut short or not what its name "
            "says; export it again"
        ) from error
    metadata = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    array = sitk.GetArrayFromImage(image)
    if components > 1:
        geometry = geometry_from_sitk(image)
        array = np.moveaxis(array, -1, 0)
    else:
        extract = [*size[:3], 0]
        first = sitk.Extract(image, extract, [0, 0, 0, 0])
        geometry = geometry_from_sitk(first)
    spacing = geometry.spacing_ijk_mm
    if min(spacing) < VOXEL_MM[0] or max(spacing) > VOXEL_MM[1]:
        raise InputError(
            f"{named(path.name)} has a voxel spacing of {' x '.join(f'{s:g}' for s in spacing)} "
            f"mm; expected {VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm: repair the header"
        )
    return array, geometry, metadata, notes


def _as_hu(array: NDArray[Any], path: Path) -> NDArray[np.int16]:
    """Values as whole HU, frame by frame."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(
            f"{named(path.name)} holds voxels that are not a number; expected CT in HU: export it "
            "again"
        )
    out = np.empty(array.shape, np.int16)
    for number, image in enumerate(array):
        out[number] = whole_hu(image)
    return out


# ---- times -------------------------------------------------------------------------------------


def _stated_times(path: Path, metadata: dict[str, str], count: int) -> NDArray[np.float64]:
    """Find the times that a file states, in seconds from the first frame."""
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        header = nifti_header(path)
        unit = _NIFTI_SECONDS.get(_nifti_time_unit(path))
        step = 0.0 if header is None else float(header.pixdim[4])
        if unit is None or not step > 0:
            raise MissingTimesError(
                f"{named(path.name)} does not say how far its frames are apart (pixdim[4] "
                f"{step:g}{'' if unit else ', without a unit of time'}); {_NO_TIMES}"
            )
        return np.arange(count, dtype=np.float64) * (step * unit)
    for read in (_sequence_times, _multi_volume_times):
        times = read(metadata)
        if times is not None:
            if len(times) != count:
                raise MissingTimesError(
                    f"{named(path.name)} states {len(times)} times for {count} frames; {_NO_TIMES}"
                )
            return np.asarray(times - times[0])
    raise MissingTimesError(
        f"{named(path.name)} does not say when its frames were taken; {_NO_TIMES}"
    )


def _nifti_time_unit(path: Path) -> int:
    """Code of the unit of time in ``xyzt_units``, which ITK does not tell."""
    import gzip

    header = nifti_header(path)
    opened = gzip.open if header is not None and header.packed else open
    with opened(path, "rb") as stream:
        head = stream.read(540)
    offset = 123 if header is None or header.version == 1 else 500
    return int(head[offset]) & 0x38


def _sequence_times(metadata: dict[str, str]) -> NDArray[np.float64] | None:
    """Index values of a Slicer sequence whose unit is one of time.

    Slicer 5 states the unit as that of the axis, older versions under a key of their own.
    """
    for axis in (0, 3):
        values = metadata.get(f"axis {axis} index values")
        if values:
            stated = (metadata.get(key) for key in (*_AXIS_UNITS, f"axis {axis} index unit"))
            seconds = seconds_of(urllib.parse.unquote(next(filter(None, stated), "")))
            found = urllib.parse.unquote(values).split()
            return None if seconds is None else _numbers(found, seconds)
    return None


def _multi_volume_times(metadata: dict[str, str]) -> NDArray[np.float64] | None:
    """Frame labels of Slicer's multi-volumes, in their unit."""
    labels = metadata.get("MultiVolume.FrameLabels")
    unit = metadata.get("MultiVolume.FrameIdentifyingDICOMTagUnits", "")
    seconds = seconds_of(unit)
    if not labels or seconds is None:
        return None
    return _numbers(re.split(r"[,\s]+", labels.strip()), seconds)


def _numbers(words: list[str], seconds: float) -> NDArray[np.float64] | None:
    try:
        return np.array([float(word) for word in words]) * seconds
    except ValueError:
        return None


def read_times(path: Path, count: int) -> NDArray[np.float64]:
    """Read the times of frames in seconds from the first one.

    Parameters
    ----------
    path
        CSV file with one line a frame, the time in the last column; a heading may stand above.
    count
        Number of frames.

    """
    text, _ = table_text(path)
    found = []
    for number, cell in enumerate(_last_cells(path, text)):
        try:
            found.append(float(cell))
        except ValueError as error:
            if number == 0:
                continue
            raise InputError(
                f"line {number + 1} of {named(path.name)} holds no time in seconds; expected one "
                "number a frame in the last column"
            ) from error
    if len(found) != count:
        raise InputError(
            f"{named(path.name)} holds {len(found)} times for {count} frames; expected one line a "
            "frame"
        )
    return np.array(found) - found[0] if found else np.zeros(0)


def _last_cells(path: Path, text: str) -> list[str]:
    """Last cell of every filled line, with a decimal point.

    Where no heading tells the columns, ``1,5`` is a frame and its time, or a time with a comma.
    """
    lines = [line for line in map(str.strip, text.splitlines()) if line.strip(',;\t" ')]
    if lines and re.fullmatch(r'"?sep\s*=\s*\S?"?', lines[0], re.IGNORECASE):
        del lines[0]
    separator = max(";\t,", key=lines[-1].count) if lines else ","
    rows = list(csv.reader(lines, delimiter=separator))
    if (
        separator == ","
        and len(lines) > 1
        and all(DECIMAL_COMMA.fullmatch(line) for line in lines[1:])
    ):
        if DECIMAL_COMMA.fullmatch(lines[0]):
            raise InputError(
                f"{named(path.name)} has lines such as {lines[-1]}: a frame with its time, or a "
                "decimal comma? Write decimal points, or a heading such as frame,time_s or time_s"
            )
        if len(rows[0]) == 1:
            return [lines[0], *(line.replace(",", ".") for line in lines[1:])]
    return [row[-1].strip().replace(",", ".") for row in rows]
