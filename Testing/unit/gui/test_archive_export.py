"""The button that writes DICOM objects runs the command on the series that Slicer loaded."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pydicom
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "archive"))

from archive_support import write_measured, write_source


class Database:
    """Slicer's DICOM database with one series."""

    def __init__(self, folder):
        self.folder = folder

    def fileForInstance(self, uid):
        return str(self.folder / "IM000.dcm")

    def instanceValue(self, uid, tag):
        return str(pydicom.dcmread(self.folder / "IM000.dcm")[tag.replace(",", "")].value)


def node(uids):
    return SimpleNamespace(GetAttribute=lambda name: uids)


@pytest.fixture
def export(desktop):
    import qt

    from lungperfusion_gui.archive_export import ArchiveExport

    section = qt.QWidget()
    qt.QFormLayout(section)
    made = ArchiveExport(section, lambda: node("2.25.10.1 2.25.10.2"))
    made.section = section  # keeps it alive
    return made


def test_objects_are_written_beside_the_results(desktop, export, tmp_path, monkeypatch):
    import slicer

    source = write_source(tmp_path / "source")
    results = write_measured(tmp_path / "P1", source)
    monkeypatch.setattr(slicer, "dicomDatabase", Database(source), raising=False)
    assert not export.button.enabled

    export.offer(results)
    assert export.button.enabled
    export.button.click()
    assert not export.button.enabled
    desktop.wait(lambda: export.job is None, 240.0)

    assert pydicom.dcmread(tmp_path / "P1-dicom" / "report.dcm").PatientID == "PID4711"
    assert str(tmp_path / "P1-dicom") in export.label.text
    assert not export.button.enabled


def test_a_volume_of_no_series_is_refused(desktop, export, monkeypatch):
    import slicer

    from lungperfusion_gui.archive_export import source_of

    monkeypatch.setattr(slicer, "dicomDatabase", None, raising=False)
    with pytest.raises(ValueError, match="not loaded from Slicer's DICOM database"):
        source_of(node("2.25.10.1"))
    with pytest.raises(ValueError, match="not loaded from Slicer's DICOM database"):
        source_of(None)
