"""Iodine perfusion, its defects, and the CT signs around them."""

from __future__ import annotations

import math

from lungperfusion.terms.measures import Measure, Reference

DEFECT_BELOW_HU = 40.0
"""Blue and black on the letter's overlay stand for about < 40 HU of iodine (iodine letter, Fig. 1).
"""

_LETTER = "iodine perfusion letter"
_COHORT = "post-COVID-19 clinic cohort, n = 78 (patients, not healthy people)"
_MEASURABLE = "over measurable lung (without airways, large vessels and streaks)"


_MOST_HU = 1000.0
"""More enhancement than any blood reaches after dilution in the heart."""

_ZERO = {"HU": 5.0, "mg/mL": 0.2, "HU.L": 25.0, "mg": 500.0, "mL/L": 50.0, "mL": 250.0, "1": 0.2}
"""How far below zero calibration carries lung without blood: 5 HU, and what follows from them."""


def _measure(
    id: str,
    title: str,
    unit: str,
    formula: str,
    source: str = "this project",
    *,
    amount: bool = False,
) -> Measure:
    """``amount``: of iodine or blood, which cannot be negative but for calibration."""
    high = {"HU": _MOST_HU, "mL/L": 1000.0}.get(unit, math.inf)
    return Measure(
        id=id,
        title=title,
        unit=unit,
        formula=formula,
        source=source,
        possible=(0.0, high) if amount else None,
        tolerance=_ZERO[unit] if amount else 0.0,
    )


