"""Arguments on the iodine map, what is left out of it, and defects."""

from __future__ import annotations

import argparse
from pathlib import Path

from lungperfusion.analysis.iodine_measure import IodineOptions
from lungperfusion.iodine.defects import DEFAULT_RULE, MINIMAL_VOLUME_ML
from lungperfusion.iodine.exclusion import DEFAULT_HANDLING, HEART_RIM_MM, STREAK_REACH_MM
from lungperfusion.iodine.score import AERATED_HU
from lungperfusion.iodine.smoothing import IODINE_SMOOTHING_MM
from lungperfusion.terms.iodine import DEFECT_BELOW_HU
from lungperfusion.terms.vq import LOW_SHARE


def add_measure_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options on the map, what is left out, and defects."""
    group = parser.add_argument_group("map and defects")
    group.add_argument(
        "--smoothing-mm",
        type=float,
        default=IODINE_SMOOTHING_MM,
        metavar="MM",
        help="Gaussian sigma inside each lung (default: %(default)s)",
    )
    group.add_argument(
        "--window-hu",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="count only lung of this density",
    )
    group.add_argument(
        "--exclusions",
        choices=("exclude", "mark"),
        default=DEFAULT_HANDLING,
        help="leave large vessels, airways, streaks and heart rim out, or only mark them "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--streak-reach-mm",
        type=float,
        default=STREAK_REACH_MM,
        metavar="MM",
        help="lung this close to undiluted contrast is a streak region (default: %(default)s)",
    )
    group.add_argument(
        "--heart-rim-mm",
        type=float,
        default=HEART_RIM_MM,
        metavar="MM",
        help="lung this close to the heart is its rim (default: %(default)s)",
    )
    group.add_argument(
        "--defect-rule",
        choices=("relative", "absolute"),
        help=f"below a share of the expected iodine, or below HU (default: {DEFAULT_RULE})",
    )
    group.add_argument(
        "--defect-below-hu",
        type=float,
        default=DEFECT_BELOW_HU,
        metavar="HU",
        help="limit of the absolute rule (default: %(default)s)",
    )
    group.add_argument(
        "--defect-relative-below",
        type=float,
        default=LOW_SHARE,
        metavar="SHARE",
        help="limit of the relative rule, 0 to 1 (default: %(default)s)",
    )
    group.add_argument(
        "--defect-minimal-ml",
        type=float,
        default=MINIMAL_VOLUME_ML,
        metavar="ML",
        help="smallest defect (default: %(default)s)",
    )
    group.add_argument(
        "--trunk",
        type=Path,
        metavar="LABELMAP",
        help="region in the pulmonary trunk, instead of finding it",
    )
    group.add_argument(
        "--defects",
        type=Path,
        metavar="LABELMAP",
        help="corrected defects.seg.nrrd of an earlier run, to measure instead of searching",
    )


def iodine_options(arguments: argparse.Namespace) -> IodineOptions:
    """Take the options that `add_measure_arguments` added."""
    preset = arguments.preset == "lung-pbv-like"
    window = arguments.window_hu or (AERATED_HU if preset else None)
    rule = arguments.defect_rule or ("absolute" if preset else DEFAULT_RULE)
    return IodineOptions(
        smoothing_mm=arguments.smoothing_mm,
        window_hu=None if window is None else (window[0], window[1]),
        exclusions=arguments.exclusions,
        streak_reach_mm=arguments.streak_reach_mm,
        heart_rim_mm=arguments.heart_rim_mm,
        defect_rule=rule,
        defect_below_hu=arguments.defect_below_hu,
        defect_relative_below=arguments.defect_relative_below,
        defect_minimal_ml=arguments.defect_minimal_ml,
    )
