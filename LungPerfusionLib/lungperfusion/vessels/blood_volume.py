"""Blood volume by vessel size, per region: every part of vessel volume in one bin of area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.regions import RegionSet
from lungperfusion.terms import Region
from lungperfusion.terms.vessels import BIN_EDGES_MM2
from lungperfusion.vessels.area import distance_transform_area, scale_space_area
from lungperfusion.vessels.detection import VesselMap

Method = Literal["integral", "distance_transform", "scale_space"]

BIN_IDS = ("bv_below_1_25", "bv5", "bv5_10", "bv10")
CIP_BV5_MM2 = 5.0
CIP_TBV_MM2 = 90.0
"""Convention of the Chest Imaging Platform: BV5 from 0 to 5 mm2, TBV from 0 to 90 mm2."""

METHOD_WORDS: Mapping[Method, str] = {
    "integral": "cross-section by integral of density over blood minus lung",
    "distance_transform": "cross-section by distance to the half-maximum border",
    "scale_space": "cross-section by best scale of a Hessian scale space",
}


@dataclass(frozen=True, eq=False)
class BloodSample:
    """Volumes with the cross-section and place they belong to.

    Parameters
    ----------
    area_mm2
        Cross-section, shape (n,).
    volume_ml
        Blood, shape (n,); single entries may be negative by noise.
    index
        Flat voxel index on the grid of the vessel map.
    point
        Axis point it belongs to.

    """

    area_mm2: NDArray[np.float64]
    volume_ml: NDArray[np.float64]
    index: NDArray[np.int64]
    point: NDArray[np.int64]


def blood_sample(vessel_map: VesselMap, method: Method = "integral") -> BloodSample:
    """Blood of all vessels by one method.

    The integral gives every voxel's blood the area of its vessel; the published methods give
    area times length at every axis point.
    """
    vessels = vessel_map.vessels
    if method == "integral":
        owner = vessel_map.territory.owner
        volume = vessel_map.blood_fraction * vessel_map.geometry.voxel_volume_ml
        area = vessel_map.measured.area_mm2[owner]
        return BloodSample(area, volume, vessel_map.territory.index, owner)
    if method == "distance_transform":
        area = distance_transform_area(
            vessels,
            vessel_map.territory,
            vessel_map.blood_fraction,
            vessel_map.geometry.shape,
            vessel_map.geometry.spacing_kji_mm,
        )
    else:
        area = scale_space_area(vessels, vessel_map.geometry.spacing_kji_mm)
    volume = area * vessels.point_length_mm / 1000
    return BloodSample(area, volume, _axis_voxels(vessel_map), np.arange(vessels.size))


def _axis_voxels(vessel_map: VesselMap) -> NDArray[np.int64]:
    place = np.rint(
        vessel_map.vessels.position_mm / np.asarray(vessel_map.geometry.spacing_kji_mm)
    ).astype(np.int64)
    place = np.clip(place, 0, np.asarray(vessel_map.geometry.shape) - 1)
    return np.asarray(np.ravel_multi_index(tuple(place.T), vessel_map.geometry.shape))


def volume_by_area(
    sample: BloodSample, edges_mm2: Sequence[float] = BIN_EDGES_MM2
) -> NDArray[np.float64]:
    """Blood in mL between successive areas; an area on a border belongs to the bin above.

    Raises
    ------
    ValueError
        If the borders do not ascend.

    """
    edges = np.asarray(edges_mm2, dtype=np.float64)
    if edges.size < 2 or (np.diff(edges) <= 0).any():
        raise ValueError(f"borders must ascend, not {list(edges_mm2)}")
    number = np.searchsorted(edges, sample.area_mm2, side="right") - 1
    inside = (number >= 0) & (number < edges.size - 1)
    return np.bincount(number[inside], weights=sample.volume_ml[inside], minlength=edges.size - 1)


def in_region(sample: BloodSample, inside: NDArray[np.bool_]) -> BloodSample:
    """Part of the blood; ``inside`` is a flat mask on the grid of the vessel map."""
    chosen = inside[sample.index]
    return BloodSample(
        sample.area_mm2[chosen],
        sample.volume_ml[chosen],
        sample.index[chosen],
        sample.point[chosen],
    )


def measure_blood_volume(
    vessel_map: VesselMap,
    regions: RegionSet,
    *,
    methods: Sequence[Method] = ("integral",),
    body_surface_m2: float | None = None,
    point_class: NDArray[Any] | None = None,
    note: str = "",
) -> tuple[Measurement, ...]:
    """Blood volumes by vessel size in every region.

    Parameters
    ----------
    vessel_map
        Vessels of the CT.
    regions
        Regions on the grid of the CT.
    methods
        Estimators of cross-section; the integral is the default and always first.
    body_surface_m2
        Body surface area, for volumes per square metre.
    point_class
        ``"arterial"`` or ``"venous"`` for each axis point, where known.
    note
        Added to the method: density of blood and where it comes from.

    """
    samples = {method: blood_sample(vessel_map, method) for method in methods}
    length = vessel_map.vessels.point_length_mm
    axis = _axis_voxels(vessel_map)
    middle = axis[(vessel_map.vessels.first + vessel_map.vessels.last + 1) // 2]
    rows: list[Measurement] = []
    for region in regions.names:
        whole = regions.mask(region)
        litres = float(np.count_nonzero(whole)) * regions.geometry.voxel_volume_ml / 1000
        if not litres:
            reason = regions.why_missing(region)
            rows += [missing(region, id_, reason) for id_ in ("tbv", *BIN_IDS)]
            continue
        inside = whole[vessel_map.box].ravel()
        for method in methods:
            sample = in_region(samples[method], inside)
            words = f"{METHOD_WORDS[method]}{note}"
            suffix = "" if method == "integral" else f"_{method}"
            unseen = smallest_disc_mm2(vessel_map) if method == "distance_transform" else 0.0
            rows += _volume_rows(region, sample, words, suffix=suffix, unseen_mm2=unseen)
            if method != "integral":
                continue
            rows += _convention_rows(region, sample, words)
            rows += _per_size_rows(region, sample, words, litres, body_surface_m2)
            if point_class is not None:
                for side in ("arterial", "venous"):
                    part = _points(sample, point_class == side)
                    rows += _volume_rows(region, part, words, prefix=f"{side}_")
        metres = float(length[inside[axis]].sum()) / 1000
        words = "vessel axes by ridges of a Hessian scale space"
        rows += [
            measured(region, "vessel_count", float(inside[middle].sum()), words),
            measured(region, "vessel_length", metres, words),
            measured(region, "vessel_length_density", metres / litres, words),
        ]
    return tuple(rows)


def smallest_disc_mm2(vessel_map: VesselMap) -> float:
    """Smallest area of the distance transform: a disc that reaches the next voxel."""
    return float(np.pi * min(vessel_map.geometry.spacing_kji_mm) ** 2)


def _points(sample: BloodSample, wanted: NDArray[np.bool_]) -> BloodSample:
    chosen = wanted[sample.point]
    return BloodSample(
        sample.area_mm2[chosen],
        sample.volume_ml[chosen],
        sample.index[chosen],
        sample.point[chosen],
    )


def _volume_rows(
    region: Region,
    sample: BloodSample,
    words: str,
    *,
    prefix: str = "",
    suffix: str = "",
    unseen_mm2: float = 0.0,
) -> list[Measurement]:
    """Total, bins and shares; the total is the sum of the bins.

    Bins of smaller cross-sections than ``unseen_mm2`` are missing: the method cannot give any.
    """
    volumes = volume_by_area(sample)
    total = float(volumes.sum())
    rows = [measured(region, f"{prefix}tbv{suffix}", total, words)]
    reason = f"with these voxels the method gives no cross-section below {unseen_mm2:.1f} mm²"
    unseen = dict(zip(BIN_IDS, np.asarray(BIN_EDGES_MM2[1:]) <= unseen_mm2, strict=True))
    for id_, volume in zip(BIN_IDS, volumes.tolist(), strict=True):
        name = f"{prefix}{id_}{suffix}"
        if unseen[id_]:
            rows.append(missing(region, name, reason, words))
        else:
            rows.append(measured(region, name, volume, words))
    for id_, volume in zip(BIN_IDS, volumes.tolist(), strict=True):
        share = f"{prefix}{id_}_share{suffix}"
        if unseen[id_]:
            rows.append(missing(region, share, reason, words))
        elif total > 0:
            rows.append(measured(region, share, 100 * volume / total, words))
        else:
            rows.append(missing(region, share, "no vessel was seen in this region", words))
    return rows


def _convention_rows(region: Region, sample: BloodSample, words: str) -> list[Measurement]:
    """Shares after the letter and after the Chest Imaging Platform."""
    letter = volume_by_area(sample)[1:].tolist()
    low, rest = volume_by_area(sample, (0.0, CIP_BV5_MM2, CIP_TBV_MM2)).tolist()
    rows = [
        measured(region, "cip_bv5", low, words),
        measured(region, "cip_tbv", low + rest, words),
    ]
    shares = [
        (f"{id_}_letter_share", part, sum(letter))
        for id_, part in zip(BIN_IDS[1:], letter, strict=True)
    ]
    for id_, part, total in (*shares, ("cip_bv5_share", low, low + rest)):
        if total > 0:
            rows.append(measured(region, id_, 100 * part / total, words))
        else:
            rows.append(missing(region, id_, "no vessel was seen in this region", words))
    return rows


def _per_size_rows(
    region: Region,
    sample: BloodSample,
    words: str,
    litres: float,
    body_surface_m2: float | None,
) -> list[Measurement]:
    """Volumes per lung volume and per body surface."""
    volumes = volume_by_area(sample)
    pairs = (("tbv", float(volumes.sum())), ("bv5", float(volumes[1])))
    rows = [measured(region, f"{id_}_per_volume", volume / litres, words) for id_, volume in pairs]
    if body_surface_m2:
        rows += [
            measured(region, f"{id_}_per_bsa", volume / body_surface_m2, words)
            for id_, volume in pairs
        ]
    return rows


def refuse_blood_volume(regions: RegionSet, reason: str) -> tuple[Measurement, ...]:
    """Rows that say why there is no blood volume: the same ones in every region."""
    ids = (
        "tbv",
        *BIN_IDS,
        *(f"{id_}_share" for id_ in BIN_IDS),
        *(f"{id_}_letter_share" for id_ in BIN_IDS[1:]),
        "cip_bv5",
        "cip_tbv",
        "cip_bv5_share",
        "tbv_per_volume",
        "bv5_per_volume",
    )
    return tuple(missing(region, id_, reason) for region in regions.names for id_ in ids)


def distribution(vessel_map: VesselMap, edges_mm2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blood in mL between successive areas in all vessels, for distribution curves."""
    return volume_by_area(blood_sample(vessel_map), edges_mm2.tolist())
