"""Blood volume of the lung's vessels by their cross-section."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.acquisition import Acquisition
from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.analysis.stages import remembered
from lungperfusion.blood import (
    BloodDensity,
    blood_density_of_cores,
    blood_density_of_label,
    find_blood_density,
    given_blood_density,
)
from lungperfusion.errors import InputError
from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.orientation import as_stored, axial
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.quality import Gate
from lungperfusion.resampling import labels_on
from lungperfusion.results.analysis import Analysis, Table
from lungperfusion.results.section import Section
from lungperfusion.results.vessel_sections import FINE_EDGES_MM2, vessel_labelmap, vessel_sections
from lungperfusion.terms import Region, title
from lungperfusion.terms.vessels import OTHER_METHODS
from lungperfusion.verdicts import follow_gates
from lungperfusion.vessels.blood_volume import (
    Method,
    blood_sample,
    measure_blood_volume,
    refuse_blood_volume,
    volume_by_area,
)
from lungperfusion.vessels.correction import correct_vessels
from lungperfusion.vessels.detection import VesselMap, find_vessels, segment_classes
from lungperfusion.vessels.harmonisation import harmonised
from lungperfusion.vessels.oxygen import BloodGas, measure_oxygen
from lungperfusion.vessels.published import (
    PUBLISHED_COLUMNS,
    compare_with_published,
    letter_z_scores,
)
from lungperfusion.vessels.quality import (
    LEAST_SPREAD_MM,
    core_radius_mm,
    point_spread_mm,
    slice_gate,
    vessel_gates,
)
from lungperfusion.volume import Geometry, Labelmap, Volume

ARTERIES, VEINS = "lung_arteries", "lung_veins"
"""Labels that split every measure, named as TotalSegmentator does."""
BLOOD_LABELS = ("heart", "aorta", "pulmonary_artery", "blood")
"""Labels in which the density of blood is measured."""

SEGMENT_COLUMNS = (
    "segment",
    "region",
    "length_mm",
    "cross_section_mm2",
    "blood_ml",
    "r_mm",
    "a_mm",
    "s_mm",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class VesselOptions:
    """Settings of the vessel analysis."""

    blood_hu: float | None = None
    """Density of blood; None measures it."""
    compare_methods: bool = False
    """Whether to add the two published estimators of cross-section."""
    body_surface_m2: float | None = None
    harmonise_to_mm: float | None = None
    """Point spread to smooth the scan to; None leaves it as it is."""
    edges_mm2: tuple[float, ...] = FINE_EDGES_MM2
    """Borders of the distribution that is listed."""
    gas: BloodGas = field(default_factory=BloodGas)

    @property
    def methods(self) -> tuple[Method, ...]:
        """Estimators of cross-section."""
        return ("integral", *OTHER_METHODS) if self.compare_methods else ("integral",)  # type: ignore[return-value]

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings for results.json."""
        return {
            "methods": list(self.methods),
            "body_surface_m2": self.body_surface_m2,
            "harmonise_to_mm": self.harmonise_to_mm,
            "edges_mm2": [edge if math.isfinite(edge) else "inf" for edge in self.edges_mm2],
        }


DEFAULT_OPTIONS = VesselOptions()


