"""Effects, scores, repeated measurements: known answers, borders and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from Testing.unit.cohort.conftest import exact_sample

from lungperfusion.cohort.comparisons import (
    _cramer,
    compare_counts,
    compare_many_means,
    compare_many_ranks,
    compare_means,
    compare_ranks,
    is_skewed,
)
from lungperfusion.cohort.discrimination import calibration, discriminate
from lungperfusion.cohort.relations import correlate, regress
from lungperfusion.cohort.repeatability import repeatability


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    inside = {"means": 0, "ranks": 0, "shares": 0}
    for _ in range(400):
        a, b = rng.normal(1, 1, 25), rng.normal(0, 2, 40)
        means, ranks = compare_means(a, b), compare_ranks(a, b)
        inside["means"] += means.low <= 1 <= means.high
        inside["ranks"] += ranks.low <= stats.norm.cdf(1 / 5**0.5) <= ranks.high
        k, m = rng.binomial(30, 0.6), rng.binomial(50, 0.3)
        shares = compare_counts(np.array([[30 - k, k], [50 - m, m]]))
        inside["shares"] += shares.low <= 0.3 <= shares.high
    for name, hits in inside.items():
        assert 0.92 < hits / 400 < 0.98, name


def test_turning_groups_around_turns_the_sign_alone():
    a, b = exact_sample(5, 2, 20), exact_sample(4, 1, 30, 1)
    one, other = compare_means(a, b), compare_means(b, a)
    assert (one.estimate, one.low, one.high) == pytest.approx(
        (-other.estimate, -other.high, -other.low)
    )
    assert one.p == pytest.approx(other.p)
    assert compare_ranks(a, b).estimate == pytest.approx(1 - compare_ranks(b, a).estimate)
    assert compare_means(a * 10, b * 10).p == pytest.approx(one.p)


def test_what_cannot_be_tested_says_why():
    one, many = np.array([1.0]), np.array([1.0, 2.0, 3.0])
    for found in (compare_means(one, many), compare_ranks(one, many)):
        assert math.isnan(found.p)
        assert found.reason == "a group has fewer than 2 values"
    flat = np.full(5, 2.0)
    assert compare_means(flat, flat).reason == "no value differs"
    assert compare_many_means([flat, many, many]).reason == "a group has no spread"
    assert compare_many_ranks([flat, flat, flat]).reason == "no value differs"
    assert compare_counts(np.array([[0, 0], [3, 4]])).reason == "a group is empty"
    assert compare_counts(np.array([[3, 0], [4, 0]])).reason == "no value differs"
    assert correlate(many, many)[0].reason == "fewer than 4 pairs"
    assert regress(flat, exact_sample(0, 1, 5)).reason == "one of the two never differs"
    assert regress(np.arange(9.0), 2 * np.arange(9.0) + 1).reason == "all points lie on the line"


def test_fisher_where_an_expected_count_is_below_five():
    border = np.array([[5, 5], [5, 5]])
    assert compare_counts(border).test == "chi-squared"
    assert compare_counts(border - np.array([[1, 0], [0, 0]])).test == "Fisher exact"
    large = compare_counts(np.array([[3, 1, 9], [2, 8, 1]]))
    assert large.test == "Fisher exact"
    assert large == compare_counts(np.array([[3, 1, 9], [2, 8, 1]]))
    assert large.low <= large.estimate <= large.high
    forced = compare_counts(border - 2, test="chi2")
    assert (forced.test, forced.reason) == ("chi-squared", "expected counts below 5")


def test_skewed_values_ask_for_a_median():
    assert is_skewed(np.random.default_rng(0).lognormal(0, 1, 60))
    assert not is_skewed(stats.norm.ppf(np.linspace(0.01, 0.99, 60)))
    assert not is_skewed(np.array([1.0, 100.0, 1e5]))  # too few to tell


def test_influential_cases_are_found_by_place():
    x = np.arange(20.0)
    y = 0.5 * x + exact_sample(0, 0.2, 20)
    y[17] += 10
    found = regress(x, y)
    assert 17 in found.influential
    assert found.cook_limit == 0.2
    assert all(found.cook[n] > 0.2 for n in found.influential)


def test_robust_interval_is_wider_where_the_spread_grows():
    rng = np.random.default_rng(1)
    x = np.linspace(1, 10, 200)
    y = x + rng.normal(0, 1, 200) * (x - 5.5) ** 2 / 5
    found = regress(x, y)
    classical = 2 * stats.t.ppf(0.975, 198) * stats.linregress(x, y).stderr
    assert found.slope_high - found.slope_low > 1.2 * classical


def test_score_that_parts_cases_and_one_that_does_not():
    rng = np.random.default_rng(2)
    answer = np.repeat([0, 1], [60, 40])
    score = answer * 1.5 + rng.normal(0, 1, 100)
    found = discriminate(score, answer, cut_offs=(1.0,))

    assert found.auc == pytest.approx(stats.norm.cdf(1.5 / 2**0.5), abs=0.06)
    assert found.auc_low < found.auc < found.auc_high
    youden, given = found.points
    assert youden.sensitivity + youden.specificity >= given.sensitivity + given.specificity
    assert given.true_positive == int((score[answer == 1] >= 1).sum())
    assert given.sensitivity_low < given.sensitivity < given.sensitivity_high
    apparent = youden.sensitivity + youden.specificity
    assert found.unseen_sensitivity + found.unseen_specificity < apparent  # optimism
    assert 0.6 < found.calibration.slope < 1.3
    assert found.calibration.slope_low < 1 < found.calibration.slope_high
    noise = discriminate(rng.normal(0, 1, 100), answer)
    assert noise.auc_low < 0.5 or noise.auc < 0.6
    assert noise.unseen_sensitivity + noise.unseen_specificity < 1.15


def test_low_scores_can_speak_for_an_outcome():
    rng = np.random.default_rng(4)
    answer = np.repeat([0, 1], 30)
    score = 100 - 30 * answer + rng.normal(0, 15, 60)
    found, turned = discriminate(score, answer, (80.0,)), discriminate(-score, answer, (-80.0,))
    assert not found.higher_is_positive
    assert found.auc == turned.auc > 0.5
    assert found.points[1].cut_off == 80
    assert found.points[1].true_positive == turned.points[1].true_positive


def test_few_events_are_a_caution_and_one_case_is_a_reason():
    rng = np.random.default_rng(5)
    answer = np.repeat([0, 1], [40, 9])
    assert "Only 9 cases" in discriminate(rng.normal(0, 1, 49), answer).caution
    answer = np.repeat([0, 1], [40, 10])
    assert discriminate(rng.normal(0, 1, 50), answer).caution == ""
    alone = discriminate(np.arange(5.0), np.array([0, 0, 0, 0, 1]))
    assert alone.reason == "an outcome has fewer than two cases"
    apart = calibration(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]))
    assert math.isnan(apart.slope)


def test_intraclass_correlation_of_a_known_design():
    # Shrout and Fleiss 1979, table 2: judges 1 and 2 of their four
    found = repeatability(
        np.array([9.0, 6.0, 8.0, 7.0, 10.0, 6.0]), np.array([2.0, 1.0, 4.0, 1.0, 5.0, 2.0])
    )
    assert found.icc_3_1 > 0.7
    assert found.icc_2_1 < 0.2  # the second judge is far lower: no agreement
    assert found.icc_3_1_low < found.icc_3_1 < found.icc_3_1_high
    assert found.icc_2_1_low < found.icc_2_1 < found.icc_2_1_high


def test_change_that_can_be_detected_and_limits_of_agreement():
    difference = exact_sample(1.0, 2.0, 50)
    truth = exact_sample(100, 10, 50, 3)
    found = repeatability(truth - difference / 2, truth + difference / 2)

    assert found.bias == pytest.approx(1)
    assert found.sem == pytest.approx(2 / 2**0.5)
    assert found.sdc == pytest.approx(1.96 * 2)
    assert (found.lower_limit, found.upper_limit) == pytest.approx((1 - 3.92, 1 + 3.92))
    reach = stats.t.ppf(0.975, 49) * 2 * (1 / 50 + 1.96**2 / 98) ** 0.5
    assert found.upper_limit_high - found.upper_limit == pytest.approx(reach)
    assert repeatability(truth[:2], truth[:2]).reason.startswith("fewer than 3")
    same = repeatability(truth, truth + 5)
    assert (same.icc_3_1, same.sdc) == pytest.approx((1, 0), abs=1e-9)
    assert same.icc_2_1 < 1


def test_cramers_v_of_many_tables_is_that_of_each():
    rng = np.random.default_rng(3)
    tables = rng.integers(0, 12, (40, 3, 5))
    tables[0, 1], tables[1, :, 2] = 0, 0  # an empty group, an empty category
    for found, table in zip(_cramer(tables), tables, strict=True):
        full = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
        assert found == pytest.approx(stats.contingency.association(full), abs=1e-12)
    assert _cramer(np.array([[[3, 0], [5, 0]]]))[0] == 0.0
