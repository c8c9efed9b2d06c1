"""Tests between groups: an effect with its interval before p, the test named for each number."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lungperfusion.cohort.libraries import library

Values = NDArray[np.float64]

CONFIDENCE = 0.95
BOOTSTRAPS = 500
"""Draws behind an interval that has no formula: enough for its second digit."""
LEAST_EXPECTED = 5.0
"""Chi-squared holds where every expected count is at least this (Cochran 1954, Biometrics 10:417);
Fisher's exact test below."""
FEWEST = 2
"""Values per group below which nothing is tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """One test; NaN where it could not be made, with the reason."""

    __test__ = False  # for pytest: no test case

    test: str
    effect: str
    """What `estimate` is, such as ``difference of means``."""
    counts: tuple[int, ...]
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    statistic: float = math.nan
    df: float = math.nan
    p: float = math.nan
    reason: str = ""


def seed_of(*arrays: Any) -> int:
    """Seed of random draws that depends on the values alone."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(np.asarray(array, dtype=np.float64)).tobytes())
    return int.from_bytes(digest.digest()[:8], "big")


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927), 0 to 1; all of it without trials."""
    if trials == 0:
        return 0.0, 1.0
    found = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def compare_means(first: Values, second: Values, *, equal_variances: bool = False) -> TestResult:
    """Difference of two means with Welch's test, or Student's.

    Parameters
    ----------
    first, second
        Values without NaN.
    equal_variances
        Student's test with pooled variance instead of Welch's.

    """
    name = "Student t" if equal_variances else "Welch t"
    effect = "difference of means"
    counts = (first.size, second.size)
    refused = _refused(name, effect, (first, second))
    if refused is not None:
        return refused
    if first.var() + second.var() == 0:
        return TestResult(test=name, effect=effect, counts=counts, reason="no value differs")
    found = stats.ttest_ind(first, second, equal_var=equal_variances)
    interval = found.confidence_interval(CONFIDENCE)
    return TestResult(
        test=name,
        effect=effect,
        counts=counts,
        estimate=float(first.mean() - second.mean()),
        low=float(interval.low),
        high=float(interval.high),
        statistic=float(found.statistic),
        df=float(found.df),
        p=float(found.pvalue),
    )


def compare_ranks(first: Values, second: Values) -> TestResult:
    """Mann-Whitney test with the chance that a value of the first group is the larger one.

    Ties count half; the interval is DeLong's.
    """
    name, effect = "Mann-Whitney U", "chance of a larger value in the first group"
    refused = _refused(name, effect, (first, second))
    if refused is not None:
        return refused
    found = stats.mannwhitneyu(first, second, alternative="two-sided")
    chance, low, high = delong(first, second)
    return TestResult(
        test=name,
        effect=effect,
        counts=(first.size, second.size),
        estimate=chance,
        low=low,
        high=high,
        statistic=float(found.statistic),
        p=float(found.pvalue),
    )


def delong(positive: Values, negative: Values) -> tuple[float, float, float]:
    """Chance that a positive scores above a negative, with its 95 % interval.

    The variance is that of DeLong 1988 (Biometrics 44:837) by ranks (Sun and Xu 2014, IEEE Signal
    Process Lett 21:1389), the interval that of its logit, so that it stays between 0 and 1.
    """
    m, n = positive.size, negative.size
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    above = (ranks[:m] - stats.rankdata(positive)) / n
    below = 1 - (ranks[m:] - stats.rankdata(negative)) / m
    area = float(above.mean())
    error = math.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n)
    if error == 0 or not 0 < area < 1:
        return area, math.nan, math.nan
    reach = stats.norm.ppf((1 + CONFIDENCE) / 2) * error / (area * (1 - area))
    logit = math.log(area / (1 - area))
    low, high = (1 / (1 + math.exp(-(logit + sign * reach))) for sign in (-1, 1))
    return area, low, high


def compare_many_means(groups: Sequence[Values]) -> TestResult:
    """Welch's analysis of variance of three or more groups; the effect is eta squared."""
    name, effect = "Welch ANOVA", "eta squared"
    refused = _refused(name, effect, groups)
    if refused is not None:
        return refused
    if min(values.var() for values in groups) == 0:
        reason = "a group has no spread"
        counts = tuple(values.size for values in groups)
        return TestResult(test=name, effect=effect, counts=counts, reason=reason)
    oneway = library("statsmodels.stats.oneway")
    found = oneway.anova_oneway(groups, use_var="unequal")
    with np.errstate(divide="ignore", invalid="ignore"):  # other effects of an end at 0
        interval = oneway.confint_effectsize_oneway(
            found.statistic, found.df, alpha=1 - CONFIDENCE, nobs=sum(v.size for v in groups)
        )
    ratio = found.statistic * found.df[0] / found.df[1]
    low, high = (float(value) for value in interval.ci_eta)
    return TestResult(
        test=name,
        effect=effect,
        counts=tuple(values.size for values in groups),
        estimate=float(ratio / (1 + ratio)),
        low=low,
        high=high,
        statistic=float(found.statistic),
        df=float(found.df[1]),
        p=float(found.pvalue),
    )


