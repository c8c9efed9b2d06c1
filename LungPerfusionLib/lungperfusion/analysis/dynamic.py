"""Dynamic perfusion: from the frames of a first pass to flow, blood volume and findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.acquisition import Acquisition
from lungperfusion.analysis.regions import (
    SEGMENT_LUNGS,
    FoundRegions,
    RegionOptions,
    find_regions,
    with_own_airways,
)
from lungperfusion.analysis.stages import remembered
from lungperfusion.dynamic.findings import (
    FINDING_COLUMNS,
    Findings,
    find_findings,
    finding_labelmap,
    finding_measurements,
    finding_rows,
)
from lungperfusion.dynamic.first_pass import FirstPass
from lungperfusion.dynamic.gates import judge_first_pass
from lungperfusion.dynamic.inputs import WORDS, InputCurve, Inputs, Place, find_inputs
from lungperfusion.dynamic.maps import FlowMaps, flow_maps, map_measurements
from lungperfusion.dynamic.motion import STILL_MM, Aligned, choose_reference, move_frames
from lungperfusion.dynamic.region_flow import Coverage, RegionFlows, measure_regions
from lungperfusion.dynamic.series import (
    FEWEST_FRAMES,
    WORKING_MM,
    Frames,
    block_factors,
    block_mean,
)
from lungperfusion.dynamic.slab import coverage_of, on_grid, volumes_ml
from lungperfusion.errors import InputError
from lungperfusion.labels import LabelImage
from lungperfusion.measurement import Measurement
from lungperfusion.opacity import mark_vessels
from lungperfusion.orientation import axial
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.regions import RegionSet
from lungperfusion.results.analysis import Analysis, Table
from lungperfusion.results.dynamic_sections import dynamic_sections
from lungperfusion.results.section import Section
from lungperfusion.segmentation.imports import import_regions
from lungperfusion.segmentation.zones import label_halves, label_shells, label_zones
from lungperfusion.terms import AIRWAYS, LUNGS
from lungperfusion.verdicts import follow_gates
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume

WHOLE_LUNG_GATES = frozenset(
    {
        *("lung_volume", "truncation", "side_ratio", "inspiration", "contrast", "blood_agreement"),
        *("blood_calibration", "dense_lung", "missed_disease", "kernel", "noise"),
    }
)
"""They judge scans of whole lungs, in full inspiration or without contrast medium."""

LUNG_SHARE = 0.9
"""Of a voxel of 3 mm must lie in the lung and in no vessel."""
BEYOND_SLAB_MM = 5.0
"""A label map that reaches so far beyond the images shows the whole lungs."""

NO_POINTS: Mapping[Place, tuple[float, float, float]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class DynamicOptions:
    """Settings of the dynamic analysis."""

    points_ras_mm: Mapping[Place, tuple[float, float, float]] = field(
        default_factory=lambda: NO_POINTS
    )
    """Points in the inputs that a reader placed."""
    hct_ratio: float = 1.0
    """(1 - haematocrit of large vessels) / (1 - that of small ones); 1 leaves it alone."""
    left_out: tuple[int, ...] = ()
    """Numbers of frames, from 0, that a reader takes out."""

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        if not 0.5 <= self.hct_ratio <= 1.0:
            raise InputError(
                "the ratio of the haematocrits is (1 - large vessels) / (1 - small vessels), 0.5 "
                f"to 1, about 0.83; {self.hct_ratio:g} was given"
            )

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings for results.json."""
        return {
            "hct_ratio": self.hct_ratio,
            "left_out_frames": [number + 1 for number in self.left_out],
            "placed_points": {name: list(at) for name, at in sorted(self.points_ras_mm.items())},
        }


DEFAULT_OPTIONS = DynamicOptions()


@dataclass(frozen=True, eq=False)
class Prepared:
    """A series in one state of breathing with its regions."""

    first_pass: FirstPass
    found: FoundRegions
    ct: Volume
    """Mean of the frames that lie where the reference lies, on their own grid."""
    coverage: Coverage


