"""A second breathing chest, of another build than `lungperfusion.phantoms.breathing`.

It shares no code with that phantom and no shape with it: superellipsoid lungs with a concave
mediastinum, a diaphragm that descends as a sine, ribs that swing as bucket and pump handles, lobes
that slip, spectral 1/f texture of half the contrast, random-walk vessels that keep their density
and end 12 mm below the pleura, ramp-filtered noise, and calibration errors between both scans.
No default of the package was first chosen on it; `Benchmarks.vq_accuracy` says which were checked.

Everything is defined in the expiratory frame and mass is conserved unless blood enters: the
inspiratory image shows at ``x + u(x)`` the density of ``x`` over the Jacobian.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from lungperfusion.terms import AIRWAYS, LOBES, LUNGS, STRUCTURES
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume

Points = NDArray[np.float64]
Kind = Literal["ground_glass", "consolidation", "no_blood", "trapping", "emphysema"]

TISSUE = 0.12
"""g/mL of dry lung at expiration; with `BLOOD` a mean of about -735 HU."""

BLOOD = 0.145
"""g/mL of blood where perfusion is normal, at expiration."""

TEXTURE = 0.09
"""Standard deviation of the texture as a share of the tissue; the first phantom has 0.18."""

SOFT_HU, BLOOD_HU, FAT_HU, BONE_HU = 50.0, 42.0, -95.0, 420.0
RIM_MM = 12.0
"""Lung without visible vessels below the pleura."""

_TRACHEA = (0.0, -18.0, 8.0)  # x, y, radius
_AORTA = (-12.0, -62.0, 12.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesion:
    """A ball of changed lung, in the expiratory frame of a chest of scale 1."""

    kind: Kind
    centre_mm: tuple[float, float, float]
    radius_mm: float

    def inside(self, points: Points, scale: float) -> NDArray[np.float64]:
        """Share of the change, 1 within and 0 outside, over an edge of 3 mm."""
        away = np.linalg.norm(points - np.array(self.centre_mm) * scale, axis=1)
        other = np.sign(points[:, 0]) != np.sign(self.centre_mm[0])
        share = np.clip(0.5 - (away - self.radius_mm * scale) / 3.0, 0, 1)
        return np.where(other, 0.0, share)


LESIONS = (
    Lesion(kind="no_blood", centre_mm=(88.0, -30.0, 35.0), radius_mm=27.0),
    Lesion(kind="trapping", centre_mm=(-85.0, 5.0, 40.0), radius_mm=26.0),
    Lesion(kind="trapping", centre_mm=(80.0, 15.0, -40.0), radius_mm=22.0),
)
"""A territory without blood, and two that hardly move."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SecondBreath:
    """Both scans with their truth; maps lie on the expiratory grid and hold inside the lungs."""

    expiration: Volume
    inspiration: Volume
    expiration_lungs: Labelmap
    """With the airways."""
    inspiration_lungs: Labelmap
    expiration_lobes: Labelmap
    inspiration_lobes: Labelmap
    displacement_ras_mm: NDArray[np.float32]
    jacobian: NDArray[np.float32]
    perfusion: NDArray[np.float32]
    """Blood per volume, 1 where normal."""
    depth_mm: NDArray[np.float32]
    """Below the pleura."""
    vessels: Mask

    @property
    def ventilation(self) -> NDArray[np.float32]:
        """Volume change per expiratory volume."""
        return self.jacobian - np.float32(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chest:
    """Shape, motion and content at points of the expiratory frame."""

    scale: float
    motion_mm: float
    slip_mm: float
    lesions: tuple[Lesion, ...]
    without_blood: tuple[str, ...]
    modes: NDArray[np.float64]
    """Phases of the smooth local motion and of perfusion."""

    def outline_mm(self, points: Points) -> NDArray[np.float64]:
        """Signed distance from the lungs' surface, negative inside, to first order."""
        value = self._level(points)
        slope = np.zeros_like(value)
        for axis in range(3):
            step = np.zeros(3)
            step[axis] = 0.5
            slope += (self._level(points + step) - self._level(points - step)) ** 2
        return np.asarray(value / np.maximum(np.sqrt(slope), 0.3))

    def _level(self, points: Points) -> NDArray[np.float64]:
        x, y, z = points.T / self.scale
        lateral = (np.abs(x) - 76.0) / 60.0
        body = np.abs(lateral) ** 2.6 + np.abs(y / 86.0) ** 2.3
        body = (body + np.abs((z + 5.0) / np.where(z > -5, 122.0, 150.0)) ** 2.6) ** (1 / 2.5)
        outline = (body - 1.0) * 66.0
        dome = -108.0 + 34.0 * np.cos(np.clip(lateral * 1.1, -1.5, 1.5)) * np.cos(
            np.clip(y / 75.0, -1.5, 1.5)
        )
        mediastinum = 19.0 + 9.0 * np.cos(z / 45.0) * np.exp(-((y / 60.0) ** 2)) - np.abs(x)
        heart = np.sqrt(((x + 20) / 46) ** 2 + ((y - 38) / 40) ** 2 + ((z + 52) / 46) ** 2)
        level = np.maximum(np.maximum(outline, dome - z), mediastinum)
        return np.asarray(np.maximum(level, (1.0 - heart) * 44.0) * self.scale)

    def fissure_mm(self, points: Points) -> NDArray[np.float64]:
        """Height over the oblique fissure, a bent surface."""
        x, y, z = points.T / self.scale
        return np.asarray((0.78 * z + 0.62 * y + 14.0 + 6.0 * np.sin(x / 30.0)) * self.scale)

    def lobes(self, points: Points) -> NDArray[np.uint8]:
        """Label of the lobe that each point would belong to."""
        upper, right = self.fissure_mm(points) >= 0, points[:, 0] > 0
        x, y, z = points.T / self.scale
        above = z >= 4.0 + 0.08 * y + 4.0 * np.cos(x / 25.0)
        label = [STRUCTURES[lobe].label for lobe in LOBES]
        left_label = np.where(upper, label[0], label[1])
        right_label = np.where(upper, np.where(above, label[2], label[3]), label[4])
        return np.where(right, right_label, left_label).astype(np.uint8)

    def move(self, points: Points, lower: Mask | None = None) -> Points:
        """Displacement from expiration to inspiration."""
        scale, reach = self.scale, self.motion_mm / 38.0
        if lower is None:
            lower = self.fissure_mm(points) < 0
        x, y, z = points.T / scale
        side = np.where(x > 0, 1.0, -1.0)
        down = np.clip((115.0 - z) / 215.0, 0, 1.15)
        lateral = np.abs(x) - 15.0
        swing = np.sin(np.clip(down, 0, 1) * np.pi * 0.85)
        u = np.zeros_like(points)
        u[:, 2] = -self.motion_mm * (1 - np.cos(0.5 * np.pi * down)) * (1.0 - 0.18 * y / 86.0)
        u[:, 2] += reach * 0.045 * lateral * swing  # bucket handles rise at the side
        u[:, 0] = side * reach * (0.05 + 0.06 * swing) * lateral
        u[:, 1] = reach * (0.05 + 0.07 * down) * (y + 90.0)  # pump handles rise in front
        for axis, (a, b, c, phase) in enumerate(self.modes[:3]):
            u[:, axis] += reach * 2.2 * np.sin((a * x + b * y + c * z) / 15.0 + phase)
        for lesion in self.lesions:
            if lesion.kind not in ("trapping", "consolidation"):
                continue
            offset = points / scale - np.array(lesion.centre_mm)
            same = side == np.sign(lesion.centre_mm[0])
            radius = np.linalg.norm(offset, axis=1) / lesion.radius_mm
            fall = np.where(same, 0.13 * reach / (1 + radius**4), 0.0)
            u -= fall[:, None] * offset
        glide = self.slip_mm * (0.5 + 0.5 * np.cos(np.clip(x / 90.0, -1, 1) * np.pi / 2))
        u += (lower * glide)[:, None] * np.array([0.0, -0.78, 0.62])
        return np.asarray(u * scale)

    def jacobian(self, points: Points) -> NDArray[np.float64]:
        """Volume ratio at expiratory points, by central differences of the motion."""
        lower = self.fissure_mm(points) < 0
        columns = []
        for axis in range(3):
            step = np.zeros(3)
            step[axis] = 0.2
            ahead, behind = (self.move(points + s * step, lower) for s in (1, -1))
            columns.append((ahead - behind) / 0.4)
        return np.asarray(np.linalg.det(np.eye(3) + np.stack(columns, axis=-1)))

    def origin_of(self, points: Points, start: Points, steps: int = 25) -> tuple[Points, Mask]:
        """Expiratory places of inspiratory points, and where slipping lobes leave none twice.

        Each lobe moves by itself: a place is taken from the lobe that it then lies in; where
        neither fits, as in the sliver that slipping bends open, from the upper one.
        """
        found = []
        for below in (False, True):
            flag = np.full(len(points), below)
            place = start.copy()
            for _ in range(steps):
                place = points - self.move(place, flag)
            found.append(place)
        low = self.fissure_mm(found[1]) < 0
        return np.where(low[:, None], found[1], found[0]), low

    def blood(self, points: Points) -> NDArray[np.float64]:
        """Blood content, 1 on average where normal."""
        x, y, z = points.T / self.scale
        content = 1 - 0.22 * y / 86.0 - 0.08 * z / 110.0
        a, b, c, phase = self.modes[3]
        content += 0.07 * np.sin((a * x + b * y + c * z) / 12.0 + phase)
        for lesion in self.lesions:
            left = {"no_blood": 0.15, "emphysema": 0.15, "consolidation": 0.7}.get(lesion.kind, 1.0)
            content *= 1 - (1 - left) * lesion.inside(points, self.scale)
        if self.without_blood:
            lobe = self.lobes(points)
            for name in self.without_blood:
                gone = lobe == STRUCTURES[name].label
                if name in LUNGS:
                    gone = (x < 0) == (name == LUNGS[0])
                content = np.where(gone, 0.1 * content, content)
        return np.asarray(content)

    def opacity(self, points: Points) -> NDArray[np.float64]:
        """Density of fluid and cells that lies in ground glass and consolidation, g/mL."""
        out = np.zeros(len(points))
        for lesion in self.lesions:
            added = {"ground_glass": 0.32, "consolidation": 0.72}.get(lesion.kind, 0.0)
            out = np.maximum(out, added * lesion.inside(points, self.scale))
        return out

    def tissue(self, points: Points) -> NDArray[np.float64]:
        """Dry tissue, 1 where normal."""
        out = np.ones(len(points))
        for lesion in self.lesions:
            if lesion.kind == "emphysema":
                out *= 1 - 0.85 * lesion.inside(points, self.scale)
        return out


def make_second_breath(
    *,
    spacing_mm: float = 1.5,
    slice_mm: float | None = None,
    scale: float = 1.0,
    motion_mm: float = 38.0,
    slip_mm: float = 3.0,
    noise_hu: float = 25.0,
    blur_mm: float = 0.7,
    lesions: tuple[Lesion, ...] = LESIONS,
    without_blood: tuple[str, ...] = (),
    blood_change: float = 0.0,
    offset_hu: tuple[float, float] = (0.0, 0.0),
    leaves: int = 420,
    seed: int = 0,
) -> SecondBreath:
    """Make an expiratory and an inspiratory scan with known motion, perfusion and mass.

    Parameters
    ----------
    spacing_mm, slice_mm
        Pixel size and slice distance.
    scale
        Size of lungs and motion; 1 is an adult of about 3.3 L at expiration.
    motion_mm
        Descent of the diaphragm; the ribs swing with it.
    slip_mm
        Sliding of the lower lobes along the oblique fissures.
    noise_hu, blur_mm
        Standard deviations of ramp-filtered noise, and of the point spread.
    lesions
        Balls of changed lung.
    without_blood
        Names of lungs or lobes that keep a tenth of their blood.
    blood_change
        Share of the blood that enters on inspiration.
    offset_hu
        Error of air and of soft tissue in the inspiratory scan, linear between them.
    leaves
        Ends of the vessel tree of each lung.
    seed
        Of motion, texture, vessels and noise.

    """
    rng = np.random.default_rng(1000 + seed)
    modes = np.concatenate([rng.uniform(-1, 1, (4, 3)), rng.uniform(0, 6.28, (4, 1))], axis=1)
    modes[:, :3] /= np.linalg.norm(modes[:, :3], axis=1, keepdims=True)
    chest = _Chest(
        scale=scale, motion_mm=motion_mm, slip_mm=slip_mm, lesions=lesions,
        without_blood=without_blood, modes=modes,
    )  # fmt: skip
    grid = _grid(spacing_mm, slice_mm or spacing_mm, scale, motion_mm)
    texture = _Texture.make(rng, scale)
    trees = [_walk(rng, chest, side, max(30, int(leaves * scale**2))) for side in (-1.0, 1.0)]
    places = np.concatenate([tree[0] for tree in trees])
    radii = np.concatenate([tree[1] for tree in trees])
    still = _draw(grid, chest, texture, places, radii, 0.0, inspiration=False)
    moved = _draw(grid, chest, texture, places, radii, blood_change, inspiration=True)
    images = []
    for drawn, offsets in ((still, (0.0, 0.0)), (moved, offset_hu)):
        hu = ndimage.gaussian_filter(drawn.hu, [blur_mm / s for s in grid.spacing_kji_mm])
        hu += _ramp_noise(rng, grid, noise_hu)
        air = np.clip(-hu / 1000, 0, 1)
        hu += offsets[0] * air + offsets[1] * (1 - air)
        images.append(np.clip(np.rint(hu), -1024, 3071).astype(np.int16))
    return SecondBreath(
        expiration=Volume(images[0], grid, "HU"),
        inspiration=Volume(images[1], grid, "HU"),
        expiration_lungs=_lungs(still, grid),
        inspiration_lungs=_lungs(moved, grid),
        expiration_lobes=_lobes(still.lobes, grid),
        inspiration_lobes=_lobes(moved.lobes, grid),
        displacement_ras_mm=still.displacement,
        jacobian=still.jacobian,
        perfusion=still.perfusion,
        depth_mm=still.depth,
        vessels=still.vessel > 0.25,
    )


def _grid(spacing: float, slice_mm: float, scale: float, motion_mm: float) -> Geometry:
    lower = np.array([-168.0, -122.0, -122.0 - motion_mm]) * scale
    upper = np.array([168.0, 132.0, 138.0]) * scale
    counts = np.ceil((upper - lower) / (spacing, spacing, slice_mm)).astype(int)
    first = (float(upper[0]), float(upper[1]), float(lower[2]))
    shape = (int(counts[2]), int(counts[1]), int(counts[0]))
    return Geometry.axial(shape, (spacing, spacing, slice_mm), first)


@dataclass(frozen=True, eq=False, slots=True)
class _Texture:
    """Spectral 1/f noise of SD 1 on a lattice of the expiratory frame."""

    values: NDArray[np.float32]
    origin_mm: NDArray[np.float64]
    cell_mm: float

    @classmethod
    def make(cls, rng: np.random.Generator, scale: float) -> _Texture:
        cell = 1.3
        origin = np.array([-150.0, -105.0, -140.0]) * scale + 0.29
        shape = np.ceil(np.array([285.0, 205.0, 300.0]) * scale / cell).astype(int)[::-1]
        axes = np.meshgrid(
            np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2]),
            indexing="ij",
        )  # fmt: skip
        frequency = np.sqrt(sum(axis**2 for axis in axes)) / cell
        # 1/f in amplitude per mode from 40 mm down to the lattice.
        gain = np.where(frequency > 1 / 40, 1 / np.maximum(frequency, 1e-6), 0)
        white = np.fft.rfftn(rng.standard_normal(shape, dtype=np.float32))
        values = np.fft.irfftn(white * gain, tuple(shape), axes=(0, 1, 2)).astype(np.float32)
        return cls(values / values.std(), origin, cell)

    def at(self, points: Points) -> NDArray[np.float32]:
        index = ((points - self.origin_mm) / self.cell_mm).T[::-1]
        return np.asarray(ndimage.map_coordinates(self.values, index, order=1, mode="nearest"))


