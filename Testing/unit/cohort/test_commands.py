"""``lungperfusion cohort`` and ``context``: from two tables to a folder."""

from __future__ import annotations

import csv
import random
import re
import sys

import numpy as np
import pytest
from Testing.unit.cohort.conftest import exact_sample, made_up_cohort, tidy_rows, write_csv

from lungperfusion.__main__ import main
from lungperfusion.cohort.specification import read_specification
from lungperfusion.errors import InputError
from lungperfusion.results.tables import COLUMNS

EXTRAS = ("--roc", "ipv:improved", "--strata", "age_years:50")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("in")
    tidy, clinical = made_up_cohort(30)
    clinical.append({**clinical[0], "case": "ALONE"})
    return (
        write_csv(folder / "cohort_tidy.csv", tidy, COLUMNS),
        write_csv(folder / "clinical.csv", clinical),
    )


@pytest.fixture(scope="module")
def out(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "study"
    words = ["cohort", *map(str, inputs), "--preset", "letter-iodine", *EXTRAS, "--no-report"]
    assert main([*words, "-o", str(folder), "--quiet"]) == 0
    return folder


SMALL = ("--strata", "fvc_pct:80", "--rows", "ipv", "ggo", "sex", "--relate", "ipv:kco_pct")


@pytest.fixture(scope="module")
def reported(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "study"
    words = ["cohort", *map(str, inputs), *SMALL, "--roc", "ipv:improved", "-o", str(folder)]
    assert main([*words, "--quiet"]) == 0
    return folder


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def run(capsys, *words):
    code = main([*map(str, words), "--quiet"])
    return code, capsys.readouterr().err


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_all_files_of_a_study(out, reported):
    names = files_of(out)
    wanted = "table1 tests correlations regressions influence roc operating_points phenotypes"
    assert {f"{name}.csv" for name in wanted.split()} <= names
    assert {"excluded.csv", "context.csv", "patterns.csv", "methods.txt"} <= names
    assert "report.html" not in names
    pictures = {name for name in files_of(reported) if name.startswith("figures/")}
    kinds = ("groups_1", "relation_1", "roc_1")
    assert pictures == {f"figures/{name}.{end}" for name in kinds for end in ("png", "svg")}


def test_layout_of_the_letter(out):
    rows = rows_of(out / "table1.csv")
    assert [row["row"] for row in rows][:3] == ["Patients, n", "Age, years", "Male"]
    columns = list(rows[0])
    assert columns[3:10] == [
        "All patients", "FVC ≥80 % pred", "FVC <80 % pred", "DLCO ≥80 % pred", "DLCO <80 % pred",
        "FVC ≥80 % and DLCO ≥80 %", "FVC ≥80 % and DLCO <80 %",
    ]  # fmt: skip
    assert columns[10:12] == ["age_years ≥ 50", "age_years < 50"]
    by_row = {row["row"]: row for row in rows}
    fvc, dlco = by_row["FVC % pred"], by_row["DLCOc % pred"]
    # what parts the columns is not shown in them and not tested between them
    assert fvc["FVC ≥80 % pred"] == fvc["FVC <80 % pred"] == fvc["FVC: p"] == "NA"
    assert "±" in fvc["DLCO <80 % pred"]
    assert dlco["DLCO: p"] == dlco["DLCO in normal FVC: p"] == "NA"
    assert fvc["DLCO in normal FVC: p"] != "NA"
    assert "±" in dlco["FVC ≥80 % and DLCO <80 %"]
    assert re.fullmatch(r"\d+/\d+ \(\d+\.\d\)", by_row["Male"]["All patients"])
    assert all(row["test"] for row in rows_of(out / "tests.csv"))
    tested = {(r["comparison"], r["column"]): r for r in rows_of(out / "tests.csv")}
    assert tested["FVC", "fvc_pct"]["reason"] == "the groups are made by this column"
    assert tested["age_years at 50", "age_years"]["test"] == "NA"
    for row in tested.values():
        if row["p"] != "NaN":
            assert float(row["p_holm"]) >= float(row["p"])
            assert int(row["family_size"]) == 14


def test_what_does_not_match_is_listed(out):
    (row,) = [r for r in rows_of(out / "excluded.csv") if not r["column"]]
    assert row["case"] == "ALONE"
    assert row["reason"] == "not in cohort_tidy.csv"


def test_methods_name_what_was_done_and_with_what(out):
    text = (out / "methods.txt").read_text(encoding="utf-8")
    for words in ("30 cases", "Welch", "Holm", "HC3", "DeLong", "statsmodels", "not imputed"):
        assert words in text
    assert "Kruskal" not in text
    assert "median [quartiles]" in text


def test_report_needs_no_network_and_holds_no_file_name(reported):
    page = (reported / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=[\"']?https?:", page)
    assert "clinical.csv" not in page
    assert page.count("<figure") == 3
    assert "contradict each other" in page
    assert page.count("<table") == page.count("</table>") > 8


def test_shuffled_input_gives_the_same_bytes(inputs, reported, tmp_path):
    shuffled = []
    for number, path in enumerate(inputs):
        lines = path.read_text(encoding="utf-8").splitlines()
        body = lines[1:]
        random.Random(number).shuffle(body)
        other = tmp_path / path.name
        other.write_text("\n".join([lines[0], *body]) + "\n", encoding="utf-8")
        shuffled.append(str(other))
    again = tmp_path / "again"
    words = ["cohort", *shuffled, *SMALL, "--roc", "ipv:improved", "-o", str(again)]
    assert main([*words, "--quiet"]) == 0

    assert files_of(reported) == files_of(again)
    for name in files_of(reported):
        assert (reported / name).read_bytes() == (again / name).read_bytes(), name


def test_published_table_from_patients_that_match_it(tmp_path, capsys):
    """The small-vessel letter by its preset: 46.89 (8.59), 41.61 (6.95), p 0.023."""
    values = np.concatenate([exact_sample(46.89, 8.59, 32), exact_sample(41.61, 6.95, 18, 1)])
    names = [f"P{n:02d}" for n in range(50)]
    tidy = write_csv(
        tmp_path / "tidy.csv",
        tidy_rows({"bv5_letter_share": dict(zip(names, values, strict=True))}, module="vesselbv"),
        COLUMNS,
    )
    flow = ["2"] * 32 + ["2.5"] * 18  # exactly 2 L/min belongs to the lower group
    clinical = write_csv(
        tmp_path / "clinical.csv",
        [{"case": n, "oxygen_l_min": f} for n, f in zip(names, flow, strict=True)],
    )
    words = ("cohort", tidy, clinical, "--preset", "letter-bv5", "--no-report", "-o")
    code, err = run(capsys, *words, tmp_path / "out")

    assert code == 0
    assert "pao2_mmhg: in neither table" in err
    head, row = rows_of(tmp_path / "out" / "table1.csv")
    assert (head["≤2 L/min O2"], head[">2 L/min O2"]) == ("32", "18")
    assert (row["≤2 L/min O2"], row[">2 L/min O2"]) == ("46.89 ± 8.59", "41.61 ± 6.95")
    assert row["Oxygen: effect (95 % CI)"] == "5.28 (0.77 to 9.79)"
    assert (row["Oxygen: test"], row["Oxygen: p"]) == ("Welch t", "0.023")
    assert not (tmp_path / "out" / "report.html").exists()


def test_d_dimers_in_several_units_are_compared_in_one(tmp_path, capsys):
    tidy, clinical = made_up_cohort(12)
    measured = write_csv(tmp_path / "tidy.csv", tidy, COLUMNS)
    words = ("--rows", "d_dimer", "--strata", "d_dimer:1000", "--no-report", "-o")
    found = []
    for name, factor, unit in (("one", 1, "mg/L"), ("several", 1000, "ng/mL")):
        for row in clinical[:6]:
            row |= {"d_dimer": f"{factor * float(row['d_dimer']):g}", "d_dimer_unit": unit}
        table = write_csv(tmp_path / f"{name}.csv", clinical)
        assert run(capsys, "cohort", measured, table, *words, tmp_path / name)[0] == 0
        found.append((tmp_path / name / "table1.csv").read_text(encoding="utf-8"))
    assert found[0] == found[1]
    assert "µg/L" in found[0]

    clinical[0]["d_dimer_assay"] = ""
    table = write_csv(tmp_path / "assays.csv", clinical)
    err = run(capsys, "cohort", measured, table, *words, tmp_path / "assays")[1]
    assert "assays in FEU (11), unknown (1)" in err


def test_columns_and_groups_without_values_are_said(tmp_path, capsys):
    tidy, clinical = made_up_cohort(12)
    measured = write_csv(tmp_path / "tidy.csv", tidy, COLUMNS)
    empty = [{**row, "fvc_pct": "", "dlco_pct": "NA"} for row in clinical]
    table = write_csv(tmp_path / "empty.csv", empty)
    words = ("--rows", "ipv", "--strata", "fvc_pct:80", "--relate", "ipv:dlco_pct", "--no-report")
    code, err = run(capsys, "cohort", measured, table, *words, "-o", tmp_path / "out")

    assert code == 0
    assert err.count("No case is in the group") == 2
    reasons = {row["reason"] for row in rows_of(tmp_path / "out" / "correlations.csv")}
    assert reasons == {"fewer than 4 pairs"}


def test_large_clouds_are_images_in_drawings(tmp_path, capsys):
    rng = np.random.default_rng(1)
    names = [f"P{n:04d}" for n in range(1200)]
    values = dict(zip(names, rng.normal(5, 1, 1200), strict=True))
    measured = write_csv(tmp_path / "tidy.csv", tidy_rows({"tlv": values}), COLUMNS)
    clinical = [{"case": n, "height_cm": f"{rng.normal(170, 9):.1f}"} for n in names]
    for count, image in ((1200, True), (40, False)):
        table = write_csv(tmp_path / f"{count}.csv", clinical[:count])
        out = tmp_path / f"out{count}"
        words = ("--rows", "tlv", "--relate", "tlv:height_cm", "-o", out)
        assert run(capsys, "cohort", measured, table, *words)[0] == 0
        drawing = (out / "figures" / "relation_1.svg").read_text(encoding="utf-8")
        assert ("<image" in drawing) == image
        method = rows_of(out / "correlations.csv")[2]["interval"]
        assert ("Fieller" in method) == image


LAYOUT = """
title = "Three groups"
[[group]]
label = "low"
where = ["mrc <= 2"]
[[group]]
label = "middle"
where = ["mrc = 3"]
[[group]]
label = "high"
where = ["mrc > 3"]
[[comparison]]
groups = ["low", "middle", "high"]
[[row]]
column = "ipv"
[[row]]
column = "ggo"
show = "median_iqr"
[[row]]
column = "tlv"
show = "both"
test = "kruskal"
[[row]]
column = "sex"
test = "fisher"
[[relation]]
x = "ipv"
y = "kco_pct"
[[roc]]
score = "ipv"
outcome = "kco_pct"
positive = ">= 80"
cut_offs = [180]
"""


def test_layout_of_ones_own(inputs, tmp_path, capsys):
    layout = tmp_path / "layout.toml"
    layout.write_text(LAYOUT, encoding="utf-8")
    again = tmp_path / "again.csv"
    rows = rows_of(inputs[0])
    for row in rows:
        row["value"] = str(float(row["value"]) * 1.01)
    write_csv(again, rows, COLUMNS)
    out = tmp_path / "out"
    words = ("--table", layout, "--retest", again, "--no-report", "-o", out)
    assert run(capsys, "cohort", *inputs, *words)[0] == 0

    tests = {row["column"]: row["test"] for row in rows_of(out / "tests.csv")}
    assert tests == {
        "ipv_ipv_hu_l.lungs": "Welch ANOVA",
        "ipv_ggo_percent.lungs": "Kruskal-Wallis H",
        "ipv_tlv_l.lungs": "Kruskal-Wallis H",
        "sex": "Fisher exact",
    }
    cells = {row["row"]: row["low"] for row in rows_of(out / "table1.csv")}
    assert "[" in cells["Ground-glass opacity, %"]
    assert "±" in cells["Total lung volume, L"]
    assert "[" in cells["  median [IQR]"]
    given = rows_of(out / "operating_points.csv")[1]
    assert (given["rule"], given["cut_off"]) == ("given", "180")
    retest = {row["column"]: row for row in rows_of(out / "retest.csv")}
    assert float(retest["ipv_tlv_l.lungs"]["icc_3_1"]) > 0.99
    text = (out / "methods.txt").read_text(encoding="utf-8")
    assert "Kruskal-Wallis" in text
    assert "ICC(2,1)" in text


def test_lobes_of_all_cases(tmp_path, capsys):
    from lungperfusion.terms import LOBES

    rng = np.random.default_rng(0)
    rows = []
    for number in range(15):
        case = {f"P{number:02d}": 0.0}
        for lobe, size in zip(LOBES, (20.0, 9.0, 26.0, 22.0, 23.0), strict=True):
            size += rng.normal(0, 1)
            truth = size + rng.normal(0, 3)
            for measure, value in (
                ("lobe_volume_share", size),
                ("perfusion_share", truth + rng.normal(0, 0.5)),
                ("ventilation_share", truth),
            ):
                rows += tidy_rows({measure: dict.fromkeys(case, value)}, region=lobe.value)
        rows += tidy_rows({"tlv": dict.fromkeys(case, 5 + number / 10)})
    tidy = write_csv(tmp_path / "tidy.csv", rows, COLUMNS)
    clinical = write_csv(
        tmp_path / "clinical.csv",
        [{"case": f"P{n:02d}", "age_years": 40 + n} for n in range(15)],
    )
    pair = "perfusion_share:ventilation_share"
    words = ("cohort", tidy, clinical, "--lobar", pair, "-o", tmp_path / "out")
    assert run(capsys, *words)[0] == 0

    (row,) = rows_of(tmp_path / "out" / "lobar.csv")
    assert (row["patients"], row["lobes"], row["reason"]) == ("15", "75", "")
    assert float(row["null_pearson"]) > 0.7
    assert float(row["slope_lower"]) < 1 < float(row["slope_upper"]) + 0.05
    assert "mixed model" in (tmp_path / "out" / "methods.txt").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "figures" / "lobes_1.svg").exists()


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--strata", "fvc_pct=80"), "a stratum is written COLUMN:LIMIT"),
        (("--strata", "fvc:80"), "a column fvc; did you mean fvc_pct"),
        (("--strata", "sex:80"), "'sex ≥ 80' cannot be asked"),
        (("--rows", "ipw"), "a column ipw; did you mean ipv"),
        (("--relate", "ipv"), "two columns are written FIRST:SECOND"),
        (("--relate", "ipv:ipv"), "ipv cannot be related to itself"),
        (("--rows", "ipv", "ipv"), "the row .* is asked for twice"),
        (("--strata", "fvc_pct:80", "fvc_pct:80"), "the group .* is asked for twice"),
        (("--relate", "ipv:sex"), "sex holds words and cannot be related"),
        (("--roc", "ipv:mrc"), "must hold 0 and 1 or no and yes"),
        (("--roc", "improved:improved"), "cannot be the score and the outcome at once"),
        (("--lobar", "ipv:tlv"), r"a column ipv\.left_upper_lobe"),
        (("--table", "nothing.toml"), r"nothing\.toml cannot be read"),
    ],
)
def test_what_is_refused_in_one_sentence(inputs, tmp_path, capsys, words, match):
    code, err = run(capsys, "cohort", *inputs, *words, "-o", tmp_path / "out")

    assert code == 2
    assert re.search(match, err), err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("title = ", "is no sound TOML"),
        ("colour = 1", "the file has 'colour'; known are"),
        ("stars = 1", "stars must be true or false"),
        ("[[row]]\nlabel = 'x'", "lacks 'column'"),
        ("[[row]]\ncolumn = 'ipv'\ntest = 'z'", "test is one of auto, welch"),
        ("[[row]]\ncolumn = 'ipv'\ndecimals = 1.5", "decimals is a whole number"),
        ("[[group]]\nlabel = 'a'\nwhere = ['ipv']", "a condition is written"),
        ("[[group]]\nlabel = 'a'\nwhere = ['ipv > x']", "> needs a number, not 'x'"),
        ("[[group]]\nlabel = 'a'\n[[group]]\nlabel = 'a'", "two groups share a label"),
        ("[[group]]\nlabel = 'a'\n[[comparison]]\ngroups = ['a', 'b']", "'b', which is no label"),
        ("[[group]]\nlabel = 'a'\n[[comparison]]\ngroups = ['a']", "needs at least two groups"),
        ("row = [1]", r"written as \[\[row\]\]"),
        ("[[row]]\ncolumn = 'sex'\ntest = 'welch'", "sex holds categories; welch needs numbers"),
        ("[[row]]\ncolumn = 'sex'\ntest = 'kruskal'", "sex holds words; kruskal needs an order"),
        ("[[row]]\ncolumn = 'ipv'\ntest = 'fisher'", "fisher needs show = 'count'"),
    ],
)
def test_layouts_that_are_refused(inputs, tmp_path, capsys, text, match):
    layout = tmp_path / "layout.toml"
    layout.write_text(text, encoding="utf-8")
    code, err = run(capsys, "cohort", *inputs, "--table", layout, "-o", tmp_path / "out")

    assert code == 2
    assert re.search(match, err), err
    assert err.count("\n") == 1


