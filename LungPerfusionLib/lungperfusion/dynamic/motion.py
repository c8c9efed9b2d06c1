"""Frames of a first pass brought to one state of breathing, each lung for itself.

The bolus must not pull: what is aligned is the pleura and the texture of the parenchyma freed from
its local mean and contrast (`vq.alignment`), which keep their place while blood gets brighter.
What is left is measured at the surface of the lungs, with everything denser than water cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.dynamic.series import FEWEST_FRAMES, Frames, block_factors, block_mean
from lungperfusion.errors import InputError
from lungperfusion.morphology import dilated, distance_mm
from lungperfusion.progress import Progress, ignore
from lungperfusion.terms import AIRWAYS, LUNGS, Region
from lungperfusion.threads import in_order
from lungperfusion.volume import Labelmap, Mask, Volume
from lungperfusion.vq.alignment import Part, Stage, align
from lungperfusion.vq.displacement import DisplacementField, voxel_positions
from lungperfusion.vq.jacobian import jacobian_of

STAGES = (
    Stage(spacing_mm=6.0, grid_mm=64.0, bending=3.0, blur_mm=3.0, iterations=8),
    Stage(spacing_mm=3.0, grid_mm=48.0, bending=60.0, blur_mm=1.5, iterations=10),
)
"""Shallow breathing is smooth, and density follows the volume change of the field: 1 % of it is
2 HU.  On the phantom (8.7 mm, 10 HU) splines of 36 / 30 / 48 mm with a bending of 6 / 15 / 60 leave
0.17 / 0.12 / 0.10 mm along the body and 0.021 / 0.015 / 0.006 of volume change."""

MOST_SHIFT_MM = 1.5
"""Median shift that may be left at the surface of the lungs; a frame with more is left out."""

LEAST_LIKENESS = 0.7
"""Correlation of a slice with the reference, -1000 to 0 HU: of the phantom before alignment 0.98 or
more, 20 mm away or with half of the slice lost 0.5, with the slice lost 0."""
MOST_CHANGE_HU = 300.0
"""Of the middle of the lung: contrast medium adds 30 to 150 HU, a shallow breath some tens."""

STILL_MM = 0.1
"""A frame that is no farther off is taken as it is: aligning it would only add noise."""

LUNG_BELOW_HU = -400.0
"""Half way from aerated lung to soft tissue, also while the lung is full of contrast medium."""
REACH_MM = 15.0
"""No breath takes the surface of a lung farther from its place in the reference."""
CLOSED_MM = 4.0
"""Vessels up to twice as thick belong to the lung that is aligned."""
AIRWAY_RIM_MM = 4.0

LUNG_WINDOW_HU = (-950.0, -300.0)
"""Densities by which frames are compared to choose the reference; blood is beyond."""
COMPARED_MM = 6.0

SURFACE_MM = 4.5
"""Band on either side of the surface where shifts are measured."""
EDGE_HU_PER_MM = 60.0
"""Slope from which on a place shows a shift: ten times what noise of 20 HU makes."""
_THREADS = 2


@dataclass(frozen=True, eq=False, kw_only=True)
class Aligned:
    """Frames in the place of the reference, and how they got there."""

    frames: Frames
    """Those that were kept; ``valid`` where all of them show the tissue."""
    kept: NDArray[np.bool_]
    """Which of the frames that were given."""
    reference: int
    """Number of the reference among those that were given."""
    shift_mm: NDArray[np.float64]
    """Median shift left at the surface of the lungs, by given frame; 0 for the reference."""
    before_mm: NDArray[np.float64]
    """The same before."""
    motion_rms_mm: NDArray[np.float32]
    """Root of the mean squared displacement of each voxel over the kept frames."""
    volume_change: NDArray[np.float64]
    """Greatest change of a lung's volume in each given frame, as a share."""


def choose_reference(frames: Frames) -> int:
    """Frame whose lungs are most like those of all others, by the correlation of their densities.

    Returns the first of equal ones.
    """
    factors = block_factors(frames.geometry, COMPARED_MM)
    small = np.stack([np.clip(block_mean(f, factors), *LUNG_WINDOW_HU) for f in frames.array])
    spread = np.ptp(small, axis=0)
    lung = small.mean(axis=0) < np.mean(LUNG_WINDOW_HU)
    lung = ndimage.binary_dilation(lung) if lung.any() else np.ones_like(lung)
    values = small[:, lung & (spread > 0)]
    if values.shape[1] < 2:
        return len(frames.array) // 2
    with np.errstate(invalid="ignore", divide="ignore"):  # a frame of one value is like none
        likeness = np.nan_to_num(np.corrcoef(values))
    return int(np.argmax(np.round(np.median(likeness, axis=1), 6)))


