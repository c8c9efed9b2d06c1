"""What is kept of two large scans while they are analysed, and what is made on demand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lungperfusion.analysis.ctvq import Breath
from lungperfusion.analysis.ctvq.placing import OnDemand
from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.regions import RegionSet
from lungperfusion.terms import LUNGS
from lungperfusion.volume import Geometry, Labelmap, Volume
from lungperfusion.vq.calibration import Readings, compare_calibration, read_air_and_blood
from lungperfusion.vq.displacement import (
    POINTS_AT_ONCE,
    DisplacementField,
    positions_by_slab,
    voxel_positions,
)


@pytest.fixture(scope="module")
def breath(phantom):
    lungs = phantom.expiration_lungs
    regions = RegionSet((lungs, phantom.expiration_lobes))
    whole = FoundRegions(lungs=lungs, regions=regions, gates=(), warnings=())
    # air around, as in a clinical field of view
    wide = [(20, 20)] * 3
    shape = tuple(n + 40 for n in lungs.geometry.shape)
    matrix = lungs.geometry.ijk_to_ras.copy()
    matrix[:3, 3] = lungs.geometry.ras_from_ijk([-20, -20, -20])
    grid = Geometry(shape, matrix)

    def around(labels: Labelmap) -> Labelmap:
        return Labelmap(np.pad(labels.array, wide), grid, labels.names)

    found = replace(
        whole,
        lungs=around(lungs),
        regions=RegionSet(tuple(around(p) for p in regions.partitions)),
    )
    ct = np.pad(phantom.expiration.array, wide, constant_values=-1000)
    return Breath(Volume(ct, grid, "HU"), found)


def test_near_the_lungs_nothing_of_the_whole_scan_is_held(breath):
    near = breath.near_lungs()
    assert near.ct.array.size < 0.8 * breath.ct.array.size
    for part, whole in (
        (near.ct.array, breath.ct.array),
        (near.lungs.array, breath.lungs.array),
        (near.found.regions.lobes.array, breath.found.regions.lobes.array),
    ):
        assert not np.shares_memory(part, whole)
        np.testing.assert_array_equal(part, whole[near.origin.box])
    assert near.lungs.volume_ml(*LUNGS) == breath.lungs.volume_ml(*LUNGS)


def test_near_the_lungs_it_is_remembered_what_the_whole_scan_was(breath):
    near = breath.near_lungs()
    assert near.origin.geometry is breath.ct.geometry
    assert near.origin.readings == read_air_and_blood(breath.ct, breath.lungs)
    assert near.near_lungs() is near


def test_a_scan_without_lungs_stays_as_it_is(breath):
    none = Labelmap(np.zeros_like(breath.lungs.array), breath.lungs.geometry, breath.lungs.names)
    empty = replace(breath, found=replace(breath.found, lungs=none, regions=RegionSet((none,))))
    assert empty.near_lungs() is empty


def test_what_one_scan_did_not_show_is_not_compared():
    found = compare_calibration(
        Readings(air_offset_hu=2.0, blood_hu=np.nan), Readings(air_offset_hu=5.0, blood_hu=40.0)
    )
    assert found.air_hu == 3.0
    assert np.isnan(found.blood_hu)


def test_images_are_made_when_they_are_asked_for():
    made = []

    def place(number: int) -> int:
        made.append(number)
        return 10 * number

    images = OnDemand({"one": 1, "two": 2}, place)
    assert list(images) == ["one", "two"]
    assert len(images) == 2
    assert made == []
    assert images["two"] == 20
    assert made == [2]


def test_slabs_hold_the_positions_of_all_voxels(phantom, monkeypatch):
    geometry, mask = phantom.expiration.geometry, phantom.expiration_lungs.mask(LUNGS[0])
    monkeypatch.setattr("lungperfusion.vq.displacement.SLAB_VOXELS", 5 * mask[0].size)
    slabs = list(positions_by_slab(geometry, mask))
    assert len(slabs) > 3
    np.testing.assert_array_equal(
        np.concatenate([points for _, points in slabs]), voxel_positions(geometry, mask)
    )
    assert [np.count_nonzero(mask[slab]) for slab, _ in slabs] == [len(p) for _, p in slabs]


def test_many_points_are_displaced_like_few():
    rng = np.random.default_rng(2)
    grid = Geometry.axial((4, 5, 6), (10.0, 10.0, 10.0))
    field = DisplacementField(rng.normal(size=(4, 5, 6, 3)).astype(np.float32), grid)
    points = rng.uniform(-60, 60, (POINTS_AT_ONCE + 7, 3))
    np.testing.assert_array_equal(field.at(points)[-9:], field.at(points[-9:]))
