"""Measured maps of perfusion or ventilation brought to the voxels of CT ventilation.

Iodine, counts and gas are amounts per volume of lung, and the volume changes with the breath: what
was in 1 mL of lung at inspiration lies in 1/J mL at expiration, so that the amount per expiratory
mL is J times that per inspiratory mL.  Per gram of lung it stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.errors import InputError
from lungperfusion.morphology import depth_mm
from lungperfusion.quality import Gate, Verdict
from lungperfusion.resampling import (
    from_sitk,
    geometry_from_sitk,
    resample_array,
    resample_known,
    to_sitk,
)
from lungperfusion.smoothing import gaussian_mean
from lungperfusion.terms import LUNGS, Region, title
from lungperfusion.terms.vq import LOW_SHARE
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume, box_around
from lungperfusion.vq.classes import relative_to_mean
from lungperfusion.vq.comparison import align_reference
from lungperfusion.vq.pair import BreathPair, Float
from lungperfusion.vq.registration import Registration

MapKind = Literal["iodine", "spect", "xenon", "other"]
Quantity = Literal["perfusion", "ventilation"]
State = Literal["expiration", "inspiration"]

BLUR_FWHM_MM: Mapping[MapKind, float] = {"iodine": 4.0, "spect": 12.0, "xenon": 6.0, "other": 6.0}
"""Width at half height of a point: gamma cameras 10 to 15 mm, xenon about two voxels of 3 mm;
iodine as its usual smoothing leaves it."""

KIND_TITLES: Mapping[MapKind, str] = {
    "iodine": "iodine",
    "spect": "SPECT",
    "xenon": "xenon",
    "other": "other image",
}

SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))

LEAST_SIGMA_MM = 3.0
"""Blur that both maps are brought to at least: that of ventilation.  On the first breathing phantom
at half size kappa of the classes was 0.81 with 2.5 and 3.5 mm and 0.76 with 5 mm."""

LUNG_SIGNAL: frozenset[MapKind] = frozenset({"spect", "xenon"})
"""Kinds whose signal comes from the lungs alone: what blur carried out of them is put back."""

LEAST_SEEN = 0.3
"""Share of a point's blur that must lie in the lungs for its signal to be told from the edge."""

SHIFT_WARN_MM, SHIFT_FAIL_MM = 3.5, 15.0
"""Distance by which map and lungs miss each other: a lobar share hardly moves below, classes at
the edge do; from the blur of SPECT on, edges of defects are beside the lung they belong to."""

COVERAGE_WARN, COVERAGE_FAIL = 0.9, 0.5
"""Share of the lungs in which the map says something."""

_SHIFT_GRID_MM = 4.0
_SHIFT_BLUR_MM = 5.0
_LEVEL_MM = 20.0  # over which the map's own level is taken
_REACH_MM = 24.0  # on either side of the pleura
_STEPS = 15
_STILL = 0.01  # voxels
_DEEP = 0.95  # share of the blur that lies in the lung
_FEWEST_POINTS = 20
_LEAST_AIR = 0.3  # of a CT in the lung
_MOST_BESIDE = 0.5  # of the lung's level: an image that is as bright around it does not show it
_LEAST_LEVEL = 0.1  # of the lung's mean: in a territory without signal there is no edge to fit
_AIR_HU, _WALL_HU = -650.0, -100.0
_AIR_GRID_MM = 3.0


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class MeasuredMap:
    """An image of perfusion or ventilation, and what is known of it."""

    image: Volume
    """In the patient space of the breath it was taken in; not valid where it says nothing."""
    kind: MapKind
    quantity: Quantity = "perfusion"
    ct: Volume | None = None
    """CT that the image lies on, by which it is aligned and checked."""
    breath: State | None = None
    """Scan whose breath it was taken in; None for the one whose lungs it fits."""
    fwhm_mm: float | None = None
    """Blur; None for that of the kind."""
    low: float = LOW_SHARE
    """Share of the mean below which it is low."""

    def __post_init__(self) -> None:
        """Refuse an image without signal."""
        values = np.asarray(self.image.array)
        seen = values if self.image.valid is None else values[self.image.valid]
        if not (np.isfinite(seen).any() and float(np.nanmax(seen)) > 0):
            raise InputError(
                f"the {self.quantity} map holds no value above 0; give the image of "
                f"{'iodine, counts or gas' if self.quantity == 'perfusion' else 'counts or gas'}"
            )

    @property
    def sigma_mm(self) -> float:
        """Blur as the standard deviation of a Gaussian."""
        width = BLUR_FWHM_MM[self.kind] if self.fwhm_mm is None else self.fwhm_mm
        return width * SIGMA_PER_FWHM


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class PlacedMap:
    """A measured map on the expiratory grid."""

    given: MeasuredMap
    breath: State
    values: Float
    """Over its mean, per expiratory volume; NaN where the map says nothing."""
    sigma_mm: float
    """Its blur, as both maps of a quotient share it."""
    gates: tuple[Gate, ...]

    @property
    def known(self) -> Mask:
        """Voxels with a value."""
        return np.isfinite(self.values)

    @property
    def method(self) -> str:
        """Words for the method column."""
        amount = ", amount per expiratory volume by the Jacobian" * (self.breath == "inspiration")
        return f"measured ({KIND_TITLES[self.given.kind]}, {self.breath}{amount})"


