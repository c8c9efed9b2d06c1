"""``slicer.parameterNodeWrapper``: typed access to a parameter node, connected to widgets.

Rules, messages and stored texts are those recorded in the desktop (probes ``pnw.*``).
"""

from .annotations import (
    Choice,
    Decimals,
    Default,
    Exclude,
    IsInstance,
    Maximum,
    Minimum,
    NotNone,
    RangeBounds,
    SingleStep,
    Validator,
    WithinRange,
)
from .packs import FloatRange, isParameterPack, parameterPack
from .serializers import ObservedDict, ObservedList
from .wrapper import findChildWidgetForParameter, isParameterNodeWrapper, parameterNodeWrapper

SlicerParameterNamePropertyName = "SlicerParameterName"

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "FloatRange",
    "IsInstance",
    "Maximum",
    "Minimum",
    "NotNone",
    "ObservedDict",
    "ObservedList",
    "RangeBounds",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "Validator",
    "WithinRange",
    "findChildWidgetForParameter",
    "isParameterNodeWrapper",
    "isParameterPack",
    "parameterNodeWrapper",
    "parameterPack",
]
