"""Agreement of CT maps with SPECT, dual-energy CT or xenon, per region and against the null.

Relative lobar shares correlate by lobe size alone: a right lower lobe is large in every patient.
Every correlation here comes with the one that volume alone would give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import stats

from lungperfusion.errors import InputError
from lungperfusion.regions import RegionSet
from lungperfusion.resampling import resample_array, set_sitk_geometry, to_sitk
from lungperfusion.terms import LOBES, LUNGS, ZONES
from lungperfusion.volume import Mask, Volume
from lungperfusion.vq.pair import Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How two sets of regional shares agree, in percentage points."""

    count: int
    pearson: float
    spearman: float
    null_pearson: float
    """Correlation of the reference with the volume shares alone: what size explains."""
    adjusted_pearson: float
    """Correlation after both were divided by the volume share."""
    partial_pearson: float
    """Correlation with the volume share held constant."""
    bias: float
    """Mean of CT minus reference; NaN where shares of whole lungs make it 0 by construction."""
    limits: tuple[float, float]
    """Bland-Altman limits of agreement, bias +/- 1.96 SD."""
    mean_absolute: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionComparison:
    """One region of one patient."""

    region: str
    ct_percent: float
    reference_percent: float
    volume_percent: float
    voxel_pearson: float
    voxel_spearman: float


def agree(ct: Sequence[float], reference: Sequence[float], volume: Sequence[float]) -> Agreement:
    """Compare regional shares in %, pooled over regions and patients.

    Raises
    ------
    InputError
        If fewer than three regions are given or lengths differ.

    """
    a, b, v = (np.asarray(values, dtype=np.float64) for values in (ct, reference, volume))
    if not a.shape == b.shape == v.shape or a.size < 3:
        raise InputError(
            f"agreement needs at least three regions with all three shares, not {a.size}, {b.size} "
            f"and {v.size}"
        )
    difference = a - b
    spread = float(difference.std(ddof=1))
    mean = float(difference.mean())
    whole = abs(mean) <= 1e-6 * max(1.0, float(np.abs(difference).max()))
    bias = math.nan if whole else mean
    rank = stats.rankdata
    ab, av, bv = _pearson(a, b), _pearson(a, v), _pearson(b, v)
    rest = (1 - av**2) * (1 - bv**2)
    return Agreement(
        count=int(a.size),
        pearson=ab,
        spearman=_pearson(rank(a), rank(b)),
        null_pearson=bv,
        adjusted_pearson=_pearson(a / v, b / v),
        partial_pearson=(ab - av * bv) / math.sqrt(rest) if rest > 1e-12 else math.nan,
        bias=bias,
        limits=(mean - 1.96 * spread, mean + 1.96 * spread),
        mean_absolute=float(np.abs(difference).mean()),
    )


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if a.std() < 1e-12 or b.std() < 1e-12:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def compare_with_reference(
    ct_map: Float, reference: Volume, regions: RegionSet, inside: Mask
) -> tuple[RegionComparison, ...]:
    """Shares and voxelwise correlation of a CT map and a reference on the CT's grid.

    Parameters
    ----------
    ct_map
        On the grid of ``regions``.
    reference
        Counts, iodine or gas signal; resampled here, so bring it into the patient space of the CT
        first (`align_reference`).
    regions
        Lungs, lobes and zones.
    inside
        Voxels with a CT value.

    """
    other = resample_array(
        np.asarray(reference.array, np.float32),
        reference.geometry,
        regions.geometry,
        interpolation="linear",
        fill=float("nan"),
    )
    usable = inside & np.isfinite(other) & np.isfinite(ct_map)
    if not usable.any():
        raise InputError(
            "the reference image does not overlap the lungs; check that it is in the same patient "
            "space, or let it be aligned"
        )
    a, b = np.where(usable, ct_map, 0), np.where(usable, other, 0)
    totals = [float(values.sum(dtype=np.float64)) for values in (a, b)]
    if totals[1] <= 0:
        raise InputError("the reference image has no signal inside the lungs")
    rows = []
    for region in regions.names:
        mask = regions.mask(region) & usable
        count = int(np.count_nonzero(mask))
        if count < 3:
            continue
        x, y = ct_map[mask].astype(np.float64), other[mask].astype(np.float64)
        rows.append(
            RegionComparison(
                region=region.value,
                ct_percent=100 * float(x.sum()) / totals[0],
                reference_percent=100 * float(y.sum()) / totals[1],
                volume_percent=100 * count / int(np.count_nonzero(usable)),
                voxel_pearson=_pearson(x, y),
                voxel_spearman=_pearson(stats.rankdata(x), stats.rankdata(y)),
            )
        )
    return tuple(rows)


def agree_by_partition(rows: Sequence[RegionComparison]) -> dict[str, Agreement]:
    """Agreement over the lobes and over the zones of one patient, where all of them are known."""
    table = {row.region: row for row in rows}
    out = {}
    for name, members in (("lobes", LOBES), ("zones", ZONES)):
        if all(member.value in table for member in members):
            chosen = [table[member.value] for member in members]
            out[name] = agree(
                [row.ct_percent for row in chosen],
                [row.reference_percent for row in chosen],
                [row.volume_percent for row in chosen],
            )
    return out


def partition_of(rows: Sequence[RegionComparison]) -> tuple[str, tuple[RegionComparison, ...]]:
    """Finest partition that the rows cover, for pooled agreement: lobes, else zones, else lungs."""
    table = {row.region: row for row in rows}
    for name, members in (("lobes", LOBES), ("zones", ZONES), ("lungs", LUNGS)):
        if all(member.value in table for member in members):
            return name, tuple(table[member.value] for member in members)
    return "regions", tuple(rows)


def align_reference(reference_ct: Volume, ct: Volume, *, affine: bool = False) -> sitk.Transform:
    """Rigid or affine transform from the CT's space to the CT of the reference examination.

    Mutual information over three resolutions, started from the centres of both images.
    Deterministic: every voxel of the coarse levels is used.
    """
    fixed = sitk.Cast(to_sitk(np.asarray(ct.array), ct.geometry), sitk.sitkFloat32)
    moving = sitk.Cast(
        to_sitk(np.asarray(reference_ct.array), reference_ct.geometry), sitk.sitkFloat32
    )
    fixed, moving = _shrunk(fixed), _shrunk(moving)
    kind = sitk.AffineTransform(3) if affine else sitk.Euler3DTransform()
    start = sitk.CenteredTransformInitializer(
        fixed, moving, kind, sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 1e-3, 100)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([8, 4, 2])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=False)
    method.SetNumberOfThreads(1)
    return method.Execute(fixed, moving)


def _shrunk(image: sitk.Image, spacing_mm: float = 4.0) -> sitk.Image:
    factors = [max(1, round(spacing_mm / s)) for s in image.GetSpacing()]
    return sitk.BinShrink(sitk.Clamp(image, sitk.sitkFloat32, -1024, 1000), factors)


def bring_to_ct(reference: Volume, transform: sitk.Transform, ct: Volume) -> Volume:
    """Resample a reference image onto the CT with the transform of `align_reference`."""
    target = set_sitk_geometry(
        sitk.Image(list(ct.geometry.shape[::-1]), sitk.sitkUInt8), ct.geometry
    )
    image = sitk.Cast(to_sitk(np.asarray(reference.array), reference.geometry), sitk.sitkFloat32)
    resampled = sitk.Resample(image, target, transform, sitk.sitkLinear, 0.0)
    return Volume(sitk.GetArrayFromImage(resampled), ct.geometry, reference.unit)
