"""The life of a module on the stand-in: select, Apply, correct, close, load, reload, clean up."""

from pathlib import Path

import numpy as np
import pytest

DEMO = Path(__file__).parent / "demo" / "StandinDemo" / "StandinDemo.py"


@pytest.fixture
def demo(desktop):
    module = desktop.load(DEMO)
    return module, desktop.select("StandinDemo")


def add_ct(name="CT"):
    import slicer

    values = np.full((10, 12, 14), -800, np.int16)
    values[2:5, 3:6, 4:8] = -980
    matrix = slicer.util.vtkMatrixFromArray(np.diag([-2.0, -2.0, 3.0, 1.0]))
    return slicer.util.addVolumeFromArray(values, ijkToRAS=matrix, name=name)


MARKED = 3 * 3 * 4
MARKED_ML = MARKED * 2 * 2 * 3 / 1000


def test_module_is_registered_as_the_application_does(demo):
    import slicer

    module, _ = demo
    assert slicer.modules.standindemo.title == "Stand-in demo"
    assert slicer.moduleNames.StandinDemo == "StandinDemo"
    assert "StandinDemo" in slicer.util.moduleNames()
    assert Path(slicer.util.modulePath("StandinDemo")) == DEMO
    assert isinstance(slicer.modules.StandinDemoWidget, module.StandinDemoWidget)
    assert slicer.modules.StandinDemoInstance.started
    assert isinstance(slicer.util.getModuleLogic("StandinDemo"), module.StandinDemoLogic)
    assert slicer.util.selectedModule() == "StandinDemo"


def test_apply_is_disabled_with_the_reason_until_a_volume_is_chosen(demo):
    _, widget = demo
    assert not widget.ui.applyButton.enabled
    assert "Choose an input volume" in widget.ui.applyButton.toolTip
    widget.ui.volumeSelector.setCurrentNode(add_ct())
    assert widget.ui.applyButton.enabled
    assert "Compute" in widget.ui.applyButton.toolTip


def test_apply_shows_overlay_segment_and_table(demo):
    import slicer

    _, widget = demo
    ct = add_ct()
    widget.ui.volumeSelector.setCurrentNode(ct)
    widget.ui.applyButton.click()
    layers = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert layers.GetBackgroundVolumeID() == ct.GetID()
    assert slicer.mrmlScene.GetNodeByID(layers.GetForegroundVolumeID()).GetName() == "Low values"
    assert layers.GetForegroundOpacity() == 0.5
    segmentation = widget.parameters.segmentation
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "low", ct)
    assert mask.sum() == MARKED
    table = widget.ui.resultTable.mrmlTableNode()
    assert float(table.GetCellText(0, 1)) == pytest.approx(MARKED_ML)
    assert widget.ui.resultTable.model().headerData(1, 1) == "Volume [mL]"
    assert f"{MARKED_ML:g} mL" in widget.ui.statusLabel.text


def test_opacity_slider_changes_all_views_at_once(demo):
    import slicer

    _, widget = demo
    widget.ui.opacitySlider.value = 0.25
    views = [slicer.app.layoutManager().sliceWidget(name) for name in ("Red", "Green", "Yellow")]
    assert [view.mrmlSliceCompositeNode().GetForegroundOpacity() for view in views] == [0.25] * 3
    assert widget.parameters.opacity == 0.25


def test_a_correction_marks_results_outdated_and_can_be_undone(demo, desktop):
    import slicer

    _, widget = demo
    ct = add_ct()
    widget.ui.volumeSelector.setCurrentNode(ct)
    widget.ui.applyButton.click()
    assert not widget.parameters.outdated
    desktop.wait(lambda: not widget.editTimer.active)
    widget.parameters.outdated = False
    editor, segmentation = widget.editor, widget.parameters.segmentation
    editor.setCurrentSegmentID("low")
    editor.setActiveEffectByName("Margin")
    effect = editor.activeEffect()
    effect.setParameter("MarginSizeMm", 2)
    effect.self().onApply()
    desktop.wait(lambda: widget.parameters.outdated)
    assert "outdated" in widget.ui.statusLabel.text
    grown = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "low", ct).sum()
    assert grown > MARKED
    editor.undo()
    after = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "low", ct).sum()
    assert after == MARKED


