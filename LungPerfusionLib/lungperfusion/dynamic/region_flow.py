"""Numbers of regions from their mean curves, each with its interval or the reason it is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.dynamic.deconvolution import deconvolve
from lungperfusion.dynamic.first_pass import LEAST_DENSITY_G_ML, FirstPass
from lungperfusion.dynamic.inputs import InputCurve
from lungperfusion.dynamic.slope import NO_RISE, slope_flow
from lungperfusion.dynamic.two_input import SYSTEMATIC_HU, FlowFit, Intervals, TwoInputModel
from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.terms import TISSUES, Region, title
from lungperfusion.volume import Mask

Curve = NDArray[np.float64]

LEAST_REGION_ML = 2.0
"""Smaller pieces of lung have curves too noisy for numbers; maps show them."""
REGION_NOISE_HU = 0.3
"""Of region curves in frames without motion."""
EDGE_MM, EDGE_SMOOTHING_MM = 4.5, 4.0
"""Voxels at the edges of measurable lung take their curve from those farther inside, by a Gaussian.
In moved frames of the phantom lobes are 1.3 to 8.3 HU below held breath with their own curves, and
0.3 to 1.5 HU farther inside; blood volume is within 2.4 % instead of 3 to 21 %."""
CAUTION_SHARE, LEAST_SHARE = 0.8, 0.25
"""Of a region must lie in the images for a value without a caution, and for a value at all."""

UNKNOWN_SHARE = (
    "the images cut this region off and do not tell how much of it lies outside: give --lung-mask "
    "or --lobes of a CT of the whole chest"
)
WHOLE_IN_VIEW = "the images do not cut this region off, or show none of it"
METHOD = "region curve, two-input fit"
NO_TRANSIT_FLOW = 1e-6


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How much of each region the images hold."""

    shares: Mapping[Region, float]
    """0 to 1, where the whole region is known."""
    cut: frozenset[Region]
    """Regions that the images cut off without telling how much."""

    def missing_reason(self, region: Region) -> str:
        """Why a region is too little covered; empty if it is not."""
        share = self.shares.get(region, 1.0)
        if share >= LEAST_SHARE:
            return ""
        return (
            f"{100 * share:.0f} % of the {title(region).lower()} lie in the images, at least "
            f"{100 * LEAST_SHARE:.0f} % are needed"
        )

    def measurements(self, regions: Sequence[Region]) -> tuple[Measurement, ...]:
        """Share of every region in the images."""
        return tuple(
            measured(region, "slab_share", 100 * self.shares[region], "volume in the images")
            if region in self.shares
            else missing(
                region, "slab_share", UNKNOWN_SHARE if region in self.cut else WHOLE_IN_VIEW
            )
            for region in regions
        )

    def caution(self, region: Region) -> str:
        """Say what to mind of a region; empty for nothing."""
        if region in self.cut:
            return UNKNOWN_SHARE
        share = self.shares.get(region, 1.0)
        if share >= CAUTION_SHARE:
            return ""
        return f"{100 * share:.0f} % of the {title(region).lower()} lie in the images"


WHOLE = Coverage(shares={}, cut=frozenset())


@dataclass(frozen=True, eq=False, kw_only=True)
class RegionCurve:
    """A region with its curve and the fit."""

    region: Region
    volume_ml: float
    density_g_ml: float
    hu: Curve
    noise_hu: float
    """Standard deviation before the bolus."""
    fitted_hu: Curve
    intervals: Intervals


@dataclass(frozen=True, eq=False, kw_only=True)
class RegionFlows:
    """Values and curves of all regions."""

    measurements: tuple[Measurement, ...]
    curves: tuple[RegionCurve, ...]

    def value(self, region: Region, measure: str) -> float:
        """Look a value up, NaN where it is missing."""
        for row in self.measurements:
            if (row.region, row.measure) == (region, measure):
                return row.value
        return float("nan")


def measure_regions(first_pass: FirstPass, coverage: Coverage = WHOLE) -> RegionFlows:
    """Measure every region and class of tissue.

    Parameters
    ----------
    first_pass
        Frames, inputs and regions.
    coverage
        How much of each region the images hold.

    """
    regions = [*first_pass.regions.names, *TISSUES]
    refused: dict[Region, str] = {}
    chosen: list[tuple[Region, Mask]] = []
    voxel_ml = first_pass.frames.geometry.voxel_volume_ml
    for region in regions:
        mask = first_pass.mask(region)
        volume_ml = float(np.count_nonzero(mask)) * voxel_ml
        reason = coverage.missing_reason(region)
        if not mask.any():
            none = f"no {title(region).lower()} in the images"
            reason = none if region in TISSUES else first_pass.regions.why_missing(region)
        elif volume_ml < LEAST_REGION_ML and not reason:
            reason = f"{volume_ml:.1f} mL of it can be measured, {LEAST_REGION_ML:g} are needed"
        if reason:
            refused[region] = reason
        else:
            chosen.append((region, mask))
    values = _values(first_pass, chosen) if chosen else {}
    curves = tuple(entry.curve for entry in values.values())
    rows: list[Measurement] = []
    for region in regions:
        if region in refused:
            rows += (missing(region, name, refused[region]) for name in _NAMES)
        else:
            rows += _rows(values[region], coverage.caution(region))
    return RegionFlows(measurements=tuple(rows), curves=curves)


