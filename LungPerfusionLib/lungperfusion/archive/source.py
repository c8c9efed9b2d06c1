"""The series that was measured: whose it is, where its slices lie, and what names them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid
from pydicom.valuerep import DA, TM

from lungperfusion.errors import InputError
from lungperfusion.io.dicom.frames import Frame
from lungperfusion.io.dicom.header import header_text, header_values, warnings_off
from lungperfusion.io.dicom.sources import is_dicom
from lungperfusion.io.dicom.volumes import Series, read_series
from lungperfusion.io.plausibility import require_hounsfield
from lungperfusion.io.scan import Scan
from lungperfusion.naming import named
from lungperfusion.progress import Progress, ignore

PATIENT = (
    *("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("PatientAge", "PatientSize", "PatientWeight"),
)
STUDY = (
    *("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "AccessionNumber"),
    *("ReferringPhysicianName", "StudyDescription"),
)
"""What of the source's patient and study every object repeats (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2)."""

REQUIRED = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)
"""Attributes that an object has even when nobody knows them (type 2)."""

_SEXES = ("M", "F", "O")
_UNKNOWN_DATE, _UNKNOWN_TIME = "19000101", "000000"


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """The series that was measured, as objects refer to it.

    Parameters
    ----------
    scan
        The image with its hash.
    references
        Headers of its files with nothing but what places and names them, from low to high along
        the slices' normal; one for every file.
    identity
        Patient and study as every object repeats them.
    frame_of_reference_uid
        Coordinate system; made from the series UID where the series names none.
    date, time
        When it was acquired, as ``YYYYMMDD`` and ``HHMMSS``.
    is_removed
        Whether identifiers were taken out.
    is_annotated
        Whether its pixels may show who the patient is (Burned In Annotation is YES).

    """

    scan: Scan
    references: tuple[Dataset, ...]
    identity: Dataset
    frame_of_reference_uid: str
    date: str
    time: str
    is_removed: bool = False
    is_annotated: bool = False

    @property
    def study_uid(self) -> str:
        """Study Instance UID."""
        return str(self.identity.StudyInstanceUID)


