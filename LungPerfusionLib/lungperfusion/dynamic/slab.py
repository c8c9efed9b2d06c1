"""What of the lungs the images of a slab hold, and their regions on the working grid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lungperfusion.dynamic.region_flow import Coverage
from lungperfusion.regions import RegionSet
from lungperfusion.resampling import resample_labelmap
from lungperfusion.terms import Region
from lungperfusion.volume import Geometry
from lungperfusion.vq.jacobian import CUT_OFF_MM2, cut_area_mm2


def coverage_of(regions: RegionSet, whole_ml: Mapping[Region, float]) -> Coverage:
    """Compare the regions in the images with the whole ones.

    Parameters
    ----------
    regions
        On the grid of the images.
    whole_ml
        Volume of whole regions, of a label map of the whole chest.

    """
    shares, cut = {}, set()
    for region in regions.names:
        mask = regions.mask(region)
        if not mask.any():
            continue
        if region in whole_ml:
            held_ml = float(np.count_nonzero(mask)) * regions.geometry.voxel_volume_ml
            shares[region] = min(1.0, held_ml / whole_ml[region])
        elif cut_area_mm2(mask, regions.geometry) > CUT_OFF_MM2:
            cut.add(region)
    return Coverage(shares=shares, cut=frozenset(cut))


def on_grid(regions: RegionSet, geometry: Geometry) -> RegionSet:
    """Regions on another grid, by the nearest label."""
    partitions = tuple(resample_labelmap(part, geometry) for part in regions.partitions)
    return RegionSet(partitions, regions.absent)


def volumes_ml(regions: RegionSet) -> dict[Region, float]:
    """Volume of every region that is there."""
    voxel_ml = regions.geometry.voxel_volume_ml
    masks = {region: regions.mask(region) for region in regions.names}
    return {
        region: float(np.count_nonzero(mask)) * voxel_ml
        for region, mask in masks.items()
        if mask.any()
    }
