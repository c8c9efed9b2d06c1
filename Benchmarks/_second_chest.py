"""A second digital chest that shares no code, shape or statistics with `lungperfusion.phantoms`.

Settings of the analyses were chosen on the project's phantoms and a few scans; a figure that holds
only there is worth little.  This chest is built another way throughout: superellipsoid thorax with
domed diaphragm, fissures as bent implicit surfaces, vessels and bronchi grown by joining random
points to the nearest place of the tree (no Murray angles), parenchyma as a 1/f random field, noise
shaped by a ramp filter.  All anatomy is a function of patient coordinates, so that other benchmarks
can move it (breathing) or fill it with contrast (iodine).

Coordinates are millimetres: x to the patient's left, y to the back, z to the head, with the origin
in the middle of the chest.  Arrays are (K, J, I) on `Geometry.axial` grids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, spatial

from lungperfusion.volume import Geometry, Labelmap, Mask, Volume

Floats = NDArray[np.float32]
Points = NDArray[np.float64]
Move = Callable[[Points], Points]

LOBES = {
    4: "left_upper_lobe",
    5: "left_lower_lobe",
    6: "right_upper_lobe",
    7: "right_middle_lobe",
    8: "right_lower_lobe",
}
EXTENT_MM = ((-185.0, 185.0), (-135.0, 135.0), (-165.0, 180.0))
"""Range of x, y and z that a full scan shows."""

CARINA = np.array([2.0, 12.0, 40.0])
HILA = {"left": np.array([38.0, 12.0, 12.0]), "right": np.array([-38.0, 12.0, 8.0])}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the chest is made of; CT numbers in HU."""

    seed: int = 1
    lung_hu: float = -868.0
    gravity_hu_per_mm: float = 0.35
    texture_hu: float = 18.0
    """Standard deviation of the parenchyma's 1/f texture."""
    tracheal_air_hu: float = -985.0
    blood_hu: float = 42.0
    """Blood of heart, aorta, trunk and lung vessels."""
    liver_hu: float = 58.0
    muscle_hu: float = 52.0
    fat_hu: float = -98.0
    vessel_tips: int = 2600
    """Ends of the vessel tree in both lungs; 800 is poor, 6000 rich."""
    tip_radius_mm: float = 0.6
    airway_tips: int = 90
    wall_share: float = 0.22
    """Thickness of a bronchial wall relative to its lumen's radius."""
    fissure_mm: float = 0.6
    """Thickness of the fissures; 0 makes them invisible."""
    fissure_complete: bool = True
    patches: tuple[Patch, ...] = ()
    stomach_gas_hu: float | None = None
    """Gas bubble under the left dome behind a wall of `stomach_wall_mm`."""
    stomach_wall_mm: float = 2.0
    open_neck: bool = False
    """A slit of room air from the front of the neck into the trachea."""
    outside_hu: float = -1000.0


