"""Registration of an expiratory and an inspiratory CT, each lung for itself.

The fixed image is the expiratory one: fields are given at expiratory points and lead to the
inspiratory place of the same tissue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.errors import CancelledError, InputError
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.resampling import from_sitk, resample_array, to_sitk
from lungperfusion.terms import LOBES, LUNGS, STRUCTURES, Region, title
from lungperfusion.threads import thread_count
from lungperfusion.volume import Box, Geometry, Labelmap, Mask, Volume
from lungperfusion.vq.alignment import (
    COARSE_STAGES,
    FINE_STAGES,
    VOLUME_STAGES,
    Part,
    Stage,
    align,
)
from lungperfusion.vq.displacement import DisplacementField, positions_by_slab, voxel_positions
from lungperfusion.vq.jacobian import JACOBIAN_RANGE, LEAST_JACOBIAN, jacobian_of

FieldKind = Literal["alignment", "volume"]

SMALLEST_PART_ML = 20.0
"""A lung or lobe smaller than this is not registered."""

_LOBES_OF = {LUNGS[0]: LOBES[:2], LUNGS[1]: LOBES[2:]}
_MOST_REPAIRS = 20
_THREADS = 2


@dataclass(frozen=True, eq=False, kw_only=True)
class PartFields:
    """Motion of one lung or lobe."""

    alignment: DisplacementField
    """Least distance between corresponding structures."""
    volume: DisplacementField
    """Stiffer: truest volume change."""
    folded_share: float
    """Share of the part's volume in which the alignment field folded before it was repaired."""
    repairs: int
    back: DisplacementField | None = None
    """Coarse motion of the whole lung from inspiration to expiration, found for itself.

    None for given fields, and for lobes that slide.
    """


@dataclass(frozen=True, eq=False, kw_only=True)
class Registration:
    """Where the tissue of every expiratory voxel lies at inspiration.

    Parameters
    ----------
    parts
        Motion by lung, or by lobe where lobes were allowed to slide.
    labels
        The parts on the expiratory grid; label values as in `lungperfusion.terms`.
    inspiration_geometry
        Grid of the inspiratory image.

    """

    parts: Mapping[Region, PartFields]
    labels: Labelmap
    inspiration_geometry: Geometry
    missing: Mapping[Region, str] = field(default_factory=dict)
    """Lungs that could not be registered, with the reason."""

    def __post_init__(self) -> None:
        """Freeze the mappings."""
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))
        object.__setattr__(self, "missing", MappingProxyType(dict(self.missing)))

    @property
    def geometry(self) -> Geometry:
        """The expiratory grid."""
        return self.labels.geometry

    def crop(self, box: Box) -> Registration:
        """Cut a box out of the expiratory grid; the motion stays whole."""
        return replace(self, labels=self.labels.crop(box))

    def each(self) -> list[tuple[Region, PartFields, Mask]]:
        """Parts with their voxels on the expiratory grid."""
        return [(region, fields, self.labels.mask(region)) for region, fields in self.parts.items()]

    def warp(self, image: Volume, *, kind: FieldKind = "alignment") -> NDArray[np.float32]:
        """Inspiratory image at the expiratory voxels of the parts; NaN elsewhere.

        Linear interpolation; NaN where the tissue lies outside the inspiratory image.
        """
        out = np.full(self.geometry.shape, np.nan, np.float32)
        array = np.asarray(image.array, dtype=np.float32)
        for _, fields, mask in self.each():
            displacement = fields.alignment if kind == "alignment" else fields.volume
            for slab, points in positions_by_slab(self.geometry, mask):
                index = image.geometry.ijk_from_ras(points + displacement.at(points)).T[::-1]
                out[slab][mask[slab]] = ndimage.map_coordinates(
                    array, index, order=1, mode="constant", cval=np.nan
                )
        return out

    def jacobian(self, *, kind: FieldKind = "volume") -> NDArray[np.float32]:
        """Inspiratory per expiratory volume at the voxels of the parts; NaN elsewhere."""
        out = np.full(self.geometry.shape, np.nan, np.float32)
        for _, fields, mask in self.each():
            displacement = fields.volume if kind == "volume" else fields.alignment
            values = jacobian_of(displacement)
            for slab, points in positions_by_slab(self.geometry, mask):
                index = displacement.geometry.ijk_from_ras(points).T[::-1]
                sampled = ndimage.map_coordinates(values, index, order=1, mode="nearest")
                out[slab][mask[slab]] = np.clip(sampled, *JACOBIAN_RANGE)
        return out

    def combined(
        self, spacing_mm: float = 2.0, *, kind: FieldKind = "alignment"
    ) -> DisplacementField:
        """One field for the whole expiratory image: at each point that of the nearest part."""
        grid = self.geometry.with_spacing((spacing_mm, spacing_mm, spacing_mm))
        points = voxel_positions(grid)
        nearest = np.zeros(points.shape[0], np.int64)
        least = np.full(points.shape[0], np.inf, np.float32)
        for number, (_, _, mask) in enumerate(self.each()):
            distance = _distance_on(mask, self.geometry, grid).ravel()
            closer = distance < least
            nearest[closer], least[closer] = number, distance[closer]
        out = np.zeros((points.shape[0], 3), np.float32)
        for number, fields in enumerate(self.parts.values()):
            here = nearest == number
            out[here] = (fields.alignment if kind == "alignment" else fields.volume).at(
                points[here]
            )
        return DisplacementField(out.reshape(*grid.shape, 3), grid)


