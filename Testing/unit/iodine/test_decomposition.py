"""Decomposition, vendor maps, smoothing: known mixtures in, the same mixtures out."""

from dataclasses import replace

import numpy as np
import pytest

from lungperfusion.errors import GeometryMismatchError, InputError
from lungperfusion.iodine.calibration import (
    REFERENCE_HU_PER_MG_ML,
    Beam,
    SpectralPair,
    beam,
    spectral_pair,
)
from lungperfusion.iodine.decomposition import (
    REFERENCE_SOFT_TISSUE_HU,
    decompose,
    in_whole_hu,
    iodine_from_vendor_map,
)
from lungperfusion.iodine.score import volume_corrected_iodine
from lungperfusion.iodine.smoothing import smooth_inside
from lungperfusion.volume import Geometry, Volume

GEOMETRY = Geometry.axial((6, 20, 24), (1.5, 1.5, 2.0))


def mixture(tissue, iodine, pair):
    """HU of a mixture by the forward model, written out here independently of the solver."""
    images = []
    for spectrum in (pair.low, pair.high):
        hu = -1000 + tissue * (1000 + spectrum.soft_tissue_hu)
        hu = hu + iodine * spectrum.iodine_hu_per_mg_ml
        images.append(Volume(hu.astype(np.float32), GEOMETRY, "HU"))
    return images


def random_lung(seed=3):
    rng = np.random.default_rng(seed)
    tissue = rng.uniform(0.1, 1.0, GEOMETRY.shape)
    iodine = rng.uniform(0, 3, GEOMETRY.shape)
    return tissue, iodine


@pytest.mark.parametrize(("low", "high"), [("80", "140"), ("80", "140Sn"), ("100", "140Sn")])
def test_three_materials_are_separated_exactly(low, high):
    pair = spectral_pair(low, high)
    tissue, iodine = random_lung()
    found = decompose(*mixture(tissue, iodine, pair), pair)
    np.testing.assert_allclose(found.concentration.array, iodine, atol=1e-3)
    native = found.virtual_native.array
    np.testing.assert_allclose(native, -1000 + tissue * (1000 + REFERENCE_SOFT_TISSUE_HU), atol=0.1)
    assert found.enhancement.unit == "HU"
    np.testing.assert_allclose(found.enhancement.array, iodine * REFERENCE_HU_PER_MG_ML, atol=0.05)
    assert "k_ref 25 HU per mg/mL" in found.method


def test_the_virtual_native_image_is_stored_in_whole_hu():
    pair = spectral_pair("80", "140Sn")
    found = decompose(*mixture(*random_lung(), pair), pair)
    stored = in_whole_hu(found)
    assert stored.virtual_native.array.dtype == np.int16
    error = stored.virtual_native.array - found.virtual_native.array
    assert np.abs(error).max() <= 0.5
    assert abs(error.mean()) < 0.02, "rounding moves no mean"
    assert stored.concentration is found.concentration
    beyond = replace(
        found, virtual_native=found.virtual_native.with_array(found.virtual_native.array * 1e3)
    )
    assert in_whole_hu(beyond).virtual_native.array.min() == -32768
    vendor = iodine_from_vendor_map(found.concentration, unit="mg/mL", hu_per_mg_ml=25)
    assert in_whole_hu(vendor) is vendor


def test_two_materials_are_biased_by_tissue_as_documented():
    pair = spectral_pair("80", "140Sn")
    tissue, iodine = random_lung()
    found = decompose(*mixture(tissue, iodine, pair), pair, model="two-material")
    steps = pair.low.iodine_hu_per_mg_ml - pair.high.iodine_hu_per_mg_ml
    bias = tissue * (pair.low.soft_tissue_hu - pair.high.soft_tissue_hu) / steps
    np.testing.assert_allclose(found.concentration.array, iodine + bias, atol=1e-3)


def test_air_offsets_are_taken_out():
    pair = spectral_pair("80", "140Sn")
    tissue, iodine = random_lung()
    low, high = mixture(tissue, iodine, pair)
    shifted = low.with_array(low.array + np.float32(5))
    biased = decompose(shifted, high, pair).concentration.array - iodine
    assert biased.mean() > 0.1
    found = decompose(shifted, high, pair, low_offset_hu=5.0)
    np.testing.assert_allclose(found.concentration.array, iodine, atol=1e-3)


