"""Strata and patterns of lung function, values on the borders included."""

import pytest

from lungperfusion.errors import InputError
from lungperfusion.iodine.phenotype import (
    CtFindings,
    LungFunction,
    gas_transfer_mismatch,
    isolated_low_dlco,
    stratum,
    stratum_code,
)

NORMAL_CT = CtFindings(qanadli_percent=0.0, ggo_percent=3.9, pa_ao_ratio=0.88, rv_lv_ratio=0.95)


@pytest.mark.parametrize(
    ("fvc", "dlco", "text"),
    [
        (80, 79.9, "FVC >= 80 %, DLCOc < 80 %"),
        (79.9, 80, "FVC < 80 %, DLCOc >= 80 %"),
        (None, 70, "FVC unknown, DLCOc < 80 %"),
    ],
)
def test_strata_split_at_eighty(fvc, dlco, text):
    assert stratum(LungFunction(fvc=fvc, dlco_c=dlco)) == text


def test_isolated_low_dlco_needs_every_condition():
    function = LungFunction(fvc=97.3, dlco_c=64.8)
    assert isolated_low_dlco(function, NORMAL_CT).answer == "met"
    clot = CtFindings(qanadli_percent=1.0, ggo_percent=3.9, pa_ao_ratio=0.88, rv_lv_ratio=0.95)
    assert isolated_low_dlco(function, clot).answer == "not met"
    unknown = CtFindings(qanadli_percent=0.0, ggo_percent=3.9, pa_ao_ratio=0.88)
    pattern = isolated_low_dlco(function, unknown)
    assert pattern.answer == "unknown"
    assert [c.text for c in pattern.conditions if c.answer == "unknown"] == [
        "RV/LV ratio up to 1.50"
    ]


@pytest.mark.parametrize(("ggo", "answer"), [(0.0, "met"), (0.18, "met"), (5.06, "met")])
def test_little_ground_glass_is_no_disease(ggo, answer):
    ct = CtFindings(qanadli_percent=0.0, ggo_percent=ggo, pa_ao_ratio=0.88, rv_lv_ratio=0.95)
    assert isolated_low_dlco(LungFunction(fvc=97.3, dlco_c=64.8), ct).answer == answer


@pytest.mark.parametrize(
    ("rv_lv", "answer"), [(1.04, "met"), (1.49, "met"), (1.51, "not met"), (0.8, "met")]
)
def test_the_ratio_of_the_letters_own_patients_is_no_sign(rv_lv, answer):
    ct = CtFindings(qanadli_percent=0.0, ggo_percent=1.0, pa_ao_ratio=0.88, rv_lv_ratio=rv_lv)
    pattern = isolated_low_dlco(LungFunction(fvc=97.3, dlco_c=64.8), ct)
    assert pattern.answer == answer
    assert "normal < 1" in pattern.note
    assert "all with FVC >= 80 %" in pattern.note


@pytest.mark.parametrize(
    ("fvc", "dlco", "code"), [(80, 80, 0), (80, 79, 1), (79, 80, 2), (79, 79, 3), (None, 79, None)]
)
def test_strata_have_codes(fvc, dlco, code):
    assert stratum_code(LungFunction(fvc=fvc, dlco_c=dlco)) == code


def test_one_failed_condition_outweighs_unknown_ones():
    assert isolated_low_dlco(LungFunction(dlco_c=80), CtFindings()).answer == "not met"


def test_gas_transfer_mismatch_needs_normal_spirometry_and_scan():
    function = LungFunction(fvc=100, fev1=98, dlco_c=76)
    pattern = gas_transfer_mismatch(function, NORMAL_CT)
    assert pattern.answer == "met"
    assert "discuss" in pattern.note
    obstructed = LungFunction(fvc=100, fev1=70, dlco_c=76)
    assert gas_transfer_mismatch(obstructed, NORMAL_CT).answer == "not met"


@pytest.mark.parametrize("value", [0.85, 4.2, 300])
def test_refuses_values_that_are_not_percent_predicted(value):
    with pytest.raises(InputError, match="% of predicted"):
        LungFunction(fvc=value)
