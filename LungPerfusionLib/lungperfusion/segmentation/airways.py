"""Trachea, main bronchi and the airway tree, without leaking into the lung."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from lungperfusion.morphology import dilated, eroded
from lungperfusion.segmentation.body import Coarse, components
from lungperfusion.volume import Box, Mask, bounding_box

Index = NDArray[np.int64]

TRACHEA_AREA_MM2 = (30.0, 900.0)
"""Cross-section of the trachea's air on axial slices, child to tracheomegaly."""

TRACHEA_HU = -850.0
"""Coarse voxels below are the core of the trachea."""

TRACHEA_LENGTH_MM = 20.0
"""A tube must be followed over this length to be taken for the trachea."""

WALL_HU = -400.0
"""Mean of a ring of tissue around the trachea: no ring inside the lung is that dense."""

LUMEN_SHARES = (0.2, 0.4, 0.6, 0.8)
"""Thresholds of the airway lumen between air (0) and aerated lung (1), each followed on its own:
the lower ones reach farther, the higher ones fill the lumen."""

WALLED_LUMEN_HU = -700.0
"""Threshold for the wide airways, whose walls are thick enough to stop it."""

LEAK_GROWTH = 2.5
"""A front that grows this much beyond the narrowest place of its branch has left the airway."""

LEAK_AREA_MM2 = 14.0
"""Smaller fronts are not judged: voxels are too few."""

LONGEST_AIRWAY_MM = 600.0
"""Path from the larynx to the periphery; a safeguard against endless growth."""


@dataclass(frozen=True)
class _Spot:
    index: int
    centre: tuple[float, float]
    area_mm2: float


def find_trachea(coarse: Coarse, inside: Mask) -> Mask:
    """Find the trachea as the longest upright tube of gas with a wall of soft tissue.

    Parameters
    ----------
    coarse
        Coarse copy of the CT.
    inside
        Air inside the patient.

    Returns
    -------
    Mask
        Core of the trachea above the carina on the coarse grid; empty if there is none.

    """
    gas = (coarse.hu < TRACHEA_HU) & inside
    spots: list[list[_Spot]] = []
    planes = []
    dk, dj, di = coarse.spacing_mm
    ring_size = tuple(1 + max(1, round(4.0 / s)) for s in (dj, di))
    for k in range(gas.shape[0]):
        labels, _ = ndimage.label(gas[k])
        planes.append(labels)
        found = []
        for label, box in enumerate(ndimage.find_objects(labels), start=1):
            if box is None:
                continue
            mask = labels[box] == label
            area = np.count_nonzero(mask) * dj * di
            height, width = mask.shape[0] * dj, mask.shape[1] * di
            if not TRACHEA_AREA_MM2[0] <= area <= TRACHEA_AREA_MM2[1] or max(height, width) > 45:
                continue
            wide = tuple(
                slice(max(0, part.start - pad), part.stop + pad)
                for part, pad in zip(box, ring_size, strict=True)
            )
            near = labels[wide] == label
            first = ndimage.binary_dilation(near)
            ring = ndimage.binary_dilation(near, iterations=max(ring_size)) & ~first
            if ring.any() and coarse.hu[k][wide][ring].mean() > WALL_HU:
                j, i = np.nonzero(mask)
                centre = ((j.mean() + box[0].start) * dj, (i.mean() + box[1].start) * di)
                found.append(_Spot(label, centre, area))
        spots.append(found)
    best: list[tuple[int, _Spot]] = []
    open_tubes: list[list[tuple[int, _Spot]]] = []
    for k in range(gas.shape[0] - 1, -1, -1):
        continued = []
        for spot in spots[k]:
            near = [
                tube
                for tube in open_tubes
                if np.hypot(*np.subtract(tube[-1][1].centre, spot.centre)) < 3.0 + dk
                and tube[-1][0] - k <= max(1, round(4.0 / dk))
            ]
            tube = [*max(near, key=len), (k, spot)] if near else [(k, spot)]
            continued.append(tube)
            if len(tube) > len(best):
                best = tube
        recent = [t for t in open_tubes if t[-1][0] - k < max(1, round(4.0 / dk))]
        open_tubes = continued + recent
    trachea = np.zeros(gas.shape, np.bool_)
    if len(best) * dk >= TRACHEA_LENGTH_MM:
        for k, spot in best:
            trachea[k] |= planes[k] == spot.index
    return trachea


