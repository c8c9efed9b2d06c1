"""The audit trail, a text node of the scene."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lungperfusion.errors import InputError


def read_trail(node: Any) -> list[dict[str, Any]]:
    """Entries of an audit trail; none for a new node.

    Raises
    ------
    InputError
        If the node holds something else.

    """
    text = node.GetText() if node is not None else ""
    if not text:
        return []
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"the text {node.GetName()} holds no audit trail: {error}") from error
    return list(entries)


def add_to_trail(node: Any, entry: Mapping[str, Any], *, at: datetime | None = None) -> None:
    """Append an entry, with the time of day, to the text node that the scene keeps."""
    time = (at or datetime.now().astimezone()).isoformat(timespec="seconds")
    entries = [*read_trail(node), {"time": time, **entry}]
    node.SetText(json.dumps(entries, indent=1, ensure_ascii=False))


def drop_last_of_trail(node: Any) -> None:
    """Take the newest entry away, for one that replaces it."""
    node.SetText(json.dumps(read_trail(node)[:-1], indent=1, ensure_ascii=False))
