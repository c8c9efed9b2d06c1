"""From solids to a CT image on any grid.

Every voxel gets the share of each solid that it holds: the signed distance at the voxel centre,
divided by the voxel width, is the partial volume to first order.  Voxels wider than
`SAMPLE_SPACING_MM` are the mean of several such samples.  Thin tubes are sampled finer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.phantoms.anatomy import LOBE_SIDES
from lungperfusion.phantoms.chest import (
    AIR_HU,
    IODINE_HU_PER_MG_ML,
    Bounds,
    ChestModel,
    Layer,
    TubeLayer,
    Value,
)
from lungperfusion.phantoms.shapes import Array
from lungperfusion.phantoms.trees import Tubes
from lungperfusion.phantoms.truth import PhantomTruth, fissure_table, lung_volumes_ml
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.terms import AIRWAYS, LOBES, LUNGS, STRUCTURES, VESSELS
from lungperfusion.volume import Box, Geometry, Labelmap, Volume, bounding_box

LESIONS = {1: "consolidation", 2: "ground_glass", 3: "nodule", 4: "emphysema"}
"""Values of the lesion label map."""
GREAT_VESSELS = {
    1: "aorta",
    2: "pulmonary_trunk",
    3: "left_pulmonary_artery",
    4: "right_pulmonary_artery",
    5: "superior_vena_cava",
    6: "inferior_vena_cava",
    7: "pulmonary_vein_trunks",
    8: "left_atrium",
    9: "left_ventricle",
    10: "right_atrium",
    11: "right_ventricle",
}
"""Values of the label map of heart and great vessels."""

SAMPLE_SPACING_MM = 1.6
MOST_SAMPLES = 2
"""Samples along one axis of a voxel: each averages over its own part by the solids' distances."""
SLAB_VOXELS = 3_000_000
SHARP_CUTOFF_PER_MM = 0.55
"""Spatial frequency at which a lung kernel rolls off."""
FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))

Float32 = NDArray[np.float32]
BoxedShare = tuple[Box, Float32]
"""A part of the slab and the share of its voxels inside a solid."""


@dataclass(frozen=True)
class Slab:
    """Part of the image grid, moved by a share of a voxel."""

    geometry: Geometry
    width_mm: float
    offset_ijk: NDArray[np.float64]

    def box(self, bounds: Bounds, margin_mm: float = 2.0) -> tuple[slice, slice, slice] | None:
        """Voxels that may touch a RAS box, or None."""
        low, high = np.array(bounds[0]) - margin_mm, np.array(bounds[1]) + margin_mm
        corners = [
            (x, y, z)
            for x in (low[0], high[0])
            for y in (low[1], high[1])
            for z in (low[2], high[2])
        ]
        ijk = self.geometry.ijk_from_ras(corners) - self.offset_ijk
        start = np.maximum(np.floor(ijk.min(axis=0)).astype(int), 0)
        stop = np.minimum(np.ceil(ijk.max(axis=0)).astype(int) + 1, self.geometry.shape[::-1])
        if (start >= stop).any():
            return None
        i, j, k = (slice(int(p), int(q)) for p, q in zip(start, stop, strict=True))
        return k, j, i

    def coordinates(self, box: tuple[slice, slice, slice]) -> tuple[Float32, Float32, Float32]:
        """R, A, S of the voxels of a box as arrays that broadcast to its shape."""
        return broadcast_coordinates(self.geometry, box, self.offset_ijk)


