"""How much water the beam has to pass in this patient, which sets how bright iodine is."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lungperfusion.body import Coarse, body_mask, coarse_copy, to_upright
from lungperfusion.volume import Mask, Volume

DIRECTIONS = 8
"""Directions of axial rays over a half turn."""

_CELL_MM = 8.0
_CUT_OFF_SHARE = 0.05
"""Of the border of the image inside the body: more, and the patient is wider than the image."""


def water_path_cm(image: Volume, lungs: Mask) -> float | str:
    """Mean water-equivalent length of axial rays through the lungs.

    The length of a ray is the sum of ``HU / 1000 + 1`` along it, as in the water-equivalent
    diameter of AAPM 2014 (report 220); it decides how much the beam has hardened.

    Parameters
    ----------
    image
        CT in HU.
    lungs
        Lung voxels, shape (K, J, I).

    Returns
    -------
    float or str
        Path in cm, or why it cannot be had.

    """
    image.require_unit("HU", "the image that shows the body")
    coarse = coarse_copy(image, size_mm=_CELL_MM)
    lung = coarse.any_of(to_upright(lungs, image.geometry))
    levels = np.flatnonzero(lung.any(axis=(1, 2)))
    if not levels.size:
        return "no slice shows lung"
    body = body_mask(coarse)[levels]
    border = np.concatenate([body[:, [0, -1]].ravel(), body[:, :, [0, -1]].ravel()])
    if border.mean() > _CUT_OFF_SHARE:
        return "the body is wider than the image"
    return float(_mean_path_cm(coarse, levels)[lung[levels]].mean(dtype=np.float64))


def _mean_path_cm(coarse: Coarse, levels: np.ndarray) -> np.ndarray:
    """Length of rays through every cell of some slices, mean over the directions."""
    _, height, width = coarse.spacing_mm
    water = np.maximum(coarse.hu[levels] / 1000 + 1, 0)
    water = ndimage.zoom(water, (1, height / _CELL_MM, width / _CELL_MM), order=1, grid_mode=True,
                         mode="nearest")  # fmt: skip
    rim = int(np.ceil(0.21 * max(water.shape[1:]))) + 1  # room for the turned corners
    padded = np.pad(water, [(0, 0), (rim, rim), (rim, rim)])
    total = np.zeros(padded.shape, np.float32)
    for number in range(DIRECTIONS):
        angle = 180.0 * number / DIRECTIONS
        turned = ndimage.rotate(padded, angle, axes=(1, 2), reshape=False, order=1)
        length = np.broadcast_to(turned.sum(axis=1, keepdims=True), turned.shape)
        total += ndimage.rotate(length, -angle, axes=(1, 2), reshape=False, order=1)
    mean = total[:, rim:-rim, rim:-rim] * np.float32(_CELL_MM / 10 / DIRECTIONS)
    shape = (levels.size, *coarse.hu.shape[1:])
    scale = [n / m for n, m in zip(shape, mean.shape, strict=True)]
    return np.asarray(ndimage.zoom(mean, scale, order=1, grid_mode=True, mode="nearest"))
