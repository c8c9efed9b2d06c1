"""Where PythonQt (Qt 5.15) and PySide6 (Qt 6) do not show the same methods."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .. import dialogs

HIDDEN = {("QColor", "getRgbF"), ("QColor", "getRgb"), ("QObject", "receivers"), ("QObject", "tr")}
"""Methods of PySide6 that PythonQt does not wrap."""


NO_PROPERTIES = {("QLayout", "contentsMargins")}
"""Properties of Qt 6 that are methods in Qt 5."""


def _bytes(array: QtCore.QByteArray) -> bytes:
    return bytes(array.data())


def _value(settings: QtCore.QSettings, key: str, default: Any = None) -> Any:
    return settings.value(key, default)


def _dialog_exec(native: QtWidgets.QDialog) -> int:
    return dialogs.run(native)


def _single_shot(milliseconds: int, slot: Any) -> None:
    dialogs.will_close(slot)
    QtCore.QTimer.singleShot(milliseconds, slot)


def _exit(native: Any, code: int = 0) -> None:
    settle = getattr(native, "settle_exit", None)
    if settle is None:
        QtCore.QCoreApplication.exit(code)
    else:
        settle(code)


METHODS: dict[tuple[str, str], Any] = {
    ("QByteArray", "data"): _bytes,
    ("QSettings", "value"): _value,
    ("QDialog", "exec_"): _dialog_exec,
    ("QDialog", "exec"): _dialog_exec,
    ("QCoreApplication", "exit"): _exit,
    ("QCoreApplication", "quit"): _exit,
    ("QMenu", "exec_"): _dialog_exec,
    ("QMenu", "exec"): _dialog_exec,
    ("QTimer", "singleShot"): lambda native, *rest: _single_shot(*rest),
}
"""Methods with a behaviour of their own, by (Qt class, name)."""

STATIC: dict[tuple[str, str], Any] = {("QTimer", "singleShot"): _single_shot}
for _class, _names in {
    "QFileDialog": (
        "getOpenFileName",
        "getOpenFileNames",
        "getSaveFileName",
        "getExistingDirectory",
        "getOpenFileUrl",
    ),
    "QMessageBox": ("information", "question", "warning", "critical", "about"),
    "QInputDialog": ("getText", "getInt", "getDouble", "getItem"),
    "QColorDialog": ("getColor",),
}.items():
    for _name in _names:
        STATIC[_class, _name] = dialogs.static(_class, _name)
        METHODS[_class, _name] = lambda native, *rest, _run=STATIC[_class, _name]: _run(*rest)


def _button_box(*arguments: Any) -> QtWidgets.QDialogButtonBox:
    """OR-ed buttons are a plain integer, for which PythonQt picks the orientation overload."""
    if arguments and type(arguments[0]) is int:
        return QtWidgets.QDialogButtonBox(QtCore.Qt.Orientation.Horizontal)
    return QtWidgets.QDialogButtonBox(*arguments)


def _action(*arguments: Any) -> QtGui.QAction:
    return QtGui.QAction(*[value for value in arguments if value is not None])


CONSTRUCTORS: dict[str, Any] = {"QDialogButtonBox": _button_box, "QAction": _action}
"""Constructors with a behaviour of their own, by class name."""
