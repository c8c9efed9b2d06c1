"""The report: one self-contained HTML file.

Its first page is what a radiologist reads: pictures, values against their reference and what to
mind.  Everything else, regions, methods, settings and definitions, follows.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from lungperfusion.measurement import Measurement
from lungperfusion.quality import Gate
from lungperfusion.registry import COMMANDS
from lungperfusion.results.analysis import Analysis, Table
from lungperfusion.results.reference import INTERVAL_SD, Comparison, compare
from lungperfusion.results.report_style import STYLE
from lungperfusion.results.section import Section
from lungperfusion.terms import HALVES, LOBES, LUNGS, MEASURES, SHELLS, ZONES, Region, title
from lungperfusion.terms.references import cited
from lungperfusion.verdicts import worst_first

NOTICE = (
    "Research use only. These numbers describe images; they are not a diagnosis and have not been "
    "cleared for clinical decisions."
)

MOST_ROWS = 25
"""Findings that the report lists; all of them are in their CSV file."""

_FAMILIES: tuple[tuple[str, tuple[Region, ...]], ...] = (
    ("Lobes", LOBES),
    ("Zones", ZONES),
    ("Front and back, core and rim", HALVES + SHELLS[:2]),
)
"""The main part fits one page; the subpleural shell is in measurements.csv."""
_SUMMARY_REGIONS = (Region.LUNGS, *LUNGS)
_SHORT_UNITS = {"HU.L": "HU·L", "mm2": "mm²", "1": ""}
_DECIMALS = {"L": 2, "HU": 1, "g": 0, "mg": 0, "mL": 1, "%": 1, "HU.L": 1, "mm": 1, "mm2": 1}
_VERDICTS = {
    "fail": ("Failed", '<path d="M3 3l10 10M13 3L3 13"/>'),
    "warn": ("Warning", '<path d="M8 2L15 14H1zM8 6.5v3.6M8 11.6v.9"/>'),
    "unknown": ("Not checked", '<path d="M5 5.5a3 3 0 1 1 4.2 2.7c-.9.5-1.2 1-1.2 2M8 12v1"/>'),
    "pass": ("Passed", '<path d="M2.5 8.5l3.5 4 7.5-9"/>'),
}
"""Word and icon of each verdict, the most urgent first."""


def render_report(
    analyses: Analysis | Sequence[Analysis],
    *,
    case: str,
    provenance: Mapping[str, Any],
    version: str | None = None,
) -> str:
    """Write the report of one case.

    Parameters
    ----------
    analyses
        One analysis, or several of the same patient, in reading order.
    case
        Name of the case.
    provenance
        Plain values as in results.json: ``version``, ``inputs`` (each with ``role``, ``name``,
        ``sha256``), ``libraries``, ...
    version
        Version of this software; None for that in ``provenance``.

    Returns
    -------
    str
        HTML that loads nothing from elsewhere.

    """
    if isinstance(analyses, Analysis):
        analyses = (analyses,)
    version = version or str(provenance.get("version", "unknown"))
    heading = " · ".join(module_title(analysis.module) for analysis in analyses)
    page = f"{case}: {heading}"
    first = "".join(
        _main_part(analysis, len(analyses) > 1, known={g for a in analyses[:n] for g in a.gates})
        for n, analysis in enumerate(analyses)
    )
    details = "".join(_details(analysis, len(analyses) > 1) for analysis in analyses)
    body = first + details + _glossary(analyses)
    return html_page(
        page,
        heading=heading,
        subject=f"Case {case}",
        origin=_origin(version, provenance),
        body=body + _references(body) + _software(provenance, version),
    )


def html_page(
    window: str, *, heading: str, subject: str, origin: Sequence[str], body: str, style: str = ""
) -> str:
    """Write a page that loads nothing from elsewhere, with the notice above and below.

    Parameters
    ----------
    window
        Title of the window.
    heading, subject
        What the page is, and of whom.
    origin
        HTML lines on the software and its inputs.
    body
        HTML of the main part.
    style
        Rules beyond those of all reports.

    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(window)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
        f'<header><div><h1>{html.escape(heading)}</h1><p class="case">{html.escape(subject)}</p>'
        f'</div><div class="meta">{"<br>".join(origin)}</div></header>\n'
        f'<p class="notice"><b>Research use only.</b>{html.escape(NOTICE.partition(".")[2])}</p>\n'
        f"<main>\n{body}</main>\n"
        f"<footer>{html.escape(NOTICE)}</footer>\n</body>\n</html>\n"
    )


