"""Dual-energy chest phantom: low- and high-voltage images of known iodine.

The chest of `phantoms.chest` gives tissue and iodine per voxel; tabulated spectra and attenuation
coefficients (`phantoms.spectra`) give both images, each voxel seen through the mean water path of
rays from all sides.  Blur, correlated noise, misregistration, streaks and offsets come on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.phantoms.anatomy import LEFT, LOBE_SIDES, RIGHT
from lungperfusion.phantoms.chest import (
    AIR_HU,
    IODINE_HU_PER_MG_ML,
    LUMEN_HU,
    Ball,
    ChestModel,
    Layer,
    TubeLayer,
    wall_mm,
)
from lungperfusion.phantoms.rendering import (
    Float32,
    TruthLabels,
    blur,
    broadcast_coordinates,
    noise,
    paint_slabs,
    share,
    tube_shares,
)
from lungperfusion.phantoms.shapes import Array, Point, ellipsoid
from lungperfusion.phantoms.spectra import PATH_NODES_CM, Response, response
from lungperfusion.phantoms.truth import PhantomTruth
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.resampling import resample_array
from lungperfusion.terms import LOBES, LUNGS, STRUCTURES, Region
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume

Tube = Literal["soft", "filtered"]

PAINTED_TISSUE_HU = 50.0
"""CT number of airless lung in the painted chest, which is of 120 kV."""

GRAVITY_PER_MM = 0.0026
"""Share of the mean by which iodine grows per mm towards the back (2.6 %/cm, supine adults)."""

_PATH_CELL_MM = 10.0
_ANGLES = 6


# ---- where iodine is missing -------------------------------------------------------------------


@dataclass(frozen=True)
class Wedge:
    """Cone from an apex to the pleura, as below an occluded artery."""

    apex: Point
    direction: Point
    half_angle_degrees: float
    factor: float = 0.2
    """Iodine left, as a share."""
    name: str = "wedge"

    def distance(self, r: Array, a: Array, s: Array) -> Array:
        """Distance in mm to the side of the cone, negative inside."""
        axis = np.asarray(self.direction) / np.linalg.norm(self.direction)
        dr, da, ds = r - self.apex[0], a - self.apex[1], s - self.apex[2]
        along = dr * axis[0] + da * axis[1] + ds * axis[2]
        away = np.sqrt(np.maximum(dr * dr + da * da + ds * ds - along * along, 0))
        angle = np.deg2rad(self.half_angle_degrees)
        return np.asarray(away * np.cos(angle) - along * np.sin(angle))


@dataclass(frozen=True)
class Blob:
    """Round or oval region of changed iodine."""

    ball: Ball
    factor: float
    name: str

    def distance(self, r: Array, a: Array, s: Array) -> Array:
        """Distance in mm to its surface, negative inside."""
        return ellipsoid(r, a, s, self.ball.centre, self.ball.radii)


@dataclass(frozen=True)
class Cap:
    """Subpleural band of given depth above a height."""

    above_s: float
    depth_mm: float
    factor: float = 0.2
    name: str = "subpleural"

    def inside(self, lung: Array, s: Array) -> Array:
        """Distance in mm, given that to the lung surface."""
        return np.asarray(np.maximum(-(lung + self.depth_mm), self.above_s - s))


Change = Wedge | Blob | Cap


def mottled(centre: Point, spread_mm: float, count: int, radius_mm: float, seed: int) -> list[Blob]:
    """Scatter small round defects around a place, none touching another."""
    rng = np.random.default_rng([seed, 31])
    placed: list[NDArray[np.float64]] = []
    for _ in range(40 * count):
        place = np.asarray(centre) + rng.uniform(-spread_mm, spread_mm, 3)
        if all(np.linalg.norm(place - other) > 3.2 * radius_mm for other in placed):
            placed.append(place)
        if len(placed) == count:
            break
    radii = (radius_mm, radius_mm, radius_mm)
    return [Blob(Ball((float(r), float(a), float(s)), radii), 0.2, "mottled") for r, a, s in placed]


# ---- the scan ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DualEnergyScan:
    """How a dual-energy phantom is scanned."""

    low_kv: str = "80"
    high_kv: str = "140Sn"
    tube: Tube = "soft"
    low_noise_hu: float = 20.0
    high_noise_hu: float = 16.0
    noise_correlation_mm: float = 2.0
    psf_fwhm_mm: float = 1.1
    low_offset_hu: float = 0.0
    """Error of the low-voltage image's scale, added everywhere."""
    high_shift_mm: Point = (0.0, 0.0, 0.0)
    """Misregistration: how far the patient lies off in the high-voltage image, RAS."""
    low_streak_hu: float = 0.0
    """Beam hardening beside the superior vena cava; the high-voltage image has less of it."""
    blood_share: float = 0.6
    """Of blood in the soft tissue of the lung."""


