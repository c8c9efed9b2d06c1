"""The report of a study: one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence
from typing import Any

import lungperfusion
from lungperfusion.cohort.figures import Picture, lobar_title
from lungperfusion.cohort.specification import Contrast
from lungperfusion.cohort.study import Study
from lungperfusion.cohort.tables import CONTRAST_COLUMNS
from lungperfusion.cohort.wording import decimals_for, estimate, number, p_text, signs
from lungperfusion.results.analysis import Table
from lungperfusion.results.report import MOST_ROWS, html_page, table_html
from lungperfusion.results.tables import csv_text
from lungperfusion.terms.embolism import CONTRADICTION, RULES
from lungperfusion.terms.lung_function import GAIN_ML

_STYLE = """
body { max-width: 76rem; } table { width: auto; min-width: 40%; }
table.one th[scope=row] { white-space: pre; } table.one td { white-space: nowrap; }
table.one { font-size: .8rem; } table.one th, table.one td { padding: .16rem .35rem; }
table.one tbody th { min-width: 5rem; } table.one thead th { white-space: normal; }
.wide + .wide, .wide + p { margin-top: .9rem; }
table.one tr.part th, table.one tr.part td { border-top: 1.5px solid var(--soft); }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr));
  gap: .6rem 1.4rem; } .pictures figure { display: block; }
