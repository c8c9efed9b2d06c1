"""Turned and mirrored stacks under an unchanged header are noticed, sound scans are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from Benchmarks._second_chest import Patch, Recipe, build

from lungperfusion.body import coarse_copy
from lungperfusion.io.reading import read_ct
from lungperfusion.orientation import axial
from lungperfusion.phantoms.kinds import KINDS
from lungperfusion.segmentation.gates import _block_labels
from lungperfusion.segmentation.lungs import segment_lungs
from lungperfusion.segmentation.orientation import orientation_gate
from lungperfusion.volume import Geometry, Labelmap, Volume

COARSE = (3.0, 3.0, 3.0)
TURNS = {"upside down": 0, "front and back": 1, "left and right": 2}


def first_build():
    kind = KINDS["small"]
    phantom = replace(kind, anatomy={**kind.anatomy, "leaves": 60})(COARSE)
    labels = np.zeros(phantom.ct.geometry.shape, np.uint8)
    labels[phantom.truth.lungs.mask("left_lung")] = 1
    labels[phantom.truth.lungs.mask("right_lung")] = 2
    return phantom.ct, labels


def second_build(recipe=None):
    chest = build(COARSE, recipe or Recipe())
    labels = np.zeros(chest.geometry.shape, np.uint8)
    for value, side in ((1, "left_lung"), (2, "right_lung")):
        labels[chest.lungs.mask(side)] = value
    return chest.scan(noise_hu=30.0), labels


@pytest.fixture(scope="module", params=[first_build, second_build], ids=["first", "second"])
def chest(request):
    """A CT and its lungs from either generator of phantoms."""
    return request.param()


def gate_of(ct, labels):
    lungs = Labelmap(labels, ct.geometry, {1: "left_lung", 2: "right_lung"})
    coarse = coarse_copy(ct)
    return orientation_gate(coarse, _block_labels(coarse, lungs))


def flipped(ct, labels, axis):
    """Turn the voxels, keep the header; what is on the left is the left lung to the program."""
    array, turned = (np.ascontiguousarray(np.flip(a, axis)) for a in (ct.array, labels))
    if axis == 2:
        turned = np.array([0, 2, 1], np.uint8)[turned]
    return replace(ct, array=array), turned


def test_sound_chest_passes(chest):
    assert gate_of(*chest).verdict == "pass"


@pytest.mark.parametrize("said", TURNS)
def test_every_flip_is_said(chest, said):
    gate = gate_of(*flipped(*chest, TURNS[said]))

    assert gate.verdict == ("warn" if said == "left and right" else "fail")
    assert said in gate.message
    assert not any(other in gate.message for other in TURNS if other != said)
    assert ("situs inversus" in gate.message) == (said == "left and right")


def test_turned_about_the_long_axis_both_directions_are_said(chest):
    gate = gate_of(*flipped(*flipped(*chest, 1), 2))

    assert "front and back" in gate.message
    assert "left and right" in gate.message


def test_storage_order_with_its_own_header_does_not_matter(chest):
    ct, labels = chest
    matrix = ct.geometry.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, 2] * (ct.geometry.shape[0] - 1)
    matrix[:3, 2] *= -1
    matrix = matrix[:, [2, 1, 0, 3]]  # slices stored last, from head to foot
    array, stored = (np.ascontiguousarray(a[::-1].transpose(2, 1, 0)) for a in (ct.array, labels))
    geometry = Geometry((array.shape[0], array.shape[1], array.shape[2]), matrix)

    assert gate_of(Volume(array, geometry, "HU"), stored) == gate_of(ct, labels)


@pytest.mark.parametrize("axis", [0, 2])
def test_alarm_survives_the_own_segmentation(axis):
    """Whose outline of a turned chest is worse than the truth."""
    ct, labels = second_build()

    turned, _ = flipped(ct, labels, axis)

    gates = {gate.id: gate for gate in segment_lungs(turned).gates}

    assert gates["orientation"].verdict == ("warn" if axis == 2 else "fail")


def test_small_patient_passes(chest):
    """Half as large in every direction, told by the width of the body."""
    ct, labels = chest
    matrix = ct.geometry.ijk_to_ras @ np.diag([0.5, 0.5, 0.5, 1.0])
    small = Volume(ct.array, Geometry(ct.geometry.shape, matrix), "HU")
    lungs = Labelmap(labels, small.geometry, {1: "left_lung", 2: "right_lung"})
    coarse = coarse_copy(small, size=0.5)

    assert orientation_gate(coarse, _block_labels(coarse, lungs)).verdict == "pass"


@pytest.mark.parametrize("part", [(0.0, 0.55), (0.45, 1.0), (0.3, 0.7)])
def test_part_of_a_chest_does_not_alarm(chest, part):
    ct, labels = chest
    slices = slice(*(round(share * ct.geometry.shape[0]) for share in part))
    geometry = Geometry(ct.array[slices].shape, ct.geometry.ijk_to_ras)

    assert gate_of(Volume(ct.array[slices], geometry, "HU"), labels[slices]).verdict != "fail"


def test_one_lung_is_not_judged(chest):
    ct, labels = chest

    gate = gate_of(ct, np.where(labels == 2, labels, 0).astype(np.uint8))

    assert gate.verdict == "unknown"
    assert "both lungs" in gate.message


@pytest.mark.parametrize("centre", [(-60.0, 40.0, -50.0), (-50.0, -30.0, -30.0)])
def test_consolidation_of_one_lung_does_not_alarm(centre):
    """It makes one lung smaller and moves what lies between the aerated lungs."""
    patch = Patch(centre=centre, radii=(45.0, 45.0, 45.0), hu=30.0)

    assert gate_of(*second_build(Recipe(patches=(patch,)))).verdict == "pass"


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(
    "scan",
    [
        "contrast_chest_ct/ct.nii.gz",
        "lung_kernel_chest_ct/ct.nii.gz",
        "lower_lungs_ctpa/ct.nii.gz",
        "chest_64/ct-64.nrrd",
    ],
)
def test_real_scans_do_not_alarm(real_data, scan):
    ct = thinned(read_ct(real_data / scan).volume)

    gates = {gate.id: gate for gate in segment_lungs(ct).gates}

    assert gates["orientation"].verdict in ("pass", "unknown"), gates["orientation"].message


def thinned(ct):
    """Every so many voxels, to about 2.5 mm."""
    ct = axial(ct)
    steps = [max(1, round(2.5 / s)) for s in ct.geometry.spacing_kji_mm]
    array = np.ascontiguousarray(ct.array[tuple(slice(None, None, n) for n in steps)])
    matrix = ct.geometry.ijk_to_ras @ np.diag([*steps[::-1], 1.0])
    return Volume(array, Geometry(array.shape, matrix), ct.unit)
