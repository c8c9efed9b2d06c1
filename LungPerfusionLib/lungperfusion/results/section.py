"""One block of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Place = Literal["top", "first_page", "details"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Heading and content between the summary table and the methods.

    ``html`` is trusted markup made by this project's own figure and table functions; text from
    files goes through `html.escape` before it gets here.
    """

    title: str
    html: str
    place: Place = "details"
    """``"top"``: above the table of values, without heading; ``"first_page"``: below it;
    ``"details"``: on the pages after."""