.pictures img { width: auto; max-width: 100%; max-height: 24rem; }
pre.methods { white-space: pre-wrap; font: inherit; font-size: .9rem; }
@media print { @page { size: A4 landscape; } }
"""

_COEFFICIENTS = ("x", "y", "n", "method", "estimate (95 % CI)", "p", "Holm p")
_LINES = ("x", "y", "n", "slope (95 % CI, HC3)", "R² (95 % CI)", "p", "Cook’s distance > 4/n")


def digest_of(study: Study) -> str:
    """Digest of the joined data, the same for any order of rows."""
    frame = study.cohort.frame
    rows = [{"case": case, **row} for case, row in frame.to_dict("index").items()]
    text = csv_text(rows, ["case", *frame.columns])
    return hashlib.sha256(text.encode()).hexdigest()


def render_study(
    study: Study, pictures: Sequence[Picture], methods: str, versions: Mapping[str, str]
) -> str:
    """Write the report.

    Parameters
    ----------
    study
        Results.
    pictures
        Its figures.
    methods
        The statistics paragraph.
    versions
        Of Python and the libraries.

    """
    parts = [
        _section("Table 1", _table_one(study)),
        _section("Read with care", _list(study.cautions)),
        _section("Relations", _relations(study)),
        _section("Lobes", _lobes(study)),
        _section("Scores and outcomes", _scores(study)),
        _section("Repeated measurements", _retests(study)),
        _section("Figures", _figures(pictures)),
        _section("Phenotypes", _phenotypes(study)),
        _section("D-dimer and embolism: context, no advice", _context(study.tables)),
        _section("Left out", _left_out(study)),
        _section("Methods", f'<pre class="methods">{html.escape(methods)}</pre>'),
        _section("Software", _software(versions, digest_of(study))),
    ]
    return page(study.specification.title, f"{len(study.cohort.frame)} cases", "".join(parts))


def page(heading: str, words: str, body: str) -> str:
    """Give a whole page around sections."""
    origin = [f"LungPerfusion {html.escape(lungperfusion.__version__)}"]
    return html_page(
        heading, heading=heading, subject=words, origin=origin, body=body, style=_STYLE
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{content}</section>\n" if content else ""


def _list(sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _table_one(study: Study) -> str:
    """Draw groups side by side, and below what differs between them."""
    table, contrasts = study.table_one.table, study.specification.contrasts
    groups = [name for name in table.columns if not any(name in _heads(c) for c in contrasts)]
    notes = [
        "Mean ± SD, median [quartiles], or count/number with values (percent). n: cases with a "
        "value; NA: the variable that makes the groups.",
        *study.specification.footnotes,
    ]
    if study.table_one.coded:
        notes.append(
            f"{', '.join(study.table_one.coded)}: whole numbers of few values and without a unit, "
            'taken for codes and counted; show = "mean_sd" in a layout gives their mean.'
        )
    if not contrasts:
        return _rows(table, groups) + _notes(notes)
    notes.append(
        "Differences are the first group minus the second; shares are compared as differences of "
        "shares (0 to 1) or Cramér's V, ranks as the chance of a larger value. tests.csv has all "
        "digits."
    )
    if study.specification.stars:
        notes.append("* p < 0.05, ** p < 0.01, *** p < 0.001, unadjusted.")
    parts = _rows(table, groups)
    compared = Table(table.columns, tuple(row for row in table.rows if row["n"]))
    for contrast in contrasts:
        words = f"{contrast.label}: {' against '.join(g.label for g in contrast.groups)}"
        size = next(t.family_size for t in study.table_one.tests if t.contrast is contrast)
        parts += f"<h3>{html.escape(words)}; {size} test{'' if size == 1 else 's'}</h3>"
        parts += _rows(compared, ["row", *_heads(contrast)], contrast)
    return parts + _notes(notes)


def _heads(contrast: Contrast) -> list[str]:
    return [f"{contrast.label}: {name}" for name in CONTRAST_COLUMNS]


def _rows(table: Table, columns: Sequence[str], contrast: Contrast | None = None) -> str:
    """Draw some columns of the table; levels of a category stand indented below it."""
    names = [c.removeprefix(f"{contrast.label}: ") if contrast else c for c in columns]
    names[0] = ""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in names)
    body = ""
    for row in table.rows:
        cells = [str(row[name]) for name in columns]
        part = "" if cells[0].startswith(" ") else ' class="part"'
        body += f'<tr{part}><th scope="row">{html.escape(cells[0])}</th>'
        body += "".join(f"<td>{html.escape(cell)}</td>" for cell in cells[1:]) + "</tr>"
    return (
        f'<div class="wide"><table class="one"><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        "</table></div>"
    )


def _notes(sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="notes">{items}</ul>'


def _scores(study: Study) -> str:
    """Discrimination and operating points with their intervals in one cell each."""
    if not study.rocs:
        return ""
    curves: list[tuple[Any, ...]] = []
    points: list[tuple[Any, ...]] = []
    for entry in study.rocs:
        found, fitted = entry.found, entry.found.calibration
        name, outcome = study.cohort.label(entry.score), signs(entry.outcome)
        if found.reason:
            curves.append((name, outcome, found.positives, found.count, found.reason))
            continue
        curves.append(
            (
                *(name, outcome, found.positives, found.count),
                _around(found.auc, found.auc_low, found.auc_high, 2),
                f"{number(found.unseen_sensitivity, 2)} / {number(found.unseen_specificity, 2)}",
                _around(fitted.slope, fitted.slope_low, fitted.slope_high, 2),
                _around(fitted.intercept, fitted.intercept_low, fitted.intercept_high, 2),
            )
        )
        side = "≥" if found.higher_is_positive else "≤"
        for point in found.points:
            sensitivity = _around(
                point.sensitivity, point.sensitivity_low, point.sensitivity_high, 2
            )
            specificity = _around(
                point.specificity, point.specificity_low, point.specificity_high, 2
            )
            points.append(
                (
                    *(name, point.rule, f"{side} {point.cut_off:.4g}"),
                    f"{point.true_positive}/{point.positives}: {sensitivity}",
                    f"{point.true_negative}/{point.negatives}: {specificity}",
                )
            )
    return table_html(_CURVE_HEADS, curves) + table_html(_POINT_HEADS, points)


_CURVE_HEADS = (
    *("Score", "Outcome", "with it", "cases", "AUC (95 % CI, DeLong)"),
    *("best cut-off on unseen cases: sensitivity / specificity", "calibration slope"),
    "calibration intercept",
)
_POINT_HEADS = ("Score", "Rule", "Cut-off", "Sensitivity (95 % CI)", "Specificity (95 % CI)")


def _retests(study: Study) -> str:
    rows: list[tuple[Any, ...]] = []
    for entry in study.retests:
        found = entry.found
        name = study.cohort.label(entry.column)
        if found.reason:
            rows.append((name, found.count, found.reason))
            continue
        d = decimals_for(found.sdc)
        rows.append(
            (
                *(name, found.count),
                _around(found.icc_2_1, found.icc_2_1_low, found.icc_2_1_high, 3),
                _around(found.icc_3_1, found.icc_3_1_low, found.icc_3_1_high, 3),
                number(found.sdc, d),
                _around(found.bias, found.bias_low, found.bias_high, d),
                _around(found.lower_limit, found.lower_limit_low, found.lower_limit_high, d),
                _around(found.upper_limit, found.upper_limit_low, found.upper_limit_high, d),
            )
        )
    return table_html(_RETEST_HEADS, rows) if rows else ""


_RETEST_HEADS = (
    *("Measure", "n", "ICC(2,1) (95 % CI)", "ICC(3,1) (95 % CI)", "smallest detectable change"),
    *("bias (95 % CI)", "lower limit (95 % CI)", "upper limit (95 % CI)"),
)


def _relations(study: Study) -> str:
    if not study.relations:
        return ""
    label = study.cohort.label
    coefficients, lines = [], []
    adjusted = iter(study.tables["correlations"].rows)
    for relation in study.relations:
        names = (label(relation.x), label(relation.y))
        for entry in relation.correlations:
            around = _around(entry.estimate, entry.low, entry.high, 3) or entry.reason
            holm = p_text(float(next(adjusted)["p_holm"]))
            coefficients.append((*names, entry.count, entry.method, around, p_text(entry.p), holm))
        found = relation.regression
        slope = _around(found.slope, found.slope_low, found.slope_high, None) or found.reason
        share = _around(found.r_squared, found.r_squared_low, found.r_squared_high, 4)
        cases = ", ".join(relation.cases[n] for n in found.influential[:12])
        more = f" and {len(found.influential) - 12} more" if len(found.influential) > 12 else ""
        lines.append((*names, found.count, slope, share, p_text(found.p), cases + more))
    return (
        table_html(_COEFFICIENTS, coefficients, caption="Coefficients", numeric=(2, 5, 6))
        + table_html(
            _LINES, lines, caption="Straight line of y on x: slope and R² are different numbers",
            numeric=(2, 5),
        )
    )  # fmt: skip


def _around(value: float, low: float, high: float, decimals: int | None) -> str:
    if value != value:  # NaN is not itself
        return ""
    if decimals is not None:
        return estimate(value, low, high, decimals)
    return f"{value:.3g} ({low:.3g} to {high:.3g})".replace("-", "−")


def _lobes(study: Study) -> str:
    """Tell of every pair of measures what lobe size alone gives, and what is left beside it."""
    if not study.lobar:
        return ""
    rows: list[tuple[Any, ...]] = []
    for entry, record in zip(study.lobar, study.tables["lobar"].rows, strict=True):
        names = (lobar_title(entry.spec.x), lobar_title(entry.spec.y))
        head = (*names, record["patients"], record["lobes"])
        if entry.agreement is None or entry.model is None:
            rows.append((*head, entry.reason, "", "", "", ""))
            continue
        found, model = entry.agreement, entry.model
        rows.append(
            (
                *head,
                *(number(r, 3) for r in (found.pearson, found.null_pearson, found.partial_pearson)),
                _around(model.slope, *model.interval, 3),
                p_text(model.p),
            )
        )
    return table_html(_LOBE_HEADS, rows, numeric=(2, 3, 8))


_LOBE_HEADS = (
    *("x", "y", "patients", "lobes", "pooled r", "r by lobe size alone", "partial r"),
    *("slope within patients (95 % CI)", "p"),
)


def _response(study: Study) -> str:
    """Tell how many responded to volume reduction."""
    rows = []
    for row in study.tables["response"].rows if "response" in study.tables else ():
        share = _around(row["percent"], row["lower"], row["upper"], 1) or "no case"
        rows.append((row["patients"], row["responders"], row["count"], share))
    words = f"Response to volume reduction: FEV1 gains at least {GAIN_ML:g} mL"
    return table_html(_RESPONSE_HEADS, rows, numeric=(1, 2), caption=words) if rows else ""


_RESPONSE_HEADS = ("Criteria", "responders", "patients", "% (95 % CI)")


def _figures(pictures: Sequence[Picture]) -> str:
    items = ""
    for picture in pictures:
        data = base64.b64encode(picture.svg.encode()).decode()
        text = html.escape(picture.caption, quote=True)
        items += (
            f'<figure class="chart"><img alt="{text}" src="data:image/svg+xml;base64,{data}">'
            f"<figcaption>{html.escape(picture.caption)}</figcaption></figure>"
        )
    return f'<div class="pictures">{items}</div>' if items else ""


def _phenotypes(study: Study) -> str:
    if study.phenotypes is None:
        return ""
    rows = [
        (row["phenotype"], signs(row["criterion"]), row["met"], row["not_met"], row["unknown"])
        for row in study.phenotypes.counts.rows
        if row["met"] or row["not_met"]
    ]
    if not rows:
        return ""
    heads = ("Phenotype", "Criterion", "met", "not met", "unknown")
    notes = "".join(
        f'<p class="soft">{html.escape(signs(note))}</p>' for note in study.phenotypes.notes
    )
    counts = table_html(heads, rows, numeric=(2, 3, 4), caption="Cases; phenotypes.csv has each")
    return counts + _response(study) + notes


def _context(tables: Mapping[str, Table]) -> str:
    """Tell how many cases lie where among the rules, and the patterns; cases are in the CSV."""
    if "context" not in tables:
        return ""
    rows = []
    for rule in RULES:
        own = [row for row in tables["context"].rows if row["rule"] == rule.title]
        above = sum(row["place"] == "at or above" for row in own)
        below = sum(row["place"] == "below" for row in own)
        rows.append((rule.title, above, below, len(own) - above - below))
    shown: dict[str, list[int]] = {}
    for row in tables["patterns"].rows:
        counts = shown.setdefault(row["pattern"], [0, 0, 0])
        counts[("yes", "no", "").index(row["shown"])] += 1
    return (
        f"<p>{html.escape(_RULE_NOTE)}</p>"
        + table_html(_PLACE_HEADS, rows, numeric=(1, 2, 3), caption="Cases; context.csv has each")
        + _rules()
        + table_html(
            ("Pattern", "shown", "not shown", "a field is missing"),
            [(name, *counts) for name, counts in shown.items()],
            numeric=(1, 2, 3),
            caption="Patterns as they have been read elsewhere; no diagnosis",
        )
    )


_PLACE_HEADS = ("Rule", "at or above", "below", "not placed")
_RULE_HEADS = (
    *("Rule", "Found in", "Numbers", "Sensitivity (95 % CI)", "Specificity (95 % CI)"),
    *("Remark", "Source"),
)


def _rules() -> str:
    """Tell of every rule whom it was found in, with its figures."""
    rows = [
        (
            *(rule.title, rule.population, rule.count, rule.sensitivity, rule.specificity),
            *(rule.remark, rule.source),
        )
        for rule in RULES
    ]
    return table_html(_RULE_HEADS, rows, caption="The rules and whom they were found in")


def render_context(tables: Mapping[str, Table], after: str = "") -> str:
    """Write the page of the context of D-dimers: every row of every case.

    Parameters
    ----------
    tables
        ``context`` and ``patterns``.
    after
        Range of a probability after a test, in words; empty without.

    """
    context, patterns = tables["context"], tables["patterns"]
    cases = len({row["case"] for row in context.rows})
    places = (
        f"<p>{html.escape(_RULE_NOTE)}</p>"
        + _chosen(context, ("case", "rule", "d_dimer_ug_l", "assay", "cut_off_ug_l", "place"))
        + _list(sorted({f"{row['case']}: {row['caution']}" for row in _careful(context)}))
        + _rules()
    )
    parts = [
        _section("Among published rules", places),
        _section("Patterns as read elsewhere; no diagnosis", _chosen(patterns, patterns.columns)),
    ]
    if after:
        words = f"As a range of 95 %: {after}. The range comes from the counts of the test alone."
        parts.append(_section("Probability after a test", f"<p>{html.escape(words)}</p>"))
    words = f"{cases} case{'s' if cases > 1 else ''}"
    return page("D-dimer and embolism: context, no advice", words, "".join(parts))


def _chosen(table: Table, columns: Sequence[str]) -> str:
    """Draw some columns of a table, all rows."""
    heads = [column.replace("_ug_l", " (µg/L)").replace("_", " ") for column in columns]
    rows = [tuple(row[column] for column in columns) for row in table.rows]
    return table_html(heads, rows)


def _careful(context: Table) -> list[Mapping[str, Any]]:
    return [row for row in context.rows if row["caution"]]


_RULE_NOTE = f"{CONTRADICTION} A value equal to a cut-off counts as at or above it."


def _left_out(study: Study) -> str:
    rows = study.tables["excluded"].rows
    whole = [row for row in rows if not row["column"]]
    text = [f"{row['case']}: {row['reason']}" for row in whole[:MOST_ROWS]]
    if len(whole) > MOST_ROWS:
        text.append(f"{len(whole) - MOST_ROWS} more cases in excluded.csv")
    missing = len(rows) - len(whole)
    if missing:
        text.append(f"{missing} missing values, each with its reason in excluded.csv")
    return _list([*study.left_out, *text])


def _software(versions: Mapping[str, str], digest: str) -> str:
    items = {"LungPerfusion": lungperfusion.__version__, **versions, "SHA-256 of the data": digest}
    rows = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in items.items())
    return f"<dl>{rows}</dl>"