def analyse_dynamic(
    frames: Frames,
    *,
    regions: RegionOptions = SEGMENT_LUNGS,
    options: DynamicOptions = DEFAULT_OPTIONS,
    acquisition: Acquisition | None = None,
    pictures: bool = True,
    enhancement: bool = False,
    progress: Progress = ignore,
) -> Analysis:
    """Make the whole analysis of one first-pass series.

    Parameters
    ----------
    frames
        As scanned, in axial order.
    regions
        How the lungs are found and divided, in the reference frame.
    options
        Points in the inputs, haematocrits, frames to leave out.
    acquisition
        Technical facts for the quality gates.
    pictures
        Whether to draw for the report; needs matplotlib.
    enhancement
        Whether the enhancement of the aligned frames is a result, for curves at any place.

    """
    options = _checked(options, frames)
    prepared = prepare(frames, regions, options, acquisition, part(progress, 0.0, 0.75))
    first_pass, coverage = prepared.first_pass, prepared.coverage
    flows = measure_regions(first_pass, coverage)
    maps = flow_maps(first_pass, part(progress, 0.75, 0.9))
    findings = find_findings(first_pass, maps)
    gates = (*prepared.found.gates, *judge_first_pass(first_pass.inputs, first_pass.aligned))
    measurements = follow_gates(_measurements(first_pass, coverage, flows, maps, findings), gates)
    progress(0.93, "pictures")
    sections: tuple[Section, ...] = ()
    if pictures:
        flows = replace(flows, measurements=measurements)
        sections = dynamic_sections(prepared.ct, first_pass, flows, maps, findings)
    return Analysis(
        module="dynamic",
        measurements=measurements,
        gates=gates,
        warnings=(*prepared.found.warnings, *_warnings(coverage, options)),
        parameters={
            **prepared.found.parameters,
            **options.parameters,
            **_parameters(first_pass.inputs, first_pass.aligned),
        },
        maps=maps.volumes,
        series={"enhancement": first_pass.enhanced_frames} if enhancement else {},
        labelmaps={
            **prepared.found.labelmaps,
            "flow_findings": finding_labelmap(findings, "100 mL", first_pass.frames.geometry),
            "flow_findings_per_mass": finding_labelmap(
                findings, "100 g", first_pass.frames.geometry
            ),
        },
        tables={
            "curves": _curve_table(first_pass, flows),
            "frames": _frame_table(frames, first_pass.aligned),
            "flow_findings": Table(FINDING_COLUMNS, finding_rows(findings), "flow_deficit_share"),
        },
        sections=sections,
    )


def _checked(options: DynamicOptions, frames: Frames) -> DynamicOptions:
    count = len(frames.array)
    wrong = [str(number + 1) for number in options.left_out if not 0 <= number < count]
    if wrong:
        raise InputError(
            f"there is no frame {', '.join(wrong)} to leave out; the series has frames 1 to {count}"
        )
    left = count - len(set(options.left_out))
    if left < FEWEST_FRAMES:
        raise InputError(
            f"without the frames to leave out {left} of {count} are left, at least "
            f"{FEWEST_FRAMES} are needed; leave out fewer"
        )
    used = [number for number in range(count) if number not in options.left_out]
    for one, next_one in pairwise(used):
        if np.array_equal(frames.array[one], frames.array[next_one]):
            raise InputError(
                f"frames {one + 1} and {next_one + 1} hold the same image, which noise forbids: a "
                f"time point was exported twice; leave one out (--leave-out {next_one + 1}), or "
                "export the series again"
            )
    return options


