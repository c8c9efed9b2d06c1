"""Points on fissures out of Slicer markups and CSV."""

import json

import numpy as np
import pytest

from lungperfusion.errors import InputError
from lungperfusion.io.fissure_points import read_fissure_points


def markups(path, lists, system="LPS"):
    data = {
        "markups": [
            {
                "type": "Fiducial",
                "name": name,
                "coordinateSystem": system,
                "controlPoints": [
                    {"label": label, "position": position, "positionStatus": status}
                    for label, position, status in points
                ],
            }
            for name, points in lists
        ]
    }
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.mark.parametrize(("system", "sign"), [("LPS", -1), ("RAS", 1)])
def test_markups_are_turned_to_ras(tmp_path, system, sign):
    file = markups(
        tmp_path / "points.mrk.json",
        [("Right oblique fissure", [("F-1", [10.0, 20.0, 30.0], "defined")])],
        system,
    )
    points = read_fissure_points(file)

    assert list(points) == ["right_oblique_fissure"]
    assert points["right_oblique_fissure"].tolist() == [[sign * 10.0, sign * 20.0, 30.0]]


def test_labels_of_points_tell_where_the_list_does_not(tmp_path):
    file = markups(
        tmp_path / "points.mrk.json",
        [("F", [("LOF", [1, 2, 3], "defined"), ("minor fissure", [4, 5, 6], "defined")])],
    )
    points = read_fissure_points(file)

    assert sorted(points) == ["left_oblique_fissure", "right_horizontal_fissure"]


def test_points_that_were_never_placed_are_left_out(tmp_path):
    file = markups(tmp_path / "p.mrk.json", [("LOF", [("a", [0, 0, 0], "undefined")])])
    with pytest.raises(InputError, match="holds no fissure points"):
        read_fissure_points(file)


def test_list_without_a_fissure_is_refused(tmp_path):
    file = markups(tmp_path / "p.mrk.json", [("F", [("F-1", [0, 0, 0], "defined")])])
    with pytest.raises(InputError, match="names no fissure; name the list after one"):
        read_fissure_points(file)


def test_csv_of_any_system(tmp_path):
    file = tmp_path / "points.csv"
    text = "fissure,note,r_mm,a_mm,s_mm\r\nleft_oblique_fissure,x,1,2,3\r\nLeft major,,4,5,6.5\r\n"
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    points = read_fissure_points(file)

    assert np.array_equal(points["left_oblique_fissure"], [[1, 2, 3], [4, 5, 6.5]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fissure,x,y,z\nLOF,1,2,3\n", "lacks the column"),
        ("fissure,r_mm,a_mm,s_mm\noblique,1,2,3\n", "line 2 of p.csv names no fissure"),
        ("fissure,r_mm,a_mm,s_mm\nLOF,1,2,\n", "no three finite coordinates"),
        ("fissure,r_mm,a_mm,s_mm\nLOF,1,2,nan\n", "no three finite coordinates"),
        ("fissure,r_mm,a_mm,s_mm\n", "holds no fissure points"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_fissure_points(tmp_path / "p.csv")


def test_files_that_are_no_markups_are_refused(tmp_path):
    (tmp_path / "p.json").write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(InputError, match="holds no Slicer markups"):
        read_fissure_points(tmp_path / "p.json")
    with pytest.raises(InputError, match="there is no file"):
        read_fissure_points(tmp_path / "q.json")
