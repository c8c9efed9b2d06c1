"""Segment editor: Slicer's own logic below, the set-up and the effects that code can run.

Undo, masking, overwrite modes and the modification of segments are those of
``vtkSlicerSegmentEditorLogic``. Effects that need the mouse have parameters only
(probes ``se.*``).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import slicer
import vtk
from PySide6 import QtCore
from scipy import ndimage
from vtk.util.numpy_support import vtk_to_numpy

from ..inventory import Absent
from ..natives import Native
from .core import qMRMLWidget

_Logic = slicer.vtkSlicerSegmentEditorLogic

EFFECTS = (
    "Paint",
    "Draw",
    "Erase",
    "Level tracing",
    "Grow from seeds",
    "Fill between slices",
    "Threshold",
    "Margin",
    "Hollow",
    "Smoothing",
    "Scissors",
    "Islands",
    "Logical operators",
    "Mask volume",
)

_MODE_NAMES = (
    "ModificationModeSet",
    "ModificationModeAdd",
    "ModificationModeRemove",
    "ModificationModeRemoveAll",
)
_MODES = {int(getattr(_Logic, name)): getattr(_Logic, name) for name in _MODE_NAMES}

_BRUSH = {
    "BrushAbsoluteDiameter": "5",
    "BrushDiameterIsRelative": "1",
    "BrushRelativeDiameter": "3",
    "BrushSphere": "0",
}
_DEFAULTS = {
    "Threshold": {"MinimumThreshold": "0", "MaximumThreshold": "0"},
    "Islands": {"Operation": "KEEP_LARGEST_ISLAND", "MinimumSize": "1000"},
    "Margin": {"MarginSizeMm": "3", "ApplyToAllVisibleSegments": "0"},
}


class qSlicerSegmentEditorAbstractEffect(Native, QtCore.QObject):
    """One effect: parameters live in the editor node as ``<Effect>.<parameter>``."""

    enum_values: ClassVar = {name: int(getattr(_Logic, name)) for name in _MODE_NAMES}
    stored: ClassVar = {
        "name": "",
        "perSegment": True,
        "requireSegments": True,
        "showEffectCursorInSliceView": True,
        "showEffectCursorInThreeDView": False,
        "title": "",
    }

    editor: Any = None

    def set_up(self, editor: Any, name: str) -> None:
        """Tie the effect to its editor."""
        self.editor = editor
        self.held("name")
        self._held.update(name=name, title=name)

    def activate_defaults(self) -> None:
        """Write the parameters that are missing in the editor node."""
        node = self.parameterSetNode()
        if node is None:
            return
        name = self.held("name")
        for key, value in _DEFAULTS.get(name, {}).items():
            if not self.parameterDefined(key):
                node.SetAttribute(f"{name}.{key}", value)
        if name in ("Paint", "Erase"):
            for key, value in _BRUSH.items():
                if node.GetAttribute(key) is None:
                    node.SetAttribute(key, value)

    def parameterSetNode(self) -> Any:
        return self.editor.mrmlSegmentEditorNode()

    def _key(self, name: str) -> str:
        return f"{self.held('name')}.{name}"

    def parameterDefined(self, name: str) -> bool:
        return self.parameterSetNode().GetAttribute(self._key(name)) is not None

    def parameter(self, name: str) -> str:
        node = self.parameterSetNode()
        own = node.GetAttribute(self._key(name))
        return (node.GetAttribute(name) or "") if own is None else own

    def integerParameter(self, name: str) -> int:
        return int(self.parameter(name) or 0)

    def doubleParameter(self, name: str) -> float:
        return float(self.parameter(name) or 0)

    def setParameter(self, name: str, value: Any) -> None:
        self.parameterSetNode().SetAttribute(self._key(name), str(value))

    def setParameterDefault(self, name: str, value: Any) -> None:
        if not self.parameterDefined(name):
            self.setParameter(name, value)

    def setCommonParameter(self, name: str, value: Any) -> None:
        self.parameterSetNode().SetAttribute(name, str(value))

    def saveStateForUndo(self) -> None:
        self.editor.saveStateForUndo()

    def selectEffect(self, name: str) -> None:
        self.editor.setActiveEffectByName(name)

    def active(self) -> bool:
        return self.editor.activeEffect() is self

    def defaultModifierLabelmap(self) -> Any:
        logic = self.editor.logic
        logic.ResetModifierLabelmapToDefault()
        return logic.GetModifierLabelmap()

    def selectedSegmentLabelmap(self) -> Any:
        logic = self.editor.logic
        logic.UpdateSelectedSegmentLabelmap()
        return logic.GetSelectedSegmentLabelmap()

    def sourceVolumeImageData(self) -> Any:
        logic = self.editor.logic
        logic.UpdateAlignedSourceVolume()
        return logic.GetAlignedSourceVolume()

    masterVolumeImageData = sourceVolumeImageData

    def modifySelectedSegmentByLabelmap(self, labels: Any, mode: Any, *rest: Any) -> None:
        extent = [part for part in rest if isinstance(part, (list, tuple))]
        bypass = bool(rest and isinstance(rest[-1], bool) and rest[-1])
        self.editor.logic.ModifySegmentByLabelmap(
            self.editor.segmentationNode(),
            self.editor.currentSegmentID(),
            labels,
            _MODES[int(getattr(mode, "value", mode))],
            *(extent[:1]),
            self.held("perSegment"),
            bypass,
        )


class qSlicerSegmentEditorPaintEffect(qSlicerSegmentEditorAbstractEffect):
    """Brush: parameters only."""


class qSlicerSegmentEditorEraseEffect(qSlicerSegmentEditorPaintEffect):
    """Eraser: parameters only."""


class qSlicerSegmentEditorScissorsEffect(qSlicerSegmentEditorAbstractEffect):
    """Scissors: parameters only."""


class qSlicerSegmentEditorScriptedEffect(qSlicerSegmentEditorAbstractEffect):
    """An effect that is written in Python."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._source = _ScriptedEffect(self)

    def self(self) -> Any:
        return self._source


