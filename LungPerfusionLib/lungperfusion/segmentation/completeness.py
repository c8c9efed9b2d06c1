"""Where on an interlobar surface a fissure is seen, and how complete it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lungperfusion.segmentation.fissures import (
    VESSEL_ABOVE_LUNG_HU,
    Float32,
    LungImage,
    Sheets,
)
from lungperfusion.segmentation.surfaces import Patch, Points, Surface
from lungperfusion.volume import Mask

NODE_MM = 2.0
"""Distance of the nodes at which a surface is judged."""

SEARCH_MM = 3.0
"""A fissure counts if it lies within this distance of the surface (2 to 3 mm: methods in use)."""

FLANK_MM = 3.5
"""Distance at which the lung beside a fissure is sampled; its blur ends before."""

STEP_MM = 0.5
REACH_MM = 18.0
BESIDE_MM = (-15.0, -10.0, 10.0, 15.0)
"""Distances of parallel surfaces whose sheets are clutter."""
CLEAR_OF_CLUTTER = 3.0
"""Sheets along a surface count where they are denser than those beside it by this factor."""
ALIGNED_COSINE = 0.85
"""Sheets along a surface differ from it in direction by less than the angle of this cosine."""
EDGE_MM = 4.0
"""Flanks nearer to the pleura than this are not read: its blur brightens them."""
JUDGED_DEPTH_MM = 6.0
"""Places nearer to the pleura are not judged: a flank of theirs may lie in its blur."""
EXTENDED_MM = 8.0
"""Standard deviation of the window of judged places whose share counts where none could be judged.
Most such places lie at the hilum, where fissures are most often absent: leaving them out would
flatter a fissure."""
LEAST_AROUND = 0.01
"""Weight of judged places in the window from which there are some."""
NULL_FROM_MM = 8.0
"""Profiles farther than this from the surface show what no fissure looks like."""

WINDOW_MM = 2.0
"""Standard deviation of the window on the surface whose mean profile is judged: noise drops out,
and at half the contrast the border between present and absent stays where it is."""

NULL_SPREADS = 3.0
"""A fissure stands out from places without one by this many robust standard deviations."""

HALF = 0.5
"""Share of a fissure's usual contrast from which it is present."""

LEAST_PIECE_MM2 = 150.0
"""Smaller pieces of fissure may be chance; they count as seen, but support no boundary."""

LEAST_CONTRAST_HU = 6.0
"""Fainter lines than this are none, however quiet the image."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is seen on a surface.

    Parameters
    ----------
    patch
        The surface in the lung.
    contrast_hu
        Line contrast at each node, shape of the patch.
    seen
        Nodes with a fissure.
    judged
        Nodes in the lung, with lung on both flanks and far enough from the pleura.
    threshold_hu
        Contrast from which a fissure is present.

    """

    patch: Patch
    contrast_hu: Points
    seen: Mask
    judged: Mask
    threshold_hu: float

    @property
    def area_mm2(self) -> float:
        """Area of the interlobar surface."""
        return float(self.patch.area_mm2.sum())

    @property
    def completeness(self) -> float:
        """Share of the surface where the fissure is seen, 0 to 1; NaN where nothing was judged.

        A place that could not be judged counts with the share seen around it; places with nothing
        judged around them are left out.
        """
        if not self.judged.any():
            return float("nan")
        judged, seen = (
            ndimage.gaussian_filter(nodes.astype(np.float64), EXTENDED_MM / NODE_MM)
            for nodes in (self.judged, self.judged & self.seen)
        )
        around = judged > LEAST_AROUND
        share = np.where(self.judged, self.seen, seen / np.maximum(judged, LEAST_AROUND))
        area = self.patch.area_mm2 * around
        return float((area * share).sum() / area.sum())

    def supported(self, reach_mm: float) -> Mask:
        """Nodes in the lung within a distance of a piece of fissure that is no chance."""
        pieces, _ = ndimage.label(self.seen)
        sizes = np.bincount(pieces.ravel()) * NODE_MM**2
        sizes[0] = 0
        firm = sizes[pieces] >= LEAST_PIECE_MM2
        if not firm.any():
            return np.zeros(self.seen.shape, np.bool_)
        away = ndimage.distance_transform_edt(~firm) * NODE_MM
        return np.asarray(self.patch.inside & (away <= reach_mm))

    def share(self, nodes: Mask) -> float:
        """Area of some nodes relative to the surface."""
        total = self.area_mm2
        return float(self.patch.area_mm2[nodes].sum()) / total if total else 0.0


