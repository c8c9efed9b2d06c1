"""Progress in a terminal: a bar on a screen, plain lines in a log."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_WIDTH = 28
_REDRAW_S = 0.1


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
        self._screen = self._stream.isatty()
        self._message = ""
        self._drawn_at = 0.0

    def __call__(self, fraction: float, message: str) -> None:
        """Show how far the work has come."""
        if self._quiet:
            return
        if not self._screen:
            if message != self._message:
                self._stream.write(f"{100 * fraction:3.0f} % {message}\n")
                self._stream.flush()
        elif message != self._message or time.monotonic() - self._drawn_at > _REDRAW_S:
            filled = round(_WIDTH * min(1.0, max(0.0, fraction)))
            bar = "#" * filled + "." * (_WIDTH - filled)
            self._stream.write(f"\r[{bar}] {100 * fraction:3.0f} % {message:<40.40}")
            self._stream.flush()
            self._drawn_at = time.monotonic()
        self._message = message

    def close(self) -> None:
        """Leave the cursor on a fresh line."""
        if self._screen and self._message and not self._quiet:
            self._stream.write("\n")
            self._stream.flush()
