"""A first pass ready to be measured: aligned frames, inputs, and where the lung counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.dynamic.inputs import InputCurve, Inputs
from lungperfusion.dynamic.motion import Aligned
from lungperfusion.dynamic.series import Frames
from lungperfusion.iodine.smoothing import smooth_inside
from lungperfusion.morphology import depth_mm
from lungperfusion.regions import RegionSet
from lungperfusion.terms import LUNGS, TISSUES, Region
from lungperfusion.terms.density import (
    AERATED_BELOW_HU,
    EMPHYSEMA_BELOW_HU,
    GROUND_GLASS_FROM_HU,
)
from lungperfusion.volume import Labelmap, Mask, Volume

Curve = NDArray[np.float64]

VESSEL_BLOOD_SHARE = 0.5
"""A voxel that enhances by more than this share of the trunk over the whole pass is a vessel:
lung tissue, consolidated too, holds less blood."""

VESSEL_SMOOTHING_MM = 2.0
THIN_MM = 9.0
VESSEL_EXCESS, EXCESS_OVER_NOISE = 0.3, 5.0
"""What is thinner than this and enhances by so much more than the lung around it is a small vessel:
its blood passes earlier or later and is 100 mL per 100 mL.  On the phantom in voxels of 3 mm blood
volume is 12 % too high with them and within 1 % without.  Noise lowers what lies around by two to
three of its standard deviations, so the excess must be five of them.  Deficits and ground glass are
broader."""

LEAST_DENSITY_G_ML = 0.05
"""Of lung tissue: emphysema, below which values per gram would be noise."""

VOLUME_ERROR_SHARE = 0.08
"""Of a volume change is its error: on the phantom -0.003 of -0.053, and more near its ends."""
USUAL_DENSITY_G_ML = 0.2

TISSUE_SMOOTHING_MM = 3.0
"""Of the baseline by which tissue is told: single voxels of low dose are noise."""


def _smoothed(values: NDArray[np.floating], mask: Mask, sigma: list[float]) -> NDArray[np.float32]:
    """Gaussian mean of the voxels of a mask."""
    weight = ndimage.gaussian_filter(mask.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(mask, values, 0).astype(np.float32), sigma)
    return np.asarray(total / np.maximum(weight, np.float32(1e-3)))


def _opened(
    values: NDArray[np.float32], mask: Mask, edge_mm: float, spacing_mm: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Grey opening inside a mask: bright structures thinner than a cube are taken off."""
    size = [2 * round(edge_mm / mm / 2) + 1 for mm in spacing_mm]
    low = ndimage.minimum_filter(np.where(mask, values, np.inf), size)
    return np.asarray(ndimage.maximum_filter(np.where(mask, low, -np.inf), size), np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class FirstPass:
    """Frames of one state of breathing with their inputs.

    Parameters
    ----------
    aligned
        Frames and their motion.
    inputs
        Curves of the great vessels.
    regions
        Lungs, lobes, zones on the working grid.
    lung
        Voxels that lie in the lung and in no vessel, bronchus or at the pleura.
    hct_ratio
        (1 - large-vessel haematocrit) / (1 - small-vessel haematocrit); 1 leaves it alone.

    """

    aligned: Aligned
    inputs: Inputs
    regions: RegionSet
    lung: Mask
    hct_ratio: float = 1.0

    @property
    def frames(self) -> Frames:
        """Aligned frames that were kept."""
        return self.aligned.frames

    @property
    def times_s(self) -> Curve:
        """Times of the frames."""
        return self.inputs.times_s

    @property
    def artery_hu(self) -> Curve:
        """Plasma input of the trunk, as the tissue sees it."""
        return self.inputs.artery.hu / self.hct_ratio

    @property
    def aorta_hu(self) -> Curve | None:
        """Plasma input of the aorta, if there is one."""
        aorta = self.inputs.aorta
        return aorta.hu / self.hct_ratio if isinstance(aorta, InputCurve) else None

    def weights(self, noise_hu: float, density_g_ml: float = USUAL_DENSITY_G_ML) -> Curve:
        """Weigh each frame for a fit: it counts less where its lungs had another volume.

        Parameters
        ----------
        noise_hu
            Standard deviation of the curves.
        density_g_ml
            Of the tissue; its error is that of the volume change.

        """
        change = self.aligned.volume_change[self.aligned.kept]
        moved = VOLUME_ERROR_SHARE * change * 1000 * density_g_ml
        return np.asarray(1 / (noise_hu**2 + moved**2))

    @cached_property
    def baseline(self) -> Volume:
        """Mean of the frames before the bolus, HU."""
        frames = self.frames
        return Volume(frames.mean(self.inputs.baseline), frames.geometry, "HU", frames.valid)

    @cached_property
    def enhancement(self) -> NDArray[np.float32]:
        """Frames less their baseline, shape (frames, K, J, I), HU."""
        return np.asarray(self.frames.array - self.baseline.array, np.float32)

    @property
    def enhanced_frames(self) -> Frames:
        """Enhancement as frames: curves of any place start at 0."""
        return replace(self.frames, array=self.enhancement)

    @cached_property
    def mean_enhancement(self) -> NDArray[np.float32]:
        """Mean of the enhancement over the time of the series, HU."""
        span = float(self.times_s[-1] - self.times_s[0])
        area = np.trapezoid(self.enhancement, self.times_s, axis=0)
        return np.asarray(area / span, np.float32)

    @cached_property
    def measurable(self) -> Mask:
        """Lung between the vessels that every frame shows."""
        span = float(self.times_s[-1] - self.times_s[0])
        trunk = float(np.trapezoid(self.inputs.artery.hu, self.times_s)) / span
        spacing = self.frames.geometry.spacing_kji_mm
        lung = self.lung if self.frames.valid is None else self.lung & self.frames.valid
        around = [VESSEL_SMOOTHING_MM / mm for mm in spacing]
        smooth = _smoothed(self.mean_enhancement, lung, around)
        out = lung & (smooth < VESSEL_BLOOD_SHARE * trunk)
        least = EXCESS_OVER_NOISE * self._noise_of_mean(lung, around)
        broad = _opened(smooth, out, THIN_MM, spacing)
        return np.asarray(out & (smooth <= (1 + VESSEL_EXCESS) * broad + least))

    def interior(self, edge_mm: float) -> Mask:
        """Measurable lung farther than this from vessels, pleura and all else that is not.

        Voxels at an edge hold some of a vessel's blood, and in a frame that was moved what its
        interpolation makes of the edge.
        """
        return np.asarray(self._depth_mm > edge_mm)

    @cached_property
    def _depth_mm(self) -> NDArray[np.float32]:
        """Distance of measurable lung to what is not."""
        return depth_mm(self.measurable, self.frames.geometry.spacing_kji_mm)

    def _noise_of_mean(self, lung: Mask, around: list[float]) -> float:
        """Tell the noise of the smoothed mean enhancement from frames before the bolus."""
        before = self.frames.array[self.inputs.baseline]
        if len(before) < 2 or not lung.any():
            return 0.0
        pair = _smoothed(before[1] - before[0], lung, around)[lung]
        single = float(np.subtract(*np.percentile(pair, (75, 25)))) / (1.349 * np.sqrt(2))
        return float(single) * float(np.sqrt(1 / len(self.frames.array) + 1 / len(before)))

    @cached_property
    def density_hu(self) -> NDArray[np.float32]:
        """Baseline of the measurable lung, smoothed inside each lung."""
        out = np.asarray(self.baseline.array, np.float32)
        for side in LUNGS:
            inside = self.regions.mask(side) & self.measurable
            out = smooth_inside(out, inside, self.frames.geometry, sigma_mm=TISSUE_SMOOTHING_MM)
        return out

    @cached_property
    def density_g_ml(self) -> NDArray[np.float32]:
        """Mass of the tissue per volume of lung, smoothed."""
        return np.maximum((self.density_hu + 1000) / 1000, np.float32(LEAST_DENSITY_G_ML))

    @cached_property
    def tissues(self) -> Labelmap:
        """Classes of measurable lung by density (`TISSUES`), on the working grid."""
        normal, glass, solid, emphysema = range(1, 5)
        hu = self.density_hu
        classes = np.select(
            [
                hu < EMPHYSEMA_BELOW_HU,
                hu < GROUND_GLASS_FROM_HU,
                hu < AERATED_BELOW_HU,
            ],
            [emphysema, normal, glass],
            solid,
        )
        array = np.where(self.measurable, classes, 0).astype(np.uint8)
        return Labelmap(array, self.frames.geometry, dict(enumerate(TISSUES, start=1)))

    def mask(self, region: Region) -> Mask:
        """Measurable voxels of a region or class of tissue."""
        if region in TISSUES:
            return self.tissues.mask(region)
        return self.regions.mask(region) & self.measurable
