"""Bright sheets in a lung: where fissures are seen, with their direction.

Each lung is looked at on a cubic grid along the patient's axes, so that slice thickness, tilt and
array order of the scan make no difference to what follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.morphology import distance_mm
from lungperfusion.resampling import resample_array
from lungperfusion.volume import Geometry, Mask, Volume, bounding_box

Float32 = NDArray[np.float32]
Points = NDArray[np.float64]

GRID_MM = 1.0
"""Working grid: a fissure of 1 mm and the blur of the scanner span about two of its voxels."""

SCALE_MM = 1.2
"""Standard deviation at which sheets are looked for; 0.7 to 1.5 mm are in use."""
THICK_SCALE = 0.6
"""The same as a share of the slice thickness, where slices blur more."""

SKIN_MM = 2.0
"""Depth under the lung surface that is not looked at: the pleura is a sheet, too."""

VESSEL_ABOVE_LUNG_HU = 330.0
"""Density above the lung's median that only vessels and walls reach."""

VESSEL_HALO_MM = 1.5
"""The flanks of vessels this close to their dense core curve like sheets."""

SHEET_OVER_NOISE = 2.2
"""A sheet answers stronger than the noise of one second derivative by this factor."""

LEAST_SHEET_MM2 = 30.0
"""Connected pieces of sheet smaller than this are vessel walls, septa and noise."""

MARGIN_MM = 6.0
ALIGNED_COSINE = 0.8
"""Neighbouring points of one sheet differ less in direction than the angle of this cosine."""


@dataclass(frozen=True, eq=False)
class LungImage:
    """One lung on the working grid; axes (head, front, right), each growing.

    Parameters
    ----------
    hu
        CT numbers, float32.
    lung
        The lung with its airways.
    geometry
        Its grid.
    median_hu
        Density of the lung.
    thick_mm
        Largest spacing of the scan.

    """

    hu: Float32
    lung: Mask
    geometry: Geometry
    median_hu: float
    thick_mm: float

    def sample(self, array: NDArray[Any], points_mm: Points) -> NDArray[Any]:
        """Values of an array of this grid at points in RAS mm, shape (...)."""
        ijk = self.geometry.ijk_from_ras(points_mm)
        at = np.moveaxis(ijk[..., ::-1], -1, 0)
        return np.asarray(ndimage.map_coordinates(array, list(at), order=1, mode="nearest"))

    def points_mm(self, index: NDArray[np.int64]) -> Points:
        """RAS mm of flat indices."""
        kji = np.stack(np.unravel_index(index, self.hu.shape), axis=-1)
        return self.geometry.ras_from_ijk(kji[:, ::-1])


@dataclass(frozen=True, eq=False)
class Sheets:
    """Points on the middle of bright sheets.

    Parameters
    ----------
    points_mm
        RAS mm below the voxel, shape (n, 3).
    normals
        Unit normals, sign arbitrary.
    strength
        Answer of the filter relative to its threshold, at least 1.

    """

    points_mm: Points
    normals: Points
    strength: Points


def lung_image(ct: Volume, lung: Mask, airways: Mask) -> LungImage:
    """Bring one lung onto the working grid.

    Parameters
    ----------
    ct
        Chest CT in HU.
    lung
        The lung, on the grid of the CT.
    airways
        Airways; those inside the lung's box count as inside.

    """
    spacing = np.asarray(ct.geometry.spacing_kji_mm)
    margin = np.ceil(MARGIN_MM / spacing).astype(int)
    box = bounding_box(lung, (int(margin[0]), int(margin[1]), int(margin[2])))
    source = ct.geometry.crop(box)
    k, j, i = (np.array([part.start, part.stop - 1]) for part in _tight(lung[box]))
    corners = source.ras_from_ijk([(a, b, c) for a in i for b in j for c in k])
    low, high = corners.min(axis=0) - MARGIN_MM, corners.max(axis=0) + MARGIN_MM
    counts = np.ceil((high - low) / GRID_MM).astype(int) + 1
    matrix = np.diag([GRID_MM, GRID_MM, GRID_MM, 1.0])
    matrix[:3, 3] = low
    grid = Geometry((int(counts[2]), int(counts[1]), int(counts[0])), matrix)
    thick = float(max(source.spacing_ijk_mm))
    hu = resample_array(
        ct.array[box].astype(np.float32),
        source,
        grid,
        interpolation="bspline" if thick > 1.6 * GRID_MM else "linear",
        fill=-1000.0,
    )
    inside = resample_array(
        lung[box] | _near(airways[box], lung[box], source),
        source,
        grid,
        interpolation="nearest",
        fill=0,
    )
    median = float(np.median(hu[inside][::7])) if inside.any() else -850.0
    return LungImage(hu, inside, grid, median, thick)


