"""``lungperfusion check SCAN``: what a scan is and which analyses it suits."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lungperfusion.acquisition import Acquisition
from lungperfusion.batch.dicom_tree import stated_breath
from lungperfusion.checking import (
    Remark,
    ScanCheck,
    Suitability,
    check_ct,
    check_map,
    check_segmentation,
)
from lungperfusion.checking_series import check_series
from lungperfusion.errors import InputError, MissingTimesError
from lungperfusion.io import LabelImage, Scan, read_ct, read_labelmap, read_map
from lungperfusion.io.dicom.units import UNSPECIFIED, stated_unit
from lungperfusion.io.plausibility import require_hounsfield
from lungperfusion.io.time_series import TimedScan, read_time_series
from lungperfusion.naming import without_names
from lungperfusion.progress import Progress, part
from lungperfusion.terminal import show
from lungperfusion.volume import Volume

MOST_LABELS = 150
"""Segmentations of the whole body have up to 117 structures; images have more values."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "scan",
        type=Path,
        metavar="SCAN",
        help="DICOM folder, zip of one, or NRRD, NIfTI, MHA file of a CT or a first-pass series",
    )
    parser.add_argument("--series", metavar="UID", help="DICOM series to read, of several")
    parser.add_argument("--json", action="store_true", help="write the same as one line of JSON")


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Read the scan and say what it is on standard output."""
    checked = check_scan(arguments.scan, series_uid=arguments.series, progress=progress)
    if arguments.json:
        text = json.dumps(asdict(checked), ensure_ascii=False)
    else:
        text = "\n".join(checked.sentences)
    return 0 if show(text) else 1


def check_scan(path: Path, *, series_uid: str | None, progress: Progress) -> ScanCheck:
    """Check a scan in files, be it a CT, a first-pass series, a map or a segmentation.

    Raises
    ------
    InputError
        If no reader can read it: what that of CT says.

    """
    try:
        scan = read_ct(path, series_uid=series_uid, progress=part(progress, 0.0, 0.7))
    except InputError as refusal:
        labels = _labels(path)
        if labels is not None:
            names = {segment.label: segment.name for segment in labels.segments}
            return check_segmentation(labels.geometry, names)
        series = _series(path, series_uid)
        if series is not None:
            warnings = [without_names(text) for text in series.warnings]
            return check_series(series.series, series.acquisition, warnings=warnings)
        image = _map(path, series_uid)
        if image is None:
            raise
        return check_map(
            image.volume,
            image.acquisition,
            unit=_unit(image),
            why_no_ct=without_names(str(refusal)),
            gates=image.gates,
        )
    progress(0.7, "looking at the scan")
    words = " ".join((*scan.acquisition.image_type, scan.identifiers.get("SeriesDescription", "")))
    checked = check_ct(
        scan.volume,
        scan.acquisition,
        breath=stated_breath(re.sub(r"[_\-]+", " ", words).lower()),
        gates=scan.gates,
        warnings=[without_names(text) for text in scan.warnings],
    )
    progress(1.0, "scan checked")
    return checked


def check_of(record: Mapping[str, Any]) -> ScanCheck:
    """Take a check back from the JSON of the command."""
    remarks = tuple(Remark(**remark) for remark in record["remarks"])
    suits = (Suitability(**{**one, "reasons": tuple(one["reasons"])}) for one in record["suits"])
    return ScanCheck(remarks, tuple(suits), record["refusal"])


def check_volume(
    image: Volume, acquisition: Acquisition | None = None, *, unit: str | None
) -> ScanCheck:
    """Check an image that is open already by its header and grid: the lungs are not looked for.

    Parameters
    ----------
    image
        The image, taken for a CT unless its unit or its values speak against it.
    acquisition
        Technical facts as far as known.
    unit
        Unit of its values where it is stated.

    """
    try:
        if unit not in (None, "HU"):
            raise InputError(f"the values are in {unit}")
        require_hounsfield(image.array, image.valid)
    except InputError as refusal:
        why = without_names(str(refusal))
        return check_map(image, acquisition, unit=unit, why_no_ct=why)
    return check_ct(image, acquisition, quick=True)


def _labels(path: Path) -> LabelImage | None:
    """Segmentation in a file or folder; None where it is none."""
    try:
        labels = read_labelmap(path)
    except InputError:
        return None
    return labels if 0 < len(labels.segments) <= MOST_LABELS else None


def _series(path: Path, series_uid: str | None) -> TimedScan | None:
    """First-pass series; None where it is no such thing.

    Raises
    ------
    MissingTimesError
        If there are frames without times.

    """
    try:
        return read_time_series(path, series_uid=series_uid)
    except MissingTimesError:
        raise
    except InputError:
        return None


def _map(path: Path, series_uid: str | None) -> Scan | None:
    """Image that is no CT in HU; None where it cannot be read either."""
    for unit in ("mg/mL", "HU"):
        try:
            return read_map(path, unit=unit, series_uid=series_uid)
        except InputError:
            continue
    return None


def _unit(image: Scan) -> str | None:
    """Give the unit that the header states; words that are no known unit as they stand."""
    stated = image.acquisition.rescale_unit or ""
    if stated in UNSPECIFIED:
        return None
    known = stated_unit(stated)
    return stated if known is None else known.unit
