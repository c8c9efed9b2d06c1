"""Subtraction of two breaths: registration, lung mass, iodine that comes back."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.analysis import subtraction
from lungperfusion.analysis.subtraction import register_and_subtract
from lungperfusion.errors import InputError
from lungperfusion.iodine.defects import find_defects
from lungperfusion.iodine.exclusion import AIRWAY_MARGIN_MM, find_exclusions
from lungperfusion.iodine.muscle import judge_muscle
from lungperfusion.iodine.smoothing import smooth_inside
from lungperfusion.iodine.subtraction import GOOD_ALIGNMENT
from lungperfusion.morphology import depth_mm, dilated, distance_mm
from lungperfusion.phantoms.breath import Breath
from lungperfusion.phantoms.breathing import make_breathing_phantom
from lungperfusion.phantoms.chest import IODINE_HU_PER_MG_ML, ChestModel
from lungperfusion.phantoms.kinds import default_geometry
from lungperfusion.phantoms.rendering import render
from lungperfusion.regions import RegionSet
from lungperfusion.terms import LOBES, LUNGS
from lungperfusion.volume import Labelmap
from lungperfusion.vq.displacement import DisplacementField
from lungperfusion.vq.registration import registration_from_field

K = 26.0


@pytest.fixture(scope="module")
def breaths():
    """Two breaths of one chest, the second a few per cent deeper; the first gets contrast."""
    phantom = make_breathing_phantom(
        spacing_mm=2.5, scale=0.6, motion_mm=5.0, noise_hu=10.0, defects=()
    )
    inside = phantom.expiration_lungs.mask(*LUNGS)
    front = phantom.expiration.geometry.coordinate_mm("A")
    iodine = np.where(inside, 1.6 * (1 - 0.004 * (front - front[inside].mean())), 0)
    defect = phantom.expiration_lobes.mask("right_upper_lobe")
    iodine[defect] *= 0.3
    contrast = phantom.expiration.with_array(
        np.round(phantom.expiration.array + K * iodine).astype(np.int16)
    )
    # the phantom's vessels keep their width, so mass per voxel is kept in the parenchyma alone
    spacing = phantom.expiration.geometry.spacing_kji_mm
    away = (distance_mm(phantom.vessels, spacing) > 4.0) & (depth_mm(inside, spacing) > 5.0)
    return phantom, contrast, iodine, inside & away


def test_iodine_comes_back_from_two_depths_of_breath(breaths):
    phantom, contrast, iodine, measured = breaths
    ratio = phantom.inspiration_lungs.volume_ml(*LUNGS) / phantom.expiration_lungs.volume_ml(*LUNGS)
    assert 1.03 < ratio < 1.12
    found, (gate, *_), warnings = register_and_subtract(
        contrast,
        phantom.inspiration,
        phantom.expiration_lungs,
        phantom.inspiration_lungs,
        hu_per_mg_ml=K,
    )
    assert warnings == ()
    assert gate.verdict in ("pass", "warn")
    usable = measured & found.concentration.valid
    assert usable.sum() > 0.95 * measured.sum()
    for lobe in phantom.expiration_lobes.names.values():
        here = usable & phantom.expiration_lobes.mask(lobe)
        error = found.concentration.array[here].mean(dtype=np.float64) - iodine[here].mean()
        assert error == pytest.approx(0, abs=0.15), lobe


def subtract_with_field(breaths, monkeypatch, error_mm):
    """Subtract with the phantom's own motion, falsified by a shift to the patient's right."""
    phantom, contrast, *_ = breaths
    field = phantom.displacement_ras_mm + np.float32([error_mm, 0, 0])
    registration = registration_from_field(
        DisplacementField(field, phantom.expiration.geometry),
        phantom.expiration_lungs,
        phantom.inspiration.geometry,
    )
    monkeypatch.setattr(subtraction, "register_lungs", lambda *_, **__: registration)
    return register_and_subtract(
        contrast,
        phantom.inspiration,
        phantom.expiration_lungs,
        phantom.inspiration_lungs,
        hu_per_mg_ml=K,
    )


def test_the_gate_sees_a_misregistration_that_correlation_hardly_shows(breaths, monkeypatch):
    _, (good, *_), _ = subtract_with_field(breaths, monkeypatch, 0.0)
    assert good.verdict == "pass"
    _, (moved, *_), _ = subtract_with_field(breaths, monkeypatch, 0.8)
    assert moved.value > GOOD_ALIGNMENT
    assert moved.verdict == "warn"
    assert "look at the edges" in moved.message
    _, (lost, *_), _ = subtract_with_field(breaths, monkeypatch, 8.0)
    assert lost.verdict == "fail"


def test_the_surface_is_left_out_and_the_native_ct_stays_whole(breaths, monkeypatch):
    phantom, *_ = breaths
    found, *_ = subtract_with_field(breaths, monkeypatch, 0.0)
    spacing = phantom.expiration.geometry.spacing_kji_mm
    counted = found.concentration.valid
    # the phantom's vessels thin out with the lung, which are displaced edges to a subtraction
    away = distance_mm(phantom.vessels, spacing) > 4.0
    for lung in LUNGS:
        depth = depth_mm(phantom.expiration_lungs.mask(lung), spacing)
        assert not counted[(depth > 0) & (depth <= 3.0)].any()
        assert counted[(depth > 3.0) & away].mean() > 0.99
        assert counted[depth > 3.0].mean() > 0.98
        assert found.virtual_native.valid[depth > 0].mean() > 0.99
    assert (found.concentration.array[~counted] == 0).all()
    assert "3 mm of surface left out" in found.method


def test_displaced_edges_are_left_out_and_the_true_defect_is_not(breaths, monkeypatch):
    phantom, *_ = breaths
    spacing = phantom.expiration.geometry.spacing_kji_mm
    deep = depth_mm(phantom.expiration_lungs.mask(*LUNGS), spacing) > 3.0
    defect = deep & phantom.expiration_lobes.mask("right_upper_lobe")
    lost = []
    for error_mm, kept in ((0.0, 0.95), (0.8, 0.8)):
        found, *_ = subtract_with_field(breaths, monkeypatch, error_mm)
        valid = found.concentration.valid
        lost.append(1 - valid[deep & ~defect].mean())
        assert valid[defect].mean() > kept
        assert "beside displaced edges left out" in found.method
    assert lost[0] < 0.005 < lost[1] < 0.02


@pytest.mark.slow
def test_a_chest_that_breathed_between_the_scans_has_its_iodine_and_no_defects():
    """Moved trees, lobes and texture, mass kept; vessels hold ten times the parenchyma's iodine."""
    geometry = default_geometry((3.0, 3.0, 3.0))
    enhanced = ChestModel(blood_iodine_mg_ml=10.0, parenchyma_iodine_mg_ml=1.3)
    breathed = ChestModel(breath=Breath(rise_mm=10.0))
    contrast = render(enhanced, geometry, seed=1, noise_sd_hu=12.0)
    native = render(breathed, geometry, seed=2, noise_sd_hu=12.0)
    lungs = contrast.truth.lungs
    found, (gate, *_), _ = register_and_subtract(
        contrast.ct, native.ct, lungs, native.truth.lungs, hu_per_mg_ml=IODINE_HU_PER_MG_ML
    )
    assert gate.verdict == "pass"
    spacing = geometry.spacing_kji_mm
    counted = found.concentration.valid & ~find_exclusions(contrast.ct, lungs).mask
    counted &= ~dilated(contrast.truth.airways.array > 0, AIRWAY_MARGIN_MM, spacing)
    for lobe in LOBES:
        here = counted & contrast.truth.lobes.mask(lobe)
        error = found.concentration.array[here].mean(dtype=np.float64)
        error -= contrast.iodine.array[here].mean(dtype=np.float64)
        assert error == pytest.approx(0, abs=0.15), lobe
    smooth = found.concentration.array
    for lung in LUNGS:
        smooth = smooth_inside(smooth, lungs.mask(lung) & counted, geometry, sigma_mm=2.5)
    enhancement = contrast.ct.with_array(np.float32(IODINE_HU_PER_MG_ML) * smooth)
    defects = find_defects(enhancement, counted, RegionSet((lungs, contrast.truth.lobes)))
    assert defects.mask[counted].mean() < 0.01


