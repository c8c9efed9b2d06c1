"""Nodes and the package's objects say the same, on any grid."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from lungperfusion.errors import InputError
from lungperfusion.measurement import measured, missing
from lungperfusion.segmentation.imports import import_regions
from lungperfusion.volume import Geometry, Labelmap, Volume

slicer = pytest.importorskip("slicer", reason="needs slicer-core")
vtk = pytest.importorskip("vtk", reason="needs slicer-core")

from lungperfusion import mrml  # noqa: E402
from lungperfusion.results.colours import IODINE_PERFUSION, VENTILATION_PERFUSION  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:Setting the shape on a NumPy array:DeprecationWarning"
)

SHAPE = (9, 11, 13)
NAMES = {1: "left_lung", 2: "right_lung", 5: "airways"}


def turned() -> np.ndarray:
    a, b = np.deg2rad(20), np.deg2rad(-12)
    about_r = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_s = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return about_r @ about_s


GRIDS = {
    "axial": np.diag([-0.8, -0.7, 2.0]),
    "flipped": np.diag([0.8, -0.7, -2.0]),
    "coronal": np.array([[-0.8, 0, 0], [0, 0, 2.0], [0, 0.7, 0]]),
    "oblique": turned() @ np.diag([-0.8, -0.7, 2.0]),
}


@pytest.fixture(params=GRIDS)
def geometry(request) -> Geometry:
    matrix = np.eye(4)
    matrix[:3, :3] = GRIDS[request.param]
    matrix[:3, 3] = (20.0, -30.0, 40.0)
    return Geometry(SHAPE, matrix)


@pytest.fixture
def scene():
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerSegmentationsModuleLogic()  # registers representations
    logic.SetMRMLScene(scene)
    yield scene
    scene.Clear(True)


@pytest.fixture
def labelmap(geometry) -> Labelmap:
    array = np.zeros(SHAPE, np.uint8)
    array[1:6, 2:8, 1:4] = 1
    array[2:8, 1:9, 7:12] = 2
    array[4:6, 4:6, 5:6] = 5
    return Labelmap(array, geometry, NAMES)


def test_volume_comes_back_with_its_place_and_what_was_not_measured(scene, geometry):
    array = np.random.default_rng(1).normal(2.0, 1.0, SHAPE).astype(np.float32)
    valid = np.ones(SHAPE, bool)
    valid[0, :3] = False
    node = mrml.show_volume(scene, Volume(array, geometry, "mg/mL", valid), "Iodine")
    assert np.isnan(slicer.util.arrayFromVolume(node)[~valid]).all()
    back = mrml.volume_from_node(node, "mg/mL")
    assert back.geometry.same_as(geometry, tolerance_mm=1e-6)
    assert np.array_equal(back.valid, valid)
    assert np.array_equal(back.array[valid], array[valid])
    assert node.GetVoxelValueUnits().GetCodeValue() == "mg/mL"


def test_ct_keeps_its_type_and_is_a_copy(scene, geometry):
    array = np.full(SHAPE, -850, np.int16)
    node = mrml.show_volume(scene, Volume(array, geometry, "HU"), "CT")
    back = mrml.volume_from_node(node, "HU")
    slicer.util.arrayFromVolume(node)[:] = 0
    assert back.array.dtype == np.int16
    assert (back.array == -850).all()


def test_linear_transform_moves_the_volume_and_others_are_refused(scene, geometry):
    node = mrml.show_volume(scene, Volume(np.zeros(SHAPE, np.int16), geometry, "HU"), "CT")
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Moved")
    matrix = np.eye(4)
    matrix[:3, 3] = (5.0, 6.0, 7.0)
    transform.SetMatrixTransformToParent(mrml.vtk_matrix(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    moved = mrml.geometry_from_node(node)
    assert np.allclose(moved.ijk_to_ras[:3, 3] - geometry.ijk_to_ras[:3, 3], (5, 6, 7))
    bent = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Bent")
    spline = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for n, point in enumerate(np.eye(4)[:, :3] * 50):
        source.InsertNextPoint(*point)
        target.InsertNextPoint(*(point + n * n))
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    bent.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(bent.GetID())
    with pytest.raises(InputError, match="not linear; harden the transform"):
        mrml.geometry_from_node(node)


def test_empty_volume_is_refused(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Nothing")
    with pytest.raises(InputError, match="Nothing holds no image"):
        mrml.volume_from_node(node, "HU")


def test_labels_come_back_under_their_ids(scene, labelmap):
    node = mrml.show_labelmap(scene, labelmap, "Lungs")
    segmentation = node.GetSegmentation()
    assert list(segmentation.GetSegmentIDs()) == ["left_lung", "right_lung", "airways"]
    assert segmentation.GetNumberOfLayers() == 1
    back = mrml.labelmap_from_segmentation(node, labelmap.geometry)
    assert dict(back.names) == {1: "left_lung", 2: "right_lung", 3: "airways"}
    for name in NAMES.values():
        assert np.array_equal(back.mask(name), labelmap.mask(name))


def test_foreign_segments_are_told_by_their_codes(scene):
    geometry = Geometry.axial(SHAPE, (0.8, 0.7, 2.0))
    array = np.zeros(SHAPE, np.uint8)
    array[2:8, 1:9, 1:5], array[2:8, 1:9, 7:12] = 2, 1
    node = mrml.show_labelmap(
        scene, Labelmap(array, geometry, {1: "left_lung", 2: "right_lung"}), "Lungs"
    )
    segmentation = node.GetSegmentation()
    foreign = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Foreign")
    for number, name in enumerate(segmentation.GetSegmentIDs()):
        segment = slicer.vtkSegment()
        segment.DeepCopy(segmentation.GetSegment(name))
        segment.SetName(f"structure {number}")
        foreign.GetSegmentation().AddSegment(segment, f"Segment_{number}")
    named = import_regions(mrml.labelimage_from_segmentation(foreign, geometry))
    assert named.how == "segments by code"
    assert np.array_equal(named.lungs.mask("left_lung"), array == 1)


def test_absent_label_is_an_empty_segment(scene, labelmap):
    sparse = Labelmap(labelmap.array, labelmap.geometry, {**NAMES, 3: "vessels"})
    node = mrml.show_labelmap(scene, sparse, "Lungs")
    assert node.GetSegmentation().GetSegment("vessels") is not None
    assert not mrml.segment_mask(node, "vessels", labelmap.geometry).any()
    assert mrml.segment_centre_ras_mm(node, "vessels") is None
    back = mrml.labelmap_from_segmentation(node, labelmap.geometry)
    assert np.array_equal(back.mask("airways"), labelmap.mask("airways"))


def test_second_run_replaces_the_segments(scene, labelmap):
    node = mrml.show_labelmap(scene, labelmap, "Lungs")
    half = labelmap.array.copy()
    half[half == 2] = 0
    mrml.show_labelmap(scene, labelmap.with_array(half), "Lungs", node=node)
    assert node.GetSegmentation().GetNumberOfSegments() == 3
    assert not mrml.segment_mask(node, "right_lung", labelmap.geometry).any()


def test_segments_on_a_finer_grid_are_resampled(scene, labelmap):
    node = mrml.show_labelmap(scene, labelmap, "Lungs")
    i, j, k = labelmap.geometry.spacing_ijk_mm
    fine = labelmap.geometry.with_spacing((i / 2, j / 2, k / 2))
    back = mrml.labelmap_from_segmentation(node, fine)
    assert back.volume_ml("left_lung") == pytest.approx(labelmap.volume_ml("left_lung"), rel=1e-6)


def test_edit_on_a_larger_extent_is_counted_exactly(scene, labelmap):
    node = mrml.show_labelmap(scene, labelmap, "Lungs")
    before = mrml.SegmentSnapshot(node)
    assert before.changes_to(mrml.SegmentSnapshot(node)) == {}
    left = labelmap.mask("left_lung")
    edited = left.copy()
    edited[1, 2:8] = False
    edited[0, 0, 0] = edited[8, 10, 12] = True
    image = mrml.oriented_image(labelmap.geometry)
    mrml.image_array(image)[...] = edited
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        image, node, "left_lung", slicer.vtkSlicerSegmentationsModuleLogic.MODE_REPLACE
    )
    assert np.array_equal(mrml.segment_mask(node, "left_lung", labelmap.geometry), edited)
    changed = before.changes_to(mrml.SegmentSnapshot(node))
    added, removed, voxel_ml = changed["left_lung"]
    assert (added, removed) == (
        np.count_nonzero(edited & ~left),
        np.count_nonzero(left & ~edited),
    )
    assert voxel_ml == pytest.approx(labelmap.geometry.voxel_volume_ml)


def test_moved_origin_is_no_edit(scene, labelmap):
    node = mrml.show_labelmap(scene, labelmap, "Lungs")
    before = mrml.SegmentSnapshot(node)
    left = labelmap.mask("left_lung")
    part = labelmap.geometry.crop((slice(1, 9), slice(2, 11), slice(1, 13)))
    image = mrml.oriented_image(part)  # the same voxels, counted from another corner
    mrml.image_array(image)[...] = left[1:9, 2:11, 1:13]
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetBinaryLabelmapToSegment(image, node, "left_lung", logic.MODE_REPLACE)
    assert np.array_equal(mrml.segment_mask(node, "left_lung", labelmap.geometry), left)
    assert before.changes_to(mrml.SegmentSnapshot(node)) == {}


def test_original_can_be_restored(scene, labelmap):
    node = mrml.show_labelmap(scene, labelmap, "Lungs")
    original = mrml.copy_segmentation(scene, node, "Lungs (original)")
    mrml.show_labelmap(scene, labelmap.with_array(labelmap.array * 0), "Lungs", node=node)
    assert not mrml.segment_mask(node, "left_lung", labelmap.geometry).any()
    mrml.restore_segmentation(node, original)
    for name in NAMES.values():
        assert np.array_equal(mrml.segment_mask(node, name, labelmap.geometry), labelmap.mask(name))


def test_centre_lies_on_the_segment(scene, labelmap):
    node = mrml.show_labelmap(scene, labelmap, "Lungs")
    centre = mrml.segment_centre_ras_mm(node, "right_lung")
    i, j, k = np.rint(labelmap.geometry.ijk_from_ras(centre)).astype(int)
    assert labelmap.mask("right_lung")[k, j, i]
    assert abs(k - 4.5) <= 1
    assert abs(i - 9) <= 1


def test_unknown_segments_are_refused(scene, labelmap):
    node = mrml.show_labelmap(scene, labelmap, "Lungs")
    with pytest.raises(InputError, match="none of the segments heart"):
        mrml.labelmap_from_segmentation(node, labelmap.geometry, {"heart": 1})


def test_table_shows_values_units_and_reasons(scene):
    rows = [
        measured("lungs", "tlv", 5.4321, "sum of voxels"),
        missing("left_lung", "tlv", "no left lung"),
    ]
    node = mrml.show_measurements(scene, rows, "Measurements")
    assert node.GetNumberOfRows() == 2
    column = node.GetColumnIndex
    assert node.GetCellText(0, column("value")) == "5.43"
    assert node.GetCellText(0, column("unit")) == "L"
    assert node.GetCellText(1, column("value")) == "–"
    assert node.GetCellText(1, column("reason")) == "no left lung"
    mrml.show_measurements(scene, rows[:1], "Measurements", node=node)
    assert node.GetNumberOfRows() == 1


def test_findings_carry_units_in_their_headers(scene):
    rows = [{"defect": 1, "volume_ml": 12.3456, "pleural_share": float("nan")}]
    node = mrml.show_findings(scene, ("defect", "volume_ml", "pleural_share"), rows, "Defects")
    assert node.GetColumnUnitLabel("volume_ml") == "mL"
    assert node.GetColumnTitle("volume_ml") == "Volume"
    assert node.GetCellText(0, 1) == "12.3"
    assert node.GetCellText(0, 2) == "–"


def test_colour_table_has_the_colours_of_the_scale(scene):
    node = mrml.colour_node(scene, IODINE_PERFUSION)
    assert mrml.colour_node(scene, IODINE_PERFUSION) is node
    assert node.GetNumberOfColors() == 256
    colour = [0.0] * 4
    for value in (0.0, 20.0, 40.0, 50.0, 100.0):
        node.GetColor(round(value / 100 * 255), colour)
        expected = IODINE_PERFUSION.colours(np.array([round(value / 100 * 255) / 255 * 100]))[0]
        assert colour[:3] == pytest.approx(list(expected), abs=2e-3)


def test_classes_without_colour_are_transparent(scene):
    node = mrml.colour_node(scene, VENTILATION_PERFUSION, limits=(0.0, 4.0))
    colour = [0.0] * 4
    node.GetColor(0, colour)
    assert colour[3] == 0
    node.GetColor(255, colour)
    assert colour[3] == 1


def test_line_needs_two_placed_points(scene):
    line = scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "Aorta")
    assert mrml.line_ras_mm(line) is None
    line.AddControlPoint(0, 0, 0)
    assert mrml.line_ras_mm(line) is None
    line.AddControlPoint(3, 4, 12)
    assert np.linalg.norm(np.subtract(*mrml.line_ras_mm(line))) == pytest.approx(13.0)


def test_trail_keeps_entries_with_their_time(scene):
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", "Trail")
    assert mrml.read_trail(node) == []
    at = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    mrml.add_to_trail(node, {"segment": "left_lung", "ml_added": 1.5}, at=at)
    mrml.add_to_trail(node, {"segment": "right_lung"}, at=at)
    entries = mrml.read_trail(node)
    assert entries[0] == {
        "time": "2026-03-01T12:30:00+00:00",
        "segment": "left_lung",
        "ml_added": 1.5,
    }
    assert len(json.loads(node.GetText())) == 2
    node.SetText("no trail")
    with pytest.raises(InputError, match="holds no audit trail"):
        mrml.read_trail(node)


def test_transform_brings_the_moving_point_onto_the_fixed_one(scene, tmp_path):
    import SimpleITK as sitk

    field = np.zeros((20, 20, 20, 3))
    field[...] = (10.0, 6.0, -4.0)  # LPS: fixed to moving
    image = sitk.GetImageFromArray(field, isVector=True)
    image.SetSpacing((4.0, 4.0, 4.0))
    image.SetOrigin((-38.0, -38.0, -38.0))
    path = tmp_path / "field.nrrd"
    sitk.WriteImage(image, str(path))
    node = mrml.show_transform(scene, path, "Motion")
    moved = node.GetTransformToParent().TransformPoint(0.0, 0.0, 0.0)
    assert moved == pytest.approx((10.0, 6.0, 4.0), abs=1e-3)
    mrml.write_transform(node, tmp_path / "again.nrrd")
    again = sitk.ReadImage(str(tmp_path / "again.nrrd"))
    assert np.allclose(sitk.GetArrayFromImage(again), field, atol=1e-5)
    assert again.GetOrigin() == pytest.approx(image.GetOrigin())


def test_newest_entry_of_a_trail_can_be_replaced(scene):
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", "Trail")
    for what in ("first", "second"):
        mrml.add_to_trail(node, {"marked": what})
    mrml.drop_last_of_trail(node)
    assert [entry["marked"] for entry in mrml.read_trail(node)] == ["first"]


def test_cells_of_a_table_and_names_of_regions(scene):
    rows = [{"region": "left_lung", "volume_ml": 1.5}, {"region": "elsewhere", "volume_ml": None}]
    node = mrml.show_findings(scene, ("region", "volume_ml"), rows, "Findings")
    names, cells = mrml.table_rows(node)
    assert names == ["region", "volume_ml"]
    assert cells == [["Left lung", "1.5"], ["elsewhere", mrml.NO_VALUE]]


def surface(node, identifier):
    mrml.make_surface(node, identifier)
    polydata = vtk.vtkPolyData()
    assert node.GetClosedSurfaceRepresentation(identifier, polydata)
    return polydata


def ball(geometry, radius_mm, name):
    """Ball in the middle of a grid."""
    places = geometry.ras_from_ijk(np.argwhere(np.ones(geometry.shape, bool))[:, ::-1])
    away = np.linalg.norm(
        places - geometry.ras_from_ijk([n / 2 for n in geometry.shape[::-1]]), axis=1
    )
    inside = (away <= radius_mm).reshape(geometry.shape)
    return Labelmap(inside.astype(np.uint8), geometry, {1: name})


@pytest.mark.parametrize("turn", ["axial", "oblique"])
def test_a_smooth_surface_has_few_triangles_and_the_place_and_volume_of_its_segment(scene, turn):
    matrix = np.eye(4)
    matrix[:3, :3] = GRIDS[turn] / [0.8, 0.7, 2.0] * 0.7
    matrix[:3, 3] = (20.0, -30.0, 40.0)
    fine = Geometry((60, 62, 64), matrix)
    node = mrml.show_labelmap(scene, ball(fine, 18.0, "left_lung"), "Lungs")
    assert mrml.without_surface(node) == ["left_lung"]
    polydata = surface(node, "left_lung")
    assert mrml.without_surface(node) == []
    mass = vtk.vtkMassProperties()
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(polydata)
    mass.SetInputConnection(triangles.GetOutputPort())
    assert mass.GetVolume() == pytest.approx(4 / 3 * np.pi * 18.0**3, rel=0.1)
    middle = fine.ras_from_ijk([n / 2 for n in fine.shape[::-1]])
    assert np.linalg.norm(np.array(polydata.GetCenter()) - middle) < 2.0
    assert polydata.GetNumberOfPoints() < 4000


def test_thin_vessels_keep_their_voxels_in_3d(scene):
    geometry = Geometry.axial((20, 20, 40), (0.7, 0.7, 0.7))
    array = np.zeros(geometry.shape, np.uint8)
    array[10, 10, 5:35] = 1
    node = mrml.show_labelmap(scene, Labelmap(array, geometry, {1: "vessels_bv5"}), "Vessels")
    bounds = surface(node, "vessels_bv5").GetBounds()
    assert bounds[1] - bounds[0] == pytest.approx(30 * 0.7, abs=0.01)


def test_an_empty_segment_has_an_empty_surface(scene, labelmap):
    node = mrml.show_labelmap(scene, labelmap.with_array(0 * labelmap.array), "Lungs")
    mrml.make_surface(node, "left_lung")
    assert "left_lung" not in mrml.without_surface(node)


def test_nodes_are_those_of_their_scene_and_are_not_held(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "here")
    derived = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "here, too")
    other = slicer.vtkMRMLScene()
    other.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "elsewhere")
    held = node.GetReferenceCount()
    assert mrml.nodes_of_class(scene, "vtkMRMLScalarVolumeNode") == [node, derived]
    assert mrml.nodes_of_class(scene, "vtkMRMLSequenceNode") == []
    assert node.GetReferenceCount() == held


def test_a_xenon_mri_comes_whole_or_not_at_all(scene):
    grid = Geometry.axial(SHAPE, (3.0, 3.0, 3.0))
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:5, 3:8, 4:9] = 1
    maps = {
        name: Volume(np.full(SHAPE, value, np.float32), grid, "1")
        for name, value in (("rbc_gas", 0.004), ("ventilation", 1.5))
    }
    lungs = Labelmap(mask, grid, {1: "lungs"})
    with pytest.raises(AttributeError):
        mrml.show_xenon(scene, maps, None, {})
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLDisplayNode") == 0
    nodes = mrml.show_xenon(scene, maps, lungs, {"age": "40.0", "sex": "M"})
    assert list(nodes) == ["rbc_gas", "ventilation", "lungs", "statistics"]
    assert mrml.table_rows(nodes["statistics"]) == (["age", "sex"], [["40.0", "M"]])
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert nodes["lungs"].GetNodeReference(role) is nodes["rbc_gas"]
    again = mrml.show_xenon(scene, maps, lungs, {})
    assert "statistics" not in again
    assert not {node.GetName() for node in nodes.values()} & {
        node.GetName() for node in again.values()
    }
