"""Markups nodes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def line_ras_mm(node: Any) -> NDArray[np.float64] | None:
    """End points of a line, shape (2, 3), world space; None until both are placed."""
    if node is None or node.GetNumberOfDefinedControlPoints() != 2:
        return None
    return points_ras_mm(node)


def points_ras_mm(node: Any) -> NDArray[np.float64]:
    """Placed control points, shape (n, 3), world space; the preview point does not count."""
    points = []
    for index in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(index) == node.PositionDefined:
            position = [0.0, 0.0, 0.0]
            node.GetNthControlPointPositionWorld(index, position)
            points.append(position)
    return np.array(points, dtype=np.float64).reshape(-1, 3)
