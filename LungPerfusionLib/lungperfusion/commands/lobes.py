"""``lungperfusion lobes``: lobes and fissures of one chest CT, found, given or corrected."""

from __future__ import annotations

import argparse
from pathlib import Path

from lungperfusion.analysis.lobes import analyse_lobes
from lungperfusion.commands.output import Outcome, add_output_arguments, carry_out
from lungperfusion.commands.region_arguments import add_region_arguments, region_options
from lungperfusion.io import read_ct
from lungperfusion.progress import Progress, part


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "ct",
        type=Path,
        metavar="CT",
        help="DICOM folder, zip of one, or NRRD, NIfTI, MHA file of a chest CT",
    )
    parser.add_argument("--series", metavar="UID", help="DICOM series to read, of several")
    add_region_arguments(parser, lobes="auto")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Read the CT, find its lobes, write the results folder."""

    def work(progress: Progress) -> Outcome:
        if arguments.lobes == "none":
            arguments.lobes = "auto"
        regions = region_options(arguments)
        scan = read_ct(arguments.ct, series_uid=arguments.series, progress=part(progress, 0.0, 0.2))
        analysis = analyse_lobes(
            scan.volume,
            regions=regions,
            acquisition=scan.acquisition,
            pictures=not arguments.no_report,
            progress=part(progress, 0.2, 1.0),
        )
        return Outcome(analysis, {"ct": scan, **regions.sources})

    return carry_out(arguments, work, progress)
