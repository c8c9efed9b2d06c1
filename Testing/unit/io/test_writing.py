"""Maps and segmentations keep values, places and meaning, byte for byte."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from lungperfusion.errors import InputError
from lungperfusion.io import (
    read_labelmap,
    read_map,
    read_segmentation,
    write_labelmap,
    write_volume,
)
from lungperfusion.terms import STRUCTURES
from lungperfusion.volume import Geometry, Labelmap, Volume

NAMES = {1: "left_lung", 2: "right_lung", 7: "left_upper_zone", 300: "something_else"}


@pytest.fixture
def labelmap(any_grid: Geometry) -> Labelmap:
    array = np.random.default_rng(0).choice([0, 1, 2, 300], any_grid.shape).astype(np.uint16)
    return Labelmap(array, any_grid, NAMES)


@pytest.mark.parametrize("dtype", ["i2", "u2", "u1", "f4", "f8", "i4", ">i2"])
def test_values_and_grid_survive(tmp_path, any_grid, dtype):
    array = np.random.default_rng(1).integers(0, 200, any_grid.shape).astype(dtype)
    path = tmp_path / "map.nrrd"
    write_volume(Volume(array, any_grid, "mg/mL"), path)
    image = sitk.ReadImage(str(path))
    assert image.GetMetaData("Unit") == "mg/mL"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), array)
    back = read_map(path, unit="mg/mL").volume
    assert back.geometry.distance_mm(any_grid) < 1e-9


def test_views_and_flips_are_written_right(tmp_path, grid):
    array = np.arange(grid.shape[0] * 480, dtype=np.float32).reshape(grid.shape)[:, ::-1, ::-1]
    write_volume(Volume(array, grid, "1"), tmp_path / "map.nrrd")
    back = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "map.nrrd")))
    np.testing.assert_array_equal(back, array)


def test_boolean_arrays_are_no_maps(tmp_path, grid):
    with pytest.raises(TypeError, match="holds no bool values"):
        write_volume(Volume(np.ones(grid.shape, bool), grid, "1"), tmp_path / "map.nrrd")
    assert list(tmp_path.iterdir()) == []


def test_segmentation_survives(tmp_path, labelmap):
    path = tmp_path / "lungs.seg.nrrd"
    write_labelmap(labelmap, path)
    back = read_segmentation(path)
    assert dict(back.names) == NAMES
    np.testing.assert_array_equal(back.array, labelmap.array)
    assert back.geometry.distance_mm(labelmap.geometry) < 1e-9


def test_segments_say_what_they_are(tmp_path, grid):
    array = np.zeros(grid.shape, np.uint8)
    array[1:3, 4:9, 5] = 1
    write_labelmap(Labelmap(array, grid, {1: "left_lung", 9: "foo_bar"}), tmp_path / "a.seg.nrrd")
    image = read_labelmap(tmp_path / "a.seg.nrrd")
    lung, other = image.segments
    assert (lung.id, lung.name, lung.label, lung.layer) == ("left_lung", "Left lung", 1, 0)
    assert lung.type == "SCT^39607008^Lung"
    assert lung.modifier == "SCT^7771000^Left"
    assert lung.tags["TerminologyEntry"] == (
        "Segmentation category and type - DICOM master list"
        "~SCT^123037004^Anatomical Structure~SCT^39607008^Lung~SCT^7771000^Left"
        "~Anatomic codes - DICOM master list~^^~^^"
    )
    assert (other.id, other.name, other.type) == ("foo_bar", "Foo bar", "SCT^85756007^Tissue")
    fields = image.metadata
    assert fields["Segment0_Extent"] == "5 5 4 8 1 2"
    assert fields["Segment1_Extent"] == "0 -1 0 -1 0 -1"
    colour = [float(part) for part in fields["Segment0_Color"].split()]
    assert colour == pytest.approx(STRUCTURES["left_lung"].colour)
    assert image.mask(lung).sum() == 10


def test_same_input_same_bytes(tmp_path, labelmap):
    for name in ("a", "b"):
        write_labelmap(labelmap, tmp_path / f"{name}.seg.nrrd")
        write_volume(Volume(labelmap.array, labelmap.geometry, "1"), tmp_path / f"{name}.nrrd")
    for suffix in (".seg.nrrd", ".nrrd"):
        first, second = ((tmp_path / f"{n}{suffix}").read_bytes() for n in "ab")
        assert first == second
    header, voxels = first.split(b"\n\n", 1)
    assert b"-0.0" not in header
    assert gzip.decompress(voxels) == labelmap.array.astype("<u2").tobytes()


def test_segmentation_needs_its_suffix(tmp_path, labelmap):
    with pytest.raises(InputError, match=r"must end in \.seg\.nrrd, not lungs\.nrrd"):
        write_labelmap(labelmap, tmp_path / "lungs.nrrd")


def test_plain_label_map_names_its_values(tmp_path, grid, write_image):
    array = np.zeros(grid.shape, np.int16)
    array[2] = 12
    array[3] = 4
    image = read_labelmap(write_image(tmp_path / "lobes.nii.gz", array, grid))
    assert [(segment.id, segment.label) for segment in image.segments] == [
        ("label_4", 4),
        ("label_12", 12),
    ]
    assert image.array.dtype == np.uint8
    assert image.geometry.same_as(grid)


def test_floats_that_are_whole_are_labels(tmp_path, grid, write_image):
    array = np.zeros(grid.shape, np.float32)
    array[2] = 3
    image = read_labelmap(write_image(tmp_path / "lobes.mha", array, grid))
    assert image.array.dtype == np.uint8


def test_one_label_for_two_segments_is_refused(tmp_path, grid):
    array = np.zeros(grid.shape, np.uint8)
    array[0] = 1
    path = tmp_path / "a.seg.nrrd"
    write_labelmap(Labelmap(array, grid, {1: "left_lung", 2: "right_lung"}), path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"Segment1_LabelValue:=2", b"Segment1_LabelValue:=1"))
    with pytest.raises(InputError, match="gives one label value to several segments"):
        read_segmentation(path)


@pytest.mark.real
def test_real_label_map(real_data):
    image = read_labelmap(real_data / "chest_64" / "lm-64.nrrd")
    assert image.array.shape == (79, 64, 64)
    assert {"label_9", "label_14"} <= {segment.id for segment in image.segments}
