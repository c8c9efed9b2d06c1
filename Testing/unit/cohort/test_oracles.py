"""Other people's programs give the same numbers to six digits."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from lungperfusion.cohort.comparisons import (
    compare_counts,
    compare_many_means,
    compare_many_ranks,
    compare_means,
    compare_ranks,
    delong,
    holm,
)
from lungperfusion.cohort.relations import correlate, regress
from lungperfusion.cohort.repeatability import repeatability

TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def pingouin():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pingouin")


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(5)
    return rng.gamma(3, 2, 31), rng.normal(7, 2, 44), rng.normal(8, 4, 25)


def close(found, wanted, tolerance=TOLERANCE):
    assert float(found) == pytest.approx(float(wanted), abs=tolerance)


def test_means_and_ranks(pingouin, samples):
    first, second, _ = samples
    found, ranked = compare_means(first, second), compare_ranks(first, second)

    welch = pingouin.ttest(first, second, correction=True).iloc[0]
    close(found.p, welch["p_val"])
    close(found.statistic, welch["T"])
    close(found.df, welch["dof"])
    mann = pingouin.mwu(first, second).iloc[0]
    close(ranked.p, mann["p_val"])
    close(ranked.estimate, mann["CLES"])


def test_three_groups(pingouin, samples):
    frame = pd.DataFrame(
        {"v": np.concatenate(samples), "g": np.repeat(["a", "b", "c"], [len(s) for s in samples])}
    )
    close(
        compare_many_means(samples).p,
        pingouin.welch_anova(frame, dv="v", between="g").iloc[0]["p_unc"],
    )
    close(
        compare_many_ranks(samples).p,
        pingouin.kruskal(frame, dv="v", between="g").iloc[0]["p_unc"],
    )


def test_counts(pingouin):
    frame = pd.DataFrame(
        {"g": ["a"] * 40 + ["b"] * 50, "k": [1] * 15 + [0] * 25 + [1] * 30 + [0] * 20}
    )
    _, _, wanted = pingouin.chi2_independence(frame, "g", "k", correction=False)
    table = pd.crosstab(frame["g"], frame["k"]).to_numpy()
    close(compare_counts(table, test="chi2").p, wanted.iloc[0]["pval"])


def test_holm(pingouin):
    p = [0.01, 0.04, float("nan"), 0.03, 0.005]
    assert holm(p)[2] != holm(p)[2]
    known = [value for value in p if value == value]
    wanted = pingouin.multicomp(known, method="holm")[1]
    found = [value for value in holm(p) if value == value]
    assert found == pytest.approx(list(wanted), abs=TOLERANCE)


def test_correlations_and_regression(pingouin, samples):
    rng = np.random.default_rng(8)
    x = samples[1]
    y = 0.4 * x + rng.normal(0, 1.5, x.size)
    for entry, method in zip(correlate(x, y), ("pearson", "spearman", "kendall"), strict=True):
        wanted = pingouin.corr(x, y, method=method).iloc[0]
        close(entry.estimate, wanted["r"])
        close(entry.p, wanted["p_val"])
        if method == "pearson":
            assert [entry.low, entry.high] == pytest.approx(list(wanted["CI95"]), abs=0.006)
    line = pingouin.linear_regression(x, y).iloc[1]
    found = regress(x, y)
    close(found.slope, line["coef"])
    close(found.r_squared, line["r2"])
    close(found.p_classical, line["pval"])


def test_intraclass_correlations(pingouin):
    rng = np.random.default_rng(2)
    truth = rng.normal(50, 10, 30)
    first, second = truth + rng.normal(0, 3, 30), truth + rng.normal(2, 3, 30)
    frame = pd.DataFrame(
        {
            "case": np.tile(np.arange(30), 2),
            "rater": np.repeat(["1", "2"], 30),
            "v": np.concatenate([first, second]),
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = pingouin.intraclass_corr(frame, targets="case", raters="rater", ratings="v")
    wanted = wanted.set_index("Type")["ICC"]
    found = repeatability(first, second)
    agreement = next(name for name in wanted.index if "A,1" in name or name == "ICC2")
    consistency = next(name for name in wanted.index if "C,1" in name or name == "ICC3")
    close(found.icc_2_1, wanted[agreement])
    close(found.icc_3_1, wanted[consistency])


def test_means_and_medians_of_table_1(samples):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tableone = pytest.importorskip("tableone")
        frame = pd.DataFrame({"v": samples[0]})
        shown = tableone.TableOne(frame, columns=["v"], decimals=6, missing=False)
    cell = shown.tableone.iloc[1, 0]
    mean, spread = (float(text) for text in cell.rstrip(")").split(" ("))
    close(samples[0].mean(), mean)
    close(samples[0].std(ddof=1), spread)


def test_p_values_of_table_1(samples):
    first, second, _ = samples
    frame = pd.DataFrame(
        {
            "v": np.concatenate([first, second]),
            "k": np.tile(["x", "x", "y", "z", "z"], 15),
            "g": ["a"] * first.size + ["b"] * second.size,
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tableone = pytest.importorskip("tableone")
        shown = tableone.TableOne(
            frame, columns=["v", "k"], categorical=["k"], groupby="g", pval=True, missing=False,
            pval_digits=9,
        )  # fmt: skip
    texts = shown.tableone.xs("P-Value", axis=1, level=1).iloc[:, 0]
    found = [float(text) for text in texts if text]
    close(compare_means(first, second).p, found[0])
    table = pd.crosstab(frame["g"], frame["k"]).to_numpy()
    close(compare_counts(table, test="chi2").p, found[1])


def test_delong_is_the_variance_by_pairs():
    rng = np.random.default_rng(3)
    positive, negative = rng.normal(1, 1, 23).round(1), rng.normal(0, 1, 31).round(1)
    above = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = above.mean(axis=1).var(ddof=1) / 23 + above.mean(axis=0).var(ddof=1) / 31
    area, low, high = delong(positive, negative)
    assert area == pytest.approx(above.mean())
    reach = 1.959964 * variance**0.5 / (area * (1 - area))
    logit = np.log(area / (1 - area))
    assert [low, high] == pytest.approx(
        [1 / (1 + np.exp(-(logit + sign * reach))) for sign in (-1, 1)], abs=1e-6
    )
