"""All vessels of the lungs with their cross-sections: the stages in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.errors import InputError
from lungperfusion.morphology import dilated
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.terms import AIRWAYS, LUNGS
from lungperfusion.vessels.area import (
    Measured,
    Territory,
    claim_territory,
    integral_area,
)
from lungperfusion.vessels.background import (
    Background,
    Surface,
    extended_beyond_lung,
    local_background,
    outside_share,
    surface_blur,
)
from lungperfusion.vessels.centreline import LEAST_VESSEL_MM, Vessels, trace_vessels
from lungperfusion.vessels.enhancement import (
    CORE_FRACTION,
    SCALES_MM,
    Enhanced,
    Float32,
    Ridges,
    enhance_vessels,
)
from lungperfusion.vessels.exclusion import (
    DENSE_HU,
    LESION_BORDER_MM,
    airway_axes,
    airway_depth_mm,
    judge_segments,
    lesions,
    scars,
    spicules,
    thick_tissue,
    won_from_airways,
)
from lungperfusion.vessels.sheets import (
    Sheets,
    around_sheets,
    clear_sheets,
    sheet_excess_hu,
    sheet_points,
)
from lungperfusion.volume import Box, Geometry, Labelmap, Mask, Volume, box_around

_MARGIN_MM = 6.0
_OUTSIDE_SHARE = 2e-3
"""Share of what is no lung in the blur around a voxel, below which the surface is far."""
EXPLAINED_MM = 0.7
"""Blur about a vessel's wall that is no tissue of its own."""
LEAST_CONTRAST_HU = 200.0
"""Blood must be denser than the lung by this much for vessels to be told from it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class VesselMap:
    """Vessels of one CT.

    Parameters
    ----------
    geometry
        Grid of everything here: the CT cropped to the lungs.
    box
        Where that crop lies in the CT.
    vessels
        Their axes.
    measured
        Cross-section and blood of each axis point.
    territory
        Voxels around the vessels.
    blood_fraction
        Share of blood at ``territory.index``.
    background
        Density between the vessels.
    thick
        Dense tissue too thick for vessels.
    walls
        Airways with their walls.
    lung
        Lung without airways.
    usable
        Voxels whose blood counts: lung without thick tissue, airway walls and blurred surface.
    surface
        Blur of the chest wall.
    sheets
        Fissures and septa clear of the vessels.
    blood_hu
        Density of blood, at each axis point.
    blood_hu_common
        Density of blood where no label says otherwise.
    excluded_ml
        Volume of dense tissue left out, by reason.
    noise_hu
        Standard deviation of the lung between the vessels.
    ridge_noise_hu
        Noise of the tubeness at each scale in mm.

    """

    geometry: Geometry
    box: Box
    vessels: Vessels
    measured: Measured
    territory: Territory
    blood_fraction: NDArray[np.float64]
    background: Background
    thick: Mask
    walls: Mask
    lung: Mask
    usable: Mask
    surface: Surface
    sheets: Sheets
    blood_hu: NDArray[np.float64]
    blood_hu_common: float
    excluded_ml: Mapping[str, float]
    noise_hu: float
    ridge_noise_hu: Mapping[float, float]

    @property
    def voxel_area_mm2(self) -> Float32:
        """Cross-section of the vessel at every voxel inside one, 0 elsewhere; shape (K, J, I)."""
        out = np.zeros(self.geometry.shape, np.float32)
        inside = self.inside
        owners = self.territory.owner[inside]
        out.ravel()[self.territory.index[inside]] = self.measured.area_mm2[owners]
        return out

    @property
    def inside(self) -> Mask:
        """Which voxels of the territory lie within the wall of their vessel.

        Half the diagonal of a voxel is added to thin vessels, so that each shows as a line.
        """
        radius = np.sqrt(self.measured.area_mm2 / np.pi)
        shown = np.maximum(radius, 0.6 * float(np.cbrt(self.geometry.voxel_volume_ml * 1000)))
        return np.asarray(self.territory.off_axis_mm <= shown[self.territory.owner])

    def core_hu(self, image_hu: NDArray[Any], least_radius_mm: float) -> NDArray[np.float64]:
        """Density on the axis of vessels at least as wide, which no blur reaches; shape (n,).

        ``image_hu`` is the whole CT.
        """
        wide = self.measured.area_mm2 >= np.pi * least_radius_mm**2
        place = self.vessels.position_mm[wide] / np.asarray(self.geometry.spacing_kji_mm)
        image = image_hu[self.box].astype(np.float32)
        return np.asarray(
            ndimage.map_coordinates(image, place.T, order=1, mode="nearest"), np.float64
        )

    @property
    def axis_ras_mm(self) -> NDArray[np.float64]:
        """Axis points in RAS mm, shape (n, 3)."""
        ijk = (self.vessels.position_mm / np.asarray(self.geometry.spacing_kji_mm))[:, ::-1]
        return self.geometry.ras_from_ijk(ijk)


def find_vessels(
    ct: Volume,
    lungs: Labelmap,
    *,
    blood_hu: float,
    class_blood_hu: Mapping[str, float] | None = None,
    classes: Labelmap | None = None,
    scales_mm: tuple[float, ...] = SCALES_MM,
    progress: Progress = ignore,
) -> VesselMap:
    """Find the vessels of the lungs and measure them by the integral of density.

    Parameters
    ----------
    ct
        Chest CT in HU.
    lungs
        ``left_lung``, ``right_lung`` and, where known, ``airways``.
    blood_hu
        Density of blood.
    class_blood_hu, classes
        Other densities of blood near voxels with these labels, such as arteries and veins.
    scales_mm
        Standard deviations of the scale space.

    Raises
    ------
    InputError
        If there is no lung, or blood is hardly denser than the lung.

    """
    scene = _prepare(ct, lungs, blood_hu, progress)
    blood = _Blood(blood_hu, class_blood_hu, classes)
    progress(0.1, "looking for vessels")
    vessels, airway_mm, ridge_noise_hu = _tubes(scene, blood_hu, scales_mm, progress)
    walls = airway_mm > 0
    progress(0.7, "measuring cross-sections")
    on_sheets = sheet_points(scene.extended, scene.search & ~walls, scene.spacing)
    first = _measure(scene, vessels, blood, airway_mm, on_sheets)
    vessels, rejected_ml = _without_others(scene, vessels, first, walls)
    # The scale tells the radius roughly; who owns the blood near a branch point rests on it.
    on_sheets = replace(on_sheets, blur_mm=first.measured.blur_mm)
    last = _measure(scene, vessels, blood, airway_mm, on_sheets)
    progress(1.0, "measuring cross-sections")
    return VesselMap(
        geometry=scene.geometry,
        box=scene.box,
        vessels=vessels,
        measured=last.measured,
        territory=last.territory,
        blood_fraction=last.fraction,
        background=last.background,
        thick=scene.thick,
        walls=walls,
        lung=scene.lung,
        usable=last.usable,
        surface=last.surface,
        sheets=last.sheets,
        blood_hu=last.blood_hu,
        blood_hu_common=blood_hu,
        excluded_ml={**_excluded_ml(scene, walls, last), **rejected_ml},
        noise_hu=last.background.noise_hu,
        ridge_noise_hu=ridge_noise_hu,
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Blood:
    """Density of blood, and other ones near labels such as arteries and veins."""

    hu: float
    class_hu: Mapping[str, float] | None
    classes: Labelmap | None


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class _Scene:
    """The lungs in their box with what lies between and around the vessels."""

    geometry: Geometry
    box: Box
    image: Float32
    lung: Mask
    airways: Mask
    outside: Float32
    """Share of what is no lung around each voxel."""
    background: Background
    extended: Float32
    """Image continued beyond the lung."""
    thick: Mask
    search: Mask
    """Where vessels are looked for."""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Spacing in array order, mm."""
        return self.geometry.spacing_kji_mm

    @property
    def inner(self) -> Mask:
        """Lung that the blur of its surface does not reach."""
        return self.outside < _OUTSIDE_SHARE


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class _Measurement:
    """One pass of measuring all vessels, with what it rests on."""

    territory: Territory
    measured: Measured
    fraction: NDArray[np.float64]
    background: Background
    surface: Surface
    sheets: Sheets
    blood_hu: NDArray[np.float64]
    usable: Mask


