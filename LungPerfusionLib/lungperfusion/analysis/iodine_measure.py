"""Settings of the iodine analysis, and from an iodine map to scores and defects."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.analysis.stages import remembered
from lungperfusion.blood import find_blood_density
from lungperfusion.errors import InputError
from lungperfusion.iodine.decomposition import IodineMap
from lungperfusion.iodine.defects import (
    DEFAULT_RULE,
    MINIMAL_VOLUME_ML,
    DefectRule,
    Defects,
    find_defects,
)
from lungperfusion.iodine.exclusion import (
    CONTRAST_HU_PER_MG_ML,
    DEFAULT_HANDLING,
    HEART_RIM_MM,
    STREAK_REACH_MM,
    Exclusion,
    Handling,
    find_exclusions,
)
from lungperfusion.iodine.expected import expected_enhancement
from lungperfusion.iodine.pool import blood_mg_ml
from lungperfusion.iodine.score import (
    judge_blood_share,
    judge_level,
    score_defects,
    score_heterogeneity,
    score_iodine,
)
from lungperfusion.iodine.smoothing import IODINE_SMOOTHING_MM, smooth_in_place
from lungperfusion.iodine.streaks import find_streaks, judge_streaks
from lungperfusion.iodine.trunk import Trunk, find_trunk, measure_trunk
from lungperfusion.measurement import Measurement
from lungperfusion.morphology import dilated
from lungperfusion.opacity import BLUR_MM, mark_vessels
from lungperfusion.progress import Progress, ignore
from lungperfusion.quality import Gate
from lungperfusion.regions import RegionSet
from lungperfusion.terms import LUNGS, VESSELS, Region
from lungperfusion.terms.iodine import DEFECT_BELOW_HU
from lungperfusion.terms.vq import LOW_SHARE
from lungperfusion.volume import Box, Labelmap, Mask, Volume, box_around

PRESETS = ("lung-pbv-like",)
"""``lung-pbv-like``: settings like those of syngo lung PBV as far as published: iodine only
between -960 and -600 HU (Galvez 2016, J Adv Radiol Med Imaging 1:204), the tabulated ratio of the
voltages without adaptation to the patient's size, and a fixed threshold for defects.  The vendor's
own calibration and filters are not public, so numbers agree in kind, not in value."""

CROP_MARGIN_MM = 20.0
"""Around the lungs: what is farther away plays no part in any iodine measure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IodineOptions:
    """Settings of the iodine analysis."""

    smoothing_mm: float = IODINE_SMOOTHING_MM
    window_hu: tuple[float, float] | None = None
    """Only lung of this density counts; None counts all measurable lung."""
    exclusions: Handling = DEFAULT_HANDLING
    streak_reach_mm: float = STREAK_REACH_MM
    heart_rim_mm: float = HEART_RIM_MM
    defect_rule: DefectRule = DEFAULT_RULE
    defect_below_hu: float = DEFECT_BELOW_HU
    defect_relative_below: float = LOW_SHARE
    defect_minimal_ml: float = MINIMAL_VOLUME_ML

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        for name in ("smoothing_mm", "streak_reach_mm", "heart_rim_mm"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} must be 0 mm or more, not {getattr(self, name):g}")
        if not 0 < self.defect_relative_below < 1:
            raise InputError(
                "a defect lies below a share of the expected iodine between 0 and 1, not "
                f"{self.defect_relative_below:g}"
            )
        if self.window_hu is not None and not self.window_hu[0] < self.window_hu[1]:
            raise InputError(
                "the density window needs a lower and a higher HU, not "
                f"{self.window_hu[0]:g} and {self.window_hu[1]:g}"
            )

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings for results.json."""
        window = None if self.window_hu is None else list(self.window_hu)
        return {**asdict(self), "window_hu": window}


DEFAULT_OPTIONS = IodineOptions()


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Given:
    """What is known of a map before it is measured; None for what is to be found."""

    exclusion: Exclusion | None = None
    """What is left out, from `exclude`."""
    trunk: Mask | None = None
    """Region in the pulmonary trunk."""
    defects: Mask | None = None
    """Defects as a reader corrected them."""


NOTHING_GIVEN = Given()


@dataclass(frozen=True, eq=False, kw_only=True)
class IodineAnalysis:
    """Everything that the iodine analysis found, for results and for review in Slicer."""

    iodine: IodineMap
    """Smoothed map."""
    thin: Mask
    """Thin dense structures of the lungs, `mark_vessels`."""
    measurable: Mask
    exclusion: Exclusion
    trunk: Trunk | str
    """The pulmonary trunk, or why there is none."""
    defects: Defects
    measurements: tuple[Measurement, ...]
    gates: tuple[Gate, ...]
    warnings: tuple[str, ...]


def measure_iodine(
    iodine: IodineMap,
    density: Volume,
    found: FoundRegions,
    *,
    options: IodineOptions = DEFAULT_OPTIONS,
    given: Given = NOTHING_GIVEN,
    progress: Progress = ignore,
) -> IodineAnalysis:
    """Score an iodine map and find its defects.

    Parameters
    ----------
    iodine
        Unsmoothed map.
    density
        CT in HU on the same grid that shows what lies beneath defects, best without contrast.
    found
        Lungs and regions on the same grid.
    options
        Smoothing, exclusions and defect rules.
    given
        Exclusions, trunk and defects that are known; the others are found.

    """
    regions, lungs = found.regions, found.regions.mask(Region.LUNGS)
    progress(0.0, "large vessels, streaks and pulmonary trunk")
    exclusion = given.exclusion or exclude(density, found, options)
    blood = _trunk(iodine, found.lungs, given.trunk)
    pool = blood_mg_ml(blood, remembered(_aorta_mg_ml, iodine, density, found.lungs))
    pool_hu = None if isinstance(pool, str) else pool * iodine.hu_per_mg_ml
    exclusion = _with_streaks(iodine, exclusion, regions, options, pool_hu)
    measurable = exclusion.measurable(lungs) if options.exclusions == "exclude" else lungs.copy()
    if iodine.concentration.valid is not None:
        measurable &= iodine.concentration.valid
    if options.window_hu is not None:
        low, high = options.window_hu
        measurable &= (density.array >= low) & (density.array <= high)

    # One after the other: each needs several arrays as large as the map.
    progress(0.2, "defects")
    thin = remembered(mark_vessels, density, lungs)
    vessels = _with_known_vessels(thin, lungs, found)
    parenchyma = _parenchyma(iodine, measurable, vessels, regions, options.smoothing_mm)
    defects = remembered(
        find_defects,
        parenchyma.enhancement,
        measurable,
        regions,
        ct=density,
        rule=options.defect_rule,
        absolute_below_hu=options.defect_below_hu,
        relative_below=options.defect_relative_below,
        minimal_volume_ml=options.defect_minimal_ml,
        unsmoothed=iodine,
        between=measurable & ~vessels,
        blur_mm=options.smoothing_mm,
        blood_hu=pool_hu,
        reviewed=given.defects,
    )
    shares = score_defects(parenchyma, defects, regions, measurable)
    del parenchyma, vessels
    progress(0.7, "scores of the regions")
    smooth = _smoothed(iodine, measurable, regions, options.smoothing_mm)
    even = remembered(_smoothed_image, density, measurable, regions, options.smoothing_mm)
    measurements = (
        *remembered(score_iodine, smooth, regions, measurable, density=density, trunk=blood),
        *remembered(score_heterogeneity, smooth, regions, measurable, density=even),
        *shares,
    )
    del even
    return IodineAnalysis(
        iodine=smooth,
        thin=thin,
        measurable=measurable,
        exclusion=exclusion,
        trunk=blood,
        defects=defects,
        measurements=measurements,
        gates=(
            *_level(measurements, pool),
            *judge_streaks(defects.mask, measurable, exclusion.dense, regions.geometry),
        ),
        warnings=_warnings(exclusion, lungs, blood, options.exclusions),
    )


def exclude(
    contrast: Volume,
    found: FoundRegions,
    options: IodineOptions,
    hu_per_mg_ml: float = CONTRAST_HU_PER_MG_ML,
) -> Exclusion:
    """Find what to leave out in the CT that shows vessels and dense contrast best.

    ``hu_per_mg_ml`` is the sensitivity of that CT to iodine.
    """
    return remembered(
        find_exclusions,
        contrast,
        found.lungs,
        hu_per_mg_ml=hu_per_mg_ml,
        streak_reach_mm=options.streak_reach_mm,
        heart_rim_mm=options.heart_rim_mm,
    )


def _aorta_mg_ml(iodine: IodineMap, density: Volume, lungs: Labelmap) -> float | None:
    """Median iodine of the descending aorta, sought with its contrast; None where none is found."""
    enhanced = density.with_array(density.array + iodine.enhancement.array.astype(np.float32))
    for site in find_blood_density(enhanced, lungs).sites:
        if site.place == "descending_aorta":
            return float(np.median(iodine.concentration.array[site.box][site.mask]))
    return None


def _level(measurements: tuple[Measurement, ...], pool: float | str) -> tuple[Gate, ...]:
    """Judge the mean iodine of the lungs, and its share of the blood's, if there is any."""
    means = (
        row.value
        for row in measurements
        if (row.region, row.measure) == (Region.LUNGS, "iodine_concentration")
        and row.status != "missing"
    )
    return tuple(
        gate for mean in means for gate in (judge_level(mean), judge_blood_share(mean, pool))
    )


