"""Points that a reader places on fissures; the lobes are moved through them."""

import csv
from pathlib import Path

from lungperfusion import mrml
from lungperfusion.io.fissure_points import COLUMNS
from lungperfusion.terms import FISSURES, title
from lungperfusion_gui.marks import POINTS, Mark, MarkPlacer


def points_node(study, fissure):
    """Points on a fissure; None before the first is placed."""
    return study.node(f"points.{fissure}")


def placed_points(study):
    """Points in RAS mm by fissure, of those that have some."""
    nodes = {fissure: points_node(study, fissure) for fissure in FISSURES}
    found = {name: mrml.points_ras_mm(node) for name, node in nodes.items() if node is not None}
    return {name: points for name, points in found.items() if len(points)}


def request_words(study, folder):
    """Write the points as a file of the command line; return its words."""
    points = placed_points(study)
    if not points:
        return []
    path = Path(folder) / "fissure_points.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for fissure, places in points.items():
            writer.writerows([fissure.value, *(f"{x:.6g}" for x in place)] for place in places)
    return ["--fissure-points", str(path)]


class FissurePanel:
    """Selector of the fissure and the button that places points on it.

    Parameters
    ----------
    ui
        Widgets of the panel.
    on_change
        Called when a point was placed, moved or deleted.
    """

    def __init__(self, ui, on_change):
        marks = {
            fissure.value: Mark(f"points.{fissure}", POINTS, title(fissure), several=True)
            for fissure in FISSURES
        }
        for fissure, mark in marks.items():
            ui.fissureSelector.addItem(mark.name, fissure)
        self.marks = MarkPlacer(list(marks.values()), on_change)
        self.marks.add_button(ui.fissureButton, lambda: marks[ui.fissureSelector.currentData])

    def bind(self, study):
        """Watch the points of a scan; None before it goes."""
        self.marks.bind(study)
