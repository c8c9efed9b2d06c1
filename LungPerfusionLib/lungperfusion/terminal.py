"""What is shown in a terminal: results and remarks, and progress as a bar or plain lines.

A terminal that is closed, a full disk behind it or a character set without the right letters never
ends a computation.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from pathlib import Path
from typing import TextIO

from lungperfusion.naming import plain
from lungperfusion.progress import TimeLeft

_WIDTH = 28
_REDRAW_S = 0.1


def prepare_streams() -> None:
    """Have streams that take any character; those that are closed take everything in silence."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # to the end
            setattr(sys, name, nowhere)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def show(text: str) -> bool:
    """Write what was asked for to standard output; say whether it got there."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        _silence(sys.stdout)
        if getattr(error, "errno", None) != errno.EPIPE:  # the reader has seen enough
            remark(f"standard output cannot be written: {error}")
            return False
    return True


def remark(text: str) -> None:
    """Write a remark to standard error."""
    try:
        sys.stderr.write(f"{plain(text)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        _silence(sys.stderr)


def _silence(stream: TextIO) -> None:
    """Let what is still in a broken stream go nowhere when the process ends."""
    with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


class TerminalProgress:
    """Progress callable that draws on a text stream.

    Parameters
    ----------
    stream
        Where to draw; standard error, so that standard output stays free for results.
    quiet
        Draw nothing.

    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._screen = not self._stream.closed and self._stream.isatty()
        self._message = ""
        self._drawn_at = 0.0
        self._time_left = TimeLeft()

    def __call__(self, fraction: float, message: str) -> None:
        """Show how far the work has come."""
        if self._quiet:
            return
        try:
            self._draw(fraction, message)
        except (OSError, ValueError):
            self._quiet = True

    def _draw(self, fraction: float, message: str) -> None:
        if not self._screen:
            if message != self._message:
                self._stream.write(f"{100 * fraction:3.0f} % {message}\n")
                self._stream.flush()
        elif message != self._message or time.monotonic() - self._drawn_at > _REDRAW_S:
            filled = round(_WIDTH * min(1.0, max(0.0, fraction)))
            bar = "#" * filled + "." * (_WIDTH - filled)
            left = self._time_left(fraction)
            self._stream.write(f"\r[{bar}] {100 * fraction:3.0f} % {message:<40.40} {left:<17}")
            self._stream.flush()
            self._drawn_at = time.monotonic()
        self._message = message

    def close(self) -> None:
        """Leave the cursor on a fresh line."""
        if self._screen and self._message and not self._quiet:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write("\n")
                self._stream.flush()
