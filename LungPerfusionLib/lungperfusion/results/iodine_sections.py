"""Pictures of iodine perfusion and its defects for the report."""

from __future__ import annotations

import html

import numpy as np

from lungperfusion.iodine.decomposition import IodineMap
from lungperfusion.iodine.defects import Defects
from lungperfusion.iodine.phenotype import LungFunction, Pattern, stratum
from lungperfusion.morphology import opened
from lungperfusion.results.colours import IODINE_PERFUSION
from lungperfusion.results.figures import (
    Labels,
    Overlay,
    figure_html,
    label_projection,
    montage,
    projection,
    three_planes,
)
from lungperfusion.results.report import table_html
from lungperfusion.results.section import Section
from lungperfusion.terms import LUNGS, Region
from lungperfusion.volume import Labelmap, Mask, Volume

DEFECT_ID = "perfusion_defect"
"""Segment ID of the defects."""

LUNGS_LABEL = 2
"""Label of the lungs beside the defects in the picture."""


REMNANT_MM = 3.0
"""Lung that holds no ball of this radius, such as what is left between the vessels of the hilum, is
not smoothed over enough neighbours for its least value to be shown."""


def iodine_sections(
    ct: Volume,
    lungs: Labelmap,
    iodine: IodineMap,
    defects: Defects,
    measurable: Mask,
) -> tuple[Section, ...]:
    """Draw iodine over the CT in three planes, slices with defects, and defects from the front.

    Parameters
    ----------
    ct
        Image under the colours, in HU.
    lungs
        Lungs and airways.
    iodine
        Smoothed map.
    defects
        Defects found in it.
    measurable
        Lung whose iodine counts; the rest stays grey.

    """
    shown = Volume(iodine.enhancement.array, ct.geometry, "HU", measurable)
    overlay = Overlay(volume=shown, colours=IODINE_PERFUSION, title="Iodine", opacity=0.65)
    planes = figure_html(
        three_planes(ct, overlay=overlay, labels=Labels(labelmap=lungs), around=lungs),
        alt="Axial, coronal and sagittal CT plane with iodine enhancement in colours",
        caption="Iodine enhancement over the CT: black and blue below 40 HU, then green, yellow "
        "and red. Large vessels and streak regions are left grey.",
    )
    marked = defect_labelmap(defects, ct)
    slices = figure_html(
        montage(
            ct,
            overlay=overlay,
            labels=Labels(labelmap=marked),
            count=8,
            columns=4,
            plane="coronal",
            around=lungs,
        ),
        alt="Coronal slices from front to back with iodine in colours and defects outlined",
        caption="Coronal slices from front to back; outlined: perfusion defects.",
    )
    if defects.found:
        front = figure_html(
            label_projection(Labels(labelmap=_in_lungs(marked, lungs)), width_in=3.6),
            alt="Perfusion defects in the lungs seen from the front",
            caption=f"{len(defects.found)} defects in the lungs seen from the front.",
            width_percent=38,
        )
    else:
        front = "<p>No perfusion defect was found.</p>"
    whole = opened(measurable, REMNANT_MM, ct.geometry.spacing_kji_mm)
    bright = figure_html(
        projection(
            shown.with_array(np.where(whole, -shown.array, np.float32(-1e3))),
            mask=whole,
            title="",
            width_in=3.6,
        ),
        alt="Least iodine along each line of sight, from the front",
        caption="Least iodine along the line of sight; bright means little.",
        width_percent=38,
    )
    return (
        Section(title="Iodine", html=planes, place="top"),
        Section(title="Defects", html=slices + front + bright),
    )


def defect_labelmap(defects: Defects, like: Volume) -> Labelmap:
    """All defects as one segment."""
    return Labelmap(defects.mask.astype(np.uint8), like.geometry, {1: DEFECT_ID})


def _in_lungs(defects: Labelmap, lungs: Labelmap) -> Labelmap:
    """Lungs wherever no defect lies in front of or behind them, so that they hide none."""
    axis, _ = lungs.geometry.array_axis_toward("A")
    beside = lungs.mask(*LUNGS) & ~(defects.array > 0).any(axis=axis, keepdims=True)
    array = np.where(beside, np.uint8(LUNGS_LABEL), defects.array)
    return Labelmap(array, defects.geometry, {**defects.names, LUNGS_LABEL: Region.LUNGS})


_ANSWERS = {"met": "met", "not met": "not met", "unknown": "not known"}


def pattern_section(function: LungFunction, checked: tuple[Pattern, ...]) -> Section:
    """Tabulate the patterns of low gas transfer, condition by condition.

    Parameters
    ----------
    function
        Lung function in % of predicted.
    checked
        Patterns with their conditions; findings to discuss, never a diagnosis.

    """
    blocks = [f"<p>Stratum by lung function: {html.escape(stratum(function))}.</p>"]
    for pattern in checked:
        rows = [
            (
                condition.text,
                "" if condition.value is None else f"{condition.value:.3g}",
                _ANSWERS[condition.answer],
            )
            for condition in pattern.conditions
        ]
        name = pattern.name[:1].upper() + pattern.name[1:]
        blocks.append(
            table_html(
                ("Condition", "Value", "Answer"),
                rows,
                caption=f"{name}: {_ANSWERS[pattern.answer]}",
                numeric=(1,),
            )
        )
        blocks.append(f"<p>{html.escape(pattern.note)}</p>")
    blocks.append("<p>A pattern is a finding to discuss, not a diagnosis.</p>")
    return Section(title="Gas transfer and CT", html="".join(blocks))