def compare_many_ranks(groups: Sequence[Values]) -> TestResult:
    """Kruskal-Wallis test; the effect is epsilon squared, its interval from bootstrap draws."""
    name, effect = "Kruskal-Wallis H", "epsilon squared"
    counts = tuple(values.size for values in groups)
    refused = _refused(name, effect, groups)
    if refused is not None:
        return refused
    if np.ptp(np.concatenate(groups)) == 0:
        return TestResult(test=name, effect=effect, counts=counts, reason="no value differs")

    def epsilon(samples: Sequence[Values]) -> float:
        together = np.concatenate(samples)
        if np.ptp(together) == 0:
            return 0.0
        return float(stats.kruskal(*samples).statistic) / (together.size - 1)

    rng = np.random.default_rng(seed_of(*groups))
    draws = [epsilon([rng.choice(v, v.size) for v in groups]) for _ in range(BOOTSTRAPS)]
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    found = stats.kruskal(*groups)
    return TestResult(
        test=name,
        effect=effect,
        counts=counts,
        estimate=epsilon(groups),
        low=float(low),
        high=float(high),
        statistic=float(found.statistic),
        df=len(groups) - 1.0,
        p=float(found.pvalue),
    )


def compare_counts(table: NDArray[np.int64], *, test: str = "auto") -> TestResult:
    """Chi-squared test without continuity correction, or Fisher's exact test.

    Parameters
    ----------
    table
        Counts, groups by categories.
    test
        ``"chi2"``, ``"fisher"`` or ``"auto"``: Fisher where an expected count is below 5.

    """
    counts = tuple(int(value) for value in table.sum(axis=1))
    table = table[:, table.sum(axis=0) > 0]
    effect = "difference of shares" if table.shape == (2, 2) else "Cramér's V"
    if table.shape[1] < 2 or min(counts) == 0:
        reason = "a group is empty" if min(counts) == 0 else "no value differs"
        return TestResult(test="chi-squared", effect=effect, counts=counts, reason=reason)
    found = stats.chi2_contingency(table, correction=False)
    sparse = bool(found.expected_freq.min() < LEAST_EXPECTED)
    estimate, low, high = _share_effect(table)
    if test == "fisher" or (test == "auto" and sparse):
        p = float(stats.fisher_exact(table, **_exact_method(table)).pvalue)
        name, statistic, df = "Fisher exact", math.nan, math.nan
    else:
        p, statistic, df = float(found.pvalue), float(found.statistic), float(found.dof)
        name = "chi-squared"
    return TestResult(
        test=name,
        effect=effect,
        counts=counts,
        estimate=estimate,
        low=low,
        high=high,
        statistic=statistic,
        df=df,
        p=p,
        reason="expected counts below 5" if name == "chi-squared" and sparse else "",
    )


def _exact_method(table: NDArray[np.int64]) -> dict[str, Any]:
    """Tables larger than 2 x 2 are too many to count out: seeded draws with fixed margins."""
    if table.shape == (2, 2):
        return {}
    rng = np.random.default_rng(seed_of(table))
    return {"method": stats.MonteCarloMethod(n_resamples=9999, rng=rng)}


def _share_effect(table: NDArray[np.int64]) -> tuple[float, float, float]:
    """Difference of the share of the second category (Newcombe), or Cramér's V (bootstrap)."""
    if table.shape == (2, 2):
        proportion = library("statsmodels.stats.proportion")
        (_, hits), totals = table.T, table.sum(axis=1)
        low, high = proportion.confint_proportions_2indep(
            hits[0], totals[0], hits[1], totals[1], method="newcomb", alpha=1 - CONFIDENCE
        )
        shares = hits / totals
        return float(shares[0] - shares[1]), float(low), float(high)
    rng = np.random.default_rng(seed_of(table))
    whole = int(table.sum())
    draws = rng.multinomial(whole, (table / whole).ravel(), BOOTSTRAPS)
    low, high = np.quantile(
        _cramer(draws.reshape(-1, *table.shape)), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    )
    return float(_cramer(table[None])[0]), float(low), float(high)


def _cramer(tables: NDArray[np.int64]) -> Values:
    """Cramér's V of many tables at once; empty rows and columns do not count.

    `scipy.stats.contingency.association` takes one table, and 500 calls take seconds.

    Parameters
    ----------
    tables
        Counts, shape (tables, groups, categories).

    """
    rows, columns = tables.sum(axis=2, keepdims=True), tables.sum(axis=1, keepdims=True)
    expected = np.maximum(rows * columns, 1)  # 0 only where the count is 0 as well
    squared = (tables.astype(np.float64) ** 2 / expected).sum(axis=(1, 2)) - 1
    least = np.minimum((rows > 0).sum(axis=(1, 2)), (columns > 0).sum(axis=(1, 2))) - 1
    found: Values = np.sqrt(np.maximum(squared, 0) / np.maximum(least, 1))
    return found


def _refused(name: str, effect: str, groups: Sequence[Values]) -> TestResult | None:
    counts = tuple(values.size for values in groups)
    if min(counts) >= FEWEST:
        return None
    reason = f"a group has fewer than {FEWEST} values"
    return TestResult(test=name, effect=effect, counts=counts, reason=reason)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values adjusted for their number by Holm's method; NaN stay and are not counted."""
    p = np.asarray(p_values, dtype=np.float64)
    known = np.isfinite(p)
    out = np.full(p.shape, math.nan)
    if known.any():
        out[known] = library("statsmodels.stats.multitest").multipletests(p[known], method="holm")[
            1
        ]
    return tuple(float(value) for value in out)


def is_skewed(values: Values) -> bool:
    """Whether a median belongs beside the mean: |g1| > 1, or Shapiro and Wilk's p < 0.01."""
    if values.size < 8 or np.ptp(values) == 0:
        return False
    if abs(float(stats.skew(values))) > 1:
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # p is approximate from 5000 values on
        return bool(stats.shapiro(values).pvalue < 0.01)
