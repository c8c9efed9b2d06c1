"""Where a D-dimer lies among published rules, and which patterns a case shows; no advice.

Every rule is shown with whom it was found in, also those that contradict each other.  What is
missing fills no row: it is named instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from lungperfusion.cohort.comparisons import CONFIDENCE
from lungperfusion.cohort.wording import number
from lungperfusion.errors import InputError
from lungperfusion.results.analysis import Table
from lungperfusion.terms.embolism import (
    AGE_ADJUSTED_ABOVE_YEARS,
    AGE_ADJUSTED_UG_L_PER_YEAR,
    COLEAD_UG_L,
    CONVENTIONAL_UG_L,
    DDIMER_RANGE_UG_L,
    DEFICITS,
    EXTENT_BORDER_PERCENT,
    FEU_PER_DDU,
    LOW_UG_L,
    PARENCHYMA,
    PATTERNS,
    RULES,
    UG_L_PER_UNIT,
    EmbolismPattern,
    Rule,
)

Assay = Literal["FEU", "DDU", "unknown"]

CONTEXT_COLUMNS = (
    *("case", "rule", "d_dimer_ug_l", "assay", "cut_off_ug_l", "place", "caution"),
    *("population", "count", "sensitivity", "specificity", "remark", "source"),
)
PATTERN_COLUMNS = ("case", "pattern", "shown", "text", "missing", "source")

_UNKNOWN_ASSAY = "the assay's units (FEU or DDU) are not known; the cut-offs are in FEU"
_CONVERTED = f"converted from DDU by {FEU_PER_DDU:g}; assays differ"
DRAWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DDimer:
    """A D-dimer in µg/L fibrinogen equivalent units, as far as the assay is known."""

    ug_l: float
    assay: Assay
    caution: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is known of a case; None for what is not."""

    d_dimer: DDimer | None = None
    age_years: float | None = None
    extent_percent: float | None = None
    """Lung with ground glass or consolidation, measured on the CT."""
    qanadli_percent: float | None = None
    deficits: str | None = None
    """One of `DEFICITS`."""
    parenchyma: str | None = None
    """Of the lung beneath the deficits, one of `PARENCHYMA`."""

    def __post_init__(self) -> None:
        """Refuse what no case can have."""
        for what, value, high in (
            ("age", self.age_years, 120.0),
            ("extent on CT (%)", self.extent_percent, 100.0),
            ("obstruction index (%)", self.qanadli_percent, 100.0),
        ):
            if value is not None and not 0 <= value <= high:
                raise InputError(f"the {what} must lie between 0 and {high:g}, not {value:g}")
        for what, word, known in (
            ("perfusion deficits", self.deficits, DEFICITS),
            ("lung beneath", self.parenchyma, PARENCHYMA),
        ):
            if word is not None and word not in known:
                raise InputError(f"{what}: {word!r} is not one of {', '.join(known)}")


