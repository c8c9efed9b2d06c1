"""What lobes and fissures measure, and how far they can be trusted."""

from __future__ import annotations

import math

import numpy as np

from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.quality import Gate, Verdict
from lungperfusion.segmentation.completeness import SEARCH_MM
from lungperfusion.segmentation.fissures import GRID_MM
from lungperfusion.segmentation.lobes import PLANS, SUPPORT_MM, Boundary, LobeSegmentation
from lungperfusion.terms import LOBES, LUNGS, title
from lungperfusion.terms.collateral import (
    COMPLETE_ABOVE,
    INCOMPLETE_TO,
    collateral_call,
    predicts_collateral,
)
from lungperfusion.volume import Labelmap

SUPPORT_GOOD, SUPPORT_LEAST = 0.7, 0.35
"""Share of a boundary that rests on visible fissure: from the first it is trusted, below the
second it is mostly a guess."""

THIN_SLICE_MM = 1.6
"""Completeness is judged on slices up to about 1.5 mm (Koster 2016, Respiration 92:150)."""

LEAST_BRONCHI_ML = 0.5
"""Less airway inside a lung than a lobar bronchus holds (8 mm wide, 10 mm long)."""

_METHOD = "surface fitted to visible fissure"
_ORIGIN = {
    "sharp": "fissure seen as a sharp line",
    "faint": "fissure seen only when averaged along itself",
}


_OF_THE_LEAST = ("boundary_support", "fissure_completeness")
"""Measures of a lobe that are those of its least boundary."""


def measure_lobes(lobes: LobeSegmentation, lungs: Labelmap) -> tuple[Measurement, ...]:
    """Volumes of the lobes, and completeness and support of the fissures.

    Parameters
    ----------
    lobes
        Lobes with their boundaries.
    lungs
        ``left_lung`` and ``right_lung`` on the same grid.

    """
    total = lungs.volume_ml(*LUNGS)
    out: list[Measurement] = []
    for lobe in LOBES:
        if lobe in lobes.absent:
            out += [
                missing(lobe, measure, lobes.absent[lobe])
                for measure in ("lobe_volume", "lobe_volume_share", *_OF_THE_LEAST)
            ]
            continue
        borders = [b for b in lobes.boundaries.values() if lobe in (*b.plan.above, *b.plan.below)]
        doubt = next((doubts for b in borders if (doubts := why_unsure(b, lobes))), "")
        method = f"voxel count; {_origin(borders)}"
        volume = lobes.labelmap.volume_ml(lobe)
        out.append(measured(lobe, "lobe_volume", volume, method, caution=doubt))
        out.append(measured(lobe, "lobe_volume_share", 100 * volume / total, method, caution=doubt))
        if borders:
            support = min(b.support for b in borders)
            out.append(
                measured(lobe, "boundary_support", 100 * support, f"within {SUPPORT_MM:g} mm")
            )
            least = min(borders, key=lambda b: (judgeable(b), b.evidence.completeness))
            out.append(_completeness(lobe, least, lobes))
        else:
            alone = "the lobe has no neighbour in its lung"
            out += [missing(lobe, measure, alone) for measure in _OF_THE_LEAST]
    for name in PLANS:
        out += _fissure_measures(name, lobes)
    return tuple(out)


def _origin(borders: list[Boundary]) -> str:
    return "; ".join(sorted({_how(b) for b in borders})) or "whole lung"


def _how(boundary: Boundary) -> str:
    """How a boundary was found."""
    if boundary.origin == "imported":
        return "boundary of the given lobes"
    if boundary.support < SUPPORT_LEAST:
        return "gap between vessels where anatomy expects the fissure"
    return _ORIGIN[boundary.origin]