def main_airways(coarse: Coarse, trachea: Mask, inside: Mask) -> Mask:
    """Grow the trachea into the main bronchi on the coarse grid, up to where it would leak."""
    grown = trachea
    if not trachea.any():
        return trachea
    box = bounding_box(inside)
    for threshold in range(-980, -600, 20):
        labels = np.zeros(inside.shape, np.int32)
        labels[box], _ = components(((coarse.hu[box] < threshold) & inside[box]) | trachea[box])
        wanted = np.unique(labels[trachea])
        region = np.isin(labels, wanted[wanted > 0])
        size = np.count_nonzero(region)
        if size * coarse.voxel_ml > 120 or (
            size > 1.5 * np.count_nonzero(grown)
            and (size - np.count_nonzero(grown)) * coarse.voxel_ml > 15
        ):
            break
        grown = region
    return grown


def thick_part(tube: Mask, coarse: Coarse, radius_mm: float) -> Mask:
    """Part of the airways wider than a radius: trachea and main bronchi, without what follows."""
    if not tube.any() or max(coarse.spacing_mm[1:]) > radius_mm:
        return tube
    box = bounding_box(tube, (2, 2, 2))
    out = np.zeros_like(tube)
    core = eroded(np.pad(tube[box], 1, mode="edge"), radius_mm * 0.75, coarse.spacing_mm)
    core = core[1:-1, 1:-1, 1:-1]
    out[box] = dilated(core, radius_mm * 1.5, coarse.spacing_mm) & tube[box]
    return out


@dataclass
class _Branch:
    """Fronts of one branch, from its origin outward."""

    parent: int
    fronts: list[Index] = field(default_factory=list)
    narrowest: int = 0
    alive: bool = True


def airway_tree(
    hu: NDArray[Any],
    spacing_mm: tuple[float, float, float],
    seeds: Mask,
    *,
    air_hu: float,
    lung_hu: float,
) -> Mask:
    """Follow the airways from the trachea outward, branch by branch, without leaking.

    A wave runs through the voxels darker than a threshold.  Each connected piece of its front is a
    branch.  Where a front outgrows the narrowest place of its branch it has broken into the lung:
    the branch is cut back to that place.  This is repeated for several thresholds and the trees
    are joined (after Schlathoelter 2002, SPIE 4684:103, and the EXACT'09 review, Lo 2012).

    Parameters
    ----------
    hu
        CT, any axis order.
    spacing_mm
        Its spacing.
    seeds
        Voxels inside the trachea, on the same grid.
    air_hu, lung_hu
        CT numbers of air in the trachea and of aerated lung.

    """
    tree = np.zeros(hu.shape, np.bool_)
    shares = [air_hu + share * (lung_hu - air_hu) for share in LUMEN_SHARES]
    for threshold in (*shares, max(WALLED_LUMEN_HU, lung_hu + 50.0)):
        for indices in _follow(hu, spacing_mm, seeds, threshold):
            tree.ravel()[indices] = True
    return attached(tree, seeds)


def attached(tree: Mask, seeds: Mask) -> Mask:
    """Keep what hangs together with the seeds by faces, edges or corners.

    A branch that is cut back to its narrowest place leaves the twigs beyond it behind: those lie
    in the lung it leaked into.
    """
    out = np.zeros_like(tree)
    if not tree.any():
        return out
    box = bounding_box(tree)
    image = sitk.GetImageFromArray(np.ascontiguousarray(tree[box]).view(np.uint8))
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, True))
    wanted = np.zeros(int(labels.max()) + 1, np.bool_)
    wanted[np.unique(labels[seeds[box]])] = True
    wanted[0] = False
    out[box] = wanted[labels]
    return out


