"""Breathing phantom: two lungs at expiration and inspiration with exactly known motion.

Everything is defined in the expiratory frame.  The inspiratory image shows, at every point
``phi(x)``, the matter that the expiratory one shows at ``x``, thinned by the Jacobian of ``phi``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.progress import Progress, ignore
from lungperfusion.terms import LOBES, LUNGS, STRUCTURES, Region
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume

Points = NDArray[np.float64]
DefectKind = Literal["shunt", "dead_space", "matched_defect", "emphysema"]

MOTION_MM = 40.0
"""Descent of the lung base from expiration to inspiration; deep breaths reach 30 to 45 mm."""

NOISE_HU = 25.0
"""Standard deviation of noise after smoothing; low-dose chest CT lies at 20 to 40 HU."""

BLUR_MM = 0.8
"""Standard deviation of the point spread function, as of a soft reconstruction kernel."""

TISSUE_DENSITY = 0.14
"""g/mL of lung that is neither air nor blood, at expiration."""

BLOOD_DENSITY = 0.16
"""g/mL of blood in the parenchyma at expiration where perfusion is normal."""

BODY_HU = 40.0
BONE_HU = 500.0
VESSEL_HU = 45.0
_DESCENT_POWER = 1.6  # caudal weighting of the craniocaudal motion
_CLOSE_MM = 10.0  # from the lungs; farther away motion only leads to them
_EDGE_MM = 2.5  # over which a loss of blood or tissue begins
_HILUM = np.array([28.0, -5.0, 0.0])  # of the right lung; the left one is its mirror image


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """Region of impaired function with a smooth edge.

    Parameters
    ----------
    kind
        ``"shunt"``: stiff, blood kept; ``"dead_space"``: blood lost, motion kept;
        ``"matched_defect"``: both; ``"emphysema"``: blood and tissue lost, motion kept.
    centre_ras_mm
        Centre in the expiratory frame of a phantom of scale 1.
    radius_mm
        Distance from the centre at which the effect has fallen to a half (blood) or, for
        stiffness, the standard deviation of its Gaussian profile.
    shape
        Of what is lost: a ball, or a wedge that widens from the hilum to the pleura as the
        territory of an artery does, ``radius_mm`` wide to either side at its centre and beginning
        ``radius_mm`` before it.

    """

    kind: DefectKind
    centre_ras_mm: tuple[float, float, float]
    radius_mm: float
    shape: Literal["ball", "wedge"] = "ball"

    def profile(self, points: Points, scale: float) -> NDArray[np.float64]:
        """Share of the loss at expiratory points, 1 inside and 0 far away or in the other lung."""
        centre, radius = np.asarray(self.centre_ras_mm) * scale, self.radius_mm * scale
        side = np.sign(self.centre_ras_mm[0])
        if self.shape == "ball":
            depth = radius - np.linalg.norm(points - centre, axis=1)
        else:
            hilum = _HILUM * (side, 1, 1) * scale
            reach = float(np.linalg.norm(centre - hilum))
            axis = (centre - hilum) / reach
            along = (points - hilum) @ axis
            beside = np.linalg.norm(points - hilum - along[:, None] * axis, axis=1)
            flank = (along * radius / reach - beside) * np.cos(np.arctan2(radius, reach))
            depth = np.minimum(flank, along - (reach - radius))
        inside = 1 / (1 + np.exp(np.clip(-depth / (_EDGE_MM * scale), -50, 50)))
        return np.asarray(inside * (np.sign(points[:, 0]) == side))


DEFECTS = (
    Defect(kind="shunt", centre_ras_mm=(-72.0, -15.0, -40.0), radius_mm=22.0),
    Defect(kind="dead_space", centre_ras_mm=(76.0, 10.0, 45.0), radius_mm=28.0),
    Defect(kind="matched_defect", centre_ras_mm=(74.0, -20.0, -45.0), radius_mm=24.0),
)
"""One defect of each kind, none across a fissure's whole width."""

STIFFNESS = 0.16
"""Strain that a stiff region lacks at its centre, along every axis."""

BLOOD_LEFT = 0.3
"""Share of the normal blood content that a perfusion defect keeps at its centre."""

