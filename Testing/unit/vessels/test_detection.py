"""Cross-sections and blood volumes of phantoms, with noise and tilt."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lungperfusion.errors import GeometryMismatchError, InputError
from lungperfusion.phantoms.vessel_tree import Traps, Tubes, straight_tube
from lungperfusion.vessels.area import (
    claim_territory,
    distance_transform_area,
    scale_space_area,
)
from lungperfusion.vessels.blood_volume import blood_sample, volume_by_area
from lungperfusion.vessels.centreline import Vessels, trace_vessels
from lungperfusion.vessels.detection import find_vessels
from lungperfusion.vessels.enhancement import Ridges
from lungperfusion.vessels.exclusion import judge_segments
from lungperfusion.vessels.quality import point_spread_mm
from lungperfusion.volume import Labelmap, Volume


def bins_ml(found):
    return volume_by_area(blood_sample(found))


@pytest.fixture(scope="module")
def found(tree_phantom):
    return find_vessels(tree_phantom.ct, tree_phantom.lungs, blood_hu=40.0)


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 0, 0), (1, 2, 3)])
@pytest.mark.parametrize("area_mm2", [1.0, 5.0, 40.0])
def test_cross_section_of_a_tube_at_any_angle(make_phantom, area_mm2, direction):
    tube = straight_tube((0.2, -0.3, 0.1), direction, 40.0, area_mm2)
    image = make_phantom(tube, size_mm=34.0, rooms=(), psf_fwhm_mm=1.2)
    found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
    middle = np.abs(found.axis_ras_mm).max(axis=1) < 8
    assert np.median(found.measured.area_mm2[middle]) == pytest.approx(area_mm2, rel=0.05)


def test_cross_section_does_not_depend_on_slice_thickness(make_phantom):
    tube = straight_tube((0.2, -0.3, 0.1), (1, 2, 3), 60.0, 4.0)
    for thickness in (0.6, 1.25, 2.0):
        image = make_phantom(tube, size_mm=34.0, rooms=(), spacing=(0.7, 0.7, thickness))
        found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
        middle = np.abs(found.axis_ras_mm).max(axis=1) < 8
        assert np.median(found.measured.area_mm2[middle]) == pytest.approx(4.0, rel=0.07)


def test_usual_estimators_are_biased_where_the_integral_is_not(make_phantom):
    errors = []
    for area_mm2 in (1.25, 2.5, 5.0):
        tube = straight_tube((0.2, 0, 0), (1, 2, 3), 60.0, area_mm2)
        image = make_phantom(tube, size_mm=34.0, rooms=(), psf_fwhm_mm=1.2)
        found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
        middle = np.abs(found.axis_ras_mm).max(axis=1) < 8
        spacing = found.geometry.spacing_kji_mm
        disc = distance_transform_area(
            found.vessels, found.territory, found.blood_fraction, found.geometry.shape, spacing
        )
        scale = scale_space_area(found.vessels, spacing)
        estimates = (found.measured.area_mm2, disc, scale)
        errors.append([abs(np.median(area[middle]) / area_mm2 - 1) for area in estimates])
    integral, distance_transform, scale_space = np.max(errors, axis=0)
    assert integral < 0.06
    assert distance_transform > 0.2
    assert scale_space > 0.2


def test_total_and_wide_vessels_of_a_tree(tree_phantom, found, true_bins):
    truth, here = true_bins(tree_phantom), bins_ml(found)
    assert here.sum() == pytest.approx(truth.sum(), rel=0.03)
    assert here[3] == pytest.approx(truth[3], rel=0.06)
    assert here[1:].sum() == pytest.approx(truth[1:].sum(), rel=0.05)


def test_bins_add_up_and_lose_nothing(found):
    sample = blood_sample(found)
    total = float(found.blood_fraction.sum()) * found.geometry.voxel_volume_ml
    assert bins_ml(found).sum() == pytest.approx(total, rel=1e-12)
    assert found.measured.volume_ml.sum() == pytest.approx(total, rel=1e-9)
    assert np.unique(sample.index).size == sample.index.size  # no voxel twice


def test_same_input_same_bytes(tree_phantom, found):
    again = find_vessels(tree_phantom.ct, tree_phantom.lungs, blood_hu=40.0)
    assert again.measured.area_mm2.tobytes() == found.measured.area_mm2.tobytes()
    assert again.voxel_area_mm2.tobytes() == found.voxel_area_mm2.tobytes()


@pytest.mark.parametrize("axes", [(0,), (2,), (0, 1)])
def test_flips_change_little(tree_phantom, found, axes):
    ct, lungs = tree_phantom.ct, tree_phantom.lungs
    flipped = Volume(np.flip(ct.array, axes), ct.geometry, "HU")
    mirror = Labelmap(np.flip(lungs.array, axes), lungs.geometry, lungs.names)
    other = find_vessels(flipped, mirror, blood_hu=40.0)
    assert bins_ml(other).sum() == pytest.approx(bins_ml(found).sum(), rel=0.01)


def test_axis_order_changes_little(tree_phantom, found):
    ct, lungs = tree_phantom.ct, tree_phantom.lungs
    turned = Volume(ct.array.transpose(2, 0, 1), ct.geometry, "HU")
    other = find_vessels(
        turned,
        Labelmap(lungs.array.transpose(2, 0, 1), lungs.geometry, lungs.names),
        blood_hu=40.0,
    )
    assert bins_ml(other).sum() == pytest.approx(bins_ml(found).sum(), rel=0.01)


def test_touching_parallel_vessels_stay_two(make_phantom):
    radius = np.sqrt(7.0 / np.pi)
    first = straight_tube((0, -radius, 0), (0, 0, 1), 60.0, 7.0)
    second = straight_tube((0, radius, 0), (0, 0, 1), 60.0, 7.0)
    image = make_phantom(first.joined(second), size_mm=34.0, rooms=())
    found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
    middle = np.abs(found.axis_ras_mm[:, 2]) < 8
    assert np.median(found.measured.area_mm2[middle]) == pytest.approx(7.0, rel=0.1)


def test_a_vessel_under_the_pleura_keeps_its_blood(make_phantom):
    tube = straight_tube((0.0, 0.0, -25.5), (1, 0.1, 0), 16.0, 3.0)
    image = make_phantom(tube)
    found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
    assert bins_ml(found).sum() == pytest.approx(sum(image.volume_ml), rel=0.12)


def test_traps_are_no_vessels(trap_phantom):
    found = find_vessels(trap_phantom.ct, trap_phantom.lungs, blood_hu=40.0)
    truth = sum(trap_phantom.volume_ml)
    assert bins_ml(found).sum() == pytest.approx(truth, rel=0.06)
    assert found.excluded_ml["thick_tissue"] > 1.5


def test_plates_are_left_out_and_reported(make_phantom):
    """Plates of 3 mm, as of atelectasis."""
    far = straight_tube((0, 0, 200.0), (0, 0, 1), 4.0, 4.0)
    plates = (((0, -10, 0), (10, 9, 1.5)), ((5, 10, 5), (10, 1.5, 9)))
    image = make_phantom(far, traps=Traps(consolidations=plates))
    found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
    assert abs(bins_ml(found).sum()) < 0.02
    volume_ml = sum(4 / 3 * np.pi * a * b * c / 1000 for _, (a, b, c) in plates)
    # Their thin rims are no denser than half tissue.
    assert 0.7 * volume_ml < found.excluded_ml["no_tube"] < volume_ml


def test_noise_alone_holds_next_to_no_vessel(make_phantom):
    far = straight_tube((0, 0, 200.0), (0, 0, 1), 4.0, 4.0)
    image = make_phantom(far, noise_hu=40.0)
    found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
    assert abs(bins_ml(found).sum()) < 0.02


def test_point_spread_is_seen(make_phantom):
    for width in (0.9, 1.5):
        image = make_phantom(psf_fwhm_mm=width)
        found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
        assert point_spread_mm(found) == pytest.approx(width, abs=0.2)


def test_refusals(tree_phantom):
    ct, lungs = tree_phantom.ct, tree_phantom.lungs
    empty = Labelmap(np.zeros_like(lungs.array), lungs.geometry, lungs.names)
    with pytest.raises(InputError, match="left_lung or right_lung"):
        find_vessels(ct, empty, blood_hu=40.0)
    with pytest.raises(InputError, match="difference of 200 HU"):
        find_vessels(ct, lungs, blood_hu=-700.0)
    with pytest.raises(InputError, match="in HU"):
        find_vessels(Volume(ct.array, ct.geometry, "1"), lungs, blood_hu=40.0)
    part = (slice(0, 40), slice(None), slice(None))
    with pytest.raises(GeometryMismatchError, match="lung label map"):
        find_vessels(ct, lungs.crop(part), blood_hu=40.0)


def ridge_line(start, end, scale_mm, step_mm=0.5):
    """Ridge points along a straight line."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    length = np.linalg.norm(end - start)
    position = start + np.arange(0, length, step_mm)[:, None] * (end - start) / length
    count = len(position)
    return {
        "position_mm": position,
        "direction": np.tile((end - start) / length, (count, 1)),
        "strength_hu": np.full(count, 100.0),
        "scale_mm": np.full(count, scale_mm),
        "certain": np.ones(count, bool),
    }