def test_noise_propagates_as_predicted():
    pair = spectral_pair("80", "140Sn")
    tissue, iodine = random_lung()
    low, high = mixture(tissue, iodine, pair)
    rng = np.random.default_rng(0)
    noisy = [
        image.with_array(image.array + rng.normal(0, sd, image.array.shape).astype(np.float32))
        for image, sd in ((low, 20.0), (high, 15.0))
    ]
    error = decompose(*noisy, pair).concentration.array - iodine
    # error propagation of the three-material solution, independent noise
    a_low, a_high = 1000 + pair.low.soft_tissue_hu, 1000 + pair.high.soft_tissue_hu
    expected = np.hypot(a_high * 20.0, a_low * 15.0) / pair.solvability
    assert error.std() == pytest.approx(expected, rel=0.03)
    assert (decompose(*noisy, pair).concentration.array < 0).any(), "negative noise must stay"


@pytest.mark.parametrize(
    ("low", "high", "least", "most"),
    [
        ("80", "140", 1.85, 2.05),
        ("100", "140Sn", 2.2, 2.35),
        ("80", "140Sn", 2.9, 3.05),
        ("90", "150Sn", 3.1, 3.3),
        ("70", "150Sn", 4.3, 4.5),
        ("80", "120", 1.55, 1.65),
    ],
)
def test_published_iodine_ratios(low, high, least, most):
    for path_cm in (20.0, 30.0):
        assert least <= spectral_pair(low, high, water_path_cm=path_cm).ratio <= most


def test_iodine_is_brighter_in_smaller_patients_and_at_lower_voltage():
    by_size = [beam("80", path).iodine_hu_per_mg_ml for path in (10, 20, 25, 30, 40)]
    assert by_size == sorted(by_size, reverse=True)
    assert beam("80", 22.5).iodine_hu_per_mg_ml == pytest.approx((43.55 + 41.60) / 2)
    by_voltage = [beam(kv).iodine_hu_per_mg_ml for kv in ("70", "80", "90", "100", "120", "140")]
    assert by_voltage == sorted(by_voltage, reverse=True)


def test_own_soft_tissue_moves_the_line_from_air_to_tissue():
    pair = spectral_pair("80", "140Sn").with_soft_tissue(60.0, 50.0)
    tissue = np.full(GEOMETRY.shape, 0.2)
    low, high = (Volume(-1000 + (1000 + hu) * tissue, GEOMETRY, "HU") for hu in (60.0, 50.0))
    np.testing.assert_allclose(decompose(low, high, pair).concentration.array, 0, atol=1e-4)
    assert abs(decompose(low, high, spectral_pair("80", "140Sn")).concentration.array.mean()) > 0.01
    assert "soft tissue 60 and 50 HU" in pair.method


