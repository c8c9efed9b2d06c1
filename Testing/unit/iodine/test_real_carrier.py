"""Iodine added by physics to a real chest CT comes back, vessels, noise and lungs being real."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.io import read_ct
from lungperfusion.iodine.calibration import DEFAULT_WATER_PATH_CM, spectral_pair
from lungperfusion.iodine.decomposition import decompose
from lungperfusion.iodine.exclusion import find_exclusions
from lungperfusion.iodine.patient_size import water_path_cm
from lungperfusion.phantoms.dual_energy import GRAVITY_PER_MM, ct_number
from lungperfusion.phantoms.spectra import response
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


def test_added_iodine_comes_back(carrier):
    ct, lungs, iodine = carrier
    path = np.full(ct.geometry.shape, DEFAULT_WATER_PATH_CM, np.float32)
    rng = np.random.default_rng(8)
    images = []
    for voltage, sd in (("80", 10.0), ("140Sn", 8.0)):
        beam = response("soft", voltage, 0.6)
        hu = ct_number(ct.array.astype(np.float32), iodine, path, beam)
        hu += rng.normal(0, sd, hu.shape).astype(np.float32)
        images.append(ct.with_array(np.round(hu).astype(np.int16)))
    found = decompose(*images, spectral_pair("80", "140Sn")).concentration
    inside = find_exclusions(images[0], lungs).measurable(lungs.mask(*LUNGS))
    for lung in LUNGS:
        here = inside & lungs.mask(lung)
        error = found.array[here].mean(dtype=np.float64) - iodine[here].mean(dtype=np.float64)
        assert error == pytest.approx(0, abs=0.05), lung


def test_a_cropped_scan_does_not_show_the_size_of_the_patient(carrier):
    ct, lungs, _ = carrier
    assert water_path_cm(ct, lungs.mask(*LUNGS)) == "the body is wider than the image"
