"""A small module with the life cycle of the real ones, to try the stand-in on."""

import logging
from typing import Annotated

import numpy as np
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class StandinDemo(ScriptedLoadableModule):
    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Stand-in demo")
        parent.categories = ["Testing"]
        parent.contributors = ["SlicerLungPerfusion contributors"]
        parent.helpText = _("Marks voxels below a threshold.")
        parent.acknowledgementText = ""
        slicer.app.connect("startupCompleted()", self.onStartup)

    def onStartup(self):
        self.started = True


@parameterNodeWrapper
class StandinDemoParameters:
    volume: slicer.vtkMRMLScalarVolumeNode
    segmentation: slicer.vtkMRMLSegmentationNode
    threshold: Annotated[float, WithinRange(-1024, 200)] = -950.0
    opacity: Annotated[float, WithinRange(0, 1)] = 0.5
    outdated: bool = False


class StandinDemoWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        self.logic = self.ui = self.parameters = self.guiTag = None
        self.active = False
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        root = slicer.util.loadUI(self.resourcePath("UI/StandinDemo.ui"))
        self.layout.addWidget(root)
        self.ui = slicer.util.childWidgetVariables(root)
        root.setMRMLScene(slicer.mrmlScene)
        self.logic = StandinDemoLogic()
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndBatchProcessEvent, self.onSceneEndBatch)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.ui.opacitySlider.connect("valueChanged(double)", self.onOpacity)
        self.editor = self.ui.editor
        self.editor.setEffectNameOrder(["Paint", "Erase"])
        self.editor.unorderedEffectsVisible = False
        self.editor.setMaximumNumberOfUndoStates(5)
        self.editTimer = qt.QTimer()
        self.editTimer.setSingleShot(True)
        self.editTimer.interval = 10
        self.editTimer.connect("timeout()", self.onEdited)
        self.segmentObservers = []
        self.bind()

    def enter(self):
        self.active = True
        self.bind()
        self.editor.setMRMLSegmentEditorNode(self.logic.editorNode())
        self.editor.setupViewObservations()
        self.editor.installKeyboardShortcuts()

    def exit(self):
        self.active = False
        self.editor.setActiveEffect(None)
        self.editor.uninstallKeyboardShortcuts()
        self.editor.removeViewObservations()
        self.unbind()

    def cleanup(self):
        self.editTimer.stop()
        self.unbind()
        self.removeObservers()

    def onSceneStartClose(self, caller, event):
        self.editor.setActiveEffect(None)
        self.editor.setSegmentationNode(None)
        self.unbind()

    def onSceneEndBatch(self, caller, event):
        if self.active and self.parameters is None:
            self.bind()

    def bind(self):
        node = self.logic.getParameterNode()
        if self.parameters is not None and self.parameters.parameterNode is node:
            return
        self.unbind()
        self.parameters = StandinDemoParameters(node)
        self.guiTag = self.parameters.connectGui(self.ui)
        self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self.onParametersChanged()

    def unbind(self):
        if self.parameters is None:
            return
        self.watch(None)
        self.parameters.disconnectGui(self.guiTag)
        node = self.parameters.parameterNode
        self.removeObserver(node, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self.parameters = self.guiTag = None

    def onParametersChanged(self, caller=None, event=None):
        if self.parameters is None:
            return
        reason = "" if self.parameters.volume else _("Choose an input volume.")
        self.ui.applyButton.enabled = not reason
        self.ui.applyButton.toolTip = reason or _("Compute.")
        if self.parameters.outdated:
            self.ui.statusLabel.text = _("Results are outdated.")

    def onApply(self, checked=False):
        with slicer.util.tryWithErrorDisplay(_("Failed to compute."), waitCursor=True):
            table = self.logic.run(self.parameters)
            self.ui.resultTable.setMRMLTableNode(table)
            self.parameters.outdated = False
            self.ui.statusLabel.text = _("{ml} mL").format(ml=table.GetCellText(0, 1))
            self.editor.setSegmentationNode(self.parameters.segmentation)
            self.editor.setSourceVolumeNode(self.parameters.volume)
            self.watch(self.parameters.segmentation.GetSegmentation())

    def watch(self, segmentation):
        for subject, tag in self.segmentObservers:
            subject.RemoveObserver(tag)
        self.segmentObservers = []
        if segmentation is not None:
            events = (
                slicer.vtkSegmentation.SourceRepresentationModified,
                slicer.vtkSegmentation.SegmentModified,
            )
            for event in events:
                tag = segmentation.AddObserver(event, lambda caller, event: self.editTimer.start())
                self.segmentObservers.append((segmentation, tag))

    def onEdited(self):
        if self.parameters is not None:
            self.parameters.outdated = True

    def onOpacity(self, value):
        for name in ("Red", "Green", "Yellow"):
            view = slicer.app.layoutManager().sliceWidget(name)
            view.mrmlSliceCompositeNode().SetForegroundOpacity(value)


class StandinDemoLogic(ScriptedLoadableModuleLogic):
    def editorNode(self):
        tag = "StandinDemoEditor"
        node = slicer.mrmlScene.GetSingletonNode(tag, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(tag)
            node = slicer.mrmlScene.AddNode(node)
        return node

    def run(self, parameters):
        volume = parameters.volume
        values = slicer.util.arrayFromVolume(volume)
        mask = values <= parameters.threshold
        if not mask.any():
            raise ValueError("No voxel lies below the threshold.")
        segmentation = parameters.segmentation
        if segmentation is None:
            segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Low")
            segmentation.CreateDefaultDisplayNodes()
            segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
            segmentation.GetSegmentation().AddEmptySegment("low", "Low", (0.2, 0.2, 1.0))
            parameters.segmentation = segmentation
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            mask.astype(np.uint8), segmentation, "low", volume
        )
        overlay = self.overlay(volume, np.where(mask, values, np.nan).astype(np.float32))
        slicer.util.setSliceViewerLayers(
            background=volume, foreground=overlay, foregroundOpacity=parameters.opacity
        )
        logging.info(f"{int(mask.sum())} voxels marked")
        return self.table(float(mask.sum() * np.prod(volume.GetSpacing()) / 1000))

    def overlay(self, volume, values):
        matrix = vtk.vtkMatrix4x4()
        volume.GetIJKToRASMatrix(matrix)
        overlay = slicer.util.addVolumeFromArray(values, ijkToRAS=matrix, name="Low values")
        display = overlay.GetDisplayNode()
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeRainbow")
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(-1024, -900)
        display.SetApplyThreshold(1)
        display.SetThreshold(-1e30, 1e30)
        slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(overlay)
        return overlay

    def table(self, volume_ml):
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Low results")
        name, value = vtk.vtkStringArray(), vtk.vtkDoubleArray()
        name.SetName("Measure")
        value.SetName("Volume")
        name.InsertNextValue("low attenuation")
        value.InsertNextValue(volume_ml)
        table.AddColumn(name)
        table.AddColumn(value)
        table.SetColumnUnitLabel("Volume", "mL")
        table.SetUseColumnTitleAsColumnHeader(True)
        return table
