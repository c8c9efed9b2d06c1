"""Gas transfer in CTVQ: from maps and a CT to numbers, classes and corrected lungs of the MRI."""

from dataclasses import replace

import numpy as np
import pytest
from gui_support import JobAtOnce, apply, erase_front, value
from half_chest import make_chest, make_mri

from lungperfusion import mrml
from lungperfusion.phantoms import KINDS
from lungperfusion.phantoms.xenon import XenonRecipe, make_xenon
from lungperfusion.terms import LUNGS, Region
from lungperfusion.volume import Labelmap, Volume
from lungperfusion.vq.displacement import voxel_positions


@pytest.fixture(scope="module")
def case():
    chest = make_chest()
    return chest, make_mri(chest, matrix=64)


@pytest.fixture
def panel(desktop, modules, case):
    import slicer

    chest, xenon = case
    modules("CTVQ")
    panel = desktop.select("CTVQ")
    panel.ui.analysis.currentText = "gas transfer"
    scene, parameters = slicer.mrmlScene, panel.parameters
    parameters.inspiration = mrml.show_volume(scene, chest.ct, "CT")
    for name in ("ventilation", "rbc_gas"):
        volume = Volume(np.nan_to_num(getattr(xenon, name)), xenon.geometry, "1")
        field = "xenon" + "".join(part.capitalize() for part in name.split("_"))
        setattr(parameters, field, mrml.show_volume(scene, volume, name))
    parameters.inspirationLungMask = mrml.show_labelmap(scene, chest.truth.lungs, "Lungs")
    parameters.inspirationLobes = "none"
    return panel


def test_flow(desktop, panel, case):
    _, xenon = case
    assert not panel.ui.applyButton.enabled  # the lungs on the MRI are not chosen yet
    choose_mask(panel, xenon)
    assert panel.ui.xenonRbcGas.isVisibleTo(panel.parent)
    assert not panel.ui.lowVentilation.isVisibleTo(panel.parent)
    desktop.wait(lambda: panel.ui.applyButton.enabled, 5.0)
    apply(desktop, panel)
    expected = 100 * float(np.nanmean(xenon.rbc_gas[xenon.mask]))
    assert value(panel, "xe_rbc_gas") == pytest.approx(expected, rel=0.05)
    assert {"xe_rbc_gas", "ct_on_xenon"} <= set(panel.study.names("map"))
    assert panel.study.node("labels.xe_mismatch") is not None
    assert panel.study.scan is panel.parameters.xenonRbcGas

    def beneath():
        (widget, *_) = [w for w, kind in panel.display._overlay.widgets() if kind != "all"] or [
            w for w, _ in panel.display._overlay.widgets()
        ]
        return widget.mrmlSliceCompositeNode().GetBackgroundVolumeID()

    selector = panel.ui.findingsSelector
    for name, image in (("_on_ct", panel.parameters.inspiration), ("", panel.study.scan)):
        selector.currentIndex = selector.findData(f"labels.xe_mismatch{name}")
        assert beneath() == image.GetID()


def test_the_sample_holds_all_inputs(desktop, tmp_path, monkeypatch):
    from lungperfusion.progress import ignore
    from lungperfusion_gui import sample_files, samples

    small = XenonRecipe(matrix=48, samples=1)
    monkeypatch.setattr(sample_files, "make_xenon", lambda lobes: make_xenon(lobes, small))
    few_vessels = replace(KINDS["healthy"], anatomy={"leaves": 8})
    monkeypatch.setitem(sample_files.KINDS, "healthy", few_vessels)
    assert sample_files.run(["LungPerfusionXenon", "6,6,6", str(tmp_path)], ignore) == 0
    nodes = {node.GetName(): node for node in samples.show(tmp_path)}
    assert next(iter(nodes)) == "CT"
    maps = {"Xenon RBC to gas", "Xenon membrane to gas", "Xenon ventilation"}
    assert set(nodes) == {"CT", "Xenon lungs", *maps}
    lungs = mrml.labelmap_from_segmentation(
        nodes["Xenon lungs"], mrml.geometry_from_node(nodes["Xenon ventilation"])
    )
    inside = lungs.mask("lungs")
    assert inside.any()
    ratio = mrml.volume_from_node(nodes["Xenon RBC to gas"], "1").array
    assert 0.003 < float(np.median(ratio[inside])) < 0.006
    assert not (ratio[~inside] > 0).any()