def _prepare(ct: Volume, lungs: Labelmap, blood_hu: float, progress: Progress) -> _Scene:
    """Cut the lungs out, and find the density between the vessels."""
    ct.require_unit("HU", "the chest CT")
    ct.geometry.require_same(lungs.geometry, what="lung label map")
    whole = lungs.mask(*LUNGS)
    if not whole.any():
        raise InputError(
            "vessels need a lung label map with left_lung or right_lung; the one given has none"
        )
    box = box_around(whole, ct.geometry.spacing_kji_mm, _MARGIN_MM)
    geometry = ct.geometry.crop(box)
    lung = whole[box] if ct.valid is None else whole[box] & ct.valid[box]
    image = ct.array[box].astype(np.float32)
    airways = lungs.mask(AIRWAYS)[box]
    spacing = geometry.spacing_kji_mm
    progress(0.0, "density between the vessels")
    around = lung | airways
    outside = outside_share(around, spacing)
    background = local_background(image, lung & (outside < _OUTSIDE_SHARE), spacing)
    if blood_hu - float(np.median(background.coarse_hu)) < LEAST_CONTRAST_HU:
        raise InputError(
            f"blood of {blood_hu:.0f} HU in lung of {np.median(background.coarse_hu):.0f} HU: "
            f"vessels need a difference of {LEAST_CONTRAST_HU:.0f} HU; check the blood density"
        )
    surface = surface_blur(image, lung, outside, background)
    extended = extended_beyond_lung(image, around, surface, background, spacing)
    thick = thick_tissue(image, lung, spacing)
    search = around & surface.measurable & ~thick
    for axis in range(3):
        border = [slice(None)] * 3
        border[axis] = slice(None, None, max(1, search.shape[axis] - 1))
        search[tuple(border)] = False
    return _Scene(
        geometry=geometry,
        box=box,
        image=image,
        lung=lung,
        airways=airways,
        outside=outside,
        background=background,
        extended=extended,
        thick=thick,
        search=search,
    )