def broadcast_coordinates(
    geometry: Geometry, box: tuple[slice, slice, slice], offset_ijk: NDArray[np.float64]
) -> tuple[Float32, Float32, Float32]:
    """R, A, S of voxel centres; axes a coordinate does not depend on have length 1."""
    matrix = geometry.ijk_to_ras
    origin = matrix[:3, 3] + matrix[:3, :3] @ offset_ijk
    k, j, i = (np.arange(part.start, part.stop, dtype=np.float64) for part in box)
    axes = (i[None, None, :], j[None, :, None], k[:, None, None])
    out = []
    for row in range(3):
        total: NDArray[np.float64] = np.full((1, 1, 1), origin[row])
        for column in range(3):
            if abs(matrix[row, column]) > 1e-9:
                total = total + matrix[row, column] * axes[column]
        out.append(total.astype(np.float32))
    return out[0], out[1], out[2]


def share(distance: Array, width_mm: float) -> Float32:
    """Share of a voxel inside a solid whose surface lies ``distance`` mm from its centre."""
    out = np.asarray(distance * np.float32(-1 / width_mm), dtype=np.float32)
    out += np.float32(0.5)
    return np.clip(out, 0, 1, out=out)


def _value(value: Value, coordinates: tuple[Array, ...]) -> Any:
    return value(*coordinates) if callable(value) else np.float32(value)


def _blend(target: Float32, part: Float32, value: Any) -> None:
    """Paint ``value`` over ``target`` with opacity ``part``, in place."""
    target += part * (value - target)


class Painter:
    """Fields of one slab while the layers are laid over each other.

    Parameters
    ----------
    slab
        Where the solids are sampled.
    tube_shares
        Share of each voxel inside each tube layer, of the whole voxel (see `tube_shares`).
    iodine
        Whether to keep an iodine field.

    """

    def __init__(self, slab: Slab, tube_shares: dict[int, BoxedShare], iodine: bool) -> None:
        self.slab = slab
        self.tube_shares = tube_shares
        self.hu = np.full(slab.geometry.shape, AIR_HU, np.float32)
        self.iodine = np.zeros(slab.geometry.shape, np.float32) if iodine else None
        self.kept: dict[str, Float32] = {}

    def paint(self, index: int, layer: Layer | TubeLayer) -> None:
        """Lay one layer over what is there."""
        if isinstance(layer, TubeLayer):
            if index in self.tube_shares:
                box, part = self.tube_shares[index]
                self._cover(layer, box, part, ())
            return
        found = self.slab.box(layer.bounds)
        if found is not None:
            coordinates = self.slab.coordinates(found)
            part = share(layer.distance(*coordinates), self.slab.width_mm)
            if layer.within:
                if layer.within not in self.kept:
                    return
                part = part * self.kept[layer.within][found]
            if layer.opacity < 1:
                part = part * np.float32(layer.opacity)
            if part.any():
                self._cover(layer, found, part, coordinates)

    def _cover(
        self, layer: Layer | TubeLayer, box: Box, part: Float32, coordinates: tuple[Array, ...]
    ) -> None:
        _blend(self.hu[box], part, _value(layer.hu, coordinates))
        if self.iodine is not None:
            _blend(self.iodine[box], part, _value(layer.iodine_mg_ml, coordinates))
        if layer.keep:
            kept = self.kept.setdefault(layer.name, np.zeros(self.hu.shape, np.float32))
            np.maximum(kept[box], part, out=kept[box])


def tube_shares(
    geometry: Geometry, layers: list[Layer | TubeLayer], slice_share: float
) -> dict[int, BoxedShare]:
    """Share of each voxel inside the tubes of each tube layer, in the box they touch."""
    out: dict[int, BoxedShare] = {}
    for index, layer in enumerate(layers):
        if isinstance(layer, TubeLayer) and len(layer.tubes):
            radius = layer.tubes.radius_mm + layer.grow_mm
            found = _boxed_tubes(geometry, layer.tubes, radius, slice_share)
            if found is not None:
                out[index] = found
    return out


