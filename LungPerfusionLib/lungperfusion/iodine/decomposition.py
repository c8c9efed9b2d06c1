"""From two spectra, or from a vendor's map, to iodine concentration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.iodine.calibration import SpectralPair
from lungperfusion.volume import Box, FloatArray, Mask, Volume

Model = Literal["three-material", "two-material"]

DEFAULT_MODEL: Model = "three-material"
"""Air, soft tissue and iodine: the lung's tissue share differs from voxel to voxel."""


@dataclass(frozen=True, eq=False, kw_only=True)
class IodineMap:
    """Iodine of every voxel.

    ``concentration`` is in mg/mL.  ``virtual_native`` is the image without iodine in HU, from air
    at -1000 to soft tissue at `REFERENCE_SOFT_TISSUE_HU`; None for a vendor map alone.
    """

    concentration: Volume
    hu_per_mg_ml: float
    """k_ref, which turns concentration into HU of enhancement."""
    method: str
    virtual_native: Volume | None = None
    concentration_doubt: str = ""
    """Why concentrations (not HU) may be off; empty when nothing speaks against them."""

    @property
    def enhancement(self) -> Volume:
        """Iodine as enhancement in HU at the reference energy."""
        return self.concentration.with_array(
            self.concentration.array * np.float32(self.hu_per_mg_ml), unit="HU"
        )

    def enhancement_at(self, mask: Mask) -> NDArray[np.float32]:
        """`enhancement` of the voxels inside a mask, 1-D in array order."""
        return np.asarray(self.concentration.array[mask] * np.float32(self.hu_per_mg_ml))

    def crop(self, box: Box) -> IodineMap:
        """Part of the map, at the same place in the patient."""
        native = self.virtual_native
        return replace(
            self,
            concentration=self.concentration.crop(box),
            virtual_native=None if native is None else native.crop(box),
        )


def decompose(
    low: Volume,
    high: Volume,
    pair: SpectralPair,
    *,
    model: Model = DEFAULT_MODEL,
    low_offset_hu: float = 0.0,
    high_offset_hu: float = 0.0,
) -> IodineMap:
    """Separate iodine from air and soft tissue in a dual-energy pair.

    Each voxel holds soft tissue (share ``f``), iodine (``c`` mg/mL) and air for the rest.  With
    ``a = 1000 + HU of soft tissue`` and ``k`` the sensitivity to iodine, per spectrum:

        HU_low + 1000 = a_low f + k_low c,    HU_high + 1000 = a_high f + k_high c

    The two-material model takes the soft tissue as equally bright in both images, which leaves
    ``c = (HU_low - HU_high) / (k_low - k_high)``: simple, but biased by the tissue itself.

    Parameters
    ----------
    low, high
        Images in HU on one grid, low and high tube voltage.
    pair
        Calibration of the two spectra.
    model
        ``"three-material"`` (default) or ``"two-material"``.
    low_offset_hu, high_offset_hu
        Error of each image's air value (measured minus -1000), subtracted first.

    Returns
    -------
    IodineMap
        Negative concentrations are kept: clipping noise at zero would raise every mean.

    Raises
    ------
    GeometryMismatchError, InputError
        If the images do not share a grid or are not in HU.

    """
    for image, what in ((low, "the low-voltage image"), (high, "the high-voltage image")):
        image.require_unit("HU", what)
    low.geometry.require_same(high.geometry, what="dual-energy pair")
    if model == "three-material" and pair.solvability <= 0:
        raise InputError(
            f"{pair.name}: iodine must stand out more at the low voltage than soft tissue does"
        )
    valid = _both_valid(low, high)
    separate = _two_materials if model == "two-material" else _three_materials
    concentration, native = (np.empty(low.geometry.shape, np.float32) for _ in range(2))
    for k, (low_plane, high_plane) in enumerate(zip(low.array, high.array, strict=True)):
        low_hu = _shifted(low_plane, -low_offset_hu)
        high_hu = _shifted(high_plane, -high_offset_hu)
        concentration[k], tissue = separate(low_hu, high_hu, pair)
        np.multiply(tissue, np.float32(1000 + REFERENCE_SOFT_TISSUE_HU), out=native[k])
        native[k] -= np.float32(1000)
    return IodineMap(
        concentration=Volume(concentration, low.geometry, "mg/mL", valid),
        hu_per_mg_ml=pair.reference_hu_per_mg_ml,
        method=f"{model} decomposition, {pair.method}",
        virtual_native=Volume(native, low.geometry, "HU", valid),
    )


