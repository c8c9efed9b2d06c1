"""Deficits and excess of perfusion, per volume of lung and per mass of tissue.

Blood volume is the surest of the maps, so it is the one that findings are told by: below half and
above one and a half times the median of the patient's own lungs.  Per 100 mL denser lung always
holds more blood; what is a finding per 100 g, too, is one of the perfusion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lungperfusion.dynamic.first_pass import FirstPass
from lungperfusion.dynamic.maps import EDGE_MM, SMOOTHING_MM, FlowMaps
from lungperfusion.dynamic.region_flow import Coverage
from lungperfusion.iodine.defects import Defect, Defects, find_defects, formed, placed, redrawn
from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.morphology import dilated, pieces
from lungperfusion.terms import TISSUES, Region
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume

Kind = Literal["deficit", "excess"]
Per = Literal["100 mL", "100 g"]

DEFICIT_BELOW, EXCESS_ABOVE = 0.5, 1.5
"""Shares of the median of the patient's measured lung."""
MINIMAL_VOLUME_ML = 2.0
"""Smaller islands are noise of the maps."""
BESIDE_MM = 10.0
"""Lung this close to ground glass is beside it, as in the source's figure of blood flow in or
adjacent to ground glass (thrombosis press release, Figure 10)."""

LABELS: dict[tuple[Kind, Per], str] = {
    ("deficit", "100 mL"): "flow_deficit",
    ("excess", "100 mL"): "flow_excess",
    ("deficit", "100 g"): "flow_deficit_per_mass",
    ("excess", "100 g"): "flow_excess_per_mass",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Findings:
    """One kind of findings by one measure."""

    kind: Kind
    per: Per
    defects: Defects
    """As `iodine.defects` describes them; ``iodine_hu`` is the mean enhancement."""
    beside_glass: Mapping[int, float]
    """Share of each finding in or beside ground glass, by label."""
    level: float
    """The patient's median, mL per 100 mL or per 100 g."""

    @property
    def mask(self) -> Mask:
        """Voxels of any finding."""
        return self.defects.mask


def find_findings(first_pass: FirstPass, maps: FlowMaps) -> tuple[Findings, ...]:
    """Find deficits and excess, both per 100 mL and per 100 g."""
    smooth, sharp = maps.volumes["blood_volume"].array, maps.unsmoothed_blood_volume.array
    density = first_pass.density_g_ml
    near = dilated(
        first_pass.tissues.mask(Region.GROUND_GLASS),
        BESIDE_MM,
        first_pass.frames.geometry.spacing_kji_mm,
    )
    maps_per: dict[Per, tuple[NDArray[np.floating], NDArray[np.floating]]] = {
        "100 mL": (smooth, sharp),
        "100 g": (smooth / density, sharp / density),
    }
    kinds: tuple[Kind, ...] = ("deficit", "excess")
    return tuple(
        _findings(kind, per, smoothed, unsmoothed, first_pass, near)
        for per, (smoothed, unsmoothed) in maps_per.items()
        for kind in kinds
    )


def finding_labelmap(findings: tuple[Findings, ...], per: Per, geometry: Geometry) -> Labelmap:
    """Deficits and excess by one measure as two segments."""
    own = [entry for entry in findings if entry.per == per]
    array = np.zeros(own[0].mask.shape, np.uint8)
    names = {}
    for value, entry in enumerate(own, start=1):
        array[entry.mask] = value
        names[value] = LABELS[entry.kind, per]
    return Labelmap(array, geometry, names)


FINDING_COLUMNS = (
    *("finding", "kind", "per", "region", "volume_ml", "centroid_r_mm", "centroid_a_mm"),
    *("centroid_s_mm", "relative_blood", "density_hu", "parenchyma", "shape", "pleural_share"),
    *("depth_mm", "beside_ground_glass_share"),
)


def finding_rows(findings: tuple[Findings, ...]) -> tuple[Mapping[str, object], ...]:
    """Rows of the list of findings, by kind, largest first."""
    return tuple(
        {
            "finding": entry.label,
            "kind": kind.kind,
            "per": kind.per,
            **placed(entry),
            "relative_blood": entry.relative_iodine,
            **formed(entry),
            "beside_ground_glass_share": kind.beside_glass[entry.label],
        }
        for kind in findings
        for entry in kind.defects.found
    )


def finding_measurements(
    findings: tuple[Findings, ...], first_pass: FirstPass, coverage: Coverage
) -> tuple[Measurement, ...]:
    """Share of each region that is a deficit or an excess."""
    rows = []
    for entry in findings:
        suffix = "" if entry.per == "100 mL" else "_per_mass"
        name = f"flow_{entry.kind}_share{suffix}"
        for region in (*first_pass.regions.names, *TISSUES):
            mask = first_pass.mask(region)
            reason = coverage.missing_reason(region)
            if not mask.any() and not reason:
                reason = "nothing of it was measured"
            if reason:
                rows.append(missing(region, name, reason))
                continue
            share = 100 * np.count_nonzero(mask & entry.mask) / np.count_nonzero(mask)
            rows.append(
                measured(
                    region, name, share, entry.defects.method, caution=coverage.caution(region)
                )
            )
    return tuple(rows)


def _findings(
    kind: Kind,
    per: Per,
    smoothed: NDArray[np.floating],
    unsmoothed: NDArray[np.floating],
    first_pass: FirstPass,
    near: Mask,
) -> Findings:
    inside, geometry = first_pass.measurable, first_pass.frames.geometry
    level = float(np.median(smoothed[inside])) if inside.any() else float("nan")
    sign, share = (1, DEFICIT_BELOW) if kind == "deficit" else (-1, EXCESS_ABOVE)
    limit = sign * share * level  # an excess is below it with the other sign
    below = (sign * smoothed < limit) & inside
    labels = pieces(below, geometry, at_least_ml=MINIMAL_VOLUME_ML).astype(np.uint16)
    sharp = Volume((sign * unsmoothed).astype(np.float32), geometry, "mL")
    drawn = redrawn(
        labels,
        sharp.crop,
        first_pass.interior(EDGE_MM),
        lambda _: limit,
        first_pass.regions,
        blur_mm=SMOOTHING_MM,
    )
    chosen = pieces(drawn & inside, geometry, at_least_ml=MINIMAL_VOLUME_ML) > 0
    relative = Volume((smoothed / np.float32(level or 1)).astype(np.float32), geometry, "HU")
    sought = find_defects(
        relative,
        inside,
        first_pass.regions,
        ct=Volume(first_pass.density_hu, geometry, "HU"),
        reviewed=chosen,
    )
    words = "< 50" if kind == "deficit" else "> 150"
    method = f"blood volume per {per} {words} % of the patient's median {level:.3g} mL"
    found = tuple(_relative_to_median(entry) for entry in sought.found)
    beside = {entry.label: float(near[sought.labels == entry.label].mean()) for entry in found}
    return Findings(
        kind=kind,
        per=per,
        defects=replace(sought, method=method, found=found),
        beside_glass=beside,
        level=level,
    )


def _relative_to_median(entry: Defect) -> Defect:
    """Take the mean of a map in units of the median for what the finding is relative to."""
    return replace(entry, relative_iodine=entry.iodine_hu)