def _boxed_tubes(
    geometry: Geometry, tubes: Tubes, radius_mm: NDArray[np.float64], slice_share: float
) -> BoxedShare | None:
    inverse = np.linalg.inv(geometry.ijk_to_ras)
    reach = radius_mm[:, None] * np.linalg.norm(inverse[:3, :3], axis=1) + (1, 1, slice_share)
    p, q = geometry.ijk_from_ras(tubes.start_mm), geometry.ijk_from_ras(tubes.end_mm)
    start = np.maximum(np.ceil(np.minimum(p, q) - reach).astype(int), 0)
    stop = np.floor(np.maximum(p, q) + reach).astype(int) + 1
    stop = np.minimum(stop, geometry.shape[::-1])
    chosen = np.flatnonzero((start < stop).all(axis=1))
    if not chosen.size:
        return None
    low, high = start[chosen].min(axis=0), stop[chosen].max(axis=0)
    whole = np.zeros((high - low)[::-1], np.float32)
    spacing = np.asarray(geometry.spacing_ijk_mm) * (1, 1, slice_share)
    for n in chosen:
        size = (stop[n] - start[n])[::-1]
        part = tube_share(
            geometry.ijk_to_ras, start[n], size, spacing, slice_share,
            tubes.start_mm[n], tubes.end_mm[n], float(radius_mm[n]),
        )  # fmt: skip
        k, j, i = (start[n] - low)[::-1]
        view = whole[k : k + size[0], j : j + size[1], i : i + size[2]]
        np.maximum(view, part, out=view)
    i, j, k = (slice(int(x), int(y)) for x, y in zip(low, high, strict=True))
    return (k, j, i), whole


def tube_share(
    ijk_to_ras: NDArray[np.float64],
    first_ijk: NDArray[np.int64],
    size_kji: NDArray[np.int64],
    extent_ijk_mm: NDArray[np.float64],
    slice_share: float,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    radius: float,
) -> Float32:
    """Share of each voxel of a box inside one round-ended tube, its area kept.

    Each voxel is cut into parts no wider than the tube's radius.  A ramp of width w adds
    pi w^2 / 12 to the area of a disc, which is taken off the radius beforehand.
    """
    counts = np.clip(
        np.ceil(1.5 * extent_ijk_mm / min(radius, 1.5 * SAMPLE_SPACING_MM)), 1, 12
    ).astype(int)
    width = float(np.prod(extent_ijk_mm / counts) ** (1 / 3))
    shrunk = np.sqrt(max(radius**2 - width**2 / 12, 0.05 * radius**2))
    axis = end - start
    direction = axis / max(float(axis @ axis), 1e-12)
    axes = []
    for n, count, size, extent in zip(
        (0, 1, 2), counts, size_kji[::-1], (1, 1, slice_share), strict=True
    ):
        steps = ((np.arange(count) + 0.5) / count - 0.5) * extent
        places = (first_ijk[n] + np.arange(size)[:, None] + steps).ravel()
        shape = [1, 1, 1]
        shape[2 - n] = -1
        axes.append(places.reshape(shape))
    rows = ijk_to_ras[:3, :3]
    offset = ijk_to_ras[:3, 3] - start
    along = _linear(direction @ rows, float(direction @ offset), axes)
    np.clip(along, 0, 1, out=along)
    square: Float32 = np.zeros((1, 1, 1), np.float32)
    for row in range(3):
        away = _linear(rows[row], float(offset[row]), axes) - along * np.float32(axis[row])
        away *= away
        square = square + away
    np.sqrt(square, out=square)
    square -= np.float32(shrunk)
    fine = share(square, width)
    if counts.max() == 1:
        return fine
    k, j, i = size_kji
    ci, cj, ck = counts
    total = np.add.reduce(fine.reshape(k, ck, j, cj, i, ci), axis=(1, 3, 5), dtype=np.float32)
    return np.asarray(total / np.float32(counts.prod()))


def _linear(
    weights: NDArray[np.float64], constant: float, axes: list[NDArray[np.float64]]
) -> Float32:
    """Linear function of the voxel index, float32, as wide as the axes that it depends on."""
    out: Float32 = np.full((1, 1, 1), constant, np.float32)
    for weight, places in zip(weights, axes, strict=True):
        if weight:
            out = out + (weight * places).astype(np.float32)
    return out


