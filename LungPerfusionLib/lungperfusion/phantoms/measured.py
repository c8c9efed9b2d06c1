"""Measured perfusion and ventilation of the breathing phantom: iodine at either breath, counts.

The true perfusion has defects and gradients of its own, which the density of the phantom does not
show: what a surrogate from density can tell is wrong here, and only the measured image is right.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.phantoms.breathing import BreathingPhantom, Defect
from lungperfusion.resampling import resample_array
from lungperfusion.terms import LUNGS
from lungperfusion.volume import Volume
from lungperfusion.vq.displacement import DisplacementField, voxel_positions

State = Literal["expiration", "inspiration"]
Array = NDArray[np.float32]

PERFUSION_DEFECTS = (
    Defect(kind="dead_space", centre_ras_mm=(-76.0, -20.0, 40.0), radius_mm=26.0),
    Defect(kind="dead_space", centre_ras_mm=(74.0, -20.0, -45.0), radius_mm=24.0),
    Defect(kind="dead_space", centre_ras_mm=(70.0, 25.0, 5.0), radius_mm=20.0, shape="wedge"),
)
"""Without blood flow: one where the lung is sound, one on the phantom's matched defect, a wedge."""

FLOW_LEFT = 0.2
"""Share of the normal flow that a defect keeps."""

IODINE_MG_ML = 1.5
IODINE_NOISE_MG_ML = 0.5
IODINE_FWHM_MM = 4.0
COUNTS_FWHM_MM = 12.0
COUNTS_VOXEL_MM = 4.4
COUNTS = 60.0
"""Mean counts of a voxel in the lung."""
COUNTS_FILTER_MM = 3.0
"""Standard deviation of the filter after reconstruction."""
_GRAIN_MM = 0.5


def true_perfusion(
    phantom: BreathingPhantom, defects: tuple[Defect, ...] = PERFUSION_DEFECTS
) -> Volume:
    """Flow per expiratory volume on the expiratory grid, 1 about where normal, 0 outside."""
    scale = float(phantom.settings["scale"])
    inside = phantom.expiration_lungs.mask(*LUNGS)
    geometry = phantom.expiration.geometry
    points = voxel_positions(geometry, inside)
    flow = 1 - 0.25 * points[:, 1] / (85 * scale) - 0.1 * points[:, 2] / (100 * scale)
    for defect in defects:
        flow *= 1 - (1 - FLOW_LEFT) * defect.profile(points, scale)
    array = np.zeros(geometry.shape, np.float32)
    array[inside] = flow
    return Volume(array, geometry, "1", inside)


def iodine_image(
    phantom: BreathingPhantom,
    flow: Volume,
    state: State,
    *,
    noise_mg_ml: float = IODINE_NOISE_MG_ML,
    seed: int = 0,
) -> Volume:
    """Iodine in mg/mL of the lungs in one breath, known inside them alone.

    Parameters
    ----------
    phantom
        Whose lungs.
    flow
        Of `true_perfusion`.
    state
        Breath of the scan: at inspiration the same iodine lies in more lung.
    noise_mg_ml
        Standard deviation of a voxel.
    seed
        Of the noise.

    """
    amount, lungs = _amount(phantom, flow, state)
    spacing = phantom.expiration.geometry.spacing_kji_mm
    sigma = [IODINE_FWHM_MM / 2.355 / s for s in spacing]
    rng = np.random.default_rng([1, seed])
    noise = ndimage.gaussian_filter(
        rng.standard_normal(amount.shape, dtype=np.float32), [_GRAIN_MM / s for s in spacing]
    )
    noise *= noise_mg_ml / float(noise.std())
    array = IODINE_MG_ML * ndimage.gaussian_filter(amount, sigma) + noise
    return Volume(array.astype(np.float32), flow.geometry, "mg/mL", lungs)


def counts_image(
    phantom: BreathingPhantom,
    amount: Volume,
    state: State,
    *,
    counts: float = COUNTS,
    seed: int = 0,
) -> Volume:
    """Make counts of a gamma camera: blurred, in large voxels, with Poisson noise, filtered.

    Parameters
    ----------
    phantom
        Whose lungs.
    amount
        Flow, or ventilation, per expiratory volume.
    state
        Breath of the scan.
    counts
        Of a voxel where the amount is 1.
    seed
        Of the noise.

    """
    array, _ = _amount(phantom, amount, state)
    geometry = phantom.expiration.geometry
    sigma = [COUNTS_FWHM_MM / 2.355 / s for s in geometry.spacing_kji_mm]
    coarse = geometry.with_spacing((COUNTS_VOXEL_MM,) * 3)
    mean = resample_array(
        ndimage.gaussian_filter(array, sigma), geometry, coarse, interpolation="linear", fill=0.0
    )
    rng = np.random.default_rng([2, seed])
    drawn = rng.poisson(np.maximum(mean, 0) * counts) / counts
    smooth = ndimage.gaussian_filter(drawn, COUNTS_FILTER_MM / COUNTS_VOXEL_MM)
    return Volume(smooth.astype(np.float32), coarse, "1")


def counts_fwhm_mm() -> float:
    """Width at half height of a point in `counts_image`, camera and filter together."""
    return float(np.hypot(COUNTS_FWHM_MM, 2.355 * COUNTS_FILTER_MM))


def _amount(
    phantom: BreathingPhantom, amount: Volume, state: State
) -> tuple[Array, NDArray[np.bool_]]:
    """Amount per volume of lung in one breath, 0 outside, with its lungs."""
    inside = phantom.expiration_lungs.mask(*LUNGS)
    if state == "expiration":
        return np.where(inside, amount.array, 0).astype(np.float32), inside
    lungs = phantom.inspiration_lungs.mask(*LUNGS)
    geometry = amount.geometry
    nearest = tuple(
        ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    )
    motion = DisplacementField(phantom.displacement_ras_mm[nearest], geometry)
    there = voxel_positions(geometry, lungs)
    index = geometry.ijk_from_ras(there + motion.inverse_at(there)).T[::-1]
    thinned = (amount.array / phantom.jacobian.array)[nearest]
    out = np.zeros(geometry.shape, np.float32)
    out[lungs] = ndimage.map_coordinates(thinned, index, order=1, mode="nearest")
    return out, lungs
