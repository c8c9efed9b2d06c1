"""Panel that the three modules share: life cycle, computation and export.

The sections Results, Display and Review are `results_panel`, `display` and `review`.
"""

import logging
import shutil
import sys
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion_gui.display import DisplayPanel
from lungperfusion_gui.fissures import FissurePanel
from lungperfusion_gui.job import Job
from lungperfusion_gui.results_panel import ResultsPanel
from lungperfusion_gui.review import ReviewPanel
from lungperfusion_gui.segmenters import offer_segmenters

PACKAGES = ("lungperfusion", "lungperfusion_gui")
REVIEW_UI = "UI/LungPerfusionReview.ui"
SIGNATURE = mrml.ATTRIBUTE_PREFIX + "signature"
"""Attribute of the parameter node: inputs and options that the results were made with."""


class ModuleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Life cycle and work flow; a module adds its inputs.

    Subclasses set ``UI``, ``PARAMETERS`` and ``LOGIC`` and may override `onSetup`, `onEnter`,
    `onBound` and `onParametersChanged`.
    """

    UI = ""
    PARAMETERS = None
    LOGIC = None

    def __init__(self, parent=None):
        self.logic = self.ui = self.parameters = self.job = None
        self.results = self.display = self.review = self.fissures = None
        self._guiTag = None
        self._active = self._rebind = False
        self._folder = self._stages = None
        self._startedWith = ""
        ScriptedLoadableModuleWidget.__init__(self, parent)

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
        self.results = ResultsPanel(self.ui, self.logic)
        self.display = DisplayPanel(self.ui, self.logic)
        self.review = ReviewPanel(
            self.ui, self.logic, self.moduleName, self.updateButtons, self._onCorrectedChosen
        )
        self.fissures = FissurePanel(self.ui, lambda: self.onMarked(_("Points on fissures")))
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, scene.StartImportEvent, self._onSceneStartImport)
        self.addObserver(scene, scene.EndBatchProcessEvent, self._onSceneEndBatch)
        offer_segmenters(self.ui.segmenterButton)
        self._connect()
        self.onSetup()
        self._bind()

    def _connect(self):
        ui = self.ui
        ui.applyButton.connect("clicked(bool)", self.onApply)
        ui.cancelButton.connect("clicked(bool)", self.onCancel)
        ui.recomputeButton.connect("clicked(bool)", self.onRecompute)
        ui.restoreButton.connect("clicked(bool)", self.onRestore)
        ui.reportButton.connect("clicked(bool)", self.onReport)

    @property
    def _sections(self):
        """Parts of the panel that show what hangs on the parameter node."""
        return (self.results, self.display, self.review, self.fissures)

    def enter(self):
        self._active = True
        self.display.enter()
        self._bind()
        self.review.editing.enter()
        self.onEnter()

    def exit(self):
        self._active = False
        try:
            self.review.editing.exit()
            self.display.exit()
        finally:
            self._unbind()

    def cleanup(self):
        self._abandonJob()
        if self.review is not None:
            self.review.editing.exit()
            self.review.editing.forget()
        self._unbind()
        self._forgetStages()
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
        self.review.editing.release()
        self._unbind()
        self._forgetStages()

    def _onSceneStartImport(self, caller, event):
        self._rebind = self._rebind or self.parameters is not None
        self.review.editing.forget()
        self._unbind()

    def _onSceneEndBatch(self, caller, event):
        """Bind again: a close and an import both end so, and only then are selectors right."""
        if self._rebind and self.parameters is None:
            self._rebind = False
            self.review.editing.use_own_node()
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
        for section in self._sections:
            section.bind(self.parameters)
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
        for section in self._sections:
            section.bind(None)
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

    def onMarked(self, what):
        """Mark results outdated because the reader placed or scored something."""
        if self.parameters is not None and self.logic.record(self.parameters) is not None:
            self.logic.marked(self.parameters, what)
            self.review.show_trail()
            self.updateButtons()

    def onParametersChanged(self):
        """Show or hide what the inputs call for."""

    def showRelevant(self, names):
        """Show the rows of inputs and options that play a part; hide the others."""
        left_out = self.logic.irrelevant(self.parameters)
        for name in names:
            getattr(self.ui, name).visible = name not in left_out
            label = getattr(self.ui, name + "Label", None)
            if label is not None:
                label.visible = name not in left_out

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
        ui.restoreButton.enabled = self.review.can_restore and not busy
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
            self.review.editing.look_now()
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
            if self._stages is None:
                self._stages = Path(slicer.util.tempDirectory())
            words += ["--keep-stages", str(self._stages), "--out", str(target)]
            self.job = Job(
                words,
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

    def _forgetStages(self):
        """Remove what was kept for recomputing: it belongs to the scene that goes."""
        if self._stages is not None:
            shutil.rmtree(self._stages, ignore_errors=True)
            self._stages = None

    def _showFolder(self, folder):
        self.review.editing.forget()  # what the program writes is no correction
        with slicer.util.WaitCursor():
            self.logic.show(self.parameters, folder)
            self.parameters.parameterNode.SetAttribute(SIGNATURE, self._startedWith)
            self.display.style()
            self.refreshResults()

    # ---------------------------------------------------------------------- results and review

    def refreshResults(self):
        """Fill the panel from the scene: after a run, a scene load, or on entering."""
        self.results.refill()
        self.display.refill()
        self.review.refill()
        if self._active:  # a panel that is not shown leaves the views to the one that is
            self.display.show()

    def _onCorrectedChosen(self, name):
        self.display.show_edited(name)
        self.updateButtons()

    def onRestore(self, checked=False):
        with slicer.util.tryWithErrorDisplay(_("Failed to restore the original.")):
            self.review.restore()
            self.updateButtons()

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


def _free_folder(parent, name):
    """First of ``name``, ``name-2``, ... that does not exist."""
    number, folder = 1, parent / name
    while folder.exists():
        number += 1
        folder = parent / f"{name}-{number}"
    return folder
