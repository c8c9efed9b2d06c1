"""A study whose results are in DICOM, made once for each file of tests."""

import sys
from pathlib import Path

import pytest

if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

from archive_support import Study, write_archive, write_measured, write_source


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Objects of all kinds but key images."""
    place = tmp_path_factory.mktemp("study")
    source = write_source(place / "source")
    results = write_measured(place / "results", source)
    return Study(source, results, write_archive(place / "objects", results, source))
