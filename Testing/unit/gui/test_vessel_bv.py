"""VesselBV from the scan to numbers after corrected vessels."""

from gui_support import apply, erase_front, finish, value

from lungperfusion import mrml


def test_flow(desktop, modules, breaths, tmp_path):
    import slicer

    modules("VesselBV")
    panel = desktop.select("VesselBV")
    assert "Choose the chest CT" in panel.ui.applyButton.toolTip
    ct = mrml.show_volume(slicer.mrmlScene, breaths.inspiration, "CT")
    panel.ui.ct.setCurrentNode(ct)
    lungs = mrml.show_labelmap(slicer.mrmlScene, breaths.inspiration_lungs, "Known lungs")
    panel.ui.lungMask.setCurrentNode(lungs)
    apply(desktop, panel)
    before = value(panel, "tbv")
    assert before > 1.0
    panel.ui.correctedSelector.currentIndex = panel.ui.correctedSelector.findData("labels.vessels")
    vessels = panel.study.node("labels.vessels")
    erase_front(vessels, "vessels_bv10", breaths.inspiration.geometry, share=1.0)
    desktop.wait(lambda: panel.study.outdated, 5.0)
    assert panel.study.corrected == ["vessels"]
    apply(desktop, panel, "recomputeButton")
    assert 0 < value(panel, "tbv") < before
    trail = mrml.read_trail(panel.study.node("trail"))
    assert {row["measure"] for row in trail[-1]["changes"]} >= {"tbv"}
    assert panel.study.node("original.vessels") is not None
    finish(desktop, panel, tmp_path, "tbv")
