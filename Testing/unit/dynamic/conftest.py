"""One coarse first pass for all tests of dynamic perfusion."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.phantoms.first_pass import (
    SLAB_CENTRE_RAS_MM,
    SLAB_FIELD_MM,
    FirstPassPhantom,
    FirstPassScan,
    render_first_pass,
)
from lungperfusion.phantoms.kinds import default_geometry

SPACING_MM = (5.0, 5.0, 4.2)


@pytest.fixture(scope="session")
def phantom() -> FirstPassPhantom:
    """Slab of 70 x 52 x 20 voxels, 18 frames of 2 s, held breath, then shallow breaths."""
    geometry = default_geometry(
        SPACING_MM, field_mm=SLAB_FIELD_MM, centre_ras_mm=SLAB_CENTRE_RAS_MM
    )
    scan = FirstPassScan(
        frames=18, step_s=2.0, noise_hu=5.0, breath_mm=6.0, breath_from_s=26.0, streak_hu=0.0
    )
    return render_first_pass(geometry, scan=scan)


@pytest.fixture(scope="session")
def times_s() -> np.ndarray:
    """Usual times of frames."""
    return np.arange(24) * 1.5
