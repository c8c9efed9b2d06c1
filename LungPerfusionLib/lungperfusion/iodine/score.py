"""Iodine scores of every region, IPv among them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.iodine.calibration import REFERENCE_HU_PER_MG_ML
from lungperfusion.iodine.decomposition import IodineMap
from lungperfusion.iodine.defects import Defects, gravity_slope_per_mm
from lungperfusion.iodine.trunk import Trunk
from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.quality import Gate, Verdict
from lungperfusion.regions import RegionSet
from lungperfusion.smoothing import gaussian_band
from lungperfusion.terms import Region
from lungperfusion.terms.iodine import DEFECT_BELOW_HU
from lungperfusion.volume import Mask, Volume, bounding_box

MOTTLE_BAND_MM = (4.0, 12.0)
"""Gaussian sigmas between which mottle is looked for: spots of some 1 to 3 cm, above the noise."""

AERATED_HU = (-960.0, -600.0)
"""Lung density at which vendors' lung PBV applications extract iodine (Galvez 2016)."""

TISSUE_FLOOR_G_ML = 0.05
"""Least lung density that iodine is divided by: below lie bullae, where the quotient is noise."""

NEGATIVE = (
    "mean iodine is {:.2g} mg/mL, less than none: images exchanged, offset, or another quantity"
)
"""Why a region's scores cannot be right."""

LEAST_IODINE_MG_ML = 0.3
MOST_IODINE_MG_ML = 5.0
"""Mean of both lungs in a perfusion scan: project's choice, round the 1.22 mg/mL (95 % interval of
the mean 0.95 to 1.49) of aerated lung in dual-energy CT of COVID-19 (Poschenrieder 2021, PLoS One
16:e0252478), with room for the dose and the phase."""

IMPOSSIBLE_IODINE_MG_ML = 10.0
"""Lung holds less than 0.3 mL of blood per mL and that less than `UNDILUTED_MG_ML`."""


def judge_level(mean_mg_ml: float) -> Gate:
    """Judge whether the iodine of the lungs can be that of perfused lungs at all."""
    verdict: Verdict = "fail"
    what = "no perfused lungs have that; check the images, their order, unit and scale"
    if 0 < mean_mg_ml < IMPOSSIBLE_IODINE_MG_ML:
        verdict, what = "warn", "unusual; check contrast phase, unit and scale"
        if LEAST_IODINE_MG_ML <= mean_mg_ml <= MOST_IODINE_MG_ML:
            verdict, what = "pass", "as usual in perfusion scans"
    return Gate(
        id="iodine_level",
        verdict=verdict,
        message=f"The lungs hold {mean_mg_ml:.3g} mg/mL of iodine on average: {what}.",
        value=mean_mg_ml,
        unit="mg/mL",
        limit=f"{LEAST_IODINE_MG_ML:g} to {MOST_IODINE_MG_ML:g}",
    )


LEAST_BLOOD_ML_PER_L = 50.0
MOST_BLOOD_ML_PER_L = 300.0
"""Perfused blood volume of both lungs without large vessels: some 100 mL/L, 50 to 300 with room for
deep breaths and ground glass.  Project's choice."""


def judge_blood_share(lung_mg_ml: float, blood_mg_ml: float | str) -> Gate:
    """Judge whether the lungs as a whole are perfused, by their mean iodine over that of blood.

    Parameters
    ----------
    lung_mg_ml
        Mean of both lungs.
    blood_mg_ml
        `lungperfusion.iodine.pool.blood_mg_ml`; as a text, why there is none.

    """
    limit = f"{LEAST_BLOOD_ML_PER_L:g} to {MOST_BLOOD_ML_PER_L:g}"
    if isinstance(blood_mg_ml, str):
        return Gate(
            id="blood_share",
            verdict="warn",
            message="The lungs as a whole could not be compared with the iodine of their blood "
            f"({blood_mg_ml}): a loss in all lobes alike would be taken for the norm.",
            unit="mL/L",
            limit=limit,
        )
    share = 1000 * lung_mg_ml / blood_mg_ml
    good = LEAST_BLOOD_ML_PER_L <= share <= MOST_BLOOD_ML_PER_L
    what = "as usual" if good else "not as usual; check the blood pool and the contrast phase"
    return Gate(
        id="blood_share",
        verdict="pass" if good else "warn",
        message=f"The lungs hold {share / 10:.1f} % of the iodine of their blood (mean of trunk "
        f"and aorta): {what}.",
        value=share,
        unit="mL/L",
        limit=limit,
    )


