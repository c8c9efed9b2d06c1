"""The join with CT: fit, shares, mismatch and measures against the phantom's truth."""

from __future__ import annotations

import numpy as np
import pytest
from half_chest import DEFICITS

from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.analysis.xenon import Background, ChestCt, XenonOptions, analyse_xenon
from lungperfusion.analysis.xenon.joined import join_xenon
from lungperfusion.errors import InputError
from lungperfusion.orientation import axial
from lungperfusion.phantoms.xenon import _within
from lungperfusion.progress import ignore
from lungperfusion.regions import RegionSet
from lungperfusion.segmentation.zones import label_zones
from lungperfusion.terms import LOBES, LUNGS, STRUCTURES, Region
from lungperfusion.terms.xenon import REFERENCE_SETS
from lungperfusion.volume import Geometry, Volume
from lungperfusion.vq.displacement import voxel_positions
from lungperfusion.xenon.footprints import Footprints, breath_limits_hu, footprints
from lungperfusion.xenon.images import XenonMaps
from lungperfusion.xenon.joining import closed_outline, join_lungs
from lungperfusion.xenon.mismatch import LOW_IN_NORMAL_CT


@pytest.fixture(scope="session")
def found(chest) -> FoundRegions:
    lungs = chest.truth.lungs
    regions = RegionSet((lungs, chest.truth.lobes, label_zones(lungs)))
    return FoundRegions(lungs=lungs, regions=regions, gates=(), warnings=())


@pytest.fixture(scope="session")
def ct(chest, found) -> ChestCt:
    return ChestCt("ct", chest.ct, found)


def maps_of(made, **changed) -> XenonMaps:
    given = {
        "ventilation": made.ventilation,
        "rbc_gas": made.rbc_gas,
        "membrane_gas": made.membrane_gas,
    }
    return XenonMaps(mask=made.mask, geometry=made.geometry, **{**given, **changed})


@pytest.fixture(scope="session")
def joined(xenon, ct):
    return join_xenon(xenon.mask, xenon.geometry, [ct], progress=ignore)


@pytest.fixture(scope="session")
def analysis(xenon, ct):
    perfusion = Volume(np.ones(ct.ct.geometry.shape, np.float32), ct.ct.geometry, "1")
    return analyse_xenon(maps_of(xenon), [ct], perfusion=perfusion, pictures=False)


def value(analysis, measure, region=Region.LUNGS):
    (entry,) = [m for m in analysis.measurements if (m.measure, m.region) == (measure, str(region))]
    return entry


def test_both_outlines_fit(joined):
    assert set(joined.join.lungs) == set(LUNGS)
    for lung in joined.join.lungs.values():
        assert lung.dice >= 0.96  # half the size: edges take twice the share
        assert lung.surface_mm <= 0.75
    verdicts = {gate.id: gate.verdict for gate in joined.gates}
    assert verdicts["xenon_overlap"] == verdicts["xenon_surface"] == "pass"
    assert verdicts["xenon_breath"] == verdicts["xenon_orientation"] == "pass"


def test_lobes_are_shares_of_voxels(joined, xenon):
    for lobe in LOBES:
        own = joined.weights[lobe]
        true = xenon.shares[lobe][xenon.mask]
        overlap = np.minimum(own, true).sum() / true.sum()
        assert overlap > 0.9, lobe
        assert own.sum() == pytest.approx(true.sum(), rel=0.06)
    assert np.sum([joined.weights[lobe] for lobe in LOBES], axis=0).max() <= 1 + 1e-6


def test_ratios_of_lobes_are_true(analysis, xenon):
    for lobe in LOBES:
        most = 5.0 if lobe is Region.RIGHT_MIDDLE_LOBE else 3.0
        for measure, truth in (
            ("xe_rbc_gas", xenon.true_rbc),
            ("xe_membrane_gas", xenon.true_membrane),
        ):
            off = value(analysis, measure, lobe).value / (100 * truth[lobe]) - 1
            assert 100 * abs(off) <= most, (lobe, measure)
        true_ratio = xenon.true_rbc[lobe] / xenon.true_membrane[lobe]
        assert value(analysis, "xe_rbc_m", lobe).value == pytest.approx(true_ratio, abs=0.02)


