"""Tables as people save them are read, or refused in one sentence."""

from __future__ import annotations

import math

import pytest
from Testing.unit.cohort.conftest import tidy_rows, write_csv

from lungperfusion.cohort.joining import join
from lungperfusion.cohort.reading import read_clinical, read_measurements
from lungperfusion.errors import InputError
from lungperfusion.results.tables import COLUMNS


@pytest.fixture
def clinical(tmp_path):
    def read(text, encoding="utf-8"):
        path = tmp_path / "clinical.csv"
        path.write_bytes(text.encode(encoding))
        return read_clinical(path)

    return read


@pytest.fixture
def measured(tmp_path):
    def read(rows):
        return read_measurements(write_csv(tmp_path / "tidy.csv", rows, COLUMNS))

    return read


def test_byte_order_mark_semicolons_and_decimal_commas(clinical):
    table = clinical("\ufeffcase;fvc_pct;smoker\r\nA;85,5;ja\r\nB;;nein\r\n")

    assert table.rows["A"]["fvc_pct"] == 85.5
    assert math.isnan(table.rows["B"]["fvc_pct"])
    assert table.rows["B"]["smoker"] == "nein"
    assert table.units == {"fvc_pct": "%"}


def test_windows_and_utf_16_text(clinical):
    for encoding in ("utf-16", "cp1252"):
        table = clinical("case,größe_cm,ort\nA,181,Köln\n", encoding)
        assert table.rows["A"] == {"größe_cm": 181.0, "ort": "Köln"}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("name,fvc_pct\nA,80\n", "no column 'case' to join on"),
        ("case,fvc_pct\nA,80\nA,81\n", "line 3: case A is there twice"),
        ("case,fvc_pct,fvc_pct\nA,80,81\n", "column fvc_pct twice"),
        ("case,fvc_pct\n,80\n", "line 2: the case has no name"),
        ("case,fvc_pct\nA,n.d.\n", r"n\.d\. is no number; write a decimal point"),
        ('case,fvc_pct\nA,"85,5"\n', "85,5 is no number"),
        ("case,weight\nA,70\nB,72\nC,72 kg\n", "line 4, column weight: 72 kg is no number"),
        ("case,fvc_pct\nA,0.85\n", "fvc_pct is 0.85, but must lie between 5 and 250"),
        ("case,fio2\nA,40\n", "fio2 is 40, but must lie between 0.15 and 1"),
        ("case,smoke_pct\nA,0.1\nB,0.4\nC,0.9\n", "no value exceeds 1; write 85 for 0.85"),
        ("case,crp,crp_unit\nA,1,mg/L\nB,2,mg/dL\n", "in mg/L and mg/dL; bring all rows"),
        (
            "case,crp_mg_l,crp_mg_l_unit\nA,1,mg/dL\n",
            "says mg/L, column crp_mg_l_unit says",
        ),
        ("case,pao2_mmhg,pao2_kpa\nA,80,10.6\n", "has pao2_kpa and pao2_mmhg; keep the one"),
        ("case,age_years\nA,inf\n", "inf is no number"),
    ],
)
def test_clinical_tables_that_are_refused(clinical, text, match):
    with pytest.raises(InputError, match=match):
        clinical(text)


def test_measurements_twice_or_in_two_units_are_refused(measured):
    rows = tidy_rows({"mld": {"A": -800, "B": -810}})
    with pytest.raises(InputError, match="mld of lungs of case A stands in line 2 already"):
        measured([*rows, rows[0]])
    with pytest.raises(InputError, match=r"iodine_mean in HU \(1 rows\) and mg/mL \(1 rows\)"):
        measured(
            tidy_rows({"iodine_mean": {"A": 40}})
            + tidy_rows({"iodine_mean": {"B": 1.2}}, unit="mg/mL")
        )
    with pytest.raises(InputError, match="tlv in mL; this program gives it in L"):
        measured(tidy_rows({"tlv": {"A": 5000}}, unit="mL"))
    with pytest.raises(InputError, match=r"line 2, column value: 12 HU is no number"):
        measured([{**rows[0], "value": "12 HU"}])


def test_missing_values_keep_their_reason_and_cautions_their_cases(measured):
    rows = tidy_rows({"mld": {"A": -800}}, status="caution", reason="noise")
    rows += tidy_rows({"mld": {"B": float("nan")}}, status="missing", reason="cut off")
    table = measured(rows)

    column = "ipv_mld_hu.lungs"
    assert table.columns == (column,)
    assert table.measures == {column: "mld"}
    assert table.cautions == {column: frozenset({"A"})}
    assert table.reasons == {("B", column): "cut off"}


