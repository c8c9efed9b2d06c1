"""Small vessel phantoms that the tests of this folder share."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lungperfusion.phantoms.vessel_tree import (
    Room,
    Traps,
    VesselPhantom,
    murray_tree,
    render_vessels,
    straight_tube,
)
from lungperfusion.volume import Geometry

ROOM = Room((0.0, 0.0, 0.0), (29.0, 29.0, 29.0))


def _grid(spacing, size_mm):
    counts = [round(size_mm / mm) for mm in spacing]
    origin = [
        sign * mm * (n - 1) / 2 for sign, mm, n in zip((1, 1, -1), spacing, counts, strict=True)
    ]
    return Geometry.axial(tuple(counts[::-1]), spacing, tuple(origin))


def _tree(seed=1, root_mm=2.6):
    return murray_tree((0.0, 0.0, 24.0), (0.2, 0.1, -1.0), root_mm, room=ROOM, seed=seed)


def _phantom(vessels=None, *, spacing=(0.7, 0.7, 0.7), size_mm=62.0, rooms=(ROOM,), **options):
    vessels = _tree() if vessels is None else vessels
    return render_vessels(vessels, _grid(spacing, size_mm), rooms=rooms, **options)


@pytest.fixture(scope="session")
def make_phantom():
    """Factory: vessels in a round lung, by default one branching tree."""
    return _phantom


@pytest.fixture(scope="session")
def make_tree():
    return _tree


@pytest.fixture(scope="session")
def tree_phantom() -> VesselPhantom:
    return _phantom()


@pytest.fixture(scope="session")
def trap_phantom() -> VesselPhantom:
    """One vessel, and much that is none."""
    traps = Traps(
        nodules=(((12.0, 12.0, 12.0), 4.0), ((-14.0, 10.0, -10.0), 2.5)),
        consolidations=(((-4.0, -15.0, 2.0), (8.0, 8.0, 9.0)),),
        airways=straight_tube((14.0, -8.0, 0.0), (0.1, 0.1, 1.0), 30.0, 30.0),
        fissures=(((0.0, 0.0, -14.0), (0.0, 0.2, 1.0)),),
    )
    vessel = straight_tube((0.0, 4.0, 6.0), (1.0, 0.3, 0.1), 56.0, 6.0)
    return _phantom(vessel, traps=traps)


@pytest.fixture(scope="session")
def true_bins():
    """Truth in BV<1.25, BV5, BV5-10 and BV10."""

    def bins(rendered: VesselPhantom) -> np.ndarray:
        borders = (0.0, 1.25, 5.0, 10.0, np.inf)
        return np.array([rendered.between_ml(a, b) for a, b in pairwise(borders)])

    return bins
