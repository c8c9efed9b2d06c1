"""A first-pass series in PerfusionIPv: from frames to flow, findings and recomputed numbers."""

import json

import numpy as np
import pytest
from gui_support import apply, click, drained, erase_front, show, value

from lungperfusion import mrml
from lungperfusion.__main__ import main
from lungperfusion.commands.dynamic import POINTS as PLACES
from lungperfusion.dynamic.series import Frames
from lungperfusion.io.writing import write_time_series
from lungperfusion.phantoms.first_pass import (
    INPUTS_RAS_MM,
    SLAB_CENTRE_RAS_MM,
    SLAB_FIELD_MM,
    FirstPassScan,
    render_first_pass,
)
from lungperfusion.phantoms.kinds import default_geometry
from lungperfusion.volume import Geometry, Labelmap

SPACING_MM = (6.0, 6.0, 6.0)
POINTS = {option: INPUTS_RAS_MM[place] for option, place in PLACES.items()}


@pytest.fixture(scope="module")
def phantom():
    geometry = default_geometry(
        SPACING_MM, field_mm=SLAB_FIELD_MM, centre_ras_mm=SLAB_CENTRE_RAS_MM
    )
    scan = FirstPassScan(frames=18, step_s=2.0, noise_hu=3.0, breath_mm=0.0, streak_hu=0.0)
    return render_first_pass(geometry, scan=scan)


@pytest.fixture
def series(phantom):
    """Frames as a node; call it when the desktop is there."""

    def make(name="First pass"):
        import slicer

        frames = Frames(phantom.frames, phantom.geometry, phantom.times_s)
        return mrml.show_frames(slicer.mrmlScene, frames, name)

    return make


@pytest.fixture
def panel(desktop, modules, series):
    modules("PerfusionIPv")
    series()
    return desktop.select("PerfusionIPv")


def frame(panel, number):
    """Item of a frame in the list, numbers from 1."""
    return panel.ui.frameTree.topLevelItem(number - 1)


def tick(panel, number, on):
    import qt

    frame(panel, number).setCheckState(0, qt.Qt.Checked if on else qt.Qt.Unchecked)


def steps_kept(panel, name):
    return len(list(panel.runs._stages.glob(f"*{name}*.npz")))


