"""Put the stand-in on the path and offer its fixture."""

import sys
from pathlib import Path

STANDIN = Path(__file__).resolve().parents[2] / "standin"
if str(STANDIN) not in sys.path:
    sys.path.insert(0, str(STANDIN))

import pytest  # noqa: E402

pytest.importorskip("slicer", reason="needs slicer-core")
pytest.importorskip("PySide6", reason="needs PySide6")

from slicer_standin.fixtures import desktop  # noqa: E402, F401

VTK_ON_NUMPY = "ignore:Setting the shape on a NumPy array:DeprecationWarning"
"""VTK 9.6 sets shapes in vtkmodules.util.numpy_support, which NumPy 2.5 deprecates."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(VTK_ON_NUMPY))


collect_ignore_glob = ["demo/*"]
