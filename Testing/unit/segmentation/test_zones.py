"""Zones, halves, core and rim on boxes whose thirds can be counted by hand."""

import numpy as np
import pytest

from lungperfusion.segmentation.zones import label_halves, label_shells, label_zones
from lungperfusion.terms import STRUCTURES
from lungperfusion.volume import Geometry, Labelmap

NAMES = {1: "left_lung", 2: "right_lung", 3: "airways"}


def two_boxes(left_height=30, right_height=60, spacing=(2.0, 2.0, 2.0)):
    """Two box lungs, 40 x 40 mm wide, of given heights (in 2 mm slices of an axial grid)."""
    array = np.zeros((70, 24, 60), np.uint8)
    array[5 : 5 + right_height, 2:22, 5:25] = 2
    array[5 : 5 + left_height, 2:22, 35:55] = 1
    return Labelmap(array, Geometry.axial(array.shape, spacing, (60.0, 20.0, -70.0)), NAMES)


def permuted(labelmap, order, flips):
    """Store the same patient with other array axes and directions."""
    array = labelmap.array
    matrix = labelmap.geometry.ijk_to_ras.copy()
    for axis in flips:
        array = np.flip(array, axis)
        column = 2 - axis
        matrix[:3, 3] += matrix[:3, column] * (labelmap.array.shape[axis] - 1)
        matrix[:3, column] *= -1
    array = array.transpose(order)
    columns = matrix[:3, :3][:, ::-1][:, list(order)][:, ::-1]
    matrix = matrix.copy()
    matrix[:3, :3] = columns
    return Labelmap(np.ascontiguousarray(array), Geometry(array.shape, matrix), labelmap.names)


def core_and_rim(lungs):
    return label_shells(lungs)[0]


def subpleural(lungs):
    return label_shells(lungs)[1]


def test_thirds_have_equal_height_in_each_lung():
    zones = label_zones(two_boxes())
    heights = {}
    for name in zones.names.values():
        heights[name] = int(zones.mask(name).any(axis=(1, 2)).sum())
    assert heights == {
        "left_upper_zone": 10,
        "left_middle_zone": 10,
        "left_lower_zone": 10,
        "right_upper_zone": 20,
        "right_middle_zone": 20,
        "right_lower_zone": 20,
    }
    assert zones.array[5, 10, 10] == STRUCTURES["right_lower_zone"].label
    assert zones.array[64, 10, 10] == STRUCTURES["right_upper_zone"].label


def test_zones_leave_airways_and_background_alone():
    lungs = two_boxes()
    array = lungs.array.copy()
    array[20:40, 10, 10] = 3
    zones = label_zones(lungs.with_array(array))
    assert not zones.array[(array == 0) | (array == 3)].any()
    assert zones.array[(array == 1) | (array == 2)].all()


def test_volume_thirds_of_a_tapering_lung():
    lungs = two_boxes()
    array = lungs.array.copy()
    array[35:65, 12:, 5:25] = 0  # the upper half of the right lung is half as deep
    lungs = lungs.with_array(array)
    by_volume = label_zones(lungs, rule="volume")
    volumes = [by_volume.volume_ml(f"right_{part}_zone") for part in ("upper", "middle", "lower")]
    assert max(volumes) - min(volumes) <= 20 * 20 * 0.008  # one slice
    by_height = label_zones(lungs, rule="height")
    assert by_height.volume_ml("right_upper_zone") < 0.6 * by_height.volume_ml("right_lower_zone")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(), (0,), (0, 1), (2,)])
@pytest.mark.parametrize("divide", [label_zones, label_halves, core_and_rim, subpleural])
def test_regions_do_not_depend_on_array_order(divide, order, flips):
    lungs = two_boxes()
    expected = permuted(divide(lungs), order, flips)
    np.testing.assert_array_equal(divide(permuted(lungs, order, flips)).array, expected.array)


