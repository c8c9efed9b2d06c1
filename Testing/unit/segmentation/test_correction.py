"""Fissures moved through points, and lobes that were given."""

import numpy as np
import pytest

from lungperfusion.errors import InputError
from lungperfusion.segmentation.correction import (
    REACH_MM,
    adopt_lobes,
    correct_lobes,
    fissure_map,
    moved_through,
)
from lungperfusion.segmentation.surfaces import Surface, fitted
from lungperfusion.terms import STRUCTURES

from .conftest import TRUTH, dice

AROUND = np.array([[r, a, s] for r in (-60.0, 60.0) for a in (-60.0, 60.0) for s in (-60.0, 60.0)])
PLANE = Surface.flat((3.0, 4.0, 5.0), (0.1, 0.7, 0.7), AROUND)


def lifted(surface, u, v, mm):
    return surface.world([u, v, float(surface.height(u, v)) + mm])


def test_surface_passes_through_every_point_and_stays_elsewhere():
    points = np.array([lifted(PLANE, 0, 0, 6), lifted(PLANE, 12, 5, -3), lifted(PLANE, 30, -8, 2)])
    moved = moved_through(PLANE, points)

    assert np.abs(moved.side(points)).max() < 1e-9
    u, v = np.meshgrid(np.linspace(-60, 60, 41), np.linspace(-60, 60, 41))
    away = np.min([np.hypot(u - a, v - b) for a, b in ((0, 0), (12, 5), (30, -8))], axis=0)
    change = np.abs(moved.height(u, v) - PLANE.height(u, v))
    assert change[away >= REACH_MM].max() == 0
    assert change.max() < 9


def test_one_point_moves_less_with_distance():
    moved = moved_through(PLANE, lifted(PLANE, 0, 0, 10))
    heights = moved.height(np.array([0.0, 10.0, 20.0, 30.0, REACH_MM]), 0.0)

    assert heights[0] == pytest.approx(10)
    assert (np.diff(heights) < 0).all()
    assert heights[-1] == 0


def test_points_at_one_place_are_averaged_or_refused():
    near = np.array([lifted(PLANE, 0, 0, 4), lifted(PLANE, 0.5, 0, 6)])
    assert float(moved_through(PLANE, near).height(0.25, 0)) == pytest.approx(5, abs=0.01)
    apart = np.array([lifted(PLANE, 0, 0, 0), lifted(PLANE, 0.5, 0, 20)])
    with pytest.raises(InputError, match="20 mm apart in height"):
        moved_through(PLANE, apart)


@pytest.mark.parametrize("bad", [[[np.nan, 0, 0]], [[1.0, 2.0]]])
def test_bad_points_are_refused(bad):
    with pytest.raises(InputError, match="three finite coordinates"):
        moved_through(PLANE, np.array(bad))


def test_fit_ignores_nothing_and_bends_as_told():
    rng = np.random.default_rng(2)
    uv = rng.uniform(-50, 50, (4000, 2))
    height = 5 * np.sin(uv[:, 0] / 25) + 0.1 * uv[:, 1]
    points = PLANE.world(np.column_stack([uv, height + rng.normal(0, 0.5, 4000)]))
    surface = fitted(PLANE, points, np.full(4000, 100 * 100 / 4000))
    inner = np.abs(uv).max(axis=1) < 40
    got = surface.height(uv[inner, 0], uv[inner, 1])

    assert np.abs(got - height[inner]).mean() < 0.25


def test_fit_goes_on_straight_where_nothing_is_seen():
    rng = np.random.default_rng(3)
    uv = np.column_stack([rng.uniform(-50, 0, 2000), rng.uniform(-50, 50, 2000)])
    points = PLANE.world(np.column_stack([uv, 0.3 * uv[:, 0]]))
    surface = fitted(PLANE, points, np.ones(2000), anchor=1e-9)

    assert float(surface.height(30.0, 0.0)) == pytest.approx(9.0, abs=1.0)