def test_flow_from_frames_to_recomputed_numbers(desktop, panel, phantom, tmp_path):
    import slicer

    for name, place in POINTS.items():
        click(panel, f"{name}PointButton", place)
    apply(desktop, panel)
    assert panel.ui.stateLabel.text == ""

    # the same numbers as the command line gives from a file
    path = tmp_path / "pass.seq.nrrd"
    write_time_series(phantom.frames, phantom.geometry, phantom.times_s, path)
    words = [word for name, p in POINTS.items() for word in (f"--{name}", *map(str, p))]
    out = tmp_path / "command"
    assert main(["dynamic", str(path), *words, "--no-report", "--quiet", "-o", str(out)]) == 0
    record = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert panel.study.record["analyses"] == record["analyses"]

    # shown: frames behind the maps, in colours of fixed units, with findings
    assert panel.study.scan is panel.parameters.series
    assert panel.study.image is mrml.shown_frame(panel.parameters.series)
    panel.ui.layoutSelector.currentIndex = 0
    panel.ui.mapSelector.currentIndex = panel.ui.mapSelector.findData("map.pulmonary_flow")
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == panel.study.image.GetID()
    shown = panel.study.node("map.pulmonary_flow")
    assert composite.GetForegroundVolumeID() == shown.GetID()
    assert shown.GetDisplayNode().GetWindowLevelMax() == 250.0
    assert "Pulmonary flow" in panel.ui.summaryLabel.text
    assert "Iodine" not in panel.ui.summaryLabel.text + panel.ui.remarksLabel.text
    assert panel.study.node("labels.flow_findings") is not None
    assert panel.ui.tableSelector.currentData == "table.flow_findings"
    assert frame(panel, 1).text(2) != "–"  # shift left after alignment

    # a frame that is left out, another point: lungs are not sought, frames not aligned again
    before = value(panel, "dynamic_blood_volume")
    tick(panel, 18, on=False)
    assert panel.study.outdated
    aorta = panel.study.node("first_pass.aorta")
    aorta.SetNthControlPointPosition(0, -24.0, -46.0, -21.0)
    aorta.InvokeEvent(slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent)
    assert steps_kept(panel, "segment_lungs") == steps_kept(panel, "move_frames") == 1
    apply(desktop, panel, "recomputeButton")
    assert not panel.study.outdated
    assert panel.study.record["analyses"][0]["parameters"]["left_out_frames"] == [18]
    assert value(panel, "dynamic_blood_volume") != before
    assert steps_kept(panel, "segment_lungs") == steps_kept(panel, "move_frames") == 1
    marked = [entry.get("marked") for entry in mrml.read_trail(panel.study.node("trail"))]
    assert {"Frames that are left out", "Points in the inputs"} <= set(marked)

    # corrected lungs
    volume = value(panel, "dynamic_blood_volume")
    erase_front(panel.study.node("labels.lungs"), "left_lung", phantom.geometry)
    desktop.wait(lambda: panel.study.outdated, 5.0)
    apply(desktop, panel, "recomputeButton")
    assert value(panel, "dynamic_blood_volume") != volume
    assert value(panel, "dynamic_blood_volume", "right_lung") > 0
    assert mrml.read_trail(panel.study.node("trail"))[-1]["recomputed"] == ["lungs"]

    # marks, frames and results stay with the series in the saved scene
    shown = value(panel, "dynamic_blood_volume")
    desktop.save_and_load_scene(tmp_path / "scene.mrb")
    assert value(panel, "dynamic_blood_volume") == shown
    words = panel.logic.extra_words(panel.parameters, tmp_path)
    assert words[words.index("--aorta") + 1 :][:3] == ["-24.000", "-46.000", "-21.000"]
    assert words[words.index("--leave-out") + 1 :] == ["18"]
    assert panel.ui.stateLabel.text == ""

    panel.ui.reportFolder.currentPath = str(tmp_path)
    panel.parameters.caseName = "P1"
    apply(desktop, panel, "reportButton")
    html = (tmp_path / "P1" / "report.html").read_text(encoding="utf-8")
    assert "Time curves" in html
    assert "Frames that are left out" in html


def test_the_only_series_is_chosen_and_its_times_are_told(panel):
    assert panel.ui.analysis.currentText == "first-pass series"
    assert panel.ui.inputsLabel.text == "18 frames in 34 s, 2 s apart."
    assert panel.ui.applyButton.enabled
    assert panel.ui.frameTree.topLevelItemCount == 18
    assert frame(panel, 3).text(1) == "4.00"


def test_iodine_and_first_pass_keep_their_inputs_apart(panel):
    ui = panel.ui
    assert panel.logic.command_of(panel.parameters) == "dynamic"
    for name in ("source", "ct", "trunk", "trunkPointButton", "signsCollapsibleButton"):
        assert not getattr(ui, name).isVisibleTo(panel.parent), name
    words = " ".join(panel.logic.options(panel.parameters))
    assert words == "--lobes none --zones height --rim-mm 15 --hct-ratio 1"
    ui.analysis.currentText = "iodine map"
    assert panel.logic.command_of(panel.parameters) == "ipv"
    for name in ("series", "timesFile", "firstPassCollapsibleButton"):
        assert not getattr(ui, name).isVisibleTo(panel.parent), name
    assert ui.ct.isVisibleTo(panel.parent)
    assert "--hct-ratio" not in panel.logic.options(panel.parameters)
    assert "chest CT" in panel.logic.missing(panel.parameters)


