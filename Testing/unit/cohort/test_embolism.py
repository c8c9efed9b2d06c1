"""D-dimer among the published rules: units, cut-offs, patterns, and no advice."""

from __future__ import annotations

import itertools
import math
import re

import pytest

from lungperfusion.cohort.embolism import (
    Findings,
    context_rows,
    extent_percent,
    pattern_rows,
    post_test,
    read_d_dimer,
    tables,
)
from lungperfusion.cohort.report import render_context
from lungperfusion.errors import InputError
from lungperfusion.terms.embolism import CONTRADICTION, PATTERNS, RULES


def row(findings, rule):
    (title,) = [entry.title for entry in RULES if entry.id == rule]
    (found,) = [r for r in context_rows("A", findings) if r["rule"] == title]
    return found


def feu(ug_l):
    return read_d_dimer(ug_l, "µg/L", "FEU")


@pytest.mark.parametrize(
    ("value", "unit"), [(2.66, "mg/L"), (2660, "µg/L"), (2660, "ng/mL"), (2.66, "ug/mL FEU")]
)
def test_units_give_the_same_row(value, unit):
    found = row(Findings(d_dimer=read_d_dimer(value, unit, "FEU")), "strasbourg")

    assert (found["d_dimer_ug_l"], found["place"], found["caution"]) == (2660, "at or above", "")


def test_ddu_needs_consent_and_an_unknown_assay_is_a_caution():
    with pytest.raises(InputError, match="consent to doubling it"):
        read_d_dimer(500, "ng/mL", "DDU")
    doubled = read_d_dimer(500, "ng/mL DDU", convert=True)
    assert (doubled.ug_l, doubled.assay) == (1000, "DDU")
    assert "converted from DDU" in doubled.caution
    unknown = read_d_dimer(500, "ng/mL")
    assert (unknown.ug_l, unknown.assay) == (500, "unknown")
    assert "not known" in row(Findings(d_dimer=unknown), "strasbourg")["caution"]


@pytest.mark.parametrize(
    ("value", "unit", "assay", "match"),
    [
        (2.66, "", "FEU", "and none is given"),
        (2.66, "g/L", "FEU", "not 'g/L'"),
        (2.66, "ng/mL", "FEU", "is 2.66 µg/L; 10 to 1000000"),
        (2660, "mg/L", "FEU", "check the unit"),
        (2660, "µg/L", "ELISA", "FEU, DDU or unknown"),
        (2660, "µg/L FEU", "DDU", "says one assay and the column another"),
    ],
)
def test_units_that_are_refused(value, unit, assay, match):
    with pytest.raises(InputError, match=match):
        read_d_dimer(value, unit, assay)


@pytest.mark.parametrize(
    ("age", "cut_off"), [(78, 780), (50, 500), (51, 510), (30, 500), (92, 920)]
)
def test_age_adjusted_cut_off(age, cut_off):
    for rule in ("age_adjusted", "aphp_age"):
        found = row(Findings(d_dimer=feu(cut_off), age_years=age), rule)
        assert (found["cut_off_ug_l"], found["place"]) == (cut_off, "at or above")
        assert row(Findings(d_dimer=feu(cut_off - 1), age_years=age), rule)["place"] == "below"


@pytest.mark.parametrize(("extent", "cut_off"), [(0, 900), (49.9, 900), (50, 1700), (100, 1700)])
def test_cut_off_by_measured_extent(extent, cut_off):
    found = row(Findings(d_dimer=feu(cut_off), extent_percent=extent), "colead")

    assert (found["cut_off_ug_l"], found["place"]) == (cut_off, "at or above")


def test_extent_counts_consolidated_lung_once():
    assert extent_percent(40.0, 0.0) == 40
    assert extent_percent(40.0, 50.0) == 70  # 40 % of the half that is not consolidated
    assert extent_percent(100.0, 30.0) == 100
    assert extent_percent(None, 3.0) is None


