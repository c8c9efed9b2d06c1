"""VesselBV from the scan to numbers after corrected vessels."""

from types import SimpleNamespace

from gui_support import RUN_S, apply, erase_front, finish, value
from pydicom import dcmread

from lungperfusion import mrml
from lungperfusion.commands.phantom import write_dicom
from lungperfusion.io import read_ct


def test_flow(desktop, modules, breaths, tmp_path, monkeypatch):
    import slicer

    modules("VesselBV")
    panel = desktop.select("VesselBV")
    assert "Choose the chest CT" in panel.ui.applyButton.toolTip
    source = tmp_path / "source"
    write_dicom(breaths.inspiration, source, kind="breath")
    ct = mrml.show_volume(slicer.mrmlScene, read_ct(source).volume, "CT")
    _loaded_from_dicom(ct, source, monkeypatch)
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
    _write_dicom_objects(desktop, panel, tmp_path / "P2")
    finish(desktop, panel, tmp_path, "tbv")


def _loaded_from_dicom(node, source, monkeypatch):
    """Let Slicer's database know the slices of a volume."""
    import slicer

    files = {str(dcmread(path).SOPInstanceUID): path for path in sorted(source.iterdir())}
    database = SimpleNamespace(
        fileForInstance=lambda uid: str(files[uid]),
        instanceValue=lambda uid, tag: str(dcmread(files[uid])[tag.replace(",", "")].value),
    )
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    node.SetAttribute("DICOM.instanceUIDs", " ".join(files))


def _write_dicom_objects(desktop, panel, folder):
    """Write what the panel measured and the reader corrected beside the CT in the archive."""
    panel.ui.reportFolder.currentPath = str(folder.parent)
    panel.parameters.caseName = folder.name
    apply(desktop, panel, "reportButton")
    panel.archive.button.click()
    desktop.wait(lambda: panel.archive.job is None, RUN_S)
    written = dcmread(folder.with_name(f"{folder.name}-dicom") / "seg_vessels.dcm")
    assert written.PatientID == "PHANTOM"
    assert {s.SegmentAlgorithmType for s in written.SegmentSequence} == {"SEMIAUTOMATIC"}
