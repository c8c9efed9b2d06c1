"""What a first-pass series is and whether its perfusion can be measured, told at a glance.

The inputs are sought in the frames as they were scanned, with lungs of a coarse copy; frames are
not aligned.  So a check says beforehand what `dynamic` would refuse, or give without.
"""

from __future__ import annotations

from collections.abc import Sequence

from lungperfusion.acquisition import Acquisition
from lungperfusion.checking import (
    ANALYSES,
    Remark,
    ScanCheck,
    Suitability,
    as_sentence,
    glance,
    grid_remark,
    modality_remark,
    size_remark,
)
from lungperfusion.dynamic.gates import judge_inputs
from lungperfusion.dynamic.inputs import find_inputs
from lungperfusion.dynamic.series import Frames, timing
from lungperfusion.dynamic.slab import on_grid
from lungperfusion.errors import InputError
from lungperfusion.quality import Gate
from lungperfusion.regions import RegionSet

ONE_CT = "a first-pass series: give one CT"


def check_series(
    frames: Frames, acquisition: Acquisition | None = None, *, warnings: Sequence[str] = ()
) -> ScanCheck:
    """Say what a first-pass series is and whether it suits ``dynamic``.

    Parameters
    ----------
    frames
        As scanned, in axial order.
    acquisition
        Technical facts, if the files told them.
    warnings
        What was mended on reading.

    """
    first, facts = frames.frame(0), acquisition or Acquisition()
    gates, doubt = _inputs(frames)
    worse = [gate.message.rstrip(".") for gate in gates if gate.verdict in ("warn", "fail")]
    reasons = tuple(filter(None, (doubt.rstrip("."), *worse)))
    remarks = (
        modality_remark(facts),
        Remark("frames", timing(frames.moments_s)),
        *([Remark("slices", "Each slice has times of its own.")] if frames.is_shuttle else ()),
        grid_remark(first, facts),
        size_remark(first),
        *(Remark("bolus", gate.message) for gate in gates),
        *(Remark("on reading", as_sentence(text)) for text in warnings),
    )
    suits = {name: Suitability(name, "no", "", (ONE_CT,)) for name in ANALYSES}
    suits["dynamic"] = Suitability("dynamic", "caution" if reasons else "yes", "", reasons)
    return ScanCheck(remarks, tuple(suits.values()), as_sentence(ONE_CT))


def _inputs(frames: Frames) -> tuple[tuple[Gate, ...], str]:
    """Gates of the inputs as they are found at a glance, or why they are not."""
    found = glance(frames.frame(0))
    if isinstance(found, str):
        return (), found
    small = frames.reduced().at_moments()
    lungs = on_grid(RegionSet((found.labels,)), small.geometry).partitions[0]
    try:
        return judge_inputs(find_inputs(small, lungs, {})), ""
    except InputError as error:
        return (), as_sentence(str(error))
