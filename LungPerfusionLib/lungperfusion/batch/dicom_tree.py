"""The CT series below a folder, with what their headers tell; no pixel is read."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydicom.dataset import Dataset

from lungperfusion.acquisition import Sharpness, kernel_sharpness
from lungperfusion.batch.xenon_series import (
    MR_CLASSES,
    is_xenon_image,
    map_of,
    pipeline_folders,
)
from lungperfusion.errors import InputError
from lungperfusion.io.bounds import without_deflation
from lungperfusion.io.dicom.acquisition import tin_filter
from lungperfusion.io.dicom.header import (
    HEADER_ERRORS,
    header_deep,
    header_number,
    header_values,
    in_group,
    warnings_off,
)
from lungperfusion.io.dicom.sources import CT_CLASSES, read_header
from lungperfusion.io.dicom.time_points import FEWEST_TIME_POINTS
from lungperfusion.io.dicom.units import stated_unit
from lungperfusion.io.folders import in_words, list_files
from lungperfusion.naming import named
from lungperfusion.progress import Progress, ignore

Kind = Literal[
    "ct",
    "dynamic",
    "iodine",
    "virtual native",
    "monoenergetic",
    "reformatted",
    "localizer",
    "xenon",
]
Breath = Literal["inspiration", "expiration"]

_TAGS = [
    *("SOPClassUID", "Modality", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("ImageType", "SeriesDescription", "ProtocolName", "ImageComments", "ContrastBolusAgent"),
    *("KVP", "ConvolutionKernel", "SliceThickness", "ImagePositionPatient", "RescaleType"),
    *("ImageOrientationPatient", "AcquisitionNumber", "AcquisitionDate", "AcquisitionTime"),
    *("NumberOfFrames", "Rows", "Columns", "PixelSpacing", "FilterMaterial", "FilterType"),
    *("SamplesPerPixel", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("PatientID", "ImagedNucleus", "ResonantNucleus"),
]

IODINE_WORDS = r"\biodine\b|\bjod|\bpbv\b|blood.?volume|perfused"
"""Words by which series of iodine and blood volume maps are known."""
_VIRTUAL_NATIVE = r"\bvnc\b|\bvue\b|virtual.?(non|unenhanced|native)"
_MONOENERGETIC = r"\bmono|\d+ ?kev\b"
_REFORMATTED = r"\bmpr\b|\bmip\b|minip|reformat|\bcor(onal)?\b|\bsag(ittal)?\b|\b3d\b|\bvrt\b"
_INSPIRATION = r"\binsp|\btlc\b|einatm|deep breath"
_EXPIRATION = r"\bex(s)?pir|\bexsp|\bexp\b|\bfrc\b|\brv\b|ausatm"
_NATIVE = r"\bnativ|non.?contrast|without|unenhanced|\bw/?o\b|\bohne\b|\bnc\b"
_CONTRAST = r"\bcontrast|(?<!un)enhanced|angio|\bcta\b|\bctpa\b|\bkm\b|\bpbv\b|arterial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series of CT, or of xenon MRI."""

    path: Path | None
    """What a command can be given to read it: its folder, or one file beside other series; None
    where neither names it alone."""
    study: str
    """Name of the study that cannot be traced back to the patient."""
    patient: str
    """The same of the patient; empty where the header names none."""
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
    time_points: int
    """How often the place that was imaged most often was imaged, by this series and its like."""
    tin_filter: bool | None
    """Whether a tin filter hardened the beam, if the header names its material."""
    xenon_map: str | None = None
    """Argument of ``xenon`` that takes this map, as its description names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """What lies beside the CT series: other objects, and files that could not be read."""

    path: Path
    kind: str
    """Modality, or ``unreadable``."""
    images: int
    remark: str


@dataclass(frozen=True, slots=True)
class DicomTree:
    """What was found below a folder."""

    series: tuple[Series, ...]
    """Series of CT and of xenon MRI, by study and path."""
    others: tuple[Other, ...]
    left_out: Mapping[str, int]
    """Entries that could not be looked into, by kind (`io.folders`)."""
    pipeline_folders: tuple[Path, ...] = ()
    """Output of the open gas exchange pipeline of xenon MRI."""


def read_tree(root: Path, *, progress: Progress = ignore) -> DicomTree:
    """Find all CT series below a folder, and say what else is there.

    A file that cannot be read never ends the search: it is listed with its reason.

    Parameters
    ----------
    root
        Folder with any structure; links are followed.
    progress
        Told how far it is.

    Raises
    ------
    InputError
        If there is no folder, or no CT series in it.

    """
    root = Path(root).absolute()
    if not root.is_dir():
        raise InputError(f"there is no folder {named(root)}; give one with DICOM files")
    listing = list_files(root)
    others: list[Other] = []
    headers: dict[str, list[tuple[Path, Dataset]]] = {}
    for done, path in enumerate(listing.files):
        if done % 64 == 0:
            progress(done / len(listing.files), "reading DICOM headers")
        try:
            header = _header(path)
        except InputError as error:
            others.append(Other(path=path, kind="unreadable", images=0, remark=str(error)))
            continue
        if header is not None:
            headers.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    slices = {uid: _slices(members) for uid, members in headers.items()}
    found: list[Series] = []
    for uid, members in headers.items():
        if slices[uid]:
            try:
                found.append(_series(uid, slices[uid], _path_of(uid, slices, root)))
            except (*HEADER_ERRORS, TypeError, IndexError) as error:
                others.append(_other(members, f"its header cannot be understood ({error})"))
        kept = {path for path, _ in slices[uid]}
        rest = [(path, header) for path, header in members if path not in kept]
        if rest:
            others.append(_other(rest, "no CT slices"))
    if not found:
        words = in_words(listing.left_out)
        raise InputError(
            f"no CT series among the {len(listing.files)} files of {named(root.name)}"
            + (f" ({words})" if words else "")
            + "; zip files are not looked into: unpack them"
        )
    found = list(_with_time_points(found))
    return DicomTree(
        tuple(sorted(found, key=lambda series: (series.study, str(series.path), series.uid))),
        tuple(sorted(others, key=lambda other: str(other.path))),
        listing.left_out,
        tuple(pipeline_folders(listing.files, root)),
    )


def _with_time_points(found: Sequence[Series]) -> Iterator[Series]:
    """Series that are the time points of one dynamic scan, each of them one, are dynamic, too."""
    alike = Counter((series.study, repr(series.grid)) for series in found if series.kind == "ct")
    for series in found:
        count = alike[series.study, repr(series.grid)] if series.kind == "ct" else 0
        if count >= FEWEST_TIME_POINTS:
            yield replace(series, kind="dynamic", time_points=count)
        else:
            yield series


def _header(path: Path) -> Dataset | None:
    """Tags of a DICOM file that matter here; None for any other file."""
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR":
        return None
    try:
        with warnings_off(), without_deflation(path.open("rb"), path.name) as stream:
            return read_header(stream, path.name, _TAGS)
    except OSError as error:
        raise InputError(f"it cannot be read ({error.strerror})") from error


def _slices(members: Sequence[tuple[Path, Dataset]]) -> list[tuple[Path, Dataset]]:
    """Images of CT or xenon among the objects of a series; overviews if there is no other."""
    images = [
        (path, header)
        for path, header in members
        if _is_ct_image(header) or is_xenon_image(header, _words(header))
    ]
    plain = [(path, header) for path, header in images if not _is_localizer(header)]
    return plain or images


def _is_ct_image(header: Dataset) -> bool:
    return (
        str(header.get("SOPClassUID", "")) in CT_CLASSES
        and header_number(header, "SamplesPerPixel") in (None, 0.0, 1.0)
        and bool(header.get("Rows"))
    )


def _is_localizer(header: Dataset) -> bool:
    types = " ".join(str(value) for value in header_values(header.get("ImageType"))).upper()
    return "LOCALIZER" in types or "SCOUT" in types


def _other(members: Sequence[tuple[Path, Dataset]], remark: str) -> Other:
    path, header = members[0]
    return Other(
        path=path,
        kind=str(header.get("Modality", "") or "unknown"),
        images=len(members),
        remark=remark,
    )


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
    types = " ".join(str(value) for value in header_values(header_deep(header, "ImageType")))
    text = _plain(f"{types} {_words(header)}")
    description = _plain(str(header.get("SeriesDescription", "") or ""))
    places = Counter(height for _, member in members for height in _heights_mm(member))
    heights, repeats = sorted(places), max(places.values(), default=1)
    kind = _kind(types.lower(), description, header)
    images = sum(int(member.get("NumberOfFrames") or 1) for _, member in members)
    study = str(header.get("StudyInstanceUID", "") or uid)
    patient = str(header.get("PatientID", "") or "").strip()
    return Series(
        path=path,
        study=untraceable(study),
        patient=untraceable(f"patient {patient}") if patient else "",
        uid=uid,
        kind="dynamic" if kind == "ct" and repeats >= FEWEST_TIME_POINTS else kind,
        time_points=repeats,
        breath=stated_breath(text),
        contrast=_contrast(header, text),
        sharpness=kernel_sharpness(_kernel(header)),
        kernel=_kernel(header),
        kvp=header_number(header, "KVP"),
        thickness_mm=header_number(header, "SliceThickness"),
        images=images,
        length_mm=heights[-1] - heights[0] if heights else 0.0,
        grid=(
            str(header.get("FrameOfReferenceUID", "")),
            *(heights[:1], heights[-1:], images, header.get("Rows"), header.get("Columns")),
            *(str(value) for value in header_values(header_deep(header, "PixelSpacing"))),
        ),
        acquisition=(
            str(header.get("AcquisitionNumber", "") or ""),
            str(header.get("AcquisitionDate", "") or ""),
            str(header.get("AcquisitionTime", "") or "")[:4],
        ),
        unit=_unit(header),
        tin_filter=tin_filter(header),
        xenon_map=map_of(description) if kind == "xenon" else None,
    )


def _words(header: Dataset) -> str:
    """Give what a header says of a series in words, in small letters."""
    return _plain(
        " ".join(
            str(header.get(name, "") or "")
            for name in ("SeriesDescription", "ProtocolName", "ImageComments")
        )
    )


def _plain(text: str) -> str:
    return re.sub(r"[_\-]+", " ", text).lower()


def untraceable(text: str) -> str:
    """Name that follows from a text and does not tell it."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _unit(header: Dataset) -> str | None:
    stated = stated_unit(str(header_deep(header, "RescaleType") or ""))
    return stated.unit if stated is not None and stated.unit in ("mg/mL", "HU") else None


