"""Parameters that every module has: engines, removed lobes and display."""

from typing import Annotated

from slicer.parameterNodeWrapper import Choice, WithinRange

from lungperfusion.engines import ENGINES

DEFAULT_OPACITY = 0.6
"""Shows map and anatomy together; 1 shows the colours of the legend exactly."""


OWN_ENGINE = "this program"
"""Lungs and lobes are found here, not by another program."""

DRAWN_BY = (OWN_ENGINE, *ENGINES)


class ReviewParameters:
    """Fields of the parameter nodes; what belongs to a scan is kept by its `study.Study`."""

    lungEngine: Annotated[str, Choice(list(DRAWN_BY))] = OWN_ENGINE
    lobeEngine: Annotated[str, Choice(list(DRAWN_BY))] = OWN_ENGINE
    removedRightUpperLobe: bool = False
    removedRightMiddleLobe: bool = False
    removedRightLowerLobe: bool = False
    removedLeftUpperLobe: bool = False
    removedLeftLowerLobe: bool = False
    mapOpacity: Annotated[float, WithinRange(0.0, 1.0)] = DEFAULT_OPACITY
    caseName: str = ""