class _ScriptedEffect:
    """The Python side of an effect: ``onApply`` of those that need no mouse."""

    def __init__(self, effect: qSlicerSegmentEditorScriptedEffect) -> None:
        self._effect = effect

    @property
    def scriptedEffect(self) -> Any:
        from ..pythonqt import objects

        return objects.wrap(self._effect)

    def onApply(self) -> None:
        name = self._effect.held("name")
        apply = {
            "Threshold": self._threshold,
            "Islands": self._islands,
            "Margin": self._margin,
        }.get(name)
        if apply is None:
            raise Absent(f"effect {name!r} exists in the desktop; the stand-in has no behaviour")
        self._effect.saveStateForUndo()
        apply()

    def _replace(self, mask: np.ndarray, image: Any, *, bypass: bool) -> None:
        labels = slicer.vtkOrientedImageData()
        labels.DeepCopy(image)
        labels.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        _array(labels)[...] = mask
        self._effect.modifySelectedSegmentByLabelmap(labels, _Logic.ModificationModeSet, bypass)

    def _threshold(self) -> None:
        image = self._effect.sourceVolumeImageData()
        low = self._effect.doubleParameter("MinimumThreshold")
        high = self._effect.doubleParameter("MaximumThreshold")
        values = _array(image)
        self._replace((values >= low) & (values <= high), image, bypass=False)
        self._effect.selectEffect("")

    def _islands(self) -> None:
        image = self._effect.selectedSegmentLabelmap()
        labels, count = ndimage.label(_array(image) > 0)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        sizes[0] = 0
        kept = sizes >= int(self._effect.doubleParameter("MinimumSize"))
        kept[0] = False
        if self._effect.parameter("Operation") == "KEEP_LARGEST_ISLAND" and count:
            kept &= np.arange(count + 1) == sizes.argmax()
        self._replace(kept[labels], image, bypass=True)

    def _margin(self) -> None:
        image = self._effect.defaultModifierLabelmap()
        segment = slicer.vtkOrientedImageData()
        slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            self._effect.selectedSegmentLabelmap(), image, segment, False, False
        )
        size = self._effect.doubleParameter("MarginSizeMm")
        mask = _array(segment) > 0
        spacing = image.GetSpacing()[::-1]
        if size >= 0:
            grown = ndimage.distance_transform_edt(~mask, sampling=spacing) <= size
        else:
            grown = ndimage.distance_transform_edt(mask, sampling=spacing) > -size
        self._replace(grown, image, bypass=False)


