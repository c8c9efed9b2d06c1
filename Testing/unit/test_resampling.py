"""Grid changes and the SimpleITK bridge: values stay where they are in the patient."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from lungperfusion.resampling import (
    from_sitk,
    geometry_from_sitk,
    labels_on,
    resample_array,
    resample_labelmap,
    resample_volume,
    to_sitk,
)
from lungperfusion.volume import Geometry, Labelmap, Volume


def ramp(geometry: Geometry) -> np.ndarray:
    """Values that rise linearly in the patient: linear interpolation must reproduce them."""
    r, a, s = (geometry.coordinate_mm(axis).astype(np.float64) for axis in "RAS")
    return (2 * r - 3 * a + 5 * s).astype(np.float32)


def inside(geometry: Geometry, target: Geometry) -> np.ndarray:
    """Voxels of the target whose centres lie between voxel centres of the grid."""
    k, j, i = np.indices(target.shape)
    ijk = geometry.ijk_from_ras(target.ras_from_ijk(np.stack([i, j, k], axis=-1)))
    last = np.array(geometry.shape[::-1]) - 1
    return ((ijk >= 0) & (ijk <= last)).all(axis=-1)


@pytest.fixture
def box() -> Volume:
    """A 20 mm cube of +100 HU in air, axial, 2 mm voxels."""
    geometry = Geometry.axial((24, 24, 24), (2.0, 2.0, 2.0), (23.0, 23.0, -23.0))
    array = np.full(geometry.shape, -1000, np.int16)
    array[7:17, 7:17, 7:17] = 100
    return Volume(array, geometry, "HU")


# SimpleITK bridge -----------------------------------------------------------------------------


def test_sitk_grid_is_lps(any_grid):
    image = to_sitk(np.zeros(any_grid.shape, np.int16), any_grid)

    for index in ((0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 0, 4), (6, 5, 4)):
        r, a, s = any_grid.ras_from_ijk(index)
        assert image.TransformIndexToPhysicalPoint(index) == pytest.approx((-r, -a, s))
    assert image.GetSize() == any_grid.shape[::-1]
    assert image.GetSpacing() == pytest.approx(any_grid.spacing_ijk_mm)


def test_geometry_survives_the_round_trip(any_grid):
    image = to_sitk(np.zeros(any_grid.shape, np.float32), any_grid)

    assert geometry_from_sitk(image).ijk_to_ras == pytest.approx(any_grid.ijk_to_ras)


def test_geometry_of_a_plain_sitk_image():
    image = sitk.Image([4, 3, 2], sitk.sitkInt16)  # an ITK image starts as LPS identity
    image.SetOrigin((1, 2, 3))
    image.SetSpacing((0.5, 0.6, 0.7))

    geometry = geometry_from_sitk(image)

    assert geometry.shape == (2, 3, 4)
    assert geometry.ijk_to_ras == pytest.approx(
        np.array([[-0.5, 0, 0, -1], [0, -0.6, 0, -2], [0, 0, 0.7, 3], [0, 0, 0, 1]])
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_values_survive_the_round_trip(dtype):
    geometry = Geometry.axial((2, 3, 4), (1.0, 1.0, 1.0))
    array = np.arange(24).reshape(geometry.shape).astype(dtype)

    back = from_sitk(to_sitk(array[:, ::-1], geometry))  # not contiguous on purpose

    assert back.dtype == dtype
    assert (back == array[:, ::-1]).all()


def test_masks_become_bytes():
    mask = np.zeros((2, 2, 2), np.bool_)
    mask[1, 0, 1] = True

    image = to_sitk(mask, Geometry.axial(mask.shape, (1.0, 1.0, 1.0)))

    assert image.GetPixelID() == sitk.sitkUInt8
    assert image[1, 0, 1] == 1


def test_from_sitk_is_a_copy():
    image = sitk.Image([2, 2, 2], sitk.sitkInt16)
    array = from_sitk(image)
    image[0, 0, 0] = 7

    assert array[0, 0, 0] == 0


# Resampling -----------------------------------------------------------------------------------


def test_linear_ramp_is_reproduced_from_any_grid(any_grid):
    target = Geometry.axial((12, 12, 12), (0.8, 0.8, 0.8), (12.0, -22.0, 45.0))

    sampled = resample_volume(Volume(ramp(any_grid), any_grid, "1"), target)

    covered = inside(any_grid, target)
    assert covered.sum() > 20
    assert sampled.array[covered] == pytest.approx(ramp(target)[covered], abs=1e-3)


def test_linear_ramp_is_reproduced_on_any_grid(any_grid):
    source = Geometry.axial((40, 40, 40), (1.0, 1.0, 1.0), (31.0, -3.0, 27.0))

    sampled = resample_volume(Volume(ramp(source), source, "1"), any_grid)

    assert inside(source, any_grid).all()
    assert sampled.array == pytest.approx(ramp(any_grid), abs=1e-3)
    assert sampled.valid is None


def test_cube_keeps_its_millilitres_on_an_oblique_grid(box, rotation):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation("R", 25) @ rotation("S", 40) * [0.9, 0.9, 1.1]
    matrix[:3, 3] = -matrix[:3, :3] @ [29.5, 29.5, 24.5]
    oblique = Geometry((50, 60, 60), matrix)

    labels = Labelmap((box.array > 0).astype(np.uint8), box.geometry, {1: "left_lung"})

    assert labels.volume_ml("left_lung") == pytest.approx(8.0)
    assert resample_labelmap(labels, oblique).volume_ml("left_lung") == pytest.approx(8.0, rel=0.01)


def test_nearest_invents_no_label(box):
    labels = Labelmap(
        np.where(box.array > 0, 40, 3).astype(np.uint8), box.geometry, {3: "a", 40: "b"}
    )

    finer = resample_labelmap(labels, box.geometry.with_spacing((0.7, 0.9, 1.3)))

    assert set(np.unique(finer.array)) == {3, 40}
    assert finer.array.dtype == np.uint8
    assert finer.names == labels.names


def test_linear_never_overshoots_and_keeps_the_type(box):
    sampled = resample_volume(box, box.geometry.with_spacing((0.7, 0.9, 1.3)))

    assert sampled.array.dtype == np.int16
    assert sampled.array.min() >= -1000
    assert sampled.array.max() <= 100


def test_outside_the_source_is_air_and_invalid(box):
    matrix = box.geometry.ijk_to_ras.copy()
    matrix[2, 3] += 30  # 15 of 24 slices higher
    higher = Geometry(box.geometry.shape, matrix)

    sampled = resample_volume(box, higher)

    assert (sampled.array[9:] == -1000).all()
    assert not sampled.valid[9:].any()
    assert sampled.valid[:9].all()
    assert (sampled.array[:9] == box.array[15:]).all()


def test_outside_the_source_other_units_are_zero(box):
    iodine = Volume(np.full(box.geometry.shape, 2.5, np.float32), box.geometry, "mg/mL")
    matrix = box.geometry.ijk_to_ras.copy()
    matrix[0, 3] += 1000
    elsewhere = Geometry(box.geometry.shape, matrix)

    assert (resample_volume(iodine, elsewhere).array == 0).all()
    assert (resample_volume(iodine, elsewhere, fill=-1).array == -1).all()
    assert not resample_volume(iodine, elsewhere).valid.any()


def test_padding_travels_with_the_image(box):
    valid = np.ones(box.geometry.shape, np.bool_)
    valid[:, :, :6] = False
    finer = box.geometry.with_spacing((1.0, 2.0, 2.0))

    sampled = resample_volume(Volume(box.array, box.geometry, "HU", valid), finer)

    assert sampled.valid.dtype == np.bool_
    assert not sampled.valid[:, :, :12].any()
    assert sampled.valid[:, :, 12:].all()


def test_same_grid_returns_the_object_itself(box):
    twin = Geometry(box.geometry.shape, box.geometry.ijk_to_ras)
    labels = Labelmap(np.zeros(twin.shape, np.uint8), box.geometry)

    assert resample_volume(box, twin) is box
    assert resample_labelmap(labels, twin) is labels
    assert (
        resample_array(box.array, twin, box.geometry, interpolation="linear", fill=0) is box.array
    )


def test_bspline_is_closer_than_linear_on_a_smooth_image():
    coarse = Geometry.axial((20, 20, 20), (3.0, 3.0, 3.0), (28.5, 28.5, -28.5))
    fine = Geometry.axial((20, 20, 20), (1.0, 1.0, 1.0), (9.5, 9.5, -9.5))

    def wave(geometry):
        r, a, s = (geometry.coordinate_mm(axis) for axis in "RAS")
        return np.sin(r / 4) * np.cos(a / 5) * np.sin(s / 6)

    error = {}
    for interpolation in ("linear", "bspline"):
        sampled = resample_volume(
            Volume(wave(coarse), coarse, "1"), fine, interpolation=interpolation
        )
        error[interpolation] = np.abs(sampled.array - wave(fine)).max()

    assert error["bspline"] < error["linear"] / 4


def test_voxel_order_does_not_matter(box):
    target = Geometry.axial((15, 15, 15), (1.7, 1.7, 1.7), (11.0, 12.0, -13.0))
    array = (box.array + np.arange(24)).astype(np.float32)
    expected = resample_volume(Volume(array, box.geometry, "HU"), target)

    matrix = box.geometry.ijk_to_ras @ np.array(
        [[0, 0, -1, 23], [1, 0, 0, 0], [0, -1, 0, 23], [0, 0, 0, 1]]
    )
    # new I runs along old J, new J against old K, new K against old I
    turned = np.ascontiguousarray(np.transpose(array[::-1, :, ::-1], (2, 0, 1)))
    sampled = resample_volume(Volume(turned, Geometry(turned.shape, matrix), "HU"), target)

    assert sampled.array == pytest.approx(expected.array, abs=1e-2)


def test_integers_are_rounded_not_cut():
    ramp = np.arange(-40, 40, dtype=np.int16).reshape(1, 1, -1).repeat(4, 0).repeat(4, 1)
    geometry = Geometry.axial(ramp.shape, (1.0, 1.0, 1.0))
    shifted = geometry.ijk_to_ras.copy()
    shifted[0, 3] -= 0.7
    target = Geometry((4, 4, 78), shifted)
    sampled = resample_volume(Volume(ramp, geometry, "HU"), target)
    assert sampled.array.dtype == np.int16
    np.testing.assert_array_equal(sampled.array[0, 0], np.arange(-39, 39))


def test_labels_of_another_grid_are_said_and_those_of_a_part_of_it_are_not():
    geometry = Geometry.axial((8, 9, 10), (1.0, 1.0, 2.0), (5.0, 6.0, 7.0))
    array = np.zeros(geometry.shape, np.uint8)
    array[3:6, 3:6, 3:6] = 1
    labels = Labelmap(array, geometry, {1: "blood"})
    part = (slice(2, 8), slice(1, 9), slice(0, 9))

    cropped, silent = labels_on(labels, geometry.crop(part), "of blood")
    _, back = labels_on(cropped, geometry, "of blood")
    shifted = Geometry.axial((8, 9, 10), (1.0, 1.0, 2.0), (5.4, 6.0, 7.0))
    moved, said = labels_on(labels, shifted, "of blood")
    _, thicker = labels_on(labels, Geometry.axial((8, 9, 10), (1.0, 1.0, 4.0)), "of blood")

    np.testing.assert_array_equal(cropped.array, array[part])
    assert silent == back == ()
    assert moved.array.any()
    (sentence,) = said
    assert "The label map of blood lies on another grid" in sentence
    assert len(thicker) == 1
