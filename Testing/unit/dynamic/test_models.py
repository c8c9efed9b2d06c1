"""Flow models against tissue that is known, and against tissue of another making."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lungperfusion.dynamic.deconvolution import deconvolve
from lungperfusion.dynamic.slope import slope_flow
from lungperfusion.dynamic.two_input import (
    REGION_KERNELS,
    VOXEL_KERNELS,
    TwoInputModel,
    residue,
)
from lungperfusion.phantoms.bolus import STEP_S, Bolus, Tissue

BOLUS = Bolus()
NORMAL = Tissue(pulmonary_flow=200, bronchial_flow=10, transit_s=5, bronchial_transit_s=6)
MIXED = Tissue(pulmonary_flow=60, bronchial_flow=20, transit_s=4, bronchial_transit_s=6)
BRONCHIAL = Tissue(pulmonary_flow=15, bronchial_flow=50, transit_s=4, bronchial_transit_s=8)


def enhancement(tissue, times_s, kind="sigmoid"):
    return BOLUS.sampled(sum(BOLUS.tissue(tissue, kind)), times_s)


def inputs(times_s):
    return BOLUS.sampled(BOLUS.artery, times_s), BOLUS.sampled(BOLUS.aorta, times_s)


@pytest.fixture(scope="module")
def model(times_s):
    return TwoInputModel.of(times_s, *inputs(times_s))


@pytest.mark.parametrize("width", [1 / 6, 1 / 3, 0])
@pytest.mark.parametrize("mean_s", [2.0, 6.0, 10.0])
def test_residue_starts_at_one_and_has_its_mean(mean_s, width):
    at_s = np.arange(0, 120, 0.01)
    curve = residue(at_s, mean_s, width)

    assert curve[0] == 1
    assert np.trapezoid(curve, at_s) == pytest.approx(mean_s, rel=1e-3)


@pytest.mark.parametrize("tissue", [NORMAL, MIXED, BRONCHIAL])
def test_fit_finds_flows_without_noise(model, times_s, tissue):
    fit = model.fit(enhancement(tissue, times_s)[None])

    assert fit.pulmonary_flow[0] == pytest.approx(tissue.pulmonary_flow, rel=0.02)
    assert fit.bronchial_flow[0] == pytest.approx(tissue.bronchial_flow, rel=0.02)
    assert fit.perfusion_index[0] == pytest.approx(tissue.perfusion_index, abs=0.01)
    assert fit.blood_volume[0] == pytest.approx(tissue.blood_volume, rel=0.01)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_flow_scales_with_the_tissue_and_against_the_inputs(times_s, scale):
    curve = enhancement(NORMAL, times_s)[None]
    artery, aorta = inputs(times_s)
    plain = TwoInputModel.of(times_s, artery, aorta).fit(curve)
    brighter = TwoInputModel.of(times_s, scale * artery, scale * aorta).fit(scale * curve)

    assert brighter.pulmonary_flow == pytest.approx(plain.pulmonary_flow)


def test_intervals_hold_the_truth_and_widen_with_noise(model, times_s):
    rng = np.random.default_rng(7)
    curve = enhancement(MIXED, times_s)
    noise = rng.standard_normal((40, times_s.size))
    held, widths = [], []
    for sd in (0.5, 2.0):
        intervals = [model.intervals(curve + sd * draw).perfusion_index for draw in noise]
        held += [entry.low <= MIXED.perfusion_index <= entry.high for entry in intervals]
        widths.append(np.mean([entry.high - entry.low for entry in intervals]))

    assert np.mean(held) >= 0.9
    assert widths[1] > widths[0]


def test_frames_without_weight_do_not_count(times_s):
    curve = enhancement(NORMAL, times_s)
    spoiled = curve.copy()
    spoiled[[12, 15]] += 25.0
    weights = np.ones(times_s.size)
    weights[[12, 15]] = 1e-6
    model = TwoInputModel.of(times_s, *inputs(times_s), weights=weights)

    assert model.fit(spoiled[None]).pulmonary_flow[0] == pytest.approx(200, rel=0.02)


def test_without_an_aorta_there_is_pulmonary_flow_alone(times_s):
    artery, _ = inputs(times_s)
    model = TwoInputModel.of(times_s, artery, None, VOXEL_KERNELS)
    tissue = Tissue(pulmonary_flow=100, bronchial_flow=0, transit_s=5)
    fit = model.fit(enhancement(tissue, times_s)[None])

    assert fit.pulmonary_flow[0] == pytest.approx(100, rel=0.02)
    assert np.isnan(fit.bronchial_flow[0])
    assert np.isnan(fit.perfusion_index[0])
    assert np.isfinite(model.intervals(enhancement(tissue, times_s)).pulmonary_flow.high)


# ---- slope ---------------------------------------------------------------------------------------


def slope(tissue, times_s, **changes):
    artery, aorta = inputs(times_s)
    given = {
        "artery_peak_hu": artery.max(),
        "aorta_peak_hu": aorta.max(),
        "split_s": float(BOLUS.at_s[BOLUS.atrium.argmax()]),
        "end_s": 31.0,
        "noise_hu": np.zeros(1),
    }
    return slope_flow(times_s, enhancement(tissue, times_s)[None], **{**given, **changes})


def test_slope_is_the_steepest_rise_of_the_curve(times_s):
    fine = np.arange(0, 40, STEP_S)
    steepest = np.diff(enhancement(NORMAL, fine)).max() / STEP_S
    found = slope(NORMAL, np.arange(0, 36, 0.25))

    expected = 6000 * steepest / inputs(times_s)[0].max()
    assert found.pulmonary_flow[0] == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("tissue", [NORMAL, MIXED])
def test_slope_does_not_see_bronchial_flow_of_a_falling_curve(times_s, tissue):
    found = slope(tissue, times_s)

    assert np.isnan(found.bronchial_flow[0])
    assert np.isnan(found.perfusion_index[0])


def test_slope_sees_bronchial_flow_where_the_curve_rises_again(times_s):
    found = slope(BRONCHIAL, times_s)

    assert 25 < found.bronchial_flow[0] < 50
    assert np.isnan(slope(BRONCHIAL, times_s, noise_hu=np.array([20.0])).bronchial_flow[0])


# ---- deconvolution -------------------------------------------------------------------------------


def test_deconvolution_finds_flow_whatever_the_delay(times_s):
    artery, _ = inputs(times_s)
    tissues = [Tissue(pulmonary_flow=120, bronchial_flow=0, delay_s=d) for d in (0.0, 1.5, 3.0)]
    found = deconvolve(times_s, artery, np.array([enhancement(t, times_s) for t in tissues]))

    assert found.flow == pytest.approx(120, rel=0.12)
    assert np.ptp(found.flow) < 0.12 * 120
    assert (np.diff(found.tmax_s) >= 0).all()


def test_circulant_singular_values_are_those_of_the_spectrum(times_s):
    """A circulant matrix is diagonal in Fourier space: the same flow by division of spectra."""
    artery, _ = inputs(times_s)
    noise = 0.5 * np.random.default_rng(2).standard_normal(times_s.size)
    curve = enhancement(NORMAL, times_s) + noise
    found = deconvolve(times_s, artery, curve[None])
    size, step = 2 * times_s.size, times_s[1] - times_s[0]
    ahead, tissue = np.fft.fft(artery, size) * step, np.fft.fft(curve, size)
    kept = np.abs(ahead) >= found.cutoff[0] * np.abs(ahead).max()
    stay = np.fft.ifft(np.divide(tissue, ahead, out=np.zeros_like(tissue), where=kept)).real

    assert found.flow[0] == pytest.approx(6000 * stay.max(), rel=1e-6)


# ---- tissue of another making --------------------------------------------------------------------


def other_tissue(times_s, flow, bronchial, mean_s):
    """Inputs of log-normal shape and a residue that falls as a gamma distribution's tail."""
    at = np.arange(0, 60, 0.02)
    artery = 350 * stats.lognorm.pdf(at - 7, 0.45, scale=6.5) * 10
    aorta = np.interp(at - 6.5, at, artery, left=0) * 0.8
    stay = stats.gamma.sf(at, 4.0, scale=mean_s / 4)
    box = (at <= 7).astype(float)
    tissue = flow / 6000 * np.convolve(artery, stay)[: at.size] * 0.02
    tissue += bronchial / 6000 * np.convolve(aorta, box)[: at.size] * 0.02
    return (np.interp(times_s, at, curve) for curve in (artery, aorta, tissue))


@pytest.mark.parametrize(("flow", "bronchial", "mean_s"), [(150, 6, 5.0), (90, 20, 4.0)])
def test_fit_holds_for_tissue_of_another_shape(times_s, flow, bronchial, mean_s):
    artery, aorta, curve = other_tissue(times_s, flow, bronchial, mean_s)
    model = TwoInputModel.of(times_s, artery, aorta, REGION_KERNELS)
    noise = 0.5 * np.random.default_rng(5).standard_normal((40, curve.size))
    fit, noisy = model.fit(curve[None]), model.fit(curve + noise)

    index = flow / (flow + bronchial)
    assert fit.blood_volume[0] == pytest.approx((flow * mean_s + bronchial * 7) / 60, rel=0.03)
    assert fit.perfusion_index[0] == pytest.approx(index, abs=0.08)
    assert noisy.perfusion_index.mean() == pytest.approx(index, abs=0.1)
    assert noisy.pulmonary_flow.mean() == pytest.approx(flow, rel=0.15)
