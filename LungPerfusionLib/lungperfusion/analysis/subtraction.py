"""Subtraction CT: register the native scan, subtract it, and judge how well both coincide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lungperfusion.errors import InputError
from lungperfusion.iodine.air_calibration import air_offsets, airway_core
from lungperfusion.iodine.calibration import REFERENCE_HU_PER_MG_ML
from lungperfusion.iodine.decomposition import IodineMap, in_whole_hu
from lungperfusion.iodine.exclusion import slices_with_streaks
from lungperfusion.iodine.muscle import judge_muscle, muscle_hu
from lungperfusion.iodine.subtraction import (
    GOOD_ALIGNMENT,
    GOOD_NEGATIVE_SHARE,
    MINIMAL_ALIGNMENT,
    MOST_NEGATIVE_SHARE,
    alignment,
    misregistered,
    negative_share,
    subtract_native,
)
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.quality import Gate
from lungperfusion.terms import LUNGS
from lungperfusion.volume import Labelmap, Mask, Volume
from lungperfusion.vq.jacobian import scale_to_volumes
from lungperfusion.vq.pair import SURFACE_MM, beneath_surface
from lungperfusion.vq.registration import register_lungs


def register_and_subtract(
    contrast: Volume,
    native: Volume,
    contrast_lungs: Labelmap,
    native_lungs: Labelmap,
    *,
    hu_per_mg_ml: float,
    reference_hu_per_mg_ml: float = REFERENCE_HU_PER_MG_ML,
    progress: Progress = ignore,
) -> tuple[IodineMap, tuple[Gate, ...], tuple[str, ...]]:
    """Bring a native CT onto a contrast CT, lung by lung, and subtract it.

    Parameters
    ----------
    contrast, native
        CT in HU, each on its own grid.
    contrast_lungs, native_lungs
        ``left_lung``, ``right_lung`` and, where known, ``airways`` of both, whose air both scans
        are set to -1000 HU in.
    hu_per_mg_ml
        Sensitivity to iodine at the voltage of both scans.
    reference_hu_per_mg_ml
        k_ref.

    Returns
    -------
    IodineMap
        On the grid of ``contrast``, invalid outside the lungs and at their surface, where the two
        scans blur different shares of chest wall and bronchial wall into the lung.
    tuple of Gate
        How well both scans coincide, and whether their air and muscle do.
    tuple of str
        Lungs that could not be registered.

    Raises
    ------
    InputError
        If no lung could be registered.

    """
    try:
        registration = register_lungs(
            contrast, native, contrast_lungs, native_lungs, progress=part(progress, 0.0, 0.9)
        )
    except InputError as error:
        raise InputError(f"the native CT could not be registered: {error}") from error
    offsets, air = _air_offsets(contrast, native, contrast_lungs, native_lungs, hu_per_mg_ml)
    muscle = judge_muscle(
        _less(muscle_hu(contrast, contrast_lungs), offsets[0]),
        _less(muscle_hu(native, native_lungs), offsets[1]),
    )
    views = contrast.valid, native.valid
    ratio, _ = scale_to_volumes(
        registration.jacobian(), contrast_lungs, native_lungs, LUNGS, views=views
    )
    surface_mm = max(SURFACE_MM, *contrast.geometry.spacing_kji_mm)
    even = contrast.with_array(contrast.array.astype(np.float32) - np.float32(offsets[0]))
    subtracted = subtract_native(
        even,
        registration.warp(native) - np.float32(offsets[1]),
        ratio,
        hu_per_mg_ml=hu_per_mg_ml,
        reference_hu_per_mg_ml=reference_hu_per_mg_ml,
        source=f"native CT registered and subtracted, {surface_mm:.3g} mm of surface left out",
    )
    made = _inside(subtracted, beneath_surface(contrast_lungs, surface_mm))
    gate = _alignment_gate(contrast, made, contrast_lungs)
    edges = misregistered(made, contrast, contrast_lungs)
    share = np.count_nonzero(edges) / np.count_nonzero(contrast_lungs.mask(*LUNGS))
    made = replace(
        _inside(made, ~edges),
        method=f"{made.method}, {100 * share:.1f} % beside displaced edges left out, "
        f"air offsets {offsets[0]:+.1f} and {offsets[1]:+.1f} HU subtracted",
    )
    progress(1.0, "subtracted")
    warnings = tuple(
        f"{lung.replace('_', ' ').capitalize()}: no subtraction, {reason}."
        for lung, reason in registration.missing.items()
    )
    return in_whole_hu(made), (gate, air, muscle), warnings


def _air_offsets(
    contrast: Volume,
    native: Volume,
    contrast_lungs: Labelmap,
    native_lungs: Labelmap,
    hu_per_mg_ml: float,
) -> tuple[tuple[float, float], Gate]:
    """Error of air in both scans, from the large airways, without slices that hold streaks."""
    air = airway_core(contrast_lungs) & ~slices_with_streaks(contrast, contrast_lungs, hu_per_mg_ml)
    return air_offsets(
        {"contrast scan": (contrast, air), "native scan": (native, airway_core(native_lungs))}
    )


def _less(value_hu: float | None, offset_hu: float) -> float | None:
    return None if value_hu is None else value_hu - offset_hu


def _inside(made: IodineMap, counted: Mask) -> IodineMap:
    """Leave out what lies elsewhere; the native CT beneath stays whole."""
    image = made.concentration
    valid = counted if image.valid is None else counted & image.valid
    array = np.where(valid, image.array, np.float32(0))
    return replace(made, concentration=Volume(array, image.geometry, image.unit, valid))


def _alignment_gate(contrast: Volume, made: IodineMap, lungs: Labelmap) -> Gate:
    inside = lungs.mask(*LUNGS)
    value = float("nan")
    if made.virtual_native is not None:
        value = alignment(contrast, made.virtual_native, inside)
    negative = negative_share(made, lungs)
    good = value >= GOOD_ALIGNMENT and negative <= GOOD_NEGATIVE_SHARE
    usable = value >= MINIMAL_ALIGNMENT and negative <= MOST_NEGATIVE_SHARE
    advice = (
        "the structures of both scans coincide"
        if good
        else "look at the edges of vessels and diaphragm in the iodine map before using it"
    )
    return Gate(
        id="subtraction_alignment",
        verdict="pass" if good else "warn" if usable else "fail",
        message=f"Contrast and native CT correlate with r = {value:.2f} in the lungs, and "
        f"{100 * negative:.1f} % of the lungs would hold less iodine than none: {advice}.",
        value=None if np.isnan(value) else value,
        unit="1",
        limit=f"{GOOD_ALIGNMENT:g} or more, and up to {100 * GOOD_NEGATIVE_SHARE:g} % below none",
    )
