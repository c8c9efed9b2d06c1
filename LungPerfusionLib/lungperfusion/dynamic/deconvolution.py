"""Flow without a model of the tissue: deconvolution by block-circulant singular values.

``C = (dt PA) * (F R)``; the circulant matrix of the padded input makes the result independent of a
delay (Wu 2003, Magn Reson Med 50:164).  Small singular values, which noise lives in, are left out
until the residue hardly oscillates.  Only the pulmonary input is used: bronchial flow is in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import circulant

from lungperfusion.dynamic.two_input import PER_MINUTE_100_ML

Curve = NDArray[np.float64]

MOST_OSCILLATION = 0.095
"""Oscillation index that is allowed (Wu 2003, Magn Reson Med 50:164: 0.095 at SNR 20)."""

CUTOFFS = tuple(np.arange(0.0, 0.95, 0.01))
"""Shares of the greatest singular value below which the others are left out, tried in this order.
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Deconvolved:
    """Residue functions of N curves."""

    flow: Curve
    """mL/min per 100 mL: the maximum of the residue."""
    tmax_s: Curve
    """Where it lies."""
    cutoff: Curve
    """Share of the greatest singular value that was kept from."""


def deconvolve(times_s: Curve, artery_hu: Curve, curves_hu: NDArray[np.floating]) -> Deconvolved:
    """Deconvolve N curves, shape (N, frames), on even steps of the median interval."""
    step = float(np.median(np.diff(times_s)))
    count = int(np.floor((times_s[-1] - times_s[0]) / step + 1e-6)) + 1
    even = times_s[0] + step * np.arange(count)
    padded = np.zeros(2 * count)
    padded[:count] = np.interp(even, times_s, artery_hu)
    left, values, right = np.linalg.svd(circulant(padded) * step)
    curves = np.zeros((len(curves_hu), 2 * count))
    for n, curve in enumerate(np.asarray(curves_hu, np.float64)):
        curves[n, :count] = np.interp(even, times_s, curve)
    projected = curves @ left
    flow, tmax, cutoff = np.zeros((3, len(curves)))
    waiting = np.ones(len(curves), np.bool_)
    for share in CUTOFFS:
        kept = values >= share * values[0]
        inverse = np.where(kept, 1 / np.maximum(values, 1e-12), 0.0)
        residue = (projected[waiting] * inverse) @ right
        top = residue.max(axis=1)
        calm = (_oscillation(residue, top) <= MOST_OSCILLATION) | (share == CUTOFFS[-1])
        here = np.flatnonzero(waiting)[calm]
        flow[here] = PER_MINUTE_100_ML * np.maximum(top[calm], 0)
        late = residue[calm].argmax(axis=1)
        tmax[here] = step * np.where(late >= count, 0, late)  # beyond: before the input
        cutoff[here] = share
        waiting[here] = False
        if not waiting.any():
            break
    return Deconvolved(flow=flow, tmax_s=tmax, cutoff=cutoff)


def _oscillation(residue: NDArray[np.float64], top: Curve) -> Curve:
    """Mean second difference over the maximum."""
    bends = np.abs(np.diff(residue, 2, axis=1)).sum(axis=1)
    size = residue.shape[1] * top
    index = np.divide(bends, size, out=np.full(len(top), np.inf), where=top > 0)
    return np.asarray(index)