def sample_offsets(
    geometry: Geometry, slice_thickness_mm: float | None
) -> tuple[NDArray[np.float64], float]:
    """Places inside a voxel (I, J, K shares) whose mean is the voxel, and the width of each."""
    extents = list(geometry.spacing_ijk_mm)
    spacing_k = extents[2]
    if slice_thickness_mm is not None:
        extents[2] = slice_thickness_mm
    counts = [
        min(MOST_SAMPLES, max(1, int(np.ceil(extent / SAMPLE_SPACING_MM - 1e-6))))
        for extent in extents
    ]
    shares = [1.0, 1.0, extents[2] / spacing_k]
    steps = [((np.arange(n) + 0.5) / n - 0.5) * f for n, f in zip(counts, shares, strict=True)]
    offsets = [(i, j, k) for k in steps[2] for j in steps[1] for i in steps[0]]
    width = float(np.prod([e / n for e, n in zip(extents, counts, strict=True)]) ** (1 / 3))
    return np.array(offsets), width


def paint_slabs(
    model: ChestModel,
    geometry: Geometry,
    *,
    slice_thickness_mm: float | None = None,
    progress: Progress = ignore,
) -> Iterator[tuple[slice, Float32, Float32 | None, dict[str, Float32]]]:
    """Noise-free fields slab by slab: slices, HU without contrast, iodine, shares by name."""
    layers = model.layers()
    iodine = model.blood_iodine_mg_ml > 0 or model.vena_cava_iodine_mg_ml > 0
    offsets, width = sample_offsets(geometry, slice_thickness_mm)
    slice_share = (slice_thickness_mm or geometry.spacing_ijk_mm[2]) / geometry.spacing_ijk_mm[2]
    depth, height, breadth = geometry.shape
    step = max(1, SLAB_VOXELS // (height * breadth))
    for first in range(0, depth, step):
        progress(first / depth, "painting the chest")
        slices = slice(first, min(first + step, depth))
        piece = geometry.crop((slices, slice(0, height), slice(0, breadth)))
        hu: Float32 = np.zeros(piece.shape, np.float32)
        mg_ml: Float32 | None = np.zeros(piece.shape, np.float32) if iodine else None
        shares: dict[str, Float32] = {}
        tubes = tube_shares(piece, layers, slice_share)
        for offset in offsets:
            painter = Painter(Slab(piece, width, offset), tubes, iodine)
            for index, layer in enumerate(layers):
                painter.paint(index, layer)
            hu += painter.hu / np.float32(len(offsets))
            if mg_ml is not None and painter.iodine is not None:
                mg_ml += painter.iodine / np.float32(len(offsets))
            for name, kept in painter.kept.items():
                kept /= np.float32(len(offsets))
                shares[name] = shares[name] + kept if name in shares else kept
        yield slices, hu, mg_ml, shares
    progress(1.0, "painted")


def blur(array: Float32, geometry: Geometry, fwhm_mm: float | tuple[float, float]) -> Float32:
    """Gaussian point spread along the voxel axes, in place; (in plane, along K) if two values."""
    in_plane, along = (fwhm_mm, fwhm_mm) if isinstance(fwhm_mm, int | float) else fwhm_mm
    for axis, fwhm in ((0, along), (1, in_plane), (2, in_plane)):
        if fwhm > 0:
            sigma = fwhm / FWHM_PER_SIGMA / geometry.spacing_kji_mm[axis]
            ndimage.gaussian_filter1d(array, sigma, axis, output=array, mode="nearest")
    return array


def noise(geometry: Geometry, sd_hu: float, correlation_mm: float, seed: int) -> Iterator[Float32]:
    """Yield normal noise slice by slice with given SD and Gaussian autocorrelation.

    ``correlation_mm`` is the full width at half maximum of the autocorrelation in plane and
    along K.  The noise of a slice depends on the seed and the slice alone.
    """
    depth, height, breadth = geometry.shape
    k_mm, j_mm, i_mm = geometry.spacing_kji_mm
    sigma_mm = correlation_mm / FWHM_PER_SIGMA / np.sqrt(2.0)
    radius = int(np.ceil(4 * sigma_mm / k_mm)) if correlation_mm > 0 else 0
    weights = _kernel(sigma_mm / k_mm, radius)
    kernels = [_kernel(sigma_mm / mm, int(np.ceil(4 * sigma_mm / mm))) for mm in (j_mm, i_mm)]
    white: dict[int, Float32] = {}
    for k in range(depth):
        total: Float32 = np.zeros((height, breadth), np.float32)
        for shift in range(-radius, radius + 1):
            if k + shift not in white:
                rng = np.random.default_rng([seed, 7, k + shift + 1_000_000])
                drawn = rng.standard_normal((height, breadth), dtype=np.float32)
                for axis, kernel in enumerate(kernels):
                    drawn = ndimage.correlate1d(drawn, kernel, axis, mode="wrap")
                white[k + shift] = drawn
            total += np.float32(weights[shift + radius]) * white[k + shift]
        white.pop(k - radius, None)
        yield total * np.float32(sd_hu)


def sharp_noise(geometry: Geometry, sd_hu: float, seed: int) -> Iterator[Float32]:
    """Yield the noise of a lung kernel slice by slice, with given SD.

    Its power rises from nothing in proportion to frequency, as filtered back projection has it, up
    to `SHARP_CUTOFF_PER_MM` (Boedeker 2007, Phys Med Biol 52:4027); slices are independent.  The
    noise of a slice depends on the seed and the slice alone.
    """
    depth, height, breadth = geometry.shape
    _, j_mm, i_mm = geometry.spacing_kji_mm
    frequency = np.hypot(
        np.fft.fftfreq(height, j_mm)[:, None], np.fft.rfftfreq(breadth, i_mm)[None]
    )
    shape = np.sqrt(frequency) * np.exp(-((frequency / SHARP_CUTOFF_PER_MM) ** 6))
    # Columns other than the first and, of an even number, the last stand for two each.
    twice = np.where(np.arange(shape.shape[1]) % (breadth / 2) > 0, 2.0, 1.0)
    power = float((twice * shape**2).sum() / (height * breadth))
    for k in range(depth):
        rng = np.random.default_rng([seed, 8, k])
        drawn = np.fft.rfft2(rng.standard_normal((height, breadth)))
        plane = np.fft.irfft2(drawn * shape, s=(height, breadth))
        yield (plane * (sd_hu / np.sqrt(power))).astype(np.float32)


def _kernel(sigma: float, radius: int) -> NDArray[np.float64]:
    """Gaussian weights whose squares add up to 1, so that white noise keeps its SD."""
    if sigma <= 0 or radius == 0:
        return np.ones(1)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.asarray(weights / np.sqrt((weights**2).sum()))


@dataclass(frozen=True, eq=False)
class Phantom:
    """An image and its answers.

    Parameters
    ----------
    ct
        Rounded to whole HU, -1024 at least, int16; padding is stored as air and marked invalid.
    truth
        What is known about it.
    padding_hu
        Value that a scanner would have written outside its circle, or None without a circle.
    iodine
        Noise-free iodine concentration without point spread, mg/mL, or None without contrast.

    """

    ct: Volume
    truth: PhantomTruth
    padding_hu: int | None = None
    iodine: Volume | None = None


def render(
    model: ChestModel,
    geometry: Geometry,
    *,
    psf_fwhm_mm: float | tuple[float, float] = 1.0,
    noise_sd_hu: float = 15.0,
    noise_correlation_mm: float | None = 1.5,
    slice_thickness_mm: float | None = None,
    padding_hu: int | None = None,
    seed: int = 1,
    progress: Progress = ignore,
) -> Phantom:
    """CT of a chest on a grid, with its truth.

    Parameters
    ----------
    model
        The chest.
    geometry
        Any grid: spacing, orientation, obliqueness and shear are free.
    psf_fwhm_mm
        Full width at half maximum of the Gaussian point spread, on top of the averaging within
        a voxel; (in plane, along K) if two values.
    noise_sd_hu
        Standard deviation of the noise after all blurring.
    noise_correlation_mm
        Full width at half maximum of the noise's autocorrelation; 0 for white noise, None for that
        of a lung kernel (`sharp_noise`).
    slice_thickness_mm
        Width of the slice profile; the distance between slices if None.
    padding_hu
        Fill outside the largest circle in each slice, as scanners do: -1024, -2000, -3024.
    seed
        Of the noise; the anatomy has its own seed in the model.
    progress
        Told how far it is.

    """
    depth = geometry.shape[0]
    hu: Float32 = np.empty(geometry.shape, np.float32)
    iodine: Float32 | None = None
    labels = TruthLabels(model, geometry)
    painting = paint_slabs(
        model, geometry, slice_thickness_mm=slice_thickness_mm, progress=part(progress, 0, 0.8)
    )
    for slices, plain, mg_ml, shares in painting:
        if mg_ml is not None:
            iodine = np.empty(geometry.shape, np.float32) if iodine is None else iodine
            iodine[slices] = mg_ml
            plain += np.float32(IODINE_HU_PER_MG_ML) * mg_ml
        if model.streak_hu:
            height, breadth = geometry.shape[1:]
            box = (slices, slice(0, height), slice(0, breadth))
            plain += model.streak_hu_at(*broadcast_coordinates(geometry, box, np.zeros(3)))
        labels.add(slices, shares)
        hu[slices] = plain
    progress(0.8, "blurring")
    blur(hu, geometry, psf_fwhm_mm)
    means = labels.means(hu)
    ct = np.empty(geometry.shape, np.int16)
    grain: Iterator[Float32] | None = None
    if noise_sd_hu > 0:
        grain = (
            sharp_noise(geometry, noise_sd_hu, seed)
            if noise_correlation_mm is None
            else noise(geometry, noise_sd_hu, noise_correlation_mm, seed)
        )
    for k in range(depth):
        plane = hu[k] if grain is None else hu[k] + next(grain)
        ct[k] = np.clip(np.round(plane), -1024, 3071)
        progress(0.85 + 0.15 * (k + 1) / depth, "adding noise")
    valid = None
    if padding_hu is not None:
        valid = np.broadcast_to(_scan_circle(geometry), geometry.shape)
        ct[~valid] = AIR_HU
    settings = {
        "anatomy_seed": model.seed,
        "noise_seed": seed,
        "spacing_ijk_mm": list(geometry.spacing_ijk_mm),
        "psf_fwhm_mm": psf_fwhm_mm,
        "noise_sd_hu": noise_sd_hu,
        "noise_correlation_mm": noise_correlation_mm,
        "slice_thickness_mm": slice_thickness_mm or geometry.spacing_ijk_mm[2],
        "padding_hu": padding_hu,
    }
    return Phantom(
        Volume(ct, geometry, "HU", valid),
        labels.truth(settings, means),
        padding_hu,
        None if iodine is None else Volume(iodine, geometry, "mg/mL"),
    )


def _scan_circle(geometry: Geometry) -> NDArray[np.bool_]:
    """Voxels of a slice inside the largest circle around its centre."""
    _, height, breadth = geometry.shape
    _, j_mm, i_mm = geometry.spacing_kji_mm
    j = (np.arange(height) - (height - 1) / 2) * j_mm
    i = (np.arange(breadth) - (breadth - 1) / 2) * i_mm
    radius = min(height * j_mm, breadth * i_mm) / 2
    return np.asarray(i**2 + j[:, None] ** 2 <= radius**2)


class TruthLabels:
    """Label maps filled slab by slab from the shares of each voxel."""

    def __init__(self, model: ChestModel, geometry: Geometry) -> None:
        self.model = model
        self.geometry = geometry
        self.arrays = {
            name: np.zeros(geometry.shape, np.uint8)
            for name in ("lungs", "lobes", "airways", "vessels", "lesions", "structures")
        }

    def add(self, slices: slice, shares: dict[str, Float32]) -> None:
        """Take in one slab."""
        lungs, lobes = self.arrays["lungs"][slices], self.arrays["lobes"][slices]
        for region in LUNGS:
            if region in shares:
                lungs[shares[region] >= 0.5] = STRUCTURES[region].label
        height, breadth = self.geometry.shape[1:]
        box = (slices, slice(0, height), slice(0, breadth))
        for name, side in LOBE_SIDES.items():
            lung = LUNGS[0] if side < 0 else LUNGS[1]
            mask = lungs == STRUCTURES[lung].label
            if not mask.any():
                continue
            found = bounding_box(mask)
            inner = tuple(
                slice(whole.start + part.start, whole.start + part.stop)
                for whole, part in zip(box, found, strict=True)
            )
            r, a, s = broadcast_coordinates(self.geometry, inner, np.zeros(3))  # type: ignore[arg-type]
            own = mask[found] & (self.model.lobe_side(name, r, a, s) < 0)
            lobes[found][own] = STRUCTURES[name].label
        for name, sources in (("airways", ("airways",)), ("vessels", ("arteries", "veins"))):
            for source in sources:
                if source in shares:
                    self.arrays[name][slices][shares[source] >= 0.5] = STRUCTURES[name].label
        for name, values in (("lesions", LESIONS), ("structures", GREAT_VESSELS)):
            for value, source in values.items():
                if source in shares:
                    self.arrays[name][slices][shares[source] >= 0.5] = value

    def means(self, hu: Float32) -> dict[str, float]:
        """Mean of an image over each lung and lobe."""
        out: dict[str, float] = {}
        for array, names in ((self.arrays["lungs"], LUNGS), (self.arrays["lobes"], LOBES)):
            counts = np.zeros(256)
            sums = np.zeros(256)
            for plane, values in zip(array, hu, strict=True):
                counts += np.bincount(plane.ravel(), minlength=256)
                sums += np.bincount(plane.ravel(), weights=values.ravel(), minlength=256)
            for name in names:
                label = STRUCTURES[name].label
                if counts[label]:
                    out[str(name)] = float(sums[label] / counts[label])
            if names is LUNGS and counts[[1, 2]].any():
                out["lungs"] = float(sums[[1, 2]].sum() / counts[[1, 2]].sum())
        return out

    def truth(self, settings: dict[str, Any], means: dict[str, float]) -> PhantomTruth:
        """Everything known, once all slabs are in."""
        names: dict[str, dict[int, str]] = {
            "lungs": {STRUCTURES[name].label: name for name in LUNGS},
            "lobes": {STRUCTURES[name].label: name for name in LOBES},
            "airways": {STRUCTURES[AIRWAYS].label: AIRWAYS},
            "vessels": {STRUCTURES[VESSELS].label: VESSELS},
            "lesions": LESIONS,
            "structures": GREAT_VESSELS,
        }
        maps = {
            name: Labelmap(array, self.geometry, names[name]) for name, array in self.arrays.items()
        }
        return PhantomTruth(
            **maps,
            volumes_ml=lung_volumes_ml(self.model),
            mean_hu=means,
            fissures=fissure_table(self.model),
            arteries=self.model.arteries,
            veins=self.model.veins,
            bronchi=self.model.airways,
            settings=settings,
        )
