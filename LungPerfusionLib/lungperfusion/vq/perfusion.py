"""Perfusion surrogates from two non-contrast scans.

None of them measures flow.  Each is scaled to mean 1 over the lungs that it can speak of; the
tables call them "CT surrogate", and docs/ctvq.md lists how well published ones agree with
scintigraphy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from lungperfusion.errors import InputError
from lungperfusion.opacity import mark_vessels
from lungperfusion.terms import LUNGS
from lungperfusion.terms.density import EMPHYSEMA_BELOW_HU, GROUND_GLASS_FROM_HU
from lungperfusion.volume import Mask, Volume
from lungperfusion.vq.pair import BreathPair, Float
from lungperfusion.vq.ventilation import tissue_density

Surrogate = Literal["mass_change", "blood_density", "small_vessels"]

WEIGHTS: Mapping[Surrogate, float] = {
    "mass_change": 0.15,
    "blood_density": 0.75,
    "small_vessels": 0.10,
}
"""Exponents of the combined surrogate; refit them where SPECT or DECT exists.

From breathing phantoms of two builds, not from patients (docs/ctvq.md has the figures).
"""

SMOOTHING_MM = 6.0
"""Standard deviation of the Gaussian over density before it is read as blood."""

MASS_SMOOTHING_MM = 10.0
"""Of the mass change: below 10 mm the error of the Jacobian dominates (methods C.3)."""

VESSEL_SMOOTHING_MM = 15.0
"""Of the vessel density (methods C.3: 15 to 20 mm): wide enough to even out the branching."""

TISSUE_SHARE = 0.5
"""Share of a lung's mean expiratory density that is taken for dry tissue, the same everywhere.

Blood makes about half of lung weight; without this offset a territory without blood would still
show half of the normal signal.
"""

DENSE_SHARE = 0.4
"""Share of opacity around a voxel from which density says nothing about its blood.

Of a Gaussian of `DENSE_MM`: half at the edge of an opacity, this much 1 mm beside it.
"""

DENSE_MM = 4.0

LEAST_MASS_CHANGE = 0.03
"""Mean mass change of the lungs below which it cannot stand alone: 3 % of the expiratory mass.

