"""DICOM images of one place at several times: one series, one series for each, or multi-frame."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lungperfusion.acquisition import Acquisition
from lungperfusion.errors import InputError
from lungperfusion.io.dicom.acquisition import acquisition_of
from lungperfusion.io.dicom.frames import Frame, frames_of, in_unit, require_uniform
from lungperfusion.io.dicom.header import (
    IDENTIFIERS,
    damaged_headers_refused,
    header_deep,
    in_group,
    warnings_off,
)
from lungperfusion.io.dicom.sources import DicomFile, dicom_files, require_readable
from lungperfusion.io.dicom.volumes import read_volume
from lungperfusion.naming import named
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.volume import Geometry

_CONTENT = "FrameContentSequence"
"""Where enhanced images keep what is known of one frame; other images keep it in the header."""

FEWEST_TIME_POINTS = 8
"""At one place; fewer are phases of one examination, not a first pass."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TimePoints:
    """Frames that were read."""

    array: NDArray[np.int16]
    """Shape (frames, K, J, I), HU."""
    geometry: Geometry
    times_s: NDArray[np.float64]
    """Of every slice of every frame, from the first; shape (frames, K)."""
    acquisition: Acquisition
    sha256: str
    warnings: tuple[str, ...]
    identifiers: Mapping[str, str]


@dataclass(frozen=True)
class _Slice:
    """A slice with what tells its time point."""

    frame: Frame
    keys: tuple[Any, ...]
    """By `_KEYS`, None where the header has none."""
    moment_s: float | None


def read_dicom_time_points(
    path: Path,
    *,
    series_uid: str | None = None,
    timed: bool = True,
    progress: Progress = ignore,
) -> TimePoints:
    """Read all frames of a dynamic series.

    Parameters
    ----------
    path
        Folder, zip, or one file of the series.
    series_uid
        Which series, of several.
    timed
        Whether the times must be in the headers.

    Raises
    ------
    InputError
        If there are too few time points, frames of other size or place (they are named), or no
        times.

    """
    with warnings_off(), dicom_files(path, part(progress, 0.0, 0.2)) as found:
        with damaged_headers_refused():
            files = _chosen(found.files, series_uid)
            require_readable(files)
            slices = [entry for file in files for entry in _slices(file)]
            frames = [entry.frame for entry in slices]
            require_uniform(frames)
            units = in_unit(frames, "HU", True)
            slices = [
                _Slice(frame, entry.keys, entry.moment_s)
                for frame, entry in zip(units, slices, strict=True)
            ]
            points = _time_points(slices)
            _require_alike(points)
            acquisition = acquisition_of(files[0], points[0][0].frame)
            header = files[0].header
            identifiers = {
                keyword: str(header.get(keyword))
                for keyword in IDENTIFIERS
                if header.get(keyword) not in (None, "")
            }
        return _read(points, timed, acquisition, identifiers, part(progress, 0.2, 1.0))


def _read(
    points: Sequence[Sequence[_Slice]],
    timed: bool,
    acquisition: Acquisition,
    identifiers: Mapping[str, str],
    progress: Progress,
) -> TimePoints:
    array, times, digests = None, [], []
    notes: list[str] = []
    geometry: Geometry | None = None
    for number, point in enumerate(points):
        progress(number / len(points), f"reading frame {number + 1} of {len(points)}")
        volume, kept, digest, said = read_volume([entry.frame for entry in point], "HU", ignore)
        notes += [note for note in said if note not in notes]
        digests.append(digest)
        if array is None or geometry is None:
            geometry = volume.geometry
            array = np.empty((len(points), *geometry.shape), np.int16)
        geometry.require_same(volume.geometry, what=f"frame 1 and frame {number + 1}")
        array[number] = np.clip(np.rint(volume.array), -32768, 32767)
        moments = {id(entry.frame): entry.moment_s for entry in point}
        own = [moments.get(id(frame)) for frame in kept]
        known = [moment for moment in own if moment is not None]
        if timed and len(known) < len(own):
            raise InputError(
                "the DICOM files do not say when their frames were taken; give the time of every "
                "frame in seconds with --times CSV"
            )
        if not timed:
            own, known = [float(number)] * len(own), [float(number)]
        rows = geometry.shape[0]
        even = len(own) == rows
        times.append(own if even else [float(np.mean(known))] * rows)
    assert array is not None
    assert geometry is not None
    seconds = np.array(times, np.float64)
    seconds -= seconds[0].mean() if timed else seconds[0, 0]
    order = np.argsort(seconds.mean(axis=1), kind="stable")
    return TimePoints(
        array=array if (order == np.arange(len(order))).all() else array[order],
        geometry=geometry,
        times_s=seconds[order],
        acquisition=acquisition,
        sha256=hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        warnings=tuple(notes),
        identifiers=identifiers,
    )


