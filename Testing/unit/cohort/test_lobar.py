"""Lobes of many patients: what size alone explains, and what is left within patients."""

from __future__ import annotations

import argparse
import math

import numpy as np
import pytest

from lungperfusion.cohort.lobar import agree_by_region, agree_within_patients, fit_random_intercept
from lungperfusion.commands.train import read_table
from lungperfusion.errors import InputError
from lungperfusion.terms import LOBES


def test_lobe_size_alone_gives_a_high_pooled_correlation_and_the_null_says_so():
    rng = np.random.default_rng(0)
    mean = np.array([20.0, 9.0, 26.0, 22.0, 23.0])
    rows = []
    for _ in range(56):
        ct, reference = (mean + rng.normal(0, 2, 5) for _ in range(2))
        rows += [
            {"region": str(i), "ct": a, "ref": b, "vol": v}
            for i, (a, b, v) in enumerate(zip(ct, reference, mean, strict=True))
        ]
    found = agree_by_region(rows, ct="ct", reference="ref", volume="vol")
    assert found["all"].pearson == pytest.approx(0.91, abs=0.02)  # methods 0.4
    assert found["all"].null_pearson > 0.9
    assert abs(found["all"].partial_pearson) < 0.15
    assert abs(found["all"].adjusted_pearson) < 0.2
    assert abs(found["0"].pearson) < 0.3
    assert math.isnan(found["0"].null_pearson)
    assert found["all"].bias == pytest.approx(0, abs=0.5)
    assert found["all"].limits[1] == pytest.approx(1.96 * 2 * 2**0.5, abs=0.6)


def shares_of_patients(rng, patients, spread, error):
    """Shares of five lobes: patients differ by ``spread``, of which the CT sees a part."""
    mean = np.array([20.0, 9.0, 26.0, 22.0, 23.0])
    rows = []
    for case in range(patients):
        volume, own = mean + rng.normal(0, 2, 5), rng.normal(0, spread, 5)
        reference = volume + own
        ct = volume + (own if error is None else rng.normal(0, spread, 5))
        ct += rng.normal(0, error or 0.3, 5)
        rows += [
            {"case": str(case), "region": lobe, "ct": a, "ref": b, "vol": v}
            for lobe, a, b, v in zip("abcde", ct, reference, volume, strict=True)
        ]
    return rows


def test_mixed_model_tells_agreement_from_usual_lobe_sizes():
    columns = {"ct": "ct", "reference": "ref", "volume": "vol"}
    rng = np.random.default_rng(3)
    null = shares_of_patients(rng, 40, 3.0, 0.3)
    assert agree_by_region(null, **columns)["all"].pearson > 0.7
    found = agree_within_patients(null, **columns)
    assert found.interval[0] < 0 < found.interval[1]
    assert abs(found.slope) < 0.15
    true = agree_within_patients(shares_of_patients(rng, 40, 3.0, None), **columns)
    assert true.slope == pytest.approx(1, abs=0.05)
    assert true.interval[0] > 0.9
    assert (true.subjects, true.count) == (40, 200)


def test_random_intercept_is_that_of_the_analysis_of_variance():
    # Balanced, and the predictor has no subject effect: restricted maximum likelihood is known.
    rng = np.random.default_rng(0)
    subjects, each = 6, 5
    x = np.tile([-2.0, -1.0, 0.0, 1.0, 2.0], subjects)
    member = np.repeat(np.arange(subjects), each)
    y = 4 + 0.5 * x + rng.normal(0, 2, subjects)[member] + rng.normal(0, 1, member.size)
    found = fit_random_intercept(y, [x], [f"s{i}" for i in member])
    slope = (x * y).sum() / (x**2).sum()
    means = y.reshape(subjects, each).mean(axis=1)
    within = ((y - means[member] - slope * x) ** 2).sum() / (member.size - subjects - 1)
    between = each * means.var(ddof=1)
    assert found.slope == pytest.approx(slope)
    assert found.residual_sd == pytest.approx(within**0.5, rel=1e-4)
    assert found.subject_sd == pytest.approx(((between - within) / each) ** 0.5, rel=1e-4)
    # The same by Student's t of the slope within subjects.
    reach = found.interval[1] - slope
    error = (within / (x**2).sum()) ** 0.5
    assert reach == pytest.approx(2.0687 * error, rel=1e-3)  # t(0.975, 23)
    flat = fit_random_intercept(y - means[member], [x], [f"s{i}" for i in member])
    assert flat.subject_sd == pytest.approx(0, abs=1e-6)


