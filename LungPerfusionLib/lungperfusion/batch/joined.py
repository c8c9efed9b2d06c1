"""One patient, one table, one report: the results of several analyses of a case joined."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import batched
from typing import Any

from lungperfusion.measurement import Measurement
from lungperfusion.registry import lobar_columns
from lungperfusion.results.analysis import Analysis
from lungperfusion.results.report import format_value, module_title, render_report, unit_text
from lungperfusion.results.section import Section
from lungperfusion.terms import LOBES, LUNGS, MEASURES, Region, title

LOBAR_REGIONS = (Region.LUNGS, *LUNGS, *LOBES)
"""Rows of the joined table."""


def joined_report(
    analyses: Sequence[Analysis],
    *,
    case: str,
    provenances: Sequence[Mapping[str, Any]],
    failures: Mapping[str, str],
) -> str:
    """Write one report over all analyses of a case.

    Parameters
    ----------
    analyses
        In reading order, with their report blocks.
    case
        Name of the case.
    provenances
        Of each analysis, as plain values.
    failures
        Reason by name of an analysis that could not be computed.

    """
    first, *others = analyses
    blocks: tuple[Section, ...] = ()
    if len(analyses) > 1:
        blocks = (_lobar_section(analyses),)
    if failures:
        blocks = (_failure_section(failures), *blocks)
    first = replace(first, sections=(*first.sections, *blocks))
    provenance = {**provenances[0], "inputs": _all_inputs(analyses, provenances)}
    return render_report([first, *others], case=case, provenance=provenance)


def _all_inputs(
    analyses: Sequence[Analysis], provenances: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Each input once, under the roles that the analyses give it."""
    roles: dict[tuple[str | None, str], list[str]] = {}
    for analysis, provenance in zip(analyses, provenances, strict=True):
        for entry in provenance["inputs"]:
            role = f"{analysis.module} {entry['role']}" if len(analyses) > 1 else entry["role"]
            roles.setdefault((entry.get("name"), entry["sha256"]), []).append(role)
    return [
        {"role": ", ".join(found)} | ({"name": name} if name else {}) | {"sha256": digest}
        for (name, digest), found in roles.items()
    ]


def _failure_section(failures: Mapping[str, str]) -> Section:
    items = "".join(
        f"<li><b>{html.escape(module_title(name))}:</b> {html.escape(reason)}</li>"
        for name, reason in failures.items()
    )
    return Section(
        title="Analyses that could not be completed", html=f"<ul>{items}</ul>", place="first_page"
    )


MOST_COLUMNS = 11
"""Of measures side by side: more do not fit on a page, and what hangs over it is not printed."""


def _lobar_section(analyses: Sequence[Analysis]) -> Section:
    """Draw one row per region, one column per measure that any analysis has."""
    source = _sources(analyses)
    cells = {
        (entry.region, entry.measure): entry
        for analysis in analyses
        for entry in reversed(analysis.measurements)  # of several methods the first one counts
        if source.get(entry.measure) == analysis.module
    }
    headings = lobar_columns()
    measures = [name for name in headings if name in source]
    regions = [r for r in LOBAR_REGIONS if any((r, name) in cells for name in measures)]
    tables = max(1, math.ceil(len(measures) / MOST_COLUMNS))
    columns = max(1, math.ceil(len(measures) / tables))
    drawn = "".join(_lobar_table(part, regions, cells) for part in batched(measures, columns))
    legend = "; ".join(
        f"{headings[name]}: {MEASURES[name].title} ({source[name]})" for name in measures
    )
    return Section(
        title="All analyses by lobe",
        html=(
            f'{drawn}<p class="soft">{html.escape(legend)}. * read with care, as the values '
            "of the analysis say. regions.csv has every measure of every region.</p>"
        ),
        place="first_page",
    )


