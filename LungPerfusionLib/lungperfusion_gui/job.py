"""A command in a process of its own, so that the application stays responsive."""

import collections
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import qt
import slicer

from lungperfusion.processes import ask_group, end_group, own_group

LIBRARY = Path(__file__).resolve().parents[1]

POLL_MS = 50
KILL_AFTER_MS = 3000

_START = (
    "import sys, runpy; sys.path.insert(0, sys.argv.pop(1)); "
    "runpy.run_module('lungperfusion_gui.worker', run_name='__main__', alter_sys=True)"
)
"""Independent of PYTHONPATH and launcher: module folders are on Slicer's path, not on the child's.
With -P no file of the current folder is taken for a module."""


def python_executable():
    """Python of the application: ``sys.executable`` is empty there."""
    suffix = ".exe" if os.name == "nt" else ""
    beside = Path(slicer.app.slicerHome) / "bin" / f"PythonSlicer{suffix}"
    found = shutil.which("PythonSlicer") or (str(beside) if beside.exists() else sys.executable)
    if not found:
        raise RuntimeError(f"PythonSlicer was not found in {beside.parent}; reinstall Slicer")
    return found


class Job:
    """One run of a command.

    Parameters
    ----------
    words
        Command and arguments.
    on_progress
        Called with fraction and message.
    on_done
        Called once with the error in words: empty after success, None when cancelled.
    """

    running: ClassVar = []

    def __init__(self, words, on_progress, on_done):
        environment = dict(os.environ)
        environment.update(PYTHONUNBUFFERED="1", PYTHONIOENCODING="utf-8", MPLBACKEND="Agg")
        self._on_progress, self._on_done = on_progress, on_done
        self._lines = queue.Queue()
        self._tail = collections.deque(maxlen=40)
        self._error = ""
        self.result = None
        """What a command has told as a line of JSON."""
        self.cancelled = self.ended = False
        self._process = subprocess.Popen(
            [python_executable(), "-P", "-c", _START, str(LIBRARY), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
            encoding="utf-8",
            errors="replace",
            **own_group(),
        )
        threading.Thread(target=self._read, daemon=True).start()
        self._timer = qt.QTimer()  # lets the reading thread run, too
        self._timer.interval = POLL_MS
        self._timer.connect("timeout()", self._poll)
        self._timer.start()
        Job.running.append(self)

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(line.rstrip())
        self._lines.put(None)

    def _poll(self):
        while not self._lines.empty():
            line = self._lines.get_nowait()
            if line is None:
                self._finish()
                return
            self._take(line)

    def _take(self, line):
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self._tail.append(line)
        elif "error" in message:
            self._error = message["error"]
            self._tail.extend(message.get("details", "").splitlines())
        elif "progress" in message and not self.cancelled:
            self._on_progress(message["progress"], message["message"])
        elif not message.keys() & {"progress", "done"}:
            self.result = message

    def _finish(self):
        self._timer.stop()
        self._process.stdout.close()
        code = self._process.wait()
        self.ended = True
        if self in Job.running:
            Job.running.remove(self)
        if self.cancelled:
            self._on_done(None)
        elif code == 0:
            self._on_done("")
        else:
            last = "\n".join(self._tail)
            self._on_done(self._error or f"the computation ended with code {code}:\n{last}")

    def cancel(self):
        """Stop the process and its children; `on_done` follows."""
        if self.ended or self.cancelled:
            return
        self.cancelled = True
        ask_group(self._process)
        qt.QTimer.singleShot(KILL_AFTER_MS, self._kill)

    def _kill(self):
        if not self.ended:
            end_group(self._process)

    def abandon(self):
        """Stop without telling anyone: the panel or the application goes."""
        self._on_progress = self._on_done = lambda *_: None
        self.cancel()


def abandon_all():
    for job in list(Job.running):
        job.abandon()


slicer.app.connect("aboutToQuit()", abandon_all)
