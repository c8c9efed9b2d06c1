"""Which volumes of a scene are the iodine map and its CT, and what DICOM says of them."""

import re

import slicer

from lungperfusion import mrml
from lungperfusion.batch.dicom_tree import IODINE_WORDS
from lungperfusion.iodine.calibration import VOLTAGES

UNIT = mrml.ATTRIBUTE_PREFIX + "unit"
KVP = "0018,0060"
"""DICOM tag of the tube voltage; it does not mention tin filters."""


def is_iodine_map(node):
    """Whether its unit or the words of its series call a volume an iodine map."""
    unit = node.GetAttribute(UNIT)
    if unit is not None:
        return unit == "mg/mL"
    return re.search(IODINE_WORDS, node.GetName(), re.IGNORECASE) is not None


def choose(parameters):
    """Take the iodine map and the CT of the same grid when there is exactly one of each."""
    if parameters.ct is not None or parameters.iodine is not None:
        return
    volumes = [
        node
        for node in mrml.images_in(parameters.parameterNode.GetScene())
        if node.GetImageData() is not None
    ]
    maps = [node for node in volumes if is_iodine_map(node)]
    others = [
        node for node in volumes if node not in maps and node.GetAttribute(UNIT) in (None, "HU")
    ]
    if len(maps) != 1:
        return
    alike = [node for node in others if _grid(node) == _grid(maps[0])] or others
    if len(alike) == 1:
        parameters.ct, parameters.iodine = alike[0], maps[0]
        if maps[0].GetAttribute(UNIT) == "mg/mL":
            parameters.iodineUnit = "mg/mL"


def _grid(node):
    return node.GetImageData().GetDimensions()


def stated_voltage(node):
    """Tube voltage that the DICOM header of a volume states; empty where none is known."""
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split() if node is not None else []
    database = getattr(slicer, "dicomDatabase", None)
    if not uids or database is None:
        return ""
    try:
        voltage = f"{float(database.instanceValue(uids[0], KVP)):g}"
    except ValueError:
        return ""
    return voltage if voltage in VOLTAGES else ""
