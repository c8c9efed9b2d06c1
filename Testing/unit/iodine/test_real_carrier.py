"""Iodine added by physics to a real chest CT comes back, vessels, noise and lungs being real."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.analysis.image_pair import separate_pair
from lungperfusion.analysis.iodine_measure import DEFAULT_OPTIONS, Given, exclude, measure_iodine
from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.io import read_ct
from lungperfusion.iodine.calibration import DEFAULT_WATER_PATH_CM, spectral_pair
from lungperfusion.iodine.decomposition import decompose
from lungperfusion.iodine.exclusion import find_exclusions
from lungperfusion.iodine.patient_size import water_path_cm
from lungperfusion.morphology import dilated
from lungperfusion.phantoms.dual_energy import GRAVITY_PER_MM, ct_number
from lungperfusion.phantoms.spectra import response
from lungperfusion.regions import RegionSet
from lungperfusion.resampling import resample_array, resample_labelmap, resample_volume
from lungperfusion.segmentation.lungs import segment_lungs
from lungperfusion.terms import LUNGS

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def carrier(real_data):
    """Real CT with contrast, its lungs, and the iodine added to them."""
    path = real_data / "contrast_chest_ct" / "ct.nii.gz"
    if not path.is_file():
        pytest.skip("the contrast chest CT is not among the real scans")
    ct = read_ct(path).volume
    lungs = segment_lungs(ct).labelmap
    front = ct.geometry.coordinate_mm("A")
    inside = lungs.mask(*LUNGS)
    iodine = np.where(inside, 1.6 * (1 - GRAVITY_PER_MM * (front - front[inside].mean())), 0)
    return ct, lungs, iodine.astype(np.float32)


def scanned(ct, iodine, noise_hu=(10.0, 8.0)):
    """Make the images of two voltages with added iodine."""
    path = np.full(ct.geometry.shape, DEFAULT_WATER_PATH_CM, np.float32)
    rng = np.random.default_rng(8)
    images = []
    for voltage, sd in zip(("80", "140Sn"), noise_hu, strict=True):
        beam = response("soft", voltage, 0.6)
        hu = ct_number(ct.array.astype(np.float32), iodine, path, beam)
        hu += rng.normal(0, sd, hu.shape).astype(np.float32)
        images.append(ct.with_array(np.round(hu).astype(np.int16)))
    return images


def test_added_iodine_comes_back(carrier):
    ct, lungs, iodine = carrier
    images = scanned(ct, iodine)
    found = decompose(*images, spectral_pair("80", "140Sn")).concentration
    inside = find_exclusions(images[0], lungs).measurable(lungs.mask(*LUNGS))
    for lung in LUNGS:
        here = inside & lungs.mask(lung)
        error = found.array[here].mean(dtype=np.float64) - iodine[here].mean(dtype=np.float64)
        assert error == pytest.approx(0, abs=0.05), lung


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["right_lung", "lower halves"])
def test_lost_lungs_are_found_in_a_real_chest(carrier, lost):
    ct, lungs, iodine = carrier
    coarse = ct.geometry.with_spacing((1.8, 1.8, 3.0))
    iodine = resample_array(iodine, ct.geometry, coarse, interpolation="linear", fill=0)
    ct, lungs = resample_volume(ct, coarse), resample_labelmap(lungs, coarse)
    inside, height = lungs.mask(*LUNGS), ct.geometry.coordinate_mm("S")
    gone = np.zeros(inside.shape, np.bool_)
    if lost == "right_lung":
        gone = lungs.mask(lost)
    else:
        gone = inside & (height < np.median(np.broadcast_to(height, inside.shape)[inside]))
    pair = spectral_pair("80", "140Sn")
    low, high = scanned(ct, np.where(gone, 0.15 * iodine, iodine), (20.0, 16.0))
    made, _, _ = separate_pair(low, high, lungs, pair)
    found = FoundRegions(lungs=lungs, regions=RegionSet((lungs,)), gates=(), warnings=())
    mean = low.with_array((low.array.astype(np.float32) + high.array) / 2)
    exclusion = exclude(mean, found, DEFAULT_OPTIONS, pair.mixed_hu_per_mg_ml)
    analysed = measure_iodine(made, made.virtual_native, found, given=Given(exclusion=exclusion))
    spacing = ct.geometry.spacing_kji_mm
    hit, counted = analysed.defects.mask, analysed.measurable
    away = counted & ~dilated(gone, 5.0, spacing)
    assert hit[away].mean() < 0.01
    deep = counted & gone & ~dilated(inside & ~gone, 5.0, spacing)
    assert hit[deep].mean() > 0.9


def test_a_cropped_scan_does_not_show_the_size_of_the_patient(carrier):
    ct, lungs, _ = carrier
    assert water_path_cm(ct, lungs.mask(*LUNGS)) == "the body is wider than the image"
