"""Two patients in one scene, scenes that come back, and nodes that are left alone."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from gui_support import choose_table, drained, erase_front, show

from lungperfusion import mrml
from lungperfusion.io import read_segmentation


@pytest.fixture
def panel(desktop, modules, volumes, ipv_results):
    """PerfusionIPv with the results of the first patient."""
    modules("PerfusionIPv")
    panel = desktop.select("PerfusionIPv")
    show(panel, ipv_results)
    panel.ui.layoutSelector.currentIndex = 0
    choose_table(panel, "measurements")
    return panel


@pytest.fixture
def other(panel, patient):
    """CT and iodine map of a second patient, which have the same names."""
    import slicer

    scene = slicer.mrmlScene
    return mrml.show_volume(scene, patient.ct, "CT"), mrml.show_volume(
        scene, patient.iodine, "Iodine"
    )


def choose(panel, ct, iodine):
    panel.parameters.ct = ct
    panel.parameters.iodine = iodine


def can(panel):
    """What the reader may press beside Apply."""
    return panel.ui.reportButton.enabled, panel.ui.recomputeButton.enabled


def test_results_of_one_patient_are_never_those_of_another(desktop, panel, volumes, other, patient):
    lungs = panel.study.node("labels.lungs")
    erase_front(lungs, "left_lung", patient.ct.geometry)
    desktop.wait(lambda: panel.study.outdated, 5.0)
    assert can(panel) == (False, True)
    choose(panel, *other)
    assert can(panel) == (False, False)
    assert panel.study.record is None
    assert panel.study.corrected == []
    assert panel.ui.tableSelector.count == 0
    assert "--lung-mask" not in " ".join(panel.logic.options(panel.parameters))
    assert not lungs.GetDisplayNode().GetVisibility()
    choose(panel, volumes[0], other[1])  # the scan of the one, the map of the other
    assert "other inputs" in panel.ui.stateLabel.text
    assert can(panel) == (False, False)
    choose(panel, *volumes)
    assert "outdated" in panel.ui.stateLabel.text
    assert can(panel) == (False, True)
    assert panel.study.corrected == ["lungs"]


def test_a_study_is_looked_for_in_its_own_scene(desktop):
    import slicer

    from lungperfusion_gui.study import Study

    scene = slicer.vtkMRMLScene()  # not the application's
    scan = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    Study(scene, "PerfusionIPv", scan).set_value("outdated", "True")
    assert Study(scene, "PerfusionIPv", scan).outdated


def test_a_run_ends_in_the_study_it_was_started_for(panel, volumes, other, ipv_results):
    run = panel.newRun(anew=True)
    choose(panel, *other)
    panel.show(ipv_results, run)
    assert panel.study.record is None
    assert can(panel) == (False, False)
    choose(panel, *volumes)
    assert panel.study.record is not None
    assert can(panel) == (True, False)


def test_two_studies_live_side_by_side(desktop, panel, volumes, other, ipv_results, tmp_path):
    first = panel.study.node("table.measurements")
    choose(panel, *other)
    show(panel, ipv_results)
    second = panel.study.node("table.measurements")
    assert second is not first
    choose(panel, *volumes)
    choose_table(panel, "measurements")
    assert panel.ui.resultsTableView.mrmlTableNode() is first
    desktop.save_and_load_scene(tmp_path / "scene.mrb")
    assert panel.study.has_results
    assert can(panel) == (True, False)


def test_other_settings_ask_for_recompute(panel):
    panel.ui.rimMm.value = 12.0
    assert "other settings" in panel.ui.stateLabel.text
    assert can(panel) == (False, True)


def test_originals_stay_hidden_in_loaded_scenes(desktop, panel, tmp_path):
    """Slicer gives a segmentation without display a visible one."""
    original = panel.study.node("original.lungs")
    assert not original.GetDisplayNode().GetVisibility()
    desktop.save_and_load_scene(tmp_path / "scene.mrb")
    original = panel.study.node("original.lungs")
    assert original.GetDisplayNode() is not None
    assert not original.GetDisplayNode().GetVisibility()
    original.GetDisplayNode().SetVisibility(True)  # as in scenes that were saved without one
    panel.exit()
    panel.enter()
    assert not original.GetDisplayNode().GetVisibility()


def test_reload_leaves_a_panel_that_works(desktop, panel, volumes):
    for _ in range(2):
        panel = desktop.reload("PerfusionIPv")
        assert panel.ui.ct.isVisibleTo(panel.parent)
        assert panel.ui.resultsTableView.isVisibleTo(panel.parent)
        panel.ui.ct.setCurrentNode(None)
        assert not panel.ui.applyButton.enabled
        panel.ui.ct.setCurrentNode(volumes[0])
        assert panel.ui.applyButton.enabled


def test_nothing_happens_while_no_scene_is_bound(panel):
    panel.exit()
    assert panel.parameters is None
    for slot in (panel.onApply, panel.onRecompute, panel.onReport, panel.onRestore):
        slot()
    panel.updateButtons()
    assert panel.job is None


class Events:
    """Counts the changes that views and panels hear of."""

    def __init__(self, *nodes):
        self.count = 0
        for node in nodes:
            node.AddObserver("ModifiedEvent", self)

    def __call__(self, caller, event):
        self.count += 1


def test_results_that_are_the_same_leave_the_scene_alone(desktop, panel, ipv_results, tmp_path):
    """A loaded scene: every change of a colour would draw all views anew, 256 times a table."""
    desktop.save_and_load_scene(tmp_path / "scene.mrb")
    study = panel.study
    maps = [study.node(f"map.{name}") for name in study.names("map")]
    colours = [node.GetDisplayNode().GetColorNode() for node in maps]
    segments = [study.node(f"labels.{name}").GetSegmentation() for name in study.names("labels")]
    images = [node.GetImageData() for node in maps]
    events = Events(*colours, *segments, *images)
    show(panel, ipv_results, anew=False)
    assert events.count == 0
    assert study.names("map")


def test_a_colour_table_is_written_at_once(desktop, panel):
    import slicer

    from lungperfusion.results.colours import IODINE_PERFUSION

    node = mrml.colour_node(slicer.mrmlScene, IODINE_PERFUSION)
    events = Events(node)
    mrml.colour_node(slicer.mrmlScene, IODINE_PERFUSION.stretched(0.0, 7.0, "mg/mL"))
    assert 1 <= events.count <= 3


def test_renders_wait_while_results_are_shown(panel, ipv_results, monkeypatch):
    import slicer

    from lungperfusion_gui import module_widget

    held = []
    monkeypatch.setattr(
        module_widget,
        "show_results",
        lambda *words, **more: held.append(slicer.app._native._pauses),
    )
    show(panel, ipv_results)
    assert held == [1]
    assert slicer.app._native._pauses == 0


def test_what_was_measured_is_shown_and_the_stroke_kept_apart(
    desktop, panel, ipv_results, patient, tmp_path
):
    lungs = panel.study.node("labels.lungs")
    erase_front(lungs, "left_lung", patient.ct.geometry)
    desktop.wait(lambda: panel.study.outdated, 5.0)
    show(panel, ipv_results, anew=False)  # a run that did not take the correction
    measured = read_segmentation(ipv_results / "lungs.seg.nrrd")
    assert mrml.shows(panel.study.node("labels.lungs"), measured)
    drawn = panel.study.node("drawn.lungs")
    assert not mrml.shows(drawn, measured)
    assert not drawn.GetDisplayNode().GetVisibility()
    drained(panel.logic.request(panel.parameters, tmp_path))  # a report is about what was drawn
    assert mrml.shows(drawn, read_segmentation(tmp_path / "lungs.seg.nrrd"))
    erase_front(panel.study.node("labels.lungs"), "right_lung", patient.ct.geometry)
    desktop.wait(lambda: panel.study.outdated, 5.0)
    assert panel.study.node("drawn.lungs") is None


def test_a_volume_without_display_is_shown(panel, ipv_results, patient):
    import slicer

    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName("bare")
    node = slicer.mrmlScene.AddNode(node)
    mrml.show_volume(slicer.mrmlScene, patient.ct, "bare", node=node)
    assert node.GetDisplayNode() is None
    panel.parameters.ct = node
    show(panel, ipv_results)
    assert node.GetDisplayNode().GetWindowLevelMin() == -1350.0


def test_a_case_name_is_checked_before_the_run(panel):
    panel.ui.caseName.text = "John Doe!"
    panel.parameters.caseName = "John Doe!"
    assert not panel.ui.applyButton.enabled
    assert "case name" in panel.ui.reasonLabel.text
    panel.parameters.caseName = "P1"
    assert panel.ui.applyButton.enabled
    assert panel.ui.reasonLabel.text == ""


@pytest.mark.parametrize("name", ["PerfusionIPv", "CTVQ", "VesselBV"])
def test_long_words_do_not_widen_the_panel(desktop, modules, name):
    modules(name)
    panel = desktop.select(name)
    before = panel.parent.sizeHint.width()
    for label in vars(panel.ui).values():
        if label.inherits("QLabel") and label.wordWrap:
            label.text = "Lungs that reach the border of the scan are measured as far as seen. " * 9
    assert panel.parent.sizeHint.width() <= before


class Started:
    """Takes the place of the run: keeps what would be started and ends it at once."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, make_words, on_success, *, more_words=(), out=None, owner=None):
        self.words = [*drained(make_words(self.folder)), *more_words]
        on_success(out)