@dataclass(frozen=True, eq=False)
class _Values:
    """Numbers of one region by measure, NaN with a reason in ``why``."""

    curve: RegionCurve
    numbers: Mapping[str, float]
    why: Mapping[str, str]
    methods: Mapping[str, str]


def _values(first_pass: FirstPass, chosen: Sequence[tuple[Region, Mask]]) -> dict[Region, _Values]:
    times, baseline = first_pass.times_s, first_pass.inputs.baseline
    frames = first_pass.frames.array
    raw = np.array([region_mean(first_pass, mask, frames) for _, mask in chosen])
    start = raw[:, baseline].mean(axis=1)
    curves = raw - start[:, None]
    spread = np.diff(curves[:, baseline], axis=1)
    noise = np.sqrt((spread**2).mean(axis=1) / 2) if spread.shape[1] else np.zeros(len(curves))
    weights = first_pass.weights(REGION_NOISE_HU)
    model = TwoInputModel.of(times, first_pass.artery_hu, first_pass.aorta_hu, weights=weights)
    fit = model.fit(curves)
    # what alignment leaves in a curve rises and falls as well: it is no bronchial flow
    error = np.maximum(np.maximum(noise, fit.residual), SYSTEMATIC_HU)
    slopes = _slopes(first_pass, curves, error)
    deconvolved = deconvolve(times, first_pass.artery_hu, curves)
    out = {}
    voxel_ml = first_pass.frames.geometry.voxel_volume_ml
    for n, (region, mask) in enumerate(chosen):
        density = max((float(start[n]) + 1000) / 1000, LEAST_DENSITY_G_ML)
        curve = RegionCurve(
            region=region,
            volume_ml=float(np.count_nonzero(mask)) * voxel_ml,
            density_g_ml=density,
            hu=curves[n],
            noise_hu=float(noise[n]),
            fitted_hu=fit.modelled[n],
            intervals=model.intervals(curves[n]),
        )
        numbers = _fitted(curve, fit, n, model.weights * np.gradient(times))
        numbers |= {
            "pulmonary_flow_slope": slopes[0][n],
            "bronchial_flow_slope": slopes[1][n],
            "perfusion_index_slope": 100 * slopes[0][n] / (slopes[0][n] + slopes[1][n]),
            "pulmonary_flow_svd": float(deconvolved.flow[n]),
            "dynamic_tmax": float(deconvolved.tmax_s[n]),
            "dynamic_ttp": _peak_s(times, curves[n]) - first_pass.inputs.artery.arrival_s,
        }
        numbers |= {f"{name}_per_mass": numbers[name] / density for name in _PER_MASS}
        why = _reasons(first_pass, numbers)
        methods = {"pulmonary_flow_svd": f"{_SVD}, cut-off {deconvolved.cutoff[n]:.2f}"}
        out[region] = _Values(curve, numbers, why, methods)
    return out


def region_mean(first_pass: FirstPass, mask: Mask, images: NDArray[np.floating]) -> Curve:
    """Mean of a region in each image; its edges take the value of the lung farther inside.

    Interior voxels alone would stand for the middle of a region: ground glass, say, makes more of
    it than of the whole.  Where less than `LEAST_REGION_ML` is interior, all voxels count alike.

    Parameters
    ----------
    first_pass
        Tells what is interior.
    mask
        The region, shape (K, J, I).
    images
        Shape (N, K, J, I).

    Returns
    -------
    ndarray
        Shape (N,).

    """
    geometry = first_pass.frames.geometry
    inner = mask & first_pass.interior(EDGE_MM)
    if np.count_nonzero(inner) * geometry.voxel_volume_ml < LEAST_REGION_ML:
        return np.asarray(images[:, mask].mean(axis=1, dtype=np.float64))
    sigma = [EDGE_SMOOTHING_MM / mm for mm in geometry.spacing_kji_mm]
    near = ndimage.gaussian_filter(inner.astype(np.float32), sigma, mode="constant")
    each = np.where(mask, 1 / np.maximum(near, LEAST_NEAR), 0).astype(np.float32)
    weights = ndimage.gaussian_filter(each, sigma, mode="constant")[inner]
    return np.asarray(images[:, inner] @ (weights / weights.sum()), np.float64)


LEAST_NEAR = np.float32(1e-4)
"""Share of the Gaussian that lies in the interior; voxels with less hardly count."""

