"""A right lung with analytic fissures, quick to make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from lungperfusion.phantoms.anatomy import RIGHT_HORIZONTAL, RIGHT_OBLIQUE
from lungperfusion.terms import STRUCTURES
from lungperfusion.volume import Geometry, Labelmap, Volume

CENTRE, RADII = np.array([70.0, -10.0, -60.0]), np.array([55.0, 85.0, 115.0])
TRUTH = {
    "right_oblique_fissure": RIGHT_OBLIQUE,
    "right_horizontal_fissure": RIGHT_HORIZONTAL,
}


@dataclass(frozen=True)
class Lung:
    """One lung with its truth."""

    ct: Volume
    lungs: Labelmap
    lobes: Labelmap


def make_lung(
    spacing=(1.5, 1.5, 1.5),
    present=1.0,
    noise_hu=20.0,
    turn=None,
    sheet_hu=360.0,
    size=1.0,
    fissures=(RIGHT_OBLIQUE, RIGHT_HORIZONTAL),
):
    """Right lung of 1.5 mm voxels; each fissure is there in its outer part only.

    ``present`` is the share of the lung's width, from outside, that has fissures; ``size`` scales
    the lung about its centre; ``fissures`` are the oblique and the horizontal one.
    """
    radii = RADII * size
    extent = 2 * radii + 24.0
    counts = np.ceil(extent / spacing).astype(int)
    geometry = Geometry.axial(tuple(counts[::-1]), spacing)
    matrix = geometry.ijk_to_ras.copy()
    if turn is not None:
        matrix[:3, :3] = turn @ matrix[:3, :3]
    matrix[:3, 3] = CENTRE - matrix[:3, :3] @ ((counts - 1) / 2)
    geometry = Geometry(geometry.shape, matrix)
    r, a, s = (geometry.coordinate_mm(axis) for axis in ("R", "A", "S"))
    q = sum(((x - c) / w) ** 2 for x, c, w in zip((r, a, s), CENTRE, radii, strict=True))
    inside = q < 1
    oblique, horizontal = (fissure.distance(r, a, s) for fissure in fissures)
    width = float(np.mean(spacing))
    border = CENTRE[0] + radii[0] * (1 - 2 * present)
    hu = np.where(inside, -880.0, 40.0)
    for distance, where in ((oblique, True), (horizontal, oblique > 0)):
        share = np.clip((0.5 + width / 2 - np.abs(distance)) / width, 0, min(1.0, 1 / width))
        hu += np.where(inside & where & (r >= border), sheet_hu * share, 0.0)
    rng = np.random.default_rng(5)
    hu += rng.normal(0, noise_hu, hu.shape)
    values = {name: STRUCTURES[name].label for name in STRUCTURES if name.endswith("lobe")}
    lobes = np.zeros(hu.shape, np.uint8)
    lobes[inside & (oblique < 0)] = values["right_lower_lobe"]
    lobes[inside & (oblique >= 0) & (horizontal >= 0)] = values["right_upper_lobe"]
    lobes[inside & (oblique >= 0) & (horizontal < 0)] = values["right_middle_lobe"]
    return Lung(
        Volume(hu.astype(np.int16), geometry, "HU"),
        Labelmap(
            np.where(inside, 2, 0).astype(np.uint8), geometry, {1: "left_lung", 2: "right_lung"}
        ),
        Labelmap(lobes, geometry, {v: n for n, v in values.items()}),
    )


def dice(a, b):
    """Overlap of two masks."""
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.fixture(scope="session")
def right_lung():
    """Right lung with complete fissures."""
    return make_lung(size=0.8)


@pytest.fixture(scope="session")
def right_lobes(right_lung):
    """Its lobes as found."""
    from lungperfusion.segmentation.lobes import segment_lobes

    return segment_lobes(right_lung.ct, right_lung.lungs)
