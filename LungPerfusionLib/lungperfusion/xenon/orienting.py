"""How an image without a sound header lies in the patient, and whether it is mirrored.

No header is needed for the check: lungs have a heart on one side, an apex above, a dome below and a
back that is longer than the front, so the outline on MRI fits the CT in one way only.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.errors import InputError
from lungperfusion.terms import LUNGS
from lungperfusion.volume import Geometry, Labelmap, Mask
from lungperfusion.vq.displacement import voxel_positions

CORONAL = "ILP"
"""Rows from head to foot, columns to the patient's left, slices to the back: how the open pipeline
stores coronal images."""

NAMED_ORIENTATIONS: Mapping[str, str] = {"coronal": CORONAL, "axial": "LPS", "sagittal": "PIL"}

MIRROR_MARGIN = 0.02
"""Gain of Dice from which a mirrored image fits better than the given one.

Right images of three phantom builds and three patients, deformed by 8 mm and scaled to 0.9 of the
volume, lose 0.035 to 0.12 by the mirror that costs least.
"""

MIRROR_DOUBT = 0.01
"""Two ways to lie whose Dice differs by less cannot be told apart by the outline."""

MIRRORS = {"R": "left and right", "A": "front and back", "S": "head and foot"}
"""Patient axis by its letter, and what changes places when an image is mirrored along it."""

_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))
_CHECKED_MM = 8.0
_FIT_STEPS = 10


def orientation_code(words: str) -> str:
    """Letters for where the first, second and third axis of a file grow to, out of a name.

    Raises
    ------
    InputError
        If it is no orientation.

    Examples
    --------
    >>> orientation_code("coronal"), orientation_code("las")
    ('ILP', 'LAS')

    """
    code = NAMED_ORIENTATIONS.get(words.lower(), words.upper())
    axes = {min(letter, _OPPOSITE.get(letter, "?")) for letter in code}
    if len(code) != 3 or axes != {min(pair) for pair in ("RL", "AP", "SI")}:
        raise InputError(
            f"the orientation is {', '.join(NAMED_ORIENTATIONS)} or three letters for where the "
            f"first, second and third axis grow to, such as {CORONAL}; {words!r} was given"
        )
    return code


def grid_of_field(
    shape: tuple[int, int, int], field_mm: Sequence[float], orientation: str
) -> Geometry:
    """Grid of an image that is known by its field of view only, centred on the origin.

    Parameters
    ----------
    shape
        Array shape (K, J, I).
    field_mm
        Extent along the file's first, second and third axis (I, J, K).
    orientation
        As of `orientation_code`.

    """
    if len(field_mm) != 3 or not all(50 <= extent <= 1000 for extent in field_mm):
        given = " ".join(f"{extent:g}" for extent in field_mm)
        raise InputError(
            f"the field of view has three extents in mm, each from 50 to 1000; {given} was given"
        )
    matrix = np.eye(4)
    for axis, (letter, extent, count) in enumerate(
        zip(orientation_code(orientation), field_mm, shape[::-1], strict=True)
    ):
        sign = 1.0 if letter in "RAS" else -1.0
        row = "RAS".index(letter if letter in "RAS" else _OPPOSITE[letter])
        matrix[:3, axis] = 0.0
        matrix[row, axis] = sign * extent / count
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return Geometry.as_stated(shape, matrix)


def mirrored_code(code: str, axes: str) -> str:
    """Orientation of an image once it is mirrored along patient axes.

    Examples
    --------
    >>> mirrored_code("ILP", "A"), mirrored_code("LPS", "RS")
    ('ILA', 'RPI')

    """
    return "".join(
        _OPPOSITE[letter] if letter in axes or _OPPOSITE[letter] in axes else letter
        for letter in code
    )


def code_of(geometry: Geometry) -> str:
    """Letters for where the axes I, J, K of a grid grow to, by the closest patient axes."""
    letters = [""] * 3
    for axis in ("R", "A", "S"):
        array_axis, sign = geometry.array_axis_toward(axis)
        letters[2 - array_axis] = axis if sign > 0 else _OPPOSITE[axis]
    return "".join(letters)


def mirror_fits(mask: Mask, geometry: Geometry, ct_lungs: Labelmap) -> dict[str, float]:
    """Dice of the lungs on MRI with those on CT, as given (``""``) and mirrored along axes.

    Each is brought onto the other by shift and stretch, then an affine map; no part of it can turn
    a mirror image round.

    Parameters
    ----------
    mask, geometry
        Lungs on MRI and their grid.
    ct_lungs
        Both lungs on CT, on any grid.

    Raises
    ------
    InputError
        If the mask is too thin to be of lungs.

    """
    depth, grid = _depth_map(ct_lungs)
    points, inside = _thinned(mask, geometry)
    if not inside.any() or not np.ptp(points[inside], axis=0).all():
        raise InputError(
            f"the mask of the xenon MRI shows no lungs: its {int(mask.sum())} voxels are less than "
            f"{2 * _CHECKED_MM:g} mm thick somewhere; give the mask of the thoracic cavity"
        )
    centre = points[inside].mean(axis=0)
    low, high = (np.percentile(points[inside], q, axis=0) for q in (1, 99))
    lungs = voxel_positions(grid, depth > 0)
    ct_low, ct_high = (np.percentile(lungs, q, axis=0) for q in (1, 99))
    fits = {}
    for count in range(4):
        for axes in itertools.combinations("RAS", count):
            signs = np.array([-1.0 if axis in axes else 1.0 for axis in "RAS"])
            turned = centre + signs * (points - centre)
            edges = np.sort([centre + signs * (low - centre), centre + signs * (high - centre)], 0)
            stretch = (ct_high - ct_low) / (edges[1] - edges[0])
            placed = (turned - edges.mean(axis=0)) * stretch + (ct_low + ct_high) / 2
            fits["".join(axes)] = _affine_dice(placed, inside, depth, grid)
    return fits


def better_mirror(fits: Mapping[str, float]) -> str | None:
    """Axes along which the image has to be mirrored to fit; None where it fits as it is."""
    best = max(fits, key=fits.__getitem__)
    return best if best and fits[best] - fits[""] > MIRROR_MARGIN else None


def words_of(axes: str) -> str:
    """Say what changes places.

    Examples
    --------
    >>> words_of("RS")
    'left and right, head and foot'

    """
    return ", ".join(MIRRORS[axis] for axis in axes)


def _depth_map(ct_lungs: Labelmap) -> tuple[NDArray[np.float32], Geometry]:
    """Signed distance from the lungs' surface on a coarse grid, positive inside."""
    share, grid = shrunk_mask(ct_lungs.mask(*LUNGS), ct_lungs.geometry, _CHECKED_MM)
    inside = share >= 0.5
    spacing = grid.spacing_kji_mm
    depth = ndimage.distance_transform_edt(inside, spacing)
    outside = ndimage.distance_transform_edt(~inside, spacing)
    return np.asarray(depth - outside, np.float32), grid