def _with_streaks(
    iodine: IodineMap,
    exclusion: Exclusion,
    regions: RegionSet,
    options: IodineOptions,
    blood_hu: float | None,
) -> Exclusion:
    """Leave out rays of undiluted contrast, too, which only the iodine map shows."""
    if exclusion.dense is None or not exclusion.dense.any() or options.streak_reach_mm == 0:
        return exclusion
    measurable = exclusion.measurable(regions.mask(Region.LUNGS))
    if iodine.concentration.valid is not None:
        measurable &= iodine.concentration.valid
    smooth = _smoothed(iodine, measurable, regions, options.smoothing_mm or IODINE_SMOOTHING_MM)
    enhancement = smooth.enhancement
    expected = expected_enhancement(enhancement, measurable, regions, blood_hu=blood_hu)
    return exclusion.with_streaks(
        remembered(find_streaks, enhancement, expected, measurable, exclusion.dense, regions)
    )


def _warnings(
    exclusion: Exclusion, lungs: Mask, trunk: Trunk | str, handling: Handling
) -> tuple[str, ...]:
    warnings = []
    shares = exclusion.shares(lungs)
    fate = "left out" if handling == "exclude" else "marked but counted"
    if shares["streaks"] > 0:
        warnings.append(
            f"{100 * shares['streaks']:.1f} % of the lungs lie beside undiluted contrast or on "
            f"rays from it, and are {fate}: streak artefacts bias iodine there."
        )
    if not isinstance(trunk, str) and trunk.doubt:
        warnings.append(f"Perfused blood volume with caution: {trunk.doubt}.")
    return tuple(warnings)


