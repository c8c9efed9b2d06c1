"""D-dimer and pulmonary embolism: units, published rules and patterns, for context only.

The rules contradict each other; all of them are shown with whom they were found in.  Nothing here
advises or diagnoses.  Figures were checked against the abstracts of the cited papers; what an
abstract does not hold is said in ``remark``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

UG_L_PER_UNIT: Mapping[str, float] = {
    "ug/l": 1.0,
    "ng/ml": 1.0,
    "mg/l": 1000.0,
    "ug/ml": 1000.0,
}
"""What a mass concentration is in micrograms per litre, by its unit in lower case."""

FEU_PER_DDU = 2.0
"""Fibrinogen equivalent units are about twice D-dimer units, as the masses of both molecules are
(Favaloro 2020).  Assays differ: a converted value is
approximate."""

DDIMER_RANGE_UG_L = (10.0, 1_000_000.0)
"""Values outside are no D-dimer in the unit that was given: assays start near 40 ug/L."""

CONVENTIONAL_UG_L = 500.0
"""Fixed cut-off in FEU (Schouten 2013, BMJ 346:f2492)."""

AGE_ADJUSTED_ABOVE_YEARS = 50.0
AGE_ADJUSTED_UG_L_PER_YEAR = 10.0
"""Above 50 years the age-adjusted cut-off is age x 10 ug/L FEU (Schouten 2013, BMJ 346:f2492)."""

STRASBOURG_UG_L = 2660.0
"""Leonard-Lorant 2020, Radiology, doi 10.1148/radiol.2020201561."""

EXTENT_BORDER_PERCENT = 50.0
COLEAD_UG_L = (900.0, 1700.0)
"""Cut-offs for lung damage on CT below, and at or above, half of the lungs (Planquette 2022, Thromb
Haemost 122:1888, doi 10.1055/a-1768-4371)."""

OCTA_UG_L = 4330.0
OCTA_FROM_YEARS = 75.0
"""Quezada-Feijoo 2021, J Clin Med 10:5433, doi 10.3390/jcm10225433: patients of 75 and more."""

CutOff = Literal["fixed", "age", "extent", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One published rule or rate with the people that it was found in."""

    id: str
    title: str
    cut_off: CutOff
    """``fixed``: `ug_l`; ``age``: grows with age; ``extent``: depends on the CT; ``none``: a rate
    to compare with, no cut-off."""
    population: str
    count: str
    sensitivity: str
    specificity: str
    """With the interval as printed; ``not printed`` where the paper has none."""
    remark: str
    source: str
    ug_l: float = float("nan")
    from_age_years: float = 0.0
    """Youngest age of the people that the rule was found in."""


RULES = (
    Rule(
        id="strasbourg",
        title="Strasbourg, 2660 µg/L",
        cut_off="fixed",
        ug_l=STRASBOURG_UG_L,
        population="COVID-19 with CT pulmonary angiography in a tertiary centre",
        count="106 examinations, 32 with embolism: 30.2 % (95 % CI 22.3–39.5, Wilson)",
        sensitivity="32 of 32: 100 % (89.1–100, exact)",
        specificity="67 % (52–79)",
        remark="the cut-off was chosen on the same patients; the specificity is not in the press "
        "release of the journal and was not checked",
        source="Leonard-Lorant 2020, Radiology, doi 10.1148/radiol.2020201561",
    ),
    Rule(
        id="besancon",
        title="Besançon, rate",
        cut_off="none",
        population="COVID-19 with contrast CT",
        count="23 % with embolism, on average 12 days after the first symptom",
        sensitivity="not printed",
        specificity="not printed",
        remark="more often in critical care and mechanically ventilated",
        source="Grillet 2020, Radiology, doi 10.1148/radiol.2020201544",
    ),
    Rule(
        id="usual_rates",
        title="Usual rates without COVID-19",
        cut_off="none",
        population="critically ill; emergency department",
        count="1.3 %; 3 to 10 %",
        sensitivity="not printed",
        specificity="not printed",
        remark="quoted for comparison by the press release on thrombosis",
        source="thrombosis press release",
    ),
    Rule(
        id="age_adjusted",
        title="Age-adjusted, 500 µg/L or 10 × age above 50 years",
        cut_off="age",
        population="suspected venous thromboembolism, clinical probability not high, no COVID-19",
        count="13 cohorts, 12 497 patients",
        sensitivity="above 97 % in all age groups",
        specificity="62.3 % (56.2–68.0), 49.5 % (43.2–55.8), 44.2 % (38.0–50.5), 35.2 % "
        "(29.4–41.5) at 51–60, 61–70, 71–80, > 80 years; fixed at 500: 57.6, 39.4, 24.5, 14.7 %",
        remark="in FEU",
        source="Schouten 2013, BMJ 346:f2492, PMC3643284",
    ),
    Rule(
        id="aphp",
        title="AP-HP, 500 µg/L",
        cut_off="fixed",
        ug_l=CONVENTIONAL_UG_L,
        population="COVID-19 in emergency departments with CT pulmonary angiography",
        count="781 patients, 60 with embolism (7.7 %); median 4013 against 1198 µg/L",
        sensitivity="above 90 %",
        specificity="not printed; 17.1 % of the examinations below the cut-off",
        remark="higher cut-offs lowered the sensitivity below 85 %",
        source="Revel 2022, Eur Radiol 32:2704, PMC8739682",
    ),
    Rule(
        id="aphp_age",
        title="AP-HP, age-adjusted",
        cut_off="age",
        population="COVID-19 in emergency departments with CT pulmonary angiography",
        count="781 patients; 4 of 178 below the cut-off had embolism (failure rate 2.2 %)",
        sensitivity="above 90 %",
        specificity="not printed; 31.5 % of the examinations below the cut-off",
        remark="higher cut-offs lowered the sensitivity below 85 %",
        source="Revel 2022, Eur Radiol 32:2704, PMC8739682",
    ),
    Rule(
        id="colead",
        title="Co-LEAD, 900 or 1700 µg/L by extent on CT",
        cut_off="extent",
        population="COVID-19 with suspected embolism, French centres",
        count="774 patients (derivation 337, validation 337)",
        sensitivity="derivation 98.2 % (94.7–100), validation 96.7 % (88.7–99.6)",
        specificity="derivation 28.4 % (24.1–32.3), validation 39.2 % (32.2–46.1)",
        remark="extent was rated by readers there; here it is measured; 30.4 % (76 of 250) below",
        source="Planquette 2022, Thromb Haemost 122:1888, doi 10.1055/a-1768-4371",
    ),
    Rule(
        id="octa",
        title="OCTA-COVID, 4330 µg/L from 75 years",
        cut_off="fixed",
        ug_l=OCTA_UG_L,
        from_age_years=OCTA_FROM_YEARS,
        population="COVID-19 at 75 years and more",
        count="305 patients, 50 with CT pulmonary angiography for suspected embolism",
        sensitivity="not printed; AUC 0.789 (0.652–0.927)",
        specificity="93.9 % (42.5 % at the conventional cut-off)",
        remark="the cut-off is the median of those with embolism",
        source="Quezada-Feijoo 2021, J Clin Med 10:5433, doi 10.3390/jcm10225433",
    ),
    Rule(
        id="ooi",
        title="Greater Manchester, size of clots",
        cut_off="none",
        population="COVID-19 with CT pulmonary angiography in five hospitals",
        count="38 % with thromboembolism, 75 % of it in smaller vessels",
        sensitivity="not printed",
        specificity="not printed",
        remark="72 % in lung with changes of COVID-19",
        source="Ooi 2020, Eur J Radiol 132:109336, PMC7537636",
    ),
)
"""Every rule and rate, in the order of the tables."""

