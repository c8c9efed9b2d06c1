"""Application, main window, module panel and the plain MRML widgets."""

from __future__ import annotations

import functools
import tempfile
import weakref
from pathlib import Path
from typing import Any, ClassVar

import shiboken6
import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from ..files import qSlicerIOManager
from ..natives import Native


class SceneHolder(Native):
    """Mixin of widgets with ``setMRMLScene``; observers end with the widget."""

    _scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        self._stop_watching()
        self._scene = scene
        if scene is not None:
            self._start_watching(scene)
        self.scene_set(scene)
        self.emit("mrmlSceneChanged(vtkMRMLScene*)", scene)

    def scene_set(self, scene: Any) -> None:
        """React to a new scene."""

    def scene_events(self) -> dict[int, Any]:
        """Return the methods to call at scene events."""
        return {}

    def _start_watching(self, scene: Any) -> None:
        me = weakref.ref(self)
        self._tags = [
            scene.AddObserver(event, _relay(me, method))
            for event, method in self.scene_events().items()
        ]
        weakref.finalize(self, _forget, scene, self._tags)
        self.destroyed.connect(functools.partial(_forget, scene, self._tags))

    def _stop_watching(self) -> None:
        if self._scene is not None:
            _forget(self._scene, self._tags)


def _relay(me: weakref.ref[Any], method: str) -> Any:
    """Return an observer that hands the node of a scene event to a living widget."""

    def react(caller: Any, event: str, node: Any = None) -> None:
        widget = me()
        if widget is not None and shiboken6.isValid(widget):
            getattr(widget, method)(node)

    react.CallDataType = vtk.VTK_OBJECT
    return react


def _forget(scene: Any, tags: list[int], *_: Any) -> None:
    while tags:
        scene.RemoveObserver(tags.pop())


class qMRMLWidget(SceneHolder, QtWidgets.QWidget):
    """Root of most module panels."""


class qSlicerWidget(SceneHolder, QtWidgets.QWidget):
    """Base of the widgets of modules."""


class qSlicerCoreApplication(Native, QtWidgets.QApplication):
    """Paths, scene and managers of the application (probes ``app.*``)."""

    stored: ClassVar = {
        "applicationLocaleName": "en_US",
        "arch": "linux-amd64",
        "cachePath": tempfile.gettempdir(),
        "defaultScenePath": tempfile.gettempdir(),
        "documentationBaseUrl": "https://slicer.readthedocs.io",
        "documentationLanguage": "en",
        "documentationVersion": "5.12",
        "extensionsInstallPath": "",
        "intDir": "",
        "isInstalled": True,
        "launcherExecutableFilePath": "",
        "majorVersion": 5,
        "minorVersion": 12,
        "os": "linux",
        "platform": "linux-amd64",
        "releaseType": "Stable",
        "repositoryRevision": "",
        "revision": "0",
        "slicerHome": "",
        "slicerSharePath": "share",
        "startupWorkingPath": "",
        "temporaryPath": tempfile.gettempdir(),
    }

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self.setApplicationName("Slicer")
        self.setApplicationVersion("5.12.3")
        self.setOrganizationName("SlicerStandIn")
        self._testing = False
        self._pauses = 0
        self._attributes: dict[int, bool] = {}

    def mrmlScene(self) -> Any:
        return self.mrml.scene

    def applicationLogic(self) -> Any:
        return self.mrml.logic

    def moduleLogic(self, name: str) -> Any:
        return self.mrml.modules.get(name)

    def coreIOManager(self) -> Any:
        return self._io_manager

    ioManager = coreIOManager

    def moduleManager(self) -> Any:
        return self._module_manager

    def testingEnabled(self) -> bool:
        return self._testing

    def userSettings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    revisionUserSettings = userSettings

    def settings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    def pauseRender(self) -> None:
        self.setRenderPaused(True)

    def resumeRender(self) -> None:
        self.setRenderPaused(False)

    def setRenderPaused(self, pause: bool) -> None:
        self._pauses += 1 if pause else -1

    def toSlicerHomeAbsolutePath(self, path: str) -> str:
        return str(Path(self.held("slicerHome")) / path)

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    environment = startupEnvironment

    def openNodeModule(self, node: Any, *rest: Any) -> None:
        """Nothing to show: no module of the application has a panel here."""


class qSlicerCommandOptions(Native, QtCore.QObject):
    """Options of the command line; ``noMainWindow`` is told by the main window."""

    stored: ClassVar = {
        "additionalModulePaths": [],
        "disableMessageHandlers": False,
        "extraPythonScript": "",
        "ignoreSlicerRC": True,
        "modulesToIgnore": [],
        "noSplash": True,
        "pythonCode": "",
        "pythonScript": "",
        "runPythonAndExit": False,
        "testingEnabled": False,
    }

    def noMainWindow(self) -> bool:
        return slicer.util.mainWindow() is None


class qSlicerApplication(qSlicerCoreApplication):
    """``slicer.app``."""

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self._layout_manager = None
        self._options = qSlicerCommandOptions(self)
        self.exit_code: int | None = None
        self._io_manager = qSlicerIOManager(self)

    def layoutManager(self) -> Any:
        return self._layout_manager

    def setLayoutManager(self, manager: Any) -> None:
        self._layout_manager = manager

    def commandOptions(self) -> Any:
        return self._options

    def settle_exit(self, code: int) -> None:
        """Note the exit code: the code after ``exit`` still runs, the last call wins (cookbook)."""
        self.exit_code = code


class qSlicerMainWindow(Native, QtWidgets.QMainWindow):
    """Main window with status bar and module panel."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName("qSlicerMainWindow")
        self.statusBar()
        self._selector = qSlicerModuleSelectorToolBar(self)

    def moduleSelector(self) -> Any:
        return self._selector


class qSlicerAppMainWindow(qSlicerMainWindow):
    """The main window of the Slicer application."""


class qSlicerModuleSelectorToolBar(Native, QtWidgets.QToolBar):
    """Selects modules: the old one is left, the new one is shown and entered."""

    stored: ClassVar = {"selectedModule": ""}

    def selectModule(self, name: str) -> None:
        manager = slicer.app._native.moduleManager()
        current = self.held("selectedModule")
        if name == current or manager.module(name) is None:
            return
        manager.leave(current)
        self._held["selectedModule"] = name
        manager.show(name)
        self.emit("moduleSelected(QString)", name)
