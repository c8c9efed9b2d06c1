"""``lungperfusion ipv``: iodine perfusion, the volume-corrected score IPv, defects and CT signs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lungperfusion.acquisition import Acquisition
from lungperfusion.density import measure_density
from lungperfusion.errors import InputError
from lungperfusion.io import LabelImage, Scan, labelmap_of, read_ct, read_labelmap, read_map
from lungperfusion.iodine.calibration import BEAMS, REFERENCE_BEAM, SpectralPair, spectral_pair
from lungperfusion.iodine.decomposition import (
    DEFAULT_MODEL,
    IodineMap,
    decompose,
    iodine_from_vendor_map,
)
from lungperfusion.iodine.defects import (
    ABSOLUTE_BELOW_HU,
    DEFAULT_RULE,
    DEFECT_COLUMNS,
    MINIMAL_VOLUME_ML,
    RELATIVE_BELOW,
    DefectRule,
    Defects,
    defect_table_rows,
    find_defects,
)
from lungperfusion.iodine.exclusion import find_exclusions
from lungperfusion.iodine.score import score_defects, score_heterogeneity, score_iodine
from lungperfusion.iodine.smoothing import IODINE_SMOOTHING_MM, smooth_inside
from lungperfusion.iodine.trunk import airway_core, find_trunk
from lungperfusion.measurement import Measurement
from lungperfusion.pipelines.output import Outcome, add_output_arguments, carry_out
from lungperfusion.pipelines.regions import (
    FoundRegions,
    RegionOptions,
    add_region_arguments,
    find_regions,
)
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.resampling import resample_labelmap, resample_volume
from lungperfusion.results.analysis import Analysis, Table
from lungperfusion.results.iodine_sections import defect_labelmap, iodine_sections
from lungperfusion.results.section import Section
from lungperfusion.terms import LUNGS, Region
from lungperfusion.volume import Labelmap, Mask, Volume


@dataclass(frozen=True, kw_only=True, slots=True)
class IodineOptions:
    """Settings of the iodine analysis."""

    smoothing_mm: float = IODINE_SMOOTHING_MM
    defect_rule: DefectRule = DEFAULT_RULE
    defect_below_hu: float = ABSOLUTE_BELOW_HU
    defect_relative_below: float = RELATIVE_BELOW
    defect_minimal_ml: float = MINIMAL_VOLUME_ML

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> IodineOptions:
        """Take the options that `add_arguments` added."""
        return cls(
            smoothing_mm=arguments.smoothing_mm,
            defect_rule=arguments.defect_rule,
            defect_below_hu=arguments.defect_below_hu,
            defect_relative_below=arguments.defect_relative_below,
            defect_minimal_ml=arguments.defect_minimal_ml,
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings for results.json."""
        return {
            "smoothing_mm": self.smoothing_mm,
            "defect_rule": self.defect_rule,
            "defect_below_hu": self.defect_below_hu,
            "defect_relative_below": self.defect_relative_below,
            "defect_minimal_ml": self.defect_minimal_ml,
        }


DEFAULT_OPTIONS = IodineOptions()


@dataclass(frozen=True, eq=False, kw_only=True)
class IodineAnalysis:
    """Everything that the iodine analysis found, for results and for review in Slicer."""

    iodine: IodineMap
    """Smoothed map."""
    measurable: Mask
    defects: Defects
    measurements: tuple[Measurement, ...]
    warnings: tuple[str, ...]


