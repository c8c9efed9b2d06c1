"""Iodine that perfused lung would have: what a defect is measured against.

The level must not be taken from the defect itself.  Where a lobe or a lung has lost its perfusion,
its own mean tells of the loss alone, so levels are those of perfused lung: the mode next to an
upper quantile of all lung, which stays where it is while less than two thirds of it are lost, and
of each lobe by itself as far as that is not much lower.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungperfusion.regions import RegionSet
from lungperfusion.terms import LOBES, LUNGS, Region
from lungperfusion.volume import Mask, Volume, bounding_box

UPPER_QUANTILE = 0.7
"""Where the search for the level of perfused lung starts; up to this share may be lost."""

MODE_REACH = 0.4
"""Half width, as a share of the level, of the window whose mean is taken again and again until it
stays (mean shift, Comaniciu & Meer 2002, IEEE TPAMI 24:603): 0.6, the limit of a defect, to 1.4."""

LEAST_LOBE_SHARE = 0.8
"""A lobe's own level counts down to this share of that of all lungs; less is a loss of the lobe.
Once gravity is taken out, lobes of healthy lungs differ by less."""

USUAL_BLOOD_SHARE = 0.1
"""Iodine of perfused lung over that of its blood, as aerated lung holds some 0.1 mL of blood per mL
between its large vessels.  Project's choice: a round value, that decides only where all is lost."""

LEAST_BLOOD_SHARE = 0.04
"""Less than this in the best lung, and all of it has lost perfusion, so that nothing in the lungs
tells their level: that of `USUAL_BLOOD_SHARE` is expected.  Project's choice, with room for a deep
breath; above it, down to some 0.06, a loss in all lobes alike cannot be distinguished from it."""

MINIMAL_DEPTH_MM = 40.0
"""Less lung from front to back shows no gravity gradient."""

STEEPEST_PER_MM = 0.015
"""Gravity gradient, as a share of the level; 0.0026 is usual in supine adults."""

_SLABS = 48
_BINS_PER_MEAN = 50
_RANGE_OF_MEANS = (-3.0, 8.0)
_ROUNDS = 40


@dataclass(frozen=True, eq=False)
class _Counts:
    """Lung voxels by part, by slab of equal depth, and by value."""

    parts: tuple[Region, ...]
    counts: NDArray[np.float64]
    """Shape (part, slab, value)."""
    back_mm: NDArray[np.float64]
    """Middle of every slab towards the back, from the middle of the lungs."""
    values: NDArray[np.float64]
    middle_mm: float
    """Place of ``back_mm`` 0, towards the front."""


def expected_enhancement(
    enhancement: Volume, measurable: Mask, regions: RegionSet, *, blood_hu: float | None = None
) -> NDArray[np.float32]:
    """Iodine that each voxel would have if all lung were perfused, under gravity.

    Level of perfused lung in the lobe (the lung where lobes are unknown) times one linear gradient
    towards the back for both lungs, fitted within lobes so that a lost one does not tilt it.

    Parameters
    ----------
    enhancement
        Smoothed iodine enhancement.
    measurable
        Voxels whose iodine counts.
    regions
        Lungs and, where known, lobes.
    blood_hu
        Enhancement of the blood of the lungs, `lungperfusion.iodine.pool.blood_mg_ml`, if known.

    Returns
    -------
    ndarray
        In the unit of ``enhancement``, shape (K, J, I); NaN outside the lungs.

    """
    expected = np.full(enhancement.geometry.shape, np.nan, np.float32)
    counted = _count(enhancement, measurable, regions)
    if counted is None:
        return expected
    level, gradient = _level_and_gradient(counted)
    if blood_hu is not None and level < LEAST_BLOOD_SHARE * blood_hu:
        usual = USUAL_BLOOD_SHARE * blood_hu
        level, gradient = usual, gradient * max(level, 0.0) / usual  # the same slope in HU
    for lung in LUNGS:
        inside = regions.mask(lung)
        if not inside.any():
            continue
        box = bounding_box(inside)
        geometry = enhancement.geometry.crop(box)
        for part in parts_of(lung, regions):
            voxels = regions.mask(part)[box] & inside[box]
            own = level
            if part in counted.parts:
                own = _own_level(counted, counted.parts.index(part), level, gradient)
            back = np.float32(counted.middle_mm) - geometry.coordinate_at(voxels, "A")
            expected[box][voxels] = own * _profile(gradient, back)
    return expected


def parts_of(lung: Region, regions: RegionSet) -> tuple[Region, ...]:
    """Lobes of a lung as far as they are known, else the lung."""
    side = lung.value.partition("_")[0]
    lobes = tuple(lobe for lobe in LOBES if lobe.startswith(side) and regions.mask(lobe).any())
    return lobes or (lung,)


