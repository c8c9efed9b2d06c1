"""Density of blood in a chest CT: one estimate for every analysis, and the places it rests on.

Blood is measured where anatomy says that there is blood: in the descending aorta (an even round
disc between the lungs, in the back of the chest, followed from slice to slice), in the heart (the
core of the soft tissue between the lungs that no lung lies above, as lung lies above liver and
spleen) and, with contrast medium, in the pulmonary trunk in front of the carina.  Vessels of the
lung hold about as much arterial as venous blood; aorta and heart stand for the one, trunk and
heart for the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from lungperfusion.body import Coarse, coarse_copy, from_upright, to_upright
from lungperfusion.iodine.calibration import REFERENCE_HU_PER_MG_ML
from lungperfusion.iodine.trunk import find_carina, find_trunk
from lungperfusion.morphology import dilated, distance_mm, opened
from lungperfusion.stature import body_width_mm, relative_size
from lungperfusion.terms import LUNGS
from lungperfusion.volume import Box, Geometry, Labelmap, Mask, Volume, bounding_box

UNENHANCED_HU = (20.0, 75.0)
"""Blood without contrast: 13 (severe anaemia) to 75 (high haematocrit), with noise."""

DEFAULT_BLOOD_HU = 40.0
"""Blood without contrast agent: 35 to 55 HU with the haematocrit (methods.md D.3)."""

CONTRAST_FROM_HU = 90.0
"""Denser blood holds contrast agent: above any haematocrit, with room for beam hardening."""

BLOOD_RANGE_HU = (-10.0, 700.0)
"""Averages over blood with anaemia and noise, and with dense contrast agent; denser is metal,
bone or undiluted contrast agent."""

AGREE_HU, AGREE_SHARE = 30.0, 0.15
"""Places of one blood agree within the first, or within this share of their mean: right and left
heart of a scan of one phase do; arterial and venous phase, or liver taken for heart, do not."""

QUIET_HU, SMOOTHING_MM, MOST_SMOOTHINGS = 20.0, 5.0, 2
"""Blocks noisier than the first are smoothed toward head and foot, along the aorta: in the plane
the thin rim of a vertebra, by which its marrow is told from blood, must stay."""

# ---- aorta ---------------------------------------------------------------------------------------

AORTA_RADII_MM = (8.0, 10.0, 12.0, 14.0, 17.0, 20.0)
"""Descending aorta: 12 mm in the mean (Wolak 2008, JACC Cardiovasc Imaging 1:200), widened 20."""

AORTA_DEPTH = 0.6
"""It lies within this share of the depth of the lungs at its level, from their back."""

WALL_MM = 3.0
"""Wall of a vessel with the partial volume on either side."""

RING_POINTS = 24
"""Directions in which the tissue around a disc is looked at."""

DARKER_HU, DARKER_SHARE = 25.0, 0.2
"""Tissue is darker (or brighter) than a disc by the first and noise, or by this share of the disc
over fat."""

LEAST_SCORE = 0.4
"""Share of the circumference that must be darker (lung, fat, tissue without contrast agent), less
what is brighter (bone, calcium): spine and oesophagus take up to half of it."""

LEAST_AORTA_MM = 30.0
"""Length over which a disc must be followed: the dome of the liver, round and even in lung, too,
widens to more than an aorta within a third of that."""

# ---- heart ---------------------------------------------------------------------------------------

ONE_SIDED_MM = 90.0
"""Width of a mediastinum, measured from the only lung that was found."""

CENTRAL_MM = 30.0
"""Within this distance of the midline lie heart and great vessels, whatever is above them."""

AERATED_HU, AERATED_MM = -600.0, 16.0
"""Farther out, aerated lung this thick above a place means liver, spleen or stomach below it."""

INNER_SHARE = 0.03
"""Share of a lung that reaches over its inner border, before the heart and behind the gullet."""

HEART_BALL_MM = 10.0
"""Pieces that no ball of this radius fits into are no heart."""

HEART_CORE_MM, HEART_CORE_SHARE = 6.0, 0.45
"""Depth of the heart's core: beyond fat and effusion around it; at least, and of the greatest."""

