"""The numbers of the source letters, from patients whose samples are exactly as printed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from Testing.unit.cohort.conftest import exact_pair, exact_sample

from lungperfusion.cohort.comparisons import compare_counts, compare_means, wilson
from lungperfusion.cohort.relations import correlate, regress
from lungperfusion.cohort.wording import p_text, percent, stars

# Row, groups (mean, SD, n), difference (low, high), Welch p, Student p, stars by Welch.  The
# letter prints two stars for IPv by FVC, where Welch lies just under 0.001, and none for FVC by
# DLCO and KCO of 18 against 39, which its own summary makes significant: listed, not mended.
# The lower end of IPv by DLCO is 3.248 with the printed means and SDs, which are rounded
# themselves: 3.2, where unrounded patients may give 3.3.
# fmt: off
TABLE_1 = [
    (
        "IPv, FVC",
        (198, 80.8, 57),
        (140.2, 57.7, 21),
        57.8,
        (24.6, 91.0),
        "0.00099",
        "0.0036",
        "***",
    ),
    ("IPv, DLCO", (213, 73.8, 21), (170.9, 78.8, 57), 42.1, (3.2, 81.0), "0.034", "0.037", "*"),
    ("IPv, 18", (219.2, 69.5, 18), (186, 85.3, 39), 33.2, (-9.9, 76.3), "0.127", "0.155", ""),
    ("iodine, FVC", (46.2, 15.6, 57), (44.2, 14.7, 21), 2.0, (-5.7, 9.7), "0.60", "0.61", ""),
    (
        "FEV1, FVC",
        (97.2, 17.9, 57),
        (71.6, 18.8, 21),
        25.6,
        (16.0, 35.2),
        "5.1e-6",
        "4.4e-7",
        "***",
    ),
    (
        "DLCO, FVC",
        (73.2, 15.7, 57),
        (49.4, 13.4, 21),
        23.8,
        (16.6, 31.0),
        "5.1e-8",
        "3.2e-8",
        "***",
    ),
    ("FVC, 18", (111.3, 15.2, 18), (97.3, 12.5, 39), 14.0, (5.6, 22.4), "0.0020", "0.00055", "**"),
    (
        "FVC, DLCO",
        (109.2, 17.5, 21),
        (87.9, 17.3, 57),
        21.3,
        (12.3, 30.3),
        "3.0e-5",
        "7.5e-6",
        "***",
    ),
    ("KCO, 18", (90.3, 11.3, 18), (77.9, 10.8, 39), 12.4, (5.9, 18.9), "0.0005", "0.0002", "***"),
    ("BV5", (46.89, 8.59, 32), (41.61, 6.95, 18), 5.28, (0.77, 9.79), "0.0228", "0.031", "*"),
]
# fmt: on


def to_digits_of(printed, value):
    """Value with as many significant digits as were printed."""
    digits = len(printed.partition("e")[0].replace(".", "").lstrip("0"))
    return float(f"{value:.{digits}g}")


@pytest.mark.parametrize("row", TABLE_1, ids=[row[0] for row in TABLE_1])
def test_differences_and_p_of_the_letters(row):
    _, first, second, difference, interval, welch, student, mark = row
    samples = [exact_sample(*group, seed=number) for number, group in enumerate((first, second))]

    found = compare_means(*samples)
    pooled = compare_means(*samples, equal_variances=True)

    decimals = 2 if row[0] == "BV5" else 1
    assert round(found.estimate, decimals) == pytest.approx(difference)
    assert (round(found.low, decimals), round(found.high, decimals)) == pytest.approx(interval)
    assert to_digits_of(welch, found.p) == float(welch)
    assert to_digits_of(student, pooled.p) == float(student)
    assert stars(found.p) == mark
    published = stats.ttest_ind_from_stats(*first, *second, equal_var=False)
    assert found.p == pytest.approx(published.pvalue, rel=1e-9)


def test_the_small_vessel_letter_used_welch():
    samples = exact_sample(46.89, 8.59, 32), exact_sample(41.61, 6.95, 18, seed=1)

    assert p_text(compare_means(*samples).p) == "0.023"
    assert p_text(compare_means(*samples, equal_variances=True).p) != "0.023"


@pytest.mark.parametrize(
    ("r", "n", "interval", "p"),
    [
        (0.57, 78, ("0.40", "0.70"), "5e-8"),  # TLV and FVC
        (-0.51, 78, ("-0.66", "-0.32"), None),  # GGO and DLCO
        (-0.50, 78, ("-0.65", "-0.31"), None),  # GGO and FVC
        (0.054**0.5, 78, ("0.010", "0.433"), "0.041"),  # IPv and DLCO
        (0.300, 78, None, "0.0076"),  # IPv and KCO
        (0.30, 50, ("0.02", "0.53"), "0.034"),  # BV5 and PaO2
    ],
)
def test_correlations_of_the_letters(r, n, interval, p):
    pearson = correlate(*exact_pair(r, n))[0]

    assert pearson.estimate == pytest.approx(r, abs=1e-12)
    if interval:
        digits = len(interval[0].partition(".")[2])
        assert (f"{pearson.low:.{digits}f}", f"{pearson.high:.{digits}f}") == interval
    if p:
        assert to_digits_of(p, pearson.p) == float(p)
    else:
        assert pearson.p < 0.0001


@pytest.mark.parametrize(
    ("r_squared", "interval", "p"),
    [
        (0.054, ("0.0001", "0.187"), "0.041"),  # IPv and DLCO
        (0.09, ("0.007", "0.240"), "0.0076"),  # IPv and KCO
        (0.004, None, "0.58"),  # IPv and FVC
        (0.0029, None, "0.64"),  # IPv and GGO
        (0.0036, None, "0.60"),  # IPv and MLD
    ],
)
def test_shares_of_variance_are_no_slopes(r_squared, interval, p):
    x, y = exact_pair(math.sqrt(r_squared), 78)

    found = regress(300 * x, 5 * y)

    assert found.r_squared == pytest.approx(r_squared, abs=1e-12)
    assert to_digits_of(p, found.p_classical) == float(p)
    if interval:
        for printed, end in zip(interval, (found.r_squared_low, found.r_squared_high), strict=True):
            assert f"{end:.{len(printed.partition('.')[2])}f}" == printed
    # An interval of R² holds no negative number; those that the letter prints are of the slope.
    assert 0 <= found.r_squared_low <= found.r_squared <= found.r_squared_high <= 1
    assert found.slope == pytest.approx(math.sqrt(r_squared) * 5 / 300)


def test_dlco_relations_of_the_white_paper():
    # n = 41: rho -0.78 and -0.62; n = 46: r squared 0.68; all with p < 0.001
    for r, n in ((-0.78, 41), (-0.62, 41), (-math.sqrt(0.68), 46)):
        found = correlate(*exact_pair(r, n))[0]
        assert found.estimate == pytest.approx(r, abs=1e-12)
        assert p_text(found.p) == "<0.001"
    assert regress(*exact_pair(-math.sqrt(0.68), 46)).r_squared == pytest.approx(0.68)
    stronger, weaker = (correlate(*exact_pair(r, 41))[0] for r in (-0.78, -0.62))
    assert stronger.low < weaker.low < stronger.high  # the intervals overlap


def test_a_coefficient_and_a_share_that_cannot_belong_together():
    # "R = 0.568, p < 0.0001" and R² = 0.054 are printed of the same pair
    assert regress(*exact_pair(0.568, 78)).r_squared > 0.3


@pytest.mark.parametrize(
    ("first", "second", "chi2", "fisher"),
    [
        ((30, 57), (15, 21), 0.14, 0.20),  # FVC
        ((10, 21), (35, 57), 0.27, 0.31),  # DLCO
        ((10, 18), (20, 39), 0.76, 0.78),  # both normal against isolated low DLCO
    ],
)
def test_sexes_of_the_letter(first, second, chi2, fisher):
    table = np.array([[n - k, k] for k, n in (first, second)])

    assert round(compare_counts(table, test="chi2").p, 2) == chi2
    assert round(compare_counts(table, test="fisher").p, 2) == fisher


def test_percent_uses_the_n_of_its_row():
    assert percent(21, 78) == "21/78 (26.9)"  # printed as 26.6: that is 21 of 79
    assert round(100 * 21 / 79, 1) == 26.6
    assert round(100 * 57 / 79, 1) == 72.2


def test_intervals_of_proportions():
    assert [round(100 * v, 1) for v in wilson(14, 109)] == [7.8, 20.4]
    assert [round(100 * v, 1) for v in wilson(32, 106)] == [22.3, 39.5]  # embolism in Strasbourg
    # Clopper and Pearson, all of n found: the lower end is 0.025 to the power of 1 / n
    assert round(100 * 0.025 ** (1 / 32), 1) == 89.1
    assert round(100 * 0.025 ** (1 / 12), 1) == 73.5
    # "detected all": the one-sided bound is higher than that of two sides
    assert round(100 * 0.05 ** (1 / 32)) == 91
