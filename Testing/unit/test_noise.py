"""Noise is measured where the scan is even, and taken out of shares below a threshold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lungperfusion.noise import measure_noise, share_below
from lungperfusion.volume import Geometry, Labelmap, Volume

NAMES = {1: "left_lung", 2: "right_lung", 3: "airways"}


def lungs_with(noise_hu, *, blur_px=0.0, vessels=0.02, spacing=(2.5, 0.8, 0.8), trachea=False):
    """Two even blocks of lung with bright spots in them, and noise of a given grain."""
    shape = (20, 90, 120)
    rng = np.random.default_rng(8)
    hu = np.full(shape, 40.0)
    labels = np.zeros(shape, np.uint8)
    labels[2:18, 6:84, 4:50], labels[2:18, 6:84, 70:116] = 2, 1
    hu[labels > 0] = -865.0
    hu[(rng.random(shape) < vessels) & (labels > 0)] = -400.0
    if trachea:
        labels[2:18, 30:55, 52:68] = 3
        hu[labels == 3] = -990.0
    noise = rng.standard_normal(shape)
    if blur_px:
        noise = ndimage.gaussian_filter(noise, (0, blur_px, blur_px))
    hu += noise * noise_hu / noise.std()
    whole = np.clip(np.round(hu), -1024, 3071).astype(np.int16)
    geometry = Geometry.axial(shape, spacing[::-1], (48.0, 36.0, 0.0))
    return Volume(whole, geometry, "HU"), Labelmap(labels, geometry, NAMES)


@pytest.mark.parametrize("noise_hu", [10.0, 30.0, 60.0])
@pytest.mark.parametrize("trachea", [False, True])
def test_noise_is_found_among_vessels_and_below_the_cut_off(noise_hu, trachea):
    found = measure_noise(*lungs_with(noise_hu, trachea=trachea))
    assert found.sd_hu == pytest.approx(noise_hu, rel=0.12)


def test_grain_tells_smooth_noise_from_sharp():
    smooth = measure_noise(*lungs_with(20.0, blur_px=0.7, vessels=0.0))
    sharp = measure_noise(*lungs_with(20.0, vessels=0.0))
    assert smooth.grain_mm > 0.5
    assert sharp.grain_mm < 0.4


def test_noise_does_not_depend_on_the_order_of_the_axes():
    ct, lungs = lungs_with(25.0, blur_px=0.5)
    turned = ct.geometry.ijk_to_ras[:, [2, 1, 0, 3]]
    array, labels = (np.ascontiguousarray(v.array.transpose(2, 1, 0)) for v in (ct, lungs))
    geometry = Geometry(array.shape, turned)
    other = measure_noise(Volume(array, geometry, "HU"), Labelmap(labels, geometry, NAMES))
    assert other == measure_noise(ct, lungs)


def test_no_lung_no_noise():
    ct, lungs = lungs_with(10.0)
    bare = Labelmap(np.zeros_like(lungs.array), ct.geometry, NAMES)
    assert measure_noise(ct, bare) is None


# ----------------------------------------------------------------------------- deconvolution


def below(true_hu, noise_hu, limit=-950.0):
    rng = np.random.default_rng(3)
    seen = np.clip(np.round(true_hu + rng.normal(0, noise_hu, true_hu.size)), -1024, None)
    values, counts = np.unique(seen, return_counts=True)
    raw = 100 * float(np.mean(seen < limit))
    return raw, 100 * share_below(values, counts, limit, noise_hu)


@pytest.mark.parametrize("noise_hu", [30.0, 40.0, 60.0])
@pytest.mark.parametrize("mean_hu", [-868.0, -890.0])
def test_healthy_lung_has_none_left(mean_hu, noise_hu):
    rng = np.random.default_rng(1)
    lung = np.concatenate([rng.normal(mean_hu, 15, 90_000), rng.normal(-700, 80, 10_000)])
    raw, without = below(lung, noise_hu)
    assert raw > 0.5 or mean_hu > -880
    assert without < 0.5


@pytest.mark.parametrize(("noise_hu", "lost"), [(20.0, 0.06), (40.0, 0.2), (60.0, 0.4)])
def test_emphysema_stays(noise_hu, lost):
    """What cannot be distinguished from noise is lost rather than made up."""
    rng = np.random.default_rng(1)
    lung = np.concatenate([rng.normal(-868, 22, 85_000), rng.normal(-970, 12, 15_000)])
    true = 100 * float(np.mean(lung < -950))
    _, without = below(lung, noise_hu)
    assert (1 - lost) * true <= without <= 1.05 * true


def test_diffuse_emphysema_at_the_threshold():
    lung = np.random.default_rng(1).normal(-910, 30, 100_000)
    true = 100 * float(np.mean(lung < -950))
    raw, without = below(lung, 40.0)
    assert raw > 2 * true
    assert without == pytest.approx(true, abs=1.5)


def test_without_noise_the_share_is_the_raw_one():
    values, counts = np.array([-1000.0, -950.0, -900.0]), np.array([1, 1, 2])
    assert share_below(values, counts, -950.0, 0.0) == 0.25
