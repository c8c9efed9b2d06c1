"""Names that may identify a patient, marked where they stand in a sentence.

File and folder names, series UIDs and what headers and other programs say belong on the screen of
the user, who has to find the file, but into no result.  So they are marked as they are put into a
sentence, between the characters that Unicode has for a text of another origin (first strong
isolate, pop directional isolate).  Whatever shows a sentence takes the marks off with `plain`;
whatever keeps one takes the names out with `without_names`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

_OPEN, _CLOSE = "\u2068", "\u2069"
_MARKED = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")

LEFT_OUT = "…"
"""What stands in the place of a name."""

CASE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Case names work as file names on every system."""

NO_ROLES: Mapping[str, str] = MappingProxyType({})


class Name(str):
    """Text that marks itself when it is put into a sentence by an f-string.

    Examples
    --------
    >>> plain(f"{Name('scan.nrrd')} is empty"), without_names(f"{Name('scan.nrrd')} is empty")
    ('scan.nrrd is empty', '… is empty')

    """

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        """Text between marks."""
        return f"{_OPEN}{format(str(self), spec)}{_CLOSE}"


def named(thing: object) -> Name:
    """Mark a name, a path, or what another program says."""
    return Name(plain(str(thing)))


def plain(sentence: str) -> str:
    """Sentence as the user sees it."""
    return sentence.replace(_OPEN, "").replace(_CLOSE, "")


def without_names(sentence: str, roles: Mapping[str, str] = NO_ROLES) -> str:
    """Sentence as it may be kept.

    Parameters
    ----------
    sentence
        With its marks.
    roles
        What to write for names that are known, such as ``{"scan.nrrd": "<ct>"}``.

    """
    text = _MARKED.sub(lambda found: roles.get(found[1], LEFT_OUT), sentence)
    return plain(text)  # marks that are no pair came in with a name


def printable(name: str) -> str:
    """Name that can be written as UTF-8, whatever bytes the file system holds."""
    return str(name).encode("utf-8", "backslashreplace").decode("utf-8")