def _tubes(
    scene: _Scene, blood_hu: float, scales_mm: tuple[float, ...], progress: Progress
) -> tuple[Vessels, Float32, dict[float, float]]:
    """Vessels, the depth below the surface of airways, and the noise at each scale."""
    enhanced = _enhance(scene, blood_hu, scales_mm, part(progress, 0.1, 0.6))
    progress(0.6, "leaving out airway walls")
    axes = airway_axes(enhanced.lumens, scene.image, scene.background, scene.spacing)
    airway_mm = airway_depth_mm(scene.image.shape, scene.spacing, scene.airways, axes)
    progress(0.65, "tracing vessels")
    vessels = _trace(enhanced.ridges, (airway_mm > 0) | scene.thick, scene.spacing)
    return vessels, airway_mm, enhanced.noise_hu


def _enhance(
    scene: _Scene, blood_hu: float, scales_mm: tuple[float, ...], progress: Progress
) -> Enhanced:
    """Look for tubes: ridges of vessels, lumens of airways."""

    def filled_from(index: NDArray[np.int64]) -> Float32:
        between = scene.background.at(index)
        return np.asarray(between + np.float32(CORE_FRACTION) * (np.float32(blood_hu) - between))

    return enhance_vessels(
        scene.extended,
        scene.search,
        scene.spacing,
        filled_from_hu=filled_from,
        scales_mm=scales_mm,
        progress=progress,
    )


def _trace(ridges: Ridges, blocked: Mask, spacing: tuple[float, float, float]) -> Vessels:
    """Join ridges to vessels; what is too short alone is none."""
    ridges = ridges.take(np.flatnonzero(~blocked.ravel()[ridges.index]))
    vessels = trace_vessels(ridges, spacing)
    lengths = np.bincount(vessels.component, weights=vessels.segment_length_mm)
    return vessels.keep(lengths[vessels.component] >= LEAST_VESSEL_MM)


def _measure(
    scene: _Scene,
    vessels: Vessels,
    blood: _Blood,
    airway_mm: Float32,
    on_sheets: Sheets,
) -> _Measurement:
    """Measure cross-sections by the blood in the vessels' territory."""
    image, lung, spacing = scene.image, scene.lung, scene.spacing
    walls = airway_mm > 0
    territory = claim_territory(vessels, image.shape, spacing)
    free = lung & ~(walls | scene.thick)
    free.ravel()[territory.index] = False
    sheets = clear_sheets(on_sheets, vessels, territory, spacing)
    free &= ~around_sheets(sheets, image.shape, spacing)
    background = local_background(image, free & scene.inner, spacing)
    surface = surface_blur(image, free, scene.outside, background)
    blood_hu = blood_at(vessels, scene.geometry, blood, scene.box)
    usable = lung & surface.measurable & ~scene.thick
    claimed = usable.ravel()[territory.index] & won_from_airways(vessels, territory, airway_mm)
    usable &= ~walls
    usable.ravel()[territory.index[claimed]] = True
    sheets_hu = sheet_excess_hu(sheets, vessels, territory, background, spacing)
    fraction = blood_fraction(image, usable, territory, background, surface, blood_hu, sheets_hu)
    voxel_mm3 = scene.geometry.voxel_volume_ml * 1000
    return _Measurement(
        territory=territory,
        measured=integral_area(vessels, territory, fraction, voxel_mm3),
        fraction=fraction,
        background=background,
        surface=surface,
        sheets=sheets,
        blood_hu=blood_hu,
        usable=usable,
    )


