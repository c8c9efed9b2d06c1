"""``lungperfusion dynamic``: flow, blood volume and transit time from a first-pass series."""

from __future__ import annotations

import argparse
from pathlib import Path

from lungperfusion.analysis.dynamic import DynamicOptions, analyse_dynamic
from lungperfusion.commands.output import add_output_arguments, results_of
from lungperfusion.commands.region_arguments import add_region_arguments, region_options
from lungperfusion.dynamic.inputs import Place
from lungperfusion.errors import InputError
from lungperfusion.io.time_series import read_time_series
from lungperfusion.progress import Progress, part

POINTS: dict[str, Place] = {
    "artery": "pulmonary_trunk",
    "atrium": "left_atrium",
    "aorta": "descending_aorta",
}
"""Arguments by the input that they place."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "first_pass",
        type=Path,
        metavar="SERIES",
        help="first-pass series: DICOM folder or zip, NIfTI with four axes, NRRD with a list axis, "
        "or .seq.nrrd of 3D Slicer",
    )
    parser.add_argument("--series", metavar="UID", help="DICOM series to read, of several")
    parser.add_argument(
        "--times",
        type=Path,
        metavar="CSV",
        help="time of every frame in seconds, one a line, where the file has none",
    )
    group = parser.add_argument_group("first pass")
    words = {"artery": "pulmonary trunk", "atrium": "left atrium", "aorta": "descending aorta"}
    for name, vessel in words.items():
        group.add_argument(
            f"--{name}",
            type=float,
            nargs=3,
            metavar=("R", "A", "S"),
            help=f"point in the {vessel}, mm of the patient; found if left out",
        )
    group.add_argument(
        "--hct-ratio",
        type=float,
        default=1.0,
        metavar="R",
        help="(1 - haematocrit of large vessels) / (1 - that of small ones), about 0.83; it "
        "multiplies flows and blood volumes (default: %(default)g, none)",
    )
    group.add_argument(
        "--leave-out",
        type=int,
        nargs="+",
        default=(),
        metavar="FRAME",
        help="numbers of frames, from 1, that are not used",
    )
    group.add_argument(
        "--enhancement",
        action="store_true",
        help="also write the enhancement of the aligned frames, enhancement.seq.nrrd, for curves "
        "at any place",
    )
    add_region_arguments(parser)
    add_output_arguments(parser)


def options_from_arguments(arguments: argparse.Namespace) -> DynamicOptions:
    """Check and take the options that `add_arguments` added."""
    given = {place: getattr(arguments, name) for name, place in POINTS.items()}
    if min(arguments.leave_out, default=1) < 1:
        raise InputError("--leave-out counts frames from 1; give the numbers of the report")
    return DynamicOptions(
        points_ras_mm={
            place: (at[0], at[1], at[2]) for place, at in given.items() if at is not None
        },
        hct_ratio=arguments.hct_ratio,
        left_out=tuple(sorted({number - 1 for number in arguments.leave_out})),
    )


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse settings that cannot be used before anything is read."""
    options_from_arguments(arguments)


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Read the series, analyse it, write the results folder."""
    options = options_from_arguments(arguments)
    with results_of(arguments, progress) as results:
        regions = region_options(arguments)
        progress = results.progress
        scan = read_time_series(
            arguments.first_pass,
            times=arguments.times,
            series_uid=arguments.series,
            progress=part(progress, 0.0, 0.15),
        )
        analysis = analyse_dynamic(
            scan.series,
            regions=regions,
            options=options,
            acquisition=scan.acquisition,
            pictures=not arguments.no_report,
            enhancement=arguments.enhancement,
            progress=part(progress, 0.15, 1.0),
        )
        results.write(analysis, {"first_pass": scan, **regions.sources})
    return 0
