"""Points and lines of 3D Slicer: markups files (``.mrk.json``)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.io.json_files import read_json, shown
from lungperfusion.naming import named
from lungperfusion.volume import lps_from_ras

_WHAT = "a Slicer markups file (.mrk.json)"

COORDINATE_SYSTEMS = {"ras": "RAS", "lps": "LPS", "0": "RAS", "1": "LPS"}
"""As text in new files, as numbers in those of Slicer before 4.11 (vtkMRMLStorageNode)."""

MILLIMETRES = ("", "mm")


@dataclass(frozen=True, eq=False)
class Markup:
    """One list of points or one line."""

    name: str
    type: str
    labels: tuple[str, ...]
    points_ras_mm: NDArray[np.float64]
    """Placed control points, shape (n, 3)."""


def read_markups(path: Path) -> tuple[Markup, ...]:
    """Read all markups of a file, in RAS whatever its coordinate system.

    Control points that were not placed (``positionStatus``) are left out.

    Parameters
    ----------
    path
        JSON as Slicer saves it.

    Raises
    ------
    InputError
        If the file holds no markups, a coordinate system or unit that is not known, or a point
        without three finite coordinates.

    """
    path = Path(path)
    content = read_json(path, _WHAT)
    listed = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise InputError(f"{named(path.name)} holds no Slicer markups; save it as .mrk.json")
    return tuple(_markup(entry, path) for entry in listed)


def _markup(entry: Mapping[str, Any], path: Path) -> Markup:
    system = str(entry.get("coordinateSystem", "LPS")).strip().lower()
    if system not in COORDINATE_SYSTEMS:
        raise InputError(
            f"{named(path.name)}: the coordinate system is RAS or LPS, not "
            f"{shown(entry.get('coordinateSystem'))}"
        )
    unit = str(entry.get("coordinateUnits") or "").strip().lower()
    if unit not in MILLIMETRES:
        raise InputError(f"{named(path.name)}: coordinates in mm are expected, not {shown(unit)}")
    controls = entry.get("controlPoints") or []
    if not isinstance(controls, list) or not all(isinstance(c, dict) for c in controls):
        raise InputError(f"{named(path.name)} holds markups without control points; save it again")
    placed = [c for c in controls if c.get("positionStatus", "defined") == "defined"]
    points = np.array([_position(c.get("position"), path) for c in placed]).reshape(-1, 3)
    if COORDINATE_SYSTEMS[system] == "LPS":
        points = lps_from_ras(points)  # its own inverse
    return Markup(
        name=str(entry.get("name") or ""),
        type=str(entry.get("type") or ""),
        labels=tuple(str(c.get("label") or "") for c in placed),
        points_ras_mm=points,
    )


def _position(value: Any, path: Path) -> list[float]:
    try:
        numbers = [float(number) for number in value]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise InputError(
            f"a point of {named(path.name)} has no three finite coordinates: {shown(value)}"
        )
    return numbers