def _array(image: Any) -> np.ndarray:
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


_CPP_EFFECTS = {
    "Paint": qSlicerSegmentEditorPaintEffect,
    "Erase": qSlicerSegmentEditorEraseEffect,
    "Scissors": qSlicerSegmentEditorScissorsEffect,
}


class qMRMLSegmentEditorWidget(qMRMLWidget):
    """The embedded editor."""

    stored: ClassVar = {
        "addRemoveSegmentButtonsVisible": True,
        "autoShowMasterVolumeNode": True,
        "autoShowSourceVolumeNode": True,
        "defaultTerminologyEntry": "",
        "defaultTerminologyEntrySettingsKey": "",
        "effectButtonStyle": 0,
        "effectColumnCount": 2,
        "jumpToSelectedSegmentEnabled": False,
        "maskingSectionVisible": True,
        "readOnly": False,
        "show3DButtonVisible": True,
        "specifyGeometryButtonVisible": True,
        "unorderedEffectsVisible": True,
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.logic = _Logic()
        self._node: Any = None
        self._own: Any = None
        self._effect: Any = None
        self._order: list[str] = []
        self._shown = dict.fromkeys(("segmentation", "source", "switch", "undo"), True)
        self._watching = self._keys = False
        self._effects = {}
        for name in EFFECTS:
            effect = _CPP_EFFECTS.get(name, qSlicerSegmentEditorScriptedEffect)(self)
            effect.set_up(self, name)
            self._effects[name] = effect

    # ------------------------------------------------------------ nodes
    def scene_set(self, scene: Any) -> None:
        self.logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self.logic.SetMRMLScene(scene)
        if self._node is None:
            self.logic.SetSegmentEditorNode(self._implicit_node())

    def scene_events(self) -> dict[int, Any]:
        return {
            slicer.vtkMRMLScene.EndCloseEvent: "_scene_closed",
            slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent: "_leaving",
        }

    def _scene_closed(self, node: Any) -> None:
        self.setActiveEffect(None)
        editor = self.logic.GetSegmentEditorNode()
        if editor is not None:
            editor.SetAndObserveSegmentationNode(None)
            editor.SetAndObserveSourceVolumeNode(None)

    def _leaving(self, node: Any) -> None:
        if node is not None and node is self.segmentationNode():
            self.setActiveEffect(None)

    def _implicit_node(self) -> Any:
        """Nodes can be set without an editor node (se.set_nodes_without_editor_node)."""
        if self._own is None:
            self._own = slicer.vtkMRMLSegmentEditorNode()
            self._own.SetScene(self._scene)
        return self._own

    def mrmlSegmentEditorNode(self) -> Any:
        return self._node

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        if node is self._node:
            return
        self._node = node
        self.logic.SetSegmentEditorNode(node or self._implicit_node())

    def segmentationNode(self) -> Any:
        return self.logic.GetSegmentationNode()

    def segmentationNodeID(self) -> str:
        node = self.segmentationNode()
        return "" if node is None else node.GetID()

    def setSegmentationNode(self, node: Any) -> None:
        """Change the segmentation: the effect ends, the source volume follows its reference."""
        if node is self.segmentationNode():
            return
        self.setActiveEffect(None)
        self.logic.SetSegmentationNode(node)
        if node is not None:
            if node.GetDisplayNode() is None:
                node.CreateDefaultDisplayNodes()
            self.logic.SetSegmentationHistory(self._history(node))
            identifiers = node.GetSegmentation().GetSegmentIDs()
            self.logic.SetCurrentSegmentID(identifiers[0] if identifiers else "")
            role = node.GetReferenceImageGeometryReferenceRole()
            reference = node.GetNodeReference(role)
            if reference is not None:
                self.logic.SetSourceVolumeNode(reference)
        self.emit("segmentationNodeChanged(vtkMRMLSegmentationNode*)", node)

    def _history(self, node: Any) -> Any:
        history = slicer.vtkSegmentationHistory()
        history.SetSegmentation(node.GetSegmentation())
        return history

    def setSegmentationNodeID(self, identifier: str) -> None:
        self.setSegmentationNode(self._scene.GetNodeByID(identifier) if identifier else None)

    def sourceVolumeNode(self) -> Any:
        return self.logic.GetSourceVolumeNode()

    masterVolumeNode = sourceVolumeNode

    def sourceVolumeNodeID(self) -> str:
        node = self.sourceVolumeNode()
        return "" if node is None else node.GetID()

    def setSourceVolumeNode(self, node: Any) -> None:
        if node is self.sourceVolumeNode():
            return
        self.logic.SetSourceVolumeNode(node)
        segmentation = self.segmentationNode()
        if segmentation is not None and node is not None:
            role = segmentation.GetReferenceImageGeometryReferenceRole()
            if segmentation.GetNodeReference(role) is None:
                segmentation.SetReferenceImageGeometryParameterFromVolumeNode(node)
        self.emit("sourceVolumeNodeChanged(vtkMRMLVolumeNode*)", node)

    setMasterVolumeNode = setSourceVolumeNode

    # ------------------------------------------------------------ segments
    def currentSegmentID(self) -> str:
        return self.logic.GetCurrentSegmentID() or ""

    def setCurrentSegmentID(self, identifier: str) -> None:
        """Select a segment; only a selection by the user emits (se.current_segment)."""
        self.logic.SetCurrentSegmentID(identifier)

    # ------------------------------------------------------------ effects
    def availableEffectNames(self) -> list[str]:
        return list(self._effects)

    def effectNameOrder(self) -> list[str]:
        return self._order

    def setEffectNameOrder(self, names: list[str]) -> None:
        self._order = list(names)

    def effectByName(self, name: str) -> Any:
        return self._effects.get(name)

    def effectCount(self) -> int:
        return len(self._effects)

    def activeEffect(self) -> Any:
        return self._effect

    def setActiveEffect(self, effect: Any) -> None:
        if effect is self._effect:
            return
        self._effect = effect
        if self._node is not None:
            self._node.SetActiveEffectName("" if effect is None else effect.held("name"))
        if effect is not None:
            effect.activate_defaults()

    def setActiveEffectByName(self, name: str) -> None:
        self.setActiveEffect(self._effects.get(name))

    # ------------------------------------------------------------ undo
    def maximumNumberOfUndoStates(self) -> int:
        return self.logic.GetMaximumNumberOfUndoStates()

    def setMaximumNumberOfUndoStates(self, count: int) -> None:
        self.logic.SetMaximumNumberOfUndoStates(count)

    def saveStateForUndo(self) -> None:
        self.logic.SaveStateForUndo()

    def undo(self) -> None:
        self.logic.Undo()

    def redo(self) -> None:
        self.logic.Redo()

    # ------------------------------------------------------------ views and keys
    def setupViewObservations(self) -> bool:
        self._watching = True
        return True

    def removeViewObservations(self) -> None:
        self._watching = False

    def installKeyboardShortcuts(self, parent: Any = None) -> None:
        """Shortcuts of the main window; without one the desktop only prints a warning."""
        if parent is None and slicer.util.mainWindow() is None:
            raise RuntimeError("QShortcut: No widget parent defined")
        self._keys = True

    def uninstallKeyboardShortcuts(self) -> None:
        self._keys = False

    def updateWidgetFromMRML(self) -> None:
        """The widget reads its nodes whenever it is asked."""

    updateEffectList = updateWidgetFromMRML

    # Parts that are visible only when the widget is (se.visibility_setters).
    def undoEnabled(self) -> bool:
        return self._shown["undo"] and self.isVisible()

    def setUndoEnabled(self, on: bool) -> None:
        self._shown["undo"] = on

    def segmentationNodeSelectorVisible(self) -> bool:
        return self._shown["segmentation"] and self.isVisible()

    def setSegmentationNodeSelectorVisible(self, on: bool) -> None:
        self._shown["segmentation"] = on

    def sourceVolumeNodeSelectorVisible(self) -> bool:
        return self._shown["source"] and self.isVisible()

    def setSourceVolumeNodeSelectorVisible(self, on: bool) -> None:
        self._shown["source"] = on

    masterVolumeNodeSelectorVisible = sourceVolumeNodeSelectorVisible
    setMasterVolumeNodeSelectorVisible = setSourceVolumeNodeSelectorVisible

    def switchToSegmentationsButtonVisible(self) -> bool:
        return self._shown["switch"] and self.isVisible()

    def setSwitchToSegmentationsButtonVisible(self, on: bool) -> None:
        self._shown["switch"] = on
