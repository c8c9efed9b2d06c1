"""Xenon MRI in a folder: DICOM series by what they show, and output of the open pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import (
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)

from lungperfusion.io.dicom.header import header_deep, header_number, header_values
from lungperfusion.io.xenon.consortium import folder_of_output

MR_CLASSES = frozenset(
    {MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage}
)

_XENON_WORDS = r"\b129 ?xe\b|\bxe ?129\b|\bxe\b|xenon|hyperpol"
_GAS = r" ?(to|2|:|/|over)? ?gas"
_MAPS = {
    "mask": r"\bmask\b",
    "rbc_gas": rf"\brbc{_GAS}",
    "membrane_gas": rf"\b(membrane|mem|barrier|tissue|tp){_GAS}",
    "ventilation": r"\bvent(ilation)?\b|\bgas (image|high)",
}
"""Words of a description by the argument of ``xenon`` that takes such a map."""


def is_xenon_image(header: Dataset, words: str) -> bool:
    """Whether this is a grey MR image of xenon: by its nucleus, else by words in small letters."""
    if str(header.get("SOPClassUID", "")) not in MR_CLASSES or not header.get("Rows"):
        return False
    if header_number(header, "SamplesPerPixel") not in (None, 0.0, 1.0):
        return False
    nuclei = [
        str(value).upper()
        for keyword in ("ImagedNucleus", "ResonantNucleus")
        for value in header_values(header_deep(header, keyword))
    ]
    if nuclei:
        return any("XE" in nucleus for nucleus in nuclei)
    return re.search(_XENON_WORDS, words) is not None


def map_of(words: str) -> str | None:
    """Argument of ``xenon`` for what the words of a series name; None where they name no map.

    Examples
    --------
    >>> map_of("xe rbc to gas"), map_of("barrier/gas"), map_of("129xe ventilation"), map_of("xe")
    ('rbc_gas', 'membrane_gas', 'ventilation', None)

    """
    return next((name for name, pattern in _MAPS.items() if re.search(pattern, words)), None)


def pipeline_folders(files: Iterable[Path], root: Path) -> list[Path]:
    """Folders below ``root`` that hold output of the open gas exchange pipeline."""
    found = {folder_of_output(path) for path in files} - {None}
    return sorted(folder for folder in found if folder is not None and folder.is_relative_to(root))