def place_map(
    given: MeasuredMap,
    pair: BreathPair,
    registration: Registration,
    lungs: Mapping[State, Labelmap],
    cts: Mapping[State, Volume],
) -> PlacedMap:
    """Bring a measured map to the voxels of a pair, and check that it lies where the lungs are.

    Parameters
    ----------
    given
        The map.
    pair, registration
        Both breaths on the expiratory grid.
    lungs, cts
        Of both scans, in their own patient space.

    Raises
    ------
    InputError
        If the map has no value within the lungs.

    """
    breath, given, shifts = _aligned(given, lungs, cts)
    image = given.image
    if given.kind in LUNG_SIGNAL:
        image = _without_spill(image, lungs[breath], given.sigma_mm)
    if breath == "expiration":
        here = resample_known(image, pair.geometry)
        values = np.where(_valid(here), here.array, np.nan).astype(np.float32)
    else:
        values = _carried(image, registration) * pair.jacobian
    known = pair.mask & np.isfinite(values)
    if given.kind == "iodine":
        known &= ~(pair.open_lung & ~pair.parenchyma)  # iodine of vessels is no perfusion of lung
    if not known.any() or not float(values[known].sum(dtype=np.float64)) > 0:
        raise InputError(
            f"the {given.quantity} map has no signal in the lungs; check that it belongs to this "
            f"patient and lies in the space of the {breath} scan, or give its CT"
        )
    sigma = max(given.sigma_mm, LEAST_SIGMA_MM)
    more = math.sqrt(sigma**2 - given.sigma_mm**2)
    smooth = np.where(known, pair.smooth(values, known, more) if more > 0 else values, np.nan)
    return PlacedMap(
        given=given,
        breath=breath,
        values=relative_to_mean(smooth, known),
        sigma_mm=sigma,
        gates=(
            _shift_gate(given.quantity, breath, shifts),
            _coverage_gate(given.quantity, known, pair.mask),
        ),
    )


def with_blur(pair: BreathPair, values: Float, sigma_mm: float, wanted_mm: float) -> Float:
    """Map with the blur of another one, each lung for itself."""
    more = math.sqrt(max(wanted_mm**2 - sigma_mm**2, 0))
    known = pair.mask & np.isfinite(values)
    return pair.smooth(values, known, more) if more > 0 else values


# ------------------------------------------------------------------------------------- placing


def _valid(volume: Volume) -> Mask:
    finite = np.isfinite(np.asarray(volume.array))
    return finite if volume.valid is None else finite & volume.valid


