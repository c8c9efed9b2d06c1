"""Left and right lung and the airways in a chest CT, by classical image analysis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.acquisition import Acquisition
from lungperfusion.body import (
    TISSUE_HU,
    Coarse,
    coarse_copy,
    components,
    from_upright,
    lung_air,
    to_upright,
)
from lungperfusion.errors import InputError
from lungperfusion.morphology import dilated, distance_mm
from lungperfusion.progress import Progress, ignore
from lungperfusion.quality import Gate
from lungperfusion.segmentation.airways import find_airways, find_trachea
from lungperfusion.segmentation.bowel import without_bowel
from lungperfusion.segmentation.gates import lung_gates
from lungperfusion.segmentation.pathology import diseased_lung
from lungperfusion.stature import body_width_mm, relative_size, require_patient
from lungperfusion.terms import AIRWAYS, LOBES, LUNGS, STRUCTURES, Region, lung_of, title
from lungperfusion.volume import Labelmap, Mask, Volume, bounding_box, present_labels

LEFT, RIGHT, TREE = (STRUCTURES[name].label for name in (*LUNGS, AIRWAYS))

NAMES = {LEFT: Region.LEFT_LUNG.value, RIGHT: Region.RIGHT_LUNG.value, TREE: AIRWAYS}
LUNG_SIDES = {LEFT, RIGHT}
SIDE_OF: dict[str, int] = {
    **{lobe.value: LEFT if lung_of(lobe) == LUNGS[0] else RIGHT for lobe in (*LOBES, *LUNGS)},
    AIRWAYS: TREE,
}
"""Label of the side that each named region belongs to."""

VESSEL_CLOSING_MM = 6.0
"""Radius of the closing that takes vessels and hilar branches into the lung."""

WIDEST_CONTACT_MM = 25.0
"""Lungs that touch part before they have shrunk by this much."""

SECOND_LUNG_SHARE = 0.1
"""A second piece must be at least this share of both to be the other lung."""

SIDES_APART_MM = 40.0
"""Left and right lung lie at least this far apart, centre to centre."""

SMALLEST_LUNGS_ML = 150.0
"""Less aerated lung than this is no chest CT; of an adult, as all sizes here (`Coarse.size`)."""


@dataclass(frozen=True, eq=False)
class LungSegmentation:
    """Lungs and airways with their quality gates."""

    labelmap: Labelmap
    gates: tuple[Gate, ...]
    warnings: tuple[str, ...]


def segment_lungs(
    ct: Volume, *, acquisition: Acquisition | None = None, progress: Progress = ignore
) -> LungSegmentation:
    """Find left lung, right lung and airways in a chest CT.

    Air inside the patient is found on a coarse copy and told from gas and table, trachea and main
    bronchi are taken off, the rest is divided into two lungs; the outlines are then drawn on the
    full grid, half way between lung and soft tissue.  Vessels and what a ball of
    `VESSEL_CLOSING_MM` cannot reach from outside belong to the lung, so the hilum is cut by a
    smooth surface; the airways, as far as they can be followed, do not.  Dense tissue is taken for
    diseased lung, and said so in a warning, where the image shows it to be: enclosed by aerated
    lung, between it and the ribs behind or beside it, or around bronchi that hold air; what may as
    well be heart, liver, fat or fluid is left out and reported by the gate ``missed_disease``.  Gas
    of stomach and bowel is no lung.

    Parameters
    ----------
    ct
        Chest CT in HU; any orientation, axis order, obliqueness and spacing.
    acquisition
        Technical facts for the quality gates, if the file told them.
    progress
        Told how far it is; may raise to cancel.

    Returns
    -------
    LungSegmentation
        Labels ``left_lung``, ``right_lung`` and ``airways`` on the grid of the CT, quality gates
        and warnings.  Padding (``ct.valid``) carries no label.

    Raises
    ------
    InputError
        If the values are not in HU or the image shows no aerated lung.

    """
    ct.require_unit("HU", "the chest CT")
    warnings: list[str] = []
    progress(0.0, "chest")
    width_mm = body_width_mm(ct)
    require_patient(ct, width_mm)
    coarse = coarse_copy(ct, size=relative_size(width_mm))
    air, gas = lung_air(coarse)
    progress(0.2, "trachea")
    trachea = find_trachea(coarse, air, gas)
    if not trachea.any():
        warnings.append("No trachea was found in the image; airways are left out.")
    air, bowel = without_bowel(coarse, air, trachea)
    if np.count_nonzero(air) * coarse.voxel_ml < SMALLEST_LUNGS_ML:
        raise InputError(
            f"a chest CT with aerated lungs was expected, but only "
            f"{coarse.volume_ml(air):.0f} mL of the image look like lung; "
            "check that this is a CT of the chest in HU"
        )
    progress(0.3, "airways")
    array = to_upright(ct.array, ct.geometry)
    valid = None if ct.valid is None else to_upright(ct.valid, ct.geometry)
    labels = np.zeros(array.shape, np.uint8)
    main = np.zeros_like(air)
    airways = find_airways(array, coarse, air, trachea)
    if airways is not None:
        main = airways.main
        labels[airways.box][airways.tree] = TREE
        if airways.warning:
            warnings.append(airways.warning)
    progress(0.5, "left and right")
    lung = air & ~dilated(main, max(coarse.spacing_mm) * 1.01, coarse.spacing_mm)
    sides = split_sides(coarse, lung, main)
    progress(0.6, "outlines")
    lung = sides > 0
    disease = diseased_lung(coarse, sides, main, trachea, coarse.any_of(labels == TREE))
    if disease.any():
        warnings.append(
            f"About {coarse.volume_ml(disease):.0f} mL of dense tissue inside the rib cage were "
            "taken for diseased lung; look at the outlines there."
        )
        sides = extended(sides, disease, coarse)
    refine(array, valid, coarse, sides, lung, main | bowel, labels)
    labels = from_upright(labels, ct.geometry)
    progress(0.9, "quality")
    labelmap = Labelmap(labels, ct.geometry, NAMES)
    gates = lung_gates(ct, labelmap, acquisition, coarse=coarse)
    return LungSegmentation(labelmap, gates, tuple(warnings))


def lungs_from_mask(
    ct: Volume, mask: Labelmap, *, acquisition: Acquisition | None = None
) -> LungSegmentation:
    """Make left and right lung of an external lung or lobe mask.

    Parameters
    ----------
    ct
        The CT it belongs to, in HU.
    mask
        One label for both lungs, two labels, or five lobes, on the grid of the CT.  Names of
        `lungperfusion.terms` are obeyed (with ``airways``, if there are any); labels of other
        names are told apart by where they lie.
    acquisition
        Technical facts for the quality gates.

    Raises
    ------
    InputError
        If the mask is empty, has another number of labels, or sides that contradict their place.
    GeometryMismatchError
        If the mask is not on the grid of the CT.

    """
    ct.require_unit("HU", "the chest CT")
    ct.geometry.require_same(mask.geometry, what="CT and lung mask")
    present = set(present_labels(mask.array))
    names = {value: name for value, name in mask.names.items() if value in present}
    known = {value: SIDE_OF[name] for value, name in names.items() if name in SIDE_OF}
    lobes = [name for name in names.values() if name in LOBES]
    if len(lobes) == 1 and not set(names.values()) & set(LUNGS):
        raise InputError(
            f"the lung mask holds a single lobe ({title(lobes[0]).lower()}), which is no lung; "
            "give all lobes, such as the folder that holds one file for each"
        )
    warnings: list[str] = []
    lookup = np.zeros(max(present, default=0) + 1, np.uint8)
    if LUNG_SIDES & set(known.values()):
        ignored = sorted(name for value, name in names.items() if value not in known)
        if ignored:
            warnings.append(f"Labels of the lung mask that are not lung were left out: {ignored}.")
        for value, side in known.items():
            lookup[value] = side
        labels = lookup[mask.array]
        _require_sides(labels, mask)
    elif len(present) == 1:
        labels = _split_mask(ct, mask, warnings)
    elif len(present) in (2, 5):
        for value, side in _sides_by_place(mask, sorted(present)).items():
            lookup[value] = side
        labels = lookup[mask.array]
    else:
        raise InputError(
            "a lung mask with one label (both lungs), two (left and right) or five (lobes) was "
            f"expected, but it holds {len(present)} labels {sorted(present)[:12]}; "
            "keep the lung labels only"
        )
    if not (labels == TREE).any():
        warnings.append("The lung mask holds no airways; checks of tracheal air are left out.")
    labelmap = Labelmap(labels, ct.geometry, NAMES)
    return LungSegmentation(labelmap, lung_gates(ct, labelmap, acquisition), tuple(warnings))


def _centre_r(mask: Mask, labels: Labelmap) -> float:
    k, j, i = (float(index.mean()) for index in np.nonzero(mask))
    return float(labels.geometry.ras_from_ijk((i, j, k))[0])


def _require_sides(labels: NDArray[np.uint8], mask: Labelmap) -> None:
    left, right = labels == LEFT, labels == RIGHT
    if left.any() and right.any() and _centre_r(left, mask) > _centre_r(right, mask):
        raise InputError(
            "the left lung of the mask was expected on the patient's left, but lies to the right "
            "of the right lung; check label names and image orientation"
        )


def _sides_by_place(mask: Labelmap, values: list[int]) -> dict[int, int]:
    centres = {value: _centre_r(mask.array == value, mask) for value in values}
    ordered = sorted(values, key=centres.__getitem__)
    if len(values) == 2:
        return {ordered[0]: LEFT, ordered[1]: RIGHT}
    gap = centres[ordered[2]] - centres[ordered[1]]
    if gap < 40.0:
        raise InputError(
            "two lobes on the patient's left and three on the right were expected, but the centres "
            f"of the second and third label from the left lie only {gap:.0f} mm apart; "
            "check the labels of the lobe mask"
        )
    return dict(zip(ordered, (LEFT, LEFT, RIGHT, RIGHT, RIGHT), strict=True))


def _split_mask(ct: Volume, mask: Labelmap, warnings: list[str]) -> NDArray[np.uint8]:
    coarse = coarse_copy(ct, size=relative_size(body_width_mm(ct)))
    lung = to_upright(mask.array > 0, mask.geometry)
    whole = (slice(0, lung.shape[0]), slice(0, lung.shape[1]), slice(0, lung.shape[2]))
    blocks = coarse.any_of(lung)
    sides = split_sides(coarse, blocks, np.zeros_like(blocks))
    labels = np.where(lung, coarse.spread(sides, whole), 0).astype(np.uint8)
    if len(np.unique(labels[lung])) == 1:
        warnings.append("The lung mask was taken for a single lung.")
    return from_upright(labels, ct.geometry)


def extended(sides: NDArray[np.uint8], more: Mask, coarse: Coarse) -> NDArray[np.uint8]:
    """Give additional blocks to the nearer lung."""
    out = sides.copy()
    box = bounding_box(more | (sides > 0))
    left = distance_mm(sides[box] == LEFT, coarse.spacing_mm)
    right = distance_mm(sides[box] == RIGHT, coarse.spacing_mm)
    if not (sides == LEFT).any():
        left[:] = np.inf
    if not (sides == RIGHT).any():
        right[:] = np.inf
    nearer = np.where(left < right, np.uint8(LEFT), np.uint8(RIGHT))
    out[box][more[box]] = nearer[more[box]]
    return out


def split_sides(coarse: Coarse, lung: Mask, tube: Mask) -> NDArray[np.uint8]:
    """Label left and right lung on the coarse grid.

    Lungs that touch are shrunk until they part; from there each floods back along dark voxels, so
    that they meet on the bright line between them.
    """
    sides = np.zeros(lung.shape, np.uint8)
    box = bounding_box(lung, (1, 1, 1))
    inside, hu = lung[box], coarse.hu[box]
    sides[box] = _split(inside, hu, coarse, tube[box])
    return sides


def _split(lung: Mask, hu: NDArray[np.float32], coarse: Coarse, tube: Mask) -> NDArray[np.uint8]:
    total = np.count_nonzero(lung)
    depth: NDArray[np.float32] | None = None
    for radius in (0.0, *np.arange(1.0, WIDEST_CONTACT_MM, max(1.0, min(coarse.spacing_mm) / 2))):
        if radius and depth is None:
            depth = distance_mm(~lung, coarse.spacing_mm)
        labels, _ = components(lung if depth is None else depth > radius)
        sizes = np.bincount(labels.ravel(), minlength=3)
        sizes[0] = 0
        first, second = np.argsort(-sizes, kind="stable")[:2]
        if sizes[first] < 0.1 * total:
            break
        if sizes[second] > SECOND_LUNG_SHARE * sizes.sum() and sizes[second] > 0.02 * total:
            x = [float(np.nonzero(labels == n)[2].mean()) for n in (first, second)]
            if abs(x[0] - x[1]) * coarse.spacing_mm[2] > SIDES_APART_MM:
                right, left = (first, second) if x[0] > x[1] else (second, first)
                markers = np.zeros(labels.shape, np.uint8)
                markers[labels == left], markers[labels == right] = LEFT, RIGHT
                return spread_labels(markers, lung, hu, coarse.spacing_mm)
    labels, _ = components(lung)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    main = labels == int(np.argmax(sizes))
    side = RIGHT if is_right(hu, main, tube) else LEFT
    return np.where(lung, np.uint8(side), np.uint8(0))


def is_right(hu: NDArray[np.float32], lung: Mask, tube: Mask) -> bool:
    """Whether a single lung is the right one: seen from the trachea, else from the skin."""
    where = np.nonzero(lung)
    x = float(where[2].mean())
    if tube.any():
        return x > float(np.nonzero(tube)[2].mean())
    slices = np.unique(where[0])
    outside = (hu[slices] < -900) & ~lung[slices]
    half = round(x)
    return bool(np.count_nonzero(outside[:, :, half:]) > np.count_nonzero(outside[:, :, :half]))


def spread_labels(
    markers: NDArray[np.uint8],
    mask: Mask,
    hu: NDArray[np.float32],
    spacing_mm: tuple[float, float, float],
) -> NDArray[np.uint8]:
    """Flood a mask from its markers along dark voxels; islands take the nearest label."""
    pieces, count = components(mask)
    # What hangs together with one marker only needs no flooding.
    reach = np.zeros((2, count + 1), np.bool_)
    for row, side in enumerate((LEFT, RIGHT)):
        reach[row, np.unique(pieces[markers == side])] = True
    reach[:, 0] = False
    lookup = np.zeros(count + 1, np.uint8)
    lookup[reach[0] & ~reach[1]], lookup[reach[1] & ~reach[0]] = LEFT, RIGHT
    out = lookup[pieces]
    shared = np.flatnonzero(reach[0] & reach[1])
    if shared.size:
        part = np.isin(pieces, shared)
        box = bounding_box(part, (1, 1, 1))
        relief = np.where(part[box], np.clip(hu[box] + 1024, 0, 4000), 5000).astype(np.uint16)
        flooded = sitk.GetArrayFromImage(
            sitk.MorphologicalWatershedFromMarkers(
                sitk.GetImageFromArray(relief),
                sitk.GetImageFromArray(markers[box]),
                markWatershedLine=False,
            )
        )
        out[box][part[box]] = flooded[part[box]]
    lost = mask & (out == 0)
    if lost.any():
        nearer = distance_mm(out == LEFT, spacing_mm) < distance_mm(out == RIGHT, spacing_mm)
        out[lost] = np.where(nearer[lost], LEFT, RIGHT)
    return out


def refine(
    array: NDArray[Any],
    valid: Mask | None,
    coarse: Coarse,
    sides: NDArray[np.uint8],
    aerated: Mask,
    excluded: Mask,
    labels: NDArray[np.uint8],
) -> None:
    """Draw the outlines of the lungs on the full grid, into ``labels``.

    ``excluded`` are blocks of main airways and bowel, which are no lung however dark.  The surface
    is where the CT crosses half way between lung and soft tissue.  What the lung encloses, and what
    a ball of `VESSEL_CLOSING_MM` cannot reach from outside (vessels, hilar branches), belong to it.
    """
    lung = sides > 0
    threshold = (float(np.median(coarse.hu[aerated])) + TISSUE_HU) / 2
    reach = max(coarse.spacing_mm) * 1.8
    margin = [round((VESSEL_CLOSING_MM + 4) / s) + 2 for s in coarse.spacing_mm]
    for value in (LEFT, RIGHT):
        mask = sides == value
        if not mask.any():
            continue
        box = bounding_box(mask, (margin[0], margin[1], margin[2]))
        inside, other, main = mask[box], lung[box] & ~mask[box], excluded[box]
        near = dilated(inside, reach, coarse.spacing_mm) & ~other & ~main
        filled, field = _closed(inside, other, main, coarse)
        dense = inside & ~aerated[box]
        if dense.any():
            filled |= dilated(dense, max(coarse.spacing_mm) * 1.01, coarse.spacing_mm)
        fine = coarse.fine_box(box)
        near_fine = coarse.spread(near, fine)
        filled_fine = coarse.spread(filled, fine)
        source, target = array[fine], labels[fine]
        for k, plane in enumerate(coarse.interpolate(field, fine)):
            chosen = (source[k] < threshold) & near_fine[k]
            chosen |= (plane > 0) & filled_fine[k]
            if valid is not None:
                chosen &= valid[fine][k]
            target[k][chosen & (target[k] == 0)] = value


def _closed(
    lung: Mask, other: Mask, main: Mask, coarse: Coarse
) -> tuple[Mask, NDArray[np.float32]]:
    """Close one lung: blocks to look at, and a field that is positive inside the closed lung."""
    spacing = coarse.spacing_mm
    grown = distance_mm(lung, spacing) <= VESSEL_CLOSING_MM
    # Beyond the end of the image the lung goes on as it ends there.
    depth = distance_mm(~np.pad(grown, 1, mode="edge"), spacing)[1:-1, 1:-1, 1:-1]
    field = (depth - VESSEL_CLOSING_MM).astype(np.float32)
    holes = ndimage.binary_fill_holes(lung | main) & ~lung & ~main
    field[holes] = np.maximum(field[holes], 1.0)
    field[other | main] = -VESSEL_CLOSING_MM
    added = (field > 0) & ~lung
    step = max(spacing) * 1.01
    filled = dilated(added, step, spacing) | (field > 2.0 * max(spacing))
    return filled, field
