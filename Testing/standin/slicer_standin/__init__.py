"""The Slicer desktop, as far as tests of scripted modules need it.

``start()`` makes ``import slicer, qt, ctk`` behave as in Slicer 5.12.3: real MRML and logic of
slicer-core, Qt widgets with PythonQt's manners, Slicer's Python layer. What the desktop lacks
raises AttributeError; what it has and the stand-in has not raises :class:`Absent`. How far it
agrees with the desktop is measured by replaying recorded behaviour, see ``Testing/contract``.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.abc
import importlib.machinery
import logging
import os
import shutil
import sys
import tempfile
import types
from typing import Any

from .inventory import Absent

__all__ = ["Absent", "be_strict", "load_module", "process_events", "reset", "start", "testing"]


def start() -> Any:
    """Start the stand-in (once per process) and return ``slicer.app``."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    import slicer

    if getattr(slicer, "app", None) is not None:
        return slicer.app
    import slicer.util

    from . import scene
    from .pythonqt import namespaces, objects

    _keep_settings_apart()
    _hide_spread_names(slicer)
    sys.modules["qt"] = namespaces.QtNamespace("qt")
    sys.modules["ctk"] = namespaces.CtkNamespace("ctk")
    mrml = scene.start()
    slicer.mrmlScene = mrml.scene
    from . import modules, subject_hierarchy
    from .widgets import core, views

    native = core.qSlicerApplication(["Slicer"])
    native.mrml = mrml
    native.held("slicerHome")
    native._held["slicerHome"] = str(mrml.home)
    native._io_manager.logics = mrml.modules
    native._module_manager = modules.qSlicerModuleManager(native)
    slicer.app = objects.wrap(native)
    for name, kind in namespaces.slicer_classes().items():
        setattr(slicer, name, kind)
    slicer.modules, slicer.moduleNames = (
        types.ModuleType("modules"),
        types.ModuleType("moduleNames"),
    )
    sys.modules["slicer.modules"], sys.modules["slicer.moduleNames"] = (
        slicer.modules,
        slicer.moduleNames,
    )
    slicer.modules.sampleDataSources = {"BuiltIn": []}
    slicer.selfTests = {}
    slicer.dicomDatabase = None
    _install_python_layer(slicer)
    modules.add_cpp_modules(native._module_manager, mrml.modules)
    native.subject_hierarchy_items = subject_hierarchy.Items(mrml.scene)
    native.main_window = core.qSlicerAppMainWindow()
    manager = views.qSlicerLayoutManager(native)
    native.setLayoutManager(manager)
    manager.setMRMLScene(mrml.scene)
    native.first_nodes = {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")}
    logging.getLogger().setLevel(logging.INFO)
    return slicer.app


def _keep_settings_apart() -> None:
    """Settings go to a folder of this process, never to those of the user."""
    from PySide6 import QtCore

    folder = tempfile.mkdtemp(prefix="slicer-settings-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
    for form in (QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Format.NativeFormat):
        QtCore.QSettings.setPath(form, QtCore.QSettings.Scope.UserScope, folder)


def _hide_spread_names(slicer: Any) -> None:
    """Take names of slicer.util off ``slicer``: the desktop does not spread them.

    Functions of slicer.util that are newer than 5.12.3 go too (probe ``util.names_not_on_slicer``).
    """
    from . import inventory

    util = slicer.util
    for name in [name for name in vars(util) if not name.startswith("__") and name != "util"]:
        if vars(slicer).get(name) is vars(util)[name]:
            delattr(slicer, name)
    known = inventory.python_layer("slicer.util")
    for name in ("LazyImport",):
        if name not in known["classes"] and hasattr(util, name):
            delattr(util, name)


def _install_python_layer(slicer: Any) -> None:
    for name, source in {
        "slicer.i18n": "i18n",
        "slicer.ScriptedLoadableModule": "scripted",
        "slicer.parameterNodeWrapper": "parameter_nodes",
        "SampleData": "sample_data",
        "ScreenCapture": "screen_capture",
    }.items():
        module = importlib.import_module(f"{__name__}.{source}")
        sys.modules[name] = module
        if name.startswith("slicer."):
            setattr(slicer, name.split(".")[1], module)
    sys.meta_path.insert(0, _OnImport())


class _OnImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """``slicer.packaging`` is no attribute of ``slicer`` before it is imported (cookbook 7)."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "slicer.packaging":
            return None
        return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec: Any) -> types.ModuleType:
        return importlib.import_module(f"{__name__}.packages")

    def exec_module(self, module: types.ModuleType) -> None:
        """The module was run when it was made."""


def testing(on: bool) -> None:
    """Switch the application's testing mode."""
    import slicer

    slicer.app._native._testing = bool(on)


def be_strict(on: bool) -> None:
    """Raise where the desktop silently goes on: unknown signals, unknown names in .ui files.

    On by default. The contract is replayed with it off: then the desktop's behaviour is shown.
    """
    from .pythonqt import designer, signals

    signals.strict = designer.strict = bool(on)


def process_events(times: int = 1) -> None:
    """Let Qt work off its events."""
    import slicer

    for _ in range(times):
        slicer.app.processEvents()


def load_module(path: Any) -> types.ModuleType:
    """Load a scripted module file as the application does at its start."""
    start()
    from . import modules

    return modules.load_module(path)


def reset() -> None:
    """Empty the scene and go back to the state after the start, also of singleton nodes."""
    import slicer

    from . import packages

    scene = slicer.mrmlScene
    scene.Clear(0)
    first = slicer.app._native.first_nodes
    for node in slicer.util.getNodesByClass("vtkMRMLNode"):
        if node.GetSingletonTag() and node.GetID() not in first:
            scene.RemoveNode(node)
    logics = slicer.app.applicationLogic().GetSliceLogics()
    for logic in list(logics):
        if logic.GetSliceNode() is None or logic.GetSliceNode().GetScene() is None:
            logics.RemoveItem(logic)
    packages.recorded.clear()
    slicer.app._native.exit_code = None
    testing(False)