def format_value(value: float, unit: str) -> str:
    """Write a number with the digits its unit deserves.

    Examples
    --------
    >>> format_value(5.0601, "L"), format_value(-839.64, "HU"), format_value(0.042, "%")
    ('5.06', '−839.6', '0.04')
    >>> format_value(0.0012, "%"), format_value(0.0, "%"), format_value(1234.6, "mL")
    ('< 0.01', '0.0', '1235')
    >>> format_value(617, "1"), format_value(0.88, "1")
    ('617', '0.88')

    """
    decimals = _DECIMALS.get(unit, 2)
    if unit in ("mL", "1") and abs(value) >= 100:
        decimals = 0
    if unit == "%" and 0 < abs(value) < 1:
        decimals = 2
    smallest = 10.0**-decimals
    if value != 0 and abs(value) < smallest / 2:
        return f"{'<' if value > 0 else '>'} {'−' if value < 0 else ''}{smallest:.{decimals}f}"
    return f"{value:.{decimals}f}".replace("-", "−")


def unit_text(unit: str) -> str:
    """Write a unit as readers do.

    Examples
    --------
    >>> unit_text("HU.L"), unit_text("mm2"), unit_text("1")
    ('HU·L', 'mm²', '')

    """
    return _SHORT_UNITS.get(unit, unit)


