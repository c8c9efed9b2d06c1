"""Vessel phantom: branching trees and calibration tubes whose blood volume is known by size.

Vessels are chains of round cones with an analytic signed distance.  They are painted on a fine
grid, blurred by the point spread, averaged over the slice, sampled, and given correlated noise;
the truth is summed on the fine grid, so that overlapping vessels count once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from lungperfusion.terms import AIRWAYS, STRUCTURES, Region
from lungperfusion.volume import Axis, Geometry, Labelmap, Mask, Volume

PARENCHYMA_HU = -850.0
"""Lung between the vessels at full inspiration; methods.md D.3 and D.5 span -880 to -780."""
BLOOD_HU = 40.0
"""Blood without contrast agent."""
TISSUE_HU = 30.0
"""Chest wall, consolidation and nodules."""
AIRWAY_WALL_HU = -100.0
AIR_HU = -1000.0
FISSURE_HU = -300.0

MURRAY_EXPONENT = 3.0
"""Parent radius cubed is the sum of the daughters' radii cubed: Murray 1926, PNAS 12:207."""
LEAST_RADIUS_MM = 0.4

_AXES: tuple[Axis, Axis, Axis] = ("R", "A", "S")
FINE_MM = 0.36
"""Largest side of the voxels that vessels are painted on."""
_EDGE_MM = 0.35
_SLAB_VOXELS = 16_000_000
_FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))


@dataclass(frozen=True, eq=False)
class Tubes:
    """Round cones: ``n`` pieces of vessel in RAS mm.

    Parameters
    ----------
    start_mm, end_mm
        Axis end points, shape (n, 3).
    start_radius_mm, end_radius_mm
        Radii at these points, shape (n,); the radius is linear between them.

    """

    start_mm: NDArray[np.float64]
    end_mm: NDArray[np.float64]
    start_radius_mm: NDArray[np.float64]
    end_radius_mm: NDArray[np.float64]

    @property
    def size(self) -> int:
        """Number of pieces."""
        return int(self.start_mm.shape[0])

    def joined(self, *others: Tubes) -> Tubes:
        """All pieces together."""
        every = (self, *others)
        return Tubes(
            np.concatenate([tubes.start_mm for tubes in every]),
            np.concatenate([tubes.end_mm for tubes in every]),
            np.concatenate([tubes.start_radius_mm for tubes in every]),
            np.concatenate([tubes.end_radius_mm for tubes in every]),
        )

    def moved(
        self, *, rotation: NDArray[np.float64] | None = None, shift_mm: Sequence[float] = (0, 0, 0)
    ) -> Tubes:
        """Rotate about the origin, then shift."""
        turn = np.eye(3) if rotation is None else rotation
        return replace(
            self,
            start_mm=self.start_mm @ turn.T + np.asarray(shift_mm),
            end_mm=self.end_mm @ turn.T + np.asarray(shift_mm),
        )


NO_TUBES = Tubes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros(0))


def straight_tube(
    centre_mm: Sequence[float], direction: Sequence[float], length_mm: float, area_mm2: float
) -> Tubes:
    """One calibration tube of constant cross-section."""
    axis = np.asarray(direction, dtype=np.float64)
    axis = axis / np.linalg.norm(axis) * (length_mm / 2)
    centre = np.asarray(centre_mm, dtype=np.float64)
    radius = np.array([math.sqrt(area_mm2 / math.pi)])
    return Tubes((centre - axis)[None], (centre + axis)[None], radius, radius)


def curved_tube(
    points_mm: NDArray[np.float64], radii_mm: NDArray[np.float64], *, pieces: int = 6
) -> Tubes:
    """Quadratic Bezier vessel through its end points, with linear taper.

    Parameters
    ----------
    points_mm
        Start, control point and end, shape (3, 3).
    radii_mm
        Radius at start and end, shape (2,).
    pieces
        Straight pieces it is made of.

    """
    t = np.linspace(0.0, 1.0, pieces + 1)[:, None]
    line = (1 - t) ** 2 * points_mm[0] + 2 * t * (1 - t) * points_mm[1] + t**2 * points_mm[2]
    radius = radii_mm[0] + (radii_mm[1] - radii_mm[0]) * t[:, 0]
    return Tubes(line[:-1], line[1:], radius[:-1], radius[1:])


