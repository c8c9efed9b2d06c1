"""Pictures of a study as PNG and SVG: the same data, the same bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from lungperfusion.cohort.comparisons import CONFIDENCE, seed_of
from lungperfusion.cohort.joining import Cohort
from lungperfusion.cohort.repeatability import LIMITS_SD
from lungperfusion.cohort.specification import Contrast, RowSpec
from lungperfusion.cohort.study import LobarResult, RelationResult, RetestResult, RocResult, Study
from lungperfusion.cohort.tables import members
from lungperfusion.cohort.wording import decimals_for, estimate, interval, number, p_text, signs
from lungperfusion.results.drawing import style
from lungperfusion.results.report import unit_text
from lungperfusion.terms import LOBES, MEASURES, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 300
"""Of the PNG: what journals ask for."""
MOST_PANELS = 6
"""Rows that the picture of groups shows."""
MOST_DRAWN_POINTS = 1000
"""Points of a cloud above which an SVG holds them as an image: no one can move them singly."""
_COLOURS = ("#1f5f8b", "#b5651d", "#3f7d4e", "#7a4b8c", "#a03b48")
_GREY = "#777777"
_DASHED = (0, (4, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One figure in both formats."""

    name: str
    caption: str
    png: bytes
    svg: str


def pictures(study: Study) -> Iterator[Picture]:
    """Draw everything that a study has to show."""
    for number_of, contrast in enumerate(study.specification.contrasts, start=1):
        rows = _drawable(study, contrast)
        if rows:
            yield _groups(study.cohort, contrast, rows, f"groups_{number_of}")
    for number_of, relation in enumerate(study.relations, start=1):
        if not relation.regression.reason:
            yield _relation(study.cohort, relation, f"relation_{number_of}")
    for number_of, roc in enumerate(study.rocs, start=1):
        if not roc.found.reason:
            yield _roc(study.cohort, roc, f"roc_{number_of}")
    for number_of, lobes in enumerate(study.lobar, start=1):
        if lobes.agreement is not None:
            yield _lobes(lobes, f"lobes_{number_of}")
    for number_of, retest in enumerate(study.retests, start=1):
        if not retest.found.reason:
            yield _retest(study.cohort, retest, f"retest_{number_of}")


def _drawable(study: Study, contrast: Contrast) -> list[RowSpec]:
    """Rows with numbers, measurements before clinical values, without what parts the groups."""
    cohort = study.cohort
    own = {cohort.column(name) for name in contrast.own_columns()}
    rows = [
        row
        for row in study.table_one.rows
        if row.show != "count" and cohort.is_number(row.column) and row.column not in own
    ]
    rows.sort(key=lambda row: row.column not in cohort.measures)
    return rows[:MOST_PANELS]


def _axis_label(cohort: Cohort, column: str, words: str = "") -> str:
    unit = unit_text(cohort.unit(column))
    text = words or cohort.label(column)
    return f"{text} ({unit})" if unit and unit not in text else text


def _axes(columns: int, size_in: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_in, layout="constrained", facecolor="white")
    return figure, list(np.atleast_1d(figure.subplots(1, columns)))


