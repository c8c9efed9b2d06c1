"""Lobes of the lungs: a smooth surface per fissure, from what is seen of it.

A plane is searched that collects visible sheet and crosses few vessels (fissures part vessel
trees), within the range that anatomy leaves.  It is then bent to the visible fissure by robust
least squares that trusts ever closer points, and to the gap between the vessels where nothing is
seen.  How much of each boundary rests on visible fissure is its confidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.morphology import distance_mm
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.segmentation.completeness import (
    NODE_MM,
    Evidence,
    fissure_evidence,
    patch_in,
)
from lungperfusion.segmentation.fissures import (
    GRID_MM,
    SKIN_MM,
    VESSEL_ABOVE_LUNG_HU,
    Float32,
    LungImage,
    Sheets,
    find_faint_sheets,
    find_sheets,
    lung_image,
    parenchyma,
)
from lungperfusion.segmentation.surfaces import Points, Surface, fitted
from lungperfusion.terms import AIRWAYS, LOBES, LUNGS, STRUCTURES, Region, title
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume, bounding_box

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class FissurePlan:
    """Where a fissure may lie; heights and places as shares of the lung's box.

    Parameters
    ----------
    id
        Identifier.
    lung
        Side it lies in.
    above, below
        Lobes that it parts.
    at
        Place (outward, forward) at which its height is given.
    height
        Least and greatest height at that place.
    forward_degrees, outward_degrees
        Descent toward the front and the side.
    within
        Fissure above which it lies, if it ends there.

    """

    id: str
    lung: Region
    above: tuple[Region, ...]
    below: tuple[Region, ...]
    at: tuple[float, float]
    height: Range
    forward_degrees: Range
    outward_degrees: Range
    within: str = ""


PLANS: dict[str, FissurePlan] = {
    plan.id: plan
    for plan in (
        FissurePlan(
            id="left_oblique_fissure",
            lung=Region.LEFT_LUNG,
            above=(Region.LEFT_UPPER_LOBE,),
            below=(Region.LEFT_LOWER_LOBE,),
            at=(0.5, 0.5),
            height=(0.3, 0.75),
            forward_degrees=(30.0, 75.0),
            outward_degrees=(-35.0, 35.0),
        ),
        FissurePlan(
            id="right_oblique_fissure",
            lung=Region.RIGHT_LUNG,
            above=(Region.RIGHT_UPPER_LOBE, Region.RIGHT_MIDDLE_LOBE),
            below=(Region.RIGHT_LOWER_LOBE,),
            at=(0.5, 0.5),
            height=(0.3, 0.75),
            forward_degrees=(30.0, 75.0),
            outward_degrees=(-35.0, 35.0),
        ),
        FissurePlan(
            id="right_horizontal_fissure",
            lung=Region.RIGHT_LUNG,
            above=(Region.RIGHT_UPPER_LOBE,),
            below=(Region.RIGHT_MIDDLE_LOBE,),
            at=(0.5, 0.7),
            height=(0.35, 0.75),
            forward_degrees=(-25.0, 35.0),
            outward_degrees=(-25.0, 35.0),
            within="right_oblique_fissure",
        ),
    )
}
"""Obliques run from the back at the fifth vertebra to the front at the diaphragm, the horizontal
one from the hilum level outward and forward (Gray's Anatomy); ranges are wide on purpose."""

PLANE_TOLERANCE_MM = 4.0
"""Fissures bend out of their plane by about this much."""
SURROUNDINGS_MM = 16.0
"""Sheet and vessels at a plane are compared with those within about this distance."""
VESSEL_WEIGHT = 0.15
"""Crossing as many vessels as the surroundings hold costs as much as 15 % of visible fissure."""
PRIOR_WEIGHT = 0.08
"""What lying at the end of the anatomical range costs, as a share of visible fissure."""

TRUST_MM = (12.0, 9.0, 7.0, 5.0, 4.0, 3.0, 2.5, 2.0)
"""Distances within which points are trusted, from the first to the last fit."""

GAP_WINDOW_MM = 10.0
GAP_SEARCH_MM = 10.0
GAP_TRUST = 0.03
"""Weight of the gap between vessels, relative to visible fissure."""

CLEARLY_SEEN = 0.3
"""Share of a boundary that must be seen as a sharp sheet not to look for a faint one."""

SUPPORT_MM = 10.0
"""Boundary within this distance of visible fissure is known, not guessed."""

FIELD_MM = 4.0
"""Surfaces are evaluated at this distance and interpolated: they bend far less in between."""

_SAMPLE = 9000


@dataclass(frozen=True, eq=False, kw_only=True)
class Boundary:
    """One interlobar boundary with what supports it."""

    plan: FissurePlan
    surface: Surface
    evidence: Evidence
    user_points_mm: Points = field(default_factory=lambda: np.zeros((0, 3)))
    """Points that the user put on it."""
    origin: Literal["sharp", "faint", "imported"] = "sharp"
    """Where the surface is from: fissure that stands out, that shows only when averaged along
    itself, or lobes that were given."""

    @property
    def support(self) -> float:
        """Share of the boundary near visible fissure or near points of the user, 0 to 1."""
        patch = self.evidence.patch
        near = self.evidence.supported(SUPPORT_MM)
        if len(self.user_points_mm):
            u, v, _ = np.moveaxis(self.surface.local(self.user_points_mm), -1, 0)
            for a, b in zip(u, v, strict=True):
                near = near | (np.hypot(patch.u_mm - a, patch.v_mm - b) <= SUPPORT_MM)
        return self.evidence.share(near & patch.inside)


@dataclass(frozen=True, eq=False)
class Prepared:
    """One lung made ready for fitting; computed once, used by every correction."""

    image: LungImage
    flat: Float32
    depth_mm: Float32
    """Distance under the surface of the lung."""
    sheets: Sheets
    vessels_mm: Points
    """Some places of vessels in RAS mm."""
    filling_mm: Points
    """Some places of the whole lung in RAS mm."""

    @property
    def inside(self) -> Mask:
        """Voxels deep enough under the surface to be judged."""
        return np.asarray(self.depth_mm > SKIN_MM)


def prepare_lung(ct: Volume, lungs: Labelmap, side: Region) -> Prepared:
    """Bring one lung onto the working grid and find its sheets and vessels.

    Parameters
    ----------
    ct
        Chest CT in HU.
    lungs
        ``left_lung``, ``right_lung`` and, where known, ``airways``.
    side
        Which lung.

    """
    image = lung_image(ct, lungs.mask(side), lungs.mask(AIRWAYS))
    depth = distance_mm(~image.lung, (GRID_MM, GRID_MM, GRID_MM))
    flat = parenchyma(image, depth)
    sheets = find_sheets(image, flat, depth)
    bright = (image.hu > image.median_hu + VESSEL_ABOVE_LUNG_HU) & (depth > 2 * SKIN_MM)
    index, filling = np.flatnonzero(bright), np.flatnonzero(depth > SKIN_MM)
    step = max(1, index.size // (2 * _SAMPLE))
    return Prepared(
        image=image,
        flat=flat,
        depth_mm=depth,
        sheets=sheets,
        vessels_mm=image.points_mm(index[::step]),
        filling_mm=image.points_mm(filling[:: max(1, filling.size // _SAMPLE)]),
    )


# ----------------------------------------------------------------------------------- search


def search_plane(
    lung: Prepared, sheets: Sheets, plan: FissurePlan, bound: Surface | None
) -> tuple[Points, Points]:
    """Find the plane that collects most sheet and fewest vessels.

    Returns
    -------
    origin_mm, normal
        Point of the plane in the middle of the lung, and its upward normal.

    """
    low, high = _lung_box(lung.image)
    outward = 1.0 if plan.lung is Region.RIGHT_LUNG else -1.0
    share_r = plan.at[0] if outward > 0 else 1 - plan.at[0]
    at = np.array([low[0] + share_r * (high[0] - low[0]), low[1] + plan.at[1] * (high[1] - low[1])])
    height = high[2] - low[2]

    def beyond(points: Points) -> NDArray[np.bool_]:
        if bound is None:
            return np.ones(len(points), np.bool_)
        return np.asarray(bound.side(points) > PLANE_TOLERANCE_MM)

    keep = beyond(sheets.points_mm)
    sheet, normals, weights = _thinned(
        sheets.points_mm[keep],
        sheets.normals[keep],
        np.minimum(sheets.strength[keep], 3.0) / 3.0 * GRID_MM**2,
    )
    vessels, *_ = _thinned(lung.vessels_mm[beyond(lung.vessels_mm)])
    filling = lung.filling_mm[beyond(lung.filling_mm)]
    voxel_mm3 = np.count_nonzero(lung.inside) * GRID_MM**3 / len(lung.filling_mm)
    best = (-np.inf, np.zeros(3), np.zeros(3))
    shares = np.arange(plan.height[0], plan.height[1] + 1e-9, 3.0 / height)
    levels = low[2] + shares * height
    for forward, out in product(
        np.arange(plan.forward_degrees[0], plan.forward_degrees[1] + 1, 5.0),
        np.arange(plan.outward_degrees[0], plan.outward_degrees[1] + 1, 5.0),
    ):
        slope = np.array([-outward * np.tan(np.radians(out)), -np.tan(np.radians(forward))])
        normal = np.array([-slope[0], -slope[1], 1.0])
        normal /= np.linalg.norm(normal)
        cosine = np.abs(normals @ normal)
        amount = weights * np.clip((cosine - 0.6) / 0.4, 0, 1)
        near_mm, around_mm = PLANE_TOLERANCE_MM, SURROUNDINGS_MM
        filled = _over(filling, at, slope), np.full(len(filling), voxel_mm3)
        sheets_at = _over(sheet, at, slope), amount * near_mm * np.sqrt(2 * np.pi)
        vessels_at = _over(vessels, at, slope), np.ones(len(vessels))
        (area, area_around), (seen, seen_around), (crossed, crossed_around) = (
            [_histogram(rise, of, levels, normal[2], width) for width in (near_mm, around_mm)]
            for rise, of in (filled, sheets_at, vessels_at)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            cover = np.nan_to_num(seen / area) - np.nan_to_num(seen_around / area_around)
            density = np.maximum(crossed_around / area_around, 1e-9)
            crossing = np.nan_to_num(crossed / area / density, nan=1.0)
        prior = sum(
            _unlikely(value, limits) ** 2
            for value, limits in (
                (shares, plan.height),
                (forward, plan.forward_degrees),
                (out, plan.outward_degrees),
            )
        )
        score = cover - VESSEL_WEIGHT * crossing - PRIOR_WEIGHT * prior
        score = np.where(area > 0.2 * np.max(area), score, -np.inf)
        n = int(np.argmax(score))
        if score[n] > best[0]:
            best = (float(score[n]), np.array([at[0], at[1], levels[n]]), normal)
    return best[1], best[2]


def _unlikely(value: Any, limits: Range) -> Any:
    """0 in the middle of a range, 1 at its ends."""
    return (value - (limits[0] + limits[1]) / 2) / ((limits[1] - limits[0]) / 2)


def _over(points: Points, at: Points, slope: Points) -> Points:
    """Level at ``at`` of the plane of a slope through each point."""
    return np.asarray(points[:, 2] - (points[:, :2] - at) @ slope)


def _histogram(
    rise: Points, amount: Points, levels: Points, cosine: float, tolerance_mm: float
) -> Points:
    """Amount near the planes of all levels, by their Gaussian distance, per mm of distance."""
    width = levels[1] - levels[0]
    pad = int(np.ceil(4 * tolerance_mm / cosine / width))
    edges = levels[0] + width * (np.arange(-pad, len(levels) + pad + 1) - 0.5)
    counts, _ = np.histogram(rise, bins=edges, weights=amount)
    smooth = ndimage.gaussian_filter1d(counts, tolerance_mm / cosine / width, mode="constant")
    return np.asarray(smooth[pad:-pad] / (width * cosine))


def _thinned(points: Points, *more: Points) -> tuple[Points, ...]:
    """Every n-th point, weights scaled up."""
    step = max(1, len(points) // (3 * _SAMPLE))
    out = [points[::step]]
    for n, values in enumerate(more):
        out.append(values[::step] * (step if n == len(more) - 1 else 1))
    return tuple(out)


def _lung_box(image: LungImage) -> tuple[Points, Points]:
    box = bounding_box(image.lung)
    ends = np.array([[part.start, part.stop - 1] for part in box[::-1]], float)
    return image.geometry.ras_from_ijk(ends[:, 0]), image.geometry.ras_from_ijk(ends[:, 1])


# -------------------------------------------------------------------------------------- fit


def fit_fissure(lung: Prepared, plan: FissurePlan, bound: Surface | None = None) -> Boundary:
    """Place one fissure in a lung and judge how much of it is seen.

    Where hardly any of it stands out, it is sought again as a faint sheet that shows only when
    averaged along itself.

    Parameters
    ----------
    lung
        From `prepare_lung`.
    plan
        Which fissure.
    bound
        Surface above which it lies.

    """
    sharp = _judged(lung, plan, _fit(lung, lung.sheets, plan, bound), bound)
    if sharp.evidence.completeness >= CLEARLY_SEEN:
        return sharp
    faint = find_faint_sheets(
        lung.image,
        lung.flat,
        lung.depth_mm,
        plan.forward_degrees,
        plan.outward_degrees,
        1.0 if plan.lung is Region.RIGHT_LUNG else -1.0,
    )
    return _judged(lung, plan, _fit(lung, faint, plan, bound), bound, origin="faint")


def _fit(lung: Prepared, sheets: Sheets, plan: FissurePlan, bound: Surface | None) -> Surface:
    """Bend the best plane to the sheets near it, trusting ever closer ones."""
    origin, normal = search_plane(lung, sheets, plan, bound)
    surface = Surface.flat(origin, normal, lung.filling_mm)
    points, normals, strength = (
        sheets.points_mm,
        sheets.normals,
        np.minimum(sheets.strength, 3.0) / 3.0,
    )
    if bound is not None:
        above = bound.side(points) > 2.0
        points, normals, strength = points[above], normals[above], strength[above]
    near = np.abs(surface.distance_mm(points)) < 3 * TRUST_MM[0]
    points, normals, strength = points[near], normals[near], strength[near]
    for number, trust_mm in enumerate(TRUST_MM):
        away = surface.distance_mm(points)
        u, v, _ = np.moveaxis(surface.local(points), -1, 0)
        cosine = np.abs(np.einsum("ij,ij->i", surface.normals(u, v), normals))
        like = np.clip((cosine - 0.7) / 0.3, 0, 1)
        weights = strength * like * GRID_MM**2 / (1 + (away / trust_mm) ** 2) ** 2
        chosen = weights > 1e-3
        pull, pull_weights = points[chosen], weights[chosen]
        if number >= 2:
            gaps, gap_weights = _vessel_gaps(lung, surface, pull[pull_weights > 0.1], bound)
            pull = np.concatenate([pull, gaps])
            pull_weights = np.concatenate([pull_weights, gap_weights])
        surface = fitted(surface, pull, pull_weights)
    return surface


def _judged(
    lung: Prepared, plan: FissurePlan, surface: Surface, bound: Surface | None, **more: Any
) -> Boundary:
    patch = patch_in(lung.image, surface, lung.image.lung, bound)
    evidence = fissure_evidence(lung.image, lung.flat, lung.depth_mm, patch)
    return Boundary(plan=plan, surface=surface, evidence=evidence, **more)


def _vessel_gaps(
    lung: Prepared, surface: Surface, seen_mm: Points, bound: Surface | None
) -> tuple[Points, Points]:
    """Points in the gap between vessels, where no fissure is seen near the surface.

    At nodes 8 mm apart the vessels around are summed along the normal; the gap is where they,
    with a mild cost of leaving the surface, are fewest.
    """
    step = 8.0
    local = surface.local(lung.filling_mm)
    low, high = local[:, :2].min(axis=0), local[:, :2].max(axis=0)
    grid = np.meshgrid(np.arange(low[0], high[0], step), np.arange(low[1], high[1], step))
    u, v = (np.asarray(axis).ravel() for axis in grid)
    points = surface.on(u, v)
    free = lung.image.sample(lung.image.lung.astype(np.float32), points) > 0.5
    if bound is not None:
        free &= bound.side(points) > 4.0
    if len(seen_mm):
        su, sv, _ = np.moveaxis(surface.local(seen_mm), -1, 0)
        shape = (int((high[0] - low[0]) / step) + 2, int((high[1] - low[1]) / step) + 2)
        counts = np.zeros(shape)
        iu = np.clip(((su - low[0]) / step + 0.5).astype(int), 0, shape[0] - 1)
        iv = np.clip(((sv - low[1]) / step + 0.5).astype(int), 0, shape[1] - 1)
        np.add.at(counts, (iu, iv), 1.0)
        nu = np.clip(((u - low[0]) / step + 0.5).astype(int), 0, shape[0] - 1)
        nv = np.clip(((v - low[1]) / step + 0.5).astype(int), 0, shape[1] - 1)
        free &= counts[nu, nv] * GRID_MM**2 < 0.25 * step**2
    u, v = u[free], v[free]
    if not u.size or not len(lung.vessels_mm):
        return np.zeros((0, 3)), np.zeros(0)
    vu, vv, vh = np.moveaxis(surface.local(lung.vessels_mm), -1, 0)
    vh = vh - surface.height(vu, vv)
    close = np.abs(vh) < GAP_SEARCH_MM + 8
    vu, vv, vh = vu[close], vv[close], vh[close]
    offsets = np.arange(-GAP_SEARCH_MM, GAP_SEARCH_MM + 0.1, 1.0)
    best = np.zeros(u.size)
    for n in range(u.size):
        around = np.hypot(vu - u[n], vv - v[n])
        near = around < 2 * GAP_WINDOW_MM
        weight = np.exp(-0.5 * (around[near] / GAP_WINDOW_MM) ** 2)
        crowd = (
            weight[None] * np.exp(-0.5 * ((vh[near][None] - offsets[:, None]) / 2.5) ** 2)
        ).sum(axis=1)
        best[n] = offsets[np.argmin(crowd / (crowd.mean() + 1e-9) + 0.3 * (offsets / 10) ** 2)]
    target = surface.height(u, v) + best
    return surface.world(np.stack([u, v, target], axis=-1)), np.full(u.size, GAP_TRUST * step**2)


# ------------------------------------------------------------------------------------ labels


@dataclass(frozen=True, eq=False, kw_only=True)
class LobeSegmentation:
    """Lobes with their boundaries.

    Parameters
    ----------
    labelmap
        The lobes, on the grid of the CT.
    boundaries
        By fissure ID; fissures between lobes that are not there have none.
    absent
        Lobes that cannot be had, with the reason.
    prepared
        Working data of each lung, for corrections.

    """

    labelmap: Labelmap
    boundaries: Mapping[str, Boundary]
    absent: Mapping[Region, str]
    prepared: Mapping[Region, Prepared]


LOBE_NAMES = {STRUCTURES[lobe].label: lobe.value for lobe in LOBES}


def segment_lobes(
    ct: Volume,
    lungs: Labelmap,
    *,
    removed: tuple[Region, ...] = (),
    progress: Progress = ignore,
) -> LobeSegmentation:
    """Divide the lungs into lobes along their fissures.

    Parameters
    ----------
    ct
        Chest CT in HU.
    lungs
        ``left_lung``, ``right_lung`` and, where known, ``airways``, on the grid of the CT.
    removed
        Lobes that an operation has taken; their space belongs to the remaining ones.

    """
    ct.require_unit("HU", "the chest CT")
    ct.geometry.require_same(lungs.geometry, what="CT and lungs")
    absent = absent_lobes(lungs, removed)
    boundaries: dict[str, Boundary] = {}
    prepared: dict[Region, Prepared] = {}
    for number, side in enumerate(LUNGS):
        share = part(progress, 0.45 * number, 0.45 * (number + 1))
        plans = plans_for(Region(side), absent)
        if not plans:
            continue
        share(0.0, f"looking for fissures in the {title(side).lower()}")
        prepared[Region(side)] = prepare_lung(ct, lungs, Region(side))
        for n, plan in enumerate(plans):
            share(0.5 + 0.5 * n / len(plans), f"fitting the {title(plan.id).lower()}")
            bound = boundaries.get(plan.within)
            boundaries[plan.id] = fit_fissure(
                prepared[Region(side)], plan, bound.surface if bound else None
            )
    progress(0.9, "labelling the lobes")
    labels = np.zeros(lungs.geometry.shape, np.uint8)
    surfaces = {name: boundary.surface for name, boundary in boundaries.items()}
    for side in LUNGS:
        label_lung(labels, lungs, Region(side), surfaces, absent)
    progress(1.0, "lobes found")
    return LobeSegmentation(
        labelmap=Labelmap(labels, lungs.geometry, LOBE_NAMES),
        boundaries=boundaries,
        absent=absent,
        prepared=prepared,
    )


def absent_lobes(lungs: Labelmap, removed: tuple[Region, ...] = ()) -> dict[Region, str]:
    """Lobes that are not there: removed ones and those of a missing lung."""
    out = dict.fromkeys(removed, "stated as removed")
    for side in LUNGS:
        if not lungs.mask(side).any():
            reason = f"no {title(side).lower()} in the image"
            out |= {lobe: reason for lobe in LOBES if lobe.startswith(side.split("_")[0])}
    return {lobe: out[lobe] for lobe in LOBES if lobe in out}


def plans_for(side: Region, absent: Mapping[Region, str]) -> list[FissurePlan]:
    """Fissures of a lung that still part two lobes."""
    return [
        plan
        for plan in PLANS.values()
        if plan.lung is side
        and any(lobe not in absent for lobe in plan.above)
        and any(lobe not in absent for lobe in plan.below)
    ]


def label_lung(
    labels: NDArray[np.uint8],
    lungs: Labelmap,
    side: Region,
    surfaces: Mapping[str, Surface],
    absent: Mapping[Region, str],
) -> None:
    """Write the lobes of one lung into ``labels``, which is on the grid of ``lungs``."""
    mask = lungs.mask(side)
    present = [lobe for lobe in LOBES if lobe.startswith(side.split("_")[0]) and lobe not in absent]
    if not mask.any() or not present:
        return
    box = bounding_box(mask)
    inside, geometry = mask[box], lungs.geometry.crop(box)
    target = labels[box]
    target[inside] = 0
    remaining = set(present)
    left = inside.copy()
    for plan in plans_for(side, absent):
        above = above_surface(surfaces[plan.id], geometry, left)
        if len(below := remaining & set(plan.below)) == 1:
            lower = left & ~above
            target[lower] = STRUCTURES[below.pop()].label
            left &= above
            remaining -= set(plan.below)
    if remaining:
        (last,) = remaining
        target[left] = STRUCTURES[last].label


def above_surface(surface: Surface, geometry: Geometry, where: Mask) -> Mask:
    """Voxels on the upper side of a surface; True is only decided where ``where`` is.

    The height over the surface is evaluated every `FIELD_MM` and interpolated linearly.
    """
    spacing = geometry.spacing_kji_mm
    nodes = [
        np.linspace(0, n - 1, max(2, int(np.ceil((n - 1) * mm / FIELD_MM)) + 1))
        for n, mm in zip(geometry.shape, spacing, strict=True)
    ]
    kji = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1)
    field_mm = surface.side(geometry.ras_from_ijk(kji[..., ::-1]))
    field_mm = field_mm.astype(np.float32)
    out = np.zeros(geometry.shape, np.bool_)
    rows = [_interpolation(axis, n) for axis, n in zip(nodes, geometry.shape, strict=True)]
    (k0, wk), (j0, wj), (i0, wi) = rows
    for index in np.flatnonzero(where.any(axis=(1, 2))):
        w = wk[index]
        plane = field_mm[k0[index]] * (1 - w) + field_mm[k0[index] + 1] * w
        plane = plane[j0] + (plane[j0 + 1] - plane[j0]) * wj[:, None]
        plane = plane[:, i0] + (plane[:, i0 + 1] - plane[:, i0]) * wi
        out[index] = plane >= 0
    return out


def _interpolation(nodes: Points, size: int) -> tuple[NDArray[np.int64], Float32]:
    step = nodes[1] - nodes[0] if nodes[-1] > nodes[0] else 1.0
    position = np.arange(size) / step
    low = np.minimum(position.astype(np.int64), len(nodes) - 2)
    return low, (position - low).astype(np.float32)


__all__ = ["NODE_MM", "PLANS", "Boundary", "LobeSegmentation", "segment_lobes"]