def _carried(image: Volume, registration: Registration) -> Float:
    """Inspiratory image at the expiratory voxels, from what it knows alone."""
    valid = _valid(image)
    total = registration.warp(image.with_array(np.where(valid, image.array, 0).astype(np.float32)))
    weight = registration.warp(image.with_array(valid.astype(np.float32)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weight >= 0.5, total / weight, np.nan).astype(np.float32)


def _without_spill(image: Volume, lungs: Labelmap, sigma_mm: float) -> Volume:
    """Put back what blur carried out of the lungs: divide by the blurred lungs."""
    inside = lungs.mask(*LUNGS)
    share, _ = gaussian_mean(
        inside.astype(np.float32), np.ones_like(inside), lungs.geometry, sigma_mm
    )
    share = resample_array(share, lungs.geometry, image.geometry, interpolation="linear", fill=0.0)
    valid = _valid(image) & (share >= LEAST_SEEN)
    array = np.where(valid, image.array / np.maximum(share, LEAST_SEEN), 0).astype(np.float32)
    return Volume(array, image.geometry, image.unit, valid)


# ----------------------------------------------------------------------------------- alignment

Shifts = Mapping[Region, NDArray[np.float64]]


def _aligned(
    given: MeasuredMap, lungs: Mapping[State, Labelmap], cts: Mapping[State, Volume]
) -> tuple[State, MeasuredMap, Shifts]:
    """Breath that a map lies in, the map aligned to it, and what is left between both."""
    found: dict[State, tuple[MeasuredMap, Shifts]] = {}
    for state in ("expiration", "inspiration"):
        if given.breath in (None, state):
            moved = given if given.ct is None else _moved(given, cts[state])
            found[state] = moved, _shifts(moved, lungs[state])
    breath = min(found, key=lambda state: _longest(found[state][1]))
    if len(found) > 1 and math.isinf(_longest(found[breath][1])):
        raise InputError(
            f"the {given.quantity} map does not show which breath it was taken in: its lungs do "
            f"not stand out, or lie elsewhere; say --{given.quantity}-breath, and give its CT with "
            f"--{given.quantity}-ct"
        )
    return breath, *found[breath]


def _longest(shifts: Shifts) -> float:
    """Largest of the lungs' distances; infinite where none could be found."""
    return max((float(np.linalg.norm(shift)) for shift in shifts.values()), default=math.inf)


def _moved(given: MeasuredMap, ct: Volume) -> MeasuredMap:
    """Map and its CT in the patient space of a scan, by a rigid motion of the bodies."""
    assert given.ct is not None
    transform = align_reference(given.ct, ct)
    return replace(given, image=_brought(given.image, transform), ct=_brought(given.ct, transform))


def _brought(image: Volume, transform: sitk.Transform) -> Volume:
    """Image moved rigidly: its grid turns, no voxel is interpolated."""
    inverse = transform.GetInverse()
    points = np.vstack([np.zeros(3), np.eye(3)])
    ends = np.array([inverse.TransformPoint(tuple(p)) for p in points])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = (ends[1:] - ends[0]).T, ends[0]
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    turned = flip @ matrix @ flip @ image.geometry.ijk_to_ras
    return Volume(image.array, Geometry(image.geometry.shape, turned), image.unit, image.valid)


def _shifts(given: MeasuredMap, lungs: Labelmap) -> Shifts:
    """How far the lungs that an image shows lie from those of a scan, mm RAS, by lung.

    The image is taken for its own local level times the blurred lung, and moved until both fit
    (Gauss-Newton over both sides of the pleura).  A CT, where there is one, shows lung as air.
    """
    shown, sigma, least = given.image, given.sigma_mm, 0.0
    if given.ct is not None:
        shown, sigma, least = _air(given.ct), 0.0, _LEAST_AIR
    blur = math.sqrt(max(_SHIFT_BLUR_MM**2 - sigma**2, 0))
    sigma = max(_SHIFT_BLUR_MM, sigma)
    both = lungs.mask(*LUNGS)
    found = {}
    for lung in LUNGS:
        mask = lungs.mask(lung)
        if not mask.any():
            continue
        box = box_around(mask, lungs.geometry.spacing_kji_mm, _REACH_MM + 3 * sigma)
        near = lungs.geometry.crop(box)
        grid = near.with_spacing((_SHIFT_GRID_MM,) * 3)
        own = _blurred_on(mask[box].astype(np.float32), near, grid, sigma)
        others = _blurred_on((both & ~mask)[box].astype(np.float32), near, grid, sigma)
        signal = _seen_on(shown, grid, blur)
        shift = _fit_shift(signal, own, others, grid, least)
        if shift is not None:
            found[lung] = shift
    return found


def _air(ct: Volume) -> Volume:
    """Lung as a CT shows it, 1 in air and 0 in the chest wall and outside the body."""
    factors = [max(1, round(_AIR_GRID_MM / s)) for s in ct.geometry.spacing_ijk_mm]
    coarse = sitk.BinShrink(sitk.Cast(to_sitk(ct.array, ct.geometry), sitk.sitkFloat32), factors)
    hu, grid = from_sitk(coarse), geometry_from_sitk(coarse)
    share = np.clip((_WALL_HU - hu) / (_WALL_HU - _AIR_HU), 0, 1)
    parts, _ = ndimage.label(share > 0.5)
    head = grid.array_axis_toward("S")[0]
    for axis in {0, 1, 2} - {head}:  # air that reaches a side of the image is outside
        for end in (0, -1):
            share[np.isin(parts, np.setdiff1d(np.take(parts, end, axis), 0))] = 0
    return Volume(share, grid, "1")


def _blurred_on(values: Float, source: Geometry, target: Geometry, sigma_mm: float) -> Float:
    mean, _ = gaussian_mean(values, np.ones(values.shape, np.bool_), source, sigma_mm)
    return resample_array(mean, source, target, interpolation="linear", fill=0.0)


def _seen_on(image: Volume, target: Geometry, sigma_mm: float) -> Float:
    """Image blurred on its own grid, then on another; nothing where it says nothing."""
    values = np.where(_valid(image), image.array, 0).astype(np.float32)
    return _blurred_on(values, image.geometry, target, sigma_mm)


def _fit_shift(
    signal: Float, own: Float, others: Float, grid: Geometry, least: float
) -> NDArray[np.float64] | None:
    """Shift in mm RAS that brings the signal onto a lung; None where it does not show the lung."""
    deep = own > _DEEP
    if np.count_nonzero(deep) < _FEWEST_POINTS or not float(signal[deep].mean()) > least:
        return None
    level, _ = gaussian_mean(signal, deep, grid, _LEVEL_MM)
    lung = own > 0.5
    away = depth_mm(lung, grid.spacing_kji_mm) + depth_mm(~lung, grid.spacing_kji_mm)
    fitted = (away <= _REACH_MM) & (others < 1 - _DEEP)
    wanted = own[fitted].astype(np.float64)
    floor = _LEAST_LEVEL * float(signal[deep].mean())
    relative = np.clip(signal / np.maximum(level, floor), 0, 2).astype(np.float64)
    beside = fitted & (own < 1 - _DEEP)
    if not beside.any() or float(relative[beside].mean()) > _MOST_BESIDE:
        return None
    images = (relative, *(np.asarray(axis) for axis in np.gradient(relative)))
    places = np.argwhere(fitted).astype(np.float64).T
    shift = np.zeros(3)  # in voxels of the grid, along k, j and i
    for _ in range(_STEPS):
        at = places + shift[:, None]
        values, *slopes = (ndimage.map_coordinates(x, at, order=1, mode="nearest") for x in images)
        matrix = np.stack([*slopes, -wanted], axis=1)  # and a scale of the level
        move = np.clip(np.linalg.lstsq(matrix, wanted - values, rcond=None)[0][:3], -1.5, 1.5)
        shift += move
        if float(np.abs(move).max()) < _STILL:
            break
    found = np.asarray(grid.ijk_to_ras[:3, :3] @ shift[::-1])
    return found if float(np.linalg.norm(found)) <= _REACH_MM else None


# --------------------------------------------------------------------------------------- gates


def _shift_gate(quantity: Quantity, breath: State, shifts: Shifts) -> Gate:
    id_, limit = f"{quantity}_map_alignment", f"up to {SHIFT_WARN_MM:g} mm"
    if not shifts:
        message = (
            f"Whether the {quantity} map lies on the lungs could not be seen, as they do not stand "
            f"out in it; its CT would show it (--{quantity}-ct)."
        )
        return Gate(id=id_, verdict="unknown", message=message, limit=limit)
    lengths = {lung: float(np.linalg.norm(shift)) for lung, shift in shifts.items()}
    lung = max(lengths, key=lambda region: lengths[region])
    worst = lengths[lung]
    verdict: Verdict = (
        "pass" if worst <= SHIFT_WARN_MM else "warn" if worst <= SHIFT_FAIL_MM else "fail"
    )
    return Gate(
        id=id_,
        verdict=verdict,
        message=f"The {quantity} map lies {worst:.1f} mm beside the {title(lung).lower()} of the "
        f"{breath} scan.",
        value=worst,
        unit="mm",
        limit=limit,
    )


def _coverage_gate(quantity: Quantity, known: Mask, inside: Mask) -> Gate:
    share = float(np.count_nonzero(known)) / max(1, int(np.count_nonzero(inside)))
    verdict: Verdict = (
        "pass" if share >= COVERAGE_WARN else "warn" if share >= COVERAGE_FAIL else "fail"
    )
    id_ = f"{quantity}_map_coverage"
    return Gate(
        id=id_,
        verdict=verdict,
        message=f"The {quantity} map says something in {100 * share:.0f} % of the lungs.",
        value=share,
        unit="1",
        limit=f"at least {COVERAGE_WARN:g}",
    )