def _fissure_measures(name: str, lobes: LobeSegmentation) -> list[Measurement]:
    measures = ("fissure_completeness", "boundary_support", "interlobar_area")
    boundary = lobes.boundaries.get(name)
    if boundary is None:
        plan = PLANS[name]
        gone = [lobe for lobe in (*plan.above, *plan.below) if lobe in lobes.absent]
        reason = (
            f"{title(gone[0]).lower()}: {lobes.absent[gone[0]]}"
            if gone
            else "the lobes do not meet"
        )
        return [missing(name, measure, reason) for measure in measures]
    doubt = why_unsure(boundary, lobes) or _too_thick(lobes, boundary)
    return [
        _completeness(name, boundary, lobes),
        measured(name, measures[1], 100 * boundary.support, f"within {SUPPORT_MM:g} mm"),
        measured(name, measures[2], boundary.evidence.area_mm2, _METHOD, caution=doubt),
    ]


def _completeness(region: str, boundary: Boundary, lobes: LobeSegmentation) -> Measurement:
    """Completeness of a boundary's fissure, as a measure of the fissure or of a lobe beside it."""
    method = f"visible within {SEARCH_MM:g} mm of the boundary; {_how(boundary)}"
    if region != boundary.plan.id:
        method += f"; {title(boundary.plan.id).lower()}"
    doubt = why_unsure(boundary, lobes) or _too_thick(lobes, boundary)
    if not judgeable(boundary):
        reason = f"the {title(boundary.plan.id).lower()} was not found: {doubt}"
        return missing(region, "fissure_completeness", reason, method)
    share = 100 * boundary.evidence.completeness
    return measured(region, "fissure_completeness", share, method, caution=doubt)


def judgeable(boundary: Boundary) -> bool:
    """Whether enough of a fissure was found to say how complete it is.

    Given lobes tell where the fissure should be; otherwise a boundary without visible fissure may
    lie in the wrong place, and an absent fissure cannot be distinguished from one that was missed.
    """
    if np.isnan(boundary.evidence.completeness):
        return False
    return boundary.origin == "imported" or boundary.support >= SUPPORT_LEAST


def why_unsure(boundary: Boundary, lobes: LobeSegmentation) -> str:
    """Reason why a boundary is not to be trusted, or an empty string."""
    support = boundary.support
    if support >= SUPPORT_GOOD:
        return _ends_at_unseen(boundary, lobes)
    name = title(boundary.plan.id).lower()
    share = f"only {100 * support:.0f} %" if support >= 0.005 else "nothing"
    if boundary.origin == "imported":
        return f"{share} of the given boundary along the {name} shows a fissure"
    return (
        f"{share} of the boundary along the {name} rests on visible fissure; the rest follows "
        f"gaps between vessels and smoothness{crossed(boundary)}"
    )


def _ends_at_unseen(boundary: Boundary, lobes: LobeSegmentation) -> str:
    """Say that a fissure ends at one that was not found, and may be that one; else nothing."""
    outer = lobes.boundaries.get(boundary.plan.within)
    if outer is None or outer.origin == "imported" or outer.support >= SUPPORT_LEAST:
        return ""
    return (
        f"the {title(boundary.plan.id).lower()} ends at the {title(outer.plan.id).lower()}, which "
        "was not found: what is seen may be that one"
    )


def crossed(boundary: Boundary) -> str:
    """Say how many vessels a boundary crosses, as a clause; nothing where there are none."""
    if np.isnan(boundary.vessel_ratio):
        return ""
    return f" (it crosses {100 * boundary.vessel_ratio:.0f} % of the vessels beside it)"


def _too_thick(lobes: LobeSegmentation, boundary: Boundary) -> str:
    thick_mm = lobes.prepared[boundary.plan.lung].image.thick_mm
    if thick_mm <= THIN_SLICE_MM:
        return ""
    return f"voxels of up to {thick_mm:.1f} mm blur fissures: what is not seen may still be there"


