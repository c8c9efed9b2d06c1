"""The MRML scene with the application and module logics of the desktop, on slicer-core.

Everything here is the real C++ of Slicer; only the wiring that the application does at its start
is repeated. The order of the nodes is the desktop's: the selection node comes first
(probe ``util.getFirstNodeByClassByName``).
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer
import vtk

MODULE_LOGICS = {
    "Volumes": "vtkSlicerVolumesLogic",
    "Models": "vtkSlicerModelsLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SegmentEditor": "vtkSlicerSegmentEditorLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "Data": "vtkSlicerDataModuleLogic",
}
"""Loadable modules that slicer-core has the logic of, in an order that satisfies their needs."""


@dataclass
class MrmlApplication:
    """The scene and the logics that work on it."""

    scene: Any
    logic: Any
    home: Path
    modules: dict[str, Any] = field(default_factory=dict)


def start() -> MrmlApplication:
    """Make the scene, the application logic and the module logics."""
    window = vtk.vtkOutputWindow()
    window.SetDisplayModeToAlwaysStdErr()
    vtk.vtkOutputWindow.SetInstance(window)

    home = Path(tempfile.mkdtemp(prefix="slicer-standin-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    _write_generic_colors(home / "share" / "ColorFiles")
    _write_interpreter(home / "bin")

    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    logic.SetHomeDirectory(str(home))
    logic.SetShareDirectory("share")
    logic.SetTemporaryPath(str(home))
    started = MrmlApplication(scene, logic, home)

    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)

    _start_file_access(started)
    _start_colors(started)
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(logic)
    slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(logic)
    for name, class_name in MODULE_LOGICS.items():
        started.modules[name] = _start_logic(started, name, class_name)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    return started


def _start_logic(started: MrmlApplication, name: str, class_name: str) -> Any:
    logic = getattr(slicer, class_name)()
    if hasattr(logic, "SetModuleShareDirectory"):
        share = started.home / "share" / name
        share.mkdir(parents=True, exist_ok=True)
        logic.SetModuleShareDirectory(str(share))
    logic.SetMRMLApplicationLogic(started.logic)
    if name == "Terminologies":
        with _quiet_vtk():
            logic.SetMRMLScene(started.scene)
    else:
        logic.SetMRMLScene(started.scene)
    started.logic.SetModuleLogic(name, logic)
    return logic


class _quiet_vtk:
    """Terminologies come with the desktop's share folder, which slicer-core does not have."""

    def __enter__(self) -> None:
        vtk.vtkObject.GlobalWarningDisplayOff()

    def __exit__(self, *problem: object) -> None:
        vtk.vtkObject.GlobalWarningDisplayOn()


def _start_colors(started: MrmlApplication) -> None:
    colors = slicer.vtkSlicerColorLogic()
    colors.SetMRMLApplicationLogic(started.logic)
    colors.SetMRMLScene(started.scene)
    started.logic.SetColorLogic(colors)
    started.logic.SetModuleLogic("Colors", colors)
    started.modules["Colors"] = colors


def _start_file_access(started: MrmlApplication) -> None:
    """Give the scene a cache and a data manager: reading an .mrb needs them."""
    cache = slicer.vtkCacheManager()
    folder = started.home / "cache"
    folder.mkdir()
    cache.SetRemoteCacheDirectory(str(folder))
    manager = slicer.vtkDataIOManager()
    manager.SetCacheManager(cache)
    logic = slicer.vtkDataIOManagerLogic()
    logic.SetMRMLScene(started.scene)
    logic.SetMRMLApplicationLogic(started.logic)
    logic.SetAndObserveDataIOManager(manager)
    started.scene.SetCacheManager(cache)
    started.scene.SetDataIOManager(manager)
    started.modules["_DataIO"] = logic


def _write_interpreter(folder: Path) -> None:
    """Put an executable in the place of ``PythonSlicer``: modules start helpers with it."""
    folder.mkdir(parents=True)
    if os.name == "posix":
        script = folder / "PythonSlicer"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
        script.chmod(0o755)


def _write_generic_colors(folder: Path) -> None:
    """Write a table in the place of the desktop's default label colours."""
    folder.mkdir(parents=True)
    rows = ["# Color table file", "0 background 0 0 0 0"]
    rows += [
        f"{label} label_{label} {37 * label % 200 + 55} {91 * label % 200 + 55} "
        f"{151 * label % 200 + 55} 255"
        for label in range(1, 256)
    ]
    (folder / "GenericColors.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
