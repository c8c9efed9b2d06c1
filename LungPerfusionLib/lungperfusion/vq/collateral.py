"""Collateral ventilation across lobe boundaries: features, published cut-offs, trained model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.regions import RegionSet
from lungperfusion.resampling import from_sitk, resample_array, to_sitk
from lungperfusion.segmentation.completeness import Evidence
from lungperfusion.terms import Region
from lungperfusion.terms.collateral import CollateralCall, collateral_call
from lungperfusion.terms.density import AIR_TRAPPING_BELOW_HU, EMPHYSEMA_BELOW_HU
from lungperfusion.volume import Geometry, Mask, bounding_box
from lungperfusion.vq.model import LogisticModel
from lungperfusion.vq.pair import BreathPair, Float
from lungperfusion.vq.registration import Registration

Boundary = Literal["left_oblique", "right_oblique", "right_horizontal"]
Points = NDArray[np.float64]

BOUNDARIES: Mapping[Boundary, tuple[tuple[Region, ...], tuple[Region, ...]]] = {
    "left_oblique": ((Region.LEFT_UPPER_LOBE,), (Region.LEFT_LOWER_LOBE,)),
    "right_oblique": (
        (Region.RIGHT_UPPER_LOBE, Region.RIGHT_MIDDLE_LOBE),
        (Region.RIGHT_LOWER_LOBE,),
    ),
    "right_horizontal": ((Region.RIGHT_UPPER_LOBE,), (Region.RIGHT_MIDDLE_LOBE,)),
}
"""Lobes above and below each fissure."""

PURPOSE = "collateral ventilation"

FEATURES = (
    "completeness_percent",
    "gap_percent",
    "gap_lateral",
    "emphysema_above",
    "emphysema_below",
    "trapping_difference",
    "density_difference_hu",
    "jacobian_jump",
    "slip_mm",
    "v_ratio",
    "q_ratio",
)
"""Columns of the training table, besides the outcome ``collateral_ventilation`` (methods C.7)."""

DECREASING = ("completeness_percent",)
"""Features that can only speak against collateral ventilation: a complete fissure closes."""

NEAR_MM = 15.0
"""Lung within this distance of the fissure enters the jump of the Jacobian across it."""

SLIP_REACH_MM = 8.0
"""Distance from the fissure at which motion is compared, and twice that, to carry it on to the
fissure; nearer, a spline that joins both lobes has smoothed the step."""

_SLIP_POINTS = 2000
_SLIP_GRID_MM = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fissure:
    """What is seen of one fissure; NaN for what could not be computed."""

    completeness_percent: float
    gap_percent: float = math.nan
    """Area of its largest gap, of the whole surface."""
    gap_lateral: float = math.nan
    """Place of that gap, from 0 at the medial edge (the hilum) to 1 at the ribs."""

    @classmethod
    def of(cls, evidence: Evidence) -> Fissure:
        """Take completeness and largest gap from the evidence on an interlobar surface."""
        gap_percent, lateral = _largest_gap(evidence)
        return cls(
            completeness_percent=100 * evidence.completeness,
            gap_percent=gap_percent,
            gap_lateral=lateral,
        )


UNSEEN = Fissure(completeness_percent=math.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryFinding:
    """What is known about one lobe boundary."""

    boundary: Boundary
    features: Mapping[str, float]
    """By name; NaN for what could not be computed."""
    rule: CollateralCall
    """From fissure completeness and published cut-offs."""
    probability: float
    """Of a trained model; NaN without one."""


def assess_boundaries(
    pair: BreathPair,
    registration: Registration,
    ventilation: Float,
    perfusion: Float,
    regions: RegionSet,
    *,
    fissures: Mapping[Boundary, Fissure] | None = None,
    model: LogisticModel | None = None,
) -> tuple[BoundaryFinding, ...]:
    """Describe every boundary whose lobes are known.

    Parameters
    ----------
    pair, ventilation, perfusion
        Both states and maps on the expiratory grid.
    registration
        Of the pair: motion on both sides of the fissures.
    regions
        With lobes.
    fissures
        What is seen of them, where they were looked for.
    model
        Trained by ``lungperfusion train``; without one only the published cut-offs speak.

    """
    known = fissures or {}
    found = []
    for boundary, (above, below) in BOUNDARIES.items():
        first, second = _mask(regions, above) & pair.mask, _mask(regions, below) & pair.mask
        if not first.any() or not second.any():
            continue
        fissure = known.get(boundary, UNSEEN)
        features = {
            "completeness_percent": fissure.completeness_percent,
            "gap_percent": fissure.gap_percent,
            "gap_lateral": fissure.gap_lateral,
            "emphysema_above": _share(pair.inspiration_hu, first, EMPHYSEMA_BELOW_HU),
            "emphysema_below": _share(pair.inspiration_hu, second, EMPHYSEMA_BELOW_HU),
            "trapping_difference": abs(
                _share(pair.expiration.array, first, AIR_TRAPPING_BELOW_HU)
                - _share(pair.expiration.array, second, AIR_TRAPPING_BELOW_HU)
            ),
            "density_difference_hu": abs(
                _mean(pair.expiration.array, first & pair.parenchyma)
                - _mean(pair.expiration.array, second & pair.parenchyma)
            ),
            "jacobian_jump": _jump(pair, first, second),
            "slip_mm": slip_mm(registration, first, second),
            "v_ratio": _log_ratio(ventilation, first, second),
            "q_ratio": _log_ratio(perfusion, first, second),
        }
        found.append(
            BoundaryFinding(
                boundary=boundary,
                features=features,
                rule=collateral_call(f"{boundary}_fissure", fissure.completeness_percent / 100),
                probability=math.nan if model is None else model.probability(features),
            )
        )
    return tuple(found)


def slip_mm(registration: Registration, first: Mask, second: Mask) -> float:
    """Sliding of two lobes along their fissure: median tangential step of the motion across it.

    The difference of motion at +/- d and at +/- 2 d from the fissure is carried on to d = 0, so
    that a motion that only grows across the fissure gives none.

    Parameters
    ----------
    registration
        Of the pair; with the lobes registered each for itself the step shows whole, else part of
        it is smoothed away.
    first, second
        Voxels of either side on the expiratory grid.

    Returns
    -------
    float
        Millimetres; NaN where the sides do not touch.

    """
    box = bounding_box(first | second, (1, 1, 1))
    fine = registration.geometry.crop(box)
    grid = fine.with_spacing((_SLIP_GRID_MM,) * 3)
    one, other = (
        resample_array(mask[box], fine, grid, interpolation="nearest", fill=0)
        for mask in (first, second)
    )
    height = _distance(other, grid) - _distance(one, grid)
    touching = (one | other) & (np.abs(height) <= 2 * _SLIP_GRID_MM)
    if not touching.any():
        return math.nan
    slope = np.stack([*np.gradient(ndimage.gaussian_filter(height, 2.0))], axis=-1)
    voxels = np.argwhere(touching)
    voxels = voxels[:: max(1, len(voxels) // _SLIP_POINTS)]
    # A gradient by index turns into patient space by the inverse transposed matrix.
    by_index = slope[tuple(voxels.T)][:, ::-1]
    normals = by_index @ np.linalg.inv(grid.ijk_to_ras[:3, :3])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    places = grid.ras_from_ijk(voxels[:, ::-1])
    near, far = (_step(registration, places, normals, n * SLIP_REACH_MM) for n in (1, 2))
    step = 2 * near - far
    step -= (step * normals).sum(axis=1, keepdims=True) * normals
    size = np.linalg.norm(step, axis=1)
    known = np.isfinite(size)
    return float(np.median(size[known])) if known.any() else math.nan


def _step(
    registration: Registration, places: Points, normals: Points, distance_mm: float
) -> Points:
    """Motion on one side of places minus that on the other; NaN outside the registered lungs."""
    ahead, behind = (
        _motion(registration, places + sign * distance_mm * normals) for sign in (1, -1)
    )
    return ahead - behind


def _motion(registration: Registration, points: Points) -> Points:
    out = np.full(points.shape, np.nan)
    index = registration.geometry.ijk_from_ras(points).T[::-1]
    for _, fields, mask in registration.each():
        inside = ndimage.map_coordinates(mask.view(np.uint8), index, order=0, mode="constant") > 0
        out[inside] = fields.alignment.at(points[inside])
    return out


def _largest_gap(evidence: Evidence) -> tuple[float, float]:
    """Area of the largest gap in % of the surface, and its place from medial to lateral."""
    if not evidence.judged.any():
        return math.nan, math.nan
    pieces, _ = ndimage.label(evidence.judged & ~evidence.seen)
    area = np.bincount(pieces.ravel(), evidence.patch.area_mm2.ravel())
    area[0] = 0
    if not area.max() > 0:
        return 0.0, math.nan
    away = np.abs(evidence.patch.points_mm[..., 0])
    surface = away[evidence.judged]
    extent = max(float(np.ptp(surface)), 1e-6)
    place = float(away[pieces == int(area.argmax())].mean() - surface.min()) / extent
    judged_mm2 = float(evidence.patch.area_mm2[evidence.judged].sum())
    return 100 * float(area.max()) / judged_mm2, place


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
        near = here[box] & (_distance(other[box], geometry) <= NEAR_MM)
        if not near.any():
            return math.nan
        means.append(float(np.log(pair.jacobian[box][near]).mean()))
    return abs(means[0] - means[1])


def _distance(mask: Mask, geometry: Geometry) -> Float:
    """Distance from the surface of a mask in mm, negative inside."""
    image = sitk.SignedMaurerDistanceMap(
        to_sitk(mask, geometry), insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    return from_sitk(image)


def _mean(values: Float, inside: Mask) -> float:
    return float(np.mean(values[inside], dtype=np.float64)) if inside.any() else math.nan


def _log_ratio(values: Float, first: Mask, second: Mask) -> float:
    known = np.isfinite(values)
    if not ((first & known).any() and (second & known).any()):
        return math.nan
    means = [float(np.mean(values[mask & known], dtype=np.float64)) for mask in (first, second)]
    return abs(math.log(means[0] / means[1])) if min(means) > 0 else math.nan
