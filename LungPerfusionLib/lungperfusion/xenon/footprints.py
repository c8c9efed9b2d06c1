"""What of a CT lies within every voxel of a xenon MRI, as shares.

The map is never brought to the CT: its voxels hold a lobe, a zone or a tissue to some share, and a
mean over a region weighs them with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.terms import LUNGS
from lungperfusion.volume import Geometry, Mask
from lungperfusion.vq.displacement import voxel_positions
from lungperfusion.xenon.joining import Join

SAMPLE_MM = 1.0
"""Distance of the samples within a voxel, at most."""

_MOST_SAMPLES = 16  # along one axis


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Footprints:
    """Samples of the CT in the voxels of the mask of a xenon MRI.

    Parameters
    ----------
    index
        Flat index of each sample into arrays of the CT, -1 outside, shape (N, samples); the samples
        come in blocks of 2 x 2 x 2 neighbours.
    mask
        Voxels of the MRI that the rows belong to, in array order.
    ct
        Grid of the CT.

    """

    index: NDArray[np.int32]
    mask: Mask
    ct: Geometry

    def samples(self, array: NDArray[Any], outside: float) -> NDArray[Any]:
        """Values of an image of the CT at the samples, shape (N, samples)."""
        values = array.ravel()[self.index]  # -1 takes the last voxel, which is put right below
        if self.index.min(initial=0) < 0:
            values[self.index < 0] = outside
        return np.asarray(values)

    def shares(self, array: NDArray[np.unsignedinteger[Any]], *values: int) -> NDArray[np.float32]:
        """Share of every voxel that carries any of these labels, shape (N,)."""
        held = self.samples(array, 0)
        found = np.logical_or.reduce([held == value for value in values])
        return np.asarray(found.mean(axis=1, dtype=np.float32))


def footprints(join: Join, ct: Geometry) -> Footprints:
    """Sample the CT within every voxel of the mask of the MRI.

    The field is taken at the voxel's centre: it hardly changes within a voxel.

    Parameters
    ----------
    join
        How both lie.
    ct
        Grid of the CT.

    """
    geometry = join.sides.geometry
    mask = join.sides.mask(*LUNGS)
    offsets = _offsets(geometry)
    index = np.full((int(mask.sum()), len(offsets)), -1, np.int32)
    to_ct = np.linalg.inv(ct.ijk_to_ras)
    shape = np.array(ct.shape[::-1])
    k_step, j_step = ct.shape[1] * ct.shape[2], ct.shape[2]
    moved_offsets = offsets @ to_ct[:3, :3].T
    for lung, found in join.lungs.items():
        own = join.sides.mask(lung)
        rows = own[mask]
        centres = voxel_positions(geometry, own)
        centres = centres + found.field.at(centres)
        base = (centres @ to_ct[:3, :3].T + to_ct[:3, 3])[:, None, :]
        placed = np.rint(base + moved_offsets).astype(np.int32)
        inside = ((placed >= 0) & (placed < shape)).all(axis=2)
        flat = placed[..., 2] * k_step + placed[..., 1] * j_step + placed[..., 0]
        index[rows] = np.where(inside, flat, -1)
    return Footprints(index=index, mask=mask, ct=ct)


def _offsets(geometry: Geometry) -> NDArray[np.float64]:
    """Offsets of the samples from a voxel's centre, RAS mm, in blocks of eight neighbours."""
    counts = [
        2 * min(_MOST_SAMPLES // 2, max(1, math.ceil(size / SAMPLE_MM / 2)))
        for size in geometry.spacing_ijk_mm
    ]
    places = [(np.arange(n) + 0.5) / n - 0.5 for n in counts]
    grid = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1)
    a, b, c = (n // 2 for n in counts)
    blocks = grid.reshape(a, 2, b, 2, c, 2, 3).transpose(0, 2, 4, 1, 3, 5, 6).reshape(-1, 3)
    return np.asarray(blocks @ geometry.ijk_to_ras[:3, :3].T)


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Tissue:
    """Tissue of the CT within the voxels of the MRI's mask, arrays of shape (N,)."""

    normal_share: NDArray[np.float32]
    """Of the lung outside vessels; NaN where too little of it is in the voxel."""
    low_share: NDArray[np.float32]
    """Emphysema."""
    dense_share: NDArray[np.float32]
    """Ground glass, fibrosis, consolidation."""


def tissue_of(
    found: Footprints,
    hu: NDArray[Any],
    parenchyma: Mask,
    limits_hu: tuple[float, float],
    *,
    least_share: float = 0.5,
) -> Tissue:
    """Part the lung within every voxel into normal, too light and too dense.

    Means of eight neighbouring samples are judged, so that noise of the CT decides nothing.

    Parameters
    ----------
    found
        Samples.
    hu
        CT.
    parenchyma
        Lung outside vessels and airways, on the CT.
    limits_hu
        What is normal.
    least_share
        Share of a voxel that must be lung outside vessels for a judgement.

    """
    inside = found.samples(parenchyma, 0).astype(np.bool_)
    values = np.where(inside, found.samples(hu, -1000), 0).astype(np.float32)
    count = inside.reshape(len(inside), -1, 8).sum(axis=2)
    total = values.reshape(len(values), -1, 8).sum(axis=2)
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    weight = count.sum(axis=1).astype(np.float32)
    enough = weight >= least_share * inside.shape[1]

    def share(chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
        found = (count * chosen).sum(axis=1, dtype=np.float32) / np.maximum(weight, 1)
        return np.where(enough, found, np.float32(np.nan))

    low, dense = mean < limits_hu[0], mean > limits_hu[1]
    return Tissue(normal_share=share(~low & ~dense), low_share=share(low), dense_share=share(dense))


def breath_limits_hu(
    limits_hu: tuple[float, float], volume_l: float, full_volume_l: float
) -> tuple[float, float]:
    """Upper limit of normal density in a shallower breath, where the same tissue fills less volume.

    Examples
    --------
    >>> breath_limits_hu((-950.0, -700.0), 4.0, 6.0)
    (-950.0, -550.0)

    """
    ratio = max(1.0, full_volume_l / max(volume_l, 1e-3))
    return limits_hu[0], (limits_hu[1] + 1000.0) * ratio - 1000.0


def weighted_mean(values: NDArray[Any], weights: NDArray[Any]) -> float:
    """Mean of values with weights; NaN without any weight."""
    total = float(weights.sum(dtype=np.float64))
    return float((values * weights).sum(dtype=np.float64)) / total if total > 0 else math.nan