REFERENCE_SOFT_TISSUE_HU = 50.5
"""Lung soft tissue at 120 kV (mean of blood 56 HU and lung tissue 45 HU, `BEAM_SOURCE`)."""


def in_whole_hu(made: IodineMap) -> IodineMap:
    """Store the virtual native image as a CT stores densities: in whole HU.

    Whole numbers are counted where others have to be sorted, and their rounding adds less than a
    thousandth to the noise.
    """
    native = made.virtual_native
    if native is None:
        return made
    limits = np.iinfo(np.int16)
    array = np.empty(native.geometry.shape, np.int16)
    for whole, plane in zip(array, native.array, strict=True):
        whole[:] = np.rint(np.clip(plane, limits.min, limits.max))
    return replace(made, virtual_native=native.with_array(array))


def iodine_from_vendor_map(
    image: Volume,
    *,
    unit: Literal["mg/mL", "HU"],
    hu_per_mg_ml: float,
) -> IodineMap:
    """Take a vendor's iodine map as it is, in a stated unit.

    Parameters
    ----------
    image
        Values of the map.
    unit
        Their unit; never guessed from the numbers.
    hu_per_mg_ml
        Sensitivity that links HU and mg/mL: of the map's voltage when it is in HU.

    """
    if not hu_per_mg_ml > 0:
        raise InputError(f"the iodine sensitivity must be above 0 HU per mg/mL, not {hu_per_mg_ml}")
    factor = 1.0 if unit == "mg/mL" else 1 / hu_per_mg_ml
    concentration = image.array * np.float32(factor)
    return IodineMap(
        concentration=Volume(concentration, image.geometry, "mg/mL", image.valid),
        hu_per_mg_ml=hu_per_mg_ml,
        method=f"vendor map in {unit}, k_ref {hu_per_mg_ml:.4g} HU per mg/mL",
    )


def _two_materials(
    low_hu: FloatArray, high_hu: FloatArray, pair: SpectralPair
) -> tuple[FloatArray, FloatArray]:
    """Concentration of iodine and share of soft tissue, which is equally bright in both images."""
    k_low, k_high = pair.low.iodine_hu_per_mg_ml, pair.high.iodine_hu_per_mg_ml
    a_high = 1000 + pair.high.soft_tissue_hu
    concentration = _combine(low_hu, high_hu, 1 / (k_low - k_high), -1 / (k_low - k_high))
    tissue = _combine(high_hu, concentration, 1 / a_high, -k_high / a_high)
    tissue += np.float32(1000 / a_high)
    return concentration, tissue


def _three_materials(
    low_hu: FloatArray, high_hu: FloatArray, pair: SpectralPair
) -> tuple[FloatArray, FloatArray]:
    """Concentration of iodine and share of soft tissue, the rest being air."""
    k_low, k_high = pair.low.iodine_hu_per_mg_ml, pair.high.iodine_hu_per_mg_ml
    a_low, a_high = 1000 + pair.low.soft_tissue_hu, 1000 + pair.high.soft_tissue_hu
    determinant = pair.solvability
    low_hu += np.float32(1000)
    high_hu += np.float32(1000)
    concentration = _combine(low_hu, high_hu, a_high / determinant, -a_low / determinant)
    tissue = _combine(low_hu, high_hu, -k_high / determinant, k_low / determinant)
    return concentration, tissue


def _shifted(plane: NDArray[Any], shift_hu: float) -> NDArray[np.float32]:
    array: NDArray[np.float32] = plane.astype(np.float32)
    array += np.float32(shift_hu)
    return array


def _combine(
    first: FloatArray, second: FloatArray, first_weight: float, second_weight: float
) -> FloatArray:
    out = first * np.float32(first_weight)
    out += second * np.float32(second_weight)
    return out


def _both_valid(low: Volume, high: Volume) -> NDArray[np.bool_] | None:
    if low.valid is None or high.valid is None:
        return low.valid if high.valid is None else high.valid
    return np.asarray(low.valid & high.valid)
