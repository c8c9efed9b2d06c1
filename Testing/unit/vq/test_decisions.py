"""Defect candidates, collateral ventilation, planning, models and comparison."""

from __future__ import annotations

import argparse
import math

import numpy as np
import pytest

from lungperfusion.commands.ctvq import _read_model
from lungperfusion.errors import InputError
from lungperfusion.measurement import measured
from lungperfusion.phantoms.breathing import make_breathing_phantom
from lungperfusion.resampling import to_sitk
from lungperfusion.terms import LOBES, Region
from lungperfusion.terms.collateral import collateral_call
from lungperfusion.volume import Geometry, Volume
from lungperfusion.vq.collateral import (
    FEATURES,
    Fissure,
    assess_boundaries,
    slip_mm,
)
from lungperfusion.vq.comparison import (
    agree,
    agree_by_partition,
    align_reference,
    bring_to_ct,
    compare_with_reference,
    partition_of,
)
from lungperfusion.vq.defects import (
    FEATURES as DEFECT_FEATURES,
)
from lungperfusion.vq.defects import (
    SHIPPED_MODEL,
    Candidate,
    find_defects,
    patient_score,
)
from lungperfusion.vq.displacement import DisplacementField
from lungperfusion.vq.model import LogisticModel
from lungperfusion.vq.planning import flag_surgery, rank_targets
from lungperfusion.vq.registration import registration_from_field


def punched(pair, centre, radius, depth):
    points = pair.geometry.ras_from_ijk(np.argwhere(pair.mask)[:, ::-1])
    q = np.where(pair.mask, 1.0, np.nan).astype(np.float32)
    low = np.linalg.norm(points - centre, axis=1) < radius
    values = q[pair.mask]
    values[low] = depth
    q[pair.mask] = values
    return q, int(low.sum()) * pair.geometry.voxel_volume_ml


def test_a_hole_in_perfusion_is_found_with_its_volume_and_lobe(pair, regions):
    centre = np.array([65.0, 0.0, 20.0])
    q, volume = punched(pair, centre, 14, 0.2)
    even = np.where(pair.mask, 0.4, np.nan).astype(np.float32)
    found, labels = find_defects(pair, even, q, regions)
    assert len(found) == 1
    assert found[0].volume_ml == pytest.approx(volume, rel=0.05)
    assert found[0].lobe == Region.RIGHT_UPPER_LOBE
    assert found[0].contrast > 0.6
    assert not found[0].matched
    assert (labels == 1).sum() * pair.geometry.voxel_volume_ml == pytest.approx(volume, rel=0.05)


def test_an_even_lung_has_no_candidate_and_low_ventilation_makes_a_match(pair, regions):
    even = np.where(pair.mask, 1.0, np.nan).astype(np.float32)
    assert find_defects(pair, even, even, regions)[0] == ()
    q, _ = punched(pair, np.array([50.0, 0.0, 20.0]), 14, 0.2)
    found, _ = find_defects(pair, q, q, regions)
    assert len(found) == 1
    assert found[0].matched
    assert patient_score(found) == 0


def candidate(**change):
    values = {
        "number": 1,
        "volume_ml": 20.0,
        "centre_ras_mm": (0.0, 0.0, 0.0),
        "lobe": "",
        "lobe_share": 0.1,
        "contrast": 0.6,
        "wedge": 0.5,
        "pleural_contact": 0.5,
        "ventilation": 1.0,
        "emphysema": 0.0,
        "matched": False,
        "score": 0.5,
    }
    return Candidate(**(values | change))


def test_patient_score_combines_unmatched_candidates():
    assert patient_score([]) == 0
    both = [candidate(score=0.5), candidate(score=0.4), candidate(score=0.9, matched=True)]
    assert patient_score(both) == pytest.approx(1 - 0.5 * 0.6)


@pytest.mark.parametrize(
    ("fissure", "completeness", "call"),
    [
        ("left_oblique_fissure", 0.95, "open"),
        ("left_oblique_fissure", 0.951, "unlikely"),
        ("left_oblique_fissure", 0.80, "likely"),
        ("left_oblique_fissure", 0.801, "open"),
        ("right_oblique_fissure", 0.90, "likely"),
        ("right_oblique_fissure", 0.901, "open"),
        ("right_oblique_fissure", 1.0, "open"),
        ("right_horizontal_fissure", 0.5, "open"),
        ("right_horizontal_fissure", math.nan, "unknown"),
    ],
)
def test_published_cut_offs_of_fissure_completeness(fissure, completeness, call):
    assert collateral_call(fissure, completeness) == call


