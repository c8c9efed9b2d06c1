"""What a xenon MRI measures in every region: weighted over its voxels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.terms import MEASURES, Region
from lungperfusion.terms.xenon import (
    MISMATCH_CLASSES,
    VENTILATION_DEFECT_SHARE,
    XENON_MEASURES,
    ReferenceSet,
)
from lungperfusion.volume import Geometry
from lungperfusion.xenon.classes import IMPAIRED, Expected
from lungperfusion.xenon.footprints import weighted_mean
from lungperfusion.xenon.images import XenonClasses
from lungperfusion.xenon.mismatch import Mismatch, Patterns
from lungperfusion.xenon.ratios import alveolar_volume_l, kco_estimate

FEW_VOXELS = 100.0
"""Fewer effective voxels make a mean of a region uncertain (docs/xenon.md)."""

Weights = NDArray[np.float32]
_MATCHED = {
    f"xe_{name.removeprefix('xe_')}_share": number
    for number, name in enumerate(MISMATCH_CLASSES, start=1)
}


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Evidence:
    """Everything that is measured from, by voxel of the MRI's mask."""

    found: XenonClasses
    reference: ReferenceSet
    expected: Expected
    mismatch: Mismatch | None = None
    patterns: Patterns | None = None

    @property
    def geometry(self) -> Geometry:
        """Grid of the MRI."""
        return self.found.maps.geometry

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Voxels of the mask with gas."""
        return np.asarray(self.found.measured[self.found.maps.mask])

    def of_mask(self, array: NDArray[Any] | None) -> NDArray[Any] | None:
        """Values of the mask's voxels in array order."""
        return None if array is None else array[self.found.maps.mask]


def measure_xenon(
    evidence: Evidence,
    weights: Mapping[Region, Weights],
    absent: Mapping[Region, str],
) -> tuple[Measurement, ...]:
    """Measure every region.

    Parameters
    ----------
    evidence
        Maps, their classes and what they are compared with.
    weights
        Share of each region in the voxels of the mask, shape (N,).
    absent
        Regions that cannot be measured, with the reason.

    """
    out: list[Measurement] = []
    for region, share in weights.items():
        out += _region(evidence, region, share)
    for region, reason in absent.items():
        out += [missing(region, m.id, reason) for m in XENON_MEASURES if _is_regional(m.id)]
    return (*out, *_estimates(evidence))


def _is_regional(measure: str) -> bool:
    return not measure.endswith("_estimate")


def _region(evidence: Evidence, region: Region, share: Weights) -> Iterable[Measurement]:
    voxels = float(share.sum(dtype=np.float64))
    regional = [m.id for m in XENON_MEASURES if _is_regional(m.id)]
    if voxels <= 0:
        return [missing(region, name, "no voxel of the xenon MRI lies in it") for name in regional]
    caution = ""
    if voxels < FEW_VOXELS:
        caution = f"{voxels:.0f} voxels of the xenon MRI only; {FEW_VOXELS:.0f} are wanted"
    values = {
        "xe_volume": voxels * evidence.geometry.voxel_volume_ml,
        "xe_effective_voxels": voxels,
        **_gas(evidence, share),
        **_ratios(evidence, share),
        **_classes(evidence, share),
        **_against_ct(evidence, share),
    }
    return [
        _entry(region, name, values.get(name, _NOT_GIVEN[_source(name)]), evidence, caution)
        for name in regional
    ]


_NOT_GIVEN = {
    "ventilation": "no ventilation map was given",
    "rbc": "no map of RBC:gas was given",
    "membrane": "no map of membrane:gas was given",
    "both": "it needs maps of RBC:gas and of membrane:gas",
    "ct": "it needs RBC:gas and a CT that could be joined",
    "perfusion": "no perfusion or iodine map was given",
}


def _source(measure: str) -> str:
    """Say which input a measure needs most."""
    if measure in ("xe_membrane_side_share", "xe_perfusion_side_share"):
        return "perfusion"
    if measure.startswith("xe_rbc_m"):
        return "both"
    if measure.startswith("xe_rbc"):
        return "rbc"
    if measure.startswith("xe_membrane"):
        return "membrane"
    if measure in _MATCHED or measure == "xe_ct_normal_share":
        return "ct"
    return "ventilation"


def _entry(
    region: Region, measure: str, value: float | str, evidence: Evidence, caution: str
) -> Measurement:
    if isinstance(value, str):
        return missing(region, measure, value)
    if not math.isfinite(value):
        return missing(region, measure, "no voxel with gas in the region")
    method = "weighted voxels of the MRI"
    if MEASURES[measure].unit == "%" and measure.endswith("_share"):
        method = f"{evidence.reference.name}; {method}"
    if measure == "xe_rbc_m_z":
        method = f"expected {evidence.expected.mean:.3f} ± {evidence.expected.sd:.2f}"
        method = f"{method}, {evidence.expected.words}"
    return measured(region, measure, value, method, caution=caution)


