"""Branching tubes: areas and volumes on the image equal those of the list."""

import numpy as np
import pytest

from lungperfusion.phantoms import ChestModel
from lungperfusion.phantoms.anatomy import LOBE_SIDES
from lungperfusion.phantoms.rendering import _boxed_tubes
from lungperfusion.phantoms.trees import Tubes
from lungperfusion.volume import Geometry


@pytest.fixture(scope="module")
def model():
    return ChestModel(leaves=60)


@pytest.mark.parametrize("spacing", [(0.7, 0.7, 0.7), (0.7, 0.7, 1.5), (1.4, 1.4, 1.4)])
@pytest.mark.parametrize("area_mm2", [0.8, 1.25, 5.0, 10.0, 40.0])
@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 0.3, 0.1), (1, 1, 1)])
def test_area_of_a_tube_is_kept(spacing, area_mm2, direction):
    unit = np.array(direction) / np.linalg.norm(direction)
    radius = float(np.sqrt(area_mm2 / np.pi))
    tube = Tubes.from_rods([(tuple(-8 * unit), tuple(8 * unit), radius)])
    size = tuple(int(30 / mm) for mm in spacing[::-1])
    origin = [(n - 1) / 2 * mm for n, mm in zip(size[::-1], spacing, strict=True)]
    geometry = Geometry.axial(size, spacing, (origin[0] + 0.13, origin[1] - 0.21, -origin[2] + 0.3))
    found = _boxed_tubes(geometry, tube, tube.radius_mm, 1.0)
    assert found is not None
    volume = float(found[1].sum(dtype=np.float64)) * geometry.voxel_volume_ml * 1000
    round_ends = 4 / 3 * np.pi * radius**3
    assert (volume - round_ends) / 16 == pytest.approx(area_mm2, rel=0.03)


def test_list_is_consistent(model):
    for tubes in (model.arteries, model.veins, model.airways):
        assert np.allclose(tubes.volume_ml * 1000, np.pi * tubes.radius_mm**2 * tubes.length_mm)
        child = np.flatnonzero((tubes.parent >= 0) & (tubes.lobe >= 0))
        assert np.allclose(tubes.start_mm[child], tubes.end_mm[tubes.parent[child]])
        assert (tubes.radius_mm[child] <= tubes.radius_mm[tubes.parent[child]] + 1e-9).all()


def test_radii_follow_murray(model):
    tubes = model.veins
    cubes = np.zeros(len(tubes))
    follows = tubes.parent >= 0
    np.add.at(cubes, tubes.parent[follows], tubes.radius_mm[follows] ** 3)
    inner = np.flatnonzero(cubes)
    assert np.allclose(cubes[inner], tubes.radius_mm[inner] ** 3)


def test_veins_stay_in_their_lobe(model):
    tubes = model.veins
    for index, name in enumerate(LOBE_SIDES):
        own = tubes.lobe == index
        assert own.sum() > 20
        ends = tubes.end_mm[own]
        far = np.linalg.norm(ends - tubes.start_mm[own][0], axis=1) > 18
        assert (model.lobe(name, *ends[far].T) < 0).all()


def test_choosing_pieces_keeps_the_tree(model):
    veins = model.veins
    wide = veins.where(veins.radius_mm > np.median(veins.radius_mm))
    follows = wide.parent >= 0
    assert 0 < len(wide) < len(veins)
    assert np.allclose(wide.start_mm[follows], wide.end_mm[wide.parent[follows]])
    moved = veins.moved(lambda p: p + 5.0)
    assert np.allclose(moved.length_mm, veins.length_mm)
