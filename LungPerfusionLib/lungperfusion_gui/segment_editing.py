"""Embedded Segment Editor: corrections are noticed at once and kept in the audit trail."""

import json
from functools import partial

import qt
import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion.results.report import format_value, unit_text
from lungperfusion.terms import MEASURES, title
from lungperfusion_gui.corrections import keep_original_labels

MESSAGE_MS = 5000
SETTLE_MS = 250
"""A stroke, or an effect that touches several segments, fires several events: one entry each."""

EFFECTS = (
    "Paint",
    "Draw",
    "Erase",
    "Scissors",
    "Grow from seeds",
    "Threshold",
    "Islands",
    "Smoothing",
    "Margin",
    "Logical operators",
)
FILLING = frozenset(("Threshold", "Grow from seeds"))
"""Effects that take what looks alike, wherever it lies: the air of the room looks like lung."""

UNDO_STATES = 10


class EditWatch:
    """Tells what changed in a segmentation, once per burst of edits.

    Parameters
    ----------
    node
        Segmentation node.
    on_edit
        Called with the result of `mrml.SegmentSnapshot.changes_to`; undo and redo count, too.
    is_filling
        Called for whether an effect in `FILLING` is at work.
    tidy
        Called after such an effect, before the change is measured; may change the segments.
    """

    def __init__(self, node, on_edit, is_filling, tidy):
        self._node, self._on_edit = node, on_edit
        self._is_filling, self._tidy, self._filled = is_filling, tidy, False
        self._segmentation = node.GetSegmentation()
        self._before = mrml.SegmentSnapshot(node)
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.interval = SETTLE_MS
        self._timer.connect("timeout()", self.measure)
        events = (
            slicer.vtkSegmentation.SourceRepresentationModified,
            slicer.vtkSegmentation.SegmentModified,
            slicer.vtkSegmentation.SegmentAdded,
            slicer.vtkSegmentation.SegmentRemoved,
        )
        self._tags = [self._segmentation.AddObserver(event, self._touched) for event in events]

    def _touched(self, caller=None, event=None):
        self._filled = self._filled or self._is_filling()  # it ends before the edits have settled
        self._timer.start()

    def measure(self):
        """Look now instead of when the edits have settled."""
        if self._filled:
            self._tidy()
            self._filled = False
        self._timer.stop()
        after = mrml.SegmentSnapshot(self._node)
        changed = self._before.changes_to(after)
        self._before = after
        if changed:
            self._on_edit(changed)

    def renew(self):
        """Take the segments as they are: what happened since was no edit."""
        self._timer.stop()
        self._filled = False
        self._before = mrml.SegmentSnapshot(self._node)

    def stop(self):
        self._timer.stop()
        for tag in self._tags:
            self._segmentation.RemoveObserver(tag)
        self._tags = []


