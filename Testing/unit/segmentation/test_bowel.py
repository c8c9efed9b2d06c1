"""Stomach and bowel are no lung, bullae are: by place, wall and texture, not by CT number."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lungperfusion.body import coarse_copy
from lungperfusion.errors import InputError
from lungperfusion.phantoms import KINDS
from lungperfusion.phantoms.chest import Bubble, ChestModel
from lungperfusion.phantoms.kinds import default_geometry
from lungperfusion.phantoms.rendering import render
from lungperfusion.segmentation.bowel import THINNEST_BOWEL_WALL_MM, lung_like, wall_mm
from lungperfusion.segmentation.lungs import segment_lungs
from lungperfusion.volume import Geometry, Volume

LUNGS = ("left_lung", "right_lung")


def block(hu):
    """Coarse copy of an array on a 2 mm grid."""
    return coarse_copy(Volume(hu.astype(np.int16), Geometry.axial(hu.shape, (2.0, 2.0, 2.0)), "HU"))


@pytest.mark.parametrize("gas_hu", [-940.0, -1000.0])
@pytest.mark.parametrize("thickness_mm", [0.5, 1.5, 4.0])
@pytest.mark.parametrize("offset_mm", [0.0, 0.7])
def test_thickness_of_a_wall_does_not_depend_on_the_grid(thickness_mm, offset_mm, gas_hu):
    s = (np.arange(40) * 20 + np.arange(20)[:, None]).T.reshape(-1) * 0.1  # 0.1 mm, 80 mm long
    fine = np.where(s < 40 + offset_mm, gas_hu, -860.0)
    fine[(s >= 40 + offset_mm) & (s < 40 + offset_mm + thickness_mm)] = 40
    column = fine.reshape(40, 20).mean(axis=1)
    hu = np.broadcast_to(column[:, None, None], (40, 20, 20))
    hu = hu + np.random.default_rng(3).normal(0, 15, hu.shape)
    level = np.arange(40)[:, None, None] + np.zeros(hu.shape)
    pocket, lung = (level < 19) & (hu < -320), (level > 22) & (hu < -320)

    found = wall_mm(block(hu), hu.astype(np.float32), pocket, lung)

    assert found == pytest.approx(thickness_mm, abs=0.25)
    assert (found >= THINNEST_BOWEL_WALL_MM) == (thickness_mm > 1)


@pytest.fixture(scope="module")
def sound():
    return KINDS["small"]()


@pytest.mark.parametrize(("wall", "gas_hu"), [(1.5, -940.0), (4.0, -1000.0)])
def test_gas_in_the_stomach_is_no_lung(wall, gas_hu):
    model = ChestModel(leaves=120, stomach_bubble=Bubble(wall, gas_hu), colon=True)
    made = render(model, default_geometry((3.0, 3.0, 2.5)), noise_sd_hu=20.0)

    found = segment_lungs(made.ct).labelmap

    for lung in LUNGS:
        assert found.volume_ml(lung) == pytest.approx(made.truth.volumes_ml[lung], rel=0.02), lung


def test_bulla_on_the_diaphragm_stays_lung(sound):
    r, a, s = (sound.ct.geometry.coordinate_mm(axis) for axis in "RAS")
    ball = (r + 75) ** 2 + (a - 10) ** 2 + (s + 95) ** 2 < 30**2
    bulla = ball & sound.truth.lungs.mask("left_lung")
    assert np.count_nonzero(bulla) * sound.ct.geometry.voxel_volume_ml > 50

    found = segment_lungs(sound.ct.with_array(np.where(bulla, -985, sound.ct.array)))

    lung = found.labelmap.mask("left_lung")
    assert np.count_nonzero(lung & bulla) > 0.95 * np.count_nonzero(bulla)


def trunk(ct, *, count=90):
    """Lay an abdomen with two columns of colon, full of stool and gas, below a chest."""
    body = ndimage.binary_fill_holes(ndimage.binary_opening(ct.array[0] > -300, iterations=2))
    rng = np.random.default_rng(0)
    below = np.where(body, 45.0, -1000.0)[None].repeat(count, 0)
    below += rng.normal(0, 15, below.shape)
    k, j, i = np.indices(below.shape)
    mid_j, mid_i = (float(np.mean(axis)) for axis in np.nonzero(body))
    stool = ndimage.gaussian_filter(rng.normal(0, 1, below.shape), 1.2)
    stool = np.clip(-450 + 350 * stool / stool.std(), -1000, 60)
    for side in (-1, 1):
        x = i - mid_i - side * 26
        tube = (x**2 + (j - mid_j + 4) ** 2 < 8**2) & (k > 8) & (k < 78)
        below[tube] = stool[tube]
        below[(x**2 + (j - mid_j + 10) ** 2 < 4**2) & (k > 40) & (k < 78)] = -1000
    return below.round().astype(np.int16)


def test_bowel_below_the_chest_changes_nothing(sound):
    array = np.concatenate([trunk(sound.ct), sound.ct.array])
    ct = Volume(array, Geometry.axial(array.shape, (3.2, 3.2, 3.2)), "HU")

    found = segment_lungs(ct).labelmap

    truth = sound.truth.volumes_ml
    assert found.volume_ml(*LUNGS) == pytest.approx(truth["lungs"], rel=0.01)
    assert not found.mask(*LUNGS)[:85].any()


def test_abdomen_alone_is_refused(sound):
    array = trunk(sound.ct)
    ct = Volume(array, Geometry.axial(array.shape, (3.2, 3.2, 3.2)), "HU")

    with pytest.raises(InputError, match="a chest CT with aerated lungs was expected"):
        segment_lungs(ct)


def test_cells_of_the_skull_are_no_part_of_the_lung_apices():
    hu = np.full((100, 40, 60), 40.0)
    hu[:20, 10:30, 5:25], hu[:20, 10:30, 35:55] = -850, -850  # apices of both lungs
    hu[80:90, 10:20, 5:15] = -800  # mastoid cells, 120 mm above
    hu += np.random.default_rng(1).normal(0, 20, hu.shape)
    coarse = block(hu)

    lung = lung_like(coarse, coarse.hu < -320)

    assert lung[5:15, 15:25, 10:20].all()
    assert lung[5:15, 15:25, 40:50].all()
    assert not lung[40:].any()