def test_boundaries_speak_by_rule_alone_without_a_model(pair, registration, regions):
    even = np.where(pair.mask, 1.0, np.nan).astype(np.float32)
    complete = {"left_oblique": Fissure(completeness_percent=99.0)}
    found = assess_boundaries(pair, registration, even, even, regions, fissures=complete)
    assert [f.boundary for f in found] == ["left_oblique", "right_oblique", "right_horizontal"]
    assert found[0].rule == "unlikely"
    assert all(math.isnan(f.probability) for f in found)
    assert found[0].features["v_ratio"] == pytest.approx(0, abs=1e-6)
    assert all(tuple(f.features) == FEATURES for f in found)


class _Surface:
    """Interlobar surface on a plane of 2 mm nodes, from 10 to 88 mm beside the middle."""

    def __init__(self, side, missing):
        u, v = np.mgrid[0:40, 0:30]
        self.judged = np.ones(u.shape, np.bool_)
        self.seen = ~missing(u, v)
        self.completeness = float(self.seen.mean())
        points = np.stack([side * (10.0 + 2 * u), 2.0 * v, 0.0 * u], axis=-1)
        self.patch = argparse.Namespace(area_mm2=np.full(u.shape, 4.0), points_mm=points)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_largest_gap_of_a_fissure_has_its_size_and_its_place(side):
    def two_gaps(u, v):
        return (u < 4) & (v < 15) | (u > 36) & (v < 5)

    found = Fissure.of(_Surface(side, two_gaps))
    assert found.gap_percent == pytest.approx(100 * 60 / 1200)
    assert found.gap_lateral == pytest.approx(1.5 / 39)  # at the hilum
    whole = Fissure.of(_Surface(side, lambda u, v: u < 0))
    assert whole.gap_percent == 0
    assert whole.completeness_percent == 100
    assert math.isnan(whole.gap_lateral)


def test_lobes_that_glide_show_their_slip_and_those_that_do_not_show_none():
    found = []
    for slip, motion in ((0.0, 40.0), (8.0, 0.0)):
        made = make_breathing_phantom(
            spacing_mm=4.0, scale=0.6, slip_mm=slip, motion_mm=motion, defects=(), noise_hu=0
        )
        lobes = made.expiration_lobes
        field = DisplacementField(made.displacement_ras_mm, made.expiration.geometry)
        given = registration_from_field(field, made.expiration_lungs, made.inspiration.geometry)
        sides = lobes.mask(Region.LEFT_UPPER_LOBE), lobes.mask(Region.LEFT_LOWER_LOBE)
        found.append(slip_mm(given, *sides))
    assert found[0] < 0.5
    assert found[1] == pytest.approx(8.0 * 0.6, rel=0.15)


def test_a_trained_model_scores_the_candidates(pair, regions):
    q, _ = punched(pair, np.array([65.0, 0.0, 20.0]), 14, 0.2)
    even = np.where(pair.mask, 0.4, np.nan).astype(np.float32)
    shipped = find_defects(pair, even, q, regions)[0][0]
    assert shipped.score == SHIPPED_MODEL.probability(shipped.features())
    assert "uncalibrated" in SHIPPED_MODEL.provenance["calibration"]
    by_volume = LogisticModel(
        purpose="perfusion defect",
        features=("log_volume",),
        means=(math.log(shipped.volume_ml),),
        sds=(1.0,),
        coefficients=(1.0,),
        intercept=math.log(3),
    )
    assert find_defects(pair, even, q, regions, model=by_volume)[0][0].score == pytest.approx(0.75)
    assert tuple(shipped.features()) == DEFECT_FEATURES
    with pytest.raises(InputError, match="was trained for perfusion defect"):
        by_volume.require_purpose("collateral ventilation")


@pytest.mark.parametrize("record", [None, {}, [1], {"format": 9, "features": []}])
def test_what_is_no_model_is_refused(record):
    with pytest.raises(InputError, match="train it again"):
        LogisticModel.from_record(record)


def test_model_file_is_not_read_without_a_limit(tmp_path):
    path = tmp_path / "model.json"
    with path.open("wb") as stream:
        stream.truncate(2**31)  # holes take no room on the disk
    with pytest.raises(InputError, match="too large"):
        _read_model(path)
    path.write_bytes(b'{"purpose": "\xff"}')
    with pytest.raises(InputError, match="no text in UTF-8"):
        _read_model(path)


def zone_values(emphysema, perfusion):
    rows = []
    for zone in (Region.LEFT_UPPER_ZONE, Region.RIGHT_UPPER_ZONE):
        rows += [
            measured(zone, "emphysema", emphysema, "x"),
            measured(zone, "perfusion_share", perfusion / 2, "x"),
            measured(zone, "inspiratory_volume", 500, "x"),
        ]
    return rows


