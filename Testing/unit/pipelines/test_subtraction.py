"""Subtraction of two breaths: registration, lung mass, iodine that comes back."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.errors import InputError
from lungperfusion.morphology import depth_mm, distance_mm
from lungperfusion.phantoms.breathing import make_breathing_phantom
from lungperfusion.pipelines.subtraction import register_and_subtract
from lungperfusion.terms import LUNGS
from lungperfusion.volume import Labelmap

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
    found, gate, warnings = register_and_subtract(
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


def test_a_lung_in_one_scan_alone_is_reported(breaths):
    phantom, contrast, *_ = breaths
    only_right = np.where(phantom.inspiration_lungs.array == 2, 2, 0).astype(np.uint8)
    native_lungs = phantom.inspiration_lungs.with_array(only_right)
    nothing = Labelmap(np.zeros_like(only_right), native_lungs.geometry, native_lungs.names)
    with pytest.raises(InputError, match="the native CT could not be registered: no lung"):
        register_and_subtract(
            contrast, phantom.inspiration, phantom.expiration_lungs, nothing, hu_per_mg_ml=K
        )
