"""MRML nodes to the objects of this package, and back.

Works in the application and with the Python package ``slicer-core``: nodes and scenes are given,
nothing here asks for the application.  Positions are RAS mm on both sides, so matrices pass
unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from lungperfusion.errors import InputError
from lungperfusion.io.writing import segment_colour, terminology_entry
from lungperfusion.labels import LabelImage, Segment
from lungperfusion.measurement import Measurement
from lungperfusion.results.colours import ColourClasses, Colours
from lungperfusion.terms import LUNGS, MEASURES, STRUCTURES, Region, title
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume, bounding_box

ATTRIBUTE_PREFIX = "LungPerfusion."
"""Start of the names of all node attributes and singleton tags of this extension."""

LABELMAP = "Binary labelmap"
CLOSED_SURFACE = "Closed surface"

COLOURS_PER_TABLE = 256

PADDING_HU = -3024.0
"""Common padding value of CT outside the scan field; read back as padding."""

UNIT_CODES = {
    "HU": ("[hnsf'U]", "UCUM", "Hounsfield unit"),
    "mg/mL": ("mg/mL", "UCUM", "mg/mL"),
    "mL/mL": ("mL/mL", "UCUM", "mL/mL"),
    "mm": ("mm", "UCUM", "millimeter"),
    "1": ("1", "UCUM", "no units"),
    "%": ("%", "UCUM", "percent"),
}
"""Units of voxel values as coded entries: value, scheme, meaning."""


# ------------------------------------------------------------------------------------ geometry


def geometry_from_node(node: Any) -> Geometry:
    """Grid of a volume node in world space.

    Raises
    ------
    InputError
        If the node holds no image, or lies under a transform that is not linear.

    """
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0:
        raise InputError(f"the volume {node.GetName()} holds no image; choose another one")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    to_world = _matrix_to_world(node)
    i, j, k = image.GetDimensions()
    return Geometry((k, j, i), to_world @ slicer.util.arrayFromVTKMatrix(matrix))


def _matrix_to_world(node: Any) -> NDArray[np.float64]:
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    matrix = vtk.vtkMatrix4x4()
    if not transform.IsTransformToWorldLinear():
        raise InputError(
            f"{node.GetName()} lies under the transform {transform.GetName()}, which is not "
            "linear; harden the transform first (Data module, right click on the transform)"
        )
    transform.GetMatrixTransformToWorld(matrix)
    return np.asarray(slicer.util.arrayFromVTKMatrix(matrix))


def vtk_matrix(matrix: NDArray[np.float64]) -> Any:
    """Convert a 4x4 array to a ``vtkMatrix4x4``."""
    return slicer.util.vtkMatrixFromArray(np.asarray(matrix, dtype=np.float64))


def oriented_image(
    geometry: Geometry, extent: Sequence[int] | None = None, *, allocate: bool = True
) -> Any:
    """Make an empty label image on a grid, or on a part of it given as a VTK extent."""
    image = slicer.vtkOrientedImageData()
    k, j, i = geometry.shape
    image.SetExtent(*(extent or (0, i - 1, 0, j - 1, 0, k - 1)))
    image.SetImageToWorldMatrix(vtk_matrix(geometry.ijk_to_ras))
    if allocate:
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        image.GetPointData().GetScalars().Fill(0)
    return image


def image_array(image: Any) -> NDArray[Any]:
    """View of the voxels of a ``vtkImageData``, shape (K, J, I)."""
    return np.asarray(
        vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    )


# ------------------------------------------------------------------------------------- volumes


def volume_from_node(node: Any, unit: str) -> Volume:
    """Take the image of a scalar volume node; NaN becomes invalid.

    Parameters
    ----------
    node
        ``vtkMRMLScalarVolumeNode``, possibly under a linear transform.
    unit
        Unit of its values.

    Returns
    -------
    Volume
        A copy: later edits of the node do not reach it.

    """
    geometry = geometry_from_node(node)
    array = np.array(slicer.util.arrayFromVolume(node))
    valid: Mask | None = None
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
        finite = np.isfinite(array)
        if not finite.all():
            array[~finite] = 0
            valid = finite
    return Volume(array, geometry, unit, valid)


def show_volume(scene: Any, volume: Volume, name: str, *, node: Any = None) -> Any:
    """Put an image into a scalar volume node; voxels without a measurement become NaN.

    Parameters
    ----------
    scene
        ``vtkMRMLScene`` for a new node.
    volume
        Image to show.
    name
        Name of a new node.
    node
        Node to update instead of making one.

    """
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        node.CreateDefaultDisplayNodes()
    array = volume.array
    if volume.valid is not None and volume.unit != "HU":
        array = np.where(volume.valid, array, np.float32(np.nan)).astype(np.float32)
    elif array.dtype == np.bool_ or array.dtype.itemsize == 8:
        array = array.astype(np.float32)
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array))
    node.SetIJKToRASMatrix(vtk_matrix(volume.geometry.ijk_to_ras))
    if volume.unit in UNIT_CODES:
        code = slicer.vtkCodedEntry()
        code.SetValueSchemeMeaning(*UNIT_CODES[volume.unit])
        node.SetVoxelValueUnits(code)
    node.SetAttribute(ATTRIBUTE_PREFIX + "unit", volume.unit)
    return node


def masked(volume: Volume, mask: Mask) -> Volume:
    """Restrict an image to a region: elsewhere a viewer shows nothing."""
    valid = mask if volume.valid is None else mask & volume.valid
    return Volume(volume.array, volume.geometry, volume.unit, valid)


def with_padding(volume: Volume) -> Volume:
    """Fill what was not measured with the padding value that files of CT and maps carry."""
    fill = PADDING_HU if volume.unit == "HU" else np.nan
    array = volume.array.astype(np.float32)
    array[~np.asarray(volume.valid)] = fill
    return Volume(array, volume.geometry, volume.unit)


def lungs_mask(node: Any, geometry: Geometry) -> Mask:
    """Both lungs of a segmentation of this extension."""
    return labelmap_from_segmentation(node, geometry).mask(*LUNGS)


# ------------------------------------------------------------------------------- segmentations


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
    to_world = _matrix_to_world(node) @ slicer.util.arrayFromVTKMatrix(matrix)
    image.SetImageToWorldMatrix(vtk_matrix(to_world))
    own = Geometry(geometry.shape, to_world)
    if not own.same_as(geometry):
        resampled = slicer.vtkOrientedImageData()
        slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            image, oriented_image(geometry), resampled, False, False
        )
        image = resampled
    _paste(mask, image_array(image) > 0, image.GetExtent())
    return mask


def _paste(target: Mask, part: Mask, extent: Sequence[int]) -> None:
    """Copy what overlaps of an image that starts at another voxel."""
    target_box, part_box = [], []
    for axis, (low, high) in enumerate((extent[4:6], extent[2:4], extent[0:2])):
        start, stop = max(0, low), min(target.shape[axis] - 1, high)
        if start > stop:
            return
        target_box.append(slice(start, stop + 1))
        part_box.append(slice(start - low, stop - low + 1))
    target[tuple(target_box)] |= part[tuple(part_box)]


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
    node.CreateDefaultDisplayNodes()
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(LABELMAP)
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
    return node


def copy_segmentation(scene: Any, node: Any, name: str) -> Any:
    """Keep an unchangeable copy: hidden from selectors, saved with the scene."""
    copy = slicer.vtkMRMLSegmentationNode()
    copy.SetHideFromEditors(True)
    copy.SetName(name)
    copy = scene.AddNode(copy)
    copy.GetSegmentation().DeepCopy(node.GetSegmentation())
    copy.SetNodeReferenceID(
        copy.GetReferenceImageGeometryReferenceRole(),
        node.GetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole()),
    )
    return copy


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
    r, a, s, _ = _matrix_to_world(node) @ slicer.util.arrayFromVTKMatrix(matrix) @ (i, j, k, 1.0)
    return float(r), float(a), float(s)


class SegmentSnapshot:
    """Voxels of all segments of a node at one moment, to tell what an edit changed."""

    def __init__(self, node: Any) -> None:
        segmentation = node.GetSegmentation()
        self._parts = {
            identifier: _own_voxels(segmentation.GetSegment(identifier))
            for identifier in segmentation.GetSegmentIDs()
        }

    def changes_to(self, later: SegmentSnapshot) -> dict[str, tuple[int, int, float]]:
        """Voxels added, voxels removed and mL per voxel of every segment that changed."""
        changed = {}
        for identifier in dict.fromkeys((*self._parts, *later._parts)):
            before, after = self._parts.get(identifier), later._parts.get(identifier)
            added, removed = _difference(before, after)
            if added or removed:
                known = after or before
                changed[identifier] = (added, removed, known.voxel_ml if known else 0.0)
        return changed


@dataclass(frozen=True, eq=False)
class _Part:
    """Voxels of one segment, as far as its own labelmap reaches."""

    extent: tuple[int, ...]
    mask: Mask
    matrix: NDArray[np.float64]
    """Image to world; edits may move its origin along with the extent."""

    @property
    def voxel_ml(self) -> float:
        return float(abs(np.linalg.det(self.matrix[:3, :3]))) / 1000.0

    def shares_axes(self, other: _Part) -> bool:
        return np.allclose(self.matrix[:3, :3], other.matrix[:3, :3], atol=1e-5)

    def extent_on(self, other: _Part) -> tuple[int, ...]:
        """Extent in the voxel indices of another part with the same axes."""
        shift = np.linalg.solve(other.matrix[:3, :3], self.matrix[:3, 3] - other.matrix[:3, 3])
        steps = np.rint(shift).astype(int)
        return tuple(bound + int(steps[n // 2]) for n, bound in enumerate(self.extent))


def _own_voxels(segment: Any) -> _Part | None:
    """Voxels of a segment; its labelmap is shared with others and cropped to them."""
    image = segment.GetRepresentation(LABELMAP)
    if image is None or image.GetPointData().GetScalars() is None:
        return None
    if not image.GetNumberOfPoints():
        return None
    mask = image_array(image) == segment.GetLabelValue()
    if not mask.any():
        return None
    box = bounding_box(mask)
    start = image.GetExtent()[::2]
    extent = [
        start[2 - axis] + bound
        for axis in (2, 1, 0)
        for bound in (box[axis].start, box[axis].stop - 1)
    ]
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return _Part(
        extent=tuple(extent),
        mask=mask[box].copy(),
        matrix=np.asarray(slicer.util.arrayFromVTKMatrix(matrix)),
    )


def _difference(before: _Part | None, after: _Part | None) -> tuple[int, int]:
    """Voxels added and removed; on another grid everything is new."""
    if before is None or after is None or not before.shares_axes(after):
        added, removed = (
            0 if p is None else int(np.count_nonzero(p.mask)) for p in (after, before)
        )
        return added, removed
    extents = (before.extent_on(after), after.extent)
    low = [min(extent[2 * n] for extent in extents) for n in range(3)]
    high = [max(extent[2 * n + 1] for extent in extents) for n in range(3)]
    shape = tuple(high[n] - low[n] + 1 for n in (2, 1, 0))
    old, new = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for target, part, extent in ((old, before, extents[0]), (new, after, extents[1])):
        _paste(target, part.mask, [bound - low[n // 2] for n, bound in enumerate(extent)])
    return int(np.count_nonzero(new & ~old)), int(np.count_nonzero(old & ~new))


# ---------------------------------------------------------------------------------- transforms


def show_transform(scene: Any, path: Path, name: str, *, node: Any = None) -> Any:
    """Read a displacement field (LPS, fixed to moving) as a grid transform node.

    Put on the moving volume, the node brings it onto the fixed one.
    """
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", name)
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        raise InputError(f"{path.name} cannot be read as a displacement field")
    return node


def write_transform(node: Any, path: Path) -> None:
    """Write a grid transform as the displacement field it was read from."""
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(0)
    if not storage.WriteData(node):
        raise InputError(f"the transform {node.GetName()} cannot be written")


# -------------------------------------------------------------------------------------- tables


def show_measurements(
    scene: Any, rows: Sequence[Measurement], name: str, *, node: Any = None
) -> Any:
    """Put measurements into a table node: one row each, values as text with their unit beside."""
    columns = {
        "region": ("Region", [title(row.region) for row in rows]),
        "measure": ("Measure", [MEASURES[row.measure].title for row in rows]),
        "value": ("Value", [value_text(row.value, row.unit) for row in rows]),
        "unit": ("Unit", ["" if row.unit == "1" else row.unit for row in rows]),
        "status": ("Status", [row.status for row in rows]),
        "reason": ("Remark", [row.reason for row in rows]),
        "method": ("Method", [row.method for row in rows]),
    }
    return _fill(scene, node, name, columns, {})


NO_VALUE = "–"
"""Text of a cell without a value."""


def value_text(value: float, unit: str) -> str:
    """Digits that a reader can use; an empty cell where there is no value."""
    if np.isnan(value):
        return NO_VALUE
    if value and abs(value) < 1:
        return f"{value:.3g}"
    return f"{value:.0f}" if abs(value) >= 1000 or unit == "HU" else f"{value:.2f}"


UNIT_SUFFIXES = {
    "_ml": "mL",
    "_mm": "mm",
    "_mm2": "mm2",
    "_hu": "HU",
    "_mg_ml": "mg/mL",
    "_percent": "%",
    "_l": "L",
    "_per_ml": "1/mL",
}
"""Units that the ends of column names stand for; the longest end that fits counts."""


def column_unit(name: str) -> tuple[str, str]:
    """Column name without its unit suffix, and the unit (empty when there is none).

    Examples
    --------
    >>> column_unit("volume_ml"), column_unit("shape")
    (('volume', 'mL'), ('shape', ''))

    """
    for suffix in sorted(UNIT_SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix) and len(name) > len(suffix):
            return name.removesuffix(suffix), UNIT_SUFFIXES[suffix]
    return name, ""


def show_findings(
    scene: Any,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    name: str,
    *,
    node: Any = None,
) -> Any:
    """Put a list of findings into a table node; units move from the names into the headers."""
    rows = list(rows)
    content, units = {}, {}
    for column in columns:
        words, units[column] = column_unit(column)
        content[column] = (title(words), [_cell(row.get(column)) for row in rows])
    return _fill(scene, node, name, content, units)


def _cell(value: Any) -> str:
    if value is None:
        return NO_VALUE
    if isinstance(value, float):
        return value_text(value, "")
    return title(value) if value in _REGIONS else str(value)


_REGIONS = frozenset(region.value for region in Region)


def _fill(
    scene: Any,
    node: Any,
    name: str,
    columns: Mapping[str, tuple[str, Sequence[str]]],
    units: Mapping[str, str],
) -> Any:
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
    modifying = node.StartModify()
    node.RemoveAllColumns()
    for column, (heading, cells) in columns.items():
        array = vtk.vtkStringArray()
        array.SetName(column)
        for cell in cells:
            array.InsertNextValue(cell)
        node.AddColumn(array)
        node.SetColumnTitle(column, heading)
        if units.get(column):
            node.SetColumnUnitLabel(column, units[column])
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    node.EndModify(modifying)
    return node


def table_rows(node: Any) -> tuple[list[str], list[list[str]]]:
    """Column names and the cells of every row as text; a table without names of its own loses none.

    Tables that were read from a CSV file name their columns after its first line.
    """
    columns = range(node.GetNumberOfColumns())
    names = [node.GetColumnName(column) for column in columns]
    rows = range(node.GetNumberOfRows())
    return names, [[node.GetCellText(row, column) for column in columns] for row in rows]


# -------------------------------------------------------------------------------------- charts


def show_chart(
    scene: Any, rows: Sequence[Measurement], measure: str, name: str, *, chart: Any = None
) -> Any:
    """Draw one measure of all regions as bars; regions without a value are left out.

    Slicer's bar charts number their bars, so the names of the regions stand in the legend: every
    region is a series of its own.

    Raises
    ------
    InputError
        If no region has a value.

    """
    found = [row for row in rows if row.measure == measure and not np.isnan(row.value)]
    if not found:
        raise InputError(f"no region has a value of {MEASURES[measure].title.lower()}")
    if chart is None:
        chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", name)
    _clear_chart(scene, chart)
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", f"{name} values")
    table.SetHideFromEditors(True)
    for index, row in enumerate(found):
        column = vtk.vtkDoubleArray()
        column.SetName(row.region)
        for place in range(len(found)):
            column.InsertNextValue(row.value if place == index else 0.0)
        table.AddColumn(column)
        series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", title(row.region))
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetYColumnName(row.region)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeBar)
        series.SetColor(*segment_colour(row.region))
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    unit = MEASURES[measure].unit
    chart.SetTitle(MEASURES[measure].title)
    chart.SetYAxisTitle("" if unit == "1" else f"[{unit}]")
    values = [row.value for row in found]
    low, high = min(0.0, *values), max(0.0, *values)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(low * 1.1, high * 1.25 or 1.0)
    return chart


def _clear_chart(scene: Any, chart: Any) -> None:
    """Remove what an earlier measure has left."""
    for index in reversed(range(chart.GetNumberOfPlotSeriesNodes())):
        series = chart.GetNthPlotSeriesNode(index)
        table = series.GetTableNode()
        chart.RemoveNthPlotSeriesNodeID(index)
        scene.RemoveNode(series)
        if table is not None:
            scene.RemoveNode(table)


# ------------------------------------------------------------------------------------- colours


def colour_node(
    scene: Any, colours: Colours, *, identifier: str = "", limits: tuple[float, float] | None = None
) -> Any:
    """Colour table of a scale: one node per scene, which scene files do not double.

    The table spans ``limits`` (default: the range of the colours); give the volume's
    window the same limits so that colours mean the values of the scale.
    """
    tag = ATTRIBUTE_PREFIX + (identifier or colours.id)
    node = scene.GetSingletonNode(tag, "vtkMRMLColorTableNode")
    if node is None:
        node = slicer.vtkMRMLColorTableNode()
        node.SetSingletonTag(tag)
        node = scene.AddNode(node)
    low, high = limits or colours.range
    values = np.linspace(low, high, COLOURS_PER_TABLE)
    table = colours.colours(values)
    opaque = np.ones(len(values))
    if isinstance(colours, ColourClasses):
        opaque = colours.painted(values).astype(float)
    node.SetTypeToUser()
    node.SetNumberOfColors(COLOURS_PER_TABLE)
    for index, value in enumerate(values):
        red, green, blue = (float(channel) for channel in table[index])
        node.SetColor(index, f"{value:.4g}", red, green, blue, float(opaque[index]))
    node.SetName(f"Lung perfusion {title(colours.id).lower()}")
    node.SetAttribute("Category", "Lung perfusion")
    return node


# ------------------------------------------------------------------------------------- markups


def line_ras_mm(node: Any) -> NDArray[np.float64] | None:
    """End points of a line, shape (2, 3), world space; None until both are placed."""
    if node is None or node.GetNumberOfDefinedControlPoints() != 2:
        return None
    return points_ras_mm(node)


def points_ras_mm(node: Any) -> NDArray[np.float64]:
    """Placed control points, shape (n, 3), world space; the preview point does not count."""
    points = []
    for index in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(index) == node.PositionDefined:
            position = [0.0, 0.0, 0.0]
            node.GetNthControlPointPositionWorld(index, position)
            points.append(position)
    return np.array(points, dtype=np.float64).reshape(-1, 3)


# ----------------------------------------------------------------------------------- structure


def put_beside(scene: Any, input_node: Any, node: Any, folder: str) -> None:
    """File a node in a folder next to the input it was made from, under the same study."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = tree.GetItemByDataNode(node)
    if not item:
        return
    parent = tree.GetItemParent(tree.GetItemByDataNode(input_node))
    tree.SetItemParent(
        item, tree.GetItemChildWithName(parent, folder) or tree.CreateFolderItem(parent, folder)
    )


# ----------------------------------------------------------------------------------- audit trail


def read_trail(node: Any) -> list[dict[str, Any]]:
    """Entries of an audit trail; none for a new node.

    Raises
    ------
    InputError
        If the node holds something else.

    """
    text = node.GetText() if node is not None else ""
    if not text:
        return []
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"the text {node.GetName()} holds no audit trail: {error}") from error
    return list(entries)


def add_to_trail(node: Any, entry: Mapping[str, Any], *, at: datetime | None = None) -> None:
    """Append an entry, with the time of day, to the text node that the scene keeps."""
    time = (at or datetime.now().astimezone()).isoformat(timespec="seconds")
    entries = [*read_trail(node), {"time": time, **entry}]
    node.SetText(json.dumps(entries, indent=1, ensure_ascii=False))


def drop_last_of_trail(node: Any) -> None:
    """Take the newest entry away, for one that replaces it."""
    node.SetText(json.dumps(read_trail(node)[:-1], indent=1, ensure_ascii=False))
