"""Results in the views and tables: what a reader sees and clicks."""

from pathlib import Path

import numpy as np
import pytest
from gui_support import erase_front, show, value
from slicer_standin import rendering

from lungperfusion import mrml
from lungperfusion.io import read_segmentation
from lungperfusion.results.colours import IODINE_PERFUSION
from lungperfusion.volume import Labelmap


@pytest.fixture
def panel(desktop, modules, volumes, ipv_results):
    """PerfusionIPv with the results of the patient."""
    modules("PerfusionIPv")
    panel = desktop.select("PerfusionIPv")
    panel.ui.ct.setCurrentNode(volumes[0])
    panel.ui.iodine.setCurrentNode(volumes[1])
    panel.ui.iodineUnit.currentText = "mg/mL"
    show(panel, ipv_results)
    return panel


def iodine_voxel(panel):
    """Voxel with plenty of iodine, in the middle of the lung: place, value."""
    import slicer

    node = panel.study.node("map.iodine")
    array = slicer.util.arrayFromVolume(node)
    lung = np.isfinite(array)
    from scipy import ndimage

    deep = ndimage.binary_erosion(lung, iterations=3)
    k, j, i = np.argwhere(deep)[np.count_nonzero(deep) // 2]
    geometry = mrml.geometry_from_node(node)
    return geometry.ras_from_ijk((i, j, k)), float(array[k, j, i])


def test_colours_in_the_view_mean_the_values_of_the_map(panel):
    import slicer

    reason = rendering.why_not()
    if reason:
        pytest.skip(reason)
    panel.ui.mapOpacity.value = 1.0
    panel.ui.segmentsCheckBox.checked = False
    panel.ui.legendCheckBox.checked = False
    place, amount = iodine_voxel(panel)
    from lungperfusion_gui import overlay

    overlay.jump_to(place)
    slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode").SetCrosshairMode(0)
    picture = rendering.SlicePicture(slicer.app.layoutManager().sliceWidget("Red").sliceLogic())
    drawn = np.array(picture.colour(*place)) / 255
    scale = panel.parameters.iodineHuPerMgMl
    expected = IODINE_PERFUSION.colours(np.array([amount * scale]))[0]
    assert np.abs(drawn - expected).max() < 0.03


def test_map_is_nan_outside_the_lungs(panel):
    import slicer

    array = slicer.util.arrayFromVolume(panel.study.node("map.iodine"))
    assert np.isnan(array).any()
    lungs = panel.study.node("labels.lungs")
    geometry = mrml.geometry_from_node(panel.study.node("map.iodine"))
    assert not np.isfinite(array[~mrml.lungs_mask(lungs, geometry)]).any()


def test_sliders_act_on_the_map(panel):
    display = panel.study.node("map.iodine").GetDisplayNode()
    assert display.GetWindowLevelMax() == pytest.approx(100 / panel.parameters.iodineHuPerMgMl)
    panel.ui.mapRange.setValues(0.5, 2.5)
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.5, 2.5)
    panel.ui.mapThreshold.value = 1.0
    assert display.GetLowerThreshold() == pytest.approx(1.0)
    panel.ui.mapThreshold.value = panel.ui.mapThreshold.minimum
    assert display.GetLowerThreshold() < -1e20


def test_window_presets(panel, volumes):
    from lungperfusion_gui.overlay import WINDOWS

    display = volumes[0].GetDisplayNode()
    panel.ui.windowPreset.currentIndex = panel.ui.windowPreset.findData("Mediastinum")
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == WINDOWS["Mediastinum"]


