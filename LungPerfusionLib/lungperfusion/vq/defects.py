"""Candidates for vascular perfusion defects: perfusion low, ventilation kept, wedge on the pleura.

Screening research.  The shipped score was fitted to phantoms: it ranks candidates, it is no
probability of disease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.morphology import depth_mm, pieces
from lungperfusion.regions import RegionSet
from lungperfusion.terms import LOBES, LUNGS, Region
from lungperfusion.terms.density import EMPHYSEMA_BELOW_HU
from lungperfusion.terms.vq import LOW_SHARE
from lungperfusion.volume import Box, Geometry, Mask, bounding_box
from lungperfusion.vq.metrics import median_below
from lungperfusion.vq.model import LogisticModel
from lungperfusion.vq.pair import BreathPair, Float

SMALLEST_ML = 2.0
"""Smaller candidates are not listed (methods C.6)."""

EXPECTED_MM = 30.0
"""Standard deviation of the Gaussian that gives the expected perfusion, beyond gravity."""

UPPER_QUANTILE = 0.75
"""Quantile of the perfusion of both lungs that the search for the normal level starts from: the
median of the better half, which a lung without blood, or two lower lobes, leave in place."""

KEPT_RATIO = 0.7
"""Perfusion above this share of the trend counts as normal while the trend is looked for."""

STEEPEST_PER_100_MM = (0.5, 0.15)
"""Greatest slope from back to front, and from base to apex, in shares of the level.

Perfusion falls by 2.6 % per cm against gravity in supine people (methods B.4), twice that at the
bases of deflated lungs; from base to apex there is no gravity in a scanner.
"""

MOST_ABOVE = 1.5
"""Local perfusion above the trend is allowed for up to this ratio."""

_FITTED_VOXELS = 200_000  # evenly taken: more do not change the trend
_FEWEST_VOXELS = 10
_MOST_FITS = 20

MOSTLY_DESTROYED = 0.5
"""Share of a candidate's voxels with emphysema from which its loss of blood is a matched one."""

PLEURA_MM = 6.0
"""A voxel nearer to the pleura counts as contact."""

FEATURES = (
    "log_volume",
    "contrast",
    "wedge",
    "pleural_contact",
    "ventilation_kept",
    "emphysema",
    "lobe_share",
)
"""Features of a candidate in the order of the model's coefficients."""

PURPOSE = "perfusion defect"

SHIPPED_MODEL = LogisticModel(
    purpose=PURPOSE,
    features=("log_volume", "wedge", "pleural_contact", "ventilation_kept", "emphysema"),
    means=(0.0,) * 5,
    sds=(1.0,) * 5,
    coefficients=(0.285, 0.896, 1.883, 6.544, -41.3),
    intercept=-5.424,
    validation={
        "cases": 140,
        "positive": 71,
        "method": "20 x stratified 5-fold, grouped by phantom",
        "auc": 0.998,
        "auc_interval": (0.993, 1.0),
    },
    provenance={"calibration": "uncalibrated: fitted to phantoms"},
)
"""Fitted to candidates in 120 breathing phantoms by ``python -m Benchmarks._train_defects``: wedges
without blood against balls of matched defect and emphysema, which are easier to tell apart than
anything in patients.  Uncalibrated: train your own.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One region with low perfusion."""

    number: int
    """Its value in the label map, from 1, largest first."""
    volume_ml: float
    centre_ras_mm: tuple[float, float, float]
    lobe: str
    """Lobe with most of it; ``""`` where lobes are unknown."""
    lobe_share: float
    """Share of that lobe's volume, 0 to 1."""
    contrast: float
    """1 - perfusion / expected perfusion."""
    wedge: float
    """Correlation of width with distance from the hilum: 1 widens evenly to the pleura."""
    pleural_contact: float
    """Share of the voxels within `PLEURA_MM` of the pleura."""
    ventilation: float
    """Mean ventilation over that of both lungs."""
    emphysema: float
    """Share of voxels whose median of 3 x 3 x 3 is below -950 HU at inspiration."""
    matched: bool
    """Ventilation is low as well, or most of it is emphysema."""
    score: float
    """0 to 1, uncalibrated unless a trained model was given."""

    def features(self) -> dict[str, float]:
        """List what the score is made from."""
        return {
            "log_volume": float(np.log(self.volume_ml)),
            "contrast": self.contrast,
            "wedge": self.wedge,
            "pleural_contact": self.pleural_contact,
            "ventilation_kept": min(self.ventilation, 1.5),
            "emphysema": self.emphysema,
            "lobe_share": self.lobe_share,
        }


