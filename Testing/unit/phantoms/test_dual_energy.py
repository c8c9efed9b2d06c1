"""Dual-energy phantom: physics of its images, truth of its iodine, determinism."""

from dataclasses import replace

import numpy as np
import pytest

from lungperfusion.iodine.calibration import spectral_pair
from lungperfusion.iodine.decomposition import decompose
from lungperfusion.phantoms.chest import ChestModel
from lungperfusion.phantoms.dual_energy import (
    Cap,
    DualEnergyScan,
    Wedge,
    mottled,
    render_dual_energy,
    water_path_cm,
)
from lungperfusion.phantoms.kinds import default_geometry
from lungperfusion.phantoms.spectra import (
    DENSITY_G_ML,
    ENERGY_EDGES_KEV,
    MASS_ATTENUATION_CM2_G,
    PATH_NODES_CM,
    SPECTRA,
    response,
)
from lungperfusion.volume import Geometry

SMALL = ChestModel(leaves=60, blood_iodine_mg_ml=14.0, parenchyma_iodine_mg_ml=1.7)
CLEAN = DualEnergyScan(low_noise_hu=0.0, high_noise_hu=0.0)
GRID = default_geometry(
    (3.2, 3.2, 3.2), field_mm=(400.0, 300.0, 83.2), centre_ras_mm=(0.0, -12.0, -50.0)
)
"""The middle of the chest."""
TOP = default_geometry(
    (3.2, 3.2, 3.2), field_mm=(400.0, 300.0, 51.2), centre_ras_mm=(0.0, -12.0, 85.0)
)


@pytest.fixture(scope="module")
def clean():
    wedge = Wedge((60.0, -45.0, -50.0), (0.75, -0.65, -0.1), 30.0)
    return render_dual_energy(SMALL, GRID, changes=(wedge,), scan=CLEAN)


def test_tables_fit_together():
    bins = len(ENERGY_EDGES_KEV) - 1
    assert {len(mu) for mu in MASS_ATTENUATION_CM2_G.values()} == {bins}
    assert set(DENSITY_G_ML) | {"iodine"} == set(MASS_ATTENUATION_CM2_G)
    for tube in SPECTRA.values():
        for name, spectrum in tube.items():
            assert spectrum.sum() == pytest.approx(1000, rel=2e-3)
            highest = ENERGY_EDGES_KEV[len(spectrum)]
            assert highest == float(name.removesuffix("Sn")), "no photon above the tube voltage"


def test_attenuation_of_nist():
    """Water, bone and iodine at energies tabulated by NIST (Hubbell & Seltzer 1995), cm2/g."""
    middles = (ENERGY_EDGES_KEV[1:] + ENERGY_EDGES_KEV[:-1]) / 2
    for name, energy, expected in (
        ("water", 60.0, 0.2059),
        ("water", 100.0, 0.1707),
        ("bone", 60.0, 0.3148),
        ("iodine", 60.0, 7.579),
        ("iodine", 100.0, 1.942),
    ):
        found = np.exp(
            np.interp(np.log(energy), np.log(middles), np.log(MASS_ATTENUATION_CM2_G[name]))
        )
        assert found == pytest.approx(expected, rel=0.025), (name, energy)


@pytest.mark.parametrize("tube", ["soft", "filtered"])
def test_responses(tube):
    low, high = response(tube, "80", 0.6), response(tube, "140Sn", 0.6)
    for beam in (low, high):
        assert (np.diff(beam.iodine_hu_per_mg_ml) < 0).all(), "a harder beam sees iodine less"
    at = np.searchsorted(PATH_NODES_CM, 25.0)
    ratio = low.iodine_hu_per_mg_ml[at] / high.iodine_hu_per_mg_ml[at]
    assert 2.6 < ratio < 3.05
    assert 45 < high.tissue_hu[at] < low.tissue_hu[at] < 65


def test_the_spectra_are_not_those_of_the_solver():
    """Their iodine contrast differs by 1 % and by 10 %: within and at the edge of real scanners."""
    solved = spectral_pair("80", "140Sn")
    expected = solved.low.iodine_hu_per_mg_ml - solved.high.iodine_hu_per_mg_ml
    for tube, low, high in (("soft", 0.005, 0.02), ("filtered", 0.07, 0.12)):
        k_low, k_high = (
            response(tube, kv, 0.5).iodine_hu_per_mg_ml[PATH_NODES_CM == 25.0][0]
            for kv in ("80", "140Sn")
        )
        assert low < abs((k_low - k_high) / expected - 1) < high


def test_water_path_of_a_cylinder():
    geometry = Geometry.axial((6, 90, 90), (4.0, 4.0, 8.0))
    r, a = geometry.coordinate_mm("R"), geometry.coordinate_mm("A")
    away = np.hypot(r - r.mean(), a - a.mean())
    path = water_path_cm(np.where(away < 120, 0, -1000).astype(np.float32), geometry)
    assert path[3, 45, 45] == pytest.approx(24.0, rel=0.04), "every ray through the axis"
    assert path[away < 120].mean() == pytest.approx(0.849 * 24.0, rel=0.05)


