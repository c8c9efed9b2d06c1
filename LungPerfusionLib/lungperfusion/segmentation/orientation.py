"""Whether the organs lie where the header of the image puts head, front and left.

A stack of slices in the wrong order, or turned pictures under an old header, look like a chest and
give volumes like one, with the sides or the ends mixed up.  Several signs of anatomy are weighed
for each direction; one of them alone, which disease or habit may turn, never speaks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.body import AIR_HU, Coarse
from lungperfusion.quality import Gate
from lungperfusion.terms import LUNGS, STRUCTURES
from lungperfusion.volume import Mask

CLEAR = 0.5
"""A sign of this weight speaks for itself; 1 is the usual anatomy, -1 its mirror image."""

WRONG = -0.55
"""A direction is doubted when its signs have this mean and at least two of them speak against it:
three of full weight are outvoted by one for the usual anatomy, as disease of one lung moves several
signs of left and right at once."""

SMALLER_LUNG_SHARE = 0.15
"""One lung must hold this part of both for the sides to be compared."""

CUT_SHARE = 0.1
"""A lung that ends on the border of the image with this part of its largest section is cut off."""

END_SHARE = 0.25
"""Lowest and highest part of the lungs where their ends are compared."""

NARROWING = 0.2
"""Lungs are wider near the base than near the apex by at least this part of the mean: the rib cage
narrows from the 8th to the 1st rib."""

MEDIASTINUM_RATIO = 1.5
"""Between the lungs there is more tissue beside the heart than above it by at least this factor."""

DOME_MM = 15.0
"""Apices and domes of the diaphragm bulge toward the head by more (domes by 15 mm and more in
health: Lennon and Simon 1965, Br J Radiol 38:937)."""

TRACHEA_MM2 = (40.0, 700.0)
"""Lumen of the trachea in a section: 13 to 25 mm wide in adults (Breatnach 1984, AJR 142:903),
partial volume of its wall and a tracheobronchomegaly allowed for."""

TRACHEA_HU = -800.0
"""Blocks of the coarse copy within the lumen are darker."""

TRACHEA_MM = 25.0
"""The trachea is seen between the upper parts of the lungs over at least this length."""

HEART_MM = 6.0
"""The heart's weight lies to the left of the middle by at least this: two thirds of the heart."""

AORTA_MM = 6.0
"""Beside the spine, tissue reaches farther to the left than to the right by at least this: the
descending aorta, of 20 to 30 mm, lies there, and lung on the other side."""

AORTA_SLICES = 5
"""Slices that the aorta is looked for in at least."""

RIGHT_SHARE = 0.06
"""The right lung holds more than the left by this part of both (53 to 57 %)."""

RIGHT_DOME_MM = 8.0
"""The right dome is higher by about half an intercostal space in nine of ten people (Lennon and
Simon 1965, Br J Radiol 38:937)."""

RECESS_MM = 25.0
"""Behind, the lungs reach lower than in front by more than this: the diaphragm is attached from
the xiphoid down to the first lumbar vertebrae."""

APEX_MM = 25.0
"""Behind, the lungs reach higher than in front by more than this: the first rib slopes down to the
sternum by half its length of 90 mm and more."""

BONE_HU = 180.0
"""Blocks of the coarse copy above are bone, or vessels in contrast, whose places are left out."""

BONE_STRIP_MM = 30.0
"""Half width of the strip around the midline where spine and sternum are looked for."""

BONE_MM2 = 80.0
"""Least bone in the midline of an average section for its place to be told."""

BACK_SHARE, FRONT_SHARE = 0.25, 0.75
"""Parts of the lungs' depth behind and before which spine and sternum lie; vessels full of contrast
medium lie between."""


@dataclass(frozen=True)
class Sign:
    """One finding about one direction."""

    score: float
    """1 for the usual anatomy, -1 for its mirror image, between for less clear findings."""
    words: str
    """What was found if the score is negative."""


