"""Slices: where each lies and how its stored values become values in the unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lungperfusion.errors import InputError
from lungperfusion.io.dicom.header import header_count, header_numbers, in_group
from lungperfusion.io.dicom.sources import DicomFile
from lungperfusion.io.dicom.units import UNSPECIFIED, stated_unit
from lungperfusion.io.files import VOXEL_MM
from lungperfusion.naming import named

FARTHEST_MM = 1e5
"""No table moves a patient a hundred metres."""

LARGEST_RESCALE = 1e6
"""Stored values have at most 32 bits and become values of a few thousand."""


@dataclass(frozen=True)
class Frame:
    """One slice: where it lies, how its stored values become values in the unit."""

    file: DicomFile
    index: int
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    pixel_spacing_mm: tuple[float, float]
    slope: float
    intercept: float
    rescale_type: str
    padding: tuple[int, int] | None
    """Lowest and highest stored value that the header declares as padding."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return header_count(self.file.header, "Rows"), header_count(self.file.header, "Columns")

    @property
    def order(self) -> tuple[str, int]:
        """Identity that does not depend on file names."""
        return str(self.file.header.get("SOPInstanceUID", "")), self.index


def groups_of(file: DicomFile, index: int) -> list[Dataset]:
    """Where the facts of one slice stand: its own group before the shared one before the header."""
    header = file.header
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None:
        return [header]
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    return [per_frame[index], *shared, header]


def frames_of(file: DicomFile) -> list[Frame]:
    """List the slices of a file, of which an enhanced CT image has many."""
    header = file.header
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None:
        if file.frame_count > 1:
            raise InputError(
                "a multi-frame DICOM file does not say where its frames lie (no functional "
                "groups); export the series as single slices or as an enhanced image"
            )
        return [_frame(file, 0)]
    if len(per_frame) != file.frame_count:
        raise InputError(
            f"a multi-frame DICOM file describes {len(per_frame)} frames but holds "
            f"{file.frame_count}; export the series again"
        )
    return [_frame(file, index) for index in range(file.frame_count)]


def _frame(file: DicomFile, index: int) -> Frame:
    groups = groups_of(file, index)
    position = header_numbers(groups, "PlanePositionSequence", "ImagePositionPatient", 3)
    orientation = header_numbers(groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = header_numbers(groups, "PixelMeasuresSequence", "PixelSpacing", 2)
    if min(spacing) < VOXEL_MM[0] or max(spacing) > VOXEL_MM[1]:
        raise InputError(
            f"a DICOM slice has a Pixel Spacing of {spacing[0]:g} x {spacing[1]:g} mm; expected "
            f"{VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm: export the series again"
        )
    if np.abs(position).max() > FARTHEST_MM:
        raise InputError(
            f"a DICOM slice lies {np.abs(position).max() / 1000:.3g} m from the scanner's origin; "
            "its header is damaged: export the series again"
        )
    transform = "PixelValueTransformationSequence"
    slope = header_numbers(groups, transform, "RescaleSlope", 1, default=1.0)
    intercept = header_numbers(groups, transform, "RescaleIntercept", 1, default=0.0)
    if slope[0] == 0 or max(abs(slope[0]), abs(intercept[0])) > LARGEST_RESCALE:
        raise InputError(
            f"a DICOM slice has a Rescale Slope of {slope[0]:g} and a Rescale Intercept of "
            f"{intercept[0]:g}, with which no value is left; export the series again"
        )
    return Frame(
        file=file,
        index=index,
        position=position,
        orientation=orientation,
        pixel_spacing_mm=(float(spacing[0]), float(spacing[1])),
        slope=float(slope[0]),
        intercept=float(intercept[0]),
        rescale_type=str(in_group(groups, transform, "RescaleType") or "").strip().upper(),
        padding=_declared_padding(file.header),
    )


def _declared_padding(header: Dataset) -> tuple[int, int] | None:
    first = header.get("PixelPaddingValue")
    if not isinstance(first, int):
        return None
    last = header.get("PixelPaddingRangeLimit")
    bits = header_count(header, "BitsAllocated", 16)
    signed = header_count(header, "PixelRepresentation") == 1

    def as_stored(value: int) -> int:  # US and SS are mixed up by many writers
        if signed and value >= 1 << (bits - 1):
            return value - (1 << bits)
        return value + (1 << bits) if not signed and value < 0 else value

    ends = [as_stored(value) for value in (first, last) if isinstance(value, int)]
    return min(ends), max(ends)


def require_uniform(frames: Sequence[Frame]) -> None:
    """Refuse slices that do not make one stack."""
    first = frames[0]
    for frame in frames:
        if frame.shape != first.shape:
            raise InputError(
                f"the series mixes slices of {first.shape[1]} x {first.shape[0]} and "
                f"{frame.shape[1]} x {frame.shape[0]} pixels; choose one reconstruction"
            )
        if not np.allclose(frame.pixel_spacing_mm, first.pixel_spacing_mm, rtol=1e-3):
            raise InputError(
                f"the series mixes pixel spacings of {first.pixel_spacing_mm[0]:g} and "
                f"{frame.pixel_spacing_mm[0]:g} mm; choose one reconstruction"
            )
        if not np.allclose(frame.orientation, first.orientation, atol=1e-3):
            raise InputError(
                "the series mixes slices of different orientation; choose one reconstruction"
            )
        if frame.rescale_type != first.rescale_type:
            raise InputError(
                f"the series mixes the rescale units {named(first.rescale_type or 'unknown')} and "
                f"{named(frame.rescale_type or 'unknown')}; choose one reconstruction"
            )
    row, column = first.orientation[:3], first.orientation[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not np.allclose(lengths, 1, atol=1e-2) or abs(row @ column) > 1e-2:
        raise InputError(
            "the Image Orientation of the slices is not two perpendicular directions; "
            "export the series again"
        )


def in_unit(frames: Sequence[Frame], unit: str, only_ct: bool) -> list[Frame]:
    """Rescale slices to the unit that is wanted, or refuse what contradicts their Rescale Type.

    Values of a Rescale Type that is absent or not known are taken as they are.
    """
    rescale_type = frames[0].rescale_type
    stated = None if rescale_type in UNSPECIFIED else stated_unit(rescale_type)
    if only_ct and rescale_type not in UNSPECIFIED and (stated is None or stated.unit != unit):
        raise InputError(
            f"the series is in {named(rescale_type) if stated is None else stated.unit}, not in "
            "HU: it is a derived map; give the CT series"
        )
    if stated is None:
        return list(frames)
    if stated.unit != unit:
        raise InputError(
            f"the series is in {stated.unit} by its header, but {unit} was asked for; "
            "give the right series or unit"
        )
    if stated.factor == 1:
        return list(frames)
    return [
        replace(frame, slope=frame.slope * stated.factor, intercept=frame.intercept * stated.factor)
        for frame in frames
    ]
