"""``lungperfusion train``: fit a model to a table of cases with known answers."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lungperfusion
from lungperfusion.cohort.discrimination import FOLDS, REPEATS
from lungperfusion.cohort.training import PENALTY, train
from lungperfusion.commands.output import warn
from lungperfusion.errors import InputError
from lungperfusion.io.atomic import kept_aside
from lungperfusion.io.tables import read_small_table
from lungperfusion.naming import named
from lungperfusion.progress import Progress
from lungperfusion.terminal import show
from lungperfusion.vq import collateral, defects


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a kind of model predicts, and from what."""

    outcome: str
    features: tuple[str, ...]
    decreasing: tuple[str, ...] = ()


PURPOSES = {
    "collateral-ventilation": Purpose(
        "collateral_ventilation", collateral.FEATURES, collateral.DECREASING
    ),
    "perfusion-defect": Purpose("perfusion_defect", defects.FEATURES),
}
"""By purpose; the features are columns of ``collateral_ventilation.csv`` and
``perfusion_defect_candidates.csv``."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "table",
        type=Path,
        metavar="CSV",
        help="rows with the patient, the features and the outcome (0 or 1)",
    )
    parser.add_argument("--purpose", choices=tuple(PURPOSES), default="collateral-ventilation")
    parser.add_argument("--outcome", metavar="COLUMN", help="default: named after the purpose")
    parser.add_argument(
        "--features", nargs="+", metavar="COLUMN", help="default: those of the purpose"
    )
    parser.add_argument(
        "--group",
        metavar="COLUMN",
        default="case",
        help="column that names the patient of each row (default: %(default)s)",
    )
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--penalty", type=float, default=PENALTY)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="JSON", help="model file to write"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="write although there is a model; the earlier one is kept under another name",
    )


def read_table(path: Path) -> list[dict[str, Any]]:
    """Read a CSV with a header line.

    Raises
    ------
    InputError
        If the file cannot be read as text.

    """
    return read_small_table(path).mappings


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Read the table, train, write the model and print its validation."""
    if arguments.out.exists() and not arguments.overwrite:
        raise InputError(
            f"{named(arguments.out)} exists; choose another name, or give --overwrite: the "
            "earlier file is kept under another name"
        )
    chosen = PURPOSES[arguments.purpose]
    progress(0.0, "training")
    rows = read_table(arguments.table)
    model = train(
        rows,
        outcome=arguments.outcome or chosen.outcome,
        features=tuple(arguments.features or chosen.features),
        purpose=arguments.purpose.replace("-", " "),
        decreasing=chosen.decreasing,
        group=arguments.group,
        folds=arguments.folds,
        repeats=arguments.repeats,
        penalty=arguments.penalty,
        seed=arguments.seed,
    )
    provenance = {
        **model.provenance,
        "table_sha256": hashlib.sha256(arguments.table.read_bytes()).hexdigest(),
        "version": lungperfusion.__version__,
    }
    with kept_aside(arguments.out, warn) as path:
        text = replace(model, provenance=provenance).to_json()
        path.write_text(text, encoding="utf-8", newline="\n")
    progress(1.0, "done")
    figures = model.validation
    if figures["repeated_rows"]:
        warn(
            f"{figures['repeated_rows']} of {figures['cases']} rows repeat the features of another "
            "one: if they are the same patient under two names, the figures are too good"
        )
    low, high = figures["auc_interval"]
    slope = figures["calibration_slope"]
    show(
        f"{figures['cases']} rows of {figures['patients']} patients, {figures['method']}: "
        f"AUC {figures['auc']:.2f} ({low:.2f} to {high:.2f}), "
        f"sensitivity {figures['sensitivity']:.2f}, specificity {figures['specificity']:.2f}, "
        f"calibration slope {'not defined' if slope is None else format(slope, '.2f')}"
    )
    return 0
