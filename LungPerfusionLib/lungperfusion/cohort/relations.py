"""Correlations and regressions of two columns, with intervals and with what carries them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lungperfusion.cohort.comparisons import BOOTSTRAPS, CONFIDENCE, seed_of
from lungperfusion.cohort.libraries import library

Values = NDArray[np.float64]

FEWEST_PAIRS = 4
"""Fisher's z needs more than three pairs."""
MOST_FOR_BOOTSTRAP = 1000
"""Pairs above which Kendall's tau has Fieller's interval, which is as good there and quick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """One coefficient; NaN with a reason where it could not be computed."""

    method: str
    count: int
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    interval: str = ""
    """How the interval was made."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """Straight line of y on x by least squares, errors robust against unequal spread (HC3)."""

    count: int
    slope: float = math.nan
    slope_low: float = math.nan
    slope_high: float = math.nan
    intercept: float = math.nan
    intercept_low: float = math.nan
    intercept_high: float = math.nan
    r_squared: float = math.nan
    r_squared_low: float = math.nan
    r_squared_high: float = math.nan
    p: float = math.nan
    p_classical: float = math.nan
    """Of the slope with equal spread; the p-value of Pearson's coefficient."""
    cook_limit: float = math.nan
    influential: tuple[int, ...] = ()
    """Positions with Cook's distance above 4 / n."""
    cook: tuple[float, ...] = ()
    residuals: tuple[float, ...] = ()
    reason: str = ""


def correlate(x: Values, y: Values) -> tuple[Correlation, ...]:
    """Pearson's, Spearman's and Kendall's coefficient.

    Parameters
    ----------
    x, y
        Pairs without NaN.

    """
    names = ("Pearson r", "Spearman rho", "Kendall tau-b")
    reason = _unusable(x, y)
    if reason:
        return tuple(Correlation(method=name, count=x.size, reason=reason) for name in names)
    return _pearson(x, y), _spearman(x, y), _kendall(x, y)


def _unusable(x: Values, y: Values) -> str:
    if x.size < FEWEST_PAIRS:
        return f"fewer than {FEWEST_PAIRS} pairs"
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return "one of the two never differs"
    return ""


def _pearson(x: Values, y: Values) -> Correlation:
    found = stats.pearsonr(x, y)
    interval = found.confidence_interval(CONFIDENCE)
    return Correlation(
        method="Pearson r",
        count=x.size,
        estimate=float(found.statistic),
        low=float(interval.low),
        high=float(interval.high),
        p=float(found.pvalue),
        interval="Fisher z",
    )


def _spearman(x: Values, y: Values) -> Correlation:
    """Interval by Fisher z with the variance of Bonett and Wright 2000 (Psychometrika 65:23)."""
    found = stats.spearmanr(x, y)
    rho = float(found.statistic)
    error = math.sqrt((1 + rho**2 / 2) / (x.size - 3))
    low, high = _back_from_z(rho, error)
    return Correlation(
        method="Spearman rho",
        count=x.size,
        estimate=rho,
        low=low,
        high=high,
        p=float(found.pvalue),
        interval="Fisher z, Bonett and Wright",
    )


def _kendall(x: Values, y: Values) -> Correlation:
    """Interval by bootstrap, of many pairs Fieller's (Fieller 1957, Biometrika 44:470)."""
    found = stats.kendalltau(x, y)
    tau = float(found.statistic)
    if x.size > MOST_FOR_BOOTSTRAP:
        low, high = _back_from_z(tau, math.sqrt(0.437 / (x.size - 4)))
        how = "Fisher z, Fieller"
    else:
        rng = np.random.default_rng(seed_of(x, y))
        draws = rng.integers(0, x.size, (BOOTSTRAPS, x.size))
        values = np.array([_tau(x[drawn], y[drawn]) for drawn in draws])
        tail = (1 - CONFIDENCE) / 2
        low, high = (float(v) for v in np.nanquantile(values, [tail, 1 - tail]))
        how = f"bootstrap, {BOOTSTRAPS} draws"
    return Correlation(
        method="Kendall tau-b",
        count=x.size,
        estimate=tau,
        low=low,
        high=high,
        p=float(found.pvalue),
        interval=how,
    )


def _tau(x: Values, y: Values) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(stats.kendalltau(x, y, method="asymptotic").statistic)  # p is not asked for


def _back_from_z(value: float, error: float) -> tuple[float, float]:
    if abs(value) >= 1:
        return value, value
    reach = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * error
    z = math.atanh(value)
    return math.tanh(z - reach), math.tanh(z + reach)


def regress(x: Values, y: Values) -> Regression:
    """Fit a straight line; slope, R² and their intervals are separate numbers.

    The interval of R² is that of the coefficient by Fisher z, squared; it starts at 0 where that
    holds 0.

    Parameters
    ----------
    x, y
        Pairs without NaN.

    """
    reason = _unusable(x, y)
    if reason:
        return Regression(count=x.size, reason=reason)
    model = library("statsmodels.api")
    plain = model.OLS(y, model.add_constant(x)).fit()
    if plain.ssr <= 1e-12 * plain.centered_tss:
        return Regression(
            count=x.size,
            slope=float(plain.params[1]),
            intercept=float(plain.params[0]),
            r_squared=1.0,
            reason="all points lie on the line",
        )
    robust = plain.get_robustcov_results(cov_type="HC3", use_t=True)
    (intercept_low, intercept_high), (slope_low, slope_high) = robust.conf_int(1 - CONFIDENCE)
    cook = plain.get_influence().cooks_distance[0]
    limit = 4 / x.size
    r = _pearson(x, y)
    ends = sorted((r.low**2, r.high**2))
    return Regression(
        count=x.size,
        slope=float(plain.params[1]),
        slope_low=float(slope_low),
        slope_high=float(slope_high),
        intercept=float(plain.params[0]),
        intercept_low=float(intercept_low),
        intercept_high=float(intercept_high),
        r_squared=float(plain.rsquared),
        r_squared_low=0.0 if r.low < 0 < r.high else ends[0],
        r_squared_high=ends[1],
        p=float(robust.pvalues[1]),
        p_classical=float(plain.pvalues[1]),
        cook_limit=limit,
        influential=tuple(int(n) for n in np.flatnonzero(cook > limit)),
        cook=tuple(float(value) for value in cook),
        residuals=tuple(float(value) for value in plain.resid),
    )
