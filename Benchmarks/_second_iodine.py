"""Contrast and two tube voltages in the second chest, with physics of its own.

Shares no code with `lungperfusion.phantoms`: iodine sensitivities are constants some 5 % away from
the calibration table of the solver, tissue is equally bright at both voltages (two materials, water
and iodine), noise is that of `_second_chest`, and streaks are not painted.  They are what filtered
back-projection makes of undiluted contrast in a polychromatic beam and of a vein that pulsates
while the tube turns: fans of dark and bright rays, other ones in every slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from Benchmarks._second_chest import (
    EXTENT_MM,
    Floats,
    SecondChest,
    coordinates,
    ramp_noise,
    random_field,
    share_inside,
)
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume

SENSITIVITY = {
    "80": 43.6,
    "100": 33.4,
    "120": 27.1,
    "140": 22.7,
    "140Sn": 14.8,
}
"""HU per mg/mL of this scanner; the solver's table has 41.6, 31.9, 25.9, 21.7 and 14.1 at 25 cm."""

CAVA_RADIUS_MM = 9.0
_ANGLES = 100
_RAY_MM = 4.5
_SAME_STREAKS_MM = 5.0
"""Streaks are alike over this height, as over some slices of a spiral."""


@dataclass(frozen=True, kw_only=True)
class Wedge:
    """Cone of lung from an apex outwards; millimetres, x to the left, y to the back, z up."""

    apex: tuple[float, float, float]
    towards: tuple[float, float, float]
    half_angle_degrees: float = 26.0
    factor: float = 0.15

    def inside(self, x: Floats, y: Floats, z: Floats) -> Mask:
        """Voxels of the cone."""
        axis = np.array(self.towards) / np.linalg.norm(self.towards)
        dx, dy, dz = x - self.apex[0], y - self.apex[1], z - self.apex[2]
        along = dx * axis[0] + dy * axis[1] + dz * axis[2]
        distance = np.sqrt(dx * dx + dy * dy + dz * dz)
        return np.asarray(along > distance * np.cos(np.deg2rad(self.half_angle_degrees)))


WEDGES = (
    Wedge(apex=(88, 30, 10), towards=(1, 0.5, 0.2)),
    Wedge(apex=(-85, -10, -30), towards=(-1, -0.4, -0.1)),
    Wedge(apex=(-60, 50, -60), towards=(-0.5, 1, -0.3), half_angle_degrees=30),
    Wedge(apex=(70, -25, 75), towards=(0.8, -0.6, 0.5), half_angle_degrees=30),
)


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Where iodine is, in mg/mL, and what scanning it makes of it."""

    lung: float = 1.45
    gravity_per_mm: float = 0.0022
    """Share of the mean by which lung iodine grows towards the back."""
    texture: float = 0.12
    """Standard deviation of lung iodine, a 1/f field, over its mean."""
    trunk: float = 13.0
    left_heart: float = 11.0
    muscle: float = 0.15
    cava: float = 0.0
    """Undiluted contrast in the superior vena cava; 0 for none."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """Iodine left by lobe or lung."""
    wedges: tuple[Wedge, ...] = ()
    pulsation_mm: float = 1.0
    """How far the cava moves while the tube turns."""
    starvation: float = 0.05
    """Error of a projection through the cava, relative to it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SecondPair:
    """Two images and their answers."""

    low: Volume
    high: Volume
    iodine: Floats
    """Concentration without blur and noise, mg/mL."""
    lungs: Labelmap
    """``left_lung``, ``right_lung``, ``airways``."""
    lobes: Labelmap
    perfused: Mask
    """Lung without vessels and bronchi of more than 1.5 mm radius and 2 mm around them."""
    lost: Mask
    """Perfused lung whose iodine is lowered by a wedge or factor."""


