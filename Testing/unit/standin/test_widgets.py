"""Widgets and views as module panels use them, beyond the recorded contract."""

import numpy as np
import pytest

LAYOUT = 25699
"""Not that of the extension, which other tests of the same process may have registered."""
VIEWS = ("LpCT", "LpMap")


@pytest.fixture
def ct(desktop):
    import slicer

    matrix = slicer.util.vtkMatrixFromArray(np.diag([-4.0, -4.0, 4.0, 1.0]))
    values = np.zeros((20, 24, 28), np.int16)
    return slicer.util.addVolumeFromArray(values, ijkToRAS=matrix, name="CT")


@pytest.fixture
def comparison(desktop):
    """Activate a layout with two linked slice views; afterwards return to the one before."""
    import slicer

    views = "".join(
        f'<item><view class="vtkMRMLSliceNode" singletontag="{name}">'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">{name}</property>'
        '<property name="viewgroup" action="default">1</property></view></item>'
        for name in VIEWS
    )
    manager = slicer.app.layoutManager()
    node = manager.layoutLogic().GetLayoutNode()
    if not node.IsLayoutDescription(LAYOUT):
        node.AddLayoutDescription(LAYOUT, f'<layout type="horizontal">{views}</layout>')
    before = manager.layout
    manager.setLayout(LAYOUT)
    yield manager
    manager.setLayout(before)


def test_views_of_a_custom_layout_exist_and_are_listed(comparison):
    assert comparison.layout == LAYOUT
    assert set(VIEWS) <= set(comparison.sliceViewNames())
    assert comparison.sliceWidget("LpCT").mrmlSliceNode().GetOrientation() == "Axial"


def test_offset_is_broadcast_by_the_controller_and_not_by_the_node(comparison, ct):
    widgets = [comparison.sliceWidget(name) for name in VIEWS]
    for widget in widgets:
        layers = widget.mrmlSliceCompositeNode()
        layers.SetBackgroundVolumeID(ct.GetID())
        layers.SetLinkedControl(1)
        layers.SetHotLinkedControl(1)
        widget.mrmlSliceNode().SetViewGroup(1)
        widget.sliceLogic().FitSliceToAll()
    widgets[0].sliceController().setSliceOffsetValue(12)
    assert [w.mrmlSliceNode().GetSliceOffset() for w in widgets] == pytest.approx([12, 12])
    widgets[0].mrmlSliceNode().SetSliceOffset(20)
    assert [w.mrmlSliceNode().GetSliceOffset() for w in widgets] == pytest.approx([20, 12])


def test_volumes_in_all_views_and_default_opacity(ct):
    import slicer

    views = slicer.app.layoutManager().sliceViewNames()
    layers = [slicer.app.layoutManager().sliceWidget(v).mrmlSliceCompositeNode() for v in views]
    layers[0].SetForegroundVolumeID(ct.GetID())
    assert layers[0].GetForegroundOpacity() == 0.0
    slicer.util.setSliceViewerLayers(background=ct, foreground=ct, foregroundOpacity=0.6)
    assert {each.GetForegroundOpacity() for each in layers} == {0.6}


def test_row_of_a_table_jumps_to_its_place(ct):
    import qt
    import slicer
    import vtk

    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Defects")
    for name, values in {"R": (10.0, -20.0), "A": (0.0, 8.0), "S": (4.0, 32.0)}.items():
        column = vtk.vtkDoubleArray()
        column.SetName(name)
        for value in values:
            column.InsertNextValue(value)
        table.AddColumn(column)
        table.SetColumnUnitLabel(name, "mm")
    table.SetUseColumnTitleAsColumnHeader(True)
    view = slicer.qMRMLTableView()
    view.setMRMLScene(slicer.mrmlScene)
    view.setMRMLTableNode(table)
    view.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
    places = []

    def jump():
        (first, *_) = view.selectionModel().selectedIndexes
        row = view.model().mapToSource(first).row()
        place = [float(table.GetCellText(row, table.GetColumnIndex(name))) for name in "RAS"]
        slicer.vtkMRMLSliceNode.JumpAllSlices(
            slicer.mrmlScene, *place, slicer.vtkMRMLSliceNode.CenteredJumpSlice
        )
        places.append(place)

    view.connect("selectionChanged()", jump)
    view.selectRow(1)
    assert places == [[-20.0, 8.0, 32.0]]
    red = slicer.app.layoutManager().sliceWidget("Red")
    assert red.mrmlSliceNode().GetSliceOffset() == pytest.approx(32.0)
    assert view.model().headerData(0, qt.Qt.Horizontal) == "R [mm]"


