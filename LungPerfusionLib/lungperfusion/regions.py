"""The regions of one patient on one grid: several partitions of the same lungs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lungperfusion.terms import LOBES, LUNGS, Region, title
from lungperfusion.volume import Geometry, Labelmap, Mask


@dataclass(frozen=True, eq=False)
class RegionSet:
    """Where measures are summed.

    Parameters
    ----------
    partitions
        Label maps on one grid.  The first holds ``left_lung`` and ``right_lung``; further ones
        hold lobes, zones, halves or shells, in the order in which results list them.
    absent
        Regions that cannot be had, with the reason (``"no fissure visible: 5 mm slices"``).

    Raises
    ------
    GeometryMismatchError
        If the partitions do not share a grid.

    """

    partitions: tuple[Labelmap, ...]
    absent: Mapping[Region, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that all partitions share one grid."""
        for partition in self.partitions[1:]:
            self.geometry.require_same(partition.geometry, what="region label maps")
        object.__setattr__(self, "absent", MappingProxyType(dict(self.absent)))

    @property
    def geometry(self) -> Geometry:
        """The common grid."""
        return self.partitions[0].geometry

    @property
    def lobes(self) -> Labelmap | None:
        """The partition into lobes, if there is one."""
        return next((p for p in self.partitions if set(LOBES) & set(p.names.values())), None)

    @property
    def names(self) -> tuple[Region, ...]:
        """Regions that results list: the lungs, then every region of every partition.

        Includes regions without a voxel (a missing lung) and absent ones, so that each gets a row.
        """
        listed = [Region.LUNGS]
        for partition in self.partitions:
            listed += [
                Region(name) for _, name in sorted(partition.names.items()) if name in Region
            ]
        listed += [region for region in self.absent if region not in listed]
        return tuple(listed)

    def mask(self, region: Region) -> Mask:
        """Voxels of a region; none where it is absent."""
        if region is Region.LUNGS:
            return self.partitions[0].mask(*LUNGS)
        for partition in self.partitions:
            if region in partition.names.values():
                return partition.mask(region)
        return Labelmap.mask(self.partitions[0])

    def why_missing(self, region: Region) -> str:
        """Reason to print when a region has no voxel."""
        return self.absent.get(region, f"no voxel of the {title(region).lower()} in the image")
