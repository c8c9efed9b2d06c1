"""The CT of a xenon MRI: the breath nearest in volume, laid under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.analysis.stages import remembered
from lungperfusion.errors import InputError
from lungperfusion.morphology import distance_mm
from lungperfusion.opacity import mark_vessels
from lungperfusion.progress import Progress, part
from lungperfusion.quality import Gate
from lungperfusion.terms import LUNGS, SHELLS, Region
from lungperfusion.terms.xenon import NORMAL_TISSUE_HU
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume, box_around
from lungperfusion.vq.displacement import DisplacementField, voxel_positions
from lungperfusion.xenon.footprints import (
    Footprints,
    Tissue,
    breath_limits_hu,
    footprints,
    tissue_of,
)
from lungperfusion.xenon.gates import ct_breath_gate, join_gates
from lungperfusion.xenon.joining import Join, Points, join_lungs
from lungperfusion.xenon.orienting import (
    better_mirror,
    code_of,
    mirror_fits,
    mirrored_code,
    words_of,
)

PICTURE_MM = 2.0
"""Spacing of the CT that is brought to the MRI to draw classes on."""

FIELD_MM = 4.0
"""Spacing of the field that is written: a tenth of its splines."""

PICTURE_MARGIN_MM = 20.0
"""Chest wall around the lungs on it."""


@dataclass(frozen=True, eq=False)
class ChestCt:
    """One CT with its regions, and what results call it."""

    role: str
    ct: Volume
    found: FoundRegions

    @property
    def volume_l(self) -> float:
        """Volume of both lungs."""
        return self.found.lungs.volume_ml(*LUNGS) / 1000


@dataclass(frozen=True, eq=False, kw_only=True)
class JoinedXenon:
    """A xenon MRI with the CT beneath it."""

    chest: ChestCt
    join: Join
    prints: Footprints
    tissue: Tissue
    limits_hu: tuple[float, float]
    """Normal tissue at the breath of this CT."""
    gates: tuple[Gate, ...]
    weights: Mapping[Region, NDArray[np.float32]]
    """Share of each region in the voxels of the mask."""
    absent: Mapping[Region, str]

    @cached_property
    def field(self) -> DisplacementField:
        """One field for the whole MRI: at each point that of the nearer lung."""
        return _combined_field(self.join)


def join_xenon(
    mask: Mask,
    geometry: Geometry,
    chests: Sequence[ChestCt],
    *,
    points: tuple[Points, Points] | None = None,
    progress: Progress,
) -> JoinedXenon:
    """Lay a xenon MRI over the CT whose lungs are nearest in volume.

    Parameters
    ----------
    mask, geometry
        Lungs on MRI and their grid.
    chests
        One CT, or an expiratory and an inspiratory one.
    points
        Corresponding points of a reader, RAS mm, on MRI and on CT.
    progress
        Called throughout; may raise to cancel.

    Raises
    ------
    InputError
        If the image is mirrored, or no lung is in both.

    """
    volume_l = float(mask.sum()) * geometry.voxel_volume_ml / 1000
    chest = min(chests, key=lambda each: abs(each.volume_l - volume_l))
    lungs = chest.found.lungs
    progress(0.0, "checking how the xenon MRI lies")
    fits = remembered(mirror_fits, mask, geometry, lungs)
    _refuse_mirrored(fits, geometry)
    join = remembered(
        join_lungs, mask, geometry, lungs, points=points, progress=part(progress, 0.1, 0.6)
    )
    progress(0.6, "finding the CT beneath every voxel")
    prints = footprints(join, chest.ct.geometry)
    full_l = max(each.volume_l for each in chests)
    limits = NORMAL_TISSUE_HU
    if len(chests) > 1:
        limits = breath_limits_hu(limits, chest.volume_l, full_l)
    parenchyma = lungs.mask(*LUNGS)
    parenchyma &= ~remembered(
        mark_vessels,
        chest.ct,
        parenchyma,
        ground_glass_from_hu=limits[1],
        progress=part(progress, 0.6, 0.9),
    )
    progress(0.9, "parting tissue and regions")
    weights, absent = _regions(chest, join, prints)
    return JoinedXenon(
        chest=chest,
        join=join,
        prints=prints,
        tissue=tissue_of(prints, np.asarray(chest.ct.array), parenchyma, limits),
        limits_hu=limits,
        gates=(
            *join_gates(join, fits, chest.volume_l, volume_l),
            *ct_breath_gate(len(chests), volume_l, chest.volume_l, limits[1]),
        ),
        weights=weights,
        absent=absent,
    )


def _refuse_mirrored(fits: Mapping[str, float], geometry: Geometry) -> None:
    axes = better_mirror(fits)
    if axes is None:
        return
    code = mirrored_code(code_of(geometry), axes)
    raise InputError(
        f"the xenon MRI seems mirrored: with {words_of(axes)} exchanged its outline fits the CT "
        f"better (Dice {fits[axes]:.3f} against {fits['']:.3f}); read it with --fov-mm and "
        f"--orientation {code}, or repair its header"
    )


def _regions(
    chest: ChestCt, join: Join, prints: Footprints
) -> tuple[dict[Region, NDArray[np.float32]], dict[Region, str]]:
    """Lungs by the MRI's own sides, lobes and zones by the CT beneath."""
    regions = chest.found.regions
    weights = {Region.LUNGS: np.ones(int(prints.mask.sum()), np.float32)}
    absent: dict[Region, str] = {}
    for lung in LUNGS:
        own = join.sides.mask(lung)[prints.mask].astype(np.float32)
        weights[lung] = own
    for region in regions.names:
        if region in weights or region in SHELLS:
            continue
        if region in regions.absent:
            absent[region] = regions.absent[region]
            continue
        weights[region] = prints.shares(regions.mask(region).view(np.uint8), 1)
    return weights, absent