def concentration(chest: SecondChest, contrast: Contrast) -> tuple[Floats, Mask]:
    """Iodine of every voxel, mg/mL, and lung that lost some of it."""
    geometry = chest.geometry
    x, y, z = coordinates(geometry)
    inside = chest.lungs.array > 0
    step = 4.0
    size = tuple(int((high - low) / step) + 3 for low, high in reversed(EXTENT_MM))
    coarse = random_field(size, 1.2, chest.recipe.seed + 40)
    index = [(c - low) / step for c, (low, _) in zip((z, y, x), reversed(EXTENT_MM), strict=True)]
    texture = ndimage.map_coordinates(coarse, index, order=1, mode="nearest")
    middle = float(y[inside].mean())
    tissue = 1 + contrast.gravity_per_mm * (y - middle) + contrast.texture * texture
    tissue /= tissue[inside].mean()
    tissue *= contrast.lung
    lost = np.zeros(inside.shape, np.bool_)
    for name, factor in contrast.factors.items():
        source = chest.lobes if name.endswith("lobe") else chest.lungs
        tissue[source.mask(name)] *= factor
        lost |= source.mask(name) & (factor < 1)
    for wedge in contrast.wedges:
        cone = wedge.inside(x, y, z) & inside
        tissue[cone] *= wedge.factor
        lost |= cone
    iodine = np.where(inside, tissue, np.float32(0))
    soft = (chest.hu > 20) & (chest.hu < 90) & ~inside
    iodine[soft] = contrast.muscle
    iodine[chest.organs["liver"]] = 0.5
    iodine[chest.organs["heart"]] = (contrast.trunk + contrast.left_heart) / 2
    iodine[chest.organs["aorta"]] = contrast.left_heart
    iodine[chest.organs["trunk"]] = contrast.trunk
    iodine += chest.vessels * (np.float32(contrast.trunk) - iodine) * inside
    iodine[chest.airways] = 0
    if contrast.cava:
        iodine = np.maximum(iodine, contrast.cava * _cava(x, y, z, geometry))
    return iodine.astype(np.float32), lost


def _cava(x: Floats, y: Floats, z: Floats, geometry: Geometry) -> Floats:
    tube = np.hypot(x + 15 + 0.03 * z, y + 9) - CAVA_RADIUS_MM
    vein = np.hypot(z - (104 + 0.1 * x), y + 22) - 6  # left brachiocephalic vein
    vein = np.maximum(vein, np.maximum(-15 - x, x - 22))
    both = np.minimum(np.maximum(tube, np.maximum(2 - z, z - 112)), vein)
    return share_inside(both, geometry.spacing_kji_mm)


def _with_cava(chest: SecondChest) -> SecondChest:
    """Make room for the great veins, which the chest has not."""
    share = _cava(*coordinates(chest.geometry), chest.geometry)
    room = ndimage.binary_dilation(share > 0.02)
    lungs, lobes = (
        Labelmap(np.where(room, np.uint8(0), labels.array), labels.geometry, labels.names)
        for labels in (chest.lungs, chest.lobes)
    )
    return replace(
        chest,
        hu=np.where(room, np.float32(chest.recipe.blood_hu), chest.hu),
        vessels=np.where(room, np.float32(0), chest.vessels),
        airways=chest.airways & ~room,
        lungs=lungs,
        lobes=lobes,
    )


def scan_pair(
    chest: SecondChest,
    contrast: Contrast | None = None,
    *,
    voltages: tuple[str, str] = ("80", "140Sn"),
    noise_hu: tuple[float, float] = (20.0, 16.0),
    offsets_hu: tuple[float, float] = (0.0, 0.0),
    blur_mm: float = 0.5,
    seed: int = 21,
) -> SecondPair:
    """Scan the chest with contrast at two voltages."""
    contrast = contrast or Contrast()
    if contrast.cava:
        chest = _with_cava(chest)
    geometry = chest.geometry
    iodine, lost = concentration(chest, contrast)
    air = np.float32(-1000 - chest.recipe.tracheal_air_hu)
    plain = chest.hu + np.where(chest.airways, air, np.float32(0))
    images = []
    for number, (voltage, noise, offset) in enumerate(
        zip(voltages, noise_hu, offsets_hu, strict=True)
    ):
        k = SENSITIVITY[voltage]
        hu = plain + np.float32(k) * iodine
        if contrast.cava:
            hu += streaks(chest, contrast, k, seed=chest.recipe.seed)
        hu = ndimage.gaussian_filter(hu, [blur_mm / s for s in geometry.spacing_kji_mm])
        hu += ramp_noise(geometry, noise, sharp=False, seed=seed + number) + np.float32(offset)
        images.append(Volume(np.clip(np.round(hu), -1024, 3071).astype(np.int16), geometry, "HU"))
    labels = np.where(chest.airways, np.uint8(7), chest.lungs.array).astype(np.uint8)
    large = ndimage.binary_opening(chest.vessels > 0.5, iterations=1) | chest.airways
    reach = [int(np.ceil(2.0 / s)) for s in geometry.spacing_kji_mm]
    beside = ndimage.maximum_filter(large, [2 * r + 1 for r in reach])
    perfused = (chest.lungs.array > 0) & ~beside
    return SecondPair(
        low=images[0],
        high=images[1],
        iodine=iodine,
        lungs=Labelmap(labels, geometry, {1: "left_lung", 2: "right_lung", 7: "airways"}),
        lobes=chest.lobes,
        perfused=perfused,
        lost=lost & perfused,
    )


