"""Defect candidates, collateral ventilation, planning, models and comparison."""

from __future__ import annotations

import argparse
import json
import math

import numpy as np
import pytest

from lungperfusion.commands.ctvq import _read_model
from lungperfusion.commands.train import read_table
from lungperfusion.errors import InputError
from lungperfusion.measurement import measured
from lungperfusion.phantoms.breathing import make_breathing_phantom
from lungperfusion.resampling import to_sitk
from lungperfusion.terms import LOBES, Region
from lungperfusion.terms.collateral import collateral_call
from lungperfusion.volume import Geometry, Volume
from lungperfusion.vq.collateral import (
    FEATURES,
    Fissure,
    assess_boundaries,
    slip_mm,
)
from lungperfusion.vq.comparison import (
    agree,
    agree_by_partition,
    agree_by_region,
    agree_within_patients,
    align_reference,
    bring_to_ct,
    compare_with_reference,
    partition_of,
)
from lungperfusion.vq.defects import (
    FEATURES as DEFECT_FEATURES,
)
from lungperfusion.vq.defects import (
    SHIPPED_MODEL,
    Candidate,
    find_defects,
    patient_score,
)
from lungperfusion.vq.displacement import DisplacementField
from lungperfusion.vq.mixed_model import fit_random_intercept
from lungperfusion.vq.model import LogisticModel, area_under_curve, train, wilson_interval
from lungperfusion.vq.planning import flag_surgery, rank_targets
from lungperfusion.vq.registration import registration_from_field


def punched(pair, centre, radius, depth):
    points = pair.geometry.ras_from_ijk(np.argwhere(pair.mask)[:, ::-1])
    q = np.where(pair.mask, 1.0, np.nan).astype(np.float32)
    low = np.linalg.norm(points - centre, axis=1) < radius
    values = q[pair.mask]
    values[low] = depth
    q[pair.mask] = values
    return q, int(low.sum()) * pair.geometry.voxel_volume_ml


def test_a_hole_in_perfusion_is_found_with_its_volume_and_lobe(pair, regions):
    centre = np.array([65.0, 0.0, 20.0])
    q, volume = punched(pair, centre, 14, 0.2)
    even = np.where(pair.mask, 0.4, np.nan).astype(np.float32)
    found, labels = find_defects(pair, even, q, regions)
    assert len(found) == 1
    assert found[0].volume_ml == pytest.approx(volume, rel=0.05)
    assert found[0].lobe == Region.RIGHT_UPPER_LOBE
    assert found[0].contrast > 0.6
    assert not found[0].matched
    assert (labels == 1).sum() * pair.geometry.voxel_volume_ml == pytest.approx(volume, rel=0.05)


def test_an_even_lung_has_no_candidate_and_low_ventilation_makes_a_match(pair, regions):
    even = np.where(pair.mask, 1.0, np.nan).astype(np.float32)
    assert find_defects(pair, even, even, regions)[0] == ()
    q, _ = punched(pair, np.array([50.0, 0.0, 20.0]), 14, 0.2)
    found, _ = find_defects(pair, q, q, regions)
    assert len(found) == 1
    assert found[0].matched
    assert patient_score(found) == 0


def candidate(**change):
    values = {
        "number": 1,
        "volume_ml": 20.0,
        "centre_ras_mm": (0.0, 0.0, 0.0),
        "lobe": "",
        "lobe_share": 0.1,
        "contrast": 0.6,
        "wedge": 0.5,
        "pleural_contact": 0.5,
        "ventilation": 1.0,
        "emphysema": 0.0,
        "matched": False,
        "score": 0.5,
    }
    return Candidate(**(values | change))


def test_patient_score_combines_unmatched_candidates():
    assert patient_score([]) == 0
    both = [candidate(score=0.5), candidate(score=0.4), candidate(score=0.9, matched=True)]
    assert patient_score(both) == pytest.approx(1 - 0.5 * 0.6)


