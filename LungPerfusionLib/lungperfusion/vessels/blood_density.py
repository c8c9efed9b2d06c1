"""Density of blood in HU: measured in heart and great vessels, or a cited default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.terms import LUNGS
from lungperfusion.vessels.background import block_steps, block_sums
from lungperfusion.volume import Labelmap, Volume, bounding_box

DEFAULT_BLOOD_HU = 40.0
"""Blood without contrast agent: 35 to 55 HU with the haematocrit (methods.md D.3)."""
BLOOD_RANGE_HU = (20.0, 700.0)
"""Densities of blood that a scan can show, with anaemia and with dense contrast agent."""
CONTRAST_FROM_HU = 90.0
"""Denser blood holds contrast agent."""
LEAST_SAMPLE_ML = 5.0
"""Homogeneous tissue needed between the lungs to call it heart or aorta."""
MOST_SPREAD_HU = 18.0
"""Blood is even: standard deviation between neighbouring blocks within the sample."""

Source = Literal["given", "label map", "heart and great vessels", "default"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BloodDensity:
    """Density of blood with where it comes from."""

    hu: float
    source: Source
    words: str
    """A sentence for the report."""

    @property
    def has_contrast(self) -> bool:
        """Whether the blood holds contrast agent."""
        return self.hu >= CONTRAST_FROM_HU


def given_blood_density(hu: float) -> BloodDensity:
    """Take the user's word."""
    return BloodDensity(hu=hu, source="given", words=f"{hu:.0f} HU as given")


def blood_density_of_label(ct: Volume, labels: Labelmap, *names: str) -> BloodDensity | None:
    """Median density in labelled blood, such as aorta or heart chambers, without its border.

    None where the labels hold less than 0.2 mL of inner voxels.
    """
    mask = labels.mask(*names)
    if not mask.any():
        return None
    box = bounding_box(mask, (1, 1, 1))
    inner = mask[box]
    for _ in range(2):
        smaller = ndimage.binary_erosion(inner)
        if np.count_nonzero(smaller) * ct.geometry.voxel_volume_ml < 0.2:
            break
        inner = smaller
    values = ct.array[box][inner]
    if values.size * ct.geometry.voxel_volume_ml < 0.2:
        return None
    hu = float(np.median(values))
    words = f"{hu:.0f} HU, median of the labels {', '.join(names)}"
    return BloodDensity(hu=hu, source="label map", words=words)


def find_blood_density(ct: Volume, lungs: Labelmap) -> BloodDensity:
    """Measure blood in the heart and great vessels between the lungs, or fall back on a default.

    Heart and great vessels are the even soft tissue between the lungs.  Without contrast agent it
    is all alike; with it, blood is the densest even tissue of some volume.

    Parameters
    ----------
    ct
        Chest CT in HU.
    lungs
        ``left_lung`` and ``right_lung`` on its grid.

    """
    values = _even_tissue_between_lungs(ct, lungs)
    steps = block_steps(ct.geometry.spacing_kji_mm, 3.0)
    block_ml = ct.geometry.voxel_volume_ml * float(np.prod(steps))
    if values.size * block_ml < LEAST_SAMPLE_ML:
        return BloodDensity(
            hu=DEFAULT_BLOOD_HU,
            source="default",
            words=f"{DEFAULT_BLOOD_HU:.0f} HU, default for blood without contrast agent: no heart "
            "or aorta was found between two lungs",
        )
    edges = np.arange(BLOOD_RANGE_HU[0], BLOOD_RANGE_HU[1] + 5.0, 5.0)
    counts, _ = np.histogram(values, edges)
    smooth = ndimage.gaussian_filter1d(counts.astype(np.float64), 2.0)
    peaks = np.flatnonzero(
        (smooth >= np.roll(smooth, 1)) & (smooth > np.roll(smooth, -1)) & (smooth > 0)
    )
    within = ndimage.uniform_filter1d(counts.astype(np.float64), 9) * 9
    # A chamber or the aorta holds tens of mL; denser specks are calcium, metal or bone.
    wanted = max(0.08 * values.size, LEAST_SAMPLE_ML / block_ml)
    large = peaks[within[peaks] >= wanted]
    peak = int(large[-1]) if large.size else int(np.argmax(smooth))
    near = np.abs(values - (edges[peak] + 2.5)) <= 22.5
    hu = float(np.median(values[near]))
    return BloodDensity(
        hu=hu,
        source="heart and great vessels",
        words=f"{hu:.0f} HU, median of {near.sum() * block_ml:.0f} mL of even tissue between the "
        "lungs: heart and great vessels",
    )


def _even_tissue_between_lungs(ct: Volume, lungs: Labelmap) -> NDArray[np.float64]:
    """Block means of even soft tissue that lies between left and right lung in its slice."""
    left, right = (lungs.mask(name) for name in LUNGS)
    if not (left.any() and right.any()):
        return np.zeros(0)
    box = bounding_box(left | right)
    steps = block_steps(ct.geometry.spacing_kji_mm, 3.0)
    voxels = float(np.prod(steps))
    image = ct.array[box].astype(np.float32)
    mean = block_sums(image, steps) / voxels
    square = block_sums(image * image, steps) / voxels
    sides = [block_sums(side[box], steps) > 0 for side in (left, right)]
    # Along the left-right axis, a block lies between when one lung is on either hand.
    axis, _ = ct.geometry.array_axis_toward("R")
    ahead = [np.maximum.accumulate(side, axis=axis) for side in sides]
    behind = [
        np.flip(np.maximum.accumulate(np.flip(side, axis), axis=axis), axis) for side in sides
    ]
    between = (ahead[0] & behind[1]) | (ahead[1] & behind[0])
    between &= ~sides[0] & ~sides[1]
    spread = np.sqrt(np.maximum(square - mean * mean, 0))
    soft = between & (mean > BLOOD_RANGE_HU[0]) & (mean < BLOOD_RANGE_HU[1])
    soft = ndimage.binary_erosion(soft, iterations=1)
    around = ndimage.uniform_filter(mean, 3)
    deviation = np.sqrt(np.maximum(ndimage.uniform_filter(mean * mean, 3) - around**2, 0))
    even = soft & (deviation <= MOST_SPREAD_HU) & (spread < 4 * MOST_SPREAD_HU)
    return np.asarray(around[even], dtype=np.float64)
