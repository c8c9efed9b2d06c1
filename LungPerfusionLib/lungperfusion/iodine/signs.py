"""CT signs around perfusion: clot burden and the load on the right heart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from lungperfusion.errors import InputError

Degree = Literal[0, 1, 2]

QANADLI_SOURCE = "Qanadli 2001: 100 x sum of (n x d) / 40"

SEGMENTS: dict[str, tuple[str, ...]] = {
    "right_upper": ("right_apical", "right_posterior", "right_anterior"),
    "right_middle": ("right_lateral", "right_medial"),
    "right_lower": (
        "right_superior",
        "right_medial_basal",
        "right_anterior_basal",
        "right_lateral_basal",
        "right_posterior_basal",
    ),
    "left_upper": ("left_apical", "left_posterior", "left_anterior"),
    "left_lingula": ("left_superior_lingular", "left_inferior_lingular"),
    "left_lower": (
        "left_superior",
        "left_medial_basal",
        "left_anterior_basal",
        "left_lateral_basal",
        "left_posterior_basal",
    ),
}
"""Lobar arteries with their segmental arteries: three upper, two middle or lingular, five lower."""

PARENTS: dict[str, tuple[str, ...]] = {
    "pulmonary_trunk": ("right_main", "left_main"),
    "right_main": ("right_upper", "right_interlobar"),
    "right_interlobar": ("right_middle", "right_lower"),
    "left_main": ("left_upper_lobe", "left_lower"),
    "left_upper_lobe": ("left_upper", "left_lingula"),
    **SEGMENTS,
}
"""The scored tree: each artery with the arteries that leave it."""

ARTERIES = (*PARENTS, *(segment for segments in SEGMENTS.values() for segment in segments))
"""Every artery that can be scored, from the trunk outwards."""


def segments_beyond(artery: str) -> tuple[str, ...]:
    """Segmental arteries that an artery feeds; a segmental artery feeds itself."""
    if artery not in ARTERIES:
        raise InputError(
            f"{artery!r} is no artery of the scoring tree; known are {', '.join(ARTERIES)}"
        )
    branches = PARENTS.get(artery)
    if branches is None:
        return (artery,)
    return tuple(segment for branch in branches for segment in segments_beyond(branch))


@dataclass(frozen=True, slots=True)
class ObstructionIndex:
    """Clot burden: points of 40, and the degree that counted in each segment."""

    points: int
    degrees: Mapping[str, Degree]

    @property
    def fraction(self) -> float:
        """Share of the greatest possible score, 0 to 1."""
        return self.points / 40


def obstruction_index(scores: Mapping[str, int]) -> ObstructionIndex:
    """Compute the Qanadli obstruction index from scored arteries.

    A clot in an artery counts for every segmental artery beyond it; each segment counts once, with
    the greatest degree of obstruction on its way from the trunk.

    Parameters
    ----------
    scores
        Degree by artery: 0 free, 1 partial, 2 complete.  Arteries left out are free.

    Raises
    ------
    InputError
        For unknown arteries, degrees other than 0, 1, 2, and impossible combinations: a free or
        partly filled branch scored beyond a completely occluded artery.

    """
    for artery, degree in scores.items():
        segments_beyond(artery)
        if degree not in (0, 1, 2):
            raise InputError(
                f"the degree of {artery} must be 0 (none, patent), 1 (partial) or 2 (complete), "
                f"not {degree!r}"
            )
    degrees: dict[str, Degree] = {}
    _descend("pulmonary_trunk", 0, scores, degrees)
    return ObstructionIndex(sum(degrees.values()), degrees)


def _descend(
    artery: str, inherited: int, scores: Mapping[str, int], degrees: dict[str, Degree]
) -> None:
    own = scores.get(artery)
    if inherited == 2 and own is not None and own < 2:
        raise InputError(
            f"{artery} is scored {own}, but an artery before it is scored 2 (complete): nothing "
            f"beyond a complete occlusion can be less than occluded; remove one of the two scores"
        )
    degree = max(inherited, own or 0)
    branches = PARENTS.get(artery)
    if branches is None:
        degrees[artery] = 2 if degree == 2 else 1 if degree == 1 else 0
        return
    for branch in branches:
        _descend(branch, degree, scores, degrees)


def scores_from_rows(rows: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """Take scores from table rows with the columns ``artery`` and ``degree``."""
    scores: dict[str, int] = {}
    for line, row in enumerate(rows, start=2):
        if not {"artery", "degree"} <= set(row):
            raise InputError(
                f"a clot table needs the columns artery and degree; given are {', '.join(row)}"
            )
        artery, text = str(row["artery"]).strip(), str(row["degree"]).strip()
        if artery in scores:
            raise InputError(f"line {line}: {artery} is scored twice; keep one row per artery")
        if text not in ("0", "1", "2"):
            raise InputError(f"line {line}: the degree of {artery} must be 0, 1 or 2, not {text!r}")
        scores[artery] = int(text)
    return scores


@dataclass(frozen=True, slots=True)
class DiameterRatio:
    """Ratio of two diameters, with both in mm."""

    numerator_mm: float
    denominator_mm: float

    @property
    def ratio(self) -> float:
        """The ratio; in the source letter normal below 1 for both signs."""
        return self.numerator_mm / self.denominator_mm


NORMAL_RATIO_BELOW = 1.0
"""PA/Ao ratio below 1 counts as normal (iodine letter, text on CT signs)."""

PLAUSIBLE_DIAMETER_MM = (5.0, 120.0)
"""Lines shorter or longer than this are not a great vessel's or ventricle's diameter."""


def diameter_ratio(
    numerator_line_ras_mm: ArrayLike, denominator_line_ras_mm: ArrayLike, *, names: tuple[str, str]
) -> DiameterRatio:
    """Ratio of two lines drawn across vessels or ventricles.

    Parameters
    ----------
    numerator_line_ras_mm, denominator_line_ras_mm
        End points, shape (2, 3), RAS mm.
    names
        What the lines measure, for messages, such as ``("pulmonary artery", "aorta")``.

    """
    lengths = [
        line_length_mm(line, name)
        for line, name in zip((numerator_line_ras_mm, denominator_line_ras_mm), names, strict=True)
    ]
    return DiameterRatio(lengths[0], lengths[1])


def line_length_mm(line_ras_mm: ArrayLike, name: str) -> float:
    """Length of a line of two points, refused when it cannot be a diameter."""
    points = np.asarray(line_ras_mm, dtype=np.float64)
    if points.shape != (2, 3) or not np.isfinite(points).all():
        raise InputError(
            f"the {name} line needs two points of three RAS coordinates in mm, "
            f"not an array of shape {points.shape}"
        )
    length = float(np.linalg.norm(points[1] - points[0]))
    low, high = PLAUSIBLE_DIAMETER_MM
    if not low <= length <= high:
        raise InputError(
            f"the {name} line is {length:.1f} mm long; a diameter of {low:g} to {high:g} mm was "
            "expected: place its two ends on the inner walls"
        )
    return length
