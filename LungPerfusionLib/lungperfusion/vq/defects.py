"""Candidates for vascular perfusion defects: perfusion low, ventilation kept, wedge on the pleura.

Screening research.  The shipped score was fitted to phantoms: it ranks candidates, it is no
probability of disease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.morphology import depth_mm
from lungperfusion.regions import RegionSet
from lungperfusion.resampling import from_sitk, to_sitk
from lungperfusion.terms import LOBES, LUNGS, Region
from lungperfusion.volume import Box, Geometry, Mask, bounding_box
from lungperfusion.vq.model import LogisticModel
from lungperfusion.vq.pair import BreathPair, Float

LOW_RATIO = 0.6
"""Perfusion strictly below this share of what the surrounding lung lets expect (methods C.6)."""

SMALLEST_ML = 2.0
"""Smaller candidates are not listed (methods C.6)."""

EXPECTED_MM = 30.0
"""Standard deviation of the Gaussian that gives the expected perfusion, beyond gravity."""

_FITTED_VOXELS = 200_000  # of a lung, evenly taken: more do not change its trend

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
    """Share of voxels below -950 HU at inspiration."""
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
    low_ratio: float = LOW_RATIO,
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
    components = sitk.ConnectedComponent(to_sitk(low, pair.geometry), False)
    least = max(1, int(np.ceil(smallest_ml / pair.geometry.voxel_volume_ml - 1e-9)))
    labels = from_sitk(sitk.RelabelComponent(components, minimumObjectSize=least)).astype(np.uint16)
    depth = _depth(pair)
    mean_v = float(np.nanmean(ventilation[pair.mask], dtype=np.float64))
    relative_v = (ventilation / mean_v).astype(np.float32)
    lobes = {lobe: regions.mask(lobe) for lobe in LOBES if lobe in regions.names}
    lungs = _lungs(pair)
    boxes: list[Any] = ndimage.find_objects(labels)
    found = tuple(
        _describe(
            number, labels[box] == number, box, pair, ratio, relative_v, depth, lobes, lungs, model
        )
        for number, box in enumerate(boxes, start=1)
    )
    return found, labels


def expected_perfusion(pair: BreathPair, perfusion: Float) -> Float:
    """Predict perfusion from gravity and neighbourhood, on the grid of the pair.

    A linear trend from back to front and from base to apex per lung is fitted without the values
    far below it, so that large defects do not pull it down; local deviations above the trend, but
    none below, are then allowed for.
    """
    out = np.full(perfusion.shape, np.nan, np.float32)
    for lung in LUNGS:
        inside = pair.lungs.mask(lung) & pair.mask
        if np.count_nonzero(inside) < 10:
            continue
        values = perfusion[inside].astype(np.float64)
        axes = [pair.geometry.coordinate_mm(axis)[inside].astype(np.float64) for axis in ("A", "S")]
        everywhere = np.stack([np.ones_like(values), *((a - a.mean()) / 100 for a in axes)], axis=1)
        step = max(1, values.size // _FITTED_VOXELS)
        values, design = values[::step], everywhere[::step]
        kept = np.ones(values.size, np.bool_)
        for _ in range(10):
            trend, *_ = np.linalg.lstsq(design[kept], values[kept], rcond=None)
            residual = values - design @ trend
            spread = 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
            kept = residual > np.median(residual) - max(1.5 * spread, 0.02)
        out[inside] = everywhere @ trend
    smooth = pair.smooth(np.nan_to_num(perfusion), pair.mask, EXPECTED_MM)
    return np.asarray(np.fmax(out, np.fmin(smooth, 1.5 * out)), np.float32)


def _depth(pair: BreathPair) -> Float:
    out = np.zeros(pair.geometry.shape, np.float32)
    for lung in LUNGS:
        mask = pair.lungs.mask(lung)
        if mask.any():
            box = bounding_box(mask, (1, 1, 1))
            out[box] += np.where(mask[box], depth_mm(mask[box], pair.geometry.spacing_kji_mm), 0)
    return out


def _describe(
    number: int,
    here: Mask,
    box: Box,
    pair: BreathPair,
    ratio: Float,
    relative_v: Float,
    depth: Float,
    lobes: Mapping[Region, Mask],
    lungs: Sequence[_Lung],
    model: LogisticModel,
) -> Candidate:
    geometry = pair.geometry.crop(box)
    points = geometry.ras_from_ijk(np.argwhere(here)[:, ::-1])
    volume = len(points) * geometry.voxel_volume_ml
    centre = points.mean(axis=0)
    lobe, share = _lobe_of(here, box, lobes)
    emphysema = float((pair.inspiration_hu[box][here] < -950).mean())
    ventilation = float(np.nanmean(relative_v[box][here]))
    nearest = min(lungs, key=lambda lung: lung.distance_mm(centre))
    candidate = Candidate(
        number=number,
        volume_ml=volume,
        centre_ras_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        lobe=lobe,
        lobe_share=share,
        contrast=1 - float(ratio[box][here].mean()),
        wedge=_wedge(points, nearest.hilum, geometry),
        pleural_contact=float((depth[box][here] <= PLEURA_MM).mean()),
        ventilation=ventilation,
        emphysema=emphysema,
        matched=bool(ventilation < 0.6 or emphysema > 0.5),
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