def test_low_transfer_in_normal_ct_is_found(analysis, xenon):
    labels = analysis.labelmaps["xe_mismatch"]
    found = labels.mask("xe_transfer_low_ct_normal")[xenon.mask]
    true = xenon.deficit_share[xenon.mask] >= 0.5
    chance = found.mean() * true.mean() + (1 - found.mean()) * (1 - true.mean())
    kappa = ((found == true).mean() - chance) / (1 - chance)
    assert kappa >= 0.8
    share = value(analysis, "xe_transfer_low_ct_normal_share").value
    assert share == pytest.approx(100 * true.mean(), abs=2.0)
    total = sum(
        value(analysis, f"xe_{name}_share").value
        for name in (
            "both_normal",
            "transfer_low_ct_normal",
            "both_abnormal",
            "ct_abnormal_transfer_kept",
        )
    )
    assert total == pytest.approx(100.0)


def test_classes_on_the_ct_lie_where_the_deficits_are(analysis, chest):
    """The deficits are prescribed in the CT; the MRI shows them moved by 4 mm and scaled."""
    on_ct = analysis.labelmaps["xe_mismatch_on_ct"]
    assert on_ct.geometry.same_as(chest.ct.geometry)
    points = voxel_positions(on_ct.geometry)
    lungs = chest.truth.lungs.mask(*LUNGS)
    true = _within(points, DEFICITS).reshape(on_ct.geometry.shape) & lungs
    found = on_ct.mask("xe_transfer_low_ct_normal")
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.8
    named = on_ct.array > 0
    assert not (named & ~lungs).any()
    assert (named & lungs).sum() > 0.85 * lungs.sum()  # the rest is the edge
    for name in on_ct.names.values():  # the same shares as where they were measured
        here = on_ct.mask(name).sum() / named.sum()
        assert 100 * here == pytest.approx(value(analysis, f"{name}_share").value, abs=2.5), name


def test_even_perfusion_puts_all_low_transfer_on_the_membrane_side(analysis):
    assert value(analysis, "xe_perfusion_side_share").value == 0.0
    impaired = value(analysis, "xe_rbc_impaired_share").value
    assert value(analysis, "xe_membrane_side_share").value == pytest.approx(impaired, abs=1.0)


def test_emphysema_and_dense_lung_make_the_ct_abnormal(xenon, ct, found):
    left = found.lungs.mask("left_lung")
    hu = np.where(left, -600, np.asarray(ct.ct.array)).astype(np.int16)
    dense = ChestCt("ct", Volume(hu, ct.ct.geometry, "HU"), found)
    analysis = analyse_xenon(maps_of(xenon), [dense], pictures=False)

    assert value(analysis, "xe_ct_normal_share", Region.LEFT_LUNG).value < 15
    assert value(analysis, "xe_ct_normal_share", Region.RIGHT_LUNG).value > 85
    kept = value(analysis, "xe_ct_abnormal_transfer_kept_share", Region.LEFT_LUNG).value
    assert kept > 60


def test_turned_and_stored_otherwise_it_measures_the_same(xenon, ct, analysis):
    """Axis order of the file is none of the patient's business."""
    turned = {
        name: axial(Volume(np.nan_to_num(getattr(xenon, name)), xenon.geometry, "1"))
        for name in ("ventilation", "rbc_gas", "membrane_gas")
    }
    mask = axial(Volume(xenon.mask.astype(np.float32), xenon.geometry, "1"))
    maps = XenonMaps(
        mask=np.asarray(mask.array) > 0.5,
        geometry=mask.geometry,
        **{name: np.asarray(volume.array) for name, volume in turned.items()},
    )
    other = analyse_xenon(maps, [ct], pictures=False)

    for lobe in LOBES:
        for measure in ("xe_volume", "xe_rbc_gas"):
            expected = value(analysis, measure, lobe).value
            assert value(other, measure, lobe).value == pytest.approx(expected, rel=0.01)


