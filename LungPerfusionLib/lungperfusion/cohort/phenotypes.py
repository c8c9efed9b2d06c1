"""Phenotypes of the source letters, counted over a cohort with every criterion stated.

The rules themselves are those that single cases get; here they meet tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lungperfusion.cohort.comparisons import wilson
from lungperfusion.cohort.joining import Cohort
from lungperfusion.errors import InputError
from lungperfusion.iodine.phenotype import (
    CtFindings,
    LungFunction,
    Pattern,
    gas_transfer_mismatch,
    isolated_low_dlco,
    stratum,
)
from lungperfusion.measurement import measured
from lungperfusion.results.analysis import Table
from lungperfusion.terms import FISSURES, Region
from lungperfusion.terms.collateral import collateral_call, predicts_collateral
from lungperfusion.terms.lung_function import GAIN_ML
from lungperfusion.vessels.oxygen import (
    aado2_mmhg,
    expected_aado2_mmhg,
    fio2_from_nasal_flow,
    oxygen_group,
)
from lungperfusion.vq.planning import flag_surgery

AADO2 = "aado2_mmhg"
GAIN = "fev1_gain_ml"

COUNT_COLUMNS = ("phenotype", "criterion", "met", "not_met", "unknown", "cases")

_UPPER_ZONES = (Region.LEFT_UPPER_ZONE.value, Region.RIGHT_UPPER_ZONE.value)
_ZONE_MEASURES = ("inspiratory_volume", "emphysema", "perfusion_share")
_JUDGED = tuple(str(fissure) for fissure in FISSURES if predicts_collateral(fissure))
_FUNCTION = ("fvc", "fev1", "tlc", "dlco_c", "kco_c")
_CT = ("qanadli_percent", "ggo_percent", "pa_ao_ratio", "rv_lv_ratio")
_OTHERS = ("oxygen_l_min", "age_years", AADO2, "lvrs_flag")
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "fvc": ("fvc_pct", "fvc_predicted"),
    "fev1": ("fev1_pct", "fev1_predicted"),
    "tlc": ("tlc_pct", "tlc_predicted"),
    "dlco_c": ("dlco_pct", "dlco_c_predicted"),
    "kco_c": ("kco_pct", "kco_c_predicted"),
    "qanadli_percent": ("qanadli_pct", "qanadli"),
    "ggo_percent": ("ggo_pct", "ggo"),
    "pa_ao_ratio": ("pa_ao_ratio",),
    "rv_lv_ratio": ("rv_lv_ratio",),
    **{name: (name,) for name in _OTHERS},
    **{f"{m}.{zone}": (f"{m}.{zone}",) for zone in _UPPER_ZONES for m in _ZONE_MEASURES},
    **{f"fissure_completeness.{name}": (f"fissure_completeness.{name}",) for name in _JUDGED},
}
"""Columns that each value is read from: the clinical table first, then the measurements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phenotypes:
    """What every case shows, and how many show it."""

    cases: Table
    counts: Table
    notes: tuple[str, ...]


def with_derived(cohort: Cohort) -> Cohort:
    """Cohort with the alveolar-arterial gradient, where gases are known and no column holds it."""
    wanted = ("pao2_mmhg", "paco2_mmhg")
    if AADO2 in cohort.frame or any(name not in cohort.frame for name in wanted):
        return cohort
    frame, reasons, values = cohort.frame.copy(), dict(cohort.reasons), []
    for case, row in frame.iterrows():
        try:
            values.append(_gradient(row))
        except InputError as error:
            values.append(math.nan)
            reasons[case, AADO2] = str(error)
    frame[AADO2] = values
    return replace(cohort, frame=frame, reasons=reasons, units={**cohort.units, AADO2: "mmHg"})


def _gradient(row: Any) -> float:
    pao2, paco2 = float(row["pao2_mmhg"]), float(row["paco2_mmhg"])
    if math.isnan(pao2) or math.isnan(paco2):
        raise InputError("needs both arterial oxygen and carbon dioxide pressure")
    fio2, flow = float(row.get("fio2", math.nan)), float(row.get("oxygen_l_min", math.nan))
    if math.isnan(fio2):
        if math.isnan(flow):
            raise InputError("needs the inspired oxygen fraction or the oxygen flow")
        fio2 = fio2_from_nasal_flow(flow)
    return aado2_mmhg(pao2_mmhg=pao2, paco2_mmhg=paco2, fio2=fio2)


def phenotypes(cohort: Cohort) -> Phenotypes:
    """Ask every case for every phenotype; a criterion that cannot be checked is unknown."""
    rows: list[dict[str, Any]] = []
    patterns: dict[str, list[Pattern]] = {}
    for case, values in _values(cohort).items():
        function = LungFunction(**{name: values.get(name) for name in _FUNCTION})
        ct = CtFindings(**{name: values.get(name) for name in _CT})
        record: dict[str, Any] = {"case": case, "stratum": stratum(function)}
        for pattern in (isolated_low_dlco(function, ct), gas_transfer_mismatch(function, ct)):
            patterns.setdefault(pattern.name, []).append(pattern)
            name = pattern.name.lower().replace(" ", "_")
            record[name] = pattern.answer
            record[f"{name}_unknown"] = "; ".join(
                entry.text for entry in pattern.conditions if entry.answer == "unknown"
            )
        rows.append(record | _oxygen(values) | _surgery(values) | _collateral(values))
    return Phenotypes(
        cases=Table(tuple(rows[0]), tuple(rows)),
        counts=Table(COUNT_COLUMNS, tuple(_counts(rows, patterns))),
        notes=tuple(entries[0].note for entries in patterns.values()),
    )


