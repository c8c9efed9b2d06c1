"""Bins, conventions, regions, blood density, gates and published figures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from lungperfusion.acquisition import Acquisition
from lungperfusion.measurement import Measurement
from lungperfusion.regions import RegionSet
from lungperfusion.segmentation.zones import label_zones
from lungperfusion.terms import ZONES, Region
from lungperfusion.vessels.blood_volume import (
    BloodSample,
    blood_sample,
    measure_blood_volume,
    refuse_blood_volume,
    smallest_disc_mm2,
    volume_by_area,
)
from lungperfusion.vessels.detection import find_vessels
from lungperfusion.vessels.published import compare_with_published, letter_z_scores
from lungperfusion.vessels.quality import slice_gate
from lungperfusion.volume import Geometry


def sample(areas, volumes):
    zeros = np.zeros(len(areas), np.int64)
    return BloodSample(np.array(areas, float), np.array(volumes, float), zeros, zeros)


def test_an_area_on_a_border_belongs_to_the_bin_above():
    areas = [1.2499, 1.25, 4.9999, 5.0, 9.9999, 10.0, 500.0]
    bins = volume_by_area(sample(areas, [1, 2, 4, 8, 16, 32, 64]))
    np.testing.assert_array_equal(bins, [1, 6, 24, 96])
    with pytest.raises(ValueError, match="ascend"):
        volume_by_area(sample([1.0], [1.0]), (5.0, 1.0))


@pytest.fixture(scope="module")
def analysed(tree_phantom):
    found = find_vessels(tree_phantom.ct, tree_phantom.lungs, blood_hu=40.0)
    regions = RegionSet((tree_phantom.lungs, label_zones(tree_phantom.lungs)))
    methods = ("integral", "distance_transform", "scale_space")
    classes = np.where(found.vessels.segment % 2 == 0, "arterial", "venous")
    rows = measure_blood_volume(
        found, regions, methods=methods, body_surface_m2=2.0, point_class=classes, note="; n"
    )
    return found, {(row.region, row.measure): row for row in rows}


def value(rows: dict[tuple[str, str], Measurement], measure: str, region=Region.LUNGS) -> float:
    return rows[region, measure].value


def test_bins_shares_and_conventions_agree(analysed):
    _, rows = analysed
    bins = [value(rows, id_) for id_ in ("bv_below_1_25", "bv5", "bv5_10", "bv10")]
    assert sum(bins) == pytest.approx(value(rows, "tbv"), rel=1e-12)
    shares = [f"{id_}_share" for id_ in ("bv_below_1_25", "bv5", "bv5_10", "bv10")]
    assert sum(value(rows, id_) for id_ in shares) == pytest.approx(100.0)
    assert value(rows, "cip_bv5") == pytest.approx(bins[0] + bins[1])
    assert value(rows, "bv5_letter_share") == pytest.approx(100 * bins[1] / sum(bins[1:]))
    letter = [f"{id_}_letter_share" for id_ in ("bv5", "bv5_10", "bv10")]
    assert sum(value(rows, id_) for id_ in letter) == pytest.approx(100.0)
    assert value(rows, "tbv_per_bsa") == pytest.approx(value(rows, "tbv") / 2)


def test_regions_add_up(analysed):
    _, rows = analysed
    zones = [zone for zone in ZONES if (zone, "bv5") in rows and rows[zone, "bv5"].status == "ok"]
    assert len(zones) == 3  # one lung
    for measure in ("tbv", "bv5", "bv10", "vessel_length", "vessel_count"):
        total = sum(value(rows, measure, zone) for zone in zones)
        assert total == pytest.approx(value(rows, measure), rel=1e-9)


def test_a_region_without_voxels_is_missing_not_zero(analysed):
    _, rows = analysed
    row = rows[Region.LEFT_LUNG, "bv5"]
    assert row.status == "missing"
    assert math.isnan(row.value)


def test_arteries_and_veins_split_the_total(analysed):
    _, rows = analysed
    for measure in ("tbv", "bv5", "bv10"):
        both = value(rows, f"arterial_{measure}") + value(rows, f"venous_{measure}")
        assert both == pytest.approx(value(rows, measure), rel=1e-9)


def test_every_number_names_its_method(analysed):
    _, rows = analysed
    methods = {rows[Region.LUNGS, id_].method for id_ in ("bv5", "bv5_distance_transform")}
    assert len(methods) == 2
    assert all(row.method for row in rows.values() if row.status != "missing")


def test_crop_does_not_change_the_blood(tree_phantom, analysed):
    found, _ = analysed
    cropped = find_vessels(
        tree_phantom.ct.crop(found.box), tree_phantom.lungs.crop(found.box), blood_hu=40.0
    )
    np.testing.assert_allclose(
        volume_by_area(blood_sample(cropped)), volume_by_area(blood_sample(found)), rtol=1e-9
    )


@pytest.mark.parametrize(
    ("thickness", "verdict"),
    [(0.7, "pass"), (1.25, "pass"), (1.26, "warn"), (4.99, "warn"), (5.0, "fail"), (8.0, "fail")],
)
def test_slice_gate(thickness, verdict):
    geometry = Geometry.axial((4, 4, 4), (0.7, 0.7, 0.7))
    assert slice_gate(geometry, Acquisition(slice_thickness_mm=thickness)).verdict == verdict
    assert slice_gate(Geometry.axial((4, 4, 4), (0.7, 0.7, thickness))).verdict == verdict


def test_refusal_rows_say_why(tree_phantom):
    rows = refuse_blood_volume(RegionSet((tree_phantom.lungs,)), "slices of 5 mm")
    assert {row.status for row in rows} == {"missing"}
    assert {row.reason for row in rows} == {"slices of 5 mm"}
    assert "bv5_share" in {row.measure for row in rows}


def test_published_figures():
    rows = compare_with_published({"bv5_letter_share": 46.89})
    letter = rows[0]
    assert letter["z_score"] == 0
    assert all(row["method_there"] for row in rows)
    lins = [row["mean_there_percent"] for row in rows if row["source"] == "Lins 2020"]
    assert sum(lins) == 100  # shares without vessels below 1.25 mm2, as the letter's measures
    assert all("letter" in row["measure"] or "cip" in row["measure"] for row in rows)
    assert any(math.isnan(row["z_score"]) for row in rows)  # no SD was published
    low, high = letter_z_scores(41.61 + 6.95, "integral")
    assert high.value == pytest.approx(1.0)
    assert low.value == pytest.approx((48.56 - 46.89) / 8.59)
    assert letter_z_scores(math.nan, "integral")[0].status == "missing"


def test_bins_that_the_distance_transform_cannot_reach_are_missing(analysed):
    """A disc that reaches the next voxel has an area: what is smaller is not 0 but unknown."""
    found, rows = analysed
    smallest = smallest_disc_mm2(found)
    assert smallest == pytest.approx(np.pi * min(found.geometry.spacing_kji_mm) ** 2)
    edges = dict(zip(("bv_below_1_25", "bv5", "bv5_10"), (1.25, 5.0, 10.0), strict=True))
    for id_, edge in edges.items():
        row = rows[Region.LUNGS, f"{id_}_distance_transform"]
        assert (row.status == "missing") == (edge <= smallest), id_
        assert rows[Region.LUNGS, id_].status != "missing"
    coarse = replace(
        found, geometry=Geometry(found.geometry.shape, np.diag([-2.0, -2.0, 2.0, 1.0]))
    )
    assert smallest_disc_mm2(coarse) > 10.0
