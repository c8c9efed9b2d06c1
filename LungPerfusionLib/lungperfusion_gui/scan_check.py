"""What chosen scans are and whether they suit the analysis, in a label under their selectors."""

import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.acquisition import Acquisition
from lungperfusion.commands.check import check_volume
from lungperfusion.errors import InputError
from lungperfusion.naming import plain
from lungperfusion.segmentation.lungs import SMALLEST_LUNGS_ML
from lungperfusion_gui import breathing

UNIT = mrml.ATTRIBUTE_PREFIX + "unit"
TAGS = {
    "modality": "0008,0060",
    "manufacturer": "0008,0070",
    "model": "0008,1090",
    "kernel": "0018,1210",
}
NUMBERS = {"kvp": "0018,0060", "slice_thickness_mm": "0018,0050"}
MOST_KEPT = 20
LEAST_LUNG_L = SMALLEST_LUNGS_ML / 2 / 1000
"""Half of what an analysis asks for: the guess is a rough one."""

_checked = {}
"""Checks made, by volume and by the state of its voxels and place."""


def show(label, analysis, nodes):
    """Say in a label whether volumes suit an analysis; everything else in its tooltip."""
    lines, details = [], []
    for node in nodes:
        if node is None or node.GetImageData() is None:
            continue
        try:
            found = check(node)
        except InputError as error:
            lines.append(f"{node.GetName()}: {plain(str(error))}")
            continue
        suits = next(suits for suits in found.suits if suits.analysis == analysis)
        lines.append(f"{node.GetName()} {suits.verdict}")
        details += [node.GetName(), *found.sentences]
    label.text = "\n".join(lines)
    label.toolTip = "\n".join(details)
    label.visible = bool(lines)


def refusal(node, *, lungs_given):
    """Say why an analysis would refuse a volume as a chest CT; empty where it takes it."""
    if node is None or node.GetImageData() is None:
        return ""
    try:
        refused = check(node).refusal
    except InputError as error:
        return plain(str(error))
    if refused or lungs_given or breathing.lung_volume_l(node) > LEAST_LUNG_L:
        return refused
    return _("no aerated lung was found in it; choose a CT of the whole chest.")


def check(node):
    """Check a volume once, by what header and grid tell: looking for lungs would take seconds."""
    geometry = mrml.geometry_from_node(node)
    key = (node.GetID(), node.GetImageData().GetMTime(), geometry.ijk_to_ras.tobytes())
    if key not in _checked:
        while len(_checked) >= MOST_KEPT:
            del _checked[next(iter(_checked))]
        unit = node.GetAttribute(UNIT)
        volume = mrml.volume_from_node(node, unit or "HU")
        _checked[key] = check_volume(volume, acquisition(node), unit=unit, quick=True)
    return _checked[key]


def acquisition(node):
    """Technical facts of a volume that Slicer loaded from its DICOM database."""
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not uids or database is None:
        return Acquisition()
    facts = {name: database.instanceValue(uids[0], tag).strip() for name, tag in TAGS.items()}
    numbers = {name: _number(database.instanceValue(uids[0], tag)) for name, tag in NUMBERS.items()}
    return Acquisition(**{name: text or None for name, text in facts.items()}, **numbers)


def _number(text):
    try:
        return float(text.split("\\")[0])
    except ValueError:
        return None
