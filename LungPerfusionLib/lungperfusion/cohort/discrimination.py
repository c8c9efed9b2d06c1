"""How well a score tells cases with an outcome from those without."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungperfusion.cohort.comparisons import CONFIDENCE, delong, seed_of, wilson
from lungperfusion.cohort.libraries import library

Values = NDArray[np.float64]
Answers = NDArray[np.int64]

FOLDS = 5
REPEATS = 20
"""Repeated stratified k-fold: every case is predicted by models that never saw it."""

EVENTS_PER_PARAMETER = 10
"""Fewer events make a model unstable (Peduzzi 1996, J Clin Epidemiol 49:1373)."""

FEWEST_PER_CLASS = 5
"""Fewer cases of either outcome cannot be cross-validated."""

_NO_PENALTY = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """What a cut-off does; with its intervals by Wilson."""

    rule: str
    cut_off: float
    sensitivity: float
    sensitivity_low: float
    sensitivity_high: float
    specificity: float
    specificity_low: float
    specificity_high: float
    true_positive: int
    positives: int
    true_negative: int
    negatives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Outcome's logit on the predicted one: 1 and 0 when calibrated, below 1 when overfitted."""

    slope: float = math.nan
    slope_low: float = math.nan
    slope_high: float = math.nan
    intercept: float = math.nan
    intercept_low: float = math.nan
    intercept_high: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrimination:
    """Area under the curve, operating points, and what is left of them on unseen cases."""

    count: int
    positives: int
    higher_is_positive: bool = True
    auc: float = math.nan
    auc_low: float = math.nan
    auc_high: float = math.nan
    curve: tuple[tuple[float, float], ...] = ()
    """Points (1 - specificity, sensitivity)."""
    points: tuple[OperatingPoint, ...] = ()
    unseen_sensitivity: float = math.nan
    """Of the best cut-off of the other folds, mean over repeats."""
    unseen_specificity: float = math.nan
    calibration: Calibration = Calibration()
    caution: str = ""
    reason: str = ""


def discriminate(
    score: Values, answer: Answers, cut_offs: tuple[float, ...] = ()
) -> Discrimination:
    """Receiver operating characteristic of one score.

    Parameters
    ----------
    score
        Without NaN.
    answer
        0 and 1.
    cut_offs
        Further operating points, in the unit of the score.

    """
    positives = int(answer.sum())
    smaller = min(positives, answer.size - positives)
    if smaller < 2:
        return Discrimination(
            count=answer.size, positives=positives, reason="an outcome has fewer than two cases"
        )
    metrics = library("sklearn.metrics")
    higher = bool(metrics.roc_auc_score(answer, score) >= 0.5)
    turned = score if higher else -score
    auc, low, high = delong(turned[answer == 1], turned[answer == 0])
    false_positive, true_positive, _ = metrics.roc_curve(answer, turned)
    points = [_point("Youden", _youden(turned, answer), turned, answer)]
    points += [_point("given", cut if higher else -cut, turned, answer) for cut in cut_offs]
    unseen, fitted = (math.nan, math.nan), Calibration()
    if smaller >= FEWEST_PER_CLASS:
        unseen, fitted = _on_unseen(turned, answer, smaller)
    caution = ""
    if smaller < EVENTS_PER_PARAMETER:
        caution = (
            f"Only {smaller} cases have the rarer outcome: fewer than {EVENTS_PER_PARAMETER} per "
            "parameter, so that cut-offs and calibration are unstable."
        )
    return Discrimination(
        count=answer.size,
        positives=positives,
        higher_is_positive=higher,
        auc=auc,
        auc_low=low,
        auc_high=high,
        curve=tuple(zip(map(float, false_positive), map(float, true_positive), strict=True)),
        points=tuple(points if higher else map(_turned_back, points)),
        unseen_sensitivity=unseen[0],
        unseen_specificity=unseen[1],
        calibration=fitted,
        caution=caution,
    )


def _youden(score: Values, answer: Answers) -> float:
    """Cut-off with the largest sum of sensitivity and specificity; at or above is positive."""
    false_positive, true_positive, cuts = library("sklearn.metrics").roc_curve(answer, score)
    best = int(np.argmax(true_positive - false_positive))
    return float(cuts[best]) if math.isfinite(cuts[best]) else float(score.max())


def _point(rule: str, cut_off: float, score: Values, answer: Answers) -> OperatingPoint:
    positive = score >= cut_off
    hits, kept = int((positive & (answer == 1)).sum()), int((~positive & (answer == 0)).sum())
    positives = int(answer.sum())
    negatives = answer.size - positives
    sensitivity, specificity = wilson(hits, positives), wilson(kept, negatives)
    return OperatingPoint(
        rule=rule,
        cut_off=cut_off,
        sensitivity=hits / positives,
        sensitivity_low=sensitivity[0],
        sensitivity_high=sensitivity[1],
        specificity=kept / negatives,
        specificity_low=specificity[0],
        specificity_high=specificity[1],
        true_positive=hits,
        positives=positives,
        true_negative=kept,
        negatives=negatives,
    )


def _turned_back(point: OperatingPoint) -> OperatingPoint:
    values = {name: getattr(point, name) for name in OperatingPoint.__slots__}
    return OperatingPoint(**{**values, "cut_off": -point.cut_off})


def _on_unseen(
    score: Values, answer: Answers, smaller: int
) -> tuple[tuple[float, float], Calibration]:
    """Sensitivity, specificity and calibration by repeated stratified k-fold."""
    selection, linear = library("sklearn.model_selection"), library("sklearn.linear_model")
    folds = selection.RepeatedStratifiedKFold(
        n_splits=min(FOLDS, smaller), n_repeats=REPEATS, random_state=seed_of(score) % 2**32
    )
    hits, predicted = np.zeros(answer.size), np.zeros(answer.size)
    scaled = ((score - score.mean()) / (score.std() or 1.0))[:, None]
    for learn, test in folds.split(scaled, answer):
        hits[test] += score[test] >= _youden(score[learn], answer[learn])
        model = linear.LogisticRegression(C=_NO_PENALTY, solver="newton-cholesky")
        model.fit(scaled[learn], answer[learn])
        predicted[test] += model.predict_proba(scaled[test])[:, 1]
    hits, predicted = hits / REPEATS, predicted / REPEATS
    unseen = float(hits[answer == 1].mean()), float(1 - hits[answer == 0].mean())
    return unseen, calibration(answer, predicted)


def calibration(answer: Answers, probability: Values) -> Calibration:
    """Slope and intercept with intervals; NaN where probabilities part the outcomes wholly."""
    model = library("statsmodels.api")
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    logit = np.log(clipped / (1 - clipped))
    if np.ptp(logit) == 0 or min(answer.sum(), answer.size - answer.sum()) == 0:
        return Calibration()
    if logit[answer == 1].min() > logit[answer == 0].max():
        return Calibration()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # separation is looked for above
        found = model.GLM(answer, model.add_constant(logit), family=model.families.Binomial()).fit()
    intercept_ends, slope_ends = found.conf_int(1 - CONFIDENCE)
    return Calibration(
        slope=float(found.params[1]),
        slope_low=float(slope_ends[0]),
        slope_high=float(slope_ends[1]),
        intercept=float(found.params[0]),
        intercept_low=float(intercept_ends[0]),
        intercept_high=float(intercept_ends[1]),
    )