def test_own_ratio_replaces_that_of_the_table():
    pair = spectral_pair("80", "140Sn").with_ratio(3.1, "own ratio")
    assert pair.ratio == pytest.approx(3.1)
    assert pair.low == spectral_pair("80", "140Sn").low
    assert "own ratio" in pair.method
    with pytest.raises(InputError, match=r"at least 1\.1 times as bright"):
        spectral_pair("80", "140Sn").with_ratio(1.0, "own ratio")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: spectral_pair("140Sn", "80"), "swapped"),
        (lambda: spectral_pair("85", "140"), "no calibration for '85' kV; known are 70, 80"),
        (
            lambda: SpectralPair(
                low=Beam(iodine_hu_per_mg_ml=-1, blood_hu=50, lung_tissue_hu=40),
                high=beam("140"),
                reference_hu_per_mg_ml=25,
                name="own",
            ),
            "above 0 HU per mg/mL, not -1",
        ),
    ],
)
def test_refuses_calibrations_that_cannot_be_solved(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_refuses_a_pair_on_two_grids():
    pair = spectral_pair("80", "140")
    low, high = mixture(*random_lung(), pair)
    moved = GEOMETRY.ijk_to_ras.copy()
    moved[2, 3] += 1
    with pytest.raises(GeometryMismatchError, match=r"dual-energy pair: .* 1 mm apart"):
        decompose(low, Volume(high.array, Geometry(GEOMETRY.shape, moved), "HU"), pair)


def test_vendor_maps_in_hu_and_mg_ml_agree():
    concentration = np.random.default_rng(1).uniform(0, 4, GEOMETRY.shape)
    tenths = Volume((np.round(concentration * 10) / 10).astype(np.float32), GEOMETRY, "mg/mL")
    hu = Volume((np.round(concentration * 10) / 10 * 25).astype(np.float32), GEOMETRY, "HU")
    from_tenths = iodine_from_vendor_map(tenths, unit="mg/mL", hu_per_mg_ml=25)
    from_hu = iodine_from_vendor_map(hu, unit="HU", hu_per_mg_ml=25)
    np.testing.assert_allclose(
        from_tenths.concentration.array, from_hu.concentration.array, atol=1e-5
    )
    assert from_hu.enhancement.array.max() == pytest.approx(hu.array.max())


def test_smoothing_keeps_the_mean_and_looks_at_nothing_outside():
    rng = np.random.default_rng(2)
    mask = np.zeros(GEOMETRY.shape, bool)
    mask[:, 3:16, 4:18] = True
    values = rng.normal(2, 1, GEOMETRY.shape).astype(np.float32)
    smooth = smooth_inside(values, mask, GEOMETRY, sigma_mm=3.0)
    assert smooth[mask].mean(dtype=float) == pytest.approx(values[mask].mean(dtype=float), abs=1e-5)
    assert smooth[mask].std() < 0.4 * values[mask].std()
    elsewhere = np.where(mask, values, 1000).astype(np.float32)
    again = smooth_inside(elsewhere, mask, GEOMETRY, sigma_mm=3.0)
    np.testing.assert_array_equal(again[mask], smooth[mask])
    np.testing.assert_array_equal(smooth[~mask], values[~mask])


def test_a_constant_map_stays_constant():
    mask = np.random.default_rng(2).random(GEOMETRY.shape) > 0.4
    values = np.full(GEOMETRY.shape, 1.7, np.float32)
    np.testing.assert_allclose(smooth_inside(values, mask, GEOMETRY, sigma_mm=2.0), 1.7, rtol=1e-4)


def test_filled_voxels_get_the_smooth_value_around_them_and_do_not_count():
    rng = np.random.default_rng(3)
    values = rng.normal(2.0, 0.3, GEOMETRY.shape).astype(np.float32)
    holes = np.zeros(GEOMETRY.shape, np.bool_)
    centre = tuple(n // 2 for n in GEOMETRY.shape)
    holes[centre] = True
    values[centre] = 500.0
    holes[0, 0, 0] = True  # far from the mask
    mask = np.zeros(GEOMETRY.shape, np.bool_)
    mask[tuple(slice(n // 3, -(n // 3)) for n in GEOMETRY.shape)] = True
    mask &= ~holes
    out = smooth_inside(values, mask, GEOMETRY, sigma_mm=3.0, fill=holes)
    np.testing.assert_array_equal(
        out[mask], smooth_inside(values, mask, GEOMETRY, sigma_mm=3.0)[mask]
    )
    assert out[centre] == pytest.approx(2.0, abs=0.2)
    assert out[0, 0, 0] == values[0, 0, 0]


@pytest.mark.parametrize(
    ("iodine_hu", "printed", "lung_volume_l"),
    [
        (45.7, 182.8, 4.000),
        (46.2, 198.0, 4.286),
        (44.2, 140.2, 3.172),
        (45.1, 213.0, 4.723),
        (45.9, 170.9, 3.723),
        (45.0, 219.2, 4.871),
        (47.0, 186.0, 3.957),
    ],
)
def test_table_1_of_the_letter_is_a_product(iodine_hu, printed, lung_volume_l):
    """All seven columns give a lung volume in litres; a division gives none."""
    assert volume_corrected_iodine(iodine_hu, lung_volume_l) == pytest.approx(printed, abs=0.5)
    assert 3.0 < printed / iodine_hu < 5.06 + 1.353


def test_table_1_subgroups_average_to_the_whole_cohort():
    by_fvc = (57 * 198.0 + 21 * 140.2) / 78
    by_dlco = (21 * 213.0 + 57 * 170.9) / 78
    assert by_fvc == pytest.approx(182.8, abs=1.0)
    assert by_dlco == pytest.approx(182.8, abs=1.0)
