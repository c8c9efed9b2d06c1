"""Inputs that a panel chooses itself."""

import pytest

from lungperfusion import mrml


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


def test_facts_of_the_scan_come_from_dicom(desktop, modules, loaded, monkeypatch):
    import slicer

    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    loaded[0].SetAttribute("DICOM.instanceUIDs", "1.2 1.3")
    from lungperfusion_gui import scan_check

    assert scan_check.acquisition(loaded[0]).kvp == 80.0
    assert scan_check.acquisition(loaded[1]).kvp is None