def murray_tree(
    root_mm: Sequence[float],
    direction: Sequence[float],
    root_radius_mm: float,
    *,
    room: Room,
    seed: int,
    least_radius_mm: float = LEAST_RADIUS_MM,
    clearance_mm: float = 1.5,
    taken: Tubes = NO_TUBES,
) -> Tubes:
    """Grow a branching tree that keeps Murray's law and stays inside the lung.

    Daughters have 0.7 to 0.85 of the parent's radius, turn by 20 to 45 degrees, are 6 to 10 radii
    long, bend, and taper by 4 % (methods.md D.5).

    Parameters
    ----------
    root_mm, direction, root_radius_mm
        Where the tree enters, and how.
    room
        Lung that the tree must stay in.
    seed
        Seed of the random generator.
    least_radius_mm
        Vessels that would be thinner are not grown.
    clearance_mm
        Least distance between walls of vessels that do not join.
    taken
        Vessels that are there already.

    """
    rng = np.random.default_rng(seed)
    axis = np.asarray(direction, dtype=np.float64)
    queue = [(np.asarray(root_mm, np.float64), axis / np.linalg.norm(axis), root_radius_mm)]
    grown: list[Tubes] = []
    points = [_samples(taken)] if taken.size else []
    while queue:
        start, heading, radius = queue.pop(0)
        tube = _grow(start, heading, radius, room, points, clearance_mm, rng)
        if tube is None:
            continue
        grown.append(tube)
        points.append(_samples(tube))
        end, end_radius = tube.end_mm[-1], float(tube.end_radius_mm[-1])
        along = tube.end_mm[-1] - tube.start_mm[-1]
        along /= np.linalg.norm(along)
        share = rng.uniform(0.7, 0.85)
        radii = (
            end_radius * share,
            end_radius * (1 - share**MURRAY_EXPONENT) ** (1 / MURRAY_EXPONENT),
        )
        roll = rng.uniform(0, 2 * math.pi)
        for side, daughter in enumerate(radii):
            if daughter >= least_radius_mm:
                angle = math.radians(rng.uniform(20, 45))
                queue.append((end, _turned(along, angle, roll + side * math.pi), daughter))
    return grown[0].joined(*grown[1:]) if grown else NO_TUBES


def _samples(tubes: Tubes) -> NDArray[np.float64]:
    """Points on the axes with their radius, shape (m, 4)."""
    t = np.array([0.0, 0.5, 1.0])[:, None, None]
    points = tubes.start_mm + t * (tubes.end_mm - tubes.start_mm)
    radius = tubes.start_radius_mm + t[..., 0] * (tubes.end_radius_mm - tubes.start_radius_mm)
    return np.concatenate([points, radius[..., None]], axis=2).reshape(-1, 4)


def _turned(axis: NDArray[np.float64], angle: float, roll: float) -> NDArray[np.float64]:
    """Direction at an angle from an axis; ``roll`` says to which side."""
    first = np.cross(axis, np.eye(3)[int(np.argmin(np.abs(axis)))])
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    side = math.cos(roll) * first + math.sin(roll) * second
    return np.asarray(math.cos(angle) * axis + math.sin(angle) * side)


