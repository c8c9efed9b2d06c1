"""Scores of regions: sums, scaling of unmeasured lung, blood volume, heterogeneity."""

import numpy as np
import pytest

from lungperfusion.iodine.decomposition import IodineMap
from lungperfusion.iodine.defects import find_defects
from lungperfusion.iodine.exclusion import EXCLUSION_COLUMNS, REASONS, Exclusion, exclusion_rows
from lungperfusion.iodine.score import (
    AERATED_HU,
    SCORES,
    judge_level,
    reference_doubt,
    score_defects,
    score_heterogeneity,
    score_iodine,
)
from lungperfusion.iodine.trunk import Trunk
from lungperfusion.volume import Labelmap

K_REF = 25.0


def iodine_map(blocks, mg_ml):
    return IodineMap(concentration=blocks.volume(mg_ml, "mg/mL"), hu_per_mg_ml=K_REF, method="made")


def lookup(rows):
    return {(row.region, row.measure): row for row in rows}


def varied(blocks, seed=4):
    rng = np.random.default_rng(seed)
    field = 1.0 + 0.8 * blocks.lungs.mask("left_lung") + 0.3 * blocks.lobes.mask("right_upper_lobe")
    return (field + rng.normal(0, 0.2, field.shape)).astype(np.float32)


def test_every_region_gets_every_score_in_order(blocks):
    rows = score_iodine(iodine_map(blocks, varied(blocks)), blocks.regions, blocks.inside)
    for region in blocks.regions.names:
        assert tuple(row.measure for row in rows if row.region == region) == SCORES


def test_regional_ipv_and_mass_add_up_even_where_lung_is_left_out(blocks):
    rng = np.random.default_rng(7)
    measurable = blocks.inside & (rng.random(blocks.inside.shape) > 0.2)
    measurable &= ~blocks.lobes.mask("left_lower_lobe") | (rng.random(measurable.shape) > 0.5)
    found = lookup(score_iodine(iodine_map(blocks, varied(blocks)), blocks.regions, measurable))
    for measure in ("ipv", "iodine_mass"):
        whole = found["lungs", measure].value
        for parts in (("left_lung", "right_lung"), blocks.lobes.names.values()):
            assert sum(found[part, measure].value for part in parts) == pytest.approx(whole)
    volume_l = blocks.inside.sum() * blocks.geometry.voxel_volume_ml / 1000
    assert found["lungs", "ipv"].value == pytest.approx(
        found["lungs", "iodine_mean"].value * volume_l
    )
    # total iodine is the other face of IPv: 1000 IPv / k_ref
    assert found["lungs", "iodine_mass"].value == pytest.approx(
        1000 * found["lungs", "ipv"].value / K_REF
    )


def test_values_of_an_even_map(blocks):
    trunk = Trunk(
        mask=blocks.inside, iodine_mg_ml=15.0, volume_ml=2.0, centre_ras_mm=(0, 0, 0), radius_mm=12
    )
    density = blocks.volume(-850.0)
    found = lookup(
        score_iodine(
            iodine_map(blocks, 1.8), blocks.regions, blocks.inside, density=density, trunk=trunk
        )
    )
    assert found["lungs", "iodine_mean"].value == pytest.approx(45.0)
    assert found["lungs", "iodine_aerated_mean"].value == pytest.approx(45.0)
    assert found["left_lung", "iodine_relative"].value == pytest.approx(1.0)
    assert found["lungs", "pbv"].value == pytest.approx(120.0)
    volume_ml = blocks.inside.sum() * blocks.geometry.voxel_volume_ml
    assert found["lungs", "pbv_volume"].value == pytest.approx(0.12 * volume_ml)
    assert found["lungs", "iodine_excluded_share"].value == 0


@pytest.mark.parametrize(
    ("density_hu", "counts"),
    [(AERATED_HU[0], True), (AERATED_HU[1], True), (-960.5, False), (-599.5, False)],
)
def test_the_window_of_aerated_lung_holds_its_ends(blocks, density_hu, counts):
    rows = score_iodine(
        iodine_map(blocks, 1.8),
        blocks.regions,
        blocks.inside,
        density=blocks.volume(density_hu),
    )
    assert (lookup(rows)["lungs", "iodine_aerated_mean"].status == "ok") == counts