def _lobar_table(
    measures: Sequence[str],
    regions: Sequence[Region],
    cells: Mapping[tuple[str, str], Measurement],
) -> str:
    headings = lobar_columns()
    head = "".join(
        f'<th scope="col" class="n" title="{html.escape(MEASURES[name].title, quote=True)}">'
        f'{headings[name]}<br><span class="soft">{unit_text(MEASURES[name].unit)}</span></th>'
        for name in measures
    )
    body = "".join(
        f'<tr><th scope="row">{html.escape(title(region))}</th>'
        + "".join(f'<td class="n">{_cell(cells.get((region, name)))}</td>' for name in measures)
        + "</tr>"
        for region in regions
    )
    return (
        f'<div class="wide"><table><thead><tr><th scope="col">Region</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _sources(analyses: Sequence[Analysis]) -> dict[str, str]:
    """Analysis that each measure is taken from: of those that have it, the one with most lobes."""
    headings = lobar_columns()
    had: dict[str, dict[str, int]] = {}
    for analysis in analyses:
        for entry in analysis.measurements:
            if entry.measure in headings:
                lobar = entry.region in LOBES and entry.status != "missing"
                counts = had.setdefault(entry.measure, {})
                counts[analysis.module] = counts.get(analysis.module, 0) + lobar
    return {measure: max(counts, key=counts.__getitem__) for measure, counts in had.items()}


def _cell(entry: Measurement | None) -> str:
    if entry is None:
        return "–"
    if entry.status == "missing":
        return f'<span class="na" title="{html.escape(entry.reason, quote=True)}">n/a</span>'
    text = html.escape(format_value(entry.value, entry.unit))
    if entry.status == "caution":
        reason = html.escape(entry.reason, quote=True)
        return f'{text}<abbr title="Caution: {reason}">*</abbr>'
    return text


# ------------------------------------------------------------------------------------- columns


def column_name(module: str, measure: str, unit: str, method: str = "") -> str:
    """Name of a column that holds one measure.

    Examples
    --------
    >>> column_name("lungs", "tlv", "L"), column_name("ipv", "iodine_mean", "HU")
    ('lungs_tlv_l', 'ipv_iodine_mean_hu')
    >>> column_name("ctvq", "v_gradient", "%/cm"), column_name("vesselbv", "bv5_per_bsa", "mL/m2")
    ('ctvq_v_gradient_percent_per_cm', 'vesselbv_bv5_per_bsa_ml_per_m2')

    """
    suffix = unit.replace("%", "percent").replace("/", "_per_").replace(".", "_")
    words = [
        module,
        measure,
        "" if unit == "1" else suffix.lower(),
        re.sub(r"[^a-z0-9]+", "_", method.lower()).strip("_"),
    ]
    return "_".join(word for word in words if word)


def by_column(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Measurement rows of one case by region and column.

    Rows of one measure that differ by their method get the method into the column's name.

    Parameters
    ----------
    rows
        Rows of measurements.csv of one case.

    """
    rows = list(rows)
    methods: dict[tuple[str, str, str], set[str]] = {}
    for row in rows:
        key = (row["module"], row["region"], row["measure"])
        methods.setdefault(key, set()).add(row["method"])
    several = {(key[0], key[2]) for key, found in methods.items() if len(found) > 1}
    return {
        (
            row["region"],
            column_name(
                row["module"],
                row["measure"],
                row["unit"],
                row["method"] if (row["module"], row["measure"]) in several else "",
            ),
        ): row
        for row in rows
    }


CAUTIONS = "cautions"
"""Column of tables without room for a status beside each value."""


def cautions(row: Mapping[str, Mapping[str, Any]]) -> str:
    """Names of the columns whose value has status caution, parted by spaces."""
    return " ".join(column for column, cell in row.items() if cell["status"] == "caution")


def region_rows(
    rows: Iterable[Mapping[str, Any]],
) -> tuple[list[dict[str, Any]], list[str]]:
    """One row per region with all measures of all analyses beside one another.

    Returns
    -------
    tuple
        Rows for regions.csv, and its columns.

    """
    cells = by_column(rows)
    regions = list(dict.fromkeys(region for region, _ in cells))
    order = [*LOBAR_REGIONS, *Region]
    regions.sort(key=lambda region: order.index(Region(region)) if region in order else len(order))
    columns = list(dict.fromkeys(column for _, column in cells))
    table = []
    for region in regions:
        found = {c: cells[region, c] for c in columns if (region, c) in cells}
        values = {column: row["value"] for column, row in found.items()}
        table.append({"region": region, CAUTIONS: cautions(found), **values})
    return table, ["region", CAUTIONS, *columns]