def test_times_are_never_assumed(panel, tmp_path):
    import slicer

    node, ui = panel.parameters.series, panel.ui
    node.SetIndexName("frame")
    node.SetIndexUnit("")
    panel.parameters.hctRatio = 0.83  # the panel looks again
    assert not ui.applyButton.enabled
    assert "told apart by frame in no unit" in ui.applyButton.toolTip
    assert "CSV file" in ui.reasonLabel.text
    assert frame(panel, 1).text(1) in ("–", "0.00")
    path = tmp_path / "times.csv"
    path.write_text("time_s\n" + "\n".join(f"{1.5 * n:g}" for n in range(17)), encoding="utf-8")
    ui.timesFile.currentPath = str(path)
    assert "holds 17 times for 18 frames" in ui.applyButton.toolTip
    path.write_text("time_s\n" + "\n".join(f"{1.5 * n:g}" for n in range(18)), encoding="utf-8")
    ui.timesFile.currentPath = ""
    ui.timesFile.currentPath = str(path)
    assert ui.applyButton.enabled
    assert ui.inputsLabel.text == "18 frames in 25.5 s, 1.5 s apart."
    words = drained(panel.logic.request(panel.parameters, tmp_path))
    assert words[:2] == ["dynamic", str(tmp_path / "first_pass.seq.nrrd")]
    from lungperfusion.io.time_series import read_time_series

    written = read_time_series(tmp_path / "first_pass.seq.nrrd").series
    assert written.moments_s == pytest.approx(1.5 * np.arange(18))
    slicer.mrmlScene.RemoveNode(node)
    assert "Choose the first-pass series" in ui.applyButton.toolTip


def started(desktop, panel):
    """Press Apply, and wait until some of the frames are written and some are not."""
    for name, place in POINTS.items():
        click(panel, f"{name}PointButton", place)
    panel.ui.applyButton.click()
    desktop.wait(lambda: panel.ui.progressBar.value > 0, 10.0)
    written = panel.runs.folder / "inputs" / "first_pass.seq.nrrd"
    assert 0 < written.stat().st_size < panel.parameters.series.GetNumberOfDataNodes() * 2 * 10**5
    return panel.runs.folder


@pytest.fixture
def one_step_at_a_time(panel, monkeypatch):
    from lungperfusion_gui import runs, steps

    monkeypatch.setattr(steps, "SLICE_MS", 0)
    monkeypatch.setattr(runs, "WRITING", 1.0)


@pytest.mark.usefixtures("one_step_at_a_time")
def test_writing_of_frames_can_be_cancelled(desktop, panel):
    from lungperfusion_gui.job import Job

    folder = started(desktop, panel)
    assert panel.ui.cancelButton.enabled
    panel.ui.cancelButton.click()
    assert panel.job is None
    desktop.rest(0.2)
    assert not Job.running
    assert not folder.exists()
    assert panel.ui.applyButton.enabled


@pytest.mark.usefixtures("one_step_at_a_time")
def test_what_is_chosen_when_apply_is_pressed_counts(desktop, panel, series, monkeypatch):
    from lungperfusion_gui import runs

    words = []
    monkeypatch.setattr(runs.CommandRuns, "_launch", lambda self, *given: words.extend(given[0]))
    folder = started(desktop, panel)
    panel.parameters.series = series("Another patient")
    panel.parameters.hctRatio = 0.83
    desktop.wait(lambda: panel.job is None, 20.0)
    assert words[1] == str(folder / "inputs" / "first_pass.seq.nrrd")
    assert "0.83" not in words
    assert "--artery" in words  # marked in the series that was chosen


@pytest.mark.usefixtures("one_step_at_a_time")
def test_a_frame_that_cannot_be_written_is_told_in_words(desktop, panel, phantom, caplog):
    import slicer

    last = panel.parameters.series.GetNthDataNode(17)
    values = phantom.frames[17].astype(np.float32)
    values[-1, 0, 0] = np.nan
    slicer.util.updateVolumeFromArray(last, values)
    folder = started(desktop, panel)
    desktop.wait(lambda: panel.job is None, 20.0)
    assert any("frame 18 of First pass holds" in record.message for record in caplog.records)
    assert not folder.exists()
    assert panel.ui.applyButton.enabled


