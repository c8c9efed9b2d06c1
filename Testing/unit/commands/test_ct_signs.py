"""Files of clots and lines, lung function, patterns."""

import json

import numpy as np
import pytest

from lungperfusion.analysis.ct_signs import CtSigns, measure_function, patterns
from lungperfusion.commands.sign_arguments import read_clots, read_lines
from lungperfusion.errors import InputError
from lungperfusion.iodine.phenotype import LungFunction
from lungperfusion.iodine.signs import DiameterRatio, obstruction_index
from lungperfusion.measurement import measured


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("clots.csv", "artery,degree\nright_main,2\nleft_apical, 1\n"),
        ("clots.csv", "\ufeffartery,degree\r\nright_main,2\r\nleft_apical,1\r\n"),
        ("clots.json", {"right_main": 2, "left_apical": 1}),
        (
            "clots.json",
            [{"artery": "right_main", "degree": 2}, {"artery": "left_apical", "degree": 1}],
        ),
    ],
)
def test_clots_in_every_form(tmp_path, name, content):
    assert read_clots(written(tmp_path, name, content)) == {"right_main": 2, "left_apical": 1}


def test_an_empty_clot_table_means_no_clot(tmp_path):
    scores = read_clots(written(tmp_path, "clots.csv", "artery,degree\n"))
    assert obstruction_index(scores).points == 0


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("clots.csv", "vessel,grade\nx,1\n", "clots.csv: a clot table needs the columns artery"),
        ("clots.csv", "artery,degree\nright_main,3\n", "clots.csv: line 2: .* not '3'"),
        ("clots.json", "{", "clots.json is no valid JSON"),
        ("clots.json", [1, 2], "an object of artery and degree"),
    ],
)
def test_unreadable_clots(tmp_path, name, content, sentence):
    with pytest.raises(InputError, match=sentence):
        read_clots(written(tmp_path, name, content))
    with pytest.raises(InputError, match="there is no file"):
        read_clots(tmp_path / "absent.csv")


def markup(points, name="", label="", system="LPS"):
    return {
        "markups": [
            {
                "type": "Line",
                "coordinateSystem": system,
                **({"name": name} if name else {}),
                "controlPoints": [
                    {"label": f"{label}-{n}" if label else "", "position": list(p)}
                    for n, p in enumerate(points, start=1)
                ],
            }
        ]
    }


POINTS = [(10.0, 20.0, 30.0), (10.0, 44.0, 37.0)]
IN_RAS = [[-10.0, -20.0, 30.0], [-10.0, -44.0, 37.0]]


@pytest.mark.parametrize(
    ("name", "content", "ras"),
    [
        ("aorta.mrk.json", markup(POINTS), IN_RAS),
        ("L.mrk.json", markup(POINTS, label="aorta"), IN_RAS),
        ("L.mrk.json", markup(POINTS, name="Aorta"), IN_RAS),
        ("L.mrk.json", markup(POINTS, name="aorta", system="RAS"), POINTS),
        ("lines.csv", "name,r1,a1,s1,r2,a2,s2\naorta,-10,-20,30,-10,-44,37\n", IN_RAS),
    ],
)
def test_lines_in_every_form_are_ras(tmp_path, name, content, ras):
    lines = read_lines([written(tmp_path, name, content)])
    np.testing.assert_allclose(lines["aorta"], ras)


def test_lines_of_several_files_and_twice(tmp_path):
    first = written(tmp_path, "aorta.mrk.json", markup(POINTS))
    second = written(tmp_path, "pulmonary_artery.mrk.json", markup(POINTS))
    assert set(read_lines([first, second])) == {"aorta", "pulmonary_artery"}
    with pytest.raises(InputError, match="aorta is given twice"):
        read_lines([first, first])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("vein.mrk.json", markup(POINTS), "no line is called 'vein'; expected pulmonary_artery"),
        ("aorta.mrk.json", markup(POINTS[:1]), "a line of two points expected"),
        ("aorta.mrk.json", {"a": 1}, "holds no Slicer markups"),
        ("lines.csv", "name,r1\naorta,1\n", "lines need the columns name, r1"),
        ("lines.csv", "name,r1,a1,s1,r2,a2,s2\naorta,1,2,3,4,5,x\n", "line 2: six numbers"),
    ],
)
def test_unreadable_lines(tmp_path, name, content, sentence):
    with pytest.raises(InputError, match=sentence):
        read_lines([written(tmp_path, name, content)])


def test_signs_become_measurements_and_absent_ones_are_missing():
    signs = CtSigns(
        obstruction=obstruction_index({"right_main": 2}), pa_ao=DiameterRatio(25.0, 30.0)
    )
    rows = {row.measure: row for row in signs.measurements()}
    assert rows["qanadli"].value == 50
    assert rows["pa_ao_ratio"].value == pytest.approx(25 / 30)
    assert "25.0 / 30.0 mm" in rows["pa_ao_ratio"].method
    assert rows["rv_lv_ratio"].status == "missing"


def test_patterns_take_ground_glass_from_the_ct():
    function = LungFunction(fvc=97.0, fev1=96.0, dlco_c=65.0)
    signs = CtSigns(
        obstruction=obstruction_index({}),
        pa_ao=DiameterRatio(25.0, 30.0),
        rv_lv=DiameterRatio(35.0, 40.0),
    )
    for percent, answer in ((0.2, "met"), (5.06, "met"), (5.07, "not met")):
        ground_glass = measured("lungs", "ggo", percent, "")
        isolated, mismatch = patterns(function, signs, [ground_glass])
        assert (isolated.answer, mismatch.answer) == (answer, answer)
    isolated, mismatch = patterns(function, CtSigns(), [])
    assert (isolated.answer, mismatch.answer) == ("unknown", "unknown")


def test_what_is_decided_and_given_becomes_rows():
    function = LungFunction(fvc=97.0, fev1=96.0, dlco_c=65.0, kco_c=78.0, tlc=90.0)
    signs = CtSigns(
        obstruction=obstruction_index({}),
        pa_ao=DiameterRatio(25.0, 30.0),
        rv_lv=DiameterRatio(42.0, 40.0),
    )
    clean = [measured("lungs", "ggo", 0.2, "")]

    rows = {
        row.measure: row for row in measure_function(function, patterns(function, signs, clean))
    }
    assert rows["kco_c_predicted"].value == 78
    assert rows["tlc_predicted"].value == 90
    assert (rows["function_stratum"].value, rows["isolated_low_dlco"].value) == (1, 1)
    assert rows["function_stratum"].method == "FVC >= 80 %, DLCOc < 80 %"

    checked = patterns(function, CtSigns(), clean)
    unknown = {row.measure: row for row in measure_function(function, checked)}
    assert unknown["isolated_low_dlco"].status == "missing"
    assert "obstruction index" in unknown["isolated_low_dlco"].reason

    healthy = LungFunction(dlco_c=95.0)
    rows = {r.measure: r for r in measure_function(healthy, patterns(healthy, signs, clean))}
    assert rows["function_stratum"].reason == "FVC unknown, DLCOc >= 80 %"
    assert rows["isolated_low_dlco"].value == 0
    assert "DLCOc < 80 %" in rows["isolated_low_dlco"].method
    assert "kco_c_predicted" not in rows
