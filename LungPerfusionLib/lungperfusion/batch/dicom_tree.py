"""The CT series below a folder, with what their headers tell; no pixel is read."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from lungperfusion.errors import InputError
from lungperfusion.io.dicom.acquisition import tin_filter
from lungperfusion.io.dicom.units import stated_unit
from lungperfusion.progress import Progress, ignore

Kind = Literal["ct", "iodine", "virtual native", "monoenergetic", "reformatted", "localizer"]
Breath = Literal["inspiration", "expiration"]
Sharpness = Literal["soft", "sharp"]

_TAGS = [
    *("SOPClassUID", "Modality", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("ImageType", "SeriesDescription", "ProtocolName", "ImageComments", "ContrastBolusAgent"),
    *("KVP", "ConvolutionKernel", "SliceThickness", "ImagePositionPatient", "RescaleType"),
    *("ImageOrientationPatient", "AcquisitionNumber", "AcquisitionDate", "AcquisitionTime"),
    *("NumberOfFrames", "Rows", "Columns", "PixelSpacing", "FilterMaterial", "FilterType"),
]
_CT_CLASSES = {"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"}

IODINE_WORDS = r"\biodine\b|\bjod|\bpbv\b|blood.?volume|perfused"
"""Words by which series of iodine and blood volume maps are known."""
_VIRTUAL_NATIVE = r"\bvnc\b|\bvue\b|virtual.?(non|unenhanced|native)"
_MONOENERGETIC = r"\bmono|\d+ ?kev\b"
_REFORMATTED = r"\bmpr\b|\bmip\b|minip|reformat|\bcor(onal)?\b|\bsag(ittal)?\b|\b3d\b|\bvrt\b"
_INSPIRATION = r"\binsp|\btlc\b|einatm|deep breath"
_EXPIRATION = r"\bex(s)?pir|\bexsp|\bexp\b|\bfrc\b|\brv\b|ausatm"
_NATIVE = r"\bnativ|non.?contrast|without|unenhanced|\bw/?o\b|\bohne\b|\bnc\b"
_CONTRAST = r"\bcontrast|(?<!un)enhanced|angio|\bcta\b|\bctpa\b|\bkm\b|\bpbv\b|arterial"

SOFT_UP_TO = 45
"""Sharpness number in kernel names such as B40f or Br36 up to which density can be measured; names
from 50 on enhance edges."""
_SHARP_FROM = 50
_SHARP_NAMES = r"lung|bone|edge|sharp|detail|\byc\b|\byd\b|^l$|^fc[358]\d"
_SOFT_NAMES = r"standard|\bsoft|smooth|^stnd|^[abc]$|^fc[01]\d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One CT series."""

    path: Path | None
    """What a command can be given to read it: its folder, or one file beside other series; None
    where neither names it alone."""
    study: str
    """Name of the study that cannot be traced back to the patient."""
    uid: str
    kind: Kind
    breath: Breath | None
    contrast: bool | None
    sharpness: Sharpness | None
    kernel: str
    kvp: float | None
    thickness_mm: float | None
    images: int
    length_mm: float
    grid: tuple[Any, ...]
    """Equal for two series whose voxels coincide."""
    acquisition: tuple[str, ...]
    """Equal for two series of one scan, as far as the header tells."""
    unit: str | None
    """``mg/mL`` (also of maps that are converted to it) or ``HU``, if the header says so."""
    tin_filter: bool | None
    """Whether a tin filter hardened the beam, if the header names its material."""


def find_series(root: Path, *, progress: Progress = ignore) -> tuple[Series, ...]:
    """Find all CT series below a folder.

    Parameters
    ----------
    root
        Folder with any structure.
    progress
        Told how far it is.

    Returns
    -------
    tuple of Series
        By study and path.

    Raises
    ------
    InputError
        If there is no folder, or no CT series in it.

    """
    root = Path(root).resolve()
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; give one with DICOM files")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    headers: dict[str, list[tuple[Path, Dataset]]] = {}
    for done, path in enumerate(files):
        if done % 64 == 0:
            progress(done / len(files), "reading DICOM headers")
        header = _header(path)
        if header is not None:
            headers.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    found = [
        _series(uid, members, _path_of(uid, headers, root))
        for uid, members in headers.items()
        if str(members[0][1].get("SOPClassUID", "")) in _CT_CLASSES
    ]
    if not found:
        raise InputError(
            f"no CT series among the {len(files)} files of {root.name}; zip files are not looked "
            "into: unpack them"
        )
    return tuple(sorted(found, key=lambda series: (series.study, str(series.path), series.uid)))


def _header(path: Path) -> Dataset | None:
    """Tags of a DICOM file that matter here; None for any other file."""
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR":
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    except (InvalidDicomError, EOFError, ValueError, KeyError, OSError, AttributeError):
        return None


def _path_of(uid: str, headers: dict[str, list[tuple[Path, Dataset]]], root: Path) -> Path | None:
    """Give the folder that holds this series alone, or its first file where others lie there."""
    paths = [path for path, _ in headers[uid]]
    parents = {path.parent for path in paths}
    folder = _common(parents)
    others = (path for other in headers if other != uid for path, _ in headers[other])
    if folder.is_relative_to(root) and not any(path.is_relative_to(folder) for path in others):
        return folder
    return paths[0] if len(parents) == 1 else None


def _common(folders: Iterable[Path]) -> Path:
    first, *rest = sorted(folders)
    while not all(folder.is_relative_to(first) for folder in rest):
        first = first.parent
    return first