def _gas(evidence: Evidence, share: Weights) -> dict[str, float]:
    """Ventilation, and where there is no gas."""
    out = {"xe_no_gas_share": 100 * (1 - weighted_mean(evidence.measured, share))}
    signal = evidence.of_mask(evidence.found.ventilation)
    if signal is None:
        return out
    total = float(signal.sum(dtype=np.float64))
    out["xe_ventilation"] = weighted_mean(signal, share)
    out["xe_ventilation_share"] = 100 * float((signal * share).sum(dtype=np.float64)) / total
    out["xe_vdp"] = 100 * weighted_mean(signal < VENTILATION_DEFECT_SHARE, share)
    return out


def _ratios(evidence: Evidence, share: Weights) -> dict[str, float]:
    """Means of the ratios, and the ratio of their sums."""
    rbc, membrane = (
        evidence.of_mask(image) for image in (evidence.found.rbc_gas, evidence.found.membrane_gas)
    )
    inside = share * evidence.measured
    out: dict[str, float] = {}
    for name, image in (("xe_rbc_gas", rbc), ("xe_membrane_gas", membrane)):
        if image is not None:
            out[name] = 100 * weighted_mean(np.nan_to_num(image), inside)
    if rbc is None or membrane is None:
        return out
    r, m = np.nan_to_num(rbc), np.nan_to_num(membrane)
    mean = weighted_mean(m, inside)
    if not mean > 0:
        return {**out, "xe_rbc_m": math.nan, "xe_rbc_m_sd": math.nan, "xe_rbc_m_z": math.nan}
    ratio = weighted_mean(r, inside) / mean
    out["xe_rbc_m"] = ratio
    out["xe_rbc_m_sd"] = math.sqrt(weighted_mean((r - ratio * m) ** 2, inside)) / mean
    out["xe_rbc_m_z"] = evidence.expected.z(ratio)
    return out


def _classes(evidence: Evidence, share: Weights) -> dict[str, float]:
    found, out = evidence.found, {}
    with_gas = share * evidence.measured
    for name, image, high, inside in (
        ("ventilation", found.ventilation_class, 6, share),
        ("rbc", found.rbc_class, 6, with_gas),
        ("membrane", found.membrane_class, 6, with_gas),
    ):
        numbers = evidence.of_mask(image)
        if numbers is None:
            continue
        out[f"xe_{name}_defect_share"] = 100 * weighted_mean(numbers == 1, inside)
        out[f"xe_{name}_low_share"] = 100 * weighted_mean(numbers == IMPAIRED, inside)
        out[f"xe_{name}_high_share"] = 100 * weighted_mean(numbers >= high, inside)
        if name == "rbc":
            impaired = (numbers > 0) & (numbers <= IMPAIRED)
            out["xe_rbc_impaired_share"] = 100 * weighted_mean(impaired, inside)
    return out


def _against_ct(evidence: Evidence, share: Weights) -> dict[str, float]:
    out: dict[str, float] = {}
    if (mismatch := evidence.mismatch) is not None:
        inside = share * mismatch.judged
        out["xe_ct_normal_share"] = 100 * weighted_mean(mismatch.ct_normal, inside)
        for name, number in _MATCHED.items():
            out[name] = 100 * weighted_mean(mismatch.classes == number, inside)
    if (patterns := evidence.patterns) is not None:
        inside = share * patterns.judged
        out["xe_membrane_side_share"] = 100 * weighted_mean(patterns.membrane_side, inside)
        out["xe_perfusion_side_share"] = 100 * weighted_mean(patterns.perfusion_side, inside)
    return out


def _estimates(evidence: Evidence) -> tuple[Measurement, ...]:
    """KCO and DLCO estimated from the maps: never measured ones."""
    names = ("xe_kco_estimate", "xe_dlco_estimate")
    found = evidence.found
    if found.rbc_gas is None or found.membrane_gas is None:
        return tuple(missing(Region.LUNGS, name, _NOT_GIVEN["both"]) for name in names)
    if min(evidence.reference.healthy_means) <= 0:
        reason = f"the reference set {evidence.reference.name} gives no healthy means"
        return tuple(missing(Region.LUNGS, name, reason) for name in names)
    means = [float(image[found.measured].mean()) for image in (found.membrane_gas, found.rbc_gas)]
    kco = kco_estimate(means[0], means[1], evidence.reference.healthy_means)
    if not math.isfinite(kco):
        reason = "a mean ratio is not above 0"
        return tuple(missing(Region.LUNGS, name, reason) for name in names)
    method = f"estimate of the open pipeline, {evidence.reference.name}"
    out = [measured(Region.LUNGS, names[0], kco, method)]
    if found.ventilation_class is None:
        return (*out, missing(Region.LUNGS, names[1], _NOT_GIVEN["ventilation"]))
    mask = found.maps.mask
    volume_l = float(mask.sum()) * found.maps.geometry.voxel_volume_ml / 1000
    defect = float((found.ventilation_class[mask] == 1).mean())
    dlco = kco * alveolar_volume_l(volume_l, defect)
    return (*out, measured(Region.LUNGS, names[1], dlco, method))
