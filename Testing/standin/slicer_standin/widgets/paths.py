"""CTK widgets for paths (probes ``ctk.path.*``, ``ctk.dirbutton``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from PySide6 import QtCore, QtWidgets

from ..natives import Native
from .drawing import Drawn

_FILTER = {
    "Dirs": 0x001,
    "Files": 0x002,
    "Drives": 0x004,
    "NoSymLinks": 0x008,
    "AllEntries": 0x007,
    "TypeMask": 0x00F,
    "Readable": 0x010,
    "Writable": 0x020,
    "Executable": 0x040,
    "PermissionMask": 0x070,
    "Modified": 0x080,
    "Hidden": 0x100,
    "System": 0x200,
    "AccessMask": 0x3F0,
    "AllDirs": 0x400,
    "CaseSensitive": 0x800,
    "NoDot": 0x2000,
    "NoDotDot": 0x4000,
    "NoDotAndDotDot": 0x6000,
    "NoFilter": -1,
}


class ctkPathLineEdit(Drawn, Native, QtWidgets.QWidget):
    """Line edit with history and browse button; a path may not exist."""

    enum_values: ClassVar = _FILTER
    stored: ClassVar = {
        "filters": 0x6057,
        "label": "",
        "minimumContentsLength": 0,
        "nameFilters": [],
        "options": 0,
        "showBrowseButton": True,
        "showHistoryButton": True,
        "sizeAdjustPolicy": 0,
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._path, self._key, self._valid = "", "", False
        self._combo = QtWidgets.QComboBox(self)
        self._combo.hide()

    def drawn_text(self) -> str:
        return self._path

    def currentPath(self) -> str:
        return self._path

    def setCurrentPath(self, path: str) -> None:
        if path == self._path:
            return
        self._path = path
        if path:
            self.emit("currentPathChanged(QString)", path)
        valid = bool(path) and Path(path).exists()
        if valid != self._valid:
            self._valid = valid
            self.emit("validInputChanged(bool)", valid)

    def settingKey(self) -> str:
        return self._key

    def setSettingKey(self, key: str) -> None:
        self._key = key
        self.retrieveHistory()

    def _history(self) -> list[str]:
        if not self._key:
            return []
        found = QtCore.QSettings().value(self._key)
        return [found] if isinstance(found, str) else list(found or [])

    def retrieveHistory(self) -> None:
        history = self._history()
        if history:
            self.setCurrentPath(history[0])

    def addCurrentPathToHistory(self) -> None:
        if self._key and self._path:
            history = [self._path, *(path for path in self._history() if path != self._path)]
            QtCore.QSettings().setValue(self._key, history)

    def comboBox(self) -> QtWidgets.QComboBox:
        return self._combo


class ctkDirectoryButton(Drawn, Native, QtWidgets.QWidget):
    """Button that shows a folder."""

    stored: ClassVar = {"acceptMode": 0, "caption": "", "elideMode": 3, "options": 1, "text": ""}

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._directory = str(Path.cwd())

    def drawn_text(self) -> str:
        return self._directory

    def directory(self) -> str:
        return self._directory

    def setDirectory(self, directory: str) -> None:
        directory = str(Path(directory).absolute())
        self.emit("directorySelected(QString)", directory)
        if directory != self._directory:
            self._directory = directory
            self.emit("directoryChanged(QString)", directory)
