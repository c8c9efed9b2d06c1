"""Points that a reader places on fissures."""

import numpy as np
from gui_support import drained

from lungperfusion.io.fissure_points import read_fissure_points


def test_points_reach_the_command(desktop, modules, volumes, tmp_path):
    import slicer

    modules("VesselBV")
    panel = desktop.select("VesselBV")
    panel.ui.ct.setCurrentNode(volumes[0])
    from lungperfusion_gui import fissures

    selector = panel.ui.fissureSelector
    selector.currentIndex = selector.findData("right_oblique_fissure")
    panel.ui.fissureButton.click()
    assert panel.ui.fissureButton.checked
    node = fissures.points_node(panel.study, "right_oblique_fissure")
    node.AddControlPoint(40, -10, 5)
    node.AddControlPoint(45, -20, -15)
    slicer.app.applicationLogic().GetInteractionNode().SwitchToViewTransformMode()
    assert not panel.ui.fissureButton.checked
    (tmp_path / "none").mkdir()
    assert "--fissure-points" not in drained(
        panel.logic.request(panel.parameters, tmp_path / "none")
    )
    panel.parameters.lobes = "auto"
    (tmp_path / "auto").mkdir()
    assert "--fissure-points" in drained(panel.logic.request(panel.parameters, tmp_path / "auto"))
    words = fissures.request_words(panel.study, tmp_path)
    assert words == ["--fissure-points", str(tmp_path / "fissure_points.csv")]
    points = read_fissure_points(tmp_path / "fissure_points.csv")
    assert list(points) == ["right_oblique_fissure"]
    assert np.allclose(points["right_oblique_fissure"], [(40, -10, 5), (45, -20, -15)])


def test_lobes_of_another_program_reach_the_command(desktop, modules, volumes, patient, tmp_path):
    import slicer

    from lungperfusion import mrml
    from lungperfusion.io import read_segmentation

    modules("VesselBV")
    panel = desktop.select("VesselBV")
    lobes = patient.truth.labelmaps()["lobes"]
    node = mrml.show_labelmap(slicer.mrmlScene, lobes, "Lobes")
    panel.parameters.ct = volumes[0]
    panel.parameters.lungMask = node
    words = drained(panel.logic.request(panel.parameters, tmp_path))
    written = read_segmentation(tmp_path / "lobes.seg.nrrd")
    assert words[max(n for n, word in enumerate(words) if word == "--lobes") + 1].endswith(
        "lobes.seg.nrrd"
    )
    for name in lobes.names.values():
        assert written.volume_ml(name) == lobes.volume_ml(name)