def test_comparison_layout_is_linked_and_given_back(panel, volumes, desktop):
    import slicer

    manager = slicer.app.layoutManager()
    before = manager.layout
    panel.ui.layoutSelector.currentIndex = 1
    from lungperfusion_gui import overlay

    assert manager.layout == overlay.LAYOUT
    widgets = [manager.sliceWidget(name) for name, _label, _colour in overlay.VIEWS]
    layers = [widget.mrmlSliceCompositeNode() for widget in widgets]
    assert {layer.GetBackgroundVolumeID() for layer in layers} == {volumes[0].GetID()}
    iodine = panel.study.node("map.iodine").GetID()
    assert [layer.GetForegroundVolumeID() for layer in layers] == [None, iodine, None]
    assert all(layer.GetLinkedControl() for layer in layers)
    findings = panel.study.node("labels.defects").GetDisplayNode()
    assert findings.IsDisplayableInView(widgets[2].mrmlSliceNode().GetID())
    assert not findings.IsDisplayableInView(widgets[0].mrmlSliceNode().GetID())
    panel.exit()
    assert manager.layout == before
    panel.enter()


def test_legend_has_the_unit(panel):
    import slicer

    legend = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLColorLegendDisplayNode")
    assert legend.GetVisibility()
    assert "[mg/mL]" in legend.GetTitleText()
    panel.ui.legendCheckBox.checked = False
    assert not legend.GetVisibility()


def test_surfaces_in_3d(panel):
    node = panel.study.node("labels.lungs")
    assert not node.GetSegmentation().ContainsRepresentation(mrml.CLOSED_SURFACE)
    panel.ui.surfacesCheckBox.checked = True
    assert node.GetSegmentation().ContainsRepresentation(mrml.CLOSED_SURFACE)
    assert node.GetDisplayNode().GetVisibility3D()


def test_click_on_a_row_goes_to_the_place(panel):
    import slicer

    table = panel.study.node("table.measurements")
    row = next(
        n
        for n in range(table.GetNumberOfRows())
        if table.GetCellText(n, table.GetColumnIndex("region")) == "Left lung"
    )
    panel.ui.resultsTableView.selectRow(row)
    lungs = panel.study.node("labels.lungs")
    centre = mrml.segment_centre_ras_mm(lungs, "left_lung")
    node = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    assert node.GetSliceOffset() == pytest.approx(centre[2], abs=1e-3)


def test_results_lie_beside_their_input(panel, volumes):
    import slicer

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    table = panel.study.node("table.measurements")
    folder = tree.GetItemParent(tree.GetItemByDataNode(table))
    assert tree.GetItemName(folder) == "Lung perfusion"
    assert tree.GetItemParent(folder) == tree.GetItemParent(tree.GetItemByDataNode(volumes[0]))


def test_undo_is_an_edit_that_takes_back(panel, patient, desktop):
    lungs = panel.study.node("labels.lungs")
    assert panel.ui.segmentEditor.segmentationNode() is lungs
    panel.ui.segmentEditor.saveStateForUndo()
    erase_front(lungs, "left_lung", patient.ct.geometry)
    desktop.wait(lambda: panel.study.outdated, 5.0)
    panel.ui.segmentEditor.undo()
    trail = panel.study.node("trail")
    desktop.wait(lambda: len(mrml.read_trail(trail)) == 2, 5.0)
    first, second = mrml.read_trail(trail)
    assert first["voxels_removed"] == second["voxels_added"] > 0


def test_second_scene_starts_empty(panel, desktop):
    assert value(panel, "tlv") > 1.0
    desktop.close_scene()
    assert panel.study.record is None
    assert panel.ui.tableSelector.count == panel.ui.mapSelector.count == 0
    assert panel.ui.trailText.plainText == "none"
    assert panel.ui.segmentEditor.segmentationNode() is None


def test_cancel_stops_at_once_and_shows_nothing(panel, desktop):
    before = panel.study.record
    panel.ui.applyButton.click()
    assert panel.ui.cancelButton.enabled
    folder = panel.runs.folder
    panel.ui.cancelButton.click()
    desktop.wait(lambda: panel.job is None, 20.0)
    assert panel.study.record == before
    assert panel.ui.applyButton.enabled
    assert not folder.exists()


