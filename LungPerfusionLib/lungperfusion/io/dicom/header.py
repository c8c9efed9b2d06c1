"""Header fields of DICOM files, as tolerant as files in the wild need."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

from lungperfusion.errors import InputError
from lungperfusion.naming import named

HEADER_ERRORS = (
    *(InvalidDicomError, BytesLengthException, EOFError, ValueError, OSError, AttributeError),
    *(NotImplementedError, TypeError, LookupError, ArithmeticError, RecursionError, struct.error),
)
"""What pydicom raises for damaged headers, often only when an element is looked at."""


IDENTIFIERS = (
    "PatientName",
    "PatientID",
    "OtherPatientIDs",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "SeriesDate",
    "AcquisitionDate",
    "StudyDescription",
    "SeriesDescription",
    "InstitutionName",
    "ReferringPhysicianName",
    "StudyInstanceUID",
    "SeriesInstanceUID",
)


def header_values(value: Any) -> list[Any]:
    """Give the values of a field as a list, however many there are."""
    if value is None or value == "":
        return []
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)


def header_text(header: Dataset, keyword: str) -> str | None:
    """Give a field as text, None when absent or empty."""
    return str(header.get(keyword) or "").strip() or None


def header_number(header: Dataset, keyword: str) -> float | None:
    """Give a field as a finite number, None when absent or no number."""
    values = header_values(header_deep(header, keyword))
    try:
        return float(values[0]) if values else None
    except (TypeError, ValueError):
        return None


def header_count(header: Dataset, keyword: str, default: int = 0) -> int:
    """Give a field as a whole number.

    Raises
    ------
    InputError
        If it holds anything else.

    """
    values = header_values(header.get(keyword))
    if not values:
        return default
    try:
        number = float(values[0])
        if len(values) == 1 and number.is_integer():
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(
        f"a DICOM file has an unreadable {_in_words(keyword)}; export the series again"
    )


def _in_words(keyword: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", keyword)


def header_numbers(
    groups: Sequence[Dataset],
    sequence: str,
    keyword: str,
    count: int,
    *,
    default: float | None = None,
) -> NDArray[np.float64]:
    """Give a geometric field as numbers, or refuse the slice that lacks it."""
    words = _in_words(keyword)
    try:
        value = in_group(groups, sequence, keyword)
        if value is None and default is not None:
            return np.full(count, default)
        numbers = np.array([float(entry) for entry in header_values(value)])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"a DICOM slice has an unreadable {words} ({named(error)}); export the series again"
        ) from error
    if numbers.size != count or not np.isfinite(numbers).all():
        raise InputError(
            f"a DICOM slice has no usable {words} ({np.isfinite(numbers).sum()} of {count} "
            "numbers), so its "
            "place is unknown; export the original series"
            if default is None
            else f"a DICOM slice has an unusable {words}; export the series again"
        )
    return numbers


def header_deep(header: Dataset, keyword: str) -> Any:
    """Value of an attribute wherever an enhanced image keeps it."""
    if keyword in header:
        return header.get(keyword)
    for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in list(header.get(sequence) or [])[:1]:
            for element in group.iterall():
                if element.keyword == keyword:
                    return element.value
    return None


def in_group(groups: Sequence[Dataset], sequence: str, keyword: str) -> Any:
    """Value of a frame: its own group before the shared one before the plain header."""
    for group in groups:
        items = group.get(sequence)
        holder = items[0] if items else group
        if holder.get(keyword) not in (None, ""):
            return holder.get(keyword)
    return None


@contextmanager
def damaged_headers_refused() -> Iterator[None]:
    """Turn what pydicom raises for an element that cannot be understood into one sentence."""
    try:
        yield
    except InputError:
        raise
    except HEADER_ERRORS as error:
        raise InputError(
            "the header of a DICOM file is damaged (an element cannot be understood); export the "
            "series again"
        ) from error


@contextmanager
def warnings_off() -> Iterator[None]:
    """Keep pydicom's remarks on odd headers, which may quote them, off the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
