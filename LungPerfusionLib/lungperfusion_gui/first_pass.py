"""First-pass series in the panel of PerfusionIPv: inputs, and the words of ``dynamic``."""

from pathlib import Path

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.commands.dynamic import POINTS
from lungperfusion.dynamic.inputs import WORDS
from lungperfusion.dynamic.series import require_first_pass_times, timing
from lungperfusion.errors import InputError
from lungperfusion.io.time_series import read_times
from lungperfusion.io.writing import write_series_in_parts
from lungperfusion.naming import plain
from lungperfusion.results.colours import (
    BLOOD_VOLUME,
    PERFUSION_INDEX,
    PULMONARY_FLOW,
    TRANSIT_TIME,
    VENTILATION,
)
from lungperfusion.terms import Region
from lungperfusion_gui import marks
from lungperfusion_gui.marks import Mark
from lungperfusion_gui.remarks import of_both_lungs

COMMAND = "dynamic"
CHOICE = "first-pass series"
"""Choice of analysis that runs it."""

INPUTS = ("series", "timesFile", "hctRatio")
"""Widgets that play a part in a first pass alone."""
OPTIONS = ("lobes", "zones", "rimMm", "hctRatio")
"""Parameters that are options of the command under the same name."""

DECIDING = (
    *(("dynamic_blood_volume", Region.LUNGS), *of_both_lungs("dynamic_blood_volume")),
    *(("pulmonary_flow", Region.LUNGS), ("perfusion_index", Region.LUNGS)),
    *(("dynamic_mtt", Region.LUNGS), ("flow_deficit_share", Region.LUNGS)),
    ("flow_excess_share", Region.LUNGS),
)
"""Measures that a reader looks at first."""

COLOURS = {
    "blood_volume": BLOOD_VOLUME,
    "pulmonary_flow": PULMONARY_FLOW,
    "bronchial_flow": PULMONARY_FLOW.stretched(0.0, 50.0),
    "perfusion_index": PERFUSION_INDEX,
    "mtt": TRANSIT_TIME,
    "ttp": TRANSIT_TIME,
    "pulmonary_flow_slope": PULMONARY_FLOW,
    "fit_residual": VENTILATION.stretched(0.0, 5.0, "HU"),
    "motion_rms": VENTILATION.stretched(0.0, 10.0, "mm"),
}
"""Colours of the maps, those first that decide."""

VESSELS = {
    "artery": (0.2, 0.45, 0.9),
    "atrium": (0.75, 0.35, 0.75),
    "aorta": (0.9, 0.25, 0.2),
}
"""Options of the command that place an input, with the colours of their points."""
MARKS = {
    option: Mark(
        f"first_pass.{option}",
        marks.POINTS,
        WORDS[POINTS[option]].capitalize(),
        colour=colour,
    )
    for option, colour in VESSELS.items()
}

LEFT_OUT, TIMES = "leftOutFrames", "timesFile"
"""Names of values that the study keeps: numbers of frames from 1, and the file of the times."""

TREE_HEIGHT_PX = 150
NUMBER, TIME, SHIFT = range(3)
"""Columns of the list of frames."""


def chosen(parameters):
    """Whether the panel is asked for a first pass."""
    return parameters.analysis == CHOICE


def choose(parameters):
    """Take the only sequence of the scene, if nothing else was chosen."""
    others = (parameters.ct, parameters.iodine, parameters.low, parameters.contrast)
    nodes = mrml.nodes_of_class(parameters.parameterNode.GetScene(), "vtkMRMLSequenceNode")
    sequences = [node for node in nodes if not node.GetHideFromEditors()]
    if parameters.series is None and len(sequences) == 1 and others == (None,) * len(others):
        parameters.analysis, parameters.series = CHOICE, sequences[0]


def times_s(study):
    """Return the times of the file that the reader has given, else those of the sequence."""
    path = study.value(TIMES)
    count = study.scan.GetNumberOfDataNodes()
    times = read_times(Path(path), count) if path else mrml.sequence_times_s(study.scan)
    require_first_pass_times(times)
    return times


def missing(parameters, study):
    """Say what keeps the analysis from running; empty when nothing does."""
    if parameters.series is None:
        return _("Choose the first-pass series.")
    try:
        mrml.sequence_geometry(parameters.series)
        times_s(study)
    except InputError as error:
        words = plain(str(error))
        return f"{words[0].upper()}{words[1:]}."
    return ""


