"""Maps on the working grid, for pictures and findings; numbers come from curves of regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.dynamic.first_pass import FirstPass
from lungperfusion.dynamic.inputs import InputCurve
from lungperfusion.dynamic.region_flow import Coverage
from lungperfusion.dynamic.slope import slope_flow
from lungperfusion.dynamic.two_input import VOXEL_KERNELS, TwoInputModel
from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.progress import Progress, ignore
from lungperfusion.terms import LUNGS, TISSUES, title
from lungperfusion.volume import Mask, Volume

SMOOTHING_MM = 4.0
"""Gaussian of the voxel curves, inside each lung: at 20 HU of image noise 1 to 2 HU are left of it,
which the fit needs (docs/dynamic.md)."""
VOXEL_NOISE_HU = 1.5
"""Of smoothed voxel curves."""
LEAST_WEIGHT = 0.002
EDGE_MM, EDGE_WEIGHT = 3.5, 0.1
"""What voxels beside vessels and pleura count in smoothed curves: with 1 the Dice of two deficits
of the phantom is 0.68, with 0.1 it is 0.81, and 0.03 is no better; 4.5 mm lose the tips."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FlowMaps:
    """Maps of one first pass; valid where lung was measured."""

    volumes: Mapping[str, Volume]
    """By name: ``pulmonary_flow``, ``bronchial_flow``, ``perfusion_index``, ``blood_volume``,
    ``mtt``, ``ttp``, ``pulmonary_flow_slope``, ``fit_residual``, ``motion_rms``."""
    measurable: Mask
    unsmoothed_blood_volume: Volume
    """Outlines of findings are drawn in it; noise of single voxels."""


def flow_maps(first_pass: FirstPass, progress: Progress = ignore) -> FlowMaps:
    """Fit the smoothed curve of every measurable voxel."""
    progress(0.0, "fitting the curves of the voxels")
    inside = first_pass.measurable
    curves = _smoothed_curves(first_pass, inside)
    times = first_pass.times_s
    model = TwoInputModel.of(
        times,
        first_pass.artery_hu,
        first_pass.aorta_hu,
        VOXEL_KERNELS,
        first_pass.weights(VOXEL_NOISE_HU),
    )
    progress(0.3, "fitting the curves of the voxels")
    fit = model.fit(curves)
    progress(0.8, "fitting the curves of the voxels")
    spans = model.weights * np.gradient(times)
    area, modelled = (c @ spans for c in (curves, fit.modelled))
    per_area = np.divide(fit.blood_volume, modelled, out=np.zeros_like(area), where=modelled > 0)
    volume = np.maximum(per_area * area, 0)
    own_area = np.tensordot(spans, first_pass.enhancement[:, inside], axes=1)
    flowing = fit.pulmonary_flow > 0
    transit = np.divide(60 * volume, fit.pulmonary_flow, out=np.zeros_like(volume), where=flowing)
    unit = "mL/100mL"
    found: dict[str, tuple[NDArray[np.float64], str, NDArray[np.bool_] | None]] = {
        "pulmonary_flow": (fit.pulmonary_flow, "mL/min/100mL", None),
        "blood_volume": (volume, unit, None),
        "mtt": (transit, "s", flowing & (transit <= MOST_TRANSIT_S)),
        "ttp": (times[curves.argmax(axis=1)] - first_pass.inputs.artery.arrival_s, "s", None),
        "fit_residual": (fit.residual, "HU", None),
    }
    if first_pass.aorta_hu is not None:
        index = fit.perfusion_index
        found["bronchial_flow"] = (fit.bronchial_flow, "mL/min/100mL", None)
        found["perfusion_index"] = (np.nan_to_num(index), "1", np.isfinite(index))
    if isinstance(first_pass.inputs.atrium, InputCurve):
        slope = slope_flow(
            times,
            curves,
            artery_peak_hu=first_pass.inputs.artery.peak_hu / first_pass.hct_ratio,
            aorta_peak_hu=float("nan"),
            split_s=first_pass.inputs.atrium.peak_s,
            end_s=first_pass.inputs.first_pass_end_s,
            noise_hu=np.zeros(len(curves)),
        )
        found["pulmonary_flow_slope"] = (slope.pulmonary_flow, "mL/min/100mL", None)
    volumes = {
        name: _as_volume(values, first_pass, inside, its_unit, known)
        for name, (values, its_unit, known) in found.items()
    }
    geometry = first_pass.frames.geometry
    volumes["motion_rms"] = Volume(first_pass.aligned.motion_rms_mm, geometry, "mm", inside)
    progress(1.0, "fitting the curves of the voxels")
    return FlowMaps(
        volumes=volumes,
        measurable=inside,
        unsmoothed_blood_volume=_as_volume(per_area * own_area, first_pass, inside, unit, None),
    )