CHAMBERS_APART_HU, CHAMBERS_SHARE = 60.0, 0.15
"""Enhanced chambers stand out from the muscle by at least this; they fill at least that much."""

INSIDE_LUNG_MM = 8.0
"""Beyond ribs and chest wall, where dense tissue of the lung is looked at."""

LEAST_CORES_MM = 30.0
"""Length of wide vessels that tells the density of their blood."""

LEAST_SITE_ML = 2.0
"""Less blood is no sample."""

Float32 = NDArray[np.float32]
Source = Literal["given", "label map", "heart and great vessels", "vessels of the lung", "default"]
Place = Literal["heart", "descending_aorta", "pulmonary_trunk"]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class BloodSite:
    """Blood at one place: its median density and how much of it was looked at."""

    place: Place
    hu: float
    volume_ml: float
    box: Box
    mask: Mask
    """Where: voxels of that box of the CT."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class BloodDensity:
    """Density of blood with where it comes from."""

    hu: float
    source: Source
    words: str
    """A sentence for the report."""
    sites: tuple[BloodSite, ...] = ()

    @property
    def has_contrast(self) -> bool:
        """Whether the blood holds contrast agent."""
        return self.hu >= CONTRAST_FROM_HU

    @property
    def disagreement_hu(self) -> float:
        """Greatest difference between places."""
        values = [site.hu for site in self.sites]
        return max(values) - min(values) if values else 0.0

    @property
    def agrees(self) -> bool:
        """Whether all places tell the same density."""
        return self.disagreement_hu <= max(AGREE_HU, AGREE_SHARE * self.hu)


def given_blood_density(hu: float) -> BloodDensity:
    """Take the user's word."""
    return BloodDensity(hu=hu, source="given", words=f"{hu:.0f} HU as given")


def blood_density_of_label(ct: Volume, labels: Labelmap, *names: str) -> BloodDensity | None:
    """Median density in labelled blood, such as aorta or heart chambers, without its border.

    None where the labels hold less than 0.2 mL of inner voxels.
    """
    mask = labels.mask(*names)
    if not mask.any():
        return None
    box = bounding_box(mask, (1, 1, 1))
    inner = mask[box]
    for _ in range(2):
        smaller = ndimage.binary_erosion(inner)
        if np.count_nonzero(smaller) * ct.geometry.voxel_volume_ml < 0.2:
            break
        inner = smaller
    values = ct.array[box][inner]
    if values.size * ct.geometry.voxel_volume_ml < 0.2:
        return None
    hu = float(np.median(values))
    words = f"{hu:.0f} HU, median of the labels {', '.join(names)}"
    return BloodDensity(hu=hu, source="label map", words=words)


def blood_density_of_cores(core_hu: NDArray[np.float64], length_mm: float) -> BloodDensity | None:
    """Density in the middle of the widest vessels of the lung themselves.

    Parameters
    ----------
    core_hu
        Densities on their axes.
    length_mm
        Length of these axes together.

    Returns
    -------
    BloodDensity or None
        None for less than `LEAST_CORES_MM` of axis.

    """
    if length_mm < LEAST_CORES_MM:
        return None
    hu = float(np.median(core_hu))
    words = f"{hu:.0f} HU, median over {length_mm:.0f} mm of the widest vessels of the lung"
    return BloodDensity(hu=hu, source="vessels of the lung", words=words)


