"""Ratio maps from signals, and what corrects them: flip angles, decay, haemoglobin, volume.

Every correction but those of the acquisition is off unless its input is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lungperfusion.errors import InputError
from lungperfusion.terms.xenon import (
    ALVEOLAR_VOLUME_FACTOR,
    HAEMOGLOBIN_MEMBRANE,
    HAEMOGLOBIN_NORMAL_G_DL,
    HAEMOGLOBIN_RBC,
    KCO_MEMBRANE,
    KCO_RBC,
    T2STAR_GAS_MS,
    T2STAR_MEMBRANE_3T_MS,
    T2STAR_RBC_3T_MS,
    VOLUME_SLOPE_MEMBRANE,
    VOLUME_SLOPE_RBC,
)

HAEMOGLOBIN_RANGE_G_DL = (3.0, 25.0)
"""Values outside were given in another unit (g/L, mmol/L)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Acquisition:
    """How gas and dissolved xenon were excited and read."""

    gas_flip_degrees: float
    dissolved_flip_degrees: float
    echo_time_ms: float
    field_t: float = 3.0

    def __post_init__(self) -> None:
        """Refuse what no scanner does."""
        for words, value, low, high in (
            ("flip angle of the gas, degrees", self.gas_flip_degrees, 0.01, 90.0),
            ("flip angle of dissolved xenon, degrees", self.dissolved_flip_degrees, 0.1, 90.0),
            ("echo time, ms", self.echo_time_ms, 0.0, 20.0),
            ("field strength, T", self.field_t, 0.1, 12.0),
        ):
            if not low <= value <= high:
                raise InputError(
                    f"the {words}, was given as {value:g}; expected are {low:g} to {high:g}"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Factors:
    """What RBC:gas and membrane:gas are multiplied by, and why."""

    rbc: float = 1.0
    membrane: float = 1.0
    applied: Mapping[str, tuple[float, float]] = MappingProxyType({})
    """Factors (RBC, membrane) of each correction that was made, by its name."""

    def times(self, name: str, rbc: float, membrane: float) -> Factors:
        """Add a correction."""
        applied = {**self.applied, name: (rbc, membrane)}
        return Factors(
            rbc=self.rbc * rbc,
            membrane=self.membrane * membrane,
            applied=MappingProxyType(applied),
        )


NO_CORRECTION = Factors()


def flip_factor(gas_degrees: float, dissolved_degrees: float, *, rounded: bool = False) -> float:
    """Signal that gas loses to its smaller flip angle, sin gas / sin dissolved.

    Parameters
    ----------
    gas_degrees, dissolved_degrees
        Flip angles.
    rounded
        Round to three decimals, as the open pipeline does: at 0.5 and 20 degrees that is 1.9 % too
        much, and its classes were made so.

    """
    factor = math.sin(math.radians(gas_degrees)) / math.sin(math.radians(dissolved_degrees))
    return round(factor, 3) if rounded else factor


def decay_factor(echo_time_ms: float, t2star_3t_ms: float, field_t: float = 3.0) -> float:
    """Signal of dissolved xenon that decayed until the echo, over that of the gas.

    Examples
    --------
    >>> round(decay_factor(0.47, T2STAR_RBC_3T_MS), 3)
    1.528
    >>> round(decay_factor(0.47, T2STAR_MEMBRANE_3T_MS), 3)
    1.567

    """
    t2star_ms = t2star_3t_ms * 3.0 / field_t
    return math.exp(echo_time_ms / t2star_ms) / math.exp(echo_time_ms / T2STAR_GAS_MS)


def acquisition_factors(acquisition: Acquisition, *, rounded: bool = False) -> Factors:
    """Factors that turn ratios of signals into ratios of magnetisation."""
    flip = flip_factor(
        acquisition.gas_flip_degrees, acquisition.dissolved_flip_degrees, rounded=rounded
    )
    rbc, membrane = (
        decay_factor(acquisition.echo_time_ms, t2star, acquisition.field_t)
        for t2star in (T2STAR_RBC_3T_MS, T2STAR_MEMBRANE_3T_MS)
    )
    return NO_CORRECTION.times("flip_angles", flip, flip).times("decay", rbc, membrane)


def haemoglobin_factors(haemoglobin_g_dl: float) -> tuple[float, float]:
    """Bring RBC:gas and membrane:gas to a haemoglobin of 14 g/dL (Bechtel 2023).

    Raises
    ------
    InputError
        If the value is no haemoglobin in g/dL.

    Examples
    --------
    >>> [round(factor, 3) for factor in haemoglobin_factors(10.0)]
    [1.285, 0.947]

    """
    low, high = HAEMOGLOBIN_RANGE_G_DL
    if not low <= haemoglobin_g_dl <= high:
        raise InputError(
            f"haemoglobin was given as {haemoglobin_g_dl:g}; expected are g/dL from {low:g} to "
            f"{high:g} (g/L divided by 10, mmol/L times 1.61)"
        )
    normal, (rise, fall) = HAEMOGLOBIN_NORMAL_G_DL, HAEMOGLOBIN_MEMBRANE
    rbc = HAEMOGLOBIN_RBC + normal * (1 - HAEMOGLOBIN_RBC) / haemoglobin_g_dl
    membrane = (1 + rise * haemoglobin_g_dl) / (
        1 + rise * normal - fall * (normal - haemoglobin_g_dl)
    )
    return rbc, membrane


def volume_factors(volume_l: float, wanted_l: float) -> tuple[float, float]:
    """Bring RBC:gas and membrane:gas to another lung volume (open pipeline)."""
    return (
        _volume_factor(volume_l, wanted_l, VOLUME_SLOPE_RBC),
        _volume_factor(volume_l, wanted_l, VOLUME_SLOPE_MEMBRANE),
    )


def _volume_factor(volume_l: float, wanted_l: float, slope: float) -> float:
    return (volume_l * (1 + slope) + wanted_l * (1 - slope)) / (
        volume_l * (1 - slope) + wanted_l * (1 + slope)
    )


def kco_estimate(
    membrane_mean: float, rbc_mean: float, healthy_means: tuple[float, float]
) -> float:
    """KCO in mL/min/mmHg/L out of the mean ratios of the ventilated lung; NaN where there is none.

    Parameters
    ----------
    membrane_mean, rbc_mean
        Mean ratios to gas, as fractions.
    healthy_means
        The same of healthy people: membrane, RBC.

    Examples
    --------
    >>> round(kco_estimate(0.0089, 0.00455, (0.0089, 0.00455)), 2)
    5.59

    """
    if min(membrane_mean, rbc_mean, *healthy_means) <= 0:
        return math.nan
    membrane = membrane_mean / healthy_means[0]
    membrane = 1 / membrane if membrane > 1 else membrane  # a thick membrane hinders, too
    rbc = rbc_mean / healthy_means[1]
    return 1 / (1 / (KCO_MEMBRANE * membrane) + 1 / (KCO_RBC * rbc))


def alveolar_volume_l(volume_l: float, defect_share: float) -> float:
    """Alveolar volume out of the volume of the mask and the share without ventilation.

    Examples
    --------
    >>> round(alveolar_volume_l(3.4, 0.0), 2)
    5.37

    """
    return ALVEOLAR_VOLUME_FACTOR * volume_l * (1 - defect_share)
