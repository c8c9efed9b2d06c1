"""Segmentation nodes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.io.writing import segment_colour, terminology_entry
from lungperfusion.labels import LabelImage, Segment
from lungperfusion.mrml.geometry import (
    image_array,
    matrix_to_world,
    oriented_image,
    paste,
    vtk_matrix,
)
from lungperfusion.mrml.names import LABELMAP
from lungperfusion.terms import LUNGS, STRUCTURES, title
from lungperfusion.volume import Geometry, Labelmap, Mask, bounding_box


def segment_mask(node: Any, identifier: str, geometry: Geometry) -> Mask:
    """Voxels of one segment on a grid (nearest voxel where grids differ), in world space."""
    image = slicer.vtkOrientedImageData()
    if not node.GetBinaryLabelmapRepresentation(identifier, image):
        return np.zeros(geometry.shape, np.bool_)
    mask = np.zeros(geometry.shape, np.bool_)
    if image.GetPointData().GetScalars() is None or not image.GetNumberOfPoints():
        return mask
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    to_world = matrix_to_world(node) @ slicer.util.arrayFromVTKMatrix(matrix)
    image.SetImageToWorldMatrix(vtk_matrix(to_world))
    own = Geometry(geometry.shape, to_world)
    if not own.same_as(geometry):
        resampled = slicer.vtkOrientedImageData()
        slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            image, oriented_image(geometry), resampled, False, False
        )
        image = resampled
    paste(mask, image_array(image) > 0, image.GetExtent())
    return mask


def labelmap_from_segmentation(
    node: Any, geometry: Geometry, labels: Mapping[str, int] | None = None
) -> Labelmap:
    """Label map of the segments of a node, found by their IDs.

    Parameters
    ----------
    node
        ``vtkMRMLSegmentationNode``.
    geometry
        Grid of the result, usually that of the CT.
    labels
        Segment IDs to take and their label values; None takes all segments, under the values of
        `lungperfusion.terms` where they have one.  Where segments overlap the later one wins.

    Raises
    ------
    InputError
        If none of the segments is there.

    """
    segmentation = node.GetSegmentation()
    present = list(segmentation.GetSegmentIDs())
    wanted = labels or _label_values(present)
    found = {name: value for name, value in wanted.items() if name in present}
    if not found:
        raise InputError(
            f"the segmentation {node.GetName()} has none of the segments {', '.join(wanted)}; "
            f"it has {', '.join(present) or 'none'}"
        )
    array = np.zeros(geometry.shape, np.min_scalar_type(max(found.values())))
    for name, value in found.items():
        array[segment_mask(node, name, geometry)] = value
    return Labelmap(array, geometry, {value: name for name, value in found.items()})


def _label_values(identifiers: Sequence[str]) -> dict[str, int]:
    """Label value of each segment ID: that of its structure, else the next free one."""
    values = {name: STRUCTURES[name].label for name in identifiers if name in STRUCTURES}
    taken = set(values.values())
    free = (number for number in range(1, 65536) if number not in taken)
    return {name: values.get(name) or next(free) for name in identifiers}


def labelimage_from_segmentation(node: Any, geometry: Geometry) -> LabelImage:
    """Segments with their names and codes, for `lungperfusion.segmentation.imports`.

    Segments that overlap come in layers of their own, so none hides another.
    """
    segmentation = node.GetSegmentation()
    masks, segments = [], []
    for number, identifier in enumerate(segmentation.GetSegmentIDs(), start=1):
        segment = segmentation.GetSegment(identifier)
        masks.append(segment_mask(node, identifier, geometry))
        codes = (*terminology_of(segment).split("~")[1:4], "", "", "")
        category, kind, modifier = ("" if code == "^^" else code for code in codes[:3])
        segments.append((identifier, segment.GetName(), number, category, kind, modifier))
    if not segments:
        raise InputError(f"the segmentation {node.GetName()} is empty; choose another one")
    layers: list[NDArray[np.uint8]] = []
    placed = []
    for mask, (identifier, name, number, category, kind, modifier) in zip(
        masks, segments, strict=True
    ):
        layer = next((n for n, known in enumerate(layers) if not known[mask].any()), len(layers))
        if layer == len(layers):
            layers.append(np.zeros(geometry.shape, np.uint8))
        layers[layer][mask] = number
        placed.append(
            Segment(
                id=identifier,
                name=name,
                label=number,
                layer=layer,
                category=category,
                type=kind,
                modifier=modifier,
            )
        )
    return LabelImage(
        array=layers[0] if len(layers) == 1 else np.stack(layers),
        geometry=geometry,
        segments=tuple(placed),
        metadata={},
        name=node.GetName(),
        sha256="",
    )


def terminology_of(segment: Any) -> str:
    """Terminology entry of a ``vtkSegment`` as text; empty when it has none."""
    text = vtk.reference("")
    return str(text) if segment.GetTag("TerminologyEntry", text) else ""


def show_labelmap(
    scene: Any, labelmap: Labelmap, name: str, *, node: Any = None, reference: Any = None
) -> Any:
    """Put a label map into a segmentation node with IDs, names, colours and codes.

    Parameters
    ----------
    scene
        ``vtkMRMLScene`` that holds the node.
    labelmap
        Labels; every name becomes a segment with that ID, also one without a voxel.
    name
        Name of a new node.
    node
        Node whose segments are replaced instead of making one.
    reference
        Volume node whose grid the segmentation keeps.

    """
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    elif shows(node, labelmap):
        return node
    node.CreateDefaultDisplayNodes()
    modifying = node.StartModify()
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(LABELMAP)
    node.RemoveClosedSurfaceRepresentation()  # else surfaces are made anew with every segment
    segmentation.RemoveAllSegments()
    if reference is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    identifiers = vtk.vtkStringArray()
    order = sorted(labelmap.names)
    for value in order:
        identifier = labelmap.names[value]
        segment_name = title(identifier)
        segmentation.AddEmptySegment(identifier, segment_name, list(segment_colour(identifier)))
        identifiers.InsertNextValue(identifier)
    # the i-th ID is bound to label i + 1, so labels are renumbered without gaps
    lookup = np.zeros(max(order, default=0) + 1, np.uint8)
    lookup[order] = np.arange(1, len(order) + 1)
    temporary = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "temporary")
    try:
        slicer.util.updateVolumeFromArray(temporary, lookup[labelmap.array])
        temporary.SetIJKToRASMatrix(vtk_matrix(labelmap.geometry.ijk_to_ras))
        slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(
            temporary, node, identifiers
        )
    finally:
        scene.RemoveNode(temporary)
    for value in order:
        segment = segmentation.GetSegment(labelmap.names[value])
        segment.SetTag("TerminologyEntry", terminology_entry(labelmap.names[value]))
        segment.SetColor(*segment_colour(labelmap.names[value]))
    node.EndModify(modifying)
    return node


def shows(node: Any, labelmap: Labelmap) -> bool:
    """Whether a segmentation has exactly the segments of a label map; then it is left alone."""
    segmentation = node.GetSegmentation()
    if set(segmentation.GetSegmentIDs()) != set(labelmap.names.values()):
        return False
    values = {name: value for value, name in labelmap.names.items()}
    if not values:
        return True
    shown = labelmap_from_segmentation(node, labelmap.geometry, values)
    return bool(np.array_equal(shown.array, labelmap.array))


def copy_segmentation(scene: Any, node: Any, name: str) -> Any:
    """Keep an unchangeable copy: hidden from selectors and views, saved with the scene."""
    copy = slicer.vtkMRMLSegmentationNode()
    copy.SetHideFromEditors(True)
    copy.SetName(name)
    # before it enters the scene, whose subject hierarchy would look for its segments
    copy.GetSegmentation().DeepCopy(node.GetSegmentation())
    copy = scene.AddNode(copy)
    copy.SetNodeReferenceID(
        copy.GetReferenceImageGeometryReferenceRole(),
        node.GetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole()),
    )
    hide_segmentation(copy)
    return copy


def hide_segmentation(node: Any) -> None:
    """Take a segmentation out of the views; without a display of its own it would get one."""
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetVisibility(False)


def restore_segmentation(node: Any, original: Any) -> None:
    """Give a segmentation the segments of its kept copy again."""
    node.GetSegmentation().DeepCopy(original.GetSegmentation())


def segment_centre_ras_mm(node: Any, identifier: str) -> tuple[float, float, float] | None:
    """Centre of a segment, on the segment itself where its centroid lies outside; else None."""
    image = slicer.vtkOrientedImageData()
    if not node.GetBinaryLabelmapRepresentation(identifier, image):
        return None
    if image.GetPointData().GetScalars() is None or not image.GetNumberOfPoints():
        return None
    inside = image_array(image) > 0
    if not inside.any():
        return None
    box = bounding_box(inside)
    voxels = np.argwhere(inside[box]) + [part.start for part in box]
    middle = voxels.mean(axis=0)
    nearest = voxels[np.argmin(((voxels - middle) ** 2).sum(axis=1))]
    extent = image.GetExtent()
    i, j, k = (float(nearest[2 - n] + extent[2 * n]) for n in range(3))
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    r, a, s, _ = matrix_to_world(node) @ slicer.util.arrayFromVTKMatrix(matrix) @ (i, j, k, 1.0)
    return float(r), float(a), float(s)


def reference_of(node: Any) -> Any:
    """Volume node whose grid a segmentation keeps; None where it names none."""
    return node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())


def lungs_mask(node: Any, geometry: Geometry) -> Mask:
    """Both lungs of a segmentation of this extension."""
    return labelmap_from_segmentation(node, geometry).mask(*LUNGS)
