"""Misregistration of a dual-energy pair: how far both images lie apart, and how to join them.

Half a millimetre matters: at the edge of every vessel the lung then differs by 100 HU and more
between the two images, which a decomposition takes for missing (or surplus) iodine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.resampling import from_sitk, to_sitk
from lungperfusion.volume import Geometry, Mask, Volume, bounding_box

CELL_MM = 1.5
"""Voxels are averaged to about this size for the estimate, against noise and for speed."""

ROUNDS = 4
"""Gauss-Newton steps; each leaves about a quarter of the error."""

MARGIN_CELLS = 4
"""Of the image around the lung, for gradients and moved cells."""

LANCZOS_REACH = 3
"""Cells on each side that a moved cell is interpolated from."""

MINIMAL_CELLS = 1000
"""Lung cells that an estimate needs."""


def measure_shift(low: Volume, high: Volume, lung: Mask) -> NDArray[np.float64] | None:
    """Estimate how far the patient lies off in the high-voltage image.

    Vessels and fissures show the shift d: the images obey ``high(x + d) = a low(x) + b`` up to
    noise (a is below 1, as iodine is darker at the high voltage), and a, b and d are found by
    least squares with linearised steps (Lucas & Kanade 1981).

    Parameters
    ----------
    low, high
        Images in HU on one grid.
    lung
        Voxels to compare, shape (K, J, I).

    Returns
    -------
    ndarray or None
        RAS mm; None where there is too little lung.

    """
    low.geometry.require_same(high.geometry, what="dual-energy pair")
    geometry = low.geometry
    bins = [max(1, round(CELL_MM / mm)) for mm in geometry.spacing_kji_mm]
    if not lung.any():
        return None
    margin = [MARGIN_CELLS * size for size in bins]
    box = bounding_box(lung, (margin[0], margin[1], margin[2]))
    local = geometry.crop(box)
    fixed, moving, inside = (
        _binned(array[box].astype(np.float32), local, bins)
        for array in (low.array, high.array, lung)
    )
    cells = inside > 0.5
    count = int(np.count_nonzero(cells))
    if count < MINIMAL_CELLS or min(cells.shape) < 2:
        return None
    known = [fixed[cells], np.ones(count, np.float32)]
    steps = np.zeros(3)  # K, J, I, in cells
    for _ in range(ROUNDS):
        moved = _displaced(moving, steps, _lanczos)
        slopes = [-np.gradient(moved, axis=axis)[cells] for axis in range(3)]
        columns = np.stack([*known, *slopes]).astype(np.float64)
        normal = columns @ columns.T
        steps += np.linalg.lstsq(normal, columns @ moved[cells], rcond=None)[0][2:]
    ijk = (steps * bins)[::-1]
    return np.asarray(geometry.ijk_to_ras[:3, :3] @ ijk)


def join_half_way(
    low: Volume, high: Volume, shift_ras_mm: NDArray[np.float64]
) -> tuple[Volume, Volume]:
    """Bring both images to the middle between them.

    Each is moved by half of it with linear interpolation, so that both are blurred alike: an
    image that alone is blurred leaves rims of missing iodine around every vessel.

    Parameters
    ----------
    low, high
        Images on one grid.
    shift_ras_mm
        `measure_shift`.

    """
    joined = []
    for image, share in ((low, -0.5), (high, 0.5)):
        linear = image.geometry.ijk_to_ras[:3, :3]
        steps = np.linalg.solve(linear, share * shift_ras_mm)[::-1]
        array = _displaced(image.array.astype(np.float32), steps, _linear)
        valid = image.valid
        if valid is not None:
            reach = 2 * int(np.ceil(np.abs(steps).max())) + 1
            valid = ndimage.minimum_filter(valid, reach)
        joined.append(Volume(array, image.geometry, image.unit, valid))
    return joined[0], joined[1]


def _binned(
    array: NDArray[np.float32], geometry: Geometry, bins_kji: list[int]
) -> NDArray[np.float32]:
    return from_sitk(sitk.BinShrink(to_sitk(array, geometry), bins_kji[::-1]))


def _linear(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.maximum(1 - np.abs(distance), 0))


def _lanczos(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Windowed sinc: hardly blurs, so that blur does not pull the estimate."""
    near = np.abs(distance) < LANCZOS_REACH
    return np.where(near, np.sinc(distance) * np.sinc(distance / LANCZOS_REACH), 0)


def _displaced(
    array: NDArray[np.float32],
    steps_kji: NDArray[np.float64],
    kernel: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float32]:
    """``array(x + steps)``, steps in voxels, interpolated along each axis in turn."""
    out = array
    for axis, step in enumerate(steps_kji):
        reach = int(np.ceil(abs(step))) + LANCZOS_REACH
        weights = kernel(np.arange(-reach, reach + 1) - step)
        out = ndimage.correlate1d(out, weights / weights.sum(), axis=axis, mode="nearest")
    return out