def timing_words(study):
    """Say when the frames were taken; empty where it is not known."""
    if study.scan is None:
        return ""
    try:
        return timing(times_s(study))
    except InputError:
        return ""


def writing(study, path):
    """Return the path of the frames with their times, and the steps of writing them."""
    path = path.with_suffix(".seq.nrrd")
    geometry = mrml.sequence_geometry(study.scan)
    times = times_s(study)[:, None].repeat(geometry.shape[0], axis=1)
    planes = mrml.sequence_planes(study.scan)
    return path, write_series_in_parts(planes, geometry, times, path)


def lung_options(parameters):
    """Lungs of other programs on their own grid: those of a whole chest tell what is cut off."""
    node = parameters.lungMask
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    drawn_on = None if node is None else node.GetNodeReference(role)
    return {"--lung-mask": (node, drawn_on or parameters.series)}


def extra_words(study):
    """Return the words of what the reader has marked: points, and frames that are left out."""
    words = []
    for option, place in marks.placed(study, MARKS).items():
        words += [f"--{option}", *(f"{x:.3f}" for x in place)]
    left_out = study.value(LEFT_OUT).split()
    return [*words, "--leave-out", *left_out] if left_out else words


class SeriesPanel:
    """File of the times and list of the frames.

    Parameters
    ----------
    ui
        Widgets of the panel.
    on_marked
        Called with what was changed.
    """

    def __init__(self, ui, on_marked):
        self._ui, self._on_marked = ui, on_marked
        self.study = None
        self._items = []  # items of a tree have no parent that Python knows of
        ui.timesFile.nameFilters = [_("Tables (*.csv *.txt)")]
        ui.timesFile.filters = ctk.ctkPathLineEdit.Files
        ui.timesFile.connect("currentPathChanged(QString)", self._on_times)
        tree = ui.frameTree
        tree.setColumnCount(3)
        tree.setHeaderLabels([_("Frame"), _("Time [s]"), _("Shift left [mm]")])
        tree.rootIsDecorated = False
        for column in (NUMBER, TIME):
            tree.header().setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        tree.minimumHeight = tree.maximumHeight = TREE_HEIGHT_PX
        tree.connect("itemChanged(QTreeWidgetItem*,int)", self._on_ticked)

    def bind(self, study):
        """Show the frames of a series; None before it goes."""
        self.study = study
        if study is not None:
            self.show()

    def show(self):
        """Show what the study keeps, and what the last run has told of each frame."""
        study = self.study
        series = study.scan if mrml.is_sequence(study.scan) else None
        path = self._ui.timesFile
        blocked = path.blockSignals(True)
        path.currentPath = study.value(TIMES) if series is not None else ""
        path.blockSignals(blocked)
        count = 0 if series is None else series.GetNumberOfDataNodes()
        texts = self._texts(count)
        tree = self._ui.frameTree
        blocked = tree.blockSignals(True)
        if len(self._items) != count:
            tree.clear()
            self._items = [qt.QTreeWidgetItem(tree) for _number in range(count)]
        left_out = study.value(LEFT_OUT).split()
        for number, (item, row) in enumerate(zip(self._items, texts, strict=True), start=1):
            for column, text in enumerate((str(number), *row)):
                item.setText(column, text)
            used = str(number) not in left_out
            item.setCheckState(NUMBER, qt.Qt.Checked if used else qt.Qt.Unchecked)
        tree.blockSignals(blocked)

    def _texts(self, count):
        """Time and remaining shift of each frame, as far as known."""
        try:
            times = [f"{at:.2f}" for at in times_s(self.study)] if count else []
        except InputError:
            times = ["–"] * count
        table = self.study.node("table.frames")
        shifts = ["–"] * count
        if table is not None and table.GetNumberOfRows() == count:
            column = table.GetColumnIndex("shift_after_mm")
            shifts = [table.GetCellText(row, column) for row in range(count)]
        return list(zip(times, shifts, strict=True))

    def _on_times(self, path):
        if self.study is None or not mrml.is_sequence(self.study.scan):
            return
        self.study.set_value(TIMES, path)
        self.show()
        self._on_marked(_("Times of the frames"))

    def _on_ticked(self, item, column):
        if self.study is None or column != NUMBER:
            return
        left_out = [
            str(number)
            for number, known in enumerate(self._items, start=1)
            if known.checkState(NUMBER) != qt.Qt.Checked
        ]
        if left_out != self.study.value(LEFT_OUT).split():
            self.study.set_value(LEFT_OUT, " ".join(left_out))
            self._on_marked(_("Frames that are left out"))
