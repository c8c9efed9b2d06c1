"""Technical facts of a series."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

from lungperfusion.acquisition import Acquisition
from lungperfusion.io.dicom.frames import Frame
from lungperfusion.io.dicom.header import (
    header_deep,
    header_number,
    header_text,
    header_values,
)
from lungperfusion.io.dicom.sources import DicomFile


def acquisition_of(file: DicomFile, frame: Frame) -> Acquisition:
    """Gather the technical facts of a series from the header of one of its slices."""
    header = file.header
    kernel = "/".join(
        str(value) for value in header_values(header_deep(header, "ConvolutionKernel"))
    )
    return Acquisition(
        modality=file.modality,
        manufacturer=header_text(header, "Manufacturer"),
        model=header_text(header, "ManufacturerModelName"),
        kvp=header_number(header, "KVP"),
        kernel=kernel or None,
        slice_thickness_mm=header_number(header, "SliceThickness"),
        contrast_agent=_contrast(header),
        image_type=file.image_type,
        rescale_unit=frame.rescale_type or None,
        monoenergetic_kev=_monoenergetic_kev(header, file.image_type),
        tin_filter=tin_filter(header),
    )


def tin_filter(header: Dataset) -> bool | None:
    """Whether the header names a filter of tin; None where it names no material.

    Filter Material (0018,7050) lists materials, of which DICOM defines no term for tin, so vendors
    write the word or the symbol; Filter Type (0018,1160) is a vendor's name of a filter.
    """
    texts = [
        str(value).upper()
        for keyword in ("FilterMaterial", "FilterType")
        for value in header_values(header_deep(header, keyword))
    ]
    if any(re.search(r"(?<![A-Z])(SN|TIN|STANNUM)(?![A-Z])", text) for text in texts):
        return True
    return False if header_values(header_deep(header, "FilterMaterial")) else None


def _contrast(header: Dataset) -> bool | None:
    agent = header_deep(header, "ContrastBolusAgent")
    if agent in (None, ""):
        sequence = header.get("ContrastBolusAgentSequence")
        return True if sequence else None
    return str(agent).strip().upper() not in {"NONE", "NO", "N", "WITHOUT"}


def _monoenergetic_kev(header: Dataset, image_type: tuple[str, ...]) -> float | None:
    """Energy of a virtual monoenergetic image: from its own attribute, else from its names."""
    stated = header_number(header, "MonoenergeticEnergyEquivalent")
    if stated is not None:
        return stated
    for text in (*image_type, str(header.get("SeriesDescription", ""))):
        match = re.search(r"(?<!\d)(\d{2,3}(?:\.\d+)?)[ _-]?KEV", text.upper())
        if match:
            return float(match.group(1))
    return None
