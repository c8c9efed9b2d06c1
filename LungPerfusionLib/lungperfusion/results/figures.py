"""Pictures for the report: slices, projections, histograms and bars.

A picture is drawn in the patient's axes whatever the order and obliqueness of the voxels: axial,
coronal and sagittal planes in mm, in the radiological convention (the patient's right is on the
reader's left).  Functions give PNG bytes or SVG text; `figure_html` makes them part of a page.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.results.charts import bars, histogram, scatter
from lungperfusion.results.colours import (
    ColourClasses,
    Colours,
    ColourScale,
    hexadecimal,
    label_colour,
)
from lungperfusion.results.drawing import style
from lungperfusion.results.planes import (
    PIXEL_MM,
    PLANE_AXES,
    Plane,
    PlaneGrid,
    aligned,
    extent_ras_mm,
    masked_maximum,
    sample,
    seen,
    whole_grid,
)
from lungperfusion.terms import LUNGS
from lungperfusion.terms import title as title_of
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume, bounding_box

__all__ = [
    "LUNG_WINDOW",
    "MEDIASTINUM_WINDOW",
    "Labels",
    "Overlay",
    "Plane",
    "Window",
    "bars",
    "figure_html",
    "histogram",
    "label_projection",
    "montage",
    "projection",
    "scatter",
    "three_planes",
]

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LETTERS: dict[Plane, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "H", "F"),
    "sagittal": ("A", "P", "H", "F"),
}
"""Left, right, top and bottom of the picture."""

_INK = "#e8e8e8"
_DPI = 180
_LINE_IN = 0.13
"""Height of a line of the legend's title."""
_LEGEND_IN = 1.15
_ROW_IN = 0.2


@dataclass(frozen=True, slots=True)
class Window:
    """Grey window of a CT picture."""

    name: str
    level_hu: float
    width_hu: float

    @property
    def limits_hu(self) -> tuple[float, float]:
        """Densities shown black and white."""
        return self.level_hu - self.width_hu / 2, self.level_hu + self.width_hu / 2


