"""Parameters that every module has: removed lobes, display and state of the results."""

from typing import Annotated

from slicer.parameterNodeWrapper import WithinRange

DEFAULT_OPACITY = 0.6
"""Shows map and anatomy together; 1 shows the colours of the legend exactly."""


class ReviewParameters:
    """Fields of the parameter nodes; results hang on the node by their own roles."""

    removedRightUpperLobe: bool = False
    removedRightMiddleLobe: bool = False
    removedRightLowerLobe: bool = False
    removedLeftUpperLobe: bool = False
    removedLeftLowerLobe: bool = False
    mapOpacity: Annotated[float, WithinRange(0.0, 1.0)] = DEFAULT_OPACITY
    caseName: str = ""
    outdated: bool = False
    corrected: str = ""
    """Names of the corrected segmentations, separated by blanks."""