EMPHYSEMA_LEFT = 0.15
"""Share of tissue and blood that emphysema keeps: about -955 HU at expiration."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BreathingPhantom:
    """Pair of CT images with the truth about motion, ventilation and perfusion.

    All maps of truth lie on the expiratory grid and hold inside the lungs only.
    """

    expiration: Volume
    inspiration: Volume
    expiration_lungs: Labelmap
    inspiration_lungs: Labelmap
    expiration_lobes: Labelmap
    inspiration_lobes: Labelmap
    displacement_ras_mm: NDArray[np.float32]
    """Motion from expiration to inspiration of every voxel, shape (K, J, I, 3), RAS."""
    jacobian: Volume
    """Inspiratory volume per expiratory volume."""
    ventilation: Volume
    """Volume change per expiratory volume, mL/mL: tissue keeps its volume, so this is air."""
    perfusion: Volume
    """Blood content of the parenchyma, 1 where normal."""
    vessels: Mask
    """Voxels of the expiratory grid in which vessels fill more than a quarter."""
    landmarks_expiration_ras_mm: Points
    landmarks_inspiration_ras_mm: Points
    """The same anatomical points (vessel forks) in both images, shape (N, 3)."""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze the settings."""
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Motion:
    """Map from expiration to inspiration; ``scale`` shrinks the whole phantom."""

    motion_mm: float
    scale: float
    defects: tuple[Defect, ...]
    slip_mm: float

    def displacement(self, points: Points, gradient: bool = False) -> tuple[Points, Points]:
        """Displacement without slip and, if asked for, its gradient, shapes (N, 3), (N, 3, 3)."""
        x, y, z = points.T
        side = np.where(x > 0, 1.0, -1.0)
        length = 185.0 * self.scale
        depth = np.clip((100.0 * self.scale - z) / length, 0.0, None)
        reach = self.motion_mm / MOTION_MM
        u = np.zeros_like(points)
        grad = np.zeros((points.shape[0], 3, 3)) if gradient else np.zeros((0, 3, 3))
        # Descent grows towards the diaphragm; ribs lift the front and widen the sides.
        u[:, 2] = -self.motion_mm * self.scale * depth**_DESCENT_POWER
        widen, lift = 0.09 * reach, 0.10 * reach
        u[:, 0] = widen * (x - side * 15.0 * self.scale)
        u[:, 1] = lift * (y + 85.0 * self.scale) * (0.5 + 0.5 * depth)
        if gradient:
            steep = _DESCENT_POWER * depth ** (_DESCENT_POWER - 1.0)
            grad[:, 2, 2] = self.motion_mm * self.scale * steep / length
            grad[:, 0, 0] = widen
            grad[:, 1, 1] = lift * (0.5 + 0.5 * depth)
            inside = depth > 0
            grad[:, 1, 2] = -lift * (y + 85.0 * self.scale) * 0.5 / length * inside
        for defect in self.defects:
            if defect.kind not in ("shunt", "matched_defect"):
                continue
            offset = points - np.asarray(defect.centre_ras_mm) * self.scale
            sigma = defect.radius_mm * self.scale
            stiffness = STIFFNESS * reach
            squared = np.einsum("ij,ij->i", offset, offset)
            profile = stiffness * np.exp(-0.5 * squared / sigma**2)
            same_lung = side == np.sign(defect.centre_ras_mm[0])
            profile = np.where(same_lung, profile, 0.0)
            u -= profile[:, None] * offset
            if gradient:
                outer = offset[:, :, None] * offset[:, None, :] / sigma**2
                grad -= profile[:, None, None] * (np.eye(3) - outer)
        return u, grad

    def slip(self, points: Points) -> Points:
        """Sliding of the lower lobe along the oblique fissure, before everything else moves."""
        below = _fissure_mm(points, self.scale) < 0
        along = np.array([0.0, *_FISSURE_DIRECTION])
        return np.asarray(below[:, None] * along * (self.slip_mm * self.scale))

    def forward(self, points: Points) -> Points:
        """Inspiratory positions of expiratory points."""
        slid = points + self.slip(points)
        return np.asarray(slid + self.displacement(slid)[0])

    def jacobian(self, points: Points) -> NDArray[np.float64]:
        """Volume ratio at expiratory points."""
        slid = points + self.slip(points)
        gradient = self.displacement(slid, gradient=True)[1]
        return np.asarray(np.linalg.det(np.eye(3) + gradient))

    def backward(self, points: Points, start: Points, iterations: int) -> Points:
        """Find positions that end at ``points`` (before undoing the slip) by fixed point."""
        found = start
        for _ in range(iterations):
            found = points - self.displacement(found)[0]
        return found