class Correction:
    """The editor of a panel with the watch over what it edits.

    Parameters
    ----------
    editor
        ``qMRMLSegmentEditorWidget``.
    module_name
        Gives the editor a node of its own, so that Slicer's Segment Editor is left alone.
    on_edit
        Called with the study, the name of its label map and what changed.
    """

    def __init__(self, editor, module_name, on_edit):
        self._editor, self._tag = editor, f"{module_name}Editor"
        self._on_edit = on_edit
        self._watches = {}
        self.use_own_node()  # settings go to the node of the editor, so it comes first
        editor.segmentationNodeSelectorVisible = False
        editor.sourceVolumeNodeSelectorVisible = False
        editor.switchToSegmentationsButtonVisible = False
        editor.setEffectNameOrder(EFFECTS)
        editor.unorderedEffectsVisible = False
        editor.maskingSectionVisible = False
        editor.setMaximumNumberOfUndoStates(UNDO_STATES)

    def use_own_node(self):
        """Give the editor its node, which a closed scene keeps."""
        node = slicer.mrmlScene.GetSingletonNode(self._tag, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(self._tag)
            node = slicer.mrmlScene.AddNode(node)
        if self._editor.mrmlSegmentEditorNode() is not node:
            self._editor.setMRMLSegmentEditorNode(node)

    def enter(self):
        self.use_own_node()
        self._editor.setupViewObservations()
        if slicer.util.mainWindow() is not None:  # shortcuts need a window
            self._editor.installKeyboardShortcuts()

    def exit(self):
        self._editor.setActiveEffect(None)
        self._editor.uninstallKeyboardShortcuts()
        self._editor.removeViewObservations()

    def edit(self, study, name, node):
        """Show a label map in the editor, its original kept; all label maps stay watched."""
        if node is None:
            self._editor.setSegmentationNode(None)
            return
        keep_original_labels(study, name)
        volume = study.image
        if self._editor.segmentationNode() is not node:
            self._editor.setSegmentationNode(node)
        if volume is not None and self._editor.sourceVolumeNode() is not volume:
            self._editor.setSourceVolumeNode(volume)

    def watch(self, study, nodes):
        """Watch label maps of a study, by name; the present state is the unedited one."""
        self.forget()
        for name, node in nodes.items():
            self._watches[name] = EditWatch(
                node,
                partial(self._on_edit, study, name),
                partial(self._is_filling, node),
                partial(_keep_inside_body, study, node),
            )

    def _is_filling(self, node):
        effect = self._editor.activeEffect()
        ours = self._editor.segmentationNode() is node
        return ours and effect is not None and effect.name in FILLING

    def look_now(self):
        """Take account of edits of this moment before a computation starts."""
        for watch in self._watches.values():
            watch.measure()

    def renew(self):
        for watch in self._watches.values():
            watch.renew()

    def forget(self):
        for watch in self._watches.values():
            watch.stop()
        self._watches = {}

    def release(self):
        """Let go of all nodes: the scene is about to close."""
        self.forget()
        self._editor.setActiveEffect(None)
        self._editor.setSegmentationNode(None)


def _keep_inside_body(study, node):
    """Take the air around the patient out again; undo goes back to before the effect.

    Masks of the editor cannot do it: one of segments would have to be a segment beside those of
    the results, and one of intensities cannot tell the air of the room from that of the trachea.
    """
    if mrml.reference_of(node) is not study.image:  # nothing says where the body is on its grid
        return
    try:
        with slicer.util.WaitCursor():
            taken_ml = mrml.keep_inside_body(node, study.image)
    except InputError:  # under a transform that is not linear; the edit counts all the same
        return
    if taken_ml:
        words = _("{ml} mL of air outside the body were left out.").format(ml=round(taken_ml))
        slicer.util.showStatusMessage(words, MESSAGE_MS)


def trail_lines(entries):
    """Audit trail in words, newest last."""
    return "\n".join(_entry_words(entry) for entry in entries)


def _entry_words(entry):
    when = entry.get("time", "").replace("T", " ")[:19]
    if "segment" in entry:
        words = _("{segment}: {volumes}").format(
            segment=title(entry["segment"]), volumes=_edit_words(entry)
        )
    elif "marked" in entry:
        words = _("{what}: placed, moved or scored").format(what=entry["marked"])
    elif entry.get("restored"):
        words = _("{name}: original restored").format(name=title(entry["segmentation"]))
    elif "discarded" in entry:
        words = _("corrections discarded: {names}").format(names=", ".join(entry["discarded"]))
    elif "opinion" in entry:
        words = _("{table}, row {row}: {opinion} by the reader").format(
            table=title(entry["finding"]), row=entry["row"], opinion=entry["opinion"]
        )
    elif "recomputed" in entry:
        words = _("recomputed; {changes}").format(changes=_change_words(entry["changes"]))
    else:
        words = json.dumps({key: value for key, value in entry.items() if key != "time"})
    return f"{when}  {words}"


def _edit_words(entry):
    """Volumes added and removed; what is too small for the digits is said in voxels."""
    parts = []
    for sign, what in (("+", "added"), ("−", "removed")):
        count, volume_ml = entry[f"voxels_{what}"], entry[f"ml_{what}"]
        if count:
            small = _("1 voxel") if count == 1 else _("{count} voxels").format(count=count)
            parts.append(f"{sign}{volume_ml:.2f} mL" if volume_ml >= 0.005 else f"{sign}{small}")
    return ", ".join(parts)


def _change_words(changed, most=4):
    """Values that changed in the digits that are shown, as the entry has them in order."""
    found = []
    for row in changed:
        before, after = _value(row["before"], row["unit"]), _value(row["after"], row["unit"])
        if before != after:
            place = f"{MEASURES[row['measure']].title} ({title(row['region']).lower()})"
            found.append(f"{place} {before} → {after} {unit_text(row['unit'])}".rstrip())
    if len(found) > most:
        found[most:] = [_("{count} more").format(count=len(found) - most)]
    return "; ".join(found) or _("no value changed")


def _value(value, unit):
    return "–" if value is None else format_value(value, unit)
