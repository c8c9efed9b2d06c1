"""Thin sheets that vessels pass through or touch, such as fissures and septa.

A sheet thinner than the point spread adds to every voxel near it.  Clear of the vessels it stands
out by its shape; from there its plane and the density it holds go on to the vessel's wall, so that
what it adds beside the vessel can be taken off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse, special
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from lungperfusion.vessels.area import USUAL_BLUR_MM, Territory
from lungperfusion.vessels.background import Background
from lungperfusion.vessels.centreline import Float64, Vessels
from lungperfusion.vessels.enhancement import (
    RIDGE_OFFSET_VOXELS,
    Float32,
    Spacing,
    axis_scales_mm,
    curvature_noise_hu,
    curved,
    eigenvalues,
    first_derivatives,
    second_derivatives,
    smooth_mm,
    symmetric_matrices,
)
from lungperfusion.volume import Mask

SHEET_SCALE_MM = 0.7
"""Fissures are thinner than any scale at which they stand out from the noise."""
LEAST_CURVATURE_HU = 30.0
"""Sheets are curved at least this much across, in units of the scale,"""
LEAST_OVER_NOISE = 4.0
"""and this much more than the noise of the scale."""
FLATNESS = 0.3
"""Largest curvature within a sheet, as a share of that across it."""
CLEAR_OF_WALL_MM = 0.9
"""Nearer to a vessel's wall, the vessel itself curves the density as a sheet does."""
LINK_MM = 1.5
"""Points of a sheet at most this far apart, along the sheet, hold together."""
LINK_COSINE = 0.8
"""So parallel are their normals, and so far off them the link."""
LEAST_SHEET_MM2 = 50.0
"""Smaller sheets are noise or edges of something else."""
BEYOND_MM = 5.0
"""How far a sheet is taken to go on towards a vessel: past its flank to the axis of wide ones."""
NEAREST_POINTS = 8
"""Points of a sheet whose mean plane and density hold beside them."""


@dataclass(frozen=True, eq=False)
class Sheets:
    """Points on sheets.

    Parameters
    ----------
    index
        Flat voxel index, ascending.
    position_mm
        Grid mm, below the voxel, shape (n, 3).
    normal
        Unit vector across the sheet, sign arbitrary, shape (n, 3).
    peak_hu
        Density on the sheet at the scale at which it was found.
    blur_mm
        Standard deviation of the point spread that it was seen with.

    """

    index: NDArray[np.int64]
    position_mm: Float64
    normal: Float64
    peak_hu: Float64
    blur_mm: float = USUAL_BLUR_MM

    def take(self, chosen: NDArray[Any]) -> Sheets:
        """Take some of the points."""
        return Sheets(
            self.index[chosen],
            self.position_mm[chosen],
            self.normal[chosen],
            self.peak_hu[chosen],
            self.blur_mm,
        )


def sheet_points(image_hu: Float32, mask: Mask, spacing_kji_mm: Spacing) -> Sheets:
    """Find voxels that a sheet passes through: curved across it and in no other direction.

    Parameters
    ----------
    image_hu
        Image, float32, shape (K, J, I).
    mask
        Where to look, not on the border of the image.
    spacing_kji_mm
        Voxel size.

    """
    smooth = smooth_mm(image_hu, SHEET_SCALE_MM, spacing_kji_mm)
    units = axis_scales_mm(SHEET_SCALE_MM, spacing_kji_mm)
    noise = curvature_noise_hu(smooth, mask, spacing_kji_mm, units)
    least = max(LEAST_CURVATURE_HU, LEAST_OVER_NOISE * noise)
    parts = [
        _on_sheet(smooth, index, spacing_kji_mm, units, least)
        for index, _ in curved(
            smooth, mask, spacing_kji_mm, least * (1 - 2 * FLATNESS), np.inf, units
        )
    ]
    return Sheets(
        np.concatenate([part.index for part in parts]),
        np.concatenate([part.position_mm for part in parts]),
        np.concatenate([part.normal for part in parts]),
        np.concatenate([part.peak_hu for part in parts]),
    )


