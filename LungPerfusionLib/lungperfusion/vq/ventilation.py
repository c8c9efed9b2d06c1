"""Ventilation from two states of breathing: how much air each part of the lung takes in.

With tissue conserved, volume change is air change, and it shows twice: in the geometry (Jacobian)
and in the density (thinner on inspiration).  Symbols: J volume ratio, HU_e and HU_i densities of
the same tissue, V per expiratory volume in mL/mL.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lungperfusion.terms import LUNGS
from lungperfusion.vq.pair import BreathPair, Float

VentilationMethod = Literal["jacobian", "density", "hybrid"]

DEFAULT_METHOD: VentilationMethod = "jacobian"
"""Geometry: best agreement with xenon CT and SPECT (Ding 2012; Castillo 2020, IJF), and what is
left of the density stays free to tell about blood."""

SMOOTHING_MM = 3.0
"""Standard deviation of the Gaussian over ventilation maps; the Jacobian is smooth by itself."""

DENSITY_SMOOTHING_MM = 6.0
"""Of densities before their ratio is taken: noise of 25 HU falls well below 1 %."""

GEOMETRY_WEIGHT = 0.5
"""Share of the geometry in the hybrid's logarithmic mean of both volume ratios."""

_LEAST_DENSITY = 0.02  # g/mL, of a bulla
_LEAST_AIR_HU = -50.0  # denser voxels hold no air to relate ventilation to


def tissue_density(hu: NDArray[np.floating]) -> Float:
    """Density in g/mL, ``max(1 + HU / 1000, 0)``."""
    return np.asarray(np.maximum(1 + np.asarray(hu, np.float32) / 1000, 0), np.float32)


def air_fraction(hu: NDArray[np.floating]) -> Float:
    """Air per volume, ``clip(-HU / 1000, 0, 1)``."""
    return np.clip(-np.asarray(hu, np.float32) / 1000, 0, 1)


def sacj(hu_e: NDArray[Any], hu_i: NDArray[Any], jacobian: NDArray[Any]) -> NDArray[Any]:
    """Corrected-Jacobian specific air volume change (Ding 2012), mL/mL; needs no conserved mass."""
    return np.asarray(jacobian * hu_i / hu_e - 1)


def volume_ratio_from_density(pair: BreathPair, sigma_mm: float = DENSITY_SMOOTHING_MM) -> Float:
    """Volume ratio that conserves mass: expiratory over inspiratory density, smoothed first."""
    before = pair.smooth(tissue_density(pair.expiration.array), pair.parenchyma, sigma_mm)
    after = pair.smooth(tissue_density(pair.calibrated_hu), pair.parenchyma, sigma_mm)
    return np.clip(before / np.maximum(after, _LEAST_DENSITY), 0.2, 8)


def map_ventilation(
    pair: BreathPair,
    *,
    method: VentilationMethod = DEFAULT_METHOD,
    smoothing_mm: float = SMOOTHING_MM,
    geometry_weight: float = GEOMETRY_WEIGHT,
) -> Float:
    """Volume of air that enters per expiratory volume, mL/mL; NaN outside the lungs.

    Parameters
    ----------
    pair
        Both states at the expiratory voxels.
    method
        ``"jacobian"``: J - 1.  ``"density"``: rho_e / rho_i - 1, with mass conserved.
        ``"hybrid"``: weighted logarithmic mean of both volume ratios.  The last two are corrected
        for mass: what enters or leaves a lung is spread evenly over it, so that its volume change
        stays the geometric one.
    smoothing_mm
        Gaussian over the result, each lung for itself.
    geometry_weight
        Of the hybrid, 0 to 1.

    """
    if method == "jacobian":
        ratio = pair.jacobian
    else:
        ratio = volume_ratio_from_density(pair)
        if method == "hybrid":
            geometric, by_density = np.log(pair.jacobian), np.log(ratio)
            ratio = np.exp(geometry_weight * geometric + (1 - geometry_weight) * by_density)
        ratio = _corrected_for_mass(ratio, pair)
    change = np.where(pair.mask, ratio - 1, 0)
    return pair.smooth(change, pair.mask, smoothing_mm)


def map_specific_ventilation(pair: BreathPair, sigma_mm: float = DENSITY_SMOOTHING_MM) -> Float:
    """Air that enters per air that was there, mL/mL (SACJ); NaN outside the lungs.

    Of the three forms the one that agreed best with xenon CT (Ding 2012).
    """
    before = pair.smooth(pair.expiration.array, pair.parenchyma, sigma_mm)
    after = pair.smooth(pair.calibrated_hu, pair.parenchyma, sigma_mm)
    return np.asarray(sacj(np.minimum(before, _LEAST_AIR_HU), after, pair.jacobian), np.float32)


def _corrected_for_mass(ratio: Float, pair: BreathPair) -> Float:
    """Scale the volume ratio of each lung to its geometric volume change."""
    corrected = ratio.copy()
    for lung in LUNGS:
        inside = pair.lungs.mask(lung) & pair.mask
        if inside.any():
            wanted = float(pair.jacobian[inside].sum(dtype=np.float64))
            corrected[inside] *= np.float32(wanted / float(ratio[inside].sum(dtype=np.float64)))
    return corrected