def read_source(
    path: Path, *, series_uid: str | None = None, progress: Progress = ignore
) -> SourceSeries:
    """Read the CT series that results were measured on.

    Parameters
    ----------
    path
        Folder, zip or one file of the series.
    series_uid
        Which series, of several.

    Raises
    ------
    InputError
        If it is no CT series in DICOM, or names no study.

    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"there is no file or folder {named(path)}; check the spelling")
    if path.is_file() and not _may_be_dicom(path):
        raise InputError(
            f"{named(path.name)} is no DICOM; the source is the series that the results were "
            "measured on, as folder, zip or one of its files"
        )
    series = read_series(path, unit="HU", only_ct=True, series_uid=series_uid, progress=progress)
    require_hounsfield(series.scan.volume.array, series.scan.volume.valid)
    with warnings_off():
        return source_of(series)


def source_of(series: Series) -> SourceSeries:
    """Take what objects need of a series that was read.

    Raises
    ------
    InputError
        If its headers name no study, or no slice of its own.

    """
    headers = _headers(series.frames)
    first = headers[0]
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not _is_uid(header_text(first, keyword)):
            raise InputError(
                f"the source has no {'Study' if keyword.startswith('Study') else 'Series'} "
                "Instance UID, or one that is none (digits and points, up to 64), so nothing could "
                "be filed beside it; export the original series"
            )
    _require_one_owner(headers)
    uids = [str(header.get("SOPInstanceUID") or "") for header in headers]
    if not all(map(_is_uid, uids)) or len(set(uids)) < len(uids):
        raise InputError(
            "slices of the source have no SOP Instance UID of their own, so nothing can refer to "
            "them; export the original series"
        )
    if len(headers) > 1 and any("PerFrameFunctionalGroupsSequence" in h for h in headers):
        raise InputError(
            "the source lies in several multi-frame files, which no object can refer to as one "
            "image; export it as single slices, or as one enhanced CT"
        )
    frame_uid = header_text(first, "FrameOfReferenceUID") or ""
    if not _is_uid(frame_uid):
        series_uid = str(first.SeriesInstanceUID)
        frame_uid = generate_uid(entropy_srcs=["frame of reference", series_uid])
    date, time = _when(first)
    return SourceSeries(
        scan=series.scan,
        references=_references(headers, frame_uid, series.scan.volume.geometry.spacing_kji_mm[0]),
        identity=_identity(first),
        frame_of_reference_uid=str(frame_uid),
        date=date,
        time=time,
        is_annotated=any(header_text(h, "BurnedInAnnotation") == "YES" for h in headers),
    )


def require_patient(source: SourceSeries) -> None:
    """Refuse a source without patient, whose objects no archive could file."""
    if not str(source.identity.PatientID or "").strip():
        raise InputError(
            "the source names no patient (Patient ID is empty), so no archive could file what is "
            "made from it; give the original series, or add --anonymise"
        )


def _is_uid(text: str | None) -> bool:
    """Whether a text can be written as UID; leading zeros, which scanners write, are let pass."""
    return text is not None and re.fullmatch(r"[0-9.]{1,64}", text) is not None


def _require_one_owner(headers: Sequence[Dataset]) -> None:
    """Refuse slices that were put together from several patients, studies or coordinate systems."""
    for keyword, words in (
        ("PatientID", "Patient IDs"),
        ("StudyInstanceUID", "studies"),
        ("FrameOfReferenceUID", "frames of reference"),
    ):
        if len({header_text(header, keyword) for header in headers}) > 1:
            raise InputError(
                f"slices of the source name different {words}, so nobody can tell where to file "
                "what is made from them; export the original series"
            )


def _may_be_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(132)
    return head[:2] == b"PK" or is_dicom(head)


def _headers(frames: Sequence[Frame]) -> list[Dataset]:
    """Give the header of each file once, in the order of the slices."""
    return list({id(frame.file): frame.file.header for frame in frames}.values())


def _identity(header: Dataset) -> Dataset:
    """Patient and study of the source, what is malformed left empty."""
    identity = Dataset()
    for keyword in REQUIRED:
        setattr(identity, keyword, "")
    trial = [e.keyword for e in header if e.keyword.startswith("ClinicalTrial") and e.VR != "SQ"]
    for keyword in (*PATIENT, *STUDY, *trial):
        value = header.get(keyword)
        if value in (None, "") or not _is_sound(keyword, value):
            continue
        identity[keyword] = DataElement(header[keyword].tag, header[keyword].VR, value)
    return identity


def _is_sound(keyword: str, value: Any) -> bool:
    """Whether a value may be written again; scanners and converters write any."""
    try:
        if keyword == "PatientSex":
            return value in _SEXES
        if keyword == "PatientAge":
            return re.fullmatch(r"\d{3}[DWMY]", str(value)) is not None
        if keyword in ("PatientSize", "PatientWeight"):
            return math.isfinite(float(value))
        if keyword.endswith("Date"):
            return len(str(value)) == 8 and DA(str(value)) is not None
        if keyword.endswith("Time"):
            return TM(str(value)) is not None
    except (ValueError, TypeError):
        return False
    return True


def _when(header: Dataset) -> tuple[str, str]:
    """Date and time of the acquisition, else of what comes nearest."""
    for kind in ("Acquisition", "Content", "Series", "Study"):
        date = header.get(f"{kind}Date")
        if date and _is_sound("StudyDate", date):
            time = header.get(f"{kind}Time")
            sound = time and _is_sound("StudyTime", time)
            digits = str(time).replace(":", "").partition(".")[0] if sound else ""
            return str(date), digits.ljust(6, "0") if digits else _UNKNOWN_TIME
    return _UNKNOWN_DATE, _UNKNOWN_TIME


def _references(
    headers: Sequence[Dataset], frame_of_reference_uid: str, spacing_mm: float
) -> tuple[Dataset, ...]:
    """Headers of all files with what places and names them; slices are as thick as they are far."""
    references = tuple(_reference(header, frame_of_reference_uid) for header in headers)
    for keyword in ("ImageOrientationPatient", "PixelSpacing"):  # equal but for rounding
        if keyword in references[0]:
            for reference in references[1:]:
                reference[keyword] = references[0][keyword]
    for reference in references:
        if "NumberOfFrames" not in reference and "SliceThickness" not in reference:
            reference.SliceThickness = f"{spacing_mm:.6g}"
    return references


def _reference(header: Dataset, frame_of_reference_uid: str) -> Dataset:
    """Header of one file with what places and names it, and nothing of the patient."""
    reference = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(reference, keyword, UID(str(header.get(keyword))))
    for keyword in REQUIRED:
        setattr(reference, keyword, "")
    reference.FrameOfReferenceUID = UID(str(frame_of_reference_uid))
    reference.PositionReferenceIndicator = ""
    reference.Modality = "CT"
    reference.ImageType = [str(value) for value in header_values(header.get("ImageType"))]
    for keyword in (
        *("Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
        *("SliceThickness", "NumberOfFrames", "LossyImageCompression"),
        *("LossyImageCompressionRatio", "LossyImageCompressionMethod"),
    ):
        if header.get(keyword) not in (None, ""):
            reference[keyword] = header[keyword]
    if "PerFrameFunctionalGroupsSequence" in header:
        _add_places(reference, header)
    return reference


def _add_places(reference: Dataset, header: Dataset) -> None:
    """Add what the functional groups of an enhanced image say of places."""
    wanted = ("PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence")
    shared = Dataset()
    groups = [*header.get("SharedFunctionalGroupsSequence", [])]
    frames = []
    for group in header.PerFrameFunctionalGroupsSequence:
        frame = Dataset()
        for keyword in wanted:
            if keyword in group:
                frame[keyword] = group[keyword]
        frames.append(frame)
    for keyword in wanted:
        holders = [group for group in (*groups, *frames) if keyword in group]
        if holders and keyword != "PlanePositionSequence":
            shared[keyword] = holders[0][keyword]
    reference.SharedFunctionalGroupsSequence = [shared]
    reference.PerFrameFunctionalGroupsSequence = frames
