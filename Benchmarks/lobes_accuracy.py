"""Accuracy of lobes, fissures and fissure completeness: phantoms with exact truth.

Lobes are found in the true lungs, so that errors of the lung outline do not enter.  The incomplete
fissures lack their inner part; there, vessels are the only cue.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from Benchmarks import Figure
from lungperfusion.phantoms import ChestModel, default_geometry, render
from lungperfusion.phantoms.anatomy import FISSURES
from lungperfusion.segmentation.lobes import segment_lobes
from lungperfusion.terms import LOBES
from lungperfusion.volume import Mask

SPACING_MM = (1.2, 1.2, 1.2)
CLINICAL_SPACING_MM = (0.78, 0.66, 0.78)
"""Field of the phantom in about 512 x 512 x 450 voxels."""


def dice(first: Mask, second: Mask) -> float:
    return float(
        2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))
    )


def phantom(completeness: float, seed: int = 1) -> Iterator[Figure]:
    shares = tuple((fissure.name, completeness) for fissure in FISSURES)
    model = ChestModel(seed=seed, fissure_completeness=shares if completeness < 1 else ())
    made = render(model, default_geometry(SPACING_MM), seed=seed)
    found = segment_lobes(made.ct, made.truth.lungs)
    title = f"phantom {seed}, {100 * completeness:.0f} % of each fissure"
    overlap = [dice(found.labelmap.mask(n), made.truth.lobes.mask(n)) for n in LOBES]
    yield Figure(
        name=f"{title}: lowest lobe Dice",
        value=min(overlap),
        at_least=0.95 if completeness == 1 else 0.90,
    )
    by_id = {f"{fissure.name}_fissure": fissure for fissure in FISSURES}
    for name, boundary in found.boundaries.items():
        patch = boundary.evidence.patch
        away = np.abs(by_id[name].distance(*patch.points_mm[patch.inside].T))
        words = name.replace("_", " ")
        if completeness == 1:
            yield Figure(
                name=f"{title}: {words}, mean distance",
                value=float(away.mean()),
                unit="mm",
                at_most=1.5,
            )
        yield Figure(
            name=f"{title}: {words}, completeness error",
            value=100 * abs(boundary.evidence.completeness - completeness),
            unit="points",
            at_most=5.0,
        )


def speed() -> Iterator[Figure]:
    made = render(ChestModel(), default_geometry(CLINICAL_SPACING_MM))
    start, processor = time.perf_counter(), time.process_time()
    segment_lobes(made.ct, made.truth.lungs)
    size = "x".join(str(n) for n in made.ct.geometry.shape[::-1])
    yield Figure(name=f"{size}: time", value=time.perf_counter() - start, unit="s", at_most=60.0)
    yield Figure(name=f"{size}: processor time", value=time.process_time() - processor, unit="s")


def main() -> list[Figure]:
    figures: list[Figure] = []
    for completeness in (1.0, 0.8, 0.6, 0.45, 0.3):
        figures += phantom(completeness)
    figures += phantom(0.6, seed=2)
    figures += speed()
    return figures
