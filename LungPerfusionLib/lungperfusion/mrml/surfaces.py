"""Surfaces of segments for 3-D views.

Slicer's conversion takes seconds for lungs of a thin-slice CT, and decimating its result three
times as long.  A coarser copy of the voxels gives a surface of as few triangles at once.
"""

from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk

from lungperfusion.mrml.edits import Part, own_voxels
from lungperfusion.mrml.geometry import vtk_matrix
from lungperfusion.mrml.names import CLOSED_SURFACE
from lungperfusion.terms.regions import VESSEL_SIZES
from lungperfusion.volume import Mask

COARSE_MM = 2.0
"""Voxels of the copy that smooth surfaces are made of: a chest is 300 mm wide."""

SMOOTHING_STEPS, PASS_BAND = 20, 0.05
"""Of the windowed sinc filter (`vtkWindowedSincPolyDataFilter`): steps of voxels vanish."""

THIN = frozenset(VESSEL_SIZES)
"""Segments that are a voxel or two thick: coarse or smooth they would vanish."""


def without_surface(node: Any) -> list[str]:
    """IDs of the segments whose surface is still to be made."""
    segmentation = node.GetSegmentation()
    return [
        identifier
        for identifier in segmentation.GetSegmentIDs()
        if segmentation.GetSegment(identifier).GetRepresentation(CLOSED_SURFACE) is None
    ]


def make_surface(node: Any, identifier: str) -> None:
    """Make the surface of a segment; that of an empty one is empty."""
    segment = node.GetSegmentation().GetSegment(identifier)
    part = own_voxels(segment)
    surface = vtk.vtkPolyData() if part is None else _surface(part, smooth=identifier not in THIN)
    segment.AddRepresentation(CLOSED_SURFACE, surface)


def _surface(part: Part, *, smooth: bool) -> Any:
    """Surface around voxels, in the space of their segmentation."""
    sizes = np.linalg.norm(part.matrix[:3, :3], axis=0)[::-1]
    steps = [max(1, round(COARSE_MM / mm)) if smooth else 1 for mm in sizes]
    mask = part.mask[tuple(slice(step // 2, None, step) for step in steps)]
    contour = vtk.vtkFlyingEdges3D()
    contour.SetInputData(_image(np.pad(mask, 1)))
    contour.SetValue(0, 0.5)
    contour.SetComputeNormals(not smooth)
    last = contour
    if smooth:
        sinc = vtk.vtkWindowedSincPolyDataFilter()
        sinc.SetInputConnection(last.GetOutputPort())
        sinc.SetNumberOfIterations(SMOOTHING_STEPS)
        sinc.SetPassBand(PASS_BAND)
        sinc.NormalizeCoordinatesOn()
        normals = vtk.vtkPolyDataNormals()
        normals.SetInputConnection(sinc.GetOutputPort())
        normals.SplittingOff()
        last = normals
    placed = vtk.vtkTransformPolyDataFilter()
    placed.SetInputConnection(last.GetOutputPort())
    transform = vtk.vtkTransform()
    transform.SetMatrix(vtk_matrix(_to_space(part, steps)))
    placed.SetTransform(transform)
    placed.Update()
    return placed.GetOutput()


def _to_space(part: Part, steps: list[int]) -> NDArray[np.float64]:
    """Matrix from the voxels of the padded copy to the space of the segmentation."""
    along = np.array(steps[::-1], np.float64)
    start = np.array(part.extent[::2]) + np.array(steps[::-1]) // 2 - along  # one voxel of padding
    copy = np.diag([*along, 1.0])
    copy[:3, 3] = start
    return np.asarray(part.matrix @ copy)


def _image(mask: Mask) -> Any:
    image = vtk.vtkImageData()
    image.SetDimensions(*mask.shape[::-1])
    values = numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True)
    image.GetPointData().SetScalars(values)
    return image