def test_a_branch_point_lies_where_the_axes_meet():
    """Ridges of two branches run as one for 2 mm beyond the point where the vessels part."""
    lines = (
        ridge_line((40, 20, 20), (24, 20, 20), 1.6),
        ridge_line((24, 20, 20), (18, 20, 20), 1.4),
        ridge_line((17.5, 22.0, 20), (5, 33.0, 20), 1.0),
        ridge_line((17.5, 18.0, 20), (5, 7.0, 20), 1.0),
    )
    parts = {name: np.concatenate([line[name] for line in lines]) for name in lines[0]}
    vessels = trace_vessels(Ridges(np.arange(len(parts["certain"])), **parts), (0.7, 0.7, 0.7))
    ends = np.concatenate([vessels.position_mm[vessels.first], vessels.position_mm[vessels.last]])
    joined = ends[np.concatenate([vessels.joins[:, 0], vessels.joins[:, 1]])]
    assert len(joined) == 3
    # The lines through both branches cross at K = 19.8 mm; their ridges merge at 18 mm.
    np.testing.assert_allclose(joined, np.tile([19.8, 20.0, 20.0], (3, 1)), atol=0.5)


def test_space_between_vessels_belongs_to_the_nearest_wall():
    course = np.array([[15.0, 15.0 + side, z] for side in (-2.9, 2.1) for z in range(5, 26)])
    segment = np.repeat([0, 1], 21)
    vessels = Vessels(
        position_mm=course,
        tangent=np.tile([0.0, 0.0, 1.0], (42, 1)),
        segment=segment,
        arc_mm=course[:, 2] - 5,
        scale_mm=np.ones(42),
        radius_mm=np.where(segment == 0, 3.0, 1.0),
        joins=np.zeros((2, 2), bool),
        component=np.array([0, 1]),
        certain_share=np.ones(2),
    )
    shape = (60, 60, 60)
    territory = claim_territory(vessels, shape, (0.5, 0.5, 0.5))
    at = np.ravel_multi_index(([30, 30], [31, 32], [30, 30]), shape)  # 15.5 and 16 mm
    owner = territory.owner[np.searchsorted(territory.index, at)]
    assert vessels.segment[owner].tolist() == [0, 1]


