"""Perfusion defects: where iodine is missing, how it looks, and what the CT shows beneath."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, spatial

from lungperfusion.errors import InputError
from lungperfusion.iodine.decomposition import IodineMap
from lungperfusion.iodine.expected import expected_enhancement, parts_of
from lungperfusion.iodine.smoothing import MINIMAL_WEIGHT
from lungperfusion.morphology import connected, depth_mm, dilated, eroded, pieces
from lungperfusion.regions import RegionSet
from lungperfusion.smoothing import gaussian_mean
from lungperfusion.terms import LUNGS, Region
from lungperfusion.terms.density import AERATED_BELOW_HU, EMPHYSEMA_BELOW_HU, GROUND_GLASS_FROM_HU
from lungperfusion.terms.iodine import DEFECT_BELOW_HU
from lungperfusion.terms.vq import LOW_SHARE
from lungperfusion.volume import Box, FloatArray, Mask, Volume, bounding_box, margin_voxels, widened

DefectRule = Literal["relative", "absolute"]
Limit = Callable[[Any], FloatArray | float]
"""Iodine below which a part of the map (an index or a box) is a defect."""
Shape = Literal["wedge", "subpleural", "central", "mottled"]
Extent = Literal["small", "moderate", "large"]
Parenchyma = Literal["emphysema", "normal", "ground glass", "consolidation", "unknown"]

DEFAULT_RULE: DefectRule = "relative"
"""A fixed threshold calls about a third of whole subjects a defect (mean 45.7, SD 15.3 HU)."""

MINIMAL_VOLUME_ML = 0.5
"""Smaller islands are noise at the smoothing used."""

SUBPLEURAL_MM = 15.0
"""Outer shell in which a defect counts as subpleural."""

PLEURAL_CONTACT_MM = 5.0
"""A defect this close to the lung surface touches it, given the smoothing of the map."""

WEDGE_MINIMAL_DEPTH_MM = 12.0
"""A wedge reaches at least this deep; flatter ones are subpleural bands."""

WEDGE_TAPER = -0.6
"""Correlation of a wedge's cross-section with depth: it narrows from the pleura inwards."""

WEDGE_SLENDERNESS = 0.3
"""Depth of a wedge over the width of its pleural base; flatter ones are subpleural bands.  A cone
with an opening of 65 degrees has 0.8 where it meets the pleura at right angles, and 0.3 where its
axis is tilted by 45 degrees."""

MOTTLE_BELOW_ML = 5.0
"""Defects smaller than this, scattered, make a mottled pattern (a segment has about 200 mL)."""

MOTTLE_NEIGHBOURS = 3
MOTTLE_REACH_MM = 40.0
"""A small defect is part of mottle when this many others lie within this distance of it."""

OUTLINE_SMOOTHING = 0.5
"""Outlines of defects are drawn in a map smoothed by this share of the smoothing that finds them:
found coarse, drawn fine, as edges are in scale space (Witkin 1983, IJCAI: 1019)."""

EXTENT_OF_SEGMENT = (0.25, 0.75)
"""Less than 25 % of a segment is small, more than 75 % large (PIOPED 1990, JAMA 263:2753)."""

GRADIENT_MINIMAL_DEPTH_MM = 40.0
GRADIENT_SLABS = 24
GRADIENT_SLAB_VOXELS = 50
"""A gravity gradient needs depth, and slabs with enough voxels for a median."""

SEGMENTS_PER_LUNG = 10
"""Bronchopulmonary segments per lung, for the extent of a defect in segments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One connected perfusion defect."""

    label: int
    """Value in the defect label image, 1 for the largest."""
    region: Region
    """Lobe (or lung where lobes are unknown) that holds most of it."""
    volume_ml: float
    centroid_ras_mm: tuple[float, float, float]
    iodine_hu: float
    relative_iodine: float
    """Mean iodine over the expected one, 0 to 1."""
    density_hu: float
    """Median density of the lung beneath; NaN without a CT."""
    parenchyma: Parenchyma
    shape: Shape
    pleural_share: float
    """Share of its volume in the subpleural shell, 0 to 1."""
    depth_mm: float
    """How deep it reaches under the lung surface."""
    segments: float
    """Volume in units of a mean segment of its lung."""
    extent: Extent


