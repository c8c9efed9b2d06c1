"""A measure of all regions as bars with names and values, as rich text for a label of the panel.

Slicer's plots number their bars instead of naming them and take the place of the 3-D view.
"""

import math
from html import escape

from lungperfusion.errors import InputError
from lungperfusion.io.writing import segment_colour
from lungperfusion.results.colours import hexadecimal
from lungperfusion.results.report import format_value, unit_text
from lungperfusion.terms import MEASURES, Region, title

BOTH_LUNGS = "#8c8c8c"
"""Grey: both lungs together have no colour of their own."""

LONGEST_PX = 150
"""Length of the longest bar: names and values stand beside it in a panel of usual width."""


def bars(rows, measure):
    """Draw one measure of all regions; those without a value are left out.

    Parameters
    ----------
    rows
        Measurements of a run.
    measure
        Which of them.

    Raises
    ------
    InputError
        If no region has a value.

    """
    heading, unit = MEASURES[measure].title, unit_text(MEASURES[measure].unit)
    found = [row for row in rows if row.measure == measure and not math.isnan(row.value)]
    if not found:
        raise InputError(f"no region has a value of {heading.lower()}")
    longest = max(abs(row.value) for row in found) or 1.0
    lines = "".join(_line(row, abs(row.value) / longest) for row in found)
    words = f"{heading} [{unit}]" if unit else heading
    return f"<b>{escape(words)}</b><table cellspacing='2'>{lines}</table>"


def _line(row, share):
    """Name, bar and value of a region; values below 0 are as long as those above."""
    width = max(1, round(LONGEST_PX * share))
    colour = BOTH_LUNGS if row.region == Region.LUNGS else hexadecimal(segment_colour(row.region))
    cell = f"<td width='{width}' bgcolor='{colour}'>&nbsp;</td>"
    bar = f"<table cellspacing='0'><tr>{cell}</tr></table>"
    value = format_value(row.value, row.unit)
    return (
        f"<tr><td>{escape(title(row.region))}</td><td>{bar}</td><td align='right'>{value}</td></tr>"
    )