@pytest.mark.parametrize(
    ("fissure", "completeness", "call"),
    [
        ("left_oblique_fissure", 0.95, "open"),
        ("left_oblique_fissure", 0.951, "unlikely"),
        ("left_oblique_fissure", 0.80, "likely"),
        ("left_oblique_fissure", 0.801, "open"),
        ("right_oblique_fissure", 0.90, "likely"),
        ("right_oblique_fissure", 0.901, "open"),
        ("right_oblique_fissure", 1.0, "open"),
        ("right_horizontal_fissure", 0.5, "open"),
        ("right_horizontal_fissure", math.nan, "unknown"),
    ],
)
def test_published_cut_offs_of_fissure_completeness(fissure, completeness, call):
    assert collateral_call(fissure, completeness) == call


def test_boundaries_speak_by_rule_alone_without_a_model(pair, registration, regions):
    even = np.where(pair.mask, 1.0, np.nan).astype(np.float32)
    complete = {"left_oblique": Fissure(completeness_percent=99.0)}
    found = assess_boundaries(pair, registration, even, even, regions, fissures=complete)
    assert [f.boundary for f in found] == ["left_oblique", "right_oblique", "right_horizontal"]
    assert found[0].rule == "unlikely"
    assert all(math.isnan(f.probability) for f in found)
    assert found[0].features["v_ratio"] == pytest.approx(0, abs=1e-6)
    assert all(tuple(f.features) == FEATURES for f in found)


class _Surface:
    """Interlobar surface on a plane of 2 mm nodes, from 10 to 88 mm beside the middle."""

    def __init__(self, side, missing):
        u, v = np.mgrid[0:40, 0:30]
        self.judged = np.ones(u.shape, np.bool_)
        self.seen = ~missing(u, v)
        self.completeness = float(self.seen.mean())
        points = np.stack([side * (10.0 + 2 * u), 2.0 * v, 0.0 * u], axis=-1)
        self.patch = argparse.Namespace(area_mm2=np.full(u.shape, 4.0), points_mm=points)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_largest_gap_of_a_fissure_has_its_size_and_its_place(side):
    def two_gaps(u, v):
        return (u < 4) & (v < 15) | (u > 36) & (v < 5)

    found = Fissure.of(_Surface(side, two_gaps))
    assert found.gap_percent == pytest.approx(100 * 60 / 1200)
    assert found.gap_lateral == pytest.approx(1.5 / 39)  # at the hilum
    whole = Fissure.of(_Surface(side, lambda u, v: u < 0))
    assert whole.gap_percent == 0
    assert whole.completeness_percent == 100
    assert math.isnan(whole.gap_lateral)


def test_lobes_that_glide_show_their_slip_and_those_that_do_not_show_none():
    found = []
    for slip, motion in ((0.0, 40.0), (8.0, 0.0)):
        made = make_breathing_phantom(
            spacing_mm=4.0, scale=0.6, slip_mm=slip, motion_mm=motion, defects=(), noise_hu=0
        )
        lobes = made.expiration_lobes
        field = DisplacementField(made.displacement_ras_mm, made.expiration.geometry)
        given = registration_from_field(field, made.expiration_lungs, made.inspiration.geometry)
        sides = lobes.mask(Region.LEFT_UPPER_LOBE), lobes.mask(Region.LEFT_LOWER_LOBE)
        found.append(slip_mm(given, *sides))
    assert found[0] < 0.5
    assert found[1] == pytest.approx(8.0 * 0.6, rel=0.15)


