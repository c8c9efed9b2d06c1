"""Dual-energy pair: bring both images together, calibrate their air, separate the materials."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.iodine.air_calibration import air_offsets, airway_core
from lungperfusion.iodine.calibration import SpectralPair
from lungperfusion.iodine.decomposition import (
    DEFAULT_MODEL,
    IodineMap,
    Model,
    decompose,
    in_whole_hu,
)
from lungperfusion.iodine.exclusion import slices_with_streaks
from lungperfusion.iodine.pair_alignment import join_half_way, measure_shift
from lungperfusion.iodine.self_calibration import (
    in_front_of_spine,
    judge_ratio,
    measure_iodine_ratio,
    own_ratio,
    require_order,
)
from lungperfusion.progress import Progress, ignore
from lungperfusion.quality import Gate
from lungperfusion.terms import LUNGS
from lungperfusion.threads import both
from lungperfusion.volume import Labelmap, Volume

JOIN_FROM_MM = 0.1
"""Images that lie closer together are left as they are."""

LARGEST_SHIFT_MM = 3.0
"""A patient who lies farther off in one image has moved, and hardly as a whole."""

LARGEST_REST_MM = 0.3
"""What one shift for both lungs may leave of the misregistration of each: 0.7 mm between the images
of a phantom made 6 % of its lungs false defects."""


def separate_pair(
    low: Volume,
    high: Volume,
    lungs: Labelmap,
    pair: SpectralPair,
    *,
    model: Model = DEFAULT_MODEL,
    self_calibrate: bool = False,
    voltages: tuple[str, str] | None = None,
    progress: Progress = ignore,
) -> tuple[IodineMap, tuple[Gate, ...], tuple[str, ...]]:
    """Make the iodine map of a dual-energy pair.

    Parameters
    ----------
    low, high
        Images in HU on one grid.
    lungs
        Lungs and airways on the same grid.
    pair
        Calibration of the two spectra.
    model
        See `decompose`.
    self_calibrate
        Take the iodine ratio from enhanced blood between the lungs.
    voltages
        Stated tube voltages, to name others that fit the blood better.

    Returns
    -------
    IodineMap
        Unsmoothed.
    tuple of Gate
        How well both images coincide, their air, and whether their blood fits the calibration.
    tuple of str
        What was corrected.

    Raises
    ------
    InputError
        If the images are the wrong way round, or a self-calibration is wanted and not possible.

    """
    progress(0.0, "comparing both images")
    ratio = measure_iodine_ratio(low, high, in_front_of_spine(lungs))
    require_order(ratio)
    offsets, air_gate = _air_offsets(low, high, lungs, pair)
    images, aligned = _aligned(low, high, lungs)
    progress(0.6, "separating iodine, air and tissue")
    notes: tuple[str, ...] = ()
    if self_calibrate:
        pair = pair.with_ratio(own_ratio(ratio), "ratio from own blood")
        notes = (f"Iodine ratio {ratio:.2f} measured in this patient's own blood.",)
    made = decompose(
        *images, pair, model=model, low_offset_hu=offsets[0], high_offset_hu=offsets[1]
    )
    progress(1.0, "separated")
    air = f"air offsets {offsets[0]:+.1f} and {offsets[1]:+.1f} HU subtracted"
    gates = (aligned, air_gate, judge_ratio(ratio, pair, voltages))
    return replace(in_whole_hu(made), method=f"{made.method}, {air}"), gates, notes


def _air_offsets(
    low: Volume, high: Volume, lungs: Labelmap, pair: SpectralPair
) -> tuple[tuple[float, float], Gate]:
    """Error of air in both images, from the large airways in slices without streaks."""
    mixed = low.with_array(_mean(low.array, high.array))
    air = airway_core(lungs) & ~slices_with_streaks(mixed, lungs, pair.mixed_hu_per_mg_ml)
    names = "low-voltage image", "high-voltage image"
    return air_offsets({names[0]: (low, air), names[1]: (high, air)})


def _mean(low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = high.astype(np.float32)
    mean += low
    mean /= 2
    return mean


def _aligned(low: Volume, high: Volume, lungs: Labelmap) -> tuple[tuple[Volume, Volume], Gate]:
    """Move both images together by the mean shift of the lungs, and judge what is left."""
    found = both(*(partial(measure_shift, low, high, lungs.mask(lung)) for lung in LUNGS))
    shifts = [shift for shift in found if shift is not None]
    if not shifts:
        message = "Too little lung to tell whether both images of the pair coincide."
        return (low, high), Gate(id="pair_alignment", verdict="unknown", message=message)
    mean = np.mean(shifts, axis=0)
    apart_mm = float(np.linalg.norm(mean))
    rest_mm = max(float(np.linalg.norm(shift - mean)) for shift in shifts)
    good = apart_mm <= LARGEST_SHIFT_MM and rest_mm <= LARGEST_REST_MM
    joined = JOIN_FROM_MM <= apart_mm <= LARGEST_SHIFT_MM
    fate = "were brought together" if joined else "were left as they are"
    advice = "" if good else "; look at the edges of vessels in the iodine map before using defects"
    return join_half_way(low, high, mean) if joined else (low, high), Gate(
        id="pair_alignment",
        verdict="pass" if good else "warn",
        message=f"The lungs lie {apart_mm:.2f} mm apart in the two images, which {fate}, and "
        f"differ by {rest_mm:.2f} mm from each other in this{advice}.",
        value=apart_mm,
        unit="mm",
        limit=f"up to {LARGEST_SHIFT_MM:g} mm, and {LARGEST_REST_MM:g} mm between the lungs",
    )
