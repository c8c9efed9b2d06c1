"""``lungperfusion dicom RESULTS --source SERIES -o OUT``: results as DICOM objects."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from lungperfusion.commands.output import warn
from lungperfusion.errors import InputError
from lungperfusion.io import results_folder
from lungperfusion.naming import named
from lungperfusion.progress import Progress, part
from lungperfusion.terminal import show

OUTSIDE = {"nan": math.nan, "zero": 0.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.description = (
        "Write the results of one analysis as DICOM objects that belong to the study they were "
        "measured on: segmentations, parametric maps, a structured report and key images."
    )
    parser.add_argument(
        "results",
        type=Path,
        metavar="RESULTS",
        help="results folder of one analysis (of a batch: OUT/cases/CASE/ANALYSIS)",
    )
    parser.add_argument(
        "--source",
        type=Path,
        required=True,
        metavar="SERIES",
        help="the CT series that was measured: DICOM folder, zip of one, or one of its files; "
        "any other is refused by its hash",
    )
    parser.add_argument("--series", metavar="UID", help="DICOM series to take, of several")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the objects"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace earlier objects of this program in OUT"
    )
    add_archive_arguments(parser)


def add_archive_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options on how objects are written."""
    parser.add_argument(
        "--anonymise",
        action="store_true",
        help="take the patient out (PS3.15 Basic Application Confidentiality Profile): the case "
        "name stands for the patient, dates go, UIDs are replaced",
    )
    parser.add_argument(
        "--labelmap",
        action="store_true",
        help="store segmentations as label maps, an object of 2024 that few viewers read "
        "(default: binary)",
    )
    parser.add_argument(
        "--outside",
        choices=sorted(OUTSIDE),
        default="nan",
        help="value of maps outside the lungs (default: %(default)s)",
    )
    parser.add_argument("--no-key-images", action="store_true", help="write no key images")


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Check that the results belong to the series, and write the objects."""
    from lungperfusion.archive.key_images import can_draw  # slow to import: highdicom
    from lungperfusion.archive.results import read_results
    from lungperfusion.archive.source import read_source
    from lungperfusion.archive.writing import ArchiveOptions, write_objects

    _require_apart(arguments.out, arguments.results, arguments.source)
    if not arguments.no_key_images and not can_draw():
        warn("no key images: they are drawn with matplotlib, which is not installed")
    with results_folder(arguments.out, overwrite=arguments.overwrite, tell=warn) as folder:
        results = read_results(arguments.results)
        source = read_source(
            arguments.source, series_uid=arguments.series, progress=part(progress, 0.0, 0.3)
        )
        if arguments.anonymise and source.is_annotated and not arguments.no_key_images:
            warn(
                "key images show values alone: the source says that its pixels hold annotations "
                "(Burned In Annotation), which may name the patient"
            )
        names = write_objects(
            folder,
            results,
            source,
            ArchiveOptions(
                kind="labelmap" if arguments.labelmap else "binary",
                outside=OUTSIDE[arguments.outside],
                anonymise=arguments.anonymise,
                key_images=not arguments.no_key_images,
            ),
            part(progress, 0.3, 1.0),
        )
    progress(1.0, f"{len(names)} objects written")
    show(f"{arguments.out}")
    return 0


def _require_apart(out: Path, results: Path, source: Path) -> None:
    """Refuse an output folder where objects would replace results or mix with the source."""
    place = out.resolve()
    for folder, what in ((results.resolve(), "results"), (source.resolve(), "source")):
        if folder.is_dir() and (place.is_relative_to(folder) or folder.is_relative_to(place)):
            raise InputError(
                f"the output folder {named(out)} is that of the {what}, lies in it or holds it; "
                "choose one beside it"
            )
    if (place / "results.json").exists():
        raise InputError(
            f"the output folder {named(out)} holds results of an analysis, which objects do not "
            "replace; choose another folder"
        )
