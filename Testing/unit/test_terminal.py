"""Progress on a screen and in a log."""

import io

from lungperfusion.progress import part
from lungperfusion.terminal import TerminalProgress


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