def _walk(
    rng: np.random.Generator, chest: _Chest, side: float, leaves: int
) -> tuple[Points, NDArray[np.float64]]:
    """Grow a tree by random walks: each leaf walks to the nearest place already reached."""
    scale = chest.scale
    hilum = np.array([30.0 * side, -12.0, 2.0]) * scale
    cloud = rng.uniform(-1, 1, (leaves * 30, 3)) * (62.0, 88.0, 125.0) + (76.0 * side, 0.0, -5.0)
    cloud = cloud * scale
    wanted = cloud[chest.outline_mm(cloud) < -RIM_MM][:leaves]
    wanted = wanted[np.argsort(np.linalg.norm(wanted - hilum, axis=1))]
    places, above, load = [hilum], [-1], [0.0]
    for leaf in wanted:
        reached = np.array(places)
        cost = np.linalg.norm(reached - leaf, axis=1)
        node = int(np.argmin(cost + 0.25 * np.linalg.norm(reached - hilum, axis=1)))
        place = reached[node]
        walk = []
        while np.linalg.norm(leaf - place) > 3.0:
            ahead = (leaf - place) / np.linalg.norm(leaf - place)
            place = place + 2.5 * ahead + rng.normal(0, 0.7, 3)
            walk.append(place)
        for step in walk:
            places.append(step)
            above.append(node)
            load.append(0.0)
            node = len(places) - 1
        while node >= 0:
            load[node] += 1.0
            node = above[node]
    points, radius = [], []
    for number in range(1, len(places)):
        start, end = places[above[number]], places[number]
        if chest.outline_mm(end[None])[0] > -RIM_MM * 0.5 and load[number] < 20:
            continue
        count = max(2, int(np.linalg.norm(end - start) / 0.6))
        points.append(start + np.linspace(0, 1, count)[:, None] * (end - start))
        radius.append(np.full(count, min(0.75 * load[number] ** (1 / 2.7), 6.5)))
    return np.concatenate(points), np.concatenate(radius)