@dataclass(frozen=True, eq=False, kw_only=True)
class MovedFrames:
    """All frames in the place of the reference, before it is said which are used."""

    frames: Frames
    reference: int
    shift_mm: NDArray[np.float64]
    """Median shift left at the surface of the lungs, by frame."""
    before_mm: NDArray[np.float64]
    square_mm2: NDArray[np.float32]
    """Squared displacement of each voxel, by frame."""
    inside: NDArray[np.bool_]
    """Voxels that show the tissue, by frame."""
    volume_change: NDArray[np.float64]
    likeness: NDArray[np.float64]
    """Of the slice that is least like that of the reference, by frame, -1 to 1."""

    def used(self, left_out: Sequence[int] = ()) -> Aligned:
        """Take the frames that lie where the reference lies.

        Parameters
        ----------
        left_out
            Frames that a reader does not want.

        """
        kept = (self.shift_mm <= MOST_SHIFT_MM) & (self.likeness >= LEAST_LIKENESS)
        kept[list(left_out)] = False
        if np.count_nonzero(kept) < FEWEST_FRAMES:
            raise InputError(
                f"{np.count_nonzero(kept)} of {kept.size} frames can be used, at least "
                f"{FEWEST_FRAMES} are needed: the others could not be aligned, do not show the "
                "same place, or were left out; check the frames"
            )
        frames = replace(self.frames.only(kept), valid=self.inside[kept].all(axis=0))
        mean = self.square_mm2[kept].sum(axis=0) / np.float32(np.count_nonzero(kept))
        return Aligned(
            frames=frames,
            kept=kept,
            reference=self.reference,
            shift_mm=self.shift_mm,
            before_mm=self.before_mm,
            motion_rms_mm=np.sqrt(mean),
            volume_change=self.volume_change,
        )


def move_frames(
    frames: Frames, lungs: Labelmap, reference: int, *, progress: Progress = ignore
) -> MovedFrames:
    """Bring all frames to the state of breathing of the reference.

    Parameters
    ----------
    frames
        On the working grid, all slices at the time of their frame.
    lungs
        Lungs and airways of the reference on the same grid.
    reference
        Number of the frame that the others are brought to.
    progress
        Called after every frame; may raise to cancel.

    """
    masks = _lung_masks(frames.frame(reference), lungs)
    still = {lung: Part.cut(frames.frame(reference), mask) for lung, mask in masks.items()}
    edges = _Edges.of(frames.frame(reference), masks)
    count = len(frames.array)

    def moved(number: int) -> tuple[NDArray[np.float32], NDArray[np.float32], Mask, float]:
        frame = frames.frame(number)
        nothing_alike = edges.likeness(frame.array) <= 0
        if before[number] <= STILL_MM or nothing_alike:  # the latter is left out
            shape = frames.geometry.shape
            nothing = np.zeros(shape, np.float32)
            return np.asarray(frame.array), nothing, np.ones(shape, np.bool_), 0.0
        found = _lung_masks(frame, lungs)
        fields = {
            lung: align(part, Part.cut(frame, found[lung]), stages=STAGES)
            for lung, part in still.items()
            if found[lung].any()
        }
        return _warped(frame, lungs, fields)

    shape = (count, *frames.geometry.shape)
    out, square = np.empty(shape, np.float32), np.zeros(shape, np.float32)
    inside = np.ones(shape, np.bool_)
    shift, change, likeness = np.zeros((3, count))
    likeness[reference] = 1.0
    before = np.array([edges.shift_mm(frame) for frame in frames.array])
    others = [n for n in range(count) if n != reference]
    out[reference] = frames.array[reference]
    with closing(in_order(moved, others, at_most=_THREADS)) as results:
        for done, (number, result) in enumerate(zip(others, results, strict=True)):
            progress(done / max(1, len(others)), "aligning the frames")
            out[number], square[number], inside[number], change[number] = result
            shift[number] = edges.shift_mm(out[number])
            likeness[number] = edges.likeness(out[number])
    return MovedFrames(
        frames=replace(frames, array=out),
        reference=reference,
        shift_mm=shift,
        before_mm=before,
        square_mm2=square,
        inside=inside,
        volume_change=change,
        likeness=likeness,
    )


def unaligned(frames: Frames, reference: int, left_out: Sequence[int] = ()) -> Aligned:
    """Take the frames as they are."""
    kept = np.ones(len(frames.array), np.bool_)
    kept[list(left_out)] = False
    nothing = np.zeros(len(frames.array))
    array = frames.array[kept].astype(np.float32)
    return Aligned(
        frames=replace(frames, array=array, times_s=frames.times_s[kept]),
        kept=kept,
        reference=reference,
        shift_mm=nothing,
        before_mm=nothing,
        motion_rms_mm=np.zeros(frames.geometry.shape, np.float32),
        volume_change=nothing,
    )


def _lung_masks(frame: Volume, lungs: Labelmap) -> dict[Region, Mask]:
    """Find aerated lung with its vessels near each lung of the reference."""
    spacing = frame.geometry.spacing_kji_mm
    away = {lung: distance_mm(lungs.mask(lung), spacing) for lung in LUNGS}
    airways = lungs.mask(AIRWAYS)
    aerated = ndimage.gaussian_filter(frame.array.astype(np.float32), 0.5) < LUNG_BELOW_HU
    if airways.any():
        aerated &= ~dilated(airways, AIRWAY_RIM_MM, spacing)
    out = {}
    for lung, other in zip(LUNGS, LUNGS[::-1], strict=True):
        if not lungs.mask(lung).any():
            continue
        own = aerated & (away[lung] <= REACH_MM) & (away[lung] <= away[other])
        closed = ~dilated(~dilated(own, CLOSED_MM, spacing), CLOSED_MM, spacing)
        labels, number = ndimage.label(closed | own)
        if number > 1:
            sizes = np.bincount(labels.ravel())
            sizes[0] = 0
            closed = labels == int(sizes.argmax())
        out[lung] = np.asarray(closed)
    return out


