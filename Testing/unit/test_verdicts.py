"""No value is better than the checks it rests on, and none is impossible."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest

from lungperfusion.measurement import measured, missing
from lungperfusion.quality import Gate
from lungperfusion.results.analysis import Analysis, Table
from lungperfusion.segmentation.lobes import PLANS
from lungperfusion.terms import LOBES, MEASURES
from lungperfusion.terms.gates import ABOUT_THE_SCAN, GATES, GIVEN, STATES, VQ, effects_of
from lungperfusion.verdicts import LONGEST_REASON, MORE, follow_gates, rests_on, worst_first

PACKAGE = Path(__file__).resolve().parents[2] / "LungPerfusionLib" / "lungperfusion"

GIVEN_BY_NAME = {
    ("lobe_quality.py", "name"): tuple(PLANS),
    ("measured.py", "id_"): tuple(
        f"{quantity}_map_{check}"
        for quantity in ("perfusion", "ventilation")
        for check in ("alignment", "coverage")
    ),
}
"""IDs of gates that the code takes from a variable."""


def gate(id_: str, verdict: str, message: str = "") -> Gate:
    return Gate(id=id_, verdict=verdict, message=message or f"{id_} is {verdict}.")


def status(measure: str, *gates: Gate, region: str = "lungs", value: float = 1.0):
    (entry,) = follow_gates((measured(region, measure, value, "m"),), gates)
    return entry.status


# ------------------------------------------------------------------------------------ registry


def emitted_ids() -> set[str]:
    """Every ID that the package makes a gate with, or passes to a function that makes one."""
    found: set[str] = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]:
            names = [argument.arg for argument in function.args.args]
            for call in _gate_calls(function):
                words = {keyword.arg: keyword.value for keyword in call.keywords}
                if not words or "id" not in words:
                    continue
                given = words["id"]
                if isinstance(given, ast.Constant):
                    found.add(given.value)
                elif (path.name, given.id) in GIVEN_BY_NAME:
                    found |= set(GIVEN_BY_NAME[path.name, given.id])
                else:
                    found |= _passed(tree, function.name, names.index(given.id))
    return found


def _gate_calls(tree: ast.AST) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Gate"
    ]


def _passed(tree: ast.AST, function: str, position: int) -> set[str]:
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == function
    ]
    assert calls, f"{function} makes gates, and nobody calls it"
    return {call.args[position].value for call in calls}


def test_every_gate_is_in_the_registry_and_none_is_stale():
    assert emitted_ids() == set(GATES)


def test_every_measure_of_the_lungs_rests_on_some_gate():
    """A new measure has to be put into the groups of the gates it depends on."""
    resting = {name for effects in GATES.values() for effect in effects for name in effect.measures}
    assert set(MEASURES) - resting == GIVEN | ABOUT_THE_SCAN


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("id_", ["truncation", "air_calibration", "missed_disease"])
def test_gates_of_one_breath_leave_out_what_the_other_shows(state, id_):
    touched = {m for effect in effects_of(f"{state}_{id_}") for m in effect.measures}
    assert touched
    assert touched <= VQ
    assert not touched & STATES[state]


def test_an_unknown_gate_bears_on_everything():
    assert status("tlv", gate("brand_new", "fail")) == "caution"
    assert status("qanadli", gate("brand_new", "fail")) == "ok"


# -------------------------------------------------------------------------------------- status


@pytest.mark.parametrize(
    ("measure", "region", "id_", "on_warn", "on_fail"),
    [
        ("mld", "lungs", "air_calibration", "caution", "missing"),
        ("tlv", "lungs", "air_calibration", "ok", "ok"),
        ("laa_950_without_noise", "lungs", "noise", "caution", "caution"),
        ("tlv", "lungs", "truncation", "caution", "caution"),
        ("mld", "lungs", "truncation", "ok", "caution"),
        ("laa_950", "lungs", "slice_thickness", "caution", "caution"),
        ("tlv", "lungs", "slice_thickness", "ok", "caution"),
        ("tlv", "left_lung", "side_ratio", "caution", "caution"),
        ("tlv", "lungs", "side_ratio", "ok", "caution"),
        ("tlv", "lungs", "lung_volume", "caution", "missing"),
        ("ventilation_share", "lungs", "registration_vessels", "caution", "missing"),
        ("air_trapping", "lungs", "registration_vessels", "ok", "ok"),
        ("bv5", "lungs", "vessel_noise", "caution", "missing"),
        ("bv10", "lungs", "vessel_noise", "ok", "ok"),
        ("iodine_mean", "lungs", "pair_alignment", "caution", "missing"),
        ("rv_lv_ratio", "lungs", "pair_alignment", "ok", "ok"),
    ],
)
def test_status_follows_the_gate(measure, region, id_, on_warn, on_fail):
    value = -800.0 if measure == "mld" else 1.0
    found = [
        status(measure, gate(id_, verdict), region=region, value=value)
        for verdict in ("pass", "unknown", "warn", "fail")
    ]
    assert found == ["ok", "ok", on_warn, on_fail]


def test_a_fissure_bears_on_its_own_lobes_only():
    failed = gate("left_oblique_fissure", "fail")
    doubted = [lobe for lobe in LOBES if status("iodine_mean", failed, region=lobe) == "caution"]
    assert doubted == ["left_upper_lobe", "left_lower_lobe"]


def test_reasons_are_said_once_worst_first_and_not_endlessly():
    own = measured("lungs", "tlv", 5.0, "m", caution="part of it is padding")
    gates = [gate("truncation", "warn", "Cut off."), gate("truncation", "fail", "Half is missing.")]
    many = [
        gate(f"new_{n}", "warn", f"Something is not right in place number {n}." * 2)
        for n in range(9)
    ]

    (few,) = follow_gates((own,), gates)
    (long,) = follow_gates((own,), many)

    assert few.reason == "part of it is padding; Half is missing; Cut off"
    assert long.reason.endswith(MORE)
    assert len(long.reason) <= LONGEST_REASON + len(MORE) + 2
    assert follow_gates((few,), gates) == (few,), "nothing is said twice"
    assert follow_gates((long,), many) == (long,)


def test_a_failed_gate_takes_the_number_away_and_keeps_earlier_reasons():
    gone = missing("lungs", "laa_950", "no voxel")
    rows = (measured("lungs", "mld", -800.0, "m"), gone)

    lost, same = follow_gates(rows, [gate("air_calibration", "fail", "Air is wrong.")])

    assert math.isnan(lost.value)
    assert (lost.status, lost.reason) == ("missing", "Air is wrong")
    assert same is gone


@pytest.mark.parametrize(
    ("measure", "value", "expected"),
    [
        ("tlv", 1e25, "missing"),
        ("tlv", 15.0, "ok"),
        ("tlv", -0.1, "missing"),
        ("laa_950", 100.0, "ok"),
        ("laa_950", 100.0 + 1e-9, "ok"),
        ("laa_950", 100.1, "missing"),
        ("iodine_mean", 0.0, "ok"),
        ("iodine_mean", -0.5, "caution"),
        ("iodine_mean", -5.1, "missing"),
        ("ipv", -172.7, "missing"),
        ("iodine_p10", -20.0, "ok"),
        ("volume_change", -20.0, "ok"),
        ("defect_volume", -1.0, "missing"),
        ("bv5_z_low_oxygen", -3.0, "ok"),
    ],
)
def test_what_cannot_be_is_not_ok(measure, value, expected):
    (entry,) = follow_gates((measured("lungs", measure, value, "m"),), ())
    assert entry.status == expected
    assert (expected == "missing") == ("impossible" in entry.reason)


def test_gates_are_ordered_by_urgency_and_named_with_values():
    gates = [gate("truncation", "pass"), gate("inspiration", "warn"), gate("lung_volume", "fail")]
    assert [g.verdict for g in worst_first(gates)] == ["fail", "warn", "pass"]
    assert rests_on(measured("lungs", "mld", -800.0, "m"), gates) == (
        *("truncation", "inspiration", "lung_volume"),
    )


# ------------------------------------------------------------------------------------ analysis


def test_an_analysis_cannot_hold_a_value_better_than_its_gates():
    rows = ({"defect": 1, "region": "left_lung", "volume_ml": 3.0},)
    analysis = Analysis(
        module="ipv",
        measurements=(measured("lungs", "iodine_mean", 40.0, "m"),),
        gates=(gate("pair_alignment", "fail", "The images do not lie on each other."),),
        tables={
            "defects": Table(("defect", "region", "volume_ml"), rows, "defect_volume"),
            "left_out": Table(("region",), ({"region": "lungs"},)),
        },
    )

    assert analysis.measurements[0].status == "missing"
    defects = analysis.tables["defects"]
    assert defects.columns == ("defect", "region", "volume_ml", "status", "reason")
    (row,) = defects.rows
    assert math.isnan(row["volume_ml"])
    assert (row["defect"], row["status"]) == (1, "missing")
    assert row["reason"] == "The images do not lie on each other"
    assert defects.following(analysis.gates) == defects or str(defects.rows) == str(
        defects.following(analysis.gates).rows
    )
    assert analysis.tables["left_out"].columns == ("region",)


def test_decisions_follow_what_they_are_made_from():
    noisy = gate("inspiration_noise", "warn")
    assert status("lvrs_flag", noisy) == "caution"
    assert status("target_rank", noisy, region="left_upper_lobe") == "caution"
    assert status("lvrs_flag", gate("registration_vessels", "fail")) == "missing"
    assert status("isolated_low_dlco", gate("contrast", "warn")) == "caution"