def patch_in(image: LungImage, surface: Surface, inside: Mask, bound: Surface | None) -> Patch:
    """Nodes of a surface inside a lung, above another surface where one bounds it.

    Parameters
    ----------
    image
        The lung.
    surface
        Interlobar surface.
    inside
        Voxels of ``image`` that count.
    bound
        Surface below which this one does not exist (the oblique fissure for the horizontal one).

    """
    k, j, i = np.nonzero(inside[::6, ::6, ::6])
    uv = surface.local(image.geometry.ras_from_ijk(np.stack([i, j, k], axis=1) * 6.0))[:, :2]
    low = np.floor((uv.min(axis=0) - 6) / NODE_MM) * NODE_MM
    high = uv.max(axis=0) + 6
    u = np.arange(low[0], high[0], NODE_MM)[:, None]
    v = np.arange(low[1], high[1], NODE_MM)[None, :]
    u, v = np.broadcast_arrays(u, v)
    points = surface.on(u, v)
    here = image.sample(inside.astype(np.float32), points) > 0.5
    if bound is not None:
        here &= bound.side(points) > 0
    return Patch(surface, u, v, here)


@dataclass(frozen=True, eq=False)
class LineContrast:
    """How much denser than both its flanks the CT is, along the normals of a surface.

    Parameters
    ----------
    offsets_mm
        Places along the normal, shape (n,).
    hu
        Contrast at each node and place, shape of the patch and n; -inf where the lung on a flank
        is not seen.

    """

    offsets_mm: Points
    hu: Float32


def line_contrast(
    image: LungImage, flat: Float32, depth_mm: Float32, patch: Patch, *, window_mm: float
) -> LineContrast:
    """Contrast of lines across a surface, in the mean profile of a window on the surface.

    Parameters
    ----------
    image
        The lung.
    flat
        Density between the vessels (`fissures.parenchyma`).
    depth_mm
        Distance under the lung surface.
    patch
        Surface in the lung.
    window_mm
        Standard deviation of the window.

    """
    offsets = np.arange(-REACH_MM, REACH_MM + STEP_MM / 2, STEP_MM)
    vessel = image.hu > image.median_hu + VESSEL_ABOVE_LUNG_HU
    weight = ((depth_mm > EDGE_MM) & ~vessel).astype(np.float32)
    profile = profiles(image, flat, patch, offsets)
    measured = profiles(image, weight, patch, offsets) > 0.5
    window = (window_mm / NODE_MM, window_mm / NODE_MM, 0)
    known = ndimage.gaussian_filter(measured.astype(np.float32), window)
    profile = ndimage.gaussian_filter(np.where(measured, profile, 0), window)
    profile /= np.maximum(known, 1e-3)
    profile = ndimage.gaussian_filter1d(profile, 0.6 / STEP_MM, axis=2)
    flank = round(FLANK_MM / STEP_MM)
    contrast = np.full_like(profile, -np.inf)
    below, above = profile[..., : -2 * flank], profile[..., 2 * flank :]
    middle = profile[..., flank:-flank]
    whole = measured[..., flank:-flank] & measured[..., : -2 * flank] & measured[..., 2 * flank :]
    contrast[..., flank:-flank] = np.where(
        whole, np.minimum(middle - below, middle - above), -np.inf
    )
    return LineContrast(offsets, contrast)


def profiles(image: LungImage, array: Float32, patch: Patch, offsets_mm: Points) -> Float32:
    """Values of an array along the normals of a surface, shape of the patch and the offsets."""
    normals = patch.surface.normals(patch.u_mm, patch.v_mm)
    out = np.empty((*patch.inside.shape, offsets_mm.size), np.float32)
    for n, offset in enumerate(offsets_mm):
        out[..., n] = image.sample(array, patch.points_mm + offset * normals)
    return out


