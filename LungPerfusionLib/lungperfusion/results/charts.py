"""Charts of the report: histograms, bars and scatter as SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lungperfusion.results.colours import hexadecimal, label_colour
from lungperfusion.results.drawing import style
from lungperfusion.terms import title as title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def histogram(
    distributions: Mapping[str, tuple[NDArray[np.float64], NDArray[np.int64]]],
    *,
    bin_width: float = 10.0,
    value_range: tuple[float, float] = (-1024.0, 100.0),
    thresholds: Sequence[float] = (),
    band: tuple[float, float, str] | None = None,
    label: str = "Density (HU)",
    unit: str = "HU",
    size_in: tuple[float, float] = (4.6, 2.15),
) -> str:
    """Draw how often each value occurs in each region.

    Parameters
    ----------
    distributions
        By region: the values that occur, and how many voxels have each.
    bin_width, value_range
        Bins of the picture, in the unit of the values; what lies beyond is not drawn.
    thresholds
        Values to mark with a line.
    band
        Interval to shade, with its name: a reference interval.
    label, unit
        Name of the value axis, and its unit.
    size_in
        Width and height in inches.

    Returns
    -------
    str
        SVG.

    """
    edges = np.arange(value_range[0], value_range[1] + bin_width, bin_width)
    with style():
        figure, axes = _chart(size_in)
        for number, (region, (values, counts)) in enumerate(distributions.items()):
            if not counts.sum():
                continue
            heights, _ = np.histogram(values, bins=edges, weights=counts.astype(np.float64))
            heights *= 100 / counts.sum()
            colour = _chart_colour(region, number)
            axes.stairs(heights, edges, color=colour, linewidth=1.6, label=title_of(region))
        if band is not None:
            axes.axvspan(band[0], band[1], color="#2a9d5c", alpha=0.14, linewidth=0, label=band[2])
        for threshold in thresholds:
            axes.axvline(threshold, color="#555555", linewidth=0.9, linestyle=(0, (4, 3)))
            axes.text(
                threshold,
                1.01,
                f"{threshold:g}".replace("-", "−"),
                ha="center",
                va="bottom",
                fontsize=7.5,
                color="#444444",
                transform=axes.get_xaxis_transform(),
            )
        axes.set_xlim(*value_range)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(label)
        axes.set_ylabel(f"% of voxels per {bin_width:g} {unit}".rstrip())
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8)
        return _svg(figure)


def bars(
    series: Mapping[str, Mapping[str, float]],
    *,
    label: str,
    size_in: tuple[float, float] = (4.6, 2.15),
) -> str:
    """Draw one group of bars per region, one bar per series; missing values say so.

    Parameters
    ----------
    series
        By series name: value by region identifier; NaN for one that is missing.
    label
        Name and unit of the value axis.
    size_in
        Width and height in inches.

    Returns
    -------
    str
        SVG.

    """
    regions = list(dict.fromkeys(region for values in series.values() for region in values))
    width = 0.8 / max(1, len(series))
    with style():
        figure, axes = _chart(size_in)
        for number, (name, values) in enumerate(series.items()):
            at = np.arange(len(regions)) + (number - (len(series) - 1) / 2) * width
            heights = np.array([values.get(region, math.nan) for region in regions])
            colour = hexadecimal(label_colour("", number))
            axes.bar(at, np.nan_to_num(heights), width * 0.92, color=colour, label=name)
            for position in at[np.isnan(heights)]:
                axes.text(position, 0, " missing", rotation=90, ha="center", va="bottom", size=7)
        axes.axhline(0, color="#444444", linewidth=0.8)
        names = [title_of(region).replace(" ", "\n", 1) for region in regions]
        axes.set_xticks(np.arange(len(regions)), names, fontsize=7.5)
        axes.set_ylabel(label)
        if len(series) > 1:  # above the bars, which may fill the whole field
            above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": len(series)}
            axes.legend(frameon=False, fontsize=8, borderaxespad=0.2, **above)
        return _svg(figure)


@dataclass(frozen=True, eq=False, kw_only=True)
class Line:
    """One curve over time."""

    name: str
    """Words of the legend."""
    values: NDArray[np.float64]
    fitted: NDArray[np.float64] | None = None
    """Drawn as a line through the values, which are then points."""


def time_curves(
    times_s: NDArray[np.float64],
    lines: Sequence[Line],
    *,
    label: str,
    marks: Mapping[str, float] = MappingProxyType({}),
    size_in: tuple[float, float] = (3.6, 2.4),
) -> str:
    """Draw curves over time.

    Parameters
    ----------
    times_s
        Of the values.
    lines
        Curves; each has its colour.
    label
        Name and unit of the value axis.
    marks
        Times to mark with a line, by their words.
    size_in
        Width and height in inches.

    Returns
    -------
    str
        SVG.

    """
    with style():
        figure, axes = _chart(size_in)
        for number, line in enumerate(lines):
            colour = _chart_colour("", number)
            if line.fitted is None:
                axes.plot(times_s, line.values, "o-", ms=2.5, lw=1.2, color=colour, label=line.name)
            else:
                axes.plot(times_s, line.values, "o", ms=2.5, color=colour, label=line.name)
                axes.plot(times_s, line.fitted, "-", lw=1.2, color=colour)
        for words, at in marks.items():
            axes.axvline(at, color="#555555", linewidth=0.9, linestyle=(0, (4, 3)))
            place = axes.get_xaxis_transform()
            axes.text(at, 1.01, words, transform=place, ha="center", va="bottom", fontsize=6.5)
        axes.axhline(0, color="#444444", linewidth=0.6)
        axes.set_xlabel("Time (s)")
        axes.set_ylabel(label)
        axes.legend(frameon=False, fontsize=6.5)
        return _svg(figure)


def scatter(
    points: Mapping[str, tuple[float, float]],
    *,
    label: tuple[str, str],
    diagonal: bool = False,
    levels: Sequence[float] = (),
    size_in: tuple[float, float] = (3.2, 2.6),
) -> str:
    """Draw one named point per region.

    Parameters
    ----------
    points
        By region identifier: place along and up.
    label
        Names and units of both axes.
    diagonal
        Whether to draw the line of identity.
    levels
        Heights to mark with a line.
    size_in
        Width and height in inches.

    Returns
    -------
    str
        SVG.

    """
    with style():
        figure, axes = _chart(size_in)
        for number, (region, (x, y)) in enumerate(points.items()):
            axes.plot(x, y, "o", color=_chart_colour(region, number), label=title_of(region))
        if diagonal:
            axes.axline((0, 0), slope=1, color="#777777", linewidth=0.9)
        for level in levels:
            axes.axhline(level, color="#555555", linewidth=0.9, linestyle=(0, (4, 3)))
        axes.margins(0.15)
        axes.set_xlabel(label[0])
        axes.set_ylabel(label[1])
        axes.legend(frameon=False, fontsize=6.5)
        return _svg(figure)


def _chart(size_in: tuple[float, float]) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_in, layout="constrained", facecolor="white")
    return figure, figure.add_subplot()


def _chart_colour(identifier: str, number: int) -> str:
    """Structure colour, darkened so that a line stands out on white."""
    return hexadecimal([0.78 * channel for channel in label_colour(identifier, number)])


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]
