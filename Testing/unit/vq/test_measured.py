"""Measured perfusion and ventilation: placed, amounts conserved, blur matched, errors found."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lungperfusion.errors import InputError
from lungperfusion.phantoms.measured import (
    counts_fwhm_mm,
    counts_image,
    iodine_image,
    true_perfusion,
)
from lungperfusion.results.vq_tables import class_kappa, confusion_table
from lungperfusion.terms import LOBES
from lungperfusion.volume import Geometry, Labelmap, Volume
from lungperfusion.vq.classes import classify
from lungperfusion.vq.measured import MeasuredMap, place_map, with_blur
from lungperfusion.vq.ventilation import SMOOTHING_MM, map_ventilation

STATES = ("expiration", "inspiration")


@pytest.fixture(scope="module")
def flow(phantom):
    return true_perfusion(phantom)


@pytest.fixture(scope="module")
def images(phantom, flow):
    return {
        **{("iodine", state): iodine_image(phantom, flow, state) for state in STATES},
        **{("spect", state): counts_image(phantom, flow, state) for state in STATES},
    }


def given(image, kind, **settings):
    width = counts_fwhm_mm() if kind == "spect" else None
    return MeasuredMap(image=image, kind=kind, fwhm_mm=width, **settings)


@pytest.fixture(scope="module")
def placed(phantom, pair, registration):
    lungs = {"expiration": phantom.expiration_lungs, "inspiration": phantom.inspiration_lungs}
    cts = {"expiration": phantom.expiration, "inspiration": phantom.inspiration}
    return lambda measured: place_map(measured, pair, registration, lungs, cts)


@pytest.fixture(scope="module")
def at_rest(images, placed):
    return {key: placed(given(image, key[0])) for key, image in images.items()}


def moved(image, ras_mm):
    matrix = image.geometry.ijk_to_ras.copy()
    matrix[:3, 3] += ras_mm
    return Volume(image.array, Geometry(image.geometry.shape, matrix), image.unit, image.valid)


KINDS = [(kind, state) for kind in ("iodine", "spect") for state in STATES]


@pytest.mark.parametrize("key", KINDS)
def test_breath_shares_and_classes_are_those_of_the_truth(key, at_rest, phantom, flow, pair):
    """Defects of a small chest are small; `Benchmarks.vq_measured` has a whole one."""
    found = at_rest[key]
    assert found.breath == key[1]
    assert [gate.verdict for gate in found.gates] == ["pass", "pass"]
    inside = flow.valid
    for lobe in LOBES:
        mask = phantom.expiration_lobes.mask(lobe)
        share = 100 * np.nansum(found.values[mask]) / np.nansum(found.values)
        assert share == pytest.approx(100 * flow.array[mask].sum() / flow.array.sum(), abs=1.0)
    truth = classify(
        np.where(inside, phantom.ventilation.array, np.nan),
        np.where(inside, flow.array, np.nan),
        inside,
        pair.geometry,
    )
    v = with_blur(pair, map_ventilation(pair), SMOOTHING_MM, found.sigma_mm)
    mine = classify(v, found.values, pair.mask, pair.geometry)
    kappa = class_kappa(confusion_table(truth, mine))
    assert kappa > (0.78 if key[0] == "iodine" else 0.7)


def test_iodine_of_inspiration_is_an_amount(images, placed, flow, pair):
    """Iodine thins where the lung swells, per mL of lung; what is written does not."""
    found = placed(given(images["iodine", "inspiration"], "iodine")).values
    known = np.isfinite(found) & (flow.array > 0.3)
    swelling = np.log(pair.jacobian[known])
    kept, thinned = (
        np.polyfit(swelling, np.log(np.maximum(x, 0.05)), 1)[0]
        for x in (
            found[known] / flow.array[known],
            found[known] / pair.jacobian[known] / flow.array[known],
        )
    )
    assert abs(kept) < 0.4
    assert thinned < -0.6


@pytest.mark.parametrize("key", KINDS)
@pytest.mark.parametrize("ras_mm", [(5, 0, 0), (0, 5, 0), (0, 0, 5), (0, 0, -5), (3, 3, 3)])
def test_five_millimetres_are_noticed(key, ras_mm, images, placed):
    found = placed(given(moved(images[key], ras_mm), key[0]))
    gate = found.gates[0]
    assert found.breath == key[1]
    assert gate.verdict == "warn"
    assert gate.value == pytest.approx(math.dist((0, 0, 0), ras_mm), abs=2.2)
    assert "beside the" in gate.message


def test_a_map_far_beside_the_lungs_fails(images, placed):
    assert placed(given(moved(images["iodine", "expiration"], (0, 20, 0)), "iodine")).gates[
        0
    ].verdict in ("warn", "fail")


def test_a_map_as_bright_around_the_lungs_does_not_show_them(images, placed, phantom):
    image = images["iodine", "expiration"]
    wall = np.where(phantom.expiration.array > -300, 2.0, 0).astype(np.float32)
    bright = Volume(np.where(image.valid, image.array, wall), image.geometry, "mg/mL")
    with pytest.raises(InputError, match="does not show which breath it was taken in"):
        placed(given(bright, "iodine"))
    found = placed(given(bright, "iodine", breath="expiration"))
    assert found.gates[0].verdict == "unknown"
    assert "its CT would show it" in found.gates[0].message
    by_ct = placed(given(bright, "iodine", breath="expiration", ct=phantom.expiration))
    assert by_ct.gates[0].verdict == "pass"


def test_its_own_ct_brings_a_map_that_lies_elsewhere(phantom, images, placed, flow):
    """Rigidly moved with its CT, as another examination: aligned, and its shares stay."""
    image = images["spect", "expiration"]
    away = (14.0, -9.0, 11.0)
    found = placed(
        given(moved(image, away), "spect", ct=moved(phantom.expiration, away), breath="expiration")
    )
    assert found.gates[0].verdict == "pass"
    known = np.isfinite(found.values) & (flow.array > 0)
    assert np.corrcoef(found.values[known], flow.array[known])[0, 1] > 0.9


def test_what_a_map_does_not_tell_is_missing_and_not_low(images, placed, phantom, pair):
    image = images["iodine", "expiration"]
    streak = np.zeros(image.geometry.shape, bool)
    streak[:, 20:26] = True
    hidden = Volume(
        np.where(streak, 0, image.array), image.geometry, image.unit, image.valid & ~streak
    )
    found = placed(given(hidden, "iodine"))
    assert not np.isfinite(found.values[streak]).any()
    vessels = pair.open_lung & ~pair.parenchyma
    assert not np.isfinite(found.values[vessels]).any()
    mine = classify(map_ventilation(pair), found.values, pair.mask, pair.geometry)
    assert not mine.array[streak].any()
    beside = streak ^ np.roll(streak, 4, axis=1)
    whole = placed(given(image, "iodine")).values
    both = beside & np.isfinite(found.values)
    assert np.abs(found.values[both] - whole[both]).mean() < 0.1


def test_blur_of_a_gamma_camera_leaves_the_edge_of_the_lung(at_rest, pair):
    """Counts that blur carried out of the lung are put back: the rim is no defect."""
    values = at_rest["spect", "expiration"].values
    rim = pair.mask & ~pair.open_lung & np.isfinite(values)
    assert 0.85 < float(np.mean(values[rim])) < 1.15


def test_ventilation_may_be_measured(phantom, placed, pair):
    gas = counts_image(phantom, phantom.ventilation, "expiration")
    found = placed(given(gas, "spect", quantity="ventilation"))
    assert {gate.id for gate in found.gates} == {
        "ventilation_map_alignment",
        "ventilation_map_coverage",
    }
    known = np.isfinite(found.values)
    truth = phantom.ventilation.array[known]
    assert np.corrcoef(found.values[known], truth)[0, 1] > 0.85


def test_flipping_the_image_changes_nothing(images, placed):
    image = images["iodine", "expiration"]
    matrix = image.geometry.ijk_to_ras @ np.diag([-1.0, 1, 1, 1])
    matrix[:3, 3] = image.geometry.ras_from_ijk((image.array.shape[2] - 1, 0, 0))
    turned = Volume(
        image.array[..., ::-1],
        Geometry(image.geometry.shape, matrix),
        image.unit,
        image.valid[..., ::-1],
    )
    values = [placed(given(x, "iodine", breath="expiration")).values for x in (image, turned)]
    np.testing.assert_allclose(values[0], values[1], atol=2e-3)


def test_an_empty_map_and_one_of_another_place_are_refused(images, placed):
    image = images["iodine", "expiration"]
    with pytest.raises(InputError, match="perfusion map holds no value above 0"):
        given(image.with_array(np.zeros_like(image.array)), "iodine")
    with pytest.raises(InputError, match="no signal in the lungs"):
        placed(given(moved(image, (900, 0, 0)), "iodine", breath="expiration"))


def test_confusion_and_kappa():
    grid = Geometry.axial((1, 2, 4), (10.0, 10.0, 10.0))
    names = {61: "vq_normal", 62: "shunt", 63: "dead_space", 64: "matched_defect"}
    a = Labelmap(np.array([[[61, 61, 62, 63], [61, 61, 0, 63]]], np.uint8), grid, names)
    b = Labelmap(np.array([[[61, 61, 62, 61], [61, 0, 62, 63]]], np.uint8), grid, names)
    table = confusion_table(a, b)
    assert [row["vq_normal_ml"] for row in table.rows] == pytest.approx([3, 0, 1, 0])
    assert class_kappa(table) == pytest.approx((5 / 6 - 15 / 36) / (1 - 15 / 36))
    alone = Labelmap(np.full(grid.shape, 61, np.uint8), grid, names)
    assert math.isnan(class_kappa(confusion_table(alone, alone)))
