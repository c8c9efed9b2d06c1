"""Volume change from a displacement field, made true to the segmented volumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lungperfusion.terms import Region
from lungperfusion.volume import Geometry, Labelmap, Mask, bounding_box
from lungperfusion.vq.displacement import DisplacementField

LEAST_JACOBIAN = 0.1
"""Tissue does not shrink to less than a tenth on inspiration; below, a field counts as folded."""

JACOBIAN_RANGE = (0.2, 8.0)
"""Plausible volume ratios, methods C.1; values outside are set to the nearer end."""

CUT_OFF_MM2 = 200.0
"""A region that meets the end of the field of view with more than this is cut off.

About 0.2 % of a lung's surface, from which on its segmentation warns as well.
"""


def jacobian_of(displacement: DisplacementField) -> NDArray[np.float32]:
    """Compute the determinant of the map's gradient at the nodes of a field, shape (K, J, I).

    Central differences along the grid axes, turned into patient space, so that oblique and
    mirrored grids give the same volume ratio.
    """
    by_index = [
        [np.gradient(displacement.ras_mm[..., row], axis=2 - column) for column in range(3)]
        for row in range(3)
    ]
    to_mm = np.linalg.inv(displacement.geometry.ijk_to_ras[:3, :3]).astype(np.float32)
    gradient = [
        [
            sum(by_index[row][n] * to_mm[n, column] for n in range(3)) + np.float32(row == column)
            for column in range(3)
        ]
        for row in range(3)
    ]
    (a, b, c), (d, e, f), (g, h, i) = gradient
    return np.asarray(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g), np.float32)


def scale_to_volumes(
    jacobian: NDArray[np.float32],
    expiration: Labelmap,
    inspiration: Labelmap,
    regions: Sequence[Region],
    *,
    views: tuple[Mask | None, Mask | None] = (None, None),
) -> tuple[NDArray[np.float32], dict[Region, float]]:
    """Scale a Jacobian map so that it integrates to the segmented inspiratory volumes.

    Segmented volumes are more reliable than a field at its boundary (methods C.1), but not of what
    the field of view cuts off: that keeps the volume change of the field.

    Parameters
    ----------
    jacobian
        Volume ratio on the expiratory grid, NaN outside the lungs.
    expiration, inspiration
        Lungs or lobes of both scans.
    regions
        What to scale; one that has no voxel in either scan, or is cut off, is left as it is.
    views
        Field of view of both scans where it is not the whole image.

    Returns
    -------
    scaled : ndarray
        Same shape.
    factors : dict
        What each region was multiplied by; 1 means the field agreed with the segmentation.

    """
    scaled = jacobian.copy()
    factors: dict[Region, float] = {}
    for region in regions:
        mask = expiration.mask(region) & np.isfinite(jacobian)
        after = inspiration.volume_ml(region)
        integral = float(jacobian[mask].sum(dtype=np.float64)) * expiration.geometry.voxel_volume_ml
        # Voxels without a Jacobian take the mean of the others.
        known = float(mask.sum()) / max(1.0, float(expiration.mask(region).sum()))
        if integral <= 0 or after <= 0:
            continue
        if any(
            cut_area_mm2(labels.mask(region), labels.geometry, view) > CUT_OFF_MM2
            for labels, view in zip((expiration, inspiration), views, strict=True)
        ):
            continue
        factors[region] = float(after * known / integral)
        scaled[mask] *= np.float32(factors[region])
    return scaled, factors


def cut_area_mm2(mask: Mask, geometry: Geometry, view: Mask | None = None) -> float:
    """Area of the faces of a mask's voxels beyond which the image shows nothing.

    Parameters
    ----------
    mask
        Lung or lobe.
    geometry
        Its grid.
    view
        Voxels that were imaged; by default all.

    """
    if not mask.any():
        return 0.0
    box = bounding_box(mask, (1, 1, 1))
    inside = np.pad(mask[box], 1)
    seen = np.pad(np.ones_like(mask[box]) if view is None else view[box], 1)
    dk, dj, di = geometry.spacing_kji_mm
    area = 0.0
    for axis, face in enumerate((dj * di, dk * di, dk * dj)):
        here, view_here = np.moveaxis(inside, axis, 0), np.moveaxis(seen, axis, 0)
        area += face * np.count_nonzero(here[:-1] & ~view_here[1:])
        area += face * np.count_nonzero(here[1:] & ~view_here[:-1])
    return area
