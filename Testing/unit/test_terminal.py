"""Progress on a screen and in a log."""

import errno
import io

import pytest

from lungperfusion.progress import TimeLeft, part
from lungperfusion.terminal import TerminalProgress, show


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_one_line_a_stage():
    log = io.StringIO()
    progress = TerminalProgress(log)
    for fraction in (0.0, 0.1, 0.2):
        progress(fraction, "reading")
    progress(0.5, "segmenting")
    progress.close()
    assert log.getvalue() == "  0 % reading\n 50 % segmenting\n"


def test_a_screen_gets_a_bar_and_a_fresh_line():
    screen = Screen()
    progress = TerminalProgress(screen)
    part(progress, 0.5, 1.0)(1.0, "writing")
    progress.close()
    assert screen.getvalue().startswith("\r[" + "#" * 28 + "] 100 % writing")
    assert screen.getvalue().endswith("\n")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("spent", "fraction", "words"),
    [
        (4.9, 0.5, ""),
        (60.0, 0.04, ""),
        (10.0, 0.5, "about 10 s left"),
        (40.0, 0.98, "about 5 s left"),
        (30.0, 0.25, "about 2 min left"),
        (49.0, 0.5, "about 50 s left"),
        (30.0, 1.0, ""),
    ],
)
def test_time_left_is_told_once_the_pace_shows(spent, fraction, words):
    clock = Clock()
    left = TimeLeft(clock)
    clock.now += spent
    assert left(fraction) == words


def test_time_left_forgets_the_pace_of_work_that_has_ended():
    clock = Clock()
    left = TimeLeft(clock)
    clock.now += 100
    assert left(0.9) == "about 10 s left"
    assert left(0.0) == ""
    clock.now += 20
    assert left(0.5) == "about 20 s left"


def test_a_screen_shows_the_time_left_and_a_log_does_not(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("lungperfusion.terminal.TimeLeft", lambda: TimeLeft(clock))
    for stream in (Screen(), io.StringIO()):
        progress = TerminalProgress(stream)
        progress(0.1, "reading")
        clock.now += 30
        progress(0.5, "aligning")
        assert stream.getvalue().rstrip().endswith("left") == isinstance(stream, Screen)


def test_quiet_draws_nothing():
    log = io.StringIO()
    progress = TerminalProgress(log, quiet=True)
    progress(0.5, "reading")
    progress.close()
    assert log.getvalue() == ""


class FullDisk(io.StringIO):
    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text):
        raise OSError(self.number, "no")

    def fileno(self):
        raise OSError("no file")


def test_what_was_asked_for_and_did_not_arrive_is_said(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout", FullDisk(errno.ENOSPC))
    assert not show("the answer")
    assert "standard output cannot be written" in capsys.readouterr().err


def test_a_reader_who_has_seen_enough_is_no_trouble(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout", FullDisk(errno.EPIPE))
    assert show("the answer")
    assert capsys.readouterr().err == ""
