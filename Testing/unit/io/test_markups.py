"""Slicer's markups in every form that versions of Slicer have written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lungperfusion.errors import InputError
from lungperfusion.io.markups import read_markups


@pytest.fixture
def markups(tmp_path):
    def write(*entries):
        path = tmp_path / "points.mrk.json"
        path.write_text(json.dumps({"markups": list(entries)}), encoding="utf-8")
        return read_markups(path)

    return write


def entry(**fields):
    points = [{"label": "F-1", "position": [1.0, 2.0, 3.0]}]
    return {"type": "Fiducial", "name": "F", "controlPoints": points} | fields


@pytest.mark.parametrize("system", ["LPS", "lps", 1, "1", None])
def test_lps_is_turned(markups, system):
    fields = {} if system is None else {"coordinateSystem": system}
    (found,) = markups(entry(**fields))
    assert found.points_ras_mm.tolist() == [[-1.0, -2.0, 3.0]]


@pytest.mark.parametrize("system", ["RAS", "ras", 0, "0"])
def test_ras_stays(markups, system):
    (found,) = markups(entry(coordinateSystem=system))
    assert found.points_ras_mm.tolist() == [[1.0, 2.0, 3.0]]


def test_points_that_were_not_placed_are_left_out(markups):
    points = [
        {"label": "a", "position": [1, 2, 3], "positionStatus": "undefined"},
        {"label": "b", "position": [4, 5, 6], "positionStatus": "defined"},
        {"label": "c", "position": None, "positionStatus": "preview"},
    ]
    (found,) = markups(entry(controlPoints=points, coordinateSystem="RAS"))
    assert found.labels == ("b",)
    assert found.points_ras_mm.tolist() == [[4, 5, 6]]


def test_several_lists(markups):
    first, second = markups(entry(name="one"), entry(name="two", controlPoints=[]))
    assert (first.name, second.name) == ("one", "two")
    assert second.points_ras_mm.shape == (0, 3)
    assert np.isfinite(first.points_ras_mm).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coordinateSystem": "IJK"}, "the coordinate system is RAS or LPS, not 'IJK'"),
        ({"coordinateUnits": "cm"}, "coordinates in mm are expected, not 'cm'"),
        ({"controlPoints": [{"position": [1, 2]}]}, "no three finite coordinates"),
        ({"controlPoints": [{"position": [1, 2, float("nan")]}]}, "no three finite coordinates"),
        ({"controlPoints": ["x"]}, "without control points"),
    ],
)
def test_what_is_not_known_is_refused(markups, fields, message):
    with pytest.raises(InputError, match=message):
        markups(entry(**fields))
