"""Input curves: the bolus in the pulmonary trunk, the left atrium and the descending aorta.

Each is found by its place and by when it fills.  The trunk is the thickest bright vessel in front
of the carina at its peak (`iodine.trunk`), the aorta the round disc in the back of the chest that
`blood` follows, and the left atrium the thick blood between them that fills after the trunk and
before the aorta.  A point that a reader places goes before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from lungperfusion.blood import CONTRAST_FROM_HU, DEFAULT_BLOOD_HU, find_blood_density
from lungperfusion.dynamic.series import Frames
from lungperfusion.errors import InputError
from lungperfusion.iodine.calibration import REFERENCE_HU_PER_MG_ML
from lungperfusion.iodine.trunk import find_carina, find_trunk
from lungperfusion.morphology import ball, depth_mm, dilated
from lungperfusion.terms import AIRWAYS, LUNGS
from lungperfusion.volume import Labelmap, Mask, Volume

Curve = NDArray[np.float64]
Place = Literal["pulmonary_trunk", "left_atrium", "descending_aorta"]
WORDS: dict[Place, str] = {
    "pulmonary_trunk": "pulmonary trunk",
    "left_atrium": "left atrium",
    "descending_aorta": "descending aorta",
}

POINT_RADIUS_MM = 5.0
"""Ball around a point that a reader places; a trunk is at least 14 mm wide."""
BRIGHT_SHARE = 0.5
"""Share of the voxels of a place that make its curve: those that hold most contrast medium over
the whole pass.  Choosing by one frame would choose its noise: + 2 % of the peak at 10 HU."""

ARRIVAL_SHARE = 0.05
"""Blood has arrived when it reaches this share of its peak for good."""
SATURATED_HU = 3000.0
"""Scanners store up to 3071 HU: beyond, the peak is cut off."""
LEAST_PEAK_HU = 60.0
"""A lower peak in a great vessel is no bolus that perfusion could be measured with."""

MIDLINE_MM = 12.0
"""The trachea ends this close to the middle between the lungs."""

ATRIUM_FROM_CARINA_MM = {"R": (-40.0, 35.0), "A": (-45.0, 25.0), "S": (-85.0, -12.0)}
"""Where the left atrium lies, RAS mm from the carina: below it, in front of the spine."""
ATRIUM_DEPTH_MM = 7.0
"""The atrium holds a ball of this radius; pulmonary veins do not."""
LEAST_ATRIUM_ML = 0.5
VESSEL_RIM_MM = 3.0
BETWEEN_S = 0.25
"""The atrium peaks at least so long after the trunk and before the aorta."""


@dataclass(frozen=True, eq=False, kw_only=True)
class InputCurve:
    """Enhancement of one input."""

    place: Place
    hu: Curve
    """Over its baseline, shape (frames,)."""
    mask: Mask
    """Voxels it was measured in."""
    centre_ras_mm: tuple[float, float, float]
    volume_ml: float
    given: bool
    """Whether a reader placed it."""
    peak_hu: float
    peak_s: float
    """By a parabola through the highest frame and its neighbours."""
    arrival_s: float
    doubt: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Inputs:
    """All inputs, or why one is missing, on common times."""

    times_s: Curve
    artery: InputCurve
    atrium: InputCurve | str
    aorta: InputCurve | str
    baseline: NDArray[np.bool_]
    """Frames before the bolus reaches the trunk."""

    @property
    def found(self) -> tuple[InputCurve, ...]:
        """The inputs that there are, in the order in which they fill."""
        curves = (self.artery, self.atrium, self.aorta)
        return tuple(curve for curve in curves if isinstance(curve, InputCurve))

    @property
    def first_pass_end_s(self) -> float:
        """First minimum of the trunk after its peak, where recirculation sets in; else the end."""
        peak = int(self.artery.hu.argmax())
        smooth = ndimage.uniform_filter1d(self.artery.hu, 3)[peak:]
        rising = np.flatnonzero((np.diff(smooth) > 0) & (smooth[:-1] < 0.5 * self.artery.peak_hu))
        end = peak + int(rising[0]) if rising.size else len(self.times_s) - 1
        return float(self.times_s[end])


def find_inputs(
    frames: Frames, lungs: Labelmap, points_ras_mm: Mapping[Place, ArrayLike]
) -> Inputs:
    """Find the inputs in aligned frames.

    Parameters
    ----------
    frames
        On the working grid, all slices at the time of their frame.
    lungs
        Lungs and airways on the same grid.
    points_ras_mm
        Points that a reader placed, by input.

    Raises
    ------
    InputError
        If the pulmonary trunk is not found, a point lies outside, or an input is cut off at the
        end of the scale.

    """
    times = frames.moments_s
    enhancement = frames.array - _start(frames)
    artery = _given(frames, points_ras_mm, "pulmonary_trunk") or _trunk(frames, enhancement, lungs)
    if isinstance(artery, str):
        raise InputError(
            f"the pulmonary trunk was not found ({artery}); place a point in it with --artery R A S"
        )
    baseline = times < artery.arrival_s - 1e-9
    aorta = _given(frames, points_ras_mm, "descending_aorta") or _aorta(frames, enhancement, lungs)
    atrium = _given(frames, points_ras_mm, "left_atrium") or _atrium(
        frames, enhancement, lungs, artery, aorta
    )
    for curve in (artery, atrium, aorta):
        if isinstance(curve, InputCurve):
            _require_unsaturated(frames, curve)
    return Inputs(times_s=times, artery=artery, atrium=atrium, aorta=aorta, baseline=baseline)


def input_curve(frames: Frames, place: Place, mask: Mask, *, given: bool) -> InputCurve | str:
    """Measure a place: the brighter half of its voxels, the same in every frame."""
    if frames.valid is not None and (mask & frames.valid).any():
        mask = mask & frames.valid
    voxels = frames.array[:, mask].astype(np.float64)
    bright = voxels.mean(axis=0)
    chosen = bright >= np.quantile(bright, 1 - BRIGHT_SHARE)
    raw = voxels[:, chosen].mean(axis=1)
    times = frames.moments_s
    before, arrival = _arrival(times, raw)
    curve = raw - raw[:before].mean()
    peak_s, peak_hu = _peak(times, curve)
    if curve.max() < LEAST_PEAK_HU:
        return (
            f"the {WORDS[place]} enhances by {curve.max():.0f} HU only; at least "
            f"{LEAST_PEAK_HU:g} are needed"
        )
    here = np.zeros(mask.shape, np.bool_)
    here[mask] = chosen
    r, a, s = frames.geometry.ras_from_ijk(np.argwhere(here).mean(axis=0)[::-1])
    return InputCurve(
        place=place,
        hu=curve,
        mask=here,
        centre_ras_mm=(float(r), float(a), float(s)),
        volume_ml=float(np.count_nonzero(here)) * frames.geometry.voxel_volume_ml,
        given=given,
        peak_hu=peak_hu,
        peak_s=peak_s,
        arrival_s=arrival,
    )


def _start(frames: Frames) -> NDArray[np.float32]:
    """Darkest third of each voxel's first frames: the image before the bolus, whenever it comes."""
    first = np.asarray(frames.array[: max(2, len(frames.array) // 3)], np.float32)
    return np.asarray(np.sort(first, axis=0)[: max(1, len(first) // 2)].mean(axis=0))


def _arrival(times_s: Curve, raw: Curve) -> tuple[int, float]:
    """Count the frames before the bolus, and tell when it has come for good.

    Backwards from the peak: the last frame that is still within `ARRIVAL_SHARE` of the rise (or
    within the noise of those before) over the start; between frames by a line.
    """
    peak = int(raw.argmax())
    start = float(np.median(np.sort(raw[: peak + 1])[: max(1, (peak + 1) // 2)]))
    level = start + ARRIVAL_SHARE * (float(raw[peak]) - start)
    below = np.flatnonzero(raw[: peak + 1] <= level)
    if not below.size:
        return 1, float(times_s[0])
    last = int(below[-1])
    if last == peak:
        return max(1, last), float(times_s[last])
    share = (level - raw[last]) / (raw[last + 1] - raw[last])
    return last + 1, float(times_s[last] + share * (times_s[last + 1] - times_s[last]))


def _peak(times_s: Curve, curve: Curve) -> tuple[float, float]:
    top = int(curve.argmax())
    if top in (0, len(curve) - 1):
        return float(times_s[top]), float(curve[top])
    x = times_s[top - 1 : top + 2] - times_s[top]
    a, b, c = np.polyfit(x, curve[top - 1 : top + 2], 2)
    if a >= 0:
        return float(times_s[top]), float(curve[top])
    at = float(np.clip(-b / (2 * a), x[0], x[2]))
    return float(times_s[top] + at), float(a * at**2 + b * at + c)


def _given(
    frames: Frames, points_ras_mm: Mapping[Place, ArrayLike], place: Place
) -> InputCurve | None:
    if place not in points_ras_mm:
        return None
    mask = ball(frames.geometry, points_ras_mm[place], POINT_RADIUS_MM)
    if not mask.any():
        place_mm = " ".join(f"{x:g}" for x in np.asarray(points_ras_mm[place]))
        raise InputError(
            f"the point of the {WORDS[place]} ({place_mm} mm) lies outside the images; give it as "
            "R A S in mm of the patient, inside the slab"
        )
    curve = input_curve(frames, place, mask, given=True)
    if isinstance(curve, str):
        raise InputError(f"{curve}; move the point into the middle of the vessel")
    return curve


def _trunk(frames: Frames, enhancement: NDArray[np.float32], lungs: Labelmap) -> InputCurve | str:
    """Thickest bright vessel in front of the carina, in the frame in which that place peaks."""
    carina = find_bifurcation(lungs)
    if carina is None:
        return "the carina, from which it is sought, is not in the images"
    level = np.array([_bright_level(image, lungs) for image in enhancement])
    candidates = np.argsort(-level, kind="stable")[: max(3, len(level) // 3)]
    best: InputCurve | str = "no bolus"
    for number in sorted(candidates):
        iodine = enhancement[number] / np.float32(REFERENCE_HU_PER_MG_ML)
        image = Volume(iodine, frames.geometry, "mg/mL")
        found = find_trunk(image, lungs, carina_ras_mm=carina)
        if isinstance(found, str):
            best = best if isinstance(best, InputCurve) else found
            continue
        curve = input_curve(frames, "pulmonary_trunk", found.mask, given=False)
        if isinstance(curve, str):
            continue
        # The ascending aorta touches the trunk and is as thick: the trunk fills first.
        if isinstance(best, str) or curve.peak_s < best.peak_s - BETWEEN_S:
            best = replace(curve, doubt=found.doubt)
    return best


def find_bifurcation(lungs: Labelmap) -> NDArray[np.float64] | None:
    """Find the carina, or on a coarse grid the lowest airway near the midline."""
    carina = find_carina(lungs)
    sides = [lungs.mask(side) for side in LUNGS]
    airways = np.argwhere(lungs.mask(AIRWAYS))
    if carina is not None or not airways.size or not all(side.any() for side in sides):
        return carina
    geometry = lungs.geometry
    across = geometry.coordinate_mm("R")
    inner = [float(np.percentile(across[side], p)) for side, p in zip(sides, (98, 2), strict=True)]
    places = geometry.ras_from_ijk(airways[:, ::-1])
    central = places[np.abs(places[:, 0] - np.mean(inner)) <= MIDLINE_MM]
    return central[int(central[:, 2].argmin())] if central.size else None


def _bright_level(image: NDArray[np.float32], lungs: Labelmap) -> float:
    """Enhancement of the brightest blood between the lungs."""
    tissue = ~lungs.mask(*LUNGS, AIRWAYS)
    return float(np.percentile(image[tissue], 99))


def _aorta(frames: Frames, enhancement: NDArray[np.float32], lungs: Labelmap) -> InputCurve | str:
    """Find the disc in the back of the chest that `blood` follows, in a bright frame."""
    count = len(frames.array)
    best: InputCurve | str = "no round vessel in front of the spine was followed far enough"
    for number in range(count // 3, count, max(1, count // 12)):
        ct = Volume(
            (enhancement[number] + np.float32(DEFAULT_BLOOD_HU)).astype(np.float32),
            frames.geometry,
            "HU",
        )
        ct = ct.with_array(np.where(lungs.mask(*LUNGS), frames.array[number], ct.array))
        for site in find_blood_density(ct, lungs).sites:
            if site.place != "descending_aorta" or site.hu < CONTRAST_FROM_HU:
                continue
            mask = np.zeros(frames.geometry.shape, np.bool_)
            mask[site.box] = site.mask
            curve = input_curve(frames, "descending_aorta", mask, given=False)
            if isinstance(curve, InputCurve) and (
                isinstance(best, str) or curve.peak_hu > best.peak_hu
            ):
                best = curve
    return best


def _atrium(
    frames: Frames,
    enhancement: NDArray[np.float32],
    lungs: Labelmap,
    artery: InputCurve,
    aorta: InputCurve | str,
) -> InputCurve | str:
    """Thick blood below the carina that peaks after the trunk and before the aorta."""
    carina = find_bifurcation(lungs)
    if carina is None:
        return "the carina, from which the left atrium is sought, is not in the images"
    geometry = frames.geometry
    near = ~lungs.mask(*LUNGS, AIRWAYS)
    for n, (axis, (low, high)) in enumerate(ATRIUM_FROM_CARINA_MM.items()):
        position = geometry.coordinate_mm(axis)  # type: ignore[arg-type]
        near &= (position >= carina[n] + low) & (position <= carina[n] + high)
    for known in (artery, aorta):
        if isinstance(known, InputCurve):
            near &= ~dilated(known.mask, VESSEL_RIM_MM, geometry.spacing_kji_mm)
    if not near.any():
        return "its place below the carina is not in the images"
    smooth = np.stack([ndimage.gaussian_filter(image, 0.7) for image in enhancement])
    voxels = smooth[:, near]
    peak_s = np.array([_peak(frames.moments_s, curve)[0] for curve in voxels.T])
    latest = aorta.peak_s if isinstance(aorta, InputCurve) else np.inf
    between = (peak_s >= artery.peak_s + BETWEEN_S) & (peak_s <= latest - BETWEEN_S)
    between &= voxels.max(axis=0) >= 0.4 * artery.peak_hu
    blood = np.zeros(geometry.shape, np.bool_)
    blood[near] = between
    depth = depth_mm(np.pad(blood, 1, mode="edge"), geometry.spacing_kji_mm)[1:-1, 1:-1, 1:-1]
    core = blood & (depth >= min(ATRIUM_DEPTH_MM, 0.6 * float(depth[blood].max(initial=0.0))))
    labels, number = ndimage.label(core)
    if not number:
        return "no thick blood that fills between the trunk and the aorta lies below the carina"
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    mask = labels == int(sizes.argmax())
    if np.count_nonzero(mask) * geometry.voxel_volume_ml < LEAST_ATRIUM_ML:
        return "too little blood fills between trunk and aorta below the carina"
    return input_curve(frames, "left_atrium", mask, given=False)


def _require_unsaturated(frames: Frames, curve: InputCurve) -> None:
    """Refuse an input whose peak the scale of the image cut off."""
    peak = float(frames.array[:, curve.mask].max())
    top = int(curve.hu.argmax())
    voxels = frames.array[max(0, top - 1) : top + 2, curve.mask]
    flat = len(voxels) == 3 and float(np.ptp(voxels.max(axis=1))) == 0 and curve.peak_hu > 300
    if peak >= SATURATED_HU or flat:
        raise InputError(
            f"the {WORDS[curve.place]} reaches the end of the scale ({peak:.0f} HU): its peak is "
            "cut off and flow cannot be measured; reconstruct with an extended CT scale, or place "
            "the point where contrast medium is mixed"
        )