def test_noise_free_iodine_comes_back(clean):
    path = clean.settings["mean_water_path_cm"]
    pair = spectral_pair("80", "140Sn", water_path_cm=path)
    found = decompose(clean.low, clean.high, pair).concentration.array
    inside = clean.perfused
    assert (found[inside] - clean.iodine.array[inside]).mean() == pytest.approx(0, abs=0.04)


def test_regions_have_the_iodine_that_was_asked_for(clean):
    whole = clean.concentration_mg_ml
    assert whole["lungs"] == pytest.approx(1.7, rel=0.15)
    assert whole["right_middle_lobe"] < whole["right_lower_lobe"], "gravity"
    doubled = render_dual_energy(SMALL, GRID, scan=CLEAN, lobe_factors={"left_upper_lobe": 2.0})
    plain = render_dual_energy(SMALL, GRID, scan=CLEAN)
    change = (
        doubled.concentration_mg_ml["left_upper_lobe"]
        / (plain.concentration_mg_ml["left_upper_lobe"])
    )
    assert 1.7 < change <= 2.0
    for lobe in ("left_lower_lobe", "right_upper_lobe"):
        assert doubled.concentration_mg_ml[lobe] == plain.concentration_mg_ml[lobe]


def test_defects_are_where_iodine_is_missing(clean):
    wedge = clean.defects.mask("wedge")
    assert clean.defects.volume_ml("wedge") > 3
    values = clean.iodine.array[wedge & clean.perfused]
    assert np.median(values) == pytest.approx(0.2 * 1.9, rel=0.25)
    assert not (wedge & (clean.truth.lungs.array == 0)).any()


def test_caps_and_mottle():
    blobs = mottled((-60.0, 0.0, 20.0), 30.0, 10, 6.0, seed=3)
    assert blobs == mottled((-60.0, 0.0, 20.0), 30.0, 10, 6.0, seed=3)
    centres = np.array([blob.ball.centre for blob in blobs])
    apart = np.linalg.norm(centres[:, None] - centres, axis=-1) + 1e3 * np.eye(len(centres))
    assert apart.min() > 12.0
    made = render_dual_energy(SMALL, TOP, changes=(Cap(80.0, 10.0),), scan=CLEAN)
    places = made.low.geometry.coordinate_mm("S")[made.defects.mask("subpleural")]
    assert places.size
    assert places.min() >= 77.5


def test_offset_and_streaks_are_in_the_low_image(clean):
    model = replace(SMALL, streak_hu=1.0)
    shifted = render_dual_energy(
        model, GRID, scan=DualEnergyScan(low_noise_hu=0, high_noise_hu=0, low_offset_hu=6.0)
    )
    outside = clean.truth.lungs.array == 2
    change = shifted.low.array[outside].astype(int) - clean.low.array[outside]
    assert np.median(change) == 6
    assert np.median(shifted.high.array[outside].astype(int) - clean.high.array[outside]) == 0
    streaked = render_dual_energy(
        model, GRID, scan=DualEnergyScan(low_noise_hu=0, high_noise_hu=0, low_streak_hu=90.0)
    )
    low = np.abs(streaked.low.array.astype(int) - shifted.low.array + 6).max()
    high = np.abs(streaked.high.array.astype(int) - shifted.high.array).max()
    assert low > 1.5 * high > 0


def test_same_seed_same_bytes_other_seed_other_noise():
    first, again = (render_dual_energy(SMALL, TOP, seed=2) for _ in range(2))
    np.testing.assert_array_equal(first.low.array, again.low.array)
    np.testing.assert_array_equal(first.high.array, again.high.array)
    other = render_dual_energy(SMALL, TOP, seed=3)
    assert (first.low.array != other.low.array).any()
    corner = (slice(None), slice(0, 6), slice(0, 6))
    noise = first.low.array[corner].astype(float) - first.high.array[corner]
    assert noise.std() > 10, "low and high image have noise of their own"


def test_a_displaced_patient_is_scanned_anew_and_not_blurred():
    scan = {"low_noise_hu": 0.0, "high_noise_hu": 0.0}
    spacing = TOP.spacing_ijk_mm[2]
    still = render_dual_energy(SMALL, TOP, scan=DualEnergyScan(**scan))
    moved = render_dual_energy(
        SMALL, TOP, scan=DualEnergyScan(**scan, high_shift_mm=(0.0, 0.0, spacing))
    )
    np.testing.assert_array_equal(still.low.array, moved.low.array)
    # by a whole slice: the same slices, one higher, apart from the rays through the patient
    below, above = still.high.array[2:-3], moved.high.array[3:-2]
    assert (
        np.abs(below.astype(int) - above).mean()
        < 0.1 * np.abs(below.astype(int) - moved.high.array[2:-3]).mean()
    )
