"""Clot burden and diameter ratios against hand-counted examples."""

import numpy as np
import pytest

from lungperfusion.errors import InputError
from lungperfusion.iodine.signs import (
    ARTERIES,
    SEGMENTS,
    diameter_ratio,
    obstruction_index,
    scores_from_rows,
    segments_beyond,
)


@pytest.mark.parametrize(
    ("scores", "percent"),
    [
        ({}, 0),
        ({"right_main": 2}, 50),  # one main artery occluded: 10 segments x 2
        ({"pulmonary_trunk": 1}, 50),  # saddle, partial: 20 x 1
        ({"left_apical": 1}, 2.5),
        ({"left_apical": 1, "right_middle": 2}, 2.5 + 10),
        ({"right_lower": 1, "right_superior": 2}, 15),  # four partial segments and one complete
        ({"right_interlobar": 1}, 17.5),  # middle (2) and lower lobe (5)
        ({"pulmonary_trunk": 2}, 100),
        ({"right_main": 1, "right_upper": 1}, 25),  # a second clot on the way adds nothing
    ],
)
def test_obstruction_index(scores, percent):
    assert 100 * obstruction_index(scores).fraction == pytest.approx(percent)


def test_the_tree_has_twenty_segments_each_fed_once():
    segments = segments_beyond("pulmonary_trunk")
    assert len(segments) == len(set(segments)) == 20
    assert set(segments) == {s for lobe in SEGMENTS.values() for s in lobe}
    assert [len(segments_beyond(side)) for side in ("right_main", "left_main")] == [10, 10]


def test_more_clot_never_lowers_the_index():
    rng = np.random.default_rng(5)
    for _ in range(50):
        chosen = rng.choice(ARTERIES, 4, replace=False)
        scores = {str(artery): 1 for artery in chosen}
        before = obstruction_index(scores).points
        raised = {**scores, str(chosen[0]): 2}
        for artery in set(raised) & set(chosen[1:].tolist()):
            if set(segments_beyond(artery)) < set(segments_beyond(str(chosen[0]))):
                raised.pop(artery)
        assert obstruction_index(raised).points >= before


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        ({"right_mian": 1}, "'right_mian' is no artery"),
        ({"right_main": 3}, "must be 0 .none, patent., 1 .partial. or 2 .complete., not 3"),
        ({"right_main": 2, "right_apical": 0}, "right_apical is scored 0, but an artery before it"),
        ({"right_main": 2, "right_apical": 1}, "nothing beyond a complete occlusion"),
    ],
)
def test_refuses_impossible_scores(scores, sentence):
    with pytest.raises(InputError, match=sentence):
        obstruction_index(scores)


def test_scores_from_a_table():
    rows = [{"artery": "left_main", "degree": "1"}, {"artery": "right_apical", "degree": " 2 "}]
    assert scores_from_rows(rows) == {"left_main": 1, "right_apical": 2}


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"vessel": "left_main", "degree": "1"}], "columns artery and degree"),
        ([{"artery": "left_main", "degree": "half"}], "line 2: .* not 'half'"),
        ([{"artery": "left_main", "degree": "1"}] * 2, "line 3: left_main is scored twice"),
    ],
)
def test_refuses_unreadable_score_tables(rows, sentence):
    with pytest.raises(InputError, match=sentence):
        scores_from_rows(rows)


def test_ratio_of_two_lines():
    ratio = diameter_ratio(
        [[0, 0, 0], [0, 24, 7]], [[5, 0, 0], [5, 30, 0]], names=("pulmonary artery", "aorta")
    )
    assert (ratio.numerator_mm, ratio.denominator_mm) == (25, 30)
    assert ratio.ratio == pytest.approx(25 / 30)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ([[0, 0, 0], [0, 0, 2]], "is 2.0 mm long; a diameter of 5 to 120 mm"),
        ([[0, 0, 0]], "needs two points"),
        ([[0, 0, 0], [np.nan, 0, 2]], "needs two points"),
    ],
)
def test_refuses_lines_that_are_no_diameter(line, sentence):
    with pytest.raises(InputError, match=sentence):
        diameter_ratio(line, [[0, 0, 0], [0, 30, 0]], names=("right ventricle", "left ventricle"))