def table(n=80, signal=2.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    y = (signal * x[:, 0] + rng.normal(size=n) > 0).astype(int)
    return [
        {"case": f"p{number}", "a": p, "b": q, "answer": int(r)}
        for number, ((p, q), r) in enumerate(zip(x, y, strict=True))
    ]


def fit(rows, **settings):
    return train(rows, outcome="answer", features=("a", "b"), purpose="test", repeats=4, **settings)


@pytest.fixture(scope="module")
def good():
    return fit(table())


def test_training_finds_the_signal_and_none_where_none_is(good):
    assert good.validation["auc"] > 0.85
    assert good.coefficients[0] > 3 * abs(good.coefficients[1])
    assert good.validation["auc_interval"][0] < good.validation["auc"]
    noise = fit(table(signal=0.0, n=60))
    assert noise.validation["auc"] < 0.7
    assert noise.validation["auc_in_sample"] >= noise.validation["auc"]


def test_a_feature_that_can_only_protect_gets_no_other_sign(good):
    assert good.coefficients[0] > 0
    held = fit(table(), decreasing=("a",))
    alone = train(table(), outcome="answer", features=("b",), purpose="test", repeats=4)
    assert held.coefficients[0] == 0
    assert held.coefficients[1] == pytest.approx(alone.coefficients[0], abs=1e-4)
    assert held.validation["auc"] == pytest.approx(alone.validation["auc"], abs=1e-6)
    assert fit(table(signal=-2.0), decreasing=("a",)).coefficients[0] < 0
    assert held.provenance["decreasing"] == ["a"]


def test_patients_with_several_rows_are_not_learnt_from_and_tested_on():
    """Three nearly equal rows of each patient, and an answer that nothing tells."""
    rng = np.random.default_rng(5)
    rows = [
        {
            "case": f"p{patient}",
            **{name: x[n] + rng.normal(0, 0.05) for n, name in enumerate("abcdefgh")},
            "answer": answer,
        }
        for patient in range(40)
        for x, answer in [(rng.normal(size=8), int(rng.integers(2)))]
        for _ in range(3)
    ]
    settings = {"outcome": "answer", "features": tuple("abcdefgh"), "purpose": "test"}

    honest = train(rows, repeats=4, **settings).validation
    each = [{**row, "row": number} for number, row in enumerate(rows)]
    leaking = train(each, repeats=4, group="row", **settings).validation

    assert honest["auc"] < 0.6
    assert leaking["auc"] > honest["auc"] + 0.05
    assert honest["auc_interval"][0] < 0.5
    assert (honest["cases"], honest["patients"]) == (120, 40)
    assert "grouped by case, scored per fold" in honest["method"]


def test_a_table_without_patients_is_refused_and_repeats_are_counted():
    bare = [{k: v for k, v in row.items() if k != "case"} for row in table()]
    with pytest.raises(InputError, match="column 'case' that names the patient"):
        fit(bare)
    doubled = [*table(), *({**row, "case": "again"} for row in table()[:5])]
    assert fit(doubled).validation["repeated_rows"] == 5


def test_calibration_of_a_model_without_signal_leaves_its_intercept_at_the_prevalence(good):
    assert 0.5 < good.validation["calibration_slope"] < 2
    assert abs(good.validation["calibration_intercept"]) < 0.5


def test_a_trained_model_scores_the_candidates(pair, regions):
    q, _ = punched(pair, np.array([65.0, 0.0, 20.0]), 14, 0.2)
    even = np.where(pair.mask, 0.4, np.nan).astype(np.float32)
    shipped = find_defects(pair, even, q, regions)[0][0]
    assert shipped.score == SHIPPED_MODEL.probability(shipped.features())
    assert "uncalibrated" in SHIPPED_MODEL.provenance["calibration"]
    by_volume = LogisticModel(
        purpose="perfusion defect",
        features=("log_volume",),
        means=(math.log(shipped.volume_ml),),
        sds=(1.0,),
        coefficients=(1.0,),
        intercept=math.log(3),
    )
    assert find_defects(pair, even, q, regions, model=by_volume)[0][0].score == pytest.approx(0.75)
    assert tuple(shipped.features()) == DEFECT_FEATURES
    with pytest.raises(InputError, match="was trained for perfusion defect"):
        by_volume.require_purpose("collateral ventilation")


def test_area_under_curve_counts_pairs():
    outcome, score = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.8])
    assert area_under_curve(outcome, score) == pytest.approx((1 + 1 + 0.5 + 1) / 4)