def _tight(mask: Mask) -> tuple[slice, slice, slice]:
    return bounding_box(mask)


def _near(airways: Mask, lung: Mask, geometry: Geometry) -> Mask:
    """Airways inside the lung: those that it surrounds."""
    if not airways.any():
        return airways
    grown = distance_mm(lung, geometry.spacing_kji_mm) <= 6.0
    filled = distance_mm(~grown, geometry.spacing_kji_mm) > 6.0
    return np.asarray(airways & filled)


def parenchyma(image: LungImage, depth_mm: Float32) -> Float32:
    """Lung between the vessels: bright voxels cut off, the surface filled with its surroundings."""
    ceiling = image.median_hu + VESSEL_ABOVE_LUNG_HU
    hu = np.clip(image.hu, -1000.0, ceiling)
    weight = (depth_mm > SKIN_MM).astype(np.float32)
    total = smoothed(weight, 4.0)
    mean = smoothed(hu * weight, 4.0) / np.maximum(total, 1e-4)
    mean[total < 1e-3] = image.median_hu
    return np.where(weight > 0, hu, mean).astype(np.float32)


def smoothed(array: Float32, sigma_mm: float) -> Float32:
    """Gaussian smoothing on the working grid."""
    image = sitk.GetImageFromArray(array)
    out = sitk.SmoothingRecursiveGaussian(image, sigma_mm / GRID_MM)
    return np.asarray(sitk.GetArrayFromImage(out), np.float32)


def find_sheets(image: LungImage, flat: Float32, depth_mm: Float32) -> Sheets:
    """Find points on bright sheets.

    A sheet curves across and is flat along: of the Hessian's eigenvalues by size,
    ``|l1| >= |l2| >= |l3|``, the first is negative and the answer is ``sigma^2 (-l1 - 2 |l2|)``,
    which tubes and blobs do not give.

    Parameters
    ----------
    image
        The lung.
    flat
        From `parenchyma`.
    depth_mm
        Distance under the lung surface.

    """
    scale = max(SCALE_MM, THICK_SCALE * image.thick_mm)
    smooth = ndimage.gaussian_filter(flat, scale / GRID_MM, truncate=3.5)
    dense = image.hu > image.median_hu + VESSEL_ABOVE_LUNG_HU
    halo = distance_mm(dense, (GRID_MM, GRID_MM, GRID_MM)) > VESSEL_HALO_MM
    search = (depth_mm > SKIN_MM + 0.5) & halo
    for axis in range(3):
        edge = [slice(None)] * 3
        edge[axis] = slice(None, None, max(1, search.shape[axis] - 1))
        search[tuple(edge)] = False
    index = np.flatnonzero(search)
    noise = _curvature_noise(smooth, index) * scale**2
    threshold = max(SHEET_OVER_NOISE * noise, 4.0)
    index = index[_laplacian(smooth, index) * scale**2 < -0.5 * threshold]
    jet = _second_derivatives(smooth, index)
    answer, _ = _plate(jet)
    strong = answer * scale**2 > threshold
    index, jet, answer = index[strong], jet[:, strong], answer[strong] * scale**2
    matrix = np.empty((index.size, 3, 3))
    for n, (r, c) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        matrix[:, r, c] = matrix[:, c, r] = jet[n]
    values, vectors = np.linalg.eigh(matrix)
    across = vectors[:, :, 0]
    slope = np.einsum("ni,in->n", across, _first_derivatives(smooth, index))
    # Newton step to the ridge across the sheet: Steger 1998, IEEE PAMI 20:113.
    offset = -slope / values[:, 0]
    on_ridge = np.abs(offset) <= 0.7 * GRID_MM
    index, across, offset, answer = (x[on_ridge] for x in (index, across, offset, answer))
    keep = _in_large_pieces(index, across, smooth.shape)
    index, across, offset, answer = (x[keep] for x in (index, across, offset, answer))
    normals = across[:, ::-1]
    points = image.points_mm(index) + offset[:, None] * normals
    return Sheets(points, normals, np.asarray(answer / threshold, np.float64))