def analyse_vesselbv(
    ct: Volume,
    found: FoundRegions,
    *,
    acquisition: Acquisition | None = None,
    options: VesselOptions = DEFAULT_OPTIONS,
    arteries_and_veins: Labelmap | None = None,
    blood: Labelmap | None = None,
    pictures: bool = True,
    progress: Progress = ignore,
) -> Analysis:
    """Measure the blood in the vessels of the lungs by their cross-section.

    Everything is turned to axial order first, and the label maps back at the end: the order in
    which a file stores its axes changes no number.

    Parameters
    ----------
    ct
        Chest CT in HU.
    found
        Its lungs and regions.  Vessels among them are corrections: what they lack is taken out,
        what they add is looked at.
    acquisition
        Technical facts for the quality gates.
    options
        Settings.
    arteries_and_veins
        Labels ``lung_arteries`` and ``lung_veins``, which split every measure; nothing is guessed
        without them.
    blood
        Labels of blood (``heart``, ``aorta``, ``pulmonary_artery`` or ``blood``) to measure its
        density in.
    pictures
        Whether to draw for the report; needs matplotlib.

    """
    stored = ct.geometry
    ct, found = axial(ct), found.axial()
    thickness = slice_gate(ct.geometry, acquisition)
    if thickness.verdict == "fail":
        return _refused(found, thickness, options, stored)
    classes, notes = _on_grid(arteries_and_veins, ct, "of arteries and veins")
    blood, more = _on_grid(blood, ct, "of blood")
    mapped = _map_vessels(ct, found, options, classes, blood, part(progress, 0.0, 0.7))
    mapped, tables, warnings = _corrected(mapped, found)
    progress(0.7, "summing blood volumes")
    vessel_map, density = mapped.vessel_map, mapped.density
    gates = (
        thickness,
        *vessel_gates(vessel_map, density, acquisition, cores=mapped.cores),
        *found.gates,
    )
    volumes = follow_gates(_volumes(mapped, found, options), gates)
    whole = {row.measure: row.value for row in volumes if row.region == Region.LUNGS}
    method = f"this project's integral{mapped.note}"
    labels = vessel_labelmap(vessel_map, ct)
    sections: tuple[Section, ...] = ()
    if pictures:
        fine = volume_by_area(blood_sample(vessel_map), FINE_EDGES_MM2)
        sections = vessel_sections(
            ct, found.lungs, labels, volumes, fine, progress=part(progress, 0.75, 1.0)
        )
    return Analysis(
        module="vesselbv",
        measurements=(
            *volumes,
            *letter_z_scores(whole["bv5_letter_share"], method),
            *_scan_rows(vessel_map, density),
            *measure_oxygen(options.gas),
        ),
        gates=gates,
        warnings=(*found.warnings, *notes, *more, *warnings),
        parameters={**found.parameters, **options.parameters, **mapped.parameters},
        labelmaps=_as_stored({**found.labelmaps, "vessels": labels}, stored),
        tables={
            "vessels": Table(SEGMENT_COLUMNS, _segment_rows(vessel_map, found), "tbv"),
            "distribution": _distribution_table(vessel_map, found, options.edges_mm2),
            "published": Table(PUBLISHED_COLUMNS, compare_with_published(whole), "bv5_share"),
            **tables,
        },
        sections=sections,
    )


def _refused(
    found: FoundRegions, thickness: Gate, options: VesselOptions, stored: Geometry
) -> Analysis:
    """Results of a scan whose slices are too thick for any vessel."""
    reason = thickness.message.rstrip(".")
    return Analysis(
        module="vesselbv",
        measurements=(
            *refuse_blood_volume(found.regions, reason),
            *measure_oxygen(options.gas),
        ),
        gates=(thickness, *found.gates),
        warnings=found.warnings,
        parameters={**found.parameters, **options.parameters},
        labelmaps=_as_stored(found.labelmaps, stored),
    )


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class _MappedVessels:
    """Vessels of one scan with the densities of blood that they were measured with."""

    ct: Volume
    """The scan they were measured in: as given, or harmonised."""
    vessel_map: VesselMap
    density: BloodDensity
    cores: BloodDensity | None
    """Density in the middle of the widest vessels."""
    classes: Labelmap | None
    """Arteries and veins."""
    class_hu: Mapping[str, float]
    note: str
    """What the method of every volume says besides."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Densities of blood for results.json."""
        return {
            "blood_hu": round(self.density.hu, 2),
            "blood_source": self.density.source,
            "class_blood_hu": {name: round(value, 2) for name, value in self.class_hu.items()},
        }


def _map_vessels(
    ct: Volume,
    found: FoundRegions,
    options: VesselOptions,
    classes: Labelmap | None,
    blood: Labelmap | None,
    progress: Progress,
) -> _MappedVessels:
    """Find the vessels: again where their own cores tell the blood, or a softer scan is asked."""
    density = _blood_density(ct, found.lungs, options, blood)
    class_hu, class_words = _class_densities(ct, classes)

    def vessels_of(scan: Volume, steps: Progress) -> VesselMap:
        return remembered(
            find_vessels,
            scan,
            found.lungs,
            blood_hu=density.hu,
            class_blood_hu=class_hu,
            classes=classes,
            progress=steps,
        )

    vessel_map = vessels_of(ct, progress)
    cores = _cores(vessel_map, ct)
    if density.source == "default" and cores is not None:
        density = cores
        vessel_map = vessels_of(ct, ignore)
    note = f"; blood {density.words}{class_words}"
    if options.harmonise_to_mm is not None:
        ct, words = _harmonised(ct, vessel_map, options.harmonise_to_mm)
        note += words
        vessel_map = vessels_of(ct, ignore)
    return _MappedVessels(
        ct=ct,
        vessel_map=vessel_map,
        density=density,
        cores=cores,
        classes=classes,
        class_hu=class_hu,
        note=note,
    )


