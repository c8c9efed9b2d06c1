"""Runs of a panel's command: one at a time, with progress, in temporary folders."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from lungperfusion.progress import TimeLeft, part
from lungperfusion_gui.job import Job
from lungperfusion_gui.steps import Steps

WRITING = 0.05
"""Share of the bar for writing the inputs."""


@dataclass(frozen=True)
class KeptRun:
    """What the shown results were made from: a report is drawn from exactly that."""

    folder: Path
    words: list
    """Command and inputs, without where and how results are written."""


class CommandRuns:
    """Starts the command in a process of its own and hands over its results folder.

    Parameters
    ----------
    progress_bar
        Shows how far the run is.
    can_show
        Whether results can be taken now.  A panel that is left while it computes takes them when
        it is entered again.
    on_change
        Called when a run has begun or ended.
    """

    def __init__(self, progress_bar, can_show, on_change):
        self._bar, self._can_show, self._on_change = progress_bar, can_show, on_change
        self.job = None
        self.folder = None
        self._stages = None
        self._finished = None
        self._kept = {}
        self._time_left = TimeLeft()

    def start(self, make_words, on_success, *, more_words=(), out=None, owner=None):
        """Start a run.

        Parameters
        ----------
        make_words
            Gets an empty folder for inputs; its steps write them, their value are the words of the
            command.
        on_success
            Called with the results folder.
        more_words
            Options that play no part in the results, such as names.
        out
            Results folder that stays; a temporary one when None.
        owner
            ID of the scan whose results are made: what they were made from is kept.
        """
        self._drop_finished()
        self.folder = Path(slicer.util.tempDirectory())
        target = self.folder / "results" if out is None else Path(out)
        inputs = self.folder / "inputs"
        inputs.mkdir()
        writing = Steps(
            make_words(inputs),
            lambda share: self._show_progress(WRITING * share, _("writing the inputs")),
            lambda error: self._written(
                error, writing.result, more_words, target, owner, on_success
            ),
        )
        self.job = writing
        self._time_left = TimeLeft()
        self._bar.visible = True
        self._bar.setRange(0, 100)
        self._show_progress(0.0, _("writing the inputs"))
        try:
            with slicer.util.WaitCursor():
                writing.begin()
        except Exception:
            self.job = None
            self._bar.visible = False
            self._remove_folder()
            raise
        self._on_change()

    def _written(self, error, words, more_words, target, owner, on_success):
        """Start the command when its inputs are there."""
        if error == "":
            made = None if owner is None else (owner, KeptRun(self.folder, words))
            error = self._launch([*words, *more_words], target, on_success, made)
        if error != "":
            self._end(error, target, on_success, None)

    def _launch(self, words, target, on_success, made):
        """Start the command; say what keeps it from starting."""
        try:
            if self._stages is None:
                self._stages = Path(slicer.util.tempDirectory())
            self.job = Job(
                [*words, "--keep-stages", str(self._stages), "--out", str(target)],
                part(self._show_progress, WRITING, 1.0),
                lambda error: self._end(error, target, on_success, made),
            )
        except (OSError, RuntimeError) as error:
            return str(error)
        self._show_progress(WRITING, _("starting"))
        return ""

    def kept(self, owner):
        """Return what the results of a scan were made from; None in a loaded scene."""
        run = self._kept.get(owner)
        return run if run is not None and run.folder.is_dir() else None

    def _keep(self, owner, run):
        if owner in self._kept:
            shutil.rmtree(self._kept[owner].folder, ignore_errors=True)
        self._kept[owner] = run
        self.folder = None

    def cancel(self):
        """Stop the run; nothing is shown of it."""
        if self.job is not None:
            self.job.cancel()

    def abandon(self):
        """Stop without a word and remove everything: the scene or the panel goes."""
        if self.job is not None:
            self.job.abandon()
            self.job = None
            self._bar.visible = False
        self._drop_finished()
        self._remove_folder()
        for run in self._kept.values():
            shutil.rmtree(run.folder, ignore_errors=True)
        self._kept = {}
        if self._stages is not None:
            shutil.rmtree(self._stages, ignore_errors=True)
            self._stages = None

    def deliver(self):
        """Hand over what a run has left that ended while its results could not be taken."""
        if self._finished is None or not self._can_show():
            return
        error, target, on_success, made = self._finished
        self._finished = None
        try:
            if error:
                slicer.util.errorDisplay(error)
            elif error == "":
                with slicer.util.tryWithErrorDisplay(_("Failed to show the results.")):
                    on_success(target)
                    if made is not None:
                        shutil.rmtree(target, ignore_errors=True)
                        self._keep(*made)
        finally:
            self._remove_folder()
            self._on_change()

    def _show_progress(self, fraction, message):
        self._bar.value = round(100 * fraction)
        left = self._time_left(fraction)
        self._bar.format = f"%p % {message}, {left}" if left else f"%p % {message}"
        slicer.util.showStatusMessage(message, 2000)

    def _end(self, error, target, on_success, made):
        self.job = None
        self._bar.visible = False
        self._finished = (error, target, on_success, made)
        self.deliver()

    def _drop_finished(self):
        if self._finished is not None:
            self._finished = None
            self._remove_folder()

    def _remove_folder(self):
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None