def test_turned_trees_keep_their_bins(make_phantom, make_tree, found, tree_phantom, true_bins):
    turn = Rotation.from_euler("xyz", (40, 25, 65), degrees=True).as_matrix()
    image = make_phantom(make_tree().moved(rotation=turn, shift_mm=(0.2, -0.3, 0.1)), seed=5)
    other = bins_ml(find_vessels(image.ct, image.lungs, blood_hu=40.0))
    here, truth = bins_ml(found), true_bins(tree_phantom)
    assert other.sum() == pytest.approx(here.sum(), rel=0.01)
    # A vessel near a border moves as a whole; no bin of this small tree holds more than a few.
    np.testing.assert_allclose(other[1:], here[1:], atol=0.05 * truth.sum())


def test_a_second_axis_in_a_wide_vessel_is_a_ghost():
    course = np.array([[n * 0.5, 0.0, 0.0] for n in range(21)] * 2)
    segment = np.repeat([0, 1], 21)
    vessels = Vessels(
        position_mm=course,
        tangent=np.tile([1.0, 0.0, 0.0], (42, 1)),
        segment=segment,
        arc_mm=course[:, 0],
        scale_mm=np.full(42, 1.5),
        radius_mm=np.full(42, 2.0),
        joins=np.zeros((2, 2), bool),
        component=np.array([0, 1]),
        certain_share=np.ones(2),
    )
    area = np.where(segment == 0, 12.0, 0.9)
    assert judge_segments(vessels, area, 2.0).ghost.tolist() == [False, True]
    assert vessels.with_radius_of(area).radius_mm[[0, -1]] == pytest.approx([1.954, 1.0], abs=1e-3)