def test_without_its_libraries_it_says_what_to_install(inputs, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    code, err = run(capsys, "cohort", *inputs, "-o", tmp_path / "out")

    assert code == 2
    assert 'pip install "lungperfusion[cohort,report]"' in err


def test_context_of_one_case_and_of_a_table(inputs, tmp_path, capsys):
    one = ("--d-dimer", "2.66", "--unit", "mg/L", "--assay", "FEU", "--age", "78", "--extent", "50")
    after = ("--before", "20", "--sensitivity", "12", "12", "--specificity", "68", "100")
    assert run(capsys, "context", *one, *after, "-o", tmp_path / "one")[0] == 0
    rows = {row["rule"]: row for row in rows_of(tmp_path / "one" / "context.csv")}
    assert rows["Strasbourg, 2660 µg/L"]["place"] == "at or above"
    assert rows["AP-HP, age-adjusted"]["cut_off_ug_l"] == "780"
    assert rows["Co-LEAD, 900 or 1700 µg/L by extent on CT"]["cut_off_ug_l"] == "1700"
    assert "after a positive test" in (tmp_path / "one" / "report.html").read_text(encoding="utf-8")

    words = ("context", inputs[1], "--measurements", inputs[0], "-o", tmp_path / "many")
    code, err = run(capsys, *words)
    assert code == 0
    assert "1 case is in one table only" in err
    many = rows_of(tmp_path / "many" / "context.csv")
    assert len({row["case"] for row in many}) == 30
    assert {r["cut_off_ug_l"] for r in many if r["rule"].startswith("Co-LEAD")} <= {"900", "1700"}


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ((), "give a clinical table, or --d-dimer"),
        (("--d-dimer", "500"), "and none is given"),
        (("--d-dimer", "500", "--unit", "ng/mL", "--assay", "DDU"), "--convert-ddu"),
        (("--before", "20", "--age", "50"), "belong together"),
    ],
)
def test_context_refuses(tmp_path, capsys, words, match):
    code, err = run(capsys, "context", *words, "-o", tmp_path / "out")

    assert code == 2
    assert match in err


