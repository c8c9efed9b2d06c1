"""Test fixture: the desktop with an empty scene. Errors that the desktop would only print fail.

In a ``conftest.py``::

    sys.path.insert(0, ".../Testing/standin")
    from slicer_standin.fixtures import desktop
"""

from __future__ import annotations

import contextlib
import sys
import traceback
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import load_module, process_events, reset, start, testing


class Desktop:
    """What a user and the application do with modules, for tests.

    Attributes
    ----------
    errors : list of str
        Exceptions raised in slots, observers and panel hooks. Test what you expect of them and
        clear the list: what is left fails the test at its end.
    """

    def __init__(self) -> None:
        start()
        self.errors: list[str] = []
        self._loaded: list[str] = []

    def load(self, *paths: str | Path) -> types.ModuleType:
        """Load scripted module files as at the start of the application; return the last.

        All folders are on ``sys.path`` before a file is run. Afterwards ``startupCompleted()`` is
        emitted, once, to those who connected meanwhile.
        """
        import slicer

        for path in paths:
            folder = str(Path(path).resolve().parent)
            if folder not in sys.path:
                sys.path.insert(0, folder)
        for path in paths:
            module = load_module(path)
            self._loaded.append(Path(path).stem)
        slicer.app._native.emit("startupCompleted()")
        slicer.app.disconnect("startupCompleted()")
        return module

    def select(self, name: str) -> Any:
        """Choose a module in the module selector; return its Python widget."""
        import slicer

        slicer.util.selectModule(name)
        return slicer.util.getModuleWidget(name)

    def widget(self, name: str) -> Any:
        """Return the Python widget of a module, made when needed, without entering it."""
        import slicer

        return slicer.util.getModuleWidget(name)

    def reload(self, name: str) -> Any:
        """Press the Reload button of a module; return the new widget."""
        import slicer

        slicer.util.getModuleWidget(name).onReload()
        return slicer.util.getModuleWidget(name)

    def close_scene(self) -> None:
        """Choose File, Close scene."""
        import slicer

        slicer.mrmlScene.Clear(0)
        process_events()

    def save_and_load_scene(self, path: str | Path) -> None:
        """Save the scene as .mrb, close it and load it again."""
        import slicer

        assert slicer.util.saveScene(str(path))
        self.close_scene()
        assert slicer.util.loadScene(str(path)) is not False
        process_events()

    def wait(self, until: Any, seconds: float = 30.0) -> None:
        """Let events run until ``until()`` is true."""
        import time

        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, "the awaited state was not reached"
            process_events()
            time.sleep(0.005)

    def rest(self, seconds: float) -> None:
        """Let events run for a while."""
        import time

        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end, 2 * seconds + 1)

    @contextlib.contextmanager
    def without_main_window(self) -> Iterator[None]:
        """Behave as after ``--no-main-window``: no main window, no layout manager."""
        import slicer

        native = slicer.app._native
        manager, name = native.layoutManager(), native.main_window.objectName()
        native.setLayoutManager(None)
        native.main_window.setObjectName("")
        try:
            yield
        finally:
            native.setLayoutManager(manager)
            native.main_window.setObjectName(name)

    @property
    def exit_code(self) -> int | None:
        """Code of the last ``slicer.util.exit``, or None."""
        import slicer

        return slicer.app._native.exit_code

    @property
    def requested_packages(self) -> list[str]:
        """Requirements that ``pip_ensure`` would have installed."""
        from . import packages

        return packages.recorded

    def quit(self) -> None:
        """End: leave and clean up all modules that the test loaded."""
        from . import modules

        for name in reversed(self._loaded):
            modules.unload_module(name)
        self._loaded.clear()
        import slicer

        selector = slicer.app._native.main_window._selector
        selector.held("selectedModule")
        selector._held["selectedModule"] = ""
        reset()
        process_events(2)


@pytest.fixture
def desktop() -> Iterator[Desktop]:
    """Give the desktop with an empty scene; afterwards modules are cleaned up."""
    found = Desktop()
    reset()
    testing(True)
    hook = sys.excepthook

    def note(kind: type[BaseException], problem: BaseException, trace: Any) -> None:
        found.errors.append("".join(traceback.format_exception(kind, problem, trace)))

    sys.excepthook = note
    try:
        yield found
        found.quit()
    finally:
        sys.excepthook = hook
        testing(False)
    if found.errors:
        pytest.fail("errors that the desktop only prints:\n" + "\n".join(found.errors))
