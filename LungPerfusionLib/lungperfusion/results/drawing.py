"""What all pictures share: matplotlib on demand, and one look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lungperfusion.trouble import import_refusal

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "svg.hashsalt": "lungperfusion",
    "svg.fonttype": "path",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw the same picture whatever the user's matplotlib settings."""
    try:
        import matplotlib as mpl
        import matplotlib.style
    except ImportError as error:
        raise import_refusal(
            error,
            need="pictures need matplotlib",
            remedy='run: pip install "lungperfusion[report]", or leave the report out',
        ) from error
    with mpl.style.context(["default", _STYLE], after_reset=True):
        yield
