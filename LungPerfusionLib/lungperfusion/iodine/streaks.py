"""Streaks of undiluted contrast in an iodine map, found by their direction.

Streaks are errors of single projections, which back-projection smears along straight lines through
the dense vein, across the whole slice.  A perfusion defect has no reason to do so: it keeps to the
tree of an artery and to the pleura.  In slices with undiluted contrast, rays from it along which
iodine departs from what is expected, from where they enter a lung and on, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.quality import Gate
from lungperfusion.regions import RegionSet
from lungperfusion.terms import LUNGS
from lungperfusion.volume import FloatArray, Geometry, Mask, Volume

SECTOR_DEGREES = 3.0
"""Width of a ray: 5 mm at 10 cm, about the blur of the smoothed map."""

STEP_MM = 10.0
"""Length of a piece of a ray."""

LEAST_STREAK_MM = 30.0
"""Length over which iodine must depart; shorter, a few vessels or a lobule decide."""

DEPARTURE = 0.3
"""Departure from the expected iodine, as a share of it, averaged along the ray: some 3 standard
deviations of a ray of healthy lung, whose voxels vary by 25 % over 5 mm and lobules by 10 %."""

WIDEST_DEGREES = 36.0
"""Neighbouring rays that depart alike over more than this are no streak but a lung or a lobe."""

SLICES_MM = 5.0
"""Streaks run in the plane of the rotating tube; slices this close to dense contrast have them."""

SOURCE_MM = 8.0
"""Dense contrast that extends in the slice is taken as several sources this far apart."""


def find_streaks(
    enhancement: Volume,
    expected: FloatArray,
    measurable: Mask,
    dense: Mask,
    regions: RegionSet,
) -> Mask:
    """Find lung whose iodine is biased along rays from undiluted contrast.

    Parameters
    ----------
    enhancement
        Smoothed iodine.
    expected
        What each voxel would have, `expected_enhancement`; same unit and grid.
    measurable
        Lung whose iodine counts otherwise.
    dense
        Undiluted contrast.
    regions
        Lungs on the same grid.

    Returns
    -------
    ndarray
        Voxels of streaks, shape (K, J, I).

    """
    geometry = enhancement.geometry
    out = np.zeros(geometry.shape, np.bool_)
    if not dense.any():
        return out
    axis, _ = geometry.array_axis_toward("S")
    reach = int(np.ceil(SLICES_MM / geometry.spacing_kji_mm[axis]))
    planes = [np.moveaxis(array, axis, 0) for array in (dense, measurable, out)]
    departure = np.moveaxis(enhancement.array, axis, 0), np.moveaxis(expected, axis, 0)
    lungs = [np.moveaxis(regions.mask(lung), axis, 0) for lung in LUNGS]
    spacing = _in_plane_mm(geometry, axis)
    for index in range(planes[0].shape[0]):
        near = planes[0][max(0, index - reach) : index + reach + 1].any(axis=0)
        if not near.any():
            continue
        sources = list(_sources(near, spacing))
        for lung in lungs:
            known = lung[index] & planes[1][index]
            if not known.any():
                continue
            places = np.argwhere(known) * spacing
            level = departure[1][index][known]
            relative = np.where(level > 0, departure[0][index][known] / level - 1, 0)
            hit = np.zeros(len(places), np.bool_)
            for source in sources:
                hit |= _along_rays(places - source, relative)
            planes[2][index][known] |= hit
    return out


def judge_streaks(
    defects: Mask, measurable: Mask, dense: Mask | None, geometry: Geometry
) -> tuple[Gate, ...]:
    """Compare defects in slices with undiluted contrast with those elsewhere.

    What is left of streaks shows as defects that other slices do not have.
    """
    if dense is None or not dense.any():
        return ()
    axis, _ = geometry.array_axis_toward("S")
    others = tuple(n for n in range(3) if n != axis)
    reach = int(np.ceil(SLICES_MM / geometry.spacing_kji_mm[axis]))
    near = ndimage.maximum_filter(dense.any(axis=others), 2 * reach + 1)
    lost, all_of = (mask.sum(axis=others, dtype=np.float64) for mask in (defects, measurable))
    here, elsewhere = (
        float(lost[part].sum() / max(1, all_of[part].sum())) for part in (near, ~near)
    )
    good = here < LEAST_SUSPECT or here < SUSPECT_RATIO * elsewhere
    return (
        Gate(
            id="streaks",
            verdict="pass" if good else "warn",
            message=f"In slices with undiluted contrast {100 * here:.1f} % of the lung is a "
            f"defect, in the others {100 * elsewhere:.1f} %"
            + ("." if good else ": look whether they are streaks of the contrast."),
            value=here,
            unit="1",
            limit=f"below {LEAST_SUSPECT:g}, or {SUSPECT_RATIO:g} times that of other slices",
        ),
    )


LEAST_SUSPECT = 0.01
SUSPECT_RATIO = 3.0
"""More defects in slices with undiluted contrast than this, and than in others, may be streaks."""


def _in_plane_mm(geometry: Geometry, axis: int) -> NDArray[np.float64]:
    spacing = [s for n, s in enumerate(geometry.spacing_kji_mm) if n != axis]
    return np.array(spacing)


def _sources(dense: Mask, spacing_mm: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Middle of every part of the dense contrast in a slice, mm."""
    labels, count = ndimage.label(dense)
    for number in range(1, count + 1):
        places = np.argwhere(labels == number) * spacing_mm
        first = places.min(axis=0)
        parts = np.floor((places - first) / SOURCE_MM).astype(int)
        keys, member = np.unique(parts, axis=0, return_inverse=True)
        for key in range(len(keys)):
            yield places[member.ravel() == key].mean(axis=0)


