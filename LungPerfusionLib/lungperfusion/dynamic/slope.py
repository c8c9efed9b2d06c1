"""Flow by the steepest rise of the tissue, as vendors' dual-input software takes it.

``PF = 6000 max C'(t <= t_s) / max PA`` and ``BF = 6000 max C'(t > t_s) / max AO``, split at the
peak of the left atrium (Miles 1991, Br J Radiol 64:409 for the slope; two inputs as in Yuan 2012).
Blood that already leaves lowers the slope, and while it leaves the curve falls: bronchial flow of
less than a third of the total is not seen at all (docs/dynamic.md), which is said and not made 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungperfusion.dynamic.two_input import PER_MINUTE_100_ML

Curve = NDArray[np.float64]

RISE_OVER_NOISE = 3.0
"""A rise after the split counts from so many standard deviations of a difference on."""

NO_RISE = "the curve never rises after the phase split"


@dataclass(frozen=True, eq=False, kw_only=True)
class SlopeFlow:
    """Flows of N curves, mL/min per 100 mL; NaN where a curve never rises after the split."""

    pulmonary_flow: Curve
    bronchial_flow: Curve

    @property
    def perfusion_index(self) -> Curve:
        """Pulmonary share, 0 to 1; NaN where bronchial flow is not seen."""
        return np.asarray(self.pulmonary_flow / (self.pulmonary_flow + self.bronchial_flow))


def slope_flow(
    times_s: Curve,
    curves_hu: NDArray[np.floating],
    *,
    artery_peak_hu: float,
    aorta_peak_hu: float,
    split_s: float,
    end_s: float,
    noise_hu: NDArray[np.float64],
) -> SlopeFlow:
    """Measure the steepest rise of N curves before and after the phase split.

    Parameters
    ----------
    times_s
        Of the frames.
    curves_hu
        Enhancement, shape (N, frames).
    artery_peak_hu, aorta_peak_hu
        Greatest enhancement of both inputs; NaN without an aorta.
    split_s
        Peak of the left atrium.
    end_s
        End of the first pass: what rises later is recirculation.
    noise_hu
        Standard deviation of each curve, shape (N,).

    """
    curves = np.asarray(curves_hu, np.float64)
    steps = np.diff(times_s)
    slopes = np.diff(curves, axis=1) / steps
    before = times_s[1:] <= split_s
    after = (times_s[:-1] >= split_s) & (times_s[1:] <= end_s)
    first = slopes[:, before].max(axis=1, initial=0.0)
    later = np.where(after, slopes, -np.inf)
    best = later.argmax(axis=1)
    second = later[np.arange(len(later)), best]
    least = RISE_OVER_NOISE * np.sqrt(2.0) * noise_hu / steps[best]
    seen = np.isfinite(second) & (second > np.maximum(least, 0))
    with np.errstate(invalid="ignore"):
        bronchial = PER_MINUTE_100_ML * np.where(seen, second, np.nan) / aorta_peak_hu
    return SlopeFlow(
        pulmonary_flow=PER_MINUTE_100_ML * first / artery_peak_hu, bronchial_flow=bronchial
    )
