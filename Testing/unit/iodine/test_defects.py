"""Defects: thresholds and their borders, shape, extent, what lies beneath."""

import numpy as np
import pytest

from lungperfusion.errors import GeometryMismatchError, InputError
from lungperfusion.iodine.decomposition import IodineMap
from lungperfusion.iodine.defects import (
    DEFECT_COLUMNS,
    MINIMAL_VOLUME_ML,
    classify_extent,
    classify_parenchyma,
    defect_table_rows,
    find_defects,
    gravity_slope_per_mm,
)
from lungperfusion.iodine.expected import expected_enhancement
from lungperfusion.iodine.smoothing import smooth_inside
from lungperfusion.regions import RegionSet
from lungperfusion.terms.iodine import DEFECT_BELOW_HU
from lungperfusion.terms.vq import LOW_SHARE
from lungperfusion.volume import Geometry, Labelmap, Volume

from .conftest import Blocks


def places(geometry):
    return [geometry.coordinate_mm(axis) for axis in "RAS"]


def centre_of(blocks, lobe):
    return np.argwhere(blocks.lobes.mask(lobe)).mean(axis=0).astype(int)


def test_even_lungs_have_none(blocks):
    found = find_defects(blocks.volume(45.0), blocks.inside, blocks.regions)
    assert found.found == ()
    assert not found.mask.any()


def test_a_voxel_on_the_threshold_is_no_defect(blocks):
    k, j, i = centre_of(blocks, "right_upper_lobe")
    box = (slice(k, k + 4), slice(j, j + 4), slice(i, i + 4))
    values = np.full(blocks.geometry.shape, 100.0, np.float32)
    values[box] = DEFECT_BELOW_HU
    on = find_defects(blocks.volume(values), blocks.inside, blocks.regions, rule="absolute")
    assert not on.mask.any()
    values[box] = np.nextafter(np.float32(DEFECT_BELOW_HU), np.float32(0))
    below = find_defects(blocks.volume(values), blocks.inside, blocks.regions, rule="absolute")
    assert below.mask[box].all()
    assert below.mask.sum() == 64


def test_relative_rule_follows_the_level_of_each_lobe(blocks):
    values = np.where(blocks.lobes.mask("right_upper_lobe"), 80.0, 30.0).astype(np.float32)
    assert not find_defects(blocks.volume(values), blocks.inside, blocks.regions).mask.any()
    k, j, i = centre_of(blocks, "right_upper_lobe")
    values[k : k + 4, j : j + 4, i : i + 4] = 40.0  # well above the other lobes, half of its own
    (defect,) = find_defects(blocks.volume(values), blocks.inside, blocks.regions).found
    assert defect.region == "right_upper_lobe"
    assert defect.relative_iodine == pytest.approx(40 / 80, rel=0.02)


def test_gravity_is_no_defect(blocks):
    front = blocks.geometry.coordinate_mm("A")
    sloped = (45 * (1 - 0.008 * (front - front.mean()))).astype(np.float32)
    assert sloped[blocks.inside].min() < LOW_SHARE * 45 < sloped[blocks.inside].max()
    expected = expected_enhancement(blocks.volume(sloped), blocks.inside, blocks.regions)
    np.testing.assert_allclose(expected[blocks.inside], sloped[blocks.inside], rtol=0.02)
    assert np.isnan(expected[~blocks.inside]).all()
    assert not find_defects(blocks.volume(sloped), blocks.inside, blocks.regions).mask.any()


def test_gravity_slope_is_not_tilted_by_a_defect():
    rng = np.random.default_rng(3)
    front = rng.uniform(-100, 100, 60_000)
    values = 45 - 0.1 * front + rng.normal(0, 8, front.size)
    values[(front > 60) & (rng.random(front.size) < 0.3)] *= 0.2
    assert gravity_slope_per_mm(front, values) == pytest.approx(-0.1, rel=0.15)
    assert gravity_slope_per_mm(front[:5000] / 10, values[:5000]) is None, "too shallow"


def test_components_of_exactly_the_smallest_volume_stay(blocks):
    voxels = round(MINIMAL_VOLUME_ML / blocks.geometry.voxel_volume_ml + 0.499)
    k, j, i = centre_of(blocks, "left_lower_lobe")
    values = np.full(blocks.geometry.shape, 45.0, np.float32)
    values[k, j, i : i + voxels] = 5.0
    smallest = voxels * blocks.geometry.voxel_volume_ml
    for minimal, count in ((smallest, 1), (smallest * 1.01, 0)):
        found = find_defects(
            blocks.volume(values), blocks.inside, blocks.regions, minimal_volume_ml=minimal
        )
        assert len(found.found) == count