HIGH_STREAK_SHARE = 0.45
"""Streaks of the high-voltage image relative to the low one: a harder beam hardens less."""


@dataclass(frozen=True, eq=False, kw_only=True)
class DualEnergyPhantom:
    """Two images and their answers."""

    low: Volume
    high: Volume
    iodine: Volume
    """Noise-free concentration without blur, mg/mL."""
    perfused: Mask
    """Lung without vessels of more than `LARGE_VESSEL_RADIUS_MM` and without bronchi, each with a
    margin of `MARGIN_MM`: where iodine is the perfusion of the lung, small vessels included."""
    defects: Labelmap
    """Voxels at least half inside a change that lowers iodine; names are those of the changes."""
    truth: PhantomTruth
    concentration_mg_ml: Mapping[Region, float]
    """Mean of ``iodine`` over the perfused part of each region: lungs, each lung, each lobe."""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze the mappings."""
        object.__setattr__(
            self, "concentration_mg_ml", MappingProxyType(dict(self.concentration_mg_ml))
        )
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))

    @property
    def mixed(self) -> Volume:
        """Mean of both images, which scanners show as the CT of the examination."""
        mean = (self.low.array.astype(np.float32) + self.high.array) / 2
        return self.low.with_array(np.rint(mean).astype(self.low.array.dtype))

    def as_json(self) -> dict[str, Any]:
        """Numbers as plain JSON types."""
        return {
            **self.truth.as_json(),
            "iodine_mg_ml": {str(name): value for name, value in self.concentration_mg_ml.items()},
            "dual_energy": dict(self.settings),
        }


def render_dual_energy(
    model: ChestModel,
    geometry: Geometry,
    *,
    changes: tuple[Change, ...] = (),
    scan: DualEnergyScan | None = None,
    lobe_factors: Mapping[str, float] | None = None,
    seed: int = 1,
    progress: Progress = ignore,
) -> DualEnergyPhantom:
    """Scan a chest at two tube voltages.

    Parameters
    ----------
    model
        The chest; ``parenchyma_iodine_mg_ml`` is the mean iodine of the lung, which grows towards
        the back by `GRAVITY_PER_MM`.
    geometry
        Any grid.
    changes
        Places with less (or more) iodine.
    scan
        Voltages, tube, noise and artefacts.
    lobe_factors
        Iodine by lobe relative to the mean; 1 for lobes left out.
    seed
        Of the noise.

    """
    scan = scan or DualEnergyScan()
    painted = _paint(model, geometry, changes, lobe_factors or {}, part(progress, 0.0, 0.6))
    scanned = [painted, painted]
    if any(scan.high_shift_mm):  # painted anew: interpolation would blur one image of the pair
        moved = _moved(geometry, scan.high_shift_mm)
        scanned[1] = _paint(model, moved, changes, lobe_factors or {}, ignore)
    progress(0.6, "tracing rays")
    contrast = painted.hu + np.float32(IODINE_HU_PER_MG_ML) * painted.iodine
    path_cm = water_path_cm(contrast, geometry)
    images = []
    for number, (voltage, sd, streak, offset) in enumerate(
        (
            (scan.low_kv, scan.low_noise_hu, 1.0, scan.low_offset_hu),
            (scan.high_kv, scan.high_noise_hu, HIGH_STREAK_SHARE, 0.0),
        )
    ):
        progress(0.65 + 0.17 * number, f"scanning at {voltage} kV")
        beam = response(scan.tube, voltage, scan.blood_share)
        hu = ct_number(scanned[number].hu, scanned[number].iodine, path_cm, beam)
        if scan.low_streak_hu:
            box = (slice(0, geometry.shape[0]), slice(0, geometry.shape[1]))
            places = broadcast_coordinates(
                geometry, (*box, slice(0, geometry.shape[2])), np.zeros(3)
            )
            rays = model.streak_hu_at(*places) / model.streak_hu if model.streak_hu else 0.0
            hu += np.float32(scan.low_streak_hu * streak) * rays
        blur(hu, geometry, scan.psf_fwhm_mm)
        hu += np.float32(offset)
        if sd > 0:
            grain = noise(geometry, sd, scan.noise_correlation_mm, 2 * seed + number)
            for k in range(geometry.shape[0]):
                hu[k] += next(grain)
        images.append(Volume(np.clip(np.round(hu), -1024, 3071).astype(np.int16), geometry, "HU"))
    progress(1.0, "scanned")
    perfused = (painted.labels.arrays["lungs"] > 0) & ~_large_tubes(model, geometry)
    means = _means(painted.iodine, perfused, painted.labels)
    settings = {
        "low_kv": scan.low_kv,
        "high_kv": scan.high_kv,
        "tube": scan.tube,
        "noise_sd_hu": [scan.low_noise_hu, scan.high_noise_hu],
        "noise_correlation_mm": scan.noise_correlation_mm,
        "psf_fwhm_mm": scan.psf_fwhm_mm,
        "low_offset_hu": scan.low_offset_hu,
        "high_shift_mm": list(scan.high_shift_mm),
        "low_streak_hu": scan.low_streak_hu,
        "blood_share": scan.blood_share,
        "mean_water_path_cm": float(path_cm[painted.labels.arrays["lungs"] > 0].mean()),
    }
    return DualEnergyPhantom(
        low=images[0],
        high=images[1],
        iodine=Volume(painted.iodine, geometry, "mg/mL"),
        perfused=perfused,
        defects=painted.defects,
        truth=painted.labels.truth(settings, painted.labels.means(painted.hu)),
        concentration_mg_ml=means,
        settings=settings,
    )


@dataclass(eq=False)
class _Painted:
    hu: Float32
    iodine: Float32
    labels: TruthLabels
    defects: Labelmap


def _paint(
    model: ChestModel,
    geometry: Geometry,
    changes: tuple[Change, ...],
    lobe_factors: Mapping[str, float],
    progress: Progress,
) -> _Painted:
    hu, iodine = np.zeros((2, *geometry.shape), np.float32)
    labels = TruthLabels(model, geometry)
    names = sorted({change.name for change in changes if change.factor < 1})
    defects = np.zeros(geometry.shape, np.uint8)
    width = float(np.prod(geometry.spacing_ijk_mm) ** (1 / 3))
    for slices, plain, mg_ml, shares in paint_slabs(model, geometry, progress=progress):
        labels.add(slices, shares)
        box = (slices, slice(0, geometry.shape[1]), slice(0, geometry.shape[2]))
        places = broadcast_coordinates(geometry, box, np.zeros(3))
        field_mg_ml = _perfusion(model, places, lobe_factors)
        for change in changes:
            part_inside = share(_distance(change, model, places), width)
            field_mg_ml *= 1 - part_inside * np.float32(1 - change.factor)
            if change.factor < 1:
                inside_lung = labels.arrays["lungs"][slices] > 0
                defects[slices][(part_inside >= 0.5) & inside_lung] = names.index(change.name) + 1
        lung = _sum(shares, LUNGS, plain.shape)
        tubes = _sum(shares, ("arteries", "veins", "airways"), plain.shape)
        own = np.clip(lung - tubes, 0, 1)
        if "airways" in shares:  # the painted lumen is not quite air; a scanner is calibrated to it
            plain -= np.float32(LUMEN_HU - AIR_HU) * shares["airways"]
        hu[slices] = plain
        iodine[slices] = 0.0 if mg_ml is None else mg_ml
        iodine[slices] += own * (field_mg_ml - np.float32(model.parenchyma_iodine_mg_ml))
    named = {number: name for number, name in enumerate(names, start=1)}
    return _Painted(hu, iodine, labels, Labelmap(defects, geometry, named))


def _perfusion(
    model: ChestModel, places: tuple[Array, Array, Array], lobe_factors: Mapping[str, float]
) -> Float32:
    """Iodine of the parenchyma before any defect, mg/mL."""
    r, a, s = places
    shape = np.broadcast_shapes(r.shape, a.shape, s.shape)
    gravity = 1 - GRAVITY_PER_MM * (a + 10.0)
    out = np.array(np.broadcast_to(model.parenchyma_iodine_mg_ml * gravity, shape), np.float32)
    for name, factor in lobe_factors.items():
        side = LOBE_SIDES[name]
        own = (model.lobe_side(name, r, a, s) < 0) & (side * r > 0)
        out[np.broadcast_to(own, shape)] *= np.float32(factor)
    return out


def _distance(change: Change, model: ChestModel, places: tuple[Array, Array, Array]) -> Array:
    if not isinstance(change, Cap):
        return change.distance(*places)
    lungs = np.minimum(model.lung(LEFT, *places), model.lung(RIGHT, *places))
    return change.inside(lungs, places[2])


def _sum(shares: Mapping[str, Float32], names: Any, shape: tuple[int, ...]) -> Float32:
    total = np.zeros(shape, np.float32)
    for name in names:
        if name in shares:
            total += shares[name]
    return total


def ct_number(hu: Float32, iodine_mg_ml: Float32, path_cm: Float32, beam: Response) -> Float32:
    """CT number of every voxel at another voltage: air, soft tissue, bone and iodine.

    Parameters
    ----------
    hu
        CT number at 120 kV without iodine.
    iodine_mg_ml
        Iodine on top of it.
    path_cm
        Water path in front of each voxel, within `PATH_NODES_CM`.
    beam
        Response of the voltage.

    """
    bone = np.clip((hu - PAINTED_TISSUE_HU) / np.float32(BONE_HU_120 - PAINTED_TISSUE_HU), 0, 1)
    tissue = (np.minimum(hu, PAINTED_TISSUE_HU) + 1000) / np.float32(1000 + PAINTED_TISSUE_HU)
    tissue -= bone
    out = np.float32(-1000) + iodine_mg_ml * _at(path_cm, beam.iodine_hu_per_mg_ml)
    out += tissue * (1000 + _at(path_cm, beam.tissue_hu))
    out += bone * (1000 + _at(path_cm, beam.bone_hu))
    return out.astype(np.float32, copy=False)


BONE_HU_120 = 1570.0
"""Cortical bone at 120 kV (`phantoms.spectra.response`, 25 cm of water)."""


def _at(path_cm: Float32, values: NDArray[np.float64]) -> Float32:
    return np.interp(path_cm, PATH_NODES_CM, values).astype(np.float32)


def water_path_cm(hu: Float32, geometry: Geometry) -> Float32:
    """Mean water-equivalent length of axial rays through every voxel, cm.

    Rays of six directions on a lattice of about 1 cm.
    """
    coarse = geometry.with_spacing((_PATH_CELL_MM,) * 3)
    sigma = [0.4 * _PATH_CELL_MM / mm for mm in geometry.spacing_kji_mm]
    smooth = ndimage.gaussian_filter(np.clip(hu, -1000, 2000), sigma)
    water = resample_array(smooth, geometry, coarse, interpolation="linear", fill=-1000) / 1000 + 1
    axis, _ = geometry.array_axis_toward("S")
    planes = np.moveaxis(water, axis, 0)
    padding = [(0, 0), *((n // 4 + 1, n // 4 + 1) for n in planes.shape[1:])]
    padded = np.pad(planes, padding)
    total = np.zeros(padded.shape, np.float32)
    for number in range(_ANGLES):
        angle = 180.0 * number / _ANGLES
        turned = ndimage.rotate(padded, angle, axes=(1, 2), reshape=False, order=1)
        length = turned.sum(axis=1, keepdims=True) * np.float32(_PATH_CELL_MM / 10)
        line = np.broadcast_to(length, turned.shape)
        total += ndimage.rotate(line, -angle, axes=(1, 2), reshape=False, order=1, mode="nearest")
    mean = total[:, padding[1][0] : -padding[1][1], padding[2][0] : -padding[2][1]] / _ANGLES
    mean = np.ascontiguousarray(np.moveaxis(mean, 0, axis), np.float32)
    edge = float(mean[mean > 0].mean()) if (mean > 0).any() else float(PATH_NODES_CM[0])
    out: Float32 = resample_array(mean, coarse, geometry, interpolation="linear", fill=edge)
    return np.clip(out, PATH_NODES_CM[0], PATH_NODES_CM[-1])


def _moved(geometry: Geometry, shift_ras_mm: Point) -> Geometry:
    """Grid that sees a patient who lies off by a shift."""
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, 3] -= shift_ras_mm
    return Geometry(geometry.shape, matrix)


def _large_tubes(model: ChestModel, geometry: Geometry) -> Mask:
    """Voxels in or beside large vessels and bronchi."""
    vessels = [tree.where(tree.radius_mm > LARGE_VESSEL_RADIUS_MM) for tree in
               (model.arteries, model.veins)]  # fmt: skip
    layers: list[Layer | TubeLayer] = [
        TubeLayer("large", tubes, 0.0, grow_mm=MARGIN_MM) for tubes in vessels
    ]
    bronchi = model.airways
    layers.append(
        TubeLayer("bronchi", bronchi, 0.0, grow_mm=wall_mm(bronchi.radius_mm) + MARGIN_MM)
    )
    out = np.zeros(geometry.shape, np.bool_)
    for box, inside in tube_shares(geometry, layers, 1.0).values():
        out[box] |= inside >= 0.5
    return out


LARGE_VESSEL_RADIUS_MM = 1.5
"""Vessels of more than this radius are no part of the perfused lung."""

MARGIN_MM = 1.0
"""Blur of tubes into their neighbourhood."""


def _means(iodine: Float32, perfused: Mask, labels: TruthLabels) -> dict[Region, float]:
    lungs, lobes = labels.arrays["lungs"], labels.arrays["lobes"]
    masks: dict[Region, Mask] = {Region.LUNGS: perfused}
    for regions, array in ((LUNGS, lungs), (LOBES, lobes)):
        for region in regions:
            masks[region] = perfused & (array == STRUCTURES[region].label)
    return {
        region: float(iodine[mask].mean(dtype=np.float64))
        for region, mask in masks.items()
        if mask.any()
    }
