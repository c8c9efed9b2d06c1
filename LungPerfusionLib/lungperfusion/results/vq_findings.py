"""What the V/Q analysis found beyond its maps: candidates, boundaries, targets, comparison."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lungperfusion.measurement import Measurement
from lungperfusion.results.analysis import Table
from lungperfusion.results.colours import ColourScale
from lungperfusion.results.figures import Labels, figure_html, projection, scatter
from lungperfusion.results.section import Section
from lungperfusion.results.vq_tables import Ratings, rating_pairs
from lungperfusion.terms import LUNGS, title
from lungperfusion.volume import Labelmap, Volume
from lungperfusion.vq.collateral import BoundaryFinding
from lungperfusion.vq.comparison import RegionComparison, agree_by_partition, partition_of
from lungperfusion.vq.defects import Candidate, patient_score
from lungperfusion.vq.metrics import kendall_tau
from lungperfusion.vq.perfusion import Perfusion
from lungperfusion.vq.planning import TargetLobe, flag_surgery

SCORE = ColourScale("score", ((0.0, "#343a40"), (0.001, "#ffd166"), (1.0, "#d00000")), "1")
"""Score of candidates in their projection; grey lung without any."""

PUBLISHED_AGREEMENT = (
    "Comparable CT surrogates agreed with SPECT perfusion voxel by voxel with a median Spearman "
    "correlation of 0.49 to 0.57 (0.02 to 0.82 between patients; Castillo 2021)."
)


def remarks(
    perfusion: Perfusion,
    measurements: Sequence[Measurement],
    not_registered: Sequence[str],
    ratings: Ratings,
) -> Section:
    """Sentences on the surrogate, on what was left out, on volume reduction and on readers."""
    sentences = [
        "Perfusion here is a surrogate from the density of two non-contrast scans, not a "
        f"measurement of flow. {PUBLISHED_AGREEMENT}",
        *(
            f"The {name.replace('_', ' ')} keeps {100 * share:.0f} % of its own contrast; the rest "
            "cannot be distinguished from error."
            for name, share in perfusion.reliability.items()
        ),
        *(f"Not registered: {why}." for why in not_registered),
        flag_surgery(measurements).sentence,
        *(rating_sentence(measurements, reader, given) for reader, given in ratings.items()),
    ]
    text = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
    return Section(title="Remarks", html=text)


def rating_sentence(
    measurements: Sequence[Measurement], reader: str, given: Mapping[str, float]
) -> str:
    """Kendall's tau between the derived ratings of the zones and those of one reader."""
    who = f"Reader {reader}" if reader else "The reader"
    pairs = rating_pairs(measurements, given)
    if len(pairs) < 2:
        return f"{who} rated fewer than two of the six zones."
    tau, p = kendall_tau([ours for _, ours, _ in pairs], [theirs for _, _, theirs in pairs])
    if math.isnan(tau):
        return f"{who}: Kendall's tau needs ratings, derived and given, that differ between zones."
    return (
        f"{who}: Kendall's tau of derived and given ratings over {len(pairs)} zones: {tau:.2f} "
        f"(p = {p:.3f})."
    )


def candidate_section(
    candidates: Sequence[Candidate],
    labels: NDArray[np.uint16],
    lungs: Labelmap,
    table: Table,
    *,
    calibration: str,
) -> Section:
    """Candidates of perfusion defects: text, projections through the lungs, and their values.

    Parameters
    ----------
    candidates, labels
        Of `lungperfusion.vq.defects.find_defects`.
    lungs
        On the grid of the labels.
    table
        Of `lungperfusion.results.vq_tables.candidate_table`.
    calibration
        What the score is worth, in words.

    """
    unmatched = sum(not c.matched for c in candidates)
    text = (
        f"<p>Regions of low perfusion: {unmatched} with ventilation kept, "
        f"{len(candidates) - unmatched} with low ventilation or emphysema as well. Score of the "
        f"patient: {patient_score(candidates):.2f} ({html.escape(calibration)}). Research on "
        "screening: a low surrogate of perfusion has many causes, and no embolism was looked "
        "for.</p>"
    )
    if not candidates:
        return Section(title="Candidates of perfusion defects", html=text)
    scores = np.array([0.0, *(max(c.score, 0.01) for c in candidates)], np.float32)
    volume = Volume(scores[labels], lungs.geometry, "1")
    inside = lungs.array > 0
    views = "".join(
        figure_html(
            projection(
                volume,
                plane=plane,
                mask=inside,
                colours=SCORE,
                value_range=(0.0, 1.0),
                title="Score",
                labels=Labels(labelmap=lungs, names=LUNGS),
                width_in=3.6,
            ),
            alt=f"Candidates projected through the lungs, {plane}",
            caption=f"Highest score, {plane} projection.",
            width_percent=45,
        )
        for plane in ("coronal", "sagittal")
    )
    shown = (
        "number", "volume_ml", "lobe", "contrast", "wedge", "pleural_contact",
        "ventilation_kept", "emphysema", "matched", "score",
    )  # fmt: skip
    return Section(
        title="Candidates of perfusion defects", html=text + views + _table_html(table, shown)
    )