@dataclass(frozen=True, eq=False, kw_only=True)
class Defects:
    """All defects of one map."""

    labels: NDArray[np.uint16]
    """0 outside, then 1 for the largest defect and so on."""
    found: tuple[Defect, ...]
    method: str
    rule: DefectRule = DEFAULT_RULE

    @property
    def mask(self) -> Mask:
        """Voxels of any defect."""
        return self.labels > 0


def find_defects(
    enhancement: Volume,
    measurable: Mask,
    regions: RegionSet,
    *,
    ct: Volume | None = None,
    rule: DefectRule = DEFAULT_RULE,
    absolute_below_hu: float = DEFECT_BELOW_HU,
    relative_below: float = LOW_SHARE,
    minimal_volume_ml: float = MINIMAL_VOLUME_ML,
    unsmoothed: IodineMap | None = None,
    between: Mask | None = None,
    blur_mm: float = 0.0,
    blood_hu: float | None = None,
    reviewed: Mask | None = None,
) -> Defects:
    """Find perfusion defects and describe each.

    Parameters
    ----------
    enhancement
        Smoothed iodine enhancement in HU.
    measurable
        Voxels whose iodine counts: lung without large vessels, airways and streaks.
    regions
        Lungs and, where known, lobes on the same grid.
    ct
        Density beneath, in HU; without it the parenchyma is unknown.
    rule
        ``"relative"`` (default): below ``relative_below`` times `expected_enhancement`;
        ``"absolute"``: below ``absolute_below_hu``.
    minimal_volume_ml
        Smaller components are dropped, and smaller holes in them filled.
    unsmoothed
        The same map before it was smoothed.  With it, outlines are drawn again with
        `OUTLINE_SMOOTHING`; what was not found in ``enhancement`` is no defect there either.
    between
        Measurable voxels between vessels, which count in that; ``measurable`` when None.
    blur_mm
        Sigma that ``enhancement`` was smoothed with, by which that moved outlines at most.
    blood_hu
        Enhancement of the blood of the lungs, if known, which lungs without perfusion are seen by.
    reviewed
        Defects as a reader corrected them, to describe instead of searching by rule; only what
        lies outside the lungs is dropped.

    Raises
    ------
    GeometryMismatchError
        If the images do not share a grid.

    """
    enhancement.require_unit("HU", "the iodine enhancement map")
    enhancement.geometry.require_same(regions.geometry, what="iodine map and regions")
    if ct is not None:
        enhancement.geometry.require_same(ct.geometry, what="iodine map and CT")
    expected = expected_enhancement(enhancement, measurable, regions, blood_hu=blood_hu)
    if reviewed is not None:
        inside = reviewed & np.isfinite(expected)
        labels = _components(inside, enhancement, enhancement.geometry.voxel_volume_ml)
        found = _with_mottle(tuple(_describe(labels, enhancement, expected, regions, ct)))
        return Defects(labels=labels, found=found, method="corrected by the reader")

    def limit(part: Any) -> FloatArray | float:
        if rule == "absolute":
            return absolute_below_hu
        usual: FloatArray = expected[part]  # NaN outside the lungs, below which is none
        return np.asarray(np.float32(relative_below) * usual)

    method = (
        f"iodine < {absolute_below_hu:g} HU"
        if rule == "absolute"
        else f"iodine < {relative_below:g} x that of perfused lung, gravity-corrected"
    )
    low = _below(enhancement.array, limit)
    low &= measurable
    labels = _components(low, enhancement, minimal_volume_ml)
    if unsmoothed is not None and blur_mm > 0:
        known = measurable if between is None else between
        low = redrawn(
            labels, lambda box: unsmoothed.crop(box).enhancement, known, limit, regions, blur_mm
        )
        low &= measurable
        labels = _components(low, enhancement, minimal_volume_ml)
    del low
    if labels.any():
        filled = _without_holes(labels > 0, measurable, enhancement, minimal_volume_ml)
        labels = _components(filled, enhancement, minimal_volume_ml)
    found = _with_mottle(tuple(_describe(labels, enhancement, expected, regions, ct)))
    return Defects(
        labels=labels,
        found=found,
        method=f"{method}, components >= {minimal_volume_ml:g} mL",
        rule=rule,
    )


