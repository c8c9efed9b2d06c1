"""Where measures are summed: regions and structures with label values, colours and codes.

Identifiers find segments, display names never do.  Codes are SNOMED CT as in the segmentation
category and type list that 3D Slicer ships ("Segmentation category and type - DICOM master list").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Region(StrEnum):
    """Part of the lungs that measures are given for."""

    LUNGS = "lungs"
    LEFT_LUNG = "left_lung"
    RIGHT_LUNG = "right_lung"
    LEFT_UPPER_LOBE = "left_upper_lobe"
    LEFT_LOWER_LOBE = "left_lower_lobe"
    RIGHT_UPPER_LOBE = "right_upper_lobe"
    RIGHT_MIDDLE_LOBE = "right_middle_lobe"
    RIGHT_LOWER_LOBE = "right_lower_lobe"
    LEFT_UPPER_ZONE = "left_upper_zone"
    LEFT_MIDDLE_ZONE = "left_middle_zone"
    LEFT_LOWER_ZONE = "left_lower_zone"
    RIGHT_UPPER_ZONE = "right_upper_zone"
    RIGHT_MIDDLE_ZONE = "right_middle_zone"
    RIGHT_LOWER_ZONE = "right_lower_zone"
    ANTERIOR_HALF = "anterior_half"
    POSTERIOR_HALF = "posterior_half"
    CORE = "core"
    RIM = "rim"
    SUBPLEURAL_SHELL = "subpleural_shell"
    LEFT_OBLIQUE_FISSURE = "left_oblique_fissure"
    RIGHT_OBLIQUE_FISSURE = "right_oblique_fissure"
    RIGHT_HORIZONTAL_FISSURE = "right_horizontal_fissure"
    NORMAL_LUNG = "normal_lung"
    GROUND_GLASS = "ground_glass"
    CONSOLIDATION = "consolidation"
    EMPHYSEMA = "emphysema"


LUNGS = (Region.LEFT_LUNG, Region.RIGHT_LUNG)
LOBES = (
    Region.LEFT_UPPER_LOBE,
    Region.LEFT_LOWER_LOBE,
    Region.RIGHT_UPPER_LOBE,
    Region.RIGHT_MIDDLE_LOBE,
    Region.RIGHT_LOWER_LOBE,
)
ZONES = (
    Region.LEFT_UPPER_ZONE,
    Region.LEFT_MIDDLE_ZONE,
    Region.LEFT_LOWER_ZONE,
    Region.RIGHT_UPPER_ZONE,
    Region.RIGHT_MIDDLE_ZONE,
    Region.RIGHT_LOWER_ZONE,
)
HALVES = (Region.ANTERIOR_HALF, Region.POSTERIOR_HALF)
SHELLS = (Region.CORE, Region.RIM, Region.SUBPLEURAL_SHELL)
"""Core and rim part the lungs; the subpleural shell is a part of them on its own."""
FISSURES = (
    Region.LEFT_OBLIQUE_FISSURE,
    Region.RIGHT_OBLIQUE_FISSURE,
    Region.RIGHT_HORIZONTAL_FISSURE,
)
"""Interlobar surfaces: measures of fissures are given for them."""

TISSUES = (Region.NORMAL_LUNG, Region.GROUND_GLASS, Region.CONSOLIDATION, Region.EMPHYSEMA)
"""Classes of lung by its density before contrast medium: dynamic perfusion is given for them."""

AIRWAYS = "airways"
VESSELS = "vessels"


@dataclass(frozen=True, slots=True)
class Code:
    """Coded concept of a DICOM coding scheme."""

    value: str
    meaning: str
    scheme: str = "SCT"

    def __str__(self) -> str:
        """Write the triplet as Slicer's segment tags do."""
        return f"{self.scheme}^{self.value}^{self.meaning}"


ANATOMICAL_STRUCTURE = Code("123037004", "Anatomical Structure")
LEFT = Code("7771000", "Left")
RIGHT = Code("24028007", "Right")


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """How one segment is labelled, named, coloured and coded in every file of this project."""

    id: str
    label: int
    colour: tuple[float, float, float]
    type: Code
    modifier: Code | None = None
    category: Code = ANATOMICAL_STRUCTURE

    @property
    def title(self) -> str:
        """Display name, such as ``Left lung``."""
        return title(self.id)


_LUNG = Code("39607008", "Lung")
_UPPER = Code("45653009", "Upper lobe of lung")
_LOWER = Code("90572001", "Lower lobe of lung")
_VESSEL = Code("59820001", "Blood vessel")
_ARTERY = Code("81040000", "Pulmonary artery")
_VEIN = Code("122972007", "Pulmonary vein")
_MIDDLE = Code("72481006", "Middle lobe of right lung")

