"""The report: one self-contained HTML file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One block of the report.

    ``html`` is trusted markup made by this project's own figure and table functions; text from
    files goes through `html.escape` before it gets here.
    """

    title: str
    html: str
