"""MR images: the part of the complex signal that they hold, and the scale of their values.

An MR signal has a magnitude and a phase, or a real and an imaginary part.  Scanners export any of
them, as series of their own, mixed in one series, or as frames of one enhanced object.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lungperfusion.errors import InputError
from lungperfusion.io import stacking
from lungperfusion.io.dicom.frames import Frame, frames_of, groups_of, require_uniform
from lungperfusion.io.dicom.header import (
    damaged_headers_refused,
    header_values,
    in_group,
    warnings_off,
)
from lungperfusion.io.dicom.sources import DicomFile, DicomFiles, dicom_files, require_readable
from lungperfusion.io.dicom.volumes import assembled
from lungperfusion.io.padding import SIGNAL
from lungperfusion.io.scan import Scan
from lungperfusion.naming import named
from lungperfusion.progress import ignore
from lungperfusion.volume import Volume

Part = Literal["magnitude", "phase", "real", "imaginary"]

_WORDS: Mapping[str, Part] = {
    **dict.fromkeys(("M", "MAGNITUDE", "M_FFE"), "magnitude"),
    **dict.fromkeys(("P", "PHASE", "PHASE MAP", "P_FFE"), "phase"),
    **dict.fromkeys(("R", "REAL", "R_FFE"), "real"),
    **dict.fromkeys(("I", "IMAGINARY", "I_FFE"), "imaginary"),
}
"""Values of Complex Image Component, and of Image Type from its third value on."""

_GE_CREATOR, _GE_PART = "GEMS_PARM_01", 0x2F
_GE_PARTS: tuple[Part, ...] = ("magnitude", "phase", "real", "imaginary")
"""GE writes the part as a number into a private element (0043,102F)."""

_PHILIPS_CREATOR, _PHILIPS_SCALE = "Philips MR Imaging DD 001", 0x0E
"""Philips stretches the values of every series by a factor of its own, in (2005,100E)."""

_PER_PERCENT = {"%": 0.01, "PCT": 0.01, "PERCENT": 0.01}
_RADIANS = {"rad": 1.0, "mrad": 1e-3, "deg": np.pi / 180}
_FULL_TURNS = {np.pi: "rad", 1000 * np.pi: "mrad", 180.0: "degrees", 4096.0: "steps of 4096"}
"""Largest value of a phase by the unit it is in; noise around the lungs holds every phase."""


@dataclass(frozen=True)
class _Read:
    """Slices of MR images below one path."""

    path: Path
    frames: tuple[Frame, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


def read_mr(path: Path) -> Scan:
    """Read a map or a magnitude image of an MR scanner, unit ``"1"``.

    Values are those of a Real World Value Mapping, else of Rescale Slope and Intercept; those in %
    become fractions.

    Parameters
    ----------
    path
        Folder, zip, or one file of a series or with many frames.

    Raises
    ------
    InputError
        If there is no MR image, several series, or parts of a complex signal only.

    """
    with ExitStack() as opened:
        read = _open(path, opened)
        with damaged_headers_refused():
            parts = _by_part(read.frames)
            values = [*parts.get(None, ()), *parts.get("magnitude", ())]
            if not values:
                raise InputError(
                    "a map or magnitude image is expected, but the DICOM images are "
                    f"{_counted(read.frames)}; give the series with the values"
                )
            frames = _one_series(values)
            scaled, notes = _in_real_values(frames)
            rest = len(read.frames) - len(values)
        if rest:
            notes.append(f"{rest} slice(s) of other parts of the complex signal left out")
        return _scan(read, scaled, "1", notes)


def read_mr_complex(paths: Sequence[Path]) -> Scan:
    """Read a complex image of an MR scanner from its parts, as complex64.

    Parameters
    ----------
    paths
        One folder, zip or file with both parts, or two.

    Raises
    ------
    InputError
        If Image Type does not tell real and imaginary part, or magnitude and phase.

    """
    with ExitStack() as opened:
        reads = [_open(path, opened) for path in paths]
        with damaged_headers_refused():
            frames = [frame for read in reads for frame in read.frames]
            parts = _by_part(frames)
            pair = next((pair for pair in _PAIRS if set(pair) <= set(parts)), None)
            if pair is None:
                raise InputError(
                    "a complex image needs real and imaginary part, or magnitude and phase, by "
                    f"Image Type; found: {_counted(frames)}"
                )
            series = [_one_series(parts[part]) for part in pair]
        halves = []
        for part, own in zip(pair, series, strict=True):
            with damaged_headers_refused():
                scaled, notes = _in_real_values(own) if part == "phase" else _in_signal(own)
            halves.append(_scan(reads[0], scaled, SIGNAL, notes))
        unit = series[1][0]
        first, second = (np.asarray(half.volume.array, np.float32) for half in halves)
        halves[0].volume.geometry.require_same(
            halves[1].volume.geometry, what=f"{pair[0]} and {pair[1]} part"
        )
        if pair == ("magnitude", "phase"):
            angle = _radians(second, _stated_unit(unit))
            array = first * np.exp(1j * angle)
        else:
            array = first + 1j * second
    return replace(
        halves[0],
        volume=Volume(array.astype(np.complex64), halves[0].volume.geometry, "1"),
        sha256=hashlib.sha256("\n".join(half.sha256 for half in halves).encode()).hexdigest(),
        warnings=tuple(dict.fromkeys(note for half in halves for note in half.warnings)),
    )


_PAIRS: tuple[tuple[Part, Part], ...] = (("real", "imaginary"), ("magnitude", "phase"))


# ---- which slices --------------------------------------------------------------------------------


def _open(path: Path, opened: ExitStack) -> _Read:
    """Slices of all MR images below a path, which stays open."""
    opened.enter_context(warnings_off())
    found = opened.enter_context(dicom_files(path, ignore))
    with damaged_headers_refused():
        files = _mr_images(found)
        require_readable(files)
        return _Read(
            path, tuple(frame for file in files for frame in frames_of(file)), found.left_out
        )


def _mr_images(found: DicomFiles) -> list[DicomFile]:
    images = [f for f in found.files if f.frame_count and f.is_grey and not f.is_localizer]
    own = [file for file in images if file.modality == "MR"]
    if not own:
        kinds = ", ".join(sorted({file.modality for file in images or found.files}))
        raise InputError(
            f"the DICOM images are {named(kinds)}, not MR; give the series of the xenon MRI"
        )
    return own


def part_of(frame: Frame) -> Part | None:
    """Part of the complex signal that a slice holds; None where its header does not say."""
    groups = groups_of(frame.file, frame.index)
    stated = in_group(groups, "MRImageFrameTypeSequence", "ComplexImageComponent")
    frame_type = header_values(in_group(groups, "MRImageFrameTypeSequence", "FrameType"))
    for word in (stated, *frame_type[2:], *frame.file.image_type[2:]):
        part = _WORDS.get(str(word).upper())
        if part is not None:
            return part
    number = _private(frame.file.header, 0x0043, _GE_CREATOR, _GE_PART)
    return dict(enumerate(_GE_PARTS)).get(-1 if number is None else int(number))


def _by_part(frames: Iterable[Frame]) -> dict[Part | None, list[Frame]]:
    parts: dict[Part | None, list[Frame]] = {}
    for frame in frames:
        parts.setdefault(part_of(frame), []).append(frame)
    return parts


def _counted(frames: Sequence[Frame]) -> str:
    counts = Counter(part_of(frame) or "of no part that is named" for frame in frames)
    return ", ".join(f"{count} slice(s) {part}" for part, count in sorted(counts.items()))


def _one_series(frames: Sequence[Frame]) -> list[Frame]:
    """Slices of the only series that is a volume."""
    series: dict[str, list[Frame]] = {}
    for frame in frames:
        series.setdefault(frame.file.series_uid, []).append(frame)
    whole = [own for own in series.values() if len(own) >= stacking.MIN_SLICES]
    if not whole:
        most = max(len(own) for own in series.values())
        raise InputError(
            f"the longest MR series has {most} slice(s); expected a volume of at least "
            f"{stacking.MIN_SLICES}: give the whole series"
        )
    if len(whole) > 1:
        sizes = ", ".join(str(len(own)) for own in whole)
        raise InputError(
            f"there are {len(whole)} MR series of the same kind ({sizes} slices); give the folder "
            "of one of them, or one of its files"
        )
    require_uniform(whole[0])
    return whole[0]


def _scan(read: _Read, frames: Sequence[Frame], unit: str, notes: Sequence[str]) -> Scan:
    series = assembled(
        frames, name=read.path, unit=unit, left_out=read.left_out, remarks=notes, progress=ignore
    )
    return series.scan


# ---- which values --------------------------------------------------------------------------------


def _in_real_values(frames: Sequence[Frame]) -> tuple[list[Frame], list[str]]:
    """Slices in the values that the scanner means, as fractions, with what to say of it."""
    notes = []
    mapped = [_real_world_mapping(frame) for frame in frames]
    if all(mapping is not None for mapping in mapped):
        frames = [
            replace(frame, slope=found[0], intercept=found[1], rescale_type=found[2])
            for frame, found in zip(frames, mapped, strict=True)
            if found is not None
        ]
    elif any(mapping is not None for mapping in mapped):
        raise InputError(
            "some slices of the MR series have a Real World Value Mapping and others none; export "
            "the series again"
        )
    scale = _philips_scale(frames[0])
    if scale is not None and scale != 1.0:
        notes.append(
            f"the files also hold a private scale of Philips, element (2005,100E), of {scale:.4g}, "
            "which was not applied: values are those that the scanner shows"
        )
    factor = _PER_PERCENT.get(frames[0].rescale_type.upper(), 1.0)
    if factor != 1.0:
        notes.append("the header gives values in %, read as fractions")
        frames = [
            replace(frame, slope=frame.slope * factor, intercept=frame.intercept * factor)
            for frame in frames
        ]
    return list(frames), notes


def _in_signal(frames: Sequence[Frame]) -> tuple[list[Frame], list[str]]:
    """Slices in signal that can be compared between series: without Philips' private factors."""
    scales = [_philips_scale(frame) for frame in frames]
    if any(scale is None for scale in scales):
        return _in_real_values(frames)
    out = [
        replace(
            frame,
            slope=1 / scale,
            intercept=frame.intercept / (frame.slope * scale),
        )
        for frame, scale in zip(frames, scales, strict=True)
        if scale is not None
    ]
    said = " to ".join(f"{scale:.4g}" for scale in sorted({min(scales), max(scales)}))  # type: ignore[type-var]
    return out, [
        f"the private scale of Philips, element (2005,100E), of {said} was taken out of the signal"
    ]


