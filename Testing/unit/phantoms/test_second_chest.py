"""The benchmarks' independent chest: plausible, and its pictures agree with its truth."""

from __future__ import annotations

import numpy as np
import pytest
from Benchmarks._second_chest import LOBES, Patch, Recipe, build, ramp_noise

from lungperfusion.volume import Geometry


@pytest.fixture(scope="module")
def chest():
    recipe = Recipe(
        vessel_tips=600,
        stomach_gas_hu=-960.0,
        patches=(Patch(centre=(-70, 50, -20), radii=(30, 25, 35), hu=-640.0),),
    )
    return build((3.0, 3.0, 3.0), recipe)


def test_volumes_are_those_of_an_adult(chest):
    left, right = (chest.lungs.volume_ml(side) for side in ("left_lung", "right_lung"))
    assert 1800 < left < right < 3200
    for lobe in LOBES.values():
        assert 200 < chest.lobes.volume_ml(lobe) < 1600


def test_densities_follow_the_recipe(chest):
    inside = (chest.lungs.array > 0) & (chest.vessels < 0.05) & ~chest.organs["patches"]
    assert np.median(chest.hu[inside & ~chest.airways]) == pytest.approx(-868, abs=20)
    assert np.median(chest.hu[chest.organs["heart"]]) == pytest.approx(42, abs=1)
    assert np.median(chest.hu[chest.organs["patches"] & (chest.vessels < 0.05)]) == pytest.approx(
        -640, abs=10
    )
    assert not (chest.organs["stomach"] & (chest.lungs.array > 0)).any()


def test_noise_has_the_stated_size_and_the_kernel_its_grain():
    geometry = Geometry.axial((6, 256, 256), (0.7, 0.7, 1.0))
    along = {}
    for sharp in (False, True):
        noise = ramp_noise(geometry, 40.0, sharp=sharp, seed=3)
        assert noise.std() == pytest.approx(40, rel=0.01)
        along[sharp] = np.corrcoef(noise[:, :, :-1].ravel(), noise[:, :, 1:].ravel())[0, 1]
    assert along[True] < 0 < along[False]


def test_moved_chest_keeps_its_anatomy(chest):
    def pull(x, y, z):
        return x, y, z + 12

    def push(points):
        return points - [0, 0, 12]

    moved = build((3.0, 3.0, 3.0), chest.recipe, pull=pull, push=push)
    shift = 4  # voxels of 3 mm
    same = moved.lungs.array[20:80] == chest.lungs.array[20 + shift : 80 + shift]
    assert same.mean() > 0.99
