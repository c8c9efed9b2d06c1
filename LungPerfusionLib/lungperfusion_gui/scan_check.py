"""What chosen scans are and whether they suit the analysis, in a label under their selectors."""

import shutil
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.acquisition import Acquisition
from lungperfusion.commands.check import check_of, check_volume
from lungperfusion.errors import InputError
from lungperfusion.io.writing import write_in_parts
from lungperfusion.naming import plain
from lungperfusion.segmentation.lungs import SMALLEST_LUNGS_ML
from lungperfusion_gui import breathing
from lungperfusion_gui.job import Job
from lungperfusion_gui.steps import Steps

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
SETTLE_MS = 500
"""Scans are looked at when the choice has rested for so long."""
PAUSE_MS = 20
"""Between the parts of writing a volume that has no file: nobody waits for it."""

_at_once, _looked = {}, {}
"""Checks by header and grid, and by ``lungperfusion check``, of volumes in a state of theirs."""


class ScanChecks:
    """Checks of the scans that are chosen in a panel.

    What header and grid tell is said at once.  Then the command ``check`` looks at the lungs in a
    process of its own, at one scan after the other, and its sentences take their place.

    Parameters
    ----------
    label
        Says whether the scans suit the analysis; everything else is in its tooltip.
    analysis
        Name of the analysis.
    """

    def __init__(self, label, analysis):
        self._label, self._analysis = label, analysis
        self._nodes, self._job, self._folder, self._key = [], None, None, None
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.interval = SETTLE_MS
        self._timer.connect("timeout()", self._look)

    def show(self, nodes):
        """Say whether volumes suit the analysis."""
        self._nodes = [n for n in nodes if n is not None and n.GetImageData() is not None]
        self._tell()
        if self._next() is not None:
            self._timer.start()

    def bind(self, study):
        """Look no further when the panel is left or the scene closes."""
        if study is not None:
            return
        self._timer.stop()
        self._nodes = []
        if self._job is not None:
            self._job.abandon()
        self._clear()

    def _tell(self):
        lines, details = [], []
        for node in self._nodes:
            found = _looked.get(_key(node)) or at_once(node)
            name = node.GetName()
            if isinstance(found, str):
                lines.append(f"{name}: {found}")
                continue
            suits = next(suits for suits in found.suits if suits.analysis == self._analysis)
            looking = " " + _("Looking at the scan ...") if _is_open(node) else ""
            lines.append(f"{name} {suits.verdict}{looking}")
            details += [name, *found.sentences]
        self._label.text = "\n".join(lines)
        self._label.toolTip = "\n".join(details)
        self._label.visible = bool(lines)

    def _next(self):
        return next((node for node in self._nodes if _is_open(node)), None)

    def _look(self):
        node = self._next()
        if node is None or self._key is not None:
            return
        self._key, path = _key(node), file_of(node)
        if path is not None:
            self._start(path)
            return
        self._folder = Path(slicer.util.tempDirectory())
        volume = mrml.volume_from_node(node, "HU")
        volume = volume if volume.valid is None else mrml.with_padding(volume)
        path = self._folder / "scan.nrrd"
        self._job = Steps(
            write_in_parts(volume, path),
            lambda _share: None,
            lambda error: self._end(error) if error else self._start(path),
            pause_ms=PAUSE_MS,
        )
        self._job.begin()

    def _start(self, path):
        self._job = Job(["check", str(path), "--json"], lambda *_: None, self._end)

    def _end(self, error):
        _keep(_looked, self._key, plain(error) if error else check_of(self._job.result))
        self._clear()
        self._tell()
        self._look()

    def _clear(self):
        self._job = self._key = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def refusal(node, *, lungs_given):
    """Say why an analysis would refuse a volume as a chest CT; empty where it takes it."""
    if node is None or node.GetImageData() is None:
        return ""
    found = at_once(node)
    refused = found if isinstance(found, str) else found.refusal
    if refused or lungs_given or breathing.lung_volume_l(node) > LEAST_LUNG_L:
        return refused
    return _("no aerated lung was found in it; choose a CT of the whole chest.")


def at_once(node):
    """Check a volume by what header and grid tell; a sentence where it can be no scan."""
    key = _key(node)
    if key not in _at_once:
        unit = node.GetAttribute(UNIT)
        volume = mrml.volume_from_node(node, unit or "HU")
        try:
            found = check_volume(volume, acquisition(node), unit=unit)
        except InputError as error:
            found = plain(str(error))
        _keep(_at_once, key, found)
    return _at_once[key]


def file_of(node):
    """File that a volume was read from, where it shows what the file holds; else None."""
    if node.GetModifiedSinceRead() or node.GetParentTransformNode() is not None:
        return None
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    storage = node.GetStorageNode()
    if uids and database is not None:
        name = database.fileForInstance(uids[0])
    else:
        name = storage.GetFullNameFromFileName() if storage is not None else ""
    return Path(name) if name and Path(name).is_file() else None


def acquisition(node):
    """Technical facts of a volume that Slicer loaded from its DICOM database."""
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not uids or database is None:
        return Acquisition()
    facts = {name: database.instanceValue(uids[0], tag).strip() for name, tag in TAGS.items()}
    numbers = {name: _number(database.instanceValue(uids[0], tag)) for name, tag in NUMBERS.items()}
    return Acquisition(**{name: text or None for name, text in facts.items()}, **numbers)


def _key(node):
    """Volume, and state of its voxels and place."""
    matrix = mrml.geometry_from_node(node).ijk_to_ras
    return node.GetID(), node.GetImageData().GetMTime(), matrix.tobytes()


def _is_open(node):
    """Whether there is more to be seen in a volume; what is no CT by its unit is told at once."""
    return node.GetAttribute(UNIT) in (None, "HU") and _key(node) not in _looked


def _keep(kept, key, found):
    while len(kept) >= MOST_KEPT:
        del kept[next(iter(kept))]
    kept[key] = found


def _number(text):
    try:
        return float(text.split("\\")[0])
    except ValueError:
        return None