def _vessel_share(
    points: Points, places: Points, radii: NDArray[np.float64], spacing: float
) -> NDArray[np.float64]:
    """Share of the voxels around points that vessels fill."""
    out = np.zeros(len(points))
    edges = np.quantile(radii, [0, 0.5, 0.8, 0.95, 1.0])
    for low, high in pairwise(edges):
        chosen = (radii >= low) & (radii <= high)
        reach = high + spacing
        away, which = cKDTree(places[chosen]).query(points, distance_upper_bound=reach)
        near = np.isfinite(away)
        radius = radii[chosen][which[near]]
        full = np.minimum(1.0, (2 * radius / spacing) ** 2)
        share = np.clip((radius - away[near]) / spacing + 0.5, 0, 1) * full
        out[near] = np.maximum(out[near], share)
    return out


@dataclass(frozen=True, eq=False, slots=True)
class _Drawn:
    hu: NDArray[np.float32]
    lobes: NDArray[np.uint8]
    airway: Mask
    displacement: NDArray[np.float32]
    jacobian: NDArray[np.float32]
    perfusion: NDArray[np.float32]
    depth: NDArray[np.float32]
    vessel: NDArray[np.float32]


def _draw(
    grid: Geometry,
    chest: _Chest,
    texture: _Texture,
    places: Points,
    radii: NDArray[np.float64],
    blood_change: float,
    *,
    inspiration: bool,
) -> _Drawn:
    shape, spacing = grid.shape, float(np.mean(grid.spacing_kji_mm))
    out = _Drawn(
        np.zeros(shape, np.float32), np.zeros(shape, np.uint8), np.zeros(shape, np.bool_),
        np.zeros((*shape, 3), np.float32), np.ones(shape, np.float32), np.ones(shape, np.float32),
        np.zeros(shape, np.float32), np.zeros(shape, np.float32),
    )  # fmt: skip
    if inspiration:
        # A vessel keeps its volume: as wide as its stretch along itself leaves it.
        ahead = np.gradient(places, axis=0)
        size = np.maximum(np.linalg.norm(ahead, axis=1), 1e-6)[:, None]
        stretch = np.linalg.norm(
            ahead / size
            + (chest.move(places + ahead / size * 0.2) - chest.move(places - ahead / size * 0.2))
            / 0.4,
            axis=1,
        )
        radii = radii / np.sqrt(np.clip(stretch, 0.7, 2.0))
        places = places + chest.move(places)
    near_lungs = _reached(grid, chest) if inspiration else None
    j, i = np.mgrid[0 : shape[1], 0 : shape[2]]
    guess = np.zeros((i.size, 3))
    for k in range(shape[0]):
        ijk = np.stack([i.ravel(), j.ravel(), np.full(i.size, k)], axis=1)
        here = grid.ras_from_ijk(ijk)
        origin, known = here, np.ones(len(here), np.bool_)
        if inspiration:
            known = near_lungs[k].ravel()
            place, _ = chest.origin_of(here[known], here[known] + guess[known], 25 if k == 0 else 9)
            origin = here.copy()
            origin[known] = place
            guess[known] = place - here[known]
        outline = chest.outline_mm(origin)
        tissue, airway = _surroundings(here, outline, chest.scale)
        near = known & (outline < spacing) & ~airway
        points = origin[near]
        jacobian, blood = chest.jacobian(points), chest.blood(points)
        grain = 1 + TEXTURE * texture.at(points)
        density = TISSUE * grain * chest.tissue(points) + BLOOD * blood * (
            1 + blood_change * inspiration
        )
        density = density + chest.opacity(points)
        vessel = _vessel_share(here[near], places, radii, spacing)
        density = density / (jacobian if inspiration else 1.0)
        density = density * (1 - vessel) + (1 + BLOOD_HU / 1000) * vessel
        share = np.clip(0.5 - outline[near] / spacing, 0, 1)
        tissue[near] = tissue[near] * (1 - share) + (1000 * density - 1000) * share
        out.hu[k] = tissue.reshape(shape[1:])
        out.airway[k] = airway.reshape(shape[1:])
        flat_lobes = np.zeros(len(here), np.uint8)
        flat_lobes[near] = np.where(outline[near] <= 0, chest.lobes(points), 0)
        out.lobes[k] = flat_lobes.reshape(shape[1:])
        if not inspiration:
            plane = near.reshape(shape[1:])
            out.displacement[k][plane] = chest.move(points)
            out.jacobian[k][plane] = jacobian
            out.perfusion[k][plane] = blood
            out.depth[k][plane] = -outline[near]
            out.vessel[k][plane] = vessel
    return out