def lobe_gates(lobes: LobeSegmentation) -> tuple[Gate, ...]:
    """One gate for every fissure: whether its boundary rests on what is seen."""
    gates = []
    for name, plan in PLANS.items():
        boundary = lobes.boundaries.get(name)
        limit = f"at least {100 * SUPPORT_GOOD:g} % near visible fissure"
        if boundary is None:
            gone = [lobe for lobe in (*plan.above, *plan.below) if lobe in lobes.absent]
            why = f" ({title(gone[0]).lower()}: {lobes.absent[gone[0]]})" if gone else ""
            gates.append(
                Gate(
                    id=name,
                    verdict="unknown",
                    message=f"The {title(name).lower()} separates no two lobes here{why}.",
                    limit=limit,
                )
            )
            continue
        support = boundary.support
        verdict: Verdict = (
            "pass" if support >= SUPPORT_GOOD else "warn" if support >= SUPPORT_LEAST else "fail"
        )
        message = (
            f"{100 * support:.0f} % of the boundary along the {title(name).lower()} lie within "
            f"{SUPPORT_MM:g} mm of visible fissure"
        )
        if len(boundary.user_points_mm):
            message += f" or of {len(boundary.user_points_mm)} points of the user"
        if verdict == "pass" and (doubt := _ends_at_unseen(boundary, lobes)):
            verdict = "warn"
            message += f", but {doubt}. Check the lobes, or place fissure points"
        elif verdict != "pass":
            thick = _too_thick(lobes, boundary)
            causes = (
                thick.split(":")[0]
                if thick
                else ("it may be incomplete, hidden by disease, or a lobe may have been removed")
            )
            message += f": low confidence; {causes}. Check the lobes, or place fissure points"
        gates.append(
            Gate(
                id=name,
                verdict=verdict,
                message=f"{message}.",
                value=support,
                unit="1",
                limit=limit,
            )
        )
    return tuple(gates)


def tree_gates(lobes: LobeSegmentation) -> tuple[Gate, ...]:
    """Whether vessels and bronchi were seen well enough to tell lobes apart by them."""
    if not lobes.prepared:
        return ()
    thick_mm = max(lung.image.thick_mm for lung in lobes.prepared.values())
    thin = thick_mm <= THIN_SLICE_MM
    bronchi_ml = {
        side: np.count_nonzero(lung.image.airways) * GRID_MM**3 / 1000
        for side, lung in lobes.prepared.items()
    }
    least = min(bronchi_ml.values())
    reached = least >= LEAST_BRONCHI_ML
    return (
        Gate(
            id="vessel_map",
            verdict="pass" if thin else "warn",
            message=f"Vessels were sought in voxels of up to {thick_mm:.1f} mm"
            + ("." if thin else ": the smallest ones are blurred away or run together."),
            value=thick_mm,
            unit="mm",
            limit=f"up to {THIN_SLICE_MM:g} mm",
        ),
        Gate(
            id="airway_map",
            verdict="pass" if reached else "warn",
            message=f"Airways were followed into the lungs over {least:.1f} mL or more on each side"
            + ("." if reached else ": lobes were separated without bronchi."),
            value=least,
            unit="mL",
            limit=f"at least {LEAST_BRONCHI_ML:g} mL",
        ),
    )


def screening(name: str, lobes: LobeSegmentation) -> str:
    """Say what the completeness of a fissure suggests on collateral ventilation; a screening."""
    boundary = lobes.boundaries.get(name)
    if boundary is None:
        return "no fissure to judge"
    share = boundary.evidence.completeness
    if not judgeable(boundary) or boundary.support < SUPPORT_GOOD:
        return "not judged: too little of the boundary shows a fissure"
    if doubt := why_unsure(boundary, lobes):
        return f"not judged: {doubt}"
    if _too_thick(lobes, boundary):
        return f"not judged: voxels over {THIN_SLICE_MM:g} mm blur fissures"
    if not predicts_collateral(name):
        return "screening: completeness of this fissure predicts collateral ventilation poorly"
    low, high = 100 * INCOMPLETE_TO[name], 100 * COMPLETE_ABOVE.get(name, math.inf)
    call = collateral_call(name, share)
    if call == "open":
        between = f"above {low:.0f}" + (f" to {high:.0f}" if math.isfinite(high) else "")
        return f"screening: open ({between} %); needs a functional test"
    limit = f"above {high:.0f} %" if call == "unlikely" else f"{low:.0f} % or less"
    return f"screening: collateral ventilation {call} ({limit})"
