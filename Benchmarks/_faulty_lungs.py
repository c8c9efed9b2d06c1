"""The lung analysis with faults on demand; workers of batch_scale import it."""

from __future__ import annotations

import argparse
import errno
import os
import signal
from pathlib import Path
from typing import Any

from lungperfusion.commands import lungs
from lungperfusion.progress import Progress

FAULTS = ("none", "kill", "kill once", "full disk", "memory")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lungs.add_arguments(parser)
    parser.add_argument("--fault", choices=FAULTS, default="none")


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    write = arguments.writer

    def half_write(folder: Path, *given: Any, **options: Any) -> None:
        (folder / "measurements.csv").write_text("half", encoding="utf-8")
        _fail(arguments.fault, arguments.ct)
        write(folder, *given, **options)

    arguments.writer = half_write
    return lungs.run(arguments, progress)


def _fail(fault: str, ct: Path) -> None:
    """Fail at the worst moment: half is written and nothing is in its place."""
    if fault == "full disk":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if fault == "memory":
        raise MemoryError
    killed_before = ct.with_suffix(".killed")
    if fault == "kill" or (fault == "kill once" and not killed_before.exists()):
        killed_before.touch()
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