XENON_CLASS_COLOURS: dict[str, tuple[float, float, float]] = {
    "defect": (1.0, 0.0, 0.0),
    "low": (1.0, 0.7143, 0.0),
    "lower_normal": (0.4, 0.7, 0.4),
    "normal": (0.0, 1.0, 0.0),
    "upper_normal": (0.0, 0.57, 0.71),
    "high": (0.0, 0.0, 1.0),
}
"""Classes of RBC:gas and ventilation from the lowest up, in the colours that the field uses (open
pipeline of the 129Xe MRI Clinical Trials Consortium)."""

STRUCTURES: dict[str, Structure] = {
    structure.id: structure
    for structure in (
        Structure(id="left_lung", label=1, colour=(0.90, 0.70, 0.55), type=_LUNG, modifier=LEFT),
        Structure(id="right_lung", label=2, colour=(0.60, 0.72, 0.76), type=_LUNG, modifier=RIGHT),
        Structure(id=AIRWAYS, label=3, colour=(0.71, 0.89, 1.0), type=Code("89187006", "Airway")),
        Structure(
            id=VESSELS, label=4, colour=(0.85, 0.25, 0.25), type=Code("59820001", "Blood vessel")
        ),
        Structure(
            id="left_upper_lobe", label=11, colour=(0.93, 0.80, 0.72), type=_UPPER, modifier=LEFT
        ),
        Structure(
            id="left_lower_lobe", label=12, colour=(0.72, 0.58, 0.50), type=_LOWER, modifier=LEFT
        ),
        Structure(
            id="right_upper_lobe", label=13, colour=(0.82, 0.84, 0.95), type=_UPPER, modifier=RIGHT
        ),
        Structure(id="right_middle_lobe", label=14, colour=(0.70, 0.90, 0.86), type=_MIDDLE),
        Structure(
            id="right_lower_lobe", label=15, colour=(0.52, 0.60, 0.74), type=_LOWER, modifier=RIGHT
        ),
        *(
            Structure(id=zone, label=21 + index, colour=colour, type=_LUNG, modifier=side)
            for index, (zone, side, colour) in enumerate(
                zip(
                    ZONES,
                    (LEFT, LEFT, LEFT, RIGHT, RIGHT, RIGHT),
                    (
                        (0.98, 0.78, 0.45),
                        (0.90, 0.58, 0.30),
                        (0.70, 0.40, 0.18),
                        (0.55, 0.80, 0.97),
                        (0.36, 0.60, 0.85),
                        (0.20, 0.40, 0.68),
                    ),
                    strict=True,
                )
            )
        ),
        Structure(id=Region.ANTERIOR_HALF, label=31, colour=(0.60, 0.80, 0.60), type=_LUNG),
        Structure(id=Region.POSTERIOR_HALF, label=32, colour=(0.40, 0.55, 0.75), type=_LUNG),
        Structure(id=Region.CORE, label=41, colour=(0.75, 0.60, 0.80), type=_LUNG),
        Structure(id=Region.RIM, label=42, colour=(0.55, 0.75, 0.50), type=_LUNG),
        Structure(id=Region.SUBPLEURAL_SHELL, label=43, colour=(0.95, 0.75, 0.45), type=_LUNG),
        *(
            Structure(id=f"{fissure}{part}", label=71 + 2 * n + m, colour=colour, type=_LUNG)
            for n, fissure in enumerate(FISSURES)
            for m, (part, colour) in enumerate(
                (("", (0.20, 0.75, 0.35 + 0.05 * n)), ("_absent", (0.90, 0.25, 0.25 + 0.05 * n)))
            )
        ),
        Structure(id="vq_normal", label=61, colour=(0.55, 0.80, 0.55), type=_LUNG),
        Structure(id="shunt", label=62, colour=(0.20, 0.45, 0.85), type=_LUNG),
        Structure(id="dead_space", label=63, colour=(0.95, 0.60, 0.15), type=_LUNG),
        Structure(id="matched_defect", label=64, colour=(0.60, 0.25, 0.60), type=_LUNG),
        Structure(id="prm_normal", label=65, colour=(0.45, 0.72, 0.50), type=_LUNG),
        Structure(id="prm_small_airways", label=66, colour=(0.95, 0.85, 0.25), type=_LUNG),
        Structure(id="prm_emphysema", label=67, colour=(0.85, 0.25, 0.20), type=_LUNG),
        Structure(id="perfusion_defect", label=68, colour=(0.90, 0.20, 0.65), type=_LUNG),
        *(
            Structure(id=f"xe_{name}", label=81 + n, colour=colour, type=_LUNG)
            for n, (name, colour) in enumerate(XENON_CLASS_COLOURS.items())
        ),
        Structure(id="xe_both_normal", label=91, colour=(0.70, 0.78, 0.72), type=_LUNG),
        Structure(id="xe_transfer_low_ct_normal", label=92, colour=(0.84, 0.37, 0.0), type=_LUNG),
        Structure(id="xe_both_abnormal", label=93, colour=(0.35, 0.20, 0.50), type=_LUNG),
        Structure(
            id="xe_ct_abnormal_transfer_kept", label=94, colour=(0.34, 0.71, 0.91), type=_LUNG
        ),
        Structure(id=Region.NORMAL_LUNG, label=101, colour=(0.62, 0.76, 0.66), type=_LUNG),
        Structure(id=Region.GROUND_GLASS, label=102, colour=(0.93, 0.78, 0.35), type=_LUNG),
        Structure(id=Region.CONSOLIDATION, label=103, colour=(0.80, 0.35, 0.25), type=_LUNG),
        Structure(id=Region.EMPHYSEMA, label=104, colour=(0.25, 0.45, 0.70), type=_LUNG),
        Structure(id="vessels_below_1_25", label=51, colour=(0.55, 0.75, 0.98), type=_VESSEL),
        Structure(id="vessels_bv5", label=52, colour=(0.20, 0.45, 0.90), type=_VESSEL),
        Structure(id="vessels_bv5_10", label=53, colour=(0.98, 0.80, 0.20), type=_VESSEL),
        Structure(id="vessels_bv10", label=54, colour=(0.85, 0.20, 0.15), type=_VESSEL),
        Structure(id="lung_arteries", label=55, colour=(0.25, 0.45, 0.80), type=_ARTERY),
        Structure(id="lung_veins", label=56, colour=(0.80, 0.25, 0.25), type=_VEIN),
    )
}
"""Label values and looks by segment ID.  Never renumber: saved files carry them.

Lungs and lobes are pale: they are outlined around classes and findings, whose colours are strong.
"""


