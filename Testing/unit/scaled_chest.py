"""Chests of another size: the same voxels, said to be smaller or larger."""

from __future__ import annotations

from dataclasses import replace

from lungperfusion.phantoms.rendering import Phantom
from lungperfusion.volume import Geometry, Labelmap, Volume


def scaled_grid(geometry: Geometry, factor: float) -> Geometry:
    """Shrink or grow a grid about the origin."""
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3] *= factor
    return Geometry(geometry.shape, matrix)


def scaled(volume: Volume, factor: float) -> Volume:
    """Shrink or grow a whole image with the patient in it."""
    return Volume(volume.array, scaled_grid(volume.geometry, factor), volume.unit)


def scaled_phantom(phantom: Phantom, factor: float) -> Phantom:
    """Shrink or grow a chest with its true lungs, lobes, airways and vessels."""
    geometry = scaled_grid(phantom.ct.geometry, factor)
    labels = {
        name: Labelmap(part.array, geometry, part.names)
        for name in ("lungs", "lobes", "airways", "vessels")
        for part in (getattr(phantom.truth, name),)
    }
    return Phantom(scaled(phantom.ct, factor), replace(phantom.truth, **labels))
