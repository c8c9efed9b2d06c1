"""Header of an ISMRMRD (MRD) file: field of view, flip angles, echo time; no raw data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from lungperfusion.errors import InputError
from lungperfusion.io.xenon.consortium import hdf5_library
from lungperfusion.naming import named

GYROMAGNETIC_MHZ_T = 11.777
"""Of 129Xe, as the open pipeline has it."""

_SPACE = "{http://www.ismrm.org/ISMRMRD}"
_LONGEST_HEADER = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class MrdHeader:
    """What is needed of a header; None for what it does not say."""

    field_mm: tuple[float, float, float] | None = None
    gas_flip_degrees: float | None = None
    dissolved_flip_degrees: float | None = None
    echo_time_ms: float | None = None
    field_t: float | None = None
    frequency_ppm: float | None = None
    orientation: str | None = None


def read_mrd_header(path: Path) -> MrdHeader:
    """Read the header of an MRD file.

    Raises
    ------
    InputError
        If the file is no MRD file, or h5py is not installed.

    """
    if not path.is_file():
        raise InputError(f"there is no file {named(path)}; expected an MRD file (.h5, .mrd)")
    h5py = hdf5_library(path)
    try:
        with h5py.File(path, "r") as file:
            held = np.asarray(file["dataset/xml"]).ravel()[0]
    except (OSError, KeyError, IndexError) as error:
        raise InputError(f"{named(path.name)} is no MRD file with a header") from error
    text = held.decode("utf-8", "replace") if isinstance(held, bytes) else str(held)
    return parse_mrd_header(text, path.name)


def parse_mrd_header(text: str, name: str) -> MrdHeader:
    """Parse the XML header of an MRD file."""
    if len(text) > _LONGEST_HEADER or "<!" in text:
        raise InputError(f"{named(name)} has a header as no MRD file has")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"{named(name)} has a damaged header; export it again") from error
    flips = [number for node in root.iter(f"{_SPACE}flipAngle_deg") if (number := _number(node))]
    longs = _parameters(root, "userParameterLong")
    field_t = _first(root, "systemFieldStrength_T")
    offset_hz = longs.get("xe_dissolved_offset_frequency")
    ppm = None
    if offset_hz is not None and field_t:
        ppm = float(offset_hz) / (field_t * GYROMAGNETIC_MHZ_T)
    return MrdHeader(
        field_mm=_field_of_view(root),
        gas_flip_degrees=flips[0] if flips else None,
        dissolved_flip_degrees=flips[1] if len(flips) > 1 else None,
        echo_time_ms=_first(root, "TE"),
        field_t=field_t,
        frequency_ppm=ppm,
        orientation=_parameters(root, "userParameterString").get("orientation"),
    )


def _field_of_view(root: ElementTree.Element) -> tuple[float, float, float] | None:
    node = root.find(f".//{_SPACE}reconSpace/{_SPACE}fieldOfView_mm")
    if node is None:
        return None
    extents = [_number(node.find(f"{_SPACE}{axis}")) for axis in "xyz"]
    x, y, z = (extent or math.nan for extent in extents)
    return None if math.isnan(x + y + z) else (x, y, z)


def _parameters(root: ElementTree.Element, kind: str) -> dict[str, str]:
    return {
        (node.findtext(f"{_SPACE}name") or "").strip(): (
            node.findtext(f"{_SPACE}value") or ""
        ).strip()
        for node in root.iter(f"{_SPACE}{kind}")
    }


def _first(root: ElementTree.Element, tag: str) -> float | None:
    return next((_number(node) for node in root.iter(f"{_SPACE}{tag}")), None)


def _number(node: ElementTree.Element | None) -> float | None:
    try:
        value = float((node.text if node is not None else None) or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
