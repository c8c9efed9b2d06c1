"""Files of a study."""

from __future__ import annotations

from pathlib import Path

from lungperfusion.cohort.figures import pictures
from lungperfusion.cohort.libraries import versions
from lungperfusion.cohort.methods import methods_text
from lungperfusion.cohort.report import render_study
from lungperfusion.cohort.study import Study
from lungperfusion.progress import Progress, ignore
from lungperfusion.results.tables import csv_text

FIGURES_FOLDER = "figures"


def write_study(
    folder: Path, study: Study, *, report: bool = True, progress: Progress = ignore
) -> None:
    """Write tables, methods, figures and report into an empty folder.

    Parameters
    ----------
    folder
        Where to write; `lungperfusion.io.results_folder` makes it appear whole or not at all.
    study
        What was found.
    report
        Whether to draw figures and write report.html; needs matplotlib.
    progress
        Told of every figure.

    """
    for name, table in study.tables.items():
        _write(folder / f"{name}.csv", csv_text(table.rows, table.columns))
    found = versions()
    methods = methods_text(study, found)
    _write(folder / "methods.txt", methods)
    if not report:
        return
    drawn = []
    (folder / FIGURES_FOLDER).mkdir()
    for picture in pictures(study):
        progress(0.5, f"drawing {picture.name}")
        (folder / FIGURES_FOLDER / f"{picture.name}.png").write_bytes(picture.png)
        _write(folder / FIGURES_FOLDER / f"{picture.name}.svg", picture.svg)
        drawn.append(picture)
    _write(folder / "report.html", render_study(study, drawn, methods, found))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
