"""``lungperfusion xenon``: gas transfer from 129Xe MRI, joined with the lobes of a CT."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from lungperfusion.analysis.regions import RegionOptions, find_regions
from lungperfusion.analysis.xenon import ChestCt, XenonOptions, analyse_xenon
from lungperfusion.commands.output import add_output_arguments, results_of
from lungperfusion.commands.region_arguments import (
    add_region_arguments,
    other_breath_options,
    region_options,
)
from lungperfusion.commands.xenon_sources import (
    add_source_arguments,
    background_of,
    check_sources,
    points_of,
    read_sources,
    reference_of,
)
from lungperfusion.io import LabelImage, Scan, read_ct, read_map
from lungperfusion.progress import Progress, part
from lungperfusion.terms.xenon import REFERENCE_SETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    images = parser.add_argument_group("CT")
    images.add_argument("--ct", type=Path, required=True, metavar="CT")
    images.add_argument(
        "--other-ct",
        type=Path,
        metavar="CT",
        help="CT of another breath; the one whose lungs are nearer in volume to the MRI is joined",
    )
    images.add_argument(
        "--other-lung-mask", type=Path, metavar="LABELMAP", help="lungs or lobes of --other-ct"
    )
    images.add_argument(
        "--other-lobes",
        default="auto",
        metavar="auto|none|FILE",
        help="lobes of --other-ct (default: %(default)s)",
    )
    images.add_argument(
        "--perfusion",
        type=Path,
        metavar="MAP",
        help="iodine map of ipv or perfusion map of ctvq on the grid of the CT that is joined, for "
        "the patterns of gas transfer and perfusion",
    )
    add_source_arguments(parser)
    classes = parser.add_argument_group("classes")
    classes.add_argument(
        "--reference-set",
        choices=tuple(REFERENCE_SETS),
        metavar="PPM",
        help=f"healthy people by the frequency that excites dissolved xenon: "
        f"{' or '.join(REFERENCE_SETS)} ppm (default: as --duke says, else 218)",
    )
    classes.add_argument(
        "--reference-file",
        type=Path,
        metavar="JSON",
        help="another reference set: name, rbc_gas (5 limits), membrane_gas (7 limits), "
        "rbc_membrane (mean, SD) and, where wanted, ventilation (5 limits), healthy_means",
    )
    classes.add_argument(
        "--ventilation-scale",
        choices=("percentile", "mean"),
        default="percentile",
        help="what ventilation is divided by: its 99th percentile or its mean (default: "
        "%(default)s)",
    )
    classes.add_argument(
        "--no-bias-correction",
        action="store_true",
        help="the ventilation map's bias field is not corrected: take the limits for that",
    )
    add_region_arguments(parser, lobes="auto")
    add_output_arguments(parser)


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse combinations of options before anything is read."""
    check_sources(arguments)


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Read maps and CT, find the regions, analyse, write the results folder."""
    check_arguments(arguments)
    background = background_of(arguments)
    points = points_of(arguments)
    with results_of(arguments, progress) as results:
        progress = results.progress
        sources = read_sources(arguments, background)
        reference = reference_of(arguments, sources.frequency_ppm)
        scans = {"ct": read_ct(arguments.ct, progress=part(progress, 0.05, 0.1))}
        regions = region_options(arguments)
        how = {"ct": regions}
        if arguments.other_ct is not None:
            scans["other_ct"] = read_ct(arguments.other_ct, progress=part(progress, 0.1, 0.15))
            how["other_ct"] = other_breath_options(arguments, "other", regions)
        perfusion = None
        if arguments.perfusion is not None:
            perfusion = read_map(arguments.perfusion, unit="1")
        chests = _chests(scans, how, part(progress, 0.15, 0.5))
        analysis = analyse_xenon(
            sources.maps,
            chests,
            options=XenonOptions(
                reference=reference,
                scale=arguments.ventilation_scale,
                bias_corrected=sources.bias_corrected and not arguments.no_bias_correction,
                wanted_volume_l=arguments.wanted_volume_l,
                haemoglobin_applied=sources.haemoglobin_applied,
                parameters=sources.parameters,
            ),
            background=replace(background, **sources.known(background)),
            perfusion=None if perfusion is None else perfusion.volume,
            points=points,
            pictures=not arguments.no_report,
            progress=part(progress, 0.5, 1.0),
        )
        analysis = replace(
            analysis,
            warnings=(*sources.warnings, *analysis.warnings),
            gates=(*sources.gates(analysis), *analysis.gates),
            tables={**analysis.tables, **sources.tables},
        )
        files: dict[str, Scan | LabelImage] = {**scans, **regions.sources, **sources.files}
        if perfusion is not None:
            files["perfusion"] = perfusion
        if "other_ct" in how:
            files |= {f"other_ct_{k}": v for k, v in how["other_ct"].sources.items()}
        results.write(analysis, files)
    return 0


def _chests(
    scans: dict[str, Scan], how: dict[str, RegionOptions], progress: Progress
) -> list[ChestCt]:
    chests = []
    for number, (role, scan) in enumerate(scans.items()):
        share = part(progress, number / len(scans), (number + 1) / len(scans))
        found = find_regions(scan.volume, how[role], acquisition=scan.acquisition, progress=share)
        chests.append(ChestCt(role, scan.volume, found))
    return chests
