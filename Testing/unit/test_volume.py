"""Geometry, Volume and Labelmap: any orientation, oblique and sheared, numbers by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lungperfusion.errors import GeometryMismatchError, InputError
from lungperfusion.volume import (
    GRID_TOLERANCE_MM,
    Geometry,
    Labelmap,
    Volume,
    bounding_box,
    lps_from_ras,
    present_labels,
)


def shifted(geometry: Geometry, offset_ras_mm: tuple[float, float, float]) -> Geometry:
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, 3] += offset_ras_mm
    return Geometry(geometry.shape, matrix)


# Geometry -------------------------------------------------------------------------------------


def test_axial_ct_runs_to_the_left_to_the_back_and_to_the_head():
    geometry = Geometry.axial((40, 30, 20), (0.5, 0.75, 2.0), (10.0, 20.0, 30.0))

    assert geometry.ras_from_ijk((0, 0, 0)).tolist() == [10, 20, 30]
    assert geometry.ras_from_ijk((1, 0, 0)).tolist() == [9.5, 20, 30]
    assert geometry.ras_from_ijk((0, 1, 0)).tolist() == [10, 19.25, 30]
    assert geometry.ras_from_ijk((0, 0, 1)).tolist() == [10, 20, 32]
    assert geometry.spacing_ijk_mm == (0.5, 0.75, 2.0)
    assert geometry.spacing_kji_mm == (2.0, 0.75, 0.5)
    assert geometry.voxel_volume_ml == pytest.approx(0.75e-3)


def test_oblique_spacing_and_position_by_hand():
    # I runs along (3, 4, 0)/5 with 5 mm, J along (-4, 3, 0)/5 with 10 mm, K up with 2 mm
    geometry = Geometry((2, 2, 2), [[3, -8, 0, 1], [4, 6, 0, 2], [0, 0, 2, 3], [0, 0, 0, 1]])

    assert geometry.spacing_ijk_mm == (5, 10, 2)
    assert geometry.voxel_volume_ml == pytest.approx(0.1)
    assert geometry.ras_from_ijk((2, 1, 4)).tolist() == [1 + 6 - 8, 2 + 8 + 6, 3 + 8]
    assert geometry.ijk_from_ras((-1, 16, 11)) == pytest.approx([2, 1, 4])


def test_shear_lengthens_the_axis_but_not_the_voxel_volume():
    # slices 3 mm apart that slip back by 4 mm each
    geometry = Geometry((2, 2, 2), [[-1, 0, 0, 0], [0, -1, -4, 0], [0, 0, 3, 0], [0, 0, 0, 1]])

    assert geometry.spacing_ijk_mm == (1, 1, 5)
    assert geometry.voxel_volume_ml == pytest.approx(3e-3)


def test_voxel_volume_is_the_same_in_every_orientation(any_grid):
    assert any_grid.voxel_volume_ml == pytest.approx(0.7 * 0.9 * 2.5 / 1000)


def test_index_and_position_are_inverse(any_grid):
    ijk = np.random.default_rng(1).uniform(-3, 9, (4, 5, 3))

    assert any_grid.ijk_from_ras(any_grid.ras_from_ijk(ijk)) == pytest.approx(ijk)
    assert any_grid.ras_from_ijk(ijk).shape == (4, 5, 3)


def test_coordinate_of_every_voxel_agrees_with_its_position(any_grid):
    k, j, i = np.indices(any_grid.shape)
    expected = any_grid.ras_from_ijk(np.stack([i, j, k], axis=-1))

    for column, axis in enumerate("RAS"):
        coordinate = any_grid.coordinate_mm(axis)
        assert coordinate.shape == any_grid.shape
        assert coordinate == pytest.approx(expected[..., column], abs=1e-4)


def test_coordinates_of_a_mask_are_those_of_all_voxels(any_grid):
    inside = np.random.default_rng(1).random(any_grid.shape) < 0.3
    inside[1] = False
    for axis in "RAS":
        found = any_grid.coordinate_at(inside, axis)
        np.testing.assert_array_equal(found, any_grid.coordinate_mm(axis)[inside])


def test_what_is_cut_out_holds_nothing_of_the_whole(any_grid):
    array = np.arange(np.prod(any_grid.shape), dtype=np.int16).reshape(any_grid.shape)
    whole = Volume(array, any_grid, "HU", array > 3)
    box = (slice(1, 3), slice(0, 2), slice(1, 4))

    part = whole.cut_out(box)

    assert not np.shares_memory(part.array, array)
    assert not np.shares_memory(part.valid, whole.valid)
    np.testing.assert_array_equal(part.array, array[box])
    np.testing.assert_array_equal(part.valid, whole.valid[box])
    assert part.geometry.same_as(any_grid.crop(box), tolerance_mm=0)


def test_corners_are_voxel_centres():
    geometry = Geometry.axial((3, 4, 5), (1.0, 2.0, 3.0))

    corners = geometry.corners_ras_mm()

    assert corners.shape == (8, 3)
    assert corners.min(axis=0).tolist() == [-4, -6, 0]
    assert corners.max(axis=0).tolist() == [0, 0, 6]


@pytest.mark.parametrize(
    ("directions", "expected"),
    [
        (np.diag([-1.0, -1, 1]), {"R": (2, -1), "A": (1, -1), "S": (0, 1)}),
        (np.eye(3), {"R": (2, 1), "A": (1, 1), "S": (0, 1)}),
        # coronal: I left, J down, K forward
        ([[-1, 0, 0], [0, 0, 1], [0, -1, 0]], {"R": (2, -1), "A": (0, 1), "S": (1, -1)}),
        # sagittal: I back, J down, K left
        ([[0, 0, -1], [-1, 0, 0], [0, -1, 0]], {"R": (0, -1), "A": (2, -1), "S": (1, -1)}),
    ],
    ids=["axial", "RAS", "coronal", "sagittal"],
)
def test_array_axis_toward_a_patient_axis(directions, expected):
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(directions) * [0.6, 0.7, 5.0]  # spacing must not decide
    geometry = Geometry((4, 4, 4), matrix)

    assert {axis: geometry.array_axis_toward(axis) for axis in "RAS"} == expected


@pytest.mark.parametrize("degrees", [30, 45, 60, 90, 135, 200, 315])
@pytest.mark.parametrize("about", ["R", "A", "S"])
def test_each_array_axis_answers_to_one_patient_axis(rotation, about, degrees):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(about, degrees)
    geometry = Geometry((3, 3, 3), matrix)

    assert {geometry.array_axis_toward(axis)[0] for axis in "RAS"} == {0, 1, 2}
    # the axis of rotation itself stays where it was
    assert geometry.array_axis_toward(about) == (2 - "RAS".index(about), 1)


def test_axes_that_compete_are_told_apart_by_direction_not_by_spacing():
    # J leans to R almost as much as I does, and its spacing is large; A is left to J
    directions = np.array([[0.80, 0.70, 0.00], [-0.60, 0.10, 0.20], [0.00, 0.707, 0.98]])
    matrix = np.eye(4)
    matrix[:3, :3] = directions * [0.5, 10.0, 0.5]
    geometry = Geometry((3, 3, 3), matrix)

    assert [geometry.array_axis_toward(axis) for axis in "RAS"] == [(2, 1), (1, 1), (0, 1)]


def test_axis_signs_follow_the_coordinate(any_grid):
    for axis in "RAS":
        array_axis, sign = any_grid.array_axis_toward(axis)
        steps = np.diff(any_grid.coordinate_mm(axis), axis=array_axis)
        assert (np.sign(steps) == sign).all()


def test_crop_keeps_voxels_where_they_are(any_grid):
    box = (slice(1, 4), slice(2, 6), slice(3, 5))

    cropped = any_grid.crop(box)

    assert cropped.shape == (3, 4, 2)
    assert cropped.ras_from_ijk((0, 0, 0)) == pytest.approx(any_grid.ras_from_ijk((3, 2, 1)))
    assert cropped.ras_from_ijk((1, 3, 2)) == pytest.approx(any_grid.ras_from_ijk((4, 5, 3)))


def test_crop_takes_negative_and_open_bounds():
    geometry = Geometry.axial((5, 6, 7), (1.0, 1.0, 1.0))

    cropped = geometry.crop((slice(-2, None), slice(None), slice(None, -3)))

    assert cropped.shape == (2, 6, 4)
    assert cropped.ras_from_ijk((0, 0, 0)).tolist() == [0, 0, 3]


def test_crop_refuses_steps_and_nothing():
    geometry = Geometry.axial((5, 6, 7), (1.0, 1.0, 1.0))

    with pytest.raises(ValueError, match="step 1"):
        geometry.crop((slice(0, 4, 2), slice(None), slice(None)))
    with pytest.raises(InputError, match="at least one voxel"):
        geometry.crop((slice(3, 3), slice(None), slice(None)))


def test_other_spacing_covers_the_same_field_of_view(any_grid):
    i, j, k = any_grid.spacing_ijk_mm

    finer = any_grid.with_spacing((i / 2, j / 2, k / 2))

    assert finer.shape == (10, 12, 14)
    for edge in ((-0.5, -0.5, -0.5), (6.5, 5.5, 4.5)):
        half = [2 * (index + 0.5) - 0.5 for index in edge]
        assert finer.ras_from_ijk(half) == pytest.approx(any_grid.ras_from_ijk(edge))


def test_other_spacing_keeps_the_centre_when_it_does_not_divide():
    geometry = Geometry.axial((10, 10, 10), (1.0, 1.0, 1.0), (5.0, 5.0, 5.0))

    coarser = geometry.with_spacing((3.0, 4.0, 20.0))

    assert coarser.shape == (1, 2, 3)  # 10/20 voxels are still one
    assert coarser.spacing_ijk_mm == (3, 4, 20)
    assert coarser.ras_from_ijk((1, 0.5, 0)) == pytest.approx(geometry.ras_from_ijk((4.5,) * 3))


def test_distance_is_that_of_the_worst_corner():
    geometry = Geometry.axial((11, 11, 11), (1.0, 1.0, 1.0))
    stretched = Geometry((11, 11, 11), np.diag([-1.0, -1.0, 1.1, 1.0]))

    assert geometry.distance_mm(stretched) == pytest.approx(1.0)
    assert geometry.distance_mm(shifted(geometry, (3, 4, 0))) == pytest.approx(5.0)
    assert geometry.distance_mm(geometry) == 0


def test_grids_within_tolerance_are_one_grid(any_grid):
    assert any_grid.same_as(shifted(any_grid, (0, 0, 0.9 * GRID_TOLERANCE_MM)))
    assert not any_grid.same_as(shifted(any_grid, (0, 0, 1.1 * GRID_TOLERANCE_MM)))
    assert any_grid.same_as(shifted(any_grid, (0, 3, 4)), tolerance_mm=5.01)


def test_tolerance_itself_is_still_the_same_grid():
    geometry = Geometry.axial((2, 2, 2), (1.0, 1.0, 1.0))

    assert geometry.same_as(shifted(geometry, (0.5, 0, 0)), tolerance_mm=0.5)


def test_require_same_says_how_far_apart():
    geometry = Geometry.axial((3, 4, 5), (1.0, 1.0, 1.0))

    geometry.require_same(geometry)
    with pytest.raises(GeometryMismatchError, match=r"^grids .* up to 5 mm apart .*resample"):
        geometry.require_same(shifted(geometry, (3, 4, 0)))
    with pytest.raises(
        GeometryMismatchError, match=r"^lobes: shapes differ: \(3, 4, 5\) and \(3, 4"
    ):
        geometry.require_same(geometry.crop((slice(None), slice(None), slice(1, 5))), what="lobes")


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5, 6), (0, 4, 5), (3, -1, 5)])
def test_refuses_shapes_that_are_no_volume(shape):
    with pytest.raises(InputError, match="three axes of at least one voxel"):
        Geometry(shape, np.eye(4))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3), "finite 4x4"),
        (np.full((4, 4), np.nan), "finite 4x4"),
        (np.diag([1, 1, np.inf, 1]), "finite 4x4"),
        (np.diag([1.0, 0, 1, 1]), "singular"),
        ([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "singular"),
    ],
    ids=["3x3", "NaN", "infinite", "no spacing", "parallel axes"],
)
def test_refuses_matrices_that_are_no_grid(matrix, message):
    with pytest.raises(InputError, match=message):
        Geometry((2, 2, 2), matrix)


def test_geometry_cannot_be_changed_from_outside():
    matrix = np.eye(4)
    geometry = Geometry((2, 2, 2), matrix)

    matrix[0, 0] = 5
    assert geometry.spacing_ijk_mm == (1, 1, 1)
    with pytest.raises(ValueError, match="read-only"):
        geometry.ijk_to_ras[0, 0] = 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        geometry.shape = (1, 1, 1)


def test_lps_and_back():
    assert lps_from_ras([[1, 2, 3], [-4, 5, -6]]).tolist() == [[-1, -2, 3], [4, -5, -6]]


# Volume ---------------------------------------------------------------------------------------


@pytest.fixture
def ct() -> Volume:
    geometry = Geometry.axial((2, 3, 4), (1.0, 1.0, 1.0))
    valid = np.ones(geometry.shape, np.bool_)
    valid[0, 0] = False
    return Volume(np.arange(24.0).reshape(geometry.shape), geometry, "HU", valid)


def test_padding_enters_no_statistic(ct):
    everything = np.ones(ct.geometry.shape, np.bool_)

    assert ct.values(everything).tolist() == list(range(4, 24))
    mask = np.zeros(ct.geometry.shape, np.bool_)
    mask[:, 0, 1] = True
    assert ct.values(mask).tolist() == [13]


def test_without_padding_every_voxel_counts(ct):
    whole = Volume(ct.array, ct.geometry, "HU")

    assert whole.values(np.ones(ct.geometry.shape, np.bool_)).size == 24


def test_volume_is_read_only(ct):
    with pytest.raises(ValueError, match="read-only"):
        ct.array[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        ct.valid[0, 0, 0] = True
    with pytest.raises(dataclasses.FrozenInstanceError):
        ct.unit = "1"


def test_making_a_volume_leaves_the_callers_array_writable():
    array = np.zeros((2, 2, 2))
    Volume(array, Geometry.axial((2, 2, 2), (1.0, 1.0, 1.0)), "HU")

    array[0, 0, 0] = 1


def test_volume_refuses_what_does_not_fit(ct):
    with pytest.raises(InputError, match=r"array has shape \(2, 3, 3\), its geometry \(2, 3, 4\)"):
        Volume(ct.array[..., :3], ct.geometry, "HU")
    with pytest.raises(InputError, match=r"valid has shape \(1, 3, 4\)"):
        Volume(ct.array, ct.geometry, "HU", ct.valid[:1])
    with pytest.raises(TypeError, match="boolean"):
        Volume(ct.array, ct.geometry, "HU", ct.valid.astype(np.uint8))


def test_require_unit(ct):
    ct.require_unit("HU", "the CT")
    with pytest.raises(InputError, match="iodine map must be in mg/mL, but its values are in HU"):
        ct.require_unit("mg/mL", "the iodine map")


def test_with_array_keeps_grid_and_padding(ct):
    doubled = ct.with_array(ct.array * 2)
    share = ct.with_array(ct.array / 24, unit="1")

    assert (doubled.unit, share.unit) == ("HU", "1")
    assert doubled.geometry is ct.geometry
    assert (doubled.valid == ct.valid).all()


def test_crop_of_a_volume_moves_array_padding_and_grid_together(ct):
    cropped = ct.crop((slice(0, 1), slice(0, 2), slice(1, 3)))

    assert cropped.array.tolist() == [[[1, 2], [5, 6]]]
    assert cropped.valid.tolist() == [[[False, False], [True, True]]]
    assert cropped.geometry.ras_from_ijk((0, 0, 0)).tolist() == [-1, 0, 0]
    assert Volume(ct.array, ct.geometry, "HU").crop((slice(1), slice(1), slice(1))).valid is None


# Labelmap -------------------------------------------------------------------------------------


@pytest.fixture
def lungs() -> Labelmap:
    array = np.zeros((2, 3, 4), np.uint8)
    array[0, 0, :3] = 1
    array[1, 2] = 2
    names = {1: "left_lung", 2: "right_lung", 3: "airways"}
    return Labelmap(array, Geometry.axial(array.shape, (2.0, 5.0, 10.0)), names)


def test_label_volumes_by_hand(lungs):
    assert lungs.volume_ml("left_lung") == pytest.approx(0.3)
    assert lungs.volume_ml("right_lung") == pytest.approx(0.4)
    assert lungs.volume_ml("left_lung", "right_lung") == pytest.approx(0.7)
    assert lungs.volume_ml("airways") == 0
    assert lungs.volume_ml("left_upper_lobe") == 0


def test_mask_of_names(lungs):
    assert np.argwhere(lungs.mask("left_lung")).tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2]]
    assert (lungs.mask("left_lung", "right_lung") == (lungs.array > 0)).all()
    assert lungs.mask("heart").shape == lungs.array.shape
    assert not lungs.mask("heart").any()
    assert lungs.mask("left_lung").dtype == np.bool_


def test_two_values_may_share_a_name():
    array = np.array([[[1, 2, 3]]], np.uint16)
    labels = Labelmap(array, Geometry.axial((1, 1, 3), (1.0, 1.0, 1.0)), {1: "a", 2: "b", 3: "a"})

    assert labels.mask("a").tolist() == [[[True, False, True]]]


def test_labelmap_volume_does_not_depend_on_voxel_order(lungs):
    matrix = lungs.geometry.ijk_to_ras[:, [2, 0, 1, 3]]  # I, J, K become the former K, I, J
    turned = np.transpose(lungs.array, (1, 2, 0))
    permuted = Labelmap(turned, Geometry(turned.shape, matrix), lungs.names)

    assert permuted.volume_ml("right_lung") == pytest.approx(lungs.volume_ml("right_lung"))


def test_labelmap_refuses_unnamed_and_signed_labels(lungs):
    with pytest.raises(InputError, match=r"label values \[2\] have no name; named are \[1\]"):
        Labelmap(lungs.array, lungs.geometry, {1: "left_lung"})
    with pytest.raises(TypeError, match="unsigned integers, not int16"):
        Labelmap(lungs.array.astype(np.int16), lungs.geometry, lungs.names)
    with pytest.raises(InputError, match="label array has shape"):
        Labelmap(lungs.array[:1], lungs.geometry, lungs.names)


def test_labelmap_is_read_only(lungs):
    with pytest.raises(ValueError, match="read-only"):
        lungs.array[0, 0, 0] = 2
    with pytest.raises(TypeError):
        lungs.names[1] = "right_lung"


def test_labelmap_crop_and_with_array(lungs):
    cropped = lungs.crop((slice(1, 2), slice(2, 3), slice(0, 2)))

    assert cropped.volume_ml("right_lung") == pytest.approx(0.2)
    assert cropped.names == lungs.names
    swapped = lungs.with_array(np.where(lungs.array == 1, 2, lungs.array).astype(np.uint8))
    assert swapped.volume_ml("right_lung") == pytest.approx(0.7)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_present_labels_in_every_width(dtype):
    array = np.zeros((3, 2, 2), dtype)
    array[0, 0, 0], array[2, 1, 1], array[1, 0, 1] = 200, 7, 7

    assert present_labels(array) == [7, 200]
    assert present_labels(np.zeros((2, 2, 2), dtype)) == []


# Bounding box ---------------------------------------------------------------------------------


def test_bounding_box_with_margin_stays_inside():
    mask = np.zeros((10, 10, 10), np.bool_)
    mask[2:5, 0, 9] = True

    assert bounding_box(mask) == (slice(2, 5), slice(0, 1), slice(9, 10))
    assert bounding_box(mask, (1, 2, 3)) == (slice(1, 6), slice(0, 3), slice(6, 10))
    assert mask[bounding_box(mask)].all()


def test_bounding_box_of_nothing_is_refused():
    with pytest.raises(ValueError, match="empty mask"):
        bounding_box(np.zeros((2, 2, 2), np.bool_))