def _corrected(
    mapped: _MappedVessels, found: FoundRegions
) -> tuple[_MappedVessels, dict[str, Table], tuple[str, ...]]:
    """Vessels with a reader's corrections, if there are any, their table and warnings."""
    if found.vessels is None:
        return mapped, {}, ()
    correction = correct_vessels(mapped.vessel_map, mapped.ct, found.vessels)
    return (
        replace(mapped, vessel_map=correction.vessel_map),
        {"corrected_vessels": Table(correction.columns, correction.rows)},
        tuple(correction.warnings),
    )


def _volumes(
    mapped: _MappedVessels, found: FoundRegions, options: VesselOptions
) -> tuple[Measurement, ...]:
    return measure_blood_volume(
        mapped.vessel_map,
        found.regions,
        methods=options.methods,
        body_surface_m2=options.body_surface_m2,
        point_class=_point_classes(mapped.vessel_map, mapped.classes),
        note=mapped.note,
    )


def _as_stored(labelmaps: Mapping[str, Labelmap], stored: Geometry) -> dict[str, Labelmap]:
    """Label maps in the order in which the file stores its axes."""
    return {name: as_stored(labels, stored) for name, labels in labelmaps.items()}


def _blood_density(
    ct: Volume, lungs: Labelmap, options: VesselOptions, labels: Labelmap | None
) -> BloodDensity:
    if options.blood_hu is not None:
        return given_blood_density(options.blood_hu)
    if labels is not None:
        names = tuple(name for name in labels.names.values() if name in BLOOD_LABELS)
        found = blood_density_of_label(ct, labels, *names) if names else None
        if found is None:
            raise InputError(
                f"the blood label map needs at least 0.2 mL labelled {', '.join(BLOOD_LABELS)}; "
                f"it has {sorted(labels.names.values())}"
            )
        return found
    return find_blood_density(ct, lungs)


def _cores(vessel_map: VesselMap, ct: Volume) -> BloodDensity | None:
    """Density in the middle of the widest vessels."""
    radius = core_radius_mm(ct.geometry)
    wide = vessel_map.measured.area_mm2 >= math.pi * radius**2
    length = float(vessel_map.vessels.point_length_mm[wide].sum())
    return blood_density_of_cores(vessel_map.core_hu(ct.array, radius), length)


def _harmonised(ct: Volume, vessel_map: VesselMap, to_mm: float) -> tuple[Volume, str]:
    """Scan at the point spread wanted, and words on it for the method."""
    spread = point_spread_mm(vessel_map)
    if spread is None:
        raise InputError(
            "the scan cannot be harmonised: it shows too few thin vessels to see how sharp it is"
        )
    return harmonised(ct, spread, to_mm), f"; point spread {spread:.2f} smoothed to {to_mm:g} mm"


def _on_grid(
    labels: Labelmap | None, ct: Volume, name: str
) -> tuple[Labelmap | None, tuple[str, ...]]:
    """Given labels on the grid of the CT, with what is to be said of it."""
    return (None, ()) if labels is None else labels_on(axial(labels), ct.geometry, name)


def _class_densities(ct: Volume, classes: Labelmap | None) -> tuple[dict[str, float], str]:
    """Densities of arterial and venous blood, in the cores of the widest labelled vessels."""
    if classes is None:
        return {}, ""
    names = [name for name in (ARTERIES, VEINS) if name in classes.names.values()]
    if not names:
        raise InputError(
            f"the artery and vein label map needs labels {ARTERIES} and {VEINS}; it has "
            f"{sorted(classes.names.values())}"
        )
    densities: dict[str, float] = {}
    for name in names:
        found = blood_density_of_label(ct, classes, name)
        if found is not None:
            densities[name] = found.hu
    words = "".join(f"; {title(name).lower()} {value:.0f} HU" for name, value in densities.items())
    return densities, words


def _point_classes(vessel_map: VesselMap, classes: Labelmap | None) -> NDArray[Any] | None:
    """``"arterial"`` or ``"venous"`` per axis point, or None without a label map."""
    if classes is None:
        return None
    names = segment_classes(vessel_map.vessels, vessel_map.geometry, classes, vessel_map.box)
    words = {ARTERIES: "arterial", VEINS: "venous"}
    sides = np.array([words.get(name, "") for name in names] or [""])
    return np.asarray(sides[vessel_map.vessels.segment])