@pytest.mark.parametrize(
    ("emphysema", "perfusion", "met"),
    [(50, 8, True), (49.9, 8, False), (50, 8.1, False), (70, 3, True)],
)
def test_surgery_criteria_on_their_thresholds(emphysema, perfusion, met):
    flag = flag_surgery(zone_values(emphysema, perfusion))
    assert flag.met is met
    assert ("not met" in flag.sentence) is not met


def test_upper_emphysema_is_weighed_by_inspiratory_volumes():
    # By expiratory volumes, equal here, it would be 49 % and not met.
    left, right = Region.LEFT_UPPER_ZONE, Region.RIGHT_UPPER_ZONE
    rows = [
        measured(left, "emphysema", 64, "x"),
        measured(right, "emphysema", 34, "x"),
        measured(left, "perfusion_share", 3, "x"),
        measured(right, "perfusion_share", 4, "x"),
        *(measured(zone, "expiratory_volume", 700, "x") for zone in (left, right)),
        measured(left, "inspiratory_volume", 910, "x"),
        measured(right, "inspiratory_volume", 590, "x"),
    ]
    flag = flag_surgery(rows)
    assert flag.upper_emphysema_percent == pytest.approx((64 * 910 + 34 * 590) / 1500)
    assert flag.met


def test_surgery_criteria_without_a_zone_are_open():
    flag = flag_surgery(zone_values(60, 5)[:3])
    assert flag.met is None
    assert math.isnan(flag.upper_emphysema_percent)


def test_target_ranking_puts_the_destroyed_idle_lobe_first():
    rows = []
    for lobe in LOBES:
        bad = lobe is Region.LEFT_UPPER_LOBE
        rows += [
            measured(lobe, "emphysema", 60 if bad else 10, "x"),
            measured(lobe, "ventilation_share", 5 if bad else 23.75, "x"),
            measured(lobe, "perfusion_share", 5 if bad else 23.75, "x"),
            measured(lobe, "volume_share", 20, "x"),
            measured(lobe, "inspiratory_volume", 500, "x"),
        ]
    targets = rank_targets(rows)
    assert targets[0].lobe == Region.LEFT_UPPER_LOBE
    assert targets[0].heterogeneity_percent == pytest.approx(50)
    assert targets[0].score == pytest.approx(60 + 15)
    assert [t.rank for t in targets] == [1, 2, 3, 4, 5]
    assert rank_targets([]) == ()


def test_agreement_of_a_map_with_itself_and_with_a_shifted_scale(pair, regions, phantom):
    truth = np.where(pair.mask, phantom.perfusion.array, np.nan).astype(np.float32)
    reference = Volume(300 * phantom.perfusion.array, pair.geometry, "1")
    rows = compare_with_reference(truth, reference, regions, pair.mask)
    name, lobes = partition_of(rows)
    assert name == "lobes"
    assert len(lobes) == 5
    result = agree(
        [r.ct_percent for r in lobes],
        [r.reference_percent for r in lobes],
        [r.volume_percent for r in lobes],
    )
    assert result.pearson == pytest.approx(1)
    assert result.mean_absolute < 1e-3
    assert agree_by_partition(rows)["lobes"] == result
    assert set(agree_by_partition(rows)) == {"lobes", "zones"}
    assert agree_by_partition(rows[:3]) == {}
    away = Volume(np.ones((4, 4, 4)), Geometry.axial((4, 4, 4), (2, 2, 2), (900, 0, 0)), "1")
    with pytest.raises(InputError, match="does not overlap the lungs"):
        compare_with_reference(truth, away, regions, pair.mask)
    dark = Volume(np.zeros(pair.geometry.shape), pair.geometry, "1")
    with pytest.raises(InputError, match="no signal inside the lungs"):
        compare_with_reference(truth, dark, regions, pair.mask)
    with pytest.raises(InputError, match="at least three regions"):
        agree([1, 2], [1, 2], [1, 2])


def test_reference_ct_is_aligned_rigidly(phantom):
    ct = phantom.expiration
    matrix = ct.geometry.ijk_to_ras.copy()
    matrix[:3, 3] += (9.0, -7.0, 12.0)  # the same image, elsewhere in the scanner
    moved = Volume(ct.array, Geometry(ct.geometry.shape, matrix), "HU")
    transform = align_reference(moved, ct)
    back = bring_to_ct(moved, transform, ct)
    inside = phantom.expiration_lungs.array > 0
    assert np.abs(back.array[inside] - ct.array[inside]).mean() < 25
    point = transform.TransformPoint((0.0, 0.0, 0.0))  # LPS
    assert point == pytest.approx((-9.0, 7.0, 12.0), abs=1.0)
    assert to_sitk(back.array, ct.geometry).GetSize() == to_sitk(ct.array, ct.geometry).GetSize()
