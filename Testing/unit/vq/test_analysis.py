"""The whole analysis of one pair, objects in, objects out, and its command line."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from lungperfusion.analysis.ctvq import (
    INVERSE,
    TRANSFORM,
    VOLUME_TRANSFORM,
    Breath,
    Comparison,
    Measured,
    Steering,
    VqOptions,
    analyse_ctvq,
)
from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.commands.ctvq import (
    read_healthy_bins,
    read_landmarks,
    read_ratings,
    read_transform,
)
from lungperfusion.errors import InputError
from lungperfusion.io import write_labelmap, write_volume
from lungperfusion.phantoms.breathing import make_breathing_phantom
from lungperfusion.phantoms.measured import counts_image, iodine_image, true_perfusion
from lungperfusion.quality import Gate
from lungperfusion.regions import RegionSet
from lungperfusion.segmentation.zones import label_zones
from lungperfusion.terms import LOBES, ZONES
from lungperfusion.volume import Labelmap, Volume
from lungperfusion.vq.classes import HealthyBins
from lungperfusion.vq.measured import MeasuredMap


def found(lungs, lobes):
    regions = RegionSet((lungs, lobes, label_zones(lungs)))
    return FoundRegions(lungs=lungs, regions=regions, gates=(), warnings=())


@pytest.fixture(scope="module")
def small():
    return make_breathing_phantom(spacing_mm=3.5, scale=0.5)


@pytest.fixture(scope="module")
def states(small):
    return (
        Breath(small.expiration, found(small.expiration_lungs, small.expiration_lobes)),
        Breath(small.inspiration, found(small.inspiration_lungs, small.inspiration_lobes)),
    )


@pytest.fixture(scope="module")
def analysis(small, states):
    return analyse_ctvq(*states, pictures=False)


def test_maps_lie_on_the_whole_expiratory_grid_and_are_valid_in_the_lungs(analysis, small):
    assert set(analysis.maps) == {
        "ventilation",
        "specific_ventilation",
        "perfusion",
        "vq_ratio",
        "jacobian",
        "inspiration_on_expiration",
    }
    lungs = small.expiration_lungs.array > 0
    for name, volume in analysis.maps.items():
        assert volume.geometry.same_as(small.expiration.geometry), name
        assert np.isfinite(volume.array).all(), name
        assert (volume.valid & ~lungs).sum() == 0, name
        assert volume.valid[lungs].mean() > 0.97, name
    value = {(m.region, m.measure): m.value for m in analysis.measurements}
    assert value["lungs", "ventilation_share"] == pytest.approx(100)
    assert {gate.verdict for gate in analysis.gates} <= {"pass", "warn", "unknown"}
    assert len(analysis.tables["threshold_sensitivity"].rows) == 5
    assert len(analysis.tables["collateral_ventilation"].rows) == 3
    json.dumps(dict(analysis.parameters))
    assert set(analysis.transforms) == {TRANSFORM, VOLUME_TRANSFORM, INVERSE}


def test_measured_maps_add_values_of_their_own(analysis, small, states):
    """Flow that the density does not show, and gas; on either grid, with holes in both maps."""
    flow = true_perfusion(small)
    gas = counts_image(small, small.ventilation, "expiration")
    iodine = iodine_image(small, flow, "inspiration")
    hole = np.ones(iodine.geometry.shape, bool)
    hole[:, 14:18] = False
    maps = Measured(
        perfusion=MeasuredMap(
            image=Volume(iodine.array, iodine.geometry, "mg/mL", iodine.valid & hole), kind="iodine"
        ),
        ventilation=MeasuredMap(image=gas, kind="spect", quantity="ventilation"),
    )
    steering = Steering(
        transform=analysis.transforms[TRANSFORM],
        volume_transform=analysis.transforms[VOLUME_TRANSFORM],
    )
    for grid, names in (("expiration", ("ventilation",)), ("inspiration", ("jacobian",))):
        made = analyse_ctvq(
            *states,
            options=VqOptions(grid=grid),
            steering=steering,
            measured=maps,
            pictures=grid == "expiration",
        )
        added = {"measured_perfusion", "measured_ventilation", "measured_vq_ratio"}
        assert added | {"perfusion_difference", *names} <= set(made.maps)
        lobes = {m.region: m for m in made.measurements if m.measure == "measured_perfusion_share"}
        assert sum(lobes[lobe].value for lobe in LOBES) == pytest.approx(100, abs=0.1)
        assert lobes["lungs"].method.startswith("measured (iodine, inspiration, amount")
        found = {m.measure for m in made.measurements if m.region == "lungs"}
        assert {
            "measured_dead_space_share",
            "measured_ventilation_share",
            "perfusion_share",
        } <= found
        holes = made.maps["measured_perfusion"].valid
        assert holes.sum() < made.maps["perfusion"].valid.sum()
        assert not made.labelmaps["measured_vq_classes"].array[~holes].any()
        assert {"class_confusion", "measured_agreement"} <= set(made.tables)
        gates = {gate.id: gate.verdict for gate in made.gates}
        assert gates["perfusion_map_coverage"] in ("pass", "warn")
    assert not any(m.measure.startswith("measured_") for m in analysis.measurements)
    assert made.parameters["perfusion_map"]["breath"] == "inspiration"


def test_emphysema_is_that_of_the_inspiratory_scan(analysis, small):
    inside = small.inspiration_lobes.mask(LOBES[1])
    low = 100 * float((small.inspiration.array[inside] < -950).mean())
    value = {(m.region, m.measure): m.value for m in analysis.measurements}
    assert value[LOBES[1], "emphysema"] == pytest.approx(low)
    volume = small.inspiration_lobes.volume_ml(LOBES[1])
    assert value[LOBES[1], "inspiratory_volume"] == pytest.approx(volume)


def test_gates_and_warnings_say_which_scan(small, states):
    gates = tuple(
        Gate(id=name, verdict="warn", message="Look.") for name in ("truncation", "inspiration")
    )
    both = [
        Breath(state.ct, replace(state.found, gates=gates, warnings=("Odd.",))) for state in states
    ]
    made = analyse_ctvq(*both, pictures=False)
    found = {gate.id: gate.message for gate in made.gates}
    assert found["expiration_truncation"] == "Look. (expiration)"
    assert found["inspiration_truncation"] == "Look. (inspiration)"
    # That an expiratory scan looks expiratory is no finding.
    assert "inspiration_inspiration" in found
    assert "expiration_inspiration" not in found
    assert {"Odd. (expiration)", "Odd. (inspiration)"} <= set(made.warnings)


def test_reused_transform_gives_nearly_the_same_shares(analysis, small, states):
    # Ripples of 0.5 mm stand for what a softer field adds; noise may have left it out.
    field = analysis.transforms[TRANSFORM]
    ripple = 0.5 * np.sin(np.arange(field.geometry.shape[0]) * 0.8)[:, None, None, None]
    field = replace(field, ras_mm=field.ras_mm + ripple.astype(np.float32))
    again = analyse_ctvq(*states, steering=Steering(transform=field), pictures=False)
    first = {(m.region, m.measure): m.value for m in analysis.measurements}
    for m in again.measurements:
        if m.measure == "ventilation_share":
            assert m.value == pytest.approx(first[m.region, m.measure], abs=1.0)
    with_both = analyse_ctvq(
        *states,
        steering=Steering(transform=field, volume_transform=analysis.transforms[VOLUME_TRANSFORM]),
        pictures=False,
    )
    jacobian = analysis.maps["jacobian"]
    off = [
        float(np.abs(made.maps["jacobian"].array - jacobian.array)[jacobian.valid].mean())
        for made in (again, with_both)
    ]
    assert off[1] < 0.01
    assert off[1] < 0.5 * off[0]


def test_lobes_of_inspiration_are_carried_over(small, states, analysis):
    field = analysis.transforms[TRANSFORM]
    lungs = small.expiration_lungs
    without = FoundRegions(lungs=lungs, regions=RegionSet((lungs,)), gates=(), warnings=())
    carried = analyse_ctvq(
        Breath(small.expiration, without),
        states[1],
        steering=Steering(transform=field),
        pictures=False,
    )
    got = {(m.region, m.measure): m.value for m in carried.measurements}
    for lobe in LOBES:
        volume = small.expiration_lobes.volume_ml(lobe)
        assert got[lobe, "expiratory_volume"] == pytest.approx(volume, rel=0.06)


def test_vessels_of_the_expiratory_scan_hold_no_parenchyma(small, states, analysis):
    """Dense blood among them must not pass for perfused lung."""
    lungs = small.expiration_lungs
    vessels = np.zeros(lungs.array.shape, np.uint8)
    k, j, i = np.argwhere(lungs.mask("right_lung")).mean(axis=0).astype(int)
    vessels[k - 3 : k + 4, j - 3 : j + 4, i - 3 : i + 4] = 4
    here = vessels > 0
    dense = np.where(here, -300, small.expiration.array).astype(np.int16)
    expiration = small.expiration.with_array(dense)
    field = analysis.transforms[TRANSFORM]
    known = replace(states[0].found, vessels=Labelmap(vessels, lungs.geometry, {4: "vessels"}))
    q = [
        analyse_ctvq(
            Breath(expiration, there), states[1], steering=Steering(transform=field), pictures=False
        )
        .maps["perfusion"]
        .array[here]
        .mean()
        for there in (states[0].found, known)
    ]
    expected = analysis.maps["perfusion"].array[here].mean()
    assert q[0] > 1.2 * expected
    assert q[1] == pytest.approx(expected, rel=0.1)


def test_swapped_scans_are_refused(small, states):
    with pytest.raises(InputError, match="check whether the scans are swapped"):
        analyse_ctvq(*states[::-1], pictures=False)


def test_reference_comparison_is_tabled(small, states, analysis):
    field = analysis.transforms[TRANSFORM]
    with_reference = analyse_ctvq(
        *states,
        steering=Steering(transform=field),
        comparison=Comparison(
            reference=small.perfusion,
            ratings={
                "a": {zone.value: 5.0 - number % 3 for number, zone in enumerate(ZONES)},
                "b": {ZONES[0].value: 4.0},
            },
        ),
        pictures=True,
    )
    assert len(with_reference.tables["zone_ratings"].rows) == 7
    agreement = {row["over"]: row for row in with_reference.tables["reference_agreement"].rows}
    assert agreement["lobes"]["pearson"] > 0.9
    assert np.isnan(agreement["lobes"]["bias"]), "shares of whole lungs differ by 0 on average"
    assert agreement["lobes"]["lower_limit"] < 0
    rows = with_reference.tables["reference_comparison"].rows
    assert {row["region"] for row in rows} >= {"lungs", "left_upper_lobe", "right_upper_zone"}
    text = "".join(section.html for section in with_reference.sections)
    assert "volume alone" in text
    assert "Reader a: Kendall" in text
    assert "Reader b rated fewer than two" in text
    assert "Bland-Altman" in text
    assert "uncalibrated" in text
    assert "median Spearman" in text
    assert "not a measurement of flow" in text
    assert text.count("<img") >= 9


def test_maps_on_the_inspiratory_grid_keep_their_sums(small, states, analysis):
    field = analysis.transforms[TRANSFORM]
    found = analyse_ctvq(
        *states,
        options=VqOptions(grid="inspiration"),
        steering=Steering(transform=field),
        pictures=False,
    )
    there = small.inspiration.geometry
    lungs = small.inspiration_lungs.array > 0
    value = {(m.region, m.measure): m.value for m in found.measurements}
    assert set(found.maps) == {
        "ventilation", "specific_ventilation", "perfusion", "vq_ratio", "jacobian",
        "expiration_on_inspiration",
    }  # fmt: skip
    for name, volume in found.maps.items():
        assert volume.geometry.same_as(there), name
        seen = volume.valid if name in ("perfusion", "vq_ratio") else lungs
        assert (volume.valid == seen).all(), name
        assert seen[lungs].mean() > 0.95, name
    total = float(found.maps["ventilation"].array[lungs].sum()) * there.voxel_volume_ml
    assert total == pytest.approx(value["lungs", "volume_change"], rel=0.03)
    ventilation = found.maps["ventilation"].array
    perfusion = found.maps["perfusion"].array
    assert perfusion[found.maps["perfusion"].valid].mean() == pytest.approx(1, abs=1e-3)
    for lobe in LOBES:
        mask = small.inspiration_lobes.mask(lobe)
        for name, array in (("ventilation", ventilation), ("perfusion", perfusion)):
            share = 100 * array[mask].sum() / array[lungs].sum()
            assert share == pytest.approx(value[lobe, f"{name}_share"], abs=0.7), (lobe, name)
    moved = found.maps["expiration_on_inspiration"].array
    deep = ndimage.binary_erosion(lungs, iterations=2)
    hu = small.inspiration.array[deep]
    assert moved[deep].mean() > hu.mean() + 30  # expiration is denser
    assert np.corrcoef(moved[deep], hu)[0, 1] > 0.5
    back = found.transforms[INVERSE]
    points = small.landmarks_inspiration_ras_mm
    there_and_back = points + back.at(points)
    there_and_back = there_and_back + field.at(there_and_back)
    away = np.linalg.norm(there_and_back - points, axis=1)
    assert np.percentile(away, 95) < 0.5


def test_healthy_bins_replace_the_share_of_the_mean(small, states, analysis):
    field = analysis.transforms[TRANSFORM]
    bins = HealthyBins(ventilation=(0.4, 0.8, 1.2), perfusion=(0.5,))
    found = analyse_ctvq(
        *states,
        options=VqOptions(healthy=bins, low_ventilation=0.9),
        steering=Steering(transform=field),
        pictures=False,
    )
    assert found.parameters["low_ventilation"] == 0.4
    assert found.parameters["low_perfusion"] == 0.5
    rows = found.tables["healthy_bins"].rows
    of_v = [row for row in rows if row["map"] == "ventilation"]
    lungs = [row["volume_percent"] for row in of_v if row["region"] == "lungs"]
    assert len(lungs) == 4
    assert sum(lungs) == pytest.approx(100)
    v = found.maps["ventilation"]
    relative = v.array[v.valid] / v.array[v.valid].mean()
    assert lungs[0] == pytest.approx(100 * (relative < 0.4).mean(), abs=1e-6)


def test_command_line_writes_the_folder(tmp_path, small):
    from lungperfusion import __main__ as command

    for name in ("expiration", "inspiration"):
        write_volume(getattr(small, name), tmp_path / f"{name}.nrrd")
        write_labelmap(getattr(small, f"{name}_lobes"), tmp_path / f"{name}_lobes.seg.nrrd")
    words = ["ctvq", "--quiet", "--no-report", "-o", str(tmp_path / "out")]
    for name in ("expiration", "inspiration"):
        words += [f"--{name}", str(tmp_path / f"{name}.nrrd")]
    words += ["--lobes", str(tmp_path / "expiration_lobes.seg.nrrd")]
    words += ["--inspiration-lobes", str(tmp_path / "inspiration_lobes.seg.nrrd")]
    assert command.main(words) == 0
    out = tmp_path / "out"
    assert "ventilation_share" in (out / "measurements.csv").read_text(encoding="utf-8")
    field = read_transform(out / f"{TRANSFORM}.nrrd")
    assert np.isfinite(field.ras_mm).all()
    listed = json.loads((out / "results.json").read_text(encoding="utf-8"))["files"]
    assert f"{TRANSFORM}.nrrd" in listed
    assert f"{VOLUME_TRANSFORM}.nrrd" in listed


def test_markups_in_either_coordinate_system(tmp_path):
    for system, expected in (("LPS", [-1.0, -2.0, 3.0]), ("RAS", [1.0, 2.0, 3.0])):
        record = {
            "markups": [
                {"coordinateSystem": system, "controlPoints": [{"position": [1.0, 2.0, 3.0]}]}
            ]
        }
        path = tmp_path / f"{system}.mrk.json"
        path.write_text(json.dumps(record), encoding="utf-8")
        assert read_landmarks(path).tolist() == [expected]
    for text in ("", "{}", '{"markups": [{"controlPoints": []}]}'):
        path = tmp_path / "bad.mrk.json"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"bad\.mrk\.json"):
            read_landmarks(path)


def test_ratings_are_read_and_refused(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("region,rating\nleft_upper_zone,4\n", encoding="utf-8")
    assert read_ratings(path) == {"": {"left_upper_zone": 4.0}}
    lines = "region,rating,reader\nleft_upper_zone,4,a\nleft_upper_zone,2,b\n"
    path.write_text(lines, encoding="utf-8")
    assert read_ratings(path) == {"a": {"left_upper_zone": 4.0}, "b": {"left_upper_zone": 2.0}}
    for line, message in (
        ("left_lung,4", "'left_lung' is no zone"),
        ("left_upper_zone,6", "must be between 1 and 5, not '6'"),
        ("left_upper_zone,", "must be between 1 and 5, not ''"),
        ("left_upper_zone,4\nleft_upper_zone,3", "is rated twice"),
    ):
        path.write_text(f"region,rating\n{line}\n", encoding="utf-8")
        with pytest.raises(InputError, match=message):
            read_ratings(path)


def test_healthy_bins_are_read_and_refused(tmp_path):
    path = tmp_path / "bins.csv"
    rows = "ventilation,0.4\nventilation,0.7\nperfusion,0.5"
    path.write_text(f"map,below\n{rows}\n", encoding="utf-8")
    assert read_healthy_bins(path) == HealthyBins(ventilation=(0.4, 0.7), perfusion=(0.5,))
    for text, message in (
        ("density,0.4", "'density' is no map"),
        ("ventilation,0.4", "must rise from above 0"),
        ("ventilation,0.4\nventilation,0.4\nperfusion,1", "must rise from above 0"),
        ("ventilation,x\nperfusion,1", "must rise from above 0"),
    ):
        path.write_text(f"map,below\n{text}\n", encoding="utf-8")
        with pytest.raises(InputError, match=message):
            read_healthy_bins(path)


def test_an_image_is_no_transform(tmp_path):
    path = tmp_path / "image.nrrd"
    sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkFloat32), str(path))
    with pytest.raises(InputError, match=r"1 component\(s\) per voxel instead of 3"):
        read_transform(path)
    with pytest.raises(InputError, match="there is no file"):
        read_transform(tmp_path / "absent.nrrd")
    vectors = np.full((4, 4, 4, 3), np.nan, np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(vectors, isVector=True), str(path))
    with pytest.raises(InputError, match="no finite numbers"):
        read_transform(path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="damaged, cut short"):
        read_transform(path)


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX systems")
def test_a_pipe_is_no_transform(tmp_path):
    os.mkfifo(tmp_path / "field.nrrd")
    with pytest.raises(InputError, match="a device or a pipe"):
        read_transform(tmp_path / "field.nrrd")
