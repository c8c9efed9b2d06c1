"""Test and retest: two measurements of the same cases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lungperfusion.cohort.comparisons import CONFIDENCE

Values = NDArray[np.float64]

LIMITS_SD = 1.96
"""Limits of agreement lie this many standard deviations from the bias (Bland and Altman 1986)."""

FEWEST_CASES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeatability:
    """How two measurements of the same cases agree; NaN with a reason where they are too few."""

    count: int
    icc_2_1: float = math.nan
    """Absolute agreement, single measurement, occasions drawn at random."""
    icc_2_1_low: float = math.nan
    icc_2_1_high: float = math.nan
    icc_3_1: float = math.nan
    """Consistency, single measurement, fixed occasions."""
    icc_3_1_low: float = math.nan
    icc_3_1_high: float = math.nan
    sem: float = math.nan
    """Standard error of a measurement: SD of the differences over the square root of 2."""
    sdc: float = math.nan
    """Smallest detectable change, 1.96 sqrt(2) SEM; also called repeatability coefficient."""
    bias: float = math.nan
    """Mean of second minus first."""
    bias_low: float = math.nan
    bias_high: float = math.nan
    lower_limit: float = math.nan
    lower_limit_low: float = math.nan
    lower_limit_high: float = math.nan
    upper_limit: float = math.nan
    upper_limit_low: float = math.nan
    upper_limit_high: float = math.nan
    reason: str = ""


def repeatability(first: Values, second: Values) -> Repeatability:
    """Intraclass correlations, smallest detectable change and limits of agreement.

    Intraclass correlations and their intervals as Shrout and Fleiss 1979 (Psychol Bull 86:420) and
    McGraw and Wong 1996 (Psychol Methods 1:30); intervals of the limits as Bland and Altman 1999
    (Stat Methods Med Res 8:135).

    Parameters
    ----------
    first, second
        Values of the same cases without NaN.

    """
    n = first.size
    if n < FEWEST_CASES:
        return Repeatability(count=n, reason=f"fewer than {FEWEST_CASES} cases with both values")
    pairs = np.stack([first, second], axis=1)
    if np.ptp(pairs.mean(axis=1)) == 0:
        return Repeatability(count=n, reason="the cases do not differ")
    difference = second - first
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    t = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    reach_bias = t * sd / math.sqrt(n)
    reach_limit = t * sd * math.sqrt(1 / n + LIMITS_SD**2 / (2 * (n - 1)))
    lower, upper = bias - LIMITS_SD * sd, bias + LIMITS_SD * sd
    sem = sd / math.sqrt(2)
    (agreement, agreement_ends), (consistency, consistency_ends) = _intraclass(pairs)
    return Repeatability(
        count=n,
        icc_2_1=agreement,
        icc_2_1_low=agreement_ends[0],
        icc_2_1_high=agreement_ends[1],
        icc_3_1=consistency,
        icc_3_1_low=consistency_ends[0],
        icc_3_1_high=consistency_ends[1],
        sem=sem,
        sdc=LIMITS_SD * math.sqrt(2) * sem,
        bias=bias,
        bias_low=bias - reach_bias,
        bias_high=bias + reach_bias,
        lower_limit=lower,
        lower_limit_low=lower - reach_limit,
        lower_limit_high=lower + reach_limit,
        upper_limit=upper,
        upper_limit_low=upper - reach_limit,
        upper_limit_high=upper + reach_limit,
    )


_Coefficient = tuple[float, tuple[float, float]]


def _intraclass(pairs: Values) -> tuple[_Coefficient, _Coefficient]:
    """ICC(2,1) and ICC(3,1) with intervals, from the two-way analysis of variance."""
    n, k = pairs.shape
    whole = pairs.mean()
    subjects = k * pairs.mean(axis=1).var(ddof=1)
    occasions = n * pairs.mean(axis=0).var(ddof=1)
    rest = pairs - pairs.mean(axis=1, keepdims=True) - pairs.mean(axis=0) + whole
    error = float((rest**2).sum()) / ((n - 1) * (k - 1))
    tail = (1 + CONFIDENCE) / 2
    if error <= 1e-12 * subjects:  # the same up to a shift: F is infinite
        agreement = subjects / (subjects + k * occasions / n)
        return (float(agreement), (math.nan, math.nan)), (1.0, (1.0, 1.0))
    ratio = subjects / error
    inner = (n - 1) * (k - 1)
    low = ratio / stats.f.ppf(tail, n - 1, inner)
    high = ratio * stats.f.ppf(tail, inner, n - 1)
    consistency = (subjects - error) / (subjects + (k - 1) * error)
    ends = tuple(float((f - 1) / (f + k - 1)) for f in (low, high))
    shift = k * (occasions - error) / n
    agreement = (subjects - error) / (subjects + (k - 1) * error + shift)
    # Degrees of freedom of the error of ICC(2,1) by Satterthwaite (McGraw and Wong, table 7).
    a = k * agreement / (n * (1 - agreement))
    b = 1 + k * agreement * (n - 1) / (n * (1 - agreement))
    df = (a * occasions + b * error) ** 2 / (
        (a * occasions) ** 2 / (k - 1) + (b * error) ** 2 / inner
    )
    f_low, f_high = stats.f.ppf(tail, n - 1, df), stats.f.ppf(tail, df, n - 1)
    spread = k * occasions + (k * n - k - n) * error
    bottom = n * (subjects - f_low * error) / (f_low * spread + n * subjects)
    top = n * (f_high * subjects - error) / (spread + n * f_high * subjects)
    return (float(agreement), (float(bottom), float(top))), (float(consistency), (ends[0], ends[1]))
