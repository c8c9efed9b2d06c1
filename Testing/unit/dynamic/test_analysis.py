"""The whole analysis on a coarse phantom: truth, motion, inputs, findings, refusals, same bytes."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lungperfusion.__main__ import main
from lungperfusion.analysis.dynamic import DynamicOptions, analyse_dynamic, prepare
from lungperfusion.analysis.regions import RegionOptions
from lungperfusion.analysis.stages import remembered, remembering
from lungperfusion.dynamic.first_pass import FirstPass
from lungperfusion.dynamic.gates import judge_first_pass
from lungperfusion.dynamic.inputs import find_inputs
from lungperfusion.dynamic.motion import choose_reference, move_frames, unaligned
from lungperfusion.dynamic.region_flow import (
    _NAMES,
    EDGE_MM,
    _rows,
    _Values,
    measure_regions,
    region_mean,
)
from lungperfusion.dynamic.series import Frames
from lungperfusion.errors import CancelledError, InputError
from lungperfusion.io import read_labelmap
from lungperfusion.io.writing import write_labelmap, write_time_series
from lungperfusion.measurement import measured
from lungperfusion.morphology import depth_mm
from lungperfusion.phantoms.first_pass import INPUTS_RAS_MM
from lungperfusion.regions import RegionSet
from lungperfusion.verdicts import follow_gates
from lungperfusion.volume import Geometry, Labelmap


@pytest.fixture(scope="module")
def series(phantom):
    return Frames(phantom.frames, phantom.geometry, phantom.times_s)


@pytest.fixture(scope="module")
def lungs(phantom):
    return phantom.truth.lungs


@pytest.fixture(scope="module")
def regions(phantom, tmp_path_factory):
    path = tmp_path_factory.mktemp("regions") / "lobes.seg.nrrd"
    write_labelmap(phantom.truth.lobes, path)
    return RegionOptions(lobes=read_labelmap(path))


@pytest.fixture(scope="module", autouse=True)
def _aligned_once(tmp_path_factory):
    with remembering(tmp_path_factory.mktemp("stages"), only=("move_frames",)):
        yield


@pytest.fixture(scope="module")
def options():
    return DynamicOptions(points_ras_mm=INPUTS_RAS_MM)


@pytest.fixture(scope="module")
def analysis(series, regions, options):
    return analyse_dynamic(series, regions=regions, options=options)


@pytest.fixture(scope="module")
def aligned(series, lungs):
    small = series.reduced()
    return remembered(move_frames, small, lungs, choose_reference(small)).used()


def value(analysis, region, measure):
    (row,) = (m for m in analysis.measurements if (m.region, m.measure) == (region, measure))
    return row


# ---- truth ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lobe", ["left_upper_lobe", "left_lower_lobe", "right_upper_lobe"])
def test_blood_volume_of_lobes(analysis, phantom, lobe):
    inside = phantom.truth.lobes.mask(lobe) & analysis.maps["blood_volume"].valid
    truth = float(phantom.blood_volume.array[inside].mean())

    assert value(analysis, lobe, "dynamic_blood_volume").value == pytest.approx(truth, rel=0.09)


def test_edges_of_a_region_take_the_curve_of_the_lung_farther_inside():
    spacing_mm = (3.0, 3.0, 3.0)
    measurable = np.ones((5, 24, 40), np.bool_)
    measurable[:, ::6, 20:] = False  # vessels: less of the right half is far from an edge
    right = np.broadcast_to(np.arange(40) >= 20, measurable.shape)
    inner = depth_mm(measurable, spacing_mm) > EDGE_MM
    blood = np.where(right, 20.0, 10.0)
    image = np.where(inner, blood, -100.0)
    frames = Frames(
        np.stack([number * image for number in range(8)]),
        Geometry.axial(measurable.shape, spacing_mm),
        np.repeat(np.arange(8.0)[:, None], 5, axis=1),
    )
    first_pass = SimpleNamespace(frames=frames, interior=lambda edge_mm: inner)

    curve = region_mean(first_pass, measurable, frames.array)

    truth = blood[measurable].mean()
    assert image[inner].mean() < truth - 0.8  # the interior alone stands for the left half
    np.testing.assert_allclose(curve, truth * np.arange(8), rtol=0.02)


def test_a_region_without_an_interior_keeps_its_own_curve():
    frames = Frames(
        np.arange(8 * 4**3, dtype=np.float32).reshape(8, 4, 4, 4),
        Geometry.axial((4, 4, 4), (3.0, 3.0, 3.0)),
        np.repeat(np.arange(8.0)[:, None], 4, axis=1),
    )
    mask = np.ones((4, 4, 4), np.bool_)
    first_pass = SimpleNamespace(frames=frames, interior=lambda edge_mm: np.zeros_like(mask))

    curve = region_mean(first_pass, mask, frames.array)

    np.testing.assert_allclose(curve, frames.curve(mask))


def test_order_of_lobes_by_flow_is_kept(analysis):
    flows = {
        lobe: value(analysis, lobe, "pulmonary_flow_slope").value
        for lobe in ("right_lower_lobe", "left_lower_lobe", "left_upper_lobe")
    }
    assert flows["left_upper_lobe"] < min(flows["right_lower_lobe"], flows["left_lower_lobe"])


def test_intervals_hold_the_flow_of_lobes(analysis, phantom):
    for lobe in ("left_upper_lobe", "right_upper_lobe"):
        inside = phantom.truth.lobes.mask(lobe) & (phantom.own > 0.95)
        truth = float(phantom.pulmonary_flow.array[inside].mean())
        low, high = (
            value(analysis, lobe, f"pulmonary_flow_{end}").value for end in ("low", "high")
        )

        assert low <= 1.1 * truth
        assert high >= 0.9 * truth


def test_deficits_are_found_and_ground_glass_is_none_per_gram(analysis, phantom):
    labels = analysis.labelmaps["flow_findings"]
    measured = analysis.maps["blood_volume"].valid
    truth = phantom.deficits.array > 0
    found = labels.mask("flow_deficit")
    both = np.count_nonzero(truth & found & measured)
    total = np.count_nonzero(truth & measured) + np.count_nonzero(found & measured)
    glass = (phantom.glass.array > 0) & measured
    per_mass = analysis.labelmaps["flow_findings_per_mass"]

    assert 2 * both / total >= 0.8
    assert np.mean(labels.mask("flow_excess")[glass]) > np.mean(
        per_mass.mask("flow_excess_per_mass")[glass]
    )


def test_values_per_gram_are_those_per_volume_over_density(analysis):
    flow = value(analysis, "lungs", "pulmonary_flow").value
    per_mass = value(analysis, "lungs", "pulmonary_flow_per_mass").value

    assert 0.15 < flow / per_mass < 0.35


# ---- motion --------------------------------------------------------------------------------------


def test_alignment_brings_frames_and_their_density_back(series, lungs, aligned, phantom):
    moved = phantom.rise_mm[aligned.kept] > 2
    still = unaligned(series, aligned.reference)
    inside = lungs.array > 0
    inside &= (phantom.own > 0.95) & aligned.frames.valid

    def jump(frames):
        curve = frames.curve(inside)
        held = np.interp(frames.moments_s[moved], frames.moments_s[~moved], curve[~moved])
        return float(np.abs(curve[moved] - held).mean())

    assert aligned.kept.all()
    assert (aligned.shift_mm[phantom.rise_mm > 2] < aligned.before_mm[phantom.rise_mm > 2]).all()
    assert jump(aligned.frames) < jump(still.frames) / 2


def test_the_bolus_does_not_move_a_held_frame(aligned, phantom):
    held = phantom.rise_mm < 0.1

    assert np.abs(aligned.volume_change[held]).max() < 0.005


def test_frames_that_a_reader_leaves_out_are_counted(series, lungs):
    small = series.reduced()
    moved = remembered(move_frames, small, lungs, 0)
    found = moved.used((3, 14, 15, 16, 17))

    assert np.flatnonzero(~found.kept).tolist() == [3, 14, 15, 16, 17]
    assert len(found.frames.array) == len(small.array) - 5
    assert np.array_equal(found.shift_mm, moved.used().shift_mm)


@pytest.mark.parametrize("fault", ["one value", "air", "lost slice", "lost half", "noise"])
def test_a_spoilt_frame_is_left_out(series, lungs, fault):
    small = series.reduced()
    reference = choose_reference(small)
    chosen = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, reference])
    array = small.array[chosen].copy()
    noise = np.random.default_rng(1).normal(-500, 300, array[0].shape)
    spoilt = {
        "one value": (4, slice(None), 0.0),
        "air": (4, slice(None), -1024.0),
        "lost slice": (4, 8, -1024.0),
        "lost half": (4, slice(10, None), -1024.0),
        "noise": (4, slice(None), noise),
    }
    frame, part, values = spoilt[fault]
    array[frame, part] = values
    times = np.repeat(np.arange(10.0)[:, None], array.shape[1], axis=1)
    frames = Frames(array, small.geometry, times)

    aligned = move_frames(frames, lungs, 9).used()

    assert list(np.flatnonzero(~aligned.kept)) == [4]
    assert choose_reference(frames) != 4


def test_leaving_a_frame_out_keeps_the_reference(series, regions, options, analysis):
    number = analysis.parameters["reference_frame"] - 1
    small, count = series.reduced(), len(series.array)

    def best_without(frame):
        rest = np.delete(np.arange(count), frame)
        return int(rest[choose_reference(small.only(np.isin(np.arange(count), rest)))])

    without = {frame: best_without(frame) for frame in range(count)}
    frame = next(n for n, best in without.items() if n != number and best != number)

    kept = prepare(series, regions, replace(options, left_out=(frame,)))
    assert kept.first_pass.aligned.reference == number
    assert not kept.first_pass.aligned.kept[frame]
    changed = prepare(series, regions, replace(options, left_out=(number,)))
    assert changed.first_pass.aligned.reference == without[number]


# ---- inputs --------------------------------------------------------------------------------------


def test_inputs_at_points_follow_the_bolus(aligned, lungs):
    inputs = find_inputs(aligned.frames, lungs, INPUTS_RAS_MM)
    peaks = [curve.peak_s for curve in inputs.found]

    assert peaks == pytest.approx([14.0, 19.0, 22.0], abs=0.6)
    assert inputs.artery.peak_hu == pytest.approx(400, rel=0.05)
    assert all(curve.given for curve in inputs.found)
    assert int(inputs.baseline.sum()) == 5


def test_inputs_are_found_with_lobes_that_come_without_airways(series, regions):
    found = prepare(series, regions).first_pass.inputs

    assert not found.artery.given
    assert found.artery.centre_ras_mm == pytest.approx(INPUTS_RAS_MM["pulmonary_trunk"], abs=15.0)


def test_a_point_outside_is_refused(series, lungs):
    with pytest.raises(InputError, match="lies outside the images"):
        find_inputs(series.reduced(), lungs, {**INPUTS_RAS_MM, "left_atrium": (0.0, 0.0, 400.0)})


def test_a_saturated_input_is_refused(series, lungs):
    bright = series.array.astype(np.int32)
    place = series.geometry.ijk_from_ras(INPUTS_RAS_MM["pulmonary_trunk"])
    i, j, k = np.rint(place).astype(int)
    block = np.s_[6:9, k - 1 : k + 2, j - 2 : j + 3, i - 2 : i + 3]
    bright[block] = 3071
    with pytest.raises(InputError, match="reaches the end of the scale"):
        find_inputs(replace(series, array=bright.astype(np.int16)).reduced(), lungs, INPUTS_RAS_MM)


# ---- series that were not taken well -------------------------------------------------------------


def followed(series, lungs, chosen=slice(None), stretch=1.0, points=INPUTS_RAS_MM):
    """What the gates of a series leave of three values."""
    part = Frames(series.array[chosen], series.geometry, stretch * series.times_s[chosen]).reduced()
    inputs = find_inputs(part, lungs, points)
    rows = [
        measured("lungs", name, 1.0, "")
        for name in (
            "pulmonary_flow_slope",
            "pulmonary_flow",
            "dynamic_blood_volume",
            "dynamic_ttp",
        )
    ]
    gates = judge_first_pass(inputs, unaligned(part, 0))
    return {row.measure: row for row in follow_gates(rows, gates)}


def test_a_series_that_ends_early_keeps_the_slope(series, lungs):
    rows = followed(series, lungs, slice(0, 12))

    assert [name for name, row in rows.items() if row.status != "missing"] == [
        "pulmonary_flow_slope",
        "dynamic_ttp",
    ]
    assert "ends 7.8 s" in rows["pulmonary_flow"].reason


def test_without_a_baseline_time_to_peak_is_left(series, lungs):
    rows = followed(series, lungs, slice(3, None))

    assert [name for name, row in rows.items() if row.status != "missing"] == ["dynamic_ttp"]
    assert "2 frames show the lungs before the bolus" in rows["pulmonary_flow"].reason


EXCHANGED = INPUTS_RAS_MM | {
    "pulmonary_trunk": INPUTS_RAS_MM["descending_aorta"],
    "descending_aorta": INPUTS_RAS_MM["pulmonary_trunk"],
}


def test_inputs_in_no_possible_order_leave_nothing(series, lungs):
    rows = followed(series, lungs, points=EXCHANGED)

    assert {row.status for row in rows.values()} == {"missing"}
    assert "no possible order" in rows["dynamic_blood_volume"].reason


def test_the_report_withholds_what_the_gates_do(series, regions, analysis):
    made = analyse_dynamic(series, regions=regions, options=DynamicOptions(points_ras_mm=EXCHANGED))

    def sections(found):
        return {section.title: section.html for section in found.sections}

    tables, maps = (sections(made)[name] for name in ("Regions and tissue", "Maps"))
    number = re.compile(r">-?\d+\.?\d*[ <]")
    assert not number.findall(tables)
    assert number.findall(sections(analysis)["Regions and tissue"])
    assert maps.count("Values are withheld") == 4
    assert "no possible order" in maps
    assert "withheld" not in sections(analysis)["Maps"]


def test_a_time_point_that_came_twice_is_refused(series):
    twice = series.array.copy()
    twice[7] = twice[6]

    with pytest.raises(InputError, match=r"frames 7 and 8 hold the same image.*--leave-out 8"):
        analyse_dynamic(replace(series, array=twice))


def test_no_bronchial_flow_is_the_end_of_a_fit():
    numbers = dict.fromkeys(_NAMES, 5.0) | {"bronchial_flow": 0.0, "perfusion_index": 100.0}
    values = _Values(SimpleNamespace(region="lungs"), numbers, {}, {})

    rows = {row.measure: row for row in _rows(values, "cut")}

    assert rows["bronchial_flow"].reason.startswith("the fit ends at its bound")
    assert rows["perfusion_index"].status == "caution"
    assert rows["pulmonary_flow"].reason == "cut"


def test_slow_frames_leave_the_area(series, lungs):
    rows = followed(series, lungs, stretch=1.4)

    assert [name for name, row in rows.items() if row.status != "missing"] == [
        "dynamic_blood_volume"
    ]
    assert "2.8 s apart" in rows["pulmonary_flow"].reason


def test_a_sound_series_keeps_all(series, lungs):
    assert {row.status for row in followed(series, lungs).values()} == {"ok"}


# ---- regions and settings ------------------------------------------------------------------------


def test_what_the_slab_cuts_off_has_a_caution(analysis):
    row = value(analysis, "left_lower_lobe", "pulmonary_flow")

    assert row.status == "caution"
    assert "cut this region off" in row.reason


def test_haematocrit_multiplies_flow(aligned, lungs, phantom):
    first_pass = FirstPass(
        aligned=aligned,
        inputs=find_inputs(aligned.frames, lungs, INPUTS_RAS_MM),
        regions=RegionSet((lungs,)),
        lung=phantom.own > 0.95,
    )
    plain, corrected = (
        measure_regions(replace(first_pass, hct_ratio=ratio)) for ratio in (1.0, 0.8)
    )

    for measure in ("pulmonary_flow", "dynamic_blood_volume", "pulmonary_flow_slope"):
        assert corrected.value("lungs", measure) == pytest.approx(
            0.8 * plain.value("lungs", measure), rel=1e-6
        )


def test_a_wrong_haematocrit_is_refused():
    with pytest.raises(InputError, match="ratio of the haematocrits"):
        DynamicOptions(hct_ratio=1.4)


def test_cancel_ends_at_once(series, lungs):
    def stop(fraction, message):
        raise CancelledError("stop")

    with pytest.raises(CancelledError):
        move_frames(series.reduced(), lungs, 0, progress=stop)


# ---- command -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    path = folder / "pass.seq.nrrd"
    write_time_series(phantom.frames, phantom.geometry, phantom.times_s, path)
    lungs: Labelmap = phantom.truth.lungs
    write_labelmap(lungs, folder / "lungs.seg.nrrd")
    points = [
        word
        for name, place in zip(("artery", "atrium", "aorta"), INPUTS_RAS_MM.values(), strict=True)
        for word in (f"--{name}", *map(str, place))
    ]
    words = ["dynamic", str(path), *points, "--lung-mask", str(folder / "lungs.seg.nrrd")]
    words += ["--keep-stages", str(folder / "stages")]
    for out in ("first", "second"):
        assert main([*words, "-o", str(folder / out), "--quiet"]) == 0
    return folder


def test_command_writes_maps_curves_findings_and_a_report(written):
    out = written / "first"
    names = {path.name for path in out.iterdir()}
    with (out / "curves.csv").open(encoding="utf-8") as stream:
        curves = list(csv.DictReader(stream))
    report = (out / "report.html").read_text(encoding="utf-8")

    assert {
        *("pulmonary_flow.nrrd", "bronchial_flow.nrrd", "perfusion_index.nrrd"),
        *("blood_volume.nrrd", "mtt.nrrd", "ttp.nrrd", "fit_residual.nrrd", "motion_rms.nrrd"),
        *("flow_findings.csv", "flow_findings.seg.nrrd", "frames.csv", "measurements.csv"),
    } <= names
    assert len(curves) == 18
    assert float(curves[7]["pulmonary_trunk_hu"]) > 350
    assert "Dynamic perfusion" in report
    assert "246" in report
    assert "diagnosis" in report


def test_command_gives_the_same_bytes_twice(written):
    for path in sorted((written / "first").iterdir()):
        if path.name not in ("results.json", "checksums.json"):
            assert path.read_bytes() == (written / "second" / path.name).read_bytes(), path.name


def test_results_tell_where_the_inputs_were(written):
    results = json.loads((written / "first" / "results.json").read_text(encoding="utf-8"))
    text = json.dumps(results)

    assert "placed_by_hand" in text
    assert '"baseline_frames": 5' in text
