"""Breathing out moves what lies inside the rib cage, keeps its mass, and moves nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lungperfusion.phantoms.breath import Breath, Stiff
from lungperfusion.phantoms.chest import ChestModel
from lungperfusion.phantoms.kinds import default_geometry
from lungperfusion.phantoms.rendering import render

STIFF = Stiff(centre=(86.0, -12.0, 42.0), width_mm=24.0, strain=0.22)
BREATH = Breath(stiff=(STIFF,))
FULL = ChestModel(leaves=12, texture_hu=0.0)
EMPTY = replace(FULL, breath=BREATH)


@pytest.fixture(scope="module")
def pair():
    grid = default_geometry((8.0, 8.0, 8.0))
    return tuple(render(model, grid, noise_sd_hu=0.0, psf_fwhm_mm=0.0) for model in (FULL, EMPTY))


@pytest.fixture
def points():
    return np.random.default_rng(3).uniform((-110, -90, -200), (110, 70, 100), (400, 3))


def test_way_back_is_the_inverse(points):
    there = BREATH.expired(points)

    assert BREATH.inspired_s(*there.T) == pytest.approx(points[:, 2], abs=1e-9)
    assert there[:, :2] == pytest.approx(points[:, :2])
    assert (there[:, 2] >= points[:, 2] - 1e-9).all()


def test_jacobian_is_the_slope(points):
    r, a, s = points.T
    step = 1e-4
    slope = (BREATH.inspired_s(r, a, s + step) - BREATH.inspired_s(r, a, s - step)) / (2 * step)

    assert BREATH.jacobian(r, a, s) == pytest.approx(slope, abs=1e-6)
    assert (slope > 0.9).all()


def test_stiff_place_keeps_its_volume():
    def volume_ratio(breath):
        return float(breath.jacobian(*(np.array([x]) for x in STIFF.centre))[0])

    assert volume_ratio(BREATH) == pytest.approx(volume_ratio(Breath()) - STIFF.strain)
    assert abs(volume_ratio(BREATH) - 1) < 0.05


def test_lungs_shrink_and_keep_their_mass():
    grid = np.mgrid[8:142:4.0, -112:84:4.0, -232:108:2.0].reshape(3, -1)

    def volume_and_mass(model):
        (lung,) = (layer for layer in model.layers() if layer.name == "right_lung")
        inside = grid[:, lung.distance(*grid) < 0]
        return inside.shape[1], float((lung.hu(*inside) + 1000).sum())

    full, empty = volume_and_mass(FULL), volume_and_mass(EMPTY)

    assert full[0] / empty[0] == pytest.approx(1.28, abs=0.02)
    assert empty[1] == pytest.approx(full[1], rel=0.003)


def test_spine_stays_and_the_diaphragm_rises(pair):
    full, empty = (phantom.ct for phantom in pair)
    right, front, up = (full.geometry.coordinate_mm(axis) for axis in "RAS")
    spine = (full.array > 300) & (np.abs(right) < 16) & (front < -30)
    assert np.abs(full.array - empty.array)[spine].max() < 60

    column = (np.abs(right - 66) < 10) & (np.abs(front - 14) < 10)
    dome = [up[column & (image.array < -600)].min() for image in (full, empty)]
    assert dome[1] - dome[0] == pytest.approx(BREATH.rise_mm, abs=10)


def test_trees_and_lobes_go_along():
    moved = BREATH.expired(FULL.arteries.end_mm)

    assert EMPTY.arteries.end_mm == pytest.approx(moved)
    assert EMPTY.arteries.radius_mm == pytest.approx(FULL.arteries.radius_mm)
    before = FULL.lobe("right_upper_lobe", *FULL.arteries.end_mm.T)
    after = EMPTY.lobe("right_upper_lobe", *moved.T)
    assert after == pytest.approx(before, abs=1e-6)
