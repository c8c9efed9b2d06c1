"""Work on the application's own thread in small steps, between which it answers."""

import logging
import time

import qt

from lungperfusion.errors import InputError

SLICE_MS = 20
"""Time for as many steps as fit in before the application answers again."""


class Steps:
    """Work that may be cancelled between its steps; told of as a `lungperfusion_gui.job.Job` is.

    Parameters
    ----------
    steps
        Generator of the share done; its value becomes `result`.
    on_progress
        Called with the share done.
    on_done
        Called once with the error in words: empty after success, None when cancelled.
    pause_ms
        Time that the application has for itself between two slices.
    """

    def __init__(self, steps, on_progress, on_done, *, pause_ms=0):
        self._steps, self._on_progress, self._on_done = steps, on_progress, on_done
        self.result = None
        self._timer = qt.QTimer()
        self._timer.interval = pause_ms
        self._timer.connect("timeout()", self._slice)

    def begin(self):
        """Take the first step now: what cannot be done at all is raised here."""
        if self._step() is not None:
            self._timer.start()

    def _step(self):
        """Share done after one step; None after the last one."""
        try:
            return next(self._steps)
        except StopIteration as end:
            self.result = end.value
            self._finish("")
            return None

    def _slice(self):
        end = time.monotonic() + SLICE_MS / 1000
        try:
            share = self._step()
            while share is not None and time.monotonic() < end:
                share = self._step()
        except InputError as error:
            self._finish(str(error))
        except Exception as error:
            logging.exception("a step failed")
            self._finish(f"{type(error).__name__}: {error}")
        else:
            if share is not None:
                self._on_progress(share)

    def _finish(self, error):
        self._timer.stop()
        self._steps.close()  # files that are being written are closed
        self._on_done(error)

    def cancel(self):
        """Stop here; `on_done` is called at once."""
        self._finish(None)

    def abandon(self):
        """Stop without telling anyone: the panel or the application goes."""
        self._on_done = lambda *_: None
        self.cancel()