_FISSURE_NORMAL = np.array([0.75, 0.66]) / np.hypot(0.75, 0.66)  # front and up
_FISSURE_DIRECTION = np.array([-_FISSURE_NORMAL[1], _FISSURE_NORMAL[0]])


def _fissure_mm(points: Points, scale: float) -> NDArray[np.float64]:
    """Signed distance from the oblique fissure, positive in front of and above it."""
    return np.asarray(points[:, 1:] @ _FISSURE_NORMAL + 12.0 * scale)


def _outline_mm(points: Points, scale: float) -> NDArray[np.float64]:
    """Signed distance from the lung outline, about: negative inside."""
    x, y, z = points.T / scale
    lateral = np.abs(x) - 72.0
    body = np.sqrt((lateral / 56.0) ** 2 + (y / 84.0) ** 2 + ((z + 10.0) / 115.0) ** 2)
    outline = (body - 1.0) * 60.0
    dome = -85.0 - z + 25.0 * np.exp(-((lateral / 45.0) ** 2) - (y / 70.0) ** 2)
    heart = 42.0 - np.sqrt((x + 18.0) ** 2 + (y - 35.0) ** 2 + (z + 45.0) ** 2)
    return np.asarray(np.maximum(np.maximum(outline, dome), heart) * scale)


def _lobes(points: Points, scale: float) -> NDArray[np.uint8]:
    """Label of the lobe that each point would belong to."""
    upper = _fissure_mm(points, scale) >= 0
    right = points[:, 0] > 0
    above = points[:, 2] >= 2.0 * scale
    left_names = np.where(upper, _LABEL[LOBES[0]], _LABEL[LOBES[1]])
    right_upper = np.where(above, _LABEL[LOBES[2]], _LABEL[LOBES[3]])
    right_names = np.where(upper, right_upper, _LABEL[LOBES[4]])
    return np.where(right, right_names, left_names).astype(np.uint8)


_LABEL = {region: STRUCTURES[region].label for region in (*LUNGS, *LOBES)}


def make_breathing_phantom(
    *,
    spacing_mm: float = 1.5,
    slice_mm: float | None = None,
    scale: float = 1.0,
    motion_mm: float = MOTION_MM,
    noise_hu: float = NOISE_HU,
    blur_mm: float = BLUR_MM,
    defects: tuple[Defect, ...] = DEFECTS,
    slip_mm: float = 0.0,
    blood_change: float = 0.0,
    seed: int = 0,
    progress: Progress = ignore,
) -> BreathingPhantom:
    """Make an inspiratory and expiratory CT of one pair of lungs.

    Parameters
    ----------
    spacing_mm, slice_mm
        Pixel size, and slice distance (equal by default).
    scale
        Size of the lungs; 1 is an adult (about 3.8 L at expiration), 0.5 makes fast tests.
        Motion shrinks with it, vessels and noise do not.
    motion_mm
        Descent of the base (at scale 1); widening of the ribs goes along.
    noise_hu, blur_mm
        Noise and point spread of both images.
    defects
        Regions of impaired ventilation, perfusion or both.
    slip_mm
        Sliding of the lower lobes along the oblique fissure (at scale 1).
    blood_change
        Share of the parenchymal blood that enters (positive) or leaves on inspiration.  0
        conserves mass exactly.
    seed
        Of texture, vessels and noise.

    Returns
    -------
    BreathingPhantom
        The same bytes for the same arguments.

    """
    rng = np.random.default_rng(seed)
    motion = _Motion(motion_mm=motion_mm, scale=scale, defects=defects, slip_mm=slip_mm)
    geometry = _grid(spacing_mm, slice_mm or spacing_mm, scale, motion_mm)
    progress(0.0, "growing vessels")
    matter = _Matter.grow(rng, scale, defects, cell_mm=max(0.8, 0.8 * spacing_mm))

    progress(0.3, "drawing expiration")
    expiration = _draw(geometry, matter, motion, blood_change, inspiration=False)
    progress(0.5, "drawing inspiration")
    inspiration = _draw(geometry, matter, motion, blood_change, inspiration=True)
    progress(0.9, "adding noise")
    images = [
        _scan(drawn.density, geometry, blur_mm, noise_hu, rng)
        for drawn in (expiration, inspiration)
    ]
    forks = matter.forks
    return BreathingPhantom(
        expiration=Volume(images[0], geometry, "HU"),
        inspiration=Volume(images[1], geometry, "HU"),
        expiration_lungs=_lung_labels(expiration.lobes, geometry),
        inspiration_lungs=_lung_labels(inspiration.lobes, geometry),
        expiration_lobes=_named(expiration.lobes, geometry, LOBES),
        inspiration_lobes=_named(inspiration.lobes, geometry, LOBES),
        displacement_ras_mm=expiration.displacement,
        jacobian=Volume(expiration.jacobian, geometry, "mL/mL"),
        ventilation=Volume(expiration.jacobian - np.float32(1), geometry, "mL/mL"),
        perfusion=Volume(expiration.blood, geometry, "1"),
        vessels=expiration.vessel > 0.25,
        landmarks_expiration_ras_mm=forks,
        landmarks_inspiration_ras_mm=motion.forward(forks),
        settings={
            "spacing_mm": spacing_mm,
            "slice_mm": slice_mm or spacing_mm,
            "scale": scale,
            "motion_mm": motion_mm,
            "noise_hu": noise_hu,
            "blur_mm": blur_mm,
            "slip_mm": slip_mm,
            "blood_change": blood_change,
            "seed": seed,
        },
    )