def find_defects(
    pair: BreathPair,
    ventilation: Float,
    perfusion: Float,
    regions: RegionSet,
    *,
    low_ratio: float = LOW_SHARE,
    smallest_ml: float = SMALLEST_ML,
    model: LogisticModel = SHIPPED_MODEL,
) -> tuple[tuple[Candidate, ...], NDArray[np.uint16]]:
    """List regions where perfusion is lower than the surrounding lung lets expect.

    Parameters
    ----------
    pair, ventilation, perfusion
        Both states and the maps on the expiratory grid.
    regions
        With lobes where known.
    low_ratio, smallest_ml
        What counts as a candidate.
    model
        Gives the score.

    Returns
    -------
    candidates : tuple of Candidate
        Largest first.
    labels : ndarray
        Their voxels, shape (K, J, I), values `Candidate.number`.

    """
    expected = np.maximum(expected_perfusion(pair, perfusion), 1e-3)
    ratio = (perfusion / expected).astype(np.float32)
    low = pair.mask & (ratio < low_ratio)
    labels = pieces(low, pair.geometry, at_least_ml=smallest_ml).astype(np.uint16)
    mean_v = float(np.nanmean(ventilation[pair.mask], dtype=np.float64))
    maps = _Maps(
        ratio=ratio,
        ventilation=(ventilation / mean_v).astype(np.float32),
        destroyed=median_below(pair.inspiration_hu, pair.mask, EMPHYSEMA_BELOW_HU),
        depth=_depth(pair),
    )
    lobes = {lobe: regions.mask(lobe) for lobe in LOBES if lobe in regions.names}
    lungs = _lungs(pair)
    boxes: list[Any] = ndimage.find_objects(labels)
    found = tuple(
        _describe(number, labels[box] == number, box, pair, maps, lobes, lungs, model)
        for number, box in enumerate(boxes, start=1)
    )
    return found, labels


