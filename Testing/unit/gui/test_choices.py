"""Inputs that a panel chooses itself."""

import numpy as np
import pytest

from lungperfusion import mrml
from lungperfusion.volume import Geometry, Labelmap, Volume


@pytest.fixture
def loaded(desktop, patient):
    """CT and map as an import from DICOM leaves them: names of series, nothing about units."""
    import slicer

    ct = mrml.show_volume(slicer.mrmlScene, patient.ct, "4: Chest 1.0 Mixed")
    iodine = mrml.show_volume(slicer.mrmlScene, patient.iodine, "7: Lung PBV 1.0")
    for node in (ct, iodine):
        node.RemoveAttribute(mrml.ATTRIBUTE_PREFIX + "unit")
    return ct, iodine


def test_iodine_series_is_recognised_by_its_words(desktop, modules, loaded):
    modules("PerfusionIPv")
    panel = desktop.select("PerfusionIPv")
    assert panel.parameters.ct is loaded[0]
    assert panel.parameters.iodine is loaded[1]
    assert panel.parameters.iodineUnit == "not stated"  # never guessed


def test_unit_of_a_map_that_states_it(desktop, modules, volumes):
    modules("PerfusionIPv")
    panel = desktop.select("PerfusionIPv")
    assert panel.parameters.iodine is volumes[1]
    assert panel.parameters.iodineUnit == "mg/mL"
    assert panel.ui.applyButton.enabled


def test_two_maps_leave_the_choice_to_the_reader(desktop, modules, loaded, patient):
    import slicer

    mrml.show_volume(slicer.mrmlScene, patient.iodine, "8: Iodine 3.0")
    modules("PerfusionIPv")
    panel = desktop.select("PerfusionIPv")
    assert panel.parameters.iodine is None


def test_the_only_chest_is_taken(desktop, modules, loaded):
    import slicer

    slicer.mrmlScene.RemoveNode(loaded[1])
    modules("VesselBV")
    assert desktop.select("VesselBV").parameters.ct is loaded[0]


class Database:
    """DICOM database with one instance."""

    def instanceValue(self, uid, tag):
        return {("1.2", "0018,0060"): "80"}.get((uid, tag), "")


def test_voltage_comes_from_dicom(desktop, modules, loaded, monkeypatch):
    import slicer

    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    loaded[0].SetAttribute("DICOM.instanceUIDs", "1.2 1.3")
    modules("PerfusionIPv")
    panel = desktop.select("PerfusionIPv")
    panel.ui.source.currentText = "image pair"
    panel.ui.low.setCurrentNode(loaded[0])
    panel.ui.high.setCurrentNode(loaded[1])
    assert panel.parameters.kvLow == "80"
    assert panel.parameters.kvHigh == "not stated"
    assert "voltages" in panel.ui.applyButton.toolTip
    assert "tin filters" in panel.ui.inputsLabel.text


def test_panel_says_whether_the_chosen_scan_suits(desktop, modules, volumes, monkeypatch):
    from lungperfusion_gui import scan_check

    modules("VesselBV")
    panel = desktop.select("VesselBV")
    panel.ui.ct.setCurrentNode(volumes[0])
    words = panel.ui.scanLabel.text
    assert words == "CT does not suit: slices of 5.00 mm are too thick for small vessels."
    assert "Spacing: Voxels of" in panel.ui.scanLabel.toolTip
    monkeypatch.setattr(scan_check, "check_volume", None)  # known already
    panel.parameters.bloodHu = 40.0
    assert panel.ui.scanLabel.text == words
    monkeypatch.undo()
    panel.ui.ct.setCurrentNode(volumes[1])
    assert panel.ui.scanLabel.text == "Iodine does not suit: no CT in HU."
    panel.ui.ct.setCurrentNode(None)
    assert panel.ui.scanLabel.text == ""


def block_of_heart(air_hu=-80):
    """Blood and fat, 120 mm wide, with noise; the rim may be open air."""
    k, j, i = np.indices((60, 80, 80))
    away = ((k - 30) / 28) ** 2 + ((j - 40) / 36) ** 2 + ((i - 40) / 36) ** 2
    hu = np.select([away < 0.3, away < 1], [250, 60], air_hu) + np.random.default_rng(0).normal(
        0, 20, away.shape
    )
    return Volume(hu.astype(np.int16), Geometry.axial(away.shape, (1.5, 1.5, 2.0)), "HU")


@pytest.mark.parametrize(("air_hu", "why"), [(-80, "hardly any lies below"), (-1000, "no aerated")])
def test_a_block_without_lung_is_refused_before_the_run(desktop, modules, patient, air_hu, why):
    import slicer

    node = mrml.show_volume(slicer.mrmlScene, block_of_heart(air_hu), "Heart")
    modules("VesselBV")
    panel = desktop.select("VesselBV")
    panel.ui.ct.setCurrentNode(node)
    assert not panel.ui.applyButton.enabled
    assert panel.ui.reasonLabel.text.startswith("Heart: ")
    assert why in panel.ui.reasonLabel.text
    panel.ui.ct.setCurrentNode(mrml.show_volume(slicer.mrmlScene, patient.ct, "CT"))
    assert panel.ui.applyButton.enabled
    assert panel.ui.reasonLabel.text == ""


def test_lungs_that_are_given_need_not_look_like_lung(desktop, modules):
    import slicer

    scene = slicer.mrmlScene
    heart = block_of_heart(-1000)
    lungs = Labelmap((heart.array > -500).astype(np.uint8), heart.geometry, {1: "left_lung"})
    modules("VesselBV")
    panel = desktop.select("VesselBV")
    panel.ui.ct.setCurrentNode(mrml.show_volume(scene, heart, "Heart"))
    assert not panel.ui.applyButton.enabled
    panel.ui.lungMask.setCurrentNode(mrml.show_labelmap(scene, lungs, "Drawn"))
    assert panel.ui.applyButton.enabled


def test_facts_of_the_scan_come_from_dicom(desktop, modules, loaded, monkeypatch):
    import slicer

    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    loaded[0].SetAttribute("DICOM.instanceUIDs", "1.2 1.3")
    from lungperfusion_gui import scan_check

    assert scan_check.acquisition(loaded[0]).kvp == 80.0
    assert scan_check.acquisition(loaded[1]).kvp is None