CONTRADICTION = (
    "The rules contradict each other: 2660 µg/L was chosen on 106 examinations that had already "
    "been selected; in 781 patients raised cut-offs had a sensitivity below 85 %, that is, missed "
    "more than 15 % of the emboli."
)

LOW_UG_L = CONVENTIONAL_UG_L
"""D-dimer below is low in the patterns (thrombosis press release, Fig. 10: below 500 ng/mL)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbolismPattern:
    """A combination of findings and how it has been read; no diagnosis."""

    id: str
    clot: bool
    deficits: tuple[str, ...]
    parenchyma: tuple[str, ...]
    """Empty: any."""
    d_dimer: Literal["high", "low", "any"]
    text: str
    source: str


PATTERNS = (
    EmbolismPattern(
        id="embolism",
        clot=True,
        deficits=("territorial",),
        parenchyma=(),
        d_dimer="high",
        text="Embolism with deficits of segmental extent.",
        source="thrombosis press release, Figures 1, 5, 7",
    ),
    EmbolismPattern(
        id="microvascular",
        clot=False,
        deficits=("scattered",),
        parenchyma=("normal", "edge of ground glass"),
        d_dimer="low",
        text="The pattern of Figure 10: several deficits without clot and a D-dimer below "
        "500 ng/mL, read as microvascular there; described in one patient of 43 years.",
        source="thrombosis press release, Figure 10",
    ),
    EmbolismPattern(
        id="unmatched_wedge",
        clot=False,
        deficits=("wedge",),
        parenchyma=("normal",),
        d_dimer="any",
        text="Subpleural deficits over normal lung, unmatched on scintigraphy in the one patient "
        "shown.",
        source="iodine perfusion letter, Figure 1",
    ),
    EmbolismPattern(
        id="raised_in_opacity",
        clot=False,
        deficits=("raised",),
        parenchyma=("ground glass",),
        d_dimer="any",
        text="More iodine in opacities: 106 of 151 opacities (70.2 %) without a clot before them "
        "took up more than normal lung; ground glass 1.77 (1.52–2.02), normal 1.22 (0.95–1.49) "
        "mg/mL; 27 patients.",
        source="Poschenrieder 2021, PLoS One 16:e0252478, PMC8186798",
    ),
    EmbolismPattern(
        id="matched",
        clot=False,
        deficits=("matched",),
        parenchyma=(),
        d_dimer="any",
        text="Ventilation falls with perfusion: an airway or parenchymal cause is as likely.",
        source="PIOPED 1990 (matched defects)",
    ),
)
"""In the order of the table."""

DEFICITS = ("none", "territorial", "scattered", "wedge", "raised", "matched")
"""What a reader may say of the perfusion; ``matched``: with ventilation."""

PARENCHYMA = ("normal", "edge of ground glass", "ground glass", "consolidation", "emphysema")
"""What a reader may say of the lung beneath."""
