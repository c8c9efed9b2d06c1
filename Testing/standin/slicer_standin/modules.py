"""Modules of the application: C++ logics, and scripted modules loaded as the application does."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import shiboken6
import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .natives import Native
from .pythonqt import objects
from .widgets.core import SceneHolder, qSlicerWidget

_TITLES = {"Data": "Data", "SegmentEditor": "Segment Editor", "VolumeRendering": "Volume Rendering"}


class qSlicerAbstractCoreModule(Native, QtCore.QObject):
    """What every module has."""

    stored: ClassVar = {
        "acknowledgementText": "",
        "associatedNodeTypes": [],
        "categories": [],
        "contributors": [],
        "dependencies": [],
        "helpText": "",
        "hidden": False,
        "index": -1,
        "isBuiltIn": True,
        "isInstalled": True,
        "name": "",
        "path": "",
        "title": "",
        "widgetRepresentationCreationEnabled": True,
    }

    _logic: Any = None

    def logic(self) -> Any:
        return self._logic

    def set_up(self, name: str, title: str = "", logic: Any = None, path: str = "") -> None:
        """Name the module."""
        self.held("name")
        self._held.update(name=name, title=title or name, path=path)
        self._logic = logic


class qSlicerAbstractModule(qSlicerAbstractCoreModule):
    """A module with a panel."""

    def icon(self) -> QtGui.QIcon:
        return getattr(self, "_icon", QtGui.QIcon())

    def setIcon(self, icon: QtGui.QIcon) -> None:
        self._icon = icon


class qSlicerLoadableModule(qSlicerAbstractModule):
    """A C++ module: its logic is real, its panel is not stood in."""


class qSlicerScriptedLoadableModule(qSlicerLoadableModule):
    """A scripted module."""

    stored: ClassVar = {"extensions": {}}

    _panel: Any = None

    def widgetRepresentation(self) -> Any:
        """Return the panel; it is made, and set up, at the first call."""
        if self._panel is None and self._widget_class() is not None:
            self._panel = self.createNewWidgetRepresentation()
        return self._panel

    def createNewWidgetRepresentation(self) -> Any:
        panel = qSlicerScriptedLoadableModuleWidget()
        panel.module_of = self
        panel.setMRMLScene(slicer.mrmlScene)
        panel.reload()
        return panel

    def _widget_class(self) -> Any:
        name = self.held("name")
        return getattr(sys.modules[name], name + "Widget", None)


class qSlicerAbstractModuleWidget(qSlicerWidget):
    """Panel of a module."""

    _entered = False

    def isEntered(self) -> bool:
        return self._entered


class qSlicerScriptedLoadableModuleWidget(qSlicerAbstractModuleWidget):
    """Panel of a scripted module: holds the Python widget."""

    module_of: Any = None
    _python: Any = None

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        QtWidgets.QVBoxLayout(self)

    def self(self) -> Any:
        return self._python

    def module(self) -> Any:
        return self.module_of

    def moduleName(self) -> str:
        return self.module_of.held("name")

    def reload(self) -> None:
        """Make the Python widget and set it up; errors in setup leave a half panel."""
        name = self.moduleName()
        kind = self.module_of._widget_class()
        self._python = kind(objects.wrap(self))
        setattr(slicer.modules, name + "Widget", self._python)
        try:
            self._python.setup()
        except Exception:
            sys.excepthook(*sys.exc_info())

    def enter(self) -> None:
        self._entered = True
        self._call("enter")

    def exit(self) -> None:
        self._entered = False
        self._call("exit")

    def _call(self, method: str) -> None:
        if hasattr(self._python, method):
            try:
                getattr(self._python, method)()
            except Exception:
                sys.excepthook(*sys.exc_info())


class qSlicerAbstractModuleFactoryManager(Native, QtCore.QObject):
    """Base of the module factory manager."""

    stored: ClassVar = {"modulesToIgnore": [], "searchPaths": []}


class qSlicerModuleFactoryManager(SceneHolder, qSlicerAbstractModuleFactoryManager):
    """Knows the loaded modules."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.loaded: dict[str, Any] = {}

    def loadedModuleNames(self) -> list[str]:
        return list(self.loaded)

    registeredModuleNames = instantiatedModuleNames = loadedModuleNames

    def isLoaded(self, name: str) -> bool:
        return name in self.loaded

    isRegistered = isInstantiated = isLoaded

    def loadedModule(self, name: str) -> Any:
        return self.loaded.get(name)


