"""A radiologist's way through PerfusionIPv, from the scan to corrected numbers."""

import json

import pytest
from gui_support import apply, erase_front, value

from lungperfusion import mrml
from lungperfusion.__main__ import main
from lungperfusion.io import write_volume
from lungperfusion.terms import Region


def choose_inputs(panel, volumes):
    panel.ui.ct.setCurrentNode(volumes[0])
    panel.ui.iodine.setCurrentNode(volumes[1])
    panel.ui.iodineUnit.currentText = "mg/mL"


def test_apply_says_what_is_missing(desktop, modules, volumes):
    modules("PerfusionIPv")
    panel = desktop.select("PerfusionIPv")
    for name in ("ct", "iodine"):  # chosen automatically
        getattr(panel.ui, name).setCurrentNode(None)
    panel.ui.iodineUnit.currentText = "not stated"
    assert not panel.ui.applyButton.enabled
    assert "Choose the chest CT" in panel.ui.applyButton.toolTip
    panel.ui.ct.setCurrentNode(volumes[0])
    assert "iodine map" in panel.ui.applyButton.toolTip
    panel.ui.iodine.setCurrentNode(volumes[1])
    assert "unit" in panel.ui.applyButton.toolTip
    panel.ui.iodineUnit.currentText = "mg/mL"
    assert panel.ui.applyButton.enabled
    panel.ui.iodine.setCurrentNode(volumes[0])
    assert "same volume" in panel.ui.applyButton.toolTip


def test_flow_from_scan_to_corrected_numbers(desktop, modules, volumes, patient, tmp_path):
    import slicer

    modules("PerfusionIPv")
    panel = desktop.select("PerfusionIPv")
    choose_inputs(panel, volumes)
    apply(desktop, panel)
    assert panel.ui.stateLabel.text == ""

    # the same numbers as the command line gives from files
    write_volume(patient.ct, tmp_path / "ct.nrrd")
    write_volume(patient.iodine, tmp_path / "iodine.nrrd")
    words = ["--ct", "ct.nrrd", "--iodine", "iodine.nrrd"]
    words = [str(tmp_path / word) if word.endswith(".nrrd") else word for word in words]
    out = tmp_path / "command"
    assert (
        main(["ipv", *words, "--iodine-unit", "mg/mL", "--no-report", "--quiet", "-o", str(out)])
        == 0
    )
    record = json.loads((out / "results.json").read_text(encoding="utf-8"))
    shown = panel.study.record
    assert shown["analyses"] == record["analyses"]

    # shown in the views
    assert panel.ui.layoutSelector.currentIndex == 1
    panel.ui.layoutSelector.currentIndex = 0
    map_node = panel.study.node("map.iodine")
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == volumes[0].GetID()
    assert composite.GetForegroundVolumeID() == map_node.GetID()
    panel.ui.mapOpacity.value = 0.35
    assert composite.GetForegroundOpacity() == pytest.approx(0.35)

    # other settings: the shown results do not belong to them
    panel.ui.smoothingMm.value = panel.ui.smoothingMm.value + 1
    assert "other settings" in panel.ui.stateLabel.text
    panel.ui.smoothingMm.value = panel.ui.smoothingMm.value - 1
    assert panel.ui.stateLabel.text == ""

    # correction: outdated at once, recomputed on demand, kept in the trail
    lungs = panel.study.node("labels.lungs")
    before = value(panel, "tlv")
    right = value(panel, "tlv", Region.RIGHT_LUNG)
    erase_front(lungs, "left_lung", patient.ct.geometry)
    desktop.wait(lambda: panel.study.outdated, 5.0)
    assert "outdated" in panel.ui.stateLabel.text
    assert panel.ui.recomputeButton.enabled
    assert not panel.ui.reportButton.enabled
    entry = mrml.read_trail(panel.study.node("trail"))[-1]
    assert entry["segment"] == "left_lung"
    assert entry["voxels_removed"] > 0
    apply(desktop, panel, "recomputeButton")
    assert not panel.study.outdated
    lost_l = entry["ml_removed"] / 1000
    assert lost_l > 0.2
    assert value(panel, "tlv") == pytest.approx(before - lost_l, abs=0.01 * before)
    assert value(panel, "tlv", Region.RIGHT_LUNG) == pytest.approx(right, rel=0.01)
    trail = mrml.read_trail(panel.study.node("trail"))
    assert trail[-1]["recomputed"] == ["lungs"]
    assert any(row["measure"] == "tlv" for row in trail[-1]["changes"])
    assert "mL" in panel.ui.trailText.plainText

    # survives saving, closing and loading the scene
    after = value(panel, "tlv")
    desktop.save_and_load_scene(tmp_path / "scene.mrb")
    assert value(panel, "tlv") == after
    assert panel.study.corrected == ["lungs"]
    assert panel.ui.recomputeButton.enabled is False
    original = panel.study.node("original.lungs")
    assert original is not None

    # report: the same files as the command line, with the corrections in it
    panel.ui.reportFolder.currentPath = str(tmp_path)
    panel.parameters.caseName = "P1"
    apply(desktop, panel, "reportButton")
    html = (tmp_path / "P1" / "report.html").read_text(encoding="utf-8")
    assert "Corrections" in html
    assert (tmp_path / "P1" / "measurements.csv").exists()

    # a defect that the reader takes away is gone, the rest of the analysis stays
    count = panel.study.node("table.defects").GetNumberOfRows()
    if count:
        defects = panel.study.node("labels.defects")
        erase_front(defects, "perfusion_defect", patient.ct.geometry, share=1.0)
        desktop.wait(lambda: panel.study.outdated, 5.0)
        assert panel.study.corrected == ["lungs", "defects"]

    # back to the original
    panel.ui.restoreButton.click()
    assert panel.study.outdated
    apply(desktop, panel, "recomputeButton")
    assert value(panel, "tlv") == pytest.approx(before, rel=1e-6)

    desktop.close_scene()
    assert not panel.ui.applyButton.enabled
    assert panel.ui.tableSelector.count == 0
    panel = desktop.reload("PerfusionIPv")
    assert not panel.ui.applyButton.enabled