def _without_others(
    scene: _Scene, vessels: Vessels, found: _Measurement, walls: Mask
) -> tuple[Vessels, dict[str, float]]:
    """Leave out nodules with their spicules, specks and scars; mL of the first two by kind."""
    measured = found.measured
    rejected = judge_segments(vessels, measured.area_mm2, LEAST_VESSEL_MM)
    blocked = walls | scene.thick
    explained = blocked.copy()
    within = _within_walls(vessels, found.territory, measured, ~rejected.any)
    explained.ravel()[within] = True
    dense = scene.lung & (scene.image > DENSE_HU)
    lesion = lesions(dense, explained, scene.spacing)
    lesion = lesion | dilated(scene.thick, LESION_BORDER_MM, scene.spacing)
    kept = vessels.keep(~rejected.any)
    area = measured.area_mm2[~rejected.any[vessels.segment]]
    strands = spicules(kept, area, lesion, scene.spacing)
    lone = scars(kept, area, ~scene.lung | blocked | lesion, scene.spacing)
    blood_ml = np.bincount(vessels.segment, measured.volume_ml, vessels.count)
    nodule_ml = float(blood_ml[rejected.nodule].sum())
    nodule_ml += float(blood_ml[~rejected.any][strands].sum())
    vessels = vessels.with_radius_of(measured.area_mm2).keep(~rejected.any)
    return vessels.keep(~strands & ~lone), {
        "nodule": nodule_ml,
        "speck": float(blood_ml[rejected.any & ~rejected.nodule].sum()),
    }


def _excluded_ml(scene: _Scene, walls: Mask, last: _Measurement) -> dict[str, float]:
    """Volume of dense lung that is no vessel, by kind."""
    dense = scene.lung & (scene.image > DENSE_HU) & ~scene.thick
    no_tube = dense & ~walls
    no_tube.ravel()[last.territory.index] = False
    voxel_ml = scene.geometry.voxel_volume_ml
    return {
        "thick_tissue": float(np.count_nonzero(scene.thick)) * voxel_ml,
        "airway_wall": float(np.count_nonzero(dense & walls & ~last.usable)) * voxel_ml,
        "no_tube": float(np.count_nonzero(no_tube)) * voxel_ml,
    }


def _within_walls(
    vessels: Vessels, territory: Territory, measured: Measured, segments: Mask
) -> NDArray[np.int64]:
    """Voxels that some segments explain, by flat index: within their wall and its blur."""
    radius = np.sqrt(measured.area_mm2 / np.pi) + EXPLAINED_MM
    inside = territory.off_axis_mm <= radius[territory.owner]
    return territory.index[inside & segments[vessels.segment[territory.owner]]]


def blood_at(vessels: Vessels, geometry: Geometry, blood: _Blood, box: Box) -> NDArray[np.float64]:
    """Density of blood at each axis point: of its artery or vein label, else the common one."""
    found = np.full(vessels.size, float(blood.hu))
    if blood.classes is None or not blood.class_hu:
        return found
    names = segment_classes(vessels, geometry, blood.classes, box)
    for name, value in blood.class_hu.items():
        found[np.asarray(names)[vessels.segment] == name] = value
    return found


def segment_classes(vessels: Vessels, geometry: Geometry, classes: Labelmap, box: Box) -> list[str]:
    """Label that most points of each segment carry, ``""`` for none."""
    index = np.rint(vessels.position_mm / np.asarray(geometry.spacing_kji_mm)).astype(int)
    index = np.clip(index, 0, np.asarray(geometry.shape) - 1)
    values = classes.array[box][tuple(index.T)]
    names = [""] * vessels.count
    best = np.zeros(vessels.count)
    for value, name in sorted(classes.names.items()):
        votes = np.bincount(vessels.segment, weights=values == value, minlength=vessels.count)
        for segment in np.flatnonzero(votes > best):
            names[segment] = name
        best = np.maximum(best, votes)
    return names


def blood_fraction(
    image_hu: NDArray[Any],
    usable: Mask,
    territory: Territory,
    background: Background,
    surface: Surface,
    blood_hu: NDArray[np.float64],
    sheets_hu: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Share of blood in each voxel of the territory; 0 where the lung cannot be measured."""
    index = territory.index
    lung_hu = background.at(index).astype(np.float64)
    excess = image_hu.ravel()[index] - lung_hu - surface.excess_at(index) - sheets_hu
    fraction = excess / np.maximum(blood_hu[territory.owner] - lung_hu, LEAST_CONTRAST_HU)
    return np.where(usable.ravel()[index], fraction, 0.0)
