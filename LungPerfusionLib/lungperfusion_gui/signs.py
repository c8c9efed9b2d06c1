"""CT signs that a reader draws and scores: two pairs of diameters and the clot in each artery."""

import csv
import json
from pathlib import Path

import qt
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion.iodine.signs import PARENTS, diameter_ratio, obstruction_index
from lungperfusion.terms import title
from lungperfusion_gui.marks import LINE, Mark, MarkPlacer, mark_node

LINES = {
    "paLineButton": "pulmonary_artery",
    "aoLineButton": "aorta",
    "rvLineButton": "right_ventricle",
    "lvLineButton": "left_ventricle",
}
"""Buttons with the lines that they place; the command line knows the lines by these names."""

RATIOS = {
    "paAoLabel": ("PA/Ao", "pulmonary_artery", "aorta"),
    "rvLvLabel": ("RV/LV", "right_ventricle", "left_ventricle"),
}
COLOURS = {
    "pulmonary_artery": (0.2, 0.45, 0.9),
    "aorta": (0.9, 0.25, 0.2),
    "right_ventricle": (0.3, 0.65, 0.95),
    "left_ventricle": (0.95, 0.5, 0.4),
}
ROOT = "pulmonary_trunk"


def line_node(parameters, name):
    """Line of a vessel or ventricle; None before it is drawn."""
    return mark_node(parameters, f"line.{name}")


def drawn_lines(parameters):
    """End points by name, of the lines that have both ends."""
    found = {name: mrml.line_ras_mm(line_node(parameters, name)) for name in LINES.values()}
    return {name: points for name, points in found.items() if points is not None}


def paired_lines(parameters):
    """Lines whose partner is drawn, too: one alone makes no ratio."""
    lines = drawn_lines(parameters)
    pairs = [(first, second) for _words, first, second in RATIOS.values()]
    whole = [name for pair in pairs if set(pair) <= set(lines) for name in pair]
    return {name: lines[name] for name in whole}


def clot_scores(parameters):
    """Scored arteries with their degree, without those that are free."""
    return {name: degree for name, degree in json.loads(parameters.clots or "{}").items() if degree}


def request_words(parameters, folder):
    """Write lines and scores as files of the command line; return its words."""
    words = []
    lines = paired_lines(parameters)
    if lines:
        path = Path(folder) / "lines.csv"
        rows = [[name, *(f"{x:.6g}" for x in points.ravel())] for name, points in lines.items()]
        _write(path, ("name", "r1", "a1", "s1", "r2", "a2", "s2"), rows)
        words += ["--lines", str(path)]
    if parameters.clotsScored:
        path = Path(folder) / "clots.csv"
        _write(path, ("artery", "degree"), list(clot_scores(parameters).items()))
        words += ["--clots", str(path)]
    return words


def _write(path, heading, rows):
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([heading, *rows])


class SignsPanel:
    """Buttons for the lines, and the tree of arteries.

    Parameters
    ----------
    ui
        Widgets of the panel.
    on_change
        Called when a sign was drawn, moved or scored.
    """

    def __init__(self, ui, on_change):
        self.ui, self._on_change = ui, on_change
        self.parameters = None
        self._combos = {}
        marks = {
            button: Mark(f"line.{name}", LINE, title(name), colour=COLOURS[name])
            for button, name in LINES.items()
        }
        self.marks = MarkPlacer(list(marks.values()), on_change, self.show)
        for button, mark in marks.items():
            self.marks.add_button(getattr(ui, button), lambda mark=mark: mark)
        self._fill_tree()
        ui.clotsScored.connect("toggled(bool)", self._onScored)

    def _fill_tree(self):
        tree = self.ui.clotTree
        tree.setColumnCount(2)
        tree.setHeaderLabels([_("Artery"), _("Obstruction")])
        self._items = []  # items of a tree have no parent that Python knows of
        self._add_artery(ROOT, None)
        self._items[0].setExpanded(True)
        tree.resizeColumnToContents(0)

    def _add_artery(self, name, parent):
        tree = self.ui.clotTree
        item = qt.QTreeWidgetItem()
        item.setText(0, title(name))
        if parent is None:
            tree.addTopLevelItem(item)
        else:
            parent.addChild(item)
        combo = qt.QComboBox()
        for words in (_("free"), _("partial"), _("complete")):
            combo.addItem(words)
        combo.setFocusPolicy(qt.Qt.StrongFocus)  # the wheel scrolls the panel, not the score
        combo.connect("currentIndexChanged(int)", lambda degree, n=name: self._onScore(n, degree))
        tree.setItemWidget(item, 1, combo)
        self._items.append(item)
        self._combos[name] = combo
        for branch in PARENTS.get(name, ()):
            self._add_artery(branch, item)

    # --------------------------------------------------------------------------------- binding

    def bind(self, parameters):
        """Show the signs of a scene; None before it goes."""
        self.parameters = parameters
        self.marks.bind(parameters)
        if parameters is None:
            return
        scores = json.loads(parameters.clots or "{}")
        for name, combo in self._combos.items():
            blocked = combo.blockSignals(True)
            combo.currentIndex = int(scores.get(name, 0))
            combo.blockSignals(blocked)
        self.show()

    # ----------------------------------------------------------------------------------- clots

    def _onScore(self, name, degree):
        if self.parameters is None:
            return
        scores = json.loads(self.parameters.clots or "{}")
        scores[name] = int(degree)
        self.parameters.clots = json.dumps({key: n for key, n in scores.items() if n})
        self.parameters.clotsScored = True
        self.show()
        self._on_change()

    def _onScored(self, on):
        if self.parameters is not None:
            self._on_change()

    # ------------------------------------------------------------------------------------ show

    def show(self):
        """Ratios and the index as they stand; a line that cannot be a diameter says so."""
        if self.parameters is None:
            return
        lines = drawn_lines(self.parameters)
        for label, (words, numerator, denominator) in RATIOS.items():
            getattr(self.ui, label).text = f"{words}: {_ratio(lines, numerator, denominator)}"
        self.ui.clotLabel.text = self._index_words()

    def _index_words(self):
        if not self.parameters.clotsScored:
            return _("Not scored.")
        try:
            index = obstruction_index(clot_scores(self.parameters))
        except InputError as error:
            return str(error)
        return _("Obstruction index: {points} of 40 points, {percent} %").format(
            points=index.points, percent=f"{100 * index.fraction:.1f}"
        )


def _ratio(lines, numerator, denominator):
    absent = [name for name in (numerator, denominator) if name not in lines]
    if len(absent) == 1:
        return _("– (draw the line of the {name}, too)").format(name=title(absent[0]).lower())
    if absent:
        return "–"
    names = (title(numerator).lower(), title(denominator).lower())
    try:
        found = diameter_ratio(lines[numerator], lines[denominator], names=names)
    except InputError as error:
        return str(error)
    return f"{found.ratio:.2f} ({found.numerator_mm:.1f} / {found.denominator_mm:.1f} mm)"
