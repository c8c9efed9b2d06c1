"""``lungperfusion vesselbv``: blood volume of the lung's vessels by their cross-section."""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

from lungperfusion.analysis.regions import find_regions
from lungperfusion.analysis.vesselbv import (
    ARTERIES,
    BLOOD_LABELS,
    VEINS,
    VesselOptions,
    analyse_vesselbv,
)
from lungperfusion.commands.output import add_output_arguments, results_of
from lungperfusion.commands.region_arguments import (
    add_ct_arguments,
    add_region_arguments,
    region_options,
)
from lungperfusion.errors import InputError
from lungperfusion.io import LabelImage, labelmap_of, read_ct, read_labelmap
from lungperfusion.orientation import axial
from lungperfusion.progress import Progress, part
from lungperfusion.results.vessel_sections import FINE_EDGES_MM2
from lungperfusion.vessels.oxygen import BODY_TEMPERATURE_C, SEA_LEVEL_MMHG, BloodGas
from lungperfusion.volume import Labelmap


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_ct_arguments(parser)
    add_region_arguments(parser)
    group = parser.add_argument_group("vessels")
    group.add_argument(
        "--blood-hu", type=float, metavar="HU", help="density of blood; measured if left out"
    )
    group.add_argument(
        "--blood-mask",
        type=Path,
        metavar="LABELMAP",
        help=f"labels to measure blood in: {', '.join(BLOOD_LABELS)}",
    )
    group.add_argument(
        "--arteries-veins",
        type=Path,
        metavar="LABELMAP",
        help=f"labels {ARTERIES} and {VEINS}; splits every measure",
    )
    group.add_argument(
        "--compare-methods",
        action="store_true",
        help="add cross-sections by distance transform and by scale space",
    )
    group.add_argument(
        "--edges-mm2",
        type=float,
        nargs="+",
        metavar="MM2",
        help="borders of the distribution table instead of the usual ones",
    )
    group.add_argument("--bsa-m2", type=float, metavar="M2", help="body surface area")
    group.add_argument(
        "--harmonise-mm",
        type=float,
        metavar="MM",
        help="smooth the scan to this point spread first, to compare sharper and softer scans",
    )
    gas = parser.add_argument_group("blood gas, for the alveolar-arterial oxygen gradient")
    gas.add_argument("--pao2-mmhg", type=float, metavar="MMHG")
    gas.add_argument("--paco2-mmhg", type=float, metavar="MMHG")
    gas.add_argument("--fio2", type=float, metavar="FRACTION", help="0.21 to 1")
    gas.add_argument("--oxygen-l-min", type=float, metavar="L/MIN")
    gas.add_argument("--temperature-c", type=float, default=BODY_TEMPERATURE_C, metavar="C")
    gas.add_argument("--pressure-mmhg", type=float, default=SEA_LEVEL_MMHG, metavar="MMHG")
    gas.add_argument("--age-years", type=float, metavar="YEARS")
    add_output_arguments(parser)


def options_from_arguments(arguments: argparse.Namespace) -> VesselOptions:
    """Check and take the options that `add_arguments` added."""
    edges = tuple(arguments.edges_mm2) if arguments.edges_mm2 else FINE_EDGES_MM2
    if len(edges) < 2 or any(b <= a for a, b in pairwise(edges)):
        raise InputError(f"--edges-mm2 needs two or more ascending borders, not {list(edges)}")
    if arguments.bsa_m2 is not None and not 0.1 <= arguments.bsa_m2 <= 4.0:
        raise InputError(
            f"--bsa-m2 expects a body surface of 0.1 to 4 m2, not {arguments.bsa_m2:g}"
        )
    if arguments.harmonise_mm is not None and not 0.5 <= arguments.harmonise_mm <= 5.0:
        raise InputError(
            f"--harmonise-mm expects a point spread of 0.5 to 5 mm, not {arguments.harmonise_mm:g}"
        )
    return VesselOptions(
        blood_hu=arguments.blood_hu,
        compare_methods=arguments.compare_methods,
        body_surface_m2=arguments.bsa_m2,
        harmonise_to_mm=arguments.harmonise_mm,
        edges_mm2=edges,
        gas=BloodGas(
            pao2_mmhg=arguments.pao2_mmhg,
            paco2_mmhg=arguments.paco2_mmhg,
            fio2=arguments.fio2,
            oxygen_l_min=arguments.oxygen_l_min,
            temperature_c=arguments.temperature_c,
            pressure_mmhg=arguments.pressure_mmhg,
            age_years=arguments.age_years,
        ),
    )


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse settings that cannot be used before anything is read."""
    options_from_arguments(arguments)


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Read the CT, find its regions, measure its vessels, write the results folder."""
    options = options_from_arguments(arguments)
    with results_of(arguments, progress) as results:
        regions = region_options(arguments)
        progress = results.progress
        scan = read_ct(arguments.ct, series_uid=arguments.series, progress=part(progress, 0.0, 0.2))
        given = {"blood_mask": arguments.blood_mask, "arteries_veins": arguments.arteries_veins}
        images = {role: read_labelmap(path) for role, path in given.items() if path is not None}
        found = find_regions(
            axial(scan.volume),
            regions.axial(),
            acquisition=scan.acquisition,
            progress=part(progress, 0.2, 0.5),
        )
        analysis = analyse_vesselbv(
            scan.volume,
            found,
            acquisition=scan.acquisition,
            options=options,
            blood=_named(images, "blood_mask", dict(enumerate(BLOOD_LABELS, 1))),
            arteries_and_veins=_named(images, "arteries_veins", {1: ARTERIES, 2: VEINS}),
            pictures=not arguments.no_report,
            progress=part(progress, 0.5, 1.0),
        )
        results.write(analysis, {"ct": scan, **regions.sources, **images})
    return 0


def _named(images: dict[str, LabelImage], role: str, names: dict[int, str]) -> Labelmap | None:
    """Labels of a file; those of a plain label map take the names of their values."""
    if role not in images:
        return None
    labels = labelmap_of(images[role])
    renamed = {
        value: names.get(value, name) if name == f"label_{value}" else name
        for value, name in labels.names.items()
    }
    return Labelmap(labels.array, labels.geometry, renamed)
