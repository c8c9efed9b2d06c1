"""The phantom's truth agrees with geometry, whatever the grid."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.phantoms.vessel_tree import (
    TRUTH_EDGES_MM2,
    Room,
    correlated_noise,
    murray_tree,
    render_vessels,
    straight_tube,
)
from lungperfusion.volume import Geometry


def cube(n=40, mm=0.7):
    return Geometry.axial(
        (n, n, n), (mm, mm, mm), (mm * (n - 1) / 2, mm * (n - 1) / 2, -mm * (n - 1) / 2)
    )


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 2, 3), (3, -1, 2)])
@pytest.mark.parametrize("area_mm2", [1.25, 5.0, 20.0])
def test_a_tube_holds_area_times_length(area_mm2, direction):
    tube = straight_tube((0.1, -0.2, 0.05), direction, 16.0, area_mm2)
    rendered = render_vessels(tube, cube(), noise_hu=0.0)
    radius = np.sqrt(area_mm2 / np.pi)
    capsule_ml = (area_mm2 * 16.0 + 4 / 3 * np.pi * radius**3) / 1000
    assert sum(rendered.volume_ml) == pytest.approx(capsule_ml, rel=0.015)


def test_an_area_on_a_border_belongs_to_the_bin_above():
    rendered = render_vessels(straight_tube((0, 0, 0), (0, 1, 2), 10.0, 5.0001), cube())
    assert rendered.between_ml(1.25, 5.0) == 0
    assert rendered.between_ml(5.0, 10.0) > 0


def test_overlapping_vessels_count_once():
    tube = straight_tube((0, 0, 0), (0, 1, 2), 14.0, 6.0)
    alone = render_vessels(tube, cube())
    twice = render_vessels(tube.joined(tube), cube())
    assert sum(twice.volume_ml) == pytest.approx(sum(alone.volume_ml), rel=1e-9)


def test_blur_keeps_the_blood():
    tube = straight_tube((0, 0, 0), (1, 2, 3), 12.0, 4.0)
    for width in (0.8, 1.6):
        rendered = render_vessels(tube, cube(), psf_fwhm_mm=width, noise_hu=0.0)
        excess = (rendered.ct.array.astype(float) + 850) / 890
        blood_ml = excess.sum() * rendered.ct.geometry.voxel_volume_ml
        assert blood_ml == pytest.approx(sum(rendered.volume_ml), rel=0.02)


def test_a_tree_keeps_murrays_law_and_its_room():
    room = Room((0.0, 0.0, 0.0), (30.0, 30.0, 30.0))
    tree = murray_tree((0, 0, 25), (0, 0, -1), 2.5, room=room, seed=3)
    assert tree.size > 100
    assert (room.depth_mm(tree.end_mm) > 0.4).all()
    for n in range(0, tree.size, 6):
        end, radius = tree.end_mm[n + 5], tree.end_radius_mm[n + 5]
        joins = np.linalg.norm(tree.start_mm - end, axis=1) < 1e-9
        daughters = tree.start_radius_mm[np.flatnonzero(joins)]
        if daughters.size == 2:
            assert (daughters**3).sum() == pytest.approx(radius**3)


def test_same_seed_same_bytes_other_seed_other_noise():
    tube = straight_tube((0, 0, 0), (1, 2, 3), 12.0, 4.0)
    first, again, other = (render_vessels(tube, cube(), seed=s).ct.array for s in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_noise_has_its_deviation_and_correlation():
    noise = correlated_noise(cube(), 30.0, 1.5, seed=0)
    assert noise.std() == pytest.approx(30.0, rel=1e-3)
    neighbour = np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]
    assert neighbour > 0.3


def test_edges_cover_all_areas():
    assert TRUTH_EDGES_MM2[0] == 0
    assert np.isinf(TRUTH_EDGES_MM2[-1])