def test_volume_place_and_iodine_of_a_defect(blocks):
    values = np.full(blocks.geometry.shape, 50.0, np.float32)
    r, a, s = places(blocks.geometry)
    middle = blocks.geometry.ras_from_ijk(centre_of(blocks, "left_upper_lobe")[::-1])
    ball = (r - middle[0]) ** 2 + (a - middle[1]) ** 2 + (s - middle[2]) ** 2 < 14.0**2
    values[ball] = 10.0
    ct = blocks.volume(np.where(ball, -500.0, -850.0))
    found = find_defects(blocks.volume(values), blocks.inside, blocks.regions, ct=ct)
    (defect,) = found.found
    assert defect.volume_ml == pytest.approx(4 / 3 * np.pi * 1.4**3, rel=0.1)
    np.testing.assert_allclose(defect.centroid_ras_mm, middle, atol=0.5)
    assert defect.iodine_hu == pytest.approx(10.0)
    assert (defect.region, defect.parenchyma) == ("left_upper_lobe", "ground glass")
    assert defect.shape == "central"
    (row,) = defect_table_rows(found)
    assert tuple(row) == DEFECT_COLUMNS


@pytest.fixture(scope="module")
def cone():
    """A cone without iodine in one lung with noise; lungs, truth, smoothed and unsmoothed map."""
    fine = Blocks(spacing_mm=2.0)
    r, a, s = places(fine.geometry)
    out = fine.geometry.coordinate_mm("R")[fine.lungs.mask("right_lung")].max()
    deep, away = out - r, np.hypot(a - a.mean(), s - s.mean())
    true = fine.inside & (deep >= 0) & (away < 0.6 * (30.0 - deep))
    values = np.where(true, 10.0, 50.0) + np.random.default_rng(8).normal(0, 10, true.shape)
    smooth = smooth_inside(values, fine.inside, fine.geometry, sigma_mm=5.0)
    return fine, true, fine.volume(smooth), fine.volume(values)


def dice(found, true):
    return 2 * np.count_nonzero(found & true) / (np.count_nonzero(found) + np.count_nonzero(true))


def in_hu(enhancement):
    """The iodine map with this enhancement."""
    concentration = enhancement.with_array(enhancement.array, unit="mg/mL")
    return IodineMap(concentration=concentration, hu_per_mg_ml=1.0, method="made")


def test_outlines_are_drawn_where_less_is_smoothed(cone):
    lungs, true, smooth, raw = cone
    coarse = find_defects(smooth, lungs.inside, lungs.regions)
    drawn = find_defects(smooth, lungs.inside, lungs.regions, unsmoothed=in_hu(raw), blur_mm=5.0)
    assert dice(drawn.mask, true) > dice(coarse.mask, true) + 0.03
    assert abs(drawn.mask.sum() / true.sum() - 1) < 0.5 * abs(coarse.mask.sum() / true.sum() - 1)
    assert len(drawn.found) == 1


def test_vessels_do_not_count_in_outlines(cone):
    lungs, _, smooth, raw = cone
    vessels = np.zeros(lungs.inside.shape, np.bool_)
    vessels[::6, ::6] = True
    bright = raw.with_array(np.where(vessels, np.float32(900), raw.array))
    drawn = find_defects(
        smooth,
        lungs.inside,
        lungs.regions,
        unsmoothed=in_hu(bright),
        between=lungs.inside & ~vessels,
        blur_mm=5.0,
    )
    plain = find_defects(smooth, lungs.inside, lungs.regions, unsmoothed=in_hu(raw), blur_mm=5.0)
    assert dice(drawn.mask, plain.mask) > 0.95


def test_what_shows_unsmoothed_alone_is_no_defect(cone):
    lungs, _, _, raw = cone
    even = lungs.volume(50.0)
    assert not find_defects(
        even, lungs.inside, lungs.regions, unsmoothed=in_hu(raw), blur_mm=5.0
    ).found


def wedge(blocks, half_angle, depth):
    """Cone from inside the right lung to its lateral pleura."""
    r, a, s = places(blocks.geometry)
    voxels = np.argwhere(blocks.lungs.mask("right_lung"))
    surface = blocks.geometry.ras_from_ijk(voxels[:, ::-1])[:, 0].max() + 2.0
    middle = blocks.geometry.ras_from_ijk(voxels.mean(axis=0)[::-1])
    along = r - (surface - depth)
    away = np.hypot(a - middle[1], s - middle[2])
    return (along > 0) & (away <= along * np.tan(np.radians(half_angle))) & blocks.inside


