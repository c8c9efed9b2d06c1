"""Inputs that a panel chooses itself."""

import html

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


def test_panel_says_at_once_whether_the_chosen_scan_suits(desktop, modules, volumes, monkeypatch):
    from lungperfusion_gui import scan_check

    modules("VesselBV")
    panel = desktop.select("VesselBV")
    panel.ui.ct.setCurrentNode(volumes[0])
    words = panel.ui.scanLabel.text
    assert words.startswith("CT does not suit: slices of 5.00 mm are too thick for small vessels.")
    assert "Spacing: Voxels of" in panel.ui.scanLabel.toolTip
    monkeypatch.setattr(scan_check, "check_volume", None)  # known already
    panel.parameters.bloodHu = 40.0
    assert panel.ui.scanLabel.text == words
    monkeypatch.undo()
    panel.ui.ct.setCurrentNode(volumes[1])
    assert panel.ui.scanLabel.text == "Iodine does not suit: no CT in HU."
    panel.ui.ct.setCurrentNode(None)
    assert panel.ui.scanLabel.text == ""


@pytest.fixture
def stored(desktop, patient, tmp_path, monkeypatch):
    """CT as a file, as a DICOM series, and as no file at all, with the file to check by hand."""
    import slicer

    from lungperfusion.commands.phantom import write_dicom
    from lungperfusion.io import write_volume

    write_volume(patient.ct, tmp_path / "file.nrrd")
    write_dicom(patient.ct, tmp_path / "series", kind="contrast")
    first = next((tmp_path / "series").iterdir())

    class Files(Database):
        def fileForInstance(self, uid):
            return str(first)

    monkeypatch.setattr(slicer, "dicomDatabase", Files(), raising=False)
    file = slicer.util.loadVolume(str(tmp_path / "file.nrrd"))
    series = slicer.util.loadVolume(str(tmp_path / "file.nrrd"))
    series.SetAttribute("DICOM.instanceUIDs", "1.2 1.3")
    alone = mrml.show_volume(slicer.mrmlScene, patient.ct, "Alone")
    return {
        "file": (file, tmp_path / "file.nrrd"),
        "series": (series, tmp_path / "series"),
        "alone": (alone, tmp_path / "file.nrrd"),
    }


def test_panel_and_command_say_the_same(desktop, modules, looking, stored, capsys):
    from lungperfusion.__main__ import main

    modules("VesselBV")
    from lungperfusion_gui import scan_check

    panel = desktop.select("VesselBV")
    assert scan_check.file_of(stored["alone"][0]) is None
    for node, path in stored.values():
        assert (node.GetName() == "Alone") == (scan_check.file_of(node) is None)
        panel.ui.ct.setCurrentNode(node)
        assert "Not looked at" in panel.ui.scanLabel.toolTip
        desktop.wait(lambda: "Not looked at" not in panel.ui.scanLabel.toolTip, 120.0)
        capsys.readouterr()
        assert main(["check", str(path), "--quiet"]) == 0
        sentences = capsys.readouterr().out.splitlines()
        shown = panel.ui.scanLabel.toolTip.removeprefix("<p>").removesuffix("</p>")
        assert html.unescape(shown).splitlines() == [node.GetName(), *sentences]
        verdict = next(line for line in sentences if line.startswith("vesselbv: "))
        assert panel.ui.scanLabel.text == f"{node.GetName()} {verdict.removeprefix('vesselbv: ')}"
    assert "inspiratory" in panel.ui.scanLabel.toolTip


def test_what_was_changed_is_no_longer_what_its_file_holds(desktop, modules, stored):
    import slicer

    modules("VesselBV")
    from lungperfusion_gui import scan_check

    node, path = stored["file"]
    assert scan_check.file_of(node) == path
    slicer.util.arrayFromVolume(node)[:] += 1
    slicer.util.arrayFromVolumeModified(node)
    assert scan_check.file_of(node) is None


def test_scan_that_cannot_be_looked_at_says_why(desktop, modules, looking, stored):
    modules("VesselBV")
    panel = desktop.select("VesselBV")
    node, path = stored["file"]
    path.write_bytes(path.read_bytes()[:300])
    panel.ui.ct.setCurrentNode(node)
    desktop.wait(lambda: "Looking" not in panel.ui.scanLabel.text, 120.0)
    assert "cut short" in panel.ui.scanLabel.text


def test_panel_that_is_left_looks_no_further(desktop, modules, looking, stored):
    modules("VesselBV", "CTVQ")
    from lungperfusion_gui.job import Job

    panel = desktop.select("VesselBV")
    panel.ui.ct.setCurrentNode(stored["alone"][0])
    desktop.wait(lambda: Job.running, 30.0)
    folder = panel.checks._folder
    desktop.select("CTVQ")
    assert panel.checks._job is None
    assert not folder.exists()
    desktop.wait(lambda: not Job.running, 30.0)


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
