"""Phenotypes over a cohort: every criterion counted, unknown ones never met."""

from __future__ import annotations

import math

import pytest
from Testing.unit.cohort.conftest import tidy_rows

from lungperfusion.cohort.joining import join
from lungperfusion.cohort.phenotypes import phenotypes, response_rates, with_derived
from lungperfusion.cohort.reading import CaseTable

CT = ("qanadli", "ggo", "pa_ao_ratio", "rv_lv_ratio")


def cohort_of(measured, clinical):
    """Join ``{column: {case: value}}`` of both kinds."""

    def table(columns, measures):
        cases = {case for values in columns.values() for case in values}
        rows = {c: {n: v[c] for n, v in columns.items() if c in v} for c in sorted(cases)}
        return CaseTable(rows=rows, units={}, measures=measures)

    named = {f"x_{name if '.' in name else name + '.lungs'}": v for name, v in measured.items()}
    measures = {name: name[2:].partition(".")[0] for name in named}
    return join(table(named, measures), table(clinical, {}))


@pytest.fixture
def cohort():
    cases = "abcde"
    normal = {"qanadli": 0.0, "ggo": 1.0, "pa_ao_ratio": 0.9, "rv_lv_ratio": 1.0}
    measured = {name: dict.fromkeys(cases, value) for name, value in normal.items()}
    measured["qanadli"]["c"] = 5.0
    measured["ggo"].pop("d")
    clinical = {
        "fvc_pct": {"a": 80.0, "b": 79.9, "c": 90.0, "d": 90.0, "e": 90.0},
        "dlco_pct": {"a": 79.9, "b": 60.0, "c": 60.0, "d": 60.0, "e": 80.0},
        "fev1_pct": dict.fromkeys(cases, 90.0),
    }
    return cohort_of(measured, clinical)


def counted(found, phenotype, criterion):
    (row,) = [
        r
        for r in found.counts.rows
        if r["phenotype"] == phenotype and r["criterion"].startswith(criterion)
    ]
    return row["met"], row["not_met"], row["unknown"], row["cases"]


def test_isolated_low_dlco_counts_every_criterion(cohort):
    found = phenotypes(cohort)

    answers = {row["case"]: row["isolated_low_dlco"] for row in found.cases.rows}
    assert answers == dict(
        zip("abcde", ["met", "not met", "not met", "unknown", "not met"], strict=True)
    )
    assert counted(found, "isolated low DLCO", "DLCOc < 80") == (4, 1, 0, 5)
    assert counted(found, "isolated low DLCO", "FVC >= 80") == (4, 1, 0, 5)
    assert counted(found, "isolated low DLCO", "obstruction") == (4, 1, 0, 5)
    assert counted(found, "isolated low DLCO", "ground glass") == (4, 0, 1, 5)
    assert counted(found, "isolated low DLCO", "all criteria") == (1, 3, 1, 5)
    assert counted(found, "stratum", "FVC >= 80 %, DLCOc < 80 %") == (3, 2, 0, 5)
    (row,) = [row for row in found.cases.rows if row["case"] == "d"]
    assert row["isolated_low_dlco_unknown"].startswith("ground glass up to")
    assert "57 patients" not in " ".join(found.notes)


def test_oxygen_groups_and_gradient():
    clinical = {
        "pao2_mmhg": {"a": 90.0, "b": 60.0, "c": 60.0, "d": math.nan},
        "paco2_mmhg": {"a": 40.0, "b": 40.0, "c": 40.0, "d": 40.0},
        "oxygen_l_min": {"a": 0.0, "b": 2.0, "c": 9.0, "d": 2.1},
        "age_years": dict.fromkeys("abcd", 40.0),
    }
    cohort = with_derived(cohort_of({"tlv": dict.fromkeys("abcd", 5.0)}, clinical))
    found = phenotypes(cohort)
    rows = {row["case"]: row for row in found.cases.rows}

    assert [rows[c]["oxygen_group"] for c in "abcd"] == [
        "up_to_2_l_min", "up_to_2_l_min", "above_2_l_min", "above_2_l_min",
    ]  # fmt: skip
    # 0.21 x 713 - 40 (0.21 + 0.79 / 0.8) - 90
    assert rows["a"]["aado2_mmhg"] == pytest.approx(0.21 * 713 - 40 * (0.21 + 0.9875) - 90)
    assert rows["a"]["aado2_expected_mmhg"] == 14
    assert math.isnan(rows["c"]["aado2_mmhg"])
    assert "0 to 6 L/min" in cohort.reasons["c", "aado2_mmhg"]
    assert "needs both arterial" in cohort.reasons["d", "aado2_mmhg"]
    assert counted(found, "oxygen group", "up to 2") == (2, 2, 0, 4)


def test_response_to_volume_reduction_by_thresholds():
    cases = [f"c{n}" for n in range(8)]
    zones = {}
    for side in ("left", "right"):
        zones[f"inspiratory_volume.{side}_upper_zone"] = dict.fromkeys(cases, 1000.0)
        zones[f"emphysema.{side}_upper_zone"] = {
            c: 50.0 if n < 4 else 49.9 for n, c in enumerate(cases)
        }
        zones[f"perfusion_share.{side}_upper_zone"] = dict.fromkeys(cases, 4.0)
    gains = dict(zip(cases, [250.0, 300.0, 249.0, 400.0, 0.0, 100.0, 260.0, math.nan], strict=True))
    cohort = cohort_of(zones, {"fev1_gain_ml": gains})
    found = phenotypes(cohort)

    assert counted(found, "volume reduction surgery", "upper zones") == (4, 4, 0, 8)
    rates = {row["patients"]: row for row in response_rates(cohort, found).rows}
    assert (rates["all"]["responders"], rates["all"]["count"]) == (4, 7)
    assert (rates["criteria met"]["responders"], rates["criteria met"]["percent"]) == (3, 75)
    assert (rates["criteria not met"]["responders"], rates["criteria not met"]["count"]) == (1, 3)
    assert rates["all"]["lower"] < 100 * 4 / 7 < rates["all"]["upper"]


def test_collateral_ventilation_by_completeness():
    values = {"left_oblique_fissure": 80.0, "right_oblique_fissure": 91.0}
    measured = {f"fissure_completeness.{name}": {"a": v} for name, v in values.items()}
    found = phenotypes(cohort_of(measured, {"age_years": {"a": 60.0}}))

    assert counted(found, "collateral ventilation", "left oblique") == (1, 0, 0, 1)
    assert counted(found, "collateral ventilation", "right oblique") == (0, 1, 0, 1)


def test_made_up_rows_have_the_units_of_their_measures():
    assert {row["unit"] for row in tidy_rows({name: {"a": 1} for name in CT})} == {"%", "1"}
