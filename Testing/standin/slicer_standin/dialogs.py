"""Dialogs that would wait for the user: in tests they raise, or are answered by the test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


class WaitsForUser(RuntimeError):
    """A modal dialog was opened that nobody answers."""


_answers: list[Callable[[str, Any], Any]] = []


@contextlib.contextmanager
def answered(answer: Callable[[str, Any], Any]) -> Iterator[None]:
    """Answer dialogs inside the ``with`` block.

    ``answer(kind, dialog)`` gets the class name (``"QMessageBox"``) or the static function
    (``"QFileDialog.getOpenFileName"``) and the dialog or the arguments, and returns the result.
    """
    _answers.append(answer)
    try:
        yield
    finally:
        _answers.remove(answer)


_closing: set[int] = set()


def will_close(slot: Any) -> None:
    """Note a timer that closes a dialog, as ``slicer.util.delayDisplay`` sets one."""
    if getattr(slot, "__name__", "") in ("close", "accept", "reject"):
        wrapper = getattr(slot, "_wrapper", None)
        _closing.add(id(getattr(wrapper, "_native", None)))


def run(dialog: Any) -> Any:
    """Stand for ``exec_()`` of a dialog or menu."""
    if id(dialog) in _closing:
        _closing.discard(id(dialog))
        return 0
    name = getattr(dialog, "inventory_name", "") or type(dialog).__name__
    return _ask(name, dialog)


def static(class_name: str, method: str) -> Callable[..., Any]:
    """Return the stand-in of a static dialog function."""

    def ask(*arguments: Any) -> Any:
        return _ask(f"{class_name}.{method}", arguments)

    return ask


def _ask(kind: str, dialog: Any) -> Any:
    if not _answers:
        text = dialog.text() if hasattr(dialog, "text") else dialog
        raise WaitsForUser(f"{kind} waits for the user: {text}")
    return _answers[-1](kind, dialog)