Errors of segmentation and Jacobian add up to about that.
"""

_VESSEL_CONTRAST = 0.08  # g/mL above the surrounding parenchyma
_LARGEST_VESSEL_MM = 5.0
_EMPHYSEMA_SMOOTHING_MM = 2.0  # noise of 40 HU falls to about 10: inflated lung is no emphysema
_FLOOR = 0.05


@dataclass(frozen=True, eq=False, kw_only=True)
class Perfusion:
    """Perfusion surrogates on the expiratory grid, mean 1, NaN outside the lungs and where dense.

    Ground glass and consolidation are denser by fluid and cells, which density cannot tell from
    blood: there is no value there rather than a high one.
    """

    combined: Float
    weights: Mapping[Surrogate, float]
    """Exponents used, summing to 1."""
    reliability: Mapping[Surrogate, float] = field(default_factory=dict)
    """Share of its own contrast, 0 to 1, that a surrogate besides ``blood_density`` keeps."""

    @property
    def known(self) -> Mask:
        """Voxels with a value."""
        return np.isfinite(self.combined)


def map_perfusion(
    pair: BreathPair,
    *,
    weights: Mapping[Surrogate, float] = WEIGHTS,
    smoothing_mm: float = SMOOTHING_MM,
) -> Perfusion:
    """Estimate regional perfusion from densities, mass change and small vessels.

    Each surrogate Q_k is shrunk towards ``blood_density`` Q_0 by what can be distinguished from
    error, ``Q_0 + r (Q_k - Q_0)`` with ``r = S / (S + N)``: S is the variance of Q_0, N that of the
    difference, all of which counts as error.  A mass change near 0, which divided by itself is
    nothing but error, thereby fades out instead of being switched off.

    Parameters
    ----------
    pair
        Both states at the expiratory voxels.
    weights
        Exponents of ``Q = exp(sum beta_k log Q_k)``; a surrogate without weight is not computed.
        ``{"blood_density": 1}`` selects a single one, which nothing shrinks.
    smoothing_mm
        Gaussian over densities.

    Raises
    ------
    InputError
        If no lung is left beside ground glass and consolidation, or the mass change is asked for
        alone and is too small.

    """
    dense = dense_lung(pair)
    known = pair.mask & ~dense
    tissue = pair.parenchyma & known
    if not tissue.any():
        raise InputError(
            "no aerated lung is left to map perfusion in: all of it is ground glass, consolidation "
            "or vessel; check the lung masks and that both scans are in HU"
        )
    made: dict[Surrogate, Float] = {}
    if weights.get("blood_density", 0) > 0:
        made["blood_density"] = blood_density(pair, tissue, smoothing_mm)
    if weights.get("mass_change", 0) > 0:
        made["mass_change"] = mass_change(pair, tissue)
    if weights.get("small_vessels", 0) > 0:
        made["small_vessels"] = small_vessels(pair, tissue)
    if set(made) == {"mass_change"} and abs(change := mean_mass_change(pair)) < LEAST_MASS_CHANGE:
        raise InputError(
            f"the mass of the lungs changes by {100 * change:.1f} % between the "
            f"scans, less than the {100 * LEAST_MASS_CHANGE:g} % that can be distinguished from "
            "error, so that it cannot stand for perfusion alone; take the combined surrogate"
        )
    total = sum(weights[name] for name in made)
    if total <= 0:
        raise ValueError("at least one perfusion surrogate needs a weight above 0")
    reliability: dict[Surrogate, float] = {}
    base = made.get("blood_density")
    if base is not None:
        for name in made:
            if name != "blood_density":
                reliability[name] = share = _reliability(made[name], base, tissue)
                made[name] = base + np.float32(share) * (made[name] - base)
    used = {name: weights[name] / total for name in made}
    log_sum = sum(used[name] * np.log(np.maximum(values, _FLOOR)) for name, values in made.items())
    combined = np.exp(np.asarray(log_sum, np.float32))
    return Perfusion(
        combined=_only(known, _to_mean_one(combined, known)),
        weights=used,
        reliability=reliability,
    )


def _reliability(values: Float, base: Float, tissue: Mask) -> float:
    """``S / (S + N)`` with spreads by quartiles, which a few wild voxels do not widen."""
    signal, error = (
        float(np.subtract(*np.quantile(x[tissue], [0.75, 0.25]))) ** 2
        for x in (base, values - base)
    )
    return signal / (signal + error) if signal + error > 0 else 0.0


def dense_lung(pair: BreathPair) -> Mask:
    """Ground glass and consolidation at inspiration with their edge, as the lung scores find them.

    Density above -700 HU that fills its neighbourhood, which vessels do not
    (`lungperfusion.opacity`).
    """
    hu = np.where(pair.mask, pair.inspiration_hu, -1000).astype(np.float32)
    opaque = pair.open_lung & (hu >= GROUND_GLASS_FROM_HU)
    opaque &= ~mark_vessels(Volume(hu, pair.geometry, "HU"), pair.open_lung)
    if not opaque.any():
        return opaque
    share = pair.smooth(opaque.astype(np.float32), pair.open_lung, DENSE_MM)
    return np.asarray(pair.mask & (share > DENSE_SHARE))


def blood_density(
    pair: BreathPair, tissue: Mask | None = None, smoothing_mm: float = SMOOTHING_MM
) -> Float:
    """Expiratory density beyond that of dry tissue; none in emphysema.

    Dry tissue is a share of the denser lung's mean, so that a lung without blood does not pull it
    down.

    Parameters
    ----------
    pair
        Both states.
    tissue
        Voxels that densities are taken from; the parenchyma by default.
    smoothing_mm
        Gaussian over densities.

    """
    here = pair.parenchyma if tissue is None else tissue
    inflated = pair.smooth(pair.inspiration_hu, here, _EMPHYSEMA_SMOOTHING_MM)
    alive = here & (inflated >= EMPHYSEMA_BELOW_HU)
    density = np.where(alive, tissue_density(pair.expiration.array), 0)
    smooth = pair.smooth(density, here, smoothing_mm)
    means = [
        float(np.mean(smooth[side], dtype=np.float64))
        for side in (here & pair.lungs.mask(lung) for lung in LUNGS)
        if side.any()
    ]
    dry = TISSUE_SHARE * max(means)
    return _to_mean_one(np.maximum(smooth - np.float32(dry), 0), here)


def mass_change(
    pair: BreathPair, tissue: Mask | None = None, smoothing_mm: float = MASS_SMOOTHING_MM
) -> Float:
    """Mass change from expiration to inspiration over that of both lungs (Castillo-type).

    Where it goes against that of the lungs it is negative.
    """
    here = pair.parenchyma if tissue is None else tissue
    before, after = masses(pair)
    change = pair.smooth(np.where(here, after - before, 0), here, smoothing_mm)
    mean = float(np.mean(change[here], dtype=np.float64))
    return np.asarray(change / np.float32(mean or 1), np.float32)


def masses(pair: BreathPair) -> tuple[Float, Float]:
    """Mass of every expiratory voxel in both states, g per mL of expiratory lung."""
    after = pair.jacobian * tissue_density(pair.calibrated_hu)
    return tissue_density(pair.expiration.array), after


def small_vessels(pair: BreathPair, tissue: Mask | None = None) -> Float:
    """Blood in vessels up to 5 mm wide per lung volume, smoothed."""
    here = pair.parenchyma if tissue is None else tissue
    density = tissue_density(pair.expiration.array)
    ground = pair.smooth(density, here, 4.0)
    excess = np.where(pair.mask, density - ground, 0)
    size: Any = [
        max(1, 2 * round(_LARGEST_VESSEL_MM / s / 2) + 1) for s in pair.geometry.spacing_kji_mm
    ]
    wide = (
        ndimage.grey_opening(np.where(excess > _VESSEL_CONTRAST, 1, 0).astype(np.uint8), size) > 0
    )
    blood = np.where((excess > _VESSEL_CONTRAST) & ~wide, np.clip(excess, 0, 1), 0)
    return _to_mean_one(pair.smooth(blood, pair.mask & ~wide, VESSEL_SMOOTHING_MM), here)


def _to_mean_one(values: Float, where: Mask) -> Float:
    """Scale to mean 1 over some voxels; level where their mean is not above 0."""
    mean = float(np.mean(values[where], dtype=np.float64))
    return np.asarray(values / np.float32(mean) if mean > 0 else values * 0 + 1, np.float32)


def mean_mass_change(pair: BreathPair) -> float:
    """Mass that enters the parenchyma on inspiration, as a share of the expiratory mass."""
    before, after = (float(np.sum(m[pair.parenchyma], dtype=np.float64)) for m in masses(pair))
    return after / before - 1


def _only(known: Mask, values: Float) -> Float:
    return np.asarray(np.where(known, values, np.nan), np.float32)
