"""Stages start no more threads than they may."""

from __future__ import annotations

import os

import pytest

from lungperfusion.threads import thread_count


@pytest.mark.parametrize(
    ("allowed", "cores", "count"),
    [(None, 8, 4), (None, 2, 2), (None, None, 1), ("1", 8, 1), ("16", 2, 4), ("many", 2, 2)],
)
def test_thread_count(monkeypatch, allowed, cores, count):
    monkeypatch.delenv("LUNGPERFUSION_THREADS", raising=False)
    if allowed is not None:
        monkeypatch.setenv("LUNGPERFUSION_THREADS", allowed)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)

    assert thread_count(4) == count
