"""Whether an airway tree is one: neither a leak into the lung nor hardly anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.body import Coarse
from lungperfusion.morphology import dilated, distance_mm, eroded
from lungperfusion.quality import Gate, Verdict
from lungperfusion.terms import AIRWAYS, LUNGS, STRUCTURES
from lungperfusion.volume import Mask, bounding_box

MAIN_BRONCHUS_MM = 3.5
"""Wider airways are trachea and main bronchi; they and their walls are no part of the lung."""

TREE_SHARE = (0.04, 0.06)
"""Airways relative to the lungs that call for a look, and that make a leak: trachea and bronchi
hold 66 mL down to a lumen of 1.9 mm (Weibel 1963, Morphometry of the Human Lung, generations 0 to
8), 1 to 2 % of lungs breathed in and 3 % of lungs breathed out."""

LEAST_TREE_SHARE = 0.002
"""Both main bronchi alone hold more: 11 mL (Weibel, generation 1) of lungs of 4.8 L."""

BRONCHI_SHARE = (0.0003, 0.02)
"""Bronchi beyond the main ones relative to the lungs: 0.1 to 1 % where CT shows them.  Below the
first none was followed, above the second lung is among them."""

UNSEEN_SHARE = 0.005
"""Bronchi that may count as lung where none was followed: 24 mL (Weibel, generations 2 to 8) of
lungs of 4.8 L.  They shift the mean density by less than 1 HU."""

RESOLVED_MM = 2.6
"""Voxels longer than this show no bronchi beyond the main ones: lobar and segmental lumens are 4 to
8 mm wide, and two voxels across are the least."""

RIM_MM = 15.0
"""Within this of the ribs hardly a bronchus is wide enough to be seen (Webb, Muller, Naidich,
High-Resolution CT of the Lung: none in the outer 1 to 2 cm in health)."""

RIM_SHARE = (0.2, 0.3)
"""Share of the bronchi next to the ribs that calls for a look, and that makes a leak: this rim
holds 35 to 45 % of the lungs."""

CROWD_MM = 12.0
"""Edge of the cube in which the crowding of bronchi is counted."""

CROWD_SHARE = (0.3, 0.45)
"""Airway in the cubes around bronchi, mean: a tube leaves most of its cube to the lung."""


@dataclass(frozen=True)
class TreeShape:
    """What tells an airway tree from a leak; shares are fractions."""

    volume_ml: float
    tree_share: float
    """Airways relative to the lungs."""
    bronchi_share: float | None
    """Bronchi beyond the main ones relative to the lungs; None on voxels too coarse to show any."""
    rim_share: float
    """Of these bronchi, next to the ribs."""
    crowd_share: float
    """Airway in the cubes of `CROWD_MM` around these bronchi, mean."""

    @property
    def leak(self) -> Verdict:
        """``fail`` for a leak into the lung, ``warn`` where there may be one."""
        measured = [
            (self.tree_share, *TREE_SHARE),
            (self.rim_share, *RIM_SHARE),
            (self.crowd_share, *CROWD_SHARE),
        ]
        if any(value > most for value, _, most in measured):
            return "fail"
        doubtful = any(value > usual for value, usual, _ in measured)
        return "warn" if doubtful or (self.bronchi_share or 0) > BRONCHI_SHARE[1] else "pass"


def thick_part(tube: Mask, coarse: Coarse) -> Mask:
    """Trachea and main bronchi: the part of the airways wider than `MAIN_BRONCHUS_MM`."""
    if not tube.any() or max(coarse.spacing_mm[1:]) > MAIN_BRONCHUS_MM:
        return tube
    radius = max(0.75 * MAIN_BRONCHUS_MM, 1.01 * max(coarse.spacing_mm[1:]))
    box = bounding_box(tube, (2, 2, 2))
    out = np.zeros_like(tube)
    core = eroded(np.pad(tube[box], 1, mode="edge"), radius, coarse.spacing_mm)[1:-1, 1:-1, 1:-1]
    out[box] = dilated(core, 2 * radius, coarse.spacing_mm) & tube[box]
    return out


def tree_shape(coarse: Coarse, tree: Mask, lung: Mask) -> TreeShape:
    """Measure an airway tree against its lungs, both on the coarse grid."""
    box = bounding_box(tree | lung, (1, 1, 1))
    tree, lung = tree[box], lung[box]
    bronchi = tree & ~thick_part(tree, coarse)
    count, lungs = int(np.count_nonzero(bronchi)), max(1, int(np.count_nonzero(lung)))
    rim = crowd = 0.0
    if count:
        depth = distance_mm(~_between(lung | tree), coarse.spacing_mm)
        rim = float(np.count_nonzero(depth[bronchi] < RIM_MM) / count)
        size = [max(3, round(CROWD_MM / s) | 1) for s in coarse.spacing_mm]
        near = ndimage.uniform_filter(tree.astype(np.float32), size, mode="constant")
        crowd = float(near[bronchi].mean())
    return TreeShape(
        volume_ml=coarse.volume_ml(tree),
        tree_share=np.count_nonzero(tree) / lungs,
        bronchi_share=None if max(coarse.fine_spacing_mm) > RESOLVED_MM else count / lungs,
        rim_share=rim,
        crowd_share=crowd,
    )


def airway_gate(coarse: Coarse, blocks: NDArray[Any]) -> Gate:
    """Check the airways of a label map, sampled on the coarse grid, from both sides."""
    tree = blocks == STRUCTURES[AIRWAYS].label
    lung = (blocks == STRUCTURES[LUNGS[0]].label) | (blocks == STRUCTURES[LUNGS[1]].label)
    limit = (
        f"airways {100 * LEAST_TREE_SHARE:g} to {100 * TREE_SHARE[0]:g} % of the lungs, bronchi at "
        f"most {100 * BRONCHI_SHARE[1]:g} %, at most {100 * RIM_SHARE[0]:g} % of them next to the "
        "ribs"
    )
    if not (tree.any() and lung.any()):
        message = "There are no airways to check: bronchi count as lung, if any are in the image."
        return Gate(id="airways", verdict="unknown", message=message, limit=limit)
    shape = tree_shape(coarse, tree, lung)
    share = shape.bronchi_share
    verdict = shape.leak
    said = f"Trachea and bronchi hold {shape.volume_ml:.0f} mL"
    if share is not None:
        said += f", bronchi beyond the main ones {100 * share:.2g} % of the lungs"
    if verdict != "pass":
        tail = (
            f"of these {100 * shape.rim_share:.0f} % next to the ribs: the airways seem to have "
            "leaked into the lung, whose volume and density then come out wrong"
        )
    elif shape.tree_share < LEAST_TREE_SHARE:
        verdict = "warn"
        tail = "less than the main bronchi alone: these may count as lung"
    elif share is None:
        tail = "voxels are too coarse to judge more"
    elif share < BRONCHI_SHARE[0]:
        tail = (
            f"hardly any, so bronchi count as lung: at most {100 * UNSEEN_SHARE:g} % of it, which "
            "low attenuation is too high by"
        )
    else:
        tail = "shaped as a tree"
    return Gate(
        id="airways",
        verdict=verdict,
        message=f"{said}, {tail}.",
        value=share if share is not None else shape.tree_share,
        unit="1",
        limit=limit,
    )


def _between(lung: Mask) -> Mask:
    """Lungs and what lies between them: seen from the ribs, not from the mediastinum."""
    out = lung.copy()
    for axis in (1, 2):
        one = np.logical_or.accumulate(lung, axis=axis)
        other = np.flip(np.logical_or.accumulate(np.flip(lung, axis), axis=axis), axis)
        out |= one & other
    return np.asarray(out)
