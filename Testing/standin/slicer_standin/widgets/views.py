"""Layout manager and views: the logic is real, pictures are drawn on request (``layout.*``)."""

from __future__ import annotations

import weakref
from typing import Any, ClassVar

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from .. import inventory, rendering
from ..natives import Native
from .core import SceneHolder, qMRMLWidget
from .plots import qMRMLPlotWidget
from .tables import qMRMLTableWidget


class ctkVTKAbstractView(Native, QtWidgets.QWidget):
    """Base of VTK views; the render window is made when it is asked for."""

    stored: ClassVar = {
        "cornerAnnotationText": "",
        "fpsVisible": False,
        "gradientBackground": False,
        "maximumUpdateRate": 60.0,
        "renderEnabled": True,
        "useDepthPeeling": False,
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._picture: Any = None
        self._color = QtGui.QColor(0, 0, 0)

    def picture(self) -> Any:
        """Return the drawing of the view."""
        if self._picture is None:
            self._picture = self.make_picture()
        return self._picture

    def make_picture(self) -> Any:
        raise NotImplementedError

    def renderWindow(self) -> Any:
        return self.picture().window

    def interactor(self) -> Any:
        return self.picture().interactor

    def forceRender(self) -> None:
        if self._picture is not None:
            self._picture.image()

    def scheduleRender(self) -> None:
        """Views are drawn when they are looked at."""

    def setRenderPaused(self, pause: bool) -> None:
        """Views are drawn when they are looked at."""

    def backgroundColor(self) -> QtGui.QColor:
        return self._color

    def setBackgroundColor(self, color: QtGui.QColor) -> None:
        self._color = color

    def pixmap(self, size: QtCore.QSize) -> QtGui.QPixmap:
        """Return the drawing of the view in the size of its widget."""
        picture = self.picture()
        picture.resize(size.width(), size.height())
        rows = picture.image()
        height, width, _ = rows.shape
        form = QtGui.QImage.Format.Format_RGB888
        return QtGui.QPixmap.fromImage(QtGui.QImage(rows.data, width, height, 3 * width, form))


class ctkVTKRenderView(ctkVTKAbstractView):
    """Base of 3-D views."""


class ctkVTKSliceView(ctkVTKAbstractView):
    """Base of slice views."""


class qMRMLSliceView(ctkVTKSliceView):
    """The picture of a slice."""

    logic: Any = None

    def make_picture(self) -> Any:
        return rendering.SlicePicture(self.logic)

    def mrmlSliceNode(self) -> Any:
        return self.logic.GetSliceNode()

    def convertXYZToRAS(self, point: Any) -> list[float]:
        return list(self.mrmlSliceNode().GetXYToRAS().MultiplyPoint((*point, 1.0))[:3])

    def displayableManagerByClassName(self, name: str) -> Any:
        return self.picture().group.GetDisplayableManagerByClassName(name)


class qMRMLSliceControllerWidget(qMRMLWidget):
    """Slider and buttons above a slice: changes made here are broadcast to linked views."""

    logic: Any = None

    def sliceLogic(self) -> Any:
        return self.logic

    def mrmlSliceNode(self) -> Any:
        return self.logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self.logic.GetSliceCompositeNode()

    def setSliceOffsetValue(self, offset: float) -> None:
        self.logic.StartSliceOffsetInteraction()
        self.logic.SetSliceOffset(offset)
        self.logic.EndSliceOffsetInteraction()

    def fitSliceToBackground(self) -> None:
        self.logic.FitSliceToBackground()

    def setSliceLink(self, linked: bool) -> None:
        for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            node.SetLinkedControl(linked)

    def setForegroundOpacity(self, opacity: float) -> None:
        flag = slicer.vtkMRMLSliceCompositeNode.ForegroundOpacityFlag
        self.logic.StartSliceCompositeNodeInteraction(flag)
        self.mrmlSliceCompositeNode().SetForegroundOpacity(opacity)
        self.logic.EndSliceCompositeNodeInteraction()

    def setSliceVisible(self, visible: bool) -> None:
        self.mrmlSliceNode().SetSliceVisible(visible)

    def setSliceOrientation(self, orientation: str) -> None:
        self.mrmlSliceNode().SetOrientation(orientation)


class qMRMLAbstractViewWidget(qMRMLWidget):
    """Base of the widgets in the layout."""

    _view: Any = None

    def grab(self, *rectangle: Any) -> QtGui.QPixmap:
        """Draw the view without its controller."""
        return self._view.pixmap(self.size())


class qMRMLSliceWidget(qMRMLAbstractViewWidget):
    """A slice view with its controller."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._logic: Any = None
        self._view = qMRMLSliceView(self)
        self._controller = qMRMLSliceControllerWidget(self)

    def setMRMLSliceNode(self, node: Any) -> None:
        known = slicer.app.applicationLogic().GetSliceLogicByLayoutName(node.GetLayoutName())
        self._logic = known or rendering.attach_logic(node)
        self._view.logic = self._controller.logic = self._logic
        self._controller.setMRMLScene(self._scene)

    def sliceLogic(self) -> Any:
        return self._logic

    logic = sliceLogic

    def mrmlSliceNode(self) -> Any:
        return None if self._logic is None else self._logic.GetSliceNode()

    mrmlAbstractViewNode = mrmlSliceNode

    def mrmlSliceCompositeNode(self) -> Any:
        return None if self._logic is None else self._logic.GetSliceCompositeNode()

    def sliceController(self) -> Any:
        return self._controller

    controllerWidget = sliceController

    def sliceView(self) -> Any:
        return self._view

    viewWidget = sliceView

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()

    def sliceOrientation(self) -> str:
        return self.mrmlSliceNode().GetOrientation()

    def setSliceOrientation(self, orientation: str) -> None:
        self.mrmlSliceNode().SetOrientation(orientation)

    def sliceViewName(self) -> str:
        return self.mrmlSliceNode().GetLayoutName()

    def sliceViewLabel(self) -> str:
        return self.mrmlSliceNode().GetLayoutLabel()


class qMRMLThreeDView(ctkVTKRenderView):
    """The picture of a 3-D view."""

    node: Any = None

    def make_picture(self) -> Any:
        return rendering.ThreeDPicture(self.node)

    def mrmlViewNode(self) -> Any:
        return self.node

    def resetFocalPoint(self) -> None:
        if self._picture is not None:
            self._picture.renderer.ResetCamera()

    def resetCamera(self, *flags: bool) -> None:
        self.resetFocalPoint()

    def cameraNode(self) -> Any:
        return slicer.app._native.moduleLogic("Cameras").GetViewActiveCameraNode(self.node)

    def rotateToViewAxis(self, axis: Any) -> None:
        """The camera moves only in a drawn view."""
        if self._picture is not None and isinstance(axis, str):
            self._picture.look_from(axis)


class qMRMLThreeDViewControllerWidget(qMRMLWidget):
    """Buttons above a 3-D view."""

    view: Any = None

    def lookFromAxis(self, axis: Any) -> None:
        names = inventory.classes()["ctkAxesWidget"]["enums"]["Axis"]
        self.view.rotateToViewAxis(names[int(getattr(axis, "value", axis))])

    def resetFocalPoint(self) -> None:
        self.view.resetFocalPoint()

    def setBlackBackground(self) -> None:
        for method in ("SetBackgroundColor", "SetBackgroundColor2"):
            getattr(self.view.node, method)(0, 0, 0)

    def setWhiteBackground(self) -> None:
        for method in ("SetBackgroundColor", "SetBackgroundColor2"):
            getattr(self.view.node, method)(1, 1, 1)

    def setOrthographicModeEnabled(self, on: bool) -> None:
        mode = slicer.vtkMRMLViewNode.Orthographic if on else slicer.vtkMRMLViewNode.Perspective
        self.view.node.SetRenderMode(mode)


class qMRMLThreeDWidget(qMRMLAbstractViewWidget):
    """A 3-D view with its controller."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._view = qMRMLThreeDView(self)
        self._controller = qMRMLThreeDViewControllerWidget(self)
        self._controller.view = self._view

    def setMRMLViewNode(self, node: Any) -> None:
        self._view.node = node

    def mrmlViewNode(self) -> Any:
        return self._view.node

    mrmlAbstractViewNode = mrmlViewNode

    def threeDView(self) -> Any:
        return self._view

    viewWidget = threeDView

    def threeDController(self) -> Any:
        return self._controller

    controllerWidget = threeDController


class ctkLayoutManager(Native, QtCore.QObject):
    """Base of the layout manager."""

    stored: ClassVar = {"spacing": 3}

    _viewport: Any = None

    def viewport(self, name: str = "") -> Any:
        return self._viewport

    def setViewport(self, widget: Any, name: str = "") -> None:
        self._viewport = widget


class qMRMLLayoutManager(SceneHolder, ctkLayoutManager):
    """Layouts by number; every slice node has its logic, every view its widget."""

    stored: ClassVar = {"enabled": True}

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._widgets: dict[str, Any] = {}
        self._shown = 0
        self._tag: int | None = None

    def scene_events(self) -> dict[int, Any]:
        return {slicer.vtkMRMLScene.NodeAddedEvent: "_node_added"}

    def scene_set(self, scene: Any) -> None:
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetMRMLScene(scene)
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode", scene):
            self._node_added(node)
        layout = self._logic.GetLayoutNode()
        self._shown = layout.GetViewArrangement()
        me = weakref.ref(self)
        layout.AddObserver(
            vtk.vtkCommand.ModifiedEvent, lambda *_: (it := me()) and it._arrangement_changed()
        )

    def _node_added(self, node: Any) -> None:
        if node is None or not node.IsA("vtkMRMLSliceNode"):
            return
        application = slicer.app.applicationLogic()
        if application.GetSliceLogicByLayoutName(node.GetLayoutName()) is None:
            rendering.attach_logic(node)

    def _arrangement_changed(self) -> None:
        arrangement = self._logic.GetLayoutNode().GetViewArrangement()
        if arrangement != self._shown:
            self._shown = arrangement
            self.emit("layoutChanged(int)", arrangement)

    def layoutLogic(self) -> Any:
        return self._logic

    def layout(self) -> int:
        return self._logic.GetLayoutNode().GetViewArrangement()

    def setLayout(self, layout: int) -> None:
        self._logic.GetLayoutNode().SetViewArrangement(layout)

    def mrmlSliceLogics(self) -> Any:
        return slicer.app.applicationLogic().GetSliceLogics()

    # ------------------------------------------------------------ views
    def _nodes(self, kind: str) -> list[Any]:
        """Return the view nodes of a class, those of the current layout first."""
        shown = [node for node in self._logic.GetViewNodes() if node.IsA(kind)]
        others = slicer.util.getNodesByClass(kind, self._scene)
        return shown + [node for node in others if node not in shown]

    def _widget(self, node: Any, kind: type, setter: str) -> Any:
        widget = self._widgets.get(node.GetID())
        if widget is None or widget.mrmlAbstractViewNode() is not node:
            widget = self._widgets[node.GetID()] = kind()
            widget.setMRMLScene(self._scene)
            getattr(widget, setter)(node)
        return widget

    def sliceViewNames(self) -> list[str]:
        return [node.GetLayoutName() for node in self._nodes("vtkMRMLSliceNode")]

    def sliceWidget(self, name: str) -> Any:
        for node in self._nodes("vtkMRMLSliceNode"):
            if node.GetLayoutName() == name:
                return self._widget(node, qMRMLSliceWidget, "setMRMLSliceNode")
        return None

    def _numbered(self, kind: str, number: int, widget: type, setter: str) -> Any:
        nodes = self._nodes(kind)
        return self._widget(nodes[number], widget, setter) if 0 <= number < len(nodes) else None

    def threeDViewCount(self) -> int:
        return len(self._nodes("vtkMRMLViewNode"))

    def threeDWidget(self, which: Any) -> Any:
        if isinstance(which, str):
            names = [node.GetLayoutName() for node in self._nodes("vtkMRMLViewNode")]
            which = names.index(which) if which in names else -1
        return self._numbered("vtkMRMLViewNode", which, qMRMLThreeDWidget, "setMRMLViewNode")

    def tableViewCount(self) -> int:
        return len(self._nodes("vtkMRMLTableViewNode"))

    def tableWidget(self, which: int) -> Any:
        return self._numbered(
            "vtkMRMLTableViewNode", which, qMRMLTableWidget, "setMRMLTableViewNode"
        )

    def plotViewCount(self) -> int:
        return len(self._nodes("vtkMRMLPlotViewNode"))

    def plotWidget(self, which: int) -> Any:
        return self._numbered("vtkMRMLPlotViewNode", which, qMRMLPlotWidget, "setMRMLPlotViewNode")

    def activeMRMLThreeDViewNode(self) -> Any:
        return next(iter(self._nodes("vtkMRMLViewNode")), None)

    def resetSliceViews(self) -> None:
        slicer.app.applicationLogic().FitSliceToAll()

    def resetThreeDViews(self) -> None:
        for number in range(self.threeDViewCount()):
            self.threeDWidget(number).threeDView().resetCamera()

    def setRenderPaused(self, pause: bool) -> None:
        """Views are drawn when they are looked at."""


class qSlicerLayoutManager(qMRMLLayoutManager):
    """``slicer.app.layoutManager()``."""
