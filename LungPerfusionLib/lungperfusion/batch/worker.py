"""A worker process: takes cases from standard input and answers on standard output.

Both carry pickled records of the parent that started it.  The worker ends at once when its input
closes, so that none outlives a batch that was killed.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import SimpleITK as sitk

from lungperfusion.batch.case_run import run_case
from lungperfusion.batch.cases import Case, CaseOutcome
from lungperfusion.batch.machine import die_with_parent
from lungperfusion.io.scratch import sweep_scratch
from lungperfusion.progress import Progress
from lungperfusion.threads import THREADS_VARIABLE

REPORT_EVERY_S = 0.5
"""Time between two reports of progress."""


def main() -> None:
    """Work until the input closes."""
    faulthandler.enable()
    die_with_parent()
    sweep_scratch()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever libraries print goes to the log
    orders: queue.SimpleQueue[tuple[Case, Path]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, orders), daemon=True).start()
    _send(answers, ("ready",))
    while True:
        case, out = orders.get()
        outcome = run_case_alone(case, out, _reporter(answers))
        _send(answers, ("finished", outcome))


def run_case_alone(case: Case, out: Path, progress: Progress) -> CaseOutcome:
    """Run a case on one core."""
    os.environ[THREADS_VARIABLE] = "1"
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    return run_case(case, out, progress)


def _listen(stream: BinaryIO, orders: queue.SimpleQueue[tuple[Case, Path]]) -> None:
    try:
        while True:
            orders.put(pickle.load(stream))
    except (EOFError, OSError):
        os._exit(0)


def _reporter(answers: BinaryIO) -> Progress:
    reported_at = 0.0

    def progress(fraction: float, message: str) -> None:
        nonlocal reported_at
        now = time.monotonic()
        if now - reported_at >= REPORT_EVERY_S:
            reported_at = now
            _send(answers, ("progress", fraction, message))

    return progress


def _send(answers: BinaryIO, record: tuple[Any, ...]) -> None:
    pickle.dump(record, answers)
    answers.flush()