def test_doubt_about_the_trunk_is_passed_on(blocks):
    trunk = Trunk(
        mask=blocks.inside,
        iodine_mg_ml=15.0,
        volume_ml=2.0,
        centre_ras_mm=(0, 0, 0),
        radius_mm=22,
        doubt="too thick",
    )
    rows = score_iodine(iodine_map(blocks, 1.8), blocks.regions, blocks.inside, trunk=trunk)
    entry = lookup(rows)["lungs", "pbv"]
    assert (entry.status, entry.reason) == ("caution", "too thick")


def test_what_cannot_be_had_is_missing_and_says_why(blocks):
    nothing = np.zeros_like(blocks.inside)
    rows = score_iodine(iodine_map(blocks, 1.8), blocks.regions, nothing)
    assert {row.status for row in rows} == {"missing"}
    no_trunk = lookup(
        score_iodine(
            iodine_map(blocks, 1.8), blocks.regions, blocks.inside, trunk="no carina in the image"
        )
    )
    assert no_trunk["lungs", "pbv"].reason == "no carina in the image"
    assert np.isnan(no_trunk["lungs", "pbv"].value)
    assert no_trunk["lungs", "iodine_aerated_mean"].status == "missing"


def test_the_excluded_share_is_listed_by_region_and_reason(blocks):
    labels = np.zeros(blocks.geometry.shape, np.uint8)
    quarter = blocks.lobes.mask("right_upper_lobe")
    labels[quarter] = REASONS.index("streaks") + 1
    exclusion = Exclusion(
        labels=Labelmap(labels, blocks.geometry, dict(enumerate(REASONS, start=1)))
    )
    rows = score_iodine(
        iodine_map(blocks, 1.8),
        blocks.regions,
        exclusion.measurable(blocks.inside),
    )
    assert lookup(rows)["lungs", "iodine_excluded_share"].value == pytest.approx(25.0)
    listed = {row["region"]: row for row in exclusion_rows(exclusion, blocks.regions)}
    assert all(set(row) == set(EXCLUSION_COLUMNS) for row in listed.values())
    assert listed["lungs"]["streaks_percent"] == pytest.approx(25.0)
    assert listed["right_upper_lobe"]["streaks_percent"] == pytest.approx(100.0)
    assert listed["left_lung"]["streaks_percent"] == 0
    assert listed["lungs"]["large_vessels_percent"] == 0


def test_heterogeneity_of_known_maps(blocks):
    rng = np.random.default_rng(5)
    density = rng.uniform(-900, -800, blocks.geometry.shape)
    tissue = density / 1000 + 1
    found = lookup(
        score_heterogeneity(
            iodine_map(blocks, 10 * tissue),
            blocks.regions,
            blocks.inside,
            density=blocks.volume(density),
        )
    )
    values = (10 * tissue)[blocks.inside]
    assert found["lungs", "iodine_cv"].value == pytest.approx(
        values.std() / values.mean(), rel=1e-3
    )
    assert found["lungs", "iodine_cv_volume_corrected"].value == pytest.approx(0, abs=1e-3)
    q1, q3 = np.percentile(values, (25, 75))
    assert found["lungs", "iodine_iqr_ratio"].value == pytest.approx(
        (q3 - q1) / values.mean(), rel=1e-3
    )
    assert found["lungs", "iodine_core_rim_ratio"].status == "missing", "no core and rim here"


def test_gravity_gradient_in_percent_per_cm_towards_the_back(blocks):
    front = blocks.geometry.coordinate_mm("A")
    middle = front[blocks.inside].mean()
    sloped = 1.8 * (1 - 0.003 * (front - middle))
    found = lookup(score_heterogeneity(iodine_map(blocks, sloped), blocks.regions, blocks.inside))
    assert found["lungs", "iodine_gravity_gradient"].value == pytest.approx(3.0, rel=0.03)


def test_mottle_answers_to_spots_and_not_to_slopes_or_noise(blocks):
    r, a, s = (blocks.geometry.coordinate_mm(axis) for axis in "RAS")
    spots = 1.8 + 0.5 * np.sin(r / 5) * np.sin(a / 5) * np.sin(s / 5)
    slope = 1.8 + 0.004 * (a - a.mean())

    def mottle(field):
        rows = score_heterogeneity(iodine_map(blocks, field), blocks.regions, blocks.inside)
        return lookup(rows)["lungs", "iodine_mottle"].value

    assert mottle(spots) > 5 * mottle(slope)


