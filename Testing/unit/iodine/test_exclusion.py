"""What is left out of the lungs: each reason alone, nothing else, on any orientation."""

import numpy as np
import pytest

from lungperfusion.iodine.exclusion import REASONS, find_exclusions
from lungperfusion.volume import Geometry, Labelmap, Volume

SPACING = (1.0, 1.2, 1.5)
SHAPE = (40, 60, 120)


def chest():
    """Two lungs beside a mediastinum of water."""
    geometry = Geometry.axial(SHAPE, SPACING)
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[4:-4, 4:-4, 3:45] = 2
    lungs[4:-4, 4:-4, -45:-3] = 1
    hu = np.where(lungs > 0, -850, 30).astype(np.int16)
    return geometry, lungs, hu


def rod(geometry, axis, r0, s0, radius_mm):
    """Rod along A."""
    assert axis == "A"
    r, s = geometry.coordinate_mm("R"), geometry.coordinate_mm("S")
    return np.hypot(r - r0, s - s0) <= radius_mm


def found(geometry, lungs, hu, names=None, **options):
    names = names or {1: "left_lung", 2: "right_lung", 3: "airways"}
    options = {"heart_rim_mm": 0.0, **options}
    return find_exclusions(Volume(hu, geometry, "HU"), Labelmap(lungs, geometry, names), **options)


def test_plain_lung_loses_nothing():
    exclusion = found(*chest())
    assert exclusion.shares(exclusion.labels.array >= 0) == dict.fromkeys(REASONS, 0.0)


def test_thick_vessels_go_and_thin_ones_stay():
    geometry, lungs, hu = chest()
    thick = rod(geometry, "A", -20.0, 30.0, 4.0) & (lungs == 2)
    thin = rod(geometry, "A", -34.0, 30.0, 0.8) & (lungs == 2)
    hu[thick | thin] = 250
    exclusion = found(geometry, lungs, hu)
    vessels = exclusion.labels.mask("large_vessels")
    assert vessels[thick].mean() > 0.98
    assert not vessels[thin].any()
    # margin of about a millimetre, no more
    assert vessels.sum() * geometry.voxel_volume_ml < 2.2 * thick.sum() * geometry.voxel_volume_ml


def test_consolidation_is_no_vessel():
    geometry, lungs, hu = chest()
    hu[8:32, 10:45, 8:38] = 20
    assert not found(geometry, lungs, hu).mask.any()


def test_streaks_lie_beside_dense_contrast_but_not_beside_bone():
    geometry, lungs, hu = chest()
    hu[15:25, 20:30, 46:52] = 1200  # between the lungs
    hu[:, :2, :] = 1200  # in front of them, like ribs and sternum
    exclusion = found(geometry, lungs, hu, streak_reach_mm=10.0)
    streaks = exclusion.labels.mask("streaks")
    assert streaks.any()
    dense = np.argwhere(hu == 1200)
    dense = dense[dense[:, 1] >= 20] * geometry.spacing_kji_mm
    for voxel in np.argwhere(streaks)[::37] * geometry.spacing_kji_mm:
        assert np.linalg.norm(dense - voxel, axis=1).min() <= 10.0
    assert not found(geometry, lungs, hu, streak_reach_mm=0.0).labels.mask("streaks").any()


@pytest.mark.parametrize(
    ("hu_per_mg_ml", "hu", "dense"),
    [(25.9, 831, False), (25.9, 833, True), (41.6, 1302, False), (41.6, 1304, True)],
)
def test_undiluted_contrast_is_told_by_its_iodine_at_any_voltage(hu_per_mg_ml, hu, dense):
    geometry, lungs, image = chest()
    image[15:25, 20:30, 46:52] = hu
    exclusion = found(geometry, lungs, image, hu_per_mg_ml=hu_per_mg_ml)
    assert exclusion.labels.mask("streaks").any() == dense
    assert exclusion.dense.any() == dense


def test_undiluted_contrast_within_what_was_taken_for_lung_counts():
    geometry, lungs, image = chest()
    image[15:25, 20:30, 20:26] = 1200
    assert found(geometry, lungs, image).dense.sum() > 200


def test_the_rim_of_the_heart_alone():
    geometry, lungs, hu = chest()
    hu[(hu == 30)] = -110  # fat between the lungs, but for a heart
    heart = np.zeros_like(lungs, bool)
    middle = np.array([20, 30, 60]) * geometry.spacing_kji_mm
    places = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), -1)
    heart = np.linalg.norm(places * geometry.spacing_kji_mm - middle, axis=-1) < 26.0
    lungs[heart], hu[heart] = 0, 40
    rim = found(geometry, lungs, hu, heart_rim_mm=5.0).labels.mask("heart_rim")
    assert rim.any()
    distance = np.linalg.norm(places[rim] * geometry.spacing_kji_mm - middle, axis=-1)
    assert distance.max() <= 26.0 + 5.0 + 2.0
    assert not found(geometry, lungs, hu, heart_rim_mm=0.0).mask.any()


def test_walls_of_airways():
    geometry, lungs, hu = chest()
    tube = rod(geometry, "A", -20.0, 30.0, 3.0) & (lungs == 2)
    lungs[tube], hu[tube] = 3, -1000
    airways = found(geometry, lungs, hu).labels.mask("airways")
    assert airways.any()
    assert not airways[tube].any(), "the lumen is no lung"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flipping_the_grid_changes_nothing(axis):
    geometry, lungs, hu = chest()
    hu[rod(geometry, "A", -20.0, 30.0, 4.0) & (lungs == 2)] = 250
    hu[15:25, 20:30, 46:52] = 1200
    straight = found(geometry, lungs, hu).labels.array
    matrix = geometry.ijk_to_ras.copy()
    voxel_axis = 2 - axis
    matrix[:3, 3] += matrix[:3, voxel_axis] * (SHAPE[axis] - 1)
    matrix[:3, voxel_axis] *= -1
    flipped = found(
        Geometry(SHAPE, matrix), np.flip(lungs, axis).copy(), np.flip(hu, axis).copy()
    ).labels.array
    np.testing.assert_array_equal(np.flip(flipped, axis), straight)