LUNG_WINDOW = Window("lung", -600.0, 1500.0)
MEDIASTINUM_WINDOW = Window("mediastinum", 40.0, 400.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Overlay:
    """Map in colours over the CT; only its valid voxels are drawn.

    Parameters
    ----------
    volume
        The map, on any grid.
    colours
        Colour table; its unit is that of the map.
    title
        What the legend calls the map.
    value_range
        Values of the first and last colour; None for those of the table.
    unit
        Unit the legend prints; None for that of the table.
    opacity
        0 (invisible) to 1.
    threshold
        Values below it are not drawn; None draws all.

    """

    volume: Volume
    colours: Colours
    title: str
    value_range: tuple[float, float] | None = None
    unit: str | None = None
    opacity: float = 0.6
    threshold: float | None = None

    @property
    def table(self) -> Colours:
        """Colour table over the range that is shown."""
        if isinstance(self.colours, ColourScale) and self.value_range is not None:
            return self.colours.stretched(*self.value_range, self.unit)
        return self.colours

    @property
    def legend_title(self) -> str:
        """Title with unit."""
        unit = self.table.unit if self.unit is None else self.unit
        return f"{self.title} ({unit})" if unit not in ("", "1") else self.title


@dataclass(frozen=True, eq=False, kw_only=True)
class Labels:
    """Labels over the CT, in the colours of their structures.

    Parameters
    ----------
    labelmap
        The labels, on any grid.
    fill
        0 for outlines alone, to 1 for opaque areas.
    names
        Which labels to draw; None for all.

    """

    labelmap: Labelmap
    fill: float = 0.0
    names: tuple[str, ...] | None = None

    def shown(self) -> dict[int, str]:
        """Label values to draw, with their names."""
        return {
            value: name
            for value, name in sorted(self.labelmap.names.items())
            if self.names is None or name in self.names
        }

    def colour(self, value: int) -> tuple[float, float, float]:
        """Colour of a label value."""
        shown = self.shown()
        return label_colour(shown[value], list(shown).index(value))


def three_planes(
    ct: Volume,
    *,
    at_ras_mm: Sequence[float] | None = None,
    window: Window = LUNG_WINDOW,
    overlay: Overlay | None = None,
    labels: Labels | None = None,
    around: Labelmap | None = None,
    margin_mm: float = 15.0,
    width_in: float = 7.4,
) -> bytes:
    """Axial, coronal and sagittal plane through one point, on one scale.

    Parameters
    ----------
    ct
        Image in HU, any orientation.
    at_ras_mm
        Point where the planes meet; None for the middle of ``around``, with the sagittal plane
        through the larger lung.
    window
        Grey window.
    overlay, labels
        What to draw over it.
    around
        Labels to frame with a margin; None for those of ``labels``, else the whole image.
    margin_mm
        Space around the frame.
    width_in
        Width of the picture in inches.

    Returns
    -------
    bytes
        PNG.

    """
    around = around or (labels.labelmap if labels else None)
    point = _middle_ras_mm(ct, around) if at_ras_mm is None else np.asarray(at_ras_mm, float)
    low, high = _frame(ct, around, margin_mm)
    planes: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
    grids = [PlaneGrid(plane, point[PLANE_AXES[plane][2]], low, high, PIXEL_MM) for plane in planes]
    pictures = [_render(ct, grid, window, overlay, labels) for grid in grids]
    with style():
        return _sheet(pictures, [grids], overlay, labels, width_in)


def montage(
    ct: Volume,
    *,
    count: int = 6,
    columns: int = 3,
    plane: Plane = "axial",
    window: Window = LUNG_WINDOW,
    overlay: Overlay | None = None,
    labels: Labels | None = None,
    around: Labelmap | None = None,
    margin_mm: float = 10.0,
    width_in: float = 7.4,
) -> bytes:
    """Evenly spaced slices of one plane, from head to feet, front to back or right to left.

    Parameters as in `three_planes`; ``count`` slices stand in rows of ``columns``.

    Returns
    -------
    bytes
        PNG.

    """
    around = around or (labels.labelmap if labels else None)
    inner_low, inner_high = _frame(ct, around, 0.0)
    low, high = _frame(ct, around, margin_mm)
    through = PLANE_AXES[plane][2]
    shares = (np.arange(count) + 0.5) / count
    positions = inner_high[through] - shares * (inner_high[through] - inner_low[through])
    grids = [PlaneGrid(plane, float(at), low, high, PIXEL_MM) for at in positions]
    pictures = [_render(ct, grid, window, overlay, labels) for grid in grids]
    rows = [grids[start : start + columns] for start in range(0, count, columns)]
    with style():
        return _sheet(pictures, rows, overlay, labels, width_in)


def projection(
    volume: Volume,
    *,
    plane: Plane = "coronal",
    mask: Mask | None = None,
    colours: Colours | None = None,
    value_range: tuple[float, float] | None = None,
    title: str = "",
    labels: Labels | None = None,
    width_in: float = 4.5,
) -> bytes:
    """Maximum intensity projection through the voxels of a mask.

    Parameters
    ----------
    volume
        What to project, any orientation.
    plane
        Patient plane to project onto; coronal is seen from the front.
    mask
        Voxels that count, shape (K, J, I); None for all valid ones.
    colours
        Colour table; None for grey over ``value_range``.
    value_range
        Values of the first and last colour; None for those of the table, or for the 1st to the
        99.9th percentile in grey.
    title
        What the legend calls the values.
    labels
        Labels whose silhouettes are drawn over it.
    width_in
        Width of the picture in inches.

    Returns
    -------
    bytes
        PNG.

    Raises
    ------
    InputError
        If no voxel is left to project.

    """
    if mask is None:
        mask = np.ones(volume.geometry.shape, np.bool_) if volume.valid is None else volume.valid
    if not mask.any():
        raise InputError("a projection needs at least one voxel; the mask is empty")
    box = bounding_box(mask)
    mask, grid_geometry = aligned(mask[box], volume.geometry.crop(box))
    array, _ = aligned(volume.array[box], volume.geometry.crop(box))
    grid = whole_grid(grid_geometry, plane)
    axis = 2 - PLANE_AXES[plane][2]
    highest = seen(masked_maximum(array, mask, axis))
    covered = seen(mask.any(axis=axis))
    if colours is None:
        value_range = value_range or _spread(highest[covered])
        colours = ColourScale("grey", ((0.0, "#000000"), (1.0, "#ffffff")), volume.unit)
    overlay = Overlay(volume=volume, colours=colours, title=title, value_range=value_range)
    pixels = overlay.table.colours(highest) * covered[..., None]
    contours = _silhouettes(labels, grid) if labels else []
    with style():
        picture = _Picture(pixels, contours)
        return _sheet([picture], [[grid]], overlay if title else None, labels, width_in)


def label_projection(
    labels: Labels,
    *,
    plane: Plane = "coronal",
    highest: bool = False,
    shaded: bool = True,
    legend: bool = True,
    width_in: float = 4.5,
) -> bytes:
    """Labels seen from the front, the right side or the head, each in its colour.

    Parameters
    ----------
    labels
        What to show; the label nearest to the viewer hides those behind.
    highest
        Whether the highest label along each line hides the others instead, unshaded.
    plane
        Patient plane to project onto: coronal is seen from the front, sagittal from the right,
        axial from the feet, as slices are.
    shaded
        Whether what lies deeper is darker.
    legend
        Whether to name the labels below.
    width_in
        Width of the picture in inches.

    Returns
    -------
    bytes
        PNG.

    """
    shown = labels.shown()
    wanted = np.isin(labels.labelmap.array, list(shown))
    if not wanted.any():
        raise InputError("a projection needs at least one voxel; none of the labels has one")
    box = bounding_box(wanted)
    array, geometry = aligned(
        np.where(wanted[box], labels.labelmap.array[box], 0), labels.labelmap.geometry.crop(box)
    )
    grid = whole_grid(geometry, plane)
    axis = 2 - PLANE_AXES[plane][2]
    if plane != "axial":  # seen from the front and from the right: the far end comes first
        array = np.flip(array, axis)
    occupied = array != 0
    depth = np.argmax(array if highest else occupied, axis=axis)
    first = np.take_along_axis(array, np.expand_dims(depth, axis), axis).squeeze(axis)
    table = np.zeros((max(shown) + 1, 3), dtype=np.float32)
    for value in shown:
        table[value] = labels.colour(value)
    pixels = table[first]
    if shaded and not highest:
        pixels = pixels * (1 - 0.65 * depth / array.shape[axis])[..., None].astype(np.float32)
    with style():
        return _sheet(
            [_Picture(seen(pixels), [])], [[grid]], None, labels if legend else None, width_in
        )


def figure_html(
    picture: bytes | str, *, alt: str, caption: str = "", width_percent: float = 100.0
) -> str:
    """Embed PNG bytes or SVG text in a page.

    Parameters
    ----------
    picture
        What a function of this module returned.
    alt
        What the picture shows, for readers who cannot see it.
    caption
        Text under it.
    width_percent
        Share of the width of the page.

    """
    if isinstance(picture, str):
        kind, data, css = "svg+xml", picture.encode(), "chart"
    else:
        kind, data, css = "png", picture, "scan"
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    words = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    if width_percent < 100:
        css += " part"
    return (
        f'<figure class="{css}" style="width:{width_percent:g}%">'
        f'<img src="{source}" alt="{html.escape(alt, quote=True)}">{words}</figure>'
    )


@dataclass(frozen=True, eq=False)
class _Picture:
    """Pixels of one plane and the lines over them."""

    pixels: NDArray[np.float32]
    contours: list[tuple[NDArray[np.float32], tuple[float, float, float]]]


def _render(
    ct: Volume, grid: PlaneGrid, window: Window, overlay: Overlay | None, labels: Labels | None
) -> _Picture:
    points = grid.points_ras_mm()
    black, white = window.limits_hu
    densities, inside = sample(ct.array, ct.geometry, points)
    grey = np.clip((densities - black) / (white - black), 0, 1) * inside
    pixels = np.repeat(grey[..., None], 3, axis=-1).astype(np.float32)
    if overlay is not None:
        values, shown = _sample_map(overlay, points)
        if overlay.threshold is not None:
            shown = shown & (values >= overlay.threshold)
        if isinstance(overlay.colours, ColourClasses):
            shown = shown & overlay.colours.painted(values)
        pixels = _blend(pixels, overlay.table.colours(values), shown * overlay.opacity)
    contours = []
    if labels is not None:
        labelmap = labels.labelmap
        for value in labels.shown():
            cover, _ = sample(labelmap.array, labelmap.geometry, points, equal_to=value)
            if cover.any():
                colour = labels.colour(value)
                pixels = _blend(pixels, np.asarray(colour), (cover >= 0.5) * labels.fill)
                contours.append((cover, colour))
    return _Picture(pixels, contours)


def _blend(
    below: NDArray[np.float32], above: NDArray[Any], opacity: NDArray[Any]
) -> NDArray[np.float32]:
    share = np.asarray(opacity, dtype=np.float32)[..., None]
    return np.asarray(below * (1 - share) + above * share, dtype=np.float32)


def _sample_map(
    overlay: Overlay, points_ras_mm: NDArray[np.float64]
) -> tuple[NDArray[np.float32], Mask]:
    """Map values and where they are valid; invalid neighbours do not bleed into the edge."""
    volume = overlay.volume
    order: Literal[0, 1] = 1 if isinstance(overlay.colours, ColourScale) else 0
    if volume.valid is None:
        return sample(volume.array, volume.geometry, points_ras_mm, order=order)
    if order == 0:
        values, inside = sample(volume.array, volume.geometry, points_ras_mm, order=0)
        valid, _ = sample(volume.valid, volume.geometry, points_ras_mm, order=0)
        return values, inside & (valid > 0)
    weight, inside = sample(volume.valid, volume.geometry, points_ras_mm)
    values, _ = sample(volume.array, volume.geometry, points_ras_mm, known=volume.valid)
    return np.asarray(values / np.maximum(weight, np.float32(1e-6))), inside & (weight >= 0.5)


def _middle_ras_mm(ct: Volume, around: Labelmap | None) -> NDArray[np.float64]:
    """Middle of all labels, but across the body that of the larger of the two lungs."""
    whole = _label_extent_ras_mm(around)
    if whole is None or around is None:
        return np.asarray(extent_ras_mm(ct.geometry).mean(axis=0))
    middle = whole.mean(axis=0)
    lung = max((around.mask(side) for side in LUNGS), key=np.count_nonzero)
    if lung.any():
        middle[0] = extent_ras_mm(around.geometry, bounding_box(lung)).mean(axis=0)[0]
    return np.asarray(middle)


def _frame(
    ct: Volume, around: Labelmap | None, margin_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest R, A, S to show."""
    whole = extent_ras_mm(ct.geometry)
    inner = _label_extent_ras_mm(around)
    if inner is None:
        return whole[0], whole[1]
    return np.maximum(inner[0] - margin_mm, whole[0]), np.minimum(inner[1] + margin_mm, whole[1])


def _label_extent_ras_mm(labelmap: Labelmap | None) -> NDArray[np.float64] | None:
    if labelmap is None or not labelmap.array.any():
        return None
    return extent_ras_mm(labelmap.geometry, bounding_box(labelmap.array != 0))


def _spread(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, (0.01, 0.999))
    return float(low), float(max(high, low + 1e-6))


def _silhouettes(
    labels: Labels, grid: PlaneGrid
) -> list[tuple[NDArray[np.float32], tuple[float, float, float]]]:
    """Outline of the shadow of each label, on the pixels of the grid."""
    axis = 2 - PLANE_AXES[grid.plane][2]
    array, geometry = aligned(labels.labelmap.array, labels.labelmap.geometry)
    points = grid.points_ras_mm()
    through = PLANE_AXES[grid.plane][2]
    points[..., through] = geometry.ijk_to_ras[through, 3]
    out = []
    for value in labels.shown():
        shadow = (array == value).any(axis=axis, keepdims=True)
        shape = list(geometry.shape)
        shape[axis] = 1
        flat = Geometry((shape[0], shape[1], shape[2]), geometry.ijk_to_ras)
        cover, _ = sample(shadow, flat, points)
        if cover.any():
            out.append((cover, labels.colour(value)))
    return out


def _sheet(
    pictures: Sequence[_Picture],
    rows: Sequence[Sequence[PlaneGrid]],
    overlay: Overlay | None,
    labels: Labels | None,
    width_in: float,
) -> bytes:
    """Lay pictures out in rows, on one scale, with legends at the right and below."""
    from matplotlib.figure import Figure

    gap = 0.06
    names = _name_rows(labels, width_in)
    legend_in = _LEGEND_IN if overlay is not None else 0.0
    names_in = len(names) * _ROW_IN + 0.05 if names else 0.0
    widest_mm = max(sum(grid.size_mm[0] for grid in row) for row in rows)
    most = max(len(row) for row in rows)
    inch_per_mm = (width_in - legend_in - gap * (most + 1)) / widest_mm
    heights = [max(grid.size_mm[1] for grid in row) * inch_per_mm for row in rows]
    height_in = sum(heights) + gap * (len(rows) + 1) + names_in
    figure = Figure(figsize=(width_in, height_in), dpi=_DPI, facecolor="black")
    remaining = iter(pictures)
    top = height_in - gap
    for row, height in zip(rows, heights, strict=True):
        left = gap
        for grid in row:
            w, h = (size * inch_per_mm for size in grid.size_mm)
            bottom = top - (height + h) / 2
            axes = figure.add_axes(
                (left / width_in, bottom / height_in, w / width_in, h / height_in)
            )
            _draw(axes, next(remaining), grid)
            left += w + gap
        top -= height + gap
    if overlay is not None:
        _draw_legend(figure, overlay, width_in, height_in, names_in)
    if labels is not None:
        _draw_names(figure, labels, names, width_in, height_in)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor="black", metadata={"Software": None})
    return stream.getvalue()


def _draw(axes: Axes, picture: _Picture, grid: PlaneGrid) -> None:
    from matplotlib.patheffects import withStroke

    width, height = grid.size_mm
    extent = (0.0, width, height, 0.0)
    axes.imshow(np.clip(picture.pixels, 0, 1), extent=extent, aspect="auto")
    for cover, colour in picture.contours:
        rows, columns = cover.shape
        x = (np.arange(columns) + 0.5) * width / columns
        y = (np.arange(rows) + 0.5) * height / rows
        if min(cover.shape) > 1 and cover.min() < 0.5 < cover.max():
            axes.contour(x, y, cover, levels=[0.5], colors=[colour], linewidths=0.9)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    left, right, top, bottom = _LETTERS[grid.plane]
    places = ((0.02, 0.5, left), (0.98, 0.5, right), (0.5, 0.98, top), (0.5, 0.02, bottom))
    for x_at, y_at, letter in places:
        axes.text(
            x_at,
            y_at,
            letter,
            transform=axes.transAxes,
            color="#ffe28a",
            fontsize=8.5,
            fontweight="bold",
            ha={0.02: "left", 0.98: "right"}.get(x_at, "center"),
            va={0.02: "bottom", 0.98: "top"}.get(y_at, "center"),
            path_effects=[withStroke(linewidth=2, foreground="black")],
        )


def _draw_legend(
    figure: Figure, overlay: Overlay, width_in: float, height_in: float, names_in: float
) -> None:
    """Draw the colour bar of a map, or the colours of its classes."""
    table = overlay.table
    left = (width_in - _LEGEND_IN + 0.12) / width_in
    middle = (height_in + names_in) / 2
    heading = _wrapped(overlay.legend_title)
    above = 0.1 + _LINE_IN * len(heading.splitlines())
    length = min(0.6 * (height_in - names_in), 2.4, 2 * (height_in - above - middle))
    box = (left, (middle - length / 2) / height_in, 0.14 / width_in, length / height_in)
    axes = figure.add_axes(box)
    if isinstance(table, ColourScale):
        low, high = table.range
        ramp = np.linspace(high, low, 256)
        axes.imshow(table.colours(ramp)[:, None], extent=(0, 1, low, high), aspect="auto")
        axes.yaxis.tick_right()
        axes.set_xticks([])
        axes.tick_params(colors=_INK, labelsize=7.5, length=2)
    else:
        named = [(colour, name) for colour, name in table.classes if name]
        for number, (colour, name) in enumerate(named):
            axes.add_patch(_patch(0, number + 0.1, 1, 0.8, colour or "#000000", edge=_INK))
            words = _wrapped(name if colour else f"{name} (no colour)", 15)
            axes.text(1.5, number + 0.5, words, color=_INK, fontsize=6.5, va="center")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, len(named))
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_facecolor("black")
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.text(
        left,
        box[1] + box[3] + 0.06 / height_in,
        heading,
        color=_INK,
        fontsize=7.5,
        va="bottom",
    )


def _name_rows(labels: Labels | None, width_in: float) -> list[list[tuple[float, int, str]]]:
    """Label names in rows that fit the width: distance from the left in inches, value, words."""
    rows: list[list[tuple[float, int, str]]] = []
    left = width_in
    for value, name in labels.shown().items() if labels else ():
        words = title_of(name)
        needed = 0.34 + 0.068 * len(words)
        if left + needed > width_in:
            rows.append([])
            left = 0.08
        rows[-1].append((left, value, words))
        left += needed
    return rows


def _draw_names(
    figure: Figure,
    labels: Labels,
    rows: list[list[tuple[float, int, str]]],
    width_in: float,
    height_in: float,
) -> None:
    """Draw rows of coloured label names under the pictures."""
    for number, row in enumerate(reversed(rows)):
        y = (0.05 + (number + 0.5) * _ROW_IN) / height_in
        for left, value, words in row:
            square = (left / width_in, y - 0.045 / height_in, 0.09 / width_in, 0.09 / height_in)
            figure.add_artist(_patch(*square, hexadecimal(labels.colour(value))))
            x = (left + 0.14) / width_in
            figure.text(x, y, words, color=_INK, fontsize=7.5, va="center")


def _patch(
    x: float, y: float, width: float, height: float, colour: str, *, edge: str = "none"
) -> Any:
    from matplotlib.patches import Rectangle

    line = 0.0 if edge == "none" else 0.5
    return Rectangle((x, y), width, height, facecolor=colour, edgecolor=edge, linewidth=line)


def _wrapped(text: str, columns: int = 14) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, columns))


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]
