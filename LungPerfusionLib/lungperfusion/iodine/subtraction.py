"""Iodine as the difference of a contrast and a native CT, with the lung's mass kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.iodine.decomposition import IodineMap
from lungperfusion.iodine.exclusion import VESSEL_ABOVE_HU
from lungperfusion.iodine.smoothing import IODINE_SMOOTHING_MM, smooth_inside
from lungperfusion.morphology import dilated
from lungperfusion.terms import LUNGS
from lungperfusion.volume import FloatArray, Labelmap, Mask, Volume

MINIMAL_ALIGNMENT = 0.6
"""Correlation of both images inside the lungs below which a subtraction should not be used."""

GOOD_ALIGNMENT = 0.8

NEGATIVE_MG_ML = -0.4
"""Smoothed iodine below this cannot come from noise around an empty defect: it is some 2 standard
deviations of clinical noise below none."""

EDGE_REACH_MM = IODINE_SMOOTHING_MM
"""Around an edge that is out of place iodine is wrong as far as smoothing carries it, one sigma;
more would take away defects that lie beside a vessel."""

GOOD_NEGATIVE_SHARE = 0.002
MOST_NEGATIVE_SHARE = 0.05
"""Share of the lungs with less iodine than none, up to which a subtraction is good, and usable.

On a digital chest half a millimetre of misregistration, which correlation hardly shows, gives 0.3 %
and false defects of 5 %; 1 mm gives 2 % and 10 %.
"""


def subtract_native(
    contrast: Volume,
    native_hu: FloatArray,
    volume_ratio: FloatArray,
    *,
    hu_per_mg_ml: float,
    reference_hu_per_mg_ml: float,
    source: str = "subtraction",
) -> IodineMap:
    """Subtract a native CT, brought onto the contrast CT, after correcting its inflation.

    The tissue of a voxel is diluted when the lung holds more air, so the native density is first
    scaled to the inflation of the contrast scan (methods of subtraction CT, Grob 2019):

        HU_native' = (HU_native + 1000) J - 1000,    c = (HU_contrast - HU_native') / k

    Parameters
    ----------
    contrast
        CT with contrast, in HU.
    native_hu
        Native CT at the place of the same tissue, on the same grid; NaN where it is not known.
    volume_ratio
        J: volume in the native scan over that in the contrast scan, same grid; NaN where unknown.
    hu_per_mg_ml
        Sensitivity to iodine at the voltage of both scans.
    reference_hu_per_mg_ml
        k_ref of the resulting map.

    Returns
    -------
    IodineMap
        Invalid where the native image or the ratio is not known; ``virtual_native`` is
        HU_native'.

    """
    contrast.require_unit("HU", "the contrast CT")
    for name, array in (("native CT", native_hu), ("volume ratio", volume_ratio)):
        if array.shape != contrast.geometry.shape:
            raise InputError(
                f"the {name} has shape {array.shape}, the contrast CT {contrast.geometry.shape}"
            )
    for value in (hu_per_mg_ml, reference_hu_per_mg_ml):
        if not value > 0:
            raise InputError(f"the iodine sensitivity must be above 0 HU per mg/mL, not {value:g}")
    native: NDArray[np.float32] = np.asarray(
        (native_hu + np.float32(1000)) * volume_ratio, dtype=np.float32
    )
    native -= np.float32(1000)
    known = np.isfinite(native)
    native[~known] = -1000
    valid = known if contrast.valid is None else known & contrast.valid
    concentration = contrast.array.astype(np.float32)
    concentration -= native
    concentration *= np.float32(1 / hu_per_mg_ml)
    concentration[~valid] = 0
    return IodineMap(
        concentration=Volume(concentration, contrast.geometry, "mg/mL", valid),
        hu_per_mg_ml=reference_hu_per_mg_ml,
        method=(
            f"{source}, {hu_per_mg_ml:.4g} HU per mg/mL, lung mass kept, "
            f"k_ref {reference_hu_per_mg_ml:.4g} HU per mg/mL"
        ),
        virtual_native=Volume(native, contrast.geometry, "HU", valid),
    )


def negative_share(iodine: IodineMap, lungs: Labelmap) -> float:
    """Share of the valid lung, 0 to 1, whose smoothed iodine lies below `NEGATIVE_MG_ML`.

    What the native scan has and the contrast scan has not, such as the edge of a vessel that was
    brought to another place, is negative iodine; nothing else in a lung is, but streaks.  NaN
    without valid lung.
    """
    below = total = 0
    for inside, less in _less_than_none(iodine, lungs):
        below += int(np.count_nonzero(less))
        total += int(np.count_nonzero(inside))
    return below / total if total else float("nan")


def misregistered(iodine: IodineMap, contrast: Volume, lungs: Labelmap) -> Mask:
    """Lung beside edges that lie at different places in the two scans.

    Where the native scan has the wall of a bronchus or a vessel and the contrast scan has lung,
    there is less iodine than none; no lung without perfusion has that.  Around such places iodine
    is wrong as well, as far as smoothing reaches.  What is dense in the contrast scan is left out
    of the smoothing: one enhanced vessel would outweigh several displaced walls.

    Parameters
    ----------
    iodine
        Unsmoothed map.
    contrast
        Contrast CT in HU on the same grid.
    lungs
        Lungs on the same grid.

    """
    found = np.zeros(lungs.array.shape, np.bool_)
    for _, less in _less_than_none(iodine, lungs, contrast.array < VESSEL_ABOVE_HU):
        found |= less
    near = dilated(found, EDGE_REACH_MM, lungs.geometry.spacing_kji_mm)
    return np.asarray(near & lungs.mask(*LUNGS))


def _less_than_none(
    iodine: IodineMap, lungs: Labelmap, among: Mask | None = None
) -> Iterator[tuple[Mask, Mask]]:
    """Give the valid voxels of each lung, and those of them with less iodine than none."""
    image = iodine.concentration
    for lung in LUNGS:
        inside = lungs.mask(lung)
        for known in (image.valid, among):
            if known is not None:
                inside &= known
        smooth = smooth_inside(image.array, inside, image.geometry, sigma_mm=IODINE_SMOOTHING_MM)
        yield inside, inside & (smooth < NEGATIVE_MG_ML)


def alignment(contrast: Volume, native: Volume, inside: Mask) -> float:
    """Correlation of both images in the lungs, where both are known; NaN without overlap.

    Iodine changes the density of lung little against that of vessels and airways, so well aligned
    images are nearly proportional.
    """
    usable = inside if native.valid is None else inside & native.valid
    first = np.clip(contrast.array[usable], -1000, 100).astype(np.float64)
    second = np.clip(native.array[usable], -1000, 100).astype(np.float64)
    if first.size < 2 or first.std() == 0 or second.std() == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
