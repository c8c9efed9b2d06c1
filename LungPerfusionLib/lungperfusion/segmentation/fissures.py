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
from lungperfusion.vessels.enhancement import symmetric_matrices
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume, bounding_box

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

LOAD_HU = 80.0
"""Answer of `vessel_load` from which a voxel counts as vessel in full."""

VESSEL_HALO_MM = 1.5
"""The flanks of vessels this close to their dense core curve like sheets."""

SHEET_OVER_NOISE = 2.2
"""A sheet answers stronger than the noise of one second derivative by this factor."""

LEAST_SHEET_MM2 = 30.0
"""Connected pieces of sheet smaller than this are vessel walls, septa and noise."""
FIRM_SHEET_MM2 = 200.0
"""Pieces from this area on are trusted in full; smaller ones may still be vessel walls."""
CLEAR_ANSWER = 3.0
"""Answers from this multiple of the threshold on are trusted in full."""

MARGIN_MM = 6.0
AROUND_AIRWAYS_MM = 6.0
"""Airways up to about twice this wide count as inside the lung that surrounds them."""
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
    airways
        Airways inside it.
    geometry
        Its grid.
    median_hu
        Density of the lung.
    thick_mm
        Largest spacing of the scan.

    """

    hu: Float32
    lung: Mask
    airways: Mask
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
    weights
        Trust in each, 0 to 1: by its answer and by the area of its piece.

    """

    points_mm: Points
    normals: Points
    weights: Points


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
    bronchi = _near(airways[box], lung[box], source)
    inside, bronchi = (
        resample_array(mask, source, grid, interpolation="nearest", fill=0)
        for mask in (lung[box] | bronchi, bronchi)
    )
    median = float(np.median(hu[inside][::7])) if inside.any() else -850.0
    return LungImage(hu, inside, bronchi, grid, median, thick)


def _tight(mask: Mask) -> tuple[slice, slice, slice]:
    return bounding_box(mask)


def _near(airways: Mask, lung: Mask, geometry: Geometry) -> Mask:
    """Airways inside the lung: those in its closing by `AROUND_AIRWAYS_MM`."""
    if not airways.any():
        return airways
    reach = [int(2 * AROUND_AIRWAYS_MM / mm) + 2 for mm in geometry.spacing_kji_mm]
    box = bounding_box(airways, (reach[0], reach[1], reach[2]))  # all that plays a part
    grown = distance_mm(lung[box], geometry.spacing_kji_mm) <= AROUND_AIRWAYS_MM
    filled = distance_mm(~grown, geometry.spacing_kji_mm) > AROUND_AIRWAYS_MM
    near = np.zeros_like(airways)
    near[box] = airways[box] & filled
    return near


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


def structures(image: LungImage, flat: Float32) -> Float32:
    """Density between the vessels, smoothed to the scale at which structures are looked for."""
    return np.asarray(ndimage.gaussian_filter(flat, _scale_mm(image) / GRID_MM, truncate=3.5))


def _scale_mm(image: LungImage) -> float:
    return max(SCALE_MM, THICK_SCALE * image.thick_mm)


def vessel_load(image: LungImage, smooth: Float32, depth_mm: Float32) -> Float32:
    """How much each voxel belongs to a vessel or bronchus, 0 to `LOAD_HU`.

    A tube curves across in two directions, a sheet in one: the second of the Hessian's
    eigenvalues, ``sigma^2 (-l2)`` with ``l1 <= l2 <= l3``, answers to vessels down to the smallest
    that are seen, and not to fissures.  Dense cores and bronchi count in full.
    """
    scale = _scale_mm(image)
    search = _without_border(depth_mm > SKIN_MM + 0.5)
    index = np.flatnonzero(search)
    noise = _curvature_noise(smooth, index) * scale**2
    index = index[_laplacian(smooth, index) * scale**2 < -noise]
    _, middle, _ = _eigenvalues(_second_derivatives(smooth, index))
    load = np.zeros(image.hu.shape, np.float32)
    load.ravel()[index] = np.clip(-middle * scale**2 - noise, 0, LOAD_HU)
    dense = image.hu > image.median_hu + VESSEL_ABOVE_LUNG_HU
    load[(dense & (depth_mm > SKIN_MM)) | image.airways] = LOAD_HU
    return load


def known_load(image: LungImage, vessels: Labelmap) -> Float32:
    """Vessels that are known, as `vessel_load` gives those it finds."""
    share = resample_array(
        (vessels.array > 0).astype(np.float32),
        vessels.geometry,
        image.geometry,
        interpolation="linear",
        fill=0,
    )
    load = np.where(image.lung, LOAD_HU * share, 0).astype(np.float32)
    load[image.airways] = LOAD_HU
    return load


