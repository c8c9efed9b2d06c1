"""Lung volume and density: from one exact histogram per region.

A histogram of integer HU loses nothing, so every measure, moments and percentiles included, comes
from the same few thousand counts; values with fractions are counted one by one instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.noise import LOUD_HU, Noise, share_below
from lungperfusion.progress import Progress, ignore
from lungperfusion.regions import RegionSet
from lungperfusion.terms import LUNGS, Region
from lungperfusion.terms.density import (
    AERATED_BELOW_HU,
    AIR_TRAPPING_BELOW_HU,
    DENSITY_MEASURES,
    EMPHYSEMA_BELOW_HU,
    GROUND_GLASS_FROM_HU,
    HIGH_ATTENUATION_HU,
    LOW_DENSITY_BELOW_HU,
    REFERENCE_VOLUME_L,
)
from lungperfusion.volume import Labelmap, Mask, Volume

LOW_ATTENUATION_HU = {
    "laa_950": EMPHYSEMA_BELOW_HU,
    "laa_910": LOW_DENSITY_BELOW_HU,
    "laa_856": AIR_TRAPPING_BELOW_HU,
}
"""Low attenuation lies strictly below."""

Denominator = Literal["aerated", "lung"]

_VESSELS_COUNTED = "vessels were not taken out, so they count as opacity"
_CHUNK_VOXELS = 2_000_000
_MOST_BINS = 1 << 17


@dataclass(frozen=True, eq=False)
class Distribution:
    """How often each density occurs in a region.

    Parameters
    ----------
    values_hu
        Densities that occur, ascending, float64.
    counts
        Voxels of each density.
    vessel_counts
        Of these, voxels of vessels.

    """

    values_hu: NDArray[np.float64]
    counts: NDArray[np.int64]
    vessel_counts: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Number of voxels."""
        return int(self.counts.sum())

    def merged(self, other: Distribution) -> Distribution:
        """Distribution over two disjoint regions together."""
        values, position = np.unique(
            np.concatenate([self.values_hu, other.values_hu]), return_inverse=True
        )
        counts = np.zeros((2, values.size), dtype=np.int64)
        np.add.at(counts[0], position, np.concatenate([self.counts, other.counts]))
        vessels = np.concatenate([self.vessel_counts, other.vessel_counts])
        np.add.at(counts[1], position, vessels)
        return Distribution(values, counts[0], counts[1])

    def below(self, limit_hu: float) -> Distribution:
        """Part strictly below a density."""
        end = int(np.searchsorted(self.values_hu, limit_hu, side="left"))
        return Distribution(self.values_hu[:end], self.counts[:end], self.vessel_counts[:end])

    def parenchyma(self) -> Distribution:
        """Part outside the vessels."""
        counts = self.counts - self.vessel_counts
        return Distribution(self.values_hu, counts, np.zeros_like(counts))

    def count(self, at_least_hu: float, at_most_hu: float = np.inf) -> int:
        """Voxels in a closed interval of density."""
        inside = (self.values_hu >= at_least_hu) & (self.values_hu <= at_most_hu)
        return int(self.counts[inside].sum())

    def total(self, weights: NDArray[np.float64]) -> float:
        """Sum over all voxels of a weight that depends on density, shape of ``values_hu``."""
        return float(weights @ self.counts)

    def mean(self) -> float:
        """Mean density."""
        return self.total(self.values_hu) / self.size

    def central_moment(self, order: int) -> float:
        """Mean power of the distance from the mean density."""
        return self.total((self.values_hu - self.mean()) ** order) / self.size

    def quantile(self, share: float) -> float:
        """Density below which a share of the voxels lies; as `numpy.quantile`, linear."""
        rank = share * (self.size - 1)
        lower = int(rank)
        ends = np.cumsum(self.counts)
        first, second = self.values_hu[
            np.searchsorted(ends, [lower, min(lower + 1, self.size - 1)], side="right")
        ]
        return float(first + (rank - lower) * (second - first))


