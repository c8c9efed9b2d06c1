"""The whole analysis: rows, tables, gates, refusals, and the real scans."""

from __future__ import annotations

import argparse
import math

import numpy as np
import pytest

from lungperfusion.errors import InputError
from lungperfusion.io import labelmap_of, read_ct, read_labelmap
from lungperfusion.pipelines.regions import FoundRegions
from lungperfusion.pipelines.vesselbv import (
    ARTERIES,
    VEINS,
    VesselOptions,
    add_arguments,
    analyse_vesselbv,
    options_from_arguments,
)
from lungperfusion.regions import RegionSet
from lungperfusion.vessels.blood_volume import blood_sample, volume_by_area
from lungperfusion.vessels.detection import find_vessels
from lungperfusion.vessels.oxygen import BloodGas
from lungperfusion.volume import Labelmap, Volume


def regions_of(lungs):
    return FoundRegions(lungs=lungs, regions=RegionSet((lungs,)), gates=(), warnings=())


def analyse(image, **options):
    options.setdefault("pictures", False)
    return analyse_vesselbv(image.ct, found=regions_of(image.lungs), **options)


@pytest.fixture(scope="module")
def analysis(tree_phantom):
    gas = BloodGas(pao2_mmhg=80, paco2_mmhg=40, oxygen_l_min=2)
    return analyse(tree_phantom, options=VesselOptions(blood_hu=40.0, gas=gas))


def test_rows_tables_and_gates(analysis, tree_phantom):
    rows = {(row.region, row.measure): row for row in analysis.measurements}
    assert len(rows) == len(analysis.measurements)  # no row twice
    total = rows["lungs", "tbv"].value
    assert total == pytest.approx(sum(tree_phantom.volume_ml), rel=0.03)
    assert rows["lungs", "aado2"].unit == "mmHg"
    fine = analysis.tables["distribution"].rows
    blood = sum(row["blood_ml"] for row in fine if row["region"] == "lungs")
    assert blood == pytest.approx(total, rel=1e-9)
    segments = analysis.tables["vessels"].rows
    assert sum(row["blood_ml"] for row in segments) == pytest.approx(total, rel=1e-6)
    assert len(segments) == rows["lungs", "vessel_count"].value
    gates = {gate.id: gate.verdict for gate in analysis.gates}
    assert gates["vessel_slice_thickness"] == "pass"
    assert gates["vessel_point_spread"] == "pass"


def test_labels_agree_with_the_bins(analysis):
    labels = analysis.labelmaps["vessels"]
    assert labels.volume_ml("vessels_bv10") > 0
    assert labels.volume_ml("vessels_bv5") > 0


def test_unknown_blood_warns(tree_phantom):
    gates = {gate.id: gate for gate in analyse(tree_phantom).gates}
    assert gates["vessel_blood_density"].verdict == "warn"


def test_thick_slices_give_no_number(make_phantom):
    image = make_phantom(spacing=(0.9, 0.9, 5.0))
    analysis = analyse(image)
    rows = {(row.region, row.measure): row for row in analysis.measurements}
    for measure in ("tbv", "bv5", "bv5_share"):
        assert math.isnan(rows["lungs", measure].value)
        assert "5.00 mm" in rows["lungs", measure].reason
    assert analysis.gates[0].verdict == "fail"


def test_arteries_and_veins_have_their_own_blood(make_phantom, make_tree):
    image = make_phantom(blood_hu=300.0)
    sides = np.where(image.ct.geometry.coordinate_mm("R") > 0, 1, 2).astype(np.uint8)
    sides[image.coverage.array < 0.5] = 0
    classes = Labelmap(sides, image.ct.geometry, {1: ARTERIES, 2: VEINS})
    analysis = analyse(image, options=VesselOptions(blood_hu=40.0), arteries_and_veins=classes)
    rows = {(row.region, row.measure): row.value for row in analysis.measurements}
    assert rows["lungs", "tbv"] == pytest.approx(sum(image.volume_ml), rel=0.08)
    both = rows["lungs", "arterial_tbv"] + rows["lungs", "venous_tbv"]
    assert both <= rows["lungs", "tbv"] * (1 + 1e-9)
    wrong = Labelmap(sides, image.ct.geometry, {1: "left", 2: "right"})
    with pytest.raises(InputError, match="lung_arteries and lung_veins"):
        analyse(image, arteries_and_veins=wrong)


def test_scans_of_other_sharpness_are_harmonised(make_phantom):
    options = VesselOptions(blood_hu=40.0, harmonise_to_mm=1.6)
    for spread in (0.8, 1.3):
        rows = {
            row.measure: row
            for row in analyse(make_phantom(psf_fwhm_mm=spread), options=options).measurements
            if row.region == "lungs"
        }
        assert rows["point_spread"].value == pytest.approx(1.6, abs=0.15)
        assert "smoothed to 1.6 mm" in rows["bv5"].method


def test_a_scan_less_sharp_than_wanted_is_refused(tree_phantom):
    options = VesselOptions(blood_hu=40.0, harmonise_to_mm=0.6)
    with pytest.raises(InputError, match=r"cannot be harmonised to 0\.6 mm"):
        analyse(tree_phantom, options=options)


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["ct.nrrd", "-o", "out", *words])


def test_options_are_checked():
    options = options_from_arguments(parsed("--bsa-m2", "1.9", "--edges-mm2", "0", "2", "9"))
    assert options.edges_mm2 == (0.0, 2.0, 9.0)
    with pytest.raises(InputError, match="ascending"):
        options_from_arguments(parsed("--edges-mm2", "5", "1"))
    with pytest.raises(InputError, match="point spread of 0"):
        options_from_arguments(parsed("--harmonise-mm", "15"))
    with pytest.raises(InputError, match="body surface"):
        options_from_arguments(parsed("--bsa-m2", "190"))


@pytest.mark.real
def test_follow_up_pair_is_one_person(real_data):
    totals = []
    for visit in ("baseline", "followup"):
        folder = real_data / "lung_followup_pair"
        ct = read_ct(folder / f"{visit}.nii.gz").volume
        mask = labelmap_of(read_labelmap(folder / f"{visit}_mask.mha")).array > 0
        lungs = Labelmap(
            (2 * mask).astype(np.uint8), ct.geometry, {1: "left_lung", 2: "right_lung"}
        )
        part = (slice(20, 70), slice(None), slice(None))
        found = find_vessels(
            Volume(ct.array[part], ct.geometry.crop(part), "HU"), lungs.crop(part), blood_hu=40.0
        )
        totals.append(volume_by_area(blood_sample(found)).sum())
    assert totals[1] == pytest.approx(totals[0], rel=0.5)
    assert min(totals) > 3