def find_blood_density(
    ct: Volume, lungs: Labelmap, *, coarse: Coarse | None = None
) -> BloodDensity:
    """Measure blood in heart, aorta and pulmonary trunk, or fall back on a default.

    Parameters
    ----------
    ct
        Chest CT in HU.
    lungs
        ``left_lung`` and ``right_lung``, one of them at least, and where known ``airways``, on the
        grid of the CT.
    coarse
        `coarse_copy` of the CT, where there is one already.

    Returns
    -------
    BloodDensity
        With contrast agent the mean of arterial and venous blood of the lung: trunk (else heart)
        and aorta (else heart).  Where heart and aorta do not agree on whether there is contrast
        agent, an enhanced aorta is believed: round and followed for centimetres, it is nothing
        else.  ``source`` is ``"default"`` where neither was found.

    """
    ct.require_unit("HU", "the chest CT")
    ct.geometry.require_same(lungs.geometry, what="CT and lungs")
    coarse = coarse or coarse_copy(ct, size=relative_size(body_width_mm(ct)))
    chest = _Chest.of(coarse, lungs)
    sites = [] if chest is None else _heart_and_aorta(chest, ct.geometry)
    if any(site.hu >= CONTRAST_FROM_HU for site in sites):
        sites += _pulmonary_trunk(ct, lungs)
    if not sites:
        return BloodDensity(
            hu=DEFAULT_BLOOD_HU,
            source="default",
            words=f"{DEFAULT_BLOOD_HU:.0f} HU, default for blood without contrast agent: neither "
            "heart nor aorta was found beside the lungs",
        )
    hu = _of_lung_vessels({site.place: site.hu for site in sites})
    places = ", ".join(
        f"{site.place.replace('_', ' ')} {site.hu:.0f} HU ({site.volume_ml:.0f} mL)"
        for site in sites
    )
    return BloodDensity(
        hu=hu,
        source="heart and great vessels",
        words=f"{hu:.0f} HU, measured in {places}",
        sites=tuple(sites),
    )


def _heart_and_aorta(chest: _Chest, geometry: Geometry) -> list[BloodSite]:
    discs = _best_discs(chest)
    aorta = _descending_aorta(chest, discs)
    heart = _heart(chest, aorta)
    heart_hu = math.nan if heart is None else chest.median_hu(heart)
    aorta_hu = math.nan if aorta is None else chest.median_hu(aorta)
    if aorta_hu >= CONTRAST_FROM_HU and not heart_hu >= _half_enhanced(aorta_hu):
        if not _lung_vessels_enhanced(chest):
            aorta = None  # marrow of the spine
        elif heart_hu < CONTRAST_FROM_HU:
            heart = None  # muscle, effusion or liver: contrast agent came through the heart
    elif heart_hu >= CONTRAST_FROM_HU and aorta_hu < _half_enhanced(heart_hu):
        brighter = _descending_aorta(chest, discs, above_hu=_half_enhanced(heart_hu))
        aorta = aorta if brighter is None else brighter
    if heart is not None and heart_hu < CONTRAST_FROM_HU:
        aorta = None  # without contrast agent little parts it from what lies around it
    found: tuple[tuple[Place, Mask | None], ...]
    found = (("heart", heart), ("descending_aorta", aorta))
    return [_site(place, mask, chest, geometry) for place, mask in found if mask is not None]


def _lung_vessels_enhanced(chest: _Chest) -> bool:
    """Whether dense tissue well inside the lungs, vessels mostly, shows contrast agent.

    A tenth of it must be denser than noise makes blood without contrast agent.
    """
    hu = chest.coarse.hu[chest.box]
    inside = distance_mm(~chest.lung, chest.spacing) >= INSIDE_LUNG_MM
    dense = hu[inside & (hu > 0)]
    noise = _noise_hu(hu, (hu > -200) & (hu < 300))
    return bool(dense.size) and float(np.percentile(dense, 90)) > CONTRAST_FROM_HU + 1.28 * noise


def _half_enhanced(hu: float) -> float:
    """Half way from blood without contrast agent; infinite where there is none."""
    return (hu + DEFAULT_BLOOD_HU) / 2 if hu >= CONTRAST_FROM_HU else math.inf


def _of_lung_vessels(hu: dict[Place, float]) -> float:
    heart, aorta = hu.get("heart"), hu.get("descending_aorta")
    if heart is not None and aorta is not None and heart < _half_enhanced(aorta) < math.inf:
        heart = None  # a mixture: what enhances the aorta came through the heart
    venous = aorta if aorta is not None else heart
    arterial = hu.get("pulmonary_trunk", heart if heart is not None else aorta)
    assert venous is not None
    assert arterial is not None
    return (venous + arterial) / 2


