"""Panel that the three modules share: its life cycle and its buttons.

The sections Results, Display and Review are `results_panel`, `display`, `review`; `runs` computes.
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from lungperfusion_gui import corrections
from lungperfusion_gui.archive_export import ArchiveExport
from lungperfusion_gui.display import DisplayPanel
from lungperfusion_gui.fissures import FissurePanel
from lungperfusion_gui.logic import STEERING
from lungperfusion_gui.result_nodes import show_results
from lungperfusion_gui.results_panel import ResultsPanel
from lungperfusion_gui.review import ReviewPanel
from lungperfusion_gui.runs import CommandRuns
from lungperfusion_gui.scan_check import ScanChecks
from lungperfusion_gui.segmenters import offer_segmenters
from lungperfusion_gui.study import Study

PACKAGES = ("lungperfusion", "lungperfusion_gui")
REVIEW_UI = "UI/LungPerfusionReview.ui"
ROW_PX, GAP_PX, LEAST_PX = 28, 3, 2
"""Height of a row of a form with its distance to the next, distance around longer texts, and what
is left of the distance that every row has."""
FOLDER_SETTING = "LungPerfusion/reportFolder"
"""Setting of the application: where reports were written last."""


class ModuleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Life cycle and work flow; a module adds its inputs.

    Subclasses set ``UI``, ``PARAMETERS`` and ``LOGIC`` and may override `onSetup`, `ownSections`,
    `onEnter` and `onParametersChanged`.
    """

    UI = ""
    PARAMETERS = None
    LOGIC = None

    def __init__(self, parent=None):
        self.logic = self.ui = self.parameters = self.runs = self.study = None
        self.results = self.display = self.review = self.fissures = self.checks = None
        self._guiTag = None
        self._active = self._rebind = False
        self._reportFolder, self._written = None, ""
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
        # not of the parent: after Reload it still has the hidden widgets of the panel before
        own, shared = (vars(slicer.util.childWidgetVariables(part)) for part in (root, review))
        self.ui = SimpleNamespace(**(own | shared))
        for part in (root, review):
            part.setMRMLScene(slicer.mrmlScene)
            _close_gaps(part)
        self.logic = self.LOGIC()
        self.runs = CommandRuns(
            self.ui.progressBar, lambda: self.parameters is not None, self._onRunChanged
        )
        self.results = ResultsPanel(self.ui, self.logic.deciding, lambda: self.review.show_trail())
        self.display = DisplayPanel(
            self.ui,
            self.logic.findings,
            lambda name: self.logic.colours(self.parameters, name),
        )
        self.review = ReviewPanel(
            self.ui,
            self.logic.corrections,
            self.moduleName,
            self.updateButtons,
            self._onCorrectedChosen,
        )
        self.fissures = FissurePanel(self.ui, lambda: self.onMarked(_("Points on fissures")))
        self.checks = ScanChecks(self.ui.scanLabel, self.logic.command)
        self.archive = ArchiveExport(self.ui.exportCollapsibleButton, lambda: self.study.image)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(scene, scene.StartImportEvent, self._onSceneStartImport)
        self.addObserver(scene, scene.EndBatchProcessEvent, self._onSceneEndBatch)
        offer_segmenters(self.ui.segmenterButton)
        self.ui.reportFolder.currentPath = slicer.util.settingsValue(FOLDER_SETTING, "")
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
        ui.openReportButton.connect("clicked(bool)", self.onOpenReport)

    @property
    def _sections(self):
        """Parts of the panel that show what belongs to a scan."""
        shared = (self.results, self.display, self.review, self.fissures, self.checks)
        return (*shared, *self.ownSections())

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
            self.display.forget()
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
        self._showStudy()
        self._onParametersModified()

    def _unbind(self):
        if self.parameters is None:
            return
        if self._guiTag is not None:
            self.parameters.disconnectGui(self._guiTag)
            self._guiTag = None
        node = self.parameters.parameterNode
        self.removeObserver(node, vtk.vtkCommand.ModifiedEvent, self._onParametersModified)
        self.parameters = self.study = None
        for section in self._sections:
            section.bind(None)

    def _showStudy(self):
        """Show the results, corrections and marks of the chosen scan."""
        self.review.editing.look_now()  # edits of the scan before are its own
        self.study = self.logic.study(self.parameters)
        for section in self._sections:
            section.bind(self.study)
        self.refreshResults()

    def _onParametersModified(self, caller=None, event=None):
        if self.parameters is None:
            return
        if self.study != self.logic.study(self.parameters):
            self._showStudy()
        self.onParametersChanged()
        scans = [node for node, _lungs in self.logic.scans(self.parameters)]
        self.checks.show(scans)
        self.updateButtons()

    # ------------------------------------------------------------------- to be given by modules

    def onSetup(self):
        """Prepare the widgets that only this module has."""

    def onEnter(self):
        """Choose inputs that are obvious."""

    def ownSections(self):
        """Return parts that only this module has; each has a method ``bind(study)``."""
        return ()

    def onMarked(self, what):
        """Mark results outdated because the reader placed or scored something."""
        if self.study is not None and self.study.has_results:
            corrections.note_mark(self.study, what)
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
        """Enable what can be done now, and say what cannot, and why."""
        if self.parameters is None:
            return
        ui, parameters, study = self.ui, self.parameters, self.study
        busy = self.job is not None
        missing = self.logic.missing(parameters) or self.logic.missing_engine(parameters)
        missing = missing or self.logic.refused_scan(parameters)
        missing = missing or self.logic.refused_name(parameters)
        why = _("A computation is running.") if busy else missing
        state = "" if missing else self._stateWords()
        ours = study.has_results and study.has_inputs(self.logic.inputs(parameters))
        changed = ours and (study.outdated or bool(state))
        ui.applyButton.enabled = not why
        ui.applyButton.toolTip = why or _("Compute everything anew.")
        ui.reasonLabel.text = missing
        ui.cancelButton.enabled = busy
        ui.recomputeButton.enabled = bool(changed and not why)
        ui.recomputeButton.visible = bool(study.has_results)
        ui.recomputeButton.toolTip = (
            why or _("Compute what depends on the change; corrections are kept.")
            if changed
            else why or state or _("Nothing was changed since the last computation.")
        )
        restorable = self.review.can_restore
        ui.restoreButton.enabled = restorable and not busy
        ui.restoreReasonLabel.text = (
            "" if restorable else _("Restore original: this segmentation was not corrected.")
        )
        noReport = why or state or ("" if study.has_results else _("Press Apply first."))
        ui.reportButton.enabled = not noReport
        ui.reportButton.toolTip = noReport or _("Write the same files as the command line.")
        ui.reportLabel.text = noReport or self._written
        ui.openReportButton.enabled = self._reportFolder is not None
        ui.stateLabel.text = state
        ui.stateLabel.styleSheet = "color: #b8540b; font-weight: bold" if state else ""
        ui.resultsTableView.styleSheet = "color: #909090" if state else ""

    def _stateWords(self):
        """Say what the user should know about the results that are shown, the worst first."""
        study = self.study
        if not study.has_results:
            return ""
        if not study.has_inputs(self.logic.inputs(self.parameters)):
            return _("Results belong to other inputs. Choose those again, or press Apply.")
        if study.outdated:
            return _("Results are outdated: something was corrected. Press Recompute.")
        if not study.has_settings(self.logic.settings(self.parameters)):
            return _("Results belong to other settings. Press Recompute.")
        return ""

    def onApply(self, checked=False):
        """Compute everything anew."""
        if self.parameters is None:
            return
        if self.study.corrected and not slicer.util.confirmOkCancelDisplay(
            _("Apply starts anew and discards the corrections of: {names}.").format(
                names=", ".join(self.study.corrected)
            )
            + " "
            + _("Use Recompute to keep them.")
        ):
            return
        with slicer.util.tryWithErrorDisplay(_("Failed to start the computation.")):
            self._start(corrected=False)

    def onRecompute(self, checked=False):
        """Compute with the corrected segments; what was found before is not sought again."""
        if self.parameters is None:
            return
        with slicer.util.tryWithErrorDisplay(_("Failed to start the computation.")):
            self._start()

    def onCancel(self, checked=False):
        self.runs.cancel()

    def _start(self, *, corrected=True):
        """Start the command with the inputs, settings and corrections of this moment."""
        run = self.newRun(anew=not corrected)
        logic, parameters = self.logic, self.parameters
        self.runs.start(
            lambda folder: logic.request(parameters, folder, corrected=corrected),
            lambda folder: self.show(folder, run),
            more_words=[
                *("--no-report", "--uncompressed"),
                *logic.case_words(parameters),
                *logic.display_words(parameters),
            ],
            owner=run.study.scan.GetID(),
        )

    def newRun(self, *, anew):
        """Return what a run of this moment would be started with."""
        self.review.editing.look_now()
        return Run(
            study=self.study,
            inputs=self.logic.inputs(self.parameters),
            settings=self.logic.settings(self.parameters),
            steering=self.logic.steering(self.parameters),
            given=self.logic.input_segmentations(self.parameters),
            anew=anew,
            trail=corrections.entries(self.study),
        )

    def show(self, folder, run):
        """Show the results of a run in the study it was made for, whatever is chosen by now."""
        self.review.editing.look_now()
        study = run.study
        edited = corrections.entries(study) != run.trail
        self.review.editing.forget()  # what the program writes is no correction
        with slicer.util.WaitCursor(), slicer.util.RenderBlocker():
            if run.anew and not edited:
                corrections.forget(study)
            before = study.measurements
            again = bool(before) and not run.anew
            if again:
                corrections.keep_original_measurements(study)
            show_results(study, folder, maps=self.logic.maps, transforms=self.logic.transforms)
            if again:
                corrections.note_recomputation(study, before)
            study.outdated = edited
            study.made_with(run.inputs, run.settings)
            study.set_value(STEERING, run.steering)
            self.display.style(study, run.given)
            self.refreshResults()
        if run.anew and self._active and study == self.study:
            self.display.compare()
            self.results.open_largest(self.logic.findings_tables)

    # ---------------------------------------------------------------------- results and review

    def refreshResults(self):
        """Fill the panel from the scene: after a run, a scene load, or on entering."""
        with slicer.util.RenderBlocker():
            corrections.hide_originals(self.study)
            self.results.refill()
            self.display.refill()
            self.review.refill()
            if self._active:  # a panel that is not shown leaves the views to the one that is
                self.display.show()

    def _onCorrectedChosen(self, name):
        self.display.show_edited(name)
        self.updateButtons()

    def onRestore(self, checked=False):
        if self.parameters is None:
            return
        with slicer.util.tryWithErrorDisplay(_("Failed to restore the original.")):
            self.review.restore()
            self.updateButtons()

    # ----------------------------------------------------------------------------------- export

    def onReport(self, checked=False):
        """Write report and tables, as the command line does, into a new folder."""
        if self.parameters is None:
            return
        chosen = self.ui.reportFolder.currentPath
        if not chosen or not Path(chosen).is_dir():
            slicer.util.errorDisplay(
                _("Choose a folder under Export first; the results get a folder in it.")
            )
            return
        qt.QSettings().setValue(FOLDER_SETTING, chosen)
        name = self.parameters.caseName.strip() or self.logic.command_of(self.parameters)
        target = _free_folder(Path(chosen), name)
        pictures = self._ensureRequirements()
        with slicer.util.tryWithErrorDisplay(_("Failed to write the report.")):
            self.review.editing.look_now()
            self.runs.start(
                lambda folder: self._reportWords(folder, pictures),
                lambda folder: self._onReportWritten(folder, pictures),
                more_words=self.logic.case_words(self.parameters),
                out=target,
            )

    def _reportWords(self, folder, pictures):
        """Words of the run whose results are shown, for the same numbers, and of its report."""
        kept = self.runs.kept(self.study.scan.GetID())
        report = self.logic.trail_words(self.study, folder) if pictures else ["--no-report"]
        if kept is not None:
            return [*kept.words, *report]
        words = yield from self.logic.request(self.parameters, folder)
        return [*words, *report]

    def _ensureRequirements(self):
        """Whether the report can be drawn; asks once to install what it needs."""
        import slicer.packaging

        try:
            slicer.packaging.pip_ensure(list(self.logic.requirements), requester=self.moduleName)
        except RuntimeError:  # declined, or no network
            return False
        return True

    def _onReportWritten(self, folder, pictures):
        self._reportFolder = folder if pictures else None
        path = folder / "report.html" if pictures else folder
        words = _("Written: {path}").format(path=path)
        if not pictures:
            words += " " + _("Without matplotlib there are tables and images, but no report.")
        self._written = words
        self.archive.offer(folder)
        self.updateButtons()

    def onOpenReport(self, checked=False):
        """Show the report that was written last in the browser."""
        if self._reportFolder is not None:
            path = str(self._reportFolder / "report.html")
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(path))


@dataclass(frozen=True)
class Run:
    """What a run was started with; its results belong to nothing else."""

    study: Study
    inputs: dict
    settings: str
    steering: str
    given: list
    anew: bool
    trail: list


def _close_gaps(root):
    """Let rows of forms bring their own distance: Qt 5 keeps a gap for every hidden row."""
    for form in slicer.util.findChildren(root, className="QFormLayout"):
        form.verticalSpacing = LEAST_PX
    for kind in ("QLabel", "QCheckBox"):
        for widget in slicer.util.findChildren(root, className=kind):
            if kind == "QLabel" and widget.wordWrap:
                widget.margin = GAP_PX
            else:
                widget.minimumHeight = ROW_PX


def _free_folder(parent, name):
    """First of ``name``, ``name-2``, ... that does not exist."""
    number, folder = 1, parent / name
    while folder.exists():
        number += 1
        folder = parent / f"{name}-{number}"
    return folder