def expected_perfusion(pair: BreathPair, perfusion: Float) -> Float:
    """Predict perfusion from gravity and neighbourhood, on the grid of the pair.

    One linear trend from back to front and from base to apex for both lungs: an upper quantile
    rather than the mean, which the loss of a whole lung or of both lower lobes leaves in place, and
    with slopes no steeper than gravity makes them, so that no loss passes for gravity.  Local
    deviations above the trend, but none below, are then allowed for.
    """
    known = pair.mask & np.isfinite(perfusion)
    out = np.full(perfusion.shape, np.nan, np.float32)
    here = known & pair.parenchyma
    if np.count_nonzero(here) < _FEWEST_VOXELS:
        return out
    places = [pair.geometry.coordinate_mm(axis) for axis in ("A", "S")]
    step = max(1, int(np.count_nonzero(here)) // _FITTED_VOXELS)
    values = perfusion[here][::step].astype(np.float64)
    axes = [place[here][::step].astype(np.float64) for place in places]
    middles = [float(axis.mean()) for axis in axes]
    level, slopes = _upper_trend(values, [a - m for a, m in zip(axes, middles, strict=True)])
    trend = level * np.ones(int(np.count_nonzero(known)))
    for place, middle, slope in zip(places, middles, slopes, strict=True):
        trend += slope * (place[known] - middle)
    out[known] = np.maximum(trend, 0.3 * level)
    smooth = pair.smooth(np.nan_to_num(perfusion), known, EXPECTED_MM)
    return np.asarray(np.fmax(out, np.fmin(smooth, MOST_ABOVE * out)), np.float32)


def _upper_trend(
    values: NDArray[np.float64], axes: Sequence[NDArray[np.float64]]
) -> tuple[float, list[float]]:
    """Level and slopes of what is normal: median of the values that are not lost.

    Lost is below `LOW_SHARE` of the trend itself; the first trend is a level that is reached even
    if half of the lungs are lost.
    """
    level = float(np.quantile(values, UPPER_QUANTILE))
    slopes = [0.0] * len(axes)
    for _ in range(_MOST_FITS):
        trend = level + sum(s * a for s, a in zip(slopes, axes, strict=True))
        kept = values > KEPT_RATIO * trend
        if np.count_nonzero(kept) < _FEWEST_VOXELS:
            break
        design = np.stack([np.ones(int(kept.sum())), *(axis[kept] for axis in axes)], axis=1)
        fit, *_ = np.linalg.lstsq(design, values[kept], rcond=None)
        limits = [share * level / 100 for share in STEEPEST_PER_100_MM]
        new = [float(np.clip(s, -limit, limit)) for s, limit in zip(fit[1:], limits, strict=True)]
        rest = values[kept] - sum(s * a[kept] for s, a in zip(new, axes, strict=True))
        change = abs(float(np.median(rest)) - level) + abs(new[0] - slopes[0]) * 100
        level, slopes = float(np.median(rest)), new
        if change < 1e-3 * level:
            break
    return level, slopes


def _depth(pair: BreathPair) -> Float:
    out = np.zeros(pair.geometry.shape, np.float32)
    for lung in LUNGS:
        mask = pair.lungs.mask(lung)
        if mask.any():
            box = bounding_box(mask, (1, 1, 1))
            out[box] += np.where(mask[box], depth_mm(mask[box], pair.geometry.spacing_kji_mm), 0)
    return out


@dataclass(frozen=True, eq=False, kw_only=True)
class _Maps:
    """What candidates are described by, on the grid of the pair."""

    ratio: Float
    """Perfusion over what is expected."""
    ventilation: Float
    """Over its mean."""
    destroyed: Mask
    """Emphysema."""
    depth: Float
    """Below the pleura, mm."""


def _describe(
    number: int,
    here: Mask,
    box: Box,
    pair: BreathPair,
    maps: _Maps,
    lobes: Mapping[Region, Mask],
    lungs: Sequence[_Lung],
    model: LogisticModel,
) -> Candidate:
    geometry = pair.geometry.crop(box)
    points = geometry.ras_from_ijk(np.argwhere(here)[:, ::-1])
    volume = len(points) * geometry.voxel_volume_ml
    centre = points.mean(axis=0)
    lobe, share = _lobe_of(here, box, lobes)
    emphysema = float(maps.destroyed[box][here].mean())
    ventilation = float(np.nanmean(maps.ventilation[box][here]))
    nearest = min(lungs, key=lambda lung: lung.distance_mm(centre))
    candidate = Candidate(
        number=number,
        volume_ml=volume,
        centre_ras_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        lobe=lobe,
        lobe_share=share,
        contrast=1 - float(maps.ratio[box][here].mean()),
        wedge=_wedge(points, nearest.hilum, geometry),
        pleural_contact=float((maps.depth[box][here] <= PLEURA_MM).mean()),
        ventilation=ventilation,
        emphysema=emphysema,
        matched=bool(ventilation < LOW_SHARE or emphysema > MOSTLY_DESTROYED),
        score=0.0,
    )
    return replace(candidate, score=model.probability(candidate.features()))


def _lobe_of(here: Mask, box: Box, lobes: Mapping[Region, Mask]) -> tuple[str, float]:
    best, share, most = "", 0.0, 0
    for lobe, mask in lobes.items():
        common = int(np.count_nonzero(mask[box] & here))
        if common > most:
            best, most, share = lobe.value, common, common / int(np.count_nonzero(mask))
    return best, share


@dataclass(frozen=True, eq=False)
class _Lung:
    """Evenly taken points of one lung, and where its vessels come from."""

    points: NDArray[np.float64]
    hilum: NDArray[np.float64]
    """The medial side at two fifths of its height."""

    def distance_mm(self, point: NDArray[np.float64]) -> float:
        return float(np.linalg.norm(self.points - point, axis=1).min())


def _lungs(pair: BreathPair) -> list[_Lung]:
    found = []
    for lung in LUNGS:
        voxels = np.argwhere(pair.lungs.mask(lung))
        if not voxels.size:
            continue
        step = max(1, len(voxels) // 20_000)
        points = pair.geometry.ras_from_ijk(voxels[::step, ::-1])
        medial = 1.0 if lung is Region.LEFT_LUNG else 0.0
        x = np.quantile(points[:, 0], 0.05 + 0.9 * medial)
        hilum = np.array([x, np.median(points[:, 1]), np.quantile(points[:, 2], 0.45)])
        found.append(_Lung(points, hilum))
    return found


def _wedge(points: NDArray[np.float64], hilum: NDArray[np.float64], geometry: Geometry) -> float:
    """Correlation of the cross-section's width with distance from the hilum."""
    offset = points - hilum
    axis = offset.mean(axis=0)
    axis /= max(float(np.linalg.norm(axis)), 1e-6)
    along = offset @ axis
    step = 2 * max(geometry.spacing_ijk_mm)
    bins = np.floor((along - along.min()) / step).astype(int)
    counts = np.bincount(bins)
    if counts.size < 3:
        return 0.0
    width = np.sqrt(counts[:-1] if counts.size > 3 else counts)
    if width.std() == 0:
        return 0.0
    return float(np.corrcoef(np.arange(width.size), width)[0, 1])


def patient_score(candidates: Sequence[Candidate]) -> float:
    """Chance that at least one unmatched candidate counts: ``1 - prod(1 - score)``."""
    return float(1 - np.prod([1 - c.score for c in candidates if not c.matched]))
