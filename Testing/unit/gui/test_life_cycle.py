"""What every module must survive: no main window, scenes that come and go, reload, switching."""

import pytest
from gui_support import drained

MODULES = ("PerfusionIPv", "CTVQ", "VesselBV")


@pytest.mark.parametrize("name", MODULES)
def test_works_without_a_main_window(desktop, modules, name):
    """What Slicer's generic module tests do, and a script that enters the panel itself."""
    import slicer

    with desktop.without_main_window():
        modules(name)
        module = getattr(slicer.modules, name.lower())
        assert module.categories
        assert module.contributors
        assert module.acknowledgementText
        panel = desktop.widget(name)
        panel.parent.setMRMLScene(slicer.mrmlScene)
        panel.enter()
        assert not panel.ui.applyButton.enabled
        panel.ui.layoutSelector.currentIndex = 1
        panel.ui.linkCheckBox.checked = True
        panel.ui.surfacesCheckBox.checked = True
        slicer.mrmlScene.Clear(0)
        panel.exit()
        panel.enter()
        panel.exit()


@pytest.mark.parametrize("name", MODULES)
def test_every_selector_has_the_scene(desktop, modules, name):
    """One that the panel gives no scene offers no node, however the scene is filled."""
    import slicer

    modules(name)
    ui = vars(desktop.select(name).ui)
    scenes = {
        name: widget.mrmlScene() for name, widget in ui.items() if hasattr(widget, "mrmlScene")
    }
    assert len(scenes) > 3
    assert [name for name, scene in scenes.items() if scene is not slicer.mrmlScene] == []


@pytest.mark.parametrize("name", MODULES)
def test_close_switch_and_reload_in_any_order(desktop, modules, name):
    other = next(module for module in MODULES if module != name)
    modules(name, other)
    desktop.select(name)
    desktop.close_scene()
    desktop.select(other)
    desktop.close_scene()
    panel = desktop.select(name)
    assert panel.parameters is not None
    panel = desktop.reload(name)
    assert panel.parameters is not None
    desktop.close_scene()
    assert panel.parameters is not None
    desktop.select(other)
    assert panel.parameters is None


def test_two_scenes_one_after_the_other(desktop, modules, volumes, tmp_path):
    """Inputs and settings are those of the loaded scene, not of the one before."""
    import slicer

    modules("PerfusionIPv")
    panel = desktop.select("PerfusionIPv")
    panel.ui.ct.setCurrentNode(volumes[0])
    panel.ui.rimMm.value = 11.0
    assert slicer.util.saveScene(str(tmp_path / "first.mrb"))
    desktop.close_scene()
    assert panel.ui.rimMm.value == 15.0
    panel.ui.rimMm.value = 22.0
    assert slicer.util.saveScene(str(tmp_path / "second.mrb"))
    for scene, rim, ct in (("first", 11.0, "CT"), ("second", 22.0, None), ("first", 11.0, "CT")):
        slicer.util.loadScene(str(tmp_path / f"{scene}.mrb"), {"clear": True})
        desktop.wait(lambda: True)
        assert panel.ui.rimMm.value == rim
        node = panel.ui.ct.currentNode()
        assert (node and node.GetName()) == ct


def test_a_scene_saved_in_the_layout_can_be_left(desktop, modules, volumes):
    """The layout before is not known in a fresh application; the panel still gives it up."""
    import slicer

    modules("VesselBV")
    from lungperfusion_gui import overlay

    overlay.register_layout()
    manager = slicer.app.layoutManager()
    manager.setLayout(overlay.LAYOUT)
    panel = desktop.select("VesselBV")
    assert panel.ui.layoutSelector.currentIndex == 1
    panel.ui.layoutSelector.currentIndex = 0
    assert manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView


def test_a_panel_runs_with_any_logic(desktop, modules, volumes, monkeypatch, tmp_path):
    """All that is known of an analysis comes from its logic: a fake of ten lines will do."""
    (module,) = modules("VesselBV")
    from lungperfusion_gui.logic import AnalysisLogic

    class Fake(AnalysisLogic):
        command = "lungs"

        def missing(self, parameters):
            return "" if parameters.ct else "Choose."

        def image_options(self, parameters):
            return {"ct": (parameters.ct, "HU")}

        def options(self, parameters):
            return ["--lobes", "none"]

        def reference(self, parameters):
            return parameters.ct

    monkeypatch.setattr(module.VesselBVWidget, "LOGIC", Fake)
    panel = desktop.select("VesselBV")
    panel.ui.ct.setCurrentNode(None)
    assert panel.ui.reasonLabel.text == "Choose."
    panel.ui.ct.setCurrentNode(volumes[0])
    assert panel.ui.applyButton.enabled
    words = drained(panel.logic.request(panel.parameters, tmp_path))
    assert words == ["lungs", str(tmp_path / "ct.nrrd"), "--lobes", "none"]


@pytest.mark.parametrize("name", MODULES)
def test_panels_are_of_analyses_that_the_registry_knows(modules, name):
    from lungperfusion.registry import analyses

    (module,) = modules(name)
    assert getattr(module, f"{name}Widget").LOGIC.command in analyses()
