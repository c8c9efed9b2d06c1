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
from lungperfusion.opacity import CONSOLIDATION_EDGE_MM, prevailing
from lungperfusion.resampling import resample_array
from lungperfusion.vessels.enhancement import symmetric_matrices
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume, bounding_box, box_around

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

AROUND_MM, DISEASED_ABOVE_LUNG_HU = 6.0, 150.0
"""Lung whose mean over this window (standard deviation) lies this far above the median is diseased.
Gravity makes less than half of it, vessels (cut off) near the hilum two thirds; ground glass adds
about 200 HU."""

LOAD_HU = 80.0
"""Answer of `vessel_load` from which a voxel counts as vessel in full."""

VESSEL_HALO_MM = 1.5
"""The flanks of vessels this close to their dense core curve like sheets."""

SHEET_OVER_NOISE = 1.5
"""A place of a sheet curves across by this many times the noise of one second derivative.  One
place says little: what makes a sheet is that its neighbours lie in one plane with it."""
FLAT_ALONG = 0.5
"""Along a sheet the density curves at most by this share of its curvature across."""
FLANK_MM, LEAST_DROP = 3.0, 0.5
"""A sheet is denser than both its flanks, at this distance, by this share of its answer (a line of
the scale sought, by 1.2 times): the shoulder of a consolidation is not."""
LEAST_NOISE = 0.5
"""Nowhere is the noise taken to be lower than this share of the lung's median."""
NOISE_WINDOW_MM = 8.0
"""Standard deviation of the window over which noise is measured: disease raises it locally."""
CLIPPED_NOISE = 6.0
"""Curvature beyond this many times the lung's noise is structure, and enters no local noise."""

DISC_MM = 6.0
"""Radius of the disc in a sheet over which its places are counted; it bends by less than half a
voxel in the disc where its radius of curvature is 36 mm or more."""
IN_PLANE_MM = 1.2
"""Places of one sheet lie this close to the plane of the disc."""
BESIDE_MM = (1.8, 4.8)
"""Distances from the disc, on both sides, within which like places are clutter: mottled disease is
full of them in every direction, a fissure has none beside it."""
LEAST_COVER, FULL_COVER = 0.2, 0.6
"""Share of the disc covered, beyond the clutter, from which a place belongs to a sheet, and from
which it is trusted in full."""

THICK_MM, LEAST_COVER_THICK = 1.6, 0.5
"""From this voxel size on, noise is blurred into small sheets, and this share must be covered."""

JOINED_MM = 3.0
"""Places of one direction and plane this far apart belong to one piece of sheet."""
LEAST_SHEET_MM2 = 30.0
"""Connected pieces of sheet smaller than this are vessel walls, septa and noise."""
FIRM_SHEET_MM2 = 200.0
"""Pieces from this area on are trusted in full; smaller ones may still be vessel walls."""

CUT_MM2 = 500.0
"""A lung with more than this on the edge of the image is cut off there."""
MARGIN_MM = 6.0
AROUND_AIRWAYS_MM = 6.0
"""Airways up to about twice this wide count as inside the lung that surrounds them."""
ALIGNED_COSINE = 0.9
"""Neighbouring points of one sheet differ less in direction than the angle of this cosine."""

_CHUNK = 4000


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
    cut
        Whether the edge of the image cuts a part of the lung off.

    """

    hu: Float32
    lung: Mask
    airways: Mask
    geometry: Geometry
    median_hu: float
    thick_mm: float
    cut: bool = False

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
        Trust in each, 0 to 1: by how full its disc is and by the area of its piece.

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
    box = box_around(lung, ct.geometry.spacing_kji_mm, MARGIN_MM)
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
    cut = _on_edge_mm2(lung, ct.geometry) > CUT_MM2
    return LungImage(hu, inside, bronchi, grid, median, thick, cut)


def _tight(mask: Mask) -> tuple[slice, slice, slice]:
    return bounding_box(mask)


def _on_edge_mm2(lung: Mask, geometry: Geometry) -> float:
    """Area of a lung on the outermost planes of the image."""
    volume_mm3 = float(np.prod(geometry.spacing_kji_mm))
    return float(
        sum(
            np.count_nonzero(lung.take(place, axis)) * volume_mm3 / mm
            for axis, mm in enumerate(geometry.spacing_kji_mm)
            for place in (0, -1)
        )
    )


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
    load[(dense_lung(image) & (depth_mm > SKIN_MM)) | image.airways] = LOAD_HU
    load[consolidation(image) & ~image.airways] = 0
    return load


def dense_lung(image: LungImage) -> Mask:
    """Voxels as dense as vessels and walls."""
    return np.asarray(image.hu > image.median_hu + VESSEL_ABOVE_LUNG_HU)


def aerated(image: LungImage, flat: Float32) -> Mask:
    """Lung no denser around than usual: ground glass and consolidation hide and mimic vessels."""
    return np.asarray(smoothed(flat, AROUND_MM) < image.median_hu + DISEASED_ABOVE_LUNG_HU)


def consolidation(image: LungImage) -> Mask:
    """Dense lung that is wider than vessels are: nothing is seen in it."""
    dense = image.lung & dense_lung(image)
    return prevailing(dense, image.lung, CONSOLIDATION_EDGE_MM, (GRID_MM, GRID_MM, GRID_MM))


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

    A sheet curves across and is flat along: of the Hessian's eigenvalues ``l1 <= l2 <= l3`` the
    first is well below zero and the others are small beside it.  Fissures of real scans stand out
    by little more than the noise, so that such places are sought from a low threshold on (of the
    noise around them) and kept where others fill a disc in their plane, more than beside it.

    Parameters
    ----------
    image
        The lung.
    smooth
        From `structures`.
    depth_mm
        Distance under the lung surface.

    """
    places, normals = _ridges(image, smooth, depth_mm)
    cover = _cover(places, normals)
    kept = cover >= (LEAST_COVER if image.thick_mm <= THICK_MM else LEAST_COVER_THICK)
    places, normals, cover = places[kept], normals[kept], cover[kept]
    area = _piece_mm2(places, normals)
    kept = area >= LEAST_SHEET_MM2
    clear = np.minimum(cover[kept] / FULL_COVER, 1.0)
    weights = clear * np.minimum(area[kept] / FIRM_SHEET_MM2, 1.0)
    return Sheets(places[kept], normals[kept], weights)


