"""Models from tables of labelled cases, with honest figures."""

from __future__ import annotations

import argparse
import json
import math

import numpy as np
import pytest

from lungperfusion.cohort.comparisons import wilson
from lungperfusion.cohort.training import area_under_curve, train
from lungperfusion.commands.ctvq import _read_model
from lungperfusion.errors import InputError
from lungperfusion.vq.model import LogisticModel


def table(n=80, signal=2.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    y = (signal * x[:, 0] + rng.normal(size=n) > 0).astype(int)
    return [
        {"case": f"p{number}", "a": p, "b": q, "answer": int(r)}
        for number, ((p, q), r) in enumerate(zip(x, y, strict=True))
    ]


def fit(rows, **settings):
    return train(rows, outcome="answer", features=("a", "b"), purpose="test", repeats=4, **settings)


@pytest.fixture(scope="module")
def good():
    return fit(table())


def test_training_finds_the_signal_and_none_where_none_is(good):
    assert good.validation["auc"] > 0.85
    assert good.coefficients[0] > 3 * abs(good.coefficients[1])
    assert good.validation["auc_interval"][0] < good.validation["auc"]
    noise = fit(table(signal=0.0, n=60))
    assert noise.validation["auc"] < 0.7
    assert noise.validation["auc_in_sample"] >= noise.validation["auc"]


def test_a_feature_that_can_only_protect_gets_no_other_sign(good):
    assert good.coefficients[0] > 0
    held = fit(table(), decreasing=("a",))
    alone = train(table(), outcome="answer", features=("b",), purpose="test", repeats=4)
    assert held.coefficients[0] == 0
    assert held.coefficients[1] == pytest.approx(alone.coefficients[0], abs=1e-4)
    assert held.validation["auc"] == pytest.approx(alone.validation["auc"], abs=1e-6)
    assert fit(table(signal=-2.0), decreasing=("a",)).coefficients[0] < 0
    assert held.provenance["decreasing"] == ["a"]


def test_patients_with_several_rows_are_not_learnt_from_and_tested_on():
    """Three nearly equal rows of each patient, and an answer that nothing tells."""
    rng = np.random.default_rng(5)
    rows = [
        {
            "case": f"p{patient}",
            **{name: x[n] + rng.normal(0, 0.05) for n, name in enumerate("abcdefgh")},
            "answer": answer,
        }
        for patient in range(40)
        for x, answer in [(rng.normal(size=8), int(rng.integers(2)))]
        for _ in range(3)
    ]
    settings = {"outcome": "answer", "features": tuple("abcdefgh"), "purpose": "test"}

    honest = train(rows, repeats=4, **settings).validation
    each = [{**row, "row": number} for number, row in enumerate(rows)]
    leaking = train(each, repeats=4, group="row", **settings).validation

    assert honest["auc"] < 0.6
    assert leaking["auc"] > honest["auc"] + 0.05
    assert honest["auc_interval"][0] < 0.5
    assert (honest["cases"], honest["patients"]) == (120, 40)
    assert "grouped by case, scored per fold" in honest["method"]


def test_a_table_without_patients_is_refused_and_repeats_are_counted():
    bare = [{k: v for k, v in row.items() if k != "case"} for row in table()]
    with pytest.raises(InputError, match="column 'case' that names the patient"):
        fit(bare)
    doubled = [*table(), *({**row, "case": "again"} for row in table()[:5])]
    assert fit(doubled).validation["repeated_rows"] == 5


def test_calibration_of_a_model_without_signal_leaves_its_intercept_at_the_prevalence(good):
    assert 0.5 < good.validation["calibration_slope"] < 2
    assert abs(good.validation["calibration_intercept"]) < 0.5


def test_area_under_curve_counts_pairs():
    outcome, score = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.8])
    assert area_under_curve(outcome, score) == pytest.approx((1 + 1 + 0.5 + 1) / 4)


def test_model_survives_its_json_and_predicts_the_same(good):
    model = good
    text = model.to_json()
    again = LogisticModel.from_record(json.loads(text))
    assert again.to_json() == text
    case = {"a": 1.0, "b": -0.3}
    assert again.probability(case) == model.probability(case)
    assert model.probability({"a": 3, "b": 0}) > 0.9 > 0.1 > model.probability({"a": -3, "b": 0})
    assert math.isnan(model.probability({"a": 1.0}))
    assert text == fit(table()).to_json()
    assert "Not for diagnosis" in json.loads(text)["notice"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows"),
        ([{"a": 1, "answer": 1}], "lacks the columns b"),
        ([{"a": "x", "b": 1, "answer": 1}], "no number"),
        ([{"a": math.nan, "b": 1, "answer": 1}], "columns a have empty values"),
        ([{"a": 1, "b": 1, "answer": 2}], "must hold 0 and 1 only"),
        ([{"a": 1, "b": 1, "answer": 1}] * 9, "has 9 with answer = 1 and 0 with 0"),
    ],
)
def test_training_refuses(rows, message):
    with pytest.raises(InputError, match=message):
        fit(rows)


def test_wilson_interval_of_29_in_30():
    low, high = wilson(29, 30)
    assert low == pytest.approx(0.833, abs=1e-3)  # published tables
    assert high == pytest.approx(0.994, abs=1e-3)


@pytest.mark.parametrize(
    ("number", "value"),
    [("sd", 0.0), ("sd", math.nan), ("mean", "x"), ("coefficient", math.inf), ("mean", 10**400)],
)
def test_model_with_impossible_numbers_is_refused(good, number, value):
    record = json.loads(good.to_json())
    record["features"][0][number] = value
    with pytest.raises(InputError, match="train it again"):
        LogisticModel.from_record(record)


def test_train_command_writes_a_model_that_predicts(tmp_path, capsys):
    from lungperfusion.commands import train as command

    rows = table()
    path = tmp_path / "cases.csv"
    lines = ["case,a,b,answer", *(f"{r['case']},{r['a']},{r['b']},{r['answer']}" for r in rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = [str(path), "--outcome", "answer", "--features", "a", "b", "--repeats", "2"]
    words += ["-o", str(tmp_path / "model.json")]
    assert command.run(parser.parse_args(words), lambda f, m: None) == 0
    assert "AUC" in capsys.readouterr().out
    model = _read_model(tmp_path / "model.json")
    assert model.probability({"a": 3, "b": 0}) > 0.9
    assert len(model.provenance["table_sha256"]) == 64
    with pytest.raises(InputError, match="give --overwrite"):
        command.run(parser.parse_args(words), lambda f, m: None)
    with pytest.raises(InputError, match="there is no file"):
        command.read_table(tmp_path / "absent.csv")