def boundary_section(
    boundaries: Sequence[BoundaryFinding], targets: Sequence[TargetLobe], flag: str
) -> Section | None:
    """Collateral ventilation by boundary, and lobes ranked as targets of volume reduction."""
    if not boundaries and not targets:
        return None
    rows = [
        {
            "boundary": finding.boundary.replace("_", " "),
            "fissure complete (%)": finding.features["completeness_percent"],
            "collateral ventilation by published cut-offs": finding.rule,
            "probability of the trained model": finding.probability,
            "slip (mm)": finding.features["slip_mm"],
        }
        for finding in boundaries
    ]
    lobes = [
        {
            "rank": target.rank,
            "lobe": title(target.lobe),
            "emphysema (%)": target.emphysema_percent,
            "V (%)": target.ventilation_percent,
            "Q (%)": target.perfusion_percent,
            "volume (%)": target.volume_percent,
            "heterogeneity (points)": target.heterogeneity_percent,
            "score": target.score,
        }
        for target in targets
    ]
    text = f"<p>{html.escape(flag)}</p>"
    for part in (rows, lobes):
        if part:
            text += _table_html(Table(tuple(part[0]), tuple(part)), tuple(part[0]))
    return Section(title="Collateral ventilation and volume reduction", html=text)


def comparison_section(rows: Sequence[RegionComparison], kind: str) -> Section:
    """Shares of the map against those of the reference, with identity and Bland-Altman plots."""
    name, members = partition_of(rows)
    points = {row.region: (row.reference_percent, row.ct_percent) for row in members}
    text = ""
    agreements = agree_by_partition(rows)
    for over, found in agreements.items():
        low, high = found.limits
        bias = "" if math.isnan(found.bias) else f"bias {found.bias:+.1f}, "
        text += (
            f"<p>Over {found.count} {over}, {kind}: r = {found.pearson:.2f} (volume alone: "
            f"{found.null_pearson:.2f}; after division by volume: {found.adjusted_pearson:.2f}), "
            f"Spearman {found.spearman:.2f}, {bias}limits of agreement "
            f"{low:.1f} to {high:.1f} percentage points.</p>"
        )
    levels: tuple[float, ...] = ()
    if name in agreements:
        low, high = agreements[name].limits
        levels = (low, (low + high) / 2, high)
    difference = {key: ((a + b) / 2, b - a) for key, (a, b) in points.items()}
    pictures = figure_html(
        scatter(points, label=("Reference (%)", "CT (%)"), diagonal=True),
        alt=f"CT share against reference share of the {name}",
        caption="Share of both lungs; line of identity.",
        width_percent=45,
    ) + figure_html(
        scatter(difference, label=("Mean of both (%)", "CT − reference (points)"), levels=levels),
        alt=f"Bland-Altman plot of the {name}",
        caption="Bland-Altman: limits of agreement and their middle, dashed.",
        width_percent=45,
    )
    columns = (
        "region", "ct_percent", "reference_percent", "volume_percent", "voxel_pearson",
        "voxel_spearman",
    )  # fmt: skip
    table = Table(columns, tuple({c: getattr(row, c) for c in columns} for row in rows))
    return Section(
        title="Comparison with the reference", html=text + pictures + _table_html(table, columns)
    )


def _table_html(table: Table, columns: Sequence[str]) -> str:
    head = "".join(f"<th>{html.escape(c.replace('_', ' '))}</th>" for c in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(row[c]))}</td>" for c in columns) + "</tr>"
        for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3g}"
    return str(value).replace("_", " ")
