"""RegionSet: several partitions of the same lungs on one grid."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.errors import GeometryMismatchError
from lungperfusion.regions import RegionSet
from lungperfusion.terms import Region
from lungperfusion.volume import Geometry, Labelmap

GRID = Geometry.axial((4, 2, 6), (10.0, 10.0, 10.0))  # 1 mL per voxel


def labelmap(array: np.ndarray, names: dict[int, str], geometry: Geometry = GRID) -> Labelmap:
    return Labelmap(array.astype(np.uint8), geometry, names)


@pytest.fixture
def lungs() -> Labelmap:
    array = np.zeros(GRID.shape)
    array[..., :2], array[..., 2], array[..., 4:] = 2, 3, 1
    return labelmap(array, {1: "left_lung", 2: "right_lung", 3: "airways"})


@pytest.fixture
def zones() -> Labelmap:
    array = np.zeros(GRID.shape)
    array[:2, :, 4:], array[2:, :, 4:] = 23, 21
    return labelmap(array, {21: "left_upper_zone", 23: "left_lower_zone"})


def test_names_list_the_lungs_then_each_partition_in_label_order(lungs, zones):
    regions = RegionSet((lungs, zones))

    assert regions.names == (
        Region.LUNGS,
        Region.LEFT_LUNG,
        Region.RIGHT_LUNG,
        Region.LEFT_UPPER_ZONE,
        Region.LEFT_LOWER_ZONE,
    )


def test_airways_are_no_region(lungs):
    assert "airways" not in RegionSet((lungs,)).names


def test_lungs_are_both_lungs_without_airways(lungs):
    mask = RegionSet((lungs,)).mask(Region.LUNGS)

    assert np.count_nonzero(mask) == 32
    assert not mask[..., 2].any()


def test_mask_comes_from_the_partition_that_names_it(lungs, zones):
    regions = RegionSet((lungs, zones))

    assert (regions.mask(Region.RIGHT_LUNG) == lungs.mask("right_lung")).all()
    assert (regions.mask(Region.LEFT_UPPER_ZONE) == zones.mask("left_upper_zone")).all()
    upper, lower = Region.LEFT_UPPER_ZONE, Region.LEFT_LOWER_ZONE
    both = regions.mask(upper) | regions.mask(lower)
    assert (both == regions.mask(Region.LEFT_LUNG)).all()


def test_region_without_a_partition_has_no_voxel(lungs):
    mask = RegionSet((lungs,)).mask(Region.RIGHT_MIDDLE_LOBE)

    assert mask.shape == GRID.shape
    assert not mask.any()


def test_absent_regions_are_listed_with_their_reason(lungs):
    regions = RegionSet((lungs,), absent={Region.LEFT_UPPER_LOBE: "no fissure visible"})

    assert regions.names[-1] is Region.LEFT_UPPER_LOBE
    assert regions.why_missing(Region.LEFT_UPPER_LOBE) == "no fissure visible"
    assert not regions.mask(Region.LEFT_UPPER_LOBE).any()


def test_absent_region_of_a_partition_is_listed_once(lungs, zones):
    regions = RegionSet((lungs, zones), absent={Region.LEFT_UPPER_ZONE: "cut off"})

    assert regions.names.count(Region.LEFT_UPPER_ZONE) == 1


def test_a_missing_lung_keeps_its_row_and_gets_a_sentence(lungs):
    array = np.where(lungs.array == 1, 0, lungs.array)
    regions = RegionSet((lungs.with_array(array.astype(np.uint8)),))

    assert Region.LEFT_LUNG in regions.names
    assert not regions.mask(Region.LEFT_LUNG).any()
    assert regions.why_missing(Region.LEFT_LUNG) == "no voxel of the left lung in the image"


def test_partitions_must_share_the_grid(lungs, zones):
    matrix = GRID.ijk_to_ras.copy()
    matrix[0, 3] += 0.5
    moved = Labelmap(zones.array, Geometry(GRID.shape, matrix), zones.names)

    with pytest.raises(GeometryMismatchError, match=r"region label maps: .* up to 0\.5 mm apart"):
        RegionSet((lungs, moved))


def test_absent_cannot_be_changed_from_outside(lungs):
    absent = {Region.CORE: "no core"}
    regions = RegionSet((lungs,), absent=absent)
    absent[Region.RIM] = "no rim"

    assert set(regions.absent) == {Region.CORE}
    with pytest.raises(TypeError):
        regions.absent[Region.RIM] = "no rim"