def reference_doubt(hu_per_mg_ml: float) -> str:
    """Tell why HU of another k_ref cannot be compared; empty for the reference's own."""
    if abs(hu_per_mg_ml / REFERENCE_HU_PER_MG_ML - 1) <= REFERENCE_TOLERANCE:
        return ""
    return (
        f"made with {hu_per_mg_ml:.4g} HU per mg/mL: the letter's values and 40 HU stand for about "
        f"{REFERENCE_HU_PER_MG_ML:g}; multiply HU by {REFERENCE_HU_PER_MG_ML / hu_per_mg_ml:.3g} "
        "to compare"
    )


def _doubt_of_hu(iodine: IodineMap) -> str:
    """Tell why HU of this map may be other ones than the letter's; empty when they are not."""
    return reference_doubt(iodine.hu_per_mg_ml) or iodine.concentration_doubt


REFERENCE_TOLERANCE = 0.02
"""A k_ref this close to the reference's changes HU less than their error."""

SCORES = (
    "iodine_mean",
    "iodine_aerated_mean",
    "iodine_median",
    "iodine_sd",
    "iodine_p10",
    "iodine_p90",
    "iodine_concentration",
    "iodine_mass",
    "ipv",
    "iodine_relative",
    "pbv",
    "pbv_volume",
    "iodine_excluded_share",
)
"""Measures of `score_iodine`, in the order of its rows."""


def volume_corrected_iodine(iodine_hu: float, lung_volume_l: float) -> float:
    """IPv = iodine perfusion (HU) x total lung volume (L), in HU.L.

    The letter prints "HU per mL" and calls it a correction per litre, but only a product gives
    its numbers: 182.8 / 45.7 HU = 4.0 L is a lung volume, and so in all seven columns.

    Examples
    --------
    >>> round(volume_corrected_iodine(45.7, 4.0), 1)
    182.8

    """
    return iodine_hu * lung_volume_l


