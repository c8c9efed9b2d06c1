"""Rays from undiluted contrast are left out; what does not run from it is not."""

import numpy as np
import pytest

from lungperfusion.iodine.expected import expected_enhancement
from lungperfusion.iodine.streaks import find_streaks, judge_streaks
from lungperfusion.volume import Geometry, Labelmap, Volume

from .conftest import Blocks


@pytest.fixture(scope="module")
def lungs():
    return Blocks(spacing_mm=3.0)


def source_of(lungs):
    """Dense vein between the lungs, over a third of their height."""
    k, j, i = (n // 2 for n in lungs.geometry.shape)
    dense = np.zeros(lungs.geometry.shape, np.bool_)
    dense[k - 6 : k + 6, j - 2 : j + 3, i - 1 : i + 2] = True
    return dense


def fan(lungs, dense, degrees, *, half_width=4.0, from_mm=0.0):
    """Sectors of the dense slices around the vein."""
    a, r = (lungs.geometry.coordinate_mm(axis) for axis in "AR")
    middle = np.argwhere(dense).mean(axis=0)
    r0, a0, _ = lungs.geometry.ras_from_ijk(middle[::-1])
    angle = np.rad2deg(np.arctan2(a - a0, r - r0))
    off = np.abs((angle - degrees + 180) % 360 - 180)
    inside = (off < half_width) & (np.hypot(a - a0, r - r0) > from_mm)
    return (
        np.broadcast_to(inside, dense.shape) & dense.any(axis=(1, 2))[:, None, None] & lungs.inside
    )


def search(lungs, values, dense):
    image = lungs.volume(values)
    noisy = image.with_array(
        image.array + np.random.default_rng(6).normal(0, 6, image.array.shape).astype(np.float32)
    )
    expected = expected_enhancement(noisy, lungs.inside, lungs.regions)
    return find_streaks(noisy, expected, lungs.inside, dense, lungs.regions)


@pytest.mark.parametrize("factor", [0.3, 1.8])
@pytest.mark.parametrize("degrees", [10.0, 170.0, -35.0])
def test_dark_and_bright_rays_are_found(lungs, factor, degrees):
    dense = source_of(lungs)
    ray = fan(lungs, dense, degrees)
    found = search(lungs, np.where(ray, 40.0 * factor, 40.0), dense)
    assert found[ray].mean() > 0.9
    assert found[lungs.inside & ~fan(lungs, dense, degrees, half_width=12.0)].mean() < 0.01


def test_healthy_lung_beside_dense_contrast_has_none(lungs):
    assert search(lungs, 40.0, source_of(lungs)).mean() < 0.002


def test_without_dense_contrast_nothing_is_sought(lungs):
    values = np.where(fan(lungs, source_of(lungs), 10.0), 10.0, 40.0)
    assert not search(lungs, values, np.zeros_like(lungs.inside)).any()


def test_a_defect_at_the_pleura_is_no_streak(lungs):
    dense = source_of(lungs)
    wedge = fan(lungs, dense, 10.0, half_width=10.0, from_mm=75.0)
    assert wedge.sum() * lungs.geometry.voxel_volume_ml > 2
    found = search(lungs, np.where(wedge, 6.0, 40.0), dense)
    assert found[wedge].mean() < 0.05


def test_a_lost_lobe_is_no_streak(lungs):
    lost = lungs.lobes.mask("left_upper_lobe")
    found = search(lungs, np.where(lost, 6.0, 40.0), source_of(lungs))
    assert found[lost].mean() < 0.01


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_order_of_voxels_does_not_matter(lungs, axis):
    dense = source_of(lungs)
    values = np.where(fan(lungs, dense, 33.0), 15.0, 40.0).astype(np.float32)
    expected = np.where(lungs.inside, 40.0, np.nan).astype(np.float32)
    straight = find_streaks(lungs.volume(values), expected, lungs.inside, dense, lungs.regions)
    matrix = lungs.geometry.ijk_to_ras.copy()
    column = 2 - axis
    matrix[:3, 3] += matrix[:3, column] * (lungs.geometry.shape[axis] - 1)
    matrix[:3, column] *= -1
    turned = Geometry(lungs.geometry.shape, matrix)

    def flip(array):
        return np.flip(array, axis).copy()

    regions = type(lungs.regions)((Labelmap(flip(lungs.lungs.array), turned, lungs.lungs.names),))
    flipped = find_streaks(
        Volume(flip(values), turned, "HU"), flip(expected), flip(lungs.inside), flip(dense), regions
    )
    assert straight.any()
    assert (flip(flipped) != straight).mean() < 0.002


def test_defects_in_streaked_slices_only_are_doubted(lungs):
    dense = source_of(lungs)
    some = fan(lungs, dense, 10.0, half_width=20.0)
    (gate,) = judge_streaks(some, lungs.inside, dense, lungs.geometry)
    assert gate.verdict == "warn"
    everywhere = lungs.inside & (np.random.default_rng(2).random(some.shape) < 0.1)
    (gate,) = judge_streaks(everywhere, lungs.inside, dense, lungs.geometry)
    assert gate.verdict == "pass"
    assert judge_streaks(some, lungs.inside, np.zeros_like(dense), lungs.geometry) == ()