def placed(entry: Defect) -> Mapping[str, object]:
    """Place and size of a finding, as columns of a list."""
    return {
        "region": entry.region.value,
        "volume_ml": entry.volume_ml,
        "centroid_r_mm": entry.centroid_ras_mm[0],
        "centroid_a_mm": entry.centroid_ras_mm[1],
        "centroid_s_mm": entry.centroid_ras_mm[2],
    }


def formed(entry: Defect) -> Mapping[str, object]:
    """Tissue and form of a finding, as columns of a list."""
    return {
        "density_hu": entry.density_hu,
        "parenchyma": entry.parenchyma,
        "shape": entry.shape,
        "pleural_share": entry.pleural_share,
        "depth_mm": entry.depth_mm,
    }


def defect_table_rows(defects: Defects) -> tuple[Mapping[str, object], ...]:
    """Rows of the defect list, largest first."""
    return tuple(
        {
            "defect": entry.label,
            **placed(entry),
            "iodine_hu": entry.iodine_hu,
            "relative_iodine": entry.relative_iodine,
            **formed(entry),
            "segments": entry.segments,
            "extent": entry.extent,
        }
        for entry in defects.found
    )


DEFECT_COLUMNS = (
    "defect",
    "region",
    "volume_ml",
    "centroid_r_mm",
    "centroid_a_mm",
    "centroid_s_mm",
    "iodine_hu",
    "relative_iodine",
    "density_hu",
    "parenchyma",
    "shape",
    "pleural_share",
    "depth_mm",
    "segments",
    "extent",
)


def gravity_slope_per_mm(front_mm: FloatArray, values: FloatArray) -> float | None:
    """Slope of a map towards the front, robust against defects; None where it cannot be had.

    Theil-Sen slope through the medians of slabs of equal depth, as a defect moves few medians.
    """
    low, high = float(front_mm.min()), float(front_mm.max())
    if high - low < GRADIENT_MINIMAL_DEPTH_MM:
        return None
    slabs = ((front_mm - low) * (GRADIENT_SLABS / (high - low))).astype(np.uint8)  # sorts fast
    np.minimum(slabs, np.uint8(GRADIENT_SLABS - 1), out=slabs)
    order = np.argsort(slabs, kind="stable")
    bounds = np.searchsorted(slabs[order], np.arange(GRADIENT_SLABS + 1))
    ranked = values[order]
    centres, medians = [], []
    for slab, (start, stop) in enumerate(pairwise(bounds)):
        if stop - start >= GRADIENT_SLAB_VOXELS:
            centres.append(low + (slab + 0.5) * (high - low) / GRADIENT_SLABS)
            medians.append(float(np.median(ranked[start:stop])))
    if len(centres) < GRADIENT_SLABS // 2:
        return None
    here, there = np.triu_indices(len(centres), 1)
    places_mm, levels = np.array(centres), np.array(medians)
    return float(np.median((levels[there] - levels[here]) / (places_mm[there] - places_mm[here])))


