"""A chest of half the size with few vessels, and its xenon MRI: an eighth of the work.

Lobes, sides and deficits are found in it as exactly as in an adult, whom
``python -m Benchmarks xenon_accuracy`` measures.
"""

from __future__ import annotations

from dataclasses import replace

from scaled_chest import scaled_phantom

from lungperfusion.phantoms import KINDS
from lungperfusion.phantoms.chest import Ball
from lungperfusion.phantoms.rendering import Phantom
from lungperfusion.phantoms.xenon import (
    DEFAULT_RECIPE,
    SUBPLEURAL,
    XenonPhantom,
    XenonRecipe,
    make_xenon,
)

SIZE = 0.5
DEFICITS = tuple(
    Ball(tuple(SIZE * at for at in ball.centre), tuple(SIZE * r for r in ball.radii))
    for ball in SUBPLEURAL
)


def make_chest() -> Phantom:
    """Make an adult's chest and say that its voxels are half as large."""
    adult = replace(KINDS["small"], anatomy={"leaves": 8})
    return scaled_phantom(adult((6.0, 6.0, 6.0)), SIZE)


def make_mri(chest: Phantom, *, matrix: int, samples: int = 1) -> XenonPhantom:
    """Make its xenon MRI: motion and deficits are half as large, too."""
    recipe = XenonRecipe(
        matrix=matrix,
        samples=samples,
        motion_mm=SIZE * DEFAULT_RECIPE.motion_mm,
        deficits=DEFICITS,
    )
    return make_xenon(chest.truth.lobes, recipe)
