"""Cross-sectional area of vessels, unbiased below the voxel; and two other published estimators.

The integral of the density above parenchyma over the cross-section, divided by the difference of
blood and parenchyma, is the area whatever the point spread (methods.md D.3).  Here the integral is
taken over the voxels around each vessel, shared among neighbouring vessels, and spread along the
axis: the same sum gives area and volume, so nothing is counted twice or lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage, stats
from scipy.spatial import cKDTree

from lungperfusion.resampling import from_sitk
from lungperfusion.vessels.centreline import Float64, Vessels
from lungperfusion.vessels.enhancement import Float32, Spacing
from lungperfusion.volume import Mask

INTEGRATION_MARGIN_MM = 1.7
"""Reach beyond the wall: three standard deviations of a point spread of 1.3 mm FWHM."""
ALONG_SIGMAS_MM = (1.6, 3.2, 6.4)
"""Gaussian windows along the axis; the first is about the mean over +-2 mm of methods.md D.3."""
LEAST_LOCAL_MM2 = 4.0
"""Vessels of this mean area keep the first window; that of thinner ones grows inversely.

The noise of an area does not depend on the area, so thin vessels need more of their length; they
taper little between two branch points, which no window passes.
"""
JUNCTION_RADII = 1.0
"""Length from a branch point, in radii, where vessels have not yet parted."""
JUNCTION_MM = 0.8
"""The same beyond these radii: where point spreads still overlap."""
APERTURE_MARGIN_MM = 0.9
"""Reach beyond the wall within which the area is measured.

