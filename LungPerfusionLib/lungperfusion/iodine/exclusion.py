"""What iodine maps must not count: large vessels, airways, streaks, the rim of the heart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import ndimage

from lungperfusion.iodine.calibration import BLOOD_HU, UNDILUTED_MG_ML, beam
from lungperfusion.morphology import dilated, eroded, opened
from lungperfusion.regions import RegionSet
from lungperfusion.terms import AIRWAYS, LUNGS
from lungperfusion.volume import Box, Geometry, Labelmap, Mask, Volume, bounding_box

Handling = Literal["exclude", "mark"]

DEFAULT_HANDLING: Handling = "exclude"
"""Leave the excluded voxels out of every score; ``"mark"`` only shows them."""

VESSEL_ABOVE_HU = -400.0
"""Voxels of the lung above this density and not thick enough for consolidation are vessels."""

VESSEL_OPENING_MM = 1.5
"""Vessels of more than this radius are left out: smaller ones belong to the parenchyma's blood."""

VESSEL_MARGIN_MM = 1.0
"""Blur of the vessel into its neighbourhood."""

CONSOLIDATION_RADIUS_MM = 8.0
"""Dense lung that holds a ball of this radius is no vessel (hilar vessels lie outside the lung)."""

AIRWAY_MARGIN_MM = 1.5
"""Wall of a bronchus and its blur."""

CONTRAST_HU_PER_MG_ML = beam("120").iodine_hu_per_mg_ml
"""Of an image whose tube voltage is not known."""

DENSE_CONTRAST_RADIUS_MM = 2.5
"""Undiluted contrast fills a vein that holds a ball of this radius; the thin cortex of a vertebra,
as dense, does not."""

STREAK_SLICES_MM = 5.0
"""Streaks run in the plane of the rotating tube; slices this close to dense contrast have them."""

STREAK_REACH_MM = 17.5
"""Lung within 15 to 20 mm of dense contrast is marked as streak region."""

HEART_RIM_MM = 5.0
"""Lung this close to the heart is blurred by its beat, and moves between the two images."""

HEART_RADIUS_MM = 20.0
"""The heart holds a ball of this radius; the great vessels and the oesophagus do not."""

SOFT_TISSUE_ABOVE_HU = -100.0
"""Heart and vessels; lung and most of the mediastinal fat's blur lie below."""

_HEART_CELL_MM = 4.0

