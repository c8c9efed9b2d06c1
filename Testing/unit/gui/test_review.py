"""Results in the views and tables: what a reader sees and clicks."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from gui_support import choose_table, drained, erase_front, show, value
from slicer_standin import rendering

from lungperfusion import mrml
from lungperfusion.io import read_segmentation, write_labelmap
from lungperfusion.results.colours import IODINE_PERFUSION
from lungperfusion.terms import MEASURES
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
    panel.ui.layoutSelector.currentIndex = 0
    choose_table(panel, "measurements")
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


def has_surfaces(node):
    return not mrml.without_surface(node)


def test_surfaces_come_after_everything_else_and_never_while_editing(panel, desktop):
    node, defects = (panel.study.node(f"labels.{name}") for name in ("lungs", "defects"))
    assert not has_surfaces(node)
    panel.ui.surfacesCheckBox.checked = True
    assert node.GetDisplayNode().GetVisibility3D()
    assert not has_surfaces(node)  # not yet: the click has ended first
    desktop.wait(lambda: has_surfaces(node) and has_surfaces(defects), 20.0)
    panel.ui.reviewCollapsibleButton.collapsed = False
    panel.ui.correctedSelector.currentIndex = panel.ui.correctedSelector.findData("labels.lungs")
    assert not has_surfaces(node)
    assert has_surfaces(defects)
    panel.ui.reviewCollapsibleButton.collapsed = True
    desktop.wait(lambda: has_surfaces(node), 20.0)


def test_new_results_do_not_make_surfaces_on_the_way(panel, desktop, ipv_results, tmp_path):
    panel.ui.surfacesCheckBox.checked = True
    node = panel.study.node("labels.lungs")
    desktop.wait(lambda: has_surfaces(node), 20.0)
    known = read_segmentation(ipv_results / "lungs.seg.nrrd")
    shifted = known.with_array(np.roll(known.array, 1, axis=2))
    shutil.copytree(ipv_results, tmp_path / "other")
    write_labelmap(shifted, tmp_path / "other" / "lungs.seg.nrrd")
    show(panel, tmp_path / "other", anew=False)
    assert not has_surfaces(node)
    desktop.wait(lambda: has_surfaces(node), 20.0)


def test_value_and_unit_under_the_mouse(panel):
    import slicer

    place, amount = iodine_voxel(panel)
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCursorPositionRAS(place)
    assert panel.ui.cursorLabel.text.startswith("CT: −")
    assert f"Iodine: {amount:.2f} mg/mL" in panel.ui.cursorLabel.text
    crosshair.SetCursorPositionRAS(panel.study.node("map.iodine").GetOrigin())
    assert "Iodine: not measured here" in panel.ui.cursorLabel.text
    crosshair.SetCursorPositionRAS([9000.0, 0.0, 0.0])
    assert panel.ui.cursorLabel.text == ""
    panel.exit()
    crosshair.SetCursorPositionRAS(place)
    assert panel.ui.cursorLabel.text == ""
    panel.enter()


def test_apply_opens_the_comparison_at_the_largest_finding(panel, ipv_results):
    import slicer

    panel.ui.tableSelector.currentIndex = 0
    show(panel, ipv_results)
    assert panel.ui.layoutSelector.currentIndex == 1
    table = panel.study.node("table.defects")
    volumes = [
        float(table.GetCellText(n, table.GetColumnIndex("volume_ml")))
        for n in range(table.GetNumberOfRows())
    ]
    if not volumes:
        pytest.skip("no defect was found")
    assert panel.results._chosen_row() == volumes.index(max(volumes))
    from lungperfusion_gui import overlay

    view = slicer.app.layoutManager().sliceWidget(overlay.VIEWS[0][0]).mrmlSliceNode()
    place = panel.results._place_of(volumes.index(max(volumes)))
    assert view.GetSliceOffset() == pytest.approx(place[2], abs=1e-3)
    panel.ui.layoutSelector.currentIndex = 0
    show(panel, ipv_results, anew=False)  # a recomputation leaves the views to the reader
    assert panel.ui.layoutSelector.currentIndex == 0


def test_nothing_lies_over_the_colours_of_a_map(panel):
    """Lines of lobes and fills of classes would be taken for values."""
    defects, lungs = (
        panel.study.node(f"labels.{name}").GetDisplayNode() for name in ("defects", "lungs")
    )
    assert defects.GetVisibility2D()
    assert defects.GetOpacity2DFill() == 0
    assert not lungs.GetVisibility2D()
    panel.ui.mapOpacity.value = 0.0
    assert defects.GetOpacity2DFill() > 0
    assert lungs.GetVisibility2D()
    panel.ui.mapOpacity.value = 0.6
    panel.ui.layoutSelector.currentIndex = 1
    import slicer

    from lungperfusion_gui import overlay

    views = [
        slicer.app.layoutManager().sliceWidget(view[0]).mrmlSliceNode().GetID()
        for view in overlay.VIEWS
    ]
    assert [defects.IsDisplayableInView(view) for view in views] == [False, False, True]
    assert [lungs.IsDisplayableInView(view) for view in views] == [True, False, False]
    assert panel.ui.linkCheckBox.checked  # views of the comparison move together
    panel.ui.reviewCollapsibleButton.collapsed = False
    panel.ui.correctedSelector.currentIndex = panel.ui.correctedSelector.findData("labels.lungs")
    assert all(lungs.IsDisplayableInView(view) for view in views)
    panel.ui.layoutSelector.currentIndex = 0
    assert not panel.ui.linkCheckBox.checked


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


def test_rows_without_a_place_say_so_and_the_mark_of_a_place_is_taken_away(panel):
    import slicer

    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    table = panel.study.node("table.measurements")
    column = table.GetColumnIndex("region")
    regions = [table.GetCellText(row, column) for row in range(table.GetNumberOfRows())]
    panel.ui.resultsTableView.selectRow(regions.index("Rim"))  # no segment shows it
    assert "no place" in panel.ui.placeLabel.text
    panel.ui.resultsTableView.selectRow(regions.index("Left lung"))
    assert panel.ui.placeLabel.text == ""
    assert crosshair.GetCrosshairMode() == slicer.vtkMRMLCrosshairNode.ShowBasic
    panel.exit()
    assert crosshair.GetCrosshairMode() == slicer.vtkMRMLCrosshairNode.NoCrosshair
    panel.enter()


def test_the_trail_says_what_a_reader_can_use(modules):
    modules()
    from lungperfusion_gui.segment_editing import trail_lines

    edit = {
        "segment": "left_lung",
        "voxels_added": 1,
        "ml_added": 0.001,
        "voxels_removed": 800,
        "ml_removed": 1.234,
    }
    values = {"region": "lungs", "unit": "HU"}
    same = {**values, "measure": "iodine_mean", "before": 42.61, "after": 42.62}
    other = {**values, "measure": "mld", "before": -840.0, "after": -835.0}
    words = trail_lines([edit, {"recomputed": ["lungs"], "changes": [other, same]}])
    assert "Left lung: +1 voxel, −1.23 mL" in words
    assert "−840.0 → −835.0 HU" in words
    assert "42.6" not in words
    assert "no value changed" in trail_lines([{"recomputed": ["lungs"], "changes": [same]}])


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


def threshold(panel, segment, below_hu):
    """Apply the effect as a user does, with the range of air."""
    editor = panel.ui.segmentEditor
    editor.setCurrentSegmentID(segment)
    editor.setActiveEffectByName("Threshold")
    effect = editor.activeEffect()
    effect.setParameter("MinimumThreshold", "-2000")
    effect.setParameter("MaximumThreshold", str(below_hu))
    effect.self().onApply()


def test_threshold_takes_no_air_outside_the_body(panel, patient, desktop):
    lungs, grid = panel.study.node("labels.lungs"), patient.ct.geometry
    before = mrml.segment_mask(lungs, "left_lung", grid)
    threshold(panel, "left_lung", -600)
    filled = mrml.segment_mask(lungs, "left_lung", grid)
    assert filled[0, 0, 0]  # for a moment
    desktop.wait(lambda: panel.study.outdated, 5.0)
    taken = mrml.segment_mask(lungs, "left_lung", grid)
    inside = (patient.truth.lungs.array > 0) | (patient.truth.airways.array > 0)
    assert np.array_equal(taken[inside], filled[inside])
    assert np.count_nonzero(filled & inside) > 0.8 * np.count_nonzero(inside)
    assert np.count_nonzero(taken & ~inside) < 0.02 * np.count_nonzero(filled & ~inside)
    entries = mrml.read_trail(panel.study.node("trail"))
    entry = next(entry for entry in entries if entry["segment"] == "left_lung")
    assert entry["voxels_added"] == np.count_nonzero(taken & ~before)  # and nothing taken back
    segments = lungs.GetSegmentation()
    assert list(segments.GetSegmentIDs()) == ["left_lung", "right_lung", "airways"]
    panel.ui.segmentEditor.undo()
    assert np.array_equal(mrml.segment_mask(lungs, "left_lung", grid), before)


def test_other_effects_draw_where_the_reader_wants(panel, patient, desktop):
    """A body that is found wrongly must not keep a reader from mending the lungs."""
    import slicer

    lungs, grid = panel.study.node("labels.lungs"), patient.ct.geometry
    editor = panel.ui.segmentEditor
    editor.setCurrentSegmentID("left_lung")
    editor.setActiveEffectByName("Paint")
    drawn = mrml.segment_mask(lungs, "left_lung", grid)
    drawn[0, 0, :5] = True
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        drawn.astype(np.uint8), lungs, "left_lung", mrml.reference_of(lungs)
    )
    desktop.wait(lambda: panel.study.outdated, 5.0)
    assert np.array_equal(mrml.segment_mask(lungs, "left_lung", grid), drawn)


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
    from lungperfusion_gui.job import Job

    panel.ui.applyButton.click()
    desktop.wait(lambda: Job.running, 20.0)
    job = panel.job
    desktop.close_scene()
    assert panel.job is None
    desktop.wait(lambda: job.ended, 20.0)


def test_inputs_are_written_no_further_in_a_closed_scene(panel, desktop):
    from lungperfusion_gui.job import Job

    panel.ui.applyButton.click()
    folder = panel.runs.folder
    desktop.close_scene()
    assert panel.job is None
    desktop.rest(0.3)
    assert not Job.running
    assert not folder.exists()


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
    """Bars with names and values in the panel, as long as the values are to each other."""
    import slicer

    layout = slicer.app.layoutManager().layout
    table = panel.study.node("table.measurements")
    measures = [
        table.GetCellText(n, table.GetColumnIndex("measure"))
        for n in range(table.GetNumberOfRows())
    ]
    panel.ui.chartButton.click()
    assert "Choose a row" in panel.ui.chartLabel.text
    panel.ui.resultsTableView.selectRow(measures.index("Iodine perfusion"))
    words = panel.ui.chartLabel.text
    assert "Iodine perfusion [HU]" in words
    assert "Left upper zone" in words
    widths = [int(width) for width in re.findall(r"td width='(\d+)'", words)]
    assert max(widths) == 150
    rows = [row for row in panel.study.measurements if row.measure == "iodine_mean"]
    values = [row.value for row in rows if np.isfinite(row.value)]
    assert widths == [round(150 * value / max(values)) for value in values]
    panel.ui.resultsTableView.selectRow(measures.index(MEASURES["tlv"].title))
    assert MEASURES["tlv"].title in panel.ui.chartLabel.text
    assert slicer.app.layoutManager().layout == layout
    panel.ui.chartButton.click()
    assert not panel.ui.chartLabel.isVisibleTo(panel.parent)


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
    words = drained(panel.logic.request(panel.parameters, tmp_path))
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
    assert drained(panel._reportWords(kept.folder, False)) == [*kept.words, "--no-report"]
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
