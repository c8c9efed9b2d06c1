"""Slice and 3-D views drawn without a display, by the displayable managers of Slicer.

The pictures are what the desktop's views show of the scene: background, foreground with opacity and
colours, segmentations (outline and fill), colour legends, markups, models. Only the corner texts
and controllers, which are Qt, are missing.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)
THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLVolumeRenderingDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)

_TRIAL = """
import vtk
window = vtk.vtkRenderWindow(); window.SetOffScreenRendering(1); window.SetSize(8, 8)
renderer = vtk.vtkRenderer(); renderer.SetBackground(1, 0, 0); window.AddRenderer(renderer)
window.Render()
picture = vtk.vtkUnsignedCharArray()
window.GetRGBACharPixelData(0, 0, 7, 7, 0, picture)
assert picture.GetValue(0) == 255
"""


@functools.cache
def why_not() -> str | None:
    """Return why nothing can be drawn, or None. Tried in a process of its own: it may crash."""
    tried = subprocess.run(
        [sys.executable, "-c", _TRIAL],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        timeout=120,
        env=dict(os.environ),
    )
    if tried.returncode == 0:
        return None
    last = (tried.stderr.strip().splitlines() or ["no message"])[-1]
    return f"VTK cannot draw offscreen (EGL or OSMesa needed): {last}"


class _Picture:
    """An offscreen window with one renderer."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.group: Any = None

    def _manage(self, factory: Any, names: tuple[str, ...], view_node: Any) -> None:
        factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        for name in names:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.Initialize(factory, self.renderer)
        self.group.SetMRMLDisplayableNode(view_node)

    def image(self) -> np.ndarray:
        """Draw and return the picture, shape (rows, columns, 3), uint8, first row on top."""
        _wake_legends()
        self.window.Render()
        width, height = self.window.GetSize()
        pixels = vtk.vtkUnsignedCharArray()
        self.window.GetPixelData(0, 0, width - 1, height - 1, 0, pixels, 0)
        return vtk_to_numpy(pixels).reshape(height, width, 3)[::-1].copy()

    def save(self, path: str | Path) -> Path:
        """Draw and write the picture as PNG."""
        return save_image(self.image(), path)

    def resize(self, width: int, height: int) -> None:
        """Change the size of the picture."""
        self.window.SetSize(width, height)

    def close(self) -> None:
        """Give the window back; a picture is of no use after that."""
        if self.group is not None:
            self.group.SetMRMLDisplayableNode(None)
        self.window.Finalize()


def save_image(image: np.ndarray, path: str | Path) -> Path:
    """Write a picture, first row on top, as PNG."""
    rows = np.ascontiguousarray(image[::-1])
    picture = vtk.vtkImageData()
    picture.SetDimensions(rows.shape[1], rows.shape[0], 1)
    picture.GetPointData().SetScalars(numpy_to_vtk(rows.reshape(-1, 3), deep=True))
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(picture)
    writer.Write()
    return Path(path)


def _wake_legends() -> None:
    """Legends look at the layers of a view only when their node is modified (cookbook, trap A)."""
    for node in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode"):
        node.Modified()