def _follow(
    hu: NDArray[Any], spacing_mm: tuple[float, float, float], seeds: Mask, threshold: float
) -> list[Index]:
    shape = hu.shape
    visited = np.zeros(shape, np.bool_)
    for face in (0, -1):  # the wave stops one voxel before the end of the image
        visited[face] = visited[:, face] = visited[:, :, face] = True
    flat = visited.reshape(-1)
    row, plane = shape[2], shape[1] * shape[2]
    steps = np.array([1, -1, row, -row, plane, -plane])
    area = float(np.prod(spacing_mm)) ** (2 / 3)
    start = np.flatnonzero(seeds.reshape(-1))
    start = start[(hu[np.unravel_index(start, shape)] < threshold) & ~flat[start]]
    if not start.size:
        return []
    flat[start] = True
    branches = [_Branch(parent=-1, fronts=[start])]
    front, owner = start, np.zeros(start.size, np.int64)
    for _ in range(int(LONGEST_AIRWAY_MM / min(spacing_mm))):
        reached = (front[:, None] + steps).ravel()
        source = np.repeat(owner, len(steps))
        fresh = ~flat[reached]
        reached, source = reached[fresh], source[fresh]
        dark = hu[np.unravel_index(reached, shape)] < threshold
        front, first = np.unique(reached[dark], return_index=True)
        owner = source[dark][first]
        if not front.size:
            break
        flat[front] = True
        front, owner = _advance(branches, front, owner, shape, area)
        if not front.size:
            break
    return [indices for branch in branches for indices in branch.fronts]


def _advance(
    branches: list[_Branch],
    front: Index,
    owner: Index,
    shape: tuple[int, ...],
    voxel_area_mm2: float,
) -> tuple[Index, Index]:
    """Give the pieces of a front to their branches; drop what leaks."""
    piece = _pieces(front, shape)
    order = np.argsort(piece, kind="stable")
    cuts = np.flatnonzero(np.diff(piece[order])) + 1
    pieces = [(front[part], int(owner[part[0]])) for part in np.split(order, cuts)]
    heirs: dict[int, int] = {}
    for _, parent in pieces:
        heirs[parent] = heirs.get(parent, 0) + 1
    kept: list[Index] = []
    owners: list[Index] = []
    for indices, parent in pieces:
        if not branches[parent].alive:
            continue
        number = parent
        if heirs[parent] > 1:
            number = len(branches)
            branches.append(_Branch(parent=parent))
        branch = branches[number]
        branch.fronts.append(indices)
        last = len(branch.fronts) - 1
        narrow = len(branch.fronts[branch.narrowest])
        if len(indices) <= narrow:
            branch.narrowest = last
        elif len(indices) > LEAK_GROWTH * narrow and len(indices) * voxel_area_mm2 > LEAK_AREA_MM2:
            branch.alive = False
            del branch.fronts[branch.narrowest + 1 :]
            continue
        kept.append(indices)
        owners.append(np.full(indices.size, number, np.int64))
    if not kept:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(kept), np.concatenate(owners)


def _pieces(front: Index, shape: tuple[int, ...]) -> Index:
    """Give voxels (sorted) that hang together by faces, edges or corners a common number."""
    row, plane = shape[2], shape[1] * shape[2]
    near = [
        a * plane + b * row + c
        for a in (0, 1)
        for b in (-1, 0, 1)
        for c in (-1, 0, 1)
        if (a, b, c) > (0, 0, 0)
    ]
    first, second = [], []
    own = np.arange(front.size)
    for step in near:
        place = np.searchsorted(front, front + step)
        place[place == front.size] = 0
        hit = front[place] == front + step
        first.append(own[hit])
        second.append(place[hit])
    rows, columns = np.concatenate(first), np.concatenate(second)
    graph = sparse.coo_matrix(
        (np.ones(rows.size, np.int8), (rows, columns)), shape=(front.size, front.size)
    )
    _, numbers = csgraph.connected_components(graph, directed=False)
    return np.asarray(numbers, np.int64)


def fine_tree(hu: NDArray[Any], coarse: Coarse, trachea: Mask, lung_hu: float) -> tuple[Mask, Box]:
    """Follow the airway tree on the full grid, from the upper end of the trachea.

    Returns
    -------
    tree, box
        The tree on ``hu[box]``.

    """
    whole = (slice(0, hu.shape[0]), slice(0, hu.shape[1]), slice(0, hu.shape[2]))
    levels = np.flatnonzero(trachea.any(axis=(1, 2)))
    core = np.zeros_like(trachea)
    top = levels[-max(1, round(10.0 / coarse.spacing_mm[0])) :]
    core[top] = trachea[top]
    air_hu = float(np.median(coarse.hu[core]))
    seeds = np.asarray(coarse.spread(core, whole))
    return airway_tree(hu, coarse.fine_spacing_mm, seeds, air_hu=air_hu, lung_hu=lung_hu), whole
