"""``lungperfusion manifest DICOM_ROOT -o MANIFEST.csv``: propose a manifest from a DICOM tree."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from lungperfusion.batch.dicom_tree import Series, read_tree
from lungperfusion.batch.proposal import Proposal, propose, remarks
from lungperfusion.batch.series_list import SERIES_COLUMNS, described
from lungperfusion.commands.output import warn
from lungperfusion.errors import InputError
from lungperfusion.io.atomic import kept_aside
from lungperfusion.io.folders import in_words
from lungperfusion.naming import named
from lungperfusion.progress import Progress
from lungperfusion.registry import analyses
from lungperfusion.results.tables import csv_text
from lungperfusion.terminal import remark, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "root", type=Path, metavar="DICOM_ROOT", help="folder with DICOM files, in any structure"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="MANIFEST", help="CSV file to write"
    )
    parser.add_argument(
        "--analyses",
        nargs="+",
        metavar="NAME",
        help="analyses to propose (default: all that the series allow)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="write although there is a manifest; the earlier one is kept under another name",
    )


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Read the headers, write the manifest and the list of series beside it."""
    out = arguments.out
    if out.suffix.lower() != ".csv":
        raise InputError(f"the manifest is a CSV file; {named(out.name)} does not end in .csv")
    listing = out.with_name(f"{out.stem}_series.csv")
    for path in (out, listing):
        if path.exists() and not arguments.overwrite:
            raise InputError(
                f"{named(path)} is there already; choose another name, or give --overwrite: the "
                "earlier file is kept under another name"
            )
    known = analyses()
    wanted: Sequence[str] = arguments.analyses or known
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise InputError(f"no analysis {', '.join(unknown)}; there are: {', '.join(known)}")
    tree = read_tree(arguments.root, progress=progress)
    series = tree.series
    lines = propose(series, wanted, tree.pipeline_folders)
    base = out.resolve().parent
    rows = [
        {**row, "path": _path_text(row["path"], base)}
        for row in described(series, tree.others, remarks(series, lines))
    ]
    try:
        _write(listing, csv_text(rows, SERIES_COLUMNS))
        _write(out, manifest_text(lines, base))
    except OSError as error:
        raise InputError(
            f"{named(out)} cannot be written ({error.strerror}); choose another place"
        ) from error
    opened = sum(line.open for line in lines)
    xenon = sum(entry.kind == "xenon" for entry in series) + len(tree.pipeline_folders)
    remark(
        f"{sum(entry.kind != 'xenon' for entry in series)} CT series"
        + (f", {xenon} of xenon MRI" if xenon else "")
        + f", {len(lines)} analyses proposed"
        + (f", {opened} with something left open ('?', see column note)" if opened else "")
        + f"; all series are listed in {listing.name}"
    )
    unreadable = sum(other.kind == "unreadable" for other in tree.others)
    words = in_words({**tree.left_out, "file(s) with a damaged header": unreadable})
    if words:
        remark(f"warning: left out: {words}")
    show(f"{out}")
    return 0


def manifest_text(lines: Sequence[Proposal], base: Path) -> str:
    """Write proposals as a manifest.

    Parameters
    ----------
    lines
        What to run.
    base
        Folder of the manifest; paths below it are written relative to it.

    """
    columns = list(dict.fromkeys(name for line in lines for name in line.cells))
    rows = [
        {
            "case": line.case,
            "analysis": line.analysis,
            **{
                name: cell if isinstance(cell, str) else _path_text(_path_of(cell), base)
                for name, cell in line.cells.items()
            },
            "note": "; ".join(line.notes),
        }
        for line in lines
    ]
    return csv_text(rows, ["case", "analysis", *columns, "note"])


def _path_of(cell: Series | Path) -> Path | None:
    return cell.path if isinstance(cell, Series) else cell


def _path_text(path: Path | None, base: Path) -> str:
    """Relative to the manifest where both lie together, so that they can be moved as one."""
    if path is None:
        return ""
    try:
        relative = Path(os.path.relpath(path, base))
    except ValueError:  # another drive on Windows
        return path.as_posix()
    return path.as_posix() if relative.parts[:3] == ("..", "..", "..") else relative.as_posix()


def _write(path: Path, text: str) -> None:
    with kept_aside(path, warn) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
