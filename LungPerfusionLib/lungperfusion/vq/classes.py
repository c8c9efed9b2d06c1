"""Classes of ventilation and perfusion: shunt, dead space, matched defect, normal.

"Preserved" and "impaired" as in the CT:VQ white paper, which prints no thresholds: here low is
below a share of the mean of both lungs, or within the lowest bin of healthy people's values when
those are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lungperfusion.morphology import pieces
from lungperfusion.terms import STRUCTURES
from lungperfusion.terms.vq import LOW_SHARE
from lungperfusion.volume import Geometry, Labelmap, Mask
from lungperfusion.vq.pair import Float

SMALLEST_ML = 1.0
"""A smaller connected patch of a defect counts as normal."""

THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8)
"""Shares of the mean at which the sensitivity of the fractions is shown."""

CLASSES = ("vq_normal", "shunt", "dead_space", "matched_defect")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What counts as low, as shares of the mean of both lungs.

    Give the limits of healthy people's maps (such as their 5th percentile) where they are known.
    """

    ventilation: float = LOW_SHARE
    perfusion: float = LOW_SHARE

    def __post_init__(self) -> None:
        """Refuse limits that cannot separate low from normal."""
        for value in (self.ventilation, self.perfusion):
            if not 0 < value < 2:
                raise ValueError(f"thresholds are shares of the mean between 0 and 2, not {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthyBins:
    """Upper limits of bins of healthy people's V and Q over their means, as for hyperpolarised gas.

    Usual limits are the mean and multiples of the SD of a healthy group, measured with the same
    settings.  The lowest bin counts as low.
    """

    ventilation: tuple[float, ...]
    perfusion: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse limits that do not rise from above 0."""
        for limits in (self.ventilation, self.perfusion):
            if not limits or not all(a < b for a, b in pairwise((0.0, *limits))):
                raise ValueError(f"limits of bins must rise from above 0, not {limits}")

    @property
    def thresholds(self) -> Thresholds:
        """Limits of the lowest bins."""
        return Thresholds(ventilation=self.ventilation[0], perfusion=self.perfusion[0])


def bin_shares(relative: Float, inside: Mask, limits: Sequence[float]) -> list[float]:
    """Volume share of every bin in %, lowest first; a value on a limit is in the bin above."""
    bins = np.digitize(relative[inside], limits)
    counts = np.bincount(bins, minlength=len(limits) + 1)
    return [100 * float(count) / max(1, bins.size) for count in counts]


def relative_to_mean(values: Float, inside: Mask) -> Float:
    """Map over its mean inside a mask."""
    mean = float(np.mean(values[inside], dtype=np.float64))
    if not mean > 0:
        raise ValueError(f"a map with a mean of {mean:g} cannot be scaled to its mean")
    return np.asarray(values / np.float32(mean))


def low_regions(
    relative: Float,
    inside: Mask,
    geometry: Geometry,
    *,
    below: float,
    smallest_ml: float = SMALLEST_ML,
) -> Mask:
    """Voxels strictly below a share of the mean, in patches of at least ``smallest_ml``."""
    low = inside & (relative < below)
    if smallest_ml <= geometry.voxel_volume_ml or not low.any():
        return low
    return pieces(low, geometry, at_least_ml=smallest_ml, corners=True) > 0


def classify(
    ventilation: Float,
    perfusion: Float,
    inside: Mask,
    geometry: Geometry,
    *,
    thresholds: Thresholds | None = None,
    smallest_ml: float = SMALLEST_ML,
) -> Labelmap:
    """Sort lung voxels by whether ventilation and perfusion are preserved.

    Parameters
    ----------
    ventilation, perfusion
        Maps, shape (K, J, I); scaled to their means inside the mask.
    inside
        Voxels to sort; those without a value of either map stay 0.
    geometry
        Their grid.
    thresholds
        Limits of low ventilation and perfusion; `LOW` for both by default.
    smallest_ml
        Smaller patches of low ventilation, or of low perfusion, count as preserved.

    Returns
    -------
    Labelmap
        ``vq_normal``, ``shunt`` (perfusion preserved, ventilation low), ``dead_space``
        (ventilation preserved, perfusion low) and ``matched_defect`` (both low).

    """
    limits = thresholds or Thresholds()
    inside = inside & np.isfinite(ventilation) & np.isfinite(perfusion)
    low_v, low_q = (
        low_regions(
            relative_to_mean(values, inside), inside, geometry, below=below, smallest_ml=smallest_ml
        )
        for values, below in (
            (ventilation, limits.ventilation),
            (perfusion, limits.perfusion),
        )
    )
    label = {name: STRUCTURES[name].label for name in CLASSES}
    labels = np.where(inside, np.uint8(label["vq_normal"]), np.uint8(0))
    for name, mask in _impaired(low_v, low_q).items():
        labels[mask] = label[name]
    return Labelmap(labels, geometry, {v: k for k, v in label.items()})


def _impaired(low_v: Mask, low_q: Mask) -> dict[str, Mask]:
    return {
        "shunt": low_v & ~low_q,
        "dead_space": low_q & ~low_v,
        "matched_defect": low_v & low_q,
    }


def sensitivity(
    ventilation: Float,
    perfusion: Float,
    inside: Mask,
    geometry: Geometry,
    *,
    thresholds: Iterable[float] = THRESHOLDS,
    smallest_ml: float = SMALLEST_ML,
) -> list[dict[str, float]]:
    """Volume shares of the classes at several thresholds, in %."""
    rows = []
    inside = inside & np.isfinite(ventilation) & np.isfinite(perfusion)
    total = max(1, int(np.count_nonzero(inside)))
    maps = [relative_to_mean(values, inside) for values in (ventilation, perfusion)]
    for threshold in thresholds:
        low_v, low_q = (
            low_regions(values, inside, geometry, below=threshold, smallest_ml=smallest_ml)
            for values in maps
        )
        row = {"threshold": float(threshold)}
        for name, mask in _impaired(low_v, low_q).items():
            row[f"{name}_percent"] = 100 * int(np.count_nonzero(mask)) / total
        row["abnormal_percent"] = sum(value for key, value in row.items() if key != "threshold")
        rows.append(row)
    return rows
