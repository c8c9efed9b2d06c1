"""Arguments on lungs, lobes and zones, which most commands share."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Literal

from lungperfusion.analysis.regions import NO_POINTS, RegionOptions
from lungperfusion.engines import ENGINES, find_engine
from lungperfusion.engines.running import TIMEOUT_MIN
from lungperfusion.errors import InputError
from lungperfusion.io import read_labelmap
from lungperfusion.io.fissure_points import read_fissure_points
from lungperfusion.segmentation.imports import CONVENTIONS
from lungperfusion.segmentation.zones import DEFAULT_ZONE_RULE, RIM_MM, SUBPLEURAL_MM
from lungperfusion.terms import LOBES, Region


def _chosen_engines(arguments: argparse.Namespace) -> dict[str, str]:
    """Engine by task out of ``--engine TASK=NAME``, checked before anything is read."""
    chosen: dict[str, str] = {}
    given = {"lungs": arguments.lung_mask is not None, "lobes": arguments.lobes not in _CHOICES}
    for words in arguments.engine or ():
        task, _, name = words.partition("=")
        if task not in given or name not in ENGINES or task in chosen:
            raise InputError(
                "--engine expects lungs=NAME or lobes=NAME, each at most once, with one of "
                f"{', '.join(ENGINES)}; {words!r} was given"
            )
        if given[task]:
            raise InputError(
                f"the {task} come from a file or from an engine, not from both: leave out "
                f"--engine {words} or the file"
            )
        chosen[task] = name
    for task, name in chosen.items():
        reason = find_engine(name).why_not("lungs" if task == "lungs" else "lobes")
        if reason:
            raise InputError(f"the engine {name} cannot segment {task} here: {reason}")
    if arguments.engine_timeout_min <= 0:
        raise InputError(
            f"--engine-timeout-min expects minutes above 0, not {arguments.engine_timeout_min:g}"
        )
    return chosen


_CHOICES = ("auto", "none")


def add_ct_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the chest CT that a command reads."""
    parser.add_argument(
        "ct",
        type=Path,
        metavar="CT",
        help="DICOM folder, zip of one, or NRRD, NIfTI, MHA file of a chest CT",
    )
    parser.add_argument("--series", metavar="UID", help="DICOM series to read, of several")


def add_region_arguments(
    parser: argparse.ArgumentParser, *, lobes: Literal["auto", "none"] = "none"
) -> None:
    """Add the options on lungs, lobes and zones.

    Parameters
    ----------
    parser
        Of one command.
    lobes
        What the command does about lobes unless told otherwise.

    """
    group = parser.add_argument_group("regions")
    group.add_argument(
        "--lung-mask",
        type=Path,
        metavar="LABELMAP",
        help="lung or lobe label map (NRRD, NIfTI, MHA, .seg.nrrd) instead of segmenting",
    )
    group.add_argument(
        "--lobes",
        default=lobes,
        metavar="auto|none|FILE",
        help="lobes along the visible fissures, no lobes, or a label map or segmentation of lobes "
        "(of this program, TotalSegmentator, lungmask, Chest Imaging Platform, 3D Slicer); a file "
        "also gives the lungs, unless --lung-mask does (default: %(default)s)",
    )
    group.add_argument(
        "--lobe-convention",
        choices=tuple(CONVENTIONS),
        metavar="NAME",
        help="what the values of a plain lobe label map mean: " + ", ".join(CONVENTIONS),
    )
    group.add_argument(
        "--fissure-points",
        type=Path,
        metavar="FILE",
        help="points on fissures that the lobes are moved through: Slicer markups (.mrk.json, "
        "lists named after their fissure) or CSV with the columns fissure, r_mm, a_mm, s_mm",
    )
    group.add_argument(
        "--removed-lobe",
        action="append",
        choices=[lobe.value for lobe in LOBES],
        metavar="LOBE",
        help="lobe that an operation has taken, such as right_upper_lobe; may be repeated",
    )
    group.add_argument(
        "--vessel-mask",
        type=Path,
        metavar="LABELMAP",
        help="vessels found or corrected before: vessels.seg.nrrd of lobes or vesselbv, or those "
        "of another program; taken instead of looking for them",
    )
    group.add_argument(
        "--engine",
        action="append",
        metavar="TASK=NAME",
        help="let an installed segmentation program draw the lungs or lobes: lungs=NAME or "
        f"lobes=NAME with {' or '.join(ENGINES)}; may be given for both. It runs by itself with "
        "weights that are already on this machine, nothing is downloaded, and its outlines are "
        "compared with this program's own",
    )
    group.add_argument(
        "--engine-timeout-min",
        type=float,
        default=TIMEOUT_MIN,
        metavar="MIN",
        help="end an engine that takes longer (default: %(default)g)",
    )
    group.add_argument(
        "--zones",
        choices=("height", "volume"),
        default=DEFAULT_ZONE_RULE,
        help="thirds of equal height or of equal volume (default: %(default)s)",
    )
    rim = group.add_mutually_exclusive_group()
    rim.add_argument(
        "--rim-mm",
        type=float,
        default=RIM_MM,
        metavar="MM",
        help="thickness of the rim under the lung surface (default: %(default)s)",
    )
    rim.add_argument(
        "--rim-fraction",
        type=float,
        metavar="SHARE",
        help="rim as the outer share of each lung's volume instead, such as 0.5",
    )
    group.add_argument(
        "--subpleural-mm",
        type=float,
        default=SUBPLEURAL_MM,
        metavar="MM",
        help="thickness of the subpleural shell (default: %(default)s)",
    )


def other_breath_options(
    arguments: argparse.Namespace, breath: str, regions: RegionOptions
) -> RegionOptions:
    """How the regions of a second CT are found: as those of the first, with files of its own."""
    mask, lobes = (getattr(arguments, f"{breath}_{name}") for name in ("lung_mask", "lobes"))
    return replace(
        regions,
        lung_mask=None if mask is None else read_labelmap(mask),
        lobes=lobes if lobes in ("auto", "none") else read_labelmap(Path(lobes)),
        vessels=None,
    )


def region_options(arguments: argparse.Namespace) -> RegionOptions:
    """Take the options that `add_region_arguments` added, and read the files they name."""
    mask, lobes, points = arguments.lung_mask, arguments.lobes, arguments.fissure_points
    vessels = arguments.vessel_mask
    engines = _chosen_engines(arguments)
    if "lobes" in engines:
        lobes = "auto"
    if points is not None and lobes == "none":
        raise InputError("fissure points move lobe boundaries: add --lobes auto or a file")
    return RegionOptions(
        lung_mask=None if mask is None else read_labelmap(mask),
        lobes=lobes if lobes in ("auto", "none") else read_labelmap(Path(lobes)),
        lung_engine=engines.get("lungs"),
        lobe_engine=engines.get("lobes"),
        engine_timeout_min=arguments.engine_timeout_min,
        lobe_convention=arguments.lobe_convention,
        fissure_points_mm=NO_POINTS if points is None else read_fissure_points(points),
        removed_lobes=tuple(Region(name) for name in arguments.removed_lobe or ()),
        vessels=None if vessels is None else read_labelmap(vessels),
        zones=arguments.zones,
        rim_mm=arguments.rim_mm,
        rim_fraction=arguments.rim_fraction,
        subpleural_mm=arguments.subpleural_mm,
    )