def test_corrections_are_off_until_their_input_is_given(xenon, ct, analysis):
    plain = value(analysis, "xe_rbc_gas")
    assert analysis.parameters["corrections"] == {}
    assert plain.status == "caution"
    assert "Haemoglobin" in plain.reason
    corrected = analyse_xenon(
        maps_of(xenon),
        [ct],
        background=Background(haemoglobin_g_dl=10.0, age_years=50.0, sex="female"),
        options=XenonOptions(wanted_volume_l=3.0),
        pictures=False,
    )
    entry = value(corrected, "xe_rbc_gas")
    assert entry.status == "ok"
    assert list(corrected.parameters["corrections"]) == ["haemoglobin", "volume"]
    factor = np.prod([rbc for rbc, _ in corrected.parameters["corrections"].values()])
    assert entry.value == pytest.approx(plain.value * factor, rel=1e-5)
    assert "women of 50 years" in value(corrected, "xe_rbc_m_z").method


def test_missing_maps_have_reasons_and_no_numbers(xenon, ct):
    analysis = analyse_xenon(maps_of(xenon, rbc_gas=None, membrane_gas=None), [ct], pictures=False)
    for measure, words in (
        ("xe_rbc_gas", "RBC:gas"),
        ("xe_rbc_m", "membrane"),
        ("xe_transfer_low_ct_normal_share", "RBC:gas"),
        ("xe_perfusion_side_share", "perfusion"),
        ("xe_kco_estimate", "RBC:gas"),
    ):
        entry = value(analysis, measure)
        assert entry.status == "missing"
        assert words in entry.reason
    assert value(analysis, "xe_vdp").status == "ok"