def test_context_of_a_table_refuses(inputs, tmp_path, capsys):
    plain = write_csv(tmp_path / "plain.csv", [{"case": "A", "age_years": 50}])
    for words, match in (
        ((plain,), "no column 'd_dimer'"),
        ((inputs[1], "--age", "50"), "not both"),
        (("--measurements", inputs[0]), "needs a clinical table"),
    ):
        code, err = run(capsys, "context", *words, "-o", tmp_path / "out")
        assert code == 2
        assert match in err
    bad = write_csv(
        tmp_path / "bad.csv", [{"case": "A", "d_dimer": 500, "d_dimer_unit": "ng/mL DDU"}]
    )
    code, err = run(capsys, "context", bad, "-o", tmp_path / "out")
    assert code == 2
    assert "case A: the D-dimer is in DDU" in err


def test_codes_are_counted_and_said_so(tables, tmp_path, capsys):
    """0 and 1, two values, a grade: n (%) and chi-squared or Fisher, never a mean."""
    tidy, clinical = made_up_cohort(40)
    for number, row in enumerate(clinical):
        row |= {"smoker": str(number % 2), "centre": str(1 + number % 3 // 2), "count": "2.5"}
        row["dyspnoea"] = str(1 + number % 4)
        row["lobes_treated"] = str(number)
    rows = ("smoker", "centre", "dyspnoea", "lobes_treated", "age_years", "oxygen_l_min")
    words = ["cohort", *tables(tidy, clinical), "--strata", "fvc_pct:95", "--rows", *rows]
    out = tmp_path / "out"
    assert run(capsys, *words, "-o", out)[0] == 0
    table = {row["row"]: row for row in rows_of(out / "table1.csv")}
    assert table["smoker = 1"]["All patients"] == "20/40 (50.0)"
    assert table["centre"]["n"] == "40"
    assert table["  2"]["All patients"] in ("13/40 (32.5)", "10/40 (25.0)")  # centre, dyspnoea
    assert "±" in table["lobes_treated"]["All patients"]
    assert "±" in table["Oxygen, L/min"]["All patients"], "a column with a unit measures"
    tests = {row["column"]: row for row in rows_of(out / "tests.csv")}
    assert tests["smoker"]["test"] == "chi-squared"
    assert tests["smoker"]["effect"] == "difference of shares"
    assert {tests[name]["test"] for name in rows[:3]} <= {"chi-squared", "Fisher exact"}
    assert tests["age_years"]["test"] == "Welch t"
    assert tests["age_years"]["row"] == "Age, years"
    said = "smoker, centre, dyspnoea"
    assert f"({said})" in (out / "methods.txt").read_text(encoding="utf-8")
    assert f"{said}: whole numbers" in (out / "report.html").read_text(encoding="utf-8")


def test_a_layout_may_take_codes_for_numbers(tables, tmp_path, capsys):
    tidy, clinical = made_up_cohort(30)
    layout = tmp_path / "layout.toml"
    layout.write_text(
        '[[row]]\ncolumn = "mrc"\nshow = "mean_sd"\n'
        '[[row]]\ncolumn = "improved"\ntest = "welch"\nlabel = "Improved, mean"\n'
        '[[row]]\ncolumn = "improved"\nshow = "count"\nlevel = "0"\nlabel = "Not improved"\n',
        encoding="utf-8",
    )
    out = tmp_path / "out"
    words = ["cohort", *tables(tidy, clinical), "--table", layout, "--no-report", "-o", out]
    assert run(capsys, *words)[0] == 0
    cells = {row["row"]: row["All patients"] for row in rows_of(out / "table1.csv")}
    assert "±" in cells["MRC score"]
    assert "±" in cells["Improved, mean"]
    failures = sum(row["improved"] == "0" for row in clinical)
    assert cells["Not improved"].startswith(f"{failures}/30 ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("group = 5", r"group is written as \[\[group\]\]"),
        ("group = [1]", r"group is written as \[\[group\]\]"),
        ("footnotes = 3", "footnotes is a list of texts"),
        ("[[group]]\nlabel = []", "needs a label, in words"),
        ('[[group]]\nlabel = "a"\nwhere = 5', "where is a list of texts"),
        ('[[comparison]]\nlabel = "c"\ngroups = 5', "groups is a list of texts"),
        ("[[row]]\ncolumn = 5", "column is text in quotes, not 5"),
        ('[[row]]\ncolumn = "ipv"\ndecimals = 999999', "decimals is a whole number up to 9"),
        ('[[roc]]\nscore = "a"\noutcome = "b"\ncut_offs = [nan]', "is a list of numbers"),
        ("a = " + "[" * 5000, "nested too deeply"),
    ],
)
def test_layouts_that_are_none(tmp_path, text, words):
    (tmp_path / "layout.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_specification(tmp_path / "layout.toml")


@pytest.mark.parametrize("case", ["=cmd|calc", "<b>x", "../x", "CON"])
def test_name_of_a_single_case_is_one(tmp_path, capsys, case):
    words = ["context", "--d-dimer", "500", "--unit", "ng/mL", "--case", case]
    code, said = run(capsys, *words, "-o", tmp_path / "out")
    assert (code, (tmp_path / "out").exists()) == (2, False)
    assert "case name" in said
