"""What a reader should know first, as rich text: deciding numbers and failed checks."""

import math
from html import escape

from slicer.i18n import tr as _

from lungperfusion.results.report import format_value, unit_text
from lungperfusion.terms import LUNGS, MEASURES, Region, title
from lungperfusion.terms.gates import effects_of

SEVERITIES = {"fail": ("#c0392b", "&#10006;"), "warn": ("#c77700", "&#9650;")}
"""Colour and sign of quality checks that were not passed, the worst first."""
NOTE = ("#5d6d7e", "&#9432;")
FIRST = 3
"""Remarks that are shown before the rest is asked for."""


def summary(measurements, deciding):
    """Deciding numbers of an analysis as a table; those that were not measured are left out.

    Parameters
    ----------
    measurements
        Measurements of a run.
    deciding
        Pairs of measure and region, the most important first.

    """
    known = {(row.measure, row.region): row for row in measurements}
    rows = [known[pair] for pair in deciding if pair in known]
    return f"<table>{''.join(map(_summary_row, rows))}</table>" if rows else ""


def _summary_row(row):
    heading = escape(MEASURES[row.measure].title)
    if row.region != Region.LUNGS:
        heading += f", {escape(title(row.region).lower())}"
    if math.isnan(row.value):
        value = f'– <span style="color:{NOTE[0]}">{escape(row.reason)}</span>'
    else:
        value = f"<b>{format_value(row.value, row.unit)}</b> {unit_text(row.unit)}".rstrip()
        colour, sign = SEVERITIES["warn"]
        if row.status == "caution":
            value += f' <span style="color:{colour}">{sign}</span>'
    return f"<tr><td>{heading}&nbsp;&nbsp;</td><td>{value}</td></tr>"


def remarks(record, deciding):
    """Quality checks that were not passed and warnings, the worst first, each as rich text."""
    if record is None:
        return []
    analysis = record["analyses"][0]
    measured = {(row["measure"], row["region"]) for row in analysis["measurements"]}
    deciding = [pair for pair in deciding if pair in measured]
    found = {}
    for verdict, (colour, sign) in SEVERITIES.items():
        for gate in analysis["quality_gates"]:
            if gate["verdict"] == verdict and gate["message"] not in found:
                words = escape(gate["message"]) + escape(_consequence(gate, deciding))
                found[gate["message"]] = f'<span style="color:{colour}">{sign}</span> {words}'
    for message in analysis["warnings"]:
        sign = f'<span style="color:{NOTE[0]}">{NOTE[1]}</span>'
        found.setdefault(message, f"{sign} {escape(message)}")
    return list(found.values())


def _consequence(gate, deciding):
    """Deciding numbers that a check lowers."""
    effects = effects_of(gate["id"])
    lowered = {}
    for measure, region in deciding:
        states = {effect.lowers(measure, region, gate["verdict"]) for effect in effects}
        for state in ("missing", "caution"):
            if state in states:
                lowered.setdefault(state, []).append(MEASURES[measure].title)
                break
    words = {"missing": _("Not given: {values}."), "caution": _("With caution: {values}.")}
    return "".join(
        " " + words[state].format(values=", ".join(dict.fromkeys(names)))
        for state, names in lowered.items()
    )


def folded(lines, unfolded):
    """Return the remarks that are shown, as rich text."""
    return "<br>".join(lines if unfolded else lines[:FIRST])


def of_both_lungs(measure):
    """Pairs of a measure with either lung."""
    return tuple((measure, region) for region in LUNGS)
