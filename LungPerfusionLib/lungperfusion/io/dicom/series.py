"""Choosing the one series to read, or saying which there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from lungperfusion.errors import InputError
from lungperfusion.io import stacking
from lungperfusion.io.dicom.header import header_deep, header_number, header_values
from lungperfusion.io.dicom.sources import DicomFile
from lungperfusion.io.folders import in_words
from lungperfusion.naming import named
from lungperfusion.quality import Gate


def choose_series(
    files: Sequence[DicomFile], series_uid: str | None, only_ct: bool
) -> tuple[list[DicomFile], list[str]]:
    """Files of the series to read, and what to tell the user about the choice."""
    series: dict[str, list[DicomFile]] = {}
    for file in files:
        series.setdefault(file.series_uid, []).append(file)
    if series_uid is not None:
        if series_uid not in series:
            raise InputError(
                f"there is no series {named(series_uid)} among {named(_listing(series))}"
            )
        slices = [
            file
            for file in series[series_uid]
            if file.frame_count and not file.is_localizer and (file.is_ct_image or file.is_grey)
        ]
        if not slices:
            raise InputError(
                f"series {named(series_uid)} holds no slices "
                f"({named(_describe(series[series_uid]))}); choose a series of axial images"
            )
        if only_ct:
            ct = [file for file in slices if file.modality == "CT"]
            if not ct:
                raise InputError(
                    f"series {named(series_uid)} is {named(slices[0].modality)}, not CT; choose a "
                    "CT series"
                )
            slices = [file for file in ct if file.is_ct_image] or ct
        return slices, _left_out_of_series(series[series_uid], slices)

    usable = {}
    for uid, members in series.items():
        slices = [file for file in members if _usable(file, only_ct)]
        if sum(file.frame_count for file in slices) >= stacking.MIN_SLICES:
            usable[uid] = slices
    if not usable:
        raise InputError(_why_none(series, only_ct))
    if len(usable) == 1:
        ((uid, slices),) = usable.items()
        return slices, _left_out_of_series(series[uid], slices)
    originals = {
        uid: members for uid, members in usable.items() if "ORIGINAL" in members[0].image_type[:1]
    }
    if only_ct and len(originals) == 1:
        left_out = len(usable) - 1
        return next(iter(originals.values())), [
            f"{left_out} derived CT series beside the only original one left out; choose one by "
            "its series UID if it was meant"
        ]
    raise InputError(
        f"there are {len(usable)} image series; choose one with --series UID: "
        f"{named(_listing(usable))}"
    )


GAPS = "missing between others"


def completeness_gate(
    first: DicomFile, read: int, left_out: Mapping[str, int], *, gaps: int = 0
) -> Gate:
    """Check whether slices are missing, also at the ends, where no gap shows it.

    Parameters
    ----------
    first
        A file of the series.
    read
        Number of its slices.
    left_out
        Entries beside them that could not be read or are no slices of it, by kind.
    gaps
        Number of slices that there is room for between the others.

    """
    announced = None
    if first.modality != "MR":  # where it counts all parts of the complex signal
        announced = header_number(first.header, "ImagesInAcquisition")
    unknown = max(0, gaps - sum(left_out.values()))  # the rest is in the gaps
    left_out = {**left_out, GAPS: unknown} if unknown else left_out
    lost = sum(left_out.values())
    expected = max(read + lost, int(announced or 0))
    limit = "all slices"
    if expected == read:
        return Gate(
            id="complete_series",
            verdict="pass",
            message=f"All {read} slices that were found were read.",
            value=1.0,
            unit="1",
            limit=limit,
        )
    why = in_words(left_out) or "by the header's Images in Acquisition"
    return Gate(
        id="complete_series",
        verdict="warn",
        message=f"{read} of {expected} expected slices were read ({why}): the scan may be cut "
        "short at its ends or hold gaps; export the complete series.",
        value=read / expected,
        unit="1",
        limit=limit,
    )


def other_images(members: Sequence[DicomFile], chosen: Sequence[DicomFile]) -> dict[str, int]:
    """Count images of other modalities that stand in a series as if they were its slices."""
    own = {file.modality for file in chosen}
    uids = {file.series_uid for file in chosen}
    kinds = Counter(
        f"{file.modality} image(s)"
        for file in members
        if file.series_uid in uids
        and file.modality not in own
        and file.frame_count
        and file.is_grey
        and not file.is_localizer
    )
    return dict(kinds)


def _left_out_of_series(members: Sequence[DicomFile], slices: Sequence[DicomFile]) -> list[str]:
    """Say which other objects share the series UID."""
    kept = {id(file) for file in slices}
    kinds = Counter(_object_kind(file) for file in members if id(file) not in kept)
    if not kinds:
        return []
    words = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return [f"objects of the same series that are no slices were left out: {words}"]


def _object_kind(file: DicomFile) -> str:
    if not file.frame_count:
        return f"{file.modality} object(s)"
    if file.is_localizer:
        return "localizer(s)"
    if not file.is_grey:
        return "colour picture(s)"
    return f"{file.modality} image(s) that are no CT slices"


def _usable(file: DicomFile, only_ct: bool) -> bool:
    if not file.frame_count or file.is_localizer:
        return False
    if only_ct:
        return file.is_ct_image
    return file.is_grey


def _why_none(series: dict[str, list[DicomFile]], only_ct: bool) -> str:
    members = [file for files in series.values() for file in files]
    images = [file for file in members if file.frame_count]
    if not images:
        kinds = ", ".join(sorted({file.modality for file in members}))
        return f"the DICOM files hold no images ({named(kinds)}); give a CT series"
    if not any(file.is_grey for file in images):
        return "the DICOM images are colour pictures; give the original CT slices"
    if only_ct and not any(file.modality == "CT" for file in images):
        kinds = ", ".join(sorted({file.modality for file in images}))
        return f"the DICOM images are {named(kinds)}, not CT; give a CT series"
    if all(file.is_localizer for file in images):
        return "the only CT images are localizers (scouts); give the series of slices"
    if only_ct and not any(file.is_ct_image for file in images):
        return (
            "the CT files are secondary captures or reports, not CT images; "
            "give the original CT slices"
        )
    most = max(
        sum(file.frame_count for file in files if _usable(file, only_ct))
        for files in series.values()
    )
    return (
        f"the longest series has {most} slice(s); expected a volume of at least "
        f"{stacking.MIN_SLICES}: give the whole series"
    )


def _listing(series: dict[str, list[DicomFile]]) -> str:
    """Series with technical facts only: descriptions may name the patient."""
    return "; ".join(f"{uid} ({_describe(series[uid])})" for uid in sorted(series))


def _describe(files: Sequence[DicomFile]) -> str:
    header = files[0].header
    facts = [files[0].modality, f"{sum(file.frame_count for file in files)} images"]
    if any(file.is_localizer for file in files):
        facts.append("localizer")
    for keyword, form in (
        ("SliceThickness", "{} mm thick"),
        ("ConvolutionKernel", "kernel {}"),
        ("KVP", "{} kV"),
    ):
        values = header_values(header_deep(header, keyword))
        if values:
            facts.append(form.format("/".join(str(value) for value in values)))
    if files[0].image_type:
        facts.append("type " + "\\".join(files[0].image_type))
    return ", ".join(facts)