def fissure_evidence(
    image: LungImage, flat: Float32, depth_mm: Float32, patch: Patch, sheets: Sheets
) -> Evidence:
    """Judge at every node of a surface whether a fissure is seen there.

    A fissure is seen where the contrast is at least half of its usual one and higher than profiles
    far from the surface show without one.  Where half of it is not, it is faint, and seen where a
    sheet runs along the surface, too: it hardly exceeds the contrast of small vessels at any one
    place, and yet is coherent along itself.  The edges of a clear fissure are sharper without its
    sheets, whose filter carries them beyond.

    Parameters
    ----------
    image, flat, depth_mm, patch
        As in `line_contrast`.
    sheets
        Sheets of the lung.

    """
    lines = line_contrast(image, flat, depth_mm, patch, window_mm=WINDOW_MM)
    offsets = lines.offsets_mm
    best = ndimage.maximum_filter1d(lines.hu, round(2 * SEARCH_MM / STEP_MM) + 1, axis=2)
    centre = offsets.size // 2
    here = best[..., centre]
    # Where only places beside the surface can be read, a fissure on it would be missed.
    readable = patch.inside & np.isfinite(lines.hu[..., centre])
    judged = readable & (image.sample(depth_mm, patch.points_mm) > JUDGED_DEPTH_MM)
    far = (np.abs(offsets) >= NULL_FROM_MM) & (np.abs(offsets) <= REACH_MM - SEARCH_MM - FLANK_MM)
    null = best[..., far][patch.inside]
    null = null[np.isfinite(null)]
    if not judged.any() or not null.size:
        nothing = np.zeros(patch.inside.shape, np.bool_)
        return Evidence(patch, np.zeros(nothing.shape), nothing, nothing, LEAST_CONTRAST_HU)
    # Median and median deviation: another fissure that crosses the surface must not count.
    usual_null = float(np.median(null))
    spread = float(np.median(np.abs(null - usual_null))) / 0.6745
    floor = max(LEAST_CONTRAST_HU, usual_null + NULL_SPREADS * spread)
    certain = here[judged & (here > floor)]
    usual = float(np.median(certain)) if certain.size else floor
    threshold = max(floor, HALF * usual)
    seen = here >= threshold
    if HALF * usual < floor:
        seen |= clearly_along(patch, sheets)
    return Evidence(
        patch,
        np.where(np.isfinite(here), here, 0.0),
        readable & seen,
        judged,
        threshold,
    )


def clearly_along(patch: Patch, sheets: Sheets) -> Mask:
    """Nodes at which a sheet runs along a surface, where sheets beside the surface are fewer.

    Thick noisy slices, mottled disease and vessel walls show sheets wherever one looks.
    """
    here = along(patch, sheets)
    if not here.any():
        return here
    window = EXTENDED_MM / NODE_MM
    density = ndimage.gaussian_filter(here.astype(np.float64), window)
    beside = np.mean([along(patch, sheets, offset) for offset in BESIDE_MM], axis=0)
    clutter = ndimage.gaussian_filter(beside, window)
    return np.asarray(here & (density > CLEAR_OF_CLUTTER * clutter))


def along(patch: Patch, sheets: Sheets, offset_mm: float = 0.0) -> Mask:
    """Nodes at which a sheet runs within `SEARCH_MM` of a surface, or of a parallel one."""
    surface = patch.surface
    near = np.abs(surface.distance_mm(sheets.points_mm) - offset_mm) <= SEARCH_MM
    points, normals = sheets.points_mm[near], sheets.normals[near]
    u, v, _ = np.moveaxis(surface.local(points), -1, 0)
    cosine = np.abs(np.einsum("ij,ij->i", surface.normals(u, v), normals))
    nodes = patch.nodes_of(points[cosine > ALIGNED_COSINE])
    return np.asarray(ndimage.binary_closing(nodes, np.ones((3, 3), np.bool_)))
