"""Run the command line as a process of its own and measure it from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time


def run_command(words: list[str]) -> tuple[float, float]:
    """Seconds, and peak of resident memory in GiB, of one command.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails.

    """
    command = [sys.executable, "-m", "lungperfusion", *words]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, usage.ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