class SlicePicture(_Picture):
    """A slice view.

    Parameters
    ----------
    logic
        Slice logic of an existing view; without it the view ``name`` is made (or used again).
    name : str
        Layout name of the view.
    orientation : {"Axial", "Coronal", "Sagittal"}
        Orientation of a new view.
    size : (int, int)
        Width and height in pixels.
    """

    def __init__(
        self,
        logic: Any = None,
        *,
        name: str = "Picture",
        orientation: str = "Axial",
        size: tuple[int, int] = (400, 400),
    ) -> None:
        super().__init__(size)
        self.logic = logic or slice_logic(name, orientation)
        self.node = self.logic.GetSliceNode()
        self.layers = self.logic.GetSliceCompositeNode()
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self._manage(
            slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance(),
            SLICE_MANAGERS,
            self.node,
        )
        mapper = vtk.vtkImageMapper()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        mapper.SetInputConnection(self.logic.GetImageDataConnection())
        self._slice = vtk.vtkActor2D()
        self._slice.SetMapper(mapper)
        self._mapper = mapper
        # a layer of its own beneath: in one layer half-transparent fills do not let it through
        beneath = vtk.vtkRenderer()
        beneath.AddViewProp(self._slice)
        self.renderer.SetLayer(1)
        self.window.SetNumberOfLayers(2)
        self.window.AddRenderer(beneath)
        self.logic.ResizeSliceNode(*size)

    def resize(self, width: int, height: int) -> None:
        """Change the size of the picture; the field of view follows its shape."""
        super().resize(width, height)
        self.logic.ResizeSliceNode(width, height)

    def show(self, background: Any, foreground: Any = None, opacity: float = 1.0) -> None:
        """Put volumes into the layers of the view and fit it to the background."""
        self.layers.SetBackgroundVolumeID(background.GetID() if background else None)
        self.layers.SetForegroundVolumeID(foreground.GetID() if foreground else None)
        self.layers.SetForegroundOpacity(opacity)
        self.logic.FitSliceToBackground()
        self.wake_legend()

    def wake_legend(self) -> None:
        """Make the view create its legend actor (cookbook, trap B)."""
        flag = slicer.vtkMRMLSliceCompositeNode.ForegroundVolumeFlag
        linked = self.layers.GetLinkedControl()
        self.layers.SetLinkedControl(0)
        self.logic.StartSliceCompositeNodeInteraction(flag)
        self.layers.Modified()
        self.logic.EndSliceCompositeNodeInteraction()
        self.layers.SetLinkedControl(linked)

    def jump_to(self, right: float, anterior: float, superior: float) -> None:
        """Show the slice through a place in RAS millimetres."""
        self.node.JumpSliceByOffsetting(right, anterior, superior)

    def image(self) -> np.ndarray:
        """Draw and return the picture, shape (rows, columns, 3), uint8, first row on top."""
        self.logic.UpdatePipeline()
        self._mapper.SetInputConnection(self.logic.GetImageDataConnection())
        return super().image()

    def pixel(self, right: float, anterior: float, superior: float) -> tuple[int, int]:
        """Return (row, column) of the picture where a place in RAS millimetres is drawn."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), inverse)
        x, y, _, _ = inverse.MultiplyPoint((right, anterior, superior, 1.0))
        return self.window.GetSize()[1] - 1 - round(y), round(x)

    def colour(self, right: float, anterior: float, superior: float) -> tuple[int, int, int]:
        """Return the colour that is drawn at a place in RAS millimetres."""
        row, column = self.pixel(right, anterior, superior)
        return tuple(int(value) for value in self.image()[row, column])


def slice_logic(name: str, orientation: str = "Axial") -> Any:
    """Return the slice logic of a view, made when there is none.

    A slice node made in code has no orientation presets and would be mirrored (cookbook 10).
    """
    application = slicer.app.applicationLogic()
    known = application.GetSliceLogicByLayoutName(name)
    if known is not None:
        return known
    scene = slicer.mrmlScene
    node = scene.GetSingletonNode(name, "vtkMRMLSliceNode")
    if node is None:
        node = slicer.vtkMRMLSliceNode()
        node.SetLayoutName(name)
        node.SetName(name)
        node.SetSingletonTag(name)
        node = scene.AddNode(node)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        node.AddSliceOrientationPreset("Axial", _preset("Axial"))
        node.AddSliceOrientationPreset("Coronal", _preset("Coronal"))
        node.AddSliceOrientationPreset("Sagittal", _preset("Sagittal"))
        node.SetOrientation(orientation)
    known = application.GetSliceLogicByLayoutName(name)
    return known or attach_logic(node)


def attach_logic(node: Any) -> Any:
    """Give a slice node its logic, as the slice widgets of the desktop do."""
    application = slicer.app.applicationLogic()
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(application)
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetSliceNode(node)
    application.GetSliceLogics().AddItem(logic)
    return logic


def _preset(orientation: str) -> Any:
    matrix = vtk.vtkMatrix3x3()
    getattr(slicer.vtkMRMLSliceNode, f"Get{orientation}SliceToRASMatrix")(matrix)
    return matrix


class ThreeDPicture(_Picture):
    """A 3-D view.

    Parameters
    ----------
    view_node
        View node of an existing view; without it the view ``name`` is made (or used again).
    size : (int, int)
        Width and height in pixels.
    """

    def __init__(
        self, view_node: Any = None, *, name: str = "Picture3D", size: tuple[int, int] = (400, 400)
    ) -> None:
        super().__init__(size)
        self.node = view_node or self._make(name)
        self.renderer.SetBackground(*self.node.GetBackgroundColor())
        self._manage(
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(),
            THREE_D_MANAGERS,
            self.node,
        )
        self.node.SetBoxVisible(False)
        self.node.SetAxisLabelsVisible(False)

    @staticmethod
    def _make(name: str) -> Any:
        known = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLViewNode")
        if known is not None:
            return known
        node = slicer.vtkMRMLViewNode()
        node.SetLayoutName(name)
        node.SetName(name)
        node.SetSingletonTag(name)
        return slicer.mrmlScene.AddNode(node)

    def look_from(self, axis: str = "Anterior") -> None:
        """Look at all that is shown from ``Anterior``, ``Left``, ``Superior``, ..."""
        direction = {
            "Anterior": (0, 1, 0),
            "Posterior": (0, -1, 0),
            "Left": (-1, 0, 0),
            "Right": (1, 0, 0),
            "Superior": (0, 0, 1),
            "Inferior": (0, 0, -1),
        }[axis]
        camera = self.renderer.GetActiveCamera()
        camera.SetFocalPoint(0, 0, 0)
        camera.SetPosition(*(500 * part for part in direction))
        camera.SetViewUp(*((0, 1, 0) if direction[2] else (0, 0, 1)))
        self.renderer.ResetCamera()
        self.renderer.ResetCameraClippingRange()
