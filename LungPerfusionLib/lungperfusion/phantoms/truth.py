"""What is known about a phantom: label maps on the image grid and numbers independent of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from lungperfusion.phantoms.anatomy import LEFT, LOBE_SIDES, RIGHT
from lungperfusion.phantoms.chest import ChestModel
from lungperfusion.phantoms.trees import Tubes
from lungperfusion.volume import Labelmap

INTEGRATION_STEP_MM = 1.6
"""Every lobe of the healthy chest comes within 0.1 % of its volume on a 0.8 mm lattice."""


@lru_cache(maxsize=8)
def lung_volumes_ml(model: ChestModel, *, step_mm: float = INTEGRATION_STEP_MM) -> dict[str, float]:
    """Volume of each lung and lobe and of both lungs, integrated apart from any image grid.

    Parameters
    ----------
    model
        The chest.
    step_mm
        Step of the integration lattice.

    """
    volumes = dict.fromkeys(("lungs", "left_lung", "right_lung", *LOBE_SIDES), 0.0)
    a = np.arange(-120, 95, step_mm, dtype=np.float64)[None, :, None]
    for side, lung_name in ((LEFT, "left_lung"), (RIGHT, "right_lung")):
        if not model.has(side):
            continue
        low = -148.0 if side < 0 else -14.0
        r = np.arange(low, low + 162, step_mm, dtype=np.float64)[None, None, :]
        for first in np.arange(-240, 112, 16 * step_mm):
            s = (first + step_mm * np.arange(16))[:, None, None]
            distance = model.lung(side, r, a, s)
            volumes[lung_name] += _content_ml(distance, step_mm)
            for name, own_side in LOBE_SIDES.items():
                if own_side == side:
                    lobe = np.maximum(distance, model.lobe_side(name, r, a, s))
                    volumes[name] += _content_ml(lobe, step_mm)
    volumes["lungs"] = volumes["left_lung"] + volumes["right_lung"]
    return volumes


def fissure_table(model: ChestModel) -> dict[str, dict[str, float]]:
    """Areas in mm2 and completeness of every fissure of the lungs that are there."""
    out = {}
    for fissure in model.fissures:
        if model.has(fissure.side):
            area, present, _ = model.fissure_parts(fissure)
            out[fissure.name] = {
                "area_mm2": area,
                "present_area_mm2": present,
                "completeness": present / area,
            }
    return out


def _content_ml(distance: Any, step_mm: float) -> float:
    return float(np.clip(0.5 - distance / step_mm, 0, 1).sum()) * step_mm**3 / 1000


@dataclass(frozen=True, eq=False)
class PhantomTruth:
    """The answers.

    Parameters
    ----------
    lungs, lobes, airways, vessels
        Label maps with the values of `lungperfusion.terms`: a voxel belongs to what fills half of
        it.  Vessels inside a lung belong to the lung; trachea and main bronchi do not.
    lesions
        Consolidation, ground glass, nodules and emphysema (values in ``names``).
    structures
        Heart and great vessels for calibration and checks.
    volumes_ml
        Lungs and lobes by `lung_volumes_ml`, in full even where the image cuts them off.
    mean_hu
        Mean over the voxels of each lung and lobe with blur but without noise, vessels and small
        airways inside included.
    fissures
        Area of each interlobar surface, of its present part, and the share present.
    arteries, veins, bronchi
        Tube pieces with exactly known radius.
    settings
        How the image was made.

    """

    lungs: Labelmap
    lobes: Labelmap
    airways: Labelmap
    vessels: Labelmap
    lesions: Labelmap
    structures: Labelmap
    volumes_ml: dict[str, float]
    mean_hu: dict[str, float]
    fissures: dict[str, dict[str, float]]
    arteries: Tubes
    veins: Tubes
    bronchi: Tubes
    settings: dict[str, Any] = field(default_factory=dict)

    def labelmaps(self) -> dict[str, Labelmap]:
        """Every label map by the name of its file."""
        return {
            "lungs": self.lungs,
            "lobes": self.lobes,
            "airways": self.airways,
            "vessels": self.vessels,
            "lesions": self.lesions,
            "structures": self.structures,
        }

    def as_json(self) -> dict[str, Any]:
        """Numbers as plain JSON types."""
        return {
            "settings": self.settings,
            "volumes_ml": self.volumes_ml,
            "mean_hu": self.mean_hu,
            "fissures": self.fissures,
            "trees": {
                name: _tree_json(tubes)
                for name, tubes in (
                    ("arteries", self.arteries),
                    ("veins", self.veins),
                    ("airways", self.bronchi),
                )
            },
        }


def _tree_json(tubes: Tubes) -> dict[str, Any]:
    lobes = ["", *LOBE_SIDES]
    return {
        "volume_ml": float(tubes.volume_ml.sum()),
        "pieces": {
            "start_ras_mm": np.round(tubes.start_mm, 4).tolist(),
            "end_ras_mm": np.round(tubes.end_mm, 4).tolist(),
            "radius_mm": np.round(tubes.radius_mm, 5).tolist(),
            "area_mm2": np.round(tubes.area_mm2, 5).tolist(),
            "volume_ml": np.round(tubes.volume_ml, 8).tolist(),
            "parent": tubes.parent.tolist(),
            "lobe": [lobes[index + 1] for index in tubes.lobe],
        },
    }