def score_iodine(
    iodine: IodineMap,
    regions: RegionSet,
    measurable: Mask,
    *,
    density: Volume | None = None,
    trunk: Trunk | str = "no pulmonary trunk was found or given",
) -> tuple[Measurement, ...]:
    """Score the iodine of every region.

    Parameters
    ----------
    iodine
        Iodine map; a smoothed and an unsmoothed map have the same means.
    regions
        Where to score, on the map's grid.
    measurable
        Lung voxels whose iodine counts, shape (K, J, I).
    density
        CT in HU on the same grid, for the mean of aerated lung.
    trunk
        Pulmonary trunk, for perfused blood volume, or why there is none.

    Returns
    -------
    tuple of Measurement
        ``SCORES`` for each region in order.  IPv and iodine mass of regions that divide the lungs
        add up to that of the lungs: a region's measured iodine is scaled by the share of the lungs
        that could be measured.

    """
    iodine.concentration.geometry.require_same(regions.geometry, what="iodine map and regions")
    voxel_ml = regions.geometry.voxel_volume_ml
    usable = (
        measurable
        if iodine.concentration.valid is None
        else (measurable & iodine.concentration.valid)
    )
    lungs = regions.mask(Region.LUNGS)
    usable = lungs & usable
    lung_values = iodine.concentration.array[usable]
    hu = None if density is None else density.array[usable]
    members = _members(regions, usable)
    if not lung_values.size:
        reason = "no measurable lung: all of it is excluded or outside the iodine map"
        return tuple(missing(name, score, reason) for name in regions.names for score in SCORES)
    lung_mean = float(lung_values.mean(dtype=np.float64))
    measured_share = lung_values.size / np.count_nonzero(lungs)

    rows: list[Measurement] = []
    for region in regions.names:
        count = int(np.count_nonzero(regions.mask(region)))
        inside = members[region]
        values = lung_values[inside]
        if not values.size:
            reason = (
                regions.why_missing(region) if not count else "no measurable voxel in the region"
            )
            rows += [missing(region, score, reason) for score in SCORES]
            continue
        mean, sd = _mean_and_sd(values)
        whole_ml = values.size * voxel_ml / measured_share
        k_ref = iodine.hu_per_mg_ml
        p10, median, p90 = (float(x) * k_ref for x in np.percentile(values, (10, 50, 90)))
        how = iodine.method

        negative = NEGATIVE.format(mean) if mean < 0 else ""
        in_hu = negative or _doubt_of_hu(iodine)
        in_mg = negative or iodine.concentration_doubt

        def row(
            measure: str, value: float, method: str, doubt: str = "", region: Region = region
        ) -> Measurement:
            return measured(region, measure, value, method, caution=doubt)

        rows += [
            row("iodine_mean", mean * k_ref, how, in_hu),
            _aerated(iodine, lung_values[inside], None if hu is None else hu[inside], region),
            row("iodine_median", median, how, in_hu),
            row("iodine_sd", sd * k_ref, how, in_hu),
            row("iodine_p10", p10, how, in_hu),
            row("iodine_p90", p90, how, in_hu),
            row("iodine_concentration", mean, how, in_mg),
            row("iodine_mass", mean * whole_ml, how, in_mg),
            row(
                "ipv",
                volume_corrected_iodine(mean * k_ref, whole_ml / 1000),
                f"iodine (HU) x volume (L); {how}",
                in_hu,
            ),
            row("iodine_relative", mean / lung_mean, how, negative)
            if lung_mean > 0
            else missing(region, "iodine_relative", "mean iodine of the lungs is not above 0"),
        ]
        rows += _blood_volume(region, mean, count * voxel_ml, trunk, how)
        share = 100 * (1 - values.size / count)
        rows.append(row("iodine_excluded_share", share, "voxels left out for any reason"))
    return tuple(rows)


def _members(regions: RegionSet, lung: Mask) -> dict[Region, Mask]:
    """Which of some lung voxels, in array order, belong to each region: shape (voxels,).

    Lung is a quarter of a chest, so that sums over lists of voxels cost less than over the grid.
    """
    none = np.zeros(np.count_nonzero(lung), np.bool_)
    found = dict.fromkeys(regions.names, none)
    found[Region.LUNGS] = ~none
    for partition in reversed(regions.partitions):
        labels = partition.array[lung]
        for region in found.keys() & set(partition.names.values()):
            values = [value for value, name in partition.names.items() if name == region]
            found[region] = np.logical_or.reduce([labels == value for value in values])
    return found


def _mean_and_sd(values: NDArray[np.floating[Any]]) -> tuple[float, float]:
    return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))


def _aerated(
    iodine: IodineMap,
    mg_ml: NDArray[np.floating[Any]],
    density_hu: NDArray[Any] | None,
    region: Region,
) -> Measurement:
    """Mean of the voxels whose density lies in the window of aerated lung, ends included."""
    name = "iodine_aerated_mean"
    if density_hu is None:
        return missing(region, name, "no CT that shows the density")
    low, high = AERATED_HU
    values = mg_ml[(density_hu >= low) & (density_hu <= high)]
    if not values.size:
        return missing(region, name, "no aerated lung in the region")
    mean = float(values.mean(dtype=np.float64))
    doubt = NEGATIVE.format(mean) if mean < 0 else _doubt_of_hu(iodine)
    how = f"{low:g} to {high:g} HU; {iodine.method}"
    return measured(region, name, mean * iodine.hu_per_mg_ml, how, caution=doubt)