_Row = Mapping[str, float]
"""Values of a case that are known, by what they are."""


def _values(cohort: Cohort) -> dict[str, _Row]:
    """Collect what phenotypes rest on, by case."""
    found = {
        name: column
        for name, names in _SOURCES.items()
        if (column := next((cohort.column(n) for n in names if cohort.has(n)), None))
    }
    rows = cohort.frame[sorted(set(found.values()))].to_dict("index")
    return {
        str(case): {
            name: float(row[column])
            for name, column in found.items()
            if isinstance(row[column], float | int) and not math.isnan(row[column])
        }
        for case, row in rows.items()
    }


def _oxygen(values: _Row) -> dict[str, Any]:
    flow, age = values.get("oxygen_l_min"), values.get("age_years")
    return {
        "oxygen_group": "unknown" if flow is None else oxygen_group(flow),
        AADO2: values.get(AADO2, math.nan),
        "aado2_expected_mmhg": math.nan if age is None else expected_aado2_mmhg(age),
    }


def _surgery(values: _Row) -> dict[str, str]:
    """Criteria of volume reduction, as the case got them or from the zones."""
    if "lvrs_flag" in values:
        return {"lvrs_criteria": "met" if values["lvrs_flag"] else "not met"}
    entries = [
        measured(zone, measure, values[f"{measure}.{zone}"], "cohort table")
        for zone in _UPPER_ZONES
        for measure in _ZONE_MEASURES
        if f"{measure}.{zone}" in values
    ]
    met = flag_surgery(entries).met
    return {"lvrs_criteria": "unknown" if met is None else "met" if met else "not met"}


def _collateral(values: _Row) -> dict[str, str]:
    return {
        f"collateral_{fissure}": collateral_call(
            fissure, values.get(f"fissure_completeness.{fissure}", math.nan) / 100
        )
        for fissure in _JUDGED
    }


def _counts(
    rows: Sequence[Mapping[str, Any]], patterns: Mapping[str, Sequence[Pattern]]
) -> list[dict[str, Any]]:
    out = []

    def count(phenotype: str, criterion: str, answers: Sequence[str]) -> None:
        found = {name: answers.count(name) for name in ("met", "not met", "unknown")}
        entry = {"phenotype": phenotype, "criterion": criterion, "cases": len(answers)}
        out.append(entry | {name.replace(" ", "_"): n for name, n in found.items()})

    for name, entries in patterns.items():
        for number, condition in enumerate(entries[0].conditions):
            count(name, condition.text, [entry.conditions[number].answer for entry in entries])
        count(name, "all criteria", [entry.answer for entry in entries])
    for column in ("stratum", "oxygen_group"):
        said = [str(row[column]) for row in rows]
        for value in sorted({text for text in said if "unknown" not in text}):
            answers = [
                "unknown" if "unknown" in text else "met" if text == value else "not met"
                for text in said
            ]
            count(column.replace("_", " "), _WORDS.get(value, value), answers)
    surgery = "upper zones: emphysema at least 50 %, perfusion at most 8 %"
    count("volume reduction surgery", surgery, [row["lvrs_criteria"] for row in rows])
    answer = {"likely": "met", "unlikely": "not met", "open": "not met", "unknown": "unknown"}
    for fissure in _JUDGED:
        words = f"{fissure.replace('_', ' ')}: likely by its completeness"
        calls = [answer[row[f"collateral_{fissure}"]] for row in rows]
        count("collateral ventilation", words, calls)
    return out


_WORDS = {"up_to_2_l_min": "up to 2 L/min", "above_2_l_min": "above 2 L/min"}


RESPONSE_COLUMNS = ("patients", "count", "responders", "percent", "lower", "upper")


def response_rates(cohort: Cohort, found: Phenotypes) -> Table:
    """Response to volume reduction surgery in all patients and in those who meet the criteria.

    Needs a column ``fev1_gain_ml``; a rise of 250 mL or more is a response.
    """
    if GAIN not in cohort.frame:
        return Table(RESPONSE_COLUMNS, ())
    gain = cohort.frame[GAIN]
    flags = {row["case"]: row["lvrs_criteria"] for row in found.cases.rows}
    rows = []
    for words, answers in (
        ("all", ("met", "not met", "unknown")),
        ("criteria met", ("met",)),
        ("criteria not met", ("not met",)),
    ):
        chosen = gain[[flags[case] in answers for case in gain.index]].dropna()
        hits, total = int((chosen >= GAIN_ML).sum()), len(chosen)
        low, high = wilson(hits, total)
        share = 100 * hits / total if total else math.nan
        values = (words, total, hits, share, 100 * low, 100 * high)
        rows.append(dict(zip(RESPONSE_COLUMNS, values, strict=True)))
    return Table(RESPONSE_COLUMNS, tuple(rows))