def test_a_short_series_is_refused_before_apply(panel):
    node = panel.parameters.series
    while node.GetNumberOfDataNodes() > 7:
        node.RemoveDataNodeAtValue(node.GetNthIndexValue(7))
    panel.parameters.hctRatio = 0.83
    assert not panel.ui.applyButton.enabled
    assert "at least 8 frames" in panel.ui.applyButton.toolTip


def test_marks_and_frames_belong_to_their_series(panel, series):
    first = panel.parameters.series
    click(panel, "arteryPointButton", POINTS["artery"])
    tick(panel, 4, on=False)
    assert panel.logic.extra_words(panel.parameters, None)[-2:] == ["--leave-out", "4"]
    panel.parameters.series = series("Another patient")
    assert panel.logic.extra_words(panel.parameters, None) == []
    import qt

    assert frame(panel, 4).checkState(0) == qt.Qt.Checked
    panel.parameters.series = first
    assert frame(panel, 4).checkState(0) == qt.Qt.Unchecked
    assert panel.logic.extra_words(panel.parameters, None)[0] == "--artery"
    panel.ui.inputPointsClearButton.click()
    assert panel.logic.extra_words(panel.parameters, None) == ["--leave-out", "4"]


def test_lungs_of_a_whole_chest_are_not_cut_to_the_slab(panel, phantom, tmp_path):
    """They tell how much of each region lies outside of the images."""
    import slicer

    from lungperfusion.io import read_segmentation
    from lungperfusion.volume import Volume

    grid = phantom.geometry
    above = grid.ijk_to_ras.copy()
    above[2, 3] -= 5 * above[2, 2]
    tall = Geometry((grid.shape[0] + 10, *grid.shape[1:]), above)
    array = np.zeros(tall.shape, np.uint8)
    array[2:-2, 10:20, 10:20] = 1
    ct = Volume(np.full(tall.shape, -800, np.int16), tall, "HU")
    scene = slicer.mrmlScene
    chest = mrml.show_volume(scene, ct, "Chest")
    lungs = Labelmap(array, tall, {1: "left_lung", 2: "right_lung"})
    panel.parameters.lungMask = mrml.show_labelmap(scene, lungs, "Lungs", reference=chest)
    words = drained(panel.logic.request(panel.parameters, tmp_path))
    written = read_segmentation(tmp_path / "lung_mask.seg.nrrd")
    assert words[words.index("--lung-mask") + 1] == str(tmp_path / "lung_mask.seg.nrrd")
    assert written.volume_ml("left_lung") == pytest.approx(lungs.volume_ml("left_lung"))


def test_frames_go_on_behind_the_map(panel):
    """The browser of the sequence moves the CT that the views show."""
    import slicer

    shown = panel.study.image
    browser = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetSelectedItemNumber(7)
    assert panel.study.image is shown
    node = panel.parameters.series
    seventh = slicer.util.arrayFromVolume(node.GetNthDataNode(7))
    assert np.array_equal(slicer.util.arrayFromVolume(shown), seventh)


@pytest.fixture(scope="module")
def results(phantom, tmp_path_factory):
    """Results folder of the command line, with what the panel asks for."""
    folder = tmp_path_factory.mktemp("pass")
    path = folder / "pass.seq.nrrd"
    write_time_series(phantom.frames, phantom.geometry, phantom.times_s, path)
    words = [word for name, p in POINTS.items() for word in (f"--{name}", *map(str, p))]
    words += ["--no-report", "--quiet", "--enhancement", "-o", str(folder / "out")]
    assert main(["dynamic", str(path), *words]) == 0
    return folder / "out"