def test_correction_changes_only_what_depends_on_it(right_lung, right_lobes):
    old = right_lobes.boundaries["right_horizontal_fissure"]
    at = old.surface.local([95.0, 20.0, -40.0])
    point = lifted(old.surface, at[0], at[1], 8.0)
    corrected = correct_lobes(
        right_lobes, right_lung.lungs, {"right_horizontal_fissure": point[None]}
    )

    same = corrected.boundaries["right_oblique_fissure"]
    assert same is right_lobes.boundaries["right_oblique_fissure"]
    new = corrected.boundaries["right_horizontal_fissure"]
    assert abs(float(new.surface.side(point))) < 1e-9
    assert np.array_equal(new.user_points_mm, point[None])
    changed = corrected.labelmap.array != right_lobes.labelmap.array
    assert changed.any()
    k, j, i = np.nonzero(changed)
    places = right_lung.lungs.geometry.ras_from_ijk(np.stack([i, j, k], axis=1))
    uv = old.surface.local(places)[:, :2]
    assert np.hypot(*(uv - at[:2]).T).max() <= REACH_MM + 1
    assert not changed[right_lung.lobes.mask("right_lower_lobe")].any()
    upper, lower = (STRUCTURES[name].label for name in ("right_upper_lobe", "right_middle_lobe"))
    assert set(right_lobes.labelmap.array[changed]) == {upper}
    assert set(corrected.labelmap.array[changed]) == {lower}


def test_given_lobes_come_in_as_they_are_and_can_be_corrected(right_lung):
    lobes = adopt_lobes(right_lung.ct, right_lung.lungs, right_lung.lobes)

    assert np.array_equal(lobes.labelmap.array, right_lung.lobes.array)
    for name, truth in TRUTH.items():
        boundary = lobes.boundaries[name]
        assert boundary.origin == "imported"
        patch = boundary.evidence.patch
        assert np.abs(truth.distance(*patch.points_mm[patch.inside].T)).mean() < 0.6
        assert boundary.evidence.completeness > 0.93
    surface = lobes.boundaries["right_oblique_fissure"].surface
    at = surface.local([85.0, -20.0, -45.0])
    point = lifted(surface, at[0], at[1], -6.0)
    corrected = correct_lobes(lobes, right_lung.lungs, {"right_oblique_fissure": point[None]})
    changed = corrected.labelmap.array != right_lung.lobes.array
    assert 0 < changed.mean() < 0.02
    assert dice(corrected.labelmap.array > 0, right_lung.lobes.array > 0) == 1


def test_points_on_fissures_that_are_not_there_are_refused(right_lung, right_lobes):
    with pytest.raises(InputError, match="separates no two lobes here"):
        correct_lobes(right_lobes, right_lung.lungs, {"left_oblique_fissure": np.zeros((1, 3))})
    with pytest.raises(InputError, match="there is no fissure 'azygos'"):
        correct_lobes(right_lobes, right_lung.lungs, {"azygos": np.zeros((1, 3))})


def test_map_shows_each_fissure_in_the_lung(right_lung, right_lobes):
    fissures = fissure_map(right_lobes, right_lung.lungs)
    geometry = fissures.geometry
    lung = right_lung.lungs.mask("right_lung")
    assert not fissures.array[~lung].any()
    for name, truth in TRUTH.items():
        k, j, i = np.nonzero(fissures.mask(name, f"{name}_absent"))
        places = geometry.ras_from_ijk(np.stack([i, j, k], axis=1))
        assert np.quantile(np.abs(truth.distance(*places.T)), 0.95) < 2.0
        area = right_lobes.boundaries[name].evidence.area_mm2
        assert 0.6 * area < len(k) * 1.5**2 < 2.0 * area
        assert fissures.mask(name).sum() > 3 * fissures.mask(f"{name}_absent").sum()
