"""Alveolar-arterial gradient, oxygen groups, and what they put into the results."""

from __future__ import annotations

import pytest

from lungperfusion.errors import InputError
from lungperfusion.vessels.oxygen import (
    BloodGas,
    aado2_mmhg,
    expected_aado2_mmhg,
    fio2_from_nasal_flow,
    measure_oxygen,
    oxygen_group,
    water_vapour_mmhg,
)


def test_check_values_of_both_forms():
    gas = {"fio2": 0.21, "pressure_mmhg": 760, "paco2_mmhg": 40, "pao2_mmhg": 90}
    assert aado2_mmhg(**gas, short=True) == pytest.approx(9.73, abs=0.005)
    assert aado2_mmhg(**gas) == pytest.approx(11.83, abs=0.005)


def test_water_vapour_follows_temperature():
    assert water_vapour_mmhg() == 47.0
    assert water_vapour_mmhg(39.0) == pytest.approx(52.4, abs=0.3)
    with pytest.raises(InputError, match="20 to 45"):
        water_vapour_mmhg(98.6)


@pytest.mark.parametrize(
    ("flow", "group"),
    [(0, "up_to_2_l_min"), (2.0, "up_to_2_l_min"), (2.01, "above_2_l_min"), (15, "above_2_l_min")],
)
def test_groups_of_the_letter(flow, group):
    assert oxygen_group(flow) == group


def test_nasal_estimate():
    assert fio2_from_nasal_flow(0) == 0.21
    assert fio2_from_nasal_flow(2) == pytest.approx(0.28)
    with pytest.raises(InputError, match="0 to 6 L/min"):
        fio2_from_nasal_flow(10)


def test_expected_for_age():
    assert expected_aado2_mmhg(40) == 14
    with pytest.raises(InputError, match="age"):
        expected_aado2_mmhg(400)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"fio2": 21}, "not %"), ({"pao2_mmhg": 5}, "kPa"), ({"pressure_mmhg": 101}, "barometric")],
)
def test_wrong_units_are_refused(change, words):
    gas = {"fio2": 0.21, "paco2_mmhg": 40, "pao2_mmhg": 90} | change
    with pytest.raises(InputError, match=words):
        aado2_mmhg(**gas)


def test_rows():
    assert measure_oxygen(BloodGas()) == ()
    rows = measure_oxygen(BloodGas(pao2_mmhg=70, paco2_mmhg=40, oxygen_l_min=3, age_years=60))
    by_measure = {row.measure: row for row in rows}
    assert by_measure["aado2"].status == "caution"
    assert by_measure["aado2_expected"].value == 19
    assert by_measure["oxygen_flow_above_2"].value == 1
    assert "room air" in by_measure["aado2_expected"].reason
    air = measure_oxygen(BloodGas(pao2_mmhg=70, paco2_mmhg=40, age_years=60))
    assert {row.status for row in air} == {"ok"}
    lone = measure_oxygen(BloodGas(pao2_mmhg=70))
    assert lone[0].status == "missing"


def test_a_high_flow_leaves_out_the_gradient_only():
    gas = BloodGas(pao2_mmhg=70, paco2_mmhg=40, oxygen_l_min=8, age_years=60)
    rows = {row.measure: row for row in measure_oxygen(gas)}
    assert rows["aado2"].status == "missing"
    assert "8 L/min" in rows["aado2"].reason
    assert "--fio2" in rows["aado2"].reason
    assert rows["aado2_expected"].status == "caution"
    assert rows["oxygen_flow_above_2"].value == 1
    given = BloodGas(pao2_mmhg=70, paco2_mmhg=40, oxygen_l_min=8, fio2=0.5)
    assert measure_oxygen(given)[0].status == "ok"
