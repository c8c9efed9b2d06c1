"""Logistic model with its validation and provenance: trained on a table, kept as readable JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lungperfusion.errors import InputError
from lungperfusion.naming import named

FOLDS = 5
REPEATS = 20
"""Repeated stratified k-fold: every case is predicted by models that never saw it."""

PENALTY = 1.0
"""Inverse strength C of the L2 penalty on standardised features."""

BOOTSTRAPS = 200
"""Draws behind an interval: enough for its second digit."""

LEAST_PER_CLASS = 5
"""Fewer cases of either outcome cannot be cross-validated."""

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class LogisticModel:
    """Probability of an outcome from features, ``1 / (1 + exp(-(a + sum b_k z_k)))``.

    ``z_k`` is feature k minus its mean, over its SD, both of the training table.
    """

    purpose: str
    features: tuple[str, ...]
    means: tuple[float, ...]
    sds: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    validation: Mapping[str, Any] = field(default_factory=dict)
    """Cross-validated figures; see `train`."""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def probability(self, values: Mapping[str, float]) -> float:
        """Probability for one case; NaN if a feature is missing."""
        row = [float(values.get(name, math.nan)) for name in self.features]
        z = (np.array(row) - self.means) / self.sds
        logit = self.intercept + float(z @ np.array(self.coefficients))
        return math.nan if math.isnan(logit) else float(1 / (1 + np.exp(-np.clip(logit, -50, 50))))

    def to_json(self) -> str:
        """Readable text; the same model gives the same text."""
        record = {
            "format": FORMAT,
            "purpose": self.purpose,
            "notice": "Research software. Not for diagnosis.",
            "intercept": self.intercept,
            "features": [
                {"name": n, "mean": m, "sd": s, "coefficient": c}
                for n, m, s, c in zip(
                    self.features, self.means, self.sds, self.coefficients, strict=True
                )
            ],
            "validation": dict(self.validation),
            "provenance": dict(self.provenance),
        }
        return json.dumps(record, indent=1, ensure_ascii=False) + "\n"

    def require_purpose(self, purpose: str) -> None:
        """Refuse a model that was trained for something else.

        Raises
        ------
        InputError
            If it was.

        """
        if self.purpose != purpose:
            raise InputError(
                f"a model of {purpose} is needed; the given one was trained for {self.purpose}"
            )

    @classmethod
    def from_record(cls, record: Any) -> LogisticModel:
        """Make a model of what the JSON of `to_json` holds.

        Raises
        ------
        InputError
            If it is not such a model.

        """
        try:
            rows = record["features"]
            if record["format"] != FORMAT:
                raise InputError(
                    f"the model has format {record['format']}, this version reads {FORMAT}; "
                    "train it again"
                )
            model = cls(
                purpose=str(record["purpose"]),
                features=tuple(str(row["name"]) for row in rows),
                means=tuple(float(row["mean"]) for row in rows),
                sds=tuple(float(row["sd"]) for row in rows),
                coefficients=tuple(float(row["coefficient"]) for row in rows),
                intercept=float(record["intercept"]),
                validation=dict(record["validation"]),
                provenance=dict(record["provenance"]),
            )
            numbers = (model.intercept, *model.means, *model.sds, *model.coefficients)
            if not (all(map(math.isfinite, numbers)) and min(model.sds, default=0.0) > 0):
                raise ValueError("numbers that no training gives")
            return model
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                "the model file is not a model that `lungperfusion train` wrote "
                f"({type(error).__name__}: {named(error)}); train it again"
            ) from error


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
    try:
        from sklearn.model_selection import StratifiedGroupKFold
    except ImportError as error:
        raise InputError(
            "training needs scikit-learn; install it with pip install 'lungperfusion[cohort]'"
        ) from error

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
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + repeat)
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
    slope, intercept = _calibration(y, average)

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
        "sensitivity_interval": wilson_interval(true_positive, positives),
        "specificity": true_negative / negatives,
        "specificity_interval": wilson_interval(true_negative, negatives),
        "accuracy": (true_positive + true_negative) / len(y),
        "accuracy_interval": wilson_interval(true_positive + true_negative, len(y)),
        "brier": float(np.mean((average - y) ** 2)),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
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
    from sklearn.linear_model import LogisticRegression

    means, sds = x.mean(axis=0), x.std(axis=0)
    sds = np.where(sds > 0, sds, 1.0)
    z = (x - means) / sds
    used = np.ones(x.shape[1], np.bool_)
    coefficients = np.zeros(x.shape[1])
    while True:
        model = LogisticRegression(C=penalty, max_iter=1000).fit(np.where(used, z, 0), y)
        coefficients = np.where(used, model.coef_[0], 0)
        wrong = falling & (coefficients > 0)
        if not wrong.any():
            return _Fit(means, sds, coefficients, float(model.intercept_[0]))
        used &= ~wrong


def area_under_curve(outcome: NDArray[np.int64], score: NDArray[np.float64]) -> float:
    """Chance that a case scores above a non-case, ties half (Mann-Whitney U)."""
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


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> list[float]:
    """95 % interval of a proportion (Wilson 1927)."""
    if trials == 0:
        return [0.0, 1.0]
    share = successes / trials
    centre = share + z**2 / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    whole = 1 + z**2 / trials
    return [max(0.0, (centre - half) / whole), min(1.0, (centre + half) / whole)]


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


def _calibration(y: NDArray[np.int64], p: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept of the outcome's logit on the predicted one.

    1 and 0 when calibrated; a slope below 1 means overfitted.
    """
    from sklearn.linear_model import LogisticRegression

    clipped = np.clip(p, 1e-6, 1 - 1e-6)
    logit = np.log(clipped / (1 - clipped))[:, None]
    found = LogisticRegression(C=1e6, max_iter=1000).fit(logit, y)
    return float(found.coef_[0, 0]), float(found.intercept_[0])