def _along_rays(offset_mm: NDArray[np.float64], relative: NDArray[np.floating]) -> Mask:
    """Which of some voxels lie on rays that depart from where they enter the lung."""
    count = round(360 / SECTOR_DEGREES)
    away = np.hypot(offset_mm[:, 0], offset_mm[:, 1])
    angle = np.arctan2(offset_mm[:, 0], offset_mm[:, 1]) / (2 * np.pi) * count
    sector = np.floor(angle).astype(int) % count
    piece = (away / STEP_MM).astype(int)
    steps = int(piece.max()) + 1
    cell = sector * steps + piece
    size = np.bincount(cell, minlength=count * steps).reshape(count, steps)
    total = np.bincount(cell, relative, count * steps).reshape(count, steps)
    run_size, run_total = np.cumsum(size, axis=1), np.cumsum(total, axis=1)
    mean = run_total / np.maximum(run_size, 1)
    length = np.cumsum(size > 0, axis=1) * STEP_MM
    short, there = length < LEAST_STREAK_MM, size > 0
    bad = np.zeros((count, steps), np.bool_)
    for sign in (-1, 1):
        all_along = np.logical_and.accumulate((sign * mean > DEPARTURE) | short, axis=1)
        departs = all_along & ~short & there
        last = np.where(departs.any(axis=1), steps - np.argmax(departs[:, ::-1], axis=1), 0)
        narrow = _narrow(last > 0)
        bad |= (np.arange(steps) < last[:, None]) & narrow[:, None]
    bad |= np.roll(bad, 1, axis=0) | np.roll(bad, -1, axis=0)  # the rays' own blur
    return np.asarray(bad.ravel()[cell])


def _narrow(departs: Mask) -> Mask:
    """Keep runs of neighbouring rays, around the circle, that are not wider than a streak."""
    if departs.all():
        return np.zeros_like(departs)
    start = int(np.argmin(departs))
    labels, count = ndimage.label(np.roll(departs, -start))
    sizes = np.bincount(labels, minlength=count + 1) * SECTOR_DEGREES
    keep = sizes <= WIDEST_DEGREES
    keep[0] = False
    return np.roll(keep[labels], start)