def test_failure_is_told_in_words(desktop, modules, caplog, monkeypatch):
    import slicer

    modules("VesselBV")
    from lungperfusion_gui import scan_check

    monkeypatch.setattr(scan_check, "refusal", lambda node, lungs_given: "")  # it would not run
    panel = desktop.select("VesselBV")
    water = np.zeros((10, 40, 40), np.int16)
    node = slicer.util.addVolumeFromArray(water, name="Water")
    panel.ui.ct.setCurrentNode(node)
    panel.ui.applyButton.click()
    desktop.wait(lambda: panel.job is None, 60.0)
    assert any("expected a chest CT" in record.message for record in caplog.records)
    assert panel.study.record is None
    assert panel.ui.applyButton.enabled


def test_running_job_is_left_behind_with_the_scene(panel, desktop):
    panel.ui.applyButton.click()
    job = panel.job
    desktop.close_scene()
    assert panel.job is None
    desktop.wait(lambda: job.ended, 20.0)


def test_panel_survives_reload_and_module_switch(panel, desktop):
    before = value(panel, "tlv")
    panel = desktop.reload("PerfusionIPv")
    assert value(panel, "tlv") == before
    assert panel.ui.tableSelector.count >= 2
    panel.exit()
    assert panel.parameters is None
    panel.enter()
    assert value(panel, "tlv") == before


def test_chart_of_the_chosen_measure(panel):
    table = panel.study.node("table.measurements")
    measures = [
        table.GetCellText(n, table.GetColumnIndex("measure"))
        for n in range(table.GetNumberOfRows())
    ]
    panel.ui.resultsTableView.selectRow(measures.index("Iodine perfusion"))
    panel.ui.chartButton.click()
    chart = panel.study.node("chart")
    assert chart.GetTitle() == "Iodine perfusion"
    assert chart.GetNumberOfPlotSeriesNodes() >= 3


def test_class_map_is_drawn_in_its_colour(panel):
    """A voxel of the chosen class map shows its fill over the CT; outside nothing changes."""
    import slicer

    reason = rendering.why_not()
    if reason:
        pytest.skip(reason)
    from scipy import ndimage

    from lungperfusion_gui import overlay

    node = panel.study.node("labels.exclusions")
    segment = node.GetSegmentation().GetSegmentIDs()[0]
    reference = panel.study.scan
    geometry = mrml.geometry_from_node(reference)
    mask = mrml.segment_mask(node, segment, geometry)
    depth = ndimage.distance_transform_edt(mask)
    k, j, i = np.unravel_index(np.argmax(depth), depth.shape)
    place = geometry.ras_from_ijk((i, j, k))
    panel.ui.mapOpacity.value = 0.0
    panel.ui.legendCheckBox.checked = False
    select = panel.ui.findingsSelector
    select.currentIndex = select.findData("labels.exclusions")
    overlay.jump_to(place)
    slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode").SetCrosshairMode(0)
    picture = rendering.SlicePicture(slicer.app.layoutManager().sliceWidget("Red").sliceLogic())
    with_classes = np.array(picture.colour(*place), float)
    panel.ui.segmentsCheckBox.checked = False
    plain = np.array(picture.colour(*place), float)
    colour = 255 * np.array(node.GetSegmentation().GetSegment(segment).GetColor())
    expected = plain + 0.35 * (colour - plain)
    assert np.abs(with_classes - expected).max() < 12
    assert np.abs(with_classes - plain).max() > 12


def test_given_segmentations_do_not_cover_the_results(panel, patient):
    import slicer

    lungs = patient.truth.labelmaps()["lungs"]
    node = mrml.show_labelmap(slicer.mrmlScene, lungs, "TotalSegmentator")
    panel.ui.lungMask.setCurrentNode(node)
    panel.display.style(panel.study, panel.logic.input_segmentations(panel.parameters))
    assert not node.GetDisplayNode().GetVisibility()