def measure_iodine(
    iodine: IodineMap,
    density: Volume,
    found: FoundRegions,
    *,
    options: IodineOptions = DEFAULT_OPTIONS,
    trunk: Mask | None = None,
    progress: Progress = ignore,
) -> IodineAnalysis:
    """Score an iodine map and find its defects.

    Parameters
    ----------
    iodine
        Unsmoothed map.
    density
        Image in HU on the same grid that shows vessels and what lies beneath defects.
    found
        Lungs and regions on the same grid.
    options
        Smoothing and defect rules.
    trunk
        Region in the pulmonary trunk; found automatically when None.

    """
    regions, lungs = found.regions, found.regions.mask(Region.LUNGS)
    warnings: list[str] = []
    progress(0.0, "large vessels and streaks")
    exclusion = find_exclusions(density, lungs)
    measurable = exclusion.measurable(lungs)
    if iodine.concentration.valid is not None:
        measurable &= iodine.concentration.valid
    streaks = int(np.count_nonzero(exclusion.streaks))
    if streaks:
        warnings.append(
            f"{100 * streaks / max(1, int(np.count_nonzero(lungs))):.1f} % of the lungs lie beside "
            "undiluted contrast and are left out: streaks falsify iodine there."
        )
    progress(0.2, "pulmonary trunk")
    trunk_iodine, reason = _trunk(iodine, found.lungs, trunk)
    progress(0.3, "smoothing inside each lung")
    smooth = _smoothed(iodine, measurable, regions.mask, options.smoothing_mm)
    progress(0.5, "defects")
    defects = find_defects(
        smooth.enhancement,
        measurable,
        regions,
        ct=density,
        rule=options.defect_rule,
        absolute_below_hu=options.defect_below_hu,
        relative_below=options.defect_relative_below,
        minimal_volume_ml=options.defect_minimal_ml,
    )
    progress(0.8, "scores")
    measurements = (
        *score_iodine(
            smooth, regions, measurable, trunk_mg_ml=trunk_iodine, no_trunk_reason=reason
        ),
        *score_heterogeneity(smooth, regions, measurable),
        *score_defects(smooth, defects, regions, measurable),
    )
    return IodineAnalysis(
        iodine=smooth,
        measurable=measurable,
        defects=defects,
        measurements=measurements,
        warnings=tuple(warnings),
    )


def analyse_ipv(
    iodine: IodineMap,
    density: Volume | None,
    found: FoundRegions,
    *,
    options: IodineOptions = DEFAULT_OPTIONS,
    trunk: Mask | None = None,
    signs: tuple[Measurement, ...] = (),
    parameters: Mapping[str, Any] | None = None,
    pictures: bool = True,
    progress: Progress = ignore,
) -> Analysis:
    """Make the whole analysis of one iodine map: density, iodine, defects, signs, pictures.

    Parameters
    ----------
    iodine
        Unsmoothed map on the grid of ``found``.
    density
        CT in HU (native, virtual native or mixed) on the same grid; None leaves density measures
        out and defects without a look beneath.
    found
        Lungs and regions.
    signs
        Measurements of clot burden, ratios and patterns, placed after the iodine measures.
    parameters
        Further settings to record, such as the source of the map.

    """
    beneath = density or iodine.virtual_native
    if beneath is None:
        raise InputError(
            "an iodine map alone does not show vessels or lung density; give a CT of the same "
            "breath with --ct"
        )
    analysed = measure_iodine(
        iodine, beneath, found, options=options, trunk=trunk, progress=part(progress, 0.0, 0.6)
    )
    densities = measure_density(beneath, found.regions, progress=part(progress, 0.6, 0.7))
    sections: tuple[Section, ...] = ()
    if pictures:
        sections = iodine_sections(
            beneath,
            found.lungs,
            analysed.iodine,
            analysed.defects,
            analysed.measurable,
            progress=part(progress, 0.7, 1.0),
        )
    return Analysis(
        module="ipv",
        measurements=(*analysed.measurements, *signs, *densities),
        gates=found.gates,
        warnings=(*found.warnings, *analysed.warnings),
        parameters={
            "iodine": iodine.method,
            **(parameters or {}),
            **options.parameters,
        },
        maps={"iodine": analysed.iodine.concentration},
        labelmaps={
            "lungs": found.lungs,
            "defects": defect_labelmap(analysed.defects, beneath),
        },
        tables={"defects": Table(DEFECT_COLUMNS, defect_table_rows(analysed.defects))},
        sections=sections,
    )


def _trunk(iodine: IodineMap, lungs: Labelmap, given: Mask | None) -> tuple[float | None, str]:
    if given is not None:
        if not given.any():
            raise InputError("the given pulmonary trunk region is empty; paint it in the trunk")
        return float(np.median(iodine.concentration.array[given])), ""
    trunk = find_trunk(iodine.concentration, lungs)
    return (None, trunk) if isinstance(trunk, str) else (trunk.iodine_mg_ml, "")


def _smoothed(iodine: IodineMap, measurable: Mask, mask: Any, sigma_mm: float) -> IodineMap:
    """Smooth each lung for itself, so that nothing crosses the pleura or a vessel wall."""
    array = iodine.concentration.array
    for lung in LUNGS:
        array = smooth_inside(
            array, mask(lung) & measurable, iodine.concentration.geometry, sigma_mm=sigma_mm
        )
    return replace(
        iodine,
        concentration=iodine.concentration.with_array(array),
        method=f"{iodine.method}, smoothed {sigma_mm:g} mm" if sigma_mm else iodine.method,
    )


