"""Displacement field: where every point of one image lies in another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.resampling import set_sitk_geometry
from lungperfusion.volume import Geometry, Mask

INVERSION_TOLERANCE_MM = 0.05
"""Inversion stops when no point moves farther; a fortieth of a clinical voxel."""

_MOST_INVERSION_STEPS = 60

SLAB_VOXELS = 2**22
"""Voxels of the grid whose positions are held at once."""

POINTS_AT_ONCE = 2**20
"""Points whose indices are held at once."""


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """Displacements in RAS mm on a grid, linear between its nodes, constant outside.

    Parameters
    ----------
    ras_mm
        Displacement of every node, shape (K, J, I, 3), components R, A, S; float32.
    geometry
        Grid of the nodes, in the patient space of the image that the points are given in.

    """

    ras_mm: NDArray[np.float32]
    geometry: Geometry

    def at(self, points_ras_mm: NDArray[Any]) -> NDArray[np.float32]:
        """Displacement at points, shape (N, 3)."""
        components = [np.ascontiguousarray(self.ras_mm[..., axis]) for axis in range(3)]
        out = np.empty((points_ras_mm.shape[0], 3), np.float32)
        for start in range(0, len(out), POINTS_AT_ONCE):
            some = slice(start, start + POINTS_AT_ONCE)
            index = self.geometry.ijk_from_ras(points_ras_mm[some]).T[::-1].astype(np.float32)
            for axis, component in enumerate(components):
                out[some, axis] = ndimage.map_coordinates(component, index, order=1, mode="nearest")
        return out

    def on(self, geometry: Geometry) -> DisplacementField:
        """Sample the same field on another grid."""
        to_nodes = np.linalg.inv(self.geometry.ijk_to_ras) @ geometry.ijk_to_ras
        matrix, offset = to_nodes[:3, :3][::-1, ::-1], to_nodes[:3, 3][::-1]
        out = np.empty((*geometry.shape, 3), np.float32)
        for axis in range(3):
            out[..., axis] = ndimage.affine_transform(
                np.ascontiguousarray(self.ras_mm[..., axis]),
                matrix,
                offset,
                output_shape=geometry.shape,
                order=1,
                mode="nearest",
            )
        return DisplacementField(out, geometry)

    def inverse(self, geometry: Geometry) -> DisplacementField:
        """Displacement back, on a grid of the other image; see `inverse_at`."""
        back = self.inverse_at(voxel_positions(geometry))
        return DisplacementField(back.reshape(*geometry.shape, 3), geometry)

    def inverse_at(self, points_ras_mm: NDArray[Any]) -> NDArray[np.float32]:
        """Displacement back at points of the other image, shape (N, 3), by fixed-point iteration.

        Solves ``v(y) = -u(y + v(y))``; damped where the error grows, so that also strongly
        stretched lung converges.
        """
        back = -self.at(points_ras_mm)
        step = np.full((points_ras_mm.shape[0], 1), 1.0, np.float32)
        previous = np.full(points_ras_mm.shape[0], np.inf, np.float32)
        for _ in range(_MOST_INVERSION_STEPS):
            error = -self.at(points_ras_mm + back) - back
            size = np.linalg.norm(error, axis=1)
            step[size > previous] *= 0.5
            previous = size
            back += step * error
            if float(size.max()) < INVERSION_TOLERANCE_MM:
                break
        return back


def voxel_positions(geometry: Geometry, mask: Mask | None = None) -> NDArray[np.float64]:
    """RAS mm of all voxel centres, or of those inside a mask, in array order, shape (N, 3)."""
    if mask is None:
        mask = np.ones(geometry.shape, np.bool_)
    return geometry.ras_from_ijk(np.argwhere(mask)[:, ::-1])


def positions_by_slab(
    geometry: Geometry, mask: Mask
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """`voxel_positions` of some planes at a time: a lung of them all takes much memory at once.

    Yields
    ------
    slice
        Planes, to cut arrays on the grid with.
    ndarray
        RAS mm of the voxels of the mask in them, shape (N, 3).

    """
    planes = max(1, SLAB_VOXELS // mask[0].size)
    for start in range(0, len(mask), planes):
        index = np.argwhere(mask[start : start + planes])
        if index.size:
            index[:, 0] += start
            yield slice(start, start + planes), geometry.ras_from_ijk(index[:, ::-1])


def displacement_to_sitk(field: DisplacementField) -> sitk.Image:
    """ITK displacement field image: components in LPS mm, float32.

    Used as a transform it maps points of the expiratory scan to the inspiratory one, which is
    what ITK needs to resample the inspiratory image onto the expiratory grid.  Slicer opens the
    file as a transform that moves the inspiratory volume into the place of the expiratory one.
    """
    lps = field.ras_mm * np.array([-1, -1, 1], np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(lps), isVector=True)
    return set_sitk_geometry(image, field.geometry)


def displacement_from_lps(vectors: NDArray[np.float32], geometry: Geometry) -> DisplacementField:
    """Take a field whose vectors are LPS, as files hold them and `displacement_to_sitk` gives."""
    return DisplacementField(vectors * np.array([-1, -1, 1], np.float32), geometry)