def _grow(
    start: NDArray[np.float64],
    heading: NDArray[np.float64],
    radius: float,
    room: Room,
    points: list[NDArray[np.float64]],
    clearance_mm: float,
    rng: np.random.Generator,
) -> Tubes | None:
    """Try several bends; take the first that has room."""
    others = np.concatenate(points) if points else np.zeros((0, 4))
    others = others[np.linalg.norm(others[:, :3] - start, axis=1) > 3 * radius + others[:, 3] + 1]
    tree = cKDTree(others[:, :3]) if len(others) else None
    length = radius * rng.uniform(6, 10)
    for attempt in range(24):
        length *= 0.97
        bend = _turned(
            heading, math.radians(rng.uniform(0, min(90, 8 + 6 * attempt))), rng.uniform(0, 6.3)
        )
        control = start + heading * length / 2
        ends = np.stack([start, control, control + bend * length / 2])
        tube = curved_tube(ends, np.array([radius, 0.96 * radius]))
        samples = _samples(tube)
        if (room.depth_mm(samples[:, :3]) < samples[:, 3] + 1.0).any():
            continue
        if tree is not None:
            distance, nearest = tree.query(samples[:, :3], k=min(4, len(others)))
            gap = distance - others[nearest, 3] - samples[:, 3][:, None]
            if (gap < clearance_mm).any():
                continue
        return tube
    return None


