"""The two states of breathing at the same voxels: what ventilation and perfusion are made from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from lungperfusion.morphology import eroded
from lungperfusion.resampling import from_sitk, to_sitk
from lungperfusion.smoothing import gaussian_mean
from lungperfusion.terms import LOBES, LUNGS
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume, bounding_box, box_around
from lungperfusion.vq.calibration import PairCalibration
from lungperfusion.vq.jacobian import scale_to_volumes
from lungperfusion.vq.registration import Registration

Float = NDArray[np.float32]

SURFACE_MM = 3.0
"""Lung nearer to its surface is left out of densities: blur of the chest wall reaches that far."""

SOLID_HU = -250.0
"""Voxels above are vessel, airway wall or consolidation: no place where gas volume changes.

Methods C.2: specific volume change is undefined there.
"""

BLUR_MM = 1.5
"""Neighbours of solid voxels within this distance are left out as well: partial volume."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BreathPair:
    """Expiration and inspiration on the expiratory grid.

    Arrays are NaN outside the registered lungs.
    """

    expiration: Volume
    inspiration_hu: Float
    """Inspiratory HU of the tissue in each voxel."""
    jacobian: Float
    """Inspiratory per expiratory volume, scaled to the segmented volumes that both scans hold."""
    lungs: Labelmap
    parenchyma: Mask
    """Lung voxels without vessels, airways and solid tissue, in both states."""
    open_lung: Mask
    """Lung voxels beneath the surface without known vessels; solid tissue may lie among them."""
    volume_factors: dict[str, float]
    """What the Jacobian of each lung, then of each lobe, was multiplied by.

    None of a lung or lobe that the field of view of either scan cuts off.
    """
    calibration: PairCalibration = field(default_factory=PairCalibration)
    """How CT numbers of both scans differ; not yet applied to `inspiration_hu`."""

    @property
    def geometry(self) -> Geometry:
        """The expiratory grid."""
        return self.expiration.geometry

    @property
    def calibrated_hu(self) -> Float:
        """Inspiratory HU on the scale of the expiratory scan."""
        return self.calibration.corrected(self.inspiration_hu)

    @property
    def mask(self) -> Mask:
        """Lung voxels with a value."""
        return np.isfinite(self.jacobian) & np.isfinite(self.inspiration_hu)

    def smooth(self, values: NDArray[np.floating], known: Mask, sigma_mm: float) -> Float:
        """Gaussian mean of known values, each lung for itself; NaN outside the lungs.

        Normalised convolution: what is unknown (vessels) takes the mean of its neighbourhood.
        """
        out = np.full(values.shape, np.nan, np.float32)
        for lung in LUNGS:
            inside = self.lungs.mask(lung) & self.mask
            if not (inside & known).any():
                continue
            box = box_around(inside, self.geometry.spacing_kji_mm, 3 * sigma_mm)
            here = inside[box] & known[box]
            mean, _ = gaussian_mean(values[box], here, self.geometry.crop(box), sigma_mm)
            out[box][inside[box]] = mean[inside[box]]
        return out


def pair_breaths(
    expiration: Volume,
    inspiration: Volume,
    registration: Registration,
    expiration_lungs: Labelmap,
    inspiration_lungs: Labelmap,
    *,
    lobes: tuple[Labelmap, Labelmap] | None = None,
    vessels: Mask | None = None,
    calibration: PairCalibration | None = None,
) -> BreathPair:
    """Bring both states onto the expiratory grid.

    Parameters
    ----------
    expiration, inspiration
        CT in HU.
    registration
        Of the same pair.
    expiration_lungs, inspiration_lungs
        Lungs of both scans.
    lobes
        Lobes of both scans: the Jacobian is scaled to their volumes instead of the lungs'.
    vessels
        Vessels and airways on the expiratory grid to leave out, besides voxels above
        `SOLID_HU`.
    calibration
        How CT numbers of both scans differ; by default not at all.

    """
    expiration.geometry.require_same(registration.geometry, what="expiration and registration")
    jacobian = registration.jacobian()
    views = expiration.valid, inspiration.valid
    jacobian, factors = scale_to_volumes(
        jacobian, expiration_lungs, inspiration_lungs, LUNGS, views=views
    )
    if lobes is not None:
        jacobian, by_lobe = scale_to_volumes(jacobian, *lobes, LOBES, views=views)
        factors |= by_lobe
    inspiration_hu = registration.warp(inspiration)
    inside = np.isfinite(jacobian) & np.isfinite(inspiration_hu)
    # The surface lies half a voxel before the first centre outside.
    half_voxel = 0.5 * float(np.mean(expiration.geometry.spacing_kji_mm))
    open_lung = inside & beneath_surface(expiration_lungs, SURFACE_MM + half_voxel)
    if expiration.valid is not None:
        open_lung &= expiration.valid
    solid = inside & ((expiration.array > SOLID_HU) | (inspiration_hu > SOLID_HU))
    if vessels is not None:
        open_lung &= ~vessels
        solid |= vessels
    parenchyma = open_lung & ~_within(solid, expiration.geometry, BLUR_MM)
    return BreathPair(
        expiration=expiration,
        inspiration_hu=inspiration_hu,
        jacobian=jacobian,
        lungs=expiration_lungs,
        parenchyma=parenchyma,
        open_lung=open_lung,
        volume_factors={region.value: float(factor) for region, factor in factors.items()},
        calibration=calibration or PairCalibration(),
    )


def beneath_surface(lungs: Labelmap, least_mm: float) -> Mask:
    """Lung deeper under its surface than a distance; each lung for itself."""
    deep = np.zeros(lungs.geometry.shape, np.bool_)
    for lung in LUNGS:
        mask = lungs.mask(lung)
        if mask.any():
            box = bounding_box(mask, (1, 1, 1))
            deep[box] |= eroded(mask[box], least_mm, lungs.geometry.spacing_kji_mm)
    return deep


def _within(mask: Mask, geometry: Geometry, distance_mm: float) -> Mask:
    """Voxels whose centre lies within a distance of a mask's voxels, by a ball in mm."""
    radius = [int(distance_mm / s) for s in geometry.spacing_ijk_mm]
    if not mask.any() or max(radius) == 0:
        return mask
    grown = sitk.BinaryDilate(to_sitk(mask, geometry), radius, sitk.sitkBall)
    return from_sitk(grown).view(np.bool_)
