"""Whether a series was taken so that its first pass can be measured."""

from __future__ import annotations

import numpy as np

from lungperfusion.dynamic.inputs import WORDS, InputCurve, Inputs
from lungperfusion.dynamic.motion import MOST_SHIFT_MM, Aligned
from lungperfusion.quality import Gate, Verdict

FEWEST_BASELINE = 4
"""Frames before the bolus: with fewer the level of the tissue before it is noise."""
LONGEST_STEP_S = 2.0
"""Between two frames: a longer step misses the steepest rise."""
LEAST_AFTER_PEAK_S = 12.0
"""After the peak of the trunk: the blood of both circulations must have come."""
MOST_LEFT_OUT = 0.2
"""Share of frames that may be missing."""
LEAST_ORDER_S = 0.5
"""Between the peaks of trunk, atrium and aorta."""


def judge_first_pass(inputs: Inputs, aligned: Aligned) -> tuple[Gate, ...]:
    """Judge times, motion and inputs of one series."""
    return (*judge_inputs(inputs), _motion(aligned), _frames(aligned))


def judge_inputs(inputs: Inputs) -> tuple[Gate, ...]:
    """Judge times and inputs alone."""
    return _baseline(inputs), _step(inputs), _end(inputs), _order(inputs)


def _baseline(inputs: Inputs) -> Gate:
    count = int(np.count_nonzero(inputs.baseline))
    return _needed(
        "first_pass_baseline",
        count >= FEWEST_BASELINE,
        f"{count} frames show the lungs before the bolus",
        f"at least {FEWEST_BASELINE} are needed: enhancement has no sure start",
        value=float(count),
        unit="1",
        limit=f">= {FEWEST_BASELINE}",
    )


def _step(inputs: Inputs) -> Gate:
    steps = np.diff(inputs.times_s)
    pass_end = inputs.first_pass_end_s
    during = (inputs.times_s[1:] >= inputs.artery.arrival_s) & (inputs.times_s[:-1] <= pass_end)
    longest = float(steps[during].max()) if during.any() else float(steps.max())
    return _needed(
        "first_pass_step",
        longest <= LONGEST_STEP_S + 1e-6,
        f"While the bolus passes, frames are up to {longest:.2g} s apart",
        f"at most {LONGEST_STEP_S:g} s are allowed: the steepest rise is missed",
        value=longest,
        unit="s",
        limit=f"<= {LONGEST_STEP_S:g} s",
    )


def _end(inputs: Inputs) -> Gate:
    after = float(inputs.times_s[-1] - inputs.artery.peak_s)
    return _needed(
        "first_pass_end",
        after >= LEAST_AFTER_PEAK_S - 1e-6,
        f"The series ends {after:.1f} s after the peak in the pulmonary trunk",
        f"{LEAST_AFTER_PEAK_S:g} s are needed: blood has not passed the lungs",
        value=after,
        unit="s",
        limit=f">= {LEAST_AFTER_PEAK_S:g} s",
    )


def _needed(
    id: str, fine: bool, words: str, otherwise: str, *, value: float, unit: str, limit: str
) -> Gate:
    """Pass, or fail and say what is needed."""
    return Gate(
        id=id,
        verdict="pass" if fine else "fail",
        message=f"{words}." if fine else f"{words}, {otherwise}.",
        value=value,
        unit=unit,
        limit=limit,
    )


def _order(inputs: Inputs) -> Gate:
    """Blood reaches the trunk, the atrium and the aorta one after the other."""
    found = inputs.found
    peaks = [curve.peak_s for curve in found]
    gaps = np.diff(peaks)
    missing = [place for place in (inputs.atrium, inputs.aorta) if isinstance(place, str)]
    doubts = [
        f"{WORDS[curve.place]}: {curve.doubt}"
        for curve in found
        if isinstance(curve, InputCurve) and curve.doubt
    ]
    verdict: Verdict = "pass"
    words = ", ".join(f"{WORDS[curve.place]} {curve.peak_s:.1f} s" for curve in found)
    message = f"Peaks: {words}."
    if (gaps < LEAST_ORDER_S).any():
        verdict = "fail"
        message = (
            f"Peaks come in no possible order ({words}): an input lies in another vessel; place "
            "its point by hand."
        )
    elif missing or doubts:
        verdict = "warn"
        message = f"{message[:-1]}; {'; '.join([*missing, *doubts])}."
    return Gate(
        id="first_pass_order",
        verdict=verdict,
        message=message,
        value=float(gaps.min()) if gaps.size else None,
        unit="s" if gaps.size else "",
        limit=f">= {LEAST_ORDER_S:g} s between peaks",
    )


def _motion(aligned: Aligned) -> Gate:
    left = float(np.max(aligned.shift_mm[aligned.kept], initial=0.0))
    before = float(np.max(aligned.before_mm, initial=0.0))
    fine = left <= MOST_SHIFT_MM / 2
    return Gate(
        id="first_pass_motion",
        verdict="pass" if fine else "warn",
        message=f"The surface of the lungs lies up to {before:.1f} mm from the reference frame, "
        f"{left:.1f} mm after alignment.",
        value=left,
        unit="mm",
        limit=f"<= {MOST_SHIFT_MM / 2:g} mm",
    )


def _frames(aligned: Aligned) -> Gate:
    out = np.flatnonzero(~aligned.kept)
    share = out.size / aligned.kept.size
    listed = ", ".join(str(number + 1) for number in out)
    verdict: Verdict = "pass" if share == 0 else "warn" if share <= MOST_LEFT_OUT else "fail"
    return Gate(
        id="first_pass_frames",
        verdict=verdict,
        message="All frames were used."
        if not out.size
        else f"{out.size} of {aligned.kept.size} frames were left out (number {listed}): they "
        "could not be aligned, do not show the same place, or a reader took them out.",
        value=share,
        unit="1",
        limit=f"<= {MOST_LEFT_OUT:g}",
    )
