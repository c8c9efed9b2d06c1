"""Progress and cancelling through a plain callable.

A stage calls ``progress(fraction, message)`` with 0 <= fraction <= 1.  The command line draws a
bar, the Slicer modules move theirs; either cancels by raising `CancelledError` from the call.
"""

import time
from collections.abc import Callable

Progress = Callable[[float, str], None]


def ignore(fraction: float, message: str) -> None:
    """Report nothing; the default of every stage."""


def part(progress: Progress, start: float, stop: float) -> Progress:
    """Give a sub-stage the share ``start`` to ``stop`` of its caller's bar.

    Examples
    --------
    >>> part(lambda fraction, message: print(fraction, message), 0.5, 1.0)(0.5, "lobes")
    0.75 lobes

    """

    def scaled(fraction: float, message: str) -> None:
        progress(start + fraction * (stop - start), message)

    return scaled


class TimeLeft:
    """How long work will still take, by the pace it has had.

    Stages claim shares of the bar by what they usually take, so that the pace so far is the best
    guess there is; nothing is said until it has shown itself.

    Parameters
    ----------
    clock
        Gives the time in seconds.

    """

    _LEAST_S, _LEAST_SHARE = 5.0, 0.05

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started, self._from = clock(), 0.0
        self._last = 0.0

    def __call__(self, fraction: float) -> str:
        """Say about how long is left, ``""`` while that cannot be told.

        Examples
        --------
        >>> times = iter([0.0, 20.0])
        >>> TimeLeft(lambda: next(times))(0.25)
        'about 1 min left'

        """
        now = self._clock()
        if fraction < self._last:  # another piece of work has begun
            self._started, self._from = now, fraction
        self._last = fraction
        spent, done = now - self._started, fraction - self._from
        if spent < self._LEAST_S or done < self._LEAST_SHARE or fraction >= 1:
            return ""
        seconds = spent * (1 - fraction) / done
        if seconds < 50:
            return f"about {max(5, 5 * round(seconds / 5))} s left"
        return f"about {round(seconds / 60)} min left"
