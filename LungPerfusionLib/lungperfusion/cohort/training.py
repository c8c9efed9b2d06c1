"""Training of a logistic model on a table of cases with known answers, with its validation."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lungperfusion.cohort.comparisons import wilson
from lungperfusion.cohort.discrimination import FOLDS, REPEATS, calibration
from lungperfusion.cohort.libraries import library
from lungperfusion.errors import InputError
from lungperfusion.naming import named
from lungperfusion.vq.model import LogisticModel

PENALTY = 1.0
"""Inverse strength C of the L2 penalty on standardised features."""

BOOTSTRAPS = 200
"""Draws behind an interval: enough for its second digit."""

LEAST_PER_CLASS = 5
"""Fewer cases of either outcome cannot be cross-validated."""


def train(
    rows: Sequence[Mapping[str, Any]],
    *,
    outcome: str,
    features: Sequence[str],
    purpose: str,
    decreasing: Collection[str] = (),
    group: str = "case",
    folds: int = FOLDS,
    repeats: int = REPEATS,
    penalty: float = PENALTY,
    seed: int = 0,
) -> LogisticModel:
    """Fit a logistic model to cases with known answers and cross-validate it.

    Parameters
    ----------
    rows
        One mapping per case.
    outcome
        Column with 0 and 1.
    features
        Columns to predict from, in this order.
    purpose
        ``"collateral ventilation"`` or ``"perfusion defect"``.
    decreasing
        Features that can only make the outcome less likely.  One whose coefficient would come out
        positive gets 0: that is the best fit under the constraint.
    group
        Column that names the patient: rows of one patient never fall into different folds, where
        the model would know them again.
    folds, repeats, penalty, seed
        Of the repeated stratified cross-validation and the L2 penalty.

    Returns
    -------
    LogisticModel
        ``validation`` holds ``auc``, the mean over the folds, each scored on its own, and from
        out-of-fold predictions averaged over the repeats ``sensitivity``, ``specificity`` and
        ``accuracy`` at a probability of 0.5, each with a 95 % interval (``auc_interval``:
        bootstrap of patients; the others: Wilson), ``brier``, ``calibration_slope`` and
        ``calibration_intercept``, and the in-sample ``auc_in_sample`` for contrast.

    Raises
    ------
    InputError
        If columns are missing, values are no numbers, or an outcome has fewer than
        `LEAST_PER_CLASS` cases.

    """
    selection = library("sklearn.model_selection")
    x, y = _table(rows, outcome, features)
    smallest = int(min(y.sum(), len(y) - y.sum()))
    if smallest < LEAST_PER_CLASS:
        raise InputError(
            f"training needs at least {LEAST_PER_CLASS} cases of either outcome; the table has "
            f"{int(y.sum())} with {outcome} = 1 and {int(len(y) - y.sum())} with 0"
        )
    groups = _groups(rows, group)
    folds = min(folds, smallest, len(set(groups)))

    falling = np.array([name in decreasing for name in features])
    predicted = np.zeros((repeats, len(y)))
    fold_of = np.zeros((repeats, len(y)), np.int64)
    for repeat in range(repeats):
        splitter = selection.StratifiedGroupKFold(folds, shuffle=True, random_state=seed + repeat)
        for number, (learn, test) in enumerate(splitter.split(x, y, groups)):
            if len(np.unique(y[learn])) < 2:
                raise InputError(
                    f"too few patients have either outcome to train on {folds - 1} of {folds} "
                    "parts of them; add patients, or give fewer --folds"
                )
            fold_of[repeat, test] = number
            predicted[repeat, test] = _fit(x[learn], y[learn], penalty, falling).predict(x[test])
    average = predicted.mean(axis=0)
    fit = _fit(x, y, penalty, falling)
    calibrated = calibration(y, average)

    positive = average >= 0.5
    true_positive, true_negative = (
        int((positive & (y == 1)).sum()),
        int((~positive & (y == 0)).sum()),
    )
    positives, negatives = int(y.sum()), int(len(y) - y.sum())
    validation = {
        "cases": len(y),
        "positive": positives,
        "patients": len(set(groups)),
        "repeated_rows": len(x) - len(np.unique(x, axis=0)),
        "method": f"{repeats} x stratified {folds}-fold, grouped by {group}, scored per fold",
        "auc": _auc_per_fold(y, predicted, fold_of),
        "auc_interval": _bootstrap_auc(y, predicted, fold_of, groups, seed),
        "auc_in_sample": area_under_curve(y, fit.predict(x)),
        "sensitivity": true_positive / positives,
        "sensitivity_interval": _wilson(true_positive, positives),
        "specificity": true_negative / negatives,
        "specificity_interval": _wilson(true_negative, negatives),
        "accuracy": (true_positive + true_negative) / len(y),
        "accuracy_interval": _wilson(true_positive + true_negative, len(y)),
        "brier": float(np.mean((average - y) ** 2)),
        "calibration_slope": _known(calibrated.slope),
        "calibration_slope_interval": [
            _known(calibrated.slope_low),
            _known(calibrated.slope_high),
        ],
        "calibration_intercept": _known(calibrated.intercept),
    }
    return LogisticModel(
        purpose=purpose,
        features=tuple(features),
        means=tuple(float(v) for v in fit.means),
        sds=tuple(float(v) for v in fit.sds),
        coefficients=tuple(float(v) for v in fit.coefficients),
        intercept=fit.intercept,
        validation=validation,
        provenance={
            "penalty": penalty,
            "seed": seed,
            "outcome": outcome,
            "decreasing": sorted(set(decreasing) & set(features)),
        },
    )


@dataclass(frozen=True, eq=False)
class _Fit:
    means: NDArray[np.float64]
    sds: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    intercept: float

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        logit = (x - self.means) / self.sds @ self.coefficients + self.intercept
        return np.asarray(1 / (1 + np.exp(-logit)))


def _fit(
    x: NDArray[np.float64], y: NDArray[np.int64], penalty: float, falling: NDArray[np.bool_]
) -> _Fit:
    linear = library("sklearn.linear_model")
    means, sds = x.mean(axis=0), x.std(axis=0)
    sds = np.where(sds > 0, sds, 1.0)
    z = (x - means) / sds
    used = np.ones(x.shape[1], np.bool_)
    coefficients = np.zeros(x.shape[1])
    while True:
        model = linear.LogisticRegression(C=penalty, max_iter=1000).fit(np.where(used, z, 0), y)
        coefficients = np.where(used, model.coef_[0], 0)
        wrong = falling & (coefficients > 0)
        if not wrong.any():
            return _Fit(means, sds, coefficients, float(model.intercept_[0]))
        used &= ~wrong


def area_under_curve(outcome: NDArray[np.int64], score: NDArray[np.float64]) -> float:
    """Chance that a case scores above a non-case, ties half (Mann-Whitney U).

    By ranks: the functions of scipy and scikit-learn take too long to be called for every fold of
    every bootstrap draw.
    """
    positives = int(outcome.sum())
    ranks = stats.rankdata(score)[outcome == 1].sum()
    return float(
        (ranks - positives * (positives + 1) / 2) / (positives * (len(outcome) - positives))
    )


def _table(
    rows: Sequence[Mapping[str, Any]], outcome: str, features: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    if not rows:
        raise InputError("the training table has no rows")
    lacking = [name for name in (outcome, *features) if name not in rows[0]]
    if lacking:
        raise InputError(f"the training table lacks the columns {', '.join(lacking)}")
    try:
        x = np.array([[float(row[name]) for name in features] for row in rows])
        y = np.array([float(row[outcome]) for row in rows])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the training table holds a value that is no number: {named(error)}"
        ) from error
    if not np.isfinite(x).all():
        bad = [
            name
            for name, good in zip(features, np.isfinite(x).all(axis=0), strict=True)
            if not good
        ]
        raise InputError(
            f"the columns {', '.join(bad)} have empty values; fill or leave out the rows"
        )
    if not np.isin(y, (0, 1)).all():
        raise InputError(f"the column {outcome} must hold 0 and 1 only")
    return x, y.astype(np.int64)


def _known(value: float) -> float | None:
    """Value as JSON can hold it: none where the predictions part the outcomes wholly."""
    return None if math.isnan(value) else value


def _wilson(successes: int, trials: int) -> list[float]:
    return list(wilson(successes, trials))


def _groups(rows: Sequence[Mapping[str, Any]], group: str) -> list[str]:
    """Patient of every row."""
    if group not in rows[0]:
        raise InputError(
            f"the training table needs a column {group!r} that names the patient of each row, so "
            "that none is learnt from and tested on; add it, or name another column with --group"
        )
    return [str(row[group]) for row in rows]


def _auc_per_fold(
    y: NDArray[np.int64],
    predicted: NDArray[np.float64],
    fold_of: NDArray[np.int64],
    chosen: NDArray[np.int64] | None = None,
) -> float:
    """Mean over folds that hold both outcomes: predictions of different models are not ranked."""
    chosen = np.arange(len(y)) if chosen is None else chosen
    values = []
    for scores, folds in zip(predicted[:, chosen], fold_of[:, chosen], strict=True):
        for fold in np.unique(folds):
            inside = folds == fold
            known = y[chosen][inside]
            if 0 < known.sum() < len(known):
                values.append(area_under_curve(known, scores[inside]))
    return float(np.mean(values)) if values else math.nan


def _bootstrap_auc(
    y: NDArray[np.int64],
    predicted: NDArray[np.float64],
    fold_of: NDArray[np.int64],
    groups: Sequence[str],
    seed: int,
) -> list[float]:
    """Interval over patients drawn with replacement, each with all of their rows."""
    rng = np.random.default_rng(seed)
    _, patient = np.unique(groups, return_inverse=True)
    rows_of = [np.flatnonzero(patient == number) for number in range(patient.max() + 1)]
    values = []
    for _ in range(BOOTSTRAPS):
        drawn = rng.integers(0, len(rows_of), len(rows_of))
        value = _auc_per_fold(y, predicted, fold_of, np.concatenate([rows_of[n] for n in drawn]))
        if math.isfinite(value):
            values.append(value)
    return [float(v) for v in np.quantile(values, [0.025, 0.975])] if values else [0.0, 1.0]