@dataclass(frozen=True, kw_only=True)
class Patch:
    """An ellipsoid of changed tissue inside the lungs."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    hu: float
    """CT number in its middle: -650 ground glass, 30 consolidation or a mass, -960 emphysema."""
    ragged: float = 0.25
    """Irregularity of its outline, 0 to 0.6."""


@dataclass(frozen=True, eq=False)
class Tree:
    """Tubes as points along their axes."""

    points: Points
    radius_mm: Floats
    step_mm: Floats
    """Length of tube that each point stands for."""

    def moved(self, move: Move) -> Tree:
        """Carry the axis along; the radius stays."""
        return Tree(move(self.points), self.radius_mm, self.step_mm)


@dataclass(frozen=True, eq=False)
class SecondChest:
    """The chest on a grid, free of noise and blur, with its truth."""

    recipe: Recipe
    geometry: Geometry
    hu: Floats
    lobes: Labelmap
    """Five lobes with vessels and lung bronchi, up to the pleura and a cut at the hilum."""
    lungs: Labelmap
    """The same as ``left_lung`` and ``right_lung``."""
    airways: Mask
    """Lumen of trachea and bronchi."""
    vessels: Floats
    """Volume share of lung vessels in every voxel."""
    organs: dict[str, Mask] = field(default_factory=dict)
    """``heart``, ``aorta``, ``trunk``, ``liver``, ``stomach``, ``patches``."""

    def scan(
        self,
        *,
        noise_hu: float = 20.0,
        sharp: bool = False,
        blur_mm: float = 0.45,
        seed: int = 11,
    ) -> Volume:
        """Blur the chest (standard deviation in mm), add noise, round to whole HU."""
        spacing = self.geometry.spacing_kji_mm
        image = ndimage.gaussian_filter(self.hu, [blur_mm / s for s in spacing], mode="nearest")
        image += ramp_noise(self.geometry, noise_hu, sharp=sharp, seed=seed)
        whole = np.clip(np.round(image), -1024, 3071).astype(np.int16)
        return Volume(whole, self.geometry, "HU")


def grid(spacing_mm: tuple[float, float, float]) -> Geometry:
    """Axial grid (spacing along I, J, K) that covers the chest."""
    lows = [low for low, _ in EXTENT_MM]
    size = [round((high - low) / s) for (low, high), s in zip(EXTENT_MM, spacing_mm, strict=True)]
    shape = (size[2], size[1], size[0])
    return Geometry.axial(shape, spacing_mm, (-lows[0], -lows[1], lows[2]))


def ramp_noise(geometry: Geometry, noise_hu: float, *, sharp: bool, seed: int) -> Floats:
    """Noise as filtered back-projection leaves it: ramp in plane, cut off by the kernel."""
    if noise_hu <= 0:
        return np.zeros(geometry.shape, np.float32)
    rng = np.random.default_rng(seed)
    dk, dj, di = geometry.spacing_kji_mm
    v = np.fft.fftfreq(geometry.shape[1], dj)[:, None]
    u = np.fft.rfftfreq(geometry.shape[2], di)[None]
    f = np.hypot(u, v)
    end = 0.95 if sharp else 0.55  # line pairs per mm
    gain = f * np.clip(np.cos(np.pi * f / (2 * end)), 0, 1) * (f < end)
    if sharp:
        gain *= 1 + 1.5 * (f / end)
    noise = np.empty(geometry.shape, np.float32)
    for plane in noise:
        white = np.fft.rfft2(rng.standard_normal(geometry.shape[1:]))
        plane[:] = np.fft.irfft2(white * gain, geometry.shape[1:], axes=(0, 1))
    noise = ndimage.gaussian_filter1d(noise, 0.5 / dk, axis=0)
    return noise * np.float32(noise_hu / noise.std())


def random_field(shape: tuple[int, ...], power: float, seed: int) -> Floats:
    """Gaussian random field with spectrum 1/f^power, mean 0, standard deviation 1."""
    rng = np.random.default_rng(seed)
    axes = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    f = np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij", sparse=True)))
    f[(0,) * len(shape)] = np.inf
    image = np.fft.irfftn(
        np.fft.rfftn(rng.standard_normal(shape)) / f**power, shape, axes=range(len(shape))
    )
    return np.asarray(image / image.std(), np.float32)


# Implicit anatomy: negative inside; divided by its gradient it is a distance in mm.


def thorax(x: Floats, y: Floats, z: Floats) -> Floats:
    """Inner surface of the rib cage, narrowing to the apices."""
    taper = np.sqrt(np.clip(1 - np.clip((z - 5) / 137, 0, 1) ** 2.6, 1e-4, 1))
    flare = taper * (1 - 0.05 * np.clip(-z / 130, 0, 1))
    side = np.abs(x / (132 * flare)) ** 2.3
    depth = np.abs((y - 4) / (88 * flare)) ** 2.2
    # Far outside, the values grow without end toward the apices; `share_inside` wants a slope of 1.
    return np.minimum(100 * ((side + depth) ** (1 / 2.3) - 1), 30.0)


def diaphragm(x: Floats, y: Floats, z: Floats) -> Floats:
    """Negative above the diaphragm: two domes, deep recesses at the sides and the back."""
    floor = -95 - 0.28 * y - 18 * np.clip(np.abs(x) / 130, 0, 1.2) ** 4
    right = 52 * np.exp(-(((x + 68) / 50) ** 2) - ((y + 8) / 58) ** 2)
    left = 43 * np.exp(-(((x - 72) / 46) ** 2) - ((y + 4) / 56) ** 2)
    return floor + right + left - z


def heart(x: Floats, y: Floats, z: Floats) -> Floats:
    """Egg with its tip to the left and the front."""
    u = (x - 22) * 0.80 + (z + 42) * -0.45 + (y + 28) * -0.40
    v = (x - 22) * 0.45 + (z + 42) * 0.89
    w = (x - 22) * 0.40 + (y + 28) * 0.91
    return 45 * (np.sqrt((u / 62) ** 2 + (v / 47) ** 2 + (w / 43) ** 2) - 1)


def mediastinum(x: Floats, y: Floats, z: Floats) -> Floats:
    """Keep the lungs apart by a column of varying width around spine, vessels and heart."""
    width = 20 + 7 * np.cos(z / 45) + 13 * np.clip((y - 25) / 60, 0, 1)
    column = np.abs(x - 3 * np.sin(z / 60)) - width
    arch = 12 * (np.sqrt(((x - 12) / 26) ** 2 + ((y - 2) / 36) ** 2 + ((z - 58) / 24) ** 2) - 1)
    return np.minimum(np.minimum(column, arch * 2), heart(x, y, z) - 3)


def aorta(x: Floats, y: Floats, z: Floats) -> Floats:
    """Descending aorta beside the spine, from the arch through the diaphragm."""
    tube = np.hypot(x - 17, y - 48) - 12
    return np.maximum(tube, z - 60)


def trunk(x: Floats, y: Floats, z: Floats) -> Floats:
    """Pulmonary trunk, obliquely upward to the left."""
    along = np.clip((z + 2) / 34, 0, 1)
    tube = np.hypot(x - (8 + 8 * along), y - (-24 + 20 * along)) - 13
    return np.maximum(tube, np.maximum(-4 - z, z - 32))


def oblique(x: Floats, y: Floats, z: Floats) -> Floats:
    """Oblique fissures: negative in front of and above them."""
    left = x > 0
    tilt = np.where(left, 0.92, 1.03)
    level = np.where(left, 12.0, 2.0) + 9 * np.sin(x / 37) + 0.0011 * (y - 10) ** 2
    return (level + tilt * y - z) / np.sqrt(1 + tilt**2)


def horizontal(x: Floats, y: Floats, z: Floats) -> Floats:
    """Horizontal fissure of the right lung: negative above it."""
    return 14 + 7 * np.cos(y / 33) + 0.06 * (x + 60) - z


def lung(x: Floats, y: Floats, z: Floats) -> Floats:
    """Both lungs up to the pleura."""
    walls = np.maximum(thorax(x, y, z), diaphragm(x, y, z) * 0.8)
    return np.maximum(walls, -mediastinum(x, y, z))


def _grown(
    root: Points, targets: Points, rng: np.random.Generator, tip_mm: float, power: float
) -> Tree:
    """Join random places one after another to the nearest place of the tree so far."""
    nodes = [root]
    parents = [-1]
    order = np.argsort(np.linalg.norm(targets - root, axis=1) + rng.normal(0, 12, len(targets)))
    known, searched = spatial.cKDTree(np.array(nodes)), 1
    for target in targets[order]:
        distance, nearest = known.query(target)
        if searched < len(nodes):  # nodes since the search tree was last built
            fresh = np.linalg.norm(np.array(nodes[searched:]) - target, axis=1)
            if fresh.min() < distance:
                distance, nearest = fresh.min(), searched + int(fresh.argmin())
        start, parent = nodes[nearest], int(nearest)
        pieces = max(1, int(distance / 7))
        bend = rng.normal(0, 0.09 * distance, 3)
        for step in range(1, pieces + 1):
            t = step / pieces
            nodes.append(start + t * (target - start) + 4 * t * (1 - t) * bend)
            parents.append(parent)
            parent = len(nodes) - 1
        if len(nodes) - searched > 200:
            known, searched = spatial.cKDTree(np.array(nodes)), len(nodes)
    ups = np.array(parents)
    weight = np.zeros(len(nodes))
    ends = np.ones(len(nodes), bool)
    ends[ups[1:]] = False
    weight[ends] = 1
    for index in range(len(nodes) - 1, 0, -1):
        weight[ups[index]] += weight[index]
    radius = tip_mm * weight ** (1 / power)
    points, radii, steps = [], [], []
    places = np.array(nodes)
    for index in range(1, len(nodes)):
        first, last = places[ups[index]], places[index]
        length = float(np.linalg.norm(last - first))
        count = max(1, int(np.ceil(length / 0.4)))
        t = (np.arange(count) + 0.5) / count
        points.append(first + t[:, None] * (last - first))
        radii.append(np.full(count, radius[index]))
        steps.append(np.full(count, length / count))
    return Tree(
        np.concatenate(points),
        np.concatenate(radii).astype(np.float32),
        np.concatenate(steps).astype(np.float32),
    )


def _targets(rng: np.random.Generator, count: int, side: str, margin_mm: float) -> Points:
    out: list[Points] = []
    sign = 1 if side == "left" else -1
    found = 0
    while found < count:
        box = rng.uniform([15, -90, -150], [135, 95, 145], (4 * count, 3)) * [sign, 1, 1]
        x, y, z = box.T
        keep = (
            (lung(x, y, z) < -margin_mm)
            & (np.abs(oblique(x, y, z)) > 1.5)
            & ((x > 0) | (oblique(x, y, z) > 0) | (np.abs(horizontal(x, y, z)) > 1.5))
        )
        out.append(box[keep])
        found += int(keep.sum())
    return np.concatenate(out)[:count]


def lobe_of(x: Floats, y: Floats, z: Floats) -> NDArray[np.uint8]:
    """Label of `LOBES` that a place belongs to, whether or not it lies in a lung."""
    lower = oblique(x, y, z) > 0
    upper = np.where(horizontal(x, y, z) < 0, np.uint8(6), np.uint8(7))
    right = np.where(lower, np.uint8(8), upper)
    left = np.where(lower, np.uint8(5), np.uint8(4))
    return np.where(x > 0, left, right).astype(np.uint8)


def vessel_tree(recipe: Recipe) -> Tree:
    """Vessels of both lungs; each lobe has a tree of its own from the hilum."""
    rng = np.random.default_rng(recipe.seed)
    trees = []
    for side in ("left", "right"):
        targets = _targets(rng, recipe.vessel_tips // 2, side, 2.5)
        lobes = lobe_of(*targets.T)
        for lobe in np.unique(lobes):
            tree = _grown(HILA[side], targets[lobes == lobe], rng, recipe.tip_radius_mm, 2.5)
            trees.append(tree)
    return _joined(trees)


def airway_trees(recipe: Recipe) -> Tree:
    """Trachea, main bronchi and bronchi as lumens."""
    rng = np.random.default_rng(recipe.seed + 1000)
    trees = [_tube(np.array([0.0, 14.0, 182.0]), CARINA, 8.0)]
    for side in ("left", "right"):
        trees.append(_tube(CARINA, HILA[side], 5.6))
        targets = _targets(rng, recipe.airway_tips // 2, side, 15.0)
        lobes = lobe_of(*targets.T)
        for lobe in np.unique(lobes):
            tree = _grown(HILA[side] + [0, 0, 1], targets[lobes == lobe], rng, 0.9, 2.6)
            trees.append(tree)
    return _joined(trees)


def _tube(first: Points, last: Points, radius_mm: float) -> Tree:
    length = float(np.linalg.norm(last - first))
    count = int(length / 0.4)
    t = (np.arange(count) + 0.5) / count
    points = first + t[:, None] * (last - first)
    return Tree(
        points,
        np.full(count, radius_mm, np.float32),
        np.full(count, length / count, np.float32),
    )


def _joined(trees: list[Tree]) -> Tree:
    return Tree(
        np.concatenate([t.points for t in trees]),
        np.concatenate([t.radius_mm for t in trees]),
        np.concatenate([t.step_mm for t in trees]),
    )


def tube_share(
    tree: Tree, geometry: Geometry, *, extra_mm: float = 0.0, factor: float = 1.0
) -> Floats:
    """Volume share of tubes in every voxel; thin ones by their volume, thick ones by distance."""
    share = np.zeros(geometry.shape, np.float32)
    ras = tree.points * [-1, -1, 1]
    where = geometry.ijk_from_ras(ras)[:, ::-1]
    spacing = np.array(geometry.spacing_kji_mm)
    radius = tree.radius_mm * factor + extra_mm
    thin = radius < 0.9 * spacing.max()
    _deposit(share, where[thin], np.pi * radius[thin] ** 2 * tree.step_mm[thin] / spacing.prod())
    np.minimum(share, 1, out=share)
    thick = np.flatnonzero(~thin)
    every = np.maximum(1, (radius[thick] / 1.2).astype(int))
    for index in thick[np.arange(thick.size) % every == 0]:
        _ball(share, where[index], float(radius[index]), spacing)
    return share


def _deposit(share: Floats, where: Points, amount: NDArray[np.floating]) -> None:
    low = np.floor(where).astype(int)
    part = where - low
    for corner in np.ndindex(2, 2, 2):
        at = low + corner
        weight = np.prod(np.where(corner, part, 1 - part), axis=1) * amount
        keep = ((at >= 0) & (at < share.shape)).all(axis=1)
        np.add.at(share, tuple(at[keep].T), weight[keep].astype(np.float32))


def _ball(share: Floats, centre: Points, radius_mm: float, spacing: Points) -> None:
    low = np.maximum(0, np.floor(centre - (radius_mm / spacing) - 1).astype(int))
    high = np.minimum(share.shape, np.ceil(centre + (radius_mm / spacing) + 2).astype(int))
    if (low >= high).any():
        return
    k, j, i = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    d = np.sqrt(
        ((k - centre[0]) * spacing[0]) ** 2
        + ((j - centre[1]) * spacing[1]) ** 2
        + ((i - centre[2]) * spacing[2]) ** 2
    )
    inside = np.clip(0.5 + (radius_mm - d) / spacing.mean(), 0, 1).astype(np.float32)
    view = share[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    np.maximum(view, inside, out=view)


def coordinates(geometry: Geometry) -> tuple[Floats, Floats, Floats]:
    """x, y, z of every voxel."""
    return (
        -geometry.coordinate_mm("R"),
        -geometry.coordinate_mm("A"),
        geometry.coordinate_mm("S"),
    )


def share_inside(values: Floats, spacing_kji_mm: tuple[float, float, float]) -> Floats:
    """Turn an implicit surface into volume shares, one voxel wide at its border."""
    slope = np.sqrt(sum(np.square(g) for g in np.gradient(values, *spacing_kji_mm)))
    distance = values / np.maximum(slope, 1e-3)
    return np.clip(0.5 - distance / np.mean(spacing_kji_mm), 0, 1).astype(np.float32)


def _mix(base: Floats, share: Floats, hu: Floats | float) -> None:
    base += share * (hu - base)


def build(
    spacing_mm: tuple[float, float, float] = (1.5, 1.5, 1.5),
    recipe: Recipe | None = None,
    *,
    geometry: Geometry | None = None,
    pull: Callable[[Floats, Floats, Floats], tuple[Floats, Floats, Floats]] | None = None,
    push: Move | None = None,
) -> SecondChest:
    """Draw the chest on a grid.

    Parameters
    ----------
    spacing_mm
        Voxel size along I, J, K; ignored with ``geometry``.
    recipe
        What it is made of.
    geometry
        Another grid.
    pull, push
        A movement and its inverse: ``pull`` says where in the chest at rest the tissue at a place
        of the grid comes from, ``push`` carries points of the chest at rest (N, 3) onto the grid.
        Only the lungs, their fissures, vessels and bronchi, the diaphragm and what lies below move.

    """
    recipe = recipe or Recipe()
    geometry = geometry or grid(spacing_mm)
    rest = coordinates(geometry)
    x, y, z = pull(*rest) if pull else rest
    spacing = geometry.spacing_kji_mm
    cover = lambda values: share_inside(values, spacing)  # noqa: E731
    rng = np.random.default_rng(recipe.seed + 5)

    hu = _body(rest, recipe, spacing)
    above = diaphragm(x, y, z)
    inner = cover(thorax(x, y, z))
    _mix(hu, inner, recipe.fat_hu * 0.3 + 0.7 * recipe.muscle_hu)
    below = cover(np.maximum(thorax(x, y, z) + 2, -above + 3))
    _mix(hu, below, np.where(x < 25, recipe.liver_hu, 0.5 * (recipe.fat_hu + recipe.muscle_hu)))
    organs = {"liver": (below > 0.99) & (x < 22)}
    _mix(hu, cover(heart(x, y, z)), recipe.blood_hu)
    organs["heart"] = heart(x, y, z) < -4
    for name, shape in (("aorta", aorta), ("trunk", trunk)):
        values = shape(*rest)
        _mix(hu, cover(values), recipe.blood_hu)
        organs[name] = values < -2
    _spine(hu, rest, spacing)
    if recipe.stomach_gas_hu is not None:
        bubble = 40 * (
            np.sqrt(((x - 74) / 44) ** 2 + ((y + 2) / 47) ** 2 + ((z + 84) / 30) ** 2) - 1
        )
        gas = np.maximum(bubble, recipe.stomach_wall_mm - above * 0.8)
        _mix(hu, cover(gas), recipe.stomach_gas_hu)
        organs["stomach"] = gas < 0

    in_lung = cover(lung(x, y, z))
    flesh = _parenchyma(recipe, (x, y, z), geometry, rng)
    organs["patches"] = np.zeros(geometry.shape, np.bool_)
    for patch in recipe.patches:
        share = _patch_share(patch, (x, y, z), recipe.seed)
        _mix(flesh, share, patch.hu)
        organs["patches"] |= (share > 0.5) & (in_lung > 0.5)
    if recipe.fissure_mm:
        _fissures(flesh, (x, y, z), recipe, spacing)
    _mix(hu, in_lung, flesh)

    vessels = vessel_tree(recipe)
    airways = airway_trees(recipe)
    if push:
        vessels, airways = vessels.moved(push), airways.moved(push)
    vessel_share = tube_share(vessels, geometry)
    _mix(hu, vessel_share, recipe.blood_hu)
    wall = tube_share(airways, geometry, factor=1 + recipe.wall_share, extra_mm=0.15)
    _mix(hu, np.maximum(wall - vessel_share, 0), 25.0)
    lumen = tube_share(airways, geometry)
    _mix(hu, lumen, recipe.tracheal_air_hu)
    if recipe.open_neck:
        rx, ry, rz = rest
        slit = (np.abs(rx) < 6) & (ry < 16) & (rz > 150) & (rz < 162)
        hu[slit] = recipe.outside_hu

    mask = in_lung > 0.5
    central = np.minimum(
        *(np.linalg.norm(np.stack(rest) - h[:, None, None, None], axis=0) for h in HILA.values())
    )
    tree = lumen > 0.5
    wide = tree & (central < 12)
    mask &= ~wide
    labels = np.where(mask, lobe_of(x, y, z), np.uint8(0))
    sides = np.where(mask, np.where(labels <= 5, np.uint8(1), np.uint8(2)), np.uint8(0))
    return SecondChest(
        recipe=recipe,
        geometry=geometry,
        hu=hu,
        lobes=Labelmap(labels, geometry, LOBES),
        lungs=Labelmap(sides, geometry, {1: "left_lung", 2: "right_lung"}),
        airways=tree,
        vessels=np.where(mask, vessel_share, 0).astype(np.float32),
        organs=organs,
    )


def _body(
    rest: tuple[Floats, Floats, Floats], recipe: Recipe, spacing: tuple[float, float, float]
) -> Floats:
    """Room, skin, fat, muscle and ribs."""
    x, y, z = rest
    hu = np.full(x.shape, recipe.outside_hu, np.float32)
    neck = np.clip((z - 120) / 40, 0, 1)
    a, b = 172 - 95 * neck, 118 - 45 * neck
    shape = (np.abs(x / a) ** 2.7 + np.abs((y - 6) / b) ** 2.5) ** (1 / 2.6)
    body = 120 * (shape - 1)
    _mix(hu, share_inside(body, spacing), recipe.fat_hu)
    _mix(hu, share_inside(body + 14, spacing), recipe.muscle_hu)
    cage = thorax(x, y, z) - 5
    slant = z + 0.45 * np.abs(y - 60) - 0.1 * np.abs(x)
    ribs = np.abs(np.mod(slant, 26) - 13) < 4.5
    bone = (np.abs(cage - 1) < 4) & ribs & (z < 112) & (z > -140)
    _mix(hu, bone.astype(np.float32), 320.0)
    table = (np.abs(y - 131) < 2.5) & (np.abs(x) < 170)
    hu[table] = -300
    return hu


def _spine(
    hu: Floats, rest: tuple[Floats, Floats, Floats], spacing: tuple[float, float, float]
) -> None:
    x, y, z = rest
    body = np.hypot(x / 20, (y - 68) / 17) * 18 - 18
    _mix(hu, share_inside(body, spacing), np.where(np.mod(z, 24) < 5, 90.0, 210.0))


def _parenchyma(
    recipe: Recipe,
    where: tuple[Floats, Floats, Floats],
    geometry: Geometry,
    rng: np.random.Generator,
) -> Floats:
    """Lung tissue without vessels: gravity gradient and a 1/f field fixed to the tissue."""
    x, y, z = where
    step = 3.0
    size = tuple(int((high - low) / step) + 3 for low, high in reversed(EXTENT_MM))
    coarse = random_field(size, 1.35, int(rng.integers(1 << 30)))
    index = [(c - low) / step for c, (low, _) in zip((z, y, x), reversed(EXTENT_MM), strict=True)]
    texture = ndimage.map_coordinates(coarse, index, order=1, mode="nearest")
    return np.asarray(
        recipe.lung_hu + recipe.gravity_hu_per_mm * y + recipe.texture_hu * texture, np.float32
    )


def _patch_share(patch: Patch, where: tuple[Floats, Floats, Floats], seed: int) -> Floats:
    u, v, w = ((c - m) / r for c, m, r in zip(where, patch.centre, patch.radii, strict=True))
    radius = np.sqrt(u * u + v * v + w * w)
    rng = np.random.default_rng(seed + 77)
    waves = sum(
        rng.normal() * np.sin(a * u + b * v + c * w + rng.uniform(0, 6))
        for a, b, c in rng.normal(0, 4, (8, 3))
    )
    edge = radius - 1 - patch.ragged * 0.35 * waves
    return np.clip(0.5 - edge * min(patch.radii) / 3.0, 0, 1).astype(np.float32)


def _fissures(
    flesh: Floats,
    where: tuple[Floats, Floats, Floats],
    recipe: Recipe,
    spacing: tuple[float, float, float],
) -> None:
    """Draw sheets of tissue as thick as `Recipe.fissure_mm`, spread over about a voxel."""
    x, y, z = where
    sigma = 0.42 * float(np.mean(spacing))
    slope = lambda f: np.sqrt(sum(np.square(g) for g in np.gradient(f, *spacing)))  # noqa: E731
    sheets = [(oblique(x, y, z), np.ones(x.shape, np.bool_))]
    sheets.append((horizontal(x, y, z), (x < 0) & (oblique(x, y, z) < 0)))
    for values, part in sheets:
        distance = values / np.maximum(slope(values), 0.2)
        share = recipe.fissure_mm / (np.sqrt(2 * np.pi) * sigma)
        share = np.minimum(share, 1) * np.exp(-0.5 * (distance / sigma) ** 2)
        if not recipe.fissure_complete:
            part = part & (np.sin(x / 31) + np.cos(y / 27) > -0.6)
        _mix(flesh, np.where(part, share, 0).astype(np.float32), 20.0)
