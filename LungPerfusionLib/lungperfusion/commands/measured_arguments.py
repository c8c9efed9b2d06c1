"""Options of measured maps of perfusion and ventilation, and their files."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from lungperfusion.analysis.ctvq.options import Measured
from lungperfusion.errors import InputError
from lungperfusion.io import Scan, read_ct, read_map, read_segmentation
from lungperfusion.naming import named
from lungperfusion.resampling import resample_labelmap
from lungperfusion.terms import LUNGS
from lungperfusion.terms.vq import LOW_SHARE
from lungperfusion.volume import Volume
from lungperfusion.vq.measured import BLUR_FWHM_MM, MapKind, MeasuredMap, Quantity, State

QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
_WIDTHS = ", ".join(f"{kind} {width:g}" for kind, width in BLUR_FWHM_MM.items())


def add_measured_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of both measured maps."""
    for quantity in QUANTITIES:
        group = parser.add_argument_group(f"measured {quantity}")
        group.add_argument(
            f"--{quantity}-map",
            type=Path,
            metavar="IMAGE",
            help=f"measured {quantity} to cross with the maps of CT; needs --{quantity}-kind",
        )
        group.add_argument(f"--{quantity}-kind", choices=get_args(MapKind), help="what it shows")
        group.add_argument(
            f"--{quantity}-ct",
            type=Path,
            metavar="CT",
            help="CT that the map lies on; the map is aligned and checked by it",
        )
        group.add_argument(
            f"--{quantity}-breath",
            choices=get_args(State),
            help="breath that the map was taken in (default: that of the lungs it fits)",
        )
        group.add_argument(
            f"--{quantity}-blur",
            type=float,
            metavar="MM",
            help=f"width at half height of a point in the map (default by kind: {_WIDTHS})",
        )
        group.add_argument(
            f"--low-measured-{quantity}",
            type=float,
            default=LOW_SHARE,
            metavar="SHARE",
            help="low is below this share of the mean (default: %(default)s)",
        )
        if quantity == "perfusion":
            group.add_argument(
                "--perfusion-from",
                type=Path,
                metavar="RESULTS",
                help="results folder of ipv instead of --perfusion-map: its iodine within its "
                "lungs, without what it left out",
            )


def check_measured(arguments: argparse.Namespace) -> None:
    """Refuse options that do not belong together before anything is read."""
    if arguments.perfusion_from is not None:
        for name in ("map", "kind"):
            if getattr(arguments, f"perfusion_{name}") is not None:
                raise InputError(
                    f"--perfusion-from brings its own map; leave out --perfusion-{name}"
                )
    for quantity in QUANTITIES:
        given = {
            name: getattr(arguments, f"{quantity}_{name}")
            for name in ("kind", "ct", "breath", "blur")
        }
        shown = getattr(arguments, f"{quantity}_map")
        if shown is None and (quantity != "perfusion" or arguments.perfusion_from is None):
            lone = [name for name, value in given.items() if value is not None]
            if lone:
                raise InputError(
                    f"--{quantity}-{lone[0]} says something of --{quantity}-map; give the map"
                )
        elif shown is not None and given["kind"] is None:
            raise InputError(
                f"say what --{quantity}-map shows: --{quantity}-kind {', '.join(get_args(MapKind))}"
            )
        width, low = given["blur"], getattr(arguments, f"low_measured_{quantity}")
        if width is not None and not 0 <= width <= 40:
            raise InputError(f"--{quantity}-blur is a width of 0 to 40 mm, not {width:g}")
        if not 0 < low < 2:
            raise InputError(
                f"--low-measured-{quantity} is a share of the mean between 0 and 2, not {low:g}"
            )


def read_measured(arguments: argparse.Namespace) -> tuple[Measured, dict[str, Scan]]:
    """Read the measured maps with what belongs to them.

    Returns
    -------
    Measured
        None of both where none is asked for.
    dict of str to Scan
        Files that were read, by role.

    """
    found: dict[Quantity, MeasuredMap] = {}
    scans: dict[str, Scan] = {}
    for quantity in QUANTITIES:
        path, kind = (getattr(arguments, f"{quantity}_{name}") for name in ("map", "kind"))
        if quantity == "perfusion" and arguments.perfusion_from is not None:
            scan, kind = _iodine_of(arguments.perfusion_from), "iodine"
        elif path is not None:
            scan = read_map(path, unit="1")
        else:
            continue
        scans[f"{quantity}_map"] = scan
        ct = getattr(arguments, f"{quantity}_ct")
        if ct is not None:
            scans[f"{quantity}_ct"] = read_ct(ct)
        found[quantity] = MeasuredMap(
            image=_told(scan.volume, kind),
            kind=kind,
            quantity=quantity,
            ct=None if ct is None else scans[f"{quantity}_ct"].volume,
            breath=getattr(arguments, f"{quantity}_breath"),
            fwhm_mm=getattr(arguments, f"{quantity}_blur"),
            low=getattr(arguments, f"low_measured_{quantity}"),
        )
    return Measured(perfusion=found.get("perfusion"), ventilation=found.get("ventilation")), scans


def _told(image: Volume, kind: MapKind) -> Volume:
    """Image without voxels of which it says nothing: xenon maps hold 0 where no gas was."""
    if kind != "xenon":
        return image
    valid = np.asarray(image.array) != 0
    return Volume(
        image.array,
        image.geometry,
        image.unit,
        valid if image.valid is None else valid & image.valid,
    )


def _iodine_of(folder: Path) -> Scan:
    """Iodine of finished results within their lungs, without what they left out."""
    from lungperfusion.archive.results import read_results  # slow to import: highdicom

    results = read_results(folder)
    if "iodine" not in results.maps or "lungs" not in results.segmentations:
        raise InputError(
            f"{named(folder.name)} holds no iodine map with its lungs; give a results folder of "
            "ipv, or the map itself with --perfusion-map"
        )
    path, unit = results.maps["iodine"]
    scan = read_map(path, unit=unit)
    volume = scan.volume
    on_map = {
        name: resample_labelmap(read_segmentation(results.segmentations[name]), volume.geometry)
        for name in ("lungs", "exclusions")
        if name in results.segmentations
    }
    valid = on_map["lungs"].mask(*LUNGS)
    if "exclusions" in on_map:
        valid &= on_map["exclusions"].array == 0
    if volume.valid is not None:
        valid &= volume.valid
    return replace(scan, volume=Volume(volume.array, volume.geometry, volume.unit, valid))
