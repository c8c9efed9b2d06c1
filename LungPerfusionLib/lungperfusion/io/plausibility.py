"""Whether the voxel values are Hounsfield units."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.volume import Mask

AIR_AT_MOST_HU = -600.0
"""A chest CT, however cropped, holds lung or air below this value."""

TISSUE_AT_LEAST_HU = -300.0
"""A chest CT, however cropped, holds vessels or wall above this value."""

DARK_SHARE = 0.001
"""Share of voxels that must be air or lung, and share that must be tissue."""

NO_AIR_HU = -2500.0
"""Air of a CT in HU lies far above, also with an offset of 1024 too much; padding may not."""

PADDING_VALUES = 20
"""Padding has one value, or a few where it was interpolated."""

NEIGHBOURS_ALIKE = 0.3
"""Correlation of neighbouring voxels: near 1 in a CT whatever its noise, 0 in noise alone."""

_SAMPLES = 500_000
_ADVICE = "give the original CT in HU"


def require_hounsfield(array: NDArray[Any], valid: Mask | None = None) -> None:
    """Refuse values that cannot be the HU of a chest CT.

    Parameters
    ----------
    array, valid
        Image and its padding; a regular sample of about half a million voxels is looked at.

    Raises
    ------
    InputError
        With what the values look like instead: a label map, 0-based raw values, an 8-bit or
        windowed picture, values scaled to 0..1, an image without air or without tissue.

    """
    step = max(1, int(np.ceil((array.size / _SAMPLES) ** (1 / 3))))
    part = (slice(None, None, step),) * 3
    values = array[part].ravel() if valid is None else array[part][valid[part]]
    if values.size == 0:
        raise InputError("the image holds padding only; export the series again")
    lowest, dark, bright, highest = (
        float(value) for value in np.quantile(values, (0.0, DARK_SHARE, 1 - DARK_SHARE, 1.0))
    )
    span = f"the values run from {lowest:.5g} to {highest:.5g}"
    if lowest == highest:
        raise InputError(f"all voxels have the value {lowest:.5g}; expected a chest CT in HU")
    if lowest >= 0 and highest <= 255 and _few_integers(values):
        raise InputError(f"{span} in few steps: this looks like a label map, not a CT; {_ADVICE}")
    if lowest >= -20 and highest <= 20:
        raise InputError(f"{span}: this looks like a CT scaled or normalised, not HU; {_ADVICE}")
    if lowest >= 0 and highest <= 255:
        raise InputError(f"{span}: this looks like an 8-bit windowed picture, not HU; {_ADVICE}")
    if lowest >= 0:
        raise InputError(
            f"{span}: this looks like raw values without the rescale intercept (usually -1024), "
            f"not HU; {_ADVICE}"
        )
    if dark > AIR_AT_MOST_HU:
        raise InputError(
            f"{span} and hardly any lies below {AIR_AT_MOST_HU:g}: expected air near -1000 HU and "
            f"lung; {_ADVICE}, not windowed or shifted"
        )
    if bright < TISSUE_AT_LEAST_HU:
        raise InputError(
            f"{span} and hardly any lies above {TISSUE_AT_LEAST_HU:g}: expected soft tissue near "
            f"40 HU; {_ADVICE} of a chest"
        )
    alike = _neighbours_alike(array)
    if alike < NEIGHBOURS_ALIKE:
        raise InputError(
            f"neighbouring voxels have nothing in common (correlation {alike:.2f}): this is noise, "
            f"not an image; {_ADVICE}"
        )


def require_no_factor(array: NDArray[Any]) -> None:
    """Refuse HU that were multiplied, whose air would be taken for padding.

    Raises
    ------
    InputError
        If many different values lie far below air.

    """
    step = max(1, int(np.ceil((array.size / _SAMPLES) ** (1 / 3))))
    below = array[(slice(None, None, step),) * 3]
    below = below[below < NO_AIR_HU]
    if below.size and np.unique(below).size > PADDING_VALUES:
        raise InputError(
            f"the values reach down to {float(below.min()):.5g} in many steps: this looks like HU "
            f"multiplied by a factor such as 10; {_ADVICE}"
        )


def _neighbours_alike(array: NDArray[Any]) -> float:
    """Correlation of voxels with their neighbours, the highest of the three directions."""
    k = array.shape[0]
    planes = _in_scale(array[:: max(1, k // 6)])
    pairs = [(planes[:, 1:], planes[:, :-1]), (planes[:, :, 1:], planes[:, :, :-1])]
    if k > 1:
        middle = _in_scale(array[k // 4 : k // 4 + 4])
        pairs.append((middle[1:], middle[:-1]))
    return max(
        float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
        for a, b in pairs
        if a.size and a.std() > 0 and b.std() > 0
    )


def _in_scale(array: NDArray[Any]) -> NDArray[np.float32]:
    """CT numbers of air to bone: one voxel of metal must not outweigh all others."""
    return np.asarray(np.clip(array, NO_AIR_HU, -NO_AIR_HU), np.float32)


def _few_integers(values: NDArray[Any]) -> bool:
    found = np.unique(values)
    return found.size <= 40 and bool(np.all(found == np.rint(found)))
