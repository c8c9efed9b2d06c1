"""Air of the large airways: its error to a tenth of a HU, from slices without streaks."""

import numpy as np
import pytest

from lungperfusion.iodine.air_calibration import CALIBRATION_AIR_ML, air_offset_hu
from lungperfusion.iodine.exclusion import slices_with_streaks
from lungperfusion.volume import Geometry, Labelmap, Volume

GRID = Geometry.axial((40, 60, 120), (1.0, 1.2, 1.5))


def air_image(offset_hu):
    """Air with noise, cut at -1024 HU and rounded as scanners do."""
    noise = np.random.default_rng(3).normal(0, 20, GRID.shape)
    return Volume(np.clip(np.round(-1000 + offset_hu + noise), -1024, 3071), GRID, "HU")


@pytest.mark.parametrize("offset_hu", [-6.3, 0.0, 0.4, 5.0])
def test_the_offset_comes_back_in_spite_of_rounding_and_the_lower_end(offset_hu):
    inside = np.ones(GRID.shape, np.bool_)
    assert air_offset_hu(air_image(offset_hu), inside) == pytest.approx(offset_hu, abs=0.15)


def test_a_millilitre_of_air_is_needed():
    just = np.zeros(GRID.shape, np.bool_)
    count = int(np.ceil(CALIBRATION_AIR_ML / GRID.voxel_volume_ml))
    just.flat[:count] = True
    assert air_offset_hu(air_image(0), just) is not None
    just.flat[0] = False
    assert air_offset_hu(air_image(0), just) is None


def chest(dense_from=None):
    lungs = np.zeros(GRID.shape, np.uint8)
    lungs[4:-4, 4:-4, 3:45] = 2
    lungs[4:-4, 4:-4, -45:-3] = 1
    hu = np.where(lungs > 0, -850, 30).astype(np.int16)
    if dense_from is not None:
        hu[dense_from : dense_from + 6, 20:30, 52:60] = 1200
    return Volume(hu, GRID, "HU"), Labelmap(lungs, GRID, {1: "left_lung", 2: "right_lung"})


def test_slices_of_dense_contrast_and_their_neighbours_have_streaks():
    streaked = slices_with_streaks(*chest(dense_from=20))
    assert streaked.shape == (40, 1, 1)
    # 6 slices, and those within 5 mm of them
    assert np.flatnonzero(streaked).tolist() == list(range(16, 30))
    assert not slices_with_streaks(*chest()).any()


def test_a_thin_shell_of_bone_makes_no_streaks():
    image, lungs = chest()
    hu = image.array.copy()
    hu[10:30, 20:50, 58:60] = 1200
    assert not slices_with_streaks(image.with_array(hu), lungs).any()