def _series(uid: str, members: list[tuple[Path, Dataset]], path: Path | None) -> Series:
    header = members[0][1]
    types = " ".join(str(value) for value in _several(header.get("ImageType")))
    words = " ".join(
        str(header.get(name, "") or "")
        for name in ("SeriesDescription", "ProtocolName", "ImageComments")
    )
    text = re.sub(r"[_\-]+", " ", f"{types} {words}").lower()
    description = re.sub(r"[_\-]+", " ", str(header.get("SeriesDescription", "") or "")).lower()
    heights = sorted({_height_mm(member) for _, member in members})
    images = sum(int(member.get("NumberOfFrames") or 1) for _, member in members)
    study = str(header.get("StudyInstanceUID", "") or uid)
    return Series(
        path=path,
        study=hashlib.sha256(study.encode()).hexdigest()[:8],
        uid=uid,
        kind=_kind(types.lower(), description, header),
        breath=_breath(text),
        contrast=_contrast(header, text),
        sharpness=sharpness(_kernel(header)),
        kernel=_kernel(header),
        kvp=_number(header.get("KVP")),
        thickness_mm=_number(header.get("SliceThickness")),
        images=images,
        length_mm=heights[-1] - heights[0] if heights else 0.0,
        grid=(
            str(header.get("FrameOfReferenceUID", "")),
            *(heights[0], heights[-1], images, header.get("Rows"), header.get("Columns")),
            *(str(value) for value in _several(header.get("PixelSpacing"))),
        ),
        acquisition=(
            str(header.get("AcquisitionNumber", "") or ""),
            str(header.get("AcquisitionDate", "") or ""),
            str(header.get("AcquisitionTime", "") or "")[:4],
        ),
        unit=_unit(header),
        tin_filter=tin_filter(header),
    )


def _unit(header: Dataset) -> str | None:
    stated = stated_unit(str(header.get("RescaleType", "") or ""))
    return stated.unit if stated is not None and stated.unit in ("mg/mL", "HU") else None


def _kind(types: str, description: str, header: Dataset) -> Kind:
    """Tell images of matter from those of tissue, and slices from views made of them."""
    text = f"{types} {description}"
    if "localizer" in text or "scout" in text or "topogram" in text:
        return "localizer"
    if _unit(header) == "mg/mL":
        return "iodine"
    if re.search(_VIRTUAL_NATIVE, text):
        return "virtual native"
    if re.search(IODINE_WORDS, text):
        return "iodine"
    if re.search(_MONOENERGETIC, text):
        return "monoenergetic"
    orientation = [float(value) for value in _several(header.get("ImageOrientationPatient"))]
    axial = len(orientation) != 6 or abs(orientation[0] * orientation[4]) > 0.7
    if not axial or re.search(_REFORMATTED, text):
        return "reformatted"
    return "ct"


def _breath(text: str) -> Breath | None:
    inspired, expired = re.search(_INSPIRATION, text), re.search(_EXPIRATION, text)
    if bool(inspired) == bool(expired):
        return None
    return "inspiration" if inspired else "expiration"


def _contrast(header: Dataset, text: str) -> bool | None:
    if str(header.get("ContrastBolusAgent", "") or "").strip():
        return True
    if re.search(_NATIVE, text):
        return False
    return True if re.search(_CONTRAST, text) else None


def sharpness(kernel: str) -> Sharpness | None:
    """Tell a soft kernel from a sharp one by its name; None where the name does not tell.

    Examples
    --------
    >>> sharpness("B40f"), sharpness("Br59d\\\\3"), sharpness("LUNG"), sharpness("FC08")
    ('soft', 'sharp', 'sharp', 'soft')

    """
    name = kernel.strip().lower()
    if re.search(_SHARP_NAMES, name):
        return "sharp"
    if re.search(_SOFT_NAMES, name):
        return "soft"
    number = re.match(r"[a-z]{1,2}(\d\d)", name)
    if number is None or SOFT_UP_TO < int(number[1]) < _SHARP_FROM:
        return None
    return "soft" if int(number[1]) <= SOFT_UP_TO else "sharp"


def _kernel(header: Dataset) -> str:
    return "/".join(str(value) for value in _several(header.get("ConvolutionKernel")))


def _height_mm(header: Dataset) -> float:
    """Position along the patient's long axis."""
    position = _several(header.get("ImagePositionPatient"))
    return round(float(position[2]), 3) if len(position) == 3 else 0.0


def _several(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if not isinstance(value, str) and hasattr(value, "__iter__") else [value]


def _number(value: Any) -> float | None:
    try:
        return None if value in (None, "") else float(value)
    except (TypeError, ValueError):
        return None


def described(series: Iterable[Series]) -> Iterator[dict[str, Any]]:
    """Rows of the list of series: technical facts alone."""
    yes_no = {True: "yes", False: "no", None: ""}
    for number, entry in enumerate(series, 1):
        yield {
            "series": number,
            "case": f"case-{entry.study}",
            "path": entry.path,
            "kind": entry.kind,
            "breath": entry.breath or "",
            "contrast": yes_no[entry.contrast],
            "kernel": entry.kernel,
            "sharpness": entry.sharpness or "",
            "kv": "" if entry.kvp is None else f"{entry.kvp:g}",
            "thickness_mm": "" if entry.thickness_mm is None else f"{entry.thickness_mm:g}",
            "images": entry.images,
            "length_mm": f"{entry.length_mm:g}",
        }


SERIES_COLUMNS = (
    *("series", "case", "path", "kind", "breath", "contrast", "kernel", "sharpness", "kv"),
    *("thickness_mm", "images", "length_mm"),
)
"""Columns of the list of series."""