def test_an_artery_shares_the_space_with_the_airway_beside_it(make_phantom):
    """Wall to wall, as arteries run; the assumed wall is thicker than the true one."""
    across = np.array([0.0, 3.0, -2.0]) / np.sqrt(13.0)
    artery = straight_tube(-across * np.sqrt(6.0 / np.pi), (1, 2, 3), 60.0, 6.0)
    airway = straight_tube(across * np.sqrt(10.0 / np.pi), (1, 2, 3), 60.0, 10.0)
    image = make_phantom(artery, size_mm=34.0, rooms=(), traps=Traps(airways=airway))
    found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
    assert found.walls.any()
    assert bins_ml(found).sum() == pytest.approx(sum(image.volume_ml), rel=0.1)


@pytest.mark.parametrize(("lumen_mm", "within"), [(2.5, 0.08), (3.0, 0.05)])
def test_the_wall_of_a_thin_airway_is_put_where_it_is(make_phantom, lumen_mm, within):
    """Wall to wall with an artery of 3 mm2, 25 % high if the airway is not seen."""
    direction = (1, 1, 0)
    side = np.cross(direction, (1.0, 0.3, -0.2))
    side /= np.linalg.norm(side)
    outer_mm = lumen_mm / 2 / 0.7
    artery = straight_tube((0, 0, 0), direction, 60.0, 3.0)
    centre = side * (np.sqrt(3.0 / np.pi) + outer_mm)
    airway = straight_tube(centre, direction, 60.0, np.pi * outer_mm**2)
    image = make_phantom(artery, size_mm=26.0, rooms=(), traps=Traps(airways=airway))
    found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
    middle = np.linalg.norm(found.axis_ras_mm, axis=1) < 8
    assert np.median(found.measured.area_mm2[middle]) == pytest.approx(3.0, rel=within)


@pytest.mark.parametrize(("thickness_mm", "sharp"), [(3.0, 0.0), (0.7, 0.5)])
def test_dark_gaps_beside_vessels_are_no_airways(make_phantom, make_tree, thickness_mm, sharp):
    """Thick slices, and a kernel that takes off beside the vessels what it adds to them."""
    image = make_phantom(make_tree(), spacing=(0.7, 0.7, thickness_mm), psf_fwhm_mm=0.8)
    array = image.ct.array.astype(np.float32)
    array += sharp * (array - ndimage.gaussian_filter(array, 0.8 / 0.7))
    ct = Volume(array.astype(np.int16), image.ct.geometry, "HU")
    assert not find_vessels(ct, image.lungs, blood_hu=40.0).walls.any()


