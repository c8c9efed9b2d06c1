"""How far an engine and this program agree on the same CT: quality gates."""

from __future__ import annotations

import numpy as np

from lungperfusion.quality import Gate, Verdict
from lungperfusion.terms import LOBES, LUNGS, title
from lungperfusion.volume import Labelmap, bounding_box

LUNG_DICE = (0.95, 0.85)
"""Overlap of a lung as drawn by both: below the first a look is called for, below the second one of
the two is wrong.  Published engines reach 0.97 to 0.98 against readers on diseased lungs
(Hofmanninger 2020, doi:10.1186/s41747-020-00173-2), this program the same on its own phantoms."""

LUNG_VOLUME = (0.5, 1.5)
"""Ratio of both volumes outside of which one of the two has failed."""

LOBE_SHARE = (0.05, 0.25)
"""Share of a lobe that the other gives to its neighbours: as for `LUNG_DICE`."""


def lung_agreement(own: Labelmap, engine: Labelmap, name: str) -> Gate:
    """Compare the lungs of an engine with those of this program.

    Parameters
    ----------
    own, engine
        ``left_lung`` and ``right_lung`` on the same grid.
    name
        The engine in words.

    """
    own.geometry.require_same(engine.geometry, what="lungs of both programs")
    worst, verdict, words = 1.0, "pass", []
    for lung in LUNGS:
        first, second = own.volume_ml(lung), engine.volume_ml(lung)
        if not (first or second):
            continue
        dice = _dice(own, engine, lung)
        ratio = second / first if first else np.inf
        words.append(
            f"{title(lung).lower()} {second / 1000:.2f} L (this program {first / 1000:.2f} L), "
            f"overlap {dice:.3f}"
        )
        worst = min(worst, dice)
        if dice < LUNG_DICE[1] or not LUNG_VOLUME[0] <= ratio <= LUNG_VOLUME[1]:
            verdict = "fail"
        elif dice < LUNG_DICE[0] and verdict == "pass":
            verdict = "warn"
    return Gate(
        id="engine_lungs",
        verdict=_as_verdict(verdict),
        message=f"Lungs of {name}: {'; '.join(words) or 'none'}{_tail(verdict)}.",
        value=worst,
        unit="1",
        limit=f"overlap (Dice) at least {LUNG_DICE[0]:g}",
    )


def lobe_agreement(own: Labelmap, engine: Labelmap, name: str) -> Gate:
    """Compare the lobes of an engine with those of this program.

    Parameters
    ----------
    own, engine
        Lobes on the same grid; a lobe that one of them lacks disagrees wholly.
    name
        The engine in words.

    """
    own.geometry.require_same(engine.geometry, what="lobes of both programs")
    both = (own.array > 0) & (engine.array > 0)
    shares = {}
    for lobe in LOBES:
        first, second = own.mask(lobe) & both, engine.mask(lobe) & both
        size = max(np.count_nonzero(first), np.count_nonzero(second))
        if size:
            shares[lobe] = 1 - np.count_nonzero(first & second) / size
    if not shares:
        return Gate(
            id="engine_lobes",
            verdict="unknown",
            message=f"The lobes of {name} could not be compared: no lobes of this program.",
        )
    lobe = max(shares, key=lambda one: shares[one])
    worst = shares[lobe]
    verdict = "pass" if worst <= LOBE_SHARE[0] else "warn" if worst <= LOBE_SHARE[1] else "fail"
    return Gate(
        id="engine_lobes",
        verdict=_as_verdict(verdict),
        message=f"Lobes of {name}: at most {100 * worst:.0f} % of a lobe ({title(lobe).lower()}) "
        f"lie elsewhere than this program finds them{_tail(verdict)}.",
        value=float(worst),
        unit="1",
        limit=f"at most {100 * LOBE_SHARE[0]:g} % of a lobe",
    )


def _dice(first: Labelmap, second: Labelmap, name: str) -> float:
    a, b = first.mask(name), second.mask(name)
    total = np.count_nonzero(a) + np.count_nonzero(b)
    if not total:
        return 1.0
    box = bounding_box(a | b)
    return float(2 * np.count_nonzero(a[box] & b[box]) / total)


def _tail(verdict: str) -> str:
    return {
        "pass": "; both agree",
        "warn": "; they differ: look which is right before using the numbers",
        "fail": "; one of the two is wrong there: correct the outlines before using the numbers",
    }[verdict]


def _as_verdict(word: str) -> Verdict:
    verdicts: dict[str, Verdict] = {"pass": "pass", "warn": "warn", "fail": "fail"}
    return verdicts[word]
