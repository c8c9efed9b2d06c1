"""Lobes of many patients: they are not independent, and large lobes are large in everybody.

A pooled correlation of shares comes with the one that lobe size alone would give, and with a linear
mixed model in which patients are a random effect.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, stats

from lungperfusion.cohort.comparisons import CONFIDENCE
from lungperfusion.cohort.libraries import library
from lungperfusion.errors import InputError
from lungperfusion.vq.comparison import Agreement, agree

FEWEST_SUBJECTS = 3


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

    Restricted maximum likelihood by statsmodels.

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
    rank = int(np.linalg.matrix_rank(x))
    count = len(set(subjects))
    within = y.size - count - (rank - 1)
    if count < FEWEST_SUBJECTS or within < 1:
        raise InputError(
            f"a model with {rank - 1} predictors and a random effect needs at least three subjects "
            f"and more rows than {count} subjects and the predictors take, not {y.size}"
        )
    if int(np.linalg.matrix_rank(x[:, 1:])) == rank:
        raise InputError("the first predictor follows from the others, so it has no slope")
    _, _, order = linalg.qr(x[:, 1:], mode="economic", pivoting=True)
    kept = [0, *sorted(1 + n for n in order[: rank - 1])]
    mixed = library("statsmodels.regression.mixed_linear_model")
    model = mixed.MixedLM(y, x[:, kept], groups=np.asarray(subjects))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance at its border 0 is a finding, no failure
        found = model.fit(reml=True, method=["powell"])  # the others stall at the border
        slope, error = float(found.fe_params[0]), float(found.bse_fe[0])
    if not math.isfinite(error):
        raise InputError("the slope has no standard error: the rows tell too little of it")
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, within)) * error
    return RandomIntercept(
        slope=slope,
        interval=(slope - reach, slope + reach),
        p=float(2 * stats.t.sf(abs(slope) / error, within)) if error > 0 else 0.0,
        subject_sd=math.sqrt(max(float(found.cov_re[0, 0]), 0.0)),
        residual_sd=math.sqrt(float(found.scale)),
        subjects=count,
        count=int(y.size),
    )


def agree_by_region(
    rows: Sequence[Mapping[str, Any]], *, ct: str, reference: str, volume: str
) -> dict[str, Agreement]:
    """Agreement within each region over patients, and ``"all"`` pooled.

    Parameters
    ----------
    rows
        One per region and patient, with a ``region`` column.
    ct, reference, volume
        Columns with shares in %.

    """
    chosen: dict[str, list[Mapping[str, Any]]] = {"all": list(rows)}
    for row in rows:
        chosen.setdefault(str(row["region"]), []).append(row)
    out = {}
    for name, members in chosen.items():
        if len(members) >= 3:
            columns = [[float(row[key]) for row in members] for key in (ct, reference, volume)]
            out[name] = agree(*columns)
    return out


def agree_within_patients(
    rows: Sequence[Mapping[str, Any]], *, ct: str, reference: str, volume: str
) -> RandomIntercept:
    """Ask what the CT tells of the reference beyond which region it is and how large it is.

    Mixed model with a random effect of the patient: share of the reference on that of the CT, with
    the volume share and one constant per region held fixed.  The slope is 1 where both agree, and 0
    where only the usual sizes of lobes make them look alike.

    Parameters
    ----------
    rows
        One per region and patient, with the columns ``region`` and ``case``.
    ct, reference, volume
        Columns with shares in %.

    Raises
    ------
    InputError
        If there are too few patients, or the shares of the CT follow from the region.

    """
    regions = sorted({str(row["region"]) for row in rows})[1:]
    shares = [[float(row[key]) for row in rows] for key in (ct, volume)]
    constants = [[float(str(row["region"]) == region) for row in rows] for region in regions]
    return fit_random_intercept(
        [float(row[reference]) for row in rows],
        [*shares, *constants],
        [str(row["case"]) for row in rows],
    )
