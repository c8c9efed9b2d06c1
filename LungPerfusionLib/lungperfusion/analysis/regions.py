"""From a CT to the regions that measures are summed in; the same options for every analysis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lungperfusion.acquisition import Acquisition
from lungperfusion.analysis.stages import remembered
from lungperfusion.engines import (
    ENGINES,
    EngineLabels,
    find_engine,
    lobe_agreement,
    lung_agreement,
    run_engine,
)
from lungperfusion.engines.catalogue import Task
from lungperfusion.engines.running import TIMEOUT_MIN
from lungperfusion.errors import InputError
from lungperfusion.io import LabelImage, labelmap_of
from lungperfusion.orientation import axial
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.quality import Gate
from lungperfusion.regions import RegionSet
from lungperfusion.resampling import labels_on
from lungperfusion.segmentation.correction import adopt_lobes, correct_lobes
from lungperfusion.segmentation.imports import ImportedRegions, import_regions, import_vessels
from lungperfusion.segmentation.lobe_quality import lobe_gates, tree_gates
from lungperfusion.segmentation.lobes import LobeSegmentation, segment_lobes
from lungperfusion.segmentation.lungs import LungSegmentation, lungs_from_mask, segment_lungs
from lungperfusion.segmentation.vessel_map import find_trees, label_vessels
from lungperfusion.segmentation.zones import (
    DEFAULT_ZONE_RULE,
    RIM_MM,
    SUBPLEURAL_MM,
    ZoneRule,
    label_halves,
    label_shells,
    label_zones,
)
from lungperfusion.terms import AIRWAYS, LUNGS, Region, title
from lungperfusion.threads import both
from lungperfusion.volume import Box, Geometry, Labelmap, Volume

LobeChoice = LabelImage | Literal["auto", "none"]

NO_POINTS: Mapping[str, NDArray[np.float64]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionOptions:
    """How the lungs are found and divided."""

    lung_mask: LabelImage | None = None
    """External lung or lobe label map to use instead of segmenting."""
    lobes: LobeChoice = "none"
    """``"auto"``: along the visible fissures; a label map of lobes; ``"none"``: no lobes."""
    lung_engine: str | None = None
    """Installed engine that segments the lungs, a key of `engines.ENGINES`."""
    lobe_engine: str | None = None
    """Installed engine that segments the lobes."""
    engine_timeout_min: float = TIMEOUT_MIN
    lobe_convention: str | None = None
    """What the values of a plain lobe label map mean, a key of `imports.CONVENTIONS`."""
    fissure_points_mm: Mapping[str, NDArray[np.float64]] = field(default_factory=lambda: NO_POINTS)
    """Points in RAS mm, by fissure ID, that lobe boundaries are moved through."""
    removed_lobes: tuple[Region, ...] = ()
    """Lobes that an operation has taken."""
    vessels: LabelImage | None = None
    """Vessels found, imported or corrected before."""
    zones: ZoneRule = DEFAULT_ZONE_RULE
    rim_mm: float = RIM_MM
    rim_fraction: float | None = None
    """Outer share of each lung's volume that is rim, instead of a thickness."""
    subpleural_mm: float = SUBPLEURAL_MM

    def axial(self) -> RegionOptions:
        """Turn the given label maps to axial order."""
        return replace(
            self,
            lung_mask=None if self.lung_mask is None else axial(self.lung_mask),
            lobes=axial(self.lobes) if isinstance(self.lobes, LabelImage) else self.lobes,
            vessels=None if self.vessels is None else axial(self.vessels),
        )

    @property
    def sources(self) -> dict[str, LabelImage]:
        """Files that the regions rest on, by role, for provenance."""
        files = {"lung_mask": self.lung_mask, "lobes": self.lobes, "vessel_mask": self.vessels}
        return {role: file for role, file in files.items() if isinstance(file, LabelImage)}

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings for results.json, without any path."""
        out: dict[str, Any] = {
            "lungs": "segmented" if self.lung_mask is None else "external label map",
            "zones": f"thirds of equal {self.zones}",
            "subpleural_mm": self.subpleural_mm,
        }
        if self.rim_fraction is None:
            out["rim_mm"] = self.rim_mm
        else:
            out["rim_fraction"] = self.rim_fraction
        if self.lobes != "none":
            out["lobes"] = "external label map" if isinstance(self.lobes, LabelImage) else "auto"
        for task, name in (("lungs", self.lung_engine), ("lobes", self.lobe_engine)):
            if name:
                out[task] = f"engine {find_engine(name).words}"
        if self.lobe_convention:
            out["lobe_convention"] = self.lobe_convention
        if self.removed_lobes:
            out["removed_lobes"] = [lobe.value for lobe in self.removed_lobes]
        if self.vessels is not None:
            out["vessels"] = "external label map"
        if self.fissure_points_mm:
            out["fissure_points"] = {n: len(p) for n, p in sorted(self.fissure_points_mm.items())}
        return out


SEGMENT_LUNGS = RegionOptions()
"""Segment the lungs and divide them by the default rules, without lobes."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FoundRegions:
    """The regions of one CT and what there is to say about them."""

    lungs: Labelmap
    """``left_lung``, ``right_lung`` and ``airways``."""
    regions: RegionSet
    gates: tuple[Gate, ...]
    warnings: tuple[str, ...]
    lobes: LobeSegmentation | None = None
    """Lobes with their boundaries, if they were asked for."""
    vessels: Labelmap | None = None
    """``vessels``, if they were given or asked for."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """How they were found, for results.json."""

    def axial(self) -> FoundRegions:
        """Turn all label maps to axial order."""
        partitions = tuple(axial(partition) for partition in self.regions.partitions)
        return replace(
            self,
            lungs=axial(self.lungs),
            regions=RegionSet(partitions, self.regions.absent),
            vessels=None if self.vessels is None else axial(self.vessels),
        )

    def crop(self, box: Box) -> FoundRegions:
        """Copy all label maps within a box, so that the whole ones can be forgotten.

        Working data of the lobes, which only corrections need, are left behind.
        """
        partitions = tuple(_copied(partition, box) for partition in self.regions.partitions)
        regions = RegionSet(partitions, self.regions.absent)
        first, lobes = self.regions.partitions[0], self.lobes
        if lobes is not None and regions.lobes is not None:
            lobes = replace(lobes, labelmap=regions.lobes, prepared={})
        return replace(
            self,
            lungs=partitions[0] if first is self.lungs else _copied(self.lungs, box),
            regions=regions,
            vessels=None if self.vessels is None else _copied(self.vessels, box),
            lobes=lobes,
        )

    @property
    def labelmaps(self) -> dict[str, Labelmap]:
        """Lungs, and lobes if there are any, to write beside the results."""
        lobes = self.regions.lobes
        return {"lungs": self.lungs} if lobes is None else {"lungs": self.lungs, "lobes": lobes}


def find_regions(
    ct: Volume,
    options: RegionOptions = SEGMENT_LUNGS,
    *,
    vessels: bool = False,
    acquisition: Acquisition | None = None,
    progress: Progress = ignore,
) -> FoundRegions:
    """Find the lungs, or take the given ones, and divide them into lobes, zones and shells.

    Parameters
    ----------
    ct
        Chest CT in HU.
    options
        External label maps and rules of division.
    vessels
        Whether vessels are looked for where none are given.
    acquisition
        Technical facts for the quality gates.

    """
    given = None
    drawn = _drawn_by_engines(ct, options, part(progress, 0.0, 0.4))
    if drawn:
        progress = part(progress, 0.4, 1.0)
    if isinstance(options.lobes, LabelImage):
        given = _given_lobes(options.lobes, options.lobe_convention, ct.geometry)
    elif "lobes" in drawn:
        given = _given_lobes(drawn["lobes"].image, drawn["lobes"].convention, ct.geometry)
    asked = options.lobes != "none"
    share = part(progress, 0.0, 0.3 if asked else 0.85)
    if "lungs" in drawn:
        lungs = _lungs_of_engine(ct, drawn["lungs"], acquisition, share)
    else:
        lungs = _lungs(ct, options, given, acquisition, share)
    lobes, warnings = None, list(lungs.warnings)
    agreement: tuple[Gate, ...] = ()
    vessel_map = None
    if options.vessels is not None:
        vessel_map, notes = import_vessels(options.vessels, ct.geometry)
        warnings += notes
    if asked:
        lobes = _lobes(ct, lungs.labelmap, vessel_map, options, given, part(progress, 0.3, 0.8))
        warnings += _lobe_warnings(lobes, lungs.labelmap)
    if given is not None:
        source = drawn["lobes"].words if "lobes" in drawn else "the file"
        if lobes is not None and "lobes" in drawn:
            own = segment_lobes(ct, lungs.labelmap, vessels=vessel_map, carry_out=remembered)
            agreement = (lobe_agreement(own.labelmap, lobes.labelmap, source),)
        warnings += [*given.notes, f"Lobes were taken from {source} by {given.how}."]
    progress(0.8, "vessels and zones" if vessels else "dividing the lungs into zones")
    divided = partial(_zones_and_shells, lungs.labelmap, options)
    if vessels and vessel_map is None:
        vessel_map, zones = both(partial(_vessels, ct, lungs.labelmap, lobes), divided)
    else:
        zones = divided()
    partitions = [lungs.labelmap, *zones]
    if lobes is not None:
        partitions.insert(1, lobes.labelmap)
    return FoundRegions(
        lungs=lungs.labelmap,
        regions=RegionSet(tuple(partitions), {} if lobes is None else lobes.absent),
        gates=(
            *lungs.gates,
            *(() if lobes is None else (*lobe_gates(lobes), *tree_gates(lobes))),
            *agreement,
        ),
        warnings=tuple(warnings),
        lobes=lobes,
        vessels=vessel_map,
        parameters=options.parameters,
    )


def _given_lobes(image: LabelImage, convention: str | None, grid: Geometry) -> ImportedRegions:
    given = import_regions(image, convention=convention, target=grid)
    if given.lobes is None:
        names = ", ".join(title(n) for p in given.partitions.values() for n in p.names.values())
        raise InputError(
            f"lobes were expected in {image.name}, but it holds {names} only; "
            "use it as --lung-mask, or let --lobes auto find the lobes"
        )
    return given


def _drawn_by_engines(
    ct: Volume, options: RegionOptions, progress: Progress
) -> dict[Task, EngineLabels]:
    """Let the chosen engines draw; one that draws lobes for both tasks runs once."""
    tasks: tuple[tuple[Task, str | None], ...] = (
        ("lobes", options.lobe_engine if options.lobes == "auto" else None),
        ("lungs", options.lung_engine if options.lung_mask is None else None),
    )
    drawn: dict[Task, EngineLabels] = {}
    jobs = {task: ENGINES[name].jobs[task] for task, name in tasks if name}
    for task, name in tasks:
        if not name:
            continue
        if task == "lungs" and jobs["lungs"] is jobs.get("lobes"):
            drawn[task] = drawn["lobes"]
            continue
        drawn[task] = remembered(
            run_engine,
            ct,
            name,
            task,
            timeout_min=options.engine_timeout_min,
            progress=progress if len(jobs) == 1 else part(progress, len(drawn) / 2, 1.0),
        )
    return drawn


def _lungs_of_engine(
    ct: Volume, drawn: EngineLabels, acquisition: Acquisition | None, progress: Progress
) -> LungSegmentation:
    """Lungs as an engine drew them, without the airways that this program can follow."""
    found = import_regions(drawn.image, convention=drawn.convention, target=ct.geometry)
    mask = found.lobes if found.lobes is not None else found.lungs
    if mask is None:
        raise InputError(f"{drawn.words} gave no lungs; leave out the engine")
    own = remembered(segment_lungs, ct, acquisition=acquisition, progress=progress)
    mask = _with_airways(mask, own.labelmap)
    lungs = remembered(lungs_from_mask, ct, mask, acquisition=acquisition)
    return replace(
        lungs,
        gates=(*lungs.gates, lung_agreement(own.labelmap, lungs.labelmap, drawn.words)),
        warnings=(*lungs.warnings, f"Lungs were drawn by {drawn.words}."),
    )


def _lungs(
    ct: Volume,
    options: RegionOptions,
    given: ImportedRegions | None,
    acquisition: Acquisition | None,
    progress: Progress,
) -> LungSegmentation:
    if options.lung_mask is not None:
        progress(0.0, "taking the given lungs")
        given_mask = labelmap_of(options.lung_mask)
        mask, warnings = labels_on(given_mask, ct.geometry, options.lung_mask.name)
        lungs = remembered(lungs_from_mask, ct, mask, acquisition=acquisition)
        return replace(lungs, warnings=(*warnings, *lungs.warnings))
    if given is not None and given.lobes is not None:
        progress(0.0, "taking the lungs of the given lobes")
        mask = _with_airways(given.lobes, given.lungs)
        return remembered(lungs_from_mask, ct, mask, acquisition=acquisition)
    return remembered(segment_lungs, ct, acquisition=acquisition, progress=progress)


def with_own_airways(
    ct: Volume, lungs: Labelmap, acquisition: Acquisition | None, progress: Progress
) -> Labelmap:
    """Add the airways that this program finds to given lungs that come without."""
    if lungs.mask(AIRWAYS).any():
        return lungs
    try:
        own = remembered(segment_lungs, ct, acquisition=acquisition, progress=progress).labelmap
    except InputError:  # given lungs may be measured where none are found
        return lungs
    value = max(lungs.names) + 1
    names = {label: name for label, name in lungs.names.items() if name != AIRWAYS}
    array = np.where(own.mask(AIRWAYS) & (lungs.array == 0), value, lungs.array)
    return Labelmap(array.astype(np.uint8), lungs.geometry, {**names, value: AIRWAYS})


def _with_airways(lobes: Labelmap, lungs: Labelmap | None) -> Labelmap:
    """Lobes, and the airways of the same file, which belong to none."""
    if lungs is None or AIRWAYS not in lungs.names.values():
        return lobes
    (value,) = (label for label, name in lungs.names.items() if name == AIRWAYS)
    array = lobes.array.copy()
    array[lungs.mask(AIRWAYS)] = value
    return Labelmap(array, lobes.geometry, {**lobes.names, value: AIRWAYS})


def _lobes(
    ct: Volume,
    lungs: Labelmap,
    vessels: Labelmap | None,
    options: RegionOptions,
    given: ImportedRegions | None,
    progress: Progress,
) -> LobeSegmentation:
    first = part(progress, 0.0, 0.9)
    if given is not None and given.lobes is not None:
        lobes = adopt_lobes(
            ct, lungs, given.lobes, vessels=vessels, carry_out=remembered, progress=first
        )
    else:
        lobes = segment_lobes(
            ct,
            lungs,
            vessels=vessels,
            removed=options.removed_lobes,
            carry_out=remembered,
            progress=first,
        )
    if not options.fissure_points_mm:
        return lobes
    return correct_lobes(lobes, lungs, options.fissure_points_mm, progress=part(progress, 0.9, 1.0))


def _vessels(ct: Volume, lungs: Labelmap, lobes: LobeSegmentation | None) -> Labelmap:
    """Vessels that the lobes were found by; the same ones, where there are no lobes."""
    known = {} if lobes is None else {side: lung.tree for side, lung in lobes.prepared.items()}
    others = tuple(Region(s) for s in LUNGS if s not in known and lungs.mask(s).any())
    return label_vessels(known | remembered(find_trees, ct, lungs, others), lungs)


def _copied(labelmap: Labelmap, box: Box) -> Labelmap:
    return Labelmap(labelmap.array[box].copy(), labelmap.geometry.crop(box), labelmap.names)


def _zones_and_shells(lungs: Labelmap, options: RegionOptions) -> tuple[Labelmap, ...]:
    slabs, shells = both(
        lambda: (
            remembered(label_zones, lungs, rule=options.zones),
            remembered(label_halves, lungs),
        ),
        lambda: remembered(
            label_shells,
            lungs,
            rim_mm=options.rim_mm,
            rim_fraction=options.rim_fraction,
            subpleural_mm=options.subpleural_mm,
        ),
    )
    return (*slabs, *shells)


def _lobe_warnings(lobes: LobeSegmentation, lungs: Labelmap) -> list[str]:
    lung = lungs.mask(*LUNGS)
    left = float(np.count_nonzero(lung & (lobes.labelmap.array == 0)))
    left *= lungs.geometry.voxel_volume_ml
    out = [f"{title(lobe)} missing: {reason}." for lobe, reason in lobes.absent.items()]
    if left > 1.0:
        out.append(f"{left:.0f} mL of the lungs belong to no lobe of the given label map.")
    return out
