"""Fit the shipped defect score to phantoms: ``python -m Benchmarks._train_defects``.

Prints what `lungperfusion.vq.defects.SHIPPED_MODEL` holds.  Emboli are wedges that lose blood;
balls of matched defect, shunt and emphysema, and whatever noise and gravity leave, are not.  The
motion is the phantom's own, so that the score learns shapes and not registration errors.
"""

from __future__ import annotations

import numpy as np

from lungperfusion.cohort.training import train
from lungperfusion.phantoms.breathing import Defect, make_breathing_phantom
from lungperfusion.regions import RegionSet
from lungperfusion.vq.defects import FEATURES, PURPOSE, find_defects
from lungperfusion.vq.displacement import DisplacementField, voxel_positions
from lungperfusion.vq.pair import pair_breaths
from lungperfusion.vq.perfusion import map_perfusion
from lungperfusion.vq.registration import registration_from_field
from lungperfusion.vq.ventilation import map_ventilation

PHANTOMS = 120
LEARNT = tuple(name for name in FEATURES if name not in ("contrast", "lobe_share"))
"""How deep a defect is, and in which share of a lobe, is drawn and says nothing about emboli."""
SCALE = 0.6


def random_defects(rng: np.random.Generator) -> tuple[Defect, ...]:
    out = []
    for _ in range(rng.integers(0, 4)):
        side = rng.choice([-1.0, 1.0])
        centre = (
            side * float(rng.uniform(45, 115)),
            float(rng.uniform(-60, 60)),
            float(rng.uniform(-70, 80)),
        )
        kind = rng.choice(
            ["dead_space", "matched_defect", "shunt", "emphysema"], p=[0.5, 0.2, 0.1, 0.2]
        )
        shape = "wedge" if kind == "dead_space" else "ball"
        radius = float(rng.uniform(15, 35))
        out.append(Defect(kind=kind, centre_ras_mm=centre, radius_mm=radius, shape=shape))
    return tuple(out)


def cases(seed: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    defects = random_defects(rng)
    made = make_breathing_phantom(
        spacing_mm=3.0, scale=SCALE, defects=defects, noise_hu=float(rng.uniform(15, 45)), seed=seed
    )
    lungs = made.expiration_lungs
    field = DisplacementField(made.displacement_ras_mm, made.expiration.geometry)
    registration = registration_from_field(field, lungs, made.inspiration.geometry)
    lobes = made.expiration_lobes, made.inspiration_lobes
    pair = pair_breaths(
        made.expiration, made.inspiration, registration, lungs, made.inspiration_lungs, lobes=lobes
    )
    regions = RegionSet((lungs, made.expiration_lobes))
    found, labels = find_defects(
        pair,
        map_ventilation(pair),
        map_perfusion(pair).combined,
        regions,
    )
    rows = []
    for candidate in found:
        points = voxel_positions(pair.geometry, labels == candidate.number)
        true = any(
            d.kind == "dead_space" and d.profile(points, SCALE).mean() > 0.5 for d in defects
        )
        rows.append({**candidate.features(), "embolic": int(true), "phantom": seed})
    return rows


def main() -> None:
    rows = [row for seed in range(1, 1 + PHANTOMS) for row in cases(seed)]
    model = train(rows, outcome="embolic", features=LEARNT, purpose=PURPOSE, group="phantom")
    raw = np.array(model.coefficients) / model.sds
    print("intercept", round(float(model.intercept - (raw * model.means).sum()), 3))
    for name, value in zip(LEARNT, raw, strict=True):
        print(name, round(float(value), 3))
    for name, value in model.validation.items():
        print(name, value)


if __name__ == "__main__":
    main()