def _grid(spacing: float, slice_mm: float, scale: float, motion_mm: float) -> Geometry:
    """Field of view that holds both states with a margin of body around."""
    lower = np.array([-165.0, -115.0, -135.0 - motion_mm]) * scale
    upper = np.array([165.0, 125.0, 125.0]) * scale
    counts = np.ceil((upper - lower) / (spacing, spacing, slice_mm)).astype(int)
    origin = (upper[0], upper[1], lower[2])
    return Geometry.axial(
        (int(counts[2]), int(counts[1]), int(counts[0])),
        (spacing, spacing, slice_mm),
        (float(origin[0]), float(origin[1]), float(origin[2])),
    )


@dataclass(frozen=True, eq=False)
class _Matter:
    """What fills the lungs, on a fine grid of the expiratory frame."""

    vessel: NDArray[np.float32]
    texture: NDArray[np.float32]
    origin_mm: NDArray[np.float64]
    cell_mm: float
    forks: Points
    scale: float
    defects: tuple[Defect, ...]

    @classmethod
    def grow(
        cls, rng: np.random.Generator, scale: float, defects: tuple[Defect, ...], cell_mm: float
    ) -> _Matter:
        # The lattice is shifted against every image grid, so that both images are interpolated.
        origin = np.array([-140.0, -95.0, -130.0]) * scale + 0.37 * cell_mm
        shape = np.ceil(-2 * origin / cell_mm).astype(int)
        vessel = np.zeros(shape[::-1], np.float32)
        forks = []
        for side in (-1.0, 1.0):
            samples, radii, branching = _tree(rng, side, scale)
            _stamp(vessel, (samples - origin) / cell_mm, radii / cell_mm)
            forks.append(branching)
        white = rng.standard_normal(vessel.shape, dtype=np.float32)
        smooth = ndimage.gaussian_filter(white, 1.6 / cell_mm)
        texture = (smooth / smooth.std()).astype(np.float32)
        return cls(vessel, texture, origin, cell_mm, np.concatenate(forks), scale, defects)

    def sample(self, array: NDArray[np.float32], points: Points) -> NDArray[np.float32]:
        index = ((points - self.origin_mm) / self.cell_mm).T[::-1]
        return np.asarray(ndimage.map_coordinates(array, index, order=1, mode="nearest"))

    def blood(self, points: Points) -> NDArray[np.float64]:
        """Blood content, 1 where normal."""
        content = np.ones(points.shape[0])
        for defect in self.defects:
            if defect.kind != "shunt":
                left = EMPHYSEMA_LEFT if defect.kind == "emphysema" else BLOOD_LEFT
                content *= 1 - (1 - left) * defect.profile(points, self.scale)
        return content

    def tissue(self, points: Points) -> NDArray[np.float64]:
        """Tissue content, 1 where normal."""
        content = np.ones(points.shape[0])
        for defect in self.defects:
            if defect.kind == "emphysema":
                content *= 1 - (1 - EMPHYSEMA_LEFT) * defect.profile(points, self.scale)
        return content


