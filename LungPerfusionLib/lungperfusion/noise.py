"""Noise of a chest CT: how large, how fine, and densities without it.

Thresholds such as -950 HU count single voxels, so noise alone fills them: of lung at -870 HU with
40 HU of noise 2.3 % lie below -950 HU.  Noise is measured where the scan is even, and taken out of
the distribution of densities, not out of the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from lungperfusion.body import to_upright, upright
from lungperfusion.morphology import distance_mm
from lungperfusion.terms import AIRWAYS, LUNGS
from lungperfusion.volume import Labelmap, Volume, bounding_box

Float = NDArray[np.float64]

BLOCK_MM = 6.0
"""In-plane edge of the patches whose standard deviation is taken; vessels of 1 to 2 mm and the
lobules' borders still leave even patches between them."""

LEAST_BLOCK_VOXELS = 4
EVEN_LUNG_HU = (-970.0, -750.0)
"""Mean of a patch of lung: neither gas alone nor vessels, walls and disease."""

LEAST_PATCHES = 200
CORE_MM = 4.0
"""Voxels of the trachea at least this far from its wall."""

LEAST_CORE_VOXELS = 300
QUIET_SHARE = 0.05
"""Share of the patches without vessels and borders that are relied on."""

GRAIN_PIXEL_MM = 1.0
"""Larger pixels do not show the grain: even soft kernels leave neighbours unlike."""

BIN_HU = 5.0
"""Densities are counted in such steps before noise is taken out of them."""

LOUD_HU = 30.0
"""More noise puts half a percent of lung at -870 HU below -950 HU.  Taken out again, it takes true
low attenuation with it: a sixth at 40 HU, a third at 60 HU (docs/validation.md)."""

LEAST_NOISE_HU = 4.0
"""Less noise moves no share."""

STEPS = 400
"""Of the deconvolution; where more of them change the shares of phantoms by less than 1 point."""

CUT_OFF_HU = -1024.0
"""Scanners store nothing lower: what lies there belongs there or below."""

GAS_HU = -1002.5
"""Nothing in a lung is lighter than air, whose CT number is -1000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Noise of a scan within the lungs."""

    sd_hu: float
    """Standard deviation of a voxel."""
    grain_mm: float
    """In-plane distance over which noise is alike: SD of the Gaussian that its correlation between
    neighbours belongs to; NaN where pixels are too large to see it."""
    where: str
    """What it was measured in, in words."""


def measure_noise(ct: Volume, lungs: Labelmap) -> Noise | None:
    """Measure noise in even patches of the lungs and in the core of the trachea.

    The lungs give the standard deviations of patches of 6 mm, a plane taken out of each (as
    Christianson 2015, AJR 205:W93, does over soft tissue).  Vessels and fine parenchyma add to
    most of them, so the quietest twentieth counts, as a twentieth of patches of nothing but noise
    would lie.  Air in the trachea has no texture, but the shoulders around it.  The smaller of both
    is the noise: too little of it is taken out rather than too much.

    Parameters
    ----------
    ct
        Chest CT in HU.
    lungs
        ``left_lung``, ``right_lung`` and, where known, ``airways``, on its grid.

    Returns
    -------
    Noise or None
        None where neither lungs nor trachea have even patches enough.

    """
    ct.geometry.require_same(lungs.geometry, what="CT and lungs")
    patches = _patches(ct, lungs)
    core = _core_noise_hu(ct, lungs)
    if patches is None:
        return None if core is None else Noise(sd_hu=core, grain_mm=math.nan, where="tracheal air")
    residuals, pixel_mm = patches
    sds = np.sqrt((residuals**2).sum(axis=(1, 2)) / _freedom(residuals.shape[1]))
    sd = float(np.quantile(sds, QUIET_SHARE)) / _quiet_ratio(residuals.shape[1])
    even = residuals[sds <= np.quantile(sds, 2 * QUIET_SHARE)]
    where = "the most even lung"
    if core is not None and core < sd:
        sd, where = core, "tracheal air"
    return Noise(sd_hu=sd, grain_mm=_grain_mm(even, pixel_mm), where=where)


