"""1-point Dixon: dissolved xenon parted into red cells and membrane by its phase.

The spectrum gives RBC:membrane of the whole lung, and so the phase that the sum over the lungs must
have; RBC is the imaginary part, membrane the real one.  The field of the magnet turns the phase of
each voxel, which that of the gas shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.volume import Mask

Order = Literal["field_first", "rotation_first"]
"""``"field_first"``: remove the phase of the field, then rotate, which is exact.
``"rotation_first"``: the order of the open pipeline, whose classes were made so."""

_PHASE_STEPS = 100
_PHASE_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False, slots=True)
class Separated:
    """Both compartments of dissolved xenon, in the unit of its signal."""

    rbc: NDArray[np.float64]
    membrane: NDArray[np.float64]


def field_phase(gas: NDArray[Any], mask: Mask) -> NDArray[np.float64]:
    """Phase of the gas in rad, centred on its mean within the mask."""
    turned = np.asarray(gas, np.complex128)
    for _ in range(_PHASE_STEPS):
        mean = float(np.angle(turned[mask]).mean())
        if abs(mean) <= _PHASE_TOLERANCE:
            break
        turned = turned * np.exp(-1j * mean)
    return np.asarray(np.angle(turned))


def separate(
    gas: NDArray[Any],
    dissolved: NDArray[Any],
    mask: Mask,
    rbc_membrane: float,
    *,
    order: Order = "field_first",
) -> Separated:
    """Part dissolved xenon into red cells and membrane.

    Parameters
    ----------
    gas, dissolved
        Complex images on one grid.
    mask
        Lungs.
    rbc_membrane
        RBC:membrane of the spectrum.
    order
        See `Order`.

    Raises
    ------
    InputError
        If the ratio is not positive, the images are not complex or the mask is empty.

    """
    if not (math.isfinite(rbc_membrane) and rbc_membrane > 0):
        raise InputError(
            f"RBC:membrane of the spectrum must be above 0, not {rbc_membrane:g}; it is near 0.5"
        )
    if not (np.iscomplexobj(gas) and np.iscomplexobj(dissolved)):
        raise InputError("the Dixon step needs complex images of gas and dissolved xenon")
    if not mask.any():
        raise InputError("the mask of the xenon MRI is empty; give one of the lungs")
    wanted = math.atan2(rbc_membrane, 1.0)
    unturn = np.exp(-1j * field_phase(gas, mask))
    if order == "field_first":
        image = np.asarray(dissolved, np.complex128) * unturn
        image = image * np.exp(1j * (wanted - np.angle(image[mask].sum())))
    else:
        total = np.asarray(dissolved, np.complex128)[mask].sum()
        image = dissolved * np.exp(1j * (wanted - np.angle(total))) * unturn
    rbc, membrane = image.imag, image.real
    return Separated(
        rbc=rbc if rbc[mask].mean() > 0 else -rbc,
        membrane=membrane if membrane[mask].mean() > 0 else -membrane,
    )
