"""Progress and cancelling through a plain callable.

A stage calls ``progress(fraction, message)`` with 0 <= fraction <= 1.  The command line draws a
bar, the Slicer modules move theirs; either cancels by raising `CancelledError` from the call.
"""

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