# ---- which files -------------------------------------------------------------------------------


def _chosen(files: Sequence[DicomFile], series_uid: str | None) -> list[DicomFile]:
    """Files of the one dynamic series, or of all series that are its time points."""
    slices = [file for file in files if file.is_ct_image and file.frame_count]
    slices = [file for file in slices if not file.is_localizer]
    if series_uid is not None:
        own = [file for file in slices if file.series_uid == series_uid]
        if not own:
            raise InputError(f"there is no CT series {named(series_uid)}; check --series")
        return own
    if not slices:
        raise InputError("the DICOM files hold no CT slices; give a dynamic series")
    series: dict[str, list[DicomFile]] = {}
    for file in slices:
        series.setdefault(file.series_uid, []).append(file)
    whole = [uid for uid, own in series.items() if _time_points_in(own) >= FEWEST_TIME_POINTS]
    if len(whole) == 1:
        return series[whole[0]]
    if len(whole) > 1:
        listed = ", ".join(sorted(whole))
        raise InputError(
            f"there are {len(whole)} dynamic series ({named(listed)}); choose one with --series UID"
        )
    return _one_series_for_each(series)


def _one_series_for_each(series: Mapping[str, list[DicomFile]]) -> list[DicomFile]:
    """Series of one grid: the largest group of series with the same places is the dynamic scan."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for uid, own in series.items():
        heights = tuple(sorted(round(_height_mm(file), 2) for file in own))
        header = own[0].header
        key = (heights, header.get("Rows"), header.get("Columns"), str(header.get("PixelSpacing")))
        groups.setdefault(key, []).append(uid)
    most = max(groups.values(), key=len)
    if len(most) < FEWEST_TIME_POINTS:
        raise InputError(
            f"no place was imaged {FEWEST_TIME_POINTS} times or more (at most {len(most)} series "
            "show the same place); give a dynamic first-pass series"
        )
    return [file for uid in most for file in series[uid]]


def _height_mm(file: DicomFile) -> float:
    place = header_deep(file.header, "ImagePositionPatient")
    return float(place[2]) if place is not None and len(place) == 3 else 0.0


def _time_points_in(files: Sequence[DicomFile]) -> int:
    """How often the place that was imaged most often was imaged."""
    counts: Counter[tuple[float, ...]] = Counter()
    for file in files:
        per_frame = file.header.get("PerFrameFunctionalGroupsSequence")
        for group in per_frame or [file.header]:
            place = in_group([group], "PlanePositionSequence", "ImagePositionPatient")
            counts[tuple(round(float(x), 2) for x in place or ())] += 1
    return max(counts.values(), default=0)


# ---- which time --------------------------------------------------------------------------------


def _slices(file: DicomFile) -> list[_Slice]:
    groups = file.header.get("PerFrameFunctionalGroupsSequence")
    frames = frames_of(file)
    own = [[group, file.header] for group in groups] if groups else [[file.header]] * len(frames)
    return [
        _Slice(frame, tuple(key(group) for key in _KEYS), _moment_s(group))
        for frame, group in zip(frames, own, strict=True)
    ]


def _temporal_index(groups: Sequence[Dataset]) -> Any:
    index = in_group(groups, _CONTENT, "TemporalPositionIndex")
    return index if index is not None else in_group(groups, _CONTENT, "TemporalPositionIdentifier")


def _number(groups: Sequence[Dataset]) -> Any:
    value = in_group(groups, _CONTENT, "FrameAcquisitionNumber")
    value = value if value is not None else in_group(groups, _CONTENT, "AcquisitionNumber")
    return None if value is None else int(value)


def _series_number(groups: Sequence[Dataset]) -> Any:
    return str(groups[-1].get("SeriesInstanceUID", "")) or None


def _written_time(groups: Sequence[Dataset]) -> Any:
    moment = _moment_s(groups)
    return None if moment is None else round(moment, 2)


_KEYS: tuple[Callable[[Sequence[Dataset]], Any], ...] = (
    _temporal_index,
    _written_time,
    _number,
    _series_number,
)
"""What parts the slices into time points: the first that does so evenly is taken."""

_TIMES = (
    (_CONTENT, "FrameAcquisitionDateTime", ""),
    (_CONTENT, "FrameReferenceDateTime", ""),
    (_CONTENT, "AcquisitionDateTime", ""),
    (_CONTENT, "AcquisitionTime", "AcquisitionDate"),
    (_CONTENT, "ContentTime", "ContentDate"),
)


def _moment_s(groups: Sequence[Dataset]) -> float | None:
    """When a slice was taken, in seconds of an epoch; None where the header does not say."""
    for sequence, keyword, date in _TIMES:
        value = in_group(groups, sequence, keyword)
        if value in (None, ""):
            continue
        day = "" if not date else str(in_group(groups, _CONTENT, date) or "19700101")
        moment = _seconds(day + str(value))
        if moment is not None:
            return moment
    return None


def _seconds(text: str) -> float | None:
    """Seconds of a DICOM date and time, ``YYYYMMDDHHMMSS.ffffff``; a zone plays no part."""
    digits = text.split("+")[0].split("-")[0].replace(":", "").strip()
    whole, _, fraction = digits.partition(".")
    try:
        moment = datetime.strptime(whole[:14].ljust(14, "0"), "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return (moment - datetime(1970, 1, 1)) / timedelta(seconds=1) + float(f"0.{fraction or 0}")


def _time_points(slices: Sequence[_Slice]) -> list[list[_Slice]]:
    """Slices by time point, in order of time."""
    for number in range(len(_KEYS)):
        points: dict[Any, list[_Slice]] = {}
        for entry in slices:
            points.setdefault(entry.keys[number], []).append(entry)
        if None in points or len(points) < FEWEST_TIME_POINTS:
            continue
        if all(_each_place_once(point) and len(point) > 1 for point in points.values()):
            return [points[key] for key in sorted(points, key=lambda key: _first_s(points[key]))]
    return _by_rank(slices)


def _by_rank(slices: Sequence[_Slice]) -> list[list[_Slice]]:
    """Slices of each place in order of time: shuttle modes give every slice a time of its own."""
    places: dict[tuple[float, ...], list[_Slice]] = {}
    for entry in slices:
        place = tuple(np.round(entry.frame.position, 2).tolist())
        places.setdefault(place, []).append(entry)
    counts = Counter(len(own) for own in places.values())
    count = counts.most_common(1)[0][0]
    if count < FEWEST_TIME_POINTS:
        raise InputError(
            f"no place was imaged {FEWEST_TIME_POINTS} times or more; give a dynamic first-pass "
            "series"
        )
    odd = sum(len(own) != count for own in places.values())
    if odd:
        raise InputError(
            f"{odd} of {len(places)} slice positions were not imaged {count} times as the others "
            "were; export the dynamic series again, complete and alone"
        )
    if any(entry.moment_s is None for entry in slices):
        raise InputError(
            "nothing in the DICOM files tells which slices belong to one time point (temporal "
            "position, acquisition time or number); export the dynamic series again"
        )
    ordered = [sorted(own, key=lambda entry: entry.moment_s or 0.0) for own in places.values()]
    return [[own[number] for own in ordered] for number in range(count)]


def _first_s(point: Sequence[_Slice]) -> tuple[float, Any]:
    known = [entry.moment_s for entry in point if entry.moment_s is not None]
    return (min(known) if known else 0.0, str(point[0].keys))


def _each_place_once(point: Sequence[_Slice]) -> bool:
    places = {tuple(np.round(entry.frame.position, 2).tolist()) for entry in point}
    return len(places) == len(point)


def _require_alike(points: Sequence[Sequence[_Slice]]) -> None:
    """Refuse time points with other places than most have, and name them."""
    places = [
        frozenset(tuple(np.round(entry.frame.position, 1).tolist()) for entry in point)
        for point in points
    ]
    usual, _ = Counter(places).most_common(1)[0]
    odd = [number + 1 for number, own in enumerate(places) if own != usual]
    if odd:
        listed = ", ".join(str(number) for number in odd[:8])
        raise InputError(
            f"frame {listed} of {len(points)} shows other slice positions than the rest "
            f"({len(places[odd[0] - 1])} slices, the others {len(usual)}); export the dynamic "
            "series again, or leave these frames out of the folder"
        )
