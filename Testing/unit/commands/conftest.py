"""One coarse chest for the tests of all commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungperfusion.io import write_volume
from lungperfusion.phantoms.kinds import KINDS


@pytest.fixture(scope="session")
def chest():
    """Small phantom at 4 mm with its truth."""
    return KINDS["small"]((4.0, 4.0, 4.0))


@pytest.fixture(scope="session")
def chest_file(chest, tmp_path_factory) -> Path:
    """The chest as NRRD."""
    path = tmp_path_factory.mktemp("chest") / "chest.nrrd"
    write_volume(chest.ct, path)
    return path
