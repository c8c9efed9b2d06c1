"""How a chest breathes out: where everything inside the rib cage comes from at full inspiration.

The map is smooth and along the patient's axis: nothing moves at the apex, the more the further
down.  It takes lungs, heart and organs along; ribs, spine and skin stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungperfusion.phantoms.shapes import Array, Point

APEX_S = 103.0
"""S of the tops of the lungs, which stay."""
DOME_DEPTH_MM = 171.0
"""From there down to the domes after breathing out."""
LOWEST_DEPTH = 1.35
"""Multiple of that depth below which the abdomen moves as one."""
CAUDAL_WEIGHT = 1.2
"""Power of the motion over depth: the bases of the lungs change more than the tops."""
INVERSE_ROUNDS = 40

Map = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True, kw_only=True)
class Stiff:
    """Place that air hardly enters or leaves.

    Parameters
    ----------
    centre
        RAS mm after breathing out.
    width_mm
        Standard deviation of its Gaussian profile.
    strain
        Change of length along the axis that its centre lacks.

    """

    centre: Point
    width_mm: float
    strain: float


@dataclass(frozen=True, kw_only=True)
class Breath:
    """A breath out from full inspiration.

    Parameters
    ----------
    rise_mm
        How far the domes rise; quiet expiration reaches 15, a deep one 40 to 60.
    stiff
        Places that do not take part.

    """

    rise_mm: float = 45.0
    stiff: tuple[Stiff, ...] = ()

    def inspired_s(self, r: Array, a: Array, s: Array) -> Array:
        """S at full inspiration of what lies at a place after breathing out."""
        depth = np.clip((APEX_S - s) / DOME_DEPTH_MM, 0, LOWEST_DEPTH)
        out = s - np.float32(self.rise_mm) * depth ** np.float32(CAUDAL_WEIGHT)
        for place in self.stiff:
            out = out - place.strain * _profile(place, r, a, s) * (s - place.centre[2])
        return np.asarray(out, dtype=s.dtype)

    def jacobian(self, r: Array, a: Array, s: Array) -> Array:
        """Volume at full inspiration per volume after breathing out: the map's slope along S."""
        depth = np.clip((APEX_S - s) / DOME_DEPTH_MM, 0, LOWEST_DEPTH)
        moving = (depth > 0) & (depth < LOWEST_DEPTH)
        rate = self.rise_mm * CAUDAL_WEIGHT / DOME_DEPTH_MM
        out = 1 + moving * np.float32(rate) * depth ** np.float32(CAUDAL_WEIGHT - 1)
        for place in self.stiff:
            along = (s - place.centre[2]) / place.width_mm
            out = out - place.strain * _profile(place, r, a, s) * (1 - along * along)
        return np.asarray(out)

    def expired(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places after breathing out of points (N, 3) at full inspiration."""
        r, a, s = points.T
        out = s.copy()
        for _ in range(INVERSE_ROUNDS):
            out += s - self.inspired_s(r, a, out)
        return np.column_stack([r, a, out])

    def before(self, function: Map) -> Map:
        """Look a function of the place at full inspiration up after breathing out."""
        return lambda r, a, s: function(r, a, self.inspired_s(r, a, s))

    def thinned(self, hu: Map) -> Map:
        """Let the air out of a CT number of aerated lung: the same tissue in less volume."""
        return lambda r, a, s: (
            (hu(r, a, self.inspired_s(r, a, s)) + 1000) * self.jacobian(r, a, s) - 1000
        )

    @property
    def most_mm(self) -> float:
        """No point moves further than this."""
        swing = sum(place.strain * place.width_mm for place in self.stiff)
        return float(self.rise_mm * LOWEST_DEPTH**CAUDAL_WEIGHT + swing)


def _profile(place: Stiff, r: Array, a: Array, s: Array) -> Array:
    squared = sum(
        ((x - c) / place.width_mm) ** 2 for x, c in zip((r, a, s), place.centre, strict=True)
    )
    return np.asarray(np.exp(-0.5 * np.asarray(squared)))
