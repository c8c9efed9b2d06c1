"""Sequence nodes: the frames of a first pass, with their times as index values."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import slicer
import slicer.util
from numpy.typing import NDArray

from lungperfusion.dynamic.series import Frames, seconds_of, whole_hu
from lungperfusion.errors import InputError
from lungperfusion.mrml.geometry import geometry_from_node, matrix_to_world, vtk_matrix
from lungperfusion.mrml.nodes import nodes_of_class
from lungperfusion.volume import Geometry

CLASS = "vtkMRMLSequenceNode"
IMAGES = "vtkMRMLScalarVolumeNode"
BROWSER = "vtkMRMLSequenceBrowserNode"


def is_sequence(node: Any) -> bool:
    """Whether a node holds frames."""
    return node is not None and bool(node.IsA(CLASS))


def sequence_times_s(node: Any) -> NDArray[np.float64]:
    """Give the times of the frames in seconds from the first one, as the node states them.

    Raises
    ------
    InputError
        If the index is no time, has no unit of time, or holds no numbers.

    """
    name, unit = node.GetIndexName() or "", node.GetIndexUnit() or ""
    seconds = seconds_of(unit)
    is_time = not name or "time" in name.lower()
    if node.GetIndexType() != node.NumericIndex or seconds is None or not is_time:
        raise InputError(
            f"the frames of {node.GetName()} are told apart by {name or 'an index'} in "
            f"{unit or 'no unit'}; expected the time in s, ms or us: give a CSV file with the "
            "time of every frame in seconds"
        )
    words = [node.GetNthIndexValue(number) for number in range(node.GetNumberOfDataNodes())]
    try:
        times = np.array([float(word) for word in words], np.float64) * seconds
    except ValueError as error:
        raise InputError(
            f"the times of {node.GetName()} are no numbers ({', '.join(words[:3])} ...); give a "
            "CSV file with the time of every frame in seconds"
        ) from error
    return times - times[0] if times.size else times


def sequence_geometry(node: Any) -> Geometry:
    """Grid of the frames in world space; the frame that is shown may lie under a transform.

    Raises
    ------
    InputError
        If the node holds no images, or images on different grids.

    """
    if node.GetNumberOfDataNodes() == 0 or node.GetDataNodeClassName() != IMAGES:
        raise InputError(f"the sequence {node.GetName()} holds no images; choose another one")
    grids = [geometry_from_node(image) for image in _images(node)]
    other = next((n for n, grid in enumerate(grids) if not grid.same_as(grids[0])), None)
    if other is not None:
        raise InputError(
            f"frame {other + 1} of {node.GetName()} lies on another grid than the first one; "
            "expected frames of one place and size"
        )
    shown = shown_frame(node)
    if shown is None:
        return grids[0]
    return Geometry(grids[0].shape, matrix_to_world(shown) @ grids[0].ijk_to_ras)


def grid_of(node: Any) -> Geometry:
    """Grid of a volume node, or of the frames of a sequence."""
    return sequence_geometry(node) if is_sequence(node) else geometry_from_node(node)


def sequence_planes(node: Any) -> Iterator[NDArray[np.int16]]:
    """Planes of the frames in HU, shape (J, I), of one frame after the other.

    Raises
    ------
    InputError
        If a voxel is not a number.

    """
    for number, image in enumerate(_images(node)):
        for plane in slicer.util.arrayFromVolume(image):
            if plane.dtype.kind == "f" and not np.isfinite(plane).all():
                raise InputError(
                    f"frame {number + 1} of {node.GetName()} holds voxels that are not a number; "
                    "expected CT in HU"
                )
            yield whole_hu(plane)


def shown_frame(node: Any) -> Any:
    """Volume node that shows the chosen frame of a sequence; None where no browser has it."""
    browsers = nodes_of_class(node.GetScene(), BROWSER)
    shown = (browser.GetProxyNode(node) for browser in browsers)
    return next((proxy for proxy in shown if proxy is not None), None)


def browse(node: Any) -> Any:
    """Volume node that shows the chosen frame; a browser is made where the sequence has none.

    The application makes the volume when a browser has got its sequence.
    """
    shown = shown_frame(node)
    if shown is None:
        name = f"{node.GetName()} browser"
        browser = node.GetScene().AddNewNodeByClass(BROWSER, name)
        browser.SetAndObserveMasterSequenceNodeID(node.GetID())
        shown = browser.GetProxyNode(node)
    return shown


def frames_from_sequence(node: Any) -> Frames:
    """Take the frames of a sequence node with their times."""
    geometry = sequence_geometry(node)
    times = np.repeat(sequence_times_s(node)[:, None], geometry.shape[0], axis=1)
    array = np.stack(list(sequence_planes(node))).reshape(-1, *geometry.shape)
    return Frames(array, geometry, times)


def show_frames(
    scene: Any, frames: Frames, name: str, *, node: Any = None, hidden: bool = False
) -> Any:
    """Put frames into a sequence node, with their times in seconds.

    Parameters
    ----------
    scene
        ``vtkMRMLScene`` for a new node.
    frames
        Images to show.
    name
        Name of a new node.
    node
        Node to update instead of making one.
    hidden
        Whether selectors leave a new node out.

    """
    if node is None:
        node = slicer.vtkMRMLSequenceNode()
        node.SetName(name)
        node.SetHideFromEditors(hidden)
        node = scene.AddNode(node)
    node.RemoveAllDataNodes()
    node.SetIndexName("time")
    node.SetIndexUnit("s")
    for image, at in zip(frames.array, frames.moments_s, strict=True):
        volume = slicer.vtkMRMLScalarVolumeNode()
        slicer.util.updateVolumeFromArray(volume, np.ascontiguousarray(image))
        volume.SetIJKToRASMatrix(vtk_matrix(frames.geometry.ijk_to_ras))
        node.SetDataNodeAtValue(volume, f"{round(float(at), 4):.10g}")
    return node


def _images(node: Any) -> Iterator[Any]:
    return (node.GetNthDataNode(number) for number in range(node.GetNumberOfDataNodes()))
