"""Ventilation, perfusion, classes and their numbers against the phantom's truth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from Benchmarks._second_breath import Lesion, make_second_breath
from scipy import ndimage

from lungperfusion.errors import InputError
from lungperfusion.phantoms.breathing import BLOOD_DENSITY, TISSUE_DENSITY
from lungperfusion.regions import RegionSet
from lungperfusion.segmentation.zones import label_zones
from lungperfusion.terms import LOBES, STRUCTURES, ZONES, Region
from lungperfusion.terms.vq import VQ_MEASURES
from lungperfusion.volume import Geometry, Labelmap, Volume
from lungperfusion.vq.calibration import (
    PairCalibration,
    compare_calibration,
    read_air_and_blood,
)
from lungperfusion.vq.classes import (
    CLASSES,
    Thresholds,
    classify,
    low_regions,
    relative_to_mean,
    sensitivity,
)
from lungperfusion.vq.defects import find_defects, patient_score
from lungperfusion.vq.displacement import DisplacementField, voxel_positions
from lungperfusion.vq.metrics import (
    INSPIRATORY,
    MapNames,
    classify_prm,
    entropy_bits,
    gradient,
    kendall_tau,
    measure_inspiration,
    measure_vq,
    median_below,
    zone_rating,
)
from lungperfusion.vq.pair import BreathPair, pair_breaths
from lungperfusion.vq.perfusion import map_perfusion, mean_mass_change
from lungperfusion.vq.registration import registration_from_field
from lungperfusion.vq.ventilation import (
    map_specific_ventilation,
    map_ventilation,
    sacj,
    volume_ratio_from_density,
)


def true_pair(made):
    """Both states of a second breathing chest, brought together by its true motion."""
    lungs = made.expiration_lungs, made.inspiration_lungs
    field = DisplacementField(made.displacement_ras_mm, made.expiration.geometry)
    return pair_breaths(
        made.expiration,
        made.inspiration,
        registration_from_field(field, lungs[0], made.inspiration.geometry),
        *lungs,
        lobes=(made.expiration_lobes, made.inspiration_lobes),
        vessels=made.vessels,
        calibration=compare_calibration(
            read_air_and_blood(made.expiration, lungs[0]),
            read_air_and_blood(made.inspiration, lungs[1]),
        ),
    )


def test_specific_ventilation_is_that_of_jacobian_and_of_density_when_tissue_is_conserved():
    hu_e, hu_i = np.array([-700.0]), np.array([-820.0])
    jacobian = (1000 + hu_e) / (1000 + hu_i)  # mass conserved: 1.667
    assert jacobian[0] == pytest.approx(1.667, abs=1e-3)
    of_density = 1000 * (hu_i - hu_e) / (hu_e * (hu_i + 1000))  # Simon 2000
    of_jacobian = (jacobian - 1) * 1000 / -hu_e  # Ding 2012
    for value in (of_density, of_jacobian, sacj(hu_e, hu_i, jacobian)):
        assert value[0] == pytest.approx(0.952, abs=1e-3)


def test_specific_ventilation_needs_no_conserved_tissue():
    hu_e, hu_i, jacobian = np.array([-700.0]), np.array([-850.0]), np.array([1.6])
    assert sacj(hu_e, hu_i, jacobian)[0] == pytest.approx(1.6 * 850 / 700 - 1)


@pytest.mark.parametrize("method", ["jacobian", "density", "hybrid"])
def test_ventilation_follows_the_truth(phantom, pair, method):
    found = map_ventilation(pair, method=method)
    inside, truth = pair.mask, phantom.ventilation.array
    assert np.corrcoef(found[inside], truth[inside])[0, 1] > 0.8
    shares = []
    for values in (found, truth):
        total = values[inside].sum()
        shares.append(
            [100 * values[phantom.expiration_lobes.mask(x) & inside].sum() / total for x in LOBES]
        )
    assert np.abs(np.subtract(*shares)).max() < 1.5
    assert np.isnan(found[~inside]).all()


def test_specific_ventilation_relates_to_the_air_that_was_there(phantom, pair):
    found = map_specific_ventilation(pair)[pair.parenchyma]
    air = 1 - (TISSUE_DENSITY + BLOOD_DENSITY * phantom.perfusion.array[pair.parenchyma])
    truth = phantom.ventilation.array[pair.parenchyma] / air
    assert found.mean() == pytest.approx(truth.mean(), rel=0.05)
    assert np.corrcoef(found, truth)[0, 1] > 0.75


@pytest.mark.parametrize("method", ["density", "hybrid"])
def test_blood_that_enters_evenly_leaves_density_ventilation_as_it_was(pair, method):
    here = pair.inspiration_hu
    fuller = replace(pair, inspiration_hu=np.asarray(1.08 * (here + 1000) - 1000, np.float32))
    before, after = (map_ventilation(p, method=method)[pair.mask] for p in (pair, fuller))
    assert after == pytest.approx(before, abs=0.01)
    wanted = pair.jacobian[pair.mask].mean() - 1
    assert after.mean() == pytest.approx(wanted, rel=0.02)


def test_noise_on_inflated_lung_is_no_emphysema(pair):
    right, left = (pair.lungs.mask(side) & pair.mask for side in ("right_lung", "left_lung"))
    hu = np.where(right, -920.0, np.where(left, -850.0, np.nan))
    noise = np.random.default_rng(0).normal(0, 40, hu.shape)
    ratio = []
    for inspiration in (hu, hu + noise):
        made = replace(pair, inspiration_hu=np.asarray(inspiration, np.float32))
        q = map_perfusion(made, weights={"blood_density": 1.0}).combined
        ratio.append(q[right].mean() / q[left].mean())
    assert ratio[1] == pytest.approx(ratio[0], rel=0.03)  # 23 % of the right voxels are below -950


def test_density_alone_finds_the_volume_ratio_without_registration_noise(phantom, pair):
    ratio = volume_ratio_from_density(pair)
    inside = pair.parenchyma
    assert np.median(ratio[inside] / phantom.jacobian.array[inside]) == pytest.approx(1, abs=0.03)


def test_blood_density_finds_the_defects(phantom, pair):
    q = map_perfusion(pair, weights={"blood_density": 1.0})
    assert np.nanmean(q.combined[pair.mask]) == pytest.approx(1, abs=1e-4)
    dead = np.array((76.0, 10.0, 45.0)) * 0.6
    points = phantom.expiration.geometry.ras_from_ijk(np.argwhere(pair.mask)[:, ::-1])
    near = np.linalg.norm(points - dead, axis=1) < 10
    values = q.combined[pair.mask]
    assert np.nanmean(values[near]) < 0.6
    assert np.nanmedian(values[~near]) > 0.9


def test_mass_change_fades_out_where_mass_is_conserved(pair):
    assert abs(mean_mass_change(pair)) < 0.03
    q = map_perfusion(pair)
    assert q.reliability["mass_change"] < 0.2
    assert sum(q.weights.values()) == pytest.approx(1)
    with pytest.raises(InputError, match="less than the 3 %"):
        map_perfusion(pair, weights={"mass_change": 1.0})


@pytest.mark.parametrize("offset_hu", [3.0, 5.0, 15.0])
def test_a_shift_between_the_scans_does_not_make_an_even_lung_uneven(pair, offset_hu):
    rng = np.random.default_rng(0)
    wrong = np.exp(ndimage.gaussian_filter(rng.normal(0, 1, pair.jacobian.shape), 4))
    wrong = 1 + 0.04 * (wrong - wrong.mean()) / wrong.std()
    density = np.where(pair.mask, 0.27, 0.0)
    even = replace(
        pair,
        expiration=Volume(
            (1000 * density - 1000).astype(np.float32), pair.expiration.geometry, "HU"
        ),
        inspiration_hu=np.where(
            pair.mask, 1000 * density / pair.jacobian - 1000 + offset_hu, np.nan
        ).astype(np.float32),
        jacobian=(pair.jacobian * wrong).astype(np.float32),
        parenchyma=pair.mask,
        open_lung=pair.mask,
    )
    q = map_perfusion(even, weights={"blood_density": 0.75, "mass_change": 0.25}).combined
    assert np.nanstd(q) < 0.01


def perfusion_figures(made, paired):
    """Qcv over its truth, and largest error of a lobar share and of a class share in points."""
    q, v = map_perfusion(paired), map_ventilation(paired)
    inside = q.known
    tissue = paired.parenchyma & inside
    truth = made.perfusion
    spread = [float(a[tissue].std() / a[tissue].mean()) for a in (q.combined, truth)]
    shares, classes = [], []
    for perfusion, ventilation in ((q.combined, v), (truth, made.ventilation)):
        total = perfusion[inside].sum()
        shares.append(
            [100 * perfusion[made.expiration_lobes.mask(x) & inside].sum() / total for x in LOBES]
        )
        found = classify(ventilation, perfusion, inside, paired.geometry)
        classes.append([100 * found.mask(name)[inside].mean() for name in CLASSES])
    off = [float(np.abs(np.subtract(*both)).max()) for both in (shares, classes)]
    return spread[0] / spread[1], *off


@pytest.mark.parametrize(
    "settings",
    [
        {"noise_hu": 60.0},
        {"offset_hu": (15.0, 15.0)},
        {"offset_hu": (12.0, -3.0), "blood_change": 0.08},
    ],
)
def test_perfusion_holds_on_a_chest_of_another_build(settings):
    # On this size the smoothing of 6 mm costs about a tenth of the contrast, the only one small.
    made = make_second_breath(spacing_mm=3.0, scale=0.6, **settings)
    ratio, share, classes = perfusion_figures(made, true_pair(made))
    assert ratio == pytest.approx(1, abs=0.2)
    assert share < 1.0
    assert classes < 1.5


def test_calibration_of_both_scans_is_compared():
    made = make_second_breath(spacing_mm=3.5, scale=0.9, offset_hu=(12.0, -3.0))
    found = compare_calibration(
        read_air_and_blood(made.expiration, made.expiration_lungs),
        read_air_and_blood(made.inspiration, made.inspiration_lungs),
    )
    assert found.air_hu == pytest.approx(12, abs=3)
    assert found.blood_hu == pytest.approx(-3, abs=3)
    assert found.corrected(np.array([-1000 + found.air_hu, found.blood_hu])) == pytest.approx(
        [-1000, 0], abs=0.5
    )
    assert found.gate().verdict == "warn"
    assert replace(found, air_hu=3.0).gate().verdict == "pass"
    assert replace(found, air_hu=45.0).gate().verdict == "fail"
    assert PairCalibration().gate().verdict == "unknown"


LOST = (
    ("left_lung",),
    ("left_lower_lobe", "right_lower_lobe"),
    (),
)


@pytest.mark.parametrize("lost", LOST)
def test_loss_of_blood_is_found_however_large_it_is(lost):
    made = make_second_breath(spacing_mm=3.0, scale=0.6, lesions=(), without_blood=lost)
    paired = true_pair(made)
    q = map_perfusion(paired)
    regions = RegionSet((made.expiration_lungs, made.expiration_lobes))
    candidates, labels = find_defects(paired, map_ventilation(paired), q.combined, regions)
    gone = (made.perfusion < 0.35) & paired.mask
    if gone.any():
        assert ((labels > 0) & gone).sum() / gone.sum() > 0.9
        assert patient_score(candidates) > 0.9
    assert ((labels > 0) & ~gone).sum() / paired.mask.sum() < 0.015


def test_dense_lung_has_no_perfusion_rather_than_a_high_one():
    lesions = (
        Lesion(kind="ground_glass", centre_mm=(80.0, -20.0, 20.0), radius_mm=30.0),
        Lesion(kind="consolidation", centre_mm=(-80.0, -40.0, -50.0), radius_mm=28.0),
    )
    made = make_second_breath(spacing_mm=3.0, scale=0.6, lesions=lesions)
    paired = true_pair(made)
    q, v = map_perfusion(paired), map_ventilation(paired)
    points = voxel_positions(paired.geometry, paired.mask)
    for lesion in lesions:
        values = q.combined[paired.mask][lesion.inside(points, 0.6) > 0.5]
        assert np.isfinite(values).mean() < 0.1, lesion.kind
    assert np.nanmax(q.combined) < 2
    regions = RegionSet((made.expiration_lungs, made.expiration_lobes))
    assert patient_score(find_defects(paired, v, q.combined, regions)[0]) < 0.2
    classes = classify(v, q.combined, q.known, paired.geometry)
    rows = measure_vq(paired, v, q.combined, classes, regions, names=MapNames("v", "q"))
    found = {(m.region, m.measure): m for m in rows}
    dense = found["lungs", "dense_share"].value
    assert dense == pytest.approx(100 * (1 - q.known[paired.mask].mean()))
    assert dense > 3
    assert found["lungs", "perfusion_share"].status == "caution"
    assert "ground glass or consolidation" in found["lungs", "qcv"].reason
    assert found["lungs", "ventilation_share"].status == "ok"


def test_a_region_of_dense_lung_has_no_perfusion_share(pair, regions):
    v = map_ventilation(pair)
    q = np.where(pair.mask, 1, np.nan).astype(np.float32)
    q[regions.mask(LOBES[0])] = np.nan
    classes = classify(v, q, np.isfinite(q), pair.geometry)
    rows = measure_vq(pair, v, q, classes, regions, names=MapNames("v", "q"))
    found = {(m.region, m.measure): m for m in rows}
    assert found[LOBES[0], "perfusion_share"].status == "missing"
    assert "100 % of the region is ground glass" in found[LOBES[0], "qcv"].reason
    assert found[LOBES[1], "perfusion_share"].status == "caution"
    assert found[LOBES[1], "qcv"].status == "ok"
    assert found[LOBES[0], "vcv"].status == "ok"


def scene(v, q, spacing=(2.0, 2.0, 2.0)):
    v, q = np.asarray(v, np.float32), np.asarray(q, np.float32)
    return v, q, np.ones(v.shape, bool), Geometry.axial(v.shape, spacing)


def test_classes_on_and_beside_the_threshold():
    v = np.ones((4, 10, 10))
    q = np.ones((4, 10, 10))
    # The mean must stay 1 for the threshold to lie where it is tested: balance each change.
    v[:, :, 0], v[:, :, 1] = 0.5, 1.5
    q[:, :, 2], q[:, :, 3] = 0.5, 1.5
    v[:, :, 4], v[:, :, 5], q[:, :, 4], q[:, :, 5] = 0.5, 1.5, 0.5, 1.5
    v[:, :, 6], v[:, :, 7] = 0.6, 1.4  # exactly on the limit: preserved
    v, q, inside, geometry = scene(v, q)
    relative = relative_to_mean(v, inside)
    limit = float(relative[0, 0, 6])
    limits = Thresholds(ventilation=limit, perfusion=0.6)
    found = classify(v, q, inside, geometry, thresholds=limits, smallest_ml=0)
    expected = {0: "shunt", 2: "dead_space", 4: "matched_defect", 6: "vq_normal", 8: "vq_normal"}
    for column, name in expected.items():
        assert found.mask(name)[:, :, column].all(), name
    assert sum(found.mask(name).sum() for name in CLASSES) == inside.sum()


def test_small_patches_count_as_normal_by_volume_not_by_voxels():
    for spacing, kept in (((2.0, 2.0, 2.0), False), ((4.0, 4.0, 4.0), True)):
        values = np.ones((12, 12, 12), np.float32)
        values[:3, :3, :3] = 0.1  # 27 voxels: 0.22 mL or 1.7 mL
        _, _, inside, geometry = scene(values, values, spacing)
        low = low_regions(values, inside, geometry, below=0.6)
        assert low.any() == kept


def test_sensitivity_grows_with_the_threshold():
    rng = np.random.default_rng(0)
    v, q, inside, geometry = scene(rng.uniform(0, 2, (8, 9, 10)), rng.uniform(0, 2, (8, 9, 10)))
    rows = sensitivity(v, q, inside, geometry, smallest_ml=0)
    abnormal = [row["abnormal_percent"] for row in rows]
    assert abnormal == sorted(abnormal)
    assert abnormal[-1] > abnormal[0] + 10


def test_thresholds_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"between 0 and 2, not 2\.5"):
        Thresholds(ventilation=2.5)
    with pytest.raises(ValueError, match="cannot be scaled"):
        relative_to_mean(np.zeros((2, 2, 2), np.float32), np.ones((2, 2, 2), bool))


def test_class_map_agrees_with_the_truth(phantom, pair):
    from sklearn.metrics import cohen_kappa_score

    inside = pair.mask
    truth = classify(phantom.ventilation.array, phantom.perfusion.array, inside, pair.geometry)
    found = classify(map_ventilation(pair), map_perfusion(pair).combined, inside, pair.geometry)
    kappa = cohen_kappa_score(truth.array[inside], found.array[inside])
    assert kappa > 0.5  # 0.8 at full size: defects here are no larger than the smoothing


@pytest.fixture(scope="module")
def numbers(pair, regions):
    v, q = map_ventilation(pair), map_perfusion(pair).combined
    classes = classify(v, q, pair.mask, pair.geometry)
    rows = measure_vq(pair, v, q, classes, regions, names=MapNames("jacobian", "surrogate"))
    return rows, v, q, classes


def test_every_measure_is_there_for_every_region(numbers, regions):
    rows, *_ = numbers
    got = [(row.region, row.measure) for row in rows]
    assert len(got) == len(set(got))
    for region in regions.names:
        wanted = {m.id for m in VQ_MEASURES} - set(INSPIRATORY)
        if region not in ZONES:
            wanted -= {"zone_rating"}
        assert {measure for name, measure in got if name == region} == wanted


def test_shares_sum_to_100_and_match_a_direct_sum(numbers, pair, phantom):
    rows, v, _, _ = numbers
    value = {(row.region, row.measure): row.value for row in rows}
    for measure in ("ventilation_share", "perfusion_share", "volume_share"):
        for partition in (LOBES, ZONES):
            assert sum(value[r, measure] for r in partition) == pytest.approx(100, abs=0.01)
    lobe = phantom.expiration_lobes.mask(LOBES[3]) & pair.mask
    direct = 100 * float(v[lobe].sum(dtype=float)) / float(v[pair.mask].sum(dtype=float))
    assert value[LOBES[3], "ventilation_share"] == pytest.approx(direct, rel=1e-5)
    tissue = pair.parenchyma & phantom.expiration_lobes.mask(LOBES[3])
    cv = float(v[tissue].astype(float).std() / v[tissue].astype(float).mean())
    assert value[LOBES[3], "vcv"] == pytest.approx(cv, rel=1e-5)


def test_class_shares_agree_with_the_class_map(numbers, pair):
    rows, _, q, classes = numbers
    value = {(row.region, row.measure): row.value for row in rows}
    shunt = classes.mask("shunt")
    known = np.isfinite(q) & pair.mask
    expected = 100 * shunt.sum() / known.sum()
    assert value["lungs", "shunt_share"] == pytest.approx(expected)
    of_q = 100 * q[shunt].sum(dtype=float) / q[known].sum(dtype=float)
    assert value["lungs", "shunt_share_of_q"] == pytest.approx(of_q, rel=1e-4)
    parts = ("shunt_share", "dead_space_share", "matched_defect_share")
    total = sum(value["lungs", name] for name in parts)
    assert value["lungs", "vq_abnormal_share"] == pytest.approx(total)


def test_volume_change_is_the_difference_of_the_segmented_volumes(numbers, phantom):
    value = {(row.region, row.measure): row.value for row in numbers[0]}
    for lobe in LOBES:
        change = phantom.inspiration_lobes.volume_ml(lobe) - phantom.expiration_lobes.volume_ml(
            lobe
        )
        assert value[lobe, "volume_change"] == pytest.approx(change, rel=0.02)


def test_absent_region_is_missing_with_its_reason(numbers, pair, regions):
    from lungperfusion.regions import RegionSet

    _, v, q, classes = numbers
    without = RegionSet(
        (regions.partitions[0],), {Region.RIGHT_MIDDLE_LOBE: "no fissure visible: 5 mm slices"}
    )
    rows = measure_vq(pair, v, q, classes, without, names=MapNames("j", "q"))
    lobe = [row for row in rows if row.region == Region.RIGHT_MIDDLE_LOBE]
    assert lobe
    assert all(math.isnan(row.value) and "no fissure" in row.reason for row in lobe)


def prm_pair(before, after):
    geometry = Geometry.axial(before.shape, (1, 1, 1))
    return BreathPair(
        expiration=Volume(np.asarray(before, np.int16), geometry, "HU"),
        inspiration_hu=np.asarray(after, np.float32),
        jacobian=np.ones(before.shape, np.float32),
        lungs=Labelmap(np.ones(before.shape, np.uint8), geometry, {1: "left_lung"}),
        parenchyma=np.ones(before.shape, bool),
        open_lung=np.ones(before.shape, bool),
        volume_factors={},
    )


def test_parametric_response_on_its_thresholds():
    # Slabs of three columns: the median in the middle of each is its own value.
    before = np.repeat([-856, -857, -857, -856, -500, -499, -600], 3) * np.ones((4, 5, 1))
    after = np.repeat([-950, -950, -951, -951, -800, -800, -499], 3) * np.ones((4, 5, 1))
    labels = [STRUCTURES[name].label for name in ("prm_normal", "prm_small_airways")]
    emphysema = STRUCTURES["prm_emphysema"].label
    found = classify_prm(prm_pair(before, after)).array[2, 2, 1::3]
    assert found.tolist() == [*labels, emphysema, 0, labels[0], 0, 0]


def test_parametric_response_is_not_noise():
    rng = np.random.default_rng(0)
    shape = (30, 40, 40)
    before, after = rng.normal(-740, 60, shape), rng.normal(-830, 60, shape)
    assert (before < -856).mean() > 0.02
    labels = classify_prm(prm_pair(before, after)).array
    assert (labels == STRUCTURES["prm_normal"].label).mean() > 0.999


def test_median_below_is_the_median_filter():
    values = np.random.default_rng(1).normal(0, 1, (9, 10, 11))
    everywhere = np.ones(values.shape, bool)
    inner = (slice(1, -1),) * 3
    expected = ndimage.median_filter(values, 3) < 0.1
    assert np.array_equal(median_below(values, everywhere, 0.1)[inner], expected[inner])
    known = values > -0.5  # the median of what is known only
    assert not median_below(values, known, -0.5).any()


def test_emphysema_is_read_where_it_was_scanned(phantom):
    lungs = phantom.inspiration_lungs
    noisy = np.asarray(phantom.inspiration.array, np.float32)
    noisy += np.random.default_rng(0).normal(0, 40, noisy.shape)
    scan = Volume(noisy, phantom.inspiration.geometry, "HU")
    regions = RegionSet((lungs, label_zones(lungs), phantom.inspiration_lobes))
    value = {(m.region, m.measure): m.value for m in measure_inspiration(scan, regions)}
    for region in (Region.LUNGS, Region.LEFT_UPPER_ZONE, LOBES[2]):
        inside = regions.mask(region)
        share = 100 * float((noisy[inside] < -950).mean())
        assert value[region, "emphysema"] == pytest.approx(share)
        volume = inside.sum() * scan.geometry.voxel_volume_ml
        assert value[region, "inspiratory_volume"] == pytest.approx(volume)
    gone = RegionSet((lungs,), {LOBES[3]: "no fissure visible"})
    rows = [m for m in measure_inspiration(scan, gone) if m.region == LOBES[3]]
    assert all("no fissure" in m.reason for m in rows)


@pytest.mark.parametrize(
    ("perfusion", "volume", "rating"),
    [(0.0, 20, 1), (3.99, 20, 1), (4, 20, 2), (8, 20, 3), (12, 20, 4), (16, 20, 5), (30, 20, 5)],
)
def test_zone_rating_steps(perfusion, volume, rating):
    assert zone_rating(perfusion, volume) == rating


def test_entropy_and_gradient_by_hand():
    assert entropy_bits(np.full(50, 1.0)) == 0
    assert entropy_bits(np.array([0.5, 1.5] * 20)) == pytest.approx(1)
    position = np.arange(11.0)
    assert gradient(position, 1 + 0.5 * position / 10) == pytest.approx(0.5)
    assert gradient(np.zeros(4), np.ones(4)) is None


def test_kendall_tau():
    tau, p = kendall_tau([1, 2, 3, 4, 5, 5], [1, 2, 3, 4, 5, 5])
    assert tau == pytest.approx(1)
    assert p < 0.02
    assert kendall_tau([1, 2, 3], [3, 2, 1])[0] == pytest.approx(-1)
    assert math.isnan(kendall_tau([3, 3, 3], [1, 2, 3])[0])
    with pytest.raises(ValueError, match="equally long"):
        kendall_tau([1, 2], [1, 2, 3])


def test_smoothing_is_the_normalised_gaussian_on_fine_and_coarse_grids():
    # A ramp and a step, known in part: the mean of the known, whatever the grid.
    grid = Geometry.axial((48, 60, 56), (1.0, 1.0, 1.5))
    z, y, x = np.mgrid[:48, :60, :56]
    inside = ((z - 24) / 20) ** 2 + ((y - 30) / 25) ** 2 + ((x - 28) / 23) ** 2 < 1
    known = inside & ((x + y + z) % 5 > 0)
    values = np.where(known, 0.3 + 0.01 * y + 0.2 * (x > 28), 7.0).astype(np.float32)
    labels = Labelmap(inside.astype(np.uint8), grid, {1: "left_lung"})
    made = BreathPair(
        expiration=Volume(values, grid, "HU"),
        inspiration_hu=np.where(inside, 1, np.nan).astype(np.float32),
        jacobian=np.where(inside, 1, np.nan).astype(np.float32),
        lungs=labels,
        parenchyma=known,
        open_lung=known,
        volume_factors={},
    )
    for sigma in (2.0, 6.0, 12.0):
        voxels = (sigma / 1.5, sigma, sigma)
        weight = ndimage.gaussian_filter(known.astype(float), voxels, mode="constant")
        total = ndimage.gaussian_filter(np.where(known, values, 0.0), voxels, mode="constant")
        found = made.smooth(values, known, sigma)
        assert found[inside] == pytest.approx(total[inside] / weight[inside], abs=0.005)
        assert np.isnan(found[~inside]).all()
