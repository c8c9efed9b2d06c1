"""What a batch shows while it runs: a live table on a screen, a line per case in a log."""

from __future__ import annotations

import shutil
import time
from typing import TextIO

from lungperfusion.batch.cases import CaseOutcome
from lungperfusion.batch.engine import BatchState

_REDRAW_S = 0.25
_SHOWN_FAILURES = 5
_SHOWN_RUNNING = 16


class LiveTable:
    """Listener that draws the state of a batch on a text stream.

    Parameters
    ----------
    stream
        Where to draw.

    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._screen = stream.isatty()
        self._lines = 0
        self._drawn_at = 0.0
        self._failures: list[str] = []

    def __call__(self, state: BatchState, ended: CaseOutcome | None) -> None:
        """Show how far the batch is."""
        if ended is not None and ended.failed:
            self._failures.append(f"{ended.case}: {ended.reason}")
        if not self._screen:
            if ended is not None:
                self._stream.write(_log_line(state, ended) + "\n")
                self._stream.flush()
        elif time.monotonic() - self._drawn_at > _REDRAW_S or not state.left:
            self._draw(state)

    def close(self) -> None:
        """Leave the cursor below the table."""
        self._lines = 0

    def _draw(self, state: BatchState) -> None:
        width = shutil.get_terminal_size().columns - 1
        lines = [summary(state), *_running_lines(state), *self._failed_lines()]
        text = "".join(f"\x1b[2K{line[:width]}\n" for line in lines)
        surplus = max(0, self._lines - len(lines))
        text += "\x1b[2K\n" * surplus
        up = f"\x1b[{self._lines}A" if self._lines else ""
        back = f"\x1b[{surplus}A" if surplus else ""
        self._stream.write(up + text + back)
        self._stream.flush()
        self._lines, self._drawn_at = len(lines), time.monotonic()

    def _failed_lines(self) -> list[str]:
        if not self._failures:
            return []
        more = len(self._failures) - _SHOWN_FAILURES
        shown = [f"  failed   {line}" for line in self._failures[-_SHOWN_FAILURES:]]
        return [*shown, f"           and {more} more in cases.csv"] if more > 0 else shown


def summary(state: BatchState) -> str:
    """One line over the whole batch."""
    parts = [f"{state.done} done" + (f" ({state.kept} already)" if state.kept else "")]
    if state.running:
        parts.append(f"{len(state.running)} running")
    parts.append(f"{state.failed} failed")
    if state.left:
        parts.append(f"{state.left - len(state.running)} waiting")
        left = state.seconds_left
        parts.append("time left unknown" if left is None else f"about {duration(left)} left")
    return f"{state.total} cases: " + ", ".join(parts)


def duration(seconds: float) -> str:
    """Write a time as people say it.

    Examples
    --------
    >>> duration(42.2), duration(125), duration(7500)
    ('42 s', '2 min', '2 h 5 min')

    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def _running_lines(state: BatchState) -> list[str]:
    now = time.monotonic()
    lines = [
        f"  running  {name:<20.20} {100 * running.fraction:3.0f} %  "
        f"{duration(now - running.since):>9}  {running.message}"
        for name, running in state.running.items()
    ]
    more = len(lines) - _SHOWN_RUNNING
    return [*lines[:_SHOWN_RUNNING], f"           and {more} more"] if more > 0 else lines


def _log_line(state: BatchState, ended: CaseOutcome) -> str:
    seconds = sum(job.seconds for job in ended.jobs)
    what = f"FAILED {ended.reason}" if ended.failed else f"done in {duration(seconds)}"
    left = state.seconds_left
    rest = "" if left is None or not state.left else f", about {duration(left)} left"
    return f"{len(state.outcomes)}/{state.total} {ended.case}: {what} ({state.failed} failed{rest})"