def test_a_lung_without_vessels_holds_no_blood(make_phantom):
    nothing = straight_tube((0, 0, 300.0), (0, 0, 1), 4.0, 4.0)
    image = make_phantom(nothing, size_mm=24.0, rooms=(), noise_hu=0.0)
    found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
    assert found.vessels.size == 0
    assert bins_ml(found).tolist() == [0.0] * 4


def test_spicules_of_a_nodule_on_a_vessel_are_no_vessels(make_phantom):
    """Strands that end near a nodule go; the vessel that crosses it and its neighbour stay."""
    through = straight_tube((0.0, 0.0, 0.0), (1.0, 0.3, 0.2), 56.0, 6.0)
    vessels = through.joined(straight_tube((0.0, 14.0, 4.0), (1.0, -0.2, 0.3), 50.0, 2.5))
    nodule = Traps(nodules=(((0.0, 0.0, 0.0), 5.0),))
    strands = vessels
    for direction in Rotation.random(10, random_state=4).apply([0.0, 0.0, 1.0]):
        if abs(direction[0]) < 0.7 and direction[1] < 0.5:  # clear of both vessels
            strands = strands.joined(straight_tube(tuple(8.0 * direction), direction, 9.0, 1.8))
    assert strands.size - vessels.size >= 4
    true = sum(make_phantom(vessels, noise_hu=0.0).volume_ml)
    drawn = sum(make_phantom(strands, noise_hu=0.0).volume_ml) - true
    with_strands = make_phantom(strands, traps=nodule)
    found = find_vessels(with_strands.ct, with_strands.lungs, blood_hu=40.0)
    smooth = make_phantom(vessels, traps=nodule)
    without = find_vessels(smooth.ct, smooth.lungs, blood_hu=40.0)
    added = bins_ml(found).sum() - bins_ml(without).sum()
    assert drawn > 0.04
    assert added < 0.5 * drawn  # all of it if nobody looks at strands
    assert bins_ml(without).sum() == pytest.approx(true, rel=0.06)


@pytest.mark.parametrize("place", ["free", "on the pleura"])
def test_a_long_scar_is_told_from_a_vessel_by_its_ends(make_phantom, place):
    """Tubes of 6 mm2: one free in the lung, one that starts at its surface and ends as wide.

    Beside them a tube that narrows from 12 mm2 at the surface to 0.8 mm2 stays.
    """
    out = np.array([1.0, 0.0, 0.0])
    wide, thin = np.sqrt(12.0 / np.pi), np.sqrt(0.8 / np.pi)
    narrowing = Tubes(
        np.array([-29.5 * out]), np.array([3.0 * out]), np.array([wide]), np.array([thin])
    )
    scars = {
        "free": straight_tube((2.0, -10.0, 8.0), (0.0, 1.0, 0.2), 24.0, 6.0),
        "on the pleura": straight_tube((18.0, 8.0, -6.0), (1.0, 0.0, 0.0), 24.0, 6.0),
    }
    true = sum(make_phantom(narrowing, noise_hu=0.0).volume_ml)
    image = make_phantom(narrowing.joined(scars[place]))
    drawn = sum(image.volume_ml) - true
    found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
    assert drawn > 0.1
    assert bins_ml(found).sum() == pytest.approx(true, abs=0.1 * drawn + 0.05 * true)


def test_a_short_branch_is_no_spicule(make_phantom):
    """It joins a vessel; so does one that a nodule sits on far from its parent."""
    parent = straight_tube((0.0, 0.0, 0.0), (1.0, 0.1, 0.0), 56.0, 8.0)
    branch = straight_tube((0.0, 5.0, 0.0), (0.3, 1.0, 0.2), 10.0, 2.5)
    nodule = Traps(nodules=(((1.8, 11.5, 1.2), 3.0),))
    image = make_phantom(parent.joined(branch), traps=nodule)
    found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
    off = np.linalg.norm(found.axis_ras_mm - (0.0, 5.0, 0.0), axis=1)
    assert (off < 2.0).any()
