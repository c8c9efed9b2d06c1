"""Zones, halves, core, rim and shell: regions that follow from the lungs alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.morphology import depth_mm
from lungperfusion.terms import AIRWAYS, HALVES, LUNGS, SHELLS, STRUCTURES, ZONES, Region
from lungperfusion.volume import Axis, Geometry, Labelmap, Mask, bounding_box

ZoneRule = Literal["height", "volume"]

DEFAULT_ZONE_RULE: ZoneRule = "height"
"""Thirds of equal craniocaudal height, as readers of scintigrams divide the lung."""

RIM_MM = 15.0
"""Thickness of the rim: the outer 15 mm shell in which peripheral defects are counted."""

SUBPLEURAL_MM = 5.0
"""Thickness of the subpleural shell: about the outermost secondary lobules."""


def label_zones(lungs: Labelmap, *, rule: ZoneRule = DEFAULT_ZONE_RULE) -> Labelmap:
    """Divide each lung into an upper, a middle and a lower zone.

    Parameters
    ----------
    lungs
        Label map with ``left_lung`` and ``right_lung``.
    rule
        ``"height"``: three slabs of equal height along the patient's axis, from the lowest to the
        highest lung voxel of that lung.  ``"volume"``: slabs of equal volume.

    Returns
    -------
    Labelmap
        The six zones; a lung without voxels has none.

    """
    labels = np.zeros(lungs.geometry.shape, np.uint8)
    for side, zones in ((Region.LEFT_LUNG, ZONES[:3]), (Region.RIGHT_LUNG, ZONES[3:])):
        mask = lungs.mask(side)
        if mask.any():
            _label_slabs(labels, mask, lungs.geometry, "S", zones[::-1], rule)
    return Labelmap(labels, lungs.geometry, _names(ZONES))


def label_halves(lungs: Labelmap) -> Labelmap:
    """Divide the lungs into an anterior and a posterior half of equal depth, each lung for itself.

    The dependent half of a supine patient is the posterior one.
    """
    labels = np.zeros(lungs.geometry.shape, np.uint8)
    for side in LUNGS:
        mask = lungs.mask(side)
        if mask.any():
            _label_slabs(labels, mask, lungs.geometry, "A", HALVES[::-1], "height")
    return Labelmap(labels, lungs.geometry, _names(HALVES))


def label_shells(
    lungs: Labelmap,
    *,
    rim_mm: float = RIM_MM,
    rim_fraction: float | None = None,
    subpleural_mm: float = SUBPLEURAL_MM,
) -> tuple[Labelmap, Labelmap]:
    """Divide the lungs by depth under their surface.

    The surface is the outline of each lung; airways count as inside, so that no rim lines the
    bronchi, and the border of the image is no surface.

    Parameters
    ----------
    lungs
        Label map with the lungs and, where known, ``airways``.
    rim_mm
        Greatest distance of a rim voxel's centre from the nearest voxel outside the lung.
    rim_fraction
        Instead of a thickness, the outer share of each lung's volume that is rim, 0 to 1.
    subpleural_mm
        Thickness of the subpleural shell, measured as that of the rim.

    Returns
    -------
    tuple of Labelmap
        Core and rim; the subpleural shell, which overlaps them.

    """
    for what, mm in (("rim", rim_mm), ("subpleural shell", subpleural_mm)):
        if not mm > 0:
            raise InputError(f"the {what} must be thicker than 0 mm, not {mm:g} mm")
    if rim_fraction is not None and not 0 < rim_fraction < 1:
        raise InputError(
            f"the rim's share of the lung must lie between 0 and 1, not {rim_fraction:g}"
        )
    parted, shell = (np.zeros(lungs.geometry.shape, np.uint8) for _ in range(2))
    core, rim, subpleural = (STRUCTURES[region].label for region in SHELLS)
    airways = lungs.mask(AIRWAYS)
    for side in LUNGS:
        mask = lungs.mask(side)
        if not mask.any():
            continue
        box = bounding_box(mask, (1, 1, 1))
        depth = depth_mm(mask[box] | airways[box], lungs.geometry.spacing_kji_mm)[mask[box]]
        border_mm = rim_mm
        if rim_fraction is not None:
            border_mm = float(np.quantile(depth, rim_fraction, method="inverted_cdf"))
        parted[box][mask[box]] = np.where(depth > border_mm, core, rim)
        shell[box][mask[box]] = np.where(depth > subpleural_mm, 0, subpleural)
    return (
        Labelmap(parted, lungs.geometry, _names(SHELLS[:2])),
        Labelmap(shell, lungs.geometry, _names(SHELLS[2:])),
    )


def _label_slabs(
    labels: NDArray[np.uint8],
    mask: Mask,
    geometry: Geometry,
    axis: Axis,
    names: Sequence[Region],
    rule: ZoneRule,
) -> None:
    """Label slabs across a patient axis, ``names`` in the order of growing coordinate."""
    box = bounding_box(mask)
    inside = mask[box]
    position = geometry.crop(box).coordinate_at(inside, axis)
    parts = len(names)
    if rule == "height":
        half_voxel = np.abs(geometry.ijk_to_ras["RAS".index(axis), :3]).max() / 2
        low, high = float(position.min()) - half_voxel, float(position.max()) + half_voxel
        borders = low + (high - low) * np.arange(1, parts) / parts
    else:
        borders = np.quantile(position, np.arange(1, parts) / parts, method="inverted_cdf")
    values = np.array([STRUCTURES[name].label for name in names], np.uint8)
    labels[box][inside] = values[np.searchsorted(borders, position, side="left")]


def _names(regions: Sequence[Region]) -> dict[int, str]:
    return {STRUCTURES[region].label: region.value for region in regions}
