"""Fit coefficients of the defect score to phantoms: ``python -m Benchmarks._train_defects``.

Prints what `lungperfusion.vq.defects.COEFFICIENTS` holds.  The motion is the phantom's own, so that
the score learns shapes and not registration errors.
"""

from __future__ import annotations

import numpy as np

from lungperfusion.phantoms.breathing import Defect, make_breathing_phantom
from lungperfusion.regions import RegionSet
from lungperfusion.vq.defects import find_defects
from lungperfusion.vq.displacement import DisplacementField
from lungperfusion.vq.model import train
from lungperfusion.vq.pair import pair_breaths
from lungperfusion.vq.perfusion import map_perfusion
from lungperfusion.vq.registration import registration_from_field
from lungperfusion.vq.ventilation import map_ventilation

PHANTOMS = 40
LEARNT = ("log_volume", "contrast", "ventilation_kept")
"""Phantoms have no emphysema, and their defects are balls: no wedge on the pleura to learn from."""
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
        kind = rng.choice(["dead_space", "matched_defect", "shunt"], p=[0.6, 0.3, 0.1])
        out.append(Defect(kind=kind, centre_ras_mm=centre, radius_mm=float(rng.uniform(18, 45))))
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
    found, _ = find_defects(
        pair,
        map_ventilation(pair),
        map_perfusion(pair).combined,
        regions,
        low_ratio=0.85,
        smallest_ml=0.5,
    )
    rows = []
    for candidate in found:
        centre = np.array(candidate.centre_ras_mm)
        true = any(
            d.kind == "dead_space"
            and np.linalg.norm(centre - np.array(d.centre_ras_mm) * SCALE) < d.radius_mm * SCALE
            for d in defects
        )
        rows.append({**candidate.features(), "embolic": int(true), "phantom": seed})
    return rows


def main() -> None:
    rows = [row for seed in range(1, 1 + PHANTOMS) for row in cases(seed)]
    model = train(
        rows, outcome="embolic", features=LEARNT, purpose="perfusion defect", group="phantom"
    )
    raw = np.array(model.coefficients) / model.sds
    print("intercept", round(float(model.intercept - (raw * model.means).sum()), 3))
    for name, value in zip(LEARNT, raw, strict=True):
        print(name, round(float(value), 3))
    for name, value in model.validation.items():
        print(name, value)


if __name__ == "__main__":
    main()
