"""A user's corrections: vessels erased or painted; the rest keeps its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.vessels.area import claim_territory, integral_area
from lungperfusion.vessels.centreline import Vessels, joined_vessels, trace_vessels
from lungperfusion.vessels.detection import VesselMap, blood_fraction
from lungperfusion.vessels.enhancement import enhance_vessels
from lungperfusion.vessels.sheets import sheet_excess_hu
from lungperfusion.volume import Labelmap, Mask, Volume, margin_voxels, widened

KEPT_SHARE = 0.5
"""A segment stays when at least this share of what was shown of it is in the user's mask."""
LEAST_PAINTED_MM3 = 3.0
"""Smaller strokes beside known vessels are outline, not vessels."""
STROKES_SHOWN = 5
"""Places that a warning about strokes without vessel lists."""
_MARGIN_MM = 8.0
_AROUND = np.ones((3, 3, 3), np.bool_)

CORRECTION_COLUMNS = (
    "action",
    "length_mm",
    "cross_section_mm2",
    "blood_ml",
    "r_mm",
    "a_mm",
    "s_mm",
)


@dataclass(frozen=True, eq=False)
class Correction:
    """Vessels after correction, and what changed.

    Parameters
    ----------
    vessel_map
        The corrected vessels.
    rows
        Vessels removed and added, with place and blood.
    warnings
        Strokes in which no vessel could be seen.

    """

    vessel_map: VesselMap
    rows: tuple[Mapping[str, Any], ...]
    warnings: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of ``rows``."""
        return CORRECTION_COLUMNS


def correct_vessels(vessel_map: VesselMap, ct: Volume, corrected: Labelmap) -> Correction:
    """Take a user's vessel mask into account; recompute only what it changes.

    Segments that were erased go with their blood.  Where something was painted, the scale space
    is computed anew in a box around it, without asking for more than the noise threshold that
    continues a vessel.  Density between the vessels stays as it was, so that untouched vessels
    keep their numbers.

    Parameters
    ----------
    vessel_map
        Vessels as found.
    ct
        The CT they were found in.
    corrected
        The user's vessels, on the grid of the CT; every label counts.

    """
    ct.geometry.require_same(corrected.geometry, what="corrected vessels")
    wanted = corrected.array[vessel_map.box] > 0
    vessels = vessel_map.vessels
    spacing = np.asarray(vessel_map.geometry.spacing_kji_mm)
    place = np.rint(vessels.position_mm / spacing).astype(int)
    place = np.clip(place, 0, np.asarray(wanted.shape) - 1)

    def points_in(mask: Mask) -> NDArray[np.float64]:
        near = ndimage.binary_dilation(mask, structure=_AROUND)
        return np.bincount(vessels.segment, weights=near[tuple(place.T)], minlength=vessels.count)

    # What a wider neighbour hides in the label map was not shown, so it was not erased.
    kept = points_in(wanted) >= KEPT_SHARE * points_in(vessel_map.voxel_area_mm2 > 0)
    rows = _rows(vessel_map, ~kept, "removed")
    painted, warnings = _painted_vessels(vessel_map, ct, wanted)
    together = joined_vessels(vessels.keep(kept), painted)
    added = np.arange(together.count) >= int(kept.sum())
    changed = _measured_again(vessel_map, ct, together)
    if added.any():
        measured = together.with_radius_of(changed.measured.area_mm2).radius_mm
        radius = np.where(added[together.segment], measured, together.radius_mm)
        changed = _measured_again(vessel_map, ct, replace(together, radius_mm=radius))
    return Correction(changed, (*rows, *_rows(changed, added, "added")), warnings)


def _painted_vessels(
    vessel_map: VesselMap, ct: Volume, wanted: Mask
) -> tuple[Vessels, tuple[str, ...]]:
    """Axes in what the user painted beyond the known vessels."""
    spacing = vessel_map.geometry.spacing_kji_mm
    shown = (vessel_map.voxel_area_mm2 > 0) | ~vessel_map.lung
    strokes = ndimage.label(
        wanted & ~ndimage.binary_dilation(shown, structure=_AROUND), structure=_AROUND
    )[0]
    image = ct.array[vessel_map.box].astype(np.float32)
    painted = vessel_map.vessels.keep(np.zeros(vessel_map.vessels.count, np.bool_))
    empty: list[str] = []
    margin = margin_voxels(spacing, _MARGIN_MM)
    voxel_mm3 = vessel_map.geometry.voxel_volume_ml * 1000
    for number, box in enumerate(ndimage.find_objects(strokes), start=1):
        if box is None:
            continue
        stroke = strokes[box] == number
        if np.count_nonzero(stroke) * voxel_mm3 < LEAST_PAINTED_MM3:
            continue
        wide = widened(box, margin, strokes.shape)
        search = strokes[wide] == number
        search = ndimage.binary_dilation(search, structure=_AROUND)
        search[[0, -1]] = search[:, [0, -1]] = search[:, :, [0, -1]] = False
        ridges = enhance_vessels(image[wide], search, spacing).ridges
        ridges = replace(ridges, certain=np.ones(ridges.size, np.bool_))
        found = trace_vessels(ridges, spacing) if ridges.size > 1 else None
        if found is None or not found.count:
            middle = vessel_map.geometry.ras_from_ijk(
                [(side.start + side.stop - 1) / 2 for side in box[::-1]]
            )
            empty.append(f"R {middle[0]:.0f}, A {middle[1]:.0f}, S {middle[2]:.0f} mm")
            continue
        origin = np.array([side.start for side in wide]) * np.asarray(spacing)
        painted = joined_vessels(painted, replace(found, position_mm=found.position_mm + origin))
    return painted, _without_vessel(empty)


def _without_vessel(places: Sequence[str]) -> tuple[str, ...]:
    if not places:
        return ()
    shown = "; ".join(places[:STROKES_SHOWN])
    more = len(places) - STROKES_SHOWN
    rest = f"; and {more} more" if more > 0 else ""
    strokes, were = ("stroke", "it was") if len(places) == 1 else ("strokes", "they were")
    return (f"No vessel could be seen in the painted {strokes} at {shown}{rest}; {were} left out.",)


def _measured_again(vessel_map: VesselMap, ct: Volume, vessels: Vessels) -> VesselMap:
    """Blood of changed vessels with the density between the vessels as it was."""
    shape, spacing = vessel_map.geometry.shape, vessel_map.geometry.spacing_kji_mm
    territory = claim_territory(vessels, shape, spacing)
    blood = np.full(vessels.size, float(vessel_map.blood_hu_common))
    before = {
        tuple(point): hu
        for point, hu in zip(
            vessel_map.vessels.position_mm.tolist(), vessel_map.blood_hu.tolist(), strict=True
        )
    }
    for number, point in enumerate(vessels.position_mm.tolist()):
        blood[number] = before.get(tuple(point), vessel_map.blood_hu_common)
    fraction: NDArray[np.float64] = blood_fraction(
        ct.array[vessel_map.box],
        vessel_map.usable,
        territory,
        vessel_map.background,
        vessel_map.surface,
        blood,
        sheet_excess_hu(vessel_map.sheets, vessels, territory, vessel_map.background, spacing),
    )
    return replace(
        vessel_map,
        vessels=vessels,
        territory=territory,
        blood_fraction=fraction,
        measured=integral_area(
            vessels,
            territory,
            fraction,
            vessel_map.geometry.voxel_volume_ml * 1000,
            blur=vessel_map.measured.blur_mm,
        ),
        blood_hu=blood,
    )


def _rows(vessel_map: VesselMap, which: Mask, action: str) -> tuple[Mapping[str, Any], ...]:
    vessels, measured = vessel_map.vessels, vessel_map.measured
    ras = vessel_map.axis_ras_mm
    rows = []
    for segment in np.flatnonzero(which):
        points = np.flatnonzero(vessels.segment == segment)
        middle = ras[points[points.size // 2]]
        rows.append(
            {
                "action": action,
                "length_mm": float(vessels.segment_length_mm[segment]),
                "cross_section_mm2": float(measured.area_mm2[points].mean()),
                "blood_ml": float(measured.volume_ml[points].sum()),
                "r_mm": float(middle[0]),
                "a_mm": float(middle[1]),
                "s_mm": float(middle[2]),
            }
        )
    return tuple(rows)
