"""Ventilation, perfusion and V/Q from one expiratory, inspiratory pair.

One direction: `breaths` registers both scans, `maps` maps and measures, `findings` finds what
stands out, `measured` crosses them with measured maps, `placing` puts the maps on the grid that is
asked for, `analysis` goes through them.
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
from lungperfusion.analysis.ctvq.options import Comparison, Measured, VqOptions

__all__ = [
    "INVERSE",
    "TRANSFORM",
    "VOLUME_TRANSFORM",
    "Breath",
    "Comparison",
    "Measured",
    "Points",
    "Steering",
    "VqOptions",
    "analyse_ctvq",
]
