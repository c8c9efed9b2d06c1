"""Pictures of ventilation, perfusion and their match for the report."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lungperfusion.measurement import Measurement
from lungperfusion.progress import Progress, ignore
from lungperfusion.results.colours import IODINE_PERFUSION, VENTILATION, ColourScale
from lungperfusion.results.figures import (
    Labels,
    Overlay,
    bars,
    figure_html,
    histogram,
    montage,
    three_planes,
)
from lungperfusion.results.section import Section
from lungperfusion.terms import LOBES, LUNGS, ZONES, Region, title
from lungperfusion.volume import Labelmap, Volume, box_around
from lungperfusion.vq.classes import CLASSES, Thresholds

VQ_RATIO = ColourScale(
    "vq_ratio",
    ((0.0, "#1f4fbf"), (0.25, "#8fb4f0"), (0.5, "#f2f2f2"), (0.75, "#f0a66b"), (1.0, "#b03a1a")),
    "1",
)
"""V/Q on a logarithmic scale: blue where perfusion prevails, red where ventilation does."""

RATIO_RANGE = (-1.5, 1.5)
"""Shown range of log2 (V/Q): from about a third to three times the mean."""

_MARGIN_MM = 15.0
_MAP_WIDTH_PERCENT = 76.0  # leaves room for values and shares on the first page of a print


def vq_sections(
    ct: Volume,
    lungs: Labelmap,
    ventilation: Volume,
    perfusion: Volume,
    classes: Labelmap,
    measurements: Sequence[Measurement],
    sensitivity: Sequence[dict[str, float]],
    *,
    limits: Thresholds,
    progress: Progress = ignore,
) -> tuple[Section, ...]:
    """Draw V, Q, V/Q and the classes in the same planes, the shares and the sensitivity.

    Parameters
    ----------
    ct
        Expiratory CT in HU.
    lungs
        Lungs on its grid.
    ventilation, perfusion
        Maps over their mean, on the same grid, valid inside the lungs.
    classes
        Of `lungperfusion.vq.classes.classify`.
    measurements
        Of `lungperfusion.vq.metrics.measure_vq`.
    sensitivity
        Rows of `lungperfusion.vq.classes.sensitivity`.
    limits
        Thresholds of the classes.

    """
    inside = lungs.mask(*LUNGS)
    if not inside.any():
        return ()
    box = box_around(inside, ct.geometry.spacing_kji_mm, _MARGIN_MM)
    ct, lungs, classes = ct.crop(box), lungs.crop(box), classes.crop(box)
    v, q = ventilation.crop(box), perfusion.crop(box)
    overlays = _overlays(v, q)
    pictures = []
    for number, (name, overlay) in enumerate(overlays):
        progress(0.15 * number, "drawing ventilation and perfusion")
        picture = three_planes(ct, overlay=overlay, around=lungs)
        pictures.append(
            figure_html(
                picture,
                alt=f"{name} in an axial, a coronal and a sagittal plane of the expiratory CT",
                caption=f"{name}, expiratory scan.",
                width_percent=_MAP_WIDTH_PERCENT,
            )
        )
    progress(0.45, "drawing classes")
    shown = Labels(labelmap=classes, fill=0.55, names=CLASSES[1:])
    class_planes = figure_html(
        three_planes(ct, labels=shown, around=lungs),
        alt="Shunt-like, dead-space-like and matched defect regions in the same planes",
        caption="Classes: shunt-like (ventilation low), dead-space-like (perfusion low), matched "
        "(both low).",
    )
    slices = figure_html(
        montage(ct, labels=shown, around=lungs, count=8, columns=4, plane="coronal"),
        alt="Eight coronal slices with the classes, from front to back",
        caption="Coronal slices from front to back.",
    )
    progress(0.8, "drawing shares")
    chart = _share_chart(measurements)
    curve = _histogram(v, q, limits)
    progress(1.0, "drawing shares")
    return (
        Section(title="Ventilation and perfusion", html=_rows(*pictures), place="top"),
        Section(
            title="Shares of ventilation and perfusion", html=chart + curve, place="first_page"
        ),
        Section(title="Classes of ventilation and perfusion", html=_rows(class_planes, slices)),
        Section(title="Sensitivity to the threshold", html=_sensitivity_table(sensitivity)),
    )


def _overlays(v: Volume, q: Volume) -> tuple[tuple[str, Overlay], ...]:
    """Ventilation, perfusion and their quotient, as they are drawn over the CT."""
    ratio = np.log2(np.maximum(v.array, 0.05) / np.maximum(q.array, 0.05)).astype(np.float32)
    return (
        (
            "Ventilation",
            Overlay(
                volume=v, colours=VENTILATION, title="V / mean", value_range=(0.0, 2.0), unit="1"
            ),
        ),
        (
            "Perfusion (CT surrogate)",
            Overlay(
                volume=q,
                colours=IODINE_PERFUSION,
                title="Q / mean",
                value_range=(0.0, 2.0),
                unit="1",
            ),
        ),
        (
            "V/Q",
            Overlay(
                volume=v.with_array(ratio, unit="1"),
                colours=VQ_RATIO,
                title="log2 V/Q",
                value_range=RATIO_RANGE,
                unit="1",
            ),
        ),
    )


def _rows(*figures: str) -> str:
    """One full-width figure below the other, so that their planes stand in line."""
    return "".join(f"<div>{figure}</div>" for figure in figures)


def _share_chart(measurements: Sequence[Measurement]) -> str:
    value = {(m.region, m.measure): m.value for m in measurements}
    regions: tuple[Region, ...] = LOBES
    if any(math.isnan(value.get((r.value, "ventilation_share"), math.nan)) for r in LOBES):
        regions = ZONES
    series = {
        name: {r.value: value.get((r.value, measure), math.nan) for r in regions}
        for name, measure in (
            ("Volume", "volume_share"),
            ("Ventilation", "ventilation_share"),
            ("Perfusion (CT surrogate)", "perfusion_share"),
        )
    }
    picture = bars(series, label="Share of both lungs (%)")
    words = "; ".join(
        f"{title(r)}: V {series['Ventilation'][r.value]:.0f} %, "
        f"Q {series['Perfusion (CT surrogate)'][r.value]:.0f} %"
        for r in regions
    )
    return figure_html(
        picture, alt=f"Shares. {words}", caption="Shares of both lungs.", width_percent=49
    )


def _histogram(ventilation: Volume, perfusion: Volume, limits: Thresholds) -> str:
    edges = np.arange(0.0, 3.02, 0.02)
    counts = {}
    for name, volume in (("ventilation", ventilation), ("perfusion", perfusion)):
        inside = np.ones(volume.array.shape, np.bool_) if volume.valid is None else volume.valid
        found = np.histogram(np.clip(volume.array[inside], 0, 2.999), edges)[0]
        counts[name] = ((edges[:-1] + edges[1:]) / 2, found.astype(np.int64))
    picture = histogram(
        counts,
        bin_width=0.05,
        value_range=(0.0, 3.0),
        thresholds=tuple(sorted({limits.ventilation, limits.perfusion})),
        label="V and Q over their means",
        unit="",
    )
    return figure_html(
        picture,
        alt="Histogram of ventilation and perfusion over their means",
        caption=f"Dashed: what counts as low, V below {limits.ventilation:g} and Q below "
        f"{limits.perfusion:g} of the mean.",
        width_percent=49,
    )


def _sensitivity_table(rows: Sequence[dict[str, float]]) -> str:
    head = "".join(
        f"<th>{name}</th>"
        for name in ("Low below", "Shunt-like", "Dead-space-like", "Matched", "Abnormal")
    )
    body = "".join(
        "<tr>"
        + f"<td>{row['threshold']:.1f} × mean</td>"
        + "".join(
            f"<td>{row[key]:.1f} %</td>"
            for key in (
                "shunt_percent",
                "dead_space_percent",
                "matched_defect_percent",
                "abnormal_percent",
            )
        )
        + "</tr>"
        for row in rows
    )
    return (
        "<p>The white paper that names the classes prints no thresholds; this is how much the "
        "shares of lung volume depend on them.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
