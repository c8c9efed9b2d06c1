"""``lungperfusion ctvq``: ventilation, perfusion and V/Q from one expiratory, inspiratory pair."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from lungperfusion.analysis.ctvq import (
    TRANSFORM,
    VOLUME_TRANSFORM,
    Breath,
    Comparison,
    Points,
    Steering,
    VqOptions,
    analyse_ctvq,
)
from lungperfusion.analysis.regions import RegionOptions, find_regions
from lungperfusion.commands.measured_arguments import (
    add_measured_arguments,
    check_measured,
    read_measured,
)
from lungperfusion.commands.output import add_output_arguments, results_of
from lungperfusion.commands.region_arguments import (
    add_region_arguments,
    other_breath_options,
    region_options,
)
from lungperfusion.commands.train import read_table
from lungperfusion.errors import InputError
from lungperfusion.io import Scan, read_ct, read_map, read_vectors
from lungperfusion.io.json_files import read_json
from lungperfusion.io.markups import read_markups
from lungperfusion.naming import named
from lungperfusion.progress import Progress, part
from lungperfusion.terms import ZONES
from lungperfusion.terms.vq import LOW_SHARE
from lungperfusion.volume import Volume
from lungperfusion.vq.classes import HealthyBins
from lungperfusion.vq.comparison import align_reference, bring_to_ct
from lungperfusion.vq.displacement import DisplacementField, displacement_from_lps
from lungperfusion.vq.model import LogisticModel
from lungperfusion.vq.perfusion import WEIGHTS
from lungperfusion.vq.ventilation import DEFAULT_METHOD


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    source = parser.add_argument_group("images")
    source.add_argument("--expiration", type=Path, required=True, metavar="CT")
    source.add_argument("--inspiration", type=Path, required=True, metavar="CT")
    source.add_argument(
        "--inspiration-lung-mask",
        type=Path,
        metavar="LABELMAP",
        help="lung or lobe label map of the inspiratory scan (--lung-mask is the expiratory one)",
    )
    source.add_argument(
        "--inspiration-lobes",
        default="auto",
        metavar="auto|none|FILE",
        help="lobes of the inspiratory scan; carried over to expiration unless --lobes gives some "
        "(default: %(default)s)",
    )
    steer = parser.add_argument_group("registration")
    steer.add_argument(
        "--transform",
        type=Path,
        nargs="+",
        metavar="FILE",
        help=f"earlier {TRANSFORM}.nrrd to reuse and, for the same volume change, "
        f"{VOLUME_TRANSFORM}.nrrd after it",
    )
    steer.add_argument(
        "--landmarks",
        type=Path,
        nargs=2,
        metavar=("EXPIRATION", "INSPIRATION"),
        help="markups (.mrk.json) of corresponding points that steer the registration",
    )
    steer.add_argument(
        "--slide-lobes",
        action="store_true",
        help="let lobes slide along the fissures (needs lobes in both label maps)",
    )
    maps = parser.add_argument_group("maps and classes")
    maps.add_argument(
        "--ventilation",
        choices=("jacobian", "density", "hybrid"),
        default=DEFAULT_METHOD,
        help="default: %(default)s",
    )
    maps.add_argument(
        "--perfusion",
        choices=("combined", *WEIGHTS),
        default="combined",
        help="surrogate; default: %(default)s",
    )
    maps.add_argument("--low-ventilation", type=float, default=LOW_SHARE, metavar="SHARE")
    maps.add_argument("--low-perfusion", type=float, default=LOW_SHARE, metavar="SHARE")
    maps.add_argument(
        "--healthy-bins",
        type=Path,
        metavar="CSV",
        help="limits of bins of healthy people's V and Q over their means, with the columns map "
        "(ventilation or perfusion) and below; the lowest bin counts as low",
    )
    maps.add_argument(
        "--grid",
        choices=("expiration", "inspiration"),
        default="expiration",
        help="scan on whose grid maps are written (default: %(default)s)",
    )
    maps.add_argument(
        "--defect-model",
        type=Path,
        metavar="JSON",
        help="model of `lungperfusion train --purpose perfusion-defect` for the score",
    )
    add_measured_arguments(parser)
    _add_comparison_arguments(parser)
    add_region_arguments(parser)
    add_output_arguments(parser)


def _add_comparison_arguments(parser: argparse.ArgumentParser) -> None:
    compare = parser.add_argument_group("comparison")
    compare.add_argument(
        "--reference", type=Path, metavar="IMAGE", help="SPECT, iodine or gas image to compare"
    )
    compare.add_argument(
        "--reference-kind", choices=("perfusion", "ventilation"), default="perfusion"
    )
    compare.add_argument(
        "--reference-ct",
        type=Path,
        metavar="CT",
        help="CT of the reference examination; the reference is aligned through it first",
    )
    compare.add_argument(
        "--reference-alignment",
        choices=("rigid", "affine"),
        default="rigid",
        help="with --reference-ct (default: %(default)s)",
    )
    compare.add_argument(
        "--ratings",
        type=Path,
        metavar="CSV",
        help="readers' perfusion ratings, 1 to 5, with the columns region, rating and, for more "
        "than one, reader",
    )
    compare.add_argument(
        "--collateral-model", type=Path, metavar="JSON", help="model of `lungperfusion train`"
    )


def read_landmarks(path: Path) -> Points:
    """Read the control points of a Slicer markups file, RAS mm, shape (N, 3).

    Raises
    ------
    InputError
        If the file is no markups JSON with points.

    """
    markups = [markup for markup in read_markups(path) if len(markup.points_ras_mm)]
    if not markups:
        raise InputError(f"{named(Path(path).name)} holds no points; place at least one")
    if len(markups) > 1:
        raise InputError(
            f"{named(Path(path).name)} holds {len(markups)} lists of points; save one by itself"
        )
    return markups[0].points_ras_mm


def read_ratings(path: Path) -> dict[str, dict[str, float]]:
    """Read ratings by reader and zone from a CSV with the columns region, rating and reader.

    Without a column ``reader`` all ratings are those of one, called ``""``.

    Raises
    ------
    InputError
        If a region is no zone or rated twice, or a rating is not between 1 and 5.

    """
    name = named(Path(path).name)
    ratings: dict[str, dict[str, float]] = {}
    for row in read_table(path):
        region, reader = row.get("region"), str(row.get("reader") or "")
        if region not in set(ZONES):
            raise InputError(
                f"{name}: {named(repr(region))} is no zone; expected are {', '.join(ZONES)}"
            )
        rating = _number(row.get("rating"))
        if not 1 <= rating <= 5:
            raise InputError(
                f"{name}: the rating of {region} must be between 1 and 5, not "
                f"{named(repr(row.get('rating')))}"
            )
        given = ratings.setdefault(reader, {})
        if region in given:
            raise InputError(
                f"{name}: {region} is rated twice; distinguish readers in a column reader"
            )
        given[str(region)] = rating
    return ratings


def read_healthy_bins(path: Path) -> HealthyBins:
    """Read limits of bins from a CSV with the columns map and below, lowest first.

    Raises
    ------
    InputError
        If a map is neither ventilation nor perfusion, one of both has no limit, or limits do not
        rise.

    """
    name = named(Path(path).name)
    limits: dict[str, list[float]] = {"ventilation": [], "perfusion": []}
    for row in read_table(path):
        if row.get("map") not in limits:
            raise InputError(
                f"{name}: {named(repr(row.get('map')))} is no map; expected are ventilation and "
                "perfusion"
            )
        limits[row["map"]].append(_number(row.get("below")))
    try:
        return HealthyBins(
            ventilation=tuple(limits["ventilation"]), perfusion=tuple(limits["perfusion"])
        )
    except ValueError as error:
        raise InputError(f"{name}: {named(error)}") from error


def _number(text: Any) -> float:
    try:
        return float(text or "")
    except ValueError:
        return math.nan


def read_transform(path: Path) -> DisplacementField:
    """Read a displacement field that this command wrote.

    Raises
    ------
    InputError
        If the file is no displacement field.

    """
    return displacement_from_lps(*read_vectors(path))


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse options that do not belong together before anything is read."""
    check_measured(arguments)


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Read both scans, find their regions, analyse them, write the results folder."""
    check_measured(arguments)
    options, steering = _options(arguments), _steering(arguments)
    ratings = {} if arguments.ratings is None else read_ratings(arguments.ratings)
    with results_of(arguments, progress) as results:
        progress = results.progress
        scans = {
            "expiration": read_ct(arguments.expiration, progress=part(progress, 0.0, 0.05)),
            "inspiration": read_ct(arguments.inspiration, progress=part(progress, 0.05, 0.1)),
        }
        sources = {state: scan.source for state, scan in scans.items()}
        regions = region_options(arguments)
        inspiratory = other_breath_options(arguments, "inspiration", regions)
        references = _references(arguments)
        measured, maps = read_measured(arguments)
        comparison = Comparison(
            reference=_aligned(arguments, references, scans["expiration"].volume),
            kind=arguments.reference_kind,
            ratings=ratings,
        )
        # Only these look at what lies far from the lungs.
        whole = bool(maps) or options.grid == "inspiration"
        breaths = [
            _breath(
                scans.pop(state),
                how,
                vessels=state == "expiration",
                whole=whole,
                progress=part(progress, start, start + 0.1),
            )
            for state, how, start in (
                ("expiration", regions, 0.1),
                ("inspiration", inspiratory, 0.2),
            )
        ]
        analysis = analyse_ctvq(
            *breaths,
            options=options,
            steering=steering,
            comparison=comparison,
            measured=measured,
            pictures=not arguments.no_report,
            progress=part(progress, 0.3, 1.0),
        )
        others = {f"inspiration_{k}": v for k, v in inspiratory.sources.items()}
        results.write(analysis, {**sources, **regions.sources, **others, **references, **maps})
    return 0


def _breath(
    scan: Scan, how: RegionOptions, *, vessels: bool, whole: bool, progress: Progress
) -> Breath:
    """Find the regions of one scan, of which only what lies near its lungs is kept if possible."""
    found = find_regions(
        scan.volume, how, vessels=vessels, acquisition=scan.acquisition, progress=progress
    )
    breath = Breath(scan.volume, found)
    return breath if whole else breath.near_lungs()


def _options(arguments: argparse.Namespace) -> VqOptions:
    bins = arguments.healthy_bins
    return VqOptions(
        ventilation=arguments.ventilation,
        perfusion=None if arguments.perfusion == "combined" else {arguments.perfusion: 1.0},
        low_ventilation=arguments.low_ventilation,
        low_perfusion=arguments.low_perfusion,
        healthy=None if bins is None else read_healthy_bins(bins),
        grid=arguments.grid,
        slide_lobes=arguments.slide_lobes,
        collateral_model=_read_model(arguments.collateral_model),
        defect_model=_read_model(arguments.defect_model),
    )


def _steering(arguments: argparse.Namespace) -> Steering:
    marks = arguments.landmarks
    landmarks = None if marks is None else (read_landmarks(marks[0]), read_landmarks(marks[1]))
    fields = [read_transform(path) for path in arguments.transform or ()]
    if len(fields) > 2:
        raise InputError(f"--transform takes one file or two, not {len(fields)}")
    return Steering(
        transform=fields[0] if fields else None,
        volume_transform=fields[1] if len(fields) > 1 else None,
        landmarks=landmarks,
    )


def _references(arguments: argparse.Namespace) -> dict[str, Scan]:
    """Read the reference image and the CT of its examination, as far as given."""
    if arguments.reference is None:
        return {}
    scans = {"reference": read_map(arguments.reference, unit="1")}
    if arguments.reference_ct is not None:
        scans["reference_ct"] = read_ct(arguments.reference_ct)
    return scans


def _aligned(
    arguments: argparse.Namespace, scans: dict[str, Scan], expiration: Volume
) -> Volume | None:
    """Bring the reference into the patient space of the expiratory CT."""
    if "reference" not in scans:
        return None
    reference = scans["reference"].volume
    if "reference_ct" not in scans:
        return reference
    affine = arguments.reference_alignment == "affine"
    moved = align_reference(scans["reference_ct"].volume, expiration, affine=affine)
    return bring_to_ct(reference, moved, expiration)


def _read_model(path: Path | None) -> LogisticModel | None:
    if path is None:
        return None
    return LogisticModel.from_record(read_json(path, "a model that `lungperfusion train` wrote"))
