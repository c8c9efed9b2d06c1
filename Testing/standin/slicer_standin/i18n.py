"""``slicer.i18n`` without translations (probes ``i18n.*``)."""

from __future__ import annotations

from pathlib import Path


def getContext(sourceFile: str) -> str:
    """Return the translation context of a file."""
    return Path(sourceFile).stem


def tr(text: str) -> str:
    """Return the text itself; anything else than text is refused."""
    if not isinstance(text, str):
        raise TypeError(f"expected string or bytes-like object, got '{type(text).__name__}'")
    return text


def translate(context: str, text: str) -> str:
    """Return the text itself."""
    return tr(text)