IODINE_MEASURES = (
    Measure(
        id="iodine_mean",
        title="Iodine perfusion",
        unit="HU",
        formula=f"mean iodine enhancement {_MEASURABLE}",
        source=f"{_LETTER}, Table 1",
        reference=Reference(45.7, 15.3, _COHORT, f"{_LETTER}, Table 1"),
        possible=(0.0, _MOST_HU),
        tolerance=_ZERO["HU"],
    ),
    _measure(
        "iodine_aerated_mean",
        "Iodine perfusion of aerated lung",
        "HU",
        "mean iodine enhancement where the CT lies between -960 and -600 HU",
        "extraction window of vendors' lung PBV applications (Galvez 2016, J Adv Radiol Med "
        "Imaging 1:204)",
        amount=True,
    ),
    _measure(
        "iodine_median", "Median iodine", "HU", f"median enhancement {_MEASURABLE}", amount=True
    ),
    _measure("iodine_sd", "Iodine SD", "HU", f"standard deviation {_MEASURABLE}"),
    _measure("iodine_p10", "Iodine, 10th percentile", "HU", f"10th percentile {_MEASURABLE}"),
    _measure(
        "iodine_p90", "Iodine, 90th percentile", "HU", f"90th percentile {_MEASURABLE}", amount=True
    ),
    _measure(
        "iodine_concentration",
        "Iodine concentration",
        "mg/mL",
        f"mean mg/mL {_MEASURABLE}",
        amount=True,
    ),
    _measure(
        "iodine_mass",
        "Iodine mass",
        "mg",
        "mean concentration x volume; measured lung scaled to the whole so that regions add up",
        amount=True,
    ),
    Measure(
        id="ipv",
        title="Volume-corrected iodine perfusion IPv",
        unit="HU.L",
        formula="iodine perfusion (HU) x total lung volume (L); of a region: its share of the sum",
        source=f"{_LETTER}; a product, as all seven columns of its Table 1 show (docs/iodine.md)",
        reference=Reference(182.8, 79.3, _COHORT, f"{_LETTER}, Table 1"),
        tolerance=_ZERO["HU.L"],
    ),
    _measure(
        "iodine_relative",
        "Iodine relative to the lungs",
        "1",
        "mean of the region / mean of both lungs",
        amount=True,
    ),
    _measure(
        "pbv",
        "Perfused blood volume",
        "mL/L",
        "1000 x lung iodine / iodine in the pulmonary trunk",
        "blood-pool normalisation as in vendors' lung PBV applications",
        amount=True,
    ),
    _measure(
        "pbv_volume",
        "Perfused blood volume of the region",
        "mL",
        "PBV x volume of the region",
        amount=True,
    ),
    _measure(
        "iodine_excluded_share",
        "Lung left out",
        "%",
        "100 x voxels of large vessels, airways, streaks and heart rim / lung voxels",
    ),
    _measure("iodine_cv", "Iodine coefficient of variation", "1", "SD / mean"),
    _measure(
        "iodine_cv_volume_corrected",
        "Iodine coefficient of variation, volume-corrected",
        "1",
        "SD / mean of iodine per tissue (iodine / lung density): local inflation taken out",
    ),
    _measure(
        "iodine_iqr_ratio",
        "Iodine quartile spread",
        "1",
        "(75th - 25th percentile) / mean",
    ),
    _measure(
        "iodine_gravity_gradient",
        "Iodine gravity gradient",
        "%/cm",
        "Theil-Sen slope of slab medians towards the back, in % of the mean",
    ),
    _measure(
        "iodine_core_rim_ratio", "Iodine rim to core", "1", "mean of the rim / mean of the core"
    ),
    _measure(
        "iodine_mottle",
        "Iodine mottle",
        "1",
        "SD of the band between Gaussian sigma 4 and 12 mm / mean: spots of about 1 to 3 cm",
    ),
    _measure(
        "defect_share",
        "Perfusion defects",
        "%",
        "100 x defect volume / measurable lung; defects by the iodine between vessels",
    ),
    _measure("defect_volume", "Perfusion defect volume", "mL", "sum of defect voxels"),
    _measure(
        "defect_share_40hu",
        f"Iodine below {DEFECT_BELOW_HU:g} HU",
        "%",
        f"100 x voxels below {DEFECT_BELOW_HU:g} HU of iodine between vessels / measurable lung",
        f"{_LETTER}, Fig. 1 (blue and black)",
    ),
    _measure("defect_subpleural_share", "Subpleural defects", "%", "share of defect volume"),
    _measure("defect_wedge_share", "Wedge-like defects", "%", "share of defect volume"),
    _measure("defect_central_share", "Central defects", "%", "share of defect volume"),
    _measure(
        "defect_mottled_share",
        "Mottled defects",
        "%",
        "share of defect volume in defects < 5 mL with at least 3 others like it within 40 mm",
    ),
    _measure(
        "defect_segmental_share",
        "Defects of segmental extent",
        "%",
        "share of defect volume in defects of more than 75 % of a mean segment of their lung",
        "PIOPED 1990 (JAMA 263:2753)",
    ),
    _measure(
        "defect_normal_lung_share",
        "Defects in normal lung",
        "%",
        "share of defect volume whose CT density beneath is normal",
        f"{_LETTER}: hypoenhancement in areas of normal parenchyma",
    ),
    _measure(
        "defect_ground_glass_share",
        "Defects with ground glass",
        "%",
        "share of defect volume with ground glass or consolidation beneath",
    ),
    _measure(
        "qanadli",
        "Pulmonary artery obstruction index",
        "%",
        "100 x sum over 20 segments of degree (0, 1, 2) / 40",
        "Qanadli 2001",
    ),
    Measure(
        id="pa_ao_ratio",
        title="Pulmonary artery / aorta",
        unit="1",
        formula="diameter of the pulmonary trunk / ascending aorta at its bifurcation",
        source=f"{_LETTER}: normal < 1",
        reference=Reference(0.88, 0.12, _COHORT, _LETTER),
    ),
    Measure(
        id="rv_lv_ratio",
        title="Right / left ventricle",
        unit="1",
        formula="greatest inner diameters at right angles to the septum",
        source=f"{_LETTER}: normal < 1",
        reference=Reference(1.04, 0.23, _COHORT, _LETTER),
    ),
)
