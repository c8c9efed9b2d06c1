"""Follow the airways outward from the trachea, by the walls around them.

A bronchus is darker than its wall, and its wall is there on all sides but two.  That is looked at
from every voxel along rays: the lumen is where nearly all rays meet something denser than the
voxel by more than they do elsewhere in the same lung.  How much more is measured in each scan, so
that noise, kernel, calibration and diffuse disease raise the bar instead of opening the lung: of
the lung's voxels fewer pass than a leak would need to hang together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from lungperfusion.body import Coarse
from lungperfusion.morphology import eroded
from lungperfusion.volume import Box, Mask, bounding_box, margin_voxels

Index = NDArray[np.int64]
Float32 = NDArray[np.float32]
Spacing = tuple[float, float, float]

RAYS = 26
"""Directions looked at from a voxel, spread evenly over the sphere."""

OPEN_RAYS = 8
"""Rays that may miss the wall: those along a tube that is 1.4 times as long as wide within their
reach, or one open side at a branching.  Between two parallel plates twice as many miss."""

WALL_QUANTILE = 0.99
"""Walls must be seen higher than from 99 % of the darker lung: bronchi make up about 1 % of it, and
sites joined by faces and edges form no endless cluster below a share of 13.7 % (Kurzawski &
Malarz 2012, Rep Math Phys 70:163)."""

STRICTER_QUANTILE = 0.998
"""The same for a second try, where the first tree is doubtful."""

LUMEN_LIGHTER_HU = 150.0
"""A lumen about as wide as a voxel may read this much above the lung around it, from the partial
volume of its wall (0.5 to 1 mm thick in small bronchi, Montaudon 2007, J Anat 211:579)."""

LUMEN_HU = -650.0
"""No lumen is denser, whatever the lung around it."""

AVERAGED_MM = 1.3
"""Pixels this near are averaged where a wide lumen is told from lung, against noise."""

LOCAL_LUNG_MM = 15.0
"""Sigma over which the density of the lung around an airway is averaged."""

THIN_WALL_HU = -550.0
"""Two voxels that share an edge only belong to one lumen unless both voxels beside that edge are
denser, half way from air to soft tissue: so a slanting wall of one voxel is no door."""

LEAK_GROWTH = 5.0
"""A front that grows this much beyond the narrowest place of its branch has left the airway,
unless the airways that the branch came from are as wide."""

DAUGHTER_AREA = 0.63
"""Cross-section of a bronchus relative to the one it comes from (Weibel 1963: the diameter falls by
the cube root of 2 with each division)."""

LONGEST_AIRWAY_MM = 600.0
"""Path from the larynx to the periphery; a safeguard against endless growth."""

SAMPLE = 60_000
"""Lung voxels from which the height of walls elsewhere is measured."""


@dataclass(frozen=True)
class Reach:
    """How far rays look for a wall, and how high it must be at least and at most, HU."""

    mm: float
    least_hu: float
    most_hu: float


NARROW = Reach(4.5, 80.0, np.inf)
"""Bronchi up to a lumen of 5 mm: their walls may be thinner than a voxel."""

WIDE = (Reach(9.0, 250.0, 400.0), Reach(16.0, 400.0, 600.0))
"""Lobar bronchi, and trachea and main bronchi: their walls fill voxels and their lumen reads as
air, so no more is asked of the walls than soft tissue always shows."""


@dataclass
class _Branch:
    """Fronts of one branch, from its origin outward."""

    origin_width: float
    """Voxels of a front that the airways it comes from are wide enough for."""
    fronts: list[Index] = field(default_factory=list)
    narrowest: int = 0
    alive: bool = True


class LumenFinder:
    """Tells the voxels of airways from those of the lung, on the part of a CT that holds both.

    Parameters
    ----------
    hu
        CT with axes (head, front, right).
    coarse
        Its coarse copy.
    lung, trachea
        Lung and core of the trachea on the coarse grid.
    quantile
        See `WALL_QUANTILE`.
    narrow
        Whether airways are followed beyond those whose lumen reads as air.

    """

    def __init__(
        self,
        hu: NDArray[Any],
        coarse: Coarse,
        lung: Mask,
        trachea: Mask,
        *,
        quantile: float = WALL_QUANTILE,
        narrow: bool = True,
    ) -> None:
        self.coarse, self.narrow = coarse, narrow
        blocks = bounding_box(lung | trachea)
        self.box = coarse.fine_box(blocks)
        spacing = coarse.fine_spacing_mm
        margin = margin_voxels(spacing, WIDE[-1].mm)
        self.origin = [part.start - m for part, m in zip(self.box, margin, strict=True)]
        self.hu = _with_margin(hu, self.box, margin)
        self.flat = self.hu.reshape(-1)
        shape = self.hu.shape
        self.strides = (shape[1] * shape[2], shape[2], 1)
        self.inner: Box = tuple(  # type: ignore[assignment]
            slice(m, m + part.stop - part.start) for m, part in zip(margin, self.box, strict=True)
        )
        self.rays = {reach: _rays(spacing, reach.mm, self.strides) for reach in (NARROW, *WIDE)}
        self.near = _disc(spacing, self.strides)
        self.background = _local_lung(coarse, lung)
        self.trachea = np.zeros(shape, np.bool_)
        self.trachea[self.inner] = coarse.spread(trachea[blocks], self.box)
        deep = eroded(trachea, 4.0, coarse.spacing_mm)
        air = self._in_plane(self._centres(deep if deep.any() else trachea))
        low, middle, high = np.percentile(air, (25, 50, 75))
        self.air_hu, self.noise_hu = float(middle), float(high - low) / 1.349
        self.limits = self._limits(lung, quantile)

    def is_lumen(self, index: Index) -> Mask:
        """Whether voxels of the part lie in an airway, by what they and their rays see."""
        found = self.trachea.reshape(-1)[index]
        hu, lung = self.flat[index], self._lung_around(index)
        open_ = ~found & (hu < np.minimum(lung + LUMEN_LIGHTER_HU, LUMEN_HU))
        if self.narrow:
            chosen = np.flatnonzero(open_)
            height = self._wall_hu(index[chosen], NARROW) - hu[chosen]
            found[chosen[height > self.limits[NARROW]]] = True
        chosen = np.flatnonzero(open_ & ~found)
        mean = self._in_plane(index[chosen])
        # Air, or what noise makes of it, but nearer to air than to lung where they are far apart.
        half = (self.air_hu + lung[chosen]) / 2
        noisy = np.minimum(self.air_hu + 2 * self.noise_hu, lung[chosen])
        dark = mean < np.maximum(half, noisy)
        chosen, mean = chosen[dark], mean[dark]
        for reach in WIDE:
            found[chosen[self._wall_hu(index[chosen], reach) - mean > self.limits[reach]]] = True
        return found

    def wall_hu(self, index: Index) -> Float32:
        """CT number of the wall around voxels of a lumen."""
        wall = self._wall_hu(index, NARROW).astype(np.float32)
        wide = wall - self.flat[index] <= self.limits[NARROW]
        wall[wide] = self._wall_hu(index[wide], WIDE[-1])
        return wall

    def _limits(self, lung: Mask, quantile: float) -> dict[Reach, float]:
        """Height of wall that hardly any voxel of the lung sees, for each reach."""
        index = self._centres(lung)
        index = index[:: max(1, index.size // SAMPLE)]
        index = index[self.flat[index] < self._lung_around(index)]
        mean = self._in_plane(index)
        limits = {}
        for reach in self.rays:
            own = self.flat[index] if reach is NARROW else mean
            height = self._wall_hu(index, reach) - own
            limit = float(np.quantile(height, quantile)) if index.size else reach.most_hu
            limits[reach] = min(max(limit, reach.least_hu), reach.most_hu)
        return limits

    def _wall_hu(self, index: Index, reach: Reach) -> Float32:
        """Highest CT number that all rays but `OPEN_RAYS` meet."""
        out = np.empty(index.size, np.float32)
        rays = self.rays[reach]
        open_rays = OPEN_RAYS * len(rays) // RAYS
        for first in range(0, index.size, SAMPLE):
            part = index[first : first + SAMPLE]
            met = np.empty((len(rays), part.size), self.flat.dtype)
            for row, steps in zip(met, rays, strict=True):
                np.take(self.flat, part + steps[0], out=row)
                for step in steps[1:]:
                    np.maximum(row, self.flat[part + step], out=row)
            out[first : first + SAMPLE] = np.partition(met, open_rays, axis=0)[open_rays]
        return out

    def _in_plane(self, index: Index) -> Float32:
        """Mean over the pixels of a slice within `AVERAGED_MM`, against noise."""
        total = np.zeros(index.size, np.float32)
        for step in self.near:
            total += self.flat[index + step]
        return total / np.float32(len(self.near))

    def _lung_around(self, index: Index) -> Float32:
        k, j, i = (
            np.clip((place + origin) // factor, 0, n - 1)
            for place, origin, factor, n in zip(
                np.unravel_index(index, self.hu.shape),
                self.origin,
                self.coarse.factors,
                self.coarse.hu.shape,
                strict=True,
            )
        )
        return np.asarray(self.background[k, j, i])

    def _centres(self, blocks: Mask) -> Index:
        """Voxel in the middle of each block."""
        places = [
            np.minimum(block * factor + factor // 2, n - 1) - origin
            for block, factor, n, origin in zip(
                np.nonzero(blocks),
                self.coarse.factors,
                self.coarse.fine_shape,
                self.origin,
                strict=True,
            )
        ]
        return np.asarray(np.ravel_multi_index(places, self.hu.shape), np.int64)


def grow(lumen: LumenFinder, seeds: Mask) -> Mask:
    """Follow the airways from the seeds outward.

    A wave runs through the lumen.  Each connected piece of its front is a branch.  Where a front
    outgrows the narrowest place of its branch, and the airway that the branch came from, it has
    broken out: the branch is cut back to that place (after Schlathoelter 2002, SPIE 4684:103).

    Parameters
    ----------
    lumen
        Which voxels are airway.
    seeds
        Where to start, on the coarse grid.

    Returns
    -------
    Mask
        Airways on ``lumen.box`` of the CT.

    """
    visited = np.ones(lumen.hu.shape, np.bool_)
    visited[lumen.inner] = False
    visited = visited.reshape(-1)
    started = np.zeros(lumen.hu.shape, np.bool_)
    blocks = lumen.coarse.spread(seeds, _everything(lumen.coarse))
    started[lumen.inner] = blocks[lumen.box]
    front = np.flatnonzero(started & (lumen.hu < LUMEN_HU))
    visited[front] = True
    levels = np.unique(front // lumen.strides[0])
    branches = [_Branch(front.size / max(1, levels.size), [front])]
    owner = np.zeros(front.size, np.int64)
    for _ in range(int(LONGEST_AIRWAY_MM / min(lumen.coarse.fine_spacing_mm))):
        if not front.size:
            break
        steps = [*_steps(lumen, front, owner, visited)]
        reached, source = (np.concatenate(part) for part in zip(*steps, strict=True))
        front, first = np.unique(reached, return_index=True)
        owner = source[first]
        visited[front] = True  # asked once
        inside = lumen.is_lumen(front)
        front, owner = _advance(branches, front[inside], owner[inside], lumen.hu.shape)
    tree = np.zeros(lumen.hu.shape, np.bool_)
    for branch in branches:
        for indices in branch.fronts:
            tree.reshape(-1)[indices] = True
    return _up_to_the_wall(lumen, tree)[lumen.inner]


def _steps(
    lumen: LumenFinder, front: Index, owner: Index, visited: Mask
) -> Iterator[tuple[Index, Index]]:
    """Voxels that share a face with the front, or an edge and no wall beside it; their owners."""
    for first, stride in enumerate(lumen.strides):
        for step in (stride, -stride):
            fresh = ~visited[front + step]
            yield front[fresh] + step, owner[fresh]
            for other in lumen.strides[first + 1 :]:
                for aside in (other, -other):
                    fresh = ~visited[front + step + aside]
                    part = front[fresh]
                    beside = np.minimum(lumen.flat[part + step], lumen.flat[part + aside])
                    open_ = beside < THIN_WALL_HU
                    yield part[open_] + step + aside, owner[fresh][open_]


def _advance(
    branches: list[_Branch], front: Index, owner: Index, shape: tuple[int, ...]
) -> tuple[Index, Index]:
    """Give the pieces of a front to their branches; drop what leaks."""
    if not front.size:
        return front, owner
    piece = _pieces(front, shape)
    order = np.argsort(piece, kind="stable")
    cuts = np.flatnonzero(np.diff(piece[order])) + 1
    pieces = [(front[part], _most(owner[part])) for part in np.split(order, cuts)]
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
            origin = branches[parent]
            widest = max(
                (len(part) for part in origin.fronts[1 if parent == 0 else 0 :]), default=0
            )
            branches.append(_Branch(max(widest, DAUGHTER_AREA * origin.origin_width)))
        branch = branches[number]
        branch.fronts.append(indices)
        narrow = len(branch.fronts[branch.narrowest])
        if len(indices) <= narrow:
            branch.narrowest = len(branch.fronts) - 1
        elif len(indices) > max(LEAK_GROWTH * narrow, branch.origin_width):
            branch.alive = False
            del branch.fronts[branch.narrowest + 1 :]
            continue
        kept.append(indices)
        owners.append(np.full(indices.size, number, np.int64))
    if not kept:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    front, owner = np.concatenate(kept), np.concatenate(owners)
    order = np.argsort(front)
    return front[order], owner[order]


def _most(owner: Index) -> int:
    """Branch that most voxels of a piece came from."""
    return int(np.bincount(owner).argmax())


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


def _up_to_the_wall(lumen: LumenFinder, tree: Mask) -> Mask:
    """Add the neighbours that are nearer to the lumen than to the wall in CT number."""
    index = np.flatnonzero(tree)
    half = (lumen.wall_hu(index) + lumen.flat[index]) / 2
    flat = tree.reshape(-1)
    for stride in lumen.strides:
        for step in (stride, -stride):
            beside = index + step
            flat[beside[lumen.flat[beside] < np.minimum(half, LUMEN_HU)]] = True
    return tree


def _with_margin(hu: NDArray[Any], box: Box, margin: Sequence[int]) -> NDArray[Any]:
    """Copy of a box with a margin; beyond the end of the image it goes on as it ends there."""
    inside, missing = [], []
    for part, m, n in zip(box, margin, hu.shape, strict=True):
        low, high = part.start - m, part.stop + m
        inside.append(slice(max(0, low), min(n, high)))
        missing.append((max(0, -low), max(0, high - n)))
    return np.pad(hu[tuple(inside)], missing, mode="edge")


def _rays(spacing_mm: Spacing, reach_mm: float, strides: tuple[int, int, int]) -> list[Index]:
    """Give the steps in flat index along each ray, a voxel apart, without the voxel itself."""
    number = np.arange(RAYS) + 0.5  # Fibonacci lattice: even on the sphere
    height, turn = 1 - 2 * number / RAYS, np.pi * (1 + 5**0.5) * number
    width = np.sqrt(1 - height**2)
    directions = np.stack([height, width * np.sin(turn), width * np.cos(turn)], axis=1)
    step = min(spacing_mm) * 0.9
    along = np.arange(step, max(reach_mm, 1.1 * step), step)[:, None]
    rays = []
    for direction in directions:
        voxels = np.unique(np.round(along * direction / spacing_mm).astype(np.int64), axis=0)
        steps = voxels @ np.array(strides)
        if (steps != 0).any():
            rays.append(steps[steps != 0])
    return rays


def _disc(spacing_mm: Spacing, strides: tuple[int, int, int]) -> Index:
    """Give the steps in flat index to the pixels of a slice within `AVERAGED_MM`."""
    reach = [int(AVERAGED_MM / s) for s in spacing_mm[1:]]
    j, i = np.mgrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    inside = (j * spacing_mm[1]) ** 2 + (i * spacing_mm[2]) ** 2 <= AVERAGED_MM**2
    return np.asarray(j[inside] * strides[1] + i[inside] * strides[2], np.int64)


def _local_lung(coarse: Coarse, lung: Mask) -> Float32:
    """Mean density of the lung around every block; of the whole lung where none is near."""
    sigma = [LOCAL_LUNG_MM / s for s in coarse.spacing_mm]
    weight = ndimage.gaussian_filter(lung.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(lung, coarse.hu, 0).astype(np.float32), sigma)
    out = np.full(lung.shape, np.median(coarse.hu[lung]), np.float32)
    np.divide(total, weight, out=out, where=weight > 0.02)
    return out


def _everything(coarse: Coarse) -> Box:
    k, j, i = (slice(0, n) for n in coarse.fine_shape)
    return k, j, i