def _without_border(mask: Mask) -> Mask:
    """Leave out the outermost voxels, whose neighbours are not all there."""
    out = np.zeros_like(mask)
    out[1:-1, 1:-1, 1:-1] = mask[1:-1, 1:-1, 1:-1]
    return out


def find_sheets(image: LungImage, smooth: Float32, depth_mm: Float32) -> Sheets:
    """Find points on bright sheets.

    A sheet curves across and is flat along: of the Hessian's eigenvalues by size,
    ``|l1| >= |l2| >= |l3|``, the first is negative and the answer is ``sigma^2 (-l1 - 2 |l2|)``,
    which tubes and blobs do not give.

    Parameters
    ----------
    image
        The lung.
    smooth
        From `structures`.
    depth_mm
        Distance under the lung surface.

    """
    scale = _scale_mm(image)
    dense = image.hu > image.median_hu + VESSEL_ABOVE_LUNG_HU
    halo = distance_mm(dense, (GRID_MM, GRID_MM, GRID_MM)) > VESSEL_HALO_MM
    index = np.flatnonzero(_without_border((depth_mm > SKIN_MM + 0.5) & halo))
    noise = _curvature_noise(smooth, index) * scale**2
    threshold = max(SHEET_OVER_NOISE * noise, 4.0)
    index = index[_laplacian(smooth, index) * scale**2 < -0.5 * threshold]
    jet = _second_derivatives(smooth, index)
    low, middle, high = _eigenvalues(jet)
    answer = -low - 2 * np.maximum(np.abs(high), np.abs(middle))
    strong = answer * scale**2 > threshold
    index, jet, answer = index[strong], jet[:, strong], answer[strong] * scale**2
    values, vectors = np.linalg.eigh(symmetric_matrices(jet))
    across = vectors[:, :, 0]
    slope = np.einsum("ni,in->n", across, _first_derivatives(smooth, index))
    # Newton step to the ridge across the sheet: Steger 1998, IEEE PAMI 20:113.
    offset = -slope / values[:, 0]
    on_ridge = np.abs(offset) <= 0.7 * GRID_MM
    index, across, offset, answer = (x[on_ridge] for x in (index, across, offset, answer))
    area = _piece_mm2(index, across, smooth.shape)
    keep = area >= LEAST_SHEET_MM2
    normals = across[keep][:, ::-1]
    points = image.points_mm(index[keep]) + offset[keep, None] * normals
    clear = np.minimum(answer[keep] / threshold / CLEAR_ANSWER, 1.0)
    weights = np.asarray(clear * np.minimum(area[keep] / FIRM_SHEET_MM2, 1.0), np.float64)
    return Sheets(points, normals, weights)


def _piece_mm2(index: NDArray[np.int64], normals: Points, shape: tuple[int, ...]) -> Points:
    """Area of the piece that each point makes up with its neighbours of like direction."""
    if not index.size:
        return np.zeros(0)
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
    return np.asarray(np.bincount(piece)[piece] * GRID_MM**2)


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


def _eigenvalues(jet: Float32) -> tuple[Float32, Float32, Float32]:
    """Eigenvalues of symmetric matrices, growing: Smith 1961, Commun ACM 4:168."""
    a, b, c, d, e, f = jet
    mean = (a + b + c) / np.float32(3)
    a, b, c = a - mean, b - mean, c - mean
    p = np.sqrt((a * a + b * b + c * c + 2 * (d * d + e * e + f * f)) / np.float32(6))
    p = np.maximum(p, np.float32(1e-6))
    half = (a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)) / (2 * p * p * p)
    angle = np.arccos(np.clip(half, -1, 1)) / np.float32(3)
    high = mean + 2 * p * np.cos(angle)
    low = mean + 2 * p * np.cos(angle + np.float32(2 * np.pi / 3))
    return low, 3 * mean - high - low, high


def _curvature_noise(smooth: Float32, index: NDArray[np.int64]) -> float:
    """Noise of one second derivative per mm2, from the median absolute deviation."""
    index = index[:: max(1, index.size // 200_000)]
    flat = smooth.ravel()
    spread = []
    for stride in _strides(smooth.shape):
        second = (flat[index + stride] + flat[index - stride] - 2 * flat[index]) / GRID_MM**2
        spread.append(np.median(np.abs(second - np.median(second))) / 0.6745)
    return float(np.mean(spread))
