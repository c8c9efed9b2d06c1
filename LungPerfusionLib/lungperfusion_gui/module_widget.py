"""Panel that the three modules share: life cycle, computation, results, review, export."""

import logging
import shutil
import sys
from pathlib import Path

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion.terms import title
from lungperfusion_gui import overlay
from lungperfusion_gui.correction import Correction, trail_lines
from lungperfusion_gui.fissures import FissurePanel
from lungperfusion_gui.job import Job

PACKAGES = ("lungperfusion", "lungperfusion_gui")
REVIEW_UI = "UI/LungPerfusionReview.ui"
SIGNATURE = mrml.ATTRIBUTE_PREFIX + "signature"
"""Attribute of the parameter node: inputs and options that the results were made with."""
SEGMENTERS = ("TotalSegmentator", "LungCTSegmenter")
"""Modules of other extensions that segment lungs and lobes, offered where they are installed."""
PLACE_COLUMNS = (
    ("centroid_r_mm", "centroid_a_mm", "centroid_s_mm"),
    ("r_mm", "a_mm", "s_mm"),
)
"""Columns of tables of findings that hold a place in RAS."""


class ModuleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Life cycle and work flow; a module adds its inputs.

    Subclasses set ``UI``, ``PARAMETERS`` and ``LOGIC`` and may override `onSetup`,
    `onParametersChanged` and `onResultsShown`.
    """

    UI = ""
    PARAMETERS = None
    LOGIC = None

    def __init__(self, parent=None):
        self.logic = self.ui = self.parameters = self.job = self.correction = None
        self._guiTag = None
        self._active = self._rebind = False
        self._folder = None
        self._startedWith = ""
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.overlay = overlay.Overlay()

    # ---------------------------------------------------------------------------- life cycle

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        root = slicer.util.loadUI(self.resourcePath(self.UI))
        library = Path(slicer.util.modulePath("LungPerfusionLib")).parent
        review = slicer.util.loadUI(str(library / "Resources" / REVIEW_UI))
        self.layout.addWidget(root)
        self.layout.addWidget(review)
        self.layout.addStretch(1)
        self.ui = slicer.util.childWidgetVariables(self.parent)
        for part in (root, review):
            part.setMRMLScene(slicer.mrmlScene)
        self.logic = self.LOGIC()
        self.overlay = overlay.Overlay()
        self.correction = Correction(
            self.ui.segmentEditor, self.moduleName, self.onSegmentsEdited, self._beforeEdit
        )
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, scene.StartImportEvent, self._onSceneStartImport)
        self.addObserver(scene, scene.EndBatchProcessEvent, self._onSceneEndBatch)
        self.fissures = FissurePanel(self.ui, self.onInputsEdited)
        self._fillSelectors()
        self._connect()
        self.onSetup()
        self._bind()

    def _fillSelectors(self):
        self.ui.layoutSelector.addItem(_("Views as they are"))
        self.ui.layoutSelector.addItem(_("CT | map | findings"))
        for name, words in overlay.window_titles().items():
            self.ui.windowPreset.addItem(words, name)
        self.ui.mapThreshold.enabled = self.ui.mapRange.enabled = False
        installed = [name for name in SEGMENTERS if hasattr(slicer.modules, name.lower())]
        self.ui.segmenterButton.visible = bool(installed)
        if installed:
            self.ui.segmenterButton.text = _("Open {module}").format(module=installed[0])
            self.ui.segmenterButton.connect(
                "clicked(bool)", lambda on: slicer.util.selectModule(installed[0])
            )

    def _connect(self):
        ui = self.ui
        ui.applyButton.connect("clicked(bool)", self.onApply)
        ui.cancelButton.connect("clicked(bool)", self.onCancel)
        ui.recomputeButton.connect("clicked(bool)", self.onRecompute)
        ui.restoreButton.connect("clicked(bool)", self.onRestore)
        ui.reportButton.connect("clicked(bool)", self.onReport)
        ui.layoutSelector.connect("currentIndexChanged(int)", self._onLayout)
        ui.mapSelector.connect("currentIndexChanged(int)", self._onMap)
        ui.mapOpacity.connect("valueChanged(double)", self._onOpacity)
        ui.mapRange.connect("valuesChanged(double,double)", self._onRange)
        ui.mapThreshold.connect("valueChanged(double)", self._onThreshold)
        ui.windowPreset.connect("currentIndexChanged(int)", self._onWindow)
        ui.legendCheckBox.connect("toggled(bool)", self._onLegend)
        ui.segmentsCheckBox.connect("toggled(bool)", self._onSegments)
        ui.surfacesCheckBox.connect("toggled(bool)", self._onSegments)
        ui.tableSelector.connect("currentIndexChanged(int)", self._onTable)
        ui.resultsTableView.connect("selectionChanged()", self.onRowSelected)
        ui.chartButton.connect("clicked(bool)", self.onChart)
        ui.correctedSelector.connect("currentIndexChanged(int)", self._onCorrectedSelected)
        ui.resultsTableView.setSelectionBehavior(qt.QAbstractItemView.SelectRows)

    def enter(self):
        self._active = True
        self._bind()
        self.correction.enter()
        self.onEnter()

    def exit(self):
        self._active = False
        try:
            self.correction.exit()
            self.overlay.compare(False)
        finally:
            self._unbind()

    def cleanup(self):
        self._abandonJob()
        if self.correction is not None:
            self.correction.exit()
            self.correction.forget()
        self._unbind()
        self.removeObservers()

    def onReload(self):
        """Reload the shared packages, too; Slicer itself reloads the module file only."""
        for name in [name for name in sys.modules if name.split(".")[0] in PACKAGES]:
            del sys.modules[name]
        active = self._active
        if active:
            self.exit()
        ScriptedLoadableModuleWidget.onReload(self)
        if active:
            getattr(slicer.modules, self.moduleName + "Widget").enter()

    def _onSceneStartClose(self, caller, event):
        self._rebind = self._rebind or self.parameters is not None
        self._abandonJob()
        self.correction.release()
        self._unbind()

    def _onSceneStartImport(self, caller, event):
        self._rebind = self._rebind or self.parameters is not None
        self.correction.forget()
        self._unbind()

    def _onSceneEndBatch(self, caller, event):
        """Bind again: a close and an import both end so, and only then are selectors right."""
        if self._rebind and self.parameters is None:
            self._rebind = False
            self.correction.use_own_node()
            self._bind()

    def _bind(self):
        node = self.logic.getParameterNode()
        if self.parameters is not None and self.parameters.parameterNode is node:
            return
        self._unbind()
        problem = ""
        try:
            self.parameters = self.PARAMETERS(node)
        except Exception as error:
            problem = str(error)
        if problem:
            logging.warning(
                f"{self.moduleName}: stored settings are unreadable, defaults used ({problem})"
            )
            for name in node.GetParameterNames():
                node.UnsetParameter(name)
            self.parameters = self.PARAMETERS(node)
        self._guiTag = self.parameters.connectGui(self.ui)
        self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._onParametersModified)
        self.fissures.bind(self.parameters)
        self.onBound()
        self.refreshResults()
        self._onParametersModified()

    def _unbind(self):
        if self.parameters is None:
            return
        if self._guiTag is not None:
            self.parameters.disconnectGui(self._guiTag)
            self._guiTag = None
        node = self.parameters.parameterNode
        self.removeObserver(node, vtk.vtkCommand.ModifiedEvent, self._onParametersModified)
        self.parameters = None
        self.fissures.bind(None)
        self.onBound()

    def _onParametersModified(self, caller=None, event=None):
        if self.parameters is None:
            return
        self.onParametersChanged()
        self.updateButtons()

    # ------------------------------------------------------------------- to be given by modules

    def onSetup(self):
        """Prepare the widgets that only this module has."""

    def onEnter(self):
        """Choose inputs that are obvious."""

    def onBound(self):
        """Take over `parameters`: those of the scene, or None before they go."""

    def onInputsEdited(self):
        """Mark results outdated because the reader drew or scored something."""
        if self.parameters is not None and self.logic.record(self.parameters) is not None:
            self.parameters.outdated = True
            self.updateButtons()

    def onParametersChanged(self):
        """Show or hide what the inputs call for."""

    # ----------------------------------------------------------------------------- computation

    def updateButtons(self):
        ui, parameters = self.ui, self.parameters
        busy = self.job is not None
        missing = self.logic.missing(parameters)
        why = _("A computation is running.") if busy else missing
        has_results = self.logic.record(parameters) is not None
        ui.applyButton.enabled = not why
        ui.applyButton.toolTip = why or _("Compute everything anew.")
        ui.cancelButton.enabled = busy
        ui.recomputeButton.enabled = bool(parameters.outdated and has_results and not why)
        ui.recomputeButton.toolTip = why or (
            _("Compute what depends on the corrections.")
            if parameters.outdated
            else _("Nothing was corrected since the last computation.")
        )
        name = self._correctedName()
        original = bool(name) and self.logic.node(parameters, f"original.{name}") is not None
        ui.restoreButton.enabled = bool(original and name in parameters.corrected.split())
        ui.reportButton.enabled = bool(has_results and not why and not parameters.outdated)
        ui.reportButton.toolTip = why or (
            _("Recompute first: the results are outdated.")
            if parameters.outdated
            else _("Write the same files as the command line.")
            if has_results
            else _("Press Apply first.")
        )
        words = self._stateWords(has_results, missing)
        outdated = bool(words)
        ui.stateLabel.text = words
        ui.stateLabel.styleSheet = "color: #b8540b; font-weight: bold" if outdated else ""
        ui.resultsTableView.styleSheet = "color: #909090" if outdated else ""

    def _stateWords(self, has_results, missing):
        """Say what the user should know about the results that are shown."""
        parameters = self.parameters
        if not has_results:
            return ""
        if parameters.outdated:
            return _("Results are outdated: something was corrected. Press Recompute.")
        made_with = parameters.parameterNode.GetAttribute(SIGNATURE)
        if made_with and not missing and made_with != self.logic.signature(parameters):
            return _("Results belong to other inputs or settings. Press Apply.")
        return ""

    def onApply(self, checked=False):
        """Compute everything anew."""
        if self.parameters.corrected and not slicer.util.confirmOkCancelDisplay(
            _("Apply starts anew and discards the corrections of: {names}.").format(
                names=self.parameters.corrected
            )
            + " "
            + _("Use Recompute to keep them.")
        ):
            return
        with slicer.util.tryWithErrorDisplay(_("Failed to start the computation.")):
            self.logic.forget_corrections(self.parameters)
            self._start(self._showFolder)

    def onRecompute(self, checked=False):
        """Compute with the corrected segments; what was found before is not sought again."""
        with slicer.util.tryWithErrorDisplay(_("Failed to start the computation.")):
            self.correction.look_now()
            self._start(self._showFolder)

    def onCancel(self, checked=False):
        if self.job is not None:
            self.job.cancel()

    def _start(self, onSuccess, *, report=False, out=None):
        """Write the inputs, start the command, and call `onSuccess` with its results folder."""
        folder = Path(slicer.util.tempDirectory())
        target = folder / "results" if out is None else Path(out)
        inputs = folder / "inputs"
        inputs.mkdir()
        try:
            with slicer.util.WaitCursor():
                words = self.logic.request(self.parameters, inputs, report=report)
                self._startedWith = self.logic.signature(self.parameters)
            self._folder = folder
            self.job = Job(
                [*words, "--out", str(target)],
                self._onProgress,
                lambda error: self._onDone(error, target, onSuccess),
            )
        except Exception:
            self._endJob()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.ui.progressBar.visible = True
        self.ui.progressBar.setRange(0, 100)
        self._onProgress(0.0, _("starting"))
        self.updateButtons()

    def _onProgress(self, fraction, message):
        self.ui.progressBar.value = round(100 * fraction)
        self.ui.progressBar.format = f"%p % {message}"
        slicer.util.showStatusMessage(message, 2000)

    def _onDone(self, error, target, onSuccess):
        folder = self._folder
        self._endJob()
        try:
            if self.parameters is None:
                return  # the panel was left for another scene
            if error:
                slicer.util.errorDisplay(error)
            elif error == "":
                with slicer.util.tryWithErrorDisplay(_("Failed to show the results.")):
                    onSuccess(target)
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            if self.parameters is not None:
                self.updateButtons()

    def _endJob(self):
        self.job = self._folder = None
        self.ui.progressBar.visible = False

    def _abandonJob(self):
        if self.job is None:
            return
        self.job.abandon()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._endJob()

    def _showFolder(self, folder):
        self.correction.forget()  # what the program writes is no correction
        with slicer.util.WaitCursor():
            self.logic.show(self.parameters, folder)
            self.parameters.parameterNode.SetAttribute(SIGNATURE, self._startedWith)
            self._styleResults()
            self.refreshResults()

    # --------------------------------------------------------------------------------- display

    def refreshResults(self):
        """Fill the panel from the scene: after a run, a scene load, or on entering."""
        ui, logic, parameters = self.ui, self.logic, self.parameters
        tables = {name: f"table.{name}" for name in logic.names(parameters, "table")}
        if logic.node(parameters, "original.measurements") is not None:
            tables["measurements before corrections"] = "original.measurements"
        maps = {name: f"map.{name}" for name in logic.names(parameters, "map")}
        found = logic.names(parameters, "labels")
        labels = [name for name in logic.corrections if name in found]
        _refill(ui.tableSelector, tables)
        _refill(ui.mapSelector, maps)
        _refill(ui.correctedSelector, {name: f"labels.{name}" for name in labels})
        self.correction.watch({name: logic.node(parameters, f"labels.{name}") for name in labels})
        self._onTable()
        self._onCorrectedSelected()
        self._showRemarks()
        self._showTrail()
        if self._active:  # a panel that is not shown leaves the views to the one that is
            self.updateDisplay()

    def _styleResults(self):
        """Give freshly made results their looks."""
        reference = self.logic.reference(self.parameters)
        overlay.style_ct(reference, "Lung")
        for name in self.logic.names(self.parameters, "map"):
            node = self.logic.node(self.parameters, f"map.{name}")
            colours = self.logic.colours(self.parameters, name)
            if colours is not None:
                overlay.style_map(node, colours)
        self._onSegments()

    def updateDisplay(self):
        """Show CT, the chosen map and the findings."""
        shown = self._shownMap()
        findings = self.logic.node(self.parameters, f"labels.{self.logic.findings}")
        if shown is None and findings is None:
            return
        reference = self.logic.reference(self.parameters)
        self._syncMapControls(shown)
        self._onLegend()
        self.overlay.show(reference, shown, findings, self.parameters.mapOpacity)

    def _shownMap(self):
        role = self.ui.mapSelector.currentData
        return self.logic.node(self.parameters, role) if role else None

    def _syncMapControls(self, shown):
        ui = self.ui
        ui.mapRange.enabled = ui.mapThreshold.enabled = shown is not None
        if shown is None:
            return
        display = shown.GetDisplayNode()
        low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
        limits = self._colourLimits(shown) or (low, high)
        span = limits[1] - limits[0]
        for control in (ui.mapRange, ui.mapThreshold):
            blocked = control.blockSignals(True)
            control.decimals = 0 if span > 50 else 2
            control.singleStep = span / 100
            control.minimum = limits[0] - span
            control.maximum = limits[1] + span
            control.blockSignals(blocked)
        blocked = ui.mapRange.blockSignals(True)
        ui.mapRange.setValues(low, high)
        ui.mapRange.blockSignals(blocked)
        blocked = ui.mapThreshold.blockSignals(True)
        ui.mapThreshold.value = max(ui.mapThreshold.minimum, display.GetLowerThreshold())
        ui.mapThreshold.blockSignals(blocked)

    def _colourLimits(self, shown):
        name = (self.ui.mapSelector.currentData or "").removeprefix("map.")
        colours = self.logic.colours(self.parameters, name)
        return None if colours is None else colours.range

    def _onLayout(self, index=0):
        if self.parameters is not None:
            self.overlay.compare(index == 1)
            self.updateDisplay()

    def _onMap(self, index=0):
        if self.parameters is not None:
            self.updateDisplay()

    def _onOpacity(self, value=0.0):
        if self.parameters is not None and self._shownMap() is not None:
            self.overlay.set_opacity(value)

    def _onRange(self, low, high):
        shown = self._shownMap() if self.parameters is not None else None
        if shown is not None and high > low:
            shown.GetDisplayNode().SetWindowLevelMinMax(low, high)

    def _onThreshold(self, value):
        shown = self._shownMap() if self.parameters is not None else None
        if shown is not None:
            lowest = value <= self.ui.mapThreshold.minimum
            overlay.hide_below(shown, None if lowest else value)

    def _onWindow(self, index=0):
        reference = self.logic.reference(self.parameters) if self.parameters is not None else None
        if reference is not None and self.ui.windowPreset.currentData:
            overlay.style_ct(reference, self.ui.windowPreset.currentData)

    def _onLegend(self, on=None):
        if self.parameters is None:
            return
        shown = self._shownMap()
        unit = "" if shown is None else shown.GetAttribute(mrml.ATTRIBUTE_PREFIX + "unit") or ""
        heading = "" if shown is None else self.ui.mapSelector.currentText
        overlay.show_legend(shown, heading, unit, self.ui.legendCheckBox.checked)

    def _onSegments(self, on=None):
        if self.parameters is None:
            return
        for name in self.logic.names(self.parameters, "labels"):
            shown = name not in self.logic.background_labels
            overlay.style_segments(
                self.logic.node(self.parameters, f"labels.{name}"),
                slices=shown and self.ui.segmentsCheckBox.checked,
                surfaces=shown and self.ui.surfacesCheckBox.checked,
                fill=0.0 if name == "lungs" else 0.35,
            )

    # --------------------------------------------------------------------------------- results

    def _onTable(self, index=0):
        if self.parameters is None:
            return
        role = self.ui.tableSelector.currentData
        table = self.logic.node(self.parameters, role) if role else None
        self.ui.resultsTableView.setMRMLTableNode(table)
        if table is not None:
            self.ui.resultsTableView.resizeColumnsToContents()

    def onRowSelected(self):
        """Go to the place of a finding."""
        view = self.ui.resultsTableView
        chosen = view.selectionModel().selectedIndexes
        table = view.mrmlTableNode()
        if not chosen or table is None:
            return
        row = view.model().mapToSource(chosen[0]).row()
        for columns in PLACE_COLUMNS:
            numbers = [table.GetColumnIndex(name) for name in columns]
            if min(numbers) >= 0:
                overlay.jump_to([float(table.GetCellText(row, number)) for number in numbers])
                return
        number = table.GetColumnIndex("region")
        if number >= 0:
            self._jumpToRegion(table.GetCellText(row, number))

    def onChart(self, checked=False):
        """Draw the measure of the chosen row for all regions."""
        with slicer.util.tryWithErrorDisplay(_("Failed to draw the chart.")):
            rows = self.logic.measurements(self.parameters)
            chosen = self.ui.resultsTableView.selectionModel().selectedIndexes
            shows_measurements = self.ui.tableSelector.currentData == "table.measurements"
            if not chosen or not rows or not shows_measurements:
                raise InputError(_("Choose a row of the table Measurements first."))
            row = self.ui.resultsTableView.model().mapToSource(chosen[0]).row()
            chart = self.logic.show_chart(self.parameters, rows[row].measure)
            if slicer.app.layoutManager() is not None:
                slicer.modules.plots.logic().ShowChartInLayout(chart)

    def _jumpToRegion(self, words):
        identifier = words.lower().replace(" ", "_")
        for name in self.logic.names(self.parameters, "labels"):
            node = self.logic.node(self.parameters, f"labels.{name}")
            if node.GetSegmentation().GetSegment(identifier) is not None:
                centre = mrml.segment_centre_ras_mm(node, identifier)
                if centre is not None:
                    overlay.jump_to(centre)
                return

    def _showRemarks(self):
        record = self.logic.record(self.parameters)
        lines = []
        if record is not None:
            analysis = record["analyses"][0]
            gates = [g for g in analysis["quality_gates"] if g["verdict"] in ("warn", "fail")]
            words = {"warn": _("Look: "), "fail": _("Do not use: ")}
            lines = [words[gate["verdict"]] + gate["message"] for gate in gates]
            lines += analysis["warnings"]
        self.ui.remarksLabel.text = "\n".join(lines)

    # ------------------------------------------------------------------------------- correction

    def _correctedName(self):
        return (self.ui.correctedSelector.currentData or "").removeprefix("labels.")

    def _onCorrectedSelected(self, index=0):
        if self.parameters is None:
            return
        name = self._correctedName()
        node = self.logic.node(self.parameters, f"labels.{name}") if name else None
        self.correction.edit(name, node, self.logic.reference(self.parameters))
        self.updateButtons()

    def _beforeEdit(self, name):
        self.logic.keep_original_labels(self.parameters, name)

    def onSegmentsEdited(self, name, changed):
        """Mark the results outdated at once and note the edit."""
        if self.parameters is None:
            return
        self.logic.corrected(self.parameters, name, changed)
        self._showTrail()
        self.updateButtons()

    def onRestore(self, checked=False):
        with slicer.util.tryWithErrorDisplay(_("Failed to restore the original.")):
            self.logic.restore(self.parameters, self._correctedName())
            self.correction.renew()
            self._showTrail()
            self.updateButtons()

    def _showTrail(self):
        node = self.logic.node(self.parameters, "trail")
        try:
            entries = mrml.read_trail(node)
        except InputError as error:
            self.ui.trailText.plainText = str(error)
            return
        self.ui.trailText.plainText = trail_lines(entries) or _("none")

    # ----------------------------------------------------------------------------------- export

    def onReport(self, checked=False):
        """Write report and tables, as the command line does, into a new folder."""
        with slicer.util.tryWithErrorDisplay(_("Failed to write the report.")):
            chosen = self.ui.reportFolder.currentPath
            if not chosen or not Path(chosen).is_dir():
                raise InputError(
                    _("Choose a folder under Export first; the results get a folder in it.")
                )
            self._ensureRequirements()
            target = _free_folder(
                Path(chosen), self.parameters.caseName.strip() or self.logic.command
            )
            self._start(self._onReportWritten, report=True, out=target)

    def _ensureRequirements(self):
        import slicer.packaging

        slicer.packaging.pip_ensure(list(self.logic.requirements), requester=self.moduleName)

    def _onReportWritten(self, folder):
        self.ui.reportLabel.text = _("Written: {path}").format(path=folder / "report.html")


def _refill(selector, items):
    """Offer names with their roles; keep the choice where it is still there."""
    chosen = selector.currentData
    blocked = selector.blockSignals(True)
    selector.clear()
    for name, role in items.items():
        selector.addItem(title(name), role)
    index = selector.findData(chosen) if chosen else -1
    selector.currentIndex = max(index, 0) if items else -1
    selector.blockSignals(blocked)


def _free_folder(parent, name):
    """First of ``name``, ``name-2``, ... that does not exist."""
    number, folder = 1, parent / name
    while folder.exists():
        number += 1
        folder = parent / f"{name}-{number}"
    return folder