_SVD = "block-circulant singular values"
_PER_MASS = (
    *("dynamic_blood_volume", "pulmonary_flow", "bronchial_flow"),
    *("pulmonary_flow_slope", "bronchial_flow_slope", "pulmonary_flow_svd"),
)
_FITTED = (
    *("dynamic_blood_volume", "pulmonary_flow", "pulmonary_flow_low", "pulmonary_flow_high"),
    *("bronchial_flow", "bronchial_flow_low", "bronchial_flow_high"),
    *("perfusion_index", "perfusion_index_low", "perfusion_index_high"),
    *("dynamic_mtt", "dynamic_mtt_low", "dynamic_mtt_high"),
)
_NAMES = (
    *_FITTED,
    *("pulmonary_flow_slope", "bronchial_flow_slope", "perfusion_index_slope"),
    *("pulmonary_flow_svd", "dynamic_tmax", "dynamic_ttp"),
    *(f"{name}_per_mass" for name in _PER_MASS),
)


def _fitted(curve: RegionCurve, fit: FlowFit, n: int, spans_s: Curve) -> dict[str, float]:
    """Values of the two-input fit; blood volume from the measured area, frames by weight."""
    area, modelled = (float(c @ spans_s) for c in (curve.hu, curve.fitted_hu))
    volume = float(fit.blood_volume[n]) * (area / modelled if modelled > 0 else np.nan)
    flow, ends = float(fit.pulmonary_flow[n]), curve.intervals

    def transit(pulmonary: float) -> float:
        return 60 * volume / pulmonary if pulmonary > NO_TRANSIT_FLOW else float("nan")

    return {
        "dynamic_blood_volume": volume,
        "pulmonary_flow": flow,
        "pulmonary_flow_low": min(ends.pulmonary_flow.low, flow),
        "pulmonary_flow_high": max(ends.pulmonary_flow.high, flow),
        "bronchial_flow": float(fit.bronchial_flow[n]),
        "bronchial_flow_low": ends.bronchial_flow.low,
        "bronchial_flow_high": ends.bronchial_flow.high,
        "perfusion_index": 100 * float(fit.perfusion_index[n]),
        "perfusion_index_low": 100 * ends.perfusion_index.low,
        "perfusion_index_high": 100 * ends.perfusion_index.high,
        "dynamic_mtt": transit(flow),
        "dynamic_mtt_low": transit(max(ends.pulmonary_flow.high, flow)),
        "dynamic_mtt_high": transit(min(ends.pulmonary_flow.low, flow)),
    }


def _slopes(
    first_pass: FirstPass, curves: NDArray[np.float64], noise_hu: Curve
) -> tuple[Curve, Curve]:
    """Pulmonary and bronchial flow by slope; NaN without an atrium that splits the phases."""
    inputs = first_pass.inputs
    nothing = np.full(len(curves), np.nan)
    if not isinstance(inputs.atrium, InputCurve):
        return nothing, nothing
    aorta = inputs.aorta
    found = slope_flow(
        first_pass.times_s,
        curves,
        artery_peak_hu=inputs.artery.peak_hu / first_pass.hct_ratio,
        aorta_peak_hu=aorta.peak_hu / first_pass.hct_ratio
        if isinstance(aorta, InputCurve)
        else float("nan"),
        split_s=inputs.atrium.peak_s,
        end_s=inputs.first_pass_end_s,
        noise_hu=noise_hu,
    )
    return found.pulmonary_flow, found.bronchial_flow


def _reasons(first_pass: FirstPass, numbers: Mapping[str, float]) -> dict[str, str]:
    """Why values are not there."""
    inputs = first_pass.inputs
    no_aorta = f"no aortic input: {inputs.aorta}" if isinstance(inputs.aorta, str) else ""
    no_atrium = f"no phase split: {inputs.atrium}" if isinstance(inputs.atrium, str) else ""
    out = {}
    for name, value in numbers.items():
        if np.isfinite(value):
            continue
        if "_slope" in name:
            out[name] = no_atrium or no_aorta or NO_RISE
        elif name.startswith(("bronchial", "perfusion_index")) and no_aorta:
            out[name] = no_aorta
        else:
            out[name] = "the fit finds no pulmonary flow"
    return out


def _peak_s(times_s: Curve, curve: Curve) -> float:
    """Time of the highest point, by a parabola through the highest frame and its neighbours."""
    top = int(curve.argmax())
    if top in (0, curve.size - 1):
        return float(times_s[top])
    x = times_s[top - 1 : top + 2] - times_s[top]
    a, b, _ = np.polyfit(x, curve[top - 1 : top + 2], 2)
    return float(times_s[top] + (np.clip(-b / (2 * a), x[0], x[2]) if a < 0 else 0.0))


AT_BOUND = "the fit ends at its bound, no bronchial flow: read the interval"
_BOUNDED = ("bronchial_flow", "bronchial_flow_per_mass", "perfusion_index")


def _rows(values: _Values, of_region: str) -> Iterator[Measurement]:
    for name in _NAMES:
        bounded = name in _BOUNDED and values.numbers["bronchial_flow"] == 0
        caution = "; ".join(filter(None, (AT_BOUND if bounded else "", of_region)))
        number = float(values.numbers[name])
        method = METHOD if name.removesuffix("_per_mass") in _FITTED else "region curve"
        method = values.methods.get(name.removesuffix("_per_mass"), method)
        if np.isfinite(number):
            yield measured(values.curve.region, name, number, method, caution=caution)
        else:
            yield missing(values.curve.region, name, values.why[name], method)