def test_without_matplotlib_tables_are_written_all_the_same(panel, tmp_path, monkeypatch):
    import slicer.packaging

    def declined(*words, **more):
        raise RuntimeError("declined")

    monkeypatch.setattr(slicer.packaging, "pip_ensure", declined)
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    panel.runs.start = Started(inputs)
    panel.ui.reportFolder.currentPath = str(tmp_path)
    panel.ui.reportButton.click()
    assert "--no-report" in panel.runs.start.words
    assert "no report" in panel.ui.reportLabel.text
    assert not panel.ui.openReportButton.enabled
    monkeypatch.undo()


def test_the_folder_of_the_report_is_remembered(desktop, panel, tmp_path):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    panel.runs.start = Started(inputs)
    panel.ui.reportFolder.currentPath = str(tmp_path)
    panel.ui.reportButton.click()
    assert "--no-report" not in panel.runs.start.words
    assert panel.ui.openReportButton.enabled
    panel = desktop.reload("PerfusionIPv")
    assert Path(panel.ui.reportFolder.currentPath) == tmp_path


# What is read first ---------------------------------------------------------------------------


def test_deciding_numbers_stand_above_the_table(panel):
    words = panel.ui.summaryLabel.text
    assert "IPv" in words
    assert "HU·L" in words
    assert words.count("<tr>") >= 5


