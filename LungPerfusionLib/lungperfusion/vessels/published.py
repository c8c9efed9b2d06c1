"""Published shares of blood by vessel size, each with the method that it holds for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.terms import Region

_FLUIDDA = "commercial segmentation, 1.25 to 5 mm2 (letter's definition)"
_CIP = "scale-space particles, 0 to 5 mm2"


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """Mean share of TBV in one cohort, in %."""

    source: str
    cohort: str
    count: int
    method: str
    measure: str
    """Measure of this project that follows the same definition."""
    mean: float
    sd: float | None = None


LETTER_LOW_OXYGEN = Published(
    source="small-vessel letter, Table 1",
    cohort="COVID-19 in hospital, oxygen up to 2 L/min",
    count=32,
    method=_FLUIDDA,
    measure="bv5_letter_share",
    mean=46.89,
    sd=8.59,
)
LETTER_HIGH_OXYGEN = Published(
    source="small-vessel letter, Table 1",
    cohort="COVID-19 in hospital, oxygen above 2 L/min",
    count=18,
    method=_FLUIDDA,
    measure="bv5_letter_share",
    mean=41.61,
    sd=6.95,
)

PUBLISHED: tuple[Published, ...] = (
    LETTER_LOW_OXYGEN,
    LETTER_HIGH_OXYGEN,
    Published(
        source="Lins 2020", cohort="healthy", count=107, method=_FLUIDDA,
        measure="bv5_letter_share", mean=57.0,
    ),
    Published(
        source="Lins 2020", cohort="healthy", count=107, method=_FLUIDDA,
        measure="bv5_10_letter_share", mean=20.0,
    ),
    Published(
        source="Lins 2020", cohort="healthy", count=107, method=_FLUIDDA,
        measure="bv10_letter_share", mean=23.0,
    ),
    Published(
        source="Morris 2021", cohort="listed as normal", count=195, method=_FLUIDDA,
        measure="bv5_letter_share", mean=30.0,
    ),
    Published(
        source="Morris 2021", cohort="listed as normal", count=195, method=_FLUIDDA,
        measure="bv5_10_letter_share", mean=25.0,
    ),
    Published(
        source="Morris 2021", cohort="listed as normal", count=195, method=_FLUIDDA,
        measure="bv10_letter_share", mean=45.0,
    ),
    Published(
        source="Poletti 2022", cohort="listed as normal", count=248, method="other software",
        measure="bv5_letter_share", mean=18.0,
    ),
    Published(
        source="Estepar 2013", cohort="listed as normal", count=85, method=_CIP,
        measure="cip_bv5_share", mean=58.0,
    ),
)  # fmt: skip
"""Shares listed as normal span 2 to 83 % over all methods: none of these is a reference range."""

PUBLISHED_COLUMNS = (
    "source",
    "cohort",
    "n",
    "method_there",
    "measure",
    "mean_there_percent",
    "sd_there_percent",
    "value_here_percent",
    "difference_percent",
    "z_score",
)


def compare_with_published(values: Mapping[str, float]) -> tuple[dict[str, Any], ...]:
    """Rows that set measured shares of both lungs beside published ones.

    Parameters
    ----------
    values
        Shares in % by measure; NaN or absent where there is none.

    Returns
    -------
    tuple of dict
        One row per published figure; the z-score only where a standard deviation was published.

    """
    rows = []
    for entry in PUBLISHED:
        value = values.get(entry.measure, math.nan)
        difference = value - entry.mean
        rows.append(
            {
                "source": entry.source,
                "cohort": entry.cohort,
                "n": entry.count,
                "method_there": entry.method,
                "measure": entry.measure,
                "mean_there_percent": entry.mean,
                "sd_there_percent": math.nan if entry.sd is None else entry.sd,
                "value_here_percent": value,
                "difference_percent": difference,
                "z_score": math.nan if entry.sd is None else difference / entry.sd,
            }
        )
    return tuple(rows)


def letter_z_scores(share: float, method: str) -> tuple[Measurement, ...]:
    """Z-scores of the BV5 share against both oxygen groups of the small-vessel letter."""
    rows = []
    for measure, entry in (
        ("bv5_z_low_oxygen", LETTER_LOW_OXYGEN),
        ("bv5_z_high_oxygen", LETTER_HIGH_OXYGEN),
    ):
        if math.isnan(share):
            rows.append(missing(Region.LUNGS, measure, "no BV5 share was measured"))
            continue
        z_score = (share - entry.mean) / (entry.sd or math.nan)
        rows.append(
            measured(
                Region.LUNGS,
                measure,
                z_score,
                f"{method}; reference by {entry.method}",
                caution="the reference comes from another method, and published shares differ "
                "more between methods than between people",
            )
        )
    return tuple(rows)