def test_table_without_titles_shows_names_in_its_first_row(desktop):
    import qt
    import slicer

    table = slicer.util.updateTableFromArray(None, np.array([[1.0, 2.0]]), ["a", "b"])
    view = slicer.qMRMLTableView()
    view.setMRMLTableNode(table)
    model = view.model()
    assert model.rowCount() == 2
    assert model.headerData(0, qt.Qt.Horizontal) == "A"
    assert model.index(0, 1).data() == "b"


def test_place_mode_follows_buttons_and_the_interaction_node(desktop):
    import slicer

    place = slicer.qSlicerMarkupsPlaceWidget()
    place.setMRMLScene(slicer.mrmlScene)
    place.placeMultipleMarkups = slicer.qSlicerMarkupsPlaceWidget.ForcePlaceSingleMarkup
    line = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "PA")
    place.setCurrentNode(line)
    seen = []
    place.connect("activeMarkupsPlaceModeChanged(bool)", seen.append)
    place.setPlaceModeEnabled(True)
    assert place.placeModeEnabled
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    interaction.SwitchToViewTransformMode()
    assert not place.placeModeEnabled
    assert seen == [True, False]


@pytest.fixture
def editor(desktop, ct):
    import slicer

    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "lungs")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    for name, rows in {"right": slice(2, 8), "left": slice(12, 18)}.items():
        segmentation.GetSegmentation().AddEmptySegment(name, name)
        mask = np.zeros((20, 24, 28), np.uint8)
        mask[rows, 4:8, 4:8] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, name, ct)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    widget = slicer.qMRMLSegmentEditorWidget()
    widget.setMRMLScene(slicer.mrmlScene)
    widget.setMRMLSegmentEditorNode(node)
    widget.setSegmentationNode(segmentation)
    widget.setSourceVolumeNode(ct)
    widget.setMaximumNumberOfUndoStates(5)
    return widget


def counts(editor):
    import slicer

    node, volume = editor.segmentationNode(), editor.sourceVolumeNode()
    return {
        name: int(slicer.util.arrayFromSegmentBinaryLabelmap(node, name, volume).sum())
        for name in ("right", "left")
    }


def add(editor, rows, columns=slice(4, 8)):
    """Add a block of voxels with the active effect, as a brush would."""
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    effect = editor.activeEffect()
    reference = effect.defaultModifierLabelmap()
    labels = slicer.vtkOrientedImageData()
    labels.SetExtent(reference.GetExtent())
    labels.CopyDirections(reference)
    labels.SetSpacing(reference.GetSpacing())
    labels.SetOrigin(reference.GetOrigin())
    labels.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    values = vtk_to_numpy(labels.GetPointData().GetScalars()).reshape(labels.GetDimensions()[::-1])
    values[...] = 0
    values[rows, columns, 4:8] = 1
    effect.saveStateForUndo()
    effect.modifySelectedSegmentByLabelmap(
        labels, slicer.qSlicerSegmentEditorAbstractEffect.ModificationModeAdd
    )


def test_painting_takes_from_the_other_segment_unless_told_not_to(editor):
    editor.setCurrentSegmentID("right")
    editor.setActiveEffectByName("Paint")
    assert counts(editor) == {"right": 96, "left": 96}
    add(editor, slice(12, 14))
    assert counts(editor) == {"right": 128, "left": 64}
    editor.undo()
    assert counts(editor) == {"right": 96, "left": 96}
    editor.redo()
    assert counts(editor) == {"right": 128, "left": 64}
    node = editor.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteNone)
    add(editor, slice(14, 16))
    assert counts(editor) == {"right": 160, "left": 64}


def test_painting_fires_one_event_and_undo_another(editor):
    import slicer

    events = []
    segmentation = editor.segmentationNode().GetSegmentation()
    for name in ("SourceRepresentationModified", "SegmentModified"):
        segmentation.AddObserver(
            getattr(slicer.vtkSegmentation, name), lambda *_, name=name: events.append(name)
        )
    editor.setCurrentSegmentID("right")
    editor.setActiveEffectByName("Paint")
    add(editor, slice(8, 10))
    assert "SourceRepresentationModified" in events
    events.clear()
    editor.undo()
    assert events


def test_changing_the_segmentation_ends_the_effect(editor):
    editor.setActiveEffectByName("Paint")
    editor.setSegmentationNode(None)
    assert editor.activeEffect() is None
    editor.setActiveEffectByName("No such effect")
    assert editor.activeEffect() is None


def test_effect_without_behaviour_says_so(editor):
    from slicer_standin import Absent

    editor.setCurrentSegmentID("right")
    editor.setActiveEffectByName("Smoothing")
    with pytest.raises(Absent, match="'Smoothing' exists in the desktop"):
        editor.activeEffect().self().onApply()


