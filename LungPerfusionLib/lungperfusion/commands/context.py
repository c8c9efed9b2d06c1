"""``lungperfusion context``: a D-dimer among published rules, and patterns; no advice."""

from __future__ import annotations

import argparse
from pathlib import Path

from lungperfusion.cohort import embolism
from lungperfusion.cohort.embolism import Findings, PostTest, post_test, read_d_dimer
from lungperfusion.cohort.joining import alone, join
from lungperfusion.cohort.reading import D_DIMER, read_clinical, read_measurements
from lungperfusion.cohort.report import render_context
from lungperfusion.cohort.study import findings_of
from lungperfusion.commands.output import check_case, warn
from lungperfusion.errors import InputError
from lungperfusion.io import results_folder
from lungperfusion.naming import named
from lungperfusion.progress import Progress
from lungperfusion.results.tables import csv_text
from lungperfusion.terminal import show
from lungperfusion.terms.embolism import DEFICITS, PARENCHYMA


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "clinical",
        type=Path,
        nargs="?",
        metavar="CLINICAL",
        help="CSV with case, d_dimer, d_dimer_unit and, where known, d_dimer_assay, age_years, "
        "deficits, parenchyma; leave it out for one case from options",
    )
    parser.add_argument(
        "--measurements",
        type=Path,
        metavar="CSV",
        help="results of the same cases: extent on CT and clot come from there",
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the tables"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results in OUT")
    one = parser.add_argument_group("one case")
    one.add_argument(
        "--case", dest="called", default="case", metavar="NAME", help="its name in the tables"
    )
    one.add_argument("--d-dimer", type=float, metavar="VALUE")
    one.add_argument("--unit", default="", help="ng/mL, µg/L, mg/L or µg/mL, FEU or DDU behind it")
    one.add_argument("--assay", default="", choices=("", "FEU", "DDU", "unknown"))
    one.add_argument("--age", type=float, metavar="YEARS")
    one.add_argument(
        "--extent", type=float, metavar="PERCENT", help="lung with ground glass or consolidation"
    )
    one.add_argument("--qanadli", type=float, metavar="PERCENT", help="obstruction index")
    one.add_argument("--deficits", choices=DEFICITS, help="perfusion deficits as read")
    one.add_argument("--parenchyma", choices=PARENCHYMA, help="lung beneath them")
    parser.add_argument(
        "--convert-ddu",
        action="store_true",
        help="consent to doubling D-dimers in DDU for cut-offs in FEU",
    )
    after = parser.add_argument_group("probability after a test, as a range")
    after.add_argument("--before", type=float, metavar="PERCENT", help="probability before it")
    after.add_argument(
        "--sensitivity", type=int, nargs=2, metavar=("RIGHT", "ALL"), help="counts of its study"
    )
    after.add_argument("--specificity", type=int, nargs=2, metavar=("RIGHT", "ALL"))


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Place every case among the rules and patterns and write the tables."""
    progress(0.0, "reading")
    range_after = _post_test(arguments)
    cases = _cases(arguments)
    tables = embolism.tables(cases)
    with results_folder(arguments.out, overwrite=arguments.overwrite, tell=warn) as folder:
        for name, table in tables.items():
            text = csv_text(table.rows, table.columns)
            (folder / f"{name}.csv").write_text(text, encoding="utf-8", newline="\n")
        sentence = "" if range_after is None else range_after.sentence()
        page = render_context(tables, sentence)
        (folder / "report.html").write_text(page, encoding="utf-8", newline="\n")
    progress(1.0, "done")
    cautions = {found.d_dimer.caution for found in cases.values() if found.d_dimer is not None}
    for caution in sorted(cautions - {""}):
        warn(f"D-dimer: {caution}")
    show(f"{arguments.out / 'report.html'}")
    return 0


def _cases(arguments: argparse.Namespace) -> dict[str, Findings]:
    single = (arguments.d_dimer, arguments.age, arguments.extent, arguments.qanadli)
    words = (arguments.deficits, arguments.parenchyma)
    if arguments.clinical is None:
        if arguments.measurements is not None:
            raise InputError("--measurements needs a clinical table with the same cases")
        check_case(arguments.called)
        if all(value is None for value in (*single, *words)):
            raise InputError("give a clinical table, or --d-dimer with --unit for one case")
        return {arguments.called: _single(arguments)}
    if any(value is not None for value in (*single, *words)):
        raise InputError("give either a clinical table or the options of one case, not both")
    clinical = read_clinical(arguments.clinical)
    if D_DIMER not in clinical.columns:
        raise InputError(
            f"{named(arguments.clinical.name)} has no column {D_DIMER!r} with its unit in "
            f"'{D_DIMER}_unit'"
        )
    if arguments.measurements is None:
        cohort = alone(clinical)
    else:
        cohort = join(read_measurements(arguments.measurements), clinical)
        if cohort.unmatched:
            count = len(cohort.unmatched)
            verb = "case is" if count == 1 else "cases are"
            warn(f"{count} {verb} in one table only and left out")
    return findings_of(cohort, convert=arguments.convert_ddu)


def _single(arguments: argparse.Namespace) -> Findings:
    d_dimer = None
    if arguments.d_dimer is not None:
        d_dimer = read_d_dimer(
            arguments.d_dimer, arguments.unit, arguments.assay, convert=arguments.convert_ddu
        )
    return Findings(
        d_dimer=d_dimer,
        age_years=arguments.age,
        extent_percent=arguments.extent,
        qanadli_percent=arguments.qanadli,
        deficits=arguments.deficits,
        parenchyma=arguments.parenchyma,
    )


def _post_test(arguments: argparse.Namespace) -> PostTest | None:
    given = (arguments.before, arguments.sensitivity, arguments.specificity)
    if all(value is None for value in given):
        return None
    if any(value is None for value in given):
        raise InputError("--before, --sensitivity and --specificity belong together")
    return post_test(arguments.before, tuple(arguments.sensitivity), tuple(arguments.specificity))
