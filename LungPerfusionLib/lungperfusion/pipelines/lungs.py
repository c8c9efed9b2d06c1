"""``lungperfusion lungs``: lungs, airways and density scores of one chest CT."""

from __future__ import annotations

import argparse
from pathlib import Path

from lungperfusion.acquisition import Acquisition
from lungperfusion.density import (
    GROUND_GLASS_FROM_HU,
    REFERENCE_VOLUME_L,
    measure_density,
    region_distributions,
)
from lungperfusion.io import read_ct
from lungperfusion.noise import measure_noise
from lungperfusion.opacity import mark_vessels
from lungperfusion.pipelines.output import Outcome, add_output_arguments, carry_out
from lungperfusion.pipelines.regions import (
    SEGMENT_LUNGS,
    RegionOptions,
    add_region_arguments,
    find_regions,
)
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.results.analysis import Analysis
from lungperfusion.results.lung_sections import lung_sections
from lungperfusion.results.section import Section
from lungperfusion.terms import Region
from lungperfusion.volume import Volume


def analyse_lungs(
    ct: Volume,
    *,
    regions: RegionOptions = SEGMENT_LUNGS,
    acquisition: Acquisition | None = None,
    ground_glass_from_hu: float = GROUND_GLASS_FROM_HU,
    reference_volume_l: float = REFERENCE_VOLUME_L,
    pictures: bool = True,
    progress: Progress = ignore,
) -> Analysis:
    """Segment the lungs of a chest CT and measure their volume and density.

    Parameters
    ----------
    ct
        Chest CT in HU.
    regions
        How the lungs are found and divided.
    acquisition
        Technical facts for the quality gates.
    ground_glass_from_hu, reference_volume_l
        As in `measure_density`.
    pictures
        Whether to draw for the report; needs matplotlib.

    """
    found = find_regions(ct, regions, acquisition=acquisition, progress=part(progress, 0.0, 0.6))
    vessels = mark_vessels(
        ct,
        found.regions.mask(Region.LUNGS),
        ground_glass_from_hu=ground_glass_from_hu,
        progress=part(progress, 0.6, 0.7),
    )
    measurements = measure_density(
        ct,
        found.regions,
        vessels=vessels,
        noise=measure_noise(ct, found.lungs),
        ground_glass_from_hu=ground_glass_from_hu,
        reference_volume_l=reference_volume_l,
        progress=part(progress, 0.7, 0.75),
    )
    sections: tuple[Section, ...] = ()
    if pictures:
        sections = lung_sections(
            ct,
            found.lungs,
            region_distributions(ct, found.regions, progress=part(progress, 0.75, 0.8)),
            vessels=vessels,
            ground_glass_from_hu=ground_glass_from_hu,
            progress=part(progress, 0.8, 1.0),
        )
    return Analysis(
        module="lungs",
        measurements=measurements,
        gates=found.gates,
        warnings=found.warnings,
        parameters={
            **regions.parameters,
            "ground_glass_from_hu": ground_glass_from_hu,
            "reference_volume_l": reference_volume_l,
        },
        labelmaps={"lungs": found.lungs},
        sections=sections,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "ct",
        type=Path,
        metavar="CT",
        help="DICOM folder, zip of one, or NRRD, NIfTI, MHA file of a chest CT",
    )
    parser.add_argument("--series", metavar="UID", help="DICOM series to read, of several")
    add_region_arguments(parser)
    group = parser.add_argument_group("density")
    group.add_argument(
        "--ground-glass-from-hu",
        type=float,
        default=GROUND_GLASS_FROM_HU,
        metavar="HU",
        help="lower bound of ground glass (default: %(default)s)",
    )
    group.add_argument(
        "--reference-volume-l",
        type=float,
        default=REFERENCE_VOLUME_L,
        metavar="L",
        help="lung volume that the 15th percentile is adjusted to (default: %(default)s)",
    )
    add_output_arguments(parser)


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Read the CT, analyse it, write the results folder."""

    def work(progress: Progress) -> Outcome:
        regions = RegionOptions.from_arguments(arguments)
        scan = read_ct(arguments.ct, series_uid=arguments.series, progress=part(progress, 0.0, 0.2))
        analysis = analyse_lungs(
            scan.volume,
            regions=regions,
            acquisition=scan.acquisition,
            ground_glass_from_hu=arguments.ground_glass_from_hu,
            reference_volume_l=arguments.reference_volume_l,
            pictures=not arguments.no_report,
            progress=part(progress, 0.2, 1.0),
        )
        return Outcome(analysis, {"ct": scan, **regions.sources})

    return carry_out(arguments, work, progress)
