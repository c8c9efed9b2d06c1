"""Quality gates of a lung segmentation: whether the numbers that follow can be trusted.

Each gate looks at one thing, says what it found with figures, and never changes the lungs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.acquisition import Acquisition
from lungperfusion.blood import (
    AGREE_HU,
    AGREE_SHARE,
    CONTRAST_FROM_HU,
    UNENHANCED_HU,
    BloodDensity,
    find_blood_density,
)
from lungperfusion.body import Coarse, coarse_copy, to_upright, upright
from lungperfusion.morphology import dilated, eroded
from lungperfusion.noise import measure_noise
from lungperfusion.quality import Gate, Verdict
from lungperfusion.segmentation.airway_quality import airway_gate
from lungperfusion.segmentation.calibration import air_gate, kernel_gate, noise_gate
from lungperfusion.segmentation.orientation import orientation_gate
from lungperfusion.segmentation.pathology import midline, mirror_dents, wall_dents
from lungperfusion.stature import body_width_mm, relative_size
from lungperfusion.terms import AIRWAYS, LUNGS, STRUCTURES, Region
from lungperfusion.threads import both
from lungperfusion.volume import Geometry, Labelmap, Mask, Volume, bounding_box

SIDE_RATIO = (0.7, 1.1)
"""Left to right lung volume in health: the heart takes from the left."""

SIDE_RATIO_FAIL = (0.2, 5.0)
"""Outside, one lung is hardly there or the sides are mixed up."""

VOLUME_L = (1.5, 9.0)
"""Both lungs of an adult between forced expiration and a large full inspiration; less by the cube
of the size in small patients (`Coarse.size`)."""

VOLUME_FAIL_L = (0.4, 12.0)
"""No adult pair of lungs lies outside: the segmentation leaked or failed."""

TRUNCATED_SHARE = (0.002, 0.05)
"""Share of the lung surface on the end of the image: above the first a warning, above the second
volumes are lower bounds only."""

STAIRS = 1.5
"""A smooth surface has 2/3 of the area of its voxel faces, averaged over all directions."""


SLICE_MM = (1.5, 5.0)
"""Slices above the first are too thick for small vessels and fissures, above the second for
volumes near the diaphragm."""

INSPIRATION_MLD_HU = -730.0
"""Mean lung density above: expiration or diffuse disease (full inspiration is near -840 HU)."""

BOWING_MM = 1.0
"""The posterior wall of the trachea is convex in inspiration; farther inward is expiration."""

GAS_ABOVE_AIR_HU = 20.0
"""Coarse voxels less than this above the air of the same scan's trachea hold nothing but gas."""

GAS_HU = -980.0
"""The same where no trachea tells what the scanner calls air."""

GAS_DEPTH_MM = 8.0
"""Gas that fills a ball of this radius is no airway of the lung and no patch of emphysema."""

GAS_ML = 30.0
"""Pockets of pure gas in the lungs that call for a look."""

MISSED_SHARE = 0.005
"""Dense tissue where lung is expected, relative to the lungs, that calls for a look."""

USUAL_HEART_SHARE = 0.14
"""Heart and great vessels take up to this share of the lungs from the left lung alone (7 % in the
phantom, 4 to 13 % in the scans that the project is tested on)."""

USUAL_DOME_SHARE = 0.03
"""One dome may be higher than the mirrored other one, or its fat thicker, by this much."""

USUAL_ASYMMETRY_SHARE = 0.01
"""The sides differ elsewhere by this much without disease."""

DENSE_SHARE = 0.15
"""Share of the lungs above -200 HU (vessels are 5 to 8 %) that calls for a look."""