def test_model_survives_its_json_and_predicts_the_same(good):
    model = good
    text = model.to_json()
    again = LogisticModel.from_record(json.loads(text))
    assert again.to_json() == text
    case = {"a": 1.0, "b": -0.3}
    assert again.probability(case) == model.probability(case)
    assert model.probability({"a": 3, "b": 0}) > 0.9 > 0.1 > model.probability({"a": -3, "b": 0})
    assert math.isnan(model.probability({"a": 1.0}))
    assert text == fit(table()).to_json()
    assert "Not for diagnosis" in json.loads(text)["notice"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows"),
        ([{"a": 1, "answer": 1}], "lacks the columns b"),
        ([{"a": "x", "b": 1, "answer": 1}], "no number"),
        ([{"a": math.nan, "b": 1, "answer": 1}], "columns a have empty values"),
        ([{"a": 1, "b": 1, "answer": 2}], "must hold 0 and 1 only"),
        ([{"a": 1, "b": 1, "answer": 1}] * 9, "has 9 with answer = 1 and 0 with 0"),
    ],
)
def test_training_refuses(rows, message):
    with pytest.raises(InputError, match=message):
        fit(rows)


@pytest.mark.parametrize("record", [None, {}, [1], {"format": 9, "features": []}])
def test_what_is_no_model_is_refused(record):
    with pytest.raises(InputError, match="train it again"):
        LogisticModel.from_record(record)


@pytest.mark.parametrize(
    ("number", "value"),
    [("sd", 0.0), ("sd", math.nan), ("mean", "x"), ("coefficient", math.inf), ("mean", 10**400)],
)
def test_model_with_impossible_numbers_is_refused(good, number, value):
    record = json.loads(good.to_json())
    record["features"][0][number] = value
    with pytest.raises(InputError, match="train it again"):
        LogisticModel.from_record(record)


def test_model_file_is_not_read_without_a_limit(tmp_path):
    path = tmp_path / "model.json"
    with path.open("wb") as stream:
        stream.truncate(2**31)  # holes take no room on the disk
    with pytest.raises(InputError, match="too large"):
        _read_model(path)
    path.write_bytes(b'{"purpose": "\xff"}')
    with pytest.raises(InputError, match="no text in UTF-8"):
        _read_model(path)


def test_wilson_interval_of_29_in_30():
    low, high = wilson_interval(29, 30)
    assert low == pytest.approx(0.833, abs=1e-3)  # published tables
    assert high == pytest.approx(0.994, abs=1e-3)


def zone_values(emphysema, perfusion):
    rows = []
    for zone in (Region.LEFT_UPPER_ZONE, Region.RIGHT_UPPER_ZONE):
        rows += [
            measured(zone, "emphysema", emphysema, "x"),
            measured(zone, "perfusion_share", perfusion / 2, "x"),
            measured(zone, "inspiratory_volume", 500, "x"),
        ]
    return rows


@pytest.mark.parametrize(
    ("emphysema", "perfusion", "met"),
    [(50, 8, True), (49.9, 8, False), (50, 8.1, False), (70, 3, True)],
)
def test_surgery_criteria_on_their_thresholds(emphysema, perfusion, met):
    flag = flag_surgery(zone_values(emphysema, perfusion))
    assert flag.met is met
    assert ("not met" in flag.sentence) is not met


def test_upper_emphysema_is_weighed_by_inspiratory_volumes():
    # By expiratory volumes, equal here, it would be 49 % and not met.
    left, right = Region.LEFT_UPPER_ZONE, Region.RIGHT_UPPER_ZONE
    rows = [
        measured(left, "emphysema", 64, "x"),
        measured(right, "emphysema", 34, "x"),
        measured(left, "perfusion_share", 3, "x"),
        measured(right, "perfusion_share", 4, "x"),
        *(measured(zone, "expiratory_volume", 700, "x") for zone in (left, right)),
        measured(left, "inspiratory_volume", 910, "x"),
        measured(right, "inspiratory_volume", 590, "x"),
    ]
    flag = flag_surgery(rows)
    assert flag.upper_emphysema_percent == pytest.approx((64 * 910 + 34 * 590) / 1500)
    assert flag.met