def _patches(ct: Volume, lungs: Labelmap) -> tuple[NDArray[np.float32], float] | None:
    """Patches of lung with their mean plane taken out, shape (patches, edge, edge)."""
    inside = to_upright(lungs.mask(*LUNGS), lungs.geometry)
    if not inside.any():
        return None
    box = bounding_box(inside)
    inside = inside[box]
    values = to_upright(ct.array, ct.geometry)[box]
    if ct.valid is not None:
        inside = inside & to_upright(ct.valid, ct.geometry)[box]
    axes, _ = upright(ct.geometry)
    pixel_mm = max(ct.geometry.spacing_kji_mm[axis] for axis in axes[1:])
    edge = max(LEAST_BLOCK_VOXELS, round(BLOCK_MM / pixel_mm))
    _, rows, columns = (size // edge for size in inside.shape)
    found = []
    for mask, plane in zip(inside, values, strict=True):
        whole = _tiles(mask, rows, columns, edge).all(axis=(1, 2))
        tiles = _tiles(plane, rows, columns, edge)[whole].astype(np.float32)
        means = tiles.mean(axis=(1, 2))
        found.append(tiles[(means > EVEN_LUNG_HU[0]) & (means < EVEN_LUNG_HU[1])])
    tiles = np.concatenate(found)
    if len(tiles) < LEAST_PATCHES:
        return None
    ramp = np.arange(edge, dtype=np.float32) - (edge - 1) / 2
    tiles -= tiles.mean(axis=(1, 2), keepdims=True)
    for slope in (ramp[:, None], ramp[None, :]):
        weight = np.broadcast_to(slope, (edge, edge))
        part = (tiles * weight).sum(axis=(1, 2)) / float((weight**2).sum())
        tiles -= part[:, None, None] * weight
    return tiles, pixel_mm


def _tiles(plane: NDArray[np.generic], rows: int, columns: int, edge: int) -> NDArray[np.generic]:
    cut = plane[: rows * edge, : columns * edge].reshape(rows, edge, columns, edge)
    return cut.swapaxes(1, 2).reshape(-1, edge, edge)


def _freedom(edge: int) -> int:
    """Degrees of freedom of a patch whose plane was taken out."""
    return edge**2 - 3


def _quiet_ratio(edge: int) -> float:
    """Quantile of the standard deviation of patches of white noise, relative to that of noise."""
    freedom = _freedom(edge)
    return math.sqrt(float(stats.chi2.ppf(QUIET_SHARE, freedom)) / freedom)


def _grain_mm(residuals: NDArray[np.float32], pixel_mm: float) -> float:
    """Solve exp(-(pixel / grain)^2 / 2) = correlation of neighbours; 0 for none."""
    square = float((residuals.astype(np.float64) ** 2).mean())
    if square == 0 or pixel_mm > GRAIN_PIXEL_MM:
        return math.nan
    down = float((residuals[:, 1:].astype(np.float64) * residuals[:, :-1]).mean())
    across = float((residuals[:, :, 1:].astype(np.float64) * residuals[:, :, :-1]).mean())
    correlation = (down + across) / (2 * square)
    return pixel_mm / math.sqrt(-2 * math.log(correlation)) if correlation > 0 else 0.0


def share_below(
    values_hu: Float, counts: NDArray[np.int64], limit_hu: float, sd_hu: float
) -> float:
    """Share of voxels that would lie below a density without noise.

    The distribution of densities is that of the lung, spread by the noise.  Richardson and Lucy's
    iteration (Richardson 1972, J Opt Soc Am 62:55; Lucy 1974, Astron J 79:745) finds the one that
    makes the measured distribution most likely: never negative, nothing lighter than air, and
    what the scanner cut off at -1024 HU in its place.

    Parameters
    ----------
    values_hu, counts
        Densities that occur, ascending, and how often.
    limit_hu
        Threshold.
    sd_hu
        Standard deviation of the noise.

    Returns
    -------
    float
        0 to 1.

    """
    total = float(counts.sum())
    if sd_hu < LEAST_NOISE_HU:
        return float(counts[values_hu < limit_hu].sum()) / total
    top = float(values_hu[-1]) + BIN_HU
    lung = np.arange(limit_hu - BIN_HU / 2, GAS_HU - BIN_HU / 2, -BIN_HU)[::-1]
    lung = np.concatenate([lung, np.arange(limit_hu + BIN_HU / 2, top, BIN_HU)])
    edges = np.arange(CUT_OFF_HU + BIN_HU / 2, top + 5 * sd_hu, BIN_HU)
    seen = np.bincount(np.searchsorted(edges, values_hu, "right"), counts, edges.size + 1)
    bounds = np.concatenate([[-np.inf], edges, [np.inf]])
    spread = np.diff(special.ndtr((bounds[None] - lung[:, None]) / sd_hu), axis=1)
    there = np.full(lung.size, total / lung.size)
    for _ in range(STEPS):
        there *= spread @ (seen / np.maximum(there @ spread, 1e-12))
    return float(there[lung < limit_hu].sum() / there.sum())


def _core_noise_hu(ct: Volume, lungs: Labelmap) -> float | None:
    """Spread of tracheal air about the median of its slice, from the upper half.

    Scanners cut CT numbers off at -1024, which leaves the median and what lies above it.
    """
    airways = lungs.mask(AIRWAYS)
    if not airways.any():
        return None
    box = bounding_box(airways, (1, 1, 1))
    inside = airways[box]
    core = inside & (distance_mm(~inside, ct.geometry.spacing_kji_mm) >= CORE_MM)
    if np.count_nonzero(core) < LEAST_CORE_VOXELS:
        return None
    values = to_upright(ct.crop(box).array, ct.geometry)
    above = []
    for mask, plane in zip(to_upright(core, ct.geometry), values, strict=True):
        if np.count_nonzero(mask) >= 9:
            residual = plane[mask].astype(np.float64)
            residual -= np.median(residual)
            above.append(residual[residual >= 0])
    upper = np.concatenate(above) if above else np.zeros(0)
    return None if upper.size < LEAST_CORE_VOXELS // 3 else float(np.sqrt((upper**2).mean()))
