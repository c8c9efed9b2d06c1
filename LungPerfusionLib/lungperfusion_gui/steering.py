"""Pairs of points that steer a registration: watched, and told as text."""

import slicer


def points_words(lists):
    """Say where the points of some lists are: results that were made with others are outdated."""
    places = [place for list_ in lists for place in list_]
    return " ".join(f"{coordinate:.4f}" for place in places for coordinate in place)


class SteeringPoints:
    """Tells when a reader has placed, moved or removed a point that steers a registration.

    Parameters
    ----------
    on_drawn
        Called then.
    """

    def __init__(self, on_drawn):
        self._on_drawn, self._observed = on_drawn, []

    def bind(self, study):
        """End watching where the scan goes."""
        if study is None:
            self.watch(())

    def watch(self, nodes):
        """Watch these lists of points from now on; None among them is nothing chosen."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        markups = slicer.vtkMRMLMarkupsNode
        events = (
            markups.PointPositionDefinedEvent,
            markups.PointEndInteractionEvent,
            markups.PointRemovedEvent,
        )
        self._observed = [
            (node, node.AddObserver(event, lambda *_: self._on_drawn()))
            for node in nodes
            if node is not None
            for event in events
        ]
