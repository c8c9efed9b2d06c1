"""Progress on a screen and in a log."""

import errno
import io

from lungperfusion.progress import part
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
