"""Vessels are taken out of density scores; opacities stay."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from lungperfusion.density import measure_density
from lungperfusion.errors import InputError
from lungperfusion.opacity import mark_vessels
from lungperfusion.regions import RegionSet
from lungperfusion.resampling import geometry_from_sitk
from lungperfusion.volume import Geometry, Labelmap, Volume


def lung_with(
    spacing_mm: float, *, tube_radius_mm: float = 0, ball: tuple[float, float] | None = None
) -> tuple[Volume, np.ndarray, np.ndarray, np.ndarray]:
    """Block of lung with slanted tubes of blood and a ball of (radius in mm, HU), blurred, noisy.

    Gives the CT, the lung, the voxels of tubes and of the ball.
    """
    size_mm = 72
    count = round(size_mm / spacing_mm)
    at = (np.indices((count,) * 3) + 0.5) * spacing_mm
    lung = ((at > 4) & (at < size_mm - 4)).all(axis=0)
    hu = np.where(lung, -860.0, 30.0)
    tubes = np.zeros(lung.shape, bool)
    if tube_radius_mm:
        along = np.array([1.0, 0.35, 0.2])
        along /= np.linalg.norm(along)
        for y, x in ((16, 16), (16, 44), (44, 16)):
            offset = at - np.reshape([0, y, x], (3, 1, 1, 1))
            length = np.tensordot(along, offset, 1)
            tubes |= (offset**2).sum(axis=0) - length**2 < tube_radius_mm**2
        tubes &= lung
        hu[tubes] = 40
    blob = np.zeros(lung.shape, bool)
    if ball:
        blob = ((at - np.reshape([46, 50, 50], (3, 1, 1, 1))) ** 2).sum(axis=0) < ball[0] ** 2
        blob &= lung
        hu[blob] = ball[1]
    hu = ndimage.gaussian_filter(hu, 0.6 / spacing_mm)
    hu += np.random.default_rng(3).normal(0, 25, hu.shape)
    geometry = Geometry.axial(lung.shape, (spacing_mm,) * 3)
    return Volume(np.rint(hu).astype(np.int16), geometry, "HU"), lung, tubes, blob


def scores(ct: Volume, lung: np.ndarray) -> dict[str, float]:
    labels = Labelmap(lung.astype(np.uint8), ct.geometry, {1: "left_lung", 2: "right_lung"})
    results = measure_density(ct, RegionSet((labels,)), vessels=mark_vessels(ct, lung))
    return {m.measure: m.value for m in results if m.region == "left_lung"}


@pytest.mark.parametrize("radius_mm", [0.8, 2.0, 3.0, 5.0])
@pytest.mark.parametrize("spacing_mm", [0.75, 1.5])
def test_vessels_are_neither_ground_glass_nor_consolidation(radius_mm, spacing_mm):
    ct, lung, tubes, _ = lung_with(spacing_mm, tube_radius_mm=radius_mm)
    got = scores(ct, lung)
    assert tubes.sum() > 20
    assert got["ggo"] < 0.58 / 2  # half the SD of the reference
    assert got["consolidation_share"] < 0.05


@pytest.mark.parametrize("spacing_mm", [0.75, 1.5, 3.0])
def test_ground_glass_stays(spacing_mm):
    ct, lung, _, blob = lung_with(spacing_mm, ball=(13, -500))
    expected = 100 * blob.sum() / lung.sum()
    assert scores(ct, lung)["ggo"] == pytest.approx(expected, rel=0.15)


def test_consolidation_stays_also_at_the_pleura():
    ct, lung, _, blob = lung_with(1.5, ball=(20, 20))
    got = scores(ct, lung)
    assert got["consolidation_share"] == pytest.approx(100 * blob.sum() / lung.sum(), rel=0.12)


def test_vessels_beside_ground_glass_are_told_apart():
    ct, lung, tubes, blob = lung_with(0.75, tube_radius_mm=1.5, ball=(13, -500))
    vessels = mark_vessels(ct, lung)
    assert vessels[tubes & ~ndimage.binary_dilation(blob, iterations=12)].mean() > 0.95
    assert vessels[ndimage.binary_erosion(blob, iterations=3) & ~tubes].mean() < 0.02


def test_healthy_lung_s_blurred_surface_is_no_ground_glass():
    ct, lung, _, _ = lung_with(0.75)
    assert scores(ct, lung)["ggo"] < 0.1


def test_axis_order_and_flips_change_nothing():
    ct, lung, _, _ = lung_with(1.5, tube_radius_mm=2, ball=(13, -500))
    expected = mark_vessels(ct, lung)
    turned = Volume(ct.array.transpose(2, 0, 1)[:, ::-1], ct.geometry, "HU")
    got = mark_vessels(turned, lung.transpose(2, 0, 1)[:, ::-1])
    np.testing.assert_array_equal(got, expected.transpose(2, 0, 1)[:, ::-1])


def test_thin_ground_glass_along_the_pleura_stays():
    """Judged by the lung around it, not by the chest wall."""
    ct, lung, _, _ = lung_with(0.75)
    depth = ndimage.distance_transform_edt(lung) * 0.75
    layer = lung & (depth <= 4) & (np.indices(lung.shape)[1] < 20)
    hu = np.where(layer, -500, ct.array).astype(np.int16)
    vessels = mark_vessels(Volume(hu, ct.geometry, "HU"), lung)
    assert vessels[layer].mean() < 0.1


def test_ground_glass_around_a_thick_vessel_stays():
    ct, lung, tubes, _ = lung_with(0.75, tube_radius_mm=4)
    distance = ndimage.distance_transform_edt(~tubes) * 0.75
    sheath = lung & (distance > 3) & (distance < 8)
    hu = np.where(sheath, -500, ct.array).astype(np.int16)
    vessels = mark_vessels(Volume(hu, ct.geometry, "HU"), lung)
    assert vessels[sheath].mean() < 0.1
    assert vessels[tubes].mean() > 0.95


def test_marks_only_lung():
    ct, lung, _, _ = lung_with(1.5, tube_radius_mm=2)
    corner = lung & (np.indices(lung.shape).sum(axis=0) > 50)  # its box holds other tissue
    assert mark_vessels(ct, corner).any()
    assert not (mark_vessels(ct, corner) & ~corner).any()
    assert not mark_vessels(ct, np.zeros_like(lung)).any()


@pytest.mark.real
def test_ground_glass_of_a_real_scan_without_opacities(real_data):
    """Contrast CT of clear lungs: most of what is dense there is vessel."""
    image = sitk.ReadImage(real_data / "contrast_chest_ct" / "ct.nii.gz")
    hu, geometry = sitk.GetArrayFromImage(image), geometry_from_sitk(image)
    parts, _ = ndimage.label(hu < -400)
    edges = np.concatenate([parts[:, [0, -1]].ravel(), parts[:, :, [0, -1]].ravel()])
    sizes = np.bincount(parts.ravel())
    sizes[np.unique(edges)] = 0
    lung = ndimage.binary_closing(parts == np.argmax(sizes), iterations=3)
    ct = Volume(hu, geometry, "HU")
    labels = Labelmap(lung.astype(np.uint8), geometry, {1: "left_lung", 2: "right_lung"})
    regions = RegionSet((labels,))

    def ggo(vessels):
        results = measure_density(ct, regions, vessels=vessels)
        return next(m.value for m in results if (m.region, m.measure) == ("lungs", "ggo"))

    assert ggo(None) > 12
    assert 2 < ggo(mark_vessels(ct, lung)) < 7


def test_other_units_are_refused():
    ct, lung, _, _ = lung_with(3.0)
    with pytest.raises(InputError, match="must be in HU"):
        mark_vessels(Volume(ct.array, ct.geometry, "mg/mL"), lung)
