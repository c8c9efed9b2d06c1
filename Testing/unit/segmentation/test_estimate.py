"""The quick guess of lung volume tells a deep from a shallow breath on any grid."""

import numpy as np
import pytest
from scipy import ndimage

from lungperfusion.phantoms.breathing import make_breathing_phantom
from lungperfusion.segmentation.estimate import estimate_lung_volume_l
from lungperfusion.volume import Volume


@pytest.fixture(scope="module")
def breaths():
    return make_breathing_phantom(spacing_mm=3.0, scale=0.6)


def test_deep_breath_has_more_lung(breaths):
    deep, shallow = (estimate_lung_volume_l(v) for v in (breaths.inspiration, breaths.expiration))
    assert deep > 1.1 * shallow
    truth_l = breaths.expiration_lungs.volume_ml("left_lung", "right_lung") / 1000
    assert shallow == pytest.approx(truth_l, rel=0.5)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_axis_order_and_flips_do_not_matter(breaths, axes):
    from lungperfusion.volume import Geometry

    ct = breaths.inspiration
    k, j, i = (n // 2 * 2 for n in ct.geometry.shape)  # whole blocks, whatever the order
    ct = ct.crop((slice(0, k), slice(0, j), slice(0, i)))
    matrix = ct.geometry.ijk_to_ras.copy()
    order_ijk = [2 - axes[2 - n] for n in range(3)]
    matrix[:, :3] = matrix[:, order_ijk]
    turned = np.ascontiguousarray(ct.array.transpose(axes))
    other = Volume(turned, Geometry(turned.shape, matrix), "HU")
    assert estimate_lung_volume_l(other) == pytest.approx(estimate_lung_volume_l(ct), rel=1e-9)


def test_open_air_and_water_are_no_lung(breaths):
    for hu in (-1000, 0):
        even = breaths.inspiration.with_array(np.full_like(breaths.inspiration.array, hu))
        assert estimate_lung_volume_l(even) == 0


def test_lungs_as_dark_as_open_air_count(breaths):
    """Emphysema, or a scan with an offset: most of the lung lies below -950 HU."""
    ct, lungs = breaths.inspiration, breaths.inspiration_lungs
    inside = lungs.mask("left_lung", "right_lung")
    wall = ndimage.binary_dilation(inside, iterations=4) & ~inside  # this phantom's is very thin
    bright, dark = (
        ct.with_array(np.select([inside, wall], [hu, 40], ct.array).astype(np.int16))
        for hu in (-850, -985)
    )
    assert estimate_lung_volume_l(dark) == pytest.approx(estimate_lung_volume_l(bright), rel=0.15)


def test_lungs_cut_by_the_side_of_the_image_count(breaths):
    """A narrow field of view through the middle of both lungs."""
    ct, lungs = breaths.inspiration, breaths.inspiration_lungs
    inside = lungs.mask("left_lung", "right_lung").any(axis=(0, 1)).nonzero()[0]
    quarter = (inside[-1] - inside[0]) // 4
    box = (slice(None), slice(None), slice(inside[0] + quarter, inside[-1] - quarter))
    part = estimate_lung_volume_l(ct.crop(box))
    assert part > 0.3 * estimate_lung_volume_l(ct)