def test_random_intercept_refuses_what_it_cannot_tell():
    with pytest.raises(InputError, match="at least three subjects"):
        fit_random_intercept([1, 2, 3, 4], [[1, 2, 1, 3]], ["a", "a", "b", "b"])
    subjects = [name for name in "abcd" for _ in range(3)]
    x = [1.0, 2.0, 3.0] * 4
    with pytest.raises(InputError, match="follows from the others"):
        fit_random_intercept(range(12), [x, [2 * v for v in x]], subjects)


def test_agree_command_pools_cases_and_tells_zones_and_readers_apart(tmp_path):
    from lungperfusion.commands import agree as command

    rng = np.random.default_rng(1)
    mean = dict(zip(LOBES, (20.0, 9.0, 26.0, 22.0, 23.0), strict=True))
    for number in range(12):
        folder = tmp_path / "cases" / f"case{number}" / "ctvq"
        folder.mkdir(parents=True)
        lines = ["region,ct_percent,reference_percent,volume_percent,voxel_pearson"]
        for lobe, share in mean.items():
            true = share + rng.normal(0, 3)
            lines.append(f"{lobe},{true + rng.normal(0, 1)},{true},{share},0.5")
        (folder / "reference_comparison.csv").write_text("\n".join(lines), encoding="utf-8")
        lines = ["reader,region,derived_rating,given_rating"]
        for zone in ("left_upper_zone", "right_lower_zone"):
            derived = int(rng.integers(1, 6))
            lines += [f"a,{zone},{derived},{derived}", f"b,{zone},{derived},{6 - derived}"]
        (folder / "zone_ratings.csv").write_text("\n".join(lines), encoding="utf-8")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = [str(tmp_path / "cases"), "-o", str(tmp_path / "out")]
    assert command.run(parser.parse_args(words), lambda f, m: None) == 0
    rows = {r["over"]: r for r in read_table(tmp_path / "out" / "agreement_lobes.csv")}
    assert list(rows) == ["all lobes", *LOBES]
    assert float(rows["all lobes"]["pearson"]) > 0.95
    assert int(rows["all lobes"]["count"]) == 60
    assert float(rows["left_upper_lobe"]["pearson"]) > 0.8
    (mixed,) = read_table(tmp_path / "out" / "agreement_mixed_model.csv")
    assert (mixed["over"], mixed["subjects"], mixed["reason"]) == ("all lobes", "12", "")
    assert float(mixed["lower"]) < float(mixed["slope"]) < 1.1
    assert float(mixed["lower"]) > 0.7
    tau = {
        r["over"]: float(r["kendall_tau"])
        for r in read_table(tmp_path / "out" / "agreement_ratings.csv")
    }
    assert tau["reader a"] == pytest.approx(1)
    assert tau["reader b"] == pytest.approx(-1)
    assert set(tau) == {"all", "reader a", "reader b", "left_upper_zone", "right_lower_zone"}
    assert not (tmp_path / "out" / "agreement_zones.csv").exists()
    with pytest.raises(InputError, match="give --overwrite to replace"):
        command.run(parser.parse_args(words), lambda f, m: None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"run lungperfusion ctvq with --reference"):
        command.run(
            parser.parse_args([str(tmp_path / "empty"), "-o", str(tmp_path / "o")]),
            lambda f, m: None,
        )
