"""First passes of another making: no code, shape or noise of the project's own phantom.

Inputs are log-normal, tissue keeps blood like a gamma distribution's tail (a chain of four mixers)
or a box, curves are summed by direct convolution, and noise follows the density of an exponential.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

STEP_S = 0.02
AT_S = np.arange(0.0, 70.0, STEP_S)

Curve = NDArray[np.float64]


@dataclass(frozen=True)
class OtherTissue:
    """Flows in mL/min per 100 mL and the shape by which blood stays."""

    pulmonary_flow: float
    bronchial_flow: float
    transit_s: float
    shape: str = "gamma"
    bronchial_transit_s: float = 7.0

    @property
    def index(self) -> float:
        """Pulmonary share of the flow."""
        return self.pulmonary_flow / (self.pulmonary_flow + self.bronchial_flow)

    @property
    def blood_volume(self) -> float:
        """Blood in mL per 100 mL."""
        pulmonary = self.pulmonary_flow * self.transit_s
        return (pulmonary + self.bronchial_flow * self.bronchial_transit_s) / 60


def artery() -> Curve:
    """Enhancement of the pulmonary trunk, HU."""
    return np.asarray(3500 * stats.lognorm.pdf(AT_S - 7, 0.45, scale=6.5))


def aorta() -> Curve:
    """Enhancement of the aorta, HU."""
    return np.asarray(0.8 * np.interp(AT_S - 6.5, AT_S, artery(), left=0))


def tissue_curve(tissue: OtherTissue) -> Curve:
    """Enhancement of a tissue, HU."""
    if tissue.shape == "gamma":
        stay = stats.gamma.sf(AT_S, 4.0, scale=tissue.transit_s / 4)
    else:
        stay = (tissue.transit_s >= AT_S).astype(float)
    late = (tissue.bronchial_transit_s >= AT_S).astype(float)
    first = np.convolve(artery(), stay)[: AT_S.size] * tissue.pulmonary_flow
    second = np.convolve(aorta(), late)[: AT_S.size] * tissue.bronchial_flow
    return np.asarray((first + second) * STEP_S / 6000)


def sampled(curve: Curve, times_s: Curve) -> Curve:
    """Give a curve at the times of frames."""
    return np.interp(times_s, AT_S, curve)


def noisy(curve: Curve, sd_hu: float, repeats: int, seed: int) -> NDArray[np.float64]:
    """Repeats with Laplace noise of a standard deviation, shape (repeats, frames)."""
    rng = np.random.default_rng(seed)
    return np.asarray(curve + rng.laplace(0, sd_hu / np.sqrt(2), (repeats, curve.size)))
