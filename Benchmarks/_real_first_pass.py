"""A first pass through a real chest: a CT's anatomy and texture, blood and breath of our own.

Nothing of it comes from the project's phantoms: tissue holds blood in proportion to the density
that the scan shows, vessels inside the lungs carry the trunk's curve, inputs and residues are those
of `_second_first_pass`, and the chest breathes along the body axis, more at the back and in its
lower part, with some motion to the front.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from Benchmarks._second_first_pass import (
    AT_S,
    OtherTissue,
    artery,
    sampled,
    tissue_curve,
)
from lungperfusion.dynamic.series import Frames, block_mean, reduced_geometry
from lungperfusion.io import read_ct
from lungperfusion.morphology import ball
from lungperfusion.segmentation.lungs import segment_lungs
from lungperfusion.terms import LUNGS
from lungperfusion.volume import Labelmap, Mask, Volume

SLAB_MM = 84.0
VESSEL_FROM_HU = -400.0
USUAL_DENSITY_G_ML = 0.2
"""Of tissue whose flows are those of `TISSUES`; others hold blood in proportion."""
TISSUES = {
    "left_upper_lobe": OtherTissue(80, 5, 5.0),
    "left_lower_lobe": OtherTissue(130, 8, 4.5),
    "right_upper_lobe": OtherTissue(70, 5, 5.0),
    "right_lower_lobe": OtherTissue(150, 8, 4.0),
}
"""Halves of each lung in front and at the back, which are called by the names of lobes."""
DEFICIT_MM, DEFICIT_FACTOR = 24.0, 0.2
INPUT_MM = 9.0
TIMES_S = np.arange(24) * 1.5


@dataclass(frozen=True, eq=False, kw_only=True)
class RealFirstPass:
    """Frames and what is true of them."""

    frames: Frames
    lungs: Labelmap
    lobes: Labelmap
    blood_volume: NDArray[np.float32]
    """mL per 100 mL, held breath."""
    pulmonary_flow: NDArray[np.float32]
    deficits: Mask
    points_ras_mm: dict[str, tuple[float, float, float]]
    rise_mm: NDArray[np.float64]


def first_pass_of(path: Path, *, breath_mm: float, noise_hu: float, seed: int) -> RealFirstPass:
    """Let a bolus pass through the slab of a scan that shows most lung.

    Parameters
    ----------
    path
        Chest CT.
    breath_mm
        Rise at the lower end of the slab, from 14 s on, every 8 s.
    noise_hu
        Standard deviation in each voxel of every frame.
    seed
        Of the noise.

    """
    ct = _halved(read_ct(path).volume)
    lungs = segment_lungs(ct).labelmap
    box = _slab(lungs)
    ct, lungs = ct.crop(box), lungs.crop(box)
    hu = ndimage.gaussian_filter(ct.array.astype(np.float32), (0.0, 0.6, 0.6))
    lung = lungs.mask(*LUNGS)
    vessels = lung & (hu > VESSEL_FROM_HU)
    lobes = _halves(lungs)
    deficits, inputs = _deficits(lungs, ct), _inputs(ct, lung)
    per_density = np.clip((hu + 1000) / 1000, 0, 0.6) / USUAL_DENSITY_G_ML
    factor = np.where(lung & ~vessels, per_density, 0) * np.where(deficits, DEFICIT_FACTOR, 1)
    rise = np.where(TIMES_S > 14, breath_mm * np.sin(np.pi * (TIMES_S - 14) / 8) ** 2, 0)
    rng = np.random.default_rng(seed)
    frames = np.empty((len(TIMES_S), *hu.shape), np.int16)
    for number, at_s in enumerate(TIMES_S):
        moment = hu.copy()
        moment[vessels] += _at(artery(), at_s)
        for name, tissue in TISSUES.items():
            moment += factor * lobes.mask(name) * _at(tissue_curve(tissue), at_s)
        for place, mask in inputs.items():
            moment[mask] = 40 + _at(_input_curve(place), at_s)
        moment = _breathed(moment, lung, ct, float(rise[number]))
        frames[number] = np.rint(moment + rng.normal(0, noise_hu, hu.shape))
    maps = [np.zeros(hu.shape, np.float32) for _ in range(2)]
    for name, tissue in TISSUES.items():
        for values, level in zip(maps, (tissue.blood_volume, tissue.pulmonary_flow), strict=True):
            values += (factor * lobes.mask(name) * level).astype(np.float32)
    times = np.repeat(TIMES_S[:, None], hu.shape[0], axis=1)
    return RealFirstPass(
        frames=Frames(frames, ct.geometry, times),
        lungs=lungs,
        lobes=lobes,
        blood_volume=maps[0],
        pulmonary_flow=maps[1],
        deficits=deficits & lung & ~vessels,
        points_ras_mm={name: _centre(mask, ct) for name, mask in inputs.items()},
        rise_mm=rise,
    )


def _halved(ct: Volume) -> Volume:
    """Mean of two by two voxels of each slice."""
    factors = (1, 2, 2)
    return Volume(block_mean(ct.array, factors), reduced_geometry(ct.geometry, factors), "HU")


def _slab(lungs: Labelmap) -> tuple[slice, slice, slice]:
    count = round(SLAB_MM / lungs.geometry.spacing_kji_mm[0])
    area = lungs.mask(*LUNGS).sum(axis=(1, 2)).astype(float)
    first = int(np.convolve(area, np.ones(count), "valid").argmax())
    _, rows, columns = lungs.geometry.shape
    return slice(first, first + count), slice(0, rows), slice(0, columns)


def _halves(lungs: Labelmap) -> Labelmap:
    """Front and back half of each lung; arrays run from front to back along J."""
    array = np.zeros(lungs.geometry.shape, np.uint8)
    for value, name in enumerate(TISSUES, start=1):
        side = lungs.mask(f"{name.split('_')[0]}_lung")
        middle = np.median(np.nonzero(side)[1])
        front = np.arange(side.shape[1]) < middle
        array[side & (front if "upper" in name else ~front)[None, :, None]] = value
    return Labelmap(array, lungs.geometry, dict(enumerate(TISSUES, start=1)))


def _deficits(lungs: Labelmap, ct: Volume) -> Mask:
    """Put a ball at the side of each lung, cut by the pleura."""
    out = np.zeros(ct.geometry.shape, np.bool_)
    for lung in LUNGS:
        k, j, i = np.nonzero(lungs.mask(lung))
        slice_k = round(0.5 * out.shape[0])
        here = k == slice_k
        row = int(np.median(j[here]))
        columns = i[here & (j == row)]
        low, high = int(columns.min()), int(columns.max())
        outer = low if low < out.shape[2] - high else high
        out |= _ball(ct, (slice_k, row, outer), DEFICIT_MM)
    return out


def _inputs(ct: Volume, lung: Mask) -> dict[str, Mask]:
    """Balls of blood in soft tissue of the mediastinum, far from the lungs and each other."""
    soft = (ct.array > -50) & (ct.array < 400)
    columns = np.nonzero(lung)[2]
    low, high = np.percentile(columns, (25, 75)).astype(int)
    soft[:, :, :low] = soft[:, :, high:] = False
    soft[[0, 1, 2, -3, -2, -1]] = False
    depth = ndimage.distance_transform_edt(soft, ct.geometry.spacing_kji_mm)
    out = {}
    for name in ("pulmonary_trunk", "left_atrium", "descending_aorta"):
        centre = np.unravel_index(int(depth.argmax()), depth.shape)
        out[name] = _ball(ct, centre, INPUT_MM)
        depth[_ball(ct, centre, 2.5 * INPUT_MM)] = 0
    return out


def _ball(ct: Volume, centre: tuple[int, ...], radius_mm: float) -> Mask:
    return ball(ct.geometry, ct.geometry.ras_from_ijk(centre[::-1]), radius_mm)


def _centre(mask: Mask, ct: Volume) -> tuple[float, float, float]:
    r, a, s = ct.geometry.ras_from_ijk(np.argwhere(mask).mean(axis=0)[::-1])
    return float(r), float(a), float(s)


def _input_curve(place: str) -> NDArray[np.float64]:
    if place == "pulmonary_trunk":
        return artery()
    late_s, height = (3.5, 0.9) if place == "left_atrium" else (6.5, 0.8)
    return np.asarray(height * np.interp(AT_S - late_s, AT_S, artery(), left=0))


def _at(curve: NDArray[np.float64], at_s: float) -> np.float32:
    return np.float32(sampled(curve, np.array([at_s]))[0])


def _breathed(moment: NDArray[np.float32], lung: Mask, ct: Volume, rise: float) -> np.ndarray:
    """Move tissue up and to the front; what is lung keeps its mass."""
    if rise == 0:
        return moment
    k, j, _ = np.indices(moment.shape, sparse=True)
    up = np.sign(ct.geometry.ijk_to_ras[2, 2])  # of K
    height = k / (moment.shape[0] - 1) if up > 0 else 1 - k / (moment.shape[0] - 1)
    back = j / (moment.shape[1] - 1)
    along = rise * (1 - 0.7 * height) * (0.6 + 0.8 * back)  # mm towards the head
    front = 0.25 * rise * (1 - height) * back
    shifts = [
        np.broadcast_to(-up * along / ct.geometry.spacing_kji_mm[0], moment.shape),
        np.broadcast_to(front / ct.geometry.spacing_kji_mm[1], moment.shape),
    ]
    index = np.indices(moment.shape).astype(np.float32)
    index[0] += shifts[0]
    index[1] += shifts[1]
    gradients = [np.gradient(shift, axis=(0, 1)) for shift in shifts]
    jacobian = (1 + gradients[0][0]) * (1 + gradients[1][1]) - gradients[0][1] * gradients[1][0]
    out = ndimage.map_coordinates(moment, index, order=3, mode="nearest")
    own = ndimage.map_coordinates(lung.astype(np.float32), index, order=1, mode="nearest")
    return out + own * (jacobian - 1) * (out + 1000)