def test_surgery_criteria_without_a_zone_are_open():
    flag = flag_surgery(zone_values(60, 5)[:3])
    assert flag.met is None
    assert math.isnan(flag.upper_emphysema_percent)


def test_target_ranking_puts_the_destroyed_idle_lobe_first():
    rows = []
    for lobe in LOBES:
        bad = lobe is Region.LEFT_UPPER_LOBE
        rows += [
            measured(lobe, "emphysema", 60 if bad else 10, "x"),
            measured(lobe, "ventilation_share", 5 if bad else 23.75, "x"),
            measured(lobe, "perfusion_share", 5 if bad else 23.75, "x"),
            measured(lobe, "volume_share", 20, "x"),
            measured(lobe, "inspiratory_volume", 500, "x"),
        ]
    targets = rank_targets(rows)
    assert targets[0].lobe == Region.LEFT_UPPER_LOBE
    assert targets[0].heterogeneity_percent == pytest.approx(50)
    assert targets[0].score == pytest.approx(60 + 15)
    assert [t.rank for t in targets] == [1, 2, 3, 4, 5]
    assert rank_targets([]) == ()


def test_lobe_size_alone_gives_a_high_pooled_correlation_and_the_null_says_so():
    rng = np.random.default_rng(0)
    mean = np.array([20.0, 9.0, 26.0, 22.0, 23.0])
    rows = []
    for _ in range(56):
        ct, reference = (mean + rng.normal(0, 2, 5) for _ in range(2))
        rows += [
            {"region": str(i), "ct": a, "ref": b, "vol": v}
            for i, (a, b, v) in enumerate(zip(ct, reference, mean, strict=True))
        ]
    found = agree_by_region(rows, ct="ct", reference="ref", volume="vol")
    assert found["all"].pearson == pytest.approx(0.91, abs=0.02)  # methods 0.4
    assert found["all"].null_pearson > 0.9
    assert abs(found["all"].partial_pearson) < 0.15
    assert abs(found["all"].adjusted_pearson) < 0.2
    assert abs(found["0"].pearson) < 0.3
    assert math.isnan(found["0"].null_pearson)
    assert found["all"].bias == pytest.approx(0, abs=0.5)
    assert found["all"].limits[1] == pytest.approx(1.96 * 2 * 2**0.5, abs=0.6)


def shares_of_patients(rng, patients, spread, error):
    """Shares of five lobes: patients differ by ``spread``, of which the CT sees a part."""
    mean = np.array([20.0, 9.0, 26.0, 22.0, 23.0])
    rows = []
    for case in range(patients):
        volume, own = mean + rng.normal(0, 2, 5), rng.normal(0, spread, 5)
        reference = volume + own
        ct = volume + (own if error is None else rng.normal(0, spread, 5))
        ct += rng.normal(0, error or 0.3, 5)
        rows += [
            {"case": str(case), "region": lobe, "ct": a, "ref": b, "vol": v}
            for lobe, a, b, v in zip("abcde", ct, reference, volume, strict=True)
        ]
    return rows


def test_mixed_model_tells_agreement_from_usual_lobe_sizes():
    columns = {"ct": "ct", "reference": "ref", "volume": "vol"}
    rng = np.random.default_rng(3)
    null = shares_of_patients(rng, 40, 3.0, 0.3)
    assert agree_by_region(null, **columns)["all"].pearson > 0.7
    found = agree_within_patients(null, **columns)
    assert found.interval[0] < 0 < found.interval[1]
    assert abs(found.slope) < 0.15
    true = agree_within_patients(shares_of_patients(rng, 40, 3.0, None), **columns)
    assert true.slope == pytest.approx(1, abs=0.05)
    assert true.interval[0] > 0.9
    assert (true.subjects, true.count) == (40, 200)


