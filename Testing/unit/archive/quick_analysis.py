"""An analysis of a CT series that takes no time; a batch imports it by name."""

from __future__ import annotations

import argparse
from pathlib import Path

from archive_support import make_analysis

from lungperfusion.commands.output import add_output_arguments, results_of
from lungperfusion.io import read_ct


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ct", type=Path)
    parser.add_argument("--series")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace, progress) -> int:
    with results_of(arguments, progress) as results:
        scan = read_ct(arguments.ct, series_uid=arguments.series)
        results.write(make_analysis(scan.volume), {"ct": scan})
    return 0
