"""Cross-sections along single vessels: what the window along the axis does."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.phantoms.vessel_tree import curved_tube
from lungperfusion.vessels.area import Territory, claim_territory, integral_area
from lungperfusion.vessels.centreline import Vessels
from lungperfusion.vessels.detection import find_vessels

MM = (0.7, 0.7, 0.7)


def straight(area_mm2: float) -> tuple[Vessels, Territory]:
    """One vessel of 60 mm along K, and its voxels."""
    z = np.arange(10.0, 70.0, 0.5)
    count = z.size
    vessels = Vessels(
        position_mm=np.column_stack([z, np.full(count, 7.1), np.full(count, 6.9)]),
        tangent=np.tile([1.0, 0.0, 0.0], (count, 1)),
        segment=np.zeros(count, np.int64),
        arc_mm=z - z[0],
        scale_mm=np.ones(count),
        radius_mm=np.full(count, np.sqrt(area_mm2 / np.pi)),
        joins=np.zeros((1, 2), bool),
        component=np.zeros(1, np.int64),
        certain_share=np.ones(1),
    )
    return vessels, claim_territory(vessels, (115, 20, 20), MM)


def test_thin_vessels_are_averaged_over_more_of_their_length():
    """Scatter along the axis by noise alone: over four times the length, half of it."""
    scatter = []
    for area_mm2 in (1.0, 6.0):
        vessels, territory = straight(area_mm2)
        noise = np.random.default_rng(0).normal(0, 0.05, territory.index.size)
        blur = np.clip(0.5 - (territory.off_axis_mm - vessels.radius_mm[0]) / 0.7, 0, 1)
        area = integral_area(vessels, territory, blur + noise, 0.343, blur=0.5).area_mm2
        scatter.append(area[20:100].std())
    thin, wide = scatter
    # Fewer voxels within reach of the thin one account for a factor of 0.65 only.
    assert thin < 0.45 * wide


def test_a_tapering_vessel_keeps_its_taper(make_phantom):
    ends = np.array([[0.1, -0.2, -22.0], [0.1, -0.2, 0.0], [0.1, -0.2, 22.0]])
    radii = np.sqrt(np.array([2.2, 1.0]) / np.pi)
    image = make_phantom(curved_tube(ends, radii), size_mm=34.0, rooms=(), noise_hu=5.0)
    found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
    height = found.axis_ras_mm[:, 2]
    middle = np.abs(height) < 10
    truth = np.pi * np.interp(height[middle], [-22.0, 22.0], radii) ** 2
    np.testing.assert_allclose(found.measured.area_mm2[middle], truth, rtol=0.06)
    slope = np.polyfit(height[middle], found.measured.area_mm2[middle], 1)[0]
    assert slope == pytest.approx(np.polyfit(height[middle], truth, 1)[0], rel=0.25)