def _reached(grid: Geometry, chest: _Chest) -> Mask:
    """Voxels that lung may move to, with some margin."""
    coarse = grid.with_spacing((6.0, 6.0, 6.0))
    points = coarse.ras_from_ijk(np.argwhere(np.ones(coarse.shape, np.bool_))[:, ::-1])
    inside = points[chest.outline_mm(points) < 12.0]
    there = np.rint(coarse.ijk_from_ras(inside + chest.move(inside))).astype(int)
    hit = np.zeros(coarse.shape, np.bool_)
    i, j, k = np.clip(there, 0, np.array(coarse.shape[::-1]) - 1).T
    hit[k, j, i] = True
    hit = ndimage.binary_dilation(hit, iterations=2)
    steps = [
        np.minimum((np.arange(n) * c / n).astype(int), c - 1)
        for n, c in zip(grid.shape, coarse.shape, strict=True)
    ]
    return np.asarray(hit[np.ix_(*steps)])


def _surroundings(
    here: Points, outline: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.float64], Mask]:
    """Chest wall, ribs that stay where they are, heart, aorta and trachea; and its air."""
    x, y, z = here.T / scale
    round_body = np.abs(x / 163.0) ** 2.2 + np.abs(y / 118.0) ** 2.2
    hu = np.where(round_body < 1, FAT_HU, -1000.0)
    hu = np.where((round_body < 0.86) | (outline < 14.0), SOFT_HU, hu)
    ribs = (outline > 2.0) & (outline < 9.0) & (np.mod(z + 0.35 * y + 0.1 * np.abs(x), 31.0) < 10)
    hu = np.where(ribs & (np.abs(x) > 35), BONE_HU, hu)
    spine = (x / 19) ** 2 + ((y + 88) / 17) ** 2 < 1
    hu = np.where(spine, BONE_HU * 0.5, hu)
    heart = ((x + 20) / 43) ** 2 + ((y - 38) / 37) ** 2 + ((z + 52) / 43) ** 2 < 1
    aorta = np.hypot(x - _AORTA[0], y - _AORTA[1]) < _AORTA[2]
    hu = np.where(heart | aorta, BLOOD_HU, hu)
    tube = np.hypot(x - _TRACHEA[0], y - _TRACHEA[1]) * scale
    above = z > 10.0
    hu = np.where(above & (tube < 8.0), -1000.0, hu)
    return hu.astype(np.float64), np.asarray(above & (tube < 7.5))