Half the reach of the volume: less noise and fewer unseen neighbours; what the point spread carries
beyond is made up for with its measured width, to which the result is insensitive.
"""
LEAST_CAPTURED = 0.5
"""Less of a vessel than this lies within reach only where its rough radius is far too small."""
USUAL_BLUR_MM = 0.5
"""Standard deviation of the point spread where an image shows too few thin vessels to tell."""
LEAST_BLUR_MM = 0.15
"""Standard deviations below are not told apart: a kernel that enhances edges draws blood together
and leaves the measure at or beyond its lower end."""
THIN_MM2 = (1.0, 6.0)
"""Vessels whose spread of blood tells the point spread."""
LEAST_AREA_MM2 = 0.05
"""Smallest area that noise may leave of a vessel that was seen."""

_BIN_MM = 0.25


@dataclass(frozen=True, eq=False)
class Territory:
    """The voxels around the vessels, each owned by one axis point.

    Parameters
    ----------
    index
        Flat voxel index, ascending.
    owner
        Number of the axis point it belongs to.
    arc_mm
        Where along the owner's segment it lies.
    off_axis_mm
        Distance from the axis.

    """

    index: NDArray[np.int64]
    owner: NDArray[np.int64]
    arc_mm: Float64
    off_axis_mm: Float64


def claim_territory(
    vessels: Vessels,
    shape: tuple[int, int, int],
    spacing_kji_mm: Spacing,
    *,
    margin_mm: float = INTEGRATION_MARGIN_MM,
) -> Territory:
    """Give every voxel near a vessel to the vessel whose wall is nearest.

    The wall is that of a ball about each axis point: at a branch point the parent reaches as far
    as its radius, and its branches begin where they emerge from it.
    """
    mm = np.asarray(spacing_kji_mm)
    nearest = np.full(int(np.prod(shape)), np.float32(np.inf), np.float32)
    owner = np.full(nearest.size, -1, np.int32)
    reach = vessels.radius_mm + margin_mm
    base = np.rint(vessels.position_mm / mm).astype(np.int64)
    for points, radius in _by_reach(vessels, base, reach):
        _claim(nearest, owner, vessels, points, base, reach, radius, shape, mm)
    index = np.flatnonzero(owner >= 0)
    owned_by = owner[index].astype(np.int64)
    offset = np.stack(np.unravel_index(index, shape), axis=1) * mm
    offset -= vessels.position_mm[owned_by]
    along = np.einsum("ij,ij->i", offset, vessels.tangent[owned_by])
    squared = np.einsum("ij,ij->i", offset, offset)
    length = vessels.segment_length_mm[vessels.segment[owned_by]]
    arc = np.clip(vessels.arc_mm[owned_by] + along, 0.0, length)
    off = np.sqrt(np.maximum(squared - along**2, 0.0))
    return Territory(index, owned_by, arc, off)


def _by_reach(
    vessels: Vessels, base: NDArray[np.int64], reach: Float64
) -> list[tuple[NDArray[np.int64], float]]:
    """Points in groups of similar reach, no two points of a group in one voxel."""
    groups = []
    limits = [2.3, 2.7, 3.2, 3.8, 4.6, 5.6, 7.0, 9.0, 12.0, np.inf]
    group = np.searchsorted(limits, reach)
    for number in range(len(limits)):
        points = np.flatnonzero(group == number)
        # Rank of each point among those in its voxel: each round takes one per voxel.
        order = np.lexsort((points, *base[points].T))
        same = (np.diff(base[points[order]], axis=0) == 0).all(axis=1)
        start = np.concatenate([[True], ~same]) if points.size else np.zeros(0, bool)
        place = np.arange(points.size)
        rank = np.empty(points.size, np.int64)
        rank[order] = place - np.maximum.accumulate(np.where(start, place, 0))
        for turn in range(int(rank.max(initial=-1)) + 1):
            now = points[rank == turn]
            groups.append((now, float(reach[now].max())))
    return groups


def _claim(
    nearest: Float32,
    owner: NDArray[np.int32],
    vessels: Vessels,
    points: NDArray[np.int64],
    base: NDArray[np.int64],
    reach: Float64,
    radius: float,
    shape: tuple[int, int, int],
    mm: NDArray[np.float64],
) -> None:
    """Offer the voxels around some points to them, one offset at a time."""
    half = np.ceil(radius / mm).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in half), indexing="ij"), axis=-1)
    offsets = grid.reshape(-1, 3)
    offsets = offsets[np.linalg.norm(offsets * mm, axis=1) <= radius + np.linalg.norm(mm) / 2]
    start = (base[points] * mm - vessels.position_mm[points]).astype(np.float32)
    flat = np.ravel_multi_index(tuple(base[points].T), shape, mode="clip")
    wall = vessels.radius_mm[points].astype(np.float32)
    farthest = reach[points].astype(np.float32)
    size = np.asarray(shape)
    low, high = base[points].min(axis=0), base[points].max(axis=0)
    number = points.astype(np.int32)
    for offset in offsets:
        step = start + (offset * mm).astype(np.float32)
        distance = np.sqrt(np.einsum("ij,ij->i", step, step))
        value = distance - wall
        voxel = flat + int(offset @ (shape[1] * shape[2], shape[2], 1))
        good = distance <= farthest
        if ((low + offset) < 0).any() or ((high + offset) >= size).any():
            place = base[points] + offset
            good &= ((place >= 0) & (place < size)).all(axis=1)
        voxel, value, who = voxel[good], value[good], number[good]
        better = value < nearest[voxel]
        voxel = voxel[better]
        nearest[voxel] = value[better]
        owner[voxel] = who[better]


@dataclass(frozen=True, eq=False)
class Measured:
    """Blood along the vessels.

    Parameters
    ----------
    area_mm2
        Cross-section at each axis point.
    volume_ml
        Blood that each axis point stands for; sums to all blood of the vessels.
    blur_mm
        Standard deviation of the point spread that the areas rest on.

    """

    area_mm2: Float64
    volume_ml: Float64
    blur_mm: float


def integral_area(
    vessels: Vessels,
    territory: Territory,
    blood_fraction: NDArray[Any],
    voxel_mm3: float,
    *,
    blur: float | None = None,
) -> Measured:
    """Cross-sections from the blood in the voxels around each vessel.

    Parameters
    ----------
    vessels, territory
        Axes and the voxels that belong to them.
    blood_fraction
        Density above parenchyma over that of blood, at ``territory.index``.
    voxel_mm3
        Voxel volume.
    blur
        Standard deviation of the point spread; None measures it on the thin vessels.

    Returns
    -------
    Measured
        Areas from the blood near the axis, averaged along it over a window that thin vessels
        need longer, and made up for what the point spread carries farther;
        volumes from all of the territory.  Near branch points, where vessels have not parted, the
        area is that of the same segment beyond; a segment without free length takes its middle.

    """
    mass = blood_fraction * voxel_mm3
    volume = np.bincount(territory.owner, weights=mass, minlength=vessels.size)
    start, bins = _bins(vessels)
    place = start[vessels.segment[territory.owner]] + territory.arc_mm / _BIN_MM
    at = start[vessels.segment] + vessels.arc_mm / _BIN_MM
    free = _free_bins(vessels, _free_of_junctions(vessels), start, bins)
    # Blood beyond the ends of a segment counts as its volume, but lies in no cross-section of it.
    length = vessels.segment_length_mm[vessels.segment[territory.owner]]
    between = (territory.arc_mm > 0) & (territory.arc_mm < length)

    def area_of(part: Mask, window: NDArray[np.int64]) -> Float64:
        profile = _spread(place[part], mass[part], bins) * free
        area = np.empty(vessels.size)
        for number, sigma_mm in enumerate(ALONG_SIGMAS_MM):
            here = window == number
            ratio = _windowed(profile, free * _BIN_MM, sigma_mm / _BIN_MM)
            area[here] = np.interp(at[here], np.arange(bins) + 0.5, ratio)
        return np.maximum(_filled_from_nearest(vessels, area), LEAST_AREA_MM2)

    window = np.zeros(vessels.size, np.int64)
    area = area_of(between, window)
    window = _windows(vessels, area)
    if blur is None:
        blur = blur_mm(territory, blood_fraction, area)
    blur = USUAL_BLUR_MM if blur is None else blur
    for _ in range(2):
        radius = np.sqrt(area / np.pi)
        reach = np.minimum(radius + APERTURE_MARGIN_MM, vessels.radius_mm + INTEGRATION_MARGIN_MM)
        inner = between & (territory.off_axis_mm <= reach[territory.owner])
        area = area_of(inner, window) / np.maximum(
            captured_share(radius, reach, blur), LEAST_CAPTURED
        )
    return Measured(area, volume / 1000.0, blur)


def blur_mm(territory: Territory, blood_fraction: NDArray[Any], area_mm2: Float64) -> float | None:
    """Measure the point spread's standard deviation by the spread of blood about thin vessels.

    The mean squared distance from the axis is twice the variance of the point spread plus half
    the squared radius; the radius follows from the area, which the point spread leaves alone.

    At least `LEAST_BLUR_MM`; None where there are too few thin vessels.
    """
    area = area_mm2[territory.owner]
    reach = np.sqrt(area / np.pi) + 1.2
    thin = (area >= THIN_MM2[0]) & (area <= THIN_MM2[1]) & (territory.off_axis_mm <= reach)
    mass = float(blood_fraction[thin].sum())
    if np.count_nonzero(thin) < 500 or mass <= 0:
        return None
    squared = float((blood_fraction[thin] * territory.off_axis_mm[thin] ** 2).sum()) / mass
    disc = float((blood_fraction[thin] * area[thin]).sum()) / mass / (2 * np.pi)
    return max(float(np.sqrt(max(squared - disc, 0.0) / 2)), LEAST_BLUR_MM)


def captured_share(radius_mm: Float64, reach_mm: Float64, blur_mm: float) -> Float64:
    """Share of a blurred disc's density within a circle about its centre.

    A point at distance d from the centre, blurred, lies within the circle with the probability of
    a noncentral chi-square; the disc is an average over five rings of equal area.
    """
    rings = np.sqrt((np.arange(5) + 0.5) / 5)
    scaled = (reach_mm / blur_mm) ** 2
    shares = [
        stats.ncx2.cdf(scaled, 2, np.maximum((ring * radius_mm / blur_mm) ** 2, 1e-6))
        for ring in rings
    ]
    return np.asarray(np.mean(shares, axis=0))


def _windows(vessels: Vessels, area_mm2: Float64) -> NDArray[np.int64]:
    """Choose the window of each point by the mean area of its segment."""
    points = np.bincount(vessels.segment, minlength=vessels.count)
    mean = np.bincount(vessels.segment, area_mm2, vessels.count) / np.maximum(points, 1)
    needed = ALONG_SIGMAS_MM[0] * LEAST_LOCAL_MM2 / np.maximum(mean, LEAST_AREA_MM2)
    borders = np.sqrt(np.multiply(ALONG_SIGMAS_MM[1:], ALONG_SIGMAS_MM[:-1]))
    return np.searchsorted(borders, needed)[vessels.segment]


def _windowed(profile: Float64, length: Float64, sigma: float) -> Float64:
    """Profile over length, both seen through a Gaussian window; NaN where there is no length."""
    total, seen = (
        ndimage.gaussian_filter1d(array, sigma, mode="constant", truncate=4.0)
        for array in (profile, length)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(seen > 1e-6, total / seen, np.nan)


def _bins(vessels: Vessels) -> tuple[Float64, int]:
    """First bin of each segment on one long axis, with gaps that no window bridges.

    At least one bin: a lung may hold no vessel.
    """
    gap = int(np.ceil(4 * ALONG_SIGMAS_MM[-1] / _BIN_MM)) + 2
    counts = np.ceil(vessels.segment_length_mm / _BIN_MM).astype(np.int64) + 1
    start = np.cumsum(counts + gap) - counts
    return start.astype(np.float64), int(start[-1] + counts[-1] + gap) if counts.size else 1


def _spread(place: Float64, mass: Float64, bins: int) -> Float64:
    return np.bincount(np.floor(place).astype(np.int64), weights=mass, minlength=bins)[:bins]


def _free_of_junctions(vessels: Vessels) -> Mask:
    """Axis points that lie clear of the ends of all segments, where vessels part, meet or stop.

    Counts ends that are not joined, too: a branch whose first millimetres were not seen blends
    into its parent there, and the tip of a vessel into the lung.  A segment without a free
    millimetre gives its middle third.
    """
    ends = np.concatenate([vessels.first, vessels.last])
    reach = JUNCTION_RADII * float(vessels.radius_mm.max(initial=0.0)) + JUNCTION_MM
    near = cKDTree(vessels.position_mm[ends]).sparse_distance_matrix(
        cKDTree(vessels.position_mm), reach, output_type="ndarray"
    )
    end, point = ends[near["i"]], near["j"]
    widest = np.maximum(vessels.radius_mm[end], vessels.radius_mm[point])
    blends = near["v"] < JUNCTION_RADII * widest + JUNCTION_MM
    free = np.ones(vessels.size, np.bool_)
    free[point[blends]] = False
    length = np.bincount(
        vessels.segment, weights=free * vessels.point_length_mm, minlength=vessels.count
    )
    along = vessels.arc_mm / np.maximum(vessels.segment_length_mm, 1e-9)[vessels.segment]
    middle = np.abs(along - 0.5) <= 1 / 6 + 1e-9
    short = (length < 1.0)[vessels.segment]
    no_middle = np.bincount(vessels.segment, weights=middle, minlength=vessels.count) == 0
    return np.where(short, middle | no_middle[vessels.segment], free)


def _free_bins(vessels: Vessels, free: Mask, start: Float64, bins: int) -> Float64:
    """Share of each bin that lies on a segment and is free: as the nearest axis point."""
    cover = np.zeros(bins)
    length = vessels.segment_length_mm
    counts = np.ceil(length / _BIN_MM).astype(np.int64)
    segment = np.repeat(np.arange(vessels.count), counts)
    number = np.arange(segment.size) - np.repeat(np.cumsum(counts) - counts, counts)
    points = vessels.last - vessels.first
    share = (number + 0.5) * _BIN_MM / np.maximum(length, 1e-9)[segment]
    nearest = vessels.first[segment] + np.rint(np.minimum(share, 1.0) * points[segment])
    part = np.clip(length[segment] / _BIN_MM - number, 0.0, 1.0)
    cover[start[segment].astype(np.int64) + number] = part * free[nearest.astype(np.int64)]
    return cover


def _filled_from_nearest(vessels: Vessels, area: Float64) -> Float64:
    """Within each segment, take the nearest point that has an area."""
    known = np.flatnonzero(np.isfinite(area))
    if known.size == area.size or not known.size:
        return np.nan_to_num(area)
    number = np.arange(area.size)
    right = np.searchsorted(known, number).clip(0, known.size - 1)
    left = (right - 1).clip(0)
    far = 1e9 * np.ones(area.size)

    def cost(candidate: NDArray[np.int64]) -> Float64:
        same = vessels.segment[known[candidate]] == vessels.segment
        return np.where(same, np.abs(known[candidate] - number), far)

    nearest = np.where(cost(left) < cost(right), left, right)
    filled = area[known[nearest]]
    filled[np.minimum(cost(left), cost(right)) >= far] = 0.0
    return np.where(np.isfinite(area), area, filled)


SIGMA_ZERO_VOXELS = 1 / (2 * np.sqrt(2.0))
"""Blur of a voxel in the scale-space estimate of the Chest Imaging Platform."""


def distance_transform_area(
    vessels: Vessels,
    territory: Territory,
    blood_fraction: NDArray[Any],
    shape: tuple[int, int, int],
    spacing_kji_mm: Spacing,
) -> Float64:
    """Area of a disc whose radius is the distance from the axis voxel to the nearest empty one.

    Empty are voxels of less than half the density of blood.  The estimator of methods that combine
    a skeleton with a distance transform; biased below three voxels (methods.md
    D.2, D.3) and here for comparison.

    Returns
    -------
    ndarray
        Cross-section at each axis point, mm2.

    """
    empty = np.ones(shape, np.uint8)
    empty.ravel()[territory.index[blood_fraction >= 0.5]] = 0
    image = sitk.GetImageFromArray(empty)
    image.SetSpacing([float(mm) for mm in spacing_kji_mm[::-1]])
    distance = from_sitk(
        sitk.SignedMaurerDistanceMap(
            image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
        )
    )
    place = np.rint(vessels.position_mm / np.asarray(spacing_kji_mm)).astype(int)
    place = np.clip(place, 0, np.asarray(shape) - 1)
    radius = np.maximum(distance[tuple(place.T)].astype(np.float64), 0.0)
    return np.asarray(np.pi * radius**2)


def scale_space_area(vessels: Vessels, spacing_kji_mm: Spacing) -> Float64:
    """Area after the best scale, with the formula of the Chest Imaging Platform.

    ``r = sqrt(2) (sqrt(s^2 + (s0 v)^2) - 0.5 s0 v)`` with scale s in mm, geometric mean spacing v
    and s0 = 1 / (2 sqrt 2) (methods.md D.2); biased with the point spread and here for comparison.
    """
    voxel = float(np.cbrt(np.prod(spacing_kji_mm)))
    blur = float(SIGMA_ZERO_VOXELS) * voxel
    radius = np.sqrt(2.0) * (np.sqrt(vessels.scale_mm**2 + blur**2) - 0.5 * blur)
    return np.asarray(np.pi * radius**2)
