"""Accuracy of lobes, fissures and fissure completeness: phantoms with exact truth, and real scans.

Lobes are found in the true lungs, so that errors of the lung outline do not enter.  Every phantom
has its own vessel trees and noise; they differ in the course of the fissures, breath, emphysema,
voxels and noise.  The incomplete fissures lack their inner part; there, vessels are the only cue.

Real scans have no lobe truth.  What can be said is whether lobes of one person at two times take
the same share of the lung.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from Benchmarks import Figure
from lungperfusion.io import labelmap_of, read_ct, read_labelmap
from lungperfusion.phantoms import ChestModel, default_geometry, render
from lungperfusion.phantoms.anatomy import FISSURES, LEFT, RIGHT, Build, Fissure
from lungperfusion.phantoms.chest import Ball
from lungperfusion.segmentation.fissures import Points, Sheets
from lungperfusion.segmentation.imports import import_regions
from lungperfusion.segmentation.lobe_quality import lobe_gates
from lungperfusion.segmentation.lobes import LobeSegmentation, segment_lobes
from lungperfusion.segmentation.lungs import lungs_from_mask, segment_lungs
from lungperfusion.segmentation.zones import label_zones
from lungperfusion.terms import LOBES, LUNGS, ZONES
from lungperfusion.volume import Labelmap, Mask, Volume

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

STEEP = (
    Fissure("left_oblique", LEFT, -74.0, 0.15, -1.4, 6.0, 120.0),
    Fissure("right_oblique", RIGHT, -76.0, -0.05, -1.35, 6.0, 120.0),
    Fissure("right_horizontal", RIGHT, -28.0, 0.05, -0.3, 6.0, 110.0),
)
FLAT = (
    Fissure("left_oblique", LEFT, -58.0, -0.1, -0.85, 5.0, 170.0),
    Fissure("right_oblique", RIGHT, -64.0, 0.15, -0.85, 5.0, 130.0),
    Fissure("right_horizontal", RIGHT, -48.0, -0.2, 0.1, 4.0, 150.0),
)
LOW = (
    FISSURES[0],
    Fissure("right_oblique", RIGHT, -98.0, 0.0, -1.45, 4.0, 150.0),
    Fissure("right_horizontal", RIGHT, -62.0, -0.1, -0.3, 4.0, 150.0),
)
HIGH = (
    FISSURES[0],
    Fissure("right_oblique", RIGHT, -40.0, 0.1, -0.9, 4.0, 150.0),
    Fissure("right_horizontal", RIGHT, -10.0, 0.1, 0.0, 4.0, 150.0),
)
TURNED = (
    FISSURES[0],
    Fissure("right_oblique", RIGHT, -66.0, 0.35, -0.85, 4.0, 150.0),
    Fissure("right_horizontal", RIGHT, -30.0, 0.3, -0.35, 4.0, 150.0),
)
"""Right lower lobe that has lost most of its volume, large right lower lobe, turned patient."""
GLASS = (
    Ball((88.0, -62.0, -50.0), (40.0, 34.0, 44.0)),
    Ball((100.0, 10.0, -20.0), (26.0, 30.0, 28.0)),
    Ball((-92.0, -58.0, -70.0), (36.0, 34.0, 40.0)),
)
PATIENT_FISSURE_MM = 0.15


@dataclass(frozen=True)
class Case:
    """One phantom: what it is called, how it differs, and how it is scanned."""

    name: str
    seed: int
    completeness: float = 1.0
    spacing_mm: tuple[float, float, float] = (1.2, 1.2, 1.2)
    noise_hu: float = 20.0
    anatomy: dict[str, Any] = field(default_factory=dict)
    judged: bool = True
    """Whether its voxels are thin enough for the targets."""
    diseased: bool = False
    """Whether disease hides parts of its fissures, which are as faint as in patients: boundaries
    are judged where a fissure is seen."""


CASES = (
    Case("usual fissures", 1),
    Case("usual fissures", 1, 0.6),
    Case(
        "steep fissures, 0.9 x 0.9 x 1.5 mm", 3, 1.0, (0.9, 0.9, 1.5), anatomy={"fissures": STEEP}
    ),
    Case(
        "steep fissures, 0.9 x 0.9 x 1.5 mm", 4, 0.6, (0.9, 0.9, 1.5), anatomy={"fissures": STEEP}
    ),
    Case("flat fissures, 35 HU", 5, 0.6, noise_hu=35.0, anatomy={"fissures": FLAT}),
    Case("flat fissures, 1.5 mm, 25 HU", 6, 0.3, (1.5, 1.5, 1.5), 25.0, {"fissures": FLAT}),
    Case(
        "half breath, 25 HU",
        7,
        0.6,
        noise_hu=25.0,
        anatomy={"build": Build(diaphragm_lift_mm=25.0), "lung_hu": -800.0},
    ),
    Case(
        "emphysema, steep fissures, 1.5 mm, 25 HU",
        8,
        0.8,
        (1.5, 1.5, 1.5),
        25.0,
        {
            "fissures": STEEP,
            "emphysema_share": 0.2,
            "lung_hu": -905.0,
            "build": Build(flatness=0.7, diaphragm_lift_mm=-12.0),
        },
    ),
    Case("usual fissures", 12, 0.45),
    Case(
        "flat fissures, slices of 2.5 mm", 9, 1.0, (0.9, 0.9, 2.5), 20.0, {"fissures": FLAT}, False
    ),
    Case("slices of 5 mm, 10 HU", 11, 1.0, (0.9, 0.9, 5.0), 10.0, {}, False),
    Case(
        "steep, next to no fissure, slices of 3 mm",
        10,
        0.001,
        (0.9, 0.9, 3.0),
        20.0,
        {"fissures": STEEP},
        False,
    ),
)
DISEASED = tuple(
    Case(
        f"{name}, faint fissures, {disease}, 1.5 mm, 30 HU",
        seed,
        1.0,
        (1.5, 1.5, 1.5),
        30.0,
        {"fissures": fissures, "fissure_tissue_mm": PATIENT_FISSURE_MM, **anatomy},
        judged=False,
        diseased=True,
    )
    for seed, (name, fissures, disease, anatomy) in enumerate(
        (
            ("low", LOW, "ground glass", {"ground_glass": GLASS}),
            ("high", HIGH, "ground glass", {"ground_glass": GLASS, "leaves": 250}),
            ("turned", TURNED, "ground glass", {"ground_glass": GLASS, "leaves": 700}),
            (
                "usual",
                FISSURES,
                "consolidation",
                {"consolidated_lobe": "right_lower_lobe", "consolidated_share": 0.35},
            ),
        ),
        start=21,
    )
)
"""Fissures where they rarely lie, with disease beside them, poorer and richer vessel trees."""
MOST_AWAY_MM, ON_FISSURE_MM = 3.0, 1.5
"""Boundaries lie no farther than the first from sheets that lie on a fissure, within the second."""


def dice(first: Mask, second: Mask) -> float:
    return float(
        2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))
    )


def in_sight(sheets: Sheets, model: ChestModel, fissure: Fissure) -> Points:
    """Points of sheet that lie on a fissure of the truth."""
    points = sheets.points_mm[sheets.weights > 0.5]
    on = np.abs(fissure.distance(*points.T)) <= ON_FISSURE_MM
    if fissure.name == "right_horizontal":
        on &= model.fissures[1].distance(*points.T) > ON_FISSURE_MM
    return points[on]


def phantom(case: Case) -> Iterator[Figure]:
    shares = tuple((fissure.name, case.completeness) for fissure in FISSURES)
    model = ChestModel(
        seed=case.seed,
        fissure_completeness=shares if case.completeness < 1 else (),
        **case.anatomy,
    )
    made = render(
        model, default_geometry(case.spacing_mm), seed=case.seed, noise_sd_hu=case.noise_hu
    )
    found = segment_lobes(made.ct, made.truth.lungs)
    title = f"phantom {case.seed}, {case.name}, {100 * case.completeness:.0f} %"
    overlap = [dice(found.labelmap.mask(n), made.truth.lobes.mask(n)) for n in LOBES]
    least = 0.95 if case.completeness == 1 else 0.90
    yield Figure(
        name=f"{title}: lowest lobe Dice",
        value=min(overlap),
        at_least=least if case.judged else -np.inf,
    )
    by_id = {f"{fissure.name}_fissure": fissure for fissure in model.fissures}
    for name, boundary in found.boundaries.items():
        patch, fissure = boundary.evidence.patch, by_id[name]
        away = np.abs(fissure.distance(*patch.points_mm[patch.inside].T))
        words = f"{title}: {name.replace('_', ' ').removesuffix(' fissure')}"
        known = case.judged and case.completeness == 1
        yield Figure(
            name=f"{words}, mean distance",
            value=float(away.mean()),
            unit="mm",
            at_most=1.5 if known else np.inf,
        )
        if case.diseased:
            points = in_sight(found.prepared[boundary.plan.lung].sheets, model, fissure)
            missed = np.abs(boundary.surface.distance_mm(points))
            yield Figure(
                name=f"{words}, distance from what the sheet filter sees of it, 95 %",
                value=float(np.percentile(missed, 95)),
                unit="mm",
                at_most=MOST_AWAY_MM,
            )
            continue
        area, present, _ = model.fissure_parts(fissure)
        yield Figure(
            name=f"{words}, completeness error",
            value=100 * (boundary.evidence.completeness - present / area),
            unit="points",
            at_least=-5.0 if case.judged else -np.inf,
            at_most=5.0 if case.judged else np.inf,
        )


def thirds() -> Iterator[Figure]:
    """Zones of the project in the lungs of a label map that has its own thirds.

    That map cuts both lungs at the same two levels, into thirds of equal volume of the two
    together; the project divides each lung for itself.  Divided as one, the cuts lie within one
    slice (of 4 mm, 6 % of a third) of those of the map.
    """
    ct = read_ct(DATA / "chest_64" / "ct-64.nrrd").volume
    given = import_regions(
        read_labelmap(DATA / "chest_64" / "lm-64.nrrd"), convention="cip", target=ct.geometry
    )
    if given.lungs is None or given.zones is None:
        raise ValueError("chest_64 holds lungs and thirds")
    for rule in ("height", "volume"):
        zones = label_zones(given.lungs, rule=rule)
        overlap = [dice(zones.mask(zone), given.zones.mask(zone)) for zone in ZONES]
        yield Figure(name=f"chest_64, thirds of equal {rule}: lowest Dice", value=min(overlap))
    one = Labelmap(given.lungs.mask(*LUNGS).astype(np.uint8), ct.geometry, {1: LUNGS[0]})
    zones = label_zones(one, rule="volume")
    pairs = zip(ZONES[:3], ZONES[3:], strict=True)
    overlap = [dice(zones.mask(a), given.zones.mask(a, b)) for a, b in pairs]
    yield Figure(
        name="chest_64, thirds of equal volume of both lungs as one: lowest Dice",
        value=min(overlap),
    )


def real_lobes(name: str, ct: Volume, lungs: Labelmap) -> tuple[list[Figure], LobeSegmentation]:
    found = segment_lobes(ct, lungs)
    out = []
    for lobe in LOBES:
        if lobe not in found.absent:
            side = f"{lobe.split('_')[0]}_lung"
            share = found.labelmap.volume_ml(lobe) / lungs.volume_ml(side)
            out.append(Figure(name=f"{name}: {lobe} of its lung", value=100 * share, unit="%"))
    for gate in lobe_gates(found):
        if gate.verdict != "unknown":
            boundary = found.boundaries[gate.id]
            out += [
                Figure(
                    name=f"{name}: {gate.id}, supported ({gate.verdict})",
                    value=100 * boundary.support,
                    unit="%",
                ),
                Figure(
                    name=f"{name}: {gate.id}, vessels crossed",
                    value=100 * boundary.vessel_ratio,
                    unit="%",
                ),
            ]
    return out, found


def pair() -> Iterator[Figure]:
    """One right lung at two times: shares of the lobes must agree."""
    shares: dict[str, list[float]] = {}
    for scan in ("baseline", "followup"):
        folder = DATA / "lung_followup_pair"
        ct = read_ct(folder / f"{scan}.nii.gz").volume
        mask = labelmap_of(read_labelmap(folder / f"{scan}_mask.mha"))
        lungs = lungs_from_mask(ct, mask).labelmap
        figures, found = real_lobes(f"lung_followup_pair {scan}", ct, lungs)
        yield from figures
        for lobe in LOBES[2:]:
            share = 100 * found.labelmap.volume_ml(lobe) / lungs.volume_ml("right_lung")
            shares.setdefault(lobe, []).append(share)
    for lobe, (first, second) in shares.items():
        yield Figure(
            name=f"lung_followup_pair: {lobe}, change of its share of the lung",
            value=second - first,
            unit="points",
            at_least=-5.0,
            at_most=5.0,
        )


def real() -> Iterator[Figure]:
    yield from thirds()
    ct = read_ct(DATA / "contrast_chest_ct" / "ct.nii.gz").volume
    yield from real_lobes("contrast_chest_ct", ct, segment_lungs(ct).labelmap)[0]
    yield from pair()


def main() -> list[Figure]:
    figures = [figure for case in (*CASES, *DISEASED) for figure in phantom(case)]
    if DATA.is_dir():
        figures += real()
    else:
        print("no real scans beside the project (../shared/data): phantoms only")
    return figures