def lung_gates(
    ct: Volume,
    labelmap: Labelmap,
    acquisition: Acquisition | None = None,
    *,
    coarse: Coarse | None = None,
) -> tuple[Gate, ...]:
    """Check a CT and its lungs.

    Parameters
    ----------
    ct
        Chest CT in HU.
    labelmap
        ``left_lung``, ``right_lung`` and, where known, ``airways``, on the grid of the CT; own or
        external.
    acquisition
        Technical facts, if the file told them.
    coarse
        `coarse_copy` of the CT, where there is one already.

    Returns
    -------
    tuple of Gate
        Always the same gates in the same order; what could not be checked is ``unknown``.

    """
    ct.geometry.require_same(labelmap.geometry, what="CT and lungs")
    facts = acquisition or Acquisition()
    coarse = coarse or coarse_copy(ct, size=relative_size(body_width_mm(ct)))
    blocks = _block_labels(coarse, labelmap)
    blood = find_blood_density(ct, labelmap, coarse=coarse)
    left, right = (labelmap.volume_ml(lung) for lung in LUNGS)
    (truncation, missed, gas), ((air, noise), inspiration, dense) = both(
        lambda: (_truncation(ct, labelmap), _missed(coarse, blocks), _gas(coarse, blocks)),
        lambda: (
            (air_gate(ct, labelmap, coarse), measure_noise(ct, labelmap)),
            _inspiration(ct, labelmap),
            _dense(ct, labelmap),
        ),
    )
    return (
        _both_lungs(left, right),
        _side_ratio(left, right),
        _volume(left, right, coarse.size, truncation),
        truncation,
        air,
        noise_gate(noise),
        kernel_gate(noise, facts),
        _blood(blood),
        _contrast(blood, facts),
        _blood_agreement(blood),
        thickness_gate(ct.geometry, facts),
        inspiration,
        dense,
        missed,
        gas,
        airway_gate(coarse, blocks),
        orientation_gate(coarse, blocks),
    )


def _verdict(value: float, good: tuple[float, float], usable: tuple[float, float]) -> Verdict:
    if good[0] <= value <= good[1]:
        return "pass"
    return "warn" if usable[0] <= value <= usable[1] else "fail"


def _both_lungs(left: float, right: float) -> Gate:
    if left and right:
        return Gate(id="both_lungs", verdict="pass", message="Left and right lung were found.")
    side, other = ("left", "right") if left else ("right", "left")
    if not left and not right:
        return Gate(id="both_lungs", verdict="fail", message="No lung was found.")
    return Gate(
        id="both_lungs",
        verdict="warn",
        message=f"Only a {side} lung ({max(left, right) / 1000:.2f} L) was found; all values of "
        f"the {other} lung are missing, and those of both lungs are those of the {side} one; "
        "the gate missed_disease tells whether dense tissue lies in its place.",
    )


def _side_ratio(left: float, right: float) -> Gate:
    limit = f"{SIDE_RATIO[0]} to {SIDE_RATIO[1]}"
    if not (left and right):
        return Gate(
            id="side_ratio",
            verdict="unknown",
            message="The volumes of left and right lung cannot be compared: one is missing.",
            limit=limit,
        )
    ratio = left / right
    verdict = _verdict(ratio, SIDE_RATIO, SIDE_RATIO_FAIL)
    tail = {
        "pass": "as usual",
        "warn": "unusual: look for volume loss, effusion, or lungs that were divided wrongly",
        "fail": "one lung is hardly there, or the sides are mixed up",
    }[verdict]
    return Gate(
        id="side_ratio",
        verdict=verdict,
        message=f"Left lung {left / 1000:.2f} L, right lung {right / 1000:.2f} L: "
        f"ratio {ratio:.2f}, {tail}.",
        value=ratio,
        unit="1",
        limit=limit,
    )


def _volume(left: float, right: float, size: float, truncation: Gate) -> Gate:
    litres = (left + right) / 1000
    share = (1.0 if left and right else 0.5) * size**3
    good = (VOLUME_L[0] * share, VOLUME_L[1] * share)
    usable = (VOLUME_FAIL_L[0] * share, VOLUME_FAIL_L[1] * share)
    verdict = _verdict(litres, good, usable)
    whose = "an adult" if size == 1.0 else "a body of this width"
    if truncation.verdict == "fail" and litres <= good[1]:
        verdict = "unknown"
        tail = "the part inside the image: whether the whole is plausible cannot be judged"
    elif verdict == "pass":
        tail = f"plausible for {whose}"
    elif litres > good[1]:
        tail = f"more than expected of {whose}: look for a leak into bowel or outside air"
    else:
        tail = (
            f"less than expected of {whose}: look for expiration, a child, missed disease "
            "or a scan that does not cover the lungs"
        )
    return Gate(
        id="lung_volume",
        verdict=verdict,
        message=f"The lung volume is {litres:.2f} L, {tail}.",
        value=litres,
        unit="L",
        limit=f"{good[0]:.2g} to {good[1]:.2g} L",
    )


