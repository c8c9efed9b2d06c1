"""Collateral ventilation across lobe boundaries: features, published cut-offs, trained model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk

from lungperfusion.regions import RegionSet
from lungperfusion.resampling import from_sitk, to_sitk
from lungperfusion.terms import Region
from lungperfusion.volume import Mask, bounding_box
from lungperfusion.vq.metrics import AIR_TRAPPING_HU, EMPHYSEMA_HU
from lungperfusion.vq.model import LogisticModel
from lungperfusion.vq.pair import BreathPair, Float

Boundary = Literal["left_oblique", "right_oblique", "right_horizontal"]
Call = Literal["unlikely", "possible", "likely", "unknown"]

BOUNDARIES: Mapping[Boundary, tuple[tuple[Region, ...], tuple[Region, ...]]] = {
    "left_oblique": ((Region.LEFT_UPPER_LOBE,), (Region.LEFT_LOWER_LOBE,)),
    "right_oblique": (
        (Region.RIGHT_UPPER_LOBE, Region.RIGHT_MIDDLE_LOBE),
        (Region.RIGHT_LOWER_LOBE,),
    ),
    "right_horizontal": ((Region.RIGHT_UPPER_LOBE,), (Region.RIGHT_MIDDLE_LOBE,)),
}
"""Lobes above and below each fissure."""

COMPLETE_PERCENT = 95.0
"""Completeness strictly above: collateral ventilation unlikely.

Koster 2020 / Klooster 2020: left major fissure above 95 %, positive predictive value 91 %.
"""

INCOMPLETE_PERCENT: Mapping[Boundary, float] = {
    "left_oblique": 80.0,
    "right_oblique": 90.0,
    "right_horizontal": 80.0,
}
"""Completeness at or below: collateral ventilation likely (Klooster 2020: left major 80 %, right
major 90 %; for the weakly predictive horizontal fissure the general 80 % is used)."""

FEATURES = (
    "completeness_percent",
    "emphysema_above",
    "emphysema_below",
    "trapping_difference",
    "jacobian_jump",
    "v_ratio",
    "q_ratio",
)
"""Columns of the training table, besides the outcome ``collateral_ventilation``."""

NEAR_MM = 15.0
"""Lung within this distance of the fissure enters the jump of the Jacobian across it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryFinding:
    """What is known about one lobe boundary."""

    boundary: Boundary
    features: Mapping[str, float]
    """By name; NaN for what could not be had."""
    rule: Call
    """From fissure completeness and published cut-offs."""
    probability: float
    """Of a trained model; NaN without one."""


def assess_boundaries(
    pair: BreathPair,
    ventilation: Float,
    perfusion: Float,
    regions: RegionSet,
    *,
    completeness_percent: Mapping[Boundary, float] | None = None,
    model: LogisticModel | None = None,
) -> tuple[BoundaryFinding, ...]:
    """Describe every boundary whose lobes are known.

    Parameters
    ----------
    pair, ventilation, perfusion
        Both states and maps on the expiratory grid.
    regions
        With lobes.
    completeness_percent
        Fissure completeness, where measured.
    model
        Trained by ``lungperfusion train``; without one only the published cut-offs speak.

    """
    known = completeness_percent or {}
    found = []
    for boundary, (above, below) in BOUNDARIES.items():
        first, second = _mask(regions, above) & pair.mask, _mask(regions, below) & pair.mask
        if not first.any() or not second.any():
            continue
        completeness = float(known.get(boundary, math.nan))
        features = {
            "completeness_percent": completeness,
            "emphysema_above": _share(pair.inspiration_hu, first, EMPHYSEMA_HU),
            "emphysema_below": _share(pair.inspiration_hu, second, EMPHYSEMA_HU),
            "trapping_difference": abs(
                _share(pair.expiration.array, first, AIR_TRAPPING_HU)
                - _share(pair.expiration.array, second, AIR_TRAPPING_HU)
            ),
            "jacobian_jump": _jump(pair, first, second),
            "v_ratio": _log_ratio(ventilation, first, second),
            "q_ratio": _log_ratio(perfusion, first, second),
        }
        found.append(
            BoundaryFinding(
                boundary=boundary,
                features=features,
                rule=completeness_rule(boundary, completeness),
                probability=math.nan if model is None else model.probability(features),
            )
        )
    return tuple(found)


def completeness_rule(boundary: Boundary, completeness_percent: float) -> Call:
    """Judge collateral ventilation by published cut-offs of fissure completeness."""
    if math.isnan(completeness_percent):
        return "unknown"
    if completeness_percent > COMPLETE_PERCENT:
        return "unlikely"
    if completeness_percent <= INCOMPLETE_PERCENT[boundary]:
        return "likely"
    return "possible"


def _mask(regions: RegionSet, names: tuple[Region, ...]) -> Mask:
    out = np.zeros(regions.geometry.shape, np.bool_)
    for name in names:
        out |= regions.mask(name)
    return out


def _share(values: Float, inside: Mask, below: float) -> float:
    return float((values[inside] < below).mean())


def _jump(pair: BreathPair, first: Mask, second: Mask) -> float:
    """Difference of mean log Jacobian across a fissure; separate lobes may expand differently."""
    box = bounding_box(first | second, (1, 1, 1))
    geometry = pair.geometry.crop(box)
    means = []
    for here, other in ((first, second), (second, first)):
        distance = from_sitk(
            sitk.SignedMaurerDistanceMap(
                to_sitk(other[box], geometry),
                insideIsPositive=False,
                squaredDistance=False,
                useImageSpacing=True,
            )
        )
        near = here[box] & (distance <= NEAR_MM)
        if not near.any():
            return math.nan
        means.append(float(np.log(pair.jacobian[box][near]).mean()))
    return abs(means[0] - means[1])


def _log_ratio(values: Float, first: Mask, second: Mask) -> float:
    means = [float(np.mean(values[mask], dtype=np.float64)) for mask in (first, second)]
    return abs(math.log(means[0] / means[1])) if min(means) > 0 else math.nan
