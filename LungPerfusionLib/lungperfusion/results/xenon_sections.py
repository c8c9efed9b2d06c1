"""Pictures of gas transfer and its join with CT for the report."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungperfusion.measurement import Measurement
from lungperfusion.progress import Progress, ignore
from lungperfusion.results.colours import XENON_SAFE
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
from lungperfusion.results.xenon_tables import published_table
from lungperfusion.terms import LOBES, LUNGS, MEASURES, Region, title
from lungperfusion.terms.xenon import (
    HEALTHY_SHARES,
    MISMATCH_CLASSES,
    OPEN_QUESTIONS,
    TRANSFER_FACTOR_GROUPS,
    TRANSFER_FACTOR_READING,
)
from lungperfusion.volume import Labelmap, Volume, box_around
from lungperfusion.xenon.metrics import Evidence

_MARGIN_MM = 12.0
_WORDS = {
    "xe_rbc_classes": "RBC:gas",
    "xe_membrane_classes": "Membrane:gas",
    "xe_ventilation_classes": "Ventilation",
}


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Drawn:
    """What is drawn from."""

    ct: Volume
    """CT brought to the MRI."""
    evidence: Evidence
    measurements: Sequence[Measurement]
    sides: Labelmap
    own_ct: Volume
    """CT on its own grid, and its lungs."""
    own_lungs: Labelmap

    def value(self, measure: str, region: str = Region.LUNGS) -> float:
        """Value of a measure; NaN where it is missing."""
        found = (m for m in self.measurements if (m.measure, m.region) == (measure, region))
        return next((m.value for m in found), math.nan)


def xenon_sections(
    drawn: Drawn,
    labelmaps: Mapping[str, Labelmap],
    *,
    transfer: Mapping[str, float],
    progress: Progress = ignore,
) -> tuple[Section, ...]:
    """Draw classes over the CT, histograms against healthy people, mismatch and tables.

    Parameters
    ----------
    drawn
        CT on the MRI, maps and values.
    labelmaps
        Class maps by name, on the grid of the MRI but for ``xe_mismatch_on_ct``.
    transfer
        Measured lung function in % of predicted, by its name.
    progress
        Called after every picture; may raise to cancel.

    """
    box = box_around(drawn.sides.mask(*LUNGS), drawn.sides.geometry.spacing_kji_mm, _MARGIN_MM)
    around = drawn.sides.crop(box)
    maps = [name for name in _WORDS if name in labelmaps]
    first = maps[0]
    progress(0.0, "drawing classes")
    sections = [
        Section(
            title="Gas transfer" if first == "xe_rbc_classes" else _WORDS[first],
            html=_planes(drawn, labelmaps[first], _WORDS[first], around),
            place="top",
        )
    ]
    progress(0.25, "drawing mismatch with CT")
    if "xe_mismatch" in labelmaps:
        sections.append(
            Section(
                title="Gas transfer and CT",
                html=_mismatch(drawn, labelmaps["xe_mismatch"], around),
                place="first_page",
            )
        )
    progress(0.45, "drawing histograms")
    sections.append(
        Section(title="Values against healthy people", html=_histograms(drawn), place="first_page")
    )
    for number, name in enumerate(maps):
        progress(0.5 + 0.15 * number, "drawing slices")
        sections.append(
            Section(
                title=f"Classes of {_WORDS[name]}",
                html=_slices(drawn, labelmaps[name], _WORDS[name], around)
                + _safe(drawn, labelmaps[name], _WORDS[name], around),
            )
        )
    if "xe_mismatch_on_ct" in labelmaps:
        sections.append(
            Section(
                title="Gas transfer over the CT",
                html=_over_ct(drawn, labelmaps["xe_mismatch_on_ct"]),
            )
        )
    sections += [
        Section(title="Published groups", html=_published(drawn)),
        Section(title="What this can and cannot say", html=_remarks(drawn, transfer)),
    ]
    progress(1.0, "drawing slices")
    return tuple(sections)


def _planes(drawn: Drawn, classes: Labelmap, words: str, around: Labelmap) -> str:
    return figure_html(
        three_planes(drawn.ct, labels=Labels(labelmap=classes, fill=0.7), around=around),
        alt=f"{words} classes in an axial, a coronal and a sagittal plane",
        caption=f"{words} in the classes of healthy people ({drawn.evidence.reference.name}), over "
        "the CT brought to the MRI.",
    )


def _slices(drawn: Drawn, classes: Labelmap, words: str, around: Labelmap) -> str:
    return figure_html(
        montage(
            drawn.ct,
            labels=Labels(labelmap=classes, fill=0.8),
            around=around,
            count=8,
            columns=4,
            plane="coronal",
        ),
        alt=f"Eight coronal slices with {words} classes, from front to back",
        caption=f"{words}, coronal slices from front to back, in the usual colours of the field.",
    )


def _safe(drawn: Drawn, classes: Labelmap, words: str, around: Labelmap) -> str:
    numbers = np.zeros(classes.geometry.shape, np.float32)
    for number, value in enumerate(sorted(classes.names), start=1):
        numbers[classes.array == value] = number
    volume = Volume(numbers, classes.geometry, "1", numbers > 0)
    return figure_html(
        montage(
            drawn.ct,
            overlay=Overlay(volume=volume, colours=XENON_SAFE, title=words, opacity=0.85),
            around=around,
            count=4,
            columns=4,
            plane="coronal",
        ),
        alt=f"Four coronal slices with {words} classes in colours for every reader",
        caption=f"{words} from brown (defect) to violet (high), for readers who do not tell red "
        "from green.",
    )


def _mismatch(drawn: Drawn, mismatch: Labelmap, around: Labelmap) -> str:
    shown = Labels(labelmap=mismatch, fill=0.65, names=MISMATCH_CLASSES[1:])
    planes = figure_html(
        three_planes(drawn.ct, labels=shown, around=around),
        alt="Classes of gas transfer and CT in three planes",
        caption="Where RBC:gas is low or the CT is not normal.",
    )
    measures = [f"{name}_share" for name in MISMATCH_CLASSES[1:]]
    regions: tuple[Region, ...] = LOBES
    if all(math.isnan(drawn.value(measures[0], region)) for region in LOBES):
        regions = LUNGS
    series = {
        title(name): {r.value: drawn.value(measure, r) for r in regions}
        for name, measure in zip(MISMATCH_CLASSES[1:], measures, strict=True)
    }
    words = "; ".join(
        f"{title(r)}: {drawn.value(measures[0], r):.0f} % low in normal CT" for r in regions
    )
    chart = figure_html(
        bars(series, label="Share of lung with gas (%)", size_in=(7.4, 2.0)),
        alt=f"Shares. {words}",
        caption="Shares by region; the rest is normal in both.",
    )
    return f"<div>{planes}</div><div>{chart}</div>"


def _over_ct(drawn: Drawn, mismatch: Labelmap) -> str:
    """Draw the classes where a reader of the CT looks for them."""
    lungs = drawn.own_lungs
    box = box_around(lungs.mask(*LUNGS), lungs.geometry.spacing_kji_mm, _MARGIN_MM)
    shown = Labels(labelmap=mismatch, fill=0.5, names=MISMATCH_CLASSES[1:])
    return figure_html(
        three_planes(drawn.own_ct, labels=shown, around=lungs.crop(box)),
        alt="Classes of gas transfer and CT over the CT in three planes",
        caption="The same classes brought to the CT, through the largest one. Their edges are as "
        "coarse as the voxels of the MRI.",
    )


def _histograms(drawn: Drawn) -> str:
    found, reference = drawn.evidence.found, drawn.evidence.reference
    pictures = []
    for words, image, limits, top in (
        ("RBC:gas", found.rbc_gas, reference.rbc_gas, 1.4),
        ("Membrane:gas", found.membrane_gas, reference.membrane_gas, 3.0),
    ):
        if image is None:
            continue
        percent = 100 * image[found.measured]
        low, high = (100 * limit for limit in (limits[1], limits[4]))
        picture = histogram(
            {"lungs": _counted(percent, top)},
            bin_width=top / 50,
            value_range=(0.0, top),
            band=(low, high, "Normal classes"),
            thresholds=(round(100 * limits[0], 2),),
            label=f"{words} (%)",
            unit="%",
        )
        pictures.append(
            figure_html(
                picture,
                alt=f"Histogram of {words}",
                caption=f"{words}. Green: the normal classes of healthy people; dashed: upper "
                "limit of a defect.",
                width_percent=49,
            )
        )
    return "".join(pictures) + _shares(drawn)


def _counted(
    values: NDArray[np.float32], top: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    edges = np.linspace(0.0, top, 201)
    found = np.histogram(np.clip(values, 0, top * 0.9999), edges)[0]
    return (edges[:-1] + edges[1:]) / 2, found.astype(np.int64)


def _shares(drawn: Drawn) -> str:
    """Shares of the classes beside those of healthy people."""
    rows = []
    for words, name in (
        ("Ventilation", "ventilation"),
        ("RBC:gas", "rbc"),
        ("Membrane:gas", "membrane"),
    ):
        shares = [drawn.value(f"xe_{name}_{kind}_share") for kind in ("defect", "low", "high")]
        if all(math.isnan(share) for share in shares):
            continue
        healthy = [
            100 * HEALTHY_SHARES.get(f"{name}_{kind}", HEALTHY_SHARES[kind])
            for kind in ("defect", "low", "high")
        ]
        cells = "".join(
            f'<td class="n">{share:.1f} <span class="soft">({normal:.1f})</span></td>'
            for share, normal in zip(shares, healthy, strict=True)
        )
        rows.append(f'<tr><th scope="row">{words}</th>{cells}</tr>')
    head = "".join(
        f'<th scope="col" class="n">{kind} (%)</th>' for kind in ("Defect", "Low", "High")
    )
    return (
        f'<table><thead><tr><th scope="col">Both lungs</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
        '<p class="soft">In brackets: healthy people of the reference set.</p>'
    )


def _published(drawn: Drawn) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(MEASURES[str(row['measure'])].title)}</td>"
        f'<td class="n">{row["patient"]:.3g}</td><td>{html.escape(str(row["group"]))}</td>'
        f'<td class="n">{row["group_mean"]:g} ± {row["group_sd"]:g}</td>'
        f'<td class="n">{row["distance_sd"]:+.1f}</td>'
        f"<td>{html.escape(str(row['source']))}</td></tr>"
        for row in published_table(drawn.measurements).rows
    )
    if not rows:
        return "<p>No value that published groups have.</p>"
    head = "".join(
        f'<th scope="col">{words}</th>'
        for words in ("Measure", "Here", "Group", "Mean ± SD", "SD from it", "Source")
    )
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        '<p class="soft">Other scanners, flip angles and frequencies move these values: a distance '
        "places a value, it is no finding.</p>"
    )


def _remarks(drawn: Drawn, transfer: Mapping[str, float]) -> str:
    """Limits, patterns in words, and the transfer factor among those of the atlas."""
    found = drawn.evidence.found
    applied = ", ".join(
        f"{name.replace('_', ' ')} (RBC × {rbc:.3f}, membrane × {membrane:.3f})"
        for name, (rbc, membrane) in found.factors.applied.items()
    )
    items = [
        f"No gas transfer can be measured where no gas is: {100 * found.without_gas_share:.1f} % "
        "of the lungs.",
        f"Corrections made: {applied or 'none'}.",
        "RBC:gas rests on RBC:membrane of the spectrum: 0.05 too much there makes RBC about 9 % "
        "too high and membrane 2 % too low.",
    ]
    kco, dlco = drawn.value("xe_kco_estimate"), drawn.value("xe_dlco_estimate")
    if math.isfinite(kco):
        also = f" and DLCO {dlco:.0f} mL/min/mmHg" if math.isfinite(dlco) else ""
        items.append(f"Estimated from the maps, not measured: KCO {kco:.2f} mL/min/mmHg/L{also}.")
    items += _pattern_words(drawn)
    text = "<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in items) + "</ul>"
    return text + (_transfer_words(transfer) if transfer else "")


def _pattern_words(drawn: Drawn) -> list[str]:
    membrane = drawn.value("xe_membrane_side_share")
    perfusion = drawn.value("xe_perfusion_side_share")
    if math.isnan(membrane):
        return []
    return [
        f"Pattern of the membrane or microvascular side (transfer low, perfusion kept): "
        f"{membrane:.1f} % of the lung; of the perfusion side (both low): {perfusion:.1f} %. These "
        f"are patterns. Open questions of the source: {' '.join(OPEN_QUESTIONS)}"
    ]


def _transfer_words(transfer: Mapping[str, float]) -> str:
    rows = "".join(
        f'<tr><td>{html.escape(test)}, measured here</td><td class="n">{value:.0f}</td></tr>'
        for test, value in transfer.items()
    )
    rows += "".join(
        f"<tr><td>TLco, {html.escape(group.group)} ({html.escape(group.source)})</td>"
        f'<td class="n">{group.mean:.0f} ± {group.sd:.0f}</td></tr>'
        for group in TRANSFER_FACTOR_GROUPS
    )
    return (
        '<table><thead><tr><th scope="col">Transfer factor</th><th scope="col" class="n">% of '
        f"predicted</th></tr></thead><tbody>{rows}</tbody></table>"
        f"<p>{html.escape(TRANSFER_FACTOR_READING)}</p>"
    )
