"""Lung function strata and the "isolated low DLCO" pattern of the iodine letter.

Patterns are findings to discuss, not diagnoses.  A condition that cannot be checked is unknown,
and a pattern with an unknown condition is never "met".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lungperfusion.errors import InputError
from lungperfusion.iodine.signs import NORMAL_RATIO_BELOW
from lungperfusion.terms.lung_function import LOW_PERCENT_PREDICTED, PERCENT_PREDICTED_RANGE

Answer = Literal["met", "not met", "unknown"]

QANADLI_NORMAL_BELOW_PERCENT = 1.0
"""An obstruction index below 1 is no obstruction (iodine letter, Table 1 strata)."""

GGO_AT_MOST_PERCENT = 3.9 + 2 * 0.58
"""No parenchymal disease: ground glass up to mean + 2 SD of the normal values of the letter
(3.9 +/- 0.58 %).  Less of it is no disease.  The letter's workstation does not publish its
definition; that of this project reads 0.2 % in clean lung (phantom), so the limit is lenient."""

RV_LV_AT_MOST = 1.04 + 2 * 0.23
"""The letter says that none of its patients had CT features of pulmonary hypertension, prints their
RV/LV ratio as 1.04 +/- 0.23 and "normal < 1" beside it.  Both cannot hold: 57 % of a normal
distribution like that lie at 1 or above.  The rule follows the statement on the patients: up to
mean + 2 SD of this cohort is no suggestion of pulmonary hypertension."""

_COUNT = (
    "The 39 of 78 patients of the letter are all with FVC >= 80 % and DLCOc < 80 % predicted (its "
    "Table 1); how many of them meet each condition on CT it does not say."
)
_RATIO = (
    "RV/LV: the letter prints normal < 1 beside 1.04 ± 0.23 in patients it calls free of CT "
    "features of pulmonary hypertension; the limit here is that cohort's mean + 2 SD."
)
_GROUND_GLASS = (
    "Ground glass: the limit is mean + 2 SD of normal values of another, unpublished definition."
)


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


def stratum_code(function: LungFunction) -> int | None:
    """Code of the stratum: 0 both normal, 1 DLCOc low, 2 FVC low, 3 both; None if unknown."""
    if function.fvc is None or function.dlco_c is None:
        return None
    low_fvc, low_dlco = (v < LOW_PERCENT_PREDICTED for v in (function.fvc, function.dlco_c))
    return 2 * low_fvc + low_dlco


def isolated_low_dlco(function: LungFunction, ct: CtFindings) -> Pattern:
    """Check the letter's "isolated low DLCO": low transfer factor, everything else normal."""
    return Pattern(
        "isolated low DLCO",
        (
            _below("DLCOc < 80 % predicted", function.dlco_c, LOW_PERCENT_PREDICTED),
            _at_least("FVC >= 80 % predicted", function.fvc, LOW_PERCENT_PREDICTED),
            _below("obstruction index < 1 %", ct.qanadli_percent, QANADLI_NORMAL_BELOW_PERCENT),
            _ground_glass(ct),
            _below("PA/Ao ratio < 1", ct.pa_ao_ratio, NORMAL_RATIO_BELOW),
            _at_most(f"RV/LV ratio up to {RV_LV_AT_MOST:.2f}", ct.rv_lv_ratio, RV_LV_AT_MOST),
        ),
        f"{_COUNT} {_RATIO} {_GROUND_GLASS}",
    )


def gas_transfer_mismatch(function: LungFunction, ct: CtFindings) -> Pattern:
    """Check for low gas transfer with a normal scan and normal spirometry.

    Spirometry is normal when FVC and FEV1 reach 80 % predicted; the scan when ground glass and clot
    burden are normal.
    """
    return Pattern(
        "gas transfer mismatch",
        (
            _below("DLCOc < 80 % predicted", function.dlco_c, LOW_PERCENT_PREDICTED),
            _at_least("FVC >= 80 % predicted", function.fvc, LOW_PERCENT_PREDICTED),
            _at_least("FEV1 >= 80 % predicted", function.fev1, LOW_PERCENT_PREDICTED),
            _ground_glass(ct),
            _below("obstruction index < 1 %", ct.qanadli_percent, QANADLI_NORMAL_BELOW_PERCENT),
        ),
        "A normal CT and normal spirometry do not measure gas transfer; a finding to discuss "
        f"together with transfer factor or xenon MRI. {_GROUND_GLASS}",
    )


def _below(text: str, value: float | None, limit: float) -> Condition:
    return _condition(text, value, value is not None and value < limit)


def _at_least(text: str, value: float | None, limit: float) -> Condition:
    return _condition(text, value, value is not None and value >= limit)


def _at_most(text: str, value: float | None, limit: float) -> Condition:
    return _condition(text, value, value is not None and value <= limit)


def _ground_glass(ct: CtFindings) -> Condition:
    limit = GGO_AT_MOST_PERCENT
    return _at_most(f"ground glass up to {limit:.2f} %", ct.ggo_percent, limit)


def _condition(text: str, value: float | None, holds: bool) -> Condition:
    return Condition(text, "unknown" if value is None else "met" if holds else "not met", value)
