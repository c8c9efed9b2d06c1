"""Pixels of a vendor's iodine map that hold no iodine value: vessels, bone, dense lung cut out."""

from __future__ import annotations

import numpy as np

from lungperfusion.quality import Gate, Verdict
from lungperfusion.volume import Mask, Volume

IMPOSSIBLE_BELOW = {"HU": -500.0, "mg/mL": -20.0}
"""Iodine this far below none is no noise (some 40 HU or 1 mg/mL in one voxel), but a mark such as
-1000, -1024 or -2000."""

SPIKE_SHARE = 0.002
"""Of the lungs: fewer voxels of one value decide nothing."""

SPIKE_RATIO = 3.0
"""A mark is this many times as frequent as all values up to half way to the median together; noise
that was clipped is not."""

CLIPPED_SHARE = 0.01
"""Share of the lungs at the smallest value from which clipped noise raises the mean noticeably."""

GOOD_COVERAGE = 0.8
LEAST_COVERAGE = 0.5
"""Share of the lungs with an iodine value from which results count, and count with caution: large
vessels, airway walls and the lungs' surface are some 15 %."""


def without_marks(image: Volume, lungs: Mask) -> tuple[Volume, tuple[Gate, ...]]:
    """Leave out what a map marks as cut out, before anything is interpolated or averaged.

    Marks are values that iodine cannot have (`IMPOSSIBLE_BELOW`), and the smallest value or 0 where
    it stands apart from all others in the lungs.

    Parameters
    ----------
    image
        Iodine in HU or mg/mL.
    lungs
        Lung voxels on the same grid, shape (K, J, I).

    Returns
    -------
    Volume
        The map, marked voxels invalid.
    tuple of Gate
        A warning where noise seems to have been clipped.

    """
    valid = np.asarray(image.array > IMPOSSIBLE_BELOW[image.unit])
    if image.valid is not None:
        valid &= image.valid
    inside = valid & lungs
    gates: tuple[Gate, ...] = ()
    if inside.any():
        smallest = image.array[inside].min()
        for value in sorted({float(smallest), 0.0}):
            at_value = image.array == value
            if _is_mark(image, at_value, inside):
                valid &= ~at_value
            elif value == smallest:
                gates = _clipping(at_value, inside)
    return Volume(image.array, image.geometry, image.unit, valid), gates


def _is_mark(image: Volume, at_value: Mask, inside: Mask) -> bool:
    """Whether one value stands apart from all others in the lungs."""
    count, total = np.count_nonzero(at_value & inside), np.count_nonzero(inside)
    if count < SPIKE_SHARE * total or count == total:
        return False
    value = float(image.array[at_value & inside][0])
    others = image.array[inside & ~at_value]
    half_way = abs(float(np.median(others)) - value) / 2
    return bool(count > SPIKE_RATIO * np.count_nonzero(np.abs(others - value) <= half_way))


def coverage(valid: Mask | None, lungs: Mask) -> Gate:
    """Judge how much of the lungs has an iodine value at all."""
    total = int(np.count_nonzero(lungs))
    known = total if valid is None else int(np.count_nonzero(lungs & valid))
    share = known / max(1, total)
    verdict: Verdict = "fail"
    if share >= LEAST_COVERAGE:
        verdict = "pass" if share >= GOOD_COVERAGE else "warn"
    return Gate(
        id="iodine_map_coverage",
        verdict=verdict,
        message=f"{100 * (1 - share):.1f} % of the lungs are cut out of the iodine map or lie "
        "outside of it, and are left out.",
        value=share,
        unit="1",
        limit=f"{GOOD_COVERAGE:g} or more",
    )


def _clipping(lowest: Mask, inside: Mask) -> tuple[Gate, ...]:
    share = np.count_nonzero(lowest & inside) / np.count_nonzero(inside)
    if share < CLIPPED_SHARE:
        return ()
    return (
        Gate(
            id="iodine_map_clipping",
            verdict="warn",
            message=f"{100 * share:.1f} % of the lungs have the smallest value of the iodine map: "
            "its noise was clipped, which raises every mean, or places were cut out with a value "
            "that cannot be distinguished from iodine; export the map without a lower limit.",
            value=share,
            unit="1",
            limit=f"below {CLIPPED_SHARE:g}",
        ),
    )