def test_zones_follow_the_patient_on_an_oblique_grid():
    lungs = two_boxes()
    angle = np.deg2rad(20)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    geometry = Geometry(lungs.geometry.shape, tilt @ lungs.geometry.ijk_to_ras)
    zones = label_zones(Labelmap(lungs.array, geometry, NAMES))
    height = geometry.coordinate_mm("S")
    upper, lower = zones.mask("right_upper_zone"), zones.mask("right_lower_zone")
    middle = zones.mask("right_middle_zone")
    assert (
        height[upper].min() >= height[middle].max() >= height[middle].min() >= height[lower].max()
    )


def test_halves_are_front_and_back():
    halves = label_halves(two_boxes())
    assert halves.volume_ml("anterior_half") == pytest.approx(halves.volume_ml("posterior_half"))
    assert halves.array[10, 3, 10] == STRUCTURES["anterior_half"].label


def test_rim_thickness_in_mm_on_anisotropic_voxels():
    array = np.zeros((32, 60, 60), np.uint8)
    array[1:31, 5:55, 5:55] = 1
    geometry = Geometry.axial(array.shape, (1.0, 1.0, 2.5))
    shells, _ = label_shells(Labelmap(array, geometry, {1: "left_lung"}), rim_mm=10.0)
    core = shells.mask("core")
    # distances are between voxel centres: voxels at 10.0 mm belong to the rim
    assert core.any(axis=(1, 2)).sum() == 30 - 2 * 4
    assert core.any(axis=(0, 1)).sum() == 50 - 2 * 10


def test_rim_as_a_share_of_each_lung_and_the_shell_beside_it():
    array = np.zeros((50, 50, 90), np.uint8)
    array[5:45, 5:45, 5:45] = 2
    array[15:35, 15:35, 60:80] = 1  # half as wide
    lungs = Labelmap(array, Geometry.axial(array.shape, (1.0, 1.0, 1.0)), NAMES)
    shells, subpleural = label_shells(lungs, rim_fraction=0.5, subpleural_mm=3.0)

    for label, width in ((2, 40), (1, 20)):
        lung = array == label
        share = np.count_nonzero(shells.mask("rim") & lung) / lung.sum()
        layer = 6 / width  # one more layer of voxels is about this share of a cube
        assert 0.5 <= share < 0.5 + layer
        shell = np.count_nonzero(subpleural.mask("subpleural_shell") & lung)
        assert shell == width**3 - (width - 6) ** 3


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"rim_fraction": 1.0}, "between 0 and 1, not 1"),
        ({"subpleural_mm": 0.0}, "subpleural shell must be thicker than 0 mm"),
    ],
)
def test_refuses_shells_of_no_size(sizes, message):
    with pytest.raises(ValueError, match=message):
        label_shells(two_boxes(), **sizes)


def test_airways_make_no_rim():
    lungs = two_boxes()
    array = lungs.array.copy()
    array[20:50, 11:13, 14:16] = 3
    with_airway, _ = label_shells(lungs.with_array(array), rim_mm=8.0)
    without, _ = label_shells(lungs, rim_mm=8.0)
    tissue = array > 0
    tissue &= array != 3
    np.testing.assert_array_equal(with_airway.array[tissue], without.array[tissue])


def test_image_border_is_no_pleura():
    array = np.ones((30, 30, 30), np.uint8)
    array[:, :, 20:] = 0
    lungs = Labelmap(array, Geometry.axial(array.shape, (2, 2, 2)), {1: "left_lung"})
    shells, _ = label_shells(lungs, rim_mm=10.0)
    assert shells.array[0, 0, 0] == STRUCTURES["core"].label
    assert shells.array[15, 15, 19] == STRUCTURES["rim"].label


def test_a_missing_lung_has_no_zone():
    lungs = two_boxes()
    zones = label_zones(lungs.with_array(np.where(lungs.array == 1, 0, lungs.array)))
    assert zones.volume_ml("left_upper_zone") == 0
    assert zones.volume_ml("right_upper_zone") > 0


def test_refuses_a_rim_of_no_thickness():
    with pytest.raises(ValueError, match="thicker than 0 mm"):
        label_shells(two_boxes(), rim_mm=0)