def orientation_gate(coarse: Coarse, blocks: NDArray[Any]) -> Gate:
    """Compare where the organs lie with what the header says.

    Parameters
    ----------
    coarse
        Coarse copy of the CT.
    blocks
        Labels of its blocks.

    Returns
    -------
    Gate
        ``orientation``: ``fail`` where several signs speak against head or front, ``warn`` where
        they do so against left only, which patients with mirrored organs have as well, ``unknown``
        where too little of the chest is there to tell.

    """
    chest = _chest(coarse, blocks)
    if chest is None:
        return Gate(
            id="orientation",
            verdict="unknown",
            message="Where head, front and left are could not be checked: that takes both lungs.",
        )
    directions = (
        (_head_signs(chest), "the image seems to be upside down"),
        (_front_signs(chest), "front and back seem to be exchanged"),
        (
            _left_signs(chest),
            "left and right seem to be exchanged, unless disease has moved the heart or the organs "
            "of this patient are mirrored (situs inversus)",
        ),
    )
    doubted = [(signs, said) for signs, said in directions if _speak_against(signs)]
    if doubted:
        doubts = "; ".join(f"{said}: {_in_words(signs)}" for signs, said in doubted)
        return Gate(
            id="orientation",
            verdict="warn" if doubted == [directions[-1]] else "fail",
            message=f"By the anatomy, {doubts}. Check the order of the slices and the header; "
            "sides, lobes and zones may be wrong.",
        )
    if not any(_speak_for(signs) for signs, _ in directions):
        return Gate(
            id="orientation",
            verdict="unknown",
            message="Too little of the chest is in the image to check head, front and left.",
        )
    return Gate(
        id="orientation",
        verdict="pass",
        message="Nothing in the anatomy contradicts the header about head, front and left.",
    )


def _speak_against(signs: Iterable[Sign]) -> bool:
    scores = [sign.score for sign in signs]
    against = sum(score <= -CLEAR for score in scores)
    return against >= 2 and sum(scores) <= WRONG * len(scores)


def _speak_for(signs: Iterable[Sign]) -> bool:
    return any(sign.score >= CLEAR for sign in signs)


def _in_words(signs: Iterable[Sign]) -> str:
    return ", ".join(sign.words for sign in signs if sign.score < 0)


def _scored(value: float, usual: float, words: str) -> Sign:
    return Sign(float(np.clip(value / usual, -1.0, 1.0)), words)


# ------------------------------------------------------------------------------------ the chest


@dataclass(frozen=True, eq=False)
class _Chest:
    """Coarse arrays with axes (head, front, right), cut to the height of the lungs."""

    hu: NDArray[np.float32]
    left: Mask
    right: Mask
    spacing_mm: tuple[float, float, float]
    cut: tuple[bool, bool]
    """Whether the lungs are cut off at the foot and at the head end."""

    @property
    def lung(self) -> Mask:
        return self.left | self.right

    def part(self, low: float, high: float) -> slice:
        """Slices between two shares of the height of the lungs."""
        n = len(self.hu)
        return slice(round(low * n), max(round(low * n) + 1, round(high * n)))


def _chest(coarse: Coarse, blocks: NDArray[Any]) -> _Chest | None:
    # of a mirrored chest, the heart may have been taken for consolidation of a lung
    air = coarse.hu < AIR_HU
    left, right = (_largest(air & (blocks == STRUCTURES[name].label)) for name in LUNGS)
    sizes = sorted((np.count_nonzero(left), np.count_nonzero(right)))
    if sizes[0] <= SMALLER_LUNG_SHARE * sum(sizes):
        return None
    area = np.count_nonzero(left | right, axis=(1, 2))
    # where lung and trachea are taken for one, a thin end of the mask is no lung
    tall = np.flatnonzero(area > 0.02 * area.max())
    ends = slice(tall[0], tall[-1] + 1)
    measured = np.flatnonzero(coarse.valid.any(axis=(1, 2)))
    cut = [
        bool(area[end] > CUT_SHARE * area.max() and abs(end - last) <= 1)
        for end, last in ((tall[0], measured[0]), (tall[-1], measured[-1]))
    ]
    return _Chest(
        coarse.hu[ends],
        left[ends],
        right[ends],
        coarse.spacing_mm,
        (cut[0], cut[1]),
    )