def _tree(
    rng: np.random.Generator, side: float, scale: float
) -> tuple[Points, NDArray[np.float64], Points]:
    """Grow a space-filling tree: points along its branches, their radii, and its forks."""
    wanted = max(60, int(1600 * scale**3))
    box = rng.uniform(-1, 1, (wanted * 12, 3)) * (60.0, 90.0, 125.0) + (72.0 * side, 0.0, -10.0)
    box *= scale
    leaves = box[_outline_mm(box, scale) < -3.0 * scale][:wanted]
    samples, radii, forks = [], [], []
    root = _HILUM * (side, 1, 1) * scale
    pending = [(root, leaves)]
    while pending:
        start, members = pending.pop()
        centre = members.mean(axis=0)
        end = start + (0.55 if len(members) > 1 else 1.0) * (centre - start)
        count = max(2, int(np.linalg.norm(end - start) / 0.5))
        # Murray's law: the cube of the radius counts the leaves behind it.
        radius = min(0.55 * len(members) ** (1 / 3), 6.0)
        samples.append(start + np.linspace(0, 1, count)[:, None] * (end - start))
        radii.append(np.full(count, max(radius, 0.6)))
        if len(members) > 1:
            if 2 < len(members) < 60:
                forks.append(end)
            axis = np.linalg.svd(members - centre, full_matrices=False)[2][0]
            along = (members - centre) @ axis
            first = along < np.median(along)
            if not first.any():
                first[0] = True
            pending += [(end, members[first]), (end, members[~first])]
    points = np.array(forks)
    points = points[_outline_mm(points, scale) < -4.0 * scale]
    return np.concatenate(samples), np.concatenate(radii), points


def _stamp(fraction: NDArray[np.float32], centres: Points, radii: NDArray[np.float64]) -> None:
    """Raise the filled fraction of voxels around points (x, y, z, in voxels) of given radius."""
    shape = np.array(fraction.shape[::-1])
    flat = fraction.reshape(-1)
    for radius in np.unique(radii):
        chosen = centres[radii == radius]
        base = np.round(chosen).astype(int)
        reach = int(np.ceil(radius + 0.5))
        steps = np.arange(-reach, reach + 1)
        for dz in steps:
            for dy in steps:
                for dx in steps:
                    voxel = base + np.array([dx, dy, dz])
                    filled = np.clip(
                        radius + 0.5 - np.linalg.norm(voxel - chosen, axis=1), 0, 1
                    ) * min(1.0, 2 * radius)
                    inside = (filled > 0) & (voxel >= 0).all(axis=1) & (voxel < shape).all(axis=1)
                    i, j, k = voxel[inside].T
                    index = (k * shape[1] + j) * shape[0] + i
                    np.maximum.at(flat, index, filled[inside].astype(np.float32))


@dataclass(frozen=True, eq=False)
class _Drawing:
    density: NDArray[np.float32]
    lobes: NDArray[np.uint8]
    displacement: NDArray[np.float32]
    jacobian: NDArray[np.float32]
    blood: NDArray[np.float32]
    vessel: NDArray[np.float32]


