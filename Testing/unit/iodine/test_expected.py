"""The level defects are measured against survives the loss of lobes and lungs."""

import numpy as np
import pytest

from lungperfusion.iodine.defects import find_defects
from lungperfusion.iodine.expected import LEAST_LOBE_SHARE, USUAL_BLOOD_SHARE, expected_enhancement
from lungperfusion.iodine.smoothing import smooth_inside
from lungperfusion.morphology import dilated
from lungperfusion.regions import RegionSet
from lungperfusion.terms.vq import LOW_SHARE
from lungperfusion.volume import Volume

LEVEL = 40.0


def noisy(blocks, factors, *, gradient=0.003, sd=8.0):
    """Lungs with gravity and noise, some parts with a share of their iodine."""
    front = blocks.geometry.coordinate_mm("A")
    middle = front[blocks.inside].mean()
    values = LEVEL * (1 - gradient * (front - middle)) * np.ones(blocks.geometry.shape)
    for name, factor in factors.items():
        source = blocks.lobes if name.endswith("lobe") else blocks.lungs
        values[source.mask(name)] *= factor
    return blocks.volume(values + np.random.default_rng(3).normal(0, sd, values.shape)), middle


def at_middle(blocks, expected, middle, lobe):
    here = blocks.lobes.mask(lobe) & (np.abs(blocks.geometry.coordinate_mm("A") - middle) < 5)
    return float(expected[here].mean())


LOST = [
    {},
    {"left_upper_lobe": 0.15},
    {"left_lower_lobe": 0.15, "right_lower_lobe": 0.15},
    {"left_lung": 0.15},
    {"left_lung": 0.15, "right_lower_lobe": 0.85},
]


@pytest.mark.parametrize("factors", LOST, ids=lambda f: "+".join(f) or "healthy")
@pytest.mark.parametrize("gradient", [0.0, 0.004])
def test_level_and_gravity_survive_a_loss(blocks, factors, gradient):
    image, middle = noisy(blocks, factors, gradient=gradient)
    expected = expected_enhancement(image, blocks.inside, blocks.regions)
    lobe = "right_upper_lobe"
    assert at_middle(blocks, expected, middle, lobe) == pytest.approx(LEVEL, rel=0.04)
    front = blocks.geometry.coordinate_mm("A") * np.ones(image.array.shape)
    here = blocks.lobes.mask(lobe)
    slope = np.polyfit(front[here], expected[here], 1)[0] / LEVEL
    assert slope == pytest.approx(-gradient, abs=0.0006)


def test_a_lost_lobe_is_measured_against_the_others(blocks):
    image, middle = noisy(blocks, {"left_upper_lobe": 0.15})
    expected = expected_enhancement(image, blocks.inside, blocks.regions)
    level = at_middle(blocks, expected, middle, "left_upper_lobe")
    assert level == pytest.approx(LEAST_LOBE_SHARE * LEVEL, rel=0.04)


@pytest.mark.parametrize(("factor", "own"), [(0.85, 0.85), (1.2, 1.2), (0.4, 0.8)])
def test_levels_of_lobes_count_as_far_as_healthy_ones_differ(blocks, factor, own):
    image, middle = noisy(blocks, {"right_lower_lobe": factor})
    expected = expected_enhancement(image, blocks.inside, blocks.regions)
    level = at_middle(blocks, expected, middle, "right_lower_lobe")
    assert level == pytest.approx(own * LEVEL, rel=0.05)


def test_without_lobes_a_lost_lung_is_found(blocks):
    image, _ = noisy(blocks, {"right_lung": 0.15}, sd=4.0)
    found = find_defects(image, blocks.inside, RegionSet((blocks.lungs,)))
    assert found.mask[blocks.lungs.mask("right_lung")].mean() > 0.95
    assert found.mask[blocks.lungs.mask("left_lung")].mean() < 0.01


def test_the_blood_of_the_trunk_is_a_least_level(blocks):
    image, _ = noisy(blocks, {"left_lung": 0.15, "right_lung": 0.15}, sd=1.0)
    blood_hu = 400.0
    plain = expected_enhancement(image, blocks.inside, blocks.regions)
    with_blood = expected_enhancement(image, blocks.inside, blocks.regions, blood_hu=blood_hu)
    assert np.nanmedian(plain) == pytest.approx(0.15 * LEVEL, rel=0.05)
    least = USUAL_BLOOD_SHARE * blood_hu
    assert np.nanmax(with_blood) > least * LEAST_LOBE_SHARE
    lost = image.array[blocks.inside] < LOW_SHARE * with_blood[blocks.inside]
    assert lost.mean() > 0.9
    healthy, _ = noisy(blocks, {})
    np.testing.assert_array_equal(
        expected_enhancement(healthy, blocks.inside, blocks.regions),
        expected_enhancement(healthy, blocks.inside, blocks.regions, blood_hu=blood_hu),
    )


def test_no_iodine_at_all_is_no_error(blocks):
    image, _ = noisy(blocks, {"left_lung": 0.0, "right_lung": 0.0})
    expected = expected_enhancement(image, blocks.inside, blocks.regions)
    assert np.isfinite(expected[blocks.inside]).all()
    nothing = np.zeros_like(blocks.inside)
    assert np.isnan(expected_enhancement(image, nothing, blocks.regions)).all()


def test_small_holes_of_a_defect_are_filled_and_large_ones_are_not(blocks):
    values = np.full(blocks.geometry.shape, LEVEL, np.float32)
    k, j, i = np.argwhere(blocks.lungs.mask("left_lung")).mean(axis=0).astype(int)
    values[k - 6 : k + 6, j - 6 : j + 6, i - 6 : i + 6] = 5.0
    values[k, j, i] = LEVEL  # 0.06 mL
    values[k - 4 : k - 1, j - 4 : j - 1, i - 4 : i - 1] = LEVEL  # 1.7 mL
    found = find_defects(blocks.volume(values), blocks.inside, blocks.regions)
    assert found.mask[k, j, i]
    assert not found.mask[k - 3, j - 3, i - 3]
    assert found.mask.sum() == 12**3 - 27


@pytest.mark.parametrize("lost", [(), ("left_lung",), ("left_lower_lobe", "right_lower_lobe")])
def test_losses_in_the_digital_chest(dect, lost):
    """Iodine of the project's own chest with noise as smoothing leaves it."""
    lungs, lobes = dect.truth.lungs, dect.truth.lobes
    inside = dect.perfused & (lungs.array > 0)
    gone = np.zeros_like(inside)
    for name in lost:
        gone |= (lobes if name.endswith("lobe") else lungs).mask(name)
    truth = np.where(gone, 0.15, 1.0) * dect.iodine.array
    noise = np.random.default_rng(9).normal(0, 1.0, truth.shape)
    values = smooth_inside(truth + noise, inside, lungs.geometry, sigma_mm=2.5)
    image = Volume(values * np.float32(25), lungs.geometry, "HU")
    found = find_defects(image, inside, RegionSet((lungs, lobes))).mask
    apart = ~dilated(gone, 5.0, lungs.geometry.spacing_kji_mm)
    assert found[inside & apart].mean() < 0.01
    if lost:
        assert found[inside & gone].mean() > 0.9