def _in_large_pieces(
    index: NDArray[np.int64], normals: Points, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Points whose neighbours of like direction make up a piece of some area."""
    if not index.size:
        return np.zeros(0, np.bool_)
    from scipy import sparse
    from scipy.sparse import csgraph

    strides = (shape[1] * shape[2], shape[2], 1)
    steps = [
        a * strides[0] + b * strides[1] + c
        for a in (0, 1)
        for b in (-1, 0, 1)
        for c in (-1, 0, 1)
        if (a, b, c) > (0, 0, 0)
    ]
    own = np.arange(index.size)
    rows, columns = [], []
    for step in steps:
        place = np.searchsorted(index, index + step)
        place[place == index.size] = 0
        hit = index[place] == index + step
        a, b = own[hit], place[hit]
        like = np.abs(np.einsum("ij,ij->i", normals[a], normals[b])) > ALIGNED_COSINE
        rows.append(a[like])
        columns.append(b[like])
    first, second = np.concatenate(rows), np.concatenate(columns)
    graph = sparse.coo_array(
        (np.ones(first.size, np.int8), (first, second)), (index.size, index.size)
    )
    _, piece = csgraph.connected_components(graph, directed=False)
    return np.asarray(np.bincount(piece)[piece] * GRID_MM**2 >= LEAST_SHEET_MM2)


def _laplacian(smooth: Float32, index: NDArray[np.int64]) -> Float32:
    flat = smooth.ravel()
    out = -6.0 * flat[index]
    for stride in _strides(smooth.shape):
        out += flat[index + stride] + flat[index - stride]
    return np.asarray(out / np.float32(GRID_MM**2))


def _strides(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return shape[1] * shape[2], shape[2], 1


def _second_derivatives(smooth: Float32, index: NDArray[np.int64]) -> Float32:
    """Hessian KK, JJ, II, KJ, KI, JI per mm2, shape (6, n)."""
    strides = _strides(smooth.shape)
    flat = smooth.ravel()
    out = np.empty((6, index.size), np.float32)
    for n, stride in enumerate(strides):
        out[n] = flat[index + stride] + flat[index - stride] - 2 * flat[index]
    for n, (a, b) in enumerate(((0, 1), (0, 2), (1, 2)), start=3):
        both, apart = strides[a] + strides[b], strides[a] - strides[b]
        out[n] = flat[index + both] + flat[index - both] - flat[index + apart] - flat[index - apart]
        out[n] /= 4
    return out / np.float32(GRID_MM**2)


def _first_derivatives(smooth: Float32, index: NDArray[np.int64]) -> Float32:
    flat = smooth.ravel()
    return np.stack(
        [
            (flat[index + s] - flat[index - s]) / np.float32(2 * GRID_MM)
            for s in _strides(smooth.shape)
        ]
    )


def _plate(jet: Float32) -> tuple[Float32, Float32]:
    """Answer ``-l1 - 2 |l2|`` of symmetric matrices, eigenvalues sorted by size; and ``l1``.

    Eigenvalues by the trigonometric solution (Smith 1961, Commun ACM 4:168).
    """
    a, b, c, d, e, f = jet
    mean = (a + b + c) / np.float32(3)
    a, b, c = a - mean, b - mean, c - mean
    p = np.sqrt((a * a + b * b + c * c + 2 * (d * d + e * e + f * f)) / np.float32(6))
    p = np.maximum(p, np.float32(1e-6))
    half = (a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)) / (2 * p * p * p)
    angle = np.arccos(np.clip(half, -1, 1)) / np.float32(3)
    high = mean + 2 * p * np.cos(angle)
    low = mean + 2 * p * np.cos(angle + np.float32(2 * np.pi / 3))
    middle = 3 * mean - high - low
    other = np.maximum(np.abs(high), np.abs(middle))
    return np.maximum(-low - 2 * other, 0), low


def _curvature_noise(smooth: Float32, index: NDArray[np.int64]) -> float:
    """Noise of one second derivative per mm2, from the median absolute deviation."""
    index = index[:: max(1, index.size // 200_000)]
    flat = smooth.ravel()
    spread = []
    for stride in _strides(smooth.shape):
        second = (flat[index + stride] + flat[index - stride] - 2 * flat[index]) / GRID_MM**2
        spread.append(np.median(np.abs(second - np.median(second))) / 0.6745)
    return float(np.mean(spread))


FAINT_GRID_MM = 2.0
"""Thick slices hold nothing finer."""
FAINT_LENGTH_MM = 6.0
"""Standard deviation along the sheet over which faint fissures are averaged."""
FAINT_SCALE_MM = 1.8
"""Standard deviation across the sheet."""
FAINT_CEILING_HU = 40.0
"""Density over the surrounding lung at which vessels are cut off when faint sheets are sought."""
FAINT_STEP_DEGREES = 15.0
FAINT_SKIN_MM = 6.0
"""Averages along a sheet reach this far into the pleura."""
FAINT_OVER_NOISE = 2.5


def find_faint_sheets(
    image: LungImage,
    flat: Float32,
    depth_mm: Float32,
    forward_degrees: tuple[float, float],
    outward_degrees: tuple[float, float],
    outward: float,
) -> Sheets:
    """Find sheets that show only when averaged along themselves, as in thick slices.

    For each direction of a set, the lung is sheared so that sheets of this direction lie level,
    averaged within its levels, and compared with the levels above and below; every voxel keeps its
    strongest answer.

    Parameters
    ----------
    image, flat
        The lung and its density between the vessels.
    depth_mm
        Distance under the lung surface.
    forward_degrees, outward_degrees
        Descents toward the front and the side that are looked for.
    outward
        +1 for the right lung, -1 for the left.

    """
    factor = round(FAINT_GRID_MM / GRID_MM)
    small = ndimage.uniform_filter(flat, factor)[::factor, ::factor, ::factor]
    depth = depth_mm[::factor, ::factor, ::factor]
    there = depth > FAINT_SKIN_MM
    around = ndimage.gaussian_filter(small, 8.0 / FAINT_GRID_MM)
    vessel = small > around + 4 * FAINT_CEILING_HU
    excess = np.clip(small - around, -100.0, FAINT_CEILING_HU)
    excess[vessel | (depth <= SKIN_MM)] = 0.0
    best = np.zeros(small.shape, np.float32)
    which = np.zeros(small.shape, np.int16)
    slopes: list[tuple[float, float]] = []
    for forward in np.arange(*_inclusive(forward_degrees), FAINT_STEP_DEGREES):
        for out in np.arange(*_inclusive(outward_degrees), FAINT_STEP_DEGREES):
            slope = (-float(np.tan(np.radians(forward))), -outward * float(np.tan(np.radians(out))))
            slopes.append(slope)
            answer = _level_contrast(excess, slope)
            stronger = (answer > best) & there
            best[stronger] = answer[stronger]
            which[stronger] = len(slopes) - 1
    values = best[there]
    if not values.size:
        return Sheets(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    spread = float(np.median(np.abs(values - np.median(values)))) / 0.6745
    threshold = max(float(np.median(values)) + FAINT_OVER_NOISE * spread, 1.0)
    peak = (best >= threshold) & (best >= ndimage.maximum_filter1d(best, 3, axis=0)) & there
    index = np.argwhere(peak)
    table = np.array([(-b, -a, 1.0) for a, b in slopes])
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    points = image.geometry.ras_from_ijk(index[:, ::-1] * factor + 0.5)
    strength = best[peak].astype(np.float64) / threshold
    return Sheets(points, table[which[peak]], strength)


def _inclusive(limits: tuple[float, float]) -> tuple[float, float]:
    return limits[0], limits[1] + 1e-6


def _level_contrast(excess: Float32, slope: tuple[float, float]) -> Float32:
    """Contrast of level sheets after shearing by a slope along (A, R), back in place."""
    steep = float(np.sqrt(1 + slope[0] ** 2 + slope[1] ** 2))
    shift = np.rint(
        slope[0] * (np.arange(excess.shape[1]) - excess.shape[1] / 2)[:, None]
        + slope[1] * (np.arange(excess.shape[2]) - excess.shape[2] / 2)[None, :]
    ).astype(int)
    pad = int(np.abs(shift).max())
    levels = np.arange(-pad, excess.shape[0] + pad)
    source = levels[:, None, None] + shift[None]
    outside = (source < 0) | (source >= excess.shape[0])
    level = np.take_along_axis(excess, np.clip(source, 0, excess.shape[0] - 1), axis=0)
    level[outside] = 0
    across = FAINT_SCALE_MM * steep / FAINT_GRID_MM
    along = [FAINT_LENGTH_MM / FAINT_GRID_MM / np.sqrt(1 + s**2) for s in slope]
    level = ndimage.gaussian_filter(level, (0, *along), truncate=2.5)
    level = -ndimage.gaussian_filter1d(level, across, axis=0, order=2, truncate=3.5)
    level *= across**2
    back = np.arange(excess.shape[0])[:, None, None] - shift[None] + pad
    return np.take_along_axis(level, back, axis=0)
