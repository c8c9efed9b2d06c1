"""Both breaths brought together: registered, cropped to the lungs, on one grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.analysis.stages import remembered
from lungperfusion.errors import InputError
from lungperfusion.progress import Progress, part
from lungperfusion.quality import Gate
from lungperfusion.regions import RegionSet
from lungperfusion.resampling import resample_labelmap
from lungperfusion.terms import LOBES, LUNGS, VESSELS
from lungperfusion.volume import Box, Geometry, Labelmap, Volume, bounding_box, box_around
from lungperfusion.vq.calibration import (
    PairCalibration,
    Readings,
    compare_calibration,
    read_air_and_blood,
)
from lungperfusion.vq.displacement import DisplacementField, positions_by_slab
from lungperfusion.vq.gates import registration_gates
from lungperfusion.vq.inspiratory import InspiratoryView
from lungperfusion.vq.pair import BreathPair, pair_breaths
from lungperfusion.vq.registration import Registration, register_lungs, registration_from_field

TRANSFORM = "inspiration_to_expiration_transform"
"""Name of the displacement field: moves the inspiratory volume onto the expiratory one."""

INVERSE = "expiration_to_inspiration_transform"
"""Name of its inverse: moves the expiratory volume onto the inspiratory one."""

VOLUME_TRANSFORM = "inspiration_to_expiration_volume_transform"
"""Name of the stiffer field whose Jacobian gives the volume change."""

_CROP_MM = 30.0
"""Around the lungs, for the registration and its transform."""

_MAP_MM = 15.0
"""Around the lungs, for maps and pictures."""

_FIELD_MM = 2.0

Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Origin:
    """What is still needed of a scan whose lungs were cut out."""

    geometry: Geometry
    """Its whole grid."""
    box: Box
    """Where the lungs were cut out."""
    readings: Readings
    """Its air and blood."""


@dataclass(frozen=True, eq=False, slots=True)
class Breath:
    """A scan in one breath with its regions."""

    ct: Volume
    """In HU."""
    found: FoundRegions
    origin: Origin | None = None
    """The whole scan, where this is what lies near its lungs."""

    @property
    def lungs(self) -> Labelmap:
        """Lungs of the scan."""
        return self.found.lungs

    def crop(self, box: Box) -> Breath:
        """Scan and regions within a box."""
        return Breath(self.ct.crop(box), self.found.crop(box))

    def near_lungs(self) -> Breath:
        """Copy what lies near the lungs, so that the whole scan can be forgotten."""
        if self.origin is not None or not self.lungs.mask(*LUNGS).any():
            return self
        box = _lung_box(self.lungs, _CROP_MM)
        readings = read_air_and_blood(self.ct, self.lungs)
        origin = Origin(geometry=self.ct.geometry, box=box, readings=readings)
        return Breath(self.ct.cut_out(box), self.found.crop(box), origin)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Steering:
    """What a user gives to the registration, or in place of it."""

    transform: DisplacementField | None = None
    """Earlier result to use instead of registering: displacements from expiratory points."""
    volume_transform: DisplacementField | None = None
    """The stiffer field for the Jacobian that goes with it; by default the same."""
    landmarks: tuple[Points, Points] | None = None
    """Corresponding points, RAS mm, expiratory and inspiratory, that steer the registration."""


NO_STEERING = Steering()


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class JoinedBreaths:
    """Both breaths on the expiratory grid near the lungs."""

    expiration: Breath
    """Cropped near the lungs, with the lobes of the inspiration where it has none of its own."""
    inspiration: Breath
    """Cropped around its lungs."""
    box: Box
    """Where the expiration lies in the whole scan."""
    whole: Geometry
    """Grid of the whole expiratory scan."""
    registration: Registration
    pair: BreathPair
    transforms: dict[str, DisplacementField]
    gates: tuple[Gate, ...]

    @property
    def regions(self) -> RegionSet:
        """Regions on the expiratory grid."""
        return self.expiration.found.regions


def join_breaths(
    expiration: Breath,
    inspiration: Breath,
    *,
    slide_lobes: bool,
    steering: Steering,
    progress: Progress,
) -> JoinedBreaths:
    """Register both scans, and bring them onto the expiratory grid.

    Parameters
    ----------
    expiration, inspiration
        Scans, whole or near the lungs.
    slide_lobes
        Whether lobes slide along the fissures, where both scans have lobes.
    steering
        Transforms to reuse, landmarks.
    progress
        Called throughout; may raise to cancel.

    """
    _check_breath(expiration.lungs, inspiration.lungs)
    around, other = expiration.near_lungs(), inspiration.near_lungs()
    here, there = around.origin, other.origin
    assert here is not None
    assert there is not None  # both have lungs
    registration = _register(around, other, slide_lobes, steering, part(progress, 0.0, 0.9))
    transforms = _transforms(registration, other.lungs)
    calibration = compare_calibration(here.readings, there.readings)
    near = _lung_box(around.lungs, _MAP_MM)
    registration = registration.crop(near)
    found = _with_lobes(around.crop(near), other, registration)
    progress(0.91, "registering inspiration to expiration")
    pair = _paired(found, other, registration, calibration)
    progress(0.96, "checking the registration")
    gates = (
        *registration_gates(registration, pair, other.lungs, landmarks=steering.landmarks),
        calibration.gate(),
        *_gates_of(expiration.found, "expiration"),
        *_gates_of(inspiration.found, "inspiration"),
    )
    return JoinedBreaths(
        expiration=found,
        inspiration=other,
        box=_inner(here.box, near),
        whole=here.geometry,
        registration=registration,
        pair=pair,
        transforms=transforms,
        gates=gates,
    )


def inspiratory_regions(joined: JoinedBreaths) -> RegionSet:
    """Regions of the inspiratory scan; lobes that only the expiratory one has are carried over."""
    own = joined.inspiration.found.regions
    known = {name for partition in own.partitions for name in partition.names.values()}
    view: InspiratoryView | None = None
    partitions = list(own.partitions)
    for partition in joined.regions.partitions:
        if known & set(partition.names.values()):
            continue
        view = view or InspiratoryView.of(joined.registration, joined.inspiration.lungs)
        partitions.append(view.carry_labels(partition))
    absent = {k: v for k, v in joined.regions.absent.items() if k not in known}
    return RegionSet(tuple(partitions), absent)


def _check_breath(expiration: Labelmap, inspiration: Labelmap) -> None:
    before, after = (labels.volume_ml(*LUNGS) for labels in (expiration, inspiration))
    if not before > 0 or not after > 0:
        raise InputError("both scans must show the lungs; one of them has none")
    if after <= before:
        raise InputError(
            f"the lungs hold {after / 1000:.2f} L in the inspiratory and {before / 1000:.2f} L in "
            "the expiratory scan; an inspiration is larger: check whether the scans are swapped, "
            "or the inspiratory one cuts the lungs off"
        )


def _lung_box(lungs: Labelmap, margin_mm: float) -> Box:
    return box_around(lungs.mask(*LUNGS), lungs.geometry.spacing_kji_mm, margin_mm)


def _inner(outer: Box, box: Box) -> Box:
    """Box in the array that another box, which it lies in, was cut from."""
    k, j, i = (slice(a.start + b.start, a.start + b.stop) for a, b in zip(outer, box, strict=True))
    return k, j, i


def _register(
    expiration: Breath,
    inspiration: Breath,
    slide_lobes: bool,
    steering: Steering,
    progress: Progress,
) -> Registration:
    if steering.transform is not None:
        return registration_from_field(
            steering.transform,
            expiration.lungs,
            inspiration.ct.geometry,
            volume=steering.volume_transform,
        )
    return remembered(
        register_lungs,
        expiration.ct,
        inspiration.ct,
        expiration.lungs,
        inspiration.lungs,
        lobes=_lobes_of_both(expiration, inspiration) if slide_lobes else None,
        landmarks=steering.landmarks,
        progress=progress,
    )


def _transforms(
    registration: Registration, inspiratory_lungs: Labelmap
) -> dict[str, DisplacementField]:
    return {
        TRANSFORM: registration.combined(_FIELD_MM),
        VOLUME_TRANSFORM: registration.combined(_FIELD_MM, kind="volume"),
        INVERSE: _way_back(registration, inspiratory_lungs),
    }


def _way_back(registration: Registration, lungs: Labelmap) -> DisplacementField:
    """Displacement from inspiration to expiration around the inspiratory lungs."""
    coarse = resample_labelmap(lungs, lungs.geometry.with_spacing((_FIELD_MM,) * 3))
    return InspiratoryView.of(registration, coarse).field()


def _paired(
    expiration: Breath,
    inspiration: Breath,
    registration: Registration,
    calibration: PairCalibration,
) -> BreathPair:
    vessels = expiration.found.vessels
    return pair_breaths(
        expiration.ct,
        inspiration.ct,
        registration,
        expiration.lungs,
        inspiration.lungs,
        lobes=_lobes_of_both(expiration, inspiration),
        vessels=None if vessels is None else vessels.mask(VESSELS),
        calibration=calibration,
    )


def _lobes_of_both(expiration: Breath, inspiration: Breath) -> tuple[Labelmap, Labelmap] | None:
    here, there = expiration.found.regions.lobes, inspiration.found.regions.lobes
    return None if here is None or there is None else (here, there)


def _with_lobes(expiration: Breath, inspiration: Breath, registration: Registration) -> Breath:
    """Expiration with the lobes of the inspiration, where only that has some."""
    regions = expiration.found.regions
    if _lobes_of_both(expiration, inspiration) is not None:
        return expiration
    lobes = _lobes_from(inspiration.found, registration)
    if lobes is None:
        return expiration
    regions = RegionSet(
        (regions.partitions[0], lobes, *regions.partitions[1:]),
        {k: v for k, v in regions.absent.items() if k not in LOBES},
    )
    return Breath(expiration.ct, replace(expiration.found, regions=regions))


def _lobes_from(inspiration: FoundRegions, registration: Registration) -> Labelmap | None:
    """Lobes of the inspiratory scan, where fissures show best, at the expiratory voxels."""
    source = inspiration.regions.lobes
    if source is None:
        return None
    labels = np.zeros(registration.geometry.shape, source.array.dtype)
    for lung, fields, mask in registration.each():
        side = inspiration.lungs.mask(lung)
        if not side.any():
            continue
        box = bounding_box(side)
        within = _nearest_label(np.where(side[box], source.array[box], 0))
        for slab, points in positions_by_slab(registration.geometry, mask):
            index = source.geometry.ijk_from_ras(points + fields.alignment.at(points)).T[::-1]
            labels[slab][mask[slab]] = within[
                tuple(
                    np.clip(np.rint(axis).astype(int) - start.start, 0, size - 1)
                    for axis, start, size in zip(index, box, within.shape, strict=True)
                )
            ]
    return Labelmap(labels, registration.geometry, source.names)


def _nearest_label(labels: NDArray[Any]) -> NDArray[Any]:
    """Give every voxel the label of the nearest labelled one: the surfaces differ by a voxel."""
    if not labels.any():
        return labels
    nearest = ndimage.distance_transform_edt(
        labels == 0, return_distances=False, return_indices=True
    )
    return np.asarray(labels[tuple(nearest)])


def _gates_of(found: FoundRegions, state: str) -> tuple[Gate, ...]:
    """Gates of one scan; an expiratory one is not asked to look inspiratory."""
    return tuple(
        replace(gate, id=f"{state}_{gate.id}", message=f"{gate.message} ({state})")
        for gate in found.gates
        if (gate.id, state) != ("inspiration", "expiration")
    )
