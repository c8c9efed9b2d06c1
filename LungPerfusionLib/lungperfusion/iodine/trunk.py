"""The pulmonary trunk, whose iodine turns lung iodine into blood volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from lungperfusion.errors import InputError
from lungperfusion.iodine.calibration import UNDILUTED_MG_ML
from lungperfusion.morphology import ball, depth_mm
from lungperfusion.terms import AIRWAYS, LUNGS, title
from lungperfusion.volume import Axis, Geometry, Labelmap, Mask, Volume, bounding_box

PLACE_FROM_CARINA_MM: dict[Axis, tuple[float, float]] = {
    "R": (-50.0, 5.0),
    "A": (0.0, 80.0),
    "S": (-35.0, 10.0),
}
"""Where the trunk lies, RAS mm from the carina: left of the midline (aorta and superior vena cava
lie right of it), in front of the left main bronchus, and above the right ventricle."""

USUAL_PLACE_MM: tuple[tuple[Axis, float, float], ...] = (
    ("R", -20.0, 12.0),
    ("A", 32.0, 20.0),
    ("S", -16.0, 14.0),
)
"""Usual middle of the trunk from the carina and its spread: of several thick vessels (the ascending
aorta touches the trunk) the one at the usual place is taken."""

MIDDLE_WITHIN_MM = 5.0
"""The axis of the trunk is sought this far around its most likely place."""

TRUNK_RADIUS_MM = (7.0, 25.0)
"""Inner radius of the trunk: normal 12.5 mm, up to 25 mm in severe pulmonary hypertension."""

MINIMAL_IODINE_MG_ML = 2.0
"""Less iodine in the blood pool is no contrast phase that perfusion can be normalised with."""

MINIMAL_CORE_ML = 1.0
"""The region in the trunk should hold at least a cubic centimetre."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Trunk:
    """Region in the core of the pulmonary trunk, away from its wall."""

    mask: Mask
    iodine_mg_ml: float
    """Median concentration inside."""
    volume_ml: float
    centre_ras_mm: tuple[float, float, float]
    radius_mm: float
    doubt: str = ""
    """Why this may not be the trunk; empty when nothing speaks against it."""


MARKED_RADIUS_MM = 6.5
"""Ball around a point that a reader places in a great vessel: it fits into the narrowest trunk
(`TRUNK_RADIUS_MM`) and holds more than `MINIMAL_CORE_ML`."""


def ball_of_blood(geometry: Geometry, places_ras_mm: Mapping[str, ArrayLike]) -> Labelmap:
    """Label the blood around points that a reader placed in great vessels.

    Raises
    ------
    InputError
        If a point lies outside the image.

    """
    array = np.zeros(geometry.shape, np.uint8)
    names = dict(enumerate(places_ras_mm, start=1))
    for value, name in names.items():
        inside = ball(geometry, places_ras_mm[name], MARKED_RADIUS_MM)
        if not inside.any():
            raise InputError(f"the point in the {title(name).lower()} lies outside the image")
        array[inside] = value
    return Labelmap(array, geometry, names)


USUAL_RADIUS_MM = (9.0, 20.0)
"""A trunk found automatically outside of this is used with caution (normal mean 12.5 mm)."""

EVEN_BLOOD_SPREAD = 0.25
"""Interquartile range over median in the core: more means mixing, streaks or a wrong place."""


def measure_trunk(concentration: Volume, mask: Mask) -> Trunk | None:
    """Measure the iodine in a region that a reader placed or corrected; None if it is empty."""
    if not mask.any():
        return None
    box = bounding_box(mask, (1, 1, 1))
    geometry = concentration.geometry.crop(box)
    depth = depth_mm(mask[box], geometry.spacing_kji_mm)
    return Trunk(
        mask=mask,
        iodine_mg_ml=float(np.median(concentration.array[mask])),
        volume_ml=float(np.count_nonzero(mask)) * concentration.geometry.voxel_volume_ml,
        centre_ras_mm=_centre(mask, concentration.geometry),
        radius_mm=float(depth.max()),
    )


