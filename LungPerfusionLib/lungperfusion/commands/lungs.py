"""``lungperfusion lungs``: lungs, airways and density scores of one chest CT."""

from __future__ import annotations

import argparse

from lungperfusion.analysis.lungs import analyse_lungs
from lungperfusion.analysis.regions import find_regions
from lungperfusion.commands.output import add_output_arguments, results_of
from lungperfusion.commands.region_arguments import (
    add_ct_arguments,
    add_region_arguments,
    region_options,
)
from lungperfusion.density import DensityOptions
from lungperfusion.io import read_ct
from lungperfusion.progress import Progress, part
from lungperfusion.terms.density import GROUND_GLASS_FROM_HU, REFERENCE_VOLUME_L


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_ct_arguments(parser)
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
    """Read the CT, find its regions, analyse it, write the results folder."""
    with results_of(arguments, progress) as results:
        regions = region_options(arguments)
        progress = results.progress
        scan = read_ct(arguments.ct, series_uid=arguments.series, progress=part(progress, 0.0, 0.2))
        found = find_regions(
            scan.volume,
            regions,
            acquisition=scan.acquisition,
            progress=part(progress, 0.2, 0.7),
        )
        analysis = analyse_lungs(
            scan.volume,
            found,
            options=DensityOptions(
                ground_glass_from_hu=arguments.ground_glass_from_hu,
                reference_volume_l=arguments.reference_volume_l,
            ),
            pictures=not arguments.no_report,
            progress=part(progress, 0.7, 1.0),
        )
        results.write(analysis, {"ct": scan, **regions.sources})
    return 0