def _profile(gradient_per_mm: float, back_mm: NDArray[np.floating]) -> NDArray[np.floating]:
    """Iodine under gravity, 1 in the middle; never near 0, where it would divide by nothing."""
    return np.asarray(np.maximum(1 + np.float32(gradient_per_mm) * back_mm, np.float32(0.2)))


def _count(enhancement: Volume, measurable: Mask, regions: RegionSet) -> _Counts | None:
    lungs = regions.mask(Region.LUNGS) & measurable
    if not lungs.any():
        return None
    box = bounding_box(lungs)
    geometry, values = enhancement.geometry.crop(box), enhancement.array[box]
    front = geometry.coordinate_at(lungs[box], "A")
    first, last = float(front.min()), float(front.max())
    middle, depth = (first + last) / 2, max(last - first, 1e-3)
    mean = float(np.abs(values[lungs[box]].mean(dtype=np.float64))) or 1.0
    width = mean / _BINS_PER_MEAN
    low, high = (mean * end for end in _RANGE_OF_MEANS)
    bins = int(np.ceil((high - low) / width))
    parts = tuple(part for lung in LUNGS for part in parts_of(lung, regions))
    counts = np.zeros((len(parts), _SLABS, bins))
    for table, part in zip(counts, parts, strict=True):
        inside = regions.mask(part)[box] & lungs[box]
        front = geometry.coordinate_at(inside, "A")
        slab = ((last - front) * (_SLABS / depth)).astype(np.int32)
        place = ((values[inside] - low) / width).astype(np.int32)
        np.clip(slab, 0, _SLABS - 1, out=slab)
        np.clip(place, 0, bins - 1, out=place)
        table += np.bincount(slab * bins + place, minlength=table.size).reshape(table.shape)
    kept = counts.sum(axis=(1, 2)) > 0
    return _Counts(
        parts=tuple(part for part, keep in zip(parts, kept, strict=True) if keep),
        counts=counts[kept],
        back_mm=(np.arange(_SLABS) + 0.5) * depth / _SLABS - depth / 2,
        values=np.asarray(low + (np.arange(bins) + 0.5) * width, np.float64),
        middle_mm=middle,
    )


def _level_and_gradient(counted: _Counts) -> tuple[float, float]:
    """Level of perfused lung and its gradient towards the back, found together."""
    total = counted.counts.sum(axis=(0, 1))
    level, gradient = _quantile(counted.values, total), 0.0
    if level <= 0:
        return float(total @ counted.values / total.sum()), 0.0
    deep = np.ptp(counted.back_mm) >= MINIMAL_DEPTH_MM
    for _ in range(_ROUNDS):
        even = counted.values[None] / _profile(gradient, counted.back_mm)[:, None]
        perfused = counted.counts * (np.abs(even - level) <= MODE_REACH * level)
        if not perfused.any():
            break
        former = level, gradient
        level = float((perfused * even).sum() / perfused.sum())
        if deep:
            gradient = _slope_within_parts(counted, perfused) / level
            gradient = float(np.clip(gradient, -STEEPEST_PER_MM, STEEPEST_PER_MM))
        if np.allclose((level, gradient), former, rtol=1e-4, atol=1e-9):
            break
    return level, gradient


def _slope_within_parts(counted: _Counts, perfused: NDArray[np.float64]) -> float:
    """Least-squares slope towards the back with a level of its own for every part."""
    by_slab = perfused.sum(axis=2)
    size = by_slab.sum(axis=1)
    used = size > 0
    by_slab, size = by_slab[used], size[used]
    sums = perfused[used] @ counted.values
    back = counted.back_mm - (by_slab @ counted.back_mm / size)[:, None]
    spread = float((by_slab * back**2).sum())
    return float((sums * back).sum()) / spread if spread > 0 else 0.0


def _own_level(counted: _Counts, part: int, level: float, gradient: float) -> float:
    """Level of perfused lung in one part, as far as it is not much lower than that of all."""
    counts = counted.counts[part]
    even = counted.values[None] / _profile(gradient, counted.back_mm)[:, None]
    order = np.argsort(even, axis=None, kind="stable")
    values, counts = even.ravel()[order], counts.ravel()[order]
    own = _quantile(values, counts)
    for _ in range(_ROUNDS if own > 0 else 0):
        near = counts * (np.abs(values - own) <= MODE_REACH * own)
        if not near.any():
            break
        former, own = own, float(near @ values / near.sum())
        if np.isclose(own, former, rtol=1e-4):
            break
    return max(own, LEAST_LOBE_SHARE * level) if level > 0 else own


def _quantile(values: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Upper quantile of counted values, which rise."""
    sums = np.cumsum(counts)
    return float(values[np.searchsorted(sums, UPPER_QUANTILE * sums[-1])])
