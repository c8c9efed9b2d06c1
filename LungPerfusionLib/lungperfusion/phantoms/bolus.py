"""Contrast medium on its way through a phantom: great vessels and lung tissue over time.

A gamma variate in the pulmonary trunk, mixed and delayed on the way to the left atrium and the
aorta, comes back once, weaker and broader.  Tissue is the convolution of its two inputs with the
share of blood that is still there (Meier 1954, J Appl Physiol 6:731).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
Residue = Literal["sigmoid", "exponential"]

STEP_S = 0.05
"""Curves are computed this finely and then sampled."""
LONGEST_S = 90.0
RECIRCULATION_S = 18.0
"""After so long the bolus comes back to the right heart."""
RECIRCULATION_WIDTH_S = 5.0
SIGMOID_WIDTH_SHARE = 1 / 6
"""Width of the sigmoid residue as a share of its mean transit time."""


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """Perfusion of a piece of lung; flows in mL/min per 100 mL of lung."""

    pulmonary_flow: float = 120.0
    bronchial_flow: float = 6.0
    transit_s: float = 5.0
    bronchial_transit_s: float = 6.0
    delay_s: float = 0.0
    """From the trunk to the tissue."""

    @property
    def blood_volume(self) -> float:
        """Blood of both circulations in mL per 100 mL of lung."""
        pulmonary = self.pulmonary_flow * self.transit_s
        return (pulmonary + self.bronchial_flow * self.bronchial_transit_s) / 60

    @property
    def perfusion_index(self) -> float:
        """Pulmonary share of the flow, 0 to 1."""
        return self.pulmonary_flow / (self.pulmonary_flow + self.bronchial_flow)


@dataclass(frozen=True, kw_only=True)
class Bolus:
    """The injection as the heart and the great vessels see it."""

    peak_hu: float = 400.0
    """In the pulmonary trunk."""
    arrival_s: float = 8.0
    rise_s: float = 6.0
    """From arrival to peak in the trunk."""
    recirculation: float = 0.15
    """Share that comes back."""
    cava_peak_hu: float = 700.0
    atrium_delay_s: float = 3.0
    aorta_delay_s: float = 4.0
    mixer_s: float = 2.0
    """Time constant of each heart chamber that the bolus passes."""

    @cached_property
    def at_s(self) -> Curve:
        """Times of the fine curves."""
        return np.arange(0.0, LONGEST_S, STEP_S)

    @cached_property
    def artery(self) -> Curve:
        """Enhancement of the pulmonary trunk, HU."""
        first = self._gamma(self.arrival_s, self.rise_s)
        back = self._mixed(self._mixed(_later(first, RECIRCULATION_S), RECIRCULATION_WIDTH_S), 2.0)
        return self.peak_hu * (first + self.recirculation * back)

    @cached_property
    def cava(self) -> Curve:
        """Enhancement of the superior vena cava and right atrium, HU."""
        return self.cava_peak_hu * self._gamma(self.arrival_s - 2.0, 0.7 * self.rise_s)

    @cached_property
    def atrium(self) -> Curve:
        """Enhancement of the left atrium and the pulmonary veins, HU."""
        return self._mixed(_later(self.artery, self.atrium_delay_s), self.mixer_s)

    @cached_property
    def aorta(self) -> Curve:
        """Enhancement of the left ventricle and the aorta, HU."""
        once = self._mixed(_later(self.artery, self.aorta_delay_s), self.mixer_s)
        return self._mixed(once, self.mixer_s)

    def tissue(self, tissue: Tissue, residue: Residue = "sigmoid") -> tuple[Curve, Curve]:
        """Enhancement by the pulmonary and by the bronchial circulation, HU."""
        pulmonary = _convolved(self.artery, residue_curve(residue, tissue.transit_s, self.at_s))
        bronchial = _convolved(
            self.aorta, residue_curve("sigmoid", tissue.bronchial_transit_s, self.at_s)
        )
        return (
            tissue.pulmonary_flow / 6000 * _later(pulmonary, tissue.delay_s),
            tissue.bronchial_flow / 6000 * bronchial,
        )

    def sampled(self, curve: Curve, times_s: Curve) -> Curve:
        """Give a fine curve at any times."""
        return np.interp(times_s, self.at_s, curve)

    def _gamma(self, arrival_s: float, rise_s: float) -> Curve:
        """Gamma variate of height 1 (Thompson 1964, Circ Res 14:502) with exponent 3."""
        x = np.maximum(self.at_s - arrival_s, 0) / rise_s
        return np.asarray(x**3 * np.exp(3 * (1 - x)))

    def _mixed(self, curve: Curve, constant_s: float) -> Curve:
        kernel = np.exp(-self.at_s / constant_s)
        return _convolved(curve, kernel / (kernel.sum() * STEP_S))


def residue_curve(kind: Residue, mean_s: float, at_s: Curve) -> Curve:
    """Share of blood that is still in the tissue after each time; 1 at first, mean ``mean_s``."""
    if kind == "exponential":
        return np.asarray(np.exp(-at_s / mean_s))
    width = SIGMOID_WIDTH_SHARE * mean_s
    curve = 1 / (1 + np.exp((at_s - mean_s) / width))
    return np.asarray(curve / curve[0])


def _later(curve: Curve, delay_s: float) -> Curve:
    at = np.arange(curve.size) * STEP_S
    return np.asarray(np.interp(at - delay_s, at, curve, left=0.0))


def _convolved(curve: Curve, kernel: Curve) -> Curve:
    """Causal convolution by trapezia: the first value of the kernel counts half."""
    size = 2 * curve.size
    weights = kernel.copy()
    weights[0] /= 2
    product = np.fft.rfft(curve, size) * np.fft.rfft(weights, size)
    return np.asarray(np.fft.irfft(product, size)[: curve.size] * STEP_S)