_ENDS = (("foot", "head"), ("back", "front"), ("left", "right"))


def _truncation(ct: Volume, lungs: Labelmap) -> Gate:
    axes, _ = upright(ct.geometry)
    dk, dj, di = (ct.geometry.spacing_kji_mm[axis] for axis in axes)
    faces = (dj * di, dk * di, dk * dj)
    lung = to_upright(lungs.mask(Region.LEFT_LUNG, Region.RIGHT_LUNG), lungs.geometry)
    if not lung.any():
        return Gate(id="truncation", verdict="unknown", message="No lung, so none is cut off.")
    box = bounding_box(lung, (1, 1, 1))
    inner = lung[box]
    valid = None if ct.valid is None else to_upright(ct.valid, ct.geometry)[box]
    ends: dict[str, float] = {}
    surface = padding = 0.0
    for axis, area in enumerate(faces):
        low = [slice(None)] * 3
        high = [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        first, second = inner[tuple(low)], inner[tuple(high)]
        surface += np.count_nonzero(first != second) * area
        if valid is not None:
            open_end = (first & ~valid[tuple(high)]) | (second & ~valid[tuple(low)])
            padding += np.count_nonzero(open_end) * area
        for index, name in zip((0, -1), _ENDS[axis], strict=True):
            face = np.count_nonzero(np.take(lung, index, axis)) * area
            if face:
                ends[name] = face
    if padding:
        ends["the edge of the circular scan field"] = padding / STAIRS
    cut = sum(ends.values())
    total = (surface - padding) / STAIRS + cut
    share = cut / total
    verdict = _verdict(share, (0, TRUNCATED_SHARE[0]), (0, TRUNCATED_SHARE[1]))
    where = ", ".join(
        f"{name} {100 * area / total:.1f} %" for name, area in ends.items() if area / total > 5e-4
    )
    if verdict == "pass":
        message = f"The lungs lie within the image ({100 * share:.2f} % of their surface cut off)."
    else:
        message = (
            f"The lungs are cut off by the field of view: {100 * share:.1f} % of their surface "
            f"lies on its end ({where}); volumes and masses are lower bounds."
        )
    return Gate(
        id="truncation",
        verdict=verdict,
        message=message,
        value=share,
        unit="1",
        limit=f"at most {100 * TRUNCATED_SHARE[0]:g} % of the surface",
    )


def _block_labels(coarse: Coarse, lungs: Labelmap) -> NDArray[Any]:
    array = to_upright(lungs.array, lungs.geometry)
    index = [
        np.minimum(np.arange(n) * f + f // 2, size - 1)
        for n, f, size in zip(coarse.hu.shape, coarse.factors, coarse.fine_shape, strict=True)
    ]
    return np.asarray(array[np.ix_(*index)])


def _blood(blood: BloodDensity) -> Gate:
    low, high = UNENHANCED_HU
    limit = f"{low:.0f} to {high:.0f} HU without contrast"
    if blood.source == "default":
        return Gate(
            id="blood_calibration",
            verdict="unknown",
            message="The CT number of blood could not be checked: neither heart nor aorta was "
            "found.",
            limit=limit,
        )
    if blood.has_contrast:
        return Gate(
            id="blood_calibration",
            verdict="unknown",
            message=f"Blood with contrast medium ({blood.words}) tells nothing about the "
            "calibration of the scanner.",
            value=blood.hu,
            unit="HU",
            limit=limit,
        )
    good = low <= blood.hu <= high
    tail = "as blood without contrast" if good else "unusual for blood without contrast"
    return Gate(
        id="blood_calibration",
        verdict="pass" if good else "warn",
        message=f"Blood: {blood.words}: {tail}.",
        value=blood.hu,
        unit="HU",
        limit=limit,
    )


def _contrast(blood: BloodDensity, facts: Acquisition) -> Gate:
    limit = f"contrast from {CONTRAST_FROM_HU:.0f} HU"
    if blood.source == "default":
        said = {None: "does not say", True: "says yes", False: "says no"}[facts.contrast_agent]
        return Gate(
            id="contrast",
            verdict="unknown",
            message=f"Contrast medium could not be seen or excluded; the file {said}.",
            limit=limit,
        )
    seen = blood.has_contrast
    message = (
        f"Contrast medium is present (blood {blood.hu:.0f} HU): densities of lung and vessels are "
        "higher than without."
        if seen
        else f"No contrast medium is seen (blood {blood.hu:.0f} HU)."
    )
    agrees = facts.contrast_agent is None or facts.contrast_agent == seen
    if not agrees:
        message += f" The file says {'yes' if facts.contrast_agent else 'no'} to contrast medium."
    return Gate(
        id="contrast",
        verdict="pass" if agrees and not seen else "warn",
        message=message,
        value=blood.hu,
        unit="HU",
        limit=limit,
    )


def _blood_agreement(blood: BloodDensity) -> Gate:
    """Judge whether several places tell the same density of blood."""
    limit = f"within {AGREE_HU:.0f} HU or {AGREE_SHARE:.0%} of each other"
    if len(blood.sites) < 2:
        alone = "one place alone" if blood.sites else "no place"
        unenhanced = blood.sites and not blood.has_contrast
        return Gate(
            id="blood_agreement",
            verdict="pass" if unenhanced else "unknown",
            message=f"Blood: {blood.words}: without contrast medium the heart says enough."
            if unenhanced
            else f"Blood was measured in {alone}: nothing confirms {blood.hu:.0f} HU.",
            limit=limit,
        )
    tail = (
        "the places agree"
        if blood.agrees
        else "the places differ, by the phase of the contrast medium or because one is no blood: "
        "whatever rests on the density of blood is uncertain by as much"
    )
    return Gate(
        id="blood_agreement",
        verdict="pass" if blood.agrees else "warn",
        message=f"Blood: {blood.words}; {tail}.",
        value=blood.disagreement_hu,
        unit="HU",
        limit=limit,
    )


def thickness_gate(geometry: Geometry, facts: Acquisition) -> Gate:
    """Judge slice thickness or spacing, whichever is larger."""
    axes, _ = upright(geometry)
    step, *plane = (geometry.spacing_kji_mm[axis] for axis in axes)
    thick = max(step, facts.slice_thickness_mm or 0.0)
    verdict = _verdict(thick, (0, SLICE_MM[0]), (0, SLICE_MM[1]))
    message = f"Slices are {thick:g} mm thick, {step:g} mm apart, pixels {max(plane):.2f} mm"
    gap = facts.slice_thickness_mm is not None and step > 1.2 * facts.slice_thickness_mm
    if gap:
        message += f"; between slices of {facts.slice_thickness_mm:g} mm there are gaps"
        verdict = "warn" if verdict == "pass" else verdict
    tail = {
        "pass": "",
        "warn": "; small vessels, fissures and bronchi are blurred",
        "fail": "; too thick for fissures, small vessels and exact volumes",
    }[verdict]
    return Gate(
        id="slice_thickness",
        verdict=verdict,
        message=f"{message}{tail}.",
        value=thick,
        unit="mm",
        limit=f"at most {SLICE_MM[0]:g} mm",
    )


def _inspiration(ct: Volume, lungs: Labelmap) -> Gate:
    values = ct.values(lungs.mask(Region.LEFT_LUNG, Region.RIGHT_LUNG))
    aerated = values[values < -200]
    if not aerated.size:
        return Gate(id="inspiration", verdict="unknown", message="There is no aerated lung.")
    density = float(aerated.mean(dtype=np.float64))
    bowing = trachea_bowing_mm(ct, lungs)
    signs = []
    if density > INSPIRATION_MLD_HU:
        signs.append(f"a mean lung density of {density:.0f} HU")
    if bowing is not None and bowing > BOWING_MM:
        signs.append(f"a posterior tracheal wall {bowing:.1f} mm concave")
    if signs:
        message = f"The scan looks expiratory: {' and '.join(signs)}."
    else:
        wall = (
            "the trachea could not be judged"
            if bowing is None
            else f"posterior tracheal wall {-bowing:.1f} mm convex"
            if bowing < 0
            else f"posterior tracheal wall flat within {max(bowing, 0.1):.1f} mm"
        )
        message = f"The scan looks inspiratory: mean lung density {density:.0f} HU, {wall}."
    return Gate(
        id="inspiration",
        verdict="warn" if signs else "pass",
        message=message,
        value=density,
        unit="HU",
        limit=f"at most {INSPIRATION_MLD_HU:.0f} HU, wall at most {BOWING_MM:g} mm concave",
    )


def trachea_bowing_mm(ct: Volume, lungs: Labelmap) -> float | None:
    """How far the posterior wall of the trachea bows inward: median over slices, mm.

    Positive when the middle third of the posterior wall lies in front of the line through the
    outer thirds (the membrane bulges into the lumen in expiration).  Only single round sections
    in the upper airway count; None when there are fewer than five.
    """
    airways = to_upright(lungs.mask(AIRWAYS), lungs.geometry)
    if not airways.any():
        return None
    axes, _ = upright(ct.geometry)
    _, dj, di = (ct.geometry.spacing_kji_mm[axis] for axis in axes)
    box = bounding_box(airways)
    bows: list[float] = []
    for plane in airways[box][::-1]:
        labels, count = ndimage.label(plane)
        sizes = np.bincount(labels.ravel())[1:] * dj * di
        if count != 1 or not 40.0 <= sizes[0] <= 900.0:
            if bows and count > 1 and (sizes > 40).sum() > 1:
                break  # below the carina
            continue
        columns = np.flatnonzero(plane.any(axis=0))
        width = (columns[-1] - columns[0] + 1) * di
        if width < 6 * di or width > 35:
            continue
        back = np.argmax(plane[:, columns], axis=0) * dj
        across = np.linspace(-1, 1, len(columns))
        middle = np.abs(across) < 0.25
        outer = (np.abs(across) > 0.5) & (np.abs(across) < 0.75)
        if middle.any() and outer.any():
            bows.append(float(back[middle].mean() - back[outer].mean()))
    return float(np.median(bows)) if len(bows) >= 5 else None


def _dense(ct: Volume, lungs: Labelmap) -> Gate:
    values = ct.values(lungs.mask(Region.LEFT_LUNG, Region.RIGHT_LUNG))
    if not values.size:
        return Gate(id="dense_lung", verdict="unknown", message="There is no lung.")
    share = float(np.count_nonzero(values >= -200)) / values.size
    dense = share > DENSE_SHARE
    tail = (
        "more than vessels: consolidation, effusion or soft tissue taken for lung"
        if dense
        else "no more than vessels and small opacities"
    )
    return Gate(
        id="dense_lung",
        verdict="warn" if dense else "pass",
        message=f"{100 * share:.1f} % of the lungs are denser than -200 HU, {tail}.",
        value=share,
        unit="1",
        limit=f"at most {100 * DENSE_SHARE:g} %",
    )


def _missed(coarse: Coarse, blocks: NDArray[Any]) -> Gate:
    """Dense tissue where lung is expected, unless heart and dome explain it as in health."""
    left, right = (blocks == STRUCTURES[name].label for name in LUNGS)
    lung = left | right
    limit = f"at most {100 * MISSED_SHARE:g} % of the lungs"
    if not lung.any():
        return Gate(id="missed_disease", verdict="unknown", message="There is no lung.")
    airways = blocks == STRUCTURES[AIRWAYS].label
    top = airways & (np.arange(blocks.shape[0]) > np.nonzero(lung)[0].mean())[:, None, None]
    sides = np.where(lung, blocks, 0).astype(np.uint8)
    dents = wall_dents(coarse, sides, midline(sides, top))
    mirror = mirror_dents(coarse, sides, airways, top, airways)
    found = dents.dense | dents.fluid | mirror.dense | mirror.empty
    fluid = dents.fluid | mirror.empty
    total = np.count_nonzero(lung)
    for doubtful, usual in (
        (mirror.heart, USUAL_HEART_SHARE),
        (mirror.base, USUAL_DOME_SHARE),
        (mirror.fluid, USUAL_DOME_SHARE),
        (mirror.doubtful, USUAL_ASYMMETRY_SHARE),
    ):
        if np.count_nonzero(doubtful) > usual * total:
            found |= doubtful
            fluid |= doubtful & mirror.fluid
    share = float(np.count_nonzero(found) / total)
    if share <= MISSED_SHARE:
        return Gate(
            id="missed_disease",
            verdict="pass",
            message="No dense tissue of note lies where aerated lung is expected.",
            value=share,
            unit="1",
            limit=limit,
        )
    density = float(coarse.hu[found].mean())
    if mirror.empty.any():
        what = "a collapsed or consolidated lung, pleural fluid, or the state after its removal"
    elif np.count_nonzero(fluid) > np.count_nonzero(found & ~fluid):
        what = "pleural fluid"
    else:
        what = "consolidation that was missed, or an unusual heart or diaphragm"
    return Gate(
        id="missed_disease",
        verdict="warn",
        message=f"About {coarse.volume_ml(found):.0f} mL of dense tissue "
        f"(mean {density:.0f} HU) lie where aerated lung is expected, {_place(found, sides)}: "
        f"possibly {what}; the lung volume may be too small.",
        value=share,
        unit="1",
        limit=limit,
    )


def _place(mask: Mask, sides: NDArray[np.uint8]) -> str:
    """Say in words where most of a mask lies relative to the lungs."""
    lung = sides > 0
    k = np.flatnonzero(lung.any(axis=(1, 2)))
    at_k, at_j, at_i = (float(np.median(index)) for index in np.nonzero(mask))
    level = (at_k - k[0]) / max(1, k[-1] - k[0])
    height = "lower" if level < 1 / 3 else "middle" if level < 2 / 3 else "upper"
    depth = "back" if at_j < np.median(np.nonzero(lung)[1]) else "front"
    left, right = (np.nonzero(sides == STRUCTURES[name].label)[2] for name in LUNGS)
    if left.size and right.size:
        side = "left" if abs(at_i - left.mean()) < abs(at_i - right.mean()) else "right"
    elif left.size:
        side = "left" if at_i <= np.percentile(left, 95) else "right"
    else:
        side = "right" if at_i >= np.percentile(right, 5) else "left"
    return f"mostly on the {side}, in the {height} third and toward the {depth}"


def _gas_level(coarse: Coarse, blocks: NDArray[Any]) -> float:
    """CT number below which a block is pure gas, by the air in the trachea of this scan."""
    airways = blocks == STRUCTURES[AIRWAYS].label
    core = eroded(airways, max(coarse.spacing_mm) * 1.01, coarse.spacing_mm)
    if np.count_nonzero(core) < 20:
        return GAS_HU
    return float(np.median(coarse.hu[core])) + GAS_ABOVE_AIR_HU


def _gas(coarse: Coarse, blocks: NDArray[Any]) -> Gate:
    lung = (blocks == STRUCTURES[LUNGS[0]].label) | (blocks == STRUCTURES[LUNGS[1]].label)
    if not lung.any():
        return Gate(id="gas_pocket", verdict="unknown", message="There is no lung.")
    box = bounding_box(lung, (1, 1, 1))
    pure = lung[box] & (coarse.hu[box] < _gas_level(coarse, blocks))
    core = eroded(pure, GAS_DEPTH_MM, coarse.spacing_mm)
    pocket = dilated(core, GAS_DEPTH_MM, coarse.spacing_mm) & pure
    volume_ml = coarse.volume_ml(pocket)
    found = volume_ml > GAS_ML * coarse.size**3
    message = (
        f"{volume_ml:.0f} mL of the lungs are pure gas in one place: a pneumothorax, a bulla or "
        "bowel; it counts as lung."
        if found
        else "No large pocket of pure gas lies in the lungs."
    )
    return Gate(
        id="gas_pocket",
        verdict="warn" if found else "pass",
        message=message,
        value=volume_ml,
        unit="mL",
        limit=f"at most {GAS_ML * coarse.size**3:.3g} mL",
    )