def test_defects_are_summed_by_region_and_kind(blocks):
    field = np.full(blocks.geometry.shape, 2.0, np.float32)
    k, j, i = np.argwhere(blocks.lobes.mask("left_upper_lobe")).mean(axis=0).astype(int)
    field[k : k + 4, j : j + 4, i : i + 4] = 0.2
    iodine = iodine_map(blocks, field)
    defects = find_defects(
        iodine.enhancement, blocks.inside, blocks.regions, ct=blocks.volume(-860.0)
    )
    found = lookup(score_defects(iodine, defects, blocks.regions, blocks.inside))
    volume = 64 * blocks.geometry.voxel_volume_ml
    assert found["lungs", "defect_volume"].value == pytest.approx(volume)
    assert found["left_upper_lobe", "defect_volume"].value == pytest.approx(volume)
    assert found["right_lung", "defect_volume"].value == 0
    assert found["lungs", "defect_share"].value == pytest.approx(100 * 64 / blocks.inside.sum())
    assert found["lungs", "defect_share_40hu"].value == found["lungs", "defect_share"].value
    assert found["lungs", "defect_normal_lung_share"].value == 100
    assert found["lungs", "defect_ground_glass_share"].value == 0
    assert found["lungs", "defect_segmental_share"].value == 0
    assert found["right_lung", "defect_wedge_share"].reason == "no defect in the region"


def test_less_iodine_than_none_is_never_ok(blocks):
    rows = score_iodine(iodine_map(blocks, -0.7), blocks.regions, blocks.inside)
    found = lookup(rows)
    for measure in ("iodine_mean", "ipv", "iodine_concentration", "iodine_mass", "iodine_p90"):
        row = found["lungs", measure]
        assert (row.status, row.value < 0) == ("caution", True), measure
        assert "less than none" in row.reason
    assert found["lungs", "iodine_relative"].status == "missing"
    assert found["lungs", "iodine_excluded_share"].status == "ok"


@pytest.mark.parametrize(
    ("mg_ml", "verdict"),
    [
        *((-0.7, "fail"), (0.0, "fail"), (0.29, "warn"), (0.3, "pass"), (1.5, "pass")),
        *((5.0, "pass"), (5.1, "warn"), (10.0, "fail"), (1499.9, "fail")),
    ],
)
def test_level_of_iodine(mg_ml, verdict):
    assert judge_level(mg_ml).verdict == verdict


@pytest.mark.parametrize(
    ("k_ref", "fine"), [(25.0, True), (25.4, True), (24.4, False), (20.0, False)]
)
def test_hu_of_another_factor_carry_caution(blocks, k_ref, fine):
    made = IodineMap(concentration=blocks.volume(1.8, "mg/mL"), hu_per_mg_ml=k_ref, method="made")
    found = lookup(score_iodine(made, blocks.regions, blocks.inside, density=blocks.volume(-850.0)))
    for measure in ("iodine_mean", "iodine_aerated_mean", "iodine_median", "ipv"):
        assert (found["lungs", measure].status == "ok") is fine, measure
    assert found["lungs", "iodine_concentration"].status == "ok"
    for rule, ok in (("relative", True), ("absolute", fine)):
        defects = find_defects(made.enhancement, blocks.inside, blocks.regions, rule=rule)
        shares = lookup(score_defects(made, defects, blocks.regions, blocks.inside))
        assert (shares["lungs", "defect_share"].status == "ok") is ok
        assert (shares["lungs", "defect_share_40hu"].status == "ok") is fine
    assert ("multiply HU by 1.25" in reference_doubt(k_ref)) is (k_ref == 20.0)


def test_hu_and_mg_of_a_map_of_unknown_voltage_carry_caution(blocks):
    made = IodineMap(
        concentration=blocks.volume(1.8, "mg/mL"), hu_per_mg_ml=25.0, method="made",
        concentration_doubt="not stated",
    )  # fmt: skip
    found = lookup(score_iodine(made, blocks.regions, blocks.inside, density=blocks.volume(-850.0)))
    for measure in ("iodine_mean", "iodine_aerated_mean", "ipv", "iodine_mass"):
        assert found["lungs", measure].reason == "not stated", measure
    assert found["lungs", "iodine_relative"].status == "ok"
    for rule in ("relative", "absolute"):
        defects = find_defects(made.enhancement, blocks.inside, blocks.regions, rule=rule)
        shares = lookup(score_defects(made, defects, blocks.regions, blocks.inside))
        assert shares["lungs", "defect_share_40hu"].reason == "not stated"
        assert (shares["lungs", "defect_share"].status == "ok") is (rule == "relative")
