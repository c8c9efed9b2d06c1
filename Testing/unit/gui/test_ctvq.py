"""CTVQ from two breaths to numbers after corrected lungs."""

import pytest
from gui_support import apply, erase_front, value

from lungperfusion import mrml


@pytest.fixture
def two_breaths(desktop, breaths):
    import slicer

    scene = slicer.mrmlScene
    return (
        mrml.show_volume(scene, breaths.expiration, "Shallow"),
        mrml.show_volume(scene, breaths.inspiration, "Deep"),
    )


def test_deep_and_shallow_breath_are_told_apart(desktop, modules, two_breaths):
    shallow, deep = two_breaths
    modules("CTVQ")
    panel = desktop.select("CTVQ")
    assert panel.parameters.inspiration is deep
    assert panel.parameters.expiration is shallow
    assert panel.ui.inputsLabel.text == ""
    panel.ui.swapButton.click()
    assert panel.parameters.inspiration is shallow
    assert "swapped" in panel.ui.inputsLabel.text


def test_flow(desktop, modules, two_breaths, breaths):
    modules("CTVQ")
    panel = desktop.select("CTVQ")
    import slicer

    scene = slicer.mrmlScene
    known = (breaths.expiration_lungs, breaths.inspiration_lungs)
    shallow, deep = (mrml.show_labelmap(scene, lungs, "Known lungs") for lungs in known)
    panel.ui.lungMask.setCurrentNode(shallow)
    panel.ui.inspirationLungMask.setCurrentNode(deep)
    assert panel.ui.applyButton.enabled
    apply(desktop, panel)
    assert 0.2 < value(panel, "ventilation_mean") < 1.0
    assert panel.logic.names(panel.parameters, "map")[:2] == ["ventilation", "perfusion"]
    transform = panel.logic.node(panel.parameters, f"transform.{panel.logic.transform}")
    assert transform.IsA("vtkMRMLGridTransformNode")
    before = value(panel, "expiratory_volume")
    lungs = panel.logic.node(panel.parameters, "labels.lungs")
    erase_front(lungs, "left_lung", breaths.expiration.geometry)
    desktop.wait(lambda: panel.parameters.outdated, 5.0)
    apply(desktop, panel, "recomputeButton")
    assert value(panel, "expiratory_volume") < before
    record = panel.logic.record(panel.parameters)["analyses"][0]
    assert record["parameters"]["registration"] == "given transform"
