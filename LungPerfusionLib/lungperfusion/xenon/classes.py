"""Classes of healthy people for each map, and what RBC:membrane is expected to be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.terms.xenon import RBC_MEMBRANE_BY_AGE, ReferenceSet
from lungperfusion.volume import Mask

Sex = Literal["female", "male"]
Scale = Literal["percentile", "mean"]

RBC_CLASSES = ("defect", "low", "normal", "normal", "normal", "high")
VENTILATION_CLASSES = RBC_CLASSES
MEMBRANE_CLASSES = (*RBC_CLASSES[:5], "high", "high", "high")
"""What each class of a map is, from the lowest values up."""

IMPAIRED = 2
"""Classes up to this number are defect and low."""

_PERCENTILE = 99.0


def classify(values: NDArray[Any], inside: Mask, limits: tuple[float, ...]) -> NDArray[np.uint8]:
    """Give every voxel the number of its class from 1; a value on a limit is in the one above.

    0 is outside.

    Examples
    --------
    >>> classify(np.array([0.1, 0.5, 0.9]), np.array([True, True, False]), (0.2, 0.5)).tolist()
    [1, 3, 0]

    """
    found = np.digitize(values, limits).astype(np.uint8) + np.uint8(1)
    return np.where(inside, found, np.uint8(0))


def scaled_ventilation(
    signal: NDArray[Any], inside: Mask, scale: Scale = "percentile"
) -> NDArray[np.float32]:
    """Signal of the gas over its 99th percentile within the lungs, at most 1, or over its mean.

    Raises
    ------
    InputError
        If there is no signal within the lungs.

    """
    held = np.asarray(signal[inside], np.float64)
    level = float(np.percentile(held, _PERCENTILE) if scale == "percentile" else held.mean())
    if not level > 0:
        raise InputError("the ventilation map has no signal within the mask; check both belong")
    scaled = np.asarray(signal, np.float32) / np.float32(level)
    return np.asarray(
        np.minimum(scaled, np.float32(1)) if scale == "percentile" else scaled, np.float32
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """RBC:membrane that healthy people have."""

    mean: float
    sd: float
    words: str
    """Whose."""

    def z(self, value: float) -> float:
        """Distance of a value in standard deviations."""
        return (value - self.mean) / self.sd


def expected_rbc_membrane(
    reference: ReferenceSet, age_years: float | None, sex: Sex | None
) -> Expected:
    """Expect RBC:membrane by age and sex where both are known, else the reference set's mean.

    Examples
    --------
    >>> from lungperfusion.terms.xenon import REFERENCE_SETS
    >>> round(expected_rbc_membrane(REFERENCE_SETS["218"], 50.0, "male").mean, 4)
    0.5463

    """
    mean, sd = reference.rbc_membrane
    if age_years is None or sex is None or math.isnan(age_years):
        return Expected(mean=mean, sd=sd, words=f"healthy people, {reference.name}")
    constant, per_year, man = RBC_MEMBRANE_BY_AGE
    mean = constant + per_year * age_years + (man if sex == "male" else 0.0)
    words = f"healthy {'men' if sex == 'male' else 'women'} of {age_years:g} years"
    return Expected(mean=mean, sd=sd, words=words)