class qSlicerModuleManager(Native, QtCore.QObject):
    """``slicer.app.moduleManager()``."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._factory = qSlicerModuleFactoryManager(self)

    def factoryManager(self) -> Any:
        return self._factory

    def module(self, name: str) -> Any:
        return self._factory.loaded.get(name)

    def modulesNames(self) -> list[str]:
        return list(self._factory.loaded)

    def add(self, name: str, module: Any) -> None:
        """Register a loaded module."""
        self._factory.loaded[name] = module
        setattr(slicer.modules, name.lower(), objects.wrap(module))
        setattr(slicer.moduleNames, name, name)

    def remove(self, name: str) -> None:
        """Forget a module that a test had loaded."""
        self._factory.loaded.pop(name, None)
        for attribute in (name.lower(), name + "Widget", name + "Instance"):
            slicer.modules.__dict__.pop(attribute, None)
        slicer.moduleNames.__dict__.pop(name, None)

    def show(self, name: str) -> None:
        """Enter a module's panel."""
        panel = self.module(name).widgetRepresentation() if self._has_panel(name) else None
        if panel is not None:
            panel.enter()

    def leave(self, name: str) -> None:
        """Leave a module's panel."""
        panel = self.module(name).widgetRepresentation() if self._has_panel(name) else None
        if panel is not None:
            panel.exit()

    def _has_panel(self, name: str) -> bool:
        return isinstance(self.module(name), qSlicerScriptedLoadableModule)


def add_cpp_modules(manager: qSlicerModuleManager, logics: dict[str, Any]) -> None:
    """Register the C++ modules whose logic slicer-core has."""
    for name, logic in logics.items():
        if not name.startswith("_"):
            module = qSlicerLoadableModule(manager)
            module.set_up(name, _TITLES.get(name, name), logic)
            manager.add(name, module)
    samples = qSlicerLoadableModule(manager)
    samples.set_up("SampleData", "Sample Data")
    manager.add("SampleData", samples)


def load_module(path: str | Path) -> types.ModuleType:
    """Load a scripted module file as the application does at its start.

    The folder is put on ``sys.path``, the file is run as module ``<Name>``, and ``<Name>(parent)``
    is made. The panel is made later, by ``slicer.util.getModuleWidget`` or ``selectModule``.

    Raises
    ------
    RuntimeError
        When the file has no class of its own name: the application would report a failed module.
    """
    path = Path(path).resolve()
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise RuntimeError(f"{path.name} has no class {name}: the application refuses it")
    manager = slicer.app._native.moduleManager()
    native = qSlicerScriptedLoadableModule(manager)
    native.set_up(name, name, slicer.vtkSlicerScriptedLoadableModuleLogic(), str(path))
    for extension in (".png", ".svg"):
        icon = path.parent / "Resources" / "Icons" / (name + extension)
        if icon.exists():
            native.setIcon(QtGui.QIcon(str(icon)))
    instance = getattr(module, name)(objects.wrap(native))
    manager.add(name, native)
    setattr(slicer.modules, name + "Instance", instance)
    return module


def unload_module(name: str) -> None:
    """Clean up a scripted module and forget it, as at the end of the application."""
    manager = slicer.app._native.moduleManager()
    module = manager.module(name)
    if module is None:
        return
    if module._panel is not None:
        if module._panel.isEntered():
            module._panel.exit()
        module._panel._call("cleanup")
        shiboken6.delete(module._panel)
        module._panel = None
    manager.remove(name)
    sys.modules.pop(name, None)
