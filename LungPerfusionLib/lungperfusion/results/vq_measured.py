"""Report block of measured perfusion or ventilation beside what CT alone gives."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lungperfusion.results.analysis import Table
from lungperfusion.results.colours import IODINE_PERFUSION, VENTILATION
from lungperfusion.results.figures import Labels, Overlay, figure_html, three_planes
from lungperfusion.results.report import table_html
from lungperfusion.results.section import Section
from lungperfusion.results.vq_tables import class_kappa
from lungperfusion.terms import LUNGS, title
from lungperfusion.volume import Labelmap, Volume, box_around
from lungperfusion.vq.classes import CLASSES
from lungperfusion.vq.comparison import RegionComparison, agree_by_partition

_MARGIN_MM = 15.0
_INTRODUCTION = (
    "<p>Values called measured rest on the maps shown here; all others, and the maps above, on "
    "both scans alone.</p>"
)


def measured_section(
    ct: Volume,
    lungs: Labelmap,
    shown: Sequence[Volume],
    classes: Labelmap,
    confusion: Table,
    compared: Sequence[RegionComparison],
    *,
    words: Sequence[str],
) -> Section:
    """Draw the measured maps with their classes, and set them against CT alone.

    Parameters
    ----------
    ct, lungs
        Expiratory CT in HU with its lungs.
    shown
        Measured maps over their mean, on the same grid.
    classes
        With the measured maps.
    confusion
        Of `lungperfusion.results.vq_tables.confusion_table`.
    compared
        Shares of the surrogate and of the measured perfusion; empty without one.
    words
        What each map is, in the order of ``shown``.

    """
    box = box_around(lungs.mask(*LUNGS), ct.geometry.spacing_kji_mm, _MARGIN_MM)
    ct, lungs = ct.crop(box), lungs.crop(box)
    pictures = ""
    for name, volume in zip(words, shown, strict=True):
        overlay = Overlay(
            volume=volume.crop(box),
            colours=VENTILATION if name.startswith("Ventilation") else IODINE_PERFUSION,
            title="measured / mean",
            value_range=(0.0, 2.0),
            unit="1",
        )
        pictures += figure_html(
            three_planes(ct, overlay=overlay, around=lungs),
            alt=f"{name} in an axial, a coronal and a sagittal plane of the expiratory CT",
            caption=f"{name}, on the expiratory scan.",
        )
    labels = Labels(labelmap=classes.crop(box), fill=0.55, names=CLASSES[1:])
    pictures += figure_html(
        three_planes(ct, labels=labels, around=lungs),
        alt="Classes with the measured maps in the same planes",
        caption="Classes with the measured maps.",
    )
    return Section(
        title="Measured maps",
        html=_INTRODUCTION + pictures + _shares(compared) + _confusion(confusion),
    )


def _shares(compared: Sequence[RegionComparison]) -> str:
    """Shares side by side, with what lobe size alone explains."""
    if not compared:
        return ""
    rows = [
        (title(row.region), *(f"{x:.1f}" for x in (row.reference_percent, row.ct_percent)),
         f"{row.ct_percent - row.reference_percent:+.1f}", f"{row.volume_percent:.1f}",
         f"{row.voxel_spearman:.2f}")
        for row in compared
    ]  # fmt: skip
    heads = (
        *("Region", "Measured perfusion (%)", "CT surrogate (%)", "difference (points)"),
        *("volume (%)", "Spearman of voxels"),
    )
    text = ""
    for over, found in agree_by_partition(compared).items():
        text += (
            f"<p>Over {found.count} {over}, measured and surrogate: r = {found.pearson:.2f} "
            f"(volume alone: {found.null_pearson:.2f}), mean distance {found.mean_absolute:.1f} "
            "percentage points.</p>"
        )
    return table_html(heads, rows, numeric=range(1, 6)) + text


def _confusion(table: Table) -> str:
    """Volumes by both classes, and their kappa."""
    heads = ("CT alone, mL", *(f"measured: {title(name).lower()}" for name in CLASSES))
    rows = [
        (title(str(row["ct_class"])), *(f"{row[c]:.0f}" for c in table.columns[1:]))
        for row in table.rows
    ]
    kappa = class_kappa(table)
    words = "" if math.isnan(kappa) else f"<p>Kappa of the classes: {kappa:.2f}.</p>"
    return table_html(heads, rows, numeric=range(1, 5)) + words