def record(*gates, warnings=()):
    keys = ("id", "verdict", "message")
    listed = [dict(zip(keys, gate, strict=True)) for gate in gates]
    analysis = {"quality_gates": listed, "warnings": list(warnings)}
    return {"analyses": [analysis | {"measurements": [{"measure": "ipv", "region": "lungs"}]}]}


def test_remarks_come_worst_first_with_what_they_touch(modules):
    modules()
    from lungperfusion_gui import remarks

    found = remarks.remarks(
        record(
            ("unheard_of", "warn", "Something is odd."),
            ("unheard_of", "pass", "All is well."),
            ("unheard_of", "fail", "Nothing holds <here>."),
            warnings=["Slices were stacked."],
        ),
        [("ipv", "lungs"), ("pulmonary_flow", "lungs")],
    )
    assert len(found) == 3
    assert "Nothing holds &lt;here&gt;." in found[0]
    assert "Volume-corrected iodine perfusion IPv" in found[0]
    assert "Pulmonary flow" not in found[0]  # of the panel's other analysis
    assert "Something is odd." in found[1]
    assert found[2].endswith("Slices were stacked.")
    assert remarks.folded([*found, "a fourth"], unfolded=False).count("<br>") == 2


def test_rows_are_found_by_words(panel):
    view = panel.ui.resultsTableView
    panel.ui.filterEdit.text = "left iodine"
    rows = mrml.table_rows(view.mrmlTableNode())[1]
    seen = [row for number, row in enumerate(rows) if not view.isRowHidden(number)]
    assert 0 < len(seen) < len(rows)
    assert all(row[0].startswith("Left") and "odine" in " ".join(row) for row in seen)
    panel.ui.filterEdit.text = ""
    assert not any(view.isRowHidden(number) for number in range(len(rows)))


def test_findings_are_stepped_through_and_judged(panel):
    choose_table(panel, "defects")
    table = panel.study.node("table.defects")
    if not table.GetNumberOfRows():
        pytest.skip("no defect was found")
    panel.ui.nextButton.click()
    assert panel.results._chosen_row() == 0
    assert panel.ui.rejectButton.enabled
    panel.ui.rejectButton.click()
    entry = mrml.read_trail(panel.study.node("trail"))[-1]
    assert (entry["finding"], entry["row"], entry["opinion"]) == ("defects", 1, "rejected")
    assert "rejected" in panel.ui.trailText.plainText
    assert not panel.study.outdated


def test_the_comparison_takes_the_slice_over(panel):
    import slicer

    manager = slicer.app.layoutManager()
    red = manager.sliceWidget("Red").mrmlSliceNode()
    red.SetSliceOffset(-28.0)
    panel.ui.layoutSelector.currentIndex = 1
    from lungperfusion_gui import overlay

    nodes = [manager.sliceWidget(view[0]).mrmlSliceNode() for view in overlay.VIEWS]
    assert [node.GetSliceOffset() for node in nodes] == pytest.approx([-28.0] * 3, abs=1e-3)
    width = nodes[0].GetFieldOfView()[0]
    assert width >= 0.95 * np.ptp(_corners(panel.study.scan)[:, 0])
    panel.ui.layoutSelector.currentIndex = 2
    assert {node.GetOrientation() for node in nodes} == {"Coronal"}
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert panel.ui.layoutSelector.currentIndex == 0


def _corners(node):
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    return np.array(bounds).reshape(3, 2).T


def test_what_a_later_run_lacks_leaves_only_its_own_study(panel, other, ipv_results, tmp_path):
    before = panel.study
    choose(panel, *other)
    show(panel, ipv_results)
    shutil.copytree(ipv_results, tmp_path / "less")
    (tmp_path / "less" / "exclusions.seg.nrrd").unlink()
    show(panel, tmp_path / "less")
    assert "exclusions" not in panel.study.names("labels")
    assert "exclusions" in before.names("labels")
