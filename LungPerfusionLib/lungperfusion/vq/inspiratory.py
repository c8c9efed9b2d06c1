"""Maps and labels carried from the expiratory to the inspiratory grid, with their sums kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.terms import LOBES, LUNGS, Region
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume
from lungperfusion.vq.displacement import DisplacementField, voxel_positions
from lungperfusion.vq.registration import Registration

_LUNG_OF: dict[Region, Region] = {
    **dict.fromkeys((LUNGS[0], *LOBES[:2]), LUNGS[0]),
    **dict.fromkeys((LUNGS[1], *LOBES[2:]), LUNGS[1]),
}


@dataclass(frozen=True, eq=False)
class InspiratoryView:
    """Where the tissue of every inspiratory lung voxel lies at expiration.

    Parameters
    ----------
    geometry
        The inspiratory grid.
    mask
        Its lung voxels.
    back_ras_mm
        Displacement from each of them to expiration, shape (N, 3).

    """

    geometry: Geometry
    mask: Mask
    back_ras_mm: NDArray[np.float32]

    @classmethod
    def of(cls, registration: Registration, lungs: Labelmap) -> InspiratoryView:
        """Invert a registration at the lung voxels of the inspiratory scan.

        Parameters
        ----------
        registration
            Of the pair.
        lungs
            Lungs of the inspiratory scan, on its grid.

        """
        by_lung = {
            lung: [entry for entry in registration.each() if _LUNG_OF[entry[0]] is lung]
            for lung in LUNGS
        }
        mask = lungs.mask(*(lung for lung, parts in by_lung.items() if parts))
        back = np.zeros((np.count_nonzero(mask), 3), np.float32)
        for lung, parts in by_lung.items():
            side = lungs.mask(lung)
            if parts and side.any():
                points = voxel_positions(lungs.geometry, side)
                back[side[mask]] = _back_of(parts, points, registration)
        return cls(lungs.geometry, mask, back)

    def carry(self, volume: Volume) -> Volume:
        """Take a map as it is: the value of the same tissue, linear between expiratory voxels.

        Tissue between the outermost expiratory voxels and the pleura takes the nearest value.
        """
        known = np.ones(volume.array.shape, np.bool_) if volume.valid is None else volume.valid
        values = ndimage.map_coordinates(
            _continued(np.asarray(volume.array, np.float32), known),
            self._index(volume.geometry),
            order=1,
            mode="nearest",
        )
        out = np.full(self.geometry.shape, -1000.0 if volume.unit == "HU" else 0.0, np.float32)
        out[self.mask] = values
        return Volume(out, self.geometry, volume.unit, self.mask)

    def carry_density(self, volume: Volume, jacobian: Volume) -> Volume:
        """Take a map per expiratory volume as one per inspiratory volume: its sum is kept.

        A voxel of expiration becomes J voxels of inspiration, and what it held is spread over
        them.
        """
        carried, ratio = self.carry(volume), self.carry(jacobian)
        array = np.where(self.mask, carried.array / np.where(self.mask, ratio.array, 1), 0)
        return Volume(array.astype(np.float32), self.geometry, volume.unit, self.mask)

    def carry_labels(self, labels: Labelmap) -> Labelmap:
        """Take the label of the nearest expiratory voxel."""
        values = ndimage.map_coordinates(
            labels.array, self._index(labels.geometry), order=0, mode="nearest"
        )
        out = np.zeros(self.geometry.shape, labels.array.dtype)
        out[self.mask] = values
        return Labelmap(out, self.geometry, labels.names)

    def field(self) -> DisplacementField:
        """Displacement from inspiration to expiration; beyond the lungs that of the nearest."""
        whole = np.zeros((*self.geometry.shape, 3), np.float32)
        whole[self.mask] = self.back_ras_mm
        nearest = ndimage.distance_transform_edt(
            ~self.mask,
            sampling=self.geometry.spacing_kji_mm,
            return_distances=False,
            return_indices=True,
        )
        return DisplacementField(whole[tuple(nearest)], self.geometry)

    def _index(self, source: Geometry) -> NDArray[np.float64]:
        points = voxel_positions(self.geometry, self.mask) + self.back_ras_mm
        return np.asarray(source.ijk_from_ras(points).T[::-1])


def _back_of(
    parts: list[tuple[Region, Any, Mask]],
    points: NDArray[np.float64],
    registration: Registration,
) -> NDArray[np.float32]:
    """Displacement to expiration; where lobes slide, that of the lobe a point comes out in."""
    back = np.zeros((points.shape[0], 3), np.float32)
    settled = np.zeros(points.shape[0], np.bool_)
    for _, fields, mask in parts:
        found = fields.alignment.inverse_at(points)
        index = registration.geometry.ijk_from_ras(points + found).T[::-1]
        inside = ndimage.map_coordinates(mask.view(np.uint8), index, order=0, mode="nearest") > 0
        take = ~settled if len(parts) == 1 else ~settled & inside
        back[take] = found[take]
        settled |= take
    if not settled.all():
        back[~settled] = parts[0][1].alignment.inverse_at(points[~settled])
    return back


def _continued(array: NDArray[np.float32], known: Mask) -> NDArray[np.float32]:
    if known.all() or not known.any():
        return array
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(array[tuple(nearest)])
