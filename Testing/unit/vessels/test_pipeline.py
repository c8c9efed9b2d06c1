"""The whole analysis: rows, tables, gates, refusals, and the real scans."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from scipy import ndimage

from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.analysis.vesselbv import ARTERIES, VEINS, VesselOptions, analyse_vesselbv
from lungperfusion.commands.vesselbv import add_arguments, options_from_arguments
from lungperfusion.errors import InputError
from lungperfusion.io import labelmap_of, read_ct, read_labelmap
from lungperfusion.phantoms.vessel_tree import straight_tube
from lungperfusion.regions import RegionSet
from lungperfusion.vessels.blood_volume import blood_sample, volume_by_area
from lungperfusion.vessels.detection import find_vessels
from lungperfusion.vessels.oxygen import BloodGas
from lungperfusion.volume import Geometry, Labelmap, Volume


def regions_of(lungs):
    return FoundRegions(lungs=lungs, regions=RegionSet((lungs,)), gates=(), warnings=())


def analyse(image, **options):
    options.setdefault("pictures", False)
    return analyse_vesselbv(image.ct, regions_of(image.lungs), **options)


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


def test_blood_of_an_enhanced_lung_alone_is_read_in_its_widest_vessels(make_phantom):
    """No heart is in the image: 40 HU would make volumes 39 % too large."""
    vessels = straight_tube((0.0, 0.0, 0.0), (1.0, 0.4, 0.2), 50.0, 40.0).joined(
        straight_tube((0.0, 14.0, 0.0), (1.0, 0.2, 0.1), 44.0, 6.0)
    )
    image = make_phantom(vessels, blood_hu=300.0, spacing=(1.0, 1.0, 1.0))
    analysis = analyse(image)
    rows = {row.measure: row for row in analysis.measurements if row.region == "lungs"}
    assert rows["blood_density"].value == pytest.approx(300, abs=8)
    assert rows["tbv"].value == pytest.approx(sum(image.volume_ml), rel=0.04)
    assert rows["tbv"].status == "caution"
    gates = {gate.id: gate for gate in analysis.gates}
    assert gates["vessel_blood_density"].verdict == "warn"
    assert "widest vessels" in gates["vessel_blood_density"].message
    wrong = {gate.id: gate for gate in analyse(image, options=VesselOptions(blood_hu=40)).gates}
    assert wrong["vessel_core_density"].verdict == "warn"
    assert "off by about" in wrong["vessel_core_density"].message
    right = {gate.id: gate for gate in analyse(image, options=VesselOptions(blood_hu=300)).gates}
    assert right["vessel_core_density"].verdict == "pass"


def test_noise_blur_and_slices_are_judged_together(make_phantom, make_tree):
    """Each within its own limit; together they hide a vessel of 1.25 mm2."""
    options = VesselOptions(blood_hu=40.0)
    tree = make_tree()

    def judged(**scan):
        analysis = analyse(make_phantom(tree, **scan), options=options)
        gates = {gate.id: gate.verdict for gate in analysis.gates}
        bv5 = next(row for row in analysis.measurements if row.measure == "bv5")
        return gates, bv5.status

    gates, status = judged()
    assert (gates["vessel_detectability"], status) == ("pass", "ok")
    together = {"spacing": (0.7, 0.7, 1.25), "noise_hu": 58.0, "psf_fwhm_mm": 1.35}
    gates, status = judged(**together, noise_fwhm_mm=1.5)
    assert (gates["vessel_detectability"], status) == ("warn", "caution")
    alone = ("vessel_noise", "vessel_slice_thickness", "vessel_point_spread")
    assert [gates[name] for name in alone] == ["pass", "pass", "pass"]
    gates, status = judged(**{**together, "noise_hu": 110.0}, noise_fwhm_mm=1.5)
    assert (gates["vessel_detectability"], status) == ("fail", "missing")


def test_a_kernel_beyond_the_range_of_the_point_spread_is_told(make_phantom):
    """Edges that are enhanced draw blood together: no width can be read from it."""
    image = make_phantom(psf_fwhm_mm=0.8, noise_hu=0.0)
    soft = ndimage.gaussian_filter(image.ct.array.astype(np.float32), 1.2)
    sharp = np.rint(image.ct.array + 1.5 * (image.ct.array - soft)).astype(np.int16)
    analysis = analyse(
        replace(image, ct=Volume(sharp, image.ct.geometry, "HU")),
        options=VesselOptions(blood_hu=40.0),
    )
    gate = next(gate for gate in analysis.gates if gate.id == "vessel_point_spread")
    assert gate.verdict == "warn"
    assert "at or below the finest" in gate.message
    row = next(row for row in analysis.measurements if row.measure == "point_spread")
    assert row.status == "missing"
    assert "at or below" in row.reason


@pytest.fixture(scope="module")
def coarse_image(make_phantom, make_tree):
    return make_phantom(make_tree(), spacing=(1.0, 1.1, 1.2), size_mm=62.0)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_order_of_storage_changes_no_number(coarse_image, order):
    def table(image):
        found = analyse(image, options=VesselOptions(blood_hu=40.0))
        return {(r.region, r.measure): r.value for r in found.measurements}, found.labelmaps

    wanted, maps = table(coarse_image)
    flips = tuple(slice(None, None, -1 if n == order[0] else 1) for n in order)
    turned = turned_image(coarse_image, order, flips)
    values, turned_maps = table(turned)
    assert values == wanted
    np.testing.assert_array_equal(
        turned_maps["vessels"].array, maps["vessels"].array.transpose(order)[flips]
    )
    assert turned_maps["vessels"].geometry.same_as(turned.ct.geometry)


def turned_image(image, order, flips):
    """Same image with permuted and flipped array axes."""
    geometry = image.ct.geometry
    matrix = geometry.ijk_to_ras.copy()
    for new, old in enumerate(order):
        step = flips[new].step or 1
        matrix[:3, 2 - new] = step * geometry.ijk_to_ras[:3, 2 - old]
        if step < 0:
            matrix[:3, 3] += geometry.ijk_to_ras[:3, 2 - old] * (geometry.shape[old] - 1)
    grid = Geometry(tuple(geometry.shape[old] for old in order), matrix)
    ct = Volume(np.ascontiguousarray(image.ct.array.transpose(order)[flips]), grid, "HU")
    labels = np.ascontiguousarray(image.lungs.array.transpose(order)[flips])
    return replace(image, ct=ct, lungs=Labelmap(labels, grid, image.lungs.names))


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