def test_errors_are_shown_once_and_reach_the_test(demo, desktop):
    _, widget = demo
    widget.ui.volumeSelector.setCurrentNode(add_ct())
    widget.ui.thresholdSlider.value = -1020
    widget.ui.applyButton.click()
    assert len(desktop.errors) == 1
    assert "No voxel lies below the threshold." in desktop.errors[0]
    desktop.errors.clear()


def test_scene_close_empties_the_panel_and_it_works_again(demo, desktop):
    _, widget = demo
    for name in ("first", "second"):
        widget.ui.volumeSelector.setCurrentNode(add_ct(name))
        widget.ui.thresholdSlider.value = -960
        widget.ui.applyButton.click()
        assert widget.parameters.segmentation is not None
        desktop.close_scene()
        assert widget.ui.volumeSelector.currentNode() is None
        assert widget.parameters.volume is None
        assert widget.parameters.threshold == -950.0
        assert widget.ui.thresholdSlider.value == -950.0
        assert not widget.ui.applyButton.enabled
        assert widget.editor.segmentationNode() is None


def test_state_survives_saving_and_loading_the_scene(demo, desktop, tmp_path):
    import slicer

    _, widget = demo
    widget.ui.volumeSelector.setCurrentNode(add_ct("kept"))
    widget.ui.thresholdSlider.value = -970
    widget.ui.applyButton.click()
    desktop.save_and_load_scene(tmp_path / "scene.mrb")
    assert widget.parameters.volume.GetName() == "kept"
    assert widget.parameters.threshold == -970
    segmentation = widget.parameters.segmentation
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "low", widget.parameters.volume)
    assert mask.sum() == MARKED


def test_reload_makes_a_new_panel_with_the_same_values(demo, desktop):
    import slicer

    module, widget = demo
    widget.ui.thresholdSlider.value = -900
    slicer.util.reloadScriptedModule("StandinDemo")
    renewed = slicer.util.getModuleWidget("StandinDemo")
    assert renewed is not widget
    assert type(renewed) is not module.StandinDemoWidget
    assert widget.parameters is None
    assert renewed.ui.thresholdSlider.value == -900
    assert slicer.modules.StandinDemoWidget is renewed


def test_leaving_and_entering_again(demo, desktop):
    import slicer

    _, widget = demo
    slicer.util.selectModule("Data")
    assert not widget.active
    assert widget.parameters is None
    widget.ui.thresholdSlider.value = -940
    slicer.util.selectModule("StandinDemo")
    assert widget.active
    assert widget.ui.thresholdSlider.value == -950.0


def test_quit_leaves_and_cleans_up(desktop):
    import slicer

    desktop.load(DEMO)
    widget = desktop.select("StandinDemo")
    desktop.quit()
    assert not widget.active
    assert widget.parameters is None
    assert widget.Observations == {} or not list(widget.Observations)
    assert not hasattr(slicer.modules, "standindemo")


def test_module_without_its_class_is_refused(desktop, tmp_path):
    (tmp_path / "Helper.py").write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"Helper\.py has no class Helper"):
        desktop.load(tmp_path / "Helper.py")


def test_failing_setup_is_noted_and_enter_still_called(desktop, tmp_path):
    (tmp_path / "Broken.py").write_text(
        "from slicer.ScriptedLoadableModule import *\n"
        "class Broken(ScriptedLoadableModule): pass\n"
        "class BrokenWidget(ScriptedLoadableModuleWidget):\n"
        "    entered = False\n"
        "    def setup(self): raise KeyError('half')\n"
        "    def enter(self): self.entered = True\n",
        encoding="utf-8",
    )
    desktop.load(tmp_path / "Broken.py")
    assert desktop.select("Broken").entered
    assert len(desktop.errors) == 1
    assert "half" in desktop.errors.pop()


def test_panel_can_be_drawn(demo, tmp_path):
    _, widget = demo
    widget.parent.resize(420, 700)
    assert widget.parent.grab().save(str(tmp_path / "panel.png"))
    assert (tmp_path / "panel.png").stat().st_size > 2000
