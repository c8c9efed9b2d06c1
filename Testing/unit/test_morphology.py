"""Distances and balls in mm on anisotropic voxels, values exactly on the radius included."""

import numpy as np
import pytest

from lungperfusion.morphology import depth_mm, dilated, distance_mm, eroded, opened

SPACING = (2.5, 1.0, 0.5)
SHAPE = (9, 21, 41)


def point():
    mask = np.zeros(SHAPE, bool)
    mask[4, 10, 20] = True
    return mask


def places():
    offsets = [(np.arange(n) - n // 2) * s for n, s in zip(SHAPE, SPACING, strict=True)]
    return np.sqrt(sum(x**2 for x in np.meshgrid(*offsets, indexing="ij")))


def test_distance_is_euclidean_in_mm():
    np.testing.assert_allclose(distance_mm(point(), SPACING), places(), atol=1e-4)


def test_a_voxel_on_the_radius_is_reached():
    grown = dilated(point(), 2.5, SPACING)
    assert grown[5, 10, 20]
    assert grown[4, 10, 25]
    assert not grown[4, 13, 20]
    np.testing.assert_array_equal(grown, places() <= 2.5)


def test_eroding_takes_what_lies_on_the_radius():
    block = np.zeros(SHAPE, bool)
    block[1:-1, 3:-3, 5:-5] = True
    np.testing.assert_array_equal(eroded(block, 2.0, SPACING), depth_mm(block, SPACING) > 2.0)
    assert depth_mm(block, SPACING)[1, 10, 20] == pytest.approx(2.5)
    assert not eroded(block, 2.5, SPACING)[1].any()
    assert depth_mm(block, SPACING)[~block].max() == 0


def test_nothing_and_everything():
    nothing, everything = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
    assert np.isinf(distance_mm(nothing, SPACING)).all()
    assert not dilated(nothing, 100.0, SPACING).any()
    assert eroded(everything, 100.0, SPACING).all(), "the border of the array is no outside"


def test_opening_removes_thin_parts_and_keeps_thick_ones():
    spacing = (1.0, 1.0, 1.0)
    mask = np.zeros((25, 25, 40), bool)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in mask.shape), indexing="ij"), -1)
    ball = np.linalg.norm(grid - (12, 12, 10), axis=-1) <= 7
    mask |= ball
    mask[12, 12, 10:38] = True
    out = opened(mask, 4.0, spacing)
    assert out[ball].mean() > 0.97
    assert not out[12, 12, 20:].any()
    assert not (out & ~mask).any()


@pytest.mark.parametrize("spacing", [(0.75, 0.75, 0.75), (1.0, 0.7, 0.7), (5.0, 0.8, 0.8)])
@pytest.mark.parametrize("radius_mm", [0.0, 0.7, 1.5, 2.1, 4.0])
def test_growing_and_shrinking_follow_the_distance_of_centres(spacing, radius_mm):
    mask = np.random.default_rng(5).random((7, 12, 15)) < 0.05
    places = np.argwhere(np.ones(mask.shape, bool)) * spacing
    apart = np.linalg.norm(places[:, None] - places[mask.ravel()], axis=-1).min(axis=1)
    near = apart.reshape(mask.shape).astype(np.float32) <= radius_mm
    np.testing.assert_array_equal(dilated(mask, radius_mm, spacing), near)
    np.testing.assert_array_equal(eroded(~mask, radius_mm, spacing), ~near)


def test_a_ball_larger_than_the_array_reaches_all_of_it():
    mask = np.zeros((2, 3, 1), bool)
    mask[0, 0, 0] = True
    assert dilated(mask, 3.0, (1.0, 1.0, 1.0)).all()
