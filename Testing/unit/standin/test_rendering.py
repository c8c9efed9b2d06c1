"""Slice and 3-D views drawn without a display show the right colours at known places."""

import numpy as np
import pytest

SHAPE = (24, 40, 48)
SPACING = 2.0
LUNG = (slice(4, 20), slice(8, 32), slice(6, 20))
OTHER_LUNG = (slice(4, 20), slice(8, 32), slice(28, 42))
LESION = (slice(10, 14), slice(16, 22), slice(10, 14))


@pytest.fixture(scope="module")
def drawable():
    """Skip with the reason where nothing can be drawn."""
    from slicer_standin import rendering, start

    start()
    reason = rendering.why_not()
    if reason:
        pytest.skip(reason)
    return rendering


def geometry(*, flipped: bool = False, tilt_degrees: float = 0.0) -> np.ndarray:
    """IJK to RAS with the centre of the volume at the origin."""
    axes = np.diag([-1.0, -1.0, 1.0]) if flipped else np.eye(3)
    angle = np.deg2rad(tilt_degrees)
    turn = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ axes * SPACING
    middle = (np.array(SHAPE[::-1]) - 1) / 2
    matrix[:3, 3] = -matrix[:3, :3] @ middle
    return matrix


def place(matrix: np.ndarray, k: int, j: int, i: int) -> np.ndarray:
    return (matrix @ [i, j, k, 1])[:3]


@pytest.fixture(params=["plain", "flipped", "tilted"])
def phantom(request, desktop):
    """CT, ramp map (0 at the first row of the lungs) and a segment, in three geometries."""
    import slicer

    matrix = {
        "plain": geometry(),
        "flipped": geometry(flipped=True),
        "tilted": geometry(flipped=True, tilt_degrees=17.0),
    }[request.param]
    ct = np.full(SHAPE, 40, np.int16)
    ramp = np.full(SHAPE, np.nan, np.float32)
    for lung in (LUNG, OTHER_LUNG):
        ct[lung] = -850
        ramp[lung] = np.broadcast_to(
            np.linspace(0, 1, 24, dtype=np.float32)[None, :, None], ramp[lung].shape
        )
    volume = slicer.util.addVolumeFromArray(
        ct, ijkToRAS=slicer.util.vtkMatrixFromArray(matrix), name="CT"
    )
    overlay = slicer.util.addVolumeFromArray(
        ramp, ijkToRAS=slicer.util.vtkMatrixFromArray(matrix), name="Map"
    )
    display = volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(-1000, 200)
    display.SetInterpolate(0)
    colors = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "ramp")
    colors.SetTypeToUser()
    colors.SetNumberOfColors(256)
    for entry in range(256):
        colors.SetColor(entry, str(entry), entry / 255, 1 - entry / 255, 0.0, 1.0)
    shown = overlay.GetDisplayNode()
    shown.SetAndObserveColorNodeID(colors.GetID())
    shown.AutoWindowLevelOff()
    shown.SetWindowLevelMinMax(0, 1)
    shown.SetApplyThreshold(1)
    shown.SetThreshold(-1e30, 1e30)
    shown.SetInterpolate(0)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Lesions")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    identifier = segmentation.GetSegmentation().AddEmptySegment("lesion", "lesion", [0, 0, 1])
    mask = np.zeros(SHAPE, np.uint8)
    mask[LESION] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, identifier, volume)
    segmentation.GetDisplayNode().SetVisibility(False)
    return {"ct": volume, "map": overlay, "segmentation": segmentation, "matrix": matrix}


def grey(hounsfield: float) -> int:
    return round(255 * (hounsfield + 1000) / 1200)


def test_ct_grey_values_at_known_voxels(drawable, phantom):
    picture = drawable.SlicePicture(size=(300, 300))
    picture.show(phantom["ct"])
    for voxel, value in {(12, 20, 10): -850, (12, 20, 34): -850, (12, 20, 24): 40}.items():
        at = place(phantom["matrix"], *voxel)
        picture.jump_to(*at)
        assert picture.colour(*at) == pytest.approx([grey(value)] * 3, abs=2)


@pytest.mark.parametrize("orientation", ["Axial", "Coronal", "Sagittal"])
def test_overlay_colours_at_known_voxels(drawable, phantom, orientation):
    picture = drawable.SlicePicture(name=orientation, orientation=orientation, size=(300, 300))
    picture.show(phantom["ct"], phantom["map"])
    for j in (8, 16, 31):
        at = place(phantom["matrix"], 12, j, 12)
        picture.jump_to(*at)
        share = (j - 8) / 23
        expected = [255 * share, 255 * (1 - share), 0]
        assert picture.colour(*at) == pytest.approx(expected, abs=4)


