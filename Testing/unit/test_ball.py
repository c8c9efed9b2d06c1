"""Balls around marked points hold their volume on any grid."""

import numpy as np
import pytest

from lungperfusion.errors import InputError
from lungperfusion.iodine.trunk import MARKED_RADIUS_MM, ball_of_blood
from lungperfusion.morphology import ball
from lungperfusion.volume import Geometry


def tilted(spacing, shape=(60, 60, 60)):
    angle = np.deg2rad(25)
    turn = np.eye(3)
    turn[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(spacing)
    matrix[:3, 3] = (-17.0, 5.0, 40.0)
    return Geometry(shape, matrix)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (-0.7, -0.7, 1.5), (0.5, 2.0, 1.0)])
def test_volume_and_middle(spacing):
    geometry = tilted(spacing)
    centre = geometry.ras_from_ijk((30.3, 29.6, 30.2))
    mask = ball(geometry, centre, 6.5)
    volume_ml = np.count_nonzero(mask) * geometry.voxel_volume_ml
    assert volume_ml == pytest.approx(4 / 3 * np.pi * 0.65**3, rel=0.05)
    middle = geometry.ras_from_ijk(np.argwhere(mask).mean(axis=0)[::-1])
    assert np.linalg.norm(middle - centre) < 0.3


def test_ball_at_the_border_is_cut_and_outside_is_empty():
    geometry = tilted((1.0, 1.0, 1.0))
    corner = geometry.ras_from_ijk((0, 0, 0))
    eighth = np.count_nonzero(ball(geometry, corner, 10.0)) / 1000
    assert eighth == pytest.approx(4 / 3 * np.pi / 8, rel=0.25)
    assert not ball(geometry, geometry.ras_from_ijk((-20, 0, 0)), 10.0).any()


def test_blood_outside_the_image_is_refused():
    geometry = tilted((1.0, 1.0, 1.0))
    inside = geometry.ras_from_ijk((20, 20, 20))
    found = ball_of_blood(geometry, {"aorta": inside})
    assert found.volume_ml("aorta") == pytest.approx(
        4 / 3 * np.pi * (MARKED_RADIUS_MM / 10) ** 3, rel=0.1
    )
    with pytest.raises(InputError, match="in the aorta lies outside"):
        ball_of_blood(geometry, {"aorta": geometry.ras_from_ijk((-50, 0, 0))})
