"""Quick guess of how much lung a chest CT shows, to tell inspiration from expiration."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lungperfusion.body import upright
from lungperfusion.volume import Mask, Volume

COARSE_MM = 5.0
"""Blocks of about this size are averaged: noise of open air must not look like lung."""

SAMPLES = 3
"""Voxels of a block along each axis that are looked at, at least, where it has as many."""

LUNG_HU = (-950.0, -500.0)
"""Aerated lung that reaches the side of the image, where open air is darker on average."""


def estimate_lung_volume_l(ct: Volume) -> float:
    """Guess the volume of the lungs: blocks of air within the body, however dark.

    Takes a part of a second instead of the minute of a segmentation.  Bowel adds a little, so
    use it to compare two scans of one patient, never as a result.

    Parameters
    ----------
    ct
        Chest CT in HU.

    """
    ct.require_unit("HU", "the chest CT")
    sizes = ct.geometry.spacing_kji_mm
    steps = [max(1, int(COARSE_MM / mm) // SAMPLES) for mm in sizes]
    array = ct.array[tuple(slice(None, None, step) for step in steps)]
    blocks = [max(1, round(COARSE_MM / (mm * step))) for mm, step in zip(sizes, steps, strict=True)]
    counts = [size // block for size, block in zip(array.shape, blocks, strict=True)]
    k, j, i = (count * block for count, block in zip(counts, blocks, strict=True))
    split = [part for pair in zip(counts, blocks, strict=True) for part in pair]
    means = array[:k, :j, :i].reshape(split).mean(axis=(1, 3, 5), dtype=np.float32)
    low, high = LUNG_HU
    dark = means < high
    joined = _joined_to_sides(dark, ct)
    cut = ndimage.binary_opening(joined & (means > low))  # skin is thinner
    lung = np.count_nonzero((dark & ~joined) | cut)
    return float(lung * np.prod(blocks) * np.prod(steps)) * ct.geometry.voxel_volume_ml / 1000.0


def _joined_to_sides(dark: Mask, ct: Volume) -> Mask:
    """Find air that is joined, within its axial slice, to the side of the image: open air is."""
    head, *sides = upright(ct.geometry)[0]
    within_slice = ndimage.generate_binary_structure(3, 1)
    within_slice[tuple([0, 2] if axis == head else 1 for axis in range(3))] = False
    labels, _ = ndimage.label(dark, within_slice)
    edges = np.zeros(dark.shape, np.bool_)
    for axis in sides:
        edges[(slice(None),) * axis + ([0, -1],)] = True
    return np.isin(labels, np.unique(labels[edges & dark])) & dark
