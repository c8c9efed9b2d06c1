"""Phantoms and plain lungs that the iodine tests share."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.phantoms.dual_energy import DualEnergyPhantom
from lungperfusion.phantoms.kinds import DUAL_ENERGY_KINDS
from lungperfusion.regions import RegionSet
from lungperfusion.terms import STRUCTURES
from lungperfusion.volume import Geometry, Labelmap, Volume


@pytest.fixture(scope="session")
def dect() -> DualEnergyPhantom:
    """Dual-energy pair of a healthy chest on a coarse grid."""
    return DUAL_ENERGY_KINDS["dect"]((3.0, 3.0, 3.0))


@pytest.fixture(scope="session")
def dect_lungs(dect) -> Labelmap:
    """Lungs and airways of that chest."""
    labels = np.where(
        dect.truth.airways.mask("airways"), STRUCTURES["airways"].label, dect.truth.lungs.array
    ).astype(np.uint8)
    names = {1: "left_lung", 2: "right_lung", STRUCTURES["airways"].label: "airways"}
    return Labelmap(labels, dect.low.geometry, names)


class Blocks:
    """Two block-shaped lungs of even iodine, 80 x 120 x 120 mm each, with lobes."""

    def __init__(self, spacing_mm: float = 4.0) -> None:
        n = round(120 / spacing_mm)
        self.geometry = Geometry.axial((n + 6, n + 6, 2 * n + 6), (spacing_mm,) * 3)
        lungs = np.zeros(self.geometry.shape, np.uint8)
        width = round(80 / spacing_mm)
        lungs[3:-3, 3:-3, 3 : 3 + width] = 2  # I runs to the patient's left
        lungs[3:-3, 3:-3, -3 - width : -3] = 1
        self.lungs = Labelmap(lungs, self.geometry, {1: "left_lung", 2: "right_lung"})
        half = np.arange(self.geometry.shape[0])[:, None, None] >= self.geometry.shape[0] // 2
        lobes = np.select(
            [(lungs == 1) & half, lungs == 1, (lungs == 2) & half, lungs == 2], [11, 12, 13, 15], 0
        ).astype(np.uint8)
        names = {
            STRUCTURES[f"{side}_{part}_lobe"].label: f"{side}_{part}_lobe"
            for side in ("left", "right")
            for part in ("upper", "lower")
        }
        self.lobes = Labelmap(lobes, self.geometry, names)
        self.regions = RegionSet((self.lungs, self.lobes))
        self.inside = lungs > 0

    def volume(self, values: float | np.ndarray, unit: str = "HU") -> Volume:
        array = np.broadcast_to(np.asarray(values, np.float32), self.geometry.shape).copy()
        return Volume(array, self.geometry, unit)


@pytest.fixture
def blocks() -> Blocks:
    """Fresh block lungs."""
    return Blocks()
