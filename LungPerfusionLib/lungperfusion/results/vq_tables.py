"""Lists of findings of the V/Q analysis, as they are written to CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

import numpy as np

from lungperfusion.measurement import Measurement
from lungperfusion.results.analysis import Table
from lungperfusion.volume import Labelmap
from lungperfusion.vq import collateral, defects
from lungperfusion.vq.classes import CLASSES
from lungperfusion.vq.collateral import BoundaryFinding
from lungperfusion.vq.comparison import Agreement, RegionComparison
from lungperfusion.vq.defects import Candidate
from lungperfusion.vq.planning import TargetLobe

Ratings = Mapping[str, Mapping[str, float]]
"""Perfusion ratings, 1 to 5, by reader and zone."""


def candidate_table(candidates: Sequence[Candidate]) -> Table:
    """One row per candidate, with the columns that `lungperfusion train` learns from."""
    columns = (
        "number", "volume_ml", "r_mm", "a_mm", "s_mm", "lobe", "matched", *defects.FEATURES,
        "score",
    )  # fmt: skip
    rows = []
    for found in candidates:
        r, a, s = found.centre_ras_mm
        rows.append(
            {
                "number": found.number,
                "volume_ml": found.volume_ml,
                "r_mm": r,
                "a_mm": a,
                "s_mm": s,
                "lobe": found.lobe,
                "matched": int(found.matched),
                **found.features(),
                "score": found.score,
            }
        )
    return Table(columns, tuple(rows), "perfusion_defect_share")


def boundary_table(boundaries: Sequence[BoundaryFinding]) -> Table:
    """One row per lobe boundary, with the columns that `lungperfusion train` learns from."""
    columns = ("boundary", *collateral.FEATURES, "published_rule", "probability")
    rows = [
        {
            "boundary": finding.boundary,
            **finding.features,
            "published_rule": finding.rule,
            "probability": finding.probability,
        }
        for finding in boundaries
    ]
    return Table(columns, tuple(rows), "ventilation_share")


def target_table(targets: Sequence[TargetLobe]) -> Table:
    """Lobes in the order of their rank."""
    columns = tuple(entry.name for entry in fields(TargetLobe))
    return Table(columns, tuple(asdict(target) for target in targets), "perfusion_share")


def comparison_table(rows: Sequence[RegionComparison]) -> Table:
    """Shares of the map and of the reference, per region."""
    columns = tuple(entry.name for entry in fields(RegionComparison))
    return Table(columns, tuple(asdict(row) for row in rows), "perfusion_share")


def agreement_table(agreements: Mapping[str, Agreement]) -> Table:
    """Agreement of shares per partition or region, with what lobe size alone would give."""
    columns = ("over", *(e.name for e in fields(Agreement) if e.name != "limits"))
    columns = (*columns, "lower_limit", "upper_limit")
    rows = []
    for name, found in agreements.items():
        row = {"over": name, **asdict(found)}
        row["lower_limit"], row["upper_limit"] = row.pop("limits")
        rows.append(row)
    return Table(columns, tuple(rows), "perfusion_share")


def confusion_table(by_ct: Labelmap, by_measured: Labelmap) -> Table:
    """Volumes by the class of CT alone and by that with measured maps, mL.

    Parameters
    ----------
    by_ct, by_measured
        Of `lungperfusion.vq.classes.classify`, on one grid; voxels without either are left out.

    """
    by_ct.geometry.require_same(by_measured.geometry, what="classes")
    columns = ("ct_class", *(f"{name}_ml" for name in CLASSES))
    volume_ml = by_ct.geometry.voxel_volume_ml
    rows = []
    for name in CLASSES:
        here = by_ct.mask(name)
        counts = (np.count_nonzero(here & by_measured.mask(other)) for other in CLASSES)
        rows.append(dict(zip(columns, (name, *(n * volume_ml for n in counts)), strict=True)))
    return Table(columns, tuple(rows), "measured_vq_abnormal_share")


def class_kappa(table: Table) -> float:
    """Cohen's kappa of a confusion table: agreement beyond what sizes alone give.

    1960, Educ Psychol Meas 20:37.  NaN where only one class is there.
    """
    counts = np.array([[row[c] for c in table.columns[1:]] for row in table.rows])
    shares = counts / counts.sum() if counts.sum() > 0 else counts
    chance = float(shares.sum(axis=0) @ shares.sum(axis=1))
    return (float(np.trace(shares)) - chance) / (1 - chance) if chance < 1 else math.nan


def rating_pairs(
    measurements: Sequence[Measurement], given: Mapping[str, float]
) -> list[tuple[str, float, float]]:
    """Zone, derived rating and given rating, where there are both."""
    return [
        (m.region, m.value, given[m.region])
        for m in measurements
        if m.measure == "zone_rating" and m.status != "missing" and m.region in given
    ]


def rating_table(measurements: Sequence[Measurement], ratings: Ratings) -> Table:
    """List derived and given ratings per reader and zone."""
    columns = ("reader", "region", "derived_rating", "given_rating")
    rows = [
        dict(zip(columns, (reader, *row), strict=True))
        for reader, given in ratings.items()
        for row in rating_pairs(measurements, given)
    ]
    return Table(columns, tuple(rows), "zone_rating")


def bin_table(shares: Mapping[str, Mapping[str, Sequence[float]]]) -> Table:
    """Volume shares of healthy people's bins, by map and region."""
    columns = ("map", "region", "bin", "volume_percent")
    rows = [
        dict(zip(columns, (name, region, number, value), strict=True))
        for name, regions in shares.items()
        for region, values in regions.items()
        for number, value in enumerate(values, start=1)
    ]
    return Table(columns, tuple(rows), "perfusion_share")


def sensitivity_table(rows: Sequence[Mapping[str, float]]) -> Table:
    """Class shares at several thresholds."""
    return Table(tuple(rows[0]), tuple(rows), "vq_abnormal_share")