def streaks(chest: SecondChest, contrast: Contrast, k: float, *, seed: int) -> Floats:
    """Error of reconstruction beside undiluted contrast, HU.

    Three errors of the projections through the cava: the beam hardens along iodine, the vein lies
    elsewhere at every angle of the tube, and few photons are left behind it, which errs at some
    angles.  The latter two make rays across the whole slice.
    """
    geometry = chest.geometry
    x, y, z = coordinates(geometry)
    full = _cava(x, y, z, geometry) * np.float32(contrast.cava)
    out = np.zeros(geometry.shape, np.float32)
    rng = np.random.default_rng(seed + 300)
    dk, dj, di = geometry.spacing_kji_mm
    together = max(1, round(_SAME_STREAKS_MM / dk))
    angles = np.arange(_ANGLES) * (180.0 / _ANGLES)
    for first in range(0, geometry.shape[0], together):
        slab = slice(first, first + together)
        beat = rng.uniform(0, 2 * np.pi)
        starved = ndimage.gaussian_filter1d(rng.standard_normal(_ANGLES), 0.7, mode="wrap")
        if full[slab].max() < 1:
            continue
        dense = ndimage.zoom(
            full[slab].mean(axis=0),
            (dj / _RAY_MM, di / _RAY_MM),
            order=1,
            grid_mode=True,
            mode="grid-constant",
        )
        side = int(np.ceil(1.5 * max(dense.shape)))
        before = [(side - n) // 2 for n in dense.shape]
        padded = np.pad(
            dense, [(b, side - n - b) for b, n in zip(before, dense.shape, strict=True)]
        )
        error = np.empty((_ANGLES, side), np.float32)
        for number, angle in enumerate(angles):
            way = ndimage.rotate(padded, angle, reshape=False, order=1).sum(axis=0) * _RAY_MM
            path = way * k / 1000.0  # water-equivalent mm of iodine
            hardened = -0.0007 * k * path**1.5  # less attenuation than linear, more at low voltage
            moved = contrast.pulsation_mm * np.sin(2 * np.pi * number / 50 + beat)
            error[number] = (
                hardened
                + 0.5 * moved * np.gradient(path, _RAY_MM)
                + contrast.starvation * starved[number] * path * k / 40
            )
        image = _back_projected(error, angles) * 1000.0
        image = image[before[0] :, before[1] :][: dense.shape[0], : dense.shape[1]]
        shape = full.shape[1:]
        scale = [n / m for n, m in zip(shape, image.shape, strict=True)]
        out[slab] = ndimage.zoom(image, scale, order=1, grid_mode=True, mode="nearest")
    return out


def _back_projected(sinogram: Floats, angles_degrees: Floats) -> Floats:
    """Reconstruct by filtered back-projection with a ramp (cosine window), per mm."""
    count, side = sinogram.shape
    f = np.fft.rfftfreq(2 * side, _RAY_MM)
    ramp = np.abs(f) * np.cos(np.pi * f * _RAY_MM)
    filtered = np.fft.irfft(np.fft.rfft(sinogram, 2 * side) * ramp, 2 * side)[:, :side]
    total = np.zeros((side, side), np.float32)
    for row, angle in zip(filtered.astype(np.float32), angles_degrees, strict=True):
        total += ndimage.rotate(np.broadcast_to(row, (side, side)), -angle, reshape=False, order=1)
    return total * np.float32(np.pi / count)