# ---- the chest on the coarse upright grid --------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Chest:
    """Blocks of the CT around the lungs, axes (head, front, right)."""

    coarse: Coarse
    box: Box
    hu: Float32
    sides: tuple[Mask, Mask]
    """Left and right lung; one may be empty."""
    between: Mask
    """No lung, but a lung on either hand at the same level and depth."""

    @classmethod
    def of(cls, coarse: Coarse, lungs: Labelmap) -> _Chest | None:
        upright = to_upright(lungs.array, lungs.geometry)
        index = [
            np.minimum(np.arange(n) * f + f // 2, size - 1)
            for n, f, size in zip(coarse.hu.shape, coarse.factors, coarse.fine_shape, strict=True)
        ]
        blocks = upright[np.ix_(*index)]
        values = {name: value for value, name in lungs.names.items()}
        sides = [(blocks > 0) & (blocks == values.get(name, 0)) for name in LUNGS]
        lung = sides[0] | sides[1]
        if not lung.any():
            return None
        margin = int(ONE_SIDED_MM / coarse.spacing_mm[2]) + 1
        box = bounding_box(lung, (0, 0, margin))
        left, right = (side[box] for side in sides)
        hu = _quiet(coarse.hu[box], coarse.spacing_mm)
        return cls(coarse, box, hu, (left, right), _between(left, right, coarse))

    @property
    def lung(self) -> Mask:
        return self.sides[0] | self.sides[1]

    @property
    def spacing(self) -> tuple[float, float, float]:
        return self.coarse.spacing_mm

    def noise_hu(self, where: Mask) -> float:
        """Noise of the blocks in a part of the chest."""
        return _noise_hu(self.hu, where)

    def median_hu(self, blocks: Mask) -> float:
        return float(np.median(self.coarse.hu[self.box][blocks]))

    def soft(self) -> Mask:
        low, high = BLOOD_RANGE_HU
        return np.asarray((self.hu > low) & (self.hu < high))

    def lung_depth(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """First and last row of the lungs at each level."""
        rows = self.lung.any(axis=2)
        first = rows.argmax(axis=1)
        last = rows.shape[1] - 1 - rows[:, ::-1].argmax(axis=1)
        return first.astype(float), last.astype(float)


def _noise_hu(hu: Float32, where: Mask) -> float:
    """Noise of blocks, from the differences of neighbours along the rows."""
    pairs = where[:, :, 1:] & where[:, :, :-1]
    if not pairs.any():
        return 0.0
    steps = np.abs(np.diff(hu, axis=2)[pairs])
    return float(np.median(steps)) / (0.6745 * math.sqrt(2.0))


def _quiet(hu: Float32, spacing: tuple[float, float, float]) -> Float32:
    """Blocks smoothed until muscle is told from air and bone in spite of the noise."""
    for _ in range(MOST_SMOOTHINGS):
        if _noise_hu(hu, (hu > -200) & (hu < 300)) <= QUIET_HU:
            break
        hu = ndimage.gaussian_filter1d(hu, SMOOTHING_MM / spacing[0], axis=0)
    return hu


def _between(left: Mask, right: Mask, coarse: Coarse) -> Mask:
    """Blocks with a lung on either hand; where one lung is missing, those beside the other."""
    if left.any() and right.any():
        passed_left = np.logical_or.accumulate(left, axis=2)
        passed_right = np.logical_or.accumulate(right[:, :, ::-1], axis=2)[:, :, ::-1]
        return np.asarray(passed_left & passed_right & ~left & ~right)
    inward = slice(None) if left.any() else slice(None, None, -1)
    lung = (left | right)[:, :, inward]
    column = np.arange(lung.shape[2])
    last = np.maximum.accumulate(np.where(lung, column, -lung.shape[2] * 2), axis=2)
    near = column - last <= ONE_SIDED_MM / coarse.spacing_mm[2]
    return np.asarray((near & ~lung)[:, :, inward])


def _site(place: Place, blocks: Mask, chest: _Chest, geometry: Geometry) -> BloodSite:
    fine = np.zeros(chest.coarse.fine_shape, np.bool_)
    within = chest.coarse.fine_box(chest.box)
    fine[within] = chest.coarse.spread(blocks, within)
    fine = from_upright(fine, geometry)
    box = bounding_box(fine)
    return BloodSite(
        place=place,
        hu=chest.median_hu(blocks),
        volume_ml=chest.coarse.volume_ml(blocks),
        box=box,
        mask=fine[box].copy(),
    )


# ---- descending aorta ----------------------------------------------------------------------------


def _descending_aorta(chest: _Chest, discs: _Discs, above_hu: float = -math.inf) -> Mask | None:
    """Core of the descending aorta; None where no disc denser than that can be followed."""
    score = np.where(discs.mean_hu > above_hu, discs.score, -1)
    at = _vessel_path(chest, discs, score)
    if at is None:
        return None
    core = _cores(chest, discs, at)
    return core if np.count_nonzero(core) * chest.coarse.voxel_ml >= LEAST_SITE_ML else None


Places = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _vessel_path(chest: _Chest, discs: _Discs, score: Float32) -> Places | None:
    """Middles of discs of one density that follow one another far enough."""
    path = _followed(np.maximum(score, 0) - LEAST_SCORE, chest.spacing)
    path = path[score[tuple(path.T)] >= LEAST_SCORE]
    if not len(path):
        return None
    # An arch, a crossing vein or the spine at the ends of the path have another density.
    mean = discs.mean_hu[tuple(path.T)]
    usual = float(np.median(mean))
    alike = np.abs(mean - usual) <= max(DARKER_HU + discs.noise_hu, DARKER_SHARE * abs(usual))
    path = path[alike]
    if len(path) * chest.spacing[0] < LEAST_AORTA_MM:
        return None
    return path[:, 0], path[:, 1], path[:, 2]


def _cores(chest: _Chest, discs: _Discs, at: Places) -> Mask:
    """Discs without their wall."""
    core = np.zeros(chest.hu.shape, np.bool_)
    _, j, i = (np.arange(n) * mm for n, mm in zip(core.shape, chest.spacing, strict=True))
    for k, row, column in zip(*at, strict=True):
        reach = max(discs.radius_mm[k, row, column] - WALL_MM, chest.spacing[1])
        core[k] |= (j[:, None] - j[row]) ** 2 + (i - i[column]) ** 2 <= reach**2
    return core


@dataclass(frozen=True, eq=False)
class _Discs:
    """The most vessel-like disc around every block of its slice."""

    score: Float32
    """Share of the circumference that is darker, less what is brighter; -1 where none is even."""
    radius_mm: Float32
    mean_hu: Float32
    noise_hu: float


def _best_discs(chest: _Chest) -> _Discs:
    hu, (_, row_mm, column_mm) = chest.hu, chest.spacing
    first, last = chest.lung_depth()
    back = np.arange(hu.shape[1]) <= (first + AORTA_DEPTH * (last - first))[:, None]
    where = chest.between & back[:, :, None]
    noise = chest.noise_hu(chest.between & chest.soft())
    score = np.full(hu.shape, -1.0, np.float32)
    radius, mean_hu = np.zeros_like(score), np.zeros_like(score)
    # A rim of bone is as thin as a block: the brightest neighbour tells marrow from a vessel.
    edge = ndimage.maximum_filter(hu, size=(1, 3, 3))
    for radius_mm in AORTA_RADII_MM:
        disc = _disc(radius_mm - WALL_MM / 2, row_mm, column_mm)
        mean, square = (
            signal.fftconvolve(image, disc[None], mode="same", axes=(1, 2))
            for image in (hu, hu * hu)
        )
        spread = np.sqrt(np.maximum(square - mean * mean, 0))
        even = where & (mean > BLOOD_RANGE_HU[0]) & (mean < BLOOD_RANGE_HU[1])
        even &= spread <= _even_hu(noise, mean)
        at = np.nonzero(even)
        here = mean[at]
        apart = np.maximum(DARKER_HU + noise, DARKER_SHARE * (here + 100.0))
        found = np.zeros(here.size, np.float32)
        for angle in 2 * np.pi * np.arange(RING_POINTS) / RING_POINTS:
            reach = radius_mm + WALL_MM + (row_mm + column_mm) / 4
            row = at[1] + round(reach * np.sin(angle) / row_mm)
            column = at[2] + round(reach * np.cos(angle) / column_mm)
            row, column = np.clip(row, 0, hu.shape[1] - 1), np.clip(column, 0, hu.shape[2] - 1)
            found += hu[at[0], row, column] < here - apart
            found -= edge[at[0], row, column] > here + apart
        found /= RING_POINTS
        better = found > score[at]
        at = tuple(axis[better] for axis in at)
        score[at], radius[at], mean_hu[at] = found[better], radius_mm, here[better]
    return _Discs(score, radius, mean_hu, noise)


def _even_hu(noise_hu: float, mean_hu: Any) -> Any:
    """Largest standard deviation of one material: noise, pulsation, and streaks of contrast."""
    return 12.0 + 2.0 * noise_hu + 0.04 * np.maximum(mean_hu, 0)


def _disc(radius_mm: float, row_mm: float, column_mm: float) -> Float32:
    n, m = int(radius_mm / row_mm), int(radius_mm / column_mm)
    row, column = np.mgrid[-n : n + 1, -m : m + 1]
    disc = (row * row_mm) ** 2 + (column * column_mm) ** 2 <= radius_mm**2
    return np.asarray(disc / np.count_nonzero(disc), np.float32)


def _followed(gain: NDArray[Any], spacing: tuple[float, float, float]) -> NDArray[np.int64]:
    """Path from foot to head that gains most; it leans at most 45 degrees.  Shape (n, 3)."""
    reach = [max(1, round(spacing[0] / mm)) for mm in spacing[1:]]
    size = [2 * n + 1 for n in reach]
    total = gain.astype(np.float32)
    for k in range(len(gain) - 2, -1, -1):
        total[k] += np.maximum(ndimage.maximum_filter(total[k + 1], size=size), 0)
    k, row, column = (int(n) for n in np.unravel_index(int(np.argmax(total)), total.shape))
    path = [(k, row, column)]
    for k in range(path[0][0] + 1, len(gain)):
        low = max(0, row - reach[0]), max(0, column - reach[1])
        window = total[k, low[0] : row + reach[0] + 1, low[1] : column + reach[1] + 1]
        if window.max() <= 0:
            break
        step = np.unravel_index(int(np.argmax(window)), window.shape)
        row, column = low[0] + int(step[0]), low[1] + int(step[1])
        path.append((k, row, column))
    return np.array(path)


# ---- heart ---------------------------------------------------------------------------------------


def _heart(chest: _Chest, aorta: Mask | None) -> Mask | None:
    """Blood in the core of the heart: its chambers, where contrast agent shows them."""
    rows = np.arange(chest.hu.shape[1])
    weight = chest.lung.sum(axis=(1, 2))
    middle = (chest.lung.sum(axis=2) * rows).sum(axis=1) / np.maximum(weight, 1)
    region = chest.between & (rows[None, :, None] >= middle[:, None, None]) & chest.soft()
    region &= ~(_under_lung(chest) & _lateral(chest))
    if aorta is not None:
        region &= ~dilated(aorta, 2 * WALL_MM, chest.spacing)
    region = opened(region, HEART_BALL_MM, chest.spacing)
    if not region.any():
        return None
    depth = distance_mm(~region, chest.spacing)
    core = depth >= max(HEART_CORE_MM, HEART_CORE_SHARE * float(depth.max()))
    mean = ndimage.uniform_filter(chest.hu, 3)
    square = ndimage.uniform_filter(chest.hu * chest.hu, 3)
    spread = np.sqrt(np.maximum(square - mean * mean, 0))
    core &= spread <= _even_hu(chest.noise_hu(region), mean)
    values = mean[core]
    if values.size * chest.coarse.voxel_ml < LEAST_SITE_ML:
        return None
    return np.asarray(core & (mean >= _chambers_from_hu(values)))


def _lateral(chest: _Chest) -> Mask:
    """Columns far from the midline between the inner borders of the lungs, shape (1, 1, I)."""
    column = np.arange(chest.hu.shape[2])
    middle = np.mean([_inner_border(side, n) for n, side in enumerate(chest.sides) if side.any()])
    return np.asarray(np.abs(column - middle) * chest.spacing[2] > CENTRAL_MM)[None, None]


def _inner_border(side: Mask, right: int) -> float:
    """Column that nearly all of a lung lies beside; the right one lies in higher columns."""
    count = side.sum(axis=(0, 1)).cumsum()
    share = INNER_SHARE if right else 1 - INNER_SHARE
    return float(np.searchsorted(count, share * count[-1]))


def _under_lung(chest: _Chest) -> Mask:
    """Blocks with aerated lung above them, labelled or not."""
    aerated = ndimage.uniform_filter(chest.hu, 5) < AERATED_HU
    thick = max(1, round(AERATED_MM / chest.spacing[0]))
    share = ndimage.uniform_filter1d(aerated.astype(np.float32), thick, axis=0)
    return np.asarray(np.logical_or.accumulate((share > 0.99)[::-1], axis=0)[::-1])


def _chambers_from_hu(values: NDArray[Any]) -> float:
    """Density that parts enhanced chambers from muscle (Otsu 1979, IEEE TSMC 9:62), if any."""
    ordered = np.sort(values.astype(np.float64))
    count = np.arange(1, ordered.size)
    below = np.cumsum(ordered)[:-1] / count
    above = (ordered.sum() - np.cumsum(ordered)[:-1]) / (ordered.size - count)
    cut = int(np.argmax(count * (ordered.size - count) * (above - below) ** 2))
    chambers = above[cut] - below[cut] >= CHAMBERS_APART_HU
    chambers &= 1 - (cut + 1) / ordered.size >= CHAMBERS_SHARE
    return float(ordered[cut + 1]) if chambers else float(ordered[0])


# ---- pulmonary trunk -----------------------------------------------------------------------------


def _pulmonary_trunk(ct: Volume, lungs: Labelmap) -> list[BloodSite]:
    """Blood in the pulmonary trunk, as iodine maps find it; none without a carina."""
    carina = find_carina(lungs)
    if carina is None:
        return []
    box = _box_around(ct.geometry, carina)
    part = ct.crop(box)
    enhancement = part.array.astype(np.float32) - np.float32(DEFAULT_BLOOD_HU)
    iodine = part.with_array(enhancement / np.float32(REFERENCE_HU_PER_MG_ML), unit="mg/mL")
    trunk = find_trunk(iodine, lungs.crop(box))
    if isinstance(trunk, str) or trunk.doubt:
        return []
    return [
        BloodSite(
            place="pulmonary_trunk",
            hu=float(np.median(part.array[trunk.mask])),
            volume_ml=trunk.volume_ml,
            box=box,
            mask=trunk.mask,
        )
    ]


TRUNK_REACH_MM = 100.0
"""Around the carina; holds the trunk and the end of the trachea."""


def _box_around(geometry: Geometry, centre_ras_mm: NDArray[np.float64]) -> Box:
    centre = geometry.ijk_from_ras(centre_ras_mm)[::-1]
    k, j, i = (
        slice(max(0, int(c - TRUNK_REACH_MM / mm)), min(n, int(c + TRUNK_REACH_MM / mm) + 2))
        for c, mm, n in zip(centre, geometry.spacing_kji_mm, geometry.shape, strict=True)
    )
    return k, j, i
