"""The frames of a first-pass series on one grid, each slice with its times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from lungperfusion.errors import InputError
from lungperfusion.morphology import ball
from lungperfusion.volume import Geometry, Mask, Volume

Curve = NDArray[np.float64]

WORKING_MM = 3.0
"""Voxels of maps and of the alignment: finer ones are as noisy as they are many."""

FEWEST_FRAMES = 8
"""Fewer frames hold no baseline, rise and fall."""

LEAST_SPAN_S = 5.0
"""Blood alone takes as long from the trunk through the lungs to the atrium."""

LONGEST_USUAL_STEP_S = 30.0
"""Half of the steps of a first pass are far shorter, whatever gaps it has."""

SAME_TIME_S = 1e-3

PLACE_RADIUS_MM = 6.0
"""Ball whose mean curve is that of a place: some thirty voxels of 3 mm."""

_UNIT_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6}


def seconds_of(unit: str) -> float | None:
    """Seconds that a unit of time stands for; None for what is no such unit.

    Examples
    --------
    >>> seconds_of("ms"), seconds_of("mm")
    (0.001, None)

    """
    return _UNIT_SECONDS.get(unit.strip().lower())


def require_frames(count: int) -> None:
    """Refuse too few frames."""
    if count < FEWEST_FRAMES:
        raise InputError(
            f"a first-pass series needs at least {FEWEST_FRAMES} frames for baseline, rise and "
            f"fall; {count} are there: give the whole dynamic series"
        )


def require_first_pass_times(times_s: NDArray[np.float64]) -> None:
    """Refuse too few frames, times that do not ascend along the first axis, and a wrong unit."""
    require_frames(len(times_s))
    if not np.isfinite(times_s).all() or (np.diff(times_s, axis=0) <= 0).any():
        raise InputError(
            "the times of the frames do not ascend; give them in seconds, one a frame, in the "
            "order of the frames"
        )
    span, usual = (
        float((times_s[-1] - times_s[0]).min()),
        float(np.median(np.diff(times_s, axis=0))),
    )
    if span < LEAST_SPAN_S or usual > LONGEST_USUAL_STEP_S:
        raise InputError(
            f"{len(times_s)} frames {usual:.6g} s apart, {span:.6g} s in all, are no first pass; "
            f"expected at least {LEAST_SPAN_S:g} s in all and at most {LONGEST_USUAL_STEP_S:g} s "
            "between frames: if the unit of the times is wrong, give them in seconds with --times "
            "CSV"
        )


def timing(times_s: NDArray[np.float64]) -> str:
    """Say how many frames there are and how far apart, so that a reader sees what is wrong."""
    steps = np.diff(times_s)
    shortest, longest = float(steps.min()), float(steps.max())
    apart = f"{shortest:.3g}"
    if longest - shortest >= 0.01:
        apart += f" to {longest:.3g}"
    return f"{len(times_s)} frames in {times_s[-1] - times_s[0]:.3g} s, {apart} s apart."


def whole_hu(image: NDArray[Any]) -> NDArray[np.int16]:
    """Values of CT as whole HU; below -1024 is padding outside the scan field."""
    rounded = np.rint(image) if image.dtype.kind == "f" else image
    return np.clip(rounded, -1024, 32767).astype(np.int16)


@dataclass(frozen=True, eq=False)
class Frames:
    """Images of one place at several times.

    Parameters
    ----------
    array
        Shape (frames, K, J, I), HU.
    geometry
        Grid of each frame.
    times_s
        Time of every slice of every frame, shape (frames, K), ascending along the frames.
    valid
        Voxels that every frame shows; None for all.

    Raises
    ------
    InputError
        If the times do not fit the frames, do not ascend, or there are too few frames.

    """

    array: NDArray[Any]
    geometry: Geometry
    times_s: NDArray[np.float64]
    valid: Mask | None = None

    def __post_init__(self) -> None:
        """Check."""
        count = self.array.shape[0]
        if self.array.shape[1:] != self.geometry.shape:
            raise InputError(
                f"frames of shape {self.array.shape[1:]} do not lie on a grid of "
                f"{self.geometry.shape}"
            )
        if self.times_s.shape != (count, self.geometry.shape[0]):
            raise InputError(
                f"{count} frames of {self.geometry.shape[0]} slices need as many times, not "
                f"{' x '.join(map(str, self.times_s.shape))}"
            )
        require_first_pass_times(self.times_s)

    @property
    def moments_s(self) -> NDArray[np.float64]:
        """One time for each frame: the mean over its slices."""
        return np.asarray(self.times_s.mean(axis=1))

    @property
    def is_shuttle(self) -> bool:
        """Whether the slices of a frame have times of their own."""
        return bool(np.ptp(self.times_s, axis=1).max() > SAME_TIME_S)

    def frame(self, number: int) -> Volume:
        """One frame as an image."""
        return Volume(self.array[number], self.geometry, "HU", self.valid)

    def only(self, kept: NDArray[np.bool_]) -> Frames:
        """Take the frames that are kept."""
        return replace(self, array=self.array[kept], times_s=self.times_s[kept])

    def mean(self, chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Mean image of some frames."""
        return np.asarray(self.array[chosen].mean(axis=0, dtype=np.float32))

    def curve(self, mask: Mask) -> Curve:
        """Mean of the voxels of a mask in each frame."""
        return np.asarray(self.array[:, mask].mean(axis=1, dtype=np.float64))

    def curve_at(self, ras_mm: ArrayLike, radius_mm: float = PLACE_RADIUS_MM) -> Curve | None:
        """Mean of a ball around a place in each frame; None where it lies outside of the images."""
        mask = ball(self.geometry, ras_mm, radius_mm)
        if self.valid is not None:
            mask &= self.valid
        return self.curve(mask) if mask.any() else None

    def reduced(self, spacing_mm: float = WORKING_MM) -> Frames:
        """Means of blocks of voxels that come closest to a spacing; nothing is interpolated."""
        factors = block_factors(self.geometry, spacing_mm)
        geometry = reduced_geometry(self.geometry, factors)
        out = np.stack([block_mean(frame, factors) for frame in self.array])
        cut = self.times_s[:, : geometry.shape[0] * factors[0]]
        times = cut.reshape(len(cut), -1, factors[0]).mean(axis=2)
        return Frames(out, geometry, times)

    def at_moments(self) -> Frames:
        """Give the same frames as if all slices had been taken at the time of their frame.

        Slices that the table passes at other times are interpolated by cubic splines.
        """
        if not self.is_shuttle:
            return self
        moments = self.moments_s
        out = np.empty(self.array.shape, np.float32)
        for k in range(self.geometry.shape[0]):
            own = self.times_s[:, k]
            spline = CubicSpline(own, self.array[:, k].astype(np.float32), axis=0)
            out[:, k] = spline(np.clip(moments, own[0], own[-1]))
        times = np.repeat(moments[:, None], self.geometry.shape[0], axis=1)
        return replace(self, array=out, times_s=times)