def test_few_voxels_are_a_caution(xenon, ct):
    lobe = Region.RIGHT_MIDDLE_LOBE
    coarse = Geometry(
        tuple(n // 4 for n in xenon.geometry.shape),
        xenon.geometry.with_spacing((20.0,) * 3).ijk_to_ras,
    )
    from lungperfusion.resampling import resample_array

    def thin(array):
        values = np.nan_to_num(array).astype(np.float32)
        return resample_array(values, xenon.geometry, coarse, interpolation="linear", fill=0)

    maps = XenonMaps(
        mask=thin(xenon.mask) > 0.5, geometry=coarse, ventilation=thin(xenon.ventilation)
    )
    analysis = analyse_xenon(maps, [ct], pictures=False)
    entry = value(analysis, "xe_ventilation", lobe)
    assert entry.status in ("caution", "missing")


def test_the_breath_nearest_in_volume_is_joined(xenon, ct, found):
    volume_l = xenon.mask.sum() * xenon.geometry.voxel_volume_ml / 1000
    half = found.lungs.array.copy()
    half[: half.shape[0] // 2] = 0
    from dataclasses import replace

    small = ChestCt("other_ct", ct.ct, replace(found, lungs=found.lungs.with_array(half)))
    assert abs(small.volume_l - volume_l) > abs(ct.volume_l - volume_l)
    joined = join_xenon(xenon.mask, xenon.geometry, [small, ct], progress=ignore)
    assert joined.chest is ct
    assert joined.limits_hu == breath_limits_hu((-950.0, -700.0), ct.volume_l, ct.volume_l)


def test_another_breath_fails_the_gate_and_takes_the_lobes_away(xenon, ct):
    matrix = xenon.geometry.ijk_to_ras.copy()
    matrix[:3, :3] *= 0.8
    small = Geometry(xenon.geometry.shape, matrix)
    maps = XenonMaps(mask=xenon.mask, geometry=small, rbc_gas=xenon.rbc_gas)
    analysis = analyse_xenon(maps, [ct], pictures=False)

    assert {g.id: g.verdict for g in analysis.gates}["xenon_breath"] == "fail"
    assert value(analysis, "xe_rbc_gas", Region.LEFT_LOWER_LOBE).status == "missing"
    assert value(analysis, "xe_transfer_low_ct_normal_share").status == "missing"
    assert value(analysis, "xe_rbc_gas").status == "caution"


def test_one_lung_is_joined_and_the_other_said(xenon, chest):
    lungs = chest.truth.lungs
    array = np.where(lungs.mask("left_lung"), STRUCTURES["left_lung"].label, 0).astype(np.uint8)
    mask = xenon.mask.copy()
    mask &= xenon.geometry.coordinate_mm("R") < 0
    join = join_lungs(mask, xenon.geometry, lungs.with_array(array))

    assert list(join.lungs) == [Region.LEFT_LUNG]
    assert "right lung" in join.missing[Region.RIGHT_LUNG]
    with pytest.raises(InputError, match="empty"):
        join_lungs(np.zeros_like(mask), xenon.geometry, lungs)


def test_a_notch_at_the_hilum_is_closed():
    grid = Geometry.axial((40, 40, 40), (3.0, 3.0, 3.0))
    k, j, i = np.indices(grid.shape)
    ball = (k - 20) ** 2 + (j - 20) ** 2 + (i - 20) ** 2 < 15**2
    notched = ball & ~((abs(j - 20) < 3) & (abs(k - 20) < 3) & (i > 20))
    filled, _ = closed_outline(notched, grid)
    whole, _ = closed_outline(ball, grid)
    assert (filled ^ whole).sum() < 0.02 * whole.sum()


def test_samples_of_a_voxel_lie_within_it(joined, ct):
    prints = footprints(joined.join, ct.ct.geometry)
    steps = [2 * int(np.ceil(size / 2)) for size in joined.join.sides.geometry.spacing_ijk_mm]
    assert prints.index.shape == (joined.join.sides.mask(*LUNGS).sum(), np.prod(steps))


def test_samples_outside_of_the_ct_count_as_nothing():
    grid = Geometry.axial((1, 1, 4), (1.0, 1.0, 1.0))
    mask = np.ones((1, 1, 2), np.bool_)
    prints = Footprints(index=np.array([[0, 3], [-1, 2]], np.int32), mask=mask, ct=grid)
    labels = np.array([5, 0, 7, 7], np.uint8).reshape(grid.shape)
    assert prints.samples(labels, 0).tolist() == [[5, 7], [0, 7]]
    assert prints.shares(labels, 7).tolist() == [0.5, 0.5]
    assert prints.shares(labels, 5, 7).tolist() == [1.0, 0.5]


def test_classes_follow_another_reference_set(xenon, ct, analysis):
    other = analyse_xenon(
        maps_of(xenon),
        [ct],
        options=XenonOptions(reference=REFERENCE_SETS["208"]),
        pictures=False,
    )
    here, there = (value(a, "xe_rbc_impaired_share").value for a in (analysis, other))
    assert there < here  # limits of 208 ppm are lower
    assert value(other, "xe_rbc_m_z").value > value(analysis, "xe_rbc_m_z").value


def test_points_of_a_reader_steer_the_join(xenon, chest, joined):
    lungs = chest.truth.lungs
    place = np.array([[40.0, -10.0, 0.0]])
    start = joined.join.lungs[Region.RIGHT_LUNG].field.at(place)
    asked = place + start + np.array([[0.0, 0.0, 9.0]])
    steered = join_lungs(xenon.mask, xenon.geometry, lungs, points=(place, asked))
    moved = steered.lungs[Region.RIGHT_LUNG].field.at(place)
    assert np.linalg.norm(place + moved - asked) < 3.0


def test_low_transfer_is_not_called_where_nothing_was_measured(analysis, xenon):
    labels = analysis.labelmaps["xe_mismatch"]
    assert not (labels.array[~xenon.mask] > 0).any()
    assert LOW_IN_NORMAL_CT == 2