def carried_to_mri(joined: JoinedXenon, image: Volume, spacing_mm: float = PICTURE_MM) -> Volume:
    """Bring an image of the CT to the MRI for pictures, at most as finely as asked for."""
    grid = _grid_around(joined.join, lambda size: min(size, spacing_mm))
    moved = joined.field.on(grid).ras_mm
    source = np.asarray(image.array, np.float32)
    fill = -1000.0 if image.unit == "HU" else 0.0
    values = np.empty(grid.shape, np.float32)
    plane = grid.crop((slice(0, 1), slice(None), slice(None)))
    points = voxel_positions(plane).reshape(*grid.shape[1:], 3)
    for row, below in enumerate(values):  # one plane after another: positions take memory
        index = image.geometry.ijk_from_ras(points + row * grid.ijk_to_ras[:3, 2] + moved[row])
        place = np.moveaxis(index[..., ::-1], -1, 0).astype(np.float32)
        ndimage.map_coordinates(source, place, output=below, order=1, cval=fill)
    return Volume(values, grid, image.unit)


def _grid_around(join: Join, spacing: Callable[[float], float]) -> Geometry:
    """Grid of another spacing around the lungs of the MRI."""
    geometry = join.sides.geometry
    box = box_around(join.sides.mask(*LUNGS), geometry.spacing_kji_mm, PICTURE_MARGIN_MM)
    i, j, k = (spacing(size) for size in geometry.spacing_ijk_mm)
    return geometry.crop(box).with_spacing((i, j, k))


def _combined_field(join: Join) -> DisplacementField:
    geometry = join.sides.geometry
    grid = _grid_around(join, lambda size: max(size, FIELD_MM))
    points = voxel_positions(grid)
    index = geometry.ijk_from_ras(points).T[::-1]
    best = np.full(len(points), np.inf)
    out = np.zeros((len(points), 3), np.float32)
    for lung, found in join.lungs.items():
        away = distance_mm(join.sides.mask(lung), geometry.spacing_kji_mm)
        here = ndimage.map_coordinates(away, index, order=1, mode="nearest")
        nearer = here < best
        out[nearer] = found.field.at(points[nearer])
        best = np.minimum(best, here)
    return DisplacementField(out.reshape(*grid.shape, 3), grid)


def carried_to_ct(joined: JoinedXenon, classes: Labelmap) -> Labelmap:
    """Bring classes of the MRI to the CT's own grid, to lie over it; numbers come from the MRI.

    Every voxel of a lung on CT takes the class of the MRI voxel that it lies in.
    """
    lungs = joined.chest.found.lungs
    array = np.zeros(lungs.geometry.shape, classes.array.dtype)
    for lung, found in joined.join.lungs.items():
        box = box_around(lungs.mask(lung), lungs.geometry.spacing_kji_mm, 2 * FIELD_MM)
        around = lungs.geometry.crop(box)
        x, y, z = (max(size, FIELD_MM) for size in around.spacing_ijk_mm)
        back = found.field.inverse(around.with_spacing((x, y, z)))
        inside, part = lungs.mask(lung)[box], array[box]
        for row in range(around.shape[0]):  # one slice after another: positions take memory
            j, i = np.nonzero(inside[row])
            points = around.ras_from_ijk(np.stack([i, j, np.full(len(i), row)], axis=1))
            index = np.rint(classes.geometry.ijk_from_ras(points + back.at(points))).astype(int)
            index = index[:, ::-1]
            known = ((index >= 0) & (index < classes.geometry.shape)).all(axis=1)
            values = np.zeros(len(points), array.dtype)
            values[known] = classes.array[tuple(index[known].T)]
            part[row][inside[row]] = values
    return Labelmap(array, lungs.geometry, classes.names)


def perfusion_within(joined: JoinedXenon, perfusion: Volume | None) -> NDArray[Any] | None:
    """Mean of a perfusion or iodine map of the CT in the voxels of the MRI; NaN where unknown.

    Raises
    ------
    InputError
        If the map lies on another grid than the CT.

    """
    if perfusion is None:
        return None
    if not perfusion.geometry.same_as(joined.chest.ct.geometry):
        raise InputError(
            "the perfusion map lies on another grid than the CT that was joined "
            f"({joined.chest.role}, {joined.chest.volume_l:.2f} L); give the map that belongs to it"
        )
    known = joined.chest.found.lungs.mask(*LUNGS)
    if perfusion.valid is not None:
        known &= perfusion.valid
    inside = joined.prints.samples(known, 0).astype(np.bool_)
    values = np.where(inside, joined.prints.samples(np.asarray(perfusion.array), 0), 0)
    count = inside.sum(axis=1)
    mean = values.sum(axis=1, dtype=np.float64) / np.maximum(count, 1)
    enough = count >= inside.shape[1] // 2
    return np.where(enough, mean, np.nan).astype(np.float32)
