"""Ventilation, perfusion and V/Q from one expiratory, inspiratory pair.

One direction: `breaths` registers both scans, `maps` maps and measures, `findings` finds what
stands out, `placing` puts the maps on the grid that is asked for, `analysis` goes through them.
"""

from lungperfusion.analysis.ctvq.analysis import analyse_ctvq
from lungperfusion.analysis.ctvq.breaths import (
    INVERSE,
    TRANSFORM,
    VOLUME_TRANSFORM,
    Breath,
    Points,
    Steering,
)
from lungperfusion.analysis.ctvq.options import Comparison, VqOptions

__all__ = [
    "INVERSE",
    "TRANSFORM",
    "VOLUME_TRANSFORM",
    "Breath",
    "Comparison",
    "Points",
    "Steering",
    "VqOptions",
    "analyse_ctvq",
]
