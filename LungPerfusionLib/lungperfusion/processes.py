"""Programs in process groups of their own, so that they can be ended with all they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import Any


def own_group() -> dict[str, Any]:
    """Options of `subprocess.Popen` that put a program and its children into a group."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def ask_group(process: subprocess.Popen[Any]) -> None:
    """Ask a program started with `own_group` and all it started to clean up and end.

    Windows has no way to ask; there they are ended.
    """
    if sys.platform == "win32":
        end_group(process)
    else:
        _signal(process, signal.SIGTERM)


def end_group(process: subprocess.Popen[Any]) -> None:
    """End a program started with `own_group` and all it started, at once."""
    if sys.platform == "win32":
        subprocess.run(
            ["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False
        )
    else:
        _signal(process, signal.SIGKILL)
    with contextlib.suppress(OSError):
        process.kill()
    process.wait()


def _signal(process: subprocess.Popen[Any], number: int) -> None:
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
