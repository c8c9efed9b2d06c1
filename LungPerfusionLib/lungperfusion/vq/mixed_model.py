"""Linear model with a random intercept per subject, fitted by restricted maximum likelihood.

``y = X beta + b_subject + e`` with ``b ~ N(0, subject_sd^2)`` and ``e ~ N(0, residual_sd^2)``.

For a given ratio of both variances, taking a share of its mean from every subject leaves
independent errors (Fuller & Battese 1973), so that ordinary least squares gives the rest; only the
ratio is searched for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from lungperfusion.errors import InputError

Values = NDArray[np.float64]

_LARGEST_RATIO = 1e4
"""Of the subjects' to the residual variance; larger ones leave the slopes as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomIntercept:
    """What the model says about its first predictor, all others held fixed."""

    slope: float
    interval: tuple[float, float]
    """95 % of it, by Student's t within subjects."""
    p: float
    subject_sd: float
    """Spread of the subjects' intercepts."""
    residual_sd: float
    subjects: int
    count: int


def fit_random_intercept(
    outcome: Sequence[float], predictors: Sequence[Sequence[float]], subjects: Sequence[str]
) -> RandomIntercept:
    """Fit an outcome to predictors, with one intercept per subject from a normal distribution.

    Parameters
    ----------
    outcome
        One value per row.
    predictors
        Columns; the slope of the first is wanted.  A constant is added.  The others may depend on
        each other.
    subjects
        Whom each row belongs to.

    Raises
    ------
    InputError
        If there are fewer than three subjects, too few rows for so many predictors, or the first
        predictor follows from the others.

    """
    y = np.asarray(outcome, dtype=np.float64)
    x = np.column_stack([*predictors, np.ones(y.size)]).astype(np.float64)
    names, member = np.unique(np.asarray(subjects), return_inverse=True)
    size = np.bincount(member)
    rank = int(np.linalg.matrix_rank(x))
    within = y.size - names.size - (rank - 1)
    if names.size < 3 or within < 1:
        raise InputError(
            f"a model with {rank - 1} predictors and a random effect needs at least three subjects "
            f"and more rows than {names.size} subjects and the predictors take, not {y.size}"
        )
    if int(np.linalg.matrix_rank(x[:, 1:])) == rank:
        raise InputError("the first predictor follows from the others, so it has no slope")

    def means(values: Values) -> Values:
        total = np.stack([np.bincount(member, column) for column in values.T], axis=1)
        return np.asarray((total / size[:, None])[member])

    mean_x, mean_y = means(x), means(y[:, None])[:, 0]

    def solve(ratio: float) -> tuple[Values, Values, float]:
        """Slopes, their covariance over the residual variance, and the residual variance."""
        taken = (1 - 1 / np.sqrt(1 + ratio * size))[member]
        a, b = x - taken[:, None] * mean_x, y - taken * mean_y
        covariance = np.linalg.pinv(a.T @ a)
        slopes = covariance @ (a.T @ b)
        return slopes, covariance, float(((b - a @ slopes) ** 2).sum()) / (y.size - rank)

    def deviance(ratio: float) -> float:
        """-2 log of the restricted likelihood, up to a constant."""
        _, covariance, variance = solve(ratio)
        spread = np.linalg.svd(covariance, compute_uv=False)[:rank]
        return float(
            (y.size - rank) * math.log(max(variance, 1e-300))
            + np.log1p(ratio * size).sum()
            - np.log(spread).sum()
        )

    found = optimize.minimize_scalar(
        lambda log_ratio: deviance(math.expm1(log_ratio)),
        bounds=(0.0, math.log1p(_LARGEST_RATIO)),
        method="bounded",
        options={"xatol": 1e-8},
    )
    ratio = math.expm1(float(found.x))
    if deviance(0.0) <= deviance(ratio):
        ratio = 0.0
    slopes, covariance, variance = solve(ratio)
    slope, error = float(slopes[0]), math.sqrt(max(float(covariance[0, 0]) * variance, 0.0))
    reach = float(stats.t.ppf(0.975, within)) * error
    return RandomIntercept(
        slope=slope,
        interval=(slope - reach, slope + reach),
        p=float(2 * stats.t.sf(abs(slope) / error, within)) if error > 0 else 0.0,
        subject_sd=math.sqrt(ratio * variance),
        residual_sd=math.sqrt(variance),
        subjects=int(names.size),
        count=int(y.size),
    )
