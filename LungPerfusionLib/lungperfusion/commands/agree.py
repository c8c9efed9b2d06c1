"""``lungperfusion agree``: agreement of V/Q maps with references and readers over many cases."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lungperfusion.cohort.lobar import agree_by_region, agree_within_patients
from lungperfusion.commands.output import warn
from lungperfusion.commands.train import read_table
from lungperfusion.errors import InputError
from lungperfusion.io import results_folder
from lungperfusion.naming import named
from lungperfusion.progress import Progress
from lungperfusion.results.analysis import Table
from lungperfusion.results.tables import csv_text
from lungperfusion.results.vq_tables import agreement_table
from lungperfusion.terms import LOBES, ZONES
from lungperfusion.vq.metrics import kendall_tau

_PARTITIONS = {"lobes": LOBES, "zones": ZONES}
_MIXED_COLUMNS = (
    *("over", "subjects", "count", "slope", "lower", "upper", "p"),
    *("subject_sd", "residual_sd", "reason"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="RESULTS",
        help="folder that holds the results of `lungperfusion ctvq --reference` or --ratings, of "
        "one case each, at any depth",
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the tables"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace earlier tables")


def pooled_agreement(rows: Sequence[Mapping[str, Any]], by: str) -> Table:
    """Agreement over the cases: all lobes or zones pooled, then each for itself.

    Parameters
    ----------
    rows
        Of ``reference_comparison.csv`` of all cases.
    by
        ``"lobes"`` or ``"zones"``.

    """
    chosen = [row for row in rows if row["region"] in set(_PARTITIONS[by])]
    found = agree_by_region(
        chosen, ct="ct_percent", reference="reference_percent", volume="volume_percent"
    )
    return agreement_table({f"all {by}" if k == "all" else k: v for k, v in found.items()})


def mixed_agreement(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Slope of the reference on the CT beyond region and size, by a model with random patients.

    Parameters
    ----------
    rows
        Of ``reference_comparison.csv`` of all cases, with their ``case``.

    """
    out = []
    for name, members in _PARTITIONS.items():
        chosen = [row for row in rows if row["region"] in set(members)]
        if not chosen:
            continue
        row: dict[str, Any] = dict.fromkeys(_MIXED_COLUMNS, math.nan)
        row |= {"over": f"all {name}", "reason": ""}
        try:
            found = agree_within_patients(
                chosen, ct="ct_percent", reference="reference_percent", volume="volume_percent"
            )
        except InputError as error:
            row["reason"] = str(error)
        else:
            row |= asdict(found)
            row["lower"], row["upper"] = row.pop("interval")
        out.append(row)
    return Table(_MIXED_COLUMNS, tuple(out))


def rating_agreement(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Kendall's tau of derived and given ratings over all cases, per reader, zone and in all."""
    columns = ("over", "count", "kendall_tau", "p")
    groups: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        pair = float(row["derived_rating"]), float(row["given_rating"])
        reader = f"reader {row['reader']}" if row["reader"] else "reader"
        for name in ("all", reader, str(row["region"])):
            groups.setdefault(name, []).append(pair)
    out = []
    for name, pairs in groups.items():
        if len(pairs) >= 2:
            tau, p = kendall_tau([a for a, _ in pairs], [b for _, b in pairs])
            out.append(dict(zip(columns, (name, len(pairs), tau, p), strict=True)))
    return Table(columns, tuple(out))


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Read the tables of all cases and write how they agree."""
    progress(0.0, "reading tables")
    compared = _all_rows(arguments.folder, "reference_comparison.csv")
    rated = _all_rows(arguments.folder, "zone_ratings.csv")
    tables = {f"agreement_{by}": pooled_agreement(compared, by) for by in _PARTITIONS}
    tables["agreement_mixed_model"] = mixed_agreement(compared)
    tables["agreement_ratings"] = rating_agreement(rated)
    tables = {name: table for name, table in tables.items() if table.rows}
    if not tables:
        raise InputError(
            f"{named(arguments.folder)} holds no reference_comparison.csv or zone_ratings.csv "
            "with enough cases; run lungperfusion ctvq with --reference or --ratings first"
        )
    with results_folder(arguments.out, overwrite=arguments.overwrite, tell=warn) as folder:
        for name, table in tables.items():
            text = csv_text(table.rows, table.columns)
            (folder / f"{name}.csv").write_text(text, encoding="utf-8", newline="\n")
    progress(1.0, "done")
    return 0


def _all_rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """Rows of the tables of all cases, with the folder of each as ``case``."""
    paths: Iterable[Path] = sorted(Path(folder).rglob(name))
    return [row | {"case": path.parent.as_posix()} for path in paths for row in read_table(path)]
