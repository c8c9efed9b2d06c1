"""CT signs that a reader draws and scores: two pairs of diameters and the clot in each artery."""

import csv
import json
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion.iodine.signs import (
    PARENTS,
    SEGMENTS,
    diameter_ratio,
    obstruction_index,
)
from lungperfusion.terms import title
from lungperfusion_gui import blood_points, overlay
from lungperfusion_gui.marks import LINE, Mark, MarkPlacer

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


TREE_STEP_PX, TREE_HEIGHT_PX = 12, 320
"""The tree has five levels in a narrow panel, and thirty rows."""

SEGMENT_NUMBERS = {
    **dict(zip(SEGMENTS["right_upper"], ("S1", "S2", "S3"), strict=True)),
    **dict(zip(SEGMENTS["right_middle"], ("S4", "S5"), strict=True)),
    **dict(zip(SEGMENTS["right_lower"], ("S6", "S7", "S8", "S9", "S10"), strict=True)),
    **dict(zip(SEGMENTS["left_upper"], ("S1", "S2", "S3"), strict=True)),
    **dict(zip(SEGMENTS["left_lingula"], ("S4", "S5"), strict=True)),
    **dict(zip(SEGMENTS["left_lower"], ("S6", "S7", "S8", "S9", "S10"), strict=True)),
}
"""Boyden's numbers of the segments that the arteries feed, the way readers call them."""

FED = {
    "right_upper": "right_upper_lobe",
    "right_middle": "right_middle_lobe",
    "right_lower": "right_lower_lobe",
    "left_upper_lobe": "left_upper_lobe",
    "left_upper": "left_upper_lobe",
    "left_lingula": "left_upper_lobe",
    "left_lower": "left_lower_lobe",
}
"""Lobes that lobar arteries feed; their segmental arteries feed parts of the same."""


def artery_words(name):
    """Name of an artery, segmental ones with their number.

    Examples
    --------
    >>> artery_words("right_medial_basal"), artery_words("left_main")
    ('S7 right medial basal', 'Left main')

    """
    number = SEGMENT_NUMBERS.get(name)
    return title(name) if number is None else f"{number} {name.replace('_', ' ')}"


def place_of(study, artery):
    """Place in RAS mm to look for an artery; None where nothing is known of it yet."""
    if artery == ROOT:
        marked = blood_points.placed_in(study, (blood_points.TRUNK,))
        return next(iter(marked.values()), None)
    lobar = next((name for name, beyond in SEGMENTS.items() if artery in beyond), artery)
    lung = f"{artery.partition('_')[0]}_lung"
    for labels, region in (("lobes", FED.get(lobar, "")), ("lungs", lung)):
        node = study.node(f"labels.{labels}")
        if node is not None and node.GetSegmentation().GetSegment(region) is not None:
            return mrml.segment_centre_ras_mm(node, region)
    return None


def line_node(study, name):
    """Line of a vessel or ventricle; None before it is drawn."""
    return study.node(f"line.{name}")


def drawn_lines(study):
    """End points by name, of the lines that have both ends."""
    found = {name: mrml.line_ras_mm(line_node(study, name)) for name in LINES.values()}
    return {name: points for name, points in found.items() if points is not None}


def paired_lines(study):
    """Lines whose partner is drawn, too: one alone makes no ratio."""
    lines = drawn_lines(study)
    pairs = [(first, second) for _words, first, second in RATIOS.values()]
    whole = [name for pair in pairs if set(pair) <= set(lines) for name in pair]
    return {name: lines[name] for name in whole}


CLOTS, SCORED = "clots", "clotsScored"
"""Names of values that the study keeps: degrees by artery as JSON, and whether all were scored."""


def clot_scores(study):
    """Scored arteries with their degree, without those that are free."""
    return json.loads(study.value(CLOTS, "{}"))


def clots_scored(study):
    """Whether the reader says that the whole tree was scored."""
    return study.value(SCORED) == "True"


