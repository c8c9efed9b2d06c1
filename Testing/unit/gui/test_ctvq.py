"""CTVQ from paired inspiratory-expiratory CT to numbers after corrected lungs."""

import pytest
from gui_support import apply, drained, erase_front, finish, value

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


def test_flow(desktop, modules, two_breaths, breaths, tmp_path):
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
    assert panel.study.names("map")[:2] == ["ventilation", "perfusion"]
    for name in panel.logic.transforms:
        transform = panel.study.node(f"transform.{name}")
        assert transform.IsA("vtkMRMLGridTransformNode")
    before = value(panel, "expiratory_volume")
    ventilation = value(panel, "ventilation_mean", "right_lung")
    lungs = panel.study.node("labels.lungs")
    erase_front(lungs, "left_lung", breaths.expiration.geometry)
    desktop.wait(lambda: panel.study.outdated, 5.0)
    apply(desktop, panel, "recomputeButton")
    assert value(panel, "expiratory_volume") < before
    assert value(panel, "ventilation_mean", "right_lung") == pytest.approx(ventilation, abs=0.002)
    record = panel.study.record["analyses"][0]
    assert record["parameters"]["registration"] == "given transform"
    steer(panel, tmp_path)
    finish(desktop, panel, tmp_path, "expiratory_volume")


def steer(panel, tmp_path):
    """Landmarks and sliding lobes ask for another registration and leave corrections alone."""
    import slicer

    parameters, ui = panel.parameters, panel.ui

    def reused(name):
        (tmp_path / name).mkdir()
        return "--transform" in drained(panel.logic.request(parameters, tmp_path / name))

    assert reused("as before")
    lists = (ui.expirationLandmarks, ui.inspirationLandmarks)
    for selector, z in zip(lists, (0.0, 7.0), strict=True):
        selector.setCurrentNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode"))
        selector.currentNode().AddControlPoint(10.0, -20.0, z)
    assert panel.study.outdated
    assert ui.recomputeButton.enabled, ui.stateLabel.text
    assert not reused("landmarks")
    for selector in lists:
        selector.setCurrentNode(None)
    assert reused("none again")
    parameters.slideLobes = True
    assert not reused("sliding")
    parameters.slideLobes = False
    panel.study.outdated = False


def test_landmarks_reference_and_ratings_reach_the_command(
    desktop, modules, two_breaths, breaths, tmp_path
):
    import slicer
    import vtk

    from lungperfusion.commands.ctvq import read_landmarks, read_ratings

    modules("CTVQ")
    panel = desktop.select("CTVQ")
    assert "--landmarks" not in panel.logic.extra_words(panel.parameters, tmp_path)
    lists = []
    for name, z in (("Out", 0.0), ("In", 7.0)):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        node.AddControlPoint(10.0, -20.0, z)
        lists.append(node)
    panel.ui.expirationLandmarks.setCurrentNode(lists[0])
    panel.ui.inspirationLandmarks.setCurrentNode(lists[1])
    lists[0].AddControlPoint(1.0, 2.0, 3.0)
    panel.updateButtons()
    assert "as many landmarks" in panel.ui.applyButton.toolTip
    lists[1].AddControlPoint(1.0, 2.0, 9.0)
    panel.updateButtons()
    assert panel.ui.applyButton.enabled

    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Ratings")
    for name, cells in {"region": ("left_upper_zone",), "rating": ("4",)}.items():
        column = vtk.vtkStringArray()
        column.SetName(name)
        for cell in cells:
            column.InsertNextValue(cell)
        table.AddColumn(column)
    panel.ui.ratings.setCurrentNode(table)
    words = panel.logic.extra_words(panel.parameters, tmp_path)
    first, second = (words[words.index("--landmarks") + n] for n in (1, 2))
    assert read_landmarks(first).tolist() == [[10, -20, 0], [1, 2, 3]]
    assert read_landmarks(second).tolist() == [[10, -20, 7], [1, 2, 9]]
    assert read_ratings(tmp_path / "ratings.csv") == {"": {"left_upper_zone": 4.0}}

    assert not panel.ui.referenceKind.isVisibleTo(panel.parent)
    panel.ui.reference.setCurrentNode(two_breaths[0])
    assert panel.ui.referenceKind.isVisibleTo(panel.parent)
    assert panel.logic.image_options(panel.parameters)["--reference"] == (two_breaths[0], "1")
    assert "--reference-kind" in panel.logic.options(panel.parameters)


def test_a_measured_map_reaches_the_command(desktop, modules, two_breaths, breaths):
    import slicer

    modules("CTVQ")
    panel = desktop.select("CTVQ")
    assert not panel.ui.perfusionMap.isVisibleTo(panel.parent)
    assert "--perfusion-kind" not in panel.logic.options(panel.parameters)
    panel.ui.perfusionSource.currentText = "measured map"
    assert panel.ui.perfusionMap.isVisibleTo(panel.parent)
    panel.updateButtons()
    assert "Choose the map of measured perfusion" in panel.ui.applyButton.toolTip
    counts = mrml.show_volume(slicer.mrmlScene, breaths.expiration, "Q SPECT")
    panel.ui.perfusionMap.setCurrentNode(counts)
    panel.ui.perfusionKind.currentText = "spect"
    panel.updateButtons()
    assert panel.ui.applyButton.enabled
    images = panel.logic.image_options(panel.parameters)
    assert images["--perfusion-map"] == (counts, "1")
    words = panel.logic.options(panel.parameters)
    assert words[words.index("--perfusion-kind") + 1] == "spect"
