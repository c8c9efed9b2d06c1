"""The user's corrections, as the report prints them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

from lungperfusion.errors import InputError
from lungperfusion.naming import named
from lungperfusion.results.report import format_value
from lungperfusion.results.section import Section
from lungperfusion.terms import MEASURES, title


def corrections_section(path: Path) -> Section:
    """Read an audit trail and write it as a table: when, what, how much, with which effect.

    Parameters
    ----------
    path
        JSON list of entries as `lungperfusion.mrml.add_to_trail` keeps them.

    Raises
    ------
    InputError
        If the file is no such list.

    """
    with _refused_unless_trail(path):
        rows = "".join(_row(entry) for entry in _entries(path))
    return Section(
        title="Corrections by the reader",
        html="<table><thead><tr><th>Time</th><th>What</th><th>Change</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>",
    )


def corrected_names(path: Path) -> tuple[str, ...]:
    """Segments that the trail says were changed and not restored, sorted.

    Parameters and errors as of `corrections_section`.
    """
    changed: dict[str, set[str]] = {}
    with _refused_unless_trail(path):
        for entry in _entries(path):
            if "segment" in entry:
                changed.setdefault(str(entry.get("segmentation")), set()).add(str(entry["segment"]))
            elif entry.get("restored"):
                changed.pop(str(entry["segmentation"]), None)
            elif "discarded" in entry:
                for name in entry["discarded"]:
                    changed.pop(str(name), None)
    return tuple(sorted(set().union(*changed.values())))


def _entries(path: Path) -> list[Mapping[str, Any]]:
    return list(json.loads(path.read_text(encoding="utf-8")))


@contextmanager
def _refused_unless_trail(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{named(path.name)} is no audit trail of corrections: {named(error)}"
        ) from error


def _row(entry: Mapping[str, Any]) -> str:
    what, change = _words(entry)
    time = str(entry["time"]).replace("T", " ")[:19]
    return f"<tr><td>{escape(time)}</td><td>{escape(what)}</td><td>{escape(change)}</td></tr>"


def _words(entry: Mapping[str, Any]) -> tuple[str, str]:
    if "segment" in entry:
        return title(entry["segment"]), (
            f"+{entry['voxels_added']} voxels ({entry['ml_added']:.2f} mL), "
            f"−{entry['voxels_removed']} voxels ({entry['ml_removed']:.2f} mL)"
        )
    if "recomputed" in entry:
        changed = "; ".join(_change(row) for row in entry["changes"])
        return f"Recomputed with corrected {', '.join(entry['recomputed'])}", (
            changed or "no value changed"
        )
    if "marked" in entry:
        return str(entry["marked"]), "placed, moved or scored"
    if entry.get("restored"):
        return f"Original {title(entry['segmentation']).lower()} restored", ""
    if "opinion" in entry:
        return f"{title(entry['finding'])}, row {entry['row']}", f"{entry['opinion']} by the reader"
    if "discarded" in entry:
        return f"Corrections of {', '.join(entry['discarded'])} discarded", ""
    raise KeyError("an entry without a known change")


def _change(row: Mapping[str, Any]) -> str:
    before, after = (
        "–" if row[key] is None else format_value(float(row[key]), row["unit"])
        for key in ("before", "after")
    )
    unit = "" if row["unit"] == "1" else f" {row['unit']}"
    where = title(row["region"]).lower()
    return f"{MEASURES[row['measure']].title} ({where}) {before} → {after}{unit}"