@dataclass(frozen=True, kw_only=True, slots=True)
class DensityOptions:
    """Thresholds of the density measures."""

    lung_density_threshold_hu: float = AERATED_BELOW_HU
    """Voxels strictly below count as aerated lung, in which the density moments are taken."""
    ground_glass_from_hu: float = GROUND_GLASS_FROM_HU
    """Lower bound of ground glass, included; it ends below the lung density threshold."""
    ground_glass_denominator: Denominator = "aerated"
    """Volume that ground glass is a share of: ``"aerated"`` lung or the whole ``"lung"``."""
    high_attenuation_hu: tuple[float, float] = HIGH_ATTENUATION_HU
    """Bounds of the high attenuation area, both included."""
    reference_volume_l: float = REFERENCE_VOLUME_L
    """Volume of both lungs that the 15th percentile is adjusted to."""

    def __post_init__(self) -> None:
        """Refuse thresholds that are out of order."""
        if not self.ground_glass_from_hu < self.lung_density_threshold_hu:
            raise InputError(
                "ground glass must start below the lung density threshold of "
                f"{self.lung_density_threshold_hu:g} HU, not at {self.ground_glass_from_hu:g} HU"
            )
        if self.ground_glass_denominator not in ("aerated", "lung"):
            raise InputError(
                "ground glass is a share of 'aerated' or 'lung' volume, "
                f"not of {self.ground_glass_denominator!r}"
            )
        if not self.high_attenuation_hu[0] < self.high_attenuation_hu[1]:
            raise InputError(
                "the high attenuation area needs a lower and a higher bound, not "
                f"{self.high_attenuation_hu[0]:g} and {self.high_attenuation_hu[1]:g} HU"
            )
        if not (np.isfinite(self.reference_volume_l) and self.reference_volume_l > 0):
            raise InputError(
                f"the reference volume must be above 0 L, not {self.reference_volume_l:g} L"
            )


DEFAULT_OPTIONS = DensityOptions()


def measure_density(
    ct: Volume,
    regions: RegionSet,
    *,
    vessels: Mask | None = None,
    noise: Noise | None = None,
    options: DensityOptions = DEFAULT_OPTIONS,
    progress: Progress = ignore,
) -> tuple[Measurement, ...]:
    """Measure volume, mass and density of every region.

    Parameters
    ----------
    ct
        CT in HU.
    regions
        Where to measure, on the grid of ``ct``.
    vessels
        Vessels inside the lungs, shape (K, J, I); taken out of ground glass and consolidation.
        None leaves them in, and these measures carry a caution.
    noise
        Noise of the CT, to take out of LAA-950; without it that measure is missing.
    options
        Thresholds.
    progress
        Called after every part of the work; may raise to cancel.

    Returns
    -------
    tuple of Measurement
        Every measure of `lungperfusion.terms.density` for every region, regions in the order of
        ``regions.names``; missing, with the reason, where a region has no voxel.

    Raises
    ------
    InputError
        If the image is not in HU, or grids differ.

    """
    ct.require_unit("HU", "the CT")
    ct.geometry.require_same(regions.geometry, what="CT and regions")
    if vessels is not None and vessels.shape != ct.geometry.shape:
        raise InputError(
            f"the vessel mask has shape {vessels.shape}, the CT {ct.geometry.shape} (K, J, I); "
            "resample it onto the CT first"
        )
    found = region_distributions(ct, regions, vessels=vessels, progress=progress)
    voxel_ml = ct.geometry.voxel_volume_ml
    both = all(lung in found for lung in LUNGS)
    inflation = (
        found[Region.LUNGS].size * voxel_ml / 1000 / options.reference_volume_l if both else None
    )
    padded = ct.valid is not None and bool((regions.mask(Region.LUNGS) & ~ct.valid).any())

    results: list[Measurement] = []
    for region in regions.names:
        if region not in found:
            reason = _why_empty(ct, regions, region)
            results += [missing(region, measure, reason) for measure in _DENSITY_IDS]
            continue
        densities = found[region]
        aerated = densities.below(options.lung_density_threshold_hu)
        caution = _padding_caution(ct, regions, region) if padded else ""
        results += _volume(region, densities, voxel_ml, caution)
        results += _moments(region, aerated, options.lung_density_threshold_hu)
        results += _percentile(region, densities, inflation, options.reference_volume_l)
        results += _shares(region, densities, options.high_attenuation_hu, noise)
        results += _opacities(
            region,
            densities,
            vessels is not None,
            options.ground_glass_from_hu,
            options.lung_density_threshold_hu,
            options.ground_glass_denominator,
        )
    return tuple(results)


_DENSITY_IDS = tuple(measure.id for measure in DENSITY_MEASURES)


def region_distributions(
    ct: Volume, regions: RegionSet, *, vessels: Mask | None = None, progress: Progress = ignore
) -> dict[Region, Distribution]:
    """Count the densities of every region that has a measured voxel, in one pass per partition."""
    found: dict[Region, Distribution] = {}
    for number, partition in enumerate(regions.partitions):
        progress(number / len(regions.partitions), "counting densities")
        for region, densities in _partition_distributions(ct, partition, vessels).items():
            found.setdefault(region, densities)
    lungs = [found[lung] for lung in LUNGS if lung in found]
    if lungs:
        found[Region.LUNGS] = lungs[0] if len(lungs) == 1 else lungs[0].merged(lungs[1])
    progress(1.0, "counting densities")
    return found


