"""Misregistration of a pair: the shift that was made comes back, on any grid, and is joined."""

import numpy as np
import pytest

from lungperfusion.analysis.image_pair import separate_pair
from lungperfusion.iodine.calibration import spectral_pair
from lungperfusion.iodine.pair_alignment import join_half_way, measure_shift
from lungperfusion.volume import Geometry, Labelmap, Volume

SHIFT_MM = np.array([0.5, -0.4, 0.7])


def tilted(spacing=(1.0, 1.1, 1.3), size=(64, 60, 56)):
    """Oblique grid around the origin."""
    angle = np.deg2rad(20)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag([-1, -1, 1]) * np.asarray(spacing)
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.asarray(size) - 1) / 2)
    return Geometry(size[::-1], matrix)


def vessels(geometry, shift_mm, contrast_hu, noise_hu, seed):
    """Lung of -850 HU with smooth round vessels across it, the patient lying off by a shift."""
    places = [geometry.coordinate_mm(axis) - d for axis, d in zip("RAS", shift_mm, strict=True)]
    rng = np.random.default_rng(5)
    hu = np.full(geometry.shape, -850.0)
    for _ in range(14):
        along = rng.normal(size=3)
        along /= np.linalg.norm(along)
        offset = [p - c for p, c in zip(places, rng.uniform(-20, 20, 3), strict=True)]
        t = sum(o * d for o, d in zip(offset, along, strict=True))
        away2 = sum(o * o for o in offset) - t * t
        hu = np.maximum(hu, -850 + contrast_hu * np.exp(-away2 / (2 * 1.8**2)))
    hu += np.random.default_rng(seed).normal(0, noise_hu, hu.shape)
    return Volume(np.round(hu).astype(np.int16), geometry, "HU")


def moved_pair(geometry, shift_mm=SHIFT_MM, noise_hu=20.0):
    low = vessels(geometry, np.zeros(3), 1400.0, noise_hu, 1)
    high = vessels(geometry, shift_mm, 1000.0, noise_hu, 2)
    return low, high, np.ones(geometry.shape, np.bool_)


@pytest.mark.parametrize("shift_mm", [np.zeros(3), SHIFT_MM, np.array([-2.0, 1.0, 0.0])])
def test_the_shift_comes_back_in_patient_coordinates(shift_mm):
    found = measure_shift(*moved_pair(tilted(), shift_mm))
    np.testing.assert_allclose(found, shift_mm, atol=0.06)


def test_orientation_and_spacing_of_the_grid_do_not_matter():
    low, high, lung = moved_pair(tilted())
    flipped = low.geometry.ijk_to_ras @ np.diag([-1, 1, -1, 1])
    last = low.geometry.shape
    flipped[:3, 3] = low.geometry.ras_from_ijk([last[2] - 1, 0, last[0] - 1])
    grid = Geometry(last, flipped)
    turned = [Volume(image.array[::-1, :, ::-1].copy(), grid, "HU") for image in (low, high)]
    np.testing.assert_allclose(
        measure_shift(*turned, lung), measure_shift(low, high, lung), atol=0.03
    )
    fine = measure_shift(*moved_pair(tilted((0.7, 0.7, 0.7), (90, 90, 90))))
    np.testing.assert_allclose(fine, SHIFT_MM, atol=0.06)


def test_too_little_lung_or_one_slice_gives_nothing():
    low, high, lung = moved_pair(tilted())
    assert measure_shift(low, high, np.zeros_like(lung)) is None
    single = tuple(image.crop((slice(5, 6), slice(None), slice(None))) for image in (low, high))
    assert measure_shift(*single, lung[5:6]) is None


def test_an_image_without_structure_is_left_in_place():
    geometry = tilted()
    flat = Volume(np.full(geometry.shape, -850, np.int16), geometry, "HU")
    np.testing.assert_allclose(
        measure_shift(flat, flat, np.ones(geometry.shape, np.bool_)), 0, atol=1e-6
    )


def test_joined_images_coincide_and_lie_in_the_middle():
    low, high, _ = moved_pair(tilted(), noise_hu=0.0)
    inner = (slice(4, -4),) * 3

    def difference(first, second):
        return np.sqrt(np.mean((1.4 * (second.array + 850.0) - (first.array + 850.0))[inner] ** 2))

    first, second = join_half_way(low, high, SHIFT_MM)
    assert difference(first, second) < 0.25 * difference(low, high)
    half = vessels(low.geometry, SHIFT_MM / 2, 1400.0, 0.0, 1)
    off = np.abs(first.array - half.array)[inner].mean()
    assert off < 0.4 * np.abs(low.array - half.array)[inner].mean()


def test_what_was_not_valid_spreads_no_further_than_it_is_moved():
    low, high, _ = moved_pair(tilted(), noise_hu=0.0)
    valid = np.ones(low.geometry.shape, np.bool_)
    valid[:, :10] = False
    marked = Volume(low.array, low.geometry, "HU", valid)
    first, second = join_half_way(marked, high, SHIFT_MM)
    assert second.valid is None
    assert not first.valid[:, :10].any()
    assert first.valid[:, 11:].all()


def test_the_pair_is_joined_and_the_gate_says_so():
    geometry = tilted()
    low, high, _ = moved_pair(geometry)
    labels = np.full(geometry.shape, 1, np.uint8)
    labels[..., : geometry.shape[2] // 2] = 2
    lungs = Labelmap(labels, geometry, {1: "left_lung", 2: "right_lung"})
    pair = spectral_pair("80", "140Sn")
    _, (gate, air, ratio), notes = separate_pair(low, high, lungs, pair)
    assert notes == ()
    assert gate.verdict == "pass"
    assert gate.value == pytest.approx(np.linalg.norm(SHIFT_MM), abs=0.05)
    assert "brought together" in gate.message
    assert air.verdict == "warn"
    assert "too little air" in air.message
    assert ratio.verdict == "unknown"
    _, (still, *_), _ = separate_pair(low, low, lungs, pair)
    assert "left as they are" in still.message
    far = vessels(geometry, np.array([4.0, 0.0, 0.0]), 1000.0, 20.0, 2)
    _, (gate, *_), _ = separate_pair(low, far, lungs, pair)
    assert gate.verdict == "warn"
    nothing = Labelmap(np.zeros_like(labels), geometry, lungs.names)
    assert separate_pair(low, high, nothing, pair)[1][0].verdict == "unknown"
