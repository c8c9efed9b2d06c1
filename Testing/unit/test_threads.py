"""Stages start no more threads than they may."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from contextvars import ContextVar

import pytest

from lungperfusion.threads import THREADS_VARIABLE, both, in_order, thread_count


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


@pytest.mark.parametrize("allowed", ["1", "2"])
def test_results_come_in_the_order_of_the_items(monkeypatch, allowed):
    monkeypatch.setenv(THREADS_VARIABLE, allowed)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    later = threading.Event()

    def work(item: int) -> int:
        if allowed == "2" and item == 0:
            assert later.wait(10)  # the second one ends first
        later.set()
        return 2 * item

    assert list(in_order(work, range(5), at_most=2)) == [0, 2, 4, 6, 8]


def test_one_thread_allowed_means_none_is_started(monkeypatch):
    monkeypatch.setenv(THREADS_VARIABLE, "1")

    workers = set(in_order(lambda _: threading.get_ident(), range(3), at_most=4))

    assert workers == {threading.get_ident()}


@pytest.mark.parametrize("allowed", ["1", "2"])
def test_who_stops_early_lets_nothing_more_begin(monkeypatch, allowed):
    monkeypatch.setenv(THREADS_VARIABLE, allowed)
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        threading.Event().wait(0.02)
        return item

    with closing(in_order(work, range(300), at_most=2)) as results:
        assert next(results) == 0

    assert len(begun) < 300


def test_both_tasks_run_at_once_and_keep_their_order(monkeypatch):
    monkeypatch.setenv(THREADS_VARIABLE, "2")
    meeting = threading.Barrier(2, timeout=10)

    assert both(lambda: (meeting.wait(), "a")[1], lambda: (meeting.wait(), 2)[1]) == ("a", 2)


def test_both_tasks_run_one_after_the_other_where_one_thread_is_allowed(monkeypatch):
    monkeypatch.setenv(THREADS_VARIABLE, "1")
    seen = []

    both(lambda: seen.append("first"), lambda: seen.append(threading.get_ident()))

    assert seen == ["first", threading.get_ident()]  # here, without any further thread


def test_both_tasks_see_what_their_caller_has_set():
    folder = ContextVar("folder", default="none")
    folder.set("here")

    assert both(folder.get, folder.get) == ("here", "here")


def test_an_error_comes_after_the_other_task_has_ended():
    done = threading.Event()

    def fails():
        raise ValueError("no lung")

    with pytest.raises(ValueError, match="no lung"):
        both(fails, done.set)
    assert done.is_set()
