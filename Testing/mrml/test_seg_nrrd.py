"""Our .seg.nrrd opens in 3D Slicer's own reader with IDs, names, colours and codes."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.io import write_labelmap
from lungperfusion.io.writing import segment_colour, terminology_entry
from lungperfusion.terms import STRUCTURES, title
from lungperfusion.volume import Geometry, Labelmap

slicer = pytest.importorskip("slicer", reason="needs slicer-core")
vtk = pytest.importorskip("vtk", reason="needs slicer-core")


@pytest.fixture
def scene():
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerSegmentationsModuleLogic()  # registers representations
    logic.SetMRMLScene(scene)
    yield scene
    scene.Clear(True)


def load(scene, path):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    return node


def test_slicer_opens_segments_with_their_meaning(tmp_path, scene):
    geometry = Geometry.axial((6, 7, 8), (0.7, 0.8, 1.5), (10.0, -20.0, 30.0))
    array = np.random.default_rng(0).choice([0, 1, 2, 3, 50], geometry.shape).astype(np.uint8)
    names = {1: "left_lung", 2: "right_lung", 3: "airways", 50: "some_finding", 60: "vessels"}
    path = tmp_path / "lungs.seg.nrrd"
    write_labelmap(Labelmap(array, geometry, names), path)
    node = load(scene, path)
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == len(names)
    for number, (label, name) in enumerate(names.items()):
        assert segmentation.GetNthSegmentID(number) == name
        segment = segmentation.GetSegment(name)
        assert segment.GetName() == title(name)
        assert segment.GetLabelValue() == label
        assert segment.GetColor() == pytest.approx(segment_colour(name), abs=1e-5)
        tag = vtk.reference("")
        assert segment.GetTag("TerminologyEntry", tag)
        assert str(tag) == terminology_entry(name)
    assert segmentation.GetSegment("left_lung").GetColor() == pytest.approx(
        STRUCTURES["left_lung"].colour
    )


def test_slicer_finds_every_voxel_where_it_is(tmp_path, scene):
    oblique = np.array(
        [[-0.7, 0.1, 0.0, 5.0], [-0.1, -0.7, 0.2, 6.0], [0.05, 0.3, 1.4, 7.0], [0, 0, 0, 1]]
    )
    axes, _ = np.linalg.qr(oblique[:3, :3])
    oblique[:3, :3] = axes * (0.7, 0.8, 1.5)
    geometry = Geometry((6, 7, 8), oblique)
    array = np.zeros(geometry.shape, np.uint8)
    array[1:4, 2:5, 3:7] = 1
    path = tmp_path / "lungs.seg.nrrd"
    write_labelmap(Labelmap(array, geometry, {1: "left_lung"}), path)
    node = load(scene, path)
    image = node.GetBinaryLabelmapInternalRepresentation("left_lung")
    to_ras = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(to_ras)
    extent = image.GetExtent()
    found = {
        tuple(np.round(to_ras.MultiplyPoint((i, j, k, 1))[:3], 3))
        for i in range(extent[0], extent[1] + 1)
        for j in range(extent[2], extent[3] + 1)
        for k in range(extent[4], extent[5] + 1)
        if image.GetScalarComponentAsDouble(i, j, k, 0) == 1
    }
    expected = {
        tuple(np.round(geometry.ras_from_ijk(kji[::-1]), 3)) for kji in np.argwhere(array == 1)
    }
    assert found == expected


def test_codes_are_those_of_slicers_own_terminology():
    for structure in STRUCTURES.values():
        parts = terminology_entry(structure.id).split("~")
        assert len(parts) == 7
        assert all(part.count("^") == 2 for part in (*parts[1:4], *parts[5:]))
