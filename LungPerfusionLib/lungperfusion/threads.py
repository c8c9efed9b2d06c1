"""How many threads a stage may start; no result depends on it."""

from __future__ import annotations

import os

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
