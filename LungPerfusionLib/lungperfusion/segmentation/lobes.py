"""Lobes of the lungs: a smooth surface per fissure, from what is seen of it.

A plane is searched that collects visible sheet and crosses few vessels (fissures part vessel
trees), within the range that anatomy leaves.  It is then bent to the visible fissure by robust
least squares that trusts ever closer points, and to the gap between the vessels where nothing is
seen.  How much of each boundary rests on visible fissure is its confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.morphology import distance_mm
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.segmentation.completeness import (
    NODE_MM,
    Evidence,
    clearly_along,
    fissure_evidence,
    line_contrast,
    patch_in,
    profiles,
)
from lungperfusion.segmentation.fissures import (
    GRID_MM,
    MARGIN_MM,
    SKIN_MM,
    Float32,
    LungImage,
    Sheets,
    aerated,
    find_sheets,
    known_load,
    lung_image,
    parenchyma,
    structures,
    vessel_load,
)
from lungperfusion.segmentation.surfaces import Patch, Points, Surface, fitted
from lungperfusion.segmentation.vessel_map import VesselTree
from lungperfusion.terms import AIRWAYS, LOBES, LUNGS, STRUCTURES, Region, lung_of, title
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume, bounding_box, box_around

Normal = tuple[float, float]
"""Mean and standard deviation."""


@dataclass(frozen=True, kw_only=True)
class FissurePlan:
    """What is known of a fissure before anything is seen: means and standard deviations.

    Parameters
    ----------
    id
        Identifier.
    lung
        Side it lies in.
    above, below
        Lobes that it parts.
    share_below
        Share of the lung (of the lung above ``within``) that lies below it.
    forward_degrees, outward_degrees
        Descent toward the front and the side.
    within
        Fissure above which it lies, if it ends there.

    """

    id: str
    lung: Region
    above: tuple[Region, ...]
    below: tuple[Region, ...]
    share_below: Normal
    forward_degrees: Normal
    outward_degrees: Normal
    within: str = ""


PLANS: dict[str, FissurePlan] = {
    plan.id: plan
    for plan in (
        FissurePlan(
            id="left_oblique_fissure",
            lung=Region.LEFT_LUNG,
            above=(Region.LEFT_UPPER_LOBE,),
            below=(Region.LEFT_LOWER_LOBE,),
            share_below=(0.50, 0.10),
            forward_degrees=(50.0, 12.0),
            outward_degrees=(0.0, 15.0),
        ),
        FissurePlan(
            id="right_oblique_fissure",
            lung=Region.RIGHT_LUNG,
            above=(Region.RIGHT_UPPER_LOBE, Region.RIGHT_MIDDLE_LOBE),
            below=(Region.RIGHT_LOWER_LOBE,),
            share_below=(0.49, 0.10),
            forward_degrees=(50.0, 12.0),
            outward_degrees=(0.0, 15.0),
        ),
        FissurePlan(
            id="right_horizontal_fissure",
            lung=Region.RIGHT_LUNG,
            above=(Region.RIGHT_UPPER_LOBE,),
            below=(Region.RIGHT_MIDDLE_LOBE,),
            share_below=(0.34, 0.10),
            forward_degrees=(5.0, 12.0),
            outward_degrees=(5.0, 12.0),
            within="right_oblique_fissure",
        ),
    )
}
"""Obliques run from the back at the fifth vertebra to the front at the diaphragm, the horizontal
one from the hilum level outward and forward (Gray's Anatomy).  Shares are those of healthy supine
adults (Yamada 2020, Respiration 99:598, PMC7490509); spreads are twice theirs, for disease."""

WITHIN_SPREADS = 2.5
"""Slopes farther from the mean than this many standard deviations are not tried, nor are shares of
the lung without a fissure in sight."""
SHARE_WITHIN = (0.04, 0.96)
"""Shares below a plane that are tried where sheet is seen: a lobe may have lost most of its volume.
"""

LEVEL_MM = 3.0
"""Distance between the levels at which a plane is tried."""
PLANE_TOLERANCE_MM = 4.0
"""Fissures bend out of their plane by about this much."""
SURROUNDINGS_MM = 16.0
"""Sheet and vessels at a plane are compared with those within about this distance."""
VESSEL_WEIGHT = 0.4
"""Crossing as many vessels as the surroundings hold costs as much as 40 % of visible fissure."""
FEW_VESSELS = 0.3
"""Where fewer are expected than this share of the most that any level would cross, the crossing
says little: as many are added to what is counted and to what is expected."""
PRIOR_WEIGHT = 0.03
"""What one squared standard deviation from the mean costs, as a share of visible fissure."""
PRIOR_FREEDOM = 6.0
"""Beyond the root of this many standard deviations the cost grows with the logarithm only: anatomy
decides between places that are seen alike, never against a fissure in plain sight."""
MOST_CROSSING = 1.5
"""More vessels than this, relative to the surroundings, cost no more: disease looks like them."""

STARTS, APART_MM = 4, 12.0
"""Planes that are followed up of each kind (all cues; sheet alone), and their mean distance."""
BENT_SHEET_MM2 = 10.0
"""Less sheet than this bends no surface."""
CHANCE = 0.06
"""Share of a surface along which sheets of noise and vessel walls may run: one bent to no more than
that has been bent by chance, and the plane is taken instead."""
RIVAL, MOST_RIVALS = 0.3, 4
"""Starts whose score is this close to the best are rivals; at most so many are tried in full."""
FIRST_STIFFNESS_MM = 12.0
"""Least stiffness of surfaces while starts are compared, when they may twist and bow; before, it is
the distance within which sheets are trusted."""

FIRST_TRUST_MM = (24.0, 18.0, 14.0, 10.0, 8.0)
"""Distances within which sheets are trusted while starts are compared, from first to last fit."""
TRUST_MM = (8.0, 6.0, 4.0, 3.0, 2.0)
"""The same from the first to the last fit of the surface that is taken."""

DEPTH_STEP_MM, LAST_LAYER = 2.0, 15
"""Layers under the surface in which vessels are counted; all deeper ones are one."""

GAP_WINDOW_MM = 10.0
"""Standard deviation of the window on the surface in which vessels are counted."""
GAP_ACROSS_MM = 2.5
GAP_SEARCH_MM = 12.0
GAP_LEAVING = 0.3
"""Leaving the surface by `GAP_SEARCH_MM` costs as much as 30 % of the vessels around."""
GAP_FEW_VESSELS = 0.1
"""Where less than this share of the most vessels near the surface is expected, their absence is no
gap: outside the lung and under its surface there never are any."""
GAP_TRUST = 0.01
"""Weight of a gap without any vessel, relative to visible fissure: only wide gaps bend surfaces."""

GAP_TRUST_ALONE = 0.05
"""The same where hardly any fissure is seen and gaps are the best cue there is."""

CLEARLY_SEEN = 0.3
"""Share of a boundary that must be seen as a sharp sheet not to look for a faint one."""
FAINT_WINDOW_MM = 6.0
"""Standard deviation of the window on the surface over which faint fissures are averaged."""
FAINT_SPREADS = 4.0
"""A faint fissure stands out from other lines by this many robust standard deviations."""
FAINT_REACH_MM = (10.0, 8.0, 6.0, 4.0, 3.0)
"""Distances within which faint fissure is sought, from the first to the last fit."""

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
    vessel_ratio: float = float("nan")
    """Vessels crossed, relative to those in the lung beside the boundary."""
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
    load: Float32
    """Vessels and bronchi (`fissures.vessel_load`)."""
    usual_load: Float32
    """Mean load at the same depth under the surface: vessels thin out toward the pleura.  It is 0
    in diseased lung, where they cannot be told."""
    vessels_mm: Points
    """Some places of vessels in RAS mm."""
    vessel_weights: Points
    """Load of those."""
    filling_mm: Points
    """Some places of the whole lung in RAS mm."""
    filling_weights: Points
    """Usual load at those."""

    @property
    def tree(self) -> VesselTree:
        """Vessels for other analyses."""
        return VesselTree(self.image, self.load)

    @cached_property
    def parting_load(self) -> Float32:
        """Vessels and bronchi where disease does not look like them: those that part lobes."""
        return np.where(self.usual_load > 0, self.load, np.float32(0))

    @property
    def inside(self) -> Mask:
        """Voxels deep enough under the surface to be judged."""
        return np.asarray(self.depth_mm > SKIN_MM)


class CarryOut(Protocol):
    """Gives the result of a step; one that remembers does not carry out the same step twice."""

    def __call__[**Parameters, Result](
        self,
        step: Callable[Parameters, Result],
        *arguments: Parameters.args,
        **options: Parameters.kwargs,
    ) -> Result: ...


def directly[**Parameters, Result](
    step: Callable[Parameters, Result], *arguments: Parameters.args, **options: Parameters.kwargs
) -> Result:
    """Carry a step out, whatever was before."""
    return step(*arguments, **options)


def near_lung(ct: Volume, lungs: Labelmap, side: Region) -> tuple[Volume, Labelmap]:
    """All of a chest that `prepare_lung` looks at: what changes elsewhere is none of its business.

    Parameters
    ----------
    ct
        Chest CT in HU.
    lungs
        Lungs and, where known, airways.
    side
        Which lung.

    Returns
    -------
    ct, lungs
        The CT around the lung; this lung and the airways beside it, without the other lung.

    """
    lung = lungs.mask(side)
    box = box_around(lung, ct.geometry.spacing_kji_mm, MARGIN_MM)
    kept = lung[box] | lungs.mask(AIRWAYS)[box]
    array = np.where(kept, lungs.array[box], 0).astype(lungs.array.dtype)
    return ct.crop(box), Labelmap(array, lungs.geometry.crop(box), lungs.names)


def prepare_lung(
    ct: Volume, lungs: Labelmap, side: Region, vessels: Labelmap | None = None
) -> Prepared:
    """Bring one lung onto the working grid and find its sheets and vessels.

    Parameters
    ----------
    ct
        Chest CT in HU.
    lungs
        ``left_lung``, ``right_lung`` and, where known, ``airways``.
    side
        Which lung.
    vessels
        Vessels that are known, to take instead of looking for them.

    """
    image = lung_image(ct, lungs.mask(side), lungs.mask(AIRWAYS))
    depth = distance_mm(~image.lung, (GRID_MM, GRID_MM, GRID_MM))
    flat = parenchyma(image, depth)
    smooth = structures(image, flat)
    load = vessel_load(image, smooth, depth) if vessels is None else known_load(image, vessels)
    index, filling = np.flatnonzero((load > 0) & (depth > SKIN_MM)), np.flatnonzero(depth > SKIN_MM)
    filling = filling[:: max(1, filling.size // (2 * _SAMPLE))]
    told = (depth > SKIN_MM) & aerated(image, flat)
    usual = _usual_load(load, depth, told)
    index = index[told.ravel()[index]]
    index = index[:: max(1, index.size // (4 * _SAMPLE))]
    return Prepared(
        image=image,
        flat=flat,
        depth_mm=depth,
        sheets=find_sheets(image, smooth, depth),
        load=load,
        vessels_mm=image.points_mm(index),
        vessel_weights=load.ravel()[index].astype(np.float64),
        usual_load=usual,
        filling_mm=image.points_mm(filling),
        filling_weights=usual.ravel()[filling].astype(np.float64),
    )


def _usual_load(load: Float32, depth_mm: Float32, told: Mask) -> Float32:
    """Mean load of the voxels as deep under the surface as each one is; 0 where none is told."""
    layer = np.minimum(depth_mm / DEPTH_STEP_MM, LAST_LAYER).astype(np.intp)
    counts = np.bincount(layer[told], minlength=LAST_LAYER + 1)
    sums = np.bincount(layer[told], weights=load[told], minlength=LAST_LAYER + 1)
    mean = (sums / np.maximum(counts, 1)).astype(np.float32)
    return np.where(told, mean[layer], np.float32(0))


# ----------------------------------------------------------------------------------- search


@dataclass(frozen=True, eq=False)
class Plane:
    """Plane through a lung that a fissure may lie near."""

    origin_mm: Points
    normal: Points
    score: float
    """What speaks for it, in shares of visible fissure."""
    bare_score: float
    """The same without the sheet near it: few vessels and a usual course."""
    all_cues: bool = True
    """Whether it stands where vessels and anatomy put it, sheet or none; else by sheet alone."""


def search_planes(lung: Prepared, plan: FissurePlan, bound: Surface | None) -> list[Plane]:
    """Planes to start from: those with most sheet and fewest vessels, and those with most sheet.

    Disease looks like vessels and hides them, so that sheet alone is asked as well.

    Parameters
    ----------
    lung
        From `prepare_lung`.
    plan
        Which fissure.
    bound
        Surface above which it lies.

    """
    at = lung.filling_mm[:, :2].mean(axis=0)
    outward = 1.0 if plan.lung is Region.RIGHT_LUNG else -1.0

    def beyond(points: Points) -> NDArray[np.bool_]:
        if bound is None:
            return np.ones(len(points), np.bool_)
        return np.asarray(bound.side(points) > PLANE_TOLERANCE_MM)

    sheets = lung.sheets
    keep = beyond(sheets.points_mm)
    sheet, normals, weights = _thinned(
        sheets.points_mm[keep],
        sheets.normals[keep],
        sheets.weights[keep] * GRID_MM**2,
    )
    keep = beyond(lung.vessels_mm)
    vessels, loads = lung.vessels_mm[keep], lung.vessel_weights[keep]
    keep = beyond(lung.filling_mm)
    filling, usual = lung.filling_mm[keep], lung.filling_weights[keep]
    voxel_mm3 = np.count_nonzero(lung.inside) * GRID_MM**3 / len(lung.filling_mm)
    found: tuple[list[Plane], list[Plane]] = ([], [])
    if not len(filling):
        return [Plane(lung.filling_mm.mean(axis=0), np.array([0.0, 0.0, 1.0]), 0.0, 0.0)]
    for forward, out in product(_tried(plan.forward_degrees), _tried(plan.outward_degrees)):
        slope = np.array([-outward * np.tan(np.radians(out)), -np.tan(np.radians(forward))])
        normal = np.array([-slope[0], -slope[1], 1.0])
        normal /= np.linalg.norm(normal)
        amount = weights * np.clip((np.abs(normals @ normal) - 0.6) / 0.4, 0, 1)
        rises = _over(filling, at, slope)
        heights = np.sort(rises)
        lowest, highest = np.quantile(heights, SHARE_WITHIN)
        levels = np.arange(lowest, highest, LEVEL_MM)
        if len(levels) < 2:
            continue
        filled = rises, np.full(len(filling), voxel_mm3)
        sheets_at = _over(sheet, at, slope), amount * PLANE_TOLERANCE_MM * np.sqrt(2 * np.pi)
        vessels_at = _over(vessels, at, slope), loads
        (area, around), (seen, seen_around), (crossed, crossed_around), (due, due_around) = (
            _near_and_around(rise, of, levels, normal[2])
            for rise, of in (filled, sheets_at, vessels_at, (rises, usual))
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            cover = np.nan_to_num(seen / area) - np.nan_to_num(seen_around / around)
            expected = np.nan_to_num(due * crossed_around / due_around)
            few = FEW_VESSELS * expected.max()
            crossing = np.nan_to_num((crossed + few) / (expected + few), nan=1.0)
            crossing = np.minimum(crossing, MOST_CROSSING)
        shares = np.searchsorted(heights, levels) / len(heights)
        unlikely = _unlikely(lung, plan, shares, forward, out)
        enough = area > 0.2 * np.max(area)
        usual_share = np.abs(_spreads(shares, plan.share_below)) <= WITHIN_SPREADS
        bare = -VESSEL_WEIGHT * crossing - unlikely
        for all_cues, score in ((True, cover + bare), (False, cover - unlikely)):
            tried = enough & usual_share if all_cues else enough
            if tried.any():
                n = int(np.argmax(np.where(tried, score, -np.inf)))
                origin = np.array([*at, levels[n]])
                plane = Plane(origin, normal, float(score[n]), float(bare[n]), all_cues)
                found[not all_cues].append(plane)
    if not found[0]:
        found[0].extend(found[1])
    some = filling[:: max(1, len(filling) // 300)]
    return [plane for planes in found for plane in _distinct(planes, some)]


def _unlikely(lung: Prepared, plan: FissurePlan, share: Any, forward: float, out: float) -> Any:
    """Give what a rare course costs, in shares of visible fissure.

    It grows with the logarithm only, as where spreads are not known for sure (Student's t).  The
    share of a lung that is cut by the edge of the image says nothing.
    """
    far = _spreads(forward, plan.forward_degrees) ** 2 + _spreads(out, plan.outward_degrees) ** 2
    if not lung.image.cut:
        far = far + _spreads(share, plan.share_below) ** 2
    return PRIOR_WEIGHT * PRIOR_FREEDOM * np.log1p(far / PRIOR_FREEDOM)


def _distinct(planes: list[Plane], points_mm: Points) -> list[Plane]:
    """Best planes that lie apart from each other where the points are."""
    kept: list[tuple[Plane, Points]] = []
    for plane in sorted(planes, key=lambda plane: -plane.score):
        height = (points_mm - plane.origin_mm) @ plane.normal
        if all(np.abs(height - other).mean() > APART_MM for _, other in kept):
            kept.append((plane, height))
        if len(kept) == STARTS:
            break
    return [plane for plane, _ in kept]


def _tried(angle: Normal) -> Points:
    """Angles to try, 5 degrees apart."""
    mean, spread = angle
    return np.asarray(mean + np.arange(-WITHIN_SPREADS * spread, WITHIN_SPREADS * spread + 1, 5.0))


def _spreads(value: Any, of: Normal) -> Any:
    """Distance from the mean in standard deviations."""
    return (value - of[0]) / of[1]


def _over(points: Points, at: Points, slope: Points) -> Points:
    """Level at ``at`` of the plane of a slope through each point."""
    return np.asarray(points[:, 2] - (points[:, :2] - at) @ slope)


def _near_and_around(
    rise: Points, amount: Points, levels: Points, cosine: float
) -> tuple[Points, Points]:
    """Amount near the planes of all levels and around them, per mm of distance.

    Near and around are Gaussians of the distance, of `PLANE_TOLERANCE_MM` and `SURROUNDINGS_MM`.
    """
    width_mm = LEVEL_MM * cosine
    pad = int(np.ceil(4 * SURROUNDINGS_MM / width_mm))
    place = np.floor((rise - levels[0]) / LEVEL_MM + 0.5 + pad)
    there = (place >= 0) & (place < len(levels) + 2 * pad)
    counts = np.bincount(
        place[there].astype(np.intp), weights=amount[there], minlength=len(levels) + 2 * pad
    )
    near, around = (
        ndimage.gaussian_filter1d(counts, sigma_mm / width_mm, mode="constant")[pad:-pad] / width_mm
        for sigma_mm in (PLANE_TOLERANCE_MM, SURROUNDINGS_MM)
    )
    return near, around


def _thinned(points: Points, *more: Points) -> tuple[Points, ...]:
    """Every n-th point, weights (the last of ``more``) scaled up."""
    step = max(1, len(points) // _SAMPLE)
    out = [points[::step]]
    for n, values in enumerate(more):
        out.append(values[::step] * (step if n == len(more) - 1 else 1))
    return tuple(out)


# -------------------------------------------------------------------------------------- fit


@dataclass(frozen=True, eq=False)
class Start:
    """Surface to start from, with what speaks for it, in shares of visible fissure."""

    surface: Surface
    seen: float
    score: float


def fit_fissures(
    lung: Prepared, plans: Sequence[FissurePlan], progress: Progress = ignore
) -> dict[str, Boundary]:
    """Place the fissures of a lung and judge how much of each is seen.

    Parameters
    ----------
    lung
        From `prepare_lung`.
    plans
        Its fissures, those that others end at first.
    progress
        Told how far it is.

    """
    out: dict[str, Boundary] = {}
    for n, plan in enumerate(plans):
        progress(n / len(plans), f"fitting the {title(plan.id).lower()}")
        bound = out[plan.within].surface if plan.within in out else None
        starts = _starts(lung, plan, bound)
        inner = [other for other in plans if other.within == plan.id]
        start = _chosen(lung, starts, inner)
        out[plan.id] = _fissure(lung, plan, start.surface, bound)
    return out


def _chosen(lung: Prepared, starts: list[Start], inner: Sequence[FissurePlan]) -> Start:
    """Take the best start; between rivals the one that leaves most to the fissures within it.

    A horizontal fissure in full sight is a likely oblique one until the true one is tried as well.
    """
    best = starts[0]
    rivals = [start for start in starts if start.score >= best.score - RIVAL and start.seen]
    if not inner or len(rivals) < 2:
        return best

    def together(start: Start) -> float:
        within = (_starts(lung, plan, start.surface) for plan in inner)
        return start.score + sum(max(other.score for other in others) for others in within)

    return max(rivals[:MOST_RIVALS], key=together)


def _starts(lung: Prepared, plan: FissurePlan, bound: Surface | None) -> list[Start]:
    """Give surfaces near which a fissure may lie, the best one first.

    They are planes, bent to the sheets near them where these show.
    """
    out = []
    sheets = _thinned_sheets(lung.sheets)
    for plane in search_planes(lung, plan, bound):
        bent = _bent(lung, sheets, plane, bound)
        seen = _seen_share(lung, bent, bound)
        shown = seen >= CHANCE
        if not shown and not plane.all_cues:
            continue
        surface = bent if shown else _flat(lung, plane)
        out.append(Start(surface, shown * seen, shown * seen + plane.bare_score))
    some = lung.filling_mm[:: max(1, len(lung.filling_mm) // 300)]
    kept: list[tuple[Start, Points]] = []
    for start in sorted(out, key=lambda start: -start.score):
        height = start.surface.side(some)
        if all(np.abs(height - other).mean() > APART_MM / 2 for _, other in kept):
            kept.append((start, height))
    return [start for start, _ in kept]


def _fissure(lung: Prepared, plan: FissurePlan, start: Surface, bound: Surface | None) -> Boundary:
    """Fit a boundary from a start.

    Where hardly any of it stands out, it is sought again as a faint sheet that shows only when
    averaged along itself.
    """
    sharp = judged(lung, plan, _fit(lung, start, bound, GAP_TRUST), bound)
    if sharp.evidence.completeness >= CLEARLY_SEEN:
        return sharp
    surface = _fit_faint(lung, _fit(lung, start, bound, GAP_TRUST_ALONE), bound)
    faint = judged(lung, plan, surface, bound, origin="faint")
    return max(sharp, faint, key=lambda boundary: boundary.support)


def _flat(lung: Prepared, plane: Plane) -> Surface:
    return Surface.flat(plane.origin_mm, plane.normal, lung.filling_mm)


def _thinned_sheets(sheets: Sheets) -> Sheets:
    """Every n-th point of the sheets, weights scaled up."""
    return Sheets(*_thinned(sheets.points_mm, sheets.normals, sheets.weights))


def _bent(lung: Prepared, sheets: Sheets, plane: Plane, bound: Surface | None) -> Surface:
    """Bend a plane to the sheets near it, loosely."""
    surface = _flat(lung, plane)
    for trust_mm in FIRST_TRUST_MM:
        points, weights = _pull(sheets, surface, bound, trust_mm)
        if weights.sum() < BENT_SHEET_MM2:
            break
        stiffness_mm = max(trust_mm, FIRST_STIFFNESS_MM)
        surface = fitted(surface, points, weights, stiffness_mm=stiffness_mm)
    return surface


def _seen_share(lung: Prepared, surface: Surface, bound: Surface | None) -> float:
    """Share of a surface along which sheets run."""
    patch = patch_in(lung.image, surface, lung.image.lung, bound)
    total = float(patch.area_mm2.sum())
    return float(patch.area_mm2[clearly_along(patch, lung.sheets)].sum()) / total if total else 0.0


def _pull(
    sheets: Sheets, surface: Surface, bound: Surface | None, trust_mm: float
) -> tuple[Points, Points]:
    """Points of sheet that a surface is drawn to, and how much: near ones of its own direction."""
    away = surface.distance_mm(sheets.points_mm)
    near = np.abs(away) < 5 * trust_mm
    if bound is not None:
        near &= bound.side(sheets.points_mm) > 2.0
    points, normals = sheets.points_mm[near], sheets.normals[near]
    u, v, _ = np.moveaxis(surface.local(points), -1, 0)
    cosine = np.abs(np.einsum("ij,ij->i", surface.normals(u, v), normals))
    like = np.clip((cosine - 0.7) / 0.3, 0, 1)
    weights = sheets.weights[near] * like * GRID_MM**2 / (1 + (away[near] / trust_mm) ** 2) ** 2
    chosen = weights > 1e-3
    return points[chosen], weights[chosen]


def _fit(lung: Prepared, surface: Surface, bound: Surface | None, gap_trust: float) -> Surface:
    """Bend a surface to the sheets near it, trusting ever closer ones."""
    for trust_mm in TRUST_MM:
        pull, weights = _pull(lung.sheets, surface, bound, trust_mm)
        gaps, gap_weights = _vessel_gaps(lung, surface, pull[weights > 0.1], bound, trust=gap_trust)
        surface = fitted(
            surface, np.concatenate([pull, gaps]), np.concatenate([weights, gap_weights])
        )
    return surface


def _fit_faint(lung: Prepared, surface: Surface, bound: Surface | None) -> Surface:
    """Bend a surface to lines near it that show only in the mean over a window along it."""
    for reach_mm in FAINT_REACH_MM:
        patch = patch_in(lung.image, surface, lung.image.lung, bound)
        lines = line_contrast(
            lung.image, lung.flat, lung.depth_mm, patch, window_mm=FAINT_WINDOW_MM
        )
        known = lines.hu[patch.inside]
        known = known[np.isfinite(known)]
        if not known.size:
            return surface
        usual = float(np.median(known))
        spread = float(np.median(np.abs(known - usual))) / 0.6745
        hu = np.where(np.abs(lines.offsets_mm) <= reach_mm, lines.hu, -np.inf)
        best = hu.max(axis=2)
        strong = patch.inside & (best > usual + FAINT_SPREADS * spread)
        offset = lines.offsets_mm[hu.argmax(axis=2)]
        normals = surface.normals(patch.u_mm, patch.v_mm)
        found = (patch.points_mm + offset[..., None] * normals)[strong]
        weights = NODE_MM**2 / (1 + (offset[strong] / reach_mm) ** 2) ** 2
        gaps, gap_weights = _vessel_gaps(lung, surface, found, bound, trust=GAP_TRUST_ALONE)
        surface = fitted(
            surface, np.concatenate([found, gaps]), np.concatenate([weights, gap_weights])
        )
    return surface


def judged(
    lung: Prepared, plan: FissurePlan, surface: Surface, bound: Surface | None, **more: Any
) -> Boundary:
    """Look at how much of a fissure is seen on a surface and how many vessels cross it."""
    patch = patch_in(lung.image, surface, lung.image.lung, bound)
    evidence = fissure_evidence(lung.image, lung.flat, lung.depth_mm, patch, lung.sheets)
    ratio = vessel_ratio(lung, patch)
    return Boundary(plan=plan, surface=surface, evidence=evidence, vessel_ratio=ratio, **more)


def vessel_ratio(lung: Prepared, patch: Patch) -> float:
    """Vessels within 4 mm of a boundary over those 8 to 16 mm beside it; NaN where there are none.

    A fissure parts vessel trees: well below 1 the boundary lies in a gap between them.
    """
    offsets = np.arange(-16.0, 16.1, 2.0)
    load, usual = (
        profiles(lung.image, array, patch, offsets)[patch.inside].sum(axis=0)
        for array in (lung.parting_load, lung.usual_load)
    )
    near, beside = np.abs(offsets) <= 4.0, np.abs(offsets) >= 8.0
    if not load[beside].sum() or not usual[near].sum():
        return float("nan")
    return float(load[near].sum() / usual[near].sum() / (load[beside].sum() / usual[beside].sum()))


def _vessel_gaps(
    lung: Prepared, surface: Surface, seen_mm: Points, bound: Surface | None, *, trust: float
) -> tuple[Points, Points]:
    """Points in the gap between vessels, where no fissure is seen near the surface.

    The load of vessels is averaged in a window along the surface; the gap is where it, with a mild
    cost of leaving the surface, is least.  Places where hardly any vessels are expected tell
    nothing: the surface is not drawn to them, and where it lies in them itself it stays.
    """
    patch = patch_in(lung.image, surface, lung.image.lung, bound)
    free = patch.inside & ~_near_seen(patch, seen_mm)
    if not free.any():
        return np.zeros((0, 3)), np.zeros(0)
    offsets = np.arange(-GAP_SEARCH_MM, GAP_SEARCH_MM + 0.1, 1.0)
    window = (GAP_WINDOW_MM / NODE_MM, GAP_WINDOW_MM / NODE_MM, GAP_ACROSS_MM)
    load, usual = (
        ndimage.gaussian_filter(profiles(lung.image, array, patch, offsets), window, truncate=2.0)
        for array in (lung.parting_load, lung.usual_load)
    )
    few = GAP_FEW_VESSELS * usual.max()
    telling = (usual > few) | (offsets == 0)
    crowd = np.where(telling, load / np.maximum(usual, few), 0)
    mean = crowd.sum(axis=2, keepdims=True) / telling.sum(axis=2, keepdims=True)
    crowd = np.where(telling, crowd / np.maximum(mean, 1e-6), np.inf)
    gap = np.argmin(crowd + GAP_LEAVING * (offsets / GAP_SEARCH_MM) ** 2, axis=2)
    points = patch.points_mm + offsets[gap][..., None] * surface.normals(patch.u_mm, patch.v_mm)
    depth = 1 - np.take_along_axis(crowd, gap[..., None], axis=2)[..., 0]
    return points[free], trust * NODE_MM**2 * np.clip(depth[free], 0, 1)


def _near_seen(patch: Patch, seen_mm: Points) -> NDArray[np.bool_]:
    """Nodes within 4 mm of visible fissure."""
    seen = patch.nodes_of(seen_mm)
    if not seen.any():
        return seen
    return np.asarray(ndimage.distance_transform_edt(~seen) * NODE_MM <= 4.0)


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
    vessels: Labelmap | None = None,
    removed: tuple[Region, ...] = (),
    carry_out: CarryOut = directly,
    progress: Progress = ignore,
) -> LobeSegmentation:
    """Divide the lungs into lobes along their fissures.

    Parameters
    ----------
    ct
        Chest CT in HU.
    lungs
        ``left_lung``, ``right_lung`` and, where known, ``airways``, on the grid of the CT.
    vessels
        Vessels that are known, on the same grid, to take instead of looking for them.
    removed
        Lobes that an operation has taken; their space belongs to the remaining ones.
    carry_out
        Carries out `prepare_lung` and `fit_fissures`, which take nearly all of the time, for each
        lung.

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
        lung = carry_out(prepare_lung, *near_lung(ct, lungs, Region(side)), Region(side), vessels)
        prepared[Region(side)] = lung
        boundaries |= carry_out(fit_fissures, lung, plans, progress=part(share, 0.5, 1.0))
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
            out |= {lobe: reason for lobe in LOBES if lung_of(lobe) == side}
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
    present = [lobe for lobe in LOBES if lung_of(lobe) == side and lobe not in absent]
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
