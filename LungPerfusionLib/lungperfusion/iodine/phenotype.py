"""Lung function strata and the "isolated low DLCO" pattern of the iodine letter.

Patterns are findings to discuss, not diagnoses.  A condition that cannot be checked is unknown,
and a pattern with an unknown condition is never "met".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lungperfusion.errors import InputError
from lungperfusion.iodine.signs import NORMAL_RATIO_BELOW

Answer = Literal["met", "not met", "unknown"]

LOW_PERCENT_PREDICTED = 80.0
"""FVC and haemoglobin-corrected DLCO below 80 % predicted are low (iodine letter, strata)."""

QANADLI_NORMAL_BELOW_PERCENT = 1.0
"""An obstruction index below 1 is no obstruction (iodine letter, Table 1 strata)."""

GGO_NORMAL_PERCENT = (3.9 - 2 * 0.58, 3.9 + 2 * 0.58)
"""Ground glass within mean +/- 2 SD of the letter's normal values (3.9 +/- 0.58 %)."""

PERCENT_PREDICTED_RANGE = (5.0, 250.0)
"""Values outside are no % predicted: a fraction or litres were given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LungFunction:
    """Lung function in % of predicted; None for what was not measured.

    Raises
    ------
    InputError
        For values that cannot be % predicted.

    """

    fvc: float | None = None
    fev1: float | None = None
    tlc: float | None = None
    dlco_c: float | None = None
    """Transfer factor for carbon monoxide, corrected for haemoglobin."""
    kco_c: float | None = None

    def __post_init__(self) -> None:
        """Check the range of every value."""
        low, high = PERCENT_PREDICTED_RANGE
        for name in ("fvc", "fev1", "tlc", "dlco_c", "kco_c"):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InputError(
                    f"{name} must be in % of predicted ({low:g} to {high:g}), not {value}; "
                    "0.85 of predicted is written 85"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class CtFindings:
    """What the CT adds to the pattern; None for what is not known."""

    qanadli_percent: float | None = None
    ggo_percent: float | None = None
    pa_ao_ratio: float | None = None
    rv_lv_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a pattern and how this patient answers it."""

    text: str
    answer: Answer
    value: float | None


@dataclass(frozen=True, slots=True)
class Pattern:
    """A named pattern with its conditions."""

    name: str
    conditions: tuple[Condition, ...]
    note: str

    @property
    def answer(self) -> Answer:
        """``met`` only when every condition is; ``not met`` as soon as one is not."""
        answers = {condition.answer for condition in self.conditions}
        for answer in ("not met", "unknown"):
            if answer in answers:
                return answer
        return "met"


def stratum(function: LungFunction) -> str:
    """Name the letter's stratum, such as ``FVC >= 80 %, DLCOc < 80 %``; says what is unknown."""
    return ", ".join(
        f"{name} unknown"
        if value is None
        else f"{name} {'<' if value < LOW_PERCENT_PREDICTED else '>='} 80 %"
        for name, value in (("FVC", function.fvc), ("DLCOc", function.dlco_c))
    )


def isolated_low_dlco(function: LungFunction, ct: CtFindings) -> Pattern:
    """Check the letter's "isolated low DLCO": low transfer factor, everything else normal."""
    low, high = GGO_NORMAL_PERCENT
    return Pattern(
        "isolated low DLCO",
        (
            _below("DLCOc < 80 % predicted", function.dlco_c, LOW_PERCENT_PREDICTED),
            _at_least("FVC >= 80 % predicted", function.fvc, LOW_PERCENT_PREDICTED),
            _below("obstruction index < 1 %", ct.qanadli_percent, QANADLI_NORMAL_BELOW_PERCENT),
            _within(f"ground glass {low:.2f} to {high:.2f} %", ct.ggo_percent, low, high),
            _below("PA/Ao ratio < 1", ct.pa_ao_ratio, NORMAL_RATIO_BELOW),
            _below("RV/LV ratio < 1", ct.rv_lv_ratio, NORMAL_RATIO_BELOW),
        ),
        "Half of the letter's post-COVID-19 clinic cohort (39 of 78) showed it.",
    )


def gas_transfer_mismatch(function: LungFunction, ct: CtFindings) -> Pattern:
    """Check for low gas transfer with a normal scan and normal spirometry.

    Spirometry is normal when FVC and FEV1 reach 80 % predicted; the scan when ground glass and clot
    burden are normal.
    """
    low, high = GGO_NORMAL_PERCENT
    return Pattern(
        "gas transfer mismatch",
        (
            _below("DLCOc < 80 % predicted", function.dlco_c, LOW_PERCENT_PREDICTED),
            _at_least("FVC >= 80 % predicted", function.fvc, LOW_PERCENT_PREDICTED),
            _at_least("FEV1 >= 80 % predicted", function.fev1, LOW_PERCENT_PREDICTED),
            _within(f"ground glass {low:.2f} to {high:.2f} %", ct.ggo_percent, low, high),
            _below("obstruction index < 1 %", ct.qanadli_percent, QANADLI_NORMAL_BELOW_PERCENT),
        ),
        "A normal CT and normal spirometry do not measure gas transfer; a finding to discuss "
        "together with transfer factor or xenon MRI.",
    )


def _below(text: str, value: float | None, limit: float) -> Condition:
    return _condition(text, value, value is not None and value < limit)


def _at_least(text: str, value: float | None, limit: float) -> Condition:
    return _condition(text, value, value is not None and value >= limit)


def _within(text: str, value: float | None, low: float, high: float) -> Condition:
    return _condition(text, value, value is not None and low <= value <= high)


def _condition(text: str, value: float | None, holds: bool) -> Condition:
    return Condition(text, "unknown" if value is None else "met" if holds else "not met", value)