def _draw(
    geometry: Geometry, matter: _Matter, motion: _Motion, blood_change: float, *, inspiration: bool
) -> _Drawing:
    """Fill a grid slab by slab, for either state of breathing."""
    shape = geometry.shape
    truth = not inspiration
    out = _Drawing(
        density=np.empty(shape, np.float32),
        lobes=np.zeros(shape, np.uint8),
        displacement=np.zeros((*shape, 3) if truth else (0, 0, 0, 3), np.float32),
        jacobian=np.ones(shape if truth else (0, 0, 0), np.float32),
        blood=np.ones(shape if truth else (0, 0, 0), np.float32),
        vessel=np.zeros(shape if truth else (0, 0, 0), np.float32),
    )
    j, i = np.mgrid[0 : shape[1], 0 : shape[2]]
    spacing = max(geometry.spacing_ijk_mm)
    back = np.zeros((i.size, 3))
    for k in range(shape[0]):
        ijk = np.stack([i.ravel(), j.ravel(), np.full(i.size, k)], axis=1)
        here = geometry.ras_from_ijk(ijk)
        density = _body(here, matter.scale)
        there = here
        if inspiration:
            # From the slice before it is a small step; in and near the lungs it ends within 1 um.
            there = motion.backward(here, here + back, 14 if k == 0 else 2)
            close = _outline_mm(there, matter.scale) < _CLOSE_MM
            there[close] = motion.backward(here[close], there[close], 6)
            back = there - here
            there = there - motion.slip(there)
        outline = _outline_mm(there, matter.scale)
        near = outline < spacing
        points = there[near]
        jacobian = motion.jacobian(points)
        blood = matter.blood(points)
        vessel = matter.sample(matter.vessel, points) * (0.3 + 0.7 * blood)
        texture = 1 + 0.18 * matter.sample(matter.texture, points)
        gravity = 1 - 0.3 * points[:, 1] / (85.0 * matter.scale)
        tissue = TISSUE_DENSITY * texture * matter.tissue(points)
        blood_density = BLOOD_DENSITY * blood * gravity
        entered = 1 + blood_change * inspiration
        parenchyma = tissue + blood_density * entered
        lung = parenchyma * (1 - vessel) + (1 + VESSEL_HU / 1000) * vessel
        if inspiration:
            # Vessels thin out like the rest: not how wide ones behave, but mass is conserved.
            lung /= jacobian
        share = np.clip(0.5 - outline[near] / spacing, 0, 1)
        density[near] = lung * share + density[near] * (1 - share)
        out.density[k] = density.reshape(shape[1:])
        inside = outline[near] <= 0
        lobes = np.zeros(here.shape[0], np.uint8)
        lobes[near] = np.where(inside, _lobes(points, matter.scale), 0)
        out.lobes[k] = lobes.reshape(shape[1:])
        if truth:
            plane = near.reshape(shape[1:])
            out.displacement[k][plane] = motion.forward(points) - points
            out.jacobian[k][plane] = jacobian
            out.blood[k][plane] = blood * gravity
            out.vessel[k][plane] = vessel
    return out


def _body(points: Points, scale: float) -> NDArray[np.float64]:
    """Density outside the lungs, the same at both states: body with ribs, air around it."""
    x, y, z = points.T / scale
    radius = np.sqrt((x / 160.0) ** 2 + (y / 112.0) ** 2)
    density = np.where(radius < 1, 1 + BODY_HU / 1000, 0.0)
    rib = (np.abs(radius - 0.9) < 0.04) & (np.mod(z + 0.3 * y, 28.0) < 9.0)
    density[rib] = 1 + BONE_HU / 1000
    return density


def _scan(
    density: NDArray[np.float32],
    geometry: Geometry,
    blur_mm: float,
    noise_hu: float,
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Blur, add noise correlated over half a millimetre, and round to integer HU."""
    sigma = [blur_mm / spacing for spacing in geometry.spacing_kji_mm]
    hu = 1000 * ndimage.gaussian_filter(density, sigma) - 1000
    if noise_hu > 0:
        noise = rng.standard_normal(density.shape, dtype=np.float32)
        noise = ndimage.gaussian_filter(noise, [0.5 / s for s in geometry.spacing_kji_mm])
        hu += noise_hu / float(noise.std()) * noise
    return np.asarray(np.clip(np.rint(hu), -1024, 3071), dtype=np.int16)


def _lung_labels(lobes: NDArray[np.uint8], geometry: Geometry) -> Labelmap:
    left = np.isin(lobes, [_LABEL[lobe] for lobe in LOBES[:2]])
    labels = np.where(left, _LABEL[LUNGS[0]], _LABEL[LUNGS[1]]) * (lobes > 0)
    return _named(labels.astype(np.uint8), geometry, LUNGS)


def _named(labels: NDArray[np.uint8], geometry: Geometry, regions: tuple[Region, ...]) -> Labelmap:
    return Labelmap(labels, geometry, {_LABEL[region]: region.value for region in regions})
