"""Panel that the three modules share: its life cycle and its buttons.

The sections Results, Display and Review are `results_panel`, `display`, `review`; `runs` computes.
"""

import logging
import sys
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion_gui.corrections import TRAIL
from lungperfusion_gui.display import DisplayPanel
from lungperfusion_gui.fissures import FissurePanel
from lungperfusion_gui.results_panel import ResultsPanel
from lungperfusion_gui.review import ReviewPanel
from lungperfusion_gui.runs import CommandRuns
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
        self.logic = self.ui = self.parameters = self.runs = None
        self.results = self.display = self.review = self.fissures = None
        self._guiTag = None
        self._active = self._rebind = False
        self._startedWith = self._trailAtStart = ""
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
        self.runs = CommandRuns(
            self.ui.progressBar, lambda: self.parameters is not None, self._onRunChanged
        )
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
        self.runs.deliver()

    def exit(self):
        self._active = False
        try:
            self.review.editing.exit()
            self.display.exit()
        finally:
            self._unbind()

    def cleanup(self):
        if self.review is not None:
            self.runs.abandon()
            self.review.editing.exit()
            self.review.editing.forget()
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
        self.runs.abandon()
        self.review.editing.release()
        self._unbind()

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

    @property
    def job(self):
        """The run in progress, or None."""
        return self.runs.job

    def _onRunChanged(self):
        if self.parameters is not None:
            self.updateButtons()

    def updateButtons(self):
        ui, parameters = self.ui, self.parameters
        busy = self.job is not None
        missing = self.logic.missing(parameters) or self.logic.missing_engine(parameters)
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
            self._start(self._showAnew, corrected=False)

    def onRecompute(self, checked=False):
        """Compute with the corrected segments; what was found before is not sought again."""
        with slicer.util.tryWithErrorDisplay(_("Failed to start the computation.")):
            self._start(self._showFolder)

    def onCancel(self, checked=False):
        self.runs.cancel()

    def _start(self, onSuccess, *, corrected=True, report=False, out=None):
        """Start the command with the inputs, settings and corrections of this moment."""
        self.review.editing.look_now()
        parameters = self.parameters
        self._trailAtStart = self._trail()

        def words(folder):
            self._startedWith = self.logic.signature(parameters)
            return self.logic.request(parameters, folder, report=report, corrected=corrected)

        self.runs.start(words, onSuccess, out=out)

    def _trail(self):
        node = self.logic.node(self.parameters, TRAIL)
        return "" if node is None else node.GetText()

    def _showAnew(self, folder):
        """Show a run that found everything itself, and only now give up the corrections."""
        self.logic.forget_corrections(self.parameters)
        self._trailAtStart = self._trail()
        self._showFolder(folder)

    def _showFolder(self, folder):
        self.review.editing.look_now()
        edited_meanwhile = self._trail() != self._trailAtStart
        self.review.editing.forget()  # what the program writes is no correction
        with slicer.util.WaitCursor():
            self.logic.show(self.parameters, folder)
            self.parameters.outdated = edited_meanwhile
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