def _distance_on(mask: Mask, source: Geometry, target: Geometry) -> NDArray[np.float32]:
    """Distance from a mask, 0 inside, at the nodes of another grid."""
    coarse = resample_array(mask, source, target, interpolation="nearest", fill=0)
    if not coarse.any():
        return np.full(target.shape, np.inf, np.float32)
    image = sitk.SignedMaurerDistanceMap(
        to_sitk(coarse, target), insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    return np.asarray(np.maximum(from_sitk(image), 0), np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """Stages of `lungperfusion.vq.alignment` that a registration goes through."""

    coarse: tuple[Stage, ...] = COARSE_STAGES
    """For the whole lung."""
    fine: tuple[Stage, ...] = FINE_STAGES
    """From there for least landmark error."""
    volume: tuple[Stage, ...] = VOLUME_STAGES
    """From there for the truest Jacobian."""


DEFAULT_STAGES = Stages()


def register_lungs(
    expiration: Volume,
    inspiration: Volume,
    expiration_lungs: Labelmap,
    inspiration_lungs: Labelmap,
    *,
    lobes: tuple[Labelmap, Labelmap] | None = None,
    landmarks: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    stages: Stages = DEFAULT_STAGES,
    progress: Progress = ignore,
) -> Registration:
    """Register both lungs of an expiratory with an inspiratory CT.

    Each lung moves for itself, so it may slide along the chest wall.

    Parameters
    ----------
    expiration, inspiration
        CT in HU, on any grids.
    expiration_lungs, inspiration_lungs
        ``left_lung`` and ``right_lung`` on the grid of each image.
    lobes
        Lobes of both images (expiration, inspiration): each lobe then moves for itself and may
        slide along the fissures.  Only as good as both lobe segmentations.
    landmarks
        Corresponding points, RAS mm, shapes (N, 3), expiratory and inspiratory: they steer.
    stages
        How finely it is aligned.
    progress
        Called from the calling thread only; may raise to cancel.

    Raises
    ------
    InputError
        If an image is not in HU, a label map lies on another grid, or no lung is in both images.

    """
    for image, lungs, what in (
        (expiration, expiration_lungs, "expiration"),
        (inspiration, inspiration_lungs, "inspiration"),
    ):
        image.require_unit("HU", f"the {what} CT")
        image.geometry.require_same(lungs.geometry, what=f"{what} CT and lungs")
    if landmarks is not None:
        _check_landmarks(landmarks, expiration.geometry, inspiration.geometry)

    tasks: list[Callable[[Progress], list[tuple[Region, PartFields]]]] = []
    absent: dict[Region, str] = {}
    for lung in LUNGS:
        masks = expiration_lungs.mask(lung), inspiration_lungs.mask(lung)
        reason = _too_small(lung, masks, (expiration.geometry, inspiration.geometry))
        if reason:
            absent[lung] = reason
            continue
        parts = _parts_of(lung, masks, lobes)

        def task(
            report: Progress,
            lung: Region = lung,
            masks: tuple[Mask, Mask] = masks,
            parts: dict[Region, tuple[Mask, Mask]] = parts,
        ) -> list[tuple[Region, PartFields]]:
            pair = Part.cut(expiration, masks[0]), Part.cut(inspiration, masks[1])
            marks = _landmarks_in(landmarks, expiration_lungs, lung)
            start = align(
                *pair, stages=stages.coarse, landmarks=marks, progress=part(report, 0, 0.25)
            )
            swapped = None if marks is None else marks[::-1]
            back = align(
                *pair[::-1],
                stages=stages.coarse,
                landmarks=swapped,
                progress=part(report, 0.25, 0.45),
            )
            done = []
            for number, (region, (here, there)) in enumerate(parts.items()):
                low = 0.45 + 0.55 * number / len(parts)
                high = 0.45 + 0.55 * (number + 1) / len(parts)
                scans = pair
                if region not in LUNGS:
                    scans = Part.cut(expiration, here), Part.cut(inspiration, there)
                fields = _refine(scans, start, marks, stages, part(report, low, high))
                if region in LUNGS:
                    fields = replace(fields, back=back)
                done.append((region, fields))
            return done

        tasks.append(task)
    if not tasks:
        raise InputError(
            "no lung can be registered: " + "; ".join(absent.values()) + "; check both lung masks"
        )
    found = dict(entry for entries in _in_threads(tasks, progress) for entry in entries)
    return Registration(
        parts=found,
        labels=_part_labels(found, expiration_lungs, None if lobes is None else lobes[0]),
        inspiration_geometry=inspiration.geometry,
        missing=absent,
    )


def registration_from_field(
    displacement: DisplacementField,
    lungs: Labelmap,
    inspiration_geometry: Geometry,
    *,
    volume: DisplacementField | None = None,
) -> Registration:
    """Use given displacement fields instead of registering.

    Parameters
    ----------
    displacement
        At expiratory points, leading to the inspiratory scan.
    lungs
        Lungs on the expiratory grid.
    inspiration_geometry
        Grid of the inspiratory image.
    volume
        Stiffer field of the same motion for the volume change; by default the same one.

    Raises
    ------
    InputError
        If the field covers less than nine tenths of the lungs.

    """
    parts = {}
    for lung in LUNGS:
        mask = lungs.mask(lung)
        if not mask.any():
            continue
        points = voxel_positions(lungs.geometry, mask)
        index = displacement.geometry.ijk_from_ras(points)
        limit = np.array(displacement.geometry.shape[::-1]) - 0.5
        covered = float(((index > -0.5) & (index < limit)).all(axis=1).mean())
        if covered < 0.9:
            raise InputError(
                f"the transform covers {100 * covered:.0f} % of the {title(lung).lower()}; it "
                "belongs to another scan, or its direction is the opposite one"
            )
        jacobian = jacobian_of(displacement)
        values = ndimage.map_coordinates(jacobian, index.T[::-1], order=0, mode="nearest")
        parts[lung] = PartFields(
            alignment=displacement,
            volume=displacement if volume is None else volume,
            folded_share=float((values <= 0).mean()),
            repairs=0,
        )
    return Registration(
        parts=parts,
        labels=_part_labels(parts, lungs, None),
        inspiration_geometry=inspiration_geometry,
        missing={
            lung: f"no {title(lung).lower()} at expiration" for lung in LUNGS if lung not in parts
        },
    )


def _refine(
    scans: tuple[Part, Part],
    start: DisplacementField,
    marks: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    stages: Stages,
    progress: Progress,
) -> PartFields:
    # The stiff solution first: the softer one then needs a few steps only.
    stiff = align(
        *scans, stages=stages.volume, start=start, landmarks=marks, progress=part(progress, 0, 0.6)
    )
    soft = stiff
    if stages.fine != stages.volume:
        soft = align(
            *scans,
            stages=stages.fine,
            start=stiff,
            landmarks=marks,
            progress=part(progress, 0.6, 1),
        )
    soft, share, repairs = repair_folding(soft, scans[0])
    stiff = stiff if soft is stiff else repair_folding(stiff, scans[0])[0]
    return PartFields(alignment=soft, volume=stiff, folded_share=share, repairs=repairs)


def repair_folding(
    displacement: DisplacementField, part: Part
) -> tuple[DisplacementField, float, int]:
    """Smooth a field where it folds or nearly does, until it does no more.

    Returns
    -------
    repaired : DisplacementField
        Jacobian above `lungperfusion.vq.jacobian.LEAST_JACOBIAN` inside the mask.
    folded_share : float
        Share of the mask that had a Jacobian of 0 or less, before.
    repairs : int
        Rounds of smoothing; 0 for a field that was sound.

    """
    grid = displacement.geometry
    inside = part_mask_on(part, grid)
    jacobian = jacobian_of(displacement)
    count = max(1, int(inside.sum()))
    folded_share = float((inside & (jacobian <= 0)).sum()) / count
    array = displacement.ras_mm
    for repairs in range(_MOST_REPAIRS):
        bad = inside & (jacobian < LEAST_JACOBIAN)
        if not bad.any():
            return DisplacementField(array, grid), folded_share, repairs
        weight = ndimage.gaussian_filter(
            ndimage.binary_dilation(bad, iterations=3).astype(np.float32), 2.0
        )[..., None]
        smooth = np.stack(
            [ndimage.gaussian_filter(array[..., axis], 2.0) for axis in range(3)], axis=-1
        )
        array = array + weight * (smooth - array)
        jacobian = jacobian_of(DisplacementField(array, grid))
    return DisplacementField(array, grid), folded_share, _MOST_REPAIRS


def part_mask_on(part: Part, grid: Geometry) -> Mask:
    """Mask of a part at the nodes of a grid."""
    return np.asarray(
        resample_array(part.mask, part.ct.geometry, grid, interpolation="nearest", fill=0)
    )


def _too_small(lung: Region, masks: tuple[Mask, Mask], grids: tuple[Geometry, Geometry]) -> str:
    for mask, grid, state in zip(masks, grids, ("expiratory", "inspiratory"), strict=True):
        volume = float(np.count_nonzero(mask)) * grid.voxel_volume_ml
        if volume < SMALLEST_PART_ML:
            return f"the {title(lung).lower()} has {volume:.3g} mL in the {state} scan"
    return ""


def _parts_of(
    lung: Region, masks: tuple[Mask, Mask], lobes: tuple[Labelmap, Labelmap] | None
) -> dict[Region, tuple[Mask, Mask]]:
    """Lobes of a lung if every one of them is large enough in both scans, else the lung."""
    if lobes is None:
        return {lung: masks}
    found = {lobe: (lobes[0].mask(lobe), lobes[1].mask(lobe)) for lobe in _LOBES_OF[lung]}
    grids = lobes[0].geometry, lobes[1].geometry
    if any(_too_small(lobe, pair, grids) for lobe, pair in found.items()):
        return {lung: masks}
    return found


def _part_labels(
    found: Mapping[Region, PartFields], lungs: Labelmap, lobes: Labelmap | None
) -> Labelmap:
    labels = np.zeros(lungs.geometry.shape, np.uint8)
    for region in found:
        source = lungs if region in LUNGS else lobes
        if source is not None:
            labels[source.mask(region)] = STRUCTURES[region].label
    return Labelmap(
        labels, lungs.geometry, {STRUCTURES[region].label: region.value for region in found}
    )


def _check_landmarks(
    landmarks: tuple[NDArray[np.float64], NDArray[np.float64]], here: Geometry, there: Geometry
) -> None:
    first, second = landmarks
    if first.ndim != 2 or first.shape != second.shape or first.shape[1] != 3 or not len(first):
        raise InputError(
            "landmarks come in pairs of points with three coordinates; "
            f"given are arrays of shape {first.shape} (expiration) and {second.shape}"
        )
    for points, grid, state in ((first, here, "expiratory"), (second, there, "inspiratory")):
        index = grid.ijk_from_ras(points)
        outside = ((index < -0.5) | (index > np.array(grid.shape[::-1]) - 0.5)).any(axis=1)
        if outside.any():
            raise InputError(
                f"{int(outside.sum())} of {len(points)} landmarks lie outside the {state} scan; "
                "give them in mm in the patient space of their own image"
            )


def _landmarks_in(
    landmarks: tuple[NDArray[np.float64], NDArray[np.float64]] | None, lungs: Labelmap, lung: Region
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if landmarks is None:
        return None
    index = np.rint(lungs.geometry.ijk_from_ras(landmarks[0])).astype(int)
    limit = np.array(lungs.geometry.shape[::-1]) - 1
    i, j, k = np.clip(index, 0, limit).T
    inside = lungs.mask(lung)[k, j, i]
    return (landmarks[0][inside], landmarks[1][inside]) if inside.any() else None


def _in_threads(tasks: Sequence[Callable[[Progress], Any]], progress: Progress) -> list[Any]:
    """Run tasks on two threads, or here; report and cancel from the calling thread alone."""
    if thread_count(_THREADS) == 1:  # as in `lungperfusion.threads.in_order`
        count = len(tasks)
        return [task(part(progress, n / count, (n + 1) / count)) for n, task in enumerate(tasks)]
    stop = threading.Event()
    fractions = [0.0] * len(tasks)

    def reporter(number: int) -> Progress:
        def report(fraction: float, message: str) -> None:
            fractions[number] = fraction
            if stop.is_set():
                raise CancelledError("registration cancelled")

        return report

    with ThreadPoolExecutor(thread_count(_THREADS)) as pool:
        futures: list[Future[Any]] = [
            pool.submit(task, reporter(number)) for number, task in enumerate(tasks)
        ]
        try:
            waiting = set(futures)
            while waiting:
                progress(sum(fractions) / len(fractions), "aligning the lungs")
                finished, waiting = wait(waiting, timeout=0.25, return_when=FIRST_EXCEPTION)
                for future in finished:
                    future.result()  # raises what the task raised
            progress(1.0, "aligning the lungs")
        finally:
            stop.set()
        return [future.result() for future in futures]
