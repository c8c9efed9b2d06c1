"""Pictures of lobes and fissures for the report."""

from __future__ import annotations

import html
import io
import math

import numpy as np

from lungperfusion.progress import Progress, ignore
from lungperfusion.results.drawing import style
from lungperfusion.results.figures import (
    Labels,
    figure_html,
    label_projection,
    montage,
    three_planes,
)
from lungperfusion.results.section import Section
from lungperfusion.segmentation.lobe_quality import judgeable, screening
from lungperfusion.segmentation.lobes import PLANS, LobeSegmentation
from lungperfusion.terms import LUNGS, STRUCTURES, title
from lungperfusion.volume import Labelmap, Volume, box_around

_MARGIN_MM = 15.0


def lobe_sections(
    ct: Volume,
    lungs: Labelmap,
    lobes: LobeSegmentation,
    *,
    progress: Progress = ignore,
) -> tuple[Section, ...]:
    """Draw lobes in three planes and from the front, and what is seen of every fissure.

    Parameters
    ----------
    ct
        CT in HU.
    lungs
        Lungs on its grid.
    lobes
        Lobes with their boundaries.

    Returns
    -------
    tuple of Section
        Empty if there is no lobe to draw.

    """
    if not lobes.labelmap.array.any():
        return ()
    box = box_around(lungs.mask(*LUNGS), ct.geometry.spacing_kji_mm, _MARGIN_MM)
    ct, labelmap = ct.crop(box), lobes.labelmap.crop(box)
    progress(0.0, "drawing the lobes")
    planes = figure_html(
        three_planes(ct, labels=Labels(labelmap=labelmap, fill=0.25), around=lungs.crop(box)),
        alt="Axial, coronal and sagittal CT plane with the lobes in colours",
        caption="Lung window (−600/1500 HU) with the lobes.",
    )
    progress(0.3, "drawing the lobes")
    side = montage(
        ct,
        labels=Labels(labelmap=labelmap),
        plane="sagittal",
        count=8,
        columns=4,
    )
    slices = figure_html(
        side,
        alt="Eight sagittal CT slices from right to left with the outlines of the lobes",
        caption="Sagittal slices from the patient's right to the left, without colours, to check "
        "the boundaries against the fissures.",
    )
    progress(0.6, "drawing the lobes")
    shape = figure_html(
        label_projection(Labels(labelmap=labelmap), width_in=2.6),
        alt="Lobes seen from the front",
        caption="Seen from the front; darker is deeper.",
        width_percent=31,
    )
    sections = [
        Section(title="Lobes", html=planes, place="top"),
        Section(title="Fissures", html=shape + fissure_table(lobes), place="first_page"),
        Section(title="Boundaries", html=slices),
    ]
    if lobes.boundaries:
        sections.append(
            Section(
                title="Fissures seen",
                html=figure_html(
                    fissure_maps(lobes),
                    alt="; ".join(
                        f"{title(name)}: "
                        + (
                            f"{100 * boundary.evidence.completeness:.0f} % seen"
                            if judgeable(boundary)
                            else "not found"
                        )
                        for name, boundary in lobes.boundaries.items()
                    ),
                    caption="Every boundary laid flat (up is toward the head, the patient's right "
                    "at the left): green where a fissure is seen, red where none is, grey where it "
                    "could not be judged; numbers are mm.",
                ),
            )
        )
    progress(1.0, "drawing the lobes")
    return tuple(sections)


def fissure_table(lobes: LobeSegmentation) -> str:
    """Table of completeness, support and screening result, as HTML."""
    rows = []
    for name in PLANS:
        boundary = lobes.boundaries.get(name)
        if boundary is None:
            continue
        cells = (
            title(name),
            f"{100 * boundary.evidence.completeness:.0f} %" if judgeable(boundary) else "–",
            f"{100 * boundary.support:.0f} %",
            "–" if math.isnan(boundary.vessel_ratio) else f"{100 * boundary.vessel_ratio:.0f} %",
            screening(name, lobes),
        )
        rows.append("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells) + "</tr>")
    head = "".join(
        f"<th>{words}</th>"
        for words in (
            "Fissure",
            "Complete",
            "Boundary supported",
            "Vessels crossed",
            "Collateral ventilation",
        )
    )
    note = (
        "<p>Completeness is a screening measure of collateral ventilation "
        "(Klooster 2020, PMC7294564); it does not replace a functional test. Vessels crossed: "
        "within 4 mm of the boundary, relative to the lung 8 to 16 mm beside it; few where it "
        "parts lobes.</p>"
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{note}"


def fissure_maps(lobes: LobeSegmentation) -> bytes:
    """Each boundary laid flat, with what is seen of its fissure, as PNG."""
    from matplotlib.figure import Figure

    shown = [(name, lobes.boundaries[name]) for name in PLANS if name in lobes.boundaries]
    with style():
        figure = Figure(figsize=(7.4, 2.9), dpi=150, facecolor="white")
        for number, (name, boundary) in enumerate(shown):
            axes = figure.add_subplot(1, len(shown), number + 1)
            patch, evidence = boundary.evidence.patch, boundary.evidence
            picture = np.ones((*patch.inside.shape, 3))
            picture[patch.inside] = (0.75, 0.75, 0.75)
            if judgeable(boundary):
                picture[evidence.judged] = STRUCTURES[f"{name}_absent"].colour
                picture[evidence.seen] = STRUCTURES[name].colour
            extent = (
                float(patch.u_mm[0, 0]),
                float(patch.u_mm[-1, 0]),
                float(patch.v_mm[0, 0]),
                float(patch.v_mm[0, -1]),
            )
            up = boundary.surface.axes[1, 2] >= 0
            axes.imshow(
                picture.transpose(1, 0, 2),
                origin="lower",
                extent=extent,
                aspect="equal",
                interpolation="nearest",
            )
            axes.set_xlim(extent[1], extent[0])
            axes.set_ylim(*(extent[2:] if up else extent[3:1:-1]))
            points = boundary.user_points_mm
            if len(points):
                u, v, _ = boundary.surface.local(points).T
                axes.plot(u, v, "kx", markersize=4)
            known = f"{100 * evidence.completeness:.0f} %" if judgeable(boundary) else "not found"
            axes.set_title(f"{title(name)}: {known}", fontsize=8)
            axes.tick_params(labelsize=6, length=2)
        figure.tight_layout()
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