def test_folders_of_the_subject_hierarchy(ct):
    import slicer

    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "P")
    study = hierarchy.CreateStudyItem(patient, "S")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(ct), study)
    folder = hierarchy.CreateFolderItem(study, "Lung perfusion")
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "t")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(table), folder)
    assert hierarchy.GetItemAncestorAtLevel(folder, "Patient") == patient
    hidden = slicer.vtkMRMLTextNode()
    hidden.SetHideFromEditors(True)
    assert not hierarchy.GetItemByDataNode(slicer.mrmlScene.AddNode(hidden))
    hierarchy.RemoveItem(folder, True, True)
    assert table.GetScene() is None


def test_folders_come_back_with_the_scene(ct, desktop, tmp_path):
    import slicer

    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Lung perfusion")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(ct), folder)
    desktop.save_and_load_scene(tmp_path / "scene.mrb")
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(slicer.util.getNode("CT"))
    assert hierarchy.GetItemName(hierarchy.GetItemParent(item)) == "Lung perfusion"


def test_own_slice_widget_gives_a_picture_for_a_report(ct, tmp_path):
    import slicer
    from slicer_standin import rendering

    if rendering.why_not():
        pytest.skip(rendering.why_not())
    node = rendering.slice_logic("Report").GetSliceNode()
    widget = slicer.qMRMLSliceWidget()
    widget.setMRMLScene(slicer.mrmlScene)
    widget.setMRMLSliceNode(node)
    widget.resize(200, 160)
    widget.mrmlSliceCompositeNode().SetBackgroundVolumeID(ct.GetID())
    widget.sliceLogic().FitSliceToBackground()
    assert node.GetXYToRAS().GetElement(0, 0) < 0 < node.GetXYToRAS().GetElement(1, 1)
    picture = widget.grab()
    assert (picture.width(), picture.height()) == (200, 160)
    assert picture.save(str(tmp_path / "slice.png"))


def test_without_main_window(desktop, ct):
    import slicer

    with desktop.without_main_window():
        assert slicer.util.mainWindow() is None
        assert slicer.app.layoutManager() is None
        assert slicer.app.commandOptions().noMainWindow
        assert slicer.util.showStatusMessage("x") is False
        with pytest.raises(RuntimeError):
            slicer.util.selectModule("Data")
        slicer.util.setSliceViewerLayers(background=ct)
    assert slicer.util.mainWindow() is not None


def test_the_last_exit_code_wins_and_code_goes_on(desktop):
    import slicer

    slicer.util.exit(1)
    slicer.util.exit(3)
    assert desktop.exit_code == 3


def test_stand_ins_draw_what_they_hold(desktop):
    import ctk
    import qt
    import slicer

    def drawn(widget):
        widget.resize(300, 30)
        data = qt.QByteArray()
        buffer = qt.QBuffer(data)
        buffer.open(qt.QIODevice.WriteOnly)
        widget.grab().save(buffer, "PNG")
        return data.data()

    slider = ctk.ctkSliderWidget()
    before = drawn(slider)
    slider.value = 40
    assert drawn(slider) != before
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLTextNode"]
    selector.noneEnabled = True
    selector.setMRMLScene(slicer.mrmlScene)
    before = drawn(selector)
    selector.addNode()
    assert drawn(selector) != before


def test_a_plot_shows_its_curves(desktop):
    """A curve is drawn in its colour where its values are; without a chart the view is empty."""
    import slicer
    from PySide6 import QtGui

    from lungperfusion import mrml

    scene = slicer.mrmlScene
    rows = [{"time_s": float(n), "left_lung_hu": float(n * n)} for n in range(20)]
    table = mrml.show_curves(scene, ("time_s", "left_lung_hu"), rows, "curves")
    red = mrml.Curve(table, "time_s", "left_lung_hu", "Left lung", (1.0, 0.0, 0.0))
    chart = mrml.show_chart(scene, [red], ("Time", "HU"))
    node = scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    view = slicer.qMRMLPlotView()
    view.setMRMLPlotViewNode(node)
    view.resize(300, 200)

    def reds():
        image = view.grab().toImage().convertToFormat(QtGui.QImage.Format.Format_RGB32)
        places = [(x, y) for x in range(image.width()) for y in range(image.height())]
        found = [QtGui.QColor(image.pixel(x, y)).getRgb()[:3] for x, y in places]
        return [place for place, (r, g, b) in zip(places, found, strict=True) if r > 250 > g + b]

    assert reds() == []
    node.SetPlotChartNodeID(chart.GetID())
    drawn = reds()
    assert min(y for x, y in drawn if x < 60) > 150  # it starts low on the left
    assert min(y for x, y in drawn if x > 280) < 30  # and ends high on the right