def test_wide_table_gives_the_same_columns(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text(
        "case,status,cautions,lungs_mld_hu.lungs,ipv_ipv_hu_l.left_lung\n"
        f"A,done,lungs_mld_hu.lungs,-800,90\nB,done,{'x ' * 3000},NaN,80\n",
        encoding="utf-8",
    )
    table = read_measurements(path)

    assert table.rows["A"] == {"lungs_mld_hu.lungs": -800.0, "ipv_ipv_hu_l.left_lung": 90.0}
    assert table.measures == {"lungs_mld_hu.lungs": "mld", "ipv_ipv_hu_l.left_lung": "ipv"}
    assert table.units["ipv_ipv_hu_l.left_lung"] == "HU.L"
    assert table.cautions["lungs_mld_hu.lungs"] == {"A"}
    other = tmp_path / "other.csv"
    other.write_text("patient,value\nA,1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"give cohort_tidy\.csv, cohort_wide\.csv or"):
        read_measurements(other)


def test_join_lists_what_does_not_match_and_what_may_be_meant(clinical, measured):
    cohort = join(
        measured(tidy_rows({"mld": {"007": -800, "B": -810, "D": -790}})),
        clinical("case,fvc_pct\n7,80\nB,90\nC,70\n"),
    )

    assert list(cohort.frame.index) == ["B"]
    assert {row["case"]: row["reason"] for row in cohort.unmatched} == {
        "007": "not in the clinical table; 7 may be the same",
        "D": "not in the clinical table",
        "7": "not in the measurements; 007 may be the same",
        "C": "not in the measurements",
    }
    with pytest.raises(InputError, match="no case is in both tables"):
        join(measured(tidy_rows({"mld": {"A": -800}})), clinical("case,fvc_pct\nB,80\n"))
    with pytest.raises(InputError, match="both tables have a column"):
        join(
            measured(tidy_rows({"mld": {"A": -800}})),
            clinical("case,ipv_mld_hu.lungs\nA,80\n"),
        )


def test_columns_are_found_by_measure_and_misspelt_ones_hinted_at(clinical, measured):
    rows = tidy_rows({"mld": {"A": -800}}) + tidy_rows({"mld": {"A": -810}}, region="left_lung")
    cohort = join(measured(rows), clinical("case,fvc_pct\nA,80\n"))

    assert cohort.column("mld") == "ipv_mld_hu.lungs"
    assert cohort.column("mld.left_lung") == "ipv_mld_hu.left_lung"
    assert cohort.label("ipv_mld_hu.left_lung") == "Mean lung density, left lung"
    with pytest.raises(InputError, match="a column fvc_pc; did you mean fvc_pct"):
        cohort.column("fvc_pc")
    both = join(
        measured(rows + tidy_rows({"mld": {"A": -805}}, module="lungs")),
        clinical("case,fvc_pct\nA,80\n"),
    )
    with pytest.raises(InputError, match=r"several columns hold mld: ipv_mld_hu\.lungs, lungs_mld"):
        both.column("mld")


def test_mixed_scans_are_a_caution_for_what_rests_on_them(clinical, measured, tmp_path):
    values = {"laa_950": {"A": 3, "B": 5}, "qanadli": {"A": 0, "B": 2}}
    quality = write_csv(
        tmp_path / "cohort_quality.csv",
        [
            {"case": "A", "module": "lungs", "check": "kernel", "verdict": "pass"},
            {"case": "B", "module": "lungs", "check": "kernel", "verdict": "warn"},
            {"case": "A", "module": "lungs", "check": "noise", "verdict": "pass"},
            {"case": "B", "module": "lungs", "check": "noise", "verdict": "warn"},
        ],
    )
    text = "case,breath,kernel\nA,inspiration,Br40\nB,expiration,Br40\n"
    cohort = join(measured(tidy_rows(values)), clinical(text), quality=quality)
    laa, clot = cohort.column("laa_950"), cohort.column("qanadli")

    said = cohort.cautions([laa])
    assert any("differ in breath: expiration (1), inspiration (1)" in text for text in said)
    assert any("differ in the check of kernel: pass 1, warn 1" in text for text in said)
    assert not any("differ in kernel:" in text or "noise" in text for text in said)
    assert cohort.cautions([clot]) == ()  # a reader's score rests on no kernel
    quality.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="not the table of checks"):
        join(measured(tidy_rows(values)), clinical(text), quality=quality)


def test_values_to_read_with_care_can_be_left_out(clinical, measured):
    rows = tidy_rows({"mld": {"A": -800}}, status="caution", reason="noise")
    rows += tidy_rows({"mld": {"B": -810, "C": -820}})
    cohort = join(measured(rows), clinical("case,fvc_pct\nA,80\nB,81\nC,82\n"))
    column = cohort.column("mld")

    assert cohort.cautions([column])[0].startswith("Mean lung density: 1 of 3 values is")
    strict = cohort.without_cautions()
    assert strict.frame[column].notna().sum() == 2
    assert strict.cautions([column]) == ()
    reasons = {row["case"]: row["reason"] for row in strict.excluded([column])}
    assert reasons == {"A": "left out: to be read with care"}
