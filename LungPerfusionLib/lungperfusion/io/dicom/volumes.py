"""A series put together to a volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.io import stacking
from lungperfusion.io.dicom.acquisition import acquisition_of
from lungperfusion.io.dicom.frames import Frame, frames_of, in_unit, require_uniform
from lungperfusion.io.dicom.header import IDENTIFIERS, damaged_headers_refused, warnings_off
from lungperfusion.io.dicom.pixels import calibrated, decode, stored_images
from lungperfusion.io.dicom.series import choose_series, completeness_gate, other_images
from lungperfusion.io.dicom.sources import dicom_files, require_readable
from lungperfusion.io.padding import fill_value
from lungperfusion.io.scan import Scan
from lungperfusion.naming import named
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.volume import Mask, Volume, lps_from_ras


@dataclass(frozen=True, eq=False)
class Series:
    """A series that was read: the image, and the slices it was made of."""

    scan: Scan
    frames: tuple[Frame, ...]
    """From low to high along their normal, each place once."""


def read_dicom(
    path: Path,
    *,
    unit: str,
    only_ct: bool,
    series_uid: str | None = None,
    progress: Progress = ignore,
) -> Scan:
    """Read the image of one series; parameters and errors as of `read_series`."""
    series = read_series(path, unit=unit, only_ct=only_ct, series_uid=series_uid, progress=progress)
    return series.scan


def read_series(
    path: Path,
    *,
    unit: str,
    only_ct: bool,
    series_uid: str | None = None,
    progress: Progress = ignore,
) -> Series:
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
    with warnings_off(), dicom_files(path, part(progress, 0.0, 0.3)) as found:
        with damaged_headers_refused():
            chosen, remarks = choose_series(found.files, series_uid, only_ct)
            require_readable(chosen)
            frames = [frame for file in chosen for frame in frames_of(file)]
            require_uniform(frames)
            frames = in_unit(frames, unit, only_ct)
            left_out = {**found.left_out, **other_images(found.files, chosen)}
        return assembled(
            frames,
            name=path,
            unit=unit,
            left_out=left_out,
            remarks=remarks,
            progress=part(progress, 0.3, 1.0),
        )


def assembled(
    frames: Sequence[Frame],
    *,
    name: Path,
    unit: str,
    left_out: Mapping[str, int],
    remarks: Sequence[str],
    progress: Progress,
) -> Series:
    """Put the slices of one series together, with its facts and a check for missing slices.

    Parameters
    ----------
    frames
        Slices of one size and orientation, in the unit that is wanted.
    name
        File or folder they come from.
    left_out
        Entries beside them that could not be read or are no slices of it, by kind.
    remarks
        What to tell the user of the choice.

    """
    first = frames[0].file
    with damaged_headers_refused():
        acquisition = acquisition_of(first, frames[0])
        identifiers = {
            keyword: str(first.header.get(keyword))
            for keyword in IDENTIFIERS
            if first.header.get(keyword) not in (None, "")
        }
    volume, kept, digest, notes = read_volume(frames, unit, progress)
    row, column = _perpendicular(kept[0].orientation)
    _, heights = stacking.sort_positions(np.array([f.position for f in kept]), row, column)
    gaps = stacking.missing_between(heights)
    gate = completeness_gate(first, len(frames), left_out, gaps=gaps)
    if gate.verdict == "warn":
        notes = [*notes, gate.message]
    scan = Scan(
        volume=volume,
        acquisition=acquisition,
        name=named(name.name or name.resolve().name),
        sha256=digest,
        warnings=(*remarks, *notes),
        gates=(gate,),
        identifiers=identifiers,
    )
    return Series(scan, tuple(kept))


def read_volume(
    frames: Sequence[Frame], unit: str, progress: Progress
) -> tuple[Volume, list[Frame], str, list[str]]:
    """Decode slices onto an even, orthogonal grid: image, slices kept, hash and remarks."""
    notes: list[str] = []
    row, column = _perpendicular(frames[0].orientation)
    frames = sorted(frames, key=lambda frame: frame.order)
    positions = np.array([frame.position for frame in frames])
    order, heights = stacking.sort_positions(positions, row, column)
    frames = [frames[index] for index in order]
    _require_one_pass(frames)
    is_new = np.concatenate([[True], np.diff(heights) > stacking.SAME_POSITION_MM])
    kept = [frame for frame, new in zip(frames, is_new, strict=True) if new]
    place = np.cumsum(is_new) - 1
    stack = stacking.make_stack(
        np.array([frame.position for frame in kept]), row, column, frames[0].pixel_spacing_mm
    )

    array, valid, digest = decode(kept, unit, progress)
    copies = [(frame, k) for frame, k, new in zip(frames, place, is_new, strict=True) if not new]
    if copies:
        _require_identical(copies, array, valid, unit)
        notes.append(f"{len(copies)} slice(s) were there twice, identical, and used once")
    fill = fill_value(unit)
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
    volume = Volume(array, stack.geometry((k, j, i), start), unit, valid)
    return volume, kept, digest, notes


def _perpendicular(
    orientation: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column direction, free of the rounding of the header."""
    row = orientation[:3] / np.linalg.norm(orientation[:3])
    column = orientation[3:] - row * (row @ orientation[3:])
    return row, column / np.linalg.norm(column)


MOST_PASSES = 6
"""More times of acquisition than this are those of single slices or rotations."""


def _require_one_pass(frames: Sequence[Frame]) -> None:
    """Refuse passes of the scanner whose slices lie between each other.

    The patient breathes between two passes.  Passes that follow each other along the body are one
    scan.  They are told by Acquisition Number, else by the time of acquisition.

    Parameters
    ----------
    frames
        Sorted by height.

    """
    by_number = [frame.file.acquisition_number for frame in frames]
    times = [frame.file.acquisition_time or None for frame in frames]
    known = sorted({time for time in times if time is not None})
    by_time = [None if time is None else known.index(time) + 1 for time in times]
    for passes in (by_number, by_time if len(known) <= MOST_PASSES else []):
        numbers = sorted({number for number in passes if number is not None})
        changes = sum(a != b for a, b in pairwise(passes) if a is not None and b is not None)
        if len(numbers) >= 2 and changes >= len(numbers):
            counts = ", ".join(f"number {n} with {passes.count(n)} slices" for n in numbers[:6])
            raise InputError(
                f"the series holds {len(numbers)} acquisitions whose slices lie between each other "
                f"({counts}{'' if passes is by_number else ' by the time of acquisition'}); the "
                "breath may differ between them: export one of them as a series of its own"
            )


def _require_identical(
    copies: Sequence[tuple[Frame, int]], array: NDArray[Any], valid: Mask | None, unit: str
) -> None:
    for frame, k in copies:
        images = stored_images(frame.file, frame.file.source.read())
        values, padding = calibrated(images(frame.index), frame, unit)
        same = np.array_equal(values, array[k])
        if not same or (valid is not None and not np.array_equal(~padding, valid[k])):
            right, anterior, superior = lps_from_ras(frame.position) + 0.0
            raise InputError(
                "the series holds different images at the same position "
                f"(R {right:.1f}, A {anterior:.1f}, S {superior:.1f}) mm, such as several phases "
                "or reconstructions in one series; export one of them as a series of its own"
            )