def _with_known_vessels(thin: Mask, lungs: Mask, found: FoundRegions) -> Mask:
    """Thin dense structures (vessels, walls, the lung's surface), and known vessels with blur."""
    if found.vessels is None:
        return thin
    spacing_mm = found.lungs.geometry.spacing_kji_mm
    return thin | (lungs & dilated(found.vessels.mask(VESSELS), BLUR_MM, spacing_mm))


def _trunk(iodine: IodineMap, lungs: Labelmap, given: Mask | None) -> Trunk | str:
    if given is None:
        return remembered(find_trunk, iodine.concentration, lungs)
    trunk = measure_trunk(iodine.concentration, given)
    if trunk is None:
        raise InputError("the given pulmonary trunk region is empty; paint it in the trunk")
    return trunk


def _smoothed(
    iodine: IodineMap, measurable: Mask, regions: RegionSet, sigma_mm: float
) -> IodineMap:
    if sigma_mm == 0:
        return iodine
    return replace(
        iodine,
        concentration=remembered(
            _smoothed_image, iodine.concentration, measurable, regions, sigma_mm
        ),
        method=f"{iodine.method}, smoothed {sigma_mm:g} mm",
    )


def _parenchyma(
    iodine: IodineMap, measurable: Mask, vessels: Mask, regions: RegionSet, sigma_mm: float
) -> IodineMap:
    """Iodine between the vessels, for defects.

    Arteries that cross a defect still hold blood and split it up, and those beside it blur into
    it; their voxels get the iodine of the lung around them.
    """
    if sigma_mm == 0:
        return iodine
    array = np.array(iodine.concentration.array, np.float32)
    for lung in LUNGS:
        inside = regions.mask(lung) & measurable
        smooth_in_place(
            array,
            inside & ~vessels,
            iodine.concentration.geometry,
            sigma_mm=sigma_mm,
            fill=inside & vessels,
        )
    return replace(
        iodine,
        concentration=iodine.concentration.with_array(array),
        method=f"{iodine.method}, smoothed {sigma_mm:g} mm between vessels",
    )


def _smoothed_image(image: Volume, measurable: Mask, regions: RegionSet, sigma_mm: float) -> Volume:
    """Smooth each lung for itself, so that nothing crosses the pleura or a vessel wall."""
    array = np.array(image.array, np.float32)
    for lung in LUNGS:
        inside = regions.mask(lung) & measurable
        smooth_in_place(array, inside, image.geometry, sigma_mm=sigma_mm)
    return image.with_array(array)


def crop_to_lungs(found: FoundRegions) -> tuple[FoundRegions, Box]:
    """Cut the regions down to the lungs and what lies around them, for speed and memory.

    Returns
    -------
    FoundRegions
        On the smaller grid.
    tuple of slices
        Box to cut images on the old grid with.

    """
    lungs = found.lungs.mask(*LUNGS)
    if not lungs.any():
        raise InputError("no lung was found in the CT; give the lungs with --lung-mask")
    box = box_around(lungs, found.lungs.geometry.spacing_kji_mm, CROP_MARGIN_MM)
    return found.crop(box), box
