"""The iodine ratio of a dual-energy pair, from its own enhanced blood."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lungperfusion.errors import InputError
from lungperfusion.iodine.calibration import VOLTAGES, SpectralPair, spectral_pair
from lungperfusion.iodine.exclusion import between_lungs
from lungperfusion.morphology import dilated, eroded
from lungperfusion.quality import Gate, Verdict
from lungperfusion.terms import AIRWAYS, LUNGS
from lungperfusion.volume import Labelmap, Mask, Volume, bounding_box

SMOOTHING_MM = 1.5
"""Gaussian sigma before the regression, against noise."""

SOFT_TISSUE_ABOVE_HU = 20.0
"""CT number, in both images, above fat and partly aerated voxels."""

WALL_MM = 4.0
"""Soft tissue this close to fat or lung is blurred with it and lies on another line."""

DENSE_ABOVE_HU = 600.0
"""CT number, in both images, of undiluted contrast and bone, which are left out."""

MINIMAL_SPREAD_HU = 40.0
"""Standard deviation of the mean of both images there; less is no contrast to calibrate with."""

BEHIND_AIRWAYS_MM = 5.0
"""Blood is sought in front of this: the spine, whose calcium has another ratio, lies behind."""

RATIO_RANGE = (1.1, 6.0)
"""Ratios of any pair of clinical tube voltages."""

GOOD_IODINE_ERROR = 0.10
LARGEST_IODINE_ERROR = 0.20
"""Error of iodine that a ratio other than the assumed one makes, up to which a calibration is good,
and usable with caution.  Tubes of other filtration than the table's come to 0.07 (own spectra); a
tin filter that was not stated, to 0.45 and more."""


def in_front_of_spine(lungs: Labelmap) -> Mask:
    """Space between the lungs that holds heart and great vessels, without the spine."""
    inside, geometry = lungs.mask(*LUNGS), lungs.geometry
    airways = lungs.mask(AIRWAYS)
    if airways.any():
        limit = float(np.median(geometry.coordinate_at(airways, "A"))) - BEHIND_AIRWAYS_MM
    else:
        limit = float(geometry.coordinate_at(inside, "A").mean()) if inside.any() else np.inf
    among = between_lungs(inside, geometry)
    among[among] = geometry.coordinate_at(among, "A") > limit
    return among


def measure_iodine_ratio(low: Volume, high: Volume, among: Mask) -> float | str:
    """Regress the low- on the high-voltage image among heart and great vessels.

    Soft tissue between unenhanced wall and enhanced blood lies on a line whose slope is
    ``k_low / k_high``.  Both images are noisy, so the line is fitted by orthogonal distances
    (Deming) instead of by least squares in one of them.  Nothing is assumed of which image is
    which: a slope below 1 means that they were given the wrong way round.

    Parameters
    ----------
    low, high
        Images in HU on one grid.
    among
        Where to look, such as `in_front_of_spine`.

    Returns
    -------
    float or str
        The slope, or why it cannot be had.

    """
    too_little = "too little contrast between the lungs for a calibration"
    if not among.any():
        return too_little
    spacing = low.geometry.spacing_kji_mm
    margin = [int(np.ceil(WALL_MM / s)) + 1 for s in spacing]
    box = bounding_box(among, (margin[0], margin[1], margin[2]))
    sigma = [SMOOTHING_MM / s for s in spacing]
    low_hu, high_hu = (
        ndimage.gaussian_filter(image.array[box].astype(np.float32), sigma) for image in (low, high)
    )
    darker = np.minimum(low_hu, high_hu)
    usable = eroded(darker > SOFT_TISSUE_ABOVE_HU, WALL_MM, spacing)
    usable &= ~dilated(darker > DENSE_ABOVE_HU, WALL_MM, spacing)
    usable &= among[box]
    x, y = (image[usable].astype(np.float64) for image in (high_hu, low_hu))
    if x.size < 100 or (x + y).std() / 2 < MINIMAL_SPREAD_HU:
        return too_little
    _, axes = np.linalg.eigh(np.cov(x, y))
    if axes[0, 1] * axes[1, 1] <= 0:
        return "both images do not brighten together between the lungs; are they of one scan?"
    return float(axes[1, 1] / axes[0, 1])


def require_order(ratio: float | str) -> None:
    """Refuse a pair given the wrong way round.

    Raises
    ------
    InputError
        If iodine is brighter in the high-voltage image.

    """
    if not isinstance(ratio, str) and ratio < 1:
        raise InputError(
            "low and high are the wrong way round: enhanced blood is "
            f"{1 / ratio:.2f} times as bright in the high-voltage image, but iodine is brighter at "
            "the lower voltage; exchange --low and --high"
        )


def own_ratio(ratio: float | str) -> float:
    """Take a measured ratio for a calibration, or refuse it."""
    if isinstance(ratio, str):
        raise InputError(f"self-calibration is not possible: {ratio}")
    least, most = RATIO_RANGE
    if not least <= ratio <= most:
        raise InputError(
            f"self-calibration is not possible: the iodine ratio of the blood is {ratio:.2f}, "
            f"not {least:g} to {most:g}"
        )
    return ratio


def judge_ratio(ratio: float | str, pair: SpectralPair, voltages: tuple[str, str] | None) -> Gate:
    """Compare the ratio of the blood with that which the iodine map was made with.

    Parameters
    ----------
    ratio
        `measure_iodine_ratio`.
    pair
        The calibration used.
    voltages
        Stated tube voltages, to name others that would fit; None for an own calibration.

    """
    if isinstance(ratio, str):
        return Gate(
            id="iodine_ratio",
            verdict="unknown",
            message=f"The stated voltages could not be checked in the patient's blood: {ratio}.",
        )
    error = pair.with_ratio(ratio, "measured").solvability / pair.solvability - 1
    size = abs(error)
    verdict: Verdict = "fail"
    if size <= LARGEST_IODINE_ERROR:
        verdict = "pass" if size <= GOOD_IODINE_ERROR else "warn"
    message = (
        f"Enhanced blood is {ratio:.2f} times as bright in the low-voltage image, "
        f"{pair.ratio:.2f} times was expected of {pair.name}"
    )
    if verdict != "pass":
        way = "high" if error > 0 else "low"
        message += f": iodine reads about {100 * size:.0f} % too {way}"
        fitting = None if voltages is None else _fitting(ratio, voltages)
        message += (
            "; add --self-calibrate, or give the scanner's own --sensitivity"
            if fitting is None
            else f", as if a filter was not stated or stated in vain; --kv {fitting} fits, and "
            "--self-calibrate takes the ratio of the blood"
        )
    return Gate(
        id="iodine_ratio",
        verdict=verdict,
        message=f"{message}.",
        value=ratio,
        unit="1",
        limit=f"within {100 * GOOD_IODINE_ERROR:g} % of iodine around {pair.ratio:.2f}",
    )


def _fitting(ratio: float, voltages: tuple[str, str]) -> str | None:
    """Give the same voltages with other filters, if their ratio is close to the measured one."""
    bare = [voltage.removesuffix("Sn") for voltage in voltages]
    others = [
        (low, high)
        for low in (bare[0], f"{bare[0]}Sn")
        for high in (bare[1], f"{bare[1]}Sn")
        if {low, high} <= set(VOLTAGES) and (low, high) != voltages
    ]
    errors = {}
    for low, high in others:
        try:
            errors[f"{low} {high}"] = abs(spectral_pair(low, high).ratio / ratio - 1)
        except InputError:  # such as 140Sn/140: no pair
            continue
    best = min(errors, key=lambda name: errors[name], default=None)
    return best if best is not None and errors[best] <= GOOD_IODINE_ERROR else None