MOST_TRANSIT_S = 30.0
"""Longer than most series: where hardly any blood flows the ratio of two small numbers is noise."""


def map_measurements(
    maps: FlowMaps, first_pass: FirstPass, coverage: Coverage
) -> tuple[Measurement, ...]:
    """Median, quartile spread and variation of pulmonary flow in every region."""
    flow = maps.volumes["pulmonary_flow"]
    rows = []
    for region in (*first_pass.regions.names, *TISSUES):
        values = flow.values(first_pass.mask(region))
        reason = coverage.missing_reason(region)
        if not values.size and not reason:
            reason = f"no {title(region).lower()} was measured"
        if reason:
            rows += [missing(region, name, reason) for name in _SPREAD]
            continue
        first, median, third = np.percentile(values.astype(np.float64), (25, 50, 75))
        mean = float(values.mean(dtype=np.float64))
        numbers = {"pulmonary_flow_median": median, "pulmonary_flow_iqr": third - first}
        if mean > 0:
            numbers["pulmonary_flow_cv"] = float(values.std(dtype=np.float64)) / mean
        rows += [
            measured(region, name, numbers[name], _METHOD, caution=coverage.caution(region))
            if name in numbers
            else missing(region, name, "there is no pulmonary flow", _METHOD)
            for name in _SPREAD
        ]
    return tuple(rows)


_SPREAD = ("pulmonary_flow_median", "pulmonary_flow_iqr", "pulmonary_flow_cv")
_METHOD = f"map of the two-input fit, curves smoothed {SMOOTHING_MM:g} mm"


def _smoothed_curves(first_pass: FirstPass, inside: Mask) -> NDArray[np.float32]:
    """Curves of the voxels of a mask, smoothed inside each lung; shape (voxels, frames)."""
    out = np.zeros((np.count_nonzero(inside), len(first_pass.times_s)), np.float32)
    spacing = first_pass.frames.geometry.spacing_kji_mm
    sigma = [SMOOTHING_MM / mm for mm in spacing]
    each = np.where(first_pass.interior(EDGE_MM), 1, EDGE_WEIGHT).astype(np.float32)
    for side in LUNGS:
        own = first_pass.regions.mask(side) & inside
        if not own.any():
            continue
        place = own[inside]
        counts = each * own
        weight = ndimage.gaussian_filter(counts, sigma, mode="constant")[own]
        for number, image in enumerate(first_pass.enhancement):
            counted = np.where(own, image, 0) * counts
            blurred = ndimage.gaussian_filter(counted, sigma, mode="constant")
            out[place, number] = blurred[own] / np.maximum(weight, np.float32(LEAST_WEIGHT))
    return out


def _as_volume(
    values: NDArray[np.float64],
    first_pass: FirstPass,
    inside: Mask,
    unit: str,
    known: NDArray[np.bool_] | None,
) -> Volume:
    array = np.zeros(inside.shape, np.float32)
    array[inside] = values if known is None else np.where(known, values, 0)
    valid = inside.copy()
    if known is not None:
        valid[inside] = known
    return Volume(array, first_pass.frames.geometry, unit, valid)
