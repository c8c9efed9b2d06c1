"""What volume reduction and the search for perfusion defects come to, as measurements."""

from __future__ import annotations

from collections.abc import Sequence

from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.terms import LOBES, Region
from lungperfusion.vq.defects import Candidate, patient_score
from lungperfusion.vq.planning import SurgeryFlag, TargetLobe


def measure_decisions(
    flag: SurgeryFlag,
    targets: Sequence[TargetLobe],
    candidates: Sequence[Candidate],
    *,
    calibration: str,
) -> tuple[Measurement, ...]:
    """Rows for tables: flag, ranks and scores that the report says in words.

    Parameters
    ----------
    flag
        Of the white paper's criteria.
    targets
        Lobes that could be ranked.
    candidates
        Perfusion defects with their scores.
    calibration
        What the scores were fitted to, for the method.

    """
    words = (
        f"{flag.upper_emphysema_percent:.3g} % emphysema, {flag.upper_perfusion_percent:.3g} % of "
        "the perfusion surrogate in the upper zones"
    )
    rows = [
        missing(Region.LUNGS, "lvrs_flag", flag.sentence.rstrip("."))
        if flag.met is None
        else measured(Region.LUNGS, "lvrs_flag", float(flag.met), words),
        measured(
            Region.LUNGS,
            "perfusion_defect_score",
            patient_score(candidates),
            f"{len(candidates)} candidates; scores {calibration}",
        ),
    ]
    ranked = {target.lobe: target for target in targets}
    for lobe in LOBES:
        if lobe in ranked:
            rows.append(measured(lobe, "target_rank", float(ranked[lobe].rank), "by target score"))
            rows.append(measured(lobe, "target_score", ranked[lobe].score, "points"))
        else:
            reason = "emphysema, ventilation or perfusion of the lobe is not known"
            rows += [missing(lobe, name, reason) for name in ("target_rank", "target_score")]
    return tuple(rows)
