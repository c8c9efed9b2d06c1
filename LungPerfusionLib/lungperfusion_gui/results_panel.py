"""Section Results: deciding numbers, remarks, tables, jumps to places and charts."""

import math

import qt
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion_gui import overlay, remarks
from lungperfusion_gui.bars import bars
from lungperfusion_gui.corrections import ORIGINAL, note
from lungperfusion_gui.selectors import refill
from lungperfusion_gui.study import MEASUREMENTS

PLACE_COLUMNS = (
    ("centroid_r_mm", "centroid_a_mm", "centroid_s_mm"),
    ("r_mm", "a_mm", "s_mm"),
)
"""Columns of tables of findings that hold a place in RAS."""

VOLUME_COLUMN = "volume_ml"
"""Column of tables of findings by which the largest is known."""

ROW_PX = 24
"""Height of a row: a line of text."""

COLUMN_WIDTHS = {"region": 100, "measure": 190, "value": 60, "unit": 60}
"""In pixels: value and unit stand in a panel of usual width without scrolling."""


class ResultsPanel:
    """Widgets of the section.

    Parameters
    ----------
    ui
        Widgets of the panel.
    deciding
        Pairs of measure and region that are shown above everything else.
    on_note
        Called when the reader's opinion of a finding went into the trail.
    """

    def __init__(self, ui, deciding, on_note):
        self.ui, self._deciding, self._on_note = ui, deciding, on_note
        self.study = None
        self._remarks, self._unfolded = [], False
        view = ui.resultsTableView
        view.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        view.verticalHeader().visible = False
        view.wordWrap = False
        view.verticalHeader().defaultSectionSize = ROW_PX
        ui.tableSelector.connect("currentIndexChanged(int)", self._on_table)
        ui.filterEdit.connect("textChanged(QString)", self._on_filter)
        view.connect("selectionChanged()", self._on_row)
        ui.chartButton.connect("clicked(bool)", self._on_chart)
        ui.remarksButton.connect("clicked(bool)", self._on_fold)
        ui.previousButton.connect("clicked(bool)", lambda on=False: self._step(-1))
        ui.nextButton.connect("clicked(bool)", lambda on=False: self._step(1))
        ui.acceptButton.connect("clicked(bool)", lambda on=False: self._judge("accepted"))
        ui.rejectButton.connect("clicked(bool)", lambda on=False: self._judge("rejected"))

    def bind(self, study):
        """Show the results of a scan; None before it goes."""
        self.study = study

    def refill(self):
        """Offer the tables that there are, and show deciding numbers and remarks."""
        tables = {name: f"table.{name}" for name in self.study.names("table")}
        original = ORIGINAL + MEASUREMENTS
        if self.study.node(original) is not None:
            tables["measurements before corrections"] = original
        refill(self.ui.tableSelector, tables)
        for name in ("chartButton", "previousButton", "nextButton"):
            getattr(self.ui, name).enabled = bool(tables)
        self.ui.acceptButton.enabled = self.ui.rejectButton.enabled = False
        self.ui.chartButton.checked = self.ui.chartLabel.visible = False
        self._on_table()
        words = remarks.summary(self.study.measurements, self._deciding)
        self.ui.summaryLabel.text = words
        self.ui.summaryLabel.visible = bool(words)
        self._remarks = remarks.remarks(self.study.record, self._deciding)
        self._show_remarks()

    def _show_remarks(self):
        ui, hidden = self.ui, len(self._remarks) - remarks.FIRST
        ui.remarksLabel.text = remarks.folded(self._remarks, self._unfolded)
        ui.remarksLabel.visible = bool(self._remarks)
        ui.remarksButton.visible = hidden > 0
        more = _("Show {count} more").format(count=hidden)
        ui.remarksButton.text = _("Show the worst only") if self._unfolded else more

    def _on_fold(self, checked=False):
        self._unfolded = not self._unfolded
        self._show_remarks()

    def _on_table(self, index=0):
        if self.study is None:
            return
        role = self.ui.tableSelector.currentData
        table = self.study.node(role) if role else None
        view = self.ui.resultsTableView
        view.setMRMLTableNode(table)
        if table is None:
            return
        view.resizeColumnsToContents()
        for column, width in COLUMN_WIDTHS.items():
            number = table.GetColumnIndex(column)
            if number >= 0:
                view.setColumnWidth(number, width)
        self._on_filter()

    def _on_filter(self, text=""):
        """Hide the rows that lack one of the words."""
        view = self.ui.resultsTableView
        table = view.mrmlTableNode()
        if table is None:
            return
        words = self.ui.filterEdit.text.lower().split()
        for row, cells in enumerate(mrml.table_rows(table)[1]):
            line = " ".join(cells).lower()
            view.setRowHidden(row, not all(word in line for word in words))

    def _step(self, by):
        """Choose the next row that is not hidden."""
        view = self.ui.resultsTableView
        table = view.mrmlTableNode()
        count = 0 if table is None else table.GetNumberOfRows()
        chosen = self._chosen_row()
        row = (0 if by > 0 else count - 1) if chosen is None else chosen + by
        while 0 <= row < count and view.isRowHidden(row):
            row += by
        if 0 <= row < count:
            view.selectRow(row)

    def _judge(self, opinion):
        """Keep in the trail whether the reader agrees with the chosen finding."""
        row, name = self._chosen_row(), self._findings_name()
        if row is None or not name:
            return
        columns, rows = mrml.table_rows(self.ui.resultsTableView.mrmlTableNode())
        finding = dict(zip(columns, rows[row], strict=True))
        note(self.study, {"finding": name, "row": row + 1, "opinion": opinion, **finding})
        self._on_note()

    def _findings_name(self):
        """Name of the table of findings that is shown; empty for measurements."""
        name = (self.ui.tableSelector.currentData or "").removeprefix("table.")
        return "" if MEASUREMENTS in name else name

    def _chosen_row(self):
        """Row of the table node; None when none is chosen."""
        view = self.ui.resultsTableView
        chosen = view.selectionModel().selectedIndexes
        if not chosen or view.mrmlTableNode() is None:
            return None
        return view.model().mapToSource(chosen[0]).row()

    def _on_row(self):
        """Go to the place of a finding, or to the middle of a region."""
        row = self._chosen_row()
        if row is None or self.study is None:
            return
        if self.ui.chartButton.checked:
            self._draw_chart()
        agreeable = bool(self._findings_name())
        self.ui.acceptButton.enabled = self.ui.rejectButton.enabled = agreeable
        place = self._place_of(row)
        words = "" if place is not None else _("This row has no place in the images.")
        self.ui.placeLabel.text = words
        if place is not None:
            overlay.jump_to(place)

    def _place_of(self, row):
        """Place of a row in RAS mm; None where it has none."""
        table = self.ui.resultsTableView.mrmlTableNode()
        for columns in PLACE_COLUMNS:
            numbers = [table.GetColumnIndex(name) for name in columns]
            if min(numbers) >= 0:
                place = [_number(table.GetCellText(row, number)) for number in numbers]
                return None if -math.inf in place else place
        for column in ("region", "lobe"):
            number = table.GetColumnIndex(column)
            if number >= 0:
                return self._middle_of(table.GetCellText(row, number))
        return None

    def _middle_of(self, words):
        """Place in the middle of a region; None where no segment shows it."""
        identifier = words.lower().replace(" ", "_")
        for name in self.study.names("labels"):
            node = self.study.node(f"labels.{name}")
            if node.GetSegmentation().GetSegment(identifier) is not None:
                return mrml.segment_centre_ras_mm(node, identifier)
        return None

    def _on_chart(self, checked=False):
        """Draw the measure of the chosen row for all regions, below the table."""
        self.ui.chartLabel.visible = checked
        if checked:
            self._draw_chart()

    def _draw_chart(self):
        row, rows = self._chosen_row(), self.study.measurements
        shows_measurements = self.ui.tableSelector.currentData == f"table.{MEASUREMENTS}"
        if row is None or not rows or not shows_measurements:
            self.ui.chartLabel.text = _("Choose a row of the table Measurements.")
            return
        try:
            self.ui.chartLabel.text = bars(rows, rows[row].measure)
        except InputError as error:
            self.ui.chartLabel.text = str(error)

    def open_largest(self, table_names):
        """Go to the largest finding of the first table that there is; stay without findings."""
        found = self.study.names("table")
        table_name = next((name for name in table_names if name in found), "")
        table = self.study.node(f"table.{table_name}")
        column = -1 if table is None else table.GetColumnIndex(VOLUME_COLUMN)
        if column < 0 or not table.GetNumberOfRows():
            return
        volumes = [
            _number(table.GetCellText(row, column)) for row in range(table.GetNumberOfRows())
        ]
        self.ui.tableSelector.currentIndex = self.ui.tableSelector.findData(f"table.{table_name}")
        self.ui.resultsTableView.selectRow(volumes.index(max(volumes)))


def _number(text):
    """Value of a cell, as it is written for readers."""
    return -math.inf if text == mrml.NO_VALUE else float(text.replace("−", "-").lstrip("<> "))
