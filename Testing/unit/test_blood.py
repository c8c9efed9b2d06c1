"""Blood of heart and aorta: never liver, muscle, marrow or metal; disagreement is told."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from lungperfusion.analysis.regions import SEGMENT_LUNGS, find_regions
from lungperfusion.blood import (
    CONTRAST_FROM_HU,
    DEFAULT_BLOOD_HU,
    blood_density_of_label,
    find_blood_density,
    given_blood_density,
)
from lungperfusion.io import read_ct
from lungperfusion.segmentation.gates import lung_gates
from lungperfusion.volume import Geometry, Labelmap, Volume

NAMES = {1: "left_lung", 2: "right_lung"}


def ellipsoid(place, centre, radii):
    return sum(((x - c) / r) ** 2 for x, c, r in zip(place, centre, radii, strict=True)) < 1


def chest(
    heart=40.0,
    aorta=None,
    *,
    liver=60.0,
    muscle=55.0,
    vessels=None,
    noise=15.0,
    lungs=("left_lung", "right_lung"),
    keep=("left_lung", "right_lung"),
    effusion=False,
    wire=False,
    calcified=False,
    spacing=(3.0, 3.0, 3.0),
):
    """Ellipsoidal lungs with wide vessels around a heart with muscle and chambers; RAS mm.

    ``lungs`` are there; the others are filled with water.  ``keep`` are labelled.
    """
    aorta = heart if aorta is None else aorta
    size = np.array((330.0, 240.0, 300.0))
    counts = np.round(size / spacing).astype(int)
    geometry = Geometry.axial(
        tuple(counts[::-1]), spacing, (size[0] / 2, size[1] / 2, -size[2] / 2)
    )
    r, a, s = place = [geometry.coordinate_mm(axis) for axis in "RAS"]
    hu = np.where((r / 160) ** 2 + (a / 112) ** 2 < 1, muscle, -1000.0)
    labels = np.zeros(geometry.shape, np.uint8)
    dome = ellipsoid(place, (70, 0, -150), (70, 85, 75))
    hu[ellipsoid(place, (0, 0, -200), (140, 95, 110))] = liver
    middle = (np.abs(r) < 45) & (np.abs(a) < 85) & (s > -100)
    hu[middle] = -95
    chambers = ellipsoid(place, (-15, 25, -40), (38, 32, 36))
    if effusion:
        hu[ellipsoid(place, (-15, 25, -40), (64, 58, 62))] = 8
    hu[ellipsoid(place, (-15, 25, -40), (50, 44, 48))] = 50
    hu[chambers] = heart
    tube = np.hypot(r + 22, a + 42)
    hu[tube < 13] = aorta
    if calcified:
        hu[(tube >= 11) & (tube < 13) & (r < -22)] = 600
    spine = np.hypot(r / 20, (a + 70) / 17)
    hu[spine < 1] = 420
    hu[spine < 0.82] = 180
    for name, side, label in (("left_lung", -1, 1), ("right_lung", 1, 2)):
        inside = ellipsoid(place, (side * 80, -5, -10), (62, 92, 130))
        inside &= ~dome & ~ellipsoid(place, (-15, 25, -40), (66, 60, 64)) & (spine > 1.15)
        inside &= tube > 14
        hu[inside] = -850 if name in lungs else 5
        if name in keep and name in lungs:
            labels[inside] = label
    rods = (np.abs(np.mod(r, 40) - 20) < 5) & (np.abs(np.mod(a, 40) - 20) < 5)
    hu[rods & (hu == -850)] = vessels or max(heart, aorta)
    if wire:
        hu[(np.hypot(r - 20, a - 20) < 2) & (s > -50)] = 3000
    hu += np.random.default_rng(0).normal(0, noise, hu.shape)
    return Volume(np.rint(hu).astype(np.int16), geometry, "HU"), Labelmap(labels, geometry, NAMES)


def gate(ct, lungs, id_):
    return next(found for found in lung_gates(ct, lungs) if found.id == id_)


@pytest.mark.parametrize("blood", [25.0, 70.0, 130.0, 450.0])
def test_blood_is_that_of_heart_and_aorta(blood):
    found = find_blood_density(*chest(blood))
    assert found.hu == pytest.approx(blood, abs=10 if blood < 40 else 6)  # muscle, 50 HU, joins in
    assert found.has_contrast == (blood >= CONTRAST_FROM_HU)
    assert found.source == "heart and great vessels"
    assert found.agrees


def test_enhanced_heart_and_unenhanced_liver_and_the_reverse():
    assert find_blood_density(*chest(240.0, liver=58.0)).hu == pytest.approx(240, abs=6)
    found = find_blood_density(*chest(40.0, liver=130.0))
    assert found.hu == pytest.approx(40, abs=8)
    assert not found.has_contrast


def test_marrow_is_no_aorta_however_noisy():
    assert find_blood_density(*chest(42.0, noise=70.0)).hu == pytest.approx(42, abs=10)
    assert find_blood_density(*chest(300.0, noise=70.0)).hu == pytest.approx(300, abs=15)


@pytest.mark.parametrize("side", ["left_lung", "right_lung"])
@pytest.mark.parametrize("filled", [False, True], ids=["unlabelled", "filled with fluid"])
def test_one_lung_is_enough(side, filled):
    scan = chest(240.0, keep=(side,), lungs=(side,) if filled else ("left_lung", "right_lung"))
    assert find_blood_density(*scan).hu == pytest.approx(240, abs=8)


def test_a_scan_without_heart_and_one_of_its_foot_alone():
    ct, lungs = chest(240.0)
    for part in (slice(0, 45), slice(65, 100), slice(30, 70)):
        box = (part, slice(None), slice(None))
        found = find_blood_density(ct.crop(box), lungs.crop(box))
        assert found.hu == pytest.approx(240, abs=12), part


@pytest.mark.parametrize("trouble", ["effusion", "wire", "calcified"])
@pytest.mark.parametrize("blood", [42.0, 240.0])
def test_effusion_metal_and_calcium_are_no_blood(blood, trouble):
    found = find_blood_density(*chest(blood, **{trouble: True}))
    assert found.hu == pytest.approx(blood, abs=10)


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 5.0), (4.0, 4.0, 4.0), (2.0, 2.0, 3.0)])
def test_spacing_does_not_matter(spacing):
    assert find_blood_density(*chest(240.0, spacing=spacing)).hu == pytest.approx(240, abs=6)


def test_phases_that_differ_are_told_and_averaged():
    ct, lungs = chest(320.0, 200.0)
    found = find_blood_density(ct, lungs)
    assert found.hu == pytest.approx(260, abs=8)
    assert not found.agrees
    judged = gate(ct, lungs, "blood_agreement")
    assert judged.verdict == "warn"
    assert judged.value == pytest.approx(120, abs=12)
    assert gate(*chest(240.0), "blood_agreement").verdict == "pass"


def test_a_heart_that_is_muscle_alone_gives_way_to_the_aorta():
    assert find_blood_density(*chest(50.0, 230.0)).hu == pytest.approx(230, abs=8)
    # Without contrast agent in the lungs the bright disc is no aorta.
    assert find_blood_density(*chest(50.0, 230.0, vessels=45.0)).hu == pytest.approx(50, abs=8)


def test_neither_storage_order_nor_flips_change_the_blood():
    ct, lungs = chest(240.0, 190.0, spacing=(4.0, 4.0, 5.0))
    wanted = find_blood_density(ct, lungs).hu
    for order in permutations(range(3)):
        matrix = np.eye(4)
        turn = np.eye(3)[:, [2 - n for n in order][::-1]]
        matrix[:3] = ct.geometry.ijk_to_ras[:3] @ np.block(
            [[turn, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]]
        )
        geometry = Geometry(tuple(ct.geometry.shape[n] for n in order), matrix)
        turned = Volume(ct.array.transpose(order), geometry, "HU")
        labels = Labelmap(np.ascontiguousarray(lungs.array.transpose(order)), geometry, NAMES)
        assert find_blood_density(turned, labels).hu == pytest.approx(wanted, abs=1e-3)


def test_without_heart_and_aorta_a_default_says_so():
    geometry = Geometry.axial((20, 30, 30), (3.0, 3.0, 3.0))
    ct = Volume(np.full(geometry.shape, -850, np.int16), geometry, "HU")
    lungs = Labelmap(np.full(geometry.shape, 2, np.uint8), geometry, NAMES)
    found = find_blood_density(ct, lungs)
    assert (found.hu, found.source) == (DEFAULT_BLOOD_HU, "default")
    assert "default" in found.words
    assert gate(ct, lungs, "blood_agreement").verdict == "unknown"


def test_blood_of_a_label_leaves_its_border_out():
    ct, _ = chest(200.0)
    place = [ct.geometry.coordinate_mm(axis) for axis in "RAS"]
    labels = ellipsoid(place, (-15, 25, -40), (42, 36, 40)).astype(np.uint8)
    density = blood_density_of_label(ct, Labelmap(labels, ct.geometry, {1: "heart"}), "heart")
    assert density is not None
    assert density.hu == pytest.approx(200.0, abs=3)
    assert blood_density_of_label(ct, Labelmap(labels, ct.geometry, {1: "heart"}), "aorta") is None
    assert given_blood_density(55.0).hu == 55.0


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("scan", "places"),
    [
        ("lower_lungs_ctpa", {"heart": (230, 290), "descending_aorta": (220, 250)}),
        ("lung_kernel_chest_ct", {"heart": (340, 400), "descending_aorta": (355, 390)}),
        ("contrast_chest_ct", {"heart": (105, 122), "descending_aorta": (110, 124)}),
    ],
)
def test_real_blood_is_that_of_the_outlined_heart_and_aorta(real_data, scan, places):
    """The ranges hold what pictures of the outlined aorta and chambers show."""
    ct = read_ct(real_data / scan / "ct.nii.gz").volume
    lungs = find_regions(ct, SEGMENT_LUNGS).lungs
    found = find_blood_density(ct, lungs)
    here = {site.place: site for site in found.sites}
    for place, (low, high) in places.items():
        assert low <= here[place].hu <= high
        site = here[place]
        inside = ct.array[site.box][site.mask]
        assert np.median(inside) == pytest.approx(site.hu, abs=8)