VESSEL_SIZES = ("vessels_below_1_25", "vessels_bv5", "vessels_bv5_10", "vessels_bv10")
"""Vessels by cross-section, from thin to wide."""

TITLES = {
    "vessels_below_1_25": "Vessels below 1.25 mm²",
    "vessels_bv5": "Vessels of 1.25 to 5 mm²",
    "vessels_bv5_10": "Vessels of 5 to 10 mm²",
    "vessels_bv10": "Vessels from 10 mm²",
    "xe_both_normal": "Transfer kept, CT normal",
    "xe_transfer_low_ct_normal": "Transfer low, CT normal",
    "xe_both_abnormal": "Transfer low, CT abnormal",
    "xe_ct_abnormal_transfer_kept": "Transfer kept, CT abnormal",
    "xe_defect": "Defect",
    "xe_low": "Low",
    "xe_lower_normal": "Normal, lower",
    "xe_normal": "Normal",
    "xe_upper_normal": "Normal, upper",
    "xe_high": "High",
}
"""How IDs are written whose words say too little."""

ABBREVIATIONS = {
    "bv5_10": "BV5-10",
    "1_25": "1.25 mm²",
    "bv5": "BV5",
    "bv10": "BV10",
    "vq": "V/Q",
    "ct": "CT",
    "prm": "PRM",
    "rbc": "RBC",
    "xe": "Xenon",
}
"""How parts of IDs are written that are no words; the longer of two comes first."""


def lung_of(region: str) -> Region | None:
    """Lung that a lobe, zone, fissure or other sided structure belongs to; None for both or none.

    Examples
    --------
    >>> lung_of("right_middle_lobe"), lung_of("core")
    (<Region.RIGHT_LUNG: 'right_lung'>, None)

    """
    side = region.partition("_")[0]
    return {"left": Region.LEFT_LUNG, "right": Region.RIGHT_LUNG}.get(side)


def title(identifier: str) -> str:
    """Words for any region or structure ID.

    Examples
    --------
    >>> title("left_lung"), title("vq_classes"), title("vessels_bv5_10")
    ('Left lung', 'V/Q classes', 'Vessels of 5 to 10 mm²')

    """
    if identifier in TITLES:
        return TITLES[identifier]
    words = identifier
    for short, written in ABBREVIATIONS.items():
        words = re.sub(rf"(?<![a-z0-9]){short}(?![a-z0-9])", written, words)
    words = words.replace("_", " ")
    return words[:1].upper() + words[1:]
