"""First-pass series between files, this package and 3D Slicer's own sequences."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.dynamic.series import Frames
from lungperfusion.errors import InputError
from lungperfusion.io.time_series import read_time_series
from lungperfusion.io.writing import write_time_series
from lungperfusion.volume import Geometry

slicer = pytest.importorskip("slicer", reason="needs slicer-core")

from lungperfusion import mrml  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:Setting the shape on a NumPy array:DeprecationWarning"
)

GRID = Geometry.axial((4, 6, 5), (2.0, 2.0, 3.0), (8.0, 10.0, -20.0))
TIMES_S = np.array([0.0, 1.5, 3.0, 4.5, 6.0, 7.7, 9.2, 10.7, 12.2])


@pytest.fixture
def scene():
    scene = slicer.vtkMRMLScene()
    yield scene
    scene.Clear(True)


@pytest.fixture
def frames():
    column = np.where(np.arange(GRID.shape[2]) < 3, -900, 40)
    voxels = np.arange(TIMES_S.size * np.prod(GRID.shape)).reshape(-1, *GRID.shape) % 37 + column
    times = np.repeat(TIMES_S[:, None], GRID.shape[0], axis=1)
    return Frames(voxels.astype(np.int16), GRID, times)


def storage(path):
    node = slicer.vtkMRMLVolumeSequenceStorageNode()
    node.SetFileName(str(path))
    return node


@pytest.mark.parametrize("compressed", [True, False])
def test_slicer_opens_a_series_with_its_times(tmp_path, scene, frames, compressed):
    path = tmp_path / "pass.seq.nrrd"
    write_time_series(frames.array, GRID, frames.times_s, path, compressed=compressed)
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode")
    reader = storage(path)
    scene.AddNode(reader)
    assert reader.ReadData(node) == 1
    assert (node.GetIndexName(), node.GetIndexUnit()) == ("time", "s")
    assert mrml.sequence_times_s(node) == pytest.approx(TIMES_S)
    assert np.array_equal(mrml.frames_from_sequence(node).array, frames.array)
    assert mrml.sequence_geometry(node).same_as(GRID)


def set_times(node, unit, values):
    """Give the frames other times, the last first so that none meets its neighbour."""
    node.SetIndexUnit(unit)
    for number in reversed(range(TIMES_S.size)):
        node.UpdateIndexValue(node.GetNthIndexValue(number), f"{values[number]:g}")


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 1000)])
def test_a_series_that_slicer_saved_is_read_with_its_times(
    tmp_path, scene, frames, unit, per_second
):
    node = mrml.show_frames(scene, frames, "pass")
    set_times(node, unit, per_second * TIMES_S)
    path = tmp_path / "pass.seq.nrrd"
    assert storage(path).WriteData(node) == 1
    scan = read_time_series(path)
    assert scan.series.moments_s == pytest.approx(TIMES_S)
    assert np.array_equal(scan.series.array, frames.array)
    assert scan.series.geometry.same_as(GRID)


def test_a_saved_series_without_a_unit_of_time_is_refused(tmp_path, scene, frames):
    node = mrml.show_frames(scene, frames, "pass")
    node.SetIndexUnit("")
    path = tmp_path / "pass.seq.nrrd"
    assert storage(path).WriteData(node) == 1
    with pytest.raises(InputError, match="does not say when its frames were taken"):
        read_time_series(path)


@pytest.mark.parametrize(
    ("name", "unit", "said"),
    [("frame", "", "frame in no unit"), ("time", "mm", "time in mm"), ("frame", "s", "frame in s")],
)
def test_an_index_that_is_no_time_is_refused(scene, frames, name, unit, said):
    node = mrml.show_frames(scene, frames, "pass")
    node.SetIndexName(name)
    node.SetIndexUnit(unit)
    with pytest.raises(InputError, match=f"told apart by {said}; expected the time"):
        mrml.sequence_times_s(node)


def test_times_that_are_words_are_refused(scene, frames):
    node = mrml.show_frames(scene, frames, "pass")
    node.SetIndexType(node.TextIndex)
    node.UpdateIndexValue(node.GetNthIndexValue(0), "first")
    with pytest.raises(InputError, match="expected the time in s"):
        mrml.sequence_times_s(node)
    node.SetIndexType(node.NumericIndex)
    with pytest.raises(InputError, match="are no numbers"):
        mrml.sequence_times_s(node)


def test_times_in_milliseconds_start_at_0(scene, frames):
    node = mrml.show_frames(scene, frames, "pass")
    node.SetIndexName("Acquisition Time")
    set_times(node, "ms", 1000 * TIMES_S + 500)
    assert mrml.sequence_times_s(node) == pytest.approx(TIMES_S)


def test_frames_of_another_place_and_of_no_images_are_refused(scene, frames):
    node = mrml.show_frames(scene, frames, "pass")
    node.GetNthDataNode(4).SetOrigin(0.0, 0.0, 5.0)
    with pytest.raises(InputError, match="frame 5 of pass lies on another grid"):
        mrml.sequence_geometry(node)
    empty = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "empty")
    with pytest.raises(InputError, match="empty holds no images"):
        mrml.sequence_geometry(empty)


def test_frames_in_floating_point_become_whole_hu(scene, frames):
    node = mrml.show_frames(scene, frames, "pass")
    image = node.GetNthDataNode(2)
    values = frames.array[2].astype(np.float32) + 0.4
    values[0, 0, 0] = -3024
    slicer.util.updateVolumeFromArray(image, values)
    found = mrml.frames_from_sequence(node).array[2]
    assert found[0, 0, 0] == -1024
    assert np.array_equal(found.ravel()[1:], frames.array[2].ravel()[1:])
    values[1, 1, 1] = np.nan
    slicer.util.updateVolumeFromArray(image, values)
    with pytest.raises(InputError, match="frame 3 of pass holds voxels that are not a number"):
        mrml.frames_from_sequence(node)