# ------------------------------------------------------------------------------------ command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    source = parser.add_argument_group("iodine, from one of")
    source.add_argument("--iodine", type=Path, metavar="MAP", help="vendor's iodine or PBV map")
    source.add_argument("--low", type=Path, metavar="CT", help="low-voltage image of a pair")
    source.add_argument("--high", type=Path, metavar="CT", help="high-voltage image of a pair")
    detail = parser.add_argument_group("about the source")
    detail.add_argument("--ct", type=Path, metavar="CT", help="CT that goes with --iodine")
    detail.add_argument(
        "--iodine-unit", choices=("mg/mL", "HU"), help="unit of --iodine; never guessed"
    )
    detail.add_argument("--iodine-slope", type=float, default=1.0, metavar="X")
    detail.add_argument("--iodine-offset", type=float, default=0.0, metavar="X")
    detail.add_argument(
        "--kv",
        nargs=2,
        metavar=("LOW", "HIGH"),
        help=f"tube voltages of the pair, of {', '.join(BEAMS)}; read from DICOM if left out",
    )
    detail.add_argument(
        "--iodine-hu-per-mg-ml",
        type=float,
        default=BEAMS[REFERENCE_BEAM].iodine_hu_per_mg_ml,
        metavar="K",
        help="k_ref: HU of enhancement per mg/mL that HU stands for (default: %(default)s)",
    )
    detail.add_argument(
        "--model",
        choices=("three-material", "two-material"),
        default=DEFAULT_MODEL,
        help="decomposition (default: %(default)s)",
    )
    add_region_arguments(parser)
    defects = parser.add_argument_group("map and defects")
    defects.add_argument("--smoothing-mm", type=float, default=IODINE_SMOOTHING_MM, metavar="MM")
    defects.add_argument("--defect-rule", choices=("relative", "absolute"), default=DEFAULT_RULE)
    defects.add_argument("--defect-below-hu", type=float, default=ABSOLUTE_BELOW_HU, metavar="HU")
    defects.add_argument(
        "--defect-relative-below", type=float, default=RELATIVE_BELOW, metavar="SHARE"
    )
    defects.add_argument("--defect-minimal-ml", type=float, default=MINIMAL_VOLUME_ML, metavar="ML")
    defects.add_argument(
        "--trunk", type=Path, metavar="LABELMAP", help="region in the pulmonary trunk"
    )
    add_output_arguments(parser)


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Read the images, analyse them, write the results folder."""
    read = _reader(arguments)

    def work(progress: Progress) -> Outcome:
        images = read(arguments, part(progress, 0.0, 0.25))
        regions = RegionOptions.from_arguments(arguments)
        found = find_regions(
            images.chest,
            regions,
            acquisition=images.acquisition,
            progress=part(progress, 0.25, 0.5),
        )
        iodine, warnings = images.iodine(found)
        trunk = None if arguments.trunk is None else read_labelmap(arguments.trunk)
        analysis = analyse_ipv(
            iodine,
            images.density,
            found,
            options=IodineOptions.from_arguments(arguments),
            trunk=None if trunk is None else _mask_on(trunk, found),
            parameters=regions.parameters,
            pictures=not arguments.no_report,
            progress=part(progress, 0.5, 1.0),
        )
        analysis = replace(analysis, warnings=(*images.warnings, *warnings, *analysis.warnings))
        sources: dict[str, Scan | LabelImage] = {**images.sources, **regions.sources}
        if trunk is not None:
            sources["trunk"] = trunk
        return Outcome(analysis, sources)

    return carry_out(arguments, work, progress)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Images:
    """What was read, and how to make the iodine map of it once the lungs are known."""

    chest: Volume
    """Image to find the lungs in."""
    density: Volume | None
    """CT whose density is reported; None takes the virtual native image."""
    iodine: Callable[[FoundRegions], tuple[IodineMap, tuple[str, ...]]]
    acquisition: Acquisition
    sources: dict[str, Scan]
    warnings: tuple[str, ...] = ()


def _reader(
    arguments: argparse.Namespace,
) -> Callable[[argparse.Namespace, Progress], _Images]:
    """Choose the source of iodine from the options given; refuse none, several or half ones."""
    given = {
        "--iodine with --ct": (arguments.iodine, arguments.ct),
        "--low with --high": (arguments.low, arguments.high),
    }
    used = [name for name, paths in given.items() if any(path is not None for path in paths)]
    if len(used) != 1:
        raise InputError(
            "iodine comes from exactly one source, "
            f"{' or '.join(given)}; given: {', '.join(used) or 'none'}"
        )
    if None in given[used[0]]:
        raise InputError(f"{used[0]}: both are needed; give the missing one")
    if arguments.iodine is None:
        return _read_pair
    if arguments.iodine_unit is None:
        raise InputError(
            "the unit of the iodine map is not guessed; state it with --iodine-unit mg/mL or HU"
        )
    return _read_vendor_map


def _read_vendor_map(arguments: argparse.Namespace, progress: Progress) -> _Images:
    ct = read_ct(arguments.ct, progress=part(progress, 0.0, 0.5))
    scan = read_map(arguments.iodine, unit=arguments.iodine_unit, progress=part(progress, 0.5, 1.0))
    image, warnings = _onto(scan.volume, ct.volume, "iodine map", "the CT")

    def iodine(_: FoundRegions) -> tuple[IodineMap, tuple[str, ...]]:
        return iodine_from_vendor_map(
            image,
            unit=arguments.iodine_unit,
            hu_per_mg_ml=arguments.iodine_hu_per_mg_ml,
            slope=arguments.iodine_slope,
            offset=arguments.iodine_offset,
        ), ()

    return _Images(
        chest=ct.volume,
        density=ct.volume,
        iodine=iodine,
        acquisition=ct.acquisition,
        sources={"ct": ct, "iodine": scan},
        warnings=warnings,
    )


def _read_pair(arguments: argparse.Namespace, progress: Progress) -> _Images:
    low = read_ct(arguments.low, progress=part(progress, 0.0, 0.5))
    high = read_ct(arguments.high, progress=part(progress, 0.5, 1.0))
    pair = _pair(arguments, low, high)
    high_volume, warnings = _onto(high.volume, low.volume, "high-voltage image", "the low one")
    mixed = low.volume.with_array(
        np.add(low.volume.array, high_volume.array, dtype=np.float32) / np.float32(2)
    )

    def iodine(found: FoundRegions) -> tuple[IodineMap, tuple[str, ...]]:
        offsets, notes = _air_offsets(low.volume, high_volume, found.lungs)
        return decompose(
            low.volume,
            high_volume,
            pair,
            model=arguments.model,
            low_offset_hu=offsets[0],
            high_offset_hu=offsets[1],
        ), notes

    return _Images(
        chest=mixed,
        density=None,
        iodine=iodine,
        acquisition=low.acquisition,
        sources={"low": low, "high": high},
        warnings=warnings,
    )


def _pair(arguments: argparse.Namespace, low: Scan, high: Scan) -> SpectralPair:
    voltages = arguments.kv or [
        None if scan.acquisition.kvp is None else f"{scan.acquisition.kvp:g}"
        for scan in (low, high)
    ]
    if None in voltages:
        raise InputError(
            "the tube voltages are not in the files; state them with --kv LOW HIGH, such as "
            "--kv 80 140Sn"
        )
    pair = spectral_pair(voltages[0], voltages[1])
    return replace(pair, reference_hu_per_mg_ml=arguments.iodine_hu_per_mg_ml)


AIR_CORE_ML = 1.0
"""Tracheal air needed for a calibration of both images."""


def _air_offsets(
    low: Volume, high: Volume, lungs: Labelmap
) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Error of air in both images, from the core of the large airways."""
    core = airway_core(lungs)
    if np.count_nonzero(core) * lungs.geometry.voxel_volume_ml < AIR_CORE_ML:
        return (0.0, 0.0), (
            "Too little tracheal air for a calibration of the two images: their offsets are taken "
            "as 0 HU; 2 HU between them falsify lung iodine by some 5 %.",
        )
    offsets = tuple(float(np.median(image.array[core])) + 1000.0 for image in (low, high))
    return (offsets[0], offsets[1]), (
        f"Air offsets of {offsets[0]:+.1f} HU (low) and {offsets[1]:+.1f} HU (high) were "
        "subtracted.",
    )


def _onto(image: Volume, target: Volume, what: str, where: str) -> tuple[Volume, tuple[str, ...]]:
    if image.geometry.same_as(target.geometry):
        return image, ()
    return resample_volume(image, target.geometry), (
        f"The {what} lies on another grid and was resampled onto {where} (linear).",
    )


def _mask_on(image: LabelImage, found: FoundRegions) -> Mask:
    labels = labelmap_of(image)
    return np.asarray(resample_labelmap(labels, found.lungs.geometry).array > 0)
