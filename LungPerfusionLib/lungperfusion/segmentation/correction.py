"""Moving a fissure through points that a user has placed, and lobes that were given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import ndimage

from lungperfusion.errors import InputError
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.resampling import resample_array
from lungperfusion.segmentation.lobe_quality import judgeable
from lungperfusion.segmentation.lobes import (
    LOBE_NAMES,
    PLANS,
    Boundary,
    CarryOut,
    LobeSegmentation,
    Prepared,
    above_surface,
    absent_lobes,
    directly,
    judged,
    label_lung,
    near_lung,
    plans_for,
    prepare_lung,
)
from lungperfusion.segmentation.surfaces import Moves, Points, Surface, fading, fitted
from lungperfusion.terms import LOBES, LUNGS, STRUCTURES, Region, title
from lungperfusion.volume import Labelmap, Mask, Volume, bounding_box

REACH_MM = 40.0
"""A point moves the surface around it; at this distance nothing has moved.  Fissures bend over
some centimetres, so that a few points redraw one."""

SAME_PLACE_MM = 1.0
"""Points closer than this on the surface are one point."""

CONTRADICTION_MM = 5.0
"""Points at one place of the surface must not lie farther apart in height."""

LEAST_CONTACT_MM2 = 200.0
"""Given lobes that touch over less than this have no boundary to speak of."""


def moved_through(surface: Surface, points_mm: Points, *, reach_mm: float = REACH_MM) -> Surface:
    """Move a surface through points, leaving it alone beyond a distance from them.

    The displacement is a sum of compact, smooth bumps around the points, with weights that make
    the surface pass through every one of them.

    Parameters
    ----------
    surface
        Surface to correct.
    points_mm
        RAS mm, shape (n, 3).
    reach_mm
        Distance from the nearest point, along the surface, beyond which nothing moves.

    Raises
    ------
    InputError
        If points are not finite, or contradict each other: at one place but at different heights.

    """
    points = np.atleast_2d(np.asarray(points_mm, np.float64))
    if points.size == 0:
        return surface
    if points.shape[1] != 3 or not np.isfinite(points).all():
        raise InputError("fissure points need three finite coordinates each (R, A, S in mm)")
    local = _merged(surface.local(points))
    uv, rise = local[:, :2], local[:, 2] - surface.height(local[:, 0], local[:, 1])
    apart = np.linalg.norm(uv[:, None] - uv[None], axis=-1)
    weights = np.linalg.solve(fading(apart / reach_mm), rise)
    return surface.moved(Moves(uv, weights, reach_mm))


def _merged(local: Points) -> Points:
    """Mean of the points at each place of the surface."""
    left, out = list(range(len(local))), []
    while left:
        first = left[0]
        near = [n for n in left if np.hypot(*(local[n, :2] - local[first, :2])) <= SAME_PLACE_MM]
        heights = local[near, 2]
        if np.ptp(heights) > CONTRADICTION_MM:
            raise InputError(
                f"{len(near)} fissure points lie at one place of the surface but up to "
                f"{np.ptp(heights):.0f} mm apart in height; remove the wrong ones"
            )
        out.append(local[near].mean(axis=0))
        left = [n for n in left if n not in near]
    return np.array(out)


def correct_lobes(
    lobes: LobeSegmentation,
    lungs: Labelmap,
    points_mm: Mapping[str, Points],
    *,
    reach_mm: float = REACH_MM,
    progress: Progress = ignore,
) -> LobeSegmentation:
    """Move fissures through points and redraw only what depends on them.

    The lung that holds no moved fissure keeps its labels, its boundaries and its evidence as they
    are.  In a lung with a moved fissure, voxels change only where the old and the new surface
    disagree, so that given lobes stay as they came elsewhere.

    Parameters
    ----------
    lobes
        Automatic or given lobes.
    lungs
        ``left_lung`` and ``right_lung``, on the same grid.
    points_mm
        Points in RAS mm by fissure ID.
    reach_mm
        As in `moved_through`.

    Raises
    ------
    InputError
        If a fissure does not exist, or does not part two lobes of this patient.

    """
    chosen = {name: np.atleast_2d(p) for name, p in points_mm.items() if len(p)}
    unknown = sorted(set(chosen) - set(PLANS))
    if unknown:
        raise InputError(f"there is no fissure {unknown[0]!r}; expected one of {', '.join(PLANS)}")
    for name in chosen:
        if name not in lobes.boundaries:
            raise InputError(
                f"points were given for the {title(name).lower()}, but it separates no two lobes "
                "here"
            )
    boundaries = dict(lobes.boundaries)
    moved = [name for name in PLANS if name in boundaries and _depends(name, chosen)]
    for n, name in enumerate(moved):
        progress(0.7 * n / len(moved), f"moving the {title(name).lower()}")
        boundaries[name] = _moved(lobes, boundaries, name, chosen.get(name), reach_mm)
    progress(0.7, "labelling the lobes")
    labels = lobes.labelmap.array.copy()
    for side in LUNGS:
        names = [name for name in chosen if PLANS[name].lung is side]
        if names:
            _redraw(labels, lungs, Region(side), lobes, boundaries, names)
    progress(1.0, "lobes corrected")
    return replace(lobes, labelmap=lobes.labelmap.with_array(labels), boundaries=boundaries)


def _depends(name: str, moved: Mapping[str, Points]) -> bool:
    return name in moved or PLANS[name].within in moved


def _moved(
    lobes: LobeSegmentation,
    boundaries: Mapping[str, Boundary],
    name: str,
    points_mm: Points | None,
    reach_mm: float,
) -> Boundary:
    old = boundaries[name]
    surface, users = old.surface, old.user_points_mm
    if points_mm is not None:
        surface = moved_through(surface, points_mm, reach_mm=reach_mm)
        users = np.concatenate([users, points_mm])
    bound = boundaries.get(old.plan.within)
    return judged(
        lobes.prepared[old.plan.lung],
        old.plan,
        surface,
        bound.surface if bound else None,
        user_points_mm=users,
        origin=old.origin,
    )


def _redraw(
    labels: Any,
    lungs: Labelmap,
    side: Region,
    before: LobeSegmentation,
    boundaries: Mapping[str, Boundary],
    moved: list[str],
) -> None:
    """Relabel the voxels of a lung that a moved surface has passed."""
    mask = lungs.mask(side)
    box = bounding_box(mask)
    inside, geometry = mask[box], lungs.geometry.crop(box)
    passed = np.zeros(inside.shape, np.bool_)
    for name in moved:
        old = above_surface(before.boundaries[name].surface, geometry, inside)
        new = above_surface(boundaries[name].surface, geometry, inside)
        passed |= (old != new) & inside
    fresh = np.zeros(lungs.geometry.shape, np.uint8)
    surfaces = {name: boundary.surface for name, boundary in boundaries.items()}
    label_lung(fresh, lungs, side, surfaces, before.absent)
    passed &= labels[box] > 0
    labels[box][passed] = fresh[box][passed]


# ------------------------------------------------------------------------------- given lobes


def adopt_lobes(
    ct: Volume,
    lungs: Labelmap,
    lobes: Labelmap,
    *,
    vessels: Labelmap | None = None,
    carry_out: CarryOut = directly,
    progress: Progress = ignore,
) -> LobeSegmentation:
    """Take given lobes as they are and find the surfaces between them.

    Parameters
    ----------
    ct
        Chest CT in HU.
    lungs
        ``left_lung`` and ``right_lung``; lobes are cut to them.
    lobes
        Lobes under the names of `lungperfusion.terms`, on the same grid.
    vessels
        Vessels that are known, on the same grid, to take instead of looking for them.
    carry_out
        Carries out `prepare_lung` for each lung.

    Returns
    -------
    LobeSegmentation
        With a boundary for every fissure that parts two of the given lobes, so that completeness
        and corrections work on them as on automatic ones.

    """
    ct.require_unit("HU", "the chest CT")
    ct.geometry.require_same(lobes.geometry, what="CT and lobes")
    lung = lungs.mask(*LUNGS)
    labels = np.zeros(lungs.geometry.shape, np.uint8)
    for lobe in LOBES:
        labels[lobes.mask(lobe) & lung] = STRUCTURES[lobe].label
    labelmap = Labelmap(labels, lungs.geometry, LOBE_NAMES)
    absent = absent_lobes(lungs)
    for lobe in LOBES:
        if lobe not in absent and not labelmap.mask(lobe).any():
            absent[lobe] = "not in the given label map"
    boundaries: dict[str, Boundary] = {}
    prepared: dict[Region, Prepared] = {}
    for number, side in enumerate(LUNGS):
        share = part(progress, 0.5 * number, 0.5 * (number + 1))
        plans = plans_for(Region(side), absent)
        if not plans:
            continue
        share(0.0, f"looking at the {title(side).lower()}")
        prepared[Region(side)] = carry_out(
            prepare_lung, *near_lung(ct, lungs, Region(side)), Region(side), vessels
        )
        for plan in plans:
            image = prepared[Region(side)].image
            above, below = (
                resample_array(
                    labelmap.mask(*names),
                    lungs.geometry,
                    image.geometry,
                    interpolation="nearest",
                    fill=0,
                )
                for names in (plan.above, plan.below)
            )
            points = _contact_mm(prepared[Region(side)], above, below)
            if len(points) < LEAST_CONTACT_MM2:
                continue
            bound = boundaries.get(plan.within)
            boundaries[plan.id] = judged(
                prepared[Region(side)],
                plan,
                _through(points, prepared[Region(side)].filling_mm),
                bound.surface if bound else None,
                origin="imported",
            )
    progress(1.0, "lobes taken")
    return LobeSegmentation(
        labelmap=labelmap, boundaries=boundaries, absent=absent, prepared=prepared
    )


def _contact_mm(lung: Prepared, above: Mask, below: Mask) -> Points:
    """Middles of the faces between two lobes, in RAS mm."""
    points = []
    for axis in range(3):
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        first, second = tuple(low), tuple(high)
        face = (above[first] & below[second]) | (below[first] & above[second])
        kji = np.argwhere(face).astype(float)
        kji[:, axis] += 0.5
        points.append(lung.image.geometry.ras_from_ijk(kji[:, ::-1]))
    return np.concatenate(points)


def _through(points_mm: Points, around_mm: Points) -> Surface:
    """Smooth surface through the contact of two lobes."""
    middle = np.median(points_mm, axis=0)
    _, _, axes = np.linalg.svd(points_mm - middle, full_matrices=False)
    normal = axes[2] * (1.0 if axes[2, 2] >= 0 else -1.0)
    surface = Surface.flat(middle, normal, around_mm)
    for trust_mm in (20.0, 6.0, 3.0):
        away = surface.distance_mm(points_mm)
        surface = fitted(surface, points_mm, 0.6 / (1 + (away / trust_mm) ** 2) ** 2)
    return surface


def fissure_map(lobes: LobeSegmentation, lungs: Labelmap) -> Labelmap:
    """Draw the fissures on the grid of the lungs: where each is seen, and where it is absent.

    A voxel of the lung that a boundary passes through carries the fissure, or its ``_absent``
    label where the nearest node of the boundary shows none; places that could not be judged, and
    fissures that were not found, carry neither.
    """
    geometry = lungs.geometry
    out = np.zeros(geometry.shape, np.uint8)
    names: dict[int, str] = {}
    inside = lungs.mask(*LUNGS)
    for name, boundary in lobes.boundaries.items():
        seen, absent = STRUCTURES[name].label, STRUCTURES[f"{name}_absent"].label
        names |= {seen: name, absent: f"{name}_absent"}
        patch, evidence = boundary.evidence.patch, boundary.evidence
        if not patch.inside.any() or not judgeable(boundary):
            continue
        fine = max(
            1,
            int(np.ceil((patch.u_mm[1, 0] - patch.u_mm[0, 0]) / min(geometry.spacing_ijk_mm)) * 2),
        )
        u = ndimage.zoom(patch.u_mm, fine, order=1, grid_mode=False)
        v = ndimage.zoom(patch.v_mm, fine, order=1, grid_mode=False)
        shown = evidence.judged | evidence.seen
        here = ndimage.zoom(shown.astype(np.uint8), fine, order=0, grid_mode=False) > 0
        kind = ndimage.zoom(evidence.seen.astype(np.uint8), fine, order=0, grid_mode=False) > 0
        points = boundary.surface.on(u[here], v[here])
        ijk = np.rint(geometry.ijk_from_ras(points)).astype(int)
        within = ((ijk >= 0) & (ijk < np.array(geometry.shape[::-1]))).all(axis=1)
        i, j, k = ijk[within].T
        value = np.where(kind[here][within], seen, absent).astype(np.uint8)
        order = np.argsort(value == seen, kind="stable")  # seen wins where both meet
        k, j, i, value = k[order], j[order], i[order], value[order]
        keep = inside[k, j, i]
        out[k[keep], j[keep], i[keep]] = value[keep]
    return Labelmap(out, geometry, names)
