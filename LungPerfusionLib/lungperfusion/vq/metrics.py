"""Numbers per lung, lobe and zone from the ventilation, perfusion and class maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.progress import Progress, ignore
from lungperfusion.regions import RegionSet
from lungperfusion.terms import STRUCTURES, ZONES, Region
from lungperfusion.terms.density import (
    AIR_TRAPPING_BELOW_HU,
    EMPHYSEMA_BELOW_HU,
    GROUND_GLASS_FROM_HU,
)
from lungperfusion.terms.vq import PRM_AT_MOST_HU, RATING_LIMITS, VQ_MEASURES
from lungperfusion.volume import Labelmap, Mask, Volume
from lungperfusion.vq.classes import Thresholds
from lungperfusion.vq.pair import BreathPair, Float
from lungperfusion.vq.perfusion import masses
from lungperfusion.vq.ventilation import air_fraction

ENTROPY_BINS = 32
ENTROPY_RANGE = (0.0, 3.0)
"""Bins of V and Q over their mean; larger values fall into the last bin."""

PRM_CLASSES = ("prm_normal", "prm_small_airways", "prm_emphysema")

INSPIRATORY = ("inspiratory_volume", "emphysema")
"""Measures of `measure_inspiration`; `measure_vq` gives all others of `terms.vq`."""

_IDS = tuple(measure.id for measure in VQ_MEASURES if measure.id not in INSPIRATORY)
LITTLE_DENSE, MOST_DENSE = 0.02, 0.5
"""Share of a region without a perfusion value from which what rests on perfusion carries a
caution, and from which nothing is given."""

OF_PERFUSION = frozenset(
    name
    for name in _IDS
    if name.startswith(("perfusion_", "q", "shunt", "dead_space", "matched", "vq_"))
    or name in ("zone_rating", "ventilation_defect_share", "ventilation_defect_volume")
)
"""Measures that rest on the perfusion map, or on classes of voxels that have a value there."""

_DENSE_METHOD = f"inspiratory HU >= {GROUND_GLASS_FROM_HU:g} that prevails"
_PRM_METHOD = f"medians of 3 x 3 x 3 voxels up to {PRM_AT_MOST_HU:g} HU, registered pair"
_ABNORMAL = ("shunt", "dead_space", "matched_defect")


@dataclass(frozen=True, slots=True)
class MapNames:
    """What the maps are, for the ``method`` of values and for reasons."""

    ventilation: str
    perfusion: str
    unknown: str = "ground glass or consolidation"
    """What lung without a perfusion value is."""
    why: str = ", whose density says nothing about blood"
    of_classes: str = ""
    """Added to the method of the classes."""


def measure_vq(
    pair: BreathPair,
    ventilation: Float,
    perfusion: Float,
    classes: Labelmap,
    regions: RegionSet,
    *,
    names: MapNames,
    thresholds: Thresholds | None = None,
    progress: Progress = ignore,
) -> tuple[Measurement, ...]:
    """Measure ventilation, perfusion and their match in every region.

    Parameters
    ----------
    pair
        Both states on the expiratory grid.
    ventilation, perfusion
        Maps on that grid.
    classes
        From `lungperfusion.vq.classes.classify`.
    regions
        Where to measure, on the same grid.
    names
        What the maps are.
    thresholds
        Those of the classes.

    Returns
    -------
    tuple of Measurement
        Every measure of `lungperfusion.terms.vq` but `INSPIRATORY` for every region;
        ``zone_rating`` in the six zones only.

    """
    pair.geometry.require_same(regions.geometry, what="maps and regions")
    limits = thresholds or Thresholds()
    both = masses(pair)
    whole = _Sample(pair, ventilation, perfusion, classes, both, pair.mask)
    prm = classify_prm(pair)
    trapped = median_below(pair.expiration.array, pair.mask, AIR_TRAPPING_BELOW_HU)
    results: list[Measurement] = []
    for number, region in enumerate(regions.names):
        progress(number / len(regions.names), "measuring ventilation and perfusion")
        mask = regions.mask(region)
        inside = mask & pair.mask
        if not inside.any():
            reason = (
                regions.why_missing(region) if not mask.any() else "the region is not registered"
            )
            results += [missing(region, name, reason) for name in _IDS if _applies(name, region)]
            continue
        sample = _Sample(pair, ventilation, perfusion, classes, both, inside)
        covered = np.count_nonzero(inside) / np.count_nonzero(mask)
        caution = (
            "" if covered > 0.98 else f"only {100 * covered:.0f} % of the region is registered"
        )
        rows = _amounts(region, sample, whole, names, caution)
        rows += _heterogeneity(region, sample, names)
        rows += _classes(region, sample, limits, names)
        if region in ZONES:
            rating = zone_rating(sample.q_total / whole.q_total, sample.count / whole.count)
            rows.append(measured(region, "zone_rating", rating, names.perfusion))
        results += [_beside_unknown(row, sample, whole, names) for row in rows]
        results += _density(region, trapped, prm, inside)
    return tuple(results)


def _beside_unknown(
    row: Measurement, here: _Sample, whole: _Sample, names: MapNames
) -> Measurement:
    """Say that what rests on perfusion leaves lung out, or that nothing is left to tell."""
    if row.measure not in OF_PERFUSION:
        return row
    of_both = row.measure in ("perfusion_share", "zone_rating")
    dense, where = here.dense, "region"
    if of_both and whole.dense > dense:
        dense, where = whole.dense, "lungs"
    text = f"{100 * dense:.0f} % of the {where} is {names.unknown}"
    if here.dense >= MOST_DENSE:
        reason = f"{text}{names.why}"
        return missing(row.region, row.measure, reason, row.method)
    if dense > LITTLE_DENSE and row.status == "ok":
        return replace(row, status="caution", reason=f"{text} and left out")
    return row


def _applies(measure: str, region: Region) -> bool:
    return measure != "zone_rating" or region in ZONES


class _Sample:
    """Values of one region."""

    def __init__(
        self,
        pair: BreathPair,
        v: Float,
        q: Float,
        classes: Labelmap,
        masses: tuple[Float, Float],
        inside: Mask,
    ) -> None:
        self.inside = inside
        self.count = int(np.count_nonzero(inside))
        self.voxel_ml = pair.geometry.voxel_volume_ml
        self.v = v[inside].astype(np.float64)
        self.q = q[inside].astype(np.float64)
        self.known = np.isfinite(self.q) & np.isfinite(self.v)
        """Where both have a value: not in ground glass, nor where a measured map says nothing."""
        self.dense = 1 - float(self.known.mean())
        self.v_total, self.q_total = float(np.nansum(self.v)), float(np.nansum(self.q))
        self.change_ml = float((pair.jacobian[inside] - 1).sum(dtype=np.float64)) * self.voxel_ml
        self.air_ml = (
            float(air_fraction(pair.expiration.array[inside]).sum(dtype=np.float64)) * self.voxel_ml
        )
        self.labels = classes.array[inside]
        self.tissue = pair.parenchyma[inside]
        self.mass_change = _mass_change(masses, inside & pair.parenchyma)
        self.positions = [
            pair.geometry.coordinate_mm("S")[inside],
            pair.geometry.coordinate_mm("A")[inside],
        ]


def _mass_change(masses: tuple[Float, Float], here: Mask) -> float:
    before, after = (float(mass[here].sum(dtype=np.float64)) for mass in masses)
    return after / before - 1 if before > 0 else math.nan


def _amounts(
    region: Region, here: _Sample, whole: _Sample, names: MapNames, caution: str
) -> list[Measurement]:
    by_v, by_q = names.ventilation, names.perfusion
    results = [
        measured(
            region, "expiratory_volume", here.count * here.voxel_ml, "voxel count", caution=caution
        ),
        measured(region, "volume_change", here.change_ml, "Jacobian", caution=caution),
        _mean_ventilation(region, here, by_v),
        measured(region, "volume_share", 100 * here.count / whole.count, "expiratory voxels"),
        measured(region, "dense_share", 100 * here.dense, _DENSE_METHOD),
    ]
    if math.isfinite(here.mass_change):
        results.append(measured(region, "mass_change", 100 * here.mass_change, "J rho_i - rho_e"))
    else:
        results.append(missing(region, "mass_change", "no parenchyma", "J rho_i - rho_e"))
    if here.air_ml > 0:
        results.append(
            measured(region, "specific_ventilation", here.change_ml / here.air_ml, "Jacobian")
        )
    else:
        results.append(missing(region, "specific_ventilation", "no air at expiration", "Jacobian"))
    for name, part, total, method in (
        ("ventilation_share", here.v_total, whole.v_total, by_v),
        ("perfusion_share", here.q_total, whole.q_total, by_q),
    ):
        if total > 0:
            results.append(measured(region, name, 100 * part / total, method, caution=caution))
        else:
            results.append(missing(region, name, "the lungs' sum is not above 0", method))
    return results


def _mean_ventilation(region: Region, here: _Sample, method: str) -> Measurement:
    count = int(np.count_nonzero(np.isfinite(here.v)))
    if count:
        return measured(region, "ventilation_mean", here.v_total / count, method)
    return missing(region, "ventilation_mean", "the ventilation map says nothing there", method)


def _heterogeneity(region: Region, here: _Sample, names: MapNames) -> list[Measurement]:
    results = []
    by_v, by_q = names.ventilation, names.perfusion
    for letter, values, method in (("v", here.v, by_v), ("q", here.q, by_q)):
        ids = (f"{letter}cv", f"{letter}h", f"{letter}_entropy")
        slopes = (f"{letter}_gradient_si", f"{letter}_gradient_pa")
        chosen = here.tissue & np.isfinite(values)
        inside = values[chosen]
        mean = float(inside.mean()) if inside.size else 0.0
        if inside.size < 2 or mean <= 0:
            why = "no parenchyma" if inside.size < 2 else "the mean is not above 0"
            results += [missing(region, name, why, method) for name in (*ids, *slopes)]
            continue
        quartiles = np.quantile(inside, [0.25, 0.75])
        results += [
            measured(region, ids[0], float(inside.std()) / mean, method),
            measured(region, ids[1], float(quartiles[1] - quartiles[0]) / mean, method),
            measured(region, ids[2], entropy_bits(inside / mean), method),
        ]
        for name, position in zip(slopes, here.positions, strict=True):
            slope = gradient(position[chosen], inside / mean)
            if slope is None:
                results.append(missing(region, name, "the region is one voxel thick", method))
            else:
                results.append(measured(region, name, slope, method))
    both = here.tissue & (here.v > 0) & (here.q > 0)
    if both.sum() < 2:
        return [*results, missing(region, "vq_log_sd", "no voxel with V and Q above 0")]
    logs, weights = np.log(here.v[both] / here.q[both]), here.q[both]
    mean = np.average(logs, weights=weights)
    spread = float(np.sqrt(np.average((logs - mean) ** 2, weights=weights)))
    return [*results, measured(region, "vq_log_sd", spread, f"V: {by_v}; Q: {by_q}")]


def entropy_bits(relative: NDArray[np.float64]) -> float:
    """Shannon entropy in bits of values over their mean."""
    low, high = ENTROPY_RANGE
    clipped = np.clip(relative, low, np.nextafter(high, low))
    counts = np.histogram(clipped, ENTROPY_BINS, ENTROPY_RANGE)[0]
    shares = counts[counts > 0] / counts.sum()
    return float(max(0.0, -(shares * np.log2(shares)).sum()))


def gradient(position_mm: NDArray[np.floating], relative: NDArray[np.float64]) -> float | None:
    """Least-squares slope against position from 0 to 1; None without extent."""
    low, high = float(position_mm.min()), float(position_mm.max())
    if high - low < 1e-6:
        return None
    place = (position_mm.astype(np.float64) - low) / (high - low)
    place -= place.mean()
    return float((place * relative).sum() / (place**2).sum())


def _classes(
    region: Region, here: _Sample, limits: Thresholds, names: MapNames
) -> list[Measurement]:
    method = (
        f"V < {limits.ventilation:g} x mean, Q < {limits.perfusion:g} x mean of both lungs; "
        f"patches from 1 mL{names.of_classes}"
    )
    member = {name: here.labels == STRUCTURES[name].label for name in _ABNORMAL}
    member["vq_abnormal"] = member["shunt"] | member["dead_space"] | member["matched_defect"]
    low_v = member["shunt"] | member["matched_defect"]
    low_q = member["dead_space"] | member["matched_defect"]
    sorted_voxels = max(1, int(np.count_nonzero(here.known)))

    def percent(chosen: NDArray[np.bool_]) -> float:
        return 100 * int(np.count_nonzero(chosen)) / sorted_voxels

    results = [
        measured(region, "ventilation_defect_share", percent(low_v), method),
        measured(region, "perfusion_defect_share", percent(low_q), method),
        measured(region, "ventilation_defect_volume", low_v.sum() * here.voxel_ml, method),
        measured(region, "perfusion_defect_volume", low_q.sum() * here.voxel_ml, method),
    ]
    known_v = float(here.v[here.known].sum())
    for name, inside in member.items():
        results.append(measured(region, f"{name}_share", percent(inside), method))
        for suffix, values, total in (("v", here.v, known_v), ("q", here.q, here.q_total)):
            measure = f"{name}_share_of_{suffix}"
            if total > 0:
                share = 100 * float(values[inside].sum()) / total
                results.append(measured(region, measure, share, method))
            else:
                results.append(missing(region, measure, "the region's sum is not above 0", method))
    return results


def classify_prm(pair: BreathPair) -> Labelmap:
    """Parametric response map (Galban 2012): normal, small airways disease, emphysema.

    As the method's authors do (Hoff 2017, Sci Rep 7:2999), both scans pass a median filter of
    3 x 3 x 3 voxels first, here of lung alone, and voxels above -500 HU are left out.  Voxels with
    inspiration below -950 HU but expiration of -856 HU or more fit no class and stay 0.
    """
    before, after = np.asarray(pair.expiration.array), pair.inspiration_hu
    inside = pair.mask
    trapped = median_below(before, inside, AIR_TRAPPING_BELOW_HU)
    destroyed = median_below(after, inside, EMPHYSEMA_BELOW_HU)
    aerated = pair.parenchyma & median_below(before, inside, np.nextafter(PRM_AT_MOST_HU, 0))
    aerated &= median_below(after, inside, np.nextafter(PRM_AT_MOST_HU, 0))
    labels = np.zeros(pair.geometry.shape, np.uint8)
    for name, chosen in zip(
        PRM_CLASSES, (~destroyed & ~trapped, ~destroyed & trapped, destroyed & trapped), strict=True
    ):
        labels[aerated & chosen] = STRUCTURES[name].label
    return Labelmap(labels, pair.geometry, {STRUCTURES[n].label: n for n in PRM_CLASSES})


def median_below(values: NDArray[Any], known: Mask, limit: float) -> Mask:
    """Where the median of 3 x 3 x 3 known voxels lies strictly below a limit.

    A median lies below a limit where more than half of the values do, so that counting replaces
    sorting.
    """
    below = _counts(known & (values < limit))
    return np.asarray(known & (2 * below > _counts(known)))


def _counts(mask: Mask) -> NDArray[np.uint8]:
    """Count the voxels of a mask among the 27 around each voxel."""
    out = mask.astype(np.uint8)
    for axis in range(3):
        line = np.moveaxis(out, axis, 0)
        total = line.copy()
        total[1:] += line[:-1]
        total[:-1] += line[1:]
        out = np.moveaxis(total, 0, axis)
    return out


def measure_inspiration(inspiration: Volume, regions: RegionSet) -> tuple[Measurement, ...]:
    """Volume and emphysema of every region, read on the inspiratory scan as it was taken.

    Carried to the expiratory grid, interpolation would smooth the voxels that are counted.

    Parameters
    ----------
    inspiration
        CT in HU.
    regions
        Those of the inspiratory scan, on its grid.

    """
    results: list[Measurement] = []
    for region in regions.names:
        mask = regions.mask(region)
        if inspiration.valid is not None:
            mask = mask & inspiration.valid
        count = int(np.count_nonzero(mask))
        if not count:
            reason = regions.why_missing(region)
            results += [missing(region, name, reason) for name in INSPIRATORY]
            continue
        volume = count * regions.geometry.voxel_volume_ml
        low = int(np.count_nonzero(inspiration.array[mask] < EMPHYSEMA_BELOW_HU))
        method = "inspiratory scan and its own regions"
        results += [
            measured(region, "inspiratory_volume", volume, f"voxel count, {method}"),
            measured(
                region, "emphysema", 100 * low / count, f"HU < {EMPHYSEMA_BELOW_HU:g}, {method}"
            ),
        ]
    return tuple(results)


def _density(region: Region, trapped: Mask, prm: Labelmap, inside: Mask) -> list[Measurement]:
    share = 100 * float(trapped[inside].mean())
    results = [
        measured(
            region,
            "air_trapping",
            share,
            f"expiratory scan, HU < {AIR_TRAPPING_BELOW_HU:g} after a 3 x 3 x 3 median",
        )
    ]
    labels = prm.array[inside]
    total = int((labels > 0).sum())
    for name in PRM_CLASSES:
        if total:
            share = 100 * float((labels == STRUCTURES[name].label).sum()) / total
            results.append(measured(region, name, share, _PRM_METHOD))
        else:
            results.append(missing(region, name, "no parenchyma to classify"))
    return results


def zone_rating(perfusion_share: float, volume_share: float) -> int:
    """Rate a zone's perfusion from 1 (absent) to 5 (well perfused) as readers do.

    Parameters
    ----------
    perfusion_share, volume_share
        Of the zone, of both lungs, as fractions or both in %.

    """
    relative = perfusion_share / volume_share
    return 1 + sum(relative >= limit for limit in RATING_LIMITS)


def kendall_tau(ratings: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """Kendall's tau-b between two raters and its p-value; NaN where a rater never differs."""
    if len(ratings) != len(others) or len(ratings) < 2:
        raise ValueError(f"two equally long lists are needed, not {len(ratings)} and {len(others)}")
    if len(set(ratings)) < 2 or len(set(others)) < 2:
        return float("nan"), float("nan")
    result = stats.kendalltau(ratings, others)
    return float(result.statistic), float(result.pvalue)
