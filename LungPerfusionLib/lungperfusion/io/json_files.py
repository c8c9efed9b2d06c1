"""JSON files as people and programs leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lungperfusion.errors import InputError
from lungperfusion.naming import named

MAX_BYTES = 64 * 2**20
"""Markups, scores and models are far smaller."""

LONGEST_SHOWN = 60


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path
        File in UTF-8, with or without a mark.
    what
        What is expected of it, for messages, such as ``"a Slicer markups file"``.

    Raises
    ------
    InputError
        If it is missing, too large, no text or no JSON.

    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {named(path.name)}; expected {what}")
    try:
        if path.stat().st_size <= MAX_BYTES:
            return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{named(path.name)} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{named(path.name)} is no text in UTF-8; expected {what}") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{named(path.name)} is no valid JSON (line {error.lineno}: {error.msg}); "
            f"expected {what}"
        ) from error
    except (RecursionError, ValueError) as error:
        raise InputError(
            f"{named(path.name)} is JSON nested or written as no program does; expected {what}"
        ) from error
    raise InputError(f"{named(path.name)} is too large for {what}; name the right file")


def shown(value: object) -> str:
    """Quote a value of a file, as far as a sentence bears it."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