REASONS = ("large_vessels", "airways", "streaks", "heart_rim")
"""Why lung is left out, in the order in which a voxel with several reasons is counted."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Exclusion:
    """What is left out of the lungs: label map with the names `REASONS`."""

    labels: Labelmap
    dense: Mask | None = None
    """Undiluted contrast, from which streaks run; None where it was not looked for."""

    @property
    def mask(self) -> Mask:
        """Voxels left out for any reason."""
        return np.asarray(self.labels.array > 0)

    def measurable(self, lungs: Mask) -> Mask:
        """Lung whose iodine counts."""
        return np.asarray(lungs & ~self.mask)

    def with_streaks(self, found: Mask) -> Exclusion:
        """Leave streaks out as well that were found elsewhere."""
        array = self.labels.array.copy()
        array[found & (array == 0)] = REASONS.index("streaks") + 1
        return replace(self, labels=replace(self.labels, array=array))

    def shares(self, inside: Mask) -> dict[str, float]:
        """Share of the voxels inside a mask by reason, 0 to 1."""
        counts = np.bincount(self.labels.array[inside], minlength=len(REASONS) + 1)
        total = max(1, int(counts.sum()))
        return {reason: counts[n] / total for n, reason in enumerate(REASONS, start=1)}


EXCLUSION_COLUMNS = ("region", *(f"{reason}_percent" for reason in REASONS))
"""Columns of `exclusion_rows`."""


def exclusion_rows(exclusion: Exclusion, regions: RegionSet) -> tuple[Mapping[str, object], ...]:
    """Share of every region by reason, in % of its voxels; regions without a voxel are left out."""
    rows = []
    for region in regions.names:
        inside = regions.mask(region)
        if inside.any():
            shares = exclusion.shares(inside).values()
            percent = (100 * float(share) for share in shares)
            rows.append(dict(zip(EXCLUSION_COLUMNS, (region.value, *percent), strict=True)))
    return tuple(rows)


def find_exclusions(
    contrast: Volume,
    lungs: Labelmap,
    *,
    hu_per_mg_ml: float = CONTRAST_HU_PER_MG_ML,
    vessel_above_hu: float = VESSEL_ABOVE_HU,
    streak_reach_mm: float = STREAK_REACH_MM,
    heart_rim_mm: float = HEART_RIM_MM,
) -> Exclusion:
    """Mark large vessels, airway walls, streak regions and the rim of the heart in the lungs.

    Parameters
    ----------
    contrast
        CT in HU that shows vessels and contrast best (mixed, low-voltage or contrast image).
    lungs
        Lungs and, where known, ``airways``, on the same grid.
    hu_per_mg_ml
        Sensitivity of the image to iodine, which tells undiluted contrast (`UNDILUTED_MG_ML`) from
        well enhanced arteries at any voltage.
    vessel_above_hu
        See `VESSEL_ABOVE_HU`.
    streak_reach_mm, heart_rim_mm
        See `STREAK_REACH_MM` and `HEART_RIM_MM`; 0 leaves the region out.

    """
    contrast.require_unit("HU", "the image that shows vessels")
    contrast.geometry.require_same(lungs.geometry, what="image that shows vessels and lungs")
    labels = np.zeros(lungs.geometry.shape, np.uint8)
    dense = np.zeros(lungs.geometry.shape, np.bool_)
    lung = lungs.mask(*LUNGS)
    named = dict(enumerate(REASONS, start=1))
    if lung.any():
        reach_mm = max(streak_reach_mm, heart_rim_mm, AIRWAY_MARGIN_MM)
        margin = [int(np.ceil(reach_mm / s)) + 1 for s in lungs.geometry.spacing_kji_mm]
        box = bounding_box(lung, (margin[0], margin[1], margin[2]))
        image, inside, geometry = contrast.crop(box), lung[box], lungs.geometry.crop(box)
        spacing = geometry.spacing_kji_mm
        between = between_lungs(inside, geometry)
        dense[box] = _dense_contrast(image, between | inside, hu_per_mg_ml)
        found = (
            _large_vessels(image, inside, vessel_above_hu),
            _near(lungs.mask(AIRWAYS)[box], AIRWAY_MARGIN_MM, geometry),
            _near(dense[box], streak_reach_mm, geometry),
            _heart_rim(image, inside, between, heart_rim_mm, spacing),
        )
        for number in range(len(found), 0, -1):  # the first reason wins
            labels[box][found[number - 1] & inside] = number
    return Exclusion(labels=Labelmap(labels, lungs.geometry, named), dense=dense)


def slices_with_streaks(
    contrast: Volume, lungs: Labelmap, hu_per_mg_ml: float = CONTRAST_HU_PER_MG_ML
) -> Mask:
    """Axial slices through or next to undiluted contrast, all of whose voxels may hold streaks.

    Parameters
    ----------
    contrast
        CT in HU that shows the contrast.
    lungs
        Lungs on the same grid.
    hu_per_mg_ml
        Sensitivity of the image to iodine.

    Returns
    -------
    ndarray
        Shape (K, 1, 1), (1, J, 1) or (1, 1, I), as slices lie on the grid.

    """
    geometry = lungs.geometry
    axis, _ = geometry.array_axis_toward("S")
    inside = lungs.mask(*LUNGS)
    among = between_lungs(inside, geometry) | inside
    dense = _dense_contrast(contrast, among, hu_per_mg_ml)
    others = tuple(n for n in range(3) if n != axis)
    held = dense.any(axis=others)
    reach = int(np.ceil(STREAK_SLICES_MM / geometry.spacing_kji_mm[axis]))
    near = ndimage.binary_dilation(held, iterations=reach) if reach else held
    return np.expand_dims(near, others)


def _dense_contrast(image: Volume, among: Mask, hu_per_mg_ml: float) -> Mask:
    """Undiluted contrast in thick veins, between the lungs or in what was taken for lung."""
    dense = (image.array > BLOOD_HU + UNDILUTED_MG_ML * hu_per_mg_ml) & among
    if dense.any():
        box = bounding_box(dense, (1, 1, 1))
        dense[box] = opened(dense[box], DENSE_CONTRAST_RADIUS_MM, image.geometry.spacing_kji_mm)
    return dense


def _large_vessels(image: Volume, lung: Mask, above_hu: float) -> Mask:
    spacing = image.geometry.spacing_kji_mm
    dense = lung & (image.array > above_hu)
    consolidated = _consolidated(dense, spacing)
    core = eroded(dense, VESSEL_OPENING_MM, spacing) & ~consolidated
    thick = dense & dilated(core, VESSEL_OPENING_MM + max(spacing) / 2, spacing)
    return np.asarray(dilated(thick, VESSEL_MARGIN_MM, spacing) & lung & ~consolidated)


def _consolidated(dense: Mask, spacing_kji_mm: tuple[float, float, float]) -> Mask:
    """Dense lung around places that hold a ball of `CONSOLIDATION_RADIUS_MM`."""
    out = np.zeros_like(dense)
    # few lungs have any: what holds no cube as wide as the ball allows needs no distance map
    cube = [2 * int(CONSOLIDATION_RADIUS_MM / np.sqrt(3) / s) + 1 for s in spacing_kji_mm]
    wide = ndimage.minimum_filter(dense, cube)
    if wide.any():
        margin = [int(2 * CONSOLIDATION_RADIUS_MM / s) + 1 for s in spacing_kji_mm]
        box = bounding_box(wide, (margin[0], margin[1], margin[2]))
        core = eroded(dense[box], CONSOLIDATION_RADIUS_MM, spacing_kji_mm) & wide[box]
        if core.any():
            near = dilated(core, 2 * CONSOLIDATION_RADIUS_MM, spacing_kji_mm)
            out[box] = near & dense[box]
    return out


def _near(mask: Mask, reach_mm: float, geometry: Geometry) -> Mask:
    if reach_mm == 0 or not mask.any():
        return np.zeros_like(mask)
    margin = [int(np.ceil(reach_mm / s)) + 1 for s in geometry.spacing_kji_mm]
    box = bounding_box(mask, (margin[0], margin[1], margin[2]))
    out = np.zeros_like(mask)
    out[box] = dilated(mask[box], reach_mm, geometry.spacing_kji_mm)
    return out


def between_lungs(lung: Mask, geometry: Geometry) -> Mask:
    """Mediastinum: in every row from patient right to left, voxels with lung on both sides.

    Cortical bone, which is as dense as undiluted contrast, lies outside of it.
    """
    axis, _ = geometry.array_axis_toward("R")
    before = np.logical_or.accumulate(lung, axis=axis)
    behind = np.flip(np.logical_or.accumulate(np.flip(lung, axis), axis=axis), axis)
    return np.asarray(before & behind & ~lung)


def _heart_rim(
    image: Volume,
    lung: Mask,
    between: Mask,
    rim_mm: float,
    spacing_kji_mm: tuple[float, float, float],
) -> Mask:
    """Lung beside the thickest soft tissue of the mediastinum."""
    nothing = np.zeros_like(lung)
    if rim_mm == 0:
        return nothing
    # on a thinned grid: the heart is large, its surface is found again at full resolution
    steps = [max(1, round(_HEART_CELL_MM / s)) for s in spacing_kji_mm]
    thin = tuple(slice(None, None, step) for step in steps)
    coarse_mm = tuple(s * step for s, step in zip(spacing_kji_mm, steps, strict=True))
    soft = between[thin] & (image.array[thin] > SOFT_TISSUE_ABOVE_HU)
    heart = opened(soft, HEART_RADIUS_MM, (coarse_mm[0], coarse_mm[1], coarse_mm[2]))
    if not heart.any():
        return nothing
    for axis, (step, size) in enumerate(zip(steps, lung.shape, strict=True)):
        heart = np.repeat(heart, step, axis=axis)[_first(axis, size)]
    heart &= between & (image.array > SOFT_TISSUE_ABOVE_HU)
    return _near(heart, rim_mm, image.geometry) & lung


def _first(axis: int, size: int) -> Box:
    box = [slice(None)] * 3
    box[axis] = slice(0, size)
    return box[0], box[1], box[2]
