"""What an edit changed in a segmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from numpy.typing import NDArray

from lungperfusion.body import outside_body
from lungperfusion.mrml.geometry import image_array, matrix_to_world, oriented_image, paste
from lungperfusion.mrml.names import LABELMAP
from lungperfusion.mrml.segmentations import segment_mask
from lungperfusion.mrml.volumes import volume_from_node
from lungperfusion.volume import Geometry, Mask, bounding_box


class SegmentSnapshot:
    """Voxels of all segments of a node at one moment, to tell what an edit changed."""

    def __init__(self, node: Any) -> None:
        segmentation = node.GetSegmentation()
        self._parts = {
            identifier: own_voxels(segmentation.GetSegment(identifier))
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


def segments_ml(node: Any) -> float:
    """Volume of all segments of a node together, in mL; overlap counts twice."""
    segmentation = node.GetSegmentation()
    parts = [own_voxels(segmentation.GetSegment(name)) for name in segmentation.GetSegmentIDs()]
    return sum(part.voxel_ml * float(np.count_nonzero(part.mask)) for part in parts if part)


def keep_inside_body(node: Any, ct: Any) -> float:
    """Take the air around the patient out of all segments of a node.

    Parameters
    ----------
    node
        Segmentation node on the grid of the CT.
    ct
        Volume node of a chest CT in HU.

    Returns
    -------
    float
        Volume that was taken out, in mL.

    """
    volume = volume_from_node(ct, "HU")
    outside, geometry = outside_body(volume), volume.geometry
    own = Geometry(geometry.shape, np.linalg.inv(matrix_to_world(node)) @ geometry.ijk_to_ras)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    taken = 0
    for identifier in node.GetSegmentation().GetSegmentIDs():
        mask = segment_mask(node, identifier, geometry)
        surplus = int(np.count_nonzero(mask & outside))
        if surplus:
            taken += surplus
            image = oriented_image(own)
            image_array(image)[...] = mask & ~outside
            logic.SetBinaryLabelmapToSegment(image, node, identifier, logic.MODE_REPLACE)
    return taken * geometry.voxel_volume_ml


@dataclass(frozen=True, eq=False)
class Part:
    """Voxels of one segment, as far as its own labelmap reaches."""

    extent: tuple[int, ...]
    mask: Mask
    matrix: NDArray[np.float64]
    """Image to world; edits may move its origin along with the extent."""

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return float(abs(np.linalg.det(self.matrix[:3, :3]))) / 1000.0

    def shares_axes(self, other: Part) -> bool:
        """Whether voxels lie along the same directions at the same distances."""
        return np.allclose(self.matrix[:3, :3], other.matrix[:3, :3], atol=1e-5)

    def extent_on(self, other: Part) -> tuple[int, ...]:
        """Extent in the voxel indices of another part with the same axes."""
        shift = np.linalg.solve(other.matrix[:3, :3], self.matrix[:3, 3] - other.matrix[:3, 3])
        steps = np.rint(shift).astype(int)
        return tuple(bound + int(steps[n // 2]) for n, bound in enumerate(self.extent))


def own_voxels(segment: Any) -> Part | None:
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
    return Part(
        extent=tuple(extent),
        mask=mask[box].copy(),
        matrix=np.asarray(slicer.util.arrayFromVTKMatrix(matrix)),
    )


def _difference(before: Part | None, after: Part | None) -> tuple[int, int]:
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
        paste(target, part.mask, [bound - low[n // 2] for n, bound in enumerate(extent)])
    return int(np.count_nonzero(new & ~old)), int(np.count_nonzero(old & ~new))