def plotted():
    """Name of each curve in the plot, with its times and values."""
    import slicer

    view = slicer.mrmlScene.GetSingletonNode("LungPerfusionCurves", "vtkMRMLPlotViewNode")
    chart = view.GetPlotChartNode()
    found = {}
    for number in range(0 if chart is None else chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(number)
        columns = (series.GetXColumnName(), series.GetYColumnName())
        node = series.GetTableNode()
        found[series.GetName()] = [slicer.util.arrayFromTableColumn(node, c) for c in columns]
    return found


def choose_curves(panel, name):
    selector = panel.ui.curveSelector
    selector.currentIndex = selector.findData(name)


def test_curves_of_inputs_and_regions(panel, phantom, results):
    show(panel, results)
    drawn = plotted()
    assert list(drawn) == ["Pulmonary trunk", "Left atrium", "Descending aorta"]
    times, trunk = drawn["Pulmonary trunk"]
    assert times == pytest.approx(phantom.times_s[:, 0])
    assert times[trunk.argmax()] == pytest.approx(14.0, abs=1.0)
    choose_curves(panel, "left_lung")
    measured = plotted()
    assert list(measured) == ["Left lung", "Left lung, fit"]
    assert np.abs(measured["Left lung"][1] - measured["Left lung, fit"][1]).max() < 3.0
    header = panel.study.node("table.curves")
    assert header.GetColumnUnitLabel("time_s") == "s"
    assert header.GetColumnUnitLabel("left_lung_hu") == "HU"


def test_curve_of_a_place_is_that_of_the_aligned_frames(desktop, panel, phantom, results):
    show(panel, results)
    assert "Place" not in plotted()
    node = click(panel, "placeButton", POINTS["artery"])
    times, place = plotted()["Place"]
    trunk = plotted()["Pulmonary trunk"][1]
    assert np.corrcoef(place, trunk)[0, 1] > 0.99  # one is a ball, the other its brighter half
    assert place.max() == pytest.approx(trunk.max(), rel=0.2)
    assert not panel.study.outdated  # a place changes no number
    node.SetNthControlPointPosition(0, 0.0, 0.0, 900.0)
    desktop.wait(lambda: "Place" not in plotted(), 5.0)
    assert "outside of the frames" in panel.ui.curveLabel.text
    node.SetNthControlPointPosition(0, *POINTS["aorta"])
    desktop.wait(lambda: "Place" in plotted(), 5.0)
    later = plotted()["Place"][1]
    assert times[later.argmax()] > times[place.argmax()]
    panel.ui.placeClearButton.click()
    assert "Place" not in plotted()


def test_curve_follows_the_mouse(desktop, panel, results):
    import slicer

    show(panel, results)
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCursorPositionRAS(list(POINTS["artery"]))
    panel.ui.followCheckBox.checked = True
    crosshair.SetCursorPositionRAS(list(POINTS["aorta"]))
    desktop.wait(lambda: "Place" in plotted(), 5.0)
    assert "R -24, A -47, S -20 mm" in panel.ui.curveLabel.text
    panel.ui.followCheckBox.checked = False
    desktop.wait(lambda: "Place" not in plotted(), 5.0)


def test_curves_come_back_with_the_scene(desktop, panel, results, tmp_path):
    show(panel, results)
    click(panel, "placeButton", POINTS["artery"])
    choose_curves(panel, "right_lung")
    before = plotted()
    desktop.save_and_load_scene(tmp_path / "scene.mrb")
    choose_curves(panel, "right_lung")
    after = plotted()
    assert list(after) == list(before) == ["Right lung", "Right lung, fit", "Place"]
    for name in before:
        assert after[name][1] == pytest.approx(before[name][1], abs=0.02)
    choose_curves(panel, "inputs")
    desktop.close_scene()
    assert panel.ui.curveSelector.count == 0


def test_frames_of_results_are_no_input(panel, results):
    """Aligned frames are hidden: selectors leave them out, and they are not chosen on entering."""
    show(panel, results)
    kept = panel.study.node("series.enhancement")
    assert kept.GetHideFromEditors()
    from lungperfusion_gui import first_pass

    series, panel.parameters.series = panel.parameters.series, None
    first_pass.choose(panel.parameters)
    assert panel.parameters.series is series
