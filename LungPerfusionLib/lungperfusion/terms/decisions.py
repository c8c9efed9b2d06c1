"""Lung function as given, and what is decided from the measures, as coded values."""

from __future__ import annotations

from lungperfusion.terms.measures import Measure

_LETTER = "iodine perfusion letter"
_GIVEN = "% of predicted, as given on the command line"

FUNCTION = tuple(
    Measure(
        id=f"{name}_predicted",
        title=f"{title}, % of predicted",
        unit="%",
        formula=_GIVEN,
        source=f"{_LETTER}, Table 1",
        possible=(5.0, 250.0),
    )
    for name, title in (
        ("fvc", "Forced vital capacity"),
        ("fev1", "Forced expiratory volume in 1 s"),
        ("tlc", "Total lung capacity"),
        ("dlco_c", "Transfer factor, corrected for haemoglobin"),
        ("kco_c", "Transfer coefficient, corrected for haemoglobin"),
    )
)


def _coded(id: str, title: str, code: str, source: str, codes: tuple[float, float]) -> Measure:
    return Measure(id=id, title=title, unit="1", formula=code, source=source, possible=codes)


PATTERNS = (
    _coded(
        "function_stratum",
        "Stratum of lung function",
        "0: FVC and DLCOc >= 80 % predicted; 1: DLCOc alone below; 2: FVC alone below; 3: both",
        f"{_LETTER}, columns of Table 1",
        (0.0, 3.0),
    ),
    _coded(
        "isolated_low_dlco",
        "Isolated low DLCO",
        "1: all conditions met; 0: one is not; missing while one is unknown",
        f"{_LETTER}; docs/iodine.md",
        (0.0, 1.0),
    ),
    _coded(
        "gas_transfer_mismatch",
        "Gas transfer mismatch",
        "1: all conditions met; 0: one is not; missing while one is unknown",
        "this project; docs/iodine.md",
        (0.0, 1.0),
    ),
)

PLANNING = (
    _coded(
        "lvrs_flag",
        "Flag for lung volume reduction surgery",
        "1: upper zones with >= 50 % emphysema and <= 8 % of the perfusion; 0: not; missing while "
        "a zone is",
        "CT:VQ white paper",
        (0.0, 1.0),
    ),
    _coded(
        "target_rank",
        "Rank as a target lobe",
        "1: most destroyed and least contributing lobe, in the order of the target score",
        "this project; docs/ctvq.md",
        (1.0, 5.0),
    ),
    Measure(
        id="target_score",
        title="Score as a target lobe",
        unit="1",
        formula="emphysema share + mean of (volume share - V share) and (volume share - Q share), "
        "in points",
        source="this project; docs/ctvq.md",
    ),
    _coded(
        "perfusion_defect_score",
        "Patient score of perfusion defects",
        "1 - product of (1 - score) over unmatched candidates",
        "this project; docs/ctvq.md",
        (0.0, 1.0),
    ),
)

DECISION_MEASURES = (*FUNCTION, *PATTERNS, *PLANNING)
"""What a cohort is split by stands in its tables, not in reports alone."""
