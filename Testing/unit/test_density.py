"""Density measures against values that can be worked out by other means."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lungperfusion.density import DensityOptions, measure_density
from lungperfusion.errors import CancelledError, GeometryMismatchError, InputError
from lungperfusion.noise import Noise
from lungperfusion.regions import RegionSet
from lungperfusion.terms import Region
from lungperfusion.terms.density import DENSITY_MEASURES
from lungperfusion.volume import Geometry, Labelmap, Volume

SPACING = (0.8, 0.7, 1.5)
NAMES = {1: "left_lung", 2: "right_lung", 3: "airways"}


def scene(
    hu: np.ndarray, labels: np.ndarray | None = None, valid: np.ndarray | None = None
) -> tuple[Volume, RegionSet]:
    geometry = Geometry.axial(hu.shape, SPACING)
    if labels is None:
        labels = np.ones(hu.shape, np.uint8)
        labels[..., : hu.shape[2] // 2] = 2
    regions = RegionSet((Labelmap(labels.astype(np.uint8), geometry, NAMES),))
    return Volume(hu, geometry, "HU", valid), regions


def measure(ct: Volume, regions: RegionSet, **settings) -> tuple:
    """Measure with thresholds of `DensityOptions` among the keywords."""
    given = {name: settings.pop(name) for name in ("noise", "vessels") if name in settings}
    return measure_density(ct, regions, options=DensityOptions(**settings), **given)


def table(ct: Volume, regions: RegionSet, **settings) -> dict:
    return {
        (m.region, m.measure): m.value if m.status != "missing" else m
        for m in measure(ct, regions, **{"noise": QUIET, **settings})
    }


QUIET = Noise(sd_hu=0.0, grain_mm=0.6, where="nowhere")


@pytest.fixture
def noisy() -> np.ndarray:
    rng = np.random.default_rng(4)
    hu = rng.normal(-850, 60, (12, 20, 24))
    hu[3:6, 4:9, 5:20] = rng.normal(-500, 80, (3, 5, 15))
    hu[8:10, 4:9, 5:20] = rng.normal(20, 40, (2, 5, 15))
    return np.rint(hu).astype(np.int16)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_every_measure_equals_the_direct_computation(noisy, dtype):
    hu = noisy.astype(dtype)
    if np.dtype(dtype).kind == "f":
        hu = hu + np.random.default_rng(1).random(hu.shape).astype(dtype)
    vessels = np.zeros(hu.shape, bool)
    vessels[:, 5:7] = True
    ct, regions = scene(hu)
    got = table(ct, regions, vessels=vessels)
    voxel_ml = math.prod(SPACING) / 1000
    for region in ("lungs", "left_lung", "right_lung"):
        mask = regions.mask(Region(region))
        v = hu[mask].astype(float)
        aerated = v[v < -200]
        outside = hu[mask & ~vessels].astype(float)
        expected = {
            "tlv": v.size * voxel_ml / 1000,
            "air_volume": np.clip(-v / 1000, 0, 1).sum() * voxel_ml / 1000,
            "tissue_volume": (1 - np.clip(-v / 1000, 0, 1)).sum() * voxel_ml / 1000,
            "air_share": 100 * np.clip(-v / 1000, 0, 1).mean(),
            "lung_mass": np.clip(1 + v / 1000, 0, None).sum() * voxel_ml,
            "mld": aerated.mean(),
            "median_density": np.median(aerated),
            "density_sd": aerated.std(),
            "skewness": stats.skew(aerated),
            "kurtosis": stats.kurtosis(aerated),
            "perc15": np.quantile(v, 0.15),
            "laa_950": 100 * np.mean(v < -950),
            "laa_950_without_noise": 100 * np.mean(v < -950),
            "laa_910": 100 * np.mean(v < -910),
            "laa_856": 100 * np.mean(v < -856),
            "haa": 100 * np.mean((v >= -600) & (v <= -250)),
            "ggo": 100 * np.sum((outside >= -700) & (outside < -200)) / aerated.size,
            "consolidation_share": 100 * np.sum(outside >= -200) / v.size,
        }
        factor = hu.size * voxel_ml / 1000 / 5.060
        expected["perc15_adjusted"] = (expected["perc15"] + 1000) * factor - 1000
        assert set(expected) == {measure.id for measure in DENSITY_MEASURES}
        for name, value in expected.items():
            assert got[region, name] == pytest.approx(value, rel=1e-10, abs=1e-10), name


@pytest.mark.parametrize(
    ("measure", "threshold", "on", "just_below"),
    [
        ("laa_950", -950, 0, 100),
        ("laa_910", -910, 0, 100),
        ("laa_856", -856, 0, 100),
        ("haa", -600, 100, 0),
        ("ggo", -700, 100, 0),
        ("consolidation_share", -200, 100, 0),
    ],
)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_values_on_a_threshold(measure, threshold, on, just_below, dtype):
    step = 1 if dtype is np.int16 else 0.001
    for offset, expected in ((0, on), (-step, just_below)):
        ct, regions = scene(np.full((2, 3, 4), threshold + offset, dtype))
        assert table(ct, regions)["lungs", measure] == expected


def test_noise_is_taken_out_of_low_attenuation_or_it_is_missing():
    lung = np.random.default_rng(2).normal(-868, 15, (40, 50, 60))
    noisy = np.rint(lung + np.random.default_rng(3).normal(0, 60, lung.shape)).astype(np.int16)
    noise = Noise(sd_hu=60.0, grain_mm=0.3, where="tracheal air")

    found = table(*scene(noisy), noise=noise)
    without = table(*scene(noisy), noise=None)

    assert found["lungs", "laa_950"] > 8
    assert found["lungs", "laa_950_without_noise"] < 0.5
    for sd_hu, bound in ((60.0, True), (30.0, False)):
        rows = measure_density(*scene(noisy), noise=replace(noise, sd_hu=sd_hu))
        methods = {row.method for row in rows if row.measure == "laa_950_without_noise"}
        assert ["lower bound" in method for method in methods] == [bound]
    assert "could not be measured" in without["lungs", "laa_950_without_noise"].reason


def test_upper_bounds_of_ground_glass_and_high_attenuation():
    hu = np.full((1, 1, 8), -800, np.int16)
    hu[0, 0, :4] = (-201, -200, -250, -249)
    got = table(*scene(hu))
    assert got["lungs", "haa"] == 100 * 1 / 8  # -250 is in, -249 is out
    assert got["lungs", "ggo"] == pytest.approx(100 * 3 / 7)  # -200 is in neither part
    assert got["lungs", "consolidation_share"] == 100 / 8


def test_denominator_and_vessels_show_in_value_and_method(noisy):
    ct, regions = scene(noisy)
    aerated = {(m.region, m.measure): m for m in measure_density(ct, regions)}["lungs", "ggo"]
    lung = {
        (m.region, m.measure): m for m in measure(ct, regions, ground_glass_denominator="lung")
    }["lungs", "ggo"]
    assert lung.value < aerated.value
    assert "below -200 HU" in aerated.method
    assert "all of the region" in lung.method
    assert "vessels not removed" in aerated.method


def test_ground_glass_lower_bound_is_a_setting(noisy):
    ct, regions = scene(noisy)
    shares = [
        table(ct, regions, ground_glass_from_hu=bound)["lungs", "ggo"]
        for bound in (-750, -700, -600)
    ]
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == 3


def test_uniform_lung_has_no_shape():
    got = table(*scene(np.full((3, 4, 6), -850, np.int16)))
    assert got["lungs", "mld"] == -850
    assert got["lungs", "density_sd"] == 0
    assert got["lungs", "skewness"].reason == "all voxels have the same density"


def test_solid_lung_has_no_mean_lung_density_but_a_mass():
    got = table(*scene(np.full((3, 4, 6), 30, np.int16)))
    assert got["lungs", "mld"].reason == "no voxel below -200 HU"
    assert got["lungs", "ggo"].status == "missing"
    assert got["lungs", "consolidation_share"] == 100
    assert got["lungs", "air_volume"] == 0
    assert got["lungs", "lung_mass"] == pytest.approx(72 * math.prod(SPACING) / 1000 * 1.03)


def test_a_lung_without_voxels_is_missing_with_reason(noisy):
    ct, regions = scene(noisy, np.ones(noisy.shape))
    results = measure_density(ct, regions)
    right = [m for m in results if m.region == "right_lung"]
    assert len(right) == len(DENSITY_MEASURES)
    assert {m.status for m in right} == {"missing"}
    assert {m.reason for m in right} == {"no voxel of the right lung in the image"}
    by_name = {(m.region, m.measure): m for m in results}
    assert by_name["lungs", "tlv"].value == by_name["left_lung", "tlv"].value
    assert "both lungs" in by_name["lungs", "perc15_adjusted"].reason


def test_labels_outside_the_regions_are_not_measured(noisy):
    labels = np.ones(noisy.shape)
    labels[6:] = 3  # airways
    ct, regions = scene(noisy, labels)
    assert table(ct, regions)["lungs", "laa_856"] == pytest.approx(
        100 * np.mean(noisy[:6] < -856), rel=1e-12
    )


def test_padding_enters_no_statistic_and_is_reported(noisy):
    valid = np.ones(noisy.shape, bool)
    valid[:2] = False
    padded = noisy.copy()
    padded[:2] = -1000
    ct, regions = scene(padded, valid=valid)
    got = {(m.region, m.measure): m for m in measure_density(ct, regions, noise=QUIET)}
    cropped = table(*scene(noisy[2:]))
    for (region, name), value in cropped.items():
        assert got[region, name].value == pytest.approx(value, rel=1e-12), name
    assert got["lungs", "tlv"].status == "caution"
    assert "outside the scan field" in got["lungs", "tlv"].reason


def test_region_wholly_outside_the_scan_field(noisy):
    labels = np.ones(noisy.shape)
    labels[:2] = 2
    valid = labels == 1
    got = table(*scene(noisy, labels, valid))
    assert got["right_lung", "mld"].reason == "the region lies outside the scan field"


def test_several_partitions_give_each_region_once(noisy):
    ct, lungs = scene(noisy)
    zones = np.zeros(noisy.shape, np.uint16)
    zones[:4], zones[4:8], zones[8:] = 300, 301, 302
    names = {300: "left_upper_zone", 301: "left_middle_zone", 302: "left_lower_zone"}
    regions = RegionSet(
        (lungs.partitions[0], Labelmap(zones, ct.geometry, names)),
        {Region.RIGHT_MIDDLE_LOBE: "no fissure visible"},
    )
    got = table(ct, regions)
    assert got["left_lower_zone", "laa_910"] == pytest.approx(100 * np.mean(noisy[8:] < -910))
    assert got["right_middle_lobe", "mld"].reason == "no fissure visible"
    thirds = sum(got[name, "lung_mass"] for name in names.values())
    assert thirds == pytest.approx(got["lungs", "lung_mass"])


def test_flips_axis_order_and_crops_change_nothing(noisy):
    ct, regions = scene(noisy)
    expected = table(ct, regions)
    labels = regions.partitions[0]
    for order in ((2, 0, 1), (1, 2, 0)):
        geometry = Geometry.axial(
            tuple(noisy.shape[a] for a in order), tuple(SPACING[::-1][a] for a in order)[::-1]
        )
        turned = Volume(noisy.transpose(order)[::-1, :, ::-1], geometry, "HU")
        turned_labels = labels.array.transpose(order)[::-1, :, ::-1]
        got = table(turned, RegionSet((Labelmap(turned_labels, geometry, NAMES),)))
        assert got == pytest.approx(expected, rel=1e-12)
    padded = np.pad(noisy, 3, constant_values=40)
    assert table(*scene(padded, np.pad(labels.array, 3))) == pytest.approx(expected, rel=1e-12)


def test_halving_the_spacing_keeps_densities_and_scales_volumes(noisy):
    ct, regions = scene(noisy)
    small = ct.geometry.ijk_to_ras @ np.diag([0.5, 0.5, 0.5, 1])
    geometry = Geometry(noisy.shape, small)
    labels = Labelmap(regions.partitions[0].array, geometry, NAMES)
    full, small_ = table(ct, regions), table(Volume(noisy, geometry, "HU"), RegionSet((labels,)))
    assert small_["lungs", "tlv"] == pytest.approx(full["lungs", "tlv"] / 8)
    assert small_["lungs", "mld"] == full["lungs", "mld"]


def test_noise_makes_emphysema_of_healthy_lung():
    """Published expectation: mean -870 HU and SD 40 HU put 2.3 % below -950 HU."""
    hu = np.rint(np.random.default_rng(2).normal(-870, 40, (40, 100, 100))).astype(np.int16)
    expected = 100 * stats.norm.cdf(-950.5, -870, 40)
    assert table(*scene(hu))["lungs", "laa_950"] == pytest.approx(expected, abs=0.1)


def test_slab_boundaries_do_not_matter(noisy, monkeypatch):
    ct, regions = scene(noisy)
    expected = table(ct, regions)
    monkeypatch.setattr("lungperfusion.density._CHUNK_VOXELS", 500)
    assert table(ct, regions) == expected


def test_a_wide_range_of_values_is_counted_as_exactly(noisy):
    hu = noisy.astype(np.int32)
    hu[0, 0, 0] = 3_000_000  # metal in an unsigned scale
    labels = np.ones(hu.shape)
    labels[0, 0, 0] = 0
    plain = table(*scene(noisy, labels))
    wide = table(*scene(hu, labels))
    assert {key: value for key, value in wide.items() if isinstance(value, float)} == {
        key: value for key, value in plain.items() if isinstance(value, float)
    }


def test_cancelling():
    def cancel(fraction, message):
        raise CancelledError

    with pytest.raises(CancelledError):
        measure_density(*scene(np.full((2, 2, 4), -800, np.int16)), progress=cancel)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ground_glass_from_hu": -100}, "must start below"),
        ({"high_attenuation_hu": (-250, -600)}, "needs a lower and a higher bound"),
        ({"reference_volume_l": 0}, "must be above 0 L"),
        ({"reference_volume_l": math.inf}, "must be above 0 L"),
        ({"ground_glass_denominator": "vessels"}, "share of 'aerated' or 'lung'"),
        ({"vessels": np.zeros((1, 2, 3), bool)}, "resample it onto the CT first"),
    ],
)
def test_refusals(noisy, settings, message):
    with pytest.raises(InputError, match=message):
        measure(*scene(noisy), **settings)


def test_other_units_and_grids_are_refused(noisy):
    ct, regions = scene(noisy)
    with pytest.raises(InputError, match="must be in HU"):
        measure_density(Volume(noisy, ct.geometry, "mg/mL"), regions)
    moved = Volume(noisy, Geometry.axial(noisy.shape, SPACING, (5, 0, 0)), "HU")
    with pytest.raises(GeometryMismatchError, match="CT and regions"):
        measure_density(moved, regions)