def prepare(
    frames: Frames,
    regions: RegionOptions = SEGMENT_LUNGS,
    options: DynamicOptions = DEFAULT_OPTIONS,
    acquisition: Acquisition | None = None,
    progress: Progress = ignore,
) -> Prepared:
    """Find the lungs of the reference, bring all frames to it and find the inputs.

    Parameters as in `analyse_dynamic`.
    """
    progress(0.0, "choosing the reference frame")
    small = frames.reduced().at_moments()
    reference = choose_reference(small)
    if reference in options.left_out:  # another frame that is left out changes nothing here
        usable = np.ones(len(frames.array), np.bool_)
        usable[list(options.left_out)] = False
        reference = int(np.flatnonzero(usable)[choose_reference(small.only(usable))])
    found = find_regions(
        frames.frame(reference),
        regions,
        acquisition=acquisition,
        progress=part(progress, 0.05, 0.35),
    )
    if not found.lungs.mask(*LUNGS).any():
        raise InputError("no lung was found in the frames; give the lungs with --lung-mask")
    lungs = on_grid(RegionSet((found.lungs,)), small.geometry).partitions[0]
    moved = remembered(move_frames, small, lungs, reference, progress=part(progress, 0.35, 0.9))
    aligned = moved.used(options.left_out)
    progress(0.9, "input curves and vessels")
    still = aligned.kept & (aligned.before_mm <= STILL_MM)
    ct = Volume(frames.mean(still), frames.geometry, "HU")
    inputs = find_inputs(
        aligned.frames,
        _lungs_to_search(
            frames.frame(reference), found.lungs, small.geometry, options, acquisition
        ),
        options.points_ras_mm,
    )
    lung = _between_vessels(ct, found)
    whole = _whole_lungs(regions, frames.geometry)
    divided = found.regions if whole is None else _divided(found, whole)
    coverage = coverage_of(divided, {} if whole is None else volumes_ml(whole))
    first_pass = FirstPass(
        aligned=aligned,
        inputs=inputs,
        regions=on_grid(divided, small.geometry),
        lung=lung,
        hct_ratio=options.hct_ratio,
    )
    if not first_pass.measurable.any():
        raise InputError(
            "no lung between the vessels is seen in every frame; check the lungs, or leave out "
            "frames with --leave-out"
        )
    gates = tuple(gate for gate in found.gates if gate.id not in WHOLE_LUNG_GATES)
    shown = FoundRegions(
        lungs=found.lungs,
        regions=divided,
        gates=gates,
        warnings=found.warnings,
        lobes=found.lobes,
        parameters=found.parameters,
    )
    progress(1.0, "input curves and vessels")
    return Prepared(first_pass, shown, ct, coverage)


def _lungs_to_search(
    ct: Volume,
    lungs: Labelmap,
    grid: Geometry,
    options: DynamicOptions,
    acquisition: Acquisition | None,
) -> Labelmap:
    """Lungs with the airways that the inputs are sought from, unless points give those inputs.

    Lungs and lobes of other programs come without airways.
    """
    if not {"pulmonary_trunk", "left_atrium"} <= set(options.points_ras_mm):
        lungs = with_own_airways(ct, lungs, acquisition, ignore)
    return on_grid(RegionSet((lungs,)), grid).partitions[0]


def _between_vessels(ct: Volume, found: FoundRegions) -> Mask:
    """Voxels of the working grid that lie in the lung and in no vessel, bronchus or its surface."""
    lungs = found.lungs.mask(*LUNGS)
    inner = lungs & ~remembered(mark_vessels, ct, lungs)
    if found.vessels is not None:
        inner &= ~found.vessels.mask("vessels")
    share = block_mean(inner, block_factors(ct.geometry, WORKING_MM))
    return np.asarray(share >= LUNG_SHARE)


def _whole_lungs(options: RegionOptions, slab: Geometry) -> RegionSet | None:
    """Divide given lungs that reach beyond the images; None where the given ones do not."""
    images = (options.lung_mask, options.lobes)
    image = next((i for i in images if isinstance(i, LabelImage)), None)
    if image is None:
        return None
    image = axial(image)
    height = image.geometry.coordinate_mm("S")
    inside = slab.corners_ras_mm()[:, 2]
    imported = import_regions(image, convention=options.lobe_convention, target=image.geometry)
    mask = imported.lungs if imported.lobes is None else imported.lobes
    if mask is None:
        return None
    shown = height[mask.array > 0]
    beyond = max(inside.min() - shown.min(), shown.max() - inside.max())
    if beyond < BEYOND_SLAB_MM:
        return None
    lungs = imported.lungs or _lungs_of_lobes(mask)
    partitions = [lungs, *([mask] if imported.lobes is not None else [])]
    zones = partial(label_zones, rule=options.zones)
    partitions += [zones(lungs), label_halves(lungs)]
    partitions += label_shells(
        lungs,
        rim_mm=options.rim_mm,
        rim_fraction=options.rim_fraction,
        subpleural_mm=options.subpleural_mm,
    )
    return RegionSet(tuple(partitions))


