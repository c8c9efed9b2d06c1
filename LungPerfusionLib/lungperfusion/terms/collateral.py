"""What fissure completeness says on collateral ventilation: published cut-offs, for all commands.

Klooster 2020 (Int J COPD 15:1325, PMC7294564) compared quantitative completeness with the Chartis
balloon in each fissure that parts a target lobe: the left major one above 95 % had no collateral
ventilation in 91 %, at or below 80 % always some; the right major one at or below 90 % always some,
with no upper cut-off that rules it out; the fissures of the right upper lobe predicted it weakly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from lungperfusion.terms.regions import Region

CollateralCall = Literal["unlikely", "open", "likely", "unknown"]
"""``open``: a functional test has to decide; ``unknown``: the fissure was not judged."""

COMPLETE_ABOVE: Mapping[str, float] = {Region.LEFT_OBLIQUE_FISSURE: 0.95}
"""Share of the fissure, 0 to 1, strictly above which collateral ventilation is unlikely."""

INCOMPLETE_TO: Mapping[str, float] = {
    Region.LEFT_OBLIQUE_FISSURE: 0.80,
    Region.RIGHT_OBLIQUE_FISSURE: 0.90,
}
"""Share at or below which it is likely."""


def predicts_collateral(fissure: str) -> bool:
    """Whether the completeness of a fissure has a published cut-off."""
    return fissure in INCOMPLETE_TO


def collateral_call(fissure: str, completeness: float) -> CollateralCall:
    """Judge collateral ventilation from the completeness of a fissure.

    Parameters
    ----------
    fissure
        A region ID such as ``left_oblique_fissure``.
    completeness
        Share of the fissure that is there, 0 to 1; NaN where it was not judged.

    """
    if math.isnan(completeness):
        return "unknown"
    if completeness > COMPLETE_ABOVE.get(fissure, math.inf):
        return "unlikely"
    if completeness <= INCOMPLETE_TO.get(fissure, -math.inf):
        return "likely"
    return "open"
