"""Diameters and clot scores that a reader gives in PerfusionIPv."""

import pytest


@pytest.fixture
def panel(desktop, modules, volumes):
    modules("PerfusionIPv")
    return desktop.select("PerfusionIPv")


def draw(panel, button, first, second):
    """Press the button and click twice."""
    import slicer

    from lungperfusion_gui import signs

    getattr(panel.ui, button).click()
    assert panel.signs.marks.placing
    assert getattr(panel.ui, button).checked
    node = signs.line_node(panel.study, signs.LINES[button])
    node.AddControlPoint(*first)
    node.AddControlPoint(*second)
    slicer.app.applicationLogic().GetInteractionNode().SwitchToViewTransformMode()
    assert not getattr(panel.ui, button).checked
    return node


def test_ratio_follows_the_lines(panel, tmp_path):
    from lungperfusion_gui import signs

    assert panel.ui.paAoLabel.text.endswith("–")
    draw(panel, "paLineButton", (0, 0, 0), (0, 27, 0))
    assert panel.ui.paAoLabel.text.endswith("(draw the line of the aorta, too)")
    assert signs.request_words(panel.study, tmp_path) == []  # one line makes no ratio
    aorta = draw(panel, "aoLineButton", (0, 0, 0), (18, 24, 0))
    assert not aorta.GetDisplayNode().GetVisibility3D()  # labels would float before the lungs
    assert panel.ui.paAoLabel.text == "PA/Ao: 0.90 (27.0 / 30.0 mm)"
    aorta.SetNthControlPointPosition(1, 0, 0, 27)
    assert "1.00" in panel.ui.paAoLabel.text
    aorta.SetNthControlPointPosition(1, 0, 0, 2)
    assert "inner walls" in panel.ui.paAoLabel.text
    aorta.SetNthControlPointPosition(1, 0, 0, 27)
    words = signs.request_words(panel.study, tmp_path)
    assert words == ["--lines", str(tmp_path / "lines.csv")]
    from lungperfusion.commands.sign_arguments import read_lines

    lines = read_lines([tmp_path / "lines.csv"])
    assert set(lines) == {"pulmonary_artery", "aorta"}
    assert lines["aorta"][1].tolist() == [0, 0, 27]


def test_clots_are_missing_until_scored(panel, tmp_path):
    from lungperfusion.commands.sign_arguments import read_clots
    from lungperfusion_gui import signs

    assert panel.ui.clotLabel.text == "Not scored."
    assert signs.request_words(panel.study, tmp_path) == []
    panel.ui.clotsScored.checked = True
    assert "0 of 40" in panel.ui.clotLabel.text
    panel.signs._combos["right_lower"].currentIndex = 1
    panel.signs._combos["left_lower"].currentIndex = 2
    assert "15 of 40 points, 37.5 %" in panel.ui.clotLabel.text
    words = signs.request_words(panel.study, tmp_path)
    assert read_clots(tmp_path / "clots.csv") == {"right_lower": 1, "left_lower": 2}
    assert words == ["--clots", str(tmp_path / "clots.csv")]
    panel.signs._combos["left_superior"].currentIndex = 1
    assert "nothing beyond a complete occlusion" in panel.ui.clotLabel.text


def test_signs_survive_the_scene(desktop, panel, tmp_path):
    draw(panel, "paLineButton", (0, 0, 0), (0, 27, 0))
    draw(panel, "aoLineButton", (0, 0, 0), (18, 24, 0))
    panel.signs._combos["right_lower"].currentIndex = 1
    desktop.save_and_load_scene(tmp_path / "scene.mrb")
    assert panel.ui.paAoLabel.text == "PA/Ao: 0.90 (27.0 / 30.0 mm)"
    assert panel.signs._combos["right_lower"].currentIndex == 1
    desktop.close_scene()
    assert panel.ui.paAoLabel.text.endswith("–")
    assert panel.signs._combos["right_lower"].currentIndex == 0


def test_arteries_are_called_as_readers_call_them_and_lead_to_their_lobe(panel, patient):
    import slicer

    from lungperfusion import mrml

    items = {item.text(0): item for item in panel.signs._items}
    assert "S6 right superior" in items
    assert "S10 left posterior basal" in items
    assert sum(name.startswith("S") for name in items) == 20
    assert all(item.isExpanded() for item in panel.signs._items)
    panel.signs._onArtery(items["S6 right superior"])  # nothing to go to yet
    lungs = mrml.show_labelmap(slicer.mrmlScene, patient.truth.labelmaps()["lungs"], "Lungs")
    panel.study.keep("labels.lungs", lungs)
    panel.signs._onArtery(items["S6 right superior"])
    node = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    centre = mrml.segment_centre_ras_mm(lungs, "right_lung")
    assert node.GetSliceOffset() == pytest.approx(centre[2], abs=1e-3)
