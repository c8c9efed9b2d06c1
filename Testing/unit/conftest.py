"""Nouns that tests share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lungperfusion.phantoms import KINDS
from lungperfusion.phantoms.rendering import Phantom
from lungperfusion.volume import Geometry

if str(Path(__file__).parent) not in sys.path:
    sys.path.append(str(Path(__file__).parent))  # for scaled_chest

from scaled_chest import scaled_phantom

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Top folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real scans beside the project; mark tests that use it with ``real``."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real scans beside the project (../shared/data)")
    return folder


@pytest.fixture(scope="session")
def toddler() -> Phantom:
    """Coarse chest of half the size: lobes are sought in an eighth of an adult's lung."""
    return scaled_phantom(KINDS["small"]((4.0, 4.0, 4.0)), 0.5)


def _rotation(axis: str, degrees: float) -> np.ndarray:
    """Rotation about a patient axis."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = {"R": (1, 2), "A": (2, 0), "S": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = cos
    matrix[first, second], matrix[second, first] = -sin, sin
    return matrix


@pytest.fixture(scope="session")
def rotation() -> Callable[[str, float], np.ndarray]:
    """``rotation("S", 30)``: 3x3 rotation by 30 degrees about the craniocaudal axis."""
    return _rotation


def _grids() -> dict[str, Geometry]:
    """One small grid of every kind that scanners and converters write."""
    shape, origin = (5, 6, 7), (11.0, -23.0, 47.0)
    spacing = np.diag([0.7, 0.9, 2.5])
    oblique = _rotation("R", 20) @ _rotation("A", -35) @ _rotation("S", 50)
    tilt = np.eye(3)
    tilt[1, 2] = np.tan(np.radians(15))  # gantry tilt: slices shift backwards from one to the next

    def grid(directions: np.ndarray) -> Geometry:
        matrix = np.eye(4)
        matrix[:3, :3] = directions @ spacing
        matrix[:3, 3] = origin
        return Geometry(shape, matrix)

    return {
        "axial": grid(np.diag([-1.0, -1.0, 1.0])),
        "axial, feet first": grid(np.diag([-1.0, -1.0, -1.0])),
        "RAS": grid(np.eye(3)),
        "coronal": grid(np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]])),
        "sagittal": grid(np.array([[0.0, 0, -1], [-1, 0, 0], [0, -1, 0]])),
        "oblique": grid(oblique),
        "sheared": grid(np.diag([-1.0, -1.0, 1.0]) @ tilt),
        "oblique and sheared": grid(oblique @ tilt),
    }


GRIDS = _grids()


@pytest.fixture(params=GRIDS.values(), ids=GRIDS.keys())
def any_grid(request: pytest.FixtureRequest) -> Geometry:
    """A 7 x 6 x 5 grid (I, J, K) in every orientation, oblique and sheared ones included."""
    return request.param