def test_missing_fields_fill_no_row():
    nothing = Findings(d_dimer=feu(5000))
    for rule, word in (("age_adjusted", "age"), ("colead", "extent on CT"), ("octa", "age")):
        found = row(nothing, rule)
        assert found["place"] == f"– (the {word} is missing)"
        assert math.isnan(found["cut_off_ug_l"])
    assert row(Findings(), "strasbourg")["place"] == "– (the D-dimer is missing)"
    assert "75 years and more" in row(Findings(d_dimer=feu(5000), age_years=74), "octa")["place"]
    assert row(Findings(d_dimer=feu(4330), age_years=75), "octa")["place"] == "at or above"
    assert "no cut-off" in row(nothing, "besancon")["place"]


def test_rules_that_contradict_each_other_are_both_shown():
    found = Findings(d_dimer=feu(2000), age_years=60, extent_percent=60)
    places = {rule.id: row(found, rule.id)["place"] for rule in RULES}

    assert places["strasbourg"] == "below"
    assert places["aphp"] == places["aphp_age"] == places["colead"] == "at or above"
    assert len(context_rows("A", found)) == len(RULES)
    assert "106" in CONTRADICTION
    assert "missed more than 15 %" in CONTRADICTION.replace("\n", " ")


def shown(**fields):
    return {r["pattern"]: (r["shown"], r["missing"]) for r in pattern_rows("A", Findings(**fields))}


def test_each_pattern_shows_by_its_own_findings_alone():
    dose = {"high": feu(900), "low": feu(400), "any": None}
    for pattern in PATTERNS:
        beneath = pattern.parenchyma or (None,)
        for deficits, lung in itertools.product(pattern.deficits, beneath):
            found = shown(
                qanadli_percent=10.0 if pattern.clot else 0.0,
                deficits=deficits,
                parenchyma=lung,
                d_dimer=dose[pattern.d_dimer],
            )
            assert found[pattern.id.replace("_", " ")] == ("yes", "")
            assert sum(answer == "yes" for answer, _ in found.values()) == 1


def test_patterns_name_what_is_missing():
    found = shown(qanadli_percent=0.0, deficits="scattered")
    assert found["microvascular"] == ("", "lung beneath, D-dimer")
    assert found["embolism"] == ("no", "")
    assert all(answer == "" for answer, _ in shown().values())
    low, border = (
        shown(qanadli_percent=0.0, deficits="scattered", parenchyma="normal", d_dimer=feu(v))
        for v in (499, 500)
    )
    assert (low["microvascular"][0], border["microvascular"][0]) == ("yes", "no")


def test_findings_that_no_case_has_are_refused():
    with pytest.raises(InputError, match="extent on CT"):
        Findings(extent_percent=101)
    with pytest.raises(InputError, match="'many' is not one of none, territorial"):
        Findings(deficits="many")


def test_page_gives_no_advice():
    found = {"A": Findings(d_dimer=feu(3000), age_years=80, extent_percent=55)}
    page = render_context(tables(found))
    words = re.sub(r"<[^>]+>", " ", page.partition("<body>")[2]).casefold()

    for word in ("should", "recommend", "treat", "heparin", "anticoag", "indicated", "advis"):
        assert word not in words.replace("no advice", "")
    assert "http" not in words
    assert "found in" in words
    for rule in RULES:
        assert rule.source.casefold() in words


def test_probability_after_a_test_is_a_range():
    found = post_test(20, (12, 12), (68, 100))
    # By hand at the points: LR+ = 1 / 0.32, LR- = 0: both ends lie around
    assert found.positive_low < 100 * 0.25 / 0.32 / (1 + 0.25 / 0.32) < found.positive_high
    assert 0 < found.negative_low < found.negative_high < 12
    assert found == post_test(20, (12, 12), (68, 100))
    wider = post_test(20, (6, 6), (34, 50))
    assert wider.negative_high > found.negative_high
    assert "%" in found.sentence()
    with pytest.raises(InputError, match="0 to 100 %"):
        post_test(0, (12, 12), (68, 100))
    with pytest.raises(InputError, match="13 of 12"):
        post_test(20, (13, 12), (68, 100))
