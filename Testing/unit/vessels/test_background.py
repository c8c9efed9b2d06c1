"""Density of the lung between the vessels, at every point."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.vessels.background import Background


def test_density_rises_evenly_between_blocks_however_many_voxels_are_asked_for(monkeypatch):
    k, j, i = np.ogrid[:3, :4, :5]
    background = Background((4.0 * k + 5 * j + 6 * i).astype(np.float32), (2, 3, 2), (6, 12, 10), 0)
    index = np.arange(6 * 12 * 10)
    at_once = background.at(index)
    monkeypatch.setattr("lungperfusion.vessels.background._VOXELS_AT_ONCE", 50)
    np.testing.assert_array_equal(background.at(index), at_once)
    k, j, i = 3, 5, 6  # blocks of 2 x 3 x 2 voxels have their middles at 0.5, 1 and 0.5
    expected = 4 * (k - 0.5) / 2 + 5 * (j - 1) / 3 + 6 * (i - 0.5) / 2
    assert at_once.reshape(6, 12, 10)[k, j, i] == pytest.approx(expected)
    assert background.at(index[:0]).shape == (0,)


def test_a_plane_holds_what_its_voxels_hold():
    rng = np.random.default_rng(0)
    background = Background(
        rng.normal(-850, 40, (3, 4, 5)).astype(np.float32), (2, 3, 1), (5, 11, 5), 0
    )
    voxels = background.at(np.arange(5 * 11 * 5)).reshape(5, 11, 5)
    for number in range(5):  # the first and the last lie beyond the middles of the outer blocks
        np.testing.assert_allclose(background.plane(number), voxels[number], rtol=2e-7)