def test_random_intercept_is_that_of_the_analysis_of_variance():
    # Balanced, and the predictor has no subject effect: restricted maximum likelihood is known.
    rng = np.random.default_rng(0)
    subjects, each = 6, 5
    x = np.tile([-2.0, -1.0, 0.0, 1.0, 2.0], subjects)
    member = np.repeat(np.arange(subjects), each)
    y = 4 + 0.5 * x + rng.normal(0, 2, subjects)[member] + rng.normal(0, 1, member.size)
    found = fit_random_intercept(y, [x], [f"s{i}" for i in member])
    slope = (x * y).sum() / (x**2).sum()
    means = y.reshape(subjects, each).mean(axis=1)
    within = ((y - means[member] - slope * x) ** 2).sum() / (member.size - subjects - 1)
    between = each * means.var(ddof=1)
    assert found.slope == pytest.approx(slope)
    assert found.residual_sd == pytest.approx(within**0.5, rel=1e-4)
    assert found.subject_sd == pytest.approx(((between - within) / each) ** 0.5, rel=1e-4)
    # The same by Student's t of the slope within subjects.
    reach = found.interval[1] - slope
    error = (within / (x**2).sum()) ** 0.5
    assert reach == pytest.approx(2.0687 * error, rel=1e-3)  # t(0.975, 23)
    flat = fit_random_intercept(y - means[member], [x], [f"s{i}" for i in member])
    assert flat.subject_sd == 0


def test_random_intercept_refuses_what_it_cannot_tell():
    with pytest.raises(InputError, match="at least three subjects"):
        fit_random_intercept([1, 2, 3, 4], [[1, 2, 1, 3]], ["a", "a", "b", "b"])
    subjects = [name for name in "abcd" for _ in range(3)]
    x = [1.0, 2.0, 3.0] * 4
    with pytest.raises(InputError, match="follows from the others"):
        fit_random_intercept(range(12), [x, [2 * v for v in x]], subjects)


def test_agreement_of_a_map_with_itself_and_with_a_shifted_scale(pair, regions, phantom):
    truth = np.where(pair.mask, phantom.perfusion.array, np.nan).astype(np.float32)
    reference = Volume(300 * phantom.perfusion.array, pair.geometry, "1")
    rows = compare_with_reference(truth, reference, regions, pair.mask)
    name, lobes = partition_of(rows)
    assert name == "lobes"
    assert len(lobes) == 5
    result = agree(
        [r.ct_percent for r in lobes],
        [r.reference_percent for r in lobes],
        [r.volume_percent for r in lobes],
    )
    assert result.pearson == pytest.approx(1)
    assert result.mean_absolute < 1e-3
    assert agree_by_partition(rows)["lobes"] == result
    assert set(agree_by_partition(rows)) == {"lobes", "zones"}
    assert agree_by_partition(rows[:3]) == {}
    away = Volume(np.ones((4, 4, 4)), Geometry.axial((4, 4, 4), (2, 2, 2), (900, 0, 0)), "1")
    with pytest.raises(InputError, match="does not overlap the lungs"):
        compare_with_reference(truth, away, regions, pair.mask)
    dark = Volume(np.zeros(pair.geometry.shape), pair.geometry, "1")
    with pytest.raises(InputError, match="no signal inside the lungs"):
        compare_with_reference(truth, dark, regions, pair.mask)
    with pytest.raises(InputError, match="at least three regions"):
        agree([1, 2], [1, 2], [1, 2])


def test_reference_ct_is_aligned_rigidly(phantom):
    ct = phantom.expiration
    matrix = ct.geometry.ijk_to_ras.copy()
    matrix[:3, 3] += (9.0, -7.0, 12.0)  # the same image, elsewhere in the scanner
    moved = Volume(ct.array, Geometry(ct.geometry.shape, matrix), "HU")
    transform = align_reference(moved, ct)
    back = bring_to_ct(moved, transform, ct)
    inside = phantom.expiration_lungs.array > 0
    assert np.abs(back.array[inside] - ct.array[inside]).mean() < 25
    point = transform.TransformPoint((0.0, 0.0, 0.0))  # LPS
    assert point == pytest.approx((-9.0, 7.0, 12.0), abs=1.0)
    assert to_sitk(back.array, ct.geometry).GetSize() == to_sitk(ct.array, ct.geometry).GetSize()


