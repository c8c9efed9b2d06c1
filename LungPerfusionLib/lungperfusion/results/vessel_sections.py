"""Pictures of the vessels by size for the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lungperfusion.measurement import Measurement
from lungperfusion.progress import Progress, ignore
from lungperfusion.results.charts import bars
from lungperfusion.results.figures import (
    Labels,
    figure_html,
    label_projection,
    montage,
    projection,
    three_planes,
)
from lungperfusion.results.section import Section
from lungperfusion.terms import LOBES, LUNGS, STRUCTURES, VESSEL_SIZES, ZONES
from lungperfusion.terms.vessels import BIN_EDGES_MM2
from lungperfusion.vessels.detection import VesselMap
from lungperfusion.vessels.published import PUBLISHED
from lungperfusion.volume import Labelmap, Volume

FINE_EDGES_MM2 = (0.0, 0.5, 1.25, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 45.0, 90.0, math.inf)
"""Borders of the distribution that is drawn and listed."""


def vessel_labelmap(vessel_map: VesselMap, like: Volume) -> Labelmap:
    """Vessels of the lungs labelled by their cross-section, on the grid of the CT."""
    labels = np.zeros(like.geometry.shape, np.uint8)
    area = vessel_map.voxel_area_mm2
    part = labels[vessel_map.box]
    number = np.searchsorted(np.asarray(BIN_EDGES_MM2[1:-1]), area[area > 0], side="right")
    part[area > 0] = np.array([STRUCTURES[name].label for name in VESSEL_SIZES], np.uint8)[number]
    return Labelmap(labels, like.geometry, {STRUCTURES[name].label: name for name in VESSEL_SIZES})


def vessel_sections(
    ct: Volume,
    lungs: Labelmap,
    labels: Labelmap,
    measurements: Sequence[Measurement],
    fine_ml: NDArray[np.float64],
    *,
    progress: Progress = ignore,
) -> tuple[Section, ...]:
    """Draw vessels coloured by size, the distribution, and the shares beside published ones.

    Parameters
    ----------
    ct
        CT in HU.
    lungs
        Lungs on its grid.
    labels
        From `vessel_labelmap`.
    measurements
        From `lungperfusion.vessels.blood_volume.measure_blood_volume`.
    fine_ml
        Blood between `FINE_EDGES_MM2`.

    """
    if not labels.array.any():
        return ()
    vessels = Labels(labelmap=labels, fill=0.75)
    progress(0.0, "drawing vessels")
    front = figure_html(
        label_projection(Labels(labelmap=labels), width_in=3.6),
        alt="Vessels of both lungs seen from the front, coloured by cross-section",
        caption="Vessels by cross-section, seen from the front; darker is deeper.",
        width_percent=32.5,
    )
    widest = figure_html(
        label_projection(Labels(labelmap=labels), highest=True, width_in=3.6),
        alt="Widest vessel along each line from front to back, coloured by cross-section",
        caption="Maximum projection: the widest vessel along each line of sight.",
        width_percent=32.5,
    )
    progress(0.3, "drawing vessels")
    brightest = figure_html(
        projection(ct, mask=lungs.mask(*LUNGS), value_range=(-900.0, 200.0), width_in=3.6),
        alt="Maximum intensity projection of the lungs from the front",
        caption="Maximum intensity projection of the lungs, for comparison.",
        width_percent=32.5,
    )
    progress(0.5, "drawing vessels")
    planes = figure_html(
        three_planes(ct, labels=vessels, around=lungs),
        alt="Axial, coronal and sagittal CT plane with vessels coloured by cross-section",
        caption="Vessels by cross-section over the CT.",
    )
    slices = figure_html(
        montage(ct, labels=vessels, count=6, columns=3, around=lungs),
        alt="Six axial slices from head to feet with vessels coloured by cross-section",
        caption="Axial slices from head to feet, to check what was taken for a vessel.",
    )
    progress(0.8, "drawing blood volumes")
    charts = figure_html(
        bars({"Blood (mL)": _fine(fine_ml)}, label="Blood (mL)", size_in=(7.2, 2.2)),
        alt="Blood volume by cross-section: " + _in_words(_fine(fine_ml)),
        caption="Blood by cross-section of its vessel (mm²).",
    )
    charts += figure_html(
        bars(_beside_published(measurements), label="Share (%)", size_in=(3.6, 2.4)),
        alt="Shares of BV5, BV5-10 and BV10 beside published means",
        caption="Beside published means; each by its own method, so no reference range.",
        width_percent=49,
    )
    by_region = _by_region(measurements)
    if by_region:
        charts += figure_html(
            bars(by_region, label="Share of TBV (%)", size_in=(7.2, 2.2)),
            alt="Share of BV5 and BV10 in each region",
            caption="Share of BV5 and BV10 by region.",
        )
    progress(1.0, "drawing blood volumes")
    return (
        Section(title="Vessels by size", html=front + widest + brightest, place="top"),
        Section(title="Blood by vessel size", html=charts, place="first_page"),
        Section(title="Vessels over the CT", html=planes + slices),
    )


def fine_names(edges: Sequence[float] = FINE_EDGES_MM2) -> list[str]:
    """Names of the bins between some borders."""
    return [
        f"{low:g}–{high:g}" if math.isfinite(high) else f"≥{low:g}" for low, high in pairwise(edges)
    ]


def _fine(volumes: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(fine_names(), volumes.tolist(), strict=True))


def _in_words(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} mm² {value:.1f} mL" for name, value in values.items())


def _beside_published(measurements: Sequence[Measurement]) -> dict[str, dict[str, float]]:
    here = {entry.measure: entry.value for entry in measurements if entry.region == "lungs"}
    ids = {
        "bv5_letter_share": "1.25–5 mm²",
        "bv5_10_letter_share": "5–10 mm²",
        "bv10_letter_share": "≥10 mm²",
    }
    out = {"this scan": {name: here.get(id_, math.nan) for id_, name in ids.items()}}
    for source in ("Lins 2020", "Morris 2021"):
        means = {entry.measure: entry.mean for entry in PUBLISHED if entry.source == source}
        out[source] = {name: means[id_] for id_, name in ids.items()}
    return out


def _by_region(measurements: Sequence[Measurement]) -> dict[str, dict[str, float]]:
    present = {entry.region for entry in measurements if not math.isnan(entry.value)}
    regions = next((group for group in (LOBES, ZONES, LUNGS) if present.intersection(group)), None)
    if regions is None:
        return {}
    values = {(entry.region, entry.measure): entry.value for entry in measurements}
    return {
        title: {region.value: values.get((region, id_), math.nan) for region in regions}
        for id_, title in (("bv5_share", "BV5"), ("bv10_share", "BV10"))
    }
