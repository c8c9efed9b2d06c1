"""Lists of the xenon analysis, as they are written to CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lungperfusion.measurement import Measurement
from lungperfusion.results.analysis import Table
from lungperfusion.terms import Region
from lungperfusion.terms.xenon import PUBLISHED, TRANSFER_FACTOR_GROUPS
from lungperfusion.xenon.footprints import weighted_mean
from lungperfusion.xenon.metrics import Evidence

BIN_COLUMNS = ("map", "region", "class", "volume_percent")
PUBLISHED_COLUMNS = (
    "measure",
    "patient",
    "group",
    "group_mean",
    "group_sd",
    "group_count",
    "distance_sd",
    "source",
)
TRANSFER_COLUMNS = (
    "test",
    "patient_percent_predicted",
    "group",
    "group_mean",
    "group_sd",
    "impaired_rbc_percent",
    "source",
)


def bin_table(evidence: Evidence, weights: Mapping[Region, NDArray[np.float32]]) -> Table:
    """Volume share of every class of every map, by region; of the volume with gas."""
    found = evidence.found
    rows = []
    for name, image, limits in (
        ("ventilation", found.ventilation_class, 6),
        ("rbc_gas", found.rbc_class, 6),
        ("membrane_gas", found.membrane_class, 8),
    ):
        numbers = evidence.of_mask(image)
        if numbers is None:
            continue
        for region, share in weights.items():
            inside = share if name == "ventilation" else share * evidence.measured
            rows += [
                {
                    "map": name,
                    "region": region.value,
                    "class": number,
                    "volume_percent": 100 * weighted_mean(numbers == number, inside),
                }
                for number in range(1, limits + 1)
            ]
    return Table(BIN_COLUMNS, tuple(rows), "xe_no_gas_share")


def published_table(measurements: Sequence[Measurement]) -> Table:
    """Values of both lungs beside published groups; nothing is concluded from it."""
    values = {m.measure: m.value for m in measurements if m.region == Region.LUNGS}
    rows = [
        {
            "measure": group.measure,
            "patient": value,
            "group": group.group,
            "group_mean": group.mean,
            "group_sd": group.sd,
            "group_count": "not known" if group.count is None else group.count,
            "distance_sd": (value - group.mean) / group.sd,
            "source": group.source,
        }
        for group in PUBLISHED
        if math.isfinite(value := values.get(group.measure, math.nan))
    ]
    return Table(PUBLISHED_COLUMNS, tuple(rows))


def transfer_table(given: Mapping[str, float], measurements: Sequence[Measurement]) -> Table:
    """Measured transfer factor beside the two groups of the gas transfer atlas."""
    impaired = next(
        (
            m.value
            for m in measurements
            if m.region == Region.LUNGS and m.measure == "xe_rbc_impaired_share"
        ),
        math.nan,
    )
    rows = [
        {
            "test": test,
            "patient_percent_predicted": value,
            "group": group.group if test == "TLco" else "",
            "group_mean": group.mean if test == "TLco" else math.nan,
            "group_sd": group.sd if test == "TLco" else math.nan,
            "impaired_rbc_percent": impaired,
            "source": group.source if test == "TLco" else "",
        }
        for test, value in given.items()
        for group in (TRANSFER_FACTOR_GROUPS if test == "TLco" else TRANSFER_FACTOR_GROUPS[:1])
    ]
    return Table(TRANSFER_COLUMNS, tuple(rows))