def _real_world_mapping(frame: Frame) -> tuple[float, float, str] | None:
    """Slope, intercept and unit; None where there is no linear mapping."""
    for group in groups_of(frame.file, frame.index):
        for mapping in list(group.get("RealWorldValueMappingSequence") or [])[:1]:
            slope, intercept = (
                mapping.get(f"RealWorldValue{name}") for name in ("Slope", "Intercept")
            )
            if slope in (None, "", 0) or intercept in (None, ""):
                return None
            units = list(mapping.get("MeasurementUnitsCodeSequence") or [])[:1]
            unit = str(units[0].get("CodeValue", "")) if units else ""
            return float(slope), float(intercept), unit
    return None


def _stated_unit(frame: Frame) -> str:
    mapping = _real_world_mapping(frame)
    return frame.rescale_type if mapping is None else mapping[2]


def _philips_scale(frame: Frame) -> float | None:
    for group in groups_of(frame.file, frame.index):
        for holder in _with_private_items(group):
            value = _private(holder, 0x2005, _PHILIPS_CREATOR, _PHILIPS_SCALE)
            if value is not None and np.isfinite(value) and value > 0:
                return value
    return None


def _with_private_items(group: Dataset) -> Iterator[Dataset]:
    """Yield a header or frame group, and what Philips hides in sequences of its own."""
    yield group
    for element in group:
        if element.tag.group == 0x2005 and element.VR == "SQ":
            yield from element.value


def _private(holder: Dataset, group: int, creator: str, element: int) -> float | None:
    """Give a number of a private element, None where there is none."""
    try:
        values = header_values(holder.private_block(group, creator)[element].value)
        return float(values[0])
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _radians(values: NDArray[np.float32], unit: str) -> NDArray[np.float64]:
    """Phase in radians, by the unit of the header or by where its values end.

    Raises
    ------
    InputError
        If neither tells.

    """
    known = _RADIANS.get(unit.lower())
    if known is not None:
        return np.asarray(values, np.float64) * known
    low, high = float(values.min()), float(values.max())
    for most in _FULL_TURNS:
        if 0.95 * most <= max(-low, high) <= 1.001 * most and low < -0.5 * most:
            return np.asarray(values, np.float64) * (np.pi / most)
    if low >= 0 and 0.97 * 4096 <= high <= 4096:
        return (np.asarray(values, np.float64) - 2048) * (np.pi / 2048)
    raise InputError(
        f"the phase image does not say its unit, and values from {low:.4g} to {high:.4g} fit "
        "neither radians nor the scale of a vendor; export real and imaginary part"
    )