def redrawn(
    labels: NDArray[np.uint16],
    unsmoothed_in: Callable[[Box], Volume],
    known: Mask,
    limit: Limit,
    regions: RegionSet,
    blur_mm: float,
) -> Mask:
    """Draw every defect again within ``blur_mm`` of its outline, where less is smoothed.

    Parameters
    ----------
    labels
        Defects as found in the smoothed map, 0 outside; shape (K, J, I).
    unsmoothed_in
        Gives the map before it was smoothed, in a box.
    known
        Voxels that count in it; others stay as they are.
    limit
        Gives what a defect lies below in a box; one value, or one for each voxel.
    regions
        Lungs, each of which is smoothed for itself.
    blur_mm
        Sigma of the smoothed map.

    """
    sigma_mm = OUTLINE_SMOOTHING * blur_mm
    spacing = regions.geometry.spacing_kji_mm
    lungs = [known & regions.mask(lung) for lung in LUNGS]
    margin = margin_voxels(spacing, blur_mm + 4 * sigma_mm)  # 4: end of the Gaussian
    out = labels > 0
    for label, tight in enumerate(_boxes(labels), start=1):
        box = widened(tight, margin, labels.shape)
        own = labels[box] == label
        border = dilated(own, blur_mm, spacing) & ~eroded(own, blur_mm, spacing)
        for lung in lungs:  # each for itself: nothing crosses the pleura
            if lung[box].any():
                map_here = unsmoothed_in(box)
                mean, weight = gaussian_mean(map_here.array, lung[box], map_here.geometry, sigma_mm)
                here = border & lung[box] & (weight > MINIMAL_WEIGHT)
                out[box][here] = (mean < limit(box))[here]
    return out


def _below(values: FloatArray, limit: Limit) -> Mask:
    """Voxels below the limit, plane by plane to save memory."""
    out = np.empty(values.shape, np.bool_)
    for k, plane in enumerate(values):
        out[k] = plane < limit(k)
    return out


def _components(low: Mask, enhancement: Volume, minimal_volume_ml: float) -> NDArray[np.uint16]:
    """Label connected defects by falling volume; equal ones in array order."""
    if not minimal_volume_ml > 0:
        raise InputError(f"the smallest defect must be above 0 mL, not {minimal_volume_ml:g} mL")
    ranked = pieces(low, enhancement.geometry, at_least_ml=minimal_volume_ml)
    if ranked.max(initial=0) > np.iinfo(np.uint16).max:
        raise InputError(
            f"{int(ranked.max())} defects of {minimal_volume_ml:g} mL or more are noise; smooth "
            "the map more or raise the smallest volume of a defect"
        )
    return ranked.astype(np.uint16)


def _without_holes(
    found: Mask, measurable: Mask, enhancement: Volume, minimal_volume_ml: float
) -> Mask:
    """Fill what lies within defects and is smaller than a defect must be: noise, as islands are."""
    box = bounding_box(found, (2, 2, 2))
    inside, rest = found[box], measurable[box] & ~found[box]
    geometry = enhancement.geometry.crop(box)
    largest = minimal_volume_ml / geometry.voxel_volume_ml
    labels, sizes = connected(rest)
    small = sizes < largest
    small[0] = False
    for axis in range(3):  # what the box cuts off may be large outside of it
        for end in (0, -1):
            small[np.unique(np.take(labels, end, axis=axis))] = False
    beside = np.zeros_like(small)
    beside[np.unique(labels[ndimage.binary_dilation(inside)])] = True
    out = found.copy()
    out[box] |= (small & beside)[labels]
    return out


def _describe(
    labels: NDArray[np.uint16],
    enhancement: Volume,
    expected: FloatArray,
    regions: RegionSet,
    ct: Volume | None,
) -> Iterator[Defect]:
    geometry = enhancement.geometry
    if not labels.any():
        return
    depth = np.zeros(geometry.shape, np.float32)
    lung_ml = {}
    for lung in LUNGS:
        inside = regions.mask(lung)
        if inside.any():
            box = bounding_box(inside, (1, 1, 1))
            depth[box][inside[box]] = depth_mm(inside[box], geometry.spacing_kji_mm)[inside[box]]
            lung_ml[lung] = np.count_nonzero(inside) * geometry.voxel_volume_ml
    lung_with = {part: lung for lung in LUNGS for part in parts_of(lung, regions)}
    masks = {part: regions.mask(part) for part in lung_with}
    for label, box in enumerate(_boxes(labels), start=1):
        inside = labels[box] == label
        voxels = np.argwhere(inside) + [part.start for part in box]
        counts = {part: int(np.count_nonzero(mask[box] & inside)) for part, mask in masks.items()}
        region = max(counts, key=lambda part: counts[part])
        lung = lung_with[region]
        volume_ml = len(voxels) * geometry.voxel_volume_ml
        deep = depth[box][inside]
        density = float(np.median(ct.array[box][inside])) if ct is not None else float("nan")
        iodine = float(enhancement.array[box][inside].mean(dtype=np.float64))
        usual = float(expected[box][inside].mean(dtype=np.float64))
        r, a, s = geometry.ras_from_ijk(voxels.mean(axis=0)[::-1])
        segments = volume_ml / (lung_ml[lung] / SEGMENTS_PER_LUNG)
        yield Defect(
            label=label,
            region=region,
            volume_ml=volume_ml,
            centroid_ras_mm=(float(r), float(a), float(s)),
            iodine_hu=iodine,
            relative_iodine=iodine / usual if usual > 0 else float("nan"),
            density_hu=density,
            parenchyma=classify_parenchyma(density),
            shape=classify_shape(deep, geometry.voxel_volume_ml),
            pleural_share=float(np.mean(deep <= SUBPLEURAL_MM)),
            depth_mm=float(deep.max()),
            segments=segments,
            extent=classify_extent(segments),
        )