def _on_sheet(
    smooth: Float32, index: NDArray[np.int64], spacing: Spacing, units: Spacing, least_hu: float
) -> Sheets:
    """Voxels whose centre lies on a sheet, to less than a voxel."""
    jet = second_derivatives(smooth, index, spacing, units)
    low, middle, high = eigenvalues(jet)
    flat = np.maximum(np.abs(middle), np.abs(high)) < -FLATNESS * low
    chosen = (low < -least_hu) & flat
    index = index[chosen]
    values, vectors = np.linalg.eigh(symmetric_matrices(jet[:, chosen]))
    across, curvature = vectors[:, :, 0], values[:, 0]
    slope = np.einsum("ni,in->n", across, first_derivatives(smooth, index, spacing, units))
    step = -slope / curvature
    offset = step[:, None] * across * units
    near = (np.abs(offset) <= RIDGE_OFFSET_VOXELS * np.asarray(spacing)).all(axis=1)
    normal = across / units
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    position = np.stack(np.unravel_index(index, smooth.shape), axis=1) * spacing + offset
    peak = smooth.ravel()[index] - curvature * step**2 / 2
    return Sheets(index[near], position[near], normal[near], peak[near])


def clear_sheets(
    points: Sheets, vessels: Vessels, territory: Territory, spacing_kji_mm: Spacing
) -> Sheets:
    """Points clear of the vessels, of sheets that are large enough."""
    beside = territory.off_axis_mm <= vessels.radius_mm[territory.owner] + CLEAR_OF_WALL_MM
    points = points.take(np.flatnonzero(~np.isin(points.index, territory.index[beside])))
    if not points.index.size:
        return points
    pairs = cKDTree(points.position_mm).query_pairs(LINK_MM, output_type="ndarray")
    a, b = pairs.T
    link = points.position_mm[b] - points.position_mm[a]
    length = np.linalg.norm(link, axis=1)
    parallel = np.abs(np.einsum("ij,ij->i", points.normal[a], points.normal[b])) > LINK_COSINE
    off = np.abs(np.einsum("ij,ij->i", link, points.normal[a])) > LINK_COSINE * length
    a, b = pairs[parallel & ~off].T
    graph = sparse.coo_array((np.ones(a.size), (a, b)), shape=(points.index.size,) * 2)
    sheet = csgraph.connected_components(graph, directed=False)[1]
    face_mm2 = float(np.prod(spacing_kji_mm)) ** (2 / 3)
    large = np.bincount(sheet) * face_mm2 >= LEAST_SHEET_MM2
    return points.take(np.flatnonzero(large[sheet]))


def sheet_excess_hu(
    sheets: Sheets,
    vessels: Vessels,
    territory: Territory,
    background: Background,
    spacing_kji_mm: Spacing,
) -> Float64:
    """Density that sheets add at every voxel of the territory.

    The mean plane of the nearest points goes on towards the vessel and ends at its wall.  Its
    density above the parenchyma, summed across it, follows from the peak at the scale at which it
    was found.  The point spread distributes it across the plane, and along the plane over the
    border at the wall.
    """
    excess = np.zeros(territory.index.size)
    if sheets.index.size < NEAREST_POINTS:
        return excess
    place = np.stack(np.unravel_index(territory.index, background.shape), axis=1) * spacing_kji_mm
    distance, nearest = cKDTree(sheets.position_mm).query(
        place, k=NEAREST_POINTS, distance_upper_bound=BEYOND_MM
    )
    near = np.flatnonzero(np.isfinite(distance[:, -1]))
    nearest = nearest[near]
    normal = sheets.normal[nearest]
    offset = place[near, None] - sheets.position_mm[nearest]
    # The normals' signs are arbitrary: take them all to the side of the first.
    side = np.sign(np.einsum("nkj,nj->nk", normal, normal[:, 0]))
    normal *= side[..., None]
    height = np.einsum("nkj,nkj->nk", offset, normal).mean(axis=1)
    peak = (sheets.peak_hu - background.at(sheets.index))[nearest].mean(axis=1)
    blur = sheets.blur_mm
    profile = peak * np.hypot(SHEET_SCALE_MM, blur) / blur * np.exp(-(height**2) / (2 * blur**2))
    foot = place[near] - height[:, None] * normal.mean(axis=1)
    owner = territory.owner[near]
    from_axis = foot - vessels.position_mm[owner]
    along = np.einsum("ij,ij->i", from_axis, vessels.tangent[owner])
    off_axis = np.sqrt(np.maximum((from_axis**2).sum(axis=1) - along**2, 0.0))
    outside = special.ndtr((off_axis - vessels.radius_mm[owner]) / blur)
    excess[near] = profile * outside
    return excess


def around_sheets(sheets: Sheets, shape: tuple[int, int, int], spacing_kji_mm: Spacing) -> Mask:
    """Voxels that sheets blur into."""
    out = np.zeros(shape, np.bool_)
    out.ravel()[sheets.index] = True
    reach = [round(CLEAR_OF_WALL_MM / mm) for mm in spacing_kji_mm]
    return np.asarray(ndimage.maximum_filter(out, [2 * n + 1 for n in reach]))