def block_factors(geometry: Geometry, spacing_mm: float) -> tuple[int, int, int]:
    """Voxels along K, J, I whose block comes closest to a spacing."""
    k, j, i = (max(1, round(spacing_mm / mm)) for mm in geometry.spacing_kji_mm)
    return k, j, i


def reduced_geometry(geometry: Geometry, factors: tuple[int, int, int]) -> Geometry:
    """Grid of the blocks; what does not fill a block at the far ends is left out."""
    matrix = geometry.ijk_to_ras.copy()
    offset = [(factor - 1) / 2 for factor in factors[::-1]]
    matrix[:3, 3] = geometry.ras_from_ijk(offset)
    matrix[:3, :3] *= np.array(factors[::-1])
    k, j, i = (size // factor for size, factor in zip(geometry.shape, factors, strict=True))
    return Geometry((k, j, i), matrix)


def block_mean(array: NDArray[Any], factors: tuple[int, int, int]) -> NDArray[np.float32]:
    """Mean of every block of voxels."""
    sizes = [size // factor for size, factor in zip(array.shape, factors, strict=True)]
    cut = array[tuple(slice(0, n * f) for n, f in zip(sizes, factors, strict=True))]
    if cut.dtype == np.bool_:
        cut = cut.view(np.uint8)
    fk, fj, fi = factors
    total = np.zeros(sizes, np.float32)
    for k in range(fk):
        for j in range(fj):
            for i in range(fi):
                total += cut[k::fk, j::fj, i::fi]
    return total / np.float32(fk * fj * fi)
