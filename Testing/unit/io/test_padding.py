"""Padding around a round scan field, whatever constant stands for it."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.io.padding import padding_in_plane, padding_in_volume


def scan(*, radius=100.0, centre=(110.0, 104.0), size=(220, 200), pad=-1000, noise_hu=8.0):
    """Slice with a body in noisy air, and constant padding outside a circle."""
    y, x = np.ogrid[: size[0], : size[1]]
    away = np.hypot(y - centre[0], x - centre[1])
    hu = np.where((y - 110) ** 2 / 70**2 + (x - 100) ** 2 / 90**2 < 1, 40.0, -990.0)
    hu = np.round(hu + np.random.default_rng(7).normal(0, noise_hu, hu.shape))
    outside = away > radius
    hu[outside] = pad
    return hu.astype(np.int16), outside


@pytest.mark.parametrize("pad", [-1000, -1024, -1200])
@pytest.mark.parametrize("centre", [(110.0, 100.0), (104.0, 118.0)])
def test_constant_air_around_a_circle_is_padding(pad, centre):
    hu, outside = scan(pad=pad, centre=centre)

    found = padding_in_plane(hu, unit="HU")

    assert np.count_nonzero(found ^ outside) <= 0.001 * outside.size
    stacked = padding_in_volume(np.stack([hu, hu]), 0, unit="HU")
    np.testing.assert_array_equal(stacked[0], found)


def test_constant_air_around_a_body_is_measured():
    hu, _ = scan(radius=1e3, noise_hu=0.0)

    assert not padding_in_plane(hu, unit="HU").any()
    assert padding_in_volume(hu[None], 0, unit="HU") is None


def test_tissue_around_a_circle_is_measured():
    hu, _ = scan(pad=40)

    assert not padding_in_plane(hu, unit="HU").any()