def _picture(figure: Figure, name: str, caption: str) -> Picture:
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(
        png, format="png", dpi=DPI, metadata={"Software": None}, pil_kwargs={"compress_level": 3}
    )
    figure.set_layout_engine("none")  # laid out once, and both pictures alike
    figure.savefig(svg, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
    return Picture(name=name, caption=caption, png=png.getvalue(), svg=svg.getvalue())


def _groups(cohort: Cohort, contrast: Contrast, rows: list[RowSpec], name: str) -> Picture:
    from matplotlib.figure import Figure

    across = min(3, len(rows))
    down = math.ceil(len(rows) / across)
    with style():
        figure = Figure(figsize=(2.5 * across, 2.5 * down), layout="constrained", facecolor="white")
        fields = np.atleast_1d(figure.subplots(down, across)).ravel()
        for axes, row in zip(fields, rows, strict=False):
            column = cohort.column(row.column)
            parts = [
                cohort.frame.loc[members(cohort, group), column].dropna().to_numpy(np.float64)
                for group in contrast.groups
            ]
            _boxes(axes, parts)
            labels = [
                f"{_broken(group.label, 15)}\nn = {part.size}"
                for group, part in zip(contrast.groups, parts, strict=True)
            ]
            axes.set_xticks(range(1, len(parts) + 1), labels, fontsize=7)
            axes.set_ylabel(_broken(_axis_label(cohort, column, row.label), 26), fontsize=8)
        for axes in fields[len(rows) :]:
            axes.set_axis_off()
        caption = (
            f"{contrast.label}: median and quartiles, whiskers to 1.5 times their distance, every "
            "patient a point."
        )
        return _picture(figure, name, caption)


def _boxes(axes: Axes, parts: list[Any]) -> None:
    for place, part in enumerate(parts, start=1):
        if not part.size:
            continue
        colour = _COLOURS[(place - 1) % len(_COLOURS)]
        rng = np.random.default_rng(seed_of(part))
        spread = rng.uniform(-0.18, 0.18, part.size)
        size = 9 if part.size <= 300 else 2
        _points(axes, place + spread, part, s=size, color=colour, alpha=0.45, linewidths=0)
        axes.boxplot(
            part,
            positions=[place],
            widths=0.5,
            showfliers=False,
            medianprops={"color": "#222222", "linewidth": 1.4},
            boxprops={"color": "#444444"},
            whiskerprops={"color": "#444444"},
            capprops={"color": "#444444"},
        )
    axes.set_xlim(0.4, len(parts) + 0.6)


def _points(axes: Axes, x: Any, y: Any, **looks: Any) -> None:
    """Draw a cloud of points."""
    axes.scatter(x, y, rasterized=len(x) > MOST_DRAWN_POINTS, **looks)


def _broken(text: str, width: int) -> str:
    """Text in lines of about a width, broken at blanks."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _relation(cohort: Cohort, relation: RelationResult, name: str) -> Picture:
    """Points with the line, and what is left of them."""
    x, y = relation.pairs.T
    found = relation.regression
    with style():
        figure, (left, right) = _axes(2, (6.6, 3.0))
        marked = np.zeros(x.size, np.bool_)
        marked[list(found.influential)] = True
        for axes, heights in ((left, y), (right, np.array(found.residuals))):
            _points(axes, x[~marked], heights[~marked], s=12, color=_COLOURS[0], alpha=0.6, lw=0)
            _points(
                axes, x[marked], heights[marked], s=16, facecolors="none", edgecolors=_COLOURS[1]
            )
            axes.set_xlabel(_broken(_axis_label(cohort, relation.x), 34))
        _line(left, x, y, found.slope, found.intercept)
        left.set_ylabel(_broken(_axis_label(cohort, relation.y), 30))
        right.axhline(0, color=_GREY, linewidth=0.9, linestyle=_DASHED)
        right.set_ylabel("Residual")
        pearson = relation.correlations[0]
        digits = decimals_for(abs(found.slope_high - found.slope_low))
        caption = (
            f"{cohort.label(relation.y)} against {cohort.label(relation.x)} (n = {found.count}): "
            f"Pearson r {number(pearson.estimate, 2)} ({interval(pearson.low, pearson.high, 2)}), "
            f"p {_equal(pearson.p)}; slope {number(found.slope, digits)} "
            f"({interval(found.slope_low, found.slope_high, digits)}, HC3); R² "
            f"{number(found.r_squared, 3)} "
            f"({interval(found.r_squared_low, found.r_squared_high, 3)}). Left with the line and "
            "the 95 % band of its mean, right the residuals; rings: Cook's distance above 4/n."
        )
        return _picture(figure, name, caption)


def _equal(p: float) -> str:
    text = p_text(p)
    return text if text.startswith(("<", ">")) else f"= {text}"


def _line(axes: Axes, x: Any, y: Any, slope: float, intercept: float) -> None:
    places = np.linspace(x.min(), x.max(), 60)
    heights = intercept + slope * places
    rest = y - intercept - slope * x
    error = math.sqrt(float((rest**2).sum()) / (x.size - 2))
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, x.size - 2) * error
    reach = reach * np.sqrt(1 / x.size + (places - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum())
    axes.plot(places, heights, color="#222222", linewidth=1.2)
    axes.fill_between(places, heights - reach, heights + reach, color=_GREY, alpha=0.2, linewidth=0)


def _roc(cohort: Cohort, roc: RocResult, name: str) -> Picture:
    found = roc.found
    with style():
        figure, (axes,) = _axes(1, (3.3, 3.1))
        across, up = zip(*found.curve, strict=True)
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.9, linestyle=_DASHED)
        axes.plot(across, up, color=_COLOURS[0], linewidth=1.6)
        for point in found.points:
            axes.plot(1 - point.specificity, point.sensitivity, "o", color=_COLOURS[1])
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        axes.set_xlabel("1 − specificity")
        axes.set_ylabel("Sensitivity")
        words = "" if found.higher_is_positive else ", low values speaking for it"
        caption = (
            f"{cohort.label(roc.score)} for {signs(roc.outcome)}{words}: AUC "
            f"{estimate(found.auc, found.auc_low, found.auc_high, 2)}, {found.positives} of "
            f"{found.count} with the outcome; points: cut-offs of operating_points.csv."
        )
        return _picture(figure, name, caption)


def _lobes(result: LobarResult, name: str) -> Picture:
    agreement = result.agreement
    with style():
        figure, (axes,) = _axes(1, (4.4, 3.2))
        for lobe, colour in zip(LOBES, _COLOURS, strict=True):
            rows = [row for row in result.rows if row["region"] == lobe.value]
            _points(
                axes,
                [row["x"] for row in rows],
                [row["y"] for row in rows],
                s=12,
                color=colour,
                alpha=0.65,
                linewidths=0,
                label=title(lobe),
            )
        axes.set_xlabel(_broken(_lobar_label(result.spec.x), 40))
        axes.set_ylabel(_broken(_lobar_label(result.spec.y), 30))
        axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
        pearson = math.nan if agreement is None else agreement.pearson
        null = math.nan if agreement is None else agreement.null_pearson
        caption = (
            f"{lobar_title(result.spec.y)} against {lobar_title(result.spec.x)} by lobe: pooled r "
            f"{number(pearson, 2)}, of which lobe size alone would give {number(null, 2)}."
        )
        if result.model is not None:
            caption += (
                " Within patients, lobe and size held fixed: slope "
                f"{number(result.model.slope, 2)} "
                f"({interval(*result.model.interval, 2)}), p {_equal(result.model.p)}."
            )
        return _picture(figure, name, caption)


def _lobar_label(name: str) -> str:
    unit = unit_text(MEASURES[name].unit) if name in MEASURES else ""
    return f"{lobar_title(name)} ({unit})" if unit else lobar_title(name)


def lobar_title(name: str) -> str:
    """Words for a measure of the lobes."""
    return MEASURES[name].title if name in MEASURES else name


def _retest(cohort: Cohort, retest: RetestResult, name: str) -> Picture:
    found = retest.found
    digits = decimals_for(found.sdc)
    with style():
        figure, (axes,) = _axes(1, (4.2, 3.0))
        mean, difference = (retest.first + retest.second) / 2, retest.second - retest.first
        _points(axes, mean, difference, s=14, color=_COLOURS[0], alpha=0.65, linewidths=0)
        for height, low, high in (
            (found.bias, found.bias_low, found.bias_high),
            (found.lower_limit, found.lower_limit_low, found.lower_limit_high),
            (found.upper_limit, found.upper_limit_low, found.upper_limit_high),
        ):
            axes.axhline(height, color="#222222", linewidth=1.0)
            axes.axhspan(low, high, color=_GREY, alpha=0.18, linewidth=0)
        axes.set_xlabel(_broken(f"Mean: {_axis_label(cohort, retest.column)}", 40))
        axes.set_ylabel("Second − first")
        caption = (
            f"{cohort.label(retest.column)} (n = {found.count}): bias {number(found.bias, digits)} "
            f"({interval(found.bias_low, found.bias_high, digits)}), limits of agreement "
            f"{number(found.lower_limit, digits)} and {number(found.upper_limit, digits)} "
            f"(bias ± {LIMITS_SD} SD; bands: 95 % intervals); ICC(2,1) "
            f"{number(found.icc_2_1, 2)} ({interval(found.icc_2_1_low, found.icc_2_1_high, 2)}), "
            f"ICC(3,1) {number(found.icc_3_1, 2)}; smallest detectable change "
            f"{number(found.sdc, digits)}."
        )
        return _picture(figure, name, caption)
