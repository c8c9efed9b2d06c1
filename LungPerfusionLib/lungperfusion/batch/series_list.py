"""The list of series that goes beside a proposed manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lungperfusion.batch.dicom_tree import Other, Series


def described(
    series: Iterable[Series], others: Iterable[Other] = (), remarks: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of the list of series: technical facts alone.

    Parameters
    ----------
    series, others
        As `read_tree` gives them.
    remarks
        What to say of each series, by its UID.

    """
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
            "remark": (remarks or {}).get(entry.uid, ""),
        }
    for other in others:
        yield {
            "series": "",
            "path": other.path,
            "kind": other.kind,
            "images": other.images or "",
            "remark": other.remark,
        }


SERIES_COLUMNS = (
    *("series", "case", "path", "kind", "breath", "contrast", "kernel", "sharpness", "kv"),
    *("thickness_mm", "images", "length_mm", "remark"),
)
"""Columns of the list of series."""
