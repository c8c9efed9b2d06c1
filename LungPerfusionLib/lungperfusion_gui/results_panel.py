"""Section Results: tables, jumps to places, charts and remarks."""

import qt
import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion_gui import overlay
from lungperfusion_gui.corrections import ORIGINAL
from lungperfusion_gui.result_nodes import MEASUREMENTS
from lungperfusion_gui.selectors import refill

PLACE_COLUMNS = (
    ("centroid_r_mm", "centroid_a_mm", "centroid_s_mm"),
    ("r_mm", "a_mm", "s_mm"),
)
"""Columns of tables of findings that hold a place in RAS."""

COLUMN_WIDTHS = {"region": 100, "measure": 190, "value": 60, "unit": 60}
"""In pixels: value and unit stand in a panel of usual width without scrolling."""


class ResultsPanel:
    """Widgets of the section.

    Parameters
    ----------
    ui
        Widgets of the panel.
    logic
        Finds the results of a parameter node.
    """

    def __init__(self, ui, logic):
        self.ui, self.logic = ui, logic
        self.parameters = None
        ui.tableSelector.connect("currentIndexChanged(int)", self._on_table)
        ui.resultsTableView.connect("selectionChanged()", self._on_row)
        ui.resultsTableView.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        ui.resultsTableView.verticalHeader().visible = False
        ui.chartButton.connect("clicked(bool)", self._on_chart)

    def bind(self, parameters):
        """Show the results of a scene; None before it goes."""
        self.parameters = parameters

    def refill(self):
        """Offer the tables that there are, and show the remarks."""
        tables = {name: f"table.{name}" for name in self.logic.names(self.parameters, "table")}
        original = ORIGINAL + MEASUREMENTS
        if self.logic.node(self.parameters, original) is not None:
            tables["measurements before corrections"] = original
        refill(self.ui.tableSelector, tables)
        self.ui.chartButton.enabled = bool(tables)
        self._on_table()
        self.ui.remarksLabel.text = "\n".join(self._remarks())

    def _remarks(self):
        """Quality checks that were not passed, failed ones first, and warnings."""
        record = self.logic.record(self.parameters)
        if record is None:
            return []
        analysis = record["analyses"][0]
        words = {"fail": _("Do not use: "), "warn": _("Look: ")}
        lines = [
            words[verdict] + gate["message"]
            for verdict in words
            for gate in analysis["quality_gates"]
            if gate["verdict"] == verdict
        ]
        return list(dict.fromkeys(lines + analysis["warnings"]))

    def _on_table(self, index=0):
        if self.parameters is None:
            return
        role = self.ui.tableSelector.currentData
        table = self.logic.node(self.parameters, role) if role else None
        view = self.ui.resultsTableView
        view.setMRMLTableNode(table)
        if table is None:
            return
        view.resizeColumnsToContents()
        for column, width in COLUMN_WIDTHS.items():
            number = table.GetColumnIndex(column)
            if number >= 0:
                view.setColumnWidth(number, width)

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
        if row is None or self.parameters is None:
            return
        table = self.ui.resultsTableView.mrmlTableNode()
        for columns in PLACE_COLUMNS:
            numbers = [table.GetColumnIndex(name) for name in columns]
            if min(numbers) >= 0:
                place = [table.GetCellText(row, number) for number in numbers]
                if mrml.NO_VALUE not in place:
                    overlay.jump_to([float(text) for text in place])
                return
        for column in ("region", "lobe"):
            number = table.GetColumnIndex(column)
            if number >= 0:
                self._jump_to_region(table.GetCellText(row, number))
                return

    def _jump_to_region(self, words):
        identifier = words.lower().replace(" ", "_")
        for name in self.logic.names(self.parameters, "labels"):
            node = self.logic.node(self.parameters, f"labels.{name}")
            if node.GetSegmentation().GetSegment(identifier) is not None:
                centre = mrml.segment_centre_ras_mm(node, identifier)
                if centre is not None:
                    overlay.jump_to(centre)
                return

    def _on_chart(self, checked=False):
        """Draw the measure of the chosen row for all regions."""
        with slicer.util.tryWithErrorDisplay(_("Failed to draw the chart.")):
            row, rows = self._chosen_row(), self.logic.measurements(self.parameters)
            shows_measurements = self.ui.tableSelector.currentData == f"table.{MEASUREMENTS}"
            if row is None or not rows or not shows_measurements:
                raise InputError(_("Choose a row of the table Measurements first."))
            chart = self.logic.show_chart(self.parameters, rows[row].measure)
            if slicer.app.layoutManager() is not None:
                slicer.modules.plots.logic().ShowChartInLayout(chart)