def _segment_rows(vessel_map: VesselMap, found: FoundRegions) -> tuple[dict[str, Any], ...]:
    """One row per vessel segment, the ones with most blood first."""
    vessels = vessel_map.vessels
    if not vessels.count:
        return ()
    counts = np.bincount(vessels.segment, minlength=vessels.count)
    area = np.bincount(vessels.segment, weights=vessel_map.measured.area_mm2) / counts
    blood = np.bincount(vessels.segment, weights=vessel_map.measured.volume_ml)
    middle = (vessels.first + vessels.last + 1) // 2
    ras = vessel_map.axis_ras_mm[middle]
    voxel = np.rint(vessels.position_mm[middle] / np.asarray(vessel_map.geometry.spacing_kji_mm))
    voxel = np.clip(voxel.astype(int), 0, np.asarray(vessel_map.geometry.shape) - 1)
    where = np.full(vessels.count, "", dtype=object)
    for partition in found.regions.partitions[:2]:
        values = partition.array[vessel_map.box][tuple(voxel.T)]
        for value, name in partition.names.items():
            where[values == value] = name
    order = np.lexsort((np.arange(vessels.count), -blood))
    return tuple(
        {
            "segment": int(n) + 1,
            "region": str(where[n]),
            "length_mm": float(vessels.segment_length_mm[n]),
            "cross_section_mm2": float(area[n]),
            "blood_ml": float(blood[n]),
            "r_mm": float(ras[n, 0]),
            "a_mm": float(ras[n, 1]),
            "s_mm": float(ras[n, 2]),
        }
        for n in order
    )


def _distribution_table(
    vessel_map: VesselMap, found: FoundRegions, edges: tuple[float, ...]
) -> Table:
    """Blood between successive cross-sections in every region."""
    sample = blood_sample(vessel_map)
    rows = []
    for region in found.regions.names:
        inside = found.regions.mask(region)[vessel_map.box].ravel()
        if not inside.any():
            continue
        chosen = inside[sample.index]
        part_ml = volume_by_area(
            type(sample)(
                sample.area_mm2[chosen],
                sample.volume_ml[chosen],
                sample.index[chosen],
                sample.point[chosen],
            ),
            edges,
        )
        rows += [
            {
                "region": region.value,
                "from_mm2": float(low),
                "to_mm2": math.inf if math.isinf(high) else float(high),
                "blood_ml": float(volume),
            }
            for low, high, volume in zip(edges[:-1], edges[1:], part_ml, strict=True)
        ]
    return Table(("region", "from_mm2", "to_mm2", "blood_ml"), tuple(rows), "tbv")


def _scan_rows(vessel_map: VesselMap, density: BloodDensity) -> tuple[Measurement, ...]:
    """Rows on what the volumes rest on, and what was left out."""
    region = Region.LUNGS
    lung = "lung outside the vessels' reach"
    rows = [
        measured(region, "blood_density", density.hu, density.words),
        measured(
            region,
            "vessel_background",
            float(np.median(vessel_map.background.coarse_hu)),
            lung,
        ),
        measured(region, "vessel_noise", vessel_map.noise_hu, lung),
    ]
    vessels = vessel_map.vessels
    if vessels.size:
        order = np.argsort(vessel_map.measured.area_mm2, kind="stable")
        along = np.cumsum(vessels.point_length_mm[order])
        smallest = vessel_map.measured.area_mm2[order][
            min(int(np.searchsorted(along, 0.05 * along[-1])), vessels.size - 1)
        ]
        rows.append(
            measured(region, "smallest_cross_section", float(smallest), "5th percentile by length")
        )
    spread = point_spread_mm(vessel_map)
    if spread is not None and spread > LEAST_SPREAD_MM:
        rows.append(measured(region, "point_spread", spread, "vessels of 1 to 6 mm2"))
    elif spread is not None:
        reason = f"at or below the finest that can be measured, {LEAST_SPREAD_MM:.2f} mm"
        rows.append(missing(region, "point_spread", reason))
    for id_, reason in (
        ("excluded_thick_tissue", "thick_tissue"),
        ("excluded_airway_wall", "airway_wall"),
        ("excluded_no_tube", "no_tube"),
        ("excluded_nodule", "nodule"),
    ):
        rows.append(measured(region, id_, vessel_map.excluded_ml[reason], "recognised by shape"))
    return tuple(rows)