def test_breaths_keep_their_inputs_apart(panel):
    words = " ".join(panel.logic.options(panel.parameters))
    assert words.startswith("--lobes none --zones")
    assert panel.logic.command_of(panel.parameters) == "xenon"
    panel.parameters.removedLeftUpperLobe = True
    assert panel.logic.options(panel.parameters)[-2:] == ["--removed-lobe", "left_upper_lobe"]
    panel.ui.analysis.currentText = "ventilation and perfusion"
    assert panel.logic.command_of(panel.parameters) == "ctvq"
    assert not panel.ui.xenonRbcGas.isVisibleTo(panel.parent)
    assert panel.ui.lowVentilation.isVisibleTo(panel.parent) or panel.ui.lowVentilation.visible
    assert "expiration" in panel.logic.missing(panel.parameters)


def choose_mask(panel, xenon):
    import slicer

    lungs = Labelmap(xenon.mask.astype(np.uint8), xenon.geometry, {1: "lungs"})
    panel.parameters.xenonMask = mrml.show_labelmap(slicer.mrmlScene, lungs, "MRI lungs")


def steps_kept(panel):
    """How often each step was carried out."""
    return {
        name: len(list(panel.runs._stages.glob(f"*{name}*.npz")))
        for name in ("mirror_fits", "join_lungs", "mark_vessels")
    }


def test_a_corrected_mask_and_points_repeat_only_what_rests_on_them(
    desktop, panel, case, monkeypatch
):
    import slicer

    from lungperfusion_gui import runs

    monkeypatch.setattr(runs, "Job", JobAtOnce)
    chest, xenon = case
    choose_mask(panel, xenon)
    desktop.wait(lambda: panel.ui.applyButton.enabled, 5.0)
    apply(desktop, panel)
    before = {lung: value(panel, "xe_volume", lung) for lung in LUNGS}
    assert steps_kept(panel) == {"mirror_fits": 1, "join_lungs": 1, "mark_vessels": 1}

    erase_front(panel.study.node("labels.xe_lungs"), "left_lung", xenon.geometry, share=0.1)
    desktop.wait(lambda: panel.study.outdated, 5.0)
    apply(desktop, panel, "recomputeButton")
    after = {lung: value(panel, "xe_volume", lung) for lung in LUNGS}
    assert after[Region.RIGHT_LUNG] == before[Region.RIGHT_LUNG]
    assert 0.8 * before[Region.LEFT_LUNG] < after[Region.LEFT_LUNG] < before[Region.LEFT_LUNG]
    assert steps_kept(panel) == {"mirror_fits": 2, "join_lungs": 2, "mark_vessels": 1}

    centres = [
        voxel_positions(grid, mask).mean(axis=0)
        for grid, mask in (
            (xenon.geometry, xenon.mask & (xenon.geometry.coordinate_mm("R") > 0)),
            (chest.ct.geometry, chest.truth.lungs.mask(Region.RIGHT_LUNG)),
        )
    ]
    lists = [
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
        for name in ("On MRI", "On CT")
    ]
    panel.parameters.xenonPoints, panel.parameters.ctPoints = lists
    assert not panel.ui.recomputeButton.enabled  # there is no point yet
    lists[0].AddControlPoint(*centres[0])
    assert "as many points" in panel.ui.applyButton.toolTip
    lists[1].AddControlPoint(*centres[1])
    assert panel.ui.recomputeButton.enabled
    apply(desktop, panel, "recomputeButton")
    assert steps_kept(panel) == {"mirror_fits": 2, "join_lungs": 3, "mark_vessels": 1}
    assert value(panel, "xe_volume", Region.LEFT_LUNG) == after[Region.LEFT_LUNG]
    marked = [entry.get("marked") for entry in mrml.read_trail(panel.study.node("trail"))]
    assert "Points that steer the registration" in marked
    assert "xe_lungs" in panel.study.corrected

    lists[0].SetNthControlPointPosition(0, *(centres[0] + 1.0))
    lists[0].InvokeEvent(slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent)
    assert panel.study.outdated
    assert panel.ui.recomputeButton.enabled