def read_d_dimer(value: float, unit: str, assay: str = "", *, convert: bool = False) -> DDimer:
    """Bring a D-dimer to µg/L FEU.

    Parameters
    ----------
    value
        As the laboratory gave it.
    unit
        ``ng/mL``, ``µg/L``, ``mg/L`` or ``µg/mL``; FEU or DDU may stand behind it.
    assay
        ``FEU``, ``DDU``, or empty where it is not known: then nothing is converted.
    convert
        Consent to doubling a value in DDU.

    Raises
    ------
    InputError
        If the unit is missing or unknown, the value impossible in it, both say different assays, or
        a value in DDU comes without consent.

    """
    words = unit.replace("µ", "u").replace("μ", "u").casefold().split()
    said = {word.upper() for word in words if word in ("feu", "ddu")}
    rest = "".join(word for word in words if word not in ("feu", "ddu"))
    if rest not in UG_L_PER_UNIT:
        given = f"not {unit!r}" if unit.strip() else "and none is given"
        raise InputError(f"the unit of a D-dimer is ng/mL, µg/L, mg/L or µg/mL, {given}")
    asked = assay.strip().upper()
    if asked not in ("", "FEU", "DDU", "UNKNOWN"):
        raise InputError(f"the assay of a D-dimer is FEU, DDU or unknown, not {assay!r}")
    said |= {asked} & {"FEU", "DDU"}
    if len(said) > 1:
        raise InputError("the unit says one assay and the column another: FEU or DDU?")
    ug_l = value * UG_L_PER_UNIT[rest]
    low, high = DDIMER_RANGE_UG_L
    if not low <= ug_l <= high:
        raise InputError(
            f"a D-dimer of {value:g} {unit.strip()} is {ug_l:g} µg/L; {low:.0f} to {high:.0f} µg/L "
            "was expected: check the unit"
        )
    if said == {"DDU"}:
        if not convert:
            raise InputError(
                "the D-dimer is in DDU and all cut-offs are in FEU, about twice as much; consent "
                "to doubling it (--convert-ddu), or give it in FEU"
            )
        return DDimer(ug_l=FEU_PER_DDU * ug_l, assay="DDU", caution=_CONVERTED)
    if not said:
        return DDimer(ug_l=ug_l, assay="unknown", caution=_UNKNOWN_ASSAY)
    return DDimer(ug_l=ug_l, assay="FEU")


def extent_percent(ggo: float | None, consolidation: float | None) -> float | None:
    """Share of the lungs that is ground glass or consolidated, in %; None where one is not known.

    Ground glass is a share of the lung that is not consolidated, consolidation one of the lung.
    """
    if ggo is None or consolidation is None:
        return None
    return consolidation + ggo * (100 - consolidation) / 100


def cut_off_ug_l(rule: Rule, findings: Findings) -> tuple[float, str]:
    """Cut-off of a rule for a case; NaN with what is missing for it.

    An extent of exactly 50 % belongs to the upper half.
    """
    if rule.cut_off == "none":
        return math.nan, "a rate to compare with, no cut-off"
    age = findings.age_years
    if rule.from_age_years:
        if age is None:
            return math.nan, "the age is missing"
        if age < rule.from_age_years:
            return math.nan, f"found in people of {rule.from_age_years:g} years and more"
    if rule.cut_off == "fixed":
        return rule.ug_l, ""
    if rule.cut_off == "age":
        if age is None:
            return math.nan, "the age is missing"
        adjusted = AGE_ADJUSTED_UG_L_PER_YEAR * age if age > AGE_ADJUSTED_ABOVE_YEARS else 0.0
        return max(CONVENTIONAL_UG_L, adjusted), ""
    if findings.extent_percent is None:
        return math.nan, "the extent on CT is missing"
    return COLEAD_UG_L[findings.extent_percent >= EXTENT_BORDER_PERCENT], ""


def context_rows(case: str, findings: Findings) -> list[dict[str, Any]]:
    """One row per rule; a value equal to a cut-off counts as at or above it."""
    rows = []
    found = findings.d_dimer
    for rule in RULES:
        cut_off, reason = cut_off_ug_l(rule, findings)
        if found is None and rule.cut_off != "none":
            place, reason = "", reason or "the D-dimer is missing"
        elif math.isnan(cut_off):
            place = ""
        else:
            place = "at or above" if found is not None and found.ug_l >= cut_off else "below"
        caution = "" if found is None or not place else found.caution
        record = asdict(rule)
        rows.append(
            {
                "case": case,
                "rule": rule.title,
                "d_dimer_ug_l": math.nan if found is None else found.ug_l,
                "assay": "" if found is None else found.assay,
                "cut_off_ug_l": cut_off,
                "place": place or f"– ({reason})",
                "caution": caution,
                **{name: record[name] for name in CONTEXT_COLUMNS[7:]},
            }
        )
    return rows


