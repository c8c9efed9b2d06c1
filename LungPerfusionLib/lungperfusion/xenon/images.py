"""Maps of one xenon MRI on their grid, with what is known to be missing in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.terms.xenon import ReferenceSet
from lungperfusion.volume import Geometry, Mask, Volume
from lungperfusion.xenon.classes import Scale, classify, scaled_ventilation
from lungperfusion.xenon.ratios import NO_CORRECTION, Factors

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class XenonMaps:
    """Maps as they were given, all on one grid; None for one that was not given."""

    mask: Mask
    geometry: Geometry
    ventilation: Float | None = None
    """Signal of the gas, in any unit."""
    rbc_gas: Float | None = None
    """As a fraction; NaN or 0 where it was not computed."""
    membrane_gas: Float | None = None
    rbc_class: NDArray[np.uint8] | None = None
    """Classes read from a colour image, where there is no map of values; 0 unknown."""

    def __post_init__(self) -> None:
        """Refuse an empty mask, no map at all, and ratios that are not fractions."""
        if not self.mask.any():
            raise InputError("the mask of the xenon MRI is empty; give one of the lungs")
        given = (self.ventilation, self.rbc_gas, self.membrane_gas, self.rbc_class)
        if all(image is None for image in given):
            raise InputError("no map was given: expected ventilation, RBC:gas or membrane:gas")
        for words, image in (("RBC:gas", self.rbc_gas), ("membrane:gas", self.membrane_gas)):
            if image is not None:
                _require_fraction(words, image[self.mask])


def _require_fraction(words: str, values: NDArray[Any]) -> None:
    known = values[np.isfinite(values) & (values != 0)]
    if not known.size:
        raise InputError(f"the map of {words} has no value within the mask; check both belong")
    middle = float(np.median(known))
    if abs(middle) > 0.1:
        hint = "divide it by 100" if middle < 10 else "it looks like a signal, not a ratio"
        raise InputError(
            f"{words} is expected as a fraction (healthy lungs near 0.005 and 0.009), but the "
            f"median of the map is {middle:.3g}: {hint}"
        )


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class XenonClasses:
    """Maps with their classes, arrays of the grid; what was not given is None."""

    maps: XenonMaps
    measured: Mask
    """Voxels with gas, in which gas transfer could be measured."""
    ventilation: Float | None = None
    """Signal of the gas over its mean within the mask."""
    rbc_gas: Float | None = None
    membrane_gas: Float | None = None
    ventilation_class: NDArray[np.uint8] | None = None
    rbc_class: NDArray[np.uint8] | None = None
    membrane_class: NDArray[np.uint8] | None = None
    factors: Factors = NO_CORRECTION
    """Corrections made here."""
    zeros_ambiguous: bool = False
    """Whether a value of 0 may be either no gas or no transfer, which was taken as no gas."""

    @property
    def without_gas_share(self) -> float:
        """Share of the mask in which gas transfer could not be measured."""
        return 1.0 - float(self.measured.sum()) / float(self.maps.mask.sum())

    def volume(self, values: NDArray[Any], unit: str = "1") -> Volume:
        """Values of the lungs as an image; invalid where they were not measured."""
        known = np.isfinite(values) & self.maps.mask
        return Volume(
            np.where(known, values, 0).astype(np.float32), self.maps.geometry, unit, known
        )


def classify_maps(
    maps: XenonMaps,
    reference: ReferenceSet,
    *,
    factors: Factors = NO_CORRECTION,
    scale: Scale = "percentile",
    bias_corrected: bool = True,
) -> XenonClasses:
    """Find out where there is gas, correct the ratios and put every voxel into its classes.

    The open pipeline writes 0 both where there is no gas and where noise made a ratio negative; the
    ventilation map tells them apart: with gas, 0 is a defect of transfer.

    Parameters
    ----------
    maps
        As given.
    reference
        Limits of the classes.
    factors
        What the ratios are multiplied by.
    scale, bias_corrected
        How the ventilation map is scaled, and which limits hold for it.

    """
    mask = maps.mask
    ventilation = ventilation_class = None
    measured, ambiguous = mask.copy(), False
    if maps.ventilation is not None:
        scaled = scaled_ventilation(maps.ventilation, mask, scale)
        limits = reference.ventilation[scale, bias_corrected]
        ventilation_class = classify(scaled, mask, limits)
        ventilation = scaled_ventilation(maps.ventilation, mask, "mean")
        measured &= ventilation_class > 1
    ratios = [m for m in (maps.rbc_gas, maps.membrane_gas) if m is not None]
    for image in ratios:
        measured &= np.isfinite(image)
    if ratios and maps.ventilation is None:
        measured &= ~np.logical_and.reduce([image == 0 for image in ratios])
        ambiguous = len(ratios) == 1
    if maps.rbc_class is not None and maps.rbc_gas is None:
        measured &= maps.rbc_class > 0
    if not measured.any():
        raise InputError(
            "no voxel of the mask has both gas and a ratio; check that the maps belong together"
        )
    rbc = _corrected(maps.rbc_gas, measured, factors.rbc)
    membrane = _corrected(maps.membrane_gas, measured, factors.membrane)
    rbc_class = maps.rbc_class
    if rbc is not None:
        rbc_class = classify(np.nan_to_num(rbc), measured, reference.rbc_gas)
    membrane_class = None
    if membrane is not None:
        membrane_class = classify(np.nan_to_num(membrane), measured, reference.membrane_gas)
    return XenonClasses(
        maps=maps,
        measured=measured,
        ventilation=ventilation,
        rbc_gas=rbc,
        membrane_gas=membrane,
        ventilation_class=ventilation_class,
        rbc_class=rbc_class,
        membrane_class=membrane_class,
        factors=factors,
        zeros_ambiguous=ambiguous,
    )


def _corrected(image: Float | None, measured: Mask, factor: float) -> Float | None:
    if image is None:
        return None
    return np.where(measured, image * np.float32(factor), np.float32(np.nan))