def test_a_lung_in_one_scan_alone_is_reported(breaths):
    phantom, contrast, *_ = breaths
    only_right = np.where(phantom.inspiration_lungs.array == 2, 2, 0).astype(np.uint8)
    native_lungs = phantom.inspiration_lungs.with_array(only_right)
    nothing = Labelmap(np.zeros_like(only_right), native_lungs.geometry, native_lungs.names)
    with pytest.raises(InputError, match="the native CT could not be registered: no lung"):
        register_and_subtract(
            contrast, phantom.inspiration, phantom.expiration_lungs, nothing, hu_per_mg_ml=K
        )


@pytest.mark.parametrize(("native_hu", "contrast_hu"), [(6, 0), (-6, 0), (3, -9)])
def test_scales_that_are_off_are_set_to_the_air_of_the_airways(
    chest, monkeypatch, native_hu, contrast_hu
):
    """A native scan 6 HU off would be 8 % of the iodine or more."""
    geometry, inside = chest.ct.geometry, chest.truth.lungs.array > 0
    lungs = Labelmap(
        np.where(chest.truth.airways.mask("airways"), 7, chest.truth.lungs.array),
        geometry,
        {**chest.truth.lungs.names, 7: "airways"},
    )
    still = registration_from_field(
        DisplacementField(np.zeros((*geometry.shape, 3), np.float32), geometry), lungs, geometry
    )
    monkeypatch.setattr(subtraction, "register_lungs", lambda *_, **__: still)
    enhanced = chest.ct.array + np.where(inside, np.int16(K * 1.5), np.int16(0))
    found, (_, air, muscle), _ = register_and_subtract(
        chest.ct.with_array(enhanced + np.int16(contrast_hu)),
        chest.ct.with_array(chest.ct.array + np.int16(native_hu)),
        lungs,
        lungs,
        hu_per_mg_ml=K,
    )
    counted = found.concentration.valid & inside
    assert found.concentration.array[counted].mean() == pytest.approx(1.5, abs=0.02)
    assert (air.verdict, muscle.verdict) == ("pass", "pass")
    assert "air offsets" in found.method


def test_muscle_tells_scales_that_air_does_not():
    assert judge_muscle(60.0, 55.0).verdict == "pass"
    assert judge_muscle(50.0, 55.0).verdict == "pass"
    assert judge_muscle(49.9, 55.0).verdict == "warn"
    assert judge_muscle(75.1, 55.0).verdict == "warn"
    assert judge_muscle(None, 55.0).verdict == "unknown"