def _blood_volume(
    region: Region, mean_mg_ml: float, volume_ml: float, trunk: Trunk | str, method: str
) -> list[Measurement]:
    names = ("pbv", "pbv_volume")
    if isinstance(trunk, str):
        return [missing(region, name, trunk) for name in names]
    if trunk.iodine_mg_ml <= 0:
        reason = "the pulmonary trunk holds no iodine: check the region in it"
        return [missing(region, name, reason) for name in names]
    pbv = 1000 * mean_mg_ml / trunk.iodine_mg_ml
    against = f"trunk {trunk.iodine_mg_ml:.3g} mg/mL; {method}"
    doubt = NEGATIVE.format(mean_mg_ml) if mean_mg_ml < 0 else trunk.doubt
    return [
        measured(region, name, value, against, caution=doubt)
        for name, value in zip(names, (pbv, pbv * volume_ml / 1000), strict=True)
    ]


def score_heterogeneity(
    iodine: IodineMap, regions: RegionSet, measurable: Mask, *, density: Volume | None = None
) -> tuple[Measurement, ...]:
    """Describe how unevenly iodine is spread in every region.

    Coefficient of variation (also per tissue, which takes local inflation out as IPv takes out that
    of the whole lung), quartile spread, gravity gradient and mottle per region; the rim to core
    ratio once, for the lungs.

    Parameters
    ----------
    iodine, regions, measurable
        As in `score_iodine`.
    density
        CT in HU on the same grid, smoothed like the iodine map, for the volume correction.

    """
    rows: list[Measurement] = []
    geometry = iodine.concentration.geometry
    lung = regions.mask(Region.LUNGS) & measurable
    members = _members(regions, lung)
    in_lung = iodine.enhancement_at(lung)
    band = _mottle_band(iodine, lung) if lung.any() else in_lung
    front = geometry.coordinate_at(lung, "A")
    per_tissue = None if density is None else in_lung / _tissue_g_ml(density.array[lung])
    how = iodine.method
    names = (
        "iodine_cv",
        "iodine_iqr_ratio",
        "iodine_gravity_gradient",
        "iodine_mottle",
        "iodine_cv_volume_corrected",
    )
    for region in regions.names:
        inside = members[region]
        values = in_lung[inside]
        mean, sd = _mean_and_sd(values) if values.size else (0.0, 0.0)
        if mean <= 0:
            reason = "mean iodine is not above 0" if values.size else regions.why_missing(region)
            rows += [missing(region, name, reason) for name in names]
            continue
        q1, q3 = np.percentile(values, (25, 75))
        slope = gravity_slope_per_mm(front[inside], values)
        figures = (sd / mean, float(q3 - q1) / mean)
        rows += [
            measured(region, name, value, how)
            for name, value in zip(names[:2], figures, strict=True)
        ]
        rows.append(
            missing(region, names[2], "the region is too shallow for a gradient")
            if slope is None
            else measured(region, names[2], -1000 * slope / mean, f"towards the back; {how}")
        )
        rows.append(measured(region, names[3], _mean_and_sd(band[inside])[1] / mean, how))
        if per_tissue is None:
            rows.append(missing(region, names[4], "no CT that shows the density"))
        else:
            level, spread = _mean_and_sd(per_tissue[inside])
            how_corrected = f"iodine / lung density; {how}"
            rows.append(measured(region, names[4], spread / level, how_corrected))
    rows.append(_rim_to_core(in_lung, members, how))
    return tuple(rows)


