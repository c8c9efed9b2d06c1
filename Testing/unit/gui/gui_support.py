"""What the tests of all modules do with a panel."""

import numpy as np

from lungperfusion import mrml
from lungperfusion.terms import Region

RUN_S = 240.0


def value(panel, measure, region=Region.LUNGS):
    rows = [
        row
        for row in panel.logic.measurements(panel.parameters)
        if row.measure == measure and row.region == region
    ]
    assert len(rows) == 1
    return rows[0].value


def apply(desktop, panel, button="applyButton"):
    getattr(panel.ui, button).click()
    assert panel.job is not None
    assert not panel.ui.applyButton.enabled
    desktop.wait(lambda: panel.job is None, RUN_S)


def erase_front(node, identifier, geometry, share=1 / 3):
    """Take the front of a segment away, as a user with scissors would."""
    import slicer

    array = mrml.segment_mask(node, identifier, geometry)
    rows = np.flatnonzero(array.any(axis=(0, 2)))
    array[:, : rows[0] + round(share * (rows[-1] + 1 - rows[0]))] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        array.astype(np.uint8), node, identifier, node.GetNodeReference("referenceImageGeometryRef")
    )
