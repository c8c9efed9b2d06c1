"""Perfusion surrogates from two non-contrast scans.

None of them measures flow.  Each is scaled to mean 1 over both lungs; the tables call them
"CT surrogate", and docs/ctvq.md lists how well published ones agree with scintigraphy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from lungperfusion.vq.pair import BreathPair, Float
from lungperfusion.vq.ventilation import tissue_density

Surrogate = Literal["mass_change", "blood_density", "small_vessels"]

WEIGHTS: Mapping[Surrogate, float] = {
    "mass_change": 0.15,
    "blood_density": 0.75,
    "small_vessels": 0.10,
}
"""Exponents of the combined surrogate; refit them where SPECT or DECT exists.

From the breathing phantom, not from patients: 0.25, 0.5, 0.25 gave less agreement there
(docs/ctvq.md has the figures).
"""

SMOOTHING_MM = 6.0
"""Standard deviation of the Gaussian over density before it is read as blood."""

MASS_SMOOTHING_MM = 10.0
"""Of the mass change: below 10 mm the error of the Jacobian dominates (methods C.3)."""

VESSEL_SMOOTHING_MM = 15.0
"""Of the vessel density (methods C.3: 15 to 20 mm): wide enough to even out the branching."""

TISSUE_SHARE = 0.5
"""Share of the lungs' mean expiratory density that is taken for dry tissue, the same everywhere.

Blood makes about half of lung weight; without this offset a territory without blood would still
show half of the normal signal.
"""

LEAST_MASS_CHANGE = 0.03
"""Mean mass change of the lungs below which it says nothing: 3 % of the expiratory mass.

Errors of segmentation, HU calibration and Jacobian add up to about that.
"""

_VESSEL_CONTRAST = 0.08  # g/mL above the surrounding parenchyma
_LARGEST_VESSEL_MM = 5.0
_EMPHYSEMA_HU = -950.0
_EMPHYSEMA_SMOOTHING_MM = 2.0  # noise of 40 HU falls to about 10: inflated lung is no emphysema
_FLOOR = 0.05


@dataclass(frozen=True, eq=False, kw_only=True)
class Perfusion:
    """Perfusion surrogates on the expiratory grid, mean 1 over the lungs, NaN outside."""

    combined: Float
    parts: Mapping[Surrogate, Float]
    weights: Mapping[Surrogate, float]
    """Exponents used, summing to 1."""
    left_out: Mapping[Surrogate, str] = field(default_factory=dict)
    """Surrogates that had nothing to say, with the reason."""


def map_perfusion(
    pair: BreathPair,
    *,
    weights: Mapping[Surrogate, float] = WEIGHTS,
    smoothing_mm: float = SMOOTHING_MM,
) -> Perfusion:
    """Estimate regional perfusion from densities, mass change and small vessels.

    Parameters
    ----------
    pair
        Both states at the expiratory voxels.
    weights
        Exponents of ``Q = exp(sum beta_k log Q_k)``; a surrogate without weight is not computed.
        ``{"blood_density": 1}`` selects a single one.
    smoothing_mm
        Gaussian over densities.

    """
    parts: dict[Surrogate, Float] = {}
    left_out: dict[Surrogate, str] = {}
    if weights.get("blood_density", 0) > 0:
        parts["blood_density"] = blood_density(pair, smoothing_mm)
    if weights.get("mass_change", 0) > 0:
        change, mean_change = mass_change(pair)
        if abs(mean_change) < LEAST_MASS_CHANGE:
            left_out["mass_change"] = (
                f"the mass of the lungs changes by {100 * mean_change:.1f} % between the scans, "
                f"less than the {100 * LEAST_MASS_CHANGE:g} % that can be told from error"
            )
        else:
            parts["mass_change"] = change
    if weights.get("small_vessels", 0) > 0:
        parts["small_vessels"] = small_vessels(pair)
    total = sum(weights[name] for name in parts)
    if total <= 0:
        raise ValueError("at least one perfusion surrogate with a weight above 0 must be usable")
    used = {name: weights[name] / total for name in parts}
    log_sum = sum(used[name] * np.log(np.maximum(values, _FLOOR)) for name, values in parts.items())
    combined = np.exp(np.asarray(log_sum, np.float32))
    return Perfusion(
        combined=_to_mean_one(combined, pair),
        parts=parts,
        weights=used,
        left_out=left_out,
    )


def blood_density(pair: BreathPair, smoothing_mm: float = SMOOTHING_MM) -> Float:
    """Expiratory density beyond that of dry tissue; none in emphysema."""
    inflated = pair.smooth(pair.inspiration_hu, pair.parenchyma, _EMPHYSEMA_SMOOTHING_MM)
    alive = pair.parenchyma & (inflated >= _EMPHYSEMA_HU)
    density = np.where(alive, tissue_density(pair.expiration.array), 0)
    smooth = pair.smooth(density, pair.parenchyma, smoothing_mm)
    dry = TISSUE_SHARE * float(np.mean(smooth[pair.parenchyma], dtype=np.float64))
    return _to_mean_one(np.maximum(smooth - np.float32(dry), 0), pair)


def mass_change(pair: BreathPair, smoothing_mm: float = MASS_SMOOTHING_MM) -> tuple[Float, float]:
    """Size of the mass change from expiration to inspiration (Castillo-type).

    Returns
    -------
    surrogate : ndarray
        Mass change in the direction of the whole lungs, at least 0, mean 1; blood that moves
        against it is noise here.
    mean_change : float
        Mass change of both lungs over their expiratory mass; positive if mass enters.

    """
    before = tissue_density(pair.expiration.array)
    after = pair.jacobian * tissue_density(pair.inspiration_hu)
    here = pair.parenchyma
    mean_change = float(
        np.sum(after[here] - before[here], dtype=np.float64)
        / np.sum(before[here], dtype=np.float64)
    )
    change = pair.smooth(np.where(here, after - before, 0), here, smoothing_mm)
    directed = np.maximum(change * np.float32(np.sign(mean_change) or 1), 0)
    return _to_mean_one(directed, pair), mean_change


def small_vessels(pair: BreathPair) -> Float:
    """Blood in vessels up to 5 mm wide per lung volume, smoothed."""
    density = tissue_density(pair.expiration.array)
    ground = pair.smooth(density, pair.parenchyma, 4.0)
    excess = np.where(pair.mask, density - ground, 0)
    size: Any = [
        max(1, 2 * round(_LARGEST_VESSEL_MM / s / 2) + 1) for s in pair.geometry.spacing_kji_mm
    ]
    wide = (
        ndimage.grey_opening(np.where(excess > _VESSEL_CONTRAST, 1, 0).astype(np.uint8), size) > 0
    )
    blood = np.where((excess > _VESSEL_CONTRAST) & ~wide, np.clip(excess, 0, 1), 0)
    return _to_mean_one(pair.smooth(blood, pair.mask & ~wide, VESSEL_SMOOTHING_MM), pair)


def _to_mean_one(values: Float, pair: BreathPair) -> Float:
    mean = float(np.mean(values[pair.mask], dtype=np.float64))
    return np.asarray(values / np.float32(mean) if mean > 0 else values * 0 + 1, np.float32)