@dataclass(frozen=True)
class Room:
    """Ellipsoidal lung.

    Parameters
    ----------
    centre_mm
        Its centre, RAS.
    half_axes_mm
        Half its size along R, A, S.

    """

    centre_mm: tuple[float, float, float]
    half_axes_mm: tuple[float, float, float]

    def depth_mm(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Depth below the surface to first order; negative outside."""
        scaled = (points_mm - np.asarray(self.centre_mm)) / np.asarray(self.half_axes_mm)
        level = np.linalg.norm(scaled, axis=-1)
        slope = np.linalg.norm(scaled / np.asarray(self.half_axes_mm), axis=-1)
        return np.asarray((1.0 - level) * level / np.maximum(slope, 1e-9))


@dataclass(frozen=True, eq=False, kw_only=True)
class Traps:
    """Dense tissue that is no vessel, and what surrounds it."""

    nodules: tuple[tuple[tuple[float, float, float], float], ...] = ()
    """Centre and radius of spheres of soft tissue."""
    consolidations: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...] = ()
    """Centre and half axes of ellipsoids of soft tissue."""
    airways: Tubes = field(default_factory=lambda: NO_TUBES)
    """Outer surface of the airways; the lumen is what the wall leaves."""
    airway_wall_share: float = 0.3
    """Wall thickness over outer radius."""
    fissures: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...] = ()
    """Point on and normal of plane sheets."""
    fissure_thickness_mm: float = 0.8


@dataclass(frozen=True, eq=False)
class VesselPhantom:
    """Phantom CT with its truth.

    Parameters
    ----------
    ct
        Image in HU.
    lungs
        ``left_lung`` or ``right_lung`` labels (and ``airways`` lumen, where there are traps).
    vessels
        The vessels in it.
    area_edges_mm2, volume_ml
        Blood volume between successive cross-sections: truth, overlaps counted once.
    coverage
        Share of each voxel that is vessel, before blurring, float32.

    """

    ct: Volume
    lungs: Labelmap
    vessels: Tubes
    area_edges_mm2: tuple[float, ...]
    volume_ml: tuple[float, ...]
    coverage: Volume

    def between_ml(self, low_mm2: float, high_mm2: float) -> float:
        """Give the true volume between two areas that are among the edges."""
        edges = list(self.area_edges_mm2)
        return float(sum(self.volume_ml[edges.index(low_mm2) : edges.index(high_mm2)]))


TRUTH_EDGES_MM2 = (0.0, 1.25, 5.0, 10.0, 20.0, 40.0, 90.0, math.inf)
"""Borders between the truth's bins."""


def render_vessels(
    vessels: Tubes,
    geometry: Geometry,
    *,
    rooms: Sequence[Room] = (),
    psf_fwhm_mm: float = 1.0,
    noise_hu: float = 30.0,
    noise_fwhm_mm: float = 1.0,
    parenchyma_hu: float = PARENCHYMA_HU,
    blood_hu: float = BLOOD_HU,
    traps: Traps | None = None,
    seed: int = 0,
    fine_mm: float = FINE_MM,
) -> VesselPhantom:
    """Image vessels as a scanner would.

    Parameters
    ----------
    vessels
        What to paint.
    geometry
        Voxel grid; slices are as thick as their spacing.
    rooms
        Lungs (right first, then left); without any the whole image is right lung.  Around them
        lies soft tissue.
    psf_fwhm_mm
        Full width at half maximum of the Gaussian point spread, before the average over the slice.
    noise_hu, noise_fwhm_mm
        Standard deviation and correlation length of the noise; 0 for none.
    parenchyma_hu, blood_hu
        Densities.
    traps
        Dense tissue that is no vessel.
    seed
        Seed of the noise.
    fine_mm
        Largest side of the voxels that vessels are painted on.  At the default a tube of 1 mm2
        holds 1.5 % too little to 0.8 % too much, by its direction, and its truth with it.

    """
    traps = traps or Traps()
    parts = [max(1, math.ceil(mm / fine_mm)) for mm in geometry.spacing_kji_mm]
    steps = (parts[0], parts[1], parts[2])
    ct = np.empty(geometry.shape, np.float32)
    coverage = np.empty(geometry.shape, np.float32)
    volumes = np.zeros(len(TRUTH_EDGES_MM2) - 1)
    sigma_mm = psf_fwhm_mm / _FWHM_PER_SIGMA
    margin = math.ceil(4 * sigma_mm / geometry.spacing_kji_mm[0]) + 1
    plane = geometry.shape[1] * geometry.shape[2] * math.prod(steps)
    depth = max(1, _SLAB_VOXELS // plane)
    for first in range(0, geometry.shape[0], depth):
        last = min(geometry.shape[0], first + depth)
        low, high = max(0, first - margin), min(geometry.shape[0], last + margin)
        slab = geometry.crop((slice(low, high), slice(None), slice(None)))
        fine = _subdivided(slab, steps)
        share, area = _paint(vessels, fine)
        lung = _inside(fine, rooms)
        tissue = _tissue_hu(fine, lung, parenchyma_hu, traps)
        density = tissue + share * (blood_hu - tissue)
        blurred = _blur(density, fine, sigma_mm)
        inner = slice(first - low, last - low)
        ct[first:last] = _sampled(blurred, steps)[inner]
        coverage[first:last] = _averaged(share, steps)[inner]
        owned = slice((first - low) * steps[0], (last - low) * steps[0])
        blood = lung[owned] & (share[owned] > 0)
        counts, _ = np.histogram(
            area[owned][blood], bins=np.array(TRUTH_EDGES_MM2), weights=share[owned][blood]
        )
        volumes += counts * fine.voxel_volume_ml
    if noise_hu > 0:
        ct += correlated_noise(geometry, noise_hu, noise_fwhm_mm, seed)
    return VesselPhantom(
        ct=Volume(np.rint(ct).astype(np.int16), geometry, "HU"),
        lungs=_lung_labels(geometry, rooms, traps),
        vessels=vessels,
        area_edges_mm2=TRUTH_EDGES_MM2,
        volume_ml=tuple(volumes.tolist()),
        coverage=Volume(coverage, geometry, "1"),
    )


def correlated_noise(
    geometry: Geometry, sd_hu: float, fwhm_mm: float, seed: int
) -> NDArray[np.float32]:
    """Noise with the texture of filtered back-projection: little power at low frequencies.

    A difference of Gaussians, scaled to the standard deviation asked for.
    """
    rng = np.random.default_rng(seed)
    white = rng.standard_normal(geometry.shape, dtype=np.float32)
    sigma = [fwhm_mm / _FWHM_PER_SIGMA / mm for mm in geometry.spacing_kji_mm]
    noise = ndimage.gaussian_filter(white, sigma)
    noise -= 0.6 * ndimage.gaussian_filter(white, [2.5 * s for s in sigma])
    noise *= sd_hu / float(noise.std(dtype=np.float64))
    return np.asarray(noise)


def _subdivided(geometry: Geometry, steps: tuple[int, int, int]) -> Geometry:
    """Grid that divides every voxel into equal parts."""
    matrix = geometry.ijk_to_ras.copy()
    parts = np.array(steps[::-1], dtype=np.float64)
    matrix[:3, :3] /= parts
    matrix[:3, 3] = geometry.ras_from_ijk((1 / parts - 1) / 2)
    k, j, i = (n * step for n, step in zip(geometry.shape, steps, strict=True))
    return Geometry((k, j, i), matrix)


def _averaged(array: NDArray[np.float32], steps: tuple[int, int, int]) -> NDArray[np.float32]:
    k, j, i = (n // step for n, step in zip(array.shape, steps, strict=True))
    parts = array.reshape(k, steps[0], j, steps[1], i, steps[2])
    return np.asarray(parts.mean(axis=(1, 3, 5)))


def _sampled(array: NDArray[np.float32], steps: tuple[int, int, int]) -> NDArray[np.float32]:
    """Average over the slice thickness, and take the value at the voxel centre in the plane."""
    k = array.shape[0] // steps[0]
    slices = array.reshape(k, steps[0], *array.shape[1:]).mean(axis=1)
    for axis, step in ((1, steps[1]), (2, steps[2])):
        centre = [
            np.take(slices, np.arange(start, slices.shape[axis], step), axis=axis)
            for start in {(step - 1) // 2, step // 2}
        ]
        slices = np.mean(centre, axis=0)
    return np.asarray(slices)


def _blur(array: NDArray[np.float32], fine: Geometry, sigma_mm: float) -> NDArray[np.float32]:
    """Gaussian point spread, less the blur that the soft edge of the painting has already."""
    left = math.sqrt(max(0.0, sigma_mm**2 - _EDGE_MM**2 / 12))
    return np.asarray(
        ndimage.gaussian_filter(array, [left / mm for mm in fine.spacing_kji_mm], mode="nearest")
    )


def _paint(tubes: Tubes, fine: Geometry) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Share of each fine voxel inside the vessels, and the cross-section of the deepest one."""
    surface = np.full(fine.shape, np.float32(_EDGE_MM), np.float32)
    area = np.zeros(fine.shape, np.float32)
    for index in range(tubes.size):
        _paint_one(surface, area, fine, tubes, index)
    return np.clip(0.5 - surface / np.float32(_EDGE_MM), 0, 1), area


def _paint_one(
    surface: NDArray[np.float32],
    area: NDArray[np.float32],
    fine: Geometry,
    tubes: Tubes,
    index: int,
) -> None:
    start, end = tubes.start_mm[index], tubes.end_mm[index]
    radii = tubes.start_radius_mm[index], tubes.end_radius_mm[index]
    box = _box(fine, np.stack([start, end]), max(radii) + 1.5 * _EDGE_MM)
    if box is None:
        return
    part = fine.crop(box)
    axis = end - start
    length = float(axis @ axis)
    t = np.zeros(part.shape, np.float32)
    offsets = [part.coordinate_mm(name) - np.float32(start[n]) for n, name in enumerate(_AXES)]
    for n in range(3):
        t += offsets[n] * np.float32(axis[n] / length)
    np.clip(t, 0, 1, out=t)
    squared = sum((offsets[n] - t * np.float32(axis[n])) ** 2 for n in range(3))
    radius = np.float32(radii[0]) + t * np.float32(radii[1] - radii[0])
    # A soft edge of width h adds pi h^2 / 12 to a disc; a radius smaller by as much makes up.
    painted = np.sqrt(np.maximum(radius**2 - _EDGE_MM**2 / 12, 0))
    distance = np.sqrt(squared) - painted
    nearer = distance < surface[box]
    surface[box][nearer] = distance[nearer]
    area[box][nearer] = (np.pi * radius**2)[nearer]


def _box(
    geometry: Geometry, points_mm: NDArray[np.float64], margin_mm: float
) -> tuple[slice, slice, slice] | None:
    """Voxels within a margin of the bounding box of some points; None when all lie outside."""
    index = geometry.ijk_from_ras(points_mm)
    reach = margin_mm * np.linalg.norm(np.linalg.inv(geometry.ijk_to_ras[:3, :3]), axis=1)
    low = np.floor(index.min(axis=0) - reach).astype(int)[::-1]
    high = np.ceil(index.max(axis=0) + reach).astype(int)[::-1] + 1
    low, high = np.maximum(low, 0), np.minimum(high, geometry.shape)
    if (low >= high).any():
        return None
    k, j, i = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return k, j, i


def _within(geometry: Geometry, room: Room) -> Mask:
    """Voxels whose centre lies inside an ellipsoid."""
    level = np.zeros(geometry.shape, np.float32)
    for axis, centre, half in zip(_AXES, room.centre_mm, room.half_axes_mm, strict=True):
        scaled = geometry.coordinate_mm(axis)
        scaled -= np.float32(centre)
        scaled /= np.float32(half)
        level += np.square(scaled, out=scaled)
    return np.asarray(level < 1)


def _inside(geometry: Geometry, rooms: Sequence[Room]) -> Mask:
    inside = np.full(geometry.shape, not rooms)
    for room in rooms:
        inside |= _within(geometry, room)
    return inside


def _tissue_hu(
    fine: Geometry, lung: Mask, parenchyma_hu: float, traps: Traps
) -> NDArray[np.float32]:
    """Density of everything but the vessels."""
    tissue = np.full(fine.shape, np.float32(parenchyma_hu), np.float32)
    for point, normal in traps.fissures:
        unit = np.asarray(normal, np.float64) / np.linalg.norm(normal)
        height = sum(
            (fine.coordinate_mm(name) - np.float32(point[n])) * np.float32(unit[n])
            for n, name in enumerate(_AXES)
        )
        sheet = np.abs(height) <= traps.fissure_thickness_mm / 2
        tissue[sheet] = FISSURE_HU
    spheres = [(centre, (radius,) * 3) for centre, radius in traps.nodules]
    for centre, half in [*spheres, *traps.consolidations]:
        box = _box(fine, np.asarray([centre], np.float64), max(half))
        if box is not None:
            inside = _within(fine.crop(box), Room(centre, half))
            tissue[box][inside] = TISSUE_HU
    if traps.airways.size:
        lumen = replace(
            traps.airways,
            start_radius_mm=traps.airways.start_radius_mm * (1 - traps.airway_wall_share),
            end_radius_mm=traps.airways.end_radius_mm * (1 - traps.airway_wall_share),
        )
        outer, inner = _paint(traps.airways, fine)[0], _paint(lumen, fine)[0]
        tissue += outer * (AIRWAY_WALL_HU - tissue)
        tissue += inner * (AIR_HU - tissue)
    tissue[~lung] = TISSUE_HU
    return tissue


def _lung_labels(geometry: Geometry, rooms: Sequence[Room], traps: Traps) -> Labelmap:
    labels = np.zeros(geometry.shape, np.uint8)
    right, left = (STRUCTURES[name].label for name in (Region.RIGHT_LUNG, Region.LEFT_LUNG))
    if not rooms:
        labels[:] = right
    for room, label in zip(rooms, (right, left), strict=False):
        labels[_within(geometry, room)] = label
    names = {left: Region.LEFT_LUNG.value, right: Region.RIGHT_LUNG.value}
    return Labelmap(labels, geometry, {**names, STRUCTURES[AIRWAYS].label: AIRWAYS})
