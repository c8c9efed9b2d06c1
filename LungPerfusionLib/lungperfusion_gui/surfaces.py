"""Surfaces in 3-D, made one segment at a time after everything else was drawn."""

import qt

from lungperfusion import mrml


class SurfaceQueue:
    """Makes surfaces while the application is idle, so that slices and tables come first.

    Parameters
    ----------
    on_made
        Called when the last surface was made.
    """

    def __init__(self, on_made):
        self._on_made = on_made
        self._waiting = []
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.interval = 0
        self._timer.connect("timeout()", self._make_next)

    def want(self, nodes):
        """Make the surfaces of these segmentations next, and no others."""
        self._waiting = [(node, name) for node in nodes for name in mrml.without_surface(node)]
        if self._waiting:
            self._timer.start()

    def stop(self):
        """Make none: the panel or the scene goes."""
        self._waiting = []
        self._timer.stop()

    def _make_next(self):
        if not self._waiting:
            return
        mrml.make_surface(*self._waiting.pop(0))
        if self._waiting:
            self._timer.start()
        else:
            self._on_made()