def test_agree_command_pools_cases_and_tells_zones_and_readers_apart(tmp_path):
    from lungperfusion.commands import agree as command

    rng = np.random.default_rng(1)
    mean = dict(zip(LOBES, (20.0, 9.0, 26.0, 22.0, 23.0), strict=True))
    for number in range(12):
        folder = tmp_path / "cases" / f"case{number}" / "ctvq"
        folder.mkdir(parents=True)
        lines = ["region,ct_percent,reference_percent,volume_percent,voxel_pearson"]
        for lobe, share in mean.items():
            true = share + rng.normal(0, 3)
            lines.append(f"{lobe},{true + rng.normal(0, 1)},{true},{share},0.5")
        (folder / "reference_comparison.csv").write_text("\n".join(lines), encoding="utf-8")
        lines = ["reader,region,derived_rating,given_rating"]
        for zone in ("left_upper_zone", "right_lower_zone"):
            derived = int(rng.integers(1, 6))
            lines += [f"a,{zone},{derived},{derived}", f"b,{zone},{derived},{6 - derived}"]
        (folder / "zone_ratings.csv").write_text("\n".join(lines), encoding="utf-8")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = [str(tmp_path / "cases"), "-o", str(tmp_path / "out")]
    assert command.run(parser.parse_args(words), lambda f, m: None) == 0
    rows = {r["over"]: r for r in read_table(tmp_path / "out" / "agreement_lobes.csv")}
    assert list(rows) == ["all lobes", *LOBES]
    assert float(rows["all lobes"]["pearson"]) > 0.95
    assert int(rows["all lobes"]["count"]) == 60
    assert float(rows["left_upper_lobe"]["pearson"]) > 0.8
    (mixed,) = read_table(tmp_path / "out" / "agreement_mixed_model.csv")
    assert (mixed["over"], mixed["subjects"], mixed["reason"]) == ("all lobes", "12", "")
    assert float(mixed["lower"]) < float(mixed["slope"]) < 1.1
    assert float(mixed["lower"]) > 0.7
    tau = {
        r["over"]: float(r["kendall_tau"])
        for r in read_table(tmp_path / "out" / "agreement_ratings.csv")
    }
    assert tau["reader a"] == pytest.approx(1)
    assert tau["reader b"] == pytest.approx(-1)
    assert set(tau) == {"all", "reader a", "reader b", "left_upper_zone", "right_lower_zone"}
    assert not (tmp_path / "out" / "agreement_zones.csv").exists()
    with pytest.raises(InputError, match="give --overwrite to replace"):
        command.run(parser.parse_args(words), lambda f, m: None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"run lungperfusion ctvq with --reference"):
        command.run(
            parser.parse_args([str(tmp_path / "empty"), "-o", str(tmp_path / "o")]),
            lambda f, m: None,
        )


def test_train_command_writes_a_model_that_predicts(tmp_path, capsys):
    from lungperfusion.commands import train as command

    rows = table()
    path = tmp_path / "cases.csv"
    lines = ["case,a,b,answer", *(f"{r['case']},{r['a']},{r['b']},{r['answer']}" for r in rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = [str(path), "--outcome", "answer", "--features", "a", "b", "--repeats", "2"]
    words += ["-o", str(tmp_path / "model.json")]
    assert command.run(parser.parse_args(words), lambda f, m: None) == 0
    assert "AUC" in capsys.readouterr().out
    model = _read_model(tmp_path / "model.json")
    assert model.probability({"a": 3, "b": 0}) > 0.9
    assert len(model.provenance["table_sha256"]) == 64
    with pytest.raises(InputError, match="give --overwrite"):
        command.run(parser.parse_args(words), lambda f, m: None)
    with pytest.raises(InputError, match="there is no file"):
        command.read_table(tmp_path / "absent.csv")
