"""Volume and density measures of the lungs."""

from __future__ import annotations

from lungperfusion.terms.measures import Measure, Reference

_LETTER = "iodine perfusion letter, Table 1 footnote: normal values of the workstation used there"
_LETTER_COHORT = "normal range printed with a post-COVID-19 clinic cohort"

DENSITY_MEASURES = (
    Measure(
        id="tlv",
        title="Total lung volume",
        unit="L",
        formula="number of lung voxels x voxel volume; vessels inside, main airways outside",
        source=_LETTER,
        reference=Reference(5.060, 1.353, _LETTER_COHORT, _LETTER),
    ),
)