def pattern_rows(case: str, findings: Findings) -> list[dict[str, Any]]:
    """One row per pattern: shown, not shown, or what is missing to say so."""
    rows = []
    for pattern in PATTERNS:
        shown, missing = _shows(pattern, findings)
        rows.append(
            {
                "case": case,
                "pattern": pattern.id.replace("_", " "),
                "shown": "" if shown is None else "yes" if shown else "no",
                "text": pattern.text if shown else "",
                "missing": ", ".join(missing),
                "source": pattern.source,
            }
        )
    return rows


def _shows(pattern: EmbolismPattern, findings: Findings) -> tuple[bool | None, list[str]]:
    """Whether a case shows a pattern; None with the fields that would have to be known."""
    value = None if findings.d_dimer is None else findings.d_dimer.ug_l
    clot = findings.qanadli_percent
    answers = {
        "clot (obstruction index)": None if clot is None else (clot > 0) == pattern.clot,
        "perfusion deficits": None
        if findings.deficits is None
        else findings.deficits in pattern.deficits,
    }
    if pattern.parenchyma:
        answers["lung beneath"] = (
            None if findings.parenchyma is None else findings.parenchyma in pattern.parenchyma
        )
    if pattern.d_dimer != "any":
        answers["D-dimer"] = (
            None if value is None else (value < LOW_UG_L) == (pattern.d_dimer == "low")
        )
    if False in answers.values():
        return False, []
    missing = [name for name, answer in answers.items() if answer is None]
    return (None, missing) if missing else (True, [])


def tables(cases: Mapping[str, Findings]) -> dict[str, Table]:
    """Rows of context.csv and patterns.csv for all cases."""
    return {
        "context": Table(
            CONTEXT_COLUMNS,
            tuple(row for case, found in cases.items() for row in context_rows(case, found)),
        ),
        "patterns": Table(
            PATTERN_COLUMNS,
            tuple(row for case, found in cases.items() for row in pattern_rows(case, found)),
        ),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class PostTest:
    """Range of a probability after a test, in %; never a point."""

    positive_low: float
    positive_high: float
    negative_low: float
    negative_high: float

    def sentence(self) -> str:
        """Both ranges in words."""
        positive, negative = (
            f"{number(low, 0)} to {number(high, 0)} %"
            for low, high in (
                (self.positive_low, self.positive_high),
                (self.negative_low, self.negative_high),
            )
        )
        return f"after a positive test {positive}, after a negative one {negative}"


def post_test(
    before_percent: float, sensitivity: tuple[int, int], specificity: tuple[int, int]
) -> PostTest:
    """Probability after a test, as a range from what the test's counts leave open.

    ``odds after = odds before x likelihood ratio``; sensitivity and specificity are drawn from
    Beta(k + 1, n - k + 1).

    Parameters
    ----------
    before_percent
        Probability before the test.
    sensitivity, specificity
        Counts (right, all) of the test's study.

    """
    if not 0 < before_percent < 100:
        raise InputError(f"a probability of 0 to 100 % was expected, not {before_percent:g}")
    for right, whole in (sensitivity, specificity):
        if not 0 <= right <= whole or whole == 0:
            raise InputError(f"{right} of {whole} are no counts of a test")
    rng = np.random.default_rng([*sensitivity, *specificity])
    hit, kept = (rng.beta(k + 1, n - k + 1, DRAWS) for k, n in (sensitivity, specificity))
    odds = before_percent / (100 - before_percent)
    tail = (1 - CONFIDENCE) / 2
    ends = []
    for ratio in (hit / (1 - kept), (1 - hit) / kept):
        after = 100 * odds * ratio / (1 + odds * ratio)
        ends += [float(value) for value in np.quantile(after, [tail, 1 - tail])]
    return PostTest(
        positive_low=ends[0], positive_high=ends[1], negative_low=ends[2], negative_high=ends[3]
    )
