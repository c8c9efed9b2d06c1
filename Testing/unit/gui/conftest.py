"""The modules on the stand-in of the desktop, and a phantom patient."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
STANDIN = ROOT / "Testing" / "standin"
for folder in (STANDIN, Path(__file__).parent, ROOT / "Testing" / "unit" / "xenon"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
pytest.importorskip("slicer", reason="needs slicer-core")
pytest.importorskip("PySide6", reason="needs PySide6")

from slicer_standin.fixtures import desktop  # noqa: E402, F401

from lungperfusion.phantoms import KINDS  # noqa: E402

VTK_ON_NUMPY = "ignore:Setting the shape on a NumPy array:DeprecationWarning"
"""VTK sets shapes in vtkmodules.util.numpy_support, which NumPy deprecates."""

SPACING_MM = (5.0, 5.0, 4.0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(VTK_ON_NUMPY))


def _package_modules() -> dict[str, object]:
    ours = ("lungperfusion", "lungperfusion_gui")
    return {name: sys.modules[name] for name in sys.modules if name.partition(".")[0] in ours}


@pytest.fixture(autouse=True)
def package_stays():
    """Give tests in other folders the package they imported: Slicer's Reload imports it anew."""
    before = _package_modules()
    yield
    for name in _package_modules():
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture(scope="session")
def patient():
    """CT and iodine map of one patient."""
    return KINDS["contrast"](SPACING_MM)


@pytest.fixture
def looking():
    """Let panels look at chosen scans, which takes a process and seconds for each."""


@pytest.fixture
def modules(desktop, request, monkeypatch):  # noqa: F811
    """Load the library and the named modules, as the application does at its start."""

    def load(*names):
        desktop.load(ROOT / "LungPerfusionLib" / "LungPerfusionLib.py")
        loaded = [desktop.load(ROOT / name / f"{name}.py") for name in names]
        if names and "looking" not in request.fixturenames:
            from lungperfusion_gui.scan_check import ScanChecks

            monkeypatch.setattr(ScanChecks, "_look", lambda self: None)
        return loaded

    return load


@pytest.fixture
def volumes(desktop, patient):  # noqa: F811
    """CT and iodine map as nodes."""
    import slicer

    from lungperfusion import mrml

    ct = mrml.show_volume(slicer.mrmlScene, patient.ct, "CT")
    iodine = mrml.show_volume(slicer.mrmlScene, patient.iodine, "Iodine")
    return ct, iodine


@pytest.fixture(scope="session")
def breaths():
    """Small lungs at inspiration and expiration, thin slices."""
    from lungperfusion.phantoms.breathing import make_breathing_phantom

    return make_breathing_phantom(spacing_mm=2.5, slice_mm=1.5, scale=0.56)


@pytest.fixture(scope="session")
def ipv_results(patient, tmp_path_factory):
    """Results folder of the command line for the patient."""
    from lungperfusion.__main__ import main
    from lungperfusion.io import write_volume

    folder = tmp_path_factory.mktemp("ipv")
    write_volume(patient.ct, folder / "ct.nrrd")
    write_volume(patient.iodine, folder / "iodine.nrrd")
    words = ["--ct", str(folder / "ct.nrrd"), "--iodine", str(folder / "iodine.nrrd")]
    words += ["--iodine-unit", "mg/mL", "--no-report", "--quiet", "--out", str(folder / "out")]
    assert main(["ipv", *words]) == 0
    return folder / "out"