def test_overlay_is_transparent_where_it_has_no_value(drawable, phantom):
    picture = drawable.SlicePicture(size=(300, 300))
    picture.show(phantom["ct"], phantom["map"])
    at = place(phantom["matrix"], 12, 20, 24)
    picture.jump_to(*at)
    assert picture.colour(*at) == pytest.approx([grey(40)] * 3, abs=2)


def test_half_opacity_blends_map_and_ct(drawable, phantom):
    picture = drawable.SlicePicture(size=(300, 300))
    picture.show(phantom["ct"], phantom["map"], opacity=0.5)
    at = place(phantom["matrix"], 12, 31, 12)
    picture.jump_to(*at)
    half = grey(-850) / 2
    assert picture.colour(*at) == pytest.approx([127.5 + half, half, half], abs=4)


def test_patient_left_is_on_the_right_of_an_axial_picture(drawable, phantom):
    picture = drawable.SlicePicture(size=(300, 300))
    picture.show(phantom["ct"])
    _, left_column = picture.pixel(-20.0, 0.0, 0.0)
    _, right_column = picture.pixel(20.0, 0.0, 0.0)
    front_row, _ = picture.pixel(0.0, 20.0, 0.0)
    back_row, _ = picture.pixel(0.0, -20.0, 0.0)
    assert left_column > right_column
    assert front_row < back_row


def test_segment_outline_and_fill(drawable, phantom):
    display = phantom["segmentation"].GetDisplayNode()
    display.SetVisibility(True)
    display.SetVisibility2DFill(False)
    display.SetVisibility2DOutline(True)
    picture = drawable.SlicePicture(size=(300, 300))
    picture.show(phantom["ct"])
    middle = place(phantom["matrix"], 12, 19, 12)
    picture.jump_to(*middle)
    outlined = picture.image()
    row, column = picture.pixel(*middle)
    blue = (outlined[..., 2].astype(int) - outlined[..., 0]) > 100
    assert blue.any()
    assert not blue[row, column]
    display.SetVisibility2DFill(True)
    display.SetOpacity2DFill(1.0)
    display.SetOpacity(1.0)
    red, _, blue_value = picture.colour(*middle)
    assert blue_value - red > 100


def test_legend_is_drawn_at_its_place(drawable, phantom):
    import slicer

    picture = drawable.SlicePicture(size=(300, 300))
    picture.show(phantom["ct"], phantom["map"])
    without = picture.image()
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(phantom["map"])
    legend.SetTitleText("PBV")
    legend.SetPosition(0.95, 0.5)
    legend.SetSize(0.10, 0.6)
    picture.wake_legend()
    changed = (picture.image().astype(int) - without).any(axis=2)
    assert changed.any()
    assert np.argwhere(changed)[:, 1].min() > 150


def test_markups_line_is_drawn(drawable, phantom):
    import slicer

    picture = drawable.SlicePicture(size=(300, 300))
    picture.show(phantom["ct"])
    middle = place(phantom["matrix"], 12, 20, 24)
    picture.jump_to(*middle)
    offset = picture.logic.GetSliceOffset()
    line = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "diameter")
    without = picture.image()
    line.AddControlPoint(-15, 0, offset)
    line.AddControlPoint(15, 0, offset)
    row, _ = picture.pixel(0, 0, offset)
    changed = np.argwhere((picture.image().astype(int) - without).any(axis=2))
    assert changed.size
    assert abs(np.median(changed[:, 0]) - row) < 25


def test_closed_surface_in_3d(drawable, phantom):
    phantom["segmentation"].GetDisplayNode().SetVisibility(True)
    phantom["segmentation"].CreateClosedSurfaceRepresentation()
    picture = drawable.ThreeDPicture(size=(200, 200))
    picture.node.SetBackgroundColor(0, 0, 0)
    picture.node.SetBackgroundColor2(0, 0, 0)
    picture.look_from("Anterior")
    image = picture.image().astype(int)
    middle = image[100, 100]
    assert middle[2] - middle[0] > 60
    np.testing.assert_array_equal(image[2, 2], [0, 0, 0])


def test_picture_is_written_as_png(drawable, phantom, tmp_path):
    import SimpleITK as sitk

    picture = drawable.SlicePicture(size=(120, 90))
    picture.show(phantom["ct"], phantom["map"])
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(picture.save(tmp_path / "slice.png"))))
    assert written.shape == (90, 120, 3)
    np.testing.assert_array_equal(written, picture.image())


def test_slice_view_of_the_layout_shows_the_same(drawable, phantom):
    import slicer

    slicer.util.setSliceViewerLayers(background=phantom["ct"], foreground=phantom["map"])
    view = slicer.app.layoutManager().sliceWidget("Red")
    view.mrmlSliceCompositeNode().SetForegroundOpacity(1.0)
    picture = view.sliceView()._native.picture()
    picture.logic.FitSliceToBackground()
    at = place(phantom["matrix"], 12, 31, 12)
    picture.jump_to(*at)
    assert picture.colour(*at) == pytest.approx([255, 0, 0], abs=4)
