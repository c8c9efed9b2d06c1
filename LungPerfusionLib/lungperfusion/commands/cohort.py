"""``lungperfusion cohort``: from measurements and a clinical table to the tables of a paper."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from lungperfusion.cohort.joining import QUALITY_FILE, Cohort, join
from lungperfusion.cohort.reading import D_DIMER, read_clinical, read_measurements
from lungperfusion.cohort.specification import (
    PRESETS,
    LobarSpec,
    Relation,
    RocSpec,
    RowSpec,
    Specification,
    preset_names,
    read_specification,
    with_strata,
)
from lungperfusion.cohort.study import carry_out
from lungperfusion.cohort.tables import default_rows
from lungperfusion.cohort.writing import write_study
from lungperfusion.commands.output import warn
from lungperfusion.errors import InputError
from lungperfusion.io import results_folder
from lungperfusion.naming import named
from lungperfusion.progress import Progress, part
from lungperfusion.registry import lobar_columns
from lungperfusion.terminal import show
from lungperfusion.terms.lung_function import ACQUISITION

DEFAULT_MEASURES = (*lobar_columns(), "ipv", "qcv", "vcv")
"""Measures of both lungs that are shown where nobody says which."""

_CONTEXT = ("d_dimer_unit", "d_dimer_assay", "deficits", "parenchyma")
"""Columns that say how others are to be read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "measurements",
        type=Path,
        metavar="MEASUREMENTS",
        help="cohort_tidy.csv or cohort_wide.csv of a batch, or a measurements.csv",
    )
    parser.add_argument(
        "clinical",
        type=Path,
        metavar="CLINICAL",
        help="CSV with a column 'case' and one line per case",
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the results"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results in OUT")
    shown = parser.add_argument_group("what to show")
    layout = shown.add_mutually_exclusive_group()
    layout.add_argument("--table", type=Path, metavar="FILE.toml", help="layout: docs/cohort.md")
    layout.add_argument("--preset", choices=preset_names(), help="layout of a published table")
    shown.add_argument(
        "--strata",
        nargs="+",
        default=[],
        metavar="COLUMN:LIMIT",
        help="compare cases at or above a limit with those below, such as fvc_pct:80",
    )
    shown.add_argument("--rows", nargs="+", metavar="COLUMN", help="rows of the table")
    shown.add_argument(
        "--relate", nargs="+", default=[], metavar="X:Y", help="pairs to correlate and regress"
    )
    shown.add_argument(
        "--roc", nargs="+", default=[], metavar="SCORE:OUTCOME", help="outcomes are 0 and 1"
    )
    shown.add_argument(
        "--lobar",
        nargs="+",
        default=[],
        metavar="X:Y",
        help="measures to relate over the lobes of all cases by a mixed model",
    )
    shown.add_argument(
        "--retest", type=Path, metavar="CSV", help="measurements of the same cases again"
    )
    shown.add_argument("--stars", action="store_true", help="mark p < 0.05, 0.01 and 0.001")
    handling = parser.add_argument_group("how to handle values")
    handling.add_argument(
        "--without-cautions",
        action="store_true",
        help="leave out values that the results say to read with care",
    )
    handling.add_argument(
        "--convert-ddu",
        action="store_true",
        help="consent to doubling D-dimers in DDU for cut-offs in FEU",
    )
    handling.add_argument("--no-report", action="store_true", help="tables only, no figures")


def specification_of(arguments: argparse.Namespace, cohort: Cohort) -> Specification:
    """Layout from a file, a preset or options; options add to the first two."""
    if arguments.table is not None:
        spec = read_specification(arguments.table)
    elif arguments.preset is not None:
        spec = read_specification(PRESETS / f"{arguments.preset}.toml")
    else:
        spec = Specification()
    rows = spec.rows
    if arguments.rows:
        rows = (*rows, *(RowSpec(column=name) for name in arguments.rows))
    elif not rows:
        rows = default_rows(cohort, _default_columns(cohort))
    return replace(
        with_strata(spec, arguments.strata),
        rows=rows,
        stars=spec.stars or arguments.stars,
        relations=(*spec.relations, *(Relation(x=x, y=y) for x, y in _pairs(arguments.relate))),
        rocs=(*spec.rocs, *(RocSpec(score=x, outcome=y) for x, y in _pairs(arguments.roc))),
        lobar=(*spec.lobar, *(LobarSpec(x=x, y=y) for x, y in _pairs(arguments.lobar))),
    )


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    pairs = []
    for word in words:
        first, separator, second = word.partition(":")
        if not (first and separator and second) or ":" in second:
            raise InputError(f"two columns are written FIRST:SECOND, not {word!r}")
        pairs.append((first, second))
    return pairs


def _default_columns(cohort: Cohort) -> list[str]:
    """Clinical columns, then the usual measures of both lungs."""
    clinical = [
        name
        for name in cohort.frame.columns
        if name not in cohort.measures and name not in (*_CONTEXT, *ACQUISITION)
        and not name.endswith("_unit")
    ]  # fmt: skip
    return [*clinical, *(cohort.column(name) for name in DEFAULT_MEASURES if cohort.has(name))]


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Read both tables, join them, do the statistics and write everything."""
    progress(0.0, "reading tables")
    measurements = read_measurements(arguments.measurements)
    clinical = read_clinical(arguments.clinical)
    quality = arguments.measurements.with_name(QUALITY_FILE)
    cohort = join(
        measurements,
        clinical,
        names=(str(named(arguments.measurements.name)), str(named(arguments.clinical.name))),
        quality=quality if quality.is_file() else None,
    )
    again = None
    if arguments.retest is not None:
        again = join(read_measurements(arguments.retest), clinical)
    if arguments.without_cautions:
        cohort = cohort.without_cautions()
        again = again and again.without_cautions()
    specification = specification_of(arguments, cohort)
    with results_folder(arguments.out, overwrite=arguments.overwrite, tell=warn) as folder:
        study = carry_out(
            cohort,
            specification,
            retest=again,
            convert_ddu=arguments.convert_ddu,
            progress=part(progress, 0.1, 0.6),
        )
        write_study(
            folder,
            study,
            report=not arguments.no_report,
            progress=part(progress, 0.6, 1.0),
        )
    progress(1.0, "done")
    for sentence in (*study.cautions, *study.left_out):
        warn(sentence)
    if cohort.unmatched:
        count = len(cohort.unmatched)
        words = "case is" if count == 1 else "cases are"
        warn(f"{count} {words} in one table only; excluded.csv lists them")
    if D_DIMER in cohort.frame and "context" not in study.tables:
        warn("no case has a D-dimer")
    show(f"{arguments.out / ('table1.csv' if arguments.no_report else 'report.html')}")
    return 0