def band(blocks):
    """Flat layer under the lateral pleura of the right lung."""
    r, a, s = places(blocks.geometry)
    voxels = np.argwhere(blocks.lungs.mask("right_lung"))
    edge = blocks.geometry.ras_from_ijk(voxels[:, ::-1])[:, 0].max() + 2.0
    middle = blocks.geometry.ras_from_ijk(voxels.mean(axis=0)[::-1])
    return (
        (r > edge - 12) & (np.abs(a - middle[1]) < 45) & (np.abs(s - middle[2]) < 45)
    ) & blocks.inside


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda b: wedge(b, 28, 40), "wedge"),
        (lambda b: wedge(b, 54, 24), "wedge"),
        (band, "subpleural"),
    ],
)
def test_shapes_at_the_pleura(blocks, make, shape):
    values = np.where(make(blocks), 8.0, 50.0).astype(np.float32)
    (defect,) = find_defects(blocks.volume(values), blocks.inside, blocks.regions).found
    assert defect.shape == shape


def test_scattered_small_defects_are_mottle_and_a_lone_one_is_not(blocks):
    values = np.full(blocks.geometry.shape, 50.0, np.float32)
    k, j, i = np.argwhere(blocks.lungs.mask("right_lung")).mean(axis=0).astype(int)
    for dk in (-4, 0, 4):
        for dj in (-4, 0, 4):
            values[k + dk : k + dk + 2, j + dj : j + dj + 2, i : i + 2] = 8.0
    k, j, i = np.argwhere(blocks.lungs.mask("left_lung")).mean(axis=0).astype(int)
    values[k : k + 2, j : j + 2, i : i + 2] = 8.0
    found = find_defects(blocks.volume(values), blocks.inside, blocks.regions).found
    assert len(found) == 10
    assert {d.shape for d in found if d.region.startswith("right")} == {"mottled"}
    assert [d.shape for d in found if d.region.startswith("left")] == ["central"]


@pytest.mark.parametrize(
    ("segments", "extent"),
    [(0.249, "small"), (0.25, "moderate"), (0.75, "moderate"), (0.751, "large")],
)
def test_extent_in_segments(segments, extent):
    assert classify_extent(segments) == extent


@pytest.mark.parametrize(
    ("density_hu", "parenchyma"),
    [
        (-950.1, "emphysema"),
        (-950.0, "normal"),
        (-700.1, "normal"),
        (-700.0, "ground glass"),
        (-200.1, "ground glass"),
        (-200.0, "consolidation"),
        (float("nan"), "unknown"),
    ],
)
def test_parenchyma_beneath(density_hu, parenchyma):
    assert classify_parenchyma(density_hu) == parenchyma


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flipping_the_grid_moves_no_defect(blocks, axis):
    values = np.where(wedge(blocks, 28, 40), 8.0, 50.0).astype(np.float32)
    (straight,) = find_defects(blocks.volume(values), blocks.inside, blocks.regions).found
    matrix = blocks.geometry.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, 2 - axis] * (blocks.geometry.shape[axis] - 1)
    matrix[:3, 2 - axis] *= -1
    grid = Geometry(blocks.geometry.shape, matrix)
    maps = [
        Labelmap(np.flip(part.array, axis).copy(), grid, part.names)
        for part in blocks.regions.partitions
    ]
    (flipped,) = find_defects(
        Volume(np.flip(values, axis).copy(), grid, "HU"),
        np.flip(blocks.inside, axis).copy(),
        RegionSet(tuple(maps)),
    ).found
    assert flipped.volume_ml == straight.volume_ml
    assert (flipped.shape, flipped.region) == (straight.shape, straight.region)
    np.testing.assert_allclose(flipped.centroid_ras_mm, straight.centroid_ras_mm, atol=1e-3)


def test_refusals(blocks):
    even = blocks.volume(45.0)
    with pytest.raises(InputError, match="must be in HU, but its values are in mg/mL"):
        find_defects(blocks.volume(1.8, "mg/mL"), blocks.inside, blocks.regions)
    with pytest.raises(InputError, match="above 0 mL, not 0 mL"):
        find_defects(even, blocks.inside, blocks.regions, minimal_volume_ml=0.0)
    moved = blocks.geometry.ijk_to_ras.copy()
    moved[0, 3] += 1
    elsewhere = Volume(even.array, Geometry(even.geometry.shape, moved), "HU")
    with pytest.raises(GeometryMismatchError, match="iodine map and regions"):
        find_defects(elsewhere, blocks.inside, blocks.regions)