def _largest(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


# ------------------------------------------------------------------------------ head and feet


def _head_signs(chest: _Chest) -> list[Sign]:
    low, high = (_trachea_mm(chest, *part) for part in ((0.0, END_SHARE), (1 - END_SHARE, 1.0)))
    signs = [_scored(high - low, TRACHEA_MM, "the trachea leaves the lungs toward the feet")]
    if not chest.cut[1]:
        low, high = (_width_mm(chest, *part) for part in ((0.05, 0.25), (0.75, 0.95)))
        signs.append(
            _scored(
                2 * (low - high) / (low + high),
                NARROWING,
                f"the lungs are narrower toward the feet ({low:.0f} mm) than toward the head "
                f"({high:.0f} mm)",
            )
        )
    if not any(chest.cut):
        low, high = (_between_mm2(chest, *part) for part in ((0.2, 0.5), (0.6, 0.9)))
        signs.append(
            _scored(
                float(np.log((low + 1) / (high + 1)) / np.log(MEDIASTINUM_RATIO)),
                1.0,
                "the heart lies toward the head",
            )
        )
    bulge = _bulge_mm(chest)
    if bulge is not None:
        signs.append(
            _scored(bulge, DOME_MM, "the domes of the diaphragm or the apices point to the feet")
        )
    return signs


def _width_mm(chest: _Chest, low: float, high: float) -> float:
    """From the outer edge of one lung to that of the other, median over slices."""
    columns = [np.flatnonzero(row) for row in chest.lung[chest.part(low, high)].any(axis=1)]
    widths = [found[-1] - found[0] + 1 for found in columns if found.size]
    return float(np.median(widths)) * chest.spacing_mm[2] if widths else 0.0


def _between(chest: _Chest, part: slice) -> Mask:
    """Places with the left lung on one side and the right lung on the other."""
    left, right = chest.left[part], chest.right[part]
    from_left = np.logical_or.accumulate(left, axis=2)
    from_right = np.flip(np.logical_or.accumulate(np.flip(right, 2), axis=2), 2)
    return np.asarray(from_left & from_right & ~left & ~right)


def _between_mm2(chest: _Chest, low: float, high: float) -> float:
    between = _between(chest, chest.part(low, high))
    return float(np.count_nonzero(between) / len(between) * np.prod(chest.spacing_mm[1:]))


def _trachea_mm(chest: _Chest, low: float, high: float) -> float:
    """Length over which one round hole lies between the lungs, whatever it was labelled."""
    part = chest.part(low, high)
    block_mm2 = float(np.prod(chest.spacing_mm[1:]))
    seen = 0
    for hu in chest.hu[part]:
        labels, _ = ndimage.label(hu < TRACHEA_HU)
        areas = np.bincount(labels.ravel()) * block_mm2
        seen += any(
            TRACHEA_MM2[0] <= areas[label] <= TRACHEA_MM2[1] and _is_central(box, chest)
            for label, box in enumerate(ndimage.find_objects(labels), start=1)
            if box is not None
        )
    return seen * chest.spacing_mm[0]


def _is_central(box: tuple[slice, ...], chest: _Chest) -> bool:
    """Whether a hole lies in the middle fifth of the lungs' width, and is about as wide as deep."""
    columns = np.flatnonzero(chest.lung.any(axis=(0, 1)))
    place = ((box[1].start + box[1].stop - 1) / 2 - columns[0]) / max(1, np.ptp(columns))
    deep, wide = ((s.stop - s.start) * mm for s, mm in zip(box, chest.spacing_mm[1:], strict=True))
    return bool(0.4 <= place <= 0.6 and 0.4 <= deep / wide <= 2.5)


def _bulge_mm(chest: _Chest) -> float | None:
    """How far the ends of the lungs bulge toward the head in the middle of each lung, mean."""
    found = []
    for side in (chest.left, chest.right):
        held = side.any(axis=0)
        depth = ndimage.distance_transform_edt(np.pad(held, 1), sampling=chest.spacing_mm[1:])
        depth = depth[1:-1, 1:-1]
        inner = held & (depth > 0.6 * depth.max())
        rim = held & (depth < 0.3 * depth.max())
        foot = side.argmax(axis=0)
        head = len(side) - np.flip(side, 0).argmax(axis=0)
        for end, cut in zip((foot, head), chest.cut, strict=True):
            if not cut and inner.any() and rim.any():
                found.append(float(end[inner].mean() - np.median(end[rim])))
    return float(np.mean(found)) * chest.spacing_mm[0] if found else None


# ----------------------------------------------------------------------------- front and back


def _front_signs(chest: _Chest) -> list[Sign]:
    signs = []
    sides = (chest.left, chest.right)
    if not chest.cut[1]:
        signs.append(_bone_sign(chest))
        apex = np.mean([_lower_behind_mm(chest, np.flip(side, 0)) for side in sides])
        signs.append(
            _scored(float(apex), APEX_MM, "the tops of the lungs reach higher in front than behind")
        )
    if not chest.cut[0]:
        recess = np.mean([_lower_behind_mm(chest, side) for side in sides])
        signs.append(
            _scored(
                float(recess), RECESS_MM, "the lungs reach lower in front of the liver than behind"
            )
        )
    return signs


def _lower_behind_mm(chest: _Chest, side: Mask) -> float:
    """How much nearer to the first slice a lung reaches behind than in front."""
    held = side.any(axis=0)
    rows = np.nonzero(held)[0]
    end = side.argmax(axis=0)[held]
    back, front = np.percentile(rows, (20, 80))
    away = float(np.median(end[rows >= front]) - np.median(end[rows <= back]))
    return away * chest.spacing_mm[0]


def _bone_sign(chest: _Chest) -> Sign:
    """Spine or sternum: which end of the midline holds more bone above the heart."""
    part = chest.part(0.6, 0.95)
    lung = chest.lung[part]
    rows, columns = (np.flatnonzero(lung.any(axis=(0, axis))) for axis in (2, 1))
    middle, reach = int(columns.mean()), round(BONE_STRIP_MM / chest.spacing_mm[2])
    bone = chest.hu[part, :, max(0, middle - reach) : middle + reach + 1] > BONE_HU
    behind, before = (int(rows[0] + at * np.ptp(rows)) for at in (BACK_SHARE, FRONT_SHARE))
    block_mm2 = float(np.prod(chest.spacing_mm[1:])) / len(bone)
    ends = bone[:, :behind], bone[:, before:]
    back, front = (np.count_nonzero(end) * block_mm2 for end in ends)
    if back + front < BONE_MM2:
        return Sign(0.0, "")
    return _scored((back - front) / (back + front), CLEAR, "the spine lies in front of the lungs")


# ------------------------------------------------------------------------------ left and right


def _left_signs(chest: _Chest) -> list[Sign]:
    left, right = (np.count_nonzero(side) for side in (chest.left, chest.right))
    signs = []
    if not any(chest.cut):
        signs.append(
            _scored((right - left) / (right + left), RIGHT_SHARE, "the left lung is the larger one")
        )
    if not chest.cut[1]:
        signs.append(_scored(_heart_mm(chest), HEART_MM, "the heart lies on the right"))
        aorta = _scored(_aorta_mm(chest), AORTA_MM, "the aorta lies to the right of the spine")
        signs.append(aorta)
    if not chest.cut[0]:
        domes = [_dome(side) for side in (chest.left, chest.right)]
        signs.append(
            _scored(
                (domes[1] - domes[0]) * chest.spacing_mm[0],
                RIGHT_DOME_MM,
                "the left dome of the diaphragm is the higher one",
            )
        )
    return signs


def _heart_mm(chest: _Chest) -> float:
    """How far the tissue between the lungs lies to the left of their middle, beside the heart."""
    part = chest.part(0.25, 0.55)
    found = []
    for between, lung in zip(_between(chest, part), chest.lung[part], strict=True):
        columns = np.flatnonzero(lung.any(axis=0))
        if between.any():
            found.append((columns[0] + columns[-1]) / 2 - np.nonzero(between)[1].mean())
    return float(np.median(found)) * chest.spacing_mm[2] if found else 0.0


def _aorta_mm(chest: _Chest) -> float:
    """How much farther tissue reaches to the left of the spine than to the right, in front of it.

    Median over slices beside the heart; 0 where too few show the spine between both lungs.
    """
    part = chest.part(0.3, 0.7)
    lung = chest.lung[part]
    columns = np.flatnonzero(lung.any(axis=(0, 1)))
    reach = BONE_STRIP_MM / chest.spacing_mm[2]
    strip = np.abs(np.arange(lung.shape[2]) - (columns[0] + columns[-1]) / 2) <= reach
    block_mm2 = float(np.prod(chest.spacing_mm[1:]))
    found = []
    for between, section, hu in zip(_between(chest, part), lung, chest.hu[part], strict=True):
        rows = np.flatnonzero(section.any(axis=1))
        if not rows.size:
            continue
        first, low, high = (rows[0] + round(at * len(rows)) for at in (0.18, 0.2, 0.5))
        spine = np.nonzero((hu[:first] > BONE_HU) & strip)[1]
        if spine.size * block_mm2 < BONE_MM2:
            continue
        edges = [np.flatnonzero(row)[[0, -1]] for row in between[low:high] if row.any()]
        found += [2 * float(spine.mean() - np.mean(edges))] if edges else []
    return float(np.median(found)) * chest.spacing_mm[2] if len(found) >= AORTA_SLICES else 0.0


def _dome(side: Mask) -> float:
    """Height of the middle of the base of a lung, in slices."""
    held = side.any(axis=0)
    j, i = np.nonzero(held)
    foot = side.argmax(axis=0)[held]
    (j1, j2), (i1, i2) = np.percentile(j, (25, 75)), np.percentile(i, (25, 75))
    return float(np.median(foot[(j >= j1) & (j <= j2) & (i >= i1) & (i <= i2)]))
