"""Embedded Segment Editor: corrections are noticed at once and kept in the audit trail."""

import json

import qt
import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.results.report import format_value
from lungperfusion.terms import MEASURES, title

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
UNDO_STATES = 10


class EditWatch:
    """Tells what changed in a segmentation, once per burst of edits.

    Parameters
    ----------
    node
        Segmentation node.
    on_edit
        Called with the result of `mrml.SegmentSnapshot.changes_to`; undo and redo count, too.
    """

    def __init__(self, node, on_edit):
        self._node, self._on_edit = node, on_edit
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
        self._timer.start()

    def measure(self):
        """Look now instead of when the edits have settled."""
        self._timer.stop()
        after = mrml.SegmentSnapshot(self._node)
        changed = self._before.changes_to(after)
        self._before = after
        if changed:
            self._on_edit(changed)

    def renew(self):
        """Take the segments as they are: what happened since was no edit."""
        self._timer.stop()
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
        Called with the name of the label map and what changed.
    before_edit
        Called with the name of the label map when it becomes editable.
    """

    def __init__(self, editor, module_name, on_edit, before_edit):
        self._editor, self._tag = editor, f"{module_name}Editor"
        self._on_edit, self._before_edit = on_edit, before_edit
        self._watches = {}
        self._nodes = {}
        editor.segmentationNodeSelectorVisible = False
        editor.sourceVolumeNodeSelectorVisible = False
        editor.switchToSegmentationsButtonVisible = False
        editor.setEffectNameOrder(EFFECTS)
        editor.unorderedEffectsVisible = False
        editor.maskingSectionVisible = False
        editor.setMaximumNumberOfUndoStates(UNDO_STATES)
        self.use_own_node()

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
        self._editor.installKeyboardShortcuts()

    def exit(self):
        self._editor.setActiveEffect(None)
        self._editor.uninstallKeyboardShortcuts()
        self._editor.removeViewObservations()

    def edit(self, name, node, volume):
        """Show a label map in the editor; all label maps stay watched."""
        if node is None:
            self._editor.setSegmentationNode(None)
            return
        self._before_edit(name)
        if self._editor.segmentationNode() is not node:
            self._editor.setSegmentationNode(node)
        if volume is not None and self._editor.sourceVolumeNode() is not volume:
            self._editor.setSourceVolumeNode(volume)

    def watch(self, nodes):
        """Watch label maps, by name; the present state is the unedited one."""
        self.forget()
        for name, node in nodes.items():
            self._nodes[name] = node

            def edited(changed, name=name):
                self._on_edit(name, changed)

            self._watches[name] = EditWatch(node, edited)

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
        self._watches, self._nodes = {}, {}

    def release(self):
        """Let go of all nodes: the scene is about to close."""
        self.forget()
        self._editor.setActiveEffect(None)
        self._editor.setSegmentationNode(None)


def trail_lines(entries):
    """Audit trail in words, newest last."""
    return "\n".join(_entry_words(entry) for entry in entries)


def _entry_words(entry):
    when = entry.get("time", "").replace("T", " ")[:19]
    if "segment" in entry:
        words = _("{segment}: +{added} mL, −{removed} mL ({voxels} voxels)").format(
            segment=title(entry["segment"]),
            added=f"{entry['ml_added']:.2f}",
            removed=f"{entry['ml_removed']:.2f}",
            voxels=entry["voxels_added"] + entry["voxels_removed"],
        )
    elif "marked" in entry:
        words = _("{what}: placed, moved or scored").format(what=entry["marked"])
    elif entry.get("restored"):
        words = _("{name}: original restored").format(name=title(entry["segmentation"]))
    elif "discarded" in entry:
        words = _("corrections discarded: {names}").format(names=", ".join(entry["discarded"]))
    elif "recomputed" in entry:
        words = _("recomputed; {changes}").format(changes=_change_words(entry["changes"]))
    else:
        words = json.dumps({key: value for key, value in entry.items() if key != "time"})
    return f"{when}  {words}"


def _change_words(changed, most=4):
    shown = [
        f"{MEASURES[row['measure']].title} ({title(row['region']).lower()}) "
        f"{_value(row['before'], row['unit'])} → {_value(row['after'], row['unit'])} {row['unit']}"
        for row in changed[:most]
    ]
    if len(changed) > most:
        shown.append(_("{count} more").format(count=len(changed) - most))
    return "; ".join(shown) or _("no value changed")


def _value(value, unit):
    return "–" if value is None else format_value(value, unit)