def _lungs_of_lobes(lobes: Labelmap) -> Labelmap:
    array = np.zeros(lobes.geometry.shape, np.uint8)
    for value, side in enumerate(LUNGS, start=1):
        word = side.split("_")[0]
        array[lobes.mask(*(n for n in lobes.names.values() if n.startswith(word)))] = value
    return Labelmap(array, lobes.geometry, {1: LUNGS[0], 2: LUNGS[1]})


def _divided(found: FoundRegions, whole: RegionSet) -> RegionSet:
    """Zones and shells of the whole lungs on the grid of the images; lungs and lobes as found."""
    own = [part for part in found.regions.partitions if _is_lung_or_lobe(part)]
    grid = found.regions.geometry
    zones = [part for part in whole.partitions if not _is_lung_or_lobe(part)]
    moved = on_grid(RegionSet(tuple(zones)), grid).partitions
    return RegionSet((*own, *moved), found.regions.absent)


def _is_lung_or_lobe(partition: Labelmap) -> bool:
    names = set(partition.names.values()) - {AIRWAYS}
    return all(name in LUNGS or name.endswith("_lobe") for name in names)


def _measurements(
    first_pass: FirstPass,
    coverage: Coverage,
    flows: RegionFlows,
    maps: FlowMaps,
    findings: tuple[Findings, ...],
) -> tuple[Measurement, ...]:
    return (
        *flows.measurements,
        *map_measurements(maps, first_pass, coverage),
        *finding_measurements(findings, first_pass, coverage),
        *coverage.measurements(first_pass.regions.names),
    )


def _warnings(coverage: Coverage, options: DynamicOptions) -> tuple[str, ...]:
    out = []
    if coverage.cut:
        out.append(
            "The images show a slab of the lungs; values of lobes and zones are those of the part "
            "in the images, whose share of the whole is not known without --lung-mask or --lobes "
            "of a whole chest."
        )
    if options.hct_ratio != 1.0:
        out.append(
            f"Flows and blood volumes were multiplied by {options.hct_ratio:g} for the haematocrit."
        )
    return tuple(out)


def _parameters(inputs: Inputs, aligned: Aligned) -> dict[str, Any]:
    out: dict[str, Any] = {
        "reference_frame": aligned.reference + 1,
        "frames_used": int(np.count_nonzero(aligned.kept)),
        "baseline_frames": int(np.count_nonzero(inputs.baseline)),
    }
    for place, curve in zip(WORDS, (inputs.artery, inputs.atrium, inputs.aorta), strict=True):
        if isinstance(curve, InputCurve):
            out[place] = {
                "placed_by_hand": curve.given,
                "centre_ras_mm": [round(x, 1) for x in curve.centre_ras_mm],
                "arrival_s": round(curve.arrival_s, 2),
                "peak_s": round(curve.peak_s, 2),
                "peak_hu": round(curve.peak_hu, 1),
            }
        else:
            out[place] = curve
    return out


def _curve_table(first_pass: FirstPass, flows: RegionFlows) -> Table:
    """Enhancement of the inputs and of every region with its fit, one line a frame."""
    columns: dict[str, NDArray[np.float64]] = {
        curve.place: curve.hu for curve in first_pass.inputs.found
    }
    for entry in flows.curves:
        columns[f"{entry.region}"] = entry.hu
        columns[f"{entry.region}_fit"] = entry.fitted_hu
    names = tuple(f"{name}_hu" for name in columns)
    rows = tuple(
        {"time_s": float(at), **{f"{n}_hu": float(c[k]) for n, c in columns.items()}}
        for k, at in enumerate(first_pass.times_s)
    )
    return Table(("time_s", *names), rows)


def _frame_table(frames: Frames, aligned: Aligned) -> Table:
    """Say what became of every frame."""
    columns = (
        *("frame", "time_s", "used", "shift_before_mm", "shift_after_mm"),
        "lung_volume_change_percent",
    )
    rows = tuple(
        {
            "frame": n + 1,
            "time_s": float(at),
            "used": "yes" if aligned.kept[n] else "no",
            "shift_before_mm": float(aligned.before_mm[n]),
            "shift_after_mm": float(aligned.shift_mm[n]),
            "lung_volume_change_percent": 100 * float(aligned.volume_change[n]),
        }
        for n, at in enumerate(frames.moments_s)
    )
    return Table(columns, rows)