def _ramp_noise(rng: np.random.Generator, grid: Geometry, sd_hu: float) -> NDArray[np.float32]:
    """Noise as filtered back-projection leaves it: ramp times a soft window in every slice."""
    shape = grid.shape
    out = np.empty(shape, np.float32)
    fy, fx = np.fft.fftfreq(shape[1])[:, None], np.fft.rfftfreq(shape[2])[None]
    frequency = np.hypot(fy / grid.spacing_kji_mm[1], fx / grid.spacing_kji_mm[2])
    gain = np.sqrt(frequency) * np.exp(-((frequency / 0.28) ** 2))
    for k in range(shape[0]):
        white = np.fft.rfft2(rng.standard_normal(shape[1:], dtype=np.float32))
        out[k] = np.fft.irfft2(white * gain, shape[1:], axes=(0, 1))
    return out * np.float32(sd_hu / max(float(out.std()), 1e-9))


def _lungs(drawn: _Drawn, grid: Geometry) -> Labelmap:
    label = {name: STRUCTURES[name].label for name in (*LUNGS, AIRWAYS)}
    left = np.isin(drawn.lobes, [STRUCTURES[lobe].label for lobe in LOBES[:2]])
    array = np.where(left, label[LUNGS[0]], label[LUNGS[1]]) * (drawn.lobes > 0)
    array = np.where(drawn.airway, label[AIRWAYS], array).astype(np.uint8)
    return Labelmap(array, grid, {value: str(name) for name, value in label.items()})


def _lobes(array: NDArray[np.uint8], grid: Geometry) -> Labelmap:
    return Labelmap(array, grid, {STRUCTURES[lobe].label: lobe.value for lobe in LOBES})
