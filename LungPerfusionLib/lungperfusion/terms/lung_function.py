"""Columns of a clinical table that have a meaning of their own, and what they can hold."""

from __future__ import annotations

from collections.abc import Mapping

UNIT_SUFFIXES: Mapping[str, str] = {
    "pct": "%",
    "percent": "%",
    "mmhg": "mmHg",
    "kpa": "kPa",
    "l_min": "L/min",
    "ug_l": "µg/L",
    "ng_ml": "ng/mL",
    "mg_l": "mg/L",
    "years": "years",
    "days": "days",
    "kg": "kg",
    "cm": "cm",
    "m": "m",
    "ml": "mL",
    "l": "L",
    "hu": "HU",
}
"""Unit that the end of a column's name says."""

LOW_PERCENT_PREDICTED = 80.0
"""FVC and haemoglobin-corrected DLCO below 80 % predicted are low (iodine letter, strata)."""

PERCENT_PREDICTED_RANGE = (5.0, 250.0)
"""Values outside are no % predicted: a fraction or litres were given."""

PREDICTED = ("fvc_pct", "fev1_pct", "tlc_pct", "dlco_pct", "kco_pct")
"""Lung function in % of predicted."""

TITLES: Mapping[str, str] = {
    "fvc_pct": "FVC, % predicted",
    "fev1_pct": "FEV1, % predicted",
    "tlc_pct": "TLC, % predicted",
    "dlco_pct": "DLCO, % predicted",
    "kco_pct": "KCO, % predicted",
    "fev1_fvc_pct": "FEV1/FVC, %",
    "sao2_pct": "SaO2, %",
    "age_years": "Age, years",
    "pao2_mmhg": "PaO2, mmHg",
    "paco2_mmhg": "PaCO2, mmHg",
    "aado2_mmhg": "AaDO2, mmHg",
    "fio2": "Inspired oxygen fraction",
    "oxygen_l_min": "Oxygen, L/min",
    "fev1_gain_ml": "Gain of FEV1, mL",
    "sex": "Sex",
    "mrc": "MRC score",
}
"""Words for columns whose meaning is known."""

PLAUSIBLE: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(PREDICTED, PERCENT_PREDICTED_RANGE),
    "fev1_fvc_pct": (5.0, 150.0),
    "sao2_pct": (30.0, 100.0),
    "age_years": (0.0, 120.0),
    "pao2_mmhg": (10.0, 700.0),
    "paco2_mmhg": (5.0, 200.0),
    "fio2": (0.15, 1.0),
    "oxygen_l_min": (0.0, 100.0),
}
"""What these columns can hold; values outside were given in another unit.  The letter prints
FEV1/FVC of up to 106 %, so that it is % of predicted there."""

ACQUISITION = ("kernel", "breath", "contrast")
"""Columns that say how a scan was made; a cohort should have one value of each."""

GAIN_ML = 250.0
"""A rise of FEV1 of 250 mL or more is a response (CT:VQ white paper, lung volume reduction)."""
