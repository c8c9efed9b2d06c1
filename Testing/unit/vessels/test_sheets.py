"""Fissures and septa beside vessels: found by shape, taken off to the vessel's wall."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.phantoms.vessel_tree import (
    PARENCHYMA_HU,
    Traps,
    correlated_noise,
    straight_tube,
)
from lungperfusion.vessels.blood_volume import blood_sample
from lungperfusion.vessels.detection import find_vessels
from lungperfusion.vessels.sheets import sheet_points
from lungperfusion.volume import Geometry

MM = (0.7, 0.7, 0.7)


def inner(shape):
    mask = np.zeros(shape, bool)
    mask[2:-2, 2:-2, 2:-2] = True
    return mask


def noise(sd_hu, size=40):
    geometry = Geometry.axial((size,) * 3, MM, (0.0, 0.0, 0.0))
    return correlated_noise(geometry, sd_hu, 1.0, seed=0) + np.float32(PARENCHYMA_HU)


def test_a_tilted_sheet_is_found_where_it_lies(make_phantom):
    normal = np.array([0.2, 0.3, 1.0]) / np.linalg.norm([0.2, 0.3, 1.0])
    nothing = straight_tube((0, 0, 300.0), (0, 0, 1), 4.0, 4.0)
    traps = Traps(fissures=(((0.0, 0.0, 1.0), tuple(normal)),), fissure_thickness_mm=0.6)
    image = make_phantom(nothing, size_mm=28.0, rooms=(), traps=traps)
    points = sheet_points(image.ct.array.astype(np.float32), inner(image.ct.geometry.shape), MM)
    ras = image.ct.geometry.ras_from_ijk((points.position_mm / 0.7)[:, ::-1])
    height = (ras - [0, 0, 1.0]) @ normal
    assert np.abs(height).max() < 0.7
    assert height.std() < 0.12
    kji_normal = normal[::-1] * [1, -1, -1]  # RAS to the axes of the array: R and A run down
    assert np.abs(points.normal @ kji_normal).mean() > 0.98
    # Nearly every column of the array crosses it once.
    assert len(np.unique(points.index % 1600)) > 0.9 * 36 * 36


@pytest.mark.parametrize("sd_hu", [30.0, 60.0])
def test_noise_holds_no_sheets(sd_hu):
    points = sheet_points(noise(sd_hu), inner((40,) * 3), MM)
    assert points.index.size < 1e-4 * 36**3


@pytest.mark.parametrize(
    ("direction", "at_mm", "within"),
    [((1.0, 0.2, 0.0), 0.0, 0.03), ((0.3, 0.2, 1.0), 0.0, 0.03), ((1.0, 0.2, 0.0), 1.4, 0.1)],
)
def test_a_fissure_adds_little_to_the_vessel_that_it_meets(make_phantom, direction, at_mm, within):
    """Running in the sheet, crossing it, and touching it; untreated, touching adds 39 %."""
    tube = straight_tube((0.0, 0.0, at_mm), direction, 80.0, 6.0)
    fissure = Traps(fissures=(((0.0, 0.0, 0.0), (0.0, 0.0, 1.0)),), fissure_thickness_mm=0.5)
    volumes, areas = [], []
    for traps in (None, fissure):
        image = make_phantom(tube, size_mm=34.0, rooms=(), traps=traps)
        found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
        volumes.append(blood_sample(found).volume_ml.sum())
        middle = np.linalg.norm(found.axis_ras_mm, axis=1) < 8
        areas.append(np.median(found.measured.area_mm2[middle]))
    assert volumes[1] == pytest.approx(volumes[0], rel=within)
    assert areas[1] == pytest.approx(areas[0], rel=within)
