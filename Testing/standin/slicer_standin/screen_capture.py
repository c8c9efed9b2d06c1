"""Module ``ScreenCapture``: pictures of single views, drawn without a display."""

from __future__ import annotations

from typing import Any

from .inventory import Absent


class ScreenCaptureLogic:
    """What report writers use of the module."""

    def captureImageFromView(
        self, view: Any, filename: str | None = None, transparentBackground: bool = False
    ) -> None:
        """Write a slice or 3-D view as PNG; the whole view area is not stood in."""
        if view is None or filename is None:
            raise Absent("ScreenCapture of the whole view area needs the desktop")
        view._native.picture().save(filename)

    def showViewControllers(self, show: bool) -> None:
        """Controllers are not drawn."""