def find_trunk(
    concentration: Volume, lungs: Labelmap, *, carina_ras_mm: NDArray[np.float64] | None = None
) -> Trunk | str:
    """Find the pulmonary trunk in an iodine map.

    The thickest enhanced structure in front of and left of the carina, as far as its radius is one
    of a trunk; its core, half way to the wall, is measured.

    Parameters
    ----------
    concentration
        Iodine in mg/mL.
    lungs
        Lungs and ``airways`` on the same grid; the trachea's bifurcation gives the place.
    carina_ras_mm
        The bifurcation where it is known; looked for in the airways when None.

    Returns
    -------
    Trunk or str
        The trunk, or why none was found.

    """
    concentration.require_unit("mg/mL", "the iodine map")
    concentration.geometry.require_same(lungs.geometry, what="iodine map and lungs")
    carina = find_carina(lungs) if carina_ras_mm is None else carina_ras_mm
    if carina is None:
        return "the carina, from which the pulmonary trunk is sought, is not in the image"
    geometry = concentration.geometry
    near = _near_carina(geometry, carina)
    near &= ~lungs.mask(*LUNGS, AIRWAYS)
    if concentration.valid is not None:
        near &= concentration.valid
    if not near.any():
        return "the place of the pulmonary trunk lies outside the image"
    box = bounding_box(near)
    iodine = ndimage.gaussian_filter(
        concentration.array[box].astype(np.float32), [1.5 / s for s in geometry.spacing_kji_mm]
    )
    pool = near[box] & (iodine < UNDILUTED_MG_ML)
    if not pool.any():
        return "only undiluted contrast where the pulmonary trunk is expected"
    level = float(np.percentile(iodine[pool], 90))
    if level < MINIMAL_IODINE_MG_ML:
        return (
            f"the blood pool holds only {level:.1f} mg/mL of iodine; at least "
            f"{MINIMAL_IODINE_MG_ML:g} are needed for a normalisation"
        )
    bright = pool & (iodine > level / 2)
    local = geometry.crop(box)
    depth = depth_mm(bright, local.spacing_kji_mm)
    likely = np.unravel_index(int(np.argmax(depth * _usual(local, carina))), depth.shape)
    middle = np.where(_distance_mm(local, likely) <= MIDDLE_WITHIN_MM, depth, 0)
    here = np.unravel_index(int(np.argmax(middle)), depth.shape)
    radius = float(depth[here])
    low, high = TRUNK_RADIUS_MM
    if not low <= radius <= high:
        return (
            f"the thickest enhanced vessel in front of the carina has a radius of {radius:.0f} mm; "
            f"{low:g} to {high:g} mm were expected of a pulmonary trunk"
        )
    core = (depth > radius / 2) & (_distance_mm(local, here) <= radius)
    labels, _ = ndimage.label(core)
    thickest = labels == labels[here]
    mask = np.zeros(geometry.shape, np.bool_)
    mask[box] = thickest
    trunk = measure_trunk(concentration, mask)
    if trunk is None or trunk.volume_ml < MINIMAL_CORE_ML:
        return f"the core of the pulmonary trunk holds less than {MINIMAL_CORE_ML:g} mL"
    return replace(trunk, radius_mm=radius, doubt=_doubt(radius, iodine[thickest]))


def _doubt(radius_mm: float, iodine_mg_ml: NDArray[np.float32]) -> str:
    low, high = USUAL_RADIUS_MM
    if not low <= radius_mm <= high:
        return (
            f"the vessel taken for the pulmonary trunk has a radius of {radius_mm:.0f} mm "
            f"({low:g} to {high:g} mm are usual): check it, or give the trunk"
        )
    q1, median, q3 = np.percentile(iodine_mg_ml, (25, 50, 75))
    if q3 - q1 > EVEN_BLOOD_SPREAD * median:
        return "contrast is uneven in what was taken for the pulmonary trunk: check it"
    return ""


def find_carina(lungs: Labelmap) -> NDArray[np.float64] | None:
    """Place where the trachea divides, RAS mm; None where the airways do not show it.

    Going down from the top, the first level at which the trachea goes on in two parts that are
    both main bronchi by size.
    """
    airways = lungs.mask(AIRWAYS)
    if not airways.any():
        return None
    axis, sign = lungs.geometry.array_axis_toward("S")
    planes = np.moveaxis(airways, axis, 0)[::-sign]
    spacing = [s for a, s in enumerate(lungs.geometry.spacing_kji_mm) if a != axis]
    smallest = MAIN_BRONCHUS_MM2 / (spacing[0] * spacing[1])
    trachea: Mask | None = None
    for index, plane in enumerate(planes):
        if not plane.any():
            continue
        labels, _ = ndimage.label(plane)
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        if trachea is not None:
            below = np.unique(labels[ndimage.binary_dilation(trachea)])
            branches = [label for label in below if sizes[label] >= smallest]
            if len(branches) >= 2:
                level = index if sign < 0 else len(planes) - 1 - index
                middle = np.argwhere(trachea).mean(axis=0)
                return lungs.geometry.ras_from_ijk(np.insert(middle, axis, level)[::-1])
            if not branches:
                continue
            trachea = labels == max(branches, key=lambda label: sizes[label])
        else:
            trachea = labels == int(np.argmax(sizes))
    return None


MAIN_BRONCHUS_MM2 = 30.0
"""Smallest cross-section of a main bronchus on an axial slice in an adult."""


def _near_carina(geometry: Geometry, carina_ras_mm: NDArray[np.float64]) -> Mask:
    near = np.ones(geometry.shape, np.bool_)
    for (axis, (low, high)), middle in zip(
        PLACE_FROM_CARINA_MM.items(), carina_ras_mm, strict=True
    ):
        position = geometry.coordinate_mm(axis)
        near &= (position >= middle + low) & (position <= middle + high)
    return near


def _usual(geometry: Geometry, carina_ras_mm: NDArray[np.float64]) -> NDArray[np.float32]:
    """How usual every place is for the middle of the trunk, 0 to 1."""
    exponent = np.zeros(geometry.shape, np.float32)
    for axis, middle, spread in USUAL_PLACE_MM:
        offset = geometry.coordinate_mm(axis) - (carina_ras_mm["RAS".index(axis)] + middle)
        exponent += (offset / np.float32(spread)) ** 2
    return np.asarray(np.exp(exponent / -2))


def _distance_mm(geometry: Geometry, kji: tuple[np.intp, ...]) -> NDArray[np.float32]:
    """Distance of every voxel from one of them."""
    place = geometry.ras_from_ijk(kji[::-1])
    square = np.zeros(geometry.shape, np.float32)
    for axis, coordinate in zip(PLACE_FROM_CARINA_MM, place, strict=True):
        square += (geometry.coordinate_mm(axis) - coordinate) ** 2
    return np.sqrt(square)


def _centre(mask: Mask, geometry: Geometry) -> tuple[float, float, float]:
    r, a, s = geometry.ras_from_ijk(np.argwhere(mask).mean(axis=0)[::-1])
    return float(r), float(a), float(s)