def _ridges(image: LungImage, smooth: Float32, depth_mm: Float32) -> tuple[Points, Points]:
    """Places where the density is greatest across and hardly changes along, and unit normals."""
    halo = distance_mm(dense_lung(image), (GRID_MM, GRID_MM, GRID_MM)) > VESSEL_HALO_MM
    search = _without_border((depth_mm > SKIN_MM + 0.5) & halo)
    index = np.flatnonzero(search)
    if not index.size:
        return np.zeros((0, 3)), np.zeros((0, 3))
    curvature = _laplacian(smooth, index)
    threshold = SHEET_OVER_NOISE * _local_noise(smooth, index, curvature)
    bent = curvature < -threshold / 2
    index, threshold = index[bent], threshold[bent]
    jet = _second_derivatives(smooth, index)
    low, middle, high = _eigenvalues(jet)
    flat = np.maximum(np.abs(middle), np.abs(high)) < -FLAT_ALONG * low
    strong = flat & (-low > threshold)
    index, jet = index[strong], jet[:, strong]
    values, vectors = np.linalg.eigh(symmetric_matrices(jet))
    across = vectors[:, :, 0]
    slope = np.einsum("ni,in->n", across, _first_derivatives(smooth, index))
    # Newton step to the ridge across the sheet: Steger 1998, IEEE PAMI 20:113.
    offset = -slope / values[:, 0]
    on_ridge = np.abs(offset) <= 0.7 * GRID_MM
    normals = across[on_ridge][:, ::-1].astype(np.float64)
    places = image.points_mm(index[on_ridge]) + offset[on_ridge, None] * normals
    flanks = [image.sample(smooth, places + side * FLANK_MM * normals) for side in (-1.0, 1.0)]
    drop = image.sample(smooth, places) - np.maximum(*flanks)
    stands_out = drop >= LEAST_DROP * -values[on_ridge, 0] * _scale_mm(image) ** 2
    return places[stands_out], normals[stands_out]


def _local_noise(smooth: Float32, index: NDArray[np.int64], curvature: Float32) -> Float32:
    """Noise of one second derivative around each place, per mm2."""
    noise = _curvature_noise(smooth, index)
    bends, there = (np.zeros(smooth.shape, np.float32) for _ in range(2))
    bends.ravel()[index] = np.minimum(np.abs(curvature), CLIPPED_NOISE * noise)
    there.ravel()[index] = 1.0
    around = (smoothed(array, NOISE_WINDOW_MM).ravel()[index] for array in (bends, there))
    local = next(around) / np.maximum(next(around), 1e-3)
    relative = local / max(float(np.median(local)), 1e-6)
    return np.asarray(noise * np.maximum(relative, LEAST_NOISE), np.float32)


def _cover(places: Points, normals: Points) -> Points:
    """Share of the disc around each place that like places fill, less what fills as much beside."""
    from scipy.spatial import cKDTree

    tree = cKDTree(places)
    on, beside = np.zeros(len(places)), np.zeros(len(places))
    near_mm, far_mm = BESIDE_MM
    for start in range(0, len(places), _CHUNK):
        part = slice(start, start + _CHUNK)
        own = cKDTree(places[part])
        pairs = own.sparse_distance_matrix(tree, DISC_MM, output_type="coo_matrix")
        first, second = pairs.row + start, pairs.col
        height = np.abs(np.einsum("ij,ij->i", places[second] - places[first], normals[first]))
        like = np.abs(np.einsum("ij,ij->i", normals[second], normals[first])) > ALIGNED_COSINE
        count = len(places[part])
        inside = like & (height < IN_PLANE_MM)
        outside = like & (height > near_mm) & (height < far_mm)
        on[part] = np.bincount(first[inside] - start, minlength=count)
        beside[part] = np.bincount(first[outside] - start, minlength=count)
    clutter = beside * IN_PLANE_MM / (far_mm - near_mm)
    return np.asarray((on - clutter) * GRID_MM**2 / (np.pi * DISC_MM**2))


def _piece_mm2(places: Points, normals: Points) -> Points:
    """Area of the piece that each place makes up with neighbours of like direction and plane."""
    if not len(places):
        return np.zeros(0)
    from scipy import sparse
    from scipy.sparse import csgraph
    from scipy.spatial import cKDTree

    first, second = cKDTree(places).query_pairs(JOINED_MM, output_type="ndarray").T
    height = np.abs(np.einsum("ij,ij->i", places[second] - places[first], normals[first]))
    cosine = np.abs(np.einsum("ij,ij->i", normals[second], normals[first]))
    joined = (height < IN_PLANE_MM) & (cosine > ALIGNED_COSINE)
    first, second = first[joined], second[joined]
    graph = sparse.coo_array((np.ones(first.size, np.int8), (first, second)), (len(places),) * 2)
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