def _tissue_g_ml(density_hu: NDArray[Any]) -> NDArray[np.float32]:
    return np.maximum(density_hu / np.float32(1000) + np.float32(1), np.float32(TISSUE_FLOOR_G_ML))


def score_defects(
    iodine: IodineMap, defects: Defects, regions: RegionSet, measurable: Mask
) -> tuple[Measurement, ...]:
    """Sum defects in every region, by shape and by what the CT shows beneath."""
    voxel_ml = regions.geometry.voxel_volume_ml
    lung = regions.mask(Region.LUNGS) & measurable
    members = _members(regions, lung)
    below_40 = iodine.enhancement_at(lung) < DEFECT_BELOW_HU
    labels = defects.labels[lung]
    lookup = _kinds(defects)
    in_hu = _doubt_of_hu(iodine)
    doubt = in_hu if defects.rule == "absolute" else ""
    rows: list[Measurement] = []
    for region in regions.names:
        inside = members[region]
        count = int(np.count_nonzero(inside))
        if not count:
            rows += [
                missing(region, name, regions.why_missing(region))
                for name in ("defect_share", "defect_volume", "defect_share_40hu", *lookup)
            ]
            continue
        sizes = np.bincount(labels[inside], minlength=len(defects.found) + 1)[1:]
        total = int(sizes.sum())
        rows += [
            measured(region, "defect_share", 100 * total / count, defects.method, caution=doubt),
            measured(region, "defect_volume", total * voxel_ml, defects.method, caution=doubt),
            measured(
                region,
                "defect_share_40hu",
                100 * np.count_nonzero(below_40 & inside) / count,
                f"iodine < {DEFECT_BELOW_HU:g} HU; {iodine.method}",
                caution=in_hu,
            ),
        ]
        rows += [
            measured(region, name, 100 * float(sizes[chosen].sum()) / total, defects.method)
            if total
            else missing(region, name, "no defect in the region")
            for name, chosen in lookup.items()
        ]
    return tuple(rows)


def _kinds(defects: Defects) -> dict[str, Mask]:
    """Which defects count for each kind of share."""

    def chosen(flags: Iterable[bool]) -> Mask:
        return np.fromiter(flags, dtype=np.bool_, count=len(defects.found))

    found = defects.found
    return {
        "defect_subpleural_share": chosen(d.shape == "subpleural" for d in found),
        "defect_wedge_share": chosen(d.shape == "wedge" for d in found),
        "defect_central_share": chosen(d.shape == "central" for d in found),
        "defect_mottled_share": chosen(d.shape == "mottled" for d in found),
        "defect_segmental_share": chosen(d.extent == "large" for d in found),
        "defect_normal_lung_share": chosen(d.parenchyma == "normal" for d in found),
        "defect_ground_glass_share": chosen(
            d.parenchyma in ("ground glass", "consolidation") for d in found
        ),
    }


def _mottle_band(iodine: IodineMap, inside: Mask) -> NDArray[np.float32]:
    """Spots between the two sigmas, in HU, of the voxels inside in array order."""
    box = bounding_box(inside)
    here, near = inside[box], iodine.crop(box).enhancement
    return gaussian_band(near.array, here, near.geometry, MOTTLE_BAND_MM)[here]


def _rim_to_core(
    enhancement: NDArray[np.floating[Any]], members: dict[Region, Mask], method: str
) -> Measurement:
    none = np.zeros(enhancement.shape, np.bool_)
    rim, core = (enhancement[members.get(region, none)] for region in (Region.RIM, Region.CORE))
    name = "iodine_core_rim_ratio"
    if not rim.size or not core.size:
        return missing(Region.LUNGS, name, "core and rim were not divided")
    below = float(core.mean(dtype=np.float64))
    if below <= 0:
        return missing(Region.LUNGS, name, "mean iodine of the core is not above 0")
    return measured(Region.LUNGS, name, float(rim.mean(dtype=np.float64)) / below, method)