def table_html(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    caption: str = "",
    numeric: Iterable[int] = (),
) -> str:
    """Write a table; every cell is escaped, numbers in ``numeric`` columns stand at the right."""
    right = set(numeric)

    def cell(tag: str, index: int, value: Any, scope: str = "") -> str:
        css = ' class="n"' if index in right else ""
        return f"<{tag}{css}{scope}>{html.escape(_plain(value))}</{tag}>"

    head = "".join(cell("th", i, name, ' scope="col"') for i, name in enumerate(columns))
    body = "".join(
        "<tr>"
        + "".join(
            cell("th", i, v, ' scope="row"') if i == 0 else cell("td", i, v)
            for i, v in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    words = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{words}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


class _Notes:
    """Footnotes of one table: each reason once, numbered in reading order."""

    def __init__(self) -> None:
        self._reasons: list[str] = []
        self._dashes = False

    def mark(self, reason: str) -> str:
        """Give the number of a reason as a superscript."""
        if reason not in self._reasons:
            self._reasons.append(reason)
        return f"<sup>{self._reasons.index(reason) + 1}</sup>"

    def dash(self) -> str:
        """Mark a value that nobody asked for, such as a ratio of arteries in one lung."""
        self._dashes = True
        return '<span class="na">–</span>'

    def html(self) -> str:
        """Write the reasons as a list."""
        items = "".join(f"<li>{html.escape(reason)}</li>" for reason in self._reasons)
        reasons = f'<ol class="notes">{items}</ol>' if items else ""
        return reasons + ('<p class="soft">– not given for this region.</p>' * self._dashes)


def module_title(module: str) -> str:
    """Heading of an analysis: as its command is registered, else its name."""
    command = COMMANDS.get(module)
    return command.title if command and command.title else title(module)


def _origin(version: str, provenance: Mapping[str, Any]) -> list[str]:
    """Lines on software, inputs and, where they were kept, identifiers."""
    lines = [f"LungPerfusion {html.escape(version)}"]
    for entry in provenance.get("inputs", ()):
        name = html.escape(": ".join(filter(None, (_role(entry), entry.get("name")))))
        digest = html.escape(str(entry["sha256"]))
        lines.append(f'{name} · <code title="SHA-256 {digest}">{digest[:12]}</code>')
    for key, value in provenance.get("identifiers", {}).items():
        lines.append(html.escape(f"{key}: {value}"))
    return lines


def _role(entry: Mapping[str, Any]) -> str:
    role = str(entry["role"])
    return role.upper() if role == "ct" else title(role)


def _main_part(analysis: Analysis, several: bool, known: Collection[Gate]) -> str:
    """First page: pictures, values, checks that no earlier analysis has shown."""
    name = module_title(analysis.module)
    heading = f"<h2>{html.escape(name)}</h2>" if several else ""
    top = "".join(section.html for section in analysis.sections if section.place == "top")
    below = "".join(_section(part) for part in analysis.sections if part.place == "first_page")
    return (
        f'<section class="first" aria-label="{html.escape(name, quote=True)}">{heading}{top}'
        f"{_summary(analysis.measurements)}{below}{_gates(analysis.gates, known)}"
        f"{_warnings(analysis.warnings)}</section>\n"
    )


def _details(analysis: Analysis, several: bool) -> str:
    """Write what follows the first page."""
    name = module_title(analysis.module)
    heading = f"<h2>{html.escape(name)}: details</h2>" if several else ""
    return (
        heading
        + "".join(_section(section) for section in analysis.sections if section.place == "details")
        + _regions(analysis.measurements)
        + "".join(_findings(key, table) for key, table in analysis.tables.items())
        + _parameters(analysis)
    )


def _section(section: Section) -> str:
    return f"<section><h2>{html.escape(section.title)}</h2>{section.html}</section>\n"


def _summary(measurements: Sequence[Measurement]) -> str:
    """Whole-lung values with left and right: those with a reference first, then the others."""
    cells = {(entry.region, entry.measure): entry for entry in measurements}
    measures = list(dict.fromkeys(m.measure for m in measurements if m.region in _SUMMARY_REGIONS))
    if not measures:
        return ""
    regions = [
        region for region in _SUMMARY_REGIONS if any((region, name) in cells for name in measures)
    ]
    compared = [name for name in measures if MEASURES[name].reference]
    others = [name for name in measures if not MEASURES[name].reference]
    notes = _Notes()
    tables = _compared_table(compared, regions, cells, notes) if compared else ""
    half = (len(others) + 1) // 2 if len(others) > 6 else len(others)
    columns = [part for part in (others[:half], others[half:]) if part]
    tables += '<div class="columns">' if len(columns) > 1 else ""
    tables += "".join(_plain_table(part, regions, cells, notes) for part in columns)
    tables += "</div>" if len(columns) > 1 else ""
    return f"<h2>Values</h2>{tables}{notes.html()}{_reference_sources(compared)}"


def _compared_table(
    measures: Sequence[str],
    regions: Sequence[Region],
    cells: Mapping[tuple[str, str], Measurement],
    notes: _Notes,
) -> str:
    rows = ""
    for name in measures:
        measure = MEASURES[name]
        reference = measure.reference
        if reference is None:
            continue
        mean = format_value(reference.mean, measure.unit)
        sd = format_value(reference.sd, measure.unit)
        entry = cells.get((measure.reference_region, name))
        comparison = compare(entry) if entry else None
        rows += f"{_summary_cells(name, regions, cells, notes)}"
        rows += f'<td class="n">{mean} ± {sd}</td>{_comparison_cells(comparison)}</tr>'
    head = (
        '<th scope="col" class="n">Reference, mean ± SD</th><th scope="col" class="n">z</th>'
        '<th scope="col">Position</th>'
    )
    return (
        '<div class="wide"><table class="summary compared">'
        f"<thead><tr>{_summary_head(regions)}{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _plain_table(
    measures: Sequence[str],
    regions: Sequence[Region],
    cells: Mapping[tuple[str, str], Measurement],
    notes: _Notes,
) -> str:
    rows = "".join(f"{_summary_cells(name, regions, cells, notes)}</tr>" for name in measures)
    return (
        '<div class="wide"><table class="summary">'
        f"<thead><tr>{_summary_head(regions)}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _summary_head(regions: Sequence[Region]) -> str:
    names = {Region.LUNGS: "Both", Region.LEFT_LUNG: "Left", Region.RIGHT_LUNG: "Right"}
    head = '<th scope="col">Measure</th>'
    head += "".join(f'<th scope="col" class="n">{names[region]}</th>' for region in regions)
    return head + '<th scope="col">Unit</th>'


def _summary_cells(
    name: str,
    regions: Sequence[Region],
    cells: Mapping[tuple[str, str], Measurement],
    notes: _Notes,
) -> str:
    row = f'<tr data-measure="{name}"><th scope="row">{html.escape(MEASURES[name].title)}</th>'
    for region in regions:
        main = " main" if region is Region.LUNGS else ""
        row += f'<td class="n{main}">{_value(cells.get((region, name)), notes)}</td>'
    return row + f"<td>{unit_text(MEASURES[name].unit)}</td>"


def _comparison_cells(comparison: Comparison | None) -> str:
    if comparison is None:
        return '<td class="n na">n/a</td><td class="na">nothing to compare</td>'
    z_score = f"{comparison.z_score:+.1f}".replace("-", "−")
    css = ' class="out"' if comparison.position != "within" else ""
    return (
        f'<td class="n">{z_score}</td><td class="n l">{_position_bar(comparison)} '
        f"<span{css}>{comparison.position}</span></td>"
    )


def _value(entry: Measurement | None, notes: _Notes) -> str:
    if entry is None:
        return notes.dash()
    if entry.status == "missing":
        return f'<span class="na">n/a{notes.mark(entry.reason)}</span>'
    text = html.escape(format_value(entry.value, entry.unit))
    return text + (notes.mark(f"Caution: {entry.reason}") if entry.status == "caution" else "")


def _position_bar(comparison: Comparison) -> str:
    """Draw mean +/- 4 SD with the interval shaded; a value beyond the ends is an arrow there."""
    z_score = comparison.z_score
    at = 50 + 12 * max(-4.0, min(4.0, z_score))
    if abs(z_score) <= 4:
        marker = f'<circle cx="{at:.1f}" cy="7" r="4.2" fill="var(--ink)"/>'
    else:
        tip, back = (at + 4, at - 4) if z_score > 0 else (at - 4, at + 4)
        marker = f'<path d="M{tip:.1f} 7L{back:.1f} 2V12z" fill="var(--ink)"/>'
    return (
        '<svg class="bar" viewBox="-4 0 108 14" aria-hidden="true">'
        '<rect x="2" y="5" width="96" height="4" fill="var(--line)"/>'
        '<rect x="26" y="3" width="48" height="8" fill="var(--band)"/>'
        f'<path d="M50 2V12" stroke="var(--soft)"/>{marker}</svg>'
    )


def _reference_sources(measures: Sequence[str]) -> str:
    cohorts = dict.fromkeys(
        reference.cohort for name in measures if (reference := MEASURES[name].reference)
    )
    if not cohorts:
        return ""
    where = html.escape("; ".join(cohorts))
    return (
        f'<p class="soft">Position: below, within or above the reference mean ± {INTERVAL_SD:g} SD '
        "(shaded; the bar ends at ± 4 SD); z: distance from the mean in SD. References are for "
        f"both lungs together and depend on sex, height, scanner and breathing: {where}.</p>"
    )


def _gates(gates: Sequence[Gate], known: Collection[Gate]) -> str:
    if not gates:
        return ""
    new = worst_first(gate for gate in gates if gate not in known)
    items = f'<ul class="gates">{"".join(map(_gate, new))}</ul>' if new else ""
    passed = sum(gate.verdict == "pass" for gate in gates)
    repeated = len(gates) - len(new)
    above = f'<p class="soft">{repeated} of them are listed above.</p>' if repeated else ""
    return f"<h2>Quality checks: {passed} of {len(gates)} passed</h2>{items}{above}"


def _gate(gate: Gate) -> str:
    word, drawing = _VERDICTS[gate.verdict]
    limit = ""
    if gate.limit and gate.verdict != "pass":
        limit = f' <span class="soft">(accepted: {html.escape(gate.limit)})</span>'
    return (
        f'<li class="{gate.verdict}"><b><svg class="icon" viewBox="0 0 16 16" aria-hidden="true" '
        'fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" '
        f'stroke-linejoin="round">{drawing}</svg> {word}.</b> {html.escape(gate.message)}{limit}'
        "</li>"
    )


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
    return f"<h2>Warnings</h2><ul>{items}</ul>"


def _regions(measurements: Sequence[Measurement]) -> str:
    cells = {(entry.region, entry.measure): entry for entry in measurements}
    tables = ""
    for heading, family in _FAMILIES:
        regions = [region for region in family if any(key[0] == region for key in cells)]
        measures = list(dict.fromkeys(m.measure for m in measurements if m.region in regions))
        if regions:
            tables += f"<h3>{heading}</h3>{_region_table(heading, regions, measures, cells)}"
    return f"<section><h2>Values by region</h2>{tables}</section>\n" if tables else ""


def _region_table(
    caption: str,
    regions: Sequence[Region],
    measures: Sequence[str],
    cells: Mapping[tuple[str, str], Measurement],
) -> str:
    notes = _Notes()
    absent = [
        region
        for region in regions
        if all(
            (entry := cells.get((region, name))) is None or entry.status == "missing"
            for name in measures
        )
    ]
    if len(absent) == len(regions):
        reasons = dict.fromkeys(
            entry.reason for (region, _), entry in cells.items() if region in absent
        )
        return f'<p class="na">Not available: {html.escape("; ".join(reasons))}.</p>'
    head = "".join(f'<th scope="col" class="n">{html.escape(title(r))}</th>' for r in regions)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(MEASURES[name].title)}</th>'
        + "".join(f'<td class="n">{_value(cells.get((r, name)), notes)}</td>' for r in regions)
        + f"<td>{unit_text(MEASURES[name].unit)}</td></tr>"
        for name in measures
    )
    return (
        f'<div class="wide"><table aria-label="{html.escape(caption, quote=True)}"><thead><tr>'
        f'<th scope="col">Measure</th>{head}<th scope="col">Unit</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{notes.html()}"
    )


def _findings(key: str, table: Table) -> str:
    heading = f"<h2>{html.escape(title(key))}</h2>"
    if not table.rows:
        return f'<section>{heading}<p class="soft">None found.</p></section>\n'
    rows = [[_named(row.get(name)) for name in table.columns] for row in table.rows[:MOST_ROWS]]
    numeric = [
        index
        for index in range(1, len(table.columns))
        if all(isinstance(row[index], int | float) for row in rows)
    ]
    more = len(table.rows) - len(rows)
    rest = f'<p class="soft">{more} more in {html.escape(key)}.csv.</p>' if more else ""
    names = [name.replace("_", " ") for name in table.columns]
    return f"<section>{heading}{table_html(names, rows, numeric=numeric)}{rest}</section>\n"


def _parameters(analysis: Analysis) -> str:
    if not analysis.parameters:
        return ""
    items = "".join(
        f"<dt>{html.escape(title(str(key)))}</dt><dd>{html.escape(_plain(value))}</dd>"
        for key, value in analysis.parameters.items()
    )
    return f"<section><h2>Settings</h2><dl>{items}</dl></section>\n"


def _named(value: Any) -> Any:
    """Words for the ID of a region; other values as they are."""
    return title(value) if isinstance(value, str) and value in set(Region) else value


def _plain(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isnan(value):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", "−")
    if isinstance(value, str | int):
        return str(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _glossary(analyses: Sequence[Analysis]) -> str:
    methods: dict[str, dict[str, None]] = {}
    for analysis in analyses:
        for entry in analysis.measurements:
            methods.setdefault(entry.measure, {})
            if entry.method:
                methods[entry.measure][entry.method] = None
    if not methods:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{html.escape(MEASURES[name].title)}<br><code>{name}</code></th>'
        f'<td>{unit_text(MEASURES[name].unit)}</td><td class="text">'
        f'{html.escape(MEASURES[name].formula)}</td><td class="text">'
        f'{html.escape("; ".join(found) or "not measured")}</td><td class="text">'
        f"{html.escape(MEASURES[name].source)}</td></tr>"
        for name, found in methods.items()
    )
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("Measure", "Unit", "Formula", "Method in this case", "Source")
    )
    return (
        '<section><h2>Measures and methods</h2><div class="wide"><table class="glossary">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>\n"
    )


def _references(page: str) -> str:
    """List in full what the page cites by a short name."""
    works = cited([html.unescape(page)])
    if not works:
        return ""
    items = "".join(
        f"<dt>{html.escape(work.short)}</dt><dd>{html.escape(work.entry)}</dd>" for work in works
    )
    return f"<section><h2>References</h2><dl>{items}</dl></section>\n"


def _software(provenance: Mapping[str, Any], version: str) -> str:
    items = [("LungPerfusion", version)]
    items += [
        (f"{_role(entry)} SHA-256", str(entry["sha256"])) for entry in provenance.get("inputs", ())
    ]
    if "python" in provenance:
        items.append(("Python", str(provenance["python"])))
    items += [(str(k), str(v)) for k, v in provenance.get("libraries", {}).items()]
    rows = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in items)
    return f"<section><h2>Software and inputs</h2><dl>{rows}</dl></section>\n"
