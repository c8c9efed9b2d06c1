"""Branching tubes with known radius: airways, arteries, veins.

Trees fill their lobe by splitting the set of points each branch supplies (the idea of Tawhai 2004,
J Appl Physiol 97:2310), and widths follow Murray's law: the cube of a radius is the sum of the
cubes of its daughters' radii.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.phantoms.anatomy import Rod

Points = NDArray[np.float64]

ROOT_FREEDOM_MM = 18.0
STRAY_MM = 6.0


@dataclass(frozen=True, eq=False)
class Tubes:
    """Straight tube pieces of constant radius.

    Parameters
    ----------
    start_mm, end_mm
        RAS positions, shape (N, 3).
    radius_mm
        Shape (N,).
    parent
        Index of the piece each one continues, -1 at a root; shape (N,).
    lobe
        Index into ``anatomy.LOBE_SIDES``, -1 outside the lobes; shape (N,).

    """

    start_mm: Points
    end_mm: Points
    radius_mm: NDArray[np.float64]
    parent: NDArray[np.int64]
    lobe: NDArray[np.int64]

    def __len__(self) -> int:
        """Count of pieces."""
        return len(self.radius_mm)

    @classmethod
    def from_rods(cls, rods: Sequence[Rod]) -> Tubes:
        """Pieces given by hand, outside the lobes."""
        start, end, radius = zip(*rods, strict=True) if rods else ((), (), ())
        none = np.full(len(rods), -1)
        shape = (len(rods), 3)
        return cls(
            np.reshape(np.array(start, float), shape),
            np.reshape(np.array(end, float), shape),
            np.array(radius, float),
            none,
            none,
        )

    @classmethod
    def joined(cls, parts: Iterable[Tubes]) -> Tubes:
        """Several trees as one."""
        parts = list(parts)
        offsets = np.cumsum([0, *(len(p) for p in parts)])[:-1]
        parents = [
            np.where(p.parent < 0, -1, p.parent + o) for p, o in zip(parts, offsets, strict=True)
        ]
        return cls(
            np.concatenate([p.start_mm for p in parts]),
            np.concatenate([p.end_mm for p in parts]),
            np.concatenate([p.radius_mm for p in parts]),
            np.concatenate(parents),
            np.concatenate([p.lobe for p in parts]),
        )

    @property
    def length_mm(self) -> NDArray[np.float64]:
        """Length of each piece."""
        return np.asarray(np.linalg.norm(self.end_mm - self.start_mm, axis=1))

    @property
    def area_mm2(self) -> NDArray[np.float64]:
        """Cross-sectional area of each piece."""
        return np.pi * self.radius_mm**2

    @property
    def volume_ml(self) -> NDArray[np.float64]:
        """Volume of each piece as a cylinder with flat ends."""
        return self.area_mm2 * self.length_mm / 1000

    def where(self, chosen: NDArray[np.bool_]) -> Tubes:
        """Chosen pieces; a piece whose parent is left out becomes a root."""
        new_index = np.where(chosen, np.cumsum(chosen) - 1, -1)
        parent = np.where(self.parent < 0, -1, new_index[self.parent])
        return Tubes(
            self.start_mm[chosen],
            self.end_mm[chosen],
            self.radius_mm[chosen],
            parent[chosen],
            self.lobe[chosen],
        )

    def moved(self, move: Callable[[Points], Points]) -> Tubes:
        """Return the tree with every joint moved, as breathing does; radii stay."""
        return replace(self, start_mm=move(self.start_mm), end_mm=move(self.end_mm))


def grow(
    root: Points,
    direction: Points,
    supplied: Points,
    *,
    leaf_count: int,
    root_radius_mm: float,
    lobe: int,
    rng: np.random.Generator,
    inside: Callable[[Points], NDArray[np.bool_]],
    bend: float = 0.12,
) -> Tubes:
    """Tree from a root that reaches all supplied points.

    Parameters
    ----------
    root, direction
        Where the tree enters the lobe and where it heads, shape (3,).
    supplied
        Points of the lobe, shape (M, 3); each branch heads for the centre of its share.
    leaf_count
        Ends wanted; the count comes out within a few per cent.
    root_radius_mm
        Radius of the first branch; the others follow from Murray's law.
    inside
        Which points the tree may reach; branches beyond are cut off with all that follows them.
        The first `ROOT_FREEDOM_MM` from the root are free.
    bend
        Share of a branch's length by which it bows sideways.

    """
    nodes: list[Points] = [np.asarray(root, float)]
    parents: list[int] = [-1]
    smallest = max(2, len(supplied) // leaf_count)
    stack: list[tuple[int, Points, Any]] = [
        (0, np.asarray(direction, float) / np.linalg.norm(direction), supplied)
    ]
    while stack:
        node, heading, share = stack.pop()
        centre = share.mean(axis=0)
        way = centre - nodes[node]
        distance = float(np.linalg.norm(way))
        if distance < 1e-6:
            continue
        leaf = len(share) < 2 * smallest
        reach = (0.8 if leaf else 0.42) * distance
        goal = way / distance + 0.25 * heading
        goal /= np.linalg.norm(goal)
        sideways = np.cross(goal, rng.normal(size=3))
        tip = nodes[node] + reach * goal
        away = np.linalg.norm(share - tip, axis=1)
        nearest = int(np.argmin(away))
        if away[nearest] > STRAY_MM:  # the way leads through a notch of the lobe: stay inside
            tip = share[nearest]
        middle = (nodes[node] + tip) / 2 + sideways * (bend * reach * rng.uniform(-1, 1))
        nodes += [middle, tip]
        parents += [node, len(nodes) - 2]
        if leaf:
            continue
        last = tip - middle
        last /= max(float(np.linalg.norm(last)), 1e-9)
        normal = _split_normal(share - share.mean(axis=0), last)
        height = (share - share.mean(axis=0)) @ normal
        cut = np.quantile(height, rng.uniform(0.32, 0.68))
        for part in (share[height <= cut], share[height > cut]):
            if len(part):
                stack.append((len(nodes) - 1, last, part))
    places, parent = _pruned(np.array(nodes), np.array(parents), inside)
    return _with_radii(places, parent, root_radius_mm, lobe)


def _pruned(
    nodes: Points, parents: NDArray[Any], inside: Callable[[Points], NDArray[np.bool_]]
) -> tuple[Points, NDArray[Any]]:
    near = np.linalg.norm(nodes - nodes[0], axis=1) < ROOT_FREEDOM_MM
    keep = inside(nodes) | near
    keep[:3] = True  # the way from the hilum into the lobe
    for node in range(1, len(nodes)):  # parents come before their children
        keep[node] &= keep[parents[node]]
    new_index = np.cumsum(keep) - 1
    parent = np.where(parents < 0, -1, new_index[parents])
    return nodes[keep], parent[keep]


def _split_normal(offsets: Points, heading: Points) -> Points:
    """Widest direction of the points at right angles to the branch."""
    flat = offsets - np.outer(offsets @ heading, heading)
    values, vectors = np.linalg.eigh(flat.T @ flat)
    normal = vectors[:, int(np.argmax(values))]
    return np.asarray(normal * (1 if normal[np.argmax(np.abs(normal))] > 0 else -1))


def beside(tree: Tubes, radius_mm: NDArray[np.float64], gap_mm: NDArray[np.float64]) -> Tubes:
    """Second tree that runs along the first, as arteries run along bronchi.

    Parameters
    ----------
    tree
        Tree of one root.
    radius_mm
        Radius of each accompanying piece.
    gap_mm
        Distance between the two axes at the end of each piece.

    """
    way = tree.end_mm - tree.start_mm
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
    aside = np.cross(way, np.array([0.35, 0.9, 0.25]))
    aside /= np.maximum(np.linalg.norm(aside, axis=1, keepdims=True), 1e-9)
    end = tree.end_mm + aside * gap_mm[:, None]
    start = np.where(tree.parent[:, None] < 0, tree.start_mm + aside * gap_mm[:, None], 0.0)
    follows = tree.parent >= 0
    start[follows] = end[tree.parent[follows]]
    return Tubes(start, end, radius_mm, tree.parent, tree.lobe)


def _with_radii(nodes: Points, parents: NDArray[Any], root_radius: float, lobe: int) -> Tubes:
    leaves = np.zeros(len(nodes))
    has_child = np.zeros(len(nodes), bool)
    has_child[parents[1:]] = True
    leaves[~has_child] = 1
    for node in range(len(nodes) - 1, 0, -1):  # children come after their parent
        leaves[parents[node]] += leaves[node]
    radius = root_radius * np.cbrt(leaves[1:] / leaves[0])
    return Tubes(
        nodes[parents[1:]],
        nodes[1:],
        radius,
        parents[1:] - 1,
        np.full(len(nodes) - 1, lobe),
    )