def _partition_distributions(
    ct: Volume, partition: Labelmap, vessels: Mask | None
) -> dict[Region, Distribution]:
    names = {value: Region(name) for value, name in partition.names.items() if name in Region}
    if not names:
        return {}
    row_of_label = np.zeros(max(int(partition.array.max()), *names) + 1, dtype=np.uint16)
    for row, value in enumerate(names):
        row_of_label[value] = 1 + row
    chunks = _chunks(ct, partition, vessels, row_of_label)
    limits = (int(ct.array.min()), int(ct.array.max())) if ct.array.dtype.kind in "iu" else None
    if limits is not None and limits[1] - limits[0] < _MOST_BINS:
        rows = _binned(chunks, len(names), *limits)
    else:
        rows = _unbinned(chunks, len(names))
    return {
        region: row for region, row in zip(names.values(), rows, strict=True) if row.counts.size
    }


def _chunks(
    ct: Volume, partition: Labelmap, vessels: Mask | None, row_of_label: NDArray[np.uint16]
) -> Iterator[tuple[NDArray[np.uint16], NDArray[Any], NDArray[np.bool_] | None]]:
    """Row numbers (from 0), densities and vessel flags of the labelled voxels, slab by slab."""
    depth, *plane = ct.array.shape
    step = max(1, _CHUNK_VOXELS // (plane[0] * plane[1]))
    for start in range(0, depth, step):
        slab = slice(start, start + step)
        inside = partition.array[slab] != 0
        if ct.valid is not None:
            inside &= ct.valid[slab]
        rows = row_of_label[partition.array[slab][inside]]
        named = rows > 0
        chosen = slice(None) if named.all() else named
        flags = None if vessels is None else vessels[slab][inside][chosen]
        yield rows[chosen] - np.uint16(1), ct.array[slab][inside][chosen], flags


def _binned(
    chunks: Iterator[tuple[NDArray[np.uint16], NDArray[Any], NDArray[np.bool_] | None]],
    rows: int,
    lowest: int,
    highest: int,
) -> list[Distribution]:
    """Count integer densities: one bin per HU, one histogram per row, vessels apart."""
    bins = highest - lowest + 1
    counts = np.zeros((2, rows, bins), dtype=np.int64)
    for row, densities, flags in chunks:
        code = row.astype(np.int32)
        if flags is not None:
            code += flags.astype(np.int32) * rows
        code *= bins
        code += densities.astype(np.int32)
        code -= lowest
        counts += np.bincount(code, minlength=counts.size).reshape(counts.shape)
    every = counts.sum(axis=0)
    out = []
    for total, in_vessels in zip(every, counts[1], strict=True):
        used = np.flatnonzero(total)
        out.append(Distribution((used + lowest).astype(np.float64), total[used], in_vessels[used]))
    return out


def _unbinned(
    chunks: Iterator[tuple[NDArray[np.uint16], NDArray[Any], NDArray[np.bool_] | None]], rows: int
) -> list[Distribution]:
    """Count densities of any value by sorting those of each row."""
    densities: list[list[NDArray[Any]]] = [[] for _ in range(rows)]
    in_vessels: list[list[NDArray[Any]]] = [[] for _ in range(rows)]
    for row, values, flags in chunks:
        for number in range(rows):
            here = row == number
            densities[number].append(values[here])
            if flags is not None:
                in_vessels[number].append(values[here & flags])
    out = []
    for number in range(rows):
        values, counts = np.unique(np.concatenate(densities[number]), return_counts=True)
        vessel_counts = np.zeros_like(counts)
        if in_vessels[number]:
            vessel_values, number_of = np.unique(
                np.concatenate(in_vessels[number]), return_counts=True
            )
            vessel_counts[np.searchsorted(values, vessel_values)] = number_of
        out.append(Distribution(values.astype(np.float64), counts, vessel_counts))
        densities[number] = []
    return out


def _volume(
    region: Region, densities: Distribution, voxel_ml: float, caution: str
) -> list[Measurement]:
    air_share = np.clip(-densities.values_hu / 1000, 0, 1)
    grams_per_ml = np.maximum(0, 1 + densities.values_hu / 1000)
    volume_l = densities.size * voxel_ml / 1000
    air_l = densities.total(air_share) * voxel_ml / 1000
    mass_g = densities.total(grams_per_ml) * voxel_ml
    model = "air -1000 HU, tissue 0 HU"
    return [
        measured(region, "tlv", volume_l, "voxel count x voxel volume", caution=caution),
        measured(region, "air_volume", air_l, model, caution=caution),
        measured(region, "tissue_volume", volume_l - air_l, model, caution=caution),
        measured(region, "air_share", 100 * air_l / volume_l, model),
        measured(region, "lung_mass", mass_g, "density 1 + HU / 1000 g/mL", caution=caution),
    ]


def _moments(region: Region, aerated: Distribution, threshold_hu: float) -> list[Measurement]:
    method = f"voxels below {threshold_hu:g} HU"
    names = ("mld", "median_density", "density_sd", "skewness", "kurtosis")
    if not aerated.size:
        reason = f"no voxel below {threshold_hu:g} HU"
        return [missing(region, name, reason, method) for name in names]
    variance = aerated.central_moment(2)
    results = [
        measured(region, "mld", aerated.mean(), method),
        measured(region, "median_density", aerated.quantile(0.5), method),
        measured(region, "density_sd", variance**0.5, method),
    ]
    if variance == 0:
        reason = "all voxels have the same density"
        return results + [missing(region, name, reason, method) for name in names[3:]]
    skewness = aerated.central_moment(3) / variance**1.5
    kurtosis = aerated.central_moment(4) / variance**2 - 3
    return [
        *results,
        measured(region, "skewness", skewness, method),
        measured(region, "kurtosis", kurtosis, f"{method}; excess over a normal distribution"),
    ]


def _percentile(
    region: Region, densities: Distribution, inflation: float | None, reference_volume_l: float
) -> list[Measurement]:
    perc15 = densities.quantile(0.15)
    result = [measured(region, "perc15", perc15, "all voxels of the region")]
    method = f"sponge model, both lungs adjusted to {reference_volume_l:g} L"
    if inflation is None:
        reason = "the adjustment needs the volume of both lungs, and one has no voxel"
        return [*result, missing(region, "perc15_adjusted", reason, method)]
    adjusted = (perc15 + 1000) * inflation - 1000
    return [*result, measured(region, "perc15_adjusted", adjusted, method)]


def _shares(
    region: Region,
    densities: Distribution,
    high_attenuation_hu: tuple[float, float],
    noise: Noise | None,
) -> list[Measurement]:
    low, high = high_attenuation_hu
    results = [
        measured(
            region,
            name,
            100 * densities.below(limit).size / densities.size,
            f"HU < {limit:g}, all voxels of the region",
        )
        for name, limit in LOW_ATTENUATION_HU.items()
    ]
    results.insert(1, _without_noise(region, densities, noise))
    share = 100 * densities.count(low, high) / densities.size
    method = f"{low:g} <= HU <= {high:g}, all voxels of the region"
    return [*results, measured(region, "haa", share, method)]


def _without_noise(region: Region, densities: Distribution, noise: Noise | None) -> Measurement:
    name = "laa_950_without_noise"
    if noise is None:
        return missing(region, name, "The noise of the scan could not be measured")
    limit = EMPHYSEMA_BELOW_HU
    share = share_below(densities.values_hu, densities.counts, limit, noise.sd_hu)
    method = f"HU < {limit:g}; noise of {noise.sd_hu:.0f} HU, measured in {noise.where}, taken out"
    if noise.sd_hu > LOUD_HU:
        method += ", a lower bound"
    return measured(region, name, 100 * share, method)


def _opacities(
    region: Region,
    densities: Distribution,
    vessels_known: bool,
    from_hu: float,
    threshold_hu: float,
    denominator: Denominator,
) -> list[Measurement]:
    parenchyma = densities.parenchyma()
    without = "vessels removed" if vessels_known else "vessels not removed"
    whole = densities.below(threshold_hu).size if denominator == "aerated" else densities.size
    of = f"volume below {threshold_hu:g} HU" if denominator == "aerated" else "all of the region"
    method = f"{from_hu:g} <= HU < {threshold_hu:g}, {without}, share of {of}"
    caution = "" if vessels_known else _VESSELS_COUNTED
    if whole:
        part = parenchyma.below(threshold_hu).count(from_hu)
        ground_glass = measured(region, "ggo", 100 * part / whole, method, caution=caution)
    else:
        ground_glass = missing(region, "ggo", f"no voxel below {threshold_hu:g} HU", method)
    dense = 100 * parenchyma.count(threshold_hu) / densities.size
    dense_method = f"HU >= {threshold_hu:g}, {without}, share of all of the region"
    return [
        ground_glass,
        measured(region, "consolidation_share", dense, dense_method, caution=caution),
    ]


def _why_empty(ct: Volume, regions: RegionSet, region: Region) -> str:
    if ct.valid is not None and regions.mask(region).any():
        return "the region lies outside the scan field"
    return regions.why_missing(region)


def _padding_caution(ct: Volume, regions: RegionSet, region: Region) -> str:
    if ct.valid is None:
        return ""
    lost = int(np.count_nonzero(regions.mask(region) & ~ct.valid))
    if not lost:
        return ""
    lost_ml = lost * ct.geometry.voxel_volume_ml
    return f"{lost_ml:.3g} mL of the region lie outside the scan field and are not counted"
