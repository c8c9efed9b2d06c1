"""Points in great vessels, and what marks do to results."""

import numpy as np
import pytest
from gui_support import click, drained, show

from lungperfusion import mrml
from lungperfusion.io import read_segmentation


def test_marked_trunk_reaches_the_command(desktop, modules, volumes, patient, tmp_path):
    modules("PerfusionIPv")
    panel = desktop.select("PerfusionIPv")
    place = patient.ct.geometry.ras_from_ijk(np.array(patient.ct.geometry.shape[::-1]) // 2)
    click(panel, "trunkPointButton", place)
    words = drained(panel.logic.request(panel.parameters, tmp_path))
    written = read_segmentation(tmp_path / "blood_points.seg.nrrd")
    assert words[words.index("--trunk") + 1] == str(tmp_path / "blood_points.seg.nrrd")
    assert 0.5 < written.volume_ml("pulmonary_artery") < 2.0  # a ball of 6.5 mm holds 1.15 mL
    panel.ui.trunkClearButton.click()
    (tmp_path / "again").mkdir()
    assert "--trunk" not in drained(panel.logic.request(panel.parameters, tmp_path / "again"))


def test_marked_aorta_reaches_the_command(desktop, modules, volumes, patient, tmp_path):
    modules("VesselBV")
    panel = desktop.select("VesselBV")
    panel.ui.ct.setCurrentNode(volumes[0])
    place = patient.ct.geometry.ras_from_ijk(np.array(patient.ct.geometry.shape[::-1]) // 2)
    node = click(panel, "aortaPointButton", place)
    words = drained(panel.logic.request(panel.parameters, tmp_path))
    assert "--blood-mask" in words
    assert list(read_segmentation(tmp_path / "blood_points.seg.nrrd").names.values()) == ["aorta"]
    node.SetNthControlPointPosition(0, 5000, 0, 0)
    from lungperfusion.errors import InputError

    (tmp_path / "again").mkdir()
    with pytest.raises(InputError, match="aorta lies outside"):
        drained(panel.logic.request(panel.parameters, tmp_path / "again"))


@pytest.fixture
def reviewed(desktop, modules, volumes, ipv_results):
    """PerfusionIPv with results."""
    modules("PerfusionIPv")
    panel = desktop.select("PerfusionIPv")
    show(panel, ipv_results)
    return panel


def test_a_mark_outdates_results_and_is_one_entry(desktop, reviewed, volumes):
    panel = reviewed
    assert not panel.study.outdated
    node = click(panel, "trunkPointButton", (0, 0, 0))
    node.SetNthControlPointPosition(0, 1, 0, 0)
    assert panel.study.outdated
    assert panel.ui.recomputeButton.enabled
    entries = mrml.read_trail(panel.study.node("trail"))
    assert [entry["marked"] for entry in entries] == ["Point in the pulmonary trunk"]
    assert "pulmonary trunk" in panel.ui.trailText.plainText


def test_corrections_and_marks_stay_with_their_scan(desktop, reviewed, volumes, patient):
    """Another patient has a trail, marks and results of its own; the first one's come back."""
    import slicer

    panel = reviewed
    first = click(panel, "trunkPointButton", (0, 0, 0))
    shown = panel.logic.study(panel.parameters)
    assert shown.node("blood.pulmonary_artery") is first
    panel.parameters.ct = mrml.show_volume(slicer.mrmlScene, patient.ct, "Another patient")
    assert panel.study.node("trail") is None
    assert panel.study.node("blood.pulmonary_artery") is None
    assert not first.GetDisplayNode().GetVisibility()
    assert not panel.study.outdated
    assert panel.ui.trailText.plainText == "none"
    panel.parameters.ct = volumes[0]
    assert panel.study.outdated
    assert first.GetDisplayNode().GetVisibility()
    assert "pulmonary trunk" in panel.ui.trailText.plainText


def test_corrected_lobes_come_with_their_lungs(desktop, reviewed, patient, tmp_path):
    import slicer

    panel = reviewed
    lobes = patient.truth.labelmaps()["lobes"]
    node = mrml.show_labelmap(slicer.mrmlScene, lobes, "Lobes")
    panel.study.keep("labels.lobes", node)
    panel.parameters.lobes = "auto"
    panel.study.corrected = ["lobes"]
    words = drained(panel.logic.request(panel.parameters, tmp_path))
    assert words[words.index("--lung-mask") + 1] == str(tmp_path / "lungs.seg.nrrd")
    last = max(n for n, word in enumerate(words) if word == "--lobes")
    assert words[last + 1] == str(tmp_path / "lobes.seg.nrrd")
    written = read_segmentation(tmp_path / "lobes.seg.nrrd")
    assert written.volume_ml("right_middle_lobe") == lobes.volume_ml("right_middle_lobe")


def test_results_that_a_later_run_lacks_leave_the_scene(desktop, reviewed, ipv_results, tmp_path):
    import shutil

    import slicer

    panel = reviewed
    assert "exclusions" in panel.study.names("labels")
    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    shutil.copytree(ipv_results, tmp_path / "less")
    (tmp_path / "less" / "exclusions.seg.nrrd").unlink()
    show(panel, tmp_path / "less")
    assert "exclusions" not in panel.study.names("labels")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == before - 1


def test_classes_are_named_beside_their_colours(desktop, reviewed):
    text = reviewed.ui.classesLabel.text
    assert "Perfusion defect" in text
    assert "#" in text
