"""What lies outside the body."""

from dataclasses import replace

import numpy as np
import pytest

from lungperfusion.body import outside_body
from lungperfusion.volume import Geometry, Volume

SHAPE = (40, 110, 150)
SPACING_MM = (2.0, 2.0, 3.0)


def ellipse(centre, half, axes=(1, 2)):
    places = np.indices(SHAPE)
    parts = [((places[a] - c) / h) ** 2 for a, c, h in zip(axes, centre, half, strict=True)]
    return sum(parts) < 1


@pytest.fixture(scope="module")
def inside():
    lungs = ellipse((20, 50, 45), (16, 28, 20), (0, 1, 2)) | ellipse(
        (20, 50, 105), (16, 28, 20), (0, 1, 2)
    )
    return lungs | ellipse((45, 75), (4, 4))  # the trachea is cut at both ends


@pytest.fixture(scope="module")
def chest(inside):
    """A trunk on a table with a mattress of foam."""
    hu = np.full(SHAPE, -1000.0)
    hu[:, 94:100] = -930
    hu[:, 100:102] = 100
    hu[ellipse((50, 75), (44, 66))] = 40
    hu[inside] = -850
    hu += np.random.default_rng(2).normal(0, 15, SHAPE)
    return Volume(hu.astype(np.int16), Geometry.axial(SHAPE, SPACING_MM, (0, 0, 0)), "HU")


def test_air_around_the_body_and_in_the_mattress_is_outside(chest, inside):
    outside = outside_body(chest)
    assert not (outside & inside).any()
    around = (chest.array < -500) & ~inside
    assert np.count_nonzero(outside & around) > 0.99 * np.count_nonzero(around)


def test_a_lung_that_is_cut_by_the_side_of_the_image_stays_inside(chest, inside):
    box = (slice(None), slice(None), slice(40, None))
    outside = outside_body(chest.crop(box))
    assert not (outside & inside[box]).any()
    assert outside[:, 0].all()


def test_padding_is_outside(chest):
    valid = np.ones(SHAPE, bool)
    valid[:, :4] = False
    stored = np.where(valid, chest.array, -3024).astype(np.int16)
    for padded in (replace(chest, valid=valid), Volume(stored, chest.geometry, "HU")):
        assert outside_body(padded)[:, :4].all()
