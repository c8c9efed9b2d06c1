"""``lungperfusion lobes``: lobes and fissures of one chest CT, found, given or corrected."""

from __future__ import annotations

import argparse

from lungperfusion.analysis.lobes import analyse_lobes
from lungperfusion.analysis.regions import find_regions
from lungperfusion.commands.output import add_output_arguments, results_of
from lungperfusion.commands.region_arguments import (
    add_ct_arguments,
    add_region_arguments,
    region_options,
)
from lungperfusion.io import read_ct
from lungperfusion.progress import Progress, part


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_ct_arguments(parser)
    add_region_arguments(parser, lobes="auto")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Read the CT, find its lobes, judge them, write the results folder."""
    with results_of(arguments, progress) as results:
        if arguments.lobes == "none":
            arguments.lobes = "auto"
        regions = region_options(arguments)
        progress = results.progress
        scan = read_ct(arguments.ct, series_uid=arguments.series, progress=part(progress, 0.0, 0.2))
        found = find_regions(
            scan.volume,
            regions,
            vessels=True,
            acquisition=scan.acquisition,
            progress=part(progress, 0.2, 0.8),
        )
        analysis = analyse_lobes(
            scan.volume,
            found,
            pictures=not arguments.no_report,
            progress=part(progress, 0.8, 1.0),
        )
        results.write(analysis, {"ct": scan, **regions.sources})
    return 0
