"""Behaviour of the widgets of CTK and Slicer that the modules use."""

from __future__ import annotations


def register() -> None:
    """Import all behaviours; each class registers itself under its C++ name."""
    from .. import files, modules  # noqa: F401
    from . import (  # noqa: F401
        controls,
        core,
        hierarchy,
        markups,
        node_selectors,
        numbers,
        paths,
        plots,
        segment_editor,
        tables,
        views,
    )