def test_vessels_of_another_segmentation_are_handed_on(panel, patient, tmp_path):
    """Segments are told by their names; airways beside them are none."""
    import slicer

    lungs = patient.truth.labelmaps()["lungs"]
    geometry, half = lungs.geometry, lungs.geometry.shape[0] // 2
    array = np.zeros(geometry.shape, np.uint8)
    array[half, :, :][lungs.array[half] > 0] = 1
    array[half + 1, :, :][lungs.array[half + 1] > 0] = 2
    node = mrml.show_labelmap(
        slicer.mrmlScene, Labelmap(array, geometry, {1: "Segment_1", 2: "Segment_2"}), "Other"
    )
    for identifier, name in (("Segment_1", "lung_vessels"), ("Segment_2", "airways")):
        node.GetSegmentation().GetSegment(identifier).SetName(name)
    panel.ui.vesselMask.setCurrentNode(node)
    words = panel.logic.request(panel.parameters, tmp_path)
    written = read_segmentation(Path(words[words.index("--vessel-mask") + 1]))
    assert np.array_equal(written.mask("vessels"), array == 1)
    assert node in panel.logic.input_segmentations(panel.parameters)
    panel.ui.vesselMask.setCurrentNode(None)


def test_value_and_unit_stand_in_sight(panel):
    table = panel.study.node("table.measurements")
    view = panel.ui.resultsTableView
    wide = sum(view.columnWidth(n) for n in range(table.GetColumnIndex("unit") + 1))
    assert wide <= 430


def test_results_wait_for_the_panel_that_was_left(panel, desktop, modules):
    """A run goes on while the reader is in another module; its results are shown on return."""
    modules("VesselBV")
    panel.ui.rimMm.value = 12.0
    panel.ui.applyButton.click()
    desktop.select("VesselBV")
    assert panel.parameters is None
    desktop.wait(lambda: panel.job is None, 240.0)
    desktop.select("PerfusionIPv")
    assert panel.ui.stateLabel.text == ""
    assert panel.study.record["analyses"][0]["parameters"]["rim_mm"] == 12.0
    assert panel.runs.folder is None
    # a report is drawn from what the results were made from, and nothing stays in a closed scene
    kept = panel.runs.kept(panel.study.scan.GetID())
    assert kept.words[0] == "ipv"
    assert panel._reportWords(kept.folder, False) == [*kept.words, "--no-report"]
    desktop.close_scene()
    assert not kept.folder.exists()


def test_cancelled_apply_keeps_the_corrections(panel, desktop, patient, monkeypatch):
    import slicer

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *words: True)
    lungs = panel.study.node("labels.lungs")
    erase_front(lungs, "left_lung", patient.ct.geometry)
    desktop.wait(lambda: panel.study.outdated, 5.0)
    panel.ui.applyButton.click()
    assert panel.job is not None
    panel.ui.cancelButton.click()
    desktop.wait(lambda: panel.job is None, 20.0)
    assert panel.study.corrected == ["lungs"]
    assert panel.study.outdated
    assert panel.study.node("original.lungs") is not None


def test_an_edit_during_a_run_stays_to_be_computed(panel, desktop, patient, ipv_results):
    lungs = panel.study.node("labels.lungs")
    erase_front(lungs, "left_lung", patient.ct.geometry)
    desktop.wait(lambda: panel.study.outdated, 5.0)
    panel.ui.recomputeButton.click()
    started = panel.newRun(anew=False)
    erase_front(lungs, "right_lung", patient.ct.geometry)
    panel.show(ipv_results, started)  # as if the run had ended now
    assert panel.study.outdated
    assert "outdated" in (panel.updateButtons() or panel.ui.stateLabel.text)
    panel.ui.cancelButton.click()
    desktop.wait(lambda: panel.job is None, 20.0)