def _kind(types: str, description: str, header: Dataset) -> Kind:
    """Tell images of matter from those of tissue, and slices from views made of them."""
    text = f"{types} {description}"
    if str(header.get("SOPClassUID", "")) in MR_CLASSES:
        return "xenon"
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
    orientation = [
        float(value) for value in header_values(header_deep(header, "ImageOrientationPatient"))
    ]
    axial = len(orientation) != 6 or abs(orientation[0] * orientation[4]) > 0.7
    if not axial or re.search(_REFORMATTED, text):
        return "reformatted"
    return "ct"


def stated_breath(text: str) -> Breath | None:
    """Tell the breath by the words of a header, in small letters; None where they do not tell."""
    inspired, expired = re.search(_INSPIRATION, text), re.search(_EXPIRATION, text)
    if bool(inspired) == bool(expired):
        return None
    return "inspiration" if inspired else "expiration"


def _contrast(header: Dataset, text: str) -> bool | None:
    if str(header_deep(header, "ContrastBolusAgent") or "").strip():
        return True
    if re.search(_NATIVE, text):
        return False
    return True if re.search(_CONTRAST, text) else None


def _kernel(header: Dataset) -> str:
    return "/".join(str(value) for value in header_values(header_deep(header, "ConvolutionKernel")))


def _heights_mm(header: Dataset) -> list[float]:
    """Positions of its slices along the patient's long axis."""
    groups = list(header.get("PerFrameFunctionalGroupsSequence") or [header])
    places = [
        header_values(in_group([group], "PlanePositionSequence", "ImagePositionPatient"))
        for group in groups
    ]
    return [round(float(place[2]), 3) for place in places if len(place) == 3]
