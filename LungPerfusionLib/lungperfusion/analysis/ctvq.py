"""Ventilation, perfusion and V/Q from one expiratory, inspiratory pair."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.analysis.stages import remembered
from lungperfusion.errors import InputError
from lungperfusion.measurement import Measurement
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.quality import Gate
from lungperfusion.regions import RegionSet
from lungperfusion.resampling import resample_labelmap
from lungperfusion.results.analysis import Analysis
from lungperfusion.results.section import Section
from lungperfusion.results.vq_findings import (
    boundary_section,
    candidate_section,
    comparison_section,
    remarks,
)
from lungperfusion.results.vq_sections import vq_sections
from lungperfusion.results.vq_tables import (
    Ratings,
    agreement_table,
    bin_table,
    boundary_table,
    candidate_table,
    comparison_table,
    rating_table,
    sensitivity_table,
    target_table,
)
from lungperfusion.segmentation.lobe_quality import THIN_SLICE_MM, judgeable
from lungperfusion.terms import LOBES, LUNGS, VESSELS
from lungperfusion.terms.vq import VQ_MEASURES
from lungperfusion.verdicts import follow_gates
from lungperfusion.volume import Box, Geometry, Labelmap, Mask, Volume, bounding_box
from lungperfusion.vq import collateral, defects
from lungperfusion.vq.calibration import compare_calibration
from lungperfusion.vq.classes import (
    LOW,
    HealthyBins,
    Thresholds,
    bin_shares,
    classify,
    relative_to_mean,
    sensitivity,
)
from lungperfusion.vq.collateral import BOUNDARIES, Boundary, Fissure, assess_boundaries
from lungperfusion.vq.comparison import RegionComparison, agree_by_partition, compare_with_reference
from lungperfusion.vq.decisions import measure_decisions
from lungperfusion.vq.defects import SHIPPED_MODEL, find_defects
from lungperfusion.vq.displacement import DisplacementField, displacement_to_sitk, voxel_positions
from lungperfusion.vq.gates import registration_gates
from lungperfusion.vq.inspiratory import InspiratoryView
from lungperfusion.vq.metrics import classify_prm, measure_inspiration, measure_vq
from lungperfusion.vq.model import LogisticModel
from lungperfusion.vq.pair import pair_breaths
from lungperfusion.vq.perfusion import WEIGHTS, Perfusion, Surrogate, map_perfusion
from lungperfusion.vq.planning import flag_surgery, rank_targets
from lungperfusion.vq.registration import Registration, register_lungs, registration_from_field
from lungperfusion.vq.ventilation import (
    DEFAULT_METHOD,
    VentilationMethod,
    map_specific_ventilation,
    map_ventilation,
)

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

Grid = Literal["expiration", "inspiration"]
Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class VqOptions:
    """Settings of the analysis."""

    ventilation: VentilationMethod = DEFAULT_METHOD
    perfusion: Mapping[Surrogate, float] | None = None
    """Exponents of the surrogates; None for those of `lungperfusion.vq.perfusion.WEIGHTS`."""
    low_ventilation: float = LOW
    low_perfusion: float = LOW
    healthy: HealthyBins | None = None
    """Bins of healthy people's values: the lowest ones then say what is low."""
    grid: Grid = "expiration"
    """Scan whose grid maps and label maps are written on."""
    slide_lobes: bool = False
    """Whether lobes glide along the fissures, where both scans have lobes.

    Off: it needs lobes that agree between the scans, and costs accuracy where nothing slid.
    """

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings for results.json."""
        return {
            "ventilation": self.ventilation,
            "perfusion_weights": dict(self.perfusion or WEIGHTS),
            "low_ventilation": self.thresholds.ventilation,
            "low_perfusion": self.thresholds.perfusion,
            "healthy_bins": None if self.healthy is None else asdict(self.healthy),
            "grid": self.grid,
            "slide_lobes": self.slide_lobes,
        }

    @property
    def thresholds(self) -> Thresholds:
        """What counts as low."""
        if self.healthy is not None:
            return self.healthy.thresholds
        return Thresholds(ventilation=self.low_ventilation, perfusion=self.low_perfusion)


DEFAULT_OPTIONS = VqOptions()


def analyse_ctvq(
    expiration: Volume,
    inspiration: Volume,
    expiration_found: FoundRegions,
    inspiration_found: FoundRegions,
    *,
    options: VqOptions = DEFAULT_OPTIONS,
    transform: DisplacementField | None = None,
    volume_transform: DisplacementField | None = None,
    landmarks: tuple[Points, Points] | None = None,
    reference: Volume | None = None,
    reference_kind: str = "perfusion",
    ratings: Ratings | None = None,
    collateral_model: LogisticModel | None = None,
    defect_model: LogisticModel | None = None,
    pictures: bool = True,
    progress: Progress = ignore,
) -> Analysis:
    """Map ventilation, perfusion and their match, and measure them per region.

    Parameters
    ----------
    expiration, inspiration
        CT in HU.
    expiration_found, inspiration_found
        Lungs and regions of each; results are given for the regions of the expiratory scan, and
        vessels found with it are left out of the parenchyma.
    options
        Methods and thresholds.
    transform, volume_transform
        Earlier result to use instead of registering: displacements from expiratory points, and
        the stiffer ones for the Jacobian, by default the same.
    landmarks
        Corresponding points, RAS mm, expiratory and inspiratory, that steer the registration.
    reference, reference_kind
        SPECT, iodine or gas image in the patient space of the expiratory CT, and whether it shows
        ``"perfusion"`` or ``"ventilation"``.
    ratings
        Perfusion ratings, 1 to 5, by reader and zone; compared with those derived from the map.
    collateral_model, defect_model
        Trained models of collateral ventilation and of perfusion defects.
    pictures
        Whether to draw for the report; needs matplotlib.
    progress
        Called throughout; may raise to cancel.

    Raises
    ------
    InputError
        If the inspiratory lungs are not larger than the expiratory ones, or no lung is in both.

    """
    _check_breath(expiration_found.lungs, inspiration_found.lungs)
    if collateral_model is not None:
        collateral_model.require_purpose(collateral.PURPOSE)
    if defect_model is not None:
        defect_model.require_purpose(defects.PURPOSE)
    box = _lung_box(expiration_found.lungs, _CROP_MM)
    whole = expiration.geometry
    scan, found = expiration.crop(box), expiration_found.crop(box)
    other_box = _lung_box(inspiration_found.lungs, _CROP_MM)
    other, other_found = inspiration.crop(other_box), inspiration_found.crop(other_box)
    lobes = _lobes_of_both(found, other_found)

    if transform is not None:
        registration = registration_from_field(
            transform, found.lungs, other.geometry, volume=volume_transform
        )
    else:
        registration = remembered(
            register_lungs,
            scan,
            other,
            found.lungs,
            other_found.lungs,
            lobes=lobes if options.slide_lobes else None,
            landmarks=landmarks,
            progress=part(progress, 0.0, 0.55),
        )
    transforms = {
        TRANSFORM: displacement_to_sitk(registration.combined(_FIELD_MM)),
        VOLUME_TRANSFORM: displacement_to_sitk(registration.combined(_FIELD_MM, kind="volume")),
        INVERSE: displacement_to_sitk(_way_back(registration, other_found.lungs)),
    }
    calibration = compare_calibration(
        expiration, inspiration, expiration_found.lungs, inspiration_found.lungs
    )
    near = _lung_box(found.lungs, _MAP_MM)
    scan, found, registration = scan.crop(near), found.crop(near), registration.crop(near)
    box = _inner(box, near)
    lobes = _lobes_of_both(found, other_found)
    if lobes is None and (transferred := _lobes_from(other_found, registration)) is not None:
        regions = RegionSet(
            (found.regions.partitions[0], transferred, *found.regions.partitions[1:]),
            {k: v for k, v in found.regions.absent.items() if k not in LOBES},
        )
        found = replace(found, regions=regions)
        lobes = _lobes_of_both(found, other_found)
    progress(0.55, "bringing both breaths together")
    pair = pair_breaths(
        scan,
        other,
        registration,
        found.lungs,
        other_found.lungs,
        lobes=lobes,
        vessels=None if found.vessels is None else found.vessels.mask(VESSELS),
        calibration=calibration,
    )
    progress(0.58, "checking the registration")
    gates = (
        *registration_gates(registration, pair, other_found.lungs, landmarks=landmarks),
        calibration.gate(),
        *_gates_of(expiration_found, "expiration"),
        *_gates_of(inspiration_found, "inspiration"),
    )
    progress(0.6, "mapping ventilation and perfusion")
    ventilation = map_ventilation(pair, method=options.ventilation)
    perfusion = map_perfusion(pair, weights=options.perfusion or WEIGHTS)
    limits = options.thresholds
    inside, known = pair.mask, perfusion.known
    classes = classify(ventilation, perfusion.combined, known, pair.geometry, thresholds=limits)
    measurements = measure_vq(
        pair,
        ventilation,
        perfusion.combined,
        classes,
        found.regions,
        ventilation_method=options.ventilation,
        perfusion_method=_surrogate_text(perfusion),
        thresholds=limits,
        progress=part(progress, 0.65, 0.75),
    )
    measurements = _by_region(
        *measurements,
        *measure_inspiration(other, _inspiratory_regions(found.regions, other_found, registration)),
    )
    measurements = follow_gates(measurements, gates)
    progress(0.75, "looking for perfusion defects")
    candidates, candidate_labels = find_defects(
        pair, ventilation, perfusion.combined, found.regions, model=defect_model or SHIPPED_MODEL
    )
    boundaries = assess_boundaries(
        pair,
        registration,
        ventilation,
        perfusion.combined,
        found.regions,
        fissures=_fissures(inspiration_found) or _fissures(expiration_found),
        model=collateral_model,
    )
    flag, targets = flag_surgery(measurements), rank_targets(measurements)
    fitted = "of the given model" if defect_model else "uncalibrated: fitted to phantoms"
    decisions = measure_decisions(flag, targets, candidates, calibration=fitted)
    rows = sensitivity(ventilation, perfusion.combined, known, pair.geometry)
    compared: tuple[RegionComparison, ...] = ()
    if reference is not None:
        chosen = ventilation if reference_kind == "ventilation" else perfusion.combined
        compared = compare_with_reference(chosen, reference, found.regions, known)

    relative = {
        "ventilation": relative_to_mean(ventilation, inside),
        "perfusion": perfusion.combined,
    }
    tables = {
        "threshold_sensitivity": sensitivity_table(rows),
        "perfusion_defect_candidates": candidate_table(candidates),
        "collateral_ventilation": boundary_table(boundaries),
        "target_lobes": target_table(targets),
    }
    if compared:
        tables["reference_comparison"] = comparison_table(compared)
        tables["reference_agreement"] = agreement_table(agree_by_partition(compared))
    if ratings:
        tables["zone_ratings"] = rating_table(measurements, ratings)
    if options.healthy is not None:
        tables["healthy_bins"] = bin_table(
            {
                name: {
                    region.value: bin_shares(values, found.regions.mask(region) & seen, bins)
                    for region in found.regions.names
                }
                for name, values, seen, bins in (
                    ("ventilation", relative["ventilation"], inside, options.healthy.ventilation),
                    ("perfusion", relative["perfusion"], known, options.healthy.perfusion),
                )
            }
        )
    sections: list[Section] = []
    if pictures:
        sections += vq_sections(
            scan,
            found.lungs,
            _map(relative["ventilation"], inside, pair.geometry, "1"),
            _map(relative["perfusion"], known, pair.geometry, "1"),
            classes,
            measurements,
            rows,
            limits=limits,
            progress=part(progress, 0.85, 0.98),
        )
        sections.append(
            candidate_section(
                candidates,
                candidate_labels,
                found.lungs,
                tables["perfusion_defect_candidates"],
                calibration=fitted,
            )
        )
        planning = boundary_section(boundaries, targets, flag.sentence)
        sections += [planning] if planning else []
        if compared:
            sections.append(comparison_section(compared, reference_kind))
        sections.append(
            remarks(perfusion, measurements, tuple(registration.missing.values()), ratings or {})
        )
    ratio = relative["ventilation"] / np.maximum(relative["perfusion"], 0.05)
    maps = {
        "ventilation": _map(ventilation, inside, pair.geometry, "mL/mL"),
        "specific_ventilation": _map(
            map_specific_ventilation(pair), inside, pair.geometry, "mL/mL"
        ),
        "perfusion": _map(perfusion.combined, known, pair.geometry, "1"),
        "vq_ratio": _map(ratio, known, pair.geometry, "1"),
        "jacobian": _map(pair.jacobian, inside, pair.geometry, "mL/mL"),
        "inspiration_on_expiration": _map(
            pair.inspiration_hu, inside, pair.geometry, "HU", fill=-1000
        ),
    }
    labelmaps = {**found.labelmaps, "vq_classes": classes, "prm": classify_prm(pair)}
    if candidates:
        labelmaps["perfusion_defects"] = Labelmap(
            candidate_labels,
            pair.geometry,
            {c.number: f"perfusion_defect_{c.number}" for c in candidates},
        )
    if options.grid == "expiration":
        maps = {name: _padded_map(volume, box, whole) for name, volume in maps.items()}
        labelmaps = {name: _padded(labels, box, whole) for name, labels in labelmaps.items()}
    else:
        maps, labelmaps = _at_inspiration(
            maps, labelmaps, scan, registration, inspiration_found.lungs, inspiration
        )
    return Analysis(
        module="ctvq",
        measurements=(*measurements, *decisions),
        gates=gates,
        warnings=(
            *(f"{text} (expiration)" for text in expiration_found.warnings),
            *(f"{text} (inspiration)" for text in inspiration_found.warnings),
            *(f"Not registered: {why}." for why in registration.missing.values()),
        ),
        parameters={
            **options.parameters,
            "perfusion_weights_used": dict(perfusion.weights),
            "perfusion_reliability": dict(perfusion.reliability),
            "inspiratory_hu_error": {
                name: None if math.isnan(value) else value
                for name, value in asdict(pair.calibration).items()
            },
            "volume_factors": pair.volume_factors,
            "registration": "given transform" if transform is not None else "own B-spline",
            "landmarks": 0 if landmarks is None else len(landmarks[0]),
        },
        maps=maps,
        labelmaps=labelmaps,
        transforms=transforms,
        tables=tables,
        sections=tuple(sections),
    )


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
    margin = [int(np.ceil(margin_mm / s)) for s in lungs.geometry.spacing_kji_mm]
    return bounding_box(lungs.mask(*LUNGS), (margin[0], margin[1], margin[2]))


def _inner(outer: Box, box: Box) -> Box:
    """Box in the array that another box, which it lies in, was cut from."""
    k, j, i = (slice(a.start + b.start, a.start + b.stop) for a, b in zip(outer, box, strict=True))
    return k, j, i


def _lobes_of_both(
    expiration: FoundRegions, inspiration: FoundRegions
) -> tuple[Labelmap, Labelmap] | None:
    found = []
    for regions in (expiration.regions, inspiration.regions):
        lobes = [p for p in regions.partitions if set(LOBES) & set(p.names.values())]
        if not lobes:
            return None
        found.append(lobes[0])
    return found[0], found[1]


def _lobes_from(inspiration: FoundRegions, registration: Registration) -> Labelmap | None:
    """Lobes of the inspiratory scan, where fissures show best, at the expiratory voxels."""
    given = [p for p in inspiration.regions.partitions if set(LOBES) & set(p.names.values())]
    if not given:
        return None
    source = given[0]
    labels = np.zeros(registration.geometry.shape, source.array.dtype)
    for lung, fields, mask in registration.each():
        points = voxel_positions(registration.geometry, mask)
        index = source.geometry.ijk_from_ras(points + fields.alignment.at(points)).T[::-1]
        side = inspiration.lungs.mask(lung)
        if not side.any():
            continue
        box = bounding_box(side)
        within = _nearest_label(np.where(side[box], source.array[box], 0))
        labels[mask] = within[
            tuple(
                np.clip(np.rint(axis).astype(int) - start.start, 0, size - 1)
                for axis, start, size in zip(index, box, within.shape, strict=True)
            )
        ]
    return Labelmap(labels, registration.geometry, source.names)


def _by_region(*measurements: Measurement) -> tuple[Measurement, ...]:
    """Order measurements of both scans by region as they come, then as their terms are listed."""
    regions = list(dict.fromkeys(entry.region for entry in measurements))
    measures = [measure.id for measure in VQ_MEASURES]
    return tuple(
        sorted(measurements, key=lambda m: (regions.index(m.region), measures.index(m.measure)))
    )


def _inspiratory_regions(
    expiratory: RegionSet, inspiration: FoundRegions, registration: Registration
) -> RegionSet:
    """Regions of the inspiratory scan; lobes that only the expiratory one has are carried over."""
    own = inspiration.regions
    known = {name for partition in own.partitions for name in partition.names.values()}
    view: InspiratoryView | None = None
    partitions = list(own.partitions)
    for partition in expiratory.partitions:
        if known & set(partition.names.values()):
            continue
        view = view or InspiratoryView.of(registration, inspiration.lungs)
        partitions.append(view.carry_labels(partition))
    absent = {k: v for k, v in expiratory.absent.items() if k not in known}
    return RegionSet(tuple(partitions), absent)


def _nearest_label(labels: NDArray[Any]) -> NDArray[Any]:
    """Give every voxel the label of the nearest labelled one: the surfaces differ by a voxel."""
    if not labels.any():
        return labels
    nearest = ndimage.distance_transform_edt(
        labels == 0, return_distances=False, return_indices=True
    )
    return np.asarray(labels[tuple(nearest)])


def _fissures(found: FoundRegions) -> dict[Boundary, Fissure]:
    """Take what is seen of the fissures, by boundary; nothing where slices are too thick for it."""
    if found.lobes is None or max(found.lungs.geometry.spacing_ijk_mm) > THIN_SLICE_MM:
        return {}
    known = {
        name.removesuffix("_fissure"): Fissure.of(boundary.evidence)
        for name, boundary in found.lobes.boundaries.items()
        if judgeable(boundary)
    }
    return {boundary: known[boundary] for boundary in BOUNDARIES if boundary in known}


def _at_inspiration(
    maps: Mapping[str, Volume],
    labelmaps: Mapping[str, Labelmap],
    scan: Volume,
    registration: Registration,
    lungs: Labelmap,
    inspiration: Volume,
) -> tuple[dict[str, Volume], dict[str, Labelmap]]:
    """Carry maps and labels to the inspiratory grid.

    What is given per expiratory volume becomes per inspiratory volume, so that sums over a region
    stay; ratios and densities of a place stay as they are.
    """
    view = InspiratoryView.of(registration, lungs)
    carried = {
        "ventilation": view.carry_density(maps["ventilation"], maps["jacobian"]),
        "perfusion": view.carry_density(maps["perfusion"], maps["jacobian"]),
        "specific_ventilation": view.carry(maps["specific_ventilation"]),
        "vq_ratio": view.carry(maps["vq_ratio"]),
        "jacobian": view.carry(maps["jacobian"]),
        "expiration_on_inspiration": view.carry(scan),
    }
    seen = view.carry_labels(_known_of(maps["perfusion"])).mask("known")
    for name in ("perfusion", "vq_ratio"):
        q = carried[name]
        carried[name] = Volume(np.where(seen, q.array, 0), q.geometry, q.unit, seen)
    q = carried["perfusion"]
    carried["perfusion"] = q.with_array(relative_to_mean(q.array, seen))
    labels = {name: view.carry_labels(m) for name, m in labelmaps.items() if name != "lungs"}
    inside = Labelmap(np.asarray(lungs.array), inspiration.geometry, lungs.names)
    return carried, {"lungs": inside, **labels}


def _known_of(volume: Volume) -> Labelmap:
    valid = np.ones(volume.array.shape, np.bool_) if volume.valid is None else volume.valid
    return Labelmap(valid.astype(np.uint8), volume.geometry, {1: "known"})


def _way_back(registration: Registration, lungs: Labelmap) -> DisplacementField:
    """Displacement from inspiration to expiration around the inspiratory lungs."""
    coarse = resample_labelmap(lungs, lungs.geometry.with_spacing((_FIELD_MM,) * 3))
    return InspiratoryView.of(registration, coarse).field()


def _gates_of(found: FoundRegions, state: str) -> tuple[Gate, ...]:
    """Gates of one scan; an expiratory one is not asked to look inspiratory."""
    return tuple(
        replace(gate, id=f"{state}_{gate.id}", message=f"{gate.message} ({state})")
        for gate in found.gates
        if (gate.id, state) != ("inspiration", "expiration")
    )


def _surrogate_text(perfusion: Perfusion) -> str:
    return "CT surrogate: " + ", ".join(
        f"{name.replace('_', ' ')} {weight:.2f}" for name, weight in perfusion.weights.items()
    )


def _map(
    values: NDArray[Any], inside: Mask, geometry: Geometry, unit: str, fill: float = 0.0
) -> Volume:
    return Volume(np.where(inside, values, fill).astype(np.float32), geometry, unit, inside)


def _padded_map(volume: Volume, box: Box, whole: Geometry) -> Volume:
    fill = -1000 if volume.unit == "HU" else 0
    array = np.full(whole.shape, fill, volume.array.dtype)
    array[box] = volume.array
    valid = np.zeros(whole.shape, np.bool_)
    valid[box] = True if volume.valid is None else volume.valid
    return Volume(array, whole, volume.unit, valid)


def _padded(labels: Labelmap, box: Box, whole: Geometry) -> Labelmap:
    array = np.zeros(whole.shape, labels.array.dtype)
    array[box] = labels.array
    return Labelmap(array, whole, labels.names)