def request_words(study, folder):
    """Write lines and scores as files of the command line; return its words."""
    words = []
    lines = paired_lines(study)
    if lines:
        path = Path(folder) / "lines.csv"
        rows = [[name, *(f"{x:.6g}" for x in points.ravel())] for name, points in lines.items()]
        _write(path, ("name", "r1", "a1", "s1", "r2", "a2", "s2"), rows)
        words += ["--lines", str(path)]
    if clots_scored(study):
        path = Path(folder) / "clots.csv"
        _write(path, ("artery", "degree"), list(clot_scores(study).items()))
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
        self.study = None
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
        for item in self._items:  # all is seen at once: clots are looked for in every branch
            item.setExpanded(True)
        header = tree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        header.setSectionResizeMode(1, qt.QHeaderView.ResizeToContents)
        tree.indentation = TREE_STEP_PX
        tree.minimumHeight = TREE_HEIGHT_PX
        tree.connect("itemClicked(QTreeWidgetItem*,int)", self._onArtery)

    def _add_artery(self, name, parent):
        tree = self.ui.clotTree
        item = qt.QTreeWidgetItem()
        item.setText(0, artery_words(name))
        item.setData(0, qt.Qt.UserRole, name)
        if parent is None:
            tree.addTopLevelItem(item)
        else:
            parent.addChild(item)
        combo = qt.QComboBox()
        for words in (_("none (patent)"), _("partial"), _("complete")):
            combo.addItem(words)
        combo.setFocusPolicy(qt.Qt.StrongFocus)  # the wheel scrolls the panel, not the score
        combo.connect("currentIndexChanged(int)", lambda degree, n=name: self._onScore(n, degree))
        tree.setItemWidget(item, 1, combo)
        self._items.append(item)
        self._combos[name] = combo
        for branch in PARENTS.get(name, ()):
            self._add_artery(branch, item)

    def _onArtery(self, item, column=0):
        """Go to the trunk, or to the middle of the lobe or lung that an artery feeds."""
        if self.study is None:
            return
        name = item.data(0, qt.Qt.UserRole)
        place = place_of(self.study, name)
        if place is None:
            words = _("There is no region yet to show for the {artery}; press Apply first.")
            slicer.util.showStatusMessage(words.format(artery=artery_words(name)), 4000)
        else:
            overlay.jump_to(place)

    # --------------------------------------------------------------------------------- binding

    def bind(self, study):
        """Show the signs of a scan; None before it goes."""
        self.study = study
        self.marks.bind(study)
        if study is None:
            return
        scores = clot_scores(study)
        for name, combo in self._combos.items():
            _set_quietly(combo, "currentIndex", int(scores.get(name, 0)))
        _set_quietly(self.ui.clotsScored, "checked", clots_scored(study))
        self.show()

    # ----------------------------------------------------------------------------------- clots

    def _onScore(self, name, degree):
        if self.study is None:
            return
        if self.study.scan is None:
            self.bind(self.study)
            slicer.util.showStatusMessage(_("Choose the scan first: scores belong to one."), 4000)
            return
        scores = clot_scores(self.study) | {name: int(degree)}
        self.study.set_value(CLOTS, json.dumps({key: n for key, n in scores.items() if n}))
        _set_quietly(self.ui.clotsScored, "checked", True)
        self._onScored(True)

    def _onScored(self, on):
        if self.study is not None and self.study.scan is not None:
            self.study.set_value(SCORED, str(bool(on)))
            self.show()
            self._on_change()

    # ------------------------------------------------------------------------------------ show

    def show(self):
        """Ratios and the index as they stand; a line that cannot be a diameter says so."""
        if self.study is None:
            return
        lines = drawn_lines(self.study)
        for label, (words, numerator, denominator) in RATIOS.items():
            getattr(self.ui, label).text = f"{words}: {_ratio(lines, numerator, denominator)}"
        self.ui.clotLabel.text = self._index_words()

    def _index_words(self):
        if not clots_scored(self.study):
            return _("Not scored.")
        try:
            index = obstruction_index(clot_scores(self.study))
        except InputError as error:
            return str(error)
        return _("Obstruction index: {points} of 40 points, {percent} %").format(
            points=index.points, percent=f"{100 * index.fraction:.1f}"
        )


def _set_quietly(widget, name, value):
    blocked = widget.blockSignals(True)
    setattr(widget, name, value)
    widget.blockSignals(blocked)


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