def _warped(
    frame: Volume, lungs: Labelmap, fields: dict[Region, DisplacementField]
) -> tuple[NDArray[np.float32], NDArray[np.float32], Mask, float]:
    """Frame in the place of the reference, squared displacement, what is seen, change of volume.

    Outside of the lungs the motion of the nearer one goes on: the hilum and the heart follow it.
    """
    geometry = frame.geometry
    spacing = geometry.spacing_kji_mm
    points = voxel_positions(geometry)
    move = np.zeros((points.shape[0], 3), np.float32)
    scale = np.ones(geometry.shape, np.float32)
    away = {lung: distance_mm(lungs.mask(lung), spacing).ravel() for lung in fields}
    change = 0.0
    for lung, field in fields.items():
        nearer = np.ones(points.shape[0], np.bool_)
        for other, distance in away.items():
            if other != lung:
                nearer &= (away[lung] < distance) | ((away[lung] == distance) & (lung < other))
        move[nearer] = field.at(points[nearer])
        mask = lungs.mask(lung)
        index = field.geometry.ijk_from_ras(points[mask.ravel()]).T[::-1]
        volumes = ndimage.map_coordinates(jacobian_of(field), index, order=1, mode="nearest")
        mean = float(volumes.mean()) - 1
        change = max(change, abs(mean))
        scale[mask] = volumes
    index = geometry.ijk_from_ras(points + move).T[::-1]
    limits = np.array(geometry.shape)[:, None] - 1
    seen = ((index >= -0.5) & (index <= limits + 0.5)).all(axis=0).reshape(geometry.shape)
    values = ndimage.map_coordinates(
        np.asarray(frame.array, np.float32), index, order=3, mode="nearest", output=np.float32
    ).reshape(geometry.shape)
    values = (values + 1000) * scale - 1000
    return values, (move**2).sum(axis=1).reshape(geometry.shape), seen, change


@dataclass(frozen=True, eq=False)
class _Edges:
    """Places at the surface of the lungs where a shift shows in the density."""

    places: Mask
    density: NDArray[np.float32]
    clipped: NDArray[np.float32]
    slope: NDArray[np.float32]
    inner: Mask
    """Lung away from its surface, which tells how much denser the whole lung is."""

    @classmethod
    def of(cls, frame: Volume, lungs: dict[Region, Mask]) -> _Edges:
        spacing = frame.geometry.spacing_kji_mm
        inside = np.zeros(frame.geometry.shape, np.bool_)
        for mask in lungs.values():
            inside |= mask
        band = (distance_mm(inside, spacing) <= SURFACE_MM) & (
            distance_mm(~inside, spacing) <= SURFACE_MM
        )
        clipped = _clipped(frame.array)
        slopes = [g / mm for g, mm in zip(np.gradient(clipped), spacing, strict=True)]
        slope = np.sqrt(sum(g**2 for g in slopes)).astype(np.float32)
        places = band & (slope >= EDGE_HU_PER_MM)
        places[[0, -1]] = False
        return cls(places, _without_contrast(frame.array), clipped, slope, inside & ~band)

    def shift_mm(self, array: NDArray[np.floating]) -> float:
        """Median shift of another image against the reference; 0 where nothing shows it."""
        if not self.places.any():
            return 0.0
        clipped = _clipped(array)
        difference = (clipped - self.clipped)[self.places]
        if self.inner.any():  # contrast medium in the lung is in its share of an edge voxel, too
            denser = float(np.median((clipped - self.clipped)[self.inner]))
            level = float(np.median(self.clipped[self.inner]))
            difference -= np.float32(denser / level) * self.clipped[self.places]
        return float(np.median(np.abs(difference) / self.slope[self.places]))

    def likeness(self, array: NDArray[np.floating]) -> float:
        """Lowest correlation of a slice with that of the reference; 0 for lungs far too dense."""
        density = _without_contrast(array)
        if self.inner.any():
            change = float(np.median((density - self.density)[self.inner]))
            if abs(change) > MOST_CHANGE_HU:
                return 0.0
        pairs = zip(density, self.density, strict=True)
        return min((_correlation(one, own) for one, own in pairs if np.ptp(own) > 0), default=1.0)


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Correlation of two images; 0 where one of them has a single value."""
    a, b = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def _clipped(array: NDArray[np.floating]) -> NDArray[np.float32]:
    """Smoothed density without all that contrast medium changes in soft tissue."""
    return ndimage.gaussian_filter(_without_contrast(array), 0.7)


def _without_contrast(array: NDArray[np.floating]) -> NDArray[np.float32]:
    """Density without all that contrast medium changes in soft tissue."""
    return np.asarray(np.clip(array, -1000, 0), np.float32)