def _boxes(labels: NDArray[np.uint16]) -> list[Box]:
    found = ndimage.find_objects(labels)
    return [(box[0], box[1], box[2]) for box in found if box is not None]


def classify_parenchyma(density_hu: float) -> Parenchyma:
    """Name the lung beneath a defect by its median density."""
    if np.isnan(density_hu):
        return "unknown"
    if density_hu < EMPHYSEMA_BELOW_HU:
        return "emphysema"
    if density_hu < GROUND_GLASS_FROM_HU:
        return "normal"
    return "ground glass" if density_hu < AERATED_BELOW_HU else "consolidation"


def classify_extent(segments: float) -> Extent:
    """Name the extent of a defect, given in segments."""
    small, large = EXTENT_OF_SEGMENT
    return "small" if segments < small else "large" if segments > large else "moderate"


def _with_mottle(found: tuple[Defect, ...]) -> tuple[Defect, ...]:
    """Call small defects that lie among others like them mottled."""
    small = [n for n, entry in enumerate(found) if entry.volume_ml < MOTTLE_BELOW_ML]
    if len(small) <= MOTTLE_NEIGHBOURS:
        return found
    places = np.array([found[n].centroid_ras_mm for n in small])
    tree = spatial.KDTree(places)
    near = tree.query_ball_point(places, MOTTLE_REACH_MM, return_length=True)
    mottled = {n for n, count in zip(small, near, strict=True) if count - 1 >= MOTTLE_NEIGHBOURS}
    return tuple(
        replace(entry, shape="mottled") if n in mottled else entry for n, entry in enumerate(found)
    )


def classify_shape(deep_mm: FloatArray, voxel_volume_ml: float) -> Shape:
    """Name a defect by the depth of its voxels under the lung surface.

    A wedge has a base at the pleura, narrows inwards and is not flat; a subpleural band has the
    base alone; the rest is central.
    """
    if float(deep_mm.min()) > PLEURAL_CONTACT_MM:
        return "central"
    reach = float(deep_mm.max())
    base_mm2 = np.count_nonzero(deep_mm <= PLEURAL_CONTACT_MM) * voxel_volume_ml * 1000
    base_width_mm = 2 * np.sqrt(base_mm2 / PLEURAL_CONTACT_MM / np.pi)
    if reach >= max(WEDGE_MINIMAL_DEPTH_MM, WEDGE_SLENDERNESS * base_width_mm):
        area, edges = np.histogram(deep_mm, bins=max(4, int(reach / 3.0)), range=(0.0, reach))
        # the first bin is thinned by the smoothing of the map against the pleura
        taper = np.corrcoef(area[1:], edges[1:-1])[0, 1] if np.ptp(area[1:]) else 0.0
        if taper <= WEDGE_TAPER:
            return "wedge"
    return "subpleural" if float(np.mean(deep_mm <= SUBPLEURAL_MM)) >= 0.5 else "central"