def shrunk_mask(
    mask: Mask, geometry: Geometry, spacing_mm: float
) -> tuple[NDArray[np.float32], Geometry]:
    """Share of a mask in the voxels of a coarser grid of whole blocks, with a rim around it."""
    blocks = [max(1, round(spacing_mm / step)) for step in geometry.spacing_kji_mm]
    rim = [(2 * n, 2 * n + (-size) % n) for n, size in zip(blocks, mask.shape, strict=True)]
    padded = np.pad(mask, rim).astype(np.float32)
    shape = tuple(size // n for size, n in zip(padded.shape, blocks, strict=True))
    k, j, i = shape
    split = padded.reshape(k, blocks[0], j, blocks[1], i, blocks[2])
    matrix = geometry.ijk_to_ras.copy()
    step = np.array(blocks[::-1])
    matrix[:3, :3] *= step
    corner = (step - 1) / 2 - 2 * step
    matrix[:3, 3] = geometry.ras_from_ijk(corner)
    return np.asarray(split.mean(axis=(1, 3, 5))), Geometry((k, j, i), matrix)


def _thinned(mask: Mask, geometry: Geometry) -> tuple[NDArray[np.float64], Mask]:
    """Points of a coarse grid around the mask, and which of them lie inside."""
    share, grid = shrunk_mask(mask, geometry, _CHECKED_MM)
    near = ndimage.binary_dilation(share > 0, iterations=3)
    return voxel_positions(grid, near), share[near] >= 0.5


def _affine_dice(
    points: NDArray[np.float64], inside: Mask, depth: NDArray[np.float32], grid: Geometry
) -> float:
    """Dice after the affine map that brings the outline closest, by Gauss-Newton steps."""
    reach = 20.0
    slopes = [np.asarray(g, np.float32) for g in np.gradient(depth)]
    to_index = np.linalg.inv(grid.ijk_to_ras)[:3, :3]
    middle = points.mean(axis=0)
    local = np.column_stack([(points - middle) / 100.0, np.ones(len(points))])
    wanted = np.where(inside, 1.0, -1.0)
    placed = points.copy()
    best = 0.0
    for _ in range(_FIT_STEPS):
        index = grid.ijk_from_ras(placed).T[::-1]
        value = ndimage.map_coordinates(depth, index, order=1, mode="nearest")
        overlap = 2 * float((inside & (value > 0)).sum())
        best = max(best, overlap / max(1, int(inside.sum()) + int((value > 0).sum())))
        soft = np.tanh(value / reach * 2)
        residual = soft - wanted
        gain = (1 - soft**2) * 2 / reach
        rows = np.stack(
            [ndimage.map_coordinates(s, index, order=1, mode="nearest") for s in slopes[::-1]],
            axis=1,
        )
        gradient = (rows * gain[:, None]) @ to_index
        design = (gradient[:, :, None] * local[:, None, :]).reshape(len(points), 12)
        normal = design.T @ design
        normal += np.eye(12) * 1e-3 * np.trace(normal) / 12
        change = np.linalg.solve(normal, -design.T @ residual).reshape(3, 4)
        placed = placed + 0.7 * local @ change.T
    return best
