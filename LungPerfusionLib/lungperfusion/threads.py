"""How many threads a stage may start; no result depends on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

THREADS_VARIABLE = "LUNGPERFUSION_THREADS"
"""Environment variable with the most threads a stage may start; batch workers set it to 1."""


def thread_count(at_most: int) -> int:
    """Give the number of threads to start.

    Parameters
    ----------
    at_most
        What the stage can make use of.

    Returns
    -------
    int
        At least 1; no more than there are cores, or than ``LUNGPERFUSION_THREADS`` says.

    """
    allowed = os.environ.get(THREADS_VARIABLE, "")
    limit = int(allowed) if allowed.isdigit() else os.cpu_count() or 1
    return max(1, min(at_most, limit))


def in_order[Item, Result](
    function: Callable[[Item], Result], items: Iterable[Item], *, at_most: int
) -> Generator[Result]:
    """Apply a function to items side by side, where threads are allowed.

    Who stops before the last item closes this (`contextlib.closing`): what has not begun by then
    never does.

    Parameters
    ----------
    function
        Leaves its fellows' data alone.
    items
        What it is applied to.
    at_most
        Number of threads the stage can make use of.

    Yields
    ------
    Result
        In the order of the items.

    """
    if thread_count(at_most) == 1:  # none at all: Python waits for ever for one without memory
        yield from map(function, items)
        return
    with ThreadPoolExecutor(thread_count(at_most)) as pool:
        yield from pool.map(function, items)


def both[First, Second](
    first: Callable[[], First], second: Callable[[], Second]
) -> tuple[First, Second]:
    """Carry out two tasks that do not depend on each other, at once where threads are allowed.

    NumPy, SciPy and SimpleITK leave other threads alone while they compute.  Both tasks see the
    context of the caller (what `lungperfusion.analysis.stages` remembers); what one of them
    raises is raised here after the other one has ended.
    """
    if thread_count(2) == 1:  # as in `in_order`
        return first(), second()
    with ThreadPoolExecutor(thread_count(2)) as pool:
        tasks = pool.submit(copy_context().run, first), pool.submit(copy_context().run, second)
    return tasks[0].result(), tasks[1].result()
