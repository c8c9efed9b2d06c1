"""Dixon, correction factors and classes against what is known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lungperfusion.errors import InputError
from lungperfusion.terms.xenon import REFERENCE_SETS, T2STAR_MEMBRANE_3T_MS, T2STAR_RBC_3T_MS
from lungperfusion.volume import Geometry
from lungperfusion.xenon.classes import (
    classify,
    expected_rbc_membrane,
    scaled_ventilation,
)
from lungperfusion.xenon.dixon import separate
from lungperfusion.xenon.images import XenonMaps, classify_maps
from lungperfusion.xenon.ratios import (
    Acquisition,
    acquisition_factors,
    alveolar_volume_l,
    decay_factor,
    flip_factor,
    haemoglobin_factors,
    kco_estimate,
    volume_factors,
)

SET = REFERENCE_SETS["218"]


def dissolved(shape=(12, 14, 16), field=0.5):
    rng = np.random.default_rng(3)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    phase = field * (np.sin(2 * x) + y * z) / 2
    rbc = 0.4 + 0.2 * rng.random(shape)
    membrane = 0.9 + 0.3 * rng.random(shape)
    mask = x**2 + y**2 + z**2 < 0.8
    gas = (1 + 0.2 * rng.random(shape)) * np.exp(1j * (phase + 0.9))
    image = (membrane + 1j * rbc) * np.exp(1j * (phase - 2.2))
    return gas, image, mask, rbc, membrane, phase


def test_dixon_gives_back_what_went_in():
    gas, image, mask, rbc, membrane, _ = dissolved()

    parted = separate(gas, image, mask, rbc[mask].sum() / membrane[mask].sum())

    assert np.abs(parted.rbc / rbc - 1)[mask].max() < 1e-12
    assert np.abs(parted.membrane / membrane - 1)[mask].max() < 1e-12


def test_the_order_of_the_open_pipeline_is_its_own_formula():
    gas, image, mask, rbc, membrane, phase = dissolved()
    ratio = rbc[mask].sum() / membrane[mask].sum()

    parted = separate(gas, image, mask, ratio, order="rotation_first")

    turn = math.atan2(ratio, 1) - np.angle(image[mask].sum())
    expected = image * np.exp(1j * turn) * np.exp(-1j * (phase - phase[mask].mean()))
    assert np.abs(parted.rbc - expected.imag).max() < 1e-12
    off = parted.rbc[mask].sum() / rbc[mask].sum() - 1
    assert 1e-4 < abs(off) < 0.1  # what the order costs


@pytest.mark.parametrize(
    ("ratio", "words"), [(0.0, "above 0"), (-0.5, "above 0"), (math.nan, "above 0")]
)
def test_dixon_needs_a_spectrum(ratio, words):
    gas, image, mask, *_ = dissolved()
    with pytest.raises(InputError, match=words):
        separate(gas, image, mask, ratio)
    with pytest.raises(InputError, match="complex"):
        separate(np.abs(gas), image, mask, 0.5)
    with pytest.raises(InputError, match="empty"):
        separate(gas, image, np.zeros_like(mask), 0.5)


def test_factors_are_those_of_the_table():
    assert decay_factor(0.47, T2STAR_RBC_3T_MS) == pytest.approx(1.528, abs=5e-4)
    assert decay_factor(0.47, T2STAR_MEMBRANE_3T_MS) == pytest.approx(1.567, abs=5e-4)
    assert decay_factor(0.47, T2STAR_RBC_3T_MS, 1.5) < 1.528  # longer T2* at lower field
    exact = flip_factor(0.5, 20)
    assert flip_factor(0.5, 20, rounded=True) / exact - 1 == pytest.approx(0.019, abs=1e-3)
    assert haemoglobin_factors(14.0) == pytest.approx((1.0, 1.0))
    assert haemoglobin_factors(10.0) == pytest.approx((1.285, 0.947), abs=5e-4)
    assert volume_factors(4.0, 4.0) == pytest.approx((1.0, 1.0))
    assert volume_factors(3.0, 4.0)[0] == pytest.approx(
        (3 * (1 - 0.15963) + 4 * (1 + 0.15963)) / (3 * (1 + 0.15963) + 4 * (1 - 0.15963))
    )
    factors = acquisition_factors(
        Acquisition(gas_flip_degrees=0.5, dissolved_flip_degrees=20, echo_time_ms=0.47)
    )
    assert factors.rbc == pytest.approx(exact * 1.528, rel=1e-3)
    assert list(factors.applied) == ["flip_angles", "decay"]


def test_estimates_are_those_of_healthy_people():
    kco = kco_estimate(0.0089, 0.00455, SET.healthy_means)
    assert kco == pytest.approx(5.59, abs=5e-3)
    assert kco * alveolar_volume_l(3.4, 0.0) == pytest.approx(30.0, abs=0.05)
    thick = kco_estimate(2 * 0.0089, 0.00455, SET.healthy_means)
    assert thick == pytest.approx(kco_estimate(0.5 * 0.0089, 0.00455, SET.healthy_means))
    assert math.isnan(kco_estimate(0.0089, 0.0, SET.healthy_means))


@pytest.mark.parametrize("value", [1.4, 140.0])
def test_haemoglobin_in_another_unit_is_refused(value):
    with pytest.raises(InputError, match="g/dL"):
        haemoglobin_factors(value)


def test_a_value_on_a_limit_is_in_the_class_above():
    limits = SET.rbc_gas
    values = np.array([0.0, limits[0] - 1e-9, limits[0], limits[1], limits[4], 1.0])
    inside = np.ones(6, bool)

    assert classify(values, inside, limits).tolist() == [1, 1, 2, 3, 6, 6]


def test_ventilation_is_scaled_by_its_percentile_or_mean():
    signal = np.arange(1, 101, dtype=np.float32)
    inside = np.ones(100, bool)

    assert scaled_ventilation(signal, inside).max() == 1.0
    assert scaled_ventilation(signal, inside, "mean").mean() == pytest.approx(1.0)
    with pytest.raises(InputError, match="no signal"):
        scaled_ventilation(np.zeros(100), inside)


def test_expectation_follows_age_and_sex():
    young, old = (expected_rbc_membrane(SET, age, "female").mean for age in (20.0, 70.0))
    assert young - old == pytest.approx(50 * 0.00443)
    man = expected_rbc_membrane(SET, 20.0, "male")
    assert man.mean - young == pytest.approx(0.1202)
    assert expected_rbc_membrane(SET, 20.0, None).mean == 0.55
    assert man.z(man.mean - 0.24) == pytest.approx(-2.0)


def maps(**given) -> XenonMaps:
    return XenonMaps(
        mask=np.ones((1, 1, 6), bool),
        geometry=Geometry.axial((1, 1, 6), (3.0, 3.0, 3.0)),
        **{name: np.array(values, np.float32).reshape(1, 1, 6) for name, values in given.items()},
    )


def test_zero_with_gas_is_a_defect_and_zero_without_is_missing():
    rbc = [0.0, 0.005, 0.005, 0.0, 0.005, 0.005]
    membrane = [0.009, 0.009, 0.009, 0.0, 0.009, 0.009]
    gas = [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]

    with_gas = classify_maps(maps(rbc_gas=rbc, membrane_gas=membrane, ventilation=gas), SET)
    assert with_gas.rbc_class.ravel().tolist() == [1, 4, 4, 0, 4, 4]
    both = classify_maps(maps(rbc_gas=rbc, membrane_gas=membrane), SET)
    assert both.rbc_class.ravel().tolist() == [1, 4, 4, 0, 4, 4]
    alone = classify_maps(maps(rbc_gas=rbc), SET)
    assert alone.rbc_class.ravel().tolist() == [0, 4, 4, 0, 4, 4]
    assert alone.zeros_ambiguous
    assert not both.zeros_ambiguous


@pytest.mark.parametrize(("factor", "hint"), [(100, "divide it by 100"), (1e6, "signal")])
def test_ratios_in_percent_or_signal_are_refused(factor, hint):
    with pytest.raises(InputError, match=hint):
        maps(rbc_gas=[0.005 * factor] * 6)


def test_maps_without_any_map_or_value_are_refused():
    with pytest.raises(InputError, match="no map was given"):
        maps()
    with pytest.raises(InputError, match="no value within the mask"):
        maps(rbc_gas=[0.0] * 6)
