"""Quick guess of how much lung a chest CT shows, to tell inspiration from expiration."""

from __future__ import annotations

import numpy as np

from lungperfusion.volume import Volume

COARSE_MM = 5.0
"""Blocks of about this size are averaged: noise of open air must not look like lung."""

LUNG_HU = (-950.0, -500.0)
"""Aerated lung: open air is darker on average, everything else brighter."""


def estimate_lung_volume_l(ct: Volume) -> float:
    """Guess the volume of the lungs: blocks whose mean is that of aerated lung.

    Takes a second instead of the minute of a segmentation.  Skin and bowel add a little, so use it
    to compare two scans of one patient, never as a result.

    Parameters
    ----------
    ct
        Chest CT in HU.

    """
    ct.require_unit("HU", "the chest CT")
    blocks = [max(1, round(COARSE_MM / mm)) for mm in ct.geometry.spacing_kji_mm]
    counts = [size // block for size, block in zip(ct.geometry.shape, blocks, strict=True)]
    k, j, i = (count * block for count, block in zip(counts, blocks, strict=True))
    split = [part for pair in zip(counts, blocks, strict=True) for part in pair]
    means = ct.array[:k, :j, :i].reshape(split).mean(axis=(1, 3, 5), dtype=np.float32)
    low, high = LUNG_HU
    lung = np.count_nonzero((means > low) & (means < high))
    return float(lung * np.prod(blocks)) * ct.geometry.voxel_volume_ml / 1000.0
