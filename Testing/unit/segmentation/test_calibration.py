"""The scale of CT numbers, noise and kernels: each gate says what it can tell, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.acquisition import Acquisition, kernel_sharpness
from lungperfusion.body import coarse_copy
from lungperfusion.noise import Noise
from lungperfusion.segmentation.calibration import (
    air_gate,
    kernel_gate,
    noise_gate,
    outside_air_hu,
)
from lungperfusion.volume import Geometry, Labelmap, Volume

NAMES = {1: "left_lung", 2: "right_lung", 3: "airways"}


def chest_in_air(*, outside=-1000.0, trachea=-960.0, noise=20.0, fill=None, shift=0.0, step=4.0):
    """Body of two boxes of lung and a trachea, with much air around it and a foam mattress."""
    shape = (24, 90, 110)
    rng = np.random.default_rng(4)
    hu = np.full(shape, outside)
    hu[:, 62:66, 8:102] = -950.0  # foam
    hu[:, 25:60, 25:85] = 40.0
    labels = np.zeros(shape, np.uint8)
    labels[3:21, 30:55, 30:50], labels[3:21, 30:55, 60:80] = 2, 1
    labels[3:24, 38:44, 52:58] = 3
    hu[(labels == 1) | (labels == 2)] = -860.0
    hu[labels == 3] = trachea
    hu += rng.normal(0, noise, shape) + shift
    if fill is not None:
        hu[:, :20] = fill
    whole = np.clip(np.round(hu), -1024, 3071).astype(np.int16)
    geometry = Geometry.axial(shape, (step, step, step), (220.0, 180.0, 0.0))
    return Volume(whole, geometry, "HU"), Labelmap(labels, geometry, NAMES)


def air(ct, lungs):
    return air_gate(ct, lungs, coarse_copy(ct))


@pytest.mark.parametrize("noise", [0.0, 10.0, 30.0, 60.0])
@pytest.mark.parametrize("shift", [0.0, 10.0, -10.0])
def test_a_shift_of_ten_units_is_seen_at_any_noise(noise, shift):
    """Noise is cut off at -1024 HU, which moves means and medians by up to 25 HU."""
    gate = air(*chest_in_air(noise=noise, shift=shift))

    assert gate.value == pytest.approx(-1000 + shift, abs=5)
    assert gate.verdict == ("warn" if shift else "pass")


@pytest.mark.parametrize("trachea", [-970.0, -945.0])
def test_tracheal_air_does_not_alarm_where_outside_air_is_right(trachea):
    gate = air(*chest_in_air(trachea=trachea))

    assert gate.verdict == "pass"
    assert "-1000 HU): the scale begins where it should" in gate.message
    assert f"{trachea:.0f} HU: as usual" in gate.message or "as usual" in gate.message


def test_each_air_says_what_it_tells():
    odd = air(*chest_in_air(trachea=-880.0))
    assert odd.verdict == "warn"
    assert "look at the airways" in odd.message
    far = air(*chest_in_air(shift=60.0, trachea=-1000.0))
    assert far.verdict == "fail"
    assert "no density threshold can be trusted" in far.message


@pytest.mark.parametrize("fill", [-1000.0, -1024.0])
def test_what_fills_the_outside_is_not_air(fill):
    ct, _ = chest_in_air(fill=fill, shift=12.0)
    assert outside_air_hu(ct, coarse_copy(ct)) == pytest.approx(-988, abs=3)


def test_an_outside_that_was_never_scanned_is_unknown():
    ct, lungs = chest_in_air()
    hu = np.array(ct.array)
    hu[:, :24], hu[:, 61:], hu[:, :, :24], hu[:, :, 86:] = -1024, -1024, -1024, -1024
    ct = Volume(hu, ct.geometry, "HU")
    assert outside_air_hu(ct, coarse_copy(ct)) is None
    assert "by itself it shows gross errors only" in air(ct, lungs).message


@pytest.mark.parametrize(("sd", "verdict"), [(30.0, "pass"), (30.1, "warn"), (0.0, "pass")])
def test_noise_at_its_limit(sd, verdict):
    gate = noise_gate(Noise(sd_hu=sd, grain_mm=0.6, where="tracheal air"))
    assert gate.verdict == verdict
    assert noise_gate(None).verdict == "unknown"


@pytest.mark.parametrize(
    ("grain", "kernel", "verdict"),
    [
        (0.48, None, "pass"),
        (0.47, None, "warn"),
        (0.6, "B70f", "warn"),
        (0.6, "B31f", "pass"),
        (np.nan, "B31f", "pass"),
        (np.nan, None, "unknown"),
    ],
)
def test_kernels_by_name_and_grain(grain, kernel, verdict):
    noise = Noise(sd_hu=20.0, grain_mm=grain, where="tracheal air")
    assert kernel_gate(noise, Acquisition(kernel=kernel)).verdict == verdict


@pytest.mark.parametrize(
    ("names", "sharpness"),
    [
        (
            ("B50f", "Br59d/3", "Hr60", "BONEPLUS", "EDGE", "FC81", "YE", "lung", "I70f"),
            "sharp",
        ),
        (("B30s", "B45f", "Bf39f", "Sa36", "SOFT", "CHST", "STND", "FC13", "C", "D30f"), "soft"),
        (("B46f", "Qr49", "FC27", "DETAIL", "F", "kernel 70", ""), None),
    ],
)
def test_kernel_names_at_their_limits(names, sharpness):
    assert [kernel_sharpness(name) for name in names] == [sharpness] * len(names)
